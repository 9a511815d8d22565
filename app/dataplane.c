/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building the data plane: pools, tables and workers, all of them sized here and never again. Ports
 * come and go, but no more of them than there are slots.
 *
 * A slot belongs to a port from before the policy that brings it until all workers have forgotten
 * it: app/port_change.h. What a slot without a port costs is its place in a few arrays.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_malloc.h>

#include "app/tap.h"
#include "classifier/guard.h"
#include "nat/mapped.h"

#define HANDOVER_SIZE 1024
#define NEIGHBOUR_CACHE 4096
#define POOL_CACHE 256
/* Everything that can hold mbufs at once: device rings, hand-over, bursts, waiting packets. */
#define MBUFS_PER_PORT 32
#define MBUFS_PER_WORKER (HANDOVER_SIZE + HELD_MAX * 32 + 8 * BURST_MAX + POOL_CACHE)
#define MBUFS_PER_DEVICE 1024
#define DEVICES_SPARE 2
#define MBUFS_LEAST 8192
/* Datagrams that may wait for their fragments, per worker. */
#define DATAGRAMS 1024
/* How often workers are asked whether they have done with a policy. */
#define QUIESCENCE_WAIT_US 200

uint64_t
worker_random(struct worker *worker)
{
	uint64_t word;

	/* SplitMix64, seeded from the secret */
	worker->random += UINT64_C(0x9e3779b97f4a7c15);
	word = worker->random;
	word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
	return word ^ (word >> 31);
}

static void
transmit_queue_flush(struct worker *worker, uint16_t index)
{
	struct transmit_queue *queue = &worker->transmit[index];
	struct port *port = &worker->dataplane->ports[index];
	struct port_counters *counters = &worker->ports[index];
	uint16_t count = queue->count;
	uint64_t bytes = 0;
	uint16_t sent;

	if (count == 0)
		return;
	for (uint16_t i = 0; i < count; i++)
		bytes += rte_pktmbuf_pkt_len(queue->burst[i]);
	queue->count = 0;
	if (unlikely(worker->taps != NULL))
		tap_leaves(worker, index, queue->burst, count);
	if (unlikely(mapped_port(worker->policy, index)))
		mapped_leave(worker->policy, index, queue->burst, count);
	sent = port->ops->tx_burst(port, worker->index, queue->burst, count);
	counters->tx_packets += sent;
	counters->tx_bytes += sent == count ? bytes : bytes / count * sent;
	counters->drops[REASON_TRANSMIT] += (uint64_t)(count - sent);
}

void
worker_transmit_full(struct worker *worker, uint16_t port)
{
	transmit_queue_flush(worker, port);
	for (unsigned i = 0; i < worker->transmit_pending_count; i++)
		if (worker->transmit_pending[i] == port)
			worker->transmit_pending[i] =
				worker->transmit_pending[--worker->transmit_pending_count];
}

void
worker_flush(struct worker *worker)
{
	for (unsigned i = 0; i < worker->transmit_pending_count; i++)
		transmit_queue_flush(worker, worker->transmit_pending[i]);
	worker->transmit_pending_count = 0;
}

static void
worker_free(struct worker *worker)
{
	struct rte_mbuf *mbuf;

	if (worker == NULL)
		return;
	for (unsigned i = 0; i < worker->held_count; i++)
		rte_pktmbuf_free(worker->held[i].mbuf);
	while (worker->handover != NULL && rte_ring_dequeue(worker->handover, (void **)&mbuf) == 0)
		rte_pktmbuf_free(mbuf);
	rte_ring_free(worker->handover);
	flow_table_free(worker->flows);
	fragment_table_free(worker->fragments);
	rte_free(worker->transmit);
	rte_free(worker->transmit_pending);
	rte_free(worker->ports);
	for (unsigned i = 0; worker->notes != NULL && i < worker->dataplane->port_count; i++)
		rte_free(worker->notes[i]);
	rte_free(worker->notes);
	rte_free(worker);
}

static void
fragment_dropped(void *context, struct rte_mbuf *mbuf, enum reason reason)
{
	worker_drop(context, mbuf, reason);
}

static void
fragment_joined(void *context, const struct rte_mbuf *mbuf)
{
	worker_finish(context, mbuf, VERDICT_JOINED);
}

