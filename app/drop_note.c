/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading the notes. The watch keeps what it has seen with the time of day, because the workers'
 * clock comes round after 49 days and a note may be older.
 */
#include "app/drop_note.h"

#include <stdlib.h>

#include "app/worker.h"

/* A writer is done within nanoseconds, unless it lost its CPU; the next poll is soon enough then.
 */
#define READ_TRIES 8
#define MS_NS UINT64_C(1000000)

/* Of one port and reason. */
struct drop_kept {
	unsigned count;
	struct drop_seen last[DROP_NOTES]; /* oldest first */
};

struct drop_watch {
	struct dataplane *dataplane;
	/* drops that are not new, by worker, port and reason */
	uint64_t *known;
	/* by port and reason; NULL where there was none */
	struct drop_kept **kept;
};

uint32_t
drop_note_read(const struct drop_note *note, struct packet_summary *summary, uint32_t *time_ms)
{
	for (unsigned i = 0; i < READ_TRIES; i++) {
		uint32_t before = atomic_load_explicit(&note->sequence, memory_order_acquire);

		if (before == 0)
			return 0;
		if (before % 2 != 0)
			continue;
		*time_ms = note->time_ms;
		*summary = note->summary;
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&note->sequence, memory_order_relaxed) == before)
			return before / 2;
	}
	return 0;
}

struct drop_watch *
drop_watch_create(struct dataplane *dataplane)
{
	struct drop_watch *watch = calloc(1, sizeof(*watch));
	size_t places = (size_t)dataplane->port_count * REASON_COUNT;

	if (watch == NULL)
		return NULL;
	watch->dataplane = dataplane;
	watch->known = calloc(dataplane->worker_count * places, sizeof(watch->known[0]));
	watch->kept = calloc(places, sizeof(watch->kept[0]));
	if (watch->known == NULL || watch->kept == NULL) {
		drop_watch_free(watch);
		return NULL;
	}
	return watch;
}

void
drop_watch_free(struct drop_watch *watch)
{
	if (watch == NULL)
		return;
	for (size_t i = 0;
		watch->kept != NULL && i < (size_t)watch->dataplane->port_count * REASON_COUNT; i++)
		free(watch->kept[i]);
	free(watch->kept);
	free(watch->known);
	free(watch);
}

/* Put a drop among those that are kept, by its time. */
static void
seen_insert(struct drop_seen *last, unsigned *count, unsigned room, const struct drop_seen *seen)
{
	unsigned place = *count;

	while (place > 0 && last[place - 1].time_ns > seen->time_ns)
		place--;
	if (*count == room) {
		if (place == 0)
			return;
		memmove(last, last + 1, (place - 1) * sizeof(last[0]));
		last[place - 1] = *seen;
		return;
	}
	memmove(last + place + 1, last + place, (*count - place) * sizeof(last[0]));
	last[place] = *seen;
	(*count)++;
}

/* What one worker has dropped. @return how many of them were not seen */
static uint64_t
worker_poll(struct drop_watch *watch, unsigned index, uint16_t port, enum reason reason,
	uint32_t now_ms, uint64_t now_ns, struct drop_seen *seen, unsigned *count)
{
	const struct worker *worker = watch->dataplane->workers[index];
	unsigned ports = watch->dataplane->port_count;
	uint64_t *known = &watch->known[((size_t)index * ports + port) * REASON_COUNT + reason];
	uint64_t total = __atomic_load_n(&worker->ports[port].drops[reason], __ATOMIC_RELAXED);
	uint64_t newest = total;
	const struct drop_notes *notes = worker->notes[port];
	unsigned found = 0;

	if (likely(total == *known) || notes == NULL)
		return 0;
	for (unsigned i = 0; i < DROP_NOTES; i++) {
		struct drop_seen one;
		uint32_t time_ms = 0;
		uint32_t number = drop_note_read(&notes->note[reason][i], &one.summary, &time_ms);
		/* how far it is behind what is known, modulo 2^31 */
		uint32_t ahead = (number - (uint32_t)*known) & (UINT32_MAX >> 1);

		if (number == 0 || ahead == 0 || ahead > UINT32_MAX >> 2)
			continue;
		newest = RTE_MAX(newest, *known + ahead);
		/* its own worker may be a moment ahead of our clock */
		one.time_ns = now_ns;
		if (time_after_ms(now_ms, time_ms))
			one.time_ns -= (now_ms - time_ms) * MS_NS;
		seen_insert(seen, count, DROP_NOTES * WORKERS_MAX, &one);
		found++;
	}
	total = newest - *known;
	*known = newest;
	return total - found;
}

static void
keep(struct drop_watch *watch, uint16_t port, enum reason reason, const struct drop_seen *seen,
	unsigned count)
{
	struct drop_kept **place = &watch->kept[(size_t)port * REASON_COUNT + reason];

	if (*place == NULL)
		*place = calloc(1, sizeof(**place));
	for (unsigned i = 0; *place != NULL && i < count; i++)
		seen_insert((*place)->last, &(*place)->count, DROP_NOTES, &seen[i]);
}

void
drop_watch_poll(struct drop_watch *watch, uint32_t now_ms, uint64_t now_ns, drop_watch_fn found,
	void *context)
{
	struct drop_seen seen[DROP_NOTES * WORKERS_MAX];

	for (unsigned port = 0; port < watch->dataplane->port_count; port++) {
		/* a slot keeps what it counted until the next port gets it: nobody's by then */
		if (watch->dataplane->ports[port].state == PORT_FREE)
			continue;
		for (unsigned reason = REASON_NONE + 1; reason < REASON_COUNT; reason++) {
			unsigned count = 0;
			uint64_t missed = 0;

			for (unsigned i = 0; i < watch->dataplane->worker_count; i++)
				missed += worker_poll(watch, i, (uint16_t)port, reason, now_ms,
					now_ns, seen, &count);
			if (count == 0 && missed == 0)
				continue;
			keep(watch, (uint16_t)port, reason, seen, count);
			if (found != NULL)
				found(context, (uint16_t)port, reason, seen, count, missed);
		}
	}
}

void
drop_watch_forget(struct drop_watch *watch, uint16_t port)
{
	for (unsigned reason = 0; reason < REASON_COUNT; reason++) {
		struct drop_kept **place = &watch->kept[(size_t)port * REASON_COUNT + reason];

		free(*place);
		*place = NULL;
		for (unsigned i = 0; i < watch->dataplane->worker_count; i++)
			watch->known[((size_t)i * watch->dataplane->port_count + port) *
					     REASON_COUNT +
				     reason] = 0;
	}
}

unsigned
drop_watch_last(const struct drop_watch *watch, uint16_t port, enum reason reason,
	struct drop_seen last[DROP_NOTES])
{
	const struct drop_kept *kept = watch->kept[(size_t)port * REASON_COUNT + reason];

	if (kept == NULL)
		return 0;
	memcpy(last, kept->last, kept->count * sizeof(last[0]));
	return kept->count;
}
