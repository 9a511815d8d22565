/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ICMP errors: which flow they are about, whether they can be true, and how they look on the other
 * side.
 *
 * An error quotes the packet that caused it as its sender saw it: with the addresses and ports of
 * that side of the firewall. Read the other way round, the quote is what a packet of the error's
 * own direction looks like there, and so the flow is found as for any packet. The quote leaves as
 * the tuple of the opposite direction, which is the packet as its first sender made it.
 *
 * A quote is anybody's invention. Its IP header must be whole and its checksum right (RFC 5508
 * REQ-3), it must have come from the one who gets the error, and it must show enough of its upper
 * layer to name a flow. Nothing else in it is needed or believed: of its length only that the 8
 * bytes we read belong to it, and nothing of the upper layer's checksum, most of whose bytes are
 * not there.
 *
 * Fields are changed where they are quoted and each checksum by what changed under it: that of the
 * quoted IPv4 header, of the quoted TCP, UDP or ICMP message if it is quoted, of the error, whose
 * sum runs over all of these, and of the IPv4 header in front. Extensions behind the quote (RFC
 * 4884) are never touched. Sums are taken before and after over the bytes in question, which is
 * slower than to reason which changes cancel out, and errors are rare.
 */
#include "nat/icmp.h"

#include <netinet/in.h>

#include <rte_ip.h>

#include "nat/tcp.h"

#define ICMP_HEADER 8
#define ICMP_CHECKSUM_OFFSET 2
#define ICMP_IDENTIFIER_OFFSET 4
#define UDP_CHECKSUM_OFFSET 6
#define TCP_CHECKSUM_OFFSET 16
#define TCP_SEQUENCE_OFFSET 4
/* What must be quoted of the upper layer (RFC 792); ports and identifiers lie in it. */
#define QUOTED_MIN 8

#define PATH_MTU_MIN_IPV4 576  /* RFC 1122: what every host can take; below lie only attacks */
#define PATH_MTU_MIN_IPV6 1280 /* RFC 8200 section 5 */

/* As many as parse lets pass, and the fragment header that we add to what came in fragments. */
#define EXTENSION_HEADERS_MAX 5

/* RFC 4884 section 4: a quote with extensions behind it has at least this many bytes. */
#define EXTENDED_QUOTE_MIN 128

enum {
	UNREACHABLE = 3,
	UNREACHABLE_TOO_BIG = 4, /* its code */
	TIME_EXCEEDED = 11,
	PARAMETER_PROBLEM = 12,
	ECHO_REPLY = 0,
	ECHO_REQUEST = 8,
	TIMESTAMP_REQUEST = 13,
	TIMESTAMP_REPLY = 14,
	UNREACHABLE6 = 1,
	TOO_BIG6 = 2,
	TIME_EXCEEDED6 = 3,
	PARAMETER_PROBLEM6 = 4,
	ECHO_REQUEST6 = 128,
	ECHO_REPLY6 = 129,
};

/*
 * Which errors are forwarded, and of which it matters that they may carry extensions (RFC 4884
 * section 4): all that we read of an IPv4 quote lies in front of them anyway.
 */
enum { FORWARDED = 1 << 0, EXTENSIBLE = 1 << 1 };
#define ERROR_TYPES 13
static const uint8_t kinds[FAMILIES][ERROR_TYPES] = {
	[FAMILY_IPV4] =
		{
			[UNREACHABLE] = FORWARDED,
			[TIME_EXCEEDED] = FORWARDED,
			[PARAMETER_PROBLEM] = FORWARDED,
		},
	[FAMILY_IPV6] =
		{
			[UNREACHABLE6] = FORWARDED | EXTENSIBLE,
			[TOO_BIG6] = FORWARDED,
			[TIME_EXCEEDED6] = FORWARDED | EXTENSIBLE,
			[PARAMETER_PROBLEM6] = FORWARDED,
		},
};

