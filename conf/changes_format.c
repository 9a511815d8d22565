/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kept changes as JSON objects, both ways. Reading trusts nothing: checksums find what fails by
 * itself, not what somebody wrote who meant it.
 */
#include "conf/changes_format.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf/forward_check.h"
#include "conf/rule_text.h"
#include "conf/value.h"

uint64_t
changes_checksum(const char *text, size_t length)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < length; i++)
		sum = (sum ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
	return sum;
}

bool
changes_is_over(uint64_t expire_s, uint64_t now_s)
{
	return expire_s != 0 && expire_s <= now_s;
}

/* Writing. */

json_t *
changes_qube_object(const struct qube_change *change)
{
	return json_pack("{s:s, s:s, s:s*}", "qube", change->qube, "policy",
		change->ruleset.policy == ACTION_ACCEPT ? "accept" : "drop", "source",
		change->source);
}

json_t *
changes_rule_object(const struct rule *rule)
{
	char *text = rule_format(rule, false);
	json_t *object = text != NULL ? json_pack("{s:s}", "rule", text) : NULL;

	free(text);
	if (rule->line != 0 && json_object_set_new(object, "line", json_integer(rule->line)) != 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

json_t *
changes_forward_object(const struct conf_forward *forward)
{
	char *text = forward_format(forward, false);
	json_t *object = text != NULL ? json_pack("{s:s, s:s, s:s}", "forward", forward->name,
						"qube", forward->qube, "rule", text)
				      : NULL;

	free(text);
	return object;
}

/* Reading. */

int
changes_damaged(struct changes_reader *reader, const char *format, ...)
{
	char reason[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	report_line(reader->report,
		"%s:%u: %s; put copies of " CHANGES_NAME " and " JOURNAL_NAME " from before in "
		"their places, or move both away: then what was changed over the control socket is "
		"forgotten, and the rules of the configuration hold",
		reader->path, reader->line, reason);
	return -EINVAL;
}

int
changes_read_no_memory(struct changes_reader *reader)
{
	report_line(reader->report, "%s: out of memory", reader->path);
	return -ENOMEM;
}

int
changes_read_qube_end(struct changes_reader *reader)
{
	struct qube_change *change = reader->qube;

	reader->qube = NULL;
	if (change == NULL || changes_qube_put(reader->changes, change) == 0)
		return 0;
	return changes_read_no_memory(reader);
}

int
changes_read_qube(struct changes_reader *reader, const json_t *object)
{
	const char *qube, *policy, *source = NULL;
	char reason[REASON_SIZE];
	int error = changes_read_qube_end(reader);

	if (error != 0)
		return error;
	if (json_unpack((json_t *)(uintptr_t)object, "{s:s, s:s, s?s !}", "qube", &qube, "policy",
		    &policy, "source", &source) != 0)
		return changes_damaged(reader, "is no line about a qube");
	if (!value_name(qube, reason))
		return changes_damaged(reader, "qube: \"%.64s\" %s", qube, reason);
	if (strcmp(policy, "accept") != 0 && strcmp(policy, "drop") != 0)
		return changes_damaged(
			reader, "policy: \"%.64s\" is neither accept nor drop", policy);
	reader->qube = calloc(1, sizeof(*reader->qube));
	if (reader->qube == NULL)
		return changes_read_no_memory(reader);
	reader->capacity = 0;
	reader->qube->references = 1;
	reader->qube->layer = ORIGIN_KEPT;
	snprintf(reader->qube->qube, NAME_SIZE, "%s", qube);
	reader->qube->ruleset.policy = strcmp(policy, "accept") == 0 ? ACTION_ACCEPT : ACTION_DROP;
	if (source != NULL && (reader->qube->source = strdup(source)) == NULL)
		return changes_read_no_memory(reader);
	return 0;
}

static int
rule_room(struct changes_reader *reader)
{
	struct ruleset *ruleset = &reader->qube->ruleset;
	unsigned capacity = reader->capacity != 0 ? reader->capacity * 2 : 16;
	struct rule *grown;

	if (ruleset->count == RULES_MAX)
		return changes_damaged(reader, "more than %u rules", RULES_MAX);
	if (ruleset->count < reader->capacity)
		return 0;
	grown = reallocarray(ruleset->rules, capacity, sizeof(*grown));
	if (grown == NULL)
		return changes_read_no_memory(reader);
	ruleset->rules = grown;
	reader->capacity = capacity;
	return 0;
}

int
changes_read_rule(struct changes_reader *reader, const json_t *object)
{
	char reason[RULE_ERROR_SIZE];
	const char *text;
	struct rule rule;
	int line = 0;
	int error;

	if (json_unpack((json_t *)(uintptr_t)object, "{s:s, s?i !}", "rule", &text, "line",
		    &line) != 0 ||
		line < 0)
		return changes_damaged(reader, "is no line about a rule");
	if (reader->qube == NULL)
		return changes_damaged(reader, "a rule of no qube");
	error = rule_room(reader);
	if (error != 0)
		return error;
	if (rule_parse(text, 0, &rule, reason, sizeof(reason)) != 0)
		return changes_damaged(reader, "%s", reason);
	if (changes_is_over(rule.expire_s, reader->now_s)) {
		reader->left_out = true;
		rule_clear(&rule);
		return 0;
	}
	rule.line = (unsigned)line;
	rule.origin = line != 0 ? ORIGIN_FILE : ORIGIN_KEPT;
	reader->qube->ruleset.rules[reader->qube->ruleset.count++] = rule;
	return 0;
}

static int
forward_check(struct changes_reader *reader, const struct conf_forward *forward)
{
	const struct changes *changes = reader->changes;

	if (changes->forward_count == FORWARDS_MAX)
		return changes_damaged(reader, "more than %u forwards", FORWARDS_MAX);
	for (unsigned i = 0; i < changes->forward_count; i++) {
		const struct conf_forward *other = &changes->forwards[i]->forward;

		if (strcmp(other->name, forward->name) == 0)
			return changes_damaged(reader, "forward: %s stands twice", forward->name);
		if (forwards_overlap(other, forward))
			return changes_damaged(
				reader, "forward: %s overlaps %s", forward->name, other->name);
	}
	return 0;
}

int
changes_read_forward(struct changes_reader *reader, const json_t *object)
{
	char reason[RULE_ERROR_SIZE];
	struct conf_forward forward;
	const char *name, *qube, *text;
	int error = changes_read_qube_end(reader);

	if (error != 0)
		return error;
	if (json_unpack((json_t *)(uintptr_t)object, "{s:s, s:s, s:s !}", "forward", &name, "qube",
		    &qube, "rule", &text) != 0)
		return changes_damaged(reader, "is no line about a forward");
	if (!value_name(name, reason))
		return changes_damaged(reader, "forward: \"%.64s\" %s", name, reason);
	if (!value_name(qube, reason))
		return changes_damaged(reader, "qube: \"%.64s\" %s", qube, reason);
	if (forward_parse(text, 0, &forward, reason, sizeof(reason)) != 0)
		return changes_damaged(reader, "%s", reason);
	snprintf(forward.name, sizeof(forward.name), "%s", name);
	snprintf(forward.qube, sizeof(forward.qube), "%s", qube);
	if (changes_is_over(forward.expire_s, reader->now_s)) {
		reader->left_out = true;
	} else {
		error = forward_check(reader, &forward);
		if (error == 0 && changes_forward_put(reader->changes, ORIGIN_KEPT, &forward) == 0)
			return 0;
		if (error == 0)
			error = changes_read_no_memory(reader);
	}
	free(forward.comment);
	return error;
}
