# SPDX-License-Identifier: BSD-3-Clause
"""UDP, ICMP, other protocols, and external ports."""

from generator.chosen import CLASH_ICMP, CLASH_TCP, CLASH_UDP
from generator.path import *


@a_case
def udp_timers():
    case = Case(
        "udp-timers",
        "UDP: 120 s unreplied, 300 s replied, 30 s for services that answered (RFC 4787 REQ-5); "
        "both directions renew.",
        proves=["RFC 4787 REQ-5", "RFC 4787 REQ-6"],
    )
    case.out(0, WORK, from_qube(WORK, SERVER, udp(41000, 4000)))
    case.out(0.1, WORK, from_qube(WORK, SERVER, udp(41001, 4000)))
    case.out(0.2, WORK, from_qube(WORK, SERVER, udp(41002, 123)))
    case.back(1, WORK, from_uplink(SERVER, udp(123, 41002)))
    case.back(29, WORK, from_uplink(SERVER, udp(123, 41002)))
    case.out(57, WORK, from_qube(WORK, SERVER, udp(41002, 123)))
    case.drop(90, "uplink", from_uplink(SERVER, udp(123, 41002)), "no-flow")
    case.back(118, WORK, from_uplink(SERVER, udp(4000, 41000)))
    case.drop(124, "uplink", from_uplink(SERVER, udp(4000, 41001)), "no-flow")
    case.back(416, WORK, from_uplink(SERVER, udp(4000, 41000)))
    case.out(714, WORK, from_qube(WORK, SERVER, udp(41000, 4000)))
    case.drop(1018, "uplink", from_uplink(SERVER, udp(4000, 41000)), "no-flow")


@a_case
def udp_checksums():
    case = Case(
        "udp-checksums",
        "A UDP checksum of zero stays zero; one that becomes zero is sent as 0xffff (RFC 768); "
        "a wrong TCP or UDP checksum is its receiver's affair and stays wrong by as much.",
        proves=["RFC 768", "RFC 3022 section 4.1"],
    )
    frame = from_qube(WORK, SERVER, udp(41010, 4000, chksum=0))
    case.out(0, WORK, frame)
    case.back(0.1, WORK, from_uplink(SERVER, udp(4000, 41010, chksum=0)))
    # Choose the payload so that the translated datagram sums to 0xffff. The first two bytes are
    # free, so set them to what is missing.
    frame = from_qube(WORK, SERVER, udp(41011, 4000, b"\0\0udp"))
    missing = masqueraded(frame)[UDP].chksum
    frame = from_qube(WORK, SERVER, udp(41011, 4000, struct.pack("!H", missing) + b"udp"))
    expect = masqueraded(frame)
    assert expect[UDP].chksum == 0xFFFF and frame[UDP].chksum != 0xFFFF
    case.out(0.2, WORK, frame)
    for index, (kind, layer) in enumerate(
        ((UDP, udp(41012, 4000)), (TCP, tcp(41012, 80, "S")))
    ):
        frame = from_qube(WORK, SERVER, layer)
        right_in = Ether(bytes(frame))[kind].chksum
        expect = masqueraded(frame)
        # one's complement arithmetic: what is wrong by 0x0101 stays wrong by 0x0101
        frame[kind].chksum = ones_add(right_in, 0x0101)
        expect[kind].chksum = ones_add(expect[kind].chksum, 0x0101)
        case.out(0.3 + index / 10, WORK, frame, expect=expect)


@a_case
def udp_mapping():
    case = Case(
        "udp-mapping",
        "One external port for all destinations of a qube's port (RFC 4787 REQ-1), but only who "
        "was asked may answer (REQ-8).",
        proves=["RFC 4787 REQ-1", "RFC 4787 REQ-8"],
    )
    for index, server in enumerate((SERVER, OTHER_SERVER, LOCAL_HOST)):
        case.out(index / 10, WORK, from_qube(WORK, server, udp(41020, 4000 + index)))
    for index, server in enumerate((SERVER, OTHER_SERVER, LOCAL_HOST)):
        case.back(1 + index / 10, WORK, from_uplink(server, udp(4000 + index, 41020)))
    case.drop(2, "uplink", from_uplink("203.0.113.82", udp(4000, 41020)), "no-flow")
    case.drop(2.1, "uplink", from_uplink(SERVER, udp(4001, 41020)), "no-flow")
    case.drop(2.2, "uplink", from_uplink(SERVER, udp(4000, 41021)), "no-flow")


