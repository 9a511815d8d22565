/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table: buckets of eight places, one line of cache of words each, and their addresses beside
 * them. A place is a word:
 *
 *	end of its time 32 bits | number of the name 16 | tag 8 | version 8
 *
 * The number is 0 where nothing is. The version is odd while somebody writes, and another one after
 * each change of what the place holds, so that who reads word, address and word again has read both
 * of one time. To renew an entry is to change its word alone.
 *
 * An address is looked for in the bucket of its hash and, as long as something once had to go past
 *a bucket, in those behind it. That mark is never taken back: it costs time and nothing else.
 */
#include "classifier/names.h"

#include <stdlib.h>
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_byteorder.h>
#include <rte_common.h>
#include <rte_malloc.h>
#include <rte_random.h>

#define PLACES 8U /* of a bucket */
#define BUCKETS (NAME_PLACES / PLACES)
/* Buckets that are looked into at most. */
#define PROBES (NAMES_FOUND_MAX / PLACES)
/* A place that changes under a reader or writer all the time is left alone. */
#define TRIES 4

struct names {
	atomic_uint references;
	uint32_t next_id; /* control thread */
	uint32_t new_id;  /* the same: names_new_from has told of those below */
	uint64_t secret;
	_Atomic uint32_t entered;
	_Atomic uint8_t passed[BUCKETS];   /* something stands behind it that belongs here */
	_Atomic uint8_t told[NAME_PLACES]; /* names_news has shown it */
	_Atomic uint64_t word[NAME_PLACES] __attribute__((aligned(RTE_CACHE_LINE_MIN_SIZE)));
	_Atomic uint64_t address[NAME_PLACES][2]; /* IPv4: as IPv6 has them (RFC 4291 2.5.5.2) */
};

#define WORD_END(word) (uint32_t)((word) >> 32)
#define WORD_ID(word) (uint16_t)((word) >> 16)
#define WORD_TAG(word) (uint8_t)((word) >> 8)
#define WORD_VERSION(word) (uint8_t)(word)

static inline uint64_t
word_pack(uint32_t end_ms, uint16_t id, uint8_t tag, uint8_t version)
{
	return (uint64_t)end_ms << 32 | (uint64_t)id << 16 | (uint64_t)tag << 8 | version;
}

static inline bool
word_is_free(uint64_t word)
{
	return WORD_ID(word) == 0 && (WORD_VERSION(word) & 1) == 0;
}

/* How long an entry is over, 0 while it is not; times are compared modulo 2^32. */
static inline uint32_t
word_over_ms(uint64_t word, uint32_t now_ms)
{
	int32_t over = (int32_t)(now_ms - WORD_END(word));

	return over > 0 ? (uint32_t)over : 0;
}

struct names *
names_new(void)
{
	struct names *names = aligned_alloc(
		RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(sizeof(*names), RTE_CACHE_LINE_SIZE));

	if (names == NULL)
		return NULL;
	memset(names, 0, sizeof(*names));
	atomic_init(&names->references, 1);
	names->next_id = names->new_id = 1;
	names->secret = rte_rand();
	return names;
}

struct names *
names_ref(struct names *names)
{
	atomic_fetch_add_explicit(&names->references, 1, memory_order_relaxed);
	return names;
}

void
names_unref(struct names *names)
{
	if (names != NULL &&
		atomic_fetch_sub_explicit(&names->references, 1, memory_order_acq_rel) == 1)
		free(names);
}

uint16_t
names_number(struct names *names)
{
	return names->next_id <= UINT16_MAX ? (uint16_t)names->next_id++ : 0;
}

uint32_t
names_new_from(struct names *names)
{
	uint32_t from = names->new_id;

	names->new_id = names->next_id;
	return from;
}

bool
name_is_sound(const char *text)
{
	size_t label = 0, length = 0;

	for (; text[length] != '\0'; length++) {
		if (text[length] == '.') {
			if (label == 0)
				return false;
			label = 0;
			continue;
		}
		if (strchr("abcdefghijklmnopqrstuvwxyz0123456789-_", text[length]) == NULL ||
			++label > 63)
			return false;
	}
	return label != 0 && length < NAME_TEXT_SIZE;
}

/* --- places --- */

/* An address of either family as two words. */
struct pair {
	uint64_t half[2];
};

static inline struct pair
pair_of(enum family family, const union address *address)
{
	if (family == FAMILY_IPV6)
		return (struct pair){{address->half[0], address->half[1]}};
	return (struct pair){{0, (uint64_t)address->v4 << 32 | UINT64_C(0xffff0000)}};
}
_Static_assert(RTE_BYTE_ORDER == RTE_LITTLE_ENDIAN, "::ffff:a.b.c.d as it lies in memory");

