/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trees of rules: when they are read, and what becomes of them.
 *
 *	marker written -> wanted -> reading -> ready -> in struct live -> handled
 *	                     ^         |
 *	                     +---------+ written again meanwhile
 *
 * dom0 takes a tree away, writes rules one by one, and then the marker, which is never away once it
 * was written. An answer is a snapshot, so it is sound if the tree was complete at that moment:
 *what happened before is told before the answer ends. So a tree that turns out to be `dirty` when
 *its answer ends is forgotten, and its next marker comes. While dom0 writes, and if it never ends,
 *what was in force stays in force.
 *
 * Many markers that come at once are handled together; the counter that dom0 waits for counts all.
 */
#include "app/source_qubesdb_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>
#include <rte_common.h>

#include "app/event.h"
#include "app/log.h"

/* Addresses that are known, and those of them that are read at the same time. */
#define TREES_MAX (4 * QUBES_MAX)
#define READING_MAX 32
/* How long an address may be missing before its tree is forgotten: dom0 writes the list of clients
   and the trees one after the other. */
#define ABSENT_MS 3000

static const char *const prefixes[TREE_PARTS] = {
	[TREE_RULES] = "/qubes-firewall/",
	[TREE_FORWARDS] = "/qubes-firewall-forward/",
};
#define HANDLED_PREFIX "/qubes-firewall-handled/"

static uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- which there are --- */

static void
tree_forget(struct tree *tree)
{
	for (unsigned part = 0; part < TREE_PARTS; part++)
		pair_list_clear(&tree->parts[part].pairs);
	live_tree_unref(tree->found);
	live_tree_unref(tree->in_force);
	free(tree->forwards_error);
	if (tree->source->recent == tree)
		tree->source->recent = NULL;
	tree->source->tree_count--;
	LIST_REMOVE(tree, next);
	free(tree);
}

static void
path_refuse(struct source_qubesdb *source, const char *text, const char *reason)
{
	event_emit(source->daemon, "rules-refused",
		json_pack("{s:o, s:s, s:s}", "text",
			json_sprintf("QubesDB: rules for \"%s\" are left out: %s", text, reason),
			"address", text, "reason", reason));
}

static struct tree *
tree_new(struct source_qubesdb *source, enum family family, const union address *address)
{
	struct tree *tree = source->tree_count < TREES_MAX ? calloc(1, sizeof(*tree)) : NULL;

	if (tree == NULL)
		return NULL;
	tree->source = source;
	tree->family = family;
	tree->address = *address;
	address_format(tree->text, family, address);
	LIST_INSERT_HEAD(&source->trees, tree, next);
	source->tree_count++;
	return tree;
}

static struct tree *
tree_find(const struct source_qubesdb *source, enum family family, const union address *address)
{
	struct tree *tree;

	LIST_FOREACH (tree, &source->trees, next)
		if (tree->family == family && address_equal(&tree->address, address))
			return tree;
	return NULL;
}

/* The tree of an address as it stands in a path. @return NULL, told, for what is none */
static struct tree *
tree_of(struct source_qubesdb *source, const char *text, size_t length)
{
	char copy[QUBESDB_PATH_MAX + 1], canonical[ADDRESS_TEXT_SIZE];
	struct tree *tree = source->recent;
	union address address;
	enum family family;

	if (tree != NULL && strncmp(tree->text, text, length) == 0 && tree->text[length] == '\0')
		return tree;
	snprintf(copy, sizeof(copy), "%.*s", (int)length, text);
	/* One address has one tree: that under another spelling could say something else. */
	if (address_parse(copy, &family, &address) != 0 ||
		strcmp(copy, address_format(canonical, family, &address)) != 0) {
		path_refuse(source, copy, "this is no address as it is written in QubesDB");
		return NULL;
	}
	tree = tree_find(source, family, &address);
	if (tree == NULL)
		tree = tree_new(source, family, &address);
	if (tree == NULL)
		path_refuse(source, copy, "there are those of too many addresses");
	else
		source->recent = tree;
	return tree;
}

/* --- what happens to them --- */

static void
tree_commit(struct tree *tree, enum tree_part part)
{
	tree->parts[part].dirty = false;
	tree->wanted = true;
	tree->commits++;
	source_look(tree->source);
}

/* All of a kind were taken away. */
static void
trees_taken_away(struct source_qubesdb *source, enum tree_part part)
{
	struct tree *tree;

	LIST_FOREACH (tree, &source->trees, next)
		tree_commit(tree, part);
}

