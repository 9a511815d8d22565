/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another address, gateway or network of the uplink, at run time.
 *
 * The policy that says it is in force when a worker takes its next burst. From then on nothing is
 * sent with the old address: a flow is asked about before its next packet passes (app/decide.c),
 * and an answer of our own bears the new one. Here is what does not come by itself:
 *
 *	neighbours	the gateways' entries are pinned, and everybody is asked for his MAC again
 *	flows		those with an address that is lost can never go on. Their qubes' connections
 *			are reset at once, so that nobody waits for a time-out, and what they held
 *			(external ports, room in accounts) is given back
 *
 * An address that is gone without another one in its place ends no flows: a lease that is renewed
 * late, a cable, a suspended laptop. What is sent meanwhile has no route, which qubes hear.
 */
#include "app/uplink_change.h"

#include <errno.h>
#include <stdlib.h>

#include "app/daemon.h"
#include "app/log.h"
#include "app/loop.h"
#include "app/source_host.h"
#include "app/worker_call.h"

/* Places of a flow pool that one call looks at, and flows that it ends. */
#define PLACES 128
#define ENDED_MAX 16

struct uplink_change {
	struct daemon *daemon;
	/* what has been followed: of the last policy, addresses as they last were */
	struct policy_port uplink;
	bool had[FAMILIES];
	union address last[FAMILIES];
	/* the walk */
	struct worker_call call;
	bool walking, again, closing;
	unsigned worker;
	uint32_t cursor;
	/* of one call */
	bool more;
	unsigned ended;
	unsigned total; /* of the walk */
};

static uint32_t
now_ms(const struct daemon *daemon)
{
	return daemon->loop != NULL ? loop_now(daemon->loop) : 0;
}

/* In the worker. */

struct visit {
	struct uplink_change *change;
	struct worker *worker;
};

static bool
stale_end(void *context, struct flow *flow)
{
	struct visit *visit = context;

	if ((flow->flags & (FLOW_PERMISSION | FLOW_REFUSED)) != 0 ||
		!flow_is_stale(visit->worker->policy, flow))
		return true;
	(void)flow_reset(visit->worker, flow, 0);
	visit->worker->counters.flows_refused++;
	return ++visit->change->ended < ENDED_MAX;
}

static void
walk_run(struct worker *worker, void *context)
{
	struct uplink_change *change = context;
	struct visit visit = {change, worker};

	change->ended = 0;
	change->more = flow_walk_some(worker->flows, &change->cursor, PLACES, stale_end, &visit);
}

/* In the control thread. */

static void
walk_call(struct uplink_change *change)
{
	worker_call(change->daemon->calls, change->worker, &change->call);
}

static void
walk_start(struct uplink_change *change)
{
	/* One that is under way may have passed flows by that are stale only now. */
	change->again = change->walking;
	if (change->walking)
		return;
	change->walking = true;
	change->worker = 0;
	change->cursor = 0;
	change->total = 0;
	walk_call(change);
}

static void
walk_done(void *context)
{
	struct uplink_change *change = context;

	if (change->closing) {
		free(change);
		return;
	}
	change->total += change->ended;
	if (!change->more) {
		change->worker++;
		change->cursor = 0;
	}
	if (change->worker < change->daemon->dataplane->worker_count) {
		walk_call(change);
		return;
	}
	change->walking = false;
	if (change->total != 0)
		log_line(
			"uplink: another address, %u flows of the one before ended", change->total);
	if (change->again)
		walk_start(change);
}

static bool
address_same(bool a_has, const union address *a, bool b_has, const union address *b)
{
	return a_has == b_has && (!a_has || address_equal(a, b));
}

static bool
network_same(const struct policy_port *a, const struct policy_port *b)
{
	for (unsigned family = 0; family < FAMILIES; family++)
		if (!address_same(a->has[family], &a->address[family], b->has[family],
			    &b->address[family]) ||
			!address_same(a->has_gateway[family], &a->gateway[family],
				b->has_gateway[family], &b->gateway[family]) ||
			(a->has[family] && (a->link[family].length != b->link[family].length ||
						   !address_equal(&a->link[family].address,
							   &b->link[family].address))))
			return false;
	return true;
}

/* Take note of the addresses. @return whether one has taken the place of another one */
static bool
addresses_note(struct uplink_change *change)
{
	const struct policy_port *uplink = &change->uplink;
	bool replaced = false;

	for (unsigned family = 0; family < FAMILIES; family++) {
		if (!uplink->has[family])
			continue;
		replaced |= change->had[family] &&
			    !address_equal(&change->last[family], &uplink->address[family]);
		change->had[family] = true;
		change->last[family] = uplink->address[family];
	}
	return replaced;
}

void
uplink_change_follow(struct daemon *daemon)
{
	struct uplink_change *change = daemon->uplink_change;
	const struct policy *policy = daemon_policy(daemon);
	const struct policy_port *uplink;
	struct neighbour_table *neighbours;
	bool same;

	if (change == NULL || policy->uplink == PORT_NONE)
		return;
	uplink = &policy->ports[policy->uplink];
	same = network_same(&change->uplink, uplink);
	change->uplink = *uplink;
	if (same)
		return;
	source_host_refresh(daemon);
	neighbours = daemon->dataplane->ports[policy->uplink].neighbours;
	for (unsigned family = 0; family < FAMILIES; family++)
		neighbour_pin(neighbours, family,
			uplink->has_gateway[family] ? &uplink->gateway[family] : NULL, 0);
	neighbour_forget(neighbours, now_ms(daemon));
	if (addresses_note(change))
		walk_start(change);
}

void
uplink_change_relinked(struct daemon *daemon, uint16_t port)
{
	if (port == daemon_policy(daemon)->uplink)
		neighbour_forget(daemon->dataplane->ports[port].neighbours, now_ms(daemon));
}

int
uplink_change_create(struct daemon *daemon, struct uplink_change **out)
{
	const struct policy *policy = daemon_policy(daemon);
	struct uplink_change *change = calloc(1, sizeof(*change));

	if (change == NULL)
		return -ENOMEM;
	change->daemon = daemon;
	change->call = (struct worker_call){.run = walk_run, .done = walk_done, .context = change};
	if (policy->uplink != PORT_NONE)
		change->uplink = policy->ports[policy->uplink];
	addresses_note(change);
	*out = change;
	return 0;
}

void
uplink_change_free(struct uplink_change *change)
{
	/* A call that is under way comes back, run or not. */
	if (change != NULL && change->walking)
		change->closing = true;
	else
		free(change);
}
