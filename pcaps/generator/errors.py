# SPDX-License-Identifier: BSD-3-Clause
"""ICMP errors about flows: which pass, in which form, and which cannot be true."""

from generator.path import *

ON_THE_WAY, ON_THE_WAY6 = "198.51.100.9", "2001:3::9"


def mtu_of(mtu):
    """Bytes 4 to 7 of 3/4 and 2/0."""
    return struct.pack("!I", mtu)


def datagram(source_port, destination_port):
    return udp(source_port, destination_port, bytes(range(64)))


def gre(_source_port, _destination_port):
    return Raw(bytes.fromhex("0000080045000014") + bytes(16))


def echo(v6=False, reply=False, identifier=None):
    def make(a, b):
        return ping(a or b if identifier is None else identifier, 3, v6=v6, reply=reply)

    return make


def with_words(at, words, resum=True):
    """Changes bytes of a quotation, and mostly puts the sum of its IPv4 header right again."""

    def alter(packet):
        packet = packets.with_bytes(packet, at, words)
        return packets.header_summed(packet) if resum else packet

    return alter


def label_stack():
    """An extension structure (RFC 4884) with an MPLS label stack (RFC 4950)."""
    objects = struct.pack("!HBBI", 8, 1, 1, 0x12345101)
    total = packets.checksum(struct.pack("!HH", 0x2000, 0) + objects)
    return struct.pack("!HH", 0x2000, total) + objects


@a_case
def icmp_errors():
    case = Case(
        "icmp-errors",
        "An ICMP error about a flow passes, and neither ends nor renews it.",
        proves=["RFC 5508 REQ-6", "RFC 4787 REQ-12", "RFC 5382 REQ-10"],
        rules={"work": "policy=drop\naction=accept proto=udp dstports=4000-4000\n"
               "action=accept proto=tcp\naction=accept proto=icmp icmptype=8\n"},
    )
    silent = masquerade(case, WORK, 41030, SERVER, 4000, rule="0000")
    talking = masquerade(case, WORK, 41031, SERVER, 4000, rule="0000")
    pinged = query_path(case, WORK, 41032, rule="0002")
    connection = connect(case, WORK, 41033, rule="0001").open(0)
    silent.udp(0, THERE)
    talking.udp(0, THERE)
    pinged.ping(0, THERE)
    connection.out(0.5, "PA", b"in flight")
    for time in (1, 40):
        pinged.error(time, BACK, echo(), 3, 1, router=ON_THE_WAY)
    pinged.no_error(64, BACK, echo(), 3, 1, router=ON_THE_WAY)
    for time in (1, 60, 110):
        silent.error(time + 0.1, BACK, datagram, 3, 3)
        talking.error(time + 0.2, BACK, datagram, 3, 3)
        talking.error(time + 0.3, BACK, datagram, 11, 0, router=ON_THE_WAY)
        quoted = connection.quoted(THERE, seq=connection.next[THERE] - 9)
        connection.path.error(time + 0.4, BACK, quoted, 3, 1, router=ON_THE_WAY)
    talking.udp(118, BACK)
    silent.no_udp(124, BACK, "no-flow")
    silent.no_error(124.1, BACK, datagram, 3, 3)
    # the qube's own errors are no packets of the flow either
    for time in (130, 250, 410):
        talking.error(time, THERE, datagram, 3, 3)
    talking.no_udp(422, BACK, "no-flow")
    talking.no_error(422.1, THERE, datagram, 3, 3)
    connection.back(500, "PA", b"open for hours")


