#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kill -9 at random moments while rules and forwards are changed, many of them over two qubes at once.
# After each restart every change that was answered is there, and the one that was under way is there
# whole or not at all. ROUNDS=200 takes longer.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

ROUNDS=${ROUNDS:-25}

main() {
    local round delay said answered changes=0 under_way=0
    world_require ip
    world_create work personal
    for ((round = 0; round <= ROUNDS; round++)); do
        sluice_start
        delay=0.$(printf '%03d' $((RANDOM % 300)))
        said=$("$PYTHON" "$WORLD_ROOT/tests/smoke/changes_kill.py" "$WORLD/control.sock" \
            "$WORLD/expected.json" "$FIREWALL_PID" "$delay") ||
            fail "round $round: see above; on disk: $(tr -d "\\0" <"$WORLD/state/changes.journal"; cat "$WORLD/state/changes.json")"
        wait "$FIREWALL_PID" 2>/dev/null && fail "sluiced was not killed"
        read -r answered said <<<"$said"
        changes=$((changes + answered))
        [[ $said != under-way ]] || under_way=$((under_way + 1))
    done
    ((changes > ROUNDS)) || fail "this test shows nothing: only $changes changes"
    ok "$ROUNDS restarts after kill -9, $changes changes were answered and none was lost," \
        "$under_way of those under way had come as far as the disk"
}

main
