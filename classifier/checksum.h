/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Internet checksum (RFC 1071) over a chain of mbufs.
 *
 * DPDK's rte_raw_cksum_mbuf is wrong for chains whose pieces have odd lengths, up to 22.11 and
 * later: it swaps the bytes of a partial sum before it has folded the carries into it.
 */
#pragma once

#include <rte_ip.h>
#include <rte_mbuf.h>

/**
 * The one's complement sum of @p length bytes from @p offset, in memory order, not complemented.
 * The caller has checked that the frame is that long.
 */
static inline uint16_t
checksum_mbuf(const struct rte_mbuf *mbuf, uint32_t offset, uint32_t length)
{
	uint64_t sum = 0;
	bool odd = false; /* the piece starts at an odd byte of what is summed */

	while (offset >= mbuf->data_len && mbuf->next != NULL) {
		offset -= mbuf->data_len;
		mbuf = mbuf->next;
	}
	for (; mbuf != NULL && length > 0; mbuf = mbuf->next) {
		uint32_t piece = RTE_MIN(length, mbuf->data_len - offset);
		uint16_t folded =
			rte_raw_cksum(rte_pktmbuf_mtod_offset(mbuf, const void *, offset), piece);

		sum += odd ? rte_bswap16(folded) : folded;
		odd ^= (piece & 1) != 0;
		length -= piece;
		offset = 0;
	}
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}
