/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records of taps. See tap.h.
 *
 * A serial names a tap's slot, one of its records, and how often that has been used, which begins
 * anywhere: so a serial that was left in a packet by a tap of earlier finds nothing.
 */
#include "app/tap.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_ether.h>
#include <rte_malloc.h>

#define SLOT_SHIFT 30
#define INDEX_SHIFT 20
#define INDEX_MASK (TAP_BUFFERS - 1)
#define USE_MASK ((UINT32_C(1) << INDEX_SHIFT) - 1)
_Static_assert(TAPS_MAX <= 1 << (32 - SLOT_SHIFT) && TAP_BUFFERS <= 1 << (SLOT_SHIFT - INDEX_SHIFT),
	"a serial holds slot and index");

struct tap {
	/* immutable */
	struct tap_options options;
	unsigned slot;
	struct rte_mempool *pool;
	struct rte_ring *ring; /* of finished records */
	/* by all */
	atomic_bool receiving;
	_Atomic uint64_t missed;
	struct rte_mbuf *record[TAP_BUFFERS]; /* immutable */
};

/* What a new tap's records have been used; control thread. */
static uint32_t uses;

static struct tap_record *
record_of(struct rte_mbuf *mbuf)
{
	return rte_mbuf_to_priv(mbuf);
}

static void
record_prepare(struct rte_mempool *pool, void *context, void *object, unsigned index)
{
	struct tap *tap = context;

	(void)pool;
	tap->record[index] = object;
	record_of(object)->serial =
		(uint32_t)tap->slot << SLOT_SHIFT | index << INDEX_SHIFT | (uses & USE_MASK);
}

