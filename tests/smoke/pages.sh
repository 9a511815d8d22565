#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The commands in README.md and docs/ are run, and must say what the pages show. What sluiced logs is
# looked up in its log.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

web() { in_qube "$1" curl -sS --noproxy '*' --connect-timeout 1 --max-time 3 -o /dev/null "$2" 2>/dev/null || true; }

# page FILE [SECTION [TRAFFIC]], on a host that is called sys-firewall
page() {
    # shellcheck disable=SC2016  # for the shell behind unshare
    (cd "$WORLD" && unshare --uts sh -c 'echo sys-firewall >/proc/sys/kernel/hostname; exec "$@"' - \
        "$PYTHON" "$WORLD_ROOT/tests/smoke/pages.py" "$WORLD_ROOT/$1" "${@:2}") \
        >"$WORLD/said" 2>&1 || fail "$(cat "$WORLD/said")"
    ok "$(cat "$WORLD/said")"
}

in_log() { sed -E 's/[0-9]+/N/g' "$WORLD/sluiced.log" | grep -xF -- "$1"; }

# logged FILE: each line of sluiced's that it shows, whatever its numbers are
logged() {
    local line
    while IFS= read -r line; do
        wait_for 5 "in the log: $line" in_log "$line"
    done < <(sed -nE 's/^    (sluiced: .*)/\1/p' "$WORLD_ROOT/$1" | sed -E 's/[0-9]+/N/g')
    ok "$(basename "$1"): its lines of the log"
}

# A new sluiced, which remembers nothing.
again() {
    if [[ -n $FIREWALL_PID ]]; then
        sluice_stop
        rm -rf "$WORLD/state"
    fi
    sluice_configure
    sluice_start
}

world_up() {
    world_require curl ping tshark
    world_create work personal
    qube_rules work <<-RULES
		policy=drop
		action=accept specialtarget=dns
		action=accept dst4=$HOST/32 proto=tcp dstports=80-80
		action=accept proto=icmp
		action=drop dst4=$HOST/32 proto=tcp dstports=82
	RULES
    qube_rules personal <<<$'policy=drop\naction=accept proto=tcp dstports=80'
    in_background "$WORLD/uplink.log" in_uplink "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/echo_server.py" "$WORLD/uplink.echo" tcp:80 tcp:82 tcp:8443
    mkdir "$WORLD/www"
    echo "hello from work" >"$WORLD/www/index"
    in_background "$WORLD/work.log" in_qube work "$PYTHON" \
        "$WORLD_ROOT/tests/smoke/uplink_host.py" "$WORLD/www" 80 -- 7000
    wait_for 10 "the servers" grep -q ready "$WORLD/uplink.echo"
    wait_for 10 "the servers" test -e "$WORLD/www/ready"
    export SLUICE_SOCKET=$WORLD/control.sock SLUICECTL=$BUILD/app/sluicectl
    export CURL_IN=$WORLD_NAME-personal
}

# The flow that the session shows is there as soon as its rules let it in.
session() {
    web work "http://$HOST:8443/who"
    in_background /dev/null in_qube work curl -sS -N --noproxy '*' --retry 100 --retry-delay 1 \
        --retry-all-errors -o /dev/null "http://$HOST:8443/drip"
    page README.md "A session"
}

why_blocked() {
    local traffic="ip netns exec $WORLD_NAME-work curl -s --noproxy '*' --max-time 2 http://$HOST"
    # the next hop's MAC is known
    web work "http://$HOST:80/who"
    web work "http://$HOST:8443/who"
    web work "http://$HOST:82/who"
    in_qube work ping -q -c 1 -W 1 "$(qube_address personal)" >/dev/null || true
    page docs/why-blocked.md "1. What was dropped? \`drops\`"
    page docs/why-blocked.md "2. What would happen to it? \`explain\`"
    traffic="$traffic:8443/who; $traffic:82/who; $traffic:80/who"
    page docs/why-blocked.md "3. What happens right now? \`trace\`" "$traffic"
    page docs/why-blocked.md "4. What is in it? \`capture\`" "$traffic"
    "$SLUICECTL" rules add work action=accept "dst4=$HOST" proto=tcp dstports=8443 expire=+1
    logged docs/why-blocked.md
}

qube_to_qube() {
    local file=$WORLD_ROOT/docs/qube-to-qube.md
    page docs/qube-to-qube.md ""
    page docs/qube-to-qube.md "With an internal forward"
    again
    sed -n '/^    \[allow/,/^$/s/^    //p' "$file" >>"$WORLD/sluice.conf"
    sluice_reload || fail "not taken up: $RELOAD_SAID"
    page docs/qube-to-qube.md "With \`[allow]\`"
    logged docs/qube-to-qube.md
}

main() {
    world_up
    again
    session
    again
    page docs/port-forwarding.md
    again
    qube_to_qube
    again
    why_blocked
}

main
