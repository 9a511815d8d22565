/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets with their verdicts, as they pass. */
#include "app/ctl_stream.h"

#include <stdio.h>
#include <string.h>

#include "app/ctl_args.h"
#include "app/ctl_client.h"
#include "app/ctl_filter.h"
#include "app/ctl_packet.h"
#include "app/ctl_table.h"

#define PACKETS_MAX INT64_C(1000000000000)
#define SNAPLEN_MAX 65535

struct trace_view {
	struct ctl *ctl;
	unsigned long long seen, missed;
};

static int
number_option(const struct ctl_args *args, enum ctl_option option, json_int_t low, json_int_t high,
	json_t *params)
{
	json_int_t number = 0;
	int status;

	if (args->option[option] == NULL)
		return CTL_DONE;
	status = args_number(args, option, low, high, &number);
	json_object_set_new(params, ctl_options[option].name, json_integer(number));
	return status;
}

int
packets_request(const struct ctl_args *args, json_t **params)
{
	json_t *request = json_object();
	char error[512];
	int status = number_option(args, OPTION_COUNT, 1, PACKETS_MAX, request);

	if (status == CTL_DONE)
		status = number_option(args, OPTION_SNAPLEN, 1, SNAPLEN_MAX, request);
	if (args->option[OPTION_PORT] != NULL)
		json_object_set_new(request, "port", json_string(args->option[OPTION_PORT]));
	if (args->option[OPTION_QUBE] != NULL)
		json_object_set_new(request, "qube", json_string(args->option[OPTION_QUBE]));
	if (args->option[OPTION_DROPS] != NULL)
		json_object_set_new(request, "drops", json_true());
	if (status == CTL_DONE && args->count != 0) {
		json_t *filter = filter_compile(args->words, args->count, error, sizeof(error));

		if (filter == NULL)
			status = ctl_usage(args, "%s", error);
		else
			json_object_set_new(request, "filter", filter);
	}
	if (status == CTL_DONE)
		*params = request;
	else
		json_decref(request);
	return status;
}

static bool
trace_take(void *context, const json_t *params)
{
	struct trace_view *view = context;
	bool stages = view->ctl->args.option[OPTION_STAGES] != NULL;
	const json_t *packet;
	size_t i;

	view->missed += (unsigned long long)json_int(params, "missed");
	json_array_foreach (json_object_get(params, "packets"), i, packet) {
		view->seen++;
		if (!ctl_print_json(view->ctl, packet))
			packet_print(stdout, packet, view->ctl->colour, stages);
	}
	fflush(stdout);
	return true;
}

int
verb_TRACE(struct ctl *ctl)
{
	struct trace_view view = {.ctl = ctl};
	json_t *params = NULL, *result = NULL;
	int status = packets_request(&ctl->args, &params);

	if (status == CTL_DONE)
		status = ctl_connect(ctl);
	if (status != CTL_DONE) {
		json_decref(params);
		return status;
	}
	client_catch_signals();
	status = ctl_failed(ctl, "trace",
		client_stream(ctl->client, "trace", params, trace_take, &view, &result));
	if (status == CTL_DONE)
		fprintf(stderr, "%llu packets, %llu missed\n", view.seen, view.missed);
	json_decref(result);
	return status;
}
