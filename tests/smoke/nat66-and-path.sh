#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The way to a far host, with real kernels at both ends and on the path:
#
#   qube work -- sluice -- up 192.168.50.2 == 192.168.60.1, MTU 1400 == 192.168.60.2 mid -- far 192.168.70.2
#
# By IPv4 and IPv6, both masqueraded: servers see the uplink's address. What routers and the far host
# have to say about packets must reach the qube as if nothing had been translated: path MTUs, hop
# limits, closed ports. The same from sluice itself when one of its own ports is the narrow one. And
# what comes in fragments, in whatever order.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2034  # found by their names
MID=192.168.60.2 MID6=fd00:60::2
FAR=192.168.70.2 FAR6=fd00:70::2
NARROW=1400 # the MTU between the routers
MEGABYTES=20

# of FAMILY NAME: $HOST or $HOST6, for instance
of() {
    local name=$2
    [[ $1 == 4 ]] || name+=6
    echo "${!name}"
}

in_url() { if [[ $1 == *:* ]]; then echo "[$1]"; else echo "$1"; fi; }

in_mid() { ip netns exec "$WORLD_NAME-mid" "$@"; }
in_far() { ip netns exec "$WORLD_NAME-far" "$@"; }

ask() { in_qube work "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_ask.py" "$@"; }

# expect WHAT PATTERN SAID
expect() {
    # shellcheck disable=SC2053  # a pattern
    [[ $3 == $2 ]] || fail "$1: \"$3\", should be \"$2\"; drops: $(counter drops)"
    ok "$1: $3"
}

# links_add NAME INTERFACE NETWORK NETWORK6 OTHER INTERFACE MTU: a link between two namespaces, the
# first of which has address 1 in its network and the second address 2.
links_add() {
    ip link add name "$2" netns "$WORLD_NAME-$1" mtu "$7" type veth \
        peer name "$6" netns "$WORLD_NAME-$5" mtu "$7"
    ip -n "$WORLD_NAME-$1" address add "$3.1/24" dev "$2"
    ip -n "$WORLD_NAME-$1" address add "$4::1/64" dev "$2"
    ip -n "$WORLD_NAME-$5" address add "$3.2/24" dev "$6"
    ip -n "$WORLD_NAME-$5" address add "$4::2/64" dev "$6"
    ip -n "$WORLD_NAME-$1" link set "$2" up
    ip -n "$WORLD_NAME-$5" link set "$6" up
}

world_up() {
    local place
    world_require curl dig dnsmasq ping tcpdump cmp
    "$PYTHON" -c 'import scapy' 2>/dev/null || skip "scapy is not installed for $PYTHON"
    world_create work
    qube_rules work <<<'policy=accept'
    namespace_create mid
    namespace_create far
    links_add up eth1 192.168.60 fd00:60 mid eth0 "$NARROW"
    links_add mid eth1 192.168.70 fd00:70 far eth0 1500
    for place in up mid far; do
        # whoever asks gets an answer, every time
        ip netns exec "$WORLD_NAME-$place" sysctl -qw net.ipv4.icmp_ratelimit=0 \
            net.ipv6.icmp.ratelimit=0 net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    done
    in_uplink ip route add 192.168.70.0/24 via "$MID"
    in_uplink ip -6 route add fd00:70::/64 via "$MID6"
    # an unreachable route would be slow to say so more than once a second
    in_uplink ip route add 192.168.80.0/24 via "$MID"
    in_uplink ip -6 route add fd00:80::/64 via "$MID6"
    in_uplink nft -f - <<-NFT
		table inet path {
		chain forward {
		type filter hook forward priority filter
		ip daddr 192.168.80.0/24 reject with icmp host-unreachable
		ip6 daddr fd00:80::/64 reject with icmpv6 no-route
		}
		}
	NFT
    in_mid ip route add 192.168.50.0/24 via 192.168.60.1
    in_mid ip -6 route add fd00:50::/64 via fd00:60::1
    in_far ip route add default via 192.168.70.1
    in_far ip -6 route add default via fd00:70::1

    mkdir "$WORLD/www"
    head -c "${MEGABYTES}M" /dev/urandom >"$WORLD/www/download"
    in_background "$WORLD/uplink_host.log" in_far "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/uplink_host.py" "$WORLD/www" 80 -- 9
    in_background "$WORLD/echo_server.log" in_far "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/echo_server.py" "$WORLD/echo.log" tcp:81 udp:7000
    in_background "$WORLD/dnsmasq.log" in_far dnsmasq --keep-in-foreground --conf-file=/dev/null \
        --no-resolv --no-hosts --pid-file= --user=root --listen-address="$FAR,$FAR6" \
        --bind-interfaces --address="/far.test/$FAR6"
    wait_for 10 "the servers" grep -q ready "$WORLD/echo.log"
    wait_for 10 "the web server" test -e "$WORLD/www/ready"
    wait_for 10 "the resolver" in_far dig +time=1 +tries=1 "@$FAR6" far.test
    sluice_start
    wait_for 10 "a way to the far host" in_qube work ping -c 1 -W 1 "$FAR"
    wait_for 10 "a way to the far host by IPv6" in_qube work ping -c 1 -W 1 "$FAR6"
}

