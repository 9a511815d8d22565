/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "nat/flow.h"

/**
 * Rewrite packets for the other side of their flows: addresses, ports or ICMP identifier, TTL, and
 * every checksum that covers them, by delta (RFC 1624). ICMP errors go to icmp_rewrite. IPv4
 * packets without DF get a fresh identification; it depends on `hash`, which must be that of
 * `tuple`.
 *
 * A checksum that holds only the pseudo-header sum (RTE_MBUF_F_RX_L4_CKSUM_NONE) gets the address
 * delta without complement; a UDP checksum of zero over IPv4 stays zero, and one that becomes zero
 * is sent as 0xffff (RFC 768).
 */
void rewrite_burst(const struct flow_secret *secret, struct rte_mbuf *const *burst, unsigned count);

/**
 * The identification under which a packet leaves that came with identification @p old: not to be
 * foretold by whoever lacks the secret, and the same whenever the same packet comes again. For
 * packets without DF and for fragments, of both families.
 * @param packet `hash` and `direction` are read
 * @param old host order; 16 bits of it for IPv4
 * @return host order; for IPv4 its lower 16 bits
 */
uint32_t rewrite_identification(
	const struct flow_secret *secret, const struct packet *packet, uint32_t old);
