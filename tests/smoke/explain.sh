#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Asking a running sluiced what it would do, and then seeing it do that: what passes, what a rule, a
# policy, a missing allow or an error in the rules refuses, forwards, hairpins and DNS. Asking opens
# nothing, counts nothing and sends nothing.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

# explain PARAMS: the answer, in one line.
explain() {
    "$PYTHON" - "$WORLD/control.sock" "$1" <<-'PYTHON'
		import json, socket, sys

		connection = socket.socket(socket.AF_UNIX)
		connection.settimeout(10)
		connection.connect(sys.argv[1])
		request = {"jsonrpc": "2.0", "id": 1, "method": "explain", "params": json.loads(sys.argv[2])}
		connection.sendall(json.dumps(request).encode() + b"\n")
		answer = json.loads(connection.makefile("rb").readline())
		if "error" in answer:
		    error = answer["error"]
		    print("error", error["code"], error["data"]["key"], error["message"])
		else:
		    print(json.dumps(answer["result"]))
	PYTHON
}

# expect PARAMS PATTERN...: the answer has all of these.
expect() {
    local answer pattern
    answer=$(explain "$1")
    for pattern in "${@:2}"; do
        grep -qE "$pattern" <<<"$answer" || fail "$1: no '$pattern' in $answer"
    done
    "$PYTHON" -c 'import json, sys; print("      " + json.loads(sys.argv[1])["text"])' "$answer"
}

# refused PARAMS CODE KEY
refused() {
    local answer
    answer=$(explain "$1")
    [[ $answer == "error $2 $3 "* ]] || fail "$1: $answer, expected error $2 about $3"
}

world_up() {
    world_require ping curl
    world_create work personal broken
    qube_rules work <<-RULES
		policy=drop
		action=accept specialtarget=dns
		action=drop dst4=$HOST/32 proto=tcp dstports=81-81
		action=accept dsthost=example.com proto=tcp dstports=82-82
		action=accept proto=tcp dstports=80-81
		action=accept proto=icmp
		action=accept dst4=10.137.0.0/16 proto=tcp dstports=5222-5223
	RULES
    qube_rules personal <<<'policy=accept'
    qube_rules broken <<<$'policy=accept\naction=accept proto=tcp dstports=80443'
    in_background "$WORLD/servers.out" in_uplink "$PYTHON" "$WORLD_ROOT/tests/smoke/echo_server.py" \
        "$WORLD/servers" tcp:80 tcp:81 tcp:82
    wait_for 10 "the servers" grep -q ready "$WORLD/servers"
    sluice_configure '[forward web]' 'forwardtype = external' 'proto = tcp' 'srcports = 8080-8081' \
        'dstports = 80-81' 'qube = work' "srchost = $HOST/32" \
        '[forward inner]' 'forwardtype = internal' 'proto = tcp' 'srcports = 5223' \
        'qube = personal' '[allow chat]' 'from = work' 'to = personal' 'proto = tcp' \
        'dstports = 5222'
    sluice_start
    in_qube work ping -q -c 2 -i 0.2 -W 2 "$HOST" >/dev/null || fail "no way to $HOST"
}

check_rules() {
    expect '{"from": "work", "dst": "'"$HOST"'", "proto": "tcp", "dport": 80}' \
        '"verdict": "forward", "flow": "new"' '"qube": "work", "number": 3, "rule": "action=accept proto=tcp dstports=80-81", "origin": "work.rules:5"' \
        "\"translation\": \{\"source\": \"$UPLINK\"" '"out": "uplink"' "\"next_hop\": \"$HOST\""
    expect '{"from": "work", "dst": "'"$HOST"'", "dport": 81}' '"verdict": "drop"' \
        '"reason": "rule"' '"number": 1' '"answer": "ICMP: communication administ'
    expect '{"from": "work", "dst": "'"$HOST"'", "dport": 82}' '"reason": "policy"' \
        '"policy": "drop"' 'rule work/0002 is for example.com, whose addresses are not known'
    expect '{"from": "broken", "dst": "'"$HOST"'", "dport": 80}' '"reason": "bad-rules"' \
        'dstports: 80443 is over 65535'
    expect '{"from": "work", "dst": "8.8.8.8"}' '"verdict": "forward"' '"number": 4' '"id": 61000'
    expect '{"from": "work", "dst": "'"$HOST"'", "dport": 80, "flags": "syn,fin"}' \
        '"reason": "tcp-flags"'
    expect '{"from": "work", "dst": "'"$HOST"'", "dport": 80, "flags": "ack"}' '"reason": "tcp-state"'
    in_qube work curl -sS -m 5 "http://$HOST/who" >/dev/null || fail "port 80 does not pass"
    ! in_qube work curl -sS -m 5 "http://$HOST:81/who" >/dev/null 2>&1 || fail "port 81 passes"
    ! in_qube work curl -sS -m 5 "http://$HOST:82/who" >/dev/null 2>&1 || fail "port 82 passes"
    ok "rules: explained, and so it is"
}

