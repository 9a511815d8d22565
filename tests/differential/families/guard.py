# SPDX-License-Identifier: BSD-3-Clause
"""Who may say what on which link: sources, destinations, MACs, broken headers, hop limits."""

import struct

from packets import checksum
from scenario import Injection, Raw, TCP, UDP, icmp_error
from wire import ETHERTYPE, QUBE_FRAME, UPLINK_FRAME, mac
from world import (
    BROKEN,
    GATEWAY,
    GATEWAY6,
    GHOST,
    PERSONAL,
    UPLINK,
    UPLINK6,
    VAULT,
    WORK,
)

SPOOFED = (
    PERSONAL.ip, GHOST.ip, GATEWAY, UPLINK, "198.18.0.9", "10.137.0.99", "0.0.0.0", "127.0.0.1",
    "224.0.0.1", "255.255.255.255", "192.168.50.2", "10.139.1.1", "240.0.0.1", "169.254.0.1",
)
SPOOFED6 = (
    PERSONAL.ip6, GATEWAY6, UPLINK6, "2001:2:1::9", "fe80::1", "::", "::1", "ff02::1",
    "::ffff:10.137.0.16", "fd09:24ef:4179::a89:99", "2001:2:0:50::2",
)
NOWHERE = ("127.0.0.1", "0.0.0.0", "224.0.0.1", "239.1.2.3", "255.255.255.255", "192.168.50.255")
NOWHERE6 = ("::1", "ff02::1", "ff0e::1:2")
NEVER_FROM_OUTSIDE = (
    WORK.ip, PERSONAL.ip, GHOST.ip, VAULT.ip, UPLINK, GATEWAY, "0.0.0.0", "0.1.2.3", "127.0.0.1",
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "10.139.1.1",
)
NEVER_FROM_OUTSIDE6 = (
    WORK.ip6, PERSONAL.ip6, UPLINK6, GATEWAY6, "::", "::1", "ff02::1", "::ffff:198.18.0.1",
    "fe80::1",
)


def layers(s):
    return (
        UDP(sport=s.port(), dport=s.service()) / Raw(s.data()),
        TCP(sport=s.port(), dport=s.service(), flags="S"),
    )


def spoofed(s):
    v6 = s.version()
    for source in s.rng.sample(SPOOFED6 if v6 else SPOOFED, 4):
        yield s.from_qube(WORK, s.remote(0, v6), s.rng.choice(layers(s)), source=source)


def spoofed_flow(s):
    """Another qube's packets, for a flow that lives."""
    flow = s.udp(WORK)
    yield flow.out()
    layer = UDP(sport=flow.port, dport=flow.service) / Raw(s.data())
    yield s.from_qube(PERSONAL, flow.remote, layer, source=flow.inside)
    yield flow.back()


def nowhere(s):
    """Destinations that nobody can route to."""
    v6 = s.version()
    for remote in s.rng.sample(NOWHERE6 if v6 else NOWHERE, 3):
        yield s.from_qube(PERSONAL, remote, s.rng.choice(layers(s)))


def reserved(s):
    """No host has such an address; the kernel has stopped to mind."""
    for remote in ("240.1.2.3", "0.0.0.1", "::ffff:198.18.0.1"):
        yield s.differs("reserved-destination", s.from_qube(PERSONAL, remote, layers(s)[0]))


def local_networks(s):
    """Networks that are nobody's across the uplink, unless the uplink itself is in one."""
    for remote in ("fd12:3456::9", "2001:db8::9", "3fff::9"):
        flow = s.udp(PERSONAL, remote=remote, n=len(remote) % 7)
        yield flow.out()
        yield s.differs("martian-answer", flow.back())


def land(s):
    """From oneself to oneself."""
    v6 = s.version()
    for layer in layers(s):
        qube = s.rng.choice((WORK, PERSONAL))
        injection = s.from_qube(qube, qube.address(v6), layer)
        yield s.differs("land-refused", injection) if qube is WORK else injection


