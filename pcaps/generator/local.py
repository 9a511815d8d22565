# SPDX-License-Identifier: BSD-3-Clause
"""What is addressed to the firewall: services, ARP, neighbour discovery, strangers."""

from generator.case import *


@a_case
def gateway_services():
    case = Case(
        "gateway-services",
        "The gateway answers ping, refuses other TCP and UDP with 3/10 (IPv6 1/1), and is silent "
        "to DHCP replies; the rules have no say.",
        rules={"work": "policy=drop\n"},
    )
    for index, qube in enumerate((WORK, PERSONAL)):
        frame = ping_gateway(qube, tos=0x10, id=0x4321)
        case.local(index, qube.name, frame, pong(frame, qube.name))
        frame = from_qube(qube, GATEWAY6, ping(8, v6=True), tc=0x20)
        case.local(index + 0.1, qube.name, frame, pong(frame, qube.name))
        # a hop limit of 1 is enough: it is not forwarded
        frame = ping_gateway(qube, ttl=1)
        case.local(index + 0.2, qube.name, frame, pong(frame, qube.name))
        for step, layer in enumerate((tcp(43080, 22, "S"), udp(43081, 123), tcp(43082, 53, "S"))):
            for six in (False, True):
                frame = from_qube(qube, GATEWAY6 if six else GATEWAY, layer)
                case.drop(
                    index + 0.3 + step / 100 + six / 1000,
                    qube.name,
                    frame,
                    "local-refused",
                    answer=host_prohibited(frame, qube.name),
                )
        case.drop(index + 0.4, qube.name, from_qube(qube, GATEWAY, udp(67, 68)), "local-ignored")
    # long pings are answered whole
    frame = from_qube(WORK, GATEWAY, ping(9, data=bytes(range(256)) * 5))
    case.local(3, "work", frame, pong(frame, "work"))
    # nobody opens flows to the gateway
    frame = from_qube(WORK, GATEWAY, ping(9, reply=True))
    case.drop(4, "work", frame, "local-ignored")


@a_case
def uplink_unsolicited():
    case = Case(
        "uplink-unsolicited",
        "Whoever comes from the uplink uninvited, to us or to a qube, hears nothing.",
        proves=["RFC 5382 REQ-4", "RFC 4787 REQ-8", "RFC 6092"],
    )
    time = 0
    for destination in (UPLINK, WORK.ip, GATEWAY, VIRTUAL_DNS[0], "198.51.100.7"):
        for layer in (
            tcp(50000, 22, "S"),
            tcp(50000, 22, "SA"),
            tcp(50000, 22, "A"),
            tcp(50000, 22, "R"),
            udp(50000, 53),
            ping(10),
            ping(10, reply=True),
        ):
            time += 0.01
            frame = from_uplink(SERVER, layer, destination=destination)
            case.drop(time, "uplink", frame, "no-flow")
    for destination in (UPLINK6, WORK.ip6, GATEWAY6):
        for layer in (tcp(50000, 22, "S"), udp(50000, 53), ping(10, v6=True)):
            time += 0.01
            frame = from_uplink(SERVER6, layer, destination=destination)
            case.drop(time, "uplink", frame, "no-flow")
    # a hop limit of 1 makes no difference
    case.drop(2, "uplink", from_uplink(SERVER, udp(50000, 33434), ttl=1), "no-flow")


