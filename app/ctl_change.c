/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes: one by itself, or many from a file, which are in force together or not at all.
 *
 * A change is silent when it is done, as that of other firewalls: what there is to say are
 * warnings, and the names that sluiced gave.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/ctl_args.h"
#include "app/ctl_change.h"
#include "app/ctl_client.h"
#include "app/ctl_table.h"

#define LINE_WORDS_MAX 2048
/* What a request may have at most; more cannot be said to sluiced in one line. */
#define INPUT_MAX_BYTES (1024 * 1024)

void
ctl_change_free(struct ctl_change *change)
{
	json_decref(change->params);
	free(change->lines);
	*change = (struct ctl_change){0};
}

char *
input_read(const char *path, const char **name)
{
	bool standard = strcmp(path, "-") == 0;
	FILE *file = standard ? stdin : fopen(path, "re");
	char *text = malloc(INPUT_MAX_BYTES + 1);
	size_t length = 0;
	const char *wrong = NULL;

	*name = standard ? "standard input" : path;
	if (file == NULL)
		wrong = strerror(errno);
	else if (text == NULL)
		wrong = "out of memory";
	else {
		length = fread(text, 1, INPUT_MAX_BYTES + 1, file);
		if (ferror(file))
			wrong = strerror(errno);
		else if (length > INPUT_MAX_BYTES)
			wrong = "longer than 1 MiB";
		else if (memchr(text, '\0', length) != NULL)
			wrong = "not a text: it has a zero byte";
	}
	if (file != NULL && !standard)
		fclose(file);
	if (wrong != NULL) {
		ctl_error("%s: %s", *name, wrong);
		free(text);
		return NULL;
	}
	text[length] = '\0';
	return text;
}

static void
change_flags(const struct ctl_args *args, json_t *params)
{
	if (args->option[OPTION_RUNTIME] != NULL)
		json_object_set_new(params, "runtime", json_true());
	if (args->option[OPTION_CHECK] != NULL || args->option[OPTION_DRY_RUN] != NULL)
		json_object_set_new(params, "check", json_true());
}

void
ctl_change_print(const struct ctl *ctl, const json_t *result)
{
	const json_t *entry;
	size_t i;

	json_array_foreach (json_object_get(result, "warnings"), i, entry)
		ctl_error("warning: %s", json_string_value(entry));
	if (ctl_print_json(ctl, result))
		return;
	if (ctl->args.option[OPTION_CHECK] != NULL || ctl->args.option[OPTION_DRY_RUN] != NULL) {
		puts("good; nothing has changed");
		return;
	}
	json_array_foreach (json_object_get(result, "changes"), i, entry)
		if (*json_text(entry, "name") != '\0')
			print_clean(stdout, "forward %s\n", json_text(entry, "name"));
}

/* Where in a file the rule stands that sluiced did not like. */
static void
change_refused(const struct ctl *ctl, const struct ctl_change *change)
{
	const json_t *error = ctl->client->error;
	const json_t *rule = json_object_get(json_object_get(error, "data"), "rule");
	size_t index = (size_t)json_integer_value(rule);

	if (change->file != NULL && json_is_integer(rule) && index < change->line_count)
		ctl_error("%s:%u: %s", change->file, change->lines[index],
			json_text(error, "message"));
	else
		ctl_error("%s", json_text(error, "message"));
}

int
ctl_run_change(struct ctl *ctl)
{
	struct ctl_change change = {0};
	json_t *result = NULL;
	int status = ctl->args.verb->change(&ctl->args, &change);
	int error;

	if (status == CTL_DONE)
		status = ctl_connect(ctl);
	if (status != CTL_DONE) {
		ctl_change_free(&change);
		return status;
	}
	change_flags(&ctl->args, change.params);
	error = client_call(ctl->client, change.method, json_incref(change.params), &result);
	if (error == -EREMOTEIO) {
		change_refused(ctl, &change);
		status = CTL_REFUSED;
	} else {
		status = ctl_failed(ctl, change.method, error);
	}
	if (status == CTL_DONE)
		ctl_change_print(ctl, result);
	json_decref(result);
	ctl_change_free(&change);
	return status;
}

int
ctl_transaction(struct ctl *ctl, json_t *changes, json_t **result)
{
	json_t *params = json_pack("{s:o}", "changes", changes);
	int status = ctl_connect(ctl);

	*result = NULL;
	if (status != CTL_DONE) {
		json_decref(params);
		return status;
	}
	change_flags(&ctl->args, params);
	return client_call(ctl->client, "transaction", params, result);
}

