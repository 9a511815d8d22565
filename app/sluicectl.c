/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sluicectl: ask sluiced, and tell it what to change.
 *
 * A verb is a row of app/ctl_verbs.h. Its function asks over the control socket and writes for
 * people, or with --json what it was answered. Results go to standard output, everything else is
 * one line on standard error. The exit status says who was not content: 1 sluiced, 2 we, 3 nobody
 * was there.
 */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/ctl_args.h"
#include "app/ctl_client.h"

#define DEFAULT_SOCKET "/run/sluice/control.sock"

/* Results that could not be written are no results. */
static int
output_end(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	ctl_error("standard output: %s", strerror(errno));
	return status == CTL_DONE ? CTL_REFUSED : status;
}

static int
run(struct ctl *ctl)
{
	const struct ctl_args *args = &ctl->args;

	if (args->option[OPTION_VERSION] != NULL)
		return verb_VERSION(ctl);
	if (args->verb == NULL || args->option[OPTION_HELP] != NULL) {
		static const char *words[2];
		char copy[64];

		/* help VERB, or help of help */
		if (args->verb != NULL) {
			char *rest;

			snprintf(copy, sizeof(copy), "%s", args->verb->words);
			words[0] = strtok_r(copy, " ", &rest);
			words[1] = strtok_r(NULL, " ", &rest);
		}
		ctl->args.words = words;
		ctl->args.count = args->verb == NULL ? 0 : words[1] != NULL ? 2 : 1;
		if (args->verb == NULL && args->option[OPTION_HELP] == NULL) {
			ctl_error("what shall be done? sluicectl help lists the verbs");
			return CTL_USAGE;
		}
		return verb_HELP(ctl);
	}
	return args->verb->kind == CTL_CHANGE ? ctl_run_change(ctl) : args->verb->run(ctl);
}

int
main(int argc, char **argv)
{
	struct client client = {.fd = -1, .next_id = 1};
	struct ctl ctl = {.client = &client};
	const char *terminal = getenv("TERM");
	const char *no_colour = getenv("NO_COLOR");
	int status;

	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_DFL);
	status = args_parse(argv + 1, argc > 0 ? (unsigned)argc - 1 : 0, &ctl.args);
	if (status != CTL_DONE)
		return status;
	ctl.json = ctl.args.option[OPTION_JSON] != NULL;
	ctl.colour = isatty(STDOUT_FILENO) && (no_colour == NULL || *no_colour == '\0') &&
		     terminal != NULL && strcmp(terminal, "dumb") != 0;
	ctl.socket_path = ctl.args.option[OPTION_SOCKET];
	if (ctl.socket_path == NULL)
		ctl.socket_path = getenv("SLUICE_SOCKET");
	if (ctl.socket_path == NULL || *ctl.socket_path == '\0')
		ctl.socket_path = DEFAULT_SOCKET;
	status = run(&ctl);
	client_close(&client);
	return output_end(status);
}
