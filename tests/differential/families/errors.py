# SPDX-License-Identifier: BSD-3-Clause
"""ICMP errors about flows, about none, and such as cannot be true."""

import struct

from packets import DESTINATION_OPTIONS, HOP_BY_HOP, checksum
from scenario import icmp_error, with_headers
from world import PERSONAL, UPLINK, UPLINK6, WORK

PAD = b"\x01\x04" + bytes(4)  # an option that says nothing

# type, then codes
ERRORS = {3: range(16), 11: (0, 1), 12: (0, 1, 2)}
ERRORS6 = {1: range(7), 2: (0,), 3: (0, 1), 4: (0, 1, 2)}


def some_error(s, v6):
    table = ERRORS6 if v6 else ERRORS
    kind = s.rng.choice(list(table))
    return kind, s.rng.choice(list(table[kind]))


def rest_of(s, kind, code, v6):
    """The second word of an error: an MTU, a pointer, or nothing."""
    if v6:
        return struct.pack("!I", 1280 if kind == 2 else 7 if kind == 4 else 0)
    if (kind, code) == (3, 4):
        return struct.pack("!HH", 0, s.rng.choice((576, 1280, 1400, 0)))
    return b"\x14\0\0\0" if kind == 12 else bytes(4)


def error(s, port, source, destination, kind, code, quote, rest=None, **fields):
    v6 = ":" in destination
    rest = rest_of(s, kind, code, v6) if rest is None else rest
    layer = icmp_error(kind, code, quote, rest, v6)
    if not v6:
        fields.setdefault("proto", 1)
    packet = s.ip(source, destination, **fields) / layer
    return s.inject(port, packet)


def received(packet, hops=5):
    """A packet as it was some hops later, when somebody objected to it."""
    packet = bytearray(packet)
    if packet[0] >> 4 == 6:
        packet[7] = max(1, packet[7] - hops)
        return bytes(packet)
    packet[8] = max(1, packet[8] - hops)
    header = (packet[0] & 15) * 4
    packet[10:12] = bytes(2)
    packet[10:12] = struct.pack("!H", checksum(bytes(packet[:header])))
    return bytes(packet)


def cut(s, packet):
    """As much of it as routers quote: 8 bytes of its upper layer, or more."""
    header = 40 if packet[0] >> 4 == 6 else (packet[0] & 15) * 4
    return packet[: s.rng.choice((header + 8, header + 8, header + 20, header + 28, 548, 1232))]


def opened(s, kind=None, v6=None, qube=None):
    """Open a flow. Returns it and the packet that went out last, as it left."""
    kind = kind or s.rng.choice(("udp", "tcp", "ping"))
    flow = getattr(s, kind)(qube, v6=v6)
    if kind == "tcp":
        yield flow.out("S")
        yield flow.back("SA")
        yield flow.out("A")
        out = yield flow.out("PA", s.data(size=60))
    else:
        out = yield flow.out(s.data(size=60))
    return flow, out.uplink[0].raw if out.uplink else flow_packet(flow)


def flow_packet(flow):
    """What should have gone out, where nothing did: the scenario is lost but goes on."""
    return flow.s.udp(flow.qube, v6=flow.v6).out().packet


def alive(s, flow):
    """An error ends nothing: the flow still works."""
    if flow.protocol == 6:
        yield flow.back("A")
        yield flow.out("PA", s.data())
        yield flow.back("PA", s.data())
    else:
        yield flow.back()
        yield flow.out()


def about_flow(s):
    """Errors of all kinds, from the far end and from routers before it."""
    flow, sent = yield from opened(s)
    for _ in range(2):
        kind, code = some_error(s, flow.v6)
        source = s.rng.choice((flow.real, s.remote(7, flow.v6)))
        quote = cut(s, received(sent, s.rng.choice((0, 1, 10))))
        yield error(s, "uplink", source, flow.outside, kind, code, quote, ttl=50)
    yield from alive(s, flow)


def about_syn(s):
    """About a SYN that was never answered."""
    flow = s.tcp()
    out = yield flow.out("S")
    sent = out.uplink[0].raw if out.uplink else flow_packet(flow)
    kind, code = some_error(s, flow.v6)
    yield error(s, "uplink", s.remote(7, flow.v6), flow.outside, kind, code, cut(s, sent))
    yield flow.back("SA")


