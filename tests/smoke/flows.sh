#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Looking into the flow tables of a running sluiced: real connections are listed as what they are,
# filters choose, a download that is deleted is reset at both ends, and a table that is full of flows
# is listed while packets pass, of which none is lost.
#
#   FLOWS=1000000    how many flows are listed at last, 100,000 without it
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

FLOWS=${FLOWS:-100000}
RATE=500 # datagrams a second that must all arrive meanwhile

flows() { "$PYTHON" "$WORLD_ROOT/tests/smoke/flows.py" "$WORLD/control.sock" "$@"; }

# expect_list COUNT FILTER [PATTERN]: so many flows are listed, and each line has the pattern.
expect_list() {
    local lines
    flows list "$2" >"$WORLD/list" || fail "flows $2: see above"
    lines=$(($(wc -l <"$WORLD/list") - 1))
    ((lines == $1)) || fail "flows $2: $lines, expected $1: $(cat "$WORLD/list")"
    (($(head -n "$lines" "$WORLD/list" | grep -cvE "${3:-.}") == 0)) ||
        fail "flows $2: not all have $3: $(cat "$WORLD/list")"
}

# expect_wrong METHOD PARAMS CODE KEY
expect_wrong() {
    local said
    said=$(flows wrong "$1" "$2")
    [[ $said == "$3 $4 "* ]] || fail "$1 $2: '$said', expected error $3 about $4"
}

world_up() {
    world_require ping curl
    [[ -x $BUILD/tests/smoke/flood ]] || fail "$BUILD/tests/smoke/flood is not built"
    world_create work hostile
    qube_rules work <<<$'policy=drop\naction=accept'
    qube_rules hostile <<<'policy=accept'
    in_background "$WORLD/servers.out" in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/echo_server.py" \
        "$WORLD/servers" tcp:80 udp:7000
    in_background "$WORLD/stream.out" in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_stream.py" \
        serve 7001
    wait_for 10 "the servers" grep -q ready "$WORLD/servers"
    sluice_configure "[limits]" "flows = $((FLOWS * 4))" "new-flows = 10000000" "ports = 65535"
    sluice_set sluice flows $((FLOWS * 2 > 262144 ? FLOWS * 2 : 262144))
    sluice_start
    in_qube work ping -q -c 2 -i 0.2 -W 2 "$HOST" >/dev/null || fail "no way to $HOST"
    in_qube hostile ping -q -c 2 -i 0.2 -W 2 "$HOST6" >/dev/null || fail "no way to $HOST6"
}

check_listing() {
    local work='"qube": "work"'
    in_background "$WORLD/drip" ip netns exec "$WORLD_NAME-work" \
        curl -sS --no-buffer "http://$HOST/drip"
    DRIP_PID=${WORLD_PIDS[-1]}
    in_qube hostile "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_stream.py" "$HOST" 7001 20 0.5 >/dev/null
    wait_for 5 "the download" test -s "$WORLD/drip"

    expect_list 1 '{"proto": "tcp"}' "\"state\": \"established\".*$work.*\"rule\": \"work/0000\""
    expect_list 1 '{"state": "established", "qube": "work", "family": 4}' '"replied": true'
    expect_list 1 '{"dport": 80, "source": "10.137.0.16"}' '"in": "work", "out": "uplink"'
    # the other direction of the same flow
    expect_list 1 "{\"source\": \"$HOST\", \"sport\": 80, \"destination\": \"$UPLINK\"}" "$work"
    # no single direction has both of these ends
    expect_list 0 '{"sport": 80, "source": "10.137.0.0/16"}'
    expect_list 2 '{"proto": "icmp"}' '"id": [0-9]+'
    expect_list 1 '{"proto": "icmp", "address": "fd00:50::/64"}' '"proto": "icmp6", "family": 6'
    expect_list 1 '{"proto": "udp", "state": "replied", "port": 7001}' \
        '"qube": "hostile", "rule": "hostile/policy"'
    expect_list 0 '{"inbound": true}'
    expect_list 4 '{"inbound": false}'
    [[ $(tail -n 1 "$WORLD/list") == "matched 4 total 4" ]] || fail "$(tail -n 1 "$WORLD/list")"
    [[ $(flows list '{}' 1 | tail -n 1) == "matched 4 total 4" ]] ||
        fail "limit: $(flows list '{}' 1)"
    (($(flows list '{}' 1 | wc -l) == 2)) || fail "limit: more than one"
    ok "four flows are listed as what they are; filters choose among them"

    expect_wrong flows '{"filter": {"prot": "tcp"}}' -32602 prot
    expect_wrong flows '{"filter": {"dport": 80443}}' -32602 dport
    expect_wrong flows '{"filter": {"state": "open"}}' -32602 state
    expect_wrong flows '{"filter": {"address": "10.0.0.0/33"}}' -32602 address
    expect_wrong flows '{"filter": []}' -32602 filter
    expect_wrong flows '{"limits": 1}' -32602 limits
    expect_wrong flows '{"limit": -1}' -32602 limit
    expect_wrong flows.delete '{}' -32602 filter
    expect_wrong flows.delete '{"filter": {}}' -32602 filter
    expect_wrong flows.delete '{"all": 1}' -32602 filter
    expect_list 4 '{}'
    ok "wrong filters are refused, and name the key"
}

