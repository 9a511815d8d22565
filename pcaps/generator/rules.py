# SPDX-License-Identifier: BSD-3-Clause
"""What rules and policies decide, and what the refused hear."""

from generator.case import *


@a_case
def rules_refused():
    case = Case(
        "rules-refused",
        "What the rules or the policy refuse is answered at once with 3/13 (IPv6 1/1) from the "
        "gateway, for every protocol.",
        rules={
            "work": "policy=drop\n"
            "action=drop dst4=203.0.113.66/32\n"
            "action=accept dst4=203.0.113.0/24 proto=tcp dstports=80-80\n"
            "action=accept dst6=2001:2::/64 proto=udp dstports=4000-4010\n"
            "action=accept proto=icmp icmptype=8\n"
        },
    )
    case.out(0, WORK, from_qube(WORK, SERVER, tcp(43000, 80, "S")), rule="0001")
    case.refuse(0.1, WORK, from_qube(WORK, SERVER, tcp(43001, 81, "S")))
    case.refuse(0.2, WORK, from_qube(WORK, SERVER, udp(43002, 80)))
    case.refuse(0.3, WORK, from_qube(WORK, "198.51.100.1", tcp(43003, 80, "S")))
    case.refuse(0.4, WORK, from_qube(WORK, "203.0.113.66", tcp(43004, 80, "S")), "rule", "0000")
    case.refuse(0.5, WORK, from_qube(WORK, "203.0.113.66", ping(1)), "rule", "0000")
    case.out(0.6, WORK, from_qube(WORK, SERVER, ping(1)), rule="0003")
    case.refuse(0.7, WORK, from_qube(WORK, SERVER, stamp(13, 2)))
    case.refuse(0.8, WORK, from_qube(WORK, SERVER, Raw(bytes(24)), proto=47))
    # the quotation ends at 576 bytes, and takes options with it
    case.refuse(1, WORK, from_qube(WORK, SERVER, udp(43005, 80, bytes(range(256)) * 4)))
    frame = from_qube(WORK, SERVER, udp(43006, 80), options=[IPOption_Router_Alert()])
    case.refuse(1.1, WORK, frame)

    case.out(2, WORK, from_qube(WORK, SERVER6, udp(43007, 4000)), rule="0002")
    case.refuse(2.1, WORK, from_qube(WORK, SERVER6, udp(43008, 3999)))
    case.refuse(2.2, WORK, from_qube(WORK, SERVER6, tcp(43009, 4000, "S")))
    case.refuse(2.3, WORK, from_qube(WORK, SERVER6, ping(3, v6=True)))  # type 128
    case.refuse(2.4, WORK, from_qube(WORK, SERVER6, Raw(bytes(24)), nh=47))
    case.refuse(2.5, WORK, from_qube(WORK, SERVER6, udp(43010, 80, bytes(range(256)) * 6)))
    # a refusal opens nothing
    case.drop(3, "uplink", from_uplink(SERVER, udp(80, 43002)), "no-flow")


@a_case
def rules_order():
    case = Case(
        "rules-order",
        "The first rule that matches decides; host bits of a prefix do not count; port ranges "
        "include both ends; both families share a file.",
        rules={
            "work": "# a comment\n"
            "policy=drop\n"
            "action=accept dst4=203.0.113.81/32 proto=tcp dstports=443-443\n"
            "action=drop dst4=203.0.113.81/30\n"
            "action=accept dst4=203.0.113.77/24 proto=tcp dstports=1000-2000\n"
            "\n"
            "action=accept dst4=203.0.113.0/24 proto=tcp dstports=443\n"
            "action=drop dst6=2001:2::80/128 proto=tcp dstports=0-1023\n"
            "action=accept dst6=2001:2::/32 proto=tcp\n"
        },
    )
    case.out(0, WORK, from_qube(WORK, OTHER_SERVER, tcp(43020, 443, "S")), rule="0000")
    case.refuse(0.1, WORK, from_qube(WORK, "203.0.113.82", tcp(43021, 443, "S")), "rule", "0001")
    case.refuse(0.2, WORK, from_qube(WORK, "203.0.113.83", tcp(43022, 1500, "S")), "rule", "0001")
    case.out(0.3, WORK, from_qube(WORK, "203.0.113.84", tcp(43023, 1000, "S")), rule="0002")
    case.out(0.4, WORK, from_qube(WORK, "203.0.113.255", tcp(43024, 2000, "S")), rule="0002")
    case.refuse(0.5, WORK, from_qube(WORK, "203.0.113.84", tcp(43025, 999, "S")))
    case.refuse(0.6, WORK, from_qube(WORK, "203.0.113.84", tcp(43026, 2001, "S")))
    case.refuse(0.7, WORK, from_qube(WORK, "203.0.114.84", tcp(43027, 1500, "S")))
    case.out(0.8, WORK, from_qube(WORK, "203.0.113.84", tcp(43028, 443, "S")), rule="0003")
    case.refuse(1, WORK, from_qube(WORK, SERVER6, tcp(43029, 1023, "S")), "rule", "0004")
    case.out(1.1, WORK, from_qube(WORK, SERVER6, tcp(43030, 1024, "S")), rule="0005")
    case.out(1.2, WORK, from_qube(WORK, "2001:2::81", tcp(43031, 80, "S")), rule="0005")
    case.refuse(1.3, WORK, from_qube(WORK, "2001:3::80", tcp(43032, 1024, "S")))


