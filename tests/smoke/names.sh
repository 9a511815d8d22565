#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Names in rules, with a real resolver beyond the uplink: addresses are found without the qube asking
# and learned when it asks; a name moves, and its connections live on; the resolver is another one
# after a reload; names that cannot be, or are not yet, keep nobody else from anything.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

# what `web` and others may be told to be
WEB=192.0.2.7 MOVED=192.0.2.8 FRESH=192.0.2.9 LATE=192.0.2.10 ELSEWHERE=192.0.2.11
# of a name that is not asked for again for an hour
STEADY=192.0.2.12
WEB6=2606:4700:7::1
OTHER_RESOLVER=192.168.50.3
# seconds that an address lasts beyond its TTL, which is one
NAME_SECONDS=2

FAKE=$WORLD_ROOT/tests/smoke/fake_qubesdb.py

# published NAME: what QubesDB has for a name of qube work
published() { "$PYTHON" -SE "$FAKE" "$WORLD/dom0.sock" read "/dns/$(qube_address work)/$1"; }

publishes() { [[ $(published "$1") == "$2" ]]; }

publishes_with() { [[ " $(published "$1") " == *" $2 "* ]]; }

hosts() { printf '%s\n' "$@" >"$WORLD/hosts"; }

hosts_changed() { kill -s HUP "$(<"$WORLD/dnsmasq.pid")"; }

resolver_start() {
    local hosts=$1 address=$2 pid=$3
    in_uplink dnsmasq --conf-file=/dev/null --no-resolv --no-hosts --addn-hosts="$hosts" \
        --local=/test/ --local-ttl=1 --host-record="steady.test,$STEADY,3600" --bind-interfaces --listen-address="$address" \
        --pid-file="$pid" --log-facility="$WORLD/dnsmasq.log" --user=root
}

world_up() {
    world_require curl dig dnsmasq
    world_create work personal
    mkdir "$WORLD/www"
    for address in "$WEB" "$MOVED" "$FRESH" "$LATE" "$ELSEWHERE" "$STEADY"; do
        in_uplink ip address add "$address/32" dev lo
    done
    in_uplink ip address add "$WEB6/128" dev lo
    in_uplink ip address add "$OTHER_RESOLVER/24" dev eth0
    in_background "$WORLD/servers.out" in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/echo_server.py" \
        "$WORLD/servers" tcp:80
    hosts "$WEB web.test" "$WEB6 web.test"
    resolver_start "$WORLD/hosts" "$HOST" "$WORLD/dnsmasq.pid"
    qube_rules work <<-RULES
		policy=drop
		action=accept dsthost=web.test proto=tcp dstports=80
		action=accept dsthost=.
		action=accept dsthost=a..b
		action=accept dsthost= proto=tcp
		action=accept specialtarget=dns
		action=accept dsthost=fresh.test proto=tcp dstports=80
		action=accept dsthost=late.test proto=tcp dstports=80
		action=accept dsthost=steady.test. proto=tcp dstports=80
		action=accept proto=icmp
	RULES
    wait_for 10 "the server" grep -q ready "$WORLD/servers"
    in_background "$WORLD/qubesdb.log" "$PYTHON" "$FAKE" serve "$WORLD/qubesdb.sock" "$WORLD/dom0.sock"
    wait_for 10 "the daemon of QubesDB" grep -q ready "$WORLD/qubesdb.log"
    sluice_configure '[timeouts]' "name = $NAME_SECONDS" '[qubes]' "qubesdb = $WORLD/qubesdb.sock"
    sluice_start
}

# reaches ADDRESS [QUBE]: one attempt, which is refused at once or answered
reaches() {
    in_qube "${2:-work}" "$PYTHON" -c '
import socket, sys
with socket.create_connection((sys.argv[1], 80), timeout=2) as connection:
    connection.sendall(b"GET /who HTTP/1.0\r\n\r\n")
    sys.exit(b" 200 " not in connection.recv(100))' "$1" 2>/dev/null
}

reaches_not() { ! reaches "$@"; }

check_resolved() {
    wait_for 8 "web.test found out" reaches "$WEB"
    wait_for 4 "web.test found out by IPv6" reaches "$WEB6"
    reaches_not "$MOVED" || fail "an address of no name is reached"
    "$BUILD/app/sluicectl" --socket "$WORLD/control.sock" rules show work >"$WORLD/shown"
    grep -q "= $WEB $WEB6" "$WORLD/shown" || fail "rules show has no addresses: $(<"$WORLD/shown")"
    (($(grep -c 'no address known' "$WORLD/shown") >= 3)) || fail "$(<"$WORLD/shown")"
    "$BUILD/app/sluicectl" --socket "$WORLD/control.sock" explain from=work dst="$WEB" proto=tcp \
        dport=80 >"$WORLD/shown"
    grep -q "name web.test = $WEB" "$WORLD/shown" || fail "not explained: $(<"$WORLD/shown")"
    wait_for 3 "an event" grep -q 'event=name.*name=web.test' "$WORLD/sluiced.log"
    wait_for 3 "web.test in QubesDB" publishes web.test "$WEB"
    ok "a name is found out without the qube asking, beside names that cannot be"
}

