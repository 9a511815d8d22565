# SPDX-License-Identifier: BSD-3-Clause
"""What cannot be understood or must not be forwarded."""

from generator.path import *


@a_case
def frames():
    case = Case(
        "frames",
        "VLAN tags, other protocols and cut frames are dropped; padding does not leave with the "
        "packet, and is not part of it.",
        rules={"work": "policy=accept\naction=drop proto=udp dstports=99-99\n"},
    )
    # a good one first, padded to 60 bytes as NICs do
    frame = from_qube(WORK, SERVER, udp(44050, 4000, b"x"))
    case.out(0, WORK, bytes(frame) + b"\xaa" * 17, expect=masqueraded(frame))
    frame = from_uplink(SERVER, udp(4000, 44050, b"y"))
    case.back(0.1, WORK, bytes(frame) + b"\xaa" * 17, expect=delivered(frame, WORK))
    frame = from_qube(WORK, SERVER6, udp(44051, 4000, b"x"))
    case.out(0.2, WORK, bytes(frame) + b"\xaa" * 100, expect=masqueraded(frame))
    frame = from_qube(WORK, SERVER, ping(1, data=b"x"))
    case.out(0.3, WORK, bytes(frame) + b"\xaa" * 17, expect=masqueraded(frame))
    frame = from_qube(WORK, GATEWAY, ping(2, data=b"x"))
    case.local(0.4, "work", bytes(frame) + b"\xaa" * 17, pong(frame, "work"))
    for index, destination in enumerate((SERVER, SERVER6)):
        frame = from_qube(WORK, destination, udp(44052, 99, b"x"))
        answer_frame = prohibited(frame, "work")
        padded = bytes(frame) + b"\xaa" * 17
        case.drop(0.5 + index / 10, "work", padded, "rule", rule="0000", answer=answer_frame)
    whole = bytes(from_qube(WORK, SERVER, udp(44050, 4000)))
    for index, tag in enumerate((0x8100, 0x88A8, 0x9100)):
        raw = whole[:12] + struct.pack("!HH", tag, 5) + whole[12:]
        case.drop(1 + index / 10, "work", raw, "vlan")
    for index, ethertype in enumerate((0x88CC, 0x8847, 0x8863, 0x0026, 0x888E, 0x0842)):
        raw = whole[:12] + struct.pack("!H", ethertype) + whole[14:]
        case.drop(2 + index / 10, "work", raw, "ethertype")
    for index, length in enumerate((0, 1, 6, 12, 13, 14, 15, 33, 34, 41, len(whole) - 1)):
        case.drop(3 + index / 10, "work", whole[:length], "truncated")
    whole6 = bytes(from_qube(WORK, SERVER6, udp(44051, 4000)))
    for index, length in enumerate((14, 53, 54, len(whole6) - 1)):
        case.drop(5 + index / 10, "work", whole6[:length], "truncated")
    # what a capture did not keep cannot be judged either
    case.drop(6, "work", whole[:40], "truncated", wire=len(whole))


@a_case
def ip_headers():
    case = Case(
        "ip-headers",
        "Malformed IP headers, wrong header checksums, source routes. Where DF is clear the "
        "identification is a new one, to either side.",
        proves=["attack: source routing", "RFC 6864", "RFC 7126"],
    )

    def broken(**fields):
        return from_qube(WORK, SERVER, udp(44060, 4000), **fields)

    case.drop(0, "work", broken(version=5), "ip-header")
    case.drop(0.1, "work", broken(version=6), "ip-header")
    case.drop(0.2, "work", broken(ihl=4), "ip-header")
    case.drop(0.3, "work", broken(len=19), "ip-header")
    case.drop(0.4, "work", broken(len=0), "ip-header")
    frame6 = bytes(from_qube(WORK, SERVER6, udp(44060, 4000)))
    case.drop(0.5, "work", frame6[:14] + b"\x40" + frame6[15:], "ip-header")
    good = Ether(bytes(broken()))
    for index, wrong in enumerate((0, 0xFFFF, good[IP].chksum ^ 1, good[IP].chksum ^ 0x8000)):
        case.drop(1 + index / 10, "work", broken(chksum=wrong), "ip-checksum")
    # options: source routes never, malformed ones never, harmless ones pass
    frame = broken(options=[IPOption_LSRR(routers=[OTHER_SERVER])])
    case.drop(2, "work", frame, "source-route")
    frame = broken(options=[IPOption_NOP(), IPOption_SSRR(routers=[OTHER_SERVER])])
    case.drop(2.1, "work", frame, "source-route")
    frame = broken(options=[IPOption(b"\x94\x01\x00\x00")])  # length 1
    case.drop(2.2, "work", frame, "ip-header")
    frame = broken(options=[IPOption(b"\x94\x08\x00\x00")])  # longer than the header
    case.drop(2.3, "work", frame, "ip-header")
    frame = broken(options=[IPOption(b"\x01\x01\x01\x94")])  # no room for its length
    case.drop(2.4, "work", frame, "ip-header")
    case.out(3, WORK, broken(options=[IPOption_Router_Alert()]))
    case.out(3.1, WORK, broken(options=[IPOption_NOP(), IPOption_NOP()]))
    # behind the end of the options nothing counts
    case.out(3.2, WORK, broken(options=[IPOption(b"\x00\x83\x07\x04")]))
    # what is not ours to change: DSCP, ECN, flags, and with DF the identifier
    case.out(4, WORK, broken(tos=0xB9, id=0xFFFF))
    case.back(4.1, WORK, from_uplink(SERVER, udp(4000, 44060), tos=3, id=0))
    # without DF somebody may need it to put fragments together, and it tells nothing of its sender
    for number in range(1, 9):
        case.out(5 + number / 10, WORK, broken(tos=0xB9, id=number, flags=0))
        frame = from_uplink(SERVER, udp(4000, 44060), tos=3, id=0xFFFF - number, flags=0)
        case.back(5.05 + number / 10, WORK, frame)


