/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The way of a packet. Read packets_enter and pipeline_owned: they are the whole of it.
 *
 *	receive -> parse -> guard -> [reassemble] -> [relate] -> [local] -> steer
 *		-> lookup -> [decide -> open] -> track -> route -> rewrite -> transmit
 *
 * Each stage takes a burst and leaves the survivors at its front. Everything up to the flow lookup
 * may run on any worker; from there on a packet is in the hands of the worker that owns its flow.
 * A fragment first goes to the worker that puts its datagram together, and the datagram then starts
 * again at parse.
 *
 * Packets of one burst are tracked strictly in order, so that what happens to them does not depend
 * on how they were bundled: when an earlier packet of the burst has opened or closed a flow, later
 * ones look again.
 */
#include <netinet/in.h>
#include <unistd.h>

#include <rte_ether.h>

#include "app/learn.h"
#include "app/own_udp.h"
#include "app/tap.h"
#include "app/worker_call.h"
#include "classifier/guard.h"
#include "classifier/parse.h"
#include "nat/icmp.h"
#include "nat/mapped.h"
#include "nat/steer.h"

/* Packets wait for neighbours, who answer to any worker. */
#define HELD_LOOK_MS 100

/* Exits. */

void
worker_drop(struct worker *worker, struct rte_mbuf *mbuf, enum reason reason)
{
	struct packet *packet = packet_of(mbuf);
	enum answer answer = reasons[reason].answer;

	packet->reason = (uint8_t)reason;
	drop_note(worker->notes[packet->in_port], worker->ports[packet->in_port].drops[reason],
		packet, worker->now_ms);
	worker->ports[packet->in_port].drops[reason]++;
	/*
	 * Somebody across the uplink is answered only about a flow that exists, and nobody about a
	 * connection that is being reset.
	 */
	if (answer != ANSWER_SILENCE &&
		(packet->flow != NULL ? (packet->flow->flags & FLOW_REFUSED) == 0
				      : packet->qube != QUBE_NONE))
		reply_error(worker, mbuf, answer);
	packet->out_port = PORT_NONE;
	worker_finish(worker, mbuf, VERDICT_DROP);
	rte_pktmbuf_free(mbuf);
}

