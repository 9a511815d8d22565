/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A tree of rules in QubesDB -> struct live_tree.
 *
 *	policy	drop
 *	0000	action=accept dst4=192.0.2.0/24 proto=tcp dstports=443-443
 *	0002	action=drop
 *
 * Keys of rules have four digits and are tried in their order, gaps are nothing. All of a tree
 *counts or none of it: the first thing that is wrong, in the order of the keys, refuses everything
 *to the qube, because what is missing may have been a prohibition. Forwards stand in a tree of
 *their own, with keys alike and without a policy; something wrong there takes the forwards away and
 *no rule.
 */
#include "conf/qubesdb_tree.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_common.h>

#include "conf/rule_text.h"

/* Longest rule that a message quotes, in bytes. */
#define QUOTE_MAX 160

/* --- pairs --- */

void
pair_list_add(struct pair_list *list, const char *key, const char *value, unsigned most)
{
	struct pair *pair;

	if (list->overfull)
		return;
	if (list->count == list->capacity && list->count < most) {
		unsigned capacity = RTE_MAX(2 * list->capacity, 8u);
		struct pair *pairs = reallocarray(list->pairs, capacity, sizeof(*pairs));

		if (pairs != NULL) {
			list->pairs = pairs;
			list->capacity = capacity;
		}
	}
	if (list->count == RTE_MIN(list->capacity, most)) {
		list->overfull = true;
		return;
	}
	pair = &list->pairs[list->count];
	pair->key = strdup(key);
	pair->value = strdup(value);
	if (pair->key != NULL && pair->value != NULL) {
		list->count++;
		return;
	}
	free(pair->key);
	free(pair->value);
	list->overfull = true;
}

const char *
pair_list_find(const struct pair_list *list, const char *key)
{
	for (unsigned i = 0; i < list->count; i++)
		if (strcmp(list->pairs[i].key, key) == 0)
			return list->pairs[i].value;
	return NULL;
}

bool
pair_list_equal(const struct pair_list *a, const struct pair_list *b)
{
	if (a->count != b->count || a->overfull != b->overfull)
		return false;
	for (unsigned i = 0; i < a->count; i++)
		if (strcmp(a->pairs[i].key, b->pairs[i].key) != 0 ||
			strcmp(a->pairs[i].value, b->pairs[i].value) != 0)
			return false;
	return true;
}

void
pair_list_clear(struct pair_list *list)
{
	for (unsigned i = 0; i < list->count; i++) {
		free(list->pairs[i].key);
		free(list->pairs[i].value);
	}
	free(list->pairs);
	*list = (struct pair_list){0};
}

