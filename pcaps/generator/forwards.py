# SPDX-License-Identifier: BSD-3-Clause
"""What comes in because somebody said so: forwards, flows between qubes, filters."""

from generator.chosen import SHADOW6_UDP, SHADOW_TCP, SHADOW_UDP
from generator.path import *

FAR_HOST, FAR_HOST6 = "198.51.100.23", "2001:3::23"


def forward(name, kind, proto, srcports, dstports=None, qube="work", **more):
    """A section of the configuration."""
    keys = {"forwardtype": kind, "proto": proto, "srcports": srcports, "dstports": dstports}
    keys.update(qube=qube, **more)
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items() if value is not None)
    return f"\n[forward {name}]\n{lines}"


def allow(name, sender, receiver, proto=None, dstports=None):
    keys = {"from": sender, "to": receiver, "proto": proto, "dstports": dstports}
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items() if value is not None)
    return f"\n[allow {name}]\n{lines}"


def address_of(qube, six):
    return qube.ip6 if six else qube.ip


def inbound(case, remote, remote_port, port, qube=WORK, qube_port=None):
    """Somebody across the uplink, to a port of ours that leads to a qube."""
    six = is_v6(remote)
    ours, theirs = UPLINK6 if six else UPLINK, address_of(qube, six)
    return Path(
        case,
        "uplink",
        qube.name,
        (remote, remote_port, ours, port),
        (remote, remote_port, theirs, qube_port or port),
        ANY,
    )


def between(case, sender, port, to, to_port, receiver, receiver_port, rule, seen_as=None):
    """A qube to another one, at the address @p to, as @p seen_as if not as itself."""
    six = is_v6(to)
    source = address_of(sender, six)
    return Path(
        case,
        sender.name,
        receiver.name,
        (source, port, to, to_port),
        (seen_as or source, port, address_of(receiver, six), receiver_port),
        f"{sender.name}/{rule}",
        ANY,
    )


def datagram(source_port, destination_port):
    return udp(source_port, destination_port, bytes(range(64)))


