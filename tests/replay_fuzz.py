#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Make captures of damaged frames for sluice-replay: `replay_fuzz.py SEED FRAMES OUT_DIR`.

Takes the frames of all replay cases, port by port, and changes them at random: bytes, lengths, order.
Header checksums are mostly put right again, so that what is behind them gets its share. One seed
always gives the same bytes. Writes OUT_DIR/in-PORT.pcap.
"""

import pathlib
import random
import struct
import sys

CASES = pathlib.Path(__file__).resolve().parent.parent / "pcaps"
PORTS = ("uplink", "work", "personal")
BASE_S = 1_700_000_000

# Frames of one burst, and the time to the next: fewer in a second than the answers one port may
# get, because which ones are withheld may depend on the number of workers.
TOGETHER = 7
PAUSE_US = 300_000


def frames(port):
    found = []
    for path in sorted(CASES.glob(f"*/in-{port}*.pcap")):
        data, at = path.read_bytes(), 24
        order = "<" if data[0] in (0xD4, 0x4D) else ">"
        while at < len(data):
            length = struct.unpack_from(order + "IIII", data, at)[2]
            if length < 2000:
                found.append(data[at + 16 : at + 16 + length])
            at += 16 + length
    return found


def checksum(data):
    total = sum(word for (word,) in struct.iter_unpack("!H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def put_right(frame):
    """Make the checksums of IPv4 headers and ICMP fit again, if there are any."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00":
        return
    header = (frame[14] & 15) * 4
    if header < 20 or len(frame) < 14 + header:
        return
    frame[24:26] = b"\0\0"
    frame[24:26] = struct.pack("!H", checksum(bytes(frame[14 : 14 + header])))
    end = 14 + struct.unpack("!H", frame[16:18])[0]
    at = 14 + header
    if frame[23] == 1 and at + 8 <= end <= len(frame):
        frame[at + 2 : at + 4] = b"\0\0"
        frame[at + 2 : at + 4] = struct.pack("!H", checksum(bytes(frame[at:end])))


def damage(chance, frame):
    frame = bytearray(frame)
    for _ in range(chance.choice((0, 0, 0, 1, 1, 1, 2, 4))):
        if len(frame) < 20:
            break
        # headers more often than payload, and seldom MACs: those the guard stops at once
        at = 14 + min(chance.randrange(len(frame) - 14), chance.randrange(len(frame) - 14))
        if chance.random() < 0.05:
            at = chance.randrange(14)
        kind = chance.randrange(24)
        if kind < 14:
            frame[at] = chance.randrange(256)
        elif kind < 21:
            frame[at] ^= 1 << chance.randrange(8)
        elif kind == 21:
            del frame[at:]
        elif kind == 22:
            frame[at:at] = chance.randbytes(chance.randrange(1, 40))
        else:
            del frame[at : at + chance.randrange(1, 20)]
    if chance.random() < 0.8:
        put_right(frame)
    return bytes(frame)


def main():
    chance = random.Random(int(sys.argv[1]))
    count, out = int(sys.argv[2]), pathlib.Path(sys.argv[3])
    corpus = {port: frames(port) for port in PORTS}
    files = {port: [struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)] for port in PORTS}
    time_us = 0
    for number in range(count):
        if number % TOGETHER == 0:
            time_us += PAUSE_US
            port = chance.choice(PORTS)
        raw = damage(chance, chance.choice(corpus[port]))
        # a frame of our own would be skipped
        if raw[6:11] == b"\x02\0\0\0\0":
            raw = raw[:6] + b"\x12" + raw[7:]
        files[port].append(
            struct.pack(
                "<IIII",
                BASE_S + time_us // 1_000_000,
                time_us % 1_000_000,
                len(raw),
                len(raw),
            )
        )
        files[port].append(raw)
    for port, parts in files.items():
        (out / f"in-{port}.pcap").write_bytes(b"".join(parts))


main()
