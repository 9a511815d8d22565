/* SPDX-License-Identifier: BSD-3-Clause */
/* The policy snapshot: built from a configuration and the one before, asked, shared and freed. */
#include "conf/policy_store.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>

#include <rte_common.h>

static char reported[1024]; /* the last line */
static bool reported_names; /* there was a line about too many names */

static void
collect(void *context, const char *line)
{
	(void)context;
	snprintf(reported, sizeof(reported), "%s", line);
	reported_names = reported_names ||
			 strstr(line, "qube work: 3 rules with names match nothing") != NULL;
}

static const struct report report = {collect, NULL};

static union address
address_of(const char *text)
{
	union address address;
	enum family family;

	CU_ASSERT_EQUAL_FATAL(address_parse(text, &family, &address), 0);
	return address;
}

/*
 * Two ports, three qubes: one with rules, one with bad ones, one without any and powered off. Two
 * forwards, one of which has ended, and two allows.
 */
#define NOW_S 1700000000
struct world {
	struct conf conf;
	struct conf_port ports[3];
	struct conf_qube qubes[4]; /* the last one is spare */
	struct conf_forward forwards[2];
	struct conf_allow allows[3]; /* here too */
};

static void
world_fill(struct world *world)
{
	char *error;

	*world = (struct world){0};
	world->conf = (struct conf){
		.path = (char *)"sluice.conf",
		.workers = 1,
		.has_gateway = {true, true},
		.gateway = {address_of("10.137.0.1"), address_of("fd09::1")},
		.virtual_dns_count = 3,
		.virtual_dns = {inet_addr("10.139.1.1"), inet_addr("10.139.1.2"),
			inet_addr("10.139.1.3")},
		.port_count = 3,
		.ports = world->ports,
		.qube_count = 3,
		.qubes = world->qubes,
		.forward_count = 2,
		.forwards = world->forwards,
		.allow_count = 2,
		.allows = world->allows,
	};
	timeout_defaults(&world->conf.timeouts);
	world->conf.timeouts.ms[TIMEOUT_OTHER] = 7000;
	world->ports[0] =
		(struct conf_port){.name = "personal", .role = ROLE_QUBE, .qube = "personal"};
	world->ports[1] = (struct conf_port){
		.name = "uplink",
		.role = ROLE_UPLINK,
		.has = {true, false},
		.address = {address_of("192.168.50.1")},
		.link = {{.address = address_of("192.168.50.0"), .length = 24}},
		.has_gateway = {true, false},
		.gateway = {address_of("192.168.50.2")},
		.resolver_count = 2,
		.resolver = {inet_addr("9.9.9.9"), inet_addr("8.8.8.8")},
		.mss_clamp = MSS_CLAMP_MTU,
	};
	world->ports[2] = (struct conf_port){.name = "vif4",
		.role = ROLE_QUBE,
		.qube = "work",
		.mss_clamp = MSS_CLAMP_FIXED,
		.mss = 1360};
	world->qubes[0] = (struct conf_qube){.name = "work",
		.has = {true, true},
		.address = {address_of("10.137.0.16"), address_of("fd09::a89:10")},
		.state = RULES_VALID,
		.filter = FILTER_NONE,
		.limits = {{11, 12, 13, 14, 15, 16}}};
	world->qubes[1] = (struct conf_qube){.name = "personal",
		.has = {true, false},
		.address = {address_of("10.137.0.17")},
		.state = RULES_BAD};
	world->qubes[2] = (struct conf_qube){.name = "vault",
		.has = {true, false},
		.address = {address_of("10.137.0.18")},
		.state = RULES_NONE};
	world->forwards[0] = (struct conf_forward){.name = "ended",
		.side = FORWARD_EXTERNAL,
		.protocol = IPPROTO_UDP,
		.first = 53,
		.last = 53,
		.target_first = 53,
		.target_last = 53,
		.qube = "vault",
		.expire_s = 1000000000,
		.line = 40};
	world->forwards[1] = (struct conf_forward){.name = "web",
		.side = FORWARD_INTERNAL,
		.protocol = IPPROTO_TCP,
		.first = 8080,
		.last = 8089,
		.target_first = 80,
		.target_last = 89,
		.has_source = true,
		.source_family = FAMILY_IPV4,
		.source = {.address = address_of("10.137.0.0"), .length = 16},
		.qube = "vault",
		.expire_s = NOW_S + 5,
		.line = 50};
	world->allows[0] = (struct conf_allow){.name = "a",
		.from = "personal",
		.to = "vault",
		.protocol = IPPROTO_TCP,
		.first = 80,
		.last = 90};
	world->allows[1] =
		(struct conf_allow){.name = "b", .from = "vault", .to = "personal", .last = 65535};
	CU_ASSERT_EQUAL_FATAL(
		rules_parse("work.rules",
			"policy=drop\naction=accept dst4=1.2.3.0/24 proto=tcp dstports=443\n"
			"action=accept dsthost=a.b\n",
			&world->qubes[0].ruleset, &error),
		0);
}

static struct policy *
build(struct world *world)
{
	struct policy *policy;

	world_fill(world);
	reported[0] = '\0';
	CU_ASSERT_EQUAL_FATAL(policy_build(&world->conf, NULL, NOW_S, &report, &policy), 0);
	CU_ASSERT_STRING_EQUAL(reported, "sluice.conf:40: [forward ended]: not in force, its time "
					 "was over at 2001-09-09 01:46:40 UTC");
	/* Nothing of the configuration may be needed from here on. */
	ruleset_clear(&world->qubes[0].ruleset);
	memset(world, 0xa5, sizeof(*world));
	return policy;
}

