/* SPDX-License-Identifier: BSD-3-Clause */
/* Budgets: what is counted at once, what is counted per second, and several workers at it. */
#include "classifier/budget.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <string.h>

#include <rte_common.h>

#define THREADS 4

static void
test_table(void)
{
	struct limits limits;

	limits_defaults(&limits);
	for (unsigned i = 0; i < BUDGET_COUNT; i++) {
		CU_ASSERT(budgets[i].min >= 1 && budgets[i].min <= budgets[i].normal);
		CU_ASSERT(budgets[i].normal <= budgets[i].max);
		/* what a window can hold, twice as much for answers */
		CU_ASSERT(budgets[i].max <= UINT32_MAX / 4);
		CU_ASSERT(strlen(budgets[i].help) > 10);
		CU_ASSERT_EQUAL(limits.value[i], budgets[i].normal);
		for (unsigned j = 0; j < i; j++)
			CU_ASSERT(strcmp(budgets[i].name, budgets[j].name) != 0);
	}
	CU_ASSERT_STRING_EQUAL(budgets[BUDGET_HALF_OPEN].name, "half-open");
	CU_ASSERT_EQUAL(limits.value[BUDGET_FLOWS], 32768);
}

static void
test_at_once(void)
{
	struct account account = {0};

	for (unsigned i = 0; i < 5; i++) {
		CU_ASSERT_EQUAL(budget_used(&account, BUDGET_FLOWS), i);
		CU_ASSERT_TRUE(budget_take(&account, BUDGET_FLOWS, 5));
	}
	CU_ASSERT_FALSE(budget_take(&account, BUDGET_FLOWS, 5));
	CU_ASSERT_FALSE(budget_take(&account, BUDGET_FLOWS, 5));
	CU_ASSERT_EQUAL(budget_used(&account, BUDGET_FLOWS), 5);
	CU_ASSERT_EQUAL(atomic_load(&account.refused[BUDGET_FLOWS]), 2);
	/* Kinds do not know of each other. */
	CU_ASSERT_TRUE(budget_take(&account, BUDGET_PORTS, 1));
	CU_ASSERT_EQUAL(atomic_load(&account.refused[BUDGET_PORTS]), 0);
	budget_give(&account, BUDGET_FLOWS);
	CU_ASSERT_TRUE(budget_take(&account, BUDGET_FLOWS, 5));
	CU_ASSERT_FALSE(budget_take(&account, BUDGET_FLOWS, 5));
	/* A limit that is lowered only gives nothing more; one that is raised, at once. */
	CU_ASSERT_FALSE(budget_take(&account, BUDGET_FLOWS, 2));
	CU_ASSERT_EQUAL(budget_used(&account, BUDGET_FLOWS), 5);
	CU_ASSERT_TRUE(budget_take(&account, BUDGET_FLOWS, 6));
	for (unsigned i = 0; i < 5; i++)
		budget_give(&account, BUDGET_FLOWS);
	CU_ASSERT_EQUAL(budget_used(&account, BUDGET_FLOWS), 1);
	CU_ASSERT_EQUAL(budget_used(&account, BUDGET_PORTS), 1);
}

/* What all threads share. */
static struct account shared;
static atomic_uint held, most_held, taken_all, refused_all;
static uint32_t clock_ms;
static pthread_barrier_t all_there;

static void *
take_and_give(void *context)
{
	uint64_t state = (uintptr_t)context;
	unsigned mine = 0, taken = 0, refused = 0;

	pthread_barrier_wait(&all_there);
	for (unsigned i = 0; i < 1000000; i++) {
		state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
		if (mine == 0 || (state >> 40) % 2 == 0) {
			unsigned now, most;

			if (!budget_take(&shared, BUDGET_HALF_OPEN, 3)) {
				refused++;
				continue;
			}
			now = atomic_fetch_add(&held, 1) + 1;
			most = atomic_load(&most_held);
			while (now > most && !atomic_compare_exchange_weak(&most_held, &most, now))
				;
			mine++;
			taken++;
		} else {
			atomic_fetch_sub(&held, 1);
			budget_give(&shared, BUDGET_HALF_OPEN);
			mine--;
		}
	}
	for (; mine > 0; mine--) {
		atomic_fetch_sub(&held, 1);
		budget_give(&shared, BUDGET_HALF_OPEN);
	}
	atomic_fetch_add(&taken_all, taken);
	atomic_fetch_add(&refused_all, refused);
	return NULL;
}

