# SPDX-License-Identifier: BSD-3-Clause
"""The world of the cases: its addresses, the frames that arrive and those that must leave.

Everything that leaves is built anew: scapy computes each length and checksum from scratch.
"""

import ipaddress
import logging
import struct

logging.getLogger("scapy").setLevel(logging.ERROR)

# pylint: disable=wrong-import-position
from scapy.config import conf as scapy_conf  # noqa: E402

scapy_conf.use_pcap = False
from scapy.layers.dns import DNS, DNSQR, DNSRR  # noqa: E402
from scapy.layers.inet import (  # noqa: E402
    ICMP,
    IP,
    IPOption,
    IPOption_LSRR,
    IPOption_NOP,
    IPOption_Router_Alert,
    IPOption_SSRR,
    TCP,
    UDP,
)
from scapy.layers.inet6 import (  # noqa: E402
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6ND_Redirect,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6NIQueryNOOP,
    ICMPv6TimeExceeded,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    RouterAlert,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether  # noqa: E402
from scapy.packet import Raw  # noqa: E402

from generator import packets  # noqa: E402
from generator.packets import ones_add  # noqa: E402,F401

BASE_NS = 1_700_000_000 * 1_000_000_000

GATEWAY, GATEWAY6 = "10.137.0.1", "fd09:24ef:4179::a89:1"
VIRTUAL_DNS = ("10.139.1.1", "10.139.1.2")
UPLINK, UPLINK6 = "192.168.50.1", "2001:2:0:50::1"
ROUTER, ROUTER6 = "192.168.50.2", "2001:2:0:50::2"
RESOLVER = ROUTER
SERVER, SERVER6 = "203.0.113.80", "2001:2::80"
OTHER_SERVER = "203.0.113.81"
LOCAL_HOST, LOCAL_HOST6 = "192.168.50.77", "2001:2:0:50::77"

QUBE_MAC = "00:16:3e:5e:6c:00"
BROADCAST = "ff:ff:ff:ff:ff:ff"
BROADCAST_IP = "255.255.255.255"


class Qube:
    def __init__(self, name, ip, ip6):
        self.name, self.ip, self.ip6 = name, ip, ip6


WORK = Qube("work", "10.137.0.16", "fd09:24ef:4179::a89:10")
PERSONAL = Qube("personal", "10.137.0.17", "fd09:24ef:4179::a89:11")
PORTS = ("uplink", "work", "personal")


def our_mac(port):
    """The MAC of a port of which no capture tells another."""
    return f"02:00:00:00:00:{PORTS.index(port) + 1:02x}"


def neighbour_mac(address):
    """Neighbours resolve by themselves in a replay: 02:01 and the last four bytes."""
    return "02:01:" + ":".join(f"{byte:02x}" for byte in ipaddress.ip_address(address).packed[-4:])


ROUTER_MAC = neighbour_mac(ROUTER)


def next_hop_mac(address):
    address = ipaddress.ip_address(address)
    if address.version == 4:
        on_link = address in ipaddress.ip_network("192.168.50.0/24")
        return neighbour_mac(address if on_link else ROUTER)
    on_link = address in ipaddress.ip_network("2001:2:0:50::/64")
    return neighbour_mac(address if on_link else ROUTER6)


# What arrives. IP identifiers are fixed, and not zero, so that a changed one is seen.


def is_v6(address):
    return ":" in address


def ip(source, destination, **fields):
    if is_v6(source):
        fields.setdefault("hlim", 64)
        return IPv6(src=source, dst=destination, **fields)
    fields.setdefault("id", 0x1234)
    fields.setdefault("flags", "DF")
    fields.setdefault("ttl", 64)
    return IP(src=source, dst=destination, **fields)


def from_qube(qube, destination, payload, **fields):
    """A packet that a qube sends, as it arrives on its port."""
    mac = fields.pop("mac", QUBE_MAC)
    to_mac = fields.pop("to_mac", our_mac(qube.name))
    source = fields.pop("source", qube.ip6 if is_v6(destination) else qube.ip)
    return Ether(src=mac, dst=to_mac) / ip(source, destination, **fields) / payload


def from_uplink(source, payload, **fields):
    """A packet of a remote host, as it arrives on the uplink."""
    destination = fields.pop("destination", UPLINK6 if is_v6(source) else UPLINK)
    fields.setdefault("hlim" if is_v6(source) else "ttl", 57)
    mac = fields.pop("mac", next_hop_mac(source))
    to_mac = fields.pop("to_mac", our_mac("uplink"))
    return Ether(src=mac, dst=to_mac) / ip(source, destination, **fields) / payload


def tcp(source_port, destination_port, flags, data=b"", **fields):
    fields.setdefault("seq", 1000)
    fields.setdefault("ack", 0 if flags in ("S", "R", "F", "", "SF", "FPU") else 2000)
    fields.setdefault("window", 64240)
    layer = TCP(sport=source_port, dport=destination_port, flags=flags, **fields)
    return layer / Raw(data) if data else layer


def udp(source_port, destination_port, data=b"sluice", **fields):
    return UDP(sport=source_port, dport=destination_port, **fields) / Raw(data)


def ping(identifier, sequence=1, data=b"0123456789abcdef", v6=False, reply=False):
    if v6:
        layer = ICMPv6EchoReply if reply else ICMPv6EchoRequest
        return layer(id=identifier, seq=sequence, data=data)
    return ICMP(type=0 if reply else 8, id=identifier, seq=sequence) / Raw(data)


def stamp(icmp_type, identifier):
    """A timestamp request (13) or reply (14)."""
    return ICMP(type=icmp_type, id=identifier, seq=1, ts_ori=1000, ts_rx=0, ts_tx=0)


# What must leave.


def ip_bytes(frame):
    """The IP packet of a frame, without padding behind it."""
    raw = bytes(frame)[14:]
    if raw[0] >> 4 == 4:
        return raw[: struct.unpack("!H", raw[2:4])[0]]
    return raw[: 40 + struct.unpack("!H", raw[4:6])[0]]


def ethernet(source, destination, packet):
    """A frame around the bytes of an IP packet."""
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    return Ether(bytes(Ether(src=source, dst=destination, type=kind)) + packet)


def forwarded(frame, mac_source, mac_destination, **changes):
    """A frame on its way out: one hop less, other MACs, and what translation changes."""
    return ethernet(mac_source, mac_destination, packets.translated(ip_bytes(frame), **changes))


def masqueraded(frame, **changes):
    """What a qube's packet looks like when it leaves by the uplink."""
    packet = ip_bytes(frame)
    six = packets.version(packet) == 6
    changes.setdefault("source", UPLINK6 if six else UPLINK)
    target = changes.get("destination", packets.addresses(packet)[1])
    return forwarded(frame, our_mac("uplink"), next_hop_mac(target), **changes)


def delivered(frame, qube, **changes):
    """What an answer from the uplink looks like when it reaches the qube."""
    six = packets.version(ip_bytes(frame)) == 6
    changes.setdefault("destination", qube.ip6 if six else qube.ip)
    return forwarded(frame, our_mac(qube.name), QUBE_MAC, **changes)


def icmp_error(frame, port, icmp_type, code, source=None, rest=bytes(4)):
    """The ICMP error with which we answer a frame that arrived on a port: from our address there,
    to whoever sent it, quoting it as it came (RFC 1812, 4.3.2.3; RFC 4443, 2.4)."""
    original = ip_bytes(frame)
    six = packets.version(original) == 6
    source = source or (GATEWAY6 if six else GATEWAY)
    to = str(ipaddress.ip_address(packets.addresses(original)[0]))
    quotation = original[: 1280 - 40 - 8 if six else 576 - 20 - 8]
    message = packets.icmp_message(
        icmp_type, code, rest, quotation, *((source, to) if six else ())
    )
    if six:
        layer = IPv6(src=source, dst=to, tc=0, fl=0, hlim=64, nh=58)
    else:
        layer = IP(src=source, dst=to, tos=0xC0, id=0, flags=0, ttl=64, proto=1)
    return Ether(src=our_mac(port), dst=Ether(bytes(frame)).src) / layer / Raw(message)


def prohibited(frame, port):
    return icmp_error(frame, port, *((3, 13) if frame.type == 0x0800 else (1, 1)))


def host_prohibited(frame, port):
    return icmp_error(frame, port, *((3, 10) if frame.type == 0x0800 else (1, 1)))


def unreachable(frame, port):
    return icmp_error(frame, port, *((3, 1) if frame.type == 0x0800 else (1, 3)))


def time_exceeded(frame, port, source=None):
    return icmp_error(frame, port, 11 if frame.type == 0x0800 else 3, 0, source)


def too_big(frame, port, mtu, source=None):
    kind = (3, 4) if frame.type == 0x0800 else (2, 0)
    return icmp_error(frame, port, *kind, source, struct.pack("!I", mtu))


def arp(port, op, sender, target, mac=QUBE_MAC, to_mac=BROADCAST, **fields):
    fields.setdefault("hwsrc", mac)
    fields.setdefault("hwdst", "00:00:00:00:00:00")
    return Ether(src=mac, dst=to_mac) / ARP(op=op, psrc=sender, pdst=target, **fields)


def arp_reply(request, port):
    """Our answer to an ARP request: the asked address is at our MAC."""
    return Ether(src=our_mac(port), dst=request[ARP].hwsrc) / ARP(
        op=2,
        hwsrc=our_mac(port),
        psrc=request[ARP].pdst,
        hwdst=request[ARP].hwsrc,
        pdst=request[ARP].psrc,
    )


def solicited_node(address):
    low = ipaddress.ip_address(address).packed[-3:]
    group = ipaddress.ip_address(bytes.fromhex("ff0200000000000000000001ff") + low)
    return str(group), "33:33:ff:" + ":".join(f"{byte:02x}" for byte in low)


def solicitation(source, target, mac=QUBE_MAC, to=None, link=None, hop_limit=255):
    group, group_mac = solicited_node(target)
    message = ICMPv6ND_NS(tgt=target)
    if source != "::":
        message /= ICMPv6NDOptSrcLLAddr(lladdr=link or mac)
    to, to_mac = to or (group, group_mac)
    return Ether(src=mac, dst=to_mac) / IPv6(src=source, dst=to, hlim=hop_limit) / message


def advertisement(request, port):
    """Our answer to a neighbour solicitation: for an address of our own it overrides what was
    known (RFC 4861, 7.2.4), as a proxy it must not (7.2.8)."""
    target = request[ICMPv6ND_NS].tgt
    return (
        Ether(src=our_mac(port), dst=request.src)
        / IPv6(src=target, dst=request[IPv6].src, hlim=255)
        / ICMPv6ND_NA(R=1, S=1, O=int(target in (GATEWAY6, UPLINK6)), tgt=target)
        / ICMPv6NDOptDstLLAddr(lladdr=our_mac(port))
    )


def pong(request, port):
    """Our answer to a ping of the gateway."""
    packet = ip_bytes(request)
    six = packets.version(packet) == 6
    at = packets.upper_layer(packet)[1]
    source, destination = packets.addresses(packet)
    packet = packets.with_bytes(packet, 8 if six else 12, destination + source)
    packet = packets.with_bytes(packet, at, bytes([129 if six else 0]))
    if not six:
        packet = packets.with_bytes(packet, 4, bytes(4))  # identification, flags
    packet = packets.with_hops(packets.summed(packet), 64)
    return ethernet(our_mac(port), request.src, packet)


# ICMPv6 by its bytes, pings of the gateway, and DNS.


def icmp6_raw(source, destination, message):
    """An ICMPv6 message given by its bytes, with its checksum filled in."""
    return Raw(
        packets.icmp_message(
            message[0], message[1], message[4:8], message[8:], source, destination
        )
    )


def ping_gateway(qube, number=5, **fields):
    return from_qube(qube, GATEWAY, ping(number), **fields)


def query(number=7, name="example.org"):
    return DNS(id=number, rd=1, qd=DNSQR(qname=name))


def answer(number=7, name="example.org", address=SERVER):
    return DNS(
        id=number,
        qr=1,
        ra=1,
        rd=1,
        qd=DNSQR(qname=name),
        an=DNSRR(rrname=name, ttl=300, rdata=address),
    )


def dns_packet(source_port, destination_port, message):
    return UDP(sport=source_port, dport=destination_port) / Raw(bytes(message))
