/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Visible and real addresses, exchanged. See mapped.h.
 *
 * Frames that arrive come from outside and have not been parsed: nothing in them is believed, every
 * offset is checked against the first segment and the length that the IP header announces. What
 * does not fit is not changed; parse knows the reason to drop it for.
 */
#include "nat/mapped.h"

#include <netinet/in.h>

#include <rte_arp.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "nat/flow.h"

#define ICMP_HEADER 8
#define ICMP_CHECKSUM 2
#define ICMP_UNREACHABLE 3
#define ICMP_QUENCH 4
#define ICMP_REDIRECT 5
#define ICMP_TIME 11
#define ICMP_PARAMETER 12
#define CHECKSUM_ABSENT 0 /* UDP over IPv4 */

/* Up to two addresses that become two others. */
struct exchange {
	unsigned count;
	rte_be32_t from[2], to[2];
};

static struct exchange
exchange_of(const struct policy *policy, uint16_t port, bool arrive)
{
	const struct qube *qube = &policy->qubes[policy->ports[port].qube];
	struct exchange exchange = {.count = 1};

	exchange.from[0] = arrive ? qube->visible : qube->address[FAMILY_IPV4].v4;
	exchange.to[0] = arrive ? qube->address[FAMILY_IPV4].v4 : qube->visible;
	if (qube->visible_gateway != 0 && policy->has_gateway[FAMILY_IPV4]) {
		rte_be32_t gateway = policy->gateway[FAMILY_IPV4].v4;

		exchange.from[1] = arrive ? qube->visible_gateway : gateway;
		exchange.to[1] = arrive ? gateway : qube->visible_gateway;
		exchange.count = 2;
	}
	return exchange;
}

/* The difference that a new value of some 16-bit words makes to the sum of what holds them. */
static uint16_t
sum_change32(rte_be32_t before, rte_be32_t after)
{
	uint64_t sum =
		(uint64_t)(after & 0xffff) + (after >> 16) + (~before & 0xffff) + (~before >> 16);

	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* @return the difference that was made, 0 if none */
static uint16_t
address_exchange(const struct exchange *exchange, uint8_t *at)
{
	rte_be32_t address;

	memcpy(&address, at, sizeof(address));
	for (unsigned i = 0; i < exchange->count; i++)
		if (address == exchange->from[i]) {
			memcpy(at, &exchange->to[i], sizeof(exchange->to[i]));
			return sum_change32(address, exchange->to[i]);
		}
	return 0;
}

/* @return the difference between the new content of a field and the old one */
static uint16_t
field_adjust(uint8_t *field, uint16_t delta, bool partial, bool udp)
{
	uint16_t before, after;

	memcpy(&before, field, sizeof(before));
	if (udp && before == CHECKSUM_ABSENT)
		return 0;
	after = partial ? checksum_sum_add(before, delta) : checksum_adjust(before, delta);
	if (udp && after == CHECKSUM_ABSENT)
		after = UINT16_MAX;
	memcpy(field, &after, sizeof(after));
	return checksum_sum_add(after, (uint16_t)~before);
}

/* Where the checksum over the pseudo-header is in an upper layer's header. @return 0: nowhere */
static unsigned
checksum_offset(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return offsetof(struct rte_tcp_hdr, cksum);
	case IPPROTO_UDP:
		return offsetof(struct rte_udp_hdr, dgram_cksum);
	default:
		return 0;
	}
}

/* An IPv4 header that is there as a whole. */
struct header {
	uint8_t *l4;     /* behind it */
	uint32_t length; /* of what is there of the packet behind it, bytes */
	uint8_t protocol;
	bool first; /* the upper layer begins here: not a later fragment */
};

/*
 * Exchange the addresses of an IPv4 header.
 * @param room bytes that are there
 * @return false when there is no such header
 */
static bool
header_exchange(const struct exchange *exchange, uint8_t *l3, uint32_t room, uint16_t *delta,
	struct header *header)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(void *)l3;
	uint32_t length, total;

	if (room < sizeof(*ip) || ip->version_ihl >> 4 != 4)
		return false;
	length = (uint32_t)(ip->version_ihl & 0xf) * 4;
	total = rte_be_to_cpu_16(ip->total_length);
	if (length < sizeof(*ip) || length > room || total < length)
		return false;
	header->l4 = l3 + length;
	header->length = RTE_MIN(room, total) - length;
	header->protocol = ip->next_proto_id;
	header->first = (ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK)) == 0;
	*delta = address_exchange(exchange, l3 + offsetof(struct rte_ipv4_hdr, src_addr));
	*delta = checksum_sum_add(
		*delta, address_exchange(exchange, l3 + offsetof(struct rte_ipv4_hdr, dst_addr)));
	/* Sums of 0 and of 0xffff say the same: neither must become the other for nothing. */
	if (*delta != 0)
		field_adjust(
			l3 + offsetof(struct rte_ipv4_hdr, hdr_checksum), *delta, false, false);
	return true;
}

