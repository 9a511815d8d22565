#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The firewall's own kernel behind its TAP: a real DHCP client gets its lease from a real server
# across the uplink, and the uplink follows what it was given: address, gateway and resolver. The
# host's own programs work, nothing unsolicited reaches them, and when address and network change
# under live traffic it goes on with the new ones, and nothing is sent with the old address.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

TAP=sluice0
FIRST=192.168.60 SECOND=192.168.70

world_require curl dig dnsmasq nc ping tcpdump udhcpc

# A DHCP server and resolver on the uplink, which is in one network or another.
network_start() {
    local network=$1 address=$2
    in_uplink ip -4 address flush dev eth0
    in_uplink ip address add "$network.1/24" dev eth0
    in_background "$WORLD/dnsmasq.$network.log" ip netns exec "$WORLD_NAME-up" dnsmasq \
        --keep-in-foreground --conf-file=/dev/null --pid-file --no-resolv --no-hosts \
        --user=root --interface=eth0 --bind-interfaces --no-ping --log-dhcp --log-facility=- \
        --dhcp-leasefile="$WORLD/leases.$network" --dhcp-authoritative \
        --dhcp-range="$address,$address,255.255.255.0,120" \
        --dhcp-option=option:router,"$network.1" --dhcp-option=option:dns-server,"$network.1" \
        --address="/where.test/$network.1" \
        --enable-ra --dhcp-range="${HOST6%2},ra-only" --ra-param=eth0,30,120
    network_pid=${WORLD_PIDS[-1]}
}

network_stop() {
    kill "$network_pid"
    wait "$network_pid" 2>/dev/null || true
}

# What distributions' scripts do with a lease: put it on the interface, and write resolv.conf anew.
client_script() {
    cat >"$WORLD/lease.sh" <<-SCRIPT
		#!/bin/sh
		case \$1 in
		deconfig)
		    ip -4 address flush dev \$interface
		    ;;
		bound | renew)
		    ip -4 address flush dev \$interface
		    ip address add \$ip/\$mask dev \$interface
		    ip route add default via \$router dev \$interface
		    for server in \$dns; do echo "nameserver \$server"; done >$WORLD/resolv.conf.new
		    mv $WORLD/resolv.conf.new $WORLD/resolv.conf
		    ;;
		esac
	SCRIPT
    chmod +x "$WORLD/lease.sh"
}

client_start() {
    in_background "$WORLD/udhcpc.log" ip netns exec "$WORLD_NAME-fw" \
        udhcpc --foreground --interface "$TAP" --script "$WORLD/lease.sh" --retries 5 --timeout 1 \
        --tryagain 1
    client_pid=${WORLD_PIDS[-1]}
}

# lease_anew: as after another cable: let go of the old lease, and ask for a new one.
lease_anew() {
    kill -s USR2 "$client_pid"
    sleep 0.2
    kill -s USR1 "$client_pid"
}

uplink_addresses() {
    "$PYTHON" "$WORLD_ROOT/tests/smoke/rpc.py" "$WORLD/control.sock" status |
        "$PYTHON" -c 'import json, sys
print(*next(p["addresses"] for p in json.load(sys.stdin)["ports"] if p["role"] == "uplink"))'
}

host_device() {
    "$PYTHON" "$WORLD_ROOT/tests/smoke/rpc.py" "$WORLD/control.sock" status |
        "$PYTHON" -c 'import json, sys
print(next(p["device"] for p in json.load(sys.stdin)["ports"] if p["role"] == "host"))'
}

uplink_is() { [[ $(uplink_addresses) == "$1"* ]]; }

uplink_has_no_ipv4() { [[ $(uplink_addresses) != *.* ]]; }

# capture_start NAMESPACE NAME INTERFACE [OPTION...]
capture_start() {
    in_background "$WORLD/capture.$2.log" ip netns exec "$WORLD_NAME-$1" \
        tcpdump -n -U --immediate-mode -i "$3" "${@:4}" -w "$WORLD/$2.pcap"
    capture_pid=${WORLD_PIDS[-1]}
    wait_for 10 "tcpdump" grep -q 'listening on' "$WORLD/capture.$2.log"
}

capture_stop() {
    sleep 0.3
    kill "$1"
    wait "$1" 2>/dev/null || true
}

