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
)
from scapy.layers.l2 import ARP, Dot1Q, Ether  # noqa: E402
from scapy.packet import Raw  # noqa: E402

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


def copy(frame):
    """A fresh copy whose lengths and checksums are computed when it is built."""
    frame = Ether(bytes(frame))
    for layer in (IP, TCP, UDP, ICMP):
        if layer in frame and not (layer is UDP and frame[UDP].chksum == 0):
            del frame[layer].chksum
    return frame


def forwarded(frame, **changes):
    """A frame on its way out: one hop less, other MACs, and what translation changes."""
    frame = copy(frame)
    frame.src, frame.dst = changes.pop("mac_source"), changes.pop("mac_destination")
    if IP in frame:
        frame[IP].ttl -= 1
        frame[IP].src = changes.pop("source", frame[IP].src)
        frame[IP].dst = changes.pop("destination", frame[IP].dst)
    else:
        frame[IPv6].hlim -= 1
    l4 = frame.getlayer(TCP) or frame.getlayer(UDP)
    if "source_port" in changes:
        l4.sport = changes.pop("source_port")
    if "destination_port" in changes:
        l4.dport = changes.pop("destination_port")
    if "identifier" in changes:
        frame[ICMP].id = changes.pop("identifier")
    assert not changes, changes
    return Ether(bytes(frame))


def masqueraded(frame, **changes):
    """What a qube's packet looks like when it leaves by the uplink."""
    if IP in frame:
        changes.setdefault("source", UPLINK)
        target = changes.get("destination", frame[IP].dst)
    else:
        target = frame[IPv6].dst
    return forwarded(
        frame, mac_source=our_mac("uplink"), mac_destination=next_hop_mac(target), **changes
    )


def delivered(frame, qube, **changes):
    """What an answer from the uplink looks like when it reaches the qube."""
    if IP in frame:
        changes.setdefault("destination", qube.ip)
    return forwarded(
        frame, mac_source=our_mac(qube.name), mac_destination=QUBE_MAC, **changes
    )


def ip_bytes(frame):
    """The IP packet of a frame, without padding behind it."""
    raw = bytes(frame)[14:]
    if raw[0] >> 4 == 4:
        return raw[: struct.unpack("!H", raw[2:4])[0]]
    return raw[: 40 + struct.unpack("!H", raw[4:6])[0]]


def icmp_error(frame, port, icmp_type, code, source=None):
    """The ICMP error with which we answer a frame that arrived on a port."""
    raw = bytes(frame)
    ether = Ether(src=our_mac(port), dst=Ether(raw).src)
    original = ip_bytes(frame)
    if original[0] >> 4 == 4:
        return (
            ether
            / IP(
                src=source or GATEWAY,
                dst=str(ipaddress.ip_address(original[12:16])),
                tos=0xC0,
                id=0,
                flags=0,
                ttl=64,
            )
            / ICMP(type=icmp_type, code=code)
            / Raw(original[: 576 - 20 - 8])
        )
    layer = {1: ICMPv6DestUnreach, 3: ICMPv6TimeExceeded}[icmp_type](code=code)
    return (
        ether
        / IPv6(
            src=source or GATEWAY6,
            dst=str(ipaddress.ip_address(original[8:24])),
            tc=0,
            fl=0,
            hlim=64,
        )
        / layer
        / Raw(original[: 1280 - 40 - 8])
    )


def prohibited(frame, port):
    return icmp_error(frame, port, *((3, 13) if frame.type == 0x0800 else (1, 1)))


def host_prohibited(frame, port):
    return icmp_error(frame, port, *((3, 10) if frame.type == 0x0800 else (1, 1)))


def time_exceeded(frame, port, source=None):
    return icmp_error(frame, port, 11 if frame.type == 0x0800 else 3, 0, source)


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
    frame = copy(request)
    frame.src, frame.dst = our_mac(port), request.src
    layer = frame.getlayer(IP) or frame.getlayer(IPv6)
    layer.src, layer.dst = layer.dst, layer.src
    if IP in frame:
        layer.ttl, layer.id, layer.flags = 64, 0, 0
        frame[ICMP].type = 0
        return Ether(bytes(frame))
    echo = request[ICMPv6EchoRequest]
    return (
        Ether(src=frame.src, dst=frame.dst)
        / IPv6(src=layer.src, dst=layer.dst, hlim=64, tc=layer.tc, fl=layer.fl)
        / ICMPv6EchoReply(id=echo.id, seq=echo.seq, data=echo.data)
    )


# Checksums that scapy cannot be talked into, and DNS.


def ones_add(a, b):
    total = a + b
    return (total & 0xFFFF) + (total >> 16)


def udp_checksum(frame):
    """Of as many bytes as the UDP header says; scapy takes all that are there."""
    raw = ip_bytes(frame)
    at = (raw[0] & 15) * 4
    length = struct.unpack("!H", raw[at + 4 : at + 6])[0]
    data = raw[12:20] + struct.pack("!HH", 17, length)
    data += raw[at : at + 6] + raw[at + 8 : at + length]
    total = 0
    for (word,) in struct.iter_unpack("!H", data + b"\0" * (len(data) % 2)):
        total = ones_add(total, word)
    return total ^ 0xFFFF or 0xFFFF


def icmp6_raw(source, destination, message):
    """An ICMPv6 message given by its bytes, with its checksum filled in."""
    pseudo = (
        ipaddress.ip_address(source).packed
        + ipaddress.ip_address(destination).packed
        + struct.pack("!II", len(message), 58)
    )
    message = message[:2] + b"\0\0" + message[4:]
    total = 0
    data = pseudo + message + b"\0" * (len(message) % 2)
    for (word,) in struct.iter_unpack("!H", data):
        total = ones_add(total, word)
    return Raw(message[:2] + struct.pack("!H", total ^ 0xFFFF) + message[4:])


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
