#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Make the replay cases in this folder: `pcaps/generate.py [CASE...]`.

A case says what arrives and what must come of it. Everything expected is worked out here, from the
specification: packets are built anew with scapy, checksums and all, and never taken from what
sluice sent. So a wrong expectation and a fault of sluice look alike, and whoever sees a difference
has to find out which it is.

The same script gives the same bytes: MACs, identifiers and times are fixed. Needs python3-scapy.

The world of all cases, unless a case says otherwise:

    port      our MAC            beyond it
    uplink    02:00:00:00:00:01  192.168.50.0/24, we are .1, gateway and resolver .2
                                 2001:2:0:50::/64, we are ::1, gateway ::2
    work      02:00:00:00:00:02  qube 10.137.0.16, fd09:24ef:4179::a89:10
    personal  02:00:00:00:00:03  qube 10.137.0.17, fd09:24ef:4179::a89:11

Towards qubes we are 10.137.0.1 and fd09:24ef:4179::a89:1. Our MACs are those that sluice-replay
gives to ports whose captures say nothing else. Both qubes have the same MAC, as in Qubes.
"""

import ipaddress
import json
import logging
import pathlib
import shutil
import socket
import struct
import sys

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

HERE = pathlib.Path(__file__).resolve().parent
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
    """Our answer to a neighbour solicitation. A proxy must not override (RFC 4861, 7.2.8)."""
    target = request[ICMPv6ND_NS].tgt
    return (
        Ether(src=our_mac(port), dst=request.src)
        / IPv6(src=target, dst=request[IPv6].src, hlim=255)
        / ICMPv6ND_NA(R=1, S=1, O=0, tgt=target)
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


# Files.


def pcap_header(nanoseconds=False, big_endian=False):
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    return struct.pack(">IHHIIII" if big_endian else "<IHHIIII", magic, 2, 4, 0, 0, 262144, 1)


def pcap_record(time_ns, raw, nanoseconds=False, big_endian=False, wire=None):
    part = time_ns % 1_000_000_000
    return (
        struct.pack(
            ">IIII" if big_endian else "<IIII",
            time_ns // 1_000_000_000,
            part if nanoseconds else part // 1000,
            len(raw),
            wire or len(raw),
        )
        + raw
    )


def pcapng_block(kind, body):
    body += b"\0" * (-len(body) % 4)
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def pcapng_header(nanoseconds=False):
    resolution = struct.pack("<HHBxxxHH", 9, 1, 9 if nanoseconds else 6, 0, 0)
    return pcapng_block(
        0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    ) + pcapng_block(1, struct.pack("<HHI", 1, 0, 262144) + resolution)


def pcapng_record(time_ns, raw, nanoseconds=False, wire=None):
    stamp = time_ns if nanoseconds else time_ns // 1000
    return pcapng_block(
        6,
        struct.pack("<IIIII", 0, stamp >> 32, stamp & 0xFFFFFFFF, len(raw), wire or len(raw))
        + raw,
    )


def describe(raw):
    """The keys proto, source and destination of a verdict line, from the bytes of a frame."""
    names = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}
    ethertype = struct.unpack("!H", raw[12:14])[0]
    if ethertype == 0x0806:
        return {"proto": "arp", "source": None, "destination": None}
    packet = raw[14:]
    if ethertype == 0x0800:
        protocol, at = packet[9], (packet[0] & 15) * 4
        ends = [socket.inet_ntop(socket.AF_INET, packet[i : i + 4]) for i in (12, 16)]
        text = "{}:{}"
    else:
        protocol, at = packet[6], 40
        while protocol in (0, 60):
            protocol, at = packet[at], at + (packet[at + 1] + 1) * 8
        ends = [socket.inet_ntop(socket.AF_INET6, packet[i : i + 16]) for i in (8, 24)]
        text = "[{}]:{}"
    if protocol in (6, 17):
        ports = struct.unpack("!HH", packet[at : at + 4])
        ends = [text.format(end, port) for end, port in zip(ends, ports)]
    return {
        "proto": names.get(protocol, str(protocol)),
        "source": ends[0],
        "destination": ends[1],
    }


PARSE_REASONS = {
    "truncated",
    "vlan",
    "ethertype",
    "ip-header",
    "ip-checksum",
    "source-route",
    "fragment",
    "extension-header",
    "l4-header",
    "l4-checksum",
}

CASES = {}


class Case:
    """One folder: a configuration, what arrives, and what must come of it.

    Times are seconds since the start. Packets are added in any order; those of one port that
    arrive at the same time stay in the order they were added.
    """

    def __init__(self, name, about, rules=None, uplink="", gateway="", qubes="", timeouts=""):
        self.name, self.about = name, about
        self.rules = {"work": "policy=accept\n", "personal": "policy=accept\n"}
        self.rules.update(rules or {})
        self.uplink = uplink or (
            f"address = {UPLINK}/24\n"
            f"gateway = {ROUTER}\n"
            f"dns = {RESOLVER}\n"
            f"address6 = {UPLINK6}/64\n"
            f"gateway6 = {ROUTER6}\n"
        )
        self.gateway = gateway or (
            f"address = {GATEWAY}\naddress6 = {GATEWAY6}\ndns = {' '.join(VIRTUAL_DNS)}\n"
        )
        self.qubes = qubes
        self.timeouts = timeouts
        self.events = []
        self.resolution = 1000
        self.format = {}  # file: pcap, pcap-be, pcap-ns, pcapng, pcapng-ns
        CASES[name] = self

    def add(self, time, port, frame, sent=(), file=None, wire=None, **verdict):
        """A frame that arrives, its verdict, and the frames [(port, frame)...] that leave."""
        # to the microsecond, unless the case is about nanoseconds
        time_ns = round(time * 10**9 / self.resolution) * self.resolution
        raw = bytes(frame)
        line = {"port": port, "reason": None, "rule": None, "out": None, **verdict}
        self.events.append(
            {
                "time": BASE_NS + time_ns,
                "file": file or f"in-{port}",
                "raw": raw,
                "wire": wire,
                "line": line,
                "sent": [(to, bytes(what)) for to, what in sent],
            }
        )

    # The verdicts, by who sent the packet.

    def out(self, time, qube, frame, rule="policy", expect=None, **changes):
        """A qube's packet that leaves by the uplink."""
        expect = masqueraded(frame, **changes) if expect is None else expect
        self.add(
            time,
            qube.name,
            frame,
            [("uplink", expect)],
            verdict="forward",
            out="uplink",
            rule=f"{qube.name}/{rule}",
        )

    def back(self, time, qube, frame, rule="policy", expect=None, **changes):
        """An answer from the uplink that reaches a qube. The rule is that of its flow."""
        expect = delivered(frame, qube, **changes) if expect is None else expect
        self.add(
            time,
            "uplink",
            frame,
            [(qube.name, expect)],
            verdict="forward",
            out=qube.name,
            rule=f"{qube.name}/{rule}",
        )

    def drop(self, time, port, frame, reason, rule=None, answer=None, **more):
        """A packet that ends here, and what its sender hears: nothing if there is no answer."""
        sent = [] if answer is None else [(port, answer)]
        if rule is not None:
            rule = f"{more.pop('qube', port)}/{rule}"
        self.add(time, port, frame, sent, verdict="drop", reason=reason, rule=rule, **more)

    def refuse(self, time, qube, frame, reason="policy", rule="policy"):
        """A packet that its qube may not send, and is told so."""
        answer = prohibited(frame, qube.name)
        self.drop(time, qube.name, frame, reason, rule=rule, answer=answer)

    def local(self, time, port, frame, answer=None):
        """A packet that we take ourselves."""
        self.add(time, port, frame, [(port, answer)] if answer is not None else [], verdict="local")

    # A TCP connection in three packets, for cases about what follows.

    def connect(self, time, qube, source_port, destination=SERVER, port=80, rule="policy"):
        self.out(time, qube, from_qube(qube, destination, tcp(source_port, port, "S")), rule)
        answer = from_uplink(destination, tcp(port, source_port, "SA", seq=1999, ack=1001))
        self.back(time + 0.01, qube, answer, rule)
        ack = from_qube(qube, destination, tcp(source_port, port, "A", seq=1001))
        self.out(time + 0.02, qube, ack, rule)

    # Writing.

    def conf_text(self):
        text = "".join(f"# {line}\n" for line in self.about.strip().split("\n"))
        text += f"[gateway]\n{self.gateway}\n[port uplink]\ndevice = kernel:eth0\nrole = uplink\n"
        text += self.uplink
        for index, qube in enumerate((WORK, PERSONAL)):
            text += f"\n[port {qube.name}]\ndevice = kernel:vif{index + 1}.0\nrole = qube\n"
            text += f"qube = {qube.name}\n"
        if self.qubes:
            return text + "\n" + self.qubes + self.timeouts
        for qube in (WORK, PERSONAL):
            text += f"\n[qube {qube.name}]\naddress = {qube.ip}\naddress6 = {qube.ip6}\n"
            text += f"mac = {QUBE_MAC}\n"
            if self.rules[qube.name] is not None:
                text += f"rules = {qube.name}.rules\n"
        return text + self.timeouts

    def merged(self):
        """The events in the order in which sluice-replay reads them: replay.sh names the inputs
        in the order of their file names, and each is merged by the time of its next frame."""
        queues = {}
        for event in self.events:
            queues.setdefault(event["file"], []).append(event)
        for file, queue in queues.items():
            if "unsorted" not in self.format.get(file, ""):
                queue.sort(key=lambda event: event["time"])
        order = sorted(queues, key=lambda file: file + ".pcap")
        merged = []
        while any(queues.values()):
            heads = [file for file in order if queues[file]]
            first = min(heads, key=lambda file: queues[file][0]["time"])
            merged.append(queues[first].pop(0))
        return merged

    def write(self):
        folder = HERE / self.name
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        (folder / "sluice.conf").write_text(self.conf_text())
        for name, rules in self.rules.items():
            if rules is not None:
                (folder / f"{name}.rules").write_text(rules)
        (folder / "README").write_text(self.about.strip() + "\n")
        nanoseconds = any(event["time"] % 1000 for event in self.events)
        inputs, outputs, lines = {}, {}, []
        for number, event in enumerate(self.merged(), 1):
            kind = self.format.get(event["file"], "pcap")
            fine, big = "ns" in kind, "be" in kind
            if event["file"] not in inputs:
                inputs[event["file"]] = (
                    pcapng_header(fine) if "pcapng" in kind else pcap_header(fine, big)
                )
            if "pcapng" in kind:
                record = pcapng_record(event["time"], event["raw"], fine, event["wire"])
            else:
                record = pcap_record(event["time"], event["raw"], fine, big, event["wire"])
            inputs[event["file"]] += record
            for port, raw in event["sent"]:
                outputs.setdefault(port, pcap_header(nanoseconds))
                outputs[port] += pcap_record(event["time"], raw, nanoseconds)
            lines.append(self.line(number, event, nanoseconds))
        for file, content in inputs.items():
            suffix = "pcapng" if "pcapng" in self.format.get(file, "") else "pcap"
            (folder / f"{file}.{suffix}").write_bytes(content)
        for port, content in outputs.items():
            (folder / f"expect-{port}.pcap").write_bytes(content)
        (folder / "expect-verdicts.json").write_text("".join(lines))

    @staticmethod
    def line(number, event, nanoseconds):
        seconds, part = divmod(event["time"], 1_000_000_000)
        line = {
            "n": number,
            "time": f"{seconds}.{part:09d}" if nanoseconds else f"{seconds}.{part // 1000:06d}",
        }
        expected = event["line"]
        line.update({key: expected[key] for key in ("port", "verdict", "reason", "rule", "out")})
        if expected["verdict"] == "skip":
            line.update({"proto": None, "source": None, "destination": None})
        elif expected["reason"] not in PARSE_REASONS:
            line.update(describe(event["raw"]))
        line["length"] = len(event["raw"])
        return json.dumps(line) + "\n"


