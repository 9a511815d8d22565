# SPDX-License-Identifier: BSD-3-Clause
"""What families are written with: a scenario, what it injects, and the two ends of a flow.

A scenario is a generator function. It yields what is injected next and gets back what came out, in
its own world: it runs twice at once, with the same random numbers, and never sees the other one. So
an answer goes to the external port that this firewall has chosen, and an ICMP error quotes what
this firewall has sent.

    def answered(s):
        flow = s.udp()
        yield flow.out(b"question")
        out = yield flow.back(b"answer")

What both worlds put out at each step is compared. Where they differ on purpose the scenario says
so by the name of the row in differences.py, and then they must differ exactly as that row has it:

        yield s.differs("row", flow.out(b"question"))
"""

import ipaddress
import logging
import random
import struct

logging.getLogger("scapy").setLevel(logging.ERROR)

# pylint: disable=wrong-import-position
from scapy.config import conf as scapy_conf  # noqa: E402

scapy_conf.use_pcap = False
from scapy.layers.inet import ICMP, IP, TCP, UDP  # noqa: E402
from scapy.layers.inet6 import (  # noqa: E402
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6Unknown,
    IPv6,
)
from scapy.packet import Packet as Layer, Raw  # noqa: E402

import packets
from world import (
    PERSONAL,
    RESOLVERS,
    UPLINK,
    UPLINK6,
    VIRTUAL_DNS,
    WORK,
    random_host,
)

# Every scenario has numbers of its own, so that none of them meets another one's flows.
FIRST_PORT, PORTS_EACH = 2048, 12
FIRST_LOW_PORT = 100
REMOTES_EACH = 8


class Injection:
    """One packet at one far end. @frame: instead of @packet, with its Ethernet header."""

    def __init__(self, port, packet, flow=None, frame=None):
        self.port = port
        self.packet = bytes(packet) if packet is not None else None
        self.frame = frame
        self.flow = flow


class Step:
    def __init__(self, injections, row=None):
        self.injections = injections
        self.row = row


class Outcome(list):
    """The packets that came out at one step, in order."""

    def at(self, port):
        return [packet for packet in self if packet.port == port]

    @property
    def uplink(self):
        return self.at("uplink")


def flat(parts):
    for part in parts:
        if isinstance(part, (list, tuple)):
            yield from flat(part)
        else:
            yield part


