#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Check that every test which docs/conformance.md names exists, and that no row is without one.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

page=docs/conformance.md
failures=0
names=0
rows=0

fail() {
    echo "$page: $*"
    failures=$((failures + 1))
}

check() {
    local name=$1 file test
    names=$((names + 1))
    case $name in
    unit/*": "*)
        file=tests/${name%%: *}.c
        test=${name#*: }
        [[ -e $file ]] || fail "$name: there is no $file"
        [[ ! -e $file ]] || grep -qF "{\"$test\"," "$file" || fail "$name: $file has no such test"
        ;;
    replay/*) [[ -e pcaps/${name#replay/}/sluice.conf ]] || fail "$name: no such case in pcaps/" ;;
    smoke/*) [[ -e tests/$name.sh ]] || fail "$name: there is no tests/$name.sh" ;;
    differential/*)
        grep -rqw "${name#differential/}" tests/differential || fail "$name: no such family"
        ;;
    *) fail "$name: is no name of a test" ;;
    esac
}

while IFS= read -r row; do
    [[ $row == '|'* && $row != '|---'* ]] || continue
    # the header of a table
    [[ $row != *'| tests |' ]] || continue
    rows=$((rows + 1))
    tests=${row%|}
    tests=${tests##*| }
    [[ $tests == *'`'* ]] || fail "no test for: $row"
    # shellcheck disable=SC2016  # the quotes of Markdown
    while IFS= read -r name; do
        check "$name"
    done < <(grep -oE '`(unit|replay|smoke|differential)/[^`]+`' <<<"$tests" | tr -d '`')
done <"$page"

echo "$rows requirements, $names tests named, $failures faults"
((failures == 0 && rows > 50))
