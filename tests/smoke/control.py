#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Ask sluiced through its control socket: control.py SOCKET METHOD [KEY...]

Prints the result as JSON, or the value that the keys lead to; a counter that is absent is 0.
"""
import json
import socket
import sys


def call(path, method):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)
        try:
            connection.sendall(
                json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode() + b"\n"
            )
        except BrokenPipeError:
            pass  # turned away; why can still be read
        with connection.makefile("rb") as answers:
            answer = json.loads(answers.readline())
    if "result" not in answer:
        sys.exit(f"control.py: {method}: {answer.get('error')}")
    return answer["result"]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    value = call(sys.argv[1], sys.argv[2])
    for key in sys.argv[3:]:
        value = value.get(key, 0) if isinstance(value, dict) else 0
    print(json.dumps(value))


main()
