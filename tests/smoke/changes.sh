#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Rules and forwards changed over the control socket, seen from where it matters: what passes, what
# does not, when it ends, and what is left of it after a restart.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

# rpc METHOD [PARAMS]: the answer; an error is an answer too.
rpc() {
    "$PYTHON" "$WORLD_ROOT/tests/smoke/rpc.py" "$WORLD/control.sock" "$@" || true
}

# change METHOD PARAMS: it is taken up.
change() {
    local answer
    answer=$(rpc "$@")
    grep -q '"generation"' <<<"$answer" || fail "$*: $answer"
}

# refused CODE TEXT METHOD PARAMS: with that code, and a message or data that holds the text.
refused() {
    local code=$1 text=$2 answer
    shift 2
    answer=$(rpc "$@")
    grep -qF "\"code\": $code" <<<"$answer" || fail "$*: not refused with $code: $answer"
    grep -qF -- "$text" <<<"$answer" || fail "$*: refused without saying $text: $answer"
    ok "refused: ${answer#*\"message\": }"
}

# rules QUBE: its rules as the daemon has them, one line each: NUMBER ORIGIN HITS LEFT RULE COMMENT
rules() {
    rpc rules.get "{\"qube\": \"$1\"}" | "$PYTHON" -c '
import json, sys
qube = json.load(sys.stdin)["qubes"][0]
lines = [(qube["origin"], qube.get("policy"))]
for rule in qube["rules"]:
    lines.append((rule["number"], rule["origin"], rule["hits"], rule.get("left", "-"),
        rule["rule"], rule.get("comment", "")))
print("\n".join(" ".join(map(str, line)) for line in lines))'
}

# forwards: NAME QUBE ORIGIN HITS LEFT COMMENT
forwards() {
    rpc forward.list | "$PYTHON" -c '
import json, sys
for f in json.load(sys.stdin)["forwards"]:
    print(f["name"], f["qube"], f["origin"], f["hits"], f.get("left", "-"), f.get("comment", ""))'
}

# who PLACE ADDRESS PORT [SECONDS]: connect, and say as whom; or what became of it.
who() {
    local place=$1
    [[ $place != uplink ]] || place=up
    ip netns exec "$WORLD_NAME-$place" curl -sS --max-time "${4:-2}" "http://$2:$3/who" \
        2>/dev/null || echo nothing
}

passes() {
    local answer
    answer=$(who "${@:2}")
    [[ $answer != nothing ]] || fail "$1: does not pass; drops: $(counter drops)"
    ok "$1: passes"
}

blocked() {
    local answer
    answer=$(who "${@:2}" 1)
    [[ $answer == nothing ]] || fail "$1: passes: $answer"
    ok "$1: does not pass"
}

# drip NAME PLACE ADDRESS PORT: a connection that always has something to say.
drip() {
    local place=$2
    [[ $place != uplink ]] || place=up
    in_background "$WORLD/$1.err" ip netns exec "$WORLD_NAME-$place" "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/drip_client.py" "$3" "$4" "$WORLD/$1.drip"
    wait_for 5 "drip $1" grep -q begun "$WORLD/$1.drip"
}

# drip_ended NAME WHEN: it was reset in that very second.
drip_ended() {
    local last end why
    wait_for 15 "the end of drip $1" grep -qE '^[0-9]' "$WORLD/$1.drip"
    read -r last end why < <(tail -n 1 "$WORLD/$1.drip")
    [[ $why == ECONNRESET ]] || fail "drip $1 ended by $why"
    # a packet may have been on its way; and the machine may be busy
    awk -v last="$last" -v when="$2" 'BEGIN { exit !(last >= when - 0.3 && last < when + 1) }' ||
        fail "drip $1: the last byte came at $last, its time was over at $2"
    ok "drip $1 went on until $(awk -v a="$last" -v b="$2" 'BEGIN { printf "%+.3f", a - b }') s," \
        "reset $(awk -v a="$end" -v b="$2" 'BEGIN { printf "%+.3f", a - b }') s after its time"
}

drip_lives() {
    ! grep -qE '^[0-9]' "$WORLD/$1.drip" || fail "drip $1 ended: $(tail -n 1 "$WORLD/$1.drip")"
}