/* @return the difference that it makes to the sum of the upper layer's header */
static uint16_t
upper_adjust(const struct header *header, uint16_t delta, bool partial)
{
	unsigned offset = checksum_offset(header->protocol);

	if (delta == 0 || !header->first || offset == 0 ||
		header->length < offset + sizeof(uint16_t))
		return 0;
	return field_adjust(header->l4 + offset, delta, partial, header->protocol == IPPROTO_UDP);
}

static bool
is_error(const struct header *header)
{
	if (header->protocol != IPPROTO_ICMP || !header->first || header->length < ICMP_HEADER)
		return false;
	switch (header->l4[0]) {
	case ICMP_UNREACHABLE:
	case ICMP_QUENCH:
	case ICMP_REDIRECT:
	case ICMP_TIME:
	case ICMP_PARAMETER:
		return true;
	default:
		return false;
	}
}

/*
 * What an ICMP error quotes. The quoted header's own checksum undoes what its addresses do to the
 * sum of the error; what is left is the quoted upper layer's checksum.
 */
static void
quote_exchange(const struct exchange *exchange, const struct header *error)
{
	struct header quoted;
	uint16_t delta, change;

	if (!header_exchange(exchange, error->l4 + ICMP_HEADER, error->length - ICMP_HEADER, &delta,
		    &quoted))
		return;
	change = upper_adjust(&quoted, delta, false);
	if (change != 0)
		field_adjust(error->l4 + ICMP_CHECKSUM, change, false, false);
}

static void
ipv4_exchange(const struct exchange *exchange, struct rte_mbuf *mbuf)
{
	struct header header;
	uint16_t delta;

	if (!header_exchange(exchange, rte_pktmbuf_mtod_offset(mbuf, uint8_t *, RTE_ETHER_HDR_LEN),
		    (uint32_t)rte_pktmbuf_data_len(mbuf) - RTE_ETHER_HDR_LEN, &delta, &header))
		return;
	if (is_error(&header))
		quote_exchange(exchange, &header);
	else
		upper_adjust(&header, delta,
			(mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) ==
				RTE_MBUF_F_RX_L4_CKSUM_NONE);
}

static void
arp_exchange(const struct exchange *exchange, struct rte_mbuf *mbuf)
{
	struct rte_arp_hdr *arp =
		rte_pktmbuf_mtod_offset(mbuf, struct rte_arp_hdr *, RTE_ETHER_HDR_LEN);

	if (rte_pktmbuf_data_len(mbuf) < RTE_ETHER_HDR_LEN + sizeof(*arp) ||
		arp->arp_protocol != RTE_BE16(RTE_ETHER_TYPE_IPV4) ||
		arp->arp_hlen != RTE_ETHER_ADDR_LEN || arp->arp_plen != sizeof(rte_be32_t))
		return;
	address_exchange(exchange, (uint8_t *)&arp->arp_data.arp_sip);
	address_exchange(exchange, (uint8_t *)&arp->arp_data.arp_tip);
}

static void
burst_exchange(const struct exchange *exchange, struct rte_mbuf *const *burst, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct rte_ether_hdr *ethernet =
			rte_pktmbuf_mtod(burst[i], const struct rte_ether_hdr *);

		if (rte_pktmbuf_data_len(burst[i]) < sizeof(*ethernet))
			continue;
		if (ethernet->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4))
			ipv4_exchange(exchange, burst[i]);
		else if (ethernet->ether_type == RTE_BE16(RTE_ETHER_TYPE_ARP))
			arp_exchange(exchange, burst[i]);
	}
}

void
mapped_arrive(
	const struct policy *policy, uint16_t port, struct rte_mbuf *const *burst, unsigned count)
{
	const struct exchange exchange = exchange_of(policy, port, true);

	burst_exchange(&exchange, burst, count);
}

void
mapped_leave(
	const struct policy *policy, uint16_t port, struct rte_mbuf *const *burst, unsigned count)
{
	const struct exchange exchange = exchange_of(policy, port, false);

	burst_exchange(&exchange, burst, count);
}