@a_case
def rules_accept():
    case = Case(
        "rules-accept",
        "policy=accept with exceptions; an empty set of rules accepts all.",
        rules={"work": "policy=accept\naction=drop proto=tcp dstports=25-25\n"},
    )
    case.out(0, WORK, from_qube(WORK, SERVER, tcp(43040, 80, "S")))
    case.refuse(0.1, WORK, from_qube(WORK, SERVER, tcp(43041, 25, "S")), "rule", "0000")
    case.out(0.2, WORK, from_qube(WORK, SERVER, udp(43042, 25)))
    case.out(0.3, PERSONAL, from_qube(PERSONAL, SERVER, tcp(43043, 25, "S")))
    case.refuse(0.4, WORK, from_qube(WORK, SERVER6, tcp(43044, 25, "S")), "rule", "0000")


@a_case
def rules_bad():
    case = Case(
        "rules-bad",
        "A bad rule refuses everything from its qube, with an answer; other qubes do not notice.",
        rules={
            "work": "policy=accept\naction=accept\naction=accept proto=tcp dstports=80443-80443\n"
        },
    )
    for index, layer in enumerate((tcp(43050, 80, "S"), udp(43051, 80), ping(4))):
        frame = from_qube(WORK, SERVER, layer)
        case.drop(index / 10, "work", frame, "bad-rules", answer=prohibited(frame, "work"))
    frame = from_qube(WORK, VIRTUAL_DNS[0], dns_packet(43052, 53, query()))
    case.drop(0.5, "work", frame, "bad-rules", answer=prohibited(frame, "work"))
    frame = from_qube(WORK, SERVER6, tcp(43053, 80, "S"))
    case.drop(0.6, "work", frame, "bad-rules", answer=prohibited(frame, "work"))
    # what is not for the rules to decide goes on
    case.local(0.7, "work", ping_gateway(WORK), pong(ping_gateway(WORK), "work"))
    case.out(1, PERSONAL, from_qube(PERSONAL, SERVER, tcp(43050, 80, "S")))


@a_case
def rules_none():
    case = Case(
        "rules-none",
        "A qube without rules is not answered, whatever it sends.",
        rules={"work": None},
    )
    for index, layer in enumerate((tcp(43060, 80, "S"), udp(43061, 80), ping(6))):
        case.drop(index / 10, "work", from_qube(WORK, SERVER, layer), "no-rules")
    case.drop(0.5, "work", from_qube(WORK, SERVER6, udp(43062, 80)), "no-rules")
    frame = from_qube(WORK, PERSONAL.ip, tcp(43063, 80, "S"))
    case.drop(0.6, "work", frame, "no-rules")
    # not even about a hop limit that ran out
    case.drop(0.7, "work", from_qube(WORK, SERVER, udp(43064, 80), ttl=1), "no-rules")
    case.out(1, PERSONAL, from_qube(PERSONAL, SERVER, tcp(43060, 80, "S")))


@a_case
def inter_qube():
    case = Case(
        "inter-qube",
        "Towards another qube: accepted by the rules means dropped in silence, refused means 3/13; "
        "nothing reaches the other qube.",
        rules={"personal": "policy=drop\naction=accept proto=tcp dstports=80-80\n"},
    )
    frame = from_qube(WORK, PERSONAL.ip, tcp(43070, 80, "S"))
    case.drop(0, "work", frame, "inter-qube", rule="policy")
    case.drop(0.1, "work", from_qube(WORK, PERSONAL.ip, ping(7)), "inter-qube", rule="policy")
    frame = from_qube(WORK, PERSONAL.ip6, udp(43071, 4000))
    case.drop(0.2, "work", frame, "inter-qube", rule="policy")
    frame = from_qube(PERSONAL, WORK.ip, tcp(43072, 80, "S"))
    case.drop(0.3, "personal", frame, "inter-qube", rule="0000")
    case.refuse(0.4, PERSONAL, from_qube(PERSONAL, WORK.ip, tcp(43073, 81, "S")))
    case.refuse(0.5, PERSONAL, from_qube(PERSONAL, WORK.ip6, tcp(43074, 81, "S")))
