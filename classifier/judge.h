/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "classifier/policy.h"

/* A question to the rules of a qube. */
struct judge_request {
	uint16_t qube; /* index of the one who sends */
	bool open;     /* about a flow that is open: what its names stood for counts, too */
	struct subject subject;
	/* the answer */
	uint16_t rule;  /* index of the rule that decided, RULE_POLICY, or RULE_NONE */
	uint8_t reason; /* enum reason: NONE, RULE, POLICY, BAD_RULES, NO_RULES */
};

/**
 * Judge what qubes want to open, each by its own rules.
 *
 * The subject of a request is what is reached really: the destination after translation.
 * @param now_ms for the addresses of names
 * @param count at most BURST_MAX
 */
void judge(const struct policy *policy, uint32_t now_ms, struct judge_request *requests,
	unsigned count);
