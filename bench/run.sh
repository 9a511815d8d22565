#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# `make bench`: every benchmark, or those named:
# `bench/run.sh [acl|pipeline|million|flow|bulk|idle]...`
#
#   acl        rules -> verdict, against dpdk-test-acl on the same rules and packets
#   pipeline   cycles per 60-byte packet through all stages, against a plain forward
#   million    two million flows at once: new flows per second, cycles per packet
#   flow       the flow table on its own
#   bulk       sluiced against the kernel between network namespaces (root)
#   idle       CPU of an idle sluiced, and what the first packet after silence pays for it (root)
#
# Each prints a table and writes $BUILD/bench/NAME.json. All tables stand together at the end.
set -uo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/.." || exit 1

export BUILD=${BUILD:-build-release}
failed=0
tables=$BUILD/bench/tables.txt

run() {
    local name=$1 began=$EPOCHREALTIME table
    shift
    table=$BUILD/bench/$name.txt
    printf '%s ... ' "$name"
    if "$@" --json "$BUILD/bench/$name.json" >"$table" 2>"$table.log"; then
        awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.0f s\n", b - a }'
        { echo && echo "== $name ==" && cat "$table"; } >>"$tables"
    else
        case $? in
        77) echo "skipped: $(cat "$table" "$table.log" | tail -n 1)" ;;
        *)
            failed=$((failed + 1))
            echo "FAILED"
            sed 's/^/    | /' "$table" "$table.log" | tail -n 40
            ;;
        esac
    fi
}

main() {
    local name
    (($#)) || set -- acl pipeline million flow bulk idle
    : >"$tables"
    for name; do
        if [[ -x bench/$name.sh ]]; then
            run "$name" "bench/$name.sh"
        elif [[ -x $BUILD/bench/$name ]]; then
            run "$name" "$BUILD/bench/$name"
        else
            echo "$name: no such benchmark in $BUILD/bench"
            failed=$((failed + 1))
        fi
    done
    cat "$tables"
    echo
    echo "JSON: $(find "$BUILD/bench" -maxdepth 1 -name "*.json" | sort | tr "\n" " ")"
    ((failed == 0))
}

main "$@"
