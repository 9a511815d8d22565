#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Whether what a page shows is what happens: pages.py PAGE [SECTION] [TRAFFIC]

In an indented block, `$ COMMAND` is run, and the lines below it must stand in its output, in that
order. Numbers, times and MACs may be others. COMMAND is one of sluicectl, tshark, or curl, which runs in the
namespace $CURL_IN. While a command watches packets, the shell command TRAFFIC is run. SECTION is a
heading, or "" for what stands above the first one; without it the whole page is meant.
"""
import os
import re
import shlex
import subprocess
import sys
import time

RULES = (
    (r"configuration \S+, state in \S+", "configuration FILE, state in DIRECTORY"),
    (r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", "MAC"),
    (r"\b\d+(?:h\d+m|m\d+s)", "TIME"),
    (r"\b[\d.]+ k?B\b", "BYTES"),
    (r"\d+", "N"),
    (r"\s+", " "),
)


def plain(line):
    for pattern, text in RULES:
        line = re.sub(pattern, text, line)
    return line.strip()


def commands(page, section):
    """Yield (command, lines that are shown below it)."""
    heading, command, shown = "", None, []
    with open(page) as file:
        lines = [line.rstrip("\n") for line in file] + ["end"]
    for line in lines:
        inside = line[4:] if line.startswith("    ") else None
        if command is not None and command.endswith("\\") and inside is not None:
            command = command[:-1] + inside.strip()
            continue
        if command is not None and (inside is None and line or (inside or "").startswith("$ ")):
            if section in (None, heading):
                yield command, [text for text in shown if text]
            command, shown = None, []
        if inside is not None and inside.startswith("$ "):
            command = inside[2:]
        elif command is not None:
            shown.append(plain(inside or ""))
        elif line.startswith("## "):
            heading = line[3:]


def run(command, traffic):
    """The lines that a command prints, plain."""
    words = shlex.split(command)
    if words[0] == "sluicectl":
        words[0] = os.environ["SLUICECTL"]
    elif words[0] == "curl":
        words = ["ip", "netns", "exec", os.environ["CURL_IN"], *words, "-sS", "--noproxy", "*"]
    elif words[0] != "tshark":
        sys.exit(f"$ {command}: is nothing that is run here")
    program = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    )
    if len(words) > 1 and words[1] in ("trace", "capture"):
        time.sleep(0.5)
        subprocess.run(traffic, shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        output = program.communicate(timeout=15)[0]
    except subprocess.TimeoutExpired:
        program.kill()
        output = program.communicate()[0] + "\n(it did not end)"
    return [line for line in map(plain, output.split("\n")) if line and "Running as user" not in line]


def difference(shown, output):
    """The first line that is not there, behind those before it; None: all are."""
    rest = iter(output)
    for line in shown:
        if line not in rest:
            return "  shows " + line + "\n  but says " + "\n           ".join(output)
    return None


def main():
    page = sys.argv[1]
    section = sys.argv[2] if len(sys.argv) > 2 else None
    traffic = sys.argv[3] if len(sys.argv) > 3 else "true"
    count = 0
    for command, shown in commands(page, section):
        wrong = difference(shown, run(command, traffic))
        deadline = time.monotonic() + 5
        # flows come when programs try again, drops are read along some times a second, and a qube's
        # own multicasts come between the packets that are meant
        while wrong and re.match("sluicectl (flows|drops|trace|capture)", command):
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
            wrong = difference(shown, run(command, traffic))
        if wrong:
            sys.exit(f"{page}: $ {command}\n{wrong}")
        count += 1
    print(f"{os.path.basename(page)}{': ' + section if section else ''}: {count} commands")
    if count == 0:
        sys.exit(f"{page}: no commands in {section!r}")


main()