world_up() {
    world_require curl
    world_create work personal
    qube_rules work <<-RULES
		policy=drop
		# the resolvers
		action=accept specialtarget=dns
		action=accept proto=icmp
	RULES
    qube_rules personal <<<'policy=drop'
    sluice_configure "[forward configured]" "forwardtype = external" "proto = tcp" \
        "srcports = 9000" "dstports = 8080" "qube = work"
    rmdir "$WORLD/state" # it is sluiced's to make
    local place
    for place in up work personal; do
        in_background "$WORLD/$place.out" ip netns exec "$WORLD_NAME-$place" "$PYTHON" \
            "$WORLD_ROOT/tests/smoke/echo_server.py" "$WORLD/$place.log" tcp:8080 tcp:8081 udp:7000
        wait_for 10 "the server of $place" grep -q ready "$WORLD/$place.log"
    done
    sluice_start
}

check_rules() {
    blocked "without a rule" work "$HOST" 8080
    change rules.add '{"qube": "work", "rules": ["action=accept proto=tcp dstports=8080 comment=\"the web\""]}'
    passes "at once with one" work "$HOST" 8080
    blocked "another port" work "$HOST" 8081
    passes "a second time" work "$HOST" 8080
    [[ $(rules work) == "kept drop
0 work.rules:3 0 - action=accept specialtarget=dns 
1 work.rules:4 0 - action=accept proto=icmp 
2 kept 2 - action=accept proto=tcp dstports=8080-8080 the web" ]] ||
        fail "rules.get says: $(rules work)"
    ok "origins and hits: $(rules work | tail -n 1)"

    change rules.insert '{"qube": "work", "rules": ["action=drop proto=tcp dstports=8080"], "before": 2}'
    blocked "a rule before it" work "$HOST" 8080
    [[ $(rules work | grep '^3') == "3 kept 2 - "* ]] || fail "hits did not move with their rule"
    change rules.delete '{"qube": "work", "rule": "proto=tcp dstports=8080 action=drop"}'
    passes "without it" work "$HOST" 8080
    change rules.delete '{"qube": "work", "number": 2}'
    blocked "with the rule itself gone" work "$HOST" 8080
    change rules.policy '{"qube": "work", "policy": "accept"}'
    passes "with policy accept" work "$HOST" 8081
    change rules.set '{"qube": "work", "policy": "drop", "rules": ["action=accept proto=tcp dstports=8081"]}'
    passes "with a whole new list" work "$HOST" 8081
    change rules.reset '{"qube": "work"}'
    blocked "after reset" work "$HOST" 8081
    [[ $(rules work | head -n 1) == "file drop" ]] || fail "reset left $(rules work)"
}

check_refusals() {
    local before disk
    before=$(rules work)
    disk=$(cat "$WORLD"/state/changes.* 2>/dev/null | md5sum)
    refused -32602 '{"rule": 1, "key": "dstports"}' rules.add \
        '{"qube": "work", "rules": ["action=accept", "action=accept proto=tcp dstports=80443"]}'
    refused -32602 '"key": "rulez"' rules.add '{"qube": "work", "rulez": []}'
    refused -32602 '"key": "qube"' rules.reset '{}'
    refused -32001 'no qube \"nobody\"' rules.policy '{"qube": "nobody", "policy": "accept"}'
    refused -32602 'over already' rules.add '{"qube": "work", "rules": ["action=accept expire=1000"]}'
    refused -32001 'no rule number 7' rules.delete '{"qube": "work", "number": 7}'
    refused -32001 'no such rule' rules.delete '{"qube": "work", "rule": "action=accept proto=tcp"}'
    refused -32602 '{"change": 1, "rule": 0, "key": "proto"}' transaction '{"changes": [
        {"method": "rules.policy", "params": {"qube": "work", "policy": "accept"}},
        {"method": "rules.add", "params": {"qube": "work", "rules": ["action=accept proto=6"]}}]}'
    refused -32602 'cannot be part of a transaction' transaction \
        '{"changes": [{"method": "rules.get", "params": {}}]}'
    [[ $(rules work) == "$before" ]] || fail "a refused change has changed $(rules work)"
    [[ $(cat "$WORLD"/state/changes.* 2>/dev/null | md5sum) == "$disk" ]] || fail "a refused change is on disk"
    change rules.policy '{"qube": "work", "policy": "accept", "check": true}'
    [[ $(rules work) == "$before" ]] || fail "check has changed something"
    ok "nothing of it has changed anything"
}

