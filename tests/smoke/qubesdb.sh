#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# QubesDB as the source of rules and settings: a fake daemon of it with dom0 behind it, a running
# sluiced, qubes that try what they may. What a bad tree does, row by row; changes under traffic;
# both families; the counter that dom0 waits for; clients that are nobody else's; a daemon that is
# rude, that goes and comes back, and that is not there at all.
#
#   SECONDS_LONG=60    rules change for so long, a second without it; and more kinds of rudeness
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

SECONDS_LONG=${SECONDS_LONG:-1}
FAKE=$WORLD_ROOT/tests/smoke/fake_qubesdb.py
ECHO_PORT=7001 STREAM_PORT=7000
AWAY=10.137.0.99 # a client that is powered off
MANY=1000        # rules of one commit
# sockets that have sent hear 3/13 as EHOSTUNREACH, 1/1 as EACCES
REFUSED4=EHOSTUNREACH REFUSED6=EACCES

qubesdb_start() {
    in_background "$WORLD/qubesdb.log" "$PYTHON" "$FAKE" serve "$WORLD/qubesdb.sock" "$WORLD/dom0.sock"
    wait_for 10 "the daemon of QubesDB" grep -q ready "$WORLD/qubesdb.log"
}

# dom0 COMMAND...: see fake_qubesdb.py
dom0() { "$PYTHON" -SE "$FAKE" "$WORLD/dom0.sock" "$@"; }

# commit ADDRESS POLICY [RULE...]: as dom0 does, and wait until it has been handled
commit() { dom0 commit 10 "$@" >/dev/null || fail "commit of $*: $(tail -n 3 "$WORLD/sluiced.log")"; }

# expect QUBE ANSWER ADDRESS PORT: what it hears when it asks there
expect() {
    local said
    said=$(in_qube "$1" "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_ask.py" --wait "${PATIENCE:-3}" \
        "${@:3}") || true
    # shellcheck disable=SC2053  # a pattern
    [[ $said == $2 ]] ||
        fail "qube $1 asks ${*:3}: \"$said\", not \"$2\"; log: $(tail -n 5 "$WORLD/sluiced.log")"
}

# The same for wait_for: what is not so yet ends nothing.
hears() { (expect "$@"); }

log_lines() { wc -l <"$WORLD/sluiced.log"; }

rpc() { "$PYTHON" "$WORLD_ROOT/tests/smoke/rpc.py" "$WORLD/control.sock" "$@"; }

world_up() {
    world_require awk
    world_create work personal
    WORK=$(qube_address work) WORK6=$(qube_address6 work) PERSONAL=$(qube_address personal)
    ECHO4="action=accept dst4=$HOST/32 proto=udp dstports=$STREAM_PORT-$ECHO_PORT"
    ECHO6="action=accept dst6=$HOST6/128 proto=udp dstports=$STREAM_PORT-$ECHO_PORT"
    in_background /dev/null in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/echo_server.py" \
        "$WORLD/echo.log" "udp:$ECHO_PORT"
    in_background "$WORLD/stream.log" in_uplink "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/udp_stream.py" serve "$STREAM_PORT"
    wait_for 10 "the server" grep -q ready "$WORLD/echo.log"
    sluice_configure "[qubes]" "qubesdb = $WORLD/qubesdb.sock" "qubesdb-forwards = yes"
    sed -i '/^rules = /d' "$WORLD/sluice.conf" # they come from QubesDB
}

# Without QubesDB sluiced starts all the same; nobody has rules, and nobody gets an answer.
check_alone() {
    local silent
    firewall_start
    silent=$(drops no-rules)
    PATIENCE=1 expect work silence "$HOST" "$ECHO_PORT"
    (($(drops no-rules) > silent)) || fail "no-rules was not counted: $(counter drops)"
    qubesdb_start
    dom0 rules "$WORK" drop "$ECHO4"
    dom0 write /connected-ips "$WORK $PERSONAL $AWAY"
    wait_for 10 "QubesDB" dom0 wait "$WORK" 0 0
    expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
    expect work "$REFUSED4" "$HOST" 7777
    [[ $(dom0 read /features-request/qubes-firewall) == 1 ]] || fail "the feature was not requested"
    ok "QubesDB is not there: silence; it comes: its rules are in force"
    sluice_stop || fail "sluiced ended with status $?"
    firewall_start
    # no waiting: what was there before sluiced is in force before it is ready
    expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
    PATIENCE=1 expect personal silence "$HOST" "$ECHO_PORT"
    ok "rules that were there before sluiced; a qube without a tree hears nothing"
    dom0 write /qubes-service/qubes-firewall 0
    dom0 rm /features-request/qubes-firewall
    dom0 restart
    wait_for 5 "the new connection" sluice_said 0 'QubesDB: connected'
    commit "$WORK" drop "$ECHO4"
    [[ -z $(dom0 read /features-request/qubes-firewall) ]] || fail "requested what is switched off"
    dom0 rm /qubes-service/qubes-firewall
    commit "$PERSONAL" drop "$ECHO4"
}

