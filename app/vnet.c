/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel says of a frame in a virtio_net_hdr, as mbuf flags, and back.
 */
#include "app/vnet.h"

#include <linux/if_ether.h>
#include <netinet/in.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* Where the transport header of an ordinary frame starts; 0 for everything out of the ordinary. */
static uint32_t
plain_l4_offset(const uint8_t *frame, uint32_t length, uint8_t *protocol, bool *is_ipv6)
{
	const struct rte_ether_hdr *ethernet = (const void *)frame;

	if (length < sizeof(*ethernet) + sizeof(struct rte_ipv4_hdr))
		return 0;
	if (ethernet->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4)) {
		const struct rte_ipv4_hdr *ip = (const void *)(ethernet + 1);

		*protocol = ip->next_proto_id;
		*is_ipv6 = false;
		if ((ip->fragment_offset &
			    RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) != 0)
			return 0;
		return (uint32_t)(sizeof(*ethernet) + rte_ipv4_hdr_len(ip));
	}
	if (ethernet->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6) &&
		length >= sizeof(*ethernet) + sizeof(struct rte_ipv6_hdr)) {
		const struct rte_ipv6_hdr *ip = (const void *)(ethernet + 1);

		*protocol = ip->proto;
		*is_ipv6 = true;
		return sizeof(*ethernet) + sizeof(*ip);
	}
	return 0;
}

static bool
protocol_checksum_offset(uint8_t protocol, uint32_t *offset)
{
	if (protocol == IPPROTO_TCP)
		*offset = offsetof(struct rte_tcp_hdr, cksum);
	else if (protocol == IPPROTO_UDP)
		*offset = offsetof(struct rte_udp_hdr, dgram_cksum);
	else
		return false;
	return true;
}

/* Finish a checksum at any place, for frames whose transport header is not where we promise. */
static bool
complete_anywhere(uint8_t *frame, uint32_t length, uint32_t start, uint32_t offset)
{
	uint16_t sum;

	if (start >= length || offset + sizeof(sum) > length - start)
		return false;
	sum = (uint16_t)~rte_raw_cksum(frame + start, length - start);
	if (sum == 0)
		sum = 0xffff;
	memcpy(frame + start + offset, &sum, sizeof(sum));
	return true;
}

/* What a big frame without NEEDS_CSUM (a NIC's LRO) lacks to look like every other one. */
static void
store_pseudo_header_sum(
	uint8_t *frame, uint32_t length, uint32_t l4, uint32_t offset, uint8_t protocol, bool ipv6)
{
	uint32_t addresses = ipv6 ? 32 : 8;
	uint32_t first = ETH_HLEN + (ipv6 ? offsetof(struct rte_ipv6_hdr, src_addr)
					  : offsetof(struct rte_ipv4_hdr, src_addr));
	uint32_t sum = rte_raw_cksum(frame + first, addresses);
	uint16_t folded;

	sum += rte_cpu_to_be_16(protocol) + rte_cpu_to_be_16((uint16_t)(length - l4));
	sum = (sum & 0xffff) + (sum >> 16);
	folded = (uint16_t)((sum & 0xffff) + (sum >> 16));
	memcpy(frame + l4 + offset, &folded, sizeof(folded));
}

bool
vnet_take(struct rte_mbuf *mbuf, uint8_t *frame, uint32_t length, const struct virtio_net_hdr *vnet)
{
	uint8_t type = vnet->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	bool needs = (vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
	bool is_ipv6 = false;
	uint8_t protocol = 0;
	uint32_t offset;
	uint32_t l4;

	if (!needs && type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	l4 = plain_l4_offset(frame, length, &protocol, &is_ipv6);
	if (l4 != 0 && (!protocol_checksum_offset(protocol, &offset) || l4 + offset + 2 > length))
		l4 = 0;
	if (l4 != 0 && needs && (vnet->csum_start != l4 || vnet->csum_offset != offset))
		l4 = 0;
	if (type == VIRTIO_NET_HDR_GSO_NONE) {
		if (l4 == 0)
			/* A CRC (SCTP) is not ours to make: that needs another polynomial. */
			return protocol != IPPROTO_SCTP &&
			       complete_anywhere(
				       frame, length, vnet->csum_start, vnet->csum_offset);
		mbuf->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
		return true;
	}
	if (l4 == 0 || vnet->gso_size == 0)
		return false;
	if (!(type == VIRTIO_NET_HDR_GSO_TCPV4 && protocol == IPPROTO_TCP && !is_ipv6) &&
		!(type == VIRTIO_NET_HDR_GSO_TCPV6 && protocol == IPPROTO_TCP && is_ipv6) &&
		!(type == VIRTIO_NET_HDR_GSO_UDP_L4 && protocol == IPPROTO_UDP))
		return false;
	if (!needs)
		store_pseudo_header_sum(frame, length, l4, offset, protocol, is_ipv6);
	mbuf->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE | RTE_MBUF_F_RX_LRO;
	mbuf->tso_segsz = vnet->gso_size;
	return true;
}

void
vnet_fill(struct virtio_net_hdr *vnet, const struct rte_mbuf *mbuf, const struct packet *packet)
{
	bool is_udp = packet->tuple.protocol == IPPROTO_UDP;

	memset(vnet, 0, sizeof(*vnet));
	if ((mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE) {
		vnet->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		vnet->csum_start = packet->l4_offset;
		vnet->csum_offset = is_udp ? offsetof(struct rte_udp_hdr, dgram_cksum)
					   : offsetof(struct rte_tcp_hdr, cksum);
	}
	if ((mbuf->ol_flags & RTE_MBUF_F_RX_LRO) == 0)
		return;
	vnet->hdr_len = packet->payload_offset;
	vnet->gso_size = mbuf->tso_segsz;
	if (is_udp) {
		vnet->gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
		return;
	}
	vnet->gso_type = packet->tuple.family == FAMILY_IPV4 ? VIRTIO_NET_HDR_GSO_TCPV4
							     : VIRTIO_NET_HDR_GSO_TCPV6;
	/* RFC 3168: CWR goes out once, on the first segment; the kernel must be told to see to it
	 */
	if ((packet_header(mbuf, packet->l4_offset, const struct rte_tcp_hdr *)->tcp_flags &
		    RTE_TCP_CWR_FLAG) != 0)
		vnet->gso_type |= VIRTIO_NET_HDR_GSO_ECN;
}
