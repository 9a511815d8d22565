#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compare what a replay gave with what its case expects: `replay_compare.py CASE_DIR OUT_DIR`.

Prints every difference: for packets what scapy (if installed) sees in both of them and where their
bytes differ, for verdicts the keys that differ. Exit status 1 if there are any.
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


def compare_packets(case, out):
    differences = 0
    names = {path.name[len("expect-") :] for path in case.glob("expect-*.pcap")}
    names |= {path.name for path in out.glob("*.pcap")}
    for name in sorted(names):
        expected, got = packets(case / f"expect-{name}"), packets(out / name)
        if expected == got:
            continue
        print(f"{name}: {len(expected)} packets expected, {len(got)} sent")
        shown = 0
        for number, (want, have) in enumerate(itertools.zip_longest(expected, got), 1):
            if want == have:
                continue
            differences += 1
            shown += 1
            if shown > SHOWN:
                continue
            print(f"  packet {number}")
            if want is not None:
                print(f"    expected {want[0]}  {summary(want[1])}")
            if have is not None:
                print(f"    got      {have[0]}  {summary(have[1])}")
            if want is not None and have is not None:
                if want[1] != have[1]:
                    print(f"    {differing(want[1], have[1])}")
        if shown > SHOWN:
            print(f"  ... and {shown - SHOWN} more")
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
