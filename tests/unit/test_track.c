/* SPDX-License-Identifier: BSD-3-Clause */
/* What packets of each protocol do to their flow, and which of them may open one. */
#include "tests/unit/unit.h"

#include <netinet/in.h>

#include <rte_common.h>
#include <rte_tcp.h>

#include "nat/track.h"

#define NOW_MS 1000000U

static struct timeout_values values;

static struct flow
flow_of(uint8_t protocol, uint16_t destination_port)
{
	struct flow flow = {.protocol = protocol};

	flow.port[DIRECTION_ORIGINAL][0] = rte_cpu_to_be_16(40000);
	flow.port[DIRECTION_ORIGINAL][1] = rte_cpu_to_be_16(destination_port);
	/* As behind a port forward: what the far end sees is another port. */
	flow.port[DIRECTION_REPLY][0] = rte_cpu_to_be_16(9000);
	flow.port[DIRECTION_REPLY][1] = rte_cpu_to_be_16(80);
	return flow;
}

static struct packet
packet_in(enum direction direction, uint8_t protocol, enum family family)
{
	struct packet packet = {.direction = (uint8_t)direction};

	packet.tuple.protocol = protocol;
	packet.tuple.family = (uint8_t)family;
	return packet;
}

/* An mbuf with @p packet in its private area and a bare TCP header in its data. */
static struct rte_mbuf *
mbuf_of(const struct packet *packet)
{
	static struct {
		struct rte_mbuf mbuf;
		struct packet packet;
		uint8_t data[64];
	} __attribute__((aligned(64))) room;

	memset(&room, 0, sizeof(room));
	room.mbuf.priv_size = sizeof(room.packet);
	room.mbuf.buf_addr = room.data;
	room.mbuf.buf_len = sizeof(room.data);
	room.mbuf.data_len = 40;
	room.packet = *packet;
	room.packet.frame_length = 40;
	room.packet.payload_offset = 20;
	room.data[12] = 5 << 4;
	room.data[13] = packet->tcp_flags;
	return &room.mbuf;
}

static enum tcp_track
track(struct flow *flow, const struct packet *packet)
{
	return track_packet(flow, mbuf_of(packet), &values, NOW_MS);
}

static void
check_left(const struct flow *flow, uint32_t seconds)
{
	CU_ASSERT_EQUAL(flow->deadline_ms - NOW_MS, seconds * 1000);
}

/* RFC 4787 REQ-5 and REQ-6. */
static void
test_udp(void)
{
	static const struct {
		uint16_t port;
		uint32_t unreplied, replied;
	} cases[] = {{4500, 120, 300}, {1024, 120, 300}, {1023, 120, 30}, {53, 120, 30}};
	struct packet out = packet_in(DIRECTION_ORIGINAL, IPPROTO_UDP, FAMILY_IPV4);
	struct packet in = packet_in(DIRECTION_REPLY, IPPROTO_UDP, FAMILY_IPV4);

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct flow flow = flow_of(IPPROTO_UDP, cases[i].port);

		CU_ASSERT_EQUAL(track(&flow, &out), TCP_PASS);
		CU_ASSERT_EQUAL(flow.flags, 0);
		check_left(&flow, cases[i].unreplied);
		CU_ASSERT_EQUAL(track(&flow, &in), TCP_PASS);
		CU_ASSERT_EQUAL(flow.flags, FLOW_REPLIED);
		check_left(&flow, cases[i].replied);
		flow.deadline_ms = NOW_MS;
		CU_ASSERT_EQUAL(track(&flow, &out), TCP_PASS);
		check_left(&flow, cases[i].replied);
		flow.deadline_ms = NOW_MS;
		CU_ASSERT_EQUAL(track(&flow, &in), TCP_PASS);
		check_left(&flow, cases[i].replied);
		CU_ASSERT_EQUAL(flow.state, 0);
	}
}

