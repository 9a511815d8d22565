/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the QubesDB source share. */
#pragma once

#include <sys/queue.h>

#include <event2/event.h>

#include "app/source_qubesdb.h"
#include "conf/qubesdb.h"
#include "conf/qubesdb_settings.h"

/* The trees of an address. */
enum tree_part { TREE_RULES, TREE_FORWARDS, TREE_PARTS };

struct tree {
	LIST_ENTRY(tree) next;
	struct source_qubesdb *source;
	enum family family;
	union address address;
	char text[ADDRESS_TEXT_SIZE]; /* as it stands in paths */
	struct part {
		bool dirty;  /* something below it has changed since its last commit marker */
		bool marker; /* as last read: there is one */
		bool failed; /* could not be read */
		struct pair_list pairs;
	} parts[TREE_PARTS];
	bool wanted;                /* a commit marker was written, and is to be read */
	unsigned reading;           /* answers that are still to come */
	bool ready;                 /* read, and to be put in force */
	unsigned commits;           /* markers that were written since the last reading began */
	unsigned read_commits;      /* and before it, that are not handled yet */
	uint64_t handled;           /* the counter, as read */
	bool listed;                /* when everything was read, it had a marker */
	uint64_t absent_ms;         /* since when nobody can need it; 0: somebody can */
	struct live_tree *found;    /* what was read; NULL: there is none any more */
	struct live_tree *in_force; /* what was put into struct live; a reference */
	char *forwards_error;       /* of what was read */
};

struct publication; /* source_qubesdb_names.c */

struct source_qubesdb {
	struct daemon *daemon;
	struct qubesdb *db;
	struct event *turn; /* comes when the input is exhausted */
	struct event *sweep;
	bool forwards;
	/* reading everything, after a connection was made */
	bool syncing;
	unsigned lists; /* answers that are still to come */
	bool settled;   /* has read everything once, or has found nobody to ask */
	bool connected; /* and it was said */
	char *lost_reason;
	bool one_by_one; /* what is ready cannot be put in force together */
	/* settings */
	struct setting {
		struct source_qubesdb *source;
		bool stale, reading;
		struct pair_list fresh, texts;
	} settings[QUBESDB_SETTING_COUNT];
	bool settings_changed;            /* since they were put in force */
	bool settings_ready;              /* and nothing more of them is being read */
	struct qubesdb_meaning *meaning;  /* in struct live */
	struct qubesdb_meaning *proposed; /* scratch */
	bool clients_read;                /* `proposed` has those that were read with everything */
	/* trees */
	unsigned tree_count, trees_reading;
	LIST_HEAD(tree_list, tree) trees;
	struct tree *recent; /* the one last looked for */
	LIST_HEAD(publication_list, publication) publications;
	bool publication_refused; /* and it was said */
};

/** Have the source look at what is to be done, once the input that is there has been taken. */
void source_look(struct source_qubesdb *source);

/** Hear of changes at a path from now on. */
void source_watch(struct source_qubesdb *source, const char *path);

/**
 * Whether an address may be a client's. While everything is read: by what has been read by then,
 * settings being the first of it.
 */
bool source_may_be_client(
	struct source_qubesdb *source, enum family family, const union address *address);

/* source_qubesdb_trees.c */

/** A connection was made: what is known of changes is void. */
void trees_begin(struct source_qubesdb *source);

/** Something happened at a path. @return whether it was that of a tree */
bool trees_changed(struct source_qubesdb *source, const char *path);

/** Read trees that want it. @return whether there are some that are not read yet */
bool trees_read(struct source_qubesdb *source);

/** Put a tree that is ready into struct live; or what was there before. @return 0 or -ENOMEM */
int tree_put(struct tree *tree);
int tree_take_back(struct tree *tree);

/** It is in force, or it cannot be: tell everybody. @param error of daemon_apply */
void tree_handled(struct tree *tree, int error);

/** Forget trees that nobody can need any more. @return whether something is to be put in force */
bool trees_sweep(struct source_qubesdb *source);

void trees_free(struct source_qubesdb *source);

/* source_qubesdb_names.c */

/** All that is published is written anew: a connection was made. */
void publications_begin(struct source_qubesdb *source);

/** A qube has gone, with what it had published. */
void publications_drop(
	struct source_qubesdb *source, enum family family, const union address *address);

void publications_free(struct source_qubesdb *source);
