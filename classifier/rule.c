/* SPDX-License-Identifier: BSD-3-Clause */
#include "classifier/rule.h"

#include <errno.h>
#include <stdlib.h>

void
rule_clear(struct rule *rule)
{
	free(rule->name);
	free(rule->comment);
	*rule = (struct rule){0};
}

int
rule_copy(struct rule *copy, const struct rule *rule)
{
	*copy = *rule;
	copy->name = rule->name != NULL ? strdup(rule->name) : NULL;
	copy->comment = rule->comment != NULL ? strdup(rule->comment) : NULL;
	if ((rule->name == NULL || copy->name != NULL) &&
		(rule->comment == NULL || copy->comment != NULL))
		return 0;
	rule_clear(copy);
	return -ENOMEM;
}

void
ruleset_clear(struct ruleset *ruleset)
{
	for (unsigned i = 0; i < ruleset->count; i++)
		rule_clear(&ruleset->rules[i]);
	free(ruleset->rules);
	*ruleset = (struct ruleset){.policy = ACTION_DROP};
}
