/* SPDX-License-Identifier: BSD-3-Clause */
/* Answers that are one page: status, counters, qubes, metrics. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/ctl_args.h"
#include "app/ctl_table.h"

static void
title(const struct ctl *ctl, const char *text)
{
	printf("\n%s%s%s\n", style_on(STYLE_BOLD, ctl->colour), text,
		style_off(STYLE_BOLD, ctl->colour));
}

static void
cell_count(struct table *table, const json_t *object, const char *key)
{
	char text[TEXT_SHORT];

	table_cell(table, "%s", text_count((uint64_t)json_int(object, key), text));
}

static void
cell_bytes(struct table *table, const json_t *object, const char *key)
{
	char text[TEXT_SHORT];

	table_cell(table, "%s", text_bytes((uint64_t)json_int(object, key), text));
}

/* A number, or all numbers of an object together. */
static json_int_t
total(const json_t *value)
{
	json_int_t sum = json_integer_value(value);
	const char *key;
	json_t *member;

	json_object_foreach ((json_t *)value, key, member)
		sum += json_integer_value(member);
	return sum;
}

static void
cell_drops(struct table *table, const json_t *object)
{
	json_int_t drops = total(json_object_get(object, "drops"));
	char text[TEXT_SHORT];

	table_cell(table, "%s", text_count((uint64_t)drops, text));
	if (drops != 0)
		table_style(table, STYLE_WARN);
}

static void
traffic_cells(struct table *table, const json_t *object)
{
	cell_count(table, object, "rx_packets");
	cell_bytes(table, object, "rx_bytes");
	cell_count(table, object, "tx_packets");
	cell_bytes(table, object, "tx_bytes");
	cell_drops(table, object);
}

static void
qubes_table(const struct ctl *ctl, const json_t *qubes)
{
	const json_t *qube, *address;
	struct table table;
	size_t i, k;

	table_begin(&table, "QUBE|PORT|RULES|>FLOWS|>RX|>BYTES|>TX|>BYTES|>DROPS|ADDRESSES");
	json_array_foreach (qubes, i, qube) {
		const json_t *rules = json_object_get(qube, "rules");
		const char *state = json_text(rules, "state");
		char addresses[256] = "";
		const char *visible;

		table_cell(&table, "%s", json_text(qube, "name"));
		table_cell(&table, "%s", json_text(qube, "port"));
		if (strcmp(state, "valid") == 0) {
			table_cell(&table, "%lld %s", (long long)json_int(rules, "count"),
				json_text(rules, "origin"));
		} else {
			table_cell(&table, "%s", state);
			table_style(&table, STYLE_BAD);
		}
		cell_count(&table, qube, "flows");
		traffic_cells(&table, qube);
		json_array_foreach (json_object_get(qube, "addresses"), k, address)
			snprintf(addresses + strlen(addresses),
				sizeof(addresses) - strlen(addresses), "%s%s", k != 0 ? " " : "",
				json_string_value(address));
		visible = json_string_value(json_object_get(qube, "visible"));
		table_cell(&table, "%s%s%s", addresses, visible != NULL ? ", sees " : "",
			visible != NULL ? visible : "");
	}
	table_print(&table, stdout, ctl->colour, 2);
}

static void
status_page(const struct ctl *ctl, const json_t *status)
{
	const json_t *policy = json_object_get(status, "policy");
	const json_t *entry;
	struct table table;
	char text[TEXT_SHORT];
	size_t i;

	print_clean(stdout, "%s %s, pid %lld, up %s\n", json_text(status, "program"),
		json_text(status, "version"), (long long)json_int(status, "pid"),
		text_age(json_int(status, "uptime"), text));
	print_clean(stdout, "configuration %s, state in %s\n", json_text(status, "config"),
		json_text(status, "state_dir"));
	print_clean(stdout, "policy %lld: %lld qubes, %lld forwards\n",
		(long long)json_int(policy, "generation"), (long long)json_int(policy, "qubes"),
		(long long)json_int(policy, "forwards"));

	title(ctl, "workers");
	table_begin(&table, ">NO|>FLOWS|>OF");
	json_array_foreach (json_object_get(status, "workers"), i, entry) {
		table_cell(&table, "%lld", (long long)json_int(entry, "index"));
		cell_count(&table, entry, "flows");
		cell_count(&table, entry, "capacity");
	}
	table_print(&table, stdout, ctl->colour, 2);

	title(ctl, "ports");
	table_begin(&table, "PORT|ROLE|QUBE|DEVICE|MAC|>MTU|>WORKER|>RX|>BYTES|>TX|>BYTES|>DROPS");
	json_array_foreach (json_object_get(status, "ports"), i, entry) {
		static const char *const texts[] = {"name", "role", "qube", "device", "mac"};

		for (unsigned k = 0; k < sizeof(texts) / sizeof(texts[0]); k++)
			table_cell(&table, "%s", json_text(entry, texts[k]));
		table_cell(&table, "%lld", (long long)json_int(entry, "mtu"));
		table_cell(&table, "%lld", (long long)json_int(entry, "worker"));
		traffic_cells(&table, entry);
	}
	table_print(&table, stdout, ctl->colour, 2);

	title(ctl, "qubes");
	qubes_table(ctl, json_object_get(status, "qubes"));

	if (json_array_size(json_object_get(status, "warnings")) != 0)
		title(ctl, "warnings");
	json_array_foreach (json_object_get(status, "warnings"), i, entry) {
		printf("  %s", style_on(STYLE_WARN, ctl->colour));
		print_clean(stdout, "%s", json_string_value(entry));
		printf("%s\n", style_off(STYLE_WARN, ctl->colour));
	}
}

