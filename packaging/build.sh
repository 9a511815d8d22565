#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# `packaging/build.sh DIRECTORY [MESON-OPTION...]`: configure the build directory when it is new,
# and bring everything in it up to date.
#
# Programs in tests/unit are found by name when meson configures. So it configures again when a
# file came to that folder or went.
set -euo pipefail
cd "$(dirname "$0")/.."

quietly() {
    local output
    output=$("$@" 2>&1) || {
        printf '%s\n' "$output" >&2
        return 1
    }
}

directory=$1
shift
if [[ ! -e $directory/build.ninja ]]; then
    echo "configuring $directory/"
    # what an interrupted configuration left behind must not be believed
    again=()
    [[ ! -e $directory/meson-private/coredata.dat ]] || again=(--wipe)
    quietly meson setup "${again[@]}" "$directory" "$@"
elif [[ tests/unit -nt $directory/build.ninja ]]; then
    quietly meson setup --reconfigure "$directory"
fi
# what ninja would do anyway when a meson.build changed, but not silently
quietly ninja -C "$directory" build.ninja

if [[ -t 1 ]]; then
    ninja -C "$directory"
else
    ninja -C "$directory" --quiet | sed '/^ninja: no work to do/d'
fi