/* The queries that open flows, and the answers to them. */
static const struct query {
	uint8_t protocol;
	uint8_t request, reply;
} queries[] = {
	{IPPROTO_ICMP, ECHO_REQUEST, ECHO_REPLY},
	{IPPROTO_ICMP, TIMESTAMP_REQUEST, TIMESTAMP_REPLY},
	{IPPROTO_ICMPV6, ECHO_REQUEST6, ECHO_REPLY6},
};

/* The quoted packet. */
struct quote {
	struct tuple tuple; /* as it was sent, on the side from which the error comes */
	uint32_t l4;        /* where its upper layer starts in the frame */
};

static inline uint8_t
error_kind(const struct packet *packet)
{
	return packet->icmp_type < ERROR_TYPES ? kinds[packet->tuple.family][packet->icmp_type] : 0;
}

static inline uint16_t
read_be16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t
read_be32(const uint8_t *at)
{
	return (uint32_t)read_be16(at) << 16 | read_be16(at + 2);
}

/* What to add to a sum when words that summed up to @p before now sum up to @p after. */
static inline uint16_t
sum_change(uint16_t before, uint16_t after)
{
	return checksum_sum_add(after, (uint16_t)~before);
}

/* A path MTU that no path has would make its receiver send crumbs. */
static bool
mtu_plausible(const struct packet *packet, const uint8_t *icmp)
{
	uint16_t mtu;

	if (packet->tuple.family == FAMILY_IPV6)
		return packet->icmp_type != TOO_BIG6 || read_be32(icmp + 4) >= PATH_MTU_MIN_IPV6;
	if (packet->icmp_type != UNREACHABLE || packet->icmp_code != UNREACHABLE_TOO_BIG)
		return true;
	mtu = read_be16(icmp + 6);
	/* RFC 1191 section 5: routers older than it leave the field zero */
	return mtu == 0 || mtu >= PATH_MTU_MIN_IPV4;
}

/*
 * Where the quote ends in the frame: where the packet does, unless the error says that extensions
 * follow. A length that is no such thing is one of the bytes that used to be unused.
 */
static uint32_t
quote_end(const struct rte_mbuf *mbuf, const struct packet *packet)
{
	const uint8_t *icmp = packet_header(mbuf, packet->l4_offset, const uint8_t *);
	uint32_t length = icmp[4] * UINT32_C(8);

	if ((error_kind(packet) & EXTENSIBLE) == 0 || length < EXTENDED_QUOTE_MIN)
		return packet->frame_length;
	return RTE_MIN(packet->frame_length, packet->payload_offset + length);
}

static bool
quote_ipv4(struct quote *quote, const struct rte_mbuf *mbuf, uint32_t start, uint32_t end)
{
	const struct rte_ipv4_hdr *ip = packet_header(mbuf, start, const struct rte_ipv4_hdr *);
	uint32_t header;

	if (end - start < sizeof(*ip) || ip->version_ihl >> 4 != 4)
		return false;
	header = (uint32_t)(ip->version_ihl & 0xf) * 4;
	if (header < sizeof(*ip) || end - start < header + QUOTED_MIN ||
		rte_be_to_cpu_16(ip->total_length) < header + QUOTED_MIN)
		return false;
	if (rte_raw_cksum(ip, header) != 0xffff)
		return false;
	if ((ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK)) != 0)
		return false;
	quote->tuple.source = address_v4(ip->src_addr);
	quote->tuple.destination = address_v4(ip->dst_addr);
	quote->tuple.protocol = ip->next_proto_id;
	quote->l4 = start + header;
	return true;
}

