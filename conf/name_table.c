/* SPDX-License-Identifier: BSD-3-Clause */
#include "conf/name_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bitops.h>
#include <rte_common.h>

int
name_table_create(struct name_table *table, unsigned most)
{
	/* Never more than half full, so that a search ends soon. */
	uint32_t slots = rte_align32pow2(2 * most + 2);

	table->mask = slots - 1;
	table->slots = calloc(slots, sizeof(*table->slots));
	return table->slots != NULL ? 0 : -ENOMEM;
}

void
name_table_free(struct name_table *table)
{
	free(table->slots);
	table->slots = NULL;
}

static struct name_slot *
slot_find(const struct name_table *table, const char *name)
{
	uint32_t hash = 2166136261u;

	for (const char *byte = name; *byte != '\0'; byte++)
		hash = (hash ^ (unsigned char)*byte) * 16777619u;
	hash ^= hash >> 15;
	while (table->slots[hash & table->mask].name != NULL &&
		strcmp(table->slots[hash & table->mask].name, name) != 0)
		hash++;
	return &table->slots[hash & table->mask];
}

void
name_table_add(struct name_table *table, const char *name, uint16_t index)
{
	struct name_slot *slot = slot_find(table, name);

	if (slot->name == NULL)
		*slot = (struct name_slot){name, index};
}

uint16_t
name_table_find(const struct name_table *table, const char *name)
{
	const struct name_slot *slot = slot_find(table, name);

	return slot->name != NULL ? slot->index : UINT16_MAX;
}
