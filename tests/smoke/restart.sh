#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Connections outlive the firewall: sluiced is stopped and started again while qubes download, upload,
# ping and send datagrams, and all of it goes on from the same addresses and ports. A snapshot that is
# damaged is refused aloud, and one that a crash might have made stale is not there to be used.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

MEGABYTES=32
RATE=4 # MB/s: the transfers take longer than both restarts
SNAPSHOT=

# steady_clients.py download URL SECONDS: take the file at $RATE MB/s, and say its sha256, its length
#	and the longest time that nothing came. Gives up after so many seconds of nothing.
# steady_clients.py datagrams PORT TEXT: ten a second from that port, numbered, until it is ended.
clients_write() {
    cat >"$WORLD/steady_clients.py" <<-'PYTHON'
		import hashlib, os, socket, sys, time, urllib.parse

		def download(url, patience):
		    parts = urllib.parse.urlsplit(url)
		    rate = int(os.environ["RATE"]) * 1000000
		    server = socket.create_connection((parts.hostname, 80), timeout=10)
		    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
		    server.settimeout(patience)
		    server.sendall(f"GET {parts.path} HTTP/1.0\r\n\r\n".encode())
		    data = b""
		    while b"\r\n\r\n" not in data:
		        data += server.recv(65536)
		    head, data = data.split(b"\r\n\r\n", 1)
		    expected = int(head.lower().split(b"content-length:")[1].split()[0])
		    digest, received, stall = hashlib.sha256(data), len(data), 0.0
		    began = time.monotonic()
		    while received < expected:
		        asked = time.monotonic()
		        try:
		            data = server.recv(65536)
		        except TimeoutError:
		            sys.exit(f"nothing came for {patience} s, after {received} bytes")
		        stall = max(stall, time.monotonic() - asked)
		        if not data:
		            sys.exit(f"closed after {received} bytes")
		        digest.update(data)
		        received += len(data)
		        time.sleep(max(0, began + received / rate - time.monotonic()))
		        # time that was lost is not made up for
		        began = max(began, time.monotonic() - received / rate)
		    print(digest.hexdigest(), received, f"{stall:.2f}")

		def datagrams(port, text):
		    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		    sender.bind(("", port))
		    for number in range(1 << 30):
		        sender.sendto(f"{text} {number}".encode(), (os.environ["HOST"], 7000))
		        time.sleep(0.1)

		if sys.argv[1] == "download":
		    download(sys.argv[2], float(sys.argv[3]))
		else:
		    datagrams(int(sys.argv[2]), sys.argv[3])
	PYTHON
    export RATE HOST
}

# client NAME QUBE ARGUMENT...: one of them in the background; its pid goes to `client_pid`.
client() {
    local log=$WORLD/$1
    ip netns exec "$WORLD_NAME-$2" "$PYTHON" "$WORLD/steady_clients.py" "${@:3}" \
        >"$log" 2>"$log.err" </dev/null &
    client_pid=$!
    WORLD_PIDS+=("$client_pid")
}

seconds_since() {
    awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f", b - a }'
}

log_says() {
    grep -q "$1" "$WORLD/sluiced.log" || {
        grep snapshot "$WORLD/sluiced.log" >&2
        fail "$2: the log does not say \"$1\""
    }
}

# restart WHEN: stop in order and start again at once; the snapshot is there in between only.
restart() {
    local began=$EPOCHREALTIME stopped
    sluice_stop || fail "$1: sluiced ended with status $?"
    log_says 'snapshot: [1-9][0-9]* flows written' "$1"
    [[ $(stat -c %a "$SNAPSHOT") == 600 ]] || fail "$1: no snapshot, or one that others may read"
    stopped=$(seconds_since "$began")
    sluice_start
    log_says 'snapshot: [1-9][0-9]* flows taken up, 0 no longer valid' "$1"
    [[ ! -e $SNAPSHOT ]] || fail "$1: the snapshot is still there"
    echo "ok: $1: stopped in $stopped s, ready again after $(seconds_since "$began") s," \
        "$(sed -n 's/.*snapshot: \([0-9]* flows taken up\).*/\1/p' "$WORLD/sluiced.log")"
}

