#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# `make run`: see sluice work. Two qubes, a firewall and a host beyond its uplink, each in a network
# namespace of its own, and ordinary programs that talk to each other through the firewall.
#
#   KEEP=1      stay up afterwards, to look around in it
#   PCAP=FILE   take a capture through the same data path instead, with the configuration of
#               pcaps/demo; also PCAP="work=FILE uplink=FILE". Needs no root
#   MODE=kernel let the kernel with nftables be the firewall, to check this script
#
# One line per check: what should happen, what happened, and which drop reason was counted. The exit
# status is 0 only when all of them are right.
# shellcheck source=smoke/lib.sh
source "$(dirname "$0")/smoke/lib.sh"

DEMO=$WORLD_ROOT/pcaps/demo
MEGABYTES=200
AT_ONCE_MS=1000
# the kernel answers while connect() still holds the socket, which then hears of it a second later
[[ $MODE == sluice ]] || AT_ONCE_MS=2000
wrong=0

if [[ -t 1 ]]; then
    green=$'\e[32m' red=$'\e[31m' bold=$'\e[1m' plain=$'\e[0m'
else
    green='' red='' bold='' plain=''
fi

# verdict RIGHT EXPECTED HAPPENED
verdict() {
    local mark="${green}ok  ${plain}"
    if (($1 == 0)); then
        mark="${red}FAIL${plain}"
        wrong=$((wrong + 1))
    fi
    printf '%s  %-62s  %s\n' "$mark" "$2" "$3"
}

# --- a capture instead --------------------------------------------------------------------------

# Each port's file of the case that is shipped: in-PORT.pcap.
replay_demo() {
    local file port inputs=()
    for file in "$DEMO"/in-*.pcap; do
        [[ -e $file ]] || fail "no capture in $DEMO"
        port=$(basename "$file" .pcap)
        inputs+=(--in "${port#in-}=$file")
    done
    replay "${inputs[@]}"
}

# replay_files [PORT=]FILE...: without a port, the capture is what the first qube of the example sent.
replay_files() {
    local word port file inputs=()
    for word; do
        file=$word
        port=$(awk '/^\[port / { name = $2; sub("]", "", name) }
            /^role *= *qube/ { print name; exit }' "$DEMO/sluice.conf")
        if [[ $word == *=* && ! -e $word ]]; then
            port=${word%%=*} file=${word#*=}
        fi
        [[ -r $file ]] || fail "$file: no such file"
        inputs+=(--in "$port=$file")
    done
    replay "${inputs[@]}"
}

replay() {
    local status=0 verdicts
    verdicts=$(mktemp)
    echo "sluice-replay --config $DEMO/sluice.conf $*"
    echo
    "$BUILD/app/sluice-replay" --config "$DEMO/sluice.conf" "$@" --verdicts "$verdicts" \
        >"$verdicts.table" || status=$?
    [[ ! -s $verdicts ]] || "$PYTHON" - "$verdicts" <<-'PYTHON'
		import itertools, json, sys

		SHOWN = 40
		with open(sys.argv[1]) as file:
		    packets = [json.loads(line) for line in itertools.islice(file, SHOWN + 1)]
		row = "{:>5} {:>10}  {:<10} {:<5} {:<46} {:<8} {:<18} {:<16} {}".format
		print(row("n", "seconds", "from", "", "", "verdict", "reason", "rule", "to").rstrip())
		for p in packets[:SHOWN]:
		    ends = " > ".join(p.get(key) or "-" for key in ("source", "destination"))
		    seconds = f"{float(p['time']) - float(packets[0]['time']):.6f}"
		    texts = (p.get(key) for key in ("verdict", "reason", "rule", "out"))
		    print(
		        row(
		            p["n"],
		            seconds,
		            p["port"],
		            p.get("proto") or "",
		            ends,
		            *(text or "-" for text in texts),
		        )
		    )
		if len(packets) > SHOWN:
		    print("      ... and so on: --verdicts has them all")
	PYTHON
    echo
    cat "$verdicts.table"
    rm -f "$verdicts" "$verdicts.table"
    return "$status"
}

# --- the world ----------------------------------------------------------------------------------

world_start() {
    local began=$EPOCHREALTIME
    world_create work personal
    # Port 81 falls to the policy; 82 to a rule of its own. There is a server on both.
    qube_rules work <<-RULES
		policy=drop
		action=accept specialtarget=dns
		action=accept dst4=$HOST/32 proto=tcp dstports=80-80
		action=accept dst4=$HOST/32 proto=udp dstports=7000-7000
		action=drop dst4=$HOST/32 proto=tcp dstports=82
		action=accept dst6=$HOST6/128 proto=tcp dstports=80-80
	RULES
    # A mistake that is easily made: the rules of this qube cannot be trusted, so nothing passes.
    qube_rules personal <<-RULES
		policy=accept
		action=drop dst4=$HOST/32 proto=tcp dstports=80443
	RULES
    mkdir "$WORLD/www"
    echo "hello from the uplink host" >"$WORLD/www/index"
    head -c "${MEGABYTES}M" /dev/urandom >"$WORLD/www/download"
    in_background "$WORLD/uplink_host.log" in_uplink "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/uplink_host.py" "$WORLD/www" 80 81 82 -- 7000
    in_background "$WORLD/dnsmasq.log" in_uplink dnsmasq --keep-in-foreground --conf-file=/dev/null \
        --no-resolv --no-hosts --pid-file= --user=root --listen-address="$HOST" --bind-interfaces \
        --address="/uplink.test/$HOST"
    wait_for 10 "the web server of the uplink host" test -e "$WORLD/www/ready"
    wait_for 10 "the resolver of the uplink host" in_uplink dig +time=1 +tries=1 "@$HOST" uplink.test
    firewall_start
    printf '%s\n\n' "${bold}work and personal -- $MODE firewall, $WORKERS worker(s) -- uplink host${plain}   up in $(
        awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }'
    )"
}

