/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The way of a packet. Read dataplane_receive and pipeline_owned: they are the whole of it.
 *
 *	receive -> parse -> guard -> [local] -> steer -> lookup -> [judge -> open] -> track
 *		-> route -> rewrite -> transmit
 *
 * Each stage takes a burst and leaves the survivors at its front. Everything up to the flow lookup
 * may run on any worker; from there on a packet is in the hands of the worker that owns its flow.
 *
 * Packets of one burst are tracked strictly in order, so that what happens to them does not depend
 * on how they were bundled: when an earlier packet of the burst has opened or closed a flow, later
 * ones look again.
 */
#include <netinet/in.h>
#include <unistd.h>

#include <rte_ether.h>
#include <rte_ip.h>

#include "app/worker.h"
#include "classifier/guard.h"
#include "classifier/judge.h"
#include "classifier/parse.h"
#include "nat/rewrite.h"
#include "nat/steer.h"

/* Exits. */

static void
packet_finish(struct worker *worker, const struct rte_mbuf *mbuf, struct packet *packet,
	enum verdict verdict)
{
	packet->verdict = (uint8_t)verdict;
	worker->counters.verdicts[verdict]++;
	if (unlikely(worker->dataplane->trace != NULL))
		worker->dataplane->trace(worker->dataplane->trace_context, mbuf, packet);
}

void
worker_drop(struct worker *worker, struct rte_mbuf *mbuf, enum reason reason)
{
	struct packet *packet = packet_of(mbuf);
	enum answer answer = reasons[reason].answer;

	packet->reason = (uint8_t)reason;
	worker->ports[packet->in_port].drops[reason]++;
	/* Somebody across the uplink is answered only about a flow that exists. */
	if (answer != ANSWER_SILENCE && (packet->qube != QUBE_NONE || packet->flow != NULL))
		reply_error(worker, mbuf, answer);
	packet->out_port = PORT_NONE;
	packet_finish(worker, mbuf, packet, VERDICT_DROP);
	rte_pktmbuf_free(mbuf);
}

void
worker_drop_burst(struct worker *worker, struct rte_mbuf **burst, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		worker_drop(worker, burst[i], packet_of(burst[i])->reason);
}

void
worker_took(struct worker *worker, const struct rte_mbuf *mbuf)
{
	packet_finish(worker, mbuf, packet_of((struct rte_mbuf *)(uintptr_t)mbuf), VERDICT_LOCAL);
}

/* Opening flows. */

static void
flow_end(struct worker *worker, struct flow *flow)
{
	if ((flow->flags & FLOW_BINDING) != 0)
		binding_release(worker->dataplane->bindings, FAMILY_IPV4, flow->protocol,
			flow->port[DIRECTION_REPLY][1]);
	flow_close(worker->flows, flow);
}

bool
worker_adopt(struct worker *worker, struct flow *flow)
{
	(void)worker, (void)flow;
	return true;
}

/* The way to an address beyond the uplink. */
static enum reason
route_find(struct worker *worker, enum family family, const union address *destination,
	struct flow_way *way)
{
	const struct policy *policy = worker->policy;
	const struct policy_port *uplink = &policy->ports[policy->uplink];
	const union address *next_hop = destination;

	if (!uplink->has[family])
		return REASON_NO_ROUTE;
	if (!prefix_contains(&uplink->link[family], destination)) {
		if (!uplink->has_gateway[family])
			return REASON_NO_ROUTE;
		next_hop = &uplink->gateway[family];
	} else if (family == FAMILY_IPV4 && uplink->link[family].length < 31) {
		uint32_t host = UINT32_MAX >> uplink->link[family].length;

		if ((rte_be_to_cpu_32(destination->v4) & host) == host)
			return REASON_MARTIAN_DESTINATION; /* the link's broadcast address */
	}
	way->port = policy->uplink;
	way->neighbour = neighbour_index(worker->dataplane->ports[policy->uplink].neighbours,
		family, next_hop, worker->now_ms);
	return way->neighbour == NEIGHBOUR_NONE ? REASON_NO_ROUTE : REASON_NONE;
}

/*
 * How answers to a packet that goes out will arrive: from where it really goes to, at the address
 * and port it seems to come from.
 */
