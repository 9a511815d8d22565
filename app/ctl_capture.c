/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets with all their bytes, as a pcapng file. Wireshark shows in the comment of each packet
 * what became of it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/ctl_client.h"
#include "app/ctl_packet.h"
#include "app/ctl_stream.h"
#include "app/ctl_table.h"
#include "app/pcapng_packet.h"

struct capture_view {
	struct ctl *ctl;
	FILE *file;
	struct pcapng *pcapng; /* NULL: --json */
	unsigned long long seen, missed, strange;
	int error;
};

static bool
capture_take(void *context, const json_t *params)
{
	struct capture_view *view = context;
	const json_t *packet;
	size_t i;

	view->missed += (unsigned long long)json_int(params, "missed");
	json_array_foreach (json_object_get(params, "packets"), i, packet) {
		int error = 0;

		if (view->pcapng == NULL)
			ctl_print_json(view->ctl, packet);
		else
			error = pcapng_write_packet(view->pcapng, packet);
		if (error == -EINVAL)
			view->strange++;
		else if (error != 0)
			view->error = error;
		else
			view->seen++;
	}
	/* whoever reads it wants to see a packet when it passes */
	if (view->error == 0 && fflush(view->file) != 0)
		view->error = -errno;
	return view->error == 0;
}

/* @return CTL_DONE with the file open, or a status, said */
static int
capture_open(const struct ctl *ctl, struct capture_view *view)
{
	const char *path = ctl->args.option[OPTION_WRITE];
	int error;

	if (ctl->json && path != NULL)
		return ctl_usage(&ctl->args, "--write or --json, not both");
	if (ctl->json) {
		view->file = stdout;
		return CTL_DONE;
	}
	if (path == NULL)
		return ctl_usage(&ctl->args, "where to? --write FILE, or --write - for a pipe");
	if (strcmp(path, "-") == 0) {
		if (isatty(STDOUT_FILENO))
			return ctl_usage(&ctl->args,
				"a capture is nothing for a terminal; pipe it into something");
		view->file = stdout;
	} else {
		view->file = fopen(path, "wbe");
	}
	if (view->file == NULL) {
		ctl_error("%s: %s", path, strerror(errno));
		return CTL_USAGE;
	}
	error = pcapng_open(view->file, "sluicectl " SLUICE_VERSION, &view->pcapng);
	if (error == 0 && fflush(view->file) != 0)
		error = -errno;
	if (error == 0)
		return CTL_DONE;
	ctl_error("%s: %s", path, strerror(-error));
	return CTL_USAGE;
}

static int
capture_close(const struct ctl *ctl, struct capture_view *view)
{
	const char *path = ctl->args.option[OPTION_WRITE];

	pcapng_close(view->pcapng);
	if (view->file != NULL && view->file != stdout && fclose(view->file) != 0 &&
		view->error == 0)
		view->error = -errno;
	if (view->error == 0)
		return CTL_DONE;
	ctl_error("%s: %s", path != NULL ? path : "standard output", strerror(-view->error));
	return CTL_REFUSED;
}

int
verb_CAPTURE(struct ctl *ctl)
{
	struct capture_view view = {.ctl = ctl};
	json_t *params = NULL, *result = NULL;
	int closed;
	int status = packets_request(&ctl->args, &params);

	if (status == CTL_DONE)
		status = ctl_connect(ctl);
	if (status == CTL_DONE)
		status = capture_open(ctl, &view);
	if (status == CTL_DONE) {
		client_catch_signals();
		status = ctl_failed(ctl, "capture",
			client_stream(ctl->client, "capture", json_incref(params), capture_take,
				&view, &result));
	}
	closed = capture_close(ctl, &view);
	if (status == CTL_DONE)
		status = closed;
	if (status == CTL_DONE) {
		fprintf(stderr, "%llu packets, %llu missed\n", view.seen, view.missed);
		if (view.strange != 0)
			ctl_error("%llu packets could not be written: sluiced and sluicectl are of "
				  "different versions",
				view.strange);
	}
	json_decref(params);
	json_decref(result);
	return status;
}
