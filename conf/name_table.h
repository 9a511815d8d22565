/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names -> indices, for the time of one build: a thousand qubes are looked up a thousand times each
 * time a policy is made. The names are the caller's and must live as long.
 */
#pragma once

#include <stdint.h>

struct name_table {
	uint32_t mask;
	struct name_slot {
		const char *name; /* NULL: empty */
		uint16_t index;
	} * slots;
};

/** @param most how many names it may hold @return 0 or -ENOMEM */
int name_table_create(struct name_table *table, unsigned most);
void name_table_free(struct name_table *table);

/** Enter a name; one that is there already keeps its index. */
void name_table_add(struct name_table *table, const char *name, uint16_t index);

/** @return the index, UINT16_MAX when it is not there */
uint16_t name_table_find(const struct name_table *table, const char *name);