static enum reason
translate(struct worker *worker, const struct packet *packet, struct tuple *reply, bool *binding)
{
	const struct policy *policy = worker->policy;
	const struct policy_port *uplink = &policy->ports[policy->uplink];
	const struct tuple *tuple = &packet->tuple;
	int error = 0;

	*binding = false;
	*reply = (struct tuple){
		.source = tuple->destination,
		.destination = tuple->source,
		.source_port = tuple->destination_port,
		.destination_port = tuple->source_port,
		.protocol = tuple->protocol,
		.family = tuple->family,
	};
	if (tuple->family == FAMILY_IPV6)
		return REASON_NONE;
	if ((packet->flags & PACKET_DNS) != 0 && policy_resolver(policy, &reply->source) < 0)
		return REASON_NO_RESOLVER;
	reply->destination = uplink->address[FAMILY_IPV4];
	switch (tuple->protocol) {
	case IPPROTO_TCP:
		error = binding_tcp(worker->flows, &worker->dataplane->secret, NULL, reply);
		break;
	case IPPROTO_UDP:
	case IPPROTO_ICMP:
		if (tuple->protocol == IPPROTO_ICMP && (packet->flags & PACKET_ICMP_QUERY) == 0)
			break;
		error = binding_take(worker->dataplane->bindings,
			&(struct binding_request){.protocol = tuple->protocol,
				.qube = packet->qube,
				.port = tuple->source_port},
			&reply->destination_port, &(bool){false});
		*binding = error == 0;
		break;
	default: /* no ports to tell flows apart by: the first qube has the destination */
		break;
	}
	return error == 0 ? REASON_NONE : REASON_PORTS_EXHAUSTED;
}

/*
 * The external port of a binding is taken towards this very remote: another flow of the same qube
 * and port, to another virtual address of the same resolver. Give this flow a port of its own.
 */
static bool
rebind(struct worker *worker, const struct packet *packet, struct tuple *reply, bool *binding)
{
	struct binding_table *bindings = worker->dataplane->bindings;

	binding_release(bindings, FAMILY_IPV4, reply->protocol, reply->destination_port);
	*binding = binding_take_another(bindings,
			   &(struct binding_request){.protocol = reply->protocol,
				   .qube = packet->qube,
				   .port = packet->tuple.source_port},
			   &reply->destination_port) == 0;
	return *binding;
}

/* Open the flow of a packet that the rules have accepted. */
static enum reason
open_flow(struct worker *worker, struct rte_mbuf *mbuf)
{
	struct packet *packet = packet_of(mbuf);
	struct tuple reply;
	struct flow_way out;
	struct flow *flow;
	uint32_t deadline_ms = track_deadline(packet, worker->policy->timeouts, worker->now_ms);
	enum reason reason;
	bool binding;

	reason = translate(worker, packet, &reply, &binding);
	if (reason != REASON_NONE)
		return reason;
	reason = route_find(worker, packet->tuple.family, &reply.source, &out);
	flow = NULL;
	if (reason == REASON_NONE) {
		flow = flow_open(worker->flows, &packet->tuple, &reply, deadline_ms);
		if (flow == NULL && errno == EEXIST && binding &&
			rebind(worker, packet, &reply, &binding))
			flow = flow_open(worker->flows, &packet->tuple, &reply, deadline_ms);
		if (flow == NULL)
			reason = errno == EEXIST ? REASON_PORTS_EXHAUSTED : REASON_FLOWS_EXHAUSTED;
	}
	if (flow == NULL) {
		if (binding)
			binding_release(worker->dataplane->bindings, FAMILY_IPV4, reply.protocol,
				reply.destination_port);
		return reason;
	}
	if (binding)
		flow->flags |= FLOW_BINDING;
	flow->generation = worker->policy->generation;
	flow->qube = packet->qube;
	flow->rule = packet->rule;
	flow->way[DIRECTION_ORIGINAL] = out;
	flow->way[DIRECTION_REPLY] =
		(struct flow_way){.port = packet->in_port, .neighbour = NEIGHBOUR_PEER};
	track_open(flow, mbuf, worker->policy->timeouts, worker->now_ms);
	worker->counters.flows_opened++;
	packet->flow = flow;
	packet->direction = DIRECTION_ORIGINAL;
	return REASON_NONE;
}