static inline enum family
pair_family(const struct pair *pair, union address *address)
{
	if (pair->half[0] == 0 && (uint32_t)pair->half[1] == UINT32_C(0xffff0000)) {
		*address = address_v4((rte_be32_t)(pair->half[1] >> 32));
		return FAMILY_IPV4;
	}
	*address = (union address){.half = {pair->half[0], pair->half[1]}};
	return FAMILY_IPV6;
}

static inline uint64_t
pair_hash(const struct names *names, const struct pair *pair)
{
	uint64_t hash = (pair->half[0] ^ names->secret) * UINT64_C(0x9e3779b97f4a7c15);

	hash = (hash ^ (hash >> 32) ^ pair->half[1]) * UINT64_C(0xff51afd7ed558ccd);
	hash = (hash ^ (hash >> 32) ^ names->secret) * UINT64_C(0xc2b2ae3d27d4eb4f);
	return hash ^ (hash >> 29);
}

static inline unsigned
place_of(uint64_t hash, unsigned probe, unsigned slot)
{
	return ((unsigned)(hash + probe) % BUCKETS) * PLACES + slot;
}

/* Read a place. @return its word, 0 when there is nothing, or nothing to be relied on */
static inline uint64_t
place_read(const struct names *names, unsigned place, struct pair *pair)
{
	_Atomic uint64_t *word = &((struct names *)(uintptr_t)names)->word[place];
	_Atomic uint64_t *address = ((struct names *)(uintptr_t)names)->address[place];

	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t seen = atomic_load_explicit(word, memory_order_acquire);

		if (WORD_ID(seen) == 0)
			return 0;
		pair->half[0] = atomic_load_explicit(&address[0], memory_order_relaxed);
		pair->half[1] = atomic_load_explicit(&address[1], memory_order_relaxed);
		atomic_thread_fence(memory_order_acquire);
		if (likely(atomic_load_explicit(word, memory_order_relaxed) == seen))
			return seen;
	}
	return 0;
}

unsigned
names_find(const struct names *names, enum family family, const union address *address,
	uint32_t now_ms, bool open, uint16_t ids[NAMES_FOUND_MAX])
{
	struct names *table = (struct names *)(uintptr_t)names;
	struct pair wanted = pair_of(family, address);
	uint64_t hash = pair_hash(names, &wanted);
	uint8_t tag = (uint8_t)(hash >> 56);
	uint32_t grace_ms = open ? NAME_GRACE_MS : 0;
	unsigned count = 0;

	for (unsigned probe = 0; probe < PROBES; probe++) {
		for (unsigned slot = 0; slot < PLACES; slot++) {
			unsigned place = place_of(hash, probe, slot);
			uint64_t word =
				atomic_load_explicit(&table->word[place], memory_order_relaxed);
			struct pair pair;

			if (likely(WORD_TAG(word) != tag || WORD_ID(word) == 0))
				continue;
			word = place_read(names, place, &pair);
			if (word != 0 && pair.half[0] == wanted.half[0] &&
				pair.half[1] == wanted.half[1] &&
				word_over_ms(word, now_ms) <= grace_ms)
				ids[count++] = WORD_ID(word);
		}
		if (atomic_load_explicit(&table->passed[place_of(hash, probe, 0) / PLACES],
			    memory_order_acquire) == 0)
			break;
	}
	return count;
}
_Static_assert(PROBES *PLACES == NAMES_FOUND_MAX, "one lookup finds no more");

/* Empty a place if it still holds @p word. */
static void
place_free(struct names *names, unsigned place, uint64_t word)
{
	uint64_t empty = word_pack(0, 0, 0, (uint8_t)((WORD_VERSION(word) + 2) & ~1));

	(void)atomic_compare_exchange_strong_explicit(
		&names->word[place], &word, empty, memory_order_acq_rel, memory_order_relaxed);
}

/* Put an entry in the place of @p word, if that is still what is there. */
static bool
place_write(struct names *names, unsigned place, uint64_t word, const struct pair *pair,
	uint64_t wanted)
{
	uint8_t version = (uint8_t)(WORD_VERSION(word) + 1);

	if (!atomic_compare_exchange_strong_explicit(&names->word[place], &word,
		    word_pack(0, 0, 0, version), memory_order_acq_rel, memory_order_relaxed))
		return false;
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&names->address[place][0], pair->half[0], memory_order_relaxed);
	atomic_store_explicit(&names->address[place][1], pair->half[1], memory_order_relaxed);
	atomic_store_explicit(&names->told[place], 0, memory_order_relaxed);
	atomic_store_explicit(
		&names->word[place], wanted | (uint8_t)(version + 1), memory_order_release);
	atomic_fetch_add_explicit(&names->entered, 1, memory_order_release);
	return true;
}

