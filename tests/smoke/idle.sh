#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# An idle sluiced sleeps: with five quiet qubes it is hardly ever on a CPU, with ports that wake it and
# with one that cannot, and still has the first packet after silence. bench/idle.sh measures what that
# costs; here are limits that no other load of the machine comes near.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

QUBES=(work personal vault untrusted mail)
SECONDS_QUIET=${SECONDS_LONG:-2}

# Microseconds that all threads were on a CPU, and how often they were put there.
used() {
    cat "/proc/$FIREWALL_PID/task/"*/schedstat |
        awk '{ ns += $1; turns += $3 } END { printf "%.0f %d\n", ns / 1000, turns }'
}

# quiet WAY TURNS MICROSECONDS: in silence, there are no more turns a second, and none is longer.
quiet() {
    local before after turns us
    read -ra before <<<"$(used)"
    sleep "$SECONDS_QUIET"
    read -ra after <<<"$(used)"
    turns=$((after[1] - before[1])) us=$((after[0] - before[0]))
    ((turns <= $2 * SECONDS_QUIET)) || fail "$1: $turns turns of the CPU in $SECONDS_QUIET seconds"
    ((us <= $3 * (turns + 1))) || fail "$1: $us microseconds of CPU in $turns turns"
    in_qube work ping -q -c 1 -W 2 "$HOST" >/dev/null || fail "$1: the first packet does not pass"
    ok "$1: $((turns / SECONDS_QUIET)) turns a second, $((us / SECONDS_QUIET)) microseconds"
}

start() {
    sluice_set 'port uplink' device "$1"
    sluice_start
    in_qube work ping -q -c 2 -i 0.1 -W 2 "$HOST" >/dev/null || fail "no way through $1"
}

main() {
    local qube
    world_require ping
    world_create "${QUBES[@]}"
    for qube in "${QUBES[@]}"; do
        qube_rules "$qube" <<<'policy=accept'
    done
    sluice_configure
    start kernel:eth0
    sleep 3 # what starting and the first packets left to do
    quiet "ports that wake it" 6 2000
    sluice_stop || fail "it ended with status $? on SIGTERM"
    # naps of 80 us: 12,500 a second at most, and far less than a loop that looks all the time
    start dpdk:net_af_packet0,iface=eth0
    quiet "a port that must be polled" 14000 200
    sluice_stop || fail "it ended with status $? on SIGTERM"
}

main