# --- what a bad tree does -----------------------------------------------------------------------

# bad REASON POLICY [RULE...]: all is refused, also what a rule that is good allows; the log says why
bad() {
    local reason=$1 before
    before=$(log_lines)
    commit "$WORK" "${@:2}"
    expect work "$REFUSED4" "$HOST" "$ECHO_PORT"
    sluice_said "$before" "event=rules-refused qube=work address=$WORK" ||
        fail "${*:2}: no event: $(tail -n 3 "$WORLD/sluiced.log")"
    tail -n "+$((before + 1))" "$WORLD/sluiced.log" | grep -qF -- "$reason" ||
        fail "${*:2}: \"$reason\" is not in: $(tail -n "+$((before + 1))" "$WORLD/sluiced.log")"
}

check_bad() {
    local key before rows
    in_background "$WORLD/events" "$PYTHON" -uc '
import sys; sys.path.insert(0, sys.argv[1])
from rpc import Rpc
events = Rpc(sys.argv[2], timeout=100)
events.connection.sendall(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"events\",\"params\":{\"kinds\":[\"rules-refused\"]}}\n"
    b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"hello\",\"params\":{}}\n")
for line in events.answers:
    print(line.decode().strip())
' "$WORLD_ROOT/tests/smoke" "$WORLD/control.sock"
    wait_for 5 "the subscription" grep -q '"id": *2' "$WORLD/events"
    rows=$(in_qube work "$PYTHON" "$WORLD_ROOT/tests/smoke/qubesdb_rows.py" "$WORLD/dom0.sock" \
        "$WORLD/sluiced.log" "$WORK" "$HOST" "$ECHO_PORT" "$ECHO4" <<-RULES
		action=accept colour=blue|syntax: unknown key "colour"
		action=accept proto=udp proto=udp|proto: stands twice in one rule
		proto=udp|action: missing
		action=reject|action: "reject"
		action=accept  proto=udp|syntax: a rule is KEY=VALUE tokens with one space
		action=accept udp|syntax: "udp" has no "="
		action=accept proto=u=dp|syntax: "proto=u=dp" has more than one "="
		action=accept proto=17|proto: "17" is not allowed
		action=accept dst6=$HOST6/128|dst6: not allowed among the rules of an IPv4 address
		action=accept dstports=53|dstports: needs proto=tcp or proto=udp
		action=accept icmptype=8|icmptype: needs proto=icmp
		action=accept specialtarget=dns dstports=54 proto=udp|specialtarget: dns is port 53
		action=accept proto=udp dstports=80443|dstports: 80443 is over 65535
	RULES
    ) || fail "a bad rule: see above"
    [[ $rows == 13 ]] || fail "$rows bad rules were tried"
    expect personal "$UPLINK *" "$HOST" "$ECHO_PORT"
    for key in 00003 x003; do
        commit "$WORK" drop "$ECHO4"
        before=$(log_lines)
        dom0 write "/qubes-firewall/$WORK/$key" "action=accept"
        dom0 write "/qubes-firewall/$WORK" ""
        wait_for 5 "a refusal" sluice_said "$before" "$key: the key of a rule has four digits"
        expect work "$REFUSED4" "$HOST" "$ECHO_PORT"
    done
    bad "/qubes-firewall/$WORK/policy: missing" "" # the commit marker alone
    bad "/qubes-firewall/$WORK/policy: missing" "" "$ECHO4"
    bad "policy: is not a policy; allowed: drop, accept" reject "$ECHO4"
    commit "$WORK" accept
    expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
    expect work ECONNREFUSED "$HOST" 7777
    # a name that does not resolve, or cannot, is no error
    commit "$WORK" drop "action=accept dsthost=nowhere.invalid" "action=accept dsthost=." \
        "action=accept dsthost=a..b" "action=accept dsthost=" "$ECHO4"
    expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
    expect work "$REFUSED4" "$HOST" 7777
    (($(grep -c '"kind": *"rules-refused"' "$WORLD/events") == 18)) ||
        fail "$(wc -l <"$WORLD/events") events: $(tail -n 1 "$WORLD/events")"
    ok "every way in which a tree can be bad refuses its qube everything, with the key and the reason"
}

