/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/packet_json.h"

#include <inttypes.h>
#include <stdio.h>

#include <rte_tcp.h>

#define SECOND_NS UINT64_C(1000000000)
#define NS_DIGITS 9

const char *const verdict_names[VERDICT_COUNT] = {
	[VERDICT_FORWARD] = "forward",
	[VERDICT_DROP] = "drop",
	[VERDICT_LOCAL] = "local",
	[VERDICT_JOINED] = "joined",
};

json_t *
packet_time_json(uint64_t time_ns, unsigned digits)
{
	uint64_t part = time_ns % SECOND_NS;

	for (unsigned i = digits; i < NS_DIGITS; i++)
		part /= 10;
	return json_sprintf("%" PRIu64 ".%0*" PRIu64, time_ns / SECOND_NS, (int)digits, part);
}

const char *
packet_rule_text(char text[PACKET_TEXT_SIZE], const struct policy *policy,
	const struct packet_summary *summary)
{
	const char *qube;

	if (summary->rule == RULE_NONE || summary->qube >= policy->qube_count)
		return NULL;
	qube = policy->qubes[summary->qube].name;
	if (summary->rule == RULE_POLICY)
		snprintf(text, PACKET_TEXT_SIZE, "%s/policy", qube);
	else
		snprintf(text, PACKET_TEXT_SIZE, "%s/%04u", qube, summary->rule);
	return text;
}

/* Whether parsing came as far as the addresses. */
static bool
has_tuple(const struct packet_summary *summary)
{
	return summary->kind == PACKET_IP && (!address_is_zero(&summary->tuple.source) ||
						     !address_is_zero(&summary->tuple.destination));
}

const char *
packet_protocol_text(char text[PACKET_TEXT_SIZE], const struct packet_summary *summary)
{
	if (summary->kind == PACKET_ARP)
		return "arp";
	if (!has_tuple(summary))
		return NULL;
	switch (summary->tuple.protocol) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_ICMP:
		return "icmp";
	case IPPROTO_ICMPV6:
		return "icmp6";
	default:
		snprintf(text, PACKET_TEXT_SIZE, "%u", summary->tuple.protocol);
		return text;
	}
}

static const char *
end_text(char text[PACKET_TEXT_SIZE], const struct packet_summary *summary,
	const union address *address, rte_be16_t port)
{
	bool ports = (summary->tuple.protocol == IPPROTO_TCP ||
			     summary->tuple.protocol == IPPROTO_UDP) &&
		     (summary->flags & PACKET_FRAGMENT) == 0;
	char plain[ADDRESS_TEXT_SIZE];

	if (!has_tuple(summary))
		return NULL;
	address_format(plain, summary->tuple.family, address);
	if (ports)
		snprintf(text, PACKET_TEXT_SIZE,
			summary->tuple.family == FAMILY_IPV6 ? "[%s]:%u" : "%s:%u", plain,
			rte_be_to_cpu_16(port));
	else
		snprintf(text, PACKET_TEXT_SIZE, "%s", plain);
	return text;
}

const char *
packet_source_text(char text[PACKET_TEXT_SIZE], const struct packet_summary *summary)
{
	return end_text(text, summary, &summary->tuple.source, summary->tuple.source_port);
}

const char *
packet_destination_text(char text[PACKET_TEXT_SIZE], const struct packet_summary *summary)
{
	return end_text(
		text, summary, &summary->tuple.destination, summary->tuple.destination_port);
}

const char *
packet_flags_text(char text[PACKET_TEXT_SIZE], const struct packet_summary *summary)
{
	static const struct {
		uint8_t flag;
		const char *name;
	} names[] = {
		{RTE_TCP_FIN_FLAG, "fin"},
		{RTE_TCP_SYN_FLAG, "syn"},
		{RTE_TCP_RST_FLAG, "rst"},
		{RTE_TCP_PSH_FLAG, "psh"},
		{RTE_TCP_ACK_FLAG, "ack"},
		{RTE_TCP_URG_FLAG, "urg"},
		{RTE_TCP_ECE_FLAG, "ecn"},
		{RTE_TCP_CWR_FLAG, "cwr"},
	};
	size_t used = 0;

	if (!has_tuple(summary) || summary->tuple.protocol != IPPROTO_TCP ||
		(summary->flags & PACKET_FRAGMENT) != 0)
		return NULL;
	for (size_t i = 0; i < RTE_DIM(names); i++)
		if ((summary->tcp_flags & names[i].flag) != 0)
			used += (size_t)snprintf(text + used, PACKET_TEXT_SIZE - used, "%s%s",
				used > 0 ? "," : "", names[i].name);
	return used > 0 ? text : "none";
}

const char *
packet_icmp_text(char text[PACKET_TEXT_SIZE], const struct packet_summary *summary)
{
	if (!has_tuple(summary) || (summary->flags & PACKET_FRAGMENT) != 0 ||
		(summary->tuple.protocol != IPPROTO_ICMP &&
			summary->tuple.protocol != IPPROTO_ICMPV6))
		return NULL;
	snprintf(text, PACKET_TEXT_SIZE, "%u/%u", summary->icmp_type, summary->icmp_code);
	return text;
}

static const char *
port_name(const struct policy *policy, uint16_t port)
{
	const struct policy_port *own = policy_port_at(policy, port);

	return own->role != ROLE_NONE ? own->name : NULL;
}

static void
text_add(json_t *object, const char *key, const char *text, bool complete)
{
	if (text != NULL)
		json_object_set_new(object, key, json_string(text));
	else if (complete)
		json_object_set_new(object, key, json_null());
}

void
packet_json_add(json_t *object, const struct policy *policy, const struct packet_summary *summary,
	const char *verdict, bool complete)
{
	const char *reason = summary->reason != REASON_NONE && summary->reason < REASON_COUNT
				     ? reasons[summary->reason].name
				     : NULL;
	char text[PACKET_TEXT_SIZE];

	if (verdict == NULL)
		verdict = verdict_names[summary->verdict];
	/* jansson keeps the order of insertion */
	text_add(object, "port", port_name(policy, summary->in_port), complete);
	text_add(object, "verdict", verdict, complete);
	text_add(object, "reason", reason, complete);
	text_add(object, "rule", packet_rule_text(text, policy, summary), complete);
	text_add(object, "out", port_name(policy, summary->out_port), complete);
	text_add(object, "proto", packet_protocol_text(text, summary), complete);
	text_add(object, "source", packet_source_text(text, summary), complete);
	text_add(object, "destination", packet_destination_text(text, summary), complete);
	json_object_set_new(object, "length", json_integer(summary->length));
}

void
packet_json_add_more(
	json_t *object, const struct policy *policy, const struct packet_summary *summary)
{
	char text[PACKET_TEXT_SIZE];

	if (summary->qube < policy->qube_count)
		text_add(object, "qube", policy->qubes[summary->qube].name, false);
	text_add(object, "flags", packet_flags_text(text, summary), false);
	text_add(object, "icmp", packet_icmp_text(text, summary), false);
}