#define TAKES 5000000

static void *
take_only(void *context)
{
	(void)context;
	pthread_barrier_wait(&all_there);
	for (unsigned i = 0; i < TAKES; i++)
		budget_take(&shared, BUDGET_FLOWS, UINT32_MAX);
	return NULL;
}

static void
run_threads(void *(*run)(void *))
{
	pthread_t threads[THREADS];

	memset(&shared, 0, sizeof(shared));
	atomic_store(&held, 0);
	atomic_store(&most_held, 0);
	atomic_store(&taken_all, 0);
	atomic_store(&refused_all, 0);
	pthread_barrier_init(&all_there, NULL, THREADS);
	for (uintptr_t i = 0; i < THREADS; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, run, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&all_there);
}

static void
test_at_once_together(void)
{
	run_threads(take_and_give);
	CU_ASSERT_EQUAL(atomic_load(&most_held), 3);
	CU_ASSERT_EQUAL(budget_used(&shared, BUDGET_HALF_OPEN), 0);
	CU_ASSERT(atomic_load(&refused_all) > 0);
	CU_ASSERT_EQUAL(atomic_load(&shared.refused[BUDGET_HALF_OPEN]), atomic_load(&refused_all));
	/* Where nobody is refused all of them write all the time: nothing gets lost. */
	run_threads(take_only);
	CU_ASSERT_EQUAL(budget_used(&shared, BUDGET_FLOWS), THREADS * TAKES);
}

/* Take until it is refused. @return how many were had */
static unsigned
drain(struct account *account, uint32_t limit, uint32_t now_ms)
{
	unsigned taken = 0;

	while (budget_take_now(account, BUDGET_NEW_FLOWS, limit, now_ms))
		taken++;
	return taken;
}

/* The times at which a clock of 32 bits can go wrong. */
static const uint32_t starts[] = {0, 1, 999, 1000, 1001, 500000, INT32_MAX, (uint32_t)INT32_MAX + 1,
	UINT32_MAX, UINT32_MAX - 1, UINT32_MAX - 499, UINT32_MAX - 998, UINT32_MAX - 999,
	UINT32_MAX - 1000, UINT32_MAX - 1001, UINT32_MAX - 1999, UINT32_MAX - 2000};

static void
test_window(void)
{
	for (unsigned i = 0; i < RTE_DIM(starts); i++) {
		struct account account = {0};
		uint32_t now = starts[i];

		/* A fresh account has its first window at once, whatever the time is. */
		CU_ASSERT_TRUE(budget_take_now(&account, BUDGET_NEW_FLOWS, 4, now));
		CU_ASSERT_EQUAL(drain(&account, 4, now + 300), 3);
		CU_ASSERT_EQUAL(drain(&account, 4, now), 0);
		CU_ASSERT_EQUAL(drain(&account, 4, now + 999), 0);
		CU_ASSERT_EQUAL(atomic_load(&account.refused[BUDGET_NEW_FLOWS]), 3);
		/* The second is over, and the next one begins with its first. */
		CU_ASSERT_EQUAL(drain(&account, 4, now + 1000), 4);
		CU_ASSERT_EQUAL(drain(&account, 4, now + 1999), 0);
		CU_ASSERT_EQUAL(drain(&account, 4, now + 2500), 4);
		CU_ASSERT_EQUAL(drain(&account, 4, now + 3499), 0);
		CU_ASSERT_EQUAL(drain(&account, 4, now + 3500), 4);
	}
}

