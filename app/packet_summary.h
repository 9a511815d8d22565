/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is said of a packet when its way has ended: the same for the lines of a replay, the last
 * drops, the log and live traces. app/packet_json.h writes it down.
 */
#pragma once

#include <netinet/in.h>

#include "nat/flow.h"

struct packet_summary {
	struct tuple tuple; /* as the packet came */
	uint32_t length;    /* bytes of the frame, without padding */
	uint16_t flags;     /* enum packet_flag */
	uint16_t rule;
	uint16_t qube; /* whose packet, or whose flow it is part of */
	uint16_t in_port;
	uint16_t out_port; /* PORT_NONE if it was not forwarded */
	uint8_t kind;      /* enum packet_kind */
	uint8_t verdict;
	uint8_t reason;
	uint8_t tcp_flags;
	uint8_t icmp_type, icmp_code;
};

/** Sum up a packet whose verdict is known, while its flow is still there. */
static inline void
packet_summarize(struct packet_summary *summary, const struct packet *packet, enum verdict verdict)
{
	*summary = (struct packet_summary){
		.tuple = packet->tuple,
		.length = packet->frame_length,
		.flags = packet->flags,
		.rule = packet->rule,
		/* An answer from the uplink belongs to the qube that asked. */
		.qube = packet->qube == QUBE_NONE && packet->flow != NULL ? packet->flow->qube
									  : packet->qube,
		.in_port = packet->in_port,
		/* What was dropped has left by no port, even if its way was known. */
		.out_port = verdict == VERDICT_FORWARD ? packet->out_port : PORT_NONE,
		.kind = packet->kind,
		.verdict = (uint8_t)verdict,
		.reason = packet->reason,
		.tcp_flags = packet->tcp_flags,
		.icmp_type = packet->icmp_type,
		.icmp_code = packet->icmp_code,
	};
	/* An ICMP error that is related stands under the tuple of what it is about. */
	if ((packet->flags & PACKET_ICMP_ERROR) != 0 && !address_is_zero(&packet->outer[0]))
		summary->tuple = (struct tuple){
			.source = packet->outer[0],
			.destination = packet->outer[1],
			.protocol =
				packet->tuple.family == FAMILY_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6,
			.family = packet->tuple.family,
		};
}
