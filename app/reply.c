/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ICMP errors that the firewall itself sends.
 *
 * They come from our address on the side of the sender, quote the packet as it arrived (RFC 1812
 * section 4.3.2.3: as much as fits 576 bytes; RFC 4443 section 2.4: 1280), never answer another
 * ICMP error, and are limited per source. The limit is redrawn for every window, so that counting
 * answers tells nobody how many others got (the SAD DNS side channel).
 */
#include "app/worker.h"

#include <netinet/in.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#define ICMP_HEADER 8
#define IPV4_ERROR_MAX 576
#define IPV6_ERROR_MAX 1280
#define ERROR_TTL 64
#define ERROR_TOS 0xc0 /* RFC 1812 section 4.3.2.5: internetwork control */

/* Senders across the uplink have no limits of their own. */
#define UPLINK_ANSWERS 32

/* Indexed by enum answer. */
static const struct {
	uint8_t type[FAMILIES];
	uint8_t code[FAMILIES];
} messages[] = {
	[ANSWER_PROHIBITED] = {{3, 1}, {13, 1}},
	[ANSWER_HOST_PROHIBITED] = {{3, 1}, {10, 1}},
	[ANSWER_TIME_EXCEEDED] = {{11, 3}, {0, 0}},
	[ANSWER_UNREACHABLE] = {{3, 1}, {1, 3}},
	[ANSWER_NO_ROUTE] = {{3, 1}, {0, 0}},
	[ANSWER_TOO_BIG] = {{3, 2}, {4, 0}},
};

bool
reply_allowed(struct worker *worker, const struct packet *packet)
{
	struct account *account;
	uint32_t least;

	if (packet->qube == QUBE_NONE) {
		least = UPLINK_ANSWERS;
		account = dataplane_uplink_account(worker->dataplane, &packet->tuple.source);
	} else {
		least = worker->policy->qubes[packet->qube].limits.value[BUDGET_ANSWERS];
		account = dataplane_account(worker->dataplane, packet->qube, false);
	}
	/* Looked at only when a window begins. */
	if (budget_take_now(account, BUDGET_ANSWERS,
		    least + (uint32_t)(worker_random(worker) % least), worker->now_ms))
		return true;
	worker->counters.answers_withheld++;
	return false;
}

static void
fill_ipv4(uint8_t *l3, const union address *source, const union address *destination,
	uint32_t quoted, uint8_t type, uint8_t code, uint16_t mtu)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)l3;
	uint8_t *icmp = l3 + sizeof(*ip);
	rte_be16_t mtu_be = rte_cpu_to_be_16(mtu);
	uint16_t checksum;

	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.type_of_service = ERROR_TOS,
		.total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + ICMP_HEADER + quoted)),
		.time_to_live = ERROR_TTL,
		.next_proto_id = IPPROTO_ICMP,
		.src_addr = source->v4,
		.dst_addr = destination->v4,
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	memset(icmp, 0, ICMP_HEADER);
	icmp[0] = type;
	icmp[1] = code;
	memcpy(icmp + 6, &mtu_be, sizeof(mtu_be)); /* RFC 1191 section 4 */
	checksum = (uint16_t)~rte_raw_cksum(icmp, ICMP_HEADER + quoted);
	memcpy(icmp + 2, &checksum, sizeof(checksum));
}

static void
fill_ipv6(uint8_t *l3, const union address *source, const union address *destination,
	uint32_t quoted, uint8_t type, uint8_t code, uint16_t mtu)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)l3;
	uint8_t *icmp = l3 + sizeof(*ip);
	rte_be32_t mtu_be = rte_cpu_to_be_32(mtu);
	uint16_t checksum;

	memset(ip, 0, sizeof(*ip));
	ip->vtc_flow = RTE_BE32(UINT32_C(6) << 28);
	ip->payload_len = rte_cpu_to_be_16((uint16_t)(ICMP_HEADER + quoted));
	ip->proto = IPPROTO_ICMPV6;
	ip->hop_limits = ERROR_TTL;
	memcpy(l3 + offsetof(struct rte_ipv6_hdr, src_addr), source, sizeof(*source));
	memcpy(l3 + offsetof(struct rte_ipv6_hdr, dst_addr), destination, sizeof(*destination));
	memset(icmp, 0, ICMP_HEADER);
	icmp[0] = type;
	icmp[1] = code;
	memcpy(icmp + 4, &mtu_be, sizeof(mtu_be)); /* RFC 4443 section 3.2 */
	checksum = rte_ipv6_udptcp_cksum(ip, icmp);
	memcpy(icmp + 2, &checksum, sizeof(checksum));
}

