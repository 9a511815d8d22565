/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Telling DHCP and IPv6 discovery messages that may pass between host and uplink.
 *
 * Every one of these is one packet in one piece, with its ports, addresses and types as the RFC has
 * them for a client and its server, or a host and its router. Whatever deviates is a packet like
 * any other, and as such has no flow, and ends.
 */
#include "classifier/configuring.h"

#include <netinet/in.h>

#include <rte_ether.h>

#include "classifier/guard.h"

#define DHCP_SERVER RTE_BE16(67)
#define DHCP_CLIENT RTE_BE16(68)
#define DHCPV6_CLIENT RTE_BE16(546)
#define DHCPV6_SERVER RTE_BE16(547)
#define DHCP_COOKIE RTE_BE32(0x63825363)

#define BOOTREQUEST 1
#define BOOTREPLY 2
#define HARDWARE_ETHERNET 1

#define DHCPV6_ADVERTISE 2
#define DHCPV6_REPLY 7

#define ND_ROUTER_SOLICITATION 133
#define ND_ROUTER_ADVERTISEMENT 134
#define ND_NEIGHBOUR_SOLICITATION 135
#define ND_NEIGHBOUR_ADVERTISEMENT 136
#define ND_HOP_LIMIT 255
#define ND_ROUTER_LEAST 8         /* RFC 4861 section 4.1 */
#define ND_ADVERTISEMENT_LEAST 16 /* section 4.2 */
#define ND_TARGET_AT 8            /* of a neighbour message; with it 24 bytes */

/* RFC 2131 section 2, up to and with the cookie. */
struct dhcp {
	uint8_t op, hardware, hardware_length, hops;
	uint32_t id;
	rte_be16_t seconds, flags;
	rte_be32_t addresses[4];
	uint8_t mac[16];
	uint8_t names[64 + 128];
	rte_be32_t cookie;
} __attribute__((packed, aligned(2)));
_Static_assert(sizeof(struct dhcp) == 240, "as on the wire");

static const union address all_nodes = {.v6 = {0xff, 0x02, [15] = 0x01}};
static const union address all_routers = {.v6 = {0xff, 0x02, [15] = 0x02}};
static const union address all_dhcp = {.v6 = {0xff, 0x02, [13] = 0x01, [15] = 0x02}};

static bool
is_link_local(const union address *address)
{
	return address->v6[0] == 0xfe && (address->v6[1] & 0xc0) == 0x80;
}

/* The solicited-node groups, ff02::1:ff00:0/104. */
static bool
is_solicited_node(const union address *address)
{
	static const uint8_t group[13] = {0xff, 0x02, [11] = 0x01, [12] = 0xff};

	return memcmp(address->v6, group, sizeof(group)) == 0;
}

/* What lies behind the headers, if that is at least @p least bytes in one piece. */
static const void *
payload(const struct rte_mbuf *mbuf, uint16_t at, uint32_t least)
{
	if (mbuf->nb_segs != 1 || rte_pktmbuf_data_len(mbuf) < at + least)
		return NULL;
	return packet_header(mbuf, at, const void *);
}

static struct configuring_message
dhcp_message(
	bool from_host, uint64_t own_mac, const struct rte_mbuf *mbuf, const struct packet *packet)
{
	const struct tuple *tuple = &packet->tuple;
	const struct dhcp *dhcp = payload(mbuf, packet->payload_offset, sizeof(*dhcp));
	struct configuring_message message = {.protocol = CONFIGURING_DHCP};

	if (dhcp == NULL || dhcp->cookie != DHCP_COOKIE || dhcp->hardware != HARDWARE_ETHERNET ||
		dhcp->hardware_length != RTE_ETHER_ADDR_LEN)
		return message;
	message.id = dhcp->id;
	if (from_host && tuple->source_port == DHCP_CLIENT &&
		tuple->destination_port == DHCP_SERVER && dhcp->op == BOOTREQUEST) {
		/* To renew a lease it speaks to its server as to anybody. */
		message.kind = tuple->destination.v4 == INADDR_BROADCAST ? CONFIGURING_PASS
									 : CONFIGURING_NOTE;
	} else if (!from_host && tuple->source_port == DHCP_SERVER &&
		   tuple->destination_port == DHCP_CLIENT && dhcp->op == BOOTREPLY &&
		   !address_is_martian(FAMILY_IPV4, &tuple->source) &&
		   mac_word(dhcp->mac) == own_mac) {
		message.kind = CONFIGURING_PASS;
	}
	return message;
}

static struct configuring_message
dhcpv6_message(bool from_host, const struct rte_mbuf *mbuf, const struct packet *packet)
{
	const struct tuple *tuple = &packet->tuple;
	const rte_be32_t *head = payload(mbuf, packet->payload_offset, sizeof(*head));
	struct configuring_message message = {.protocol = CONFIGURING_DHCPV6};
	uint32_t word;
	bool passes;

	if (head == NULL || !is_link_local(&tuple->source))
		return message;
	memcpy(&word, head, sizeof(word));
	word = rte_be_to_cpu_32(word); /* type, and 24 bits of number */
	message.id = word & 0xffffff;
	if (from_host)
		passes = tuple->source_port == DHCPV6_CLIENT &&
			 tuple->destination_port == DHCPV6_SERVER &&
			 address_equal(&tuple->destination, &all_dhcp);
	else
		passes = tuple->source_port == DHCPV6_SERVER &&
			 tuple->destination_port == DHCPV6_CLIENT &&
			 is_link_local(&tuple->destination) &&
			 (word >> 24 == DHCPV6_ADVERTISE || word >> 24 == DHCPV6_REPLY);
	if (passes)
		message.kind = CONFIGURING_PASS;
	return message;
}

