/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See explain.h. explain_begin follows packets_enter of app/pipeline.c, explain_owned what comes
 * behind: lookup, track_one, route_one. Whoever changes those changes this; a test compares them in
 * many random cases.
 */
#include "app/explain.h"

#include <rte_tcp.h>

#include "classifier/guard.h"
#include "classifier/parse.h"
#include "nat/icmp.h"
#include "nat/steer.h"

_Static_assert(offsetof(struct explain, packet) ==
		       offsetof(struct explain, mbuf) + sizeof(struct rte_mbuf),
	"the private area lies behind the mbuf");

static void
passed(struct explanation *answer, enum explain_stage stage)
{
	answer->passed |= 1U << stage;
}

/* Its way ends at @p stage. As worker_drop says, but nothing is sent. */
static void
dropped(struct explain *explain, enum explain_stage stage, enum reason reason)
{
	struct explanation *answer = &explain->answer;
	const struct packet *packet = &explain->packet;

	answer->stage = stage;
	answer->verdict = VERDICT_DROP;
	answer->reason = reason;
	answer->rule = packet->rule;
	answer->out_port = PORT_NONE;
	/* behind the tracker there is a flow, be it just opened */
	if (packet->flow != NULL || stage == EXPLAIN_ROUTE ? !answer->resets
							   : packet->qube != QUBE_NONE)
		answer->answer = reasons[reason].answer;
}

static void
mbuf_fill(struct explain *explain, uint16_t in_port, const void *frame, uint32_t length)
{
	struct rte_mbuf *mbuf = &explain->mbuf;

	memcpy(explain->frame, frame, length);
	mbuf->buf_addr = explain->frame;
	mbuf->buf_len = sizeof(explain->frame);
	mbuf->data_len = (uint16_t)length;
	mbuf->pkt_len = length;
	mbuf->nb_segs = 1;
	mbuf->priv_size = sizeof(explain->packet);
	rte_mbuf_refcnt_set(mbuf, 1);
	explain->packet.in_port = in_port;
}

static enum reason
guard(struct explain *explain, const struct policy *policy, struct rte_mbuf **burst)
{
	const struct port *port = &explain->dataplane->ports[explain->packet.in_port];
	struct guard_port guard = {.index = port->index};

	/* It may have been taken away since the question was asked. */
	if (policy_port_at(policy, explain->packet.in_port)->role == ROLE_NONE)
		return REASON_PORT_GONE;
	guard = (struct guard_port){
		.index = port->index,
		.own_mac = mac_word(port->mac),
		.peer_mac = neighbour_mac(port->neighbours, NEIGHBOUR_PEER, NULL),
		.learn = explain->dataplane->automatic,
	};

	return guard_burst(policy, &guard, burst, 1) == 1 ? REASON_NONE : explain->packet.reason;
}

/* What the firewall itself takes, and what errors are about. @return whether its way goes on */
static bool
local(struct explain *explain, const struct policy *policy)
{
	enum reason reason;

	if ((explain->packet.flags & PACKET_ICMP_ERROR) != 0) {
		reason = pipeline_relate(policy, &explain->mbuf);
	} else if (local_takes(&explain->packet)) {
		reason = local_reason(&explain->mbuf);
		explain->answer.stage = EXPLAIN_LOCAL;
		explain->answer.verdict = VERDICT_LOCAL;
		if (reason == REASON_NONE)
			return false;
	} else {
		return true;
	}
	if (reason != REASON_NONE)
		dropped(explain, EXPLAIN_LOCAL, reason);
	return reason == REASON_NONE;
}