void
worker_drop_burst(struct worker *worker, struct rte_mbuf **burst, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		worker_drop(worker, burst[i], packet_of(burst[i])->reason);
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

/* A flow is about to end that packets before this one may still need: send them on their way. */
static void
tracking_close(struct worker *worker, struct tracking *tracking)
{
	route_burst(worker, tracking->burst, tracking->passed);
	tracking->passed = 0;
	tracking->closed = true;
}

/* Rules have decided about a packet that opens a flow, or would have: count it for its rule. */
static void
rule_count(const struct worker *worker, const struct packet *packet)
{
	const struct rules *rules;

	if (packet->rule == RULE_NONE)
		return;
	rules = worker->policy->qubes[packet->qube].rules;
	hits_add(rules->hits[packet->rule == RULE_POLICY ? rules->ruleset.count : packet->rule]);
}

static enum reason
open_decided(struct worker *worker, struct rte_mbuf *mbuf, const struct decision *decision,
	struct tracking *tracking)
{
	enum reason reason = decision->reason;

	packet_of(mbuf)->rule = decision->rule;
	rule_count(worker, packet_of(mbuf));
	if (reason != REASON_NONE)
		return reason;
	reason = open_flow(worker, mbuf, &decision->target, false);
	if (unlikely(worker->eviction_wanted)) {
		tracking_close(worker, tracking);
		reason = open_flow(worker, mbuf, &decision->target, true);
	}
	if (reason == REASON_NONE) {
		tracking->opened = true;
		if (decision->target.forward != NULL && decision->target.forward->hits != NULL)
			hits_add(decision->target.forward->hits);
		packet_of(mbuf)->flags |= PACKET_OPENED;
		if (unlikely(flow_may_be_dns(packet_of(mbuf)->flow)))
			learn_packet(worker, mbuf, packet_of(mbuf)->flow);
	}
	return reason;
}

/* End the flow of a packet, and let the packet open the one that it would open today. */
static enum reason
flow_begin_anew(struct worker *worker, struct rte_mbuf *mbuf, struct tracking *tracking)
{
	struct packet *packet = packet_of(mbuf);
	struct decision decision;

	open_end(worker, packet->flow);
	packet->flow = NULL;
	packet->rule = RULE_NONE;
	decide_burst(worker, &mbuf, 1, &decision);
	return open_decided(worker, mbuf, &decision, tracking);
}

/* The flow is from before the policy in force, and @p decision says what is to become of it. */
static enum reason
flow_reconfirm(struct worker *worker, struct rte_mbuf *mbuf, const struct decision *decision,
	struct tracking *tracking)
{
	struct flow *flow = packet_of(mbuf)->flow;

	/* For the time being: see decide_about_flow. */
	if (decision->reason == REASON_NO_ROUTE)
		return REASON_NO_ROUTE;
	if (decision->reason != REASON_NONE) {
		tracking_close(worker, tracking);
		if (flow_begins_anew(decision, packet_of(mbuf)))
			return flow_begin_anew(worker, mbuf, tracking);
		return refuse_flow(worker, mbuf);
	}
	if (!route_again(worker, flow))
		return REASON_NO_ROUTE;
	flow->generation = worker->policy->generation;
	flow->rule = decision->rule;
	return REASON_NONE;
}

/* An ICMP error about a flow passes, and does nothing to it (RFC 5508 REQ-6, RFC 4787 REQ-12). */
static enum reason
relate_one(struct worker *worker, struct rte_mbuf *mbuf)
{
	struct packet *packet = packet_of(mbuf);

	packet->rule = packet->flow->rule;
	if (!icmp_plausible(mbuf))
		return REASON_ICMP_ERROR;
	worker->counters.related_errors++;
	return REASON_NONE;
}

/* Track a packet of a known flow that may go on. */
static enum reason
track_known(struct worker *worker, struct rte_mbuf *mbuf, struct packet *packet,
	struct tracking *tracking)
{
	struct flow *flow = packet->flow;
	uint32_t deadline_ms = flow->deadline_ms;

	packet->reason = REASON_NONE;
	packet->rule = flow->rule;
	switch (track_packet(flow, mbuf, worker->policy->timeouts, worker->now_ms)) {
	case TCP_PASS:
		/* The wheel finds out by itself about a deadline that moved away only. */
		if (unlikely(time_after_ms(deadline_ms, flow->deadline_ms)))
			flow_sooner(worker->flows, flow);
		if (unlikely((flow->flags & FLOW_HALF_OPEN) != 0 && !tcp_half_open(flow->state)))
			open_established(worker, flow);
		if (unlikely(flow_may_be_dns(flow)))
			learn_packet(worker, mbuf, flow);
		return REASON_NONE;
	case TCP_IGNORE:
		return REASON_NONE;
	case TCP_REOPEN:
		tracking_close(worker, tracking);
		return flow_begin_anew(worker, mbuf, tracking);
	case TCP_OUT_OF_WINDOW:
		return REASON_TCP_WINDOW;
	case TCP_INVALID:
	default:
		return REASON_TCP_STATE;
	}
}

static enum reason
track_one(struct worker *worker, struct rte_mbuf *mbuf, struct packet *packet,
	struct decision *decision, bool decided, struct tracking *tracking)
{
	enum reason reason;

	if (unlikely(packet->tuple.protocol == IPPROTO_TCP &&
		     (packet->flags & PACKET_ICMP_ERROR) == 0 &&
		     !tcp_flags_valid(packet->tcp_flags)))
		return REASON_TCP_FLAGS;
	if (unlikely(tracking->closed || (tracking->opened && packet->flow == NULL))) {
		enum direction direction = DIRECTION_ORIGINAL;
		const struct flow *known = packet->flow;

		packet->flow = flow_lookup(worker->flows, &packet->tuple, packet->hash, &direction);
		packet->direction = (uint8_t)direction;
		/* What was decided may have been about another flow, or none. */
		if (packet->flow != known || (decided && decision->flow != packet->flow))
			decided = decide_burst(worker, &mbuf, 1, decision) != 0;
	}
	/* Nobody may speak as the port 0 under which permissions stand. */
	if (unlikely(packet->flow != NULL && (packet->flow->flags & FLOW_PERMISSION) != 0)) {
		packet->flow = NULL;
		return REASON_NO_FLOW;
	}
	if (packet->flow == NULL)
		return open_decided(worker, mbuf, decision, tracking);
	/*
	 * A direction of a flow has one side to come from. Whoever sends a qube's own packets
	 * across the uplink would otherwise be taken for the qube.
	 */
	if (unlikely(packet->in_port != packet->flow->way[!packet->direction].port)) {
		packet->flow = NULL;
		if ((packet->flags & PACKET_ICMP_ERROR) != 0)
			return REASON_ICMP_ERROR;
		return packet->qube == QUBE_NONE ? guard_unsolicited(worker->policy, packet)
						 : REASON_NO_FLOW;
	}
	/* Not if an earlier packet of the burst has opened it anew. */
	if (unlikely(decided && packet->flow->generation != worker->policy->generation)) {
		reason = flow_reconfirm(worker, mbuf, decision, tracking);
		if (reason != REASON_NONE)
			return reason;
	}
	/* What is refused has nobody to tell of errors. */
	if (unlikely((packet->flags & PACKET_ICMP_ERROR) != 0))
		return (packet->flow->flags & FLOW_REFUSED) != 0 ? REASON_FLOW_REFUSED
								 : relate_one(worker, mbuf);
	if (unlikely((packet->flow->flags & FLOW_REFUSED) != 0))
		return refuse_flow(worker, mbuf);
	return track_known(worker, mbuf, packet, tracking);
}

void
pipeline_owned(struct worker *worker, struct rte_mbuf **burst, unsigned count)
{
	struct decision decisions[BURST_MAX];
	struct tracking tracking = {.burst = burst};
	uint64_t decided;

	if (count == 0)
		return;
	flow_lookup_burst(worker->flows, burst, count);
	decided = decide_burst(worker, burst, count, decisions);
	for (unsigned i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = burst[i];
		enum reason reason = track_one(worker, mbuf, packet_of(mbuf), &decisions[i],
			(decided >> i & 1) != 0, &tracking);

		if (unlikely(reason != REASON_NONE)) {
			if (reason != REASON_NO_FLOW || !own_udp_takes(worker, mbuf))
				worker_drop(worker, mbuf, reason);
			continue;
		}
		burst[tracking.passed++] = mbuf;
	}
	route_burst(worker, burst, tracking.passed);
}

/* Before the flow lookup. */

void
worker_wake(struct worker *worker)
{
	/* Pairs with the fence between falling asleep and the last look around. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&worker->asleep, memory_order_relaxed) &&
		atomic_exchange(&worker->asleep, false)) {
		uint64_t one = 1;
		/* Fails only when the counter is full: then it is awake already. */
		ssize_t written = write(worker->wake_fd, &one, sizeof(one));

		(void)written;
	}
}

