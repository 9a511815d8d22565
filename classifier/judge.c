/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The judge: may this qube open such a flow?
 *
 * It sees only what the flow table does not know, or what it knows from before the rules changed.
 * What a single packet costs depends on how many are classified at once, so requests are grouped by
 * acl, that is by qube and family, and every acl is asked once. A burst from one port holds one or
 * two of them.
 */
#include "classifier/judge.h"

#include <rte_branch_prediction.h>

/* A request that waits for its verdict. */
struct pending {
	struct judge_request *request;
	const struct acl *acl;
	struct acl_key key;
};

/* Everything that needs no rules. @return false when the request is refused already */
static bool
pending_fill(struct pending *pending, const struct policy *policy, struct judge_request *request)
{
	const struct rules *rules = policy->qubes[request->qube].rules;

	request->rule = RULE_NONE;
	request->reason = REASON_NONE;
	if (rules->state == RULES_NONE) {
		request->reason = REASON_NO_RULES;
		return false;
	}
	if (rules->state == RULES_BAD) {
		request->reason = REASON_BAD_RULES;
		return false;
	}
	pending->request = request;
	pending->acl = rules->acl[request->subject.family];
	acl_key_fill(&pending->key, &request->subject);
	return true;
}

/* What the names of a destination make of what the other rules say. */
static struct acl_result
named_result(const struct pending *pending, const struct names *names, uint32_t now_ms, bool open,
	struct acl_result result)
{
	const struct subject *subject = &pending->request->subject;
	uint16_t ids[NAMES_FOUND_MAX];
	unsigned count =
		names_find(names, subject->family, &subject->destination, now_ms, open, ids);

	for (unsigned i = 0; i < count; i++)
		acl_name(pending->acl, &pending->key, ids[i], &result);
	return result;
}

/*
 * Rules for names. A flow that is open goes on if either the names that its destination has, or
 * these and the ones it had lately, let it.
 */
static void
group_name(const struct policy *policy, struct pending *const *group, unsigned count,
	uint32_t now_ms, struct acl_result *results)
{
	const struct names *names = policy->qubes[group[0]->request->qube].rules->names;

	for (unsigned i = 0; i < count; i++) {
		struct acl_result before = results[i];
		struct acl_result remembered;

		results[i] = named_result(group[i], names, now_ms, false, before);
		if (!group[i]->request->open || results[i].action == ACTION_ACCEPT)
			continue;
		remembered = named_result(group[i], names, now_ms, true, before);
		if (remembered.action == ACTION_ACCEPT)
			results[i] = remembered;
	}
}

/* Judge the requests that share the acl of the first one; the others move up. */
static unsigned
group_judge(const struct policy *policy, uint32_t now_ms, struct pending **waiting, unsigned count)
{
	const struct acl *acl = waiting[0]->acl;
	const struct acl_key *keys[BURST_MAX];
	struct pending *group[BURST_MAX];
	struct acl_result results[BURST_MAX];
	unsigned grouped = 0;
	unsigned left = 0;

	for (unsigned i = 0; i < count; i++) {
		if (waiting[i]->acl == acl) {
			keys[grouped] = &waiting[i]->key;
			group[grouped++] = waiting[i];
		} else {
			waiting[left++] = waiting[i];
		}
	}
	acl_classify(acl, keys, results, grouped);
	if (unlikely(acl_has_names(acl)))
		group_name(policy, group, grouped, now_ms, results);
	for (unsigned i = 0; i < grouped; i++) {
		struct judge_request *request = group[i]->request;

		request->rule = results[i].rule;
		if (results[i].action != ACTION_ACCEPT)
			request->reason =
				results[i].rule == RULE_POLICY ? REASON_POLICY : REASON_RULE;
	}
	return left;
}

void
judge(const struct policy *policy, uint32_t now_ms, struct judge_request *requests, unsigned count)
{
	struct pending pending[BURST_MAX];
	struct pending *waiting[BURST_MAX];
	unsigned left = 0;

	for (unsigned i = 0; i < count; i++)
		if (pending_fill(&pending[left], policy, &requests[i])) {
			waiting[left] = &pending[left];
			left++;
		}
	while (left != 0)
		left = group_judge(policy, now_ms, waiting, left);
}
