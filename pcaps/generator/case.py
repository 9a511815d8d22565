# SPDX-License-Identifier: BSD-3-Clause
"""A case: what arrives, what must come of it, and the files that say so."""

import json
import pathlib
import shutil
import socket
import struct

from generator.world import *

HERE = pathlib.Path(__file__).resolve().parent.parent

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


def describe(packet):
    """The keys proto, source and destination of a verdict line, from the bytes of an IP packet."""
    names = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}
    protocol, at = packets.upper_layer(packet)
    family = socket.AF_INET if packets.version(packet) == 4 else socket.AF_INET6
    ends = [socket.inet_ntop(family, address) for address in packets.addresses(packet)]
    if protocol in (6, 17):
        ports = struct.unpack("!HH", packet[at : at + 4])
        text = "{}:{}" if packets.version(packet) == 4 else "[{}]:{}"
        ends = [text.format(end, port) for end, port in zip(ends, ports)]
    return {
        "proto": names.get(protocol, str(protocol)),
        "source": ends[0],
        "destination": ends[1],
    }


def is_fragment(raw):
    """Tell whether a frame holds a piece of an IP packet."""
    if raw[12:14] == b"\x08\x00":
        return struct.unpack("!H", raw[20:22])[0] & 0x3FFF != 0
    if raw[12:14] != b"\x86\xdd" or len(raw) < 54:
        return False
    packet = raw[14:]
    protocol, at = packet[6], 40
    while protocol in (packets.HOP_BY_HOP, packets.DESTINATION_OPTIONS) and at + 8 <= len(packet):
        protocol, at = packet[at], at + (packet[at + 1] + 1) * 8
    return protocol == packets.FRAGMENT_HEADER


# A key of a verdict line that the specification leaves open: it is not compared.
ANY = object()


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
MAKERS = []


def a_case(make):
    """Decorates a function that makes one case."""
    MAKERS.append(make)
    return make


