# SPDX-License-Identifier: BSD-3-Clause
"""The intended differences between the kernel with the upstream rules and sluice: all of them.

A row says what each of the two does, so exactly that a bug beside it stays visible. Where a
scenario names a row for a step, the two worlds must differ there as the row says. A row with
`everywhere` explains single fields of packets, in all scenarios, as far as its test says so. A row
that nothing needs any more fails the test.
"""


from world import GATEWAY, GATEWAY6, UPLINK, UPLINK6

# What may come out of one world at one step.


def silence(outcome, _step):
    return not outcome


def refused(kind, code, kind6, code6):
    """One ICMP error, to each who sent something."""

    def test(outcome, step):
        return len(outcome) == len(step.injections) and all(
            packet.port == injection.port
            and (packet.view.get("type"), packet.view.get("code"))
            == ((kind, code) if packet.view["family"] == 4 else (kind6, code6))
            for packet, injection in zip(outcome, step.injections)
        )

    return test


prohibited = refused(3, 13, 1, 1)
prohibited_host = refused(3, 10, 1, 1)
time_exceeded = refused(11, 0, 3, 0)
too_big = refused(3, 4, 2, 0)
parameter_problem = refused(12, 0, 4, 2)


def passes(outcome, step):
    """All of it goes on, through another port."""
    return len(outcome) == len(step.injections) and all(
        packet.port != injection.port for packet, injection in zip(outcome, step.injections)
    )


def answered(outcome, step):
    """The firewall itself answers, with no error."""
    return bool(outcome) and all(
        packet.port in {injection.port for injection in step.injections} for packet in outcome
    )


def some_passes(outcome, step):
    """One packet goes on, through another port."""
    ports = {injection.port for injection in step.injections}
    return len(outcome) == 1 and outcome[0].port not in ports


# What every link carries in one piece: of IPv4 68 bytes, of IPv6 1280, with their headers.
LEAST_PIECE = {4: 48, 6: 1280 - 40 - 8}


def geometry(kernel, sluice, field):
    """Both in order, and no piece longer than one that came in, or than every link carries."""
    if field != "fragments" or not kernel.get(field):
        return False
    one, other = kernel[field], sluice.get(field)
    if not other:
        return sluice["family"] == 6 and sluice["length"] <= 1280
    in_order = all(places == sorted(places) for places in (one, other))
    longest = [max(size for _, size in places) for places in (one, other)]
    return in_order and longest[1] <= max(longest[0], LEAST_PIECE[sluice["family"]])


class Row:
    """One intended difference.

    @kernel, @sluice: what must have come out, for steps that name the row
    @fields: with both passing: in which fields the packets may then differ, and in one must
    @everywhere: instead: of (kernel's view, sluice's view, field) whether this explains the field
    """

    def __init__(self, reason, kernel=None, sluice=None, fields=(), everywhere=None):
        self.reason = reason
        self.kernel, self.sluice, self.fields = kernel, sluice, fields
        self.everywhere = everywhere


def made_here(view):
    """An ICMP error of the firewall itself."""
    return "quote.ttl" in view and view["source"] in (GATEWAY, GATEWAY6, UPLINK, UPLINK6)


def quoted_hops(kernel, sluice, field):
    """The kernel has lowered the hop limit already when it refuses or finds the MTU too small."""
    return (
        field == "quote.ttl"
        and made_here(sluice)
        and kernel.get("ttl") == sluice["ttl"] == 64
        and kernel.get("quote.ttl") == sluice["quote.ttl"] - 1
    )


def error_class(kernel, sluice, field):
    return (
        field == "tos"
        and made_here(sluice)
        and sluice["tos"] == 0xC0
        and kernel["tos"] == 0xC0 | sluice["quote.tos"] & 0x1E
    )


