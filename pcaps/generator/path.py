# SPDX-License-Identifier: BSD-3-Clause
"""A flow as both of its ends see it, and TCP connections with the numbers real ones have.

A path knows which addresses and ports a packet bears when its sender sends it and when its
receiver gets it, in both directions. That is all there is to masquerade, forwards, hairpins and
flows between qubes, and to the ICMP errors about their packets: what an error quotes is a packet as
its receiver got it, and whoever sent that packet must find it as it was sent.
"""

from generator.case import *

THERE, BACK = 0, 1

# The rule in a verdict is that of the flow.
OF_FLOW = object()


def mac_beyond(port, address):
    """The MAC of whoever sends from @p address or is sent to there."""
    return next_hop_mac(address) if port == "uplink" else QUBE_MAC


class Path:
    """
    @p client and @p server are ports. @p sent is (source, port, destination, port) of what the
    client sends, @p seen of what the server gets. For ICMP queries ports are identifiers.
    @p rule is the one of the flow in verdicts, such as "work/policy"; @p back_rule the one of what
    the server sends, if another qube's rules let the flow in: nobody said how to name that.
    """

    def __init__(self, case, client, server, sent, seen, rule=None, back_rule=None):
        self.case = case
        self.rules = (rule, rule if back_rule is None else back_rule)
        self.port = (client, server)
        self.sent, self.seen = sent, seen

    def ends(self, direction):
        """How a packet of @p direction is sent, and how it is received."""
        if direction == THERE:
            return self.sent, self.seen
        return self.seen[2:] + self.seen[:2], self.sent[2:] + self.sent[:2]

    def frames(self, direction, make, **fields):
        """A packet of @p direction as it arrives and as it must leave. @p make gets two ports."""
        before, after = self.ends(direction)
        at, to = self.port[direction], self.port[not direction]
        mac = fields.pop("mac", mac_beyond(at, before[0]))
        if at == "uplink":
            fields.setdefault("hlim" if is_v6(before[0]) else "ttl", 57)
        layer = make(before[1], before[3])
        frame = Ether(src=mac, dst=our_mac(at)) / ip(before[0], before[2], **fields) / layer
        protocol = packets.upper_layer(ip_bytes(frame))[0]
        changes = {"source": after[0], "destination": after[2]}
        if protocol in (packets.TCP_PROTOCOL, packets.UDP_PROTOCOL):
            changes.update(source_port=after[1], destination_port=after[3])
        elif protocol in (packets.ICMP_PROTOCOL, packets.ICMP6_PROTOCOL):
            changes["identifier"] = after[1] or after[3]
        expect = forwarded(frame, our_mac(to), mac_beyond(to, after[2]), **changes)
        return frame, expect

    def pieces(self, direction, make, parts, number, **fields):
        """A packet, as it must leave if it does, and its pieces: @p parts are their lengths but of
        the last, @p number is its identification."""
        if not is_v6(self.sent[0]):
            fields = {"flags": 0, "id": number, **fields}
        frame, expect = self.frames(direction, make, **fields)
        return frame, expect, packets.cut(ip_bytes(frame), parts, number)

    def go(self, time, direction, make, rule=OF_FLOW, parts=None, number=0x1234, **fields):
        """A packet that passes, in @p parts if there are any."""
        more = {key: fields.pop(key) for key in ("order", "times") if key in fields}
        if parts is None:
            frame, expect = self.frames(direction, make, **fields)
        else:
            frame, expect, parts = self.pieces(direction, make, parts, number, **fields)
        at, to = self.port[direction], self.port[not direction]
        rule = self.rules[direction] if rule is OF_FLOW else rule
        self.case.passes(time, at, frame, to, expect, rule, parts, **more)
        return frame

    def stop(
        self, time, direction, make, reason, rule=OF_FLOW, answer=None, parts=None, **fields
    ):
        """A packet that does not pass. @p answer makes what its sender hears of frame and port."""
        if rule is OF_FLOW:
            rule = None if reason == "no-flow" else self.rules[direction]
        if parts is None:
            frame, _ = self.frames(direction, make, **fields)
        else:
            frame, _, parts = self.pieces(direction, make, parts, fields.pop("number"), **fields)
        at = self.port[direction]
        sent = [] if answer is None else [(at, answer(frame, at))]
        self.case.add(time, at, frame, sent, verdict="drop", reason=reason, rule=rule, parts=parts)
        return frame

    def lost(self, time, direction, make, reason, parts, chosen, number, **fields):
        """Some pieces of a packet, those @p chosen, which come to nothing."""
        frame, _, parts = self.pieces(direction, make, parts, number, **fields)
        for index in chosen:
            raw = bytes(frame)[:14] + parts[index]
            self.case.drop(time, self.port[direction], raw, reason)

    def udp(self, time, direction, data=b"sluice", **more):
        return self.go(time, direction, lambda a, b: udp(a, b, data), **more)

    def no_udp(self, time, direction, reason, data=b"sluice", **more):
        return self.stop(time, direction, lambda a, b: udp(a, b, data), reason, **more)

    def ping(self, time, direction, sequence=1, **more):
        six = is_v6(self.sent[0])
        reply = direction == BACK

        def make(a, b):
            return ping(a or b, sequence, v6=six, reply=reply)

        return self.go(time, direction, make, **more)

    # ICMP errors.

    def error_frames(
        self,
        direction,
        make,
        icmp_type,
        code,
        rest=bytes(4),
        length=None,
        hops=None,
        router=None,
        behind=b"",
        pad=0,
        alter=None,
        **fields,
    ):
        """
        An ICMP error that travels in @p direction about a packet of the other one: as it arrives
        and as it must leave. Quoted are @p length bytes (None: all) of what @p make made, with
        @p hops left, changed by @p alter, filled up to @p pad bytes, and then @p behind. @p router
        sent it; None: the far end itself. @p outer are fields of its own IP header.
        """
        names = ("outer", "destination")
        given = {key: fields.pop(key) for key in names if key in fields}
        as_sent, as_seen = self.frames(1 - direction, make, **fields)
        before, after = self.ends(direction)
        at, to = self.port[direction], self.port[not direction]
        six = is_v6(before[0])
        hops = hops or packets.hop_limit(ip_bytes(as_seen))
        quotations = []
        for frame in (as_seen, as_sent):
            quotation = packets.quoted(ip_bytes(frame), length, hops)
            quotation = alter(quotation) if alter else quotation
            quotations.append(quotation + bytes(max(0, pad - len(quotation))))
        frames = []
        source = (router or before[0], router or after[0])
        destination = (given.get("destination", before[2]), after[2])
        outer = dict(given.get("outer", {}))
        ttl = outer.pop("ttl", 57 if at == "uplink" else 64)
        for index, quotation in enumerate(quotations):
            ends = (source[index], destination[index])
            message = packets.icmp_message(
                icmp_type, code, rest, quotation + behind, *(ends if six else ())
            )
            kind = {"nh": 58, "hlim": ttl - index} if six else {"proto": 1, "ttl": ttl - index}
            if index == 0:
                ether = Ether(src=mac_beyond(at, ends[0]), dst=our_mac(at))
            else:
                ether = Ether(src=our_mac(to), dst=mac_beyond(to, ends[1]))
            frames.append(ether / ip(*ends, **kind, **outer) / Raw(message))
        return frames

    def error(self, time, direction, make, icmp_type, code, rest=bytes(4), **more):
        """An ICMP error that passes."""
        rule = more.pop("rule", self.rules[direction])
        frame, expect = self.error_frames(direction, make, icmp_type, code, rest, **more)
        at, to = self.port[direction], self.port[not direction]
        self.case.passes(time, at, frame, to, expect, rule)

    def no_error(self, time, direction, make, icmp_type, code, reason="icmp-error", **more):
        """An ICMP error that does not pass; of the rule in its verdict nothing is said."""
        rule = more.pop("rule", ANY)
        frame, _ = self.error_frames(direction, make, icmp_type, code, **more)
        at = self.port[direction]
        self.case.add(time, at, frame, verdict="drop", reason=reason, rule=rule)


