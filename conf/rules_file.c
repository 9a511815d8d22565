/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A rules file: what one qube may reach.
 *
 *	# comment
 *	policy=drop
 *	action=accept proto=tcp dstports=443-443
 *
 * `policy=` comes first, then one rule per line in the order they are tried. Both address families
 * share the file: a dst4 rule applies to IPv4, a dst6 rule to IPv6, others to both. The first
 * error ends the parse: nothing of a bad file is ever in force, so a second message adds little.
 */
#include "conf/conf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_common.h>

struct rules_reader {
	const char *path;
	unsigned line; /* 1-based; the one being read */
	unsigned policy_line;
	unsigned capacity;
	struct ruleset *ruleset;
	char **error;
};

static int refuse(struct rules_reader *reader, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int
refuse(struct rules_reader *reader, const char *format, ...)
{
	char reason[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	text_sanitise(reason);
	if (asprintf(reader->error, "%s:%u: %s", reader->path, RTE_MAX(reader->line, 1u), reason) <
		0)
		*reader->error = NULL;
	return -EINVAL;
}

static int
policy_parse(struct rules_reader *reader, const char *value)
{
	if (reader->policy_line != 0)
		return refuse(reader, "policy: stands a second time, first on line %u",
			reader->policy_line);
	if (strcmp(value, "drop") == 0)
		reader->ruleset->policy = ACTION_DROP;
	else if (strcmp(value, "accept") == 0)
		reader->ruleset->policy = ACTION_ACCEPT;
	else
		return refuse(
			reader, "policy: \"%.64s\" is not a policy; allowed: drop, accept", value);
	reader->policy_line = reader->line;
	return 0;
}

static int
rule_append(struct rules_reader *reader, const char *text)
{
	struct ruleset *ruleset = reader->ruleset;
	char reason[224];
	int error;

	if (reader->policy_line == 0)
		return refuse(reader, "policy: missing; the first statement must be policy=drop or "
				      "policy=accept");
	if (ruleset->count == RULES_MAX)
		return refuse(reader, "syntax: more than %u rules", RULES_MAX);
	if (ruleset->count == reader->capacity) {
		unsigned capacity = RTE_MAX(reader->capacity * 2, 16u);
		struct rule *rules = reallocarray(ruleset->rules, capacity, sizeof(*rules));

		if (rules == NULL)
			return refuse(reader, "syntax: out of memory");
		ruleset->rules = rules;
		reader->capacity = capacity;
	}
	error = qubes_rule_parse(
		text, RULE_TREE_BOTH, &ruleset->rules[ruleset->count], reason, sizeof(reason));
	if (error != 0)
		return refuse(reader, "%s", reason);
	ruleset->rules[ruleset->count++].line = reader->line;
	return 0;
}

static int
line_parse(struct rules_reader *reader, const char *text)
{
	const char *first = text + strspn(text, " \t");

	if (*first == '\0' || *first == '#')
		return 0;
	if (strncmp(text, "policy=", strlen("policy=")) == 0)
		return policy_parse(reader, text + strlen("policy="));
	return rule_append(reader, text);
}

static int
lines_parse(struct rules_reader *reader, const char *text)
{
	char line[RULE_TEXT_MAX + 1];

	while (*text != '\0') {
		size_t length = strcspn(text, "\n");
		int error;

		reader->line++;
		if (length > RULE_TEXT_MAX)
			return refuse(
				reader, "syntax: line is longer than %u bytes", RULE_TEXT_MAX);
		memcpy(line, text, length);
		line[length] = '\0';
		error = line_parse(reader, line);
		if (error != 0)
			return error;
		text += length + (text[length] == '\n');
	}
	if (reader->policy_line == 0)
		return refuse(reader, "policy: missing; the first statement must be policy=drop or "
				      "policy=accept");
	return 0;
}

int
rules_parse(const char *path, const char *text, struct ruleset *ruleset, char **error)
{
	struct rules_reader reader = {.path = path, .ruleset = ruleset, .error = error};
	int result;

	*ruleset = (struct ruleset){.policy = ACTION_DROP};
	*error = NULL;
	result = lines_parse(&reader, text);
	if (result != 0)
		ruleset_clear(ruleset);
	return result;
}
