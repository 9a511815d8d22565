/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The policy store: turns wishes into one immutable struct policy.
 *
 * A snapshot owns everything it points at: nothing of the struct conf it was made from is needed
 * afterwards. Every qube has a struct rules, also one without rules, so that the data path asks for
 * a state and never for a pointer.
 *
 * What goes on from the snapshot before: a qube keeps its index, and so does a port, because flows,
 * accounts and bindings know them by that and by nothing else; and rules that say the same as
 * before are shared, because compiling them is the one thing here that takes time. So a reload
 * costs what it changes.
 *
 * Two marks tell the data path what became of a flow's qube. `since` says that the index belongs to
 * somebody else now, or to nobody. `generation` says that what a flow may do has to be asked again.
 * Asking once too often costs one classification per flow, asking too rarely leaves a hole: when in
 * doubt it is raised.
 */
#include "conf/policy_build.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include <rte_common.h>

/* Make the tables of names that are known before the policy is. */
static int
names_enter(struct build *build)
{
	const struct conf *conf = build->conf;
	const struct policy *previous = build->previous;
	unsigned before = previous != NULL ? previous->qube_count : 0;

	if (name_table_create(&build->before, before) != 0 ||
		name_table_create(&build->now, conf->qube_count) != 0 ||
		name_table_create(&build->ports, conf->port_count) != 0 ||
		name_table_create(
			&build->ports_before, previous != NULL ? previous->port_count : 0) != 0)
		return -ENOMEM;
	for (unsigned i = 0; i < before; i++)
		if (previous->qubes[i].name[0] != '\0')
			name_table_add(&build->before, previous->qubes[i].name, (uint16_t)i);
	for (unsigned i = 0; previous != NULL && i < previous->port_count; i++)
		if (previous->ports[i].role != ROLE_NONE)
			name_table_add(&build->ports_before, previous->ports[i].name, (uint16_t)i);
	return 0;
}
_Static_assert(PORT_NONE == UINT16_MAX && QUBE_NONE == UINT16_MAX,
	"what is not in a table of names is none");

/*
 * Give every qube its index: the one it had, else the lowest that is free. The array never becomes
 * shorter, so that whatever still names a qube of the past by index finds an unused one there.
 */
static void
indices_assign(struct build *build, bool *taken)
{
	const struct conf *conf = build->conf;
	unsigned lowest = 0;

	build->policy->qube_count = build->previous != NULL ? build->previous->qube_count : 0;
	for (unsigned i = 0; i < conf->qube_count; i++) {
		build->index[i] = name_table_find(&build->before, conf->qubes[i].name);
		if (build->index[i] != QUBE_NONE)
			taken[build->index[i]] = true;
	}
	for (unsigned i = 0; i < conf->qube_count; i++) {
		if (build->index[i] != QUBE_NONE)
			continue;
		while (taken[lowest])
			lowest++;
		taken[lowest] = true;
		build->index[i] = (uint16_t)lowest;
		build->policy->qube_count = RTE_MAX(build->policy->qube_count, lowest + 1);
	}
}

/* The qube of the previous snapshot that still is at @p index; NULL for a new one. */
static const struct qube *
qube_before(const struct build *build, uint16_t index, const char *name)
{
	const struct policy *previous = build->previous;

	if (previous == NULL || index >= previous->qube_count ||
		strcmp(previous->qubes[index].name, name) != 0)
		return NULL;
	return &previous->qubes[index];
}

static int
qube_fill(const struct build *build, const struct conf_qube *from, uint16_t index)
{
	const struct qube *before = qube_before(build, index, from->name);
	struct qube *qube = &build->policy->qubes[index];

	memcpy(qube->name, from->name, sizeof(qube->name));
	memcpy(qube->has, from->has, sizeof(qube->has));
	memcpy(qube->address, from->address, sizeof(qube->address));
	qube->mapped = from->has_visible && from->has[FAMILY_IPV4];
	qube->visible = from->visible;
	qube->visible_gateway = from->visible_gateway;
	qube->port = name_table_find(&build->ports, from->name);
	qube->limits = from->limits;
	qube->filter = from->filter;
	qube->host = from->host;
	qube->since = before != NULL ? before->since : build->policy->generation;
	return rules_take(build, from, before != NULL ? before->rules : NULL, &qube->rules);
}