# --- TCP ----------------------------------------------------------------------------------------


def close_connection(case, time, qube, port, destination=SERVER):
    """Both sides say FIN; the flow is in TIME_WAIT afterwards."""
    case.out(time, qube, from_qube(qube, destination, tcp(port, 80, "FA", seq=1101, ack=2201)))
    frame = from_uplink(destination, tcp(80, port, "A", seq=2201, ack=1102))
    case.back(time + 0.01, qube, frame)
    frame = from_uplink(destination, tcp(80, port, "FA", seq=2201, ack=1102))
    case.back(time + 0.02, qube, frame)
    frame = from_qube(qube, destination, tcp(port, 80, "A", seq=1102, ack=2202))
    case.out(time + 0.03, qube, frame)


def tcp_life():
    case = Case(
        "tcp-life", "A TCP connection from SYN to TIME_WAIT; masqueraded, port kept, both ways."
    )
    options = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
    syn = from_qube(WORK, SERVER, tcp(40000, 80, "S", options=options))
    case.out(0, WORK, syn)
    frame = from_uplink(SERVER, tcp(80, 40000, "SA", seq=1999, ack=1001, options=options))
    case.back(0.01, WORK, frame)
    case.out(0.02, WORK, from_qube(WORK, SERVER, tcp(40000, 80, "A", seq=1001)))
    request = b"GET / HTTP/1.1\r\nHost: server\r\n\r\n"
    case.out(0.03, WORK, from_qube(WORK, SERVER, tcp(40000, 80, "PA", request, seq=1001)))
    case.back(0.04, WORK, from_uplink(SERVER, tcp(80, 40000, "A", seq=2000, ack=1033)))
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    case.back(0.05, WORK, from_uplink(SERVER, tcp(80, 40000, "PA", answer, seq=2000, ack=1033)))
    case.out(0.06, WORK, from_qube(WORK, SERVER, tcp(40000, 80, "A", seq=1033, ack=2041)))
    close_connection(case, 0.1, WORK, 40000)
    # TIME_WAIT still answers a repeated FIN
    frame = from_uplink(SERVER, tcp(80, 40000, "FA", seq=2201, ack=1102))
    case.back(1, WORK, frame)
    case.out(1.01, WORK, from_qube(WORK, SERVER, tcp(40000, 80, "A", seq=1102, ack=2202)))


def tcp_reset():
    case = Case(
        "tcp-reset",
        "RST from either side is translated; the flow is gone 10 s after it.",
    )
    case.connect(0, WORK, 40001)
    case.connect(0.1, WORK, 40002)
    case.back(1, WORK, from_uplink(SERVER, tcp(80, 40001, "R", seq=2000)))
    case.out(1.1, WORK, from_qube(WORK, SERVER, tcp(40002, 80, "RA", seq=1001)))
    # the server may not have heard of it: what it sends meanwhile still passes
    case.back(1.2, WORK, from_uplink(SERVER, tcp(80, 40002, "A", seq=2000, ack=1001)))
    # refused: the server answers a SYN with RST
    case.out(2, WORK, from_qube(WORK, SERVER, tcp(40003, 81, "S")))
    case.back(2.01, WORK, from_uplink(SERVER, tcp(81, 40003, "RA", seq=0, ack=1001)))
    for port, server_port in ((40001, 80), (40002, 80), (40003, 81)):
        frame = from_uplink(SERVER, tcp(server_port, port, "A", seq=2000, ack=1001))
        case.drop(15, "uplink", frame, "no-flow")
        frame = from_qube(WORK, SERVER, tcp(port, server_port, "A", seq=1001))
        case.drop(15.1, "work", frame, "tcp-state")


def tcp_time_wait():
    case = Case("tcp-time-wait", "A closed connection is remembered for 120 s, then gone.")
    case.connect(0, WORK, 40010)
    close_connection(case, 1, WORK, 40010)
    # within the time, and nothing renews it: a SYN of the far end is invalid
    frame = from_uplink(SERVER, tcp(80, 40010, "S", seq=9000))
    case.drop(119, "uplink", frame, "tcp-state", rule="policy", qube="work")
    frame = from_uplink(SERVER, tcp(80, 40010, "FA", seq=2201, ack=1102))
    case.drop(124, "uplink", frame, "no-flow")
    case.drop(124.1, "work", from_qube(WORK, SERVER, tcp(40010, 80, "A", seq=1102)), "tcp-state")


def tcp_reopen():
    case = Case(
        "tcp-reopen",
        "A SYN on a closed connection's ports opens a new one, judged anew; so does one after RST.",
    )
    case.connect(0, WORK, 40020)
    close_connection(case, 1, WORK, 40020)
    case.connect(10, WORK, 40020)
    case.back(11, WORK, from_uplink(SERVER, tcp(80, 40020, "R", seq=2000)))
    case.connect(12, WORK, 40020)
    # the new connection is a whole one: it outlives the timers of the old
    data = from_qube(WORK, SERVER, tcp(40020, 80, "PA", b"still here", seq=1001))
    case.out(4000, WORK, data)
    # SYN within an open connection: passed on, changes nothing
    case.out(4001, WORK, from_qube(WORK, SERVER, tcp(40020, 80, "S", seq=7777)))
    case.back(4002, WORK, from_uplink(SERVER, tcp(80, 40020, "PA", b"data", ack=1011)))


