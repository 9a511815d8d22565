# SPDX-License-Identifier: BSD-3-Clause
"""Fragments of IPv4 and IPv6: in all orders, twice, too many, too few, and on top of each other.

The kernel puts datagrams together as well (connection tracking needs them whole) and sends them on
in fragments. How it cuts may differ, what arrives may not.
"""

import struct

from packets import DESTINATION_OPTIONS, FRAGMENT, checksum
from scenario import Raw, icmp_error, with_headers
from world import GATEWAY, GATEWAY6, PERSONAL, VAULT, WORK


def piece(whole, offset, data, more, identification):
    """A fragment with these bytes at this offset."""
    if whole[0] >> 4 == 4:
        header = bytearray(whole[: (whole[0] & 15) * 4])
        place = struct.unpack_from("!H", header, 6)[0] & 0x4000
        place |= more << 13 | (offset >> 3 & 0x1FFF)
        struct.pack_into("!HHH", header, 2, len(header) + len(data), identification & 0xFFFF, place)
        header[10:12] = bytes(2)
        header[10:12] = struct.pack("!H", checksum(bytes(header)))
        return bytes(header) + data
    header = struct.pack("!BBHI", whole[6], 0, offset & 0xFFF8 | more, identification)
    length = struct.pack("!H", len(header) + len(data))
    return whole[:4] + length + bytes([FRAGMENT]) + whole[7:40] + header + data


def body(whole):
    return whole[40:] if whole[0] >> 4 == 6 else whole[(whole[0] & 15) * 4 :]


def cut(s, injection, sizes, identification=None):
    """Take a packet apart into pieces of these sizes; the last one repeats. Returns injections."""
    whole = injection.packet
    data = body(whole)
    identification = identification or s.rng.randrange(1, 1 << 32)
    sizes = list(sizes)
    parts, at = [], 0
    while at < len(data):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        chunk = data[at : at + size]
        more = at + len(chunk) < len(data)
        parts.append(part(injection, piece(whole, at, chunk, more, identification)))
        at += len(chunk)
    return parts


def part(injection, packet):
    return type(injection)(injection.port, packet, injection.flow)


def big(s, flow, make, size=None, **fields):
    """A datagram that is to be taken apart."""
    size = size or s.rng.choice((600, 1500, 2000, 3000, 5000))
    fields.setdefault("flags", "")
    return make(s.data(size=size), **fields)


def some_sizes(s):
    """How a datagram may come apart: all alike, as most stacks do, or not."""
    return s.rng.choice(
        ((1000,), (1232,), (552,), (1240,), (64, 1000), (1000, 64, 480), (1200, 8, 800), (104,))
    )


def flow_of(s, kind=None, **other):
    return getattr(s, kind or s.rng.choice(("udp", "udp", "ping")))(**other)


def in_order(s):
    """Both ways."""
    flow = flow_of(s)
    sizes = some_sizes(s)
    yield cut(s, big(s, flow, flow.out), sizes)
    yield cut(s, big(s, flow, flow.back), sizes)


def one_by_one(s):
    """Nothing goes on before the last one is there, then all of it in order."""
    flow = flow_of(s)
    for one in cut(s, big(s, flow, flow.out, 2500), (1000,)):
        yield one
    for one in cut(s, big(s, flow, flow.back, 2500), (1000,)):
        yield one


def out_of_order(s):
    flow = flow_of(s)
    for make in (flow.out, flow.back):
        parts = cut(s, big(s, flow, make), some_sizes(s))
        s.rng.shuffle(parts)
        yield parts


def reversed_order(s):
    flow = flow_of(s)
    for make in (flow.out, flow.back):
        yield cut(s, big(s, flow, make), some_sizes(s))[::-1]


def twice(s):
    """Some of them come twice."""
    flow = flow_of(s)
    for make in (flow.out, flow.back):
        parts = cut(s, big(s, flow, make, 3000), (1000,))
        again = s.rng.choice(parts[:-1])
        parts.insert(parts.index(again) + 1, again)
        yield parts


def twice_changed(s):
    """The same place twice, with other bytes in it: the first one counts."""
    flow = flow_of(s, "udp")
    parts = cut(s, big(s, flow, flow.out, 3000), (1000,))
    other = part(parts[1], parts[1].packet[:-8] + b"differed")
    parts.insert(2, other)
    yield parts


def tiny_datagram(s):
    """Fragments of something that would have fitted."""
    flow = flow_of(s, "udp")
    yield cut(s, flow.out(s.data(size=100), flags=""), (40,))
    yield cut(s, flow.back(s.data(size=100), flags=""), (40,))