class Scenario:
    """One scenario in one world.

    @number: its place among all scenarios of this seed; decides what happens in it
    @slot: whose addresses and ports it uses; a second try has others
    """

    def __init__(self, family, function, number, slot, seed, world):
        self.family, self.number, self.slot = family, number, slot
        self.seed, self.world = seed, world
        self.name = function.__name__
        self.rng = random.Random(f"scenario/{seed}/{number}")
        self.marker = b"<%05d>" % slot
        self.first_port = FIRST_PORT + slot * PORTS_EACH
        self.ports = range(self.first_port, self.first_port + PORTS_EACH)
        self.own_ports = set()  # others that its flows have
        self.names = {}  # external port -> what it is called in comparisons
        # ports below 1024 are few: who needs one takes turns
        self.low_ports = iter(range(FIRST_LOW_PORT + slot % 400, 1024))
        self.generator = function(self)

    # Addresses and ports of its own.

    def remote(self, n=0, v6=False):
        if v6:
            return f"2001:2:1:{self.slot:x}::{n + 1:x}"
        return str(ipaddress.IPv4Address("198.18.0.0") + self.slot * REMOTES_EACH + n)

    def port(self, n=0):
        return self.first_port + n

    def data(self, extra=b"", size=None):
        """Payload that tells whose it is."""
        data = self.marker + extra
        if size is not None:
            data = (data + self.rng.randbytes(max(0, size - len(data))))[:size]
        return data

    def some_data(self):
        return self.data(size=self.rng.choice((7, 8, 9, 40, 41, 200, 999, 1200)))

    def version(self):
        return self.rng.random() < 0.4

    def qube(self):
        return self.rng.choice((WORK, PERSONAL))

    def service(self):
        return self.rng.choice((53, 80, 443, 123, 1023, 1024, 5000, 65535, 1))

    # Packets.

    def ip(self, source, destination, **fields):
        if ":" in source:
            for name, name6 in (("ttl", "hlim"), ("tos", "tc"), ("proto", "nh")):
                if name in fields:
                    fields[name6] = fields.pop(name)
            for name in ("flags", "id", "frag", "options"):
                fields.pop(name, None)
            fields.setdefault("hlim", 64)
            return IPv6(src=source, dst=destination, **fields)
        fields.setdefault("ttl", 64)
        fields.setdefault("id", self.rng.randrange(1, 65536))
        fields.setdefault("flags", self.rng.choice(("DF", "")))
        return IP(src=source, dst=destination, **fields)

    def from_qube(self, qube, destination, payload, flow=None, source=None, **fields):
        source = source or qube.address(":" in destination)
        return Injection(qube.name, self.ip(source, destination, **fields) / payload, flow)

    def from_uplink(self, source, payload, destination=None, flow=None, **fields):
        destination = destination or (UPLINK6 if ":" in source else UPLINK)
        fields.setdefault("ttl", 57)
        return Injection("uplink", self.ip(source, destination, **fields) / payload, flow)

    def inject(self, port, packet):
        """Any packet, bytes or layers."""
        return Injection(port, packet)

    # Steps.

    def differs(self, row, *injections):
        return Step(list(flat(injections)), row)

    # Flows.

    def udp(self, qube=None, v6=None, n=0, **other):
        return Udp(self, qube, v6, n, **other)

    def tcp(self, qube=None, v6=None, n=0, **other):
        return Tcp(self, qube, v6, n, **other)

    def ping(self, qube=None, v6=None, n=0, **other):
        return Ping(self, qube, v6, n, **other)

    def dns(self, kind, number, qube=None, n=0):
        """A flow to one of the virtual resolvers."""
        kind = {"tcp": Tcp, "udp": Udp}[kind]
        flow = kind(self, qube or self.qube(), False, n, remote=VIRTUAL_DNS[number], service=53)
        flow.real = RESOLVERS[number % len(RESOLVERS)]
        return flow

    def random_remote(self, v6):
        return random_host(self.rng, v6)


class Flow:
    """A flow that a qube opens, with both its ends in our hand.

    @n: which of the scenario's ports and remote hosts
    """

    protocol = None

    def __init__(self, s, qube=None, v6=None, n=0, remote=None, service=None, port=None):
        self.s = s
        self.qube = qube or s.qube()
        self.v6 = ":" in remote if remote else s.version() if v6 is None else v6
        self.remote = remote or s.remote(n, self.v6)
        self.real = self.remote  # who it is beyond the uplink
        self.service = s.service() if service is None else service
        self.port = port or s.port(n)
        self.s.own_ports.add(self.port)
        self.external = self.port  # as long as nothing else has been seen

    @property
    def inside(self):
        return self.qube.address(self.v6)

    @property
    def outside(self):
        return UPLINK6 if self.v6 else UPLINK

    def out_packet(self, payload, **fields):
        return self.s.from_qube(self.qube, self.remote, payload, flow=self, **fields)

    def back_packet(self, payload, source=None, **fields):
        return self.s.from_uplink(source or self.real, payload, **fields)

    def observe(self, outcome):
        """Learn the external port from what came out of the uplink."""
        key = "id" if self.protocol in (packets.ICMP, packets.ICMP6) else "sport"
        for packet in outcome.uplink:
            view = packet.view
            if view.get("protocol") == self.protocol and view.get("destination") == self.real:
                if key in view and view.get("dport", self.service) == self.service:
                    self.external = view[key]


