/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening flows, on the books: an attempt that fails gives back what it took, nobody pays twice or
 * for another, and what makes room is the right thing.
 */
#include "tests/unit/audit.h"
#include "tests/unit/talk.h"

#define REMOTE "192.0.2.7"
#define OTHER "192.0.2.8"
#define GRE 47
#define SERVICE_PORTS 1024

static void
balance(const struct plane *plane)
{
	const char *text = plane_audit(plane);

	CU_ASSERT_PTR_NULL(text);
	if (text != NULL)
		printf("\n    %s\n", text);
}

/* Everything ends, and nothing is held any more. */
static void
end(struct plane *plane)
{
	const char *text;

	balance(plane);
	plane_forget(plane);
	plane_wait(plane, 700 * 1000);
	plane_forget(plane);
	text = plane_audit_empty(plane);
	CU_ASSERT_PTR_NULL(text);
	if (text != NULL)
		printf("\n    %s\n", text);
	talk_end(plane);
}

static struct say
udp(uint16_t port, const char *source, uint16_t source_port, const char *destination,
	uint16_t destination_port)
{
	return (struct say){.port = port,
		.protocol = IPPROTO_UDP,
		.source = source,
		.source_port = source_port,
		.destination = destination,
		.destination_port = destination_port,
		.payload = 4};
}

static struct say
work_asks(uint16_t port, const char *destination, uint16_t destination_port)
{
	return udp(PLANE_WORK, PLANE_WORK_ADDRESS, port, destination, destination_port);
}

static uint32_t
used(const struct plane *plane, uint16_t port, enum budget_kind kind)
{
	uint16_t qube = atomic_load(&plane->dataplane->policy)->ports[port].qube;

	return budget_used(dataplane_account(plane->dataplane, qube, false), kind);
}

/* The source port of the next frame on the uplink; 0 if there is none. */
static uint16_t
external_port(struct plane *plane)
{
	const struct sent *sent = plane_next(plane, PLANE_UPLINK);

	return sent == NULL ? 0 : frame_view(sent->frame.bytes, sent->frame.length).source_port;
}

/* The target of a forward is away: found out after port and account were taken. */
static void
test_away(void)
{
	static const char sections[] =
		"[qube away]\naddress = 10.137.0.18\nrules = personal.rules\n"
		"[forward one]\nforwardtype = internal\nproto = udp\nsrcports = 8080\nqube = away\n"
		"[forward two]\nforwardtype = internal\nproto = tcp\nsrcports = 8080\nqube = "
		"away\n";
	struct plane *plane = talk_begin(&(struct plane_options){.more = sections});
	struct say out = work_asks(4000, PLANE_UPLINK_ADDRESS, 8080);

	for (unsigned i = 0; i < 4; i++) {
		out.protocol = i % 2 == 0 ? IPPROTO_UDP : IPPROTO_TCP;
		out.tcp_flags = SYN;
		talk_send(plane, &out);
		CU_ASSERT_EQUAL(plane_drops(plane, REASON_NO_ROUTE), i + 1);
		CU_ASSERT_EQUAL(talk_held(plane), 0);
		balance(plane);
	}
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 0);
	end(plane);
}

/* From one socket to a virtual resolver and to the host behind it: two external ports. */
static void
test_two_names(void)
{
	struct plane *plane =
		talk_begin(&(struct plane_options){.work = "filter = none\n", .automatic = true});
	struct say virtual = work_asks(4000, PLANE_DNS, 53);
	struct say direct = work_asks(4000, PLANE_RESOLVER, 53);
	struct say in = udp(PLANE_UPLINK, OTHER, 7000, PLANE_UPLINK_ADDRESS, 4000);
	uint16_t another;

	talk_send(plane, &virtual);
	CU_ASSERT_EQUAL(external_port(plane), 4000);
	talk_send(plane, &direct);
	another = external_port(plane);
	CU_ASSERT(another >= SERVICE_PORTS);
	CU_ASSERT_NOT_EQUAL(another, 4000);
	CU_ASSERT_EQUAL(used(plane, PLANE_WORK, BUDGET_PORTS), 2);
	balance(plane);
	/* a filter lets in to the binding of the pair, not to the port that was for one remote */
	in.destination_port = another;
	talk_send(plane, &in);
	talk_expect_drop(plane, REASON_NO_FLOW, 1);
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 2);
	balance(plane);
	in.destination_port = 4000;
	talk_send(plane, &in);
	talk_expect(plane, PLANE_WORK, OTHER, 7000, PLANE_WORK_ADDRESS, 4000);
	end(plane);
}

