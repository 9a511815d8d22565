/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening flows and ending them: everything that a flow takes from what is shared, and gives back.
 *
 * A packet comes here when its destination is known and whoever must be asked has agreed. It then
 * needs, in this order: room in the accounts of the qube it concerns (its own, or for what comes in
 * that of the one it is for), a translation, a way out, a place in the table. What one step took is
 * given back when a later one fails.
 *
 * A qube at its limit pays with its own flows: one that was never answered, or else one that is
 * closing, makes room if a short search finds it. Nobody else's flow is ever touched.
 */
#include <errno.h>
#include <netinet/in.h>

#include "app/worker.h"

/* How many places of the pool are looked at to find a flow that may go. */
#define EVICTION_PROBES 128
/* A permission is closed with the last flow it stands for; the wheel only sees it in between. */
#define PERMISSION_MS (UINT32_C(1) << 30)

static inline bool
flow_is_inbound(const struct flow *flow)
{
	return (flow->flags & FLOW_INBOUND) != 0;
}

static inline struct account *
flow_account(const struct worker *worker, const struct flow *flow)
{
	return dataplane_account(worker->dataplane, flow->qube, flow_is_inbound(flow));
}

/* Permissions (FILTER_ADDRESS): remote port 0 stands for all ports of the remote address. */

static void
permission_tuples(const struct flow *flow, struct tuple *original, struct tuple *reply)
{
	/* As the flow's own, seen from outside first; an inbound flow stands the other way round.
	 */
	flow_tuple(flow, flow_is_inbound(flow) ? DIRECTION_ORIGINAL : DIRECTION_REPLY, original);
	flow_tuple(flow, flow_is_inbound(flow) ? DIRECTION_REPLY : DIRECTION_ORIGINAL, reply);
	original->source_port = 0;
	reply->destination_port = 0;
}

static struct flow *
permission_find(struct worker *worker, const struct tuple *original)
{
	enum direction direction;
	struct flow *flow = flow_lookup(worker->flows, original,
		flow_hash(&worker->dataplane->secret, original), &direction);

	return flow != NULL && (flow->flags & FLOW_PERMISSION) != 0 ? flow : NULL;
}

bool
open_permitted(struct worker *worker, const struct tuple *tuple)
{
	const struct flow *permission;
	struct tuple original = *tuple;

	original.source_port = 0;
	permission = permission_find(worker, &original);
	return permission != NULL && permission->tcp[0].end != 0;
}

/* Let the far end of @p flow send from any port as long as the flow is there. */
static void
permission_take(struct worker *worker, struct flow *flow)
{
	struct flow *permission;
	struct tuple original, reply;

	permission_tuples(flow, &original, &reply);
	permission = permission_find(worker, &original);
	if (permission == NULL) {
		permission =
			flow_open(worker->flows, &original, &reply, worker->now_ms + PERMISSION_MS);
		if (permission == NULL)
			return;
		permission->flags |= FLOW_PERMISSION;
		permission->qube = flow->qube;
	}
	permission->deadline_ms = worker->now_ms + PERMISSION_MS;
	permission->tcp[0].end++;
	flow->flags |= FLOW_COVERED;
}

static void
permission_give(struct worker *worker, const struct flow *flow)
{
	struct flow *permission;
	struct tuple original, reply;

	permission_tuples(flow, &original, &reply);
	permission = permission_find(worker, &original);
	/* Not closed under the wheel's hands; it will find it due. */
	if (permission == NULL || --permission->tcp[0].end != 0)
		return;
	permission->deadline_ms = worker->now_ms;
	flow_sooner(worker->flows, permission);
}

/* Give a reference on an external port back, and the port with the last one. */
static void
binding_give(struct dataplane *dataplane, enum family family, uint8_t protocol, rte_be16_t external)
{
	uint16_t qube = binding_release(dataplane->bindings, family, protocol, external);

	if (qube != QUBE_NONE)
		budget_give(dataplane_account(dataplane, qube, false), BUDGET_PORTS);
}