class Udp(Flow):
    protocol = packets.UDP

    def out(self, data=None, udp=None, **fields):
        data = self.s.some_data() if data is None else data
        layer = UDP(sport=self.port, dport=self.service, **(udp or {}))
        return self.out_packet(layer / Raw(data), **fields)

    def back(self, data=None, udp=None, **fields):
        data = self.s.some_data() if data is None else data
        layer = UDP(sport=self.service, dport=self.external)
        for name, value in (udp or {}).items():
            setattr(layer, name, value)
        return self.back_packet(layer / Raw(data), **fields)


class Ping(Flow):
    """An ICMP query: echo, or with IPv4 timestamp."""

    kinds = {"echo": (8, 0), "timestamp": (13, 14), "information": (15, 16), "mask": (17, 18)}

    def __init__(self, *arguments, kind="echo", **other):
        super().__init__(*arguments, **other)
        self.types = (128, 129) if self.v6 else self.kinds[kind]
        self.kind = kind
        self.sequence = 0

    @property
    def protocol(self):
        return packets.ICMP6 if self.v6 else packets.ICMP

    def layer(self, answer, identifier, data, **icmp):
        data = self.s.data() if data is None else data
        if self.v6:
            kind = ICMPv6EchoReply if answer else ICMPv6EchoRequest
            return kind(id=identifier, seq=self.sequence, data=data, **icmp)
        layer = ICMP(type=self.types[answer], id=identifier, seq=self.sequence, **icmp)
        if self.kind == "timestamp":
            layer.ts_ori, layer.ts_rx, layer.ts_tx = 1000, 2000 * answer, 2000 * answer
        return layer / Raw(data)

    def out(self, data=None, answer=False, icmp=None, **fields):
        self.sequence += not answer
        return self.out_packet(self.layer(answer, self.port, data, **(icmp or {})), **fields)

    def back(self, data=None, answer=True, icmp=None, **fields):
        return self.back_packet(self.layer(answer, self.external, data, **(icmp or {})), **fields)


class End:
    """One end of a connection: where it stands."""

    def __init__(self, s, scale, window):
        self.next = s.rng.choice((s.rng.randrange(1 << 32), s.rng.randrange(1 << 32), 0xFFFFFF00))
        self.window = window
        self.scale = scale
        self.acknowledged = None  # the highest that it has


def before(number, other):
    """Whether a sequence number comes before another one; nothing comes before None."""
    return other is not None and (number - other) & 0xFFFFFFFF > 0x7FFFFFFF


class Tcp(Flow):
    """A connection. Each end counts what it sends; @keep sends without counting."""

    protocol = packets.TCP

    def __init__(self, *arguments, scale=None, window=None, **other):
        super().__init__(*arguments, **other)
        rng = self.s.rng
        scale = rng.choice((None, 0, 2, 7)) if scale is None else scale
        # whole in units of all scales, and of those that sluice counts windows in
        window = window or rng.choice((64128, 8192, 512, 65408))
        self.a, self.b = End(self.s, scale, window), End(self.s, scale, window)
        self.stamps = rng.random() < 0.4
        self.clock = rng.randrange(1 << 30)

    def options(self, flags, end):
        options = []
        if "S" in flags:
            options.append(("MSS", 1360))
            if end.scale is not None:
                options += [("NOP", None), ("WScale", end.scale)]
            options += [("SAckOK", b"")]
        if self.stamps:
            self.clock += 1
            options += [("Timestamp", (self.clock, 0 if flags == "S" else 1))]
        return options

    def segment(self, sender, receiver, ports, flags, data=b"", keep=False, **tcp):
        scale = sender.scale if "S" not in flags else None
        default_ack = receiver.next if "A" in flags else 0
        tcp.setdefault("seq", sender.next)
        tcp.setdefault("ack", default_ack)
        tcp.setdefault("window", min(65535, sender.window >> (scale or 0)))
        tcp.setdefault("options", self.options(flags, sender))
        tcp["seq"] &= 0xFFFFFFFF
        tcp["ack"] &= 0xFFFFFFFF
        layer = TCP(sport=ports[0], dport=ports[1], flags=flags, **tcp)
        if "A" in flags and not before(tcp["ack"], sender.acknowledged):
            sender.acknowledged = tcp["ack"]
        if not keep:
            end = tcp["seq"] + len(data) + ("S" in flags) + ("F" in flags)
            if (end - sender.next) & 0xFFFFFFFF < 0x80000000:
                sender.next = end & 0xFFFFFFFF
        return layer / Raw(data) if data else layer

    def out(self, flags, data=b"", ip=None, keep=False, **tcp):
        ports = (self.port, self.service)
        segment = self.segment(self.a, self.b, ports, flags, data, keep, **tcp)
        return self.out_packet(segment, **(ip or {}))

    def back(self, flags, data=b"", ip=None, keep=False, **tcp):
        ports = (self.service, self.external)
        segment = self.segment(self.b, self.a, ports, flags, data, keep, **tcp)
        return self.back_packet(segment, **(ip or {}))

    def handshake(self):
        yield self.out("S")
        yield self.back("SA")
        yield self.out("A")

    def close(self):
        yield self.out("FA")
        yield self.back("FA")
        yield self.out("A")