static void
test_build(void)
{
	struct world world;
	struct policy *policy = build(&world);
	const struct qube *qubes = policy->qubes;

	CU_ASSERT_EQUAL(policy->generation, 1);
	CU_ASSERT_EQUAL(policy->uplink, 1);
	CU_ASSERT_EQUAL(policy->gateway[FAMILY_IPV4].v4, inet_addr("10.137.0.1"));
	CU_ASSERT_EQUAL_FATAL(policy->port_count, 3);
	CU_ASSERT_STRING_EQUAL(policy->ports[0].name, "personal");
	CU_ASSERT_EQUAL(policy->ports[0].qube, 1);
	CU_ASSERT_EQUAL(policy->ports[1].role, ROLE_UPLINK);
	CU_ASSERT_EQUAL(policy->ports[1].qube, QUBE_NONE);
	CU_ASSERT_EQUAL(policy->ports[1].link[FAMILY_IPV4].length, 24);
	CU_ASSERT_TRUE(policy->ports[1].has_gateway[FAMILY_IPV4]);
	CU_ASSERT_FALSE(policy->ports[1].has[FAMILY_IPV6]);
	CU_ASSERT_EQUAL(policy->ports[2].qube, 0);

	CU_ASSERT_EQUAL_FATAL(policy->qube_count, 3);
	CU_ASSERT_STRING_EQUAL(qubes[0].name, "work");
	CU_ASSERT_EQUAL(qubes[0].port, 2);
	CU_ASSERT_EQUAL(qubes[1].port, 0);
	CU_ASSERT_EQUAL(qubes[2].port, PORT_NONE);
	CU_ASSERT_EQUAL(qubes[0].rules->state, RULES_VALID);
	CU_ASSERT_PTR_NOT_NULL(qubes[0].rules->acl[FAMILY_IPV4]);
	CU_ASSERT_PTR_NOT_NULL(qubes[0].rules->acl[FAMILY_IPV6]);
	CU_ASSERT_EQUAL(qubes[0].rules->ruleset.count, 2);
	CU_ASSERT_STRING_EQUAL(qubes[0].rules->ruleset.rules[1].name, "a.b");
	CU_ASSERT_EQUAL(qubes[0].rules->ruleset.rules[1].line, 3);
	CU_ASSERT_EQUAL(qubes[1].rules->state, RULES_BAD);
	CU_ASSERT_PTR_NULL(qubes[1].rules->acl[FAMILY_IPV4]);
	CU_ASSERT_EQUAL(qubes[2].rules->state, RULES_NONE);
	for (unsigned i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(qubes[i].since, 1);
		CU_ASSERT_EQUAL(qubes[i].generation, 1);
	}
	CU_ASSERT_EQUAL(policy->compiled, 1);
	CU_ASSERT_EQUAL(qubes[0].filter, FILTER_NONE);
	CU_ASSERT_EQUAL(qubes[1].filter, FILTER_ADDRESS_AND_PORT);
	for (unsigned i = 0; i < BUDGET_COUNT; i++)
		CU_ASSERT_EQUAL(qubes[0].limits.value[i], 11 + i);
	CU_ASSERT_EQUAL(policy->timeouts->ms[TIMEOUT_OTHER], 7000);
	CU_ASSERT_EQUAL(policy->timeouts->ms[TIMEOUT_TCP_CLOSE], 10000);
	CU_ASSERT_EQUAL(policy->ports[0].mss_clamp, MSS_CLAMP_OFF);
	CU_ASSERT_EQUAL(policy->ports[1].mss_clamp, MSS_CLAMP_MTU);
	CU_ASSERT_EQUAL(policy->ports[2].mss_clamp, MSS_CLAMP_FIXED);
	CU_ASSERT_EQUAL(policy->ports[2].mss, 1360);
	policy_free(policy);
}

static void
test_forwards(void)
{
	struct world world;
	struct policy *policy = build(&world);
	const struct forward_table *table = policy->forwards;
	const struct forward *forward = &table->forwards[0];

	CU_ASSERT_EQUAL_FATAL(table->count, 1);
	CU_ASSERT_STRING_EQUAL(forward->name, "web");
	CU_ASSERT_EQUAL(forward->side, FORWARD_INTERNAL);
	CU_ASSERT_EQUAL(forward->protocol, IPPROTO_TCP);
	CU_ASSERT(forward->first == 8080 && forward->last == 8089);
	CU_ASSERT_EQUAL(forward->target_first, 80);
	CU_ASSERT_FALSE(forward->target_single);
	CU_ASSERT_TRUE(forward->has_source);
	CU_ASSERT_EQUAL(forward->source_family, FAMILY_IPV4);
	CU_ASSERT_EQUAL(forward->source.length, 16);
	CU_ASSERT_EQUAL(forward->source.address.v4, inet_addr("10.137.0.0"));
	CU_ASSERT_EQUAL(forward->qube, 2);
	CU_ASSERT_EQUAL(forward_next_expiry(table), NOW_S + 5);
	CU_ASSERT_EQUAL_FATAL(table->allow_count, 2);
	CU_ASSERT_STRING_EQUAL(table->allows[0].name, "a");
	CU_ASSERT(table->allows[0].from == 1 && table->allows[0].to == 2);
	CU_ASSERT_EQUAL(table->allows[0].protocol, IPPROTO_TCP);
	CU_ASSERT(table->allows[0].first == 80 && table->allows[0].last == 90);
	CU_ASSERT(table->allows[1].from == 2 && table->allows[1].to == 1);
	CU_ASSERT(table->allows[1].first == 0 && table->allows[1].last == 65535);
	policy_free(policy);
}

/* The configuration is checked before; whoever comes by another way must not slip through. */
static void
test_unknown_names(void)
{
	struct policy *policy = (struct policy *)0x1;
	struct world world;

	world_fill(&world);
	strcpy(world.forwards[1].qube, "nobody");
	CU_ASSERT_EQUAL(policy_build(&world.conf, NULL, NOW_S, &report, &policy), -ENOENT);
	CU_ASSERT_PTR_NULL(policy);
	CU_ASSERT_STRING_EQUAL(
		reported, "sluice.conf: a forward or an allow names an unknown qube");
	strcpy(world.forwards[1].qube, "work");
	strcpy(world.allows[1].to, "");
	CU_ASSERT_EQUAL(policy_build(&world.conf, NULL, NOW_S, &report, &policy), -ENOENT);
	CU_ASSERT_PTR_NULL(policy);
	ruleset_clear(&world.qubes[0].ruleset);
}

/* Rebuild at the time at which a forward ends: the second itself belongs to the time after. */
static void
test_expiry(void)
{
	struct policy *first, *second, *third;
	struct world world;

	world_fill(&world);
	CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, NULL, NOW_S + 4, &report, &first), 0);
	CU_ASSERT_EQUAL(first->forwards->count, 1);
	CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, first, NOW_S + 5, &report, &second), 0);
	CU_ASSERT_EQUAL(second->forwards->count, 0);
	CU_ASSERT_EQUAL(forward_next_expiry(second->forwards), 0);
	CU_ASSERT_STRING_EQUAL(reported, "sluice.conf:50: [forward web]: not in force, its time "
					 "was over at 2023-11-14 22:13:25 UTC");
	world.conf.forward_count = 0;
	reported[0] = '\0';
	CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, second, NOW_S + 6, &report, &third), 0);
	CU_ASSERT_STRING_EQUAL(reported, "");
	CU_ASSERT_EQUAL(third->generation, 3);
	policy_free(first);
	policy_free(second);
	policy_free(third);
	ruleset_clear(&world.qubes[0].ruleset);
}

