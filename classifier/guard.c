/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guard: may this station say this here?
 *
 * In order: the frame must be addressed to us (or, for ARP and neighbour discovery, to everybody);
 * a qube must use its own MAC and its own address, and no other; what comes across the uplink must
 * have a source that can exist; nobody sends to multicast, broadcast or loopback through a router,
 * nor to himself. ARP and neighbour discovery carry addresses of their own, and those are held to
 * the same rules. The answer to all of it is silence.
 *
 * Fragments are held to all of this one by one, so that none waits for its datagram that could not
 * have come as a packet. The datagram then passes here once more, with its ports.
 *
 * Only compares with what the port and the policy hold ready: no table is searched for a packet
 * that belongs to a flow.
 */
#include "classifier/guard.h"
#include "classifier/configuring.h"

#include <netinet/in.h>

#include <rte_arp.h>
#include <rte_ether.h>

#define ND_HOP_LIMIT 255
#define DNS_PORT RTE_BE16(53)

/* RFC 4861: the neighbour discovery messages, all ICMPv6. */
enum nd_type {
	ND_ROUTER_SOLICITATION = 133,
	ND_ROUTER_ADVERTISEMENT = 134,
	ND_NEIGHBOUR_SOLICITATION = 135,
	ND_NEIGHBOUR_ADVERTISEMENT = 136,
	ND_REDIRECT = 137,
};

static inline bool
ipv4_is_martian(rte_be32_t address)
{
	uint32_t host = rte_be_to_cpu_32(address);
	uint32_t top = host >> 24;

	/* 0/8 this network, 127/8 loopback, 224/4 multicast, 240/4 reserved and broadcast */
	return top == 0 || top == 127 || top >= 224;
}

static inline bool
ipv6_is_multicast(const union address *address)
{
	return address->v6[0] == 0xff;
}

static inline bool
ipv6_is_link_local(const union address *address)
{
	return address->v6[0] == 0xfe && (address->v6[1] & 0xc0) == 0x80;
}

static inline bool
ipv6_is_martian(const union address *address)
{
	/* ::/96 holds the unspecified, loopback and IPv4-compatible addresses, ::ffff:0:0/96 the
	 * mapped ones */
	return ipv6_is_multicast(address) || ipv6_is_link_local(address) ||
	       (address->half[0] == 0 &&
		       (address->word[2] == 0 || address->word[2] == RTE_BE32(0xffff)));
}

/* Whom an IPv6 address could be known to, beyond those that are no host's at all. */
enum reach {
	REACH_GLOBAL,
	REACH_UNIQUE_LOCAL,  /* RFC 4193: fc00::/7 */
	REACH_DOCUMENTATION, /* RFC 3849, RFC 9637: 2001:db8::/32, 3fff::/20 */
};

static inline enum reach
ipv6_reach(const union address *address)
{
	if ((address->v6[0] & 0xfe) == 0xfc)
		return REACH_UNIQUE_LOCAL;
	if (address->word[0] == RTE_BE32(0x20010db8) ||
		(address->word[0] & RTE_BE32(0xfffff000)) == RTE_BE32(0x3fff0000))
		return REACH_DOCUMENTATION;
	return REACH_GLOBAL;
}

/*
 * Nobody out there has an address that is not routed there (RFC 6092 REC-3 and REC-7),
 * unless the uplink is such a place itself, as in a laboratory or behind another NAT.
 */
static inline bool
ipv6_reaches_uplink(const struct policy *policy, const union address *source)
{
	const struct policy_port *uplink = &policy->ports[policy->uplink];
	enum reach reach = ipv6_reach(source);

	return likely(reach == REACH_GLOBAL) ||
	       (uplink->has[FAMILY_IPV6] && reach == ipv6_reach(&uplink->address[FAMILY_IPV6]));
}

