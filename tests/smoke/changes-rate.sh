#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Ten thousand changes of rules a minute, each of them on disk before it is answered, while a bulk
# transfer goes through the same qube: in every third second of it. In another third the same client
# asks as often and changes nothing. Where iperf3's two ends and the worker share two cores, whoever
# wakes up at all takes something away from them; comparing these two tells what changes take away.
# SECONDS_LONG=60 measures for longer, and wants 0.95 of the undisturbed transfer then.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

SECONDS_RUN=${SECONDS_LONG:-6}
PER_MINUTE=10000

main() {
    world_require iperf3
    world_create work
    qube_rules work <<<$'policy=drop\naction=accept proto=tcp dstports=5201'
    sluice_configure
    # a real disk, as users have it
    sluice_set sluice state-dir "${STATE_DIR:-$WORLD/state}"
    sluice_start
    in_background "$WORLD/server.log" in_uplink iperf3 --server --forceflush
    wait_for 10 "iperf3" grep -q listening "$WORLD/server.log"

    in_background "$WORLD/rate.log" "$PYTHON" "$WORLD_ROOT/tests/smoke/changes_rate.py" \
        "$WORLD/control.sock" "$((SECONDS_RUN + 2))" "$PER_MINUTE"
    local changer=$!
    # iperf3 knows its own start to the second only: each line is stamped when it comes
    in_qube work iperf3 --client "$HOST" --time "$((SECONDS_RUN + 1))" --interval 0.1 --format m \
        --forceflush | "$PYTHON" -c '
import sys, time
for line in sys.stdin:
    print(f"{time.time():.3f}", line, end="")' >"$WORLD/iperf.log" ||
        fail "iperf3: $(tail -n 3 "$WORLD/iperf.log")"
    wait "$changer" || fail "a change was refused: $(tail -n 1 "$WORLD/rate.log")"
    "$PYTHON" - "$WORLD/iperf.log" "$WORLD/rate.log" "${SECONDS_LONG:+0.95}" <<-'PYTHON' || exit 1
		import re, statistics, sys
		kinds = ([], [], []) # of a second: quiet, asked, changed
		for line in open(sys.argv[1]):
		    found = re.match(r"([0-9.]+) .* sec .* ([0-9.]+) Mbits/sec", line)
		    if not found or "sender" in line or "receiver" in line:
		        continue
		    middle = float(found[1]) - 0.05
		    # what lies across the border of two seconds belongs to neither
		    if 0.1 < middle % 1 < 0.9:
		        kinds[int(middle) % 3].append(float(found[2]))
		quiet, asked, changed = map(statistics.mean, kinds)
		print(f"ok:   {open(sys.argv[2]).read().strip()}; bulk transfer {quiet / 1e3:.2f} Gbit/s "
		      f"undisturbed, {asked / 1e3:.2f} beside as many questions, {changed / 1e3:.2f} beside "
		      f"changes: {changed / asked:.3f} of the second, {changed / quiet:.3f} of the first")
		wanted = float(sys.argv[3] or 0.5)
		if changed / quiet < wanted:
		    sys.exit(f"FAIL: {changed / quiet:.3f} of the undisturbed transfer is under {wanted}")
	PYTHON
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
}

main