/* One change of the configuration, and whose flows have to be looked at again for it. */
enum { NOBODY = 0, WORK = 1 << 0, PERSONAL = 1 << 1, VAULT = 1 << 2, EVERYBODY = 7 };

static void
change_nothing(struct world *world)
{
	(void)world;
}

static void
change_limits(struct world *world)
{
	world->qubes[0].limits.value[BUDGET_FLOWS] = 99;
}

static void
change_timeouts(struct world *world)
{
	world->conf.timeouts.ms[TIMEOUT_OTHER] = 9000;
}

static void
change_clamp(struct world *world)
{
	world->ports[1].mss_clamp = MSS_CLAMP_OFF;
}

static void
change_forwards(struct world *world)
{
	world->forwards[1].first = 8081;
	world->forwards[1].target_last = 88;
}

static void
change_line(struct world *world)
{
	world->qubes[0].ruleset.rules[1].line = 77;
}

static void
change_rules(struct world *world)
{
	world->qubes[0].ruleset.policy = ACTION_ACCEPT;
}

static void
change_state(struct world *world)
{
	world->qubes[1].state = RULES_NONE;
}

static void
change_filter(struct world *world)
{
	world->qubes[0].filter = FILTER_ADDRESS;
}

static void
change_home(struct world *world)
{
	strcpy(world->ports[2].qube, "vault");
}

static void
change_resolver(struct world *world)
{
	world->ports[1].resolver[1] = inet_addr("8.8.4.4");
}

static void
change_resolver_count(struct world *world)
{
	world->ports[1].resolver_count = 1;
}

static void
change_virtual_dns(struct world *world)
{
	world->conf.virtual_dns[0] = inet_addr("10.139.1.9");
}

static void
change_virtual_dns_count(struct world *world)
{
	world->conf.virtual_dns_count = 2;
}

static void
change_gateway(struct world *world)
{
	world->conf.gateway[FAMILY_IPV4] = address_of("10.137.0.2");
}

static void
change_gateway_family(struct world *world)
{
	world->conf.has_gateway[FAMILY_IPV6] = false;
}

static void
change_uplink(struct world *world)
{
	world->ports[1].address[FAMILY_IPV4] = address_of("192.168.50.9");
}

static void
change_uplink_family(struct world *world)
{
	world->ports[1].has[FAMILY_IPV6] = true;
	world->ports[1].address[FAMILY_IPV6] = address_of("2001:db8::1");
	world->ports[1].link[FAMILY_IPV6] =
		(struct prefix){.address = address_of("2001:db8::"), .length = 64};
}

static void
change_link(struct world *world)
{
	world->ports[1].link[FAMILY_IPV4].length = 25;
}

static void
change_router(struct world *world)
{
	world->ports[1].gateway[FAMILY_IPV4] = address_of("192.168.50.3");
}

static void
change_uplink_index(struct world *world)
{
	struct conf_port port = world->ports[0];

	world->ports[0] = world->ports[1];
	world->ports[1] = port;
}

static void
change_newcomer(struct world *world)
{
	world->qubes[3] = (struct conf_qube){
		.name = "new", .has = {true}, .address = {address_of("10.137.0.99")}};
	world->conf.qube_count = 4;
}

static void
change_departure(struct world *world)
{
	world->conf.qube_count = 2;
	world->conf.forward_count = 0;
	world->conf.allow_count = 0;
}

static void
change_address(struct world *world)
{
	world->qubes[2].address[FAMILY_IPV4] = address_of("10.137.0.99");
}

static void
change_family_more(struct world *world)
{
	world->qubes[2].has[FAMILY_IPV6] = true;
	world->qubes[2].address[FAMILY_IPV6] = address_of("fd09::99");
}

static void
change_family_less(struct world *world)
{
	world->qubes[0].has[FAMILY_IPV6] = false;
}

static void
change_owners(struct world *world)
{
	union address address = world->qubes[1].address[FAMILY_IPV4];

	world->qubes[1].address[FAMILY_IPV4] = world->qubes[2].address[FAMILY_IPV4];
	world->qubes[2].address[FAMILY_IPV4] = address;
}

static void
change_allow_name(struct world *world)
{
	strcpy(world->allows[0].name, "other");
}

static void
change_allow_order(struct world *world)
{
	struct conf_allow allow = world->allows[0];

	world->allows[0] = world->allows[1];
	world->allows[1] = allow;
}

static void
change_allow_ports(struct world *world)
{
	world->allows[0].last = 91;
}

static void
change_allow_protocol(struct world *world)
{
	world->allows[0].protocol = IPPROTO_UDP;
}

static void
change_allow_more(struct world *world)
{
	world->allows[2] =
		(struct conf_allow){.name = "c", .from = "work", .to = "vault", .last = 65535};
	world->conf.allow_count = 3;
}

static void
change_allow_less(struct world *world)
{
	world->conf.allow_count = 1;
}

static const struct {
	void (*change)(struct world *world);
	unsigned raised;
	unsigned compiled;
	const char *what;
} changes[] = {
	{change_nothing, NOBODY, 0, "nothing"},
	{change_limits, NOBODY, 0, "limits"},
	{change_timeouts, NOBODY, 0, "timeouts"},
	{change_clamp, NOBODY, 0, "MSS clamp"},
	{change_forwards, NOBODY, 0, "forwards"},
	{change_line, NOBODY, 0, "a comment in a rules file"},
	{change_departure, PERSONAL, 0, "a qube is gone, and the allows with it"},
	{change_rules, WORK, 1, "rules"},
	{change_state, PERSONAL, 0, "state of rules"},
	{change_filter, WORK, 0, "filter"},
	{change_home, WORK | VAULT, 0, "another qube on a port"},
	{change_family_less, WORK, 0, "an address less"},
	{change_resolver, EVERYBODY, 0, "resolver"},
	{change_resolver_count, EVERYBODY, 0, "number of resolvers"},
	{change_virtual_dns, EVERYBODY, 0, "virtual DNS"},
	{change_virtual_dns_count, EVERYBODY, 0, "number of virtual DNS addresses"},
	{change_gateway, EVERYBODY, 0, "gateway"},
	{change_gateway_family, EVERYBODY, 0, "no more gateway6"},
	{change_uplink, EVERYBODY, 0, "address of the uplink"},
	{change_uplink_family, EVERYBODY, 0, "one address more on the uplink"},
	{change_link, EVERYBODY, 0, "link"},
	{change_router, EVERYBODY, 0, "router"},
	{change_uplink_index, NOBODY, 0, "order of the ports"},
	{change_newcomer, EVERYBODY, 0, "a new qube"},
	{change_address, EVERYBODY, 0, "address of a qube"},
	{change_family_more, EVERYBODY, 0, "one address more of a qube"},
	{change_owners, EVERYBODY, 0, "two qubes change their addresses"},
	{change_allow_name, NOBODY, 0, "name of an allow"},
	{change_allow_order, NOBODY, 0, "order of allows"},
	{change_allow_ports, PERSONAL | VAULT, 0, "ports of an allow"},
	{change_allow_protocol, PERSONAL | VAULT, 0, "protocol of an allow"},
	{change_allow_more, WORK | VAULT, 0, "a new allow"},
	{change_allow_less, PERSONAL | VAULT, 0, "an allow is gone"},
};

