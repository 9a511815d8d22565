# SPDX-License-Identifier: BSD-3-Clause
"""What is for the firewall itself: the gateway's services, ARP and neighbour discovery."""

import ipaddress
import struct

from packets import checksum
from scenario import Injection, Raw, TCP, UDP
from wire import QUBE_FRAME, UPLINK_FRAME, arp, mac
from world import (
    GATEWAY,
    GATEWAY6,
    GHOST,
    PERSONAL,
    QUBE_MAC,
    ROUTER_MAC,
    UPLINK,
    UPLINK6,
    VAULT,
    WORK,
)
from families.icmp import message


def us(s, v6):
    return s.rng.choice((GATEWAY6, GATEWAY6, UPLINK6) if v6 else (GATEWAY, GATEWAY, UPLINK))


def ping_gateway(s):
    flow = s.ping(remote=us(s, s.version()))
    for size in s.rng.sample((0, 1, 56, 57, 1200), 2):
        yield flow.out(s.data(size=size), tos=s.rng.choice((0, 0x20)))
    yield flow.out(ttl=1)


def refused_services(s):
    """Everything else is refused."""
    v6 = s.version()
    for _ in range(3):
        destination = GATEWAY6 if v6 else GATEWAY
        port = s.rng.choice((22, 53, 67, 80, 443, 8082))
        layer = s.rng.choice((TCP, UDP))(sport=s.port(), dport=port)
        yield s.from_qube(s.qube(), destination, layer)


def refused_at_the_uplink(s):
    """The same for our address on the other side."""
    v6 = s.version()
    layer = s.rng.choice((TCP(sport=s.port(), dport=22, flags="S"), UDP(sport=s.port(), dport=53)))
    injection = s.from_qube(s.qube(), UPLINK6 if v6 else UPLINK, layer)
    yield s.differs("local-refusal-source", injection)


def refused_protocols(s):
    protocol = (50, 99)[s.number % 2]
    destination = GATEWAY6 if s.version() else GATEWAY
    injection = s.from_qube(s.qube(), destination, Raw(s.data()), proto=protocol)
    yield s.differs("local-refused-unknown-protocol", injection) if protocol == 99 else injection


def dhcp(s):
    v6 = s.version()
    yield s.from_qube(
        s.qube(), GATEWAY6 if v6 else GATEWAY, UDP(sport=67, dport=68) / Raw(s.data())
    )


def invalid(s):
    """A reset for the gateway, and its like."""
    flow = s.tcp(s.qube(), remote=GATEWAY6 if s.version() else GATEWAY, service=22)
    for flags in s.rng.sample(("R", "RA", "A", "FA", "SA", "", "SF"), 3):
        yield flow.out(flags, keep=True)


def no_rules(s):
    """The gateway answers also those without rules."""
    yield s.ping(VAULT, remote=GATEWAY).out()
    yield s.udp(VAULT, remote=GATEWAY).out()


def other_icmp(s):
    """Of ICMP only the echo."""
    for kind in s.rng.sample([k for k in range(256) if k not in (8, 13)], 4):
        yield s.from_qube(WORK, GATEWAY, message(s, kind), proto=1)


def timestamp(s):
    flow = s.ping(s.qube(), remote=GATEWAY, kind="timestamp")
    yield s.differs("gateway-timestamp", flow.out())


def other_icmp6(s):
    answered = (128, 133, 134, 135, 136, 137, 139)
    for kind in s.rng.sample([kind for kind in range(256) if kind not in answered], 4):
        yield s.from_qube(WORK, GATEWAY6, message(s, kind, v6=True))


def from_outside(s):
    """Nobody across the uplink hears anything."""
    v6 = s.version()
    source = s.remote(0, v6)
    yield s.ping(remote=source).back(answer=False)
    for layer in (
        TCP(sport=s.service(), dport=s.rng.choice((22, 80)), flags=s.rng.choice(("S", "A", "R"))),
        UDP(sport=s.service(), dport=s.rng.choice((53, 68, 5353))) / Raw(s.data()),
        Raw(s.data()),
    ):
        yield s.from_uplink(source, layer, **({"proto": 99} if layer.name == "Raw" else {}))


# Neighbours.

NOBODY, EVERYBODY = bytes(6), b"\xff" * 6


def ip4(address):
    return bytes(map(int, address.split(".")))


def arp_of(qube, operation, sender, target, sender_mac=QUBE_MAC, to=EVERYBODY):
    frame = arp(operation, to, mac(sender_mac), ip4(sender), NOBODY, ip4(target))
    return Injection(qube.name, None, frame=frame)