void
reply_error(struct worker *worker, const struct rte_mbuf *mbuf, enum answer answer)
{
	const struct packet *packet = packet_of((struct rte_mbuf *)(uintptr_t)mbuf);
	const struct policy *policy = worker->policy;
	const struct policy_port *in = &policy->ports[packet->in_port];
	enum family family = packet->tuple.family;
	uint32_t header = family == FAMILY_IPV4 ? (uint32_t)sizeof(struct rte_ipv4_hdr)
						: (uint32_t)sizeof(struct rte_ipv6_hdr);
	uint32_t longest = family == FAMILY_IPV4 ? IPV4_ERROR_MAX : IPV6_ERROR_MAX;
	uint32_t quoted =
		RTE_MIN(packet->frame_length - packet->l3_offset, longest - header - ICMP_HEADER);
	const struct rte_ether_hdr *from = rte_pktmbuf_mtod(mbuf, const struct rte_ether_hdr *);
	struct rte_ether_hdr *ethernet;
	const union address *source;
	struct rte_mbuf *reply;
	uint16_t mtu = 0;
	uint8_t *l3;
	const void *original;

	if (answer == ANSWER_SILENCE || packet->kind != PACKET_IP ||
		(packet->flags & PACKET_ICMP_ERROR) != 0)
		return;
	if (in->role != ROLE_UPLINK ? !policy->has_gateway[family] : !in->has[family])
		return;
	source = in->role != ROLE_UPLINK ? &policy->gateway[family] : &in->address[family];
	if (!reply_allowed(worker, packet))
		return;
	reply = rte_pktmbuf_alloc(worker->dataplane->pool);
	if (reply == NULL)
		return;
	if (answer == ANSWER_TOO_BIG && packet->out_port != PORT_NONE)
		mtu = worker->dataplane->ports[packet->out_port].mtu;

	ethernet = (struct rte_ether_hdr *)(void *)rte_pktmbuf_append(
		reply, (uint16_t)(sizeof(*ethernet) + header + ICMP_HEADER + quoted));
	if (ethernet == NULL) {
		rte_pktmbuf_free(reply);
		return;
	}
	*packet_of(reply) = (struct packet){.serial = packet->serial, .in_port = PORT_NONE};
	ethernet->dst_addr = from->src_addr;
	memcpy(&ethernet->src_addr, worker->dataplane->ports[packet->in_port].mac,
		RTE_ETHER_ADDR_LEN);
	ethernet->ether_type = from->ether_type;
	l3 = (uint8_t *)(ethernet + 1);
	original = rte_pktmbuf_read(mbuf, packet->l3_offset, quoted, l3 + header + ICMP_HEADER);
	if (original != l3 + header + ICMP_HEADER)
		memcpy(l3 + header + ICMP_HEADER, original, quoted);
	if (family == FAMILY_IPV4)
		fill_ipv4(l3, source, &packet->tuple.source, quoted, messages[answer].type[family],
			messages[answer].code[family], mtu);
	else
		fill_ipv6(l3, source, &packet->tuple.source, quoted, messages[answer].type[family],
			messages[answer].code[family], mtu);
	worker->counters.answers++;
	worker_transmit(worker, packet->in_port, reply);
}

