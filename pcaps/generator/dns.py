# SPDX-License-Identifier: BSD-3-Clause
"""Virtual DNS addresses and the resolvers behind them."""

from generator.chosen import ONE_SOCKET_PORT
from generator.path import *
from scapy.layers.dns import DNSRROPT

DNS_RULES = {"work": "policy=drop\naction=accept specialtarget=dns\n"}


@a_case
def dns_two_virtual():
    case = Case(
        "dns-two-virtual",
        "Two virtual DNS addresses, one resolver: both lead to it, UDP and TCP, and answers come "
        "from the address that was asked. 30 s after the answer the flow is gone.",
        rules=DNS_RULES,
    )
    for index, virtual in enumerate(VIRTUAL_DNS):
        port = 42000 + index
        frame = from_qube(WORK, virtual, dns_packet(port, 53, query()))
        case.out(index, WORK, frame, rule="0000", destination=RESOLVER)
        frame = from_uplink(RESOLVER, dns_packet(53, port, answer()), ttl=64)
        case.back(index + 0.02, WORK, frame, rule="0000", source=virtual)
        path = Path(
            case,
            "work",
            "uplink",
            (WORK.ip, port, virtual, 53),
            (UPLINK, port, RESOLVER, 53),
            "work/0000",
        )
        Connection(path).open(index + 0.1)
    frame = from_uplink(RESOLVER, dns_packet(53, 42000, answer()), ttl=64)
    case.drop(34, "uplink", frame, "no-flow")
    # specialtarget=dns is DNS at a virtual address: not the resolver itself, not another port
    case.refuse(40, WORK, from_qube(WORK, RESOLVER, dns_packet(42002, 53, query())))
    case.refuse(41, WORK, from_qube(WORK, VIRTUAL_DNS[0], udp(42003, 5353)))
    case.refuse(42, WORK, from_qube(WORK, VIRTUAL_DNS[0], ping(9)))
    case.refuse(43, WORK, from_qube(WORK, "10.139.1.3", dns_packet(42004, 53, query())))


@a_case
def dns_one_socket():
    case = Case(
        "dns-one-socket",
        "A resolver library asks both virtual addresses from one port, and one resolver stands "
        "behind them: the second question gets a port of its own, and so its answer its way back.",
        rules=DNS_RULES,
    )
    first = from_qube(WORK, VIRTUAL_DNS[0], dns_packet(42040, 53, query()))
    case.out(0, WORK, first, rule="0000", destination=RESOLVER)
    second = from_qube(WORK, VIRTUAL_DNS[1], dns_packet(42040, 53, query()))
    case.out(0, WORK, second, rule="0000", destination=RESOLVER, source_port=ONE_SOCKET_PORT)
    frame = from_uplink(RESOLVER, dns_packet(53, 42040, answer()), ttl=64)
    case.back(0.02, WORK, frame, rule="0000", source=VIRTUAL_DNS[0])
    frame = from_uplink(RESOLVER, dns_packet(53, ONE_SOCKET_PORT, answer()), ttl=64)
    case.back(0.03, WORK, frame, rule="0000", source=VIRTUAL_DNS[1], destination_port=42040)


def dns_uplink(resolvers):
    return (
        f"address = {UPLINK}/24\ngateway = {ROUTER}\n"
        + (f"dns = {resolvers}\n" if resolvers else "")
        + f"address6 = {UPLINK6}/64\ngateway6 = {ROUTER6}\n"
    )


@a_case
def dns_two_resolvers():
    case = Case(
        "dns-two-resolvers",
        "Virtual address i leads to resolver i modulo their number: here two of each.",
        uplink=dns_uplink(f"{RESOLVER} 203.0.113.53"),
    )
    for index, (virtual, resolver) in enumerate(zip(VIRTUAL_DNS, (RESOLVER, "203.0.113.53"))):
        frame = from_qube(WORK, virtual, dns_packet(42010, 53, query()))
        case.out(index, WORK, frame, destination=resolver)
        frame = from_uplink(resolver, dns_packet(53, 42010, answer()))
        case.back(index + 0.02, WORK, frame, source=virtual)
        # the other resolver was not asked by this address
    frame = from_uplink("203.0.113.54", dns_packet(53, 42010, answer()))
    case.drop(3, "uplink", frame, "no-flow")


