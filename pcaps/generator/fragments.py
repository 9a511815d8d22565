# SPDX-License-Identifier: BSD-3-Clause
"""Fragments: those that become a datagram, and those that do not."""

from generator.chosen import FLOOD_NAMES
from generator.path import *

ALL = (1472, 1472)  # of payload in each but the last, as hosts cut at 1500 bytes


def filled(length, salt=7):
    """A maker of UDP datagrams with so many bytes that every eight of them differ."""
    data = b"".join(struct.pack("!HHI", salt, at & 0xFFFF, at * 0x9E3779B1 % 2**32)
                    for at in range(0, length, 8))
    return lambda a, b: udp(a, b, data[:length])


def piece(frame, start, length, more, number=None, offset=None):
    """One fragment as a frame; @p offset: what it says of its place, if not the truth."""
    packet = ip_bytes(frame)
    if packets.version(packet) == 4:
        part = packets.fragment4(packet, start, length, more, number)
        if offset is not None:
            word = struct.pack("!H", offset // 8 | (0x2000 if more else 0))
            part = packets.header_summed(packets.with_bytes(part, 6, word))
    else:
        part = packets.fragment6(packet, start, length, more, number)
        if offset is not None:
            at = packets.unfragmentable(packet)
            part = packets.with_bytes(part, at + 2, struct.pack("!H", offset | more))
    return bytes(frame)[:14] + part


def loose(server=SERVER, layer=None, port=44100, **fields):
    """A datagram of work to take pieces of. DF is clear."""
    if not is_v6(server):
        fields.setdefault("flags", 0)
    return from_qube(WORK, server, layer or filled(400)(port, 4000), **fields)


def quiet(case, time):
    """A packet that does nothing but let time pass, so that everything that waits has ended."""
    frame = ping_gateway(PERSONAL, 99)
    case.local(time, "personal", frame, pong(frame, "personal"))


@a_case
def fragments():
    case = Case(
        "fragments",
        "Fragmented datagrams are put together, judged and translated as a whole, and leave in "
        "fragments no longer than those that came, of a new identification.",
        proves=["RFC 4787 REQ-14", "RFC 6864", "RFC 791"],
        rules={"work": "policy=accept\naction=drop proto=udp dstports=4001-4001\n"},
    )
    path = masquerade(case, WORK, 44080, SERVER, 4000)
    path.go(0, THERE, filled(3000), parts=ALL, number=0x4001)
    path.go(0.1, BACK, filled(3000), parts=ALL, number=0x4002)
    path.go(0.2, BACK, filled(65507), parts=(1480,) * 44, number=0x4003)
    # pieces of all sizes: what leaves is as long as the longest of them
    path.go(0.3, THERE, filled(3000), parts=(504, 1000, 48), number=0x4004)
    path.go(0.4, THERE, filled(1000), parts=(8, 8, 64, 400), number=0x4005)
    path.go(0.5, THERE, lambda a, b: udp(a, b, bytes(1000), chksum=0), parts=(504,), number=0x4006)
    # DF in fragments says that no router may cut them further
    path.go(0.6, THERE, filled(3000), parts=ALL, number=0x4007, flags="DF")
    # options: some stand in every fragment, some in the first
    option = [IPOption_Router_Alert(), IPOption(b"\x44\x04\x05\x00")]
    path.go(0.7, THERE, filled(3000), parts=(1456, 1456), number=0x4008, options=option)
    pinged = query_path(case, WORK, 0x44)
    for index, direction in enumerate((THERE, BACK)):
        pinged.go(
            1 + index / 10,
            direction,
            lambda a, b: ping(a or b, 1, bytes(range(250)) * 12, reply=a == 0),
            parts=ALL,
            number=0x4010 + index,
        )
    connection = connect(case, WORK, 44081).open(2)
    connection.out(2.1, "PA", bytes(range(200)), parts=(24, 48, 64), number=0x4020)
    connection.back(2.2, "PA", bytes(range(200)), parts=(24, 104), number=0x4021)
    connection.out(2.3, "A")
    tunnel = masquerade(case, WORK, 0, SERVER, 0)
    for index, direction in enumerate((THERE, BACK)):
        tunnel.go(
            2.5 + index / 10, direction, lambda a, b: Raw(bytes(range(200))), parts=(96,),
            number=0x4024 + index, proto=47,
        )
    # the rules see the whole, and so does the qube in the answer
    denied = masquerade(case, WORK, 44082, SERVER, 4001, rule="0000")
    denied.stop(
        3, THERE, filled(3000), "rule", answer=prohibited, parts=ALL, number=0x4030
    )
    # a long answer to a question that went to a virtual address
    ends = (WORK.ip, 44086, VIRTUAL_DNS[0], 53), (UPLINK, 44086, RESOLVER, 53)
    question = Path(case, "work", "uplink", *ends, "work/policy")
    question.udp(3.05, THERE)
    question.go(3.06, BACK, filled(4000), parts=ALL, number=0x4034)
    # nobody asked for this
    other = masquerade(case, WORK, 44083, SERVER, 4000)
    other.stop(3.1, BACK, filled(3000), "no-flow", parts=ALL, number=0x4031)
    # spoofed, to us, to nobody: each piece by itself
    for index, changes in enumerate(
        ({"source": PERSONAL.ip}, {"mac": "00:16:3e:5e:6c:99"}, {"ttl": 64})
    ):
        reason = ("source-address", "source-mac", "martian-destination")[index]
        server = "224.0.0.251" if index == 2 else SERVER
        frame = from_qube(WORK, server, filled(3000)(44084, 4000), flags=0, **changes)
        for part in packets.cut(ip_bytes(frame), ALL, 0x4032 + index):
            case.drop(3.2 + index / 10, "work", bytes(frame)[:14] + part, reason)
    # two qubes use one identification at once
    theirs = masquerade(case, PERSONAL, 44085, SERVER, 4000)
    mine = path.pieces(THERE, filled(100), (48,), 0x4040)
    others = theirs.pieces(THERE, filled(100), (48,), 0x4041)
    theirs_in = [packets.with_bytes(part, 4, b"\x40\x40") for part in others[2]]
    theirs_in = [packets.header_summed(part) for part in theirs_in]
    case.passes(4, "personal", others[0], "uplink", others[1], theirs.rules[THERE], theirs_in)
    case.passes(4, "work", mine[0], "uplink", mine[1], path.rules[THERE], mine[2])
    path.udp(5, BACK, b"and whole ones pass as ever")


@a_case
def fragments_order():
    case = Case(
        "fragments-order",
        "Fragments may come in any order, those of several datagrams between each other; they "
        "leave in order.",
        proves=["RFC 4787 REQ-14", "RFC 4787 REQ-13"],
    )
    path = masquerade(case, WORK, 44090, SERVER, 4000)
    path6 = masquerade(case, WORK, 44090, SERVER6, 4000)
    path.udp(0, THERE)
    path6.udp(0, THERE)
    orders = (
        (4, 3, 2, 1, 0), (1, 2, 3, 4, 0), (4, 0, 1, 2, 3), (2, 4, 0, 3, 1), (3, 0, 4, 1, 2)
    )  # fmt: skip
    for index, order in enumerate(orders):
        number = 0x4100 + index
        path.go(1 + index / 10, THERE, filled(2300), parts=(480,) * 4, order=order, number=number)
        path.go(
            2 + index / 10, BACK, filled(2300), parts=(480,) * 4, order=order, number=number + 16
        )
        path6.go(
            3 + index / 10, THERE, filled(6000), parts=(1240,) * 4, order=order, number=number
        )
        path6.go(
            4 + index / 10, BACK, filled(6000), parts=(1240,) * 4, order=order, number=number + 16
        )
    # two datagrams in step
    frame, expect, parts = path.pieces(THERE, filled(2300, 1), (480,) * 4, 0x4120)
    frame2, expect2, parts2 = path.pieces(THERE, filled(2300, 2), (480,) * 4, 0x4121)
    case.passes(5, "work", frame, "uplink", expect, path.rules[THERE], parts)
    case.passes(5, "work", frame2, "uplink", expect2, path.rules[THERE], parts2)
    # sorting by time keeps the order of adding: 0 to 4 of the one, then of the other; mix them
    ten = case.events[-10:]
    case.events[-10:] = [event for pair in zip(ten[:5], ten[5:]) for event in pair]
    # slowly: whatever passes meanwhile
    for index, (order, times) in enumerate((((2, 1, 0), (10, 25, 38)), ((0, 2, 1), (11, 26, 39)))):
        slow = {"parts": (480, 480), "order": order, "times": times, "number": 0x4122 + index}
        path.go(10, THERE, filled(1400, index), **slow)
    path.udp(30, THERE)


@a_case
def fragments_overlap():
    case = Case(
        "fragments-overlap",
        "Of fragments that overlap or contradict each other nothing leaves, and nothing of their "
        "name for as long as a datagram may take. An exact repetition is dropped by itself.",
        proves=["attack: fragment overlap", "attack: teardrop", "RFC 5722", "RFC 1858", "RFC 8200"],
    )
    path = masquerade(case, WORK, 44100, SERVER, 4000)
    path6 = masquerade(case, WORK, 44100, SERVER6, 4000)
    whole, whole6 = loose(), loose(SERVER6)
    # repetitions: before the rest, after some of it, with other bytes
    for index, (start, length, more, swapped) in enumerate(
        ((0, 200, 1, False), (200, 104, 1, False), (304, 104, 0, False), (200, 104, 1, True))
    ):
        number = 0x4200 + index
        frame, expect, parts = path.pieces(THERE, filled(400), (200, 104), number)
        again = piece(loose(layer=filled(400, 8)(44100, 4000)) if swapped else frame,
                      start, length, more, number)
        at = (0, 200, 304).index(start)
        # the repeated one first, its repetition, and the others with the offset 0 at last or alone
        order = [at] + [other for other in (2, 1, 0) if other != at]
        case.passes(
            index / 10, "work", frame, "uplink", expect, path.rules[THERE], parts, order=order
        )
        case.drop(index / 10, "work", again, "fragment-overlap")
        three = case.events[-4:-1]
        case.events[-4:] = [three[0], case.events[-1], *three[1:]]
    # (start, length, more) of pieces that do not go together
    mixtures = (
        ((0, 200, 1), (192, 104, 1)),  # the last eight bytes twice
        ((0, 200, 1), (8, 8, 1)),  # teardrop: one within the other
        ((200, 104, 1), (0, 208, 1)),  # into what is behind it
        ((200, 104, 1), (192, 120, 1)),  # around it
        ((0, 200, 1), (0, 208, 1)),  # the first again, and longer
        ((0, 200, 1), (0, 192, 1)),  # and shorter
        ((304, 104, 0), (200, 104, 0)),  # two ends
        ((304, 104, 0), (200, 112, 0)),
        ((200, 104, 0), (304, 104, 1)),  # behind the end
        ((200, 104, 0), (304, 104, 0)),
        ((304, 104, 1), (200, 96, 0)),  # an end before what is there
        ((0, 24, 1), (8, 16, 1)),  # other flags and ports for those that look at the first only
    )
    for index, mixture in enumerate(mixtures):
        for frame, number in ((whole, 0x4240 + index), (whole6, 0x42400000 + index)):
            six = frame is whole6
            time = 1 + index / 10 + six / 20
            for start, length, more in mixture:
                raw = piece(frame, start, length, more, number)
                case.drop(time, "work", raw, "fragment-overlap")
            # what would make it whole comes too late
            for start, length, more in ((0, 200, 1), (200, 104, 1), (304, 104, 0)):
                raw = piece(frame, start, length, more, number)
                case.drop(time + 0.02, "work", raw, "fragment-overlap")
    # more than a packet can hold (ping of death)
    for index, frame in enumerate((whole, whole6)):
        raw = piece(frame, 0, 16, 0, 0x4260, offset=65528)
        case.drop(3 + index / 10, "work", raw, "fragment-overlap")
        raw = piece(frame, 0, 400, 1, 0x4261, offset=65528)
        case.drop(3.5 + index / 10, "work", raw, "fragment-overlap")
    # others do not mind: other identifications, other protocols, another far end
    path.go(5, THERE, filled(400), parts=(200, 104), number=0x4270)
    path6.go(5.1, THERE, filled(3000), parts=(1232, 1232), number=0x42700001)
    path.go(5.2, BACK, filled(400), parts=(200, 104), number=0x4240)
    # 30 s after its first fragment the name is as good as any
    path.go(36, THERE, filled(400), parts=(200, 104), number=0x4240)
    path6.go(36.1, THERE, filled(3000), parts=(1232, 1232), number=0x42400000)
    quiet(case, 40)


@a_case
def fragments_tiny():
    case = Case(
        "fragments-tiny",
        "A first fragment holds the whole header of its upper layer, or it is dropped, and nothing "
        "becomes of the rest. Fragments that say impossible things of themselves are dropped.",
        proves=["attack: tiny fragments", "RFC 1858 section 3", "RFC 3128", "RFC 7112 section 5"],
        rules={"work": "policy=accept\naction=drop proto=udp dstports=4001-4001\n"
               "action=drop proto=tcp dstports=25-25\n"},
        sections="\n[timeouts]\nfragment = 5\n",
    )
    stamped = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0))]
    segment = tcp(44111, 25, "S", bytes(64), options=stamped)
    bare = tcp(44112, 80, "S", bytes(64))
    number = 0x4300
    for six, server in ((False, SERVER), (True, SERVER6)):
        for layer, lengths in ((segment, (8, 16, 24, 32)), (bare, (8, 16))):
            for length in lengths:
                number += 1
                time = (number - 0x4300) / 100
                frame = loose(server, layer)
                case.drop(time, "work", piece(frame, 0, length, 1, number), "fragment")
                # the rest waits for a first one
                raw = piece(frame, length, 128, 0, number)
                case.drop(time, "work", raw, "fragment-timeout")
        # with so many bytes they are good, and judged
        frame = loose(server, segment, **({} if six else {"id": 0x4340}))
        parts = packets.cut(ip_bytes(frame), (40,), 0x4340)
        case.refuse(1 + six / 10, WORK, frame, "rule", "0001", parts=parts)
    # no fragment but the last ends within eight bytes, and none is empty
    frame = loose()
    for index, (start, length, more) in enumerate(
        ((0, 12, 1), (8, 4, 1), (64, 65, 1), (0, 0, 1), (64, 0, 1), (64, 0, 0))
    ):
        for step, frame in enumerate((loose(), loose(SERVER6))):
            raw = piece(frame, start, length, more, 0x4350 + index)
            case.drop(2 + index / 10 + step / 20, "work", raw, "fragment")
    # ICMP needs eight bytes, and so does UDP: no fragment has less. Ports are looked at
    path = masquerade(case, WORK, 44110, SERVER, 4000)
    path.go(3, THERE, filled(400), parts=(8, 8, 200), number=0x4360)
    denied = masquerade(case, WORK, 44110, SERVER, 4001, rule="0000")
    denied.stop(
        3.1, THERE, filled(400), "rule", answer=prohibited, parts=(8, 8, 200), number=0x4361
    )
    # the last one may be of any length
    path.go(3.3, THERE, filled(401), parts=(200, 208), number=0x4363)
    # headers that are wrong whatever follows
    frame = loose(layer=tcp(44113, 80, "S", bytes(64), dataofs=4))
    case.drop(4, "work", piece(frame, 0, 64, 1, 0x4364), ANY)
    quiet(case, 12)


