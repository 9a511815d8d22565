/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Decisions: may this packet open a flow, and may this flow live on under a newer policy?
 *
 * Both are the same question, asked of a packet and of the first packet of a flow: where does it go
 * (nat/target.h), and do the rules of the qube that sent it agree (classifier/judge.h)? A flow
 * remembers the policy that let it in. When a newer one is in force, its next packet asks again; a
 * flow whose destination or translation would be another one today is not allowed to go on either.
 * What cannot have changed is not asked: a qube knows in which generation its own things changed
 * last. So a flow costs one comparison per packet, and one decision per change that concerns it.
 *
 * All questions of a burst go to the rules in one batch.
 */
#include <netinet/in.h>

#include <rte_tcp.h>

#include "app/worker.h"
#include "classifier/guard.h"
#include "classifier/judge.h"

/* Questions of one burst that the rules must answer. */
struct questions {
	struct judge_request requests[BURST_MAX];
	struct decision *asks[BURST_MAX];
	unsigned count;
};

static void
ask(const struct policy *policy, struct questions *questions, struct decision *decision,
	const struct tuple *tuple, uint16_t qube, uint8_t icmp_type)
{
	bool has_ports = tuple->protocol == IPPROTO_TCP || tuple->protocol == IPPROTO_UDP;
	const struct target *target = &decision->target;
	/* The address of our own kernel changes with networks: rules speak of ours, as the qube
	 * does. */
	bool to_host = target->qube != QUBE_NONE && policy->qubes[target->qube].host;
	rte_be16_t port = to_host ? tuple->destination_port : target->port;

	questions->asks[questions->count] = decision;
	questions->requests[questions->count++] = (struct judge_request){
		.qube = qube,
		.open = decision->flow != NULL,
		.subject = {.family = tuple->family,
			.destination = to_host ? tuple->destination : target->address,
			.protocol = tuple->protocol,
			/* an ICMP query has its identifier where the ports are */
			.destination_port = has_ports ? port : 0,
			.icmp_type = icmp_type,
			.dns = target->dns},
	};
}

/* Packets without a flow. */

static bool
picks_up(const struct worker *worker, const struct packet *packet)
{
	return worker->dataplane->pickup &&
	       worker->now_ms < worker->policy->timeouts->ms[TIMEOUT_PICKUP] &&
	       track_picks_up(packet);
}

static void
decide_from_uplink(struct worker *worker, const struct packet *packet, struct decision *decision)
{
	const struct policy *policy = worker->policy;
	struct target *target = &decision->target;

	decision->reason = guard_unsolicited(policy, packet);
	if (decision->reason != REASON_NO_FLOW)
		return;
	if ((packet->tuple.protocol == IPPROTO_ICMP || packet->tuple.protocol == IPPROTO_ICMPV6) &&
		(packet->flags & PACKET_ICMP_QUERY) == 0) {
		decision->reason = REASON_ICMP_TYPE; /* such as a redirect */
		return;
	}
	target_find(policy, worker->dataplane->bindings, &packet->tuple, QUBE_NONE, target);
	if (target->reason != REASON_NONE)
		return;
	if (target->filter && policy->qubes[target->qube].filter == FILTER_ADDRESS &&
		!open_permitted(worker, &packet->tuple))
		return;
	decision->reason = track_opens(packet);
	if (decision->reason == REASON_NONE && packet->ttl <= 1)
		decision->reason = REASON_TIME_EXCEEDED;
}

static void
decide_from_qube(struct worker *worker, const struct packet *packet, struct decision *decision,
	struct questions *questions)
{
	const struct policy *policy = worker->policy;
	struct target *target = &decision->target;

