/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When a worker that found nothing looks again.
 *
 * It looks at once for a short while, because packets come in trains and falling asleep in the
 * middle of one costs more than looking. Then it sleeps until the kernel or a device wakes it; a
 * port that cannot wake it is looked at between naps, which grow to NAP_MOST_US.
 *
 * How long to look is learnt from what happens, as KVM does for halted guests: when a frame comes
 * soon after the worker fell asleep, it looks longer the next time, since then it would have seen
 * it; when none comes for long, less long. Where the worker has the core of the program that it
 * waits for, frames come *because* it fell asleep, however long it looked before. So after a few of
 * the longest looks in vain it keeps to the shortest for a time, which doubles when that happens
 * again.
 *
 * One worker's own. The clock is passed in, in TSC cycles; nothing here asks the system.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

/* How long to look at least and at most before sleeping. */
#define LOOK_LEAST_US 4
#define LOOK_MOST_US 48
/* Naps where a port must be polled; each costs a timer and two switches, 3 to 25 us of CPU. */
#define NAP_LEAST_US 6
#define NAP_MOST_US 80
/* No sleep is longer. */
#define SLEEP_MOST_US (10 * 1000 * 1000)
/* Longest looks in vain, one after the other, before there are no long ones for a time of: */
#define LOOKS_IN_VAIN 4
#define SHORT_LEAST_US (10 * 1000)
#define SHORT_MOST_US (10 * 1000 * 1000)

struct idle {
	/* set once */
	enum idle_mode mode;
	bool naps; /* some port must be polled */
	uint64_t us_tsc;
	/* since the last frame */
	bool quiet, slept;
	uint64_t quiet_tsc; /* since when */
	uint32_t pauses;    /* before the next look */
	uint32_t nap_us;
	/* learnt */
	uint32_t look_us;
	uint32_t vain;
	uint32_t short_us;  /* how long to keep to short looks, next time */
	uint64_t short_tsc; /* until then */
};

/**
 * @param naps whether a port must be polled
 * @param tsc_hz of the clock that is passed in later
 */
void idle_init(struct idle *idle, enum idle_mode mode, bool naps, uint64_t tsc_hz);

/**
 * A round found nothing.
 * @return 0 to look again now, a moment's pause being over; else how many us to sleep at most
 */
uint32_t idle_next(struct idle *idle, uint64_t now_tsc);

/* A round found something after rounds that did not. */
void idle_learn(struct idle *idle, uint64_t now_tsc);

/** A round found something. */
static inline void
idle_found(struct idle *idle, uint64_t now_tsc)
{
	if (idle->quiet)
		idle_learn(idle, now_tsc);
}
