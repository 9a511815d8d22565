/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which flows of a snapshot are still what they were.
 *
 * A flow is taken up if the policy in force would translate it to the very same addresses: its
 * qubes and ports have their names, roles and addresses still, ours are the same, and a virtual DNS
 * address means the same resolver. What rules and forwards say to it is not asked here: its
 * generation is older than any policy's, so its next packet is judged by those.
 *
 * The way out is found anew, since gateways and links may have changed.
 */
#include "app/snapshot_take.h"

#include <netinet/in.h>

#include "classifier/guard.h"
#include "nat/steer.h"

/* Of flows that were opened before the policy in force. */
#define GENERATION_BEFORE 0

static uint16_t
qube_by_name(const struct policy *policy, const char *name)
{
	for (unsigned i = 0; i < policy->qube_count; i++)
		if (strcmp(policy->qubes[i].name, name) == 0)
			return (uint16_t)i;
	return QUBE_NONE;
}

/* The port of the same name, for the same: the uplink, or a qube of the same name. */
static uint16_t
port_by_name(const struct policy *policy, const struct snapshot_names *names,
	const struct snapshot_port *port)
{
	for (unsigned i = 0; i < policy->port_count; i++) {
		const struct policy_port *own = &policy->ports[i];

		if (strcmp(own->name, port->name) != 0)
			continue;
		if (own->role != (enum role)port->role)
			break;
		if (own->role != ROLE_UPLINK &&
			(own->qube == QUBE_NONE || port->qube == QUBE_NONE ||
				own->qube != names->qube_index[port->qube]))
			break;
		return (uint16_t)i;
	}
	return PORT_NONE;
}

/* A qube does not send ARP because we were away; without its MAC all it sends would be dropped. */
static void
mac_take(struct port *port, const uint8_t mac[6], uint32_t now_ms)
{
	uint64_t word = mac_word(mac);

	if (word != 0 && word != mac_word(port->mac) && !port->peer_configured)
		neighbour_learn(port->neighbours, NEIGHBOUR_PEER, word, now_ms);
}

void
snapshot_take_names(struct snapshot_names *names, const struct snapshot_header *header,
	struct dataplane *dataplane, uint32_t now_ms)
{
	const struct policy *policy = atomic_load(&dataplane->policy);

	for (unsigned i = 0; i < dataplane->worker_count; i++) {
		dataplane->workers[i]->policy = policy;
		dataplane->workers[i]->now_ms = now_ms;
	}
	for (unsigned i = 0; i < header->qube_count; i++)
		names->qube_index[i] = qube_by_name(policy, names->qubes[i]);
	for (unsigned i = 0; i < header->port_count; i++) {
		names->port_index[i] = port_by_name(policy, names, &names->ports[i]);
		if (names->port_index[i] != PORT_NONE)
			mac_take(&dataplane->ports[names->port_index[i]], names->ports[i].mac,
				now_ms);
	}
}

static bool
is_ours(const struct policy *policy, enum family family, const union address *address)
{
	uint16_t qube;

	return policy_owner(policy, family, address, &qube) == OWNER_FIREWALL;
}

/* Whether somebody with this address is behind this port. */
static bool
is_behind(const struct policy *policy, const struct policy_port *port, enum family family,
	const union address *address)
{
	const struct qube *qube;
	uint16_t owner;

	if (port->role == ROLE_UPLINK)
		return policy_owner(policy, family, address, &owner) == OWNER_NONE;
	qube = &policy->qubes[port->qube];
	return qube->has[family] && address_equal(address, &qube->address[family]);
}

/* Whether a packet that leaves through @p to may have the source @p seen in place of @p source. */
static bool
source_valid(const struct policy *policy, const struct policy_port *from,
	const struct policy_port *to, enum family family, const union address *source,
	const union address *seen)
{
	if (from->role == ROLE_UPLINK) /* a forward leaves it alone */
		return address_equal(seen, source);
	if (to->role != ROLE_UPLINK)
		return address_equal(seen, source) || is_ours(policy, family, seen);
	return address_equal(seen, &to->address[family]);
}

/* Whether a packet from @p from to what @p original says goes to where @p reply comes from. */
static bool
destination_valid(const struct policy *policy, const struct policy_port *from,
	const struct policy_port *to, const struct tuple *original, const struct tuple *reply)
{
	union address meant = original->destination;

	if (from->role == ROLE_UPLINK) /* only to us, and from where answers go */
		return address_equal(&meant, &from->address[original->family]) &&
		       !target_is_diverted(policy, reply);
	if (original->family == FAMILY_IPV4 && original->destination_port == RTE_BE16(53) &&
		(original->protocol == IPPROTO_UDP || original->protocol == IPPROTO_TCP) &&
		policy_resolver(policy, &meant) < 0)
		return false;
	return address_equal(&meant, &reply->source) ||
	       (to->role != ROLE_UPLINK && is_ours(policy, original->family, &meant));
}

/*
 * Whether a flow means now what it meant when it was written. Rules and forwards are not asked:
 * they are when its next packet comes.
 */
