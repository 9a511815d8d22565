/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which rule of a list says the same as this one? For lists of a thousand that are compared with
 * another thousand.
 */
#pragma once

#include "classifier/rule.h"

struct rule_index {
	const struct ruleset *ruleset; /* must live as long */
	uint32_t mask;
	uint16_t *first; /* by hash: 1 + the first rule, 0 = none */
	uint16_t *next;  /* by rule: 1 + the next one of its hash */
};

/** @param ruleset NULL: none, and nothing is found @return 0 or -ENOMEM */
int rule_index_create(struct rule_index *index, const struct ruleset *ruleset);
void rule_index_free(struct rule_index *index);

/** Find the first rule that says the same as @p rule, and take it out. @return its number or -1 */
int rule_index_take(struct rule_index *index, const struct rule *rule);
