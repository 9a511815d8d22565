/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rewriting: make a packet look as the other side of its flow expects it.
 *
 * One function for every protocol. A packet of one direction leaves with the addresses and ports
 * of the other direction's tuple reversed; where nothing is translated those are the ones it came
 * with, and writing them again costs less than asking. Checksums are never computed anew: the
 * flow holds the one's-complement differences, and a sum that was wrong on arrival stays wrong.
 *
 * An IPv4 packet that may be fragmented gets a fresh identification: masquerade puts the counters
 * of many qubes behind one address, where they would collide and tell the qubes apart, and whoever
 * can foretell an identification can slip a fragment of his own into the datagram. It is a keyed
 * hash of the old one, the flow and the direction: no state, the same in every replay. One that may
 * not be fragmented keeps what it has, which nobody will ever read (RFC 6864 section 4.1).
 */
#include "nat/rewrite.h"

#include <netinet/in.h>

#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "nat/icmp.h"

/* TTL and protocol share a 16-bit word of the header: one hop less is 0x0100 less. */
#define HOP_DELTA ((uint16_t)RTE_BE16(0xfeff))

#define ICMP_CHECKSUM_OFFSET 2
#define ICMP_IDENTIFIER_OFFSET 4

static inline void
rewrite_ports(struct rte_mbuf *mbuf, const struct packet *packet, const rte_be16_t *other)
{
	rte_be16_t *ports = packet_header(mbuf, packet->l4_offset, rte_be16_t *);

	ports[0] = other[1];
	ports[1] = other[0];
}

/*
 * The checksum field of a TCP or UDP header. Only the pseudo-header sum, not complemented, stands
 * in it when the sender left the rest to the hardware; then ports are not in it yet.
 */
