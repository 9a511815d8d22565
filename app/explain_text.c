/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/explain_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/flow_show.h"
#include "app/name_service.h"
#include "conf/rule_text.h"

#define TEXT_SIZE 1024

/* What is told, and of what. */
struct telling {
	const struct explain *explain;
	const struct explanation *answer;
	const struct packet *packet;
	const struct policy *policy;
	const struct daemon *daemon;
};

static const char *const stage_names[EXPLAIN_STAGE_COUNT] = {
#define EXPLAIN_STAGE_NAME(identifier, name) name,
	EXPLAIN_STAGES(EXPLAIN_STAGE_NAME)
#undef EXPLAIN_STAGE_NAME
};

/* What the sender hears, if anything, in words. */
static const char *const answer_words[] = {
	[ANSWER_SILENCE] = NULL,
	[ANSWER_PROHIBITED] = "ICMP: communication administratively prohibited",
	[ANSWER_HOST_PROHIBITED] = "ICMP: host administratively prohibited",
	[ANSWER_TIME_EXCEEDED] = "ICMP: time exceeded in transit",
	[ANSWER_UNREACHABLE] = "ICMP: host unreachable",
	[ANSWER_NO_ROUTE] = "ICMP: no route to destination",
	[ANSWER_TOO_BIG] = "ICMP: packet too big",
};

static void __attribute__((format(printf, 2, 3))) say(char *text, const char *format, ...)
{
	size_t used = strlen(text);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text + used, TEXT_SIZE - used, format, arguments);
	va_end(arguments);
}

static void
say_end(char *text, const struct tuple *tuple, const union address *address, rte_be16_t port)
{
	char name[ADDRESS_TEXT_SIZE];

	address_format(name, tuple->family, address);
	if (tuple->protocol != IPPROTO_TCP && tuple->protocol != IPPROTO_UDP)
		say(text, "%s", name);
	else
		say(text, tuple->family == FAMILY_IPV6 ? "[%s]:%u" : "%s:%u", name,
			rte_be_to_cpu_16(port));
}

static void
say_protocol(char *text, uint8_t protocol)
{
	const char *name = flow_protocol_name(protocol);

	if (name != NULL)
		say(text, "%s", name);
	else
		say(text, "protocol %u", protocol);
}

static const char *
qube_name(const struct policy *policy, uint16_t qube)
{
	return qube < policy->qube_count ? policy->qubes[qube].name : "?";
}

static const struct conf_qube *
qube_conf(const struct telling *telling, uint16_t qube)
{
	const char *name = qube_name(telling->policy, qube);

	for (unsigned i = 0; i < telling->daemon->conf->qube_count; i++)
		if (strcmp(telling->daemon->conf->qubes[i].name, name) == 0)
			return &telling->daemon->conf->qubes[i];
	return NULL;
}

static const char *
reply_words(const struct explanation *answer)
{
	return answer->resets ? "TCP: reset" : answer_words[answer->answer];
}

/* Rules. */

/* Which rule decided, by which qube's numbers. @return false when none did */
static bool
rule_of(const struct telling *telling, uint16_t *qube, uint16_t *number)
{
	const struct explanation *answer = telling->answer;
	const struct flow *flow = &answer->known;

	if (answer->flow == EXPLAIN_FLOW_OPEN) {
		*qube = flow->qube;
		*number = answer->decided ? answer->decision.rule : flow->rule;
		/* Numbers of older rules mean nothing any more. */
		if (!answer->decided &&
			(flow->qube >= telling->policy->qube_count ||
				flow->generation < telling->policy->qubes[flow->qube].generation))
			return false;
	} else {
		*qube = telling->packet->qube;
		*number = answer->rule;
	}
	return *number != RULE_NONE && *qube < telling->policy->qube_count;
}

/* The rule as written; NULL for the policy. */
static const struct rule *
rule_find(const struct policy *policy, uint16_t qube, uint16_t number)
{
	const struct ruleset *ruleset = &policy->qubes[qube].rules->ruleset;

	return number < ruleset->count ? &ruleset->rules[number] : NULL;
}

static const char *
action_word(enum action action)
{
	return action == ACTION_ACCEPT ? "accept" : "drop";
}

