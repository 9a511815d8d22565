# SPDX-License-Identifier: BSD-3-Clause
"""The intended differences between the kernel with the upstream rules and sluice: all of them.

A row says what each of the two does, so exactly that a bug beside it stays visible. Where a scenario
names a row for a step, the two worlds must differ there as the row says. A row with `everywhere`
explains single fields of packets, in all scenarios, as far as its test says so. A row that nothing
needs any more fails the test.
"""


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
parameter_problem = refused(12, 0, 4, 0)


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


def quoted_hops(kernel, sluice, field):
    """The kernel has lowered the hop limit already when it refuses or finds the MTU too small."""
    made_here = "quote.ttl" in sluice and kernel["source"] == sluice["source"]
    return made_here and (
        field == "quote.ttl"
        and kernel.get("quote.ttl") == sluice["quote.ttl"] - 1
        and kernel.get("ttl") == sluice["ttl"] == 64
    )


TABLE = {
    "quoted-hop-limit": Row(
        "the kernel quotes a packet with the hop limit that it would have gone on with, sluice as "
        "it was sent",
        everywhere=quoted_hops,
    ),
    "wrong-checksum": Row(
        "TCP and UDP checksums are for their receivers to verify: sluice passes a packet on with a "
        "checksum that is as wrong as before, conntrack calls it invalid",
        kernel=silence,
        sluice=passes,
    ),
    "port-overloading": Row(
        "an external UDP port belongs to one qube (RFC 4787 REQ-3), the kernel shares it as long as "
        "remote ends differ",
        kernel=passes,
        sluice=passes,
        fields=("sport",),
    ),
    "invalid-refused": Row(
        "a packet that opens no flow hears nothing from sluice; upstream judges it by the rules and "
        "says that it is refused (spec/qubes.md section 4)",
        kernel=prohibited,
        sluice=silence,
    ),
}
