# SPDX-License-Identifier: BSD-3-Clause
"""How much of what is shared one qube may use, and that others do not notice.

Flows to one server and port belong to one worker, however many there are. What a qube gives up for
itself must be found there, so each case keeps to one server.
"""

from generator.forwards import FAR_HOST, allow, forward, inbound
from generator.path import *


@a_case
def budget_flows():
    case = Case(
        "budget-flows",
        "A qube with as many flows as it may gives up one that was never answered for a new one, "
        "or else one that is closing. If it has none of either it is refused with 3/1 (IPv6 1/3). "
        "Another qube does not notice.",
        proves=["attack: table exhaustion", "RFC 6888 REQ-5", "RFC 5508 REQ-8"],
        qube_lines={"work": "flows = 16\n", "personal": "flows = 16\n"},
    )
    case.tracked = False
    paths = [masquerade(case, WORK, 51000 + index, SERVER, 4000) for index in range(19)]
    for index, path in enumerate(paths[:16]):
        path.udp(index / 100, THERE)
        if index != 7:
            path.udp(0.5 + index / 100, BACK)
    # the one without an answer makes room
    paths[16].udp(1, THERE)
    paths[7].no_udp(1.1, BACK, "no-flow")
    for index, path in enumerate(paths[:17]):
        if index != 7:
            path.udp(1.2 + index / 100, BACK)
    # nobody may go now
    paths[17].no_udp(2, THERE, "flows-budget", answer=unreachable)
    paths[17].no_udp(2.1, THERE, "flows-budget", answer=unreachable)
    path6 = masquerade(case, WORK, 51017, SERVER6, 4000)
    path6.no_udp(2.2, THERE, "flows-budget", answer=unreachable)
    for index, path in enumerate(paths[:17]):
        if index != 7:
            path.udp(3 + index / 100, BACK)
    # 300 s after their last packets there is room
    paths[18].udp(310, THERE)
    path6.udp(311, THERE)
    # another qube, meanwhile: TCP connections, of which one is closing
    theirs = [connect(case, PERSONAL, 51100 + index) for index in range(19)]
    for index, connection in enumerate(theirs[:16]):
        connection.open(1.5 + index / 10, step=0.001)
    theirs[3].close(4, step=0.001)
    theirs[16].open(5)
    theirs[3].no_back(5.1, "FA", "no-flow")
    theirs[17].no_out(6, "S", "flows-budget", answer=unreachable)
    for index, connection in enumerate(theirs[:17]):
        if index != 3:
            connection.back(7 + index / 100, "PA", b"alive")


@a_case
def budget_new_flows():
    case = Case(
        "budget-new-flows",
        "A qube may open only so many flows in a second; more are dropped in silence. What it has "
        "goes on, and so does what others open.",
        proves=["attack: table exhaustion", "RFC 6888 REQ-5"],
        qube_lines={"work": "new-flows = 3\n"},
    )
    for second in range(3):
        time = second * 2
        paths = [
            masquerade(case, WORK, 51200 + 10 * second + index, SERVER, 4000) for index in range(5)
        ]
        for index, path in enumerate(paths):
            if index < 3:
                path.udp(time + index / 10, THERE)
            else:
                path.no_udp(time + index / 10, THERE, "new-flows-budget")
        paths[0].udp(time + 0.6, THERE)
        paths[0].udp(time + 0.61, BACK)
        other = connect(case, WORK, 51250 + second)
        other.no_out(time + 0.7, "S", "new-flows-budget")
        for index in range(5):
            masquerade(case, PERSONAL, 51300 + 10 * second + index, SERVER, 4000).udp(
                time + 0.8 + index / 100, THERE
            )
    # a second after the first of them there is room again
    masquerade(case, WORK, 51260, SERVER, 4000).udp(5.1, THERE)


