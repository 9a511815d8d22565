#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What systemd hears of sluiced: ready when packets pass and not before, fed watchdogs while it runs,
# a reload, and the stop; all of it with the system calls that sluiced leaves itself.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

heard() { grep -q "$1" "$WORLD/heard"; }

main() {
    world_require ping
    world_create work
    qube_rules work <<<'policy=accept'
    in_background "$WORLD/heard" "$PYTHON" -u -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    print(s.recv(4096).decode().replace("\n", " "))' "$WORLD/notify"
    wait_for 5 "a socket in the place of systemd" test -S "$WORLD/notify"
    export NOTIFY_SOCKET=$WORLD/notify WATCHDOG_USEC=900000

    sluice_start
    wait_for 5 "READY=1" heard '^READY=1 STATUS=policy 1: 2 ports, 1 qubes, 0 forwards$'
    in_qube work ping -q -c 1 -W 2 "$HOST" >/dev/null || fail "ready, and ping does not pass"
    wait_for 10 "WATCHDOG=1" heard '^WATCHDOG=1$'
    sluice_reload || fail "not reloaded: $RELOAD_SAID"
    wait_for 5 "RELOADING=1" heard '^RELOADING=1 MONOTONIC_USEC='
    wait_for 5 "READY=1 again" heard '^READY=1 STATUS=policy 2:'
    sluice_stop || fail "sluiced ended with status $?"
    heard '^STOPPING=1 ' || fail "no STOPPING=1"
    ok "systemd heard: $(cut -d= -f1 "$WORLD/heard" | uniq | paste -sd ' ')"

    # one that does not start never says that it is ready
    : >"$WORLD/heard"
    sluice_set 'port uplink' device kernel:none0
    (sluice_start) >/dev/null 2>&1 && fail "started without its uplink"
    ! heard READY || fail "ready without its uplink"
    ok "who does not start says nothing"
}

main
