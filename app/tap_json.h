/* SPDX-License-Identifier: BSD-3-Clause */
/* Records of taps as the control socket tells them. */
#pragma once

#include <jansson.h>

#include "app/tap.h"

/**
 * A PACKET of `trace`, with its stages, or of `capture`, with its frame.
 * @param mbuf from tap_take; stays the caller's
 * @param time_ns unix time of its record
 */
json_t *tap_json(const struct dataplane *dataplane, const struct policy *policy,
	struct rte_mbuf *mbuf, bool frames, uint64_t time_ns);
