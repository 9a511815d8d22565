/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `flows` and `flows.delete`: a walk through the flow tables of all workers, a few places of a pool
 * in each call.
 *
 * For `flows` the worker only copies what it has there; choosing, wording and sending is the
 * control thread's, which asks for the next places when the client has taken what it was sent. For
 * `flows.delete` the worker chooses, since between a call and the next a flow may be another one.
 *
 * A walk lives as long as a call of it is with a worker, even if its client is gone: the call's
 * `done` frees it then.
 */
#include <stdlib.h>

#include "app/flow_filter.h"
#include "app/flow_show.h"
#include "app/method.h"
#include "app/worker_call.h"
#include "nat/tcp.h"

/* Places of a pool that one call looks at: two lines of cache are copied of each at most. */
#define PLACES 128
/* Flows that one call ends: an ended one costs two frames. */
#define ENDED_MAX 16
/* Flows in one notification, from several calls. */
#define NOTIFY_FLOWS 256

struct walk {
	struct control_request *request; /* NULL: nobody waits any more */
	struct daemon *daemon;
	struct worker_call call;
	bool calling; /* a worker has the call */
	struct flow_filter filter;
	unsigned worker; /* whose flows come next */
	uint32_t cursor;
	uint64_t total;   /* flows looked at */
	uint64_t matched; /* of these */
	/* flows */
	uint64_t left; /* how many more may be shown */
	json_t *shown; /* and not sent yet */
	/* from the worker */
	bool more;
	uint32_t now_ms;
	unsigned count; /* flows copied or looked at */
	unsigned ended;
	struct flow flows[]; /* PLACES, for `flows` */
};

static void
walk_free(struct walk *walk)
{
	json_decref(walk->shown);
	free(walk);
}

/* Nobody waits for the answer. A context of control_keep. */
static void
walk_ended(void *context)
{
	struct walk *walk = context;

	walk->request = NULL;
	if (!walk->calling)
		walk_free(walk);
}

static void
walk_answer(struct walk *walk, json_t *answer)
{
	control_answer(walk->request, answer);
	walk_free(walk);
}

/* In the worker. */

static bool
flow_copy(void *context, struct flow *flow)
{
	struct walk *walk = context;

	if ((flow->flags & FLOW_PERMISSION) == 0)
		walk->flows[walk->count++] = *flow;
	return true;
}

static void
flows_copy(struct worker *worker, void *context)
{
	struct walk *walk = context;

	walk->count = 0;
	walk->now_ms = worker->now_ms;
	walk->more = flow_walk_some(worker->flows, &walk->cursor, PLACES, flow_copy, walk);
}

struct deletion {
	struct walk *walk;
	struct worker *worker;
};

static bool
flow_delete(void *context, struct flow *flow)
{
	struct deletion *deletion = context;
	struct walk *walk = deletion->walk;
	struct worker *worker = deletion->worker;

	if ((flow->flags & FLOW_PERMISSION) != 0)
		return true;
	walk->count++;
	if ((flow->flags & FLOW_REFUSED) != 0 ||
		!flow_filter_match(&walk->filter, worker->policy, flow))
		return true;
	flow_reset(worker, flow, 0);
	worker->counters.flows_deleted++;
	return ++walk->ended < ENDED_MAX;
}

static void
flows_delete(struct worker *worker, void *context)
{
	struct walk *walk = context;
	struct deletion deletion = {walk, worker};

	walk->count = 0;
	walk->ended = 0;
	walk->more = flow_walk_some(worker->flows, &walk->cursor, PLACES, flow_delete, &deletion);
}

/* In the control thread. */

/* Ask for the next places. @return false when all have been seen */
static bool
walk_on(struct walk *walk)
{
	if (!walk->more) {
		walk->worker++;
		walk->cursor = 0;
	}
	if (walk->worker == walk->daemon->dataplane->worker_count)
		return false;
	walk->calling = true;
	worker_call(walk->daemon->calls, walk->worker, &walk->call);
	return true;
}

static struct walk *
walk_new(struct control_request *request, const struct flow_filter *filter, unsigned places)
{
	struct walk *walk = calloc(1, sizeof(*walk) + places * sizeof(walk->flows[0]));

	if (walk == NULL) {
		control_fail(request, CONTROL_UNAVAILABLE, NULL, "out of memory");
		return NULL;
	}
	walk->request = request;
	walk->daemon = control_daemon(request);
	walk->filter = *filter;
	walk->more = true;
	walk->call.context = walk;
	control_keep(request, walk_ended, walk);
	return walk;
}