# What everybody has learned of paths.
paths_forget() {
    local place
    for place in work up mid far; do
        ip -n "$WORLD_NAME-$place" route flush cache
        ip -n "$WORLD_NAME-$place" -6 route flush cache
    done
}

# path_mtu PLACE ADDRESS: what its kernel has learned, "none" when nothing
path_mtu() {
    ip -n "$WORLD_NAME-$1" route get "$2" | awk '{ for (i = 1; i < NF; i++) if ($i == "mtu") mtu = $(i + 1) }
        END { print mtu ? mtu : "none" }'
}

# By IPv6 both ends must learn each narrow place on the path, from a datagram that is lost there.
paths_learn() {
    local tries
    for ((tries = 0; tries < 5; tries++)); do
        [[ $(ask --wait 1 --size 3000 "$1" 7000) != "3000 bytes" ]] || return 0
    done
    fail "no path MTU is learned: datagrams of 3000 bytes are lost again and again"
}

# --- who is seen --------------------------------------------------------------------------------

check_masquerade() {
    local family far ours
    for family in 4 6; do
        far=$(of $family FAR) ours=$(of $family UPLINK)
        expect "IPv$family, curl: the server sees the uplink" "$ours * 81" \
            "$(in_qube work curl -sS --noproxy '*' --max-time 10 "http://$(in_url "$far"):81/who")"
        expect "IPv$family, UDP likewise, with the port it came from" "$ours 4000 7000" \
            "$(ask --bind 4000 "$far" 7000)"
        expect "IPv$family, dig" "$FAR6" \
            "$(in_qube work dig +short +time=2 +tries=2 "@$far" far.test AAAA)"
        expect "IPv$family, dig by TCP" "$FAR6" \
            "$(in_qube work dig +tcp +short +time=2 +tries=2 "@$far" far.test AAAA)"
        expect "IPv$family, ping" "*3 received*" \
            "$(in_qube work ping -n -c 3 -i 0.2 -W 2 "$far" | grep received)"
    done
}

# --- errors from the path -----------------------------------------------------------------------