@a_case
def budget_half_open():
    case = Case(
        "budget-half-open",
        "A qube with as many half-open connections as it may gives up one of those for a new one; "
        "open connections are safe, and so are those of others.",
        proves=["attack: table exhaustion", "RFC 5382 REQ-5"],
        qube_lines={"work": "half-open = 1\n"},
    )
    case.tracked = False
    done, first, second, third = (connect(case, WORK, 51400 + index) for index in range(4))
    theirs = [connect(case, PERSONAL, 51400 + index) for index in range(10, 14)]
    for index, connection in enumerate(theirs):
        connection.out(index / 10, "S")
    done.open(0.5)
    first.out(1, "S")
    second.out(2, "S")
    # the answer to the first comes too late, the second is open soon
    first.no_back(3, "SA", "no-flow")
    second.back(3.1, "SA")
    second.out(3.2, "A")
    third.out(4, "S")
    for index, connection in enumerate((done, second)):
        connection.back(5 + index / 10, "PA", b"alive")
    for index, connection in enumerate(theirs):
        connection.back(6 + index / 10, "SA")
    third.back(7, "SA")
    third.out(7.1, "A")


@a_case
def budget_ports():
    case = Case(
        "budget-ports",
        "A qube gets only so many external UDP ports, or identifiers of pings, at once; more are "
        "refused with 3/1. A port that it has serves all destinations, and TCP takes none.",
        proves=["attack: table exhaustion", "RFC 6888 REQ-4", "RFC 5508 REQ-8"],
        qube_lines={"work": "ports = 4\n", "personal": "ports = 4\n"},
    )
    for index in range(6):
        path = masquerade(case, WORK, 51500 + index, SERVER, 4000)
        pinged = query_path(case, PERSONAL, 0x5150 + index)
        if index < 4:
            path.udp(index / 10, THERE)
            pinged.ping(index / 10, THERE)
        else:
            path.no_udp(index / 10, THERE, "ports-budget", answer=unreachable)
            pinged.stop(
                index / 10, THERE, lambda a, b: ping(a, 1), "ports-budget", answer=unreachable
            )
    masquerade(case, WORK, 51503, OTHER_SERVER, 4000).udp(1, THERE)
    query_path(case, PERSONAL, 0x5153, OTHER_SERVER).ping(1, THERE)
    for index, qube in enumerate((WORK, PERSONAL)):
        connect(case, qube, 51510 + index).open(2 + index)
    # when its flows have ended, a port is free, and what was refused has taken none
    pinged = query_path(case, PERSONAL, 0x5159)
    pinged.ping(70, THERE)
    masquerade(case, PERSONAL, 51504, SERVER, 4000).udp(71, THERE)
    query_path(case, WORK, 0x5154).ping(131, THERE)
    masquerade(case, WORK, 51509, SERVER, 4000).udp(130, THERE)


@a_case
def budget_answers():
    case = Case(
        "budget-answers",
        "A qube gets only so many ICMP errors in a second, whatever they are about, and others get "
        "theirs.",
        proves=["attack: SAD DNS and other side channels", "RFC 5508 REQ-8", "RFC 1812"],
        rules={"work": "policy=drop\n", "personal": "policy=drop\n"},
        qube_lines={"work": "answers = 1\n"},
    )
    for second in range(3):
        time = second * 3
        for index in range(6):
            frame = from_qube(WORK, SERVER, udp(51600 + index, 80))
            if index == 0:
                case.refuse(time, WORK, frame)
            else:
                case.drop(time + index / 10, "work", frame, "policy", "policy")
        frame = from_qube(WORK, SERVER6, udp(51610, 80))
        case.drop(time + 0.7, "work", frame, "policy", "policy")
        frame = from_qube(WORK, GATEWAY, udp(51610, 80))
        case.drop(time + 0.8, "work", frame, "local-refused")
        for index in range(6):
            frame = from_qube(PERSONAL, SERVER, udp(51600 + index, 80))
            case.refuse(time + 0.05 + index / 10, PERSONAL, frame)
        # a ping is answered, not refused
        case.local(time + 0.9, "work", ping_gateway(WORK), pong(ping_gateway(WORK), "work"))


