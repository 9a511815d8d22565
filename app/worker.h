/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One worker: everything it owns, and the exits of the data path that its stages share.
 *
 * A worker is touched by its own thread alone, but for the ring that others hand packets to and
 * the words that wake it. Counters have one writer and are read by the control thread.
 */
#pragma once

#include <netinet/in.h>

#include "app/dataplane.h"
#include "app/drop_note.h"
#include "nat/target.h"
#include "nat/fragment.h"
#include "nat/track.h"

/* Packets that may wait for neighbours, and for one of them (RFC 4861 section 7.2.2). */
#define HELD_MAX 64
#define HELD_PER_NEIGHBOUR 3

struct port_counters {
	uint64_t rx_packets, rx_bytes;
	uint64_t tx_packets, tx_bytes;
	uint64_t drops[REASON_COUNT];
};

/* Each row is COUNTER(member, "name of the control socket"). */
/* clang-format off */
#define WORKER_COUNTERS(COUNTER) \
	COUNTER(flows_opened,	  "flows_opened") \
	COUNTER(flows_expired,	  "flows_expired") \
	COUNTER(flows_evicted,	  "flows_evicted")		/* to make room for another flow of the same qube */ \
	COUNTER(flows_refused,	  "flows_refused")		/* no longer allowed by a newer policy */ \
	COUNTER(flows_gone,	  "flows_gone")			/* with their port, their qube or its address */ \
	COUNTER(flows_deleted,	  "flows_deleted")		/* on demand of the control socket */ \
	COUNTER(related_errors,	  "icmp_errors_related")	/* passed because of the flow they are about */ \
	COUNTER(answers,	  "icmp_errors_sent") \
	COUNTER(answers_withheld, "icmp_errors_withheld")	/* by the limit per source */ \
	COUNTER(resets,		  "tcp_resets_sent")		/* to end what is no longer allowed */ \
	COUNTER(datagrams,	  "datagrams_reassembled") \
	COUNTER(names_learned,	  "dns_answers_learned")	/* addresses of names in rules */
/* clang-format on */

