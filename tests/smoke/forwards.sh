#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Port forwards and qubes that may talk to each other, with real servers in qube work: who gets
# through, who does not, and whom the server takes for its client. All of it by IPv4 and IPv6.
# Forwards that expire, come and go under live connections.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

OTHER_HOST=192.168.50.3 OTHER_HOST6=fd00:50::3 # also of the machine beyond
REFUSED="curl 7"                               # curl's exit status: connect() failed at once
SILENCE="curl 28"                              # it timed out
PATIENCE=5                                     # seconds for an answer that should come
EXPIRES_IN=6                                   # seconds to use a forward before it expires

# IPv6 addresses as they stand in a URL
in_url() { if [[ $1 == *:* ]]; then echo "[$1]"; else echo "$1"; fi; }

# of FAMILY NAME: $HOST or $HOST6, for instance
of() {
    local name=$2
    [[ $1 == 4 ]] || name+=6
    echo "${!name}"
}

# in_place PLACE COMMAND...: a qube, or "uplink"
in_place() {
    if [[ $1 == uplink ]]; then in_uplink "${@:2}"; else in_qube "$@"; fi
}

# who PLACE ADDRESS PORT [OPTION...]: what a server there says by HTTP, or how curl fails.
who() {
    local status=0 said
    said=$(in_place "$1" curl -sS --noproxy '*' --connect-timeout "$PATIENCE" --max-time 10 "${@:4}" \
        "http://$(in_url "$2"):$3/who" 2>/dev/null) || status=$?
    if ((status == 0)); then echo "$said"; else echo "curl $status"; fi
}

# ask PLACE ADDRESS PORT [OPTION...]: the same by UDP
ask() {
    in_place "$1" "$PYTHON" "$WORLD_ROOT/tests/smoke/udp_ask.py" --wait "$PATIENCE" "${@:4}" \
        "$2" "$3"
}

# expect WHAT PATTERN SAID
expect() {
    # shellcheck disable=SC2053  # a pattern
    [[ $3 == $2 ]] || fail "$1: \"$3\", should be \"$2\"; drops: $(counter drops)"
    ok "$1: $3"
}

# expect_counted REASON WHAT PATTERN COMMAND...: the same for what is refused, and this is the reason.
expect_counted() {
    local reason=$1 before PATIENCE=1
    before=$(drops "$reason")
    expect "$2" "$3" "$("${@:4}")"
    (($(drops "$reason") > before)) || fail "$2: $reason was not counted: $(counter drops)"
}

FORWARDS="
[forward range]
forwardtype = external
proto = tcp
srcports = 8000-8003
dstports = 8080-8083
qube = work
[forward single]
forwardtype = external
proto = tcp
srcports = 8010-8012
dstports = 8081
qube = work
[forward datagrams]
forwardtype = external
proto = udp
srcports = 7000-7002
qube = work
[forward names]
forwardtype = external
proto = udp
srcports = 5300
dstports = 53
qube = work
[forward some]
forwardtype = external
proto = tcp
srcports = 8040
dstports = 8080
srchost = $OTHER_HOST/32
qube = work
[forward some6]
forwardtype = external
proto = tcp
srcports = 8041
dstports = 8080
srchost = $OTHER_HOST6/128
qube = work
[forward inside]
forwardtype = internal
proto = tcp
srcports = 8090-8091
dstports = 8080-8081
qube = work
[forward inside-datagrams]
forwardtype = internal
proto = udp
srcports = 7000-7002
qube = work
[allow ping]
from = personal
to = work
proto = icmp
[allow web]
from = personal
to = work
proto = tcp
dstports = 8082"

