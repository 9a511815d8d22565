/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building a snapshot while memory runs out: every allocation fails once, and each time there is an
 * error, no snapshot, and nothing left behind (the address sanitizer's word for it).
 *
 * What is tested is compiled into this program with an allocator that can be told to fail. Memory
 * of rte_acl is DPDK's own and not part of this.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/policy_store.h"
#include "tests/unit/unit.h"

static unsigned allocations, fails_at; /* the first one is 1; 0: none fails */

static void *
limited_calloc(size_t count, size_t size)
{
	return ++allocations == fails_at ? NULL : calloc(count, size);
}

static void *
limited_malloc(size_t size)
{
	return ++allocations == fails_at ? NULL : malloc(size);
}

static char *
limited_strdup(const char *text)
{
	return ++allocations == fails_at ? NULL : strdup(text);
}

#undef strdup
#define calloc limited_calloc
#define malloc limited_malloc
#define strdup limited_strdup
/* NOLINTBEGIN(bugprone-suspicious-include) */
#include "classifier/forward.c"
#include "classifier/policy.c"
#include "conf/policy_generation.c"
#include "conf/policy_ports.c"
#include "conf/policy_rules.c"
#include "conf/policy_store.c"
/* NOLINTEND(bugprone-suspicious-include) */
#undef calloc
#undef malloc
#undef strdup

static void
conf_fill(struct conf *conf, const char *rules, unsigned qubes)
{
	static struct conf_port uplink = {.name = "uplink", .role = ROLE_UPLINK};
	static struct conf_forward forward = {.name = "f",
		.protocol = IPPROTO_TCP,
		.first = 80,
		.last = 80,
		.target_first = 80,
		.target_last = 80,
		.qube = "a"};
	static struct conf_allow allow = {.name = "f", .from = "a", .to = "b", .last = UINT16_MAX};
	static struct conf_qube wishes[3];
	char *error;

	for (unsigned i = 0; i < qubes; i++) {
		wishes[i] = (struct conf_qube){.state = RULES_VALID,
			.has = {true},
			.address = {address_v4(rte_cpu_to_be_32(0x0a890002 + i))}};
		wishes[i].name[0] = (char)('a' + i);
		CU_ASSERT_EQUAL_FATAL(rules_parse("r", rules, &wishes[i].ruleset, &error), 0);
	}
	*conf = (struct conf){.path = (char *)"sluice.conf",
		.port_count = 1,
		.ports = &uplink,
		.qube_count = qubes,
		.qubes = wishes,
		.forward_count = 1,
		.forwards = &forward,
		.allow_count = 1,
		.allows = &allow};
	timeout_defaults(&conf->timeouts);
}

static void
conf_clear(struct conf *conf)
{
	for (unsigned i = 0; i < conf->qube_count; i++)
		ruleset_clear(&conf->qubes[i].ruleset);
}

/* @return how many allocations the whole of it takes */
static unsigned
fail_everywhere(const struct conf *conf, const struct policy *previous)
{
	unsigned needed;

	for (fails_at = 1;; fails_at++) {
		struct policy *policy = (struct policy *)0x1;
		int error;

		allocations = 0;
		error = policy_build(conf, previous, 0, NULL, &policy);
		if (error == 0) {
			policy_free(policy);
			break;
		}
		CU_ASSERT_EQUAL(error, -ENOMEM);
		CU_ASSERT_PTR_NULL(policy);
	}
	needed = fails_at - 1;
	CU_ASSERT_EQUAL(needed, allocations);
	fails_at = 0;
	return needed;
}

static void
test_first(void)
{
	struct conf conf;

	conf_fill(&conf, "policy=drop\naction=accept dsthost=a.b\naction=drop proto=tcp\n", 2);
	CU_ASSERT(fail_everywhere(&conf, NULL) >= 15);
	conf_clear(&conf);
}

/* The snapshot in force survives that the next one cannot be built. */
static void
test_next(void)
{
	struct policy *previous;
	struct conf conf;

	conf_fill(&conf, "policy=drop\naction=accept dsthost=a.b\n", 3);
	CU_ASSERT_EQUAL_FATAL(policy_build(&conf, NULL, 0, NULL, &previous), 0);
	conf_clear(&conf);
	conf_fill(&conf, "policy=drop\naction=accept dsthost=a.c\n", 2);
	conf.qubes[1].state = RULES_BAD;
	CU_ASSERT(fail_everywhere(&conf, previous) >= 13);
	conf_clear(&conf);
	for (unsigned i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(atomic_load(&previous->qubes[i].rules->references), 1);
		CU_ASSERT_STRING_EQUAL(previous->qubes[i].rules->ruleset.rules[0].name, "a.b");
	}
	policy_free(previous);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"the first snapshot", test_first},
		{"the next one", test_next},
	};

	unit_eal();
	return UNIT_RUN("policy_memory", tests);
}
