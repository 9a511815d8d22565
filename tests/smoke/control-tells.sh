#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What sluiced tells: status, qubes, metrics, DPDK's telemetry, events and the log, each against
# traffic that this script has sent.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

# ask METHOD KEY...: a value of its result
ask() { "$PYTHON" "$WORLD_ROOT/tests/smoke/control.py" "$WORLD/control.sock" "$@"; }

tells() {
    "$PYTHON" "$WORLD_ROOT/tests/smoke/control_tells.py" "$WORLD/control.sock" "$@" ||
        fail "see above"
}

# events_say PATTERN: a line of what the subscriber was told
events_say() { grep -qE "$1" "$WORLD/events.log"; }
log_says() { grep -qE "$1" "$WORLD/sluiced.log"; }

link_says() {
    wait_for 10 "an event: $1" events_say "\"text\":\"$1\""
    wait_for 5 "a log line: $1" log_says "^sluiced: $1; event=port"
}

main() {
    world_require ping nc
    "$PYTHON" -c 'import prometheus_client.openmetrics.parser' 2>/dev/null ||
        skip "no parser for OpenMetrics is installed (python3-prometheus-client)"
    world_create work personal
    qube_rules work <<<$'policy=drop\naction=accept proto=icmp'
    qube_rules personal <<<$'policy=drop\naction=accept dst4=somewhere'
    sluice_configure
    sluice_set sluice telemetry yes
    sluice_set "qube work" flows 16
    sluice_set "qube work" new-flows 5
    sluice_start
    in_background "$WORLD/events.log" "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/control_tells.py" "$WORLD/control.sock" events
    wait_for 5 "a subscriber" events_say subscribed

    in_qube work ping -c 7 -i 0.01 -W 1 "$HOST" >"$WORLD/ping.log" ||
        fail "no ping: $(<"$WORLD/ping.log")"
    ! in_qube work nc -w 1 -z "$HOST" 81 || fail "what is refused has passed"
    tells numbers "$FIREWALL_PID"
    ok "status, qubes and metrics say the same, and what has happened"

    # telemetry, in a directory of its own
    local socket=$WORLD/dpdk/sluice/dpdk_telemetry.v2
    [[ -S $socket ]] || fail "no telemetry socket at $socket"
    [[ $(stat -c %a "$WORLD/dpdk" "$WORLD/dpdk/sluice" | sort -u) == 700 ]] ||
        fail "others may open the telemetry socket"
    tells telemetry "$socket"
    # while the policy is changed under it
    "$PYTHON" "$WORLD_ROOT/tests/smoke/control_tells.py" "$WORLD/control.sock" \
        hammer "$socket" >"$WORLD/hammer.log" 2>&1 &
    local hammer=$!
    local i
    for i in 1 2 3 4 5 6 7 8 9 10; do
        qube_rules work <<<"policy=drop
action=accept proto=icmp
action=accept dst4=192.0.2.$i"
        sluice_reload || fail "$RELOAD_SAID"
    done
    wait "$hammer" || fail "telemetry: $(<"$WORLD/hammer.log")"
    ok "telemetry: $(<"$WORLD/hammer.log")"

    log_says '^sluiced: setting qube.work .*rules.count=2' || fail "a changed section is not told"
    (($(grep -c 'setting timeouts' "$WORLD/sluiced.log") == 1)) ||
        fail "all sections are told again"

    # a budget: sixteen flows at once, and five new ones a second
    in_qube work bash -c "for i in {1..40}; do ping -c 1 -W 1 $HOST >/dev/null & done; wait" || true
    wait_for 5 "an event about the budget" events_say '"qube":"work".*"kind":"budget"'
    log_says 'event=budget qube=work budget=[a-z-]+ limit=(5|16) count=[0-9]+' ||
        fail "the log does not tell of the budget"
    ok "a budget: $(grep 'event=budget' "$WORLD/sluiced.log" | head -n 1)"

    # a port, and a policy
    events_say '"generation":11,.*"kind":"policy"' || fail "no event for a policy"
    in_qube work ip link set eth0 down
    link_says "port work is down"
    [[ $(ask status warnings) == *"port work is down"* ]] || fail "status does not warn of a port"
    in_qube work ip link set eth0 up
    link_says "port work is up"
    sluice_set sluice workers 7
    ! sluice_reload || fail "workers were changed"
    wait_for 5 "an event about a refused policy" \
        events_say 'workers: 7 instead of.*"kind":"policy-refused"'
    sluice_set sluice workers "$WORKERS"
    in_firewall ip link delete "$(qube_vif personal)"
    link_says "port personal is down"
    ok "ports, policies and budgets are told to subscribers and to the log"

    tells missed "$FIREWALL_PID"

    # the log
    log_says '^sluiced: setting sluice .*workers=[0-9]+ .*telemetry=yes log-refusals=' ||
        fail "no [sluice] in the log"
    log_says '^sluiced: setting limits flows=32768 ' || fail "no [limits] in the log"
    log_says '^sluiced: setting qube.work .*flows=16 flows.default=32768' ||
        fail "a limit that is not the default is not marked"
    log_says '^sluiced: setting timeouts tcp-syn-sent=240 ' || fail "no [timeouts] in the log"
    ! grep -v '^sluiced: ' "$WORLD/sluiced.log" || fail "a line of the log is not ours"
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
    [[ ! -e $socket ]] || fail "the telemetry socket is still there"
    ok "the log begins with all settings"

    # in a journal, each line has its priority
    "$PYTHON" "$WORLD_ROOT/tests/smoke/control_tells.py" - journal \
        "$BUILD/app/sluiced" --check /nonexistent/sluice.conf || fail "see above"
    ok "lines for a journal have a priority"
}

main
