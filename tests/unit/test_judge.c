/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The judge over bursts: packets of many qubes, both families and all rule states mixed, each with
 * the verdict it must get whatever stands beside it.
 */
#include "classifier/judge.h"
#include "nat/target.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>

#include <rte_common.h>
#include <rte_mbuf.h>

enum { WORK, OPEN, BROKEN, BARE, ABSENT, QUBES };

static struct rte_mempool *pool;
static struct policy *policy;

/* --- the policy everything is judged by --- */

/* A rule to @p prefix, or to anywhere. */
static struct rule
rule_to(const char *prefix, enum action action, enum rule_protocol protocol)
{
	struct rule rule = {.action = action, .protocol = protocol};
	enum family family;

	if (prefix != NULL) {
		CU_ASSERT_EQUAL_FATAL(prefix_parse(prefix, &family, &rule.prefix), 0);
		rule.destination = family == FAMILY_IPV4 ? DESTINATION_IPV4 : DESTINATION_IPV6;
	}
	return rule;
}

static struct rules *
rules_make(enum rules_state state, enum action action, const struct rule *list, unsigned count)
{
	struct rules *rules = calloc(1, sizeof(*rules));

	CU_ASSERT_PTR_NOT_NULL_FATAL(rules);
	rules->references = 1;
	rules->state = state;
	rules->ruleset.policy = action;
	if (count != 0) {
		rules->ruleset.rules = calloc(count, sizeof(*list));
		CU_ASSERT_PTR_NOT_NULL_FATAL(rules->ruleset.rules);
		memcpy(rules->ruleset.rules, list, count * sizeof(*list));
		rules->ruleset.count = count;
	}
	if (state == RULES_VALID)
		for (unsigned family = 0; family < FAMILIES; family++)
			CU_ASSERT_EQUAL_FATAL(
				acl_compile(&rules->ruleset, family, &rules->acl[family]), 0);
	return rules;
}

static union address
address_of(const char *text)
{
	union address address;
	enum family family;

	CU_ASSERT_EQUAL_FATAL(address_parse(text, &family, &address), 0);
	return address;
}

