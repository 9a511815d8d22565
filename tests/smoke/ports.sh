#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Ports come and go while packets flow. A qube called guest comes and goes with its interface, again
# and again, and with it a DPDK device; a bystander must not notice: no datagram is lost, a transfer
# arrives whole. What is gone leaves nothing behind: no flow, no descriptor, no memory, no port that
# cannot be had again.
#
#   CYCLES=1000    how often the guest comes and goes, 25 times without it
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

CYCLES=${CYCLES:-25}
WARM=8 # cycles before memory is looked at for the first time
DATAGRAMS_PER_SECOND=200
STREAM_PORT=7000 ECHO_PORT=7001
TRANSFER_KIB_PER_SECOND=512
GUEST=10.137.0.77 GUEST_VIF=vif9.0
# a port's rings are 6 MiB: one that is kept would be seen
GROWTH_KIB=4096
# with sanitizers, what is freed is kept for a while: quarantine_size_mb in tests/run.sh
[[ ${SANITIZE:-} != 1 ]] || GROWTH_KIB=$((GROWTH_KIB + (16 << 10)))

world_up() {
    world_require curl
    world_create work
    namespace_create guest
    mkdir "$WORLD/www"
    head -c 4M /dev/urandom >"$WORLD/www/download"
    in_background "$WORLD/uplink_host.log" in_uplink "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/uplink_host.py" "$WORLD/www" 80 -- 9
    in_background "$WORLD/stream.log" in_uplink "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/udp_stream.py" serve "$STREAM_PORT"
    in_background /dev/null in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/echo_server.py" \
        "$WORLD/echo.log" "udp:$ECHO_PORT"
    qube_rules work <<<$'policy=accept'
    qube_rules guest <<<$'policy=accept'
    wait_for 10 "the servers" grep -q ready "$WORLD/echo.log"
    wait_for 10 "the web server" test -e "$WORLD/www/ready"
    sluice_configure
    sluice_set sluice telemetry yes
    sluice_set sluice ports 8
    cp "$WORLD/sluice.conf" "$WORLD/without"
    sluice_start
    in_qube work ping -q -c 3 -i 0.2 -W 2 "$HOST" >/dev/null || fail "no way to the uplink host"
}

# --- the guest ----------------------------------------------------------------------------------

# guest_conf DEVICE: sluice.conf with the guest in it, before all others.
guest_conf() {
    {
        printf '%s\n' "[port guest]" "device = $1" "role = qube" "qube = guest" "[qube guest]" \
            "address = $GUEST" "mac = $QUBE_MAC" "rules = guest.rules"
        cat "$WORLD/without"
    } >"$WORLD/sluice.conf"
}

# The guest's side of an interface that is in its namespace already.
guest_address() {
    local ns=$WORLD_NAME-guest
    ip -n "$ns" link set "$1" address "$QUBE_MAC" up
    ip -n "$ns" address add "$GUEST/32" dev "$1"
    ip -n "$ns" route add "$GATEWAY" dev "$1" scope link
    ip -n "$ns" route add default via "$GATEWAY" dev "$1"
}

guest_plug() {
    ip -n "$WORLD_NAME-fw" link add "$GUEST_VIF" address "$VIF_MAC" type veth \
        peer name eth0 netns "$WORLD_NAME-guest"
    guest_address eth0
}

guest_unplug() { ip -n "$WORLD_NAME-fw" link delete "$GUEST_VIF"; }

guest_ask() { in_qube guest "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_ask.py" "$HOST" "$ECHO_PORT"; }

removed_count() { grep -c 'event=port-removed' "$WORLD/sluiced.log" || true; }

taken_up() { sluice_reload || fail "$1: refused: $RELOAD_SAID"; }

# --- what sluiced has ---------------------------------------------------------------------------

rss_kib() { awk '$1 == "VmRSS:" { print $2 }' "/proc/$FIREWALL_PID/status"; }
descriptors() { find "/proc/$FIREWALL_PID/fd" -mindepth 1 | wc -l; }
heap_bytes() {
    "$PYTHON" - "$WORLD/dpdk/sluice/dpdk_telemetry.v2" <<-'PYTHON'
		import json, socket, sys
		client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
		client.connect(sys.argv[1])
		client.recv(4096)
		client.send(b"/eal/heap_info,0")
		print(json.loads(client.recv(16384))["/eal/heap_info"]["Alloc_size"])
	PYTHON
}
flows_of_guest() { "$BUILD/app/sluicectl" --socket "$WORLD/control.sock" --json flows qube=guest | grep -c '"proto"' || true; }

stream_start() {
    in_qube work "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_stream.py" "$HOST" "$STREAM_PORT" \
        "$DATAGRAMS_PER_SECOND" "$1" >"$WORLD/stream" 2>&1 &
    STREAM_PID=$!
    WORLD_PIDS+=("$STREAM_PID")
}

# The bystander has noticed nothing.
stream_check() {
    wait "$STREAM_PID" || fail "the stream ended with status $?: $(cat "$WORLD/stream")"
    [[ $(awk '$1 == "sent" && $2 > 0 { print $5 + $8; found = 1 } END { if (!found) print "unknown" }' \
        "$WORLD/stream") == 0 ]] ||
        fail "datagrams of the bystander were lost: $(cat "$WORLD/stream"); drops: $(counter drops)"
}

