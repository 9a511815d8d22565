#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A restless qube: day_probe.py NUMBER TARGETS

Runs inside a qube and tries, again and again, everything it may and may not do: opens TCP
connections and sends datagrams to every line "PROTOCOL ADDRESS PORT" of the file TARGETS, which is
read again each time round. Its own ports are those of its number, 20000 + 1000 * NUMBER and the 999
behind it, and its datagrams say so: whoever sees one of its packets beyond a firewall that keeps
source ports knows whose it is.
"""
import random
import socket
import sys
import time

PAUSE_S = 0.02
ROUND_S = 0.2


def source_bind(probe, family, first):
    """Bind to a port of ours; two probes may meet on one, then the next is tried."""
    for _ in range(20):
        try:
            probe.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", first + random.randrange(1000)))
            return True
        except OSError:
            pass
    return False


def probe(protocol, address, port, number):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family, kind) as one:
        if not source_bind(one, family, 20000 + 1000 * number):
            return
        one.settimeout(0.15)
        one.connect((address, port))
        one.sendall(b"GET /who HTTP/1.0\r\n\r\n" if protocol == "tcp" else b"qube %d" % number)
        one.recv(2048)


def main():
    number, path = int(sys.argv[1]), sys.argv[2]
    while True:
        with open(path) as targets:
            lines = [line.split() for line in targets if line.strip()]
        random.shuffle(lines)
        for protocol, address, port in lines:
            try:
                probe(protocol, address, int(port), number)
            except OSError:
                pass  # refused, unreachable or silent: that is for the judge
            time.sleep(PAUSE_S)
        time.sleep(ROUND_S)


main()