check_hops() {
    local family far hop expired
    local -A hops
    for family in 4 6; do
        far=$(of $family FAR)
        hops=([1]=$(of $family GATEWAY) [2]=$(of $family HOST) [3]=$(of $family MID))
        expired="11/0"
        [[ $family == 4 ]] || expired="3/0"
        expect "IPv$family, a datagram that opens a flow" "$(of $family UPLINK) 4100 7000" \
            "$(ask --bind 4100 "$far" 7000)"
        for hop in 1 2 3; do
            expect "IPv$family, a datagram of $hop hops" "${hops[$hop]} $expired" \
                "$(ask --path --ttl "$hop" "$far" 7009)"
            expect "IPv$family, the same in the open flow" "${hops[$hop]} $expired" \
                "$(ask --bind 4100 --path --ttl "$hop" "$far" 7000)"
            expect "IPv$family, a ping of $hop hops" "From ${hops[$hop]} *exceeded*" \
                "$(in_qube work ping -n -c 1 -W 2 -t "$hop" "$far" | grep -i exceeded)"
        done
        expect "IPv$family, a datagram of 4 hops" "$(of $family UPLINK) * 7000" "$(ask --ttl 4 "$far" 7000)"
    done
    expect "IPv4, a datagram to a closed port" "$FAR 3/3" "$(ask --path "$FAR" 7009)"
    expect "IPv6, a datagram to a closed port" "$FAR6 1/4" "$(ask --path "$FAR6" 7009)"
    for family in 4 6; do
        expect "IPv$family, what that makes of a plain socket" ECONNREFUSED \
            "$(ask "$(of $family FAR)" 7009)"
    done
    expect "IPv4, a network that the router cannot reach" "$HOST 3/1" \
        "$(ask --path 192.168.80.1 7000)"
    expect "IPv6, a network that the router cannot reach" "$HOST6 1/0" \
        "$(ask --path fd00:80::1 7000)"
    expect "TCP into that network" "*No route to host" \
        "$(in_qube work curl -sS -v --noproxy '*' --connect-timeout 5 http://192.168.80.1/ 2>&1 |
            grep -o 'No route to host' | head -n 1)"
}

# bulk WHAT ADDRESS: a file there and one back, as it was
bulk() {
    local url
    url=http://$(in_url "$2")
    head -c "${MEGABYTES}M" /dev/zero >"$WORLD/www/uploaded"
    in_qube work curl -sS --noproxy '*' --max-time 60 -o /dev/null -T "$WORLD/www/download" \
        "$url/uploaded" || fail "$1: no upload"
    cmp -s "$WORLD/www/uploaded" "$WORLD/www/download" || fail "$1: what was uploaded differs"
    in_qube work curl -sS --noproxy '*' --max-time 60 "$url/download" |
        cmp -s - "$WORLD/www/download" || fail "$1: what was downloaded differs"
    ok "$1: $MEGABYTES MB there and back by TCP, whole"
}

check_path_mtu() {
    local family far related
    for family in 4 6; do
        far=$(of $family FAR)
        paths_forget
        expect "IPv$family, path MTU before" none "$(path_mtu work "$far")"
        related=$(counter icmp_errors_related)
        bulk "IPv$family, a path of MTU $NARROW behind the router" "$far"
        (($(counter icmp_errors_related) > related)) || fail "nobody was told the path MTU"
        expect "IPv$family, path MTU that the qube's kernel has learned" "$NARROW" \
            "$(path_mtu work "$far")"
        paths_forget
        expect "IPv$family, a datagram that does not fit" \
            "$(of $family HOST) $([[ $family == 4 ]] && echo 3/4 || echo 2/0) $NARROW" \
            "$(ask --path --df --size 1450 "$far" 7000)"
        expect "IPv$family, one that fits exactly" "* bytes" \
            "$(ask --df --size $((NARROW - (family == 4 ? 28 : 48))) "$far" 7000)"
    done
}

# A server in the qube, behind a forward: what the router says about its packets is about a flow that
# others opened.
check_path_mtu_of_forward() {
    local family
    printf '%s\n' "[forward web]" "forwardtype = external" "proto = tcp" "srcports = 8080" \
        "dstports = 80" "qube = work" >>"$WORLD/sluice.conf"
    sluice_reload || fail "refused: $RELOAD_SAID"
    mkdir "$WORLD/www-work"
    cp "$WORLD/www/download" "$WORLD/www-work/download"
    in_background "$WORLD/www-work.log" in_qube work "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/uplink_host.py" "$WORLD/www-work" 80 -- 9
    wait_for 10 "the web server in the qube" test -e "$WORLD/www-work/ready"
    for family in 4 6; do
        paths_forget
        in_far curl -sS --noproxy '*' --max-time 60 \
            "http://$(in_url "$(of $family UPLINK)"):8080/download" |
            cmp -s - "$WORLD/www/download" || fail "IPv$family: what was downloaded differs"
        expect "IPv$family, path MTU that a server behind a forward has learned" "$NARROW" \
            "$(path_mtu work "$(of $family FAR)")"
    done
}

# --- fragments ----------------------------------------------------------------------------------