struct worker_counters {
	uint64_t verdicts[VERDICT_COUNT];
#define COUNTER_MEMBER(member, name) uint64_t member;
	WORKER_COUNTERS(COUNTER_MEMBER)
#undef COUNTER_MEMBER
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

struct loop_worker; /* app/loop.c */
struct tap_set;
struct worker_call;

struct worker {
	struct dataplane *dataplane;
	unsigned index;
	/* once per burst */
	const struct policy *policy;
	uint32_t now_ms;
	/* NULL almost always: called at the end of a packet's way; live taps, see app/tap.h */
	packet_trace_fn trace;
	void *trace_context;
	const struct tap_set *taps;
	/* its own */
	struct flow_table *flows;
	struct transmit_queue *transmit; /* by port */
	uint16_t *transmit_pending;      /* ports with frames in their queue */
	unsigned transmit_pending_count;
	struct held_packet held[HELD_MAX];
	unsigned held_count;
	struct fragment_table *fragments;
	bool eviction_wanted; /* see open_flow */
	uint64_t random;
	uint32_t housekeeping_ms; /* when neighbours were last looked after */
	uint16_t swept_qube;      /* whose names were */
	struct worker_counters counters;
	struct port_counters *ports;
	struct drop_notes **notes; /* by port; NULL where none was ever opened */
	struct loop_worker *loop;  /* NULL where nobody runs one */
	/* others' */
	struct rte_ring *handover;
	_Atomic(struct worker_call *) call; /* to be run, and who has been; see app/worker_call.h */
	_Atomic(struct worker_call *) call_done;
	int call_done_fd;
	atomic_bool asleep;
	int wake_fd; /* eventfd; -1 where nobody sleeps */
};

/* pipeline.c */

/** Find out which flow an ICMP error is about. Sets its tuple. */
enum reason pipeline_relate(const struct policy *policy, struct rte_mbuf *mbuf);

/** Take packets that this worker owns from the flow lookup to the way out. */
void pipeline_owned(struct worker *worker, struct rte_mbuf **burst, unsigned count);

/** End a packet: count, answer, trace and free it. */
void worker_drop(struct worker *worker, struct rte_mbuf *mbuf, enum reason reason);

/** End packets that a stage rejected, each with the reason in its struct packet. */
void worker_drop_burst(struct worker *worker, struct rte_mbuf **burst, unsigned count);

/** A packet that ends with @p verdict but not as a drop: count and trace it. It is the caller's. */
static inline void
worker_finish(struct worker *worker, const struct rte_mbuf *mbuf, enum verdict verdict)
{
	struct packet *packet = packet_of((struct rte_mbuf *)(uintptr_t)mbuf);

	packet->verdict = (uint8_t)verdict;
	worker->counters.verdicts[verdict]++;
	if (unlikely(worker->trace != NULL))
		worker->trace(worker->trace_context, mbuf, packet);
}

/** Have a worker look at what was put down for it, also when it sleeps. Any thread. */
void worker_wake(struct worker *worker);

/* open.c */

/**
 * Open the flow of a packet whose destination is found and agreed to; sets its `flow`.
 * @param may_evict whether another flow of the same account may be closed for it. Without, and when
 *	that would be needed, `worker->eviction_wanted` is set: nothing may still depend on flows of
 *	the burst when it is called again with it
 * @return REASON_NONE or why not; then nothing is taken
 */
enum reason open_flow(
	struct worker *worker, struct rte_mbuf *mbuf, const struct target *target, bool may_evict);

/* What opening a flow would do. */
struct open_trial {
	struct flow_gone gone;         /* flows that end first */
	struct binding_trial bindings; /* and what they give back */
	uint32_t hand;                 /* of the search for flows that may go */
	unsigned evicted;              /* of those that are gone */
	struct tuple reply;            /* how answers would arrive, as far as it came */
	struct flow_way way[2];        /* a neighbour of the uplink is NEIGHBOUR_NONE */
};

/** Note in a new trial that @p flow ends before the question. */
void open_trial_end(struct open_trial *trial, const struct flow *flow);

/**
 * What open_flow would say, with other flows closed for it if need be, and what it would do.
 * Nothing changes.
 */
enum reason open_try(struct worker *worker, const struct packet *packet,
	const struct target *target, struct open_trial *trial);

/** End a flow and give back all that it holds. */
void open_end(struct worker *worker, struct flow *flow);

/** The same as a callback of flow_expire, which closes it. @param context the worker */
void open_expired(void *context, struct flow *flow);

/** A handshake is complete, or over: the flow is no longer counted as half-open. */
void open_established(struct worker *worker, struct flow *flow);

/** Whether a packet from across the uplink comes from a host its binding has spoken to. */
bool open_permitted(struct worker *worker, const struct tuple *tuple);

/**
 * Enter a flow that is in the table of @p worker, with all its fields, into accounts, bindings and
 * permissions, as if it had been opened here: for flows from before a restart. Of its flags only
 * FLOW_BINDING of one that came in is asked; the others that say what it holds are set.
 * @return false when that cannot be: its external port is taken, an account is at its limit; the
 *	flow is closed then
 */
bool worker_adopt(struct worker *worker, struct flow *flow);

/* decide.c */

/* What is to become of one packet: whether it may open a flow, or its flow may live on. */
struct decision {
	const struct flow *flow; /* the open flow it is about; NULL: one to be opened */
	struct target target;
	enum reason reason;
	bool elsewhere; /* its flow would have another address of ours now, or another resolver */
	uint16_t rule;
};

/**
 * Decide about those packets of a burst that have no flow, or one from before the policy.
 * @return one bit for each packet whose element of @p decisions was filled
 */
uint64_t decide_burst(struct worker *worker, struct rte_mbuf *const *burst, unsigned count,
	struct decision *decisions);

/** Whether a flow still belongs to the qube that has its index now, with the address it has now. */
bool flow_has_qube(const struct policy *policy, const struct flow *flow);

/** What decide_burst would say of one packet, if anything. Nothing changes. */
bool decide_try(struct worker *worker, const struct packet *packet, struct decision *decision);

/**
 * Whether a packet whose flow cannot go on opens the one that it would open today. It does if its
 * sender cannot tell the difference: of all but connections that somebody has answered.
 */
bool flow_begins_anew(const struct decision *decision, const struct packet *packet);

/**
 * Whether a flow bears an address of ours on the uplink that is not ours any more. One whose
 * family has none there at present is not lost yet: it may come back.
 */
bool flow_is_stale(const struct policy *policy, const struct flow *flow);

/**
 * End an open flow: a TCP connection with resets to both ends, others at once.
 * @param serial of the packet that this is because of; 0: of none
 * @return whether the flow is still in the table, as FLOW_REFUSED, to reset who has not heard
 */
bool flow_reset(struct worker *worker, struct flow *flow, uint32_t serial);

/**
 * End a flow that is no longer allowed, as flow_reset.
 * @return why @p mbuf, whose flow it is, is dropped
 */
enum reason refuse_flow(struct worker *worker, struct rte_mbuf *mbuf);

/* route.c */

/** Who is next on the way to an address beyond the uplink. */
enum reason route_next_hop(const struct policy *policy, enum family family,
	const union address *destination, union address *next_hop);

/** The way to an address beyond the uplink. */
enum reason route_find(struct worker *worker, enum family family, const union address *destination,
	struct flow_way *way);

/**
 * Find the ways of a flow across the uplink again: gateway or link may have changed.
 * @return false when there is none
 */
bool route_again(struct worker *worker, struct flow *flow);

/** Whether a packet fits the way out, in pieces if it may be cut. Marks what must be. */
bool route_fit(const struct rte_mbuf *mbuf, struct packet *packet, uint16_t mtu);

/** Send packets of tracked flows on their way: route, rewrite, transmit. Takes them. */
void route_burst(struct worker *worker, struct rte_mbuf **burst, unsigned count);

/**
 * Send a finished packet through port @p out in fragments: no longer than the MTU, or than those
 * it came in. Takes it.
 */
void route_split(struct worker *worker, struct rte_mbuf *mbuf, uint16_t out);

/** Packets whose neighbour has answered, or never will, go on. @return how many */
unsigned route_service(struct worker *worker);

/** Drop packets that wait for a neighbour on a port that is gone, or came from one. */
void route_forget(struct worker *worker, bool (*is_gone)(const void *context, uint16_t port),
	const void *context);

/* dataplane.c */

/** The queue of a port is full: send it. */
void worker_transmit_full(struct worker *worker, uint16_t port);

/** Put a finished frame into the queue of a port. */
static inline void
worker_transmit(struct worker *worker, uint16_t port, struct rte_mbuf *mbuf)
{
	struct transmit_queue *queue = &worker->transmit[port];
	uint16_t count = queue->count;

	queue->burst[count] = mbuf;
	queue->count = (uint16_t)(count + 1);
	if (unlikely(count == 0))
		worker->transmit_pending[worker->transmit_pending_count++] = port;
	if (unlikely(count + 1 == BURST_MAX))
		worker_transmit_full(worker, port);
}

/** Send what is in the queues. */
void worker_flush(struct worker *worker);

/* A pseudo-random word: of good quality, predictable only to who knows the secret. */
uint64_t worker_random(struct worker *worker);

/* local.c */

/** Whether the firewall itself takes a packet: ARP, neighbour discovery, a ping to it. */
static inline bool
local_takes(const struct packet *packet)
{
	if (likely(packet->kind == PACKET_IP && (packet->flags & (PACKET_ND | PACKET_LOCAL)) == 0))
		return false;
	if (packet->kind == PACKET_ARP || (packet->flags & PACKET_ND) != 0)
		return true;
	/* TCP, UDP and answers to pings may belong to a flow, and errors: the flow table knows. */
	return packet->tuple.protocol != IPPROTO_TCP && packet->tuple.protocol != IPPROTO_UDP &&
	       (packet->flags & PACKET_ICMP_REPLY) == 0;
}

/**
 * Why local_packet would drop an IP packet; REASON_NONE if it would not. Of neighbour discovery it
 * says only whether a message of that type and length is looked into at all.
 */
enum reason local_reason(const struct rte_mbuf *mbuf);

/** Take a packet addressed to the firewall itself, or ARP or neighbour discovery; ends it. */
void local_packet(struct worker *worker, struct rte_mbuf *mbuf);

/** Why the firewall does not serve a packet that is addressed to it. */
enum reason local_refusal(const struct packet *packet);

/** Ask for the MAC of a neighbour: a host on the uplink, or the qube of a port. */
void local_solicit(struct worker *worker, uint16_t port, uint16_t neighbour);

/* reply.c */

/** Whether the sender of @p packet may get one more answer now; counts it. */
bool reply_allowed(struct worker *worker, const struct packet *packet);

/** Send the ICMP error that @p answer stands for, about an unchanged packet, if it may be sent. */
void reply_error(struct worker *worker, const struct rte_mbuf *mbuf, enum answer answer);

/**
 * Send a RST to the end of @p flow that receives what goes in @p direction, as if the other end had
 * sent it.
 * @param sequence what that end expects next, host order
 */
void reply_reset(struct worker *worker, const struct flow *flow, enum direction direction,
	uint32_t sequence, uint32_t acknowledgement, uint32_t serial);
