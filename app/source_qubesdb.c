/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QubesDB as a source: its connection, its settings, and how what was read comes into force.
 *
 *	connected -> watches -> everything read -> in force -> what changes: read -> in force ...
 *
 * The watches come first, so that nothing is missed between them and the reading. Everything that
 *was read comes into force at once, when the last of it is there; later changes as soon as the
 *input is exhausted, so that many of them that come together are one.
 *
 * What cannot be put in force is taken back. If that was much at once, it is tried again one by
 *one, each in a turn of the loop, so that what is good of it is not lost.
 */
#include "app/source_qubesdb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "app/event.h"
#include "app/log.h"
#include "app/source_qubesdb_internal.h"

#define ANSWER_MS 10000
#define SWEEP_S 1
#define FEATURE_PATH "/features-request/qubes-firewall"

void
source_look(struct source_qubesdb *source)
{
	static const struct timeval at_once = {0};

	/* Behind whatever is active now: the rest of the input. */
	if (!evtimer_pending(source->turn, NULL))
		evtimer_add(source->turn, &at_once);
}

static void
watch_done(void *context, int error, const char *value, size_t length)
{
	(void)value, (void)length;
	if (error != 0 && error != -ECONNRESET)
		log_line("QubesDB: changes of %s go unnoticed: %s", (const char *)context,
			strerror(-error));
}

void
source_watch(struct source_qubesdb *source, const char *path)
{
	/* paths are constants: they are there when the answer comes */
	(void)qubesdb_watch(source->db, path, watch_done, (void *)(uintptr_t)path);
}

/* --- settings --- */

static bool
is_prefix(const char *path)
{
	return path[strlen(path) - 1] == '/';
}

static bool
setting_changed(struct source_qubesdb *source, const char *path)
{
	bool any = false;

	for (unsigned i = 0; i < QUBESDB_SETTING_COUNT; i++) {
		const char *own = qubesdb_settings[i].path;

		if (is_prefix(own) ? strncmp(path, own, strlen(own)) != 0 : strcmp(path, own) != 0)
			continue;
		source->settings[i].stale = true;
		any = true;
	}
	if (any)
		source_look(source);
	return any;
}

static void
setting_pair(void *context, const char *path, const char *value, size_t length)
{
	struct setting *setting = context;
	const struct qubesdb_setting_row *row =
		&qubesdb_settings[setting - setting->source->settings];

	(void)length;
	pair_list_add(&setting->fresh, path + strlen(row->path), value, row->pairs);
}

static void
setting_done(void *context, int error, const char *value, size_t length)
{
	struct setting *setting = context;
	const struct qubesdb_setting_row *row =
		&qubesdb_settings[setting - setting->source->settings];

	(void)length;
	setting->reading = false;
	if (error == 0 && !is_prefix(row->path))
		pair_list_add(&setting->fresh, "", value, 1);
	if ((error == 0 || error == -ENOENT) &&
		!pair_list_equal(&setting->fresh, &setting->texts)) {
		pair_list_clear(&setting->texts);
		setting->texts = setting->fresh;
		setting->fresh = (struct pair_list){0};
		setting->source->settings_changed = true;
	}
	pair_list_clear(&setting->fresh);
	source_look(setting->source);
}

/* Read settings that may have changed. @return whether some are not read yet */
static bool
settings_read(struct source_qubesdb *source)
{
	bool more = false;

	if (!qubesdb_is_connected(source->db))
		return false;
	for (unsigned i = 0; i < QUBESDB_SETTING_COUNT; i++) {
		struct setting *setting = &source->settings[i];
		const char *path = qubesdb_settings[i].path;
		int error = 0;

		if (setting->stale && !setting->reading) {
			error = is_prefix(path)
					? qubesdb_multiread(source->db, path, setting_pair,
						  setting_done, setting)
					: qubesdb_read(source->db, path, setting_done, setting);
			setting->reading = error == 0;
			setting->stale = false;
		}
		more |= setting->reading;
	}
	return more;
}

static bool
uplink_is_ours(const struct source_qubesdb *source)
{
	const struct conf *file = source->daemon->file;

	for (unsigned i = 0; i < file->port_count; i++)
		if (file->ports[i].role == ROLE_UPLINK)
			return file->ports[i].settings == SETTINGS_QUBESDB;
	return false;
}

static void
uplink_mac(const struct source_qubesdb *source, char *text, size_t text_size)
{
	const struct daemon *daemon = source->daemon;
	const uint8_t *mac = daemon->dataplane->ports[daemon_policy(daemon)->uplink].mac;

	snprintf(text, text_size, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		mac[4], mac[5]);
}

/* @return 0 or -ENOMEM */
static int
settings_put(struct source_qubesdb *source, const struct qubesdb_meaning *meaning)
{
	struct live *live = source->daemon->live;
	int error = live_mappings_set(live, meaning->mappings, meaning->mapping_count);

	for (enum family family = 0; error == 0 && family < FAMILIES; family++)
		error = live_connected_set(
			live, family, meaning->connected[family], meaning->connected_count[family]);
	live_gateway_set(live, meaning->has_gateway ? &meaning->gateway : NULL);
	if (uplink_is_ours(source))
		live_uplink_set(live, meaning->has_uplink ? &meaning->uplink : NULL);
	return error;
}