static void
policy_make(void)
{
	struct rule list[8] = {
		/* 0 */ rule_to("10.0.0.0/8", ACTION_ACCEPT, RULE_TCP),
		/* 1 */ rule_to(NULL, ACTION_ACCEPT, RULE_ICMP),
		/* 2 */ rule_to(NULL, ACTION_ACCEPT, RULE_ANY),
		/* 3 */ rule_to("2001:db8::/32", ACTION_ACCEPT, RULE_UDP),
		/* 4 */ rule_to("192.0.2.0/24", ACTION_DROP, RULE_ANY),
		/* 5 */ rule_to("192.0.2.0/24", ACTION_ACCEPT, RULE_ANY),
		/* 6 */ rule_to("fd09::/16", ACTION_ACCEPT, RULE_ANY),
		/* 7 */ rule_to("192.168.50.3/32", ACTION_DROP, RULE_TCP),
	};

	list[0].has_ports = true;
	list[0].port_low = 80;
	list[0].port_high = 443;
	list[1].has_icmp_type = true;
	list[1].icmp_type = 8;
	list[2].dns = true;

	policy = calloc(1, sizeof(*policy));
	CU_ASSERT_PTR_NOT_NULL_FATAL(policy);
	policy->generation = 1;
	policy->virtual_dns_count = 2;
	policy->virtual_dns[0] = address_of("10.139.1.1").v4;
	policy->virtual_dns[1] = address_of("10.139.1.2").v4;
	policy->resolver_count = 2;
	policy->resolver[0] = address_of("192.168.50.2").v4;
	policy->resolver[1] = address_of("192.168.50.3").v4;
	policy->has_gateway[FAMILY_IPV4] = true;
	policy->gateway[FAMILY_IPV4] = address_of("10.137.0.1");
	policy->qube_count = QUBES;
	policy->qubes = calloc(QUBES, sizeof(*policy->qubes));
	CU_ASSERT_PTR_NOT_NULL_FATAL(policy->qubes);
	for (unsigned i = 0; i < QUBES; i++) {
		struct qube *qube = &policy->qubes[i];

		qube->port = i == ABSENT ? PORT_NONE : (uint16_t)i;
		qube->has[FAMILY_IPV4] = qube->has[FAMILY_IPV6] = true;
		qube->address[FAMILY_IPV4] = address_v4(rte_cpu_to_be_32(0x0a890010 + i));
		qube->address[FAMILY_IPV6] = address_of("fd09::10");
		qube->address[FAMILY_IPV6].v6[15] = (uint8_t)(0x10 + i);
	}
	policy->qubes[WORK].rules = rules_make(RULES_VALID, ACTION_DROP, list, RTE_DIM(list));
	policy->qubes[OPEN].rules = rules_make(RULES_VALID, ACTION_ACCEPT, &list[4], 1);
	policy->qubes[BROKEN].rules = rules_make(RULES_BAD, ACTION_DROP, NULL, 0);
	policy->qubes[BARE].rules = rules_make(RULES_NONE, ACTION_DROP, NULL, 0);
	policy->qubes[ABSENT].rules = rules_make(RULES_VALID, ACTION_ACCEPT, NULL, 0);
	policy->forwards = forward_table_create(NULL, 0, NULL, 0, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(policy->forwards);
	CU_ASSERT_EQUAL_FATAL(policy_index(policy), 0);
}

/* --- packets with their verdicts --- */

struct row {
	uint16_t qube;
	const char *destination;
	uint8_t protocol;
	uint16_t port; /* TCP, UDP: host order; ICMP: the identifier, in the same place */
	uint8_t icmp_type;
	uint8_t flags;
	uint8_t reason_before;
	/* expected */
	uint8_t reason;
	uint16_t rule;
};

#define PASS REASON_NONE
#define PACKET(from, to, number, at) \
	.qube = (from), .destination = (to), .protocol = (number), .port = (at)
#define ECHO(from, to, number, type, at) \
	PACKET(from, to, number, at), .icmp_type = (type), .flags = PACKET_ICMP_QUERY
#define NAME(from, to, number) PACKET(from, to, number, 53), .flags = PACKET_DNS
#define GETS(why, by) .reason = (why), .rule = (by)

/* clang-format off */
static const struct row rows[] = {
	/* a rule, and the edges of it */
	{PACKET(WORK, "10.1.1.1", IPPROTO_TCP, 443), GETS(PASS, 0)},
	{PACKET(WORK, "10.1.1.1", IPPROTO_TCP, 80), GETS(PASS, 0)},
	{PACKET(WORK, "10.1.1.1", IPPROTO_TCP, 444), GETS(REASON_POLICY, RULE_POLICY)},
	{PACKET(WORK, "11.1.1.1", IPPROTO_TCP, 443), GETS(REASON_POLICY, RULE_POLICY)},
	{PACKET(WORK, "10.1.1.1", IPPROTO_UDP, 443), GETS(REASON_POLICY, RULE_POLICY)},
	/* a rule that drops, before one that would accept */
	{PACKET(WORK, "192.0.2.77", IPPROTO_UDP, 9), GETS(REASON_RULE, 4)},
	{PACKET(OPEN, "192.0.2.77", IPPROTO_UDP, 9), GETS(REASON_RULE, 0)},
	/* the same destination, another qube: policy accept, no rule that matches */
	{PACKET(OPEN, "10.1.1.1", IPPROTO_TCP, 444), GETS(PASS, RULE_POLICY)},
	{PACKET(OPEN, "2001:db8::1", IPPROTO_TCP, 444), GETS(PASS, RULE_POLICY)},
	{PACKET(ABSENT, "10.1.1.1", IPPROTO_GRE, 0), GETS(PASS, RULE_POLICY)},
	/* IPv6 */
	{PACKET(WORK, "2001:db8::1", IPPROTO_UDP, 123), GETS(PASS, 3)},
	{PACKET(WORK, "2001:db8::1", IPPROTO_TCP, 123), GETS(REASON_POLICY, RULE_POLICY)},
	{PACKET(WORK, "2001:db9::1", IPPROTO_UDP, 123), GETS(REASON_POLICY, RULE_POLICY)},
	/* ICMP goes by its type; its identifier is no port, whatever it looks like */
	{ECHO(WORK, "10.1.1.1", IPPROTO_ICMP, 8, 443), GETS(PASS, 1)},
	{ECHO(WORK, "10.1.1.1", IPPROTO_ICMP, 13, 8), GETS(REASON_POLICY, RULE_POLICY)},
	{ECHO(WORK, "2001:db8::1", IPPROTO_ICMPV6, 8, 0), GETS(PASS, 1)},
	{ECHO(WORK, "2001:db8::1", IPPROTO_ICMPV6, 128, 8), GETS(REASON_POLICY, RULE_POLICY)},
	/* states without an acl */
	{PACKET(BROKEN, "10.1.1.1", IPPROTO_TCP, 443), GETS(REASON_BAD_RULES, RULE_NONE)},
	{PACKET(BROKEN, "2001:db8::1", IPPROTO_TCP, 443), GETS(REASON_BAD_RULES, RULE_NONE)},
	{PACKET(BARE, "10.1.1.1", IPPROTO_TCP, 443), GETS(REASON_NO_RULES, RULE_NONE)},
	{NAME(BARE, "10.139.1.1", IPPROTO_UDP), GETS(REASON_NO_RULES, RULE_NONE)},
	/* DNS: judged by the real resolver, which a rule may name */
	{NAME(WORK, "10.139.1.1", IPPROTO_UDP), GETS(PASS, 2)},
	{NAME(WORK, "10.139.1.2", IPPROTO_TCP), GETS(PASS, 2)},
	{NAME(OPEN, "10.139.1.1", IPPROTO_UDP), GETS(PASS, RULE_POLICY)},
	{PACKET(WORK, "192.168.50.2", IPPROTO_UDP, 53), GETS(REASON_POLICY, RULE_POLICY)},
	{PACKET(WORK, "192.168.50.3", IPPROTO_TCP, 53), GETS(REASON_RULE, 7)},
	/* flagged by a guard that had another policy: no DNS to this one */
	{NAME(WORK, "11.139.1.1", IPPROTO_UDP), GETS(REASON_POLICY, RULE_POLICY)},
	/* accepted, but towards a qube, even one that is away */
	{PACKET(WORK, "10.137.0.17", IPPROTO_TCP, 80), GETS(REASON_INTER_QUBE, 0)},
	{PACKET(WORK, "fd09::11", IPPROTO_TCP, 80), GETS(REASON_INTER_QUBE, 6)},
	{PACKET(OPEN, "10.137.0.20", IPPROTO_TCP, 80), GETS(REASON_INTER_QUBE, RULE_POLICY)},
	{PACKET(WORK, "10.137.0.99", IPPROTO_TCP, 80), GETS(PASS, 0)},
	{PACKET(WORK, "10.137.0.17", IPPROTO_TCP, 22), GETS(REASON_POLICY, RULE_POLICY)},
	/* the gateway is no qube */
	{PACKET(OPEN, "10.137.0.1", IPPROTO_TCP, 80), GETS(REASON_LOCAL_REFUSED, RULE_NONE)},
	/* refused by an earlier stage: not touched */
	{PACKET(WORK, "10.1.1.1", IPPROTO_TCP, 443), .reason_before = REASON_TCP_STATE,
		GETS(REASON_TCP_STATE, 4711)},
	{PACKET(QUBE_NONE, "10.1.1.1", IPPROTO_TCP, 443), .reason_before = REASON_NO_FLOW,
		GETS(REASON_NO_FLOW, 4711)},
};
/* clang-format on */

static struct rte_mbuf *
packet_make(const struct row *row)
{
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
	enum family family;
	struct packet *packet;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mbuf);
	packet = packet_of(mbuf);
	*packet = (struct packet){
		.tuple.protocol = row->protocol,
		.flags = row->flags,
		.icmp_type = row->icmp_type,
		.reason = row->reason_before,
		.rule = 4711,
		.qube = row->qube,
	};
	CU_ASSERT_EQUAL_FATAL(
		address_parse(row->destination, &family, &packet->tuple.destination), 0);
	packet->tuple.family = (uint8_t)family;
	packet->tuple.destination_port = rte_cpu_to_be_16(row->port);
	return mbuf;
}

