/* SPDX-License-Identifier: BSD-3-Clause */
#include "conf/rule_index.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_bitops.h>
#include <rte_common.h>

#include "conf/changes.h"

/* Rules that say the same have the same hash; few others do. */
static uint32_t
rule_hash(const struct rule *rule)
{
	bool by_prefix =
		rule->destination == DESTINATION_IPV4 || rule->destination == DESTINATION_IPV6;
	uint64_t hash = (uint64_t)rule->action << 8 ^ (uint64_t)rule->destination << 4 ^
			(uint64_t)rule->protocol << 2 ^ (uint64_t)rule->dns;

	if (rule->has_ports)
		hash ^= (uint64_t)rule->port_low << 32 ^ (uint64_t)rule->port_high << 16;
	if (rule->has_icmp_type)
		hash ^= (uint64_t)rule->icmp_type << 24;
	if (by_prefix)
		hash ^= rule->prefix.address.half[0] * UINT64_C(0x9e3779b97f4a7c15) ^
			rule->prefix.address.half[1] * UINT64_C(0xc2b2ae3d27d4eb4f) ^
			(uint64_t)rule->prefix.length << 12;
	if (rule->destination == DESTINATION_NAME)
		for (const char *byte = rule->name; *byte != '\0'; byte++)
			hash = (hash ^ (unsigned char)*byte) * UINT64_C(0x100000001b3);
	hash ^= hash >> 32;
	return (uint32_t)((hash * UINT64_C(0xff51afd7ed558ccd)) >> 32);
}

int
rule_index_create(struct rule_index *index, const struct ruleset *ruleset)
{
	unsigned count = ruleset != NULL ? ruleset->count : 0;
	uint32_t slots = rte_align32pow2(count + 1);

	*index = (struct rule_index){.ruleset = ruleset,
		.mask = slots - 1,
		.first = calloc(slots, sizeof(uint16_t)),
		.next = calloc(count + 1, sizeof(uint16_t))};
	if (index->first == NULL || index->next == NULL) {
		rule_index_free(index);
		return -ENOMEM;
	}
	for (unsigned i = count; i-- > 0;) {
		uint16_t *first = &index->first[rule_hash(&ruleset->rules[i]) & index->mask];

		index->next[i] = *first;
		*first = (uint16_t)(i + 1);
	}
	return 0;
}

void
rule_index_free(struct rule_index *index)
{
	free(index->first);
	free(index->next);
}

int
rule_index_take(struct rule_index *index, const struct rule *rule)
{
	uint16_t *link = &index->first[rule_hash(rule) & index->mask];

	for (; *link != 0; link = &index->next[*link - 1]) {
		unsigned found = *link - 1u;

		if (!rule_same(rule, &index->ruleset->rules[found]))
			continue;
		*link = index->next[found];
		return (int)found;
	}
	return -1;
}
