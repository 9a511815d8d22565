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

/* Judge the requests that share the acl of the first one; the others move up. */
static unsigned
group_judge(struct pending **waiting, unsigned count)
{
	const struct acl *acl = waiting[0]->acl;
	const struct acl_key *keys[BURST_MAX];
	struct judge_request *group[BURST_MAX];
	struct acl_result results[BURST_MAX];
	unsigned grouped = 0;
	unsigned left = 0;

	for (unsigned i = 0; i < count; i++) {
		if (waiting[i]->acl == acl) {
			keys[grouped] = &waiting[i]->key;
			group[grouped++] = waiting[i]->request;
		} else {
			waiting[left++] = waiting[i];
		}
	}
	acl_classify(acl, keys, results, grouped);
	for (unsigned i = 0; i < grouped; i++) {
		group[i]->rule = results[i].rule;
		if (results[i].action != ACTION_ACCEPT)
			group[i]->reason =
				results[i].rule == RULE_POLICY ? REASON_POLICY : REASON_RULE;
	}
	return left;
}

void
judge(const struct policy *policy, struct judge_request *requests, unsigned count)
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
		left = group_judge(waiting, left);
}