static void
test_generations(void)
{
	for (unsigned i = 0; i < RTE_DIM(changes); i++) {
		struct policy *first, *second;
		struct world world;
		unsigned raised = 0;

		world_fill(&world);
		CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, NULL, NOW_S, &report, &first), 0);
		changes[i].change(&world);
		CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, first, NOW_S, &report, &second), 0);
		CU_ASSERT_EQUAL(second->generation, 2);
		CU_ASSERT_EQUAL(second->compiled, changes[i].compiled);
		for (unsigned qube = 0; qube < 3; qube++) {
			if (second->qubes[qube].name[0] == '\0')
				continue;
			raised |= second->qubes[qube].generation == 2 ? 1u << qube : 0;
			CU_ASSERT_EQUAL(second->qubes[qube].since, 1);
			CU_ASSERT(second->qubes[qube].generation == 1 ||
				  second->qubes[qube].generation == 2);
		}
		if (raised != changes[i].raised || second->compiled != changes[i].compiled)
			fprintf(stderr, "\n%s: raised %#x, compiled %u\n", changes[i].what, raised,
				second->compiled);
		CU_ASSERT_EQUAL(raised, changes[i].raised);
		/* Whose rules say the same shares them. */
		for (unsigned qube = 0; qube < 3; qube++)
			CU_ASSERT_EQUAL(first->qubes[qube].rules == second->qubes[qube].rules,
				!(changes[i].compiled != 0 && qube == 0) &&
					!(changes[i].change == change_state && qube == 1) &&
					second->qubes[qube].name[0] != '\0');
		policy_free(first);
		policy_free(second);
		ruleset_clear(&world.qubes[0].ruleset);
	}
}

/* What two rules can differ in: each of it makes another ruleset. */
static void
test_rule_differences(void)
{
	static const char *const rules[] = {
		"policy=drop\naction=accept\n",
		"policy=accept\naction=accept\n",
		"policy=drop\naction=drop\n",
		"policy=drop\n",
		"policy=drop\naction=accept\naction=accept\n",
		"policy=drop\naction=accept dst4=10.0.0.0/8\n",
		"policy=drop\naction=accept dst4=10.0.0.0/9\n",
		"policy=drop\naction=accept dst4=11.0.0.0/8\n",
		"policy=drop\naction=accept dst6=a00::/8\n",
		"policy=drop\naction=accept dst6=b00::/8\n",
		"policy=drop\naction=accept dsthost=a.b\n",
		"policy=drop\naction=accept dsthost=a.c\n",
		"policy=drop\naction=accept dsthost=\n",
		"policy=drop\naction=accept specialtarget=dns\n",
		"policy=drop\naction=accept proto=tcp\n",
		"policy=drop\naction=accept proto=udp\n",
		"policy=drop\naction=accept proto=tcp dstports=0-0\n",
		"policy=drop\naction=accept proto=tcp dstports=0-80\n",
		"policy=drop\naction=accept proto=tcp dstports=80-80\n",
		"policy=drop\naction=accept proto=icmp\n",
		"policy=drop\naction=accept proto=icmp icmptype=0\n",
		"policy=drop\naction=accept proto=icmp icmptype=8\n",
		"policy=drop\naction=accept proto=tcp\naction=drop proto=udp\n",
		"policy=drop\naction=drop proto=udp\naction=accept proto=tcp\n",
	};
	struct world world;

	world_fill(&world);
	for (unsigned i = 0; i < RTE_DIM(rules); i++) {
		struct policy *first;
		char *error;

		ruleset_clear(&world.qubes[0].ruleset);
		CU_ASSERT_EQUAL_FATAL(
			rules_parse("a", rules[i], &world.qubes[0].ruleset, &error), 0);
		CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, NULL, NOW_S, &report, &first), 0);
		for (unsigned j = 0; j < RTE_DIM(rules); j++) {
			struct policy *second;

			ruleset_clear(&world.qubes[0].ruleset);
			CU_ASSERT_EQUAL_FATAL(
				rules_parse("b", rules[j], &world.qubes[0].ruleset, &error), 0);
			CU_ASSERT_EQUAL_FATAL(
				policy_build(&world.conf, first, NOW_S, &report, &second), 0);
			CU_ASSERT_EQUAL(second->compiled, i != j);
			CU_ASSERT_EQUAL(first->qubes[0].rules == second->qubes[0].rules, i == j);
			CU_ASSERT_EQUAL(second->qubes[0].generation, i == j ? 1 : 2);
			policy_free(second);
		}
		policy_free(first);
	}
	ruleset_clear(&world.qubes[0].ruleset);
}

static void
test_compiled(void)
{
	struct world world;
	struct policy *policy = build(&world);
	struct subject subject = {.family = FAMILY_IPV4,
		.destination = address_of("1.2.3.9"),
		.protocol = IPPROTO_TCP,
		.destination_port = htons(443)};
	struct acl_result result = {0};
	const struct acl_key *pointer;
	struct acl_key key = {0};

	pointer = &key;
	acl_key_fill(&key, &subject);
	acl_classify(policy->qubes[0].rules->acl[FAMILY_IPV4], &pointer, &result, 1);
	CU_ASSERT_EQUAL(result.action, ACTION_ACCEPT);
	CU_ASSERT_EQUAL(result.rule, 0);
	subject.destination = address_of("1.2.4.9");
	acl_key_fill(&key, &subject);
	acl_classify(policy->qubes[0].rules->acl[FAMILY_IPV4], &pointer, &result, 1);
	CU_ASSERT_EQUAL(result.action, ACTION_DROP);
	CU_ASSERT_EQUAL(result.rule, RULE_POLICY);
	policy_free(policy);
}

static enum owner
owner_of(const struct policy *policy, enum family family, const char *text, uint16_t *qube)
{
	union address address = address_of(text);

	*qube = 12345;
	return policy_owner(policy, family, &address, qube);
}

