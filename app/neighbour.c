/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The neighbour table. See neighbour.h for who may touch what.
 *
 * The link word of an entry: bits 0-47 the MAC in memory order, 48-51 the state, 52-63 a version
 * that changes whenever the entry comes to mean another address. A reader takes the word, compares
 * the address, and takes the word again: if it is still the same, both belong together.
 */
#include "app/neighbour.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <rte_spinlock.h>

#define BUCKET_ENTRIES 8

#define MAC_MASK ((UINT64_C(1) << 48) - 1)
#define STATE_SHIFT 48
#define STATE_MASK UINT64_C(0xf)
#define VERSION_ONE (UINT64_C(1) << 52)
#define VERSION_MASK (~(VERSION_ONE - 1))

/* RFC 4861 section 10: RETRANS_TIMER, MAX_MULTICAST_SOLICIT, and for how long a failure stands */
#define RETRANSMIT_MS 1000
#define SOLICITATIONS_MAX 3
#define FAILED_MS 3000
/* REACHABLE_TIME is 30 s; a word from the neighbour itself starts it again. */
#define CONFIRM_MS 30000
/* Workers read the clock once per burst, so their times differ by as much as one takes. */
#define CLOCK_SKEW_MS 10000

struct entry {
	_Atomic uint64_t link;
	_Atomic uint64_t half[2]; /* the address */
	_Atomic uint32_t asked_ms;
	_Atomic uint32_t confirmed_ms;
	_Atomic uint16_t asked; /* solicitations since the last answer */
	uint8_t family;
};

struct neighbour_table {
	rte_spinlock_t claim;
	bool automatic;
	uint32_t buckets;
	struct entry entries[];
};

static enum neighbour_state
link_state(uint64_t link)
{
	return (enum neighbour_state)((link >> STATE_SHIFT) & STATE_MASK);
}

static uint64_t
link_make(uint64_t version_of, enum neighbour_state state, uint64_t mac)
{
	return (version_of & VERSION_MASK) | ((uint64_t)state << STATE_SHIFT) | (mac & MAC_MASK);
}

struct neighbour_table *
neighbour_table_create(uint32_t capacity, bool automatic)
{
	struct neighbour_table *table = calloc(1,
		sizeof(*table) + (NEIGHBOUR_PINNED + (size_t)capacity) * sizeof(table->entries[0]));

	if (table == NULL)
		return NULL;
	rte_spinlock_init(&table->claim);
	table->automatic = automatic;
	table->buckets = capacity / BUCKET_ENTRIES;
	return table;
}

void
neighbour_table_free(struct neighbour_table *table)
{
	free(table);
}

static bool
entry_is(const struct entry *entry, enum family family, const union address *address)
{
	return entry->family == family &&
	       atomic_load_explicit(&entry->half[0], memory_order_relaxed) == address->half[0] &&
	       atomic_load_explicit(&entry->half[1], memory_order_relaxed) == address->half[1];
}

/* The claim lock is held, or no worker runs yet. */
static void
entry_claim(struct neighbour_table *table, struct entry *entry, enum family family,
	const union address *address, uint32_t now_ms)
{
	uint64_t link = atomic_load(&entry->link);
	uint64_t mac = 0;
	enum neighbour_state state = NEIGHBOUR_INCOMPLETE;

	/* Readers that find the empty state, or another version, do not trust the address. */
	atomic_store(&entry->link, link_make(link, NEIGHBOUR_EMPTY, 0));
	entry->family = (uint8_t)family;
	atomic_store(&entry->half[0], address->half[0]);
	atomic_store(&entry->half[1], address->half[1]);
	atomic_store(&entry->asked, 0);
	atomic_store(&entry->asked_ms, now_ms - RETRANSMIT_MS);
	atomic_store(&entry->confirmed_ms, now_ms);
	if (table->automatic && table->buckets != 0) { /* a qube teaches its MAC itself */
		uint8_t made_up[6] = {0x02, 0x01};

		memcpy(made_up + 2, family == FAMILY_IPV4 ? address->v6 : address->v6 + 12, 4);
		memcpy(&mac, made_up, sizeof(made_up));
		state = NEIGHBOUR_REACHABLE;
	}
	atomic_store(&entry->link, link_make(link + VERSION_ONE, state, mac));
}