	target_find(policy, worker->dataplane->bindings, &packet->tuple, packet->qube, target);
	decision->reason = track_opens(packet);
	if (target->reason == REASON_LOCAL_REFUSED) {
		/* What is part of nothing is not worth an answer here either. */
		if (decision->reason != REASON_TCP_STATE)
			decision->reason = local_refusal(packet);
		return;
	}
	if (decision->reason == REASON_TCP_STATE && picks_up(worker, packet))
		decision->reason = REASON_NONE;
	/* Without rules there is silence, also where a hop limit would break it. */
	if (decision->reason == REASON_NONE &&
		policy->qubes[packet->qube].rules->state == RULES_NONE)
		decision->reason = REASON_NO_RULES;
	if (decision->reason == REASON_NONE && packet->ttl <= 1)
		decision->reason = REASON_TIME_EXCEEDED;
	if (decision->reason == REASON_NONE)
		decision->reason = target->reason;
	if (decision->reason == REASON_NONE)
		ask(policy, questions, decision, &packet->tuple, packet->qube, packet->icmp_type);
}

/* Flows from before the policy in force. */

/* Whether what answers look like would be chosen again. */
static bool
translation_holds(const struct policy *policy, const struct target *target,
	const struct tuple *original, const struct tuple *reply)
{
	enum family family = original->family;
	const struct policy_port *uplink = policy_port_at(policy, policy->uplink);

	if (!address_equal(&reply->source, &target->address) || reply->source_port != target->port)
		return false;
	switch (target->masquerade) {
	case MASQUERADE_EXTERNAL:
		return uplink->has[family] &&
		       address_equal(&reply->destination, &uplink->address[family]);
	case MASQUERADE_GATEWAY:
		return policy->has_gateway[family] &&
		       address_equal(&reply->destination, &policy->gateway[family]);
	case MASQUERADE_NONE:
	default:
		return address_equal(&reply->destination, &original->source) &&
		       reply->destination_port == original->source_port;
	}
}

/* Whether a translation that does not hold differs in an address of ours, or in the resolver. */
static bool
is_elsewhere(const struct target *target, const struct tuple *reply)
{
	return target->masquerade == MASQUERADE_EXTERNAL && target->qube == QUBE_NONE &&
	       (target->dns || (address_equal(&reply->source, &target->address) &&
				       reply->source_port == target->port));
}

bool
flow_has_qube(const struct policy *policy, const struct flow *flow)
{
	bool inbound = (flow->flags & FLOW_INBOUND) != 0;
	const struct qube *qube;
	struct tuple inside;

	if (flow->qube >= policy->qube_count)
		return false;
	qube = &policy->qubes[flow->qube];
	/* What the qube sends: the source is its own. */
	flow_tuple(flow, inbound ? DIRECTION_REPLY : DIRECTION_ORIGINAL, &inside);
	/* Generation 0 is from before a restart: checked by name when it was taken up. */
	return (flow->generation == 0 || flow->generation >= qube->since) &&
	       qube->has[inside.family] &&
	       address_equal(&inside.source, &qube->address[inside.family]);
}

/* Whether nothing that this flow depends on can have changed since it was last confirmed. */
static inline bool
flow_is_unconcerned(const struct policy *policy, const struct flow *flow)
{
	return flow->generation != 0 && (flow->flags & FLOW_INBOUND) == 0 &&
	       flow->way[DIRECTION_ORIGINAL].port == policy->uplink &&
	       flow->qube < policy->qube_count &&
	       flow->generation >= policy->qubes[flow->qube].generation;
}

bool
flow_begins_anew(const struct decision *decision, const struct packet *packet)
{
	const struct flow *flow = packet->flow;

	return decision->elsewhere && (flow->flags & (FLOW_INBOUND | FLOW_REFUSED)) == 0 &&
	       packet->direction == DIRECTION_ORIGINAL &&
	       (packet->flags & PACKET_ICMP_ERROR) == 0 &&
	       (flow->protocol != IPPROTO_TCP || tcp_half_open(flow->state));
}

