# SPDX-License-Identifier: BSD-3-Clause
"""The TCP tracker of spec/nat.md once more, to hold the cases against it.

A case says what becomes of each segment. Whether that is what the specification's table, windows
and timeouts make of it is checked here, when the cases are made: a sequence number that nobody
would send, or a segment expected to pass that cannot, is found before sluice is asked.

Where the specification leaves room (how far beyond its window a segment may be, what a RST in the
middle of unacknowledged data does) there is no verdict, and no case may go there.
"""

import re
import struct

from generator import packets
from generator.case import is_fragment

FIN, SYN, RST, ACK, URG = 1, 2, 4, 16, 32

STATES = ("NO", "SS", "SR", "ES", "FW", "CW", "LA", "TW", "CL", "S2")
TABLE = {
    (0, "syn"): "SS SS IG IG IG IG IG SS SS S2",
    (0, "synack"): "IV IV SR IV IV IV IV IV IV SR",
    (0, "fin"): "IV IV FW FW LA LA LA TW CL IV",
    (0, "ack"): "ES IV ES ES CW CW TW TW CL IV",
    (0, "rst"): "IV CL CL CL CL CL CL CL CL CL",
    (1, "syn"): "IV S2 IV IV IV IV IV SS IV S2",
    (1, "synack"): "IV SR IG IG IG IG IG IG IG SR",
    (1, "fin"): "IV IV FW FW LA LA LA TW CL IV",
    (1, "ack"): "IV IG SR ES CW CW TW TW CL IG",
    (1, "rst"): "IV CL CL CL CL CL CL CL CL CL",
}
SETS = {
    SYN: "syn",
    SYN | URG: "syn",
    SYN | ACK: "synack",
    RST: "rst",
    RST | ACK: "rst",
    FIN | ACK: "fin",
    FIN | ACK | URG: "fin",
    ACK: "ack",
    ACK | URG: "ack",
}
# seconds, by key under [timeouts]
TIMEOUTS = {
    "tcp-syn-sent": 240,
    "tcp-syn-recv": 240,
    "tcp-established": 7440,
    "tcp-fin-wait": 240,
    "tcp-close-wait": 240,
    "tcp-last-ack": 240,
    "tcp-time-wait": 240,
    "tcp-close": 10,
}
KEYS = dict(zip(STATES[1:], [*TIMEOUTS, "tcp-syn-sent"]))
# a flow ends this much later than it must, at most, as far as cases go
SLACK = 2.2

OPEN = object()  # no verdict: the specification leaves it open


def before(a, b):
    return (a - b) % 2**32 >= 2**31


def after(a, b):
    return before(b, a)


class Segment:
    def __init__(self, packet):
        at = packets.upper_layer(packet)[1]
        ports = struct.unpack("!HH", packet[at : at + 4])
        self.sequence, self.acknowledgement = struct.unpack("!II", packet[at + 4 : at + 12])
        header = (packet[at + 12] >> 4) * 4
        self.flags = packet[at + 13] & (FIN | SYN | RST | ACK | URG)
        self.window = struct.unpack("!H", packet[at + 14 : at + 16])[0]
        self.length = len(packet) - at - header
        self.options = packet[at + 20 : at + header]
        source, destination = packets.addresses(packet)
        self.tuple = (source, ports[0], destination, ports[1])
        self.end = (self.sequence + self.length + (self.flags & 3).bit_count()) % 2**32
        self.kind = SETS.get(self.flags)
        self.scale, self.sack = None, None
        self.read_options()

    def read_options(self):
        options = self.options
        while options and options[0] != 0:
            if options[0] == 1:
                options = options[1:]
                continue
            if options[0] == 3:
                self.scale = min(options[2], 14)
            if options[0] == 5:
                blocks = struct.iter_unpack("!II", options[2 : options[1]])
                for _, edge in blocks:
                    if self.sack is None or after(edge, self.sack):
                        self.sack = edge
            options = options[options[1] :]


