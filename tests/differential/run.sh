#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The differential test: `tests/differential/run.sh [OPTION...] [FAMILY...]`.
#
# The same packets go through the kernel with the rules of the upstream firewall and through sluiced,
# and what comes out is compared; differential.py says how. Options: --seed N for other scenarios
# and rules, --scenario N for one of them with every step, --list for the families.
#
#                       +--------------+                                   +-----------+
#   namespace far       | kernel, nft  |       the same far end, again     |  sluiced  |
#     k-uplink ---- eth0|              |         s-uplink ---- eth0 ------ |           |
#     k-work ---- vif1.0|              |         s-work ---- vif1.0 ------ |           |
#     ...               +--------------+         ...                       +-----------+
#
# No stack answers at the far ends: frames are written and read there as they are.
# shellcheck source=../smoke/lib.sh
source "$(dirname "$0")/../smoke/lib.sh"

HERE=$WORLD_ROOT/tests/differential
export PYTHONDONTWRITEBYTECODE=1
seed=1 run_options=()

differential() { "$PYTHON" "$HERE/differential.py" "$@"; }

while (($#)); do
    case $1 in
    --list)
        differential list
        exit
        ;;
    --seed)
        seed=$2
        shift
        ;;
    *) run_options+=("$1") ;;
    esac
    shift
done

in_far() { ip netns exec "$WORLD_NAME-far" "$@"; }
in_kernel() { ip netns exec "$WORLD_NAME-kernel" "$@"; }

# Nothing but what is written to them leaves the far ends.
far_create() {
    namespace_create far
    in_far sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1
}

# links_create NAMESPACE PREFIX: the links between the far ends and one of the firewalls.
links_create() {
    local far near mtu mac
    while read -r far near mtu _; do
        mac=$VIF_MAC
        [[ $near != eth0 ]] || mac=$(differential constant UPLINK_MAC)
        ip link add "$2-$far" netns "$WORLD_NAME-far" type veth \
            peer name "$near" netns "$WORLD_NAME-$1" address "$mac"
        # partial checksums and frames of several segments have tests of their own
        in_far ethtool -K "$2-$far" tx off rx off gro off >/dev/null
        ip netns exec "$WORLD_NAME-$1" ethtool -K "$near" tx off rx off gro off >/dev/null
        ip -n "$WORLD_NAME-$1" link set "$near" mtu "$mtu"
        ip -n "$WORLD_NAME-far" link set "$2-$far" arp off
        ip -n "$WORLD_NAME-$1" link set "$near" up
        ip -n "$WORLD_NAME-far" link set "$2-$far" up
    done <"$WORLD/links"
}

# The oracle: what upstream's scripts do to a network qube.
kernel_world_start() {
    local far near ip ip6
    ip -n "$WORLD_NAME-kernel" address add "$UPLINK/24" dev eth0
    ip -n "$WORLD_NAME-kernel" address add "$(differential constant UPLINK6)/64" dev eth0
    ip -n "$WORLD_NAME-kernel" route add default via "$HOST"
    ip -n "$WORLD_NAME-kernel" -6 route add default via "$(differential constant ROUTER6)"
    while read -r far near _ ip ip6; do
        [[ $far != uplink ]] || continue
        ip -n "$WORLD_NAME-kernel" address add "$GATEWAY/32" dev "$near"
        ip -n "$WORLD_NAME-kernel" route add "$ip" dev "$near"
        ip -n "$WORLD_NAME-kernel" neigh add "$ip" lladdr "$QUBE_MAC" dev "$near" nud permanent
        [[ -n $ip6 ]] || continue
        ip -n "$WORLD_NAME-kernel" address add "$GATEWAY6/128" dev "$near"
        ip -n "$WORLD_NAME-kernel" -6 route add "$ip6" dev "$near"
        ip -n "$WORLD_NAME-kernel" neigh add "$ip6" lladdr "$QUBE_MAC" dev "$near" nud permanent
    done <"$WORLD/links"
    # some are younger than others
    in_kernel sysctl -qe -p "$WORLD/sysctls"
    in_kernel nft -f "$WORLD/oracle.nft"
}

# What the oracle is made of: connection tracking, NAT of both families, errors.
oracle_probe() {
    unshare --net nft -f - 2>/dev/null <<-NFT
		table inet probe {
		chain translate { type nat hook postrouting priority srcnat; masquerade; }
		chain forward { type filter hook forward priority filter; ct state invalid drop; reject with icmpx admin-prohibited; }
		}
	NFT
}

world_require ethtool
oracle_probe || skip "this kernel has no connection tracking and NAT for nftables"
"$PYTHON" -c 'import scapy' 2>/dev/null || fail "python3-scapy is not installed"
world_sweep
WORLD_NAME=sl$$
WORLD=$(mktemp -d -p "$(scratch_place)" "$WORLD_NAME.world.XXXXXX")
trap world_destroy EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

GATEWAY6=$(differential constant GATEWAY6)
differential write "$WORLD" --seed "$seed" --workers "$WORKERS"

far_create
namespace_create fw
in_firewall sysctl -qw net.ipv6.conf.default.disable_ipv6=1
namespace_create kernel
links_create fw s
links_create kernel k
kernel_world_start
sluice_start

# in the background, so that signals are heard
in_far "$PYTHON" "$HERE/differential.py" run --seed "$seed" \
    --control "$WORLD/control.sock" "${run_options[@]}" </dev/null &
WORLD_PIDS+=($!)
status=0
wait $! || status=$?
if ! sluice_stop; then
    tail -n 20 "$WORLD/sluiced.log"
    fail "sluiced did not end well"
fi
exit "$status"
