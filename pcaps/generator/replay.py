# SPDX-License-Identifier: BSD-3-Clause
"""Large frames, bursts, and what is about sluice-replay itself: inputs, clocks, stations."""

from generator.path import *


@a_case
def large_frames():
    case = Case(
        "large-frames",
        "Frames of segmentation offload pass as one packet: 60,000 bytes of payload out, the "
        "largest possible packet in.",
    )
    scale = [("MSS", 1460), ("NOP", None), ("WScale", 7)]
    connection = connect(case, WORK, 46000, options=(scale, scale)).open(0)
    connection.out(1, "PA", bytes(i * 7 & 255 for i in range(60000)))
    connection.back(2, "PA", bytes(i * 11 & 255 for i in range(65535 - 40)))


@a_case
def refused_large():
    case = Case(
        "refused-large",
        "A refused frame of 60,000 bytes is quoted as far as an ICMP error may go.",
        rules={"work": "policy=drop\n"},
    )
    data = bytes(i * 7 & 255 for i in range(60000))
    case.refuse(0, WORK, from_qube(WORK, SERVER, udp(46010, 80, data)))
    frame = from_qube(WORK, GATEWAY, ping(19, data=data[:3000]))
    case.local(1, "work", frame, pong(frame, "work"))


@a_case
def bursts():
    case = Case(
        "bursts",
        "Whatever happens within one burst must come out as if the packets had come one by one.",
        rules={"work": "policy=accept\naction=drop proto=udp dstports=99-99\n"},
    )
    # one flow opened twice, refused packets and our own answers between, all in a millisecond
    twice = connect(case, WORK, 46020)
    twice.out(0, "S")
    case.refuse(0, WORK, from_qube(WORK, SERVER, udp(46021, 99)), "rule", "0000")
    case.local(0, "work", ping_gateway(WORK), pong(ping_gateway(WORK), "work"))
    twice.out(0, "S", seq=twice.first[THERE])
    request = arp("work", 1, WORK.ip, GATEWAY)
    case.local(0, "work", request, arp_reply(request, "work"))
    frame = from_qube(WORK, SERVER, udp(46022, 80), source=OTHER_SERVER)
    case.drop(0, "work", frame, "source-address")
    case.refuse(0, WORK, from_qube(WORK, SERVER, udp(46023, 99)), "rule", "0000")
    case.out(0, WORK, from_qube(WORK, SERVER, udp(46024, 98)))
    case.out(0, WORK, from_qube(WORK, SERVER, udp(46024, 98)))
    frame = from_qube(WORK, SERVER, udp(46024, 98), ttl=1)
    case.drop(0, "work", frame, "time-exceeded", rule="policy", answer=time_exceeded(frame, "work"))
    twice.no_out(0, "A", "tcp-state")
    case.local(0, "work", ping_gateway(WORK, 6), pong(ping_gateway(WORK, 6), "work"))
    # a whole connection from one side in one burst
    for flags in ("SA", "A", "RA", "A"):
        twice.back(1, flags)
    # the end of one connection and a new one on its ports
    old = connect(case, WORK, 46030).open(2).close(3)
    new = connect(case, WORK, 46030, first=5000)
    old.out(4, "A")
    new.out(4, "S")
    new.out(4, "S", seq=5000)
    # the end of one connection, a new one that fails, and another flow in its place
    old = connect(case, WORK, 46031).open(5).close(6)
    new = connect(case, WORK, 46031, first=5000)
    old.out(7, "A")
    new.no_out(7, "S", "time-exceeded", rule=None, answer=time_exceeded, ttl=1)
    case.out(7, WORK, from_qube(WORK, OTHER_SERVER, tcp(46032, 8080, "S")))
    case.out(7, WORK, from_qube(WORK, OTHER_SERVER, udp(46033, 8081)))
    old.no_out(7, "A", "tcp-state", rule=None)
    # more packets than fit one burst, of one flow and of many
    for index in range(100):
        frame = from_qube(WORK, SERVER, udp(46100 + index % 3 * index, 4000, b"%d" % index))
        case.out(8, WORK, frame)


