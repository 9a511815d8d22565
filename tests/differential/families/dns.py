# SPDX-License-Identifier: BSD-3-Clause
"""The virtual resolvers."""

from scenario import Raw, TCP, UDP
from world import BROKEN, PERSONAL, RESOLVERS, VAULT, VIRTUAL_DNS, WORK

QUESTION = b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04test\x00\x00\x01\x00\x01"


def question(s):
    return s.rng.randbytes(2) + QUESTION + s.marker


def lookup(s):
    flow = s.dns("udp", s.rng.randrange(2))
    for _ in range(s.rng.randrange(1, 3)):
        yield flow.out(question(s))
        yield flow.back(question(s))


def lookup_tcp(s):
    flow = s.dns("tcp", s.rng.randrange(2), WORK)
    yield from flow.handshake()
    yield flow.out("PA", question(s))
    yield flow.back("PA", question(s))
    yield from flow.close()


def refused_tcp(s):
    """The rules of this qube refuse DNS over TCP."""
    flow = s.dns("tcp", s.rng.randrange(2), PERSONAL)
    yield s.differs("refusal-source", flow.out("S"))


def both_resolvers(s):
    """One socket asks both, as glibc does."""
    qube = s.qube()
    flows = [s.dns("udp", number, qube) for number in range(2)]
    for flow in flows:
        flow.port = s.port()
        yield flow.out(question(s))
    for flow in s.rng.sample(flows, 2):
        yield flow.back(question(s))


def two_qubes(s):
    """The same port of two qubes, to the same resolver."""
    number = s.rng.randrange(2)
    flows = [s.dns("udp", number, qube) for qube in s.rng.sample((WORK, PERSONAL), 2)]
    for flow in flows:
        yield flow.out(question(s))
    for flow in s.rng.sample(flows, 2):
        yield flow.back(question(s))


def other_ports(s):
    """Nothing but DNS is behind a virtual address."""
    destination = s.rng.choice(VIRTUAL_DNS)
    layer = s.rng.choice((UDP, TCP))(sport=s.port(), dport=s.rng.choice((54, 80, 853)))
    yield s.from_qube(WORK, destination, layer / Raw(s.data()) if layer.name == "UDP" else layer)
    yield from_ping(s, destination)


def from_ping(s, destination):
    return s.ping(WORK, remote=destination).out()


def straight(s):
    """The real resolver under its own address is a host like others."""
    flow = s.udp(WORK, remote=s.rng.choice(RESOLVERS), service=53)
    yield flow.out(question(s))
    yield flow.back(question(s))


def straight_after(s):
    """The same port asks through the virtual address and directly."""
    number = s.rng.randrange(2)
    virtual = s.dns("udp", number, WORK)
    direct = s.udp(WORK, remote=RESOLVERS[number], service=53, port=virtual.port)
    order = s.rng.sample((virtual, direct), 2)
    yield order[0].out(question(s))
    yield order[1].out(question(s))
    for flow in order:
        yield flow.back(question(s))


def as_the_virtual(s):
    """An answer that comes from the virtual address itself."""
    flow = s.dns("udp", 0)
    yield flow.out(question(s))
    layer = UDP(sport=53, dport=flow.external) / Raw(question(s))
    yield s.from_uplink(VIRTUAL_DNS[0], layer)
    yield flow.back(question(s))


def without_tree(s):
    yield s.differs("refusal-source", s.dns("udp", 0, BROKEN).out(question(s)))
    yield s.dns("udp", 0, VAULT).out(question(s))


def last_hop(s):
    flow = s.dns("udp", s.rng.randrange(2))
    yield s.differs("last-hop-source", flow.out(question(s), ttl=1))


SCENARIOS = (
    (lookup, 25),
    (lookup_tcp, 15),
    (refused_tcp, 6),
    (both_resolvers, 10),
    (two_qubes, 12),
    (other_ports, 12),
    (straight, 6),
    (straight_after, 10),
    (as_the_virtual, 4),
    (without_tree, 4),
    (last_hop, 4),
)
