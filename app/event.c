/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events: from whoever knows of one to subscribers and the log.
 *
 * A subscriber that does not read loses events, is told how many, and nothing is kept for it. Two
 * kinds of event have no cause in the control thread, and are found by looking once a second: ports
 * whose link has changed, and qubes that their limits have refused something.
 */
#include "app/event.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <event2/event.h>

#include "app/drop_poll.h"
#include "app/log.h"
#include "app/method.h"
#include "app/uplink_change.h"

#define LOOK_SECONDS 1
#define LOG_WINDOW_SECONDS 60

struct subscriber {
	struct events *events;
	struct control_request *request;
	struct subscriber *next, **link;
	uint32_t kinds; /* bits by enum event_kind */
	bool waits;     /* has not read what it was sent */
	uint64_t missed;
};

struct events {
	struct daemon *daemon;
	struct event *timer;
	struct subscriber *subscribers;
	struct log_budget {
		time_t since;
		unsigned lines;
		uint64_t left_out;
	} log[EVENT_KINDS];
	bool *port_up;
	uint64_t (*refused)[BUDGET_COUNT]; /* of every account, when last looked at */
};

const struct event_info event_kinds[EVENT_KINDS] = {
#define EVENT_ROW(identifier, name, lines, help) {name, help, lines},
	EVENTS(EVENT_ROW)
#undef EVENT_ROW
};

_Static_assert(EVENT_KINDS <= 32, "subscriber.kinds has a bit for each");

static enum event_kind
kind_find(const char *name)
{
	unsigned kind = 0;

	while (kind < EVENT_KINDS && strcmp(event_kinds[kind].name, name) != 0)
		kind++;
	return kind;
}

static time_t
now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec;
}

/* --- the log --- */

static bool
log_has_room(const struct events *events, enum event_kind kind)
{
	const struct log_budget *budget = &events->log[kind];

	if (event_kinds[kind].lines == EVENT_UNLOGGED)
		return false;
	return event_kinds[kind].lines == 0 || budget->lines < event_kinds[kind].lines ||
	       now_s() - budget->since >= LOG_WINDOW_SECONDS;
}

static void
log_event(struct events *events, enum event_kind kind, json_t *details)
{
	struct log_budget *budget = &events->log[kind];
	json_t *fields;

	if (event_kinds[kind].lines == EVENT_UNLOGGED)
		return;
	if (!log_has_room(events, kind)) {
		budget->left_out++;
		return;
	}
	if (event_kinds[kind].lines != 0 && now_s() - budget->since >= LOG_WINDOW_SECONDS) {
		if (budget->left_out != 0)
			log_line("%" PRIu64 " more events of this kind were not logged; event=%s",
				budget->left_out, event_kinds[kind].name);
		*budget = (struct log_budget){.since = now_s()};
	}
	budget->lines++;
	fields = json_copy(details);
	json_object_del(fields, "text");
	log_fields(event_kinds[kind].name, json_string_value(json_object_get(details, "text")),
		fields);
	json_decref(fields);
}

/* --- subscribers --- */

static void subscriber_writable(void *context);

static void
subscriber_send(struct subscriber *subscriber, json_t *params)
{
	if (subscriber->missed != 0)
		json_object_set_new(params, "missed", json_integer((json_int_t)subscriber->missed));
	subscriber->missed = 0;
	if (control_notify(subscriber->request, "event", params))
		return;
	subscriber->waits = true;
	control_when_writable(subscriber->request, subscriber_writable, subscriber);
}

static void
subscriber_writable(void *context)
{
	struct subscriber *subscriber = context;

	subscriber->waits = false;
	if (subscriber->missed != 0)
		subscriber_send(
			subscriber, json_pack("{s:s, s:I, s:s}", "kind", "missed", "time",
					    (json_int_t)time(NULL), "text",
					    "events were left out because nobody read them"));
}

