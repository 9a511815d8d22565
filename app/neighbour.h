/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Next hops of one port and their MAC addresses.
 *
 * Two entries are pinned: the gateways of an uplink (or, on a qube's port, the qube itself). All
 * other on-link hosts share a small cache of buckets, in which a new host takes the place of the
 * one that is least worth keeping. So an index can come to mean another host: whoever keeps one
 * says, on use, which address it expects. A qube that scans the whole link costs other hosts on the
 * link a new request, and the gateway nothing.
 *
 * Shared by all workers. Lookups take no lock: MAC, state and version of an entry are one 64-bit
 * word. Claiming an entry takes a spinlock; it happens when a flow is opened, not per packet.
 */
#pragma once

#include "classifier/address.h"

enum neighbour_state {
	NEIGHBOUR_EMPTY,
	NEIGHBOUR_INCOMPLETE, /* asked, or about to be, no answer yet */
	NEIGHBOUR_REACHABLE,
	NEIGHBOUR_FAILED, /* asked often enough; the next packet starts anew */
};

#define NEIGHBOUR_PINNED 2 /* indices 0 (IPv4) and 1 (IPv6) */
#define NEIGHBOUR_PEER 0   /* on a qube's port: the qube, for both families */
#define NEIGHBOUR_NONE UINT16_MAX

struct neighbour_table;

/**
 * @param capacity entries besides the pinned ones: 0, or a power of two from 8 to 32768
 * @param automatic resolve every neighbour at once with a made-up MAC (replay): 02:01 and the last
 *	four bytes of the address. Without capacity, on a qube's port, nothing is made up
 * @return NULL when out of memory
 */
struct neighbour_table *neighbour_table_create(uint32_t capacity, bool automatic);
void neighbour_table_free(struct neighbour_table *table);

/**
 * Have entry @p family stand for @p address. An entry that does so already, or is to have no MAC in
 * particular, keeps what is known of it. Control thread, also while workers run.
 * @param address NULL: nobody, so the entry is empty
 * @param mac as neighbour_mac has it, when it is known for certain; 0: the neighbour will say
 */
void neighbour_pin(struct neighbour_table *table, enum family family, const union address *address,
	uint64_t mac);

/**
 * Ask everybody for their MAC again before anything more is sent to them: this may be another
 * network now. While workers run.
 */
void neighbour_forget(struct neighbour_table *table, uint32_t now_ms);

/** Find or claim the entry of an address. @return its index, NEIGHBOUR_NONE without a cache */
uint16_t neighbour_index(struct neighbour_table *table, enum family family,
	const union address *address, uint32_t now_ms);

/** The entry of an address if it has one, else NEIGHBOUR_NONE. */
uint16_t neighbour_find(
	const struct neighbour_table *table, enum family family, const union address *address);

/**
 * The MAC of an entry as a 48-bit word in memory order; 0 while unknown. Data path.
 * @param address whom the caller means; not looked at for pinned entries
 */
uint64_t neighbour_mac(
	const struct neighbour_table *table, uint16_t index, const union address *address);

/** Record the MAC of a pinned entry. */
void neighbour_learn(struct neighbour_table *table, uint16_t index, uint64_t mac, uint32_t now_ms);

/** Record what a neighbour said of itself, if it has an entry. */
void neighbour_heard(struct neighbour_table *table, enum family family,
	const union address *address, uint64_t mac, uint32_t now_ms);

enum neighbour_state neighbour_state(const struct neighbour_table *table, uint16_t index);

/** Family and address of an entry. */
enum family neighbour_address(
	const struct neighbour_table *table, uint16_t index, union address *address);

/**
 * Ask whether a solicitation should be sent now: the first time, then every second; after three
 * the entry fails, and three seconds later the next packet starts anew (RFC 4861 section 10).
 * Exactly one caller gets true.
 */
bool neighbour_should_ask(struct neighbour_table *table, uint16_t index, uint32_t now_ms);

/** The state that an entry would be in after neighbour_should_ask. Nothing changes. */
enum neighbour_state neighbour_state_next(
	const struct neighbour_table *table, uint16_t index, uint32_t now_ms);

/**
 * Like neighbour_should_ask, for an entry in use whose MAC was confirmed long ago: true once a
 * second until the neighbour confirms itself; after three the entry is INCOMPLETE again.
 */
bool neighbour_should_confirm(struct neighbour_table *table, uint16_t index, uint32_t now_ms);

/** In how many ms it is to be asked that again, at the soonest. */
uint32_t neighbour_confirm_due_ms(
	const struct neighbour_table *table, uint16_t index, uint32_t now_ms);