/* Without room for the second port the first one stays as it was. */
static void
test_two_names_limited(void)
{
	struct plane *plane =
		talk_begin(&(struct plane_options){.work = "ports = 1\n", .automatic = true});
	struct say virtual = work_asks(4000, PLANE_DNS, 53);
	struct say direct = work_asks(4000, PLANE_RESOLVER, 53);

	talk_send(plane, &virtual);
	CU_ASSERT_EQUAL(external_port(plane), 4000);
	for (unsigned i = 0; i < 3; i++) {
		talk_send(plane, &direct);
		talk_expect_refusal(plane, PLANE_WORK, 3, 13, REASON_PORTS_EXHAUSTED, i + 1);
		CU_ASSERT_EQUAL(used(plane, PLANE_WORK, BUDGET_PORTS), 1);
		balance(plane);
	}
	talk_send(plane, &virtual);
	CU_ASSERT_EQUAL(external_port(plane), 4000);
	end(plane);
}

/* All ports of a class are taken: whoever comes then pays nothing, and takes nobody's. */
static void
test_class_exhausted(void)
{
	struct plane *plane = talk_begin(&(struct plane_options){.automatic = true});
	struct say late = udp(PLANE_PERSONAL, PLANE_PERSONAL_ADDRESS, 500, REMOTE, 443);
	struct say direct = work_asks(600, PLANE_RESOLVER, 53);
	uint32_t held;

	for (uint16_t port = 1; port < SERVICE_PORTS; port++) {
		struct say out =
			work_asks(port, port == 600 ? PLANE_DNS : REMOTE, port == 600 ? 53 : 443);

		talk_send(plane, &out);
	}
	plane_forget(plane);
	held = used(plane, PLANE_WORK, BUDGET_PORTS);
	CU_ASSERT_EQUAL(held, SERVICE_PORTS - 1);
	for (unsigned i = 0; i < 3; i++) {
		talk_send(plane, &late);
		talk_send(plane, &direct);
		CU_ASSERT_EQUAL(used(plane, PLANE_PERSONAL, BUDGET_PORTS), 0);
		CU_ASSERT_EQUAL(used(plane, PLANE_WORK, BUDGET_PORTS), held);
		balance(plane);
	}
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_PORTS_EXHAUSTED), 6);
	end(plane);
}

/* Protocols without ports: the first qube has the destination, and ports are not its concern. */
static void
test_no_ports(void)
{
	struct plane *plane = talk_begin(&(struct plane_options){0});
	struct say first = {PLANE_WORK, GRE, PLANE_WORK_ADDRESS, 0, REMOTE, 0, .tcp_flags = 0};
	struct say second = {
		PLANE_PERSONAL, GRE, PLANE_PERSONAL_ADDRESS, 0, REMOTE, 0, .tcp_flags = 0};
	struct say ping = {
		PLANE_PERSONAL, IPPROTO_ICMP, PLANE_PERSONAL_ADDRESS, 0, REMOTE, 0, .type = 8};

	talk_send(plane, &ping);
	talk_send(plane, &first);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 2);
	plane_forget(plane);
	talk_send(plane, &second);
	talk_expect_refusal(plane, PLANE_PERSONAL, 3, 13, REASON_PORTS_EXHAUSTED, 1);
	CU_ASSERT_EQUAL(used(plane, PLANE_WORK, BUDGET_PORTS), 0);
	end(plane);
}

/* A handshake makes room for another one; other flows that may go would not help. */
static void
test_half_open_room(void)
{
	struct plane *plane = talk_begin(&(struct plane_options){.work = "half-open = 2\n"});
	struct say out = work_asks(0, REMOTE, 443);

	for (uint16_t i = 0; i < 60; i++) {
		out.protocol = i % 20 == 19 ? IPPROTO_TCP : IPPROTO_UDP;
		out.tcp_flags = SYN;
		out.source_port = 2000 + i;
		talk_send(plane, &out);
		CU_ASSERT_NOT_EQUAL(external_port(plane), 0);
	}
	/* of three handshakes one has gone, and of the others none */
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 59);
	CU_ASSERT_EQUAL(used(plane, PLANE_WORK, BUDGET_HALF_OPEN), 2);
	CU_ASSERT_EQUAL(used(plane, PLANE_WORK, BUDGET_FLOWS), 59);
	end(plane);
}

/* One packet of each open flow, and one that must make room, in a burst. */
static void
test_room_in_burst(void)
{
	enum { FLOWS = 16 };
	struct plane *plane = talk_begin(&(struct plane_options){.work = "flows = 16\n"});
	struct rte_mbuf *burst[FLOWS + 1];

	for (unsigned i = 0; i < FLOWS; i++) {
		struct say out = work_asks((uint16_t)(2000 + i), REMOTE, 443);

		talk_send(plane, &out);
	}
	plane_forget(plane);
	for (unsigned i = 0; i <= FLOWS; i++) {
		struct say out = work_asks((uint16_t)(2000 + i), i == FLOWS ? OTHER : REMOTE, 443);

		talk_build(&out);
		burst[i] = frame_mbuf(plane->dataplane->pool, talk_frame.bytes, talk_frame.length);
	}
	plane_receive(plane, PLANE_WORK, burst, FLOWS + 1);
	for (unsigned i = 0; i <= FLOWS; i++)
		talk_expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, (uint16_t)(2000 + i),
			i == FLOWS ? OTHER : REMOTE, 443);
	CU_ASSERT_EQUAL(plane->dataplane->workers[0]->counters.flows_evicted, 1);
	CU_ASSERT_EQUAL(used(plane, PLANE_WORK, BUDGET_FLOWS), FLOWS);
	end(plane);
}

