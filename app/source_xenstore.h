/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Vifs come and go as xenstore says: `xenstore = yes` in [qubes].
 *
 * A vif is brought up in this order, and taken down in the reverse one:
 *
 *	xenstore has all of it, netback waits, and its interface exists
 *	-> it is put into `live`, and daemon_apply opens a port on the interface: deaf to the
 *kernel, address and MAC guard in force before the first frame is taken
 *	-> the link is up -> `hotplug-status=connected`, and netback lets the guest connect
 *
 * What fails is written as `hotplug-error` and `hotplug-status=error`, and tried again when
 * something of the vif changes.
 */
#pragma once

#include "app/daemon.h"

struct source_xenstore;

/**
 * Follow xenstore from now on; neither xenstored nor a vif need be there.
 * @return 0, or -errno, reported
 */
int source_xenstore_open(
	struct daemon *daemon, const struct report *report, struct source_xenstore **out);

/**
 * Have the event loop run until the vifs that are there already are served, but no longer than
 * @p most_ms: before flows of a former life are taken up, whose qubes they are. NULL is fine.
 */
void source_xenstore_settle(struct source_xenstore *source, unsigned most_ms);

/** What is attached stays as it is. NULL is fine. */
void source_xenstore_close(struct source_xenstore *source);
