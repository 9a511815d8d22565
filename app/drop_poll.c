/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/drop_poll.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <event2/event.h>

#include "app/event.h"
#include "app/log.h"
#include "app/loop.h"
#include "app/packet_json.h"
#include "app/refusal_log.h"

#define POLL_MS 250
/* Looks in vain, one after the other, before it only looks when drop_poll_second has it look. */
#define POLLS_IN_VAIN 8
/* Digits of a second that are known of the time of a drop. */
#define TIME_DIGITS 3
/* `drop` events are samples: at most so many per look. */
#define EVENTS_PER_POLL 4

static const struct timeval interval = {.tv_usec = POLL_MS * 1000};

struct drop_poll {
	struct daemon *daemon;
	struct event *timer;
	struct drop_watch *watch;
	struct refusal_log *log;
	uint64_t now_ms;        /* of this look, monotonic */
	unsigned events;        /* told in this look */
	bool any;               /* this look has found something */
	unsigned vain;          /* looks that have not, one after the other */
	uint64_t events_missed; /* drops since the last event */
};

/* What a person wants to know of a drop, from what a program is told. */
static json_t *
drop_text(const json_t *details, enum reason reason)
{
	const char *source = json_string_value(json_object_get(details, "source"));
	const char *destination = json_string_value(json_object_get(details, "destination"));
	const char *protocol = json_string_value(json_object_get(details, "proto"));
	const char *port = json_string_value(json_object_get(details, "port"));

	return json_sprintf("%s: %s %s > %s dropped: %s", port != NULL ? port : "-",
		protocol != NULL ? protocol : "frame", source != NULL ? source : "?",
		destination != NULL ? destination : "?", reasons[reason].help);
}

static void
log_refusal(void *context, const char *text)
{
	(void)context;
	log_line("%s", text);
}

/* One of the drops, for who has subscribed to them. */
static void
sample(struct drop_poll *poll, const struct drop_seen *seen, unsigned count, uint64_t missed)
{
	struct daemon *daemon = poll->daemon;
	const struct packet_summary *last = count > 0 ? &seen[count - 1].summary : NULL;
	json_t *details;

	poll->events_missed += count + missed;
	if (last == NULL || poll->events == EVENTS_PER_POLL || !event_wanted(daemon, "drop"))
		return;
	poll->events++;
	details = json_object();
	json_object_set_new(
		details, "time", packet_time_json(seen[count - 1].time_ns, TIME_DIGITS));
	packet_json_add(details, daemon_policy(daemon), last, NULL, false);
	json_object_set_new(details, "text", drop_text(details, last->reason));
	packet_json_add_more(details, daemon_policy(daemon), last);
	json_object_set_new(details, "one_of", json_integer((json_int_t)poll->events_missed));
	poll->events_missed = 0;
	event_emit(daemon, "drop", details);
}

static void
found(void *context, uint16_t port, enum reason reason, const struct drop_seen *seen,
	unsigned count, uint64_t missed)
{
	struct drop_poll *poll = context;

	poll->any = true;
	if (poll->daemon->conf->log_refusals)
		refusal_log_take(poll->log, daemon_policy(poll->daemon), port, reason, seen, count,
			missed, poll->now_ms);
	sample(poll, seen, count, missed);
}

const struct drop_watch *
drop_poll_now(struct drop_poll *poll)
{
	struct timespec monotonic, unix_time;

	clock_gettime(CLOCK_MONOTONIC, &monotonic);
	clock_gettime(CLOCK_REALTIME, &unix_time);
	poll->now_ms = (uint64_t)monotonic.tv_sec * 1000 + (uint64_t)monotonic.tv_nsec / 1000000;
	poll->events = 0;
	if (poll->daemon->loop != NULL)
		drop_watch_poll(poll->watch, loop_now(poll->daemon->loop),
			(uint64_t)unix_time.tv_sec * UINT64_C(1000000000) +
				(uint64_t)unix_time.tv_nsec,
			found, poll);
	return poll->watch;
}

static void
look(evutil_socket_t number, short events, void *context)
{
	struct drop_poll *poll = context;

	(void)number, (void)events;
	poll->any = false;
	(void)drop_poll_now(poll);
	refusal_log_tick(poll->log, daemon_policy(poll->daemon), poll->now_ms);
	poll->vain = poll->any ? 0 : poll->vain + 1;
	if (poll->vain == POLLS_IN_VAIN)
		(void)event_del(poll->timer);
	else if (poll->any && !event_pending(poll->timer, EV_TIMEOUT, NULL))
		(void)event_add(poll->timer, &interval);
}

void
drop_poll_second(struct drop_poll *poll)
{
	if (poll != NULL && !event_pending(poll->timer, EV_TIMEOUT, NULL))
		look(-1, EV_TIMEOUT, poll);
}

void
drop_poll_forget(struct drop_poll *poll, uint16_t port)
{
	drop_watch_forget(poll->watch, port);
}

int
drop_poll_create(struct daemon *daemon, struct drop_poll **out)
{
	struct drop_poll *poll = calloc(1, sizeof(*poll));

	if (poll == NULL)
		return -ENOMEM;
	poll->daemon = daemon;
	poll->watch = drop_watch_create(daemon->dataplane);
	poll->log = refusal_log_create(daemon->dataplane->port_count, log_refusal, NULL);
	poll->timer = event_new(daemon->base, -1, EV_PERSIST, look, poll);
	if (poll->watch == NULL || poll->log == NULL || poll->timer == NULL ||
		event_add(poll->timer, &interval) != 0) {
		drop_poll_free(poll);
		return -ENOMEM;
	}
	*out = poll;
	return 0;
}

void
drop_poll_free(struct drop_poll *poll)
{
	if (poll == NULL)
		return;
	if (poll->timer != NULL)
		event_free(poll->timer);
	drop_watch_free(poll->watch);
	refusal_log_free(poll->log);
	free(poll);
}
