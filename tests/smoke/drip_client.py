#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Hold a connection that always has something to send: drip_client.py ADDRESS PORT LOG

Takes /drip of echo_server.py. LOG gets "begun" with the first byte, and at the end one line
"LAST END WHY": the wall clock when the last byte came, when it ended, and how: the name of an
error, EOF, or silence.
"""
import errno
import socket
import sys
import time

PATIENCE_S = 15


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    with open(sys.argv[3], "w", buffering=1) as log:
        try:
            server = socket.create_connection((sys.argv[1], int(sys.argv[2])), PATIENCE_S)
        except OSError as error:
            print(f"not connected: {error}", file=log)
            return
        server.sendall(b"GET /drip HTTP/1.1\r\nHost: drip\r\n\r\n")
        last, why = 0.0, None
        while why is None:
            try:
                if not server.recv(65536):
                    why = "EOF"
                elif not last:
                    print("begun", file=log)
                if why is None:
                    last = time.time()
            except TimeoutError:
                why = "silence"
            except OSError as error:
                why = errno.errorcode[error.errno]
        print(f"{last:.3f} {time.time():.3f} {why}", file=log)


main()