@a_case
def icmp_errors_in():
    case = Case(
        "icmp-errors-in",
        "ICMP errors from outside reach the qube as being about what it sent: from routers and far "
        "ends, with 8 bytes of it or all, with options, extensions, without a UDP checksum.",
        proves=["RFC 5508 REQ-3", "RFC 5508 REQ-4", "RFC 5508 REQ-10", "RFC 5382 REQ-9"]
        + ["RFC 4884", "RFC 4787 REQ-12"],
    )
    path = masquerade(case, WORK, 41100, SERVER, 4000)
    path.udp(0, THERE)
    kinds = [(3, code) for code in (0, 1, 2, 3, 5, 9, 10, 13)] + [(11, 0), (11, 1)]
    for index, kind in enumerate(kinds):
        path.error(0.1 + index / 100, BACK, datagram, *kind)
        path.error(0.5 + index / 100, BACK, datagram, *kind, length=28, hops=1, router=ON_THE_WAY)
    pointer = bytes([20, 0, 0, 0])
    path.error(1, BACK, datagram, 12, 0, rest=pointer, router=ON_THE_WAY)
    path.error(1.1, BACK, datagram, 3, 4, rest=mtu_of(1400), router=ON_THE_WAY)
    # from our own gateway, and another host of its link
    path.error(1.2, BACK, datagram, 11, 0, router=ROUTER, hops=1)
    path.error(1.3, BACK, datagram, 3, 1, router=LOCAL_HOST, hops=1)

    def bare(a, b):
        return udp(a, b, b"no checksum", chksum=0)

    path.error(2, BACK, bare, 3, 3)
    path.error(2.1, BACK, bare, 3, 3, length=28)
    # options in the quoted header, and a tail of any length
    for index, length in enumerate((None, 24 + 8, 24 + 9, 24 + 15)):
        path.error(
            2.2 + index / 10, BACK, datagram, 3, 3, length=length, options=[IPOption_Router_Alert()]
        )
    # as long as it may be, and one that may be cut on its way; the last one has no hop left
    def long(a, b):
        return udp(a, b, bytes(range(250)) * 5)

    path.error(2.6, BACK, long, 3, 3)
    path.error(2.61, BACK, datagram, 3, 3, outer={"flags": 0, "id": 0x6101})
    path.error(2.62, BACK, datagram, 3, 3, outer={"flags": 0, "id": 0x6102}, router=ON_THE_WAY)
    path.no_error(
        2.63, BACK, datagram, 3, 3, "time-exceeded", outer={"ttl": 1}, router=ON_THE_WAY
    )
    # the first fragment of a datagram stands for it
    path.error(2.7, BACK, datagram, 11, 1, alter=with_words(6, b"\x20\x00"))
    # extensions stand behind 128 bytes, which the length says in words of 4
    for index, (kind, rest) in enumerate(
        (((11, 0), b"\0\x20\0\0"), ((3, 4), b"\0\x20\x05\x78"), ((12, 0), b"\x14\x20\0\0"))
    ):
        path.error(
            3 + index / 10,
            BACK,
            datagram,
            *kind,
            rest=rest,
            pad=128,
            behind=label_stack(),
            router=ON_THE_WAY,
        )
    # TCP: a segment on its way, all of it or its first 8 bytes
    connection = connect(case, WORK, 41101)
    connection.out(4, "S")
    syn = connection.quoted(THERE, "S", seq=connection.first[THERE])
    connection.path.error(4.01, BACK, syn, 11, 0, length=28, hops=1, router=ON_THE_WAY)
    connection.back(4.02, "SA")
    connection.out(4.03, "A")
    connection.out(4.1, "A", bytes(1000))
    sent = connection.quoted(THERE, "A", bytes(1000), seq=connection.next[THERE] - 1000)
    for index, length in enumerate((None, 28, 36, 40)):
        connection.path.error(4.2 + index / 100, BACK, sent, 3, 1, length=length, router=ON_THE_WAY)
    too_big_for = {"rest": mtu_of(1000), "router": ON_THE_WAY}
    connection.path.error(4.3, BACK, sent, 3, 4, length=28, **too_big_for)
    # queries, and protocols without ports
    pinged = query_path(case, WORK, 0x4321)
    pinged.ping(5, THERE)
    for index, length in enumerate((None, 28)):
        pinged.error(5.1 + index / 10, BACK, echo(), 3, 1, length=length, router=ON_THE_WAY)
    tunnel = masquerade(case, WORK, 0, SERVER, 0)
    tunnel.go(6, THERE, gre, proto=47)
    tunnel.error(6.1, BACK, gre, 3, 2, proto=47)
    tunnel.error(6.2, BACK, gre, 11, 0, length=28, router=ON_THE_WAY, proto=47)
    # DNS: the qube asked a virtual address, and knows no other
    ends = (WORK.ip, 41102, VIRTUAL_DNS[1], 53), (UPLINK, 41102, RESOLVER, 53)
    question = Path(case, "work", "uplink", *ends, "work/policy")
    question.udp(7, THERE)
    question.error(7.1, BACK, datagram, 3, 3)
    question.error(7.2, BACK, datagram, 3, 1, router=ON_THE_WAY)
    # and answers still come
    path.udp(8, BACK)
    question.udp(8.1, BACK)


