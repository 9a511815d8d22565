/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The watchdog is fed by rounds: each worker is asked to run nothing, and when the last one has
 * done so, the round is over. A round begins every third of the time that the watchdog allows, and
 * only when the one before is over is the watchdog fed. So it takes one worker that hangs, or a
 * control thread that does, to starve it; a worker that is asked and idle costs it one look per
 * round.
 */
#include "app/service.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include <event2/event.h>
#include <systemd/sd-daemon.h>

#include "app/log.h"
#include "app/worker_call.h"

#define ROUNDS_PER_DEADLINE 3

struct service {
	struct daemon *daemon;
	struct event *timer;
	unsigned workers;
	unsigned open; /* workers that have not answered in this round */
	bool late;     /* that was said */
	bool closing;
	struct heart {
		struct service *service;
		struct worker_call call;
		bool asked;
	} hearts[];
};

static void
beat(struct worker *worker, void *context)
{
	(void)worker, (void)context;
}

static void
beat_done(void *context)
{
	struct heart *heart = context;
	struct service *service = heart->service;

	heart->asked = false;
	service->open--;
	/* nobody has run what is given back at the end */
	if (service->closing && service->open == 0)
		free(service);
}

static void
round_begin(struct service *service)
{
	for (unsigned i = 0; i < service->workers; i++) {
		service->hearts[i].asked = true;
		service->open++;
		worker_call(service->daemon->calls, i, &service->hearts[i].call);
	}
}

static void
round_end(evutil_socket_t number, short events, void *context)
{
	struct service *service = context;

	(void)number, (void)events;
	if (service->open == 0) {
		sd_notify(0, "WATCHDOG=1");
		service->late = false;
		round_begin(service);
		return;
	}
	for (unsigned i = 0; i < service->workers && !service->late; i++)
		if (service->hearts[i].asked)
			log_line("worker %u does not answer: the watchdog is not fed", i);
	service->late = true;
}

int
service_create(struct daemon *daemon, struct service **out)
{
	unsigned workers = daemon->dataplane->worker_count;
	struct service *service;
	struct timeval period;
	uint64_t deadline_us = 0;

	*out = NULL;
	if (sd_watchdog_enabled(0, &deadline_us) <= 0)
		return 0;
	deadline_us /= ROUNDS_PER_DEADLINE;
	period = (struct timeval){.tv_sec = (time_t)(deadline_us / 1000000),
		.tv_usec = (suseconds_t)(deadline_us % 1000000)};
	service = calloc(1, sizeof(*service) + workers * sizeof(service->hearts[0]));
	if (service == NULL)
		return -ENOMEM;
	service->daemon = daemon;
	service->workers = workers;
	for (unsigned i = 0; i < workers; i++)
		service->hearts[i] = (struct heart){.service = service,
			.call = {.run = beat, .done = beat_done, .context = &service->hearts[i]}};
	service->timer = event_new(daemon->base, -1, EV_PERSIST, round_end, service);
	if (service->timer == NULL || event_add(service->timer, &period) != 0) {
		if (service->timer != NULL)
			event_free(service->timer);
		free(service);
		return -ENOMEM;
	}
	round_begin(service);
	*out = service;
	return 0;
}

void
service_free(struct service *service)
{
	if (service == NULL)
		return;
	event_free(service->timer);
	service->closing = true;
	/* else with the last call that is given back */
	if (service->open == 0)
		free(service);
}

static void
status(const char *state, const struct daemon *daemon)
{
	sd_notifyf(0, "%sSTATUS=policy %" PRIu32 ": %u ports, %u qubes, %u forwards", state,
		daemon_policy(daemon)->generation, daemon->conf->port_count,
		daemon->conf->qube_count, daemon_policy(daemon)->forwards->count);
}

void
service_ready(const struct daemon *daemon)
{
	status("READY=1\n", daemon);
}

void
service_reloading(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		(uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
}

void
service_stopping(void)
{
	sd_notify(0, "STOPPING=1\nSTATUS=the kernel stays deaf on the interfaces");
}