def tcp_timeouts():
    case = Case(
        "tcp-timeouts", "An open connection may be silent for 7440 s (RFC 5382 REQ-5), no longer."
    )
    case.connect(0, WORK, 40030)
    case.connect(1, WORK, 40031)
    case.out(7439, WORK, from_qube(WORK, SERVER, tcp(40030, 80, "PA", b"data", seq=1001)))
    frame = from_uplink(SERVER, tcp(80, 40031, "PA", b"data", ack=1001))
    case.back(7440, WORK, frame)
    # both were renewed
    frame = from_uplink(SERVER, tcp(80, 40030, "A", seq=2000, ack=1005))
    case.back(7439 + 7439, WORK, frame)
    frame = from_qube(WORK, SERVER, tcp(40031, 80, "A", seq=1001, ack=2004))
    case.drop(7440 + 7443, "work", frame, "tcp-state")
    frame = from_uplink(SERVER, tcp(80, 40030, "PA", b"late", ack=1005))
    case.drop(7439 * 2 + 7443, "uplink", frame, "no-flow")


def tcp_half_open():
    case = Case(
        "tcp-half-open",
        "An unanswered SYN is remembered for 120 s, a SYN/ACK without its ACK for 60 s; a repeated "
        "SYN renews nothing.",
    )
    for port in (40040, 40041, 40042):
        case.out(0, WORK, from_qube(WORK, SERVER, tcp(port, 80, "S")))
    case.out(100, WORK, from_qube(WORK, SERVER, tcp(40041, 80, "S")))
    frame = from_uplink(SERVER, tcp(80, 40040, "SA", seq=1999, ack=1001))
    case.back(118, WORK, frame)
    frame = from_uplink(SERVER, tcp(80, 40041, "SA", seq=1999, ack=1001))
    case.drop(123, "uplink", frame, "no-flow")
    frame = from_qube(WORK, SERVER, tcp(40042, 80, "A", seq=1001))
    case.drop(124, "work", frame, "tcp-state")
    # 40040 is in SYN_RECV since 118
    case.out(176, WORK, from_qube(WORK, SERVER, tcp(40040, 80, "A", seq=1001)))
    case.out(177, WORK, from_qube(WORK, SERVER, tcp(40043, 80, "S")))
    frame = from_uplink(SERVER, tcp(80, 40043, "SA", seq=1999, ack=1001))
    case.back(178, WORK, frame)
    frame = from_qube(WORK, SERVER, tcp(40043, 80, "A", seq=1001))
    case.drop(241, "work", frame, "tcp-state")
    # the established one lives on
    case.back(242, WORK, from_uplink(SERVER, tcp(80, 40040, "PA", b"data", ack=1001)))


def tcp_configured_timeouts():
    case = Case(
        "tcp-configured-timeouts",
        "Timeouts are those of the configuration.",
        timeouts="\n[timeouts]\ntcp-established = 100\ntcp-syn-sent = 10\nudp-unreplied = 7\n",
    )
    case.connect(0, WORK, 40050)
    case.out(0.5, WORK, from_qube(WORK, SERVER, tcp(40051, 80, "S")))
    case.out(0.6, WORK, from_qube(WORK, SERVER, udp(40052, 4000)))
    case.back(5, WORK, from_uplink(SERVER, tcp(80, 40050, "PA", b"data", ack=1001)))
    case.drop(10, "uplink", from_uplink(SERVER, udp(4000, 40052)), "no-flow")
    frame = from_uplink(SERVER, tcp(80, 40051, "SA", seq=1999, ack=1001))
    case.drop(13, "uplink", frame, "no-flow")
    case.back(104, WORK, from_uplink(SERVER, tcp(80, 40050, "PA", b"data", seq=2004, ack=1001)))
    frame = from_uplink(SERVER, tcp(80, 40050, "PA", b"late", seq=2008, ack=1001))
    case.drop(207, "uplink", frame, "no-flow")


def tcp_simultaneous():
    case = Case("tcp-simultaneous", "Simultaneous open (RFC 5382 REQ-2): both sides send a SYN.")
    case.out(0, WORK, from_qube(WORK, SERVER, tcp(40060, 80, "S")))
    case.back(0.01, WORK, from_uplink(SERVER, tcp(80, 40060, "S", seq=1999)))
    case.out(0.02, WORK, from_qube(WORK, SERVER, tcp(40060, 80, "SA", seq=1000, ack=2000)))
    frame = from_uplink(SERVER, tcp(80, 40060, "SA", seq=1999, ack=1001))
    case.back(0.03, WORK, frame)
    case.out(0.04, WORK, from_qube(WORK, SERVER, tcp(40060, 80, "A", seq=1001)))
    case.back(3000, WORK, from_uplink(SERVER, tcp(80, 40060, "PA", b"data", ack=1001)))


def tcp_flags():
    case = Case(
        "tcp-flags",
        "No segment without a flow but SYN opens one; impossible flags never pass. All in silence, "
        "even where the rules would refuse (spec: RST, FIN, NULL, SYN+FIN without a flow).",
        rules={"personal": "policy=drop\n"},
    )
    time = 0
    for qube in (WORK, PERSONAL):
        for flags in ("", "F", "SF", "FPU", "SR", "FR", "SRAF", "SAF", "U", "P", "SAR"):
            time += 0.01
            frame = from_qube(qube, SERVER, tcp(40070, 80, flags))
            case.drop(time, qube.name, frame, "tcp-flags")
        for flags in ("A", "PA", "FA", "FPUA", "R", "RA", "SA", "UA"):
            time += 0.01
            frame = from_qube(qube, SERVER, tcp(40071, 80, flags))
            case.drop(time, qube.name, frame, "tcp-state")
    # ECN negotiation, PSH and URG do not make a SYN another segment
    case.out(1, WORK, from_qube(WORK, SERVER, tcp(40072, 80, "SEC")))
    case.out(1.1, WORK, from_qube(WORK, SERVER, tcp(40073, 80, "SPU")))
    # and none of the bad ones passes within a connection
    case.connect(2, WORK, 40074)
    for index, flags in enumerate(("", "F", "SF", "FPU", "SR")):
        frame = from_qube(WORK, SERVER, tcp(40074, 80, flags, seq=1001))
        case.drop(3 + index / 100, "work", frame, "tcp-flags")
        frame = from_uplink(SERVER, tcp(80, 40074, flags, seq=2000))
        case.drop(3.5 + index / 100, "uplink", frame, "tcp-flags")
    case.back(4, WORK, from_uplink(SERVER, tcp(80, 40074, "PA", b"alive", ack=1001)))


def tcp_states():
    case = Case(
        "tcp-states", "Segments that are invalid in the state of their connection are dropped."
    )
    # SYN_SENT: the qube has nothing to acknowledge, the far end nothing to end
    case.out(0, WORK, from_qube(WORK, SERVER, tcp(40080, 80, "S")))
    case.drop(
        0.1,
        "work",
        from_qube(WORK, SERVER, tcp(40080, 80, "A", seq=1001)),
        "tcp-state",
        rule="policy",
    )
    case.drop(
        0.2,
        "work",
        from_qube(WORK, SERVER, tcp(40080, 80, "FA", seq=1001)),
        "tcp-state",
        rule="policy",
    )
    case.drop(
        0.3,
        "uplink",
        from_uplink(SERVER, tcp(80, 40080, "FA", ack=1001)),
        "tcp-state",
        rule="policy",
        qube="work",
    )
    # an acknowledgement that fits nothing passes and changes nothing (the RST it draws must come)
    case.back(0.4, WORK, from_uplink(SERVER, tcp(80, 40080, "A", seq=5, ack=77)))
    frame = from_uplink(SERVER, tcp(80, 40080, "SA", seq=1999, ack=1001))
    case.back(0.5, WORK, frame)
    # established: a SYN/ACK of the qube is nonsense, a repeated one of the server is not
    case.out(0.6, WORK, from_qube(WORK, SERVER, tcp(40080, 80, "A", seq=1001)))
    case.drop(
        0.7,
        "work",
        from_qube(WORK, SERVER, tcp(40080, 80, "SA", seq=1000)),
        "tcp-state",
        rule="policy",
    )
    case.back(0.8, WORK, frame)
    case.drop(
        0.9,
        "uplink",
        from_uplink(SERVER, tcp(80, 40080, "S", seq=5000)),
        "tcp-state",
        rule="policy",
        qube="work",
    )
    case.out(1, WORK, from_qube(WORK, SERVER, tcp(40080, 80, "PA", b"go on", seq=1001)))


# --- UDP, ICMP and the rest ---------------------------------------------------------------------


def udp_timers():
    case = Case(
        "udp-timers",
        "UDP: 120 s unreplied, 300 s replied, 30 s for services that answered (RFC 4787 REQ-5); "
        "both directions renew.",
    )
    case.out(0, WORK, from_qube(WORK, SERVER, udp(41000, 4000)))
    case.out(0.1, WORK, from_qube(WORK, SERVER, udp(41001, 4000)))
    case.out(0.2, WORK, from_qube(WORK, SERVER, udp(41002, 123)))
    case.back(1, WORK, from_uplink(SERVER, udp(123, 41002)))
    case.back(29, WORK, from_uplink(SERVER, udp(123, 41002)))
    case.out(57, WORK, from_qube(WORK, SERVER, udp(41002, 123)))
    case.drop(90, "uplink", from_uplink(SERVER, udp(123, 41002)), "no-flow")
    case.back(118, WORK, from_uplink(SERVER, udp(4000, 41000)))
    case.drop(124, "uplink", from_uplink(SERVER, udp(4000, 41001)), "no-flow")
    case.back(416, WORK, from_uplink(SERVER, udp(4000, 41000)))
    case.out(714, WORK, from_qube(WORK, SERVER, udp(41000, 4000)))
    case.drop(1018, "uplink", from_uplink(SERVER, udp(4000, 41000)), "no-flow")


