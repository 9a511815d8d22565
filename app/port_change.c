/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See port_change.h. A plan is made before a policy is published, with all the memory that it
 * takes, so that nothing can fail afterwards. What of it takes time is a departure, which goes from
 * worker to worker in short calls (app/port_purge.h). It also ends the flows of qubes that are gone
 * or have other addresses; a policy that takes nothing away costs no walk.
 */
#include "app/port_change.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "app/drop_poll.h"
#include "app/event.h"
#include "app/log.h"
#include "app/loop.h"
#include "app/port_purge.h"
#include "app/telemetry.h"
#include "app/worker_call.h"

/* How often to look whether workers have been through a round, and whether packets are back. */
#define ROUND_MS 1
#define PACKETS_MS 100

/* A port that its worker is to receive from. */
struct arrival {
	struct port *port;
	struct worker_call call;
};

enum phase {
	PHASE_LEAVE, /* workers receive from it no longer */
	PHASE_PURGE, /* and end what they have of it */
	PHASE_CLOSE, /* they have been asked; what is still on its way goes out */
};

/* Ports that go together, and flows that end with them. */
struct departure {
	struct port_changes *changes;
	struct departure *next, **link;
	struct worker_call call;
	struct event *timer;
	enum phase phase;
	unsigned worker; /* whose turn it is */
	uint32_t cursor; /* in its flow table */
	bool more;
	uint64_t token;       /* of rte_rcu: who has been through a round since */
	bool gone[PORTS_MAX]; /* by index */
	unsigned left;        /* how many of them are not closed yet */
};

struct port_changes {
	struct daemon *daemon;
	bool closing;
	struct departure *departures;
};

struct port_plan {
	struct daemon *daemon;
	struct departure *departure; /* NULL: nothing goes */
	unsigned count;
	struct arrival *arrivals[];
};

/* --- in the worker --- */

static void
arrival_run(struct worker *worker, void *context)
{
	const struct arrival *arrival = context;

	loop_port_take(worker, arrival->port);
}

static void
leave_run(struct worker *worker, void *context)
{
	const struct departure *departure = context;
	struct dataplane *dataplane = worker->dataplane;

	for (unsigned i = 0; i < dataplane->port_count; i++)
		if (departure->gone[i])
			loop_port_leave(worker, &dataplane->ports[i]);
}

static void
purge_run(struct worker *worker, void *context)
{
	struct departure *departure = context;

	departure->more = port_purge(worker, departure->gone, &departure->cursor);
}

/* --- in the control thread --- */

static void
departure_free(struct departure *departure)
{
	if (departure == NULL)
		return;
	if (departure->link != NULL) {
		*departure->link = departure->next;
		if (departure->next != NULL)
			departure->next->link = departure->link;
	}
	if (departure->timer != NULL)
		event_free(departure->timer);
	free(departure);
}

static void
look_again(struct departure *departure, unsigned ms)
{
	const struct timeval delay = {.tv_usec = (suseconds_t)ms * 1000};

	evtimer_add(departure->timer, &delay);
}

static void
port_close(struct daemon *daemon, uint16_t index)
{
	char name[NAME_SIZE];
	int error;

	memcpy(name, daemon->dataplane->ports[index].name, sizeof(name));
	telemetry_hold(true);
	error = dataplane_port_close(daemon->dataplane, index);
	telemetry_hold(false);
	if (error != 0)
		return;
	if (daemon->drops != NULL)
		drop_poll_forget(daemon->drops, index);
	event_emit(daemon, "port-removed",
		json_pack("{s:o, s:s}", "text", json_sprintf("port %s is closed", name), "port",
			name));
}

/* Close what can be closed; a timer's callback. */
static void
departure_close(evutil_socket_t number, short events, void *context)
{
	struct departure *departure = context;
	struct daemon *daemon = departure->changes->daemon;
	struct dataplane *dataplane = daemon->dataplane;

	(void)number, (void)events;
	if (rte_rcu_qsbr_check(dataplane->quiescence, departure->token, false) == 0) {
		look_again(departure, ROUND_MS);
		return;
	}
	departure->left = 0;
	for (unsigned i = 0; i < dataplane->port_count; i++) {
		if (!departure->gone[i])
			continue;
		port_close(daemon, (uint16_t)i);
		departure->gone[i] = dataplane->ports[i].state != PORT_FREE;
		departure->left += departure->gone[i];
	}
	if (departure->left == 0)
		departure_free(departure);
	else
		look_again(departure, PACKETS_MS);
}