def missing(s):
    """One is lost: nothing comes out."""
    flow = flow_of(s)
    parts = cut(s, big(s, flow, flow.out, 3000), (1000,))
    del parts[s.rng.randrange(len(parts))]
    yield parts
    yield flow.out(s.data())
    parts = cut(s, big(s, flow, flow.back, 3000), (1000,))
    del parts[s.rng.randrange(len(parts))]
    yield parts
    yield flow.back(s.data())


def whole_flow(s):
    """Fragments, whole packets and fragments again."""
    flow = flow_of(s)
    for _ in range(4):
        make = s.rng.choice((flow.out, flow.back))
        if s.rng.random() < 0.5:
            yield cut(s, big(s, flow, make), some_sizes(s))
        else:
            yield make(s.data())


def interleaved(s):
    """Two datagrams of one flow at once."""
    flow = flow_of(s, "udp")
    one = cut(s, big(s, flow, flow.out, 2500), (1000,), 0x11112222)
    other = cut(s, big(s, flow, flow.out, 2500), (1000,), 0x11113333)
    yield [one[0], other[0], one[1], other[1]]
    yield other[2]
    yield one[2]


def same_name(s):
    """Two qubes use one identification."""
    v6 = s.version()
    flows = [s.udp(qube, v6=v6, n=n) for n, qube in enumerate((WORK, PERSONAL))]
    one, other = (cut(s, big(s, flow, flow.out, 2500), (1000,), 0x7777) for flow in flows)
    yield [one[0], other[0]]
    yield [one[1], other[1]]
    yield one[2]
    yield other[2]


def same_name_other_protocol(s):
    """UDP and ICMP with one identification: in IPv4 the protocol is part of the name."""
    qube = s.qube()
    datagram, ping = s.udp(qube, v6=False), s.ping(qube, v6=False, n=1, remote=s.remote())
    one = cut(s, big(s, datagram, datagram.out, 1800), (1000,), 0x5555)
    other = cut(s, big(s, ping, ping.out, 1800), (1000,), 0x5555)
    yield [one[0], other[0], one[1], other[1]]


def overlap(s):
    """Fragments on top of each other end the datagram."""
    flow = flow_of(s, "udp")
    for make in (flow.out, flow.back):
        injection = big(s, flow, make, 2992)  # with its header 3000
        whole, data = injection.packet, body(injection.packet)
        number = s.rng.randrange(1, 1 << 32)
        start = s.rng.choice((992, 504, 1008))
        overlapping = piece(whole, start, data[start : start + 1000], True, number)
        parts = [
            piece(whole, 0, data[:1000], True, number),
            overlapping,
            piece(whole, 2000, data[2000:], False, number),
        ]
        yield [part(injection, packet) for packet in parts]
        # had it lived, it would be whole now
        yield part(injection, piece(whole, 1000, data[1000:2000], True, number))


def overlap_remembered(s):
    """After an overlap the same name again, complete: as if it were new, or as if it were dead."""
    flow = flow_of(s, "udp")
    injection = big(s, flow, flow.out, 1992)
    whole, data = injection.packet, body(injection.packet)
    number = s.rng.randrange(1, 1 << 32)
    yield [
        part(injection, piece(whole, 0, data[:1000], True, number)),
        part(injection, piece(whole, 992, data[992:1992], True, number)),
    ]
    yield s.differs("fragment-name-dead", cut(s, injection, (1000,), number))


def contained(s):
    """A fragment that holds a part of what is there already."""
    flow = flow_of(s, "udp")
    injection = big(s, flow, flow.out, 2992)
    whole, data = injection.packet, body(injection.packet)
    number = s.rng.randrange(1, 1 << 32)
    parts = cut(s, injection, (1000,), number)
    inner = part(injection, piece(whole, 400, data[400:800], True, number))
    yield s.differs("fragment-contained", [parts[0], inner, *parts[1:]])


def two_ends(s):
    """Two last fragments that disagree, or data behind the end."""
    flow = flow_of(s, "udp")
    injection = big(s, flow, flow.out, 2992)
    whole, data = injection.packet, body(injection.packet)
    number = s.rng.randrange(1, 1 << 32)
    first = piece(whole, 0, data[:1000], True, number)
    last = piece(whole, 2000, data[2000:], False, number)
    wrong = s.rng.choice(
        (
            piece(whole, 2000, data[2000:2800], False, number),
            piece(whole, 3000, data[:400], True, number),
            piece(whole, 3000, data[:400], False, number),
        )
    )
    yield [part(injection, packet) for packet in (first, last, wrong)]


def no_whole_header(s):
    """A first fragment that does not hold the header by which packets are judged."""
    flow = s.tcp()
    # 20 bytes and 40 of options
    injection = flow.out("S", options=[("NOP", None)] * 40)
    size = s.rng.choice((8, 16, 24, 56))
    parts = cut(s, injection, (size, 1000))
    # of IPv6 the kernel minds too, but for options
    yield parts if flow.v6 and size < 20 else s.differs("fragment-tiny", parts)


