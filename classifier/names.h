/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names in rules, and the addresses that they stand for.
 *
 * A qube whose rules name hosts has a table of addresses (struct names). The control thread writes
 * into it what it has resolved, and workers what they see answered on its way to the qube; all of
 * them read it. Nobody waits: a place is claimed by compare-and-swap, and a reader that meets one
 * half written goes on without it.
 *
 * Within the table a name is a number. Rules carry the number of their name (`name_id`), so what is
 * compiled knows nothing of addresses, and a DNS answer changes a word in the table and no more. A
 * name keeps its number as long as rules of the qube name it, and no number is given out twice:
 * workers may use rules of yesterday and of today at once.
 *
 * An address is good until its time is over: what DNS allows it (its TTL) and `[timeouts] name`
 * behind that. Who was told an address just before its TTL ended connects a little later, programs
 * keep what they were told for a minute on their own account, and asking again takes a moment.
 * Behind that time it opens nothing any more. It is remembered for NAME_GRACE_MS all the same, if
 * its room is not needed, for flows that are open: these were allowed when they began, a name that
 * moves ends none of them, and when rules change they are judged by what was remembered, too.
 *
 * Everything is bounded. A name that has NAME_ADDRESSES_MAX gives up the one that ends first for
 * another one; so does a table whose places for an address are all taken.
 */
#pragma once

#include <stdatomic.h>

#include "classifier/rule.h"

/* Different names that rules of one qube may have; those beyond match nothing. */
#define QUBE_NAMES_MAX 256
/* Addresses of one name. */
#define NAME_ADDRESSES_MAX 32
/* Addresses of all names of a qube; with half of them taken a lookup seldom goes past a bucket. */
#define NAME_PLACES 2048
/* How long an address counts for open flows when its time is over. */
#define NAME_GRACE_MS (UINT32_C(24) * 3600 * 1000)
/* No TTL is longer. */
#define NAME_TTL_MAX_S UINT32_C(86400)
/* Longest name, with its NUL (RFC 1035 section 3.1: 253 characters between the dots' ends). */
#define NAME_TEXT_SIZE 254
/* Names that one address is looked up for at most. */
#define NAMES_FOUND_MAX 128

struct names;

/** A table without addresses, with one reference. Control thread. @return NULL without memory */
struct names *names_new(void);
struct names *names_ref(struct names *names);
/** Give a reference back; NULL is fine. */
void names_unref(struct names *names);

/**
 * A number for a name that has none. Control thread.
 * @return 0 when all numbers have been given out: begin a new table then
 */
uint16_t names_number(struct names *names);

/**
 * From which number on names are new since this was asked last: nothing is known of them here,
 * whatever other qubes know. Control thread.
 */
uint32_t names_new_from(struct names *names);

/** Whether a name can be asked for: labels of 1 to 63 of a-z 0-9 - _, no more than 253 characters.
 */
bool name_is_sound(const char *text);

/**
 * The names that an address stands for.
 * @param open for a flow that is open: those of which it is remembered, too
 * @param ids out: their numbers
 * @return how many
 */
unsigned names_find(const struct names *names, enum family family, const union address *address,
	uint32_t now_ms, bool open, uint16_t ids[NAMES_FOUND_MAX]);

/**
 * Enter addresses of a name. What it had before stays until its own time is over: names with many
 * addresses are often answered with a few of them. Any thread, also within a packet's way.
 * @param id 0 does nothing
 * @param life_ms from now on; an entry that lasts longer keeps its time
 */
void names_learn(struct names *names, uint16_t id, enum family family,
	const union address *addresses, unsigned count, uint32_t now_ms, uint32_t life_ms);

/**
 * Forget what is of no use to anybody: out of grace, or of a number that @p in_use does not know.
 * Must come round every few days, since times are modulo 2^32 ms.
 */
void names_sweep(struct names *names, bool (*in_use)(const void *context, uint16_t id),
	const void *context, uint32_t now_ms);

/* One address as it stands in a table. */
struct name_address {
	uint16_t id;
	enum family family;
	union address address;
	uint32_t left_ms; /* 0: remembered only */
	bool fresh;       /* entered since names_news was last asked for it */
};

/** Call @p visit for every address. Any thread; what changes meanwhile may be missed. */
void names_walk(const struct names *names, uint32_t now_ms,
	void (*visit)(void *context, const struct name_address *address), void *context);

/** How many addresses were entered that were not there, ever: who has seen this has seen all. */
uint32_t names_entered(const struct names *names);

/** The same as names_walk for those that are fresh, which are not afterwards. Control thread. */
void names_news(struct names *names, uint32_t now_ms,
	void (*visit)(void *context, const struct name_address *address), void *context);

/* The names of one ruleset by their text, immutable. */
struct name_index {
	unsigned count;
	struct name_ref {
		uint32_t hash;
		uint16_t id;
		const char *text; /* of a rule */
	} names[];                /* by hash, then text */
};

/** Index the names of rules that have numbers. @return NULL without memory; free() it */
struct name_index *name_index_new(const struct ruleset *ruleset);

/** @return the number, 0 for a name that no rule has. @param text in lower case, without a final
 * dot */
uint16_t name_index_find(const struct name_index *index, const char *text);

/** The text behind a number; NULL if there is none. Control thread: walks. */
const char *name_index_text(const struct name_index *index, uint16_t id);

/** As `in_use` of names_sweep. @param index a struct name_index */
bool name_index_has(const void *index, uint16_t id);