def arp_from_qube(s):
    """The gateway answers, for itself and for everybody but the qube."""
    qube = s.rng.choice((WORK, PERSONAL))
    other = PERSONAL if qube is WORK else WORK
    for target in (GATEWAY, s.remote(), other.ip, qube.ip, "10.139.1.1"):
        yield arp_of(qube, 1, qube.ip, target)


def arp_of_others(s):
    """Whose address it is may not be claimed by others."""
    injection = arp_of(WORK, 1, PERSONAL.ip, GATEWAY)
    yield s.differs("arp-spoofed", injection)
    yield arp_of(WORK, 2, PERSONAL.ip, GATEWAY)
    yield arp_of(WORK, 2, GATEWAY, WORK.ip)
    # the flows of the one who was impersonated do not move
    flow = s.udp(PERSONAL, v6=False)
    yield flow.out()
    yield flow.back()


def arp_probe(s):
    """A qube makes sure that nobody has its address."""
    yield arp_of(WORK, 1, "0.0.0.0", WORK.ip)
    yield arp_of(WORK, 1, WORK.ip, WORK.ip)


def arp_on_the_uplink(s):
    """We answer for our address only."""
    for target in (WORK.ip, GHOST.ip, GATEWAY, "192.168.50.9"):
        frame = arp(1, EVERYBODY, mac(ROUTER_MAC), ip4("192.168.50.7"), NOBODY, ip4(target))
        injection = Injection("uplink", None, frame=frame)
        yield s.differs("arp-inside-address", injection) if target == GATEWAY else injection
    frame = arp(1, EVERYBODY, mac(ROUTER_MAC), ip4("192.168.50.7"), NOBODY, ip4(UPLINK))
    yield Injection("uplink", None, frame=frame)


def solicitation(source, target, to=None, hops=255, kind=135, option=True, port="work"):
    """A neighbour solicitation, or another message of its shape."""
    source, target = (ipaddress.ip_address(a).packed for a in (source, target))
    group = bytes.fromhex("ff0200000000000000000001ff") + target[13:]
    to = ipaddress.ip_address(to).packed if to else group
    body = struct.pack("!BBHI", kind, 0, 0, 0) + target
    if option:
        body += b"\x01\x01" + mac(QUBE_MAC if port != "uplink" else ROUTER_MAC)
    pseudo = source + to + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    packet = struct.pack("!IHBB", 6 << 28, len(body), 58, hops) + source + to + body
    header = QUBE_FRAME if port != "uplink" else UPLINK_FRAME
    station = b"\x33\x33" + to[12:] if to[0] == 0xFF else header[:6]
    return Injection(port, packet, frame=station + header[6:] + b"\x86\xdd" + packet)


def nd_from_qube(s):
    """The gateway answers for itself."""
    yield solicitation(WORK.ip6, GATEWAY6)
    yield s.differs("nd-unicast-answer", solicitation(WORK.ip6, GATEWAY6, to=GATEWAY6))
    yield solicitation("fe80::216:3eff:fe5e:6c00", GATEWAY6)
    yield solicitation(WORK.ip6, WORK.ip6)


def nd_invalid(s):
    """Not from a neighbour, or not in order."""
    yield solicitation(WORK.ip6, GATEWAY6, hops=64)
    yield solicitation(WORK.ip6, GATEWAY6, hops=254)
    yield solicitation("::", WORK.ip6, option=False)
    yield solicitation(WORK.ip6, "ff02::1", to=GATEWAY6)


def nd_redirects(s):
    """Router advertisements and redirects of qubes are not heard."""
    yield solicitation(WORK.ip6, GATEWAY6, kind=134, to=GATEWAY6)
    yield solicitation(WORK.ip6, GATEWAY6, kind=137, to=GATEWAY6)
    flow = s.udp(WORK, v6=True)
    yield flow.out()
    yield flow.back()


def nd_on_the_uplink(s):
    for target in (UPLINK6, WORK.ip6, GATEWAY6):
        yield solicitation("2001:2:0:50::7", target, port="uplink")


for alone in (
    arp_from_qube, arp_of_others, arp_probe, arp_on_the_uplink, nd_from_qube, nd_invalid,
    nd_redirects, nd_on_the_uplink,
):
    alone.alone = True

SCENARIOS = (
    (ping_gateway, 12),
    (refused_services, 15),
    (refused_at_the_uplink, 6),
    (refused_protocols, 6),
    (dhcp, 5),
    (invalid, 6),
    (no_rules, 4),
    (other_icmp, 10),
    (timestamp, 3),
    (other_icmp6, 8),
    (from_outside, 12),
    (arp_from_qube, 4),
    (arp_of_others, 2),
    (arp_probe, 2),
    (arp_on_the_uplink, 2),
    (nd_from_qube, 3),
    (nd_invalid, 2),
    (nd_redirects, 2),
    (nd_on_the_uplink, 2),
)
