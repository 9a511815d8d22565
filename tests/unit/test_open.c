/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening flows: forwards, hairpins, other qubes, filters, budgets, and giving everything back. */
#include "tests/unit/talk.h"

#define REMOTE "192.0.2.7"
#define REMOTE6 "2606:4700::7"

/* Addresses of one family. */
struct names {
	const char *remote, *other, *uplink, *gateway, *work, *personal;
};

static const struct names names[FAMILIES] = {
	{REMOTE, "192.0.2.8", PLANE_UPLINK_ADDRESS, PLANE_GATEWAY, PLANE_WORK_ADDRESS,
		PLANE_PERSONAL_ADDRESS},
	{REMOTE6, "2606:4700::8", PLANE_UPLINK_ADDRESS6, PLANE_GATEWAY6, PLANE_WORK_ADDRESS6,
		PLANE_PERSONAL_ADDRESS6},
};

static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};

#define FORWARD(type, proto) \
	"[forward " type "-" proto "]\nforwardtype = " type "\nproto = " proto "\n"

/* A packet and where it must come out; TCP goes through its handshake by itself. */
static void
pass(struct plane *plane, const struct say *say, uint16_t out, const char *source,
	uint16_t source_port, const char *destination, uint16_t destination_port)
{
	talk_send(plane, say);
	talk_expect(plane, out, source, source_port, destination, destination_port);
	talk_expect_silence(plane);
}

static struct say
answer(uint16_t port, uint8_t protocol, const char *source, uint16_t source_port,
	const char *destination, uint16_t destination_port)
{
	return (struct say){port, protocol, source, source_port, destination, destination_port,
		SYN | ACK, 0, .sequence = 900, .acknowledgement = 101};
}

static struct say
question(uint16_t port, uint8_t protocol, const char *source, uint16_t source_port,
	const char *destination, uint16_t destination_port)
{
	return (struct say){port, protocol, source, source_port, destination, destination_port, SYN,
		0, .sequence = 100};
}

/* Whether a frame that left goes to this address. */
static bool
address_is(const struct sent *sent, const char *destination)
{
	struct frame_view view;
	union address address;
	enum family family;

	if (sent == NULL)
		return false;
	view = frame_view(sent->frame.bytes, sent->frame.length);
	return address_parse(destination, &family, &address) == 0 && view.family == family &&
	       address_equal(&view.destination, &address);
}

static void
test_forward_external(void)
{
	static const char sections[] = FORWARD("external",
		"tcp") "srcports = 8000-8009\ndstports = 80-89\nqube = work\n" FORWARD("external",
		"udp") "srcports = 8000-8009\ndstports = 5353\nqube = work\n";

	for (unsigned i = 0; i < 4; i++) {
		const struct names *n = &names[i / 2];
		uint8_t protocol = protocols[i % 2];
		uint16_t target = protocol == IPPROTO_TCP ? 83 : 5353;
		/* its own rules say nothing about who may come in */
		struct plane *plane = talk_begin(
			&(struct plane_options){.rules = "policy=drop\n", .more = sections});
		struct say in = question(PLANE_UPLINK, protocol, n->remote, 4000, n->uplink, 8003);
		struct say back = answer(PLANE_WORK, protocol, n->work, target, n->remote, 4000);

		pass(plane, &in, PLANE_WORK, n->remote, 4000, n->work, target);
		pass(plane, &back, PLANE_UPLINK, n->uplink, 8003, n->remote, 4000);
		/* one port further nobody listens */
		in.destination_port = 8010;
		talk_send(plane, &in);
		talk_expect_drop(plane, REASON_NO_FLOW, 1);
		/* nor for an address that is not ours */
		in.destination_port = 8003;
		in.source_port = 4001;
		in.destination = n->other;
		talk_send(plane, &in);
		talk_expect_drop(plane, REASON_NO_FLOW, 2);
		/* a qube is not meant by an external forward */
		in = question(PLANE_PERSONAL, protocol, n->personal, 4000, n->uplink, 8003);
		talk_send(plane, &in);
		talk_expect_refusal(plane, PLANE_PERSONAL, i / 2 == 0 ? 3 : 1, i / 2 == 0 ? 10 : 1,
			REASON_LOCAL_REFUSED, 1);
		plane_wait(plane, 400 * 1000);
		plane_forget(plane);
		CU_ASSERT_EQUAL(talk_held(plane), 0);
		talk_end(plane);
	}
}

