#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The kernel stays deaf on sluice's interfaces: what somebody changes while sluiced runs is put right
# and told, what stands when it ended stays, whatever the kernel was told to forward, and only
# `sluiced --release` gives interfaces back, with the settings that they had.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

setting() { in_firewall cat "/proc/sys/net/$1"; }

is_deaf() {
    local chain
    chain=$(in_firewall nft list chain netdev sluice "port-$1") || return 1
    [[ $chain == *'policy drop'* && $(wc -l <<<"$chain") == 5 ]] || return 1
    [[ $(setting "ipv4/conf/$1/forwarding") == 0 && $(setting "ipv4/conf/$1/arp_ignore") == 8 ]] || return 1
    [[ $(setting "ipv4/conf/$1/rp_filter") == 1 ]] || return 1
    [[ $(setting "ipv6/conf/$1/disable_ipv6") == 1 ]] || return 1
    [[ -z $(in_firewall ip -o address show dev "$1") ]]
}

all_deaf() { is_deaf eth0 && is_deaf vif1.0; }

# changed WHAT SECONDS COMMAND...: it is put right in time, and told on the socket and in the log
changed() {
    local what=$1 seconds=$2 before
    shift 2
    before=$(wc -l <"$WORLD/events")
    in_firewall "$@" || fail "the test cannot do: $*"
    wait_for "$seconds" "after $*: the kernel deaf again" all_deaf
    wait_for 2 "an event about $what" event_told "$before" "$what"
    grep -qE "^sluiced: somebody let the kernel hear .*\\($what\\): it is deaf again; event=deaf " \
        "$WORLD/sluiced.log" || fail "no line in the log about $what"
    ok "put right: $what"
}

event_told() { (($(tail -n "+$(($1 + 1))" "$WORLD/events" | grep -cE "$2"))); }

watch_told() {
    in_background "$WORLD/events" "$BUILD/app/sluicectl" --socket "$WORLD/control.sock" events deaf
    sleep 0.5
}

# What the kernel sends or forwards out of the uplink is seen by the machine beyond.
uplink_capture() {
    rm -f "$WORLD/seen"
    # not by in_uplink: the pid must be that of tcpdump
    ip netns exec "$WORLD_NAME-up" tcpdump -n -p -i eth0 -w "$WORLD/seen" -U --immediate-mode \
        </dev/null 2>"$WORLD/tcpdump.log" &
    CAPTURE_PID=$!
    WORLD_PIDS+=("$CAPTURE_PID")
    wait_for 5 "tcpdump" grep -q listening "$WORLD/tcpdump.log"
}

# uplink_silent WHEN: nothing came but what the machine beyond says itself
uplink_silent() {
    local ended=$EPOCHREALTIME
    local own
    own=$(in_uplink cat /sys/class/net/eth0/address)
    in_qube work ping -q -c 5 -i 0.05 -W 1 "$HOST" >/dev/null && fail "$1: ping was answered"
    in_qube work ping -6 -q -c 5 -i 0.05 -W 1 "$HOST6" >/dev/null && fail "$1: ping was answered"
    sleep 0.2
    kill -TERM "$CAPTURE_PID"
    wait "$CAPTURE_PID" || true
    # what came before was let through: also pings that had waited in the qube for a gateway
    tcpdump -n -e -tt -r "$WORLD/seen" "not ether src $own" 2>/dev/null |
        awk -v ended="$ended" '$1 > ended' >"$WORLD/leaked"
    [[ ! -s $WORLD/leaked ]] || fail "$1: leaked: $(head -n 3 "$WORLD/leaked")"
    ok "$1: $(tcpdump -r "$WORLD/seen" 2>/dev/null | wc -l) frames on the uplink, 0 of them forwarded"
}

forwarded() { [[ -n $(tcpdump -n -r "$WORLD/seen" 'icmp[0] == 8' 2>/dev/null) ]]; }

# The kernel is told to forward, and knows the way.
kernel_temptation() {
    in_firewall sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
        net.ipv4.conf.all.rp_filter=0
    in_firewall ip route replace "$(qube_address work)" dev vif1.0
    in_firewall ip route replace "$HOST" dev eth0
    in_firewall ip neighbour replace "$HOST" dev eth0 \
        lladdr "$(in_uplink cat /sys/class/net/eth0/address)" nud permanent
}

# overheard WHEN: what is sent to an address that the kernel has on another interface, as it has the
# uplink's where there is a host port. No chain keeps it from hearing that: somebody has flushed the
# ruleset, and nobody is there to put it right.
overheard() {
    local address=192.168.50.77 from loose
    in_firewall ip link add own0 type veth peer name own1 2>/dev/null || true
    in_firewall ip link set own0 up
    in_firewall ip address replace "$address/24" dev own0
    in_firewall ip route replace default via 192.168.50.78 dev own0
    # who gives the kernel a way there has it believe what comes from there
    in_firewall ip route flush dev eth0
    in_firewall ip route flush dev vif1.0
    in_firewall nft flush ruleset
    in_background "$WORLD/heard" ip netns exec "$WORLD_NAME-fw" nc -lku 7000
    for from in up work; do
        ip netns exec "$WORLD_NAME-$from" ip neighbour replace "$address" dev eth0 nud permanent \
            lladdr "$(in_firewall cat "/sys/class/net/$([[ $from == up ]] && echo eth0 || echo vif1.0)/address")"
        ip netns exec "$WORLD_NAME-$from" ip route replace "$address" dev eth0
        # strict as it is, and loose, as all interfaces may be told to be
        for loose in 0 2; do
            in_firewall sysctl -qw "net.ipv4.conf.all.rp_filter=$loose"
            ip netns exec "$WORLD_NAME-$from" bash -c \
                "for i in 1 2 3; do echo $from >/dev/udp/$address/7000; sleep 0.1; done"
        done
    done
    # and the listener is not deaf itself
    in_firewall bash -c "echo self >/dev/udp/$address/7000"
    wait_for 2 "the listener" grep -q self "$WORLD/heard"
    [[ $(grep -cv self "$WORLD/heard") == 0 ]] || fail "$1: the kernel hears $(sort "$WORLD/heard" | uniq -c | paste -sd ,)"
    kill "${WORLD_PIDS[-1]}"
    in_firewall ip link delete own0
    ok "$1, the ruleset flushed: nothing reaches an address of the kernel"
}