world_start() {
    world_create work personal
    qube_rules work <<<'policy=accept'
    qube_rules personal <<<'policy=accept'
    clients_write
    mkdir "$WORLD/www"
    echo "hello from the uplink host" >"$WORLD/www/index"
    head -c "${MEGABYTES}000000" /dev/urandom >"$WORLD/www/download"
    in_background "$WORLD/uplink_host.log" in_uplink "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/uplink_host.py" "$WORLD/www" 80 -- 7000
    wait_for 10 "the web server of the uplink host" test -e "$WORLD/www/ready"
    # The MACs of qubes are learned, and qubes do not say them again only because we were away.
    sluice_configure
    sed -i '/^mac = /d' "$WORLD/sluice.conf"
    rmdir "$WORLD/state"
    SNAPSHOT=$WORLD/state/flows.snapshot
    sluice_start
    [[ $(stat -c %a "$WORLD/state") == 700 ]] || fail "the state directory is not ours alone"
    local qube
    for qube in work personal; do
        in_qube "$qube" curl -sS --max-time 10 -o /dev/null "http://$HOST/" ||
            fail "$qube cannot talk to the uplink host"
        in_qube "$qube" ip neighbour replace "$GATEWAY" dev eth0 lladdr "$VIF_MAC" nud permanent
        in_qube "$qube" ip neighbour replace "$GATEWAY6" dev eth0 lladdr "$VIF_MAC" nud permanent
    done
}

# Which external ports the datagrams of a qube came from, and how many were missed.
datagram_ports() { awk -v q="$1" '$3 == q { print $2 }' "$WORLD/www/datagrams" | sort -u | tr '\n' ' '; }
datagrams_missed() {
    awk -v q="$1" '$3 == q { if (n++ && $4 != last + 1) missed += $4 - last - 1; last = $4 }
        END { print missed + 0, last + 0 }' "$WORLD/www/datagrams"
}

downloaded() {
    local digest length stall
    read -r digest length stall <"$WORLD/$1" || fail "$1: $(tail -n 1 "$WORLD/$1.err")"
    [[ $digest == "$(sha256sum <"$WORLD/www/download" | cut -d ' ' -f 1)" ]] ||
        fail "$1: $length bytes arrived, and not those that were sent"
    echo "ok: $1: whole after two restarts, longest stall $stall s"
}

everything_goes_on() {
    local pids=() before after
    client "download by IPv4" work download "http://$HOST/download" 20
    pids+=("$client_pid")
    client "download by IPv6" personal download "http://[$HOST6]/download" 20
    pids+=("$client_pid")
    in_qube work curl -sS --max-time 60 --limit-rate "${RATE}M" -T "$WORLD/www/download" \
        "http://$HOST/uploaded" >"$WORLD/upload" 2>&1 &
    pids+=($!)
    WORLD_PIDS+=($!)
    client "datagrams of work" work datagrams 5555 work
    sleep 0.3 # the port is work's
    client "datagrams of personal" personal datagrams 5555 personal
    in_qube work ping -q -i 0.05 -w 8 "$HOST" >"$WORLD/ping" 2>&1 &
    pids+=($!)
    WORLD_PIDS+=($!)

    sleep 2
    before=$(datagram_ports work)/$(datagram_ports personal)
    restart "restart in the middle of everything"
    restart "restart right after it"
    wait "${pids[0]}" || fail "download by IPv4: $(tail -n 1 "$WORLD/download by IPv4.err")"
    wait "${pids[1]}" || fail "download by IPv6: $(tail -n 1 "$WORLD/download by IPv6.err")"
    downloaded "download by IPv4"
    downloaded "download by IPv6"
    wait "${pids[2]}" || fail "upload: $(tail -n 1 "$WORLD/upload")"
    cmp -s "$WORLD/www/uploaded" "$WORLD/www/download" || fail "upload: what arrived differs"
    echo "ok: upload: whole after two restarts"
    wait "${pids[3]}" || true
    echo "ok: ping every 50 ms: $(grep -o '[0-9]* packets transmitted, [0-9]* received' "$WORLD/ping")"
    after=$(datagram_ports work)/$(datagram_ports personal)
    [[ $before == "5555 /"* && $before == "$after" && $(datagram_ports personal) != 5555* ]] ||
        fail "datagrams changed their external ports: $before, then $after"
    echo "ok: datagrams kept external ports $after: missed, sent $(datagrams_missed work);" \
        "$(datagrams_missed personal)"
    [[ $(drops mac-unknown) == 0 ]] || fail "the MAC of a qube was not known any more"
}