static void
departure_ask(struct departure *departure)
{
	departure->call.run = departure->phase == PHASE_LEAVE ? leave_run : purge_run;
	worker_call(departure->changes->daemon->calls, departure->worker, &departure->call);
}

/* A worker has done what it was asked: go on with it, with the next one, or with what comes next.
 */
static void
departure_asked(void *context)
{
	struct departure *departure = context;
	struct dataplane *dataplane = departure->changes->daemon->dataplane;

	if (departure->changes->closing)
		return;
	if (departure->phase == PHASE_PURGE && departure->more) {
		departure_ask(departure);
		return;
	}
	departure->cursor = 0;
	if (++departure->worker < dataplane->worker_count) {
		departure_ask(departure);
		return;
	}
	departure->worker = 0;
	departure->phase++;
	if (departure->phase == PHASE_PURGE) {
		departure_ask(departure);
		return;
	}
	/* What was sent to it in the rounds that it was purged in has not gone out yet. */
	departure->token = rte_rcu_qsbr_start(dataplane->quiescence);
	departure_close(-1, 0, departure);
}

static struct departure *
departure_new(struct port_changes *changes)
{
	struct departure *departure = calloc(1, sizeof(*departure));

	if (departure == NULL)
		return NULL;
	departure->changes = changes;
	departure->call = (struct worker_call){.done = departure_asked, .context = departure};
	departure->timer = evtimer_new(changes->daemon->base, departure_close, departure);
	if (departure->timer == NULL) {
		free(departure);
		return NULL;
	}
	return departure;
}

static void
departure_begin(struct departure *departure)
{
	struct port_changes *changes = departure->changes;
	struct dataplane *dataplane = changes->daemon->dataplane;

	departure->next = changes->departures;
	departure->link = &changes->departures;
	if (departure->next != NULL)
		departure->next->link = &departure->next;
	changes->departures = departure;
	for (unsigned i = 0; i < dataplane->port_count; i++)
		if (departure->gone[i])
			dataplane->ports[i].state = PORT_LEAVING;
	departure->phase = departure->left != 0 ? PHASE_LEAVE : PHASE_PURGE;
	departure_ask(departure);
}

int
port_changes_create(struct daemon *daemon, struct port_changes **out)
{
	struct port_changes *changes = calloc(1, sizeof(*changes));

	if (changes == NULL)
		return -ENOMEM;
	changes->daemon = daemon;
	*out = changes;
	return 0;
}

void
port_changes_stop(struct port_changes *changes)
{
	if (changes != NULL)
		changes->closing = true;
}

void
port_changes_free(struct port_changes *changes)
{
	if (changes == NULL)
		return;
	while (changes->departures != NULL)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freeing one takes it off the list */
		departure_free(changes->departures);
	free(changes);
}

/* --- plans --- */

static const char *
mac_text(char text[18], const uint8_t mac[6])
{
	snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		mac[5]);
	return text;
}

int
port_changes_first(struct daemon *daemon)
{
	struct dataplane *dataplane = daemon->dataplane;
	const struct policy *policy = daemon_policy(daemon);
	int error = 0;

	for (uint16_t i = 0; error == 0 && i < policy->port_count; i++) {
		const struct port *port = &dataplane->ports[i];
		char mac[18];

		if (policy->ports[i].role == ROLE_NONE)
			continue;
		error = dataplane_port_open(dataplane, daemon->conf, policy, i, &log_report);
		if (error == 0)
			log_line("port %s: %s, MAC %s, MTU %u, worker %u", port->name,
				port->ops->kind, mac_text(mac, port->mac), port->mtu, port->owner);
	}
	return error;
}

static bool
port_is_same(const struct policy *a, const struct policy *b, unsigned index)
{
	const struct policy_port *port = policy_port_at(a, index);

	return port->role != ROLE_NONE && policy_port_at(b, index)->role != ROLE_NONE &&
	       port->since == policy_port_at(b, index)->since;
}

