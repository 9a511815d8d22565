/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Steering by the remote end: the only part of a tuple that neither masquerade nor a port forward
 * changes. The hash is keyed: a far end that picks its ports cannot aim at one worker.
 */
#include "nat/steer.h"

#include <netinet/in.h>

static inline uint64_t
end_hash(const struct flow_secret *secret, const struct tuple *tuple, const union address *address,
	rte_be16_t port)
{
	const uint64_t *word = secret->word;
	uint64_t tail = (uint64_t)tuple->family << 24 | (uint64_t)tuple->protocol << 16 | port;

	/* The identifier of an ICMP query is no port of the remote end, and masquerade changes it.
	 */
	if (tuple->protocol == IPPROTO_ICMP || tuple->protocol == IPPROTO_ICMPV6)
		tail &= ~(uint64_t)UINT16_MAX;
	/* Other secrets in other places than flow_hash: the share of a worker is no pattern there.
	 */
	if (tuple->family == FAMILY_IPV4)
		return hash_pair(address->v4, tail, word[3], word[2]);
	return hash_pair(hash_fold(address->half[0] ^ word[1], address->half[1] ^ word[0]), tail,
		word[3], word[2]);
}

/*
 * With FILTER_ADDRESS, what one host across the uplink sends from any port belongs together: its
 * port does not count then.
 */
static inline bool
port_counts(const struct policy *policy, const struct tuple *tuple, uint16_t qube)
{
	return tuple->protocol != IPPROTO_UDP || qube >= policy->qube_count ||
	       policy->qubes[qube].filter != FILTER_ADDRESS;
}

static uint64_t
hash_from_uplink(const struct policy *policy, const struct flow_secret *secret,
	const struct binding_table *bindings, const struct tuple *tuple)
{
	uint16_t qube = QUBE_NONE;
	rte_be16_t port;

	if (tuple->protocol == IPPROTO_UDP) {
		const struct forward *forward =
			forward_find(policy->forwards, FORWARD_EXTERNAL, tuple);

		if (forward != NULL)
			qube = forward->qube;
		else
			binding_find(bindings, tuple->family, tuple->protocol,
				tuple->destination_port, &qube, &port);
	}
	return end_hash(secret, tuple, &tuple->source,
		port_counts(policy, tuple, qube) ? tuple->source_port : 0);
}

/* Both ends, in either order. */
static inline uint64_t
hash_pair_of_ends(const struct flow_secret *secret, const struct tuple *tuple,
	const union address *address, rte_be16_t port)
{
	return end_hash(secret, tuple, &tuple->source, tuple->source_port) +
	       end_hash(secret, tuple, address, port);
}

static uint64_t
hash_from_qube(const struct policy *policy, const struct flow_secret *secret,
	const struct binding_table *bindings, const struct tuple *tuple, uint16_t from)
{
	struct target target;
	union address remote = tuple->destination;
	uint16_t qube;

	/* Without a resolver the packet is dropped wherever it goes. */
	if (target_is_dns(policy, tuple))
		(void)policy_resolver(policy, &remote);
	switch (policy_owner(policy, tuple->family, &remote, &qube)) {
	case OWNER_NONE:
		return end_hash(secret, tuple, &remote,
			port_counts(policy, tuple, from) ? tuple->destination_port : 0);
	case OWNER_QUBE:
		/* Whoever speaks first, and to which of our addresses: the qube's end decides. */
		if (policy->qubes[from].host)
			return end_hash(secret, tuple, &remote, tuple->destination_port);
		return hash_pair_of_ends(secret, tuple, &remote, tuple->destination_port);
	case OWNER_FIREWALL:
	default:
		target_find(policy, bindings, tuple, from, &target);
		/* No forward: an answer to who came masqueraded, or nothing that matters. */
		if (target.reason != REASON_NONE ||
			(target.qube != from && policy->qubes[target.qube].host))
			return end_hash(secret, tuple, &tuple->source, tuple->source_port);
		if (target.masquerade != MASQUERADE_NONE)
			return end_hash(secret, tuple, &target.address, target.port);
		return hash_pair_of_ends(secret, tuple, &target.address, target.port);
	}
}

unsigned
steer_tuple(const struct policy *policy, const struct flow_secret *secret,
	const struct binding_table *bindings, const struct tuple *tuple, uint16_t from,
	unsigned workers)
{
	if (workers <= 1)
		return 0;
	return hash_range(from == QUBE_NONE ? hash_from_uplink(policy, secret, bindings, tuple)
					    : hash_from_qube(policy, secret, bindings, tuple, from),
		workers);
}
