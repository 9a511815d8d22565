# SPDX-License-Identifier: BSD-3-Clause
"""A qube that sees another address than its own."""

from generator.case import a_case, Case
from generator.world import *

VISIBLE, VISIBLE_GATEWAY = "192.168.7.5", "192.168.7.1"


def seen(frame):
    """A frame with the addresses that the qube sees, built anew."""
    names = {WORK.ip: VISIBLE, GATEWAY: VISIBLE_GATEWAY}
    packet = ip_bytes(frame)
    ends = [str(ipaddress.ip_address(end)) for end in packets.addresses(packet)]
    changes = dict(zip(("source", "destination"), (names.get(end, end) for end in ends)))
    return ethernet(frame.src, frame.dst, packets.translated(packet, hops=0, **changes))


@a_case
def mapped_address():
    case = Case(
        "mapped-address",
        "Qube work takes 192.168.7.5 for its address and 192.168.7.1 for its gateway: exchanged at "
        "its port for those that everybody else knows, also in ARP and in what errors quote. Any "
        "other source is dropped.",
        qube_lines={
            "work": f"visible-address = {VISIBLE}\nvisible-gateway = {VISIBLE_GATEWAY}\n",
        },
        rules={"work": "policy=drop\naction=accept proto=udp\naction=accept proto=icmp\n"},
    )
    for index, target in enumerate((VISIBLE_GATEWAY, SERVER)):
        frame = arp("work", 1, VISIBLE, target)
        case.local(index / 10, "work", frame, arp_reply(frame, "work"))
    case.drop(0.5, "work", arp("work", 1, "192.168.7.6", VISIBLE_GATEWAY), "arp")
    for index, (payload, answer, rule) in enumerate(
        (
            (udp(41000, 7000), udp(7000, 41000, b"answer"), "0000"),
            (udp(41001, 7000, chksum=0), udp(7000, 41001, b"answer", chksum=0), "0000"),
            (ping(41002), ping(41002, reply=True), "0001"),
        )
    ):
        frame = from_qube(WORK, SERVER, payload)
        case.out(1 + index, WORK, seen(frame), rule, expect=masqueraded(frame), known=frame)
        frame = from_uplink(SERVER, answer)
        case.back(1.5 + index, WORK, frame, rule, expect=seen(delivered(frame, WORK)))
    # the gateway, by the name that the qube has for it
    frame = from_qube(WORK, GATEWAY, ping(41003))
    answer = Ether(src=our_mac("work"), dst=QUBE_MAC) / ip(GATEWAY, WORK.ip, id=0, flags=0)
    answer /= ping(41003, reply=True)
    case.local(5, "work", seen(frame), seen(answer), known=frame)
    # refused, and the quotation is what it has sent
    frame = from_qube(WORK, SERVER, tcp(41004, 80, "S"))
    refusal = icmp_error(seen(frame), "work", 3, 13, source=VISIBLE_GATEWAY)
    case.drop(6, "work", seen(frame), "policy", rule="policy", answer=refusal, known=frame)
    # a router's error about what it has sent
    sent = ip_bytes(masqueraded(from_qube(WORK, SERVER, udp(41000, 7000))))
    theirs = ip_bytes(seen(from_qube(WORK, SERVER, udp(41000, 7000))))
    theirs = packets.with_hops(theirs, packets.hop_limit(sent))
    frame = from_uplink(ROUTER, Raw(packets.icmp_message(11, 0, bytes(4), sent)), proto=1)
    told = from_uplink(ROUTER, Raw(packets.icmp_message(11, 0, bytes(4), theirs)), proto=1)
    case.back(7, WORK, frame, "0000", expect=seen(delivered(told, WORK)))
    # whoever else it says it is
    for index, source in enumerate(("192.168.7.6", VISIBLE_GATEWAY, PERSONAL.ip)):
        frame = from_qube(WORK, SERVER, udp(41005, 7000), source=source)
        known = from_qube(WORK, SERVER, udp(41005, 7000), source=GATEWAY if index == 1 else source)
        case.drop(8 + index / 10, "work", frame, "source-address", known=known)
    # and nobody else is concerned
    frame = from_qube(PERSONAL, SERVER, udp(41006, 7000))
    case.out(9, PERSONAL, frame)
    frame = from_uplink(SERVER, udp(7000, 41006, b"answer"))
    case.back(9.5, PERSONAL, frame)