static void
subscriber_ended(void *context)
{
	struct subscriber *subscriber = context;

	*subscriber->link = subscriber->next;
	if (subscriber->next != NULL)
		subscriber->next->link = subscriber->link;
	free(subscriber);
}

/* @return a word with one bit for each kind of @p list, NULL for all; 0 when one is wrong */
static uint32_t
kinds_parse(const json_t *list)
{
	uint32_t kinds = 0;

	if (list == NULL)
		return (uint32_t)((UINT64_C(1) << EVENT_KINDS) - 1);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_array_get(list, i));
		enum event_kind kind = name != NULL ? kind_find(name) : EVENT_KINDS;

		if (kind == EVENT_KINDS)
			return 0;
		kinds |= UINT32_C(1) << kind;
	}
	return kinds;
}

void
event_subscribe(struct control_request *request, const json_t *kinds)
{
	struct events *events = control_daemon(request)->events;
	uint32_t wanted = kinds_parse(kinds);
	struct subscriber *subscriber;

	if (wanted == 0) {
		json_t *known = json_array();

		for (unsigned i = 0; i < EVENT_KINDS; i++)
			json_array_append_new(known, json_string(event_kinds[i].name));
		control_fail(request, CONTROL_INVALID_PARAMS,
			json_pack("{s:s, s:o}", "key", "kinds", "allowed", known),
			"kinds: want a list of kinds of events, or nothing for all of them");
		return;
	}
	subscriber = events != NULL ? calloc(1, sizeof(*subscriber)) : NULL;
	if (subscriber == NULL) {
		control_fail(request, CONTROL_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	subscriber->events = events;
	subscriber->request = request;
	subscriber->kinds = wanted;
	subscriber->next = events->subscribers;
	subscriber->link = &events->subscribers;
	if (subscriber->next != NULL)
		subscriber->next->link = &subscriber->next;
	events->subscribers = subscriber;
	control_keep(request, subscriber_ended, subscriber);
}

/* --- what happens --- */

bool
event_wanted(const struct daemon *daemon, const char *name)
{
	const struct events *events = daemon->events;
	enum event_kind kind = kind_find(name);

	if (events == NULL || kind == EVENT_KINDS)
		return false;
	for (const struct subscriber *one = events->subscribers; one != NULL; one = one->next)
		if ((one->kinds & (UINT32_C(1) << kind)) != 0 && !one->waits)
			return true;
	return log_has_room(events, kind);
}

void
event_emit(struct daemon *daemon, const char *name, json_t *details)
{
	struct events *events = daemon->events;
	enum event_kind kind = kind_find(name);

	if (events == NULL || kind == EVENT_KINDS || !json_is_object(details)) {
		json_decref(details);
		return;
	}
	log_event(events, kind, details);
	if (json_object_get(details, "time") == NULL)
		json_object_set_new(details, "time", json_integer((json_int_t)time(NULL)));
	json_object_set_new(details, "kind", json_string(name));
	for (struct subscriber *one = events->subscribers; one != NULL; one = one->next) {
		if ((one->kinds & (UINT32_C(1) << kind)) == 0)
			continue;
		if (one->waits)
			one->missed++;
		else
			subscriber_send(one, json_copy(details));
	}
	json_decref(details);
}

/* --- what is found by looking --- */

bool
event_port_up(const struct daemon *daemon, unsigned port)
{
	return daemon->events == NULL || daemon->events->port_up[port];
}

static bool
port_is_up(const struct port *port)
{
	return port->ops == NULL || port->ops->link_up == NULL || port->ops->link_up(port);
}

static void
look_at_ports(struct events *events)
{
	const struct dataplane *dataplane = events->daemon->dataplane;

	for (unsigned i = 0; i < dataplane->port_count; i++) {
		struct port *port = &dataplane->ports[i];
		bool there = dataplane_port(dataplane, i) != NULL;
		bool up = !there || port_is_up(port);

		if (!up && port->ops->revive != NULL && port->ops->revive(port, &log_report)) {
			uplink_change_relinked(events->daemon, (uint16_t)i);
			up = port_is_up(port);
		}
		if (!there)
			events->port_up[i] = true;
		if (up == events->port_up[i])
			continue;
		events->port_up[i] = up;
		if (up)
			uplink_change_relinked(events->daemon, (uint16_t)i);
		event_emit(events->daemon, "port",
			json_pack("{s:o, s:s, s:b}", "text",
				json_sprintf("port %s is %s", port->name, up ? "up" : "down"),
				"port", port->name, "up", (int)up));
	}
}

/* What an account was refused since it was last looked at is added to @p more. */
static void
account_look(struct events *events, unsigned index, uint64_t more[BUDGET_COUNT])
{
	const struct account *account = &events->daemon->dataplane->accounts[index];

	for (unsigned kind = 0; kind < BUDGET_COUNT; kind++) {
		uint64_t refused =
			atomic_load_explicit(&account->refused[kind], memory_order_relaxed);

		more[kind] += refused - events->refused[index][kind];
		events->refused[index][kind] = refused;
	}
}

static void
qube_look(struct events *events, const struct qube *qube, unsigned index)
{
	uint64_t more[BUDGET_COUNT] = {0};
	unsigned most = 0;
	json_t *refused;

	account_look(events, 2 * index, more);
	account_look(events, 2 * index + 1, more);
	for (unsigned kind = 1; kind < BUDGET_COUNT; kind++)
		if (more[kind] > more[most])
			most = kind;
	if (more[most] == 0 || qube->name[0] == '\0')
		return;
	refused = json_object();
	for (unsigned kind = 0; kind < BUDGET_COUNT; kind++)
		if (more[kind] != 0)
			json_object_set_new(
				refused, budgets[kind].name, json_integer((json_int_t)more[kind]));
	event_emit(events->daemon, "budget",
		json_pack("{s:o, s:s, s:s, s:I, s:I, s:o}", "text",
			json_sprintf("qube %s is at its limit of %" PRIu32 " %s: refused %" PRIu64
				     " times",
				qube->name, qube->limits.value[most], budgets[most].name,
				more[most]),
			"qube", qube->name, "budget", budgets[most].name, "limit",
			(json_int_t)qube->limits.value[most], "count", (json_int_t)more[most],
			"refused", refused));
}

static void
look(evutil_socket_t number, short flags, void *context)
{
	struct events *events = context;
	const struct policy *policy = daemon_policy(events->daemon);

	(void)number, (void)flags;
	drop_poll_second(events->daemon->drops);
	look_at_ports(events);
	for (unsigned i = 0; i < policy->qube_count; i++)
		qube_look(events, &policy->qubes[i], i);
}

int
events_create(struct daemon *daemon, struct events **out)
{
	const struct timeval period = {.tv_sec = LOOK_SECONDS};
	const struct dataplane *dataplane = daemon->dataplane;
	struct events *events = calloc(1, sizeof(*events));

	if (events == NULL)
		return -ENOMEM;
	events->daemon = daemon;
	events->port_up = calloc(dataplane->port_count, sizeof(events->port_up[0]));
	events->refused = calloc(2 * QUBES_MAX, sizeof(events->refused[0]));
	events->timer = event_new(daemon->base, -1, EV_PERSIST, look, events);
	if (events->port_up == NULL || events->refused == NULL || events->timer == NULL ||
		event_add(events->timer, &period) != 0) {
		events_free(events);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < dataplane->port_count; i++)
		events->port_up[i] = port_is_up(&dataplane->ports[i]);
	*out = events;
	return 0;
}

void
events_free(struct events *events)
{
	if (events == NULL)
		return;
	if (events->timer != NULL)
		event_free(events->timer);
	free(events->port_up);
	free(events->refused);
	free(events);
}