# --- commits ------------------------------------------------------------------------------------

check_commits() {
    local before after
    # nothing counts before the marker, nor what was never committed
    commit "$WORK" drop "$ECHO4"
    before=$(dom0 handled "$WORK")
    dom0 rm "/qubes-firewall/$WORK/"
    dom0 write "/qubes-firewall/$WORK/policy" drop
    sleep 0.2
    expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
    [[ $(dom0 handled "$WORK") == "$before" ]] || fail "handled before it was committed"
    dom0 write "/qubes-firewall/$WORK" ""
    wait_for 5 "the commit" dom0 wait "$WORK" "$before" 0
    expect work "$REFUSED4" "$HOST" "$ECHO_PORT"
    # many at once: the last one is in force, and all of them count
    before=$(dom0 handled "$WORK")
    for ((i = 0; i < 50; i++)); do
        echo "rules|$WORK|drop|action=accept dst4=$HOST/32 proto=udp dstports=$((20000 + i))"
        echo "rules|$PERSONAL|drop|$ECHO4"
    done >"$WORLD/commits"
    echo "rules|$WORK|drop|$ECHO4" >>"$WORLD/commits"
    dom0 load "$WORLD/commits"
    wait_for 10 "51 commits" counted "$WORK" $((before + 51))
    after=$(dom0 handled "$WORK")
    expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
    expect work "$REFUSED4" "$HOST" 20049
    sleep 0.3
    [[ $(dom0 handled "$WORK") == "$after" ]] || fail "something is handled that was not committed"
    # a counter that is none begins anew
    dom0 write "/qubes-firewall-handled/$WORK" nonsense
    dom0 rules "$WORK" drop "$ECHO4"
    wait_for 5 "a new counter" counted "$WORK" 1
    # where the rules in force come from
    dom0 rules "$WORK" drop "$ECHO4" "" "" "action=accept proto=icmp"
    wait_for 5 "the commit" counted "$WORK" 2
    rpc rules.get '{"qube": "work"}' >"$WORLD/rules"
    grep -q '"qubesdb:0003"\|"qubesdb 0003"' "$WORLD/rules" || fail "origin: $(cat "$WORLD/rules")"
    ok "commits: 51 at once are counted and the last is in force; nothing is before its marker"
}

counted() { (($(dom0 handled "$1") == $2)); }

check_families() {
    PATIENCE=1 expect work silence "$HOST6" "$ECHO_PORT"
    commit "$WORK6" drop "$ECHO6"
    expect work "$UPLINK6 *" "$HOST6" "$ECHO_PORT"
    expect work "$REFUSED6" "$HOST6" 7777
    expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
    # a bad tree of one family is nothing to the other
    commit "$WORK6" drop "$ECHO4"
    expect work "$REFUSED6" "$HOST6" "$ECHO_PORT"
    expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
    commit "$WORK" drop
    commit "$WORK6" drop "$ECHO6" "action=accept proto=icmp icmptype=128"
    expect work "$REFUSED4" "$HOST" "$ECHO_PORT"
    expect work "$UPLINK6 *" "$HOST6" "$ECHO_PORT"
    in_qube work ping -q -c 1 -W 2 "$HOST6" >/dev/null || fail "ping by IPv6"
    # a family whose tree goes is silent
    dom0 rm "/qubes-firewall/$WORK6/"
    dom0 rm "/qubes-firewall/$WORK6"
    wait_for 5 "silence" silent6
    commit "$WORK" drop "$ECHO4"
    ok "two families, each with a tree of its own"
}

silent6() { PATIENCE=0.5 hears work silence "$HOST6" "$ECHO_PORT"; }

check_live() {
    local round=0 end stream
    in_qube work "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_stream.py" "$HOST" "$STREAM_PORT" 500 \
        $((SECONDS_LONG + 1)) >"$WORLD/lost" 2>&1 &
    stream=$!
    WORLD_PIDS+=("$stream")
    end=$((SECONDS + SECONDS_LONG))
    while ((SECONDS < end)); do
        round=$((round + 1))
        commit "$WORK" drop "action=drop dst4=192.0.2.$((round % 250))" "$ECHO4"
    done
    wait "$stream" || fail "the stream ended: $(cat "$WORLD/lost")"
    grep -q 'lost there 0, lost back 0' "$WORLD/lost" || fail "under traffic: $(cat "$WORLD/lost")"
    ok "$round commits under traffic: $(cat "$WORLD/lost")"
}

