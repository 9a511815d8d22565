#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Seeing packets: captures of real traffic as Wireshark reads them, with what became of each and why,
# on both sides of the translation; traces in words; the last drops; refusals in the log; and a
# capture of more than can be told, which costs the data path nothing.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

FORBIDDEN=192.168.50.9

# watch NAME METHOD PARAMS [SECONDS]: in the background, when it is on
watch() {
    in_background "$WORLD/$1.said" "$PYTHON" "$WORLD_ROOT/tests/smoke/tap_client.py" \
        "$WORLD/control.sock" "$2" "$3" "${4:-60}" "$WORLD/$1.packets"
    wait_for 10 "$1" grep -q ready "$WORLD/$1.said"
}

# watched NAME: until it has ended
watched() { wait_for 70 "the end of $1" grep -q '"answer"' "$WORLD/$1.said"; }

# read_back NAME FILTER FIELD...: a capture in the eyes of tshark
read_back() {
    "$BUILD/tests/smoke/pcapng_write" <"$WORLD/$1.packets" >"$WORLD/$1.pcapng"
    tshark -r "$WORLD/$1.pcapng" -Y "$2" -T fields "${@:3}" 2>/dev/null
}

# has WHAT PATTERN TEXT
has() {
    grep -qE -- "$2" <<<"$3" || fail "$1: \"$3\", should have \"$2\""
    ok "$1"
}

has_not() {
    ! grep -qE -- "$2" <<<"$3" || fail "$1: \"$3\", should not have \"$2\""
    ok "$1"
}

fetch() {
    in_qube work curl -sS --noproxy '*' -o /dev/null --connect-timeout 3 --max-time 10 "http://$1:$2/who"
}

world_require curl tshark tcpdump
world_create work
qube_rules work <<RULES
policy=drop
action=accept dst4=$HOST/32 proto=tcp dstports=8000-8000
action=accept dst4=$HOST/32 proto=udp
action=drop dst4=$FORBIDDEN/32
RULES
sluice_configure
firewall_start
mkdir "$WORLD/www"
echo here >"$WORLD/www/who"
in_background "$WORLD/web.log" in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/uplink_host.py" \
    "$WORLD/www" 8000 -- 9
wait_for 10 "the web server" fetch "$HOST" 8000

# --- a capture ---

watch drops capture '{"filter": "tcp", "drops": true, "count": 2}'
watch nat capture '{"filter": "tcp port 8000 and tcp[tcpflags] & tcp-syn != 0", "count": 4, "snaplen": 60}'
watch trace trace '{"qube": "work", "filter": "tcp port 8000 or tcp port 22", "count": 6}'
fetch "$HOST" 8000 || fail "what is allowed does not work"
fetch "$FORBIDDEN" 22 2>/dev/null && fail "what is not allowed works"
fetch "$HOST" 80 2>/dev/null && fail "what is not allowed works"
watched drops
watched nat
watched trace
said=$(read_back drops "" -e ip.dst -e tcp.dstport -e frame.interface_name -e frame.packet_flags_direction -e frame.comment)
has "a capture of drops says the rule" "^$FORBIDDEN	22	work	.*1	verdict=drop reason=rule rule=work/0002" "$said"
has "and the policy" "^$HOST	80	work	.*1	verdict=drop reason=policy rule=work/policy" "$said"
has_not "and nothing else" "verdict=forward" "$said"
said=$(read_back nat tcp -e frame.interface_name -e frame.packet_flags_direction -e ip.src -e ip.dst -e frame.cap_len -e frame.comment)
has "a SYN as it came" "^work	.*1	$(qube_address work)	$HOST	60	verdict=forward rule=work/0000" "$said"
has "and as it left" "^uplink	.*2	$UPLINK	$HOST	60	verdict=forward rule=work/0000" "$said"
has "its answer as it came" "^uplink	.*1	$HOST	$UPLINK	60	verdict=forward rule=work/0000" "$said"
has "and as it left" "^work	.*2	$HOST	$(qube_address work)	60	verdict=forward rule=work/0000" "$said"
(($(read_back nat tcp -e frame.number | wc -l) == 4)) || fail "not four frames: $said"
ok "each of them once"

