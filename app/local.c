/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the firewall says for itself: ARP and neighbour discovery on both sides, and the few things
 * a qube may ask its gateway.
 *
 * Towards a qube we are every other host: requests for any address but its own are answered with
 * our MAC (proxy ARP, proxy neighbour discovery), since every qube believes its gateway to be on a
 * link of its own. Towards the uplink we answer for our own address only. The guard has already
 * checked that senders are who they may be.
 *
 * A ping to the gateway is answered; everything else it gets is refused with 3/10 (IPv6 1/1), DHCP
 * replies excepted, which qubes send by habit. Nobody across the uplink hears anything.
 */
#include "app/worker.h"

#include <netinet/in.h>

#include <rte_arp.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include "classifier/guard.h"
#include "nat/rewrite.h"

#define ICMP_ECHO_REPLY 0
#define ICMP_ECHO_REQUEST 8
#define ICMP6_ECHO_REQUEST 128
#define ICMP6_ECHO_REPLY 129
#define ND_NEIGHBOUR_SOLICITATION 135
#define ND_NEIGHBOUR_ADVERTISEMENT 136
#define ND_HOP_LIMIT 255
#define ND_OPTION_SOURCE_LINK 1
#define ND_OPTION_TARGET_LINK 2
#define DHCP_CLIENT_PORT RTE_BE16(68)
#define LOCAL_TTL 64

/* RFC 4861 sections 4.3 and 4.4: both messages have one layout, with one link-layer option. */
struct nd_message {
	uint8_t type;
	uint8_t code;
	uint16_t checksum;
	uint8_t flags;
	uint8_t reserved[3];
	union address target;
	uint8_t option_type;
	uint8_t option_length; /* in units of 8 bytes */
	uint8_t option_mac[RTE_ETHER_ADDR_LEN];
} __attribute__((packed, aligned(2)));

#define ND_MESSAGE_BARE offsetof(struct nd_message, option_type)
#define ND_FLAG_ROUTER 0x80
#define ND_FLAG_SOLICITED 0x40
#define ND_FLAG_OVERRIDE 0x20 /* not for addresses we answer for as a proxy */

/* @param cause the packet that this frame answers; NULL if none */
static struct rte_mbuf *
frame_new(struct worker *worker, uint16_t port, const struct packet *cause,
	const void *destination_mac, rte_be16_t ethertype, uint16_t payload)
{
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(worker->dataplane->pool);
	struct rte_ether_hdr *ethernet;

	if (mbuf == NULL)
		return NULL;
	ethernet = (struct rte_ether_hdr *)(void *)rte_pktmbuf_append(
		mbuf, (uint16_t)(sizeof(*ethernet) + payload));
	if (ethernet == NULL) {
		rte_pktmbuf_free(mbuf);
		return NULL;
	}
	*packet_of(mbuf) =
		(struct packet){.serial = cause != NULL ? cause->serial : 0, .in_port = PORT_NONE};
	memset(ethernet, 0, sizeof(*ethernet) + payload);
	memcpy(&ethernet->dst_addr, destination_mac, RTE_ETHER_ADDR_LEN);
	memcpy(&ethernet->src_addr, worker->dataplane->ports[port].mac, RTE_ETHER_ADDR_LEN);
	ethernet->ether_type = ethertype;
	return mbuf;
}

