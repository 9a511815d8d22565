/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a record knows, in words: one line for each stage that the packet has seen.
 */
#include "app/tap_json.h"

#include <stdlib.h>

#include "app/base64.h"
#include "app/packet_json.h"
#include "nat/tcp.h"

#define TIME_DIGITS 9

/* The last reason of each stage, in the order of the table of reasons. */
static const struct {
	enum reason last;
	const char *name;
} stages[] = {
	{REASON_TCP_FLAGS, "parse"},
	{REASON_DOWNSTREAM_SOURCE, "guard"},
	{REASON_LOCAL_IGNORED, "local"},
	{REASON_FRAGMENT_TIMEOUT, "reassemble"},
	{REASON_NO_RESOLVER, "flow"},
	{REASON_FLOW_REFUSED, "rules"},
	{REASON_TRANSMIT, "route"},
};
_Static_assert(REASON_TRANSMIT + 1 == REASON_COUNT, "every reason belongs to a stage");

static const char *
stage_of(uint8_t reason)
{
	size_t i = 0;

	while (i + 1 < RTE_DIM(stages) && reason > stages[i].last)
		i++;
	return stages[i].name;
}

static void
stage_parse(json_t *list, const struct packet_summary *summary)
{
	char protocol[PACKET_TEXT_SIZE], more[PACKET_TEXT_SIZE];
	char source[PACKET_TEXT_SIZE], destination[PACKET_TEXT_SIZE];
	const char *proto = packet_protocol_text(protocol, summary);
	const char *from = packet_source_text(source, summary);
	const char *detail = packet_flags_text(more, summary);

	if (detail == NULL)
		detail = packet_icmp_text(more, summary);
	if (from == NULL)
		json_array_append_new(
			list, json_sprintf("parse: %s, %u bytes",
				      proto != NULL ? proto : "not understood", summary->length));
	else
		json_array_append_new(
			list, json_sprintf("parse: %s %s -> %s%s%s%s, %u bytes", proto, from,
				      packet_destination_text(destination, summary),
				      detail != NULL ? " " : "", detail != NULL ? detail : "",
				      (summary->flags & PACKET_FRAGMENT) != 0     ? " fragment"
				      : (summary->flags & PACKET_ICMP_ERROR) != 0 ? " error"
										  : "",
				      summary->length));
}

static void
stage_flow(json_t *list, const struct tap_record *record)
{
	const char *way = record->flow_inbound ? "an inbound flow" : "a flow";

	if (record->flow == TAP_FLOW_OPENED)
		json_array_append_new(list, json_sprintf("flow: opens %s", way));
	else if (record->flow == TAP_FLOW_KNOWN && record->left.protocol == IPPROTO_TCP &&
		 record->flow_state < TCP_STATE_COUNT)
		json_array_append_new(list, json_sprintf("flow: part of %s that is known, %s", way,
						    tcp_states[record->flow_state].name));
	else if (record->flow == TAP_FLOW_KNOWN)
		json_array_append_new(list, json_sprintf("flow: part of %s that is known", way));
}

static void
stage_nat(json_t *list, const struct tap_record *record)
{
	struct packet_summary left = record->summary;
	char before[PACKET_TEXT_SIZE], after[PACKET_TEXT_SIZE];
	const char *changed;

	/* An error leaves as one about the other side's packet. */
	if (record->flow == TAP_FLOW_NONE || (left.flags & PACKET_ICMP_ERROR) != 0)
		return;
	left.tuple = record->left;
	changed = packet_source_text(after, &left);
	if (changed != NULL && strcmp(packet_source_text(before, &record->summary), changed) != 0)
		json_array_append_new(list, json_sprintf("nat: source %s -> %s", before, changed));
	changed = packet_destination_text(after, &left);
	if (changed != NULL &&
		strcmp(packet_destination_text(before, &record->summary), changed) != 0)
		json_array_append_new(
			list, json_sprintf("nat: destination %s -> %s", before, changed));
}

