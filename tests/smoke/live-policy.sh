#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Policies change while packets flow. 64 times a second one qube gets other rules, 1,000 each; what
# all of them allow must not notice: no datagram is lost, a TCP transfer goes on, new connections are
# opened. And old policies must be gone: sluiced does not grow. Then a change that
# does not allow it any more, which both ends must hear of at once. Then changes that are wrong or
# need a restart: nothing may happen but a message.
#
#   SECONDS_LONG=60    how long rules change, 8 seconds without it
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

SECONDS_LONG=${SECONDS_LONG:-8}
SWAPS_PER_SECOND=64
DATAGRAMS_PER_SECOND=500
STREAM_PORT=7000 ECHO_PORT=7001 CONNECT_PORT=82 LISTENER_PORT=83
CONNECTIONS=1000
# a policy of 1,000 rules is about one of these: hundreds that are kept would be seen
GROWTH_MIB=64
TRANSFER_KIB_PER_SECOND=2048
# what a reset may take: sluiced reads 1,000 rules, the server sends its next line
AT_ONCE_MS=3000

world_up() {
    world_require curl
    world_create work
    mkdir "$WORLD/www"
    head -c "$((TRANSFER_KIB_PER_SECOND * SECONDS_LONG))K" /dev/urandom >"$WORLD/www/download"
    in_background "$WORLD/uplink_host.log" in_uplink "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/uplink_host.py" "$WORLD/www" 80 -- 9
    in_background "$WORLD/stream.log" in_uplink "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/udp_stream.py" serve "$STREAM_PORT"
    in_background /dev/null in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/echo_server.py" \
        "$WORLD/echo.log" tcp:81 "udp:$ECHO_PORT"
    in_background "$WORLD/connections.log" in_uplink "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/connections.py" serve "$WORLD/connections.ready" "$CONNECT_PORT"
    cat >"$WORLD/head" <<-RULES
		policy=drop
		action=accept dst4=$HOST/32 proto=udp dstports=$STREAM_PORT-$ECHO_PORT
		action=accept dst6=$HOST6/128 proto=udp dstports=$STREAM_PORT-$ECHO_PORT
		action=accept dst4=$HOST/32 proto=tcp dstports=80-$LISTENER_PORT
		action=accept dst6=$HOST6/128 proto=tcp dstports=$CONNECT_PORT
		action=accept proto=icmp
	RULES
    qube_rules work <"$WORLD/head"
    wait_for 10 "the servers" grep -q ready "$WORLD/echo.log"
    wait_for 10 "the server" grep -q ready "$WORLD/connections.ready"
    wait_for 10 "the web server" test -e "$WORLD/www/ready"
    sluice_start
    in_qube work ping -q -c 3 -i 0.2 -W 2 "$HOST" >/dev/null || fail "no way to the uplink host"
    in_qube work ping -q -c 3 -i 0.2 -W 2 "$HOST6" >/dev/null ||
        fail "no way to the uplink host by IPv6"
}

stream() {
    in_qube work "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_stream.py" "$1" "$STREAM_PORT" \
        "$DATAGRAMS_PER_SECOND" "$2"
}

ask() { in_qube work "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_ask.py" "$@"; }

retransmitted() {
    in_uplink cat /proc/net/snmp | awk '$1 == "Tcp:" { if (field) print $field
        for (i = 1; i <= NF; i++) if ($i == "RetransSegs") field = i }'
}

# --- 64 a second --------------------------------------------------------------------------------

swap_times() {
    "$PYTHON" - "$WORLD/sluiced.log" <<-'PYTHON'
		import re, statistics, sys

		pattern = re.compile(r"^sluiced: policy \d+ in force: .* in ([0-9.]+) ms;", re.M)
		times = [float(text) for text in pattern.findall(open(sys.argv[1]).read())]
		print(f"{len(times)} {statistics.median(times):.1f} {max(times):.1f}")
	PYTHON
}

# lost FILE: of both directions; nothing at all would be no result
lost() {
    awk '$1 == "sent" && $2 > 0 { print $5 + $8; found = 1 } END { if (!found) print "unknown" }' "$1"
}