def udp_checksums():
    case = Case(
        "udp-checksums",
        "A UDP checksum of zero stays zero; one that becomes zero is sent as 0xffff (RFC 768); "
        "a wrong TCP or UDP checksum is its receiver's affair and stays wrong by as much.",
    )
    frame = from_qube(WORK, SERVER, udp(41010, 4000, chksum=0))
    case.out(0, WORK, frame)
    case.back(0.1, WORK, from_uplink(SERVER, udp(4000, 41010, chksum=0)))
    # Choose the payload so that the translated datagram sums to 0xffff. The first two bytes are
    # free, so set them to what is missing.
    frame = from_qube(WORK, SERVER, udp(41011, 4000, b"\0\0udp"))
    missing = masqueraded(frame)[UDP].chksum
    frame = from_qube(WORK, SERVER, udp(41011, 4000, struct.pack("!H", missing) + b"udp"))
    expect = masqueraded(frame)
    assert expect[UDP].chksum == 0xFFFF and frame[UDP].chksum != 0xFFFF
    case.out(0.2, WORK, frame)
    for index, (kind, layer) in enumerate(
        ((UDP, udp(41012, 4000)), (TCP, tcp(41012, 80, "S")))
    ):
        frame = from_qube(WORK, SERVER, layer)
        right_in = Ether(bytes(frame))[kind].chksum
        expect = masqueraded(frame)
        # one's complement arithmetic: what is wrong by 0x0101 stays wrong by 0x0101
        frame[kind].chksum = ones_add(right_in, 0x0101)
        expect[kind].chksum = ones_add(expect[kind].chksum, 0x0101)
        case.out(0.3 + index / 10, WORK, frame, expect=expect)


def ones_add(a, b):
    total = a + b
    return (total & 0xFFFF) + (total >> 16)


def udp_mapping():
    case = Case(
        "udp-mapping",
        "One external port for all destinations of a qube's port (RFC 4787 REQ-1), but only who "
        "was asked may answer (REQ-8).",
    )
    for index, server in enumerate((SERVER, OTHER_SERVER, LOCAL_HOST)):
        case.out(index / 10, WORK, from_qube(WORK, server, udp(41020, 4000 + index)))
    for index, server in enumerate((SERVER, OTHER_SERVER, LOCAL_HOST)):
        case.back(1 + index / 10, WORK, from_uplink(server, udp(4000 + index, 41020)))
    case.drop(2, "uplink", from_uplink("203.0.113.82", udp(4000, 41020)), "no-flow")
    case.drop(2.1, "uplink", from_uplink(SERVER, udp(4001, 41020)), "no-flow")
    case.drop(2.2, "uplink", from_uplink(SERVER, udp(4000, 41021)), "no-flow")


def icmp_echo():
    case = Case(
        "icmp-echo", "Ping: identifier kept, answers find their way; 60 s after the last, no more."
    )
    for sequence in range(3):
        frame = from_qube(WORK, SERVER, ping(0x77, sequence))
        case.out(sequence, WORK, frame)
        frame = from_uplink(SERVER, ping(0x77, sequence, reply=True))
        case.back(sequence + 0.02, WORK, frame)
    # another identifier is another flow, an answer nobody asked for is none
    frame = from_uplink(SERVER, ping(0x78, 0, reply=True))
    case.drop(5, "uplink", frame, "no-flow")
    frame = from_uplink(OTHER_SERVER, ping(0x77, 2, reply=True))
    case.drop(5.1, "uplink", frame, "no-flow")
    frame = from_qube(WORK, SERVER, ping(0x79, reply=True))
    case.drop(5.2, "work", frame, "no-flow")
    frame = from_uplink(SERVER, ping(0x77, 2, reply=True))
    case.back(60, WORK, frame)
    case.drop(123, "uplink", frame, "no-flow")
    # a ping of the far end back through our mapping is not an answer
    case.out(130, WORK, from_qube(WORK, SERVER, ping(0x80)))
    case.drop(130.1, "uplink", from_uplink(SERVER, ping(0x80)), "no-flow")
    # the largest and the smallest
    case.out(131, WORK, from_qube(WORK, SERVER, ping(0x81, data=b"")))
    case.out(131.1, WORK, from_qube(WORK, SERVER, ping(0x81, 2, data=bytes(1472))))
    case.out(132, WORK, from_qube(WORK, SERVER, ICMP(type=13, id=0x82, seq=1)))
    case.back(132.1, WORK, from_uplink(SERVER, ICMP(type=14, id=0x82, seq=1)))


def icmp_types():
    case = Case(
        "icmp-types",
        "ICMP types that are never forwarded: redirects, router discovery, information requests, "
        "unknown ones, node information.",
    )
    for index, icmp_type in enumerate((5, 9, 10, 15, 17, 30, 40, 42)):
        layer = ICMP(type=icmp_type) if icmp_type != 5 else ICMP(type=5, code=1, gw="10.137.0.9")
        frame = from_qube(WORK, SERVER, layer)
        case.drop(index / 10, "work", frame, "icmp-type")
    raw = bytes([130, 0, 0, 0]) + bytes(20)  # multicast listener query
    for index, icmp_type in enumerate((130, 138, 141, 144, 148, 151, 155, 200)):
        message = bytes([icmp_type]) + raw[1:]
        frame = from_qube(WORK, SERVER6, icmp6_raw(WORK.ip6, SERVER6, message), nh=58)
        case.drop(1 + index / 10, "work", frame, "icmp-type")
    frame = from_qube(WORK, SERVER6, ICMPv6NIQueryNOOP())
    case.drop(2, "work", frame, "icmp-type")


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


def icmp_errors():
    case = Case(
        "icmp-errors",
        "ICMP errors are not translated in this version: dropped, whatever they are about, and "
        "they neither end nor renew a flow (RFC 5508 REQ-6).",
    )
    sent = from_qube(WORK, SERVER, udp(41030, 4000))
    case.out(0, WORK, sent)
    outside = ip_bytes(masqueraded(sent))
    for index, (icmp_type, code) in enumerate(((3, 3), (3, 4), (11, 0), (4, 0), (12, 0))):
        frame = from_uplink(SERVER, ICMP(type=icmp_type, code=code) / Raw(outside[:28]))
        case.drop(1 + index / 10, "uplink", frame, "icmp-error")
    frame = from_qube(WORK, SERVER, ICMP(type=3, code=3) / Raw(outside[:28]))
    case.drop(2, "work", frame, "icmp-error")
    case.out(3, WORK, from_qube(WORK, SERVER6, udp(41031, 4000)))
    inside = ip_bytes(from_qube(WORK, SERVER6, udp(41031, 4000)))
    for index, layer in enumerate(
        (ICMPv6DestUnreach(code=4), ICMPv6TimeExceeded(), ICMPv6PacketTooBig(mtu=1280))
    ):
        frame = from_uplink(SERVER6, layer / Raw(inside[:48]), destination=WORK.ip6)
        case.drop(4 + index / 10, "uplink", frame, "icmp-error")
    frame = from_qube(WORK, SERVER6, ICMPv6DestUnreach(code=4) / Raw(inside[:48]))
    case.drop(5, "work", frame, "icmp-error")
    case.back(6, WORK, from_uplink(SERVER, udp(4000, 41030)))


def other_protocols():
    case = Case(
        "other-protocols",
        "Protocols without ports (GRE, ESP) are judged by address, masqueraded and remembered for "
        "600 s. Two qubes with one far end cannot be told apart: the second is refused.",
    )
    gre = bytes.fromhex("0000080045000014") + bytes(16)
    for index, protocol in enumerate((47, 50)):
        frame = from_qube(WORK, SERVER, Raw(gre), proto=protocol)
        case.out(index / 10, WORK, frame)
        frame = from_uplink(SERVER, Raw(gre), proto=protocol)
        case.back(1 + index / 10, WORK, frame)
    frame = from_qube(PERSONAL, SERVER, Raw(gre), proto=47)
    case.drop(
        2,
        "personal",
        frame,
        "ports-exhausted",
        rule="policy",
        answer=prohibited(frame, "personal"),
    )
    frame = from_qube(PERSONAL, OTHER_SERVER, Raw(gre), proto=47)
    case.out(3, PERSONAL, frame)
    case.back(3.1, PERSONAL, from_uplink(OTHER_SERVER, Raw(gre), proto=47))
    case.drop(4, "uplink", from_uplink("203.0.113.82", Raw(gre), proto=47), "no-flow")
    case.back(599, WORK, from_uplink(SERVER, Raw(gre), proto=47))
    case.drop(606, "uplink", from_uplink(OTHER_SERVER, Raw(gre), proto=47), "no-flow")


