/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls to workers. Each worker has a slot for one call; others wait in a queue of the control
 * thread. A worker takes the call out of its slot, runs it, puts it into the slot of what is done
 * and says so with an eventfd, which is shared by all.
 *
 * No call is overslept: a worker that falls asleep says so before it looks at its slot for the last
 * time, and worker_wake looks at that after the slot was filled. No end is overlooked: the
 * descriptor is read before the slots are looked at, so a worker whose slot was still empty writes
 * after that.
 */
#include "app/worker_call.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>

struct worker_calls {
	struct dataplane *dataplane;
	bool closing;
	int done_fd;
	struct event *done_event;
	struct queue {
		struct worker_call *first, *last; /* the first one is at the worker */
	} queues[];
};

static void
announce(const struct worker_calls *calls, unsigned index)
{
	struct worker *worker = calls->dataplane->workers[index];

	atomic_store_explicit(&worker->call, calls->queues[index].first, memory_order_release);
	worker_wake(worker);
}

static void
calls_done(evutil_socket_t fd, short events, void *context)
{
	struct worker_calls *calls = context;
	uint64_t ignored;

	(void)events;
	if (read((int)fd, &ignored, sizeof(ignored)) < 0)
		return;
	for (unsigned i = 0; i < calls->dataplane->worker_count; i++) {
		struct queue *queue = &calls->queues[i];
		struct worker_call *call = queue->first;

		if (call == NULL || atomic_load_explicit(&calls->dataplane->workers[i]->call_done,
					    memory_order_acquire) != call)
			continue;
		atomic_store_explicit(
			&calls->dataplane->workers[i]->call_done, NULL, memory_order_relaxed);
		queue->first = call->next;
		if (queue->first != NULL)
			announce(calls, i);
		else
			queue->last = NULL;
		call->done(call->context);
	}
}

void
worker_call(struct worker_calls *calls, unsigned index, struct worker_call *call)
{
	struct queue *queue = &calls->queues[index];

	call->next = NULL;
	if (queue->last != NULL)
		queue->last->next = call;
	else
		queue->first = call;
	queue->last = call;
	if (queue->first == call && !calls->closing)
		announce(calls, index);
}

int
worker_calls_create(struct dataplane *dataplane, struct event_base *base, struct worker_calls **out)
{
	struct worker_calls *calls =
		calloc(1, sizeof(*calls) + dataplane->worker_count * sizeof(calls->queues[0]));

	if (calls == NULL)
		return -ENOMEM;
	calls->dataplane = dataplane;
	calls->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (calls->done_fd >= 0)
		calls->done_event =
			event_new(base, calls->done_fd, EV_READ | EV_PERSIST, calls_done, calls);
	if (calls->done_event == NULL || event_add(calls->done_event, NULL) != 0) {
		worker_calls_free(calls);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < dataplane->worker_count; i++)
		dataplane->workers[i]->call_done_fd = calls->done_fd;
	*out = calls;
	return 0;
}

/* What no worker has run, or nobody has heard of, is over. */
static void
calls_drop(struct worker_calls *calls)
{
	calls->closing = true;
	for (unsigned i = 0; i < calls->dataplane->worker_count; i++) {
		struct worker *worker = calls->dataplane->workers[i];
		struct queue *queue = &calls->queues[i];

		atomic_store_explicit(&worker->call, NULL, memory_order_relaxed);
		atomic_store_explicit(&worker->call_done, NULL, memory_order_relaxed);
		while (queue->first != NULL) {
			struct worker_call *call = queue->first;

			queue->first = call->next;
			if (queue->first == NULL)
				queue->last = NULL;
			call->done(call->context);
		}
	}
}

void
worker_calls_free(struct worker_calls *calls)
{
	if (calls == NULL)
		return;
	calls_drop(calls);
	if (calls->done_event != NULL)
		event_free(calls->done_event);
	if (calls->done_fd >= 0)
		close(calls->done_fd);
	free(calls);
}
