#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Change rules, ask, and be quiet in turns: changes_rate.py SOCKET SECONDS PER_MINUTE

Prints "COUNT changes, N a minute, slowest answer M ms" at the end. What is done in a second follows
from the wall clock, modulo 3: nothing, as many requests that change nothing, or changes. These go to
qube work in turns: a rule more, a rule less.
"""
import json
import socket
import sys
import time


def line(method, params):
    """A request as it is sent, made beforehand: it is sluiced that is measured."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return json.dumps(request).encode() + b"\n"


def main():
    path, seconds, rate = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]) / 60
    sluiced = socket.socket(socket.AF_UNIX)
    sluiced.connect(path)
    rule = "action=drop dst4=192.0.2.1/32 proto=tcp dstports=25"
    hello = line("hello", {})
    changes = [
        line("rules.insert", {"qube": "work", "rules": [rule]}),
        line("rules.delete", {"qube": "work", "number": 0}),
    ]
    count, slowest, busy = 0, 0.0, 0.0
    end = time.monotonic() + seconds
    due = time.monotonic()
    while time.monotonic() < end:
        now = time.time()
        kind = int(now) % 3
        if kind == 0:
            time.sleep(int(now) + 1 - now + 0.0005)
            due = time.monotonic()
            continue
        began = time.monotonic()
        sluiced.sendall(changes[count % 2] if kind == 2 else hello)
        answer = sluiced.recv(65536)
        while not answer.endswith(b"\n"):
            answer += sluiced.recv(65536)
        if b'"result"' not in answer:
            sys.exit(answer.decode())
        due += 1 / rate
        if kind == 2:
            slowest = max(slowest, time.monotonic() - began)
            count += 1
            busy += max(1 / rate, time.monotonic() - began)
        time.sleep(max(0, due - time.monotonic()))
    per_minute = count / busy * 60 if busy else 0
    print(f"{count} changes, {per_minute:.0f} a minute, slowest answer {slowest * 1000:.0f} ms")


main()
