#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A day of a network qube: QubesDB with dom0 behind it, a real xenstored, namespaces as qubes. Rules
# come before their vif, qubes come and go, rules change under traffic, a name moves, the resolver and
# the uplink's address change, both daemons are restarted, sluiced is killed and returns.
#
# All the while every qube tries everything (day_probe.py), everything on the uplink is captured, and a
# diary says what was allowed when. At the end each captured packet is judged by it (day_judge.py):
# what passed at any moment must have been allowed at that moment.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=xen.sh
source "$(dirname "$0")/xen.sh"

FAKE=$WORLD_ROOT/tests/smoke/fake_qubesdb.py
OTHER=192.168.50.3 MOVED=192.168.50.4 SECOND=192.168.50.5 # more addresses of the uplink host
NEXT=192.168.50.9                                         # the uplink's after a change
OWN=$UPLINK                                               # the uplink's now
WEB=80 ADMIN=81 GAME=5000                                 # ports of the servers beyond
ROUTER6=fe80::2

# --- dom0 ---------------------------------------------------------------------------------------

dom0() { "$PYTHON" "$FAKE" "$WORLD/dom0.sock" "$@"; }

qubesdb_start() {
    in_background "$WORLD/qubesdb.log" "$PYTHON" "$FAKE" serve "$WORLD/qubesdb.sock" "$WORLD/dom0.sock"
    wait_for 10 "the daemon of QubesDB" grep -q ready "$WORLD/qubesdb.log"
}

# --- the diary ----------------------------------------------------------------------------------

note() { echo "{\"time\": $EPOCHREALTIME, $1}" >>"$WORLD/diary"; }

number() { qube_index "$1"; }

# allowed_json ["PROTOCOL ADDRESS PORT"...]
allowed_json() {
    local list=() one protocol address port
    for one; do
        read -r protocol address port <<<"$one"
        list+=("[\"$protocol\", \"$address\", $port]")
    done
    local IFS=,
    echo "[${list[*]}]"
}