# captured NAME FILTER...: how many frames of a capture are such.
captured() { tcpdump -n -r "$WORLD/$1.pcap" "${@:2}" 2>/dev/null | wc -l; }

world_create work
qube_rules work <<<$'policy=accept'
sluice_configure \
    '[port self]' "device = tap:$TAP" 'role = host' \
    '[forward proxy]' 'forwardtype = internal' 'proto = tcp' 'srcports = 8082' 'qube = self'
sed -i -e "/^\\[port uplink\\]/,/^\\[/{/^address\|^gateway\|^dns/d}" \
    -e "/^\\[port uplink\\]\$/a settings = host\nresolv-conf = $WORLD/resolv.conf" "$WORLD/sluice.conf"
# the host asks for IPv6 routers as hosts do
in_firewall sysctl -qw net.ipv6.conf.default.router_solicitations=3
client_script
network_start "$FIRST" "$FIRST.77"
in_background "$WORLD/web.log" ip netns exec "$WORLD_NAME-up" "$PYTHON" -m http.server 80 \
    --directory "$WORLD_ROOT/docs"
# somebody else on the link, who tries what he may not
in_uplink ip address add 192.0.2.9/32 dev lo

sluice_start
[[ $(in_firewall cat /sys/class/net/$TAP/address) == $(in_firewall cat /sys/class/net/eth0/address) ]] ||
    fail "the host's interface has another MAC than the uplink"
in_qube work ping -c 1 -W 1 "$FIRST.1" >"$WORLD/ping" 2>&1 && fail "a qube got out without an address"
grep -q 'Net Unreachable' "$WORLD/ping" || fail "without an address a qube hears: $(cat "$WORLD/ping")"
ok "without an address nothing gets out, and qubes hear that there is no route"

client_start
wait_for 15 "a lease" uplink_is "$FIRST.77"
ok "the host's DHCP client has a lease, and the uplink its address"
[[ $(host_device) == "tap:$TAP" ]] || fail "status calls the host's port $(host_device)"
wait_for 10 "the resolver" in_qube work dig +time=1 +tries=1 +short @"${VIRTUAL_DNS[0]}" where.test
[[ $(in_qube work dig +time=2 +short @"${VIRTUAL_DNS[0]}" where.test) == "$FIRST.1" ]] ||
    fail "the virtual resolver is not the one of the lease"
in_qube work curl -sS -m 5 -o /dev/null "http://$FIRST.1/" || fail "a qube does not get out"
ok "a qube gets out, and its resolver is the one of the lease"

wait_for 15 "IPv6" in_qube work ping -6 -c 1 -W 1 "$HOST6"
in_firewall ping -6 -c 1 -W 2 "$HOST6" >/dev/null || fail "the host does not reach anybody by IPv6"
ok "the host has found an IPv6 router, and the uplink has its address"

# --- the host's own programs
in_firewall ping -c 2 -i 0.2 -W 2 "$FIRST.1" >/dev/null || fail "the host's ping"
[[ $(in_firewall dig +time=2 +short @"$FIRST.1" where.test) == "$FIRST.1" ]] || fail "the host's dig"
in_firewall curl -sS -m 5 -o "$WORLD/page" "http://$FIRST.1/architecture.md" || fail "the host's curl"
cmp -s "$WORLD/page" "$WORLD_ROOT/docs/architecture.md" || fail "the host's curl got something else"
ok "the host's own ping, dig and curl work"
# long enough for frames of many segments in both directions
head -c 8000000 /dev/urandom >"$WORLD/bulk"
in_background "$WORLD/bulk.log" ip netns exec "$WORLD_NAME-up" "$PYTHON" -m http.server 81 \
    --directory "$WORLD"
wait_for 5 "a server" in_firewall nc -z -w 1 "$FIRST.1" 81
in_firewall curl -sS -m 10 -o "$WORLD/bulk.down" "http://$FIRST.1:81/bulk" || fail "the host's download"
cmp -s "$WORLD/bulk" "$WORLD/bulk.down" || fail "the host's download is not what was sent"
in_background "$WORLD/bulk.up" ip netns exec "$WORLD_NAME-up" nc -l 7002
sleep 0.2
in_firewall nc -N -w 10 "$FIRST.1" 7002 <"$WORLD/bulk" || fail "the host's upload"
wait_for 5 "the host's upload" cmp -s "$WORLD/bulk" "$WORLD/bulk.up"
ok "the host's transfers arrive as they were sent"
in_firewall ping -c 1 -W 1 "$(qube_address work)" >/dev/null && fail "the host reached a qube"
ok "the host does not reach a qube unless that is allowed"
in_background "$WORLD/proxy.log" ip netns exec "$WORLD_NAME-fw" "$PYTHON" -m http.server 8082 \
    --directory "$WORLD_ROOT/docs"