@a_case
def fragments_timeout():
    case = Case(
        "fragments-timeout",
        "A datagram must be whole within 30 s of its first fragment; what has come of it by then "
        "is dropped in silence, and what comes later begins anew.",
        proves=["RFC 4787 REQ-14", "RFC 8200 section 4.5"],
    )
    path = masquerade(case, WORK, 44120, SERVER, 4000)
    path6 = masquerade(case, WORK, 44120, SERVER6, 4000)
    path.udp(0, THERE)
    path6.udp(0, THERE)
    # just in time: the first one comes at last
    more = {"order": (1, 2, 0)}
    path.go(1, THERE, filled(400), parts=(200, 104), number=0x4400, times=(1, 1, 29), **more)
    # too late
    path.lost(40, THERE, filled(400), "fragment-timeout", (200, 104), (0, 1), 0x4401)
    path.lost(73, THERE, filled(400), "fragment-timeout", (200, 104), (2,), 0x4401)
    path6.lost(40, THERE, filled(400), "fragment-timeout", (200, 104), (1, 2), 0x44010000)
    path6.lost(73, THERE, filled(400), "fragment-timeout", (200, 104), (0,), 0x44010000)
    # a later fragment prolongs nothing
    path.lost(110, BACK, filled(400), "fragment-timeout", (200, 104), (0,), 0x4402)
    path.lost(135, BACK, filled(400), "fragment-timeout", (200, 104), (1,), 0x4402)
    path.lost(143, BACK, filled(400), "fragment-timeout", (200, 104), (2,), 0x4402)
    # repetitions of what has left already wait in vain
    path.go(180, THERE, filled(400), parts=(200, 104), number=0x4403)
    path.lost(181, THERE, filled(400), "fragment-timeout", (200, 104), (1,), 0x4403)
    quiet(case, 220)