# The external ports that the keyed choice of sluice-replay takes when the preserved one is taken.
# They follow from its fixed secret, so they cannot be worked out here; everything around them is.
# When nat/binding.c changes its choice, sluice-replay shows the new ones.
CLASH_TCP, CLASH_UDP, CLASH_ICMP = 38846, 59500, 11151


def port_clash():
    case = Case(
        "port-clash",
        "Two qubes use the same source port to the same far end: the second gets another external "
        "port of the same class, and both get their answers.",
    )
    assert all(1024 <= port <= 65535 for port in (CLASH_TCP, CLASH_UDP, CLASH_ICMP))
    case.connect(0, WORK, 40090)
    case.out(
        1,
        PERSONAL,
        from_qube(PERSONAL, SERVER, tcp(40090, 80, "S")),
        source_port=CLASH_TCP,
    )
    case.back(
        1.1,
        PERSONAL,
        from_uplink(SERVER, tcp(80, CLASH_TCP, "SA", seq=1999, ack=1001)),
        destination_port=40090,
    )
    case.back(1.2, WORK, from_uplink(SERVER, tcp(80, 40090, "PA", b"for work", ack=1001)))
    # to another far end the port is free
    case.out(1.3, PERSONAL, from_qube(PERSONAL, OTHER_SERVER, tcp(40090, 80, "S")))

    case.out(2, WORK, from_qube(WORK, SERVER, udp(41090, 4000)))
    frame = from_qube(PERSONAL, SERVER, udp(41090, 4000))
    case.out(2.1, PERSONAL, frame, source_port=CLASH_UDP)
    # a UDP mapping does not depend on the destination
    frame = from_qube(PERSONAL, OTHER_SERVER, udp(41090, 4001))
    case.out(2.2, PERSONAL, frame, source_port=CLASH_UDP)
    case.back(
        2.3, PERSONAL, from_uplink(SERVER, udp(4000, CLASH_UDP)), destination_port=41090
    )
    case.back(2.4, WORK, from_uplink(SERVER, udp(4000, 41090)))
    case.drop(2.5, "uplink", from_uplink(OTHER_SERVER, udp(4001, 41090)), "no-flow")

    case.out(3, WORK, from_qube(WORK, SERVER, ping(0x4242)))
    frame = from_qube(PERSONAL, SERVER, ping(0x4242))
    case.out(3.1, PERSONAL, frame, identifier=CLASH_ICMP)
    frame = from_uplink(SERVER, ping(CLASH_ICMP, reply=True))
    case.back(3.2, PERSONAL, frame, identifier=0x4242)
    case.back(3.3, WORK, from_uplink(SERVER, ping(0x4242, reply=True)))


def ports_exhausted():
    case = Case(
        "ports-exhausted",
        "All 1023 external UDP ports below 1024 are taken, and one above is no substitute (RFC 4787 "
        "REQ-3): the next flow from such a port is refused at once, others are not.",
    )
    for port in range(1, 1024):
        case.out(port / 1000, WORK, from_qube(WORK, SERVER, udp(port, 4000, b"")))
    for index, server in enumerate((SERVER, OTHER_SERVER)):
        frame = from_qube(PERSONAL, server, udp(1000, 4000))
        case.drop(
            2 + index,
            "personal",
            frame,
            "ports-exhausted",
            rule="policy",
            answer=prohibited(frame, "personal"),
        )
    case.out(5, PERSONAL, from_qube(PERSONAL, SERVER, udp(1024, 4000)))
    # a qube that has its port may use it for more
    case.out(5.1, WORK, from_qube(WORK, OTHER_SERVER, udp(1000, 4000)))
    # TCP ports are another matter
    case.out(5.2, PERSONAL, from_qube(PERSONAL, SERVER, tcp(1000, 80, "S")))
    # when the first flows have ended there is room again
    case.out(130, PERSONAL, from_qube(PERSONAL, SERVER, udp(1000, 4000)))