@a_case
def icmp_echo():
    case = Case(
        "icmp-echo",
        "Ping: identifier kept, answers find their way; 60 s after the last, no more. One "
        "identifier serves all destinations.",
        proves=["RFC 5508 REQ-1", "RFC 5508 REQ-2", "RFC 5508 REQ-10"],
    )
    for sequence in range(3):
        frame = from_qube(WORK, SERVER, ping(0x77, sequence))
        case.out(sequence, WORK, frame)
        frame = from_uplink(SERVER, ping(0x77, sequence, reply=True))
        case.back(sequence + 0.02, WORK, frame)
    # another identifier is another flow, an answer nobody asked for is none
    frame = from_uplink(SERVER, ping(0x78, 0, reply=True))
    case.drop(5, "uplink", frame, "no-flow")
    frame = from_uplink(OTHER_SERVER, ping(0x77, 2, reply=True))
    case.drop(5.1, "uplink", frame, "no-flow")
    frame = from_qube(WORK, SERVER, ping(0x79, reply=True))
    case.drop(5.2, "work", frame, "no-flow")
    frame = from_uplink(SERVER, ping(0x77, 2, reply=True))
    case.back(60, WORK, frame)
    case.drop(123, "uplink", frame, "no-flow")
    # one identifier to several destinations
    for index, server in enumerate((SERVER, OTHER_SERVER, LOCAL_HOST)):
        path = query_path(case, WORK, 0x7A, server)
        path.ping(124 + index, THERE)
        path.ping(124.5 + index, BACK)
    # a ping of the far end back through our mapping is not an answer
    case.out(130, WORK, from_qube(WORK, SERVER, ping(0x80)))
    case.drop(130.1, "uplink", from_uplink(SERVER, ping(0x80)), "no-flow")
    # the largest and the smallest
    case.out(131, WORK, from_qube(WORK, SERVER, ping(0x81, data=b"")))
    case.out(131.1, WORK, from_qube(WORK, SERVER, ping(0x81, 2, data=bytes(1472))))
    case.out(132, WORK, from_qube(WORK, SERVER, stamp(13, 0x82)))
    case.back(132.1, WORK, from_uplink(SERVER, stamp(14, 0x82)))


@a_case
def icmp_types():
    case = Case(
        "icmp-types",
        "ICMP types that are never forwarded: redirects, router discovery, information requests, "
        "unknown ones, node information.",
        proves=["RFC 5508 REQ-10", "RFC 4890 section 4.3"],
    )
    for index, icmp_type in enumerate((5, 9, 10, 15, 17, 30, 40, 42)):
        layer = ICMP(type=icmp_type) if icmp_type != 5 else ICMP(type=5, code=1, gw="10.137.0.9")
        frame = from_qube(WORK, SERVER, layer)
        case.drop(index / 10, "work", frame, "icmp-type")
    raw = bytes([130, 0, 0, 0]) + bytes(20)  # multicast listener query
    types = (130, 131, 132, 138, 139, 140, 141, 142, 143, 144, 148, 149, 151, 152, 153, 155, 200)
    for index, icmp_type in enumerate(types):
        message = bytes([icmp_type]) + raw[1:]
        frame = from_qube(WORK, SERVER6, icmp6_raw(WORK.ip6, SERVER6, message), nh=58)
        case.drop(1 + index / 100, "work", frame, "icmp-type")
    frame = from_qube(WORK, SERVER6, ICMPv6NIQueryNOOP(nonce=b"\1\2\3\4\5\6\7\x08"))
    case.drop(2, "work", frame, "icmp-type")


@a_case
def other_protocols():
    case = Case(
        "other-protocols",
        "Protocols without ports (GRE, ESP) are judged by address, masqueraded and remembered for "
        "600 s. Two qubes with one far end cannot be told apart: the second is refused.",
        proves=["RFC 5508 REQ-8"],
    )
    gre = bytes.fromhex("0000080045000014") + bytes(16)
    for index, protocol in enumerate((47, 50)):
        frame = from_qube(WORK, SERVER, Raw(gre), proto=protocol)
        case.out(index / 10, WORK, frame)
        frame = from_uplink(SERVER, Raw(gre), proto=protocol)
        case.back(1 + index / 10, WORK, frame)
    frame = from_qube(PERSONAL, SERVER, Raw(gre), proto=47)
    case.drop(
        2,
        "personal",
        frame,
        "ports-exhausted",
        rule="policy",
        answer=prohibited(frame, "personal"),
    )
    frame = from_qube(PERSONAL, OTHER_SERVER, Raw(gre), proto=47)
    case.out(3, PERSONAL, frame)
    case.back(3.1, PERSONAL, from_uplink(OTHER_SERVER, Raw(gre), proto=47))
    case.drop(4, "uplink", from_uplink("203.0.113.82", Raw(gre), proto=47), "no-flow")
    case.back(599, WORK, from_uplink(SERVER, Raw(gre), proto=47))
    case.drop(606, "uplink", from_uplink(OTHER_SERVER, Raw(gre), proto=47), "no-flow")