bool
address_is_martian(enum family family, const union address *address)
{
	return family == FAMILY_IPV4 ? ipv4_is_martian(address->v4) : ipv6_is_martian(address);
}

/* ARP for IPv4 over Ethernet (RFC 826): who says so, and on whose behalf. */
static enum reason
guard_arp(const struct policy *policy, const struct qube *qube, const struct rte_mbuf *mbuf,
	const struct packet *packet)
{
	const struct rte_arp_hdr *arp;
	const struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(mbuf, const struct rte_ether_hdr *);
	union address sender;
	uint16_t owner_qube;

	if (rte_pktmbuf_data_len(mbuf) < packet->l3_offset + sizeof(*arp))
		return REASON_ARP;
	arp = packet_header(mbuf, packet->l3_offset, const struct rte_arp_hdr *);
	if (arp->arp_hardware != RTE_BE16(RTE_ARP_HRD_ETHER) ||
		arp->arp_protocol != RTE_BE16(RTE_ETHER_TYPE_IPV4) ||
		arp->arp_hlen != RTE_ETHER_ADDR_LEN || arp->arp_plen != sizeof(rte_be32_t))
		return REASON_ARP;
	if (arp->arp_opcode != RTE_BE16(RTE_ARP_OP_REQUEST) &&
		arp->arp_opcode != RTE_BE16(RTE_ARP_OP_REPLY))
		return REASON_ARP;
	if (mac_word(&arp->arp_data.arp_sha) != mac_word(&ethernet->src_addr))
		return REASON_ARP;
	sender = address_v4(arp->arp_data.arp_sip);
	if (qube != NULL) {
		if (!qube->has[FAMILY_IPV4] || (sender.v4 != 0 && /* RFC 5227 probe */
						       sender.v4 != qube->address[FAMILY_IPV4].v4))
			return REASON_ARP;
		return REASON_NONE;
	}
	/* Somebody out there claims an address of ours or of a qube. */
	if (policy_owner(policy, FAMILY_IPV4, &sender, &owner_qube) != OWNER_NONE)
		return REASON_ARP;
	if (sender.v4 != 0 && ipv4_is_martian(sender.v4))
		return REASON_ARP;
	return REASON_NONE;
}

/* Neighbour discovery (RFC 4861): the checks of sections 6.1, 7.1 and 8.1. */
static enum reason
guard_nd(const struct policy *policy, const struct qube *qube, const struct packet *packet)
{
	const union address *source = &packet->tuple.source;
	uint16_t owner_qube;

	if (packet->ttl != ND_HOP_LIMIT || packet->icmp_code != 0)
		return REASON_NEIGHBOUR_DISCOVERY;
	if (packet->icmp_type == ND_REDIRECT)
		return REASON_NEIGHBOUR_DISCOVERY;
	if (qube != NULL) {
		if (packet->icmp_type == ND_ROUTER_ADVERTISEMENT)
			return REASON_NEIGHBOUR_DISCOVERY;
		if (!qube->has[FAMILY_IPV6] && !(qube->host && policy->configuring))
			return REASON_SOURCE_ADDRESS;
		if (!address_is_zero(source) && !ipv6_is_link_local(source) &&
			!address_equal(source, &qube->address[FAMILY_IPV6]))
			return REASON_SOURCE_ADDRESS;
		return REASON_NONE;
	}
	/* Unspecified is who has no address yet; a link may have all kinds of addresses. */
	if (ipv6_is_martian(source) && !ipv6_is_link_local(source) && !address_is_zero(source))
		return REASON_MARTIAN_SOURCE;
	if (policy_owner(policy, FAMILY_IPV6, source, &owner_qube) != OWNER_NONE)
		return REASON_NEIGHBOUR_DISCOVERY;
	return REASON_NONE;
}

