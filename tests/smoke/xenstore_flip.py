#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A guest whose frontend never makes up its mind, so that netback writes one state after the other.

xenstore_flip.py SOCKET PATH PER_SECOND VALUE...: write the values in turn, until it is ended.
"""

import socket
import struct
import sys
import time

XS_WRITE = 11
HEADER = struct.Struct("=IIII")  # type, request, transaction, length


def main():
    path, per_second, values = sys.argv[2], float(sys.argv[3]), sys.argv[4:]
    store = socket.socket(socket.AF_UNIX)
    store.connect(sys.argv[1])
    answers = store.makefile("rb")
    begun = time.monotonic()
    written = 0
    while True:
        body = path.encode() + b"\0" + values[written % len(values)].encode()
        store.sendall(HEADER.pack(XS_WRITE, 0, 0, len(body)) + body)
        kind, _, _, length = HEADER.unpack(answers.read(HEADER.size))
        answer = answers.read(length)
        if kind != XS_WRITE:
            sys.exit(f"xenstored says {answer!r}")
        written += 1
        if written == 1:
            print("ready", flush=True)
        time.sleep(max(0.0, begun + written / per_second - time.monotonic()))


main()
