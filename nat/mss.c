/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MSS clamping. The option is found by a walk over options that somebody hostile may have written;
 * parse has made sure that they lie in the first segment and where they end.
 *
 * An option starts at any byte. Where the value starts at an odd one, its two bytes belong to two
 * words of the checksum, with their places changed: one's complement sums do not mind being taken
 * over swapped bytes as long as the result is swapped too (RFC 1071 section 2).
 */
#include "nat/mss.h"

#include <rte_byteorder.h>
#include <rte_tcp.h>

#include "nat/flow.h"

#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_MSS 2
#define OPTION_MSS_LENGTH 4

/* @return where the value of the first MSS option is, 0 if there is none */
static uint32_t
mss_find(const struct rte_mbuf *mbuf, const struct packet *packet)
{
	const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
	uint32_t at = packet->l4_offset + (uint32_t)sizeof(struct rte_tcp_hdr);
	uint32_t end = packet->payload_offset;

	while (at < end && frame[at] != OPTION_END) {
		if (frame[at] == OPTION_NOP) {
			at++;
			continue;
		}
		if (end - at < 2 || frame[at + 1] < 2 || frame[at + 1] > end - at)
			return 0;
		if (frame[at] == OPTION_MSS && frame[at + 1] == OPTION_MSS_LENGTH)
			return at + 2;
		at += frame[at + 1];
	}
	return 0;
}

void
mss_clamp(struct rte_mbuf *mbuf, uint16_t mss)
{
	/* `tcp_flags` of anything but a TCP header that parse has seen are zero. */
	const struct packet *packet = packet_of(mbuf);
	struct rte_tcp_hdr *tcp;
	rte_be16_t old, new = rte_cpu_to_be_16(mss);
	uint16_t delta;
	uint32_t at;

	if (likely((packet->tcp_flags & RTE_TCP_SYN_FLAG) == 0))
		return;
	at = mss_find(mbuf, packet);
	if (at == 0)
		return;
	memcpy(&old, packet_header(mbuf, at, uint8_t *), sizeof(old));
	if (rte_be_to_cpu_16(old) <= mss)
		return;
	memcpy(packet_header(mbuf, at, uint8_t *), &new, sizeof(new));

	/* What holds only the pseudo-header sum does not cover options yet. */
	if ((mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		return;
	delta = checksum_sum_add(new, (uint16_t)~old);
	if ((at - packet->l4_offset) % 2 != 0)
		delta = rte_bswap16(delta);
	tcp = packet_header(mbuf, packet->l4_offset, struct rte_tcp_hdr *);
	tcp->cksum = checksum_adjust(tcp->cksum, delta);
}
