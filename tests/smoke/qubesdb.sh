#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# QubesDB as the source of rules and settings: a fake daemon of it with dom0 behind it, a running
# sluiced, qubes that try what they may. What a bad tree does, row by row; changes under traffic;
# both families; the counter that dom0 waits for; clients that are nobody else's; a daemon that is
# rude, that goes and comes back, and that is not there at all.
#
#   SECONDS_LONG=60    more commits, and more rounds of rudeness
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

SECONDS_LONG=${SECONDS_LONG:-0}
ECHO_PORT=7001
FAKE=$WORLD_ROOT/tests/smoke/fake_qubesdb.py
RULES=1000

qubesdb_start() {
    in_background "$WORLD/qubesdb.log" "$PYTHON" "$FAKE" serve "$WORLD/qubesdb.sock" "$WORLD/dom0.sock"
    wait_for 10 "the daemon of QubesDB" grep -q ready "$WORLD/qubesdb.log"
}

dom0() { "$PYTHON" "$FAKE" "$WORLD/dom0.sock" "$@"; }

# commit ADDRESS POLICY [RULE...]: as dom0, and wait until it is handled
commit() { dom0 commit 10 "$@" >/dev/null || fail "commit of $* was not handled"; }

ask() { in_qube work "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_ask.py" "$@"; }

# expect ANSWER ADDRESS PORT: what qube work hears when it asks there
expect() {
    local said
    said=$(ask "${@:2}") || true
    # shellcheck disable=SC2053  # a pattern
    [[ $said == $1 ]] || fail "asking ${*:2}: \"$said\", not \"$1\"; log: $(tail -n 3 "$WORLD/sluiced.log")"
}

REFUSED4=EHOSTUNREACH REFUSED6=EACCES

world_up() {
    world_require
    world_create work personal
    WORK=$(qube_address work) WORK6=$(qube_address6 work)
    in_background /dev/null in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/echo_server.py" \
        "$WORLD/echo.log" "udp:$ECHO_PORT"
    wait_for 10 "the server" grep -q ready "$WORLD/echo.log"
    sluice_configure "[qubes]" "qubesdb = $WORLD/qubesdb.sock" "qubesdb-forwards = yes"
    # rules come from QubesDB
    sed -i '/^rules = /d' "$WORLD/sluice.conf"
}

check_first() {
    dom0 rules "$WORK" drop "action=accept dst4=$HOST/32 proto=udp dstports=$ECHO_PORT-$ECHO_PORT"
    dom0 write /connected-ips "$WORK $(qube_address personal)"
    firewall_start
    wait_for 5 "the rules" dom0 wait "$WORK" 0 0
    expect "$UPLINK *" "$HOST" "$ECHO_PORT"
    expect "$REFUSED4" "$HOST" 7777
    ok "rules that were there before sluiced"
}

main() {
    world_up
    qubesdb_start
    check_first
    commit "$WORK" drop
    expect "$REFUSED4" "$HOST" "$ECHO_PORT"
    commit "$WORK" accept
    expect "$UPLINK *" "$HOST" "$ECHO_PORT"
    dom0 stats
    cat "$WORLD/sluiced.log" | tail -20
}

main
