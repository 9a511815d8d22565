#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Send one datagram in fragments as no kernel would: udp_fragments.py ORDER BYTES GATEWAY-MAC
SOURCE DESTINATION PORT

ORDER is forward, reverse, shuffle (the same way every time), or twice (each fragment two times).
Prints "BYTES bytes" when it comes back whole, or "silence". Through eth0.
"""
import random
import socket
import sys

from scapy.config import conf
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.sendrecv import sendp

FRAGMENT_BYTES = 1400
WAIT_S = 3


def in_order(order, pieces):
    if order == "reverse":
        return pieces[::-1]
    if order == "shuffle":
        random.Random(1).shuffle(pieces)
        return pieces
    return [piece for piece in pieces for _ in range(2 if order == "twice" else 1)]


def main():
    order, size, mac, source, destination, port = sys.argv[1:]
    ipv6 = ":" in destination
    client = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
    client.bind((source, 0))
    client.settimeout(WAIT_S)
    data = random.Random(2).randbytes(int(size))
    datagram = UDP(sport=client.getsockname()[1], dport=int(port)) / Raw(data)
    if ipv6:
        whole = IPv6(src=source, dst=destination) / IPv6ExtHdrFragment(id=0x51) / datagram
        pieces = fragment6(whole, FRAGMENT_BYTES)
    else:
        whole = IP(src=source, dst=destination, id=0x51) / datagram
        pieces = fragment(whole, FRAGMENT_BYTES // 8 * 8)
    conf.verb = 0
    frames = [Ether(dst=mac) / piece for piece in in_order(order, pieces)]
    sendp(frames, iface="eth0")
    try:
        answer = client.recv(65536)
    except TimeoutError:
        print("silence")
        return
    print(f"{len(answer)} bytes" + ("" if answer == data else ", damaged"))


main()
