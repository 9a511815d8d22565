#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# sluiced against the kernel, between the same two ends: `bench/bulk.sh [--rounds N] [--json FILE]`.
#
# One qube, one firewall, one uplink host, each in a network namespace, veth pairs with their default
# offloads. The firewall is in turns the kernel (forwarding, connection tracking, masquerade and the
# qube's rules as nftables) and sluiced with the same rules, so that what else the machine does hits
# both alike. In each turn:
#
#   upload, download   one TCP stream of iperf3, 3 seconds, Gbit/s received
#   small packets      60-byte UDP frames of 64 flows from one core as fast as it can, 3 seconds,
#                      million packets per second that arrived at the far end
#
# Medians over the rounds, and what counts: the ratio of sluiced to the kernel in the same run.
# shellcheck source=../tests/smoke/lib.sh
source "$(dirname "$0")/../tests/smoke/lib.sh"

BLAST_PORT=9
SECONDS_EACH=3
rounds=5
json=
samples=

usage() {
    echo "usage: bulk.sh [--rounds N] [--json FILE]" >&2
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

# sample WHAT VALUE: of the firewall that MODE names.
sample() {
    echo "$1 $MODE $2" >>"$samples"
}

world_up() {
    local line
    world_create work
    samples=$WORLD/samples
    # as many rules as a careful user has; the one that matches is the last
    {
        echo policy=drop
        echo action=accept specialtarget=dns
        for line in {1..20}; do
            echo "action=accept dst4=203.0.113.$line/32 proto=tcp dstports=443-443"
        done
        echo "action=accept dst4=$HOST/32"
    } | qube_rules work
    in_uplink nft -f - <<-NFT
		table netdev bench {
		counter arrived { }
		chain arriving {
		type filter hook ingress device eth0 priority 0
		udp dport $BLAST_PORT counter name arrived drop
		}
		}
	NFT
    in_background "$WORLD/iperf3.log" in_uplink iperf3 --server
    wait_for 10 "iperf3" in_uplink sh -c "ss -Hltn 'sport = 5201' | grep -q ."
}

# stream OPTION...: Gbit/s that arrived.
stream() {
    in_qube work iperf3 --client "$HOST" --time "$SECONDS_EACH" --json "$@" >"$WORLD/iperf3.json" ||
        fail "iperf3 through $MODE: $("$PYTHON" -c 'import json, sys
print(json.load(sys.stdin).get("error"))' <"$WORLD/iperf3.json")"
    "$PYTHON" -c 'import json, sys
print(json.load(sys.stdin)["end"]["sum_received"]["bits_per_second"] / 1e9)' <"$WORLD/iperf3.json"
}

arrived() {
    in_uplink nft list counter netdev bench arrived | awk '$1 == "packets" { print $2 }'
}

# Million packets per second that arrived.
small_packets() {
    local before
    before=$(arrived)
    in_qube work taskset --cpu-list 0 "$BUILD/bench/blast" eth0 "$VIF_MAC" "$(qube_address work)" \
        "$HOST" "$BLAST_PORT" 64 "$SECONDS_EACH" >/dev/null
    awk -v n="$(($(arrived) - before))" -v s="$SECONDS_EACH" 'BEGIN { print n / s / 1e6 }'
}

turn() {
    MODE=$1
    firewall_start
    # both neighbours known before anything is measured
    in_qube work ping -q -c 3 -i 0.2 -W 2 "$HOST" >/dev/null || fail "no way through $MODE"
    sample upload "$(stream)"
    sample download "$(stream --reverse)"
    sample small "$(small_packets)"
    firewall_stop TERM || fail "$MODE did not end cleanly"
}

report() {
    "$PYTHON" - "$samples" "$json" <<-'PYTHON'
		import collections, json, os, statistics, sys

		names = {
		    "upload": ("TCP upload", "Gbit/s"),
		    "download": ("TCP download", "Gbit/s"),
		    "small": ("60-byte packets", "M/s"),
		}
		samples = collections.defaultdict(lambda: collections.defaultdict(list))
		for line in open(sys.argv[1]):
		    what, mode, value = line.split()
		    samples[what][mode].append(float(value))
		print(f"{'':18} {'kernel':>9} {'sluiced':>9} {'ratio':>7}")
		result = {}
		for what, (name, unit) in names.items():
		    kernel, sluice = (statistics.median(samples[what][m]) for m in ("kernel", "sluice"))
		    print(f"{name:18} {kernel:9.2f} {sluice:9.2f} {sluice / kernel:7.2f}  {unit}")
		    result[what] = {
		        "unit": unit,
		        "kernel": kernel,
		        "sluice": sluice,
		        "ratio": sluice / kernel,
		        "samples": samples[what],
		    }
		if sys.argv[2]:
		    os.makedirs(os.path.dirname(sys.argv[2]), exist_ok=True)
		    with open(sys.argv[2], "w") as file:
		        json.dump({"workers": int(os.environ.get("WORKERS", 1)), **result}, file, indent=2)
		        file.write("\n")
	PYTHON
}

main() {
    world_require iperf3 taskset ping ss
    [[ -x $BUILD/bench/blast ]] || fail "$BUILD/bench/blast is not built"
    world_up
    local round
    for ((round = 0; round < rounds; round++)); do
        turn kernel
        turn sluice
    done
    report
}

main
