/* SPDX-License-Identifier: BSD-3-Clause */
#include "nat/target.h"

#include <netinet/in.h>

#define DNS_PORT RTE_BE16(53)

bool
target_is_dns(const struct policy *policy, const struct tuple *tuple)
{
	if (tuple->destination_port != DNS_PORT || tuple->family != FAMILY_IPV4 ||
		(tuple->protocol != IPPROTO_UDP && tuple->protocol != IPPROTO_TCP))
		return false;
	for (unsigned i = 0; i < policy->virtual_dns_count; i++)
		if (tuple->destination.v4 == policy->virtual_dns[i])
			return true;
	return false;
}

bool
target_is_diverted(const struct policy *policy, const struct tuple *tuple)
{
	union address resolver = tuple->destination;

	return target_is_dns(policy, tuple) &&
	       (policy_resolver(policy, &resolver) < 0 ||
		       !address_equal(&resolver, &tuple->destination));
}

static inline bool
is_uplink_address(const struct policy *policy, const struct tuple *tuple)
{
	const struct policy_port *uplink = &policy->ports[policy->uplink];

	return uplink->has[tuple->family] &&
	       address_equal(&tuple->destination, &uplink->address[tuple->family]);
}

/* To the target of a forward. @return false when it has no address of this family */
static bool
to_forward(const struct policy *policy, const struct forward *forward, const struct tuple *tuple,
	struct target *target)
{
	const struct qube *qube = &policy->qubes[forward->qube];

	if (!qube->has[tuple->family])
		return false;
	target->forward = forward;
	target->qube = forward->qube;
	target->address = qube->address[tuple->family];
	target->port = forward_target_port(forward, tuple->destination_port);
	return true;
}

/* RFC 4787 REQ-8: who may send to a binding that he was not sent to from. */
static bool
to_binding(const struct policy *policy, const struct binding_table *bindings,
	const struct tuple *tuple, struct target *target)
{
	const struct qube *qube;
	uint16_t index;

	if (tuple->protocol != IPPROTO_UDP ||
		!binding_find(bindings, tuple->family, tuple->protocol, tuple->destination_port,
			&index, &target->port) ||
		index >= policy->qube_count)
		return false;
	qube = &policy->qubes[index];
	if (qube->filter == FILTER_ADDRESS_AND_PORT || !qube->has[tuple->family])
		return false;
	target->qube = index;
	target->address = qube->address[tuple->family];
	target->filter = true;
	return true;
}

static void
from_uplink(const struct policy *policy, const struct binding_table *bindings,
	const struct tuple *tuple, struct target *target)
{
	const struct tuple answer = {
		.destination = tuple->source,
		.destination_port = tuple->source_port,
		.protocol = tuple->protocol,
		.family = tuple->family,
	};
	const struct forward *forward;

	target->reason = REASON_NO_FLOW;
	if (!is_uplink_address(policy, tuple) || target_is_diverted(policy, &answer))
		return;
	forward = forward_find(policy->forwards, FORWARD_EXTERNAL, tuple);
	if (forward != NULL ? to_forward(policy, forward, tuple, target)
			    : to_binding(policy, bindings, tuple, target))
		target->reason = REASON_NONE;
}

/* A qube speaks to one of our own addresses. */
static void
to_firewall(const struct policy *policy, const struct tuple *tuple, uint16_t from,
	struct target *target)
{
	const struct forward *forward = forward_find(policy->forwards, FORWARD_INTERNAL, tuple);

	if (forward == NULL || !to_forward(policy, forward, tuple, target))
		target->reason = REASON_LOCAL_REFUSED;
	else if (policy->qubes[target->qube].host && target->qube != from)
		return; /* has no way to anybody but through us: its answers find back */
	else if (is_uplink_address(policy, tuple))
		target->masquerade = MASQUERADE_EXTERNAL; /* RFC 4787 REQ-9 */
	else if (target->qube == from)
		target->masquerade = MASQUERADE_GATEWAY; /* or it would hear from itself */
}

void
target_find(const struct policy *policy, const struct binding_table *bindings,
	const struct tuple *tuple, uint16_t from, struct target *target)
{
	*target = (struct target){
		.address = tuple->destination,
		.port = tuple->destination_port,
		.qube = QUBE_NONE,
		.masquerade = MASQUERADE_NONE,
	};
	if (from == QUBE_NONE) {
		from_uplink(policy, bindings, tuple, target);
		return;
	}
	if (target_is_dns(policy, tuple)) {
		target->dns = true;
		if (policy_resolver(policy, &target->address) < 0) {
			target->reason = REASON_NO_RESOLVER;
			return;
		}
	}
	switch (policy_owner(policy, tuple->family, &target->address, &target->qube)) {
	case OWNER_FIREWALL:
		to_firewall(policy, tuple, from, target);
		return;
	case OWNER_QUBE:
		target->inter_qube = !forward_allows(
			policy->forwards, from, target->qube, tuple->protocol, target->port);
		/* Qubes know our own kernel by no other address, and the uplink's may change. */
		if (policy->qubes[from].host)
			target->masquerade = MASQUERADE_GATEWAY;
		return;
	case OWNER_NONE:
	default:
		target->masquerade = MASQUERADE_EXTERNAL;
		return;
	}
}
