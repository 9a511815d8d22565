#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Install what sluice needs: `packaging/deps.sh [build] [test] [lint] [bench] [clang]`, all by default.
#
#   build   compiler, meson and the libraries
#   test    what the tests in network namespaces and `make run` use
#   lint    what `make lint` uses
#   bench   what `make bench` compares against
#   clang   the other compiler
#
# Does nothing, quickly, when everything is there. Debian is installed on; on Fedora the command to
# run is printed.
set -euo pipefail
export LC_ALL=C.UTF-8

# Every name is that of Debian 12 and later.
debian_packages() {
    case $1 in
    build)
        echo build-essential meson ninja-build pkg-config libdpdk-dev libpcap-dev libinih-dev \
            libcunit1-dev libc-ares-dev libevent-dev libjansson-dev libmnl-dev libnftables-dev libxml2-dev \
            libncurses-dev libcap-ng-dev libseccomp-dev libsystemd-dev libxen-dev scdoc
        ;;
    test)
        echo python3 python3-scapy iproute2 iputils-ping ethtool nftables curl dnsmasq-base \
            bind9-dnsutils udhcpc tcpdump tshark procps socat netcat-openbsd tmux iperf3 \
            python3-prometheus-client groff-base xenstore-utils
        ;;
    lint) echo clang-format clang-tidy cppcheck codespell shellcheck ;;
    bench) echo dpdk-dev iperf3 python3 iproute2 nftables procps ;;
    clang) echo clang ;;
    esac
}

fedora_packages() {
    case $1 in
    build)
        echo gcc meson ninja-build pkgconf-pkg-config dpdk-devel libpcap-devel inih-devel \
            CUnit-devel c-ares-devel libevent-devel jansson-devel libmnl-devel nftables-devel libxml2-devel \
            ncurses-devel libcap-ng-devel libseccomp-devel systemd-devel xen-devel scdoc libasan \
            libubsan
        ;;
    test)
        echo python3 python3-scapy iproute iputils ethtool nftables curl dnsmasq bind-utils \
            busybox tcpdump wireshark-cli procps-ng socat netcat tmux iperf3 \
            python3-prometheus_client groff-base xen-runtime
        ;;
    lint) echo clang-tools-extra cppcheck codespell ShellCheck ;;
    bench) echo dpdk-tools iperf3 python3 iproute nftables procps-ng ;;
    clang) echo clang ;;
    esac
}

die() {
    echo "deps.sh: $*" >&2
    exit 1
}

# Those of the packages named that dpkg does not call installed.
debian_missing() {
    local installed package
    # ask once for all of them; a name that dpkg never heard of makes it fail, and is missing
    # shellcheck disable=SC2016  # ${...} is dpkg's
    installed=" $(dpkg-query -W -f '${db:Status-Status}=${Package} ' "$@" 2>/dev/null || true) "
    for package; do
        [[ $installed == *" installed=$package "* ]] || printf '%s ' "$package"
    done
}

apt_quietly() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"
}

have_apt_lists() {
    compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null
}

debian_install() {
    local missing log
    missing=$(debian_missing "$@")
    missing=${missing% }
    [[ -n $missing ]] || return 0
    if ((EUID != 0)); then
        die "these packages are missing: $missing
Install them as root:  apt-get install --no-install-recommends $missing"
    fi
    echo "installing: $missing"
    log=$(mktemp)
    # a list may be there and name versions that the mirror no longer has: refresh and try again
    # shellcheck disable=SC2086  # a list of words
    if ! {
        { have_apt_lists || apt_quietly update; } &&
            { apt_quietly install -y --no-install-recommends $missing ||
                { apt_quietly update &&
                    apt_quietly install -y --no-install-recommends $missing; }; }
    } >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        die "apt-get could not install: $missing"
    fi
    rm -f "$log"
}

fedora_check() {
    local package missing=
    for package; do
        rpm -q --whatprovides "$package" >/dev/null 2>&1 || missing+=" $package"
    done
    [[ -n $missing ]] || return 0
    die "these packages are missing; install them with:
  sudo dnf install$missing"
}

main() {
    local group list=()
    (($#)) || set -- build test lint bench clang
    for group; do
        [[ -n $(debian_packages "$group") ]] ||
            die "$group: no such group; choose from build, test, lint, bench, clang"
    done
    if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
        for group; do
            read -ra words <<<"$(debian_packages "$group")"
            list+=("${words[@]}")
        done
        debian_install "${list[@]}"
    elif command -v rpm >/dev/null; then
        for group; do
            read -ra words <<<"$(fedora_packages "$group")"
            list+=("${words[@]}")
        done
        fedora_check "${list[@]}"
    else
        for group; do
            echo "deps.sh: unknown system, please see to it yourself: $(debian_packages "$group")" >&2
        done
    fi
}

main "$@"
