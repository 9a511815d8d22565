# SPDX-License-Identifier: BSD-3-Clause
"""Forwards and flows between qubes, where the configuration opens them.

Upstream has neither; the kernel gets them as destination NAT and accept rules.
"""

from families.errors import error, some_error
from scenario import InwardTcp, InwardUdp, Raw, TCP, UDP
from world import (
    ALLOWS,
    BROKEN,
    FORWARDS,
    GATEWAY,
    GATEWAY6,
    PERSONAL,
    UPLINK,
    UPLINK6,
    WORK,
)

BY_NAME = {forward[0]: forward for forward in FORWARDS}


def ours(s, side, v6, hairpin=False):
    if side == "external" or hairpin:
        return UPLINK6 if v6 else UPLINK
    return GATEWAY6 if v6 else GATEWAY


def through(s, name, v6, client=None, hairpin=False, n=0):
    """A flow through a forward."""
    _, side, protocol, listen, qube, ports, _ = BY_NAME[name]
    which = s.rng.randrange(len(listen))
    kind = {"tcp": InwardTcp, "udp": InwardUdp}[protocol]
    flow = kind(s, qube, v6, n)
    return flow.inward(client, ours(s, side, v6, hairpin), listen[which], qube, ports[which])


def connection(flow, s):
    yield from flow.handshake()
    yield flow.out("PA", s.data())
    yield flow.back("PA", s.data())
    yield from flow.close()


def datagrams(flow, s):
    yield flow.out(s.data())
    yield flow.back(s.data())
    yield flow.out(s.data())


def external_tcp(s):
    yield from connection(through(s, s.rng.choice(("web", "one")), s.version()), s)


def external_udp(s):
    yield from datagrams(through(s, "game", s.version()), s)


def external_of_some(s):
    """Only who may connect does."""
    flow = through(s, "name", False)
    yield from datagrams(flow, s)
    flow = through(s, "name", False, n=1)
    flow.source = "100.64.0.9"
    yield flow.out(s.data())


def external_beside(s):
    """The port next to it, and the other protocol."""
    v6 = s.version()
    flow = through(s, "game", v6)
    flow.service += 1
    yield flow.out(s.data())
    flow = through(s, "web", v6, n=1)
    flow.service = 65306
    yield flow.out("S")
    layer = UDP(sport=s.port(2), dport=65301) / Raw(s.data())
    yield s.from_uplink(s.remote(0, v6), layer)


def external_not_opening(s):
    """Only a SYN opens anything."""
    flow = through(s, "web", s.version())
    for flags in s.rng.sample(("A", "R", "FA", "SA", ""), 3):
        yield flow.out(flags, keep=True)


def external_error(s):
    """The qube has no such service."""
    flow = through(s, "game", s.version())
    out = yield flow.out(s.data())
    inside = out.at(flow.target.name)
    got = inside[0].raw if inside else flow.out(s.data()).packet
    source = flow.target.address(flow.v6)
    kind, code = some_error(s, flow.v6)
    yield error(s, flow.target.name, source, flow.source, kind, code, got)


def external_error_in(s):
    """A router on the way back objects to an answer."""
    flow = through(s, "game", s.version())
    yield flow.out(s.data())
    out = yield flow.back(s.data())
    sent = out.uplink[0].raw if out.uplink else flow.out(s.data()).packet
    kind, code = some_error(s, flow.v6)
    yield error(s, "uplink", s.remote(7, flow.v6), flow.address, kind, code, sent)


def external_from_inside(s):
    """What listens for the outside does not listen for qubes."""
    v6 = s.version()
    flow = through(s, s.rng.choice(("web", "one")), v6, client=s.qube())
    yield s.differs("local-refusal-source", flow.out("S"))


def internal(s):
    client = s.rng.choice((WORK, WORK, PERSONAL))
    name = s.rng.choice(("shell", "log"))
    flow = through(s, name, s.version(), client=client)
    yield from (connection if name == "shell" else datagrams)(flow, s)


def internal_hairpin(s):
    """By the uplink's address: as if it came from outside."""
    name = s.rng.choice(("shell", "log"))
    flow = through(s, name, s.version(), client=WORK, hairpin=True)
    yield from (connection if name == "shell" else datagrams)(flow, s)


def internal_of_some(s):
    flow = through(s, "mail", False, client=WORK)
    yield from connection(flow, s)
    flow = through(s, "mail", False, client=PERSONAL, n=1)
    yield flow.out("S")


def internal_refused(s):
    """The sender's rules have the last word; and nobody from outside comes in by it."""
    v6 = s.version()
    flow = through(s, "closed", v6, client=WORK)
    yield flow.out("S")
    flow = through(s, "shell", v6, client=BROKEN, n=1)
    yield flow.out("S")
    flow = through(s, "shell", v6, hairpin=True, n=2)
    yield flow.out("S")


def allowed(s):
    """Straight from qube to qube."""
    v6 = s.version()
    _, sender, receiver, protocol, ports = s.rng.choice(ALLOWS)
    if protocol == "icmp":
        ping = s.ping(sender, remote=receiver.address(v6))
        yield ping.out()
        layer = ping.layer(True, ping.port, None)
        yield s.from_qube(receiver, sender.address(v6), layer)
        return
    kind = {"tcp": InwardTcp, "udp": InwardUdp}[protocol]
    flow = kind(s, sender, v6)
    port = s.rng.choice(ports)
    flow.inward(sender, receiver.address(v6), port, receiver, port)
    yield from (connection if protocol == "tcp" else datagrams)(flow, s)


def not_allowed(s):
    """Another port, another protocol, the other way."""
    v6 = s.version()
    yield s.from_qube(WORK, PERSONAL.address(v6), UDP(sport=s.port(), dport=8502) / Raw(s.data()))
    yield s.from_qube(WORK, PERSONAL.address(v6), TCP(sport=s.port(), dport=8500, flags="S"))
    yield s.from_qube(PERSONAL, WORK.address(v6), UDP(sport=s.port(), dport=8500) / Raw(s.data()))
    yield s.ping(PERSONAL, remote=WORK.address(v6)).out()


def last_hop(s):
    flow = through(s, "game", s.version())
    yield s.differs("hops-unsolicited", flow.out(s.data(), ttl=1))
    yield flow.out(s.data())
    # now it is about a flow
    yield flow.out(s.data(), ttl=1)


SCENARIOS = (
    (external_tcp, 15),
    (external_udp, 8),
    (external_of_some, 4),
    (external_beside, 6),
    (external_not_opening, 6),
    (external_error, 8),
    (external_error_in, 8),
    (external_from_inside, 4),
    (internal, 15),
    (internal_hairpin, 8),
    (internal_of_some, 3),
    (internal_refused, 4),
    (allowed, 15),
    (not_allowed, 6),
    (last_hop, 4),
)
