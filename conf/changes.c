/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was changed over the control socket: the container, and the operations on rules. Those on
 * forwards are in changes_forward.c.
 *
 * Every operation builds a new list from the one it begins with and puts it in its place; the old
 * one lives on as long as another struct changes holds it.
 */
#include "conf/changes.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_common.h>

#include "conf/changes_internal.h"
#include "conf/rule_text.h"

int
change_refuse(struct change_error *error, int code, const char *key, const char *format, ...)
{
	va_list arguments;

	error->key = key;
	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	text_sanitise(error->text);
	return code;
}

int
change_no_memory(struct change_error *error)
{
	change_refuse(error, -ENOMEM, NULL, "out of memory");
	return -ENOMEM;
}

/* The container. */

void
qube_change_unref(struct qube_change *change)
{
	if (change == NULL || --change->references != 0)
		return;
	ruleset_clear(&change->ruleset);
	free(change->source);
	free(change);
}

static void
forward_change_unref(struct forward_change *change)
{
	if (--change->references != 0)
		return;
	free(change->forward.comment);
	free(change);
}

struct changes *
changes_new(void)
{
	return calloc(1, sizeof(struct changes));
}

struct changes *
changes_copy(const struct changes *changes)
{
	struct changes *copy = changes_new();

	if (copy == NULL)
		return NULL;
	/* One spare element, so that an empty array is no special case. */
	copy->qubes = calloc(changes->qube_count + 1, sizeof(struct qube_change *));
	copy->forwards = calloc(changes->forward_count + 1, sizeof(struct forward_change *));
	if (copy->qubes == NULL || copy->forwards == NULL) {
		changes_free(copy);
		return NULL;
	}
	for (; copy->qube_count < changes->qube_count; copy->qube_count++) {
		copy->qubes[copy->qube_count] = changes->qubes[copy->qube_count];
		copy->qubes[copy->qube_count]->references++;
	}
	for (; copy->forward_count < changes->forward_count; copy->forward_count++) {
		copy->forwards[copy->forward_count] = changes->forwards[copy->forward_count];
		copy->forwards[copy->forward_count]->references++;
	}
	return copy;
}

void
changes_free(struct changes *changes)
{
	if (changes == NULL)
		return;
	for (unsigned i = 0; i < changes->qube_count; i++)
		qube_change_unref(changes->qubes[i]);
	for (unsigned i = 0; i < changes->forward_count; i++)
		forward_change_unref(changes->forwards[i]);
	free(changes->qubes);
	free(changes->forwards);
	free(changes);
}