/* Why a packet without a flow cannot even be judged; REASON_NONE if it can. */
static enum reason
opens(const struct worker *worker, const struct packet *packet)
{
	enum reason reason;

	if (packet->qube == QUBE_NONE) {
		reason = guard_unsolicited(worker->policy, packet);
		return reason == REASON_NO_FLOW && (packet->flags & PACKET_ICMP_ERROR) != 0
			       ? REASON_ICMP_ERROR
			       : reason;
	}
	reason = track_opens(packet);
	/* Without rules there is silence, also where a hop limit would break it. */
	if (reason == REASON_NONE && worker->policy->qubes[packet->qube].rules->state == RULES_NONE)
		return REASON_NO_RULES;
	if (reason == REASON_NONE && packet->ttl <= 1)
		reason = REASON_TIME_EXCEEDED;
	return reason;
}

/* Judge the packets that found no flow, all in one batch. */
static void
judge_misses(struct worker *worker, struct rte_mbuf *const *burst, unsigned count)
{
	struct rte_mbuf *misses[BURST_MAX];
	unsigned missed = 0;

	for (unsigned i = 0; i < count; i++) {
		struct packet *packet = packet_of(burst[i]);

		if (likely(packet->flow != NULL))
			continue;
		packet->reason = (uint8_t)opens(worker, packet);
		if (packet->reason == REASON_NONE)
			misses[missed++] = burst[i];
	}
	if (missed > 0)
		judge_burst(worker->policy, misses, missed);
}

/* Routing. */

static bool
fits(const struct rte_mbuf *mbuf, const struct packet *packet, uint16_t mtu)
{
	uint32_t length = packet->frame_length - packet->l3_offset;

	if (likely(length <= mtu))
		return true;
	/* Several segments in one frame: each must fit by itself. */
	return (mbuf->ol_flags & RTE_MBUF_F_RX_LRO) != 0 &&
	       (uint32_t)(packet->payload_offset - packet->l3_offset) + mbuf->tso_segsz <= mtu;
}

/*
 * Keep a packet until its next hop has said its MAC. A frame that lies in a receive ring would
 * block that ring, so it is copied.
 */
static enum reason
hold(struct worker *worker, struct rte_mbuf *mbuf, const struct flow_way *way)
{
	unsigned same = 0;

	for (unsigned i = 0; i < worker->held_count; i++)
		same += worker->held[i].port == way->port &&
			worker->held[i].neighbour == way->neighbour;
	if (same >= HELD_PER_NEIGHBOUR || worker->held_count == HELD_MAX)
		return REASON_NEIGHBOUR_PENDING;
	if (RTE_MBUF_HAS_EXTBUF(mbuf)) {
		struct rte_mbuf *copy =
			rte_pktmbuf_copy(mbuf, worker->dataplane->pool, 0, UINT32_MAX);

		if (copy == NULL)
			return REASON_NO_MBUF;
		*packet_of(copy) = *packet_of(mbuf);
		rte_pktmbuf_free(mbuf);
		mbuf = copy;
	}
	worker->held[worker->held_count++] =
		(struct held_packet){.mbuf = mbuf, .port = way->port, .neighbour = way->neighbour};
	return REASON_NONE;
}

/* The next hop's MAC is unknown: ask for it and wait, or give up. Takes the packet. */
static void
resolve(struct worker *worker, struct rte_mbuf *mbuf, const struct flow_way *way)
{
	struct neighbour_table *neighbours = worker->dataplane->ports[way->port].neighbours;
	enum reason reason;

	if (neighbour_should_ask(neighbours, way->neighbour, worker->now_ms))
		local_solicit(worker, way->port, way->neighbour);
	if (neighbour_state(neighbours, way->neighbour) == NEIGHBOUR_FAILED)
		reason = REASON_NEIGHBOUR_FAILED;
	else
		reason = hold(worker, mbuf, way);
	if (reason != REASON_NONE)
		worker_drop(worker, mbuf, reason);
}

/* An on-link host lost its place in the neighbour cache: find it a new one. */
static void
neighbour_refind(
	struct worker *worker, struct flow_way *way, enum family family, const union address *host)
{
	union address address;
	struct neighbour_table *neighbours = worker->dataplane->ports[way->port].neighbours;

	if (way->neighbour < NEIGHBOUR_PINNED)
		return;
	if (neighbour_address(neighbours, way->neighbour, &address) != family ||
		!address_equal(&address, host))
		way->neighbour = neighbour_index(neighbours, family, host, worker->now_ms);
}

