/* SPDX-License-Identifier: BSD-3-Clause */
/* A policy of a configuration and changes to it: what is over, what is shared, what is counted. */
#include "conf/policy_store.h"

#include <errno.h>

#include "conf/rule_text.h"
#include "tests/unit/talk.h"

#define NOW_S UINT64_C(1800000000)
#define REMOTE "192.0.2.7"

static const struct plane_options options = {
	.rules = "policy=drop\naction=accept proto=tcp dstports=443\naction=accept proto=udp\n"
		 "action=drop proto=tcp dstports=25\n",
	.more = "[forward web]\nforwardtype = external\nproto = tcp\nsrcports = 8080\n"
		"dstports = 80\nqube = work\n",
};

static struct changes *
change(const struct plane *plane, const struct changes *before, unsigned at, const char *text)
{
	struct changes *changes = before != NULL ? changes_copy(before) : changes_new();
	const struct change_scope scope = {
		.conf = plane->conf, .now_s = NOW_S, .layer = ORIGIN_KEPT};
	char reason[RULE_ERROR_SIZE] = "";
	struct change_error error;
	struct rule rule;

	CU_ASSERT_EQUAL_FATAL(rule_parse(text, NOW_S, &rule, reason, sizeof(reason)), 0);
	CU_ASSERT_EQUAL_FATAL(
		changes_rules_insert(changes, &scope, "work", &rule, 1, at, &error), 0);
	rule_clear(&rule);
	return changes;
}

static void
forward(const struct plane *plane, struct changes *changes, const char *text)
{
	const struct change_scope scope = {
		.conf = plane->conf, .now_s = NOW_S, .layer = ORIGIN_KEPT};
	char reason[RULE_ERROR_SIZE] = "";
	struct change_error error;
	struct conf_forward forward;

	CU_ASSERT_EQUAL_FATAL(forward_parse(text, NOW_S, &forward, reason, sizeof(reason)), 0);
	strcpy(forward.qube, "work");
	CU_ASSERT_EQUAL_FATAL(changes_forward_add(changes, &scope, &forward, &error), 0);
	free(forward.comment);
}

static const struct policy *
commit(struct plane *plane, const struct changes *changes, uint64_t now_s)
{
	struct policy *policy = NULL;

	CU_ASSERT_EQUAL_FATAL(policy_build_changed(plane->conf, changes,
				      atomic_load(&plane->dataplane->policy), now_s, NULL, &policy),
		0);
	dataplane_publish(plane->dataplane, policy);
	return policy;
}

static const struct qube *
work_of(const struct policy *policy)
{
	for (unsigned i = 0; i < policy->qube_count; i++)
		if (strcmp(policy->qubes[i].name, "work") == 0)
			return &policy->qubes[i];
	CU_FAIL_FATAL("there is no qube work");
	return NULL;
}

/* A first packet of qube work. */
static void
first_packet(struct plane *plane, uint8_t protocol, uint16_t port)
{
	static uint16_t source = 20000;
	struct say say = {PLANE_WORK, protocol, PLANE_WORK_ADDRESS, source++, REMOTE, port,
		protocol == IPPROTO_TCP ? SYN : 0, .sequence = 100};

	talk_send(plane, &say);
	plane_forget(plane);
}

static uint64_t
hits(const struct plane *plane, unsigned rule)
{
	const struct rules *rules = work_of(atomic_load(&plane->dataplane->policy))->rules;

	return hits_read(rules->hits[rule]);
}

/* Rules that are over are left out, and the others are numbered without them. */
static void
test_time(void)
{
	struct plane *plane = talk_begin(&options);
	struct changes *changes =
		change(plane, NULL, 0, "action=accept proto=icmp expire=+10 comment=x");
	const struct policy *policy = commit(plane, changes, NOW_S);
	const struct rules *rules = work_of(policy)->rules;
	uint32_t generation = work_of(policy)->generation;

	CU_ASSERT_EQUAL(policy->compiled, 1);
	CU_ASSERT_EQUAL(rules->ruleset.count, 4);
	CU_ASSERT_EQUAL(rules->ruleset.rules[0].protocol, RULE_ICMP);
	CU_ASSERT_PTR_NULL(rules->ruleset.rules[0].comment);
	policy = commit(plane, changes, NOW_S + 9);
	CU_ASSERT_EQUAL(policy->compiled, 0);
	CU_ASSERT_PTR_EQUAL(work_of(policy)->rules, rules);
	CU_ASSERT_EQUAL(work_of(policy)->generation, generation);
	policy = commit(plane, changes, NOW_S + 10);
	CU_ASSERT_EQUAL(policy->compiled, 1);
	rules = work_of(policy)->rules;
	CU_ASSERT_EQUAL(rules->ruleset.count, 3);
	CU_ASSERT_EQUAL(rules->ruleset.rules[0].protocol, RULE_TCP);
	CU_ASSERT_TRUE(work_of(policy)->generation > generation);
	/* once over, nothing changes any more */
	policy = commit(plane, changes, NOW_S + 11);
	CU_ASSERT_EQUAL(policy->compiled, 0);
	/* back to the file: it says the same */
	policy = commit(plane, NULL, NOW_S + 12);
	CU_ASSERT_EQUAL(policy->compiled, 0);
	changes_free(changes);
	talk_end(plane);
}

