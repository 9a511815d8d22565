# SPDX-License-Identifier: BSD-3-Clause
"""Who may say what on which port."""

from generator.path import *


@a_case
def spoofed():
    case = Case(
        "spoofed",
        "A qube uses its own address only, and nobody on the uplink has an address of ours or of a "
        "qube: silence.",
        proves=["attack: spoofed sources"],
    )
    for index, source in enumerate((PERSONAL.ip, GATEWAY, UPLINK, SERVER, "10.137.0.99")):
        for step, layer in enumerate((tcp(44000, 80, "S"), udp(44000, 53), ping(11))):
            frame = from_qube(WORK, SERVER, layer, source=source)
            if source == SERVER:
                frame[IP].dst = OTHER_SERVER
            case.drop(index + step / 10, "work", frame, "source-address")
    frame = from_qube(WORK, GATEWAY, ping(11), source=PERSONAL.ip)
    case.drop(5, "work", frame, "source-address")
    for index, source in enumerate(
        (PERSONAL.ip6, GATEWAY6, SERVER6, "fe80::216:3eff:fe5e:6c00", "::", "::1")
    ):
        frame = from_qube(WORK, "2001:2::81", udp(44001, 53), source=source)
        case.drop(6 + index / 10, "work", frame, "source-address")
    for index, source in enumerate((WORK.ip, PERSONAL.ip, GATEWAY, UPLINK)):
        for step, destination in enumerate((UPLINK, PERSONAL.ip, SERVER)):
            if source == destination:
                continue
            frame = from_uplink(source, udp(44002, 53), destination=destination, mac=ROUTER_MAC)
            case.drop(7 + index + step / 10, "uplink", frame, "downstream-source")
    # those of qubes are unique local addresses, too, which is the lesser wrong (martians6)
    for index, source in enumerate((WORK.ip6, GATEWAY6, UPLINK6)):
        frame = from_uplink(
            source, udp(44003, 53), destination="2001:2:0:50::99", mac=ROUTER_MAC
        )
        case.drop(12 + index / 10, "uplink", frame, "downstream-source")


@a_case
def no_ipv6():
    case = Case(
        "no-ipv6",
        "A qube without an IPv6 address may send no IPv6 at all.",
        qubes=f"[qube work]\naddress = {WORK.ip}\nmac = {QUBE_MAC}\nrules = work.rules\n"
        f"\n[qube personal]\naddress6 = {PERSONAL.ip6}\nmac = {QUBE_MAC}\nrules = personal.rules\n",
    )
    for index, layer in enumerate((tcp(44010, 80, "S"), udp(44011, 80), ping(12, v6=True))):
        frame = from_qube(WORK, SERVER6, layer)
        case.drop(index / 10, "work", frame, "source-address")
    frame = from_qube(WORK, GATEWAY6, ping(12, v6=True))
    case.drop(0.5, "work", frame, "source-address")
    case.drop(0.6, "work", solicitation(WORK.ip6, GATEWAY6), "source-address")
    case.drop(0.7, "work", solicitation("fe80::216:3eff:fe5e:6c00", GATEWAY6), "source-address")
    case.out(1, WORK, from_qube(WORK, SERVER, tcp(44012, 80, "S")))
    # and the other way round
    case.drop(2, "personal", from_qube(PERSONAL, SERVER, ping(13)), "source-address")
    case.drop(2.1, "personal", arp("personal", 1, PERSONAL.ip, GATEWAY), "arp")
    connect(case, PERSONAL, 44013, SERVER6).open(3)