static void
test_forward_source(void)
{
	static const char sections[] =
		FORWARD("external", "tcp") "srcports = 22\nsrchost = 192.0.2.0/29\nqube = work\n";
	struct plane *plane = talk_begin(&(struct plane_options){.more = sections});
	struct say in = question(PLANE_UPLINK, IPPROTO_TCP, REMOTE, 4000, PLANE_UPLINK_ADDRESS, 22);

	pass(plane, &in, PLANE_WORK, REMOTE, 4000, PLANE_WORK_ADDRESS, 22);
	in.source = "192.0.2.8";
	talk_send(plane, &in);
	talk_expect_drop(plane, REASON_NO_FLOW, 1);
	/* a forward opens with a SYN and nothing else */
	in.source = "192.0.2.6";
	in.tcp_flags = ACK;
	talk_send(plane, &in);
	talk_expect_drop(plane, REASON_TCP_STATE, 1);
	/* a source from our side is none */
	in.source = PLANE_PERSONAL_ADDRESS;
	in.tcp_flags = SYN;
	talk_send(plane, &in);
	talk_expect_drop(plane, REASON_DOWNSTREAM_SOURCE, 1);
	talk_end(plane);
}

/* From one qube to another by the gateway's address: who asks stays visible. */
static void
test_forward_internal(void)
{
	static const char sections[] = FORWARD("internal",
		"tcp") "srcports = 8080\ndstports = 80\nqube = personal\n" FORWARD("internal",
		"udp") "srcports = 8080\ndstports = 80\nqube = personal\n";

	for (unsigned i = 0; i < 4; i++) {
		const struct names *n = &names[i / 2];
		uint8_t protocol = protocols[i % 2];

		for (unsigned workers = 1; workers <= 3; workers++) {
			struct plane *plane = talk_begin(
				&(struct plane_options){.more = sections, .workers = workers});
			struct say out =
				question(PLANE_WORK, protocol, n->work, 4000, n->gateway, 8080);
			struct say back =
				answer(PLANE_PERSONAL, protocol, n->personal, 80, n->work, 4000);

			/* unasked, the target reaches nobody */
			talk_send(plane, &back);
			plane_forget(plane);
			pass(plane, &out, PLANE_PERSONAL, n->work, 4000, n->personal, 80);
			pass(plane, &back, PLANE_WORK, n->gateway, 8080, n->work, 4000);
			talk_end(plane);
		}
	}
}

/* By the uplink's address, and to oneself: the target sees us (RFC 4787 REQ-9). */
static void
test_hairpin(void)
{
	static const char sections[] = FORWARD("internal",
		"tcp") "srcports = 8080\ndstports = 80\nqube = personal\n" FORWARD("internal",
		"udp") "srcports = 8080\ndstports = 80\nqube = personal\n";

	for (unsigned i = 0; i < 8; i++) {
		const struct names *n = &names[i / 4];
		uint8_t protocol = protocols[i % 2];
		bool own = i / 2 % 2 != 0;
		const char *asks = own ? n->personal : n->work;
		uint16_t port = own ? PLANE_PERSONAL : PLANE_WORK;

		for (unsigned workers = 1; workers <= 3; workers++) {
			struct plane *plane = talk_begin(
				&(struct plane_options){.more = sections, .workers = workers});
			struct say out = question(port, protocol, asks, 4000, n->uplink, 8080);
			struct say back =
				answer(PLANE_PERSONAL, protocol, n->personal, 80, n->uplink, 4000);

			pass(plane, &out, PLANE_PERSONAL, n->uplink, 4000, n->personal, 80);
			pass(plane, &back, port, n->uplink, 8080, asks, 4000);
			if (own) {
				/* at the gateway's address likewise, as the gateway */
				out.destination = n->gateway;
				back.destination = n->gateway;
				pass(plane, &out, PLANE_PERSONAL, n->gateway, 4000, n->personal,
					80);
				pass(plane, &back, port, n->gateway, 8080, asks, 4000);
			}
			talk_end(plane);
		}
	}
}

