#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Least privilege: what every thread of a sluiced that serves may still do, that it does all its work
# with that, and that it ends when it is made to do anything else.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

# CAP_NET_ADMIN and CAP_NET_RAW
KEPT=0000000000003000
# What /proc says of seccomp where calls are filtered. A build with sanitizers filters none.
FILTERED=2
# The numbers of system calls, for x86-64.
EXECVE=59 ACCT=163 SCHED_YIELD=24

ctl() { "$BUILD/app/sluicectl" --socket "$WORLD/control.sock" "$@"; }

# threads_have SECCOMP: whether all threads of sluiced have just what they should.
threads_have() {
    local status=0 task line
    for task in "/proc/$FIREWALL_PID/task/"*; do
        for line in "Seccomp:	$1" "NoNewPrivs:	1" "CapEff:	$KEPT" "CapPrm:	$KEPT" \
            "CapInh:	0000000000000000" "CapBnd:	0000000000000000" "CapAmb:	0000000000000000"; do
            grep -qx "$line" "$task/status" || {
                echo "thread $(cat "$task/comm") has not $line:" >&2
                grep -E "^(Seccomp|NoNewPrivs|Cap...):" "$task/status" >&2
                status=1
            }
        done
    done
    return "$status"
}

thread_count() {
    local tasks=("/proc/$FIREWALL_PID/task/"*)
    echo "${#tasks[@]}"
}

log_says() { grep -q "$1" "$WORLD/sluiced.log"; }

# Everything that a running sluiced is asked to do.
work_is_done() {
    local verb
    in_qube work ping -q -c 2 -i 0.1 -W 2 "$HOST" >/dev/null || fail "ping does not pass"
    ctl rules add work action=accept dst4=192.0.2.0/24 >/dev/null || fail "no kept change"
    ctl rules add work --runtime action=drop dst4=192.0.2.9 >/dev/null || fail "no runtime change"
    ctl forward add work proto=tcp forwardtype=external srcports=8080 dstports=80 expire=+1 \
        --name web >/dev/null || fail "no forward"
    sluice_set 'qube work' filter none
    sluice_reload || fail "no reload: $RELOAD_SAID"
    # what cannot be taken up must not end it either
    sluice_set sluice group no-such-group
    ! sluice_reload || fail "a group that does not exist was taken up"
    sluice_set sluice group root
    sluice_reload || fail "no reload: $RELOAD_SAID"
    for verb in status flows drops metrics "explain from=work dst=192.0.2.9 proto=icmp"; do
        # shellcheck disable=SC2086  # words
        ctl $verb >/dev/null || fail "no answer to $verb"
    done
    # a tap
    (in_qube work ping -q -c 20 -i 0.05 -W 1 "$HOST" >/dev/null) &
    ctl trace --qube work --count 3 icmp >"$WORLD/trace" || fail "no trace"
    wait $!
    # a link that goes and comes
    in_qube work ip link set eth0 down
    wait_for 10 "the link is down" log_says 'port work is down'
    in_qube work ip link set eth0 up
    wait_for 10 "the link is up" log_says 'port work is up'
    in_qube work ip route replace "$GATEWAY" dev eth0
    in_qube work ip route replace default via "$GATEWAY" onlink dev eth0
    # the forward has ended by a timer
    wait_for 10 "the end of a forward" sh -c "! '$BUILD/app/sluicectl' --socket '$WORLD/control.sock' forward list | grep -q web"
    in_qube work ping -q -c 2 -i 0.1 -W 2 "$HOST" >/dev/null || fail "ping does not pass any more"
}

# A port that nobody knew of when it started: packet sockets, nftables, settings of the interface.
port_comes_and_goes() {
    local address=10.137.0.99
    namespace_create late
    link_create late vif9.0
    in_qube late ip address add "$address/32" dev eth0
    in_qube late ip route add default via "$GATEWAY" dev eth0 onlink
    cp "$WORLD/sluice.conf" "$WORLD/before.conf"
    cat >>"$WORLD/sluice.conf" <<-CONF
		[port late]
		device = kernel:vif9.0
		role = qube
		qube = late
		[qube late]
		address = $address
		rules = work.rules
	CONF
    sluice_reload || fail "no new port: $RELOAD_SAID"
    wait_for 10 "packets of a new port" in_qube late ping -q -c 1 -W 1 "$HOST"
    cp "$WORLD/before.conf" "$WORLD/sluice.conf"
    sluice_reload || fail "the port does not go: $RELOAD_SAID"
    ! in_qube late ping -q -c 1 -W 1 "$HOST" >/dev/null || fail "a port that is gone still forwards"
}