@a_case
def martians():
    case = Case(
        "martians",
        "Loopback, multicast, broadcast and unspecified addresses never cross the firewall.",
        proves=["attack: martians", "RFC 1812 section 5.3.7"],
    )
    for index, source in enumerate(
        ("127.0.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.2.3", "240.0.0.1", BROADCAST_IP)
    ):
        frame = from_uplink(source, udp(44020, 53), mac=ROUTER_MAC)
        case.drop(index / 10, "uplink", frame, "martian-source")
    for index, source in enumerate(("::", "::1", "ff02::1", "::ffff:203.0.113.9", "::1.2.3.4")):
        frame = from_uplink(source, udp(44021, 53), mac=ROUTER_MAC)
        case.drop(1 + index / 10, "uplink", frame, "martian-source")
    for index, destination in enumerate(
        ("127.0.0.1", "0.0.0.0", "224.0.0.251", "240.0.0.1", BROADCAST_IP, "192.168.50.255")
    ):
        frame = from_qube(WORK, destination, udp(44022, 53))
        # a directed broadcast is only known as one when its way is looked up
        rule = "policy" if destination == "192.168.50.255" else None
        case.drop(2 + index / 10, "work", frame, "martian-destination", rule=rule)
    for index, destination in enumerate(("::", "::1", "ff02::fb", "::ffff:203.0.113.9")):
        frame = from_qube(WORK, destination, udp(44023, 53))
        case.drop(3 + index / 10, "work", frame, "martian-destination")
    for index, destination in enumerate(("127.0.0.1", BROADCAST_IP, "224.0.0.1")):
        frame = from_uplink(SERVER, udp(44024, 53), destination=destination)
        case.drop(4 + index / 10, "uplink", frame, "martian-destination")
    # the noise of every link: mDNS, DHCP, listener reports
    frame = from_qube(WORK, "224.0.0.251", udp(5353, 5353), to_mac="01:00:5e:00:00:fb")
    case.drop(5, "work", frame, "martian-destination")
    frame = from_qube(WORK, BROADCAST_IP, udp(68, 67), source="0.0.0.0", to_mac=BROADCAST)
    case.drop(5.1, "work", frame, "martian-destination")
    options = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0\0\0\0")])
    report = icmp6_raw(WORK.ip6, "ff02::16", bytes([143, 0, 0, 0, 0, 0, 0, 0]))
    options.nh = 58
    frame = from_qube(WORK, "ff02::16", options / report, to_mac="33:33:00:00:00:16")
    case.drop(5.2, "work", frame, "martian-destination")
    frame = from_uplink(ROUTER, udp(67, 68), destination=BROADCAST_IP, to_mac=BROADCAST)
    case.drop(5.3, "uplink", frame, "martian-destination")


@a_case
def martians6():
    case = Case(
        "martians6",
        "IPv6 sources that cannot come across an uplink with a global address: link-local, unique "
        "local, of documentation, mapped, multicast.",
        proves=["attack: martians", "RFC 6092"],
    )
    for index, source in enumerate(
        (
            "fc00::1",
            "fd00::1",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db8::1",
            "2001:db8:ffff::1",
            "3fff::1",
            "3fff:fff::1",
            "fe80::1",
            "febf::1",
            "::ffff:203.0.113.80",
            "ff02::1",
            "::",
            "::1",
        )
    ):
        frame = from_uplink(source, udp(44025, 4000), mac=ROUTER_MAC)
        case.drop(index / 10, "uplink", frame, "martian-source")
        frame = from_uplink(source, udp(44025, 4000), mac=ROUTER_MAC, destination=WORK.ip6)
        case.drop(index / 10 + 0.05, "uplink", frame, "martian-source")
    # right beside them
    for index, source in enumerate(
        ("fbff::1", "fe00::1", "2001:db7:ffff::1", "2001:db9::1", "3ffe::1", "4000::1")
    ):
        frame = from_uplink(source, udp(44025, 4000), mac=ROUTER_MAC)
        case.drop(2 + index / 10, "uplink", frame, "no-flow")
    # a qube may send there: who answers is another matter
    path = masquerade(case, WORK, 44026, "fd00::1", 4000)
    path.udp(3, THERE)
    path.no_udp(3.1, BACK, "martian-source", rule=None)


@a_case
def martians6_local():
    own, router, host = "fd00:50::1", "fd00:50::2", "fd00:50::77"
    case = Case(
        "martians6-local",
        "Where the uplink has a unique local address itself, as behind another network qube, such "
        "sources come in; those of qubes, ours and those of documentation still do not.",
        proves=["attack: martians", "RFC 6092"],
        uplink=f"address = {UPLINK}/24\ngateway = {ROUTER}\ndns = {RESOLVER}\n"
        f"address6 = {own}/64\ngateway6 = {router}\n",
    )
    server = "fd09:1::80"
    path = Path(
        case, "work", "uplink", (WORK.ip6, 44027, server, 4000), (own, 44027, server, 4000),
        "work/policy",
    )
    for direction in (THERE, BACK):
        frame, expect = path.frames(direction, lambda a, b: udp(a, b))
        if direction == THERE:
            expect.dst = neighbour_mac(router)
        at, to = path.port[direction], path.port[not direction]
        case.passes(direction, at, frame, to, expect, path.rules[THERE])
    frame = from_uplink(host, udp(44028, 4000), destination=own)
    case.drop(2, "uplink", frame, "no-flow")
    for index, source in enumerate((WORK.ip6, PERSONAL.ip6, GATEWAY6)):
        frame = from_uplink(source, udp(44028, 4000), destination=own, mac=ROUTER_MAC)
        case.drop(2.1 + index / 10, "uplink", frame, "downstream-source")
    for index, source in enumerate(("2001:db8::1", "3fff::1")):
        frame = from_uplink(source, udp(44028, 4000), destination=own, mac=ROUTER_MAC)
        case.drop(3 + index / 10, "uplink", frame, "martian-source")