/* `work.rules:3`, or which layer of changes it is from. */
static void
say_origin(char *text, const struct telling *telling, uint16_t qube, unsigned number)
{
	const struct conf_qube *conf = qube_conf(telling, qube);
	char origin[TEXT_SIZE];

	if (conf == NULL ||
		!daemon_rule_origin(telling->daemon, conf, number, origin, sizeof(origin)))
		snprintf(origin, sizeof(origin), "unknown");
	say(text, "%s", origin);
}

static void
say_rule(char *text, const struct telling *telling)
{
	uint16_t qube, number;
	const struct rule *rule;
	char *written;

	if (!rule_of(telling, &qube, &number))
		return;
	rule = rule_find(telling->policy, qube, number);
	if (rule == NULL) {
		say(text, "no rule of %s matches, and its policy is %s",
			qube_name(telling->policy, qube),
			action_word(telling->policy->qubes[qube].rules->ruleset.policy));
		return;
	}
	written = rule_format(rule, true);
	say(text, "rule %s/%04u (", qube_name(telling->policy, qube), number);
	say_origin(text, telling, qube, number);
	say(text, ") says '%s'", written != NULL ? written : action_word(rule->action));
	free(written);
	if (rule->destination == DESTINATION_NAME && telling->answer->decided) {
		char address[ADDRESS_TEXT_SIZE];

		say(text, ", and name %s = %s", rule->name,
			address_format(address, telling->packet->tuple.family,
				&telling->answer->decision.target.address));
	}
}

static bool
rule_may_match(const struct rule *rule, const struct telling *telling)
{
	const struct packet *packet = telling->packet;
	uint16_t port = rte_be_to_cpu_16(telling->answer->decision.target.port);

	switch (rule->protocol) {
	case RULE_TCP:
	case RULE_UDP:
		return packet->tuple.protocol ==
			       (rule->protocol == RULE_TCP ? IPPROTO_TCP : IPPROTO_UDP) &&
		       (!rule->has_ports || (port >= rule->port_low && port <= rule->port_high));
	case RULE_ICMP:
		return (packet->tuple.protocol == IPPROTO_ICMP ||
			       packet->tuple.protocol == IPPROTO_ICMPV6) &&
		       (!rule->has_icmp_type || rule->icmp_type == packet->icmp_type);
	case RULE_ANY:
	default:
		return true;
	}
}

/* Addresses of a name that are written out. */
#define ADDRESSES_SAID 4

static void
say_addresses(
	char *text, const struct telling *telling, const struct rules *rules, const char *name)
{
	struct name_address addresses[NAME_ADDRESSES_MAX];
	unsigned count = name_service_addresses(telling->daemon, rules, name, addresses);
	char address[ADDRESS_TEXT_SIZE];

	if (count == 0)
		say(text, ", whose addresses are not known");
	for (unsigned i = 0; i < count && i < ADDRESSES_SAID; i++)
		say(text, "%s%s", i == 0 ? " = " : ", ",
			address_format(address, addresses[i].family, &addresses[i].address));
	if (count > ADDRESSES_SAID)
		say(text, " and %u more", count - ADDRESSES_SAID);
}

/* A rule that would have come first, if its name stood for this destination. */
static void
say_names(char *text, const struct telling *telling)
{
	uint16_t qube, number;
	const struct ruleset *ruleset;

	if (telling->answer->flow == EXPLAIN_FLOW_OPEN || !rule_of(telling, &qube, &number))
		return;
	ruleset = &telling->policy->qubes[qube].rules->ruleset;
	for (unsigned i = 0; i < ruleset->count && i < number; i++) {
		const struct rule *rule = &ruleset->rules[i];

		if (rule->destination != DESTINATION_NAME || !rule_may_match(rule, telling))
			continue;
		say(text, "; rule %s/%04u is for %s", qube_name(telling->policy, qube), i,
			rule->name);
		say_addresses(text, telling, telling->policy->qubes[qube].rules, rule->name);
		say(text, ", and does not match");
		return;
	}
}

/* Where it goes. */

static const struct forward *
forward_of(const struct telling *telling)
{
	const struct explanation *answer = telling->answer;

	/* Open flows are not asked where they came from. */
	return answer->decided && answer->flow != EXPLAIN_FLOW_OPEN
		       ? answer->decision.target.forward
		       : NULL;
}

