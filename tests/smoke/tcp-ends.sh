#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# TCP between two real kernels, through sluice, in the ways that are not in every book: the same two
# ports used again at once after a connection was closed, reset, refused, or died in silence at one
# end; half-closed connections; urgent data. Nothing of it may be dropped.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

main() {
    local reason host
    world_require ping
    world_create work
    qube_rules work <<<'policy=accept'
    in_background "$WORLD/server.log" in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/tcp_ends.py" \
        serve "$WORLD/ready"
    wait_for 10 "the server" grep -q ready "$WORLD/ready"
    sluice_start
    for host in "$HOST" "$HOST6"; do
        in_qube work ping -q -c 2 -i 0.2 -W 2 "$host" >/dev/null || fail "no way to $host"
        in_qube work "$PYTHON" "$WORLD_ROOT/tests/smoke/tcp_ends.py" "$host" ||
            fail "see above; drops: $(counter drops)"
    done
    for reason in tcp-state tcp-window tcp-flags no-flow; do
        (($(drops "$reason") == 0)) || fail "$(drops "$reason") packets were dropped: $reason"
    done
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
}

main