static bool
quote_ipv6(struct quote *quote, const struct rte_mbuf *mbuf, uint32_t start, uint32_t end)
{
	const uint8_t *ip = packet_header(mbuf, start, const uint8_t *);
	uint32_t at = start + (uint32_t)sizeof(struct rte_ipv6_hdr);
	uint32_t announced;
	uint8_t next;

	if (end - start < sizeof(struct rte_ipv6_hdr) || ip[0] >> 4 != 6)
		return false;
	announced = at + read_be16(ip + offsetof(struct rte_ipv6_hdr, payload_len));
	next = ip[offsetof(struct rte_ipv6_hdr, proto)];
	for (unsigned headers = 0;; headers++) {
		const uint8_t *extension = packet_header(mbuf, at, const uint8_t *);

		/* An extension header has 8 bytes at least, and so must have the upper layer. */
		if (end < at + QUOTED_MIN || announced < at + QUOTED_MIN)
			return false;
		if (next == IPPROTO_FRAGMENT) {
			if ((extension[2] | (extension[3] & 0xf8)) != 0)
				return false;
			at += 8;
		} else if (next == IPPROTO_DSTOPTS || (next == IPPROTO_HOPOPTS && headers == 0)) {
			at += (extension[1] + UINT32_C(1)) * 8;
		} else if (next == IPPROTO_ROUTING || next == IPPROTO_HOPOPTS) {
			return false; /* parse lets no such packet pass */
		} else {
			break;
		}
		if (headers == EXTENSION_HEADERS_MAX)
			return false;
		next = extension[0];
	}
	quote->tuple.family = FAMILY_IPV6;
	memcpy(&quote->tuple.source, ip + offsetof(struct rte_ipv6_hdr, src_addr),
		sizeof(quote->tuple.source));
	memcpy(&quote->tuple.destination, ip + offsetof(struct rte_ipv6_hdr, dst_addr),
		sizeof(quote->tuple.destination));
	quote->tuple.protocol = next;
	quote->l4 = at;
	return true;
}

/* Ports or identifier of the quoted packet, as in struct tuple. */
static bool
quote_ports(struct quote *quote, const struct rte_mbuf *mbuf)
{
	const uint8_t *l4 = packet_header(mbuf, quote->l4, const uint8_t *);
	struct tuple *tuple = &quote->tuple;

	switch (tuple->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		memcpy(&tuple->source_port, l4, sizeof(tuple->source_port));
		memcpy(&tuple->destination_port, l4 + 2, sizeof(tuple->destination_port));
		return true;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if ((tuple->protocol == IPPROTO_ICMPV6) != (tuple->family == FAMILY_IPV6))
			return false;
		for (unsigned i = 0; i < RTE_DIM(queries); i++) {
			rte_be16_t *identifier = l4[0] == queries[i].request
							 ? &tuple->source_port
							 : &tuple->destination_port;

			if (queries[i].protocol != tuple->protocol ||
				(l4[0] != queries[i].request && l4[0] != queries[i].reply))
				continue;
			memcpy(identifier, l4 + ICMP_IDENTIFIER_OFFSET, sizeof(*identifier));
			return true;
		}
		return false;
	default:
		return true;
	}
}

enum reason
icmp_relate(struct rte_mbuf *mbuf)
{
	struct packet *packet = packet_of(mbuf);
	uint32_t end = RTE_MIN(quote_end(mbuf, packet), (uint32_t)rte_pktmbuf_data_len(mbuf));
	uint32_t start = packet->payload_offset;
	struct quote quote = {.l4 = 0};

	if ((error_kind(packet) & FORWARDED) == 0)
		return REASON_ICMP_TYPE;
	if (!mtu_plausible(packet, packet_header(mbuf, packet->l4_offset, const uint8_t *)))
		return REASON_ICMP_ERROR;
	if (packet->tuple.family == FAMILY_IPV4 ? !quote_ipv4(&quote, mbuf, start, end)
						: !quote_ipv6(&quote, mbuf, start, end))
		return REASON_ICMP_ERROR;
	if (!address_equal(&quote.tuple.source, &packet->tuple.destination) ||
		!quote_ports(&quote, mbuf))
		return REASON_ICMP_ERROR;

	packet->outer[0] = packet->tuple.source;
	packet->outer[1] = packet->tuple.destination;
	packet->quoted_l4 = (uint16_t)quote.l4;
	packet->tuple = (struct tuple){
		.source = quote.tuple.destination,
		.destination = quote.tuple.source,
		.source_port = quote.tuple.destination_port,
		.destination_port = quote.tuple.source_port,
		.protocol = quote.tuple.protocol,
		.family = quote.tuple.family,
	};
	return REASON_NONE;
}

