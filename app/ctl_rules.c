/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules: what is in force, and requests that change it. What a rule may say is sluiced's to judge;
 * here words become rule texts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/ctl_args.h"
#include "app/ctl_change.h"
#include "app/ctl_table.h"

/* As many as conf/ allows a qube; what is longer cannot become right. */
#define RULE_NUMBER_MAX 100000

/* Of a name, in one line. */
#define ADDRESSES_SHOWN 4
#define TEXT_ADDRESSES 256

static int
want_qube(const struct ctl_args *args, unsigned more)
{
	if (args->count == 0)
		return ctl_usage(args, "which qube?");
	if (strchr(args->words[0], '=') != NULL)
		return ctl_usage(args, "\"%s\" is no qube; its name comes first", args->words[0]);
	if (args->count < 1 + more)
		return ctl_usage(args, "too little behind the qube: %s", args->verb->arguments);
	return CTL_DONE;
}

/*
 * The words behind the qube as a list of rules: each one a rule, or all of them properties of a
 * single one.
 */
static json_t *
rules_list(const struct ctl_args *args)
{
	json_t *list;
	char *rule;

	if (!args_is_rule(args->words[1])) {
		rule = args_rule(args, args->words + 1, args->count - 1, NULL);
		if (rule == NULL)
			return NULL;
		list = json_pack("[s]", rule);
		if (list == NULL)
			ctl_usage(args, "a property is not UTF-8");
		free(rule);
		return list;
	}
	list = json_array();
	for (unsigned i = 1; i < args->count; i++) {
		if (!args_rule_has(args->words[i], "action")) {
			ctl_usage(args,
				"\"%s\" has no action=: put each rule into quotes of its own",
				args->words[i]);
			json_decref(list);
			return NULL;
		}
		if (json_array_append_new(list, json_string(args->words[i])) != 0) {
			ctl_usage(args, "rule %u is not UTF-8", i);
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static int
rules_request(
	const struct ctl_args *args, struct ctl_change *change, const char *method, json_t **rules)
{
	int status = want_qube(args, 1);

	if (status != CTL_DONE)
		return status;
	*rules = rules_list(args);
	if (*rules == NULL)
		return CTL_USAGE;
	change->method = method;
	change->params = json_pack("{s:s, s:O}", "qube", args->words[0], "rules", *rules);
	json_decref(*rules);
	if (change->params != NULL)
		return CTL_DONE;
	return ctl_usage(args, "the name of the qube is not UTF-8");
}

int
change_RULES_ADD(const struct ctl_args *args, struct ctl_change *change)
{
	json_t *rules = NULL;

	return rules_request(args, change, "rules.add", &rules);
}

int
change_RULES_INSERT(const struct ctl_args *args, struct ctl_change *change)
{
	json_t *rules = NULL;
	json_int_t before = 0;
	int status = rules_request(args, change, "rules.insert", &rules);

	if (status == CTL_DONE && args->option[OPTION_BEFORE] != NULL) {
		status = args_number(args, OPTION_BEFORE, 0, RULE_NUMBER_MAX, &before);
		json_object_set_new(change->params, "before", json_integer(before));
	}
	return status;
}

/* A rules file: policy= and rules, one per line. Lines are kept, for errors. */
static int
rules_file(const char *path, struct ctl_change *change, json_t *rules, const char **policy)
{
	char *text = input_read(path, &change->file);
	unsigned number = 0;
	int status = CTL_DONE;

	if (text == NULL)
		return CTL_USAGE;
	for (char *line = text, *next; line != NULL && status == CTL_DONE; line = next) {
		char *end = strchr(line, '\n');
		unsigned *lines;

		number++;
		next = end != NULL ? end + 1 : NULL;
		if (end == NULL)
			end = line + strlen(line);
		while (end > line && strchr(" \t\r", end[-1]) != NULL)
			end--;
		*end = '\0';
		line += strspn(line, " \t");
		if (*line == '\0' || *line == '#')
			continue;
		if (strncmp(line, "policy=", 7) == 0) {
			if (strcmp(line + 7, "drop") != 0 && strcmp(line + 7, "accept") != 0) {
				ctl_error("%s:%u: policy: \"%s\" is not allowed; allowed: drop, "
					  "accept",
					change->file, number, line + 7);
				status = CTL_USAGE;
			}
			*policy = strcmp(line + 7, "accept") == 0 ? "accept" : "drop";
			continue;
		}
		lines = realloc(change->lines, (change->line_count + 1) * sizeof(*lines));
		if (lines == NULL || json_array_append_new(rules, json_string(line)) != 0) {
			ctl_error("%s:%u: %s", change->file, number,
				lines == NULL ? "out of memory" : "not UTF-8");
			status = CTL_USAGE;
		}
		if (lines != NULL) {
			change->lines = lines;
			lines[change->line_count++] = number;
		}
	}
	free(text);
	return status;
}

int
change_RULES_SET(const struct ctl_args *args, struct ctl_change *change)
{
	json_t *rules = json_array();
	const char *policy = "drop";
	int status = want_qube(args, 0);
	const char *path = args->option[OPTION_FILE];
	unsigned i = 1;

	/* as other tools have it: - for standard input */
	if (path == NULL && args->count == 2 && strcmp(args->words[1], "-") == 0)
		path = args->words[1];
	if (status == CTL_DONE && args->count > 1 && strncmp(args->words[1], "policy=", 7) == 0) {
		policy = args->words[1] + 7;
		i++;
	}
	if (status == CTL_DONE && path != NULL)
		status = args->count > (path == args->option[OPTION_FILE] ? 1u : 2u)
				 ? ctl_usage(args, "rules come from a file or from arguments, not "
						   "from both")
				 : rules_file(path, change, rules, &policy);
	else if (status == CTL_DONE && args->count < 2)
		status = ctl_usage(args, "to what? Name rules, or policy=drop alone");
	for (; status == CTL_DONE && path == NULL && i < args->count; i++) {
		const char *rule = args->words[i];

		if (!args_rule_has(rule, "action"))
			status = ctl_usage(args,
				"\"%s\" has no action=: put each rule into quotes "
				"of its own",
				rule);
		else if (json_array_append_new(rules, json_string(rule)) != 0)
			status = ctl_usage(args, "\"%s\" is not UTF-8", rule);
	}
	if (status == CTL_DONE) {
		change->method = "rules.set";
		change->params = json_pack("{s:s, s:s, s:O}", "qube", args->words[0], "policy",
			policy, "rules", rules);
		if (change->params == NULL)
			status = ctl_usage(args, "the name of the qube or the policy is not UTF-8");
	}
	json_decref(rules);
	return status;
}

int
change_RULES_DELETE(const struct ctl_args *args, struct ctl_change *change)
{
	json_int_t number = 0;
	bool numbered = args->option[OPTION_RULE_NO] != NULL;
	int status = want_qube(args, 0);
	char *rule = NULL;

	if (status != CTL_DONE)
		return status;
	if (numbered == (args->count > 1))
		return ctl_usage(args, "name the rule by --rule-no or by its properties");
	if (numbered)
		status = args_number(args, OPTION_RULE_NO, 0, RULE_NUMBER_MAX, &number);
	else if (args->count == 2 && args_is_rule(args->words[1]))
		rule = strdup(args->words[1]);
	else
		rule = args_rule(args, args->words + 1, args->count - 1, NULL);
	if (status != CTL_DONE || (!numbered && rule == NULL))
		return CTL_USAGE;
	change->method = "rules.delete";
	change->params = numbered
				 ? json_pack("{s:s, s:I}", "qube", args->words[0], "number", number)
				 : json_pack("{s:s, s:s}", "qube", args->words[0], "rule", rule);
	free(rule);
	return change->params != NULL ? CTL_DONE : ctl_usage(args, "a word is not UTF-8");
}

int
change_RULES_POLICY(const struct ctl_args *args, struct ctl_change *change)
{
	const char *policy;
	int status = want_qube(args, 1);

	if (status != CTL_DONE)
		return status;
	policy = args->words[1];
	if (strncmp(policy, "policy=", 7) == 0)
		policy += 7;
	if (args->count != 2 || (strcmp(policy, "drop") != 0 && strcmp(policy, "accept") != 0))
		return ctl_usage(args, "a policy is drop or accept");
	change->method = "rules.policy";
	change->params = json_pack("{s:s, s:s}", "qube", args->words[0], "policy", policy);
	return change->params != NULL ? CTL_DONE : ctl_usage(args, "not UTF-8");
}

int
change_RULES_RESET(const struct ctl_args *args, struct ctl_change *change)
{
	int status = want_qube(args, 0);

	if (status != CTL_DONE)
		return status;
	if (args->count != 1)
		return ctl_usage(args, "one qube, nothing else");
	change->method = "rules.reset";
	change->params = json_pack("{s:s}", "qube", args->words[0]);
	return change->params != NULL ? CTL_DONE : ctl_usage(args, "not UTF-8");
}

int
change_RULES_FULL_ACCESS(const struct ctl_args *args, struct ctl_change *change)
{
	char rule[96];
	json_int_t seconds;
	int status = want_qube(args, 1);

	if (status != CTL_DONE)
		return status;
	seconds = args_duration(args->words[1]);
	if (args->count != 2 || seconds <= 0)
		return ctl_usage(args, "for how long? 90s, 10m, 2h, 1d");
	snprintf(rule, sizeof(rule), "action=accept expire=+%lld comment=\"full access for %.16s\"",
		(long long)seconds, args->words[1]);
	change->method = "rules.insert";
	change->params = json_pack("{s:s, s:[s]}", "qube", args->words[0], "rules", rule);
	return change->params != NULL ? CTL_DONE : ctl_usage(args, "not UTF-8");
}

/* Showing them. */

static void
qube_head(const struct ctl *ctl, const json_t *qube)
{
	const char *state = json_text(qube, "state");
	const char *origin = json_text(qube, "origin");
	const char *source = json_text(qube, "source");
	bool bad = strcmp(state, "bad") == 0;

	printf("%s", style_on(STYLE_BOLD, ctl->colour));
	print_clean(stdout, "%s", json_text(qube, "qube"));
	printf("%s", style_off(STYLE_BOLD, ctl->colour));
	if (strcmp(origin, "none") == 0 || strcmp(state, "none") == 0)
		print_clean(stdout, ": no rules, it may reach nothing\n");
	else if (strcmp(origin, "file") == 0)
		print_clean(stdout, ": from %s\n", *source != '\0' ? source : "its rules file");
	else if (strcmp(origin, "kept") == 0)
		print_clean(stdout, ": kept changes, in place of its file\n");
	else
		print_clean(stdout, ": changes until sluiced ends, in place of what is kept\n");
	if (bad) {
		printf("  %s", style_on(STYLE_BAD, ctl->colour));
		print_clean(stdout, "refused everything: %s", json_text(qube, "error"));
		printf("%s\n", style_off(STYLE_BAD, ctl->colour));
	}
}

/* Below a rule with a name: what that stands for. */
static void
rule_addresses(struct table *table, const json_t *addresses)
{
	char text[TEXT_ADDRESSES];
	const json_t *address;
	size_t used = 0, i;

	snprintf(text, sizeof(text), "  = %s",
		json_array_size(addresses) == 0 ? "no address known" : "");
	used = strlen(text);
	json_array_foreach (addresses, i, address) {
		if (i == ADDRESSES_SHOWN) {
			snprintf(text + used, sizeof(text) - used, "and %zu more",
				json_array_size(addresses) - i);
			break;
		}
		used += (size_t)snprintf(
			text + used, sizeof(text) - used, "%.45s ", json_string_value(address));
	}
	table_cell(table, "%s", "");
	table_cell(table, "%s", text);
	for (i = 0; i < 4; i++)
		table_cell(table, "%s", "");
}

static void
qube_rules(const struct ctl *ctl, const json_t *qube)
{
	const json_t *rule;
	struct table table;
	char text[TEXT_SHORT];
	size_t i;

	qube_head(ctl, qube);
	if (*json_text(qube, "policy") == '\0')
		return;
	table_begin(&table, ">NO|RULE|>HITS|LEFT|ORIGIN|COMMENT");
	json_array_foreach (json_object_get(qube, "rules"), i, rule) {
		const char *words = json_text(rule, "rule");

		table_cell(&table, "%lld", (long long)json_int(rule, "number"));
		table_cell(&table, "%s", words);
		if (strstr(words, "action=drop") != NULL)
			table_style(&table, STYLE_BAD);
		table_cell(&table, "%s", text_count((uint64_t)json_int(rule, "hits"), text));
		if (json_object_get(rule, "left") != NULL)
			table_cell(&table, "%s", text_age(json_int(rule, "left"), text));
		else
			table_cell(&table, "%s", "");
		table_cell(&table, "%s", json_text(rule, "origin"));
		table_cell(&table, "%s", json_text(rule, "comment"));
		if (json_object_get(rule, "addresses") != NULL)
			rule_addresses(&table, json_object_get(rule, "addresses"));
	}
	table_cell(&table, "%s", "");
	table_cell(&table, "policy=%s", json_text(qube, "policy"));
	table_cell(&table, "%s", text_count((uint64_t)json_int(qube, "policy_hits"), text));
	for (i = 0; i < 3; i++)
		table_cell(&table, "%s", "");
	table_print(&table, stdout, ctl->colour, 2);
}

int
verb_RULES_SHOW(struct ctl *ctl)
{
	const struct ctl_args *args = &ctl->args;
	json_t *result = NULL;
	const json_t *qube;
	size_t i;
	int status;

	if (args->count > 1)
		return ctl_usage(args, "one qube, or none for all");
	status = ctl_call(ctl, "rules.get",
		args->count != 0 ? json_pack("{s:s}", "qube", args->words[0]) : NULL, &result);
	if (status == CTL_DONE && !ctl_print_json(ctl, result))
		json_array_foreach (json_object_get(result, "qubes"), i, qube) {
			if (i != 0)
				putchar('\n');
			qube_rules(ctl, qube);
		}
	json_decref(result);
	return status;
}