/* A frame for the end that receives what goes in @p direction, up to its IP header. */
static struct rte_mbuf *
reset_frame(struct worker *worker, const struct flow *flow, enum direction direction,
	const struct tuple *tuple, struct rte_tcp_hdr **tcp)
{
	const struct flow_way *way = &flow->way[direction];
	const struct port *port = &worker->dataplane->ports[way->port];
	uint64_t mac = neighbour_mac(port->neighbours, way->neighbour, &tuple->destination);
	bool ipv4 = tuple->family == FAMILY_IPV4;
	uint16_t header = ipv4 ? sizeof(struct rte_ipv4_hdr) : sizeof(struct rte_ipv6_hdr);
	struct rte_ether_hdr *ethernet;
	struct rte_mbuf *mbuf;
	uint8_t *l3;

	/* Who is not known has not heard anything for long. */
	if (mac == 0)
		return NULL;
	mbuf = rte_pktmbuf_alloc(worker->dataplane->pool);
	if (mbuf == NULL)
		return NULL;
	ethernet = (struct rte_ether_hdr *)(void *)rte_pktmbuf_append(
		mbuf, (uint16_t)(sizeof(*ethernet) + header + sizeof(**tcp)));
	if (ethernet == NULL) {
		rte_pktmbuf_free(mbuf);
		return NULL;
	}
	memset(ethernet, 0, sizeof(*ethernet) + header + sizeof(**tcp));
	memcpy(&ethernet->dst_addr, &mac, RTE_ETHER_ADDR_LEN);
	memcpy(&ethernet->src_addr, port->mac, RTE_ETHER_ADDR_LEN);
	ethernet->ether_type = ipv4 ? RTE_BE16(RTE_ETHER_TYPE_IPV4) : RTE_BE16(RTE_ETHER_TYPE_IPV6);
	l3 = (uint8_t *)(ethernet + 1);
	*tcp = (struct rte_tcp_hdr *)(void *)(l3 + header);
	if (ipv4) {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)l3;

		ip->version_ihl = RTE_IPV4_VHL_DEF;
		ip->total_length = rte_cpu_to_be_16((uint16_t)(header + sizeof(**tcp)));
		ip->fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG);
		ip->time_to_live = ERROR_TTL;
		ip->next_proto_id = IPPROTO_TCP;
		ip->src_addr = tuple->source.v4;
		ip->dst_addr = tuple->destination.v4;
		ip->hdr_checksum = rte_ipv4_cksum(ip);
	} else {
		struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)l3;

		ip->vtc_flow = RTE_BE32(UINT32_C(6) << 28);
		ip->payload_len = RTE_BE16(sizeof(**tcp));
		ip->proto = IPPROTO_TCP;
		ip->hop_limits = ERROR_TTL;
		memcpy(l3 + offsetof(struct rte_ipv6_hdr, src_addr), &tuple->source,
			sizeof(tuple->source));
		memcpy(l3 + offsetof(struct rte_ipv6_hdr, dst_addr), &tuple->destination,
			sizeof(tuple->destination));
	}
	return mbuf;
}

void
reply_reset(struct worker *worker, const struct flow *flow, enum direction direction,
	uint32_t sequence, uint32_t acknowledgement, uint32_t serial)
{
	struct tuple other, tuple;
	struct rte_tcp_hdr *tcp;
	struct rte_mbuf *mbuf;
	uint8_t *l3;

	/* What goes in one direction leaves as the reverse of the other one's tuple. */
	flow_tuple(flow, !direction, &other);
	tuple = (struct tuple){
		.source = other.destination,
		.destination = other.source,
		.source_port = other.destination_port,
		.destination_port = other.source_port,
		.protocol = other.protocol,
		.family = other.family,
	};
	/* Across the uplink we are nobody any more who had this connection. */
	if (flow->way[direction].port == worker->policy->uplink) {
		const struct policy_port *uplink = &worker->policy->ports[worker->policy->uplink];

		if (!uplink->has[tuple.family] ||
			!address_equal(&tuple.source, &uplink->address[tuple.family]))
			return;
	}
	mbuf = reset_frame(worker, flow, direction, &tuple, &tcp);
	if (mbuf == NULL)
		return;
	tcp->src_port = tuple.source_port;
	tcp->dst_port = tuple.destination_port;
	tcp->sent_seq = rte_cpu_to_be_32(sequence);
	tcp->recv_ack = rte_cpu_to_be_32(acknowledgement);
	tcp->data_off = sizeof(*tcp) / 4 << 4;
	tcp->tcp_flags = RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG;
	l3 = rte_pktmbuf_mtod_offset(mbuf, uint8_t *, sizeof(struct rte_ether_hdr));
	tcp->cksum = tuple.family == FAMILY_IPV4
			     ? rte_ipv4_udptcp_cksum((const struct rte_ipv4_hdr *)l3, tcp)
			     : rte_ipv6_udptcp_cksum((const struct rte_ipv6_hdr *)l3, tcp);
	*packet_of(mbuf) = (struct packet){.serial = serial, .in_port = PORT_NONE};
	worker->counters.resets++;
	worker_transmit(worker, flow->way[direction].port, mbuf);
}