@a_case
def icmp_errors_out():
    case = Case(
        "icmp-errors-out",
        "ICMP errors of a qube about what it got leave as the uplink's, about what was sent to the "
        "uplink, whatever its rules say; about anything else they do not leave.",
        proves=["RFC 5508 REQ-3", "RFC 5508 REQ-5", "RFC 5508 REQ-10"],
        rules={"work": "policy=drop\naction=accept proto=udp dstports=4000-4000\n"
               "action=accept proto=tcp dstports=80-80\naction=accept proto=icmp icmptype=8\n"},
    )
    path = masquerade(case, WORK, 41200, SERVER, 4000, rule="0000")
    path.udp(0, THERE)
    path.udp(0.1, BACK)
    for index, kind in enumerate(((3, 2), (3, 3), (3, 13), (11, 1), (12, 0))):
        path.error(1 + index / 10, THERE, datagram, *kind)
        path.error(1.5 + index / 10, THERE, datagram, *kind, length=28)
    path.error(2, THERE, datagram, 3, 4, rest=mtu_of(1400))
    path.error(2.05, THERE, datagram, 3, 3, outer={"flags": 0, "id": 0x6201})
    path.error(2.1, THERE, datagram, 3, 3, options=[IPOption_Router_Alert()])
    path.error(2.2, THERE, lambda a, b: udp(a, b, b"bare", chksum=0), 3, 3)
    path.error(
        2.3, THERE, datagram, 3, 3, rest=b"\0\x20\0\0", pad=128, behind=label_stack()
    )
    connection = connect(case, WORK, 41201, rule="0001").open(3)
    connection.back(3.1, "PA", bytes(100))
    sent = connection.quoted(BACK, "PA", bytes(100), seq=connection.next[BACK] - 100)
    connection.path.error(3.2, THERE, sent, 3, 3, length=28)
    pinged = query_path(case, WORK, 0x5432, rule="0002")
    pinged.ping(4, THERE)
    pinged.ping(4.1, BACK)
    pinged.error(4.2, THERE, echo(reply=True), 3, 3)
    # nothing was ever sent to this port, from this host, in this order
    other = masquerade(case, WORK, 41202, SERVER, 4000)
    other.no_error(5, THERE, datagram, 3, 3, rule=None)
    other = masquerade(case, WORK, 41200, OTHER_SERVER, 4000)
    other.no_error(5.1, THERE, datagram, 3, 3, rule=None)
    late = connection.quoted(BACK, "PA", seq=connection.next[BACK] + 100_000)
    connection.path.no_error(5.2, THERE, late, 3, 3, length=28)
    # another qube speaks about it, in its own name or in the wrong one
    for index, source in enumerate((PERSONAL.ip, WORK.ip)):
        liar = Path(case, "personal", "uplink", path.sent, path.seen)
        reason = "source-address" if source == WORK.ip else "icmp-error"
        liar.no_error(6 + index / 10, THERE, datagram, 3, 3, reason, router=source)
    # a qube is no router
    path.no_error(6.2, THERE, datagram, 11, 0, "source-address", router="10.137.0.99")
    # to somebody else than who sent what it quotes
    path.no_error(6.3, THERE, datagram, 3, 3, destination=OTHER_SERVER)
    # source quench and redirects: never
    path.no_error(7, THERE, datagram, 4, 0, "icmp-type")
    path.no_error(7.1, THERE, datagram, 5, 1, "icmp-type", rest=packets.packed("10.137.0.9"))
    path.udp(8, BACK)


