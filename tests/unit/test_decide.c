/* SPDX-License-Identifier: BSD-3-Clause */
/* Policies that change under open flows: what may stay stays, what may not ends politely. */
#include "tests/unit/talk.h"

#define REMOTE "192.0.2.7"
#define REMOTE6 "2606:4700::7"

static const struct plane_options allowed = {.rules = "policy=accept\n"};
static const struct plane_options refused = {.rules = "policy=drop\n"};

/* A connection after its handshake: work has sent 101, the remote 901. */
static void
connect_tcp(struct plane *plane, const char *source, const char *remote, const char *uplink)
{
	struct say syn = {PLANE_WORK, IPPROTO_TCP, source, 4000, remote, 443, SYN, .sequence = 100};
	struct say synack = {PLANE_UPLINK, IPPROTO_TCP, remote, 443, uplink, 4000, SYN | ACK,
		.sequence = 900, .acknowledgement = 101};
	struct say ack = {PLANE_WORK, IPPROTO_TCP, source, 4000, remote, 443, ACK, .sequence = 101,
		.acknowledgement = 901};

	talk_send(plane, &syn);
	talk_send(plane, &synack);
	talk_send(plane, &ack);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 2);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_WORK), 1);
	plane_forget(plane);
}

/* `talk_frame` is a RST with this sequence number. */
static void
check_reset(uint32_t sequence)
{
	struct frame_view view = frame_view(talk_frame.bytes, talk_frame.length);
	uint32_t found;

	memcpy(&found, talk_frame.bytes + view.l4 + 4, sizeof(found));
	CU_ASSERT_EQUAL(rte_be_to_cpu_32(found), sequence);
	CU_ASSERT((talk_frame.bytes[view.l4 + 13] & RST) != 0);
}

static bool
end_flow(void *context, struct flow *flow)
{
	flow_reset(context, flow, 0);
	return true;
}

static void
test_stays(void)
{
	struct plane *plane = talk_begin(&allowed);
	struct say data = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, REMOTE, 443, ACK,
		.sequence = 101, .acknowledgement = 901, .payload = 10};

	connect_tcp(plane, PLANE_WORK_ADDRESS, REMOTE, PLANE_UPLINK_ADDRESS);
	for (unsigned i = 0; i < 5; i++) {
		/* other rules, but they still allow it */
		plane_commit(plane,
			&(struct plane_options){.rules = i % 2 == 0 ? "policy=drop\naction=accept "
								      "dst4=192.0.2.0/24\n"
								    : "policy=accept\n"});
		talk_send(plane, &data);
		talk_expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 4000, REMOTE, 443);
		talk_expect_silence(plane);
		data.sequence += 10;
	}
	CU_ASSERT_EQUAL(plane->dataplane->workers[0]->counters.flows_refused, 0);
	talk_end(plane);
}

/* And this acknowledgement. */
static void
check_reset_ack(uint32_t acknowledgement)
{
	struct frame_view view = frame_view(talk_frame.bytes, talk_frame.length);
	uint32_t found;

	memcpy(&found, talk_frame.bytes + view.l4 + 8, sizeof(found));
	CU_ASSERT_EQUAL(rte_be_to_cpu_32(found), acknowledgement);
}

/*
 * A connection that was refused lives no longer than it would have, makes room for others of its
 * qube, and is reset no more often than its sender may be answered.
 */