@a_case
def forward_external():
    case = Case(
        "forward-external",
        "Forwards from the uplink to a qube: single ports, ranges, many ports to one, by source, "
        "for both families. The qube sees who connects, its rules have no say, and other qubes do "
        "not get in that way.",
        proves=["RFC 6092", "RFC 5382 REQ-4", "RFC 4787 REQ-8", "RFC 5508 REQ-4"],
        rules={"work": "policy=drop\n"},
        sections=forward("web", "external", "tcp", "8080", "80")
        + forward("range", "external", "tcp", "8000-8003", "81-84")
        + forward("many", "external", "tcp", "9000-9009", "22")
        + forward("game", "external", "udp", "27015-27016")
        + forward("office", "external", "tcp", "2222", "22", srchost="198.51.100.0/24")
        + forward("office6", "external", "tcp", "2223", "22", srchost="2001:3::/32"),
    )
    remotes = (FAR_HOST, LOCAL_HOST, FAR_HOST6, LOCAL_HOST6)
    for index, remote in enumerate(remotes):
        web = Connection(inbound(case, remote, 50000, 8080, qube_port=80)).open(index)
        web.out(index + 0.1, "PA", b"GET / HTTP/1.1\r\n\r\n")
        web.back(index + 0.2, "PA", bytes(1000))
        web.close(index + 0.3)
        game = inbound(case, remote, 50000, 27016)
        game.udp(index + 0.5, THERE)
        game.udp(index + 0.6, BACK)
    for index in range(4):
        Connection(inbound(case, FAR_HOST, 50020, 8000 + index, qube_port=81 + index)).open(
            5 + index / 10
        )
        Connection(inbound(case, FAR_HOST, 50030 + index, 9000 + 3 * index, qube_port=22)).open(
            6 + index / 10
        )
    Connection(inbound(case, FAR_HOST, 50003, 2222, qube_port=22)).open(7)
    Connection(inbound(case, FAR_HOST6, 50003, 2223, qube_port=22)).open(7.1)
    # whoever else, whatever else
    for index, (remote, port) in enumerate(
        ((SERVER, 2222), (FAR_HOST6, 2222), (SERVER6, 2223), (FAR_HOST, 2223))
        + tuple((remote, port) for remote in (FAR_HOST, FAR_HOST6) for port in (8079, 8004, 22, 80))
    ):
        stranger = Connection(inbound(case, remote, 50004, port))
        stranger.no_out(8 + index / 100, "S", "no-flow")
    for index, layer in enumerate((udp(50004, 8080), ping(80), tcp(50004, 27015, "S"))):
        case.drop(8.5 + index / 10, "uplink", from_uplink(FAR_HOST, layer), "no-flow")
    for index, destination in enumerate((WORK.ip, GATEWAY, LOCAL_HOST)):
        frame = from_uplink(FAR_HOST, tcp(50004, 8080, "S"), destination=destination)
        case.drop(8.8 + index / 100, "uplink", frame, "no-flow")
    for index, flags in enumerate(("A", "SA", "FA", "R", "RA")):
        frame = from_uplink(FAR_HOST, tcp(50005, 8080, flags))
        case.drop(9 + index / 10, "uplink", frame, ANY)
    frame = from_uplink(FAR_HOST, tcp(50005, 8080, "S"), ttl=1)
    case.drop(9.6, "uplink", frame, "time-exceeded", rule=ANY)
    # not for qubes: those across the uplink are meant
    for index, (qube, ours) in enumerate(
        (qube, ours) for qube in (PERSONAL, WORK) for ours in (UPLINK, GATEWAY, UPLINK6, GATEWAY6)
    ):
        frame = from_qube(qube, ours, tcp(50006, 8080, "S"))
        answer_frame = host_prohibited(frame, qube.name)
        case.drop(10 + index / 10, qube.name, frame, "local-refused", answer=answer_frame)
    # errors about such flows, both ways: the ports are as each side knows them
    web = Connection(inbound(case, FAR_HOST, 50007, 8080, qube_port=80)).open(12)
    web.back(12.1, "PA", bytes(1000))
    sent = web.quoted(BACK, "PA", seq=web.next[BACK] - 1000)
    mtu = struct.pack("!I", 1400)
    web.path.error(12.2, THERE, sent, 3, 4, mtu, length=28, router="198.51.100.9")
    for index, remote in enumerate((FAR_HOST, FAR_HOST6)):
        game = inbound(case, remote, 50008, 27015)
        game.udp(13 + index, THERE)
        game.error(13.1 + index, BACK, datagram, *((1, 4) if index else (3, 3)))
    # identification and fragments as anywhere
    game = inbound(case, FAR_HOST, 50009, 27015)
    game.go(15, THERE, lambda a, b: udp(a, b, bytes(3000)), parts=(1480, 1480), number=0x7101)
    game.go(15.1, BACK, lambda a, b: udp(a, b, bytes(3000)), parts=(1480, 1480), number=0x7102)
    game.go(15.2, THERE, lambda a, b: udp(a, b, bytes(30)), flags=0, id=0x7103)
    game.go(15.3, BACK, lambda a, b: udp(a, b, bytes(30)), flags=0, id=0x7104)


