/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taking a packet apart, on its way out.
 *
 * Every part is a copy in plain pool memory: what comes out can be handed to any NIC by DMA, and
 * the mbufs of a long chain do not have to be cut at places that its parts never had. Each is
 * headed by the headers of the whole, as far as those belong into it:
 *
 * - IPv4: all options go into the first part, only those that say so into the others (RFC 791
 *   section 3.1)
 * - IPv6: the fragment header follows upon the hop-by-hop options; all other extension headers are
 *   data, and lie in the first part (RFC 8200 section 4.5). Parsing has seen to it that they fit.
 */
#include "nat/fragment.h"

#include <netinet/in.h>

#include <rte_ether.h>
#include <rte_ip.h>

/* What every link carries. */
#define IPV4_MTU_MIN 68
#define IPV6_MTU_MIN 1280

#define IPV4_HEADER_MIN 20
#define IPV4_OPTION_END 0
#define IPV4_OPTION_NOP 1
#define IPV4_OPTION_COPIED 0x80
#define FRAGMENT_HEADER ((uint32_t)sizeof(struct rte_ipv6_fragment_ext))
#define UNIT 8 /* offsets count in units of eight bytes */

/* Where a copy out of a chain of mbufs has got to. */
struct cursor {
	const struct rte_mbuf *segment;
	uint32_t offset;
};

/* What stands before the data of a part; lengths, offset and identification are for each. */
struct heading {
	uint32_t length; /* bytes, with the Ethernet header */
	uint8_t bytes[RTE_ETHER_HDR_LEN + IPV6_MTU_MIN];
};

struct split {
	struct rte_mempool *pool;
	const struct packet *packet; /* of the whole */
	uint32_t mtu;
	uint32_t identification;
	struct cursor data;
	uint32_t length; /* bytes of data */
	struct rte_mbuf **out;
	unsigned out_max;
	unsigned count;
};

static void
cursor_skip(struct cursor *cursor, uint32_t length)
{
	cursor->offset += length;
	while (cursor->offset >= cursor->segment->data_len && cursor->segment->next != NULL) {
		cursor->offset -= cursor->segment->data_len;
		cursor->segment = cursor->segment->next;
	}
}

/* Copy what the chain is known to have. */
static void
cursor_copy(struct cursor *cursor, uint8_t *to, uint32_t length)
{
	while (length > 0) {
		uint32_t chunk = RTE_MIN(length, cursor->segment->data_len - cursor->offset);

		memcpy(to,
			rte_pktmbuf_mtod_offset(cursor->segment, const uint8_t *, cursor->offset),
			chunk);
		to += chunk;
		length -= chunk;
		cursor_skip(cursor, chunk);
	}
}

/* The next part: a heading and so many bytes of data. @return NULL when the pool is empty */
static struct rte_mbuf *
part_create(struct split *split, const struct heading *heading, uint32_t length)
{
	struct rte_mbuf *head = rte_pktmbuf_alloc(split->pool);
	struct rte_mbuf *last = head;
	struct packet *packet;

	if (head == NULL)
		return NULL;
	memcpy(rte_pktmbuf_mtod(head, uint8_t *), heading->bytes, heading->length);
	head->data_len = (uint16_t)heading->length;
	head->pkt_len = heading->length;
	for (;;) {
		uint32_t chunk = RTE_MIN(length, (uint32_t)rte_pktmbuf_tailroom(last));

		cursor_copy(&split->data, rte_pktmbuf_mtod_offset(last, uint8_t *, last->data_len),
			chunk);
		last->data_len = (uint16_t)(last->data_len + chunk);
		head->pkt_len += chunk;
		length -= chunk;
		if (length == 0)
			break;
		last->next = rte_pktmbuf_alloc(split->pool);
		last = last->next;
		if (last == NULL) {
			rte_pktmbuf_free(head);
			return NULL;
		}
		head->nb_segs++;
	}
	packet = packet_of(head);
	*packet = *split->packet;
	packet->l4_offset = (uint16_t)heading->length;
	packet->payload_offset = packet->l4_offset;
	packet->frame_length = head->pkt_len;
	packet->flow = NULL; /* may end before the part is sent */
	return head;
}

/*
 * Cut the data into parts.
 * @param first, later headings of the part with offset 0 and of the others
 * @param finish writes what differs from part to part
 */
static bool
split_data(struct split *split, const struct heading *first, const struct heading *later,
	void (*finish)(
		const struct split *split, struct rte_mbuf *part, uint32_t offset, bool more))
{
	uint32_t offset = 0;

	do {
		const struct heading *heading = offset == 0 ? first : later;
		uint32_t room = split->mtu - (heading->length - split->packet->l3_offset);
		uint32_t length = split->length - offset;
		bool more = length > room;
		struct rte_mbuf *part;

		if (more)
			length = RTE_ALIGN_FLOOR(room, UNIT);
		if (split->count == split->out_max)
			return false;
		part = part_create(split, heading, length);
		if (part == NULL)
			return false;
		if (more || offset != 0)
			packet_of(part)->flags |= PACKET_FRAGMENT;
		finish(split, part, offset, more);
		split->out[split->count++] = part;
		offset += length;
	} while (offset < split->length);
	return true;
}

/* ---- IPv4 ---- */

