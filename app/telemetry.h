/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands under /sluice/ of DPDK's own telemetry socket, for whoever watches DPDK programs
 * already. There is one only with `[sluice] telemetry = yes`, in a directory of root's alone.
 *
 * They run in a thread of DPDK's and cannot be taken back: what they read is held by a lock, which
 * the control thread takes when it takes something away.
 */
#pragma once

#include "app/daemon.h"

/** Register the commands; they answer for @p daemon from now on. @return 0 or -errno */
int telemetry_open(const struct daemon *daemon);

/** They answer nothing from now on; before anything of the daemon is freed. */
void telemetry_close(void);

/** While held, no command reads a policy: around everything that frees one. */
void telemetry_hold(bool hold);
