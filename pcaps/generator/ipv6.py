# SPDX-License-Identifier: BSD-3-Clause
"""IPv6 flows, extension headers and routes."""

from generator.chosen import CLASH6_ICMP, CLASH6_TCP, CLASH6_UDP
from generator.path import *


@a_case
def ipv6_flows():
    case = Case(
        "ipv6-flows",
        "IPv6 TCP, UDP and ping: judged, tracked, masqueraded; the uplink opens nothing.",
        proves=["RFC 6092", "RFC 8200"],
    )
    connection = connect(case, WORK, 45000, SERVER6).open(0)
    path = masquerade(case, WORK, 45001, SERVER6, 4000)
    # what is not ours to change: traffic class, flow label
    path.udp(1, THERE, tc=0xB9, fl=0x12345)
    path.udp(1.1, BACK, tc=0x03, fl=0x54321)
    pinged = query_path(case, WORK, 16, SERVER6)
    pinged.ping(2, THERE)
    pinged.ping(2.1, BACK)
    # another qube, under ports of its own
    connect(case, PERSONAL, 45003, SERVER6).open(3)
    theirs = query_path(case, PERSONAL, 17, SERVER6)
    theirs.ping(3.1, THERE)
    theirs.ping(3.2, BACK)
    # on-link
    near = masquerade(case, WORK, 45002, LOCAL_HOST6, 4000)
    near.udp(4, THERE)
    near.udp(4.1, BACK)
    # nobody was asked for these, and inside addresses are nobody's across the uplink
    case.drop(5, "uplink", from_uplink(SERVER6, udp(4000, 45004)), "no-flow")
    for index, layer in enumerate((udp(4000, 45001), ping(16, v6=True, reply=True))):
        frame = from_uplink(SERVER6, layer, destination=WORK.ip6)
        case.drop(5.1 + index / 10, "uplink", frame, "no-flow")
    frame = from_uplink(SERVER6, ping(18, v6=True, reply=True))
    case.drop(5.3, "uplink", frame, "no-flow")
    frame = from_qube(WORK, SERVER6, ping(19, v6=True, reply=True))
    case.drop(5.4, "work", frame, "no-flow")
    connection.back(6, "R")


@a_case
def nat66():
    case = Case(
        "nat66",
        "IPv6 flows leave under the uplink's address by the rules of IPv4: own port or identifier "
        "if it is free, one for all destinations of UDP and pings, another one when it is taken.",
        proves=["RFC 4787 REQ-1", "RFC 4787 REQ-8", "RFC 5382 REQ-1", "RFC 5508 REQ-1"],
    )
    servers = (SERVER6, "2001:2::81", LOCAL_HOST6)
    # TCP: the second qube's port is taken towards this server, and towards no other
    mine = connect(case, WORK, 45100, SERVER6).open(0)
    theirs = connect(case, PERSONAL, 45100, SERVER6, external=CLASH6_TCP).open(0.1)
    connect(case, PERSONAL, 45100, servers[1]).open(0.2)
    mine.out(0.3, "PA", b"mine")
    theirs.out(0.3, "PA", b"theirs")
    mine.back(0.4, "PA", b"for work")
    theirs.back(0.4, "PA", b"for personal")
    # UDP and pings: one external port or identifier for all of them
    for index, server in enumerate(servers):
        path = masquerade(case, WORK, 45101, server, 4000)
        path.udp(1 + index / 10, THERE)
        path.udp(1.05 + index / 10, BACK)
        path = masquerade(case, PERSONAL, 45101, server, 4000, external=CLASH6_UDP)
        path.udp(2 + index / 10, THERE)
        path.udp(2.05 + index / 10, BACK)
        path = query_path(case, WORK, 0x4566, server)
        path.ping(3 + index / 10, THERE)
        path.ping(3.05 + index / 10, BACK)
        path = query_path(case, PERSONAL, 0x4566, server, external=CLASH6_ICMP)
        path.ping(4 + index / 10, THERE)
        path.ping(4.05 + index / 10, BACK)
    # only who was asked may answer
    stranger = masquerade(case, WORK, 45101, "2001:2::82", 4000)
    stranger.no_udp(5, BACK, "no-flow")
    # ports of one family are free in the other
    both = masquerade(case, PERSONAL, 45102, SERVER, 4000), masquerade(
        case, WORK, 45102, SERVER6, 4000
    )
    for path in both:
        path.udp(6, THERE)
        path.udp(6.1, BACK)
    # low ports stay low, and other protocols have none
    low = masquerade(case, WORK, 123, SERVER6, 123)
    low.udp(7, THERE)
    low.udp(7.1, BACK)
    tunnel = masquerade(case, WORK, 0, SERVER6, 0)
    for direction in (THERE, BACK):
        tunnel.go(8 + direction / 10, direction, lambda a, b: Raw(bytes(24)), nh=47)


