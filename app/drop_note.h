/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last packets that were dropped, for each port and reason.
 *
 * A worker notes every drop in a small array of its own, over the oldest note there, which costs it
 * two or three lines of cache and no lock. The control thread reads along a few times a second: a
 * note has a sequence number that is odd while it is written, and a torn note is read again. So it
 * sees nearly every drop of a quiet port and some of a flood, and knows how many it has not seen.
 */
#pragma once

#include <stdatomic.h>

#include "app/packet_summary.h"

/* Notes per worker, port and reason; a power of two. */
#define DROP_NOTES 4

struct drop_note {
	_Atomic uint32_t sequence; /* twice the number of drops, counting this one; 0: none yet */
	uint32_t time_ms;          /* the worker's clock */
	struct packet_summary summary;
};

/* Of one port. */
struct drop_notes {
	struct drop_note note[REASON_COUNT][DROP_NOTES];
};

/**
 * Note that @p packet is dropped for its reason. Data path, one writer.
 * @param number how many were dropped at this port for that reason before
 */
static inline void
drop_note(struct drop_notes *notes, uint64_t number, const struct packet *packet, uint32_t now_ms)
{
	struct drop_note *note = &notes->note[packet->reason][number % DROP_NOTES];
	uint32_t sequence = (uint32_t)number * 2;

	atomic_store_explicit(&note->sequence, sequence + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	note->time_ms = now_ms;
	packet_summarize(&note->summary, packet, VERDICT_DROP);
	atomic_store_explicit(&note->sequence, sequence + 2, memory_order_release);
}

/**
 * Copy a note as it is when nobody writes it. Any thread.
 * @return how many drops there had been with this one, modulo 2^31; 0: none, or its writer did not
 *	stand still for a moment
 */
uint32_t drop_note_read(
	const struct drop_note *note, struct packet_summary *summary, uint32_t *time_ms);

struct dataplane;
struct drop_watch;

/* A drop that was seen. */
struct drop_seen {
	uint64_t time_ns; /* since the epoch */
	struct packet_summary summary;
};

/**
 * What drop_watch_poll has found at one port for one reason.
 * @param seen oldest first
 * @param missed how many more there were, since the last time
 */
typedef void (*drop_watch_fn)(void *context, uint16_t port, enum reason reason,
	const struct drop_seen *seen, unsigned count, uint64_t missed);

/** Keep the last drops of a data plane; drops from before are not new. Control thread. */
struct drop_watch *drop_watch_create(struct dataplane *dataplane);
void drop_watch_free(struct drop_watch *watch);

/**
 * Look what has been dropped since the last time.
 * @param now_ms the workers' clock
 * @param now_ns unix time
 * @param found called for each port and reason with new drops; NULL: nobody
 */
void drop_watch_poll(struct drop_watch *watch, uint32_t now_ms, uint64_t now_ns,
	drop_watch_fn found, void *context);

/** The slot of a port is free: its counters and notes begin anew. */
void drop_watch_forget(struct drop_watch *watch, uint16_t port);

/** The last drops of a port for a reason, oldest first, as far as they were seen. @return how many
 */
unsigned drop_watch_last(const struct drop_watch *watch, uint16_t port, enum reason reason,
	struct drop_seen last[DROP_NOTES]);