static bool
flow_valid(const struct policy *policy, const struct snapshot_names *names,
	const struct snapshot_flow *record)
{
	const struct tuple *original = &record->tuple[DIRECTION_ORIGINAL];
	const struct tuple *reply = &record->tuple[DIRECTION_REPLY];
	uint16_t from_index = names->port_index[record->port[DIRECTION_REPLY]];
	uint16_t to_index = names->port_index[record->port[DIRECTION_ORIGINAL]];
	uint16_t qube = names->qube_index[record->qube];
	bool inbound = (record->flags & FLOW_INBOUND) != 0;
	const struct policy_port *from, *to;
	enum family family = record->family;

	if (from_index == PORT_NONE || to_index == PORT_NONE || qube == QUBE_NONE)
		return false;
	from = &policy->ports[from_index];
	to = &policy->ports[to_index];
	/* What comes in over the uplink is opened towards a qube, all else by one. */
	if (inbound != (from->role == ROLE_UPLINK) || (inbound && to->role == ROLE_UPLINK))
		return false;
	/* What comes in is steered by the far end, which nothing changes, or by its answers. */
	if (inbound && (record->protocol == IPPROTO_TCP || record->protocol == IPPROTO_UDP) &&
		original->source_port != reply->destination_port)
		return false;
	/* Its rules and budget it uses. */
	if (qube != (inbound ? to : from)->qube)
		return false;
	return is_behind(policy, from, family, &original->source) &&
	       is_behind(policy, to, family, &reply->source) &&
	       source_valid(policy, from, to, family, &original->source, &reply->destination) &&
	       destination_valid(policy, from, to, original, reply);
}

/* Where packets leave through a port towards @p destination. */
static bool
way_find(struct worker *worker, uint16_t port, enum family family, const union address *destination,
	struct flow_way *way)
{
	if (worker->policy->ports[port].role != ROLE_UPLINK) {
		*way = (struct flow_way){.port = port, .neighbour = NEIGHBOUR_PEER};
		return true;
	}
	return route_find(worker, family, destination, way) == REASON_NONE;
}

/* The rule that let it in, as a number to show: only as long as there is such a rule. */
static uint16_t
rule_known(const struct policy *policy, uint16_t qube, uint16_t rule)
{
	if (rule == RULE_POLICY || rule < policy->qubes[qube].rules->ruleset.count)
		return rule;
	return RULE_NONE;
}

/*
 * The worker whose flow it is. A packet that comes in by a filter is steered by the binding it is
 * for, which may not be there yet. What the qube answers is not, and goes to the same worker.
 */
static struct worker *
worker_find(
	struct dataplane *dataplane, const struct snapshot_flow *record, uint16_t from, uint16_t to)
{
	const struct policy *policy = dataplane->workers[0]->policy;
	bool by_filter = (record->flags & FLOW_INBOUND) != 0 && (record->flags & FLOW_BINDING) != 0;
	enum direction direction = by_filter ? DIRECTION_REPLY : DIRECTION_ORIGINAL;
	uint16_t port = by_filter ? to : from;

	return dataplane->workers[steer_tuple(policy, &dataplane->secret, dataplane->bindings,
		&record->tuple[direction], policy->ports[port].qube, dataplane->worker_count)];
}

bool
snapshot_take_flow(struct dataplane *dataplane, const struct snapshot_names *names,
	const struct snapshot_flow *record, uint32_t remaining_ms)
{
	const struct policy *policy = dataplane->workers[0]->policy;
	const struct tuple *original = &record->tuple[DIRECTION_ORIGINAL];
	const struct tuple *reply = &record->tuple[DIRECTION_REPLY];
	uint16_t from, to;
	struct flow_way way[2];
	struct worker *worker;
	struct flow *flow;

	if (!flow_valid(policy, names, record))
		return false;
	from = names->port_index[record->port[DIRECTION_REPLY]];
	to = names->port_index[record->port[DIRECTION_ORIGINAL]];
	worker = worker_find(dataplane, record, from, to);
	if (!way_find(worker, to, record->family, &reply->source, &way[DIRECTION_ORIGINAL]) ||
		!way_find(worker, from, record->family, &original->source, &way[DIRECTION_REPLY]))
		return false;
	flow = flow_open(worker->flows, original, reply, worker->now_ms + remaining_ms);
	if (flow == NULL)
		return false;
	flow->state = record->state;
	flow->flags |= record->flags;
	flow->generation = GENERATION_BEFORE;
	flow->qube = names->qube_index[record->qube];
	flow->rule = rule_known(policy, flow->qube, record->rule);
	memcpy(flow->way, way, sizeof(flow->way));
	if (flow->protocol == IPPROTO_TCP) {
		flow->syn_end = record->syn_end;
		flow->reply6 |= (uint8_t)(record->syn_scale << 4);
		memcpy(flow->tcp, record->tcp, sizeof(flow->tcp));
	}
	return worker_adopt(worker, flow);
}
