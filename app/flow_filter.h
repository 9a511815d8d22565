/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which flows are meant: the filter of `flows` and `flows.delete`. Every condition is optional, and
 * all that are given must hold.
 *
 * A flow has two directions with a source and a destination each, which translation makes different
 * from one another. `source`, `destination`, `sport` and `dport` are met by a flow when one of its
 * directions meets all of them; `address` and `port` by any end of any direction.
 */
#pragma once

#include <jansson.h>

#include "classifier/policy.h"
#include "nat/flow.h"

/* Each row is KEY(identifier, "key", "what it takes"). */
/* clang-format off */
#define FLOW_FILTER_KEYS(KEY) \
	KEY(QUBE,	 "qube",	"the name of a qube") \
	KEY(PROTO,	 "proto",	"tcp, udp, icmp (both families) or a number below 256") \
	KEY(STATE,	 "state",	"a TCP state such as established, or unreplied, replied") \
	KEY(FAMILY,	 "family",	"4 or 6") \
	KEY(ADDRESS,	 "address",	"an address or prefix") \
	KEY(SOURCE,	 "source",	"an address or prefix") \
	KEY(DESTINATION, "destination", "an address or prefix") \
	KEY(PORT,	 "port",	"a number up to 65535") \
	KEY(SPORT,	 "sport",	"a number up to 65535") \
	KEY(DPORT,	 "dport",	"a number up to 65535") \
	KEY(INBOUND,	 "inbound",	"true or false")
/* clang-format on */

enum flow_filter_key {
#define FLOW_FILTER_KEY_ENUM(identifier, name, wants) FLOW_FILTER_##identifier,
	FLOW_FILTER_KEYS(FLOW_FILTER_KEY_ENUM)
#undef FLOW_FILTER_KEY_ENUM
		FLOW_FILTER_KEY_COUNT
};

struct flow_filter_end {
	enum family family;
	struct prefix prefix;
	rte_be16_t port;
};

struct flow_filter {
	unsigned given; /* one bit per enum flow_filter_key */
	char qube[NAME_SIZE];
	uint8_t protocol;
	const char *state; /* as flow_state_name */
	enum family family;
	struct flow_filter_end any, source, destination;
	bool inbound;
};

/**
 * Read a filter.
 * @param object NULL: every flow
 * @param key, wants out: what is wrong with it
 * @return 0 or -EINVAL
 */
int flow_filter_parse(
	const json_t *object, struct flow_filter *filter, const char **key, const char **wants);

/** Whether a flow is meant. Any thread that may read both. */
bool flow_filter_match(
	const struct flow_filter *filter, const struct policy *policy, const struct flow *flow);
