#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Watch packets through the control socket: tap_client.py SOCKET METHOD PARAMS SECONDS OUTPUT

Prints "ready" when the tap is on, writes the packets to OUTPUT as JSON, one per line, and prints a
summary as JSON when the stream ends or the time is over. A filter may be given in PARAMS as an
expression of tcpdump's; {"filter": "tcp port 80"}.
"""
import json
import socket
import subprocess
import sys
import time

PATH, METHOD, PARAMS, SECONDS, OUTPUT = sys.argv[1:]


def compiled(expression):
    text = subprocess.run(
        ["tcpdump", "-y", "EN10MB", "-ddd", expression], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [[int(word) for word in line.split()] for line in text[1:]]


def main():
    params = json.loads(PARAMS)
    if isinstance(params.get("filter"), str):
        params["filter"] = compiled(params["filter"])
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(PATH)
    request = {"jsonrpc": "2.0", "id": 7, "method": METHOD, "params": params}
    connection.sendall(json.dumps(request).encode() + b"\n")
    deadline = time.monotonic() + float(SECONDS)
    counts = {"packets": 0, "missed": 0, "answer": None}
    data = b""
    # a tap is on as soon as all workers have had a round, at most a quarter of a second
    time.sleep(0.4)
    print("ready", flush=True)
    with open(OUTPUT, "w", encoding="utf-8") as output:
        while counts["answer"] is None and time.monotonic() < deadline:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                part = connection.recv(1 << 20)
            except TimeoutError:
                break
            if not part:
                break
            data += part
            *lines, data = data.split(b"\n")
            for line in lines:
                message = json.loads(line)
                if message.get("method") == "packets" and message["params"]["id"] == 7:
                    counts["missed"] = message["params"]["missed"]
                    for packet in message["params"]["packets"]:
                        counts["packets"] += 1
                        output.write(json.dumps(packet) + "\n")
                elif message.get("id") == 7:
                    counts["answer"] = message.get("result", message.get("error"))
    print(json.dumps(counts))


main()
