/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parsing: one pass over the headers of a frame, once in its life.
 *
 * Nothing in a frame is believed before its length has been checked against both the frame and the
 * length its own IP header announces. Whatever a router must not forward blindly ends here, with
 * the reason: VLAN tags, broken headers, source routes, extension headers that are unknown,
 * misplaced or too many. Ethernet padding behind the IP packet is cut off, so that no later stage
 * sees it and none of it leaves on the other side.
 *
 * A fragment passes with its addresses and without ports: nobody may take it for more than a part.
 * What can be said of it alone is said here, above all that the first one holds all headers (RFC
 * 1858, RFC 7112); what it takes its brothers to see is for nat/fragment.c, which makes a datagram
 * of them that is then parsed like any other packet. An IPv6 packet in one single fragment is no
 * part of anything: it loses its fragment header and goes on (RFC 6946).
 *
 * ICMP checksums are verified (RFC 5508 REQ-3); those of TCP and UDP are their receivers' affair
 * unless the NIC has already found them wrong.
 */
#include "classifier/parse.h"

#include <netinet/in.h>

#include <rte_ether.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "classifier/checksum.h"

#define ETHERTYPE_QINQ_OLD 0x9100

#define IPV4_HEADER_MIN 20
#define IPV4_OPTION_END 0
#define IPV4_OPTION_NOP 1
#define IPV4_OPTION_LSRR 131
#define IPV4_OPTION_SSRR 137

/* RFC 8504 section 5.3 lets a node limit the chain; real packets carry one or two. */
#define EXTENSION_HEADERS_MAX 4
#define FRAGMENT_HEADER ((uint32_t)sizeof(struct rte_ipv6_fragment_ext))
/*
 * From the start of the packet to the upper layer, so that all headers fit the least MTU (RFC 7112
 * section 4; 60 is the longest TCP header), also behind a fragment header that is put in on the way
 * out. It also keeps them in the first mbuf of any copy.
 */
#define HEADER_CHAIN_MAX (1280 - 60 - FRAGMENT_HEADER)
#define IPPROTO_MOBILITY 135
#define IPPROTO_HIP 139
#define IPPROTO_SHIM6 140
#define IPPROTO_TEST_ONE 253
#define IPPROTO_TEST_TWO 254

#define ICMP_HEADER 8

/* What a device may say of these two alone: whoever sends the frame would act upon it. */
#define OFFLOADS_OF_TCP_AND_UDP (RTE_MBUF_F_RX_L4_CKSUM_MASK | RTE_MBUF_F_RX_LRO)

enum icmp_type {
	ICMP_ECHO_REPLY = 0,
	ICMP_UNREACHABLE = 3,
	ICMP_QUENCH = 4,
	ICMP_ECHO_REQUEST = 8,
	ICMP_TIME = 11,
	ICMP_PARAMETER = 12,
	ICMP_STAMP_REQUEST = 13,
	ICMP_STAMP_REPLY = 14,
};

enum icmp6_type {
	ICMP6_ERROR_LAST = 127, /* RFC 4443: errors are the types below 128 */
	ICMP6_ECHO = 128,
	ICMP6_ECHO_ANSWER = 129,
	ICMP6_ND_FIRST = 133,
	ICMP6_ND_LAST = 137,
};

static bool
l4_checksum_verified(const struct rte_mbuf *mbuf, const struct packet *packet)
{
	uint32_t length = packet->frame_length - packet->l4_offset;
	uint32_t sum = checksum_mbuf(mbuf, packet->l4_offset, length);

	if (packet->tuple.family == FAMILY_IPV6) {
		/* RFC 4443 section 2.3: the ICMPv6 sum covers the IPv6 pseudo-header */
		struct {
			union address source, destination;
			rte_be32_t length, protocol;
		} pseudo = {packet->tuple.source, packet->tuple.destination,
			rte_cpu_to_be_32(length), rte_cpu_to_be_32(packet->tuple.protocol)};

		sum += rte_raw_cksum(&pseudo, sizeof(pseudo));
	}
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum == 0xffff;
}

