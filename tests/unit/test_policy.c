/* SPDX-License-Identifier: BSD-3-Clause */
/* The policy snapshot: built from a configuration, asked, shared and freed. */
#include "conf/policy_store.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>

#include <rte_common.h>

static char reported[1024];

static void
collect(void *context, const char *line)
{
	(void)context;
	snprintf(reported, sizeof(reported), "%s", line);
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

/* Two ports, three qubes: one with rules, one with bad ones, one without any and powered off. */
struct world {
	struct conf conf;
	struct conf_port ports[3];
	struct conf_qube qubes[3];
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
	};
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
	};
	world->ports[2] = (struct conf_port){.name = "vif4", .role = ROLE_QUBE, .qube = "work"};
	world->qubes[0] = (struct conf_qube){.name = "work",
		.has = {true, true},
		.address = {address_of("10.137.0.16"), address_of("fd09::a89:10")},
		.state = RULES_VALID};
	world->qubes[1] = (struct conf_qube){.name = "personal",
		.has = {true, false},
		.address = {address_of("10.137.0.17")},
		.state = RULES_BAD};
	world->qubes[2] = (struct conf_qube){.name = "vault",
		.has = {true, false},
		.address = {address_of("10.137.0.18")},
		.state = RULES_NONE};
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
	CU_ASSERT_EQUAL_FATAL(policy_build(&world->conf, NULL, 0, &report, &policy), 0);
	CU_ASSERT_STRING_EQUAL(reported, "");
	/* Nothing of the configuration may be needed from here on. */
	ruleset_clear(&world->qubes[0].ruleset);
	memset(world->ports, 0xa5, sizeof(world->ports));
	memset(world->qubes, 0xa5, sizeof(world->qubes));
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
	policy_free(policy);
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

int
main(void)
{
	static const struct unit_test tests[] = {
		{"a snapshot holds what the configuration says", test_build},
		{"its rules are compiled", test_compiled},
		{"addresses have owners", test_owner},
		{"an address has one owner", test_owner_conflict},
		{"a thousand qubes are found without long probes", test_owner_full},
		{"virtual DNS addresses lead to resolvers", test_resolver},
		{"rules are shared by reference", test_references},
		{"a ruleset that does not compile refuses its qube", test_uncompilable},
	};

	unit_eal();
	return UNIT_RUN("policy", tests);
}