static void
test_reset_rest(void)
{
	struct plane *plane = talk_begin(&(struct plane_options){.work = "answers = 4\n"});
	const struct worker *worker = plane->dataplane->workers[0];
	struct say out = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, REMOTE, 443, ACK,
		.sequence = 101, .acknowledgement = 901, .payload = 10};
	struct say in = {PLANE_UPLINK, IPPROTO_TCP, REMOTE, 443, PLANE_UPLINK_ADDRESS, 4000, RST,
		.sequence = 901};
	unsigned resets = 0;

	connect_tcp(plane, PLANE_WORK_ADDRESS, REMOTE, PLANE_UPLINK_ADDRESS);
	talk_send(plane, &in); /* over: 10 seconds are left */
	plane_forget(plane);
	plane_wait(plane, 5000);
	plane_commit(
		plane, &(struct plane_options){.rules = "policy=drop\n", .work = "answers = 4\n"});
	talk_send(plane, &out);
	CU_ASSERT_EQUAL(worker->counters.flows_refused, 1);
	if (talk_expect(plane, PLANE_WORK, REMOTE, 443, PLANE_WORK_ADDRESS, 4000))
		check_reset_ack(101);
	if (talk_expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 4000, REMOTE, 443))
		check_reset_ack(901);
	for (unsigned i = 0; i < 20; i++) {
		talk_send(plane, &out);
		if (plane_waiting(plane, PLANE_WORK) == 0)
			continue;
		resets++;
		if (talk_expect(plane, PLANE_WORK, REMOTE, 443, PLANE_WORK_ADDRESS, 4000))
			check_reset_ack(111);
	}
	CU_ASSERT(resets >= 4 && resets <= 8);
	talk_expect_drop(plane, REASON_FLOW_REFUSED, 20);
	/* without ACK there is nothing to say */
	plane_wait(plane, 2000);
	plane_forget(plane);
	out.tcp_flags = SYN;
	talk_send(plane, &out);
	talk_expect_drop(plane, REASON_FLOW_REFUSED, 21);
	/* nor to whoever has given up himself */
	out.tcp_flags = RST | ACK;
	talk_send(plane, &out);
	talk_expect_drop(plane, REASON_FLOW_REFUSED, 22);
	plane_wait(plane, 4500);
	plane_forget(plane);
	CU_ASSERT_EQUAL(flow_count(worker->flows), 0);
	CU_ASSERT_EQUAL(talk_held(plane), 0);
	talk_end(plane);
}

static void
test_refused_makes_room(void)
{
	static const struct plane_options narrow = {.work = "flows = 16\n"};
	struct plane *plane = talk_begin(&narrow);
	struct say syn = {
		PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 0, REMOTE, 443, SYN, .sequence = 100};
	struct say synack = {PLANE_UPLINK, IPPROTO_TCP, REMOTE, 443, PLANE_UPLINK_ADDRESS, 0,
		SYN | ACK, .sequence = 900, .acknowledgement = 101};
	struct say ack = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 0, REMOTE, 443, ACK,
		.sequence = 101, .acknowledgement = 901};

	for (uint16_t i = 0; i < 16; i++) {
		syn.source_port = synack.destination_port = ack.source_port = 4000 + i;
		talk_send(plane, &syn);
		talk_send(plane, &synack);
		talk_send(plane, &ack);
	}
	plane_commit(
		plane, &(struct plane_options){.rules = "policy=drop\n", .work = "flows = 16\n"});
	for (uint16_t i = 0; i < 16; i++) {
		ack.source_port = 4000 + i;
		talk_send(plane, &ack);
	}
	plane_commit(plane, &narrow);
	plane_forget(plane);
	/* what has been reset stays so, whatever is allowed now */
	talk_send(plane, &ack);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 0);
	plane_forget(plane);
	syn.source_port = 5000;
	talk_send(plane, &syn);
	talk_expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 5000, REMOTE, 443);
	CU_ASSERT_EQUAL(plane->dataplane->workers[0]->counters.flows_evicted, 1);
	talk_end(plane);
}

