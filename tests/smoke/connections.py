#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""TCP connections, many of them, each with one question and one answer.

    connections.py serve LOG PORT                             LOG gets a line "ready"
    connections.py COUNT PARALLEL PORT ADDRESS [ADDRESS...]   the addresses in turns

Prints "COUNT connections, N failed: connected in median A ms, 99 % B ms, longest C ms; answered
..." and one line per kind of failure. The exit status is 0 when none failed.
"""
import asyncio
import collections
import errno
import socket
import statistics
import sys
import time

QUESTION = b"sixteen bytes..."
PATIENCE_S = 30


async def answer(reader, writer):
    try:
        writer.write(await reader.readexactly(len(QUESTION)))
        await writer.drain()
        await reader.read()
    except (OSError, asyncio.IncompleteReadError):
        pass
    writer.close()


async def serve(log, port):
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("::", port))
    server = await asyncio.start_server(answer, sock=listener, backlog=1024)
    with open(log, "w") as file:
        print("ready", file=file)
    await server.serve_forever()


async def connect(address, port):
    """How long it took to connect, and until the answer, in ms."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(address, port)
    connected = time.monotonic()
    writer.write(QUESTION)
    if await reader.readexactly(len(QUESTION)) != QUESTION:
        raise ValueError("another answer")
    answered = time.monotonic()
    writer.close()
    return (connected - began) * 1000, (answered - began) * 1000


def name(error):
    if isinstance(error, OSError) and error.errno in errno.errorcode:
        return errno.errorcode[error.errno]
    return type(error).__name__


async def client(todo, port, times, failures):
    while todo:
        try:
            times.append(await asyncio.wait_for(connect(todo.pop(), port), PATIENCE_S))
        except (OSError, ValueError, EOFError, asyncio.TimeoutError) as error:
            failures[name(error)] += 1


def shape(times):
    times = sorted(times)
    return (
        f"median {statistics.median(times):.1f} ms, "
        f"99 % {times[(len(times) * 99 - 1) // 100]:.1f} ms, longest {times[-1]:.1f} ms"
    )


async def ask(count, parallel, port, addresses):
    todo = [addresses[i % len(addresses)] for i in range(count)]
    times, failures = [], collections.Counter()
    await asyncio.gather(*(client(todo, port, times, failures) for _ in range(parallel)))
    print(f"{count} connections, {sum(failures.values())} failed", end="")
    if times:
        connected, answered = zip(*times)
        print(f": connected in {shape(connected)}; answered in {shape(answered)}", end="")
    print()
    for kind, number in failures.items():
        print(f"failed: {number} {kind}")
    return len(times) != count


if len(sys.argv) == 4 and sys.argv[1] == "serve":
    asyncio.run(serve(sys.argv[2], int(sys.argv[3])))
elif len(sys.argv) >= 5:
    sys.exit(asyncio.run(ask(*map(int, sys.argv[1:4]), sys.argv[4:])))
else:
    sys.exit(__doc__)
