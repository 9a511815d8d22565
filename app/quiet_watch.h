/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Seeing to it that the kernel stays deaf on our interfaces while sluiced runs. Which ones those
 * are is known to app/quiet.h: ports come and go there by themselves.
 */
#pragma once

#include "app/daemon.h"

struct quiet_watch;

/**
 * Look at once, when the kernel says that something was changed, and every few seconds. Control
 * thread. What the kernel cannot tell is reported, and then only found by looking.
 * @return 0 or -ENOMEM
 */
int quiet_watch_create(
	struct daemon *daemon, const struct report *report, struct quiet_watch **out);

/** NULL is fine. */
void quiet_watch_free(struct quiet_watch *watch);
