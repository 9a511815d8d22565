# SPDX-License-Identifier: BSD-3-Clause
"""TCP: what a connection can have sent, and what nobody in it has."""

from generator.path import *

FAR = 1_000_000_000


@a_case
def tcp_windows():
    case = Case(
        "tcp-windows",
        "Segments far beyond the receiver's window, and those that acknowledge what was never "
        "sent, are dropped. What is old passes, as its receiver may need it, but changes nothing.",
        proves=["TCP window I", "TCP window II", "TCP window III", "TCP window IV"]
        + ["attack: blind data (RFC 5961)"],
    )
    one = connect(case, WORK, 40100, windows=(8000, 8000)).open(0)
    one.out(0.1, "PA", bytes(1000))
    one.back(0.2, "PA", bytes(1000))
    one.out(0.3, "A")
    # I: far beyond what the receiver would take
    for index, flags in enumerate(("PA", "A", "FA", "FPUA")):
        ahead = one.next[THERE] + 200_000, one.next[BACK] + 200_000
        one.no_out(1 + index / 100, flags, "tcp-window", b"x", seq=ahead[THERE])
        one.no_back(1.5 + index / 100, flags, "tcp-window", b"x", seq=ahead[BACK])
    # as far as the window goes, and not in order
    one.back(2, "PA", b"edge", seq=one.next[BACK] + 7996)
    one.next[BACK] -= 8000
    one.back(2.1, "PA", bytes(4000))
    one.back(2.2, "PA", bytes(3996))
    one.next[BACK] += 4
    one.out(2.3, "A")
    # a probe of a window that is shut
    one.out(2.4, "A", window=0)
    one.back(2.5, "A", b"?", seq=one.next[BACK])
    one.next[BACK] -= 1
    one.out(2.6, "A")
    # III: an acknowledgement of what was never sent
    one.no_out(3, "A", "tcp-window", ack=one.next[BACK] + 2)
    one.no_out(3.1, "PA", "tcp-window", b"x", ack=one.next[BACK] + 100_000)
    one.no_back(3.2, "A", "tcp-window", ack=one.next[THERE] + 1)
    one.no_back(3.3, "FA", "tcp-window", ack=one.next[THERE] + FAR)
    # II: what is older than the window passes, and says nothing: no FIN, no wider window
    one.back(4, "FA", b"old", seq=one.next[BACK] - 100_000)
    one.out(4.1, "FA", b"old", seq=one.next[THERE] - 100_000)
    one.out(4.2, "A", b"old", seq=one.next[THERE] - 100_000, window=60_000)
    one.no_back(4.3, "PA", "tcp-window", b"x", seq=one.next[BACK] + 30_000)
    # IV: an acknowledgement that is far too old, likewise
    one.out(5, "A", ack=one.next[BACK] - 200_000, window=60_000)
    one.no_back(5.1, "PA", "tcp-window", b"x", seq=one.next[BACK] + 30_000)
    # a wider window that is true counts
    one.out(6, "A", window=60_000)
    one.back(6.1, "PA", b"x", seq=one.next[BACK] + 30_000)
    # and after all of that the connection is what it was: open, for hours
    one.back(4000, "PA", b"still here")
    one.out(4001, "PA", b"me too")


@a_case
def tcp_window_scale():
    case = Case(
        "tcp-window-scale",
        "Windows count as scaled if both SYNs say so (RFC 7323), by 14 at most; else as they "
        "stand.",
        proves=["TCP window I", "RFC 7323 section 2.2", "RFC 7323 section 2.3"],
    )
    scale = [("MSS", 1460), ("NOP", None), ("WScale", 7)]
    both = connect(case, WORK, 40110, windows=(512, 512), options=(scale, scale)).open(0)
    both.back(1, "PA", b"far ahead", seq=both.next[BACK] + 40_000)
    both.out(1.1, "PA", b"far ahead", seq=both.next[THERE] + 40_000)
    both.back(1.2, "PA", b"x", seq=both.next[BACK] + 20_000)
    both.no_back(1.3, "PA", "tcp-window", b"x", seq=both.next[BACK] + 600_000)
    both.no_out(1.4, "PA", "tcp-window", b"x", seq=both.next[THERE] + 600_000)
    for index, options in enumerate(((scale, []), ([], scale))):
        one = connect(case, WORK, 40111 + index, windows=(512, 512), options=options)
        one.open(2 + index)
        one.no_back(2.1 + index, "PA", "tcp-window", b"x", seq=one.next[BACK] + 40_000)
        one.no_out(2.2 + index, "PA", "tcp-window", b"x", seq=one.next[THERE] + 40_000)
        one.back(2.3 + index, "PA", b"near")
    # the window of a SYN itself is never scaled
    one = connect(case, WORK, 40114, windows=(512, 512), options=(scale, scale))
    one.out(4, "S")
    one.back(4.1, "SA")
    one.no_out(4.2, "PA", "tcp-window", b"x", seq=one.next[THERE] + 40_000)
    one.out(4.3, "A")
    # 15 is read as 14: a window of 1 is 16,384 bytes
    most = [("WScale", 15)]
    one = connect(case, WORK, 40113, windows=(1, 1), options=(most, most)).open(5)
    one.no_back(5.1, "PA", "tcp-window", b"x", seq=one.next[BACK] + 40_000)
    one.back(5.2, "PA", b"x", seq=one.next[BACK] + 16_000)


