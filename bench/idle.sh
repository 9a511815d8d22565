#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What sluiced costs when nothing happens, and what the first packet after silence pays for that:
# `bench/idle.sh [--rounds N] [--json FILE]`.
#
# Five qubes, one firewall, one uplink host, each in a network namespace. In turns:
#
#   adaptive   workers look, then sleep: the default
#   polled     the same, with an uplink that can wake nobody (DPDK's af_packet)
#   spin       workers look all the time, as DPDK programs usually do
#
#   CPU        of the whole process, percent of a core, over 10 seconds in which each qube sends one
#              ping a second and refreshes its neighbours; from /proc/PID/task/*/schedstat
#   wake-ups   how often its threads were put on a CPU, per second
#   first      round trip of a ping after 100 ms of silence, microseconds: out and back through the
#              firewall, so two wake-ups are in it, and the kernels of both ends
#
# What counts is the difference to `spin` in the same run.
# shellcheck source=../tests/smoke/lib.sh
source "$(dirname "$0")/../tests/smoke/lib.sh"

QUBES=(work personal vault untrusted mail)
SECONDS_QUIET=10
PINGS=100
rounds=3
json=
samples=

usage() {
    echo "usage: idle.sh [--rounds N] [--json FILE]" >&2
    exit 2
}

while (($#)); do
    case $1 in
    --rounds) rounds=${2?} ;;
    --json) json=$(realpath -m "${2?}") ;;
    *) usage ;;
    esac
    shift 2
done

# sample WHAT VALUE...: of the way to idle that WAY names.
sample() {
    local what=$1 value
    shift
    for value; do
        echo "$what $WAY $value"
    done >>"$samples"
}

# Nanoseconds on a CPU and how often, of all threads together.
schedstat() {
    cat "/proc/$FIREWALL_PID/task/"*/schedstat | awk '{ ns += $1; times += $3 } END { printf "%.0f %.0f\n", ns, times }'
}

# Everybody sends a ping now and then.
quiet_time() {
    local qube before after pids=()
    for qube in "${QUBES[@]}"; do
        in_qube "$qube" ping -q -c "$SECONDS_QUIET" -i 1 -W 2 "$HOST" >/dev/null &
        pids+=($!)
    done
    read -ra before <<<"$(schedstat)"
    sleep "$SECONDS_QUIET"
    read -ra after <<<"$(schedstat)"
    wait "${pids[@]}"
    sample cpu "$(awk -v ns=$((after[0] - before[0])) -v s="$SECONDS_QUIET" \
        'BEGIN { print ns / s / 1e7 }')"
    sample wakeups $(((after[1] - before[1]) / SECONDS_QUIET))
}

first_packets() {
    # the kernel's time stamps, not those of a ping that is woken up itself
    in_qube work ping -n -c "$PINGS" -i 0.1 -W 2 "$HOST" >"$WORLD/ping"
    # shellcheck disable=SC2046  # a list of numbers
    sample first $(sed -n 's/.* time=\([0-9.]*\) ms$/\1/p' "$WORLD/ping" |
        awk '{ print $1 * 1000 }')
}

turn() {
    WAY=$1
    sluice_set sluice idle "${2-$1}"
    sluice_set 'port uplink' device "${3-kernel:eth0}"
    sluice_start
    # neighbours known, and everything used once
    in_qube work ping -q -c 3 -i 0.2 -W 2 "$HOST" >/dev/null || fail "no way through $WAY"
    quiet_time
    first_packets
    sluice_stop || fail "sluiced did not end cleanly"
}

report() {
    "$PYTHON" - "$samples" "$json" <<-'PYTHON'
		import collections, json, os, statistics, sys

		samples = collections.defaultdict(lambda: collections.defaultdict(list))
		for line in open(sys.argv[1]):
		    what, way, value = line.split()
		    samples[way][what].append(float(value))
		print(f"{'':10} {'CPU %':>7} {'wake-ups/s':>11} {'first p50':>10} {'p99':>8}  us")
		result = {}
		for way, values in samples.items():
		    first = sorted(values["first"])
		    p50, p99 = (first[min(len(first) - 1, int(len(first) * p))] for p in (0.5, 0.99))
		    cpu, wakeups = (statistics.median(values[what]) for what in ("cpu", "wakeups"))
		    print(f"{way:10} {cpu:7.2f} {wakeups:11.0f} {p50:10.0f} {p99:8.0f}")
		    result[way] = {
		        "cpu_percent": cpu,
		        "wakeups_per_second": wakeups,
		        "first_p50_us": p50,
		        "first_p99_us": p99,
		        "firsts": len(first),
		    }
		if sys.argv[2]:
		    os.makedirs(os.path.dirname(sys.argv[2]), exist_ok=True)
		    with open(sys.argv[2], "w") as file:
		        json.dump({"workers": int(os.environ.get("WORKERS", 1)), **result}, file, indent=2)
		        file.write("\n")
	PYTHON
}

main() {
    local round qube
    world_require ping
    world_create "${QUBES[@]}"
    samples=$WORLD/samples
    for qube in "${QUBES[@]}"; do
        qube_rules "$qube" <<<'policy=accept'
    done
    sluice_configure
    for ((round = 0; round < rounds; round++)); do
        turn adaptive
        turn polled adaptive "dpdk:net_af_packet0,iface=eth0"
        turn spin
    done
    report
}

main
