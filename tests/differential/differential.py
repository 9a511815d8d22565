#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The same packets through the kernel and through sluice: what comes out must be the same.

    differential.py write DIRECTORY [--seed N] [--workers N]
        write sluice.conf, the rules files, oracle.nft, and what run.sh needs to know
    differential.py run [--seed N] [--scenario N]... [--details FILE] [FAMILY...]
        run the scenarios, in the namespace where the far ends of all links are
    differential.py constant NAME
        a constant of world.py
    differential.py list
        the families, and how many scenarios each has

Scenarios run many at a time, step by step, the same step in both worlds. Whatever cannot be
explained is tried again alone before it counts, so that a loaded machine fails nothing.
"""

import argparse
import collections
import importlib
import itertools
import json
import pathlib
import re
import struct
import subprocess
import sys
import time

import world as world_module
from differences import TABLE
from packets import Packet, differing, joined
from scenario import (
    FIRST_PORT,
    IP,
    PORTS_EACH,
    REMOTES_EACH,
    UDP,
    Injection,
    IPv6,
    Outcome,
    Scenario,
    Step,
)
from wire import Dead, Wire, World, frame_of
from world import (
    LIVE,
    QUBES,
    RESOLVERS,
    SYSCTLS,
    UPLINK,
    UPLINK6,
    UPLINK_MTU,
    VIF_SYSCTLS,
    WORK,
)

FAMILIES = (
    "udp", "tcp", "icmp", "dns", "rules", "guard", "local", "headers", "mtu", "errors",
    "fragments", "forwards",
)
WORLDS = ("kernel", "sluice")
AT_ONCE = 150
AGAIN_AT_ONCE, AGAIN_AT_MOST = 10, 300
LATE_S = 0.08  # when one world put out less than the other, it gets so long for the rest
SHOWN = 20
FLOW = ("protocol", "source", "destination", "sport", "dport", "id", "quote.sport", "quote.dport")
CONTROL = pathlib.Path(__file__).resolve().parent.parent / "smoke" / "control.py"
MARKER = re.compile(rb"<(\d{5})>")


class Frame:
    """What came out and is no IP packet."""

    def __init__(self, port, frame):
        self.port, self.raw, self.name, self.fragments = port, frame, None, None
        ethertype = struct.unpack_from("!H", frame, 12)[0]
        self.view = {"ethertype": ethertype, "frame": frame[14:].hex()}
        self.view["ethernet"] = frame[:12].hex()

    def __repr__(self):
        return f"{self.port}: frame {self.raw.hex()}"


def opened(port, frame):
    ethertype = struct.unpack_from("!H", frame, 12)[0]
    if ethertype in (0x0800, 0x86DD):
        return Packet(port, frame[14:], frame[:12])
    return Frame(port, frame)


def slots_of(packet):
    """The scenarios that a packet can belong to, by all that they have of their own."""
    view = packet.view
    for name in ("source", "destination", "quote.source", "quote.destination"):
        address = view.get(name, "")
        if address.startswith("198.18."):
            third, fourth = address.split(".")[2:]
            yield (int(third) * 256 + int(fourth)) // REMOTES_EACH
        elif address.startswith("2001:2:1:"):
            yield int(address.split(":")[3] or "0", 16)
    found = MARKER.search(packet.raw)
    if found:
        yield int(found.group(1))
    for name in ("sport", "dport", "id", "quote.sport", "quote.dport", "quote.id"):
        if name in view:
            yield (view[name] - FIRST_PORT) // PORTS_EACH


class Pair:
    """One scenario in both worlds."""

    def __init__(self, entry, slot, seed):
        self.entry = entry
        family, function, self.number = entry
        self.sides = [Scenario(family, function, self.number, slot, seed, name) for name in WORLDS]
        self.slot = slot
        self.alive = [True, True]
        self.outcomes = [None, None]
        self.steps = [None, None]
        self.step_number = 0
        self.problems = []
        self.rows = collections.Counter()
        self.transcript = []

    @property
    def title(self):
        family, function, number = self.entry
        return f"{family}/{function.__name__}, scenario {number}"

    def advance(self):
        """Let both go on to their next step. Returns whether there is one."""
        for n, side in enumerate(self.sides):
            self.steps[n] = None
            if not self.alive[n]:
                continue
            try:
                step = side.generator.send(self.outcomes[n])
            except StopIteration:
                self.alive[n] = False
                continue
            if not isinstance(step, Step):
                step = Step([step] if isinstance(step, Injection) else list(step))
            self.steps[n] = step
        self.step_number += 1
        return any(self.alive)

    def collect(self, arrived, reasons):
        """Take what came out, and compare it. @reasons: what sluice has dropped packets for."""
        self.outcomes = [Outcome(packets) for packets in arrived]
        for step, outcome in zip(self.steps, self.outcomes):
            for injection in step.injections if step else ():
                if injection.flow:
                    injection.flow.observe(outcome)
        self.transcript.append((list(self.steps), list(self.outcomes), reasons))
        problem = self.compare()
        if problem:
            self.problems.append((self.step_number, problem))

    def counts_differ(self, arrived):
        """Whether something may be missing that was to be expected."""
        named = any(step and step.row for step in self.steps)
        return not named and len(arrived[0]) != len(arrived[1])

    def compare(self):
        kernel_step, sluice_step = self.steps
        if not kernel_step or not sluice_step:
            return ["only one of the worlds has this step"]
        rows = {step.row for step in self.steps}
        if len(rows) != 1 or len(kernel_step.injections) != len(sluice_step.injections):
            return ["the worlds have gone different ways before"]
        kernel, sluice = (self.comparable(n) for n in range(2))
        name = rows.pop()
        row = TABLE[name] if name else None
        problems = []
        if row and not row.fields:
            self.rows[name] += 1
            for side, test, step, outcome in zip(
                WORLDS, (row.kernel, row.sluice), self.steps, self.outcomes
            ):
                if not test(outcome, step):
                    problems.append(f"{side} does not do what the row {name} says")
            return problems
        if row:
            for side, test, step, outcome in zip(
                WORLDS, (row.kernel, row.sluice), self.steps, self.outcomes
            ):
                if not test(outcome, step):
                    problems.append(f"{side} does not do what the row {name} says")
        if [port for port, _ in kernel] != [port for port, _ in sluice]:
            return problems + ["not the same packets came out of the same ports"]
        explained = False
        for (port, one), (_, other) in zip(kernel, sluice):
            for field in differing(one, other):
                if row and field in row.fields:
                    explained = True
                    continue
                reason = next(
                    (
                        key
                        for key, entry in TABLE.items()
                        if entry.everywhere and entry.everywhere(one, other, field)
                    ),
                    None,
                )
                if reason:
                    self.rows[reason] += 1
                    continue
                problems.append(
                    f"{port}: {field}: kernel {one.get(field)}, sluice {other.get(field)}"
                )
        if row:
            self.rows[name] += 1
            if not explained and not problems:
                problems.append(f"there is no difference for the row {name} to explain")
        return problems

    def comparable(self, n):
        """(port, view) of what came out of one world, in an order that says something."""
        side = self.sides[n]
        result = []
        for packet in self.outcomes[n]:
            view = dict(packet.view)
            if packet.fragments:
                view["fragments"] = packet.fragments
            self.rename(side, view)
            result.append((packet.port, view))
        # in order within a flow; nobody promises more when there are several workers
        result.sort(key=lambda item: (item[0], *(str(item[1].get(name)) for name in FLOW)))
        if len({injection.port for injection in self.steps[n].injections}) > 1:
            # nobody promises which of two ports is served first
            result.sort(key=lambda item: (item[0], repr(sorted(item[1].items()))))
        return result

    @staticmethod
    def rename(side, view):
        """Give external ports that the firewall has chosen names that are the same for both."""

        def name(field, checksum):
            port = view[field]
            if port in side.ports or port in side.own_ports:
                return
            kind = "low" if port < 1024 and not field.endswith("id") else "external"
            view[field] = side.names.setdefault(port, f"{kind} {len(side.names) + 1}")
            # a quoted one stands as it is, and depends on the port
            view.pop(checksum, None)

        if view.get("source") in (UPLINK, UPLINK6):
            for field in ("sport", "id"):
                if field in view:
                    name(field, None)
        if view.get("quote.destination") in (UPLINK, UPLINK6):
            for field in ("quote.dport", "quote.id"):
                if field in view:
                    name(field, "quote.l4-checksum")

    def show(self, all_steps=False):
        """For people: every step up to the first wrong one, what went in, and what came out."""
        wrong = dict(self.problems)
        last = max(wrong, default=len(self.transcript)) if not all_steps else len(self.transcript)
        for number, (steps, outcomes, reasons) in enumerate(self.transcript[:last], 1):
            yield f"  step {number}" + (f" ({steps[0].row})" if steps[0] and steps[0].row else "")
            shown = [list(map(describe, step.injections)) if step else [] for step in steps]
            if shown[0] == shown[1]:
                yield from (f"    in      {line}" for line in shown[0])
            else:
                for side, lines in zip(WORLDS, shown):
                    yield from (f"    in {side[:1]}    {line}" for line in lines)
            for side, outcome in zip(WORLDS, outcomes):
                for packet in outcome or ():
                    yield f"    {side}  {packet!r}"
                if not outcome:
                    yield f"    {side}  -"
            if reasons:
                yield f"            sluice counts {', '.join(reasons)}"
            for line in wrong.get(number, ()):
                yield f"    !!! {line}"


def describe(injection):
    if injection.packet is None:
        return f"{injection.port}: frame {injection.frame.hex()}"
    return repr(Packet(injection.port, injection.packet))


class Runner:
    """Runs scenarios and counts."""

    def __init__(self, wire, seed, control=None):
        self.wire, self.seed = wire, seed
        self.control = control  # for the reasons of single scenarios: sluiced's socket
        self.drops = collections.Counter()
        # before Linux 6.12 all namespaces share one limit of ICMP errors: 1000 a second, 50 at once
        self.shared_limit = not pathlib.Path("/proc/sys/net/ipv4/icmp_msgs_per_sec").exists()
        self.at_once = 40 if self.shared_limit else AT_ONCE
        self.slot = 0
        self.taken = set()  # external ports that the firewalls have chosen
        self.strays = []
        self.steps = 0

    def run(self, entries):
        """Run these scenarios together. Returns their pairs."""
        pairs = [Pair(entry, self.next_slot(), self.seed) for entry in entries]
        active = {pair.slot: pair for pair in pairs}
        while True:
            active = {slot: pair for slot, pair in active.items() if pair.advance()}
            if not active:
                break
            self.step(active)
        for pair in pairs:
            for side in pair.sides:
                self.taken |= set(side.names)
        return pairs

    def next_slot(self):
        """A slot whose ports no firewall has given to somebody else."""
        while True:
            first = FIRST_PORT + self.slot * PORTS_EACH
            self.slot += 1
            if self.taken.isdisjoint(range(first, first + PORTS_EACH)):
                return self.slot - 1

    def step(self, active):
        self.steps += 1
        for pair in active.values():
            for world, step in zip(self.wire.worlds, pair.steps):
                for injection in step.injections if step else ():
                    frame = injection.frame or frame_of(injection.port, injection.packet)
                    world.inject(injection.port, frame)
        self.wire.settle()
        frames = self.wire.take()
        arrived, strays = self.sort(active, frames)
        if strays or any(pair.counts_differ(arrived[slot]) for slot, pair in active.items()):
            self.wire.silence(LATE_S)
            frames = [early + late for early, late in zip(frames, self.wire.take())]
            arrived, strays = self.sort(active, frames)
        self.strays += strays
        reasons = self.reasons() if self.control else []
        for slot, pair in active.items():
            pair.collect(arrived[slot], reasons)
        if self.shared_limit:
            time.sleep(0.05)

    def reasons(self):
        """The drop reasons that sluice has counted since the last time."""
        ask = [sys.executable, CONTROL, self.control, "counters", "drops"]
        drops = collections.Counter(json.loads(subprocess.check_output(ask)))
        new, self.drops = drops - self.drops, drops
        return [f"{name} {count}" for name, count in new.items()]

    @staticmethod
    def sort(active, frames):
        """Find out whose all that came out is: by slot, for each world a list."""
        arrived, strays = collections.defaultdict(lambda: ([], [])), []
        for n, world_frames in enumerate(frames):
            for packet in joined([opened(port, frame) for port, frame in world_frames]):
                slot = next((slot for slot in slots_of(packet) if slot in active), None)
                if slot is None and len(active) == 1:
                    slot = next(iter(active))
                if slot is None:
                    strays.append((WORLDS[n], packet))
                else:
                    arrived[slot][n].append(packet)
        return arrived, strays


def warm_up(wire):
    """Let both worlds find their neighbours."""
    for destination in (*RESOLVERS, "198.18.255.255", "2001:2:1:ffff::1"):
        v6 = ":" in destination
        header = (IPv6 if v6 else IP)(src=WORK.address(v6), dst=destination)
        for world in wire.worlds:
            world.inject("work", frame_of("work", bytes(header / UDP(sport=9, dport=9))))
        wire.settle()
    wire.take()


def all_scenarios():
    """Every scenario, (family, function, number): the number says what happens in it."""
    number = itertools.count(1)
    for family in FAMILIES:
        module = importlib.import_module(f"families.{family}")
        for function, count in module.SCENARIOS:
            for _ in range(count):
                yield family, function, next(number)


def batches(entries, size):
    """Runs of scenarios that can run together: those that must be alone are."""
    batch = []
    for entry in entries:
        if getattr(entry[1], "alone", False):
            yield [entry]
            continue
        batch.append(entry)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def report_silent(pairs):
    """Name the scenarios that say only that nothing comes out: they must not become many."""
    spoken, silent = set(), set()
    for pair in pairs:
        heard = any(outcome for _, outcomes, _ in pair.transcript for outcome in outcomes)
        (spoken if heard else silent).add(f"{pair.entry[0]}/{pair.entry[1].__name__}")
    print("silent in both worlds: " + ", ".join(sorted(silent - spoken)))


def report_rows(used, complete):
    """Say how often each named difference was needed. Returns the rows that nothing needs."""
    print("intended differences:")
    for name, row in TABLE.items():
        if used[name] or complete:
            print(f"  {used[name]:5d}  {name}: {row.reason}")
    return [name for name in TABLE if not used[name]] if complete else []


def run(options):
    began = time.monotonic()
    entries = list(all_scenarios())
    total = len(entries)
    if options.scenario:
        entries = [entry for entry in entries if entry[2] in options.scenario]
    elif options.family:
        unknown = set(options.family) - set(FAMILIES)
        if unknown:
            sys.exit(f"no such family: {', '.join(unknown)}; there are {', '.join(FAMILIES)}")
        entries = [entry for entry in entries if entry[0] in options.family]
    complete = len(entries) == total
    wire = Wire([World("kernel", "k"), World("sluice", "s")])
    warm_up(wire)
    runner = Runner(wire, options.seed, options.control if options.scenario else None)
    if runner.control:
        runner.reasons()
    pairs, suspicious = [], []
    for batch in batches(entries, 1 if options.scenario else runner.at_once):
        for pair in runner.run(batch):
            (suspicious if pair.problems else pairs).append(pair)
    again = []
    if 0 < len(suspicious) <= AGAIN_AT_MOST and not options.scenario:
        retried = []
        again = suspicious
        for batch in batches([pair.entry for pair in suspicious], AGAIN_AT_ONCE):
            retried += runner.run(batch)
        suspicious = [pair for pair in retried if pair.problems]
        pairs += [pair for pair in retried if not pair.problems]
    wrong = suspicious
    if options.scenario:
        for pair in sorted(pairs + wrong, key=lambda pair: pair.number):
            print(pair.title)
            print("\n".join(pair.show(all_steps=True)))
    elif wrong:
        show_wrong(wrong, options.details)
    still = {pair.number for pair in wrong}
    for pair in again:
        if pair.number not in still:
            step, lines = pair.problems[0]
            print(f"right when tried again: {pair.title}, step {step}: {'; '.join(lines)[:300]}")
    for side, packet in runner.strays[:SHOWN]:
        print(f"belongs to no scenario: {side} {packet!r}")

    used = collections.Counter()
    for pair in pairs + wrong:
        used.update(pair.rows)
    counts = collections.Counter(entry[0] for entry in entries)
    bad = collections.Counter(pair.entry[0] for pair in wrong)
    print("scenarios:")
    for family in counts:
        note = f", {bad[family]} wrong" if bad[family] else ""
        print(f"  {counts[family]:5d}  {family}{note}")
    report_silent(pairs + wrong)
    stale = report_rows(used, complete)
    for name in stale:
        print(f"nothing needs the row {name} any more")
    kernel, sluice = wire.worlds
    print(
        f"seed {options.seed}: {len(entries)} scenarios, packets in {kernel.frames_in} and "
        f"{sluice.frames_in}, packets out of the kernel {kernel.frames_out}, of sluice "
        f"{sluice.frames_out}; {sum(used.values())} named differences; "
        f"{len(again)} scenarios tried again; "
        f"{len(wrong) + len(runner.strays)} unexplained; {time.monotonic() - began:.0f} s"
    )
    return 1 if wrong or runner.strays or stale else 0


def show_wrong(wrong, details):
    """The first of each kind in full, the others by number; all of them in the file @details."""
    if details:
        with open(details, "w", encoding="utf-8") as file:
            for pair in wrong:
                print(pair.title, *pair.show(), sep="\n", file=file)
    kinds = collections.defaultdict(list)
    for pair in wrong:
        kinds[pair.entry[:2]].append(pair)
    for shown, ((family, function), found) in enumerate(kinds.items()):
        print(f"{family}/{function.__name__}: {len(found)} wrong: " + ", ".join(
            str(pair.number) for pair in found[:SHOWN]
        ))
        if shown < SHOWN:
            print(f" {found[0].title}", *found[0].show(), sep="\n")
    print("one of them again, with every step: tests/differential/run.sh --scenario N")


def write(options):
    directory = pathlib.Path(options.directory)
    conf = world_module.sluice_conf(directory, options.workers)
    (directory / "sluice.conf").write_text(conf)
    (directory / "state").mkdir(exist_ok=True)
    for qube in QUBES:
        lines = world_module.rules(qube, options.seed)
        (directory / f"{qube.name}.rules").write_text("".join(f"{line}\n" for line in lines))
    (directory / "oracle.nft").write_text(world_module.oracle(options.seed))
    # one line per link: far end, near end, MTU, then of qubes their addresses
    links = [f"uplink eth0 {UPLINK_MTU}"]
    links += [f"{q.name} {q.port} {q.mtu} {q.ip} {q.ip6 or ''}".rstrip() for q in LIVE]
    (directory / "links").write_text("\n".join(links) + "\n")
    sysctls = [f"{name}={value}" for name, value in SYSCTLS.items()]
    sysctls += [
        f"{name.format(qube.port)}={value}" for qube in LIVE for name, value in VIF_SYSCTLS.items()
    ]
    (directory / "sysctls").write_text("\n".join(sysctls) + "\n")


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("write")
    one.add_argument("directory")
    one.add_argument("--workers", type=int, default=1)
    one.add_argument("--seed", type=int, default=1)
    one = commands.add_parser("run")
    one.add_argument("family", nargs="*")
    one.add_argument("--control", help="the socket of sluiced")
    one.add_argument("--details", help="a file that everything wrong is written to")
    one.add_argument("--scenario", type=int, action="append")
    one.add_argument("--seed", type=int, default=1)
    commands.add_parser("list")
    commands.add_parser("constant").add_argument("name")
    options = parser.parse_args()
    if options.command == "write":
        write(options)
    elif options.command == "constant":
        print(getattr(world_module, options.name))
    elif options.command == "list":
        counts = collections.Counter(entry[0] for entry in all_scenarios())
        for family, count in counts.items():
            print(f"{count:5d}  {family}")
        print(f"{sum(counts.values()):5d}  in all")
    else:
        try:
            sys.exit(run(options))
        except Dead as error:
            sys.exit(f"differential: {error}")


main()
