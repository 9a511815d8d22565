/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device does not do for a frame, done in software.
 */
#pragma once

#include "classifier/packet.h"

/**
 * Complete the TCP or UDP checksum of a frame that holds only the pseudo-header sum
 * (RTE_MBUF_F_RX_L4_CKSUM_NONE), and clear that flag. Works on chained mbufs.
 */
void offload_checksum(struct rte_mbuf *mbuf);

/**
 * Whether the checksum of an IPv4 UDP datagram that is not rewritten yet is right, for what is read
 * on its way (RFC 1122 section 4.1.3.4); none, and one that is not complete yet, are right, too.
 */
bool offload_udp_right(const struct rte_mbuf *mbuf);

/**
 * Cut a frame with RTE_MBUF_F_RX_LRO into frames of `tso_segsz` bytes of TCP (or UDP) payload
 * each, IPv4 and IPv6, with lengths, IP ids, sequence numbers, flags and checksums as RFC 9293
 * demands (FIN and PSH only on the last, CWR only on the first).
 *
 * Takes @p mbuf: it is freed when it was copied out of.
 * @param out room for @p room mbufs
 * @return how many frames are in @p out, or -ENOMEM, -ENOSPC (nothing was made, @p mbuf freed)
 */
int offload_segment(
	struct rte_mbuf *mbuf, struct rte_mempool *pool, struct rte_mbuf **out, unsigned room);
