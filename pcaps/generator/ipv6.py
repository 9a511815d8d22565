# SPDX-License-Identifier: BSD-3-Clause
"""IPv6 flows, extension headers and routes."""

from generator.case import *


@a_case
def ipv6_flows():
    case = Case(
        "ipv6-flows",
        "IPv6 TCP, UDP and ping: judged, tracked, forwarded as they are; the uplink opens nothing.",
    )
    syn = from_qube(WORK, SERVER6, tcp(45000, 80, "S"))
    case.out(0, WORK, syn)
    answer_frame = from_uplink(
        SERVER6, tcp(80, 45000, "SA", seq=1999, ack=1001), destination=WORK.ip6
    )
    case.back(0.1, WORK, answer_frame)
    case.out(0.2, WORK, from_qube(WORK, SERVER6, tcp(45000, 80, "A", seq=1001)))
    case.out(1, WORK, from_qube(WORK, SERVER6, udp(45001, 4000), tc=0xB9, fl=0x12345))
    case.back(1.1, WORK, from_uplink(SERVER6, udp(4000, 45001), destination=WORK.ip6))
    case.out(2, WORK, from_qube(WORK, SERVER6, ping(16, v6=True)))
    frame = from_uplink(SERVER6, ping(16, v6=True, reply=True), destination=WORK.ip6)
    case.back(2.1, WORK, frame)
    # the same ports and identifiers of another qube are other flows
    case.out(3, PERSONAL, from_qube(PERSONAL, SERVER6, tcp(45000, 80, "S")))
    case.out(3.1, PERSONAL, from_qube(PERSONAL, SERVER6, ping(16, v6=True)))
    frame = from_uplink(SERVER6, ping(16, v6=True, reply=True), destination=PERSONAL.ip6)
    case.back(3.2, PERSONAL, frame)
    # on-link
    case.out(4, WORK, from_qube(WORK, LOCAL_HOST6, udp(45002, 4000)))
    case.back(4.1, WORK, from_uplink(LOCAL_HOST6, udp(4000, 45002), destination=WORK.ip6))
    case.drop(
        5, "uplink", from_uplink(SERVER6, udp(4000, 45003), destination=WORK.ip6), "no-flow"
    )
    frame = from_uplink(SERVER6, ping(17, v6=True, reply=True), destination=WORK.ip6)
    case.drop(5.1, "uplink", frame, "no-flow")
    frame = from_qube(WORK, SERVER6, ping(18, v6=True, reply=True))
    case.drop(5.2, "work", frame, "no-flow")
    frame = from_uplink(SERVER6, tcp(80, 45000, "R", seq=2000), destination=WORK.ip6)
    case.back(6, WORK, frame)


@a_case
def ipv6_extensions():
    case = Case(
        "ipv6-extensions",
        "Hop-by-hop options first and destination options pass and hide nothing from the rules; "
        "everything else about extension headers is dropped.",
        rules={"work": "policy=drop\naction=accept proto=udp dstports=4000-4000\n"},
    )
    hop = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0\0\0\0")])
    long_hop = IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(20))])
    option = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0\0\0\0")])
    good, bad = udp(45010, 4000), udp(45010, 4001)
    for index, chain in enumerate(
        (hop, option, hop / option, hop / option / option, long_hop / option)
    ):
        frame = from_qube(WORK, SERVER6, chain.copy() / good)
        case.out(index / 10, WORK, frame, rule="0000")
        case.refuse(1 + index / 10, WORK, from_qube(WORK, SERVER6, chain.copy() / bad))
    answer_frame = from_uplink(SERVER6, hop / udp(4000, 45010), destination=WORK.ip6)
    case.back(2, WORK, answer_frame, rule="0000")
    for index, chain in enumerate((option / hop, hop / hop)):
        frame = from_qube(WORK, SERVER6, chain.copy() / good)
        case.drop(3 + index / 10, "work", frame, "extension-header")
    for index, kind in enumerate((0, 2, 4)):
        header = IPv6ExtHdrRouting(type=kind, addresses=[SERVER6] if kind != 4 else [])
        frame = from_qube(WORK, SERVER6, header / good)
        case.drop(4 + index / 10, "work", frame, "source-route")
    # mobility, HIP, shim6, experiments, and no next header at all
    for index, header in enumerate((135, 139, 140, 253, 254, 59)):
        frame = from_qube(WORK, SERVER6, Raw(bytes([17, 0, 0, 0, 0, 0, 0, 0]) + bytes(16)))
        frame[IPv6].nh = header
        case.drop(5 + index / 10, "work", frame, "extension-header")
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
            frame = from_qube(qube, SERVER6 if six else SERVER, udp(45030, 4000))
            answer_frame = icmp_error(frame, qube.name, *((1, 0) if six else (3, 0)))
            case.drop(
                index + six / 10,
                qube.name,
                frame,
                "no-route",
                rule="policy",
                answer=answer_frame,
            )
    case.out(3, WORK, from_qube(WORK, LOCAL_HOST, udp(45030, 4000)))
    case.out(3.1, WORK, from_qube(WORK, LOCAL_HOST6, udp(45030, 4000)))
    case.back(3.2, WORK, from_uplink(LOCAL_HOST, udp(4000, 45030)))
    frame = from_qube(WORK, VIRTUAL_DNS[0], dns_packet(45031, 53, query()))
    case.out(4, WORK, frame, destination=RESOLVER)
