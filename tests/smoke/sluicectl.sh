#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Every verb of sluicectl against a running sluiced, with traffic that shows what it has done. The
# last check is that none of the table's verbs was left out.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

TMUX= # name of a server of ours

# ctl ARGUMENT...: sluicectl, which must do it. What it is called with is noted.
ctl() {
    printf '%s\n' "$*" >>"$WORLD/called"
    "$BUILD/app/sluicectl" "$@" </dev/null
}

# refused STATUS MESSAGE ARGUMENT...: it must fail like that
refused() {
    local status=0 said
    said=$(ctl "${@:3}" 2>&1 >/dev/null) || status=$?
    [[ $status == "$1" && $said == *"$2"* ]] ||
        fail "sluicectl ${*:3}: status $status, should be $1 with \"$2\": $said"
}

# has TEXT FILE: however many blanks there are
has() { tr -s ' ' <"$2" | grep -F -- "$1" >/dev/null; }

# shows TEXT ARGUMENT...: what it prints has that in it
shows() {
    ctl "${@:2}" >"$WORLD/out" || fail "sluicectl ${*:2} ends with $?"
    has "$1" "$WORLD/out" || fail "sluicectl ${*:2}: no \"$1\" in: $(head -n 30 "$WORLD/out")"
}

# web PLACE ADDRESS PORT: whether an HTTP server answers there; what it says is in $WORLD/who
web() {
    local place=(in_qube "$1")
    [[ $1 != up && $1 != out ]] || place=(ip netns exec "$WORLD_NAME-$1")
    "${place[@]}" curl -sS --noproxy '*' --connect-timeout 2 --max-time 5 -o "$WORLD/who" \
        "http://$2:$3/who" 2>/dev/null
}

passes() { web "$@" || fail "$1 cannot reach $2 port $3: $(counter drops)"; }
blocked() { ! web "$@" || fail "$1 reaches $2 port $3"; }

world_up() {
    world_require curl ping tmux tcpdump
    world_create work personal
    qube_rules work <<-RULES
		policy=drop
		action=accept proto=icmp
	RULES
    qube_rules personal <<<'policy=accept'
    in_background "$WORLD/uplink.log" in_uplink "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/echo_server.py" "$WORLD/uplink.echo" tcp:8080 tcp:8081
    in_background "$WORLD/work.log" in_qube work "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/echo_server.py" "$WORLD/work.echo" tcp:8443 tcp:8444
    wait_for 10 "the servers" grep -q ready "$WORLD/uplink.echo"
    wait_for 10 "the servers" grep -q ready "$WORLD/work.echo"
    sluice_start
    export SLUICE_SOCKET=$WORLD/control.sock
    in_qube work ping -q -c 5 -i 0.02 "$HOST" >/dev/null || fail "no traffic"
    blocked work "$HOST" 8080
}

check_pages() {
    shows "2 qubes, 0 forwards" status
    has "work work 1 file" "$WORLD/out" || fail "no qube work: $(cat "$WORLD/out")"
    shows "policy 1" counters
    has "no-flow" "$WORLD/out" && fail "a reason that was not counted is shown"
    shows "half-open 8192 0" qubes work
    shows "sluice_qube_" metrics
    grep -q '^# EOF$' "$WORLD/out" || fail "the metrics have no end"
    shows "you may change" version
    shows "rules full-access" help
    shows '"access":"change"' --json version
    ok "status, counters, qubes, metrics, version, help"
}

check_rules() {
    local rule="action=accept dst4=$HOST proto=tcp dstports=8080"
    # shellcheck disable=SC2086  # properties as words
    ctl rules add work $rule --check >/dev/null
    blocked work "$HOST" 8080
    # shellcheck disable=SC2086
    ctl rules add work $rule comment="until lunch"
    passes work "$HOST" 8080
    shows "1 action=accept dst4=$HOST/32 proto=tcp dstports=8080-8080 1 kept until lunch" \
        rules show work
    ctl rules insert work action=drop dst4="$HOST" proto=tcp
    blocked work "$HOST" 8080
    shows "0 action=drop dst4=$HOST/32 proto=tcp 1" rules show work
    ctl rules delete work --rule-no 0
    passes work "$HOST" 8080
    # shellcheck disable=SC2086
    ctl rules delete work $rule comment="until lunch"
    blocked work "$HOST" 8080
    ctl rules policy work accept
    passes work "$HOST" 8081
    ctl rules set work policy=drop "$rule" 'action=drop proto=icmp'
    passes work "$HOST" 8080
    blocked work "$HOST" 8081
    printf 'policy=drop\n# a comment\naction=accept proto=tcp dstports=8081-8081\n' >"$WORLD/new.rules"
    ctl rules set work --file "$WORLD/new.rules"
    passes work "$HOST" 8081
    blocked work "$HOST" 8080
    echo 'action=accept proto=tcp dstports=80443' >>"$WORLD/new.rules"
    refused 1 "$WORLD/new.rules:4: dstports: 80443 is over 65535" rules set work --file "$WORLD/new.rules"
    passes work "$HOST" 8081
    refused 1 "no qube" rules reset nobody
    ctl rules reset work
    blocked work "$HOST" 8081
    shows "work.rules:2" rules show work

    ctl rules full-access work 3s --runtime
    passes work "$HOST" 8080
    shows "runtime full access for 3s" rules show work
    sleep 3
    blocked work "$HOST" 8080
    ctl rules reset work
    ok "rules show, add, insert, delete, policy, set, reset, full-access"
}

