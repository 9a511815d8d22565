/* SPDX-License-Identifier: BSD-3-Clause */
/* The clock of the workers, on machines that sleep. */
#include "app/work_clock.h"
#include "tests/unit/unit.h"

#define HZ UINT64_C(2600000000)
#define START UINT64_C(0xfffffffff0000000) /* soon to wrap */
#define SECONDS(count) ((uint64_t)((double)HZ * (count)))

static struct work_clock clock_of;
static struct work_clock_look one, two;

static void
begin(void)
{
	work_clock_start(&clock_of, START, HZ);
	work_clock_begin(&clock_of, &one, START);
	work_clock_begin(&clock_of, &two, START);
}

static uint32_t
at(struct work_clock_look *look, double seconds)
{
	return work_clock_now(&clock_of, look, START + SECONDS(seconds));
}

static bool
is_near(uint32_t ms, uint32_t wanted)
{
	if (ms + 1 < wanted || ms > wanted + 1)
		printf("\n    %u instead of %u ms\n", ms, wanted);
	return ms + 1 >= wanted && ms <= wanted + 1;
}

static void
test_time(void)
{
	begin();
	for (unsigned i = 1; i <= 1000; i++)
		CU_ASSERT(is_near(at(&one, i * 4.9), i * 4900));
	CU_ASSERT_EQUAL(atomic_load(&clock_of.jumps), 0);
	CU_ASSERT(is_near(work_clock_ms(&clock_of, START + SECONDS(4900)), 4900000));
}

/* A night is no time, for no worker, whoever wakes up first. */
static void
test_sleep(void)
{
	begin();
	for (unsigned i = 1; i <= 10; i++) {
		(void)at(&one, i);
		(void)at(&two, i + 0.1);
	}
	CU_ASSERT(is_near(at(&two, 30010), 10100));
	CU_ASSERT(is_near(at(&one, 30010.25), 10350));
	CU_ASSERT(is_near(at(&two, 30011), 11100));
	CU_ASSERT_EQUAL(atomic_load(&clock_of.jumps), 1);
	/* and another one */
	CU_ASSERT(is_near(at(&one, 30011), 11100));
	CU_ASSERT(is_near(at(&one, 90000), 11100));
	CU_ASSERT(is_near(at(&two, 90001), 12100));
	CU_ASSERT_EQUAL(atomic_load(&clock_of.jumps), 2);
}

/* The TSC begins anew. */
static void
test_back(void)
{
	begin();
	for (unsigned i = 1; i <= 10; i++) {
		(void)at(&one, i);
		(void)at(&two, i);
	}
	CU_ASSERT(is_near(work_clock_now(&clock_of, &one, 12345), 10000));
	CU_ASSERT(is_near(work_clock_now(&clock_of, &two, 12345 + HZ / 4), 10250));
	CU_ASSERT(is_near(work_clock_now(&clock_of, &one, 12345 + HZ), 11000));
	CU_ASSERT_EQUAL(atomic_load(&clock_of.jumps), 1);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"time passes", test_time},
		{"sleep is no time", test_sleep},
		{"the TSC goes back", test_back},
	};

	return UNIT_RUN("work_clock", tests);
}