def odd_length(s):
    """A fragment that is not the last one, yet no multiple of 8 long."""
    flow = s.udp(v6=s.number % 2 == 0)
    injection = big(s, flow, flow.out, 1992)
    whole, data = injection.packet, body(injection.packet)
    number = s.rng.randrange(1, 1 << 32)
    parts = [
        part(injection, piece(whole, 0, data[:1003], True, number)),
        part(injection, piece(whole, 1000, data[1000:], False, number)),
    ]
    yield parts if flow.v6 else s.differs("fragment-odd-length", parts)


def empty(s):
    """Fragments without any data."""
    flow = s.udp(v6=s.number % 2 == 0)
    injection = big(s, flow, flow.out, 1992)
    whole, data = injection.packet, body(injection.packet)
    number = s.rng.randrange(1, 1 << 32)
    parts = [
        part(injection, piece(whole, 0, data[:1000], True, number)),
        part(injection, piece(whole, 1000, b"", True, number)),
        part(injection, piece(whole, 1000, data[1000:], False, number)),
    ]
    yield parts if flow.v6 else s.differs("fragment-empty", parts)


def too_large(s):
    """A datagram that would be longer than any can be."""
    flow = flow_of(s, "udp")
    injection = big(s, flow, flow.out, 1992)
    whole, data = injection.packet, body(injection.packet)
    number = s.rng.randrange(1, 1 << 32)
    yield part(injection, piece(whole, 0, data[:1000], True, number))
    yield part(injection, piece(whole, 65528, data[:1000], False, number))


def largest(s):
    """One that is nearly as long as can be, in many fragments."""
    flow = s.ping(v6=s.version())
    parts = cut(s, big(s, flow, flow.out, s.rng.choice((16384, 60000, 65400))), (1240,))
    yield parts
    parts = cut(s, big(s, flow, flow.back, 16384), (1240,))
    yield parts[::-1]


def refused(s):
    """A datagram in fragments is refused once, as a whole."""
    flow = s.udp(WORK, remote=s.rng.choice(("203.0.113.9", "2001:2:3::9", "192.0.2.9")))
    parts = cut(s, big(s, flow, flow.out, 2000), (1000,))
    yield s.rng.choice((parts, parts[::-1]))


def last_hop(s):
    """Hop limits of fragments: that of the first one counts."""
    flow = s.udp()
    yield cut(s, big(s, flow, flow.out, 2000, ttl=1), (1000,))


def no_rules(s):
    flow = s.udp(VAULT, v6=False)
    yield cut(s, big(s, flow, flow.out, 2000), (1000,))


def spoofed(s):
    """Every fragment must have the right source."""
    flow = s.udp(WORK)
    parts = cut(s, big(s, flow, flow.out, 2000), (1000,))
    yield parts[0]
    wrong = bytearray(parts[1].packet)
    at = 8 if flow.v6 else 12
    wrong[at + 3] ^= 0x10
    if not flow.v6:
        wrong[10:12] = bytes(2)
        wrong[10:12] = struct.pack("!H", checksum(bytes(wrong[:20])))
    yield part(parts[1], bytes(wrong))
    yield parts[1:]


def from_nowhere(s):
    """Unsolicited fragments from outside."""
    flow = s.udp()
    yield cut(s, big(s, flow, flow.back, 2000), (1000,))


def later_alone(s):
    """A later fragment alone, with what would be ports of a flow."""
    flow = s.udp()
    yield flow.out()
    injection = flow.back(s.data(size=100), flags="")
    yield part(injection, piece(injection.packet, 8, body(injection.packet), False, 77))


def dont_fragment(s):
    """Fragments that must not be taken apart any further, as some stacks send them."""
    flow = s.udp(v6=False)
    parts = cut(s, big(s, flow, flow.out, 2000, flags="DF"), (1000,))
    yield s.differs("fragment-dont-fragment", parts)


def class_of(s):
    """The class of service of fragments."""
    flow = s.udp()
    yield cut(s, big(s, flow, flow.out, 2000, tos=0xB8), (1000,))


def longer_than_the_way_out(s):
    """Fragments that fit the link they come from but not the one they go to."""
    flow = s.udp()
    if flow.qube is WORK:
        parts = cut(s, big(s, flow, flow.out, 3000), (1448,))
    else:
        yield flow.out()
        parts = cut(s, big(s, flow, flow.back, 3000), (1344,))
    yield parts


def dont_fragment_longer(s):
    flow = s.udp(WORK, v6=False)
    parts = cut(s, big(s, flow, flow.out, 3000, flags="DF"), (1448,))
    yield parts


def dns(s):
    """A large answer."""
    flow = s.dns("udp", s.rng.randrange(2))
    yield flow.out(s.data())
    yield cut(s, big(s, flow, flow.back, 3000), (1368,))