static void
say_target(char *text, const struct telling *telling)
{
	const struct target *target = &telling->answer->decision.target;
	const struct tuple *tuple = &telling->packet->tuple;
	const struct forward *forward = forward_of(telling);
	const char *qube = qube_name(telling->policy, target->qube);

	if (forward != NULL) {
		say(text, "forward %s leads to qube %s at ", forward->name, qube);
		say_end(text, tuple, &target->address, target->port);
	} else if (target->filter) {
		say(text, "the filter of qube %s lets others speak to a port it has opened", qube);
	} else if (target->dns) {
		say(text, "a virtual DNS address, which stands for ");
		say_end(text, tuple, &target->address, target->port);
	} else if (target->qube != QUBE_NONE) {
		say(text, "to qube %s", qube);
	} else {
		say(text, "out of the uplink");
	}
}

static void
say_missing_allow(char *text, const struct telling *telling)
{
	const struct target *target = &telling->answer->decision.target;

	say(text, "an [allow] from %s to %s for ",
		qube_name(telling->policy, telling->packet->qube),
		qube_name(telling->policy, target->qube));
	say_protocol(text, telling->packet->tuple.protocol);
	if (target->port != 0 && (telling->packet->tuple.protocol == IPPROTO_TCP ||
					 telling->packet->tuple.protocol == IPPROTO_UDP))
		say(text, " port %u", rte_be_to_cpu_16(target->port));
	say(text, " is missing");
}

/* Why it is dropped, with all that is known about it. */
static void
say_reason(char *text, const struct telling *telling)
{
	const struct explanation *answer = telling->answer;
	const struct conf_qube *conf;

	switch (answer->reason) {
	case REASON_RULE:
	case REASON_POLICY:
		say_rule(text, telling);
		say_names(text, telling);
		break;
	case REASON_INTER_QUBE:
		say_rule(text, telling);
		say(text, ", but ");
		say_missing_allow(text, telling);
		break;
	case REASON_BAD_RULES:
		conf = qube_conf(telling, telling->packet->qube);
		say(text, "%s", reasons[answer->reason].help);
		if (conf != NULL && conf->rules_error != NULL)
			say(text, " (%s)", conf->rules_error);
		break;
	case REASON_NO_FLOW:
		say(text, "%s", reasons[answer->reason].help);
		if (telling->packet->qube == QUBE_NONE && answer->stage == EXPLAIN_DECIDE)
			say(text, ": no forward and no port that a qube has opened lets it in");
		break;
	default:
		say(text, "%s", reasons[answer->reason].help);
		break;
	}
}

/* Stages. */

static void
say_packet(char *text, const struct telling *telling)
{
	const struct tuple *tuple = &telling->packet->tuple;

	say_protocol(text, tuple->protocol);
	say(text, " from ");
	say_end(text, tuple, &tuple->source, tuple->source_port);
	say(text, " to ");
	say_end(text, tuple, &tuple->destination, tuple->destination_port);
}

static void
say_guard(char *text, const struct telling *telling)
{
	uint16_t index = telling->packet->qube;
	char visible[ADDRESS_TEXT_SIZE];

	if (index == QUBE_NONE) {
		say(text, "comes over the uplink");
		return;
	}
	say(text, "comes from qube %s, with its address", qube_name(telling->policy, index));
	if (telling->packet->tuple.family == FAMILY_IPV4 && telling->policy->qubes[index].mapped)
		say(text, ", which it sees as %s",
			address_format(visible, FAMILY_IPV4,
				&(union address){.v4 = telling->policy->qubes[index].visible}));
}

static void
say_lookup(char *text, const struct telling *telling)
{
	const struct explanation *answer = telling->answer;

	if (answer->flow != EXPLAIN_FLOW_OPEN && !answer->reopens)
		say(text, "belongs to no flow that is open");
	else
		say(text, "belongs to an open flow in state %s%s", flow_state_name(&answer->known),
			answer->reopens ? ", which it opens anew" : "");
}

static void
say_decision(char *text, const struct telling *telling)
{
	size_t used;

	if (telling->answer->flow == EXPLAIN_FLOW_OPEN)
		say(text, "the flow is from before the last change, and is allowed still; ");
	say_target(text, telling);
	used = strlen(text);
	say(text, "; ");
	say_rule(text, telling);
	if (text[used + 2] == '\0')
		text[used] = '\0';
	say_names(text, telling);
}

