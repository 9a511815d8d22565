#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Numbered datagrams there and back, at a known rate.

    udp_stream.py serve PORT                    answers each with how many have come from there
    udp_stream.py ADDRESS PORT RATE SECONDS     sends RATE a second, then says what was lost;
                                                SIGTERM ends it earlier

The sender never catches up in a burst: where its machine let it sleep too long it sends fewer. It
prints "sent N, lost there A, lost back B, out of order C, longest silence D ms".
"""
import select
import signal
import socket
import struct
import sys
import time

NUMBERS = struct.Struct("!II")  # which one this is, and how many have arrived
LATE_S = 0.02
LAST_WAIT_S = 2


def big_buffers(stream):
    for option in (socket.SO_RCVBUF, 33):  # SO_RCVBUFFORCE, for who may
        try:
            stream.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
        except PermissionError:
            pass


def serve(port):
    stream = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    big_buffers(stream)
    stream.bind(("::", port))
    arrived = {}
    while True:
        data, source = stream.recvfrom(2048)
        arrived[source] = arrived.get(source, 0) + 1
        number, _ = NUMBERS.unpack_from(data)
        stream.sendto(NUMBERS.pack(number, arrived[source]) + data[NUMBERS.size :], source)


class Stream:
    def __init__(self, address, port):
        self.socket = socket.socket(
            socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM
        )
        big_buffers(self.socket)
        self.socket.connect((address, port))
        self.seen = set()
        self.sent = self.arrived = self.disordered = 0
        self.last = -1
        self.heard = time.monotonic()
        self.silence = 0.0

    def send(self):
        self.socket.send(NUMBERS.pack(self.sent, 0) + bytes(100))
        self.sent += 1

    def receive(self, until):
        """Take what comes until then; false when nothing more did."""
        while True:
            left = until - time.monotonic()
            if not select.select([self.socket], [], [], max(left, 0))[0]:
                return False
            number, arrived = NUMBERS.unpack_from(self.socket.recv(2048))
            now = time.monotonic()
            self.silence = max(self.silence, now - self.heard)
            self.heard = now
            self.seen.add(number)
            self.arrived = max(self.arrived, arrived)
            self.disordered += number < self.last
            self.last = max(self.last, number)
            if left <= 0 or len(self.seen) == self.sent:
                return True


def ask(address, port, rate, seconds):
    stream = Stream(address, port)
    following = time.monotonic()
    end = following + seconds
    over = []
    signal.signal(signal.SIGTERM, lambda number, frame: over.append(number))
    while following < end and not over:
        stream.send()
        following += 1 / rate
        if time.monotonic() > following + LATE_S:
            following = time.monotonic()
        while time.monotonic() < following and stream.receive(following):
            pass
    end = time.monotonic() + LAST_WAIT_S
    while len(stream.seen) < stream.sent and time.monotonic() < end and stream.receive(end):
        pass
    print(
        f"sent {stream.sent}, lost there {stream.sent - stream.arrived}, "
        f"lost back {stream.arrived - len(stream.seen)}, out of order {stream.disordered}, "
        f"longest silence {stream.silence * 1000:.0f} ms"
    )


if len(sys.argv) == 3 and sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
elif len(sys.argv) == 5:
    ask(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
else:
    sys.exit(__doc__)