/*
 * Hop limit, MTU and next hop. Writes the Ethernet header of what goes on; what does not has been
 * dropped or is held.
 */
static bool
route_one(struct worker *worker, struct rte_mbuf *mbuf, struct packet *packet)
{
	struct flow *flow = packet->flow;
	struct flow_way *way = &flow->way[packet->direction];
	struct port *port = &worker->dataplane->ports[way->port];
	struct rte_ether_hdr *ethernet;
	struct tuple other = {0};
	uint64_t mac;

	packet->out_port = way->port;
	if (unlikely(packet->ttl <= 1)) {
		worker_drop(worker, mbuf, REASON_TIME_EXCEEDED);
		return false;
	}
	if (unlikely(!fits(mbuf, packet, port->mtu))) {
		worker_drop(worker, mbuf, REASON_TOO_BIG);
		return false;
	}
	if (unlikely(way->neighbour >= NEIGHBOUR_PINNED)) {
		/* an on-link host is its own next hop */
		flow_tuple(flow, !packet->direction, &other);
		neighbour_refind(worker, way, packet->tuple.family, &other.source);
	}
	mac = neighbour_mac(port->neighbours, way->neighbour, &other.source);
	if (unlikely(mac == 0)) {
		packet->out_port = PORT_NONE;
		resolve(worker, mbuf, way);
		return false;
	}
	ethernet = rte_pktmbuf_mtod(mbuf, struct rte_ether_hdr *);
	memcpy(&ethernet->dst_addr, &mac, RTE_ETHER_ADDR_LEN);
	memcpy(&ethernet->src_addr, port->mac, RTE_ETHER_ADDR_LEN);
	return true;
}

/* Send packets of tracked flows on their way: the last three stages. */
static void
forward(struct worker *worker, struct rte_mbuf **burst, unsigned count)
{
	unsigned left = 0;

	for (unsigned i = 0; i < count; i++)
		if (likely(route_one(worker, burst[i], packet_of(burst[i]))))
			burst[left++] = burst[i];
	rewrite_burst(&worker->dataplane->secret, burst, left);
	for (unsigned i = 0; i < left; i++) {
		struct packet *packet = packet_of(burst[i]);

		packet_finish(worker, burst[i], packet, VERDICT_FORWARD);
		worker_transmit(worker, packet->out_port, burst[i]);
	}
}

/* Tracking. */

/* A burst while it is tracked. */
struct tracking {
	/* packets whose flow is tracked but that are not on their way yet */
	struct rte_mbuf **burst;
	unsigned passed;
	/* what happened to the flow table since the burst was looked up */
	bool opened;
	bool closed;
};

static enum reason
open_judged(struct worker *worker, struct rte_mbuf *mbuf, struct tracking *tracking)
{
	enum reason reason = packet_of(mbuf)->reason;

	if (reason == REASON_NONE)
		reason = open_flow(worker, mbuf);
	if (reason == REASON_NONE)
		tracking->opened = true;
	return reason;
}

static enum reason
track_one(struct worker *worker, struct rte_mbuf *mbuf, struct packet *packet,
	struct tracking *tracking)
{
	uint32_t deadline_ms;

	if (unlikely(packet->tuple.protocol == IPPROTO_TCP && !tcp_flags_valid(packet->tcp_flags)))
		return REASON_TCP_FLAGS;
	if (unlikely(tracking->closed || (tracking->opened && packet->flow == NULL))) {
		enum direction direction = DIRECTION_ORIGINAL;
		bool known = packet->flow != NULL;

		packet->flow = flow_lookup(worker->flows, &packet->tuple, packet->hash, &direction);
		packet->direction = (uint8_t)direction;
		if (packet->flow == NULL && known)
			judge_misses(worker, &mbuf, 1);
	}
	if (packet->flow == NULL)
		return open_judged(worker, mbuf, tracking);
	/*
	 * A direction of a flow has one side to come from. Whoever sends a qube's own packets
	 * across the uplink would otherwise be taken for the qube.
	 */
	if (unlikely(packet->in_port != packet->flow->way[!packet->direction].port)) {
		packet->flow = NULL;
		return packet->qube == QUBE_NONE ? guard_unsolicited(worker->policy, packet)
						 : REASON_NO_FLOW;
	}
	/* Its bare tuple is that of a query with identifier 0, which it has nothing to do with. */
	if (unlikely((packet->flags & PACKET_ICMP_ERROR) != 0))
		return REASON_ICMP_ERROR;

