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

/* What one packet becomes: the tuple of the other direction reversed, and what that adds to sums.
 */
struct change {
	const struct flow *flow;
	unsigned direction;
	uint16_t address_delta, port_delta;
};

/* Add what up to some ten thousand 16-bit words sum up to. @return the new content of the field */
static inline uint16_t
checksum_add(uint16_t checksum, uint32_t sum)
{
	sum += (uint16_t)~checksum;
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~(sum + (sum >> 16));
}

static inline void
rewrite_ports(const struct change *change, void *l4)
{
	uint32_t ports;

	memcpy(&ports, change->flow->port[!change->direction], sizeof(ports));
	ports = ports << 16 | ports >> 16;
	memcpy(l4, &ports, sizeof(ports));
}

/*
 * The checksum field of a TCP or UDP header. Only the pseudo-header sum, not complemented, stands
 * in it when the sender left the rest to the hardware; then ports are not in it yet.
 */
static inline uint16_t
l4_checksum(const struct rte_mbuf *mbuf, uint16_t checksum, const struct change *change)
{
	if ((mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		return checksum_sum_add(checksum, change->address_delta);
	return checksum_add(checksum, (uint32_t)change->address_delta + change->port_delta);
}

static inline void
rewrite_l4(struct rte_mbuf *mbuf, const struct packet *packet, const struct change *change)
{
	uint8_t *l4 = packet_header(mbuf, packet->l4_offset, uint8_t *);

	switch (packet->tuple.protocol) {
	case IPPROTO_UDP: {
		struct rte_udp_hdr *udp = (struct rte_udp_hdr *)l4;
		uint16_t checksum = udp->dgram_cksum;

		rewrite_ports(change, l4);
		if (checksum == 0) /* RFC 768: the sender made none */
			return;
		checksum = l4_checksum(mbuf, checksum, change);
		udp->dgram_cksum = checksum != 0 ? checksum : 0xffff;
		return;
	}
	case IPPROTO_TCP: {
		struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)l4;

		rewrite_ports(change, l4);
		tcp->cksum = l4_checksum(mbuf, tcp->cksum, change);
		return;
	}
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6: {
		/* The side that did not ask has port zero (see struct tuple). */
		const rte_be16_t *other = change->flow->port[!change->direction];
		rte_be16_t identifier = other[0] | other[1];
		uint32_t delta = change->port_delta;
		uint16_t checksum;

		if ((packet->flags & PACKET_ICMP_QUERY) == 0)
			return;
		if (packet->tuple.protocol == IPPROTO_ICMPV6)
			delta += change->address_delta;
		memcpy(&checksum, l4 + ICMP_CHECKSUM_OFFSET, sizeof(checksum));
		checksum = checksum_add(checksum, delta);
		memcpy(l4 + ICMP_CHECKSUM_OFFSET, &checksum, sizeof(checksum));
		memcpy(l4 + ICMP_IDENTIFIER_OFFSET, &identifier, sizeof(identifier));
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
static inline uint32_t
rewrite_packet_id(
	const struct flow_secret *secret, const struct packet *packet, struct rte_ipv4_hdr *ip)
{
	rte_be16_t old = ip->packet_id;
	rte_be16_t fresh =
		rte_cpu_to_be_16((uint16_t)identification(secret, packet, rte_be_to_cpu_16(old)));

	ip->packet_id = fresh;
	return (uint32_t)fresh + (uint16_t)~old;
}

static inline void
rewrite_ipv4(const struct flow_secret *secret, struct rte_mbuf *mbuf, const struct packet *packet,
	const struct change *change)
{
	struct rte_ipv4_hdr *ip = packet_header(mbuf, packet->l3_offset, struct rte_ipv4_hdr *);
	uint32_t delta = (uint32_t)change->address_delta + HOP_DELTA;
	uint64_t addresses;

	memcpy(&addresses, change->flow->v4[!change->direction], sizeof(addresses));
	addresses = addresses << 32 | addresses >> 32;
	memcpy(&ip->src_addr, &addresses, sizeof(addresses));
	ip->time_to_live--;
	if ((packet->flags & PACKET_DF) == 0)
		delta += rewrite_packet_id(secret, packet, ip);
	ip->hdr_checksum = checksum_add(ip->hdr_checksum, delta);
}
_Static_assert(offsetof(struct rte_ipv4_hdr, dst_addr) ==
		       offsetof(struct rte_ipv4_hdr, src_addr) + sizeof(rte_be32_t),
	"both addresses are written as one word");

static inline void
change_find(struct change *change, const struct packet *packet)
{
	change->flow = packet->flow;
	change->direction = packet->direction;
	change->address_delta = change->flow->address_delta;
	change->port_delta = change->flow->port_delta;
	if (change->direction != DIRECTION_ORIGINAL) {
		change->address_delta = checksum_delta(change->address_delta, DIRECTION_REPLY);
		change->port_delta = checksum_delta(change->port_delta, DIRECTION_REPLY);
	}
}

static void
rewrite_ipv6(struct rte_mbuf *mbuf, const struct packet *packet, const struct change *change)
{
	uint8_t *ip = packet_header(mbuf, packet->l3_offset, uint8_t *);
	struct tuple other;

	flow_tuple(change->flow, !change->direction, &other);
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
			checksum_add(ip->hdr_checksum, rewrite_packet_id(secret, packet, ip));
	}
}

void
rewrite_burst(const struct flow_secret *secret, struct rte_mbuf *const *burst, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = burst[i];
		const struct packet *packet = packet_of(mbuf);
		struct change change;

		if (unlikely((packet->flags & PACKET_ICMP_ERROR) != 0)) {
			rewrite_error(secret, mbuf, packet);
			continue;
		}
		change_find(&change, packet);
		if (likely(packet->tuple.family == FAMILY_IPV4))
			rewrite_ipv4(secret, mbuf, packet, &change);
		else
			rewrite_ipv6(mbuf, packet, &change);
		rewrite_l4(mbuf, packet, &change);
	}
}