class End:
    def __init__(self):
        self.end = self.max_end = self.max_window = 0
        self.scale, self.offered, self.max_ack = 0, False, None


class Flow:
    def __init__(self, segment, timeouts, now):
        self.state, self.ends = "SS", [End(), End()]
        self.timeouts = timeouts
        self.deadline = now + timeouts[KEYS["SS"]]
        self.remembered = None
        self.begin(0, segment)

    def begin(self, side, segment):
        end = self.ends[side] = End()
        end.end = end.max_end = segment.end
        end.max_window = max(segment.window, 1)
        end.scale, end.offered = segment.scale or 0, segment.scale is not None

    def settle_scale(self):
        if not all(end.offered for end in self.ends):
            for end in self.ends:
                end.scale = 0

    def window(self, side, segment):
        """pass, ignore, window, or OPEN; counts a segment that passes."""
        sender, receiver = self.ends[side], self.ends[1 - side]
        if sender.max_window == 0:
            if not segment.flags & SYN:
                # a RST that answers the SYN: it must not acknowledge more than that
                if not segment.flags & ACK or segment.acknowledgement == receiver.end:
                    return "pass"
                return "window" if after(segment.acknowledgement, receiver.end) else OPEN
            self.begin(side, segment)
            sender = self.ends[side]
            self.settle_scale()
            if not segment.flags & ACK:
                return "pass"
        acked = segment.acknowledgement if segment.flags & ACK else receiver.end
        if segment.flags & RST and acked == 0:
            acked = receiver.end
        sack = acked if segment.sack is None or before(segment.sack, acked) else segment.sack
        sequence, end = segment.sequence, segment.end
        if segment.flags & RST and sequence == 0 and self.state == "SS":
            sequence = end = sender.end
        if after(sequence, sender.max_end):
            # beyond the window; a small overshoot is let pass, whatever is small
            near = (sequence - sender.max_end) % 2**32 <= receiver.max_window
            return OPEN if near else "window"
        if after(sack, receiver.end):
            return "window"
        if before(end, (sender.end - receiver.max_window) % 2**32):
            return "ignore"
        if before(sack, (receiver.end - max(66000, sender.max_window)) % 2**32):
            return "ignore"
        shift = 0 if segment.flags & SYN else sender.scale
        window = segment.window << shift
        if segment.flags & ACK and (sender.max_ack is None or after(acked, sender.max_ack)):
            sender.max_ack = acked
        sender.max_window = max(sender.max_window, window + (sack - acked) % 2**32)
        if after(end, sender.end):
            sender.end = end
        if receiver.max_window and after(end, sender.max_end):
            receiver.max_window += (end - sender.max_end) % 2**32
        if not before((sack + window) % 2**32, receiver.max_end):
            receiver.max_end = (sack + max(window, 1)) % 2**32
        return "pass"

    def reset(self, side, segment):
        """close, keep, window, or OPEN: what a RST does."""
        other = self.ends[1 - side]
        if other.max_ack is None:
            return "close"
        if segment.sequence == 0 and self.state not in ("ES", "FW", "CW", "LA"):
            return "close"
        if before(segment.sequence, other.max_ack):
            return "window"
        if self.state != "ES" or segment.sequence == other.max_ack:
            return "close"
        return OPEN if segment.sequence == self.ends[side].end else "keep"

    def track(self, side, segment, now):
        """pass, state, window, reopen, or OPEN."""
        if segment.kind is None:
            return "flags"
        new = TABLE[side, segment.kind].split()[STATES.index(self.state)]
        if new == "IV" or (new == "SS" and side == 1):
            return "state"
        if new == "SS" and self.state != "SS":
            return "reopen"
        if new == "IG":
            if segment.kind == "syn":
                self.remembered = segment
            if segment.kind == "synack" and self.answers(segment):
                self.begin(0, self.remembered)
                self.ends[1] = End()
                self.remembered = None
                new = "SR"
                self.state = "SS"
            else:
                return "pass"
        keep = False
        if segment.kind == "rst":
            said = self.reset(side, segment)
            if said in ("window", OPEN):
                return said
            keep = said == "keep"
        said = self.window(side, segment)
        if said == "ignore":
            return "pass"
        if said != "pass":
            return said
        if keep:
            return "pass"
        old, self.state = self.state, new
        if segment.kind == "syn" and new == old:
            return "pass"
        deadline = now + self.timeouts[KEYS[new]]
        if segment.kind != "rst" or deadline < self.deadline:
            self.deadline = deadline
        return "pass"

    def answers(self, segment):
        return self.remembered is not None and segment.acknowledgement == self.remembered.end


