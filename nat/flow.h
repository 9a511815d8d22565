/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flows and the table that holds them.
 *
 * A flow is one conversation as seen by the worker that owns it. It is found under two tuples: the
 * original direction as its first packet arrived, and the reply direction as answers will arrive.
 * Whatever differs between the reversed original and the reply is the translation.
 *
 * Everything belongs to one worker: no locks, no atomics, no sharing. The pool is fixed when the
 * worker starts. A flow has 128 bytes and its two table entries 32 more.
 *
 * Life: flow_open puts it under both tuples and into the timer wheel; each packet only moves
 * `deadline_ms`; the wheel looks at it when its slot comes up and either files it again for its
 * new deadline or closes it. Nothing ever walks the whole table. Only a deadline that comes nearer
 * (a RST, a FIN, the answer to a DNS query) needs a word to the wheel: flow_sooner.
 */
#pragma once

#include <stdbool.h>

#include "classifier/packet.h"
#include "nat/hash.h"
#include "nat/timeout.h"

enum direction { DIRECTION_ORIGINAL = 0, DIRECTION_REPLY = 1 };

enum flow_flag {
	FLOW_REPLIED = 1 << 0, /* a packet of the reply direction has passed */
	FLOW_IPV6 = 1 << 1,
	FLOW_BINDING = 1 << 2,   /* holds a reference on an external port in the binding table */
	FLOW_INBOUND = 1 << 3,   /* opened towards a qube: by a forward, an allow or a filter */
	FLOW_HALF_OPEN = 1 << 4, /* counted as such in its account */
	FLOW_REFUSED = 1 << 5,   /* no longer allowed: every packet is answered with a reset */
	FLOW_COVERED = 1 << 6,   /* counted in a permission, see below */
	/*
	 * Not a flow but the permission that one remote address may send from any port to one
	 * binding (FILTER_ADDRESS): under a tuple with remote port 0 it counts, in `timer`-free
	 * fields of tcp[0].end, the flows that justify it. No packet has that tuple.
	 */
	FLOW_PERMISSION = 1 << 7,
};

/* Where packets of one direction leave. */
struct flow_way {
	uint16_t port;
	uint16_t neighbour; /* index in that port's neighbour table */
};

/*
 * Checksum deltas (RFC 1624). A packet of one direction is rewritten to look as it does on the
 * other side of the firewall: its new source is the destination of the opposite tuple, its new
 * destination the source of it; ports likewise, and for ICMP queries the identifier, which is a
 * port. A delta is the one's complement difference of the 16-bit words that change, as they lie in
 * memory: new sum = old sum + delta, for the sum BEFORE its final complement. It is zero, never
 * 0xffff, when nothing changes. IPv4 headers need the address delta; TCP and UDP both; ICMP the
 * port delta; ICMPv6 both. A flow keeps those of its original direction; the others are their
 * complements.
 */

/** The delta of @p direction, where @p original is that of the original direction. */
static inline uint16_t
checksum_delta(uint16_t original, unsigned direction)
{
	return direction == DIRECTION_ORIGINAL || original == 0 ? original : (uint16_t)~original;
}

/** Add @p delta to a sum that is not complemented, such as a bare pseudo-header sum. */
static inline uint16_t
checksum_sum_add(uint16_t sum, uint16_t delta)
{
	uint32_t total = (uint32_t)sum + delta;

	return (uint16_t)(total + (total >> 16));
}

/** Add @p delta to what a checksum field covers. @return the new content of the field */
static inline uint16_t
checksum_adjust(uint16_t checksum, uint16_t delta)
{
	return (uint16_t)~checksum_sum_add((uint16_t)~checksum, delta);
}

/*
 * One end of a TCP connection, for window tracking. Host order; sequence numbers are compared
 * modulo 2^32. All zero: nothing was seen of it. `max_window` counts in units of 16 bytes, rounded
 * up, so that 65,535 << 14 and everything else fits 16 bytes.
 */
struct tcp_end {
	uint32_t end;     /* highest sequence number sent, plus one */
	uint32_t max_end; /* highest sequence number this end may send, plus one */
	uint32_t max_ack; /* highest acknowledgement sent */
	uint32_t max_window : 26;
	uint32_t scale : 4; /* RFC 7323, 0 to 14 */
	uint32_t flags : 2; /* enum tcp_end_flag */
};
_Static_assert(sizeof(struct tcp_end) == 16, "two ends in half a line of cache");

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
	uint8_t reply6; /* bits 0-1: index of the reply's source, bits 2-3: of its destination;
			   bits 4-7, mutable: window scale of the SYN remembered in syn_end */
	/* mutable */
	uint8_t state; /* TCP: enum tcp_state; ICMP: type of the query; else 0 */
	uint8_t flags; /* enum flow_flag */
	uint32_t deadline_ms;
	uint32_t generation; /* of the policy that let it in or last confirmed it */
	uint16_t
		address_delta; /* what translation adds to a sum of addresses; original direction */
	uint16_t port_delta;   /* likewise to a sum of ports or ICMP identifiers */
	uint32_t syn_end; /* TCP: end of a SYN in an open connection, which a SYN/ACK may confirm */
	struct flow_way way[2];
	uint16_t qube; /* whose rules let it in, and whose budget it uses; none while it is free */
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

