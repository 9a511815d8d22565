#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# `packaging/check-package.sh [DEB]`: build the Debian package of the commit that is checked out,
# unless one is given, and see it live: installed into a new Debian, started by the command of its
# unit between a qube and an uplink, and by its systemd, stopped, and removed. What it prints is the transcript.
#
# Needs root, debootstrap, lintian, and what builds the package. Nothing is done to the machine: Debian
# lives in a folder, the network in namespaces, and all of it is gone afterwards. CLEAN=1 also builds
# the package in that folder, with nothing but what it says that it needs.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=../tests/smoke/lib.sh
source tests/smoke/lib.sh

SUITE=${SUITE:-bookworm}
MIRROR=${MIRROR:-http://deb.debian.org/debian}
scratch=
root=
booted=       # the process that is PID 1 there
boot_cgroup=

step() { printf '\n== %s\n' "$*"; }

say() {
    printf '$ %s\n' "$*"
    "$@"
}

# In the new Debian. Whatever is mounted there is so in a namespace of this command alone.
inside() {
    # shellcheck disable=SC2016  # expanded inside
    unshare --mount --propagation private sh -c '
        mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && mount --rbind /sys "$1/sys" &&
            root=$1 && shift && exec chroot "$root" "$@"' sh "$root" "$@"
}

cleanup() {
    debian_halt
    [[ -z $WORLD_NAME ]] || world_destroy
    [[ -z $scratch ]] || rm -rf --one-file-system "$scratch"
}

# The new Debian's own systemd, PID 1 in namespaces of its own and in the firewall's network, in a qube
# that has the service `sluice` switched on.
debian_boot() {
    local outer
    boot_cgroup=$(findmnt -nfro TARGET -t cgroup2)/$WORLD_NAME
    mkdir "$boot_cgroup"
    mkdir -p "$root/rw/config"
    echo 'SLUICE_CONF=/etc/sluice/test/sluice.conf' >"$root/rw/config/sluice.env"
    # shellcheck disable=SC2016  # expanded inside
    (
        echo "$BASHPID" >"$boot_cgroup/cgroup.procs"
        exec ip netns exec "$WORLD_NAME-fw" unshare --pid --fork --kill-child --cgroup --mount --uts \
            --ipc --propagation private sh -ec '
                mount --bind "$1" "$1"
                cd "$1"
                mount -t proc proc proc
                mount -t sysfs sysfs sys
                mount -t cgroup2 cgroup2 sys/fs/cgroup
                mount -t tmpfs tmpfs run
                mount -t tmpfs -o mode=755 tmpfs dev
                mkdir dev/shm dev/pts dev/net run/qubes-service
                for device in null zero full random urandom tty net/tun console; do
                    touch "dev/$device"
                    from=$device
                    [ "$device" != console ] || from=null
                    [ ! -e "/dev/$from" ] || mount --bind "/dev/$from" "dev/$device"
                done
                touch run/qubes-service/sluice
                mkdir -p old
                pivot_root . old
                umount -l old
                exec env -i container=other /lib/systemd/systemd --unit=multi-user.target' sh "$root"
    ) </dev/null >"$scratch/boot.log" 2>&1 &
    outer=$!
    WORLD_PIDS+=("$outer")
    wait_for 10 "a process in new namespaces" pgrep -P "$outer"
    booted=$(pgrep -P "$outer")
}

debian_halt() {
    [[ -z $booted ]] || kill -KILL "$booted" 2>/dev/null || true
    booted=
    [[ -z $boot_cgroup ]] || wait_for 10 "the end of all that was booted" cgroup_gone
    boot_cgroup=
}

cgroup_gone() { find "$boot_cgroup" -depth -type d -exec rmdir '{}' + 2>/dev/null; }

# In the Debian that is booted.
on() { nsenter --target "$booted" --all env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_COLORS=0 "$@"; }

is_running() { on systemctl is-active --quiet sluice.service; }

has_restarted() { [[ $(on systemctl show -P NRestarts sluice.service) == 1 ]] && is_running; }

# What packaging/deps.sh installs for `make`, but for what only tests need.
check_build_depends() {
    local list package
    list=$(sed -n '/^Build-Depends:/,/^Standards/p' debian/control)
    while IFS= read -r package; do
        case $package in
        build | echo | build-essential | pkg-config | libcunit1-dev) continue ;;
        esac
        grep -qE "[ :]$package( |,|\$)" <<<"$list" ||
            fail "$package is in packaging/deps.sh, and not in Build-Depends"
    done < <(sed -n '/^debian_packages/,/^}/p' packaging/deps.sh | sed -n '/build)/,/;;/p' |
        grep -oE '[a-z0-9][a-z0-9.+-]+')
    ok "Build-Depends has what packaging/deps.sh has"
}

source_unpack() {
    mkdir -p "$1"
    git archive HEAD | tar -x -C "$1"
}

