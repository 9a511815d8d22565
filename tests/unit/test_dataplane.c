/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Policies that another one has taken the place of: kept as long as a worker may use them, and no
 * longer. Whether one is there shows in the references to its compiled rules, of which this test
 * holds one.
 */
#include "app/worker.h"
#include "tests/unit/plane.h"
#include "tests/unit/unit.h"

#define WORKER 0
#define ROUNDS 5

static struct plane *plane;

/* Put rules in force that no other round has. @return a reference to those of qube work before */
static struct rules *
replace(unsigned round)
{
	struct policy *before = atomic_load(&plane->dataplane->policy);
	struct rules *rules = rules_ref(before->qubes[0].rules);
	char text[64];

	snprintf(text, sizeof(text), "policy=drop\naction=accept proto=tcp dstports=%u\n",
		1000 + round);
	plane_commit(plane, &(struct plane_options){.rules = text});
	return rules;
}

static unsigned
holders(const struct rules *rules)
{
	return atomic_load(&((struct rules *)(uintptr_t)rules)->references);
}

/* Without a worker that runs there is nobody to wait for. */
static void
test_nobody(void)
{
	struct rules *rules;

	plane = plane_create(&(struct plane_options){0});
	rules = replace(0);
	CU_ASSERT_EQUAL(holders(rules), 1);
	CU_ASSERT_EQUAL(plane->dataplane->retired_count, 0);
	rules_unref(rules);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

static void
test_worker(void)
{
	struct rules *rules[ROUNDS];
	struct rte_rcu_qsbr *quiescence;

	plane = plane_create(&(struct plane_options){0});
	quiescence = plane->dataplane->quiescence;
	rte_rcu_qsbr_thread_register(quiescence, WORKER);
	rte_rcu_qsbr_thread_online(quiescence, WORKER);
	/* in the middle of its burst: all of them stay */
	for (unsigned i = 0; i < ROUNDS - 2; i++)
		rules[i] = replace(i);
	CU_ASSERT_EQUAL(plane->dataplane->retired_count, ROUNDS - 2);
	for (unsigned i = 0; i < ROUNDS - 2; i++)
		CU_ASSERT_EQUAL(holders(rules[i]), 2);
	/* its next burst knows the last one: those before go, and what is replaced now stays */
	rte_rcu_qsbr_quiescent(quiescence, WORKER);
	rules[ROUNDS - 2] = replace(ROUNDS - 2);
	for (unsigned i = 0; i < ROUNDS - 2; i++)
		CU_ASSERT_EQUAL(holders(rules[i]), 1);
	CU_ASSERT_EQUAL(holders(rules[ROUNDS - 2]), 2);
	/* asleep it uses none */
	rte_rcu_qsbr_thread_offline(quiescence, WORKER);
	rules[ROUNDS - 1] = replace(ROUNDS - 1);
	CU_ASSERT_EQUAL(plane->dataplane->retired_count, 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		CU_ASSERT_EQUAL(holders(rules[i]), 1);
		rules_unref(rules[i]);
	}
	rte_rcu_qsbr_thread_unregister(quiescence, WORKER);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* What nobody has freed by then goes with the data plane. */
static void
test_end(void)
{
	struct rte_rcu_qsbr *quiescence;
	struct rules *rules;

	plane = plane_create(&(struct plane_options){0});
	quiescence = plane->dataplane->quiescence;
	rte_rcu_qsbr_thread_register(quiescence, WORKER);
	rte_rcu_qsbr_thread_online(quiescence, WORKER);
	rules = replace(0);
	CU_ASSERT_EQUAL(holders(rules), 2);
	rte_rcu_qsbr_thread_offline(quiescence, WORKER);
	rte_rcu_qsbr_thread_unregister(quiescence, WORKER);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
	CU_ASSERT_EQUAL(holders(rules), 1);
	rules_unref(rules);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"a policy that nobody uses", test_nobody},
		{"policies that a worker may use", test_worker},
		{"policies that are left at the end", test_end},
	};

	unit_eal();
	return UNIT_RUN("dataplane", tests);
}