/* Both ends get a RST with the sequence number they expect, whoever speaks first. */
static void
test_reset(void)
{
	for (unsigned i = 0; i < 4; i++) {
		bool ipv6 = i / 2 != 0, from_qube = i % 2 != 0;
		const char *work = ipv6 ? PLANE_WORK_ADDRESS6 : PLANE_WORK_ADDRESS;
		const char *uplink = ipv6 ? PLANE_UPLINK_ADDRESS6 : PLANE_UPLINK_ADDRESS;
		const char *remote = ipv6 ? REMOTE6 : REMOTE;
		struct plane *plane = talk_begin(&allowed);
		struct say out = {PLANE_WORK, IPPROTO_TCP, work, 4000, remote, 443, ACK,
			.sequence = 101, .acknowledgement = 901, .payload = 10};
		struct say in = {PLANE_UPLINK, IPPROTO_TCP, remote, 443, uplink, 4000, ACK,
			.sequence = 901, .acknowledgement = 101, .payload = 20};

		connect_tcp(plane, work, remote, uplink);
		plane_commit(plane, &refused);
		talk_send(plane, from_qube ? &out : &in);
		if (talk_expect(plane, PLANE_WORK, remote, 443, work, 4000))
			check_reset(901);
		if (talk_expect(plane, PLANE_UPLINK, uplink, 4000, remote, 443))
			check_reset(101);
		talk_expect_drop(plane, REASON_NO_LONGER_ALLOWED, 1);
		/* who missed it hears it again, from its own acknowledgement */
		talk_send(plane, &out);
		if (talk_expect(plane, PLANE_WORK, remote, 443, work, 4000))
			check_reset(901);
		talk_expect_drop(plane, REASON_FLOW_REFUSED, 1);
		in.acknowledgement = 111;
		talk_send(plane, &in);
		if (talk_expect(plane, PLANE_UPLINK, uplink, 4000, remote, 443))
			check_reset(111);
		talk_expect_drop(plane, REASON_FLOW_REFUSED, 2);
		/* but a RST is not answered */
		in.tcp_flags = RST;
		talk_send(plane, &in);
		talk_expect_drop(plane, REASON_FLOW_REFUSED, 3);
		/* after a while nothing is left of it */
		plane_wait(plane, 12 * 1000);
		plane_forget(plane);
		CU_ASSERT_EQUAL(talk_held(plane), 0);
		talk_end(plane);
	}
}

/* Whoever got @p about sends an ICMP error about it: unreachable, no port or no address. */
static void
send_error(struct plane *plane, uint16_t port, const char *source, const char *destination,
	const struct frame *about)
{
	bool uplink = port == PLANE_UPLINK;
	bool ipv6 = about->bytes[12] == 0x86;
	struct frame_spec spec = {
		.destination_mac = uplink ? plane_uplink_mac : plane_vif_mac,
		.source_mac = uplink ? plane_router_mac : plane_qube_mac,
		.source = source,
		.destination = destination,
		.protocol = ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP,
		.type = ipv6 ? 1 : 3,
		.payload = (uint16_t)(about->length - 14),
	};
	struct frame_view view;

	frame_build(&talk_frame, &spec);
	view = frame_view(talk_frame.bytes, talk_frame.length);
	memset(talk_frame.bytes + view.l4 + 4, 0, 4);
	memcpy(talk_frame.bytes + view.l4 + 8, about->bytes + 14, about->length - 14);
	frame_fix(talk_frame.bytes, talk_frame.length);
	plane_send(plane, port, &talk_frame);
}

/* An error about a connection passes in either direction, but not when that has been refused. */
static void
test_errors(void)
{
	for (unsigned ipv6 = 0; ipv6 < FAMILIES; ipv6++) {
		const char *work = ipv6 ? PLANE_WORK_ADDRESS6 : PLANE_WORK_ADDRESS;
		const char *uplink = ipv6 ? PLANE_UPLINK_ADDRESS6 : PLANE_UPLINK_ADDRESS;
		const char *remote = ipv6 ? REMOTE6 : REMOTE;
		struct plane *plane = talk_begin(&allowed);
		struct say out = {PLANE_WORK, IPPROTO_TCP, work, 4000, remote, 443, ACK,
			.sequence = 101, .acknowledgement = 901, .payload = 10};
		struct say in = {PLANE_UPLINK, IPPROTO_TCP, remote, 443, uplink, 4000, ACK,
			.sequence = 901, .acknowledgement = 101, .payload = 20};
		static struct frame sent, received;

		connect_tcp(plane, work, remote, uplink);
		talk_send(plane, &out);
		talk_expect(plane, PLANE_UPLINK, uplink, 4000, remote, 443);
		sent = talk_frame;
		talk_send(plane, &in);
		talk_expect(plane, PLANE_WORK, remote, 443, work, 4000);
		received = talk_frame;
		send_error(plane, PLANE_UPLINK, remote, uplink, &sent);
		talk_expect(plane, PLANE_WORK, remote, 0, work, 0);
		send_error(plane, PLANE_WORK, work, remote, &received);
		talk_expect(plane, PLANE_UPLINK, uplink, 0, remote, 0);
		talk_expect_silence(plane);
		/* it is the error that finds out */
		plane_commit(plane, &refused);
		send_error(plane, PLANE_UPLINK, remote, uplink, &sent);
		talk_expect(plane, PLANE_WORK, remote, 443, work, 4000);
		talk_expect(plane, PLANE_UPLINK, uplink, 4000, remote, 443);
		talk_expect_drop(plane, REASON_NO_LONGER_ALLOWED, 1);
		send_error(plane, PLANE_UPLINK, remote, uplink, &sent);
		talk_expect_drop(plane, REASON_FLOW_REFUSED, 1);
		send_error(plane, PLANE_WORK, work, remote, &received);
		talk_expect_drop(plane, REASON_FLOW_REFUSED, 2);
		CU_ASSERT_EQUAL(plane->dataplane->workers[0]->counters.related_errors, 2);
		talk_end(plane);
	}
}