	packet->reason = REASON_NONE;
	packet->rule = packet->flow->rule;
	deadline_ms = packet->flow->deadline_ms;
	switch (track_packet(packet->flow, mbuf, worker->policy->timeouts, worker->now_ms)) {
	case TCP_PASS:
		/* The wheel finds out by itself about a deadline that moved away only. */
		if (unlikely(time_after_ms(deadline_ms, packet->flow->deadline_ms)))
			flow_sooner(worker->flows, packet->flow);
		return REASON_NONE;
	case TCP_IGNORE:
		return REASON_NONE;
	case TCP_REOPEN:
		/* Packets before this one may still need the flow that ends here. */
		forward(worker, tracking->burst, tracking->passed);
		tracking->passed = 0;
		flow_end(worker, packet->flow);
		tracking->closed = true;
		packet->flow = NULL;
		packet->rule = RULE_NONE;
		judge_misses(worker, &mbuf, 1);
		return open_judged(worker, mbuf, tracking);
	case TCP_OUT_OF_WINDOW:
		return REASON_TCP_WINDOW;
	case TCP_INVALID:
	default:
		return REASON_TCP_STATE;
	}
}

void
pipeline_owned(struct worker *worker, struct rte_mbuf **burst, unsigned count)
{
	struct tracking tracking = {.burst = burst};

	if (count == 0)
		return;
	flow_lookup_burst(worker->flows, burst, count);
	judge_misses(worker, burst, count);
	for (unsigned i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = burst[i];
		enum reason reason = track_one(worker, mbuf, packet_of(mbuf), &tracking);

		if (unlikely(reason != REASON_NONE)) {
			worker_drop(worker, mbuf, reason);
			continue;
		}
		burst[tracking.passed++] = mbuf;
	}
	forward(worker, burst, tracking.passed);
}

/* Hand packets whose flows other workers own to them; keep ours at the front. */
static unsigned
steer_burst(struct worker *worker, struct rte_mbuf **burst, unsigned count)
{
	struct dataplane *dataplane = worker->dataplane;
	unsigned kept = 0;

	for (unsigned i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = burst[i];
		unsigned owner = steer(worker->policy, &dataplane->secret, packet_of(mbuf),
			dataplane->worker_count);
		struct worker *other = dataplane->workers[owner];

		if (owner == worker->index) {
			burst[kept++] = mbuf;
			continue;
		}
		if (rte_ring_enqueue(other->handover, mbuf) != 0) {
			worker_drop(worker, mbuf, REASON_HANDOVER_FULL);
			continue;
		}
		/* Pairs with the fence between falling asleep and the last look at the ring. */
		atomic_thread_fence(memory_order_seq_cst);
		if (atomic_load_explicit(&other->asleep, memory_order_relaxed) &&
			atomic_exchange(&other->asleep, false)) {
			uint64_t one = 1;

			if (write(other->wake_fd, &one, sizeof(one)) < 0)
				continue; /* the counter is full: it is awake already */
		}
	}
	return kept;
}

/* Let the firewall itself take what is addressed to it; the rest stays at the front. */
static unsigned
local_burst(struct worker *worker, struct rte_mbuf **burst, unsigned count)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct packet *packet = packet_of(burst[i]);

		if (unlikely(packet->kind == PACKET_ARP ||
			     (packet->flags & (PACKET_ND | PACKET_LOCAL)) != 0))
			local_packet(worker, burst[i]);
		else
			burst[kept++] = burst[i];
	}
	return kept;
}

static void
count_received(struct worker *worker, const struct port *port, struct rte_mbuf *const *burst,
	unsigned count)
{
	struct port_counters *counters = &worker->ports[port->index];
	uint64_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += packet_of(burst[i])->frame_length;
	counters->rx_packets += count;
	counters->rx_bytes += bytes;
}