def many_flows():
    case = Case(
        "many-flows",
        "Three hundred flows of two qubes at once, each with its answer; packets of one millisecond "
        "enter together.",
    )
    flows = []
    for index in range(300):
        qube = (WORK, PERSONAL)[index % 2]
        server = f"203.0.113.{1 + index % 250}"
        port, server_port = 20000 + index, 4000 + index % 7
        frame = from_qube(qube, server, udp(port, server_port, b"%d" % index))
        case.out(0.001 * (index // 50), qube, frame)
        flows.append((qube, server, port, server_port))
    for index, (qube, server, port, server_port) in enumerate(reversed(flows)):
        frame = from_uplink(server, udp(server_port, port, b"re %d" % index))
        case.back(1 + 0.001 * (index // 40), qube, frame)


# --- DNS ----------------------------------------------------------------------------------------


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


DNS_RULES = {"work": "policy=drop\naction=accept specialtarget=dns\n"}


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
        frame = from_qube(WORK, virtual, tcp(port, 53, "S"))
        case.out(index + 0.1, WORK, frame, rule="0000", destination=RESOLVER)
        frame = from_uplink(RESOLVER, tcp(53, port, "SA", seq=1999, ack=1001), ttl=64)
        case.back(index + 0.12, WORK, frame, rule="0000", source=virtual)
    frame = from_uplink(RESOLVER, dns_packet(53, 42000, answer()), ttl=64)
    case.drop(34, "uplink", frame, "no-flow")
    # specialtarget=dns is DNS at a virtual address: not the resolver itself, not another port
    case.refuse(40, WORK, from_qube(WORK, RESOLVER, dns_packet(42002, 53, query())))
    case.refuse(41, WORK, from_qube(WORK, VIRTUAL_DNS[0], udp(42003, 5353)))
    case.refuse(42, WORK, from_qube(WORK, VIRTUAL_DNS[0], ping(9)))
    case.refuse(43, WORK, from_qube(WORK, "10.139.1.3", dns_packet(42004, 53, query())))


def dns_uplink(resolvers):
    return (
        f"address = {UPLINK}/24\ngateway = {ROUTER}\n"
        + (f"dns = {resolvers}\n" if resolvers else "")
        + f"address6 = {UPLINK6}/64\ngateway6 = {ROUTER6}\n"
    )


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


# --- rules --------------------------------------------------------------------------------------


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
    case.refuse(0.7, WORK, from_qube(WORK, SERVER, ICMP(type=13, id=2)))
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


def ping_gateway(qube, number=5, **fields):
    return from_qube(qube, GATEWAY, ping(number), **fields)


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
    case.out(1, PERSONAL, from_qube(PERSONAL, SERVER, tcp(43060, 80, "S")))


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


# --- what is addressed to us --------------------------------------------------------------------


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


def uplink_unsolicited():
    case = Case(
        "uplink-unsolicited",
        "Whoever comes from the uplink uninvited, to us or to a qube, hears nothing.",
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


def arp_qubes():
    case = Case(
        "arp-qubes",
        "Proxy ARP: to a qube every address but its own is at our MAC. Duplicate address detection "
        "and announcements are not answered; senders must be who they are.",
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


def arp_uplink():
    case = Case(
        "arp-uplink",
        "On the uplink only our own address is ours; who claims an address of ours or of a qube "
        "is not believed.",
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


def nd_qubes():
    case = Case(
        "nd-qubes",
        "Proxy neighbour discovery for qubes; duplicate address detection is not answered; router "
        "advertisements, redirects and anything that came over a router are dropped.",
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


def nd_uplink():
    case = Case(
        "nd-uplink",
        "On the uplink we answer solicitations for our own address only, and believe nobody who "
        "speaks for an address of ours or of a qube.",
    )
    frame = solicitation(ROUTER6, UPLINK6, mac=neighbour_mac(ROUTER6))
    expect = advertisement(frame, "uplink")
    expect[ICMPv6ND_NA].O = 1  # our own address, no proxy: RFC 4861, 7.2.4
    case.local(0, "uplink", frame, expect)
    for index, target in enumerate((LOCAL_HOST6, WORK.ip6, GATEWAY6)):
        frame = solicitation(ROUTER6, target, mac=ROUTER_MAC)
        case.drop(1 + index / 10, "uplink", frame, "local-ignored")
    case.drop(2, "uplink", solicitation("::", UPLINK6, mac=ROUTER_MAC), "local-ignored")
    for index, sender in enumerate((UPLINK6, WORK.ip6, GATEWAY6)):
        frame = solicitation(sender, UPLINK6, mac=ROUTER_MAC)
        case.drop(3 + index / 10, "uplink", frame, "neighbour-discovery")
    frame = solicitation(ROUTER6, UPLINK6, mac=ROUTER_MAC, hop_limit=254)
    case.drop(4, "uplink", frame, "neighbour-discovery")
    case.out(5, WORK, from_qube(WORK, SERVER6, udp(43091, 4000)))


# --- who may say what ---------------------------------------------------------------------------


def spoofed():
    case = Case(
        "spoofed",
        "A qube uses its own address only, and nobody on the uplink has an address of ours or of a "
        "qube: silence.",
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
    for index, source in enumerate((WORK.ip6, GATEWAY6)):
        frame = from_uplink(source, udp(44003, 53), mac=ROUTER_MAC)
        case.drop(12 + index / 10, "uplink", frame, "downstream-source")


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
    case.out(3, PERSONAL, from_qube(PERSONAL, SERVER6, tcp(44013, 80, "S")))
    case.back(
        3.1,
        PERSONAL,
        from_uplink(
            SERVER6, tcp(80, 44013, "SA", seq=1999, ack=1001), destination=PERSONAL.ip6
        ),
    )


def martians():
    case = Case(
        "martians",
        "Loopback, multicast, broadcast and unspecified addresses never cross the firewall.",
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


BROADCAST_IP = "255.255.255.255"


def land():
    case = Case("land", "Source and destination the same (LAND): dropped.")
    for index, layer in enumerate((tcp(80, 80, "S"), udp(80, 80), ping(14))):
        case.drop(index / 10, "work", from_qube(WORK, WORK.ip, layer), "land")
        frame = from_uplink(SERVER, layer, destination=SERVER)
        case.drop(1 + index / 10, "uplink", frame, "land")
        frame = from_uplink(UPLINK, layer, mac=ROUTER_MAC)
        case.drop(2 + index / 10, "uplink", frame, "land")
    case.drop(3, "work", from_qube(WORK, WORK.ip6, udp(80, 80)), "land")
    case.drop(3.1, "uplink", from_uplink(SERVER6, udp(80, 80), destination=SERVER6), "land")


def macs():
    case = Case(
        "macs",
        "Frames for another station are not ours; a qube's frames bear its MAC and no other.",
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


# --- what cannot be understood ------------------------------------------------------------------


def frames():
    case = Case(
        "frames",
        "VLAN tags, other protocols and cut frames are dropped; padding does not leave with the "
        "packet.",
    )
    # a good one first, padded to 60 bytes as NICs do
    frame = from_qube(WORK, SERVER, udp(44050, 4000, b"x"))
    case.out(0, WORK, bytes(frame) + b"\xaa" * 17, expect=masqueraded(frame))
    frame = from_uplink(SERVER, udp(4000, 44050, b"y"))
    case.back(0.1, WORK, bytes(frame) + b"\xaa" * 17, expect=delivered(frame, WORK))
    frame = from_qube(WORK, SERVER6, udp(44051, 4000, b"x"))
    case.out(0.2, WORK, bytes(frame) + b"\xaa" * 100, expect=masqueraded(frame))
    whole = bytes(from_qube(WORK, SERVER, udp(44050, 4000)))
    for index, tag in enumerate((0x8100, 0x88A8, 0x9100)):
        raw = whole[:12] + struct.pack("!HH", tag, 5) + whole[12:]
        case.drop(1 + index / 10, "work", raw, "vlan")
    for index, ethertype in enumerate((0x88CC, 0x8847, 0x8863, 0x0026, 0x888E, 0x0842)):
        raw = whole[:12] + struct.pack("!H", ethertype) + whole[14:]
        case.drop(2 + index / 10, "work", raw, "ethertype")
    for index, length in enumerate((0, 1, 6, 12, 13, 14, 15, 33, 34, 41, len(whole) - 1)):
        case.drop(3 + index / 10, "work", whole[:length], "truncated")
    whole6 = bytes(from_qube(WORK, SERVER6, udp(44051, 4000)))
    for index, length in enumerate((14, 53, 54, len(whole6) - 1)):
        case.drop(5 + index / 10, "work", whole6[:length], "truncated")
    # what a capture did not keep cannot be judged either
    case.drop(6, "work", whole[:40], "truncated", wire=len(whole))


def ip_headers():
    case = Case("ip-headers", "Malformed IP headers, wrong header checksums, source routes.")

    def broken(**fields):
        return from_qube(WORK, SERVER, udp(44060, 4000), **fields)

    case.drop(0, "work", broken(version=5), "ip-header")
    case.drop(0.1, "work", broken(version=6), "ip-header")
    case.drop(0.2, "work", broken(ihl=4), "ip-header")
    case.drop(0.3, "work", broken(len=19), "ip-header")
    case.drop(0.4, "work", broken(len=0), "ip-header")
    frame6 = bytes(from_qube(WORK, SERVER6, udp(44060, 4000)))
    case.drop(0.5, "work", frame6[:14] + b"\x40" + frame6[15:], "ip-header")
    good = Ether(bytes(broken()))
    for index, wrong in enumerate((0, 0xFFFF, good[IP].chksum ^ 1, good[IP].chksum ^ 0x8000)):
        case.drop(1 + index / 10, "work", broken(chksum=wrong), "ip-checksum")
    # options: source routes never, malformed ones never, harmless ones pass
    frame = broken(options=[IPOption_LSRR(routers=[OTHER_SERVER])])
    case.drop(2, "work", frame, "source-route")
    frame = broken(options=[IPOption_NOP(), IPOption_SSRR(routers=[OTHER_SERVER])])
    case.drop(2.1, "work", frame, "source-route")
    frame = broken(options=[IPOption(b"\x94\x01\x00\x00")])  # length 1
    case.drop(2.2, "work", frame, "ip-header")
    frame = broken(options=[IPOption(b"\x94\x08\x00\x00")])  # longer than the header
    case.drop(2.3, "work", frame, "ip-header")
    frame = broken(options=[IPOption(b"\x01\x01\x01\x94")])  # no room for its length
    case.drop(2.4, "work", frame, "ip-header")
    case.out(3, WORK, broken(options=[IPOption_Router_Alert()]))
    case.out(3.1, WORK, broken(options=[IPOption_NOP(), IPOption_NOP()]))
    # behind the end of the options nothing counts
    case.out(3.2, WORK, broken(options=[IPOption(b"\x00\x83\x07\x04")]))
    # what is not ours to change: DSCP, ECN, identifier, flags
    case.out(4, WORK, broken(tos=0xB9, id=0xFFFF, flags=0))
    case.back(4.1, WORK, from_uplink(SERVER, udp(4000, 44060), tos=3, id=0, flags=0))


def l4_headers():
    case = Case("l4-headers", "Malformed TCP, UDP and ICMP headers; wrong ICMP checksums.")
    time = 0
    for layer in (
        tcp(44070, 80, "S", dataofs=4),
        tcp(44070, 80, "S", dataofs=6),
        tcp(44070, 80, "S", dataofs=15),
        udp(44070, 80, len=7),
        udp(44070, 80, len=0),
        udp(44070, 80, len=15),
    ):
        for destination in (SERVER, SERVER6):
            time += 0.01
            case.drop(time, "work", from_qube(WORK, destination, layer), "l4-header")
    for protocol, length in ((6, 0), (6, 19), (17, 0), (17, 7), (1, 0), (1, 7)):
        time += 0.01
        frame = from_qube(WORK, SERVER, Raw(bytes(range(1, 1 + length))), proto=protocol)
        case.drop(time, "work", frame, "l4-header")
    for protocol, length in ((6, 19), (17, 7), (58, 7)):
        time += 0.01
        frame = from_qube(WORK, SERVER6, Raw(bytes(range(1, 1 + length))), nh=protocol)
        case.drop(time, "work", frame, "l4-header")
    # ICMP of the other family
    case.drop(1, "work", from_qube(WORK, SERVER, Raw(bytes(8)), proto=58), "l4-header")
    case.drop(1.1, "work", from_qube(WORK, SERVER6, Raw(bytes(8)), nh=1), "l4-header")
    frame = from_qube(WORK, SERVER, ping(15))
    frame[ICMP].chksum = 0x1234
    case.drop(2, "work", frame, "l4-checksum")
    frame = from_qube(WORK, SERVER6, ping(15, v6=True))
    frame[ICMPv6EchoRequest].cksum = 0x1234
    case.drop(2.1, "work", frame, "l4-checksum")
    frame = from_uplink(SERVER, ping(15, reply=True))
    frame[ICMP].chksum = 0
    case.drop(2.2, "uplink", frame, "l4-checksum")
    # a UDP datagram may be shorter than its IP packet: what follows is not looked at
    frame = from_qube(WORK, SERVER, udp(44071, 80, b"datagram, and more", len=16))
    frame[UDP].chksum = udp_checksum(frame)
    expect = masqueraded(frame)
    expect[UDP].chksum = udp_checksum(expect)
    case.out(3, WORK, frame, expect=expect)


def udp_checksum(frame):
    """Of as many bytes as the UDP header says; scapy takes all that are there."""
    raw = ip_bytes(frame)
    at = (raw[0] & 15) * 4
    length = struct.unpack("!H", raw[at + 4 : at + 6])[0]
    data = raw[12:20] + struct.pack("!HH", 17, length) + raw[at : at + 6] + raw[at + 8 : at + length]
    total = 0
    for (word,) in struct.iter_unpack("!H", data + b"\0" * (len(data) % 2)):
        total = ones_add(total, word)
    return total ^ 0xFFFF or 0xFFFF


def fragments():
    case = Case("fragments", "IP fragments are dropped in this version: first, middle, last.")
    data = bytes(range(256)) * 4
    for index, (flags, offset) in enumerate((("MF", 0), ("MF", 64), (0, 128), ("MF+DF", 0))):
        frame = from_qube(WORK, SERVER, udp(44080, 4000, data), flags=flags, frag=offset)
        case.drop(index / 10, "work", frame, "fragment")
        frame = from_uplink(SERVER, udp(4000, 44080, data), flags=flags, frag=offset)
        case.drop(1 + index / 10, "uplink", frame, "fragment")
    for index, (more, offset) in enumerate(((1, 0), (1, 64), (0, 128), (0, 0))):
        header = IPv6ExtHdrFragment(m=more, offset=offset, id=77)
        frame = from_qube(WORK, SERVER6, header / udp(44081, 4000, data))
        case.drop(2 + index / 10, "work", frame, "fragment")


def ttl():
    case = Case(
        "ttl",
        "TTL or hop limit 1 ends here with 11/0 (IPv6 3/0), even towards a denied port; 2 passes.",
        rules={"work": "policy=drop\naction=accept proto=udp dstports=4000-4000\n"},
    )
    frame = from_qube(WORK, SERVER, udp(44090, 4000), ttl=1)
    case.drop(0, "work", frame, "time-exceeded", answer=time_exceeded(frame, "work"))
    frame = from_qube(WORK, SERVER, udp(44090, 4001), ttl=1)
    case.drop(0.1, "work", frame, "time-exceeded", answer=time_exceeded(frame, "work"))
    frame = from_qube(WORK, SERVER, udp(44090, 4000), ttl=0)
    case.drop(0.2, "work", frame, "time-exceeded", answer=time_exceeded(frame, "work"))
    frame = from_qube(WORK, SERVER6, udp(44090, 4001), hlim=1)
    case.drop(0.3, "work", frame, "time-exceeded", answer=time_exceeded(frame, "work"))
    # no flow was opened by any of them
    case.drop(0.5, "uplink", from_uplink(SERVER, udp(4000, 44090)), "no-flow")
    case.out(1, WORK, from_qube(WORK, SERVER, udp(44090, 4000), ttl=2), rule="0000")
    case.out(1.1, WORK, from_qube(WORK, SERVER6, udp(44090, 4000), hlim=2), rule="0000")
    # in an open flow likewise, and then the far end is told, from the address it knows
    frame = from_qube(WORK, SERVER, udp(44090, 4000), ttl=1)
    case.drop(2, "work", frame, "time-exceeded", rule="0000", answer=time_exceeded(frame, "work"))
    frame = from_uplink(SERVER, udp(4000, 44090), ttl=1)
    case.drop(
        2.1,
        "uplink",
        frame,
        "time-exceeded",
        rule="0000",
        qube="work",
        answer=time_exceeded(frame, "uplink", UPLINK),
    )
    case.back(3, WORK, from_uplink(SERVER, udp(4000, 44090), ttl=2), rule="0000")


# --- IPv6 ---------------------------------------------------------------------------------------


def ipv6_flows():
    case = Case(
        "ipv6-flows",
        "IPv6 TCP, UDP and ping: judged, tracked, forwarded as they are; the uplink opens nothing.",
    )
    syn = from_qube(WORK, SERVER6, tcp(45000, 80, "S"))
    case.out(0, WORK, syn)
    answer_frame = from_uplink(
        SERVER6, tcp(80, 45000, "SA", seq=1999, ack=1001), destination=WORK.ip6
    )
    case.back(0.1, WORK, answer_frame)
    case.out(0.2, WORK, from_qube(WORK, SERVER6, tcp(45000, 80, "A", seq=1001)))
    case.out(1, WORK, from_qube(WORK, SERVER6, udp(45001, 4000), tc=0xB9, fl=0x12345))
    case.back(1.1, WORK, from_uplink(SERVER6, udp(4000, 45001), destination=WORK.ip6))
    case.out(2, WORK, from_qube(WORK, SERVER6, ping(16, v6=True)))
    frame = from_uplink(SERVER6, ping(16, v6=True, reply=True), destination=WORK.ip6)
    case.back(2.1, WORK, frame)
    # the same ports and identifiers of another qube are other flows
    case.out(3, PERSONAL, from_qube(PERSONAL, SERVER6, tcp(45000, 80, "S")))
    case.out(3.1, PERSONAL, from_qube(PERSONAL, SERVER6, ping(16, v6=True)))
    frame = from_uplink(SERVER6, ping(16, v6=True, reply=True), destination=PERSONAL.ip6)
    case.back(3.2, PERSONAL, frame)
    # on-link
    case.out(4, WORK, from_qube(WORK, LOCAL_HOST6, udp(45002, 4000)))
    case.back(4.1, WORK, from_uplink(LOCAL_HOST6, udp(4000, 45002), destination=WORK.ip6))
    case.drop(
        5, "uplink", from_uplink(SERVER6, udp(4000, 45003), destination=WORK.ip6), "no-flow"
    )
    frame = from_uplink(SERVER6, ping(17, v6=True, reply=True), destination=WORK.ip6)
    case.drop(5.1, "uplink", frame, "no-flow")
    frame = from_qube(WORK, SERVER6, ping(18, v6=True, reply=True))
    case.drop(5.2, "work", frame, "no-flow")
    frame = from_uplink(SERVER6, tcp(80, 45000, "R", seq=2000), destination=WORK.ip6)
    case.back(6, WORK, frame)


def ipv6_extensions():
    case = Case(
        "ipv6-extensions",
        "Hop-by-hop options first and destination options pass and hide nothing from the rules; "
        "everything else about extension headers is dropped.",
        rules={"work": "policy=drop\naction=accept proto=udp dstports=4000-4000\n"},
    )
    hop = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0\0\0\0")])
    long_hop = IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(20))])
    option = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0\0\0\0")])
    good, bad = udp(45010, 4000), udp(45010, 4001)
    for index, chain in enumerate(
        (hop, option, hop / option, hop / option / option, long_hop / option)
    ):
        frame = from_qube(WORK, SERVER6, chain.copy() / good)
        case.out(index / 10, WORK, frame, rule="0000")
        case.refuse(1 + index / 10, WORK, from_qube(WORK, SERVER6, chain.copy() / bad))
    answer_frame = from_uplink(SERVER6, hop / udp(4000, 45010), destination=WORK.ip6)
    case.back(2, WORK, answer_frame, rule="0000")
    for index, chain in enumerate((option / hop, hop / hop)):
        frame = from_qube(WORK, SERVER6, chain.copy() / good)
        case.drop(3 + index / 10, "work", frame, "extension-header")
    for index, kind in enumerate((0, 2, 4)):
        header = IPv6ExtHdrRouting(type=kind, addresses=[SERVER6] if kind != 4 else [])
        frame = from_qube(WORK, SERVER6, header / good)
        case.drop(4 + index / 10, "work", frame, "source-route")
    # mobility, HIP, shim6, experiments, and no next header at all
    for index, header in enumerate((135, 139, 140, 253, 254, 59)):
        frame = from_qube(WORK, SERVER6, Raw(bytes([17, 0, 0, 0, 0, 0, 0, 0]) + bytes(16)))
        frame[IPv6].nh = header
        case.drop(5 + index / 10, "work", frame, "extension-header")
    many = hop
    for _ in range(12):
        many = many / option.copy()
    case.drop(6, "work", from_qube(WORK, SERVER6, many / good), "extension-header")
    # a header that goes on behind the end of the packet
    raw = bytes([17, 9, 1, 4, 0, 0, 0, 0])
    frame = from_qube(WORK, SERVER6, Raw(raw), nh=60)
    case.drop(7, "work", frame, "truncated")
    frame = from_qube(WORK, SERVER6, Raw(raw[:4]), nh=0)
    case.drop(7.1, "work", frame, "truncated")


def no_route():
    case = Case(
        "no-route",
        "An uplink without IPv6 has no way for it: 1/0. Without an IPv6 gateway only its own link "
        "can be reached, see no-gateway.",
        uplink=f"address = {UPLINK}/24\ngateway = {ROUTER}\ndns = {RESOLVER}\n",
    )
    frame = from_qube(WORK, SERVER6, udp(45020, 4000))
    case.drop(
        0, "work", frame, "no-route", rule="policy", answer=icmp_error(frame, "work", 1, 0)
    )
    case.out(1, WORK, from_qube(WORK, SERVER, udp(45020, 4000)))


def no_gateway():
    case = Case(
        "no-gateway",
        "An uplink without gateways reaches its own link: everything else has no route (3/0, 1/0).",
        uplink=f"address = {UPLINK}/24\ndns = {RESOLVER}\naddress6 = {UPLINK6}/64\n",
    )
    for index, qube in enumerate((WORK, PERSONAL)):
        for six in (False, True):
            frame = from_qube(qube, SERVER6 if six else SERVER, udp(45030, 4000))
            answer_frame = icmp_error(frame, qube.name, *((1, 0) if six else (3, 0)))
            case.drop(
                index + six / 10,
                qube.name,
                frame,
                "no-route",
                rule="policy",
                answer=answer_frame,
            )
    case.out(3, WORK, from_qube(WORK, LOCAL_HOST, udp(45030, 4000)))
    case.out(3.1, WORK, from_qube(WORK, LOCAL_HOST6, udp(45030, 4000)))
    case.back(3.2, WORK, from_uplink(LOCAL_HOST, udp(4000, 45030)))
    frame = from_qube(WORK, VIRTUAL_DNS[0], dns_packet(45031, 53, query()))
    case.out(4, WORK, frame, destination=RESOLVER)


# --- large frames, bursts, files ----------------------------------------------------------------


def large_frames():
    case = Case(
        "large-frames",
        "Frames of segmentation offload pass as one packet: 60,000 bytes of payload out, the "
        "largest possible packet in.",
    )
    case.connect(0, WORK, 46000)
    data = bytes(i * 7 & 255 for i in range(60000))
    case.out(1, WORK, from_qube(WORK, SERVER, tcp(46000, 80, "PA", data, seq=1001)))
    data = bytes(i * 11 & 255 for i in range(65535 - 40))
    case.back(2, WORK, from_uplink(SERVER, tcp(80, 46000, "PA", data, ack=61001)))


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


def bursts():
    case = Case(
        "bursts",
        "Whatever happens within one burst must come out as if the packets had come one by one.",
        rules={"work": "policy=accept\naction=drop proto=udp dstports=99-99\n"},
    )
    # one flow opened twice, refused packets and our own answers between, all in a millisecond
    case.out(0, WORK, from_qube(WORK, SERVER, tcp(46020, 80, "S")))
    case.refuse(0, WORK, from_qube(WORK, SERVER, udp(46021, 99)), "rule", "0000")
    case.local(0, "work", ping_gateway(WORK), pong(ping_gateway(WORK), "work"))
    case.out(0, WORK, from_qube(WORK, SERVER, tcp(46020, 80, "S")))
    request = arp("work", 1, WORK.ip, GATEWAY)
    case.local(0, "work", request, arp_reply(request, "work"))
    frame = from_qube(WORK, SERVER, udp(46022, 80), source=OTHER_SERVER)
    case.drop(0, "work", frame, "source-address")
    case.refuse(0, WORK, from_qube(WORK, SERVER, udp(46023, 99)), "rule", "0000")
    case.out(0, WORK, from_qube(WORK, SERVER, udp(46024, 98)))
    case.out(0, WORK, from_qube(WORK, SERVER, udp(46024, 98)))
    frame = from_qube(WORK, SERVER, udp(46024, 98), ttl=1)
    case.drop(0, "work", frame, "time-exceeded", rule="policy", answer=time_exceeded(frame, "work"))
    case.drop(
        0, "work", from_qube(WORK, SERVER, tcp(46020, 80, "A", seq=1001)), "tcp-state",
        rule="policy",
    )
    case.local(0, "work", ping_gateway(WORK, 6), pong(ping_gateway(WORK, 6), "work"))
    # a whole connection from one side in one burst
    for index, frame in enumerate(
        (
            tcp(80, 46020, "SA", seq=1999, ack=1001),
            tcp(80, 46020, "PA", b"early", seq=2000, ack=1001),
            tcp(80, 46020, "RA", seq=2005, ack=1001),
            tcp(80, 46020, "A", seq=2005, ack=1001),
        )
    ):
        del index
        case.back(1, WORK, from_uplink(SERVER, frame))
    # the end of one connection and a new one on its ports
    case.connect(2, WORK, 46030)
    close_connection(case, 3, WORK, 46030)
    case.out(4, WORK, from_qube(WORK, SERVER, tcp(46030, 80, "A", seq=1102, ack=2202)))
    case.out(4, WORK, from_qube(WORK, SERVER, tcp(46030, 80, "S", seq=5000)))
    case.out(4, WORK, from_qube(WORK, SERVER, tcp(46030, 80, "S", seq=5000)))
    # the end of one connection, a new one that fails, and another flow in its place
    case.connect(5, WORK, 46031)
    close_connection(case, 6, WORK, 46031)
    case.out(7, WORK, from_qube(WORK, SERVER, tcp(46031, 80, "A", seq=1102, ack=2202)))
    frame = from_qube(WORK, SERVER, tcp(46031, 80, "S", seq=5000), ttl=1)
    case.drop(7, "work", frame, "time-exceeded", answer=time_exceeded(frame, "work"))
    case.out(7, WORK, from_qube(WORK, OTHER_SERVER, tcp(46032, 8080, "S")))
    case.out(7, WORK, from_qube(WORK, OTHER_SERVER, udp(46033, 8081)))
    case.drop(7, "work", from_qube(WORK, SERVER, tcp(46031, 80, "A", seq=1102)), "tcp-state")
    # more packets than fit one burst, of one flow and of many
    for index in range(100):
        frame = from_qube(WORK, SERVER, udp(46100 + index % 3 * index, 4000, b"%d" % index))
        case.out(8, WORK, frame)


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


def long_silence():
    case = Case(
        "long-silence",
        "Weeks of silence between packets: all flows have ended, new ones work as ever.",
    )
    day = 86400
    for index in range(4):
        start = index * 60 * day
        case.connect(start, WORK, 46400)
        frame = from_uplink(SERVER, tcp(80, 46400, "PA", b"late", ack=1001))
        case.drop(start + 30 * day, "uplink", frame, "no-flow")


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


# --- the demonstration --------------------------------------------------------------------------


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
    case.out(5, PERSONAL, from_qube(PERSONAL, "198.51.100.80", tcp(40222, 443, "S")))
    frame = from_uplink("198.51.100.80", tcp(443, 40222, "SA", seq=70, ack=1001), ttl=50)
    case.back(5.03, PERSONAL, frame)
    frame = from_qube(PERSONAL, SERVER, tcp(40224, 443, "S"))
    case.refuse(6, PERSONAL, frame, "rule", "0000")
    frame = from_qube(PERSONAL, WORK.ip, tcp(40226, 22, "S"))
    case.drop(7, "personal", frame, "inter-qube", rule="policy")
    frame = ping_gateway(PERSONAL, 0x33)
    case.local(8, "personal", frame, pong(frame, "personal"))
    frame = from_qube(PERSONAL, "198.51.100.80", udp(33000, 33434, bytes(32)), ttl=1)
    case.drop(9, "personal", frame, "time-exceeded", answer=time_exceeded(frame, "personal"))


def main():
    # every function above that takes no argument and makes a case
    chosen = sys.argv[1:]
    for make in MAKERS:
        make()
    unknown = set(chosen) - set(CASES)
    if unknown:
        sys.exit(f"no such case: {' '.join(sorted(unknown))}; there are: {' '.join(CASES)}")
    for name, case in CASES.items():
        if not chosen or name in chosen:
            case.write()


MAKERS = (
    tcp_life,
    tcp_reset,
    tcp_time_wait,
    tcp_reopen,
    tcp_timeouts,
    tcp_half_open,
    tcp_configured_timeouts,
    tcp_simultaneous,
    tcp_flags,
    tcp_states,
    udp_timers,
    udp_checksums,
    udp_mapping,
    icmp_echo,
    icmp_types,
    icmp_errors,
    other_protocols,
    port_clash,
    ports_exhausted,
    many_flows,
    dns_two_virtual,
    dns_two_resolvers,
    dns_one_virtual,
    dns_no_resolver,
    dns_rules,
    rules_refused,
    rules_order,
    rules_accept,
    rules_bad,
    rules_none,
    inter_qube,
    gateway_services,
    uplink_unsolicited,
    arp_qubes,
    arp_uplink,
    nd_qubes,
    nd_uplink,
    spoofed,
    no_ipv6,
    martians,
    land,
    macs,
    mac_learned,
    frames,
    ip_headers,
    l4_headers,
    fragments,
    ttl,
    ipv6_flows,
    ipv6_extensions,
    no_route,
    no_gateway,
    large_frames,
    refused_large,
    bursts,
    merge,
    clock_backwards,
    long_silence,
    file_formats,
    live_capture,
    demo,
)

if __name__ == "__main__":
    main()
