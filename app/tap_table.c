/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each change makes a new set and has every worker install it by a call of its own. What changes
 * meanwhile waits until the last of them has: then the set before, and the taps that are not in the
 * new one, are nobody's any more.
 */
#include "app/tap_table.h"

#include <errno.h>
#include <stdlib.h>

#include "app/worker_call.h"

struct tap_slot {
	struct tap *tap;
	bool ended; /* goes with the next set */
	bool known; /* is in the set that is installed, or being installed */
};

struct tap_table {
	struct daemon *daemon;
	struct tap_slot slots[TAPS_MAX];
	struct tap_set *installed, *coming; /* NULL: no taps */
	unsigned waiting;                   /* for so many workers */
	bool again;                         /* something has changed meanwhile */
	struct worker_call *calls;          /* by worker */
};

static void install(struct worker *worker, void *context);
static void installed(void *context);

static void
change(struct tap_table *table)
{
	unsigned workers = table->daemon->dataplane->worker_count;
	bool any = false;

	if (table->waiting > 0) {
		table->again = true;
		return;
	}
	table->again = false;
	table->coming = calloc(1, sizeof(*table->coming));
	for (unsigned i = 0; i < TAPS_MAX; i++) {
		struct tap_slot *slot = &table->slots[i];

		slot->known = slot->tap != NULL && !slot->ended && table->coming != NULL;
		if (slot->known)
			table->coming->tap[i] = slot->tap;
		any = any || slot->known;
	}
	if (!any) {
		free(table->coming);
		table->coming = NULL;
	}
	table->waiting = workers;
	for (unsigned i = 0; i < workers; i++) {
		table->calls[i] =
			(struct worker_call){.run = install, .done = installed, .context = table};
		worker_call(table->daemon->calls, i, &table->calls[i]);
	}
}

/* In the worker's thread. */
static void
install(struct worker *worker, void *context)
{
	const struct tap_table *table = context;

	tap_install(worker, table->coming);
}

static void
installed(void *context)
{
	struct tap_table *table = context;

	if (--table->waiting > 0)
		return;
	free(table->installed);
	table->installed = table->coming;
	table->coming = NULL;
	for (unsigned i = 0; i < TAPS_MAX; i++) {
		struct tap_slot *slot = &table->slots[i];

		if (slot->ended && !slot->known) {
			tap_free(slot->tap);
			*slot = (struct tap_slot){0};
		} else if (slot->known && !slot->ended) {
			tap_receive_from_now(slot->tap, true);
		}
	}
	if (table->again)
		change(table);
}

int
tap_table_begin(struct tap_table *table, const struct tap_options *options, struct tap **out)
{
	unsigned place = 0;
	int error;

	while (place < TAPS_MAX && table->slots[place].tap != NULL)
		place++;
	if (place == TAPS_MAX)
		return -EBUSY;
	error = tap_create(place, options, out);
	if (error != 0)
		return error;
	table->slots[place] = (struct tap_slot){.tap = *out};
	change(table);
	return 0;
}

void
tap_table_end(struct tap_table *table, struct tap *tap)
{
	tap_receive_from_now(tap, false);
	for (unsigned i = 0; i < TAPS_MAX; i++)
		if (table->slots[i].tap == tap)
			table->slots[i].ended = true;
	change(table);
}

int
tap_table_create(struct daemon *daemon, struct tap_table **out)
{
	struct tap_table *table = calloc(1, sizeof(*table));

	if (table == NULL)
		return -ENOMEM;
	table->daemon = daemon;
	table->calls = calloc(daemon->dataplane->worker_count, sizeof(table->calls[0]));
	if (table->calls == NULL) {
		free(table);
		return -ENOMEM;
	}
	*out = table;
	return 0;
}

void
tap_table_free(struct tap_table *table)
{
	if (table == NULL)
		return;
	/* What is still under way ends with the workers, without taps. */
	for (unsigned i = 0; i < table->daemon->dataplane->worker_count; i++)
		tap_install(table->daemon->dataplane->workers[i], NULL);
	for (unsigned i = 0; i < TAPS_MAX; i++)
		tap_free(table->slots[i].tap);
	free(table->installed);
	free(table->coming);
	free(table->calls);
	free(table);
}