static int
worker_create(struct dataplane *dataplane, unsigned index, uint32_t flows, struct worker **out)
{
	unsigned ports = dataplane->port_count;
	struct worker *worker = rte_zmalloc("worker", sizeof(*worker), RTE_CACHE_LINE_SIZE);
	const struct fragment_exits exits = {fragment_dropped, fragment_joined, worker};
	char name[RTE_RING_NAMESIZE];

	if (worker == NULL)
		return -ENOMEM;
	worker->dataplane = dataplane;
	worker->index = index;
	worker->wake_fd = -1;
	worker->random = dataplane->secret.word[0] + index;
	worker->flows = flow_table_create(flows, &dataplane->secret, 0, SOCKET_ID_ANY);
	worker->transmit =
		rte_calloc("transmit", ports, sizeof(worker->transmit[0]), RTE_CACHE_LINE_SIZE);
	worker->transmit_pending =
		rte_calloc("pending", ports, sizeof(worker->transmit_pending[0]), 0);
	worker->fragments =
		fragment_table_create(DATAGRAMS, &dataplane->secret, &exits, SOCKET_ID_ANY);
	worker->ports =
		rte_calloc("counters", ports, sizeof(worker->ports[0]), RTE_CACHE_LINE_SIZE);
	worker->notes = rte_calloc("notes", ports, sizeof(worker->notes[0]), 0);
	snprintf(name, sizeof(name), "handover-%u", index);
	worker->handover = rte_ring_create(name, HANDOVER_SIZE, SOCKET_ID_ANY, RING_F_SC_DEQ);
	if (worker->flows == NULL || worker->transmit == NULL || worker->transmit_pending == NULL ||
		worker->fragments == NULL || worker->ports == NULL || worker->notes == NULL ||
		worker->handover == NULL) {
		worker_free(worker);
		return -ENOMEM;
	}
	*out = worker;
	return 0;
}

/* The neighbours that a policy knows by address: gateways on the uplink, on other ports the qube.
 */
static void
neighbours_pin(struct port *port, const struct conf *conf, const struct policy *policy)
{
	const struct policy_port *own = &policy->ports[port->index];
	const struct conf_qube *conf_qube;
	const struct qube *qube;

	if (own->role == ROLE_UPLINK) {
		for (enum family family = 0; family < FAMILIES; family++)
			neighbour_pin(port->neighbours, family,
				own->has_gateway[family] ? &own->gateway[family] : NULL, 0);
		return;
	}
	/* The MAC of the host is the one we give it. */
	if (own->qube == QUBE_NONE || own->role == ROLE_HOST)
		return;
	qube = &policy->qubes[own->qube];
	conf_qube = conf_qube_find(conf, qube->name);
	port->peer_configured = conf_qube != NULL && conf_qube->has_mac;
	neighbour_pin(port->neighbours, NEIGHBOUR_PEER, &qube->address[FAMILY_IPV4],
		port->peer_configured ? mac_word(conf_qube->mac) : 0);
}

void
dataplane_neighbours_follow(
	struct dataplane *dataplane, const struct conf *conf, const struct policy *policy)
{
	for (unsigned i = 0; i < policy->port_count; i++)
		if (policy->ports[i].role != ROLE_NONE && dataplane->ports[i].state == PORT_OPEN)
			neighbours_pin(&dataplane->ports[i], conf, policy);
}

/*
 * Counters and notes of a slot begin anew. No worker has anything of the port before, and none gets
 * anything of the new one before it sees the policy with it.
 */
static int
slot_clear(struct dataplane *dataplane, uint16_t index)
{
	for (unsigned i = 0; i < dataplane->worker_count; i++) {
		struct worker *worker = dataplane->workers[i];

		memset(&worker->ports[index], 0, sizeof(worker->ports[index]));
		if (worker->notes[index] == NULL)
			worker->notes[index] = rte_zmalloc(
				"notes", sizeof(*worker->notes[index]), RTE_CACHE_LINE_SIZE);
		else
			memset(worker->notes[index], 0, sizeof(*worker->notes[index]));
		if (worker->notes[index] == NULL)
			return -ENOMEM;
	}
	return 0;
}

static void
slot_free(struct dataplane *dataplane, struct port *port)
{
	neighbour_table_free(port->neighbours);
	*port = (struct port){.state = PORT_FREE};
	dataplane->slots.taken[port - dataplane->ports] = false;
}