release() {
    in_firewall "$BUILD/app/sluiced" --release --config "$WORLD/sluice.conf" "$@" 2>&1
}

released() {
    in_firewall nft list table netdev sluice >/dev/null 2>&1 && fail "the table stands after --release"
    [[ $(setting ipv4/conf/vif1.0/arp_ignore) == 2 ]] || fail "arp_ignore of vif1.0 is not what it was"
    [[ $(setting ipv4/conf/eth0/arp_ignore) == 0 ]] || fail "arp_ignore of eth0 is not what it was"
    [[ $(setting ipv4/conf/eth0/rp_filter) == 2 ]] || fail "rp_filter of eth0 is not what it was"
    [[ $(setting ipv4/conf/eth0/forwarding) == 1 ]] || fail "forwarding of eth0 is not what it was"
    [[ -z $(ls "$WORLD/state/deaf") ]] || fail "notes are left: $(ls "$WORLD/state/deaf")"
}

main() {
    local said
    world_require nc ping tcpdump
    world_create work
    qube_rules work <<<'policy=accept'
    in_qube work ip neighbour replace "$GATEWAY" dev eth0 lladdr "$VIF_MAC" nud permanent
    # settings of before, one of them unusual
    in_firewall sysctl -qw net.ipv4.ip_forward=1
    in_firewall sysctl -qw net.ipv4.conf.vif1/0.arp_ignore=2 net.ipv4.conf.eth0.rp_filter=2 \
        net.ipv4.conf.vif1/0.rp_filter=0

    said=$(release) || fail "--release of nothing: $said"
    [[ $said == *"no interface was taken"* ]] || fail "--release of nothing says: $said"
    sluice_start
    all_deaf || fail "not deaf after the start"
    watch_told

    changed 'address 192.0.2.7/24' 2 ip address add 192.0.2.7/24 dev eth0
    changed 'address 192.0.2.9/32' 2 ip address add 192.0.2.9 peer 192.0.2.10 dev vif1.0
    changed 'net.ipv4.conf.eth0.forwarding=1' 2 sysctl -qw net.ipv4.conf.eth0.forwarding=1
    changed 'net.ipv4.conf.vif1.0.forwarding=1' 2 \
        sh -c 'sysctl -qw net.ipv4.ip_forward=0; sysctl -qw net.ipv4.ip_forward=1'
    # of these the kernel does not tell: both wait for the slow look
    in_firewall sysctl -qw net.ipv4.conf.eth0.arp_ignore=0
    changed 'net.ipv6.conf.vif1.0.disable_ipv6=0' 8 sysctl -qw net.ipv6.conf.vif1/0.disable_ipv6=0
    event_told 0 'net.ipv4.conf.eth0.arp_ignore=0' || fail "no event about arp_ignore"
    changed 'nftables chain deleted' 2 nft flush ruleset
    changed 'nftables chain changed' 2 nft add rule netdev sluice port-eth0 accept
    changed 'nftables chain changed' 2 nft add chain netdev sluice port-eth0 '{ policy accept; }'
    changed 'nftables chain changed' 2 nft add table netdev sluice '{ flags dormant; }'
    changed 'nftables chain deleted' 2 nft delete chain netdev sluice port-vif1.0
    changed 'nftables chain (changed|deleted)' 2 sh -c 'nft delete chain netdev sluice port-eth0; nft add chain netdev sluice port-eth0'
    in_qube work ping -q -c 2 -i 0.1 -W 2 "$HOST" >/dev/null || fail "ping does not pass any more"

    said=$(release) && fail "--release takes interfaces from a sluiced that runs"
    [[ $said == *"vif1.0: a sluiced that runs has vif1.0"* ]] || fail "it says why: $said"
    all_deaf || fail "a refused --release changed something"

    kernel_temptation
    wait_for 2 "deaf" all_deaf
    uplink_capture
    sluice_stop || fail "sluiced ended with status $?"
    all_deaf || fail "not deaf after SIGTERM"
    uplink_silent "after SIGTERM"

    sluice_start
    kernel_temptation
    uplink_capture
    sluice_stop KILL 2>/dev/null && fail "sluiced survived kill -9"
    uplink_silent "after kill -9"

    sluice_start
    kernel_temptation
    uplink_capture
    sluice_stop ABRT 2>/dev/null && fail "sluiced survived SIGABRT"
    uplink_silent "after a crash"
    overheard "after a crash"
    sluice_start

    sluice_stop || fail "sluiced ended with status $?"
    said=$(release nothing0) && fail "--release of what was never taken: $said"
    said=$(release vif1.0) || fail "--release vif1.0: $said"
    is_deaf eth0 || fail "--release vif1.0 took eth0 too"
    said=$(release) || fail "--release: $said"
    [[ $said == *"eth0: given back to the kernel"* ]] || fail "--release says: $said"
    released
    ok "--release: chains gone, settings as they were"
    # the captures were not blind
    kernel_temptation
    uplink_capture
    in_qube work ping -q -c 1 -W 1 "$HOST" >/dev/null || true
    wait_for 3 "a kernel that forwards (without one this test shows nothing)" forwarded
    ok "and then the kernel forwards"
}

main
