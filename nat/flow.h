/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flows and the table that holds them.
 *
 * A flow is one conversation as seen by the worker that owns it. It is found under two tuples: the
 * original direction as its first packet arrived, and the reply direction as answers will arrive.
 * Whatever differs between the reversed original and the reply is the translation.
 *
 * Everything belongs to one worker: no locks, no atomics, no sharing. The pool is fixed when the
 * worker starts. A flow has 128 bytes and its two table entries 32 more at most.
 *
 * Life: flow_open puts it under both tuples and into the timer wheel; each packet only moves
 * `deadline_ms`; the wheel looks at it when its slot comes up and either files it again for its
 * new deadline or closes it. Nothing ever walks the whole table.
 */
#pragma once

#include <stdbool.h>

#include "classifier/packet.h"
#include "nat/timeout.h"

enum direction { DIRECTION_ORIGINAL = 0, DIRECTION_REPLY = 1 };

enum flow_flag {
	FLOW_REPLIED = 1 << 0, /* a packet of the reply direction has passed */
	FLOW_IPV6 = 1 << 1,
	FLOW_BINDING = 1 << 2, /* holds a reference on an external port in the binding table */
};

/* Where packets of one direction leave. */
struct flow_way {
	uint16_t port;
	uint16_t neighbour; /* index in that port's neighbour table */
};

/* One end of a TCP connection, for window tracking. Host order. */
struct tcp_end {
	uint32_t end;	  /* highest sequence number sent, plus one */
	uint32_t max_end; /* highest sequence number this end may send */
	uint32_t max_window;
	uint8_t scale;
	uint8_t flags;
};

/*
 * The first line of cache holds all that a forwarded IPv4 UDP packet touches. IPv6 addresses are
 * kept once each: a flow never has more than three different ones, and `reply6` says which of them
 * are source and destination of the reply direction.
 */
struct flow {
	/* immutable while open */
	rte_be16_t port[2][2]; /* [direction][0 source, 1 destination] */
	union {
		rte_be32_t v4[2][2]; /* [direction][0 source, 1 destination] */
		union address v6_source;
	};
	uint8_t protocol;
	uint8_t reply6; /* bits 0-1: index of the reply's source, bits 2-3: of its destination */
	/* mutable */
	uint8_t state; /* TCP: enum tcp_state; else 0 */
	uint8_t flags; /* enum flow_flag */
	uint32_t deadline_ms;
	uint32_t generation; /* of the policy that let it in or last confirmed it */
	uint16_t address_delta[2]; /* per direction, to add to a checksum that covers addresses */
	uint16_t port_delta[2];	   /* per direction, to add to a checksum that covers ports */
	struct flow_way way[2];
	uint16_t qube; /* whose rules let it in, and whose budget it uses */
	uint16_t rule; /* that accepted it */
	/* timer wheel links: flow indices */
	uint32_t timer_next;
	uint32_t timer_previous;
	/* second line */
	struct tcp_end tcp[2];
	union address v6_other[2]; /* original destination; third address */
};
_Static_assert(sizeof(struct flow) == 128, "two lines of cache");

struct flow_table;

/* Secrets drawn at start (rte_rand is not enough: use getrandom), shared by all workers. */
struct flow_secret {
	uint64_t word[4];
};

/**
 * Create a table for up to @p capacity flows.
 * @param now_ms the clock at the start; all later times are compared modulo 2^32
 * @return NULL and errno on failure
 */
struct flow_table *flow_table_create(
	uint32_t capacity, const struct flow_secret *secret, uint32_t now_ms, int socket_id);
void flow_table_free(struct flow_table *table);

/** Keyed hash of a tuple. The result is stable for one secret. */
uint64_t flow_hash(const struct flow_secret *secret, const struct tuple *tuple);

/**
 * Look up the flows of a burst.
 *
 * Reads `tuple`, sets `hash`, `flow` (NULL on a miss) and `direction` of every packet.
 */
void flow_lookup_burst(struct flow_table *table, struct rte_mbuf *const *burst, unsigned count);

/** Look up one tuple, whose hash is known. @return the flow or NULL; @p direction is set on a hit */
struct flow *flow_lookup(struct flow_table *table, const struct tuple *tuple, uint64_t hash,
	enum direction *direction);

/**
 * Open a flow under both tuples.
 *
 * Sets addresses, ports, protocol, the checksum deltas, deadline and links; everything else is
 * zero and the caller's to fill in.
 * @return the flow; NULL with errno EEXIST when either tuple is taken, ENOSPC when the pool or
 *	both buckets of a tuple are full
 */
struct flow *flow_open(struct flow_table *table, const struct tuple *original,
	const struct tuple *reply, uint32_t deadline_ms);

/** Close a flow at once and give its room back. The close callback is not called. */
void flow_close(struct flow_table *table, struct flow *flow);

/** Rebuild the tuple under which @p flow is found in @p direction. */
void flow_tuple(const struct flow *flow, enum direction direction, struct tuple *tuple);

/** Called for a flow that ran out, before its room is given back. */
typedef void (*flow_expired_fn)(void *context, struct flow *flow);

/**
 * Advance the timer wheel to @p now_ms, looking at no more than @p budget flows.
 * @return how many flows were closed
 */
unsigned flow_expire(struct flow_table *table, uint32_t now_ms, unsigned budget,
	flow_expired_fn expired, void *context);

uint32_t flow_count(const struct flow_table *table);
uint32_t flow_capacity(const struct flow_table *table);
/** Bytes that the table takes, everything included. */
size_t flow_table_memory(const struct flow_table *table);

/** Index of a flow in its table's pool, for reports. */
uint32_t flow_index(const struct flow_table *table, const struct flow *flow);

/** Tell whether time @p a is later than @p b, both in milliseconds modulo 2^32. */
static inline bool
time_after_ms(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}