# rules QUBE POLICY [RULE...] -- [ALLOWED...]: dom0 commits these, and that is what they allow
rules() {
    local qube=$1 policy=$2 list=() allowed
    shift 2
    while (($#)) && [[ $1 != -- ]]; do
        list+=("$1")
        shift
    done
    shift
    allowed=$(allowed_json "$@")
    note "\"qube\": $(number "$qube"), \"rules\": $allowed"
    if ((${SLUICED_UP:-0})); then
        dom0 commit 10 "$(qube_address "$qube")" "$policy" "${list[@]}" >/dev/null ||
            fail "rules of $qube were not handled: $(tail -n 3 "$WORLD/sluiced.log")"
        # what was received by the rules of before may still be on its way
        sleep 0.1
    else
        dom0 rules "$(qube_address "$qube")" "$policy" "${list[@]}"
    fi
    note "\"settled\": $(number "$qube")"
}

# --- qubes --------------------------------------------------------------------------------------

# arrives QUBE DOMID: dom0 has written its rules; now the vif comes, and somebody tries everything
arrives() {
    local qube=$1
    vif_attach "$qube" "$2"
    in_qube "$qube" sysctl -qw net.ipv4.ip_local_port_range="$((20000 + 1000 * $(number "$qube"))) $((20999 + 1000 * $(number "$qube")))"
    in_background /dev/null in_qube "$qube" "$PYTHON" "$WORLD_ROOT/tests/smoke/day_probe.py" \
        "$(number "$qube")" "$WORLD/targets"
}

# leaves QUBE: its domain ends
leaves() {
    note "\"gone\": $(number "$1")"
    vif_detach "$1"
    wait_for 10 "the port of $1 to go" not vif_served "$1"
    namespaces_remove_one "$1"
    note "\"settled\": $(number "$1")"
}

not() { ! "$@"; }

namespaces_remove_one() {
    local pids
    pids=$(ip netns pids "$WORLD_NAME-$1" 2>/dev/null || true)
    # shellcheck disable=SC2086  # a list
    [[ -z $pids ]] || kill -KILL $pids 2>/dev/null || true
    ip netns delete "$WORLD_NAME-$1"
}

# opens QUBE ADDRESS PORT: whether a TCP connection can be opened
opens() {
    in_qube "$1" timeout 2 "$PYTHON" -c 'import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1.5)' "$2" "$3" 2>/dev/null
}

# may QUBE ADDRESS PORT...; may_not QUBE ADDRESS PORT...
may() {
    local port
    for port in "${@:3}"; do
        wait_for 5 "$1 to reach $2:$port" opens "$1" "$2" "$port"
    done
}

may_not() {
    local port
    for port in "${@:3}"; do
        not opens "$1" "$2" "$port" || fail "qube $1 reaches $2:$port"
    done
}

# asks QUBE NAME ADDRESS: what a name is, by the virtual resolver
asks() { [[ $(in_qube "$1" dig +short +time=1 +tries=1 "@${VIRTUAL_DNS[0]}" "$2") == "$3" ]]; }

# --- the network --------------------------------------------------------------------------------

# resolver NAME=ADDRESS...: (again) the real resolver, and what it knows
resolver() {
    local one arguments=()
    for one; do
        arguments+=("--host-record=${one%%=*},${one#*=},1")
    done
    if [[ -e $WORLD/dnsmasq.pid ]]; then
        kill "$(<"$WORLD/dnsmasq.pid")"
        wait_for 5 "dnsmasq to end" not in_uplink dig +time=1 +tries=1 "@$HOST" "${1%%=*}"
    fi
    in_background "$WORLD/dnsmasq.log" in_uplink dnsmasq --keep-in-foreground --conf-file=/dev/null \
        --no-resolv --no-hosts --bind-interfaces --listen-address="$HOST,$SECOND" --local-ttl=1 \
        --pid-file="$WORLD/dnsmasq.pid" --user=root "${arguments[@]}"
    wait_for 10 "dnsmasq" in_uplink dig +short +time=1 +tries=1 "@$HOST" "${1%%=*}"
}

network_up() {
    local address
    for address in "$OTHER" "$MOVED" "$SECOND"; do
        in_uplink ip address add "$address/24" dev eth0
    done
    in_uplink ip address add "$ROUTER6/64" dev eth0
    in_background /dev/null in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/echo_server.py" \
        "$WORLD/echo.log" "tcp:$WEB" "tcp:$ADMIN" "udp:$GAME"
    resolver "shop.test=$OTHER"
    wait_for 10 "the servers" grep -q ready "$WORLD/echo.log"
    in_background "$WORLD/tcpdump.log" in_uplink tcpdump -i eth0 -n -U -s 128 -B 8192 \
        -w "$WORLD/day.pcap" 'ip or ip6'
    wait_for 10 "tcpdump" grep -q listening "$WORLD/tcpdump.log"
    for address in "$HOST" "$OTHER" "$MOVED"; do
        printf '%s\n' "tcp $address $WEB" "tcp $address $ADMIN" "udp $address $GAME"
    done >"$WORLD/targets"
    printf '%s\n' "tcp $HOST6 $WEB" "udp $HOST 53" "udp $SECOND 53" >>"$WORLD/targets"
}

settings_write() {
    dom0 write /qubes-ip "$OWN"
    dom0 write /qubes-netmask 255.255.255.0
    dom0 write /qubes-gateway "$HOST"
    dom0 write /qubes-primary-dns "$HOST"
    dom0 write /qubes-secondary-dns "$HOST"
    dom0 write /qubes-netvm-gateway "$GATEWAY"
    dom0 write /qubes-netvm-primary-dns "${VIRTUAL_DNS[0]}"
    dom0 write /qubes-netvm-secondary-dns "${VIRTUAL_DNS[1]}"
}

uplink_link_local() {
    in_uplink ip -6 -o address show dev eth0 scope link | awk '{ print $4 }' | grep -v "^$ROUTER6/" | cut -d/ -f1
}

sluice_up() {
    note '"down": false'
    sluice_start
    SLUICED_UP=1
}

sluice_down() {
    SLUICED_UP=0
    sluice_stop "$@" 2>/dev/null || [[ ${1:-TERM} == KILL ]] || fail "sluiced ended with status $?"
    # what it had handed to the kernel may still be on its way
    sleep 0.1
    note '"down": true'
}

WEB4="action=accept dst4=$HOST/32 proto=tcp dstports=$WEB-$WEB"
SHOP="action=accept dsthost=shop.test proto=tcp dstports=$WEB-$WEB"
DNS="action=accept specialtarget=dns"

# --- the day ------------------------------------------------------------------------------------

morning() {
    : >"$WORLD/diary"
    note "\"address\": \"$OWN\""
    note '"down": true'
    settings_write
    dom0 write /connected-ips "$(for q in "${WORLD_QUBES[@]}"; do printf '%s ' "$(qube_address "$q")"; done)"
    rules work drop "$WEB4" "$DNS" -- "tcp $HOST $WEB" "udp $HOST 53" "tcp $HOST 53"
    sluice_up
    arrives work 3
    may work "$HOST" "$WEB"
    may_not work "$HOST" "$ADMIN"
    may_not work "$OTHER" "$WEB"
    ok "rules were there before the vif: they hold from its first packet on"
}

qubes_come_and_go() {
    local domid=4 qube
    for qube in personal games vault disp; do
        case $qube in
        personal) rules "$qube" accept -- "tcp $HOST $WEB" "tcp $HOST $ADMIN" "udp $HOST $GAME" \
            "tcp $OTHER $WEB" "tcp $OTHER $ADMIN" "udp $OTHER $GAME" "tcp $MOVED $WEB" \
            "tcp $MOVED $ADMIN" "udp $MOVED $GAME" "udp $HOST 53" "udp $SECOND 53" ;;
        games) rules "$qube" drop "action=accept dst4=$OTHER proto=udp dstports=$GAME-$GAME" -- \
            "udp $OTHER $GAME" ;;
        vault) rules "$qube" drop -- ;;
        disp) ;; # nobody has written rules for it
        esac
        arrives "$qube" $((domid++))
    done
    may personal "$OTHER" "$WEB" "$ADMIN"
    may_not vault "$HOST" "$WEB"
    may_not disp "$HOST" "$WEB"
    may_not games "$HOST" "$WEB"
    leaves disp
    leaves personal
    may work "$HOST" "$WEB"
    rules personal drop "action=accept dst4=$HOST proto=tcp dstports=$ADMIN-$ADMIN" -- "tcp $HOST $ADMIN"
    arrives personal $((domid++))
    may personal "$HOST" "$ADMIN"
    may_not personal "$HOST" "$WEB"
    ok "five qubes come, two go, one returns with other rules"
}