# --- settings -----------------------------------------------------------------------------------

check_clients() {
    local before
    expect work "$UPLINK *" "$HOST" "$ECHO_PORT" # the host knows our MAC from here on
    in_uplink ip address add "$AWAY/32" dev lo
    before=$(drops downstream-source)
    ! in_uplink ping -q -c 1 -W 0.3 -I "$AWAY" "$UPLINK" >/dev/null || fail "answered $AWAY on the uplink"
    (($(drops downstream-source) > before)) || fail "downstream-source: $(counter drops)"
    commit "$WORK" accept
    before=$(drops inter-qube)
    PATIENCE=0.5 expect work silence "$AWAY" "$ECHO_PORT"
    (($(drops inter-qube) > before)) || fail "inter-qube: $(counter drops)"
    # not a client: an address like any other
    dom0 write /connected-ips "$WORK $PERSONAL"
    wait_for 5 "the new list" in_qube work ping -q -c 1 -W 0.5 "$AWAY"
    # one that has rules and goes is forgotten with its rules, after a while
    commit "$AWAY" drop "$ECHO4"
    before=$(log_lines)
    dom0 write /connected-ips "$WORK nonsense $PERSONAL"
    wait_for 15 "the rules of who has gone" sluice_said "$before" "QubesDB: $AWAY is no client any more"
    sluice_said "$before" 'connected-ips: address "nonsense" is none of that family' ||
        fail "nonsense was taken for an address"
    in_uplink ip address del "$AWAY/32" dev lo
    commit "$WORK" drop "$ECHO4"
    ok "the addresses of clients are nobody else's, and who has gone is forgotten"
}

# dom0 lists clients by the address that they take for their own, and says for every client which that
# is; it takes neither that nor rules away, whoever goes.
check_visible() {
    local before i
    before=$(log_lines)
    printf '%s\n' "write|/mapped-ip/$WORK/visible-gateway|$GATEWAY" \
        "write|/mapped-ip/$WORK/visible-ip|$WORK" \
        "write|/mapped-ip/$AWAY/visible-gateway|192.168.7.1" \
        "write|/mapped-ip/$AWAY/visible-ip|192.168.7.5" \
        "write|/connected-ips|$WORK $PERSONAL 192.168.7.5 $UPLINK" \
        "rules|$AWAY|drop|$ECHO4" >"$WORLD/commits"
    dom0 load "$WORLD/commits"
    commit "$PERSONAL" drop "$ECHO4"
    ! sluice_said "$before" 'cannot be put in force' || fail "settings: $(tail -n 3 "$WORLD/sluiced.log")"
    [[ $("$BUILD/app/sluicectl" --socket "$WORLD/control.sock" status) != *"sees $WORK"* ]] ||
        fail "a qube that takes its own address for its own is mapped"
    expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
    sleep 5
    ! sluice_said "$before" "QubesDB: $AWAY is no client any more" ||
        fail "the rules of a client that is listed by another address are forgotten"
    # what more than a thousand disposables have left behind is no news to the next start
    for ((i = 0; i < 1100; i++)); do
        echo "rules|10.138.$((i / 250)).$((i % 250 + 1))|drop|$ECHO4"
        echo "write|/mapped-ip/10.138.$((i / 250)).$((i % 250 + 1))/visible-gateway|$GATEWAY"
        echo "write|/mapped-ip/10.138.$((i / 250)).$((i % 250 + 1))/visible-ip|10.138.$((i / 250)).$((i % 250 + 1))"
    done >"$WORLD/commits"
    sluice_stop || fail "sluiced ended with status $?"
    dom0 load "$WORLD/commits"
    firewall_start
    PATIENCE=1 expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
    PATIENCE=1 expect personal "$UPLINK *" "$HOST" "$ECHO_PORT"
    ! sluice_said 0 'cannot be put in force|more than|later' || fail "a start: $(tail -n 3 "$WORLD/sluiced.log")"
    [[ $(dom0 handled 10.138.1.1) == 0 ]] || fail "the rules of who has gone were handled"
    dom0 rm /mapped-ip/
    dom0 write /connected-ips "$WORK $PERSONAL"
    ok "clients that are listed by another address; what clients that have gone left behind"
}