/* The source as it is seen behind, if that differs. */
static void
say_opening(char *text, const struct telling *telling)
{
	const struct tuple *leaves = &telling->answer->leaves;
	const struct tuple *tuple = &telling->packet->tuple;

	say(text, "a flow would be opened");
	if (!address_equal(&leaves->source, &tuple->source)) {
		say(text, ", its source becomes ");
		say_end(text, tuple, &leaves->source, leaves->source_port);
		if (leaves->source_port == tuple->source_port)
			say(text, " (port kept)");
	}
	if (telling->answer->trial.evicted != 0)
		say(text, "; %u of the qube's own flows would be closed for it",
			telling->answer->trial.evicted);
}

static void
say_way(char *text, const struct telling *telling)
{
	const struct explanation *answer = telling->answer;
	char hop[ADDRESS_TEXT_SIZE];

	say(text, "through port %s to next hop %s",
		policy_port_at(telling->policy, answer->out_port)->role != ROLE_NONE
			? telling->policy->ports[answer->out_port].name
			: "?",
		address_format(hop, telling->packet->tuple.family, &answer->next_hop));
	if (answer->waits)
		say(text, ", once that has said its MAC, which is not known yet");
}

static void
say_stage(char *text, const struct telling *telling, enum explain_stage stage)
{
	switch (stage) {
	case EXPLAIN_PARSE:
		say_packet(text, telling);
		break;
	case EXPLAIN_GUARD:
		say_guard(text, telling);
		break;
	case EXPLAIN_LOCAL:
		say(text, (telling->packet->flags & PACKET_ICMP_ERROR) != 0
				  ? "an error about a packet of another flow"
				  : "nothing that the firewall itself answers");
		break;
	case EXPLAIN_STEER:
		say(text, "worker %u is responsible", telling->answer->owner);
		break;
	case EXPLAIN_LOOKUP:
		say_lookup(text, telling);
		break;
	case EXPLAIN_DECIDE:
		say_decision(text, telling);
		break;
	case EXPLAIN_OPEN:
		say_opening(text, telling);
		break;
	case EXPLAIN_TRACK:
		say(text, "valid where its flow is");
		break;
	case EXPLAIN_ROUTE:
		say_way(text, telling);
		break;
	case EXPLAIN_STAGE_COUNT:
	default:
		break;
	}
}

static json_t *
stages_json(const struct telling *telling)
{
	const struct explanation *answer = telling->answer;
	json_t *list = json_array();

	for (unsigned i = 0; i < EXPLAIN_STAGE_COUNT; i++) {
		char text[TEXT_SIZE] = "";
		const char *result = "pass";

		if ((answer->passed >> i & 1) != 0) {
			say_stage(text, telling, (enum explain_stage)i);
			if (i == EXPLAIN_ROUTE && answer->waits)
				result = "wait";
		} else if (i == answer->stage) {
			result = answer->verdict == VERDICT_DROP ? "drop" : "local";
			if (answer->verdict == VERDICT_DROP)
				say_reason(text, telling);
			else
				say(text, "the firewall itself takes it, and answers");
		} else {
			continue;
		}
		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "stage", stage_names[i],
						    "result", result, "text", text));
	}
	return list;
}

/* One sentence. */

static void
say_because(char *text, const struct telling *telling)
{
	const struct explanation *answer = telling->answer;
	const struct forward *forward = forward_of(telling);

	if (answer->flow == EXPLAIN_FLOW_OPEN) {
		say(text, "it belongs to an open flow (%s)", flow_state_name(&answer->known));
		return;
	}
	if (forward != NULL)
		say(text, "forward %s leads to qube %s", forward->name,
			qube_name(telling->policy, answer->decision.target.qube));
	else if (answer->decision.target.filter)
		say_target(text, telling);
	if (answer->rule != RULE_NONE) {
		say(text, "%s", text[strlen(text) - 1] == ' ' ? "" : ", and ");
		say_rule(text, telling);
	}
}