static void
settings_propose(struct source_qubesdb *source, const struct report *report)
{
	struct pair_list texts[QUBESDB_SETTING_COUNT];
	char mac[sizeof("aa:bb:cc:dd:ee:ff")];

	for (unsigned i = 0; i < QUBESDB_SETTING_COUNT; i++)
		texts[i] = source->settings[i].texts;
	uplink_mac(source, mac, sizeof(mac));
	qubesdb_settings_parse(texts, source->meaning, mac, report, source->proposed);
}

static void
say_nothing(void *context, const char *line)
{
	(void)context, (void)line;
}

bool
source_may_be_client(
	struct source_qubesdb *source, enum family family, const union address *address)
{
	static const struct report silence = {.line = say_nothing};

	/* what is wrong is said when it is put in force */
	if (!source->clients_read)
		settings_propose(source, &silence);
	source->clients_read = true;
	return qubesdb_may_be_client(source->proposed, family, address);
}

static void
settings_taken(struct source_qubesdb *source)
{
	struct qubesdb_meaning *former = source->meaning;

	source->meaning = source->proposed;
	source->proposed = former;
}

/* --- in force --- */

/* @return the first tree that is ready; NULL if there is none */
static struct tree *
tree_ready(const struct source_qubesdb *source)
{
	struct tree *tree;

	LIST_FOREACH (tree, &source->trees, next)
		if (tree->ready)
			return tree;
	return NULL;
}

static void
settings_apply_alone(struct source_qubesdb *source)
{
	int error;

	source->settings_changed = source->settings_ready = false;
	error = settings_put(source, source->proposed);
	if (error == 0)
		error = daemon_apply(source->daemon, &log_report);
	if (error == 0) {
		settings_taken(source);
		return;
	}
	(void)settings_put(source, source->meaning);
	log_line("QubesDB: new settings cannot be put in force (%s): those in force stay",
		strerror(-error));
}

static void
tree_apply_alone(struct tree *tree)
{
	int error = tree_put(tree);

	if (error == 0)
		error = daemon_apply(tree->source->daemon, &log_report);
	if (error != 0)
		(void)tree_take_back(tree);
	tree_handled(tree, error);
}

static void
apply_one(struct source_qubesdb *source)
{
	struct tree *tree = tree_ready(source);

	if (source->settings_ready) {
		settings_propose(source, &log_report);
		settings_apply_alone(source);
	} else if (tree != NULL) {
		tree_apply_alone(tree);
	} else {
		source->one_by_one = false;
		return;
	}
	source_look(source);
}

static void
apply_all(struct source_qubesdb *source)
{
	struct tree *tree;
	int error = 0;

	if (source->settings_ready) {
		settings_propose(source, &log_report);
		error = settings_put(source, source->proposed);
	}
	LIST_FOREACH (tree, &source->trees, next)
		if (tree->ready && error == 0)
			error = tree_put(tree);
	if (error == 0)
		error = daemon_apply(source->daemon, &log_report);
	if (error != 0) {
		if (source->settings_ready)
			(void)settings_put(source, source->meaning);
		LIST_FOREACH (tree, &source->trees, next)
			if (tree->ready)
				(void)tree_take_back(tree);
		source->one_by_one = true;
		source_look(source);
		return;
	}
	if (source->settings_ready) {
		settings_taken(source);
		source->settings_changed = source->settings_ready = false;
	}
	LIST_FOREACH (tree, &source->trees, next)
		if (tree->ready)
			tree_handled(tree, 0);
}

/* Everything has been read. */
static void
sync_end(struct source_qubesdb *source)
{
	source->syncing = false;
	source->settled = true;
	/* Who is switched off by dom0 does not ask dom0 to rely on it. */
	if (!source->meaning->service_off)
		(void)qubesdb_write(source->db, FEATURE_PATH, "1", NULL, NULL);
}

static void
turn(evutil_socket_t number, short events, void *context)
{
	struct source_qubesdb *source = context;
	/* Half of them, from a connection that has ended, say nothing. */
	bool settings = settings_read(source) || !qubesdb_is_connected(source->db);
	bool trees = trees_read(source);

	(void)number, (void)events;
	if (source->syncing && (settings || trees || source->lists != 0))
		return;
	source->settings_ready = source->settings_changed && !settings;
	if (source->one_by_one)
		apply_one(source);
	else if (source->settings_ready || tree_ready(source) != NULL)
		apply_all(source);
	if (source->syncing && !source->one_by_one)
		sync_end(source);
}

static void
sweep(evutil_socket_t number, short events, void *context)
{
	struct source_qubesdb *source = context;

	(void)number, (void)events;
	if (!source->syncing && trees_sweep(source))
		(void)daemon_apply(source->daemon, &log_report);
}