# curl QUBE OPTION... URL: sets `said` to what curl had to say and `took` to the milliseconds.
curl_from() {
    local began=${EPOCHREALTIME/[.,]/} status=0
    said=$(in_qube "$1" curl -sS --noproxy '*' --connect-timeout 5 --max-time 60 \
        "${@:2}" 2>&1) || status=$?
    took=$(((${EPOCHREALTIME/[.,]/} - began) / 1000))
    said=${said//$'\n'/ }
    return "$status"
}

check_http() {
    local right=0
    curl_from "$1" "$2" && [[ $said == "hello from the uplink host" ]] && right=1
    verdict "$right" "$3" "'$said' in $took ms"
}

gigabits() {
    awk -v speed="$1" 'BEGIN { printf "%.1f Gbit/s", speed * 8 / 1e9 }'
}

# Twice: whoever compares or keeps what arrives is slower than the network.
check_download() {
    local right=0
    if curl_from work -o /dev/null -w '%{speed_download}' "http://$HOST/download"; then
        said=$(gigabits "$said")
        if in_qube work curl -sS --noproxy '*' --max-time 60 "http://$HOST/download" |
            cmp -s - "$WORLD/www/download"; then
            right=1
        else
            said+=", but what arrived differs"
        fi
    fi
    verdict "$right" "work downloads $MEGABYTES MB by HTTP: arrives whole" "$said"
}

# The server writes over a file whose memory is there already, for the same reason.
check_upload() {
    local right=0
    head -c "${MEGABYTES}M" /dev/zero >"$WORLD/www/uploaded"
    if curl_from work -T "$WORLD/www/download" -w '%{speed_upload}' "http://$HOST/uploaded"; then
        said=$(gigabits "$said")
        if cmp -s "$WORLD/www/uploaded" "$WORLD/www/download"; then
            right=1
        else
            said+=", but what arrived differs"
        fi
    fi
    rm -f "$WORLD/www/uploaded"
    verdict "$right" "work uploads $MEGABYTES MB by HTTP: arrives whole" "$said"
}

check_dns() {
    local right=0 answer
    answer=$(in_qube work dig +short +time=2 +tries=2 "${@:2}" "@$1" uplink.test 2>&1) || true
    [[ $answer != "$HOST" ]] || right=1
    verdict "$right" "work asks virtual DNS $1${2:+ by TCP}: resolved" \
        "uplink.test is ${answer//$'\n'/ }"
}

# check_refused QUBE URL REASON ERROR EXPECTED: refused at once, and counted.
check_refused() {
    local right=0 before after
    before=$(drops "$3")
    if curl_from "$1" -v "$2"; then
        said="went through"
    else
        after=$(drops "$3")
        # only verbose curl tells what the kernel told it
        said=${said##* failed: }
        said=${said%% \**}
        [[ $said != "$4" ]] || ((took >= AT_ONCE_MS || after <= before)) || right=1
        said="'$said' after $took ms; $3 +$((after - before))"
    fi
    verdict "$right" "$5" "$said"
}

datagrams() { grep -c " $1\$" "$WORLD/www/datagrams" || true; }

# Datagrams do not overtake each other on the way: when the one sent last is there and the one with
# the wrong source is not, that one was dropped.
check_spoofed() {
    local right=0 before after
    before=$(drops source-address)
    in_qube work ip address add "$(qube_address personal)/32" dev eth0
    echo genuine | in_qube work nc -4 -u -w 1 -s "$(qube_address work)" "$HOST" 7000 || true
    echo spoofed | in_qube work nc -4 -u -w 1 -s "$(qube_address personal)" "$HOST" 7000 || true
    echo genuine | in_qube work nc -4 -u -w 1 -s "$(qube_address work)" "$HOST" 7000 || true
    in_qube work ip address delete "$(qube_address personal)/32" dev eth0
    after=$(drops source-address)
    [[ $(datagrams genuine) != 2 || $(datagrams spoofed) != 0 ]] || ((after <= before)) || right=1
    verdict "$right" "work sends UDP with personal's address as source: dropped" \
        "$(datagrams genuine) of 2 genuine and $(datagrams spoofed) of 1 spoofed arrived; source-address +$((after - before))"
}

check_unsolicited() {
    local right=0 before after status=0 said took began=${EPOCHREALTIME/[.,]/}
    before=$(drops no-flow)
    said=$(in_uplink curl -sS --noproxy '*' --connect-timeout 2 "$1" 2>&1) || status=$?
    took=$(((${EPOCHREALTIME/[.,]/} - began) / 1000))
    after=$(drops no-flow)
    # 28 is curl's time-out: no answer of any kind
    ((status != 28 || after <= before)) || right=1
    verdict "$right" "$2" "'${said#*) }'; no-flow +$((after - before))"
}

check_ping() {
    local right=0 answer
    if answer=$(in_qube work ping -n -c 1 -W 2 "$1" 2>&1); then
        right=1
        answer="answered, $(sed -n 's/.* time=/round trip /p' <<<"$answer")"
    else
        answer="no answer"
    fi
    verdict "$right" "work pings the gateway $1: answered" "$answer"
}

checks() {
    check_http work "http://$HOST/" "work opens allowed HTTP by address: passes"
    check_download
    check_upload
    check_dns "${VIRTUAL_DNS[0]}"
    check_dns "${VIRTUAL_DNS[1]}" +tcp
    check_ping "$GATEWAY"
    check_refused work "http://$HOST:81/" policy "No route to host" \
        "work opens port 81, no rule for it: prohibited at once"
    check_refused work "http://$HOST:82/" rule "No route to host" \
        "work opens port 82, a rule drops it: prohibited at once"
    check_refused personal "http://$HOST/" bad-rules "No route to host" \
        "personal has a mistake in its rules: everything prohibited"
    check_spoofed
    check_unsolicited "http://$UPLINK/" "uplink host opens HTTP on the firewall: silence"
    check_http work "http://[$HOST6]/" "work opens allowed HTTP by IPv6 address: passes"
    check_refused work "http://[$HOST6]:81/" policy "Permission denied" \
        "work opens port 81 by IPv6: prohibited at once"
    check_ping "$GATEWAY6"
}

# --- with sluicectl -----------------------------------------------------------------------------

ctl() { "$BUILD/app/sluicectl" --socket "$WORLD/control.sock" "$@"; }

# web_from_uplink URL: sets `said`
web_from_uplink() {
    local status=0
    said=$(in_uplink curl -sS --noproxy '*' --connect-timeout 1 --max-time 5 "$1" 2>&1) || status=$?
    said=${said//$'\n'/ }
    return "$status"
}

check_forward() {
    local right=0 before
    web_from_uplink "http://$UPLINK:8080/" || before=$said
    if said=$(ctl forward add work proto=tcp forwardtype=external srcports=8080 dstports=80 \
        --name web 2>&1) && web_from_uplink "http://$UPLINK:8080/"; then
        [[ $said != "hello from work" || -z ${before:-} ]] || right=1
    fi
    verdict "$right" "forward add work ... srcports=8080 dstports=80: it is reached" \
        "before: '${before#*) }', then '$said'"
}

check_forward_delete() {
    local right=0
    if said=$(ctl forward delete web 2>&1); then
        web_from_uplink "http://$UPLINK:8080/" || right=1
    fi
    verdict "$right" "forward delete web: silence again" "'${said#*) }'"
}

# A transfer without end begins while the rule is there, and is cut off with it.
check_expiry() {
    local right=0 status=0 cut began ended
    if said=$(ctl rules add work action=accept "dst4=$HOST" proto=tcp dstports=83 expire=+3 2>&1); then
        began=$EPOCHREALTIME
        said=$(in_qube work curl -sS --noproxy '*' --connect-timeout 2 --max-time 10 \
            -o /dev/null "http://$HOST:83/drip" 2>&1) || status=$?
        ended=$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
        cut="${said#*) } after $ended s"
        # 56: the connection was open, and was reset
        if curl_from work "http://$HOST:83/who"; then
            said="went through"
        elif ((status == 56)) && awk -v s="$ended" 'BEGIN { exit !(s > 0.5 && s < 8) }'; then
            right=1
        fi
    fi
    verdict "$right" "rules add work ... dstports=83 expire=+3: for three seconds" \
        "'${cut:-}', then '${said##*: }'"
}

check_explain() {
    local right=0 before
    before=$(drops rule)
    said=$(ctl explain from=work "dst=$HOST" proto=tcp dport=82 2>&1 | head -n 1) || true
    # it says which rule of that qube, and nothing was sent or counted
    [[ $said != "drop: "*" rule work/0003 (work.rules:5) says 'action=drop dst4=$HOST"* ||
        $(drops rule) != "$before" ]] || right=1
    verdict "$right" "explain from=work dst=$HOST proto=tcp dport=82" "'$said'"
}

check_drops() {
    local right=0
    said=$(ctl drops qube=work reason=rule 2>&1 | tail -n 1) || true
    [[ $said != *"$(qube_address work):"*" > $HOST:82 "* ]] || right=1
    verdict "$right" "drops qube=work reason=rule: the last packet" "'$said'"
}

checks_sluicectl() {
    printf '\n%s\n\n' "${bold}the same firewall, and sluicectl${plain}"
    mkdir "$WORLD/www-work"
    echo "hello from work" >"$WORLD/www-work/index"
    in_background "$WORLD/www-work.log" in_qube work "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/uplink_host.py" "$WORLD/www-work" 80 -- 7000
    wait_for 10 "the web server of work" test -e "$WORLD/www-work/ready"
    in_background "$WORLD/echo.log" in_uplink "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/echo_server.py" "$WORLD/echo" tcp:83
    wait_for 10 "the other server of the uplink host" grep -q ready "$WORLD/echo"
    check_forward
    check_forward_delete
    check_expiry
    check_explain
    check_drops
}

check_end() {
    local right=0 status=0 ended
    firewall_stop TERM || status=$?
    if curl_from work --connect-timeout 1 "http://$HOST/"; then
        said="went through"
    elif ((status == 0)); then
        right=1
    fi
    ended="exit status $status"
    verdict "$right" "the firewall ends on SIGTERM: nothing passes any more" "$ended; '${said#*) }'"
}

stay() {
    local qube
    for qube in "${WORLD_QUBES[@]}"; do
        mkdir -p "/etc/netns/$WORLD_NAME-$qube"
        printf 'nameserver %s\n' "${VIRTUAL_DNS[@]}" >"/etc/netns/$WORLD_NAME-$qube/resolv.conf"
    done
    echo
    echo "The world stays up until Ctrl-C. As root, in another terminal:"
    for qube in "${WORLD_QUBES[@]}"; do
        printf '  %-46s # a shell in qube %s, rules: %s\n' "ip netns exec $WORLD_NAME-$qube bash" \
            "$qube" "$WORLD/$qube.rules"
    done
    printf '  %-46s # on the uplink host\n' "ip netns exec $WORLD_NAME-up bash"
    echo "  curl http://$HOST/; curl http://uplink.test/; curl http://$HOST:81/    # to try there"
    [[ $MODE != sluice ]] || {
        echo "  export SLUICE_SOCKET=$WORLD/control.sock       # to look into it, and change it:"
        echo "  $BUILD/app/sluicectl status; $BUILD/app/sluicectl help"
    }
    # in the background, because a trap waits for a command in the foreground
    in_background /dev/null sleep infinity
    wait "${WORLD_PIDS[-1]}"
}

main() {
    if [[ -n ${PCAP:-} ]]; then
        local words=("$PCAP")
        [[ -e $PCAP ]] || read -ra words <<<"$PCAP"
        replay_files "${words[@]}"
        return
    fi
    if ((EUID != 0)); then
        echo "Without root there are no network namespaces; this is the shipped capture instead."
        replay_demo
        return
    fi
    # a reason to skip a test is a failure of what the user asked for
    (world_require curl dig nc dnsmasq cmp) || exit 1
    world_start
    checks
    [[ $MODE != sluice ]] || checks_sluicectl
    [[ ${KEEP:-} == 1 ]] || check_end
    echo
    if ((wrong)); then
        echo "${red}$wrong wrong${plain}"
        [[ $MODE == kernel ]] || tail -n 20 "$WORLD/sluiced.log"
    else
        echo "${green}all right${plain}"
    fi
    if [[ ${KEEP:-} == 1 ]]; then
        stay
    fi
    return $((wrong != 0))
}

main "$@"