static enum reason
parse_icmp(const struct rte_mbuf *mbuf, struct packet *packet)
{
	const uint8_t *icmp = packet_header(mbuf, packet->l4_offset, const uint8_t *);
	bool query = false;
	bool reply = false;
	rte_be16_t identifier;

	if (packet->frame_length - packet->l4_offset < ICMP_HEADER)
		return REASON_L4_HEADER;
	packet->icmp_type = icmp[0];
	packet->icmp_code = icmp[1];
	packet->payload_offset = (uint16_t)(packet->l4_offset + ICMP_HEADER);
	if (!l4_checksum_verified(mbuf, packet))
		return REASON_L4_CHECKSUM;

	if (packet->tuple.family == FAMILY_IPV4) {
		switch (packet->icmp_type) {
		case ICMP_ECHO_REPLY:
		case ICMP_STAMP_REPLY:
			reply = true;
			/* fall through */
		case ICMP_ECHO_REQUEST:
		case ICMP_STAMP_REQUEST:
			query = true;
			break;
		case ICMP_UNREACHABLE:
		case ICMP_QUENCH:
		case ICMP_TIME:
		case ICMP_PARAMETER:
			packet->flags |= PACKET_ICMP_ERROR;
			break;
		}
	} else {
		if (packet->icmp_type <= ICMP6_ERROR_LAST)
			packet->flags |= PACKET_ICMP_ERROR;
		else if (packet->icmp_type >= ICMP6_ND_FIRST && packet->icmp_type <= ICMP6_ND_LAST)
			packet->flags |= PACKET_ND;
		query = packet->icmp_type == ICMP6_ECHO || packet->icmp_type == ICMP6_ECHO_ANSWER;
		reply = packet->icmp_type == ICMP6_ECHO_ANSWER;
	}
	if (query) {
		memcpy(&identifier, icmp + 4, sizeof(identifier));
		packet->flags |= PACKET_ICMP_QUERY;
		if (reply) {
			packet->flags |= PACKET_ICMP_REPLY;
			packet->tuple.destination_port = identifier;
		} else {
			packet->tuple.source_port = identifier;
		}
	}
	return REASON_NONE;
}

/* The IP packet ends with the frame: padding has been cut off before. */
static inline enum reason
parse_l4(struct rte_mbuf *mbuf, struct packet *packet)
{
	uint32_t length = packet->frame_length - packet->l4_offset;
	uint32_t contiguous = rte_pktmbuf_data_len(mbuf) - packet->l4_offset;
	uint64_t checksum_state = mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;

	packet->payload_offset = packet->l4_offset;
	if (unlikely(checksum_state == RTE_MBUF_F_RX_L4_CKSUM_BAD))
		return REASON_L4_CHECKSUM;
	switch (packet->tuple.protocol) {
	case IPPROTO_UDP: {
		const struct rte_udp_hdr *udp =
			packet_header(mbuf, packet->l4_offset, const struct rte_udp_hdr *);
		uint16_t announced;

		if (unlikely(contiguous < sizeof(*udp)))
			return REASON_L4_HEADER;
		announced = rte_be_to_cpu_16(udp->dgram_len);
		if (unlikely(announced < sizeof(*udp) || announced > length))
			return REASON_L4_HEADER;
		packet->tuple.source_port = udp->src_port;
		packet->tuple.destination_port = udp->dst_port;
		packet->payload_offset = (uint16_t)(packet->l4_offset + sizeof(*udp));
		return REASON_NONE;
	}
	case IPPROTO_TCP: {
		const struct rte_tcp_hdr *tcp =
			packet_header(mbuf, packet->l4_offset, const struct rte_tcp_hdr *);
		uint32_t header;

		if (unlikely(contiguous < sizeof(*tcp)))
			return REASON_L4_HEADER;
		header = (uint32_t)(tcp->data_off >> 4) * 4;
		if (unlikely(header < sizeof(*tcp) || header > contiguous))
			return REASON_L4_HEADER;
		packet->tuple.source_port = tcp->src_port;
		packet->tuple.destination_port = tcp->dst_port;
		packet->tcp_flags = tcp->tcp_flags;
		packet->payload_offset = (uint16_t)(packet->l4_offset + header);
		return REASON_NONE;
	}
	case IPPROTO_ICMP:
		mbuf->ol_flags &= ~OFFLOADS_OF_TCP_AND_UDP;
		if (packet->tuple.family == FAMILY_IPV6)
			return REASON_L4_HEADER;
		return contiguous < ICMP_HEADER ? REASON_L4_HEADER : parse_icmp(mbuf, packet);
	case IPPROTO_ICMPV6:
		mbuf->ol_flags &= ~OFFLOADS_OF_TCP_AND_UDP;
		if (packet->tuple.family == FAMILY_IPV4)
			return REASON_L4_HEADER;
		return contiguous < ICMP_HEADER ? REASON_L4_HEADER : parse_icmp(mbuf, packet);
	default:
		mbuf->ol_flags &= ~OFFLOADS_OF_TCP_AND_UDP;
		return REASON_NONE;
	}
}

