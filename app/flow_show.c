/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/flow_show.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "nat/tcp.h"

static const char state_unreplied[] = "unreplied";
static const char state_replied[] = "replied";

static const struct {
	const char *name;
	uint8_t number;
} protocols[] = {
	{"tcp", IPPROTO_TCP},
	{"udp", IPPROTO_UDP},
	{"icmp", IPPROTO_ICMP},
	{"icmp6", IPPROTO_ICMPV6},
};

const char *
flow_protocol_name(uint8_t protocol)
{
	for (unsigned i = 0; i < RTE_DIM(protocols); i++)
		if (protocols[i].number == protocol)
			return protocols[i].name;
	return NULL;
}

bool
flow_protocol_parse(const char *text, uint8_t *protocol)
{
	char *end;
	unsigned long number;

	for (unsigned i = 0; i < RTE_DIM(protocols); i++)
		if (strcmp(protocols[i].name, text) == 0) {
			*protocol = protocols[i].number;
			return true;
		}
	if (text[0] < '0' || text[0] > '9')
		return false;
	number = strtoul(text, &end, 10);
	*protocol = (uint8_t)number;
	return *end == '\0' && number <= UINT8_MAX;
}

const char *
flow_state_name(const struct flow *flow)
{
	if (flow->protocol == IPPROTO_TCP)
		return tcp_states[flow->state < TCP_STATE_COUNT ? flow->state : TCP_STATE_NONE]
			.name;
	return (flow->flags & FLOW_REPLIED) != 0 ? state_replied : state_unreplied;
}

const char *
flow_state_find(const char *text)
{
	for (unsigned i = 0; i < TCP_STATE_COUNT; i++)
		if (strcmp(tcp_states[i].name, text) == 0)
			return tcp_states[i].name;
	if (strcmp(text, state_unreplied) == 0)
		return state_unreplied;
	return strcmp(text, state_replied) == 0 ? state_replied : NULL;
}

const struct qube *
flow_qube(const struct policy *policy, const struct flow *flow)
{
	const struct qube *qube;

	if (flow->qube >= policy->qube_count)
		return NULL;
	qube = &policy->qubes[flow->qube];
	/* Generation 0 is from before a restart: checked by name when it was taken up. */
	if (qube->name[0] == '\0' || (flow->generation != 0 && flow->generation < qube->since))
		return NULL;
	return qube;
}

json_t *
flow_tuple_json(const struct tuple *tuple)
{
	char source[ADDRESS_TEXT_SIZE], destination[ADDRESS_TEXT_SIZE];
	json_t *object = json_pack("{s:s, s:s}", "source",
		address_format(source, tuple->family, &tuple->source), "destination",
		address_format(destination, tuple->family, &tuple->destination));

	switch (tuple->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		json_object_set_new_nocheck(
			object, "sport", json_integer(rte_be_to_cpu_16(tuple->source_port)));
		json_object_set_new_nocheck(
			object, "dport", json_integer(rte_be_to_cpu_16(tuple->destination_port)));
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		/* a query has it where the source's port would be, what answers it the other way */
		json_object_set_new_nocheck(object, "id",
			json_integer(rte_be_to_cpu_16(
				(rte_be16_t)(tuple->source_port | tuple->destination_port))));
		break;
	default:
		break;
	}
	return object;
}

json_t *
flow_rule_json(const char *qube, uint16_t rule)
{
	if (rule == RULE_NONE)
		return NULL;
	return rule == RULE_POLICY ? json_sprintf("%s/policy", qube)
				   : json_sprintf("%s/%04u", qube, rule);
}

/*
 * The rule that let a flow in goes by its number, which means something only while the rules are
 * those it was found in.
 */
static json_t *
rule_json(const struct qube *qube, const struct flow *flow)
{
	if (qube == NULL || flow->generation < qube->generation)
		return NULL;
	return flow_rule_json(qube->name, flow->rule);
}

static json_t *
port_json(const struct policy *policy, uint16_t port)
{
	const struct policy_port *own = policy_port_at(policy, port);

	return own->role != ROLE_NONE ? json_string(own->name) : NULL;
}

static bool
is_replied(const struct flow *flow)
{
	return flow->protocol == IPPROTO_TCP ? flow->state != TCP_STATE_SYN_SENT
					     : (flow->flags & FLOW_REPLIED) != 0;
}

json_t *
flow_json(const struct policy *policy, const struct flow *flow, unsigned worker, uint32_t now_ms)
{
	const struct qube *qube = flow_qube(policy, flow);
	const char *protocol = flow_protocol_name(flow->protocol);
	int32_t left_ms = (int32_t)(flow->deadline_ms - now_ms);
	struct tuple original, reply;

	flow_tuple(flow, DIRECTION_ORIGINAL, &original);
	flow_tuple(flow, DIRECTION_REPLY, &reply);
	return json_pack("{s:o, s:i, s:s, s:s*, s:o*, s:b, s:b, s:i, s:o, s:o, s:o*, s:o*, s:i}",
		"proto",
		protocol != NULL ? json_string(protocol) : json_sprintf("%u", flow->protocol),
		"family", original.family == FAMILY_IPV6 ? 6 : 4, "state", flow_state_name(flow),
		"qube", qube != NULL ? qube->name : NULL, "rule", rule_json(qube, flow), "inbound",
		(flow->flags & FLOW_INBOUND) != 0, "replied", is_replied(flow), "expires",
		left_ms > 0 ? left_ms / 1000 : 0, "original", flow_tuple_json(&original), "reply",
		flow_tuple_json(&reply), "in", port_json(policy, flow->way[DIRECTION_REPLY].port),
		"out", port_json(policy, flow->way[DIRECTION_ORIGINAL].port), "worker",
		(int)worker);
}