/* Give back what a flow holds, all but its place in the table. */
static void
flow_give_back(struct worker *worker, const struct flow *flow)
{
	struct account *account;

	if ((flow->flags & FLOW_PERMISSION) != 0)
		return;
	account = flow_account(worker, flow);
	if ((flow->flags & FLOW_BINDING) != 0) {
		unsigned outside = flow_is_inbound(flow) ? DIRECTION_ORIGINAL : DIRECTION_REPLY;

		binding_give(worker->dataplane,
			(flow->flags & FLOW_IPV6) != 0 ? FAMILY_IPV6 : FAMILY_IPV4, flow->protocol,
			flow->port[outside][1]);
	}
	if ((flow->flags & FLOW_HALF_OPEN) != 0)
		budget_give(account, BUDGET_HALF_OPEN);
	if ((flow->flags & FLOW_COVERED) != 0)
		permission_give(worker, flow);
	budget_give(account, BUDGET_FLOWS);
}

void
open_end(struct worker *worker, struct flow *flow)
{
	flow_give_back(worker, flow);
	flow_close(worker->flows, flow);
}

void
open_expired(void *context, struct flow *flow)
{
	struct worker *worker = context;

	flow_give_back(worker, flow);
	worker->counters.flows_expired++;
}

void
open_established(struct worker *worker, struct flow *flow)
{
	flow->flags &= (uint8_t)~FLOW_HALF_OPEN;
	budget_give(flow_account(worker, flow), BUDGET_HALF_OPEN);
}

/* A place of its own in the external port table: those that hold a binding have one. */
static rte_be16_t
flow_external(const struct flow *flow)
{
	return flow->port[flow_is_inbound(flow) ? DIRECTION_ORIGINAL : DIRECTION_REPLY][1];
}

static enum family
flow_family(const struct flow *flow)
{
	return (flow->flags & FLOW_IPV6) != 0 ? FAMILY_IPV6 : FAMILY_IPV4;
}

/* Trials: the same steps, but nothing is taken, and flows are gone only for this question. */

void
open_trial_end(struct open_trial *trial, const struct flow *flow)
{
	trial->gone.flow[trial->gone.count++] = flow;
	if ((flow->flags & FLOW_BINDING) == 0)
		return;
	trial->bindings.given[trial->bindings.count].family = flow_family(flow);
	trial->bindings.given[trial->bindings.count].protocol = flow->protocol;
	trial->bindings.given[trial->bindings.count].external = flow_external(flow);
	trial->bindings.count++;
}

/* Whether two flows hold the same binding. */
static bool
flow_shares_binding(const struct flow *flow, const struct flow *other)
{
	return (other->flags & FLOW_BINDING) != 0 && other->protocol == flow->protocol &&
	       flow_family(other) == flow_family(flow) &&
	       flow_external(other) == flow_external(flow);
}

/* How many of something the flows that are gone have given back to an account. */
static uint32_t
trial_given(const struct worker *worker, const struct open_trial *trial,
	const struct account *account, enum budget_kind kind)
{
	uint32_t given = 0;

	for (unsigned i = 0; i < trial->gone.count; i++) {
		const struct flow *flow = trial->gone.flow[i];
		bool last = (flow->flags & FLOW_BINDING) != 0;

		switch (kind) {
		case BUDGET_FLOWS:
			given += flow_account(worker, flow) == account;
			break;
		case BUDGET_HALF_OPEN:
			given += flow_account(worker, flow) == account &&
				 (flow->flags & FLOW_HALF_OPEN) != 0;
			break;
		case BUDGET_PORTS:
			/* counted with the last of those that share one */
			for (unsigned j = i + 1; j < trial->gone.count; j++)
				last = last && !flow_shares_binding(flow, trial->gone.flow[j]);
			given += last &&
				 dataplane_account(worker->dataplane, flow->qube, false) ==
					 account &&
				 binding_is_last(worker->dataplane->bindings, flow_family(flow),
					 flow->protocol, flow_external(flow), &trial->bindings);
			break;
		default:
			break;
		}
	}
	return given;
}