static void
packet_check(const struct row *row, struct rte_mbuf *mbuf)
{
	struct packet *packet = packet_of(mbuf);
	union address destination = address_of(row->destination);

	if (packet->reason != row->reason || packet->rule != row->rule)
		printf("\n    qube %u to %s protocol %u port %u: %s by %u, expected %s by %u",
			row->qube, row->destination, row->protocol, row->port,
			reasons[packet->reason].name, packet->rule, reasons[row->reason].name,
			row->rule);
	CU_ASSERT_EQUAL(packet->reason, row->reason);
	CU_ASSERT_EQUAL(packet->rule, row->rule);
	/* translation is the flow's business, not the judge's */
	CU_ASSERT_TRUE(address_equal(&packet->tuple.destination, &destination));
	rte_pktmbuf_free(mbuf);
}

/* What the data plane does with packets that have no flow: find where they go, and ask the rules.
 */
static void
judge_burst(const struct policy *by, struct rte_mbuf **burst, unsigned count)
{
	struct judge_request requests[BURST_MAX];
	struct target targets[BURST_MAX];
	struct packet *asked[BURST_MAX];
	unsigned asks = 0;

	for (unsigned i = 0; i < count; i++) {
		struct packet *packet = packet_of(burst[i]);
		const struct tuple *tuple = &packet->tuple;
		bool ports = tuple->protocol == IPPROTO_TCP || tuple->protocol == IPPROTO_UDP;

		if (packet->reason != REASON_NONE)
			continue;
		packet->rule = RULE_NONE;
		target_find(by, NULL, tuple, packet->qube, &targets[asks]);
		packet->reason = (uint8_t)targets[asks].reason;
		if (packet->reason != REASON_NONE)
			continue;
		asked[asks] = packet;
		requests[asks] = (struct judge_request){.qube = packet->qube,
			.subject = {.family = tuple->family,
				.destination = targets[asks].address,
				.protocol = tuple->protocol,
				.destination_port = ports ? targets[asks].port : 0,
				.icmp_type = packet->icmp_type,
				.dns = targets[asks].dns}};
		asks++;
	}
	judge(by, 0, requests, asks);
	for (unsigned i = 0; i < asks; i++) {
		asked[i]->reason = requests[i].reason;
		asked[i]->rule = requests[i].rule;
		if (asked[i]->reason == REASON_NONE && targets[i].inter_qube)
			asked[i]->reason = REASON_INTER_QUBE;
	}
}