bool
explain_begin(struct explain *explain, struct dataplane *dataplane, const struct policy *policy,
	uint16_t in_port, const void *frame, uint32_t length)
{
	struct explanation *answer = &explain->answer;
	struct rte_mbuf *burst[1] = {&explain->mbuf};
	enum reason reason;

	memset(explain, 0, sizeof(*explain));
	explain->dataplane = dataplane;
	answer->generation = policy->generation;
	answer->rule = RULE_NONE;
	answer->out_port = PORT_NONE;
	mbuf_fill(explain, in_port, frame, RTE_MIN(length, (uint32_t)EXPLAIN_FRAME_MAX));
	if (parse_burst(burst, 1) == 0) {
		dropped(explain, EXPLAIN_PARSE, explain->packet.reason);
		return false;
	}
	passed(answer, EXPLAIN_PARSE);
	reason = guard(explain, policy, burst);
	if (reason != REASON_NONE) {
		dropped(explain, EXPLAIN_GUARD, reason);
		return false;
	}
	passed(answer, EXPLAIN_GUARD);
	if ((explain->packet.flags & PACKET_FRAGMENT) != 0) {
		/* What comes of a part, the whole decides. */
		answer->stage = EXPLAIN_LOCAL;
		answer->verdict = VERDICT_JOINED;
		return false;
	}
	if (!local(explain, policy))
		return false;
	passed(answer, EXPLAIN_LOCAL);
	answer->owner = steer(policy, &dataplane->secret, dataplane->bindings, &explain->packet,
		dataplane->worker_count);
	passed(answer, EXPLAIN_STEER);
	return true;
}

/* Whether one more packet may wait for a next hop, as hold of app/route.c has it. */
static bool
may_wait(const struct worker *worker, const struct flow_way *way)
{
	unsigned same = 0;

	for (unsigned i = 0; i < worker->held_count; i++)
		same += worker->held[i].port == way->port &&
			worker->held[i].neighbour == way->neighbour;
	return same < HELD_PER_NEIGHBOUR && worker->held_count < HELD_MAX;
}

/* Whom it would be sent to. The place of an on-link host may be another one's by now, or none. */
static void
next_hop(struct explain *explain, const struct worker *worker, struct flow_way *way)
{
	const struct neighbour_table *neighbours = explain->dataplane->ports[way->port].neighbours;
	enum family family = explain->packet.tuple.family;
	union address *address = &explain->answer.next_hop;

	if (worker->policy->ports[way->port].role != ROLE_UPLINK) {
		*address = explain->answer.leaves.destination;
	} else if (way->neighbour < NEIGHBOUR_PINNED) {
		(void)neighbour_address(neighbours, way->neighbour, address);
	} else {
		*address = explain->answer.leaves.destination;
		(void)route_next_hop(worker->policy, family, address, address);
		way->neighbour = neighbour_find(neighbours, family, address);
	}
}

static void
route(struct explain *explain, const struct worker *worker, struct flow_way way)
{
	struct explanation *answer = &explain->answer;
	const struct port *port = &explain->dataplane->ports[way.port];
	enum neighbour_state state = NEIGHBOUR_INCOMPLETE;

	if (explain->packet.ttl <= 1) {
		dropped(explain, EXPLAIN_ROUTE, REASON_TIME_EXCEEDED);
		return;
	}
	if (!route_fit(&explain->mbuf, &explain->packet, port->mtu)) {
		dropped(explain, EXPLAIN_ROUTE, REASON_TOO_BIG);
		return;
	}
	next_hop(explain, worker, &way);
	if (way.neighbour != NEIGHBOUR_NONE) {
		answer->mac = neighbour_mac(port->neighbours, way.neighbour, &answer->next_hop);
		state = neighbour_state_next(port->neighbours, way.neighbour, worker->now_ms);
	}
	answer->waits = answer->mac == 0 &&
			(way.neighbour != NEIGHBOUR_NONE || !explain->dataplane->automatic);
	if (answer->waits && state == NEIGHBOUR_FAILED) {
		dropped(explain, EXPLAIN_ROUTE, REASON_NEIGHBOUR_FAILED);
	} else if (answer->waits && !may_wait(worker, &way)) {
		dropped(explain, EXPLAIN_ROUTE, REASON_NEIGHBOUR_PENDING);
	} else {
		passed(answer, EXPLAIN_ROUTE);
		answer->stage = EXPLAIN_ROUTE;
		answer->verdict = VERDICT_FORWARD;
		answer->rule = explain->packet.rule;
		answer->out_port = way.port;
		return;
	}
	answer->waits = false;
}

/* What goes in one direction leaves as the reverse of the other one's tuple. */
static struct tuple
leaves_as(const struct tuple *other)
{
	return (struct tuple){
		.source = other->destination,
		.destination = other->source,
		.source_port = other->destination_port,
		.destination_port = other->source_port,
		.protocol = other->protocol,
		.family = other->family,
	};
}