static void
test_window_limit(void)
{
	struct account account = {0};

	/* The limit that comes with the first one holds for the second. */
	CU_ASSERT_TRUE(budget_take_now(&account, BUDGET_ANSWERS, 3, 100));
	CU_ASSERT_TRUE(budget_take_now(&account, BUDGET_ANSWERS, 1, 200));
	CU_ASSERT_TRUE(budget_take_now(&account, BUDGET_ANSWERS, 9, 300));
	CU_ASSERT_FALSE(budget_take_now(&account, BUDGET_ANSWERS, 9, 400));
	CU_ASSERT_EQUAL(atomic_load(&account.refused[BUDGET_ANSWERS]), 1);
	CU_ASSERT_TRUE(budget_take_now(&account, BUDGET_ANSWERS, 1, 1100));
	CU_ASSERT_FALSE(budget_take_now(&account, BUDGET_ANSWERS, 9, 1200));
	/* Up to the greatest limit there is, no bit of what is left gets lost. */
	for (unsigned bit = 0; bit < 31; bit++) {
		uint32_t now = 100000 * (bit + 1);

		CU_ASSERT_TRUE(
			budget_take_now(&account, BUDGET_NEW_FLOWS, (UINT32_C(1) << bit) + 1, now));
		CU_ASSERT_TRUE(budget_take_now(&account, BUDGET_NEW_FLOWS, 1, now));
	}
	CU_ASSERT_TRUE(budget_take_now(&account, BUDGET_NEW_FLOWS, INT32_MAX, 50));
	CU_ASSERT_EQUAL(drain(&account, 7, 100000), 7);
}

/* Days later, wherever the clock is: no window of the past is in the way. */
static void
test_window_stale(void)
{
	struct account account = {0};
	uint32_t now = 12345;

	CU_ASSERT_EQUAL(drain(&account, 4, now), 4);
	for (unsigned i = 0; i < 1000; i++) {
		now += 4000000;
		CU_ASSERT_EQUAL(drain(&account, 4, now), 4);
	}
}

/* Workers whose clocks are apart share one window and do not begin it anew. */
static void
test_window_skew(void)
{
	for (unsigned i = 0; i < RTE_DIM(starts); i++) {
		struct account account = {0};
		uint32_t now = starts[i];

		CU_ASSERT_TRUE(budget_take_now(&account, BUDGET_NEW_FLOWS, 4, now));
		CU_ASSERT_TRUE(budget_take_now(&account, BUDGET_NEW_FLOWS, 4, now - 1));
		CU_ASSERT_TRUE(budget_take_now(&account, BUDGET_NEW_FLOWS, 4, now - 900));
		CU_ASSERT_EQUAL(drain(&account, 4, now - 900), 1);
		CU_ASSERT_EQUAL(drain(&account, 4, now), 0);
		/* Nor does it last longer for it. */
		CU_ASSERT_EQUAL(drain(&account, 4, now + 1000), 4);
	}
}

#define WINDOW_TAKES 500000
#define WINDOW_LIMIT 1900000

/* All times of one burst of taking lie within one second of each other. */
static void *
take_in_a_second(void *context)
{
	uint64_t state = (uintptr_t)context;
	unsigned taken = 0;

	pthread_barrier_wait(&all_there);
	for (unsigned i = 0; i < WINDOW_TAKES; i++) {
		uint32_t apart;

		state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
		apart = (uint32_t)(state >> 33) % 500;
		taken += budget_take_now(&shared, BUDGET_NEW_FLOWS, WINDOW_LIMIT, clock_ms + apart);
	}
	atomic_fetch_add(&taken_all, taken);
	return NULL;
}

static void
test_window_together(void)
{
	for (unsigned i = 0; i < RTE_DIM(starts); i++) {
		clock_ms = starts[i];
		run_threads(take_in_a_second);
		CU_ASSERT_EQUAL(atomic_load(&taken_all), WINDOW_LIMIT);
		CU_ASSERT_EQUAL(atomic_load(&shared.refused[BUDGET_NEW_FLOWS]),
			THREADS * WINDOW_TAKES - WINDOW_LIMIT);
	}
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"the table", test_table},
		{"so many at once", test_at_once},
		{"so many at once, several threads", test_at_once_together},
		{"so many in a second, wherever the clock is", test_window},
		{"the first one brings the limit", test_window_limit},
		{"windows of long ago", test_window_stale},
		{"clocks that are apart", test_window_skew},
		{"so many in a second, several threads", test_window_together},
	};

	return UNIT_RUN("budget", tests);
}