@a_case
def icmp_errors_forged():
    case = Case(
        "icmp-errors-forged",
        "ICMP errors that cannot be true are dropped: about no flow, about segments that are not "
        "on their way, with a damaged or cut quotation, from the wrong side.",
        proves=["attack: forged ICMP errors", "RFC 5508 REQ-3", "RFC 5508 REQ-4", "RFC 5927"]
        + ["RFC 5382 REQ-9"],
    )
    path = masquerade(case, WORK, 41300, SERVER, 4000)
    path.udp(0, THERE)
    lost = {"router": ON_THE_WAY}
    # other ports, hosts, protocols; and the addresses as they are inside
    for index, (port, server, server_port) in enumerate(
        ((41301, SERVER, 4000), (41300, SERVER, 4001), (41300, OTHER_SERVER, 4000))
    ):
        other = masquerade(case, WORK, port, server, server_port)
        other.no_error(1 + index / 10, BACK, datagram, 3, 1, rule=None, **lost)
    path.no_error(1.3, BACK, lambda a, b: tcp(a, b, "S"), 3, 1, rule=None, **lost)
    inside = Path(case, "work", "uplink", path.sent, path.sent)
    inside.no_error(1.4, BACK, datagram, 3, 1, rule=None, **lost)
    inside.no_error(1.5, BACK, datagram, 3, 1, rule=None, destination=UPLINK, **lost)
    # sent to somebody else than whoever sent what it quotes
    path.no_error(1.6, BACK, datagram, 3, 1, destination=LOCAL_HOST, **lost)
    # damaged and cut quotations
    for index, alter in enumerate(
        (
            with_words(10, b"\x12\x34", resum=False),  # header checksum
            with_words(0, b"\x65", resum=False),  # version 6
            with_words(0, b"\x44"),  # header of 16 bytes
            with_words(0, b"\x4f", resum=False),  # header of 60 bytes
            with_words(6, b"\x00\x01"),  # a later fragment
            with_words(6, b"\x20\xb9"),
        )
    ):
        path.no_error(2 + index / 10, BACK, datagram, 3, 1, alter=alter, **lost)
    for index, length in enumerate((0, 1, 19, 20, 24, 27)):
        path.no_error(3 + index / 10, BACK, datagram, 3, 1, length=length, **lost)
    frame, _ = path.error_frames(BACK, datagram, 3, 1, **lost)
    raw = bytes(frame)
    raw = packets.with_bytes(raw, 36, bytes([raw[36] ^ 1]))
    case.drop(4, "uplink", raw, "l4-checksum")
    # an error about an error
    message = packets.icmp_message(3, 3, bytes(4), bytes(28))
    path.no_error(4.1, BACK, lambda a, b: Raw(message), 3, 1, proto=1, **lost)
    # a router with an address of ours or of a qube
    for index, router in enumerate((WORK.ip, PERSONAL.ip, GATEWAY, UPLINK)):
        reason = "land" if router == UPLINK else "downstream-source"
        path.no_error(4.2 + index / 10, BACK, datagram, 3, 1, reason, router=router)
    path.no_error(4.6, BACK, datagram, 3, 1, "martian-source", router="127.0.0.1")
    # TCP: not sent yet, acknowledged already
    connection = connect(case, WORK, 41302).open(5)
    connection.out(5.1, "PA", bytes(1000))
    connection.back(5.2, "A")
    connection.out(5.3, "PA", bytes(1000))
    start = connection.next[THERE]
    for index, number in enumerate((start + 1, start + 100_000, start + 2**31, start - 1500)):
        sent = connection.quoted(THERE, "A", seq=number)
        connection.path.no_error(5.4 + index / 10, BACK, sent, 3, 1, length=28, **lost)
    sent = connection.quoted(THERE, "A", seq=start - 1000)
    connection.path.error(6, BACK, sent, 3, 1, length=28, **lost)
    # queries: another identifier, and an answer that was never given
    pinged = query_path(case, WORK, 0x6543)
    pinged.ping(7, THERE)
    wrong = echo(identifier=0x6544)
    query_path(case, WORK, 0x6544).no_error(7.1, BACK, wrong, 3, 1, rule=None, **lost)
    pinged.no_error(7.2, BACK, echo(reply=True), 3, 1, **lost)
    # without ports its tuple is that of a ping with identifier 0, of which it is no part
    zero = query_path(case, WORK, 0)
    zero.ping(7.3, THERE)
    path.no_error(7.4, BACK, lambda a, b: Raw(message), 3, 1, proto=1, **lost)
    zero.no_error(7.5, BACK, echo(reply=True), 3, 1, **lost)
    zero.error(7.6, BACK, echo(), 3, 1, **lost)
    # types that are never forwarded, even about flows
    path.no_error(8, BACK, datagram, 4, 0, "icmp-type", **lost)
    gateway = packets.packed(LOCAL_HOST)
    path.no_error(8.1, BACK, datagram, 5, 1, ANY, rest=gateway, router=ROUTER)
    # and the flows do not mind
    path.udp(9, BACK)
    connection.back(9.1, "A")
    pinged.ping(9.2, BACK)