/* Give an entry more time. @return false when it is another one by now */
static bool
place_renew(struct names *names, unsigned place, uint64_t word, uint32_t end_ms, uint32_t now_ms)
{
	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t longer =
			word_pack(end_ms, WORD_ID(word), WORD_TAG(word), WORD_VERSION(word));

		if ((int32_t)(end_ms - WORD_END(word)) <= 0)
			return true;
		if (atomic_compare_exchange_strong_explicit(&names->word[place], &word, longer,
			    memory_order_acq_rel, memory_order_relaxed)) {
			/* What was remembered only is back, and that is news. */
			if (word_over_ms(word, now_ms) != 0) {
				atomic_store_explicit(&names->told[place], 0, memory_order_relaxed);
				atomic_fetch_add_explicit(&names->entered, 1, memory_order_release);
			}
			return true;
		}
		if (((word ^ longer) & UINT32_MAX) != 0)
			return false;
	}
	return true;
}

/* How many addresses a name has, and which of them ends first. */
static unsigned
name_count(const struct names *names, uint16_t id, uint32_t now_ms, unsigned *first,
	uint64_t *first_word)
{
	struct names *table = (struct names *)(uintptr_t)names;
	unsigned count = 0;

	for (unsigned place = 0; place < NAME_PLACES; place++) {
		uint64_t word = atomic_load_explicit(&table->word[place], memory_order_relaxed);

		if (WORD_ID(word) != id)
			continue;
		if (count++ == 0 || (int32_t)(WORD_END(word) - now_ms) <
					    (int32_t)(WORD_END(*first_word) - now_ms)) {
			*first = place;
			*first_word = word;
		}
	}
	return count;
}

/* What one address is entered as. */
struct entering {
	struct names *names;
	struct pair pair;
	uint64_t hash;
	uint64_t word; /* without a version */
	uint32_t now_ms;
	/* where it may go: a place that is free, else the one that ends first */
	unsigned place;
	uint64_t there;
	bool found;
};

/* Look where an entry is or may go. @return whether it is there, and has been renewed */
static bool
entering_search(struct entering *entering)
{
	struct names *names = entering->names;

	entering->found = false;
	for (unsigned probe = 0; probe < PROBES; probe++) {
		for (unsigned slot = 0; slot < PLACES; slot++) {
			unsigned place = place_of(entering->hash, probe, slot);
			struct pair pair;
			uint64_t word =
				atomic_load_explicit(&names->word[place], memory_order_acquire);

			if ((WORD_VERSION(word) & 1) != 0)
				continue;
			if (WORD_ID(word) == WORD_ID(entering->word) &&
				WORD_TAG(word) == WORD_TAG(entering->word) &&
				(word = place_read(names, place, &pair)) != 0 &&
				WORD_ID(word) == WORD_ID(entering->word) &&
				pair.half[0] == entering->pair.half[0] &&
				pair.half[1] == entering->pair.half[1] &&
				place_renew(names, place, word, WORD_END(entering->word),
					entering->now_ms))
				return true;
			if (!entering->found ||
				(!word_is_free(entering->there) &&
					(word_is_free(word) ||
						(int32_t)(WORD_END(word) - entering->now_ms) <
							(int32_t)(WORD_END(entering->there) -
								  entering->now_ms)))) {
				entering->found = true;
				entering->place = place;
				entering->there = word;
			}
		}
		if (atomic_load_explicit(
			    &names->passed[place_of(entering->hash, probe, 0) / PLACES],
			    memory_order_acquire) == 0 &&
			entering->found && word_is_free(entering->there))
			break;
	}
	return false;
}

/* Have lookups come as far as the place. */
static void
entering_pass(const struct entering *entering)
{
	for (unsigned probe = 0; probe < PROBES; probe++) {
		unsigned bucket = place_of(entering->hash, probe, 0) / PLACES;

		if (bucket == entering->place / PLACES)
			return;
		atomic_store_explicit(&entering->names->passed[bucket], 1, memory_order_release);
	}
}

void
names_learn(struct names *names, uint16_t id, enum family family, const union address *addresses,
	unsigned count, uint32_t now_ms, uint32_t life_ms)
{
	if (id == 0)
		return;
	for (unsigned i = 0; i < RTE_MIN(count, (unsigned)NAME_ADDRESSES_MAX); i++) {
		struct entering entering = {
			.names = names,
			.pair = pair_of(family, &addresses[i]),
			.now_ms = now_ms,
		};

		entering.hash = pair_hash(names, &entering.pair);
		entering.word = word_pack(now_ms + life_ms, id, (uint8_t)(entering.hash >> 56), 0);
		for (unsigned tries = 0; tries < TRIES; tries++) {
			unsigned first = 0;
			uint64_t first_word = 0;

			if (entering_search(&entering))
				break;
			if (name_count(names, id, now_ms, &first, &first_word) >=
				NAME_ADDRESSES_MAX) {
				place_free(names, first, first_word);
				continue;
			}
			if (!entering.found)
				break;
			entering_pass(&entering);
			if (place_write(names, entering.place, entering.there, &entering.pair,
				    entering.word))
				break;
		}
	}
}