# Runtime over kept over file, one of them at a time.
check_layers() {
    local disk
    change rules.set '{"qube": "personal", "policy": "drop", "rules": ["action=accept proto=tcp dstports=8080"]}'
    passes "kept rules" personal "$HOST" 8080
    disk=$(cat "$WORLD"/state/changes.* | md5sum)
    change rules.set '{"qube": "personal", "policy": "drop", "rules": ["action=accept proto=tcp dstports=8081"], "runtime": true}'
    passes "runtime rules" personal "$HOST" 8081
    blocked "kept rules below runtime rules" personal "$HOST" 8080
    refused -32001 'numbers are theirs' rules.delete '{"qube": "personal", "number": 0}'
    [[ $(cat "$WORLD"/state/changes.* | md5sum) == "$disk" ]] || fail "runtime rules are on disk"
    change rules.reset '{"qube": "personal", "runtime": true}'
    passes "kept rules again" personal "$HOST" 8080
    change rules.set '{"qube": "personal", "policy": "accept", "rules": [], "runtime": true}'
    qube_rules personal <<<'policy=accept'
    sluice_reload || fail "refused: $RELOAD_SAID"
    passes "runtime rules after a reload" personal "$HOST" 8081
    change rules.add '{"qube": "personal", "rules": ["action=drop proto=udp"]}'
    blocked "a kept change replaces runtime rules" personal "$HOST" 8081
    change rules.set '{"qube": "work", "policy": "accept", "rules": [], "runtime": true}'
    sluice_stop || fail "sluiced ended with status $?"
    sluice_start
    blocked "runtime rules after a restart" work "$HOST" 8080
    passes "kept rules after a restart" personal "$HOST" 8080
    [[ $(rules personal) == "kept drop
0 kept 1 - action=accept proto=tcp dstports=8080-8080 
1 kept 0 - action=drop proto=udp " ]] || fail "kept rules are now $(rules personal)"
    change rules.reset '{"qube": "personal"}'
    passes "the file's rules after reset" personal "$HOST" 8081
    qube_rules personal <<<'policy=drop'
    sluice_reload || fail "refused: $RELOAD_SAID"
}

check_transaction() {
    local both='{"changes": [
        {"method": "rules.add", "params": {"qube": "work", "rules": ["action=accept proto=tcp"]}},
        {"method": "rules.add", "params": {"qube": "personal", "rules": ["action=accept proto=tcp"]}},
        {"method": "forward.add", "params": {"qube": "personal", "name": "both",
            "rule": "action=forward forwardtype=external proto=tcp srcports=SRC dstports=8080"}}]}'
    refused -32001 'forward configured' transaction "${both//SRC/9000}"
    blocked "the first qube after a transaction that failed" work "$HOST" 8080
    blocked "the second" personal "$HOST" 8080
    change transaction "${both//SRC/9001}"
    passes "the first qube after one that did not" work "$HOST" 8080
    passes "the second" personal "$HOST" 8080
    passes "its forward" uplink "$UPLINK" 9001
    change transaction '{"changes": [
        {"method": "forward.delete", "params": {"name": "both"}},
        {"method": "rules.reset", "params": {"qube": "work"}},
        {"method": "rules.reset", "params": {"qube": "personal"}}]}'
    blocked "its forward after another" uplink "$UPLINK" 9001
}