static void
test_udp(void)
{
	struct plane *plane = talk_begin(&allowed);
	struct say out = {PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 4000, REMOTE, 443,
		.tcp_flags = 0, .payload = 3};
	struct say in = {
		PLANE_UPLINK, IPPROTO_UDP, REMOTE, 443, PLANE_UPLINK_ADDRESS, 4000, .tcp_flags = 0};
	struct say out6 = {
		PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS6, 4000, REMOTE6, 443, .tcp_flags = 0};

	talk_send(plane, &out);
	talk_send(plane, &out6);
	plane_forget(plane);
	plane_commit(plane, &refused);
	/* nobody outside learns of it */
	talk_send(plane, &in);
	talk_expect_drop(plane, REASON_NO_LONGER_ALLOWED, 1);
	/* the qube does */
	talk_send(plane, &out6);
	talk_expect_refusal(plane, PLANE_WORK, 1, 1, REASON_NO_LONGER_ALLOWED, 2);
	talk_send(plane, &out);
	talk_expect_refusal(plane, PLANE_WORK, 3, 13, REASON_POLICY, 1);
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 0);
	CU_ASSERT_EQUAL(talk_held(plane), 0);
	talk_end(plane);
}

/* A connection that was never answered is refused like a new one. */
static void
test_half_open(void)
{
	struct plane *plane = talk_begin(&allowed);
	struct say syn = {
		PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, REMOTE, 443, SYN, .sequence = 1};

	talk_send(plane, &syn);
	plane_forget(plane);
	plane_commit(plane, &refused);
	talk_send(plane, &syn);
	talk_expect_refusal(plane, PLANE_WORK, 3, 13, REASON_NO_LONGER_ALLOWED, 1);
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 0);
	talk_end(plane);
}

/* The type of a ping is remembered for the rules that look at it. */
static void
test_icmp(void)
{
	struct plane *plane = talk_begin(&allowed);
	struct say ping = {PLANE_WORK, IPPROTO_ICMP, PLANE_WORK_ADDRESS, 7, REMOTE, 0,
		.tcp_flags = 0, .type = 8};

	talk_send(plane, &ping);
	plane_forget(plane);
	plane_commit(plane, &(struct plane_options){
				    .rules = "policy=drop\naction=accept proto=icmp icmptype=8\n"});
	talk_send(plane, &ping);
	talk_expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 0, REMOTE, 0);
	plane_commit(plane, &(struct plane_options){
				    .rules = "policy=accept\naction=drop proto=icmp icmptype=8\n"});
	talk_send(plane, &ping);
	talk_expect_refusal(plane, PLANE_WORK, 3, 13, REASON_NO_LONGER_ALLOWED, 1);
	talk_end(plane);
}