@a_case
def l4_headers():
    case = Case(
        "l4-headers",
        "Malformed TCP, UDP and ICMP headers; wrong ICMP checksums.",
        proves=["RFC 5508 REQ-3"],
    )
    time = 0
    for layer in (
        tcp(44070, 80, "S", dataofs=4),
        tcp(44070, 80, "S", dataofs=6),
        tcp(44070, 80, "S", dataofs=15),
        udp(44070, 80, len=7),
        udp(44070, 80, len=0),
        udp(44070, 80, len=15),
    ):
        for destination in (SERVER, SERVER6):
            time += 0.01
            case.drop(time, "work", from_qube(WORK, destination, layer), "l4-header")
    for protocol, length in ((6, 0), (6, 19), (17, 0), (17, 7), (1, 0), (1, 7)):
        time += 0.01
        frame = from_qube(WORK, SERVER, Raw(bytes(range(1, 1 + length))), proto=protocol)
        case.drop(time, "work", frame, "l4-header")
    for protocol, length in ((6, 19), (17, 7), (58, 7)):
        time += 0.01
        frame = from_qube(WORK, SERVER6, Raw(bytes(range(1, 1 + length))), nh=protocol)
        case.drop(time, "work", frame, "l4-header")
    # ICMP of the other family
    case.drop(1, "work", from_qube(WORK, SERVER, Raw(bytes(8)), proto=58), "l4-header")
    case.drop(1.1, "work", from_qube(WORK, SERVER6, Raw(bytes(8)), nh=1), "l4-header")
    frame = from_qube(WORK, SERVER, ping(15))
    frame[ICMP].chksum = 0x1234
    case.drop(2, "work", frame, "l4-checksum")
    frame = from_qube(WORK, SERVER6, ping(15, v6=True))
    frame[ICMPv6EchoRequest].cksum = 0x1234
    case.drop(2.1, "work", frame, "l4-checksum")
    frame = from_uplink(SERVER, ping(15, reply=True))
    frame[ICMP].chksum = 0
    case.drop(2.2, "uplink", frame, "l4-checksum")
    # a UDP datagram may be shorter than its IP packet: what follows is not looked at
    frame = from_qube(WORK, SERVER, udp(44071, 80, b"datagram, and more", len=16))
    frame = ethernet(QUBE_MAC, our_mac("work"), packets.summed(ip_bytes(frame)))
    case.out(3, WORK, frame)


@a_case
def ttl():
    case = Case(
        "ttl",
        "TTL or hop limit 1 ends here with 11/0 (IPv6 3/0), even towards a denied port; 2 passes.",
        proves=["RFC 1812 section 5.3.1"],
        rules={"work": "policy=drop\naction=accept proto=udp dstports=4000-4000\n"},
    )
    frame = from_qube(WORK, SERVER, udp(44090, 4000), ttl=1)
    case.drop(0, "work", frame, "time-exceeded", answer=time_exceeded(frame, "work"))
    frame = from_qube(WORK, SERVER, udp(44090, 4001), ttl=1)
    case.drop(0.1, "work", frame, "time-exceeded", answer=time_exceeded(frame, "work"))
    frame = from_qube(WORK, SERVER, udp(44090, 4000), ttl=0)
    case.drop(0.2, "work", frame, "time-exceeded", answer=time_exceeded(frame, "work"))
    frame = from_qube(WORK, SERVER6, udp(44090, 4001), hlim=1)
    case.drop(0.3, "work", frame, "time-exceeded", answer=time_exceeded(frame, "work"))
    # no flow was opened by any of them
    case.drop(0.5, "uplink", from_uplink(SERVER, udp(4000, 44090)), "no-flow")
    case.out(1, WORK, from_qube(WORK, SERVER, udp(44090, 4000), ttl=2), rule="0000")
    case.out(1.1, WORK, from_qube(WORK, SERVER6, udp(44090, 4000), hlim=2), rule="0000")
    # in an open flow likewise, and then the far end is told, from the address it knows
    frame = from_qube(WORK, SERVER, udp(44090, 4000), ttl=1)
    case.drop(2, "work", frame, "time-exceeded", rule="0000", answer=time_exceeded(frame, "work"))
    frame = from_uplink(SERVER, udp(4000, 44090), ttl=1)
    case.drop(
        2.1,
        "uplink",
        frame,
        "time-exceeded",
        rule="0000",
        qube="work",
        answer=time_exceeded(frame, "uplink", UPLINK),
    )
    case.back(3, WORK, from_uplink(SERVER, udp(4000, 44090), ttl=2), rule="0000")
