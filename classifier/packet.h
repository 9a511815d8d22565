/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * struct packet: everything the data path knows about one frame.
 *
 * It lives in the private area of the frame's mbuf, so it travels with it from worker to worker.
 * `parse` fills the first part, once; nobody parses twice. Later stages only add what they found:
 * guard the qube, judge the rule, the flow lookup the flow, and so on. A stage that rejects a
 * packet sets `reason` and moves it behind the survivors of its burst.
 *
 * Offload state travels in the mbuf itself, in DPDK's own receive flags, with this meaning:
 *   RTE_MBUF_F_RX_L4_CKSUM_NONE  the TCP or UDP checksum field holds only the pseudo-header sum;
 *                                whoever sends the frame completes it (or lets hardware do so)
 *   RTE_MBUF_F_RX_L4_CKSUM_BAD   the NIC found the checksum wrong
 *   RTE_MBUF_F_RX_LRO            several segments in one frame; `tso_segsz` is the payload of each
 */
#pragma once

#include <rte_mbuf.h>

#include "classifier/address.h"
#include "classifier/reason.h"

/* A burst never holds more than this many packets. */
#define BURST_MAX 64

struct flow;

enum packet_kind {
	PACKET_IP,  /* a tuple is there; go on */
	PACKET_ARP, /* l3_offset points at an ARP header whose fixed part is complete */
};

enum packet_flag {
	PACKET_ICMP_ERROR = 1 << 0,   /* about another packet, which it quotes; see `outer` */
	PACKET_ICMP_QUERY = 1 << 1,   /* echo and its like: `tuple` holds the identifier */
	PACKET_ICMP_REPLY = 1 << 2,   /* with ICMP_QUERY: an answer, cannot open a flow */
	PACKET_ND = 1 << 3,           /* ICMPv6 133..137 */
	PACKET_DNS = 1 << 4,          /* destination is a virtual DNS address, port 53 */
	PACKET_LOCAL = 1 << 5,        /* addressed to the firewall itself */
	PACKET_DF = 1 << 6,           /* IPv4 don't fragment */
	PACKET_SPLIT = 1 << 8,        /* route: leaves in fragments */
	PACKET_OPENED = 1 << 9,       /* it has opened its flow */
	PACKET_CONFIGURING = 1 << 10, /* may pass between host and uplink as it is */
	PACKET_FRAGMENT = 1 << 7,     /* a fragment: `tuple` has no ports, l4_offset is where its
					 part of the datagram starts */
};

/* The way a packet went, for counters, replay and traces. */
enum verdict {
	VERDICT_FORWARD, /* went out of another port */
	VERDICT_DROP,    /* ended here; `reason` says why, and whether it was answered */
	VERDICT_LOCAL,   /* taken by the firewall itself (ARP, neighbour discovery, ping) */
	VERDICT_JOINED,  /* a fragment that became part of a datagram, whose first one goes on */
	VERDICT_COUNT
};

struct packet {
	/*
	 * parse. In an ICMP error, relate puts here the tuple that packets of its flow have that go
	 * the same way: the quoted packet's, reversed.
	 */
	struct tuple tuple;
	uint16_t l3_offset;      /* bytes from the start of the frame */
	uint16_t l4_offset;      /* after IPv4 options and IPv6 extension headers */
	uint16_t payload_offset; /* behind the TCP, UDP or ICMP header */
	uint16_t flags;          /* enum packet_flag */
	uint32_t frame_length;   /* bytes, without trailing Ethernet padding */
	uint8_t kind;            /* enum packet_kind */
	uint8_t tcp_flags;       /* RTE_TCP_*_FLAG */
	uint8_t ttl;             /* TTL or hop limit as received */
	uint8_t icmp_type;
	uint8_t icmp_code;
	/* the stages after it */
	uint8_t direction;      /* flow: enum direction */
	uint8_t verdict;        /* enum verdict */
	uint8_t reason;         /* enum reason */
	uint16_t rule;          /* judge: index of the rule, RULE_POLICY or RULE_NONE */
	uint16_t in_port;       /* set by whoever received it; PORT_NONE: made here */
	uint16_t out_port;      /* PORT_NONE until routed */
	uint16_t qube;          /* guard: index of the sending qube, QUBE_NONE from the uplink */
	uint16_t fragment_size; /* reassemble: longest IP packet it came in, bytes; 0 = in one */
	uint16_t quoted_l4;     /* relate: where the quoted packet's upper layer starts */
	uint32_t serial;        /* replay: the packet's number in the inputs; else see app/tap.h */
	uint32_t fragment_id;   /* reassemble: identification of an IPv6 datagram, host order */
	struct flow *flow;
	uint64_t hash; /* flow table hash of `tuple` */
	/* relate: source and destination of an ICMP error itself */
	union address outer[2];
};
_Static_assert(sizeof(struct packet) <= 2 * 64, "the private area is two cache lines");

#define PORT_NONE UINT16_MAX
#define QUBE_NONE UINT16_MAX

/** The packet of an mbuf: its private area. */
static inline struct packet *
packet_of(struct rte_mbuf *mbuf)
{
	return (struct packet *)rte_mbuf_to_priv(mbuf);
}

/** Whether a packet may be a fragment, about a flow, or for the firewall itself. */
static inline bool
packet_is_special(const struct packet *packet)
{
	return packet->kind != PACKET_IP ||
	       (packet->flags & (PACKET_FRAGMENT | PACKET_ICMP_ERROR | PACKET_ND | PACKET_LOCAL |
					PACKET_CONFIGURING)) != 0;
}

/** Pointer to @p offset bytes into the frame. All headers lie in the first segment. */
#define packet_header(mbuf, offset, type) rte_pktmbuf_mtod_offset(mbuf, type, offset)
