#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Have a xenstored without installing one: `tests/xenstored/fetch.sh DIRECTORY` prints its path.
#
# Debian has it in xen-utils-VERSION, which would make a machine boot as a Xen host. So the package
# is downloaded and the one program is taken out of it into DIRECTORY, once. The libraries it needs
# come with libxen-dev. XENSTORED=PATH names another one. Where none is to be had, the last line of
# what is printed to stderr says why, and the exit status is 77.
set -euo pipefail
export LC_ALL=C.UTF-8

none() {
    echo "no xenstored: $*" >&2
    exit 77
}

if [[ -n ${XENSTORED:-} ]]; then
    [[ -x $XENSTORED ]] || none "$XENSTORED is no program"
    echo "$XENSTORED"
    exit
fi

directory=$1
[[ ! -x $directory/xenstored ]] || {
    echo "$directory/xenstored"
    exit
}
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    none "only Debian's is known; XENSTORED= names another one"
fi
# the one that fits the libraries
version=$(dpkg-query -W -f '${Package}\n' 'libxenmisc4*' 2>/dev/null | sed -n 's/^libxenmisc//p' | tail -n 1)
[[ -n $version ]] || none "libxen-dev is not installed"
[[ $version == 4.17 ]] || none "xenfake.c fits Xen 4.17, and the libraries are those of $version"

mkdir -p "$directory"
scratch=$(mktemp -d -p "$directory")
trap 'rm -rf "$scratch"' EXIT

download() { (cd "$scratch" && apt-get -qq -o APT::Sandbox::User=root download "xen-utils-$version"); }

{
    download || { ((EUID == 0)) && apt-get -qq -o DPkg::Lock::Timeout=300 update && download; }
} >"$scratch/log" 2>&1 || none "xen-utils-$version cannot be downloaded: $(tail -n 1 "$scratch/log")"
dpkg-deb --fsys-tarfile "$scratch"/xen-utils-*.deb |
    tar -x -C "$scratch" --strip-components=5 "./usr/lib/xen-$version/bin/xenstored"
# another one may have been faster
mv -f "$scratch/xenstored" "$directory/xenstored"
echo "$directory/xenstored"