def never_from_outside(s):
    v6 = s.version()
    for source in s.rng.sample(NEVER_FROM_OUTSIDE6 if v6 else NEVER_FROM_OUTSIDE, 4):
        destination = s.rng.choice((UPLINK6 if v6 else UPLINK, WORK.address(v6), s.remote(1, v6)))
        yield s.from_uplink(source, s.rng.choice(layers(s)), destination=destination)


def through_us(s):
    """What is for neither us nor a flow is not routed."""
    v6 = s.version()
    for destination in (s.remote(1, v6), GATEWAY6 if v6 else GATEWAY, PERSONAL.address(v6)):
        yield s.from_uplink(s.remote(0, v6), s.rng.choice(layers(s)), destination=destination)


def frame(port, packet, to=None, sender=None, kind=None):
    """A frame with something else in its Ethernet header."""
    header = UPLINK_FRAME if port == "uplink" else QUBE_FRAME
    kind = ETHERTYPE[packet[0] >> 4] if kind is None else kind
    header = (to or header[:6]) + (sender or header[6:]) + kind
    return Injection(port, packet, frame=header + packet)


def other_station(s):
    """Frames that are not for us, or for everybody."""
    flow = s.udp()
    yield flow.out()
    for to in (mac("02:00:00:00:99:99"), b"\xff" * 6, mac("01:00:5e:00:00:01")):
        yield frame(flow.qube.name, flow.out().packet, to=to)
        yield frame("uplink", flow.back().packet, to=to)
    yield flow.back()


def other_sender(s):
    """A qube has one MAC."""
    flow = s.udp()
    packet = flow.out().packet
    injection = frame(flow.qube.name, packet, sender=mac("00:16:3e:5e:6c:99"))
    yield s.differs("source-mac", injection)


def tagged(s):
    """VLANs, and protocols that nobody here speaks."""
    flow = s.udp()
    packet = flow.out().packet
    inner = ETHERTYPE[packet[0] >> 4]
    tags = (b"\x81\x00\x00\x05", b"\x88\xa8\x00\x05")
    for kind in (tags[0] + inner, tags[1] + inner, b"\x88\xcc", b"\x86\x00"):
        yield frame(flow.qube.name, packet, kind=kind)


def padded(s):
    """Bytes behind the end of the packet are not part of it."""
    flow = s.udp()
    for size in (1, 18, 100):
        packet = flow.out(s.data())
        yield frame(packet.port, packet.packet + s.rng.randbytes(size))
        packet = flow.back(s.data())
        yield frame("uplink", packet.packet + s.rng.randbytes(size))


def cut_off(s):
    """Frames that end early."""
    flow = s.udp()
    yield flow.out()
    for _ in range(3):
        packet = flow.out(s.data(size=60)).packet
        yield frame(flow.qube.name, packet[: s.rng.randrange(len(packet))] or b"\x45")
        packet = flow.back(s.data(size=60)).packet
        yield frame("uplink", packet[: s.rng.randrange(len(packet))] or b"\x60")


def change(packet, at, value, sum_right=True):
    packet = bytearray(packet)
    packet[at : at + len(value)] = value
    if sum_right:
        packet[10:12] = bytes(2)
        packet[10:12] = struct.pack("!H", checksum(bytes(packet[: (packet[0] & 15) * 4])))
    return bytes(packet)


def bad_header(s):
    """Headers of IPv4 that cannot be."""
    flow = s.udp(v6=False)
    yield flow.out()
    for make in (flow.out, flow.back):
        injection = make(s.data(size=64))
        packet = injection.packet
        yield s.inject(injection.port, change(packet, 10, b"\xde\xad", False))
        yield s.inject(injection.port, change(packet, 2, struct.pack("!H", 19)))
        yield s.inject(injection.port, change(packet, 2, struct.pack("!H", len(packet) + 1)))
        yield s.inject(injection.port, change(packet, 0, b"\x44", False))
        yield frame(injection.port, change(packet, 0, b"\x55", False), kind=ETHERTYPE[4])
        injection = make(s.data(size=8))
        yield s.inject(injection.port, change(injection.packet, 0, b"\x4f", False))
    yield flow.back()