static int
pair_compare(const void *a, const void *b)
{
	return strcmp(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

static void
pair_list_sort(struct pair_list *list)
{
	if (list->count > 1)
		qsort(list->pairs, list->count, sizeof(list->pairs[0]), pair_compare);
}

/* --- what is wrong --- */

static int refuse(char **error, const struct pair *pair, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Say what is wrong with a pair, and quote it. */
static int
refuse(char **error, const struct pair *pair, const char *format, ...)
{
	char reason[RULE_ERROR_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	if (asprintf(error, "%s: %s; there is \"%.*s\"%s", pair->key, reason, QUOTE_MAX,
		    pair->value, strlen(pair->value) > QUOTE_MAX ? "..." : "") < 0) {
		*error = NULL;
		return -ENOMEM;
	}
	text_sanitise(*error);
	return -EINVAL;
}

static int
refuse_all(char **error, const char *text)
{
	*error = strdup(text);
	return *error != NULL ? -EINVAL : -ENOMEM;
}

/* --- rules --- */

static bool
key_parse(const char *key, unsigned *number)
{
	*number = 0;
	for (unsigned i = 0; i < 4; i++) {
		if (!isdigit((unsigned char)key[i]))
			return false;
		*number = 10 * *number + (unsigned)(key[i] - '0');
	}
	return key[4] == '\0';
}

/* What one pair is: a rule, or something that cannot be there. */
static int
key_check(const struct pair_list *list, unsigned index, unsigned *number, char **error)
{
	const struct pair *pair = &list->pairs[index];

	if (index > 0 && strcmp(pair->key, pair[-1].key) == 0)
		return refuse(error, pair, "stands twice");
	if (!key_parse(pair->key, number))
		return refuse(error, pair, "the key of a rule has four digits");
	return 0;
}

static int
policy_parse(struct live_tree *tree, const struct pair *pair)
{
	if (strcmp(pair->value, "drop") == 0)
		tree->ruleset.policy = ACTION_DROP;
	else if (strcmp(pair->value, "accept") == 0)
		tree->ruleset.policy = ACTION_ACCEPT;
	else
		return refuse(&tree->error, pair, "is not a policy; allowed: drop, accept");
	return 0;
}

static int
rules_parse_pairs(struct live_tree *tree, const struct pair_list *list)
{
	enum rule_tree kind = tree->family == FAMILY_IPV4 ? RULE_TREE_IPV4 : RULE_TREE_IPV6;
	char reason[RULE_ERROR_SIZE];
	bool has_policy = false;
	unsigned number = 0;

	tree->ruleset.rules = calloc(RTE_MAX(list->count, 1u), sizeof(struct rule));
	if (tree->ruleset.rules == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < list->count; i++) {
		const struct pair *pair = &list->pairs[i];
		struct rule *rule = &tree->ruleset.rules[tree->ruleset.count];
		int error;

		if (strcmp(pair->key, "policy") == 0 && !has_policy) {
			has_policy = true;
			error = policy_parse(tree, pair);
			if (error != 0)
				return error;
			continue;
		}
		error = key_check(list, i, &number, &tree->error);
		if (error != 0)
			return error;
		if (qubes_rule_parse(pair->value, kind, rule, reason, sizeof(reason)) != 0)
			return refuse(&tree->error, pair, "%s", reason);
		rule->line = number + 1;
		rule->origin = ORIGIN_QUBESDB;
		tree->ruleset.count++;
	}
	return has_policy ? 0 : refuse_all(&tree->error, "policy: missing");
}

/* --- forwards --- */

static void
forwards_clear(struct live_tree *tree)
{
	for (unsigned i = 0; i < tree->forward_count; i++)
		free(tree->forwards[i].comment);
	free(tree->forwards);
	tree->forwards = NULL;
	tree->forward_count = 0;
}

static int
forwards_parse(struct live_tree *tree, const struct pair_list *list, char **error)
{
	char reason[RULE_ERROR_SIZE];
	unsigned number = 0;
	int result;

	tree->forwards = calloc(RTE_MAX(list->count, 1u), sizeof(*tree->forwards));
	if (tree->forwards == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < list->count; i++) {
		const struct pair *pair = &list->pairs[i];
		struct conf_forward *forward = &tree->forwards[tree->forward_count];

		result = key_check(list, i, &number, error);
		if (result != 0)
			return result;
		/* no time to count from: `expire=+N` would begin anew whenever it is read */
		if (forward_parse(pair->value, 0, forward, reason, sizeof(reason)) != 0)
			return refuse(error, pair, "%s", reason);
		forward->line = number + 1;
		tree->forward_count++;
	}
	return 0;
}

/* --- a tree --- */

static const char too_much[] = "more than 1000 rules";
_Static_assert(RULES_MAX == 1000, "the message says so");

struct live_tree *
tree_parse(enum family family, const union address *address, struct pair_list *rules,
	struct pair_list *forwards, char **forwards_error)
{
	struct live_tree *tree = live_tree_new(family, address);
	int error;

	*forwards_error = NULL;
	if (tree == NULL)
		return NULL;
	pair_list_sort(rules);
	error = rules->overfull ? refuse_all(&tree->error, too_much)
				: rules_parse_pairs(tree, rules);
	tree->state = error == 0 ? RULES_VALID : RULES_BAD;
	if (error != 0)
		ruleset_clear(&tree->ruleset);
	if (error != -ENOMEM && forwards != NULL) {
		pair_list_sort(forwards);
		error = forwards->overfull ? refuse_all(forwards_error, too_much)
					   : forwards_parse(tree, forwards, forwards_error);
		if (error != 0)
			forwards_clear(tree);
	}
	if (error == -ENOMEM) {
		free(*forwards_error);
		*forwards_error = NULL;
		live_tree_unref(tree);
		return NULL;
	}
	return tree;
}

int
tree_forwards_copy(struct live_tree *tree, const struct live_tree *from)
{
	forwards_clear(tree);
	if (from->forward_count == 0)
		return 0;
	tree->forwards = calloc(from->forward_count, sizeof(*tree->forwards));
	if (tree->forwards == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < from->forward_count; i++) {
		struct conf_forward *forward = &tree->forwards[i];

		*forward = from->forwards[i];
		forward->comment = NULL;
		tree->forward_count++;
		if (from->forwards[i].comment != NULL) {
			forward->comment = strdup(from->forwards[i].comment);
			if (forward->comment == NULL)
				return -ENOMEM;
		}
	}
	return 0;
}

int
tree_rules_copy(struct live_tree *tree, const struct live_tree *from)
{
	ruleset_clear(&tree->ruleset);
	free(tree->error);
	tree->error = NULL;
	tree->state = from->state;
	tree->ruleset.policy = from->ruleset.policy;
	tree->ruleset.rules = calloc(RTE_MAX(from->ruleset.count, 1u), sizeof(struct rule));
	if (tree->ruleset.rules == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < from->ruleset.count; i++) {
		if (rule_copy(&tree->ruleset.rules[i], &from->ruleset.rules[i]) != 0)
			return -ENOMEM;
		tree->ruleset.count++;
	}
	if (from->error != NULL) {
		tree->error = strdup(from->error);
		if (tree->error == NULL)
			return -ENOMEM;
	}
	return 0;
}
