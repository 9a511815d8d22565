# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A small world of network namespaces for tests and for `make run`. Sourced, never run.
#
#   qube work     eth0 10.137.0.16 --- vif1.0 +----------+
#   qube personal eth0 10.137.0.17 --- vif2.0 | firewall | eth0 192.168.50.1 --- eth0 192.168.50.2 uplink host
#   ...                                       +----------+
#
# As in Qubes: every qube has the same MAC, a /32, and the gateway 10.137.0.1 as its only
# neighbour. IPv6 likewise. The veth pairs keep their default offloads. Nothing outside the
# namespaces is touched, and they go away however the script ends.
#
#   source "$(dirname "$0")/lib.sh"
#   world_require curl                  # root, namespaces, these programs: or skip with a reason
#   world_create work personal
#   qube_rules work <<<$'policy=drop\naction=accept'
#   firewall_start                      # sluiced, or with MODE=kernel the kernel with nftables
#   in_qube work curl -sS http://192.168.50.2/
#   drops policy                        # how often this reason was counted
#
# MODE=kernel needs no sluiced: it checks the world itself, and is what the benchmarks compare to.
set -euo pipefail
export LC_ALL=C.UTF-8

WORLD_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-build}
[[ $BUILD == /* ]] || BUILD=$WORLD_ROOT/$BUILD
MODE=${MODE:-sluice}
WORKERS=${WORKERS:-1}
PYTHON=$(command -v /usr/bin/python3 || command -v python3 || true)

GATEWAY=10.137.0.1 GATEWAY6=fd09:24ef:4179::1
VIRTUAL_DNS=(10.139.1.1 10.139.1.2)
UPLINK=192.168.50.1 UPLINK6=fd00:50::1 # the firewall's
HOST=192.168.50.2 HOST6=fd00:50::2     # of the machine beyond
QUBE_MAC=00:16:3e:5e:6c:00
VIF_MAC=fe:ff:ff:ff:ff:ff

WORLD=         # scratch directory: configuration, logs, socket
WORLD_NAME=    # prefix of all namespaces of this run
WORLD_QUBES=() # in the order of their addresses
WORLD_PIDS=()  # what runs in the background
FIREWALL_PID=

skip() {
    echo "$*"
    exit 77
}

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

ok() { echo "ok:   $*"; }

# world_require PROGRAM...: skip the test, with the reason as last line, where it cannot run.
world_require() {
    local program
    ((EUID == 0)) || skip "needs root for network namespaces"
    for program in ip nft "$@"; do
        command -v "$program" >/dev/null || skip "$program is not installed"
    done
    unshare --net true 2>/dev/null || skip "this kernel or container allows no network namespaces"
    unshare --net ip link add type veth 2>/dev/null || skip "this kernel has no veth"
    unshare --net nft add table inet probe 2>/dev/null || skip "this kernel has no nftables"
    [[ $MODE == kernel || -x $BUILD/app/sluiced ]] || fail "$BUILD/app/sluiced is not built"
}

# --- the namespaces -----------------------------------------------------------------------------

in_firewall() { ip netns exec "$WORLD_NAME-fw" "$@"; }
in_uplink() { ip netns exec "$WORLD_NAME-up" "$@"; }
in_qube() { ip netns exec "$WORLD_NAME-$1" "${@:2}"; }

qube_index() {
    local index
    for index in "${!WORLD_QUBES[@]}"; do
        [[ ${WORLD_QUBES[index]} != "$1" ]] || {
            echo "$index"
            return
        }
    done
    fail "no qube is named $1"
}

qube_address() { echo "10.137.0.$((16 + $(qube_index "$1")))"; }
qube_address6() { printf 'fd09:24ef:4179::a89:%x\n' $((16 + $(qube_index "$1"))); }
qube_vif() { echo "vif$((1 + $(qube_index "$1"))).0"; }

firewall_interfaces() {
    local qube
    echo eth0
    for qube in "${WORLD_QUBES[@]}"; do
        qube_vif "$qube"
    done
}

# world_create QUBE...
world_create() {
    local qube
    world_sweep
    WORLD_NAME=sl$$
    WORLD=$(mktemp -d -p "$(scratch_place)" "$WORLD_NAME.world.XXXXXX")
    trap world_destroy EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    WORLD_QUBES=("$@")

    namespace_create fw
    namespace_create up
    link_create up
    in_uplink ip address add "$HOST/24" dev eth0
    in_uplink ip address add "$HOST6/64" dev eth0
    for qube; do
        namespace_create "$qube"
        link_create "$qube" "$(qube_vif "$qube")"
        in_qube "$qube" ip address add "$(qube_address "$qube")/32" dev eth0
        in_qube "$qube" ip address add "$(qube_address6 "$qube")/128" dev eth0
        in_qube "$qube" ip route add "$GATEWAY" dev eth0
        in_qube "$qube" ip route add default via "$GATEWAY" onlink dev eth0
        in_qube "$qube" ip -6 route add "$GATEWAY6" dev eth0
        in_qube "$qube" ip -6 route add default via "$GATEWAY6" onlink dev eth0
        echo 'policy=drop' >"$WORLD/$qube.rules"
    done
}

# Memory, where there is enough of it, so that no disk slows transfers down.
scratch_place() {
    local free_kib
    free_kib=$(df --output=avail /dev/shm 2>/dev/null | tail -n 1)
    if ((${free_kib:-0} > 1 << 20)); then
        echo /dev/shm
    else
        echo "${TMPDIR:-/tmp}"
    fi
}

# Private settings of a new namespace: no waiting for duplicate addresses.
namespace_create() {
    local name=$WORLD_NAME-$1
    ip netns add "$name"
    ip netns exec "$name" sysctl -qw net.ipv6.conf.all.accept_dad=0 \
        net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.router_solicitations=0
    ip -n "$name" link set lo up
}

# link_create NAMESPACE [VIF]: its eth0, whose other end is eth0 or VIF of the firewall.
link_create() {
    local name=$WORLD_NAME-$1 peer=${2:-eth0} mac=() peer_mac=()
    # in Qubes all client ends have one MAC, and all firewall ends another
    [[ $peer == eth0 ]] || { mac=(address "$QUBE_MAC") peer_mac=(address "$VIF_MAC"); }
    ip link add eth0 netns "$name" "${mac[@]}" type veth \
        peer name "$peer" netns "$WORLD_NAME-fw" "${peer_mac[@]}"
    in_firewall sysctl -qw "net.ipv6.conf.${peer//.//}.disable_ipv6=1"
    ip -n "$WORLD_NAME-fw" link set "$peer" up
    ip -n "$name" link set eth0 up
}

# End what runs in the namespaces of NAME-*, and remove them.
namespaces_remove() {
    local name pids
    for name in $(ip netns list | awk -v p="$1-" 'index($1, p) == 1 { print $1 }'); do
        pids=$(ip netns pids "$name" 2>/dev/null || true)
        # shellcheck disable=SC2086  # a list
        [[ -z $pids ]] || kill -KILL $pids 2>/dev/null || true
        ip netns delete "$name" 2>/dev/null || true
        rm -rf "/etc/netns/$name"
    done
    rmdir /etc/netns 2>/dev/null || true
}

world_destroy() {
    trap - EXIT
    trap '' HUP INT TERM
    [[ ${#WORLD_PIDS[@]} -eq 0 ]] || kill "${WORLD_PIDS[@]}" 2>/dev/null || true
    # also those that a test has stopped
    [[ ${#WORLD_PIDS[@]} -eq 0 ]] || kill -CONT "${WORLD_PIDS[@]}" 2>/dev/null || true
    namespaces_remove "$WORLD_NAME"
    [[ ${#WORLD_PIDS[@]} -eq 0 ]] || wait "${WORLD_PIDS[@]}" 2>/dev/null || true
    undefined_keep
    rm -rf "$WORLD"
}

# Have tests/run.sh see what was undefined: that sanitizer writes to stderr, wherever reports should go.
undefined_keep() {
    [[ -n ${SANITIZER_REPORTS:-} ]] || return 0
    ! grep -qs 'runtime error: ' "$WORLD"/*.log ||
        grep -hs -A 20 'runtime error: ' "$WORLD"/*.log >>"$SANITIZER_REPORTS.world"
}

# Take away what an earlier run left that was killed before it could clean up.
world_sweep() {
    local run
    for run in $(ip netns list | sed -n 's/^\(sl[0-9][0-9]*\)-.*/\1/p' | sort -u); do
        kill -0 "${run#sl}" 2>/dev/null || {
            namespaces_remove "$run"
            rm -rf "$(scratch_place)/$run".world.*
        }
    done
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
    local deadline=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((${EPOCHREALTIME/[.,]/} < deadline)) || fail "$what: nothing after the time allowed"
        sleep 0.05
    done
}

# in_background LOG COMMAND...: ended with the world.
in_background() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 </dev/null &
    WORLD_PIDS+=($!)
}

