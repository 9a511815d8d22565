#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# `make lint`: every linter over every file of ours, all of them even if one finds something.
# Needs a configured build directory ($BUILD) for its compile_commands.json.
# shellcheck disable=SC2317  # every linter is called by its name
set -euo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/.."

BUILD=${BUILD:-build}
[[ -e $BUILD/compile_commands.json ]] || {
    echo "lint.sh: $BUILD is not configured: run make first" >&2
    exit 1
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# files PATTERN...: NUL-separated, without what meson built.
files() {
    local names=() pattern
    for pattern; do
        names+=(-o -name "$pattern")
    done
    find . -type d \( -name .git -o -exec test -e '{}/meson-private' \; \) -prune -o \
        -type f \( "${names[@]:1}" \) -print0 | sort -z
}

c_format() {
    files '*.c' '*.h' | xargs -0 clang-format --dry-run -Werror
}

# The sources that meson builds, as it builds them.
c_tidy() {
    local jobs
    jobs=$(nproc)
    files '*.c' | while IFS= read -r -d '' source; do
        ! grep -qF "\"${source#./}\"" <(sed 's|"\.\./|"|' "$BUILD/compile_commands.json") ||
            printf '%s\0' "$source"
    done | xargs -0 -n 1 -P "$jobs" clang-tidy --quiet -p "$BUILD" \
        --extra-arg=-Wno-unknown-warning-option
}

# Whether something is initialised clang-tidy knows better: it takes memcpy of nothing for what it is.
c_check() {
    files '*.c' | xargs -0 cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 \
        --enable=warning,performance,portability --suppress=missingInclude --suppress=uninitvar -I .
}

spelling() {
    files '*.c' '*.h' '*.sh' '*.py' '*.md' '*.build' '*.conf' GNUmakefile |
        xargs -0 codespell --ignore-words-list=nd,ect
}

shell() {
    files '*.sh' run | xargs -0 shellcheck
}

# lint NAME FUNCTION: a line that says how it went, and what was found.
failed=0
lint() {
    local began=$EPOCHREALTIME status=ok
    "$2" >"$log" 2>&1 || {
        status=FAIL
        failed=$((failed + 1))
    }
    printf '%-4s  %-12s %6.1f\n' "$status" "$1" \
        "$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')"
    [[ $status == ok ]] || sed -E '/^[0-9]+ warnings? generated|^Suppressed |^Use -header/d' "$log"
}

lint clang-format c_format
lint shellcheck shell
lint codespell spelling
lint cppcheck c_check
lint clang-tidy c_tidy
exit $((failed != 0))