rules_change() {
    local drip
    in_background "$WORLD/drip" in_qube work curl -sSN "http://$HOST/drip"
    drip=${WORLD_PIDS[-1]}
    wait_for 5 "a download" grep -q drip "$WORLD/drip"
    rules work drop "$WEB4" "action=accept dst4=$HOST proto=tcp dstports=$ADMIN-$ADMIN" "$DNS" -- \
        "tcp $HOST $WEB" "tcp $HOST $ADMIN" "udp $HOST 53" "tcp $HOST 53"
    may work "$HOST" "$ADMIN"
    kill -0 "$drip" 2>/dev/null || fail "a download ended that is still allowed"
    rules work drop "action=accept dst4=$HOST proto=tcp dstports=$ADMIN-$ADMIN" "$DNS" -- \
        "tcp $HOST $ADMIN" "udp $HOST 53" "tcp $HOST 53"
    wait_for 10 "the download to end" not kill -0 "$drip"
    may_not work "$HOST" "$WEB"
    ok "rules change under a download: it goes on while it may, and ends when it may not"
}

name_moves() {
    rules work drop "$SHOP" "$DNS" -- "tcp $OTHER $WEB" "udp $HOST 53" "tcp $HOST 53"
    may work "$OTHER" "$WEB"
    may_not work "$MOVED" "$WEB"
    # the name has the new address for sluice some time from now on, and the old one for some time
    note "\"qube\": $(number work), \"rules\": $(allowed_json "tcp $OTHER $WEB" "tcp $MOVED $WEB" \
        "udp $HOST 53" "tcp $HOST 53")"
    note "\"settled\": $(number work)"
    resolver "shop.test=$MOVED"
    wait_for 10 "the name to be answered anew" asks work shop.test "$MOVED"
    may work "$MOVED" "$WEB"
    ok "a name moves: who asks for it reaches the new address at once"
}

