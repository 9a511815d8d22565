/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Steering by the remote end: the only part of a tuple that neither masquerade nor a port forward
 * changes.
 *
 * What comes in over the uplink has it as its source. What a qube sends has it as its destination,
 * once a virtual DNS address has become the resolver behind it, as it will before the packet
 * leaves. The hash is keyed: a far end that picks its ports cannot aim at one worker.
 */
#include "nat/steer.h"

static inline uint64_t
remote_hash(const struct flow_secret *secret, uint8_t family, uint8_t protocol,
	const union address *address, rte_be16_t port)
{
	const uint64_t *word = secret->word;
	uint64_t tail = (uint64_t)family << 24 | (uint64_t)protocol << 16 | port;

	/* Other secrets in other places than flow_hash: the share of a worker is no pattern there.
	 */
	if (family == FAMILY_IPV4)
		return hash_pair(address->v4, tail, word[3], word[2]);
	return hash_pair(hash_fold(address->half[0] ^ word[1], address->half[1] ^ word[0]), tail,
		word[3], word[2]);
}

unsigned
steer(const struct policy *policy, const struct flow_secret *secret, const struct packet *packet,
	unsigned workers)
{
	const struct tuple *tuple = &packet->tuple;
	union address remote;
	rte_be16_t port;

	if (workers <= 1)
		return 0;
	if (packet->qube == QUBE_NONE) {
		remote = tuple->source;
		port = tuple->source_port;
	} else {
		remote = tuple->destination;
		port = tuple->destination_port;
		/* Without a resolver the packet is dropped wherever it goes. */
		if ((packet->flags & PACKET_DNS) != 0)
			(void)policy_resolver(policy, &remote);
	}
	/* The identifier of an ICMP query is no port of the remote end, and masquerade changes it.
	 */
	if ((packet->flags & PACKET_ICMP_QUERY) != 0)
		port = 0;
	return hash_range(
		remote_hash(secret, tuple->family, tuple->protocol, &remote, port), workers);
}