/* An end or a comment is not compiled: a rule that gets another one is the same to the workers. */
static void
test_shared(void)
{
	struct plane *plane = talk_begin(&options);
	struct changes *one = change(plane, NULL, 0, "action=accept proto=icmp expire=+10");
	struct changes *two = change(plane, NULL, 0, "action=accept proto=icmp comment=x");
	const struct rules *rules = work_of(commit(plane, one, NOW_S))->rules;
	const struct policy *policy = commit(plane, two, NOW_S);

	CU_ASSERT_PTR_EQUAL(work_of(policy)->rules, rules);
	CU_ASSERT_EQUAL(policy->compiled, 0);
	changes_free(one);
	changes_free(two);
	talk_end(plane);
}

/* Rules count first packets, and go on counting wherever they are moved. */
static void
test_rule_hits(void)
{
	struct plane *plane = talk_begin(&options);
	struct say again = {
		PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 5000, REMOTE, 53, 0, .sequence = 0};
	struct changes *changes, *more;

	for (unsigned i = 0; i < 3; i++)
		first_packet(plane, IPPROTO_TCP, 443);
	for (unsigned i = 0; i < 5; i++) /* of one flow */
		talk_send(plane, &again);
	first_packet(plane, IPPROTO_TCP, 25);
	first_packet(plane, IPPROTO_TCP, 80);
	first_packet(plane, IPPROTO_TCP, 81);
	plane_forget(plane);
	CU_ASSERT_EQUAL(hits(plane, 0), 3);
	CU_ASSERT_EQUAL(hits(plane, 1), 1);
	CU_ASSERT_EQUAL(hits(plane, 2), 1); /* what was refused counts as well */
	CU_ASSERT_EQUAL(hits(plane, 3), 2); /* the policy */

	/* one before them, and the same again behind */
	changes = change(plane, NULL, 0, "action=accept proto=tcp dstports=80");
	more = change(plane, changes, RULES_END, "action=accept proto=tcp dstports=443");
	commit(plane, more, NOW_S);
	CU_ASSERT_EQUAL(hits(plane, 0), 0);
	CU_ASSERT_EQUAL(hits(plane, 1), 3);
	CU_ASSERT_EQUAL(hits(plane, 2), 1);
	CU_ASSERT_EQUAL(hits(plane, 3), 1);
	CU_ASSERT_EQUAL(hits(plane, 4), 0);
	CU_ASSERT_EQUAL(hits(plane, 5), 2);
	/* a flow that is asked again is no first packet */
	talk_send(plane, &again);
	plane_forget(plane);
	CU_ASSERT_EQUAL(hits(plane, 2), 1);
	first_packet(plane, IPPROTO_TCP, 80);
	first_packet(plane, IPPROTO_TCP, 443);
	CU_ASSERT_EQUAL(hits(plane, 0), 1);
	CU_ASSERT_EQUAL(hits(plane, 1), 4);
	/* back to the file */
	commit(plane, NULL, NOW_S);
	CU_ASSERT_EQUAL(hits(plane, 0), 4);
	CU_ASSERT_EQUAL(hits(plane, 3), 2);
	changes_free(changes);
	changes_free(more);
	talk_end(plane);
}

static uint64_t
forward_hits(const struct plane *plane, const char *name)
{
	const struct forward_table *table = atomic_load(&plane->dataplane->policy)->forwards;

	for (unsigned i = 0; i < table->count; i++)
		if (strcmp(table->forwards[i].name, name) == 0)
			return hits_read(table->forwards[i].hits);
	return UINT64_MAX;
}

static void
from_outside(struct plane *plane, uint16_t source, uint16_t port)
{
	struct say say = {PLANE_UPLINK, IPPROTO_TCP, REMOTE, source, PLANE_UPLINK_ADDRESS, port,
		SYN, .sequence = 100};

	talk_send(plane, &say);
	plane_forget(plane);
}