@a_case
def arp_qubes():
    case = Case(
        "arp-qubes",
        "Proxy ARP: to a qube every address but its own is at our MAC. Duplicate address detection "
        "and announcements are not answered; senders must be who they are.",
        proves=["attack: ARP spoofing"],
    )
    for index, target in enumerate((GATEWAY, "10.137.0.99", SERVER, VIRTUAL_DNS[0])):
        for step, qube in enumerate((WORK, PERSONAL)):
            frame = arp(qube.name, 1, qube.ip, target)
            case.local(index + step / 10, qube.name, frame, arp_reply(frame, qube.name))
    # asked of us alone, and with the padding of a real NIC
    frame = arp("work", 1, WORK.ip, GATEWAY, to_mac=our_mac("work"))
    case.local(4, "work", bytes(frame) + bytes(18), arp_reply(frame, "work"))
    frame = arp("work", 1, "0.0.0.0", WORK.ip)
    case.drop(5, "work", frame, "local-ignored")
    case.local(5.1, "work", arp("work", 1, WORK.ip, WORK.ip))  # announcement
    case.local(5.2, "work", arp("work", 2, WORK.ip, WORK.ip))
    frame = arp("work", 2, WORK.ip, GATEWAY, to_mac=our_mac("work"))
    case.local(5.3, "work", frame)
    for index, frame in enumerate(
        (
            arp("work", 1, PERSONAL.ip, GATEWAY),  # another qube's address
            arp("work", 1, GATEWAY, "10.137.0.99"),  # ours
            arp("work", 2, GATEWAY, GATEWAY),
            arp("work", 1, WORK.ip, GATEWAY, hwsrc="00:16:3e:5e:6c:01"),  # another MAC inside
            arp("work", 3, WORK.ip, GATEWAY),  # RARP
            arp("work", 1, WORK.ip, GATEWAY, hwtype=6),
            arp("work", 1, WORK.ip, GATEWAY, ptype=0x86DD),
            arp("work", 1, WORK.ip, GATEWAY, hwlen=8),
            bytes(arp("work", 1, WORK.ip, GATEWAY))[:40],
            bytes(arp("work", 1, WORK.ip, GATEWAY))[:14],
        )
    ):
        case.drop(6 + index / 10, "work", frame, "arp")
    frame = arp("work", 1, WORK.ip, GATEWAY, mac="00:16:3e:5e:6c:01")
    case.drop(8, "work", frame, "source-mac")


@a_case
def arp_uplink():
    case = Case(
        "arp-uplink",
        "On the uplink only our own address is ours; who claims an address of ours or of a qube "
        "is not believed.",
        proves=["attack: ARP spoofing"],
    )
    frame = arp("uplink", 1, ROUTER, UPLINK, mac=ROUTER_MAC)
    case.local(0, "uplink", frame, arp_reply(frame, "uplink"))
    for index, target in enumerate((LOCAL_HOST, WORK.ip, GATEWAY)):
        frame = arp("uplink", 1, ROUTER, target, mac=ROUTER_MAC)
        case.drop(1 + index / 10, "uplink", frame, "local-ignored")
    for index, sender in enumerate((UPLINK, WORK.ip, GATEWAY)):
        frame = arp("uplink", 1, sender, UPLINK, mac=ROUTER_MAC)
        case.drop(2 + index / 10, "uplink", frame, "arp")
        frame = arp("uplink", 2, sender, sender, mac=ROUTER_MAC)
        case.drop(2.5 + index / 10, "uplink", frame, "arp")
    frame = arp("uplink", 2, ROUTER, UPLINK, mac=ROUTER_MAC, to_mac=our_mac("uplink"))
    case.local(3, "uplink", frame)
    # a qube's traffic still goes where it went
    case.out(4, WORK, from_qube(WORK, SERVER, udp(43090, 4000)))