check_forwards() {
    local plan
    blocked up "$UPLINK" 443
    shows "forward web" forward add work action=forward proto=tcp forwardtype=external \
        srcports=443-443 dstports=8443-8443 srchost=0.0.0.0/0 comment="example" --name web
    passes up "$UPLINK" 443
    shows "web work forwardtype=external" forward list
    has "$UPLINK 1 kept example" "$WORLD/out" || fail "forward list: $(cat "$WORLD/out")"
    refused 1 "web" forward add work proto=tcp forwardtype=external srcports=443 dstports=8444
    refused 1 "over 65535" forward add work proto=tcp forwardtype=external srcports=80443

    # the uplink host as sys-net: what the plan says, and nothing else, lets somebody beyond it in
    namespace_create out
    ip link add eth0 netns "$WORLD_NAME-out" type veth peer name eth1 netns "$WORLD_NAME-up"
    ip -n "$WORLD_NAME-out" address add 198.51.100.2/24 dev eth0
    ip -n "$WORLD_NAME-out" link set eth0 up
    in_uplink ip address add 198.51.100.1/24 dev eth1
    in_uplink ip link set eth1 up
    in_uplink ip link set eth0 group 2
    in_uplink sysctl -qw net.ipv4.ip_forward=1
    in_uplink nft -f - <<-'NFT'
		table ip qubes {
		chain custom-forward { }
		chain forward {
		type filter hook forward priority filter ; policy drop ;
		jump custom-forward
		ct state established,related accept
		}
		}
	NFT
    blocked out 198.51.100.1 443
    plan=$(ctl forward plan web --via sys-net)
    in_uplink bash -e <<<"$plan" || fail "the plan is not what nft takes: $plan"
    passes out 198.51.100.1 443
    [[ $(cat "$WORLD/who") == "198.51.100.2 "*" 8443" ]] ||
        fail "the server in the qube sees another client: $(cat "$WORLD/who")"
    shows "dnat to $UPLINK" forward plan proto=tcp forwardtype=external srcports=9000-9009

    ctl forward delete web
    blocked up "$UPLINK" 443
    ctl forward add work proto=tcp forwardtype=external srcports=443 dstports=8444 expire=+2 \
        --runtime --name short >/dev/null
    passes up "$UPLINK" 443
    sleep 2.2
    blocked up "$UPLINK" 443
    refused 1 short forward delete short
    ok "forward add, list, plan, delete; a plan works when it is pasted"
}

check_batch_and_import() {
    cat >"$WORLD/batch" <<-BATCH
		# both or none
		rules add work 'action=accept dst4=$HOST proto=tcp dstports=8080'
		rules set personal policy=drop
		rules insert nobody action=drop
	BATCH
    passes personal "$HOST" 8080
    refused 1 "$WORLD/batch:4: " batch --file "$WORLD/batch"
    blocked work "$HOST" 8080
    passes personal "$HOST" 8080
    sed -i 4d "$WORLD/batch"
    ctl batch --file "$WORLD/batch"
    passes work "$HOST" 8080
    blocked personal "$HOST" 8080
    ctl rules reset work
    ctl rules reset personal

    cat >"$WORLD/firewall.xml" <<-XML
		<firewall version="2"><rules>
		<rule><properties>
		  <property name="action">accept</property>
		  <property name="dsthost">$HOST</property>
		  <property name="proto">tcp</property>
		  <property name="dstports">8080</property>
		  <property name="comment">our web</property>
		</properties></rule>
		<rule><properties>
		  <property name="action">accept</property><property name="expire">1600000000</property>
		</properties></rule>
		<rule><properties>
		  <property name="action">forward</property><property name="forwardtype">external</property>
		  <property name="proto">tcp</property><property name="srcports">444</property>
		  <property name="dstports">8444</property>
		</properties></rule>
		<rule><properties><property name="action">drop</property></properties></rule>
		</rules></firewall>
	XML
    ctl import work "$WORLD/firewall.xml" --dry-run >"$WORLD/out" 2>"$WORLD/left-out"
    has "$WORLD/firewall.xml:9: left out, it has expired" "$WORLD/left-out" ||
        fail "said: $(cat "$WORLD/left-out")"
    blocked work "$HOST" 8080
    ctl import work "$WORLD/firewall.xml" >"$WORLD/imported" 2>/dev/null
    passes work "$HOST" 8080
    blocked work "$HOST" 8081
    passes up "$UPLINK" 444
    shows "our web" rules show work
    sed -i 's/8080/80443/' "$WORLD/firewall.xml"
    refused 2 "$WORLD/firewall.xml:6: property dstports: 80443 is over 65535" \
        import work "$WORLD/firewall.xml"
    ctl forward delete "$(sed -n "s/^forward //p" "$WORLD/imported")"
    ok "batch and import"
}