static void
stage_out(json_t *list, const struct policy *policy, const struct tap_record *record)
{
	const uint8_t *mac = record->next_mac;
	char address[ADDRESS_TEXT_SIZE] = "the qube";

	if (policy_port_at(policy, record->summary.out_port)->role == ROLE_NONE)
		return;
	json_array_append_new(
		list, json_sprintf("out: %s", policy->ports[record->summary.out_port].name));
	if (!record->next_hop_known)
		return;
	if (policy->ports[record->summary.out_port].role == ROLE_UPLINK)
		address_format(address, record->summary.tuple.family, &record->next_hop);
	json_array_append_new(
		list, json_sprintf("next hop: %s at %02x:%02x:%02x:%02x:%02x:%02x", address, mac[0],
			      mac[1], mac[2], mac[3], mac[4], mac[5]));
}

static json_t *
stages_json(const struct policy *policy, const struct tap_record *record)
{
	const struct packet_summary *summary = &record->summary;
	const struct qube *qube = policy_port_qube(policy, summary->in_port);
	json_t *list = json_array();
	char text[PACKET_TEXT_SIZE];
	const char *rule = packet_rule_text(text, policy, summary);

	stage_parse(list, summary);
	if (qube != NULL)
		json_array_append_new(list, json_sprintf("guard: from qube %s", qube->name));
	else if (policy_port_at(policy, summary->in_port)->role == ROLE_UPLINK)
		json_array_append_new(list, json_string("guard: from beyond the uplink"));
	stage_flow(list, record);
	if (rule != NULL)
		json_array_append_new(list, json_sprintf("rule: %s", rule));
	switch (summary->verdict) {
	case VERDICT_FORWARD:
		stage_nat(list, record);
		stage_out(list, policy, record);
		break;
	case VERDICT_LOCAL:
		json_array_append_new(list, json_string("local: taken by the firewall itself"));
		break;
	case VERDICT_JOINED:
		json_array_append_new(list, json_string("reassemble: part of a datagram that goes "
							"on with its last fragment"));
		break;
	default:
		json_array_append_new(list,
			json_sprintf("%s: dropped, %s: %s", stage_of(summary->reason),
				reasons[summary->reason].name, reasons[summary->reason].help));
		break;
	}
	return list;
}

/* The bytes of a record as base64. */
static json_t *
frame_json(struct rte_mbuf *mbuf)
{
	uint32_t length = rte_pktmbuf_pkt_len(mbuf);
	uint8_t *copy = malloc(length + 1);
	char *text = malloc(BASE64_SIZE((size_t)length));
	json_t *json = NULL;
	const void *bytes = copy != NULL ? rte_pktmbuf_read(mbuf, 0, length, copy) : NULL;

	if (bytes != NULL && text != NULL)
		json = json_stringn_nocheck(text, base64_encode(text, bytes, length));
	free(copy);
	free(text);
	return json;
}

json_t *
tap_json(const struct dataplane *dataplane, const struct policy *policy, struct rte_mbuf *mbuf,
	bool frames, uint64_t time_ns)
{
	const struct tap_record *record = tap_record(mbuf);
	json_t *packet = json_object();

	json_object_set_new(packet, "time", packet_time_json(time_ns, TIME_DIGITS));
	if (record->own) {
		json_object_set_new(packet, "verdict", json_string("sent"));
		json_object_set_new(packet, "length", json_integer(record->wire_length));
	} else {
		packet_json_add(packet, policy, &record->summary, NULL, false);
		packet_json_add_more(packet, policy, &record->summary);
	}
	/* where this frame was seen */
	json_object_set_new(packet, "port", json_string(dataplane->ports[record->port].name));
	if (!frames) {
		json_object_set_new(packet, "stages", stages_json(policy, record));
		return packet;
	}
	json_object_set_new(packet, "direction", json_string(record->out ? "out" : "in"));
	json_object_set_new(packet, "wire_length", json_integer(record->wire_length));
	json_object_set_new(packet, "frame", frame_json(mbuf));
	return packet;
}
