# SPDX-License-Identifier: BSD-3-Clause
"""TCP: lives of connections in all orders, and what does not belong to any."""

import packets
from packets import checksum, pseudo_header
from scenario import Raw, TCP, before
from world import PERSONAL, WORK

HALF = 1 << 31


def some_flags(s):
    """A plausible segment of an established connection."""
    return s.rng.choice(("A", "PA", "A", "PA", "UA", "AE", "AC"))


def life(s):
    """A handshake, data both ways, a close by either end."""
    flow = s.tcp()
    yield from flow.handshake()
    for _ in range(s.rng.randrange(1, 6)):
        end = s.rng.choice((flow.out, flow.back))
        yield end("PA", s.data(size=s.rng.choice((7, 100, 500, 1200))))
        yield (flow.back if end == flow.out else flow.out)("A")
    first, second = s.rng.choice(((flow.out, flow.back), (flow.back, flow.out)))
    how = s.rng.choice(("fins", "one by one", "both at once", "reset", "half"))
    if how == "fins":
        yield first("FA")
        yield second("FA")
        yield first("A")
    elif how == "one by one":
        yield first("FA")
        yield second("A")
        yield second("FPA", s.data(b"last"))
        yield first("A")
    elif how == "both at once":
        seqs = flow.a.next, flow.b.next
        yield flow.out("FA")
        yield flow.back("FA", ack=seqs[0])
        yield flow.out("A")
        yield flow.back("A")
    elif how == "reset":
        yield first("RA")
        yield second("PA", s.data(b"too late"))
        yield first("R")
    else:
        yield first("FA")
        for n in range(3):
            yield second("PA", s.data(b"%d" % n))
            yield first("A")
        yield second("FA")
        yield first("A")
    # whatever comes afterwards
    yield first("A")
    yield second("A")
    yield s.rng.choice((first, second))("FA", keep=True)


def retransmissions(s):
    """Every segment twice."""
    flow = s.tcp()
    script = [
        (flow.out, "S", b""),
        (flow.back, "SA", b""),
        (flow.out, "A", b""),
        (flow.out, "PA", s.data(b"one")),
        (flow.back, "PA", s.data(b"two")),
        (flow.out, "FA", b""),
        (flow.back, "FA", b""),
        (flow.out, "A", b""),
    ]
    for end, flags, data in script:
        segment = end(flags, data)
        yield segment
        if s.rng.random() < 0.7:
            yield segment


def syn_only(s):
    flow = s.tcp()
    for _ in range(s.rng.randrange(1, 4)):
        yield flow.out("S", keep=True)


def refused_by_peer(s):
    flow = s.tcp()
    yield flow.out("S")
    yield flow.back("RA", seq=0)
    if s.rng.random() < 0.5:
        flow.a.next += 12345
        yield flow.out("S")
        yield flow.back("SA")
        yield flow.out("A")


def after_refusal(s):
    """A reset that answers a SYN ends the connection; what still comes of it."""
    flow = s.tcp()
    yield flow.out("S")
    yield flow.back("RA", seq=0, keep=True)
    yield s.differs("reset-remembered", flow.back("R", seq=0, keep=True))
    yield s.differs("reset-remembered", flow.back("SA"))


def blind_reset_of_syn(s):
    """A reset that does not know the SYN which it answers."""
    flow = s.tcp()
    yield flow.out("S")
    seq = flow.a.next
    how = s.rng.choice(("bare", "bare", "one too much", "far ahead", "far behind"))
    if how == "bare":
        blind = flow.back("R", seq=s.rng.choice((0, 77777)), keep=True)
    else:
        offset = {"one too much": 1, "far ahead": HALF - 1000, "far behind": -70000}[how]
        blind = flow.back("RA", seq=0, ack=seq + offset, keep=True)
    # the kernel minds what is far ahead, and takes what is far behind for old
    yield blind if how == "far ahead" else s.differs("blind-reset", blind)
    answer = flow.back("SA")
    yield answer if how.startswith("far") else s.differs("blind-reset-survived", answer)


def syn_answers(s):
    """A SYN/ACK whose acknowledgement is not that of the SYN."""
    flow = s.tcp()
    yield flow.out("S")
    offset = s.rng.choice((-1, 1, 1000, -1000, -100000, HALF - 1000))
    stray = flow.back("SA", ack=flow.a.next + offset, keep=True)
    yield s.differs("syn-ack-stray", stray) if offset < 0 else stray
    yield flow.back("SA")
    yield flow.out("A")
    yield flow.out("PA", s.data())
    yield flow.back("A")