/* The sender's own rules are asked about the target behind a forward. */
static void
test_forward_rules(void)
{
	static const char sections[] =
		FORWARD("internal", "tcp") "srcports = 8080\ndstports = 80\nqube = personal\n";
	struct plane *plane = talk_begin(&(struct plane_options){.more = sections,
		.rules = "policy=drop\naction=accept dst4=10.137.0.17 proto=tcp dstports=80\n"});
	struct say out =
		question(PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, PLANE_GATEWAY, 8080);

	pass(plane, &out, PLANE_PERSONAL, PLANE_WORK_ADDRESS, 4000, PLANE_PERSONAL_ADDRESS, 80);
	talk_end(plane);
	plane = talk_begin(&(struct plane_options){.more = sections,
		.rules = "policy=drop\naction=accept dst4=10.137.0.1 proto=tcp dstports=8080\n"});
	talk_send(plane, &out);
	talk_expect_refusal(plane, PLANE_WORK, 3, 13, REASON_POLICY, 1);
	talk_end(plane);
}

static void
test_allow(void)
{
	static const char sections[] =
		"[allow one]\nfrom = work\nto = personal\nproto = tcp\ndstports = 22-23\n"
		"[allow two]\nfrom = work\nto = personal\nproto = icmp\n";

	for (unsigned workers = 1; workers <= 3; workers++) {
		struct plane *plane =
			talk_begin(&(struct plane_options){.more = sections, .workers = workers});
		struct say out = question(PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000,
			PLANE_PERSONAL_ADDRESS, 23);
		struct say back = answer(PLANE_PERSONAL, IPPROTO_TCP, PLANE_PERSONAL_ADDRESS, 23,
			PLANE_WORK_ADDRESS, 4000);
		struct say ping = {PLANE_WORK, IPPROTO_ICMP, PLANE_WORK_ADDRESS, 7,
			PLANE_PERSONAL_ADDRESS, 0, .type = 8};
		struct say pong = {PLANE_PERSONAL, IPPROTO_ICMP, PLANE_PERSONAL_ADDRESS, 7,
			PLANE_WORK_ADDRESS, 0, .type = 0};

		pass(plane, &out, PLANE_PERSONAL, PLANE_WORK_ADDRESS, 4000, PLANE_PERSONAL_ADDRESS,
			23);
		pass(plane, &back, PLANE_WORK, PLANE_PERSONAL_ADDRESS, 23, PLANE_WORK_ADDRESS,
			4000);
		pass(plane, &ping, PLANE_PERSONAL, PLANE_WORK_ADDRESS, 0, PLANE_PERSONAL_ADDRESS,
			0);
		pass(plane, &pong, PLANE_WORK, PLANE_PERSONAL_ADDRESS, 0, PLANE_WORK_ADDRESS, 0);
		out.destination_port = 24;
		talk_send(plane, &out);
		talk_expect_drop(plane, REASON_INTER_QUBE, 1);
		/* not the other way round */
		out = question(PLANE_PERSONAL, IPPROTO_TCP, PLANE_PERSONAL_ADDRESS, 4000,
			PLANE_WORK_ADDRESS, 22);
		talk_send(plane, &out);
		talk_expect_drop(plane, REASON_INTER_QUBE, 2);
		talk_end(plane);
	}
}

