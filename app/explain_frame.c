/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/explain_frame.h"

#include <netinet/in.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "app/neighbour.h"

#define TTL 64
#define WINDOW 64240       /* what Linux announces first */
#define HEADER_OF_OTHERS 8 /* UDP and ICMP; what has no header that we know has something, too */

/* A qube's own MAC, if it is known; else, and across the uplink, that of somebody. */
static void
ethernet_fill(struct rte_ether_hdr *ethernet, const struct explain_question *question,
	const struct dataplane *dataplane)
{
	const struct port *port = &dataplane->ports[question->port];
	uint64_t peer = neighbour_mac(port->neighbours, NEIGHBOUR_PEER, NULL);
	static const uint8_t somebody[RTE_ETHER_ADDR_LEN] = {0x02, 0, 0, 0, 0, 0xfe};

	memcpy(&ethernet->dst_addr, port->mac, RTE_ETHER_ADDR_LEN);
	memcpy(&ethernet->src_addr, somebody, RTE_ETHER_ADDR_LEN);
	if (peer != 0)
		memcpy(&ethernet->src_addr, &peer, RTE_ETHER_ADDR_LEN);
	ethernet->ether_type = question->family == FAMILY_IPV4 ? RTE_BE16(RTE_ETHER_TYPE_IPV4)
							       : RTE_BE16(RTE_ETHER_TYPE_IPV6);
}

static uint16_t
upper_length(uint8_t protocol)
{
	return protocol == IPPROTO_TCP ? sizeof(struct rte_tcp_hdr) : HEADER_OF_OTHERS;
}

static void
upper_fill(uint8_t *l4, const struct explain_question *question, uint16_t length)
{
	rte_be16_t sport = rte_cpu_to_be_16(question->sport);
	rte_be16_t dport = rte_cpu_to_be_16(question->dport);

	switch (question->protocol) {
	case IPPROTO_TCP: {
		struct rte_tcp_hdr tcp = {
			.src_port = sport,
			.dst_port = dport,
			.data_off = sizeof(tcp) / 4 << 4,
			.tcp_flags = question->tcp_flags,
			.rx_win = RTE_BE16(WINDOW),
		};

		memcpy(l4, &tcp, sizeof(tcp));
		break;
	}
	case IPPROTO_UDP: {
		struct rte_udp_hdr udp = {
			.src_port = sport,
			.dst_port = dport,
			.dgram_len = rte_cpu_to_be_16(length),
		};

		memcpy(l4, &udp, sizeof(udp));
		break;
	}
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		l4[0] = question->icmp_type;
		memcpy(l4 + 4, &sport, sizeof(sport));
		break;
	default:
		break;
	}
}

/* Only ICMP checksums are looked at; the others are their receivers' affair. */
static void
icmp_checksum_fill(uint8_t *l4, const struct explain_question *question, uint16_t length)
{
	uint16_t sum = 0;

	if (question->protocol == IPPROTO_ICMP) {
		sum = (uint16_t)~rte_raw_cksum(l4, length);
	} else if (question->protocol == IPPROTO_ICMPV6) {
		struct {
			union address source, destination;
			rte_be32_t length, protocol;
		} pseudo = {question->source, question->destination, rte_cpu_to_be_32(length),
			RTE_BE32(IPPROTO_ICMPV6)};
		uint32_t both = (uint32_t)rte_raw_cksum(&pseudo, sizeof(pseudo)) +
				rte_raw_cksum(l4, length);

		sum = (uint16_t) ~((both & UINT16_MAX) + (both >> 16));
	} else {
		return;
	}
	memcpy(l4 + 2, &sum, sizeof(sum));
}

uint32_t
explain_frame_build(
	uint8_t *frame, const struct explain_question *question, const struct dataplane *dataplane)
{
	uint8_t *l3 = frame + sizeof(struct rte_ether_hdr);
	uint16_t length = upper_length(question->protocol);
	uint16_t header;

	memset(frame, 0, EXPLAIN_FRAME_LONGEST);
	ethernet_fill((struct rte_ether_hdr *)(void *)frame, question, dataplane);
	if (question->family == FAMILY_IPV4) {
		struct rte_ipv4_hdr ip = {
			.version_ihl = RTE_IPV4_VHL_DEF,
			.total_length = rte_cpu_to_be_16((uint16_t)(sizeof(ip) + length)),
			.fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG),
			.time_to_live = TTL,
			.next_proto_id = question->protocol,
			.src_addr = question->source.v4,
			.dst_addr = question->destination.v4,
		};

		ip.hdr_checksum = rte_ipv4_cksum(&ip);
		header = sizeof(ip);
		memcpy(l3, &ip, sizeof(ip));
	} else {
		struct rte_ipv6_hdr ip = {
			.vtc_flow = RTE_BE32(UINT32_C(6) << 28),
			.payload_len = rte_cpu_to_be_16(length),
			.proto = question->protocol,
			.hop_limits = TTL,
		};

		header = sizeof(ip);
		memcpy(l3, &ip, sizeof(ip));
		memcpy(l3 + offsetof(struct rte_ipv6_hdr, src_addr), &question->source,
			sizeof(question->source));
		memcpy(l3 + offsetof(struct rte_ipv6_hdr, dst_addr), &question->destination,
			sizeof(question->destination));
	}
	upper_fill(l3 + header, question, length);
	icmp_checksum_fill(l3 + header, question, length);
	return (uint32_t)sizeof(struct rte_ether_hdr) + header + length;
}