/* A packet without a flow, or whose flow is over: it opens one, or not. */
static void
opens(struct explain *explain, struct worker *worker)
{
	struct explanation *answer = &explain->answer;
	enum reason reason = answer->decision.reason;

	explain->packet.rule = answer->decision.rule;
	if (reason != REASON_NONE) {
		dropped(explain, EXPLAIN_DECIDE, reason);
		return;
	}
	passed(answer, EXPLAIN_DECIDE);
	answer->flow = EXPLAIN_FLOW_NEW;
	reason = open_try(worker, &explain->packet, &answer->decision.target, &answer->trial);
	if (reason != REASON_NONE) {
		dropped(explain, EXPLAIN_OPEN, reason);
		return;
	}
	passed(answer, EXPLAIN_OPEN);
	passed(answer, EXPLAIN_TRACK);
	answer->leaves = leaves_as(&answer->trial.reply);
	route(explain, worker, answer->trial.way[DIRECTION_ORIGINAL]);
}

static void
goes_on(struct explain *explain, const struct worker *worker)
{
	const struct flow *flow = &explain->answer.known;
	struct tuple other;

	passed(&explain->answer, EXPLAIN_TRACK);
	flow_tuple(flow, !explain->packet.direction, &other);
	explain->answer.leaves = leaves_as(&other);
	route(explain, worker, flow->way[explain->packet.direction]);
}

/* Make a segment the next one of its connection. Only its numbers are changed, in our own frame. */
static void
segment_line_up(struct explain *explain)
{
	const struct packet *packet = &explain->packet;
	struct rte_tcp_hdr *tcp =
		packet_header(&explain->mbuf, packet->l4_offset, struct rte_tcp_hdr *);
	enum direction direction = (enum direction)packet->direction;
	uint32_t sequence = 0, acknowledgement = 0;

	(void)tcp_reset_sequence(&explain->answer.known, direction, &sequence);
	(void)tcp_reset_sequence(&explain->answer.known, !direction, &acknowledgement);
	tcp->sent_seq = rte_cpu_to_be_32(sequence);
	tcp->recv_ack = rte_cpu_to_be_32(acknowledgement);
}

/* As flow_begin_anew. */
static void
begins_anew(struct explain *explain, struct worker *worker)
{
	struct explanation *answer = &explain->answer;

	answer->reopens = true;
	open_trial_end(&answer->trial, explain->packet.flow);
	explain->packet.flow = NULL;
	answer->decided = decide_try(worker, &explain->packet, &answer->decision);
	opens(explain, worker);
}

/* As track_known. */
static void
track(struct explain *explain, struct worker *worker)
{
	struct explanation *answer = &explain->answer;
	struct packet *packet = &explain->packet;
	struct flow flow = answer->known; /* it will not be the same afterwards */

	packet->rule = flow.rule;
	if (explain->next_in_line && flow.protocol == IPPROTO_TCP)
		segment_line_up(explain);
	switch (track_packet(&flow, &explain->mbuf, worker->policy->timeouts, worker->now_ms)) {
	case TCP_PASS:
	case TCP_IGNORE:
		goes_on(explain, worker);
		return;
	case TCP_REOPEN:
		begins_anew(explain, worker);
		return;
	case TCP_OUT_OF_WINDOW:
		dropped(explain, EXPLAIN_TRACK, REASON_TCP_WINDOW);
		return;
	case TCP_INVALID:
	default:
		dropped(explain, EXPLAIN_TRACK, REASON_TCP_STATE);
		return;
	}
}

/* As route_again: it is looked up again when the packet leaves. @return false: there is no way */
static bool
ways_found(const struct worker *worker, struct flow *flow)
{
	for (unsigned direction = 0; direction < 2; direction++) {
		struct flow_way *way = &flow->way[direction];
		union address ignored;
		struct tuple other;

		if (way->port != worker->policy->uplink)
			continue;
		flow_tuple(flow, !direction, &other);
		if (route_next_hop(worker->policy, other.family, &other.source, &ignored) !=
			REASON_NONE)
			return false;
		way->neighbour = NEIGHBOUR_NONE;
	}
	return true;
}