static int
hole_fill(struct build *build, uint16_t index)
{
	const struct qube *before = qube_before(build, index, "");
	struct qube *qube = &build->policy->qubes[index];

	qube->port = PORT_NONE;
	limits_defaults(&qube->limits);
	qube->since = before != NULL ? before->since : build->policy->generation;
	if (build->none == NULL)
		build->none = rules_new(RULES_NONE);
	if (build->none == NULL)
		return -ENOMEM;
	qube->rules = rules_ref(build->none);
	return 0;
}

static int
qubes_fill(struct build *build)
{
	const struct conf *conf = build->conf;
	unsigned most = conf->qube_count;
	bool *taken;
	int error = 0;

	if (build->previous != NULL)
		most = RTE_MAX(most, build->previous->qube_count);
	/* One spare element, so that an empty array is no special case. */
	build->policy->qubes = calloc(most + 1, sizeof(*build->policy->qubes));
	build->index = calloc(conf->qube_count + 1, sizeof(*build->index));
	taken = calloc(most + 1, sizeof(*taken));
	if (build->policy->qubes == NULL || build->index == NULL || taken == NULL) {
		free(taken);
		return -ENOMEM;
	}
	indices_assign(build, taken);
	for (unsigned i = 0; i < conf->qube_count; i++)
		name_table_add(&build->now, conf->qubes[i].name, build->index[i]);
	for (unsigned i = 0; error == 0 && i < conf->qube_count; i++)
		error = qube_fill(build, &conf->qubes[i], build->index[i]);
	for (unsigned i = 0; error == 0 && i < build->policy->qube_count; i++)
		if (!taken[i])
			error = hole_fill(build, (uint16_t)i);
	free(taken);
	return error;
}

/* Say of a forward whose time is over that it is there in vain. */
static void
expired_report(const struct build *build, const struct conf_forward *forward, uint64_t now_s)
{
	time_t end = (time_t)forward->expire_s;
	char text[sizeof("9999-12-31 23:59:59 UTC")] = "";
	char place[PLACE_SIZE];
	struct tm parts;

	if (forward->expire_s == 0 || forward->expire_s > now_s)
		return;
	if (gmtime_r(&end, &parts) == NULL ||
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &parts) == 0)
		snprintf(text, sizeof(text), "%" PRIu64, forward->expire_s);
	report_line(build->report, "%s: [forward %s]: not in force, its time was over at %s",
		conf_place(build->conf, forward->line, place), forward->name, text);
}

/* @return false, reported, when no qube has that name */
static bool
qube_resolve(const struct build *build, unsigned line, const char *name, uint16_t *index)
{
	char place[PLACE_SIZE];

	*index = name_table_find(&build->now, name);
	if (*index == QUBE_NONE)
		report_line(build->report, "%s: there is no qube %s",
			conf_place(build->conf, line, place), name);
	return *index != QUBE_NONE;
}

static int
forward_fill(const struct build *build, const struct conf_forward *from, struct forward *forward)
{
	*forward = (struct forward){
		.side = from->side,
		.protocol = from->protocol,
		.first = from->first,
		.last = from->last,
		.target_first = from->target_first,
		.target_single = from->target_first == from->target_last,
		.has_source = from->has_source,
		.source_family = from->source_family,
		.source = from->source,
		.expire_s = from->expire_s,
	};
	memcpy(forward->name, from->name, sizeof(forward->name));
	return qube_resolve(build, from->line, from->qube, &forward->qube) ? 0 : -ENOENT;
}

/* The counter of a forward: the one it had before, by name. @return NULL when out of memory */
static struct hits *
forward_hits(const struct build *build, const struct forward *forward)
{
	const struct forward_table *before =
		build->previous != NULL ? build->previous->forwards : NULL;

	for (unsigned i = 0; before != NULL && i < before->count; i++)
		if (strcmp(before->forwards[i].name, forward->name) == 0)
			return hits_ref(before->forwards[i].hits);
	return hits_new();
}

static int
allow_fill(const struct build *build, const struct conf_allow *from, struct allow *allow)
{
	*allow = (struct allow){
		.protocol = from->protocol,
		.first = from->first,
		.last = from->last,
	};
	memcpy(allow->name, from->name, sizeof(allow->name));
	return qube_resolve(build, from->line, from->from, &allow->from) &&
			       qube_resolve(build, from->line, from->to, &allow->to)
		       ? 0
		       : -ENOENT;
}
_Static_assert(sizeof(((struct forward *)0)->name) == NAME_SIZE &&
		       sizeof(((struct allow *)0)->name) == NAME_SIZE,
	"they have the names of their sections");

