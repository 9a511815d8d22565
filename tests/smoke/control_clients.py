#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Clients of the control socket that are wrong, many, slow or gone: control_clients.py SOCKET

Prints one line per kind; the exit status is 0 when sluiced has treated all of them rightly.
"""
import json
import socket
import sys
import time

PATH = sys.argv[1]
LINE_MAX = 64 * 1024
CLIENTS_MAX = 64
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND = -32700, -32600, -32601

failures = 0


def expect(what, good, seen=None):
    global failures
    if not good:
        failures += 1
    print("ok:  " if good else "FAIL:", what, "" if good else f"(saw {seen!r})")


def connect(timeout=5):
    deadline = time.monotonic() + timeout
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(timeout)
    while True:
        try:
            client.connect(PATH)
            return client
        except BlockingIOError:  # so many wait to be accepted
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def request(method="hello", identity=1):
    return json.dumps({"jsonrpc": "2.0", "id": identity, "method": method}).encode() + b"\n"


def read_line(client):
    """One line without its end; None when the connection ended or nothing came in time."""
    line = b""
    try:
        while not line.endswith(b"\n"):
            part = client.recv(65536)
            if not part:
                return None
            line += part
    except OSError:
        return None
    return line[:-1]


def answer_to(line):
    """The answer to one line of a new client, as an object."""
    with connect() as client:
        client.sendall(line)
        answer = read_line(client)
    try:
        return json.loads(answer) if answer is not None else None
    except ValueError:
        return answer


def closed(client):
    """Tell whether the other side has closed, without an answer first."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
    except OSError:
        return False


def alive(seconds=2):
    """A well-behaved client is served at once, whatever others do."""
    start = time.monotonic()
    answer = answer_to(request())
    took = time.monotonic() - start
    return isinstance(answer, dict) and "result" in answer and took < seconds


def wrong_lines():
    rows = [
        (b"\n", PARSE_ERROR),
        (b"x\n", PARSE_ERROR),
        (b"{\n", PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "hello"} x\n', PARSE_ERROR),
        (b'"hello"\n', PARSE_ERROR),
        (b"1\n", PARSE_ERROR),
        (b"\xff\xfe\n", PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "\xc3"}\n', PARSE_ERROR),
        ('{"é": ñ}\n'.encode(), PARSE_ERROR),
        (b"[" * 5000 + b"\n", PARSE_ERROR),
        (b'{"a":' * 5000 + b"\n", PARSE_ERROR),
        (b"[]\n", INVALID_REQUEST),
        (b"{}\n", INVALID_REQUEST),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "hello"}]\n', INVALID_REQUEST),
        (b'{"id": 1, "method": "hello"}\n', INVALID_REQUEST),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "hello"}\n', INVALID_REQUEST),
        (b'{"jsonrpc": 2.0, "id": 1, "method": "hello"}\n', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1, "method": 7}\n', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1}\n', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "nothing"}\n', METHOD_NOT_FOUND),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "HELLO"}\n', METHOD_NOT_FOUND),
        (b'{"jsonrpc": "2.0", "id": 1, "method": ""}\n', METHOD_NOT_FOUND),
    ]
    for line, code in rows:
        answer = answer_to(line)
        seen = answer.get("error", {}).get("code") if isinstance(answer, dict) else answer
        expect(f"{line[:48]!r} is answered {code}", seen == code, answer)


def identities():
    for identity in (0, -1, 2**62, 1.5, "a", "\u2603", "", "x" * 1000):
        answer = answer_to(request(identity=identity))
        expect(
            f"an answer bears its request's id {str(identity)[:20]!r}",
            isinstance(answer, dict) and answer.get("id") == identity,
            answer,
        )
    with connect() as client:
        client.sendall(b'{"jsonrpc": "2.0", "method": "hello"}\n' + request(identity="second"))
        answer = json.loads(read_line(client))
    expect("a notification is not answered", answer.get("id") == "second", answer)


def pipelined():
    with connect() as client:
        client.sendall(b"".join(request(identity=i) for i in range(200)))
        reader = client.makefile("rb")
        seen = [json.loads(reader.readline())["id"] for _ in range(200)]
    expect("200 requests at once are answered in order", seen == list(range(200)), seen[:5])
    with connect() as client:
        for byte in request(identity="slow"):
            client.sendall(bytes([byte]))
        answer = json.loads(read_line(client))
    expect("a request may come byte by byte", answer.get("id") == "slow", answer)
    with connect() as client:
        client.sendall(request("counters"))
        client.shutdown(socket.SHUT_WR)
        answer = read_line(client)
    expect(
        "who has said all he has to say is answered",
        answer is not None and "result" in json.loads(answer),
        answer,
    )


def long_lines():
    padded = request()[:-2] + b" " * (LINE_MAX - len(request())) + b"}\n"
    answer = answer_to(padded)
    expect(
        f"a line of {len(padded)} bytes is answered",
        isinstance(answer, dict) and "result" in answer,
        answer,
    )
    for size in (LINE_MAX + 1, 2 * LINE_MAX, 4 * 1024 * 1024):
        with connect() as client:
            try:
                client.sendall(b" " * size)
            except OSError:
                pass  # cut off while sending
            expect(f"{size} bytes without an end of line are cut off", closed(client))
    expect("others are served after that", alive())


def many():
    clients = [connect() for _ in range(100)]
    served = 0
    for client in clients:
        try:
            client.sendall(request())
            served += read_line(client) is not None
        except OSError:
            pass
    expect(f"of 100 clients {CLIENTS_MAX} are served", served == CLIENTS_MAX, served)
    for client in clients:
        client.close()
    time.sleep(0.2)
    expect("others are served when they have gone", alive())


def slow():
    """Ask, and never read: cut off at last, and nobody else has to wait."""
    with connect(timeout=1) as client:
        sent, cut = 0, False
        for _ in range(100_000):
            try:
                client.sendall(request("counters") * 20)
                sent += 20
            except socket.timeout:
                break
            except OSError:
                cut = True
                break
            if sent % 2000 == 0 and not alive():
                expect("others are served beside a client that does not read", False)
                return
        expect("a client that does not read is cut off", cut, sent)
    expect("others are served beside a client that does not read", alive())


def gone():
    for i in range(300):
        client = connect()
        try:
            client.sendall((request("counters") * 50)[: 40 + i * 7])
        except OSError:
            pass  # one too many at this moment: refused
        client.close()
    time.sleep(0.5)
    expect("others are served after clients that vanished", alive())
    time.sleep(0.2)
    clients = [connect() for _ in range(CLIENTS_MAX)]
    served = 0
    for client in clients:
        client.sendall(request())
        served += read_line(client) is not None
        client.close()
    expect("and no place is lost by them", served == CLIENTS_MAX, served)
    time.sleep(0.2)


for kind in (wrong_lines, identities, pipelined, long_lines, many, slow, gone):
    try:
        kind()
    except Exception as error:  # one kind of client must not hide the others
        expect(f"{kind.__name__}: {type(error).__name__}", False, error)
sys.exit(failures != 0)