def connection(s):
    """Segments of TCP in fragments."""
    flow = s.tcp()
    yield from flow.handshake()
    yield cut(s, flow.out("PA", s.data(size=1100), ip={"flags": ""}), (600,))
    yield cut(s, flow.back("PA", s.data(size=1100), ip={"flags": ""}), (600,))[::-1]
    yield flow.out("A")


def first_of_flow(s):
    """A SYN in two fragments."""
    flow = s.tcp()
    yield cut(s, flow.out("S", s.data(size=300), ip={"flags": ""}), (80,))
    yield flow.back("SA")


def gateway(s):
    """A ping to the gateway, larger than a frame."""
    flow = s.ping(remote=GATEWAY6 if s.version() else GATEWAY)
    yield cut(s, big(s, flow, flow.out, 3000), (1200,))


def atomic(s):
    """A fragment that is all there is."""
    flow = s.udp(v6=True)
    yield cut(s, flow.out(s.data(size=100)), (2000,))
    yield cut(s, flow.back(s.data(size=100)), (2000,))


def atomic_refused(s):
    flow = s.udp(WORK, remote="2001:2:3::9")
    yield cut(s, flow.out(s.data(size=100)), (2000,))


def behind_headers(s):
    """Extension headers in front of the fragment header, and behind it."""
    flow = s.udp(v6=True)
    option = (DESTINATION_OPTIONS, b"\x01\x04" + bytes(4))
    yield cut(s, with_headers(flow.out(s.data(size=2000)), option), (1000,))
    for one in cut(s, flow.back(s.data(size=2000)), (1000,)):
        yield with_headers(one, option)


def about_fragments(s):
    """An ICMP error about the first fragment of what went out."""
    flow = s.udp()
    out = yield cut(s, big(s, flow, flow.out, 2000), (1000,))
    if out.uplink:
        # the fragments have been put together for the comparison; quote as much as the first held
        quote = out.uplink[0].raw[:200]
    else:
        quote = flow.out().packet
    rest = bytes(4)
    layer = icmp_error(1 if flow.v6 else 3, 4 if flow.v6 else 3, quote, rest, flow.v6)
    fields = {} if flow.v6 else {"proto": 1}
    yield s.inject("uplink", s.ip(flow.real, flow.outside, **fields) / layer)


def error_in_fragments(s):
    """An ICMP error that is itself in fragments."""
    flow = s.udp()
    out = yield flow.out(s.data(size=1000), flags="")
    quote = out.uplink[0].raw if out.uplink else flow.out().packet
    layer = icmp_error(1 if flow.v6 else 3, 4 if flow.v6 else 3, quote, bytes(4), flow.v6)
    fields = {} if flow.v6 else {"proto": 1}
    injection = s.inject("uplink", s.ip(flow.real, flow.outside, flags="", **fields) / layer)
    yield cut(s, injection, (400,))


def many_datagrams(s):
    """Several datagrams under way at once, finished in another order."""
    flow = s.udp()
    parts = [cut(s, big(s, flow, flow.out, 1800), (1000,), n + 1) for n in range(6)]
    yield [first for first, *_ in parts]
    s.rng.shuffle(parts)
    for *_, last in parts:
        yield last


def without_ports(s):
    """A protocol without ports in fragments."""
    qube, remote = s.qube(), s.remote()
    injection = s.from_qube(qube, remote, Raw(s.data(size=2000)), proto=50, flags="")
    yield cut(s, injection, (1000,))


SCENARIOS = (
    (in_order, 40),
    (one_by_one, 15),
    (out_of_order, 40),
    (reversed_order, 20),
    (twice, 15),
    (twice_changed, 6),
    (tiny_datagram, 10),
    (missing, 12),
    (whole_flow, 20),
    (interleaved, 6),
    (same_name, 8),
    (same_name_other_protocol, 5),
    (overlap, 15),
    (overlap_remembered, 6),
    (contained, 6),
    (two_ends, 10),
    (no_whole_header, 10),
    (odd_length, 5),
    (empty, 5),
    (too_large, 5),
    (largest, 6),
    (refused, 10),
    (last_hop, 5),
    (no_rules, 3),
    (spoofed, 6),
    (from_nowhere, 5),
    (later_alone, 4),
    (dont_fragment, 5),
    (class_of, 4),
    (longer_than_the_way_out, 12),
    (dont_fragment_longer, 4),
    (dns, 6),
    (connection, 8),
    (first_of_flow, 6),
    (gateway, 6),
    (atomic, 6),
    (atomic_refused, 3),
    (behind_headers, 6),
    (about_fragments, 8),
    (error_in_fragments, 6),
    (many_datagrams, 6),
    (without_ports, 4),
)