class Inward:
    """A flow towards a qube, through a forward or an allow. The client is its first end.

    @client: a qube, or None for a host across the uplink
    @address, @service: where it listens for the client
    @target, @target_port: who stands behind it
    """

    def inward(self, client, address, service, target, target_port):
        self.client, self.address, self.service = client, address, service
        self.target, self.target_port = target, target_port
        self.v6 = ":" in address
        if client:
            self.source = client.address(self.v6)
        else:
            self.source = self.s.remote(0, self.v6)
        # whom the target sees
        self.seen = self.source, self.port
        return self

    def out_packet(self, payload, **fields):
        payload.dport = self.service
        packet = self.s.ip(self.source, self.address, **fields) / payload
        return Injection(self.client.name if self.client else "uplink", packet, self)

    def back_packet(self, payload, **fields):
        payload.sport, payload.dport = self.target_port, self.seen[1]
        packet = self.s.ip(self.target.address(self.v6), self.seen[0], **fields) / payload
        return Injection(self.target.name, packet)

    def observe(self, outcome):
        for packet in outcome.at(self.target.name):
            if packet.view.get("dport") == self.target_port:
                self.seen = packet.view["source"], packet.view["sport"]


class InwardTcp(Inward, Tcp):
    pass


class InwardUdp(Inward, Udp):
    pass


# Errors.


def icmp_error(kind, code, quote, rest=bytes(4), v6=False):
    """An ICMP error as a layer, to be put behind an IP header."""
    if v6:
        return ICMPv6Unknown(type=kind, code=code, msgbody=rest + quote)
    body = struct.pack("!BBH", kind, code, 0) + rest + quote
    return Raw(body[:2] + struct.pack("!H", packets.checksum(body)) + body[4:])


def with_headers(injection, *headers):
    """The same injection with IPv6 extension headers, each (number, what follows its length)."""
    packet = injection.packet
    following, chain = packet[6], b""
    for number, body in reversed(headers):
        body += bytes(-(len(body) + 2) % 8)
        chain = bytes([following, (len(body) + 2) // 8 - 1]) + body + chain
        following = number
    length = struct.pack("!H", len(packet) - 40 + len(chain))
    injection.packet = packet[:4] + length + bytes([following]) + packet[7:40] + chain + packet[40:]
    return injection


__all__ = [
    name for name, thing in list(globals().items())
    if isinstance(thing, type) and issubclass(thing, (Layer, Flow, Inward, Injection, Step))
] + ["before", "icmp_error", "flat", "with_headers"]
