/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which flows must ask again: what changed between two policies, and for which qubes.
 */
#include "conf/policy_build.h"

#include <string.h>

/* Whether an address is there in both and the same, or in neither. */
static bool
address_same(bool a_has, const union address *a, bool b_has, const union address *b)
{
	return a_has == b_has && (!a_has || address_equal(a, b));
}

static bool
list_same(const rte_be32_t *a, unsigned a_count, const rte_be32_t *b, unsigned b_count)
{
	return a_count == b_count && memcmp(a, b, a_count * sizeof(*a)) == 0;
}

static bool
uplink_same(const struct policy *policy, const struct policy *previous)
{
	const struct policy_port *a, *b;

	if (policy->uplink != previous->uplink ||
		(policy->uplink != PORT_NONE && policy->ports[policy->uplink].since !=
							previous->ports[previous->uplink].since))
		return false;
	if (policy->uplink == PORT_NONE)
		return true;
	a = &policy->ports[policy->uplink];
	b = &previous->ports[previous->uplink];
	for (unsigned family = 0; family < FAMILIES; family++) {
		if (!address_same(a->has[family], &a->address[family], b->has[family],
			    &b->address[family]) ||
			!address_same(a->has_gateway[family], &a->gateway[family],
				b->has_gateway[family], &b->gateway[family]))
			return false;
		if (a->has[family] &&
			(a->link[family].length != b->link[family].length ||
				!address_equal(&a->link[family].address, &b->link[family].address)))
			return false;
	}
	return true;
}

/*
 * Whether an address belongs to a qube to which it did not belong before. Who had a flow to that
 * address may have it no longer: qubes of one firewall do not talk to each other.
 */
static bool
qube_appeared(const struct policy *policy, const struct policy *previous)
{
	for (unsigned i = 0; i < policy->qube_count; i++) {
		const struct qube *qube = &policy->qubes[i];

		for (unsigned family = 0; family < FAMILIES; family++) {
			uint16_t owner = QUBE_NONE;

			/* The host's are ours: a change of those is seen elsewhere. */
			if (!qube->has[family] || qube->host)
				continue;
			policy_owner(previous, family, &qube->address[family], &owner);
			if (owner != i || qube->since == policy->generation)
				return true;
		}
	}
	return false;
}

/* Whether anything changed that flows of all qubes depend on. */
static bool
all_changed(const struct policy *policy, const struct policy *previous)
{
	for (unsigned family = 0; family < FAMILIES; family++)
		if (!address_same(policy->has_gateway[family], &policy->gateway[family],
			    previous->has_gateway[family], &previous->gateway[family]))
			return true;
	return !list_same(policy->virtual_dns, policy->virtual_dns_count, previous->virtual_dns,
		       previous->virtual_dns_count) ||
	       !list_same(policy->resolver, policy->resolver_count, previous->resolver,
		       previous->resolver_count) ||
	       !uplink_same(policy, previous) || qube_appeared(policy, previous);
}

static bool
qube_changed(const struct qube *qube, const struct qube *before)
{
	if (qube->since != before->since || qube->rules != before->rules ||
		qube->filter != before->filter || qube->port != before->port)
		return true;
	for (unsigned family = 0; family < FAMILIES; family++)
		if (!address_same(qube->has[family], &qube->address[family], before->has[family],
			    &before->address[family]))
			return true;
	return false;
}

static bool
allow_stands(const struct forward_table *table, const struct allow *allow)
{
	for (unsigned i = 0; i < table->allow_count; i++) {
		const struct allow *other = &table->allows[i];

		if (other->from == allow->from && other->to == allow->to &&
			other->protocol == allow->protocol && other->first == allow->first &&
			other->last == allow->last)
			return true;
	}
	return false;
}

/* Raise the generation of both ends of what is allowed in @p table and not in @p other. */
static void
allows_mark(
	struct policy *policy, const struct forward_table *table, const struct forward_table *other)
{
	for (unsigned i = 0; i < table->allow_count; i++) {
		const struct allow *allow = &table->allows[i];

		if (allow_stands(other, allow))
			continue;
		policy->qubes[allow->from].generation = policy->generation;
		policy->qubes[allow->to].generation = policy->generation;
	}
}

void
generations_fill(struct policy *policy, const struct policy *previous)
{
	bool all = previous == NULL || all_changed(policy, previous);

	for (unsigned i = 0; i < policy->qube_count; i++) {
		struct qube *qube = &policy->qubes[i];

		qube->generation = policy->generation;
		/* An unused index has no flows that could change. */
		if (qube->name[0] == '\0')
			qube->generation = qube->since;
		else if (!all && i < previous->qube_count &&
			 !qube_changed(qube, &previous->qubes[i]))
			qube->generation = previous->qubes[i].generation;
	}
	if (previous != NULL) {
		allows_mark(policy, policy->forwards, previous->forwards);
		allows_mark(policy, previous->forwards, policy->forwards);
	}
}
