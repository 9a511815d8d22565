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

#include <netinet/in.h>

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

static inline unsigned
steer_remote(const struct policy *policy, const struct flow_secret *secret,
	const struct tuple *tuple, bool from_qube, bool dns, bool icmp_query, unsigned workers)
{
	union address remote = from_qube ? tuple->destination : tuple->source;
	rte_be16_t port = from_qube ? tuple->destination_port : tuple->source_port;

	/* Without a resolver the packet is dropped wherever it goes. */
	if (dns && from_qube)
		(void)policy_resolver(policy, &remote);
	/* The identifier of an ICMP query is no port of the remote end, and masquerade changes it.
	 */
	if (icmp_query)
		port = 0;
	return hash_range(
		remote_hash(secret, tuple->family, tuple->protocol, &remote, port), workers);
}

unsigned
steer(const struct policy *policy, const struct flow_secret *secret, const struct packet *packet,
	unsigned workers)
{
	if (workers <= 1)
		return 0;
	return steer_remote(policy, secret, &packet->tuple, packet->qube != QUBE_NONE,
		(packet->flags & PACKET_DNS) != 0, (packet->flags & PACKET_ICMP_QUERY) != 0,
		workers);
}

unsigned
steer_tuple(const struct policy *policy, const struct flow_secret *secret,
	const struct binding_table *bindings, const struct tuple *tuple, uint16_t qube,
	unsigned workers)
{
	bool icmp = tuple->protocol == IPPROTO_ICMP || tuple->protocol == IPPROTO_ICMPV6;
	/* What the guard sets PACKET_DNS for; policy_resolver knows the addresses. */
	bool dns = tuple->family == FAMILY_IPV4 && tuple->destination_port == RTE_BE16(53) &&
		   (tuple->protocol == IPPROTO_UDP || tuple->protocol == IPPROTO_TCP);

	(void)bindings;
	if (workers <= 1)
		return 0;
	return steer_remote(policy, secret, tuple, qube != QUBE_NONE, dns, icmp, workers);
}