@a_case
def icmp6_errors():
    case = Case(
        "icmp6-errors",
        "ICMPv6 errors 1 to 4 about flows pass both ways, translated; all others never.",
        proves=["RFC 4890 section 4.3", "RFC 5508 REQ-3"]
        + ["attack: forged ICMP errors"],
        rules={"work": "policy=drop\naction=accept proto=udp dstports=4000-4000\n"
               "action=accept proto=tcp\naction=accept proto=icmp icmptype=128\n"},
    )
    path = masquerade(case, WORK, 41400, SERVER6, 4000, rule="0000")
    path.udp(0, THERE)
    path.udp(0.1, BACK)
    kinds = [(1, code) for code in range(7)] + [(2, 0), (3, 0), (3, 1), (4, 0), (4, 1), (4, 2)]
    for index, kind in enumerate(kinds):
        rest = mtu_of(1400) if kind == (2, 0) else bytes(4)
        path.error(1 + index / 100, BACK, datagram, *kind, rest=rest)
        path.error(
            1.2 + index / 100, BACK, datagram, *kind, rest, length=48, hops=1, router=ON_THE_WAY6
        )
        path.error(1.4 + index / 100, THERE, datagram, *kind, rest)
        path.error(1.6 + index / 100, THERE, datagram, *kind, rest, length=48)
    # extension headers before the upper layer, and extensions behind the quotation
    option = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0\0\0\0")])
    hop = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0\0\0\0")])
    for index, chain in enumerate((hop, option, hop / option)):
        path.error(
            2 + index / 10,
            BACK,
            lambda a, b, chain=chain: chain.copy() / datagram(a, b),
            1,
            4,
            length=None if index else 56,
        )
    stack = {"rest": b"\x10\0\0\0", "pad": 128, "behind": label_stack()}
    path.error(2.5, BACK, datagram, 3, 0, router=ON_THE_WAY6, **stack)
    connection = connect(case, WORK, 41401, SERVER6, rule="0001").open(3)
    connection.out(3.1, "PA", bytes(1000))
    sent = connection.quoted(THERE, "PA", bytes(1000), seq=connection.next[THERE] - 1000)
    for index, length in enumerate((None, 48)):
        connection.path.error(
            3.2 + index / 10, BACK, sent, 2, 0, mtu_of(1280), length=length, router=ON_THE_WAY6
        )
    pinged = query_path(case, WORK, 0x7654, SERVER6, rule="0002")
    pinged.ping(4, THERE)
    pinged.error(4.1, BACK, echo(v6=True), 1, 3, router=ON_THE_WAY6)
    pinged.ping(4.2, BACK)
    pinged.error(4.3, THERE, echo(v6=True, reply=True), 1, 4)
    # what cannot be true
    lost = {"router": ON_THE_WAY6}
    other = masquerade(case, WORK, 41402, SERVER6, 4000)
    other.no_error(5, BACK, datagram, 1, 3, rule=None, **lost)
    other.no_error(5.1, THERE, datagram, 1, 4, rule=None)
    inside = Path(case, "work", "uplink", path.sent, path.sent)
    inside.no_error(5.2, BACK, datagram, 1, 3, rule=None, **lost)
    path.no_error(5.3, BACK, datagram, 1, 3, length=47, **lost)
    path.no_error(5.4, BACK, datagram, 1, 3, length=39, **lost)
    path.no_error(5.5, BACK, datagram, 1, 3, alter=lambda raw: b"\x45" + raw[1:], **lost)
    late = connection.quoted(THERE, "PA", seq=connection.next[THERE] + 100_000)
    connection.path.no_error(5.6, BACK, late, 1, 3, length=48, **lost)
    path.no_error(5.7, BACK, datagram, 1, 3, "downstream-source", router=PERSONAL.ip6)
    path.no_error(5.8, THERE, datagram, 1, 4, "source-address", router=PERSONAL.ip6)
    # types that are never forwarded, about a flow or not
    for index, kind in enumerate((5, 100, 101, 127)):
        path.no_error(6 + index / 10, BACK, datagram, kind, 0, "icmp-type", **lost)
        path.no_error(6.5 + index / 10, THERE, datagram, kind, 0, "icmp-type")
    path.udp(8, BACK)