/* A burst with many packets of flows that end, start anew and stay. */
static void
test_burst(void)
{
	struct plane *plane = talk_begin(&allowed);
	struct say out = {
		PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 0, REMOTE, 0, .tcp_flags = 0};
	struct rte_mbuf *burst[60];

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < RTE_DIM(burst); i++) {
			out.source_port = (uint16_t)(4000 + i % 3);
			out.destination_port = (uint16_t)(440 + i % 3);
			talk_build(&out);
			burst[i] = frame_mbuf(
				plane->dataplane->pool, talk_frame.bytes, talk_frame.length);
		}
		plane_receive(plane, PLANE_WORK, burst, RTE_DIM(burst));
		if (round == 0) {
			CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 60);
			plane_commit(plane, &(struct plane_options){
						    .rules = "policy=drop\naction=accept proto=udp "
							     "dstports=441\n"});
		} else {
			CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 20);
			CU_ASSERT_EQUAL(plane_drops(plane, REASON_NO_LONGER_ALLOWED), 2);
			CU_ASSERT_EQUAL(plane_drops(plane, REASON_POLICY), 38 + 40 * (round - 1));
		}
		plane_forget(plane);
	}
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 1);
	talk_end(plane);
}

/* What a forward let in ends with it, or when it leads elsewhere. */
static void
test_forward(void)
{
	static const struct plane_options with = {
		.more = "[forward web]\nforwardtype = external\nproto = tcp\nsrcports = 80\n"
			"qube = work\n"};
	static const struct plane_options same = {.rules = "policy=drop\n",
		.more = "[forward other]\nforwardtype = external\nproto = tcp\nsrcports = 80-90\n"
			"qube = work\n"};
	static const struct plane_options elsewhere = {
		.more = "[forward web]\nforwardtype = external\nproto = tcp\nsrcports = 80\n"
			"qube = personal\n"};
	static const struct plane_options moved = {
		.more = "[forward web]\nforwardtype = external\nproto = tcp\nsrcports = 80\n"
			"dstports = 81\nqube = work\n"};
	static const struct plane_options *const after[] = {&elsewhere, &moved, &allowed};

	for (unsigned i = 0; i < RTE_DIM(after); i++) {
		struct plane *plane = talk_begin(&with);
		struct say syn = {PLANE_UPLINK, IPPROTO_TCP, REMOTE, 4000, PLANE_UPLINK_ADDRESS, 80,
			SYN, .sequence = 100};
		struct say synack = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 80, REMOTE, 4000,
			SYN | ACK, .sequence = 900, .acknowledgement = 101};
		struct say ack = {PLANE_UPLINK, IPPROTO_TCP, REMOTE, 4000, PLANE_UPLINK_ADDRESS, 80,
			ACK, .sequence = 101, .acknowledgement = 901};

		talk_send(plane, &syn);
		talk_send(plane, &synack);
		talk_send(plane, &ack);
		plane_forget(plane);
		plane_commit(plane, &same);
		talk_send(plane, &ack);
		talk_expect(plane, PLANE_WORK, REMOTE, 4000, PLANE_WORK_ADDRESS, 80);
		talk_expect_silence(plane);
		plane_commit(plane, after[i]);
		talk_send(plane, &ack);
		if (talk_expect(plane, PLANE_WORK, REMOTE, 4000, PLANE_WORK_ADDRESS, 80))
			check_reset(101);
		if (talk_expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 80, REMOTE, 4000))
			check_reset(901);
		talk_expect_drop(plane, REASON_NO_LONGER_ALLOWED, 1);
		talk_end(plane);
	}
}

/* Flows that are ended on demand: established TCP is reset at both ends, the rest forgotten. */
static void
test_flow_reset(void)
{
	struct plane *plane = talk_begin(&allowed);
	struct worker *worker = plane->dataplane->workers[0];
	struct say data = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, REMOTE, 443, ACK,
		.sequence = 101, .acknowledgement = 901, .payload = 10};
	struct say query = {
		PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 4001, REMOTE, 7000, .tcp_flags = 0};
	struct say syn = {
		PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4002, REMOTE, 443, .tcp_flags = SYN};
	uint32_t cursor = 0;

	connect_tcp(plane, PLANE_WORK_ADDRESS, REMOTE, PLANE_UPLINK_ADDRESS);
	talk_send(plane, &query);
	talk_send(plane, &syn);
	plane_forget(plane);
	CU_ASSERT_EQUAL(flow_count(worker->flows), 3);
	CU_ASSERT_FALSE(flow_walk_some(worker->flows, &cursor, 100, end_flow, worker));
	worker_flush(worker);
	CU_ASSERT_EQUAL(flow_count(worker->flows), 1);
	if (talk_expect(plane, PLANE_WORK, REMOTE, 443, PLANE_WORK_ADDRESS, 4000))
		check_reset(901);
	if (talk_expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 4000, REMOTE, 443))
		check_reset(101);
	talk_expect_silence(plane);
	CU_ASSERT_EQUAL(worker->counters.flows_refused, 0);
	/* who has not heard is told again */
	talk_send(plane, &data);
	if (talk_expect(plane, PLANE_WORK, REMOTE, 443, PLANE_WORK_ADDRESS, 4000))
		check_reset(901);
	talk_expect_drop(plane, REASON_FLOW_REFUSED, 1);
	/* the others may begin anew at once */
	talk_send(plane, &query);
	talk_send(plane, &syn);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 2);
	plane_forget(plane);
	talk_end(plane);
}

