/* SPDX-License-Identifier: BSD-3-Clause */
/* The reference matcher: rules tried one after the other, as the policy writer reads them. */
#pragma once

#include "classifier/rule.h"

/* The names that the destination of a subject has. */
struct subject_names {
	unsigned count;
	const char *const *text;
};

/**
 * Find the first rule of @p ruleset that matches @p subject, whose destination has no name.
 * @param rule out: the index of that rule, or RULE_POLICY
 * @return that rule's action, or the policy
 */
enum action linear_match(
	const struct ruleset *ruleset, const struct subject *subject, uint16_t *rule);

/** The same for a destination that has names. */
enum action linear_match_named(const struct ruleset *ruleset, const struct subject *subject,
	const struct subject_names *names, uint16_t *rule);
