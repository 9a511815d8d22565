/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loop that a worker runs on its lcore, and how it falls asleep.
 */
#pragma once

#include "app/dataplane.h"

struct loop;

/**
 * Start one loop per worker on the lcores after the main one.
 * @return 0 or -errno, reported
 */
int loop_start(struct dataplane *dataplane, const struct report *report, struct loop **out);

/** Stop all workers and wait until the last has sent its last frame. Frees @p loop. */
void loop_stop(struct loop *loop);