/** Look up one tuple, whose hash is known. @return the flow or NULL; @p direction is set on a hit
 */
struct flow *flow_lookup(struct flow_table *table, const struct tuple *tuple, uint64_t hash,
	enum direction *direction);

/**
 * Open a flow under both tuples.
 *
 * Sets addresses, ports, protocol, the checksum deltas, deadline and links; everything else is
 * zero and the caller's to fill in.
 * @param deadline_ms where the wheel first looks at it; track_deadline knows it before track_open
 *	sets it
 * @return the flow; NULL with errno EEXIST when either tuple is taken, ENOSPC when the pool or
 *	both buckets of a tuple are full, EINVAL when the tuples differ in family or protocol or
 *	hold more than three different IPv6 addresses
 */
struct flow *flow_open(struct flow_table *table, const struct tuple *original,
	const struct tuple *reply, uint32_t deadline_ms);

/*
 * Flows that a question is asked without: what would happen if they had been closed before. Only
 * for questions that change nothing.
 */
#define FLOW_GONE_MAX 4 /* reopened; half-open, any and any evicted */

struct flow_gone {
	unsigned count;
	const struct flow *flow[FLOW_GONE_MAX];
};

static inline bool
flow_is_gone(const struct flow_gone *gone, const struct flow *flow)
{
	for (unsigned i = 0; i < gone->count; i++)
		if (gone->flow[i] == flow)
			return true;
	return false;
}

/**
 * Whether flow_open would find room for both tuples, without those that are @p gone.
 * @return 0, -EEXIST or -ENOSPC as it would
 */
int flow_open_check(const struct flow_table *table, const struct tuple *original,
	const struct tuple *reply, const struct flow_gone *gone);

/**
 * Find a flow that may go to make room for another one of the same qube: one that was never
 * answered, or else one that is closing.
 *
 * Looks at @p probes places of the pool, from where the last search ended, so its cost is bounded
 * and repeated searches find every flow.
 * @param inbound FLOW_INBOUND as the flow must have it
 * @param half_open only TCP connections whose handshake is not complete
 * @return the flow, or NULL if none was met
 */
struct flow *flow_find_evictable(
	struct flow_table *table, uint16_t qube, bool inbound, bool half_open, unsigned probes);

/**
 * The flow that flow_find_evictable would find, if those that are @p gone were closed.
 * @param hand 0 begins where the last search of the table ended; where the next one would go on
 */
const struct flow *flow_peek_evictable(const struct flow_table *table, uint32_t *hand,
	uint16_t qube, bool inbound, bool half_open, unsigned probes, const struct flow_gone *gone);

/** Close a flow at once and give its room back. The close callback is not called. */
void flow_close(struct flow_table *table, struct flow *flow);

/** Rebuild the tuple under which @p flow is found in @p direction. */
void flow_tuple(const struct flow *flow, enum direction direction, struct tuple *tuple);

/**
 * Tell the wheel that the deadline of @p flow has come nearer. Without it the flow still ends, but
 * only when the slot of its old deadline comes up, up to a turn of the wheel (17 minutes) late.
 * A deadline that moves away needs no call.
 */
void flow_sooner(struct flow_table *table, struct flow *flow);

/**
 * Called for a flow that ran out, before its room is given back. It opens and closes no flows of
 * this table.
 */
typedef void (*flow_expired_fn)(void *context, struct flow *flow);

/**
 * Advance the timer wheel to @p now_ms, looking at no more than @p budget flows. The next call
 * goes on where this one ran out of budget. No flow is closed before its deadline, and given
 * enough calls none is closed more than 1.024 s after it.
 * @return how many flows were closed
 */
unsigned flow_expire(struct flow_table *table, uint32_t now_ms, unsigned budget,
	flow_expired_fn expired, void *context);

/** In how many ms flow_expire has something to do, but no more than @p most_ms. */
uint32_t flow_due_ms(const struct flow_table *table, uint32_t now_ms, uint32_t most_ms);

uint32_t flow_count(const struct flow_table *table);
/** How many flows were ever opened. */
uint64_t flow_opened(const struct flow_table *table);
uint32_t flow_capacity(const struct flow_table *table);
/** Bytes that the table takes, everything included. */
size_t flow_table_memory(const struct flow_table *table);

/**
 * Call @p visit for every open flow, permissions included. The table must not be changed meanwhile
 * but for closing the flow that is visited.
 */
void flow_walk(
	struct flow_table *table, void (*visit)(void *context, struct flow *flow), void *context);

/**
 * Visit the open flows in the next places of the pool, permissions included. With other work
 *between the calls, each flow that was open all the time is visited once; what was opened meanwhile
 *may be missed.
 * @param cursor 0 begins; where to go on
 * @param places of the pool to look at: what a call costs at most
 * @param visit may close the flow it visits and change nothing else about the table; false: no more
 *	in this call
 * @return false when the end has been reached
 */
bool flow_walk_some(struct flow_table *table, uint32_t *cursor, unsigned places,
	bool (*visit)(void *context, struct flow *flow), void *context);

/** Index of a flow in its table's pool, for reports. */
uint32_t flow_index(const struct flow_table *table, const struct flow *flow);

/** Tell whether time @p a is later than @p b, both in milliseconds modulo 2^32. */
static inline bool
time_after_ms(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}
