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
    python3 - "$BUILD/compile_commands.json" <<-'PYTHON' | sort -zu |
		import json, os, sys

		with open(sys.argv[1]) as file:
		    for unit in json.load(file):
		        print(os.path.normpath(os.path.join(unit["directory"], unit["file"])), end="\0")
	PYTHON
        xargs -0 -n 1 -P "$(nproc)" clang-tidy --quiet -p "$BUILD" \
            --extra-arg=-Wno-unknown-warning-option
}

# Without DPDK's headers cppcheck guesses types, and of what may be null or uninitialised it knows
# less than clang-tidy. It is here for the rest. Loops that are macros it must be told of.
c_check() {
    files '*.c' | xargs -0 cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 \
        --enable=warning,performance,portability --suppress=missingInclude --suppress=uninitvar --suppress=ctuuninitvar \
        --suppress=ctunullpointer --suppress=invalidPrintfArgType_uint \
        --suppress=invalidPrintfArgType_sint --suppress=uninitdata --suppress=legacyUninitvar \
        --suppress=syntaxError:app/method_metrics.c --include=packaging/cppcheck.h -I .
}

spelling() {
    files '*.c' '*.h' '*.sh' '*.py' '*.md' '*.build' '*.conf' GNUmakefile |
        xargs -0 codespell --ignore-words-list=nd,ect,hel,parms,fo,whats
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