/* Give a packet to another worker. */
static void
hand_over(struct worker *worker, struct worker *other, struct rte_mbuf *mbuf)
{
	if (rte_ring_enqueue(other->handover, mbuf) != 0) {
		worker_drop(worker, mbuf, REASON_HANDOVER_FULL);
		return;
	}
	worker_wake(other);
}

/* Hand packets whose flows other workers own to them; keep ours at the front. */
static unsigned
steer_burst(struct worker *worker, struct rte_mbuf **burst, unsigned count)
{
	struct dataplane *dataplane = worker->dataplane;
	unsigned kept = 0;

	for (unsigned i = 0; i < count; i++) {
		unsigned owner = steer(worker->policy, &dataplane->secret, dataplane->bindings,
			packet_of(burst[i]), dataplane->worker_count);

		if (owner == worker->index)
			burst[kept++] = burst[i];
		else
			hand_over(worker, dataplane->workers[owner], burst[i]);
	}
	return kept;
}

/*
 * An error that comes over the uplink with an address of ours as its own is forged, whatever it
 * quotes.
 */
enum reason
pipeline_relate(const struct policy *policy, struct rte_mbuf *mbuf)
{
	const struct packet *packet = packet_of(mbuf);

	if (packet->qube == QUBE_NONE &&
		guard_unsolicited(policy, packet) == REASON_DOWNSTREAM_SOURCE)
		return REASON_DOWNSTREAM_SOURCE;
	return icmp_relate(mbuf);
}

/* Let the firewall itself take what is for it, relate errors; the rest stays at the front. */
static unsigned
local_burst(struct worker *worker, struct rte_mbuf **burst, unsigned count)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = burst[i];
		const struct packet *packet = packet_of(mbuf);

		if (unlikely((packet->flags & PACKET_CONFIGURING) != 0) &&
			configure_take(worker, mbuf))
			continue;
		if (unlikely((packet->flags & PACKET_ICMP_ERROR) != 0)) {
			enum reason reason = pipeline_relate(worker->policy, mbuf);

			if (reason != REASON_NONE) {
				worker_drop(worker, mbuf, reason);
				continue;
			}
		} else if (unlikely(local_takes(packet))) {
			local_packet(worker, mbuf);
			continue;
		}
		burst[kept++] = mbuf;
	}
	return kept;
}

static void datagram_enter(struct worker *worker, struct rte_mbuf *mbuf);

