/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asking a worker: the control thread hands a function to a worker, which runs it between two
 * bursts, when everything the worker owns is in order. That is the only way to a worker's flows.
 *
 * A call must be short, some ten microseconds: whoever has more to do makes many calls. While none
 * is made a worker pays one load per round.
 */
#pragma once

#include "app/worker.h"

struct event_base;
struct worker_calls;

/*
 * `run` is called in the worker's thread, `done` afterwards in the control thread, never from
 * within worker_call. `done` may free the call, or make it again. When sluiced ends it is called
 * without `run` having been.
 */
struct worker_call {
	void (*run)(struct worker *worker, void *context);
	void (*done)(void *context);
	void *context;
	struct worker_call *next; /* in a queue */
};

/** Make a caller for all workers of @p dataplane. Control thread. @return 0 or -errno */
int worker_calls_create(
	struct dataplane *dataplane, struct event_base *base, struct worker_calls **out);

/**
 * No worker may be running, and nobody wait for an answer any more. The `done` of calls that were
 * never run is called too, so that whoever owns their context can free it.
 */
void worker_calls_free(struct worker_calls *calls);

/**
 * Have worker @p index run @p call, after those that were made before. Control thread.
 * @param call lives until its `done`
 */
void worker_call(struct worker_calls *calls, unsigned index, struct worker_call *call);