dropped() { (($(drops "$1") > 0)); }

# ends_without_snapshot END WHEN: a download that is under way when END ends sluiced must not go on
# when it is started again.
ends_without_snapshot() {
    local pid
    client "lost download" work download "http://$HOST/download" 3
    pid=$client_pid
    sleep 1
    "$1"
    sluice_start
    ! wait "$pid" || fail "$2: a connection went on that nobody could know of"
    grep -q '^nothing came' "$WORLD/lost download.err" ||
        fail "$2: $(tail -n 1 "$WORLD/lost download.err")"
    # the server tries again, but each time later
    wait_for 15 "$2: its segments were not dropped for want of a flow" dropped no-flow
    # nor is its MAC known: it has to ask for ours, as it does when it hears nothing for a while
    in_qube work ip neighbour delete "$GATEWAY" dev eth0 2>/dev/null || true
    [[ $(in_qube work curl -sS --max-time 10 "http://$HOST/") == "hello from the uplink host" ]] ||
        fail "$2: new connections do not pass"
    [[ ! -e $SNAPSHOT ]] || fail "$2: there is a snapshot"
}

stop_and_damage() {
    sluice_stop || fail "sluiced ended with status $?"
    local size
    size=$(stat -c %s "$SNAPSHOT")
    # one bit of the last flow
    "$PYTHON" - "$SNAPSHOT" "$((size - 60))" <<-'PYTHON'
		import sys
		with open(sys.argv[1], "r+b") as file:
		    file.seek(int(sys.argv[2]))
		    byte = file.read(1)[0]
		    file.seek(int(sys.argv[2]))
		    file.write(bytes([byte ^ 16]))
	PYTHON
}

stop_and_kill() {
    sluice_stop KILL 2>/dev/null && fail "sluiced survived kill -9"
    [[ ! -e $SNAPSHOT ]] || fail "kill -9: an old snapshot was left to be used"
}

main() {
    world_require curl ping cmp sha256sum
    world_start
    everything_goes_on

    ends_without_snapshot stop_and_damage "damaged snapshot"
    log_says "flows.snapshot is not used: its checksum is wrong; it is now .*flows.snapshot.damaged" \
        "damaged snapshot"
    [[ -e $SNAPSHOT.damaged ]] || fail "a damaged snapshot is not kept to be looked at"
    echo "ok: a damaged snapshot is refused and said so, nothing of it is used"

    ends_without_snapshot stop_and_kill "kill -9"
    ! grep -q snapshot "$WORLD/sluiced.log" || fail "kill -9: $(grep snapshot "$WORLD/sluiced.log")"
    echo "ok: kill -9 leaves no snapshot that would be stale"

    # where none can be written there is a line about it, and all else is in order
    sluice_stop || fail "sluiced ended with status $?"
    sed -i "s|^state-dir = .*|state-dir = $WORLD/sluice.conf|" "$WORLD/sluice.conf"
    sluice_start
    sluice_stop || fail "sluiced without a state directory ended with status $?"
    log_says 'flows.snapshot cannot be written: Not a directory' "no state directory"
    echo "ok: without a state directory: said so, and started and stopped as ever"
}

main