# Needs the rules of the import: port 8080 is allowed, 8081 is not.
check_seeing() {
    local drip status=0
    in_qube work curl -sS -N --noproxy '*' --max-time 60 -o "$WORLD/drip" "http://$HOST:8080/drip" \
        2>/dev/null &
    drip=$!
    wait_for 5 "a transfer" test -s "$WORLD/drip"
    shows "src=10.137.0.16 dst=$HOST" flows qube=work proto=tcp state=established dst="$HOST" dport=8080
    [[ $(wc -l <"$WORLD/out") == 1 ]] || fail "that is not one flow: $(cat "$WORLD/out")"
    [[ -z $(ctl flows qube=work dport=9999 2>/dev/null) ]] || fail "the filter lets others through"
    shows "1 flows ended" flows delete qube=work state=established dport=8080
    wait "$drip" || status=$?
    ((status == 56 || status == 18)) || fail "the transfer was not reset: curl ends with $status"

    blocked work "$HOST" 8081
    shows "rule" drops qube=work
    grep "$(qube_address work):.* > $HOST:8081 \[syn\] length" "$WORLD/out" >/dev/null ||
        fail "the last packet is not shown: $(cat "$WORLD/out")"
    refused 1 reason drops reason=nonsense

    shows "rule work 1" explain from=work dst="$HOST" proto=tcp dport=8081
    has "drop: " "$WORLD/out" || fail "explain: $(cat "$WORLD/out")"
    shows "out uplink" explain from=work dst="$HOST" proto=tcp dport=8080
    has "leaves as $UPLINK:" "$WORLD/out" || fail "explain: $(cat "$WORLD/out")"
    ok "flows, flows delete, drops, explain"
}

check_streams() {
    local pid
    in_background "$WORLD/trace" "$BUILD/app/sluicectl" trace -v tcp port 8081 or port 8080
    in_background "$WORLD/capture.said" "$BUILD/app/sluicectl" capture -w "$WORLD/capture" --drops tcp
    in_background "$WORLD/events" "$BUILD/app/sluicectl" events policy
    printf '%s\n' "trace tcp" "capture" "events" >>"$WORLD/called"
    sleep 0.5
    passes work "$HOST" 8080
    blocked work "$HOST" 8081
    in_qube work ping -q -c 1 "$HOST" >/dev/null || true
    ctl rules add work action=accept proto=udp
    wait_for 5 "a packet in the trace" grep -q ":8081 \[syn\].*drop" "$WORLD/trace"
    wait_for 5 "an event" grep -q policy "$WORLD/events"
    grep -q ":8080 .*forward" "$WORLD/trace" || fail "trace: $(cat "$WORLD/trace")"
    grep -q icmp "$WORLD/trace" && fail "the filter lets icmp through: $(cat "$WORLD/trace")"
    for pid in "${WORLD_PIDS[@]: -3}"; do
        kill -s INT "$pid"
        wait "$pid" || fail "Ctrl-C ends a stream with status $?"
    done
    tail -n 1 "$WORLD/trace" | grep -q ' 0 missed$' || fail "trace: $(tail -n 1 "$WORLD/trace")"
    grep -qa 'verdict=drop reason=rule' "$WORLD/capture" || fail "no verdict in the capture"
    tcpdump -nr "$WORLD/capture" 2>/dev/null >"$WORLD/out"
    grep -q "$HOST.8081: Flags \[S\]" "$WORLD/out" || fail "capture: $(cat "$WORLD/out")"
    grep -q "$HOST.8080" "$WORLD/out" && fail "--drops has what passed: $(cat "$WORLD/out")"

    # a count ends them, a pipe that closes as well
    in_background "$WORLD/out" timeout 10 "$BUILD/app/sluicectl" capture -c 2 -s 60 -w "$WORLD/two"
    pid=$!
    sleep 0.3
    in_qube work ping -q -c 3 -i 0.05 "$HOST" >/dev/null || true
    passes work "$HOST" 8080
    wait "$pid" || fail "a capture with a count ends with $?: $(cat "$WORLD/out")"
    [[ $(tcpdump -nr "$WORLD/two" 2>/dev/null | wc -l) == 2 ]] || fail "-c 2 has not two packets"
    ok "trace, capture, events"
}

