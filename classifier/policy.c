/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The policy snapshot: what workers ask of it, and its end.
 *
 * The owner table answers two questions of every packet (is the source one of ours, and is the
 * destination): open addressing with linear probes, never more than half full, so that a probe for
 * a stranger ends at the next empty slot, as a rule the first. It is built once, then read only.
 */
#include "classifier/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bitops.h>
#include <rte_common.h>

const char *const role_names[] = {
	[ROLE_UPLINK] = "uplink", [ROLE_QUBE] = "qube", [ROLE_HOST] = "host"};
_Static_assert(sizeof(role_names) / sizeof(role_names[0]) == ROLES, "every role has a name");

/*
 * Addresses of qubes differ in their last bytes, which in network order are the high bits of a
 * word: a product carries every bit into its high half, so that half is folded in and taken.
 */
static inline uint32_t
owner_hash(const union address *address)
{
	uint64_t mixed = address->half[0] * UINT64_C(0x9e3779b97f4a7c15) ^
			 address->half[1] * UINT64_C(0xc2b2ae3d27d4eb4f);

	mixed ^= mixed >> 32;
	return (uint32_t)((mixed * UINT64_C(0xff51afd7ed558ccd)) >> 32);
}

/* The slot that holds @p address, or the empty one where it would go. */
static inline struct policy_owner *
owner_slot(const struct policy *policy, enum family family, const union address *address)
{
	uint32_t slot = owner_hash(address) & policy->owner_mask;

	while (policy->owners[slot].owner != OWNER_NONE &&
		(policy->owners[slot].family != family ||
			!address_equal(&policy->owners[slot].address, address)))
		slot = (slot + 1) & policy->owner_mask;
	return &policy->owners[slot];
}

enum owner
policy_owner(const struct policy *policy, enum family family, const union address *address,
	uint16_t *qube)
{
	const struct policy_owner *found = owner_slot(policy, family, address);

	if (found->owner == OWNER_QUBE)
		*qube = found->qube;
	return (enum owner)found->owner;
}

static int
owner_add(struct policy *policy, enum family family, const union address *address, enum owner owner,
	uint16_t qube)
{
	struct policy_owner *slot = owner_slot(policy, family, address);

	if (slot->owner != OWNER_NONE)
		return -EEXIST;
	*slot = (struct policy_owner){.address = *address,
		.owner = (uint8_t)owner,
		.family = (uint8_t)family,
		.qube = qube};
	return 0;
}

static int
family_index(struct policy *policy, enum family family)
{
	int error = 0;

	if (policy->has_gateway[family])
		error = owner_add(
			policy, family, &policy->gateway[family], OWNER_FIREWALL, QUBE_NONE);
	for (unsigned i = 0; error == 0 && i < policy->port_count; i++) {
		const struct policy_port *port = &policy->ports[i];

		if (port->role == ROLE_UPLINK && port->has[family])
			error = owner_add(
				policy, family, &port->address[family], OWNER_FIREWALL, QUBE_NONE);
	}
	for (unsigned i = 0; error == 0 && i < policy->qube_count; i++) {
		const struct qube *qube = &policy->qubes[i];

		/* The host's are the uplink's, which are there already. */
		if (qube->has[family] && !qube->host)
			error = owner_add(
				policy, family, &qube->address[family], OWNER_QUBE, (uint16_t)i);
	}
	return error;
}

int
policy_index(struct policy *policy)
{
	/* At most two addresses per port and qube, and ours; twice that, so half stays empty. */
	uint32_t entries = FAMILIES * (1 + policy->port_count + policy->qube_count);
	uint32_t slots = rte_align32pow2(entries * 2);
	int error = 0;

	free(policy->owners);
	policy->owner_mask = 0;
	policy->owners = calloc(slots, sizeof(*policy->owners));
	if (policy->owners == NULL)
		return -ENOMEM;
	policy->owner_mask = slots - 1;
	for (unsigned family = 0; error == 0 && family < FAMILIES; family++)
		error = family_index(policy, family);
	return error;
}

int
policy_resolver(const struct policy *policy, union address *destination)
{
	for (unsigned i = 0; i < policy->virtual_dns_count; i++) {
		union address virtual = address_v4(policy->virtual_dns[i]);

		if (!address_equal(destination, &virtual))
			continue;
		if (policy->resolver_count == 0)
			return -ENOENT;
		*destination = address_v4(policy->resolver[i % policy->resolver_count]);
		return 1;
	}
	return 0;
}

uint16_t
policy_port_find(const struct policy *policy, const char *name)
{
	for (unsigned i = 0; i < policy->port_count; i++)
		if (policy->ports[i].role != ROLE_NONE && strcmp(policy->ports[i].name, name) == 0)
			return (uint16_t)i;
	return PORT_NONE;
}

void
policy_free(struct policy *policy)
{
	if (policy == NULL)
		return;
	for (unsigned i = 0; i < policy->qube_count; i++)
		rules_unref(policy->qubes[i].rules);
	free(policy->qubes);
	for (unsigned i = 0; policy->ports != NULL && i < policy->port_count; i++)
		free(policy->ports[i].identity);
	free(policy->ports);
	free(policy->owners);
	forward_table_free(policy->forwards);
	free(policy->timeouts);
	free(policy);
}

struct rules *
rules_ref(struct rules *rules)
{
	/* Whoever passes it on holds a reference already: nothing to order against. */
	atomic_fetch_add_explicit(&rules->references, 1, memory_order_relaxed);
	return rules;
}

void
rules_unref(struct rules *rules)
{
	if (rules == NULL)
		return;
	if (atomic_fetch_sub_explicit(&rules->references, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned family = 0; family < FAMILIES; family++)
		if (rules->acl[family] != NULL)
			acl_free(rules->acl[family]);
	for (unsigned i = 0; rules->hits != NULL && i <= rules->ruleset.count; i++)
		hits_unref(rules->hits[i]);
	free(rules->hits);
	free(rules->name_index);
	names_unref(rules->names);
	ruleset_clear(&rules->ruleset);
	free(rules);
}
