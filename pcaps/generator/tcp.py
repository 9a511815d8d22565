# SPDX-License-Identifier: BSD-3-Clause
"""TCP: the life of a connection, its timers, and what is no part of one."""

from generator.case import *


@a_case
def tcp_life():
    case = Case(
        "tcp-life", "A TCP connection from SYN to TIME_WAIT; masqueraded, port kept, both ways."
    )
    options = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
    syn = from_qube(WORK, SERVER, tcp(40000, 80, "S", options=options))
    case.out(0, WORK, syn)
    frame = from_uplink(SERVER, tcp(80, 40000, "SA", seq=1999, ack=1001, options=options))
    case.back(0.01, WORK, frame)
    case.out(0.02, WORK, from_qube(WORK, SERVER, tcp(40000, 80, "A", seq=1001)))
    request = b"GET / HTTP/1.1\r\nHost: server\r\n\r\n"
    case.out(0.03, WORK, from_qube(WORK, SERVER, tcp(40000, 80, "PA", request, seq=1001)))
    case.back(0.04, WORK, from_uplink(SERVER, tcp(80, 40000, "A", seq=2000, ack=1033)))
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    case.back(0.05, WORK, from_uplink(SERVER, tcp(80, 40000, "PA", answer, seq=2000, ack=1033)))
    case.out(0.06, WORK, from_qube(WORK, SERVER, tcp(40000, 80, "A", seq=1033, ack=2041)))
    case.close(0.1, WORK, 40000)
    # TIME_WAIT still answers a repeated FIN
    frame = from_uplink(SERVER, tcp(80, 40000, "FA", seq=2201, ack=1102))
    case.back(1, WORK, frame)
    case.out(1.01, WORK, from_qube(WORK, SERVER, tcp(40000, 80, "A", seq=1102, ack=2202)))


@a_case
def tcp_reset():
    case = Case(
        "tcp-reset",
        "RST from either side is translated; the flow is gone 10 s after it.",
    )
    case.connect(0, WORK, 40001)
    case.connect(0.1, WORK, 40002)
    case.back(1, WORK, from_uplink(SERVER, tcp(80, 40001, "R", seq=2000)))
    case.out(1.1, WORK, from_qube(WORK, SERVER, tcp(40002, 80, "RA", seq=1001)))
    # the server may not have heard of it: what it sends meanwhile still passes
    case.back(1.2, WORK, from_uplink(SERVER, tcp(80, 40002, "A", seq=2000, ack=1001)))
    # refused: the server answers a SYN with RST
    case.out(2, WORK, from_qube(WORK, SERVER, tcp(40003, 81, "S")))
    case.back(2.01, WORK, from_uplink(SERVER, tcp(81, 40003, "RA", seq=0, ack=1001)))
    for port, server_port in ((40001, 80), (40002, 80), (40003, 81)):
        frame = from_uplink(SERVER, tcp(server_port, port, "A", seq=2000, ack=1001))
        case.drop(15, "uplink", frame, "no-flow")
        frame = from_qube(WORK, SERVER, tcp(port, server_port, "A", seq=1001))
        case.drop(15.1, "work", frame, "tcp-state")


@a_case
def tcp_time_wait():
    case = Case("tcp-time-wait", "A closed connection is remembered for 120 s, then gone.")
    case.connect(0, WORK, 40010)
    case.close(1, WORK, 40010)
    # within the time, and nothing renews it: a SYN of the far end is invalid
    frame = from_uplink(SERVER, tcp(80, 40010, "S", seq=9000))
    case.drop(119, "uplink", frame, "tcp-state", rule="policy", qube="work")
    frame = from_uplink(SERVER, tcp(80, 40010, "FA", seq=2201, ack=1102))
    case.drop(124, "uplink", frame, "no-flow")
    case.drop(124.1, "work", from_qube(WORK, SERVER, tcp(40010, 80, "A", seq=1102)), "tcp-state")


@a_case
def tcp_reopen():
    case = Case(
        "tcp-reopen",
        "A SYN on a closed connection's ports opens a new one, judged anew; so does one after RST.",
    )
    case.connect(0, WORK, 40020)
    case.close(1, WORK, 40020)
    case.connect(10, WORK, 40020)
    case.back(11, WORK, from_uplink(SERVER, tcp(80, 40020, "R", seq=2000)))
    case.connect(12, WORK, 40020)
    # the new connection is a whole one: it outlives the timers of the old
    data = from_qube(WORK, SERVER, tcp(40020, 80, "PA", b"still here", seq=1001))
    case.out(4000, WORK, data)
    # SYN within an open connection: passed on, changes nothing
    case.out(4001, WORK, from_qube(WORK, SERVER, tcp(40020, 80, "S", seq=7777)))
    case.back(4002, WORK, from_uplink(SERVER, tcp(80, 40020, "PA", b"data", ack=1011)))


