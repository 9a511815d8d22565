/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flows in words: names of protocols and states, and the record that the control socket shows.
 */
#pragma once

#include <jansson.h>

#include "classifier/policy.h"
#include "nat/flow.h"

/** The number of a protocol by name, or by number as text. @return false for anything else */
bool flow_protocol_parse(const char *text, uint8_t *protocol);

/** The name of a protocol; NULL for those that go by number. */
const char *flow_protocol_name(uint8_t protocol);

/** The state of a flow: that of a TCP connection, else `unreplied` or `replied`. */
const char *flow_state_name(const struct flow *flow);

/** That very name, if there is such a state, else NULL. */
const char *flow_state_find(const char *text);

/** The qube whose flow it is, NULL if that is no longer there. */
const struct qube *flow_qube(const struct policy *policy, const struct flow *flow);

/** A tuple as an object, with ports or the identifier where the protocol has them. */
json_t *flow_tuple_json(const struct tuple *tuple);

/** `QUBE/NNNN` or `QUBE/policy`; NULL for RULE_NONE. */
json_t *flow_rule_json(const char *qube, uint16_t rule);

/** The record of one flow at @p now_ms. @return NULL when out of memory */
json_t *flow_json(
	const struct policy *policy, const struct flow *flow, unsigned worker, uint32_t now_ms);
