/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What QubesDB has below a path, and what a tree of rules means. Knows nothing of connections.
 */
#pragma once

#include "conf/live.h"

/* Keys, each a path without the prefix that was asked for, and their values. */
struct pair_list {
	unsigned count, capacity;
	struct pair {
		char *key, *value;
	} * pairs;
	bool overfull; /* there were more than `most`, or more than fit into memory */
};

/** Append a copy of a pair, unless there are @p most of them. */
void pair_list_add(struct pair_list *list, const char *key, const char *value, unsigned most);

/** The value of a key. @return NULL without one */
const char *pair_list_find(const struct pair_list *list, const char *key);

bool pair_list_equal(const struct pair_list *a, const struct pair_list *b);

/** Free what a list owns, and leave it empty. */
void pair_list_clear(struct pair_list *list);

/* Pairs of a tree that is in order: rules and `policy`. One more shows that it is not. */
#define TREE_PAIRS_MAX (RULES_MAX + 1)

/**
 * Rules out of the tree of an address. Whatever is wrong with any of it makes the tree RULES_BAD:
 * then `error` is `KEY: reason`, and quotes the rule.
 * @param rules, forwards what was read; sorted here
 * @param forwards NULL: there are none
 * @param forwards_error out: NULL, or allocated why none of the forwards counts, `KEY: reason`
 * @return NULL when out of memory
 */
struct live_tree *tree_parse(enum family family, const union address *address,
	struct pair_list *rules, struct pair_list *forwards, char **forwards_error);

/**
 * The same forwards with other rules, or the other way round: take the forwards of @p from.
 * @return 0 or -ENOMEM
 */
int tree_forwards_copy(struct live_tree *tree, const struct live_tree *from);

/** Take the rules of @p from. @return 0 or -ENOMEM */
int tree_rules_copy(struct live_tree *tree, const struct live_tree *from);