@a_case
def ipv6_extensions():
    case = Case(
        "ipv6-extensions",
        "Hop-by-hop options first and destination options pass and hide nothing from the rules; "
        "everything else about extension headers is dropped.",
        proves=["attack: IPv6 extension-header evasion", "RFC 5095", "RFC 7045", "RFC 8200"],
        rules={"work": "policy=drop\naction=accept proto=udp dstports=4000-4000\n"},
    )
    hop = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0\0\0\0")])
    option = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0\0\0\0")])
    long_hop = IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(20))])
    alert = IPv6ExtHdrHopByHop(options=[RouterAlert(value=0)])
    good, bad = udp(45010, 4000), udp(45010, 4001)
    for index, chain in enumerate(
        (hop, option, hop / option, hop / option / option, long_hop / option, alert)
    ):
        frame = from_qube(WORK, SERVER6, chain.copy() / good)
        case.out(index / 10, WORK, frame, rule="0000")
        case.refuse(1 + index / 10, WORK, from_qube(WORK, SERVER6, chain.copy() / bad))
    for index, chain in enumerate((hop, option)):
        answer_frame = from_uplink(SERVER6, chain.copy() / udp(4000, 45010))
        case.back(2 + index / 10, WORK, answer_frame, rule="0000")
        answer_frame = from_uplink(SERVER6, chain.copy() / udp(4000, 45011))
        case.drop(2.05 + index / 10, "uplink", answer_frame, "no-flow")
    for index, chain in enumerate((option / hop, hop / hop)):
        frame = from_qube(WORK, SERVER6, chain.copy() / good)
        case.drop(3 + index / 10, "work", frame, "extension-header")
    for index, kind in enumerate((0, 1, 2, 3, 4)):
        header = IPv6ExtHdrRouting(type=kind, addresses=[SERVER6] if kind < 3 else [])
        frame = from_qube(WORK, SERVER6, header / good)
        case.drop(4 + index / 10, "work", frame, "source-route")
        frame = from_uplink(SERVER6, header.copy() / udp(4000, 45010))
        case.drop(4.05 + index / 10, "uplink", frame, "source-route")
    # behind other headers, too
    routing = IPv6ExtHdrRouting(type=0, addresses=[SERVER6])
    frame = from_qube(WORK, SERVER6, hop / option / routing / good)
    case.drop(4.6, "work", frame, "source-route")
    # mobility, HIP, shim6, experiments, and no next header at all
    for index, header in enumerate((135, 139, 140, 253, 254, 59)):
        for step, chain in enumerate((None, hop)):
            nothing = Raw(bytes([17, 0, 0, 0, 0, 0, 0, 0]) + bytes(16))
            if chain is None:
                frame = from_qube(WORK, SERVER6, nothing, nh=header)
            else:
                frame = from_qube(WORK, SERVER6, chain.copy() / nothing)
                frame[IPv6ExtHdrHopByHop].nh = header
            case.drop(5 + index / 10 + step / 20, "work", frame, "extension-header")
    many = hop
    for _ in range(12):
        many = many / option.copy()
    case.drop(6, "work", from_qube(WORK, SERVER6, many / good), "extension-header")
    # a header that goes on behind the end of the packet
    raw = bytes([17, 9, 1, 4, 0, 0, 0, 0])
    frame = from_qube(WORK, SERVER6, Raw(raw), nh=60)
    case.drop(7, "work", frame, "truncated")
    frame = from_qube(WORK, SERVER6, Raw(raw[:4]), nh=0)
    case.drop(7.1, "work", frame, "truncated")
    # a jumbogram (RFC 2675) says that it is empty, and so it is
    jumbo = Raw(bytes([17, 0, 0xC2, 4, 0, 1, 0, 0])) / good
    frame = from_qube(WORK, SERVER6, jumbo, nh=0, plen=0)
    case.drop(7.2, "work", frame, "truncated")
    # neighbour discovery with a header in front of it is still neighbour discovery
    frame = solicitation(WORK.ip6, SERVER6, hop_limit=64)
    packet = ip_bytes(frame)
    packet = packets.with_bytes(packet, 6, bytes([60]))
    packet = packets.with_bytes(packet, 4, struct.pack("!H", len(packet) - 40 + 8))
    hidden = packet[:40] + bytes([58, 0, 1, 4, 0, 0, 0, 0]) + packet[40:]
    case.drop(7.3, "work", bytes(frame)[:14] + hidden, "neighbour-discovery")


@a_case
def no_route():
    case = Case(
        "no-route",
        "An uplink without IPv6 has no way for it: 1/0. Without an IPv6 gateway only its own link "
        "can be reached, see no-gateway.",
        uplink=f"address = {UPLINK}/24\ngateway = {ROUTER}\ndns = {RESOLVER}\n",
    )
    frame = from_qube(WORK, SERVER6, udp(45020, 4000))
    case.drop(
        0, "work", frame, "no-route", rule="policy", answer=icmp_error(frame, "work", 1, 0)
    )
    case.out(1, WORK, from_qube(WORK, SERVER, udp(45020, 4000)))


@a_case
def no_gateway():
    case = Case(
        "no-gateway",
        "An uplink without gateways reaches its own link: everything else has no route (3/0, 1/0).",
        uplink=f"address = {UPLINK}/24\ndns = {RESOLVER}\naddress6 = {UPLINK6}/64\n",
    )
    for index, qube in enumerate((WORK, PERSONAL)):
        for six in (False, True):
            frame = from_qube(qube, SERVER6 if six else SERVER, udp(45032 - index, 4000))
            answer_frame = icmp_error(frame, qube.name, *((1, 0) if six else (3, 0)))
            case.drop(
                index + six / 10,
                qube.name,
                frame,
                "no-route",
                rule="policy",
                answer=answer_frame,
            )
    # what had no way has taken no port
    case.out(2.9, PERSONAL, from_qube(PERSONAL, LOCAL_HOST, udp(45032, 4000)))
    case.out(3, WORK, from_qube(WORK, LOCAL_HOST, udp(45030, 4000)))
    case.out(3.1, WORK, from_qube(WORK, LOCAL_HOST6, udp(45030, 4000)))
    case.back(3.2, WORK, from_uplink(LOCAL_HOST, udp(4000, 45030)))
    frame = from_qube(WORK, VIRTUAL_DNS[0], dns_packet(45031, 53, query()))
    case.out(4, WORK, frame, destination=RESOLVER)