build_here() {
    source_unpack "$scratch/build/source"
    (cd "$scratch/build/source" && say dpkg-buildpackage -b -us -uc) >"$scratch/build.log" 2>&1 ||
        { tail -n 40 "$scratch/build.log"; fail "the package is not built"; }
    tail -n 3 "$scratch/build.log"
    deb=$(ls "$scratch"/build/sluice_*.deb)
    say lintian --fail-on error,warning "$scratch"/build/sluice_*.changes ||
        fail "lintian is not quiet"
}

build_clean() {
    source_unpack "$root/build/source"
    say inside apt-get -qq -y build-dep --no-install-recommends /build/source >"$scratch/dep.log" 2>&1 ||
        { tail "$scratch/dep.log"; fail "what it needs cannot be installed"; }
    say inside sh -c 'cd /build/source && dpkg-buildpackage -b -us -uc' >"$scratch/build.log" 2>&1 ||
        { tail -n 40 "$scratch/build.log"; fail "the package is not built"; }
    mkdir -p "$scratch/build"
    cp "$root"/build/*.deb "$root"/build/*.changes "$root"/build/*.buildinfo "$scratch/build/"
    deb=$(ls "$scratch"/build/sluice_*.deb)
    ok "built with what Build-Depends names: $(basename "$deb")"
}

debian_create() {
    say debootstrap --variant=minbase --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
        "$SUITE" "$root" "$MIRROR" >"$scratch/debootstrap.log" 2>&1 ||
        { tail "$scratch/debootstrap.log"; fail "there is no Debian"; }
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
    rm -f "$root/etc/resolv.conf"
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    cp /etc/hosts "$root/etc/hosts"
    ok "a new Debian: $(inside dpkg-query -W | wc -l) packages"
}

package_install() {
    cp "$deb" "$root/tmp/"
    say inside apt-get -qq -y --no-install-recommends install systemd "/tmp/$(basename "$deb")" \
        >"$scratch/install.log" 2>&1 || { tail -n 20 "$scratch/install.log"; fail "not installed"; }
    # shellcheck disable=SC2016  # ${...} is dpkg's
    inside dpkg-query -W -f '${Package} ${Version}: ${db:Status-Status}\n' sluice
    say inside sluiced --version
    say inside systemctl is-enabled sluice.service
    say inside sluiced --check /etc/sluice/sluice.conf
    say inside systemd-analyze verify --man=no sluice.service || fail "the unit is not sound"
    [[ -x $root/usr/lib/sluice/vif-route-sluice ]] || fail "no vif script"
    inside sluicectl help >/dev/null || fail "sluicectl does not run"
}

# The command of a line of the unit, its variables filled in, in the namespace of mounts that is ours.
unit_command() {
    # shellcheck disable=SC2016  # ${...} is systemd's
    sed -n "s/^$1=+\\?//p" "$root/usr/lib/systemd/system/sluice.service" "$root/lib/systemd/system/sluice.service" \
        2>/dev/null | head -n 1 | sed 's|\${SLUICE_CONF}|/etc/sluice/test/sluice.conf|;s|^/usr/bin/nsenter .* -- ||'
}

# What systemd would hear, one line per message.
notify_listen() {
    in_background "$scratch/notify.log" "$PYTHON" -u -c '
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    print(s.recv(4096).decode().replace("\n", " "))' "$root/run/notify"
    wait_for 5 "a socket for sd_notify" test -S "$root/run/notify"
}

heard() { grep -q "$1" "$scratch/notify.log"; }

service_live() {
    local command prepare
    world_create work
    trap cleanup EXIT
    qube_rules work <<<$'policy=drop\naction=accept proto=icmp'
    sluice_configure
    mkdir -p "$root/etc/sluice/test"
    sed "s|$WORLD/state|/var/lib/sluice|;s|$WORLD/control.sock|/run/sluice/control.sock|" \
        "$WORLD/sluice.conf" >"$root/etc/sluice/test/sluice.conf"
    cp "$WORLD/work.rules" "$root/etc/sluice/test/"
    # RuntimeDirectory= and StateDirectory=
    mkdir "$root/run/sluice" "$root/var/lib/sluice"
    chmod 700 "$root/var/lib/sluice"
    notify_listen

    prepare=$(unit_command ExecStartPre)
    command=$(unit_command ExecStart)
    printf '$ %s\n' "$prepare"
    # a Qubes template would have this script
    mkdir -p "$root/etc/xen/scripts"
    echo 'exit 1' >"$root/etc/xen/scripts/vif-route-qubes"
    inside sh -c "$prepare && $prepare && sh /etc/xen/scripts/vif-route-qubes online" ||
        fail "the vif script is not replaced"
    printf '$ %s\n' "$command"
    # shellcheck disable=SC2016,SC2086  # expanded inside; a command
    ip netns exec "$WORLD_NAME-fw" env NOTIFY_SOCKET=/run/notify WATCHDOG_USEC=3000000 \
        unshare --mount --propagation private sh -c '
            mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && mount --rbind /sys "$1/sys" &&
                root=$1 && shift && exec chroot "$root" "$@"' sh "$root" $command \
        </dev/null >"$scratch/sluiced.log" 2>&1 &
    FIREWALL_PID=$!
    WORLD_PIDS+=("$FIREWALL_PID")
    wait_for 60 "READY=1 (see $scratch/sluiced.log)" heard READY=1
    in_qube work ping -q -c 3 -i 0.2 -W 2 "$HOST" | tail -n 2 || fail "ping does not pass"
    in_qube work ping -q -c 1 -W 1 192.0.2.1 >/dev/null && fail "an address beyond answers"
    say inside sluicectl status | head -n 3
    wait_for 5 "WATCHDOG=1" heard WATCHDOG=1
    kill -HUP "$FIREWALL_PID"
    wait_for 5 "RELOADING=1" heard RELOADING=1
    grep VmRSS "/proc/$FIREWALL_PID/status"
    kill -TERM "$FIREWALL_PID"
    wait "$FIREWALL_PID" || fail "sluiced ended with status $?"
    sort "$scratch/notify.log" | uniq -c
    heard STOPPING=1 || fail "no STOPPING=1"
    in_firewall sysctl -qw net.ipv4.ip_forward=1
    in_qube work ping -q -c 2 -i 0.2 -W 1 "$HOST" >/dev/null && fail "ping passes without sluiced"
    in_firewall nft list table netdev sluice | grep -c 'policy drop' | sed 's/$/ interfaces stay deaf/'
    say ip netns exec "$WORLD_NAME-fw" chroot "$root" sluiced --release --config /etc/sluice/test/sluice.conf
}

service_booted() {
    debian_boot
    wait_for 60 "sluice.service (see $scratch/boot.log)" is_running
    say on systemctl show -P StatusText sluice.service
    in_qube work ping -q -c 3 -i 0.2 -W 2 "$HOST" | tail -n 2 || fail "ping does not pass"
    # what xl devd would run, in the namespace of PID 1
    on sh /etc/xen/scripts/vif-route-qubes online || fail "the vif script is not replaced"
    [[ -d $root/rw/sluice ]] || fail "nowhere to keep anything over a restart of the qube"
    # shellcheck disable=SC2016  # expanded inside
    say on sh -c 'kill -KILL $(systemctl show -P MainPID sluice.service)'
    wait_for 30 "a restart" has_restarted
    in_qube work ping -q -c 1 -W 2 "$HOST" >/dev/null || fail "ping does not pass again"
    say on systemctl reload sluice.service
    say on systemctl stop sluice.service
    in_qube work ping -q -c 2 -i 0.2 -W 1 "$HOST" >/dev/null && fail "ping passes without sluiced"
    on sh /etc/xen/scripts/vif-route-qubes online || fail "the vif script is there again"
    say on systemctl show -p Result -p ExecMainStatus sluice.service
    debian_halt
    rm -r "$root/rw"
    ok "booted: started, killed, restarted, reloaded, stopped"
}

package_remove() {
    rm -rf "$root/etc/sluice/test"
    say inside apt-get -qq -y remove sluice >"$scratch/remove.log" 2>&1 || fail "not removed"
    [[ -e $root/etc/sluice/sluice.conf ]] || fail "the configuration did not stay"
    [[ ! -e $root/usr/sbin/sluiced ]] || fail "sluiced stayed"
    say inside apt-get -qq -y purge sluice >>"$scratch/remove.log" 2>&1 || fail "not purged"
    [[ ! -e $root/var/lib/sluice ]] || fail "left: $(find "$root/var/lib/sluice")"
    [[ ! -e $root/etc/sluice ]] || fail "left: $(find "$root/etc/sluice")"
    (cd "$root" && find etc usr lib -iname '*sluice*' ! -path '*/deb-systemd-helper-*') | sed 's/^/left: /'
    ok "removed"
}

main() {
    local deb=${1:-}
    world_require nsenter findmnt debootstrap lintian dpkg-buildpackage ping
    [[ -n $deb || -z $(git status --porcelain) ]] || echo "what is not committed is not in the package"
    scratch=$(mktemp -d -t sluice-package.XXXXXX)
    chmod 755 "$scratch"
    root=$scratch/root
    trap cleanup EXIT
    trap 'exit 130' INT TERM HUP

    step "what it is built with"
    check_build_depends
    step "a new Debian"
    debian_create
    if [[ -z $deb ]]; then
        step "build"
        if [[ ${CLEAN:-} == 1 ]]; then build_clean; else build_here; fi
    fi
    step "install"
    package_install
    step "start, use, stop"
    service_live
    step "boot"
    service_booted
    step "remove"
    package_remove
}

main "$@"