def about_answer(s):
    """From a qube, about what it got."""
    flow, _ = yield from opened(s)
    if flow.protocol == 6:
        out = yield flow.back("PA", s.data(size=60))
    else:
        out = yield flow.back(s.data(size=60))
    inside = out.at(flow.qube.name)
    got = inside[0].raw if inside else flow_packet(flow)
    kind, code = some_error(s, flow.v6)
    yield error(s, flow.qube.name, flow.inside, flow.remote, kind, code, cut(s, got))
    if flow.protocol == 17:
        yield from alive(s, flow)


def about_dns(s):
    """The quoted destination goes back to the virtual address."""
    flow = s.dns("udp", s.rng.randrange(2))
    out = yield flow.out(s.data())
    sent = out.uplink[0].raw if out.uplink else flow_packet(flow)
    source = s.rng.choice((flow.real, s.remote(7)))
    injection = error(s, "uplink", source, UPLINK, *some_error(s, False), cut(s, sent))
    yield injection if source == flow.real else s.differs("error-router-source", injection)
    out = yield flow.back(s.data())
    inside = out.at(flow.qube.name)
    got = inside[0].raw if inside else flow_packet(flow)
    yield error(s, flow.qube.name, flow.inside, flow.remote, 3, 3, cut(s, got))


def about_clash(s):
    """About the flow of the qube whose port was changed."""
    v6 = s.version()
    flows = [
        s.udp(qube, remote=s.remote(0, v6), port=s.port(), service=53)
        for qube in s.rng.sample((WORK, PERSONAL), 2)
    ]
    sent = []
    for flow in flows:
        out = yield flow.out(s.data())
        sent.append(out.uplink[0].raw if out.uplink else flow_packet(flow))
    for quote in s.rng.sample(sent, 2):
        kind, code = some_error(s, v6)
        yield error(s, "uplink", s.remote(7, v6), flows[0].outside, kind, code, cut(s, quote))


def obsolete(s):
    """Source quench and redirects about a flow."""
    flow, sent = yield from opened(s, v6=False)
    injection = error(s, "uplink", s.remote(7), UPLINK, 4, 0, cut(s, sent), bytes(4))
    yield s.differs("icmp-source-quench", injection)
    code = s.rng.randrange(4)
    yield error(s, "uplink", s.remote(7), UPLINK, 5, code, cut(s, sent), b"\xc0\xa8\x32\x09")
    yield from alive(s, flow)


def unknown_error6(s):
    """ICMPv6 errors of numbers that nobody has given a meaning."""
    flow, sent = yield from opened(s, v6=True)
    injection = error(s, "uplink", flow.real, UPLINK6, s.rng.choice((5, 99, 127)), 0, cut(s, sent))
    yield s.differs("icmp6-unknown-error", injection)


def path_mtu(s):
    """MTUs that no path has."""
    flow, sent = yield from opened(s)
    if flow.v6:
        low, enough = struct.pack("!I", s.rng.choice((0, 68, 1279))), struct.pack("!I", 1280)
        kind, code = 2, 0
    else:
        low, enough = struct.pack("!HH", 0, s.rng.choice((1, 68, 575))), struct.pack("!HH", 0, 576)
        kind, code = 3, 4
    router = s.remote(7, flow.v6)
    injection = error(s, "uplink", router, flow.outside, kind, code, cut(s, sent), low)
    yield s.differs("error-implausible", injection)
    yield error(s, "uplink", router, flow.outside, kind, code, cut(s, sent), enough)


