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
#include "conf/policy_store.h"
#include "conf/name_table.h"
#include "conf/rule_index.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include <rte_common.h>

/* One build: from where to where. */
struct build {
	const struct conf *conf;
	const struct changes *changes; /* NULL: none */
	uint64_t now_s;
	const struct policy *previous; /* NULL for the first */
	const struct report *report;
	struct policy *policy;
	uint16_t *index;                /* of every qube of `conf` in `policy` */
	uint16_t *port_index;           /* and of every port */
	struct name_table before;       /* qubes of `previous` */
	struct name_table now;          /* qubes of `policy` */
	struct name_table ports;        /* ports of `policy`, by their qube */
	struct name_table ports_before; /* ports of `previous` */
	struct rules *none;             /* what unused indices share */
};

static bool
rule_is_over(const struct rule *rule, uint64_t now_s)
{
	return rule->expire_s != 0 && rule->expire_s <= now_s;
}

/* Whether compiled rules are those of @p wanted that are not over. */
static bool
ruleset_equal(const struct ruleset *compiled, const struct ruleset *wanted, uint64_t now_s)
{
	unsigned count = 0;

	if (compiled->policy != wanted->policy || compiled->count > wanted->count)
		return false;
	for (unsigned i = 0; i < wanted->count; i++) {
		if (rule_is_over(&wanted->rules[i], now_s))
			continue;
		if (count == compiled->count ||
			!rule_same(&compiled->rules[count], &wanted->rules[i]))
			return false;
		count++;
	}
	return count == compiled->count;
}

/* Ends and comments are not compiled: whoever wants to know them asks where the rules come from. */
static int
ruleset_copy(struct ruleset *copy, const struct ruleset *ruleset, uint64_t now_s)
{
	*copy = (struct ruleset){.policy = ruleset->policy};
	copy->rules = calloc(ruleset->count + 1, sizeof(*copy->rules));
	if (copy->rules == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < ruleset->count; i++) {
		struct rule *rule = &copy->rules[copy->count];

		if (rule_is_over(&ruleset->rules[i], now_s))
			continue;
		*rule = ruleset->rules[i];
		rule->expire_s = 0;
		rule->comment = NULL;
		rule->name_id = 0;
		if (rule->name != NULL && (rule->name = strdup(rule->name)) == NULL)
			return -ENOMEM;
		copy->count++;
	}
	return 0;
}

/* Rules in a state that needs no ruleset; one reference. */
static struct rules *
rules_new(enum rules_state state)
{
	struct rules *rules = calloc(1, sizeof(*rules));

	if (rules == NULL)
		return NULL;
	atomic_init(&rules->references, 1);
	rules->state = state;
	return rules;
}

/*
 * Give every rule of @p rules its counter: that of the rule before that says the same, or a new
 * one. Rules that were moved past others keep theirs, as long as no two say the same; of those that
 * do, the first gets the counter of the first.
 * @param before may be NULL
 */
static int
hits_fill(struct rules *rules, const struct rules *before)
{
	unsigned count = rules->ruleset.count;
	const struct rules *old = before != NULL && before->hits != NULL ? before : NULL;
	struct rule_index index;
	int error;

	rules->hits = calloc(count + 1, sizeof(struct hits *));
	error = rules->hits != NULL ? rule_index_create(&index, old != NULL ? &old->ruleset : NULL)
				    : -ENOMEM;
	if (error != 0)
		return error;
	for (unsigned i = 0; i < count; i++) {
		int same = rule_index_take(&index, &rules->ruleset.rules[i]);

		rules->hits[i] = old != NULL && same >= 0 ? hits_ref(old->hits[same]) : hits_new();
		if (rules->hits[i] == NULL)
			error = -ENOMEM;
	}
	rules->hits[count] = old != NULL && old->ruleset.policy == rules->ruleset.policy
				     ? hits_ref(old->hits[old->ruleset.count])
				     : hits_new();
	rule_index_free(&index);
	return rules->hits[count] != NULL ? error : -ENOMEM;
}

/* The number that a name had in the rules before; 0 if it had none. */
static uint16_t
name_before(const struct rules *before, const char *name)
{
	return before != NULL && before->name_index != NULL
		       ? name_index_find(before->name_index, name)
		       : 0;
}

/* Give names that are new a number. @return false when all numbers have been given out */
static bool
names_number_all(struct rules *rules, const struct rules *before, struct name_table *seen,
	unsigned *left_out)
{
	struct ruleset *ruleset = &rules->ruleset;
	unsigned count = 0;

	*left_out = 0;
	for (unsigned i = 0; i < ruleset->count; i++) {
		struct rule *rule = &ruleset->rules[i];
		uint16_t first;

		rule->name_id = 0;
		if (rule->destination != DESTINATION_NAME || !name_is_sound(rule->name))
			continue;
		first = name_table_find(seen, rule->name);
		if (first != UINT16_MAX) {
			rule->name_id = ruleset->rules[first].name_id;
			continue;
		}
		if (count == QUBE_NAMES_MAX) {
			(*left_out)++;
			continue;
		}
		count++;
		name_table_add(seen, rule->name, (uint16_t)i);
		rule->name_id = name_before(before, rule->name);
		if (rule->name_id == 0)
			rule->name_id = names_number(rules->names);
		if (rule->name_id == 0)
			return false;
	}
	return true;
}