@a_case
def budget_inbound():
    case = Case(
        "budget-inbound",
        "What comes in to a qube is counted apart: who fills it from outside, in silence, leaves "
        "the qube its own flows.",
        proves=["attack: table exhaustion", "RFC 6888 REQ-5"],
        qube_lines={"work": "flows = 16\n"},
        sections=forward("game", "external", "udp", "27015") + allow("all", "personal", "work"),
    )
    peers = [inbound(case, FAR_HOST, 6000 + index, 27015) for index in range(18)]
    for index, path in enumerate(peers[:16]):
        path.udp(index / 100, THERE)
        path.udp(0.5 + index / 100, BACK)
    for index, path in enumerate(peers[16:]):
        path.no_udp(1 + index / 10, THERE, "flows-budget")
    for index in range(16):
        path = masquerade(case, WORK, 51700 + index, SERVER, 4000)
        path.udp(2 + index / 100, THERE)
        path.udp(2.5 + index / 100, BACK)
    path = masquerade(case, WORK, 51716, SERVER, 4000)
    path.no_udp(3, THERE, "flows-budget", answer=unreachable)
    # both are full, and both go on
    for index, path in enumerate(peers[:16]):
        path.udp(4 + index / 100, THERE)
    masquerade(case, WORK, 51715, SERVER, 4000).udp(5, BACK)


@a_case
def slipstream():
    case = Case(
        "slipstream",
        "Nothing that is said within a connection opens anything, whatever protocol it looks like: "
        "payloads pass as they are, and the ports they name stay shut.",
        proves=["attack: NAT slipstreaming"],
    )
    command = f"PORT {WORK.ip.replace('.', ',')},31,144\r\n"  # port 8080
    raw = packets.packed(WORK.ip)
    sayings = (
        (21, command),
        (21, f"EPRT |1|{WORK.ip}|8080|\r\n"),
        (21, "x" * 1400 + "\r\n" + command),  # at the start of a line, and further on
        (6667, f"PRIVMSG bot :\x01DCC CHAT chat {int.from_bytes(raw, 'big')} 8080\x01\r\n"),
        (5060, f"REGISTER sip:server SIP/2.0\r\nContact: <sip:me@{WORK.ip}:8080>\r\n"
               "Content-Length: 0\r\n\r\n"),
        (1720, "\x03\0\0\x30h323" + raw.decode("latin-1") + "\x1f\x90"),
        (1723, "\0\x9c\0\1\x1a\x2b\x3c\x4d\0\7\0\0"),
        (10080, "Amanda 2.4 REP HANDLE 000-0 SEQ 0\nCONNECT DATA 8080 MESG 8081 INDEX 8082\n"),
    )  # fmt: skip
    for index, (port, saying) in enumerate(sayings):
        data = saying.encode("latin-1")
        connection = connect(case, WORK, 51800 + index, SERVER, port).open(10 * index)
        connection.out(10 * index + 1, "PA", data)
        connection.back(10 * index + 1.1, "PA", b"200 OK\r\n")
        connection.back(10 * index + 1.2, "PA", data)
        path = masquerade(case, WORK, 51820 + index, SERVER, port)
        path.udp(10 * index + 2, THERE, data)
        path.udp(10 * index + 2.1, BACK, data)
        # in one piece of TCP, and cut so that the command begins a segment
        connection.out(10 * index + 2.2, "PA", data[:-20])
        connection.out(10 * index + 2.3, "PA", data[-20:])
        for step, target in enumerate((8080, 8081, 8082)):
            peer = inbound(case, SERVER, 20, target)
            Connection(peer).no_out(10 * index + 3 + step / 10, "S", "no-flow")
            peer.no_udp(10 * index + 4 + step / 10, THERE, "no-flow")
        frame = from_uplink(SERVER, Raw(bytes(24)), proto=47)
        case.drop(10 * index + 5, "uplink", frame, "no-flow")
    # TFTP: the server answers from another port, and there is nobody to let it in
    path = masquerade(case, WORK, 51840, SERVER, 69)
    path.udp(100, THERE, b"\0\1file\0octet\0")
    inbound(case, SERVER, 6900, 51840).no_udp(100.1, THERE, "no-flow")
    # passive FTP: the server names a port, and the qube may connect like to any other
    connection = connect(case, WORK, 51841, SERVER, 21).open(110)
    connection.back(110.1, "PA", b"227 Entering Passive Mode (203,0,113,80,31,144)\r\n")
    connect(case, WORK, 51842, SERVER, 8080).open(111)
