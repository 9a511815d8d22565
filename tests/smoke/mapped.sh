#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A qube whose kernel has another address and another gateway than sluice knows of: TCP, ping, names,
# errors and a forward work in both directions, and nobody beyond its port sees that address.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

VISIBLE=192.168.7.5
VISIBLE_GATEWAY=192.168.7.1

# what the servers take the client for
says() { # WHAT EXPECTED COMMAND...
    local said
    said=$("${@:3}") || fail "$1 failed: $said"
    [[ $said == *"$2"* ]] || fail "$1: \"$said\" instead of \"$2\""
    ok "$1: $2"
}

see_it() {
    in_qube work ip -4 address flush dev eth0
    in_qube work ip address add "$VISIBLE/32" dev eth0
    in_qube work ip route add "$VISIBLE_GATEWAY" dev eth0
    in_qube work ip route replace default via "$VISIBLE_GATEWAY" dev eth0
}

main() {
    world_require ip curl ping
    world_create work personal
    qube_rules work <<-RULES
		policy=drop
		action=accept specialtarget=dns
		action=accept dst4=$HOST/32 proto=tcp dstports=8080-8080
		action=accept dst4=$HOST/32 proto=udp dstports=7000-7001
		action=accept proto=icmp
	RULES
    qube_rules personal <<<'policy=accept'
    see_it
    in_background "$WORLD/servers.out" in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/echo_server.py" \
        "$WORLD/servers" tcp:8080 udp:7000 udp:53
    in_background "$WORLD/inside.out" in_qube work "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/echo_server.py" "$WORLD/inside" tcp:80
    wait_for 10 "the servers" grep -q ready "$WORLD/servers"
    wait_for 10 "the server in the qube" grep -q ready "$WORLD/inside"
    sluice_configure '[forward web]' 'forwardtype = external' 'proto = tcp' 'srcports = 8000' \
        'dstports = 80' 'qube = work'
    sluice_set 'qube work' visible-address "$VISIBLE"
    sluice_set 'qube work' visible-gateway "$VISIBLE_GATEWAY"
    sluice_start

    says "TCP" "$UPLINK" in_qube work curl -sS -m 5 "http://$HOST:8080/who"
    says "UDP" "$UPLINK" in_qube work "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_ask.py" "$HOST" 7000
    says "a virtual resolver" "$UPLINK" in_qube work "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/udp_ask.py" "${VIRTUAL_DNS[0]}" 53
    in_qube work ping -q -c 2 -i 0.2 -W 2 "$HOST" >/dev/null || fail "no ping to the host"
    in_qube work ping -q -c 2 -i 0.2 -W 2 "$VISIBLE_GATEWAY" >/dev/null || fail "no ping to the gateway"
    in_qube work ping -q -c 1 -W 2 -s 4000 "$HOST" >/dev/null || fail "no ping in fragments"
    ok "ping to the host, to the gateway that the qube sees, and in fragments"
    says "a forward" "$HOST" in_uplink curl -sS -m 5 "http://$UPLINK:8000/who"
    [[ $(in_qube work ip neighbour show "$VISIBLE_GATEWAY") == *fe:ff:ff:ff:ff:ff* ]] ||
        fail "the gateway has no MAC: $(in_qube work ip neighbour)"

    # errors of the firewall and of the host beyond reach the sockets that they are about
    local status=0
    in_qube work curl -sS -m 5 "http://$HOST:81/" >/dev/null 2>&1 || status=$?
    ((status == 7)) || fail "a refused connection ends with curl $status, not at once"
    says "port unreachable" "refused" in_qube work "$PYTHON" -c "
import errno, socket
peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
peer.settimeout(5)
peer.connect(('$HOST', 7001))
peer.send(b'x')
try:
    peer.recv(1)
except ConnectionRefusedError:
    print('refused')"

    # in another's name, also in its own real one's neighbour's
    local before
    before=$(drops source-address)
    in_qube work ip address add 192.168.7.6/32 dev eth0
    ! in_qube work curl -sS -m 1 --interface 192.168.7.6 "http://$HOST:8080/who" >/dev/null 2>&1 ||
        fail "another address passes"
    (($(drops source-address) > before)) || fail "it is not counted"

    says "explain" "which it sees as $VISIBLE" "$BUILD/app/sluicectl" --socket "$WORLD/control.sock" \
        explain from=work dst="$HOST" proto=tcp dport=8080
    says "status" "$(qube_address work) $(qube_address6 work), sees $VISIBLE" \
        "$BUILD/app/sluicectl" --socket "$WORLD/control.sock" status
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
}

main
