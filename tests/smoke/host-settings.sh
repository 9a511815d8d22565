#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The host port with `settings = uplink`: sluiced gives the interface of its own kernel what the
# uplink has, be it from the file or from QubesDB, and the host's own programs get out. What changes
# at the uplink changes there, what somebody else changes there is put right, and a host port that
# comes with SIGHUP is like one that was there.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

TAP=sluice0
FAKE=$WORLD_ROOT/tests/smoke/fake_qubesdb.py
FAR=198.51.100.7 # beyond the gateway
NAMED='[port self]'

addresses() {
    in_firewall ip -o address show dev "$TAP" scope global | awk '{ print $4 }' | sort | paste -sd ' '
}

routes() {
    { in_firewall ip route show default dev "$TAP"; in_firewall ip -6 route show default dev "$TAP"; } |
        awk '{ print $3 }' | paste -sd ' '
}

has() { [[ $(addresses) == "$1" && $(routes) == "$2" ]]; }

# given WHAT ADDRESSES GATEWAYS: the interface comes to have these
given() {
    local tries
    for ((tries = 0; tries < 60; tries++)); do
        ! has "$2" "$3" || { ok "$1: $2 by $3"; return 0; }
        sleep 0.05
    done
    fail "$1: there are \"$(addresses)\" by \"$(routes)\", not \"$2\" by \"$3\"; $(tail -n 3 "$WORLD/sluiced.log")"
}

# works HOW: real programs of the firewall's own kernel, with what they find
works() {
    in_firewall curl -sS -m 5 -o "$WORLD/page" "http://$FAR:80/architecture.md" ||
        fail "$1: the host's curl does not get out"
    cmp -s "$WORLD/page" "$WORLD_ROOT/docs/architecture.md" || fail "$1: its curl got something else"
    in_qube work curl -sS -m 5 -o /dev/null "http://$FAR/architecture.md" || fail "$1: a qube's curl"
    ok "$1: curl of host and qube get out"
}

# The host finds a name by the resolvers that were written for it.
resolves() {
    # shellcheck disable=SC2016  # expanded there
    [[ $(in_firewall bash -c 'mount --bind "$1" /etc/resolv.conf && getent ahostsv4 where.test' \
        sh "$WORLD/resolv.conf" 2>&1) == "$FAR"* ]] || fail "$1: the host resolves no name"
    ok "$1: the host resolves names"
}

dom0() { "$PYTHON" -SE "$FAKE" "$WORLD/dom0.sock" "$@"; }

said_times() { grep -c "has the settings of the uplink" "$WORLD/sluiced.log" || true; }

from_file() {
    sluice_configure "$NAMED" "device = tap:$TAP" 'role = host' 'settings = uplink' \
        "resolv-conf = $WORLD/resolv.conf"
    sluice_start
    given "from the file" "$UPLINK/24 $UPLINK6/64" "$HOST $HOST6"
    works "from the file"
    in_firewall curl -6 -sS -m 5 -o /dev/null "http://[$HOST6]:80/" || fail "the host's curl by IPv6"
    [[ $(stat -c %a "$WORLD/resolv.conf") == 644 ]] || fail "resolv.conf is not everybody's to read"
    [[ $(grep -c ^nameserver "$WORLD/resolv.conf") == 2 ]] || fail "resolv.conf: $(cat "$WORLD/resolv.conf")"
    resolves "with the virtual resolvers"
    # long enough for frames of many segments in both directions
    in_firewall curl -sS -m 20 -o "$WORLD/bulk.down" "http://$FAR/bulk" --connect-to "::$FAR:81" ||
        fail "the host's download"
    cmp -s "$WORLD/bulk" "$WORLD/bulk.down" || fail "the host's download is not what was sent"
    ok "8 MB arrive as they were sent"
}

put_right() {
    local before
    in_firewall ip address flush dev "$TAP" scope global
    given "after a flush" "$UPLINK/24 $UPLINK6/64" "$HOST $HOST6"
    sleep 1.1
    in_firewall ip address add 192.0.2.7/24 dev "$TAP"
    given "after somebody else's address" "$UPLINK/24 $UPLINK6/64" "$HOST $HOST6"
    sleep 1.1
    in_firewall ip route replace default via 192.168.50.77 dev "$TAP"
    given "after somebody else's route" "$UPLINK/24 $UPLINK6/64" "$HOST $HOST6"
    sleep 1.1
    in_firewall ip link set "$TAP" down
    in_firewall ip link set "$TAP" up
    given "after down and up" "$UPLINK/24 $UPLINK6/64" "$HOST $HOST6"
    # who does not give up is answered once a second
    before=$(said_times)
    # shellcheck disable=SC2016  # expanded there
    in_firewall bash -c 'for ((i = 0; i < 60; i++)); do ip address add 192.0.2.7/24 dev "$1" 2>/dev/null
        sleep 0.05; done; true' sh "$TAP"
    (($(said_times) - before <= 6)) || fail "put right $(($(said_times) - before)) times in three seconds"
    sleep 1.1
    given "after the end of it" "$UPLINK/24 $UPLINK6/64" "$HOST $HOST6"
    # another way out of the machine is left alone
    in_firewall ip link add other0 type veth peer name other1
    in_firewall ip link set other1 up
    in_firewall ip link set other0 up
    in_firewall ip address add 192.0.2.33/24 dev other0
    in_firewall ip route add default via 192.0.2.1 dev other0 metric 100
    in_firewall ip address flush dev "$TAP" scope global
    given "beside another way out" "$UPLINK/24 $UPLINK6/64" "$HOST $HOST6"
    [[ $(in_firewall ip route show default) == *"dev other0"* ]] ||
        fail "the other way out is gone: $(in_firewall ip route show)"
    in_firewall ip link delete other0
    works "after all that"
}