# --- the firewall -------------------------------------------------------------------------------

# qube_rules QUBE <RULES: what its rules file holds.
qube_rules() { cat >"$WORLD/$1.rules"; }

firewall_start() { "${MODE}_start"; }
firewall_stop() { "${MODE}_stop" "$@"; }

# drops REASON [QUBE|uplink]: how many packets were dropped for it, in all or of one port.
drops() { "${MODE}_drops" "$@"; }

# sluice_configure [LINE...]: write sluice.conf as a user would, and the lines behind it.
# shellcheck disable=SC2120  # lines are for scripts that need more
sluice_configure() {
    local qube
    {
        cat <<-CONF
		[sluice]
		workers = $WORKERS
		socket = $WORLD/control.sock
		state-dir = $WORLD/state
		[gateway]
		address = $GATEWAY
		address6 = $GATEWAY6
		dns = ${VIRTUAL_DNS[*]}
		[port uplink]
		device = kernel:eth0
		role = uplink
		address = $UPLINK/24
		gateway = $HOST
		address6 = $UPLINK6/64
		gateway6 = $HOST6
		dns = $HOST
		CONF
        for qube in "${WORLD_QUBES[@]}"; do
            cat <<-CONF
			[port $qube]
			device = kernel:$(qube_vif "$qube")
			role = qube
			qube = $qube
			[qube $qube]
			address = $(qube_address "$qube")
			address6 = $(qube_address6 "$qube")
			mac = $QUBE_MAC
			rules = $qube.rules
			CONF
        done
        (($# == 0)) || printf '%s\n' "$@"
    } >"$WORLD/sluice.conf"
    mkdir -p "$WORLD/state"
}

sluice_start() {
    [[ -e $WORLD/sluice.conf ]] || sluice_configure
    undefined_keep
    : >"$WORLD/sluiced.log"
    # not by in_firewall: the pid must be that of sluiced, not of a shell around it
    ip netns exec "$WORLD_NAME-fw" "$BUILD/app/sluiced" --config "$WORLD/sluice.conf" \
        </dev/null >"$WORLD/sluiced.log" 2>&1 &
    FIREWALL_PID=$!
    WORLD_PIDS+=("$FIREWALL_PID")
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        ! grep -q '^sluiced: ready' "$WORLD/sluiced.log" || return 0
        kill -0 "$FIREWALL_PID" 2>/dev/null || break
        sleep 0.05
    done
    head -n 20 "$WORLD/sluiced.log" >&2
    fail "sluiced does not start"
}

# sluice_stop [SIGNAL]: end sluiced as systemd would, or otherwise. Its exit status is ours.
# shellcheck disable=SC2120  # signals are for tests
sluice_stop() {
    local pid=$FIREWALL_PID
    FIREWALL_PID=
    kill -s "${1:-TERM}" "$pid" || fail "sluiced was not running any more: $(tail -n 5 "$WORLD/sluiced.log")"
    wait "$pid"
}

# sluice_set SECTION KEY VALUE: write a key into sluice.conf, in place of what it was. The section is
# there already.
sluice_set() {
    sed -i -e "/^\\[$1\\]\$/,/^\\[/{/^$2 = /d}" -e "/^\\[$1\\]\$/a $2 = $3" "$WORLD/sluice.conf"
}

# sluice_reload: have sluiced read its configuration again. Whether it is taken up is the exit status,
# and what sluiced had to say is in RELOAD_SAID.
# shellcheck disable=SC2034  # RELOAD_SAID is for tests
sluice_reload() {
    local before status=0
    before=$(wc -l <"$WORLD/sluiced.log")
    kill -s HUP "$FIREWALL_PID" || fail "sluiced is not running any more"
    wait_for 20 "an answer to SIGHUP" sluice_said "$before" \
        '^sluiced: (policy [0-9]+ in force: .* compiled|reload: .* is not taken up)'
    RELOAD_SAID=$(tail -n "+$((before + 1))" "$WORLD/sluiced.log")
    ! grep -q '^sluiced: reload:' <<<"$RELOAD_SAID" || status=1
    return "$status"
}

# sluice_said LINE PATTERN: whether the log says so, behind that line.
sluice_said() { (($(tail -n "+$(($1 + 1))" "$WORLD/sluiced.log" | grep -cE "$2"))); }

# counter KEY...: a number from the control socket, 0 for one that is not there.
counter() { "$PYTHON" "$WORLD_ROOT/tests/smoke/control.py" "$WORLD/control.sock" counters "$@"; }

sluice_drops() {
    if (($# > 1)); then
        counter ports "$2" drops "$1"
    else
        counter drops "$1"
    fi
}

# --- the same, by the kernel --------------------------------------------------------------------

kernel_start() {
    local qube vif interface
    # sluice leaves the kernel deaf on its interfaces
    in_firewall nft flush ruleset
    for interface in $(firewall_interfaces); do
        in_firewall sysctl -qw "net.ipv4.conf.${interface//.//}.arp_ignore=0"
    done
    in_firewall sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
        net.ipv6.conf.eth0.disable_ipv6=0
    in_firewall ip address add "$UPLINK/24" dev eth0
    in_firewall ip address add "$UPLINK6/64" dev eth0
    in_firewall ip route add default via "$HOST"
    in_firewall ip -6 route add default via "$HOST6"
    for qube in "${WORLD_QUBES[@]}"; do
        vif=$(qube_vif "$qube")
        in_firewall sysctl -qw "net.ipv6.conf.${vif//.//}.disable_ipv6=0"
        in_firewall ip address add "$GATEWAY/32" dev "$vif"
        in_firewall ip address add "$GATEWAY6/128" dev "$vif"
        in_firewall ip route add "$(qube_address "$qube")" dev "$vif"
        in_firewall ip -6 route add "$(qube_address6 "$qube")" dev "$vif"
    done
    kernel_ruleset >"$WORLD/ruleset.nft"
    in_firewall nft -f "$WORLD/ruleset.nft"
}

# Back to a deaf and empty namespace, so that sluiced can take over the same links.
kernel_stop() {
    local interface
    in_firewall nft flush ruleset
    in_firewall sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
    for interface in $(firewall_interfaces); do
        in_firewall sysctl -qw "net.ipv6.conf.${interface//.//}.disable_ipv6=1"
        in_firewall ip address flush dev "$interface"
        in_firewall ip route flush dev "$interface"
    done
}

kernel_drops() {
    in_firewall nft list counter inet firewall "drop-$1" | awk '$1 == "packets" { print $2 }'
}

# One Qubes rule string as the beginning of an nftables rule, one line per way to match it.
kernel_rule() {
    local token rule=$1 verdict='' match=() ways=('')
    local key value
    for token in $rule; do
        key=${token%%=*} value=${token#*=}
        case $key in
        action) verdict=$value ;;
        dst4) match+=("ip daddr $value") ;;
        dst6) match+=("ip6 daddr $value") ;;
        proto)
            case $value in
            icmp) match+=("meta l4proto { icmp, ipv6-icmp }") ;;
            *) match+=("meta l4proto $value") ;;
            esac
            ;;
        dstports) match+=("th dport $value") ;;
        specialtarget) ways=("ip daddr $HOST tcp dport 53" "ip daddr $HOST udp dport 53") ;;
        *) fail "MODE=kernel cannot translate '$token'" ;;
        esac
    done
    for value in "${ways[@]}"; do
        case $verdict in
        accept) echo "		$value ${match[*]} goto accepted" ;;
        drop) echo "		$value ${match[*]} counter name drop-rule goto refused" ;;
        esac
    done
}