check_forwards() {
    local before
    in_background /dev/null in_qube work "$PYTHON" "$WORLD_ROOT/tests/smoke/echo_server.py" \
        "$WORLD/behind.log" udp:5353
    wait_for 10 "the server behind" grep -q ready "$WORLD/behind.log"
    dom0 forwards "$WORK" "action=forward forwardtype=external proto=udp srcports=53 dstports=5353"
    wait_for 5 "the forward" forwarded
    before=$(dom0 handled "$WORK")
    commit "$WORK" drop # with other rules it is still there
    forwarded || fail "rules took a forward away"
    before=$(log_lines)
    dom0 forwards "$WORK" "action=forward forwardtype=external proto=udp srcports=80443 dstports=5353"
    wait_for 5 "the refusal" sluice_said "$before" \
        "its forwards are refused: /qubes-firewall-forward/$WORK/0000: srcports: \"80443\""
    ! forwarded || fail "a bad forward is in force"
    commit "$WORK" drop "$ECHO4"
    expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
    ok "forwards of the draft tree: in force, refused, and no rule suffers"
}

forwarded() {
    [[ $(in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_ask.py" --wait 0.5 "$UPLINK" 53) == "$HOST "* ]]
}

# --- a daemon that is not well ------------------------------------------------------------------

check_restart() {
    local before
    before=$(log_lines)
    dom0 restart 0.5
    wait_for 5 "the loss" sluice_said "$before" 'QubesDB: connection lost: .* what it said stays in force'
    expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
    dom0 rules "$WORK" drop # while nobody listens
    dom0 rules "$PERSONAL" drop "$ECHO4" "$ECHO4"
    wait_for 10 "the new connection" sluice_said "$before" 'QubesDB: connected'
    wait_for 5 "what changed meanwhile" hears work "$REFUSED4" "$HOST" "$ECHO_PORT"
    commit "$WORK" drop "$ECHO4" # the watches are there again
    expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
    # a daemon that knows nothing says nothing
    before=$(log_lines)
    dom0 restart 0.1 empty
    wait_for 10 "the new connection" sluice_said "$before" 'QubesDB: connected'
    wait_for 5 "the whole of it" feature_requested
    sleep 1
    expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
    expect personal "$UPLINK *" "$HOST" "$ECHO_PORT"
    dom0 write /connected-ips "$WORK $PERSONAL"
    dom0 rules "$PERSONAL" drop "$ECHO4"
    commit "$WORK" drop "$ECHO4"
    ok "QubesDB goes and comes back: all is read again"
}

feature_requested() { [[ $(dom0 read /features-request/qubes-firewall) == 1 ]]; }

check_rude() {
    local habit before right=(pieces gossip) wrong=(garbage endless) silent=()
    ((SECONDS_LONG <= 2)) || { right+=(slow) wrong+=(type long hangup) silent+=(mute deaf); }
    for habit in "${right[@]}"; do # unpleasant, but as the protocol allows it
        before=$(log_lines)
        dom0 rude "$habit"
        dom0 restart
        wait_for 10 "a connection with $habit" sluice_said "$before" 'QubesDB: connected'
        commit "$WORK" drop
        expect work "$REFUSED4" "$HOST" "$ECHO_PORT"
        commit "$WORK" drop "$ECHO4"
        expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
        dom0 rude "$habit" off
    done
    for habit in "${wrong[@]}"; do
        before=$(log_lines)
        dom0 rude "$habit"
        dom0 restart
        wait_for 10 "the end of it with $habit" sluice_said "$before" \
            'QubesDB: (connection lost|no connection): it has (sent|ended)'
        expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
        dom0 rude "$habit" off
        before=$(log_lines)
        wait_for 15 "a connection after $habit" sluice_said "$before" 'QubesDB: connected'
        commit "$WORK" drop "$ECHO4"
    done
    for habit in "${silent[@]}"; do
        dom0 rude "$habit"
        dom0 restart
        sleep 0.5
        expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
        rpc status >/dev/null || fail "$habit: the control socket does not answer"
        dom0 rude "$habit" off
        dom0 restart
        commit "$WORK" drop "$ECHO4"
    done
    ok "a rude daemon: what was in force stays in force, and it is asked again"
}

# --- many rules ---------------------------------------------------------------------------------

# control_us 1|2: how long the control thread has run so far, and how long it could not for want of a CPU
control_us() { awk -v f="$1" '{ print int($f / 1000) }' "/proc/$FIREWALL_PID/task/$FIREWALL_PID/schedstat"; }

check_many() {
    local rules=() number times=() ran waited
    for ((number = 1; number < MANY; number++)); do
        rules+=("action=accept dst4=198.$((18 + number / 250)).$((number % 250)).0/24 proto=tcp dstports=$((1000 + number))")
    done
    ran=$(control_us 1) waited=$(control_us 2)
    for number in 1 2 3 4 5; do
        times+=("$(dom0 commit 20 "$WORK" drop "${rules[@]:number}" "$ECHO4")")
    done
    echo "$((MANY - 5)) rules, from commit to handled: ${times[*]} ms, of which the control thread ran" \
        "$((($(control_us 1) - ran) / 5)) us and waited for a CPU $((($(control_us 2) - waited) / 5)) us" \
        "on the average"
    expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
    expect work "$REFUSED4" "$HOST" 7777
    # one too many
    rules+=("$ECHO4" "$ECHO4")
    bad "more than 1000 rules" drop "${rules[@]}"
    commit "$WORK" drop "$ECHO4"
    ok "$MANY rules of one qube"
}

# --- everything from QubesDB --------------------------------------------------------------------

# Neither a gateway nor the uplink's addresses stand in sluice.conf.
check_settings() {
    local before
    sluice_stop || fail "sluiced ended with status $?"
    sed -i -e '/^\[gateway\]$/,/^\[/{/^\[port/!d}' \
        -e '/^\[port uplink\]$/,/^\[port work/{/^\(address\|gateway\|dns\)6\? = /d}' \
        -e '/^role = uplink$/a settings = qubesdb' "$WORLD/sluice.conf"
    dom0 write /qubes-netvm-gateway "$GATEWAY"
    dom0 write /qubes-netvm-primary-dns "${VIRTUAL_DNS[0]}"
    dom0 write /qubes-ip 10.9.9.9
    dom0 write /qubes-netmask 255.255.255.255
    dom0 write /qubes-gateway "$HOST"
    dom0 write /qubes-primary-dns "$HOST"
    dom0 write "/net-config/$(uplink_mac)/ip" "$UPLINK"
    firewall_start
    in_qube work ping -q -c 1 -W 2 "$GATEWAY" >/dev/null || fail "no gateway"
    expect work "$UPLINK *" "$HOST" "$ECHO_PORT"
    # another address: what begins now has that one
    dom0 write "/net-config/$(uplink_mac)/ip" 192.168.50.7
    wait_for 5 "the new address" hears work "192.168.50.7 *" "$HOST" "$ECHO_PORT"
    # an address that cannot be ours is not taken
    before=$(log_lines)
    dom0 write "/net-config/$(uplink_mac)/ip" 127.0.0.1
    wait_for 5 "a word about it" sluice_said "$before" 'QubesDB: .*127.0.0.1.* is a loopback address'
    expect work "192.168.50.7 *" "$HOST" "$ECHO_PORT"
    # what cannot be in force with the rest is taken back, and takes nothing else with it
    before=$(log_lines)
    printf '%s\n' "write|/qubes-netvm-gateway|$WORK" "rules|$WORK|drop|$ECHO4|action=accept proto=icmp" \
        "rules|$PERSONAL|drop" >"$WORLD/commits"
    dom0 load "$WORLD/commits"
    wait_for 5 "a word about it" sluice_said "$before" 'QubesDB: new settings cannot be put in force'
    wait_for 5 "the good rules" in_qube work ping -q -c 1 -W 1 "$HOST"
    wait_for 5 "the other rules" hears personal "$REFUSED4" "$HOST" "$ECHO_PORT"
    in_qube work ping -q -c 1 -W 2 "$GATEWAY" >/dev/null || fail "the gateway is another one"
    ok "gateway, uplink and resolvers from QubesDB alone; what cannot be is taken back"
}

uplink_mac() { in_firewall cat /sys/class/net/eth0/address; }

main() {
    world_up
    check_alone
    check_bad
    check_commits
    check_families
    check_live
    check_clients
    check_visible
    check_forwards
    check_restart
    check_rude
    check_many
    check_settings
    local stats
    stats=$(dom0 stats)
    [[ $stats == *'"bad_writes": 0, '*'"split": 0'* ]] || fail "what sluiced wrote: $stats"
    sluice_stop || fail "sluiced ended with status $?"
    echo "$stats"
}

main
