/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The policy store: turns wishes into one immutable struct policy.
 *
 * A snapshot owns everything it points at: nothing of the struct conf it was made from is needed
 * afterwards. Every qube has a struct rules, also one without rules, so that the data path asks for
 * a state and never for a pointer.
 */
#include "conf/policy_store.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>

static int
ruleset_copy(struct ruleset *copy, const struct ruleset *ruleset)
{
	*copy = (struct ruleset){.policy = ruleset->policy};
	if (ruleset->count == 0)
		return 0;
	copy->rules = calloc(ruleset->count, sizeof(*copy->rules));
	if (copy->rules == NULL)
		return -ENOMEM;
	for (; copy->count < ruleset->count; copy->count++) {
		struct rule *rule = &copy->rules[copy->count];

		*rule = ruleset->rules[copy->count];
		if (rule->name != NULL && (rule->name = strdup(rule->name)) == NULL)
			return -ENOMEM;
	}
	return 0;
}

static int
rules_compile(struct rules *rules)
{
	for (unsigned family = 0; family < FAMILIES; family++) {
		int error = acl_compile(&rules->ruleset, family, &rules->acl[family]);

		if (error != 0) {
			rules->acl[family] = NULL;
			return error;
		}
	}
	return 0;
}

/* The compiled rules of one qube. @return NULL without memory for the bookkeeping */
static struct rules *
rules_new(const struct conf_qube *qube, const struct report *report)
{
	struct rules *rules = calloc(1, sizeof(*rules));
	int error;

	if (rules == NULL)
		return NULL;
	atomic_init(&rules->references, 1);
	rules->state = qube->state;
	if (qube->state != RULES_VALID)
		return rules;
	error = ruleset_copy(&rules->ruleset, &qube->ruleset);
	if (error != 0) {
		rules_unref(rules);
		return NULL;
	}
	error = rules_compile(rules);
	if (error != 0) {
		report_line(report,
			"%s: rules cannot be compiled: %s; everything from qube %s is refused",
			qube->rules_path ? qube->rules_path : "-", strerror(-error), qube->name);
		rules->state = RULES_BAD;
		for (unsigned family = 0; family < FAMILIES; family++)
			if (rules->acl[family] != NULL)
				acl_free(rules->acl[family]);
		memset(rules->acl, 0, sizeof(rules->acl));
		ruleset_clear(&rules->ruleset);
	}
	return rules;
}

static uint16_t
port_of_qube(const struct conf *conf, const char *qube)
{
	for (unsigned i = 0; i < conf->port_count; i++)
		if (conf->ports[i].role == ROLE_QUBE && strcmp(conf->ports[i].qube, qube) == 0)
			return (uint16_t)i;
	return PORT_NONE;
}

static uint16_t
qube_by_name(const struct conf *conf, const char *name)
{
	for (unsigned i = 0; i < conf->qube_count; i++)
		if (strcmp(conf->qubes[i].name, name) == 0)
			return (uint16_t)i;
	return QUBE_NONE;
}

static void
port_fill(struct policy_port *port, const struct conf *conf, const struct conf_port *from)
{
	memcpy(port->name, from->name, sizeof(port->name));
	port->role = from->role;
	port->qube = QUBE_NONE;
	if (from->role == ROLE_QUBE) {
		port->qube = qube_by_name(conf, from->qube);
		return;
	}
	memcpy(port->has, from->has, sizeof(port->has));
	memcpy(port->address, from->address, sizeof(port->address));
	memcpy(port->link, from->link, sizeof(port->link));
	memcpy(port->has_gateway, from->has_gateway, sizeof(port->has_gateway));
	memcpy(port->gateway, from->gateway, sizeof(port->gateway));
}

static void
ports_fill(struct policy *policy, const struct conf *conf)
{
	policy->uplink = PORT_NONE;
	for (unsigned i = 0; i < conf->port_count; i++) {
		const struct conf_port *from = &conf->ports[i];

		port_fill(&policy->ports[policy->port_count++], conf, from);
		if (from->role != ROLE_UPLINK)
			continue;
		policy->uplink = (uint16_t)i;
		policy->resolver_count = from->resolver_count;
		memcpy(policy->resolver, from->resolver, sizeof(policy->resolver));
	}
}

static int
qubes_fill(struct policy *policy, const struct conf *conf, const struct report *report)
{
	for (unsigned i = 0; i < conf->qube_count; i++) {
		const struct conf_qube *from = &conf->qubes[i];
		struct qube *qube = &policy->qubes[i];

		qube->rules = rules_new(from, report);
		if (qube->rules == NULL)
			return -ENOMEM;
		policy->qube_count++;
		memcpy(qube->name, from->name, sizeof(qube->name));
		memcpy(qube->has, from->has, sizeof(qube->has));
		memcpy(qube->address, from->address, sizeof(qube->address));
		qube->port = port_of_qube(conf, from->name);
		limits_defaults(&qube->limits);
	}
	return 0;
}

static int
policy_fill(struct policy *policy, const struct conf *conf, const struct report *report)
{
	int error;

	policy->generation = 1;
	memcpy(policy->has_gateway, conf->has_gateway, sizeof(policy->has_gateway));
	memcpy(policy->gateway, conf->gateway, sizeof(policy->gateway));
	policy->virtual_dns_count = conf->virtual_dns_count;
	memcpy(policy->virtual_dns, conf->virtual_dns, sizeof(policy->virtual_dns));
	/* One spare element, so that an empty array is no special case. */
	policy->ports = calloc(conf->port_count + 1, sizeof(*policy->ports));
	policy->qubes = calloc(conf->qube_count + 1, sizeof(*policy->qubes));
	if (policy->ports == NULL || policy->qubes == NULL)
		return -ENOMEM;
	ports_fill(policy, conf);
	error = qubes_fill(policy, conf, report);
	return error != 0 ? error : policy_index(policy);
}

int
policy_build(const struct conf *conf, const struct policy *previous, uint64_t now_s,
	const struct report *report, struct policy **out)
{
	struct policy *policy = calloc(1, sizeof(*policy));
	int error;

	(void)previous;
	*out = NULL;
	if (policy != NULL) {
		policy->forwards = forward_table_create(NULL, 0, NULL, 0, now_s);
		policy->timeouts = malloc(sizeof(*policy->timeouts));
		if (policy->timeouts == NULL || policy->forwards == NULL) {
			policy_free(policy);
			policy = NULL;
		} else {
			*policy->timeouts = conf->timeouts;
		}
	}
	error = policy == NULL ? -ENOMEM : policy_fill(policy, conf, report);
	if (error != 0) {
		report_line(report, "%s: %s", conf->path,
			error == -EEXIST ? "one address has two owners" : strerror(-error));
		policy_free(policy);
		return error;
	}
	*out = policy;
	return 0;
}