/* RFC 4787 REQ-8: who reaches the port of a qube that has spoken. */
static void
test_filters(void)
{
	static const char *const lines[] = {
		"filter = address-and-port\n", "filter = address\n", "filter = none\n"};

	for (unsigned i = 0; i < RTE_DIM(lines) * FAMILIES; i++) {
		const struct names *n = &names[i % FAMILIES];
		unsigned filter = i / FAMILIES;

		for (unsigned workers = 1; workers <= 3; workers++) {
			struct plane *plane = talk_begin(
				&(struct plane_options){.work = lines[filter], .workers = workers});
			struct say out =
				question(PLANE_WORK, IPPROTO_UDP, n->work, 4000, n->remote, 53);
			struct say in = question(
				PLANE_UPLINK, IPPROTO_UDP, n->remote, 7777, n->uplink, 4000);
			struct say reply =
				question(PLANE_WORK, IPPROTO_UDP, n->work, 4000, n->remote, 7777);

			talk_send(plane, &in); /* before anything is open */
			talk_expect_drop(plane, REASON_NO_FLOW, 1);
			pass(plane, &out, PLANE_UPLINK, n->uplink, 4000, n->remote, 53);
			talk_send(plane, &in);
			if (filter == 0) {
				talk_expect_drop(plane, REASON_NO_FLOW, 2);
			} else {
				talk_expect(plane, PLANE_WORK, n->remote, 7777, n->work, 4000);
				pass(plane, &reply, PLANE_UPLINK, n->uplink, 4000, n->remote, 7777);
			}
			in.source = n->other;
			talk_send(plane, &in);
			if (filter == 2)
				talk_expect(plane, PLANE_WORK, n->other, 7777, n->work, 4000);
			else
				talk_expect_drop(plane, REASON_NO_FLOW, filter == 0 ? 3 : 2);
			/* port 0 is no way in */
			in.source = n->remote;
			in.source_port = 0;
			talk_send(plane, &in);
			if (filter == 2)
				plane_forget(plane);
			else
				talk_expect_drop(plane, REASON_NO_FLOW, filter == 0 ? 4 : 3);
			/* when all is silent for long enough, the door is shut */
			plane_wait(plane, 400 * 1000);
			plane_forget(plane);
			in.source_port = 7778;
			talk_send(plane, &in);
			talk_expect_silence(plane);
			CU_ASSERT_EQUAL(talk_held(plane), 0);
			for (unsigned w = 0; w < workers; w++)
				CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[w]->flows), 0);
			talk_end(plane);
		}
	}
}

/*
 * Somebody across the uplink has the address and port of a virtual resolver. A flow of his would
 * take what the qube asks the resolver, if it asks from the port that he has guessed.
 */
static void
test_resolver_shadow(void)
{
	static const char sections[] =
		FORWARD("external", "udp") "srcports = 5353\nqube = work\n" FORWARD(
			"external", "tcp") "srcports = 5353\nqube = work\n";

	for (unsigned i = 0; i < 3; i++) {
		struct plane *plane = talk_begin(&(struct plane_options){
			.work = "filter = none\n", .more = sections, .automatic = true});
		struct say query =
			question(PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 5353, PLANE_DNS, 53);
		struct say other =
			question(PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 5000, REMOTE, 53);
		/* by two forwards and by the filter */
		struct say in = question(PLANE_UPLINK, i == 1 ? IPPROTO_TCP : IPPROTO_UDP,
			PLANE_DNS, 53, PLANE_UPLINK_ADDRESS, i == 2 ? 5000 : 5353);

		pass(plane, &other, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 5000, REMOTE, 53);
		talk_send(plane, &in);
		talk_expect_drop(plane, REASON_NO_FLOW, 1);
		query.source_port = in.destination_port;
		talk_send(plane, &query);
		CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 1);
		CU_ASSERT(address_is(plane_next(plane, PLANE_UPLINK), PLANE_RESOLVER));
		/* from another port he is as good as anybody */
		in.source_port = 54;
		talk_send(plane, &in);
		CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_WORK), 1);
		plane_forget(plane);
		talk_end(plane);
	}
}

/* CVE-2021-3773: nobody gets a port that somebody listens on. */
static void
test_port_shadow(void)
{
	static const char sections[] =
		FORWARD("external", "tcp") "srcports = 4000\nqube = work\n" FORWARD(
			"external", "udp") "srcports = 4000\nqube = work\n";

	for (unsigned i = 0; i < 4; i++) {
		const struct names *n = &names[i / 2];
		struct plane *plane = talk_begin(&(struct plane_options){.more = sections});
		struct say out = question(
			PLANE_PERSONAL, protocols[i % 2], n->personal, 4000, n->remote, 443);
		struct sent *sent;

		talk_send(plane, &out);
		sent = plane_next(plane, PLANE_UPLINK);
		CU_ASSERT_PTR_NOT_NULL_FATAL(sent);
		CU_ASSERT_NOT_EQUAL(
			frame_view(sent->frame.bytes, sent->frame.length).source_port, 4000);
		talk_end(plane);
	}
}

