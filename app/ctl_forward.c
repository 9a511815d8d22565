/* SPDX-License-Identifier: BSD-3-Clause */
/* Port forwards: those in force, and requests that change them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/ctl_args.h"
#include "app/ctl_table.h"

int
change_FORWARD_ADD(const struct ctl_args *args, struct ctl_change *change)
{
	const char *name = args->option[OPTION_NAME];
	bool whole, action = false;
	char *rule;

	if (args->count < 2)
		return ctl_usage(args, "to which qube, and which ports?");
	if (strchr(args->words[0], '=') != NULL)
		return ctl_usage(args, "\"%s\" is no qube; its name comes first", args->words[0]);
	whole = args->count == 2 && args_is_rule(args->words[1]);
	for (unsigned i = 1; i < args->count; i++)
		action |= args_rule_has(args->words[i], "action");
	if (whole && action)
		rule = strdup(args->words[1]);
	else if (whole)
		rule = asprintf(&rule, "action=forward %s", args->words[1]) < 0 ? NULL : rule;
	else
		rule = args_rule(
			args, args->words + 1, args->count - 1, action ? NULL : "action=forward");
	if (rule == NULL)
		return CTL_USAGE;
	change->method = "forward.add";
	change->params =
		json_pack("{s:s, s:s, s:s*}", "qube", args->words[0], "rule", rule, "name", name);
	free(rule);
	return change->params != NULL ? CTL_DONE : ctl_usage(args, "a word is not UTF-8");
}

int
change_FORWARD_DELETE(const struct ctl_args *args, struct ctl_change *change)
{
	if (args->count != 1)
		return ctl_usage(args, "which one? sluicectl forward list names them");
	change->method = "forward.delete";
	change->params = json_pack("{s:s}", "name", args->words[0]);
	return change->params != NULL ? CTL_DONE : ctl_usage(args, "not UTF-8");
}

static void
listens_text(const json_t *forward, char *text, size_t size)
{
	const json_t *address;
	size_t i;

	*text = '\0';
	json_array_foreach (json_object_get(forward, "listens"), i, address)
		snprintf(text + strlen(text), size - strlen(text), "%s%s", i != 0 ? " " : "",
			json_string_value(address));
}

int
verb_FORWARD_LIST(struct ctl *ctl)
{
	const struct ctl_args *args = &ctl->args;
	json_t *result = NULL;
	const json_t *forward;
	struct table table;
	char text[TEXT_SHORT], listens[256];
	size_t i;
	int status;

	if (args->count > 1)
		return ctl_usage(args, "one qube, or none for all");
	status = ctl_call(ctl, "forward.list",
		args->count != 0 ? json_pack("{s:s}", "qube", args->words[0]) : NULL, &result);
	if (status != CTL_DONE || ctl_print_json(ctl, result)) {
		json_decref(result);
		return status;
	}
	table_begin(&table, "NAME|QUBE|RULE|LISTENS|>HITS|LEFT|ORIGIN|COMMENT");
	json_array_foreach (json_object_get(result, "forwards"), i, forward) {
		const char *rule = json_text(forward, "rule");

		if (strncmp(rule, "action=forward ", 15) == 0)
			rule += 15;
		table_cell(&table, "%s", json_text(forward, "name"));
		table_cell(&table, "%s", json_text(forward, "qube"));
		table_cell(&table, "%s", rule);
		listens_text(forward, listens, sizeof(listens));
		table_cell(&table, "%s", listens);
		table_cell(&table, "%s", text_count((uint64_t)json_int(forward, "hits"), text));
		table_cell(&table, "%s",
			json_object_get(forward, "left") != NULL
				? text_age(json_int(forward, "left"), text)
				: "");
		table_cell(&table, "%s", json_text(forward, "origin"));
		table_cell(&table, "%s", json_text(forward, "comment"));
	}
	table_print(&table, stdout, ctl->colour, 0);
	json_decref(result);
	return CTL_DONE;
}
