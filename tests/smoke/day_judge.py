#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Judge what crossed the uplink: day_judge.py CAPTURE DIARY ADDRESS...

CAPTURE is a pcap of all frames on the uplink, DIARY one JSON object per line, in order:

  {"time": T, "qube": N, "rules": [["tcp", "192.0.2.1", 80], ...]}   from T on the qube with number N
        may open these, and what it could before until {"time": T, "settled": N}
  {"time": T, "gone": N}            the qube is gone and may nothing from {"time": T, "settled": N} on
  {"time": T, "address": "A"}       from T on the uplink's address may be A, and the one before until
        {"time": T, "settled": "address"}
  {"time": T, "down": true}         from T on nothing may be sent at all; false: again it may

ADDRESS... are ours beyond the uplink: of whatever they send, nothing is judged. Who sent a packet
follows from its source port, see day_probe.py. Prints what was seen; exit status 1 when a packet
crossed that no rule in force allows, or one whose sender is nobody, or nothing was seen at all.
"""
import bisect
import collections
import json
import socket
import struct
import sys

IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
NAME = b"\4shop\4test\0"  # the one that rules name
# what the clocks of a capture and a script may differ in
SLACK_S = 0.02


def frames(path):
    """(time, frame) of a pcap in this machine's byte order, microseconds or nanoseconds."""
    with open(path, "rb") as capture:
        magic = struct.unpack("=I", capture.read(24)[:4])[0]
        unit = {0xA1B2C3D4: 1e6, 0xA1B23C4D: 1e9}[magic]
        while len(header := capture.read(16)) == 16:
            seconds, fraction, length, _ = struct.unpack("=IIII", header)
            yield seconds + fraction / unit, capture.read(length)


class Timeline:
    """What was so when: a list of sets, each valid from its time to that of its end."""

    def __init__(self):
        self.spans = []  # [start, end or None, value]

    def begin(self, when, value):
        self.spans.append([when, None, value])

    def settle(self, when):
        """Only the latest is left."""
        for span in self.spans[:-1]:
            if span[1] is None:
                span[1] = when

    def at(self, when):
        return [
            value
            for start, end, value in self.spans
            if start - SLACK_S <= when and (end is None or when <= end + SLACK_S)
        ]


def diary_read(path):
    rules = collections.defaultdict(Timeline)
    address, down = Timeline(), []
    for line in open(path):
        entry = json.loads(line)
        when = entry["time"]
        if "rules" in entry:
            rules[entry["qube"]].begin(when, {tuple(rule) for rule in entry["rules"]})
        elif "gone" in entry:
            rules[entry["gone"]].begin(when, set())
        elif "address" in entry:
            address.begin(when, entry["address"])
        elif entry.get("settled") == "address":
            address.settle(when)
        elif "settled" in entry:
            rules[entry["settled"]].settle(when)
        elif "down" in entry:
            down.append((when, entry["down"]))
    return rules, address, down


def is_down(down, when):
    place = bisect.bisect([start for start, _ in down], when) - 1
    return place >= 0 and down[place][1]


def parse(frame):
    """(protocol, source, destination, payload behind the IP header), None for what is no IP."""
    kind = struct.unpack("!H", frame[12:14])[0]
    if kind == IPV4:
        length = (frame[14] & 15) * 4
        return (frame[23], socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34]),
                frame[14 + length:])
    if kind == IPV6:
        return (frame[20], socket.inet_ntop(socket.AF_INET6, frame[22:38]),
                socket.inet_ntop(socket.AF_INET6, frame[38:54]), frame[54:])
    return None


def verdict(packet, when, rules, address, down):
    """None when a packet may be there, else why not. Ours are left out already."""
    protocol, source, destination, payload = packet
    if is_down(down, when):
        return "sent while sluiced was down"
    if ":" not in source and source not in address.at(when):
        return "not from an address of the uplink"
    if protocol in (ICMP, ICMPV6):
        kind = payload[0]
        neighbour = protocol == ICMPV6 and 133 <= kind <= 137
        # an error is about something that came in; only queries are opened from inside
        query = kind in ((8, 13, 17) if protocol == ICMP else (128,))
        return None if neighbour or not query else "an ICMP query that no rule allows"
    if protocol not in (TCP, UDP):
        return "a protocol that no rule allows"
    own, port = struct.unpack("!HH", payload[:4])
    if protocol == TCP and payload[13] & 4:
        return None  # a reset ends something, it opens nothing
    if protocol == UDP and port == 53 and NAME in payload:
        return None  # the firewall's own questions; what qubes try there is no question
    number = own // 1000 - 20
    if number not in rules:
        return "from a port of nobody's"
    wanted = ("tcp" if protocol == TCP else "udp", destination, port)
    if any(wanted in allowed for allowed in rules[number].at(when)):
        return None
    return f"qube {number} may not do that"


def main():
    capture, diary, ours = sys.argv[1], sys.argv[2], set(sys.argv[3:])
    rules, address, down = diary_read(diary)
    judged, guilty = collections.Counter(), []
    for when, frame in frames(capture):
        packet = parse(frame)
        if packet is None or packet[1] in ours:
            continue
        why = verdict(packet, when, rules, address, down)
        judged["wrong" if why else "right"] += 1
        if why:
            ports = struct.unpack("!HH", packet[3][:4]) if packet[0] in (TCP, UDP) else ("", "")
            guilty.append(f"{when:.3f}: {packet[1]}:{ports[0]} -> {packet[2]}:{ports[1]}, "
                          f"protocol {packet[0]}: {why}")
    for line in guilty[:20]:
        print("FAIL:", line, file=sys.stderr)
    print(f"{judged['right']} packets crossed the uplink as the rules allowed, "
          f"{judged['wrong']} otherwise")
    sys.exit(judged["wrong"] != 0 or judged["right"] == 0)


main()