@a_case
def tcp_sack():
    case = Case(
        "tcp-sack",
        "Selective acknowledgements count as acknowledgements: one of what was never sent is "
        "dropped.",
        proves=["TCP window III", "RFC 2018", "RFC 2883"],
    )
    options = [("MSS", 1460), ("SAckOK", b"")]
    one = connect(case, WORK, 40120, windows=(8000, 8000), options=(options, options)).open(0)
    start = one.next[THERE]

    def sack(*edges, stamp=False):
        blocks = ("SAck", tuple((start + edge) % 2**32 for edge in edges))
        stamps = [("NOP", None), ("NOP", None), ("Timestamp", (7, 8))] if stamp else []
        return stamps + [("NOP", None), ("NOP", None), blocks]

    for index in range(4):
        one.out(0.1 + index / 100, "A", bytes(1000))
    # the first one is missing, then the first and the third
    one.back(1, "A", ack=start, options=sack(1000, 4000))
    one.back(1.1, "A", ack=start, options=sack(3000, 4000, 1000, 2000))
    one.back(1.2, "A", ack=start, options=sack(3000, 4000, 1000, 2000, stamp=True))
    # never sent: in the only block, in the second one, behind time stamps
    one.no_back(2, "A", "tcp-window", ack=start, options=sack(4000, 4001))
    one.no_back(2.1, "A", "tcp-window", ack=start, options=sack(1000, 2000, 5000, 6000))
    one.no_back(2.2, "A", "tcp-window", ack=start, options=sack(3000, 5000, stamp=True))
    # what arrived twice is reported below the acknowledgement (RFC 2883)
    one.out(3, "A", bytes(1000), seq=start)
    one.back(3.1, "A")
    one.out(3.2, "A", bytes(1000), seq=start)
    one.back(3.3, "A", options=sack(0, 1000))
    # the server's data, acknowledged in the same way
    first = one.next[BACK]
    one.back(4, "A", bytes(500))
    one.back(4.1, "A", bytes(500))
    good, bad = (
        [("NOP", None), ("NOP", None), ("SAck", (first + 500, first + 1000 + more))]
        for more in (0, 1)
    )
    one.out(4.2, "A", ack=first, options=good)
    one.no_out(4.3, "A", "tcp-window", ack=first, options=bad)
    one.out(4.4, "A")


@a_case
def tcp_wraparound():
    case = Case(
        "tcp-wraparound",
        "Sequence numbers begin again at 0 in the middle of a connection, and nothing changes.",
        proves=["TCP window I", "TCP window III"],
    )
    one = connect(
        case, WORK, 40130, first=2**32 - 500, answer=2**32 - 1, windows=(8000, 8000)
    ).open(0)
    for index in range(3):
        one.out(0.1 + index / 10, "PA", bytes(400))
        one.back(0.15 + index / 10, "PA", bytes(400))
    one.out(1, "A")
    one.out(1.1, "A", bytes(100), seq=2**32 - 499)
    one.no_out(2, "PA", "tcp-window", b"x", seq=one.next[THERE] + 200_000)
    one.no_back(2.1, "PA", "tcp-window", b"x", seq=one.next[BACK] + 200_000)
    one.no_back(2.2, "A", "tcp-window", ack=one.next[THERE] + 1)
    one.no_out(2.3, "A", "tcp-window", ack=one.next[BACK] + 1)
    one.back(3, "PA", b"data")
    one.close(4)
    one.back(200, "FA", seq=one.next[BACK] - 1)
    # the SYN has the last number there is
    one = connect(case, WORK, 40131, first=2**32 - 1, answer=2**32 - 1).open(300)
    one.out(301, "PA", b"first byte is number 0")
    one.back(302, "A")