static void
test_owner(void)
{
	struct world world;
	struct policy *policy = build(&world);
	uint16_t qube;

	CU_ASSERT_EQUAL(owner_of(policy, FAMILY_IPV4, "10.137.0.1", &qube), OWNER_FIREWALL);
	CU_ASSERT_EQUAL(owner_of(policy, FAMILY_IPV6, "fd09::1", &qube), OWNER_FIREWALL);
	CU_ASSERT_EQUAL(owner_of(policy, FAMILY_IPV4, "192.168.50.1", &qube), OWNER_FIREWALL);
	CU_ASSERT_EQUAL(qube, 12345);
	CU_ASSERT_EQUAL(owner_of(policy, FAMILY_IPV4, "10.137.0.16", &qube), OWNER_QUBE);
	CU_ASSERT_EQUAL(qube, 0);
	CU_ASSERT_EQUAL(owner_of(policy, FAMILY_IPV6, "fd09::a89:10", &qube), OWNER_QUBE);
	CU_ASSERT_EQUAL(qube, 0);
	/* Powered off, and still its address. */
	CU_ASSERT_EQUAL(owner_of(policy, FAMILY_IPV4, "10.137.0.18", &qube), OWNER_QUBE);
	CU_ASSERT_EQUAL(qube, 2);
	CU_ASSERT_EQUAL(owner_of(policy, FAMILY_IPV4, "192.168.50.2", &qube), OWNER_NONE);
	CU_ASSERT_EQUAL(owner_of(policy, FAMILY_IPV4, "10.137.0.2", &qube), OWNER_NONE);
	CU_ASSERT_EQUAL(owner_of(policy, FAMILY_IPV4, "0.0.0.0", &qube), OWNER_NONE);
	CU_ASSERT_EQUAL(owner_of(policy, FAMILY_IPV6, "::", &qube), OWNER_NONE);
	/* 0a89:0001:: has the bytes of 10.137.0.1: the family tells them apart. */
	CU_ASSERT_EQUAL(owner_of(policy, FAMILY_IPV6, "a89:1::", &qube), OWNER_NONE);
	policy_free(policy);
}

static void
test_owner_conflict(void)
{
	struct policy *policy = (struct policy *)0x1;
	struct world world;

	world_fill(&world);
	world.qubes[2].address[FAMILY_IPV4] = address_of("10.137.0.16");
	CU_ASSERT_EQUAL(policy_build(&world.conf, NULL, 0, &report, &policy), -EEXIST);
	CU_ASSERT_PTR_NULL(policy);
	CU_ASSERT_STRING_EQUAL(reported, "sluice.conf: one address has two owners");
	world.qubes[2].address[FAMILY_IPV4] = address_of("192.168.50.1");
	CU_ASSERT_EQUAL(policy_build(&world.conf, NULL, 0, &report, &policy), -EEXIST);
	world.qubes[2].address[FAMILY_IPV4] = address_of("10.137.0.1");
	CU_ASSERT_EQUAL(policy_build(&world.conf, NULL, 0, &report, &policy), -EEXIST);
	/* The same bytes in the other family are no conflict. */
	world.qubes[2].has[FAMILY_IPV4] = false;
	world.qubes[2].has[FAMILY_IPV6] = true;
	world.qubes[2].address[FAMILY_IPV6] = address_of("a89:1::");
	CU_ASSERT_EQUAL(policy_build(&world.conf, NULL, 0, &report, &policy), 0);
	policy_free(policy);
	ruleset_clear(&world.qubes[0].ruleset);
}

/* The addresses of a full house: found, strangers not, and no long probes. */
static void
test_owner_full(void)
{
	struct qube *qubes = calloc(QUBES_MAX, sizeof(*qubes));
	struct policy policy = {.qube_count = QUBES_MAX, .qubes = qubes};
	unsigned used = 0, run = 0, longest = 0, found = 0, strangers = 0;

	for (unsigned i = 0; i < QUBES_MAX; i++) {
		qubes[i].has[FAMILY_IPV4] = qubes[i].has[FAMILY_IPV6] = true;
		qubes[i].address[FAMILY_IPV4] = address_v4(htonl(UINT32_C(0x0a890000) + i + 2));
		qubes[i].address[FAMILY_IPV6] = address_of("fd09:24ef:4179::a89:0");
		qubes[i].address[FAMILY_IPV6].word[3] = htonl(UINT32_C(0x0a890000) + i + 2);
	}
	CU_ASSERT_EQUAL_FATAL(policy_index(&policy), 0);
	CU_ASSERT_EQUAL((policy.owner_mask + 1) & policy.owner_mask, 0);
	for (uint32_t i = 0; i <= policy.owner_mask; i++) {
		bool taken = policy.owners[i].owner != OWNER_NONE;

		used += taken;
		run = taken ? run + 1 : 0;
		longest = RTE_MAX(longest, run);
	}
	CU_ASSERT_EQUAL(used, 2 * QUBES_MAX);
	CU_ASSERT(used * 2 <= policy.owner_mask + 1);
	CU_ASSERT(longest <= 40);
	for (unsigned i = 0; i < QUBES_MAX; i++) {
		union address stranger = address_v4(htonl(UINT32_C(0x0a8a0000) + i));
		uint16_t qube = QUBE_NONE;

		for (unsigned family = 0; family < FAMILIES; family++)
			found += policy_owner(&policy, family, &qubes[i].address[family], &qube) ==
					 OWNER_QUBE &&
				 qube == i;
		strangers += policy_owner(&policy, FAMILY_IPV4, &stranger, &qube) == OWNER_NONE;
	}
	CU_ASSERT_EQUAL(found, 2 * QUBES_MAX);
	CU_ASSERT_EQUAL(strangers, QUBES_MAX);
	free(policy.owners);
	free(qubes);
}

static void
test_resolver(void)
{
	struct world world;
	struct policy *policy = build(&world);
	union address address = address_of("10.139.1.1");

	CU_ASSERT_EQUAL(policy_resolver(policy, &address), 1);
	CU_ASSERT_EQUAL(address.v4, inet_addr("9.9.9.9"));
	address = address_of("10.139.1.2");
	CU_ASSERT_EQUAL(policy_resolver(policy, &address), 1);
	CU_ASSERT_EQUAL(address.v4, inet_addr("8.8.8.8"));
	/* i mod n */
	address = address_of("10.139.1.3");
	CU_ASSERT_EQUAL(policy_resolver(policy, &address), 1);
	CU_ASSERT_EQUAL(address.v4, inet_addr("9.9.9.9"));
	address = address_of("10.139.1.4");
	CU_ASSERT_EQUAL(policy_resolver(policy, &address), 0);
	CU_ASSERT_EQUAL(address.v4, inet_addr("10.139.1.4"));
	address = address_of("10.139.1.1");
	policy->resolver_count = 0;
	CU_ASSERT_EQUAL(policy_resolver(policy, &address), -ENOENT);
	CU_ASSERT_EQUAL(address.v4, inet_addr("10.139.1.1"));
	policy_free(policy);
}