wait_for 5 "the proxy" in_qube work curl -sS -m 2 -o "$WORLD/page" "http://$GATEWAY:8082/architecture.md"
cmp -s "$WORLD/page" "$WORLD_ROOT/docs/architecture.md" || fail "through the proxy came something else"
in_qube work nc -z -w 1 "$GATEWAY" 22 2>/dev/null && fail "a qube reached a port without a forward"
ok "a qube reaches the host's proxy on the gateway's address, and nothing else there"

# --- what nobody asked for
capture_start fw unsolicited "$TAP" -Q in
in_uplink ping -c 2 -i 0.2 -W 1 "$FIRST.77" >/dev/null 2>&1 && fail "the host answered a ping from outside"
in_uplink nc -z -w 1 "$FIRST.77" 8082 2>/dev/null && fail "a port of the host is open outside"
in_uplink bash -c "echo hello >/dev/udp/$FIRST.77/68; echo hello >/dev/udp/$FIRST.77/8082"
in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/host_forge.py" eth0 \
    "$(in_firewall cat /sys/class/net/$TAP/address)" "$FIRST.1" "$FIRST.77" \
    >"$WORLD/forged" 2>/dev/null
capture_stop "$capture_pid"
# but for what the real router says by itself
nobody="not (icmp6 and not (src host fe80::99 or src host fd00:50::2))"
[[ $(captured unsolicited "$nobody") == 0 ]] ||
    fail "unsolicited: $(tcpdump -n -r "$WORLD/unsolicited.pcap" "$nobody" 2>/dev/null)"
(($(cat "$WORLD/forged") > 10)) || fail "nothing was forged"
ok "$(cat "$WORLD/forged") frames that nobody asked for: none reached the host"

# --- another network, under live traffic
qube_stream() {
    in_background "$WORLD/stream.log" ip netns exec "$WORLD_NAME-work" bash -c \
        "for ((i = 0; i < 100000; i++)); do echo \$i >&3; sleep 0.01; done 3<>/dev/udp/$1/7000"
    stream_pid=${WORLD_PIDS[-1]}
}
in_background "$WORLD/datagrams.log" ip netns exec "$WORLD_NAME-up" nc -lku 7000
qube_stream 192.0.2.9
in_background "$WORLD/sink.log" ip netns exec "$WORLD_NAME-up" nc -lk 7001
wait_for 5 "a server" in_qube work nc -z -w 1 "$FIRST.1" 7001
ip netns exec "$WORLD_NAME-work" bash -c "exec 3<>/dev/tcp/192.0.2.9/7001; echo one >&3; read -r -u 3; echo ended" \
    >"$WORLD/tcp.log" 2>&1 &
tcp_pid=$!
WORLD_PIDS+=("$tcp_pid")
wait_for 5 "a connection" grep -q one "$WORLD/sink.log"
network_stop
network_start "$SECOND" "$SECOND.88"
lease_anew
wait_for 20 "another lease" uplink_is "$SECOND.88"
sleep 0.1
capture_start up moved eth0
wait_for 5 "the end of the old connection" grep -q ended "$WORLD/tcp.log"
ok "a connection of the old address is reset at once"
[[ $(in_qube work dig +time=2 +short @"${VIRTUAL_DNS[0]}" where.test) == "$SECOND.1" ]] ||
    fail "the virtual resolver is still the old one"
in_qube work curl -sS -m 5 -o /dev/null "http://$SECOND.1/" || fail "a qube does not get out any more"
in_firewall curl -sS -m 5 -o /dev/null "http://$SECOND.1/" || fail "the host does not get out any more"
went_on() { (($(captured moved "src host $SECOND.88 and udp dst port 7000") > 10)); }
wait_for 10 "datagrams with the new address" went_on
capture_stop "$capture_pid"
[[ $(captured moved "src host $FIRST.77") == 0 ]] ||
    fail "the old address: $(tcpdump -n -r "$WORLD/moved.pcap" "src host $FIRST.77" 2>/dev/null | head -n 5)"