def tcp_packet(event):
    """The whole TCP packet of an event, if it is one that can be read."""
    packet = event.get("whole")
    if packet is None:
        raw = event["raw"]
        if raw[12:14] not in (b"\x08\x00", b"\x86\xdd") or is_fragment(raw) or len(raw) < 54:
            return None
        packet = raw[14:]
        if packets.version(packet) == 4:
            packet = packet[: struct.unpack("!H", packet[2:4])[0]]
        else:
            packet = packet[: 40 + struct.unpack("!H", packet[4:6])[0]]
    if packets.version(packet) not in (4, 6):
        return None
    protocol, at = packets.upper_layer(packet)
    return packet if protocol == packets.TCP_PROTOCOL and len(packet) >= at + 20 else None


def mirrored(numbers):
    return numbers[2:] + numbers[:2]


def out_tuple(event):
    """The tuple under which a TCP packet leaves, of the first piece of it."""
    raw = event["sent"][0][1]
    return Segment(raw[14:]).tuple


TRACKERS = {"tcp-state": "state", "tcp-window": "window", "no-flow": "none", None: "pass"}


# What ends a segment that its connection has seen already.
AFTER = {"time-exceeded", "too-big", "rule", "policy"}


def without(flows, flow):
    return {key: value for key, value in flows.items() if value[0] is not flow}


def check(case):
    """Hold a case against the specification."""
    flows, latest = {}, 0
    timeouts = dict(TIMEOUTS)
    for key, seconds in re.findall(r"^(tcp-[a-z-]+) = (\d+)$", case.sections, re.MULTILINE):
        timeouts[key] = int(seconds)
    for number, event in enumerate(case.merged(), 1):
        latest = max(latest, event["time"])
        now = latest / 1e9
        reason, verdict = event["line"]["reason"], event["line"]["verdict"]
        if verdict not in ("forward", "drop") or reason not in {*TRACKERS, *AFTER}:
            continue
        packet = tcp_packet(event)
        if packet is None:
            continue
        segment = Segment(packet)
        where = f"{case.name}, packet {number}"
        flow, side = flows.get((event["line"]["port"], segment.tuple), (None, 0))
        if flow is not None and flow.deadline < now:
            assert now > flow.deadline + SLACK, f"{where}: too near to the end of its flow"
            flow = None
        if flow is not None and reason == "no-flow" and not case.tracked:
            flows = without(flows, flow)  # it has made room for another one
            flow = None
        if flow is not None:
            said = flow.track(side, segment, now)
            if reason in AFTER:
                if said == "reopen":
                    flows = without(flows, flow)
                continue
            assert said is not OPEN, f"{where}: the specification does not say"
            if said != "reopen":
                assert said == TRACKERS[reason], f"{where}: {said} by the specification"
                continue
        if reason in AFTER:
            continue
        if verdict == "drop":
            unsolicited = event["line"]["port"] == "uplink"
            assert unsolicited == (reason == "no-flow"), f"{where}: no flow, but {reason}"
            continue
        if segment.kind != "syn":
            assert not case.tracked, f"{where}: opens no flow"
            continue
        opened = Flow(segment, timeouts, now)
        flows[event["line"]["port"], segment.tuple] = (opened, 0)
        flows[event["line"]["out"], mirrored(out_tuple(event))] = (opened, 1)
