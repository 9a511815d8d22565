/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tracking for every protocol: TCP has its own tracker, the others have two states at most, which
 * FLOW_REPLIED tells apart.
 *
 * Packets of both directions renew a flow (RFC 4787 REQ-6): one that comes in and finds a flow has
 * the exact addresses and ports of somebody who was asked, so the filter has let it in. Nothing
 * that an ICMP error says renews or ends a flow (RFC 5508 REQ-6, RFC 4787 REQ-12).
 */
#include "nat/track.h"

#include <netinet/in.h>

#include <rte_byteorder.h>
#include <rte_tcp.h>

/* Ports below this answer and are done, such as DNS (RFC 4787 REQ-5a). */
#define SERVICE_PORTS 1024

/* Queries as their senders ask them; <netinet/> has other names for each of them. */
enum {
	ICMP_TYPE_ECHO_REPLY = 0,
	ICMP_TYPE_ECHO_REQUEST = 8,
	ICMP_TYPE_TIMESTAMP = 13,
	ICMP_TYPE_TIMESTAMP_REPLY = 14,
	ICMPV6_TYPE_ECHO_REQUEST = 128,
	ICMPV6_TYPE_ECHO_REPLY = 129,
};

static enum timeout
udp_timeout(const struct flow *flow)
{
	if ((flow->flags & FLOW_REPLIED) == 0)
		return TIMEOUT_UDP_UNREPLIED;
	if (rte_be_to_cpu_16(flow->port[DIRECTION_ORIGINAL][1]) < SERVICE_PORTS)
		return TIMEOUT_UDP_SERVICE;
	return TIMEOUT_UDP_REPLIED;
}

/* The type that answers a query; its own where there is none. */
static uint8_t
icmp_answer_type(uint8_t type)
{
	switch (type) {
	case ICMP_TYPE_ECHO_REQUEST:
		return ICMP_TYPE_ECHO_REPLY;
	case ICMP_TYPE_TIMESTAMP:
		return ICMP_TYPE_TIMESTAMP_REPLY;
	case ICMPV6_TYPE_ECHO_REQUEST:
		return ICMPV6_TYPE_ECHO_REPLY;
	default:
		return type;
	}
}

/* The query of the flow goes the way of its first packet, what answers it the other way. */
static bool
icmp_query_valid(const struct flow *flow, const struct packet *packet)
{
	if ((packet->flags & PACKET_ICMP_QUERY) == 0)
		return false;
	return packet->icmp_type == (packet->direction == DIRECTION_ORIGINAL
						    ? flow->state
						    : icmp_answer_type(flow->state));
}

enum tcp_track
track_packet(struct flow *flow, const struct rte_mbuf *mbuf, const struct timeout_values *values,
	uint32_t now_ms)
{
	const struct packet *packet = packet_of((struct rte_mbuf *)(uintptr_t)mbuf);
	enum timeout timeout;

	if (flow->protocol == IPPROTO_UDP) {
		if (packet->direction == DIRECTION_REPLY)
			flow->flags |= FLOW_REPLIED;
		flow->deadline_ms = now_ms + values->ms[udp_timeout(flow)];
		return TCP_PASS;
	}
	if (flow->protocol == IPPROTO_TCP) {
		struct tcp_segment segment;

		tcp_segment_read(&segment, mbuf);
		return tcp_track(flow,
			packet->direction == DIRECTION_ORIGINAL ? DIRECTION_ORIGINAL
								: DIRECTION_REPLY,
			&segment, values, now_ms);
	}
	if ((flow->protocol == IPPROTO_ICMP || flow->protocol == IPPROTO_ICMPV6) &&
		!icmp_query_valid(flow, packet))
		return TCP_INVALID;
	if (packet->direction == DIRECTION_REPLY)
		flow->flags |= FLOW_REPLIED;
	timeout = flow->protocol == IPPROTO_ICMP || flow->protocol == IPPROTO_ICMPV6
			  ? TIMEOUT_ICMP_QUERY
			  : TIMEOUT_OTHER;
	flow->deadline_ms = now_ms + values->ms[timeout];
	return TCP_PASS;
}

static enum reason
icmp_opens(const struct packet *packet)
{
	bool ipv6 = packet->tuple.family == FAMILY_IPV6;

	if ((packet->flags & PACKET_ICMP_ERROR) != 0)
		return REASON_ICMP_ERROR;
	if ((packet->flags & PACKET_ICMP_QUERY) == 0 ||
		ipv6 != (packet->tuple.protocol == IPPROTO_ICMPV6))
		return REASON_ICMP_TYPE;
	if ((packet->flags & PACKET_ICMP_REPLY) != 0)
		return REASON_NO_FLOW;
	if (ipv6)
		return packet->icmp_type == ICMPV6_TYPE_ECHO_REQUEST ? REASON_NONE
								     : REASON_ICMP_TYPE;
	return packet->icmp_type == ICMP_TYPE_ECHO_REQUEST ||
			       packet->icmp_type == ICMP_TYPE_TIMESTAMP
		       ? REASON_NONE
		       : REASON_ICMP_TYPE;
}

enum reason
track_opens(const struct packet *packet)
{
	switch (packet->tuple.protocol) {
	case IPPROTO_TCP:
		return tcp_opens(packet->tcp_flags) ? REASON_NONE : REASON_TCP_STATE;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return icmp_opens(packet);
	default:
		return REASON_NONE;
	}
}

static enum timeout
opening_timeout(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return TIMEOUT_TCP_SYN_SENT;
	case IPPROTO_UDP:
		return TIMEOUT_UDP_UNREPLIED;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return TIMEOUT_ICMP_QUERY;
	default:
		return TIMEOUT_OTHER;
	}
}

uint32_t
track_deadline(const struct packet *packet, const struct timeout_values *values, uint32_t now_ms)
{
	return now_ms + values->ms[opening_timeout(packet->tuple.protocol)];
}

bool
track_picks_up(const struct packet *packet)
{
	return packet->tuple.protocol == IPPROTO_TCP && tcp_flags_valid(packet->tcp_flags) &&
	       (packet->tcp_flags & (RTE_TCP_SYN_FLAG | RTE_TCP_RST_FLAG | RTE_TCP_FIN_FLAG)) == 0;
}

void
track_open(struct flow *flow, const struct rte_mbuf *mbuf, const struct timeout_values *values,
	uint32_t now_ms)
{
	const struct packet *packet = packet_of((struct rte_mbuf *)(uintptr_t)mbuf);

	flow->state = 0;
	if (flow->protocol == IPPROTO_TCP) {
		struct tcp_segment segment;

		tcp_segment_read(&segment, mbuf);
		if (tcp_opens(segment.flags)) {
			tcp_open(flow, &segment);
		} else {
			tcp_pickup(flow, &segment);
			flow->deadline_ms = now_ms + values->ms[TIMEOUT_TCP_ESTABLISHED];
			return;
		}
	} else if ((packet->flags & PACKET_ICMP_QUERY) != 0) {
		flow->state = packet->icmp_type;
	}
	flow->deadline_ms = track_deadline(packet, values, now_ms);
}