resolver_changes() {
    note "\"qube\": $(number work), \"rules\": $(allowed_json "tcp $OTHER $WEB" "tcp $MOVED $WEB" \
        "udp $HOST 53" "tcp $HOST 53" "udp $SECOND 53" "tcp $SECOND 53")"
    dom0 write /qubes-primary-dns "$SECOND"
    dom0 write /qubes-secondary-dns "$SECOND"
    wait_for 10 "the other resolver" asks_second
    ok "the resolver changes: questions go to the new one"
}

# whether a question of work arrives at the second resolver and not at the first
asks_second() {
    in_uplink timeout 3 tcpdump -i eth0 -n -c 1 "udp and dst host $SECOND and dst port 53" >/dev/null 2>&1 &
    local watcher=$!
    sleep 0.5
    asks work shop.test "$MOVED"
    wait "$watcher"
}

address_changes() {
    note "\"address\": \"$NEXT\""
    OWN=$NEXT
    dom0 write /qubes-ip "$OWN"
    wait_for 10 "the new address" sees_address "$NEXT"
    # an answer to who asked the old address is not ours any more
    sleep 0.2
    note '"settled": "address"'
    may work "$MOVED" "$WEB"
    may personal "$HOST" "$ADMIN"
    ok "the uplink's address changes: connections are opened from the new one"
}

sees_address() {
    [[ $(in_qube personal curl -sS --max-time 2 "http://$HOST:$ADMIN/who") == "$1 "* ]]
}

daemons_restart() {
    dom0 restart 1
    xen_stop KILL
    may personal "$HOST" "$ADMIN"
    may_not vault "$HOST" "$ADMIN"
    # what happens while QubesDB is away is found when it is back
    dom0 rules "$(qube_address personal)" drop
    note "\"qube\": $(number personal), \"rules\": []"
    wait_for 15 "rules of after the restart" not opens personal "$HOST" "$ADMIN"
    note "\"settled\": $(number personal)"
    xen_restart_with work personal games vault
    rules personal drop "action=accept dst4=$HOST proto=tcp dstports=$ADMIN-$ADMIN" -- "tcp $HOST $ADMIN"
    may personal "$HOST" "$ADMIN"
    leaves vault
    ok "QubesDB and xenstored are restarted: nothing changes by it, and what comes later is heard"
}

# xen_restart_with QUBE...: xenstored again, with the vifs that were there
xen_restart_with() {
    local qube
    xen_start
    for qube; do
        vif_nodes "$qube" hotplug-status=connected state=4
    done
}

killed() {
    sluice_down KILL
    may_not personal "$HOST" "$ADMIN"
    sleep 1
    sluice_up
    may personal "$HOST" "$ADMIN"
    may work "$MOVED" "$WEB"
    may_not games "$HOST" "$WEB"
    sluice_down TERM
    may_not personal "$HOST" "$ADMIN"
    sluice_up
    may personal "$HOST" "$ADMIN"
    ok "sluiced is killed, and ends, and returns: nothing passes in between, all is as before"
}

night() {
    local qube
    for qube in work personal games; do
        leaves "$qube"
    done
    sluice_down
    sleep 0.5
    pkill -INT -P "$$" -x tcpdump || true
    sleep 0.5
}

main() {
    xen_require curl dig dnsmasq tcpdump
    # shellcheck disable=SC2119  # no qubes yet
    world_create
    WORLD_QUBES=(work personal games vault disp)
    network_up
    qubesdb_start
    xen_start
    mkdir -p "$WORLD/state"
    cat >"$WORLD/sluice.conf" <<-CONF
		[sluice]
		workers = $WORKERS
		socket = $WORLD/control.sock
		state-dir = $WORLD/state
		[qubes]
		qubesdb = $WORLD/qubesdb.sock
		xenstore = yes
		[port uplink]
		device = kernel:eth0
		role = uplink
		settings = qubesdb
	CONF
    morning
    qubes_come_and_go
    rules_change
    name_moves
    resolver_changes
    address_changes
    daemons_restart
    killed
    night
    "$PYTHON" "$WORLD_ROOT/tests/smoke/day_judge.py" "$WORLD/day.pcap" "$WORLD/diary" \
        "$HOST" "$OTHER" "$MOVED" "$SECOND" "$HOST6" "$ROUTER6" "$(uplink_link_local)" >"$WORLD/verdict" ||
        fail "$(cat "$WORLD/verdict")"
    ok "$(cat "$WORLD/verdict")"
}

main
