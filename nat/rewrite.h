/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "nat/flow.h"

/**
 * Rewrite a packet for the other side of its flow: addresses, ports or ICMP identifier, TTL, and
 * every checksum that covers them, by delta (RFC 1624).
 *
 * A checksum that holds only the pseudo-header sum (RTE_MBUF_F_RX_L4_CKSUM_NONE) gets the address
 * delta without complement; a UDP checksum of zero over IPv4 stays zero, and one that becomes zero
 * is sent as 0xffff (RFC 768).
 */
void rewrite_burst(const struct flow_secret *secret, struct rte_mbuf *const *burst, unsigned count);

uint32_t rewrite_identification(
	const struct flow_secret *secret, const struct packet *packet, uint32_t old);