memory_mib() { awk '$1 == "VmRSS:" { print int($2 / 1024) }' "/proc/$FIREWALL_PID/status"; }

check_swaps() {
    local versions swaps median longest seconds=$((SECONDS_LONG + 2)) jobs=() job file before memory
    before=$(retransmitted)
    memory=$(memory_mib)
    stream "$HOST" "$seconds" >"$WORLD/stream4" 2>&1 &
    jobs+=($!)
    stream "$HOST6" "$seconds" >"$WORLD/stream6" 2>&1 &
    jobs+=($!)
    in_qube work curl -sS --noproxy '*' --limit-rate "${TRANSFER_KIB_PER_SECOND}K" \
        --max-time $((SECONDS_LONG * 4 + 20)) -o "$WORLD/downloaded" \
        "http://$HOST/download" >"$WORLD/curl.log" 2>&1 &
    jobs+=($!)
    in_qube work "$PYTHON" "$WORLD_ROOT/tests/smoke/connections.py" "$CONNECTIONS" 2 \
        "$CONNECT_PORT" "$HOST" "$HOST6" >"$WORLD/connections" 2>&1 &
    jobs+=($!)
    WORLD_PIDS+=("${jobs[@]}")
    sleep 0.5
    versions=$("$PYTHON" "$WORLD_ROOT/tests/smoke/reloads.py" "$FIREWALL_PID" \
        "$WORLD/work.rules" "$WORLD/head" "$SWAPS_PER_SECOND" "$SECONDS_LONG")
    for job in "${jobs[@]}"; do
        wait "$job" || fail "a transfer ended with status $?: $(cat "$WORLD"/stream? "$WORLD/curl.log" \
            "$WORLD/connections")"
    done
    cmp -s "$WORLD/www/download" "$WORLD/downloaded" || fail "the download differs"
    rm "$WORLD/downloaded"
    # the last version is the one in force
    sluice_reload || fail "the last version was not taken up: $RELOAD_SAID"
    [[ $(ask "$HOST" $((20000 + versions))) == ECONNREFUSED ]] ||
        fail "the last of $versions versions is not in force"
    [[ $(ask "$HOST" $((20000 + versions - 1))) == EHOSTUNREACH ]] ||
        fail "the version before the last is still in force"

    read -r swaps median longest <<<"$(swap_times)"
    echo "$versions versions in $SECONDS_LONG s, $swaps of them in force one after the other;" \
        "commit to in force: median $median ms, longest $longest ms"
    for file in "$WORLD/stream4" "$WORLD/stream6"; do
        echo "UDP over ${file##*stream}: $(cat "$file")"
    done
    echo "TCP: $((TRANSFER_KIB_PER_SECOND * SECONDS_LONG)) KiB arrived whole," \
        "$(($(retransmitted) - before)) segments sent again; frames that no ring had room for:" \
        "$(counter ports uplink rx_dropped) and $(counter ports work rx_dropped)"
    cat "$WORLD/connections"
    echo "memory: $memory MiB before, $(memory_mib) MiB after"
    for file in "$WORLD/stream4" "$WORLD/stream6"; do
        [[ $(lost "$file") == 0 ]] || fail "datagrams were lost: $(cat "$file");" \
            "drops: $(counter drops)"
    done
    (($(memory_mib) < memory + GROWTH_MIB)) || fail "sluiced grows"
    # some signals meet an earlier one that still waits; a slow machine takes up fewer versions
    ((swaps > SECONDS_LONG * 4)) || fail "$swaps swaps in $SECONDS_LONG seconds show nothing"
    ok "$swaps policies came into force under traffic, and nothing was lost"
}

# --- no longer allowed --------------------------------------------------------------------------

milliseconds_since() { echo $(((${EPOCHREALTIME/[.,]/} - $1) / 1000)); }