/* Call a method without parameters, for a verb without arguments. */
static int
call_plain(struct ctl *ctl, const char *method, json_t **result)
{
	*result = NULL;
	if (ctl->args.count != 0)
		return ctl_usage(&ctl->args, "\"%s\" is too much", ctl->args.words[0]);
	return ctl_call(ctl, method, NULL, result);
}

int
verb_STATUS(struct ctl *ctl)
{
	json_t *result;
	int status = call_plain(ctl, "status", &result);

	if (status == CTL_DONE && !ctl_print_json(ctl, result))
		status_page(ctl, result);
	json_decref(result);
	return status;
}

/* Counters that are zero say nothing. */
static void
numbers_table(const struct ctl *ctl, const json_t *object, const char *titles, bool zeroes)
{
	const char *key;
	json_t *value;
	struct table table;

	table_begin(&table, titles);
	json_object_foreach ((json_t *)object, key, value) {
		if (!json_is_integer(value) || (!zeroes && json_integer_value(value) == 0))
			continue;
		table_cell(&table, "%s", key);
		table_cell(&table, "%lld", (long long)json_integer_value(value));
	}
	table_print(&table, stdout, ctl->colour, 2);
}

static void
counters_page(const struct ctl *ctl, const json_t *counters)
{
	const char *name;
	json_t *port;
	struct table table;

	puts("verdicts");
	numbers_table(ctl, json_object_get(counters, "verdicts"), "VERDICT|>PACKETS", true);
	title(ctl, "drops");
	numbers_table(ctl, json_object_get(counters, "drops"), "REASON|>PACKETS", false);
	title(ctl, "ports");
	table_begin(&table, "PORT|>RX|>BYTES|>LOST|>TX|>BYTES|>DROPS");
	json_object_foreach (json_object_get(counters, "ports"), name, port) {
		table_cell(&table, "%s", name);
		cell_count(&table, port, "rx_packets");
		cell_bytes(&table, port, "rx_bytes");
		cell_count(&table, port, "rx_dropped");
		cell_count(&table, port, "tx_packets");
		cell_bytes(&table, port, "tx_bytes");
		cell_drops(&table, port);
	}
	table_print(&table, stdout, ctl->colour, 2);
	title(ctl, "all");
	numbers_table(ctl, counters, "COUNTER|>VALUE", false);
}

int
verb_COUNTERS(struct ctl *ctl)
{
	json_t *result;
	int status = call_plain(ctl, "counters", &result);

	if (status == CTL_DONE && !ctl_print_json(ctl, result))
		counters_page(ctl, result);
	json_decref(result);
	return status;
}

static void
qube_page(const struct ctl *ctl, const json_t *qube)
{
	const json_t *rules = json_object_get(qube, "rules");
	const char *key;
	json_t *value;
	struct table table;

	if (*json_text(rules, "error") != '\0')
		print_clean(stdout, "  refused everything: %s\n", json_text(rules, "error"));
	title(ctl, "flows");
	numbers_table(ctl, qube, "COUNTER|>VALUE", true);
	title(ctl, "budgets");
	table_begin(&table, "BUDGET|>LIMIT|>REFUSED");
	json_object_foreach (json_object_get(qube, "limits"), key, value) {
		json_int_t refused = json_int(json_object_get(qube, "refused"), key);

		table_cell(&table, "%s", key);
		table_cell(&table, "%lld", (long long)json_integer_value(value));
		table_cell(&table, "%lld", (long long)refused);
		if (refused != 0)
			table_style(&table, STYLE_WARN);
	}
	table_print(&table, stdout, ctl->colour, 2);
	if (total(json_object_get(qube, "drops")) == 0)
		return;
	title(ctl, "drops");
	numbers_table(ctl, json_object_get(qube, "drops"), "REASON|>PACKETS", false);
}

int
verb_QUBES(struct ctl *ctl)
{
	const struct ctl_args *args = &ctl->args;
	json_t *result = NULL;
	int status;

	if (args->count > 1)
		return ctl_usage(args, "one qube, or none for all");
	status = ctl_call(ctl, "qubes",
		args->count != 0 ? json_pack("{s:s}", "qube", args->words[0]) : NULL, &result);
	if (status == CTL_DONE && !ctl_print_json(ctl, result)) {
		const json_t *qubes = json_object_get(result, "qubes");

		qubes_table(ctl, qubes);
		if (args->count != 0 && json_array_size(qubes) == 1)
			qube_page(ctl, json_array_get(qubes, 0));
	}
	json_decref(result);
	return status;
}

int
verb_METRICS(struct ctl *ctl)
{
	json_t *result;
	int status = call_plain(ctl, "metrics", &result);

	/* names in it are those of a configuration, escaped by whoever made the text */
	if (status == CTL_DONE && !ctl_print_json(ctl, result))
		for (const char *line = json_text(result, "text"); *line != '\0';) {
			size_t length = strcspn(line, "\n");

			print_clean(stdout, "%.*s", (int)length, line);
			putchar('\n');
			line += length + (line[length] == '\n');
		}
	json_decref(result);
	return status;
}
