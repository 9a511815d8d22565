#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""New rules all the time: reloads.py PID FILE HEAD RATE SECONDS

Writes FILE anew RATE times a second, as whoever wants to lose nothing does (beside it, then
renamed), and has sluiced (PID) read it. Each version has the lines of the file HEAD and others up
to 1,000 rules, all of which differ from those of the version before; version N is the only one that
accepts UDP port 20000 + N. Prints how many versions there were.
"""
import os
import signal
import sys
import time

RULES = 1000


def filler(i, version):
    """Hosts and networks of both families, the former more often, as people write them."""
    low = 1024 + version
    ports = f"proto=tcp dstports={low}-{low + i % 7}"
    if i % 10 < 6:
        return f"action=accept dst4=203.0.{i // 250}.{i % 250}/32 {ports}"
    if i % 10 < 8:
        return f"action=accept dst4=203.{1 + i // 250}.{i % 250}.0/24 {ports}"
    if i % 10 < 9:
        return f"action=accept dst6=fd00:203:{i:x}::1/128 {ports}"
    return f"action=accept dst6=fd00:204:{i:x}::/48 {ports}"


def text(head, version):
    lines = head + [f"action=accept proto=udp dstports={20000 + version}"]
    rules = sum(line.startswith("action=") for line in lines)
    lines += [filler(i, version) for i in range(RULES - rules)]
    return "\n".join(lines) + "\n"


def main():
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    pid, path = int(sys.argv[1]), sys.argv[2]
    with open(sys.argv[3]) as file:
        head = file.read().splitlines()
    interval, version = 1 / float(sys.argv[4]), 0
    following = time.monotonic()
    end = following + float(sys.argv[5])
    while following < end:
        version += 1
        with open(path + ".new", "w") as file:
            file.write(text(head, version))
        os.rename(path + ".new", path)
        os.kill(pid, signal.SIGHUP)
        following = max(following + interval, time.monotonic() - interval)
        time.sleep(max(following - time.monotonic(), 0))
    print(version)


main()