/* Cut off what follows the IP packet in the frame. */
static inline enum reason
trim_padding(struct rte_mbuf *mbuf, struct packet *packet, uint32_t ip_length)
{
	uint32_t padding = packet->frame_length - packet->l3_offset - ip_length;

	if (likely(padding == 0))
		return REASON_NONE;
	if (padding > UINT16_MAX || rte_pktmbuf_trim(mbuf, (uint16_t)padding) != 0)
		return REASON_IP_HEADER;
	packet->frame_length -= padding;
	return REASON_NONE;
}

/*
 * The upper layer's header must lie in the first fragment, whole: rules look at nothing else (RFC
 * 1858 section 3, RFC 7112 section 5). What is wrong with it whatever may follow ends here too.
 */
static enum reason
check_first_fragment(
	const struct rte_mbuf *mbuf, const struct packet *packet, uint8_t protocol, uint32_t at)
{
	uint32_t contiguous = rte_pktmbuf_data_len(mbuf) - at;
	const uint8_t *l4 = packet_header(mbuf, at, const uint8_t *);

	switch (protocol) {
	case IPPROTO_UDP:
		return contiguous < sizeof(struct rte_udp_hdr) ? REASON_FRAGMENT : REASON_NONE;
	case IPPROTO_TCP: {
		uint32_t header;

		if (contiguous < sizeof(struct rte_tcp_hdr))
			return REASON_FRAGMENT;
		header = (uint32_t)(((const struct rte_tcp_hdr *)l4)->data_off >> 4) * 4;
		if (header < sizeof(struct rte_tcp_hdr))
			return REASON_L4_HEADER;
		return contiguous < header ? REASON_FRAGMENT : REASON_NONE;
	}
	case IPPROTO_ICMP:
		if (packet->tuple.family == FAMILY_IPV6)
			return REASON_L4_HEADER;
		return contiguous < ICMP_HEADER ? REASON_FRAGMENT : REASON_NONE;
	case IPPROTO_ICMPV6:
		if (packet->tuple.family == FAMILY_IPV4)
			return REASON_L4_HEADER;
		if (contiguous < ICMP_HEADER)
			return REASON_FRAGMENT;
		/* RFC 6980: nobody may send these in fragments */
		return l4[0] >= ICMP6_ND_FIRST && l4[0] <= ICMP6_ND_LAST
			       ? REASON_NEIGHBOUR_DISCOVERY
			       : REASON_NONE;
	default:
		return REASON_NONE;
	}
}