# To the second, for what is open and what is new; also when sluiced was away in between.
check_expiry() {
    local soon late
    soon=$(($(date +%s) + 3))
    change rules.add "{\"qube\": \"work\", \"rules\": [\"action=accept proto=tcp dstports=8081 expire=$soon\"]}"
    change rules.add '{"qube": "personal", "rules": ["action=accept proto=tcp dstports=8081 expire=+3600"]}'
    drip rule work "$HOST" 8081
    drip other personal "$HOST" 8081
    drip_ended rule "$soon"
    blocked "a new connection behind its time" work "$HOST" 8081
    drip_lives other
    [[ $(rules work | tail -n 1) == "1 work.rules:4 "* ]] || fail "it is still there: $(rules work)"
    grep -q 'event=rule-expired qube=work' "$WORLD/sluiced.log" || fail "the log does not tell of it"

    late=$(($(date +%s) + 10))
    change rules.add "{\"qube\": \"work\", \"rules\": [\"action=accept proto=tcp dstports=8081 expire=$late\"]}"
    change rules.add '{"qube": "work", "rules": ["action=accept proto=tcp dstports=8080 expire=+1"]}'
    soon=$(($(date +%s) + 1))
    drip restart work "$HOST" 8081
    sluice_stop || fail "sluiced ended with status $?"
    while (($(date +%s) <= soon)); do sleep 0.1; done
    sluice_start
    blocked "a rule that ended while sluiced was away" work "$HOST" 8080
    (($(date +%s) < late)) || fail "this machine is too slow to see a rule before it ends"
    drip_lives restart
    drip_ended restart "$late"
    drip_lives other
    change rules.reset '{"qube": "personal"}'
    wait_for 3 "the end of a connection after reset" grep -q ECONNRESET "$WORLD/other.drip"
    change rules.reset '{"qube": "work"}'
}