def masquerade(case, qube, port, server=SERVER, server_port=80, external=None, rule="policy"):
    """A qube's own flow across the uplink, under its own port if that is free."""
    six = is_v6(server)
    return Path(
        case,
        qube.name,
        "uplink",
        (qube.ip6 if six else qube.ip, port, server, server_port),
        (UPLINK6 if six else UPLINK, external or port, server, server_port),
        f"{qube.name}/{rule}",
    )


def query_path(case, qube, identifier, server=SERVER, external=None, rule="policy"):
    """A qube's pings of @p server."""
    path = masquerade(case, qube, identifier, server, 0, external, rule)
    return path


class Connection:
    """A TCP connection on a path, with the sequence numbers its two ends would use.

    Segments take their numbers from the state of both ends; what a case gives by name (seq, ack,
    window, options) replaces them. What passes is reckoned as sent, what is stopped is not.
    """

    def __init__(self, path, first=None, answer=None, windows=(64240, 65160), options=([], [])):
        port = path.sent[1]
        # any numbers do; like real ones they are far apart
        self.next = [
            (port * 0x9E3779B1 if first is None else first) % 2**32,
            (port * 0x85EBCA77 + 0x1234567 if answer is None else answer) % 2**32,
        ]
        self.first = tuple(self.next)
        self.path, self.windows, self.options = path, list(windows), options

    def layer(self, direction, flags, data, fields):
        number = fields.pop("seq", self.next[direction]) % 2**32
        acknowledged = self.next[1 - direction] if "A" in flags else 0
        fields.setdefault("window", self.windows[direction])
        fields["ack"] = fields.get("ack", acknowledged) % 2**32
        if "S" in flags:
            fields.setdefault("options", self.options[direction])

        def make(source_port, destination_port):
            return tcp(source_port, destination_port, flags, data, seq=number, **fields)

        return number, make

    @staticmethod
    def split(fields):
        names = ("ack", "window", "options", "urgptr", "reserved", "seq")
        return {name: fields.pop(name) for name in names if name in fields}

    def send(self, time, direction, flags, data=b"", **fields):
        number, make = self.layer(direction, flags, data, self.split(fields))
        frame = self.path.go(time, direction, make, **fields)
        end = (number + len(data) + ("S" in flags) + ("F" in flags)) % 2**32
        if "S" in flags or 0 < (end - self.next[direction]) % 2**32 < 2**31:
            self.next[direction] = end
        return frame

    def out(self, time, flags="PA", data=b"", **fields):
        """A segment of the client that passes."""
        return self.send(time, THERE, flags, data, **fields)

    def back(self, time, flags="PA", data=b"", **fields):
        """A segment of the server that passes."""
        return self.send(time, BACK, flags, data, **fields)

    def stop(self, time, direction, flags, reason, data=b"", **fields):
        _, make = self.layer(direction, flags, data, self.split(fields))
        return self.path.stop(time, direction, make, reason, **fields)

    def no_out(self, time, flags, reason, data=b"", **fields):
        """A segment of the client that does not pass."""
        return self.stop(time, THERE, flags, reason, data, **fields)

    def no_back(self, time, flags, reason, data=b"", **fields):
        """A segment of the server that does not pass."""
        return self.stop(time, BACK, flags, reason, data, **fields)

    def open(self, time, step=0.01):
        self.out(time, "S")
        self.back(time + step, "SA")
        self.out(time + 2 * step, "A")
        return self

    def close(self, time, step=0.01):
        """Both ends say FIN, the client first."""
        self.out(time, "FA")
        self.back(time + step, "A")
        self.back(time + 2 * step, "FA")
        self.out(time + 3 * step, "A")
        return self

    def quoted(self, direction, flags="A", data=b"", **fields):
        """A maker of a segment of @p direction for ICMP errors to quote."""
        return self.layer(direction, flags, data, self.split(fields))[1]


def connect(case, qube, port, server=SERVER, server_port=80, rule="policy", **more):
    """A connection of a qube, not open yet."""
    path = masquerade(case, qube, port, server, server_port, more.pop("external", None), rule)
    return Connection(path, **more)
