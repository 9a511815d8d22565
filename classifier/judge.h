/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "classifier/policy.h"

/**
 * Judge packets of qubes that opened no flow yet, by the rules of each packet's qube.
 *
 * Destinations are taken after DNS translation (policy_resolver). Sets `rule`, and `reason` on
 * refusal: RULE, POLICY, BAD_RULES, NO_RULES, INTER_QUBE, NO_RESOLVER. Does not reorder; a packet
 * whose `reason` is already set is left alone.
 */
void judge_burst(const struct policy *policy, struct rte_mbuf **burst, unsigned count);