check_forwards() {
    local soon
    change forward.add '{"qube": "work", "rule": "action=forward proto=tcp forwardtype=external srcports=443-443 dstports=8080-8080 srchost=0.0.0.0/0 expire=+5000 comment=\"example\""}'
    passes "a forward" uplink "$UPLINK" 443
    passes "a second time" uplink "$UPLINK" 443
    [[ $(forwards) == "configured work file 0 - 
work-1 work kept 2 "[45]*" example" ]] || fail "forward.list says: $(forwards)"
    refused -32001 'forward work-1' forward.add \
        '{"qube": "personal", "rule": "action=forward proto=tcp forwardtype=external srcports=440-450"}'
    refused -32001 'forward configured' forward.add \
        '{"qube": "personal", "rule": "action=forward proto=tcp forwardtype=external srcports=9000"}'
    refused -32001 'only be deleted there' forward.delete '{"name": "configured"}'
    refused -32001 'no forward \"nothing\"' forward.delete '{"name": "nothing"}'
    refused -32602 'over 65535' forward.add \
        '{"qube": "work", "rule": "action=forward proto=tcp forwardtype=external srcports=443-443 dstports=80443-80443"}'
    refused -32001 'no qube' forward.add \
        '{"qube": "nobody", "rule": "action=forward proto=tcp forwardtype=external srcports=1"}'

    # a qube that speaks from this very port now
    change rules.set '{"qube": "personal", "policy": "accept", "rules": [], "runtime": true}'
    in_qube personal "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_ask.py" "$HOST" 7000 --bind 5151 \
        >/dev/null || fail "no UDP at all"
    refused -32001 'port 5151 of qube personal' forward.add \
        '{"qube": "work", "rule": "action=forward proto=udp forwardtype=external srcports=5100-5200"}'
    change rules.reset '{"qube": "personal"}'

    drip deleted uplink "$UPLINK" 443
    change forward.add '{"qube": "personal", "name": "passing", "runtime": true, "rule": "action=forward proto=tcp forwardtype=external srcports=444 dstports=8080"}'
    sluice_stop || fail "sluiced ended with status $?"
    sluice_start
    blocked "a runtime forward after a restart" uplink "$UPLINK" 444
    passes "a kept one" uplink "$UPLINK" 443
    drip_lives deleted
    change forward.delete '{"name": "work-1"}'
    wait_for 3 "the end of a connection through a deleted forward" grep -q ECONNRESET "$WORLD/deleted.drip"
    blocked "a deleted forward" uplink "$UPLINK" 443

    soon=$(($(date +%s) + 3))
    change forward.add "{\"qube\": \"personal\", \"rule\": \"action=forward proto=tcp forwardtype=external srcports=445 dstports=8080 expire=$soon\"}"
    drip forward uplink "$UPLINK" 445
    drip_ended forward "$soon"
    blocked "a forward behind its time" uplink "$UPLINK" 445
    [[ $(forwards) == "configured work file 0 - " ]] || fail "it is still there: $(forwards)"
}

damaged() { # EXPECTED: neither sluiced nor --check take what is there now, and say why
    ! "$BUILD/app/sluiced" --check "$WORLD/sluice.conf" 2>"$WORLD/check.log" ||
        fail "--check finds nothing wrong with a damaged file"
    ! ip netns exec "$WORLD_NAME-fw" "$BUILD/app/sluiced" --config "$WORLD/sluice.conf" \
        >"$WORLD/damaged.log" 2>&1 || fail "sluiced started with damaged changes"
    grep -q "$1" "$WORLD/damaged.log" ||
        fail "it does not say why: $(tail -n 2 "$WORLD/damaged.log")"
    ok "$(grep -o 'changes.[jn].*' "$WORLD/check.log")"
}

# What sluiced cannot trust it does not start with.
check_damage() {
    change rules.add '{"qube": "work", "rules": ["action=drop proto=udp"]}'
    sluice_stop || fail "sluiced ended with status $?"
    sed -i 's/action=drop/action=accept/' "$WORLD/state/changes.json"
    damaged 'changes.json:[0-9]*: the checksum'
    rm "$WORLD/state/changes.json"
    sluice_start
    [[ $(rules work | head -n 1) == "file drop" ]] || fail "without the file: $(rules work)"

    # in the journal: first, last and under way
    change rules.add '{"qube": "work", "rules": ["action=drop proto=udp"]}'
    change rules.add '{"qube": "work", "rules": ["action=accept proto=tcp dstports=1"]}'
    change rules.add '{"qube": "work", "rules": ["action=accept proto=tcp dstports=2"]}'
    kill -9 "$FIREWALL_PID"
    wait "$FIREWALL_PID" 2>/dev/null || true
    cp "$WORLD/state/changes.journal" "$WORLD/journal"
    sed -i 's/dstports=1-1/dstports=3-3/' "$WORLD/state/changes.journal"
    damaged 'changes.journal:3: the checksum'
    head -c 100000 "$WORLD/journal" >"$WORLD/state/changes.journal"
    damaged 'changes.journal:1: the file has 100000 bytes'
    # the last two bytes of the last record
    "$PYTHON" - "$WORLD/journal" "$WORLD/state/changes.journal" <<-'PYTHON'
		import sys
		text = open(sys.argv[1], "rb").read()
		end = len(text.rstrip(b"\0")) - 2
		open(sys.argv[2], "wb").write(text[:end] + bytes(len(text) - end))
	PYTHON
    "$BUILD/app/sluiced" --check "$WORLD/sluice.conf" 2>"$WORLD/check.log" ||
        fail "--check refuses what a power failure leaves"
    sluice_start
    grep -q 'changes.journal:4: was being written' "$WORLD/sluiced.log" || fail "nobody says that it was left out"
    [[ $(rules work | tail -n 1) == *"dstports=1-1 " ]] || fail "a record that is torn: $(rules work)"
    # one that is in force keeps others out
    ! ip netns exec "$WORLD_NAME-fw" "$BUILD/app/sluiced" --config "$WORLD/sluice.conf" \
        >"$WORLD/second.log" 2>&1 || fail "a second sluiced has started"
    grep -q 'another sluiced keeps its changes there' "$WORLD/second.log" ||
        fail "the second one says: $(tail -n 2 "$WORLD/second.log")"
    sluice_stop || fail "sluiced ended with status $?"
    rm "$WORLD"/state/changes.*
    sluice_start

    # what cannot be written is not in force
    mkdir "$WORLD/state/changes.json"
    refused -32003 'cannot be written' rules.policy '{"qube": "work", "policy": "accept"}'
    blocked "a change that could not be written" work "$HOST" 8080
    change rules.policy '{"qube": "work", "policy": "accept", "runtime": true}'
    passes "the same for this run only" work "$HOST" 8080
    rmdir "$WORLD/state/changes.json"
}

main() {
    world_up
    check_rules
    check_refusals
    check_layers
    check_transaction
    check_expiry
    check_forwards
    check_damage
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
}

main