bool
icmp_plausible(const struct rte_mbuf *mbuf)
{
	const struct packet *packet = packet_of((struct rte_mbuf *)(uintptr_t)mbuf);
	const struct flow *flow = packet->flow;
	const uint8_t *l4 = packet_header(mbuf, packet->quoted_l4, const uint8_t *);
	enum direction sender = !packet->direction; /* the quoted packet went the other way */

	switch (flow->protocol) {
	case IPPROTO_TCP:
		return tcp_sequence_in_flight(flow, sender, read_be32(l4 + TCP_SEQUENCE_OFFSET));
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		/* With identifier zero a request has the tuple that its answer has. */
		for (unsigned i = 0; i < RTE_DIM(queries); i++)
			if (queries[i].protocol == flow->protocol &&
				queries[i].request == flow->state)
				return l4[0] == (sender == DIRECTION_ORIGINAL ? queries[i].request
									      : queries[i].reply);
		return false;
	default:
		return true;
	}
}

/* A byte of the frame, whichever segment it lies in. */
static uint8_t *
frame_byte(struct rte_mbuf *mbuf, uint32_t offset)
{
	while (offset >= rte_pktmbuf_data_len(mbuf)) {
		offset -= rte_pktmbuf_data_len(mbuf);
		mbuf = mbuf->next;
	}
	return packet_header(mbuf, offset, uint8_t *);
}

/*
 * Add @p delta to what a checksum in the upper layer of the quote covers. The field may lie behind
 * the first segment, and across the end of it.
 * @return what that adds to the sum of the error
 */
static uint16_t
quoted_checksum(struct rte_mbuf *mbuf, uint32_t field, uint16_t delta, bool udp)
{
	uint8_t *byte[] = {frame_byte(mbuf, field), frame_byte(mbuf, field + 1)};
	uint8_t bytes[] = {*byte[0], *byte[1]};
	uint16_t old, new;

	memcpy(&old, bytes, sizeof(old));
	if (udp && old == 0) /* RFC 768: the sender made none */
		return 0;
	new = checksum_adjust(old, delta);
	if (udp && new == 0)
		new = 0xffff;
	memcpy(bytes, &new, sizeof(new));
	*byte[0] = bytes[0];
	*byte[1] = bytes[1];
	return sum_change(old, new);
}

/*
 * Rewrite the upper layer of the quote.
 * @param other the tuple that the quote shall have
 * @return what that adds to the sum of the error
 */
static uint16_t
quoted_upper_rewrite(struct rte_mbuf *mbuf, const struct packet *packet, const struct tuple *other)
{
	const struct flow *flow = packet->flow;
	uint8_t *l4 = packet_header(mbuf, packet->quoted_l4, uint8_t *);
	uint16_t port_delta = checksum_delta(flow->port_delta, packet->direction);
	uint16_t both = checksum_sum_add(
		checksum_delta(flow->address_delta, packet->direction), port_delta);
	/* The side that did not ask has port zero (see struct tuple). */
	rte_be16_t identifier = other->source_port | other->destination_port;

	switch (flow->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		memcpy(l4, &other->source_port, sizeof(other->source_port));
		memcpy(l4 + 2, &other->destination_port, sizeof(other->destination_port));
		if (flow->protocol == IPPROTO_UDP)
			return checksum_sum_add(port_delta,
				quoted_checksum(
					mbuf, packet->quoted_l4 + UDP_CHECKSUM_OFFSET, both, true));
		if (quote_end(mbuf, packet) <
			packet->quoted_l4 + TCP_CHECKSUM_OFFSET + sizeof(uint16_t))
			return port_delta;
		return checksum_sum_add(
			port_delta, quoted_checksum(mbuf, packet->quoted_l4 + TCP_CHECKSUM_OFFSET,
					    both, false));
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		memcpy(l4 + ICMP_IDENTIFIER_OFFSET, &identifier, sizeof(identifier));
		return checksum_sum_add(port_delta,
			quoted_checksum(mbuf, packet->quoted_l4 + ICMP_CHECKSUM_OFFSET,
				flow->protocol == IPPROTO_ICMP ? port_delta : both, false));
	default:
		return 0;
	}
}