/* Batches. */

struct batch {
	const char *name;
	json_t *changes;
	unsigned *lines; /* of each change */
};

/* One line of it. @return 0 or a status, said */
static int
batch_line(struct batch *batch, unsigned number, char *line)
{
	static char *words[LINE_WORDS_MAX];
	struct ctl_args args;
	struct ctl_change change = {0};
	int count = args_split(line, words, LINE_WORDS_MAX);
	int status;
	size_t index = json_array_size(batch->changes);
	unsigned *lines;

	if (count == 0)
		return CTL_DONE;
	if (count < 0) {
		ctl_error("a quote has no end, or there are too many words");
		return CTL_USAGE;
	}
	status = args_parse(words, (unsigned)count, &args);
	if (status != CTL_DONE)
		return status;
	if (args.verb == NULL || args.verb->kind != CTL_CHANGE) {
		ctl_error("%s is no change; a batch has rules set, add, insert, delete, policy, "
			  "reset, "
			  "full-access, and forward add and delete",
			args.verb != NULL ? args.verb->words : words[0]);
		return CTL_USAGE;
	}
	for (int i = 0; i < OPTIONS; i++)
		if (args.option[i] != NULL && i != OPTION_BEFORE && i != OPTION_RULE_NO &&
			i != OPTION_NAME) {
			ctl_error("--%s is for sluicectl batch, not for one of its lines",
				ctl_options[i].name);
			return CTL_USAGE;
		}
	status = args.verb->change(&args, &change);
	if (status == CTL_DONE) {
		lines = realloc(batch->lines, (index + 1) * sizeof(*lines));
		if (lines != NULL) {
			batch->lines = lines;
			lines[index] = number;
			json_array_append_new(
				batch->changes, json_pack("{s:s, s:O}", "method", change.method,
							"params", change.params));
		}
		if (lines == NULL || json_array_size(batch->changes) != index + 1) {
			ctl_error("out of memory");
			status = CTL_REFUSED;
		}
	}
	ctl_change_free(&change);
	return status;
}

static void
batch_refused(const struct ctl *ctl, const struct batch *batch)
{
	const json_t *error = ctl->client->error;
	const json_t *change = json_object_get(json_object_get(error, "data"), "change");
	size_t index = (size_t)json_integer_value(change);

	if (json_is_integer(change) && index < json_array_size(batch->changes))
		ctl_error("%s:%u: %s; nothing has changed", batch->name, batch->lines[index],
			json_text(error, "message"));
	else
		ctl_error("%s: %s; nothing has changed", batch->name, json_text(error, "message"));
}

static int
batch_run(struct ctl *ctl, struct batch *batch, char *text)
{
	json_t *result = NULL;
	unsigned number = 0;
	int status = CTL_DONE;
	int error;

	for (char *line = text, *next; line != NULL && status == CTL_DONE; line = next) {
		char *end = strchr(line, '\n');
		char before[128];

		next = end != NULL ? end + 1 : NULL;
		if (end != NULL)
			*end = '\0';
		snprintf(before, sizeof(before), "%.100s:%u: ", batch->name, ++number);
		ctl_error_place(before);
		status = batch_line(batch, number, line);
	}
	ctl_error_place("");
	if (status != CTL_DONE)
		return status;
	if (json_array_size(batch->changes) == 0) {
		ctl_error("%s: no changes in it", batch->name);
		return CTL_USAGE;
	}
	error = ctl_transaction(ctl, json_incref(batch->changes), &result);
	if (error == -EREMOTEIO) {
		batch_refused(ctl, batch);
		return CTL_REFUSED;
	}
	status = error > 0 ? error : ctl_failed(ctl, "transaction", error);
	if (status == CTL_DONE)
		ctl_change_print(ctl, result);
	json_decref(result);
	return status;
}

int
verb_BATCH(struct ctl *ctl)
{
	struct batch batch = {0};
	const char *path = ctl->args.option[OPTION_FILE];
	char *text;
	int status;

	if (path == NULL && ctl->args.count == 1 && strcmp(ctl->args.words[0], "-") == 0)
		path = ctl->args.words[0];
	else if (ctl->args.count != 0)
		return ctl_usage(&ctl->args, "changes come from --file, not as arguments");
	text = input_read(path != NULL ? path : "-", &batch.name);
	if (text == NULL)
		return CTL_USAGE;
	batch.changes = json_array();
	status = batch_run(ctl, &batch, text);
	json_decref(batch.changes);
	free(batch.lines);
	free(text);
	return status;
}