check_delete() {
    local deleted status=0
    deleted=$(flows delete '{"filter": {"qube": "work", "dport": 80}}')
    [[ $deleted == 1 ]] || fail "deleted $deleted instead of the one download"
    wait "$DRIP_PID" || status=$?
    grep -q 'reset by peer' "$WORLD/drip" ||
        fail "the client was not reset: status $status, $(tail -n 1 "$WORLD/drip")"
    wait_for 5 "a reset of the server" grep -qE '^drip .*(ECONNRESET|EPIPE)' "$WORLD/servers"
    ok "a download is deleted: curl says '$(tail -n 1 "$WORLD/drip")'"
    # it is known for a while as what must be reset, and nothing to delete any more
    expect_list 1 '{"proto": "tcp"}' '"state": "close"'
    [[ $(flows delete '{"filter": {"proto": "tcp"}}') == 0 ]] || fail "it was deleted twice"
    [[ $(flows delete '{"filter": {"proto": "icmp", "family": 6}}') == 1 ]] ||
        fail "the ping was not deleted"
    expect_list 1 '{"proto": "icmp"}' '"family": 4'
    [[ $(counter flows_deleted) == 2 ]] || fail "flows_deleted: $(counter flows_deleted)"
    in_qube work curl -sS -m 5 "http://$HOST/who" >/dev/null || fail "no new connection after it"
    ok "what is deleted is gone, is counted, and may come again"
}

enough_flows() { (($(counter flows) >= FLOWS)); }

check_many() {
    local listed seconds lost
    in_background "$WORLD/flood" ip netns exec "$WORLD_NAME-hostile" \
        "$BUILD/tests/smoke/flood" udp eth0 "$VIF_MAC" "$(qube_address hostile)" \
        "$(qube_address6 hostile)" "$HOST" "$HOST6" 100
    local flood=${WORLD_PIDS[-1]}
    wait_for 100 "$FLOWS flows" enough_flows
    kill "$flood"
    wait "$flood" || true

    in_background "$WORLD/stream" ip netns exec "$WORLD_NAME-work" "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/udp_stream.py" "$HOST" 7001 "$RATE" "$((FLOWS / 50000 + 2))"
    local stream=${WORLD_PIDS[-1]}
    sleep 0.5
    read -r listed seconds < <(flows count '{}')
    flows vanish 60 || fail "see above"
    [[ $(flows cancel) -lt $FLOWS ]] || fail "a cancelled listing came whole"
    [[ $(flows list '{"qube": "work", "dport": 7001}' | wc -l) == 2 ]] ||
        fail "the one flow among them is not found"
    wait "$stream" || fail "the stream: $(cat "$WORLD/stream")"
    lost=$(cat "$WORLD/stream")
    ((listed >= FLOWS * 95 / 100)) || fail "$listed of $FLOWS flows were listed"
    [[ $lost == *"lost there 0, lost back 0,"* ]] || fail "while flows were listed: $lost"
    ok "$listed flows listed in $seconds s; meanwhile $lost"

    local deleted began=$EPOCHREALTIME
    deleted=$(flows delete '{"filter": {"qube": "hostile"}}')
    ok "$deleted flows deleted in $(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f", b - a }') s"
    (($(counter flows) < 100)) || fail "$(counter flows) flows are left"
}

main() {
    world_up
    check_listing
    check_delete
    check_many
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
}

main