check_fragments() {
    local family far size order
    for family in 4 6; do
        far=$(of $family FAR)
        paths_learn "$far"
        for size in 3000 60000; do
            expect "IPv$family, ping of $size bytes" "*3 received*" \
                "$(in_qube work ping -n -c 3 -i 0.2 -W 3 -s "$size" "$far" | grep received)"
        done
        for size in 9000 60000; do
            expect "IPv$family, UDP of $size bytes" "$size bytes" "$(ask --size "$size" "$far" 7000)"
        done
    done
    # Nobody is too narrow for these on the way to the nearest host, and so nothing cuts them again.
    in_background "$WORLD/tcpdump.log" in_uplink tcpdump -n -l --immediate-mode -v -i eth0 \
        "src $UPLINK and dst $HOST and ip[6:2] & 0x3fff != 0"
    local tcpdump=$!
    wait_for 10 "tcpdump" grep -q listening "$WORLD/tcpdump.log"
    in_background /dev/null in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/echo_server.py" \
        "$WORLD/near.log" udp:7000
    wait_for 10 "the near server" grep -q ready "$WORLD/near.log"
    for family in 4 6; do
        for order in forward reverse shuffle twice; do
            expect "IPv$family, fragments, $order" "20000 bytes" \
                "$(in_qube work "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_fragments.py" "$order" 20000 \
                    "$VIF_MAC" "$(of $family WORK)" "$(of $family HOST)" 7000)"
        done
    done
    (($(drops fragment-overlap) > 0)) || fail "fragments that came twice were not counted"
    wait_for 5 "all fragments" last_fragments
    kill "$tcpdump"
    expect "fragments leave in order" "60 fragments of 4 datagrams" "$(awk '
        match($0, /offset [0-9]+/) {
            offset = substr($0, RSTART + 7, RLENGTH - 7) + 0
            if (offset == 0) datagrams++
            else if (offset <= last) { print "offset " offset " behind " last; exit }
            last = offset
            fragments++
        }
        END { print fragments " fragments of " datagrams " datagrams" }' "$WORLD/tcpdump.log")"
}
last_fragments() { (($(grep -c 'flags \[none\]' "$WORLD/tcpdump.log") == 4)); }

# --- sluice itself is narrow --------------------------------------------------------------------