@a_case
def tcp_timeouts():
    case = Case(
        "tcp-timeouts", "An open connection may be silent for 7440 s (RFC 5382 REQ-5), no longer."
    )
    case.connect(0, WORK, 40030)
    case.connect(1, WORK, 40031)
    case.out(7439, WORK, from_qube(WORK, SERVER, tcp(40030, 80, "PA", b"data", seq=1001)))
    frame = from_uplink(SERVER, tcp(80, 40031, "PA", b"data", ack=1001))
    case.back(7440, WORK, frame)
    # both were renewed
    frame = from_uplink(SERVER, tcp(80, 40030, "A", seq=2000, ack=1005))
    case.back(7439 + 7439, WORK, frame)
    frame = from_qube(WORK, SERVER, tcp(40031, 80, "A", seq=1001, ack=2004))
    case.drop(7440 + 7443, "work", frame, "tcp-state")
    frame = from_uplink(SERVER, tcp(80, 40030, "PA", b"late", ack=1005))
    case.drop(7439 * 2 + 7443, "uplink", frame, "no-flow")


@a_case
def tcp_half_open():
    case = Case(
        "tcp-half-open",
        "An unanswered SYN is remembered for 120 s, a SYN/ACK without its ACK for 60 s; a repeated "
        "SYN renews nothing.",
    )
    for port in (40040, 40041, 40042):
        case.out(0, WORK, from_qube(WORK, SERVER, tcp(port, 80, "S")))
    case.out(100, WORK, from_qube(WORK, SERVER, tcp(40041, 80, "S")))
    frame = from_uplink(SERVER, tcp(80, 40040, "SA", seq=1999, ack=1001))
    case.back(118, WORK, frame)
    frame = from_uplink(SERVER, tcp(80, 40041, "SA", seq=1999, ack=1001))
    case.drop(123, "uplink", frame, "no-flow")
    frame = from_qube(WORK, SERVER, tcp(40042, 80, "A", seq=1001))
    case.drop(124, "work", frame, "tcp-state")
    # 40040 is in SYN_RECV since 118
    case.out(176, WORK, from_qube(WORK, SERVER, tcp(40040, 80, "A", seq=1001)))
    case.out(177, WORK, from_qube(WORK, SERVER, tcp(40043, 80, "S")))
    frame = from_uplink(SERVER, tcp(80, 40043, "SA", seq=1999, ack=1001))
    case.back(178, WORK, frame)
    frame = from_qube(WORK, SERVER, tcp(40043, 80, "A", seq=1001))
    case.drop(241, "work", frame, "tcp-state")
    # the established one lives on
    case.back(242, WORK, from_uplink(SERVER, tcp(80, 40040, "PA", b"data", ack=1001)))


@a_case
def tcp_configured_timeouts():
    case = Case(
        "tcp-configured-timeouts",
        "Timeouts are those of the configuration.",
        timeouts="\n[timeouts]\ntcp-established = 100\ntcp-syn-sent = 10\nudp-unreplied = 7\n",
    )
    case.connect(0, WORK, 40050)
    case.out(0.5, WORK, from_qube(WORK, SERVER, tcp(40051, 80, "S")))
    case.out(0.6, WORK, from_qube(WORK, SERVER, udp(40052, 4000)))
    case.back(5, WORK, from_uplink(SERVER, tcp(80, 40050, "PA", b"data", ack=1001)))
    case.drop(10, "uplink", from_uplink(SERVER, udp(4000, 40052)), "no-flow")
    frame = from_uplink(SERVER, tcp(80, 40051, "SA", seq=1999, ack=1001))
    case.drop(13, "uplink", frame, "no-flow")
    case.back(104, WORK, from_uplink(SERVER, tcp(80, 40050, "PA", b"data", seq=2004, ack=1001)))
    frame = from_uplink(SERVER, tcp(80, 40050, "PA", b"late", seq=2008, ack=1001))
    case.drop(207, "uplink", frame, "no-flow")


