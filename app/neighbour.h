/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Next hops of one port and their MAC addresses.
 *
 * Shared by all workers without a lock: an entry's address is claimed once by compare-and-swap and
 * never changes; its MAC and state are one 64-bit word. Indices are stable, so a flow keeps one.
 * On a qube's port entry 0 is the qube itself, and there is no other.
 */
#pragma once

#include <stdatomic.h>

#include "classifier/address.h"

enum neighbour_state {
	NEIGHBOUR_EMPTY,
	NEIGHBOUR_INCOMPLETE, /* asked, no answer yet */
	NEIGHBOUR_REACHABLE,
	NEIGHBOUR_FAILED, /* asked often enough; the next packet starts anew */
};

#define NEIGHBOUR_NONE UINT16_MAX
#define NEIGHBOUR_PEER 0 /* a qube's port: the qube */

struct neighbour_table;

/**
 * @param capacity entries, a power of two up to 32768
 * @param automatic resolve every neighbour at once with a made-up MAC (replay)
 */
struct neighbour_table *neighbour_table_create(uint32_t capacity, bool automatic);
void neighbour_table_free(struct neighbour_table *table);

/** Find or claim the entry of an address. @return its index, or NEIGHBOUR_NONE when full */
uint16_t neighbour_index(
	struct neighbour_table *table, enum family family, const union address *address);

/** The entry of an address if it has one, else NEIGHBOUR_NONE. */
uint16_t neighbour_find(
	const struct neighbour_table *table, enum family family, const union address *address);

/** The MAC of an entry as a 48-bit word in memory order, 0 while unknown. Data path. */
uint64_t neighbour_mac(const struct neighbour_table *table, uint16_t index);

/** Record what a neighbour said. */
void neighbour_learn(
	struct neighbour_table *table, uint16_t index, uint64_t mac, uint32_t now_ms);

enum neighbour_state neighbour_state(const struct neighbour_table *table, uint16_t index);

/** The address of a claimed entry. */
void neighbour_address(const struct neighbour_table *table, uint16_t index, enum family *family,
	union address *address);

/**
 * Ask whether a request should be sent now: the first time, then every second; after three the
 * entry fails for three seconds. Exactly one caller gets true.
 */
bool neighbour_should_ask(struct neighbour_table *table, uint16_t index, uint32_t now_ms);