/*
 * Rewrite the quoted packet: it becomes what it was before it was translated.
 * @return what that adds to the sum of the error
 */
static uint16_t
quote_rewrite(struct rte_mbuf *mbuf, const struct packet *packet, const struct tuple *other)
{
	uint16_t address_delta = checksum_delta(packet->flow->address_delta, packet->direction);
	uint16_t change = quoted_upper_rewrite(mbuf, packet, other);

	if (other->family == FAMILY_IPV4) {
		struct rte_ipv4_hdr *ip =
			packet_header(mbuf, packet->payload_offset, struct rte_ipv4_hdr *);
		uint16_t old = ip->hdr_checksum;

		ip->src_addr = other->source.v4;
		ip->dst_addr = other->destination.v4;
		ip->hdr_checksum = checksum_adjust(old, address_delta);
		change = checksum_sum_add(change, sum_change(old, ip->hdr_checksum));
	} else {
		uint8_t *ip = packet_header(mbuf, packet->payload_offset, uint8_t *);

		memcpy(ip + offsetof(struct rte_ipv6_hdr, src_addr), &other->source,
			sizeof(other->source));
		memcpy(ip + offsetof(struct rte_ipv6_hdr, dst_addr), &other->destination,
			sizeof(other->destination));
	}
	return checksum_sum_add(change, address_delta);
}

/*
 * Rewrite the header in front of the error.
 * @return what that adds to the sum of an ICMPv6 error, which covers the addresses
 */
static uint16_t
outer_rewrite(struct rte_mbuf *mbuf, const struct packet *packet, const struct tuple *other)
{
	union address from = packet->outer[0];
	uint16_t before, after;

	/* The far end has a name on the other side, routers on the way have none but their own. */
	if (address_equal(&packet->outer[0], &packet->tuple.source))
		from = other->destination;
	if (other->family == FAMILY_IPV4) {
		struct rte_ipv4_hdr *ip =
			packet_header(mbuf, packet->l3_offset, struct rte_ipv4_hdr *);

		before = rte_raw_cksum(ip, sizeof(*ip));
		ip->src_addr = from.v4;
		ip->dst_addr = other->source.v4;
		ip->time_to_live--;
		after = rte_raw_cksum(ip, sizeof(*ip));
		ip->hdr_checksum = checksum_adjust(ip->hdr_checksum, sum_change(before, after));
		return 0;
	} else {
		uint8_t *ip = packet_header(mbuf, packet->l3_offset, uint8_t *);
		uint8_t *addresses = ip + offsetof(struct rte_ipv6_hdr, src_addr);

		before = rte_raw_cksum(addresses, 2 * sizeof(from));
		memcpy(addresses, &from, sizeof(from));
		memcpy(addresses + sizeof(from), &other->source, sizeof(other->source));
		ip[offsetof(struct rte_ipv6_hdr, hop_limits)]--;
		after = rte_raw_cksum(addresses, 2 * sizeof(from));
		return sum_change(before, after);
	}
}

void
icmp_rewrite(struct rte_mbuf *mbuf)
{
	const struct packet *packet = packet_of(mbuf);
	uint8_t *icmp = packet_header(mbuf, packet->l4_offset, uint8_t *);
	struct tuple other;
	uint16_t change, checksum;

	flow_tuple(packet->flow, !packet->direction, &other);
	change = quote_rewrite(mbuf, packet, &other);
	change = checksum_sum_add(change, outer_rewrite(mbuf, packet, &other));
	memcpy(&checksum, icmp + ICMP_CHECKSUM_OFFSET, sizeof(checksum));
	checksum = checksum_adjust(checksum, change);
	memcpy(icmp + ICMP_CHECKSUM_OFFSET, &checksum, sizeof(checksum));
}
