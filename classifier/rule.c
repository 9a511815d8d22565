/* SPDX-License-Identifier: BSD-3-Clause */
#include "classifier/rule.h"

#include <stdlib.h>

void
ruleset_clear(struct ruleset *ruleset)
{
	for (unsigned i = 0; i < ruleset->count; i++)
		free(ruleset->rules[i].name);
	free(ruleset->rules);
	*ruleset = (struct ruleset){.policy = ACTION_DROP};
}