@a_case
def tcp_rst_challenge():
    case = Case(
        "tcp-rst-challenge",
        "A RST ends a connection only with the very number its receiver expects. Within the window "
        "it passes, so that its receiver can challenge it, and the connection stays; outside it is "
        "dropped.",
        proves=["attack: blind RST (RFC 5961)", "RFC 5961 section 3.2", "RFC 7857 section 2"],
    )
    exact, near = (connect(case, WORK, 40140 + index).open(index) for index in range(2))
    exact.back(1.2, "PA", bytes(100))
    exact.out(1.3, "A")
    exact.back(2, "R")
    exact.no_back(20, "A", "no-flow")
    # in the window, not exact: the qube challenges it, and the true server would send another
    near.back(3, "R", seq=near.next[BACK] + 100)
    near.next[BACK] -= 100
    near.out(3.1, "A")
    near.back(20, "PA", b"not me")
    near.out(20.1, "A")
    near.out(21, "R", seq=near.next[THERE] + 100)
    near.next[THERE] -= 100
    near.back(21.1, "A")
    near.out(40, "PA", b"nor me")
    near.back(40.1, "A")
    # below what was acknowledged, and far beyond the window
    near.no_back(41, "R", "tcp-window", seq=near.next[BACK] - 1)
    near.no_back(41.1, "RA", "tcp-window", seq=near.next[BACK] - 1)
    near.no_out(41.2, "R", "tcp-window", seq=near.next[THERE] - 1)
    near.no_back(41.3, "R", "tcp-window", seq=near.next[BACK] + FAR)
    near.no_out(41.4, "R", "tcp-window", seq=near.next[THERE] + FAR)
    near.back(60, "PA", b"alive")
    near.out(60.1, "A")
    # the challenge was true: the answer to it has the number
    near.back(61, "R")
    near.no_back(80, "PA", "no-flow")
    # before the handshake is done a RST must acknowledge the SYN (RFC 9293, 3.10.7.3)
    begun = connect(case, WORK, 40142)
    begun.out(90, "S")
    begun.no_back(90.1, "RA", "tcp-window", seq=0, ack=begun.next[THERE] + 1000)
    begun.back(90.2, "SA")
    begun.out(90.3, "A")
    begun.out(110, "PA", b"open")


@a_case
def tcp_syn_in_open():
    case = Case(
        "tcp-syn-in-open",
        "A SYN in an open connection passes and changes nothing, until a SYN/ACK answers it: then "
        "both ends have begun anew, and the windows are theirs. From the far end it never passes.",
        proves=["attack: blind SYN (RFC 5961)", "RFC 5961 section 4.2", "RFC 5382 REQ-2"],
    )
    old = connect(case, WORK, 40150, first=3 * FAR, answer=2 * FAR).open(0)
    old.out(0.1, "PA", b"before")
    old.back(0.2, "A")
    # somebody across the uplink wants it to end: a SYN, and a SYN/ACK that answers nothing
    old.no_back(1, "S", "tcp-state", seq=12345)
    old.no_back(1.1, "S", "tcp-state")
    old.back(1.2, "SA", seq=12345, ack=old.next[THERE] - 5)
    old.next[BACK] = 2 * FAR + 1
    old.back(1.3, "PA", b"no harm")
    # the qube has lost the connection, the server has not: challenged, the qube resets it
    new = Connection(old.path, first=1000, answer=FAR)
    new.out(2, "S")
    old.back(2.1, "A")
    old.out(2.2, "R")
    new.next[THERE] = 1000
    new.open(3)
    new.out(3.1, "PA", b"again")
    new.back(3.2, "A")
    # both have lost it: the SYN/ACK brings the windows in step
    newer = Connection(old.path, first=4 * FAR, answer=3 * FAR)
    newer.out(100, "S")
    new.back(100.1, "SA", seq=4 * FAR, ack=77)  # answers another SYN
    new.next[BACK] = FAR + 1
    new.back(100.2, "PA", b"old window")
    newer.back(100.3, "SA")
    newer.out(100.4, "A")
    newer.out(100.5, "PA", b"new window")
    newer.back(100.6, "PA", b"new window")
    # what belonged to the connection before is out of the window
    new.no_out(101, "PA", "tcp-window", b"old")
    new.no_back(101.1, "PA", "tcp-window", b"old")
    newer.back(4000, "PA", b"open for hours")


@a_case
def tcp_pickup():
    case = Case(
        "tcp-pickup",
        "For as long as configured after a start without a snapshot, a connection that an ACK of a "
        "qube shows to be there is taken up if the rules accept it, without knowing its windows.",
        sections="\n[timeouts]\ntcp-pickup = 60\n",
        rules={"work": "policy=accept\naction=drop proto=tcp dstports=81-81\n"},
    )
    case.tracked = False
    one = connect(case, WORK, 40160)
    one.no_back(0.5, "PA", "no-flow", b"the server is first")
    one.out(1, "A")
    one.back(1.1, "PA", b"taken up")
    one.out(1.2, "PA", bytes(1000))
    one.back(1.3, "PA", b"far", seq=one.next[BACK] + 500_000)
    one.out(1.4, "A")
    denied = connect(case, WORK, 40161, server_port=81, rule="0000")
    denied.no_out(2, "A", "rule", answer=prohibited)
    # what cannot be in the middle of a connection, or would end it
    for index, flags in enumerate(("SA", "FA", "R", "RA")):
        other = connect(case, WORK, 40162 + index)
        other.no_out(3 + index, flags, "tcp-state", rule=None)
    late = connect(case, WORK, 40166)
    late.no_out(65, "A", "tcp-state", rule=None)
    one.back(4000, "PA", b"open for hours")
    one.close(4001)
    one.no_back(4250, "A", "no-flow")