/* The same, which ends with a new table of addresses if there must be one. */
static int
names_number_rules(struct rules *rules, const struct rules *before, unsigned *left_out)
{
	struct name_table seen;

	if (before != NULL && before->names != NULL) {
		bool done;

		if (name_table_create(&seen, rules->ruleset.count) != 0)
			return -ENOMEM;
		rules->names = names_ref(before->names);
		done = names_number_all(rules, before, &seen, left_out);
		name_table_free(&seen);
		if (done)
			return 0;
		names_unref(rules->names);
	}
	rules->names = names_new();
	if (rules->names == NULL || name_table_create(&seen, rules->ruleset.count) != 0)
		return -ENOMEM;
	names_number_all(rules, NULL, &seen, left_out);
	name_table_free(&seen);
	return 0;
}

/*
 * Give the names of rules their numbers, and the qube a table of addresses. Names that stay keep
 * both: what is known of them is known to the new rules as well.
 */
static int
names_fill(const struct build *build, const char *qube, struct rules *rules,
	const struct rules *before)
{
	unsigned left_out;
	bool any = false;

	for (unsigned i = 0; i < rules->ruleset.count; i++)
		any = any || rules->ruleset.rules[i].destination == DESTINATION_NAME;
	if (!any)
		return 0;
	if (names_number_rules(rules, before, &left_out) != 0)
		return -ENOMEM;
	if (left_out != 0)
		report_line(build->report,
			"qube %s: %u rules with names match nothing: there are %d names before "
			"them, "
			"and no more are allowed",
			qube, left_out, QUBE_NAMES_MAX);
	rules->name_index = name_index_new(&rules->ruleset);
	return rules->name_index != NULL ? 0 : -ENOMEM;
}

/* @param out NULL without memory for the bookkeeping; RULES_BAD when the compiler refuses */
static int
rules_compile(const struct build *build, const struct conf_qube *qube, const struct ruleset *wanted,
	const struct rules *before, struct rules **out)
{
	struct rules *rules = rules_new(RULES_VALID);
	int error;

	*out = rules;
	if (rules == NULL)
		return -ENOMEM;
	error = ruleset_copy(&rules->ruleset, wanted, build->now_s);
	if (error == 0)
		error = hits_fill(rules, before);
	if (error == 0)
		error = names_fill(build, qube->name, rules, before);
	if (error != 0)
		return error;
	build->policy->compiled++;
	for (unsigned family = 0; error == 0 && family < FAMILIES; family++)
		error = acl_compile(&rules->ruleset, family, &rules->acl[family]);
	if (error == 0)
		return 0;
	report_line(build->report,
		"%s: rules cannot be compiled: %s; everything from qube %s is refused",
		qube->rules_path ? qube->rules_path : "-", strerror(-error), qube->name);
	rules_unref(rules);
	*out = rules_new(RULES_BAD);
	return *out == NULL ? -ENOMEM : 0;
}

/* The rules of one qube. @param before what it had, NULL for a new qube */
static int
rules_take(const struct build *build, const struct conf_qube *qube, struct rules *before,
	struct rules **out)
{
	struct qube_rules wanted = changes_rules(build->changes, qube);
	int error = 0;

	if (before != NULL && before->state == wanted.state &&
		(wanted.state != RULES_VALID ||
			ruleset_equal(&before->ruleset, wanted.ruleset, build->now_s))) {
		*out = rules_ref(before);
		return 0;
	}
	if (wanted.state != RULES_VALID) {
		*out = rules_new(wanted.state);
		return *out == NULL ? -ENOMEM : 0;
	}
	error = rules_compile(build, qube, wanted.ruleset, before, out);
	if (error == 0 && (*out)->state == RULES_BAD && before != NULL &&
		before->state == RULES_BAD) {
		rules_unref(*out);
		*out = rules_ref(before);
	}
	return error;
}

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

/* Ports. */

/*
 * What a port must have in common with one before to be the same one. Its qube belongs to that:
 * flows, and the neighbour that was learned there, are its old qube's.
 */