/* Those that were added over the control socket and have a place beside the file's. */
static int
changed_forwards_fill(const struct build *build, struct forward *forwards, unsigned *count)
{
	const struct changes *changes = build->changes;
	char why[256];
	int error = 0;

	for (unsigned i = 0; error == 0 && changes != NULL && i < changes->forward_count; i++) {
		const struct conf_forward *from = &changes->forwards[i]->forward;

		if (*count == FORWARDS_MAX)
			break;
		if (changes_forward_stands(build->conf, from, build->now_s, why, sizeof(why)))
			error = forward_fill(build, from, &forwards[(*count)++]);
	}
	return error;
}

static int
forwards_fill(const struct build *build)
{
	const struct conf *conf = build->conf;
	unsigned most =
		conf->forward_count + (build->changes != NULL ? build->changes->forward_count : 0);
	struct forward *forwards = calloc(most + 1, sizeof(*forwards));
	struct allow *allows = calloc(conf->allow_count + 1, sizeof(*allows));
	int error = forwards == NULL || allows == NULL ? -ENOMEM : 0;
	unsigned count = 0;

	for (; error == 0 && count < conf->forward_count; count++) {
		expired_report(build, &conf->forwards[count], build->now_s);
		error = forward_fill(build, &conf->forwards[count], &forwards[count]);
	}
	if (error == 0)
		error = changed_forwards_fill(build, forwards, &count);
	for (unsigned i = 0; error == 0 && i < count; i++) {
		forwards[i].hits = forward_hits(build, &forwards[i]);
		if (forwards[i].hits == NULL)
			error = -ENOMEM;
	}
	for (unsigned i = 0; error == 0 && i < conf->allow_count; i++)
		error = allow_fill(build, &conf->allows[i], &allows[i]);
	if (error == 0) {
		build->policy->forwards = forward_table_create(
			forwards, count, allows, conf->allow_count, build->now_s);
		if (build->policy->forwards == NULL)
			error = -ENOMEM;
	}
	for (unsigned i = 0; forwards != NULL && i < count; i++)
		hits_unref(forwards[i].hits);
	free(forwards);
	free(allows);
	return error;
}

static int
policy_fill(struct build *build)
{
	struct policy *policy = build->policy;
	const struct conf *conf = build->conf;
	int error;

	policy->generation = build->previous != NULL ? build->previous->generation + 1 : 1;
	memcpy(policy->has_gateway, conf->has_gateway, sizeof(policy->has_gateway));
	memcpy(policy->gateway, conf->gateway, sizeof(policy->gateway));
	policy->virtual_dns_count = conf->virtual_dns_count;
	memcpy(policy->virtual_dns, conf->virtual_dns, sizeof(policy->virtual_dns));
	policy->timeouts = malloc(sizeof(*policy->timeouts));
	if (policy->timeouts == NULL)
		return -ENOMEM;
	*policy->timeouts = conf->timeouts;
	error = names_enter(build);
	if (error == 0)
		error = ports_place(build);
	if (error == 0)
		error = qubes_fill(build);
	if (error != 0)
		return error;
	ports_fill(build);
	error = forwards_fill(build);
	if (error == 0)
		error = policy_index(policy);
	if (error == 0)
		generations_fill(policy, build->previous);
	return error;
}

static const char *
error_reason(int error)
{
	if (error == -EEXIST)
		return "one address has two owners";
	if (error == -ENOENT)
		return "a forward or an allow names an unknown qube";
	return strerror(-error);
}

int
policy_build(const struct conf *conf, const struct policy *previous, uint64_t now_s,
	const struct report *report, struct policy **out)
{
	return policy_build_changed(conf, NULL, previous, now_s, report, out);
}

int
policy_build_changed(const struct conf *conf, const struct changes *changes,
	const struct policy *previous, uint64_t now_s, const struct report *report,
	struct policy **out)
{
	struct build build = {.conf = conf,
		.changes = changes,
		.now_s = now_s,
		.previous = previous,
		.report = report};
	int error = -ENOMEM;

	*out = NULL;
	build.policy = calloc(1, sizeof(*build.policy));
	if (build.policy != NULL)
		error = policy_fill(&build);
	rules_unref(build.none);
	free(build.index);
	free(build.port_index);
	name_table_free(&build.before);
	name_table_free(&build.now);
	name_table_free(&build.ports);
	name_table_free(&build.ports_before);
	if (error == -E2BIG) {
		policy_free(build.policy);
		return error;
	}
	if (error != 0) {
		report_line(report, "%s: %s", conf->path, error_reason(error));
		policy_free(build.policy);
		return error;
	}
	*out = build.policy;
	return 0;
}
