#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Vifs come and go with a real xenstored: what is attached may send, what is detached may not, whatever
# the order in which nodes, interfaces and daemons come, go and fail. Qube `steady` sends datagrams
# all the while, and loses none.
#
#   CYCLES=1000    attach and detach that often, with memory and `steady` watched
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=xen.sh
source "$(dirname "$0")/xen.sh"

CYCLES=${CYCLES:-12}
RATE=200 # datagrams of `steady` per second
STREAM_PORT=7001
STREAM_PID=
FLIP_PIDS=()
MESSAGES=0

# --- who gets through ---------------------------------------------------------------------------

# say QUBE [-6]: send a datagram to the uplink host; its text goes to SAID.
say() {
    local host=$HOST
    [[ ${2:-} != -6 ]] || host=$HOST6
    SAID=message-$1-$((++MESSAGES)).
    in_qube "$1" bash -c "echo $SAID >/dev/udp/$host/7000" 2>/dev/null || true
}

heard() { grep -q "$1" "$WORLD/www/datagrams"; }

gets_through() {
    say "$@"
    wait_for 5 "a datagram of ${*}" heard "$SAID"
}

stays_out() {
    local said=()
    for _ in 1 2 3; do
        say "$@"
        said+=("$SAID")
    done
    sleep 0.2
    for SAID in "${said[@]}"; do
        ! heard "$SAID" || fail "a datagram of $* came through"
    done
}

downloads() { in_qube "$1" curl -sS -m 5 -o /dev/null "http://$HOST/"; }

no_flows_of() { [[ $(flows_of "$1") == 0 ]]; }
flows_of() { "$BUILD/app/sluicectl" --socket "$WORLD/control.sock" flows "qube=$1" 2>/dev/null | wc -l; }

log_has() { grep -q "$1" "$WORLD/sluiced.log"; }

# stream_start, stream_end WHAT: what `steady` lost meanwhile.
stream_start() {
    ip netns exec "$WORLD_NAME-steady" "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_stream.py" \
        "$HOST" "$STREAM_PORT" "$RATE" 3600 >"$WORLD/stream" 2>&1 </dev/null &
    STREAM_PID=$!
    WORLD_PIDS+=("$STREAM_PID")
}

stream_end() {
    kill "$STREAM_PID"
    wait "$STREAM_PID" || fail "$(cat "$WORLD/stream")"
    grep -q ', lost there 0, lost back 0, ' "$WORLD/stream" || fail "$1: $(cat "$WORLD/stream")"
    ok "$1: a bystander $(cut -d , -f 1-3 "$WORLD/stream")"
}

# --- the scenes ---------------------------------------------------------------------------------

# sluiced is there first; xenstored, vifs and all the rest come later.
begins() {
    wait_for 5 "a word about xenstored" log_has 'there is no xenstored'
    xen_start
    wait_for 10 "sluiced finds xenstored" log_has 'xenstore: connected'
    vif_attach steady 1
    gets_through steady
    ok "sluiced waits for xenstored"
}

attach_and_detach() {
    vif_attach work 5
    vif_served work || fail "no port for vif5.0"
    [[ $(in_firewall cat /proc/sys/net/ipv6/conf/vif5.0/disable_ipv6) == 1 ]] || fail "the kernel hears vif5.0"
    in_firewall nft list chain netdev sluice port-vif5.0 >/dev/null || fail "the kernel hears vif5.0"
    downloads work
    gets_through work
    gets_through work -6
    (($(in_firewall cat /sys/class/net/vif5.0/flags) & 1)) || fail "the link is down"
    [[ -z $(xs_read "$(vif_path work)/hotplug-error") ]] || fail "there is a hotplug-error"
    # with its node alone gone, and its interface still there
    vif_remove work
    vif_unserved work
    stays_out work
    no_flows_of work || fail "flows of work are left"
    [[ -z $(xenstore-ls -s "$(vif_path work)" 2>/dev/null) ]] || fail "a stub of the node was made"
    vif_interface_remove work
    # as a toolstack does it
    vif_attach work 6
    downloads work
    # and with an interface that is still there when the port is closed, as netback has it
    xs_write "$(vif_path work)/online" 0 "$(vif_path work)/state" 5
    vif_unserved work
    wait_for 5 "the port to be closed" log_has 'port-removed port=vif6.0'
    vif_detach work
    wait_for 10 "nothing kept of vif6.0" not test -e "$WORLD/state/deaf/vif6.0"
    # with its interface alone gone
    vif_attach work 7
    vif_interface_remove work
    vif_unserved work
    vif_interface work
    wait_for 10 "the interface is back" vif_served work
    gets_through work
    # a backend that closes, and comes back
    xs_write "$(vif_path work)/state" 5
    vif_unserved work
    stays_out work
    xs_write "$(vif_path work)/state" 2
    wait_for 10 "the backend is back" vif_served work
    gets_through work
    vif_destroy work
    vif_unserved work
    ok "attached: traffic; detached: none"
}