/* Whose fragments these are, and how many of them may wait. */
static struct account *
fragment_account(const struct worker *worker, const struct packet *packet, uint32_t *limit)
{
	if (packet->qube == QUBE_NONE) {
		*limit = UPLINK_FRAGMENTS;
		return dataplane_uplink_account(worker->dataplane, &packet->tuple.source);
	}
	*limit = worker->policy->qubes[packet->qube].limits.value[BUDGET_FRAGMENTS];
	return dataplane_account(worker->dataplane, packet->qube, false);
}

/* Take a fragment whose datagram this worker puts together. */
static void
fragment_enter(struct worker *worker, struct rte_mbuf *mbuf)
{
	const struct packet *packet = packet_of(mbuf);
	uint32_t limit;
	struct account *account = fragment_account(worker, packet, &limit);
	struct rte_mbuf *datagram;

	datagram = fragment_take(worker->fragments, mbuf, account, limit, worker->now_ms,
		worker->now_ms + worker->policy->timeouts->ms[TIMEOUT_FRAGMENT],
		worker->dataplane->pool);
	if (datagram == NULL)
		return;
	worker->counters.datagrams++;
	datagram_enter(worker, datagram);
}

/* A fragment goes to the worker that puts its datagram together. */
static void
fragment_steer_one(struct worker *worker, struct rte_mbuf *mbuf)
{
	struct dataplane *dataplane = worker->dataplane;
	unsigned owner = fragment_steer(&dataplane->secret, mbuf, dataplane->worker_count);

	if (owner == worker->index)
		fragment_enter(worker, mbuf);
	else
		hand_over(worker, dataplane->workers[owner], mbuf);
}

/* Packets that are for flows, from behind the guard. */
static void
flows_enter(struct worker *worker, struct rte_mbuf **burst, unsigned count)
{
	if (worker->dataplane->worker_count > 1)
		count = steer_burst(worker, burst, count);
	pipeline_owned(worker, burst, count);
}

/* How many packets at the front of a burst are whole. */
static unsigned
whole_count(struct rte_mbuf *const *burst, unsigned count)
{
	unsigned whole = 0;

	while (whole < count && likely((packet_of(burst[whole])->flags & PACKET_FRAGMENT) == 0))
		whole++;
	return whole;
}

/* From the guard on, for packets of one port. */
static void
packets_enter(struct worker *worker, struct port *port, struct rte_mbuf **burst, unsigned count)
{
	struct guard_port guard = {
		.index = port->index,
		.own_mac = mac_word(port->mac),
		.peer_mac = neighbour_mac(port->neighbours, NEIGHBOUR_PEER, NULL),
		.learn = worker->dataplane->automatic,
	};
	unsigned left = guard_burst(worker->policy, &guard, burst, count);

	worker_drop_burst(worker, burst + left, count - left);
	if (unlikely(guard.peer_mac == 0 && guard.learn && left > 0))
		neighbour_learn(port->neighbours, NEIGHBOUR_PEER,
			mac_word(&rte_pktmbuf_mtod(burst[0], struct rte_ether_hdr *)->src_addr),
			worker->now_ms);
	if (likely(!guard.special)) {
		flows_enter(worker, burst, left);
		return;
	}
	/* Fragments take their turn among whole packets. */
	for (unsigned whole = whole_count(burst, left); left > 0;
		whole = whole_count(burst, left)) {
		flows_enter(worker, burst, local_burst(worker, burst, whole));
		burst += whole;
		left -= whole;
		if (left > 0) {
			fragment_steer_one(worker, burst[0]);
			burst++;
			left--;
		}
	}
}

/* A datagram that is whole now starts like a packet that has just arrived. */
static void
datagram_enter(struct worker *worker, struct rte_mbuf *mbuf)
{
	enum reason reason = parse_datagram(mbuf);

	if (reason != REASON_NONE)
		worker_drop(worker, mbuf, reason);
	else
		packets_enter(
			worker, &worker->dataplane->ports[packet_of(mbuf)->in_port], &mbuf, 1);
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
	unsigned left;

	worker->now_ms = now_ms;
	worker->policy = atomic_load_explicit(&worker->dataplane->policy, memory_order_acquire);
	if (unlikely(mapped_port(worker->policy, port->index)))
		mapped_arrive(worker->policy, port->index, burst, count);
	if (unlikely(worker->taps != NULL))
		tap_arrived(worker, burst, count);
	left = parse_burst(burst, count);
	count_received(worker, port, burst, count);
	worker_drop_burst(worker, burst + left, count - left);
	packets_enter(worker, port, burst, left);
	worker_flush(worker);
}