/* Rules outlive a snapshot while another one uses them; ASan watches both ends. */
static void
test_references(void)
{
	struct world world;
	struct policy *policy = build(&world);
	struct rules *rules = rules_ref(policy->qubes[0].rules);

	CU_ASSERT_EQUAL(atomic_load(&rules->references), 2);
	policy_free(policy);
	CU_ASSERT_EQUAL(atomic_load(&rules->references), 1);
	CU_ASSERT_EQUAL(rules->ruleset.count, 2);
	rules_unref(rules);
	rules_unref(NULL);
	policy_free(NULL);
}

/* A ruleset that cannot be compiled refuses its qube and leaves the others alone. */
static void
test_uncompilable(void)
{
	struct rule *rules = calloc(ACL_RULES_MAX + 1, sizeof(*rules));
	struct policy *policy;
	struct world world;

	world_fill(&world);
	ruleset_clear(&world.qubes[0].ruleset);
	world.qubes[0].ruleset = (struct ruleset){.count = ACL_RULES_MAX + 1, .rules = rules};
	world.qubes[0].rules_path = (char *)"work.rules";
	world.qubes[2].state = RULES_VALID;
	CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, NULL, 0, &report, &policy), 0);
	CU_ASSERT_STRING_EQUAL(reported, "work.rules: rules cannot be compiled: Argument list too "
					 "long; everything from qube work is refused");
	CU_ASSERT_EQUAL(policy->qubes[0].rules->state, RULES_BAD);
	CU_ASSERT_PTR_NULL(policy->qubes[0].rules->acl[FAMILY_IPV4]);
	CU_ASSERT_EQUAL(policy->qubes[2].rules->state, RULES_VALID);
	policy_free(policy);
	free(rules);
}

/* Rules that cannot be used stay what they are: no change for anybody. */
static void
test_bad_stays_bad(void)
{
	struct rule *rules = calloc(ACL_RULES_MAX + 1, sizeof(*rules));
	struct policy *first, *second;
	struct world world;

	world_fill(&world);
	ruleset_clear(&world.qubes[0].ruleset);
	world.qubes[0].ruleset = (struct ruleset){.count = ACL_RULES_MAX + 1, .rules = rules};
	CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, NULL, 0, &report, &first), 0);
	reported[0] = '\0';
	CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, first, 0, &report, &second), 0);
	CU_ASSERT_STRING_EQUAL(reported, "-: rules cannot be compiled: Argument list too long; "
					 "everything from qube work is refused");
	for (unsigned i = 0; i < 3; i++) {
		CU_ASSERT_PTR_EQUAL(first->qubes[i].rules, second->qubes[i].rules);
		CU_ASSERT_EQUAL(second->qubes[i].generation, 1);
	}
	/* Nor does it matter whether the parser refuses them or the compiler. */
	policy_free(first);
	world.qubes[0].state = RULES_BAD;
	CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, second, 0, &report, &first), 0);
	CU_ASSERT_PTR_EQUAL(first->qubes[0].rules, second->qubes[0].rules);
	CU_ASSERT_EQUAL(first->qubes[0].generation, 1);
	policy_free(second);
	policy_free(first);
	free(rules);
}

/* Who comes back is somebody new; who was somewhere stays there. */
static void
test_indices(void)
{
	struct policy *policy[5];
	struct conf_qube vault;
	struct world world;

	world_fill(&world);
	world.conf.forward_count = world.conf.allow_count = 0;
	CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, NULL, 0, &report, &policy[0]), 0);
	/* the last one goes: its index is still to be looked up */
	vault = world.qubes[2];
	world.conf.qube_count = 2;
	CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, policy[0], 0, &report, &policy[1]), 0);
	CU_ASSERT_EQUAL_FATAL(policy[1]->qube_count, 3);
	CU_ASSERT_STRING_EQUAL(policy[1]->qubes[2].name, "");
	CU_ASSERT_EQUAL(policy[1]->qubes[2].port, PORT_NONE);
	CU_ASSERT_FALSE(policy[1]->qubes[2].has[FAMILY_IPV4]);
	CU_ASSERT_EQUAL(policy[1]->qubes[2].rules->state, RULES_NONE);
	CU_ASSERT_EQUAL(policy[1]->qubes[2].since, 2);
	CU_ASSERT_EQUAL(policy[1]->qubes[2].generation, 2);
	CU_ASSERT_EQUAL(policy[1]->qubes[2].limits.value[0], budgets[0].normal);
	/* nobody stays the same nobody */
	CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, policy[1], 0, &report, &policy[2]), 0);
	CU_ASSERT_EQUAL(policy[2]->qubes[2].since, 2);
	CU_ASSERT_EQUAL(policy[2]->qubes[2].generation, 2);
	policy_free(policy[2]);
	/* and then a newcomer that stands first in the file takes the place */
	world.conf.qube_count = 3;
	world.qubes[2] = world.qubes[1];
	world.qubes[1] = world.qubes[0];
	world.qubes[0] = (struct conf_qube){
		.name = "new", .has = {true}, .address = {address_of("1.2.3.4")}};
	CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, policy[1], 0, &report, &policy[2]), 0);
	CU_ASSERT_EQUAL(policy[2]->qube_count, 3);
	CU_ASSERT_STRING_EQUAL(policy[2]->qubes[0].name, "work");
	CU_ASSERT_STRING_EQUAL(policy[2]->qubes[1].name, "personal");
	CU_ASSERT_STRING_EQUAL(policy[2]->qubes[2].name, "new");
	CU_ASSERT_EQUAL(policy[2]->qubes[0].since, 1);
	CU_ASSERT_EQUAL(policy[2]->qubes[2].since, 3);
	CU_ASSERT_EQUAL(policy[2]->ports[0].qube, 1);
	CU_ASSERT_EQUAL(policy[2]->ports[2].qube, 0);
	CU_ASSERT_EQUAL(policy[2]->qubes[0].port, 2);
	/* vault is back, and gets another one */
	world.conf.qube_count = 4;
	world.qubes[3] = vault;
	CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, policy[2], 0, &report, &policy[3]), 0);
	CU_ASSERT_EQUAL(policy[3]->qube_count, 4);
	CU_ASSERT_STRING_EQUAL(policy[3]->qubes[3].name, "vault");
	CU_ASSERT_EQUAL(policy[3]->qubes[3].since, 4);
	CU_ASSERT_EQUAL(policy[3]->qubes[2].since, 3);
	/* and nobody is left */
	world.conf.qube_count = 0;
	world.conf.port_count = 0;
	CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, policy[3], 0, &report, &policy[4]), 0);
	CU_ASSERT_EQUAL(policy[4]->qube_count, 4);
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(policy[4]->qubes[i].since, 5);
	for (unsigned i = 0; i < RTE_DIM(policy); i++)
		policy_free(policy[i]);
	ruleset_clear(&world.qubes[1].ruleset);
}