/* The flow is from before the policy in force. @return whether it may go on, as flow_reconfirm */
static bool
reconfirmed(struct explain *explain, struct worker *worker)
{
	struct explanation *answer = &explain->answer;
	struct flow *flow = &answer->known;

	if (answer->decision.reason == REASON_NO_ROUTE ||
		(answer->decision.reason == REASON_NONE && !ways_found(worker, flow))) {
		dropped(explain, EXPLAIN_DECIDE, REASON_NO_ROUTE);
		return false;
	}
	if (flow_begins_anew(&answer->decision, &explain->packet)) {
		begins_anew(explain, worker);
		return false;
	}
	if (answer->decision.reason == REASON_NONE) {
		flow->rule = answer->decision.rule;
		passed(answer, EXPLAIN_DECIDE);
		return true;
	}
	answer->resets = flow->protocol == IPPROTO_TCP && !tcp_half_open(flow->state);
	if (!answer->resets)
		explain->packet.flow = NULL;
	dropped(explain, EXPLAIN_DECIDE, REASON_NO_LONGER_ALLOWED);
	return false;
}

/* As relate_one: an ICMP error about a flow. */
static void
relates(struct explain *explain, const struct worker *worker)
{
	explain->packet.rule = explain->answer.known.rule;
	if (icmp_plausible(&explain->mbuf))
		goes_on(explain, worker);
	else
		dropped(explain, EXPLAIN_TRACK, REASON_ICMP_ERROR);
}

/*
 * As reset_again: who speaks in a connection that has been reset has not heard of it. An ICMP error
 * has no flags, and nobody is told.
 */
static void
refused(struct explain *explain)
{
	uint8_t flags = explain->packet.tcp_flags;

	explain->answer.resets = (flags & RTE_TCP_RST_FLAG) == 0 && (flags & RTE_TCP_ACK_FLAG) != 0;
	dropped(explain, EXPLAIN_TRACK, REASON_FLOW_REFUSED);
}

/* Somebody else sends what only one side of the flow may send. */
static enum reason
wrong_side(const struct worker *worker, const struct packet *packet)
{
	if ((packet->flags & PACKET_ICMP_ERROR) != 0)
		return REASON_ICMP_ERROR;
	return packet->qube == QUBE_NONE ? guard_unsolicited(worker->policy, packet)
					 : REASON_NO_FLOW;
}

/* As track_one. */
static void
owned(struct explain *explain, struct worker *worker)
{
	struct explanation *answer = &explain->answer;
	struct packet *packet = &explain->packet;

	answer->decided = decide_try(worker, packet, &answer->decision);
	if (packet->tuple.protocol == IPPROTO_TCP && (packet->flags & PACKET_ICMP_ERROR) == 0 &&
		!tcp_flags_valid(packet->tcp_flags)) {
		dropped(explain, EXPLAIN_LOOKUP, REASON_TCP_FLAGS);
		return;
	}
	if (packet->flow != NULL && (packet->flow->flags & FLOW_PERMISSION) != 0) {
		packet->flow = NULL;
		dropped(explain, EXPLAIN_LOOKUP, REASON_NO_FLOW);
		return;
	}
	if (packet->flow == NULL) {
		passed(answer, EXPLAIN_LOOKUP);
		opens(explain, worker);
		return;
	}
	if (packet->in_port != packet->flow->way[!packet->direction].port) {
		packet->flow = NULL;
		dropped(explain, EXPLAIN_LOOKUP, wrong_side(worker, packet));
		return;
	}
	passed(answer, EXPLAIN_LOOKUP);
	answer->flow = EXPLAIN_FLOW_OPEN;
	answer->known = *packet->flow;
	if (answer->decided && !reconfirmed(explain, worker))
		return;
	if ((packet->flow->flags & FLOW_REFUSED) != 0)
		refused(explain);
	else if ((packet->flags & PACKET_ICMP_ERROR) != 0)
		relates(explain, worker);
	else
		track(explain, worker);
}

void
explain_owned(struct explain *explain, struct worker *worker)
{
	struct packet *packet = &explain->packet;
	enum direction direction = DIRECTION_ORIGINAL;

	explain->answer.stale = worker->policy->generation != explain->answer.generation;
	if (explain->answer.stale)
		return;
	packet->hash = flow_hash(&worker->dataplane->secret, &packet->tuple);
	packet->flow = flow_lookup(worker->flows, &packet->tuple, packet->hash, &direction);
	packet->direction = (uint8_t)direction;
	owned(explain, worker);
	/* Flows are the worker's. */
	packet->flow = NULL;
}
