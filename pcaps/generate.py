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
        ends = [str(ipaddress.ip_address(packet[i : i + 4])) for i in (12, 16)]
        text = "{}:{}"
    else:
        protocol, at = packet[6], 40
        while protocol in (0, 60):
            protocol, at = packet[at], at + (packet[at + 1] + 1) * 8
        ends = [str(ipaddress.ip_address(packet[i : i + 16])) for i in (8, 24)]
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
        self.format = {}  # file: pcap, pcap-be, pcap-ns, pcapng, pcapng-ns
        CASES[name] = self

    def add(self, time, port, frame, sent=(), file=None, wire=None, **verdict):
        """A frame that arrives, its verdict, and the frames [(port, frame)...] that leave."""
        time_ns = time if isinstance(time, int) and time > 10**12 else round(time * 10**6) * 1000
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
            if file not in self.format or "unsorted" not in self.format[file]:
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
