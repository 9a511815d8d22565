# SPDX-License-Identifier: BSD-3-Clause
"""TCP: the life of a connection, its timers, and what is no part of one."""

from generator.path import *

OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]


@a_case
def tcp_life():
    case = Case(
        "tcp-life",
        "A TCP connection from SYN to TIME_WAIT; masqueraded, port kept, both ways.",
        proves=["RFC 5382 REQ-1", "RFC 5382 REQ-2"],
    )
    life = connect(case, WORK, 40000, options=(OPTIONS, OPTIONS), windows=(502, 509))
    life.open(0)
    life.out(0.03, "PA", b"GET / HTTP/1.1\r\nHost: server\r\n\r\n")
    life.back(0.04, "A")
    life.back(0.05, "PA", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    life.out(0.06, "A")
    life.close(0.1)
    # TIME_WAIT still answers a repeated FIN
    life.back(1, "FA", seq=life.next[BACK] - 1)
    life.out(1.01, "A")


@a_case
def tcp_closing():
    case = Case(
        "tcp-closing",
        "Connections that end in other ways than tcp-life: the server first, both at once; and one "
        "port of a qube towards several servers.",
        proves=["RFC 5382 REQ-1", "RFC 5382 REQ-2"],
    )
    # the server is the first to say FIN, and the client has more to say
    life = connect(case, WORK, 40004)
    life.open(2)
    life.back(2.1, "FA")
    life.out(2.11, "A")
    life.out(2.2, "PA", b"one more thing")
    life.back(2.21, "A")
    life.out(2.3, "FA")
    life.back(2.31, "A")
    # one port to every destination
    for index, server in enumerate((OTHER_SERVER, LOCAL_HOST)):
        connect(case, WORK, 40000, server).open(3 + index)
    # both sides say FIN at once
    life = connect(case, WORK, 40005)
    life.open(5)
    life.out(5.1, "FA")
    life.back(5.1, "FA", ack=life.next[THERE] - 1)
    life.out(5.2, "A")
    life.back(5.2, "A")


@a_case
def tcp_reset():
    case = Case(
        "tcp-reset",
        "RST from either side is translated; the flow is gone 10 s after the first one.",
        proves=["RFC 7857 section 2"],
    )
    by_server, by_qube = connect(case, WORK, 40001), connect(case, WORK, 40002)
    by_server.open(0)
    by_qube.open(0.1)
    by_server.back(1, "R")
    by_qube.out(1.1, "RA")
    # the server may not have heard of it: what it sends meanwhile still passes
    by_qube.back(1.2, "A")
    # refused: the server answers a SYN with RST
    refused = connect(case, WORK, 40003, server_port=81)
    refused.out(2, "S")
    refused.back(2.01, "RA", seq=0)
    # who repeats it does not keep the flow, and where less than 10 s are left it adds nothing
    repeated, late = connect(case, WORK, 40006), connect(case, WORK, 40007)
    repeated.open(2.5)
    late.out(2.6, "S")
    for time in (3, 6, 9, 12):
        repeated.back(time, "R")
    for connection in (by_server, by_qube, refused, repeated):
        connection.no_back(16, "A", "no-flow")
        connection.no_out(16.1, "A", "tcp-state", rule=None)
    late.back(240, "RA", seq=0)
    late.no_out(245.5, "A", "tcp-state", rule=None)


@a_case
def tcp_time_wait():
    case = Case(
        "tcp-time-wait",
        "A closed connection is remembered for 240 s, then gone.",
        proves=["RFC 5382 REQ-5"],
    )
    closed = connect(case, WORK, 40010)
    closed.open(0)
    closed.close(1)
    # within the time, and nothing renews it: a SYN of the far end is invalid
    closed.no_back(120, "S", "tcp-state", seq=9000)
    closed.no_back(239, "S", "tcp-state", seq=9000)
    closed.no_back(244, "FA", "no-flow")
    closed.no_out(244.1, "A", "tcp-state", rule=None)


@a_case
def tcp_reopen():
    case = Case(
        "tcp-reopen",
        "A SYN on a closed connection's ports opens a new one, judged anew; so does one after RST.",
        proves=["RFC 5382 REQ-2", "RFC 1122 section 4.2.2.13"],
    )
    connect(case, WORK, 40020).open(0).close(1)
    connect(case, WORK, 40020, first=3_000_000, answer=4_000_000).open(10).back(11, "R")
    # below both of the numbers before it
    last = connect(case, WORK, 40020, first=1000, answer=1999).open(12)
    # the new connection is a whole one: it outlives the timers of the old
    last.out(4000, "PA", b"still here")
    # a SYN within an open connection is passed on and changes nothing, see tcp-syn-in-open
    last.out(4001, "S", seq=7777)
    last.next[THERE] = 1011
    last.back(4002, "PA", b"data")


@a_case
def tcp_timeouts():
    case = Case(
        "tcp-timeouts",
        "An open connection may be silent for 7440 s (RFC 5382 REQ-5), no longer.",
        proves=["RFC 5382 REQ-5"],
    )
    one = connect(case, WORK, 40030).open(0)
    two = connect(case, WORK, 40031).open(1)
    one.out(7439, "PA", b"data")
    two.back(7440, "PA", b"data")
    # both were renewed
    one.back(7439 + 7439, "A")
    two.no_out(7440 + 7443, "A", "tcp-state", rule=None)
    one.no_back(7439 * 2 + 7443, "PA", "no-flow", b"late")


@a_case
def tcp_half_open():
    case = Case(
        "tcp-half-open",
        "An unanswered SYN is remembered for 240 s, a SYN/ACK without its ACK for 240 s; a "
        "repeated SYN renews nothing.",
        proves=["RFC 5382 REQ-5", "RFC 7857 section 2"],
    )
    answered, repeated, forgotten = (
        connect(case, WORK, port) for port in (40040, 40041, 40042)
    )
    for connection in (answered, repeated, forgotten):
        connection.out(0, "S")
    repeated.out(200, "S", seq=repeated.first[THERE])
    answered.back(237, "SA")
    repeated.no_back(243, "SA", "no-flow")
    forgotten.no_out(244, "A", "tcp-state", rule=None)
    # in SYN_RECV since 237
    answered.out(470, "A")
    unfinished = connect(case, WORK, 40043)
    unfinished.out(471, "S")
    unfinished.back(472, "SA")
    unfinished.no_out(715, "A", "tcp-state", rule=None)
    # the established one lives on
    answered.back(716, "PA", b"data")


@a_case
def tcp_configured_timeouts():
    case = Case(
        "tcp-configured-timeouts",
        "Timeouts are those of the configuration.",
        proves=["RFC 7857 section 2"],
        sections="\n[timeouts]\ntcp-established = 100\ntcp-syn-sent = 10\nudp-unreplied = 7\n"
        "tcp-time-wait = 20\n",
    )
    open_one = connect(case, WORK, 40050).open(0)
    unanswered = connect(case, WORK, 40051)
    unanswered.out(0.5, "S")
    case.out(0.6, WORK, from_qube(WORK, SERVER, udp(40052, 4000)))
    closed = connect(case, WORK, 40053).open(0.7).close(1)
    open_one.back(5, "PA", b"data")
    case.drop(10, "uplink", from_uplink(SERVER, udp(4000, 40052)), "no-flow")
    unanswered.no_back(13, "SA", "no-flow")
    closed.no_back(25, "FA", "no-flow")
    open_one.back(104, "PA", b"data")
    open_one.no_back(207, "PA", "no-flow", b"late")


@a_case
def tcp_simultaneous():
    case = Case(
        "tcp-simultaneous",
        "Simultaneous open: both sides send a SYN; window scaling counts there, too.",
        proves=["RFC 5382 REQ-2"],
    )
    both = connect(case, WORK, 40060)
    both.out(0, "S")
    both.back(0.01, "S")
    both.out(0.02, "SA", seq=both.first[THERE])
    both.back(0.03, "SA", seq=both.first[BACK])
    both.out(0.04, "A")
    both.back(3000, "PA", b"data")
    # the SYNs pass each other, and only one SYN/ACK is needed
    scale = [("WScale", 7)]
    both = connect(case, WORK, 40061, windows=(512, 512), options=(scale, scale))
    both.out(4000, "S")
    both.back(4000.01, "S")
    both.back(4000.02, "SA", seq=both.first[BACK])
    both.out(4000.03, "A")
    # 40,000 bytes ahead of what was acknowledged: within 512 << 7
    both.next[BACK] += 40000
    both.back(4000.04, "PA", b"far ahead")


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
    alive = connect(case, WORK, 40074).open(2)
    for index, flags in enumerate(("", "F", "SF", "FPU", "SR")):
        alive.no_out(3 + index / 100, flags, "tcp-flags", rule=ANY)
        alive.no_back(3.5 + index / 100, flags, "tcp-flags", rule=ANY)
    alive.back(4, "PA", b"alive")


@a_case
def tcp_states():
    case = Case(
        "tcp-states", "Segments that are invalid in the state of their connection are dropped."
    )
    # SYN_SENT: the qube has nothing to acknowledge, the far end nothing to end
    states = connect(case, WORK, 40080)
    states.out(0, "S")
    states.no_out(0.1, "A", "tcp-state")
    states.no_out(0.2, "FA", "tcp-state")
    states.no_back(0.3, "FA", "tcp-state")
    # an acknowledgement that fits nothing passes and changes nothing (the RST it draws must come)
    states.back(0.4, "A", seq=5, ack=77)
    states.next[BACK] = states.first[BACK]
    states.back(0.5, "SA")
    # established: a SYN/ACK of the qube is nonsense, a repeated one of the server is not
    states.out(0.6, "A")
    states.no_out(0.7, "SA", "tcp-state", seq=states.first[THERE])
    states.back(0.8, "SA", seq=states.first[BACK])
    states.no_back(0.9, "S", "tcp-state", seq=5000)
    states.out(1, "PA", b"go on")
    # closed by both: data is late, but the FIN may have to be sent again
    states.close(2)
    states.no_out(2.1, "SA", "tcp-state")
    states.no_back(2.2, "S", "tcp-state")