# --- a trace ---

said=$(<"$WORLD/trace.packets")
has "a trace says what a packet is" "parse: tcp $(qube_address work):[0-9]+ -> $HOST:8000 syn, " "$said"
has "that it opens a flow" '"flow: opens a flow", "rule: work/0000"' "$said"
has "what it becomes" "nat: source $(qube_address work):([0-9]+) -> $UPLINK:" "$said"
has "where it goes" "\"out: uplink\", \"next hop: $HOST at " "$said"
has "how answers come back" "nat: destination $UPLINK:[0-9]+ -> $(qube_address work):" "$said"
has_not "and nothing of what is in it" '"frame"' "$said"

# --- the last drops, and the log ---

said=$(counter drops >/dev/null && "$PYTHON" "$WORLD_ROOT/tests/smoke/control.py" "$WORLD/control.sock" drops)
has "drops: the rule's" '"reason": "rule", "rule": "work/0002", "proto": "tcp", "source": "'"$(qube_address work)"':[0-9]+", "destination": "'"$FORBIDDEN"':22"' "$said"
has "with a count per port" '"reason": "policy", "help": "[^"]*", "total": [0-9]+, "ports": \{"work": [0-9]+\}' "$said"
wait_for 3 "a line of the log" grep -qE "refused qube=work rule=work/0002 reason=rule proto=tcp source=$(qube_address work):[0-9]+ destination=$FORBIDDEN:22" "$WORLD/sluiced.log"
has_not "nothing of what was accepted in the log" "refused.*destination=$HOST:8000" "$(<"$WORLD/sluiced.log")"
before=$(grep -c refused "$WORLD/sluiced.log")
# shellcheck disable=SC2016  # the shell inside
in_qube work bash -c 'for ((port = 1; port < 800; port++)); do : >"/dev/udp/$0/$port"; echo >"/dev/udp/$0/$port"; done' "$FORBIDDEN" 2>/dev/null || true
sleep 0.6
(($(grep -c refused "$WORLD/sluiced.log") - before <= 25)) || fail "a scan floods the log"
ok "a scan of 800 ports has $(($(grep -c refused "$WORLD/sluiced.log") - before)) lines at once"

# --- more than can be told ---

watch flood capture '{"qube": "work"}' 6
# what the data path has let through and lost: a sink's own buffer must not count
lost() { echo $(($(counter ports work rx_dropped) + $(counter drops transmit) + $(counter drops no-mbuf))); }
forwarded=$(counter verdicts forward) before=$(lost)
in_qube work "$PYTHON" -c "
import socket, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(20000):
    sender.sendto(b'x' * 1000, ('$HOST', 9))
    if i % 20 == 0:
        time.sleep(0.001)
"
wait_for 15 "the end of the capture" grep -q '"answer"' "$WORLD/flood.said"
forwarded=$(($(counter verdicts forward) - forwarded))
(($(lost) == before && forwarded >= 20000)) ||
    fail "$forwarded of 20000 datagrams were forwarded under a capture, $(($(lost) - before)) lost"
packets=$(sed -n 's/.*"packets": \([0-9]*\).*/\1/p' "$WORLD/flood.said")
missed=$(sed -n 's/.*"missed": \([0-9]*\).*/\1/p' "$WORLD/flood.said")
((packets + missed >= 20000)) || fail "a capture has $packets and missed $missed of 20000"
ok "20000 of 20000 datagrams are forwarded under a capture, which has $packets and misses $missed"
# shellcheck disable=SC2119  # as systemd would
firewall_stop || fail "sluiced ends with status $?: $(tail -n 5 "$WORLD/sluiced.log")"
ok "sluiced ends"
