#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""host_forge.py INTERFACE MAC FROM TO: send frames from there that no host has asked for.

DHCP answers to other questions, router advertisements of a wrong kind, ARP and everything that an
attacker on the link may try. Prints how many.
"""
import random
import sys

from scapy.all import (
    BOOTP, DHCP, ICMP, IP, TCP, UDP, ARP, Ether, ICMPv6EchoRequest, ICMPv6ND_NS, ICMPv6ND_RA,
    ICMPv6ND_Redirect, IPv6, Raw, sendp,
)

interface, mac, source, target = sys.argv[1:5]
there = Ether(dst=mac)
everybody = Ether(dst="ff:ff:ff:ff:ff:ff")
hardware = bytes.fromhex(mac.replace(":", ""))


def answer(**more):
    """A DHCP acknowledgement."""
    fields = dict(op=2, chaddr=hardware, xid=random.getrandbits(32), yiaddr=target, siaddr=source)
    fields.update(more)
    return (
        IP(src=source, dst="255.255.255.255") / UDP(sport=67, dport=68) / BOOTP(**fields)
        / DHCP(options=[("message-type", "ack"), ("server_id", source), "end"])
    )


frames = [
    everybody / answer(),  # nobody asked
    there / answer(),
    there / answer(op=1),
    there / answer(chaddr=b"\x02\0\0\0\0\1"),  # for another station
    there / IP(src=source, dst=target) / UDP(sport=67, dport=68) / Raw(b"x" * 10),
    there / IP(src=source, dst=target) / UDP(sport=68, dport=67) / Raw(b"x" * 300),
    there / IP(src=source, dst=target) / ICMP(),
    there / IP(src=source, dst=target) / TCP(dport=22, flags="S"),
    there / IP(src=source, dst=target) / UDP(dport=5353) / Raw(b"x"),
    everybody / IP(src=source, dst="255.255.255.255") / UDP(dport=9) / Raw(b"x"),
    everybody / ARP(op=1, psrc=source, pdst=target, hwsrc="02:00:00:00:00:01"),
    everybody / ARP(op=1, psrc=source, pdst=source),
    there / IPv6(src="fe80::99", dst="fe80::1", hlim=64) / ICMPv6ND_RA(),  # from further away
    there / IPv6(src="fd00:50::2", dst="ff02::1", hlim=255) / ICMPv6ND_RA(),  # not by its router
    there / IPv6(src="fe80::99", dst="ff02::1", hlim=255) / ICMPv6ND_Redirect(),
    there / IPv6(src="fe80::99", dst="fe80::1", hlim=255) / ICMPv6EchoRequest(),
    there / IPv6(src="fe80::99", dst="fe80::1", hlim=64) / ICMPv6ND_NS(tgt="fe80::1"),
    there / IPv6(src="fe80::99", dst="fe80::1") / UDP(sport=547, dport=546) / Raw(b"\7abc"),
]
for frame in frames:
    sendp(frame, iface=interface, verbose=False)
print(len(frames))