/* Forwards of both sources stand side by side, count what they open, and end. */
static void
test_forwards(void)
{
	struct plane *plane = talk_begin(&options);
	struct changes *changes = changes_new();

	forward(plane, changes,
		"action=forward forwardtype=external proto=tcp srcports=443 expire=+10");
	commit(plane, changes, NOW_S);
	from_outside(plane, 1000, 8080);
	from_outside(plane, 1000, 8080); /* of the same flow */
	from_outside(plane, 1001, 443);
	from_outside(plane, 1002, 443);
	from_outside(plane, 1003, 444);
	CU_ASSERT_EQUAL(forward_hits(plane, "web"), 1);
	CU_ASSERT_EQUAL(forward_hits(plane, "work-1"), 2);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_NO_FLOW), 1);
	commit(plane, changes, NOW_S + 9);
	CU_ASSERT_EQUAL(forward_hits(plane, "work-1"), 2);
	commit(plane, changes, NOW_S + 10);
	CU_ASSERT_EQUAL(forward_hits(plane, "work-1"), UINT64_MAX);
	CU_ASSERT_EQUAL(forward_hits(plane, "web"), 1);
	from_outside(plane, 1004, 443);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_NO_FLOW), 2);
	changes_free(changes);

	/* one that the file has no place for does nothing */
	changes = changes_new();
	forward(plane, changes, "action=forward forwardtype=external proto=tcp srcports=9000");
	plane->conf->forwards[0].first = plane->conf->forwards[0].last = 9000;
	commit(plane, changes, NOW_S);
	CU_ASSERT_EQUAL(forward_hits(plane, "work-1"), UINT64_MAX);
	CU_ASSERT_EQUAL(forward_hits(plane, "web"), 1);
	changes_free(changes);
	talk_end(plane);
}

/* Changes about qubes that are not configured are there for nothing, and harm nobody. */
static void
test_strangers(void)
{
	struct plane *plane = talk_begin(&options);
	struct changes *changes = change(plane, NULL, 0, "action=accept");
	const struct policy *policy;

	strcpy(changes->qubes[0]->qube, "stranger");
	policy = commit(plane, changes, NOW_S);
	CU_ASSERT_EQUAL(policy->compiled, 0);
	CU_ASSERT_EQUAL(work_of(policy)->rules->ruleset.count, 3);
	changes_free(changes);
	talk_end(plane);
}

/* Random lists after each other: counters follow rules that say the same, each only once. */
static void
test_random_hits(void)
{
	static const char *const texts[] = {"action=accept proto=tcp dstports=1",
		"action=accept proto=tcp dstports=2", "action=drop proto=tcp dstports=1",
		"action=accept dsthost=a.b", "action=accept dst4=192.0.2.0/24",
		"action=accept dst6=2001:db8::/32", "action=accept specialtarget=dns",
		"action=accept proto=icmp icmptype=8"};
	struct plane *plane = talk_begin(&options);
	uint64_t model[RTE_DIM(texts)] = {0};

	srand(4);
	for (unsigned round = 0; round < 300; round++) {
		struct changes *changes = NULL;
		unsigned order[RTE_DIM(texts)], count = 0;
		uint64_t next[RTE_DIM(texts)] = {0};

		/* each text at most once, in any order */
		for (unsigned i = 0; i < RTE_DIM(texts); i++)
			if (rand() % 3 != 0) {
				unsigned at = (unsigned)rand() % (count + 1);
				struct changes *more = change(plane, changes, at, texts[i]);

				memmove(&order[at + 1], &order[at], (count - at) * sizeof(*order));
				order[at] = i;
				count++;
				changes_free(changes);
				changes = more;
			}
		if (changes == NULL)
			continue;
		commit(plane, changes, NOW_S);
		for (unsigned i = 0; i < count; i++) {
			const struct rules *rules =
				work_of(atomic_load(&plane->dataplane->policy))->rules;

			CU_ASSERT_EQUAL(hits(plane, i), model[order[i]]);
			hits_add(rules->hits[i]);
			next[order[i]] = model[order[i]] + 1;
		}
		memcpy(model, next, sizeof(model));
		changes_free(changes);
	}
	talk_end(plane);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"rules that are over are left out", test_time},
		{"ends and comments are not compiled", test_shared},
		{"rules count", test_rule_hits},
		{"forwards count and end", test_forwards},
		{"qubes that are not configured", test_strangers},
		{"counters follow their rules", test_random_hits},
	};

	unit_eal();
	return UNIT_RUN("policy_changes", tests);
}