@a_case
def path_mtu_floor():
    case = Case(
        "path-mtu-floor",
        "A path MTU below 576 (IPv6 1280) is not believed, but for the 0 of old routers.",
        proves=["attack: forged ICMP errors", "RFC 4787 REQ-13", "RFC 5927"],
    )
    path, path6 = (masquerade(case, WORK, 41500, server, 4000) for server in (SERVER, SERVER6))
    path.udp(0, THERE)
    path6.udp(0.1, THERE)
    for index, mtu in enumerate((0, 576, 1280, 1492, 65535)):
        path.error(1 + index, BACK, datagram, 3, 4, mtu_of(mtu), router=ON_THE_WAY)
        path.error(1.1 + index, THERE, datagram, 3, 4, mtu_of(mtu))
    for index, mtu in enumerate((1, 48, 68, 296, 575)):
        path.no_error(11 + index, BACK, datagram, 3, 4, rest=mtu_of(mtu), router=ON_THE_WAY)
        path.no_error(11.1 + index, THERE, datagram, 3, 4, rest=mtu_of(mtu))
    for index, mtu in enumerate((1280, 1281, 1492, 65536)):
        path6.error(21 + index, BACK, datagram, 2, 0, mtu_of(mtu), router=ON_THE_WAY6)
        path6.error(21.1 + index, THERE, datagram, 2, 0, mtu_of(mtu))
    for index, mtu in enumerate((0, 1, 576, 1279)):
        path6.no_error(31 + index, BACK, datagram, 2, 0, rest=mtu_of(mtu), router=ON_THE_WAY6)
        path6.no_error(31.1 + index, THERE, datagram, 2, 0, rest=mtu_of(mtu))
    # only this code has an MTU there
    path.error(41, BACK, datagram, 3, 1, mtu_of(100), router=ON_THE_WAY)