class Case:
    """One folder: a configuration, what arrives, and what must come of it.

    Times are seconds since the start. Packets are added in any order; those of one port that
    arrive at the same time stay in the order they were added.

    @p proves names what a conformance table may point here for: requirements of RFCs as in
    "RFC 4787 REQ-1", and attacks. @p options go to sluice-replay. @p port_lines and @p qube_lines
    are more keys for the sections of ports and qubes, by name; @p sections more sections.
    """

    def __init__(
        self,
        name,
        about,
        proves=(),
        rules=None,
        uplink="",
        gateway="",
        qubes="",
        sections="",
        port_lines=None,
        qube_lines=None,
        options="",
    ):
        self.name, self.about, self.proves, self.options = name, about, proves, options
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
        self.sections = sections
        self.port_lines = port_lines or {}
        self.qube_lines = qube_lines or {}
        self.events = []
        self.resolution = 1000
        self.format = {}  # file: pcap, pcap-be, pcap-ns, pcapng, pcapng-ns
        self.tracked = True  # false: flows begin and end as tracker.py cannot know
        assert name not in CASES
        CASES[name] = self

    def add(
        self,
        time,
        port,
        frame,
        sent=(),
        file=None,
        wire=None,
        parts=None,
        order=None,
        times=None,
        known=None,
        **verdict,
    ):
        """A frame that arrives, its verdict, and the frames [(port, frame)...] that leave.

        With @p parts, the bytes of its fragments, it arrives in those: in @p order, at the same
        time or at @p times. The fragment that makes it whole causes what becomes of it, and bears
        its verdict; the others have joined it.

        @p known is the frame as everybody but its qube knows it, where addresses are exchanged.
        """
        raw = bytes(frame)
        line = {"port": port, "reason": None, "rule": None, "out": None, **verdict}
        event = {
            "file": file or f"in-{port}",
            "raw": raw,
            "wire": wire,
            "line": line,
            "sent": [(to, bytes(what)) for to, what in sent],
        }
        if known is not None:
            event["whole"] = ip_bytes(known)
        if parts is None:
            self.put(time, event)
            return
        order = list(order or range(len(parts)))
        times = list(times or [time] * len(parts))
        joined = {**line, "reason": None, "rule": None, "out": None, "verdict": "joined"}
        for index, when in zip(order[:-1], times[:-1], strict=True):
            self.put(when, {**event, "raw": raw[:14] + parts[index], "line": joined, "sent": []})
        last = raw[:14] + parts[order[-1]]
        self.put(times[-1], {**event, "raw": last, "whole": ip_bytes(frame)})

    def put(self, time, event):
        # to the microsecond, unless the case is about nanoseconds
        time_ns = round(time * 10**9 / self.resolution) * self.resolution
        self.events.append({"time": BASE_NS + time_ns, **event})

    # The verdicts, by who sent the packet.

    @staticmethod
    def leaving(expect, parts):
        """What leaves of a packet that came in @p parts: fragments no longer than they were."""
        if isinstance(expect, list):
            return expect
        if parts is None:
            return [expect]
        raw, number = bytes(expect), None
        if packets.version(parts[0]) == 6:
            at = packets.unfragmentable(parts[0])
            (number,) = struct.unpack("!I", parts[0][at + 4 : at + 8])
        cut = packets.cut_to(ip_bytes(expect), max(map(len, parts)), number)
        return [raw[:14] + part for part in cut]

    def passes(self, time, port, frame, to, expect, rule=None, parts=None, **more):
        """A packet that leaves by port @p to as @p expect, a frame or a list of them."""
        sent = [(to, what) for what in self.leaving(expect, parts)]
        self.add(
            time, port, frame, sent, verdict="forward", out=to, rule=rule, parts=parts, **more
        )

    def out(self, time, qube, frame, rule="policy", expect=None, parts=None, **changes):
        """A qube's packet that leaves by the uplink."""
        more = {
            key: changes.pop(key) for key in ("order", "times", "file", "known") if key in changes
        }
        expect = masqueraded(frame, **changes) if expect is None else expect
        rule = f"{qube.name}/{rule}"
        self.passes(time, qube.name, frame, "uplink", expect, rule, parts, **more)

    def back(self, time, qube, frame, rule="policy", expect=None, parts=None, **changes):
        """An answer from the uplink that reaches a qube. The rule is that of its flow."""
        more = {key: changes.pop(key) for key in ("order", "times", "file") if key in changes}
        expect = delivered(frame, qube, **changes) if expect is None else expect
        rule = rule if rule is ANY else f"{qube.name}/{rule}"
        self.passes(time, "uplink", frame, qube.name, expect, rule, parts, **more)

    def drop(self, time, port, frame, reason, rule=None, answer=None, **more):
        """A packet that ends here, and what its sender hears: nothing if there is no answer."""
        sent = [] if answer is None else [(port, answer)]
        qube = more.pop("qube", port)
        if rule is not None and rule is not ANY:
            rule = f"{qube}/{rule}"
        self.add(time, port, frame, sent, verdict="drop", reason=reason, rule=rule, **more)

    def refuse(self, time, qube, frame, reason="policy", rule="policy", **more):
        """A packet that its qube may not send, and is told so."""
        answer = prohibited(frame, qube.name)
        self.drop(time, qube.name, frame, reason, rule=rule, answer=answer, **more)

    def local(self, time, port, frame, answer=None, **more):
        """A packet that we take ourselves."""
        sent = [(port, answer)] if answer is not None else []
        self.add(time, port, frame, sent, verdict="local", **more)

    # Writing.

    def conf_text(self):
        text = "".join(f"# {line}\n" for line in self.about.strip().split("\n"))
        text += f"[gateway]\n{self.gateway}\n[port uplink]\ndevice = kernel:eth0\nrole = uplink\n"
        text += self.uplink + self.port_lines.get("uplink", "")
        for index, qube in enumerate((WORK, PERSONAL)):
            text += f"\n[port {qube.name}]\ndevice = kernel:vif{index + 1}.0\nrole = qube\n"
            text += f"qube = {qube.name}\n" + self.port_lines.get(qube.name, "")
        if self.qubes:
            return text + "\n" + self.qubes + self.sections
        for qube in (WORK, PERSONAL):
            text += f"\n[qube {qube.name}]\naddress = {qube.ip}\naddress6 = {qube.ip6}\n"
            text += f"mac = {QUBE_MAC}\n"
            if self.rules[qube.name] is not None:
                text += f"rules = {qube.name}.rules\n"
            text += self.qube_lines.get(qube.name, "")
        return text + self.sections

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
        if self.options:
            (folder / "options").write_text(self.options + "\n")
        proves = f"\nProves: {', '.join(self.proves)}\n" if self.proves else ""
        (folder / "README").write_text(self.about.strip() + "\n" + proves)
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
        for key in ("port", "verdict", "reason", "rule", "out"):
            if expected[key] is not ANY:
                line[key] = expected[key]
        nobody = {"proto": None, "source": None, "destination": None}
        if expected["verdict"] == "skip":
            line.update(nobody)
        elif event["raw"][12:14] == b"\x08\x06":
            line.update({**nobody, "proto": "arp"})
        elif "whole" in event:
            line.update(describe(event["whole"]))
        elif expected["reason"] not in {*PARSE_REASONS, ANY} and not is_fragment(event["raw"]):
            # what a piece of a packet is said to be, and what cannot be parsed, is left open
            line.update(describe(event["raw"][14:]))
        line["length"] = len(event["raw"])
        return json.dumps(line) + "\n"