check_places() {
    expect '{"from": "work", "dst": "10.137.0.17", "dport": 5222}' '"verdict": "forward"' \
        '"out": "personal"'
    expect '{"from": "work", "dst": "10.137.0.17", "dport": 5223}' '"reason": "inter-qube"' \
        'an \[allow\] from work to personal for tcp port 5223 is missing'
    expect '{"from": "work", "dst": "10.137.0.1", "dport": 5223}' '"forward": "inner"' \
        '"destination": "10.137.0.17"'
    expect '{"from": "work", "dst": "10.139.1.1", "proto": "udp", "dport": 53}' \
        "\"dns\": \"$HOST\"" '"number": 0'
    expect '{"from": "work", "dst": "10.137.0.1"}' '"verdict": "local"'
    expect '{"from": "work", "dst": "10.137.0.1", "dport": 22}' '"reason": "local-refused"'
    expect '{"from": "uplink", "dst": "'"$UPLINK"'", "dport": 8080}' '"verdict": "forward"' \
        '"forward": "web"' '"destination": "10.137.0.16", "sport": 61000, "dport": 80' '"out": "work"'
    expect '{"from": "uplink", "src": "192.168.50.77", "dst": "'"$UPLINK"'", "dport": 8080}' \
        '"reason": "no-flow"' 'no forward'
    expect '{"from": "uplink", "src": "10.137.0.17", "dst": "'"$UPLINK"'", "dport": 8080}' \
        '"reason": "downstream-source"'
    expect '{"from": "work", "dst": "'"$HOST6"'"}' '"verdict": "forward"' "\"source\": \"$UPLINK6\""
    expect '{"from": "work", "dst": "192.168.50.99", "dport": 80}' '"result": "wait"' 'MAC'
    ok "forwards, qubes, DNS, the firewall itself"
}

check_open() {
    in_background "$WORLD/drip" ip netns exec "$WORLD_NAME-work" \
        curl -sS --no-buffer --local-port 45000 "http://$HOST/drip"
    wait_for 5 "the download" test -s "$WORLD/drip"
    expect '{"from": "work", "dst": "'"$HOST"'", "dport": 80, "sport": 45000, "flags": "ack"}' \
        '"verdict": "forward", "flow": "open"' '"number": 3' 'it belongs to an open flow .established'
    expect '{"from": "uplink", "dst": "'"$UPLINK"'", "dport": 45000, "sport": 80, "flags": "ack"}' \
        '"verdict": "forward", "flow": "open"' '"destination": "10.137.0.16"' '"out": "work"'
    qube_rules work <<<'policy=drop'
    sluice_reload || fail "$RELOAD_SAID"
    expect '{"from": "work", "dst": "'"$HOST"'", "dport": 80, "sport": 45001}' '"reason": "policy"'
    wait_for 5 "the end of the download" grep -q 'reset by peer' "$WORLD/drip"
    expect '{"from": "work", "dst": "'"$HOST"'", "dport": 80, "sport": 45000, "flags": "ack"}' \
        '"reason": "flow-refused", .*"answer": "TCP: reset"'
    ok "connections that are open"
}

check_wrong() {
    refused '{"dst": "1.1.1.1"}' -32602 from
    refused '{"from": "nobody", "dst": "1.1.1.1"}' -32001 from
    refused '{"from": "work"}' -32602 dst
    refused '{"from": "work", "dst": "example.com"}' -32602 dst
    refused '{"from": "work", "dst": "1.1.1.1", "src": "fd00::1"}' -32602 src
    refused '{"from": "work", "dst": "1.1.1.1", "proto": "tcp"}' -32602 dport
    refused '{"from": "work", "dst": "1.1.1.1", "proto": "tcp", "dport": 80443}' -32602 dport
    refused '{"from": "work", "dst": "1.1.1.1", "proto": "icmp", "dport": 80}' -32602 dport
    refused '{"from": "work", "dst": "1.1.1.1", "proto": "gre"}' -32602 proto
    refused '{"from": "work", "dst": "1.1.1.1", "dport": 80, "flags": "sin"}' -32602 flags
    refused '{"from": "work", "dst": "1.1.1.1", "dport": 80, "icmptype": 8}' -32602 icmptype
    refused '{"from": "work", "dst": "1.1.1.1", "port": 80}' -32602 port
    refused '{"from": 7, "dst": "1.1.1.1"}' -32602 from
    ok "wrong questions are refused, and name the key"
}

# What moves by itself is nothing here: no packet passes meanwhile. Kernels may say something to
# everybody, which is dropped.
still() { counter | "$PYTHON" -c '
import json, sys
counters = json.load(sys.stdin)
print({key: value for key, value in counters.items() if key not in ("ports", "verdicts", "drops")},
      counters["verdicts"]["forward"])'; }

main() {
    world_up
    local before
    before=$(still)
    expect '{"from": "work", "dst": "'"$HOST"'", "dport": 81}' '"verdict": "drop"'
    expect '{"from": "work", "dst": "'"$HOST"'", "dport": 80}' '"verdict": "forward"'
    expect '{"from": "work", "dst": "192.168.50.98", "dport": 80}' '"result": "wait"'
    [[ $(still) == "$before" ]] || fail "asking moved a counter: $(still), before $before"
    ok "asking moves no counter"
    check_rules
    check_places
    check_open
    check_wrong
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
}

main