static void
send_arp(struct worker *worker, uint16_t port, const struct packet *cause, uint16_t opcode,
	const void *destination_mac, rte_be32_t sender, const void *target_mac, rte_be32_t target)
{
	struct rte_mbuf *mbuf = frame_new(worker, port, cause, destination_mac,
		RTE_BE16(RTE_ETHER_TYPE_ARP), sizeof(struct rte_arp_hdr));
	struct rte_arp_hdr *arp;

	if (mbuf == NULL)
		return;
	arp = packet_header(mbuf, RTE_ETHER_HDR_LEN, struct rte_arp_hdr *);
	arp->arp_hardware = RTE_BE16(RTE_ARP_HRD_ETHER);
	arp->arp_protocol = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	arp->arp_hlen = RTE_ETHER_ADDR_LEN;
	arp->arp_plen = sizeof(rte_be32_t);
	arp->arp_opcode = rte_cpu_to_be_16(opcode);
	memcpy(&arp->arp_data.arp_sha, worker->dataplane->ports[port].mac, RTE_ETHER_ADDR_LEN);
	arp->arp_data.arp_sip = sender;
	memcpy(&arp->arp_data.arp_tha, target_mac, RTE_ETHER_ADDR_LEN);
	arp->arp_data.arp_tip = target;
	worker_transmit(worker, port, mbuf);
}

static void
send_nd(struct worker *worker, uint16_t port, const struct packet *cause,
	const void *destination_mac, uint8_t type, uint8_t flags, const union address *source,
	const union address *destination, const union address *target)
{
	struct rte_mbuf *mbuf =
		frame_new(worker, port, cause, destination_mac, RTE_BE16(RTE_ETHER_TYPE_IPV6),
			(uint16_t)(sizeof(struct rte_ipv6_hdr) + sizeof(struct nd_message)));
	struct rte_ipv6_hdr *ip;
	struct nd_message *message;
	uint8_t *raw;

	if (mbuf == NULL)
		return;
	raw = packet_header(mbuf, RTE_ETHER_HDR_LEN, uint8_t *);
	ip = (struct rte_ipv6_hdr *)raw;
	message = (struct nd_message *)(raw + sizeof(*ip));
	ip->vtc_flow = RTE_BE32(UINT32_C(6) << 28);
	ip->payload_len = RTE_BE16(sizeof(*message));
	ip->proto = IPPROTO_ICMPV6;
	ip->hop_limits = ND_HOP_LIMIT;
	memcpy(raw + offsetof(struct rte_ipv6_hdr, src_addr), source, sizeof(*source));
	memcpy(raw + offsetof(struct rte_ipv6_hdr, dst_addr), destination, sizeof(*destination));
	message->type = type;
	message->flags = flags;
	message->target = *target;
	message->option_type =
		type == ND_NEIGHBOUR_SOLICITATION ? ND_OPTION_SOURCE_LINK : ND_OPTION_TARGET_LINK;
	message->option_length = 1;
	memcpy(message->option_mac, worker->dataplane->ports[port].mac, RTE_ETHER_ADDR_LEN);
	message->checksum = rte_ipv6_udptcp_cksum(ip, message);
	worker_transmit(worker, port, mbuf);
}