int
tap_create(unsigned slot, const struct tap_options *options, struct tap **out)
{
	struct tap *tap = calloc(1, sizeof(*tap));
	char name[RTE_MEMPOOL_NAMESIZE];

	if (tap == NULL)
		return -ENOMEM;
	tap->options = *options;
	tap->slot = slot;
	snprintf(name, sizeof(name), "tap-%u", slot);
	/* without caches, so that every buffer can be had by every worker */
	tap->pool = rte_pktmbuf_pool_create(name, TAP_BUFFERS, 0,
		RTE_ALIGN_CEIL(sizeof(struct tap_record), RTE_MBUF_PRIV_ALIGN),
		RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	tap->ring = rte_ring_create(name, TAP_RING, SOCKET_ID_ANY, RING_F_SC_DEQ);
	if (tap->pool == NULL || tap->ring == NULL) {
		tap_free(tap);
		return -ENOMEM;
	}
	uses += 0x9e3779b9 >> (32 - INDEX_SHIFT);
	rte_mempool_obj_iter(tap->pool, record_prepare, tap);
	*out = tap;
	return 0;
}

void
tap_free(struct tap *tap)
{
	if (tap == NULL)
		return;
	rte_ring_free(tap->ring);
	rte_mempool_free(tap->pool);
	free(tap);
}

void
tap_receive_from_now(struct tap *tap, bool receive)
{
	atomic_store(&tap->receiving, receive);
}

unsigned
tap_take(struct tap *tap, struct rte_mbuf **records, unsigned count)
{
	return rte_ring_dequeue_burst(tap->ring, (void **)records, count, NULL);
}

uint64_t
tap_missed(const struct tap *tap)
{
	return atomic_load_explicit(&tap->missed, memory_order_relaxed);
}

/* Data path. */

static void
miss(struct tap *tap)
{
	atomic_fetch_add_explicit(&tap->missed, 1, memory_order_relaxed);
}

/* A record of a frame as it is now; NULL, and counted, when there is none. */
static struct rte_mbuf *
record_begin(struct tap *tap, const struct rte_mbuf *mbuf, uint16_t port, uint64_t tsc)
{
	struct rte_mbuf *copy = tap->options.frames
					? rte_pktmbuf_copy(mbuf, tap->pool, 0, tap->options.snaplen)
					: rte_pktmbuf_alloc(tap->pool);
	struct tap_record *record;
	uint32_t serial;

	if (copy == NULL) {
		miss(tap);
		return NULL;
	}
	record = record_of(copy);
	serial = (record->serial & ~USE_MASK) | ((record->serial + 1) & USE_MASK);
	*record = (struct tap_record){
		.serial = serial != 0 ? serial : 1,
		.tsc = tsc,
		.wire_length = rte_pktmbuf_pkt_len(mbuf),
		.port = port,
	};
	return copy;
}

static void
record_end(struct tap *tap, struct rte_mbuf *mbuf)
{
	struct tap_record *record = record_of(mbuf);

	/* nobody finds it any more */
	record->serial = (record->serial & ~USE_MASK) | ((record->serial + 1) & USE_MASK);
	if (rte_ring_enqueue(tap->ring, mbuf) != 0) {
		miss(tap);
		rte_pktmbuf_free(mbuf);
	}
}

/* The record of a serial, and its tap; NULL if there is none. */
static struct rte_mbuf *
record_find(const struct tap_set *set, uint32_t serial, struct tap **tap)
{
	struct rte_mbuf *mbuf;

	*tap = set->tap[serial >> SLOT_SHIFT];
	if (serial == 0 || *tap == NULL)
		return NULL;
	mbuf = (*tap)->record[serial >> INDEX_SHIFT & INDEX_MASK];
	return record_of(mbuf)->serial == serial ? mbuf : NULL;
}

static bool
is_receiving(const struct tap *tap)
{
	return tap != NULL && atomic_load_explicit(&tap->receiving, memory_order_relaxed);
}

void
tap_arrived(struct worker *worker, struct rte_mbuf *const *burst, unsigned count)
{
	uint64_t tsc = rte_rdtsc();

	for (unsigned i = 0; i < count; i++) {
		struct packet *packet = packet_of(burst[i]);

		packet->serial = 0;
		for (unsigned slot = 0; slot < TAPS_MAX; slot++) {
			struct tap *tap = worker->taps->tap[slot];
			struct rte_mbuf *record;

			/* What is traced may leave by the port; that shows at the end. */
			if (!is_receiving(tap) ||
				(tap->options.frames && tap->options.port != PORT_NONE &&
					tap->options.port != packet->in_port) ||
				!tap_filter_matches(&tap->options.filter, burst[i]))
				continue;
			record = record_begin(tap, burst[i], packet->in_port, tsc);
			if (record == NULL)
				continue;
			record_of(record)->next = packet->serial;
			packet->serial = record_of(record)->serial;
		}
	}
}

/* What is known of a packet's flow and way, while the flow is there. */
static void
record_flow(struct tap_record *record, const struct worker *worker, const struct rte_mbuf *mbuf,
	const struct packet *packet)
{
	const struct flow *flow = packet->flow;
	const struct flow_way *way;
	struct tuple other;

	if (flow == NULL)
		return;
	record->flow = (packet->flags & PACKET_OPENED) != 0 ? TAP_FLOW_OPENED : TAP_FLOW_KNOWN;
	record->flow_state = flow->state;
	record->flow_inbound = (flow->flags & FLOW_INBOUND) != 0;
	flow_tuple(flow, !packet->direction, &other);
	record->left = (struct tuple){
		.source = other.destination,
		.destination = other.source,
		.source_port = other.destination_port,
		.destination_port = other.source_port,
		.protocol = other.protocol,
		.family = other.family,
	};
	if (packet->verdict != VERDICT_FORWARD)
		return;
	way = &flow->way[packet->direction];
	neighbour_address(
		worker->dataplane->ports[way->port].neighbours, way->neighbour, &record->next_hop);
	memcpy(record->next_mac, rte_pktmbuf_mtod(mbuf, const struct rte_ether_hdr *),
		sizeof(record->next_mac));
	record->next_hop_known = true;
}

/* A packet_trace_fn: its way has ended. @param context the worker */
static void
tap_finished(void *context, const struct rte_mbuf *mbuf, const struct packet *packet)
{
	struct worker *worker = context;
	uint32_t serial = packet->serial;
	struct rte_mbuf *found;
	struct tap *tap;

	while ((found = record_find(worker->taps, serial, &tap)) != NULL) {
		struct tap_record *record = record_of(found);
		uint16_t port = tap->options.port;

		serial = record->next;
		packet_summarize(&record->summary, packet, packet->verdict);
		record_flow(record, worker, mbuf, packet);
		if ((tap->options.drops && packet->verdict != VERDICT_DROP) ||
			(port != PORT_NONE && port != record->summary.in_port &&
				port != record->summary.out_port))
			rte_pktmbuf_free(found);
		else
			record_end(tap, found);
	}
	/* When it leaves its flow may be gone: whose it is must be known by then. */
	if (packet->qube == QUBE_NONE && packet->flow != NULL)
		packet_of((struct rte_mbuf *)(uintptr_t)mbuf)->qube = packet->flow->qube;
}

void
tap_leaves(struct worker *worker, uint16_t port, struct rte_mbuf *const *burst, unsigned count)
{
	uint64_t tsc = rte_rdtsc();

	for (unsigned slot = 0; slot < TAPS_MAX; slot++) {
		struct tap *tap = worker->taps->tap[slot];

		if (!is_receiving(tap) || !tap->options.frames || tap->options.drops ||
			(tap->options.port != PORT_NONE && tap->options.port != port))
			continue;
		for (unsigned i = 0; i < count; i++) {
			struct packet packet = *packet_of(burst[i]);
			struct tap_record *record;
			struct rte_mbuf *copy;

			if (!tap_filter_matches(&tap->options.filter, burst[i]))
				continue;
			copy = record_begin(tap, burst[i], port, tsc);
			if (copy == NULL)
				continue;
			record = record_of(copy);
			record->out = true;
			record->own = packet.in_port == PORT_NONE;
			packet.flow = NULL;
			packet_summarize(&record->summary, &packet, packet.verdict);
			record_end(tap, copy);
		}
	}
}

void
tap_install(struct worker *worker, const struct tap_set *set)
{
	worker->taps = set;
	worker->trace = set != NULL ? tap_finished : NULL;
	worker->trace_context = worker;
}
