/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loop that a worker runs on its lcore, and how it falls asleep. When, says app/idle.h.
 */
#pragma once

#include "app/dataplane.h"

struct loop;

/**
 * Start one loop per worker on the lcores after the main one.
 * @return 0 or -errno, reported
 */
int loop_start(struct dataplane *dataplane, enum idle_mode idle, const struct report *report,
	struct loop **out);

/**
 * Have a worker receive from @p port, or do so no longer; either may be so already. Called in its
 * own thread, between two rounds: by a worker_call.
 */
void loop_port_take(struct worker *worker, struct port *port);
void loop_port_leave(struct worker *worker, const struct port *port);

/** The clock of the workers, milliseconds since they were started, modulo 2^32. */
uint32_t loop_now(const struct loop *loop);

/** Stop all workers and wait until the last has sent its last frame. Frees @p loop. */
void loop_stop(struct loop *loop);