/*
 * A thousand reloads in which qubes come, go and change, against a model that knows only what the
 * headers promise: names and indices, who is new, whose rules are the same.
 */
#define NAMES 48
#define TEXTS 6

static const char *const texts[TEXTS] = {
	NULL, /* no rules */
	"",   /* bad ones */
	"policy=drop\n",
	"policy=accept\n",
	"policy=drop\naction=accept proto=tcp dstports=443\naction=accept dsthost=a.b\n",
	"policy=drop\naction=accept proto=tcp dstports=444\naction=accept dsthost=a.b\n",
};

struct model_qube {
	bool present;
	unsigned text, address, filter;
	uint16_t index;
	uint32_t since, generation;
	const struct rules *rules;
};

static uint64_t random_state = 7;

static unsigned
random_below(unsigned bound)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned)((random_state >> 33) % bound);
}

static void
model_wish(struct model_qube *model, struct conf_qube *qube, unsigned name)
{
	char *error = NULL;

	*qube = (struct conf_qube){.filter = (enum filter)model->filter,
		.has = {true, true},
		.address = {address_v4(htonl(0x0a890000 + name * 8 + model->address)),
			address_of("fd09::")}};
	qube->address[FAMILY_IPV6].word[3] = qube->address[FAMILY_IPV4].v4;
	snprintf(qube->name, sizeof(qube->name), "q%u", name);
	if (texts[model->text] == NULL)
		return;
	qube->state = rules_parse("r", texts[model->text], &qube->ruleset, &error) == 0
			      ? RULES_VALID
			      : RULES_BAD;
	free(error);
}

/* One random step of the model. @param order out: the names in the order of the file */
static void
model_step(struct model_qube *models, unsigned *order, unsigned *count, uint32_t generation)
{
	struct model_qube before[NAMES];
	bool taken[NAMES] = {false};
	bool all = generation == 1;

	memcpy(before, models, sizeof(before));
	for (unsigned i = 0; i < NAMES; i++) {
		struct model_qube *model = &models[i];

		if (random_below(20) == 0)
			model->present = !model->present;
		if (random_below(20) == 0)
			model->text = random_below(TEXTS);
		if (random_below(30) == 0)
			model->filter = random_below(3);
		if (random_below(600) == 0)
			model->address = random_below(8);
		if (model->present && before[i].present)
			taken[model->index] = true;
		if (model->present && (!before[i].present || model->address != before[i].address))
			all = true;
	}
	*count = 0;
	for (unsigned i = 0; i < NAMES; i++)
		if (models[i].present)
			order[(*count)++] = i;
	for (unsigned i = *count; i > 1; i--) {
		unsigned j = random_below(i), name = order[j];

		order[j] = order[i - 1];
		order[i - 1] = name;
	}
	for (unsigned i = 0; i < *count; i++) {
		struct model_qube *model = &models[order[i]];
		const struct model_qube *old = &before[order[i]];

		if (!old->present) {
			for (model->index = 0; taken[model->index]; model->index++)
				;
			taken[model->index] = true;
			model->since = generation;
		}
		if (all || model->text != old->text || model->filter != old->filter)
			model->generation = generation;
	}
}

/* @param compiled how many rulesets had to be compiled */
static bool
model_agrees(struct model_qube *model, const struct qube *qube, unsigned name, uint32_t generation,
	bool same_rules, unsigned *compiled)
{
	char text[NAME_SIZE];
	bool agrees;

	snprintf(text, sizeof(text), "q%u", name);
	agrees = strcmp(qube->name, text) == 0 && qube->since == model->since &&
		 qube->generation == model->generation && (uint32_t)qube->filter == model->filter &&
		 (qube->rules == model->rules) == same_rules &&
		 (qube->rules->acl[FAMILY_IPV6] != NULL) == (qube->rules->state == RULES_VALID);
	*compiled += qube->rules != model->rules && qube->rules->state == RULES_VALID;
	model->rules = qube->rules;
	return agrees && generation >= qube->generation;
}

static void
test_reloads(void)
{
	static struct model_qube models[NAMES];
	static struct conf_qube wishes[NAMES];
	struct conf_port uplink = {.name = "uplink", .role = ROLE_UPLINK};
	struct conf conf = {
		.path = (char *)"sluice.conf", .port_count = 1, .ports = &uplink, .qubes = wishes};
	struct policy *previous = NULL;
	unsigned compiled_all = 0, holes_all = 0;
	unsigned order[NAMES];
	bool sound = true;

	for (uint32_t generation = 1; generation <= 1000; generation++) {
		unsigned compiled = 0, live = 0, greatest = 0;
		struct model_qube before[NAMES];
		struct policy *policy;

		memcpy(before, models, sizeof(before));
		model_step(models, order, &conf.qube_count, generation);
		for (unsigned i = 0; i < conf.qube_count; i++)
			model_wish(&models[order[i]], &wishes[i], order[i]);
		CU_ASSERT_EQUAL_FATAL(policy_build(&conf, previous, 0, &report, &policy), 0);
		for (unsigned i = 0; i < conf.qube_count; i++)
			ruleset_clear(&wishes[i].ruleset);

		sound &= policy->generation == generation;
		for (unsigned i = 0; i < NAMES; i++) {
			struct model_qube *model = &models[i];
			bool same_rules = before[i].present && model->text == before[i].text;
			union address address =
				address_v4(htonl(0x0a890000 + i * 8 + model->address));
			uint16_t owner = QUBE_NONE;

			policy_owner(policy, FAMILY_IPV4, &address, &owner);
			if (!model->present) {
				sound &= owner == QUBE_NONE;
				model->rules = NULL;
				continue;
			}
			sound &= owner == model->index && model->index < policy->qube_count &&
				 model_agrees(model, &policy->qubes[model->index], i, generation,
					 same_rules, &compiled);
			greatest = RTE_MAX(greatest, model->index + 1u);
		}
		sound &= policy->compiled == compiled && policy->qube_count >= greatest &&
			 (previous == NULL ? policy->qube_count == greatest
					   : policy->qube_count ==
						     RTE_MAX(previous->qube_count, greatest));
		for (unsigned i = 0; i < policy->qube_count; i++) {
			const struct qube *qube = &policy->qubes[i];

			live += qube->name[0] != '\0';
			if (qube->name[0] == '\0')
				sound &= qube->rules->state == RULES_NONE &&
					 qube->port == PORT_NONE && qube->since <= generation;
		}
		sound &= live == conf.qube_count;
		holes_all += policy->qube_count - live;
		compiled_all += compiled;
		policy_free(previous);
		previous = policy;
	}
	CU_ASSERT_TRUE(sound);
	/* or nothing of the above was tried */
	CU_ASSERT(compiled_all > 500 && compiled_all < 24000);
	CU_ASSERT(holes_all > 1000);
	policy_free(previous);
}