def acks_before_handshake(s):
    """Out of turn: a bare ACK, data, a FIN in each half of the handshake."""
    flow = s.tcp()
    yield flow.out("S")
    flags = s.rng.choice(("A", "PA", "FA", "SA"))
    yield s.rng.choice((flow.out, flow.back))(flags, keep=True)
    yield flow.back("SA")
    flags = s.rng.choice(("PA", "FA", "SA", "S"))
    yield s.rng.choice((flow.out, flow.back))(flags, s.data() if flags == "PA" else b"", keep=True)
    yield flow.out("A")
    yield flow.back("PA", s.data())
    yield flow.out("A")


def fast_open(s):
    """Data on the SYN."""
    flow = s.tcp()
    yield flow.out("S", s.data(b"early"))
    yield flow.back("SA")
    yield flow.out("A")
    yield flow.back("PA", s.data())


def simultaneous_open(s):
    flow = s.tcp()
    yield flow.out("S")
    yield flow.back("S")
    seqs = flow.a.next, flow.b.next
    order = [
        lambda: flow.out("SA", seq=seqs[0] - 1, ack=seqs[1], keep=True),
        lambda: flow.back("SA", seq=seqs[1] - 1, ack=seqs[0], keep=True),
    ]
    s.rng.shuffle(order)
    for make in order:
        yield make()
    yield flow.out("A")
    yield flow.back("A")
    yield flow.out("PA", s.data())
    yield flow.back("PA", s.data())


def opening_from_outside(s):
    """A SYN, a SYN/ACK, an ACK, data, a reset, out of the blue."""
    v6 = s.version()
    for flags in s.rng.sample(("S", "SA", "A", "PA", "R", "RA", "FA", "F", "SF", "FPU", ""), 4):
        layer = TCP(
            sport=s.service(), dport=s.rng.choice((22, 80, s.port())), flags=flags,
            seq=s.rng.randrange(1 << 32), ack=1 if "A" in flags else 0,
        )
        yield s.from_uplink(s.remote(0, v6), layer)


ALL_FLAGS = [f for f in range(64)]


def flag_letters(number):
    return "".join(letter for n, letter in enumerate("FSRPAU") if number >> n & 1)


def flags_without_flow(s):
    """Every combination of flags as the first packet."""
    v6 = s.version()
    for n, flags in enumerate(s.rng.sample(ALL_FLAGS, 10)):
        flow = s.tcp(v6=v6, n=n % 8, port=s.port(n))
        yield flow.out(flag_letters(flags))


def flags_in_flow(s):
    """Every combination of flags in the middle of a connection."""
    flow = s.tcp()
    yield from flow.handshake()
    yield flow.out("PA", s.data())
    yield flow.back("A")
    for flags in s.rng.sample(ALL_FLAGS, 6):
        letters = flag_letters(flags)
        if "R" in letters or "S" in letters and "A" not in letters and "F" not in letters:
            continue
        yield s.rng.choice((flow.out, flow.back))(letters, keep=True)
    yield flow.out("PA", s.data())
    yield flow.back("A")


def window_edges(s):
    """Data around the edges of what the window allows."""
    flow = s.tcp(window=s.rng.choice((512, 8192, 64128)))
    yield from flow.handshake()
    yield flow.out("PA", s.data(size=100))
    yield flow.back("A")
    yield flow.back("PA", s.data(size=100))
    yield flow.out("A")
    for _ in range(6):
        end, sender, receiver = s.rng.choice(
            ((flow.out, flow.a, flow.b), (flow.back, flow.b, flow.a))
        )
        window = receiver.window
        offset = s.rng.choice(
            (
                window - 7, window - 6, window, window + 1, window - 1,
                window + 200, 2 * window + 200,
                -window, -window - 1, -window - 7, -1, 1, -7, -70000,
                300000, HALF - 200000, 200000 - HALF, 1 << 20, -(1 << 20),
            )
        )
        yield end("PA", s.data(), seq=sender.next + offset, keep=True)
    yield flow.out("PA", s.data(size=50))
    yield flow.back("PA", s.data(size=50))