@a_case
def path_mtu():
    case = Case(
        "path-mtu",
        "The uplink takes 1400 bytes, the qube 1300. What is longer and must not be cut is "
        "answered with 3/4 (IPv6 2/0) and that MTU, to either side; the rest leaves in fragments.",
        proves=["RFC 4787 REQ-13", "RFC 1191 section 4", "RFC 8201", "RFC 6864"],
        options="--mtu uplink=1400 --mtu work=1300",
    )
    path, path6 = (masquerade(case, WORK, 41600, server, 4000) for server in (SERVER, SERVER6))

    def sized(length, headers=28):
        return lambda a, b: udp(a, b, bytes(i * 7 & 255 for i in range(length - headers)))

    def told(mtu, source=None):
        return lambda frame, port: too_big(frame, port, mtu, source)

    # as long as fits, and a byte more
    path.go(0, THERE, sized(1400))
    path.stop(0.1, THERE, sized(1401), "too-big", answer=told(1400))
    path6.go(0.2, THERE, sized(1400, 48))
    path6.stop(0.3, THERE, sized(1401, 48), "too-big", answer=told(1400))
    path.go(1, BACK, sized(1300))
    path.stop(1.1, BACK, sized(1301), "too-big", answer=told(1300, UPLINK))
    path6.go(1.2, BACK, sized(1300, 48))
    path6.stop(1.3, BACK, sized(1301, 48), "too-big", answer=told(1300, UPLINK6))
    # DF clear: in fragments, of a new identification that they share
    for index, (direction, mtu) in enumerate(((THERE, 1400), (BACK, 1300))):
        for step, length in enumerate((mtu, mtu + 1, 1500, 4000)):
            when, number = 2 + index + step / 10, 0x5000 + index * 16 + step
            frame, expect = path.frames(direction, sized(length), flags=0, id=number)
            cut_to_mtu = packets.cut_to(ip_bytes(expect), mtu)
            expect = [bytes(expect)[:14] + part for part in cut_to_mtu]
            at, to = path.port[direction], path.port[not direction]
            case.passes(when, at, frame, to, expect, path.rules[THERE])
    # an option that every fragment must have, and one that only the first may have
    option = [IPOption_Router_Alert(), IPOption(b"\x44\x04\x05\x00")]
    frame, expect = path.frames(THERE, sized(3000), flags=0, id=0x5030, options=option)
    expect = [bytes(expect)[:14] + part for part in packets.cut_to(ip_bytes(expect), 1400)]
    case.passes(4, "work", frame, "uplink", expect, path.rules[THERE])
    # TCP asks for no fragments: both of its ends are told
    connection = connect(case, WORK, 41601).open(5)
    connection.no_out(5.1, "PA", "too-big", bytes(1361), answer=told(1400))
    connection.out(5.2, "PA", bytes(1360))
    connection.back(5.3, "A")
    connection.no_back(5.4, "PA", "too-big", bytes(1261), answer=told(1300, UPLINK))
    connection.back(5.5, "PA", bytes(1260))
    # fragments that fitted the way in, and do not fit the way out: cut anew, if a router may
    for index, flags in enumerate((0, "DF")):
        more = {"flags": flags, "id": 0x5040 + index}
        frame, expect = path.frames(THERE, sized(3000), **more)
        parts = packets.cut(ip_bytes(frame), [1480])
        if flags:
            answer_frame = too_big(frame, "work", 1400)
            case.drop(6.1, "work", frame, "too-big", "policy", answer_frame, parts=parts)
        else:
            expect = [bytes(expect)[:14] + part for part in packets.cut_to(ip_bytes(expect), 1400)]
            case.passes(6, "work", frame, "uplink", expect, path.rules[THERE], parts)
    frame, _ = path6.frames(THERE, sized(3000, 48))
    parts = packets.cut(ip_bytes(frame), [1448], 0x50000001)
    case.drop(7, "work", frame, "too-big", "policy", too_big(frame, "work", 1400), parts=parts)
    # the gateway's own answers keep to it, too, each with an identification of its own
    for index in range(4):
        six = index % 2 == 1
        data = bytes(range(250)) * 12
        frame = from_qube(WORK, GATEWAY6 if six else GATEWAY, ping(9, index, data, v6=six))
        whole = pong(frame, "work")
        number = (0x50000002 if six else 0x5050) + index
        length = 1248 if six else 1280
        parts = packets.cut(ip_bytes(frame), [length, length], number)
        answers = packets.cut_to(ip_bytes(whole), 1300, number)
        case.add(
            8 + index,
            "work",
            frame,
            [("work", bytes(whole)[:14] + part) for part in answers],
            parts=parts,
            verdict="local",
        )