five_come_and_go() {
    local qube domid=20
    for qube in work personal vault media games; do
        vif_create "$qube" $((++domid))
    done
    for qube in work personal vault media games; do
        vif_connect "$qube"
        gets_through "$qube"
    done
    vif_detach personal
    vif_destroy media
    for qube in work vault games; do
        gets_through "$qube"
    done
    stays_out personal
    vif_attach personal $((++domid))
    gets_through personal
    for qube in work personal vault games; do
        vif_detach "$qube"
    done
    for qube in work personal vault games; do
        vif_unserved "$qube"
    done
    ok "five qubes come and go"
}

# An HVM has two NICs with one address: that of its own domain, and that of its device model's. Beside
# it its emulated twin, which is nobody's business here.
two_with_one_address() {
    vif_attach work 30 type=vif_ioemu
    in_firewall ip link add vif30.0-emu type veth peer name emulated
    downloads work
    vif_attach twin 31 twin=work
    # what goes to the address goes to the newer one
    downloads twin
    gets_through twin
    vif_detach twin
    vif_unserved twin
    wait_for 5 "the older one has the address again" downloads work
    ! in_firewall nft list chain netdev sluice port-vif30.0-emu 2>/dev/null || fail "vif30.0-emu was taken"
    [[ $(in_firewall cat /sys/class/net/vif30.0-emu/flags) == 0x1002 ]] || fail "vif30.0-emu was touched"
    in_firewall ip link delete vif30.0-emu
    # a second NIC with an address of its own is a qube of its own
    vif_attach personal 30 devid=1
    gets_through personal
    gets_through work
    vif_destroy personal
    vif_destroy work
    vif_unserved work
    ok "two NICs with one address, and the emulated twin of one"
}

domid_again() {
    vif_attach work 40
    gets_through work
    (($(flows_of work) > 0)) || fail "work has no flows"
    # another qube, in one go
    vif_interface_remove work
    vif_remove work
    vif_attach personal 40
    gets_through personal
    no_flows_of work || fail "flows of work outlive it"
    [[ $(in_firewall ls /sys/class/net | grep -c '^vif40') == 1 ]] || fail "interfaces are left"
    # the same values in a new node, and the interface stays
    vif_remove personal
    vif_nodes personal
    xs_write "$(vif_path personal)/state" 2
    vif_connect personal
    gets_through personal
    # and so fast that nobody saw the old one go: only what sluiced has written is missing
    (($(flows_of personal) > 0)) || fail "personal has no flows"
    xs_write "$(vif_path personal)/state" 2
    xs_rm "$(vif_path personal)/hotplug-status"
    wait_for 10 "a new node is another qube" no_flows_of personal
    vif_connect personal
    gets_through personal
    # another address in the same node
    xs_write "$(vif_path personal)/ip" "$(qube_address vault)"
    wait_for 10 "another address" no_flows_of personal
    vif_wait personal connected
    stays_out personal
    vif_destroy personal
    vif_unserved personal
    ok "a domid again is another qube"
}

error_says() { [[ $(xs_read "$(vif_path "$1")/hotplug-error") =~ $2 ]]; }

# refused QUBE PATTERN: with this reason, and nothing passes.
refused() {
    vif_wait "$1" error
    error_says "$1" "$2" ||
        fail "hotplug-error: $(xs_read "$(vif_path "$1")/hotplug-error")"
    ! vif_served "$1" || fail "$1 is served all the same"
}

