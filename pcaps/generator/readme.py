# SPDX-License-Identifier: BSD-3-Clause
"""README.md of the cases: what there is, and which case meets which drop reason."""

import re

from generator.case import ANY, CASES, HERE

# Reasons that no capture can bring about, and why.
UNREACHABLE = {
    "mac-unknown": "a replay learns a qube's MAC from any packet",
    "flows-exhausted": "how many flows fit depends on the number of workers",
    "half-open-budget": "another half-open one makes room, unless a worker has none of them",
    "neighbour-pending": "neighbours resolve by themselves",
    "neighbour-failed": "neighbours resolve by themselves",
    "no-mbuf": "there are always enough",
    "handover-full": "workers take turns",
    "transmit": "a replayed port takes every frame",
}

TEXT = """# Replay cases

Each folder is one case: a configuration, captures of what arrives, and what must come of it. They
are small, and good places to see how sluice behaves. Run one, or all:

    tests/replay.sh pcaps/tcp-life
    make test TESTS=replay

| file | holds |
|---|---|
| `sluice.conf`, `*.rules` | the configuration |
| `in-PORT.pcap` | what arrives on a port; also `in-PORT.N.pcap`, and pcapng |
| `expect-PORT.pcap` | what must leave by a port, to the byte; no file means nothing |
| `expect-verdicts.json` | the verdict of each packet, one JSON object per line |
| `options` | more options for sluice-replay |

Identifications that leave anew are only names in what is expected: see
[replay_compare.py](../tests/replay_compare.py). Of a key that a verdict lacks nothing is expected.
Every case runs with bursts of 32 and of one packet, and with one, two and three workers; all of it
must come out the same.

The files are made by [generate.py](generate.py) (needs python3-scapy), which works out what is
expected from the specification, not from what sluice sent. The few values that only a program with
the key can know stand in [chosen.py](generator/chosen.py). What is expected of TCP segments is held
against a second tracker, [tracker.py](generator/tracker.py). The world of the cases is described in
generate.py. The same script gives the same bytes. To add a case, write a function into one of the
files in [generator](generator), run `pcaps/generate.py`, and look at what `tests/replay.sh` says.
[demo](demo) is the one that `make run` shows without root.

## The cases

| case | shows |
|---|---|
{cases}

## What they prove

| requirement or attack | cases |
|---|---|
{proofs}

## Drop reasons

| reason | cases |
|---|---|
{reasons}
"""


def links(names):
    return ", ".join(f"[{name}]({name})" for name in names)


def in_order(proof):
    """Numbers in a name count as numbers: REQ-2 comes before REQ-10."""
    return [(part.isdigit(), int(part) if part.isdigit() else part.lower(), part)
            for part in re.split(r"(\d+)", proof)]


def write():
    table = (HERE.parent / "classifier" / "reason.h").read_text()
    names = re.findall(r'^\s*REASON\(\w+,\s*"([a-z0-9-]+)"', table, re.MULTILINE)
    met = {name: [] for name in names}
    proofs = {}
    for case in CASES.values():
        for reason in {event["line"]["reason"] for event in case.events} - {None, ANY}:
            met[reason].append(case.name)
        for proof in case.proves:
            proofs.setdefault(proof, []).append(case.name)
    reasons = []
    for name in names:
        # a reason is met by a case, or it stands above why not
        if not met[name] and name not in UNREACHABLE:
            raise SystemExit(f"no case meets the reason {name}")
        if met[name] and name in UNREACHABLE:
            raise SystemExit(f"the reason {name} is met, by {' '.join(met[name])}")
        reasons.append(f"| {name} | {links(met[name]) or 'none: ' + UNREACHABLE[name]} |")
    cases = [
        f"| [{case.name}]({case.name}) | {' '.join(case.about.split())} |"
        for case in CASES.values()
    ]
    text = TEXT.format(
        cases="\n".join(cases),
        proofs="\n".join(
            f"| {proof} | {links(proofs[proof])} |" for proof in sorted(proofs, key=in_order)
        ),
        reasons="\n".join(reasons),
    )
    (HERE / "README.md").write_text(text)
