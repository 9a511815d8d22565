#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The control socket and its clients: wrong, many, slow, gone. None of them harms the others, nor
# the packets that pass meanwhile.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

# hello_as GROUP...: what somebody in these groups may do: change, look, or nothing.
hello_as() {
    setpriv --reuid 65534 --regid "$1" --groups "${*: -1}" "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/control.py" "$WORLD/control.sock" hello access 2>&1 | tail -n 1
}

# code_as GROUP METHOD: the error somebody in this group gets for a method, none for a result.
code_as() {
    local answer
    answer=$(setpriv --reuid 65534 --regid 65534 --groups "$1" "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/control.py" "$WORLD/control.sock" "$2" 2>&1 || true)
    grep -oE -- "'code': -[0-9]+" <<<"$answer" || echo none
}

# who may what, by the groups of the peer
permissions() {
    local access
    chmod 711 "$WORLD"
    [[ $(stat -c %a "$WORLD/control.sock") == 666 ]] || fail "members of two groups cannot connect"
    for access in "64001 64001=change" "65534 64001=change" "64002 64002=look" \
        "65534 64002=look" "64002 64001=change"; do
        # shellcheck disable=SC2086  # a list of words
        [[ $(hello_as ${access%=*}) == "\"${access#*=}\"" ]] ||
            fail "groups ${access%=*} may not ${access#*=}: $(hello_as ${access%=*})"
    done
    [[ $(hello_as 65534 64003) == *"'code': -32002"* ]] ||
        fail "a stranger is not turned away: $(hello_as 65534 64003)"
    [[ $(code_as 64002 rules.add) == *-32002 ]] || fail "who may look may change things"
    [[ $(code_as 64002 capture) == *-32002 ]] || fail "who may look may see what packets carry"
    [[ $(code_as 64001 rules.add) != *-32002 ]] || fail "who may change things may not"
    echo "ok:   the groups of a peer say what it may"

    # places of their own for who may change things
    setpriv --reuid 65534 --regid 64002 --clear-groups "$PYTHON" - "$WORLD/control.sock" <<-'END' &
	import socket, sys, time
	clients = []
	for _ in range(80):
	    clients.append(socket.socket(socket.AF_UNIX))
	    clients[-1].connect(sys.argv[1])
	time.sleep(60)
	END
    local looker=$!
    WORLD_PIDS+=("$looker")
    wait_for 5 "lookers to take their places" many_look
    [[ $(hello_as 64001) == '"change"' ]] || fail "lookers have taken all places: $(hello_as 64001)"
    kill "$looker"
    wait "$looker" || true
    echo "ok:   who may only look leaves places for who may change things"
}

cpu_ticks() { awk '{ print $14 + $15 }' "/proc/$FIREWALL_PID/stat"; }
open_files() { find "/proc/$FIREWALL_PID/fd" -mindepth 1 | wc -l; }

# Without descriptors whoever connects waits; nobody spins, and the others are served.
descriptors() {
    local before ticks waiting=40
    prlimit --pid "$FIREWALL_PID" --nofile=$(($(open_files) + 10))
    "$PYTHON" - "$WORLD/control.sock" "$waiting" >"$WORLD/waiting.log" <<-'END' &
	import socket, sys
	hello = b'{"jsonrpc":"2.0","id":1,"method":"hello"}\n'
	clients = []
	for _ in range(int(sys.argv[2])):
	    client = socket.socket(socket.AF_UNIX)
	    client.connect(sys.argv[1])
	    client.sendall(hello)
	    clients.append(client)
	clients[0].recv(4096)
	clients[0].sendall(hello)
	print("served" if clients[0].recv(4096) else "gone", flush=True)
	clients[0].close()
	for client in clients[1:]:
	    client.recv(4096)
	    client.close()
	print("all", flush=True)
	END
    local client=$!
    WORLD_PIDS+=("$client")
    wait_for 5 "who had a place is served" grep -q served "$WORLD/waiting.log"
    wait_for 5 "a word about descriptors" \
        grep -q 'cannot accept: Too many open files' "$WORLD/sluiced.log"
    before=$(grep -c 'cannot accept' "$WORLD/sluiced.log")
    wait_for 30 "those who had to wait" grep -q all "$WORLD/waiting.log"
    (($(grep -c 'cannot accept' "$WORLD/sluiced.log") - before < 30)) || fail "the log is flooded"
    wait "$client" || fail "a client that had to wait was not served"
    ticks=$(cpu_ticks)
    sleep 0.5
    ticks=$(($(cpu_ticks) - ticks))
    ((ticks < 25)) || fail "it spins: $ticks ticks in half a second"
    echo "ok:   without descriptors clients wait, and are served when there are some"
}

many_look() { [[ $(hello_as 64002) == *"'code': -32004"* ]]; }

main() {
    world_require ping setpriv prlimit
    world_create work
    qube_rules work <<<'policy=accept'
    sluice_start
    [[ $(stat -c %a "$WORLD/control.sock") == 600 ]] || fail "the socket is not root's alone"

    # what passes while clients misbehave must not suffer
    in_background "$WORLD/ping.log" ip netns exec "$WORLD_NAME-work" ping -i 0.02 "$HOST"
    local pinger=$!
    "$PYTHON" "$WORLD_ROOT/tests/smoke/control_clients.py" "$WORLD/control.sock" ||
        fail "see above"
    kill -s INT "$pinger"
    wait "$pinger" || true
    grep -q ' 0% packet loss' "$WORLD/ping.log" ||
        fail "packets were lost meanwhile: $(grep 'packet loss' "$WORLD/ping.log")"
    echo "ok:   no packet was lost meanwhile"

    # a second one does not take the socket away
    ! ip netns exec "$WORLD_NAME-fw" "$BUILD/app/sluiced" --config "$WORLD/sluice.conf" \
        >"$WORLD/second.log" 2>&1 || fail "a second sluiced started on the same socket"
    [[ $(drops rule) == 0 ]] || fail "the first sluiced does not answer any more"
    echo "ok:   a second sluiced is refused: $(tail -n 1 "$WORLD/second.log")"

    # a stale socket is replaced, and a clean end leaves none
    sluice_stop KILL || true
    [[ -S $WORLD/control.sock ]] || fail "this test shows nothing: no stale socket"
    sluice_start
    [[ $(drops rule) == 0 ]] || fail "no answer after a stale socket"
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
    [[ ! -e $WORLD/control.sock ]] || fail "the socket is still there"
    echo "ok:   a stale socket is replaced, a clean end leaves none"

    # what is no socket is not ours to remove
    echo precious >"$WORLD/control.sock"
    ! ip netns exec "$WORLD_NAME-fw" "$BUILD/app/sluiced" --config "$WORLD/sluice.conf" \
        >"$WORLD/second.log" 2>&1 || fail "sluiced started in the place of a file"
    [[ $(<"$WORLD/control.sock") == precious ]] || fail "a file was removed"
    rm "$WORLD/control.sock"
    echo "ok:   a file that is no socket stays: $(tail -n 1 "$WORLD/second.log")"

    sluice_set sluice group 64001
    sluice_start
    [[ $(stat -c %a:%g "$WORLD/control.sock") == 660:64001 ]] ||
        fail "members of the group cannot connect"
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
    sluice_set sluice look-group 64002
    sluice_start
    permissions
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
    sluice_start
    descriptors
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
}

main
