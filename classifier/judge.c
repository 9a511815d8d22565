/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The judge: may this packet open a flow?
 *
 * It sees only what the flow table does not know, and only packets of qubes; nothing from the
 * uplink ever opens a flow. What a single packet costs depends on how many are classified at once,
 * so the burst is split by acl, that is by qube and family, and every acl is asked once. A burst
 * from one port holds one or two of them.
 *
 * What is judged is the destination after DNS translation: rules name the hosts a qube really
 * reaches. A packet that its rules accept still goes nowhere when that destination belongs to a
 * qube: what qubes of one firewall may send each other is not for the sender's rules to say.
 */
#include "classifier/judge.h"

#include <netinet/in.h>

/* A packet that waits for its verdict. */
struct pending {
	struct packet *packet;
	const struct acl *acl;
	struct acl_key key;
	union address destination; /* after DNS translation */
};

/* Everything that needs no rules. Returns false when the packet is refused already. */
static bool
pending_fill(struct pending *pending, const struct policy *policy, struct packet *packet)
{
	const struct rules *rules = policy->qubes[packet->qube].rules;
	const struct tuple *tuple = &packet->tuple;
	bool has_ports = tuple->protocol == IPPROTO_TCP || tuple->protocol == IPPROTO_UDP;
	struct subject subject = {
		.family = tuple->family,
		.destination = tuple->destination,
		.protocol = tuple->protocol,
		/* the tuple of an ICMP query has its identifier where the ports are */
		.destination_port = has_ports ? tuple->destination_port : 0,
		.icmp_type = packet->icmp_type,
	};

	packet->rule = RULE_NONE;
	if (rules == NULL || rules->state == RULES_NONE) {
		packet->reason = REASON_NO_RULES;
		return false;
	}
	if (rules->state == RULES_BAD) {
		packet->reason = REASON_BAD_RULES;
		return false;
	}
	if (packet->flags & PACKET_DNS) {
		int translated = policy_resolver(policy, &subject.destination);

		if (translated < 0) {
			packet->reason = REASON_NO_RESOLVER;
			return false;
		}
		/* 0: the guard of another worker still had a policy with that address. */
		subject.dns = translated == 1;
	}
	pending->packet = packet;
	pending->acl = rules->acl[tuple->family];
	pending->destination = subject.destination;
	acl_key_fill(&pending->key, &subject);
	return true;
}

static void
verdict_apply(
	const struct policy *policy, const struct pending *pending, const struct acl_result *result)
{
	struct packet *packet = pending->packet;
	uint16_t qube;

	packet->rule = result->rule;
	if (result->action != ACTION_ACCEPT)
		packet->reason = result->rule == RULE_POLICY ? REASON_POLICY : REASON_RULE;
	else if (policy_owner(policy, packet->tuple.family, &pending->destination, &qube) ==
		 OWNER_QUBE)
		packet->reason = REASON_INTER_QUBE;
}

/* Judge the packets that share the acl of the first one; the others move up. */
static unsigned
group_judge(const struct policy *policy, struct pending **waiting, unsigned count)
{
	const struct acl *acl = waiting[0]->acl;
	const struct acl_key *keys[BURST_MAX];
	const struct pending *group[BURST_MAX];
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
	for (unsigned i = 0; i < grouped; i++)
		verdict_apply(policy, group[i], &results[i]);
	return left;
}

void
judge_burst(const struct policy *policy, struct rte_mbuf **burst, unsigned count)
{
	struct pending pending[BURST_MAX];
	struct pending *waiting[BURST_MAX];
	unsigned left = 0;

	for (unsigned i = 0; i < count; i++) {
		struct packet *packet = packet_of(burst[i]);

		if (packet->reason == REASON_NONE && pending_fill(&pending[left], policy, packet)) {
			waiting[left] = &pending[left];
			left++;
		}
	}
	while (left != 0)
		left = group_judge(policy, waiting, left);
}