/* Where the rules of a qube in a layer are, or would go. */
static unsigned
qube_place(const struct changes *changes, const char *qube, enum rule_origin layer, bool *found)
{
	unsigned low = 0, high = changes->qube_count;

	*found = false;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct qube_change *change = changes->qubes[middle];
		int order = strcmp(change->qube, qube);

		if (order == 0)
			order = (int)change->layer - (int)layer;
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

const struct qube_change *
changes_qube_find(const struct changes *changes, const char *qube, enum rule_origin layer)
{
	bool found;
	unsigned place = qube_place(changes, qube, layer, &found);

	return found ? changes->qubes[place] : NULL;
}

void
changes_qube_drop(struct changes *changes, const char *qube, enum rule_origin layer)
{
	bool found;
	unsigned place = qube_place(changes, qube, layer, &found);

	if (!found)
		return;
	qube_change_unref(changes->qubes[place]);
	changes->qube_count--;
	memmove(&changes->qubes[place], &changes->qubes[place + 1],
		(changes->qube_count - place) * sizeof(struct qube_change *));
}

int
changes_qube_put(struct changes *changes, struct qube_change *change)
{
	bool found;
	unsigned place = qube_place(changes, change->qube, change->layer, &found);
	struct qube_change **grown;

	if (found) {
		qube_change_unref(changes->qubes[place]);
		changes->qubes[place] = change;
		return 0;
	}
	grown = reallocarray(changes->qubes, changes->qube_count + 2, sizeof(struct qube_change *));
	if (grown == NULL) {
		qube_change_unref(change);
		return -ENOMEM;
	}
	changes->qubes = grown;
	memmove(&grown[place + 1], &grown[place],
		(changes->qube_count - place) * sizeof(struct qube_change *));
	grown[place] = change;
	changes->qube_count++;
	return 0;
}

int
changes_forward_put(
	struct changes *changes, enum rule_origin layer, const struct conf_forward *forward)
{
	struct forward_change *change = calloc(1, sizeof(*change));
	struct forward_change **grown = reallocarray(
		changes->forwards, changes->forward_count + 1, sizeof(struct forward_change *));

	if (grown != NULL)
		changes->forwards = grown;
	if (change == NULL || grown == NULL) {
		free(change);
		return -ENOMEM;
	}
	change->references = 1;
	change->layer = layer;
	change->forward = *forward;
	grown[changes->forward_count++] = change;
	return 0;
}

void
changes_forward_drop(struct changes *changes, unsigned index)
{
	forward_change_unref(changes->forwards[index]);
	changes->forward_count--;
	memmove(&changes->forwards[index], &changes->forwards[index + 1],
		(changes->forward_count - index) * sizeof(struct forward_change *));
}

/* Which rules hold. */

static const char *
file_name(const char *path)
{
	const char *slash = path != NULL ? strrchr(path, '/') : NULL;

	return slash != NULL ? slash + 1 : path;
}

static struct qube_rules
rules_of_layers(
	const struct changes *changes, const struct conf_qube *qube, enum rule_origin strongest)
{
	for (enum rule_origin layer = strongest; changes != NULL && layer > ORIGIN_QUBESDB;
		layer--) {
		const struct qube_change *change = changes_qube_find(changes, qube->name, layer);

		if (change != NULL)
			return (struct qube_rules){
				layer, RULES_VALID, &change->ruleset, change->source};
	}
	if (qube->tree[FAMILY_IPV4] != NULL || qube->tree[FAMILY_IPV6] != NULL)
		return (struct qube_rules){ORIGIN_QUBESDB, qube->state, &qube->ruleset, NULL};
	return (struct qube_rules){
		ORIGIN_FILE, qube->state, &qube->ruleset, file_name(qube->rules_path)};
}

struct qube_rules
changes_rules(const struct changes *changes, const struct conf_qube *qube)
{
	return rules_of_layers(changes, qube, ORIGIN_RUNTIME);
}

bool
rule_same(const struct rule *a, const struct rule *b)
{
	bool by_prefix = a->destination == DESTINATION_IPV4 || a->destination == DESTINATION_IPV6;
	bool by_name = a->destination == DESTINATION_NAME;

	/* Not `line`: a comment more in the file is no other rule. */
	return a->action == b->action && a->families == b->families &&
	       a->destination == b->destination && a->protocol == b->protocol && a->dns == b->dns &&
	       a->has_ports == b->has_ports && a->has_icmp_type == b->has_icmp_type &&
	       (!by_prefix || (a->prefix.length == b->prefix.length &&
				      address_equal(&a->prefix.address, &b->prefix.address))) &&
	       (!by_name || strcmp(a->name, b->name) == 0) &&
	       (!a->has_ports || (a->port_low == b->port_low && a->port_high == b->port_high)) &&
	       (!a->has_icmp_type || a->icmp_type == b->icmp_type);
}

/* Operations on rules. */

int
change_qube(const struct change_scope *scope, const char *name, const struct conf_qube **out,
	struct change_error *error)
{
	for (unsigned i = 0; i < scope->conf->qube_count; i++) {
		*out = &scope->conf->qubes[i];
		if (strcmp((*out)->name, name) == 0)
			return 0;
	}
	*out = NULL;
	change_refuse(error, -ENOENT, "qube", "there is no qube \"%.64s\" in %s", name,
		scope->conf->path);
	return -ENOENT;
}

/* An edit of the rules of one qube: what it begins with, and the list it makes. */
struct edit {
	struct changes *changes;
	const struct change_scope *scope;
	struct change_error *error;
	const struct conf_qube *qube;
	struct qube_rules base;
	struct qube_change *change;
};

static int
edit_begin(struct edit *edit, const char *name)
{
	int error = change_qube(edit->scope, name, &edit->qube, edit->error);

	if (error != 0)
		return error;
	edit->base = rules_of_layers(edit->changes, edit->qube, edit->scope->layer);
	return 0;
}

/* For what begins with the rules that are there. */
static int
edit_begin_with_rules(struct edit *edit, const char *name)
{
	int error = edit_begin(edit, name);

	if (error == 0 && edit->base.state == RULES_BAD)
		return change_refuse(edit->error, -EBUSY, "qube",
			"the rules of qube %s cannot be used (%.256s); allowed: rules.set, which "
			"replaces them",
			name, edit->qube->rules_error != NULL ? edit->qube->rules_error : "?");
	return error;
}

/* A number that the caller read is a place in the list that is in force, and in no other. */
static int
edit_check_number(const struct edit *edit)
{
	if (changes_rules(edit->changes, edit->qube).layer == edit->base.layer)
		return 0;
	return change_refuse(edit->error, -EBUSY, "runtime",
		"qube %s has runtime rules, and numbers are theirs; allowed: runtime, the text of "
		"a rule, or rules.reset with runtime first",
		edit->qube->name);
}

/* Make room for a new list. @param most how many rules it may have */
static int
edit_open(struct edit *edit, unsigned most)
{
	struct qube_change *change = calloc(1, sizeof(*change));
	int error = 0;

	edit->change = change;
	if (change == NULL)
		return change_no_memory(edit->error);
	change->references = 1;
	change->layer = edit->scope->layer;
	memcpy(change->qube, edit->qube->name, sizeof(change->qube));
	change->ruleset.policy =
		edit->base.state == RULES_VALID ? edit->base.ruleset->policy : ACTION_DROP;
	change->ruleset.rules = calloc(most + 1, sizeof(struct rule));
	if (edit->base.source != NULL)
		change->source = strdup(edit->base.source);
	if (change->ruleset.rules == NULL || (edit->base.source != NULL && change->source == NULL))
		error = change_no_memory(edit->error);
	if (error != 0)
		qube_change_unref(change);
	return error;
}

static bool
rule_is_over(const struct rule *rule, uint64_t now_s)
{
	return rule->expire_s != 0 && rule->expire_s <= now_s;
}

/* Copy some rules behind those that are there. @return false when out of memory */
static bool
edit_append(struct edit *edit, const struct rule *rules, unsigned count, bool new)
{
	struct ruleset *ruleset = &edit->change->ruleset;

	for (unsigned i = 0; i < count; i++) {
		if (rule_is_over(&rules[i], edit->scope->now_s))
			continue;
		if (rule_copy(&ruleset->rules[ruleset->count], &rules[i]) != 0)
			return false;
		if (new) {
			ruleset->rules[ruleset->count].origin = edit->scope->layer;
			ruleset->rules[ruleset->count].line = 0;
		}
		ruleset->count++;
	}
	return true;
}

static int
edit_fail(struct edit *edit)
{
	qube_change_unref(edit->change);
	return change_no_memory(edit->error);
}

/* The list is complete: it takes its place. */
static int
edit_close(struct edit *edit)
{
	struct change_error *error = edit->error;

	if (edit->change->ruleset.count > RULES_MAX) {
		change_refuse(error, -E2BIG, "rules", "qube %s would have %u rules; allowed: %u",
			edit->qube->name, edit->change->ruleset.count, RULES_MAX);
		qube_change_unref(edit->change);
		return -E2BIG;
	}
	if (changes_qube_put(edit->changes, edit->change) != 0)
		return change_no_memory(error);
	if (edit->scope->layer == ORIGIN_KEPT &&
		changes_qube_find(edit->changes, edit->qube->name, ORIGIN_RUNTIME) != NULL) {
		changes_qube_drop(edit->changes, edit->qube->name, ORIGIN_RUNTIME);
		report_line(edit->scope->warn, "the runtime rules of qube %s are replaced",
			edit->qube->name);
	}
	return 0;
}

int
changes_rules_set(struct changes *changes, const struct change_scope *scope, const char *qube,
	enum action policy, const struct rule *rules, unsigned count, struct change_error *error)
{
	struct edit edit = {.changes = changes, .scope = scope, .error = error};
	int result = edit_begin(&edit, qube);

	if (result == 0) {
		edit.base = (struct qube_rules){.state = RULES_NONE};
		result = edit_open(&edit, count);
	}
	if (result != 0)
		return result;
	edit.change->ruleset.policy = policy;
	return edit_append(&edit, rules, count, true) ? edit_close(&edit) : edit_fail(&edit);
}

int
changes_rules_insert(struct changes *changes, const struct change_scope *scope, const char *qube,
	const struct rule *rules, unsigned count, unsigned before, struct change_error *error)
{
	struct edit edit = {.changes = changes, .scope = scope, .error = error};
	int result = edit_begin_with_rules(&edit, qube);
	unsigned there;

	if (result == 0 && before != 0 && before != RULES_END)
		result = edit_check_number(&edit);
	if (result != 0)
		return result;
	there = edit.base.state == RULES_VALID ? edit.base.ruleset->count : 0;
	if (before != RULES_END && before > there)
		return change_refuse(error, -ENOENT, "before",
			"qube %s has no rule number %u; allowed: 0 to %u", qube, before, there);
	before = RTE_MIN(before, there);
	result = edit_open(&edit, there + count);
	if (result != 0)
		return result;
	if (!edit_append(&edit, edit.base.ruleset->rules, before, false) ||
		!edit_append(&edit, rules, count, true) ||
		!edit_append(&edit, edit.base.ruleset->rules + before, there - before, false))
		return edit_fail(&edit);
	return edit_close(&edit);
}

static int
rule_delete(struct edit *edit, unsigned number)
{
	const struct ruleset *ruleset = edit->base.ruleset;
	int result = edit_open(edit, ruleset->count);

	if (result != 0)
		return result;
	if (!edit_append(edit, ruleset->rules, number, false) ||
		!edit_append(edit, ruleset->rules + number + 1, ruleset->count - number - 1, false))
		return edit_fail(edit);
	return edit_close(edit);
}

int
changes_rules_delete_number(struct changes *changes, const struct change_scope *scope,
	const char *qube, unsigned number, struct change_error *error)
{
	struct edit edit = {.changes = changes, .scope = scope, .error = error};
	int result = edit_begin_with_rules(&edit, qube);

	if (result == 0)
		result = edit_check_number(&edit);
	if (result != 0)
		return result;
	if (edit.base.state != RULES_VALID || number >= edit.base.ruleset->count)
		return change_refuse(
			error, -ENOENT, "number", "qube %s has no rule number %u", qube, number);
	return rule_delete(&edit, number);
}

int
changes_rules_delete(struct changes *changes, const struct change_scope *scope, const char *qube,
	const struct rule *rule, struct change_error *error)
{
	struct edit edit = {.changes = changes, .scope = scope, .error = error};
	int result = edit_begin_with_rules(&edit, qube);
	unsigned found = RULES_END, same = 0;

	if (result != 0)
		return result;
	for (unsigned i = 0; edit.base.state == RULES_VALID && i < edit.base.ruleset->count; i++)
		if (rule_same(rule, &edit.base.ruleset->rules[i])) {
			found = RTE_MIN(found, i);
			same++;
		}
	if (same == 0)
		return change_refuse(error, -ENOENT, "rule", "qube %s has no such rule", qube);
	if (same > 1)
		return change_refuse(error, -EEXIST, "rule",
			"qube %s has %u such rules, the first is number %u; allowed: a number",
			qube, same, found);
	return rule_delete(&edit, found);
}

int
changes_rules_policy(struct changes *changes, const struct change_scope *scope, const char *qube,
	enum action policy, struct change_error *error)
{
	struct edit edit = {.changes = changes, .scope = scope, .error = error};
	int result = edit_begin_with_rules(&edit, qube);
	unsigned there;

	if (result != 0)
		return result;
	there = edit.base.state == RULES_VALID ? edit.base.ruleset->count : 0;
	result = edit_open(&edit, there);
	if (result != 0)
		return result;
	edit.change->ruleset.policy = policy;
	if (!edit_append(&edit, edit.base.ruleset->rules, there, false))
		return edit_fail(&edit);
	return edit_close(&edit);
}

int
changes_rules_reset(struct changes *changes, const struct change_scope *scope, const char *qube,
	struct change_error *error)
{
	const struct conf_qube *found = NULL;
	int result = change_qube(scope, qube, &found, error);
	struct qube_rules rules;

	if (result != 0)
		return result;
	changes_qube_drop(changes, qube, ORIGIN_RUNTIME);
	if (scope->layer == ORIGIN_KEPT)
		changes_qube_drop(changes, qube, ORIGIN_KEPT);
	rules = changes_rules(changes, found);
	if (rules.state != RULES_VALID)
		report_line(scope->warn, "qube %s has no rules that can be used: %s", qube,
			rules.state == RULES_BAD && found->rules_error != NULL
				? found->rules_error
				: "none are configured");
	return 0;
}

/* Time. */

/* Put a list without the rules that are over in the place of one. */
static int
ruleset_expire(struct changes *changes, unsigned index, uint64_t now_s)
{
	const struct qube_change *old = changes->qubes[index];
	const struct conf_qube qube = {0};
	const struct change_scope scope = {.now_s = now_s, .layer = old->layer};
	struct change_error error;
	struct edit edit = {.changes = changes,
		.scope = &scope,
		.error = &error,
		.qube = &qube,
		.base = {old->layer, RULES_VALID, &old->ruleset, old->source}};
	unsigned before = old->ruleset.count;

	if (edit_open(&edit, before) != 0)
		return -ENOMEM;
	memcpy(edit.change->qube, old->qube, sizeof(edit.change->qube));
	if (!edit_append(&edit, old->ruleset.rules, before, false))
		return edit_fail(&edit);
	changes->qubes[index] = edit.change;
	qube_change_unref((struct qube_change *)(uintptr_t)old);
	return (int)(before - edit.change->ruleset.count);
}

int
changes_expire(struct changes *changes, uint64_t now_s)
{
	int gone = 0;

	for (unsigned i = 0; i < changes->qube_count; i++) {
		const struct ruleset *ruleset = &changes->qubes[i]->ruleset;
		bool over = false;
		int expired;

		for (unsigned rule = 0; !over && rule < ruleset->count; rule++)
			over = rule_is_over(&ruleset->rules[rule], now_s);
		if (!over)
			continue;
		expired = ruleset_expire(changes, i, now_s);
		if (expired < 0)
			return expired;
		gone += expired;
	}
	for (unsigned i = changes->forward_count; i-- > 0;) {
		uint64_t expire_s = changes->forwards[i]->forward.expire_s;

		if (expire_s == 0 || expire_s > now_s)
			continue;
		changes_forward_drop(changes, i);
		gone++;
	}
	return gone;
}

static void
sooner(uint64_t *next_s, uint64_t expire_s)
{
	if (expire_s != 0 && (*next_s == 0 || expire_s < *next_s))
		*next_s = expire_s;
}

uint64_t
changes_next_expiry(const struct changes *changes)
{
	uint64_t next_s = 0;

	for (unsigned i = 0; i < changes->qube_count; i++) {
		const struct ruleset *ruleset = &changes->qubes[i]->ruleset;

		for (unsigned rule = 0; rule < ruleset->count; rule++)
			sooner(&next_s, ruleset->rules[rule].expire_s);
	}
	for (unsigned i = 0; i < changes->forward_count; i++)
		sooner(&next_s, changes->forwards[i]->forward.expire_s);
	return next_s;
}