void
neighbour_pin(struct neighbour_table *table, enum family family, const union address *address,
	uint64_t mac)
{
	struct entry *entry = &table->entries[family];
	uint64_t link;

	rte_spinlock_lock(&table->claim);
	link = atomic_load(&entry->link);
	if (address == NULL)
		atomic_store(&entry->link, link_make(link + VERSION_ONE, NEIGHBOUR_EMPTY, 0));
	else if (link_state(link) == NEIGHBOUR_EMPTY || !entry_is(entry, family, address))
		entry_claim(table, entry, family, address, 0);
	link = atomic_load(&entry->link);
	/* Another version: what a worker has heard just now is not about this. */
	if (address != NULL && mac != 0 &&
		(link_state(link) != NEIGHBOUR_REACHABLE || (link & MAC_MASK) != mac))
		atomic_store(&entry->link, link_make(link + VERSION_ONE, NEIGHBOUR_REACHABLE, mac));
	rte_spinlock_unlock(&table->claim);
}

void
neighbour_forget(struct neighbour_table *table, uint32_t now_ms)
{
	uint32_t count = NEIGHBOUR_PINNED + table->buckets * BUCKET_ENTRIES;

	rte_spinlock_lock(&table->claim);
	for (uint32_t i = 0; i < count; i++) {
		struct entry *entry = &table->entries[i];
		uint64_t link = atomic_load(&entry->link);

		if (link_state(link) == NEIGHBOUR_EMPTY)
			continue;
		/* Another version: who answers now was asked before. */
		atomic_store(&entry->asked, 0);
		atomic_store(&entry->asked_ms, now_ms - RETRANSMIT_MS);
		atomic_store(&entry->link, link_make(link + VERSION_ONE, NEIGHBOUR_INCOMPLETE, 0));
	}
	rte_spinlock_unlock(&table->claim);
}

static uint32_t
first_of_bucket(const struct neighbour_table *table, const union address *address)
{
	/* Collisions only cost an attacker's own link a request: no key is needed. */
	uint64_t mixed = (address->half[0] ^ (address->half[1] * UINT64_C(0x9e3779b97f4a7c15))) *
			 UINT64_C(0xbf58476d1ce4e5b9);

	return NEIGHBOUR_PINNED + (uint32_t)((mixed >> 32) % table->buckets) * BUCKET_ENTRIES;
}

uint16_t
neighbour_find(
	const struct neighbour_table *table, enum family family, const union address *address)
{
	uint32_t first;

	if (link_state(atomic_load(&table->entries[family].link)) != NEIGHBOUR_EMPTY &&
		entry_is(&table->entries[family], family, address))
		return (uint16_t)family;
	if (table->buckets == 0)
		return NEIGHBOUR_NONE;
	first = first_of_bucket(table, address);
	for (uint32_t i = first; i < first + BUCKET_ENTRIES; i++)
		if (link_state(atomic_load(&table->entries[i].link)) != NEIGHBOUR_EMPTY &&
			entry_is(&table->entries[i], family, address))
			return (uint16_t)i;
	return NEIGHBOUR_NONE;
}

/* How little an entry is worth keeping: empty, then unresolved, then longest unconfirmed. */
static uint64_t
entry_disposable(const struct entry *entry, uint32_t now_ms)
{
	enum neighbour_state state = link_state(atomic_load(&entry->link));
	uint32_t age_ms = now_ms - atomic_load(&entry->confirmed_ms);

	if (state == NEIGHBOUR_EMPTY)
		return UINT64_MAX;
	return (state == NEIGHBOUR_REACHABLE ? 0 : UINT64_C(1) << 32) + age_ms;
}

