/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * May a running sluiced go on with another configuration?
 *
 * Workers, tables, sockets and folders are made once: what they were made from, all of it in
 * [sluice], cannot change without a restart. It is refused as a whole rather than taken in part, so
 * that what is in force is always one file as it was written. All differences are told, each with
 * the place in the new file, the new value and the old one.
 */
#include "conf/loader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_common.h>

struct reload {
	const struct conf *running, *wanted;
	const struct report *report;
	unsigned differences;
};

/* A value as a message quotes it, with its NUL. Longer ones are compared whole and quoted cut. */
#define VALUE_SIZE 128

static void differs(struct reload *reload, unsigned line, const char *key, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void
differs(struct reload *reload, unsigned line, const char *key, const char *format, ...)
{
	char what[3 * VALUE_SIZE];
	char place[PLACE_SIZE];
	va_list arguments;

	reload->differences++;
	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	report_line(reload->report, "%s: %s: %s needs a restart of sluiced",
		conf_place(reload->wanted, line, place), key, what);
}

/*
 * Compare the value of a key. What stands nowhere in the new file is told at the header of its
 * section, or at the last line when that is gone too.
 */
static void
value_compare(struct reload *reload, enum section_kind kind, const char *name, enum key_id id,
	const char *running, const char *wanted)
{
	const struct section *section;
	unsigned line = reload->wanted->line_count;

	if (strcmp(running, wanted) == 0)
		return;
	section = section_find(reload->wanted, kind, name);
	if (section != NULL)
		line = section->key_line[id] != 0 ? section->key_line[id] : section->line;
	differs(reload, line, keys[id].name, "%.*s instead of %.*s", VALUE_SIZE - 1, wanted,
		VALUE_SIZE - 1, running);
}

static void
numbers_compare(struct reload *reload, enum key_id id, unsigned running, unsigned wanted)
{
	char old[VALUE_SIZE], new[VALUE_SIZE];

	snprintf(old, sizeof(old), "%u", running);
	snprintf(new, sizeof(new), "%u", wanted);
	value_compare(reload, SECTION_SLUICE, "", id, old, new);
}

static void
group_compare(struct reload *reload, enum key_id id, const struct conf_group *running,
	const struct conf_group *wanted)
{
	char old[VALUE_SIZE] = "none", new[VALUE_SIZE] = "none";

	if (running->set)
		snprintf(old, sizeof(old), "%u", running->id);
	if (wanted->set)
		snprintf(new, sizeof(new), "%u", wanted->id);
	value_compare(reload, SECTION_SLUICE, "", id, old, new);
}

static void
sluice_compare(struct reload *reload)
{
	const struct conf *running = reload->running, *wanted = reload->wanted;

	/* CPUs may have come and gone */
	if (!running->workers_automatic || !wanted->workers_automatic)
		numbers_compare(reload, KEY_SLUICE_WORKERS, running->workers, wanted->workers);
	value_compare(reload, SECTION_SLUICE, "", KEY_SLUICE_IDLE, idle_modes[running->idle],
		idle_modes[wanted->idle]);
	value_compare(reload, SECTION_SLUICE, "", KEY_SLUICE_SECCOMP,
		seccomp_modes[running->seccomp], seccomp_modes[wanted->seccomp]);
	numbers_compare(reload, KEY_SLUICE_FLOWS, running->flows, wanted->flows);
	numbers_compare(reload, KEY_SLUICE_PORTS, running->ports_max, wanted->ports_max);
	value_compare(reload, SECTION_SLUICE, "", KEY_SLUICE_SOCKET, running->socket_path,
		wanted->socket_path);
	value_compare(reload, SECTION_SLUICE, "", KEY_SLUICE_STATE_DIR, running->state_dir,
		wanted->state_dir);
	group_compare(reload, KEY_SLUICE_GROUP, &running->group, &wanted->group);
	group_compare(reload, KEY_SLUICE_LOOK_GROUP, &running->look_group, &wanted->look_group);
	value_compare(reload, SECTION_SLUICE, "", KEY_SLUICE_TELEMETRY,
		running->telemetry ? "yes" : "no", wanted->telemetry ? "yes" : "no");
}

/* Whom to follow is decided when sluiced starts. */
static void
sources_compare(struct reload *reload)
{
	const struct conf *running = reload->running, *wanted = reload->wanted;

	value_compare(reload, SECTION_QUBES, "", KEY_QUBES_QUBESDB,
		running->qubesdb_path != NULL ? running->qubesdb_path : "none",
		wanted->qubesdb_path != NULL ? wanted->qubesdb_path : "none");
	value_compare(reload, SECTION_QUBES, "", KEY_QUBES_QUBESDB_FORWARDS,
		running->qubesdb_forwards ? "yes" : "no", wanted->qubesdb_forwards ? "yes" : "no");
	value_compare(reload, SECTION_QUBES, "", KEY_QUBES_XENSTORE,
		running->xenstore ? "yes" : "no", wanted->xenstore ? "yes" : "no");
}

int
conf_reload_check(
	const struct conf *running, const struct conf *wanted, const struct report *report)
{
	struct reload reload = {.running = running, .wanted = wanted, .report = report};

	sluice_compare(&reload);
	sources_compare(&reload);
	return reload.differences == 0 ? 0 : -EBUSY;
}
