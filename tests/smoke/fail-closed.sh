#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Without sluiced nothing is forwarded: not before it is ready, not after SIGTERM, not after kill -9,
# and not by the kernel, even where that has been told to forward and knows the way.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

# Everything that the uplink host ever hears, except neighbour resolution.
watch_uplink() {
    in_uplink nft -f - <<-NFT
		table netdev watch {
		counter heard { }
		chain arriving {
		type filter hook ingress device eth0 priority 0
		meta protocol { ip, ip6 } icmpv6 type != { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report } counter name heard
		meta protocol ip counter name heard
		}
		}
	NFT
}

heard() {
    in_uplink nft list counter netdev watch heard | awk '$1 == "packets" { print $2 }'
}

# The worst neighbour sluice can have: a kernel that forwards and has all routes. sluiced takes
# forwarding back while it runs, so it is said again after every end.
kernel_temptation() {
    in_firewall sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 \
        net.ipv4.conf.vif1/0.forwarding=1 net.ipv4.conf.eth0.forwarding=1
    in_firewall ip route replace "$(qube_address work)" dev vif1.0
    in_firewall ip route replace "$HOST" dev eth0
    in_firewall ip neighbour replace "$HOST" dev eth0 \
        lladdr "$(in_uplink cat /sys/class/net/eth0/address)" nud permanent
}

# nothing_passes WHEN: a handful of packets of every kind, and not one may arrive.
nothing_passes() {
    local before
    before=$(heard)
    in_qube work ping -q -c 3 -i 0.1 -W 1 "$HOST" >/dev/null && fail "$1: ping was answered"
    in_qube work curl -sS --connect-timeout 1 "http://$HOST/" 2>/dev/null && fail "$1: HTTP passes"
    in_qube work dig +time=1 +tries=1 "@${VIRTUAL_DNS[0]}" x.test >/dev/null && fail "$1: DNS passes"
    [[ $(heard) == "$before" ]] || fail "$1: $(($(heard) - before)) packets reached the uplink"
    echo "ok: $1: nothing passes"
}

world_passes() {
    in_qube work ping -q -c 2 -i 0.1 -W 2 "$HOST" >/dev/null || fail "$1: ping does not pass"
    echo "ok: $1: ping passes"
}

main() {
    world_require ping curl dig
    world_create work
    qube_rules work <<<'policy=accept'
    in_qube work ip neighbour replace "$GATEWAY" dev eth0 lladdr "$VIF_MAC" nud permanent
    watch_uplink

    sluice_start
    world_passes "started"
    kernel_temptation
    world_passes "kernel told to forward"
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
    kernel_temptation
    nothing_passes "after SIGTERM"

    sluice_start
    world_passes "started again"
    kernel_temptation
    sluice_stop KILL 2>/dev/null && fail "sluiced survived kill -9"
    kernel_temptation
    nothing_passes "after kill -9"

    sluice_start
    world_passes "started after kill -9"
    kernel_temptation
    sluice_stop INT || fail "sluiced ended with status $? on SIGINT"
    kernel_temptation
    nothing_passes "after SIGINT"

    # and the temptation was real: without what sluice left behind, the kernel forwards
    in_firewall nft flush ruleset
    local before
    before=$(heard)
    in_qube work ping -q -c 1 -W 1 "$HOST" >/dev/null || true
    (($(heard) > before)) || fail "this test shows nothing: its kernel would not have forwarded"
}

main