static enum configuring
discovery_from_host(const struct packet *packet, const union address *target)
{
	const union address *source = &packet->tuple.source;
	const union address *destination = &packet->tuple.destination;

	switch (packet->icmp_type) {
	case ND_ROUTER_SOLICITATION:
		return (address_is_zero(source) || is_link_local(source)) &&
				       address_equal(destination, &all_routers)
			       ? CONFIGURING_PASS
			       : CONFIGURING_NOT;
	case ND_NEIGHBOUR_SOLICITATION:
		/* Is there anybody who has the address that I want? All else is asked of us. */
		return target != NULL && address_is_zero(source) && is_solicited_node(destination)
			       ? CONFIGURING_PASS
			       : CONFIGURING_NOT;
	case ND_NEIGHBOUR_ADVERTISEMENT:
		return target != NULL && is_link_local(target) && address_equal(source, target) &&
				       (is_link_local(destination) ||
					       address_equal(destination, &all_nodes))
			       ? CONFIGURING_PASS
			       : CONFIGURING_NOT;
	default:
		return CONFIGURING_NOT;
	}
}

static enum configuring
discovery_from_uplink(const struct packet *packet, const union address *target)
{
	const union address *source = &packet->tuple.source;
	const union address *destination = &packet->tuple.destination;

	switch (packet->icmp_type) {
	case ND_ROUTER_ADVERTISEMENT:
		return is_link_local(source) && (is_link_local(destination) ||
							address_equal(destination, &all_nodes))
			       ? CONFIGURING_PASS
			       : CONFIGURING_NOT;
	case ND_NEIGHBOUR_SOLICITATION:
		/* Who has the host's link-local address, to send it what it has asked for? And
		   somebody else who wants an address of the host's must hear of it. */
		return target != NULL && is_link_local(target) &&
				       (is_link_local(source) || address_is_zero(source))
			       ? CONFIGURING_PASS
			       : CONFIGURING_NOT;
	case ND_NEIGHBOUR_ADVERTISEMENT:
		/* Somebody has the address that the host wants. Our neighbours say it so, too. */
		return target != NULL && address_equal(destination, &all_nodes) ? CONFIGURING_COPY
										: CONFIGURING_NOT;
	default:
		return CONFIGURING_NOT;
	}
}

static struct configuring_message
discovery_message(bool from_host, const struct rte_mbuf *mbuf, const struct packet *packet)
{
	struct configuring_message message = {.protocol = CONFIGURING_DISCOVERY};
	uint32_t least = packet->icmp_type == ND_ROUTER_SOLICITATION ? ND_ROUTER_LEAST
			 : packet->icmp_type == ND_ROUTER_ADVERTISEMENT
				 ? ND_ADVERTISEMENT_LEAST
				 : ND_TARGET_AT + sizeof(union address);
	const uint8_t *body = payload(mbuf, packet->l4_offset, least);
	union address target;

	if (body == NULL || packet->ttl != ND_HOP_LIMIT || packet->icmp_code != 0)
		return message;
	if (packet->icmp_type == ND_NEIGHBOUR_SOLICITATION ||
		packet->icmp_type == ND_NEIGHBOUR_ADVERTISEMENT) {
		memcpy(&target, body + ND_TARGET_AT, sizeof(target));
		if (target.v6[0] == 0xff)
			return message;
	} else {
		target = packet->tuple.source;
	}
	message.kind = from_host ? discovery_from_host(packet, &target)
				 : discovery_from_uplink(packet, &target);
	return message;
}

struct configuring_message
configuring_message(const struct policy *policy, bool from_host, uint64_t own_mac,
	const struct rte_mbuf *mbuf, const struct packet *packet)
{
	const struct configuring_message nothing = {.kind = CONFIGURING_NOT};
	const struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(mbuf, const struct rte_ether_hdr *);
	uint64_t to = mac_word(&ethernet->dst_addr);
	uint16_t qube;

	if (packet->kind != PACKET_IP ||
		(packet->flags & (PACKET_FRAGMENT | PACKET_ICMP_ERROR)) != 0 ||
		packet->fragment_size != 0)
		return nothing;
	/* What is for another station is nobody's here, nor what bears the name of one of ours. */
	if (!from_host && ((to != own_mac && (to & 1) == 0) ||
				  policy_owner(policy, packet->tuple.family, &packet->tuple.source,
					  &qube) != OWNER_NONE))
		return nothing;
	if ((packet->flags & PACKET_ND) != 0)
		return discovery_message(from_host, mbuf, packet);
	if (packet->tuple.protocol != IPPROTO_UDP)
		return nothing;
	return packet->tuple.family == FAMILY_IPV4 ? dhcp_message(from_host, own_mac, mbuf, packet)
						   : dhcpv6_message(from_host, mbuf, packet);
}