/* --- budgets --- */

static void
open_many(struct plane *plane, uint8_t protocol, unsigned first, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct say out = question(PLANE_WORK, protocol, PLANE_WORK_ADDRESS,
			(uint16_t)(2000 + first + i), REMOTE, 443);

		talk_send(plane, &out);
	}
}

static unsigned
forwarded(struct plane *plane)
{
	unsigned count = plane_waiting(plane, PLANE_UPLINK);

	plane_forget(plane);
	return count;
}

static void
other_is_unharmed(struct plane *plane)
{
	struct say other =
		question(PLANE_PERSONAL, IPPROTO_TCP, PLANE_PERSONAL_ADDRESS, 5555, REMOTE, 443);

	pass(plane, &other, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 5555, REMOTE, 443);
}

static void
test_budget_new_flows(void)
{
	struct plane *plane = talk_begin(&(struct plane_options){.work = "new-flows = 20\n"});

	open_many(plane, IPPROTO_UDP, 0, 50);
	CU_ASSERT_EQUAL(forwarded(plane), 20);
	talk_expect_drop(plane, REASON_NEW_FLOWS_BUDGET, 30);
	/* packets of open flows are none */
	open_many(plane, IPPROTO_UDP, 0, 20);
	CU_ASSERT_EQUAL(forwarded(plane), 20);
	other_is_unharmed(plane);
	plane_wait(plane, 1000);
	open_many(plane, IPPROTO_UDP, 50, 50);
	CU_ASSERT_EQUAL(forwarded(plane), 20);
	talk_end(plane);
}

/* What was never answered makes room; what was, stays. */
static void
test_budget_flows(void)
{
	struct plane *plane = talk_begin(&(struct plane_options){.work = "flows = 20\n"});

	open_many(plane, IPPROTO_UDP, 0, 10);
	for (unsigned i = 0; i < 10; i++) {
		struct say back = question(PLANE_UPLINK, IPPROTO_UDP, REMOTE, 443,
			PLANE_UPLINK_ADDRESS, (uint16_t)(2000 + i));

		talk_send(plane, &back);
	}
	plane_forget(plane);
	open_many(plane, IPPROTO_UDP, 10, 500);
	CU_ASSERT_EQUAL(forwarded(plane), 500);
	CU_ASSERT_EQUAL(plane->dataplane->workers[0]->counters.flows_evicted, 490);
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 20);
	/* all ten that were answered are still there */
	for (unsigned i = 0; i < 10; i++) {
		struct say back = question(PLANE_UPLINK, IPPROTO_UDP, REMOTE, 443,
			PLANE_UPLINK_ADDRESS, (uint16_t)(2000 + i));

		pass(plane, &back, PLANE_WORK, REMOTE, 443, PLANE_WORK_ADDRESS,
			(uint16_t)(2000 + i));
	}
	other_is_unharmed(plane);
	/* with nothing left that may go, the newcomer is refused */
	for (unsigned i = 500; i < 510; i++) {
		struct say back = question(PLANE_UPLINK, IPPROTO_UDP, REMOTE, 443,
			PLANE_UPLINK_ADDRESS, (uint16_t)(2000 + i));

		talk_send(plane, &back);
	}
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_WORK), 10);
	plane_forget(plane);
	open_many(plane, IPPROTO_UDP, 600, 1);
	talk_expect_refusal(plane, PLANE_WORK, 3, 1, REASON_FLOWS_BUDGET, 1);
	plane_wait(plane, 400 * 1000);
	plane_forget(plane);
	CU_ASSERT_EQUAL(talk_held(plane), 0);
	talk_end(plane);
}