@a_case
def merge():
    case = Case(
        "merge",
        "Inputs are merged by time; of the same time, the input named first goes first. One port "
        "may have several.",
    )
    case.out(0, WORK, from_qube(WORK, SERVER, udp(46200, 4000, b"1")))
    case.back(0.5, WORK, from_uplink(SERVER, udp(4000, 46200, b"2")))
    case.out(0.25, PERSONAL, from_qube(PERSONAL, SERVER, udp(46201, 4000, b"3")))
    frame = from_qube(WORK, SERVER, udp(46202, 4000, b"4"))
    case.add(
        0.125,
        "work",
        frame,
        [("uplink", masqueraded(frame))],
        file="in-work.2",
        verdict="forward",
        out="uplink",
        rule="work/policy",
    )
    for number in range(5, 9):
        frame = from_qube(WORK, SERVER, udp(46200 + number, 4000, b"%d" % number))
        case.add(
            1,
            "work",
            frame,
            [("uplink", masqueraded(frame))],
            file="in-work.2" if number % 2 else "in-work",
            verdict="forward",
            out="uplink",
            rule="work/policy",
        )
    case.out(1, PERSONAL, from_qube(PERSONAL, SERVER, udp(46209, 4000, b"9")))
    case.back(1, WORK, from_uplink(SERVER, udp(4000, 46200, b"10")))


@a_case
def clock_backwards():
    case = Case(
        "clock-backwards",
        "A clock that was set back does not confuse timers: replayed time stands still until the "
        "captured one has caught up.",
    )
    case.format["in-work"] = "pcap-unsorted"
    case.out(1000, WORK, from_qube(WORK, SERVER, udp(46300, 4000)))
    case.out(1010, WORK, from_qube(WORK, SERVER, udp(46301, 4000)))
    case.out(500, WORK, from_qube(WORK, SERVER, udp(46300, 4000)))
    case.out(1100, WORK, from_qube(WORK, SERVER, udp(46302, 4000)))
    # 46300 was last heard of at 1010 by the clock that counts: 119 s and 124 s later
    case.back(1129, WORK, from_uplink(SERVER, udp(4000, 46300)))
    case.drop(1134, "uplink", from_uplink(SERVER, udp(4000, 46301)), "no-flow")


@a_case
def long_silence():
    case = Case(
        "long-silence",
        "Weeks of silence between packets: all flows have ended, new ones work as ever.",
    )
    day = 86400
    for index in range(4):
        start = index * 60 * day
        connection = connect(case, WORK, 46400).open(start)
        connection.no_back(start + 30 * day, "PA", "no-flow", b"late")


@a_case
def file_formats():
    case = Case(
        "file-formats",
        "A pcapng with microseconds, a big-endian pcap and one with nanoseconds, merged; the "
        "outputs keep the nanoseconds.",
    )
    case.format.update({"in-work": "pcapng", "in-uplink": "pcap-ns", "in-personal": "pcap-be"})
    case.resolution = 1
    case.out(0, WORK, from_qube(WORK, SERVER, udp(46500, 4000)))
    case.back(0.010000123, WORK, from_uplink(SERVER, udp(4000, 46500)))
    case.out(0.02, PERSONAL, from_qube(PERSONAL, SERVER, udp(46501, 4000)))


@a_case
def live_capture():
    case = Case(
        "live-capture",
        "Captures of live links hold both directions and other MACs: the port's own is found by "
        "the addresses in them, and what it sent itself is skipped.",
    )
    vif, nic = "fe:ff:ff:ff:ff:ff", "00:1b:21:aa:bb:cc"
    noise = from_qube(WORK, "224.0.0.251", udp(5353, 5353), to_mac="01:00:5e:00:00:fb")
    case.drop(0, "work", noise, "martian-destination")
    # what the firewall of then sent to the qube comes first
    stale = from_uplink(SERVER, udp(4000, 46599), destination=WORK.ip)
    stale.src, stale.dst = vif, QUBE_MAC
    case.add(0.1, "work", stale, verdict="skip")
    sent = from_qube(WORK, SERVER, udp(46600, 4000), to_mac=vif)
    expect = masqueraded(sent)
    expect.src = nic
    case.out(1, WORK, sent, expect=expect)
    frame = masqueraded(sent)
    frame.src = nic
    case.add(1.001, "uplink", frame, verdict="skip")
    reply = from_uplink(SERVER, udp(4000, 46600), to_mac=nic)
    expect = delivered(reply, WORK)
    expect.src = vif
    case.back(1.02, WORK, reply, expect=expect)
    frame = delivered(reply, WORK)
    frame.src = vif
    case.add(1.021, "work", frame, verdict="skip")
    other = from_uplink(SERVER, udp(4000, 46600), to_mac="00:1b:21:aa:bb:cd")
    case.drop(2, "uplink", other, "other-mac")
