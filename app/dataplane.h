/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data plane: workers, the ports they serve and everything a packet meets between them.
 *
 * `sluiced` runs each worker on an lcore of its own with the time of day; `sluice-replay` runs them
 * one after the other in one thread with the time of its captures. Neither knows what happens
 * inside: packets enter by dataplane_receive and leave by a port's tx_burst.
 */
#pragma once

#include <rte_rcu_qsbr.h>
#include <rte_ring.h>

#include "app/configure.h"
#include "app/port.h"
#include "conf/policy_store.h"
#include "nat/binding.h"
#include "nat/flow.h"

struct worker;

/* Fragments from across the uplink that may wait, per group of sources. */
#define UPLINK_FRAGMENTS 256
/* Sources across the uplink share this many accounts, by a keyed hash of their address. */
#define UPLINK_ACCOUNTS 64
#define ACCOUNTS (2 * QUBES_MAX + UPLINK_ACCOUNTS)

/* Everything that can hold mbufs at once: device queues, hand-over, bursts, waiting packets. A port
   of the kernel keeps none. */
#define MBUFS_PER_PORT 32
#define MBUFS_PER_DEVICE 1024
/* DPDK devices that may come at run time. */
#define DEVICES_SPARE 4

/* Policies that may wait for workers to forget them. */
#define RETIRED_MAX 16

/* Called once for every received packet when its way ended, before it is sent or freed. */
typedef void (*packet_trace_fn)(
	void *context, const struct rte_mbuf *mbuf, const struct packet *packet);

/* Shared by all workers. Data path: ro, except where a type says atomic. */
struct dataplane {
	_Atomic(struct policy *) policy;
	struct flow_secret secret;
	/* slots for ports, by their index in policies: fewer are open, as a rule */
	unsigned port_count;
	struct port *ports;
	struct port_slots slots;
	uint64_t closed_drops[REASON_COUNT]; /* control thread: of ports that are closed */
	struct binding_table *bindings;
	struct rte_rcu_qsbr *quiescence; /* workers report between bursts */
	/* control thread: policies that a worker may still be using, oldest first */
	struct retired_policy {
		struct policy *policy;
		uint64_t token; /* of rte_rcu */
	} retired[RETIRED_MAX];
	unsigned retired_count;
	struct account *accounts; /* see dataplane_account */
	struct own_udp *own;      /* app/own_udp.h; NULL: the firewall itself has nothing to say */
	struct configure_state configure;
	struct rte_mempool *pool;
	unsigned devices_max; /* ports with queues of their own for which there are mbufs */
	unsigned worker_count;
	struct worker **workers;
	bool pickup;    /* there was no snapshot: TIMEOUT_PICKUP runs from time 0 */
	bool automatic; /* replay: neighbours need not be asked */
};

/** For how many DPDK devices there are mbufs: those of the configuration, and some more. */
unsigned dataplane_devices(const struct conf *conf);

/** The account of a qube for what it opens itself, or for what is opened towards it. */
static inline struct account *
dataplane_account(const struct dataplane *dataplane, uint16_t qube, bool inbound)
{
	return &dataplane->accounts[2 * (unsigned)qube + inbound];
}

/** The account that a sender across the uplink shares with some others. */
static inline struct account *
dataplane_uplink_account(const struct dataplane *dataplane, const union address *source)
{
	const uint64_t *word = dataplane->secret.word;
	uint64_t hash = hash_pair(source->half[0], source->half[1], word[2], word[1]);

	return &dataplane->accounts[2 * QUBES_MAX + hash_range(hash, UPLINK_ACCOUNTS)];
}

/**
 * Create pools, tables and workers for a configuration. The ports of the policy have their slots
 * and neighbour tables, but are not opened.
 * @param policy the first snapshot; owned by the data plane from now on
 * @param secret NULL draws one; replay passes a fixed one so that its output repeats
 * @param automatic neighbours resolve by themselves and a qube's MAC is learned from any packet
 * @return 0 or -errno, reported
 */
int dataplane_create(const struct conf *conf, struct policy *policy,
	const struct flow_secret *secret, bool automatic, const struct report *report,
	struct dataplane **out);

/**
 * Put another policy in force: every packet that arrives from now on is judged by it. Workers go on
 * without a pause and take it up with their next burst; the one it takes the place of is freed by a
 * later call, when the last of them has. Control thread.
 * @param policy owned by the data plane from now on
 */
void dataplane_publish(struct dataplane *dataplane, struct policy *policy);

/**
 * Give the port @p index of @p policy its slot: neighbours, counters from zero. Control thread,
 * before the policy is published. Whoever opens it then fills `ops`.
 * @return 0 or -ENOMEM; then the slot is free
 */
int dataplane_port_prepare(struct dataplane *dataplane, const struct conf *conf,
	const struct policy *policy, uint16_t index);

/** Prepare a port and open its device. @return 0 or -errno, reported; then the slot is free */
int dataplane_port_open(struct dataplane *dataplane, const struct conf *conf,
	const struct policy *policy, uint16_t index, const struct report *report);

/**
 * Close a port that no worker can touch any more, and free its slot.
 * @return 0, or -EBUSY while a packet that came from it is still somewhere: then nothing has
 *	happened but that it is to be tried again
 */
int dataplane_port_close(struct dataplane *dataplane, uint16_t index);

/** Have neighbours of open ports follow a policy that is about to be published. Control thread. */
void dataplane_neighbours_follow(
	struct dataplane *dataplane, const struct conf *conf, const struct policy *policy);

/** A port that is open and in force, NULL for other indices. For reports. Control thread. */
static inline const struct port *
dataplane_port(const struct dataplane *dataplane, unsigned index)
{
	return index < dataplane->port_count && dataplane->ports[index].state == PORT_OPEN
		       ? &dataplane->ports[index]
		       : NULL;
}

/** Have @p trace called, by all workers. No worker may be running. */
void dataplane_trace(struct dataplane *dataplane, packet_trace_fn trace, void *context);

/** Close ports and free everything. No worker may be running. */
void dataplane_free(struct dataplane *dataplane);

/** Take a burst that arrived on @p port through the whole pipeline. */
void dataplane_receive(struct worker *worker, struct port *port, struct rte_mbuf **burst,
	unsigned count, uint32_t now_ms);

/**
 * What a worker does between bursts: packets handed over by others, packets that waited for a
 * neighbour, timers.
 * @return how many packets it handled; 0 means nothing is waiting
 */
unsigned dataplane_service(struct worker *worker, uint32_t now_ms);

/**
 * In how many ms dataplane_service, which has just been called, has something to do if nothing
 * happens meanwhile.
 * @param most_ms what is returned at most
 */
uint32_t dataplane_due_ms(const struct worker *worker, uint32_t most_ms);