/* Budgets. */

struct opening {
	struct worker *worker;
	const struct packet *packet;
	const struct target *target;
	struct account *account;
	uint16_t qube; /* whose account it is */
	const struct limits *limits;
	bool inbound;
	bool may_evict;
	struct open_trial *trial; /* NULL: for real */
	/* what has been taken so far */
	bool flow, half_open, binding;
	struct tuple reply;
};

/* Make room for one more of @p kind by ending a flow of the same account. */
static bool
evict(struct opening *opening, enum budget_kind kind)
{
	struct flow *flow;

	if (unlikely(opening->trial != NULL)) {
		struct open_trial *trial = opening->trial;
		const struct flow *found = flow_peek_evictable(opening->worker->flows, &trial->hand,
			opening->qube, opening->inbound, kind == BUDGET_HALF_OPEN, EVICTION_PROBES,
			&trial->gone);

		if (found == NULL)
			return false;
		open_trial_end(trial, found);
		trial->evicted++;
		return true;
	}
	if (!opening->may_evict) {
		opening->worker->eviction_wanted = true;
		return false;
	}
	flow = flow_find_evictable(opening->worker->flows, opening->qube, opening->inbound,
		kind == BUDGET_HALF_OPEN, EVICTION_PROBES);
	if (flow == NULL)
		return false;
	open_end(opening->worker, flow);
	opening->worker->counters.flows_evicted++;
	return true;
}

/* Take one of @p kind, if there is one. */
static bool
take_one(struct opening *opening, enum budget_kind kind)
{
	uint32_t limit = opening->limits->value[kind];
	uint32_t used, given;

	if (likely(opening->trial == NULL))
		return budget_take(opening->account, kind, limit);
	used = budget_used(opening->account, kind);
	given = trial_given(opening->worker, opening->trial, opening->account, kind);
	return used < limit + given;
}

static void
give_one(struct opening *opening, enum budget_kind kind)
{
	if (likely(opening->trial == NULL))
		budget_give(opening->account, kind);
}

static bool
take(struct opening *opening, enum budget_kind kind)
{
	return take_one(opening, kind) || (evict(opening, kind) && take_one(opening, kind));
}

static bool
take_new(struct opening *opening)
{
	uint32_t limit = opening->limits->value[BUDGET_NEW_FLOWS];
	uint32_t now_ms = opening->worker->now_ms;

	if (unlikely(opening->trial != NULL))
		return budget_has_now(opening->account, BUDGET_NEW_FLOWS, limit, now_ms);
	/* The second attempt is the same flow. */
	return opening->may_evict ||
	       budget_take_now(opening->account, BUDGET_NEW_FLOWS, limit, now_ms);
}

static enum reason
budgets_take(struct opening *opening)
{
	if (!take_new(opening))
		return REASON_NEW_FLOWS_BUDGET;
	if (opening->packet->tuple.protocol == IPPROTO_TCP) {
		if (!take(opening, BUDGET_HALF_OPEN))
			return REASON_HALF_OPEN_BUDGET;
		opening->half_open = true;
	}
	if (!take(opening, BUDGET_FLOWS))
		return REASON_FLOWS_BUDGET;
	opening->flow = true;
	return REASON_NONE;
}

static void
opening_undo(struct opening *opening)
{
	if (unlikely(opening->trial != NULL))
		return;
	if (opening->binding)
		binding_give(opening->worker->dataplane, opening->reply.family,
			opening->reply.protocol, opening->reply.destination_port);
	if (opening->half_open)
		budget_give(opening->account, BUDGET_HALF_OPEN);
	if (opening->flow)
		budget_give(opening->account, BUDGET_FLOWS);
}