errors() {
    vif_create work 50 mac=00:16:3e:5e:6c
    refused work '^mac: .* is not a MAC'
    stays_out work
    xs_write "$(vif_path work)/mac" "$QUBE_MAC"
    vif_connect work
    gets_through work
    [[ -z $(xs_read "$(vif_path work)/hotplug-error") ]] || fail "hotplug-error is left"
    vif_create personal 51 ip=10.137.0.256
    refused personal '^ip: .* is not an IPv4 address'
    xs_write "$(vif_path personal)/ip" "$(qube_address work) $(qube_address6 personal)"
    wait_for 5 "addresses of two qubes" error_says personal 'belong to qubes'
    gets_through work
    xs_write "$(vif_path personal)/ip" "$(qube_address personal)"
    vif_connect personal
    gets_through personal
    stays_out personal -6
    # an interface that the kernel uses itself is not taken
    vif_create vault 52 interface=no
    in_firewall ip link add taken type veth peer name taker
    in_firewall ip address add 192.0.2.1/24 dev taken
    in_firewall ip link set taken name vif52.0
    refused vault 'vif52.0'
    in_firewall ip link delete vif52.0
    vif_interface vault
    vif_connect vault
    gets_through vault
    vif_detach vault
    vif_detach personal
    vif_detach work
    vif_unserved work
    ok "errors are written to xenstore, and mended"
}

# xenstored hangs while there is something to tell it, and goes on.
hang() {
    vif_create work 60 interface=no
    vif_create personal 61 interface=no online=0
    sleep 0.5
    xen_signal STOP
    # after its time the missing interface is an error that nobody takes
    wait_for 10 "the interface is missed" log_has 'vif60.0 refused: there is no interface'
    gets_through steady
    downloads steady
    wait_for 10 "xenstored is missed" log_has 'xenstored has not answered'
    counter policies >/dev/null || fail "the control socket does not answer"
    xen_signal CONT
    refused work 'there is no interface vif60.0'
    wait_for 5 "xenstored is back" log_has 'xenstored answers again'
    [[ $(vif_status personal) == none ]] || fail "a vif that is not wanted has a status"
    vif_interface work
    vif_connect work
    gets_through work
    ok "xenstored hangs, and nobody waits for it"
}

# flip_start QUBE PER_SECOND STATE...: its backend takes these states in turn, until flip_end.
flip_start() {
    rm -f "$WORLD/flip"
    "$PYTHON" "$WORLD_ROOT/tests/smoke/xenstore_flip.py" "$XENSTORED_RUNDIR/socket" \
        "$(vif_path "$1")/state" "${@:2}" >"$WORLD/flip" 2>&1 </dev/null &
    FLIP_PIDS+=("$!")
    WORLD_PIDS+=("$!")
    wait_for 5 "states that change" grep -q ready "$WORLD/flip"
}

flip_end() {
    kill "${FLIP_PIDS[@]}" || fail "no states change: $(cat "$WORLD/flip")"
    wait "${FLIP_PIDS[@]}" || true
    FLIP_PIDS=()
}

times_attached() { grep -c "vif$1 attached" "$WORLD/sluiced.log" || true; }

# A guest has netback write one state after the other, without end. That is its own business: what
# becomes of other vifs does not wait for it, and it is not brought up each time.
states_without_end() {
    local times
    vif_attach work 70
    flip_start work 1000000 4 5 6 2
    flip_start work 1000000 2 4 5 6
    flip_start work 1000000 6 2 4 5
    vif_attach personal 71
    gets_through personal
    vif_detach personal
    vif_unserved personal
    flip_end
    xs_write "$(vif_path work)/state" 4
    wait_for 20 "work is served again" vif_served work
    gets_through work
    times=$(times_attached 70.0)
    flip_start work 10 6 2
    sleep 6
    flip_end
    times=$(($(times_attached 70.0) - times))
    ((times <= 8)) || fail "a vif that comes and goes was brought up $times times in 6 s"
    vif_attach personal 72
    gets_through personal
    xs_write "$(vif_path work)/state" 4
    wait_for 20 "work is served again" vif_served work
    gets_through work
    vif_destroy personal
    vif_destroy work
    vif_unserved work
    ok "a guest that changes its state without end disturbs nobody"
}

connected_twice() { (($(grep -c 'xenstore: connected, 0 vifs' "$WORLD/sluiced.log") == 2)); }

