# SPDX-License-Identifier: BSD-3-Clause
"""ICMP queries, and all types that are neither query nor error about a flow."""

import struct

from packets import checksum
from scenario import ICMPv6Unknown, Raw, icmp_error
from world import PERSONAL, WORK

ECHO, TIMESTAMP = 8, 13
# conntrack opens flows for these too
ALSO_QUERIES = (15, 17)
NODE_INFORMATION = 139
# conntrack does not look at them, so they pass where the rules say so
UNTRACKED6 = (130, 131, 132, 133, 134, 135, 136, 143, 151, 152)


def ping(s):
    flow = s.ping()
    for _ in range(s.rng.randrange(1, 4)):
        data = s.data(size=s.rng.choice((0, 1, 7, 8, 56, 57, 1000)))
        yield flow.out(data)
        yield flow.back(data)


def repeated_answers(s):
    flow = s.ping()
    yield flow.out()
    yield flow.out()
    for _ in range(3):
        yield flow.back()


def one_way(s):
    flow = s.ping()
    yield [flow.out() for _ in range(3)]


def timestamp(s):
    flow = s.ping(v6=False, kind="timestamp")
    yield flow.out(b"")
    yield flow.back(b"")


def information(s):
    flow = s.ping(v6=False, kind=s.rng.choice(("information", "mask")))
    yield s.differs("icmp-obsolete-query", flow.out())


def other_answer(s):
    """The right identifier, but an answer to another kind of question."""
    echo, stamp = s.rng.sample(("echo", "timestamp"), 2)
    asked, other = (s.ping(WORK, v6=False, kind=kind, remote=s.remote()) for kind in (echo, stamp))
    yield asked.out()
    yield other.back()
    yield asked.back()


def two_questions(s):
    """One identifier for two kinds of question."""
    flows = [s.ping(WORK, v6=False, kind=kind, remote=s.remote()) for kind in ("echo", "timestamp")]
    s.rng.shuffle(flows)
    yield flows[0].out()
    yield s.differs("icmp-second-question", flows[1].out())
    yield flows[0].back()
    yield s.differs("icmp-second-question", flows[1].back())


def strangers(s):
    """An answer from elsewhere, with another identifier, as a request."""
    flow = s.ping()
    yield flow.out()
    yield flow.back_packet(flow.layer(True, flow.external, None), source=s.remote(5, flow.v6))
    yield flow.back_packet(flow.layer(True, s.port(9), None))
    yield flow.back_packet(flow.layer(False, flow.external, None))
    yield flow.back()
    # and the qube answers where it should ask
    yield flow.out(answer=True)


def answers_without_question(s):
    flow = s.ping()
    yield flow.out(answer=True)
    yield flow.back()


def request_from_outside(s):
    flow = s.ping()
    yield flow.back(answer=False)
    yield s.from_uplink(
        flow.real, flow.layer(False, flow.external, None), destination=flow.inside
    )


def several_remotes(s):
    qube, v6 = s.qube(), s.version()
    flows = [s.ping(qube, remote=s.remote(n, v6), port=s.port()) for n in range(3)]
    for flow in flows:
        yield flow.out()
    for flow in s.rng.sample(flows, 3):
        yield flow.back()


def clash(s):
    """Two qubes ping one host with one identifier."""
    v6 = s.version()
    flows = [
        s.ping(qube, remote=s.remote(0, v6), port=s.port())
        for qube in s.rng.sample((WORK, PERSONAL), 2)
    ]
    for flow in flows:
        yield flow.out()
    for flow in s.rng.sample(flows, 2):
        yield flow.back()


def clash_elsewhere(s):
    v6 = s.version()
    one, other = (
        s.ping(qube, remote=s.remote(n, v6), port=s.port())
        for n, qube in enumerate(s.rng.sample((WORK, PERSONAL), 2))
    )
    yield one.out()
    yield s.differs("port-overloading", other.out())
    yield one.back()
    yield other.back()


def codes(s):
    """Echo has code 0, but nobody must look at it."""
    flow = s.ping()
    code = s.rng.choice((1, 5, 255))
    yield flow.out(icmp={"code": code})
    yield flow.back(icmp={"code": code})


def checksum_wrong(s):
    flow = s.ping()
    bad = {"cksum" if flow.v6 else "chksum": 0xDEAD}
    yield flow.out(icmp=bad)
    yield flow.out()
    yield flow.back(icmp=bad)
    yield flow.back()


def message(s, kind, code=0, v6=False):
    """A message of any type, with a plausible identifier and a payload of its own."""
    body = struct.pack("!HH", s.port(), 1) + s.data()
    if v6:
        return ICMPv6Unknown(type=kind, code=code, msgbody=body)
    raw = struct.pack("!BBH", kind, code, 0) + body
    return Raw(raw[:2] + struct.pack("!H", checksum(raw)) + raw[4:])


def types_out(s):
    """Other types, towards hosts that the rules allow."""
    for kind in s.rng.sample(range(256), 8):
        injection = s.from_qube(s.qube(), s.remote(), message(s, kind), proto=1)
        if kind in ALSO_QUERIES:
            injection = s.differs("icmp-obsolete-query", injection)
        yield injection


def types_out_v6(s):
    kinds = s.rng.sample(range(128, 256), 6) + [s.rng.choice(UNTRACKED6), s.rng.randrange(128)]
    for kind in kinds:
        injection = s.from_qube(s.qube(), s.remote(0, True), message(s, kind, v6=True))
        if kind in UNTRACKED6:
            injection = s.differs("icmp6-untracked", injection)
        elif kind == NODE_INFORMATION:
            injection = s.differs("icmp6-node-information", injection)
        yield injection


def node_information(s):
    injection = s.from_qube(s.qube(), s.remote(0, True), message(s, NODE_INFORMATION, v6=True))
    yield s.differs("icmp6-node-information", injection)


def types_in(s):
    """The same from outside, after a ping made it plausible."""
    flow = s.ping(v6=False)
    yield flow.out()
    for kind in s.rng.sample([kind for kind in range(256) if kind != 0], 8):
        yield s.from_uplink(flow.real, message(s, kind), proto=1)


def types_in_v6(s):
    flow = s.ping(v6=True)
    yield flow.out()
    for kind in s.rng.sample([kind for kind in range(256) if kind not in (129, 135)], 8):
        yield s.from_uplink(flow.real, message(s, kind, v6=True))


def short(s):
    """Fewer bytes than an ICMP header has."""
    for size in s.rng.sample(range(8), 3):
        layer = Raw(icmp_error(ECHO, 0, b"").load[:size])
        yield s.from_qube(s.qube(), s.remote(), layer, proto=1)
        yield s.from_uplink(s.remote(), layer, proto=1)


def other_family(s):
    """ICMP in IPv6, ICMPv6 in IPv4."""
    yield s.from_qube(WORK, s.remote(0, True), message(s, ECHO), proto=1)
    yield s.from_qube(WORK, s.remote(), message(s, 128), proto=58)


SCENARIOS = (
    (ping, 40),
    (repeated_answers, 8),
    (one_way, 6),
    (timestamp, 8),
    (information, 6),
    (other_answer, 4),
    (two_questions, 4),
    (strangers, 15),
    (answers_without_question, 8),
    (request_from_outside, 8),
    (several_remotes, 10),
    (clash, 15),
    (clash_elsewhere, 6),
    (codes, 8),
    (checksum_wrong, 10),
    (types_out, 25),
    (types_out_v6, 20),
    (node_information, 3),
    (types_in, 15),
    (types_in_v6, 15),
    (short, 6),
    (other_family, 4),
)