/* A fragment whose part of the datagram starts at l4_offset. */
static enum reason
check_fragment(struct rte_mbuf *mbuf, struct packet *packet, bool more)
{
	uint32_t length = packet->frame_length - packet->l4_offset;

	packet->flags |= PACKET_FRAGMENT;
	packet->payload_offset = packet->l4_offset;
	/* Whatever a device took it for, it has no checksum of its own and no segments. */
	mbuf->ol_flags &= ~OFFLOADS_OF_TCP_AND_UDP;
	/* Offsets count in units of eight bytes: all but the last part are made of such. */
	return length == 0 || (more && length % 8 != 0) ? REASON_FRAGMENT : REASON_NONE;
}

static enum reason
parse_ipv4_fragment(struct rte_mbuf *mbuf, struct packet *packet, uint16_t fragment)
{
	enum reason reason = check_fragment(mbuf, packet, (fragment & RTE_IPV4_HDR_MF_FLAG) != 0);

	if (reason != REASON_NONE || (fragment & RTE_IPV4_HDR_OFFSET_MASK) != 0)
		return reason;
	return check_first_fragment(mbuf, packet, packet->tuple.protocol, packet->l4_offset);
}

static enum reason
check_ipv4_options(const uint8_t *options, unsigned length)
{
	unsigned at = 0;

	while (at < length && options[at] != IPV4_OPTION_END) {
		if (options[at] == IPV4_OPTION_NOP) {
			at++;
			continue;
		}
		if (at + 1 >= length || options[at + 1] < 2 || options[at + 1] > length - at)
			return REASON_IP_HEADER;
		if (options[at] == IPV4_OPTION_LSRR || options[at] == IPV4_OPTION_SSRR)
			return REASON_SOURCE_ROUTE;
		at += options[at + 1];
	}
	return REASON_NONE;
}

static inline bool
ipv4_checksum_verified(const void *header, unsigned length)
{
	uint64_t sum = 0;

	if (likely(length == IPV4_HEADER_MIN)) {
		uint64_t words[2];
		uint32_t last;

		memcpy(words, header, sizeof(words));
		memcpy(&last, (const uint8_t *)header + sizeof(words), sizeof(last));
		sum = (words[0] & UINT32_MAX) + (words[0] >> 32) + (words[1] & UINT32_MAX) +
		      (words[1] >> 32) + last;
		sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
	} else {
		sum = rte_raw_cksum(header, length);
	}
	return sum == 0xffff;
}

static inline enum reason
parse_ipv4(struct rte_mbuf *mbuf, struct packet *packet)
{
	const struct rte_ipv4_hdr *ip =
		packet_header(mbuf, packet->l3_offset, const struct rte_ipv4_hdr *);
	uint32_t contiguous = rte_pktmbuf_data_len(mbuf) - packet->l3_offset;
	uint32_t header, total;
	enum reason reason;

	if (unlikely(contiguous < IPV4_HEADER_MIN))
		return REASON_TRUNCATED;
	header = (uint32_t)(ip->version_ihl & 0xf) * 4;
	total = rte_be_to_cpu_16(ip->total_length);
	if (unlikely(ip->version_ihl >> 4 != 4 || header < IPV4_HEADER_MIN || total < header))
		return REASON_IP_HEADER;
	if (unlikely(header > contiguous || total > packet->frame_length - packet->l3_offset))
		return REASON_TRUNCATED;
	if (unlikely(!ipv4_checksum_verified(ip, header)))
		return REASON_IP_CHECKSUM;
	if (unlikely(header > IPV4_HEADER_MIN)) {
		reason = check_ipv4_options((const uint8_t *)(ip + 1), header - IPV4_HEADER_MIN);
		if (reason != REASON_NONE)
			return reason;
	}
	reason = trim_padding(mbuf, packet, total);
	if (unlikely(reason != REASON_NONE))
		return reason;

	packet->tuple.source = address_v4(ip->src_addr);
	packet->tuple.destination = address_v4(ip->dst_addr);
	packet->tuple.protocol = ip->next_proto_id;
	packet->ttl = ip->time_to_live;
	if ((ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_DF_FLAG)) != 0)
		packet->flags |= PACKET_DF;
	packet->l4_offset = (uint16_t)(packet->l3_offset + header);
	if (unlikely((ip->fragment_offset &
			     RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) != 0))
		return parse_ipv4_fragment(mbuf, packet, rte_be_to_cpu_16(ip->fragment_offset));
	return parse_l4(mbuf, packet);
}