@a_case
def land():
    case = Case(
        "land", "Source and destination the same (LAND): dropped.", proves=["attack: LAND"]
    )
    for index, layer in enumerate((tcp(80, 80, "S"), udp(80, 80), ping(14))):
        case.drop(index / 10, "work", from_qube(WORK, WORK.ip, layer), "land")
        frame = from_uplink(SERVER, layer, destination=SERVER)
        case.drop(1 + index / 10, "uplink", frame, "land")
        frame = from_uplink(UPLINK, layer, mac=ROUTER_MAC)
        case.drop(2 + index / 10, "uplink", frame, "land")
    case.drop(3, "work", from_qube(WORK, WORK.ip6, udp(80, 80)), "land")
    case.drop(3.1, "uplink", from_uplink(SERVER6, udp(80, 80), destination=SERVER6), "land")


@a_case
def macs():
    case = Case(
        "macs",
        "Frames for another station are not ours; a qube's frames bear its MAC and no other.",
        proves=["attack: MAC spoofing"],
    )
    # the first frames tell sluice-replay who we are
    case.out(0, WORK, from_qube(WORK, SERVER, udp(44030, 4000)))
    case.back(0.1, WORK, from_uplink(SERVER, udp(4000, 44030)))
    other = "00:16:3e:5e:6c:99"
    case.drop(1, "work", from_qube(WORK, SERVER, udp(44030, 4000), to_mac=other), "other-mac")
    case.drop(1.1, "uplink", from_uplink(SERVER, udp(4000, 44030), to_mac=other), "other-mac")
    case.drop(2, "work", from_qube(WORK, SERVER, udp(44030, 4000), mac=other), "source-mac")
    frame = from_qube(WORK, SERVER, udp(44030, 4000), mac="01:16:3e:5e:6c:00")
    case.drop(2.1, "work", frame, "source-mac")
    frame = from_uplink(SERVER, udp(4000, 44030), mac="01:00:5e:00:00:01")
    case.drop(2.2, "uplink", frame, "source-mac")
    # on the uplink any station may be the last hop
    case.back(3, WORK, from_uplink(SERVER, udp(4000, 44030), mac=other))


@a_case
def mac_learned():
    work_mac, other = "00:16:3e:aa:bb:cc", "00:16:3e:aa:bb:cd"
    case = Case(
        "mac-learned",
        "A qube whose MAC is not configured teaches it with its first valid packet; another one "
        "right behind it comes too late.",
        qubes=f"[qube work]\naddress = {WORK.ip}\nrules = work.rules\n"
        f"\n[qube personal]\naddress = {PERSONAL.ip}\nrules = personal.rules\n",
    )
    # what the guard does not let in teaches nothing
    frame = from_qube(WORK, SERVER, udp(44040, 4000), mac=other, source=PERSONAL.ip)
    case.drop(0, "work", frame, "source-address")
    case.out(0, WORK, from_qube(WORK, SERVER, udp(44040, 4000), mac=work_mac))
    frame = from_qube(WORK, SERVER, udp(44041, 4000), mac=other)
    case.drop(0, "work", frame, "source-mac")
    answer_frame = from_uplink(SERVER, udp(4000, 44040))
    expect = delivered(answer_frame, WORK)
    expect.dst = work_mac
    case.back(1, WORK, answer_frame, expect=expect)
    frame = arp("personal", 1, PERSONAL.ip, GATEWAY, mac=other)
    case.local(2, "personal", frame, arp_reply(frame, "personal"))
    frame = from_qube(PERSONAL, SERVER, udp(44042, 4000))
    case.drop(2.1, "personal", frame, "source-mac")
    case.out(2.2, PERSONAL, from_qube(PERSONAL, SERVER, udp(44042, 4000), mac=other))
