#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Look at the flows of sluiced, and end them.

    flows.py SOCKET list [FILTER [LIMIT]]   one flow per line, as JSON; then what the answer says
    flows.py SOCKET count [FILTER]          only how many came, and in how many seconds
    flows.py SOCKET delete PARAMS           ends flows, prints how many
    flows.py SOCKET wrong METHOD PARAMS     prints the error and what it is about
    flows.py SOCKET vanish COUNT            begins to list COUNT times, and hangs up in the middle
    flows.py SOCKET cancel                  begins to list, reads nothing for a while, then cancels

Every flow that is listed is checked: no member is missing, none is listed twice.
"""
import json
import socket
import sys
import time

MEMBERS = {"proto", "family", "state", "inbound", "replied", "expires", "original", "reply",
           "in", "out", "worker"}


class Client:
    def __init__(self, path):
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(60)
        self.connection.connect(path)
        self.lines = self.connection.makefile("rb")

    def ask(self, method, params, number=1):
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self.connection.sendall(json.dumps(request).encode() + b"\n")

    def next(self):
        line = self.lines.readline()
        if not line:
            sys.exit("flows.py: sluiced hung up")
        return json.loads(line)

    def hang_up(self):
        self.lines.close()
        self.connection.close()


def flows_of(client, params):
    """All flows that come, and the answer."""
    seen = set()
    flows = []
    client.ask("flows", params)
    while True:
        message = client.next()
        if "method" not in message:
            break
        assert message["method"] == "flows" and message["params"]["id"] == 1, message
        for flow in message["params"]["flows"]:
            assert MEMBERS <= flow.keys(), flow
            name = (flow["worker"], flow["proto"], *flow["original"].values())
            assert name not in seen, f"twice: {flow}"
            seen.add(name)
            flows.append(flow)
    if "result" not in message:
        sys.exit(f"flows.py: {message['error']}")
    return flows, message["result"]


def listing(path, chosen="{}", limit=None):
    params = {"filter": json.loads(chosen)}
    if limit is not None:
        params["limit"] = int(limit)
    flows, answer = flows_of(Client(path), params)
    for flow in flows:
        print(json.dumps(flow))
    print(f"matched {answer['matched']} total {answer['total']}")


def count(path, chosen="{}"):
    began = time.monotonic()
    flows, answer = flows_of(Client(path), {"filter": json.loads(chosen)})
    assert len(flows) == answer["matched"], (len(flows), answer)
    print(len(flows), f"{time.monotonic() - began:.2f}")


def delete(path, params):
    client = Client(path)
    client.ask("flows.delete", json.loads(params))
    answer = client.next()
    if "result" not in answer:
        sys.exit(f"flows.py: {answer['error']}")
    print(answer["result"]["deleted"])


def wrong(path, method, params):
    client = Client(path)
    client.ask(method, json.loads(params))
    error = client.next()["error"]
    print(error["code"], error.get("data", {}).get("key"), error["message"])


def vanish(path, times):
    for turn in range(int(times)):
        client = Client(path)
        client.ask("flows" if turn % 3 else "flows.delete",
                   {} if turn % 3 else {"filter": {"qube": "nobody"}})
        if turn % 2:
            client.connection.recv(1 + turn)
        client.hang_up()


def cancel(path):
    client = Client(path)
    client.ask("flows", {})
    time.sleep(0.5)
    client.ask("cancel", {"id": 1}, 2)
    flows = 0
    answers = {}
    while len(answers) < 2:
        message = client.next()
        if "method" in message:
            flows += len(message["params"]["flows"])
        else:
            answers[message["id"]] = message
    assert "result" in answers[1] and "result" in answers[2], answers
    print(flows)


WHAT = {"list": listing, "count": count, "delete": delete, "wrong": wrong, "vanish": vanish,
        "cancel": cancel}
if len(sys.argv) < 3 or sys.argv[2] not in WHAT:
    sys.exit(__doc__)
WHAT[sys.argv[2]](sys.argv[1], *sys.argv[3:])
