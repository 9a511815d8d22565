/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The clock of the workers: milliseconds from the TSC, of the time in which they work.
 *
 * A qube is paused, a laptop sleeps: hours later the TSC has gone on, or begun anew. Timers of
 * flows must not take that for silence, for nobody could speak meanwhile: so it is no time here. A
 * worker looks at the clock four times a second even when it sleeps, and a step that is much longer
 * than that, or back, is one in which nothing ran. The time goes on where it stopped.
 *
 * CLOCK_MONOTONIC is no help: it stands still while a kernel sleeps, but not while Xen pauses one.
 * Whether peers still know of a connection is theirs to say when it goes on.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include <rte_spinlock.h>

/* The longest step that is time. */
#define WORK_CLOCK_STEP_MS 5000

struct work_clock {
	uint64_t start_tsc;
	uint64_t ms_per_tsc; /* in units of 2^-64 */
	uint64_t step_tsc;
	rte_spinlock_t lock; /* whoever writes */
	_Atomic uint64_t lost_tsc;
	atomic_uint jumps; /* how many steps were not time */
};

/* What a worker remembers of it. */
struct work_clock_look {
	uint64_t last_tsc;
	unsigned jumps;
};

/** @param hz of the TSC, which is @p tsc now */
void work_clock_start(struct work_clock *clock, uint64_t tsc, uint64_t hz);

/** A worker begins to look. */
void work_clock_begin(struct work_clock *clock, struct work_clock_look *look, uint64_t tsc);

/** The time at @p tsc in ms modulo 2^32, for others than workers: right if nothing has jumped since
 *  a worker last looked. */
uint32_t work_clock_ms(const struct work_clock *clock, uint64_t tsc);

/** A jump that a worker has found, or that another one may have found before it. */
void work_clock_jumped(struct work_clock *clock, struct work_clock_look *look, uint64_t tsc);

/** The time at @p tsc for a worker, which looks often. */
static inline uint32_t
work_clock_now(struct work_clock *clock, struct work_clock_look *look, uint64_t tsc)
{
	/* modulo 2^64: a step back is a very long one */
	if (__builtin_expect(tsc - look->last_tsc > clock->step_tsc, 0))
		work_clock_jumped(clock, look, tsc);
	look->last_tsc = tsc;
	return work_clock_ms(clock, tsc);
}
