/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Steering: which worker owns a packet's flow.
 *
 * The owner is a keyed hash of (protocol, remote address, remote port); remote is the far end as
 * seen across the uplink: the source of what comes in there, the destination (after DNS
 * translation) of what goes out. Neither masquerade nor a port forward changes the remote end, so
 * both directions of a flow reach the same worker.
 */
#pragma once

#include "classifier/policy.h"
#include "nat/binding.h"

/** The worker, 0 .. @p workers - 1, that owns the flow of @p packet. ICMP queries have port 0. */
unsigned steer(const struct policy *policy, const struct flow_secret *secret,
	const struct packet *packet, unsigned workers);

/**
 * The same for a flow that is known by its original direction alone, as after a restart.
 * @param bindings not looked at yet
 * @param qube whose packet opened it; QUBE_NONE if it came in across the uplink
 */
unsigned steer_tuple(const struct policy *policy, const struct flow_secret *secret,
	const struct binding_table *bindings, const struct tuple *tuple, uint16_t qube,
	unsigned workers);