void
local_solicit(struct worker *worker, uint16_t port, uint16_t neighbour)
{
	static const uint8_t broadcast[RTE_ETHER_ADDR_LEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	static const uint8_t nobody[RTE_ETHER_ADDR_LEN];
	const struct policy *policy = worker->policy;
	const struct policy_port *own = &policy->ports[port];
	const union address *source;
	union address target;
	enum family family =
		neighbour_address(worker->dataplane->ports[port].neighbours, neighbour, &target);

	if (own->role == ROLE_UPLINK) {
		if (!own->has[family])
			return;
		source = &own->address[family];
	} else {
		/* A qube has one MAC for both families: it is asked in one that it has. */
		const struct qube *qube = policy_port_qube(policy, port);

		if (qube == NULL)
			return;
		family = qube->has[FAMILY_IPV4] ? FAMILY_IPV4 : FAMILY_IPV6;
		if (!qube->has[family] || !policy->has_gateway[family])
			return;
		target = qube->address[family];
		source = &policy->gateway[family];
	}
	if (family == FAMILY_IPV4) {
		send_arp(worker, port, NULL, RTE_ARP_OP_REQUEST, broadcast, source->v4, nobody,
			target.v4);
	} else {
		/* RFC 4291 section 2.7.1: the solicited-node group; RFC 2464: its MAC */
		union address group = {.v6 = {0xff, 0x02, [11] = 0x01, [12] = 0xff}};
		uint8_t mac[RTE_ETHER_ADDR_LEN] = {0x33, 0x33, 0xff};

		memcpy(group.v6 + 13, target.v6 + 13, 3);
		memcpy(mac + 3, target.v6 + 13, 3);
		send_nd(worker, port, NULL, mac, ND_NEIGHBOUR_SOLICITATION, 0, source, &group,
			&target);
	}
}

/* Somebody on the uplink told his MAC: only worth keeping if we know him. */
static void
uplink_heard(struct worker *worker, struct port *port, enum family family,
	const union address *address, const void *mac)
{
	uint64_t word = mac_word(mac);

	/* what nobody can have, or only we */
	if (word == 0 || (*(const uint8_t *)mac & 1) != 0 || word == mac_word(port->mac))
		return;
	neighbour_heard(port->neighbours, family, address, word, worker->now_ms);
}

static void
learn_peer(struct worker *worker, struct port *port, const void *mac)
{
	if (neighbour_state(port->neighbours, NEIGHBOUR_PEER) != NEIGHBOUR_REACHABLE)
		neighbour_learn(port->neighbours, NEIGHBOUR_PEER, mac_word(mac), worker->now_ms);
}

static enum reason
local_arp(struct worker *worker, struct port *port, const struct rte_mbuf *mbuf,
	const struct packet *packet)
{
	const struct policy_port *own = &worker->policy->ports[port->index];
	const struct rte_arp_hdr *arp =
		packet_header(mbuf, packet->l3_offset, const struct rte_arp_hdr *);
	union address sender = address_v4(arp->arp_data.arp_sip);
	rte_be32_t target = arp->arp_data.arp_tip;

	if (own->role != ROLE_UPLINK) {
		if (sender.v4 == 0) /* RFC 5227 probe: he may have the address */
			return REASON_LOCAL_IGNORED;
		learn_peer(worker, port, &arp->arp_data.arp_sha);
		if (arp->arp_opcode != RTE_BE16(RTE_ARP_OP_REQUEST) || target == sender.v4)
			return REASON_NONE;
	} else {
		uplink_heard(worker, port, FAMILY_IPV4, &sender, &arp->arp_data.arp_sha);
		if (arp->arp_opcode != RTE_BE16(RTE_ARP_OP_REQUEST))
			return REASON_NONE;
		if (!own->has[FAMILY_IPV4] || target != own->address[FAMILY_IPV4].v4)
			return REASON_LOCAL_IGNORED;
	}
	send_arp(worker, port->index, packet, RTE_ARP_OP_REPLY, &arp->arp_data.arp_sha, target,
		&arp->arp_data.arp_sha, sender.v4);
	return REASON_NONE;
}

/*
 * The link-layer address option of the wanted type, NULL if there is none. Anything malformed
 * spoils the message (RFC 4861 section 7.1.1).
 */
static enum reason
nd_option(const struct rte_mbuf *mbuf, const struct packet *packet, uint8_t wanted,
	const uint8_t **mac)
{
	const uint8_t *options =
		packet_header(mbuf, packet->l4_offset + ND_MESSAGE_BARE, const uint8_t *);
	uint32_t length = packet->frame_length - packet->l4_offset - (uint32_t)ND_MESSAGE_BARE;

	*mac = NULL;
	for (uint32_t at = 0; at < length;) {
		if (length - at < 8 || options[at + 1] == 0 ||
			length - at < (uint32_t)options[at + 1] * 8)
			return REASON_NEIGHBOUR_DISCOVERY;
		if (options[at] == wanted)
			*mac = options + at + 2;
		at += (uint32_t)options[at + 1] * 8;
	}
	return REASON_NONE;
}

/* Whether a message is one that we look into, and complete. */
static enum reason
nd_length(const struct rte_mbuf *mbuf, const struct packet *packet)
{
	if (packet->icmp_type != ND_NEIGHBOUR_SOLICITATION &&
		packet->icmp_type != ND_NEIGHBOUR_ADVERTISEMENT)
		return REASON_LOCAL_IGNORED;
	return packet->frame_length < packet->l4_offset + ND_MESSAGE_BARE ||
			       rte_pktmbuf_data_len(mbuf) != packet->frame_length
		       ? REASON_NEIGHBOUR_DISCOVERY
		       : REASON_NONE;
}

static enum reason
local_nd(struct worker *worker, struct port *port, const struct rte_mbuf *mbuf,
	const struct packet *packet)
{
	const struct policy_port *own = &worker->policy->ports[port->index];
	const struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(mbuf, const struct rte_ether_hdr *);
	const union address *source = &packet->tuple.source;
	bool solicitation = packet->icmp_type == ND_NEIGHBOUR_SOLICITATION;
	uint8_t flags = ND_FLAG_ROUTER | ND_FLAG_SOLICITED;
	uint16_t qube;
	union address target;
	const uint8_t *mac;
	enum reason reason = nd_length(mbuf, packet);

	if (reason != REASON_NONE)
		return reason;
	memcpy(&target,
		packet_header(
			mbuf, packet->l4_offset + offsetof(struct nd_message, target), void *),
		sizeof(target));
	if (target.v6[0] == 0xff)
		return REASON_NEIGHBOUR_DISCOVERY;
	reason = nd_option(
		mbuf, packet, solicitation ? ND_OPTION_SOURCE_LINK : ND_OPTION_TARGET_LINK, &mac);
	if (reason != REASON_NONE)
		return reason;
	if (mac == NULL)
		mac = ethernet->src_addr.addr_bytes;

	if (own->role != ROLE_UPLINK) {
		if (mac_word(mac) != mac_word(&ethernet->src_addr))
			return REASON_NEIGHBOUR_DISCOVERY;
		if (address_is_zero(source)) /* duplicate address detection: he may have it */
			return REASON_LOCAL_IGNORED;
		learn_peer(worker, port, mac);
		if (!solicitation)
			return REASON_NONE;
		if (address_equal(&target, source) ||
			address_equal(
				&target, &worker->policy->qubes[own->qube].address[FAMILY_IPV6]))
			return REASON_LOCAL_IGNORED;
	} else {
		uplink_heard(worker, port, FAMILY_IPV6, solicitation ? source : &target, mac);
		if (!solicitation)
			return REASON_NONE;
		if (!own->has[FAMILY_IPV6] || address_is_zero(source) ||
			!address_equal(&target, &own->address[FAMILY_IPV6]))
			return REASON_LOCAL_IGNORED;
	}
	if (policy_owner(worker->policy, FAMILY_IPV6, &target, &qube) == OWNER_FIREWALL)
		flags |= ND_FLAG_OVERRIDE;
	send_nd(worker, port->index, packet, ethernet->src_addr.addr_bytes,
		ND_NEIGHBOUR_ADVERTISEMENT, flags, &target, source, &target);
	return REASON_NONE;
}

/* Turn an echo request into its reply, in place. */
static void
echo(struct worker *worker, struct port *port, struct rte_mbuf *mbuf, const struct packet *packet)
{
	struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(mbuf, struct rte_ether_hdr *);
	uint8_t *l3 = packet_header(mbuf, packet->l3_offset, uint8_t *);
	uint8_t *icmp = packet_header(mbuf, packet->l4_offset, uint8_t *);
	bool is_long = packet->frame_length - packet->l3_offset > port->mtu;
	uint16_t checksum;
	uint16_t delta;

	ethernet->dst_addr = ethernet->src_addr;
	memcpy(&ethernet->src_addr, port->mac, RTE_ETHER_ADDR_LEN);
	memcpy(&checksum, icmp + 2, sizeof(checksum));
	if (packet->tuple.family == FAMILY_IPV4) {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)l3;

		ip->src_addr = packet->tuple.destination.v4;
		ip->dst_addr = packet->tuple.source.v4;
		ip->time_to_live = LOCAL_TTL;
		/* only fragments need one */
		ip->packet_id = is_long ? rte_cpu_to_be_16((uint16_t)rewrite_identification(
						  &worker->dataplane->secret, packet,
						  rte_be_to_cpu_16(ip->packet_id)))
					: 0;
		ip->fragment_offset = 0;
		ip->hdr_checksum = 0;
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		icmp[0] = ICMP_ECHO_REPLY;
		delta = (uint16_t)~RTE_BE16(ICMP_ECHO_REQUEST << 8);
	} else {
		struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)l3;

		memcpy(l3 + offsetof(struct rte_ipv6_hdr, src_addr), &packet->tuple.destination,
			sizeof(union address));
		memcpy(l3 + offsetof(struct rte_ipv6_hdr, dst_addr), &packet->tuple.source,
			sizeof(union address));
		ip->hop_limits = LOCAL_TTL;
		icmp[0] = ICMP6_ECHO_REPLY;
		/* the addresses have only changed places in the sum */
		delta = RTE_BE16((ICMP6_ECHO_REPLY - ICMP6_ECHO_REQUEST) << 8);
	}
	checksum = checksum_adjust(checksum, delta);
	memcpy(icmp + 2, &checksum, sizeof(checksum));
	if (is_long)
		route_split(worker, mbuf, port->index);
	else
		worker_transmit(worker, port->index, mbuf);
}