/* Translation. */

static struct binding_request
binding_request_of(const struct opening *opening)
{
	const struct tuple *tuple = &opening->packet->tuple;

	return (struct binding_request){
		.family = tuple->family,
		.protocol = tuple->protocol,
		.qube = opening->qube,
		.port = tuple->source_port,
		.reserved = forward_reserved(opening->worker->policy->forwards, tuple->protocol),
		.trial = opening->trial != NULL ? &opening->trial->bindings : NULL,
	};
}

/* One that is told apart by the flow table of this worker alone. */
static enum reason
port_choose_tcp(struct opening *opening)
{
	static const struct flow_gone none;
	struct worker *worker = opening->worker;
	const struct port_set *reserved =
		forward_reserved(worker->policy->forwards, opening->packet->tuple.protocol);

	return binding_tcp_without(worker->flows, &worker->dataplane->secret, reserved,
		       opening->trial != NULL ? &opening->trial->gone : &none, &opening->reply) == 0
		       ? REASON_NONE
		       : REASON_PORTS_EXHAUSTED;
}

/* Choose the external port or identifier. */
static enum reason
port_choose(struct opening *opening)
{
	const struct packet *packet = opening->packet;
	uint8_t protocol = packet->tuple.protocol;
	struct binding_table *bindings = opening->worker->dataplane->bindings;
	struct binding_request request;
	bool fresh = false;
	int error;

	if (protocol == IPPROTO_TCP ||
		(protocol == IPPROTO_UDP && opening->target->masquerade == MASQUERADE_GATEWAY))
		return port_choose_tcp(opening);
	/* Without ports to tell flows apart by, the first qube has the destination. */
	if (protocol != IPPROTO_UDP && (packet->flags & PACKET_ICMP_QUERY) == 0)
		return REASON_NONE;
	request = binding_request_of(opening);
	error = binding_join(bindings, &request, &opening->reply.destination_port);
	if (error == -ENOENT) {
		if (!take_one(opening, BUDGET_PORTS))
			return REASON_PORTS_BUDGET;
		error = binding_take(bindings, &request, &opening->reply.destination_port, &fresh);
		if (error != 0 || !fresh)
			give_one(opening, BUDGET_PORTS);
	}
	opening->binding = error == 0;
	return error == 0 ? REASON_NONE : REASON_PORTS_EXHAUSTED;
}

/*
 * How answers will arrive: from where the packet really goes to, at the address and port it seems
 * to come from.
 */
static enum reason
translate(struct opening *opening)
{
	const struct policy *policy = opening->worker->policy;
	const struct target *target = opening->target;
	const struct tuple *tuple = &opening->packet->tuple;
	enum family family = tuple->family;
	const struct policy_port *uplink = &policy->ports[policy->uplink];

	opening->reply = (struct tuple){
		.source = target->address,
		.destination = tuple->source,
		.source_port = target->port,
		.destination_port = tuple->source_port,
		.protocol = tuple->protocol,
		.family = tuple->family,
	};
	switch (target->masquerade) {
	case MASQUERADE_NONE:
		return REASON_NONE;
	case MASQUERADE_GATEWAY:
		opening->reply.destination = policy->gateway[family];
		break;
	case MASQUERADE_EXTERNAL:
	default:
		if (!uplink->has[family])
			return REASON_NO_ROUTE;
		opening->reply.destination = uplink->address[family];
		break;
	}
	return port_choose(opening);
}

/*
 * The external port of a binding is taken towards this very remote: another flow of the same qube
 * and port, to another virtual address of the same resolver. Give this flow a port of its own.
 */
