/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/work_clock.h"

void
work_clock_start(struct work_clock *clock, uint64_t tsc, uint64_t hz)
{
	clock->start_tsc = tsc;
	clock->ms_per_tsc = (uint64_t)(((unsigned __int128)1000 << 64) / hz);
	clock->step_tsc = hz * WORK_CLOCK_STEP_MS / 1000;
	rte_spinlock_init(&clock->lock);
	atomic_init(&clock->lost_tsc, 0);
	atomic_init(&clock->jumps, 0);
}

void
work_clock_begin(struct work_clock *clock, struct work_clock_look *look, uint64_t tsc)
{
	look->last_tsc = tsc;
	look->jumps = atomic_load(&clock->jumps);
}

uint32_t
work_clock_ms(const struct work_clock *clock, uint64_t tsc)
{
	unsigned __int128 elapsed = tsc - clock->start_tsc -
				    atomic_load_explicit(&clock->lost_tsc, memory_order_relaxed);

	return (uint32_t)((elapsed * clock->ms_per_tsc) >> 64);
}

void
work_clock_jumped(struct work_clock *clock, struct work_clock_look *look, uint64_t tsc)
{
	rte_spinlock_lock(&clock->lock);
	/* If another worker was here since the last look, it has counted this very jump. */
	if (look->jumps == atomic_load(&clock->jumps)) {
		atomic_fetch_add(&clock->lost_tsc, tsc - look->last_tsc);
		atomic_fetch_add(&clock->jumps, 1);
	}
	look->jumps = atomic_load(&clock->jumps);
	rte_spinlock_unlock(&clock->lock);
}