static bool
is_echo_request(const struct packet *packet)
{
	if ((packet->flags & PACKET_ICMP_QUERY) == 0 || packet->icmp_code != 0)
		return false;
	if (packet->tuple.family == FAMILY_IPV4)
		return packet->icmp_type == ICMP_ECHO_REQUEST &&
		       packet->l4_offset - packet->l3_offset == sizeof(struct rte_ipv4_hdr);
	return packet->icmp_type == ICMP6_ECHO_REQUEST &&
	       packet->l4_offset - packet->l3_offset == sizeof(struct rte_ipv6_hdr);
}

enum reason
local_refusal(const struct packet *packet)
{
	switch (packet->tuple.protocol) {
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return REASON_LOCAL_IGNORED;
	case IPPROTO_UDP:
		if (packet->tuple.destination_port == DHCP_CLIENT_PORT)
			return REASON_LOCAL_IGNORED;
		return REASON_LOCAL_REFUSED;
	default:
		return REASON_LOCAL_REFUSED;
	}
}

enum reason
local_reason(const struct rte_mbuf *mbuf)
{
	const struct packet *packet = packet_of((struct rte_mbuf *)(uintptr_t)mbuf);

	if ((packet->flags & PACKET_ND) != 0)
		return nd_length(mbuf, packet);
	return is_echo_request(packet) ? REASON_NONE : local_refusal(packet);
}

void
local_packet(struct worker *worker, struct rte_mbuf *mbuf)
{
	struct packet *packet = packet_of(mbuf);
	struct port *port = &worker->dataplane->ports[packet->in_port];
	enum reason reason;

	if (packet->kind == PACKET_ARP) {
		reason = local_arp(worker, port, mbuf, packet);
	} else if ((packet->flags & PACKET_ND) != 0) {
		reason = local_nd(worker, port, mbuf, packet);
	} else if (is_echo_request(packet)) {
		worker_finish(worker, mbuf, VERDICT_LOCAL);
		echo(worker, port, mbuf, packet);
		return;
	} else {
		reason = local_refusal(packet);
	}
	if (reason != REASON_NONE) {
		worker_drop(worker, mbuf, reason);
		return;
	}
	worker_finish(worker, mbuf, VERDICT_LOCAL);
	rte_pktmbuf_free(mbuf);
}