@a_case
def fragments_flood():
    case = Case(
        "fragments-flood",
        "Fragments that wait are counted: when a qube has as many as it may, its own oldest "
        "datagram ends. Nobody else has less room for it.",
        proves=["RFC 4787 REQ-14", "attack: table exhaustion"],
        qube_lines={"work": "fragments = 8\n"},
    )
    mine = masquerade(case, WORK, 44130, SERVER, 4000)
    theirs = masquerade(case, PERSONAL, 44131, SERVER, 4000)
    mine.udp(0, THERE)
    theirs.udp(0, THERE)
    # a datagram of more fragments than may wait: none of them leaves
    mine.lost(1, THERE, filled(1200), "fragment-limit", (104,) * 11, range(12), 0x4500)
    mine.go(1.1, THERE, filled(700), parts=(104,) * 6, number=0x4501)
    theirs.go(1.2, THERE, filled(1200), parts=(104,) * 11, number=0x4502)
    # eight beginnings fill it, and each further one is the end of the oldest
    for index, number in enumerate(FLOOD_NAMES[:10]):
        reason = "fragment-limit" if index < 4 else "fragment-timeout"
        mine.lost(40 + index / 100, THERE, filled(400), reason, (200, 104), (1,), number)
    for index, number in enumerate(FLOOD_NAMES[10:]):
        # these two become whole when the others have had their time
        mine.go(
            75 + index / 10,
            THERE,
            filled(300),
            parts=(200,),
            number=number,
            order=(1, 0),
            times=(60 + index / 10, 75 + index / 10),
        )
    # another qube and the far end do not notice that there is no room
    theirs.go(65, THERE, filled(1200), parts=(104,) * 11, number=0x4503)
    mine.go(65.1, BACK, filled(1200), parts=(104,) * 11, number=0x4504)
    # no datagram needs more than 128 fragments
    theirs.go(80, THERE, filled(1200), parts=(8,) * 127, number=0x4505)
    theirs.lost(81, THERE, filled(1200), "fragment-limit", (8,) * 128, range(129), 0x4506)
    # from across the uplink, one sender fills his share with beginnings; others are heard
    for index in range(300):
        frame = from_uplink("198.51.100.99", filled(400)(4000, 44130), flags=0)
        raw = piece(frame, 0, 200, 1, 0x7000 + index)
        case.drop(90 + index / 1000, "uplink", raw, ANY)
    mine.go(90.5, BACK, filled(3000), parts=ALL, number=0x4507)
    theirs.go(90.6, BACK, filled(3000), parts=ALL, number=0x4508)
    quiet(case, 130)