@a_case
def tcp_simultaneous():
    case = Case("tcp-simultaneous", "Simultaneous open (RFC 5382 REQ-2): both sides send a SYN.")
    case.out(0, WORK, from_qube(WORK, SERVER, tcp(40060, 80, "S")))
    case.back(0.01, WORK, from_uplink(SERVER, tcp(80, 40060, "S", seq=1999)))
    case.out(0.02, WORK, from_qube(WORK, SERVER, tcp(40060, 80, "SA", seq=1000, ack=2000)))
    frame = from_uplink(SERVER, tcp(80, 40060, "SA", seq=1999, ack=1001))
    case.back(0.03, WORK, frame)
    case.out(0.04, WORK, from_qube(WORK, SERVER, tcp(40060, 80, "A", seq=1001)))
    case.back(3000, WORK, from_uplink(SERVER, tcp(80, 40060, "PA", b"data", ack=1001)))


@a_case
def tcp_flags():
    case = Case(
        "tcp-flags",
        "No segment without a flow but SYN opens one; impossible flags never pass. All in silence, "
        "even where the rules would refuse (spec: RST, FIN, NULL, SYN+FIN without a flow).",
        rules={"personal": "policy=drop\n"},
    )
    time = 0
    for qube in (WORK, PERSONAL):
        for flags in ("", "F", "SF", "FPU", "SR", "FR", "SRAF", "SAF", "U", "P", "SAR"):
            time += 0.01
            frame = from_qube(qube, SERVER, tcp(40070, 80, flags))
            case.drop(time, qube.name, frame, "tcp-flags")
        for flags in ("A", "PA", "FA", "FPUA", "R", "RA", "SA", "UA"):
            time += 0.01
            frame = from_qube(qube, SERVER, tcp(40071, 80, flags))
            case.drop(time, qube.name, frame, "tcp-state")
    # ECN negotiation, PSH and URG do not make a SYN another segment
    case.out(1, WORK, from_qube(WORK, SERVER, tcp(40072, 80, "SEC")))
    case.out(1.1, WORK, from_qube(WORK, SERVER, tcp(40073, 80, "SPU")))
    # and none of the bad ones passes within a connection
    case.connect(2, WORK, 40074)
    for index, flags in enumerate(("", "F", "SF", "FPU", "SR")):
        frame = from_qube(WORK, SERVER, tcp(40074, 80, flags, seq=1001))
        case.drop(3 + index / 100, "work", frame, "tcp-flags")
        frame = from_uplink(SERVER, tcp(80, 40074, flags, seq=2000))
        case.drop(3.5 + index / 100, "uplink", frame, "tcp-flags")
    case.back(4, WORK, from_uplink(SERVER, tcp(80, 40074, "PA", b"alive", ack=1001)))


@a_case
def tcp_states():
    case = Case(
        "tcp-states", "Segments that are invalid in the state of their connection are dropped."
    )
    # SYN_SENT: the qube has nothing to acknowledge, the far end nothing to end
    case.out(0, WORK, from_qube(WORK, SERVER, tcp(40080, 80, "S")))
    case.drop(
        0.1,
        "work",
        from_qube(WORK, SERVER, tcp(40080, 80, "A", seq=1001)),
        "tcp-state",
        rule="policy",
    )
    case.drop(
        0.2,
        "work",
        from_qube(WORK, SERVER, tcp(40080, 80, "FA", seq=1001)),
        "tcp-state",
        rule="policy",
    )
    case.drop(
        0.3,
        "uplink",
        from_uplink(SERVER, tcp(80, 40080, "FA", ack=1001)),
        "tcp-state",
        rule="policy",
        qube="work",
    )
    # an acknowledgement that fits nothing passes and changes nothing (the RST it draws must come)
    case.back(0.4, WORK, from_uplink(SERVER, tcp(80, 40080, "A", seq=5, ack=77)))
    frame = from_uplink(SERVER, tcp(80, 40080, "SA", seq=1999, ack=1001))
    case.back(0.5, WORK, frame)
    # established: a SYN/ACK of the qube is nonsense, a repeated one of the server is not
    case.out(0.6, WORK, from_qube(WORK, SERVER, tcp(40080, 80, "A", seq=1001)))
    case.drop(
        0.7,
        "work",
        from_qube(WORK, SERVER, tcp(40080, 80, "SA", seq=1000)),
        "tcp-state",
        rule="policy",
    )
    case.back(0.8, WORK, frame)
    case.drop(
        0.9,
        "uplink",
        from_uplink(SERVER, tcp(80, 40080, "S", seq=5000)),
        "tcp-state",
        rule="policy",
        qube="work",
    )
    case.out(1, WORK, from_qube(WORK, SERVER, tcp(40080, 80, "PA", b"go on", seq=1001)))