/* As whom the inside is known across the uplink. */
static const struct policy_port *
flow_uplink(const struct policy *policy, const struct flow *flow)
{
	bool inbound = (flow->flags & FLOW_INBOUND) != 0;
	uint16_t port = flow->way[inbound ? DIRECTION_REPLY : DIRECTION_ORIGINAL].port;

	return port == policy->uplink ? &policy->ports[port] : NULL;
}

bool
flow_is_stale(const struct policy *policy, const struct flow *flow)
{
	const struct policy_port *uplink = flow_uplink(policy, flow);
	struct tuple outside;

	if (uplink == NULL)
		return false;
	flow_tuple(flow, (flow->flags & FLOW_INBOUND) != 0 ? DIRECTION_ORIGINAL : DIRECTION_REPLY,
		&outside);
	return uplink->has[outside.family] &&
	       !address_equal(&outside.destination, &uplink->address[outside.family]);
}

static void
decide_about_flow(struct worker *worker, struct flow *flow, struct decision *decision,
	struct questions *questions)
{
	const struct policy *policy = worker->policy;
	bool inbound = (flow->flags & FLOW_INBOUND) != 0;
	bool is_icmp = flow->protocol == IPPROTO_ICMP || flow->protocol == IPPROTO_ICMPV6;
	struct tuple original, reply;

	flow_tuple(flow, DIRECTION_ORIGINAL, &original);
	flow_tuple(flow, DIRECTION_REPLY, &reply);
	decision->flow = flow;
	/* The uplink has no address at present. When it has the same one again, all goes on. */
	if (flow_uplink(policy, flow) != NULL &&
		!policy->ports[policy->uplink].has[original.family]) {
		decision->reason = REASON_NO_ROUTE;
		return;
	}
	decision->reason = REASON_NO_LONGER_ALLOWED;
	if (!flow_has_qube(policy, flow))
		return;
	target_find(policy, worker->dataplane->bindings, &original,
		inbound ? QUBE_NONE : flow->qube, &decision->target);
	if (decision->target.reason != REASON_NONE || decision->target.inter_qube)
		return;
	if (!translation_holds(policy, &decision->target, &original, &reply)) {
		decision->elsewhere = is_elsewhere(&decision->target, &reply);
		return;
	}
	decision->reason = REASON_NONE;
	if (!inbound)
		ask(policy, questions, decision, &original, flow->qube, is_icmp ? flow->state : 0);
}

/* Whether a flow from before the policy goes on without being asked. */
static inline bool
flow_goes_on(const struct policy *policy, const struct flow *flow)
{
	return (flow->flags & FLOW_REFUSED) != 0 || flow_is_unconcerned(policy, flow);
}

/* Decide as far as that needs no rules. */
static void
decide_about(struct worker *worker, const struct packet *packet, struct decision *decision,
	struct questions *questions)
{
	decision->flow = NULL;
	decision->rule = RULE_NONE;
	decision->reason = REASON_NONE;
	decision->elsewhere = false;
	if (packet->flow != NULL)
		decide_about_flow(worker, packet->flow, decision, questions);
	else if ((packet->flags & PACKET_ICMP_ERROR) != 0)
		decision->reason = REASON_ICMP_ERROR;
	else if (packet->qube == QUBE_NONE)
		decide_from_uplink(worker, packet, decision);
	else
		decide_from_qube(worker, packet, decision, questions);
}

/* Have the rules answer. */
static void
questions_ask(const struct worker *worker, struct questions *questions)
{
	judge(worker->policy, worker->now_ms, questions->requests, questions->count);
	for (unsigned i = 0; i < questions->count; i++) {
		struct decision *decision = questions->asks[i];

		decision->rule = questions->requests[i].rule;
		decision->reason = questions->requests[i].reason;
		if (decision->flow != NULL && decision->reason != REASON_NONE)
			decision->reason = REASON_NO_LONGER_ALLOWED;
		else if (decision->reason == REASON_NONE && decision->target.inter_qube)
			decision->reason = REASON_INTER_QUBE;
	}
}