# What the upstream firewall does with these rules, drops counted under sluice's names for them.
kernel_ruleset() {
    local qube vif reason line
    echo "table inet firewall {"
    for reason in source-address downstream-source no-flow tcp-state rule policy bad-rules \
        inter-qube local-refused local-ignored; do
        echo "	counter drop-$reason { }"
    done
    cat <<-NFT
		chain guard {
		type filter hook prerouting priority raw
	NFT
    for qube in "${WORLD_QUBES[@]}"; do
        vif=$(qube_vif "$qube")
        cat <<-NFT
			iifname $vif ip saddr != $(qube_address "$qube") counter name drop-source-address drop
			iifname $vif ip6 saddr != { $(qube_address6 "$qube"), fe80::/10 } counter name drop-source-address drop
			iifname eth0 ip saddr $(qube_address "$qube") counter name drop-downstream-source drop
			iifname eth0 ip6 saddr $(qube_address6 "$qube") counter name drop-downstream-source drop
		NFT
    done
    cat <<-NFT
		}
		chain dns {
		type nat hook prerouting priority dstnat
		iifname vif* ip daddr { ${VIRTUAL_DNS[0]}, ${VIRTUAL_DNS[1]} } meta l4proto { tcp, udp } th dport 53 dnat ip to $HOST
		}
		chain translate {
		type nat hook postrouting priority srcnat
		oifname eth0 masquerade
		}
		chain local-refused {
		meta nfproto ipv4 reject with icmp host-prohibited
		reject with icmpx admin-prohibited
		}
		chain refused {
		reject with icmpx admin-prohibited
		}
		chain accepted {
		oifname vif* counter name drop-inter-qube drop
		accept
		}
	NFT
    for qube in "${WORLD_QUBES[@]}"; do
        echo "	chain qube-$qube {"
        if kernel_rules_bad "$WORLD/$qube.rules"; then
            echo "		counter name drop-bad-rules goto refused"
        else
            while read -r line; do
                [[ $line != action=* ]] || kernel_rule "$line"
            done <"$WORLD/$qube.rules"
            grep -q '^policy=accept' "$WORLD/$qube.rules" && echo "		goto accepted" ||
                echo "		counter name drop-policy goto refused"
        fi
        echo "	}"
    done
    cat <<-NFT
		chain forward {
		type filter hook forward priority filter
		policy drop
		ct state established,related accept
		ct state invalid counter name drop-tcp-state drop
		iifname eth0 counter name drop-no-flow drop
	NFT
    for qube in "${WORLD_QUBES[@]}"; do
        echo "		iifname $(qube_vif "$qube") goto qube-$qube"
    done
    cat <<-NFT
		}
		chain input {
		type filter hook input priority filter
		policy drop
		ct state established,related accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
		iifname vif* icmp type echo-request accept
		iifname vif* icmpv6 type echo-request accept
		iifname vif* udp dport 68 counter name drop-local-ignored drop
		iifname vif* counter name drop-local-refused jump local-refused
		counter name drop-no-flow drop
		}
		}
	NFT
}

# The kernel has no rules file to be wrong; the one error the world uses is enough here.
kernel_rules_bad() {
    ! grep -q '^policy=' "$1" || grep -qE 'dstports=([0-9]+-)?[0-9]{6}|dstports=80443' "$1"
}