/* Copy an IPv4 header with those options that go into every fragment. Options have been checked. */
static void
ipv4_later_heading(const struct heading *first, uint32_t l3_offset, struct heading *later)
{
	struct rte_ipv4_hdr *ip;
	uint32_t at = l3_offset + IPV4_HEADER_MIN;

	memcpy(later->bytes, first->bytes, at);
	later->length = at;
	while (at < first->length && first->bytes[at] != IPV4_OPTION_END) {
		uint32_t length = first->bytes[at] == IPV4_OPTION_NOP ? 1 : first->bytes[at + 1];

		if ((first->bytes[at] & IPV4_OPTION_COPIED) != 0) {
			memcpy(later->bytes + later->length, first->bytes + at, length);
			later->length += length;
		}
		at += length;
	}
	while ((later->length - l3_offset) % 4 != 0)
		later->bytes[later->length++] = IPV4_OPTION_END;
	ip = (struct rte_ipv4_hdr *)(later->bytes + l3_offset);
	ip->version_ihl = (uint8_t)((ip->version_ihl & 0xf0) | (later->length - l3_offset) / 4);
}

static void
ipv4_finish(const struct split *split, struct rte_mbuf *part, uint32_t offset, bool more)
{
	uint32_t l3_offset = split->packet->l3_offset;
	struct rte_ipv4_hdr *ip = packet_header(part, l3_offset, struct rte_ipv4_hdr *);
	uint16_t fragment = (uint16_t)(offset / UNIT | (more ? RTE_IPV4_HDR_MF_FLAG : 0));

	ip->total_length = rte_cpu_to_be_16((uint16_t)(part->pkt_len - l3_offset));
	if (fragment != 0)
		ip->packet_id = rte_cpu_to_be_16((uint16_t)split->identification);
	ip->fragment_offset |= rte_cpu_to_be_16(fragment);
	ip->hdr_checksum = 0;
	ip->hdr_checksum = (uint16_t)~rte_raw_cksum(ip, rte_ipv4_hdr_len(ip));
}

static bool
ipv4_split(struct split *split, struct rte_mbuf *mbuf)
{
	uint32_t l3_offset = split->packet->l3_offset;
	struct heading first, later;

	first.length = l3_offset + rte_ipv4_hdr_len(packet_header(
					   mbuf, l3_offset, const struct rte_ipv4_hdr *));
	memcpy(first.bytes, rte_pktmbuf_mtod(mbuf, const uint8_t *), first.length);
	ipv4_later_heading(&first, l3_offset, &later);
	cursor_skip(&split->data, first.length);
	split->length = mbuf->pkt_len - first.length;
	split->mtu = RTE_MAX(split->mtu, (uint32_t)IPV4_MTU_MIN);
	return split_data(split, &first, &later, ipv4_finish);
}

/* ---- IPv6 ---- */

static void
ipv6_finish(const struct split *split, struct rte_mbuf *part, uint32_t offset, bool more)
{
	uint32_t l3_offset = split->packet->l3_offset;
	struct rte_ipv6_hdr *ip = packet_header(part, l3_offset, struct rte_ipv6_hdr *);
	struct rte_ipv6_fragment_ext *fragment;

	ip->payload_len = rte_cpu_to_be_16((uint16_t)(part->pkt_len - l3_offset - sizeof(*ip)));
	if (offset == 0 && !more)
		return;
	fragment = packet_header(
		part, packet_of(part)->l4_offset - FRAGMENT_HEADER, struct rte_ipv6_fragment_ext *);
	fragment->frag_data = rte_cpu_to_be_16((uint16_t)(offset | more));
	fragment->id = rte_cpu_to_be_32(split->identification);
}

static bool
ipv6_split(struct split *split, struct rte_mbuf *mbuf)
{
	uint32_t l3_offset = split->packet->l3_offset;
	const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
	struct rte_ipv6_hdr *ip;
	struct heading heading;
	uint8_t *next;

	heading.length = l3_offset + (uint32_t)sizeof(*ip);
	if (packet_header(mbuf, l3_offset, const struct rte_ipv6_hdr *)->proto == IPPROTO_HOPOPTS)
		heading.length += ((uint32_t)frame[heading.length + 1] + 1) * 8;
	memcpy(heading.bytes, frame, heading.length);
	cursor_skip(&split->data, heading.length);
	split->length = mbuf->pkt_len - heading.length;
	split->mtu = RTE_MAX(split->mtu, (uint32_t)IPV6_MTU_MIN);
	if (mbuf->pkt_len - l3_offset > split->mtu) {
		ip = (struct rte_ipv6_hdr *)(heading.bytes + l3_offset);
		next = ip->proto == IPPROTO_HOPOPTS ? heading.bytes + l3_offset + sizeof(*ip)
						    : &ip->proto;
		*(struct rte_ipv6_fragment_ext *)(heading.bytes + heading.length) =
			(struct rte_ipv6_fragment_ext){.next_header = *next};
		*next = IPPROTO_FRAGMENT;
		heading.length += FRAGMENT_HEADER;
	}
	return split_data(split, &heading, &heading, ipv6_finish);
}

unsigned
fragment_split(struct rte_mbuf *mbuf, uint16_t mtu, uint32_t identification,
	struct rte_mempool *pool, struct rte_mbuf **out, unsigned out_max)
{
	struct split split = {
		.pool = pool,
		.packet = packet_of(mbuf),
		.mtu = mtu,
		.identification = identification,
		.data = {.segment = mbuf},
		.out = out,
		.out_max = out_max,
	};
	bool done = split.packet->tuple.family == FAMILY_IPV4 ? ipv4_split(&split, mbuf)
							      : ipv6_split(&split, mbuf);

	if (!done) {
		rte_pktmbuf_free_bulk(out, split.count);
		split.count = 0;
	}
	rte_pktmbuf_free(mbuf);
	return split.count;
}
