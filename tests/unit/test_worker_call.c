/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls to workers: each is run once, by the worker it is for, in the order of the calls, and is
 * heard of once; a worker that sleeps is woken; what nobody has run when all ends is given back.
 */
#include "app/worker_call.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>

#include "tests/unit/plane.h"
#include "tests/unit/unit.h"

#define WORKERS 2
#define CALLS 64   /* at once */
#define ROUNDS 300 /* of each of them */
#define PATIENCE_S 20

static struct plane *plane;
static struct event_base *base;
static struct worker_calls *calls;

/* A thread in the place of the loop: it serves its worker, and sleeps when there is nothing to do.
 */
static struct thread {
	pthread_t id;
	struct worker *worker;
	atomic_bool stop;
	bool naps; /* between the last look and the sleep, where wake-ups get lost */
	unsigned slept;
} threads[WORKERS];

static void
thread_sleep(struct thread *thread)
{
	struct worker *worker = thread->worker;
	struct pollfd wake = {.fd = worker->wake_fd, .events = POLLIN};
	uint64_t ignored;

	atomic_store(&worker->asleep, true);
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&worker->call, memory_order_relaxed) == NULL &&
		!atomic_load(&thread->stop)) {
		if (thread->naps)
			usleep(20);
		thread->slept++;
		poll(&wake, 1, PATIENCE_S * 1000);
	}
	atomic_store(&worker->asleep, false);
	if ((wake.revents & POLLIN) != 0 && read(wake.fd, &ignored, sizeof(ignored)) < 0)
		abort();
}

static void *
thread_main(void *argument)
{
	struct thread *thread = argument;

	while (!atomic_load(&thread->stop)) {
		dataplane_service(thread->worker, plane->now_ms);
		thread_sleep(thread);
	}
	return NULL;
}

static void
threads_start(bool naps)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		threads[i] = (struct thread){.worker = plane->dataplane->workers[i], .naps = naps};
		threads[i].worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (pthread_create(&threads[i].id, NULL, thread_main, &threads[i]) != 0)
			abort();
	}
}

static void
threads_stop(void)
{
	const uint64_t one = 1;

	for (unsigned i = 0; i < WORKERS; i++) {
		atomic_store(&threads[i].stop, true);
		if (write(threads[i].worker->wake_fd, &one, sizeof(one)) < 0)
			abort();
		pthread_join(threads[i].id, NULL);
		close(threads[i].worker->wake_fd);
		threads[i].worker->wake_fd = -1;
	}
}

static void
begin(void)
{
	plane = plane_create(&(struct plane_options){.workers = WORKERS});
	base = event_base_new();
	CU_ASSERT_PTR_NOT_NULL_FATAL(base);
	CU_ASSERT_EQUAL_FATAL(worker_calls_create(plane->dataplane, base, &calls), 0);
}

static void
end(void)
{
	event_base_free(base);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* One call that is made again from its own `done`. */
static struct asked {
	struct worker_call call;
	unsigned worker; /* whom it is for */
	unsigned place;  /* among the calls to that worker */
	unsigned run, done;
	unsigned ran_wrong; /* by another one, or out of turn */
	bool outside;       /* is being made right now: `done` may not be called yet */
} asked[WORKERS * CALLS];
static unsigned turn[WORKERS]; /* whose turn it is: of that worker's thread */
static unsigned left;

static void
asked_run(struct worker *worker, void *context)
{
	struct asked *own = context;

	own->run++;
	own->ran_wrong +=
		worker->index != own->worker || turn[worker->index]++ % CALLS != own->place;
}

static void
asked_make(struct asked *own)
{
	own->outside = true;
	worker_call(calls, own->worker, &own->call);
	own->outside = false;
}

static void
asked_done(void *context)
{
	struct asked *own = context;

	CU_ASSERT_FALSE(own->outside);
	own->done++;
	CU_ASSERT_EQUAL(own->run, own->done);
	if (own->done < ROUNDS)
		asked_make(own);
	else if (--left == 0)
		event_base_loopbreak(base);
}

static void
give_up(evutil_socket_t number, short events, void *context)
{
	(void)number;
	(void)events;
	(void)context;
	event_base_loopbreak(base);
}

static void
all_are_run(bool naps)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	struct event *timer;

	begin();
	timer = evtimer_new(base, give_up, NULL);
	evtimer_add(timer, &patience);
	memset(turn, 0, sizeof(turn));
	threads_start(naps);
	left = WORKERS * CALLS;
	for (unsigned i = 0; i < WORKERS * CALLS; i++) {
		asked[i] = (struct asked){
			.call = {asked_run, asked_done, &asked[i], NULL},
			.worker = i % WORKERS,
			.place = i / WORKERS,
		};
		asked_make(&asked[i]);
	}
	event_base_dispatch(base);
	CU_ASSERT_EQUAL(left, 0);
	threads_stop();
	for (unsigned i = 0; i < WORKERS * CALLS; i++) {
		CU_ASSERT_EQUAL(asked[i].run, ROUNDS);
		CU_ASSERT_EQUAL(asked[i].done, ROUNDS);
		CU_ASSERT_EQUAL(asked[i].ran_wrong, 0);
	}
	CU_ASSERT(threads[0].slept > 0 && threads[1].slept > 0);
	worker_calls_free(calls);
	event_free(timer);
	end();
}

static void
test_order(void)
{
	all_are_run(false);
}

static void
test_wake(void)
{
	all_are_run(true);
}

static void
count_done(void *context)
{
	unsigned *count = context;

	(*count)++;
}

static void
nothing(struct worker *worker, void *context)
{
	(void)worker;
	(void)context;
}

/* sluiced ends: one call has been run and not heard of, one is with the worker, others wait. */
static void
test_end(void)
{
	unsigned done = 0;
	struct worker_call made[2 * 3];

	begin();
	for (unsigned i = 0; i < RTE_DIM(made); i++) {
		made[i] = (struct worker_call){nothing, count_done, &done, NULL};
		worker_call(calls, i % WORKERS, &made[i]);
	}
	dataplane_service(plane->dataplane->workers[0], plane->now_ms);
	CU_ASSERT_EQUAL(done, 0);
	worker_calls_free(calls);
	CU_ASSERT_EQUAL(done, RTE_DIM(made));
	/* nor does a worker that is served once more find anything */
	CU_ASSERT_PTR_NULL(atomic_load(&plane->dataplane->workers[1]->call));
	end();
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"each call is run once, in order, by its worker", test_order},
		{"who falls asleep is woken", test_wake},
		{"what was never run is given back", test_end},
	};

	unit_eal();
	return UNIT_RUN("worker_call", tests);
}
