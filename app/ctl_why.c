/* SPDX-License-Identifier: BSD-3-Clause */
/* Why something does not pass: drops that were counted, and packets that are only asked about. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/ctl_args.h"
#include "app/ctl_packet.h"
#include "app/ctl_table.h"

static void
ports_text(const json_t *ports, char *text, size_t size)
{
	const char *name;
	json_t *count;

	*text = '\0';
	json_object_foreach ((json_t *)ports, name, count)
		snprintf(text + strlen(text), size - strlen(text), "%s%s %lld",
			*text != '\0' ? ", " : "", name, (long long)json_integer_value(count));
}

static void
drops_page(const struct ctl *ctl, const json_t *drops)
{
	const json_t *entry;
	struct table table;
	char text[256];
	size_t i;

	table_begin(&table, "REASON|>PACKETS|PORTS|MEANS");
	json_array_foreach (json_object_get(drops, "reasons"), i, entry) {
		table_cell(&table, "%s", json_text(entry, "reason"));
		table_cell(&table, "%lld", (long long)json_int(entry, "total"));
		ports_text(json_object_get(entry, "ports"), text, sizeof(text));
		table_cell(&table, "%s", text);
		table_cell(&table, "%s", json_text(entry, "help"));
	}
	table_print(&table, stdout, ctl->colour, 0);
	if (json_array_size(json_object_get(drops, "last")) == 0)
		return;
	puts("\nthe last of them");
	json_array_foreach (json_object_get(drops, "last"), i, entry)
		packet_print(stdout, entry, ctl->colour, false);
}

int
verb_DROPS(struct ctl *ctl)
{
	static const struct args_key keys[] = {
		{"qube", "qube", ARGS_TEXT},
		{"reason", "reason", ARGS_TEXT},
	};
	json_t *params = args_object(&ctl->args, keys, sizeof(keys) / sizeof(keys[0]));
	json_t *result = NULL;
	int status;

	if (params == NULL)
		return CTL_USAGE;
	status = ctl_call(ctl, "drops", params, &result);
	if (status == CTL_DONE && !ctl_print_json(ctl, result))
		drops_page(ctl, result);
	json_decref(result);
	return status;
}

static void
explain_fact(struct table *table, const char *what, const char *text)
{
	if (*text == '\0')
		return;
	table_cell(table, "%s", what);
	table_cell(table, "%s", text);
}

/* An end of a flow, as it stands in an answer: address and port, or the address alone. */
static void
end_text(const json_t *object, const char *address, const char *port, char *text, size_t size)
{
	const char *host = json_text(object, address);

	if (json_object_get(object, port) == NULL)
		snprintf(text, size, "%s", host);
	else
		snprintf(text, size, strchr(host, ':') != NULL ? "[%s]:%lld" : "%s:%lld", host,
			(long long)json_int(object, port));
}

/* Whose rule it is, its number and words, and where it stands. */
static void
rule_text(const json_t *rule, char *text, size_t size)
{
	const char *words = json_text(rule, "rule");
	const char *origin = json_text(rule, "origin");
	char name[32] = "";

	*text = '\0';
	if (!json_is_object(rule))
		return;
	if (json_object_get(rule, "number") != NULL)
		snprintf(name, sizeof(name), " %lld", (long long)json_int(rule, "number"));
	snprintf(text, size, "%s%s%s%s%s%s%s", json_text(rule, "qube"), name,
		*name == '\0'    ? ": policy="
		: *words != '\0' ? ": "
				 : "",
		*name == '\0' ? json_text(rule, "policy") : words, *origin != '\0' ? " (" : "",
		origin, *origin != '\0' ? ")" : "");
}

static void
explain_page(const struct ctl *ctl, const json_t *answer)
{
	const char *verdict = json_text(answer, "verdict");
	const json_t *rule = json_object_get(answer, "rule");
	const json_t *forward = json_object_get(answer, "forward");
	const json_t *translation = json_object_get(answer, "translation");
	enum style style = strcmp(verdict, "drop") == 0 ? STYLE_BAD : STYLE_GOOD;
	const json_t *stage;
	struct table table;
	char text[512], from[128], to[128];
	size_t i;

	printf("%s", style_on(style, ctl->colour));
	print_clean(stdout, "%s", verdict);
	printf("%s", style_off(style, ctl->colour));
	print_clean(stdout, ": %s\n", json_text(answer, "text"));
	putchar('\n');

	table_begin(&table, "STAGE|RESULT|");
	json_array_foreach (json_object_get(answer, "stages"), i, stage) {
		table_cell(&table, "%s", json_text(stage, "stage"));
		table_cell(&table, "%s", json_text(stage, "result"));
		table_cell(&table, "%s", json_text(stage, "text"));
	}
	table_print(&table, stdout, ctl->colour, 0);
	putchar('\n');

	table_begin(&table, "WHAT|IS");
	rule_text(rule, text, sizeof(text));
	explain_fact(&table, "rule", text);
	explain_fact(&table, "reason", json_text(answer, "reason"));
	explain_fact(&table, "that is", json_text(answer, "help"));
	explain_fact(&table, "answer", json_text(answer, "answer"));
	explain_fact(&table, "flow", json_text(answer, "flow"));
	explain_fact(&table, "forward",
		json_is_object(forward) ? json_text(forward, "name")
					: json_text(answer, "forward"));
	explain_fact(&table, "resolver", json_text(answer, "dns"));
	if (json_is_object(translation)) {
		end_text(translation, "source", "sport", from, sizeof(from));
		end_text(translation, "destination", "dport", to, sizeof(to));
		snprintf(text, sizeof(text), "%s > %s", from, to);
		explain_fact(&table, "leaves as", text);
	}
	explain_fact(&table, "out", json_text(answer, "out"));
	explain_fact(&table, "next hop", json_text(answer, "next_hop"));
	table_print(&table, stdout, ctl->colour, 0);
}

int
verb_EXPLAIN(struct ctl *ctl)
{
	static const struct args_key keys[] = {
		{"from", "from", ARGS_TEXT},
		{"dst", "dst", ARGS_TEXT},
		{"proto", "proto", ARGS_TEXT},
		{"dport", "dport", ARGS_PORT},
		{"sport", "sport", ARGS_PORT},
		{"src", "src", ARGS_TEXT},
		{"icmptype", "icmptype", ARGS_NUMBER},
		{"flags", "flags", ARGS_TEXT},
	};
	json_t *params = args_object(&ctl->args, keys, sizeof(keys) / sizeof(keys[0]));
	json_t *result = NULL;
	int status;

	if (params == NULL)
		return CTL_USAGE;
	if (json_object_get(params, "from") == NULL || json_object_get(params, "dst") == NULL) {
		json_decref(params);
		return ctl_usage(&ctl->args, "from= and dst= are needed");
	}
	status = ctl_call(ctl, "explain", params, &result);
	if (status == CTL_DONE && !ctl_print_json(ctl, result))
		explain_page(ctl, result);
	json_decref(result);
	return status;
}
