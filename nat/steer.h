/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Steering: which worker owns a packet's flow.
 *
 * The owner is a keyed hash of (protocol, remote address, remote port); remote is the far end as
 * seen across the uplink: the source of what comes in there, the destination (after DNS
 * translation) of what goes out. Neither masquerade nor a port forward changes the remote end, so
 * both directions of a flow reach the same worker.
 *
 * Between two qubes there is no remote end. Where both ends stay visible to each other, both count,
 * in either order; where the source is masqueraded too (hairpins), only the target does, which its
 * answers show as their source.
 */
#pragma once

#include "nat/target.h"
#include "nat/flow.h"

/**
 * The worker, 0 .. @p workers - 1, that owns the flow of packets with @p tuple.
 * @param from the qube they come from; QUBE_NONE: they come over the uplink
 */
unsigned steer_tuple(const struct policy *policy, const struct flow_secret *secret,
	const struct binding_table *bindings, const struct tuple *tuple, uint16_t from,
	unsigned workers);

/** The worker that owns the flow of @p packet. */
static inline unsigned
steer(const struct policy *policy, const struct flow_secret *secret,
	const struct binding_table *bindings, const struct packet *packet, unsigned workers)
{
	return workers <= 1 ? 0
			    : steer_tuple(policy, secret, bindings, &packet->tuple, packet->qube,
				      workers);
}
