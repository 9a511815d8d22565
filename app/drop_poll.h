/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looking at drops a few times a second, for everybody who wants to know of them: the method
 * `drops`, the log, and `drop` events.
 */
#pragma once

#include "app/daemon.h"
#include "app/drop_note.h"

struct drop_poll;

/** Look from now on. @return 0 or -ENOMEM */
int drop_poll_create(struct daemon *daemon, struct drop_poll **out);

/**
 * A second is over. Where nothing was dropped for a while, this is when it looks whether something
 * is again: an idle sluiced has one timer. NULL is fine.
 */
void drop_poll_second(struct drop_poll *poll);

/** NULL is fine. */
void drop_poll_free(struct drop_poll *poll);

/** The slot of a port is free: its counters begin anew. */
void drop_poll_forget(struct drop_poll *poll, uint16_t port);

/** Look now. @return the drops that were seen */
const struct drop_watch *drop_poll_now(struct drop_poll *poll);