bool
trees_changed(struct source_qubesdb *source, const char *path)
{
	for (enum tree_part part = 0; part < TREE_PARTS; part++) {
		const char *text = path + strlen(prefixes[part]);
		struct tree *tree;
		size_t length;

		if (strncmp(path, prefixes[part], strlen(prefixes[part])) != 0)
			continue;
		length = strcspn(text, "/");
		if (text[0] == '\0')
			trees_taken_away(source, part);
		if (length == 0)
			return true;
		tree = tree_of(source, text, length);
		if (tree != NULL && text[length] == '\0')
			tree_commit(tree, part);
		else if (tree != NULL)
			tree->parts[part].dirty = true;
		return true;
	}
	return false;
}

/* --- everything --- */

/*
 * Whether anybody may need the tree of an address: dom0 takes none away, and those of disposables
 * that were here since we were started are more in time than there can be qubes. It lists a client
 * before it writes its rules.
 */
static bool
tree_is_needed(struct source_qubesdb *source, const char *text)
{
	const struct conf *conf = source->daemon->conf;
	union address address;
	enum family family;

	if (address_parse(text, &family, &address) != 0)
		return true; /* whoever takes it says why not */
	if (tree_find(source, family, &address) != NULL)
		return true;
	for (unsigned i = 0; i < conf->qube_count; i++)
		if (conf->qubes[i].has[family] &&
			address_equal(&conf->qubes[i].address[family], &address))
			return true;
	return source_may_be_client(source, family, &address);
}

static void
list_item(void *context, const char *path, const char *value, size_t length)
{
	struct source_qubesdb *source = context;

	(void)value, (void)length;
	for (enum tree_part part = 0; part < TREE_PARTS; part++) {
		const char *text = path + strlen(prefixes[part]);
		struct tree *tree;

		if (strncmp(path, prefixes[part], strlen(prefixes[part])) != 0 ||
			strchr(text, '/') != NULL || text[0] == '\0' ||
			!tree_is_needed(source, text))
			continue;
		tree = tree_of(source, text, strlen(text));
		if (tree == NULL)
			continue;
		tree->listed |= part == TREE_RULES;
		/* one that is being written has its marker still to come */
		if (!tree->parts[part].dirty && !tree->wanted)
			tree_commit(tree, part);
	}
}

static void
list_done(void *context, int error, const char *value, size_t length)
{
	struct source_qubesdb *source = context;

	(void)value, (void)length;
	source->lists--;
	if (error != 0 && error != -ENOENT && error != -ECONNRESET)
		log_line("QubesDB: rules cannot be listed: %s", strerror(-error));
	source_look(source);
}

/* Forwards are a draft: their trees count under an option. */
static unsigned
parts_read(const struct source_qubesdb *source)
{
	return source->forwards ? TREE_PARTS : TREE_RULES + 1;
}

void
trees_begin(struct source_qubesdb *source)
{
	struct tree *tree;

	LIST_FOREACH (tree, &source->trees, next) {
		for (unsigned part = 0; part < TREE_PARTS; part++)
			tree->parts[part].dirty = false;
		tree->wanted = false;
		tree->listed = false;
	}
	for (enum tree_part part = 0; part < parts_read(source); part++) {
		source_watch(source, prefixes[part]);
		if (qubesdb_list(source->db, prefixes[part], list_item, list_done, source) == 0)
			source->lists++;
	}
}

/* --- reading one --- */

/* What is in force goes on with what was read of the other half. */
static struct live_tree *
tree_combine(struct tree *tree, bool rules, bool forwards)
{
	struct part *parts = tree->parts;
	struct live_tree *found = tree_parse(tree->family, &tree->address, &parts[TREE_RULES].pairs,
		forwards ? &parts[TREE_FORWARDS].pairs : NULL, &tree->forwards_error);
	int error = found != NULL ? 0 : -ENOMEM;

	if (error == 0 && !rules)
		error = tree_rules_copy(found, tree->in_force);
	if (error == 0 && !forwards && parts[TREE_FORWARDS].dirty && tree->in_force != NULL)
		error = tree_forwards_copy(found, tree->in_force);
	if (error == 0)
		return found;
	live_tree_unref(found);
	return NULL;
}

static void
tree_read_done(struct tree *tree)
{
	const struct part *rules = &tree->parts[TREE_RULES];
	const struct part *forwards = &tree->parts[TREE_FORWARDS];
	bool gone = !rules->marker && !rules->dirty;
	bool has_rules = rules->marker && !rules->dirty;
	bool has_forwards = forwards->marker && !forwards->dirty;

	tree->source->trees_reading--;
	source_look(tree->source);
	if (rules->failed || forwards->failed || tree->wanted)
		goto again;
	tree->listed = rules->marker;
	if (!gone && !has_rules && (tree->in_force == NULL || !has_forwards))
		goto again;
	live_tree_unref(tree->found);
	free(tree->forwards_error);
	tree->found = NULL;
	tree->forwards_error = NULL;
	if (!gone) {
		tree->found = tree_combine(tree, has_rules, has_forwards);
		if (tree->found == NULL) {
			log_line("QubesDB: out of memory: new rules of %s are not in force",
				tree->text);
			goto again;
		}
	}
	tree->ready = true;
again:
	for (unsigned part = 0; part < TREE_PARTS; part++)
		pair_list_clear(&tree->parts[part].pairs);
}