/* Judge a burst of the rows that @p first and @p step pick, and check each and their order. */
static void
burst_check(size_t first, size_t step, unsigned count)
{
	struct rte_mbuf *burst[BURST_MAX];
	struct rte_mbuf *sent[BURST_MAX];

	for (unsigned i = 0; i < count; i++)
		burst[i] = sent[i] = packet_make(&rows[(first + i * step) % RTE_DIM(rows)]);
	judge_burst(policy, burst, count);
	for (unsigned i = 0; i < count; i++) {
		CU_ASSERT_PTR_EQUAL(burst[i], sent[i]);
		packet_check(&rows[(first + i * step) % RTE_DIM(rows)], sent[i]);
	}
}

static void
test_alone(void)
{
	for (size_t i = 0; i < RTE_DIM(rows); i++)
		burst_check(i, 1, 1);
	burst_check(0, 1, 0);
}

static void
test_mixed(void)
{
	for (unsigned count = 2; count <= BURST_MAX; count++)
		for (size_t step = 1; step < 12; step++)
			burst_check(count, step, count);
}

/* One row 64 times: one group that fills the burst. */
static void
test_uniform(void)
{
	for (size_t i = 0; i < RTE_DIM(rows); i++)
		burst_check(i, RTE_DIM(rows), BURST_MAX);
}