@a_case
def port_clash():
    case = Case(
        "port-clash",
        "Two qubes use the same source port to the same far end: the second gets another external "
        "port of the same class, and both get their answers.",
        proves=["RFC 4787 REQ-1", "RFC 4787 REQ-3", "RFC 5382 REQ-1", "RFC 5508 REQ-1", "RFC 6056"],
    )
    mine = connect(case, WORK, 40090).open(0)
    theirs = connect(case, PERSONAL, 40090, external=CLASH_TCP)
    theirs.out(1, "S")
    theirs.back(1.1, "SA")
    mine.back(1.2, "PA", b"for work")
    # to another far end the port is free
    connect(case, PERSONAL, 40090, OTHER_SERVER).out(1.3, "S")

    case.out(2, WORK, from_qube(WORK, SERVER, udp(41090, 4000)))
    frame = from_qube(PERSONAL, SERVER, udp(41090, 4000))
    case.out(2.1, PERSONAL, frame, source_port=CLASH_UDP)
    # a UDP mapping does not depend on the destination
    frame = from_qube(PERSONAL, OTHER_SERVER, udp(41090, 4001))
    case.out(2.2, PERSONAL, frame, source_port=CLASH_UDP)
    case.back(
        2.3, PERSONAL, from_uplink(SERVER, udp(4000, CLASH_UDP)), destination_port=41090
    )
    case.back(2.4, WORK, from_uplink(SERVER, udp(4000, 41090)))
    case.drop(2.5, "uplink", from_uplink(OTHER_SERVER, udp(4001, 41090)), "no-flow")

    case.out(3, WORK, from_qube(WORK, SERVER, ping(0x4242)))
    frame = from_qube(PERSONAL, SERVER, ping(0x4242))
    case.out(3.1, PERSONAL, frame, identifier=CLASH_ICMP)
    frame = from_uplink(SERVER, ping(CLASH_ICMP, reply=True))
    case.back(3.2, PERSONAL, frame, identifier=0x4242)
    case.back(3.3, WORK, from_uplink(SERVER, ping(0x4242, reply=True)))


@a_case
def ports_exhausted():
    case = Case(
        "ports-exhausted",
        "All 1023 external UDP ports below 1024 are taken, and one above is no substitute "
        "(RFC 4787 REQ-3): the next flow from such a port is refused at once, others are not.",
        proves=["RFC 4787 REQ-3", "RFC 5508 REQ-8"],
    )
    for port in range(1, 1024):
        case.out(port / 1000, WORK, from_qube(WORK, SERVER, udp(port, 4000, b"")))
    for index, server in enumerate((SERVER, OTHER_SERVER)):
        frame = from_qube(PERSONAL, server, udp(1000, 4000))
        case.drop(
            2 + index,
            "personal",
            frame,
            "ports-exhausted",
            rule="policy",
            answer=prohibited(frame, "personal"),
        )
    case.out(5, PERSONAL, from_qube(PERSONAL, SERVER, udp(1024, 4000)))
    # a qube that has its port may use it for more
    case.out(5.1, WORK, from_qube(WORK, OTHER_SERVER, udp(1000, 4000)))
    # TCP ports are another matter
    case.out(5.2, PERSONAL, from_qube(PERSONAL, SERVER, tcp(1000, 80, "S")))
    # when the first flows have ended there is room again
    case.out(130, PERSONAL, from_qube(PERSONAL, SERVER, udp(1000, 4000)))


@a_case
def many_flows():
    case = Case(
        "many-flows",
        "Three hundred flows of two qubes at once, each with its answer; packets of one "
        "millisecond enter together.",
        proves=["RFC 4787 REQ-11"],
    )
    flows = []
    for index in range(300):
        qube = (WORK, PERSONAL)[index % 2]
        server = f"203.0.113.{1 + index % 250}"
        port, server_port = 20000 + index, 4000 + index % 7
        frame = from_qube(qube, server, udp(port, server_port, b"%d" % index))
        case.out(0.001 * (index // 50), qube, frame)
        flows.append((qube, server, port, server_port))
    for index, (qube, server, port, server_port) in enumerate(reversed(flows)):
        frame = from_uplink(server, udp(server_port, port, b"re %d" % index))
        case.back(1 + 0.001 * (index // 40), qube, frame)
