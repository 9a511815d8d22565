#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Trees with one bad rule, one after the other, and what becomes of their qube. Runs in the qube.

    qubesdb_rows.py CONTROL LOG ADDRESS HOST PORT GOOD-RULE <ROWS

CONTROL is that of fake_qubesdb.py, LOG that of sluiced. Each row is RULE|REASON: dom0 commits a tree
with the good rule, which allows HOST and PORT, and the bad one behind it. Then nothing is allowed,
which the qube hears at once, and the log names the key, the rule and the reason.
"""
import errno
import socket
import sys
import time

from fake_qubesdb import Remote


def ask(host, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(3)
        client.connect((host, port))
        try:
            client.send(b"who")
            return client.recv(100).decode()
        except TimeoutError:
            return "silence"
        except OSError as error:
            return errno.errorcode[error.errno]


def main():
    control, log, address, host, port, good = sys.argv[1:]
    dom0 = Remote(control)
    rows = 0
    for row in sys.stdin:
        rule, reason = row.rstrip("\n").split("|")
        with open(log, encoding="utf-8") as said:
            said.seek(0, 2)
            dom0.command("commit", "10", address, "drop", good, "", rule)
            heard = ask(host, int(port))
            if heard != "EHOSTUNREACH":
                sys.exit(f"with {rule!r} the qube hears {heard!r}")
            deadline = time.monotonic() + 5
            lines = ""
            while "event=rules-refused" not in lines and time.monotonic() < deadline:
                lines += said.read()
        wanted = f"/qubes-firewall/{address}/0002: {reason}"
        if wanted not in lines or f'there is "{rule}"' not in lines:
            sys.exit(f"with {rule!r} the log has no {wanted!r} but {lines!r}")
        rows += 1
    print(rows)


main()
