# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Xen for the world of lib.sh, without Xen: a real xenstored, and what dom0's toolstack, the kernel's
# netback and a guest's netfront do around it. Sourced behind lib.sh, never run.
#
#   source "$(dirname "$0")/lib.sh"
#   source "$(dirname "$0")/xen.sh"
#   xen_require curl
#   world_create                        # no qubes yet: an uplink, and a firewall
#   xen_start                           # xenstored
#   xen_configure work personal         # sluice.conf with these qubes, none of them attached
#   firewall_start
#   vif_attach work 5                   # as domain 5: vif5.0; returns when it may send
#   in_qube work curl http://192.168.50.2/
#   vif_detach work
#
# A vif is a veth pair here, whose end in the firewall has netback's name and MAC and is down, as
# netback leaves it. All nodes lie below /local/domain/0, since xenstored takes who comes over its
# socket for domain 0.

XENSTORED_PID=
declare -A XEN_DOMID=() XEN_DEVID=() # of attached qubes
declare -A XEN_TWIN=()               # [NAME]=QUBE: NAME has that qube's addresses

# xen_require PROGRAM...: as world_require, and xenstored.
xen_require() {
    local reason
    world_require xenstore-write "$@"
    [[ -e $BUILD/tests/xenstored/xenfake.so ]] || skip "xenfake.so is not built: libxen-dev was missing"
    reason=$("$WORLD_ROOT/tests/xenstored/fetch.sh" "$BUILD/tests/xenstored/fetched" 2>&1 >/dev/null) ||
        skip "${reason##*$'\n'}"
}

# --- xenstored ----------------------------------------------------------------------------------

# xen_start: an empty xenstored. Everything that is started later finds it.
xen_start() {
    local xenstored
    xenstored=$("$WORLD_ROOT/tests/xenstored/fetch.sh" "$BUILD/tests/xenstored/fetched")
    export XENSTORED_RUNDIR=$WORLD/xenstored
    mkdir -p "$XENSTORED_RUNDIR"
    rm -f "$XENSTORED_RUNDIR/pid"
    LD_PRELOAD=$BUILD/tests/xenstored/xenfake.so "$xenstored" -N -P \
        >"$XENSTORED_RUNDIR/pid" 2>"$XENSTORED_RUNDIR/log" </dev/null &
    XENSTORED_PID=$!
    WORLD_PIDS+=("$XENSTORED_PID")
    # its pid is the first thing it says once it can be asked
    wait_for 10 "xenstored" test -s "$XENSTORED_RUNDIR/pid"
    xs_write domid 0
}

# xen_signal SIGNAL: STOP makes it hang, CONT go on.
xen_signal() { kill -s "$1" "$XENSTORED_PID"; }

# xen_stop [SIGNAL]: end it; all that was in it is lost.
xen_stop() {
    kill -s "${1:-TERM}" "$XENSTORED_PID"
    wait "$XENSTORED_PID" 2>/dev/null || true
    XENSTORED_PID=
    rm -f "$XENSTORED_RUNDIR/socket"
}

# xs_write PATH VALUE...: all of it in one transaction. Paths are those of the firewall's domain.
xs_write() { xenstore-write -s "$@"; }
xs_read() { xenstore-read -s "$1" 2>/dev/null; }
xs_rm() { xenstore-rm -s "$@" 2>/dev/null || true; }

# --- vifs ---------------------------------------------------------------------------------------

vif_address() { qube_address "${XEN_TWIN[$1]:-$1}"; }
vif_address6() { qube_address6 "${XEN_TWIN[$1]:-$1}"; }

# vif_name QUBE: of its interface. vif_path QUBE: of its backend. vif_frontend QUBE
vif_name() { echo "vif${XEN_DOMID[$1]}.${XEN_DEVID[$1]}"; }
vif_path() { echo "backend/vif/${XEN_DOMID[$1]}/${XEN_DEVID[$1]}"; }
vif_frontend() { echo "/local/domain/${XEN_DOMID[$1]}/device/vif/${XEN_DEVID[$1]}"; }