# restart_with [INTERFACE MTU]...: sluiced reads MTUs when it starts
restart_with() {
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
    while (($#)); do
        in_firewall ip link set "$1" mtu "$2"
        [[ $1 != eth0 ]] || in_uplink ip link set eth0 mtu "$2"
        shift 2
    done
    paths_forget
    sluice_start
    wait_for 10 "a way to the far host" in_qube work ping -c 1 -W 1 "$FAR"
    wait_for 10 "a way to the far host by IPv6" in_qube work ping -c 1 -W 1 "$FAR6"
}

check_narrow_uplink() {
    local family far mtu=1300 too_big
    restart_with eth0 "$mtu"
    for family in 4 6; do
        far=$(of $family FAR)
        too_big=$(drops too-big)
        bulk "IPv$family, an uplink of MTU $mtu" "$far"
        (($(drops too-big) > too_big)) || fail "nothing was too big for an MTU of $mtu"
        expect "IPv$family, path MTU that the qube's kernel has learned" "$mtu" \
            "$(path_mtu work "$far")"
        paths_forget
        expect "IPv$family, a datagram that does not fit" \
            "$(of $family GATEWAY) $([[ $family == 4 ]] && echo 3/4 || echo 2/0) $mtu" \
            "$(ask --path --df --size 1400 "$far" 7000)"
        paths_learn "$far"
        expect "IPv$family, UDP in fragments" "9000 bytes" "$(ask --size 9000 "$far" 7000)"
        expect "IPv$family, ping in fragments" "*3 received*" \
            "$(in_qube work ping -n -c 3 -i 0.2 -W 3 -s 9000 "$far" | grep received)"
    done
    # without DF, sluice cuts what its kernel sent whole
    paths_forget
    expect "IPv4, a datagram that may be cut" "*3 received*" \
        "$(in_qube work ping -n -c 3 -i 0.2 -W 3 -M dont -s 1400 "$FAR" | grep received)"
}

# syn_mss FAMILY PLACE: the MSS that one end is told by the other's SYN
syn_mss() {
    local filter='tcp[13] & 2 != 0' place=$2
    [[ $1 == 4 ]] || filter='ip6[6] == 6 and ip6[53] & 2 != 0'
    [[ $place != work ]] || filter="src $(of "$1" FAR) and $filter"
    # what an earlier one said must not be taken for this one's
    rm -f "$WORLD/syn.log"
    timeout 20 ip netns exec "$WORLD_NAME-$place" tcpdump -n -l --immediate-mode -c 1 -i eth0 "$filter" \
        >"$WORLD/syn" 2>"$WORLD/syn.log" </dev/null &
    local tcpdump=$!
    WORLD_PIDS+=("$tcpdump")
    wait_for 10 "tcpdump" grep -q listening "$WORLD/syn.log"
    in_qube work curl -sS --noproxy '*' --max-time 10 -o /dev/null \
        "http://$(in_url "$(of "$1" FAR)"):81/who" || fail "no connection"
    wait "$tcpdump" || fail "tcpdump has seen no SYN: $(cat "$WORLD/syn.log")"
    sed -n 's/.*mss \([0-9]*\).*/\1/p' "$WORLD/syn"
}

# The uplink has an MTU of 1300 now.
check_mss_clamp() {
    local family too_big
    paths_forget
    expect "IPv4, MSS of a SYN without clamp" 1460 "$(syn_mss 4 up)"
    sluice_set "port uplink" mss-clamp mtu
    sluice_reload || fail "refused: $RELOAD_SAID"
    expect "IPv4, MSS of a SYN, clamped to the MTU" 1260 "$(syn_mss 4 up)"
    expect "IPv6, MSS of a SYN, clamped to the MTU" 1240 "$(syn_mss 6 up)"
    expect "IPv4, MSS of the answer" 1260 "$(syn_mss 4 work)"
    expect "IPv6, MSS of the answer" 1240 "$(syn_mss 6 work)"
    for family in 4 6; do
        too_big=$(drops too-big)
        bulk "IPv$family, clamped" "$(of $family FAR)"
        (($(drops too-big) == too_big)) || fail "clamped, and still something was too big"
        expect "IPv$family, path MTU" none "$(path_mtu work "$(of $family FAR)")"
    done
    sluice_set "port uplink" mss-clamp 1000
    sluice_reload || fail "refused: $RELOAD_SAID"
    expect "IPv4, MSS of a SYN, clamped to 1000 bytes" 1000 "$(syn_mss 4 up)"
    expect "IPv6, MSS of a SYN, clamped to 1000 bytes" 1000 "$(syn_mss 6 up)"
    sluice_set "port uplink" mss-clamp off
}

# Towards a qube it is the far host that must be told.
check_narrow_vif() {
    local family far mtu=1300 first
    restart_with eth0 1500 vif1.0 "$mtu"
    for family in 4 6; do
        far=$(of $family FAR)
        first=$(ask --wait 1 --big 1350 "$far" 7000)
        expect "IPv$family, the first answer that does not fit is lost" silence "$first"
        expect "IPv$family, path MTU that the far kernel has learned" "$mtu" \
            "$(path_mtu far "$(of $family UPLINK)")"
        expect "IPv$family, the next one comes in fragments" "1350 bytes" \
            "$(ask --big 1350 "$far" 7000)"
        paths_forget
        in_qube work curl -sS --noproxy '*' --max-time 60 "http://$(in_url "$far")/download" |
            cmp -s - "$WORLD/www/download" || fail "IPv$family: what was downloaded differs"
        expect "IPv$family, path MTU after a download" "$mtu" \
            "$(path_mtu far "$(of $family UPLINK)")"
    done
}

main() {
    world_up
    # shellcheck disable=SC2034  # found by their names
    WORK=$(qube_address work) WORK6=$(qube_address6 work)
    check_masquerade
    check_hops
    check_path_mtu
    check_path_mtu_of_forward
    check_fragments
    check_narrow_uplink
    check_mss_clamp
    check_narrow_vif
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
}

main