@a_case
def fragments6():
    case = Case(
        "fragments6",
        "IPv6 fragments are put together and translated as IPv4 ones. A fragment that is all of "
        "its packet loses its header, and headers that a fragment could hide are not hidden.",
        proves=["RFC 8200 section 4.5", "RFC 6946", "RFC 7112 section 5", "RFC 6980"]
        + ["attack: IPv6 extension-header evasion"],
        rules={"work": "policy=accept\naction=drop proto=udp dstports=4001-4001\n"},
    )
    path = masquerade(case, WORK, 44140, SERVER6, 4000)
    six = (1232, 1232)
    path.go(0, THERE, filled(3000), parts=six, number=0x46000001)
    path.go(0.1, BACK, filled(3000), parts=six, number=0x46000002)
    path.go(0.2, BACK, filled(65000), parts=(1448,) * 44, number=0x46000003)
    path.go(0.3, THERE, filled(4000), parts=(8, 1304, 504, 1304), number=0x46000004)
    pinged = query_path(case, WORK, 0x46, SERVER6)
    for index, direction in enumerate((THERE, BACK)):
        pinged.go(
            1 + index / 10,
            direction,
            lambda a, b: ping(a or b, 1, bytes(range(250)) * 12, v6=True, reply=a == 0),
            parts=six,
            number=0x46000010 + index,
        )
    connection = connect(case, WORK, 44141, SERVER6).open(2)
    connection.out(2.1, "PA", bytes(range(250)) * 12, parts=(24, 1304), number=0x46000020)
    connection.back(2.2, "A")
    # options: hop-by-hop in front of the fragment header, destination options behind it
    hop = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0\0\0\0")])
    option = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0\0\0\0")])
    for index, chain in enumerate((hop, option, hop / option)):
        for step, direction in enumerate((THERE, BACK)):
            path.go(
                3 + index / 10 + step / 20,
                direction,
                lambda a, b, chain=chain: chain.copy() / filled(3000)(a, b),
                parts=six,
                number=0x46000030 + index * 2 + step,
            )
    # rules
    denied = masquerade(case, WORK, 44142, SERVER6, 4001, rule="0000")
    for index, make in enumerate((filled(3000), lambda a, b: option.copy() / filled(3000)(a, b))):
        more = {"parts": six, "number": 0x46000040 + index}
        denied.stop(4 + index / 10, THERE, make, "rule", answer=prohibited, **more)
    # atomic fragments (RFC 6946): a packet like any other, whoever else has its number
    path.lost(5, THERE, filled(400), "fragment-timeout", (200,), (0,), 0x46000050)
    frame, expect = path.frames(THERE, filled(100))
    atomic = packets.fragment6(ip_bytes(frame), 0, 108, False, 0x46000050)
    raw = bytes(frame)[:14] + atomic
    case.passes(5, "work", raw, "uplink", expect, path.rules[THERE])
    # a first fragment without all headers
    frame = loose(SERVER6, IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(20))]) / filled(400)(1, 2))
    for index, length in enumerate((8, 16, 24)):
        case.drop(6 + index / 10, "work", piece(frame, 0, length, 1, 0x46000060), "fragment")
    # hop-by-hop options, routing headers and fragment headers within a fragment
    frame = loose(SERVER6, hop / filled(100)(44143, 4000))
    for index, (more, length) in enumerate(((1, 64), (0, 8 + 108))):
        hidden = hop_in_fragment(ip_bytes(frame), length, more, 0x46000070 + index)
        raw = bytes(frame)[:14] + hidden
        case.drop(7 + index / 10, "work", raw, "extension-header")
    routing = IPv6ExtHdrRouting(type=0, addresses=[SERVER6]) / filled(100)(44143, 4000)
    for index, (more, length) in enumerate(((1, 64), (0, 24 + 108))):
        raw = piece(loose(SERVER6, routing), 0, length, more, 0x46000074 + index)
        case.drop(7.2 + index / 10, "work", raw, "source-route")
    nested = IPv6ExtHdrFragment(m=0, offset=0, id=1) / filled(100)(44143, 4000)
    for index, (more, length) in enumerate(((1, 64), (0, 8 + 108))):
        raw = piece(loose(SERVER6, nested), 0, length, more, 0x46000078 + index)
        case.drop(7.4 + index / 10, "work", raw, ANY)
    # neighbour discovery does not come in fragments (RFC 6980)
    frame = solicitation(WORK.ip6, GATEWAY6)
    packet = ip_bytes(frame)
    for index, (more, length) in enumerate(((1, 24), (0, 32))):
        raw = bytes(frame)[:14] + packets.fragment6(packet, 0, length, more, 0x4600007C + index)
        case.drop(7.6 + index / 10, "work", raw, "neighbour-discovery")
    # cut within the fragment header
    raw = bytes(loose(SERVER6, Raw(b"\x11\0\0"), nh=44))
    case.drop(7.8, "work", raw, "truncated")
    path.udp(8, BACK)
    quiet(case, 50)


def hop_in_fragment(packet, length, more, number):
    """Hop-by-hop options behind a fragment header, where they must not be."""
    header = struct.pack("!BBHI", 0, 0, more, number)
    part = packet[40 : 40 + length]
    before = packets.with_bytes(packet[:40], 4, struct.pack("!H", 8 + len(part)))
    return packets.with_bytes(before, 6, bytes([packets.FRAGMENT_HEADER])) + header + part
