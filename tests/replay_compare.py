#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compare what a replay gave with what its case expects: `replay_compare.py CASE_DIR OUT_DIR`.

Prints every difference: for packets what scapy (if installed) sees in both of them and where their
bytes differ, for verdicts the keys that differ. Exit status 1 if there are any.

Everything is compared to the byte but identifications that are chosen anew by a secret key: those
of fragments, and of IPv4 packets that a router may fragment (DF clear). A case cannot know them, so
an expected identification is only a name: whatever stands in its place must stand there each time,
and nowhere else between the same two hosts. The header checksum must be right for it. Where DF is
clear it must also be a new one: not the one that came in, nor made of it by adding or flipping the
same bits each time. An expected 0 is no name: it stands in what sluice says itself.
"""

import itertools
import json
import pathlib
import struct
import sys

SHOWN = 12  # differences per file


def packets(path):
    """The (timestamp, bytes) of a pcap file as sluice-replay writes it."""
    if not path.exists():
        return []
    data = path.read_bytes()
    magic, _, _, _, _, _, link = struct.unpack_from("=IHHIIII", data)
    if magic not in (0xA1B2C3D4, 0xA1B23C4D) or link != 1:
        return [("header", data[:24])]
    digits = 9 if magic == 0xA1B23C4D else 6
    found, at = [], 24
    while at < len(data):
        seconds, part, length, wire = struct.unpack_from("=IIII", data, at)
        note = "" if wire == length else f", {wire} on the wire"
        found.append((f"{seconds}.{part:0{digits}d}{note}", data[at + 16 : at + 16 + length]))
        at += 16 + length
    return found


def summary(raw):
    try:
        import logging

        logging.getLogger("scapy").setLevel(logging.ERROR)
        import scapy.layers.inet
        import scapy.layers.inet6  # noqa: F401: both teach Ether what may follow
        from scapy.layers.l2 import Ether
    except ImportError:
        return f"{len(raw)} bytes"
    packet = Ether(raw)
    fields = [f"{packet.src} > {packet.dst}"]
    for layer, names in (
        ("IP", ("id", "flags", "ttl", "tos", "chksum")),
        ("IPv6", ("hlim", "tc", "fl")),
        ("TCP", ("flags", "seq", "ack", "chksum")),
        ("UDP", ("chksum",)),
        ("ICMP", ("type", "code", "id", "chksum")),
    ):
        if packet.haslayer(layer):
            layer = packet.getlayer(layer)
            fields += [f"{name}={getattr(layer, name, None)}" for name in names]
    return f"{len(raw)} bytes, {packet.summary()}; {' '.join(fields)}"


def differing(expected, got):
    places = [
        at
        for at, pair in enumerate(itertools.zip_longest(expected, got))
        if pair[0] != pair[1]
    ]
    shown = ", ".join(
        f"{at}: {expected[at:at + 1].hex() or '-'} -> {got[at:at + 1].hex() or '-'}"
        for at in places[:8]
    )
    return f"bytes {shown}{', ...' if len(places) > 8 else ''} (expected -> got)"


# Identifications.

HOP_BY_HOP, FRAGMENT, DESTINATION_OPTIONS = 0, 44, 60


def ipv4_sum(header):
    total = sum(word for (word,) in struct.iter_unpack("!H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def identification(raw):
    """Where the identification of a frame stands that is chosen anew, how long it is, between
    whom, and whether it must differ from what came in; None if there is none."""
    if len(raw) >= 34 and raw[12:14] == b"\x08\x00":
        (flags,) = struct.unpack("!H", raw[20:22])
        (number,) = struct.unpack("!H", raw[18:20])
        may_be_cut = flags & 0x4000 == 0
        if flags & 0x3FFF == 0 and not (may_be_cut and number != 0):
            return None
        return 18, 2, raw[26:34] + raw[23:24], may_be_cut
    if len(raw) >= 54 and raw[12:14] == b"\x86\xdd":
        kind, at = raw[20], 54
        while kind in (HOP_BY_HOP, DESTINATION_OPTIONS) and at + 8 <= len(raw):
            kind, at = raw[at], at + (raw[at + 1] + 1) * 8
        if kind == FRAGMENT and at + 8 <= len(raw):
            return at + 4, 4, raw[22:54], True
    return None


class Renaming:
    """Which identification stands for which expected one, in one file."""

    def __init__(self):
        self.actual, self.expected, self.renewed = {}, {}, {}

    def apply(self, want, have):
        """@p have with the expected identification in place of its own, if it may have that."""
        place = identification(want)
        if place is None or place != identification(have) or len(want) != len(have):
            return have
        at, length, between, must_differ = place
        named, given = want[at : at + length], have[at : at + length]
        if self.actual.setdefault((between, named), given) != given:
            return have
        if self.expected.setdefault((between, given), named) != named:
            return have
        if must_differ:
            self.renewed[between, named] = given
        changed = have[:at] + named + have[at + length :]
        if at == 18:
            header = 14 + (have[14] & 15) * 4
            if header > len(have) or ipv4_sum(have[14:header]) != 0xFFFF:
                return have
            # the right sum for the expected identification, which the expected frame has
            changed = changed[:24] + want[24:26] + changed[26:]
        return changed

    def faults(self):
        pairs = [
            (int.from_bytes(named, "big"), int.from_bytes(given, "big"), len(given) * 8)
            for (_, named), given in self.renewed.items()
        ]
        if sum(named == given for named, given, _ in pairs) * 2 > len(pairs):
            return "identifications are those that came in"
        if len(pairs) >= 4:
            if len({(given - named) % 2**bits for named, given, bits in pairs}) == 1:
                return "identifications are those that came in plus a constant"
            if len({given ^ named for named, given, _ in pairs}) == 1:
                return "identifications are those that came in with the same bits flipped"
        return None


def compare_packets(case, out):
    differences = 0
    names = {path.name[len("expect-") :] for path in case.glob("expect-*.pcap")}
    names |= {path.name for path in out.glob("*.pcap")}
    for name in sorted(names):
        expected, got = packets(case / f"expect-{name}"), packets(out / name)
        if expected == got and not any(identification(raw) for _, raw in expected):
            continue
        shown, renaming, text = 0, Renaming(), []
        for number, (want, have) in enumerate(itertools.zip_longest(expected, got), 1):
            if want is not None and have is not None:
                have = have[0], renaming.apply(want[1], have[1])
            if want == have:
                continue
            shown += 1
            if shown > SHOWN:
                continue
            text.append(f"  packet {number}")
            if want is not None:
                text.append(f"    expected {want[0]}  {summary(want[1])}")
            if have is not None:
                text.append(f"    got      {have[0]}  {summary(have[1])}")
            if want is not None and have is not None and want[1] != have[1]:
                text.append(f"    {differing(want[1], have[1])}")
        if shown > SHOWN:
            text.append(f"  ... and {shown - SHOWN} more")
        fault = renaming.faults()
        if fault is not None:
            shown += 1
            text.append(f"  {fault}")
        if shown != 0:
            print(f"{name}: {len(expected)} packets expected, {len(got)} sent")
            print("\n".join(text))
        differences += shown
    return differences


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def compare_verdicts(case, out):
    differences = 0
    expected, got = lines(case / "expect-verdicts.json"), lines(out / "verdicts.json")
    if len(expected) != len(got):
        differences += 1
        print(f"verdicts: {len(expected)} expected, {len(got)} given")
    for want, have in zip(expected, got):
        wrong = [key for key in want if want[key] != have.get(key, "missing")]
        if not wrong:
            continue
        differences += 1
        if differences <= SHOWN:
            print(f"verdict {want['n']} on {want['port']} ({have.get('source')} > "
                  f"{have.get('destination')}):")
            for key in wrong:
                print(f"    {key}: expected {want[key]}, got {have.get(key)}")
    if differences > SHOWN:
        print(f"... and {differences - SHOWN} more")
    return differences


def main():
    case, out = map(pathlib.Path, sys.argv[1:3])
    # both, always
    wrong = compare_verdicts(case, out) + compare_packets(case, out)
    sys.exit(1 if wrong else 0)


main()