/* Once a second: make sure that the gateways still have the MAC we know, and forget names. */
static void
service_neighbours(struct worker *worker)
{
	uint16_t uplink = worker->policy->uplink;
	struct neighbour_table *neighbours;

	if (worker->index != 0 || !time_after_ms(worker->now_ms, worker->housekeeping_ms))
		return;
	worker->housekeeping_ms = worker->now_ms + 1000;
	learn_service(worker);
	neighbours = worker->dataplane->ports[uplink].neighbours;
	for (uint16_t i = 0; i < NEIGHBOUR_PINNED; i++)
		if (neighbour_should_confirm(neighbours, i, worker->now_ms))
			local_solicit(worker, uplink, i);
}

/*
 * Packets that were on their way to us when their port was taken away: nothing may be opened for
 * them. Those of ports that are there still stay at the front.
 */
static unsigned
gone_drop(struct worker *worker, struct rte_mbuf **burst, unsigned count)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < count; i++)
		if (likely(worker->policy->ports[packet_of(burst[i])->in_port].role != ROLE_NONE))
			burst[kept++] = burst[i];
		else
			worker_drop(worker, burst[i], REASON_PORT_GONE);
	return kept;
}

/* Packets that other workers handed over: fragments, and packets of flows that are ours. */
static void
handed_over(struct worker *worker, struct rte_mbuf **burst, unsigned count)
{
	while (count > 0) {
		unsigned whole = whole_count(burst, count);

		pipeline_owned(worker, burst, whole);
		burst += whole;
		count -= whole;
		if (count > 0) {
			fragment_enter(worker, burst[0]);
			burst++;
			count--;
		}
	}
}

/* What the control thread has asked for. */
static void
service_call(struct worker *worker)
{
	struct worker_call *call = atomic_load_explicit(&worker->call, memory_order_acquire);
	uint64_t one = 1;
	ssize_t written;

	if (likely(call == NULL))
		return;
	atomic_store_explicit(&worker->call, NULL, memory_order_relaxed);
	call->run(worker, call->context);
	atomic_store_explicit(&worker->call_done, call, memory_order_release);
	written = write(worker->call_done_fd, &one, sizeof(one));
	(void)written; /* fails only when the counter is full, and then it is readable */
}

/* A second that service_neighbours lets pass, and then as long as it takes. */
static uint32_t
neighbours_due_ms(const struct worker *worker)
{
	const struct neighbour_table *neighbours =
		worker->dataplane->ports[worker->policy->uplink].neighbours;
	uint32_t pause_ms = time_after_ms(worker->housekeeping_ms, worker->now_ms)
				    ? worker->housekeeping_ms + 1 - worker->now_ms
				    : 0;
	uint32_t due_ms = UINT32_MAX;

	if (worker->index != 0)
		return due_ms;
	for (uint16_t i = 0; i < NEIGHBOUR_PINNED; i++)
		due_ms = RTE_MIN(due_ms, neighbour_confirm_due_ms(neighbours, i, worker->now_ms));
	return RTE_MAX(due_ms, pause_ms);
}

uint32_t
dataplane_due_ms(const struct worker *worker, uint32_t most_ms)
{
	uint32_t due_ms = RTE_MIN(most_ms, neighbours_due_ms(worker));

	if (worker->held_count > 0)
		due_ms = RTE_MIN(due_ms, (uint32_t)HELD_LOOK_MS);
	due_ms = flow_due_ms(worker->flows, worker->now_ms, due_ms);
	return fragment_due_ms(worker->fragments, worker->now_ms, due_ms);
}

unsigned
dataplane_service(struct worker *worker, uint32_t now_ms)
{
	struct rte_mbuf *burst[BURST_MAX];
	unsigned handled;

	worker->now_ms = now_ms;
	handled = rte_ring_dequeue_burst(worker->handover, (void **)burst, BURST_MAX, NULL);
	/* After that: it must know all ports that these packets come from. */
	worker->policy = atomic_load_explicit(&worker->dataplane->policy, memory_order_acquire);
	handed_over(worker, burst, gone_drop(worker, burst, handled));
	if (worker->held_count > 0)
		handled += route_service(worker);
	handled += flow_expire(worker->flows, now_ms, BURST_MAX, open_expired, worker);
	handled += fragment_expire(worker->fragments, now_ms, BURST_MAX);
	service_neighbours(worker);
	service_call(worker);
	worker_flush(worker);
	return handled;
}
