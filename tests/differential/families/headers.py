# SPDX-License-Identifier: BSD-3-Clause
"""Options of IPv4 and extension headers of IPv6."""

from packets import DESTINATION_OPTIONS, HOP_BY_HOP, ROUTING
from scenario import with_headers
from world import WORK

HARMLESS = (
    b"\x01\x01\x01\x01",  # nothing, four times
    b"\x00\x00\x00\x00",
    b"\x94\x04\x00\x00",  # router alert
    b"\x9e\x04\xab\xcd",  # of an experiment
    b"\x01\x9e\x06\xab\xcd\xef\x12\x00",
    b"\x82\x0b" + bytes(9) + b"\x00",  # security
    b"\x01" * 40,
)
RECORDING = (
    b"\x07\x07\x04" + bytes(4) + b"\x00",  # record route
    b"\x07\x0b\x04" + bytes(8) + b"\x00",
    b"\x44\x0c\x05\x01" + bytes(8),  # timestamps and addresses
    b"\x44\x08\x05\x00" + bytes(4),
)
SOURCE_ROUTES = (
    b"\x83\x07\x04\xc6\x12\x00\x05\x00",
    b"\x89\x07\x04\xc6\x12\x00\x05\x00",
    b"\x01\x83\x07\x08\xc6\x12\x00\x05",
)
MALFORMED = (
    b"\x9e\x00\x00\x00",  # a length of nothing
    b"\x9e\x01\x00\x00",
    b"\x9e\x09\x00\x00",  # beyond the header
    b"\x01\x01\x01\x9e",  # no room for a length
)
NONSENSE = (
    b"\x07\x02\x00\x00",  # record route that is too short
    b"\x07\x07\x03" + bytes(4) + b"\x00",  # its pointer into itself
    b"\x44\x03\x05\x00",
    b"\x94\x03\x00\x00",
)


def harmless(s):
    flow = s.udp(v6=False)
    yield flow.out(options=[s.rng.choice(HARMLESS)])
    yield flow.back(options=[s.rng.choice(HARMLESS)])
    yield flow.out(options=[s.rng.choice(HARMLESS)])


def recording(s):
    flow = s.udp(v6=False)
    yield s.differs("recorded-route", flow.out(options=[s.rng.choice(RECORDING)]))
    yield s.differs("recorded-route", flow.back(options=[s.rng.choice(RECORDING)]))


def source_route(s):
    flow = s.udp(v6=False)
    yield flow.out(options=[s.rng.choice(SOURCE_ROUTES)])
    yield flow.out()
    yield flow.back(options=[s.rng.choice(SOURCE_ROUTES)])
    yield flow.back()


def malformed(s):
    flow = s.udp(v6=False)
    yield s.differs("malformed-options", flow.out(options=[s.rng.choice(MALFORMED)]))
    yield flow.out()
    yield s.differs("malformed-options", flow.back(options=[s.rng.choice(MALFORMED)]))
    yield flow.back()


def nonsense(s):
    """Well-formed as far as one can skip it, but not what the option must hold."""
    flow = s.udp(v6=False)
    yield flow.out()
    yield s.differs("nonsense-options", flow.out(options=[s.rng.choice(NONSENSE)]))
    yield s.differs("nonsense-options", flow.back(options=[s.rng.choice(NONSENSE)]))


def refused(s):
    """The refusal of a packet with options."""
    flow = s.udp(WORK, remote="203.0.113.9")
    yield flow.out(options=[s.rng.choice(HARMLESS[:5])])
    # short, so that all of it is quoted
    yield s.differs("refused-recording", flow.out(s.data(), options=[s.rng.choice(RECORDING)]))


def tcp_with_options(s):
    flow = s.tcp(v6=False)
    options = {"options": [s.rng.choice(HARMLESS)]}
    yield flow.out("S", ip=options)
    yield flow.back("SA", ip=options)
    yield flow.out("A")
    yield flow.out("PA", s.data(), ip=options)
    yield flow.back("PA", s.data(), ip=options)


# IPv6. Each header is (its number, what follows the two bytes of next header and length).

PAD = b"\x01\x04" + bytes(4)
ALERT = b"\x05\x02\x00\x00\x01\x00"
LONG_PAD = b"\x01\x0c" + bytes(12)
SKIPPED = b"\x1e\x04abcd"  # unknown, the two highest bits say: go on
DISCARDED = b"\x5e\x04abcd"
REPORTED = b"\x9e\x04abcd"
REPORTED_UNICAST = b"\xde\x04abcd"