int
dataplane_port_prepare(struct dataplane *dataplane, const struct conf *conf,
	const struct policy *policy, uint16_t index)
{
	struct port *port = &dataplane->ports[index];
	const struct policy_port *own = &policy->ports[index];
	int error = slot_clear(dataplane, index);

	if (error != 0)
		return error;
	*port = (struct port){
		.state = PORT_OPEN,
		.index = index,
		.owner = (uint16_t)(index % dataplane->worker_count),
		.neighbours = neighbour_table_create(
			own->role == ROLE_UPLINK ? NEIGHBOUR_CACHE : 0, dataplane->automatic),
	};
	memcpy(port->name, own->name, sizeof(port->name));
	dataplane->slots.taken[index] = true;
	if (port->neighbours == NULL) {
		slot_free(dataplane, port);
		return -ENOMEM;
	}
	if (own->role == ROLE_HOST) {
		/* Its MAC is the one that we give it, whatever its addresses are. */
		const union address any = {0};

		neighbour_pin(port->neighbours, NEIGHBOUR_PEER, &any, 0);
	}
	neighbours_pin(port, conf, policy);
	return 0;
}

static const struct conf_port *
conf_port_of(const struct conf *conf, const char *name)
{
	for (unsigned i = 0; i < conf->port_count; i++)
		if (strcmp(conf->ports[i].name, name) == 0)
			return &conf->ports[i];
	return NULL;
}

int
dataplane_port_open(struct dataplane *dataplane, const struct conf *conf,
	const struct policy *policy, uint16_t index, const struct report *report)
{
	const struct port_setup setup = {
		.pool = dataplane->pool,
		.workers = dataplane->worker_count,
		.report = report,
	};
	struct port *port = &dataplane->ports[index];
	const struct conf_port *from = conf_port_of(conf, policy->ports[index].name);
	int error = from != NULL ? 0 : -ENOENT;

	/* Those of the first policy are prepared with the data plane. */
	if (error == 0 && port->state == PORT_FREE)
		error = dataplane_port_prepare(dataplane, conf, policy, index);
	if (error != 0) {
		report_line(report, "port %s: %s", policy->ports[index].name, strerror(-error));
		return error;
	}
	error = port_open(port, from, &setup);
	if (error != 0)
		slot_free(dataplane, port);
	return error;
}

int
dataplane_port_close(struct dataplane *dataplane, uint16_t index)
{
	struct port *port = &dataplane->ports[index];

	if (port->ops != NULL && port->ops->is_idle != NULL && !port->ops->is_idle(port))
		return -EBUSY;
	for (unsigned i = 0; i < dataplane->worker_count; i++)
		for (unsigned reason = 0; reason < REASON_COUNT; reason++)
			dataplane->closed_drops[reason] +=
				dataplane->workers[i]->ports[index].drops[reason];
	if (port->ops != NULL)
		port->ops->close(port);
	slot_free(dataplane, port);
	return 0;
}

/* Ports that keep packets while nothing happens; a kernel port has none. */
static unsigned
devices_count(const struct conf *conf)
{
	unsigned count = 0;

	for (unsigned i = 0; i < conf->port_count; i++)
		count += conf->ports[i].device != DEVICE_KERNEL;
	return count;
}

static int
allocate(struct dataplane *dataplane, const struct conf *conf)
{
	unsigned mbufs = dataplane->port_count * MBUFS_PER_PORT +
			 (devices_count(conf) + DEVICES_SPARE) * MBUFS_PER_DEVICE +
			 dataplane->worker_count *
				 ((unsigned)MBUFS_PER_WORKER + fragment_table_mbufs(DATAGRAMS));
	int error = 0;

	dataplane->ports =
		rte_calloc("ports", dataplane->port_count, sizeof(dataplane->ports[0]), 0);
	dataplane->workers =
		rte_calloc("workers", dataplane->worker_count, sizeof(dataplane->workers[0]), 0);
	dataplane->bindings = binding_table_create(&dataplane->secret, SOCKET_ID_ANY);
	dataplane->quiescence = rte_zmalloc("quiescence",
		rte_rcu_qsbr_get_memsize(dataplane->worker_count), RTE_CACHE_LINE_SIZE);
	dataplane->accounts = rte_calloc(
		"accounts", ACCOUNTS, sizeof(dataplane->accounts[0]), RTE_CACHE_LINE_SIZE);
	dataplane->pool = rte_pktmbuf_pool_create("mbufs", RTE_MAX(mbufs, (unsigned)MBUFS_LEAST),
		POOL_CACHE, RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN),
		RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (dataplane->ports == NULL || dataplane->workers == NULL || dataplane->bindings == NULL ||
		dataplane->accounts == NULL || dataplane->pool == NULL)
		return -ENOMEM;
	error = -rte_rcu_qsbr_init(dataplane->quiescence, dataplane->worker_count);
	for (unsigned i = 0; i < dataplane->worker_count && error == 0; i++)
		error = worker_create(dataplane, i, conf->flows, &dataplane->workers[i]);
	return error;
}