static bool
rebind(struct opening *opening)
{
	struct binding_request request = binding_request_of(opening);
	struct dataplane *dataplane = opening->worker->dataplane;

	if (!opening->binding)
		return false;
	if (opening->trial == NULL)
		binding_give(dataplane, request.family, request.protocol,
			opening->reply.destination_port);
	opening->binding = false;
	if (!take_one(opening, BUDGET_PORTS))
		return false;
	if (binding_take_another(dataplane->bindings, &request, &opening->reply.destination_port) !=
		0) {
		give_one(opening, BUDGET_PORTS);
		return false;
	}
	opening->binding = true;
	return true;
}

/* The way to a qube; it is away when it has no port. */
static enum reason
way_to_qube(const struct policy *policy, uint16_t qube, struct flow_way *way)
{
	*way = (struct flow_way){
		.port = policy->qubes[qube].port,
		.neighbour = NEIGHBOUR_PEER,
	};
	return way->port == PORT_NONE ? REASON_NO_ROUTE : REASON_NONE;
}

/* The way to an address beyond the uplink. A trial claims no place for a neighbour. */
static enum reason
way_out(const struct opening *opening, const union address *destination, struct flow_way *way)
{
	struct worker *worker = opening->worker;
	enum family family = opening->packet->tuple.family;
	union address next_hop;

	if (likely(opening->trial == NULL))
		return route_find(worker, family, destination, way);
	*way = (struct flow_way){.port = worker->policy->uplink, .neighbour = NEIGHBOUR_NONE};
	return route_next_hop(worker->policy, family, destination, &next_hop);
}

static enum reason
ways_find(const struct opening *opening, struct flow_way way[2])
{
	struct worker *worker = opening->worker;
	const struct packet *packet = opening->packet;
	const struct tuple *tuple = &packet->tuple;
	enum reason reason;

	reason = opening->target->qube != QUBE_NONE
			 ? way_to_qube(
				   worker->policy, opening->target->qube, &way[DIRECTION_ORIGINAL])
			 : way_out(opening, &opening->reply.source, &way[DIRECTION_ORIGINAL]);
	if (reason != REASON_NONE)
		return reason;
	if (packet->qube == QUBE_NONE)
		return way_out(opening, &tuple->source, &way[DIRECTION_REPLY]);
	way[DIRECTION_REPLY] =
		(struct flow_way){.port = packet->in_port, .neighbour = NEIGHBOUR_PEER};
	return REASON_NONE;
}

static enum reason
table_enter(struct opening *opening, struct flow **flow)
{
	struct worker *worker = opening->worker;
	const struct tuple *tuple = &opening->packet->tuple;
	uint32_t deadline_ms =
		track_deadline(opening->packet, worker->policy->timeouts, worker->now_ms);

	*flow = flow_open(worker->flows, tuple, &opening->reply, deadline_ms);
	if (*flow == NULL && errno == EEXIST && rebind(opening))
		*flow = flow_open(worker->flows, tuple, &opening->reply, deadline_ms);
	/* The table is full, but not of others' flows only. */
	if (*flow == NULL && errno == ENOSPC && evict(opening, BUDGET_FLOWS))
		*flow = flow_open(worker->flows, tuple, &opening->reply, deadline_ms);
	if (*flow != NULL)
		return REASON_NONE;
	return errno == EEXIST ? REASON_PORTS_EXHAUSTED : REASON_FLOWS_EXHAUSTED;
}

/* Let in a packet for a binding: what it opens holds the binding, too. */
static enum reason
binding_join_inbound(struct opening *opening)
{
	const struct tuple *tuple = &opening->packet->tuple;
	struct binding_request request = {
		.family = tuple->family,
		.protocol = tuple->protocol,
		.qube = opening->qube,
		.port = opening->target->port,
		.trial = opening->trial != NULL ? &opening->trial->bindings : NULL,
	};
	struct dataplane *dataplane = opening->worker->dataplane;
	rte_be16_t external;

	/* Gone since it was found: nobody is there any more. */
	if (binding_join(dataplane->bindings, &request, &external) != 0)
		return REASON_NO_FLOW;
	if (external == tuple->destination_port)
		return REASON_NONE;
	if (opening->trial == NULL)
		binding_give(dataplane, request.family, request.protocol, external);
	return REASON_NO_FLOW;
}