uint16_t
neighbour_index(struct neighbour_table *table, enum family family, const union address *address,
	uint32_t now_ms)
{
	uint16_t index = neighbour_find(table, family, address);
	uint32_t first, worst;

	if (index != NEIGHBOUR_NONE || table->buckets == 0)
		return index;
	rte_spinlock_lock(&table->claim);
	index = neighbour_find(table, family, address);
	if (index == NEIGHBOUR_NONE) {
		first = first_of_bucket(table, address);
		worst = first;
		for (uint32_t i = first + 1; i < first + BUCKET_ENTRIES; i++)
			if (entry_disposable(&table->entries[i], now_ms) >
				entry_disposable(&table->entries[worst], now_ms))
				worst = i;
		entry_claim(table, &table->entries[worst], family, address, now_ms);
		index = (uint16_t)worst;
	}
	rte_spinlock_unlock(&table->claim);
	return index;
}

uint64_t
neighbour_mac(const struct neighbour_table *table, uint16_t index, const union address *address)
{
	const struct entry *entry = &table->entries[index];
	uint64_t link = atomic_load_explicit(&entry->link, memory_order_acquire);

	if (link_state(link) != NEIGHBOUR_REACHABLE)
		return 0;
	if (index >= NEIGHBOUR_PINNED) {
		if (atomic_load_explicit(&entry->half[0], memory_order_relaxed) !=
				address->half[0] ||
			atomic_load_explicit(&entry->half[1], memory_order_relaxed) !=
				address->half[1])
			return 0;
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&entry->link, memory_order_relaxed) != link)
			return 0;
	}
	return link & MAC_MASK;
}

/*
 * @p link is what the entry held when the caller knew whose it is. If it was claimed for somebody
 * else since, what was said is not about him.
 */
static void
entry_learn(struct entry *entry, uint64_t link, uint64_t mac, uint32_t now_ms)
{
	/* Another worker may count a question or give up meanwhile: that makes it no other host. */
	while (link_state(link) != NEIGHBOUR_EMPTY) {
		uint64_t seen = link;

		if (atomic_compare_exchange_strong(
			    &entry->link, &seen, link_make(link, NEIGHBOUR_REACHABLE, mac))) {
			atomic_store(&entry->confirmed_ms, now_ms);
			atomic_store(&entry->asked, 0);
			return;
		}
		if ((seen & VERSION_MASK) != (link & VERSION_MASK))
			return;
		link = seen;
	}
}

void
neighbour_learn(struct neighbour_table *table, uint16_t index, uint64_t mac, uint32_t now_ms)
{
	struct entry *entry = &table->entries[index];

	entry_learn(entry, atomic_load(&entry->link), mac, now_ms);
}

void
neighbour_heard(struct neighbour_table *table, enum family family, const union address *address,
	uint64_t mac, uint32_t now_ms)
{
	uint16_t index = neighbour_find(table, family, address);
	struct entry *entry;
	uint64_t link;

	if (index == NEIGHBOUR_NONE)
		return;
	entry = &table->entries[index];
	link = atomic_load(&entry->link);
	if (entry_is(entry, family, address))
		entry_learn(entry, link, mac, now_ms);
}

enum neighbour_state
neighbour_state(const struct neighbour_table *table, uint16_t index)
{
	return link_state(atomic_load(&table->entries[index].link));
}

enum family
neighbour_address(const struct neighbour_table *table, uint16_t index, union address *address)
{
	const struct entry *entry = &table->entries[index];

	address->half[0] = atomic_load(&entry->half[0]);
	address->half[1] = atomic_load(&entry->half[1]);
	return (enum family)entry->family;
}