static int
identity_text(const struct conf_port *port, char **text)
{
	static const char *const kinds[] = {[DEVICE_KERNEL] = "kernel",
		[DEVICE_PCI] = "pci",
		[DEVICE_DPDK] = "dpdk",
		[DEVICE_TAP] = "tap"};

	if (asprintf(text, "%s:%s %s", kinds[port->device],
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
	const struct policy_port *port = index != PORT_NONE ? &build->previous->ports[index] : NULL;

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
static int
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

static void
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

/* Whether an address is there in both and the same, or in neither. */
static bool
address_same(bool a_has, const union address *a, bool b_has, const union address *b)
{
	return a_has == b_has && (!a_has || address_equal(a, b));
}

static bool
list_same(const rte_be32_t *a, unsigned a_count, const rte_be32_t *b, unsigned b_count)
{
	return a_count == b_count && memcmp(a, b, a_count * sizeof(*a)) == 0;
}

static bool
uplink_same(const struct policy *policy, const struct policy *previous)
{
	const struct policy_port *a, *b;

	if (policy->uplink != previous->uplink ||
		(policy->uplink != PORT_NONE && policy->ports[policy->uplink].since !=
							previous->ports[previous->uplink].since))
		return false;
	if (policy->uplink == PORT_NONE)
		return true;
	a = &policy->ports[policy->uplink];
	b = &previous->ports[previous->uplink];
	for (unsigned family = 0; family < FAMILIES; family++) {
		if (!address_same(a->has[family], &a->address[family], b->has[family],
			    &b->address[family]) ||
			!address_same(a->has_gateway[family], &a->gateway[family],
				b->has_gateway[family], &b->gateway[family]))
			return false;
		if (a->has[family] &&
			(a->link[family].length != b->link[family].length ||
				!address_equal(&a->link[family].address, &b->link[family].address)))
			return false;
	}
	return true;
}

/*
 * Whether an address belongs to a qube to which it did not belong before. Who had a flow to that
 * address may have it no longer: qubes of one firewall do not talk to each other.
 */
static bool
qube_appeared(const struct policy *policy, const struct policy *previous)
{
	for (unsigned i = 0; i < policy->qube_count; i++) {
		const struct qube *qube = &policy->qubes[i];

		for (unsigned family = 0; family < FAMILIES; family++) {
			uint16_t owner = QUBE_NONE;

			/* The host's are ours: a change of those is seen elsewhere. */
			if (!qube->has[family] || qube->host)
				continue;
			policy_owner(previous, family, &qube->address[family], &owner);
			if (owner != i || qube->since == policy->generation)
				return true;
		}
	}
	return false;
}

/* Whether anything changed that flows of all qubes depend on. */
static bool
all_changed(const struct policy *policy, const struct policy *previous)
{
	for (unsigned family = 0; family < FAMILIES; family++)
		if (!address_same(policy->has_gateway[family], &policy->gateway[family],
			    previous->has_gateway[family], &previous->gateway[family]))
			return true;
	return !list_same(policy->virtual_dns, policy->virtual_dns_count, previous->virtual_dns,
		       previous->virtual_dns_count) ||
	       !list_same(policy->resolver, policy->resolver_count, previous->resolver,
		       previous->resolver_count) ||
	       !uplink_same(policy, previous) || qube_appeared(policy, previous);
}

static bool
qube_changed(const struct qube *qube, const struct qube *before)
{
	if (qube->since != before->since || qube->rules != before->rules ||
		qube->filter != before->filter || qube->port != before->port)
		return true;
	for (unsigned family = 0; family < FAMILIES; family++)
		if (!address_same(qube->has[family], &qube->address[family], before->has[family],
			    &before->address[family]))
			return true;
	return false;
}

static bool
allow_stands(const struct forward_table *table, const struct allow *allow)
{
	for (unsigned i = 0; i < table->allow_count; i++) {
		const struct allow *other = &table->allows[i];

		if (other->from == allow->from && other->to == allow->to &&
			other->protocol == allow->protocol && other->first == allow->first &&
			other->last == allow->last)
			return true;
	}
	return false;
}

/* Raise the generation of both ends of what is allowed in @p table and not in @p other. */
static void
allows_mark(
	struct policy *policy, const struct forward_table *table, const struct forward_table *other)
{
	for (unsigned i = 0; i < table->allow_count; i++) {
		const struct allow *allow = &table->allows[i];

		if (allow_stands(other, allow))
			continue;
		policy->qubes[allow->from].generation = policy->generation;
		policy->qubes[allow->to].generation = policy->generation;
	}
}

static void
generations_fill(struct policy *policy, const struct policy *previous)
{
	bool all = previous == NULL || all_changed(policy, previous);

	for (unsigned i = 0; i < policy->qube_count; i++) {
		struct qube *qube = &policy->qubes[i];

		qube->generation = policy->generation;
		/* An unused index has no flows that could change. */
		if (qube->name[0] == '\0')
			qube->generation = qube->since;
		else if (!all && i < previous->qube_count &&
			 !qube_changed(qube, &previous->qubes[i]))
			qube->generation = previous->qubes[i].generation;
	}
	if (previous != NULL) {
		allows_mark(policy, policy->forwards, previous->forwards);
		allows_mark(policy, previous->forwards, policy->forwards);
	}
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