static void
answer_done(struct tree *tree)
{
	if (--tree->reading == 0)
		tree_read_done(tree);
}

static void
marker_done(struct tree *tree, enum tree_part part, int error)
{
	tree->parts[part].marker = error == 0;
	if (error != 0 && error != -ENOENT)
		tree->parts[part].failed = true;
	answer_done(tree);
}

static void
rules_marker_done(void *context, int error, const char *value, size_t length)
{
	(void)value, (void)length;
	marker_done(context, TREE_RULES, error);
}

static void
forwards_marker_done(void *context, int error, const char *value, size_t length)
{
	(void)value, (void)length;
	marker_done(context, TREE_FORWARDS, error);
}

static void
pair_take(struct tree *tree, enum tree_part part, const char *path, const char *value)
{
	/* of an answer to exactly this prefix */
	const char *key = path + strlen(prefixes[part]) + strlen(tree->text) + 1;

	pair_list_add(&tree->parts[part].pairs, key, value, TREE_PAIRS_MAX);
}

static void
rules_pair(void *context, const char *path, const char *value, size_t length)
{
	(void)length;
	pair_take(context, TREE_RULES, path, value);
}

static void
forwards_pair(void *context, const char *path, const char *value, size_t length)
{
	(void)length;
	pair_take(context, TREE_FORWARDS, path, value);
}

static void
pairs_done(struct tree *tree, enum tree_part part, int error)
{
	if (error != 0 && error != -ENOENT)
		tree->parts[part].failed = true;
	answer_done(tree);
}

static void
rules_pairs_done(void *context, int error, const char *value, size_t length)
{
	(void)value, (void)length;
	pairs_done(context, TREE_RULES, error);
}

static void
forwards_pairs_done(void *context, int error, const char *value, size_t length)
{
	(void)value, (void)length;
	pairs_done(context, TREE_FORWARDS, error);
}

static void
handled_done(void *context, int error, const char *value, size_t length)
{
	struct tree *tree = context;
	char *end;

	(void)error, (void)length;
	/* whatever else is there is not ours, and begins anew */
	tree->handled = strtoull(value, &end, 10);
	if (value[strspn(value, "0123456789")] != '\0' || tree->handled > INT64_MAX / 2)
		tree->handled = 0;
	answer_done(tree);
}

static void
tree_read(struct tree *tree)
{
	static const struct {
		qubesdb_done_fn marker;
		qubesdb_item_fn pair;
		qubesdb_done_fn pairs;
	} answers[TREE_PARTS] = {
		[TREE_RULES] = {rules_marker_done, rules_pair, rules_pairs_done},
		[TREE_FORWARDS] = {forwards_marker_done, forwards_pair, forwards_pairs_done},
	};
	struct qubesdb *db = tree->source->db;
	char path[ADDRESS_TEXT_SIZE + 64];

	tree->wanted = false;
	tree->ready = false;
	tree->read_commits += tree->commits;
	tree->commits = 0;
	tree->source->trees_reading++;
	tree->reading = 1;
	snprintf(path, sizeof(path), HANDLED_PREFIX "%s", tree->text);
	if (qubesdb_read(db, path, handled_done, tree) == 0)
		tree->reading++;
	for (unsigned part = 0; part < parts_read(tree->source); part++) {
		tree->parts[part].failed = false;
		tree->parts[part].marker = false;
		snprintf(path, sizeof(path), "%s%s", prefixes[part], tree->text);
		if (qubesdb_read(db, path, answers[part].marker, tree) == 0)
			tree->reading++;
		strcat(path, "/");
		if (qubesdb_multiread(db, path, answers[part].pair, answers[part].pairs, tree) == 0)
			tree->reading++;
		else
			tree->parts[part].failed = part == TREE_RULES;
	}
	answer_done(tree);
}

bool
trees_read(struct source_qubesdb *source)
{
	struct tree *tree;
	bool more = source->trees_reading != 0;

	if (!qubesdb_is_connected(source->db))
		return false;
	LIST_FOREACH (tree, &source->trees, next) {
		if (!tree->wanted || tree->reading != 0)
			continue;
		more = true;
		if (source->trees_reading < READING_MAX)
			tree_read(tree);
	}
	return more;
}