def acknowledgement_edges(s):
    """Acknowledgements of what was never sent, or long ago."""
    flow = s.tcp(window=s.rng.choice((512, 8192, 64128)))
    yield from flow.handshake()
    yield flow.out("PA", s.data(size=300))
    yield flow.back("A")
    yield flow.back("PA", s.data(size=300))
    yield flow.out("A")
    for _ in range(6):
        end, receiver = s.rng.choice(((flow.out, flow.b), (flow.back, flow.a)))
        offset = s.rng.choice(
            (1, 2, -1, -300, -301, 1000, 65535, 66000, -66000, -66001, -70000, HALF - 9999, 100000)
        )
        yield end("A", ack=receiver.next + offset, keep=True)
    yield flow.out("PA", s.data(size=50))
    yield flow.back("PA", s.data(size=50))


def old_acknowledgement(s):
    """Data with an acknowledgement from long ago, and what acknowledges that data."""
    flow = s.tcp(window=8192)
    yield from flow.handshake()
    start = flow.a.next
    for _ in range(9):
        yield flow.out("PA", s.data(size=1000))
        yield flow.back("A")
    yield flow.back("PA", s.data(size=300), ack=start + s.rng.choice((0, 1000, 8000)))
    yield flow.out("A")


def overshoot(s):
    """More than the window allows, which the other end takes and acknowledges all the same."""
    flow = s.tcp(window=s.rng.choice((512, 8192)), scale=0)
    yield from flow.handshake()
    for end, other in ((flow.out, flow.back), (flow.back, flow.out)):
        window = flow.a.window
        yield end("PA", s.data(size=window if window < 1000 else 1000))
        if window > 1000:
            yield [end("PA", s.data(size=1200)) for _ in range(6)]
        # this one begins behind the window
        yield end("PA", s.data(size=200))
        yield other("A")
        yield end("PA", s.data())
        yield other("A")


def window_opens(s):
    """A window that closes, is probed, and opens again."""
    flow = s.tcp(scale=s.rng.choice((0, 2, 7)))
    yield from flow.handshake()
    yield flow.out("PA", s.data(size=400))
    yield flow.back("A", window=0)
    yield flow.out("A", b"x", keep=True)  # a probe
    yield flow.back("A", window=0)
    yield flow.out("A", seq=flow.a.next - 1, keep=True)  # the other kind
    yield flow.back("A", window=100)
    yield flow.out("PA", s.data(size=100))
    yield flow.back("A")


def scaled(s):
    """More on its way than a window without scale allows."""
    flow = s.tcp(scale=7, window=60000 << 7)
    yield from flow.handshake()
    yield flow.back("A")
    start = flow.a.next
    for offset in (0, 60000, 65535, 100000, 1000000, 60000 << 7, 7681000, 7700000):
        yield flow.out("PA", s.data(size=1000), seq=start + offset, keep=True)


def scale_one_sided(s):
    """Only one end speaks of window scales: then there are none."""
    flow = s.tcp(scale=7, window=60000)
    end = s.rng.choice((flow.a, flow.b))
    end.scale = None
    yield from flow.handshake()
    flow.a.scale = flow.b.scale = None
    yield flow.back("A", window=60000)
    start = flow.a.next
    for offset in (0, 50000, 59000, 60001, 70000, 140000):
        yield flow.out("PA", s.data(size=1000), seq=start + offset, keep=True)


def selective(s):
    """SACK blocks, true ones and such that cannot be."""
    flow = s.tcp(window=64128)
    flow.stamps = False
    yield from flow.handshake()
    yield flow.out("PA", s.data(size=500))
    yield flow.out("PA", s.data(size=500))
    base = flow.a.next
    for left, right in s.rng.sample(
        ((-500, 0), (-400, -100), (0, 500), (-1000, 66000), (100000, 100500), (-200000, -199000)), 4
    ):
        blocks = ((base + left) & 0xFFFFFFFF, (base + right) & 0xFFFFFFFF)
        options = [("NOP", None), ("NOP", None), ("SAck", blocks)]
        yield flow.back("A", ack=base - 1000, options=options, keep=True)
    yield flow.back("A")
    yield flow.out("PA", s.data(size=50))