@a_case
def dns_one_virtual():
    case = Case(
        "dns-one-virtual",
        "One virtual DNS address, two resolvers: the first one is used.",
        uplink=dns_uplink(f"203.0.113.53 {RESOLVER}"),
        gateway=f"address = {GATEWAY}\naddress6 = {GATEWAY6}\ndns = {VIRTUAL_DNS[0]}\n",
    )
    frame = from_qube(WORK, VIRTUAL_DNS[0], dns_packet(42020, 53, query()))
    case.out(0, WORK, frame, destination="203.0.113.53")
    frame = from_uplink("203.0.113.53", dns_packet(53, 42020, answer()))
    case.back(0.02, WORK, frame, source=VIRTUAL_DNS[0])
    # the second address is an ordinary one now
    case.out(1, WORK, from_qube(WORK, VIRTUAL_DNS[1], dns_packet(42021, 53, query())))


@a_case
def dns_no_resolver():
    case = Case(
        "dns-no-resolver",
        "No resolver is known: DNS to a virtual address is dropped in silence.",
        uplink=dns_uplink(""),
    )
    frame = from_qube(WORK, VIRTUAL_DNS[0], dns_packet(42030, 53, query()))
    case.drop(0, "work", frame, "no-resolver")
    frame = from_qube(WORK, VIRTUAL_DNS[1], tcp(42030, 53, "S"))
    case.drop(1, "work", frame, "no-resolver")
    case.out(2, WORK, from_qube(WORK, SERVER, dns_packet(42030, 53, query())))


@a_case
def dns_rules():
    case = Case(
        "dns-rules",
        "Rules see the resolver, not the virtual address: a rule for the one matches, a rule for "
        "the other does not. A refusal quotes the packet as the qube sent it.",
        rules={
            "work": "policy=drop\n"
            f"action=drop dst4={VIRTUAL_DNS[0]}/32\n"
            f"action=accept dst4={RESOLVER}/32 proto=udp dstports=53-53\n",
            "personal": f"policy=accept\naction=drop specialtarget=dns proto=udp\n",
        },
    )
    frame = from_qube(WORK, VIRTUAL_DNS[0], dns_packet(42040, 53, query()))
    case.out(0, WORK, frame, rule="0001", destination=RESOLVER)
    case.refuse(1, WORK, from_qube(WORK, VIRTUAL_DNS[0], tcp(42041, 53, "S")))
    case.refuse(2, WORK, from_qube(WORK, VIRTUAL_DNS[0], udp(42042, 54)), "rule", "0000")
    frame = from_qube(PERSONAL, VIRTUAL_DNS[1], dns_packet(42043, 53, query()))
    case.refuse(3, PERSONAL, frame, "rule", "0000")
    frame = from_qube(PERSONAL, VIRTUAL_DNS[1], tcp(42043, 53, "S"))
    case.out(4, PERSONAL, frame, destination=RESOLVER)


def names_answer(number, name, records, kind="A"):
    """An answer as resolvers give it: aliases first, with EDNS."""
    answers = None
    for owner, type, ttl, data in records:
        record = DNSRR(rrname=owner, type=type, ttl=ttl, rdata=data)
        answers = record if answers is None else answers / record
    return DNS(
        id=number,
        qr=1,
        ra=1,
        rd=1,
        qd=DNSQR(qname=name, qtype=kind),
        ancount=len(records),
        an=answers,
        ar=DNSRROPT(rclass=1232),
    )