/* Where a walk along the IPv6 headers has come to. */
struct chain {
	uint32_t at;
	uint8_t next; /* protocol number of what lies there */
	unsigned headers;
	uint32_t at_most; /* where the upper layer must start at the latest */
	bool fragment;    /* the walk is beyond a fragment header */
};

/*
 * Walk the extension headers (RFC 8200 section 4). Hop-by-hop options may only come first;
 * destination options may pass; routing headers may not. The walk ends where the upper layer
 * starts, or at a fragment header, of which a packet has one at most.
 */
static enum reason
walk_extensions(const struct rte_mbuf *mbuf, const struct packet *packet, struct chain *chain)
{
	uint32_t end = RTE_MIN((uint32_t)rte_pktmbuf_data_len(mbuf), packet->frame_length);

	for (;; chain->headers++) {
		const uint8_t *extension;

		switch (chain->next) {
		case IPPROTO_HOPOPTS:
			if (chain->headers != 0 || chain->fragment)
				return REASON_EXTENSION_HEADER;
			break;
		case IPPROTO_DSTOPTS:
			break;
		case IPPROTO_ROUTING:
			return REASON_SOURCE_ROUTE;
		case IPPROTO_FRAGMENT:
			return chain->fragment ? REASON_FRAGMENT : REASON_NONE;
		case IPPROTO_NONE:
		case IPPROTO_MOBILITY:
		case IPPROTO_HIP:
		case IPPROTO_SHIM6:
		case IPPROTO_TEST_ONE:
		case IPPROTO_TEST_TWO:
			return REASON_EXTENSION_HEADER;
		default:
			return REASON_NONE;
		}
		if (chain->headers == EXTENSION_HEADERS_MAX)
			return REASON_EXTENSION_HEADER;
		if (end - chain->at < 8)
			return REASON_TRUNCATED;
		extension = packet_header(mbuf, chain->at, const uint8_t *);
		if (end - chain->at < ((uint32_t)extension[1] + 1) * 8)
			return REASON_TRUNCATED;
		chain->next = extension[0];
		chain->at += ((uint32_t)extension[1] + 1) * 8;
		if (chain->at > chain->at_most)
			return REASON_EXTENSION_HEADER;
	}
}

void
parse_cut_fragment_header(struct rte_mbuf *mbuf, uint32_t l3_offset, uint32_t at)
{
	uint8_t *frame = rte_pktmbuf_mtod(mbuf, uint8_t *);
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(frame + l3_offset);
	uint32_t header = l3_offset + (uint32_t)sizeof(*ip);
	uint8_t *next = &ip->proto;

	while (header != at) {
		next = &frame[header];
		header += ((uint32_t)frame[header + 1] + 1) * 8;
	}
	*next = frame[at];
	ip->payload_len =
		rte_cpu_to_be_16((uint16_t)(rte_be_to_cpu_16(ip->payload_len) - FRAGMENT_HEADER));
	memmove(frame + FRAGMENT_HEADER, frame, at);
	(void)rte_pktmbuf_adj(mbuf, FRAGMENT_HEADER);
}

