#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The control socket and its clients: wrong, many, slow, gone. None of them harms the others, nor
# the packets that pass meanwhile.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

main() {
    world_require ping
    world_create work
    qube_rules work <<<'policy=accept'
    sluice_start
    [[ $(stat -c %a "$WORLD/control.sock") == 600 ]] || fail "the socket is not root's alone"

    # what passes while clients misbehave must not suffer
    in_background "$WORLD/ping.log" ip netns exec "$WORLD_NAME-work" ping -i 0.02 "$HOST"
    local pinger=$!
    "$PYTHON" "$WORLD_ROOT/tests/smoke/control_clients.py" "$WORLD/control.sock" ||
        fail "see above"
    kill -s INT "$pinger"
    wait "$pinger" || true
    grep -q ' 0% packet loss' "$WORLD/ping.log" ||
        fail "packets were lost meanwhile: $(grep 'packet loss' "$WORLD/ping.log")"
    echo "ok:   no packet was lost meanwhile"

    # a second one does not take the socket away
    ! ip netns exec "$WORLD_NAME-fw" "$BUILD/app/sluiced" --config "$WORLD/sluice.conf" \
        >"$WORLD/second.log" 2>&1 || fail "a second sluiced started on the same socket"
    [[ $(drops rule) == 0 ]] || fail "the first sluiced does not answer any more"
    echo "ok:   a second sluiced is refused: $(tail -n 1 "$WORLD/second.log")"

    # a stale socket is replaced, and a clean end leaves none
    sluice_stop KILL || true
    [[ -S $WORLD/control.sock ]] || fail "this test shows nothing: no stale socket"
    sluice_start
    [[ $(drops rule) == 0 ]] || fail "no answer after a stale socket"
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
    [[ ! -e $WORLD/control.sock ]] || fail "the socket is still there"
    echo "ok:   a stale socket is replaced, a clean end leaves none"
}

main