/* The query goes one way, its answer the other; no other type belongs to the flow. */
static void
test_icmp_queries(void)
{
	static const struct {
		uint8_t protocol, query, answer;
	} kinds[] = {{IPPROTO_ICMP, 8, 0}, {IPPROTO_ICMP, 13, 14}, {IPPROTO_ICMPV6, 128, 129}};
	static const uint8_t types[] = {0, 8, 13, 14, 128, 129};

	for (unsigned i = 0; i < RTE_DIM(kinds); i++) {
		for (unsigned direction = 0; direction < 2; direction++) {
			for (unsigned type = 0; type < RTE_DIM(types); type++) {
				struct flow flow = flow_of(kinds[i].protocol, 0);
				struct packet packet = packet_in(direction, kinds[i].protocol,
					kinds[i].protocol == IPPROTO_ICMPV6);
				struct flow before;

				flow.state = kinds[i].query;
				before = flow;
				packet.flags = PACKET_ICMP_QUERY;
				packet.icmp_type = types[type];
				if (types[type] ==
					(direction == 0 ? kinds[i].query : kinds[i].answer)) {
					CU_ASSERT_EQUAL(track(&flow, &packet), TCP_PASS);
					check_left(&flow, 60);
					CU_ASSERT_EQUAL(
						flow.flags, direction != 0 ? FLOW_REPLIED : 0);
				} else {
					CU_ASSERT_EQUAL(track(&flow, &packet), TCP_INVALID);
					CU_ASSERT_EQUAL(memcmp(&flow, &before, sizeof(flow)), 0);
				}
			}
		}
	}
}

/* RFC 5508 REQ-6: an error with the addresses of a query whose identifier is 0 is not its reply. */
static void
test_icmp_error_touches_nothing(void)
{
	for (unsigned direction = 0; direction < 2; direction++) {
		struct flow flow = flow_of(IPPROTO_ICMP, 0);
		struct packet packet = packet_in(direction, IPPROTO_ICMP, FAMILY_IPV4);
		struct flow before = flow;

		packet.flags = PACKET_ICMP_ERROR;
		CU_ASSERT_EQUAL(track(&flow, &packet), TCP_INVALID);
		CU_ASSERT_EQUAL(memcmp(&flow, &before, sizeof(flow)), 0);
	}
}

static void
test_other_protocols(void)
{
	struct flow flow = flow_of(IPPROTO_ESP, 0);
	struct packet packet = packet_in(DIRECTION_ORIGINAL, IPPROTO_ESP, FAMILY_IPV4);

	CU_ASSERT_EQUAL(track(&flow, &packet), TCP_PASS);
	check_left(&flow, 600);
	CU_ASSERT_EQUAL(flow.flags, 0);
	packet.direction = DIRECTION_REPLY;
	CU_ASSERT_EQUAL(track(&flow, &packet), TCP_PASS);
	CU_ASSERT_EQUAL(flow.flags, FLOW_REPLIED);
}

static void
test_tcp_is_handed_on(void)
{
	struct flow flow = flow_of(IPPROTO_TCP, 443);
	struct packet packet = packet_in(DIRECTION_REPLY, IPPROTO_TCP, FAMILY_IPV4);

	flow.state = TCP_STATE_SYN_SENT;
	packet.tcp_flags = RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG;
	CU_ASSERT_EQUAL(track(&flow, &packet), TCP_PASS);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_SYN_RECV);
	CU_ASSERT_EQUAL(flow.flags, FLOW_REPLIED);
	check_left(&flow, 240);
	packet.direction = DIRECTION_ORIGINAL;
	CU_ASSERT_EQUAL(track(&flow, &packet), TCP_PASS); /* SYN+ACK of a simultaneous open */
	packet.tcp_flags = RTE_TCP_SYN_FLAG;
	CU_ASSERT_EQUAL(track(&flow, &packet), TCP_IGNORE);
	flow.state = TCP_STATE_CLOSE;
	CU_ASSERT_EQUAL(track(&flow, &packet), TCP_REOPEN);
	packet.tcp_flags = 0;
	CU_ASSERT_EQUAL(track(&flow, &packet), TCP_INVALID);
}