static inline bool
is_local(const struct policy *policy, const struct packet *packet)
{
	enum family family = packet->tuple.family;
	const union address *destination = &packet->tuple.destination;
	const struct policy_port *uplink = &policy->ports[policy->uplink];

	return (policy->has_gateway[family] &&
		       address_equal(destination, &policy->gateway[family])) ||
	       (uplink->has[family] && address_equal(destination, &uplink->address[family]));
}

static inline bool
is_virtual_dns(const struct policy *policy, const struct packet *packet)
{
	if (likely(packet->tuple.destination_port != DNS_PORT) ||
		packet->tuple.family != FAMILY_IPV4 ||
		(packet->tuple.protocol != IPPROTO_UDP && packet->tuple.protocol != IPPROTO_TCP))
		return false;
	for (unsigned i = 0; i < policy->virtual_dns_count; i++)
		if (packet->tuple.destination.v4 == policy->virtual_dns[i])
			return true;
	return false;
}

/* Whether what is said to configure the uplink is said here. */
static bool
is_configuring(const struct policy *policy, bool from_host, uint64_t own_mac,
	const struct rte_mbuf *mbuf, struct packet *packet)
{
	enum configuring kind = configuring_message(policy, from_host, own_mac, mbuf, packet).kind;

	if (kind == CONFIGURING_NOT)
		return false;
	packet->flags |= PACKET_CONFIGURING;
	return kind == CONFIGURING_PASS;
}

/* A frame on a qube's port. */
static inline enum reason
guard_qube(const struct policy *policy, const struct guard_port *port, const struct qube *qube,
	const struct rte_mbuf *mbuf, struct packet *packet)
{
	const struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(mbuf, const struct rte_ether_hdr *);
	uint64_t source_mac = mac_word(&ethernet->src_addr);
	enum family family = packet->tuple.family;

	if (unlikely(source_mac != port->peer_mac || source_mac == 0)) {
		/* Nobody has the MAC of six zeros: it stands for one not known yet. */
		if (port->peer_mac != 0 || source_mac == 0 || source_mac == port->own_mac ||
			(source_mac & 1) != 0)
			return REASON_SOURCE_MAC;
		if (packet->kind != PACKET_ARP && (packet->flags & PACKET_ND) == 0 && !port->learn)
			return REASON_MAC_UNKNOWN;
	}
	if (unlikely(qube->host && policy->configuring) &&
		is_configuring(policy, true, 0, mbuf, packet))
		return REASON_NONE;
	if (unlikely(packet->kind == PACKET_ARP))
		return guard_arp(policy, qube, mbuf, packet);
	if (unlikely((packet->flags & PACKET_ND) != 0))
		return guard_nd(policy, qube, packet);
	if (unlikely(mac_word(&ethernet->dst_addr) != port->own_mac) &&
		(!qube->host || (ethernet->dst_addr.addr_bytes[0] & 1) != 0)) {
		/* Name what is wrong with it most: a multicast packet is nobody's mistake. */
		return (ethernet->dst_addr.addr_bytes[0] & 1) != 0 ? REASON_MARTIAN_DESTINATION
								   : REASON_OTHER_MAC;
	}
	if (unlikely(!qube->has[family] ||
		     !address_equal(&packet->tuple.source, &qube->address[family])))
		return REASON_SOURCE_ADDRESS;
	if (unlikely(address_equal(&packet->tuple.source, &packet->tuple.destination)))
		return REASON_LAND;
	if (unlikely(address_is_martian(family, &packet->tuple.destination)))
		return REASON_MARTIAN_DESTINATION;
	if (unlikely(is_local(policy, packet)))
		packet->flags |= PACKET_LOCAL;
	else if (unlikely(is_virtual_dns(policy, packet)))
		packet->flags |= PACKET_DNS;
	return REASON_NONE;
}

