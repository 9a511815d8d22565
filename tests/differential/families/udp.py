# SPDX-License-Identifier: BSD-3-Clause
"""UDP: one way, both ways, odd lengths and checksums, ports that two qubes use."""

from scenario import Raw, UDP
from world import PERSONAL, UPLINK, UPLINK6, WORK


def one_way(s):
    flow = s.udp()
    for _ in range(s.rng.randrange(1, 4)):
        yield flow.out(tos=s.rng.choice((0, 0x10, 0xB8)))


def both_ways(s):
    flow = s.udp()
    yield flow.out()
    for _ in range(s.rng.randrange(1, 6)):
        yield s.rng.choice((flow.out, flow.back))(tos=s.rng.choice((0, 1, 3, 0x48)))


def burst(s):
    """Several packets at once, in order."""
    flow = s.udp()
    yield flow.out()
    yield [flow.out(s.data(b"%d" % n)) for n in range(5)]
    yield [flow.back(s.data(b"%d" % n)) for n in range(5)]


def at_once(s):
    """The first packets of a flow arrive together, and so do those of several flows."""
    flows = [s.udp(WORK, n=n) for n in range(3)]
    yield [flow.out(s.data(b"%d" % n)) for n in range(2) for flow in flows]
    for flow in flows:
        yield flow.back()


def sizes(s):
    flow = s.udp()
    for size in s.rng.sample((0, 1, 2, 3, 17, 18, 19, 1200), 4):
        yield flow.out(s.rng.randbytes(size))
        yield flow.back(s.rng.randbytes(size))


def checksum_zero(s):
    flow = s.udp(v6=False)
    yield flow.out(udp={"chksum": 0})
    yield flow.back(udp={"chksum": 0})
    yield flow.back()


def checksum_zero_v6(s):
    flow = s.udp(v6=True)
    yield flow.out(udp={"chksum": 0})
    yield flow.back(udp={"chksum": 0})


def checksum_that_becomes_zero(s):
    """A sum of zero is sent as all ones, also when only the translation makes it so."""
    flow = s.udp()
    yield flow.out()
    data = s.data(size=8)
    at = 46 if flow.v6 else 26
    for wanted in (0, 1, 0xFFFE):
        # the last word is what the sum lacks when it is that of the packet as it leaves
        layer = UDP(sport=flow.external, dport=flow.service) / Raw(data + bytes(2))
        left = bytes(s.ip(flow.outside, flow.remote) / layer)[at : at + 2]
        word = (int.from_bytes(left, "big") - wanted) % 0xFFFF
        yield flow.out(data + word.to_bytes(2, "big"))
        layer = UDP(sport=flow.service, dport=flow.port) / Raw(data + bytes(2))
        left = bytes(s.ip(flow.remote, flow.inside) / layer)[at : at + 2]
        word = (int.from_bytes(left, "big") - wanted) % 0xFFFF
        yield flow.back(data + word.to_bytes(2, "big"))


def checksum_wrong(s):
    flow = s.udp()
    yield s.differs("wrong-checksum", flow.out(udp={"chksum": 0xDEAD}))
    yield flow.out()
    yield flow.back()
    yield s.differs("wrong-checksum", flow.back(udp={"chksum": 0xDEAD}))


def length_wrong(s):
    flow = s.udp()
    data = s.data(size=20)
    for wrong in s.rng.sample((0, 7, 29, 0xFFFF), 2):
        yield flow.out(data, udp={"len": wrong})
    yield flow.out(data)
    for wrong in s.rng.sample((0, 7, 29, 0xFFFF), 2):
        yield flow.back(data, udp={"len": wrong})
    yield flow.back(data)


def length_short(s):
    """Bytes behind the end of the datagram, but inside of the packet."""
    flow = s.udp()
    yield flow.out()
    yield flow.out(s.data(size=20), udp={"len": 20, "chksum": 0})
    yield flow.back(s.data(size=20), udp={"len": 20, "chksum": 0})


def several_remotes(s):
    """One port of the qube, several hosts: the same external port for all of them."""
    qube, v6 = s.qube(), s.version()
    flows = [s.udp(qube, remote=s.remote(n, v6), port=s.port()) for n in range(4)]
    for flow in flows:
        yield flow.out()
    s.rng.shuffle(flows)
    for flow in flows:
        yield flow.back()


def several_services(s):
    """The same host at several ports."""
    qube, v6 = s.qube(), s.version()
    flows = [
        s.udp(qube, remote=s.remote(0, v6), port=s.port(), service=service)
        for service in (53, 80, 5000)
    ]
    for flow in flows:
        yield flow.out()
    for flow in flows:
        yield flow.back()
        yield flow.out()