static void
test_what_opens(void)
{
	enum { QUERY = PACKET_ICMP_QUERY, ANSWER = PACKET_ICMP_QUERY | PACKET_ICMP_REPLY };
	static const struct {
		uint8_t protocol, family, flags, type, tcp_flags;
		enum reason reason;
	} cases[] = {
		{IPPROTO_TCP, FAMILY_IPV4, 0, 0, RTE_TCP_SYN_FLAG, REASON_NONE},
		{IPPROTO_TCP, FAMILY_IPV6, 0, 0,
			RTE_TCP_SYN_FLAG | RTE_TCP_ECE_FLAG | RTE_TCP_CWR_FLAG, REASON_NONE},
		{IPPROTO_TCP, FAMILY_IPV4, 0, 0, RTE_TCP_ACK_FLAG, REASON_TCP_STATE},
		{IPPROTO_TCP, FAMILY_IPV4, 0, 0, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG,
			REASON_TCP_STATE},
		{IPPROTO_TCP, FAMILY_IPV4, 0, 0, RTE_TCP_RST_FLAG, REASON_TCP_STATE},
		{IPPROTO_TCP, FAMILY_IPV4, 0, 0, 0, REASON_TCP_STATE},
		{IPPROTO_UDP, FAMILY_IPV4, 0, 0, 0, REASON_NONE},
		{IPPROTO_UDP, FAMILY_IPV6, 0, 0, 0, REASON_NONE},
		{IPPROTO_ESP, FAMILY_IPV4, 0, 0, 0, REASON_NONE},
		{IPPROTO_ICMP, FAMILY_IPV4, QUERY, 8, 0, REASON_NONE},
		{IPPROTO_ICMP, FAMILY_IPV4, QUERY, 13, 0, REASON_NONE},
		{IPPROTO_ICMP, FAMILY_IPV4, QUERY, 17, 0, REASON_ICMP_TYPE},
		{IPPROTO_ICMP, FAMILY_IPV4, QUERY, 128, 0, REASON_ICMP_TYPE},
		{IPPROTO_ICMP, FAMILY_IPV4, ANSWER, 0, 0, REASON_NO_FLOW},
		{IPPROTO_ICMP, FAMILY_IPV4, ANSWER, 14, 0, REASON_NO_FLOW},
		{IPPROTO_ICMP, FAMILY_IPV4, PACKET_ICMP_ERROR, 3, 0, REASON_ICMP_ERROR},
		{IPPROTO_ICMP, FAMILY_IPV4, 0, 9, 0, REASON_ICMP_TYPE},
		{IPPROTO_ICMPV6, FAMILY_IPV6, QUERY, 128, 0, REASON_NONE},
		{IPPROTO_ICMPV6, FAMILY_IPV6, QUERY, 8, 0, REASON_ICMP_TYPE},
		{IPPROTO_ICMPV6, FAMILY_IPV6, QUERY, 139, 0, REASON_ICMP_TYPE},
		{IPPROTO_ICMPV6, FAMILY_IPV6, ANSWER, 129, 0, REASON_NO_FLOW},
		{IPPROTO_ICMPV6, FAMILY_IPV6, PACKET_ICMP_ERROR, 2, 0, REASON_ICMP_ERROR},
		{IPPROTO_ICMPV6, FAMILY_IPV6, 0, 130, 0, REASON_ICMP_TYPE},
		/* each family has its own */
		{IPPROTO_ICMP, FAMILY_IPV6, QUERY, 8, 0, REASON_ICMP_TYPE},
		{IPPROTO_ICMP, FAMILY_IPV6, QUERY, 128, 0, REASON_ICMP_TYPE},
		{IPPROTO_ICMPV6, FAMILY_IPV4, QUERY, 128, 0, REASON_ICMP_TYPE},
		{IPPROTO_ICMPV6, FAMILY_IPV4, QUERY, 8, 0, REASON_ICMP_TYPE},
	};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct packet packet =
			packet_in(DIRECTION_ORIGINAL, cases[i].protocol, cases[i].family);

		packet.flags = cases[i].flags;
		packet.icmp_type = cases[i].type;
		packet.tcp_flags = cases[i].tcp_flags;
		CU_ASSERT_EQUAL(track_opens(&packet), cases[i].reason);
	}
}

static void
test_open(void)
{
	static const struct {
		uint8_t protocol;
		uint8_t state;
		uint32_t seconds;
	} cases[] = {
		{IPPROTO_TCP, TCP_STATE_SYN_SENT, 240},
		{IPPROTO_UDP, 0, 120},
		{IPPROTO_ICMP, 0, 60},
		{IPPROTO_ICMPV6, 0, 60},
		{IPPROTO_ESP, 0, 600},
	};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct flow flow = flow_of(cases[i].protocol, 53);
		struct packet packet =
			packet_in(DIRECTION_ORIGINAL, cases[i].protocol, FAMILY_IPV4);

		if (cases[i].protocol == IPPROTO_TCP)
			packet.tcp_flags = 2;
		track_open(&flow, mbuf_of(&packet), &values, NOW_MS);
		CU_ASSERT_EQUAL(flow.state, cases[i].state);
		CU_ASSERT_EQUAL(flow.flags, 0);
		check_left(&flow, cases[i].seconds);
		CU_ASSERT_EQUAL(track_deadline(&packet, &values, NOW_MS), flow.deadline_ms);
	}
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"UDP (RFC 4787 REQ-5, REQ-6)", test_udp},
		{"ICMP queries (RFC 5508 REQ-2)", test_icmp_queries},
		{"an ICMP error touches nothing (RFC 5508 REQ-6)", test_icmp_error_touches_nothing},
		{"other protocols", test_other_protocols},
		{"TCP is handed on", test_tcp_is_handed_on},
		{"what opens a flow", test_what_opens},
		{"open", test_open},
	};

	timeout_defaults(&values);
	return UNIT_RUN("track", tests);
}