static void
test_budget_half_open(void)
{
	struct plane *plane = talk_begin(&(struct plane_options){.work = "half-open = 5\n"});
	const struct account *account = dataplane_account(plane->dataplane, 0, false);

	open_many(plane, IPPROTO_TCP, 0, 100);
	CU_ASSERT_EQUAL(forwarded(plane), 100);
	CU_ASSERT_EQUAL(budget_used(account, BUDGET_HALF_OPEN), 5);
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 5);
	/* a handshake that is completed no longer counts */
	for (unsigned i = 95; i < 100; i++) {
		struct say back = answer(PLANE_UPLINK, IPPROTO_TCP, REMOTE, 443,
			PLANE_UPLINK_ADDRESS, (uint16_t)(2000 + i));
		struct say last = question(PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS,
			(uint16_t)(2000 + i), REMOTE, 443);

		last.tcp_flags = ACK;
		last.sequence = 101;
		last.acknowledgement = 901;
		talk_send(plane, &back);
		talk_send(plane, &last);
	}
	plane_forget(plane);
	CU_ASSERT_EQUAL(budget_used(account, BUDGET_HALF_OPEN), 0);
	open_many(plane, IPPROTO_TCP, 200, 5);
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 10);
	plane_forget(plane);
	other_is_unharmed(plane);
	plane_wait(plane, 8000 * 1000);
	plane_forget(plane);
	CU_ASSERT_EQUAL(talk_held(plane), 0);
	talk_end(plane);
}

static void
test_budget_ports(void)
{
	struct plane *plane = talk_begin(&(struct plane_options){.work = "ports = 8\n"});
	struct say other;

	open_many(plane, IPPROTO_UDP, 0, 8);
	CU_ASSERT_EQUAL(forwarded(plane), 8);
	open_many(plane, IPPROTO_UDP, 8, 1);
	talk_expect_refusal(plane, PLANE_WORK, 3, 1, REASON_PORTS_BUDGET, 1);
	/* another destination from a port that it has needs no new one */
	other = question(PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 2003, "192.0.2.8", 443);
	talk_send(plane, &other);
	CU_ASSERT_EQUAL(forwarded(plane), 1);
	other_is_unharmed(plane);
	plane_wait(plane, 400 * 1000);
	plane_forget(plane);
	CU_ASSERT_EQUAL(talk_held(plane), 0);
	plane_resolve(plane);
	open_many(plane, IPPROTO_UDP, 8, 8);
	CU_ASSERT_EQUAL(forwarded(plane), 8);
	talk_end(plane);
}

/* What floods a forward from outside uses another account than the qube's own connections. */
static void
test_budget_inbound(void)
{
	static const char sections[] = FORWARD("external", "tcp") "srcports = 22\nqube = work\n";
	struct plane *plane = talk_begin(
		&(struct plane_options){.more = sections, .work = "half-open = 5\nflows = 16\n"});

	open_many(plane, IPPROTO_TCP, 0, 5);
	plane_forget(plane);
	for (unsigned i = 0; i < 100; i++) {
		struct say in = question(PLANE_UPLINK, IPPROTO_TCP, REMOTE, (uint16_t)(3000 + i),
			PLANE_UPLINK_ADDRESS, 22);

		talk_send(plane, &in);
	}
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_WORK), 100);
	plane_forget(plane);
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 10);
	/* the five of the qube are among them: their answers pass */
	for (unsigned i = 0; i < 5; i++) {
		struct say back = answer(PLANE_UPLINK, IPPROTO_TCP, REMOTE, 443,
			PLANE_UPLINK_ADDRESS, (uint16_t)(2000 + i));

		pass(plane, &back, PLANE_WORK, REMOTE, 443, PLANE_WORK_ADDRESS,
			(uint16_t)(2000 + i));
	}
	talk_end(plane);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"external forwards", test_forward_external},
		{"who may use a forward", test_forward_source},
		{"internal forwards", test_forward_internal},
		{"RFC 4787 REQ-9: hairpins", test_hairpin},
		{"a forward does not bend the sender's rules", test_forward_rules},
		{"allowed between qubes", test_allow},
		{"RFC 4787 REQ-8: filters", test_filters},
		{"a host with the address of a virtual resolver", test_resolver_shadow},
		{"CVE-2021-3773: port shadow", test_port_shadow},
		{"budget: new flows per second", test_budget_new_flows},
		{"budget: flows", test_budget_flows},
		{"budget: half-open connections", test_budget_half_open},
		{"budget: external ports", test_budget_ports},
		{"budget: what comes in", test_budget_inbound},
	};

	unit_eal();
	return UNIT_RUN("open", tests);
}