# screen: what is on it
screen() { tmux -L "$TMUX" capture-pane -p; }
on_screen() { screen | tr -s ' ' | grep -E -- "$1" >/dev/null; }
press() { tmux -L "$TMUX" send-keys "$@"; }

check_top() {
    TMUX=$WORLD_NAME
    in_background /dev/null in_qube work ping -i 0.02 "$HOST"
    printf 'top\n' >>"$WORLD/called"
    tmux -L "$TMUX" -f /dev/null new-session -d -x 80 -y 24 \
        "LANG=C.UTF-8 SLUICE_SOCKET=$SLUICE_SOCKET '$BUILD/app/sluicectl' top"
    # about 50 packets per second each way
    wait_for 10 "rates on the screen" on_screen '^work [0-9]+ [3-6][0-9] [0-9]+ kbit/s [3-6][0-9] '
    on_screen '^personal 0 0 0 bit/s' || on_screen '^personal ' || fail "no personal: $(screen)"
    on_screen 'q ends' || fail "no help at 80x24: $(screen)"
    press n
    wait_for 5 "sorting" on_screen 'sorted by name'
    press Down Enter
    wait_for 5 "one qube" on_screen '^FLOWS'
    wait_for 5 "its rules" on_screen '[0-9] action=accept dst4='
    wait_for 5 "its flows" on_screen "icmp replied .* > $HOST"
    tmux -L "$TMUX" resize-window -x 60 -y 12
    wait_for 5 "a smaller screen" on_screen '^Escape or Backspace'
    tmux -L "$TMUX" resize-window -x 100 -y 40
    press Escape
    wait_for 5 "the list again" on_screen '^personal '
    press Space
    wait_for 5 "a pause" on_screen PAUSED
    press Space
    sluice_stop KILL 2>/dev/null || true
    wait_for 10 "the end of sluiced" on_screen 'no answer from sluiced'
    sluice_start
    wait_for 10 "rates of the next sluiced" on_screen '^work [0-9]+ [3-6][0-9] '
    press q
    wait_for 5 "its end" bash -c "! tmux -L '$TMUX' has-session"
    ok "top"
}

# Kept changes are there after kill -9, runtime ones are not.
check_kept() {
    shows "our web" rules show work
    ctl rules add personal --runtime action=drop proto=tcp
    shows "runtime" rules show personal
    sluice_stop
    sluice_start
    shows "our web" rules show work
    ctl rules show personal | grep -q runtime && fail "a runtime change was kept"
    ok "changes are kept, or not"
}

check_completion() {
    [[ $(ctl completion qubes | sort | tr '\n' ' ') == "personal work " ]] ||
        fail "completion knows the qubes: $(ctl completion qubes)"
    ctl completion bash | cmp - "$BUILD/app/completion/sluicectl"
    ok "completion"
}

# No verb of the table was left out.
check_all() {
    local verb missing=
    "$BUILD/app/sluicectl" help --verbs >"$WORLD/verbs"
    while read -r verb; do
        awk -v verb="$verb" '
            NR == FNR { verbs[$0]; next }
            { sub(/^--[a-z]+ /, ""); two = $1 " " $2; said = two in verbs ? two : $1
              if (said == verb) found = 1 }
            END { exit !found }' "$WORLD/verbs" "$WORLD/called" || missing+=" \"$verb\""
    done <<<"$(cat "$WORLD/verbs")"
    [[ -z $missing ]] || fail "verbs that nothing here has tried:$missing"
    ok "every verb was tried: $(wc -l <"$WORLD/verbs") of them"
}

main() {
    world_up
    check_pages
    check_rules
    check_forwards
    check_batch_and_import
    check_seeing
    check_streams
    check_top
    check_kept
    check_completion
    check_all
}

main