# A server that only listens. What ends its connection is not an answer to anything it says.
listener_start() {
    in_background "$WORLD/listener" in_uplink "$PYTHON" -u -c '
import errno, socket, sys
listener = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("ready")
connection, _ = listener.accept()
try:
    while connection.recv(100):
        print("heard")
    print("closed")
except OSError as error:
    print(errno.errorcode[error.errno])
' "$LISTENER_PORT"
    wait_for 10 "the listener" grep -q ready "$WORLD/listener"
    in_background "$WORLD/speaker" in_qube work "$PYTHON" -u -c '
import errno, socket, sys, time
speaker = socket.create_connection((sys.argv[1], int(sys.argv[2])))
try:
    while True:
        speaker.sendall(b"hello")
        time.sleep(0.05)
except OSError as error:
    print(errno.errorcode[error.errno])
' "$HOST" "$LISTENER_PORT"
    wait_for 10 "the first words" grep -q heard "$WORLD/listener"
}

# An endless transfer, both of whose ends must be reset.
check_reset() {
    local status=0 began took before
    in_qube work curl -sS -N --noproxy '*' --max-time 30 -o "$WORLD/drip" "http://$HOST:81/drip" \
        2>"$WORLD/curl.log" &
    local curl=$!
    WORLD_PIDS+=("$curl")
    wait_for 10 "the first line of the transfer" test -s "$WORLD/drip"
    listener_start
    before=$(counter tcp_resets_sent)
    grep -v 'proto=tcp' "$WORLD/head" >"$WORLD/fewer"
    qube_rules work <"$WORLD/fewer"
    began=${EPOCHREALTIME/[.,]/}
    sluice_reload || fail "refused: $RELOAD_SAID"
    wait "$curl" || status=$?
    took=$(milliseconds_since "$began")
    ((status == 56)) || fail "curl ended with status $status, not 56: $(cat "$WORLD/curl.log")"
    grep -q 'reset by peer' "$WORLD/curl.log" || fail "curl heard: $(cat "$WORLD/curl.log")"
    ((took < AT_ONCE_MS)) || fail "the reset came after $took ms"
    wait_for 5 "the reset at the server" grep -qE 'drip .*: (ECONNRESET|EPIPE)' "$WORLD/echo.log"
    ok "TCP that is no longer allowed: reset on both sides $took ms after SIGHUP" \
        "($(($(counter tcp_resets_sent) - before)) RSTs): $(cat "$WORLD/curl.log")"

    wait_for 5 "the reset at who speaks: $(cat "$WORLD/speaker")" \
        grep -qE '^(ECONNRESET|EPIPE)$' "$WORLD/speaker"
    wait_for 5 "the reset at who only listens" grep -q '^ECONNRESET$' "$WORLD/listener"
    ok "a server that says nothing is reset as well"

    status=0
    in_qube work curl -sS --noproxy '*' --connect-timeout 5 "http://$HOST:81/who" \
        2>"$WORLD/curl.log" || status=$?
    ((status == 7)) || fail "a new connection: status $status: $(cat "$WORLD/curl.log")"
    ok "a new connection is refused: $(cat "$WORLD/curl.log")"
}

# Sockets that have sent hear 3/13 as EHOSTUNREACH, 1/1 as EACCES.
check_udp_refused() {
    local host said
    for host in "$HOST" "$HOST6"; do
        qube_rules work <"$WORLD/head"
        sluice_reload || fail "refused: $RELOAD_SAID"
        rm -f "$WORLD/udp"
        in_qube work "$PYTHON" - "$host" "$ECHO_PORT" >"$WORLD/udp" <<-'PYTHON' &
			import errno, socket, sys, time

			client = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
			client.settimeout(0.1)
			client.connect((sys.argv[1], int(sys.argv[2])))
			answered, end = 0, time.monotonic() + 20
			while time.monotonic() < end:
			    try:
			        client.send(b"who")
			        client.recv(100)
			        answered += 1
			        print("answered", flush=True)
			    except TimeoutError:
			        pass
			    except OSError as error:
			        print(errno.errorcode[error.errno], flush=True)
			        break
			    time.sleep(0.05)
		PYTHON
        local client=$!
        WORLD_PIDS+=("$client")
        wait_for 10 "an answer by UDP" grep -q answered "$WORLD/udp"
        grep -v 'proto=udp' "$WORLD/head" >"$WORLD/fewer"
        qube_rules work <"$WORLD/fewer"
        sluice_reload || fail "refused: $RELOAD_SAID"
        wait "$client" || fail "the UDP client ended with status $?"
        said=$(tail -n 1 "$WORLD/udp")
        case $host/$said in
        "$HOST/EHOSTUNREACH" | "$HOST6/EACCES") ok "UDP to $host that is no longer allowed: $said" ;;
        *) fail "UDP to $host that is no longer allowed: $said" ;;
        esac
    done
    (($(drops no-longer-allowed) > 0)) || fail "no-longer-allowed was not counted: $(counter drops)"
    qube_rules work <"$WORLD/head"
    sluice_reload || fail "refused: $RELOAD_SAID"
}

