#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""One request to the control socket: rpc.py SOCKET METHOD [PARAMS]

Prints the result, or the error, as JSON; the exit status is 1 for an error. As a module: Rpc.
"""
import json
import socket
import sys


class RpcError(Exception):
    def __init__(self, error):
        super().__init__(error.get("message"))
        self.error = error


class Rpc:
    def __init__(self, path, timeout=10):
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(timeout)
        self.connection.connect(path)
        self.answers = self.connection.makefile("rb")
        self.last = 0

    def call(self, method, params=None):
        self.last += 1
        request = {"jsonrpc": "2.0", "id": self.last, "method": method, "params": params or {}}
        self.connection.sendall(json.dumps(request).encode() + b"\n")
        line = self.answers.readline()
        if not line.endswith(b"\n"):
            raise EOFError("no answer")
        answer = json.loads(line)
        assert answer["id"] == self.last, answer
        if "error" in answer:
            raise RpcError(answer["error"])
        return answer["result"]


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    params = json.loads(sys.argv[3]) if len(sys.argv) == 4 else {}
    try:
        print(json.dumps(Rpc(sys.argv[1]).call(sys.argv[2], params)))
    except RpcError as error:
        print(json.dumps(error.error))
        sys.exit(1)


if __name__ == "__main__":
    main()
