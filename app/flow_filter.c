/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/flow_filter.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/flow_show.h"

static const struct {
	const char *name;
	const char *wants;
} keys[FLOW_FILTER_KEY_COUNT] = {
#define FLOW_FILTER_KEY_ROW(identifier, name, wants) {name, wants},
	FLOW_FILTER_KEYS(FLOW_FILTER_KEY_ROW)
#undef FLOW_FILTER_KEY_ROW
};

static bool
number_parse(const json_t *value, json_int_t greatest, json_int_t *number)
{
	*number = json_integer_value(value);
	return json_is_integer(value) && *number >= 0 && *number <= greatest;
}

static bool
protocol_parse(const json_t *value, uint8_t *protocol)
{
	json_int_t number;

	if (json_is_string(value))
		return flow_protocol_parse(json_string_value(value), protocol);
	if (!number_parse(value, UINT8_MAX, &number))
		return false;
	*protocol = (uint8_t)number;
	return true;
}

static bool
family_parse(const json_t *value, enum family *family)
{
	json_int_t number = json_integer_value(value);

	*family = number == 4 ? FAMILY_IPV4 : FAMILY_IPV6;
	return number == 4 || number == 6;
}

static bool
end_parse(const json_t *value, struct flow_filter_end *end)
{
	return json_is_string(value) &&
	       prefix_parse(json_string_value(value), &end->family, &end->prefix) == 0;
}

static bool
port_parse(const json_t *value, struct flow_filter_end *end)
{
	json_int_t number;

	if (!number_parse(value, UINT16_MAX, &number))
		return false;
	end->port = rte_cpu_to_be_16((uint16_t)number);
	return true;
}

static bool
value_parse(struct flow_filter *filter, enum flow_filter_key key, const json_t *value)
{
	const char *text = json_string_value(value);

	switch (key) {
	case FLOW_FILTER_QUBE:
		if (text == NULL || text[0] == '\0' || strlen(text) >= sizeof(filter->qube))
			return false;
		snprintf(filter->qube, sizeof(filter->qube), "%s", text);
		return true;
	case FLOW_FILTER_PROTO:
		return protocol_parse(value, &filter->protocol);
	case FLOW_FILTER_STATE:
		filter->state = text != NULL ? flow_state_find(text) : NULL;
		return filter->state != NULL;
	case FLOW_FILTER_FAMILY:
		return family_parse(value, &filter->family);
	case FLOW_FILTER_ADDRESS:
		return end_parse(value, &filter->any);
	case FLOW_FILTER_SOURCE:
		return end_parse(value, &filter->source);
	case FLOW_FILTER_DESTINATION:
		return end_parse(value, &filter->destination);
	case FLOW_FILTER_PORT:
		return port_parse(value, &filter->any);
	case FLOW_FILTER_SPORT:
		return port_parse(value, &filter->source);
	case FLOW_FILTER_DPORT:
		return port_parse(value, &filter->destination);
	case FLOW_FILTER_INBOUND:
		filter->inbound = json_is_true(value);
		return json_is_boolean(value);
	case FLOW_FILTER_KEY_COUNT:
	default:
		return false;
	}
}

int
flow_filter_parse(
	const json_t *object, struct flow_filter *filter, const char **key, const char **wants)
{
	json_t *value;

	*filter = (struct flow_filter){0};
	*key = "filter";
	*wants = "an object";
	if (object == NULL)
		return 0;
	if (!json_is_object(object))
		return -EINVAL;
	json_object_foreach ((json_t *)(uintptr_t)object, *key, value) {
		unsigned i = 0;

		while (i < FLOW_FILTER_KEY_COUNT && strcmp(keys[i].name, *key) != 0)
			i++;
		*wants = i < FLOW_FILTER_KEY_COUNT ? keys[i].wants : NULL;
		if (*wants == NULL || !value_parse(filter, (enum flow_filter_key)i, value))
			return -EINVAL;
		filter->given |= 1U << i;
	}
	return 0;
}

static inline bool
wants(const struct flow_filter *filter, enum flow_filter_key key)
{
	return (filter->given & 1U << key) != 0;
}

static bool
end_match(const struct flow_filter_end *end, bool has_address, bool has_port, enum family family,
	const union address *address, rte_be16_t port)
{
	return (!has_address ||
		       (end->family == family && prefix_contains(&end->prefix, address))) &&
	       (!has_port || end->port == port);
}

static bool
direction_match(const struct flow_filter *filter, const struct tuple *tuple)
{
	return end_match(&filter->source, wants(filter, FLOW_FILTER_SOURCE),
		       wants(filter, FLOW_FILTER_SPORT), tuple->family, &tuple->source,
		       tuple->source_port) &&
	       end_match(&filter->destination, wants(filter, FLOW_FILTER_DESTINATION),
		       wants(filter, FLOW_FILTER_DPORT), tuple->family, &tuple->destination,
		       tuple->destination_port);
}

static bool
any_match(const struct flow_filter *filter, const struct tuple *tuple)
{
	bool address = wants(filter, FLOW_FILTER_ADDRESS);
	bool port = wants(filter, FLOW_FILTER_PORT);

	return end_match(&filter->any, address, port, tuple->family, &tuple->source,
		       tuple->source_port) ||
	       end_match(&filter->any, address, port, tuple->family, &tuple->destination,
		       tuple->destination_port);
}

bool
flow_filter_match(
	const struct flow_filter *filter, const struct policy *policy, const struct flow *flow)
{
	enum family family = (flow->flags & FLOW_IPV6) != 0 ? FAMILY_IPV6 : FAMILY_IPV4;
	struct tuple original, reply;

	if (wants(filter, FLOW_FILTER_PROTO) && flow->protocol != filter->protocol &&
		(filter->protocol != IPPROTO_ICMP || flow->protocol != IPPROTO_ICMPV6))
		return false;
	if ((wants(filter, FLOW_FILTER_FAMILY) && family != filter->family) ||
		(wants(filter, FLOW_FILTER_INBOUND) &&
			((flow->flags & FLOW_INBOUND) != 0) != filter->inbound) ||
		(wants(filter, FLOW_FILTER_STATE) && flow_state_name(flow) != filter->state))
		return false;
	if (wants(filter, FLOW_FILTER_QUBE)) {
		const struct qube *qube = flow_qube(policy, flow);

		if (qube == NULL || strcmp(qube->name, filter->qube) != 0)
			return false;
	}
	flow_tuple(flow, DIRECTION_ORIGINAL, &original);
	flow_tuple(flow, DIRECTION_REPLY, &reply);
	return (direction_match(filter, &original) || direction_match(filter, &reply)) &&
	       (any_match(filter, &original) || any_match(filter, &reply));
}