def odd_options(s):
    """Options that end early, have no length, or are unknown."""
    flow = s.tcp()
    choices = (
        [(253, b"\x12\x34abcd")], [("EOL", None)], [("NOP", None)] * 40,
        [("MSS", 1460), ("WScale", 255)], [("WScale", 14), ("WScale", 2)],
    )
    yield flow.out("S", options=s.rng.choice(choices))
    yield flow.back("SA", options=s.rng.choice(choices))
    yield flow.out("A", options=s.rng.choice(choices[:3]))
    yield flow.out("PA", s.data(), options=s.rng.choice(choices[:3]))


def broken_options(s):
    """Option lengths of 0, 1, and beyond the header."""
    flow = s.tcp()
    bad = bytes.fromhex(s.rng.choice(("020005b4", "03010700", "08280000", "05020101")))
    when = s.rng.randrange(3)
    for n, (end, flags) in enumerate(((flow.out, "S"), (flow.back, "SA"), (flow.out, "A"))):
        injection = end(flags)
        if n == when:
            injection = with_raw_options(end, flags, bad)
        yield injection
    yield flow.out("PA", s.data())
    yield flow.back("A")


def with_raw_options(end, flags, options):
    """A segment with these option bytes, whatever they mean."""
    flow = end.__self__
    injection = end(flags, options=[("NOP", None)] * len(options))
    raw = bytearray(injection.packet)
    at = 40 if flow.v6 else 20
    raw[at + 20 : at + 20 + len(options)] = options
    raw[at + 16 : at + 18] = bytes(2)
    ends = (raw[8:24], raw[24:40]) if flow.v6 else (raw[12:16], raw[16:20])
    total = checksum(pseudo_header(*map(bytes, ends), packets.TCP, len(raw) - at) + bytes(raw[at:]))
    raw[at + 16 : at + 18] = total.to_bytes(2, "big")
    injection.packet = bytes(raw)
    return injection


def header_lengths(s):
    """A data offset below 5, or beyond the segment."""
    flow = s.tcp()
    yield flow.out("S", dataofs=s.rng.choice((0, 4, 15)), keep=True, options=[])
    yield flow.out("S")
    yield flow.back("SA", dataofs=s.rng.choice((0, 4, 15)), keep=True, options=[])
    yield flow.back("SA")
    yield flow.out("A")
    yield flow.out("PA", dataofs=s.rng.choice((0, 4, 15)), keep=True, options=[])
    yield flow.out("PA", s.data())


def checksum_wrong(s):
    flow = s.tcp()
    yield s.differs("wrong-checksum", flow.out("S", chksum=0xDEAD, keep=True))
    yield flow.out("S")
    yield flow.back("SA")
    yield flow.out("A")
    yield s.differs("wrong-checksum", flow.back("PA", s.data(), chksum=0xDEAD))


def reset_in_life(s):
    """A reset exactly at the expected number, beside it in the window, and outside of it."""
    flow = s.tcp(window=8192)
    yield from flow.handshake()
    yield flow.out("PA", s.data(size=100))
    yield flow.back("A")
    yield flow.back("PA", s.data(size=100))
    yield flow.out("A")
    end, sender = s.rng.choice(((flow.out, flow.a), (flow.back, flow.b)))
    offset = s.rng.choice((0, 1, 100, 8000, 9000, -1, -50, -100, -101, -9000, HALF - 9999, 100000))
    reset = end(s.rng.choice(("R", "RA")), seq=sender.next + offset, keep=True)
    yield s.differs("reset-beyond-window", reset) if offset == 9000 else reset
    if offset in (1, 100, 8000) and flow.a.window == 8192:
        # it has closed nothing: a SYN is still one in an open connection
        yield flow.out("S", keep=True, seq=flow.a.next + 200000)
        yield flow.out("A")
    # the other end's challenge, data as before, and the reset that then comes
    other = flow.back if end == flow.out else flow.out
    yield other("A", keep=True)
    yield end("PA", s.data())
    yield other("A")
    yield end("R", keep=True)
    yield other("PA", s.data())
    yield end("PA", s.data())