world_up() {
    world_require curl dig dnsmasq ping
    world_create work personal
    work=$(qube_address work) work6=$(qube_address6 work)
    # shellcheck disable=SC2034  # found by their names
    personal=$(qube_address personal) personal6=$(qube_address6 personal)
    in_uplink ip address add "$OTHER_HOST/24" dev eth0
    in_uplink ip address add "$OTHER_HOST6/64" dev eth0 preferred_lft 0 # only when asked for
    # What a forward lets in is not asked of the rules of its target. What another qube sends is
    # asked of its own, with the target as it really is.
    qube_rules work <<-RULES
		policy=drop
		action=accept dst4=$work/32 proto=tcp dstports=8080
		action=accept dst6=$work6/128 proto=tcp dstports=8080
		action=accept proto=udp dstports=7000-7002
		action=accept proto=icmp
	RULES
    qube_rules personal <<-RULES
		policy=drop
		action=accept dst4=$work/32 proto=tcp dstports=8080
		action=accept dst6=$work6/128 proto=tcp dstports=8080
		action=accept dst4=$work/32 proto=tcp dstports=8082-8083
		action=accept dst6=$work6/128 proto=tcp dstports=8082-8083
		action=accept proto=udp dstports=7000-7002
		action=accept proto=icmp
	RULES
    in_background "$WORLD/server.log" in_qube work "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/echo_server.py" "$WORLD/echo.log" \
        tcp:8080 tcp:8081 tcp:8082 tcp:8083 udp:7000 udp:7001
    in_background "$WORLD/dnsmasq.log" in_qube work dnsmasq --keep-in-foreground \
        --conf-file=/dev/null --no-resolv --no-hosts --pid-file= --user=root \
        --listen-address="$work,$work6" --bind-interfaces --address="/inside.test/$work"
    wait_for 10 "the servers" grep -q ready "$WORLD/echo.log"
    sluice_configure
    cp "$WORLD/sluice.conf" "$WORLD/plain.conf"
    sluice_start
}

conf_with() {
    { cat "$WORLD/plain.conf" && printf '%s\n' "$@"; } >"$WORLD/sluice.conf"
}

check_without() {
    local family
    for family in 4 6; do
        expect_counted no-flow "IPv$family, without forwards: the host to a port of ours" \
            "$SILENCE" who uplink "$(of $family UPLINK)" 8000
        expect_counted no-flow "IPv$family, the same by UDP" \
            silence ask uplink "$(of $family UPLINK)" 7000
        expect_counted local-refused "IPv$family, a qube to a port of the gateway" \
            "$REFUSED" who personal "$(of $family GATEWAY)" 8090
        expect_counted inter-qube "IPv$family, a qube to another one" \
            "$SILENCE" who personal "$(of $family work)" 8082
    done
    ! in_qube personal ping -q -c 1 -W 1 "$work" >/dev/null || fail "personal may ping work"
}

check_external() {
    local family ours host
    for family in 4 6; do
        ours=$(of $family UPLINK) host=$(of $family HOST)
        expect "IPv$family, a range: the third port of it" "$host * 8082" \
            "$(who uplink "$ours" 8002)"
        expect "IPv$family, the same from another address" "$(of $family OTHER_HOST) * 8080" \
            "$(who uplink "$ours" 8000 --interface "$(of $family OTHER_HOST)")"
        expect "IPv$family, a source port stays" "$host 424$family 8083" \
            "$(who uplink "$ours" 8003 --local-port "424$family")"
        expect "IPv$family, a single port behind a range" "$host * 8081" \
            "$(who uplink "$ours" 8012)"
        expect_counted no-flow "IPv$family, a port beside the range" "$SILENCE" \
            who uplink "$ours" 8004
        expect "IPv$family, UDP" "$host * 7001" "$(ask uplink "$ours" 7001)"
        expect "IPv$family, dig through UDP 5300" "$work" \
            "$(in_uplink dig +short +time=2 +tries=2 -p 5300 "@$ours" inside.test)"
    done
    expect "a forward for some, from one of them" "$OTHER_HOST * 8080" \
        "$(who uplink "$UPLINK" 8040 --interface "$OTHER_HOST")"
    expect_counted no-flow "the same from somebody else" "$SILENCE" who uplink "$UPLINK" 8040
    expect_counted no-flow "the same by IPv6, which has no address among them" "$SILENCE" \
        who uplink "$UPLINK6" 8040 --interface "$OTHER_HOST6"
    expect "IPv6, a forward for some, from one of them" "$OTHER_HOST6 * 8080" \
        "$(who uplink "$UPLINK6" 8041 --interface "$OTHER_HOST6")"
    expect_counted no-flow "IPv6, from somebody else" "$SILENCE" who uplink "$UPLINK6" 8041
}