def other_flow(s):
    """About packets that were never sent."""
    flow, sent = yield from opened(s, s.rng.choice(("udp", "tcp")))
    header = 40 if flow.v6 else 20
    for at, value in (
        (0, s.rng.randrange(1, 1024)), (2, flow.service ^ 0x4000),
    ):
        quote = bytearray(sent)
        struct.pack_into("!H", quote, header + at, value)
        kind, code = some_error(s, flow.v6)
        yield error(s, "uplink", flow.real, flow.outside, kind, code, cut(s, bytes(quote)))
    # of the protocol that it was not
    quote = bytearray(sent)
    quote[6 if flow.v6 else 9] ^= 6 ^ 17
    yield error(s, "uplink", flow.real, flow.outside, *some_error(s, flow.v6), received(quote))
    # to another of our addresses than it was sent from
    yield error(s, "uplink", flow.real, flow.inside, *some_error(s, flow.v6), cut(s, sent))


def about_nothing(s):
    """Errors of both sides when there never was a flow."""
    flow = s.udp()
    theirs = cut(s, flow.back().packet)
    yield error(s, "uplink", flow.real, flow.outside, *some_error(s, flow.v6), theirs)
    yield error(
        s, flow.qube.name, flow.inside, flow.remote, *some_error(s, flow.v6), flow.out().packet
    )
    yield error(
        s, flow.qube.name, flow.inside, flow.remote, *some_error(s, flow.v6), flow.back().packet
    )


def about_itself(s):
    """A qube objects to its own packet, and the far end to its own."""
    flow, _ = yield from opened(s, "udp")
    kind, code = some_error(s, flow.v6)
    own = flow.out(s.data()).packet
    yield error(s, flow.qube.name, flow.inside, flow.remote, kind, code, own)
    theirs = flow.back(s.data()).packet
    yield error(s, "uplink", flow.real, flow.outside, kind, code, theirs)


def forged_by_other_qube(s):
    """A qube that guesses another one's flow."""
    flow, _ = yield from opened(s, "udp", qube=PERSONAL)
    out = yield flow.back(s.data(size=60))
    inside = out.at(PERSONAL.name)
    got = inside[0].raw if inside else flow_packet(flow)
    kind, code = some_error(s, flow.v6)
    injection = error(s, "work", WORK.address(flow.v6), flow.remote, kind, code, got)
    yield s.differs("error-forged", injection)
    yield from alive(s, flow)


def tcp_sequence(s):
    """About a segment that cannot be on its way."""
    flow, sent = yield from opened(s, "tcp")
    header = 40 if flow.v6 else 20
    sequence = struct.unpack_from("!I", sent, header + 4)[0]
    for offset in s.rng.sample((100000, 1 << 31, -100000, -70000000), 2):
        quote = bytearray(sent)
        struct.pack_into("!I", quote, header + 4, (sequence + offset) & 0xFFFFFFFF)
        kind, code = some_error(s, flow.v6)
        injection = error(s, "uplink", flow.real, flow.outside, kind, code, cut(s, bytes(quote)))
        yield s.differs("error-implausible", injection)
    yield error(s, "uplink", flow.real, flow.outside, *some_error(s, flow.v6), cut(s, sent))


def quote_too_short(s):
    """Less than 8 bytes of the upper layer, less than a header."""
    flow, sent = yield from opened(s, s.rng.choice(("udp", "tcp")))
    header = 40 if flow.v6 else 20
    for length in s.rng.sample((0, 1, header - 1, header, header + 3, header + 7), 3):
        kind, code = some_error(s, flow.v6)
        injection = error(s, "uplink", flow.real, flow.outside, kind, code, sent[:length])
        yield injection


def quote_broken(s):
    """A quoted header whose checksum is wrong, or that is no header."""
    flow, sent = yield from opened(s, "udp", v6=False)
    quote = bytearray(sent)
    quote[10] ^= 0x55
    injection = error(s, "uplink", flow.real, UPLINK, 3, 3, bytes(quote))
    yield s.differs("error-implausible", injection)
    for at, value in ((0, 0x44), (0, 0x65), (0, 0x4F)):
        quote = bytearray(sent[:36])
        quote[at] = value
        injection = error(s, "uplink", flow.real, UPLINK, 3, 3, bytes(quote))
        yield s.differs("error-implausible", injection) if value == 0x65 else injection