static inline uint16_t
l4_checksum(
	const struct rte_mbuf *mbuf, uint16_t checksum, uint16_t address_delta, uint16_t port_delta)
{
	if ((mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		return checksum_sum_add(checksum, address_delta);
	return checksum_adjust(checksum, checksum_sum_add(address_delta, port_delta));
}

static inline void
rewrite_l4(struct rte_mbuf *mbuf, const struct packet *packet, const struct flow *flow)
{
	unsigned direction = packet->direction;
	uint16_t address_delta = checksum_delta(flow->address_delta, direction);
	uint16_t port_delta = checksum_delta(flow->port_delta, direction);
	const rte_be16_t *other = flow->port[!direction];

	switch (packet->tuple.protocol) {
	case IPPROTO_UDP: {
		struct rte_udp_hdr *udp =
			packet_header(mbuf, packet->l4_offset, struct rte_udp_hdr *);

		rewrite_ports(mbuf, packet, other);
		if (udp->dgram_cksum == 0) /* RFC 768: the sender made none */
			return;
		udp->dgram_cksum = l4_checksum(mbuf, udp->dgram_cksum, address_delta, port_delta);
		if (udp->dgram_cksum == 0)
			udp->dgram_cksum = 0xffff;
		return;
	}
	case IPPROTO_TCP: {
		struct rte_tcp_hdr *tcp =
			packet_header(mbuf, packet->l4_offset, struct rte_tcp_hdr *);

		rewrite_ports(mbuf, packet, other);
		tcp->cksum = l4_checksum(mbuf, tcp->cksum, address_delta, port_delta);
		return;
	}
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6: {
		uint8_t *icmp = packet_header(mbuf, packet->l4_offset, uint8_t *);
		/* The side that did not ask has port zero (see struct tuple). */
		rte_be16_t identifier = other[0] | other[1];
		uint16_t delta = port_delta;
		uint16_t checksum;

		if ((packet->flags & PACKET_ICMP_QUERY) == 0)
			return;
		if (packet->tuple.protocol == IPPROTO_ICMPV6)
			delta = checksum_sum_add(delta, address_delta);
		memcpy(&checksum, icmp + ICMP_CHECKSUM_OFFSET, sizeof(checksum));
		checksum = checksum_adjust(checksum, delta);
		memcpy(icmp + ICMP_CHECKSUM_OFFSET, &checksum, sizeof(checksum));
		memcpy(icmp + ICMP_IDENTIFIER_OFFSET, &identifier, sizeof(identifier));
		return;
	}
	default:
		return;
	}
}

static inline uint32_t
identification(const struct flow_secret *secret, const struct packet *packet, uint32_t old)
{
	/* The words of the secret that had no part in the last step of flow_hash. */
	return (uint32_t)hash_pair(packet->hash, (uint64_t)packet->direction << 32 | old,
		secret->word[2], secret->word[3]);
}

uint32_t
rewrite_identification(const struct flow_secret *secret, const struct packet *packet, uint32_t old)
{
	return identification(secret, packet, old);
}

/* @return what a fresh identification adds to the sum of the header */
static inline uint16_t
rewrite_packet_id(
	const struct flow_secret *secret, const struct packet *packet, struct rte_ipv4_hdr *ip)
{
	rte_be16_t old = ip->packet_id;

	ip->packet_id =
		rte_cpu_to_be_16((uint16_t)identification(secret, packet, rte_be_to_cpu_16(old)));
	return checksum_sum_add(ip->packet_id, (uint16_t)~old);
}

static inline void
rewrite_ipv4(const struct flow_secret *secret, struct rte_mbuf *mbuf, const struct packet *packet,
	const struct flow *flow)
{
	struct rte_ipv4_hdr *ip = packet_header(mbuf, packet->l3_offset, struct rte_ipv4_hdr *);
	const rte_be32_t *other = flow->v4[!packet->direction];
	uint16_t delta =
		checksum_sum_add(checksum_delta(flow->address_delta, packet->direction), HOP_DELTA);

	ip->src_addr = other[1];
	ip->dst_addr = other[0];
	ip->time_to_live--;
	if ((packet->flags & PACKET_DF) == 0)
		delta = checksum_sum_add(delta, rewrite_packet_id(secret, packet, ip));
	ip->hdr_checksum = checksum_adjust(ip->hdr_checksum, delta);
}

static void
rewrite_ipv6(struct rte_mbuf *mbuf, const struct packet *packet, const struct flow *flow)
{
	uint8_t *ip = packet_header(mbuf, packet->l3_offset, uint8_t *);
	struct tuple other;

	flow_tuple(flow, !packet->direction, &other);
	memcpy(ip + offsetof(struct rte_ipv6_hdr, src_addr), &other.destination,
		sizeof(other.destination));
	memcpy(ip + offsetof(struct rte_ipv6_hdr, dst_addr), &other.source, sizeof(other.source));
	ip[offsetof(struct rte_ipv6_hdr, hop_limits)]--;
}

static void
rewrite_error(const struct flow_secret *secret, struct rte_mbuf *mbuf, const struct packet *packet)
{
	icmp_rewrite(mbuf);
	if (packet->tuple.family == FAMILY_IPV4 && (packet->flags & PACKET_DF) == 0) {
		struct rte_ipv4_hdr *ip =
			packet_header(mbuf, packet->l3_offset, struct rte_ipv4_hdr *);

		ip->hdr_checksum =
			checksum_adjust(ip->hdr_checksum, rewrite_packet_id(secret, packet, ip));
	}
}

void
rewrite_burst(const struct flow_secret *secret, struct rte_mbuf *const *burst, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = burst[i];
		const struct packet *packet = packet_of(mbuf);

		if (unlikely((packet->flags & PACKET_ICMP_ERROR) != 0)) {
			rewrite_error(secret, mbuf, packet);
			continue;
		}
		if (likely(packet->tuple.family == FAMILY_IPV4))
			rewrite_ipv4(secret, mbuf, packet, packet->flow);
		else
			rewrite_ipv6(mbuf, packet, packet->flow);
		rewrite_l4(mbuf, packet, packet->flow);
	}
}