/* Whether it is time, if the last solicitation was at @p asked_ms. */
static bool
turn_has_come(uint32_t asked_ms, uint32_t interval_ms, uint32_t now_ms)
{
	uint32_t passed_ms = now_ms - asked_ms;

	/* A clock of another worker may be a little ahead; weeks of silence must not look so. */
	return passed_ms >= interval_ms && passed_ms <= UINT32_MAX - CLOCK_SKEW_MS;
}

/* Take the right to send the next solicitation; whoever moves `asked_ms` has it. */
static bool
entry_take_turn(struct entry *entry, uint32_t interval_ms, uint32_t now_ms)
{
	uint32_t asked_ms = atomic_load(&entry->asked_ms);

	return turn_has_come(asked_ms, interval_ms, now_ms) &&
	       atomic_compare_exchange_strong(&entry->asked_ms, &asked_ms, now_ms);
}

bool
neighbour_should_ask(struct neighbour_table *table, uint16_t index, uint32_t now_ms)
{
	struct entry *entry = &table->entries[index];
	uint64_t link = atomic_load(&entry->link);

	switch (link_state(link)) {
	case NEIGHBOUR_INCOMPLETE:
		if (!entry_take_turn(entry, RETRANSMIT_MS, now_ms))
			return false;
		if (atomic_fetch_add(&entry->asked, 1) < SOLICITATIONS_MAX)
			return true;
		atomic_compare_exchange_strong(
			&entry->link, &link, link_make(link, NEIGHBOUR_FAILED, 0));
		return false;
	case NEIGHBOUR_FAILED:
		if (!entry_take_turn(entry, FAILED_MS, now_ms))
			return false;
		atomic_store(&entry->asked, 1);
		atomic_compare_exchange_strong(
			&entry->link, &link, link_make(link, NEIGHBOUR_INCOMPLETE, 0));
		return true;
	default:
		return false;
	}
}

enum neighbour_state
neighbour_state_next(const struct neighbour_table *table, uint16_t index, uint32_t now_ms)
{
	const struct entry *entry = &table->entries[index];
	enum neighbour_state state = link_state(atomic_load(&entry->link));
	uint32_t asked_ms = atomic_load(&entry->asked_ms);

	if (state == NEIGHBOUR_INCOMPLETE && turn_has_come(asked_ms, RETRANSMIT_MS, now_ms) &&
		atomic_load(&entry->asked) >= SOLICITATIONS_MAX)
		return NEIGHBOUR_FAILED;
	if (state == NEIGHBOUR_FAILED && turn_has_come(asked_ms, FAILED_MS, now_ms))
		return NEIGHBOUR_INCOMPLETE;
	return state;
}

uint32_t
neighbour_confirm_due_ms(const struct neighbour_table *table, uint16_t index, uint32_t now_ms)
{
	const struct entry *entry = &table->entries[index];
	uint32_t passed_ms = now_ms - atomic_load(&entry->confirmed_ms);

	if (table->automatic || link_state(atomic_load(&entry->link)) != NEIGHBOUR_REACHABLE)
		return CONFIRM_MS;
	return passed_ms < CONFIRM_MS ? CONFIRM_MS - passed_ms : 0;
}

bool
neighbour_should_confirm(struct neighbour_table *table, uint16_t index, uint32_t now_ms)
{
	struct entry *entry = &table->entries[index];
	uint64_t link = atomic_load(&entry->link);

	if (table->automatic || link_state(link) != NEIGHBOUR_REACHABLE ||
		now_ms - atomic_load(&entry->confirmed_ms) < CONFIRM_MS ||
		!entry_take_turn(entry, RETRANSMIT_MS, now_ms))
		return false;
	if (atomic_fetch_add(&entry->asked, 1) < SOLICITATIONS_MAX)
		return true;
	atomic_store(&entry->asked, 0);
	atomic_compare_exchange_strong(
		&entry->link, &link, link_make(link, NEIGHBOUR_INCOMPLETE, 0));
	return false;
}
