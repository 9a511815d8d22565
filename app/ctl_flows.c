/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections, one line each as conntrack -L writes them: what follows the words of the original
 * direction is the reply direction, as it comes in.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/ctl_args.h"
#include "app/ctl_client.h"
#include "app/ctl_table.h"

#define FLOW_LIMIT_MAX INT64_C(1000000000)

static const struct args_key filter_keys[] = {
	{"qube", "qube", ARGS_TEXT},
	{"proto", "proto", ARGS_TEXT},
	{"state", "state", ARGS_TEXT},
	{"family", "family", ARGS_NUMBER},
	{"address", "address", ARGS_TEXT},
	{"src", "source", ARGS_TEXT},
	{"source", "source", ARGS_TEXT},
	{"dst", "destination", ARGS_TEXT},
	{"destination", "destination", ARGS_TEXT},
	{"port", "port", ARGS_PORT},
	{"sport", "sport", ARGS_PORT},
	{"dport", "dport", ARGS_PORT},
	{"inbound", "inbound", ARGS_BOOL},
};

static json_t *
filter_make(const struct ctl *ctl)
{
	return args_object(&ctl->args, filter_keys, sizeof(filter_keys) / sizeof(filter_keys[0]));
}

static void
direction_print(const json_t *direction)
{
	static const char *const numbers[] = {"sport", "dport", "id"};

	print_clean(stdout, " src=%s dst=%s", json_text(direction, "source"),
		json_text(direction, "destination"));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (json_object_get(direction, numbers[i]) != NULL)
			printf(" %s=%lld", numbers[i], (long long)json_int(direction, numbers[i]));
}

static void
flow_print(const json_t *flow)
{
	const json_t *rule = json_object_get(flow, "rule");
	char text[TEXT_SHORT];

	print_clean(stdout, "%-6s %-8s %-14s", json_text(flow, "proto"),
		text_age(json_int(flow, "expires"), text), json_text(flow, "state"));
	direction_print(json_object_get(flow, "original"));
	if (json_object_get(flow, "replied") != NULL && !json_flag(flow, "replied"))
		fputs(" [UNREPLIED]", stdout);
	direction_print(json_object_get(flow, "reply"));
	print_clean(stdout, " qube=%s", json_text(flow, "qube"));
	if (json_is_integer(rule))
		printf(" rule=%lld", (long long)json_integer_value(rule));
	else if (json_is_string(rule))
		print_clean(stdout, " rule=%s", json_string_value(rule));
	if (json_flag(flow, "inbound"))
		fputs(" inbound", stdout);
	print_clean(stdout, " in=%s out=%s worker=%lld\n", json_text(flow, "in"),
		json_text(flow, "out"), (long long)json_int(flow, "worker"));
}

static bool
flows_take(void *context, const json_t *params)
{
	const struct ctl *ctl = context;
	const json_t *flow;
	size_t i;

	json_array_foreach (json_object_get(params, "flows"), i, flow)
		if (!ctl_print_json(ctl, flow))
			flow_print(flow);
	fflush(stdout);
	return true;
}

int
verb_FLOWS(struct ctl *ctl)
{
	json_t *filter = filter_make(ctl);
	json_t *params, *result = NULL;
	json_int_t limit = 0;
	int status = CTL_DONE;

	if (filter == NULL)
		return CTL_USAGE;
	params = json_object_size(filter) != 0 ? json_pack("{s:O}", "filter", filter)
					       : json_object();
	json_decref(filter);
	if (ctl->args.option[OPTION_LIMIT] != NULL) {
		status = args_number(&ctl->args, OPTION_LIMIT, 1, FLOW_LIMIT_MAX, &limit);
		json_object_set_new(params, "limit", json_integer(limit));
	}
	if (status == CTL_DONE)
		status = ctl_connect(ctl);
	if (status != CTL_DONE) {
		json_decref(params);
		return status;
	}
	client_catch_signals();
	status = ctl_failed(ctl, "flows",
		client_stream(ctl->client, "flows", params, flows_take, ctl, &result));
	if (status == CTL_DONE && result != NULL && !ctl->json &&
		json_object_get(result, "matched") != NULL) {
		fflush(stdout);
		fprintf(stderr, "%lld of %lld flows\n", (long long)json_int(result, "matched"),
			(long long)json_int(result, "total"));
	}
	json_decref(result);
	return status;
}

int
verb_FLOWS_DELETE(struct ctl *ctl)
{
	json_t *filter = filter_make(ctl);
	json_t *result = NULL;
	bool all = ctl->args.option[OPTION_ALL] != NULL;
	int status;

	if (filter == NULL)
		return CTL_USAGE;
	if (all == (json_object_size(filter) != 0)) {
		json_decref(filter);
		return ctl_usage(
			&ctl->args, "which flows? Say it by a filter, or --all for all of them");
	}
	if (all)
		json_object_set_new(filter, "all", json_true());
	status = ctl_call(ctl, "flows.delete", json_pack("{s:o}", "filter", filter), &result);
	if (status == CTL_DONE && !ctl_print_json(ctl, result))
		printf("%lld flows ended\n", (long long)json_int(result, "deleted"));
	json_decref(result);
	return status;
}
