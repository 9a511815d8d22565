/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Qubes that see another IPv4 address than their own: /mapped-ip of QubesDB, `visible-address` and
 * `visible-gateway` of sluice.conf.
 *
 * Such a qube takes its visible address for its own, and perhaps another address than ours for its
 * gateway. The two pairs are exchanged, one to one and without state, at the very edge of its port:
 * when a frame has arrived, before anybody has looked at it, and when one leaves, after everybody
 * has. Between these, that is to the guard, rules, flows, forwards, captures and logs, the qube has
 * its real address and nothing else. A frame whose source is not the visible address is not
 * changed, and the guard does with it what it does with every wrong source.
 *
 * Exchanged are the addresses in IPv4 and ARP, and those in the packets that ICMP errors quote.
 * Addresses in payloads are not looked for; virtual resolvers are the same for everybody.
 */
#pragma once

#include "classifier/policy.h"

/** Whether what goes through a port must be exchanged. One test for a burst. */
static inline bool
mapped_port(const struct policy *policy, uint16_t port)
{
	return policy->ports[port].mapped;
}

/**
 * Exchange addresses in frames, of a port for which mapped_port is true, in place. Checksums follow
 * by difference (RFC 1624): those that were wrong stay wrong, and one that holds only the sum of
 *the pseudo-header (RTE_MBUF_F_RX_L4_CKSUM_NONE) is still one.
 * @param burst frames that nobody has looked at; the first segment has the headers, or they are
 *	left as they are
 */
void mapped_arrive(
	const struct policy *policy, uint16_t port, struct rte_mbuf *const *burst, unsigned count);
void mapped_leave(
	const struct policy *policy, uint16_t port, struct rte_mbuf *const *burst, unsigned count);
