/* SPDX-License-Identifier: BSD-3-Clause */
/* What happens, as it happens. */
#include <stdio.h>
#include <string.h>

#include "app/ctl.h"
#include "app/ctl_client.h"
#include "app/ctl_table.h"

struct event_view {
	struct ctl *ctl;
	unsigned long long seen, missed;
};

static enum style
event_style(const char *kind)
{
	if (strcmp(kind, "policy-refused") == 0 || strcmp(kind, "budget") == 0)
		return STYLE_BAD;
	return strcmp(kind, "drop") == 0 ? STYLE_WARN : STYLE_BOLD;
}

static bool
event_take(void *context, const json_t *event)
{
	struct event_view *view = context;
	const char *kind = json_text(event, "kind");
	bool colour = view->ctl->colour;
	char text[TEXT_SHORT];

	view->seen++;
	view->missed += (unsigned long long)json_int(event, "missed");
	if (!ctl_print_json(view->ctl, event)) {
		printf("%s %s", text_clock(json_real_of(event, "time"), text),
			style_on(event_style(kind), colour));
		print_clean(stdout, "%-16s", kind);
		fputs(style_off(event_style(kind), colour), stdout);
		print_clean(stdout, " %s\n", json_text(event, "text"));
	}
	fflush(stdout);
	return true;
}

int
verb_EVENTS(struct ctl *ctl)
{
	struct event_view view = {.ctl = ctl};
	json_t *params = json_object();
	json_t *kinds = json_array();
	json_t *result = NULL;
	int status = ctl_connect(ctl);

	for (unsigned i = 0; i < ctl->args.count; i++)
		json_array_append_new(kinds, json_string(ctl->args.words[i]));
	if (ctl->args.count != 0)
		json_object_set(params, "kinds", kinds);
	json_decref(kinds);
	if (status != CTL_DONE) {
		json_decref(params);
		return status;
	}
	client_catch_signals();
	status = ctl_failed(ctl, "events",
		client_stream(ctl->client, "events", params, event_take, &view, &result));
	if (status == CTL_DONE && !ctl->json)
		fprintf(stderr, "%llu events, %llu missed\n", view.seen, view.missed);
	json_decref(result);
	return status;
}
