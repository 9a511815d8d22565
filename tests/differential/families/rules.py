# SPDX-License-Identifier: BSD-3-Clause
"""Random rules, met by random packets; and each kind of refusal, met by each kind of packet."""

import ipaddress

from scenario import IP, Raw, TCP, UDP
from world import (
    BROKEN,
    GHOST,
    PERSONAL,
    RANDOM_PORTS,
    RANDOM_TYPES,
    VAULT,
    WORK,
    random_rules,
)

# Hosts of the uplink's own link that answer nothing but ARP.
ESP = 50
LINK_HOST, LINK_HOST6 = "192.168.50.60", "2001:2:0:50::60"
REFUSED, REFUSED6 = "203.0.113.9", "2001:2:3::9"
UNNAMED, UNNAMED6 = "192.0.2.9", "2001:2:4::9"


def first_packet(s, n, qube, remote, protocol, number):
    """What opens a flow: @number is a port or an ICMP type."""
    v6 = ":" in remote
    if protocol == "tcp":
        return s.tcp(qube, remote=remote, service=number, n=n).out("S")
    if protocol == "udp":
        return s.udp(qube, remote=remote, service=number, n=n).out()
    if protocol == "icmp":
        kind = "timestamp" if number == 13 and not v6 else "echo"
        return s.ping(qube, remote=remote, n=n, kind=kind).out()
    # of one qube only: without ports, two cannot share a remote host
    return s.from_qube(WORK, remote, Raw(s.data()), proto=ESP)


def at_random(s):
    """Destinations, protocols and ports from where the rules have theirs."""
    v6 = s.rng.random() < 0.4
    qube = s.qube()
    for n in range(8):
        protocol = s.rng.choice(("tcp", "udp", "icmp", "icmp", None))
        number = s.rng.choice(RANDOM_TYPES if protocol == "icmp" else RANDOM_PORTS)
        yield first_packet(s, n, qube, s.random_remote(v6), protocol, number)