TABLE = {
    "quoted-hop-limit": Row(
        "the kernel quotes a packet with the hop limit that it would have gone on with, sluice as "
        "it was sent",
        everywhere=quoted_hops,
    ),
    "error-service-class": Row(
        "errors of sluice are internetwork control and nothing else, the kernel mixes the packet's "
        "own class into that (RFC 1812 section 4.3.2.5 allows both)",
        everywhere=error_class,
    ),
    "refused-unknown-protocol": Row(
        "refused is refused, for every protocol; the kernel keeps silent where it cannot verify "
        "the checksum that it thinks each protocol must have",
        kernel=silence,
        sluice=prohibited,
    ),
    "refusal-source": Row(
        "errors come from the gateway; about a packet to a virtual resolver the kernel's come from "
        "there",
        kernel=prohibited,
        sluice=prohibited,
        fields=("source",),
    ),
    "last-hop-source": Row(
        "the same for the hop limit",
        kernel=time_exceeded,
        sluice=time_exceeded,
        fields=("source",),
    ),
    "wrong-checksum": Row(
        "TCP and UDP checksums are for their receivers to verify: sluice passes a packet on with a "
        "checksum that is as wrong as before, conntrack calls it invalid",
        kernel=silence,
        sluice=passes,
    ),
    "port-overloading": Row(
        "an external UDP port or ICMP identifier belongs to one qube (RFC 4787 REQ-3), the kernel "
        "shares it as long as remote ends differ",
        kernel=passes,
        sluice=passes,
        fields=("sport", "id"),
    ),
    "invalid-refused": Row(
        "a packet that opens no flow hears nothing from sluice; upstream judges it by the rules "
        "and says that it is refused (spec/qubes.md section 4)",
        kernel=prohibited,
        sluice=silence,
    ),
    "martian-answer": Row(
        "unique local and documentation addresses do not answer across the uplink (spec/nat.md)",
        kernel=passes,
        sluice=silence,
    ),
    "protocol-clash": Row(
        "who cannot have a flow because another qube has its remote end hears so, the kernel is "
        "silent",
        kernel=silence,
        sluice=prohibited,
    ),
    "icmp-obsolete-query": Row(
        "information and address mask requests are obsolete (RFC 6918): never forwarded",
        kernel=passes,
        sluice=silence,
    ),
    "icmp6-untracked": Row(
        "conntrack does not look at these types, so the rules alone let them out, with the address "
        "that the qube has inside; they never leave a link (RFC 4890)",
        kernel=passes,
        sluice=silence,
    ),
    "icmp6-node-information": Row(
        "node information queries are not forwarded (RFC 4890 section 4.3.5)",
        kernel=passes,
        sluice=silence,
    ),
    "refused-wrong-checksum": Row(
        "a packet that is refused is refused whatever its checksum: the qube hears of it",
        kernel=silence,
        sluice=prohibited,
    ),
    "reserved-destination": Row(
        "nobody has an address of 240.0.0.0/4 or 0.0.0.0/8; the kernel has begun to route them",
        kernel=passes,
        sluice=silence,
    ),
    "land-refused": Row(
        "a packet to the sender itself hears nothing, like all that has impossible addresses; "
        "upstream asks the rules",
        kernel=prohibited,
        sluice=silence,
    ),
    "source-mac": Row(
        "the source MAC of a qube must be the assigned one; upstream looks at addresses only",
        kernel=passes,
        sluice=silence,
    ),
    "hops-unsolicited": Row(
        "nobody across the uplink hears anything unless it is about a flow",
        kernel=time_exceeded,
        sluice=silence,
    ),
    "hops-before-rules": Row(
        "a qube without rules hears nothing; the kernel looks at the hop limit first",
        kernel=time_exceeded,
        sluice=silence,
    ),
    "hops-before-state": Row(
        "what opens no flow hears nothing; the kernel looks at the hop limit first",
        kernel=time_exceeded,
        sluice=silence,
    ),
    "local-refusal-source": Row(
        "a qube hears from its gateway, also about what it sent to our other address",
        kernel=prohibited_host,
        sluice=prohibited_host,
        fields=("source",),
    ),
    "gateway-timestamp": Row(
        "the gateway answers pings and nothing else",
        kernel=answered,
        sluice=silence,
    ),
    "arp-spoofed": Row(
        "ARP with somebody else's address gets no answer",
        kernel=answered,
        sluice=silence,
    ),
    "arp-inside-address": Row(
        "on the uplink sluice answers for the uplink's address, the kernel for all of its own",
        kernel=answered,
        sluice=silence,
    ),
    "nd-unicast-answer": Row(
        "sluice always tells its MAC and that it means it; RFC 4861 section 7.2.4 allows to leave "
        "that out for whoever asked by unicast",
        kernel=answered,
        sluice=answered,
        fields=("length", "payload"),
    ),
    "local-refused-unknown-protocol": Row(
        "as refused-unknown-protocol, for what is sent to the gateway",
        kernel=silence,
        sluice=prohibited_host,
    ),
    "recorded-route": Row(
        "sluice leaves options as they are: it shows nobody its addresses",
        kernel=passes,
        sluice=passes,
        fields=("options",),
    ),
    "malformed-options": Row(
        "options that cannot be read end a packet silently",
        kernel=parameter_problem,
        sluice=silence,
    ),
    "nonsense-options": Row(
        "sluice looks at options for source routes only and leaves their sense to the receiver",
        kernel=parameter_problem,
        sluice=passes,
    ),
    "refused-recording": Row(
        "the kernel puts the recorded route into its errors",
        kernel=prohibited,
        sluice=prohibited,
        fields=("length", "options", "quote.length", "quote.options", "quote.header-checksum"),
    ),
    "hop-by-hop-discard": Row(
        "routers need not look at hop-by-hop options (RFC 8200 section 4), and sluice does not",
        kernel=silence,
        sluice=passes,
    ),
    "hop-by-hop-report": Row(
        "as hop-by-hop-discard",
        kernel=parameter_problem,
        sluice=passes,
    ),
    "extension-header": Row(
        "extension headers that are misplaced or too many, and routing headers, are never "
        "forwarded (spec/nat.md, RFC 5095, RFC 7112); the kernel skips them",
        kernel=passes,
        sluice=silence,
    ),
    "extension-header-alone": Row(
        "as extension-header, for those that conntrack takes for protocols",
        kernel=passes,
        sluice=silence,
    ),
    "length-before-rules": Row(
        "sluice asks the rules first: who is refused learns nothing of the way out",
        kernel=too_big,
        sluice=prohibited,
    ),
    "length-unsolicited": Row(
        "nobody across the uplink hears anything unless it is about a flow",
        kernel=too_big,
        sluice=silence,
    ),
    "icmp-source-quench": Row(
        "source quench is obsolete and not forwarded (RFC 6633)",
        kernel=passes,
        sluice=silence,
    ),
    "icmp-second-question": Row(
        "towards one host an identifier stands for one kind of question at a time: the second "
        "would ride on what the rules said of the first",
        kernel=passes,
        sluice=silence,
    ),
    "icmp6-unknown-error": Row(
        "errors that nobody has defined are not forwarded (RFC 4890 section 4.3.4)",
        kernel=passes,
        sluice=silence,
    ),
    "error-implausible": Row(
        "an error that cannot be true ends here: its path MTU is below what the protocol demands, "
        "its quoted header checksum wrong, its quoted segment not on its way (spec/nat.md)",
        kernel=passes,
        sluice=silence,
    ),
    "error-forged": Row(
        "an error comes from the port to which its flow's packets go; upstream lets a qube speak "
        "about another qube's flows",
        kernel=passes,
        sluice=silence,
    ),
    "fragment-name-dead": Row(
        "after an overlap nothing of that name is taken until its time is over (RFC 5722), the "
        "kernel begins anew",
        kernel=some_passes,
        sluice=silence,
    ),
    "fragment-contained": Row(
        "a fragment within another one is an overlap unless it is the same; the kernel ignores it",
        kernel=some_passes,
        sluice=silence,
    ),
    "fragment-tiny": Row(
        "a first fragment must hold the whole header by which it is judged (RFC 1858, RFC 8200)",
        kernel=some_passes,
        sluice=silence,
    ),
    "fragment-geometry": Row(
        "sluice cuts a datagram into fragments as long as the longest it came in, the kernel keeps "
        "the old cuts; what arrives is the same, in order, and none is longer",
        everywhere=geometry,
    ),
    "fragment-odd-length": Row(
        "a fragment that is not the last one and no multiple of 8 long is no fragment; the kernel "
        "cuts it shorter",
        kernel=some_passes,
        sluice=silence,
    ),
    "fragment-empty": Row(
        "a fragment without data ends itself, in the kernel the whole datagram",
        kernel=silence,
        sluice=some_passes,
    ),
    "error-router-source": Row(
        "a router that objects to a packet keeps its address (RFC 5508 REQ-5), the kernel lends it "
        "the virtual resolver's",
        kernel=passes,
        sluice=passes,
        fields=("source",),
    ),
    "opened-by-too-long": Row(
        "a packet that is too long for the way out has opened its flow already; its sender is "
        "about to send a shorter one",
        kernel=silence,
        sluice=passes,
    ),
    "fragment-dont-fragment": Row(
        "fragments that may not be cut any smaller say so on the other side too",
        kernel=some_passes,
        sluice=some_passes,
        fields=("df",),
    ),
    "reset-remembered": Row(
        "a connection that a reset has ended is remembered for a while (RFC 7857 section 2.2), the "
        "kernel forgets it where the reset was the only answer",
        kernel=silence,
        sluice=passes,
    ),
    "blind-reset": Row(
        "a reset that answers a SYN acknowledges it (RFC 9293 section 3.10.7.3)",
        kernel=passes,
        sluice=silence,
    ),
    "blind-reset-survived": Row(
        "so it has not ended the connection",
        kernel=silence,
        sluice=passes,
    ),
    "syn-ack-stray": Row(
        "a SYN/ACK that acknowledges something older than the SYN answers another connection "
        "(RFC 9293 section 3.10.7.3)",
        kernel=passes,
        sluice=silence,
    ),
    "syn-below": Row(
        "a SYN below what its sender has sent is the first one, late: no new connection begins "
        "there (RFC 6528 section 3), so an answer to it resynchronises nothing",
        kernel=passes,
        sluice=silence,
    ),
    "reset-beyond-window": Row(
        "a reset beyond the window is never believed (RFC 5961 section 3.2), not even a little",
        kernel=passes,
        sluice=silence,
    ),
    "late-reset": Row(
        "a reset below the last acknowledgement is invalid in every state (spec/nat.md), in the "
        "kernel not when the connection is closing",
        kernel=passes,
        sluice=silence,
    ),
}
