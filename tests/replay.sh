#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Run one replay case: `tests/replay.sh pcaps/CASE`.
#
# A case is a folder with
#   sluice.conf, *.rules     the configuration
#   in-PORT[.N].pcap[ng]     what arrives on PORT; inputs are named in the order of their file names
#   expect-PORT.pcap         what must leave by PORT, in this order; no file: nothing
#   expect-verdicts.json     one verdict per packet; only the keys that stand there are compared
#   options                  more options for sluice-replay, if there is such a file
#   README                   what the case is about, and what it proves
#
# It runs with bursts of 32 packets, with single packets, and with two and three workers. All of
# them must give what is expected. With an output folder as second argument the outputs of the first
# run are kept there.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

case=${1:?usage: tests/replay.sh CASE_DIR [OUT_DIR]}
case=${case%/}
replay=${BUILD:-build}/app/sluice-replay
python=$(command -v /usr/bin/python3 || command -v python3) || {
    echo "python3 is not installed"
    exit 77
}
[[ -x $replay ]] || {
    echo "FAIL: $replay is not built"
    exit 1
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

inputs=()
for file in "$case"/in-*.pcap "$case"/in-*.pcapng; do
    [[ -e $file ]] || continue
    port=${file##*/in-}
    inputs+=(--in "${port%%.*}=$file")
done

options=()
[[ ! -e $case/options ]] || read -r -a options <"$case/options"

# replay NAME OPTION...: run the case
replay() {
    local out=$scratch/$1
    shift
    mkdir "$out"
    # the rules of some cases are bad on purpose, so there may be lines on stderr
    "$replay" --config "$case/sluice.conf" "${inputs[@]}" "${options[@]}" \
        --out "$out" --verdicts "$out/verdicts.json" "$@" >"$out/table" 2>"$out/errors"
    echo $? >"$out/status"
}

# check NAME: compare what a run gave with what is expected
check() {
    local name=$1 out=$scratch/$1
    if [[ $(<"$out/status") != 0 ]]; then
        echo "$case ($name): sluice-replay failed, exit status $(<"$out/status"):"
        cat "$out/errors" "$out/table"
        failures=$((failures + 1))
    elif [[ $name != burst-32 ]] && diff -rq "$scratch/burst-32" "$out" >/dev/null; then
        : # the same as what has been compared already
    elif ! "$python" tests/replay_compare.py "$case" "$out"; then
        echo "$case ($name): not as expected, see above"
        failures=$((failures + 1))
    fi
}

replay burst-32 --workers 1 --burst 32 &
replay burst-1 --workers 1 --burst 1 &
wait
replay workers-2 --workers 2 --burst 32 &
replay workers-3 --workers 3 --burst 1 &
wait
for run in burst-32 burst-1 workers-2 workers-3; do
    check "$run"
done

[[ -z ${2:-} ]] || cp -r "$scratch/burst-32/." "$2"
((failures == 0))
