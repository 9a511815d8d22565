#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Who may send to a UDP port that a qube has opened (RFC 4787 REQ-8), with real sockets: three peers
# across the uplink, of which the qube has spoken to one. Each filter lets others in, who then can be
# answered; none of them changes the port as which the qube is seen (REQ-1).
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2034  # found by their names
OTHER_HOST=192.168.50.3 OTHER_HOST6=fd00:50::3 # also of the machine beyond
QUBE_PORT=6000

of() {
    local name=$2
    [[ $1 == 4 ]] || name+=6
    echo "${!name}"
}

# peer_start NAME PLACE ADDRESS PORT: told what to send through a pipe of its own
declare -A peer_pipe
peer_start() {
    local pipe=$WORLD/$1.pipe descriptor
    mkfifo "$pipe"
    if [[ $2 == uplink ]]; then set -- "$1" up "$3" "$4"; fi
    ip netns exec "$WORLD_NAME-$2" "$PYTHON" "$WORLD_ROOT/tests/smoke/peer.py" \
        "$WORLD/$1.log" "$3" "$4" <"$pipe" >"$WORLD/$1.out" 2>&1 &
    WORLD_PIDS+=($!)
    exec {descriptor}>"$pipe"
    peer_pipe[$1]=$descriptor
    wait_for 10 "peer $1" grep -q ready "$WORLD/$1.log"
}

# say NAME ADDRESS PORT TEXT
say() { echo "$2 $3 $4" >&"${peer_pipe[$1]}"; }

heard() { grep -q " $2\$" "$WORLD/$1.log"; }

# sender_of NAME TEXT: "ADDRESS PORT" of whom the peer takes for the sender of what it heard
sender_of() { sed -n "s/ $2\$//p" "$WORLD/$1.log"; }

# gets_through WHAT yes|REASON FROM TO ADDRESS PORT: whether a datagram arrives, or why not.
number=0
gets_through() {
    local what=$1 wanted=$2 from=$3 to=$4 before
    number=$((number + 1))
    [[ $wanted == yes ]] || before=$(drops "$wanted")
    say "$from" "$5" "$6" "message-$number"
    if [[ $wanted == yes ]]; then
        wait_for 5 "$what: does not get through; drops: $(counter drops)" \
            heard "$to" "message-$number"
    else
        wait_for 5 "$what: not dropped as $wanted" more_drops "$wanted" "$before"
        ! heard "$to" "message-$number" || fail "$what: gets through"
    fi
    ok "$what: $wanted"
}
more_drops() { (($(drops "$1") > $2)); }

# check FILTER FAMILY OTHER-PORT OTHER-HOST: what becomes of a peer's other port, and of another host:
# yes, or a reason
check() {
    local filter=$1 family=$2 ours outside port
    ours=$(of "$family" UPLINK)
    say "qube$family" "$(of "$family" HOST)" 7000 "hello-$filter"
    wait_for 5 "the first peer" heard "spoken$family" "hello-$filter"
    read -r outside port <<<"$(sender_of "spoken$family" "hello-$filter")"
    [[ $outside == "$ours" ]] || fail "IPv$family: the qube is seen as $outside"
    gets_through "$filter, IPv$family: who was spoken to answers" yes \
        "spoken$family" "qube$family" "$ours" "$port"
    gets_through "$filter, IPv$family: another port of his" "$3" \
        "port$family" "qube$family" "$ours" "$port"
    gets_through "$filter, IPv$family: another host" "$4" \
        "host$family" "qube$family" "$ours" "$port"
    gets_through "$filter, IPv$family: another host to another port" no-flow \
        "host$family" "qube$family" "$ours" $((port + 1))
    # who got in is answered as whom he sent to
    if [[ $4 == yes ]]; then
        say "qube$family" "$(of "$family" OTHER_HOST)" 7000 "answer-$filter"
        wait_for 5 "an answer to the other host" heard "host$family" "answer-$filter"
        [[ $(sender_of "host$family" "answer-$filter") == "$ours $port" ]] ||
            fail "$filter, IPv$family: answers come from $(sender_of "host$family" "answer-$filter")"
        ok "$filter, IPv$family: the other host is answered from the same port"
    fi
    # and the qube may be the one who begins with somebody new, as the same
    say "qube$family" "$(of "$family" HOST)" 7001 "new-$filter"
    wait_for 5 "somebody new" heard "port$family" "new-$filter"
    [[ $(sender_of "port$family" "new-$filter") == "$ours $port" ]] ||
        fail "$filter, IPv$family: another peer sees $(sender_of "port$family" "new-$filter")"
    ok "$filter, IPv$family: one port towards everybody: $port"
}

# A flow from a test before would let its peer in: every test has a sluiced of its own, which takes
# over nothing.
begin() {
    [[ -z $FIREWALL_PID ]] || sluice_stop || fail "sluiced ended with status $? on SIGTERM"
    rm -rf "$WORLD/state"
    sluice_configure
    [[ -z ${1:-} ]] || sluice_set "qube work" filter "$1"
    sluice_start
    in_qube work ping -q -c 2 -i 0.2 -W 2 "$HOST" >/dev/null || fail "no way to the host"
    in_qube work ping -q -c 2 -i 0.2 -W 2 "$HOST6" >/dev/null || fail "no way to the host by IPv6"
}

main() {
    local family
    world_require ping
    world_create work
    qube_rules work <<<'policy=accept'
    in_uplink ip address add "$OTHER_HOST/24" dev eth0
    in_uplink ip address add "$OTHER_HOST6/64" dev eth0
    for family in 4 6; do
        # shellcheck disable=SC2034  # found by their names
        WORK=$(qube_address work) WORK6=$(qube_address6 work)
        peer_start "qube$family" work "$(of $family WORK)" "$QUBE_PORT"
        peer_start "spoken$family" uplink "$(of $family HOST)" 7000
        peer_start "port$family" uplink "$(of $family HOST)" 7001
        peer_start "host$family" uplink "$(of $family OTHER_HOST)" 7000
    done
    begin
    for family in 4 6; do check strict $family no-flow no-flow; done
    begin address
    for family in 4 6; do check address $family yes no-flow; done
    begin none
    for family in 4 6; do check none $family yes yes; done

    # taken back while it runs: who was let in is not any more, who was spoken to is
    sluice_set "qube work" filter address-and-port
    sluice_reload || fail "refused: $RELOAD_SAID"
    for family in 4 6; do
        gets_through "strict again, IPv$family: who was spoken to" yes \
            "spoken$family" "qube$family" "$(of $family UPLINK)" "$QUBE_PORT"
        gets_through "strict again, IPv$family: another host" no-longer-allowed \
            "host$family" "qube$family" "$(of $family UPLINK)" "$QUBE_PORT"
        gets_through "strict again, IPv$family: another host, again" no-flow \
            "host$family" "qube$family" "$(of $family UPLINK)" "$QUBE_PORT"
    done
    sluice_stop || fail "sluiced ended with status $? on SIGTERM"
}

main
