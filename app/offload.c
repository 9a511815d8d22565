/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checksums and segments in software, for ways out that cannot do them.
 *
 * Inside sluice a frame may lack two things that a sender usually owes: its TCP or UDP checksum
 * may hold only the pseudo-header sum, and it may be up to 64 KiB long, to be cut into segments
 * of the size its sender chose. A kernel port passes both debts on to the next kernel. An ethdev
 * without the matching hardware pays them here.
 *
 * Segmentation is our own because rte_gso cuts IPv4 only, and because our frames bring everything
 * it would have to find out again: struct packet knows where each header starts. Segments are
 * copies in plain pool memory, never references into the big frame: what comes out can be handed
 * to any NIC by DMA, and the receive slot behind the big frame goes back to the kernel at once.
 */
#include "app/offload.h"

#include <errno.h>
#include <netinet/in.h>

#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "classifier/checksum.h"

/* Where a copy out of a chained frame has got to. */
struct cursor {
	const struct rte_mbuf *segment;
	uint32_t offset;
};

static uint16_t
checksum_offset(const struct packet *packet)
{
	return packet->tuple.protocol == IPPROTO_UDP ? offsetof(struct rte_udp_hdr, dgram_cksum)
						     : offsetof(struct rte_tcp_hdr, cksum);
}

static uint16_t
fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* The checksum field is in the first segment: headers always are. */
static void
checksum_store(struct rte_mbuf *mbuf, const struct packet *packet, uint32_t sum)
{
	rte_be16_t *field =
		packet_header(mbuf, packet->l4_offset + checksum_offset(packet), rte_be16_t *);
	uint16_t checksum = (uint16_t)~fold(sum);

	/* RFC 768: an all-zero UDP checksum means "none" */
	if (checksum == 0 && packet->tuple.protocol == IPPROTO_UDP)
		checksum = 0xffff;
	*field = checksum;
}

void
offload_checksum(struct rte_mbuf *mbuf)
{
	const struct packet *packet = packet_of(mbuf);
	uint32_t length = RTE_MIN(packet->frame_length, mbuf->pkt_len);

	mbuf->ol_flags &= ~RTE_MBUF_F_RX_L4_CKSUM_MASK;
	if ((uint32_t)packet->l4_offset + checksum_offset(packet) + sizeof(rte_be16_t) >
		RTE_MIN(length, (uint32_t)mbuf->data_len))
		return;
	/* The field takes part in the sum: what it holds is the pseudo header's share. */
	checksum_store(
		mbuf, packet, checksum_mbuf(mbuf, packet->l4_offset, length - packet->l4_offset));
}

bool
offload_udp_right(const struct rte_mbuf *mbuf)
{
	const struct packet *packet = packet_of((struct rte_mbuf *)(uintptr_t)mbuf);
	const struct tuple *tuple = &packet->tuple;
	uint32_t length = RTE_MIN(packet->frame_length, mbuf->pkt_len);
	struct rte_udp_hdr copy;
	const struct rte_udp_hdr *udp;
	uint32_t sum, datagram;

	switch (mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) {
	case RTE_MBUF_F_RX_L4_CKSUM_NONE:
	case RTE_MBUF_F_RX_L4_CKSUM_GOOD:
		return true;
	case RTE_MBUF_F_RX_L4_CKSUM_BAD:
		return false;
	default:
		break;
	}
	udp = length > packet->l4_offset
		      ? rte_pktmbuf_read(mbuf, packet->l4_offset, sizeof(copy), &copy)
		      : NULL;
	if (udp == NULL)
		return false;
	if (udp->dgram_cksum == 0)
		return true;
	datagram = rte_be_to_cpu_16(udp->dgram_len);
	if (datagram < sizeof(*udp) || datagram > length - packet->l4_offset)
		return false;
	sum = checksum_mbuf(mbuf, packet->l4_offset, datagram) + RTE_BE16(IPPROTO_UDP) +
	      udp->dgram_len + (tuple->source.v4 & 0xffff) + (tuple->source.v4 >> 16) +
	      (tuple->destination.v4 & 0xffff) + (tuple->destination.v4 >> 16);
	return fold(sum) == 0xffff;
}

static int
append_copy(struct rte_mbuf *to, struct rte_mempool *pool, struct cursor *from, uint32_t length)
{
	while (length > 0) {
		struct rte_mbuf *last = rte_pktmbuf_lastseg(to);
		uint32_t available = from->segment->data_len - from->offset;
		uint32_t room = rte_pktmbuf_tailroom(last);
		uint32_t chunk = RTE_MIN(length, RTE_MIN(available, room));

		if (available == 0) {
			from->segment = from->segment->next;
			from->offset = 0;
			if (from->segment == NULL)
				return -EINVAL;
			continue;
		}
		if (room == 0) {
			struct rte_mbuf *more = rte_pktmbuf_alloc(pool);

			if (more == NULL)
				return -ENOMEM;
			more->data_off = 0; /* nobody puts headers in front of it */
			last->next = more;
			to->nb_segs++;
			continue;
		}
		memcpy(rte_pktmbuf_mtod_offset(last, uint8_t *, last->data_len),
			rte_pktmbuf_mtod_offset(from->segment, const uint8_t *, from->offset),
			chunk);
		last->data_len = (uint16_t)(last->data_len + chunk);
		to->pkt_len += chunk;
		from->offset += chunk;
		length -= chunk;
	}
	return 0;
}

