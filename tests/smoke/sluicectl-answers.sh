#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# sluicectl against something that answers as this test wants: what it asks, what it shows, how it
# ends; hostile answers, pipes that close, Ctrl-C, and completion in bash. Needs no root.
set -euo pipefail
export LC_ALL=C.UTF-8

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
BUILD=${BUILD:-build}
[[ $BUILD == /* ]] || BUILD=$ROOT/$BUILD
CTL=$BUILD/app/sluicectl
PYTHON=$(command -v /usr/bin/python3 || command -v python3 || true)
PLACE=$(mktemp -d)
SERVER=
export SLUICE_SOCKET=$PLACE/socket

finish() {
    [[ -z $SERVER ]] || kill "$SERVER" 2>/dev/null || true
    rm -rf "$PLACE"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

skip() {
    echo "$*"
    exit 77
}

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

# answers JSON: what the server says from now on, and what it was asked is forgotten
answers() {
    printf '%s' "$1" >"$PLACE/answers"
    : >"$PLACE/log"
}

# ctl STATUS ARGUMENT...: run it; what it says is in OUT and ERR
ctl() {
    local status=0 wanted=$1
    shift
    timeout 20 "$CTL" "$@" >"$PLACE/out" 2>"$PLACE/err" </dev/null || status=$?
    OUT=$(cat "$PLACE/out") ERR=$(cat "$PLACE/err")
    [[ $status == "$wanted" ]] ||
        fail "sluicectl $*: status $status, should be $wanted; it said: $OUT $ERR"
}

# shows TEXT...: each of them stands in OUT; how many blanks there are is no matter
shows() {
    local text out
    out=$(tr -s ' ' <<<"$OUT")
    for text; do
        [[ $out == *"$text"* ]] || fail "\"$text\" is not in: $OUT"
    done
}

complains() { [[ $ERR == *$1* ]] || fail "\"$1\" was not said, but: $ERR"; }

# asked JSON: this was the last request's method and parameters
asked() {
    local said
    said=$(tail -n 1 "$PLACE/log" | "$PYTHON" -c 'import json, sys
request = json.load(sys.stdin)
print(request["method"], json.dumps(request.get("params", {}), sort_keys=True))')
    [[ $said == "$1" ]] || fail "asked: $said, should be: $1"
}

# harmless FILE: no control character but line ends
harmless() {
    ! LC_ALL=C grep -qP '[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]' "$1" ||
        fail "control characters came through: $(cat -v "$1")"
}

check_status() {
    ctl 3 --socket "$PLACE/none" status
    complains "$PLACE/none: nobody answers there"
    touch "$PLACE/file"
    ctl 3 --socket "$PLACE/file" status
    ctl 2
    complains "sluicectl help lists the verbs"
    ctl 2 nonsense
    ctl 2 status too much
    answers '{"status": {"error": {"code": -32002, "message": "you may only look"}}}'
    ctl 1 status
    [[ $ERR == "sluicectl: you may only look" ]] || fail "said: $ERR"
    answers '{"status": {"raw": "nonsense\n"}}'
    ctl 3 status
    complains "is not sluiced"
    answers '{"status": {"close": true}}'
    ctl 3 status
    complains "sluiced ended"
    answers '{"status": {"raw": "{\"jsonrpc\": \"2.0\", \"id\": 77, \"result\": {}}\n", "result": {"program": "right"}}}'
    ctl 0 status --json
    [[ $OUT == '{"program":"right"}' ]] || fail "an answer to somebody else was taken: $OUT"
    # what is said to who is sent away has no id
    answers '{"status": {"raw": "{\"jsonrpc\": \"2.0\", \"id\": null, \"error\": {\"code\": -32004, \"message\": \"too many clients\"}}\n", "close": true}}'
    ctl 1 status
    complains "too many clients"
    echo "ok:   exit status and errors"
}

check_pages() {
    answers '{"status": {"result": {"program": "sluiced", "version": "9.9", "pid": 5, "uptime": 273600,
        "config": "/etc/x", "state_dir": "/var/x", "policy": {"generation": 7, "qubes": 1, "forwards": 2},
        "workers": [{"index": 0, "flows": 1500, "capacity": 262144}],
        "ports": [{"name": "up", "role": "uplink", "device": "kernel:eth0", "mtu": 1500, "rx_packets": 1234567,
            "rx_bytes": 15, "drops": {"policy": 3, "rule": 4}}],
        "qubes": [{"name": "work", "addresses": ["10.137.0.16", "fd00::1"], "port": "work",
            "rules": {"state": "bad", "error": "broken"}}],
        "warnings": ["look out"]}}}'
    ctl 0 status
    shows "sluiced 9.9, pid 5, up 3d04h" "policy 7: 1 qubes, 2 forwards" "1.5k 262k" "1.2M 15 B" \
        "10.137.0.16 fd00::1" "look out" "bad"
    answers '{"counters": {"result": {"verdicts": {"forward": 5, "drop": 0}, "drops": {"policy": 12345},
        "ports": {"up": {"rx_packets": 1}}, "flows": 3, "nothing": 0}}}'
    ctl 0 counters
    shows "policy 12345" "forward 5" "flows"
    [[ $OUT != *nothing* ]] || fail "a counter that is zero is shown"
    answers '{"qubes": {"result": {"qubes": [{"name": "work", "rules": {"state": "valid", "count": 3, "origin": "kept"},
        "flows": 12, "drops": {"policy": 3}, "limits": {"flows": 100}, "refused": {"flows": 5}}]}}}'
    ctl 0 qubes work
    asked 'qubes {"qube": "work"}'
    shows "3 kept" "flows 100 5" "policy 3"
    answers '{"metrics": {"result": {"text": "# TYPE a counter\na_total 1\n# EOF\n"}}}'
    ctl 0 metrics
    [[ $OUT == $'# TYPE a counter\na_total 1\n# EOF' ]] || fail "metrics: $OUT"
    answers '{"hello": {"result": {"program": "sluiced", "version": "9.9", "protocol": 2, "access": "look"}}}'
    ctl 0 version
    shows "sluiced 9.9, protocol 2; you may look"
    ctl 0 --json version
    shows '"sluiced":{'
    echo "ok:   status, counters, qubes, metrics, version"
}

check_rules() {
    answers '{"rules.get": {"result": {"qubes": [{"qube": "work", "state": "valid", "origin": "kept",
        "policy": "drop", "policy_hits": 1500, "rules": [
        {"number": 0, "rule": "action=accept", "origin": "kept", "left": 252, "comment": "until lunch", "hits": 7},
        {"number": 1, "rule": "action=drop proto=udp", "origin": "kept", "hits": 0}]}]}}}'
    ctl 0 rules show work
    asked 'rules.get {"qube": "work"}'
    shows "work: kept changes" " 0 action=accept 7 4m12s kept until lunch" \
        "policy=drop 1.5k"
    ctl 0 --json rules show
    shows '"policy_hits":1500'

    answers '{"rules.add": {"result": {"generation": 3, "kept": true, "changes": [{}], "warnings": ["mind the gap"]}}}'
    ctl 0 rules add work action=accept dsthost=192.0.2.0/24 proto=tcp dstports=443 comment='until "lunch"'
    asked 'rules.add {"qube": "work", "rules": ["action=accept dst4=192.0.2.0/24 proto=tcp dstports=443 comment=\"until \\\"lunch\\\"\""]}'
    [[ -z $OUT ]] || fail "a change that is done says: $OUT"
    complains "warning: mind the gap"
    ctl 0 rules add work --check --runtime action=accept dsthost=example.org
    asked 'rules.add {"check": true, "qube": "work", "rules": ["action=accept dsthost=example.org"], "runtime": true}'
    shows "good; nothing has changed"
    answers '{"rules.insert": {"result": {}}}'
    ctl 0 rules full-access work 10m
    asked 'rules.insert {"qube": "work", "rules": ["action=accept expire=+600 comment=\"full access for 10m\""]}'

    printf '# a file\npolicy=accept\n\n  action=drop proto=icmp  \naction=accept dstports=80443 proto=tcp\r\n' \
        >"$PLACE/rules"
    answers '{"rules.set": {"result": {}}}'
    ctl 0 rules set work -f "$PLACE/rules"
    asked 'rules.set {"policy": "accept", "qube": "work", "rules": ["action=drop proto=icmp", "action=accept dstports=80443 proto=tcp"]}'
    answers '{"rules.set": {"error": {"code": -32602, "message": "dstports: 80443 is over 65535", "data": {"rule": 1, "key": "dstports"}}}}'
    ctl 1 rules set work -f "$PLACE/rules"
    [[ $ERR == "sluicectl: $PLACE/rules:5: dstports: 80443 is over 65535" ]] || fail "said: $ERR"
    answers '{"rules.set": {"result": {}}, "transaction": {"result": {}}}'
    echo 'action=drop' | "$CTL" rules set work -
    asked 'rules.set {"policy": "drop", "qube": "work", "rules": ["action=drop"]}'
    echo 'rules reset work' | "$CTL" batch -
    asked 'transaction {"changes": [{"method": "rules.reset", "params": {"qube": "work"}}]}'
    ctl 2 rules set work - action=drop
    echo 'policy=maybe' >"$PLACE/rules"
    ctl 2 rules set work -f "$PLACE/rules"
    complains "$PLACE/rules:1: policy:"
    echo "ok:   rules"
}

check_forwards() {
    answers '{"forward.list": {"result": {"forwards": [{"name": "web", "qube": "work", "origin": "kept",
        "rule": "action=forward forwardtype=external proto=tcp srcports=443-443 dstports=8443-8443 srchost=192.0.2.0/24",
        "left": 30, "comment": "demo", "listens": ["192.168.50.1", "fd00:50::1"], "hits": 3}]}},
        "status": {"result": {"ports": [{"name": "uplink", "role": "uplink", "addresses": ["10.137.0.7/32"]}]}},
        "forward.add": {"result": {"changes": [{"name": "tcp-443"}]}}}'
    ctl 0 forward list
    shows "web work forwardtype=external" "192.168.50.1 fd00:50::1" "30s" "demo"
    ctl 0 forward add work action=forward proto=tcp forwardtype=external srcports=443-443 \
        dstports=8443-8443 srchost=0.0.0.0/0 expire=+5000 comment=example
    asked 'forward.add {"qube": "work", "rule": "action=forward proto=tcp forwardtype=external srcports=443-443 dstports=8443-8443 srchost=0.0.0.0/0 expire=+5000 comment=example"}'
    [[ $OUT == "forward tcp-443" ]] || fail "the name of a forward is not said: $OUT"

    ctl 0 forward plan web
    shows "# in sys-net" "dport 443 ct state new counter dnat to 192.168.50.1" \
        "custom-forward iifgroup != 2 ip saddr 192.0.2.0/24 ip daddr 192.168.50.1 tcp dport 443"
    [[ $OUT != *ip6* ]] || fail "a forward for IPv4 clients has lines of IPv6: $OUT"
    ctl 0 forward plan proto=udp forwardtype=external srcports=5000-5009 --via sys-vpn:sluice:10.137.0.9 --via sys-net
    shows "# in sys-vpn" "sluicectl forward add $(uname -n) action=forward forwardtype=external proto=udp srcports=5000-5009" \
        "udp dport 5000-5009 ct state new counter dnat to 10.137.0.9"
    ctl 0 forward plan proto=tcp forwardtype=external srcports=1 --via sys-net
    shows "dnat to 10.137.0.7"
    ctl 2 forward plan proto=tcp forwardtype=external srcports=80443
    complains "over 65535"
    ctl 2 forward plan proto=tcp forwardtype=internal srcports=80
    ctl 2 forward plan web --via 'a;reboot'
    ctl 2 forward plan web --via "\$(reboot)"
    ctl 2 forward plan web --via sys-a --via sys-b
    complains "sys-b needs the address of sys-a"
    ctl 1 forward plan nope
    # what somebody else may have written is not passed on to a shell
    answers '{"forward.list": {"result": {"forwards": [{"name": "web", "qube": "work", "listens": ["1.1.1.1; reboot"],
        "rule": "action=forward forwardtype=external proto=tcp srcports=443 comment=\"x; reboot\""}]}}}'
    ctl 1 forward plan web
    answers '{"forward.list": {"result": {"forwards": [{"name": "web", "qube": "work", "listens": ["1.1.1.1"],
        "rule": "action=forward forwardtype=external proto=tcp srcports=443 comment=\"x; reboot\""}]}}}'
    ctl 0 forward plan web --via a:sluice:10.137.0.9 --via b
    [[ $OUT != *reboot* ]] || fail "a comment stands in a command: $OUT"
    echo "ok:   forwards and plans"
}

check_batch() {
    cat >"$PLACE/batch" <<-'BATCH'
		# two qubes
		rules set work policy=drop 'action=accept proto=icmp'

		rules insert personal --before 1 action=accept comment="a b"
		forward add work proto=tcp srcports=80 forwardtype=external --name web
	BATCH
    answers '{"transaction": {"result": {"changes": [{}, {}, {"name": "web"}]}}}'
    ctl 0 batch -f "$PLACE/batch" --runtime
    asked 'transaction {"changes": [{"method": "rules.set", "params": {"policy": "drop", "qube": "work", "rules": ["action=accept proto=icmp"]}}, {"method": "rules.insert", "params": {"before": 1, "qube": "personal", "rules": ["action=accept comment=\"a b\""]}}, {"method": "forward.add", "params": {"name": "web", "qube": "work", "rule": "action=forward proto=tcp srcports=80 forwardtype=external"}}], "runtime": true}'
    answers '{"transaction": {"error": {"code": -32001, "message": "personal: no such qube", "data": {"change": 1}}}}'
    ctl 1 batch -f "$PLACE/batch"
    [[ $ERR == "sluicectl: $PLACE/batch:4: personal: no such qube; nothing has changed" ]] || fail "said: $ERR"
    printf 'rules reset work\nflows\n' >"$PLACE/batch"
    : >"$PLACE/log"
    ctl 2 batch -f "$PLACE/batch"
    complains "$PLACE/batch:2: flows is no change"
    printf "rules reset 'work\n" >"$PLACE/batch"
    ctl 2 batch -f "$PLACE/batch"
    complains "$PLACE/batch:1: a quote has no end"
    printf 'rules reset work --check\n' >"$PLACE/batch"
    ctl 2 batch -f "$PLACE/batch"
    printf '\n' >"$PLACE/batch"
    ctl 2 batch -f "$PLACE/batch"
    head -c 2000000 /dev/zero >"$PLACE/batch"
    ctl 2 batch -f "$PLACE/batch"
    [[ ! -s $PLACE/log ]] || fail "a batch that is wrong was sent"
    echo "ok:   batches"
}

check_import() {
    cat >"$PLACE/firewall.xml" <<-'XML'
		<firewall version="2"><rules>
		<rule><properties><property name="action">accept</property><property name="specialtarget">dns</property></properties></rule>
		<rule><properties><property name="action">accept</property><property name="expire">5</property></properties></rule>
		<rule><properties><property name="action">forward</property><property name="forwardtype">external</property><property name="proto">tcp</property><property name="srcports">443</property></properties></rule>
		<rule><properties><property name="action">drop</property></properties></rule>
		</rules></firewall>
	XML
    answers '{"transaction": {"result": {}}}'
    ctl 0 import work "$PLACE/firewall.xml" --dry-run
    shows $'policy=drop\naction=accept specialtarget=dns\naction=drop\naction=forward forwardtype=external'
    complains "firewall.xml:3: left out, it has expired"
    [[ ! -s $PLACE/log ]] || fail "a dry run asks sluiced"
    ctl 0 import work "$PLACE/firewall.xml"
    asked 'transaction {"changes": [{"method": "rules.set", "params": {"policy": "drop", "qube": "work", "rules": ["action=accept specialtarget=dns", "action=drop"]}}, {"method": "forward.add", "params": {"qube": "work", "rule": "action=forward forwardtype=external proto=tcp srcports=443"}}]}'
    answers '{"transaction": {"error": {"code": -32001, "message": "in the way", "data": {"change": 1}}}}'
    ctl 1 import work "$PLACE/firewall.xml"
    complains "firewall.xml:4: in the way; nothing has changed"
    answers '{"transaction": {"error": {"code": -32602, "message": "bad", "data": {"change": 0, "rule": 1}}}}'
    ctl 1 import work "$PLACE/firewall.xml"
    complains "firewall.xml:5: bad; nothing has changed"
    sed -i 's/443/80443/' "$PLACE/firewall.xml"
    ctl 2 import work "$PLACE/firewall.xml"
    complains "firewall.xml:4: property srcports: \"80443\" is over 65535"
    ctl 2 import work /nonexistent
    echo "ok:   import"
}

check_streams() {
    local flow packet status=0
    flow='{"proto": "tcp", "state": "established", "qube": "work", "rule": "work/0000", "replied": true, "expires": 7440,
        "original": {"source": "10.137.0.16", "destination": "1.1.1.1", "sport": 40000, "dport": 443},
        "reply": {"source": "1.1.1.1", "destination": "192.168.50.1", "sport": 443, "dport": 40000},
        "in": "work", "out": "uplink", "worker": 0}'
    packet='{"time": "1700000000.250", "port": "work", "verdict": "drop", "reason": "policy", "rule": "work/policy",
        "proto": "tcp", "source": "10.137.0.16:40000", "destination": "1.1.1.1:443", "length": 60, "flags": "syn",
        "stages": ["parse ok", "judge: no rule"], "frame": "AAECAwQFBgcICQoLCAA=", "wire_length": 60, "direction": "in"}'
    answers "{\"flows\": {\"stream\": [{\"flows\": [$flow, $flow]}, {\"flows\": [$flow]}], \"result\": {\"matched\": 3, \"total\": 9}},
        \"flows.delete\": {\"result\": {\"deleted\": 4}},
        \"drops\": {\"result\": {\"reasons\": [{\"reason\": \"policy\", \"help\": \"no\", \"total\": 3, \"ports\": {\"work\": 3}}], \"last\": [$packet]}},
        \"trace\": {\"stream\": [{\"packets\": [$packet], \"missed\": 0}, {\"packets\": [$packet], \"missed\": 5}]},
        \"capture\": {\"stream\": [{\"packets\": [$packet], \"missed\": 0}], \"result\": {}},
        \"events\": {\"stream\": [{\"kind\": \"policy\", \"time\": 1700000000, \"text\": \"policy 5 in force\"}]}}"
    ctl 0 flows qube=work dst=1.1.1.0/24 dport=443 --limit 5
    asked 'flows {"filter": {"destination": "1.1.1.0/24", "dport": 443, "qube": "work"}, "limit": 5}'
    shows "tcp 2h04m established src=10.137.0.16 dst=1.1.1.1 sport=40000 dport=443 src=1.1.1.1 dst=192.168.50.1 sport=443 dport=40000 qube=work"
    [[ $(wc -l <"$PLACE/out") == 3 ]] || fail "3 flows are $(wc -l <"$PLACE/out") lines"
    complains "3 of 9 flows"
    ctl 0 --json flows
    [[ $(wc -l <"$PLACE/out") == 3 && -z $ERR ]] || fail "3 flows are $OUT $ERR"
    ctl 0 flows delete qube=work
    shows "4 flows ended"
    ctl 0 flows delete --all
    asked 'flows.delete {"filter": {"all": true}}'
    ctl 2 flows delete
    ctl 2 flows delete --all qube=work
    ctl 0 drops reason=policy
    asked 'drops {"reason": "policy"}'
    shows "policy 3 work 3 no" \
        "work tcp 10.137.0.16:40000 > 1.1.1.1:443 [syn] length 60: drop policy [work/policy]"

    # Ctrl-C ends a stream that does not end by itself, with a summary
    timeout 20 "$CTL" trace -v tcp port 443 >"$PLACE/out" 2>"$PLACE/err" &
    local pid=$!
    for ((i = 0; i < 200; i++)); do
        [[ $(wc -l <"$PLACE/out") != 6 ]] || break
        sleep 0.02
    done
    kill -INT "$(pgrep -P "$pid" sluicectl)"
    wait "$pid" || status=$?
    OUT=$(cat "$PLACE/out") ERR=$(cat "$PLACE/err")
    [[ $status == 0 ]] || fail "Ctrl-C ends trace with $status: $ERR"
    shows ".250000 work tcp" " judge: no rule"
    complains "2 packets, 5 missed"
    [[ $(tail -n 1 "$PLACE/log") == *'"method": "cancel"'* ]] || fail "the stream was not cancelled"
    grep -q '"filter": \[\[40, 0, 0, 12\]' "$PLACE/log" || fail "no filter was sent: $(cat "$PLACE/log")"

    # a pipe that closes ends quietly, also one that nothing is written to any more
    for verb in trace events; do
        timeout 20 "$CTL" "$verb" 2>"$PLACE/err" | head -n 1 >"$PLACE/out" || true
        [[ ! -s $PLACE/err && -s $PLACE/out ]] || fail "$verb | head: $(cat "$PLACE/err")"
    done

    ctl 0 capture -w "$PLACE/capture" --drops -c 7 -s 100
    asked 'capture {"count": 7, "drops": true, "snaplen": 100}'
    complains "1 packets, 0 missed"
    [[ $(od -A n -t x1 -N 4 "$PLACE/capture") == " 0a 0d 0d 0a" ]] || fail "that is no pcapng"
    grep -q 'verdict=drop reason=policy' "$PLACE/capture" || fail "no verdict in the capture"
    "$CTL" capture -w - 2>/dev/null | cmp - "$PLACE/capture" || fail "-w - writes something else"
    ctl 2 capture
    ctl 2 capture -w /nonexistent/x
    ctl 2 capture -w "$PLACE/x" port 80443
    ctl 2 capture -w /dev/full
    ctl 2 trace -c 0
    echo "ok:   streams, Ctrl-C, pipes"
}

check_explain() {
    answers '{"explain": {"result": {"verdict": "drop", "reason": "policy", "help": "no rule matched", "answer": "ICMP 3/13",
        "flow": "none", "rule": {"qube": "work", "policy": "drop", "origin": "file"}, "stages": [{"stage": "judge", "result": "drop", "text": "policy"}],
        "text": "work may not reach 1.1.1.1"}}}'
    ctl 0 explain from=work dst=1.1.1.1 proto=tcp dport=443
    asked 'explain {"dport": 443, "dst": "1.1.1.1", "from": "work", "proto": "tcp"}'
    shows "drop: work may not reach 1.1.1.1" "judge drop" "work: policy=drop (file)" "ICMP 3/13"
    ctl 2 explain from=work
    ctl 2 explain from=work dst=1.1.1.1 dport=80443
    echo "ok:   explain"
}

# Names and comments come from elsewhere, and end on a terminal.
check_hostile() {
    local evil='\u001b[2J\u0007\n\r\t\u009b2J\u202e\u007f'
    local qube="{\"qube\": \"w$evil\", \"name\": \"w$evil\", \"state\": \"bad\", \"origin\": \"file\", \"source\": \"$evil\", \"error\": \"$evil\",
        \"policy\": \"drop$evil\", \"addresses\": [\"$evil\"], \"port\": \"$evil\", \"rules\": [{\"rule\": \"$evil\", \"comment\": \"$evil\", \"origin\": \"$evil\"}]}"
    local packet="{\"port\": \"$evil\", \"verdict\": \"$evil\", \"reason\": \"$evil\", \"rule\": \"$evil\", \"source\": \"$evil\", \"destination\": \"$evil\", \"icmp\": \"$evil\", \"flags\": \"$evil\", \"stages\": [\"$evil\"]}"
    answers "{\"rules.get\": {\"result\": {\"qubes\": [$qube]}}, \"qubes\": {\"result\": {\"qubes\": [$qube]}},
        \"status\": {\"result\": {\"version\": \"$evil\", \"config\": \"$evil\", \"warnings\": [\"$evil\"], \"qubes\": [$qube], \"ports\": [{\"name\": \"$evil\", \"role\": \"$evil\"}]}},
        \"forward.list\": {\"result\": {\"forwards\": [{\"name\": \"$evil\", \"rule\": \"$evil\", \"listens\": [\"$evil\"], \"comment\": \"$evil\"}]}},
        \"flows\": {\"stream\": [{\"flows\": [{\"proto\": \"$evil\", \"state\": \"$evil\", \"qube\": \"$evil\", \"rule\": \"$evil\"}]}], \"result\": {}},
        \"drops\": {\"result\": {\"reasons\": [{\"reason\": \"$evil\", \"help\": \"$evil\", \"ports\": {\"$evil\": 1}}], \"last\": [$packet]}},
        \"explain\": {\"result\": {\"verdict\": \"$evil\", \"text\": \"$evil\", \"stages\": [{\"stage\": \"$evil\", \"text\": \"$evil\"}], \"rule\": {\"qube\": \"$evil\", \"policy\": \"$evil\"}}},
        \"trace\": {\"stream\": [{\"packets\": [$packet]}], \"result\": {}},
        \"events\": {\"stream\": [{\"kind\": \"$evil\", \"text\": \"$evil\"}], \"result\": {}},
        \"metrics\": {\"result\": {\"text\": \"$evil\"}}, \"counters\": {\"result\": {\"drops\": {\"$evil\": 1}, \"ports\": {\"$evil\": {}}}},
        \"rules.reset\": {\"error\": {\"message\": \"$evil\"}}}"
    local line
    while read -r line; do
        # shellcheck disable=SC2086  # words
        "$CTL" $line >"$PLACE/out" 2>"$PLACE/err" || [[ $line == *reset* ]] || fail "$line: $(cat "$PLACE/err")"
        [[ -s $PLACE/out || -s $PLACE/err ]] || fail "$line shows nothing"
        harmless "$PLACE/out"
        harmless "$PLACE/err"
    done <<-'LINES'
		rules show
		qubes
		status
		forward list
		flows
		drops
		explain from=a dst=b
		trace -v
		events
		metrics
		counters
		rules reset x
		completion qubes
		--json rules show
		--json trace
		--json status
	LINES

    # answers of other types than expected, and none at all
    local method
    for method in '[]' '{}' '7' 'null' '"x"' '{"qubes": 5, "ports": "x", "rules": [1], "forwards": [[]], "reasons": {}, "last": 3, "drops": [2], "text": 4}' \
        '{"qubes": [1, {"rules": 5, "drops": 7, "addresses": [5]}], "ports": [[]], "workers": [null], "warnings": [5], "forwards": [{"listens": [1]}], "reasons": [1], "last": [{"icmp": []}], "rule": 5, "forward": [], "translation": []}'; do
        answers "{\"rules.get\": {\"result\": $method}, \"qubes\": {\"result\": $method}, \"status\": {\"result\": $method},
            \"counters\": {\"result\": $method}, \"forward.list\": {\"result\": $method}, \"drops\": {\"result\": $method},
            \"explain\": {\"result\": $method}, \"metrics\": {\"result\": $method}, \"hello\": {\"result\": $method},
            \"flows\": {\"stream\": [{\"flows\": $method}, {\"flows\": [$method]}], \"result\": $method},
            \"events\": {\"stream\": [{\"kind\": $method, \"text\": $method}], \"result\": $method},
            \"trace\": {\"stream\": [{\"packets\": $method}, {\"packets\": [$method]}], \"result\": $method},
            \"rules.reset\": {\"result\": $method}}"
        for line in "rules show" qubes "qubes x" status counters "forward list" drops "explain from=a dst=b" \
            metrics version flows events "trace -v" "rules reset x"; do
            # shellcheck disable=SC2086  # words
            ctl 0 $line
        done
    done
    echo "ok:   hostile answers"
}

check_help() {
    local verb verbs=0
    while read -r verb; do
        # shellcheck disable=SC2086  # words
        ctl 0 help $verb
        shows "usage: sluicectl $verb" "example:"
        # shellcheck disable=SC2086
        ctl 0 $verb --help
        shows "usage: sluicectl $verb"
        verbs=$((verbs + 1))
    done < <("$CTL" help --verbs)
    ((verbs > 25)) || fail "only $verbs verbs"
    ctl 2 help nope
    ctl 0 help rules
    shows "rules full-access"
    ctl 0 --json help rules add
    [[ $("$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["verbs"][0]["verb"])' <<<"$OUT") == "rules add" ]] ||
        fail "help --json: $OUT"
    # nothing that is wider than a terminal, but for examples
    [[ -z $("$CTL" help | awk 'length > 79') ]] || fail "help is wide"
    echo "ok:   help of $verbs verbs"
}

# complete WORD...: what bash would offer for the last word
complete_words() {
    bash --norc -c '
        source "$1"
        shift
        COMP_WORDS=(sluicectl "$@")
        COMP_CWORD=$#
        COMP_LINE="sluicectl $*" COMP_LINE=${COMP_LINE// = /=}
        COMP_POINT=${#COMP_LINE}
        PATH='"$BUILD/app"':$PATH
        _sluicectl
        printf "%s\n" "${COMPREPLY[@]}"' bash "$BUILD/app/completion/sluicectl" "$@" | sort | tr '\n' ' '
}

# offers EXPECTED WORD...: exactly these
offers() {
    local said
    said=$(complete_words "${@:2}")
    [[ $said == "$1 " ]] || fail "completion of \"${*:2}\" offers \"$said\", should be \"$1 \""
}

check_completion() {
    local said
    answers '{"rules.get": {"result": {"qubes": [{"qube": "work"}, {"qube": "personal"}, {"qube": "wiki"}]}},
        "forward.list": {"result": {"forwards": [{"name": "web"}, {"name": "mail"}]}}}'
    offers "flows forward" f
    offers "rules" ru
    offers "add delete full-access insert policy reset set show" rules ""
    offers "wiki work" rules show w
    offers "dst4= dst6= dsthost= dstports=" rules add work d
    offers "accept" rules add work action = a
    offers "udp" rules add work action=accept proto = u
    offers "mail web" forward delete ""
    offers "external" forward add work forwardtype = e
    offers "--rule-no --runtime" rules delete work --ru
    offers "wiki work" flows qube = w
    offers "personal" explain from = p
    offers "--snaplen --socket" capture --s
    offers "drop" rules policy work d
    offers "personal" --json rules show p
    offers "wiki work" trace --qube w
    offers "bash" completion b
    said=$(cd "$PLACE" && complete_words import work fire)
    [[ $said == "firewall.xml " ]] || fail "a file is not offered: $said"
    # without sluiced nothing is offered, and nothing is said
    said=$(SLUICE_SOCKET=$PLACE/none complete_words rules show "" 2>&1)
    [[ $said == " " ]] || fail "without sluiced completion says: $said"
    bash -n "$BUILD/app/completion/sluicectl"
    if command -v zsh >/dev/null; then
        zsh -n "$BUILD/app/completion/_sluicectl" || fail "zsh does not take its completion"
    fi
    echo "ok:   completion in bash"
}

main() {
    [[ -n $PYTHON ]] || skip "python3 is not installed"
    [[ -x $CTL ]] || fail "$CTL is not built"
    : >"$PLACE/answers"
    "$PYTHON" "$ROOT/tests/smoke/fake_sluiced.py" "$SLUICE_SOCKET" "$PLACE/answers" "$PLACE/log" \
        >"$PLACE/server" 2>&1 &
    SERVER=$!
    for ((i = 0; i < 200; i++)); do
        ! grep -q ready "$PLACE/server" || break
        sleep 0.05
    done
    check_status
    check_pages
    check_rules
    check_forwards
    check_batch
    check_import
    check_explain
    check_streams
    check_hostile
    check_help
    check_completion
}

main
