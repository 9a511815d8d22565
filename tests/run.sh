#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Run the tests: `tests/run.sh [PATTERN...]`, all of them or those whose name contains a pattern.
#
#   conformance      tests/conformance.sh             docs/conformance.md names tests that exist
#   man              tests/man.sh                     the man pages have all that the programs have
#   unit/test_FILE   $BUILD/tests/unit/test_FILE      one program per source file
#   fuzz/NAME        $BUILD/tests/fuzz/fuzz_NAME      damaged frames by the million, bounded
#   replay/CASE      tests/replay.sh pcaps/CASE       captures in, captures and verdicts out
#   smoke/NAME       tests/smoke/NAME.sh              network namespaces, real programs
#   differential/nftables  tests/differential/run.sh  the same packets through kernel and sluiced
#
# A test passes with exit status 0 and is skipped with 77; the last line it then prints is the
# reason. Output goes to $BUILD/test-logs and is shown only when a test fails.
set -uo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/.." || exit 1

export BUILD=${BUILD:-build} WORKERS=${WORKERS:-1}
limit_s=${TEST_LIMIT:-300}
logs=$BUILD/test-logs
passed=0 failed=0 skipped=0
running=
patterns=("$@")

# Leaks count; an undefined operation ends the program instead of only printing a line. What
# sanitizers find goes into files, for no test reads all that its programs say, or their exit status.
reports=$logs/sanitizer
[[ $reports == /* ]] || reports=$PWD/$reports
export SANITIZER_REPORTS=$reports
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:detect_stack_use_after_return=1:log_path=$reports}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1:log_path=$reports}

# The test that runs is ended with us; it takes its namespaces down on SIGTERM.
stop() {
    trap - INT TERM HUP
    if [[ -n $running ]]; then
        kill "$running" 2>/dev/null
        wait "$running" 2>/dev/null
    fi
    exit 130
}
trap stop INT TERM HUP

wanted() {
    ((${#patterns[@]})) || return 0
    local pattern
    for pattern in "${patterns[@]}"; do
        [[ $1 != *"$pattern"* ]] || return 0
    done
    return 1
}

# report STATUS NAME SECONDS [REMARK]
report() {
    printf '%-4s  %-44s %6.1f%s\n' "$1" "$2" "$3" "${4:+  $4}"
}

seconds_since() {
    awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }'
}

# run NAME COMMAND...
run() {
    local name=$1 log=$logs/${1//\//-}.log start=$EPOCHREALTIME status
    shift
    wanted "$name" || return 0
    timeout --kill-after=20 "$limit_s" "$@" >"$log" 2>&1 </dev/null &
    running=$!
    wait "$running"
    status=$?
    running=
    # of any program of the test
    if cat "$reports".* >"$reports" 2>/dev/null; then
        cat "$reports" >>"$log"
        rm "$reports".*
        ((status != 0 && status != 77)) || status=sanitizer
    fi
    case $status in
    0)
        passed=$((passed + 1))
        report ok "$name" "$(seconds_since "$start")"
        ;;
    77)
        skipped=$((skipped + 1))
        report skip "$name" "$(seconds_since "$start")" "$(grep . "$log" | tail -n 1)"
        ;;
    *)
        failed=$((failed + 1))
        local why="exit status $status"
        case $status in
        124 | 137) why="not done after $limit_s s" ;;
        sanitizer) why="a sanitizer complains" ;;
        esac
        report FAIL "$name" "$(seconds_since "$start")" "$why, $log"
        tail -n 40 "$log" | sed 's/^/    | /'
        ;;
    esac
}

run_units() {
    local source name
    # by source, so that a test that is not built fails and a removed one is not run
    for source in tests/unit/test_*.c; do
        [[ -e $source ]] || continue
        name=$(basename "$source" .c)
        run "unit/$name" "$BUILD/tests/unit/$name"
    done
}

run_fuzzers() {
    local source
    for source in tests/fuzz/fuzz_*.c; do
        [[ -e $source ]] || continue
        run "fuzz/$(basename "$source" .c)" "$BUILD/tests/fuzz/$(basename "$source" .c)"
    done
}

run_replays() {
    local case
    for case in pcaps/*/; do
        [[ -e $case/sluice.conf ]] || continue
        run "replay/$(basename "$case")" tests/replay.sh "${case%/}"
    done
}

run_smoke() {
    local script
    for script in tests/smoke/*.sh; do
        [[ -x $script ]] || continue
        run "smoke/$(basename "$script" .sh)" "$script"
    done
}

run_differential() {
    [[ -x tests/differential/run.sh ]] || return 0
    run differential/nftables tests/differential/run.sh
}

rm -rf "$logs"
mkdir -p "$logs"
run conformance tests/conformance.sh
run man tests/man.sh
run_units
run_fuzzers
run_replays
# what is freed is kept for a while, but not so much of it that a test of sluiced's memory fails
[[ ${SANITIZE:-} != 1 ]] || ASAN_OPTIONS+=:quarantine_size_mb=16
run_smoke
run_differential

echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0 && passed > 0))
