# SPDX-License-Identifier: BSD-3-Clause
"""The demonstration that comes with sluice."""

from generator.path import *


@a_case
def demo():
    case = Case(
        "demo",
        "A qube browses: DNS, HTTP, a refused port, a ping; then somebody spoofs, somebody knocks\n"
        "from outside, and another qube tries what it may not. `make run` without root shows it.",
        rules={
            "work": "# work may resolve names, browse and ping\n"
            "policy=drop\n"
            "action=accept specialtarget=dns\n"
            "action=accept proto=tcp dstports=80-80\n"
            "action=accept proto=tcp dstports=443-443\n"
            "action=accept proto=icmp\n",
            "personal": "# personal may not talk to the company's network\n"
            "policy=accept\n"
            "action=drop dst4=203.0.113.0/24\n",
        },
        qubes=f"[qube work]\naddress = {WORK.ip}\naddress6 = {WORK.ip6}\nrules = work.rules\n"
        f"\n[qube personal]\naddress = {PERSONAL.ip}\naddress6 = {PERSONAL.ip6}\n"
        "rules = personal.rules\n",
    )
    request = arp("work", 1, WORK.ip, GATEWAY)
    case.local(0, "work", request, arp_reply(request, "work"))
    frame = from_qube(WORK, VIRTUAL_DNS[0], dns_packet(51234, 53, query(0x1111, "www.example.org")))
    case.out(0.0004, WORK, frame, rule="0000", destination=RESOLVER)
    message = dns_packet(53, 51234, answer(0x1111, "www.example.org"))
    frame = from_uplink(RESOLVER, message, ttl=64)
    case.back(0.0121, WORK, frame, rule="0000", source=VIRTUAL_DNS[0])

    client, server = 5000, 90000
    page = b"<!doctype html><title>It works</title><p>Seen through sluice.\n"
    get = b"GET / HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: curl\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page)
    body = head + page
    options = [("MSS", 1460), ("SAckOK", b""), ("NOP", None), ("WScale", 7)]
    steps = (
        (0.013, "out", "S", b"", options),
        (0.0331, "back", "SA", b"", options),
        (0.0334, "out", "A", b"", []),
        (0.0341, "out", "PA", get, []),
        (0.0549, "back", "A", b"", []),
        (0.0572, "back", "PA", body, []),
        (0.0575, "out", "A", b"", []),
        (0.0581, "out", "FA", b"", []),
        (0.0787, "back", "FA", b"", []),
        (0.0789, "out", "A", b"", []),
    )
    for time, side, flags, data, tcp_options in steps:
        consumed = len(data) + ("S" in flags) + ("F" in flags)
        if side == "out":
            layer = tcp(38014, 80, flags, data, seq=client, options=tcp_options)
            layer.ack = server if "A" in flags else 0
            case.out(time, WORK, from_qube(WORK, SERVER, layer, id=client & 0xFFFF), rule="0001")
            client += consumed
        else:
            layer = tcp(80, 38014, flags, data, seq=server, ack=client, options=tcp_options)
            case.back(time, WORK, from_uplink(SERVER, layer, ttl=52), rule="0001")
            server += consumed
    case.refuse(1.2, WORK, from_qube(WORK, SERVER, tcp(38016, 22, "S", options=options)))
    case.out(2.5, WORK, from_qube(WORK, SERVER, ping(0x1A2B)), rule="0003")
    case.back(2.52, WORK, from_uplink(SERVER, ping(0x1A2B, reply=True), ttl=52), rule="0003")
    frame = from_qube(WORK, SERVER, tcp(38018, 80, "S"), source=PERSONAL.ip)
    case.drop(3.1, "work", frame, "source-address")
    frame = from_uplink("198.51.100.23", tcp(55555, 22, "S"), ttl=44)
    case.drop(4, "uplink", frame, "no-flow")
    case.drop(4.2, "uplink", from_uplink("198.51.100.23", ping(3), ttl=44), "no-flow")
    secure = connect(case, PERSONAL, 40222, "198.51.100.80", 443)
    secure.out(5, "S")
    secure.back(5.03, "SA", ttl=50)
    frame = from_qube(PERSONAL, SERVER, tcp(40224, 443, "S"))
    case.refuse(6, PERSONAL, frame, "rule", "0000")
    frame = from_qube(PERSONAL, WORK.ip, tcp(40226, 22, "S"))
    case.drop(7, "personal", frame, "inter-qube", rule="policy")
    frame = ping_gateway(PERSONAL, 0x33)
    case.local(8, "personal", frame, pong(frame, "personal"))
    frame = from_qube(PERSONAL, "198.51.100.80", udp(33000, 33434, bytes(32)), ttl=1)
    case.drop(9, "personal", frame, "time-exceeded", answer=time_exceeded(frame, "personal"))