/* The numbers of names in a policy's rules, and whether an address is known for one. */
static uint16_t
number_of(const struct policy *policy, const char *name)
{
	return name_index_find(policy->qubes[0].rules->name_index, name);
}

static struct policy *
build_rules(const struct policy *previous, const char *text)
{
	struct world world;
	struct policy *policy;
	char *error = NULL;

	world_fill(&world);
	ruleset_clear(&world.qubes[0].ruleset);
	reported[0] = '\0';
	CU_ASSERT_EQUAL_FATAL(rules_parse("work.rules", text, &world.qubes[0].ruleset, &error), 0);
	CU_ASSERT_EQUAL_FATAL(policy_build(&world.conf, previous, NOW_S, &report, &policy), 0);
	ruleset_clear(&world.qubes[0].ruleset);
	return policy;
}

static void
test_names(void)
{
	struct policy *first = build_rules(NULL,
		"policy=drop\naction=accept dsthost=b\naction=accept dsthost=a..b\n"
		"action=accept dsthost=c proto=tcp\naction=drop dsthost=b\naction=accept "
		"dsthost=\n");
	struct policy *second, *third, *fourth;
	union address address = address_of("192.0.2.1");
	uint16_t ids[NAMES_FOUND_MAX];
	uint16_t b = number_of(first, "b"), c = number_of(first, "c");

	CU_ASSERT_TRUE(b != 0 && c != 0 && b != c);
	CU_ASSERT_EQUAL(first->qubes[0].rules->name_index->count, 2);
	CU_ASSERT_EQUAL(first->qubes[0].rules->ruleset.rules[1].name_id, 0);
	CU_ASSERT_EQUAL(first->qubes[0].rules->ruleset.rules[3].name_id, b);
	names_learn(first->qubes[0].rules->names, b, FAMILY_IPV4, &address, 1, 0, 1000);

	/* names that stay keep number and addresses; new ones are strangers */
	second = build_rules(
		first, "policy=accept\naction=accept dsthost=d\naction=accept dsthost=b\n");
	CU_ASSERT_EQUAL(number_of(second, "b"), b);
	CU_ASSERT_TRUE(number_of(second, "d") > RTE_MAX(b, c));
	CU_ASSERT_EQUAL(number_of(second, "c"), 0);
	policy_free(first);
	CU_ASSERT_EQUAL(
		names_find(second->qubes[0].rules->names, FAMILY_IPV4, &address, 0, false, ids), 1);
	CU_ASSERT_EQUAL(ids[0], b);

	/* without any name there is no table; a name that comes back is another one */
	third = build_rules(second, "policy=accept\n");
	CU_ASSERT_PTR_NULL(third->qubes[0].rules->names);
	CU_ASSERT_PTR_NULL(third->qubes[0].rules->name_index);
	fourth = build_rules(third, "policy=accept\naction=drop dsthost=b\n");
	CU_ASSERT_EQUAL(
		names_find(fourth->qubes[0].rules->names, FAMILY_IPV4, &address, 0, true, ids), 0);
	policy_free(second);
	policy_free(third);
	policy_free(fourth);
}

/* A qube may have so many names; those behind match nothing, and it is said. */
static void
test_too_many_names(void)
{
	char text[40 * (QUBE_NAMES_MAX + 20)] = "policy=drop\n";
	struct policy *policy;
	size_t used = strlen(text);

	for (unsigned i = 0; i < QUBE_NAMES_MAX + 3; i++)
		used += (size_t)snprintf(
			text + used, sizeof(text) - used, "action=accept dsthost=n%u\n", i);
	snprintf(text + used, sizeof(text) - used, "action=accept dsthost=n0\n");
	reported_names = false;
	policy = build_rules(NULL, text);
	CU_ASSERT_EQUAL(policy->qubes[0].rules->name_index->count, QUBE_NAMES_MAX);
	CU_ASSERT_EQUAL(number_of(policy, "n256"), 0);
	CU_ASSERT_TRUE(number_of(policy, "n255") != 0);
	CU_ASSERT_EQUAL(policy->qubes[0].rules->ruleset.rules[QUBE_NAMES_MAX + 3].name_id,
		number_of(policy, "n0"));
	CU_ASSERT_TRUE(reported_names);
	policy_free(policy);
}

/* All numbers are used up at last: then the table begins anew, and no number is given out twice. */
static void
test_numbers_end(void)
{
	struct policy *policy = build_rules(NULL, "policy=drop\naction=accept dsthost=a\n");
	const struct names *names = policy->qubes[0].rules->names;
	struct policy *next;

	while (names_number(policy->qubes[0].rules->names) != 0)
		;
	next = build_rules(
		policy, "policy=drop\naction=accept dsthost=a\naction=accept dsthost=b\n");
	CU_ASSERT_PTR_NOT_EQUAL(next->qubes[0].rules->names, names);
	CU_ASSERT_TRUE(number_of(next, "a") != 0 && number_of(next, "b") != 0);
	CU_ASSERT_NOT_EQUAL(number_of(next, "a"), number_of(next, "b"));
	policy_free(policy);
	policy_free(next);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"a snapshot holds what the configuration says", test_build},
		{"its rules are compiled", test_compiled},
		{"forwards and allows know their qubes by index", test_forwards},
		{"names of nobody are refused", test_unknown_names},
		{"a forward ends", test_expiry},
		{"whose flows are looked at again after which change", test_generations},
		{"rulesets are the same or not", test_rule_differences},
		{"addresses have owners", test_owner},
		{"an address has one owner", test_owner_conflict},
		{"a thousand qubes are found without long probes", test_owner_full},
		{"virtual DNS addresses lead to resolvers", test_resolver},
		{"rules are shared by reference", test_references},
		{"a ruleset that does not compile refuses its qube", test_uncompilable},
		{"bad rules stay the same bad rules", test_bad_stays_bad},
		{"indices are kept and used again", test_indices},
		{"names keep their numbers and addresses", test_names},
		{"more names than a qube may have", test_too_many_names},
		{"numbers of names that end", test_numbers_end},
		{"a thousand reloads against a model", test_reloads},
	};

	unit_eal();
	return UNIT_RUN("policy", tests);
}
