/* SPDX-License-Identifier: BSD-3-Clause */
/* When an idle worker looks again: a clock that the tests turn, and arrivals of every pattern. */
#include "app/idle.h"
#include "tests/unit/unit.h"

#define TSC_HZ UINT64_C(2000000000)
#define US_TSC (TSC_HZ / 1000000)
/* What a round without packets takes. */
#define ROUND_TSC (US_TSC / 5)

/* A worker, and what became of it. */
struct world {
	struct idle idle;
	uint64_t now_tsc;
	uint64_t looked_tsc;   /* spent looking */
	unsigned sleeps;       /* how often it slept */
	uint64_t overslept_us; /* longest time from an arrival until it looked */
};

static struct world
world(enum idle_mode mode, bool naps)
{
	struct world world = {.now_tsc = 1000 * TSC_HZ};

	idle_init(&world.idle, mode, naps, TSC_HZ);
	return world;
}

/* A frame comes in @p gap_us; @p after_sleep: but not before the worker has fallen asleep. */
static void
arrival(struct world *world, uint64_t gap_us, bool after_sleep)
{
	uint64_t due_tsc = world->now_tsc + gap_us * US_TSC;
	bool slept = false;

	for (;;) {
		uint32_t sleep_us;

		if (world->now_tsc >= due_tsc && (!after_sleep || slept))
			break;
		sleep_us = idle_next(&world->idle, world->now_tsc);
		if (sleep_us == 0) {
			world->now_tsc += ROUND_TSC;
			world->looked_tsc += ROUND_TSC;
			continue;
		}
		world->sleeps++;
		if (after_sleep && !slept)
			due_tsc = world->now_tsc + gap_us * US_TSC;
		slept = true;
		if (world->idle.naps || due_tsc > world->now_tsc + sleep_us * US_TSC)
			world->now_tsc += sleep_us * US_TSC;
		else
			world->now_tsc = due_tsc;
	}
	if ((world->now_tsc - due_tsc) / US_TSC > world->overslept_us)
		world->overslept_us = (world->now_tsc - due_tsc) / US_TSC;
	idle_found(&world->idle, world->now_tsc);
}

static uint64_t
looked_us(const struct world *world)
{
	return world->looked_tsc / US_TSC;
}

/* A frame now and then costs the shortest look each, and one sleep. */
static void
test_quiet(void)
{
	struct world quiet = world(IDLE_ADAPTIVE, false);

	for (unsigned i = 0; i < 1000; i++)
		arrival(&quiet, 100000, false);
	CU_ASSERT_EQUAL(quiet.sleeps, 1000);
	CU_ASSERT(looked_us(&quiet) <= 1000 * (LOOK_LEAST_US + 1));
	CU_ASSERT_EQUAL(quiet.overslept_us, 0);
}

/* In silence it sleeps as long as it may, without looking in between. */
static void
test_silence(void)
{
	struct world silent = world(IDLE_ADAPTIVE, false);

	arrival(&silent, UINT64_C(3600) * 1000 * 1000, false);
	CU_ASSERT_EQUAL(silent.sleeps, 3600 * 1000 / (SLEEP_MOST_US / 1000));
	CU_ASSERT(looked_us(&silent) <= LOOK_LEAST_US + 1);
}

/* A train of frames is looked through, once that is learnt. */
static void
test_train(void)
{
	struct world train = world(IDLE_ADAPTIVE, false);
	unsigned learnt;

	for (unsigned i = 0; i < 20; i++)
		arrival(&train, 30, false);
	learnt = train.sleeps;
	CU_ASSERT(learnt <= 5);
	for (unsigned i = 0; i < 10000; i++)
		arrival(&train, 30, false);
	CU_ASSERT_EQUAL(train.sleeps, learnt);
	/* and forgotten when there are no more trains */
	for (unsigned i = 0; i < 10; i++)
		arrival(&train, 100000, false);
	CU_ASSERT_EQUAL(train.idle.look_us, LOOK_LEAST_US);
}

/* Looks are never longer than is worth it: frames further apart find it asleep. */
static void
test_sparse(void)
{
	struct world sparse = world(IDLE_ADAPTIVE, false);

	for (unsigned i = 0; i < 10000; i++)
		arrival(&sparse, 3 * LOOK_MOST_US, false);
	CU_ASSERT_EQUAL(sparse.sleeps, 10000);
	CU_ASSERT(looked_us(&sparse) <= 10000 * (LOOK_LEAST_US + 1));
}

/* Where frames come because it fell asleep, looking longer is given up. */
static void
test_shared_core(void)
{
	struct world shared = world(IDLE_ADAPTIVE, false);
	uint64_t begin_us;

	for (unsigned i = 0; i < 100000; i++)
		arrival(&shared, 5, true);
	/* nine microseconds each at least: four of looking, five until it comes */
	CU_ASSERT_EQUAL(shared.sleeps, 100000);
	CU_ASSERT(looked_us(&shared) <= 100000 * (LOOK_LEAST_US + 1) * 11 / 10);
	/* until it is worth it: the bar gets shorter again */
	shared.now_tsc += SHORT_MOST_US * US_TSC;
	begin_us = looked_us(&shared);
	for (unsigned i = 0; i < 1000; i++)
		arrival(&shared, 30, false);
	CU_ASSERT(looked_us(&shared) - begin_us > 1000 * 25);
	CU_ASSERT_EQUAL(shared.idle.short_us, SHORT_LEAST_US);
}

/* A port that must be polled is looked at every NAP_MOST_US at the latest. */
static void
test_naps(void)
{
	struct world naps = world(IDLE_ADAPTIVE, true);

	arrival(&naps, 1000000, false);
	CU_ASSERT(naps.sleeps <= 1000000 / NAP_MOST_US + 4);
	CU_ASSERT(looked_us(&naps) <= LOOK_LEAST_US + 1);
	for (unsigned i = 0; i < 1000; i++)
		arrival(&naps, 10 * i, false);
	CU_ASSERT(naps.overslept_us < NAP_MOST_US);
	/* naps begin short again */
	CU_ASSERT_FALSE(naps.idle.quiet);
	naps.idle.look_us = 0;
	CU_ASSERT_EQUAL(idle_next(&naps.idle, naps.now_tsc), NAP_LEAST_US);
}

static void
test_spin(void)
{
	struct world spinning = world(IDLE_SPIN, true);

	for (unsigned i = 0; i < 100; i++)
		arrival(&spinning, 1000, false);
	CU_ASSERT_EQUAL(spinning.sleeps, 0);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"a frame now and then", test_quiet},
		{"silence", test_silence},
		{"a train of frames", test_train},
		{"frames too far apart to wait for", test_sparse},
		{"who sends needs our core", test_shared_core},
		{"a port that must be polled", test_naps},
		{"spin never sleeps", test_spin},
	};

	return UNIT_RUN("idle", tests);
}