# xenstored loses all it knew; the toolstack writes it again. `work` is attached, from above.
xenstored_dies() {
    vif_attach personal 62
    vif_attach vault 63
    xen_stop KILL
    vif_interface_remove vault
    gets_through work
    vif_unserved vault
    xen_start
    wait_for 10 "sluiced finds an empty xenstored" connected_twice
    gets_through work
    vif_nodes steady hotplug-status=connected state=4
    vif_nodes work hotplug-status=connected state=4
    vif_attach media 64
    gets_through media
    gets_through work
    # personal's interface is there, and its node does not come back
    vif_unserved personal
    stays_out personal
    vif_served work || fail "work is not served any more"
    vif_served steady || fail "steady is not served any more"
    vif_interface_remove personal
    vif_destroy media
    ok "xenstored dies and returns"
}

# sluiced dies with vifs attached; nothing passes until it is back, and then all is as it was.
sluiced_dies() {
    sluice_stop "$1" || true
    stays_out work
    vif_create personal 65
    sluice_start
    wait_for 10 "work is served again" vif_served work
    gets_through work
    gets_through steady
    vif_connect personal
    gets_through personal
    vif_detach personal
    [[ $1 == KILL ]] || log_has 'snapshot: [1-9][0-9]* flows taken up' || fail "no flows were taken up"
    ok "sluiced ends by SIG$1 and returns with vifs attached"
}

# sluiced ends at once, also when xenstored does not answer. `media` is there without an interface.
ends_while_xenstored_hangs() {
    local began
    xen_signal STOP
    wait_for 10 "the interface is missed" log_has 'vif90.0 refused: there is no interface'
    sleep 0.2
    began=${EPOCHREALTIME/[.,]/}
    sluice_stop || fail "sluiced ended with $?"
    ((${EPOCHREALTIME/[.,]/} - began < 3000000)) || fail "sluiced waits for xenstored to end"
    xen_signal CONT
    ok "sluiced ends while xenstored hangs"
}

memory_kib() { awk '/^VmRSS:/ { print $2 }' "/proc/$FIREWALL_PID/status"; }
descriptors_at_most() { (($(descriptors) <= $1)); }
descriptors() { find "/proc/$FIREWALL_PID/fd" -mindepth 1 | wc -l; }

cycles() {
    local cycle before files_before began=$EPOCHREALTIME
    for ((cycle = 0; cycle < CYCLES; cycle++)); do
        vif_attach vault $((100 + cycle))
        ((cycle % 10 != 0)) || gets_through vault
        vif_destroy vault
        ((cycle != 9)) || { before=$(memory_kib) files_before=$(descriptors); }
    done
    vif_unserved vault
    ! log_has 'suppressed=[0-9]\{15\}' || fail "refusals were counted below nothing"
    wait_for 5 "descriptors as before" descriptors_at_most "$files_before"
    (($(memory_kib) - before < 1024 + CYCLES)) ||
        fail "memory grew from $before to $(memory_kib) KiB in $((CYCLES - 10)) cycles"
    ok "$CYCLES cycles of attach and detach in $(awk -v a="$began" -v b="$EPOCHREALTIME" \
        'BEGIN { printf "%.1f", b - a }') s: memory $before -> $(memory_kib) KiB, descriptors $files_before -> $(descriptors)"
}

xen_require curl
# shellcheck disable=SC2119  # no qubes yet
world_create
mkdir "$WORLD/www"
head -c 20000 /dev/zero >"$WORLD/www/index"
in_background "$WORLD/www.log" in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/uplink_host.py" \
    "$WORLD/www" 80 -- 7000
in_background "$WORLD/stream.log" in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_stream.py" \
    serve "$STREAM_PORT"
wait_for 10 "the uplink host" test -e "$WORLD/www/ready"
export XENSTORED_RUNDIR=$WORLD/xenstored
xen_configure steady work personal vault media games
for qube in "${WORLD_QUBES[@]}"; do
    qube_rules "$qube" <<<'policy=accept'
done
firewall_start

begins
stream_start
attach_and_detach
five_come_and_go
two_with_one_address
domid_again
errors
states_without_end
hang
xenstored_dies
cycles
stream_end "all the while"
sluiced_dies KILL
vif_create media 90 interface=no
sluiced_dies TERM
ends_while_xenstored_hangs