@a_case
def forward_internal():
    case = Case(
        "forward-internal",
        "Forwards from qube to qube: at the gateway's address the sender is seen, at the uplink's "
        "it is hidden behind that; a qube may use its own. The sender's rules must accept where it "
        "leads. Nobody across the uplink gets in that way.",
        proves=["RFC 4787 REQ-9", "RFC 5382 REQ-8", "RFC 5508 REQ-7"],
        rules={
            "personal": "policy=drop\naction=accept proto=tcp dstports=80-80\n"
            f"action=accept dst4={WORK.ip}/32 proto=udp dstports=53-53\n"
            f"action=accept dst6={WORK.ip6}/128 proto=udp dstports=53-53\n"
            "action=accept proto=tcp dstports=8081-8081\n"
        },
        sections=forward("web", "internal", "tcp", "8080-8081", "80-81")
        + forward("names", "internal", "udp", "5300", "53")
        + forward("only", "internal", "tcp", "2200", "80", srchost=f"{PERSONAL.ip}/32"),
    )
    for index, (gateway, uplink) in enumerate(((GATEWAY, UPLINK), (GATEWAY6, UPLINK6))):
        time = 10 * index
        web = Connection(between(case, PERSONAL, 50100, gateway, 8080, WORK, 80, "0000")).open(time)
        web.out(time + 0.1, "PA", b"request")
        web.back(time + 0.2, "PA", bytes(1000))
        names = between(case, PERSONAL, 50101, gateway, 5300, WORK, 53, f"000{1 + index}")
        names.udp(time + 0.3, THERE)
        names.udp(time + 0.4, BACK)
        # hairpin
        web = Connection(
            between(case, PERSONAL, 50102, uplink, 8080, WORK, 80, "0000", uplink)
        ).open(time + 1)
        web.back(time + 1.1, "PA", bytes(1000))
        hidden = between(case, PERSONAL, 50103, uplink, 5300, WORK, 53, f"000{1 + index}", uplink)
        hidden.udp(time + 1.2, THERE)
        hidden.udp(time + 1.3, BACK)
        # errors find their way
        kind = (1, 4) if index else (3, 3)
        for step, path in enumerate((names, hidden)):
            path.error(time + 1.4 + step / 10, BACK, datagram, *kind)
            path.error(time + 1.6 + step / 10, THERE, datagram, *kind)
        # its own
        own = between(case, WORK, 50104, gateway, 8080, WORK, 80, "policy", gateway)
        Connection(own).open(time + 2)
        own = between(case, WORK, 50105, uplink, 8080, WORK, 80, "policy", uplink)
        Connection(own).open(time + 2.1)
        # the rules of the sender see where it leads, not where it listens
        for step, ours in enumerate((gateway, uplink)):
            frame = from_qube(PERSONAL, ours, tcp(50106, 8081, "S"))
            case.refuse(time + 3 + step / 10, PERSONAL, frame)
        # nobody listens there, or not for this one
        for step, (qube, layer) in enumerate(
            (
                (PERSONAL, tcp(50107, 8079, "S")),
                (PERSONAL, udp(50107, 8080)),
                (PERSONAL, tcp(50107, 5300, "S")),
                (WORK, tcp(50107, 2200, "S")),
            )
        ):
            for ours in (gateway, uplink):
                frame = from_qube(qube, ours, layer)
                answer_frame = host_prohibited(frame, qube.name)
                when = time + 4 + step / 10 + (ours == uplink) / 20
                case.drop(when, qube.name, frame, "local-refused", answer=answer_frame)
        # the uplink's side hears nothing of it
        remote = FAR_HOST6 if index else FAR_HOST
        for step, layer in enumerate((tcp(50108, 8080, "S"), udp(50108, 5300))):
            case.drop(time + 5 + step / 10, "uplink", from_uplink(remote, layer), "no-flow")
    only = between(case, PERSONAL, 50109, GATEWAY, 2200, WORK, 80, "0000")
    Connection(only).open(20)
    # the gateway itself is still there
    case.local(21, "personal", ping_gateway(PERSONAL), pong(ping_gateway(PERSONAL), "personal"))
    frame = from_qube(PERSONAL, WORK.ip, tcp(50110, 80, "S"))
    case.drop(22, "personal", frame, "inter-qube", rule="0000")