/* --- the connection --- */

static void
connection_tell(struct source_qubesdb *source, bool up, const char *text)
{
	event_emit(source->daemon, "source",
		json_pack("{s:s, s:s, s:b}", "text", text, "source", "QubesDB", "up", (int)up));
}

static void
on_connected(void *context)
{
	struct source_qubesdb *source = context;

	source->connected = true;
	free(source->lost_reason);
	source->lost_reason = NULL;
	connection_tell(source, true, "QubesDB: connected");
	source->syncing = true;
	source->lists = 0;
	for (unsigned i = 0; i < QUBESDB_SETTING_COUNT; i++) {
		source_watch(source, qubesdb_settings[i].path);
		source->settings[i].stale = true;
	}
	/* in this order: who is a client is known when trees are listed */
	source->clients_read = false;
	(void)settings_read(source);
	trees_begin(source);
	publications_begin(source);
	source_look(source);
}

static void
on_lost(void *context, const char *reason)
{
	struct source_qubesdb *source = context;
	char text[256];

	source->syncing = false;
	source->settled = true; /* there is nobody to wait for */
	/* Attempts go on, and are only told if they fail in another way. */
	if (source->connected || source->lost_reason == NULL ||
		strcmp(source->lost_reason, reason) != 0) {
		snprintf(text, sizeof(text), "QubesDB: %s: %s; what it said stays in force",
			source->connected ? "connection lost" : "no connection", reason);
		connection_tell(source, false, text);
	}
	source->connected = false;
	free(source->lost_reason);
	source->lost_reason = strdup(reason);
	source_look(source);
}

static void
on_changed(void *context, const char *path)
{
	struct source_qubesdb *source = context;

	if (!trees_changed(source, path))
		(void)setting_changed(source, path);
}

/* --- all of it --- */

int
source_qubesdb_open(struct daemon *daemon, struct source_qubesdb **out)
{
	static const struct timeval period = {.tv_sec = SWEEP_S};
	struct source_qubesdb *source;
	struct qubesdb_owner owner = {.connected = on_connected,
		.lost = on_lost,
		.changed = on_changed,
		.answer_ms = ANSWER_MS};

	*out = NULL;
	if (daemon->file->qubesdb_path == NULL)
		return 0;
	source = calloc(1, sizeof(*source));
	if (source == NULL)
		return -ENOMEM;
	owner.context = source;
	source->daemon = daemon;
	source->forwards = daemon->file->qubesdb_forwards;
	LIST_INIT(&source->trees);
	LIST_INIT(&source->publications);
	for (unsigned i = 0; i < QUBESDB_SETTING_COUNT; i++)
		source->settings[i].source = source;
	source->meaning = calloc(1, sizeof(*source->meaning));
	source->proposed = calloc(1, sizeof(*source->proposed));
	source->turn = evtimer_new(daemon->base, turn, source);
	source->sweep = event_new(daemon->base, -1, EV_PERSIST, sweep, source);
	source->db = qubesdb_open(daemon->base, daemon->file->qubesdb_path, &owner);
	if (source->meaning == NULL || source->proposed == NULL || source->turn == NULL ||
		source->sweep == NULL || source->db == NULL ||
		event_add(source->sweep, &period) != 0) {
		source_qubesdb_close(source);
		return -ENOMEM;
	}
	*out = source;
	return 0;
}

void
source_qubesdb_close(struct source_qubesdb *source)
{
	if (source == NULL)
		return;
	if (source->daemon->qubesdb == source)
		source->daemon->qubesdb = NULL; /* names may still be asked to be published */
	qubesdb_close(source->db);
	publications_free(source);
	trees_free(source);
	for (unsigned i = 0; i < QUBESDB_SETTING_COUNT; i++)
		pair_list_clear(&source->settings[i].texts);
	if (source->turn != NULL)
		event_free(source->turn);
	if (source->sweep != NULL)
		event_free(source->sweep);
	free(source->lost_reason);
	free(source->meaning);
	free(source->proposed);
	free(source);
}

static void
too_late(evutil_socket_t number, short events, void *context)
{
	(void)number, (void)events;
	*(bool *)context = true;
}

void
source_qubesdb_settle(struct source_qubesdb *source, unsigned most_ms)
{
	const struct timeval most = {
		.tv_sec = most_ms / 1000, .tv_usec = (suseconds_t)(most_ms % 1000 * 1000)};
	struct event *timer;
	bool late = false;

	if (source == NULL)
		return;
	timer = evtimer_new(source->daemon->base, too_late, &late);
	if (timer == NULL || evtimer_add(timer, &most) != 0)
		late = true;
	while (!late && !source->settled)
		event_base_loop(source->daemon->base, EVLOOP_ONCE);
	if (!source->settled)
		log_line("QubesDB has not told everything after %u ms: its rules come later",
			most_ms);
	if (timer != NULL)
		event_free(timer);
}
