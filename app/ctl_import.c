/* SPDX-License-Identifier: BSD-3-Clause */
/* The rules and port forwards of a qube, from the firewall.xml that Qubes keeps of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/ctl_change.h"
#include "app/ctl_client.h"
#include "app/ctl_table.h"
#include "conf/firewall_xml.h"

struct import {
	const char *qube;
	const char *name; /* of the file */
	struct firewall_xml firewall;
};

static void
import_show(const struct ctl *ctl, const struct import *import)
{
	json_t *rules = json_array();
	json_t *forwards = json_array();
	json_t *result;
	const json_t *entry;
	size_t i;

	for (i = 0; i < import->firewall.count; i++) {
		const struct firewall_xml_rule *rule = &import->firewall.rules[i];

		if (!rule->expired)
			json_array_append_new(
				rule->forward ? forwards : rules, json_string(rule->text));
	}
	result = json_pack("{s:s, s:s, s:o, s:o}", "qube", import->qube, "policy", "drop", "rules",
		rules, "forwards", forwards);
	if (!ctl_print_json(ctl, result)) {
		puts("policy=drop");
		json_array_foreach (rules, i, entry)
			print_clean(stdout, "%s\n", json_string_value(entry));
		json_array_foreach (forwards, i, entry)
			print_clean(stdout, "%s\n", json_string_value(entry));
	}
	json_decref(result);
}

/* One transaction: the rules, then each forward. */
static json_t *
import_changes(struct import *import, json_t *rules)
{
	const struct firewall_xml *firewall = &import->firewall;
	json_t *changes = json_array();

	json_array_append_new(
		changes, json_pack("{s:s, s:{s:s, s:s, s:O}}", "method", "rules.set", "params",
				 "qube", import->qube, "policy", "drop", "rules", rules));
	for (unsigned i = 0; i < firewall->count; i++)
		if (firewall->rules[i].forward && !firewall->rules[i].expired)
			json_array_append_new(changes,
				json_pack("{s:s, s:{s:s, s:s}}", "method", "forward.add", "params",
					"qube", import->qube, "rule", firewall->rules[i].text));
	return changes;
}

/* The line of the @p index-th rule, or forward, that was sent. */
static unsigned
import_line(const struct import *import, bool forward, size_t index)
{
	for (unsigned i = 0; i < import->firewall.count; i++) {
		const struct firewall_xml_rule *rule = &import->firewall.rules[i];

		if (!rule->expired && rule->forward == forward && index-- == 0)
			return rule->line;
	}
	return 0;
}

static void
import_refused(const struct ctl *ctl, const struct import *import)
{
	const json_t *error = ctl->client->error;
	const json_t *data = json_object_get(error, "data");
	const json_t *change = json_object_get(data, "change");
	size_t at = (size_t)json_int(data, "change");
	unsigned line = 0;

	/* the first change is all rules, those behind it are a forward each */
	if (json_is_integer(change) && at != 0)
		line = import_line(import, true, at - 1);
	else if (json_is_integer(json_object_get(data, "rule")))
		line = import_line(import, false, (size_t)json_int(data, "rule"));
	if (line != 0)
		ctl_error("%s:%u: %s; nothing has changed", import->name, line,
			json_text(error, "message"));
	else
		ctl_error("%s; nothing has changed", json_text(error, "message"));
}

static int
import_send(struct ctl *ctl, struct import *import)
{
	json_t *rules = json_array();
	json_t *result = NULL;
	int status;

	for (unsigned i = 0; i < import->firewall.count; i++)
		if (!import->firewall.rules[i].forward && !import->firewall.rules[i].expired)
			json_array_append_new(rules, json_string(import->firewall.rules[i].text));
	status = ctl_transaction(ctl, import_changes(import, rules), &result);
	json_decref(rules);
	if (status == -EREMOTEIO) {
		import_refused(ctl, import);
		return CTL_REFUSED;
	}
	if (status < 0)
		status = ctl_failed(ctl, "transaction", status);
	if (status == CTL_DONE)
		ctl_change_print(ctl, result);
	json_decref(result);
	return status;
}

int
verb_IMPORT(struct ctl *ctl)
{
	const struct ctl_args *args = &ctl->args;
	struct import import = {0};
	char error[512];
	char *text;
	int status;

	if (args->count != 2)
		return ctl_usage(args, "a qube and a file are needed");
	import.qube = args->words[0];
	text = input_read(args->words[1], &import.name);
	if (text == NULL)
		return CTL_USAGE;
	status = firewall_xml_parse(text, strlen(text), import.name, (uint64_t)time(NULL),
		&import.firewall, error, sizeof(error));
	free(text);
	if (status != 0) {
		ctl_error("%s", status == -ENOMEM ? "out of memory" : error);
		return CTL_USAGE;
	}
	for (unsigned i = 0; i < import.firewall.count; i++)
		if (import.firewall.rules[i].expired)
			ctl_error("%s:%u: left out, it has expired: %s", import.name,
				import.firewall.rules[i].line, import.firewall.rules[i].text);
	if (args->option[OPTION_DRY_RUN] != NULL)
		import_show(ctl, &import);
	else
		status = import_send(ctl, &import);
	firewall_xml_free(&import.firewall);
	return status;
}