/* Send what there is, if it is worth a line. @return false when the client shall read first */
static bool
flows_send(struct walk *walk, size_t least)
{
	json_t *params;

	if (json_array_size(walk->shown) < least)
		return true;
	params = json_pack("{s:o}", "flows", walk->shown);
	walk->shown = json_array();
	return control_notify(walk->request, "flows", params);
}

static void
flows_on(void *context)
{
	struct walk *walk = context;

	if (walk_on(walk))
		return;
	flows_send(walk, 1);
	walk_answer(walk, json_pack("{s:I, s:I}", "matched", (json_int_t)walk->matched, "total",
				  (json_int_t)walk->total));
}

static void
flows_copied(void *context)
{
	struct walk *walk = context;
	const struct policy *policy = daemon_policy(walk->daemon);

	walk->calling = false;
	if (walk->request == NULL) {
		walk_free(walk);
		return;
	}
	for (unsigned i = 0; i < walk->count; i++) {
		if (!flow_filter_match(&walk->filter, policy, &walk->flows[i]))
			continue;
		walk->matched++;
		if (walk->left == 0)
			continue;
		walk->left--;
		json_array_append_new(walk->shown,
			flow_json(policy, &walk->flows[i], walk->worker, walk->now_ms));
	}
	walk->total += walk->count;
	if (flows_send(walk, NOTIFY_FLOWS))
		flows_on(walk);
	else
		control_when_writable(walk->request, flows_on, walk);
}

static void
flows_deleted(void *context)
{
	struct walk *walk = context;

	walk->calling = false;
	if (walk->request == NULL) {
		walk_free(walk);
		return;
	}
	walk->matched += walk->ended;
	if (!walk_on(walk))
		walk_answer(walk, json_pack("{s:I}", "deleted", (json_int_t)walk->matched));
}

/* @return false when the request has been refused */
static bool
filter_take(struct control_request *request, const json_t *params, struct flow_filter *filter)
{
	const char *key, *wants;

	if (flow_filter_parse(json_object_get(params, "filter"), filter, &key, &wants) == 0)
		return true;
	control_fail(request, CONTROL_INVALID_PARAMS, json_pack("{s:s}", "key", key),
		wants != NULL ? "%s: want %s" : "%s: a filter has no such key", key, wants);
	return false;
}

/* @return false when the request has been refused: it has a member that is not among @p known */
static bool
members_known(struct control_request *request, const json_t *params, const char *const *known)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)params, key, value) {
		unsigned i = 0;

		while (known[i] != NULL && strcmp(known[i], key) != 0)
			i++;
		if (known[i] != NULL)
			continue;
		control_fail(request, CONTROL_INVALID_PARAMS, json_pack("{s:s}", "key", key),
			"%s: no such parameter", key);
		return false;
	}
	return true;
}

void
method_FLOWS(struct control_request *request, const json_t *params)
{
	static const char *const known[] = {"filter", "limit", NULL};
	const json_t *limit = json_object_get(params, "limit");
	struct flow_filter filter;
	struct walk *walk;

	if (!members_known(request, params, known) || !filter_take(request, params, &filter))
		return;
	if (limit != NULL && (!json_is_integer(limit) || json_integer_value(limit) < 0)) {
		control_fail(request, CONTROL_INVALID_PARAMS, json_pack("{s:s}", "key", "limit"),
			"limit: want a number of flows");
		return;
	}
	walk = walk_new(request, &filter, PLACES);
	if (walk == NULL)
		return;
	walk->left = limit != NULL ? (uint64_t)json_integer_value(limit) : UINT64_MAX;
	walk->shown = json_array();
	walk->call.run = flows_copy;
	walk->call.done = flows_copied;
	walk_on(walk);
}

void
method_FLOWS_DELETE(struct control_request *request, const json_t *params)
{
	static const char *const known[] = {"filter", "all", NULL};
	struct flow_filter filter;
	struct walk *walk;

	if (!members_known(request, params, known) || !filter_take(request, params, &filter))
		return;
	if (filter.given == 0 && !json_is_true(json_object_get(params, "all"))) {
		control_fail(request, CONTROL_INVALID_PARAMS, json_pack("{s:s}", "key", "filter"),
			"filter: an empty one means every flow; say {\"all\": true} for that");
		return;
	}
	walk = walk_new(request, &filter, 0);
	if (walk == NULL)
		return;
	walk->call.run = flows_delete;
	walk->call.done = flows_deleted;
	walk_on(walk);
}