def both_ways(s, row_out, row_in, *headers):
    """A packet with these headers each way, inside of a flow."""
    flow = s.udp(v6=True)
    yield flow.out()
    for make, row in ((flow.out, row_out), (flow.back, row_in)):
        injection = with_headers(make(s.data()), *headers)
        yield s.differs(row, injection) if row else injection
    yield flow.back()


def extensions(s):
    """Headers that may pass."""
    chains = (
        [(HOP_BY_HOP, PAD)],
        [(HOP_BY_HOP, ALERT)],
        [(HOP_BY_HOP, SKIPPED)],
        [(DESTINATION_OPTIONS, PAD)],
        [(DESTINATION_OPTIONS, SKIPPED)],
        [(DESTINATION_OPTIONS, REPORTED)],
        [(HOP_BY_HOP, PAD), (DESTINATION_OPTIONS, PAD)],
        [(DESTINATION_OPTIONS, PAD), (DESTINATION_OPTIONS, LONG_PAD)],
    )
    yield from both_ways(s, None, None, *s.rng.choice(chains))


def first_with_extensions(s):
    """A flow that begins with such a packet."""
    flow = s.udp(v6=True)
    yield with_headers(flow.out(s.data()), (HOP_BY_HOP, PAD), (DESTINATION_OPTIONS, PAD))
    yield flow.back()
    flow = s.tcp(v6=True, n=1)
    yield with_headers(flow.out("S"), (DESTINATION_OPTIONS, PAD))
    yield with_headers(flow.back("SA"), (DESTINATION_OPTIONS, LONG_PAD))
    yield flow.out("A")


def refused_with_extensions(s):
    flow = s.udp(WORK, remote="2001:2:3::9")
    yield with_headers(flow.out(s.data()), (HOP_BY_HOP, PAD))
    yield with_headers(flow.out(s.data()), (DESTINATION_OPTIONS, LONG_PAD))


def unknown_option(s):
    """Hop-by-hop options that a router which looks at them must not pass."""
    option = s.rng.choice((DISCARDED, LONG_PAD, REPORTED, REPORTED_UNICAST))
    row = "hop-by-hop-discard" if option in (DISCARDED, LONG_PAD) else "hop-by-hop-report"
    yield from both_ways(s, row, row, (HOP_BY_HOP, option))


def misplaced(s):
    """Hop-by-hop options behind another header."""
    yield from both_ways(
        s, "extension-header", "extension-header", (DESTINATION_OPTIONS, PAD), (HOP_BY_HOP, PAD)
    )


def too_many(s):
    headers = [(DESTINATION_OPTIONS, PAD)] * s.rng.choice((5, 6, 9))
    yield from both_ways(s, "extension-header", "extension-header", *headers)


def four(s):
    yield from both_ways(s, None, None, *[(DESTINATION_OPTIONS, PAD)] * 4)


def routing(s):
    """Routing headers: the deprecated one, and others with and without segments left."""
    kind, left = s.rng.choice(((0, 1), (0, 0), (2, 1), (4, 1), (3, 1), (253, 0)))
    body = bytes([kind, left]) + bytes(4) + bytes.fromhex("20010002000100000000000000000099")
    yield from both_ways(s, "extension-header", "extension-header", (ROUTING, body))


def unknown(s):
    """Numbers that are extension headers, but not for those who cross a border."""
    row = "extension-header-alone"
    flow = s.udp(v6=True)
    yield flow.out()
    number = s.rng.choice((135, 139, 140, 253, 254))
    injection = with_headers(flow.out(s.data()), (number, PAD))
    yield s.differs(row, injection)


def nothing_follows(s):
    """No next header: bytes that nobody can judge."""
    flow = s.udp(v6=True)
    injection = flow.out(s.data())
    injection.packet = injection.packet[:6] + b"\x3b" + injection.packet[7:]
    yield injection


def chain_cut_off(s):
    """A header that is longer than its packet."""
    flow = s.udp(v6=True)
    yield flow.out()
    for make in (flow.out, flow.back):
        packet = bytearray(with_headers(make(s.data()), (DESTINATION_OPTIONS, PAD)).packet)
        packet[41] = s.rng.choice((20, 255))
        yield s.inject(flow.qube.name if make == flow.out else "uplink", bytes(packet))


SCENARIOS = (
    (harmless, 20),
    (recording, 6),
    (source_route, 8),
    (malformed, 8),
    (nonsense, 8),
    (refused, 6),
    (tcp_with_options, 6),
    (extensions, 24),
    (first_with_extensions, 6),
    (refused_with_extensions, 4),
    (unknown_option, 9),
    (misplaced, 4),
    (too_many, 4),
    (four, 2),
    (routing, 10),
    (unknown, 8),
    (nothing_follows, 3),
    (chain_cut_off, 6),
)