def bad_header6(s):
    flow = s.udp(v6=True)
    yield flow.out()
    for make in (flow.out, flow.back):
        injection = make(s.data(size=64))
        packet = injection.packet
        longer = packet[:4] + struct.pack("!H", len(packet) - 39) + packet[6:]
        yield s.inject(injection.port, longer)
        yield frame(injection.port, b"\x50" + packet[1:], kind=ETHERTYPE[6])
        yield frame(injection.port, packet[:4] + bytes(2) + packet[6:])
    yield flow.back()


def wrong_family(s):
    """IPv4 announced as IPv6 and the reverse."""
    for v6 in (False, True):
        injection = s.udp(v6=v6).out()
        yield frame(injection.port, injection.packet, kind=ETHERTYPE[4 if v6 else 6])


def evil_bit(s):
    """The reserved flag of IPv4 means nothing."""
    flow = s.udp(v6=False)
    yield flow.out(flags="evil")
    yield flow.back(flags="evil")


# Hop limits.


def last_hop_out(s):
    """A packet that may not go on, towards where the rules allow or not."""
    qube = s.rng.choice((WORK, PERSONAL, BROKEN))
    remotes = ("203.0.113.9", "2001:2:3::9", s.remote(), s.remote(0, True), "192.0.2.9")
    remote = s.rng.choice(remotes)
    kind = s.rng.choice(("udp", "tcp", "ping"))
    hops = s.rng.choice((1, 0))
    flow = getattr(s, kind)(qube, remote=remote)
    if kind == "tcp":
        yield flow.out("S", ip={"ttl": hops})
    else:
        yield flow.out(ttl=hops)


def last_hop_in(s):
    """The same for an answer: its sender hears of it, and the flow lives on."""
    flow = s.udp()
    yield flow.out()
    yield flow.back(ttl=1)
    yield flow.out(ttl=1)
    yield flow.out(ttl=2)
    yield flow.back(ttl=2)


def last_hop_tcp(s):
    flow = s.tcp()
    yield from flow.handshake()
    yield flow.out("PA", s.data(), ip={"ttl": 1}, keep=True)
    yield flow.back("PA", s.data(), ip={"ttl": 1}, keep=True)
    yield flow.out("PA", s.data())
    yield flow.back("PA", s.data())


def last_hop_unsolicited(s):
    v6 = s.version()
    for destination in (UPLINK6 if v6 else UPLINK, WORK.address(v6)):
        layer = UDP(sport=53, dport=s.port()) / Raw(s.data())
        injection = s.from_uplink(s.remote(0, v6), layer, destination=destination, ttl=1)
        ours = destination in (UPLINK, UPLINK6)
        yield injection if ours else s.differs("hops-unsolicited", injection)


def last_hop_no_rules(s):
    injection = s.udp(VAULT, v6=False).out(ttl=1)
    yield s.differs("hops-before-rules", injection)


def last_hop_invalid(s):
    """What opens no flow hears nothing, whatever its hop limit."""
    flow = s.tcp(s.qube())
    yield s.differs("hops-before-state", flow.out(s.rng.choice(("R", "A", "FA")), ip={"ttl": 1}))


def last_hop_error(s):
    """About an ICMP error there is none."""
    quote = s.udp(v6=False).back().packet
    layer = icmp_error(3, 3, quote)
    yield s.from_qube(WORK, s.remote(), layer, ttl=1, proto=1)


SCENARIOS = (
    (spoofed, 30),
    (spoofed_flow, 8),
    (nowhere, 16),
    (reserved, 3),
    (local_networks, 3),
    (land, 8),
    (never_from_outside, 25),
    (through_us, 10),
    (other_station, 8),
    (other_sender, 4),
    (tagged, 5),
    (padded, 8),
    (cut_off, 15),
    (bad_header, 8),
    (bad_header6, 8),
    (wrong_family, 4),
    (evil_bit, 4),
    (last_hop_out, 30),
    (last_hop_in, 12),
    (last_hop_tcp, 8),
    (last_hop_unsolicited, 4),
    (last_hop_no_rules, 3),
    (last_hop_invalid, 6),
    (last_hop_error, 3),
)
