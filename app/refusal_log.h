/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What qubes were refused, in the log:
 *
 *	refused qube=work rule=work/0003 reason=rule proto=tcp source=10.137.0.16:40000
 *		destination=192.0.2.1:22 repeated=17
 *
 * on one line. `repeated` counts what has been refused likewise since the line before. A
 *destination has one line per REFUSAL_INTERVAL_S, and all of them together some lines per second; a
 *line with `suppressed` in place of a destination counts what had none.
 *
 * The log says where a qube was not let go, never where it was: what is dropped of a connection
 * that was accepted is not logged, and a refusal because of a limit bears no addresses.
 */
#pragma once

#include "app/drop_note.h"
#include "classifier/policy.h"

/* Between two lines about one qube, reason and destination. */
#define REFUSAL_INTERVAL_S 10
/* All lines together, per second, and so many at once. */
#define REFUSAL_LINES_PER_S 5
#define REFUSAL_BURST 20
/* Destinations that are remembered at once. */
#define REFUSAL_PLACES 256

struct refusal_log;

/** @param line called with every line */
struct refusal_log *refusal_log_create(
	unsigned port_count, void (*line)(void *context, const char *text), void *context);
void refusal_log_free(struct refusal_log *log);

/** Take what was dropped at a port for a reason. @param now_ms any clock that does not go back */
void refusal_log_take(struct refusal_log *log, const struct policy *policy, uint16_t port,
	enum reason reason, const struct drop_seen *seen, unsigned count, uint64_t missed,
	uint64_t now_ms);

/** Write the lines whose time has come. */
void refusal_log_tick(struct refusal_log *log, const struct policy *policy, uint64_t now_ms);