check_internal() {
    local family gateway ours
    for family in 4 6; do
        gateway=$(of $family GATEWAY) ours=$(of $family UPLINK)
        expect "IPv$family, internal, to the gateway: the client as itself" \
            "$(of $family personal) * 8080" "$(who personal "$gateway" 8090)"
        expect "IPv$family, UDP likewise" "$(of $family personal) * 7000" \
            "$(ask personal "$gateway" 7000)"
        expect "IPv$family, to the uplink's address: the client as that" "$ours * 8080" \
            "$(who personal "$ours" 8090)"
        expect "IPv$family, UDP likewise" "$ours * 7000" "$(ask personal "$ours" 7000)"
        expect "IPv$family, its own forward: the client as the gateway" "$gateway * 8080" \
            "$(who work "$gateway" 8090)"
        expect "IPv$family, its own forward by the uplink's address" "$ours * 8080" \
            "$(who work "$ours" 8090)"
        expect_counted policy "IPv$family, where the rules of the client say no" "$REFUSED" \
            who personal "$gateway" 8091
        expect_counted local-refused "IPv$family, an external forward is not for qubes" \
            "$REFUSED" who personal "$ours" 8002
        expect_counted no-flow "IPv$family, an internal one is not for the host" "$SILENCE" \
            who uplink "$ours" 8090
    done
}

check_allow() {
    local family before
    for family in 4 6; do
        in_qube personal ping -q -c 2 -i 0.2 -W 2 "$(of $family work)" >/dev/null ||
            fail "IPv$family: personal cannot ping work"
        ok "IPv$family, allowed: personal pings work"
        # whose own rules would let it
        before=$(drops inter-qube)
        ! in_qube work ping -q -c 1 -W 1 "$(of $family personal)" >/dev/null ||
            fail "IPv$family: work pings personal"
        (($(drops inter-qube) > before)) || fail "inter-qube was not counted: $(counter drops)"
        ok "IPv$family, but not the other way"
        expect "IPv$family, allowed: TCP from personal to work" \
            "$(of $family personal) * 8082" "$(who personal "$(of $family work)" 8082)"
        expect_counted inter-qube "IPv$family, another port" "$SILENCE" \
            who personal "$(of $family work)" 8083
        expect_counted inter-qube "IPv$family, UDP" silence \
            ask personal "$(of $family work)" 7000
    done
    # an allow does not make up for rules that refuse
    grep -v 'dst[46]=.*8082' "$WORLD/personal.rules" >"$WORLD/rules"
    cp "$WORLD/personal.rules" "$WORLD/rules.before"
    qube_rules personal <"$WORLD/rules"
    sluice_reload || fail "refused: $RELOAD_SAID"
    expect_counted policy "an allow, but the rules of the client say no" "$REFUSED" \
        who personal "$work" 8082
    qube_rules personal <"$WORLD/rules.before"
    sluice_reload || fail "refused: $RELOAD_SAID"
}

# What the target's kernel says, and datagrams in fragments, find their way through every kind.
check_errors_and_fragments() {
    local family kind place address
    for family in 4 6; do
        while read -r kind place address; do
            # of 7000 to 7002 the last is closed
            expect "IPv$family, $kind, a closed port behind it" ECONNREFUSED \
                "$(ask "$place" "$(of $family "$address")" 7002)"
            expect "IPv$family, $kind, 9000 bytes" "9000 bytes" \
                "$(ask "$place" "$(of $family "$address")" 7000 --size 9000)"
            expect "IPv$family, $kind, 60000 bytes" "60000 bytes" \
                "$(ask "$place" "$(of $family "$address")" 7000 --size 60000)"
        done <<-KINDS
			external uplink UPLINK
			internal personal GATEWAY
			hairpin personal UPLINK
			own-forward work GATEWAY
			own-hairpin work UPLINK
		KINDS
    done
}

# --- under live connections ---------------------------------------------------------------------

# drip_start NAME PLACE ADDRESS PORT: a transfer that goes on
declare -A drip_pid
drip_start() {
    rm -f "$WORLD/drip.$1"
    in_place "$2" curl -sS -N --noproxy '*' --max-time 60 -o "$WORLD/drip.$1" \
        "http://$(in_url "$3"):$4/drip" 2>"$WORLD/drip.$1.log" &
    drip_pid[$1]=$!
    WORLD_PIDS+=("${drip_pid[$1]}")
    wait_for 10 "the first line of drip $1" test -s "$WORLD/drip.$1"
}

drip_lives() {
    local size
    size=$(stat -c %s "$WORLD/drip.$1")
    wait_for 5 "drip $1 has stopped: $(cat "$WORLD/drip.$1.log")" drip_grew "$1" "$size"
    ok "$1 goes on"
}
drip_grew() { (($(stat -c %s "$WORLD/drip.$1") > $2)); }

