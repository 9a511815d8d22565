#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# One qube floods, as fast as a core lets it: SYNs, then new UDP flows, then fragments of datagrams
# that never get whole. Meanwhile another qube opens 1,000 TCP connections through the same sluiced.
# Not one of them may fail. That they take longer, while all qubes share what CPU there is, is no
# failure; how much longer is printed.
#
#   SECONDS_LONG=10    how long each flood lasts at least, 4 seconds without it
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

SECONDS_LONG=${SECONDS_LONG:-4}
CONNECTIONS=1000
PARALLEL=10
PORT=80
# a flood ends when the connections are through, and not later than this
SECONDS_MOST=120

world_up() {
    world_require ping
    [[ -x $BUILD/tests/smoke/flood ]] || fail "$BUILD/tests/smoke/flood is not built"
    # With two workers, ports take turns: these two must not have one each.
    world_create hostile between quiet
    qube_rules hostile <<<'policy=accept'
    qube_rules quiet <<-RULES
		policy=drop
		action=accept proto=tcp dstports=$PORT
		action=accept proto=icmp
	RULES
    in_background "$WORLD/server.log" in_uplink "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/connections.py" serve "$WORLD/ready" "$PORT"
    wait_for 10 "the server" grep -q ready "$WORLD/ready"
    sluice_start
    local qube
    for qube in hostile quiet; do
        in_qube "$qube" ping -q -c 2 -i 0.2 -W 2 "$HOST" >/dev/null || fail "no way from $qube"
        in_qube "$qube" ping -q -c 2 -i 0.2 -W 2 "$HOST6" >/dev/null ||
            fail "no way from $qube by IPv6"
    done
}

# connections_of QUBE COUNT
connections_of() {
    in_qube "$1" "$PYTHON" "$WORLD_ROOT/tests/smoke/connections.py" "$2" "$PARALLEL" \
        "$PORT" "$HOST" "$HOST6" >"$WORLD/connections" 2>&1
}

counters() { "$PYTHON" "$WORLD_ROOT/tests/smoke/control.py" "$WORLD/control.sock" counters; }

# what_happened BEFORE AFTER: what the counters of the firewall say about the time between.
what_happened() {
    "$PYTHON" - "$@" <<-'PYTHON'
		import json, sys

		before, after = (json.load(open(path)) for path in sys.argv[1:])

		def port(name):
		    new, old = after["ports"][name], before["ports"][name]
		    drops = {
		        reason: count - old["drops"].get(reason, 0)
		        for reason, count in new["drops"].items()
		        if count > old["drops"].get(reason, 0)
		    }
		    return new["rx_packets"] - old["rx_packets"], new["rx_dropped"] - old["rx_dropped"], drops

		def text(drops):
		    return ", ".join(f"{reason} {count}" for reason, count in drops.items()) or "none"

		for name in "hostile", "quiet", "uplink":
		    received, lost, drops = port(name)
		    print(f"      {name}: {received} frames taken, {lost} found no room in the ring; drops: {text(drops)}")
		change = {key: after[key] - before[key] for key in after if isinstance(after[key], int)}
		print(
		    f"      flows: {change['flows_opened']} opened, {change['flows_evicted']} evicted, "
		    f"{after['flows']} there; ICMP errors: {change['icmp_errors_sent']} sent, "
		    f"{change['icmp_errors_withheld']} withheld"
		)
	PYTHON
}

# grown COUNTER: how much a drop reason of the hostile qube, or a counter of them all, has grown
grown() {
    "$PYTHON" - "$WORLD/before" "$WORLD/after" "$1" <<-'PYTHON'
		import json, sys

		def value(path):
		    counters = json.load(open(path))
		    return counters.get(sys.argv[3], counters["ports"]["hostile"]["drops"].get(sys.argv[3], 0))

		print(value(sys.argv[2]) - value(sys.argv[1]))
	PYTHON
}

# flooded KIND COUNTER...: connections under a flood. Each of these must have grown, or the flood was
# none, or nothing stood in its way.
flooded() {
    local kind=$1 flood counter status=0 began=$EPOCHREALTIME
    shift
    counters >"$WORLD/before"
    ip netns exec "$WORLD_NAME-hostile" "$BUILD/tests/smoke/flood" "$kind" eth0 "$VIF_MAC" \
        "$(qube_address hostile)" "$(qube_address6 hostile)" "$HOST" "$HOST6" "$SECONDS_MOST" \
        >"$WORLD/flood" 2>&1 &
    flood=$!
    WORLD_PIDS+=("$flood")
    sleep 0.5
    connections_of quiet "$CONNECTIONS" || status=$?
    sleep "$(awk -v began="$began" -v now="$EPOCHREALTIME" -v long="$SECONDS_LONG" \
        'BEGIN { left = long - (now - began); print (left > 0 ? left : 0) }')"
    kill "$flood" 2>/dev/null || fail "the flood ended early: $(cat "$WORLD/flood")"
    wait "$flood" || fail "the flood ended with status $?: $(cat "$WORLD/flood")"
    counters >"$WORLD/after"
    echo "$kind: $(cat "$WORLD/flood") frames sent in $(awk -v a="$began" -v b="$EPOCHREALTIME" \
        'BEGIN { printf "%.1f", b - a }') s"
    sed 's/^/      /' "$WORLD/connections"
    what_happened "$WORLD/before" "$WORLD/after"
    ((status == 0)) || fail "connections failed under a flood of $kind"
    for counter; do
        (($(grown "$counter") > 0)) || fail "a flood of $kind met no limit: $counter"
    done
    ok "$CONNECTIONS connections under a flood of $kind: none failed"
}

main() {
    world_up
    connections_of quiet "$CONNECTIONS" || fail "without a flood: $(cat "$WORLD/connections")"
    echo "no flood:"
    sed 's/^/      /' "$WORLD/connections"
    flooded syn new-flows-budget flows_evicted
    flooded udp new-flows-budget ports-budget
    flooded fragments fragment-limit
    # Who flooded has used up what was his own, but can still open connections.
    sleep 1
    connections_of hostile 10 || fail "nothing from the qube that flooded: $(cat "$WORLD/connections")"
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
}

main