void
names_sweep(struct names *names, bool (*in_use)(const void *context, uint16_t id),
	const void *context, uint32_t now_ms)
{
	for (unsigned place = 0; place < NAME_PLACES; place++) {
		uint64_t word = atomic_load_explicit(&names->word[place], memory_order_relaxed);

		if (WORD_ID(word) != 0 && (word_over_ms(word, now_ms) > NAME_GRACE_MS ||
						  !in_use(context, WORD_ID(word))))
			place_free(names, place, word);
	}
}

/* --- for people --- */

static bool
place_show(const struct names *names, unsigned place, uint32_t now_ms, struct name_address *shown)
{
	struct names *table = (struct names *)(uintptr_t)names;
	struct pair pair;
	uint64_t word = place_read(names, place, &pair);

	if (word == 0)
		return false;
	shown->id = WORD_ID(word);
	shown->family = pair_family(&pair, &shown->address);
	shown->left_ms = word_over_ms(word, now_ms) == 0 ? WORD_END(word) - now_ms : 0;
	shown->fresh = atomic_load_explicit(&table->told[place], memory_order_relaxed) == 0;
	return true;
}

void
names_walk(const struct names *names, uint32_t now_ms,
	void (*visit)(void *context, const struct name_address *address), void *context)
{
	struct name_address shown;

	for (unsigned place = 0; place < NAME_PLACES; place++)
		if (place_show(names, place, now_ms, &shown))
			visit(context, &shown);
}

uint32_t
names_entered(const struct names *names)
{
	return atomic_load_explicit(
		&((struct names *)(uintptr_t)names)->entered, memory_order_acquire);
}

void
names_news(struct names *names, uint32_t now_ms,
	void (*visit)(void *context, const struct name_address *address), void *context)
{
	struct name_address shown;

	for (unsigned place = 0; place < NAME_PLACES; place++) {
		if (!place_show(names, place, now_ms, &shown) || !shown.fresh)
			continue;
		atomic_store_explicit(&names->told[place], 1, memory_order_relaxed);
		visit(context, &shown);
	}
}

/* --- names by their text --- */

static uint32_t
text_hash(const char *text)
{
	uint32_t hash = UINT32_C(2166136261);

	for (; *text != '\0'; text++)
		hash = (hash ^ (uint8_t)*text) * UINT32_C(16777619);
	return hash;
}

static int
ref_compare(const void *a, const void *b)
{
	const struct name_ref *left = a, *right = b;

	if (left->hash != right->hash)
		return left->hash < right->hash ? -1 : 1;
	return strcmp(left->text, right->text);
}

struct name_index *
name_index_new(const struct ruleset *ruleset)
{
	struct name_index *index;
	unsigned count = 0;

	for (unsigned i = 0; i < ruleset->count; i++)
		count += ruleset->rules[i].name_id != 0;
	index = calloc(1, sizeof(*index) + count * sizeof(index->names[0]));
	if (index == NULL)
		return NULL;
	for (unsigned i = 0; i < ruleset->count; i++) {
		const struct rule *rule = &ruleset->rules[i];

		if (rule->name_id != 0)
			index->names[index->count++] =
				(struct name_ref){text_hash(rule->name), rule->name_id, rule->name};
	}
	qsort(index->names, index->count, sizeof(index->names[0]), ref_compare);
	count = 0;
	for (unsigned i = 0; i < index->count; i++)
		if (i == 0 || index->names[i].id != index->names[count - 1].id)
			index->names[count++] = index->names[i];
	index->count = count;
	return index;
}

uint16_t
name_index_find(const struct name_index *index, const char *text)
{
	struct name_ref wanted = {.hash = text_hash(text), .text = text};
	const struct name_ref *found =
		bsearch(&wanted, index->names, index->count, sizeof(index->names[0]), ref_compare);

	return found != NULL ? found->id : 0;
}

const char *
name_index_text(const struct name_index *index, uint16_t id)
{
	for (unsigned i = 0; i < index->count; i++)
		if (index->names[i].id == id)
			return index->names[i].text;
	return NULL;
}

bool
name_index_has(const void *index, uint16_t id)
{
	return name_index_text(index, id) != NULL;
}