drip_is_reset() {
    local status=0
    wait "${drip_pid[$1]}" || status=$?
    ((status == 56)) || fail "$1: curl ended with status $status: $(cat "$WORLD/drip.$1.log")"
    ok "$1: $(cat "$WORLD/drip.$1.log")"
}

# Both families of each: by SIGHUP forwards come and go, others do not notice.
check_changes() {
    local family other=${FORWARDS//8010-8012/8020-8022}
    for family in 4 6; do
        drip_start "kept$family" uplink "$(of $family UPLINK)" 8000
        drip_start "removed$family" uplink "$(of $family UPLINK)" 8010
        drip_start "inside$family" personal "$(of $family GATEWAY)" 8090
        drip_start "hairpin$family" personal "$(of $family UPLINK)" 8090
        drip_start "allowed$family" personal "$(of $family work)" 8082
    done
    conf_with "$other"
    sluice_reload || fail "refused: $RELOAD_SAID"
    for family in 4 6; do
        drip_is_reset "removed$family"
        expect "IPv$family, a forward that was added" "$(of $family HOST) * 8081" \
            "$(who uplink "$(of $family UPLINK)" 8021)"
        expect_counted no-flow "IPv$family, one that was taken away" "$SILENCE" \
            who uplink "$(of $family UPLINK)" 8011
        for drip in kept inside hairpin allowed; do
            drip_lives "$drip$family"
        done
    done
    conf_with
    sluice_reload || fail "refused: $RELOAD_SAID"
    for family in 4 6; do
        for drip in kept inside hairpin allowed; do
            drip_is_reset "$drip$family"
        done
    done
    ok "without any forward and allow all of them are reset"
    (($(drops no-longer-allowed) > 0)) || fail "no-longer-allowed was not counted"
    wait_for 5 "resets at the server" all_drips_ended
}
# of both families: kept, removed, inside, hairpin, allowed
all_drips_ended() { (($(grep -cE 'drip .*: (ECONNRESET|EPIPE)$' "$WORLD/echo.log") == 10)); }

check_expiry() {
    local family expire before
    before=$(grep -c ' forwards expired' "$WORLD/sluiced.log" || true)
    expire=$(($(date +%s) + EXPIRES_IN))
    conf_with "[forward brief]" "forwardtype = external" "proto = tcp" "srcports = 8050" \
        "dstports = 8080" "expire = $expire" "qube = work" \
        "[forward brief-datagrams]" "forwardtype = external" "proto = udp" "srcports = 7000" \
        "expire = $expire" "qube = work" \
        "[forward lasting]" "forwardtype = external" "proto = tcp" "srcports = 8051" \
        "dstports = 8080" "expire = $((expire + 3600))" "qube = work"
    sluice_reload || fail "refused: $RELOAD_SAID"
    for family in 4 6; do
        drip_start "expiring$family" uplink "$(of $family UPLINK)" 8050
        drip_start "lasting$family" uplink "$(of $family UPLINK)" 8051
        expect "IPv$family, UDP before it expires" "$(of $family HOST) 430$family 7000" \
            "$(ask uplink "$(of $family UPLINK)" 7000 --bind "430$family")"
    done
    (($(date +%s) < expire)) || fail "this machine is too slow to see a forward before it expires"
    for family in 4 6; do
        drip_is_reset "expiring$family"
        expect_counted no-flow "IPv$family, new connections behind its time" "$SILENCE" \
            who uplink "$(of $family UPLINK)" 8050
        expect_counted no-longer-allowed "IPv$family, the same UDP sockets behind its time" silence \
            ask uplink "$(of $family UPLINK)" 7000 --bind "430$family"
        expect_counted no-flow "IPv$family, UDP from others" silence \
            ask uplink "$(of $family UPLINK)" 7000
        drip_lives "lasting$family"
    done
    (($(grep -c ' forwards expired' "$WORLD/sluiced.log") > before)) ||
        fail "the log says nothing of the expiry: $(tail -n 3 "$WORLD/sluiced.log")"
    ok "$(grep ' forwards expired' "$WORLD/sluiced.log" | tail -n 1)"
}

main() {
    world_up
    check_without
    conf_with "$FORWARDS"
    sluice_reload || fail "refused: $RELOAD_SAID"
    check_external
    check_internal
    check_allow
    check_errors_and_fragments
    check_changes
    check_expiry
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
}

main
