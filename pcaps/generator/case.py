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
MAKERS = []


def a_case(make):
    """Decorates a function that makes one case."""
    MAKERS.append(make)
    return make


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

    def close(self, time, qube, port, destination=SERVER):
        """Both sides say FIN; the flow is in TIME_WAIT afterwards."""
        self.out(time, qube, from_qube(qube, destination, tcp(port, 80, "FA", seq=1101, ack=2201)))
        frame = from_uplink(destination, tcp(80, port, "A", seq=2201, ack=1102))
        self.back(time + 0.01, qube, frame)
        frame = from_uplink(destination, tcp(80, port, "FA", seq=2201, ack=1102))
        self.back(time + 0.02, qube, frame)
        frame = from_qube(qube, destination, tcp(port, 80, "A", seq=1102, ack=2202))
        self.out(time + 0.03, qube, frame)

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
