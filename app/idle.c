/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/idle.h"

#include <rte_common.h>
#include <rte_pause.h>

/* Between two looks, at most; one takes 10 to 150 cycles, depending on the CPU. */
#define PAUSES_MOST 16

void
idle_init(struct idle *idle, enum idle_mode mode, bool naps, uint64_t tsc_hz)
{
	*idle = (struct idle){
		.mode = mode,
		.naps = naps,
		.us_tsc = RTE_MAX(tsc_hz / 1000000, UINT64_C(1)),
		.look_us = LOOK_LEAST_US,
		.short_us = SHORT_LEAST_US,
	};
}

uint32_t
idle_next(struct idle *idle, uint64_t now_tsc)
{
	uint32_t nap_us;

	if (!idle->quiet) {
		idle->quiet = true;
		idle->slept = false;
		idle->quiet_tsc = now_tsc;
		idle->pauses = 1;
		idle->nap_us = NAP_LEAST_US;
	}
	if (idle->mode == IDLE_SPIN || now_tsc - idle->quiet_tsc < idle->look_us * idle->us_tsc) {
		for (uint32_t i = 0; i < idle->pauses; i++)
			rte_pause();
		idle->pauses = RTE_MIN(2 * idle->pauses, (uint32_t)PAUSES_MOST);
		return 0;
	}
	idle->slept = true;
	if (!idle->naps)
		return SLEEP_MOST_US;
	nap_us = idle->nap_us;
	idle->nap_us = RTE_MIN(2 * nap_us, (uint32_t)NAP_MOST_US);
	return nap_us;
}

/* A frame came soon after the look was over. */
static void
look_longer(struct idle *idle, uint64_t now_tsc)
{
	if (now_tsc < idle->short_tsc)
		return;
	if (idle->look_us < LOOK_MOST_US) {
		idle->look_us = RTE_MIN(2 * idle->look_us, (uint32_t)LOOK_MOST_US);
		return;
	}
	if (++idle->vain < LOOKS_IN_VAIN)
		return;
	idle->vain = 0;
	idle->look_us = LOOK_LEAST_US;
	idle->short_tsc = now_tsc + idle->short_us * idle->us_tsc;
	idle->short_us = RTE_MIN(2 * idle->short_us, (uint32_t)SHORT_MOST_US);
}

void
idle_learn(struct idle *idle, uint64_t now_tsc)
{
	uint64_t waited_us = (now_tsc - idle->quiet_tsc) / idle->us_tsc;

	idle->quiet = false;
	if (!idle->slept) {
		/* A look that is longer than the shortest was worth it. */
		if (waited_us >= LOOK_LEAST_US) {
			idle->vain = 0;
			idle->short_us = RTE_MAX(idle->short_us / 2, (uint32_t)SHORT_LEAST_US);
		}
		return;
	}
	if (waited_us < idle->look_us + LOOK_MOST_US)
		look_longer(idle, now_tsc);
	else
		idle->look_us = RTE_MAX(idle->look_us / 2, (uint32_t)LOOK_LEAST_US);
}
