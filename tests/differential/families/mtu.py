# SPDX-License-Identifier: BSD-3-Clause
"""Packets that are too long for the way out.

The uplink takes 1400 bytes, personal 1300, work 1500.
"""

from scenario import Raw, TCP, UDP
from world import PERSONAL, UPLINK_MTU, WORK


def data_for(s, flow, length):
    """Payload that makes an IP packet so long."""
    header = (40 if flow.v6 else 20) + (8 if flow.protocol != 6 else 20)
    return s.data(size=length - header)


def fitting(s):
    """The longest that go through as they are."""
    flow = s.udp(s.rng.choice((WORK, PERSONAL)))
    mtu = min(UPLINK_MTU, flow.qube.mtu)
    yield flow.out(data_for(s, flow, mtu))
    yield flow.back(data_for(s, flow, mtu))
    yield flow.back(data_for(s, flow, mtu - 1))


def too_long_out(s):
    """Out of work, longer than the uplink takes: an error about those that must stay whole."""
    flow = s.udp(WORK)
    length = s.rng.choice((1401, 1402, 1408, 1500))
    yield flow.out(data_for(s, flow, length), flags="DF")
    yield flow.out()
    yield flow.out(data_for(s, flow, length), flags="DF")
    yield flow.back()


def too_long_in(s):
    """The same towards personal: the far end hears of it."""
    flow = s.udp(PERSONAL)
    yield flow.out()
    length = s.rng.choice((1301, 1304, 1400))
    yield flow.back(data_for(s, flow, length), flags="DF")
    yield flow.back()


def taken_apart_out(s):
    """Longer than the uplink takes, and may be taken apart."""
    flow = s.udp(WORK, v6=False)
    for length in s.rng.sample((1401, 1404, 1409, 1500), 2):
        yield flow.out(data_for(s, flow, length), flags="")
    yield flow.back()


def taken_apart_in(s):
    flow = s.udp(PERSONAL, v6=False)
    yield flow.out()
    for length in s.rng.sample((1301, 1305, 1400), 2):
        yield flow.back(data_for(s, flow, length), flags="")


def ping(s):
    flow = s.ping(WORK)
    yield flow.out(data_for(s, flow, 1450), flags="DF")
    yield flow.out(data_for(s, flow, 1400), flags="DF")
    yield flow.back(data_for(s, flow, 1400), flags="DF")


def tcp(s):
    flow = s.tcp(WORK)
    flow.stamps = False
    yield from flow.handshake()
    yield flow.out("PA", data_for(s, flow, 1500), keep=True, ip={"flags": "DF"})
    yield flow.out("PA", data_for(s, flow, 1400), ip={"flags": "DF"})
    yield flow.back("A")


def refused(s):
    """Refused and too long."""
    remote = s.rng.choice(("203.0.113.9", "2001:2:3::9"))
    flow = s.udp(WORK, remote=remote)
    yield s.differs("length-before-rules", flow.out(data_for(s, flow, 1500), flags="DF"))
    if not flow.v6:
        yield flow.out(data_for(s, flow, 1500), flags="")


def unsolicited(s):
    """From outside to a qube's own address, for no flow."""
    v6 = s.version()
    layer = UDP(sport=53, dport=s.port()) / Raw(s.data(size=1300))
    injection = s.from_uplink(
        s.remote(0, v6), layer, destination=PERSONAL.address(v6), flags="DF"
    )
    yield s.differs("length-unsolicited", injection)
    layer = UDP(sport=53, dport=s.port()) / Raw(s.data(size=1300))
    yield s.from_uplink(s.remote(0, v6), layer, flags="DF")


def opening(s):
    """Who may answer a packet that never left."""
    flow = s.udp(WORK)
    yield flow.out(data_for(s, flow, 1500), flags="DF")
    yield s.differs("opened-by-too-long", flow.back())


def syn_too_long(s):
    flow = s.tcp(WORK)
    layer = TCP(sport=flow.port, dport=flow.service, flags="S", seq=flow.a.next)
    yield flow.out_packet(layer / Raw(s.data(size=1430)), flags="DF")


SCENARIOS = (
    (fitting, 10),
    (too_long_out, 12),
    (too_long_in, 12),
    (taken_apart_out, 12),
    (taken_apart_in, 12),
    (ping, 6),
    (tcp, 6),
    (refused, 5),
    (unsolicited, 5),
    (opening, 4),
    (syn_too_long, 3),
)