/* A flow that must make room first is one new flow, not two. */
static void
test_new_flows_once(void)
{
	struct plane *plane =
		talk_begin(&(struct plane_options){.work = "flows = 16\nnew-flows = 40\n"});

	for (uint16_t i = 0; i < 41; i++) {
		struct say out = work_asks(2000 + i, REMOTE, 443);

		talk_send(plane, &out);
	}
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 40);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_NEW_FLOWS_BUDGET), 1);
	end(plane);
}

/* The table is full: a qube's own flow makes room, and who has none is refused. */
static void
test_table_full(void)
{
	struct plane *plane = talk_begin(&(struct plane_options){0});
	const struct worker *worker = plane->dataplane->workers[0];
	uint32_t capacity = flow_capacity(worker->flows);
	struct say late = udp(PLANE_PERSONAL, PLANE_PERSONAL_ADDRESS, 500, REMOTE, 443);

	for (uint32_t i = 0; i < capacity + 300; i++) {
		struct say out = work_asks((uint16_t)(2000 + i), REMOTE, 443);

		talk_send(plane, &out);
		if (i % 1000 == 0)
			plane_wait(plane, 100);
		CU_ASSERT_NOT_EQUAL(external_port(plane), 0);
	}
	CU_ASSERT(worker->counters.flows_evicted >= 300);
	balance(plane);
	talk_send(plane, &late);
	talk_expect_refusal(plane, PLANE_PERSONAL, 3, 13, REASON_FLOWS_EXHAUSTED, 1);
	CU_ASSERT_EQUAL(used(plane, PLANE_PERSONAL, BUDGET_FLOWS), 0);
	end(plane);
}

/* The limits of whoever opens the flow. */
static void
test_own_limits(void)
{
	struct plane *plane = talk_begin(&(struct plane_options){.personal = "new-flows = 5\n"});

	for (uint16_t i = 0; i < 20; i++) {
		struct say out = udp(PLANE_PERSONAL, PLANE_PERSONAL_ADDRESS, 2000 + i, REMOTE, 443);

		talk_send(plane, &out);
	}
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 5);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_NEW_FLOWS_BUDGET), 15);
	end(plane);
}

/* A connection that is taken up in the middle has its handshake behind it. */
static void
test_pickup(void)
{
	struct plane *plane = talk_begin(&(struct plane_options){
		.more = "[timeouts]\ntcp-pickup = 60\ntcp-established = 60\n"});
	struct say out = work_asks(4000, REMOTE, 443);

	plane->dataplane->pickup = true;
	out.protocol = IPPROTO_TCP;
	out.tcp_flags = ACK;
	talk_send(plane, &out);
	talk_expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 4000, REMOTE, 443);
	CU_ASSERT_EQUAL(used(plane, PLANE_WORK, BUDGET_FLOWS), 1);
	CU_ASSERT_EQUAL(used(plane, PLANE_WORK, BUDGET_HALF_OPEN), 0);
	end(plane);
}

