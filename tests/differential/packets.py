# SPDX-License-Identifier: BSD-3-Clause
"""What came out: parsed, checked, put together and made comparable.

A view is a flat dictionary of everything in a packet that its receiver could tell apart, but for
IP identifications: MACs, addresses, ports, flags, numbers, options, payload, whether each checksum
is right, and for an ICMP error the same of the packet that it quotes, under names that start with
"quote.".
"""

import ipaddress
import logging
import struct

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
ERRORS = {3, 4, 5, 11, 12}
QUERIES = {0, 8, 13, 14, 15, 16, 17, 18}
QUERIES6 = {128, 129}


def ones_sum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksum(data):
    return ~ones_sum(data) & 0xFFFF


def pseudo_header(source, destination, protocol, length):
    if len(source) == 4:
        return source + destination + struct.pack("!BBH", 0, protocol, length)
    return source + destination + struct.pack("!II", length, protocol)


def l4_checksum_right(source, destination, protocol, data):
    if protocol == ICMP:
        return ones_sum(data) == 0xFFFF
    return ones_sum(pseudo_header(source, destination, protocol, len(data)) + data) == 0xFFFF


def text(address):
    return str(ipaddress.ip_address(address))


class Packet:
    """An IP packet that came out of a port, or several fragments put together."""

    __slots__ = ("port", "raw", "view", "name", "fragments")

    def __init__(self, port, raw, ethernet=b""):
        self.port = port
        self.raw = raw  # from the IP header on
        self.fragments = None
        self.view, self.name = parse(raw)
        self.view["ethernet"] = ethernet.hex()

    def __repr__(self):
        note = f" in fragments {self.fragments}" if self.fragments else ""
        return f"{self.port}: {summary(self.raw, self.view)}{note}"


def parse(raw, quoted=False):
    """The view of a packet, and the name of its datagram if it is a fragment."""
    try:
        if raw[0] >> 4 == 4 and len(raw) >= 20:
            return parse_ipv4(raw, quoted)
        if raw[0] >> 4 == 6 and len(raw) >= 40:
            return parse_ipv6(raw, quoted)
    except (IndexError, struct.error):
        pass
    return {"malformed": raw.hex()}, None


def parse_ipv4(raw, quoted):
    header = (raw[0] & 15) * 4
    total, identification, place = struct.unpack_from("!HHH", raw, 2)
    source, destination = raw[12:16], raw[16:20]
    view = {
        "family": 4,
        "tos": raw[1],
        "length": total,
        "df": place >> 14 & 1,
        "mf": place >> 13 & 1,
        "offset": (place & 0x1FFF) * 8,
        "ttl": raw[8],
        "protocol": raw[9],
        "header-checksum": "right" if ones_sum(raw[:header]) == 0xFFFF else "wrong",
        "source": text(source),
        "destination": text(destination),
        "options": raw[20:header].hex(),
    }
    if place >> 15:
        view["reserved-bit"] = 1
    body = raw[header:total] if not quoted else raw[header:]
    if not quoted and total != len(raw):
        view["behind"] = raw[total:].hex()
    if view["mf"] or (view["offset"] and not quoted):
        name = (source, destination, raw[9], identification)
        if not quoted:
            view["payload"] = body.hex()
            return view, name
    if view["offset"] == 0:
        parse_l4(view, source, destination, raw[9], body, quoted or view["mf"])
    return view, None


def parse_ipv6(raw, quoted):
    first, length, protocol, hops = struct.unpack_from("!IHBB", raw)
    source, destination = raw[8:24], raw[24:40]
    view = {
        "family": 6,
        "tos": first >> 20 & 0xFF,
        "flow-label": first & 0xFFFFF,
        "length": 40 + length,
        "ttl": hops,
        "source": text(source),
        "destination": text(destination),
    }
    at, extensions = 40, []
    name = None
    while protocol in (HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, FRAGMENT):
        if len(raw) < at + 8:
            break
        if protocol == FRAGMENT:
            following, _, place, identification = struct.unpack_from("!BBHI", raw, at)
            view["offset"], view["mf"] = place & 0xFFF8, place & 1
            name = (source, destination, identification)
            size = 8
        else:
            following, size = raw[at], (raw[at + 1] + 1) * 8
            extensions.append(f"{protocol}:{raw[at + 1 : at + size].hex()}")
        protocol = following
        at += size
        if name:
            break
    view["protocol"] = protocol
    view["extensions"] = " ".join(extensions)
    body = raw[at : 40 + length] if not quoted else raw[at:]
    if not quoted and 40 + length != len(raw):
        view["behind"] = raw[40 + length :].hex()
    if name and not quoted:
        view["payload"] = body.hex()
        return view, name
    if not view.get("offset"):
        parse_l4(view, source, destination, protocol, body, quoted or name)
    return view, None