def aimed(s):
    """At the edges of single rules: the first and last address and port, and those beside them."""
    qube = s.qube()
    for n in range(8):
        rule = dict(token.split("=") for token in s.rng.choice(random_rules(qube, s.seed)).split())
        network = ipaddress.ip_network(rule.get("dst4") or rule.get("dst6"), strict=False)
        first, last = network.network_address, network.broadcast_address
        remote = s.rng.choice((first, last, first, last, first - 1, last + 1))
        protocol = rule.get("proto") or s.rng.choice(("tcp", "udp", "icmp", None))
        if s.rng.random() < 0.1:
            protocol = s.rng.choice(("tcp", "udp", "icmp", None))
        low, high = map(int, rule.get("dstports", "1-65535").split("-"))
        number = s.rng.choice((low, high, low - 1, high + 1, (low + high) // 2))
        if protocol == "icmp":
            number = int(rule.get("icmptype", 8))
        yield first_packet(s, n, qube, str(remote), protocol, min(65535, max(1, number)))


# Each kind of refusal: who, whom, and with which packets: None for all.
KINDS = {
    "dst4": (WORK, REFUSED, None),
    "dst6": (WORK, REFUSED6, None),
    "dst4 of personal": (PERSONAL, REFUSED, None),
    "tcp port": (WORK, LINK_HOST, ("syn",)),
    "udp port": (WORK, LINK_HOST, ("datagram", "no checksum", "large")),
    "icmp type": (WORK, LINK_HOST, ("echo",)),
    "icmp type 6": (WORK, LINK_HOST6, ("echo",)),
    "policy": (WORK, UNNAMED, None),
    "policy 6": (WORK, UNNAMED6, None),
    "error": (BROKEN, "198.18.0.1", None),
    "error 6": (BROKEN, "2001:2:1::1", None),
    "another qube": (WORK, BROKEN.ip, None),
    "a qube that is off": (BROKEN, GHOST.ip, None),
}

PACKETS = {
    "syn": lambda s, v6: TCP(sport=s.port(), dport=7001, flags="S"),
    "syn with data": lambda s, v6: TCP(sport=s.port(), dport=7001, flags="S") / Raw(s.data()),
    "datagram": lambda s, v6: UDP(sport=s.port(), dport=7001) / Raw(s.data()),
    "no checksum": lambda s, v6: UDP(sport=s.port(), dport=7001, chksum=0) / Raw(s.data()),
    "large": lambda s, v6: UDP(sport=s.port(), dport=7001) / Raw(s.data(size=1200)),
    "empty": lambda s, v6: UDP(sport=s.port(), dport=7001),
    "protocol": lambda s, v6: Raw(s.data()),
}


def refusal(s):
    """Each kind of refusal with each kind of packet."""
    qube, remote, only = KINDS[s.rng.choice(list(KINDS))]
    v6 = ":" in remote
    kinds = only or tuple(PACKETS) + ("echo", "timestamp", "options", "class")
    for kind in s.rng.sample(kinds, min(3, len(kinds))):
        if kind == "echo" or kind == "timestamp" and v6:
            yield s.ping(qube, remote=remote).out(s.data(size=s.rng.choice((9, 900))))
        elif kind == "timestamp":
            yield s.ping(qube, remote=remote, kind="timestamp").out()
        elif kind == "options":
            # router alert; in IPv6 it is an extension header
            layer = PACKETS["datagram"](s, v6)
            fields = {} if v6 else {"options": [b"\x94\x04\0\0"]}
            yield s.from_qube(qube, remote, layer, **fields)
        elif kind == "class":
            yield s.from_qube(qube, remote, PACKETS["datagram"](s, v6), tos=0xB8)
        elif kind == "protocol":
            protocol = s.rng.choice((ESP, 99))
            injection = s.from_qube(qube, remote, PACKETS[kind](s, v6), proto=protocol)
            yield injection if protocol == ESP else s.differs("refused-unknown-protocol", injection)
        else:
            yield s.from_qube(qube, remote, PACKETS[kind](s, v6))


def refused_often(s):
    """Every single packet is answered."""
    flow = s.udp(WORK, remote=s.rng.choice((REFUSED, REFUSED6, UNNAMED)))
    yield [flow.out() for _ in range(5)]
    yield flow.out()


def refused_answer(s):
    """Nothing that was refused has opened anything."""
    flow = s.udp(WORK, remote=s.rng.choice((REFUSED, REFUSED6)))
    yield flow.out()
    yield flow.back()


def refused_invalid(s):
    """Packets that open no flow, towards a host that is refused anyway."""
    flow = s.tcp(WORK, remote=s.rng.choice((REFUSED, UNNAMED, REFUSED6)))
    for flags in s.rng.sample(("R", "RA", "F", "FA", "A", "PA", "SA", "SF", "", "FPU", "SR"), 4):
        yield s.differs("invalid-refused", flow.out(flags, keep=True))


def refused_wrong_checksum(s):
    remote = s.rng.choice((REFUSED, REFUSED6))
    if s.rng.random() < 0.5:
        injection = s.udp(WORK, remote=remote).out(udp={"chksum": 0xDEAD})
    else:
        injection = s.tcp(WORK, remote=remote).out("S", chksum=0xDEAD)
    yield s.differs("refused-wrong-checksum", injection)


def no_rules(s):
    """A qube without rules hears nothing at all."""
    for kind in s.rng.sample(list(PACKETS), 4):
        remote = s.rng.choice((s.remote(), REFUSED, WORK.ip, GHOST.ip))
        fields = {"proto": 99} if kind == "protocol" else {}
        yield s.from_qube(VAULT, remote, PACKETS[kind](s, False), **fields)
    yield s.ping(VAULT, remote=s.remote()).out()


def no_ipv6(s):
    """A qube without an IPv6 address sends no IPv6."""
    yield s.from_qube(VAULT, s.remote(0, True), PACKETS["datagram"](s, True), source=WORK.ip6)
    yield s.from_qube(VAULT, s.remote(0, True), PACKETS["datagram"](s, True), source="2001:2:1::5")


def to_another_qube(s):
    """Accepted by the rules, yet nothing goes from qube to qube."""
    v6 = s.version()
    for layer in (
        PACKETS["syn"](s, v6), PACKETS["datagram"](s, v6),
    ):
        yield s.from_qube(WORK, PERSONAL.address(v6), layer)
        yield s.from_qube(PERSONAL, WORK.address(v6), layer)
    yield s.ping(WORK, remote=PERSONAL.address(v6)).out()
    yield s.from_qube(WORK, GHOST.ip, PACKETS["datagram"](s, False))
    yield s.from_qube(PERSONAL, GHOST.ip, PACKETS["datagram"](s, False))


def other_protocol(s):
    """A protocol without ports, both ways."""
    protocol = s.rng.choice((50, 99, 4, 253))
    qube, remote = s.qube(), s.remote()
    yield s.from_qube(qube, remote, Raw(s.data()), proto=protocol)
    yield s.from_uplink(remote, Raw(s.data()), proto=protocol)
    yield s.from_uplink(remote, Raw(s.data()), proto=protocol ^ 1)
    yield s.from_uplink(s.remote(3), Raw(s.data()), proto=protocol)


def other_protocol_clash(s):
    """Without ports, one remote host can talk to one qube only."""
    first, second = s.rng.sample((WORK, PERSONAL), 2)
    remote = s.remote(0, s.version())
    yield s.from_qube(first, remote, Raw(s.data()), proto=ESP)
    injection = s.from_qube(second, remote, Raw(s.data()), proto=ESP)
    yield s.differs("protocol-clash", injection)
    yield s.from_uplink(remote, Raw(s.data()), proto=ESP)


def tunnel(s):
    """A packet inside a packet is payload."""
    qube, remote = s.qube(), s.remote()
    inner = IP(src=remote, dst=qube.ip) / UDP(sport=1, dport=2) / Raw(s.data())
    yield s.from_qube(qube, remote, inner, proto=4)
    yield s.from_uplink(remote, inner, proto=4)


SCENARIOS = (
    (at_random, 60),
    (aimed, 200),
    (refusal, 120),
    (refused_often, 10),
    (refused_answer, 6),
    (refused_invalid, 20),
    (refused_wrong_checksum, 6),
    (no_rules, 12),
    (no_ipv6, 4),
    (to_another_qube, 8),
    (other_protocol, 12),
    (other_protocol_clash, 5),
    (tunnel, 4),
)
