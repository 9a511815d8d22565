#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# sluice-replay as a program: its options, its errors, and its promises - the same bytes every time,
# whatever the size of bursts and whatever the frames, and no need for root. What it makes of sound
# captures is the business of the cases in pcaps/.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

replay=$(realpath "${BUILD:-build}/app/sluice-replay")
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
cp -r pcaps/tcp-life "$scratch/case"
conf=$scratch/case/sluice.conf work=$scratch/case/in-work.pcap uplink=$scratch/case/in-uplink.pcap
frames=7 # in $work
failures=0

# expect STATUS TEXT ARGUMENT...: sluice-replay ends with STATUS and says TEXT somewhere
expect() {
    local wanted=$1 text=$2 status=0
    shift 2
    "$replay" "$@" >"$scratch/said" 2>&1 || status=$?
    if ((status != wanted)); then
        echo "FAIL: sluice-replay $*: exit status $status, should be $wanted"
    elif ! grep -qF -- "$text" "$scratch/said"; then
        echo "FAIL: sluice-replay $*: does not say \"$text\""
    else
        return
    fi
    sed 's/^/    /' "$scratch/said"
    failures=$((failures + 1))
}

# same A B: two files or folders hold the same
same() {
    diff -rq "$1" "$2" && return
    failures=$((failures + 1))
}

# --- options ------------------------------------------------------------------------------------

expect 0 "usage: sluice-replay --config FILE" --help
expect 0 "sluice-replay " --version
expect 2 "--config FILE is missing" --in "work=$work"
expect 2 "--in PORT=FILE is missing" --config "$conf"
for bad in work "=$work" work= ""; do
    expect 2 "must be PORT=FILE" --config "$conf" --in "$bad"
done
for bad in 0 65 -1 many 4x ""; do
    expect 2 "--burst $bad: must be a number from 1 to 64" --config "$conf" --in "work=$work" \
        --burst "$bad"
    expect 2 "--workers $bad: must be a number from 1 to 64" --config "$conf" --in "work=$work" \
        --workers "$bad"
done
expect 2 "not an option" --config "$conf" --in "work=$work" "$work"
expect 2 "Try sluice-replay --help" --config "$conf" --turbo

# --- configuration, inputs, outputs -------------------------------------------------------------

expect 1 "has no port of that name; its ports: uplink work personal" --config "$conf" \
    --in "vif9=$work"
expect 1 "nowhere.conf: " --config "$scratch/nowhere.conf" --in "work=$work"
sed 's/role = uplink/role = downlink/' "$conf" >"$scratch/case/bad.conf"
expect 1 "bad.conf:" --config "$scratch/case/bad.conf" --in "work=$work"
expect 1 "nowhere.pcap: No such file" --config "$conf" --in "work=$scratch/nowhere.pcap"
expect 1 "not a pcap or pcapng file" --config "$conf" --in "work=$conf"
expect 1 "Is a directory" --config "$conf" --in "work=$scratch"
expect 1 "$conf/out" --config "$conf" --in "work=$work" --out "$conf/out"
expect 1 "/nowhere/verdicts" --config "$conf" --in "work=$work" --verdicts "$scratch/nowhere/verdicts"
if [[ -w /dev/full ]]; then
    expect 1 "/dev/full: " --config "$conf" --in "work=$work" --verdicts /dev/full
fi

# link type 113 in place of 1
{
    head -c 20 "$work"
    printf '\x71\0\0\0'
    tail -c +25 "$work"
} >"$scratch/cooked.pcap"
expect 1 "link type LINUX_SLL (Linux cooked v1)" --config "$conf" --in "work=$scratch/cooked.pcap"

# A file cut off within its last packet: what is before it is replayed, and said to be.
offset=$("$python" - "$work" <<-'PYTHON'
	import struct, sys
	data, at = open(sys.argv[1], "rb").read(), 24
	while at + 16 + struct.unpack_from("<I", data, at + 8)[0] < len(data):
	    at += 16 + struct.unpack_from("<I", data, at + 8)[0]
	print(at)
	PYTHON
)
head -c -1 "$work" >"$scratch/cut.pcap"
expect 1 "cut.pcap: packet $frames, byte offset $offset: truncated" --config "$conf" \
    --in "work=$scratch/cut.pcap" --in "uplink=$uplink" --out "$scratch/cut" \
    --verdicts "$scratch/cut.json"
expect 1 "what follows was not replayed" --config "$conf" --in "work=$scratch/cut.pcap"
lines=$(grep -c '"port": "work", "verdict": "forward"' "$scratch/cut.json")
((lines == frames - 1)) || {
    echo "FAIL: $lines verdicts before the damage, should be $((frames - 1))"
    failures=$((failures + 1))
}

# A pipe is as good as a file.
expect 0 "forward " --config "$conf" --in "work=$work" --verdicts "$scratch/file.json"
expect 0 "forward " --config "$conf" --in "work=/dev/stdin" --verdicts "$scratch/pipe.json" \
    < <(cat "$work")
same "$scratch/file.json" "$scratch/pipe.json"

# Nothing but a header is nothing to do.
head -c 24 "$work" >"$scratch/empty.pcap"
expect 0 "total " --config "$conf" --in "work=$scratch/empty.pcap" --verdicts "$scratch/empty.json"
[[ ! -s $scratch/empty.json ]] || {
    echo "FAIL: verdicts about no packets"
    failures=$((failures + 1))
}

# --- nobody needs root --------------------------------------------------------------------------

if ((EUID == 0)) && command -v setpriv >/dev/null; then
    chmod -R a+rX "$scratch"
    if [[ -r $replay ]] && setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$replay"; then
        status=0
        setpriv --reuid=65534 --regid=65534 --clear-groups "$replay" --config "$conf" \
            --in "work=$work" >"$scratch/said" 2>&1 || status=$?
        if ((status != 0)) || grep -q EAL "$scratch/said"; then
            echo "FAIL: an ordinary user cannot replay: exit status $status"
            cat "$scratch/said"
            failures=$((failures + 1))
        fi
    fi
fi

# --- damaged frames, and a great many of them ---------------------------------------------------

# The verdicts must not depend on bursts and workers, and for one worker no byte of the output may.
# (With several, external TCP ports are chosen by another count.)
for seed in 1 2; do
    fuzz=$scratch/fuzz-$seed
    mkdir "$fuzz"
    "$python" tests/replay_fuzz.py "$seed" 20000 "$fuzz" || exit 1
    inputs=()
    for file in "$fuzz"/in-*.pcap; do
        port=$(basename "$file" .pcap)
        inputs+=(--in "${port#in-}=$file")
    done
    for run in "--burst 32" "--burst 1" "--burst 64" "--workers 2" "--workers 3 --burst 7"; do
        # shellcheck disable=SC2086
        expect 0 "20000" --config pcaps/bursts/sluice.conf "${inputs[@]}" $run \
            --out "$fuzz/${run// /}" --verdicts "$fuzz/${run// /}.json"
        same "$fuzz/--burst32.json" "$fuzz/${run// /}.json"
        [[ $run == *workers* ]] || same "$fuzz/--burst32" "$fuzz/${run// /}"
    done
done

((failures == 0)) && echo "sluice-replay does what it promises"
((failures == 0))
