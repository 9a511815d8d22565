#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Change rules and forwards until sluiced is killed: changes_kill.py SOCKET STATE PID DELAY

STATE holds what the daemon may have now: what it had after the last change that it answered, or
after the one that was under way. It must have one of the two, exactly. Then changes are streamed
until PID is killed, DELAY seconds later, and STATE is written for the next round. Prints how many
changes were answered, and which of the two was found: "same", "acknowledged" or "under-way".
"""
import copy
import json
import os
import random
import signal
import sys
import threading

from rpc import Rpc, RpcError

QUBES = ("work", "personal")


def read(rpc):
    """What is in force, as the model has it."""
    state = {"rules": {}, "forwards": {}}
    for qube in rpc.call("rules.get")["qubes"]:
        state["rules"][qube["qube"]] = [
            qube["policy"],
            [rule["rule"] + "#" + rule.get("comment", "") for rule in qube["rules"]],
        ]
    for forward in rpc.call("forward.list")["forwards"]:
        state["forwards"][forward["name"]] = forward["qube"] + "#" + forward.get("comment", "")
    return state


def rule(number, port):
    return f'action=accept proto=tcp dstports={port} comment="change {number}"'


def shown(number, port):
    return f"action=accept proto=tcp dstports={port}-{port}#change {number}"


class Model:
    """The next random change, and what is there after it."""

    def __init__(self, state, number):
        self.state, self.number = state, number

    def set_both(self, after):
        ports = random.sample(range(1, 65536), random.randint(0, 20))
        policy = random.choice(("drop", "accept"))
        changes = []
        for qube in QUBES:
            after["rules"][qube] = [policy, [shown(self.number, port) for port in ports]]
            rules = [rule(self.number, port) for port in ports]
            changes.append(("rules.set", {"qube": qube, "policy": policy, "rules": rules}))
        return changes

    def add_one(self, after):
        qube, port = random.choice(QUBES), random.randint(1, 65535)
        if len(after["rules"][qube][1]) > 60:
            return self.set_both(after)
        after["rules"][qube][1].append(shown(self.number, port))
        return [("rules.add", {"qube": qube, "rules": [rule(self.number, port)]})]

    def forward(self, after):
        """The oldest goes when there are many, in the same breath as the new one comes."""
        changes = []
        if len(after["forwards"]) >= 8:
            name = min(after["forwards"], key=lambda name: int(name[1:]))
            del after["forwards"][name]
            changes.append(("forward.delete", {"name": name}))
        name, qube = f"f{self.number}", random.choice(QUBES)
        port = 1 + self.number % 65535
        text = f"action=forward forwardtype=external proto=tcp srcports={port}"
        after["forwards"][name] = f"{qube}#change {self.number}"
        text += f' comment="change {self.number}"'
        changes.append(("forward.add", {"qube": qube, "name": name, "rule": text}))
        for qube in QUBES:
            after["rules"][qube][0] = random.choice(("drop", "accept"))
            changes.append(
                ("rules.policy", {"qube": qube, "policy": after["rules"][qube][0]})
            )
        return changes

    def next(self):
        after = copy.deepcopy(self.state)
        change = random.choice((self.set_both, self.add_one, self.forward))
        return change(after), after


def stream(rpc, state, number):
    """@return the state that was answered last, the one under way, and the number of changes"""
    while True:
        changes, after = Model(state, number).next()
        try:
            if len(changes) == 1:
                rpc.call(*changes[0])
            else:
                listed = [{"method": method, "params": params} for method, params in changes]
                rpc.call("transaction", {"changes": listed})
        except RpcError as error:
            sys.exit(f"change {number} was refused: {error}: {changes}")
        except OSError:
            return state, after, number
        except EOFError:
            return state, after, number
        state, number = after, number + 1


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    path, kept, pid, delay = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    rpc = Rpc(path)
    found = read(rpc)
    first, what = 1, "same"
    if os.path.exists(kept):
        with open(kept) as file:
            acknowledged, under_way, first = json.load(file)
        if found == under_way:
            what = "under-way"
        elif found == acknowledged:
            what = "acknowledged"
        else:
            sys.exit(f"found {found},\nacknowledged {acknowledged},\nunder way {under_way}")
    threading.Timer(delay, os.kill, (pid, signal.SIGKILL)).start()
    state, after, number = stream(rpc, found, first)
    with open(kept, "w") as file:
        json.dump([state, after, number + 1], file)
    print(number - first, what)


main()