@a_case
def dns_names():
    host, shop = "www.example.org", "shop.example"
    other = "203.0.113.81"
    case = Case(
        "dns-names",
        "A name in rules has the addresses that a resolver has just told the qube: by way of "
        "aliases, several at once, IPv6 too. They open flows until their TTL and 60 s are over; "
        "open flows go on. What nobody asked for counts for nothing.",
        rules={
            "work": "policy=drop\n"
            "action=accept specialtarget=dns\n"
            f"action=accept dsthost={host} proto=tcp dstports=443-443\n"
            "action=accept dsthost=a..b\n"
            f"action=drop dsthost={shop} proto=udp\n"
            f"action=accept dsthost={shop}\n"
        },
    )

    def ask(time, number, name, kind="A"):
        message = DNS(id=number, rd=1, qd=DNSQR(qname=name, qtype=kind), ar=DNSRROPT())
        frame = from_qube(WORK, VIRTUAL_DNS[0], dns_packet(42050, 53, message))
        case.out(time, WORK, frame, rule="0000", destination=RESOLVER)

    def tell(time, message):
        frame = from_uplink(RESOLVER, dns_packet(53, 42050, message), ttl=64)
        case.back(time, WORK, frame, rule="0000", source=VIRTUAL_DNS[0])

    case.refuse(0, WORK, from_qube(WORK, SERVER, tcp(42060, 443, "S")))
    ask(1, 1, host)
    case.refuse(1.01, WORK, from_qube(WORK, SERVER, tcp(42061, 443, "S")))
    chain = [
        (host, "CNAME", 300, "cdn.example.net"),
        ("cdn.example.net", "CNAME", 100, "edge.example.net"),
        ("edge.example.net", "A", 200, SERVER),
        ("edge.example.net", "A", 200, other),
    ]
    tell(1.02, names_answer(1, host, chain))
    opened = from_qube(WORK, SERVER, tcp(42062, 443, "S"))
    case.out(1.03, WORK, opened, rule="0001")
    case.out(1.04, WORK, from_qube(WORK, other, tcp(42063, 443, "S")), rule="0001")
    case.refuse(1.05, WORK, from_qube(WORK, SERVER, tcp(42064, 80, "S")))
    case.refuse(1.06, WORK, from_qube(WORK, SERVER6, tcp(42065, 443, "S")))
    ask(2, 2, host, "AAAA")
    tell(2.02, names_answer(2, host, [(host, "AAAA", 100, SERVER6)], "AAAA"))
    case.out(2.03, WORK, from_qube(WORK, SERVER6, tcp(42066, 443, "S")), rule="0001")
    # nobody asked that, or not so; and a record of another name is no answer
    third = "203.0.113.82"
    ask(3, 3, "evil.example")
    tell(3.01, names_answer(4, host, [(host, "A", 100, third)]))
    tell(3.02, names_answer(3, host, [(host, "A", 100, third)]))
    tell(
        3.03,
        names_answer(
            3, "evil.example", [("evil.example", "A", 9, third), (host, "A", 100, third)]
        ),
    )
    case.refuse(3.04, WORK, from_qube(WORK, third, tcp(42067, 443, "S")))
    # one address, two names, and rules in their order
    ask(4, 5, shop)
    tell(4.01, names_answer(5, shop, [(shop, "A", 0, SERVER)]))
    case.out(4.02, WORK, from_qube(WORK, SERVER, tcp(42068, 80, "S")), rule="0004")
    case.out(4.03, WORK, from_qube(WORK, SERVER, tcp(42069, 443, "S")), rule="0001")
    case.refuse(4.04, WORK, from_qube(WORK, SERVER, udp(42070, 80)), "rule", "0003")
    # a TTL of 0 and 60 seconds; a TTL of 100 and 60 seconds
    case.out(63, WORK, from_qube(WORK, SERVER, tcp(42071, 80, "S")), rule="0004")
    case.refuse(65, WORK, from_qube(WORK, SERVER, tcp(42072, 80, "S")))
    case.out(160, WORK, from_qube(WORK, SERVER, tcp(42073, 443, "S")), rule="0001")
    case.out(161, WORK, opened, rule="0001")
    case.refuse(162, WORK, from_qube(WORK, SERVER, tcp(42074, 443, "S")))
    case.out(163, WORK, opened, rule="0001")