@a_case
def forward_expired():
    case = Case(
        "forward-expired",
        "A forward whose time is over does not listen; one whose time is still to come does.",
        sections=forward("over", "external", "tcp", "8080", "80", expire=BASE_NS // 10**9 - 1)
        + forward("soon", "external", "tcp", "8081", "80", expire=BASE_NS // 10**9 + 3600)
        + forward("inside", "internal", "tcp", "8082", "80", expire=1_000_000_000),
    )
    Connection(inbound(case, FAR_HOST, 50200, 8080)).no_out(0, "S", "no-flow")
    Connection(inbound(case, FAR_HOST, 50200, 8081, qube_port=80)).open(1)
    frame = from_qube(PERSONAL, GATEWAY, tcp(50201, 8082, "S"))
    case.drop(2, "personal", frame, "local-refused", answer=host_prohibited(frame, "personal"))
    # its port is a port like any other
    connect(case, PERSONAL, 8080).open(3)


def reset(path, to, sequence, acknowledgement):
    """The RST that ends a connection for the end that gets what goes in direction @p to: from the
    other one as it knows it, with the number it expects. All else is our choice."""
    source, source_port, destination, destination_port = path.ends(to)[1]
    port = path.port[not to]
    layer = TCP(
        sport=source_port,
        dport=destination_port,
        flags="RA",
        seq=sequence % 2**32,
        ack=acknowledgement % 2**32,
        window=0,
    )
    fields = {"hlim": 64} if is_v6(source) else {"id": 0, "ttl": 64}
    ether = Ether(src=our_mac(port), dst=mac_beyond(port, destination))
    return port, ether / ip(source, destination, **fields) / layer


@a_case
def forward_ended():
    case = Case(
        "forward-ended",
        "A forward ends while it is used: connections through it are reset at both ends with the "
        "next packet of either, with the numbers these expect, and so is who goes on. Datagrams "
        "are refused. What the qube opened itself goes on.",
        proves=["RFC 5961 section 3.2"],
        sections=forward("web", "external", "tcp", "8080", "80", expire=BASE_NS // 10**9 + 600)
        + forward("game", "external", "udp", "27015", expire=BASE_NS // 10**9 + 600),
    )
    case.tracked = False
    own = connect(case, WORK, 50250).open(0)
    remotes = (FAR_HOST, FAR_HOST6)
    webs = [Connection(inbound(case, remote, 50251, 8080, qube_port=80)) for remote in remotes]
    games = [inbound(case, remote, 50252, 27015) for remote in remotes]
    more = [inbound(case, remote, 50253, 27015) for remote in remotes]
    for index, web in enumerate(webs):
        web.open(1 + index)
        web.out(1.1 + index, "PA", b"request")
        web.back(1.2 + index, "PA", bytes(1000))
        web.out(1.3 + index, "A")
        for path in (games[index], more[index]):
            path.udp(500 + index, THERE)
            path.udp(500.1 + index, BACK)
        web.out(590 + index, "PA", b"still here")
        web.back(590.1 + index, "A")
    for index, web in enumerate(webs):
        # the far end, or the qube, is the next to say something
        time = 610 + index
        direction = THERE if index == 0 else BACK
        _, make = web.layer(direction, "PA", b"late", {})
        frame, _ = web.path.frames(direction, make)
        sent = [
            reset(web.path, THERE, web.next[THERE], web.next[BACK]),
            reset(web.path, BACK, web.next[BACK], web.next[THERE]),
        ]
        at = web.path.port[direction]
        verdict = {"verdict": "drop", "rule": ANY}
        case.add(time, at, frame, sent, reason="no-longer-allowed", **verdict)
        # who has not heard, hears it again
        for step, direction in enumerate((BACK, THERE)):
            _, make = web.layer(direction, "PA", b"more", {})
            frame, _ = web.path.frames(direction, make)
            again = reset(web.path, not direction, web.next[not direction], web.next[direction] + 4)
            when = time + 2 + step
            at = web.path.port[direction]
            case.add(when, at, frame, [again], reason="flow-refused", **verdict)
        web.no_out(time + 15, "A", "no-flow")
        web.no_back(time + 15.1, "A", "tcp-state", rule=None)
        # silence for the far end, an answer for the qube, and nothing afterwards
        games[index].no_udp(time + 20, THERE, "no-longer-allowed", rule=ANY)
        games[index].no_udp(time + 21, THERE, "no-flow")
        more[index].no_udp(
            time + 22, BACK, "no-longer-allowed", rule=ANY, answer=prohibited
        )
        Connection(inbound(case, remotes[index], 50254, 8080)).no_out(time + 23, "S", "no-flow")
    own.out(700, "PA", b"goes on")
    own.back(700.1, "A")


@a_case
def allow_inter_qube():
    case = Case(
        "allow-inter-qube",
        "Qubes that are allowed to talk do so directly, untranslated; the sender's rules must "
        "accept too. Everything else between qubes stays silent.",
        rules={
            "personal": "policy=accept\naction=drop proto=tcp dstports=81-81\n",
            "work": "policy=drop\naction=accept proto=udp\naction=accept proto=icmp\n",
        },
        sections=allow("web", "personal", "work", "tcp", "80-81")
        + allow("ping", "personal", "work", "icmp")
        + allow("all", "work", "personal"),
    )
    for index, six in enumerate((False, True)):
        time = 10 * index
        work, personal = address_of(WORK, six), address_of(PERSONAL, six)

        def theirs(port, to_port, rule="policy", to=work):
            return between(case, PERSONAL, port, to, to_port, WORK, to_port, rule)

        def mine(port, to_port, rule, to=personal):
            return between(case, WORK, port, to, to_port, PERSONAL, to_port, rule)

        web = Connection(theirs(50300, 80)).open(time)
        web.back(time + 0.1, "PA", bytes(1000))
        web.out(time + 0.2, "A")
        pinged = theirs(0x5300, 0)
        pinged.ping(time + 0.3, THERE)
        pinged.ping(time + 0.4, BACK)
        # the rules of the sender, and what is not allowed between these two
        Connection(theirs(50301, 81, "0000")).no_out(
            time + 1, "S", "rule", answer=prohibited
        )
        Connection(theirs(50302, 82)).no_out(time + 1.1, "S", "inter-qube")
        theirs(50303, 80).no_udp(time + 1.2, THERE, "inter-qube")
        # everything in the other direction, as far as the rules accept it
        talk = mine(50304, 4000, "0000")
        talk.udp(time + 2, THERE)
        talk.udp(time + 2.1, BACK)
        talk.error(time + 2.2, BACK, datagram, *((1, 4) if six else (3, 3)))
        talk.error(time + 2.3, THERE, datagram, *((1, 4) if six else (3, 3)))
        pinged = mine(0x5304, 0, "0001")
        pinged.ping(time + 2.4, THERE)
        pinged.ping(time + 2.5, BACK)
        Connection(mine(50305, 80, "policy")).no_out(
            time + 2.6, "S", "policy", answer=prohibited
        )
        # an answer without a question
        theirs(50306, 4000).no_udp(time + 3, THERE, "inter-qube")
    # a hop less, and at the end none
    talk = between(case, WORK, 50307, PERSONAL.ip, 4000, PERSONAL, 4000, "0000")
    talk.go(20, THERE, datagram, ttl=2)
    talk.no_udp(20.1, THERE, "time-exceeded", ttl=1, answer=time_exceeded)
    # without DF the identification is renewed here, too
    talk.go(20.2, THERE, datagram, flags=0, id=0x7301)
    # fragments
    talk.go(21, THERE, lambda a, b: udp(a, b, bytes(3000)), parts=(1480, 1480), number=0x7302)


@a_case
def filter_none():
    case = Case(
        "filter-none",
        "With filter = none everybody may send to a UDP port that the qube has opened, as "
        "peer-to-peer programs need it. Other ports, protocols and qubes stay shut.",
        proves=["RFC 4787 REQ-8"],
        qube_lines={"work": "filter = none\n"},
    )
    for index, (server, others) in enumerate(
        ((SERVER, (FAR_HOST, LOCAL_HOST, SERVER)), (SERVER6, (FAR_HOST6, LOCAL_HOST6, SERVER6)))
    ):
        time = 10 * index
        masquerade(case, WORK, 50400, server, 4000).udp(time, THERE)
        masquerade(case, PERSONAL, 50401, server, 4000).udp(time + 0.1, THERE)
        for step, other in enumerate(others):
            peer = inbound(case, other, 5000 + step, 50400)
            peer.udp(time + 1 + step / 10, THERE)
            peer.udp(time + 1.5 + step / 10, BACK)
            inbound(case, other, 5000, 50401).no_udp(time + 2 + step / 10, THERE, "no-flow")
            inbound(case, other, 5000, 50402).no_udp(time + 2.5 + step / 10, THERE, "no-flow")
            stranger = Connection(inbound(case, other, 5000, 50400))
            stranger.no_out(time + 3 + step / 10, "S", "no-flow")
        peer = inbound(case, others[0], 5000, 50400)
        peer.error(time + 4, BACK, datagram, *((1, 4) if index else (3, 3)))
        # TCP does not open a UDP port
        Connection(masquerade(case, WORK, 50403, server, 80)).out(time + 5, "S")
        inbound(case, others[0], 5000, 50403).no_udp(time + 5.1, THERE, "no-flow")
        frame = from_uplink(others[0], udp(5000, 50400), destination=address_of(WORK, index == 1))
        case.drop(time + 6, "uplink", frame, "no-flow")
    # when all of its flows have ended, the port is shut
    masquerade(case, WORK, 50404, SERVER, 4000).udp(30, THERE)
    inbound(case, FAR_HOST, 5000, 50404).udp(40, THERE)
    inbound(case, FAR_HOST, 5001, 50404).no_udp(400, THERE, "no-flow")


@a_case
def filter_address():
    case = Case(
        "filter-address",
        "With filter = address a host that a UDP port of the qube has spoken to may answer from "
        "other ports; others may not.",
        proves=["RFC 4787 REQ-8"],
        qube_lines={"work": "filter = address\n"},
    )
    for index, (server, other) in enumerate(((SERVER, OTHER_SERVER), (SERVER6, FAR_HOST6))):
        time = 10 * index
        masquerade(case, WORK, 50500, server, 4000).udp(time, THERE)
        masquerade(case, WORK, 50501, other, 4000).udp(time + 0.1, THERE)
        for step in range(4):
            peer = inbound(case, server, 4001 + step, 50500)
            peer.udp(time + 1 + step / 10, THERE)
            peer.udp(time + 1.5 + step / 10, BACK)
            inbound(case, server, 4001 + step, 50501).no_udp(
                time + 2 + step / 10, THERE, "no-flow"
            )
            inbound(case, other, 4000 + step, 50500).no_udp(
                time + 2.5 + step / 10, THERE, "no-flow"
            )
        inbound(case, other, 4007, 50501).udp(time + 3, THERE)
        Connection(inbound(case, server, 4001, 50500)).no_out(time + 4, "S", "no-flow")
        masquerade(case, PERSONAL, 50502, server, 4000).udp(time + 5, THERE)
        inbound(case, server, 4001, 50502).no_udp(time + 5.1, THERE, "no-flow")
    # port 0 is nobody's, above all not everybody's
    inbound(case, SERVER, 0, 50500).no_udp(20, THERE, ANY)
    # when it has had no flow for long, the host is a stranger again, whoever else the port knows
    gone, known = (masquerade(case, WORK, 50510, host, 4000) for host in (SERVER, OTHER_SERVER))
    gone.udp(30, THERE)
    for time in (30, 130, 230):
        known.udp(time + 0.1, THERE)
        known.udp(time + 0.2, BACK)
    inbound(case, SERVER, 4001, 50510).no_udp(240, THERE, "no-flow")
    inbound(case, OTHER_SERVER, 4001, 50510).udp(240.1, THERE)
    inbound(case, SERVER, 4009, 50500).no_udp(400, THERE, "no-flow")


@a_case
def port_shadow():
    case = Case(
        "port-shadow",
        "A qube does not get an external port on which a forward listens, whatever port it sends "
        "from: what comes to that port is the forward's.",
        proves=["attack: port shadow (CVE-2021-3773)"],
        sections=forward("tcp", "external", "tcp", "5000-5010")
        + forward("udp", "external", "udp", "5000-5010")
        + forward("inside", "internal", "udp", "6000"),
    )
    # TCP: the server it talks to would be the one to use that
    connect(case, PERSONAL, 5005, external=SHADOW_TCP).open(0)
    Connection(inbound(case, SERVER, 80, 5005)).open(1)
    # UDP, in both families
    for index, (server, chosen) in enumerate(((SERVER, SHADOW_UDP), (SERVER6, SHADOW6_UDP))):
        theirs = masquerade(case, PERSONAL, 5005, server, 4000, external=chosen)
        theirs.udp(2 + index, THERE)
        theirs.udp(2.1 + index, BACK)
        mine = inbound(case, server, 4000, 5005)
        mine.udp(2.2 + index, THERE)
        mine.udp(2.3 + index, BACK)
    # beside them, and identifiers of pings, which no forward has
    for index, port in enumerate((4999, 5011)):
        masquerade(case, PERSONAL, port, SERVER, 4000).udp(4 + index, THERE)
    pinged = query_path(case, PERSONAL, 5005)
    pinged.ping(6, THERE)
    pinged.ping(6.1, BACK)


@a_case
def mss_clamp():
    def mss(value, *before):
        return [*before, ("MSS", value)]

    case = Case(
        "mss-clamp",
        "mss-clamp lowers the MSS option of SYNs that pass the port, wherever in the options it "
        "stands, and never raises it; everything else stays.",
        proves=["RFC 4459 section 3.2", "RFC 879"],
        port_lines={"uplink": "mss-clamp = 1200\n"},
        sections=allow("all", "work", "personal"),
    )
    nop = ("NOP", None)
    for index, server in enumerate((SERVER, SERVER6)):
        time = 10 * index
        for step, (before, options, after) in enumerate(
            (
                (1460, [], 1200),
                (1201, [], 1200),
                (1200, [], 1200),
                (536, [], 536),
                (65535, [nop], 1200),  # at an odd place: its bytes count the other way round
                (1460, [("SAckOK", b""), ("Timestamp", (1, 0)), nop, ("WScale", 7)], 1200),
            )
        ):
            connection = connect(case, WORK, 50600 + step, server)
            path = connection.path
            for direction, flags in ((THERE, "S"), (BACK, "SA")):
                makers = [
                    connection.quoted(direction, flags, options=mss(value, *options))
                    for value in (before, after)
                ]
                frame, _ = path.frames(direction, makers[0])
                _, expect = path.frames(direction, makers[1])
                at, to = path.port[direction], path.port[not direction]
                when = time + step / 10 + direction / 100
                case.passes(when, at, frame, to, expect, path.rules[direction])
                connection.next[direction] += 1
            connection.out(time + step / 10 + 0.02, "A")
        # without the option, and in other segments, nothing is added or changed
        connection = connect(case, WORK, 50610, server).open(time + 1)
        connection.out(time + 1.1, "PA", b"x", options=mss(1460))
        connection.back(time + 1.2, "PA", b"x", options=mss(1460))
        # an option that says it is longer, or ends with the header
        bad = (b"\x02\x03\x05\xb4", b"\x02\x05\x05\xb4\x00", b"\x01\x01\x01\x02")
        for step, raw in enumerate(bad):
            frame = from_qube(WORK, server, tcp(50611 + step, 80, "S", options=mss(1460, nop)))
            packet = ip_bytes(frame)
            at = packets.upper_layer(packet)[1] + 20
            packet = packets.summed(packets.with_bytes(packet, at, raw[:8]))
            case.out(time + 2 + step / 10, WORK, ethernet(QUBE_MAC, our_mac("work"), packet))
    # only through that port
    path = between(case, WORK, 50620, PERSONAL.ip, 80, PERSONAL, 80, "policy")
    Connection(path, options=(mss(1460), mss(1460))).open(20)


@a_case
def mss_clamp_mtu():
    case = Case(
        "mss-clamp-mtu",
        "mss-clamp = mtu: the MSS that fits the narrower one of both ports, whichever that is: "
        "1340 for the qube with 1380 bytes, 1360 for the other one; IPv6 20 less.",
        proves=["RFC 4459 section 3.2"],
        port_lines={"uplink": "mss-clamp = mtu\n"},
        options="--mtu uplink=1400 --mtu work=1380 --mtu personal=1500",
    )
    for index, (qube, least) in enumerate(((WORK, 1380), (PERSONAL, 1400))):
        for six, server in ((False, SERVER), (True, SERVER6)):
            connection = connect(case, qube, 50700 + index, server)
            for direction, flags in ((THERE, "S"), (BACK, "SA")):
                makers = [
                    connection.quoted(direction, flags, options=[("MSS", value)])
                    for value in (1460, least - (60 if six else 40))
                ]
                path = connection.path
                frame, _ = path.frames(direction, makers[0])
                _, expect = path.frames(direction, makers[1])
                at, to = path.port[direction], path.port[not direction]
                when = index + six / 2 + direction / 100
                case.passes(when, at, frame, to, expect, path.rules[direction])
                connection.next[direction] += 1
            connection.out(index + six / 2 + 0.02, "A")