/* Without its header, which says nothing, the packet is a whole one (RFC 6946). */
static enum reason
parse_atomic_fragment(struct rte_mbuf *mbuf, struct packet *packet, struct chain *chain)
{
	enum reason reason;

	chain->next =
		packet_header(mbuf, chain->at, const struct rte_ipv6_fragment_ext *)->next_header;
	parse_cut_fragment_header(mbuf, packet->l3_offset, chain->at);
	packet->frame_length -= FRAGMENT_HEADER;
	reason = walk_extensions(mbuf, packet, chain);
	if (reason != REASON_NONE)
		return reason;
	packet->tuple.protocol = chain->next;
	packet->l4_offset = (uint16_t)chain->at;
	reason = parse_l4(mbuf, packet);
	if (reason == REASON_NONE && (packet->flags & PACKET_ND) != 0)
		return REASON_NEIGHBOUR_DISCOVERY; /* RFC 6980 */
	return reason;
}

static enum reason
parse_ipv6_fragment(struct rte_mbuf *mbuf, struct packet *packet, struct chain *chain)
{
	uint32_t end = RTE_MIN((uint32_t)rte_pktmbuf_data_len(mbuf), packet->frame_length);
	const struct rte_ipv6_fragment_ext *header;
	enum reason reason;
	uint16_t fragment;

	if (end - chain->at < sizeof(*header))
		return REASON_TRUNCATED;
	header = packet_header(mbuf, chain->at, const struct rte_ipv6_fragment_ext *);
	fragment = rte_be_to_cpu_16(header->frag_data) & RTE_IPV6_FRAG_USED_MASK;
	chain->fragment = true;
	if (fragment == 0)
		return parse_atomic_fragment(mbuf, packet, chain);

	chain->next = header->next_header;
	packet->tuple.protocol = chain->next;
	chain->at += FRAGMENT_HEADER;
	chain->at_most += FRAGMENT_HEADER;
	packet->l4_offset = (uint16_t)chain->at;
	reason = check_fragment(mbuf, packet, RTE_IPV6_GET_MF(fragment) != 0);
	if (reason != REASON_NONE || RTE_IPV6_GET_FO(fragment) != 0)
		return reason;
	reason = walk_extensions(mbuf, packet, chain);
	if (reason != REASON_NONE)
		return reason == REASON_TRUNCATED ? REASON_FRAGMENT : reason;
	return check_first_fragment(mbuf, packet, chain->next, chain->at);
}

static enum reason
parse_ipv6(struct rte_mbuf *mbuf, struct packet *packet)
{
	const struct rte_ipv6_hdr *ip =
		packet_header(mbuf, packet->l3_offset, const struct rte_ipv6_hdr *);
	struct chain chain = {
		.at = packet->l3_offset + (uint32_t)sizeof(*ip),
		.at_most = packet->l3_offset + (uint32_t)HEADER_CHAIN_MAX,
	};
	uint32_t total;
	enum reason reason;

	if (rte_pktmbuf_data_len(mbuf) < packet->l3_offset + sizeof(*ip))
		return REASON_TRUNCATED;
	if (*(const uint8_t *)ip >> 4 != 6)
		return REASON_IP_HEADER;
	total = (uint32_t)sizeof(*ip) + rte_be_to_cpu_16(ip->payload_len);
	if (total > packet->frame_length - packet->l3_offset)
		return REASON_TRUNCATED;
	reason = trim_padding(mbuf, packet, total);
	if (reason != REASON_NONE)
		return reason;

	packet->tuple.family = FAMILY_IPV6;
	memcpy(&packet->tuple.source, (const uint8_t *)ip + offsetof(struct rte_ipv6_hdr, src_addr),
		sizeof(union address));
	memcpy(&packet->tuple.destination,
		(const uint8_t *)ip + offsetof(struct rte_ipv6_hdr, dst_addr),
		sizeof(union address));
	packet->ttl = ip->hop_limits;
	chain.next = ip->proto;
	if (unlikely(chain.next != IPPROTO_TCP && chain.next != IPPROTO_UDP)) {
		reason = walk_extensions(mbuf, packet, &chain);
		if (reason != REASON_NONE)
			return reason;
		if (chain.next == IPPROTO_FRAGMENT)
			return parse_ipv6_fragment(mbuf, packet, &chain);
	}
	packet->tuple.protocol = chain.next;
	packet->l4_offset = (uint16_t)chain.at;
	return parse_l4(mbuf, packet);
}