int
dataplane_create(const struct conf *conf, struct policy *policy, const struct flow_secret *secret,
	bool automatic, const struct report *report, struct dataplane **out)
{
	struct dataplane *dataplane = rte_zmalloc("dataplane", sizeof(*dataplane), 0);
	int error;

	if (dataplane == NULL) {
		policy_free(policy);
		return -ENOMEM;
	}
	dataplane->port_count = RTE_MAX(conf->ports_max, policy->port_count);
	dataplane->slots.count = dataplane->port_count;
	policy->slots = &dataplane->slots;
	dataplane->worker_count = conf->workers;
	dataplane->automatic = automatic;
	atomic_init(&dataplane->policy, policy);
	if (secret != NULL) {
		dataplane->secret = *secret;
	} else if (getrandom(&dataplane->secret, sizeof(dataplane->secret), 0) !=
		   (ssize_t)sizeof(dataplane->secret)) {
		report_line(report, "getrandom: no random secret to be had: %s", strerror(errno));
		dataplane_free(dataplane);
		return -EIO;
	}

	error = allocate(dataplane, conf);
	for (uint16_t i = 0; i < policy->port_count && error == 0; i++)
		if (policy->ports[i].role != ROLE_NONE)
			error = dataplane_port_prepare(dataplane, conf, policy, i);
	if (error != 0) {
		report_line(report,
			"out of memory for %u workers with %u flows each and %u ports: lower "
			"[sluice] flows, or reserve more hugepages",
			conf->workers, conf->flows, dataplane->port_count);
		dataplane_free(dataplane);
		return error;
	}
	*out = dataplane;
	return 0;
}

/* Free the policies that no worker uses any more. */
static void
retired_free(struct dataplane *dataplane)
{
	struct retired_policy *retired = dataplane->retired;
	unsigned done = 0;

	while (done < dataplane->retired_count &&
		rte_rcu_qsbr_check(dataplane->quiescence, retired[done].token, false) != 0)
		policy_free(retired[done++].policy);
	dataplane->retired_count -= done;
	memmove(retired, retired + done, dataplane->retired_count * sizeof(*retired));
}

/*
 * A worker that sleeps is offline, and one that works is through its round in no time, if it runs
 * at all: on a machine with too few cores it may have to wait for one itself. Nobody waits for it
 * here, which would only take that core away.
 */
void
dataplane_publish(struct dataplane *dataplane, struct policy *policy)
{
	struct policy *old =
		atomic_exchange_explicit(&dataplane->policy, policy, memory_order_acq_rel);

	while (dataplane->retired_count == RETIRED_MAX) {
		retired_free(dataplane);
		if (dataplane->retired_count == RETIRED_MAX)
			usleep(QUIESCENCE_WAIT_US);
	}
	dataplane->retired[dataplane->retired_count++] = (struct retired_policy){
		.policy = old,
		.token = rte_rcu_qsbr_start(dataplane->quiescence),
	};
	retired_free(dataplane);
}

void
dataplane_trace(struct dataplane *dataplane, packet_trace_fn trace, void *context)
{
	for (unsigned i = 0; i < dataplane->worker_count; i++) {
		dataplane->workers[i]->trace = trace;
		dataplane->workers[i]->trace_context = context;
	}
}

void
dataplane_free(struct dataplane *dataplane)
{
	if (dataplane == NULL)
		return;
	for (unsigned i = 0; dataplane->workers != NULL && i < dataplane->worker_count; i++)
		worker_free(dataplane->workers[i]);
	for (unsigned i = 0; dataplane->ports != NULL && i < dataplane->port_count; i++) {
		struct port *port = &dataplane->ports[i];

		if (port->ops != NULL)
			port->ops->close(port);
		neighbour_table_free(port->neighbours);
	}
	for (unsigned i = 0; i < dataplane->retired_count; i++)
		policy_free(dataplane->retired[i].policy);
	policy_free(atomic_load(&dataplane->policy));
	rte_mempool_free(dataplane->pool);
	binding_table_free(dataplane->bindings);
	rte_free(dataplane->accounts);
	rte_free(dataplane->quiescence);
	rte_free(dataplane->workers);
	rte_free(dataplane->ports);
	rte_free(dataplane);
}
