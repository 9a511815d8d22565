/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One worker: everything it owns, and the exits of the data path that its stages share.
 *
 * A worker is touched by its own thread alone, but for the ring that others hand packets to and
 * the words that wake it. Counters have one writer and are read by the control thread.
 */
#pragma once

#include "app/dataplane.h"
#include "nat/track.h"

/* Packets that may wait for neighbours, and for one of them (RFC 4861 section 7.2.2). */
#define HELD_MAX 64
#define HELD_PER_NEIGHBOUR 3

struct port_counters {
	uint64_t rx_packets, rx_bytes;
	uint64_t tx_packets, tx_bytes;
	uint64_t drops[REASON_COUNT];
};

struct worker_counters {
	uint64_t verdicts[VERDICT_COUNT];
	uint64_t answers;          /* ICMP errors sent */
	uint64_t answers_withheld; /* by the limit per source */
	uint64_t flows_opened;
	uint64_t flows_expired;
};

/* Frames on their way out of one port. */
struct transmit_queue {
	uint16_t count;
	struct rte_mbuf *burst[BURST_MAX];
};

/* A packet that waits for its next hop's MAC, as it was before rewriting. */
struct held_packet {
	struct rte_mbuf *mbuf;
	uint16_t port;
	uint16_t neighbour;
};

/* How many answers one source may still get in the running window. */
struct answer_limit {
	uint32_t window_ends_ms;
	uint16_t left;
};

struct worker {
	struct dataplane *dataplane;
	unsigned index;
	/* once per burst */
	const struct policy *policy;
	uint32_t now_ms;
	/* its own */
	struct flow_table *flows;
	struct transmit_queue *transmit; /* by port */
	uint16_t *transmit_pending;      /* ports with frames in their queue */
	unsigned transmit_pending_count;
	struct held_packet held[HELD_MAX];
	unsigned held_count;
	struct answer_limit *limits; /* by port */
	uint64_t random;
	uint32_t housekeeping_ms; /* when neighbours were last looked after */
	struct worker_counters counters;
	struct port_counters *ports;
	/* others' */
	struct rte_ring *handover;
	atomic_bool asleep;
	int wake_fd; /* eventfd; -1 where nobody sleeps */
};

/* pipeline.c */

/** Take packets that this worker owns from the flow lookup to the way out. */
void pipeline_owned(struct worker *worker, struct rte_mbuf **burst, unsigned count);

/**
 * Enter a flow that is in the table of @p worker, with all its fields, into accounts, bindings and
 * permissions, as if it had been opened here: for flows from before a restart.
 * @return false when that cannot be: its external port is taken, an account is at its limit; the
 *	flow is closed then
 */
bool worker_adopt(struct worker *worker, struct flow *flow);

/**
 * Find the way to an address beyond the uplink: the next hop is that host or the gateway of the
 * family. Reads `policy` and `now_ms` of @p worker.
 * @return REASON_NONE with @p way set, or why there is none
 */
enum reason route_find(struct worker *worker, enum family family, const union address *destination,
	struct flow_way *way);

/** End a packet: count, answer, trace and free it. */
void worker_drop(struct worker *worker, struct rte_mbuf *mbuf, enum reason reason);

/** End packets that a stage rejected, each with the reason in its struct packet. */
void worker_drop_burst(struct worker *worker, struct rte_mbuf **burst, unsigned count);

/** A packet that the firewall itself took: count and trace it. It is the caller's to free. */
void worker_took(struct worker *worker, const struct rte_mbuf *mbuf);

/* dataplane.c */

/** Put a finished frame into the queue of a port. */
void worker_transmit(struct worker *worker, uint16_t port, struct rte_mbuf *mbuf);

/** Send what is in the queues. */
void worker_flush(struct worker *worker);

/* A pseudo-random word: of good quality, predictable only to who knows the secret. */
uint64_t worker_random(struct worker *worker);

/* local.c */

/** Take a packet addressed to the firewall itself, or ARP or neighbour discovery; ends it. */
void local_packet(struct worker *worker, struct rte_mbuf *mbuf);

/** Ask for the MAC of a neighbour on the uplink, if it is time to. */
void local_solicit(struct worker *worker, uint16_t port, uint16_t neighbour);

/* reply.c */

/** Send the ICMP error that @p answer stands for, about an unchanged packet, if it may be sent. */
void reply_error(struct worker *worker, const struct rte_mbuf *mbuf, enum answer answer);