/* Every packet of the burst another qube: as many groups as packets. */
static void
test_many_qubes(void)
{
	struct policy many = *policy;
	struct rte_mbuf *burst[BURST_MAX];

	many.qube_count = BURST_MAX;
	many.qubes = calloc(BURST_MAX, sizeof(*many.qubes));
	CU_ASSERT_PTR_NOT_NULL_FATAL(many.qubes);
	for (unsigned i = 0; i < BURST_MAX; i++) {
		struct rule list[2] = {
			rule_to("10.2.0.0/32", ACTION_ACCEPT, RULE_ANY),
			rule_to("10.0.0.0/8", ACTION_DROP, RULE_ANY),
		};
		struct row row = {PACKET((uint16_t)i, "10.2.0.0", IPPROTO_UDP, 9)};

		list[0].prefix.address.v4 |= rte_cpu_to_be_32(i);
		many.qubes[i].rules = rules_make(RULES_VALID, ACTION_ACCEPT, list, 2);
		burst[i] = packet_make(&row);
		packet_of(burst[i])->tuple.destination.v4 |= rte_cpu_to_be_32(i & ~1u);
	}
	judge_burst(&many, burst, BURST_MAX);
	for (unsigned i = 0; i < BURST_MAX; i++) {
		CU_ASSERT_EQUAL(packet_of(burst[i])->rule, i & 1);
		CU_ASSERT_EQUAL(packet_of(burst[i])->reason, i & 1 ? REASON_RULE : PASS);
		rte_pktmbuf_free(burst[i]);
		rules_unref(many.qubes[i].rules);
	}
	free(many.qubes);
}

/* No resolver known: DNS ends here, silently; what is not DNS goes on. */
static void
test_no_resolver(void)
{
	static const struct row without[] = {
		{NAME(WORK, "10.139.1.1", IPPROTO_UDP), GETS(REASON_NO_RESOLVER, RULE_NONE)},
		{NAME(OPEN, "10.139.1.2", IPPROTO_TCP), GETS(REASON_NO_RESOLVER, RULE_NONE)},
		{PACKET(WORK, "10.1.1.1", IPPROTO_TCP, 443), GETS(PASS, 0)},
	};
	struct policy silent = *policy;
	struct rte_mbuf *burst[RTE_DIM(without)];

	silent.resolver_count = 0;
	for (size_t i = 0; i < RTE_DIM(without); i++)
		burst[i] = packet_make(&without[i]);
	judge_burst(&silent, burst, RTE_DIM(without));
	for (size_t i = 0; i < RTE_DIM(without); i++)
		packet_check(&without[i], burst[i]);
}

/* A resolver that is itself a qube of ours: translated first, then refused. */
static void
test_resolver_is_qube(void)
{
	static const struct row row = {
		NAME(WORK, "10.139.1.1", IPPROTO_UDP), GETS(REASON_INTER_QUBE, 2)};
	struct policy inner = *policy;
	struct rte_mbuf *mbuf = packet_make(&row);

	inner.resolver[0] = policy->qubes[OPEN].address[FAMILY_IPV4].v4;
	judge_burst(&inner, &mbuf, 1);
	packet_check(&row, mbuf);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"the policy compiles", policy_make},
		{"each packet alone", test_alone},
		{"mixed bursts of every size", test_mixed},
		{"uniform bursts", test_uniform},
		{"a qube per packet", test_many_qubes},
		{"no resolver", test_no_resolver},
		{"a resolver that is a qube", test_resolver_is_qube},
	};
	int status;

	unit_eal();
	pool = rte_pktmbuf_pool_create("judge", 255, 0, sizeof(struct packet), 256, 0);
	if (pool == NULL) {
		fprintf(stderr, "no memory for packets\n");
		return 1;
	}
	status = UNIT_RUN("judge", tests);
	policy_free(policy);
	rte_mempool_free(pool);
	return status;
}