static inline struct opening
opening_of(struct worker *worker, const struct packet *packet, const struct target *target)
{
	bool inbound = packet->qube == QUBE_NONE;
	uint16_t qube = inbound ? target->qube : packet->qube;

	return (struct opening){
		.worker = worker,
		.packet = packet,
		.target = target,
		.account = dataplane_account(worker->dataplane, qube, inbound),
		.qube = qube,
		.limits = &worker->policy->qubes[qube].limits,
		.inbound = inbound,
	};
}

/* As table_enter, of a trial. */
static enum reason
table_enter_trial(struct opening *opening)
{
	const struct flow_table *flows = opening->worker->flows;
	const struct tuple *tuple = &opening->packet->tuple;
	const struct flow_gone *gone = &opening->trial->gone;
	int error = flow_open_check(flows, tuple, &opening->reply, gone);

	if (error == -EEXIST && rebind(opening))
		error = flow_open_check(flows, tuple, &opening->reply, gone);
	if (error == -ENOSPC && evict(opening, BUDGET_FLOWS))
		error = flow_open_check(flows, tuple, &opening->reply, gone);
	if (error == 0)
		return REASON_NONE;
	return error == -EEXIST ? REASON_PORTS_EXHAUSTED : REASON_FLOWS_EXHAUSTED;
}

enum reason
open_try(struct worker *worker, const struct packet *packet, const struct target *target,
	struct open_trial *trial)
{
	struct opening opening = opening_of(worker, packet, target);
	enum reason reason;

	opening.trial = trial;
	reason = budgets_take(&opening);
	if (reason == REASON_NONE)
		reason = translate(&opening);
	trial->reply = opening.reply;
	if (reason == REASON_NONE)
		reason = ways_find(&opening, trial->way);
	if (reason == REASON_NONE)
		reason = table_enter_trial(&opening);
	if (reason == REASON_NONE && target->filter)
		reason = binding_join_inbound(&opening);
	trial->reply = opening.reply;
	return reason;
}

enum reason
open_flow(struct worker *worker, struct rte_mbuf *mbuf, const struct target *target, bool may_evict)
{
	struct packet *packet = packet_of(mbuf);
	struct opening opening = opening_of(worker, packet, target);
	bool inbound = opening.inbound;
	uint16_t qube = opening.qube;
	struct flow_way way[2];
	struct flow *flow = NULL;
	enum reason reason;

	opening.may_evict = may_evict;
	worker->eviction_wanted = false;
	reason = budgets_take(&opening);
	if (reason == REASON_NONE)
		reason = translate(&opening);
	if (reason == REASON_NONE)
		reason = ways_find(&opening, way);
	if (reason == REASON_NONE)
		reason = table_enter(&opening, &flow);
	if (reason == REASON_NONE && target->filter) {
		reason = binding_join_inbound(&opening);
		if (reason != REASON_NONE)
			flow_close(worker->flows, flow);
	}
	if (reason != REASON_NONE) {
		opening_undo(&opening);
		return reason;
	}
	if (opening.binding || target->filter)
		flow->flags |= FLOW_BINDING;
	if (opening.half_open)
		flow->flags |= FLOW_HALF_OPEN;
	if (inbound)
		flow->flags |= FLOW_INBOUND;
	flow->generation = worker->policy->generation;
	flow->qube = qube;
	flow->rule = packet->rule;
	memcpy(flow->way, way, sizeof(way));
	track_open(flow, mbuf, worker->policy->timeouts, worker->now_ms);
	if (flow->protocol == IPPROTO_TCP && opening.half_open && !tcp_half_open(flow->state))
		open_established(worker, flow);
	if (flow->protocol == IPPROTO_UDP && (flow->flags & FLOW_BINDING) != 0 &&
		worker->policy->qubes[qube].filter == FILTER_ADDRESS)
		permission_take(worker, flow);
	worker->counters.flows_opened++;
	packet->flow = flow;
	packet->direction = DIRECTION_ORIGINAL;
	return REASON_NONE;
}

