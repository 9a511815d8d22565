/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rules of a qube in a policy: compiled, unless they say what the ones before said. Counters
 * and numbers of names go on from those.
 */
#include "conf/policy_build.h"
#include "conf/rule_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool
rule_is_over(const struct rule *rule, uint64_t now_s)
{
	return rule->expire_s != 0 && rule->expire_s <= now_s;
}

/* Whether compiled rules are those of @p wanted that are not over. */
static bool
ruleset_equal(const struct ruleset *compiled, const struct ruleset *wanted, uint64_t now_s)
{
	unsigned count = 0;

	if (compiled->policy != wanted->policy || compiled->count > wanted->count)
		return false;
	for (unsigned i = 0; i < wanted->count; i++) {
		if (rule_is_over(&wanted->rules[i], now_s))
			continue;
		if (count == compiled->count ||
			!rule_same(&compiled->rules[count], &wanted->rules[i]))
			return false;
		count++;
	}
	return count == compiled->count;
}

/* Ends and comments are not compiled: whoever wants to know them asks where the rules come from. */
static int
ruleset_copy(struct ruleset *copy, const struct ruleset *ruleset, uint64_t now_s)
{
	*copy = (struct ruleset){.policy = ruleset->policy};
	copy->rules = calloc(ruleset->count + 1, sizeof(*copy->rules));
	if (copy->rules == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < ruleset->count; i++) {
		struct rule *rule = &copy->rules[copy->count];

		if (rule_is_over(&ruleset->rules[i], now_s))
			continue;
		*rule = ruleset->rules[i];
		rule->expire_s = 0;
		rule->comment = NULL;
		rule->name_id = 0;
		if (rule->name != NULL && (rule->name = strdup(rule->name)) == NULL)
			return -ENOMEM;
		copy->count++;
	}
	return 0;
}

/* Rules in a state that needs no ruleset; one reference. */
struct rules *
rules_new(enum rules_state state)
{
	struct rules *rules = calloc(1, sizeof(*rules));

	if (rules == NULL)
		return NULL;
	atomic_init(&rules->references, 1);
	rules->state = state;
	return rules;
}

/*
 * Give every rule of @p rules its counter: that of the rule before that says the same, or a new
 * one. Rules that were moved past others keep theirs, as long as no two say the same; of those that
 * do, the first gets the counter of the first.
 * @param before may be NULL
 */
static int
hits_fill(struct rules *rules, const struct rules *before)
{
	unsigned count = rules->ruleset.count;
	const struct rules *old = before != NULL && before->hits != NULL ? before : NULL;
	struct rule_index index;
	int error;

	rules->hits = calloc(count + 1, sizeof(struct hits *));
	error = rules->hits != NULL ? rule_index_create(&index, old != NULL ? &old->ruleset : NULL)
				    : -ENOMEM;
	if (error != 0)
		return error;
	for (unsigned i = 0; i < count; i++) {
		int same = rule_index_take(&index, &rules->ruleset.rules[i]);

		rules->hits[i] = old != NULL && same >= 0 ? hits_ref(old->hits[same]) : hits_new();
		if (rules->hits[i] == NULL)
			error = -ENOMEM;
	}
	rules->hits[count] = old != NULL && old->ruleset.policy == rules->ruleset.policy
				     ? hits_ref(old->hits[old->ruleset.count])
				     : hits_new();
	rule_index_free(&index);
	return rules->hits[count] != NULL ? error : -ENOMEM;
}

/* The number that a name had in the rules before; 0 if it had none. */
static uint16_t
name_before(const struct rules *before, const char *name)
{
	return before != NULL && before->name_index != NULL
		       ? name_index_find(before->name_index, name)
		       : 0;
}

/* Give names that are new a number. @return false when all numbers have been given out */
static bool
names_number_all(struct rules *rules, const struct rules *before, struct name_table *seen,
	unsigned *left_out)
{
	struct ruleset *ruleset = &rules->ruleset;
	unsigned count = 0;

	*left_out = 0;
	for (unsigned i = 0; i < ruleset->count; i++) {
		struct rule *rule = &ruleset->rules[i];
		uint16_t first;

		rule->name_id = 0;
		if (rule->destination != DESTINATION_NAME || !name_is_sound(rule->name))
			continue;
		first = name_table_find(seen, rule->name);
		if (first != UINT16_MAX) {
			rule->name_id = ruleset->rules[first].name_id;
			continue;
		}
		if (count == QUBE_NAMES_MAX) {
			(*left_out)++;
			continue;
		}
		count++;
		name_table_add(seen, rule->name, (uint16_t)i);
		rule->name_id = name_before(before, rule->name);
		if (rule->name_id == 0)
			rule->name_id = names_number(rules->names);
		if (rule->name_id == 0)
			return false;
	}
	return true;
}