# --- changes that are not taken up --------------------------------------------------------------

# check_not_taken WHAT TEXT...: SIGHUP is answered with these texts, and nothing else happens.
check_not_taken() {
    local what=$1 text
    shift
    ! sluice_reload || fail "$what: taken up: $RELOAD_SAID"
    for text; do
        grep -qF -- "$text" <<<"$RELOAD_SAID" || fail "$what: no \"$text\" in: $RELOAD_SAID"
    done
    grep -qF 'what was in force stays in force' <<<"$RELOAD_SAID" || fail "$what: $RELOAD_SAID"
    [[ $(ask "$HOST" "$ECHO_PORT") == "$UPLINK "* ]] || fail "$what: nothing passes any more"
    [[ $(ask "$HOST" 20000) == EHOSTUNREACH ]] || fail "$what: too much passes"
    ok "$what: $(head -n 1 <<<"$RELOAD_SAID")"
}

check_errors() {
    local good=$WORLD/good.conf key section
    cp "$WORLD/sluice.conf" "$good"
    stream "$HOST" 6 >"$WORLD/stream4" 2>&1 &
    local streaming=$!
    WORLD_PIDS+=("$streaming")

    { cat "$WORLD/head" && echo "action=accept proto=tcp dstports=80443"; } | qube_rules work
    check_not_taken "an error in the rules" "$WORLD/work.rules:7: " "80443"
    rm "$WORLD/work.rules"
    check_not_taken "no rules file" "$WORLD/work.rules: "
    qube_rules work <"$WORLD/head"
    # what would be taken up must not be, as long as something else is wrong
    echo "action=accept proto=udp dstports=20000" >>"$WORLD/work.rules"
    { cat "$good" && echo "colour = blue"; } >"$WORLD/sluice.conf"
    check_not_taken "an unknown key" "$WORLD/sluice.conf:$(wc -l <"$WORLD/sluice.conf"): colour"
    : >"$WORLD/sluice.conf"
    check_not_taken "an empty configuration" "$WORLD/sluice.conf:1: "
    while read -r section key value; do
        cp "$good" "$WORLD/sluice.conf"
        sluice_set "$section" "$key" "$value"
        check_not_taken "another $key" "$WORLD/sluice.conf:" "$key: " "needs a restart of sluiced"
    done <<-KEYS
		sluice workers $((WORKERS + 1))
		sluice flows 4096
		sluice ports 9
	KEYS
    cp "$good" "$WORLD/sluice.conf"
    printf '%s\n' "[port more]" "device = kernel:vif9.0" "role = qube" "qube = more" \
        "[qube more]" "address = 10.137.0.99" >>"$WORLD/sluice.conf"
    check_not_taken "a port without its interface" "port more: device kernel:vif9.0: no such interface"

    cp "$good" "$WORLD/sluice.conf"
    qube_rules work <"$WORLD/head"
    sluice_reload || fail "mended, and still refused: $RELOAD_SAID"
    wait "$streaming" || fail "the stream ended with status $?: $(cat "$WORLD/stream4")"
    [[ $(lost "$WORLD/stream4") == 0 ]] || fail "datagrams were lost: $(cat "$WORLD/stream4")"
    ok "traffic meanwhile: $(cat "$WORLD/stream4")"
}

main() {
    world_up
    check_swaps
    check_reset
    check_udp_refused
    check_errors
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
}

main