/* A flow that is opened is one of the policy in force, of its rule, and is counted at its end. */
static void
test_marks(void)
{
	struct plane *plane = talk_begin(&(struct plane_options){
		.rules = "policy=drop\naction=accept proto=tcp\naction=accept proto=udp\n",
		.more = "[forward one]\nforwardtype = external\nproto = udp\nsrcports = 5353\n"
			"qube = work\n"});
	struct say in = udp(PLANE_UPLINK, REMOTE, 443, PLANE_UPLINK_ADDRESS, 5353);
	const struct worker *worker = plane->dataplane->workers[0];
	struct say out = work_asks(4000, REMOTE, 443);
	struct tuple tuple = {.source_port = RTE_BE16(443),
		.destination_port = RTE_BE16(4000),
		.protocol = IPPROTO_UDP,
		.family = FAMILY_IPV4};
	enum direction direction;
	enum family family;
	const struct flow *flow;

	talk_send(plane, &out);
	plane_forget(plane);
	CU_ASSERT_EQUAL(address_parse(REMOTE, &family, &tuple.source), 0);
	CU_ASSERT_EQUAL(address_parse(PLANE_UPLINK_ADDRESS, &family, &tuple.destination), 0);
	flow = flow_lookup(
		worker->flows, &tuple, flow_hash(&plane->dataplane->secret, &tuple), &direction);
	CU_ASSERT_PTR_NOT_NULL_FATAL(flow);
	CU_ASSERT_EQUAL(flow->generation, atomic_load(&plane->dataplane->policy)->generation);
	CU_ASSERT_EQUAL(flow->rule, 1);
	/* no rule has let in what a forward did */
	talk_send(plane, &in);
	plane_forget(plane);
	tuple.destination_port = RTE_BE16(5353);
	flow = flow_lookup(
		worker->flows, &tuple, flow_hash(&plane->dataplane->secret, &tuple), &direction);
	CU_ASSERT_PTR_NOT_NULL_FATAL(flow);
	CU_ASSERT_EQUAL(flow->rule, RULE_NONE);
	CU_ASSERT_EQUAL(worker->counters.flows_opened, 2);
	CU_ASSERT_EQUAL(worker->counters.flows_expired, 0);
	plane_wait(plane, 130 * 1000);
	CU_ASSERT_EQUAL(worker->counters.flows_expired, 2);
	end(plane);
}

/*
 * The permission of a remote address ends with the last flow to it, not a moment later, and begins
 * anew with the next. Another flow keeps the port.
 */
static void
test_permission_ends(void)
{
	for (unsigned again = 0; again < 2; again++) {
		struct plane *plane =
			talk_begin(&(struct plane_options){.work = "filter = address\n"});
		const struct worker *worker = plane->dataplane->workers[0];
		struct say first = work_asks(4000, REMOTE, 443);
		struct say second = work_asks(4000, OTHER, 443);
		struct say in = udp(PLANE_UPLINK, REMOTE, 7000, PLANE_UPLINK_ADDRESS, 4000);

		talk_send(plane, &first);
		plane_wait(plane, 60 * 1000);
		talk_send(plane, &second);
		plane_forget(plane);
		while (worker->counters.flows_expired == 0)
			plane_wait(plane, 100);
		plane_forget(plane);
		plane_resolve(plane);
		balance(plane);
		if (again == 0) {
			talk_send(plane, &in);
			talk_expect_drop(plane, REASON_NO_FLOW, 1);
		} else {
			talk_send(plane, &first);
			plane_wait(plane, 3000);
			plane_forget(plane);
			balance(plane);
			talk_send(plane, &in);
			talk_expect(plane, PLANE_WORK, REMOTE, 7000, PLANE_WORK_ADDRESS, 4000);
		}
		end(plane);
	}
}

/* A forward is open to all, but not to who comes across the uplink as one of the qubes. */
static void
test_forward_as_qube(void)
{
	struct plane *plane = talk_begin(
		&(struct plane_options){.more = "[forward one]\nforwardtype = external\n"
						"proto = udp\nsrcports = 5353\nqube = work\n"});
	struct say in = udp(PLANE_UPLINK, PLANE_PERSONAL_ADDRESS, 443, PLANE_UPLINK_ADDRESS, 5353);

	talk_send(plane, &in);
	talk_expect_drop(plane, REASON_DOWNSTREAM_SOURCE, 1);
	in.source = REMOTE;
	talk_send(plane, &in);
	talk_expect(plane, PLANE_WORK, REMOTE, 443, PLANE_WORK_ADDRESS, 5353);
	end(plane);
}

/* Whoever is spoken to at port 0 has a flow where permissions stand, which is none. */
static void
test_port_zero(void)
{
	struct plane *plane = talk_begin(&(struct plane_options){.work = "filter = address\n"});
	struct say zero = work_asks(4000, REMOTE, 0);
	struct say out = work_asks(4000, REMOTE, 443);

	for (unsigned i = 0; i < 2; i++) {
		talk_send(plane, &zero);
		balance(plane);
		talk_send(plane, &out);
		balance(plane);
	}
	plane_forget(plane);
	end(plane);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"a target that is away", test_away},
		{"two names of one resolver", test_two_names},
		{"two names, and a limit", test_two_names_limited},
		{"RFC 4787 REQ-3: no port of the class is left", test_class_exhausted},
		{"protocols without ports", test_no_ports},
		{"room for a handshake", test_half_open_room},
		{"room made in a burst", test_room_in_burst},
		{"a new flow counts once", test_new_flows_once},
		{"a full table", test_table_full},
		{"everybody's own limits", test_own_limits},
		{"taken up in the middle", test_pickup},
		{"marks of a flow", test_marks},
		{"permissions end and begin", test_permission_ends},
		{"a forward, and somebody as a qube", test_forward_as_qube},
		{"remote port 0", test_port_zero},
	};

	unit_eal();
	return UNIT_RUN("open_books", tests);
}