def strangers(s):
    """Nobody but who was asked may answer."""
    flow = s.udp()
    yield flow.out()
    layer = UDP(sport=flow.service, dport=flow.external) / Raw(s.data(b"other host"))
    yield s.from_uplink(s.remote(5, flow.v6), layer)
    layer = UDP(sport=flow.service ^ 0x4000, dport=flow.external) / Raw(s.data(b"other port"))
    yield s.from_uplink(flow.real, layer)
    layer = UDP(sport=flow.service, dport=s.port(9)) / Raw(s.data(b"to another port"))
    yield s.from_uplink(flow.real, layer)
    yield flow.back()


def straight_to_the_qube(s):
    """An answer to the address that the qube has inside finds no flow."""
    flow = s.udp()
    yield flow.out()
    layer = UDP(sport=flow.service, dport=flow.port) / Raw(s.data())
    yield s.from_uplink(flow.real, layer, destination=flow.inside)
    yield flow.back()


def turned_around(s):
    """The far end sends what looks like the qube's own packet."""
    flow = s.udp()
    yield flow.out()
    layer = UDP(sport=flow.port, dport=flow.service) / Raw(s.data())
    yield s.from_uplink(flow.inside, layer, destination=flow.real)
    layer = UDP(sport=flow.external, dport=flow.service) / Raw(s.data())
    yield s.from_uplink(flow.outside, layer, destination=flow.real)


def unsolicited(s):
    v6 = s.version()
    layer = UDP(sport=s.service(), dport=s.rng.choice((53, 68, 500, 5000))) / Raw(s.data())
    yield s.from_uplink(s.remote(0, v6), layer)
    yield s.from_uplink(s.remote(0, v6), layer, destination=s.qube().address(v6))


def clash(s):
    """Two qubes, one port, one remote end: only one of them can keep the port."""
    v6, service = s.version(), s.service()
    first, second = s.rng.sample((WORK, PERSONAL), 2)
    flows = [
        s.udp(qube, remote=s.remote(0, v6), port=s.port(), service=service)
        for qube in (first, second)
    ]
    for flow in flows:
        yield flow.out()
    for flow in s.rng.sample(flows, 2):
        yield flow.back()
    for flow in flows:
        yield flow.out()


def clash_then_another(s):
    """A port that had to be changed stays changed, also for those who would not mind."""
    v6, service = s.version(), s.service()
    first, second = s.rng.sample((WORK, PERSONAL), 2)
    one, other = (
        s.udp(qube, remote=s.remote(0, v6), port=s.port(), service=service)
        for qube in (first, second)
    )
    yield one.out()
    yield other.out()
    another = s.udp(second, remote=s.remote(1, v6), port=s.port())
    yield another.out()
    yield another.back()
    yield other.back()


def clash_low(s):
    """The same with a port below 1024: what is chosen instead is below 1024 too."""
    port = next(s.low_ports)
    v6 = s.version()
    flows = [
        s.udp(qube, remote=s.remote(0, v6), port=port, service=53) for qube in (WORK, PERSONAL)
    ]
    for flow in flows:
        yield flow.out()
    for flow in flows:
        yield flow.back()


def clash_elsewhere(s):
    """Two qubes, one port, different hosts."""
    v6 = s.version()
    one, other = (
        s.udp(qube, remote=s.remote(n, v6), port=s.port())
        for n, qube in enumerate(s.rng.sample((WORK, PERSONAL), 2))
    )
    yield one.out()
    yield s.differs("port-overloading", other.out())
    yield one.back()
    yield other.back()


def port_zero(s):
    flow = s.udp()
    flow.service = 0
    yield flow.out()
    yield flow.back()


def to_our_own_ports(s):
    """A qube speaks to the uplink's address, where another one has a port: no way in."""
    v6 = s.version()
    flow = s.udp(WORK, v6=v6)
    yield flow.out()
    layer = UDP(sport=s.port(3), dport=flow.external) / Raw(s.data())
    injection = s.from_qube(PERSONAL, UPLINK6 if v6 else UPLINK, layer)
    yield s.differs("local-refusal-source", injection)


SCENARIOS = (
    (one_way, 20),
    (both_ways, 60),
    (burst, 10),
    (at_once, 10),
    (sizes, 20),
    (checksum_zero, 8),
    (checksum_zero_v6, 8),
    (checksum_that_becomes_zero, 20),
    (checksum_wrong, 8),
    (length_wrong, 12),
    (length_short, 8),
    (several_remotes, 15),
    (several_services, 10),
    (strangers, 20),
    (straight_to_the_qube, 8),
    (turned_around, 8),
    (unsolicited, 15),
    (clash, 25),
    (clash_then_another, 8),
    (clash_low, 8),
    (clash_elsewhere, 8),
    (port_zero, 4),
    (to_our_own_ports, 6),
)