/* Two words at once. The compiler would take `rep stos`, which takes longer to begin than this. */
struct clear {
	uint64_t word __attribute__((vector_size(16), aligned(8), may_alias));
};
_Static_assert(sizeof(struct packet) % sizeof(struct clear) == 0, "cleared as a whole");

static inline void
packet_clear(struct packet *packet, const struct rte_mbuf *mbuf)
{
	struct clear *piece = (struct clear *)packet;
	uint16_t in_port = packet->in_port;
	uint32_t serial = packet->serial;

#pragma GCC unroll 8
	for (unsigned i = 0; i < sizeof(*packet) / sizeof(*piece); i++)
		piece[i] = (struct clear){0};
	packet->l3_offset = RTE_ETHER_HDR_LEN;
	packet->frame_length = rte_pktmbuf_pkt_len(mbuf);
	packet->rule = RULE_NONE;
	packet->in_port = in_port;
	packet->out_port = PORT_NONE;
	packet->qube = QUBE_NONE;
	packet->serial = serial;
}

static inline enum reason
parse_frame(struct rte_mbuf *mbuf, struct packet *packet)
{
	const struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(mbuf, const struct rte_ether_hdr *);

	packet_clear(packet, mbuf);
	if (unlikely(rte_pktmbuf_data_len(mbuf) < sizeof(*ethernet)))
		return REASON_TRUNCATED;
	switch (ethernet->ether_type) {
	case RTE_BE16(RTE_ETHER_TYPE_IPV4):
		return parse_ipv4(mbuf, packet);
	case RTE_BE16(RTE_ETHER_TYPE_IPV6):
		return parse_ipv6(mbuf, packet);
	case RTE_BE16(RTE_ETHER_TYPE_ARP):
		packet->kind = PACKET_ARP;
		return REASON_NONE;
	case RTE_BE16(RTE_ETHER_TYPE_VLAN):
	case RTE_BE16(RTE_ETHER_TYPE_QINQ):
	case RTE_BE16(ETHERTYPE_QINQ_OLD):
		return REASON_VLAN;
	default:
		return REASON_ETHERTYPE;
	}
}

unsigned
parse_burst(struct rte_mbuf **burst, unsigned count)
{
	struct rte_mbuf *rejected[BURST_MAX];
	unsigned passed = 0;
	unsigned failed = 0;

	for (unsigned i = 0; i < count; i++) {
		rte_prefetch0(rte_pktmbuf_mtod(burst[i], void *));
		rte_prefetch0(packet_of(burst[i]));
	}
	for (unsigned i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = burst[i];
		struct packet *packet = packet_of(mbuf);
		enum reason reason = parse_frame(mbuf, packet);

		packet->reason = (uint8_t)reason;
		if (likely(reason == REASON_NONE))
			burst[passed++] = mbuf;
		else
			rejected[failed++] = mbuf;
	}
	memcpy(burst + passed, rejected, failed * sizeof(rejected[0]));
	return passed;
}

enum reason
parse_datagram(struct rte_mbuf *mbuf)
{
	struct packet *packet = packet_of(mbuf);
	uint16_t fragment_size = packet->fragment_size;
	uint32_t fragment_id = packet->fragment_id;

	(void)parse_burst(&mbuf, 1);
	packet->fragment_size = fragment_size;
	packet->fragment_id = fragment_id;
	if (packet->reason == REASON_NONE) {
		/* A first fragment that leads here has not passed; do not rely on that. */
		if ((packet->flags & PACKET_FRAGMENT) != 0)
			packet->reason = REASON_FRAGMENT;
		else if ((packet->flags & PACKET_ND) != 0)
			packet->reason = REASON_NEIGHBOUR_DISCOVERY;
	}
	return packet->reason;
}