static void
say_sentence(char *text, const struct telling *telling)
{
	const struct explanation *answer = telling->answer;
	const char *heard = reply_words(answer);

	say_packet(text, telling);
	switch (answer->verdict) {
	case VERDICT_FORWARD:
		say(text, " passes: ");
		say_because(text, telling);
		say(text, "; it leaves ");
		say_way(text, telling);
		if (!address_equal(&answer->leaves.source, &telling->packet->tuple.source) ||
			!address_equal(
				&answer->leaves.destination, &telling->packet->tuple.destination)) {
			say(text, ", as ");
			say_end(text, &answer->leaves, &answer->leaves.source,
				answer->leaves.source_port);
			say(text, " to ");
			say_end(text, &answer->leaves, &answer->leaves.destination,
				answer->leaves.destination_port);
		}
		break;
	case VERDICT_DROP:
		say(text, " is dropped (%s): ", reasons[answer->reason].name);
		say_reason(text, telling);
		if (heard != NULL)
			say(text, "; its sender hears %s", heard);
		else
			say(text, "; its sender hears nothing");
		break;
	default:
		say(text, " is for the firewall itself, which answers");
		break;
	}
	say(text, ".");
}

/* Members. */

static json_t *
rule_json(const struct telling *telling)
{
	char origin[TEXT_SIZE] = "";
	const struct rule *rule;
	uint16_t qube, number;
	json_t *object;
	char *written;

	if (!rule_of(telling, &qube, &number))
		return NULL;
	rule = rule_find(telling->policy, qube, number);
	object = json_pack("{s:s}", "qube", qube_name(telling->policy, qube));
	if (rule == NULL) {
		json_object_set_new(object, "policy",
			json_string(
				action_word(telling->policy->qubes[qube].rules->ruleset.policy)));
		return object;
	}
	written = rule_format(rule, true);
	say_origin(origin, telling, qube, number);
	json_object_set_new(object, "number", json_integer(number));
	if (written != NULL)
		json_object_set_new(object, "rule", json_string(written));
	json_object_set_new(object, "origin", json_string(origin));
	free(written);
	return object;
}

static json_t *
address_json(enum family family, const union address *address)
{
	char text[ADDRESS_TEXT_SIZE];

	return json_string(address_format(text, family, address));
}

static void
set(json_t *object, const char *key, json_t *value)
{
	if (value != NULL)
		json_object_set_new(object, key, value);
}

static void
set_way(json_t *object, const struct telling *telling)
{
	const struct explanation *answer = telling->answer;

	if (answer->verdict != VERDICT_FORWARD)
		return;
	if ((telling->packet->flags & PACKET_ICMP_ERROR) == 0)
		set(object, "translation", flow_tuple_json(&answer->leaves));
	set(object, "out", json_string(telling->policy->ports[answer->out_port].name));
	set(object, "next_hop",
		address_json((enum family)telling->packet->tuple.family, &answer->next_hop));
}

json_t *
explain_json(const struct explain *explain, const struct daemon *daemon)
{
	static const char *const verdicts[VERDICT_COUNT] = {
		[VERDICT_FORWARD] = "forward",
		[VERDICT_DROP] = "drop",
		[VERDICT_LOCAL] = "local",
		[VERDICT_JOINED] = "joined",
	};
	static const char *const flows[] = {
		[EXPLAIN_FLOW_NONE] = "none",
		[EXPLAIN_FLOW_NEW] = "new",
		[EXPLAIN_FLOW_OPEN] = "open",
	};
	const struct explanation *answer = &explain->answer;
	const struct telling telling = {
		explain, answer, &explain->packet, daemon_policy(daemon), daemon};
	const struct forward *forward = forward_of(&telling);
	const char *heard = reply_words(answer);
	char sentence[TEXT_SIZE] = "";
	json_t *object = json_pack(
		"{s:s, s:s}", "verdict", verdicts[answer->verdict], "flow", flows[answer->flow]);

	if (answer->verdict == VERDICT_DROP) {
		set(object, "reason", json_string(reasons[answer->reason].name));
		set(object, "help", json_string(reasons[answer->reason].help));
		set(object, "answer", heard != NULL ? json_string(heard) : NULL);
	}
	set(object, "rule", rule_json(&telling));
	if (forward != NULL)
		set(object, "forward", json_string(forward->name));
	if (answer->decided && answer->decision.target.dns &&
		answer->decision.target.reason == REASON_NONE)
		set(object, "dns", address_json(FAMILY_IPV4, &answer->decision.target.address));
	set_way(object, &telling);
	set(object, "stages", stages_json(&telling));
	say_sentence(sentence, &telling);
	set(object, "text", json_string(sentence));
	return object;
}