changes() {
    # as Qubes has it: a single address, and a gateway that is not in its network
    sluice_set 'port uplink' address 192.168.50.91/32
    sluice_reload || fail "another address is not taken up: $RELOAD_SAID"
    given "another address" "192.168.50.91/32 $UPLINK6/64" "$HOST $HOST6"
    works "behind a single address"
    sed -i '/^\[port uplink\]$/,/^\[port work/{/^\(address6\|gateway6\) = /d}' "$WORLD/sluice.conf"
    sluice_reload || fail "no IPv6 is not taken up: $RELOAD_SAID"
    given "without IPv6" "192.168.50.91/32" "$HOST"
    sluice_stop || fail "sluiced ended with status $?"
    has "192.168.50.91/32" "$HOST" || fail "it is not there any more after the end: $(addresses)"
    sluice_set 'port uplink' address "192.168.50.92/32"
    sluice_start
    given "another address while it did not run" "192.168.50.92/32" "$HOST"
}

# A host port that was not there at the start.
comes_later() {
    sluice_stop || fail "sluiced ended with status $?"
    in_firewall ip link delete "$TAP"
    cp "$WORLD/sluice.conf" "$WORLD/with.conf"
    sed -i "/^${NAMED//[\[\]]/.}\$/,\$d" "$WORLD/sluice.conf"
    sluice_start
    in_firewall test -e "/sys/class/net/$TAP" && fail "there is a host port already"
    cp "$WORLD/with.conf" "$WORLD/sluice.conf"
    sluice_reload || fail "a host port is not taken up: $RELOAD_SAID"
    given "a host port that came later" "192.168.50.92/32" "$HOST"
    works "a host port that came later"
}

from_qubesdb() {
    sluice_stop || fail "sluiced ended with status $?"
    sed -i -e '/^\[port uplink\]$/,/^\[port work/{/^\(address\|gateway\|dns\)6\? = /d}' \
        -e '/^role = uplink$/a settings = qubesdb' "$WORLD/sluice.conf"
    printf '[qubes]\nqubesdb = %s\n' "$WORLD/qubesdb.sock" >>"$WORLD/sluice.conf"
    in_background "$WORLD/qubesdb.log" "$PYTHON" "$FAKE" serve "$WORLD/qubesdb.sock" "$WORLD/dom0.sock"
    wait_for 10 "the daemon of QubesDB" grep -q ready "$WORLD/qubesdb.log"
    dom0 write /qubes-netvm-gateway "$GATEWAY"
    dom0 write /qubes-netvm-primary-dns "${VIRTUAL_DNS[0]}"
    dom0 write /qubes-ip 192.168.50.93
    dom0 write /qubes-netmask 255.255.255.255
    dom0 write /qubes-gateway "$HOST"
    dom0 write /qubes-primary-dns "$HOST"
    sluice_start
    given "from QubesDB" "192.168.50.93/32" "$HOST"
    works "from QubesDB"
    wait_for 3 "the resolvers of QubesDB" grep -qx "nameserver ${VIRTUAL_DNS[0]}" "$WORLD/resolv.conf"
    resolves "from QubesDB"
    # another network qube
    dom0 write /qubes-ip 192.168.50.94
    given "QubesDB says another one" "192.168.50.94/32" "$HOST"
    works "QubesDB says another one"
    # as clients of QubesDB see it: the qube's network qube is taken away
    dom0 rm /qubes-ip
    given "QubesDB says nothing any more" "" ""
}

main() {
    world_require curl dnsmasq getent mount nc
    world_create work
    qube_rules work <<<'policy=accept'
    in_uplink ip address add "$FAR/32" dev lo
    head -c 8000000 /dev/urandom >"$WORLD/bulk"
    in_background "$WORLD/web.log" ip netns exec "$WORLD_NAME-up" "$PYTHON" -m http.server 80 \
        --bind :: --directory "$WORLD_ROOT/docs"
    in_background "$WORLD/bulk.log" ip netns exec "$WORLD_NAME-up" "$PYTHON" -m http.server 81 \
        --directory "$WORLD"
    in_background "$WORLD/dnsmasq.log" ip netns exec "$WORLD_NAME-up" dnsmasq --keep-in-foreground \
        --conf-file=/dev/null --pid-file --no-resolv --no-hosts --user=root --interface=eth0 \
        --bind-interfaces --log-facility=- --address="/where.test/$FAR"
    wait_for 5 "a server" in_uplink nc -z -w 1 "$FAR" 80
    from_file
    put_right
    changes
    comes_later
    from_qubesdb
}

main