def quote_options(s):
    """A quoted packet with options or extension headers."""
    flow = s.udp()
    first = flow.out(s.data(size=40))
    if flow.v6:
        first = with_headers(first, (s.rng.choice((DESTINATION_OPTIONS, HOP_BY_HOP)), PAD))
    else:
        first = flow.out(s.data(size=40), options=[b"\x94\x04\0\0"])
    out = yield first
    sent = out.uplink[0].raw if out.uplink else flow_packet(flow)
    kind, code = some_error(s, flow.v6)
    router = s.remote(7, flow.v6)
    yield error(s, "uplink", router, flow.outside, kind, code, sent)
    # 8 bytes behind the headers
    yield error(s, "uplink", router, flow.outside, kind, code, sent[: 56 if flow.v6 else 32])


def quote_of_fragment(s):
    """About a later fragment: it names no flow."""
    flow, sent = yield from opened(s, "udp", v6=False)
    quote = bytearray(sent)
    struct.pack_into("!H", quote, 6, 0x2000 | 64)
    yield error(s, "uplink", flow.real, UPLINK, 11, 1, received(quote))
    # about the first one, which does
    struct.pack_into("!H", quote, 6, 0x2000)
    yield error(s, "uplink", flow.real, UPLINK, 11, 1, received(quote))


def extended(s):
    """RFC 4884: a structure behind the quote, and how long the quote is."""
    flow, sent = yield from opened(s, "udp")
    unit = 8 if flow.v6 else 4
    quote = sent[:128].ljust(128, b"\0")
    structure = struct.pack("!BBH", 0x20, 0, 0) + struct.pack("!HBBI", 8, 1, 1, 0x01234140)
    structure = structure[:2] + struct.pack("!H", checksum(structure)) + structure[4:]
    length = len(quote) // unit
    rest = bytes([length, 0, 0, 0]) if flow.v6 else bytes([0, length, 0, 0])
    kind = 3 if flow.v6 else 11
    yield error(s, "uplink", s.remote(7, flow.v6), flow.outside, kind, 0, quote + structure, rest)


def outer_checksum(s):
    flow, sent = yield from opened(s, "udp")
    injection = error(s, "uplink", flow.real, flow.outside, *some_error(s, flow.v6), cut(s, sent))
    packet = bytearray(injection.packet)
    packet[(40 if flow.v6 else 20) + 2] ^= 0x10
    yield s.inject("uplink", bytes(packet))


def zero_checksum(s):
    """A quoted datagram without a checksum gets none."""
    flow = s.udp(v6=False)
    out = yield flow.out(s.data(), udp={"chksum": 0})
    sent = out.uplink[0].raw if out.uplink else flow_packet(flow)
    yield error(s, "uplink", flow.real, UPLINK, 3, 3, sent)


def about_error(s):
    """About an error there is no error."""
    flow, _ = yield from opened(s, "udp")
    kind, code = some_error(s, flow.v6)
    inner = error(s, flow.qube.name, flow.outside, flow.real, kind, code, flow.back().packet)
    yield error(s, "uplink", flow.real, flow.outside, kind, code, inner.packet)


def last_hop(s):
    """An error whose own hop limit runs out here: nobody hears of it."""
    flow, sent = yield from opened(s, "udp")
    yield error(s, "uplink", flow.real, flow.outside, *some_error(s, flow.v6), cut(s, sent), ttl=1)


def many(s):
    """Errors never use a flow up."""
    flow, sent = yield from opened(s)
    kind, code = some_error(s, flow.v6)
    yield [
        error(s, "uplink", flow.real, flow.outside, kind, code, cut(s, sent)) for _ in range(5)
    ]
    yield from alive(s, flow)


SCENARIOS = (
    (about_flow, 120),
    (about_syn, 20),
    (about_answer, 50),
    (about_dns, 12),
    (about_clash, 12),
    (obsolete, 8),
    (unknown_error6, 5),
    (path_mtu, 12),
    (other_flow, 20),
    (about_nothing, 12),
    (about_itself, 8),
    (forged_by_other_qube, 8),
    (tcp_sequence, 12),
    (quote_too_short, 15),
    (quote_broken, 8),
    (quote_options, 12),
    (quote_of_fragment, 6),
    (extended, 10),
    (outer_checksum, 6),
    (zero_checksum, 4),
    (about_error, 6),
    (last_hop, 5),
    (many, 6),
)