def syn_in_life(s):
    """A SYN in an established connection, the challenge it gets, and what both ends then do."""
    flow = s.tcp()
    yield from flow.handshake()
    yield flow.out("PA", s.data())
    yield flow.back("A")
    ahead = s.rng.choice((0, 1, 5000, -1, HALF, 1 << 20))
    seq = flow.a.next + ahead
    yield flow.out("S", seq=seq, keep=True)
    how = s.rng.choice(("challenge", "reset", "accepted", "lives on"))
    if how == "challenge":
        yield flow.back("A")
        yield flow.out("R", seq=flow.a.next, keep=True)
        flow.a.next = (seq + 1) & 0xFFFFFFFF
        yield flow.out("S", seq=seq, keep=True)
        flow.b.next = s.rng.randrange(1 << 32)
        yield flow.back("SA")
        yield flow.out("A")
    elif how == "reset":
        yield flow.back("RA")
        yield flow.out("S", seq=seq, keep=True)
    elif how == "accepted":
        # the far end had forgotten the connection
        flow.a.next = (seq + 1) & 0xFFFFFFFF
        flow.b.next = s.rng.randrange(1 << 32)
        yield flow.back("SA")
        for segment in (flow.out("A"), flow.out("PA", s.data()), flow.back("PA", s.data())):
            yield s.differs("syn-below", segment) if ahead < 0 else segment
    else:
        yield flow.out("PA", s.data())
        yield flow.back("A")


def syn_in_last_ack(s):
    """A SYN when both ends are done but for the last ACK, and the challenge that answers it."""
    flow = s.tcp()
    yield from flow.handshake()
    yield flow.out("FA")
    yield flow.back("FA")
    yield flow.out("S", seq=flow.a.next + 5000, keep=True)
    yield flow.back("A")
    yield flow.out("S", seq=flow.a.next + 5000, keep=True)
    yield flow.out("A")
    yield flow.back("A")


def syn_back_in_life(s):
    """The same from the far end, which may open nothing."""
    flow = s.tcp()
    yield from flow.handshake()
    yield flow.back("S", seq=flow.b.next + s.rng.choice((0, 1, 5000, HALF)), keep=True)
    yield flow.out("A")
    yield flow.back("PA", s.data())
    yield flow.out("A")


def closed(flow, how):
    yield from flow.handshake()
    if how == "reset out":
        yield flow.out("RA")
    elif how == "reset back":
        yield flow.back("RA")
    elif how == "close back":
        yield flow.back("FA")
        yield flow.out("FA")
        yield flow.back("A")
    else:
        yield from flow.close()


def reopen(s):
    """The same ports again, while the old connection is remembered."""
    flow = s.tcp()
    yield from closed(flow, s.rng.choice(("close out", "close back", "reset out", "reset back")))
    flow.a.next = (flow.a.next + s.rng.choice((1, 100000, HALF - 5))) & 0xFFFFFFFF
    flow.b.next = s.rng.randrange(1 << 32)
    yield from flow.handshake()
    yield flow.out("PA", s.data())
    yield flow.back("PA", s.data())
    yield flow.out("A")


def reopen_from_outside(s):
    """The far end opens on the ports of a connection that is over: nobody asked it to."""
    flow = s.tcp()
    yield from closed(flow, s.rng.choice(("close out", "close back", "reset out", "reset back")))
    flow.b.next = s.rng.randrange(1 << 32)
    yield flow.back("S")
    yield flow.out("SA")
    yield flow.back("A")


def late_segments(s):
    """What the network still held when the connection was over."""
    flow = s.tcp()
    yield from closed(flow, s.rng.choice(("close out", "close back", "reset out", "reset back")))
    for _ in range(4):
        end, sender, receiver = s.rng.choice(
            ((flow.out, flow.a, flow.b), (flow.back, flow.b, flow.a))
        )
        flags = s.rng.choice(("A", "PA", "FA", "R", "RA", "SA"))
        data = s.data() if flags == "PA" else b""
        seq = sender.next - s.rng.choice((0, 1, 8))
        late = end(flags, data, seq=seq, keep=True)
        old_reset = "R" in flags and before(seq, receiver.acknowledged)
        yield s.differs("late-reset", late) if old_reset else late


