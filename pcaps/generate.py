#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Make the replay cases in this folder: `pcaps/generate.py [CASE...]`.

A case says what arrives and what must come of it. Everything expected is worked out here, from the
specification: packets are built anew with scapy, checksums and all, and never taken from what
sluice sent. So a wrong expectation and a fault of sluice look alike, and whoever sees a difference
has to find out which it is.

The same script gives the same bytes: MACs, identifiers and times are fixed. Needs python3-scapy.

The world of all cases, unless a case says otherwise:

    port      our MAC            beyond it
    uplink    02:00:00:00:00:01  192.168.50.0/24, we are .1, gateway and resolver .2
                                 2001:2:0:50::/64, we are ::1, gateway ::2
    work      02:00:00:00:00:02  qube 10.137.0.16, fd09:24ef:4179::a89:10
    personal  02:00:00:00:00:03  qube 10.137.0.17, fd09:24ef:4179::a89:11

Towards qubes we are 10.137.0.1 and fd09:24ef:4179::a89:1. Our MACs are those that sluice-replay
gives to ports whose captures say nothing else. Both qubes have the same MAC, as in Qubes.
"""

import importlib
import sys

from generator import readme, tracker
from generator.case import CASES, MAKERS

GROUPS = (
    "tcp",
    "tcp_windows",
    "flows",
    "errors",
    "fragments",
    "dns",
    "rules",
    "forwards",
    "budgets",
    "local",
    "mapped",
    "guard",
    "parse",
    "ipv6",
    "replay",
    "demo",
)


def main():
    chosen = sys.argv[1:]
    for group in GROUPS:
        importlib.import_module(f"generator.{group}")
    for make in MAKERS:
        make()
    for case in CASES.values():
        tracker.check(case)
    unknown = set(chosen) - set(CASES)
    if unknown:
        sys.exit(f"no such case: {' '.join(sorted(unknown))}; there are: {' '.join(CASES)}")
    for name, case in CASES.items():
        if not chosen or name in chosen:
            case.write()
    readme.write()


if __name__ == "__main__":
    main()
