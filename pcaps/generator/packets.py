# SPDX-License-Identifier: BSD-3-Clause
"""IP packets as bytes: checksums, translation, fragments, and quotations in ICMP errors.

Nothing here is incremental: whatever changes in a packet, its checksums are computed anew from all
of it. So what sluice does by deltas is held against another way to the same sum.
"""

import ipaddress
import struct

ICMP_PROTOCOL, TCP_PROTOCOL, UDP_PROTOCOL, ICMP6_PROTOCOL = 1, 6, 17, 58
HOP_BY_HOP, FRAGMENT_HEADER, DESTINATION_OPTIONS = 0, 44, 60

# Where the checksum stands in the header of a protocol.
CHECKSUM_AT = {ICMP_PROTOCOL: 2, TCP_PROTOCOL: 16, UDP_PROTOCOL: 6, ICMP6_PROTOCOL: 2}


def ones_add(a, b):
    total = a + b
    return (total & 0xFFFF) + (total >> 16)


def checksum(data):
    """The Internet checksum (RFC 1071), complemented."""
    total = sum(word for (word,) in struct.iter_unpack("!H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def version(packet):
    return packet[0] >> 4


def packed(address):
    return ipaddress.ip_address(address).packed


def upper_layer(packet):
    """Protocol and place of the upper layer; of a later fragment, of what it holds."""
    if version(packet) == 4:
        return packet[9], (packet[0] & 15) * 4
    protocol, at = packet[6], 40
    while protocol in (HOP_BY_HOP, FRAGMENT_HEADER, DESTINATION_OPTIONS):
        length = 8 if protocol == FRAGMENT_HEADER else (packet[at + 1] + 1) * 8
        protocol, at = packet[at], at + length
    return protocol, at


def addresses(packet):
    if version(packet) == 4:
        return packet[12:16], packet[16:20]
    return packet[8:24], packet[24:40]


def header_summed(packet):
    """The packet with the checksum of its IPv4 header right."""
    if version(packet) == 6:
        return packet
    length = (packet[0] & 15) * 4
    header = packet[:10] + b"\0\0" + packet[12:length]
    return header[:10] + struct.pack("!H", checksum(header)) + packet[10 + 2 :]


def upper_sum(packet, protocol, at):
    """What belongs into the checksum field of a whole packet's upper layer."""
    data = packet[at:]
    if protocol == UDP_PROTOCOL:
        data = data[: struct.unpack("!H", data[4:6])[0]]
    place = CHECKSUM_AT[protocol]
    data = data[:place] + b"\0\0" + data[place + 2 :]
    if protocol != ICMP_PROTOCOL:
        source, destination = addresses(packet)
        data = source + destination + struct.pack("!II", len(data), protocol) + data
    total = checksum(data)
    return 0xFFFF if total == 0 and protocol == UDP_PROTOCOL else total


def summed(packet):
    """A whole packet with all its checksums right; a UDP checksum of zero stays (RFC 768)."""
    packet = header_summed(packet)
    protocol, at = upper_layer(packet)
    if protocol not in CHECKSUM_AT:
        return packet
    place = at + CHECKSUM_AT[protocol]
    if protocol == UDP_PROTOCOL and packet[place : place + 2] == b"\0\0":
        return packet
    total = struct.pack("!H", upper_sum(packet, protocol, at))
    return packet[:place] + total + packet[place + 2 :]


def with_bytes(packet, at, data):
    return packet[:at] + data + packet[at + len(data) :]


def with_hops(packet, hops):
    return header_summed(with_bytes(packet, 8 if version(packet) == 4 else 7, bytes([hops])))


def hop_limit(packet):
    return packet[8 if version(packet) == 4 else 7]


def translated(packet, hops=1, **changes):
    """A whole packet as a translator sends it on: source, destination, source_port,
    destination_port, identifier (of an ICMP query) as given, and @p hops less to go."""
    place = (12, 16) if version(packet) == 4 else (8, 24)
    protocol, at = upper_layer(packet)
    for name, where in zip(("source", "destination"), place):
        if name in changes:
            packet = with_bytes(packet, where, packed(changes.pop(name)))
    if protocol in (TCP_PROTOCOL, UDP_PROTOCOL):
        for name, where in (("source_port", at), ("destination_port", at + 2)):
            if name in changes:
                packet = with_bytes(packet, where, struct.pack("!H", changes.pop(name)))
    if "identifier" in changes:
        packet = with_bytes(packet, at + 4, struct.pack("!H", changes.pop("identifier")))
    assert not changes, changes
    return with_hops(summed(packet), hop_limit(packet) - hops)


# Fragments.


def copied_options(options):
    """The IPv4 options that belong into every fragment (RFC 791), padded."""
    kept, at = b"", 0
    while at < len(options) and options[at] != 0:
        length = 1 if options[at] == 1 else options[at + 1]
        if options[at] & 0x80:
            kept += options[at : at + length]
        at += length
    return kept + bytes(-len(kept) % 4)


def fragment4(packet, start, length, more, identification=None):
    """The bytes @p start to @p start + @p length of an IPv4 packet's payload, as a fragment."""
    header_length = (packet[0] & 15) * 4
    header = packet[:header_length]
    if start > 0:
        header = header[:20] + copied_options(header[20:])
    part = packet[header_length + start : header_length + start + length]
    offset = struct.unpack("!H", header[6:8])[0] & 0x4000 | (0x2000 if more else 0) | start // 8
    header = bytes([0x40 | len(header) // 4]) + header[1:]
    header = with_bytes(header, 2, struct.pack("!H", len(header) + len(part)))
    header = with_bytes(header, 6, struct.pack("!H", offset))
    if identification is not None:
        header = with_bytes(header, 4, struct.pack("!H", identification))
    return header_summed(header + part)


def unfragmentable(packet):
    """Length of the part that stands in every fragment: up to the fragment header."""
    return 40 + (packet[41] + 1) * 8 if packet[6] == HOP_BY_HOP else 40


def fragment6(packet, start, length, more, identification):
    """The bytes @p start to @p start + @p length of an IPv6 packet's fragmentable part."""
    at = unfragmentable(packet)
    before = packet[:at]
    place = 6 if at == 40 else 40
    header = struct.pack("!BBHI", before[place], 0, start & 0xFFF8 | more, identification)
    before = with_bytes(before, place, bytes([FRAGMENT_HEADER]))
    part = packet[at + start : at + start + length]
    before = with_bytes(before, 4, struct.pack("!H", at - 40 + 8 + len(part)))
    return before + header + part


def cut(packet, lengths, identification=None):
    """A whole packet in fragments: payload bytes of each but the last, which gets the rest."""
    six = version(packet) == 6
    at = unfragmentable(packet) if six else (packet[0] & 15) * 4
    parts, start, total = [], 0, len(packet) - at
    for length in [*lengths, total - sum(lengths)]:
        more = start + length < total
        if six:
            parts.append(fragment6(packet, start, length, more, identification or 0x1234ABCD))
        else:
            parts.append(fragment4(packet, start, length, more, identification))
        start += length
    return parts


def cut_to(packet, longest, identification=None):
    """A whole packet in fragments of at most @p longest bytes each, as few as can be."""
    if len(packet) <= longest:
        return [packet]
    six = version(packet) == 6
    at = unfragmentable(packet) if six else (packet[0] & 15) * 4
    later = at if six else 20 + len(copied_options(packet[20:at]))
    total, lengths, header = len(packet) - at, [], at
    while total - sum(lengths) > longest - header - 8 * six:
        lengths.append((longest - header - 8 * six) // 8 * 8)
        header = later
    return cut(packet, lengths, identification)


# Quotations.


def quoted(packet, length=None, hops=None):
    """What an ICMP error quotes of a packet that arrived with @p hops left."""
    packet = packet if hops is None else with_hops(packet, hops)
    return packet[:length]


def icmp_message(icmp_type, code, rest, payload, source=None, destination=None):
    """An ICMP error, or an ICMPv6 one if there are addresses; @p rest are its bytes 4 to 7."""
    message = struct.pack("!BBH", icmp_type, code, 0) + rest + payload
    pseudo = b""
    if source is not None:
        pseudo = packed(source) + packed(destination)
        pseudo += struct.pack("!II", len(message), ICMP6_PROTOCOL)
    return with_bytes(message, 2, struct.pack("!H", checksum(pseudo + message)))