uint64_t
decide_burst(struct worker *worker, struct rte_mbuf *const *burst, unsigned count,
	struct decision *decisions)
{
	uint32_t generation = worker->policy->generation;
	struct questions questions;
	uint64_t made = 0;

	questions.count = 0;
	for (unsigned i = 0; i < count; i++) {
		struct packet *packet = packet_of(burst[i]);

		if (likely(packet->flow != NULL && packet->flow->generation == generation))
			continue;
		if (packet->flow != NULL && flow_goes_on(worker->policy, packet->flow)) {
			packet->flow->generation = generation;
			continue;
		}
		made |= UINT64_C(1) << i;
		decide_about(worker, packet, &decisions[i], &questions);
	}
	if (unlikely(questions.count != 0))
		questions_ask(worker, &questions);
	return made;
}

bool
decide_try(struct worker *worker, const struct packet *packet, struct decision *decision)
{
	struct questions questions;

	if (packet->flow != NULL && (packet->flow->generation == worker->policy->generation ||
					    flow_goes_on(worker->policy, packet->flow)))
		return false;
	questions.count = 0;
	decide_about(worker, packet, decision, &questions);
	if (questions.count != 0)
		questions_ask(worker, &questions);
	return true;
}

/* Refusing what was allowed. */

/* Reset the end that receives what goes in @p direction. */
static void
reset_end(struct worker *worker, const struct flow *flow, enum direction direction, uint32_t serial)
{
	enum direction other = !direction;
	uint32_t sequence, acknowledgement = 0;

	if (!tcp_reset_sequence(flow, direction, &sequence))
		return;
	(void)tcp_reset_sequence(flow, other, &acknowledgement);
	reply_reset(worker, flow, direction, sequence, acknowledgement, serial);
}

/* A segment of a connection that has been reset: its sender has not heard yet. */
static enum reason
reset_again(struct worker *worker, struct rte_mbuf *mbuf)
{
	const struct packet *packet = packet_of(mbuf);
	struct tcp_segment segment;

	tcp_segment_read(&segment, mbuf);
	/* RFC 9293 section 3.10.7.1: the acknowledgement is what its sender expects next. */
	if ((segment.flags & RTE_TCP_RST_FLAG) == 0 && (segment.flags & RTE_TCP_ACK_FLAG) != 0 &&
		reply_allowed(worker, packet))
		reply_reset(worker, packet->flow, !packet->direction, segment.acknowledgement,
			segment.sequence + segment.length, packet->serial);
	return REASON_FLOW_REFUSED;
}

bool
flow_reset(struct worker *worker, struct flow *flow, uint32_t serial)
{
	uint32_t deadline_ms;

	if (flow->protocol != IPPROTO_TCP || tcp_half_open(flow->state)) {
		open_end(worker, flow);
		return false;
	}
	reset_end(worker, flow, DIRECTION_ORIGINAL, serial);
	reset_end(worker, flow, DIRECTION_REPLY, serial);
	flow->flags |= FLOW_REFUSED;
	flow->generation = worker->policy->generation;
	flow->state = TCP_STATE_CLOSE;
	deadline_ms = worker->now_ms + worker->policy->timeouts->ms[TIMEOUT_TCP_CLOSE];
	if (time_after_ms(flow->deadline_ms, deadline_ms)) {
		flow->deadline_ms = deadline_ms;
		flow_sooner(worker->flows, flow);
	}
	return true;
}

enum reason
refuse_flow(struct worker *worker, struct rte_mbuf *mbuf)
{
	struct packet *packet = packet_of(mbuf);

	if ((packet->flow->flags & FLOW_REFUSED) != 0)
		return reset_again(worker, mbuf);
	worker->counters.flows_refused++;
	if (!flow_reset(worker, packet->flow, packet->serial))
		packet->flow = NULL;
	return REASON_NO_LONGER_ALLOWED;
}