def walk(s):
    """At random: mostly what ends of a connection would do, now and then something else."""
    flow = s.tcp(window=s.rng.choice((8192, 64128, 65408)))
    yield from flow.handshake()
    finished = set()
    for _ in range(s.rng.randrange(5, 15)):
        end, sender = s.rng.choice(((flow.out, flow.a), (flow.back, flow.b)))
        # a SYN of the far end, or when both are done, is another story: see reopen
        kinds = ("PA", "A", "FA", "UA", "SA", "S" if end == flow.out and not finished else "A")
        flags = s.rng.choices(kinds, (40, 30, 8, 2, 3, 3))[0]
        data = s.data(size=s.rng.choice((7, 300, 1000))) if flags in ("PA", "UA") else b""
        keep, offset = flags in ("S", "SA"), 0
        finished |= {end} if flags == "FA" else set()
        if s.rng.random() < 0.15:
            keep, offset = True, s.rng.choice((-1, 1, -500, 500, -300000, 300000, HALF - 9999))
        yield end(flags, data, keep=keep, seq=sender.next + offset)
    end = s.rng.choice((flow.out, flow.back))
    yield end(s.rng.choice(("R", "RA")), keep=True)
    yield flow.out("A")
    yield flow.back("A")


def clash(s):
    """Two qubes, one port, one service."""
    v6, service = s.version(), s.service()
    flows = [
        s.tcp(qube, remote=s.remote(0, v6), port=s.port(), service=service)
        for qube in s.rng.sample((WORK, PERSONAL), 2)
    ]
    for flow in flows:
        yield flow.out("S")
    for flow in s.rng.sample(flows, 2):
        yield flow.back("SA")
        yield flow.out("A")
    for flow in flows:
        yield flow.back("PA", s.data())
        yield flow.out("FA")


def clash_elsewhere(s):
    """Two qubes, one port, different hosts: TCP ports can serve both."""
    v6 = s.version()
    one, other = (
        s.tcp(qube, remote=s.remote(n, v6), port=s.port())
        for n, qube in enumerate(s.rng.sample((WORK, PERSONAL), 2))
    )
    for flow in (one, other):
        yield flow.out("S")
    for flow in (other, one):
        yield flow.back("SA")
        yield flow.out("A")


def several_remotes(s):
    qube, v6 = s.qube(), s.version()
    flows = [s.tcp(qube, remote=s.remote(n, v6), port=s.port()) for n in range(3)]
    for flow in flows:
        yield flow.out("S")
    for flow in s.rng.sample(flows, 3):
        yield flow.back("SA")
        yield flow.out("A")
        yield flow.back("PA", s.data())


def strangers(s):
    """The right ports from another host, other ports from the right one."""
    flow = s.tcp()
    yield from flow.handshake()
    yield flow.back_packet(
        TCP(sport=flow.service, dport=flow.external, flags="PA", seq=flow.b.next, ack=flow.a.next)
        / Raw(s.data()),
        source=s.remote(6, flow.v6),
    )
    yield flow.back_packet(
        TCP(sport=flow.service ^ 0x4000, dport=flow.external, flags="R", seq=flow.b.next)
    )
    yield flow.back("PA", s.data())


def burst(s):
    """A whole connection in a handful of bursts."""
    flow = s.tcp()
    yield flow.out("S")
    yield flow.back("SA")
    yield [flow.out("A")] + [flow.out("PA", s.data(size=400)) for _ in range(4)]
    yield [flow.back("A"), flow.back("PA", s.data(size=300)), flow.back("FA")]
    yield [flow.out("A"), flow.out("FA")]
    yield flow.back("A")


SCENARIOS = (
    (life, 120),
    (retransmissions, 25),
    (syn_only, 10),
    (refused_by_peer, 12),
    (after_refusal, 6),
    (blind_reset_of_syn, 12),
    (syn_answers, 15),
    (old_acknowledgement, 10),
    (overshoot, 10),
    (acks_before_handshake, 30),
    (fast_open, 6),
    (simultaneous_open, 15),
    (opening_from_outside, 20),
    (flags_without_flow, 25),
    (flags_in_flow, 40),
    (window_edges, 60),
    (acknowledgement_edges, 40),
    (window_opens, 10),
    (scaled, 6),
    (scale_one_sided, 8),
    (selective, 15),
    (odd_options, 15),
    (broken_options, 15),
    (header_lengths, 15),
    (checksum_wrong, 6),
    (reset_in_life, 60),
    (syn_in_life, 40),
    (syn_in_last_ack, 5),
    (syn_back_in_life, 12),
    (reopen, 30),
    (reopen_from_outside, 15),
    (late_segments, 30),
    (walk, 300),
    (clash, 20),
    (clash_elsewhere, 8),
    (several_remotes, 10),
    (strangers, 10),
    (burst, 10),
)