/* The sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1) for one segment. */
static uint32_t
pseudo_header_sum(struct rte_mbuf *mbuf, const struct packet *packet, uint32_t l4_length)
{
	uint32_t sum = rte_cpu_to_be_16(packet->tuple.protocol);

	sum += rte_cpu_to_be_16((uint16_t)l4_length);
	if (packet->tuple.family == FAMILY_IPV4) {
		const struct rte_ipv4_hdr *ip =
			packet_header(mbuf, packet->l3_offset, const struct rte_ipv4_hdr *);

		return sum + rte_raw_cksum(&ip->src_addr, 2 * sizeof(ip->src_addr));
	}
	return sum +
	       rte_raw_cksum(packet_header(mbuf,
				     packet->l3_offset + offsetof(struct rte_ipv6_hdr, src_addr),
				     const uint8_t *),
		       2 * 16);
}

/* Turn the copied headers of the big frame into those of segment number `index`. */
static void
segment_headers(struct rte_mbuf *mbuf, uint32_t index, uint32_t segment_size, bool last)
{
	struct packet *packet = packet_of(mbuf);
	uint32_t l4_length = mbuf->pkt_len - packet->l4_offset;

	if (packet->tuple.family == FAMILY_IPV4) {
		struct rte_ipv4_hdr *ip =
			packet_header(mbuf, packet->l3_offset, struct rte_ipv4_hdr *);

		ip->total_length = rte_cpu_to_be_16((uint16_t)(mbuf->pkt_len - packet->l3_offset));
		ip->packet_id =
			rte_cpu_to_be_16((uint16_t)(rte_be_to_cpu_16(ip->packet_id) + index));
		ip->hdr_checksum = 0;
		ip->hdr_checksum = (uint16_t)~rte_raw_cksum(
			ip, (size_t)(packet->l4_offset - packet->l3_offset));
	} else {
		struct rte_ipv6_hdr *ip =
			packet_header(mbuf, packet->l3_offset, struct rte_ipv6_hdr *);

		ip->payload_len = rte_cpu_to_be_16(
			(uint16_t)(mbuf->pkt_len - packet->l3_offset - sizeof(*ip)));
	}
	if (packet->tuple.protocol == IPPROTO_UDP) {
		struct rte_udp_hdr *udp =
			packet_header(mbuf, packet->l4_offset, struct rte_udp_hdr *);

		udp->dgram_len = rte_cpu_to_be_16((uint16_t)l4_length);
		udp->dgram_cksum = 0;
	} else {
		struct rte_tcp_hdr *tcp =
			packet_header(mbuf, packet->l4_offset, struct rte_tcp_hdr *);

		tcp->sent_seq =
			rte_cpu_to_be_32(rte_be_to_cpu_32(tcp->sent_seq) + index * segment_size);
		if (!last)
			tcp->tcp_flags &= (uint8_t) ~(RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG);
		if (index > 0)
			tcp->tcp_flags &= (uint8_t)~RTE_TCP_CWR_FLAG; /* RFC 3168: once */
		packet->tcp_flags = tcp->tcp_flags;
		tcp->cksum = 0;
	}
	checksum_store(mbuf, packet,
		pseudo_header_sum(mbuf, packet, l4_length) +
			checksum_mbuf(mbuf, packet->l4_offset, l4_length));
}

/* A frame that claims to be many must at least have room for the headers it talks about. */
static bool
frame_is_segmentable(const struct rte_mbuf *mbuf, const struct packet *packet)
{
	uint16_t l4_header = packet->tuple.protocol == IPPROTO_UDP ? sizeof(struct rte_udp_hdr)
								   : sizeof(struct rte_tcp_hdr);
	uint16_t l3_header = packet->tuple.family == FAMILY_IPV4 ? sizeof(struct rte_ipv4_hdr)
								 : sizeof(struct rte_ipv6_hdr);

	return mbuf->tso_segsz != 0 &&
	       (packet->tuple.protocol == IPPROTO_TCP || packet->tuple.protocol == IPPROTO_UDP) &&
	       packet->l4_offset >= packet->l3_offset + l3_header &&
	       packet->payload_offset >= packet->l4_offset + l4_header &&
	       packet->payload_offset <= mbuf->data_len &&
	       packet->payload_offset < packet->frame_length &&
	       packet->frame_length <= mbuf->pkt_len;
}

int
offload_segment(
	struct rte_mbuf *mbuf, struct rte_mempool *pool, struct rte_mbuf **out, unsigned room)
{
	const struct packet *packet = packet_of(mbuf);
	uint32_t segment_size = mbuf->tso_segsz;
	struct cursor payload = {mbuf, packet->payload_offset};
	uint32_t left;
	uint32_t count;
	int error;

	if (!frame_is_segmentable(mbuf, packet)) {
		rte_pktmbuf_free(mbuf);
		return -EINVAL;
	}
	left = packet->frame_length - packet->payload_offset;
	count = (left + segment_size - 1) / segment_size;
	if (count > room) {
		rte_pktmbuf_free(mbuf);
		return -ENOSPC;
	}
	if (rte_pktmbuf_alloc_bulk(pool, out, count) != 0) {
		rte_pktmbuf_free(mbuf);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct cursor header = {mbuf, 0};
		uint32_t length = RTE_MIN(left, segment_size);

		left -= length;
		error = append_copy(out[i], pool, &header, packet->payload_offset);
		if (error == 0)
			error = append_copy(out[i], pool, &payload, length);
		/* Headers split over two mbufs would break everybody's assumption. */
		if (error == 0 && out[i]->data_len < packet->payload_offset)
			error = -EINVAL;
		if (error != 0) {
			rte_pktmbuf_free_bulk(out, count);
			rte_pktmbuf_free(mbuf);
			return error;
		}
		out[i]->port = mbuf->port;
		*packet_of(out[i]) = *packet;
		packet_of(out[i])->frame_length = out[i]->pkt_len;
		segment_headers(out[i], i, segment_size, left == 0);
	}
	rte_pktmbuf_free(mbuf);
	return (int)count;
}