/* An address that was nobody's is a qube's now: what goes to it may not leave as before. */
static void
test_owner(void)
{
	struct plane *plane = talk_begin(&allowed);
	struct say out = {PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 4000, "10.137.0.18", 443,
		.tcp_flags = 0, .payload = 3};

	talk_send(plane, &out);
	talk_expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 4000, "10.137.0.18", 443);
	plane_commit(
		plane, &(struct plane_options){.more = "[qube away]\naddress = 10.137.0.18\n"
						       "rules = personal.rules\n"
						       "[allow one]\nfrom = work\nto = away\n"});
	talk_send(plane, &out);
	talk_expect_refusal(plane, PLANE_WORK, 3, 13, REASON_NO_LONGER_ALLOWED, 1);
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 0);
	talk_end(plane);
}

/* Another resolver behind a virtual address: the next question goes there. */
static void
test_resolver(void)
{
	struct plane *plane = talk_begin(&allowed);
	struct say query = {PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 4000, PLANE_DNS, 53,
		.tcp_flags = 0, .payload = 9};

	talk_send(plane, &query);
	plane_forget(plane);
	plane_commit(plane, &(struct plane_options){.no_resolver = true});
	talk_send(plane, &query);
	talk_expect_refusal(plane, PLANE_WORK, 3, 13, REASON_NO_LONGER_ALLOWED, 1);
	talk_send(plane, &query);
	talk_expect_drop(plane, REASON_NO_RESOLVER, 1);
	plane_wait(plane, 5000); /* the question that waited for the resolver's MAC */
	plane_forget(plane);
	talk_end(plane);
}

/* What belongs to nothing: no answer, and the reason that says most. */
static void
test_stray(void)
{
	struct plane *plane = talk_begin(&allowed);
	struct say redirect = {PLANE_UPLINK, IPPROTO_ICMP, REMOTE, 0, "192.168.50.77", 0,
		.tcp_flags = 0, .type = 5, .payload = 28};
	struct say segment = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, PLANE_GATEWAY, 80,
		.tcp_flags = ACK};

	talk_send(plane, &redirect);
	talk_expect_drop(plane, REASON_ICMP_TYPE, 1);
	talk_send(plane, &segment);
	talk_expect_drop(plane, REASON_TCP_STATE, 1);
	talk_expect_silence(plane);
	/* whoever begins a connection to the firewall is told */
	segment.tcp_flags = SYN;
	talk_send(plane, &segment);
	talk_expect_refusal(plane, PLANE_WORK, 3, 10, REASON_LOCAL_REFUSED, 1);
	talk_end(plane);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"what is still allowed stays", test_stays},
		{"TCP is reset at both ends", test_reset},
		{"what is left of a refused connection", test_reset_rest},
		{"a refused connection makes room", test_refused_makes_room},
		{"ICMP errors end with it", test_errors},
		{"UDP ends", test_udp},
		{"half-open connections", test_half_open},
		{"pings", test_icmp},
		{"a burst of everything", test_burst},
		{"forwards", test_forward},
		{"a new owner of an address", test_owner},
		{"resolvers", test_resolver},
		{"on demand", test_flow_reset},
		{"what belongs to nothing", test_stray},
	};

	unit_eal();
	return UNIT_RUN("decide", tests);
}
