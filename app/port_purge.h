/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a worker has of ports that are gone, and of qubes that are gone or have other addresses: a
 * step of ending it. For app/port_change.h.
 */
#pragma once

#include "app/worker.h"

/**
 * End a bounded part of it. The policy without them has been published before, so nothing is added
 * meanwhile. Flows are ended and not reset: nobody is left there to tell, and the far end would be
 * told on behalf of a machine that may come back in a moment.
 * @param gone PORTS_MAX of them: which ports, by index
 * @param cursor 0 begins; where to go on
 * @return false when nothing is left
 */
bool port_purge(struct worker *worker, const bool *gone, uint32_t *cursor);
