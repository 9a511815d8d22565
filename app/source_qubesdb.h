/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QubesDB as a source of what is in force: rules of qubes and settings that dom0 writes, and what
 * is written back there.
 *
 * A tree of rules counts when it is complete: dom0 writes rules one by one, and then a commit
 * marker. A counter in /qubes-firewall-handled/ is raised once a commit has been dealt with, in
 * force or refused. When the daemon of QubesDB is away, what it said stays in force; when it comes
 * back, all is read again.
 *
 * Control thread only.
 */
#pragma once

#include "app/daemon.h"

struct source_qubesdb;

/**
 * Begin to listen to the daemon that `daemon->file` names; without one nothing is done. Ports must
 * exist. @return 0 or -errno, reported
 */
int source_qubesdb_open(struct daemon *daemon, struct source_qubesdb **out);

/** NULL is fine. What was in force stays. */
void source_qubesdb_close(struct source_qubesdb *source);

/**
 * Let the event loop run until all that QubesDB has is in force, so that qubes find their rules
 * when they appear. Not if QubesDB cannot be reached, and not longer than @p most_ms. NULL is fine.
 */
void source_qubesdb_settle(struct source_qubesdb *source, unsigned most_ms);

/* One address of a name. */
struct published_address {
	enum family family;
	union address address;
};

/**
 * Publish what a name in a qube's rules has been resolved to, in /dns/. What cannot be written
 * there is left out, and logged once.
 * @param family, address of the qube
 * @param count 0: the name is not in its rules any more, or has no address
 */
void source_qubesdb_names_publish(struct daemon *daemon, enum family family,
	const union address *address, const char *host, const struct published_address *addresses,
	unsigned count);