void
dataplane_receive(struct worker *worker, struct port *port, struct rte_mbuf **burst, unsigned count,
	uint32_t now_ms)
{
	struct dataplane *dataplane = worker->dataplane;
	struct guard_port guard = {
		.index = port->index,
		.own_mac = mac_word(port->mac),
		.peer_mac = neighbour_mac(port->neighbours, NEIGHBOUR_PEER, NULL),
		.learn = dataplane->automatic,
	};
	unsigned left;

	worker->now_ms = now_ms;
	worker->policy = atomic_load_explicit(&dataplane->policy, memory_order_acquire);

	left = parse_burst(burst, count);
	count_received(worker, port, burst, count);
	worker_drop_burst(worker, burst + left, count - left);

	count = left;
	left = guard_burst(worker->policy, &guard, burst, count);
	worker_drop_burst(worker, burst + left, count - left);
	if (unlikely(guard.peer_mac == 0 && guard.learn && left > 0))
		neighbour_learn(port->neighbours, NEIGHBOUR_PEER,
			mac_word(&rte_pktmbuf_mtod(burst[0], struct rte_ether_hdr *)->src_addr),
			now_ms);

	left = local_burst(worker, burst, left);
	if (dataplane->worker_count > 1)
		left = steer_burst(worker, burst, left);
	pipeline_owned(worker, burst, left);
	worker_flush(worker);
}

/*
 * A packet that waited goes on where it stopped. It has been tracked already; only its flow may be
 * gone by now.
 */
static void
release_held(struct worker *worker, struct rte_mbuf *mbuf)
{
	struct packet *packet = packet_of(mbuf);
	enum direction direction = DIRECTION_ORIGINAL;

	packet->flow = flow_lookup(worker->flows, &packet->tuple, packet->hash, &direction);
	packet->direction = (uint8_t)direction;
	if (packet->flow == NULL)
		worker_drop(worker, mbuf, REASON_NO_FLOW);
	else
		forward(worker, &mbuf, 1);
}

/* Packets whose neighbour has answered, or never will, go on. */
static unsigned
service_held(struct worker *worker)
{
	unsigned count = worker->held_count;
	unsigned handled = 0;

	for (unsigned i = 0; i < count; i++) {
		struct held_packet held = worker->held[0];
		struct neighbour_table *neighbours = worker->dataplane->ports[held.port].neighbours;
		enum neighbour_state state;

		/* Look at each once: whoever must wait on goes to the end. */
		memmove(worker->held, worker->held + 1,
			(worker->held_count - 1) * sizeof(worker->held[0]));
		worker->held_count--;
		if (neighbour_should_ask(neighbours, held.neighbour, worker->now_ms))
			local_solicit(worker, held.port, held.neighbour);
		state = neighbour_state(neighbours, held.neighbour);
		if (state == NEIGHBOUR_INCOMPLETE) {
			worker->held[worker->held_count++] = held;
			continue;
		}
		handled++;
		if (state == NEIGHBOUR_REACHABLE)
			release_held(worker, held.mbuf);
		else
			worker_drop(worker, held.mbuf, REASON_NEIGHBOUR_FAILED);
	}
	return handled;
}

static void
flow_expired(void *context, struct flow *flow)
{
	struct worker *worker = context;

	if ((flow->flags & FLOW_BINDING) != 0)
		binding_release(worker->dataplane->bindings, FAMILY_IPV4, flow->protocol,
			flow->port[DIRECTION_REPLY][1]);
	worker->counters.flows_expired++;
}

/* Once a second: make sure that the gateways still have the MAC we know. */
static void
service_neighbours(struct worker *worker)
{
	uint16_t uplink = worker->policy->uplink;
	struct neighbour_table *neighbours = worker->dataplane->ports[uplink].neighbours;

	if (worker->index != 0 || !time_after_ms(worker->now_ms, worker->housekeeping_ms))
		return;
	worker->housekeeping_ms = worker->now_ms + 1000;
	for (uint16_t i = 0; i < NEIGHBOUR_PINNED; i++)
		if (neighbour_should_confirm(neighbours, i, worker->now_ms))
			local_solicit(worker, uplink, i);
}

unsigned
dataplane_service(struct worker *worker, uint32_t now_ms)
{
	struct rte_mbuf *burst[BURST_MAX];
	unsigned handled;

	worker->now_ms = now_ms;
	worker->policy = atomic_load_explicit(&worker->dataplane->policy, memory_order_acquire);
	handled = rte_ring_dequeue_burst(worker->handover, (void **)burst, BURST_MAX, NULL);
	pipeline_owned(worker, burst, handled);
	if (worker->held_count > 0)
		handled += service_held(worker);
	handled += flow_expire(worker->flows, now_ms, BURST_MAX, flow_expired, worker);
	service_neighbours(worker);
	worker_flush(worker);
	return handled;
}