# DPDK's telemetry has a thread for each client.
telemetry_asked() {
    local before
    before=$(thread_count)
    "$PYTHON" - "$WORLD/dpdk/sluice/dpdk_telemetry.v2" "$WORLD/asked" <<-'PYTHON' &
		import socket, sys, time

		client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
		client.connect(sys.argv[1])
		client.recv(1 << 16)
		client.send(b"/sluice/status")
		answer = client.recv(1 << 16)
		open(sys.argv[2], "wb").write(answer)
		time.sleep(2)
	PYTHON
    wait_for 10 "an answer of telemetry" test -s "$WORLD/asked"
    grep -q '"workers"' "$WORLD/asked" || fail "telemetry says $(cat "$WORLD/asked")"
    (($(thread_count) > before)) || fail "this test shows nothing: telemetry has no thread of its own"
    threads_have "$FILTERED" || fail "a thread of telemetry may do more"
    wait $!
}

# dies_of THREAD NUMBER: have a thread of sluiced make that call, which must be its last one.
dies_of() {
    local pid=$FIREWALL_PID task status=0
    for task in "/proc/$pid/task/"*; do
        [[ $(cat "$task/comm") != "$1" ]] || break
    done
    "$BUILD/tests/smoke/forbidden" "${task##*/}" "$2" || fail "$1 does not take system call $2"
    FIREWALL_PID=
    wait "$pid" || status=$?
    ((status == 128 + 31)) || fail "$1, made to call $2: sluiced ended with status $status"
}

intrusion() {
    # shown first: a call that is allowed does no harm
    "$BUILD/tests/smoke/forbidden" "$FIREWALL_PID" "$SCHED_YIELD" || fail "sluiced cannot be made to call"
    in_qube work ping -q -c 1 -W 2 "$HOST" >/dev/null || fail "ping does not pass any more"
    dies_of sluiced "$EXECVE"
    ! in_qube work ping -q -c 1 -W 1 "$HOST" >/dev/null || fail "something is still forwarded"
    ok "execve in the control thread: dead, and nothing is forwarded"
    sluice_start
    dies_of lcore-worker-1 "$EXECVE"
    ok "execve in a worker: dead"
    sluice_start
    dies_of sluiced "$ACCT"
    log_says 'system call acct is not on the list' || fail "nobody said which call it was"
    ok "a call that is only not on the list: dead, and named"
}

main() {
    world_require ping
    world_create work
    qube_rules work <<<'policy=accept'
    WORKERS=2 sluice_configure
    sluice_set sluice telemetry yes
    sluice_set sluice group root

    sluice_start
    ! log_says 'seccomp: this is a build with sanitizers' || FILTERED=0
    threads_have "$FILTERED" || fail "it may do more"
    (($(thread_count) > 3)) || fail "$(thread_count) threads: where are the workers?"
    ok "all $(thread_count) threads: two capabilities, seccomp $FILTERED"
    telemetry_asked
    ok "a thread that was started later has no more"
    work_is_done
    port_comes_and_goes
    threads_have "$FILTERED" || fail "it may do more now"
    ok "changes, reloads, taps, links, timers, a port that comes and goes: all done with that"
    sluice_stop || fail "it ended with status $? on SIGTERM"
    log_says 'snapshot: [1-9][0-9]* flows' || fail "no snapshot"
    sluice_start
    log_says 'snapshot' || fail "the snapshot was not taken up"
    ok "a stop and a start: flows were kept"

    if [[ $(uname -m) == x86_64 && $FILTERED != 0 ]]; then
        intrusion
    else
        sluice_stop || fail "it ended with status $? on SIGTERM"
    fi

    sluice_set sluice seccomp log
    sluice_start
    threads_have "$FILTERED" || fail "seccomp = log: it may do more"
    sluice_stop || fail "it ended with status $? on SIGTERM"
    sluice_set sluice seccomp off
    sluice_start
    threads_have 0 || fail "seccomp = off: it may do more"
    sluice_stop || fail "it ended with status $? on SIGTERM"
    ok "seccomp = log and off are that, and nothing else"

    chmod 0770 "$WORLD/state"
    (sluice_start) 2>/dev/null && fail "it starts with a state-dir that others can write to"
    log_says 'others could put other files into the directory of state-dir' ||
        fail "it does not say why: $(tail -n 3 "$WORLD/sluiced.log")"
    ok "a state-dir that is open to others: refused"
}

main