ok "another network: everything goes on with the new address, nothing with the old one"
kill "$stream_pid"

# --- no address for a while, and no link
in_firewall ip -4 address flush dev "$TAP"
wait_for 5 "no address" uplink_has_no_ipv4
in_qube work ping -c 1 -W 1 "$SECOND.1" >/dev/null 2>&1 && fail "a qube got out without an address"
kill -s USR1 "$client_pid"
wait_for 10 "the address again" in_qube work ping -c 1 -W 1 "$SECOND.1"
ok "an address that was lost came back, and all goes on"
in_uplink ip link set eth0 down
wait_for 5 "no carrier on the host's interface" in_firewall grep -q 0 /sys/class/net/$TAP/carrier
in_uplink ip link set eth0 up
wait_for 5 "a carrier on the host's interface" in_firewall grep -q 1 /sys/class/net/$TAP/carrier
wait_for 10 "the link again" in_qube work ping -c 1 -W 1 "$SECOND.1"
ok "the host sees the uplink's carrier, and all goes on when it returns"

# --- the uplink's device is taken away, and another one with its name comes
in_uplink ip link set eth0 down
in_uplink ip link delete eth0
in_qube work ping -c 1 -W 1 "$SECOND.1" >/dev/null 2>&1 && fail "a qube got out without an uplink"
link_create up
in_uplink ip address add "$SECOND.1/24" dev eth0
wait_for 10 "the uplink again" in_qube work ping -c 1 -W 1 "$SECOND.1"
[[ $(in_firewall cat /sys/class/net/$TAP/address) == $(in_firewall cat /sys/class/net/eth0/address) ]] ||
    wait_for 3 "the MAC of the new device" bash -c "[[ \$(ip netns exec $WORLD_NAME-fw cat /sys/class/net/$TAP/address) == \$(ip netns exec $WORLD_NAME-fw cat /sys/class/net/eth0/address) ]]"
in_firewall ping -c 1 -W 2 "$SECOND.1" >/dev/null || fail "the host does not get out by the new device"
[[ $(in_firewall cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6) == 1 ]] || fail "the kernel hears on the new device"
in_firewall nft list ruleset >"$WORLD/ruleset"
grep -qE 'device ("eth0"|eth0)|devices = \{ "?eth0' "$WORLD/ruleset" || fail "the kernel is not deaf on the new device"
ok "another device in the uplink's place: the kernel is deaf there, and all goes on"

# --- restart: the interface stays, and so does what was in force
sluice_stop
in_qube work ping -c 1 -W 1 "$SECOND.1" >/dev/null 2>&1 && fail "something got out without sluiced"
sluice_start
uplink_is "$SECOND.88" || fail "after a restart the address is not in force at once"
in_qube work ping -c 1 -W 2 "$SECOND.1" >/dev/null || fail "after a restart a qube does not get out"
ok "after a restart everything is in force at once"

# --- an address that stands in the file changes with it
sluice_stop
sed -i -e "/^settings = host/d; /^resolv-conf/d" "$WORLD/sluice.conf"
sluice_set 'port uplink' address "$SECOND.90/24"
sluice_set 'port uplink' gateway "$SECOND.1"
sluice_start
in_qube work ping -c 1 -W 2 "$SECOND.1" >/dev/null || fail "with an address from the file a qube does not get out"
sluice_set 'port uplink' address "$SECOND.91/24"
sluice_reload || fail "another address is not taken up: $RELOAD_SAID"
capture_start up reloaded eth0
in_qube work ping -c 2 -i 0.2 -W 2 "$SECOND.1" >/dev/null || fail "after SIGHUP a qube does not get out"
capture_stop "$capture_pid"
[[ $(captured reloaded "src host $SECOND.90") == 0 && $(captured reloaded "icmp and src host $SECOND.91") == 2 ]] ||
    fail "after SIGHUP: $(tcpdump -n -r "$WORLD/reloaded.pcap" 2>/dev/null | head)"
ok "an address in the file changes with SIGHUP"