/* Restoring. */

static bool
binding_adopt(struct worker *worker, const struct flow *flow, struct account *account,
	const struct limits *limits)
{
	bool inbound = flow_is_inbound(flow);
	unsigned outside = inbound ? DIRECTION_ORIGINAL : DIRECTION_REPLY;
	enum family family = (flow->flags & FLOW_IPV6) != 0 ? FAMILY_IPV6 : FAMILY_IPV4;
	struct binding_request request = {
		.family = family,
		.protocol = flow->protocol,
		.qube = flow->qube,
		.port = inbound ? flow->port[DIRECTION_REPLY][0]
				: flow->port[DIRECTION_ORIGINAL][0],
		.reserved = forward_reserved(worker->policy->forwards, flow->protocol),
	};
	rte_be16_t external = flow->port[outside][1];
	bool fresh;

	if (binding_take_exact(worker->dataplane->bindings, &request, external, &fresh) != 0)
		return false;
	if (!fresh || budget_take(account, BUDGET_PORTS, limits->value[BUDGET_PORTS]))
		return true;
	binding_release(worker->dataplane->bindings, family, flow->protocol, external);
	return false;
}

/*
 * Whether a flow holds a reference on a binding. Of one that came in only it itself can say: by a
 * filter, or by a forward that may be gone. That one may not turn into a filter's, with a binding
 * that lets others in, too.
 */
static bool
flow_is_bound(const struct policy *policy, const struct flow *flow)
{
	const struct policy_port *uplink = &policy->ports[policy->uplink];
	enum family family = (flow->flags & FLOW_IPV6) != 0 ? FAMILY_IPV6 : FAMILY_IPV4;
	struct tuple tuple;

	if (flow_is_inbound(flow))
		return (flow->flags & FLOW_BINDING) != 0;
	if (flow->protocol != IPPROTO_UDP && flow->protocol != IPPROTO_ICMP &&
		flow->protocol != IPPROTO_ICMPV6)
		return false;
	flow_tuple(flow, DIRECTION_REPLY, &tuple);
	return uplink->has[family] && address_equal(&tuple.destination, &uplink->address[family]);
}

bool
worker_adopt(struct worker *worker, struct flow *flow)
{
	const struct limits *limits = &worker->policy->qubes[flow->qube].limits;
	struct account *account = flow_account(worker, flow);
	bool bound = flow_is_bound(worker->policy, flow);
	bool half_open = flow->protocol == IPPROTO_TCP && tcp_half_open(flow->state);

	flow->flags &= (uint8_t) ~(FLOW_COVERED | FLOW_HALF_OPEN | FLOW_BINDING);
	if (!budget_take(account, BUDGET_FLOWS, limits->value[BUDGET_FLOWS]))
		goto refuse;
	if (half_open && !budget_take(account, BUDGET_HALF_OPEN, limits->value[BUDGET_HALF_OPEN]))
		goto give_flow;
	if (bound && !binding_adopt(worker, flow,
			     dataplane_account(worker->dataplane, flow->qube, false), limits))
		goto give_half_open;
	if (half_open)
		flow->flags |= FLOW_HALF_OPEN;
	if (bound)
		flow->flags |= FLOW_BINDING;
	if (bound && flow->protocol == IPPROTO_UDP &&
		worker->policy->qubes[flow->qube].filter == FILTER_ADDRESS)
		permission_take(worker, flow);
	return true;

give_half_open:
	if (half_open)
		budget_give(account, BUDGET_HALF_OPEN);
give_flow:
	budget_give(account, BUDGET_FLOWS);
refuse:
	flow_close(worker->flows, flow);
	return false;
}