/* A frame on the uplink. */
static inline enum reason
guard_uplink(const struct policy *policy, const struct guard_port *port,
	const struct rte_mbuf *mbuf, struct packet *packet)
{
	const struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(mbuf, const struct rte_ether_hdr *);
	enum family family = packet->tuple.family;

	uint64_t source_mac = mac_word(&ethernet->src_addr);

	if (unlikely(source_mac == port->own_mac || source_mac == 0 ||
		     (ethernet->src_addr.addr_bytes[0] & 1) != 0))
		return REASON_SOURCE_MAC;
	if (unlikely(policy->configuring) &&
		is_configuring(policy, false, port->own_mac, mbuf, packet))
		return REASON_NONE;
	if (unlikely(packet->kind == PACKET_ARP))
		return guard_arp(policy, NULL, mbuf, packet);
	if (unlikely((packet->flags & PACKET_ND) != 0))
		return guard_nd(policy, NULL, packet);
	if (unlikely(mac_word(&ethernet->dst_addr) != port->own_mac))
		return (ethernet->dst_addr.addr_bytes[0] & 1) != 0 ? REASON_MARTIAN_DESTINATION
								   : REASON_OTHER_MAC;
	if (unlikely(address_is_martian(family, &packet->tuple.source)))
		return REASON_MARTIAN_SOURCE;
	if (family == FAMILY_IPV6 && unlikely(!ipv6_reaches_uplink(policy, &packet->tuple.source)))
		/* Name what is wrong with it most: it may be one of our own. */
		return guard_unsolicited(policy, packet) == REASON_DOWNSTREAM_SOURCE
			       ? REASON_DOWNSTREAM_SOURCE
			       : REASON_MARTIAN_SOURCE;
	if (unlikely(address_equal(&packet->tuple.source, &packet->tuple.destination)))
		return REASON_LAND;
	if (unlikely(address_is_martian(family, &packet->tuple.destination)))
		return REASON_MARTIAN_DESTINATION;
	return REASON_NONE;
}

unsigned
guard_burst(const struct policy *policy, struct guard_port *port, struct rte_mbuf **burst,
	unsigned count)
{
	const struct policy_port *policy_port = &policy->ports[port->index];
	const struct qube *qube = NULL;
	struct guard_port known = *port;
	struct rte_mbuf *rejected[BURST_MAX];
	bool special = false;
	unsigned passed = 0;
	unsigned failed = 0;

	if (unlikely(policy_port->role != ROLE_UPLINK && policy_port->qube == QUBE_NONE)) {
		port->special = false;
		for (unsigned i = 0; i < count; i++)
			packet_of(burst[i])->reason = REASON_PORT_GONE;
		return 0;
	}
	if (policy_port->role != ROLE_UPLINK)
		qube = &policy->qubes[policy_port->qube];
	for (unsigned i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = burst[i];
		struct packet *packet = packet_of(mbuf);
		enum reason reason;

		if (qube != NULL) {
			packet->qube = policy_port->qube;
			reason = guard_qube(policy, &known, qube, mbuf, packet);
		} else {
			reason = guard_uplink(policy, &known, mbuf, packet);
		}
		packet->reason = (uint8_t)reason;
		if (unlikely(reason != REASON_NONE)) {
			rejected[failed++] = mbuf;
			continue;
		}
		burst[passed++] = mbuf;
		special |= packet_is_special(packet);
		/* The first packet to pass teaches, and those behind it are held to it. */
		if (unlikely(known.learn && known.peer_mac == 0 && qube != NULL))
			known.peer_mac = mac_word(
				&rte_pktmbuf_mtod(mbuf, const struct rte_ether_hdr *)->src_addr);
	}
	memcpy(burst + passed, rejected, failed * sizeof(rejected[0]));
	port->special = special;
	return passed;
}

enum reason
guard_unsolicited(const struct policy *policy, const struct packet *packet)
{
	uint16_t qube;

	return policy_owner(policy, packet->tuple.family, &packet->tuple.source, &qube) ==
			       OWNER_NONE
		       ? REASON_NO_FLOW
		       : REASON_DOWNSTREAM_SOURCE;
}
