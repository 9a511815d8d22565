#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What sluiced tells, compared with each other: control_tells.py SOCKET COMMAND [ARGUMENT...]

  numbers PID        status, qubes, counters and metrics agree; work has pinged 7 times
  telemetry SOCKET   DPDK's telemetry knows the same
  hammer SOCKET      ask it for two seconds
  events             print events until killed
  missed PID         a subscriber that does not read is told how many it has missed
  journal COMMAND... run it with its stderr declared to be a journal
"""
import json
import os
import signal
import socket
import subprocess
import sys
import time

PATH = sys.argv[1]


def require(what, good, seen):
    if not good:
        sys.exit(f"FAIL: {what} (saw {seen!r})")


class Control:
    def __init__(self):
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(PATH)
        self.lines = self.connection.makefile("rb")

    def send(self, method, identity=1, **params):
        message = {"jsonrpc": "2.0", "id": identity, "method": method, "params": params}
        self.connection.sendall(json.dumps(message).encode() + b"\n")

    def call(self, method, **params):
        self.send(method, 1, **params)
        answer = json.loads(self.lines.readline())
        require(f"{method} has a result", "result" in answer, answer)
        return answer["result"]


def by_name(items):
    return {item["name"]: item for item in items}


def metrics(text):
    """{(sample, labels): value}, as a parser of the standard reads it."""
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def numbers(pid):
    control = Control()
    status = control.call("status")
    counters = control.call("counters")
    qubes = by_name(control.call("qubes")["qubes"])
    ports = by_name(status["ports"])
    require("the pid", status["pid"] == int(pid), status["pid"])
    require("the generation", status["policy"]["generation"] == 1, status["policy"])
    require("since when", abs(status["policy"]["since"] - time.time()) < 60, status["policy"])
    require("a port", ports["work"]["device"] == "kernel:vif1.0", ports["work"])
    require("its qube", ports["work"]["qube"] == "work" and ports["work"]["up"], ports["work"])
    require("the uplink", ports["uplink"]["role"] == "uplink", ports["uplink"])
    require("the flows", status["workers"][0]["flows"] >= 1, status["workers"])
    work, personal = qubes["work"], qubes["personal"]
    require("an address", "10.137.0.16" in work["addresses"], work["addresses"])
    require("its rules", work["rules"] == {"state": "valid", "origin": "file", "count": 1}, work)
    require("bad rules", personal["rules"]["state"] == "bad", personal["rules"])
    require("and why", "personal.rules:2" in personal["rules"]["error"], personal["rules"])
    require(
        "a warning about them",
        any("personal" in text for text in status["warnings"]),
        status["warnings"],
    )
    require("what it has sent", work["rx_packets"] >= 8, work["rx_packets"])
    require("and got", work["tx_packets"] >= 7, work["tx_packets"])
    require("a drop", work["drops"].get("policy", 0) >= 1, work["drops"])
    require("its flows", work["flows"] == 1, work["flows"])
    require("its limits", work["limits"]["flows"] == 16, work["limits"])
    alone = control.call("qubes", qube="work")["qubes"]
    require("one qube", [qube["name"] for qube in alone] == ["work"], alone)

    text = control.call("metrics")["text"]
    samples = metrics(text)
    require("it ends", text.endswith("# EOF\n"), text[-20:])
    for name in ("rx_packets", "tx_packets"):
        seen = samples[f"sluice_port_{name}_total", (("port", "work"), ("qube", "work"))]
        require(f"{name} in metrics", seen >= work[name], (seen, work[name]))
    drops = {
        dict(labels)["reason"]: count
        for (name, labels), count in samples.items()
        if name == "sluice_drops_total"
    }
    for reason, count in counters["drops"].items():
        require(f"{reason} in metrics", drops[reason] >= count, drops[reason])
    require("every reason is there", len(drops) > 40, len(drops))
    require(
        "a budget in metrics",
        samples["sluice_qube_limit", (("budget", "flows"), ("qube", "work"))] == 16,
        "",
    )
    require(
        "the state of rules in metrics",
        samples["sluice_qube_rules", (("qube", "personal"), ("sluice_qube_rules", "bad"))] == 1,
        "",
    )
    require("the generation in metrics", samples["sluice_policy_generation", ()] == 1, "")


class Telemetry:
    def __init__(self, path):
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection.settimeout(5)
        self.connection.connect(path)
        self.about = json.loads(self.connection.recv(1 << 16))

    def ask(self, command):
        self.connection.send(command.encode())
        answer = json.loads(self.connection.recv(1 << 16))
        return answer[command.split(",")[0]]


def telemetry(path):
    control, tele = Control(), Telemetry(path)
    require("our commands", "/sluice/status" in tele.ask("/"), tele.ask("/"))
    status = tele.ask("/sluice/status")
    require("the pid", status["pid"] == tele.about["pid"], status)
    require("the generation", status["generation"] == 1 and status["qubes"] == 2, status)
    qubes = by_name(control.call("qubes")["qubes"])
    seen = tele.ask("/sluice/qubes,work")
    require("packets of a qube", seen["rx_packets"] >= qubes["work"]["rx_packets"], seen)
    require("its flows", seen["flows"] == qubes["work"]["flows"], seen)
    require("its budgets", {"half_open", "new_flows_refused"} <= set(seen), seen)
    require("names of qubes", sorted(tele.ask("/sluice/qubes")) == ["personal", "work"], "")
    require("drops of a port", tele.ask("/sluice/drops,work")["policy"] >= 1, "")
    require("drops of all", tele.ask("/sluice/drops")["policy"] >= 1, "")
    reasons = {reason.replace("-", "_") for reason in control.call("counters")["drops"]}
    require("every reason", reasons <= set(tele.ask("/sluice/drops")), reasons)
    require("counters", tele.ask("/sluice/counters")["forward"] >= 14, "")
    require("counters of a port", tele.ask("/sluice/counters,uplink")["rx_packets"] >= 7, "")
    require("no such port", tele.ask("/sluice/counters,nowhere") is None, "")
    require("no such qube", tele.ask("/sluice/qubes,nowhere") is None, "")


def hammer(path):
    tele = Telemetry(path)
    end = time.monotonic() + 2
    count, generations = 0, set()
    while time.monotonic() < end:
        generations.add(tele.ask("/sluice/status")["generation"])
        require("a qube", "flows" in tele.ask("/sluice/qubes,work"), "")
        require("two qubes", len(tele.ask("/sluice/qubes")) == 2, "")
        count += 3
    print(f"{count} answers in 2 s while the policy changed, {len(generations)} generations seen")


def events():
    control = Control()
    control.send("events")
    print("subscribed", flush=True)
    for line in control.lines:
        print(line.decode().rstrip(), flush=True)


def missed(pid):
    """Sixty policies, told to who has subscribed fifteen times and reads nothing until the end."""
    sleeper, other = Control(), Control()
    told = {}
    for i in range(15):
        identity = f"{i:02}" * 500
        told[identity] = []
        sleeper.send("events", identity, kinds=["policy"])
    sleeper.call("hello")  # answered behind them: all are subscribed by now
    generation = other.call("status")["policy"]["generation"]
    for i in range(60):
        os.kill(int(pid), signal.SIGHUP)
        while other.call("status")["policy"]["generation"] == generation + i:
            time.sleep(0.002)
    sleeper.connection.settimeout(5)
    while any(sum(counts) < 60 for counts in told.values()):
        params = json.loads(sleeper.lines.readline())["params"]
        counts = told[params["id"]]
        counts.append(params.get("missed", 0) + (params["kind"] == "policy"))
    require("none is told twice", all(sum(counts) == 60 for counts in told.values()), told)
    most = max(max(counts) for counts in told.values())
    require("some were missed", most > 1, most)
    print(f"ok:   who does not read has missed up to {most - 1} of 60 events, and is told so")


def journal(*command):
    reader, writer = os.pipe()
    about = os.fstat(writer)
    environment = dict(os.environ, JOURNAL_STREAM=f"{about.st_dev}:{about.st_ino}")
    subprocess.run(command, stderr=writer, env=environment, check=False)
    other = subprocess.run(command, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        lines = stream.read().splitlines()
    good = [line[:1] == b"<" and line[2:12] == b">sluiced: " for line in lines]
    require("priorities", lines and all(good), lines)
    require("none elsewhere", other.stderr.startswith(b"sluiced: "), other.stderr)


COMMANDS = (numbers, telemetry, hammer, events, missed, journal)
{command.__name__: command for command in COMMANDS}[sys.argv[2]](*sys.argv[3:])
