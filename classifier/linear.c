/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reference matcher. It is the meaning of the rule model, written so that it can be checked by
 * reading: one test after the other, one rule after the other, no cleverness. The compiled
 * classifier has to agree with it on every packet.
 */
#include "classifier/linear.h"

#include <netinet/in.h>

static bool
destination_matches(
	const struct rule *rule, const struct subject *subject, const struct subject_names *names)
{
	switch (rule->destination) {
	case DESTINATION_ANY:
		return true;
	case DESTINATION_IPV4:
		return subject->family == FAMILY_IPV4 &&
		       prefix_contains(&rule->prefix, &subject->destination);
	case DESTINATION_IPV6:
		return subject->family == FAMILY_IPV6 &&
		       prefix_contains(&rule->prefix, &subject->destination);
	case DESTINATION_NAME:
		for (unsigned i = 0; i < names->count; i++)
			if (strcmp(rule->name, names->text[i]) == 0)
				return true;
		return false;
	}
	return false;
}

static bool
protocol_matches(const struct rule *rule, const struct subject *subject)
{
	switch (rule->protocol) {
	case RULE_ANY:
		return true;
	case RULE_TCP:
		return subject->protocol == IPPROTO_TCP;
	case RULE_UDP:
		return subject->protocol == IPPROTO_UDP;
	case RULE_ICMP:
		return subject->protocol ==
		       (subject->family == FAMILY_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	}
	return false;
}

static bool
rule_matches(
	const struct rule *rule, const struct subject *subject, const struct subject_names *names)
{
	uint16_t port = rte_be_to_cpu_16(subject->destination_port);

	if (rule->families == RULE_IPV4_ONLY && subject->family != FAMILY_IPV4)
		return false;
	if (rule->families == RULE_IPV6_ONLY && subject->family != FAMILY_IPV6)
		return false;
	if (!destination_matches(rule, subject, names) || !protocol_matches(rule, subject))
		return false;
	if (rule->has_ports && (port < rule->port_low || port > rule->port_high))
		return false;
	if (rule->has_icmp_type && subject->icmp_type != rule->icmp_type)
		return false;
	/* The virtual DNS addresses are IPv4 only. */
	if (rule->dns && (!subject->dns || subject->family != FAMILY_IPV4))
		return false;
	return true;
}

enum action
linear_match(const struct ruleset *ruleset, const struct subject *subject, uint16_t *rule)
{
	static const struct subject_names none;

	return linear_match_named(ruleset, subject, &none, rule);
}

enum action
linear_match_named(const struct ruleset *ruleset, const struct subject *subject,
	const struct subject_names *names, uint16_t *rule)
{
	for (unsigned i = 0; i < ruleset->count; i++) {
		if (rule_matches(&ruleset->rules[i], subject, names)) {
			*rule = (uint16_t)i;
			return ruleset->rules[i].action;
		}
	}
	*rule = RULE_POLICY;
	return ruleset->policy;
}