/* --- in force --- */

int
tree_put(struct tree *tree)
{
	struct live *live = tree->source->daemon->live;

	if (tree->found == NULL) {
		live_tree_drop(live, tree->family, &tree->address);
		return 0;
	}
	tree->found->references++;
	return live_tree_put(live, tree->found);
}

int
tree_take_back(struct tree *tree)
{
	struct live *live = tree->source->daemon->live;

	if (tree->in_force == NULL) {
		live_tree_drop(live, tree->family, &tree->address);
		return 0;
	}
	tree->in_force->references++;
	return live_tree_put(live, tree->in_force);
}

static const char *
qube_of(const struct tree *tree)
{
	const struct conf *conf = tree->source->daemon->conf;

	for (unsigned i = 0; i < conf->qube_count; i++)
		if (conf->qubes[i].has[tree->family] &&
			address_equal(&conf->qubes[i].address[tree->family], &tree->address))
			return conf->qubes[i].name;
	return tree->text;
}

/* @param consequence what it means for the qube */
static void
refusal_tell(
	const struct tree *tree, enum tree_part part, const char *reason, const char *consequence)
{
	event_emit(tree->source->daemon, "rules-refused",
		json_pack("{s:o, s:s, s:s, s:s}", "text",
			json_sprintf("qube %s: %s: %s%s/%s", qube_of(tree), consequence,
				prefixes[part], tree->text, reason),
			"qube", qube_of(tree), "address", tree->text, "reason", reason));
}

static void
handled_write(struct tree *tree)
{
	char path[ADDRESS_TEXT_SIZE + 64], number[24];

	tree->handled += RTE_MAX(tree->read_commits, 1u);
	tree->read_commits = 0;
	snprintf(path, sizeof(path), HANDLED_PREFIX "%s", tree->text);
	snprintf(number, sizeof(number), "%" PRIu64, tree->handled);
	(void)qubesdb_write(tree->source->db, path, number, NULL, NULL);
}

void
tree_handled(struct tree *tree, int error)
{
	const struct live_tree *found = tree->found;

	tree->ready = false;
	if (error != 0)
		refusal_tell(tree, TREE_RULES, strerror(-error),
			"new rules cannot be put in force, what was in force stays in force");
	else if (found != NULL && found->state != RULES_VALID)
		refusal_tell(tree, TREE_RULES, found->error, "all is refused");
	if (error == 0 && tree->forwards_error != NULL)
		refusal_tell(tree, TREE_FORWARDS, tree->forwards_error, "its forwards are refused");
	if (error == 0) {
		live_tree_unref(tree->in_force);
		tree->in_force = tree->found;
		tree->found = NULL;
	}
	handled_write(tree);
}

/* --- those that nobody can need --- */

static bool
tree_has_port(const struct tree *tree)
{
	const struct conf *conf = tree->source->daemon->conf;
	const char *qube = qube_of(tree);

	for (unsigned i = 0; i < conf->port_count; i++)
		if (conf->ports[i].role == ROLE_QUBE && strcmp(conf->ports[i].qube, qube) == 0)
			return true;
	return false;
}

static bool
tree_is_absent(const struct tree *tree)
{
	const struct qubesdb_meaning *meaning = tree->source->meaning;

	/* A QubesDB that does not know clients at all says nothing about one of them. */
	if (!meaning->connected_known[tree->family] || tree_has_port(tree))
		return false;
	return !tree->listed || !qubesdb_may_be_client(meaning, tree->family, &tree->address);
}

bool
trees_sweep(struct source_qubesdb *source)
{
	struct tree *tree = LIST_FIRST(&source->trees), *next;
	uint64_t now = now_ms();
	bool dropped = false;

	for (; tree != NULL; tree = next) {
		next = LIST_NEXT(tree, next);
		if (!tree_is_absent(tree) || tree->reading != 0 || tree->wanted || tree->ready) {
			tree->absent_ms = 0;
			continue;
		}
		if (tree->absent_ms == 0)
			tree->absent_ms = now;
		if (now - tree->absent_ms < ABSENT_MS)
			continue;
		if (tree->in_force != NULL) {
			live_tree_drop(source->daemon->live, tree->family, &tree->address);
			log_line("QubesDB: %s is no client any more: its rules are forgotten",
				tree->text);
			dropped = true;
		}
		publications_drop(source, tree->family, &tree->address);
		tree_forget(tree);
	}
	return dropped;
}

void
trees_free(struct source_qubesdb *source)
{
	for (struct tree *tree = LIST_FIRST(&source->trees), *next; tree != NULL; tree = next) {
		next = LIST_NEXT(tree, next);
		tree_forget(tree);
	}
}