# vif_nodes QUBE [KEY=VALUE...]: what libxl writes, in its order and in one transaction. KEY=VALUE
# takes the place of a value, or of the key if there is no value.
vif_nodes() {
    local qube=$1 back front given key values
    local -A value
    shift
    back=$(vif_path "$qube") front=$(vif_frontend "$qube")
    value=(
        [frontend]=$front [frontend-id]=${XEN_DOMID[$qube]} [online]=1 [state]=1
        [script]=/etc/xen/scripts/vif-route-qubes [mac]=$QUBE_MAC
        [ip]="$(vif_address "$qube") $(vif_address6 "$qube")" [bridge]=xenbr0
        [handle]=${XEN_DEVID[$qube]} [type]=vif
    )
    for given; do
        value[${given%%=*}]=${given#*=}
    done
    values=("$front/backend" "/local/domain/0/$back" "$front/backend-id" 0)
    for key in frontend frontend-id online state script vifname mac ip bridge handle type; do
        [[ -z ${value[$key]:-} ]] || values+=("$back/$key" "${value[$key]}")
    done
    values+=("$front/state" 1 "$front/handle" "${XEN_DEVID[$qube]}" "$front/mac" "${value[mac]}")
    xs_write "${values[@]}"
}

# vif_interface QUBE: the kernel's half, as netback makes it, and the qube's eth0 behind it.
vif_interface() {
    local qube=$1 name
    name=$(vif_name "$qube")
    ip netns list | grep -q "^$WORLD_NAME-$qube\\b" || namespace_create "$qube"
    ip link add eth0 netns "$WORLD_NAME-$qube" address "$QUBE_MAC" type veth \
        peer name "$name" netns "$WORLD_NAME-fw" address "$VIF_MAC"
    ip -n "$WORLD_NAME-$qube" -batch - <<-IP
		address add $(vif_address "$qube")/32 dev eth0
		address add $(vif_address6 "$qube")/128 dev eth0
		link set eth0 up
		route add $GATEWAY dev eth0
		route add default via $GATEWAY onlink dev eth0
	IP
    ip -n "$WORLD_NAME-$qube" -6 -batch - <<-IP
		route add $GATEWAY6 dev eth0
		route add default via $GATEWAY6 onlink dev eth0
	IP
}

vif_interface_remove() { ip -n "$WORLD_NAME-fw" link delete "$(vif_name "$1")" 2>/dev/null || true; }

# vif_create QUBE DOMID [devid=N] [twin=QUBE] [interface=no] [KEY=VALUE...]: nodes and interface, up to
# the point where netback waits for `hotplug-status`.
vif_create() {
    local qube=$1 given values=() interface=yes
    XEN_DOMID[$qube]=$2 XEN_DEVID[$qube]=0
    shift 2
    for given; do
        case $given in
        devid=*) XEN_DEVID[$qube]=${given#*=} ;;
        twin=*) XEN_TWIN[$qube]=${given#*=} ;;
        interface=*) interface=${given#*=} ;;
        *) values+=("$given") ;;
        esac
    done
    vif_nodes "$qube" "${values[@]}"
    [[ $interface == no ]] || vif_interface "$qube"
    xs_write "$(vif_path "$qube")/state" 2
}

# vif_status QUBE [STATUS]: its hotplug-status, or whether it is that one.
vif_status() {
    if (($# > 1)); then
        [[ $(xs_read "$(vif_path "$1")/hotplug-status") == "$2" ]]
    else
        xs_read "$(vif_path "$1")/hotplug-status" || echo none
    fi
}

# vif_wait QUBE STATUS [SECONDS]: until sluiced has said so.
vif_wait() { wait_for "${3:-10}" "hotplug-status=$2 of $1" vif_status "$1" "$2"; }

# vif_connect QUBE: netback has waited for this, and the two ends find each other.
vif_connect() {
    vif_wait "$1" connected
    xs_write "$(vif_frontend "$1")/state" 4 "$(vif_path "$1")/state" 4
}

# vif_attach QUBE DOMID [KEY=VALUE...]
vif_attach() {
    vif_create "$@"
    vif_connect "$1"
}

# vif_remove QUBE: the nodes go, as libxl removes them.
vif_remove() {
    xs_rm "$(vif_path "$1")" "$(vif_frontend "$1")"
    xenstore-list -s "$(dirname "$(vif_path "$1")")" 2>/dev/null | grep -q . ||
        xs_rm "$(dirname "$(vif_path "$1")")"
}

# vif_detach QUBE: as a toolstack asks for it; its namespace stays.
vif_detach() {
    xs_write "$(vif_path "$1")/online" 0 "$(vif_path "$1")/state" 5
    vif_interface_remove "$1"
    xs_write "$(vif_path "$1")/state" 6
    vif_remove "$1"
}

# vif_destroy QUBE: its domain is gone from one moment to the next.
vif_destroy() {
    vif_interface_remove "$1"
    vif_remove "$1"
}

# vif_served QUBE: whether sluiced has a port on its interface.
vif_served() {
    "$BUILD/app/sluicectl" --socket "$WORLD/control.sock" status --json |
        grep -q "\"kernel:$(vif_name "$1")\""
}

# vif_unserved QUBE [SECONDS]: until it has none.
vif_unserved() { wait_for "${2:-10}" "no port for $1" not vif_served "$1"; }
not() { ! "$@"; }

# --- sluice -------------------------------------------------------------------------------------

# xen_configure QUBE... [-- LINE...]: sluice.conf with xenstore, and a [qube] of each by its address.
xen_configure() {
    local qube
    WORLD_QUBES=()
    sluice_configure
    while (($#)) && [[ $1 != -- ]]; do
        WORLD_QUBES+=("$1")
        shift
    done
    (($# == 0)) || shift
    {
        printf '[qubes]\nxenstore = yes\n'
        for qube in "${WORLD_QUBES[@]}"; do
            [[ -e $WORLD/$qube.rules ]] || echo 'policy=drop' >"$WORLD/$qube.rules"
            cat <<-CONF
			[qube $qube]
			address = $(qube_address "$qube")
			address6 = $(qube_address6 "$qube")
			rules = $qube.rules
			CONF
        done
        (($# == 0)) || printf '%s\n' "$@"
    } >>"$WORLD/sluice.conf"
}
