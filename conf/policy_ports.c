/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ports of a policy: the index that each of them keeps, and what is said of it.
 */
#include "conf/policy_build.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

/*
 * What a port must have in common with one before to be the same one. Its qube belongs to that:
 * flows, and the neighbour that was learned there, are its old qube's.
 */
static int
identity_text(const struct conf_port *port, char **text)
{
	if (asprintf(text, "%s:%s %s", device_kinds[port->device],
		    port->argument != NULL ? port->argument : "",
		    port->role != ROLE_UPLINK ? port->qube : "") >= 0)
		return 0;
	*text = NULL;
	return -ENOMEM;
}

/* The port of the snapshot before that @p from still is; NULL for a new one. */
static const struct policy_port *
port_before(const struct build *build, const struct conf_port *from, const char *identity)
{
	uint16_t index = name_table_find(&build->ports_before, from->name);
	const struct policy_port *port = NULL;

	if (index != PORT_NONE && build->previous != NULL)
		port = &build->previous->ports[index];
	return port != NULL && port->role == from->role && port->identity != NULL &&
			       strcmp(port->identity, identity) == 0
		       ? port
		       : NULL;
}

/* Whether a new port may have an index: not as long as anybody may know another one by it. */
static bool
index_is_free(const struct build *build, unsigned index)
{
	const struct policy *previous = build->previous;

	if (build->policy->ports[index].role != ROLE_NONE)
		return false;
	return previous == NULL ||
	       (policy_port_at(previous, index)->role == ROLE_NONE &&
		       (previous->slots == NULL || !previous->slots->taken[index]));
}

/* @param most indices there are */
static int
port_new_index(struct build *build, const struct conf_port *from, unsigned most, unsigned *lowest)
{
	const struct port_slots *slots = build->policy->slots;
	unsigned leaving = 0;

	while (*lowest < most && !index_is_free(build, *lowest))
		(*lowest)++;
	if (*lowest < most)
		return 0;
	for (unsigned i = 0; slots != NULL && i < slots->count; i++)
		leaving += slots->taken[i] && policy_port_at(build->previous, i)->role == ROLE_NONE;
	report_line(build->report,
		"%s:%u: [port %s]: there is no room for one more, %u is the most ([sluice] ports) "
		"and %u are still being closed",
		build->conf->path, from->line, from->name, most, leaving);
	return -E2BIG;
}

/* Indices of all ports: those they had, else the lowest that are free. */
static int
port_indices_assign(struct build *build, unsigned most)
{
	const struct conf *conf = build->conf;
	struct policy *policy = build->policy;
	const struct policy *previous = build->previous;
	unsigned lowest = 0;
	int error = 0;

	for (unsigned i = 0; i < conf->port_count && error == 0; i++) {
		const struct policy_port *before;
		char *identity = NULL;

		error = identity_text(&conf->ports[i], &identity);
		if (error != 0)
			break;
		before = port_before(build, &conf->ports[i], identity);
		build->port_index[i] = PORT_NONE;
		if (before == NULL) {
			free(identity);
			continue;
		}
		build->port_index[i] = (uint16_t)(before - previous->ports);
		policy->ports[build->port_index[i]].role = conf->ports[i].role;
		policy->ports[build->port_index[i]].since = before->since;
		policy->ports[build->port_index[i]].identity = identity;
	}
	for (unsigned i = 0; i < conf->port_count && error == 0; i++) {
		if (build->port_index[i] != PORT_NONE)
			continue;
		error = port_new_index(build, &conf->ports[i], most, &lowest);
		if (error != 0)
			break;
		build->port_index[i] = (uint16_t)lowest;
		policy->ports[lowest].role = conf->ports[i].role;
		error = identity_text(&conf->ports[i], &policy->ports[lowest].identity);
		policy->port_count = RTE_MAX(policy->port_count, lowest + 1);
	}
	return error;
}

/* As for qubes, the array never becomes shorter. */
int
ports_place(struct build *build)
{
	const struct conf *conf = build->conf;
	struct policy *policy = build->policy;
	const struct policy *previous = build->previous;
	unsigned before = previous != NULL ? previous->port_count : 0;
	unsigned most = before + conf->port_count;
	int error;

	policy->slots = previous != NULL ? previous->slots : NULL;
	if (policy->slots != NULL)
		most = RTE_MAX(before, policy->slots->count);
	policy->ports = calloc(most + 1, sizeof(*policy->ports));
	build->port_index = calloc(conf->port_count + 1, sizeof(*build->port_index));
	if (policy->ports == NULL || build->port_index == NULL)
		return -ENOMEM;
	policy->port_count = before;
	for (unsigned i = 0; i < most; i++) {
		const struct policy_port *port =
			previous != NULL ? policy_port_at(previous, i) : NULL;

		policy->ports[i].role = ROLE_NONE;
		policy->ports[i].qube = QUBE_NONE;
		policy->ports[i].since =
			port != NULL && port->role == ROLE_NONE ? port->since : policy->generation;
	}
	error = port_indices_assign(build, most);
	for (unsigned i = 0; error == 0 && i < conf->port_count; i++)
		if (conf->ports[i].role != ROLE_UPLINK && conf->ports[i].qube[0] != '\0')
			name_table_add(&build->ports, conf->ports[i].qube, build->port_index[i]);
	return error;
}

static void
port_fill(struct policy_port *port, const struct build *build, const struct conf_port *from)
{
	memcpy(port->name, from->name, sizeof(port->name));
	port->mss_clamp = from->mss_clamp;
	port->mss = from->mss;
	if (from->role != ROLE_UPLINK) {
		port->qube = name_table_find(&build->now, from->qube);
		port->mapped = from->role == ROLE_QUBE && port->qube != QUBE_NONE &&
			       build->policy->qubes[port->qube].mapped;
		return;
	}
	memcpy(port->has, from->has, sizeof(port->has));
	memcpy(port->address, from->address, sizeof(port->address));
	memcpy(port->link, from->link, sizeof(port->link));
	memcpy(port->has_gateway, from->has_gateway, sizeof(port->has_gateway));
	memcpy(port->gateway, from->gateway, sizeof(port->gateway));
}

/* Our own kernel has the addresses of the uplink, whatever they are now. */
static void
host_fill(struct policy *policy, uint16_t index, bool configuring)
{
	const struct policy_port *uplink = &policy->ports[policy->uplink];
	struct qube *host = &policy->qubes[policy->ports[index].qube];

	memcpy(host->has, uplink->has, sizeof(host->has));
	memcpy(host->address, uplink->address, sizeof(host->address));
	policy->configuring = configuring;
	policy->host = index;
}

void
ports_fill(const struct build *build)
{
	const struct conf *conf = build->conf;
	struct policy *policy = build->policy;
	bool configuring = false;

	policy->uplink = PORT_NONE;
	policy->host = PORT_NONE;
	for (unsigned i = 0; i < conf->port_count; i++) {
		const struct conf_port *from = &conf->ports[i];

		port_fill(&policy->ports[build->port_index[i]], build, from);
		if (from->role != ROLE_UPLINK)
			continue;
		policy->uplink = build->port_index[i];
		configuring = from->settings == SETTINGS_HOST;
		policy->resolver_count = from->resolver_count;
		memcpy(policy->resolver, from->resolver, sizeof(policy->resolver));
	}
	for (unsigned i = 0; i < policy->port_count && policy->uplink != PORT_NONE; i++)
		if (policy->ports[i].role == ROLE_HOST && policy->ports[i].qube != QUBE_NONE)
			host_fill(policy, (uint16_t)i, configuring);
}