# --- checks -------------------------------------------------------------------------------------

# one_cycle NUMBER: every second time the interface vanishes under sluiced.
one_cycle() {
    local removed
    removed=$(removed_count)
    guest_plug
    guest_conf "kernel:$GUEST_VIF"
    taken_up "the guest comes"
    [[ $(guest_ask) == "$UPLINK "* ]] || fail "cycle $1: the guest has no way out: $(counter drops)"
    (($1 % 2)) || guest_unplug
    cp "$WORLD/without" "$WORLD/sluice.conf"
    taken_up "the guest goes"
    wait_for 10 "the port to be closed" eval "((\$(removed_count) > $removed))"
    ((!($1 % 2))) || guest_unplug
}

check_cycles() {
    local cycle rss heap fds seconds
    local stop=$WORLD/stop
    in_qube work curl -sS --noproxy '*' --limit-rate "${TRANSFER_KIB_PER_SECOND}K" --max-time 600 \
        -o "$WORLD/downloaded" "http://$HOST/download" >"$WORLD/curl.log" 2>&1 &
    WORLD_PIDS+=($!)
    rm -f "$stop"
    while [[ ! -e $stop ]]; do
        stream_start 5
        stream_check
        cat "$WORLD/stream" >>"$WORLD/streams"
    done &
    local streams=$!
    WORLD_PIDS+=("$streams")
    for ((cycle = 1; cycle <= WARM; cycle++)); do one_cycle "$cycle"; done
    rss=$(rss_kib) heap=$(heap_bytes) fds=$(descriptors) seconds=$SECONDS
    for (( ; cycle <= CYCLES; cycle++)); do one_cycle "$cycle"; done
    seconds=$((SECONDS - seconds))
    touch "$stop"
    wait "$streams" || fail "the bystander noticed: $(cat "$WORLD/stream")"
    wait_for 60 "the whole transfer: $(cat "$WORLD/curl.log")" \
        cmp -s "$WORLD/www/download" "$WORLD/downloaded"
    echo "$CYCLES cycles, all but $WARM of them in $seconds s: VmRSS $rss -> $(rss_kib) KiB," \
        "DPDK's heap $heap -> $(heap_bytes) bytes, descriptors $fds -> $(descriptors)"
    echo "bystander: $(awk '{ sent += $2; lost += $5 + $8 } END { print sent, "datagrams, lost", lost }' \
        "$WORLD/streams"), 4 MiB arrived whole"
    (($(rss_kib) < rss + GROWTH_KIB)) || fail "sluiced grows"
    (($(heap_bytes) <= heap)) || fail "DPDK's heap grows"
    (($(descriptors) <= fds)) || fail "descriptors are left"
    (($(flows_of_guest) == 0)) || fail "flows of the guest are left"
    ok "a qube came and went $CYCLES times, and the bystander noticed nothing"
}

# A DPDK device that is plugged at run time, and whose other end is the guest's.
check_device() {
    local device=$1 round removed
    stream_start 6
    for round in 1 2 3; do
        removed=$(removed_count)
        guest_conf "$device"
        taken_up "a DPDK device comes, round $round"
        if [[ $device == *net_tap* ]]; then
            ip -n "$WORLD_NAME-fw" link set dtap9 netns "$WORLD_NAME-guest"
            guest_address dtap9
            [[ $(guest_ask) == "$UPLINK "* ]] || fail "no way out of $device: $(counter drops)"
        fi
        if ((round == 1)); then
            sed -i 's/^\[port guest\]/[port other]/' "$WORLD/sluice.conf"
            ! sluice_reload || fail "a device that is in use was taken up: $RELOAD_SAID"
            grep -q 'port guest still has it' <<<"$RELOAD_SAID" || fail "$RELOAD_SAID"
        fi
        cp "$WORLD/without" "$WORLD/sluice.conf"
        taken_up "it goes"
        wait_for 10 "the device to be closed" eval "((\$(removed_count) > $removed))"
    done
    stream_check
    ok "$device came and went $((round - 0)) times"
}

# What cannot be opened changes nothing, and nothing of it is left.
check_refused() {
    local fds
    fds=$(descriptors)
    guest_conf kernel:nowhere0
    ! sluice_reload || fail "an interface that is not there was taken up: $RELOAD_SAID"
    grep -q 'port guest: device kernel:nowhere0: no such interface' <<<"$RELOAD_SAID" ||
        fail "no word of the interface: $RELOAD_SAID"
    guest_plug
    guest_conf "kernel:$GUEST_VIF"
    for number in 1 2 3 4 5 6 7; do
        printf '%s\n' "[port p$number]" "device = dpdk:net_null$number" "role = qube" "qube = q$number" \
            "[qube q$number]" "address = 10.137.1.$number"
    done >>"$WORLD/sluice.conf"
    ! sluice_reload || fail "more ports than there may be were taken up: $RELOAD_SAID"
    guest_unplug
    [[ $(descriptors) == "$fds" ]] || fail "descriptors are left of what was refused"
    cp "$WORLD/without" "$WORLD/sluice.conf"
    taken_up "as before"
    ok "what cannot be opened changes nothing"
}

main() {
    world_up
    check_refused
    check_cycles
    check_device dpdk:net_null9
    [[ ! -c /dev/net/tun ]] || check_device dpdk:net_tap9,iface=dtap9
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
}

main
