/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of verbs, and what all of them do alike: call, fail, print JSON. */
#include "app/ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/ctl_change.h"
#include "app/ctl_client.h"
#include "app/ctl_table.h"

const struct ctl_verb ctl_verbs[] = {
#define VERB_RUN(identifier) .kind = CTL_RUN, .run = verb_##identifier
#define VERB_CHANGE(identifier) .kind = CTL_CHANGE, .change = change_##identifier
#define VERB_ROW(kind_, identifier, words_, arguments_, options_, access_, help_, text_, example_) \
	{                                                                                          \
		.words = words_,                                                                   \
		.arguments = arguments_,                                                           \
		.options = options_,                                                               \
		.access = CTL_ACCESS_##access_,                                                    \
		.help = help_,                                                                     \
		.text = text_,                                                                     \
		.example = example_,                                                               \
		VERB_##kind_(identifier),                                                          \
	},
	CTL_VERBS(VERB_ROW)
#undef VERB_ROW
};

const unsigned ctl_verb_count = sizeof(ctl_verbs) / sizeof(ctl_verbs[0]);

const struct ctl_option_row ctl_options[OPTIONS] = {
#define OPTION_ROW(identifier, name, letter, value, help) {name, letter, value, help},
	CTL_OPTIONS(OPTION_ROW)
#undef OPTION_ROW
};

static char error_place[128];

void
ctl_error_place(const char *place)
{
	snprintf(error_place, sizeof(error_place), "%s", place);
}

static void
error_line(const char *before, const char *format, va_list arguments, const char *after)
{
	char *line = NULL;

	if (vasprintf(&line, format, arguments) < 0)
		line = NULL;
	fflush(stdout);
	print_clean(stderr, "sluicectl: %s%s%s%s", error_place, before,
		line != NULL ? line : format, after);
	putc('\n', stderr);
	free(line);
}

void
ctl_error(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	error_line("", format, arguments, "");
	va_end(arguments);
}

int
ctl_usage(const struct ctl_args *args, const char *format, ...)
{
	char before[64], after[96];
	va_list arguments;

	snprintf(before, sizeof(before), "%s: ", args->verb->words);
	snprintf(after, sizeof(after), "; see sluicectl help %s", args->verb->words);
	va_start(arguments, format);
	error_line(before, format, arguments, after);
	va_end(arguments);
	return CTL_USAGE;
}

int
ctl_connect(struct ctl *ctl)
{
	int error;

	if (ctl->client->fd >= 0)
		return CTL_DONE;
	error = client_open(ctl->client, ctl->socket_path);
	switch (error) {
	case 0:
		return CTL_DONE;
	case -ENOENT:
	case -ECONNREFUSED:
		ctl_error("%s: nobody answers there: is sluiced running? Else name its socket with "
			  "--socket",
			ctl->socket_path);
		break;
	case -EACCES:
	case -EPERM:
		ctl_error("%s: you may not connect: be root, or of a group that sluice.conf names",
			ctl->socket_path);
		break;
	case -ENAMETOOLONG:
		ctl_error("%s: too long for the name of a socket", ctl->socket_path);
		break;
	default:
		ctl_error("%s: %s", ctl->socket_path, strerror(-error));
	}
	return CTL_NO_DAEMON;
}

int
ctl_failed(struct ctl *ctl, const char *method, int error)
{
	switch (error) {
	case 0:
		return CTL_DONE;
	case -EREMOTEIO:
		ctl_error("%s", json_text(ctl->client->error, "message"));
		return CTL_REFUSED;
	case -EPIPE:
		ctl_error("sluiced ended, or disconnected us");
		break;
	case -ETIMEDOUT:
		ctl_error("sluiced does not answer %s", method);
		break;
	case -EPROTO:
		ctl_error("%s: what answers there is not sluiced", ctl->socket_path);
		break;
	default:
		ctl_error("%s: %s", ctl->socket_path, strerror(-error));
	}
	return CTL_NO_DAEMON;
}

int
ctl_call(struct ctl *ctl, const char *method, json_t *params, json_t **result)
{
	int status = ctl_connect(ctl);

	*result = NULL;
	if (status != CTL_DONE) {
		json_decref(params);
		return status;
	}
	return ctl_failed(ctl, method, client_call(ctl->client, method, params, result));
}

bool
ctl_print_json(const struct ctl *ctl, const json_t *value)
{
	char *text;

	if (!ctl->json)
		return false;
	/* only ASCII: nothing in it can harm a terminal */
	text = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (text != NULL) {
		for (char *byte = text; *byte != '\0'; byte++)
			if (*byte == 0x7f)
				*byte = '?'; /* the one that jansson lets through */
		puts(text);
	}
	free(text);
	return true;
}

int
verb_VERSION(struct ctl *ctl)
{
	struct client client;
	json_t *hello = NULL;

	/* who asks for a version may have no sluiced, and no right to talk to it */
	if (client_open(&client, ctl->socket_path) == 0)
		(void)client_call(&client, "hello", NULL, &hello);
	if (ctl->json) {
		json_t *answer = json_pack("{s:s, s:s, s:O*}", "program", "sluicectl", "version",
			SLUICE_VERSION, "sluiced", hello);

		ctl_print_json(ctl, answer);
		json_decref(answer);
	} else {
		puts("sluicectl " SLUICE_VERSION);
		if (hello != NULL)
			print_clean(stdout, "sluiced %s, protocol %lld; you may %s\n",
				json_text(hello, "version"), (long long)json_int(hello, "protocol"),
				json_text(hello, "access"));
	}
	json_decref(hello);
	client_close(&client);
	return CTL_DONE;
}