/* The same, which ends with a new table of addresses if there must be one. */
static int
names_number_rules(struct rules *rules, const struct rules *before, unsigned *left_out)
{
	struct name_table seen;

	if (before != NULL && before->names != NULL) {
		bool done;

		if (name_table_create(&seen, rules->ruleset.count) != 0)
			return -ENOMEM;
		rules->names = names_ref(before->names);
		done = names_number_all(rules, before, &seen, left_out);
		name_table_free(&seen);
		if (done)
			return 0;
		names_unref(rules->names);
	}
	rules->names = names_new();
	if (rules->names == NULL || name_table_create(&seen, rules->ruleset.count) != 0)
		return -ENOMEM;
	names_number_all(rules, NULL, &seen, left_out);
	name_table_free(&seen);
	return 0;
}

/*
 * Give the names of rules their numbers, and the qube a table of addresses. Names that stay keep
 * both: what is known of them is known to the new rules as well.
 */
static int
names_fill(const struct build *build, const char *qube, struct rules *rules,
	const struct rules *before)
{
	unsigned left_out;
	bool any = false;

	for (unsigned i = 0; i < rules->ruleset.count; i++)
		any = any || rules->ruleset.rules[i].destination == DESTINATION_NAME;
	if (!any)
		return 0;
	if (names_number_rules(rules, before, &left_out) != 0)
		return -ENOMEM;
	if (left_out != 0)
		report_line(build->report,
			"qube %s: %u rules with names match nothing: there are %d names before "
			"them, "
			"and no more are allowed",
			qube, left_out, QUBE_NAMES_MAX);
	rules->name_index = name_index_new(&rules->ruleset);
	return rules->name_index != NULL ? 0 : -ENOMEM;
}

/* @param out NULL without memory for the bookkeeping; RULES_BAD when the compiler refuses */
static int
rules_compile(const struct build *build, const struct conf_qube *qube, const struct ruleset *wanted,
	const struct rules *before, struct rules **out)
{
	struct rules *rules = rules_new(RULES_VALID);
	int error;

	*out = rules;
	if (rules == NULL)
		return -ENOMEM;
	error = ruleset_copy(&rules->ruleset, wanted, build->now_s);
	if (error == 0)
		error = hits_fill(rules, before);
	if (error == 0)
		error = names_fill(build, qube->name, rules, before);
	if (error != 0)
		return error;
	build->policy->compiled++;
	for (unsigned family = 0; error == 0 && family < FAMILIES; family++)
		error = acl_compile(&rules->ruleset, family, &rules->acl[family]);
	if (error == 0)
		return 0;
	report_line(build->report,
		"%s: rules cannot be compiled: %s; everything from qube %s is refused",
		qube->rules_path ? qube->rules_path : "-", strerror(-error), qube->name);
	rules_unref(rules);
	*out = rules_new(RULES_BAD);
	return *out == NULL ? -ENOMEM : 0;
}

/* The rules of one qube. @param before what it had, NULL for a new qube */
int
rules_take(const struct build *build, const struct conf_qube *qube, struct rules *before,
	struct rules **out)
{
	struct qube_rules wanted = changes_rules(build->changes, qube);
	int error = 0;

	if (before != NULL && before->state == wanted.state &&
		(wanted.state != RULES_VALID ||
			ruleset_equal(&before->ruleset, wanted.ruleset, build->now_s))) {
		*out = rules_ref(before);
		return 0;
	}
	if (wanted.state != RULES_VALID) {
		*out = rules_new(wanted.state);
		return *out == NULL ? -ENOMEM : 0;
	}
	error = rules_compile(build, qube, wanted.ruleset, before, out);
	if (error == 0 && (*out)->state == RULES_BAD && before != NULL &&
		before->state == RULES_BAD) {
		rules_unref(*out);
		*out = rules_ref(before);
	}
	return error;
}
