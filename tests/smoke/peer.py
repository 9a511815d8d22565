#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A UDP socket that hears everybody: peer.py LOG ADDRESS PORT

It does what a line on its input says: "ADDRESS PORT TEXT" sends TEXT there. LOG gets one line
"ADDRESS PORT TEXT" per datagram that arrives, and "ready" before them.
"""
import select
import socket
import sys


def main():
    log_path, address, port = sys.argv[1:]
    peer = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind((address, int(port)))
    with open(log_path, "w", buffering=1) as log:
        print("ready", file=log)
        while True:
            for source in select.select([peer, sys.stdin], [], [])[0]:
                if source is peer:
                    data, sender = peer.recvfrom(2048)
                    print(sender[0], sender[1], data.decode(), file=log)
                    continue
                line = sys.stdin.readline()
                if not line:
                    return
                to, to_port, text = line.split()
                peer.sendto(text.encode(), (to, int(to_port)))


main()