@a_case
def nd_qubes():
    case = Case(
        "nd-qubes",
        "Proxy neighbour discovery for qubes; duplicate address detection is not answered; router "
        "advertisements, redirects and anything that came over a router are dropped.",
        proves=["RFC 4861 section 7.1", "RFC 4890 section 4.3"],
    )
    for index, target in enumerate((GATEWAY6, "fd09:24ef:4179::a89:99", SERVER6)):
        frame = solicitation(WORK.ip6, target)
        case.local(index / 10, "work", frame, advertisement(frame, "work"))
    # unicast, as a probe of reachability
    frame = solicitation(WORK.ip6, GATEWAY6, to=(GATEWAY6, our_mac("work")))
    case.local(1, "work", frame, advertisement(frame, "work"))
    # from its link-local address, as Linux asks on occasion
    frame = solicitation("fe80::216:3eff:fe5e:6c00", GATEWAY6)
    case.local(1.1, "work", frame, advertisement(frame, "work"))
    case.drop(2, "work", solicitation("::", WORK.ip6), "local-ignored")
    case.drop(2.1, "work", solicitation("::", "fe80::216:3eff:fe5e:6c00"), "local-ignored")
    case.drop(2.2, "work", solicitation(WORK.ip6, WORK.ip6), "local-ignored")
    all_routers = Ether(src=QUBE_MAC, dst="33:33:00:00:00:02") / IPv6(
        src="fe80::216:3eff:fe5e:6c00", dst="ff02::2", hlim=255
    )
    case.drop(2.3, "work", all_routers / ICMPv6ND_RS(), "local-ignored")
    all_nodes = Ether(src=QUBE_MAC, dst="33:33:00:00:00:01") / IPv6(
        src="fe80::216:3eff:fe5e:6c00", dst="ff02::1", hlim=255
    )
    case.drop(3, "work", all_nodes / ICMPv6ND_RA(), "neighbour-discovery")
    frame = all_nodes / ICMPv6ND_Redirect(tgt=WORK.ip6, dst=SERVER6)
    case.drop(3.1, "work", frame, "neighbour-discovery")
    frame = solicitation(WORK.ip6, GATEWAY6, hop_limit=64)
    case.drop(3.2, "work", frame, "neighbour-discovery")
    frame = solicitation(WORK.ip6, GATEWAY6)
    frame[ICMPv6ND_NS].code = 1
    case.drop(3.3, "work", frame, "neighbour-discovery")
    frame = solicitation(WORK.ip6, GATEWAY6, link="00:16:3e:5e:6c:01")
    case.drop(3.4, "work", frame, "neighbour-discovery")
    frame = solicitation(WORK.ip6, GATEWAY6)
    frame[ICMPv6NDOptSrcLLAddr].len = 0
    case.drop(3.5, "work", frame, "neighbour-discovery")
    frame = solicitation(WORK.ip6, GATEWAY6)
    frame[ICMPv6NDOptSrcLLAddr].len = 9
    case.drop(3.6, "work", frame, "neighbour-discovery")
    frame = Ether(src=QUBE_MAC, dst=our_mac("work")) / IPv6(
        src=WORK.ip6, dst=GATEWAY6, hlim=255, nh=58
    )
    message = bytes([135, 0, 0, 0]) + bytes(12)  # ends within the target
    case.drop(3.7, "work", frame / icmp6_raw(WORK.ip6, GATEWAY6, message), "neighbour-discovery")
    case.drop(3.8, "work", solicitation(WORK.ip6, "ff02::1"), "neighbour-discovery")
    case.drop(4, "work", solicitation(PERSONAL.ip6, GATEWAY6), "source-address")
    frame = solicitation(WORK.ip6, GATEWAY6, mac="00:16:3e:5e:6c:01")
    case.drop(4.1, "work", frame, "source-mac")
    # what qubes say of themselves is heard
    frame = all_nodes / ICMPv6ND_NA(R=0, S=0, O=1, tgt=WORK.ip6)
    frame[IPv6].src = WORK.ip6
    case.local(5, "work", frame / ICMPv6NDOptDstLLAddr(lladdr=QUBE_MAC))


@a_case
def nd_uplink():
    case = Case(
        "nd-uplink",
        "On the uplink we answer solicitations for our own address only, and believe nobody who "
        "speaks for an address of ours or of a qube.",
        proves=["RFC 4861 section 7.1", "RFC 4890 section 4.3"],
    )
    frame = solicitation(ROUTER6, UPLINK6, mac=ROUTER_MAC)
    case.local(0, "uplink", frame, advertisement(frame, "uplink"))
    for index, target in enumerate((LOCAL_HOST6, WORK.ip6, GATEWAY6)):
        frame = solicitation(ROUTER6, target, mac=ROUTER_MAC)
        case.drop(1 + index / 10, "uplink", frame, "local-ignored")
    case.drop(2, "uplink", solicitation("::", UPLINK6, mac=ROUTER_MAC), "local-ignored")
    for index, sender in enumerate((UPLINK6, WORK.ip6, GATEWAY6)):
        frame = solicitation(sender, UPLINK6, mac=ROUTER_MAC)
        case.drop(3 + index / 10, "uplink", frame, "neighbour-discovery")
    other = "02:00:5e:00:53:01"
    frame = solicitation(ROUTER6, UPLINK6, mac=other, hop_limit=254)
    case.drop(4, "uplink", frame, "neighbour-discovery")
    # what the router said of itself counts, and nothing that was said in its name or ours
    frame = from_qube(WORK, SERVER6, udp(43091, 4000))
    expect = masqueraded(frame)
    expect.dst = ROUTER_MAC
    case.out(5, WORK, frame, expect=expect)
