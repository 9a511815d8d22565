#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Check that the man pages are sound, and that whatever the programs have stands in them: verbs,
# options, methods, events, keys, limits, timeouts and drop reasons; and that no option and no key stands
# there that they do not have. What there is, is asked of the programs and read from the tables, not
# from what makes the pages. conf/sluice.conf.example has every key as well.
set -uo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/.." || exit 1

BUILD=${BUILD:-build}
pages=$BUILD/docs/man
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0
found=0

fail() {
    echo "FAIL: $*"
    failures=$((failures + 1))
}

for program in scdoc groff; do
    command -v "$program" >/dev/null || {
        echo "$program is not installed"
        exit 77
    }
done

# A page as one reads it, without a line that is broken; what groff finds wrong is in `warnings`.
page_text() { groff -ww -man -Tutf8 -P-cbou -rLL=10000n "$pages/$1" 2>"$scratch/warnings"; }

check_pages() {
    local page
    for page in sluice-replay.1 sluice.conf.5 sluicectl.8 sluiced.8; do
        [[ -s $pages/$page ]] || {
            fail "$pages/$page is not built"
            continue
        }
        page_text "$page" >"$scratch/$page"
        (($(wc -l <"$scratch/$page") > 40)) || fail "$page is no page"
        [[ ! -s $scratch/warnings ]] || fail "$page: $(head -n 3 "$scratch/warnings")"
        ! grep -n '^@.*@$\|[@]version' "$scratch/$page" || fail "$page: a table is not filled in"
    done
}

# stands PAGE PATTERN WHAT: an extended regular expression
stands() {
    found=$((found + 1))
    grep -qE -- "$2" "$scratch/$1" || fail "$1 has no $3"
}

# nothing_else WHAT NAMES: each name that is read is in the file NAMES
nothing_else() {
    local name
    while IFS= read -r name; do
        found=$((found + 1))
        grep -qxF -- "$name" "$2" || fail "$1 $name is described, and there is none"
    done
}

# The options that a page describes, each at the beginning of a line.
described_options() { sed -nE 's/^ +(-., )?(--[a-z-]+)([ ,].*)?$/\2/p' "$scratch/$1"; }

check_sluicectl() {
    local verb option before=$found
    while IFS= read -r verb; do
        stands sluicectl.8 "^ +$verb( |\$)" "verb $verb"
    done < <("$BUILD/app/sluicectl" help --verbs)
    ((found - before > 25)) || fail "only $((found - before)) verbs"
    while IFS= read -r option; do
        stands sluicectl.8 "^ +(-., )?$option( |\$)" "option $option"
    done < <("$BUILD/app/sluicectl" help --verbs | while IFS= read -r verb; do
        # shellcheck disable=SC2086  # words
        "$BUILD/app/sluicectl" help $verb | sed -n '/^options:/,/^example:/p'
    done | grep -oE -- '--[a-z-]+' | sort -u | tee "$scratch/options")
    "$BUILD/app/sluicectl" help | grep -oE -- '--[a-z-]+' >>"$scratch/options"
    # not in its help, where it is a verb
    "$BUILD/app/sluicectl" --version >/dev/null && echo --version >>"$scratch/options"
    nothing_else "sluicectl.8: option" "$scratch/options" < <(described_options sluicectl.8)
}

# check_help PROGRAM PAGE: the options that its help has
check_help() {
    local option before=$found
    while IFS= read -r option; do
        stands "$2" "^ +(-., )?$option( |,|\$)" "option $option"
    done < <("$BUILD/app/$1" --help | grep -oE -- '--[a-z-]+' | sort -u | tee "$scratch/options")
    nothing_else "$2: option" "$scratch/options" < <(described_options "$2")
    ((found - before > 3)) || fail "$1 --help: only $((found - before)) options"
}

# The error for an unknown key names all that the section may have.
check_keys() {
    local section key before=$found
    sed -n 's/^\tBUDGET([^"]*"\([a-z-]*\)".*/\1/p' classifier/budget.h >"$scratch/limits"
    for section in sluice gateway qubes 'port a' 'qube a' 'forward a' 'allow a' limits timeouts; do
        printf '[%s]\nnone = 1\n' "$section" >"$scratch/sluice.conf"
        "$BUILD/app/sluiced" --check "$scratch/sluice.conf" 2>&1 |
            sed -n 's/.*: none: .*allowed: //p' | tr -d ' ' | tr ',' '\n' >"$scratch/keys"
        [[ -s $scratch/keys ]] || fail "no keys are allowed in [$section]"
        # a section's keys, up to the next heading
        awk -v head="[${section/ a/ NAME}]" '
            /^[^ ]/ { on = $0 == head }
            on { print }' "$scratch/sluice.conf.5" >"$scratch/section"
        nothing_else "key of [$section]" "$scratch/keys" < <(sed -nE 's/^ {7}([a-z0-9-]+)$/\1/p' "$scratch/section")
        # those of [limits] are explained there
        [[ $section != 'qube a' ]] ||
            awk '/^[^ ]/ { on = $0 == "[limits]" } on { print }' "$scratch/sluice.conf.5" \
                >>"$scratch/section"
        awk -v head="[${section% a}" '
            { line = $0; sub(/^; /, "", line) }
            line ~ /^\[/ { split(line, word, " "); on = word[1] == head || line == head "]" }
            on { print }' conf/sluice.conf.example >"$scratch/example"
        while IFS= read -r key; do
            stands section "^ +$key\$" "key $key of [$section]"
            # of [qube NAME], one limit stands for all
            [[ $section != 'qube a' ]] || ! grep -qx -- "$key" "$scratch/limits" || continue
            stands example "^(; )?$key = " "key $key of [$section]"
        done <"$scratch/keys"
    done
    ((found - before > 50)) || fail "only $((found - before)) keys"
}

# check_table FILE ROW PAGE: names in a table, those that stand first in quotes
check_table() {
    local name before=$found
    while IFS= read -r name; do
        stands "$3" "^ +$name( |\$)" "$name of $1"
    done < <(sed -n "s/^\t$2(\([^\"]*\)\"\([a-z0-9.-]*\)\".*/\2/p" "$1")
    ((found - before > 5)) || fail "$1: only $((found - before)) rows"
}

check_pages
((failures == 0)) || exit 1
check_sluicectl
check_help sluiced sluiced.8
check_help sluice-replay sluice-replay.1
check_keys
check_table classifier/reason.h REASON sluiced.8
check_table app/control_methods.h METHOD sluiced.8
check_table app/event.h EVENT sluiced.8
check_table classifier/budget.h BUDGET sluice.conf.5
check_table nat/timeout.h TIMEOUT sluice.conf.5

echo "4 pages, $found names looked up, $failures faults"
((failures == 0))
