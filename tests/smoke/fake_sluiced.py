#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Something at a socket that answers as it is told: fake_sluiced.py SOCKET ANSWERS LOG

ANSWERS is a JSON object of methods, read again for each request:

    {"result": ...}                  an answer
    {"error": {...}}                 an error
    {"stream": [...], "result": ...} notifications with these parameters first; without a result
                                     the stream goes on until it is cancelled
    {"raw": "..."}                   these characters, whatever they are
    {"hang": true}                   nothing
    {"close": true}                  it disconnects

LOG gets every request, one per line. Says "ready" when it listens.
"""
import json
import socketserver
import sys


class Client(socketserver.StreamRequestHandler):
    def send(self, **members):
        self.wfile.write(json.dumps({"jsonrpc": "2.0", **members}).encode() + b"\n")

    def handle(self):
        try:
            for line in self.rfile:
                if not self.answer(json.loads(line)):
                    return
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answer(self, request):
        with open(sys.argv[3], "a", encoding="utf-8") as log:
            log.write(json.dumps(request, sort_keys=True) + "\n")
        with open(sys.argv[2], encoding="utf-8") as file:
            answer = json.load(file).get(request["method"], {})
        if request["method"] == "cancel":
            self.send(id=request["params"]["id"], result={"cancelled": True})
            answer = {"result": {}}
        for params in answer.get("stream", []):
            self.send(method=request["method"], params={**params, "id": request["id"]})
        if "raw" in answer:
            self.wfile.write(answer["raw"].encode("utf-8", "surrogateescape"))
        if "result" in answer:
            self.send(id=request["id"], result=answer["result"])
        if "error" in answer:
            self.send(id=request["id"], error=answer["error"])
        if not answer:
            self.send(id=request["id"], error={"code": -32601, "message": "no such method"})
        return "close" not in answer


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    with Server(sys.argv[1], Client) as server:
        print("ready", flush=True)
        server.serve_forever()


main()
