/* SPDX-License-Identifier: BSD-3-Clause */
/* The reference matcher: rules tried one after the other, as the policy writer reads them. */
#pragma once

#include "classifier/rule.h"

/**
 * Find the first rule of @p ruleset that matches @p subject.
 * @param rule out: the index of that rule, or RULE_POLICY
 * @return that rule's action, or the policy
 */
enum action linear_match(
	const struct ruleset *ruleset, const struct subject *subject, uint16_t *rule);