def parse_l4(view, source, destination, protocol, body, partial):
    """Add the upper layer; @partial: it may be cut off, so that its checksum says nothing."""
    right = None
    if not partial:
        right = l4_checksum_right(source, destination, protocol, body)
    if protocol == TCP and len(body) >= 20:
        view["sport"], view["dport"], view["seq"], view["ack"] = struct.unpack_from("!HHII", body)
        flags, view["window"], total, view["urgent"] = struct.unpack_from("!HHHH", body, 12)
        header = (flags >> 12) * 4
        view["flags"] = flags & 0xFFF
        view["tcp-options"] = body[20:header].hex()
        view["payload"] = body[header:].hex()
    elif protocol == TCP and partial and len(body) >= 8:
        view["sport"], view["dport"], view["seq"] = struct.unpack_from("!HHI", body)
        view["payload"] = body[8:].hex()
        return
    elif protocol == UDP and len(body) >= 8:
        view["sport"], view["dport"], view["udp-length"], total = struct.unpack_from("!HHHH", body)
        view["payload"] = body[8:].hex()
        if total == 0:
            right = None
            view["l4-checksum"] = "none"
        elif not partial and view["udp-length"] != len(body) and 8 <= view["udp-length"]:
            right = l4_checksum_right(source, destination, protocol, body[: view["udp-length"]])
            # the pseudo-header holds the length that UDP has, not IP
    elif protocol in (ICMP, ICMP6) and len(body) >= 8:
        view["type"], view["code"], total = struct.unpack_from("!BBH", body)
        error = view["type"] < 128 if protocol == ICMP6 else view["type"] in ERRORS
        if error:
            view["rest"] = body[4:8].hex()
            if partial:
                view["payload"] = body[8:].hex()
                return
            quote, _ = parse(body[8:], quoted=True)
            view.update((f"quote.{key}", value) for key, value in quote.items())
        elif view["type"] in (QUERIES6 if protocol == ICMP6 else QUERIES):
            view["id"], view["sequence"] = struct.unpack_from("!HH", body, 4)
            view["payload"] = body[8:].hex()
        else:
            view["payload"] = body[4:].hex()
    else:
        view["payload"] = body.hex()
        return
    if partial:
        # as it stands: whoever gets the quote back sent it so
        view["l4-checksum"] = f"{total:04x}"
    elif right is not None:
        view["l4-checksum"] = "right" if right else "wrong"


def joined(packets):
    """Put fragments together where all are there; what is incomplete stays as it is.

    A datagram stands where its first fragment came out.
    """
    groups = {}
    result = []
    for packet in packets:
        if packet.name is None:
            result.append(packet)
            continue
        name = (packet.port, packet.name)
        if name not in groups:
            groups[name] = []
            result.append(groups[name])
        groups[name].append(packet)
    final = []
    for entry in result:
        if isinstance(entry, list):
            final += join(entry)
        else:
            final.append(entry)
    return final


def join(parts):
    whole = bytearray()
    at = 0
    places = []
    for part in sorted(parts, key=lambda part: part.view["offset"]):
        data = bytes.fromhex(part.view["payload"])
        if part.view["offset"] != at:
            return parts
        whole += data
        at += len(data)
    if sum(not part.view["mf"] for part in parts) != 1:
        return parts
    for part in parts:
        places.append((part.view["offset"], len(part.view["payload"]) // 2))
    first = min(parts, key=lambda part: part.view["offset"])
    raw = bytearray(first.raw)
    if first.view["family"] == 4:
        header = (raw[0] & 15) * 4
        raw = raw[:header] + whole
        place = struct.unpack_from("!H", raw, 6)[0] & 0x4000
        struct.pack_into("!H", raw, 2, len(raw) & 0xFFFF)
        struct.pack_into("!H", raw, 6, place)
        struct.pack_into("!H", raw, 10, 0)
        struct.pack_into("!H", raw, 10, checksum(bytes(raw[:header])))
        wrong = [part for part in parts if part.view["header-checksum"] != "right"]
    else:
        at, before = 40, 6
        while raw[before] != FRAGMENT:
            before, at = at, at + (raw[at + 1] + 1) * 8
        raw[before] = raw[at]
        raw = raw[:at] + whole
        struct.pack_into("!H", raw, 4, len(raw) - 40)
        wrong = []
    packet = Packet(first.port, bytes(raw), bytes.fromhex(first.view["ethernet"]))
    packet.fragments = places
    if wrong:
        packet.view["header-checksum"] = "wrong"
    for field in ("ttl", "tos", "df", "ethernet"):
        values = {part.view.get(field) for part in parts}
        if len(values) > 1:
            packet.view[field] = sorted(map(str, values))
    return [packet]


def differing(kernel, sluice):
    """The fields in which two views differ."""
    if kernel == sluice:
        return []
    return sorted(
        key for key in kernel.keys() | sluice.keys() if kernel.get(key) != sluice.get(key)
    )


SHOWN = ("ttl", "tos", "df", "seq", "ack", "window", "type", "code", "rest", "id")


def summary(raw, view):
    """One line for people: what scapy calls it, and the numbers that matter."""
    logging.getLogger("scapy").setLevel(logging.ERROR)
    # pylint: disable=import-outside-toplevel
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

    packet = IP(raw) if raw[:1] and raw[0] >> 4 == 4 else IPv6(raw)
    numbers = [f"{name}={view[name]}" for name in SHOWN if view.get(name)]
    return f"{packet.summary()} [{' '.join([f'{len(raw)} bytes', *numbers])}]"