# Another qube comes to a name that the resolver has been asked for, and would not be for an hour.
check_shared() {
    local sluicectl=("$BUILD/app/sluicectl" --socket "$WORLD/control.sock")

    wait_for 8 "steady.test found out" reaches "$STEADY"
    reaches_not "$STEADY" personal || fail "a qube gets in by the rules of another one"
    "${sluicectl[@]}" rules add personal "action=accept dsthost=steady.test proto=tcp dstports=80" \
        >/dev/null || fail "no rule added"
    wait_for 3 "steady.test for the other qube" reaches "$STEADY" personal
    # and a qube whose rules are without it for a while
    "${sluicectl[@]}" rules delete personal "action=accept dsthost=steady.test proto=tcp dstports=80" \
        >/dev/null || fail "no rule removed"
    wait_for 3 "steady.test refused to the other qube" reaches_not "$STEADY" personal
    "${sluicectl[@]}" rules add personal "action=accept dsthost=steady.test proto=tcp dstports=80" \
        >/dev/null || fail "no rule added"
    wait_for 3 "steady.test for the other qube again" reaches "$STEADY" personal
    ok "a name that another qube has had before is found out at once"
}

# A connection that stays: what it sends comes back as long as it may.
connection_open() {
    mkfifo "$WORLD/lines"
    in_background "$WORLD/echoed" in_qube work "$PYTHON" -u -c '
import socket, sys
connection = socket.create_connection((sys.argv[1], 80), timeout=5)
answers = connection.makefile("rb")
print("ready")
for line in open(sys.argv[2]):
    connection.sendall(b"GET /who HTTP/1.1\r\nHost: web.test\r\n\r\n")
    status, length = answers.readline().decode().split()[1], 0
    # head and body may come apart
    while (header := answers.readline().decode().strip()):
        if header.lower().startswith("content-length:"):
            length = int(header.split(":")[1])
    answers.read(length)
    print(line.strip(), status)' "$WEB" "$WORLD/lines"
    exec 9>"$WORLD/lines"
    wait_for 5 "a connection" grep -q ready "$WORLD/echoed"
}

connection_lives() {
    echo "$1" >&9
    wait_for 3 "the connection ($1)" grep -q "$1 200" "$WORLD/echoed"
}

check_moved() {
    connection_open
    hosts "$MOVED web.test"
    hosts_changed
    wait_for 6 "web.test at its new address" reaches "$MOVED"
    wait_for 6 "the old address refused" reaches_not "$WEB"
    wait_for 6 "the old address refused by IPv6" reaches_not "$WEB6"
    wait_for 3 "web.test in QubesDB" publishes_with web.test "$MOVED"
    connection_lives one
    # other rules, by which it is judged again
    "$BUILD/app/sluicectl" --socket "$WORLD/control.sock" rules add work \
        "action=accept dsthost=more.test" >/dev/null || fail "no rule added"
    connection_lives two
    reaches "$MOVED" || fail "a change of rules has forgotten an address"
    reaches_not "$WEB" || fail "a change of rules has brought an address back"
    ok "a name moves: new connections go along, open ones live on"
}

# NXDOMAIN at first, for seconds.
check_learned() {
    sleep 1
    reaches_not "$FRESH" || fail "fresh.test is reached before it is there"
    hosts "$MOVED web.test" "$FRESH fresh.test"
    hosts_changed
    # dnsmasq needs a moment to read them
    wait_for 5 "an answer" in_uplink_knows fresh.test "$FRESH"
    in_qube work dig +short +tries=1 +time=2 "@${VIRTUAL_DNS[0]}" fresh.test >"$WORLD/dug"
    reaches "$FRESH" || fail "what the qube was just told does not hold: $(<"$WORLD/dug")"
    [[ $(<"$WORLD/dug") == "$FRESH" ]] || fail "dig says $(<"$WORLD/dug")"
    (($(counter dns_answers_learned) > 0)) || fail "no answer was learned"
    ok "what a qube is told holds for its next packet"
}

in_uplink_knows() { [[ $(in_uplink dig +short +tries=1 +time=1 "@$HOST" "$1") == "$2" ]]; }

check_late() {
    hosts "$MOVED web.test" "$FRESH fresh.test" "$LATE late.test"
    hosts_changed
    # asked for after 1, 2, 4, 8, ... seconds
    wait_for 20 "late.test, once it was there" reaches "$LATE"
    ok "a name that was not there is found when it is"
}

check_other_resolver() {
    printf '%s\n' "$ELSEWHERE web.test" >"$WORLD/other-hosts"
    resolver_start "$WORLD/other-hosts" "$OTHER_RESOLVER" "$WORLD/other.pid"
    reaches_not "$ELSEWHERE" || fail "the other resolver was asked already"
    sluice_set 'port uplink' dns "$OTHER_RESOLVER"
    sluice_reload || fail "not taken up: $RELOAD_SAID"
    wait_for 5 "web.test by the other resolver" reaches "$ELSEWHERE"
    wait_for 6 "what the old one has said is over" reaches_not "$MOVED"
    ok "another resolver after a reload"
}

world_up
check_resolved
check_shared
check_moved
check_learned
check_late
check_other_resolver
# names of nobody's rules: the other qube has none of it
in_qube personal curl -sS -m 2 "http://$ELSEWHERE/" >/dev/null 2>&1 && fail "another qube gets in"
sluice_stop || fail "sluiced ends with status $?"
ok "stopped"