/* Whether somebody who could have flows could not have them any more. */
static bool
qubes_leave(const struct policy *running, const struct policy *wanted)
{
	for (unsigned i = 0; i < running->qube_count; i++) {
		const struct qube *before = &running->qubes[i];
		const struct qube *after = &wanted->qubes[i];

		/* app/uplink_change.h sees to the host's */
		if (before->name[0] == '\0' ||
			policy_port_at(wanted, after->port)->role == ROLE_HOST)
			continue;
		if (before->since != after->since)
			return true;
		for (unsigned family = 0; family < FAMILIES; family++)
			if (before->has[family] &&
				(!after->has[family] || !address_equal(&before->address[family],
								&after->address[family])))
				return true;
	}
	return false;
}

static void
arrival_done(void *context)
{
	free(context);
}

static int
arrival_open(struct port_plan *plan, const struct conf *conf, const struct policy *wanted,
	uint16_t index, const struct report *report)
{
	struct dataplane *dataplane = plan->daemon->dataplane;
	struct arrival *arrival = calloc(1, sizeof(*arrival));
	int error;

	if (arrival == NULL)
		return -ENOMEM;
	arrival->port = &dataplane->ports[index];
	arrival->call =
		(struct worker_call){.run = arrival_run, .done = arrival_done, .context = arrival};
	telemetry_hold(true);
	error = dataplane_port_open(dataplane, conf, wanted, index, report);
	telemetry_hold(false);
	if (error != 0)
		free(arrival);
	else
		plan->arrivals[plan->count++] = arrival;
	return error;
}

int
port_plan_make(struct daemon *daemon, const struct conf *conf, const struct policy *wanted,
	const struct report *report, struct port_plan **out)
{
	const struct policy *running = daemon_policy(daemon);
	struct port_plan *plan =
		calloc(1, sizeof(*plan) + wanted->port_count * sizeof(plan->arrivals[0]));
	struct departure *departure = departure_new(daemon->ports);
	int error = plan == NULL || departure == NULL ? -ENOMEM : 0;

	for (unsigned i = 0; error == 0 && i < running->port_count; i++)
		if (running->ports[i].role != ROLE_NONE && !port_is_same(running, wanted, i)) {
			departure->gone[i] = true;
			departure->left++;
		}
	if (error == 0) {
		plan->daemon = daemon;
		plan->departure = departure;
	}
	for (uint16_t i = 0; error == 0 && i < wanted->port_count; i++)
		if (wanted->ports[i].role != ROLE_NONE && !port_is_same(running, wanted, i))
			error = arrival_open(plan, conf, wanted, i, report);
	if (error != 0) {
		if (plan != NULL && plan->daemon != NULL) {
			port_plan_abandon(plan);
		} else {
			departure_free(departure);
			free(plan);
		}
		if (error == -ENOMEM)
			report_line(report, "out of memory");
		return error;
	}
	if (departure->left == 0 && !qubes_leave(running, wanted)) {
		departure_free(departure);
		plan->departure = NULL;
	}
	dataplane_neighbours_follow(daemon->dataplane, conf, wanted);
	*out = plan;
	return 0;
}

void
port_plan_abandon(struct port_plan *plan)
{
	for (unsigned i = 0; i < plan->count; i++) {
		/* Nobody has ever received from it: it is idle. */
		telemetry_hold(true);
		(void)dataplane_port_close(plan->daemon->dataplane, plan->arrivals[i]->port->index);
		telemetry_hold(false);
		free(plan->arrivals[i]);
	}
	departure_free(plan->departure);
	free(plan);
}

void
port_plan_carry_out(struct port_plan *plan)
{
	struct daemon *daemon = plan->daemon;

	for (unsigned i = 0; i < plan->count; i++) {
		const struct port *port = plan->arrivals[i]->port;
		const struct qube *qube = policy_port_qube(daemon_policy(daemon), port->index);
		char mac[18];

		event_emit(daemon, "port-added",
			json_pack("{s:o, s:s, s:s*, s:s, s:I, s:I}", "text",
				json_sprintf("port %s: %s, MAC %s, MTU %u, worker %u", port->name,
					port->ops->kind, mac_text(mac, port->mac), port->mtu,
					port->owner),
				"port", port->name, "qube", qube != NULL ? qube->name : NULL, "mac",
				mac, "mtu", (json_int_t)port->mtu, "worker",
				(json_int_t)port->owner));
		worker_call(daemon->calls, port->owner, &plan->arrivals[i]->call);
	}
	if (plan->departure != NULL)
		departure_begin(plan->departure);
	free(plan);
}
