/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What sources say, as it is now: a container. What is made of it is in compose.c.
 */
#include "conf/live_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

struct live *
live_new(void)
{
	return calloc(1, sizeof(struct live));
}

void
live_free(struct live *live)
{
	if (live == NULL)
		return;
	for (unsigned i = 0; i < live->tree_count; i++)
		live_tree_unref(live->trees[i]);
	for (unsigned family = 0; family < FAMILIES; family++)
		free(live->connected[family]);
	free(live->trees);
	free(live->vifs);
	free(live->mappings);
	free(live);
}

/* Copy an array that may be empty. @return 0 or -ENOMEM, with nothing changed */
static int
array_set(void **array, unsigned *array_count, const void *elements, unsigned count, size_t size)
{
	void *copy = calloc(RTE_MAX(count, 1u), size);

	if (copy == NULL)
		return -ENOMEM;
	if (count != 0)
		memcpy(copy, elements, count * size);
	free(*array);
	*array = copy;
	*array_count = count;
	return 0;
}

/* Trees. */

struct live_tree *
live_tree_new(enum family family, const union address *address)
{
	struct live_tree *tree = calloc(1, sizeof(*tree));

	if (tree == NULL)
		return NULL;
	tree->references = 1;
	tree->family = family;
	tree->address = *address;
	tree->state = RULES_VALID;
	return tree;
}

void
live_tree_unref(struct live_tree *tree)
{
	if (tree == NULL || --tree->references != 0)
		return;
	ruleset_clear(&tree->ruleset);
	free(tree->error);
	for (unsigned i = 0; i < tree->forward_count; i++)
		free(tree->forwards[i].comment);
	free(tree->forwards);
	free(tree);
}

/* Where a tree is or would go: they are sorted, so that what is made of them does not depend on the
   order in which they came. */
static unsigned
tree_place(const struct live *live, enum family family, const union address *address, bool *found)
{
	unsigned low = 0, high = live->tree_count;

	*found = false;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct live_tree *tree = live->trees[middle];
		int order = (int)tree->family - (int)family;

		if (order == 0)
			order = memcmp(&tree->address, address, sizeof(*address));
		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int
live_tree_put(struct live *live, struct live_tree *tree)
{
	struct live_tree **grown;
	unsigned place;
	bool found;

	for (unsigned i = 0; i < tree->forward_count; i++) {
		struct conf_forward *forward = &tree->forwards[i];

		live_name(tree->family, &tree->address, forward->qube);
		/* its key is all that tells it from others to the same qube */
		snprintf(forward->name, sizeof(forward->name), "%.24s-%04u", forward->qube,
			(forward->line != 0 ? forward->line - 1 : i) % 10000);
	}
	place = tree_place(live, tree->family, &tree->address, &found);
	if (found) {
		live_tree_unref(live->trees[place]);
		live->trees[place] = tree;
		return 0;
	}
	grown = reallocarray(live->trees, live->tree_count + 1, sizeof(*grown));
	if (grown == NULL) {
		live_tree_unref(tree);
		return -ENOMEM;
	}
	live->trees = grown;
	memmove(&grown[place + 1], &grown[place], (live->tree_count - place) * sizeof(*grown));
	grown[place] = tree;
	live->tree_count++;
	return 0;
}

void
live_tree_drop(struct live *live, enum family family, const union address *address)
{
	bool found;
	unsigned place = tree_place(live, family, address, &found);

	if (!found)
		return;
	live_tree_unref(live->trees[place]);
	live->tree_count--;
	memmove(&live->trees[place], &live->trees[place + 1],
		(live->tree_count - place) * sizeof(live->trees[0]));
}

const struct live_tree *
live_tree_find(const struct live *live, enum family family, const union address *address)
{
	bool found;
	unsigned place = tree_place(live, family, address, &found);

	return found ? live->trees[place] : NULL;
}

int
live_connected_set(
	struct live *live, enum family family, const union address *addresses, unsigned count)
{
	return array_set((void **)&live->connected[family], &live->connected_count[family],
		addresses, count, sizeof(*addresses));
}

int
live_mappings_set(struct live *live, const struct live_mapping *mappings, unsigned count)
{
	return array_set(
		(void **)&live->mappings, &live->mapping_count, mappings, count, sizeof(*mappings));
}

void
live_gateway_set(struct live *live, const struct live_gateway *gateway)
{
	live->has_gateway = gateway != NULL;
	if (gateway != NULL)
		live->gateway = *gateway;
}

void
live_uplink_set(struct live *live, const struct live_uplink *uplink)
{
	live->has_uplink = uplink != NULL;
	if (uplink != NULL)
		live->uplink = *uplink;
}

/* Vifs. */

/* Newest first; of one domain the first device first. */
static int
vif_order(const struct live_vif *vif, uint16_t domid, uint16_t devid)
{
	if (vif->domid != domid)
		return vif->domid > domid ? -1 : 1;
	return (int)vif->devid - (int)devid;
}

static unsigned
vif_place(const struct live *live, uint16_t domid, uint16_t devid, bool *found)
{
	unsigned place = 0;

	while (place < live->vif_count && vif_order(&live->vifs[place], domid, devid) < 0)
		place++;
	*found = place < live->vif_count && vif_order(&live->vifs[place], domid, devid) == 0;
	return place;
}

int
live_vif_put(struct live *live, const struct live_vif *vif)
{
	struct live_vif *grown;
	bool found;
	unsigned place = vif_place(live, vif->domid, vif->devid, &found);

	if (found) {
		live->vifs[place] = *vif;
		return 0;
	}
	grown = reallocarray(live->vifs, live->vif_count + 1, sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	live->vifs = grown;
	memmove(&grown[place + 1], &grown[place], (live->vif_count - place) * sizeof(*grown));
	grown[place] = *vif;
	live->vif_count++;
	return 0;
}

void
live_vif_drop(struct live *live, uint16_t domid, uint16_t devid)
{
	bool found;
	unsigned place = vif_place(live, domid, devid, &found);

	if (!found)
		return;
	live->vif_count--;
	memmove(&live->vifs[place], &live->vifs[place + 1],
		(live->vif_count - place) * sizeof(live->vifs[0]));
}

const struct live_vif *
live_vif_find(const struct live *live, uint16_t domid, uint16_t devid)
{
	bool found;
	unsigned place = vif_place(live, domid, devid, &found);

	return found ? &live->vifs[place] : NULL;
}
