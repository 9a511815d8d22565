/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One configuration made of sluice.conf and of what sources say.
 *
 *	file: ports, qubes, forwards ---+
 *	xenstore: vifs -----------------+--> qubes, found by address --> rules, ports, forwards
 *	QubesDB: trees, clients --------+
 *
 * A qube is whoever has an address. It exists as soon as anybody knows it: powered off, with rules
 * that arrived before its vif, or with neither, its address belongs to it and to nobody else.
 *
 * QubesDB keeps rules of each family apart, and a qube here has one list. Where both are there,
 *they follow each other, each rule marked with its family. A family without a tree is taken away
 *from its qube: what it sends is dropped in silence, as that of any address nobody knows.
 *
 * This is done anew for every change of anything, so what is large is borrowed and not copied.
 */
#include "conf/live_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bitops.h>
#include <rte_common.h>

#include "conf/forward_check.h"
#include "conf/include.h"

/* Whose an address is. Open-addressed, a power of two, never more than half full. */
struct owners {
	uint32_t mask;
	struct owner_slot {
		union address address;
		uint8_t family;
		uint16_t qube; /* index + 1; 0 ends a probe */
	} * slots;
};

struct compose {
	const struct conf *file;
	const struct live *live;
	const struct report *report;
	struct conf *conf;
	struct owners owners;
};

void
live_name(enum family family, const union address *address, char name[NAME_SIZE])
{
	char text[ADDRESS_TEXT_SIZE];
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	address_format(text, family, address);
	if (strlen(text) < NAME_SIZE) {
		memcpy(name, text, strlen(text) + 1);
		return;
	}
	for (const char *c = text; *c != '\0'; c++)
		hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
	snprintf(name, NAME_SIZE, "ip6-%016llx", (unsigned long long)hash);
}

/* Whose an address is. */

static struct owner_slot *
owner_slot(const struct owners *owners, enum family family, const union address *address)
{
	uint64_t hash = (address->half[0] + family) * UINT64_C(0x9e3779b97f4a7c15);

	hash = (hash ^ (hash >> 32) ^ address->half[1]) * UINT64_C(0xbf58476d1ce4e5b9);
	for (uint32_t i = (uint32_t)(hash >> 32);; i++) {
		struct owner_slot *slot = &owners->slots[i & owners->mask];

		if (slot->qube == 0 ||
			(slot->family == family && address_equal(&slot->address, address)))
			return slot;
	}
}

static struct conf_qube *
owner_find(const struct compose *compose, enum family family, const union address *address)
{
	const struct owner_slot *slot = owner_slot(&compose->owners, family, address);

	return slot->qube != 0 ? &compose->conf->qubes[slot->qube - 1] : NULL;
}

/* Give an address that nobody has to a qube. */
static void
owner_add(struct compose *compose, struct conf_qube *qube, enum family family,
	const union address *address)
{
	*owner_slot(&compose->owners, family, address) = (struct owner_slot){
		.address = *address,
		.family = (uint8_t)family,
		.qube = (uint16_t)(qube - compose->conf->qubes + 1),
	};
	qube->has[family] = true;
	qube->address[family] = *address;
}

static int
owners_create(struct compose *compose, unsigned most)
{
	uint32_t slots = rte_align32pow2(2 * most + 2);

	compose->owners.mask = slots - 1;
	compose->owners.slots = calloc(slots, sizeof(compose->owners.slots[0]));
	return compose->owners.slots != NULL ? 0 : -ENOMEM;
}

/* Qubes. */

/* @return a new qube with one address; NULL, reported, when there are too many */
static struct conf_qube *
qube_add(struct compose *compose, enum family family, const union address *address)
{
	struct conf *conf = compose->conf;
	struct conf_qube *qube = &conf->qubes[conf->qube_count];

	if (conf->qube_count == QUBES_MAX) {
		report_line(compose->report, "more than %u qubes", QUBES_MAX);
		return NULL;
	}
	live_name(family, address, qube->name);
	if (conf_qube_find(compose->file, qube->name) != NULL) {
		report_line(compose->report, "%s: a qube of that name has another address in %s",
			qube->name, compose->file->path);
		return NULL;
	}
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): conf_begin has made the array */
	qube->storage = STORAGE_BORROWED;
	qube->state = RULES_NONE;
	qube->limits = conf->limits;
	conf->qube_count++;
	owner_add(compose, qube, family, address);
	return qube;
}

static struct conf_qube *
qube_of_address(struct compose *compose, enum family family, const union address *address)
{
	struct conf_qube *qube = owner_find(compose, family, address);

	return qube != NULL ? qube : qube_add(compose, family, address);
}

static int
file_qubes_take(struct compose *compose)
{
	struct conf *conf = compose->conf;

	for (unsigned i = 0; i < compose->file->qube_count; i++) {
		const struct conf_qube *from = &compose->file->qubes[i];
		struct conf_qube *qube = &conf->qubes[conf->qube_count++];

		*qube = *from;
		qube->storage = STORAGE_BORROWED;
		qube->rules_path = from->rules_path != NULL ? strdup(from->rules_path) : NULL;
		qube->rules_error = from->rules_error != NULL ? strdup(from->rules_error) : NULL;
		for (unsigned family = 0; family < FAMILIES; family++)
			if (qube->has[family])
				owner_add(compose, qube, family, &from->address[family]);
		if ((from->rules_path != NULL && qube->rules_path == NULL) ||
			(from->rules_error != NULL && qube->rules_error == NULL))
			return -ENOMEM;
	}
	return 0;
}

/* Ports. */

static int
port_add(struct compose *compose, const struct live_vif *vif, const struct conf_qube *qube)
{
	struct conf *conf = compose->conf;
	struct conf_port *port = &conf->ports[conf->port_count];

	if (conf->port_count == PORTS_MAX) {
		report_line(compose->report, "more than %u ports", PORTS_MAX);
		return -E2BIG;
	}
	*port = (struct conf_port){.device = DEVICE_KERNEL, .role = ROLE_QUBE};
	snprintf(port->name, sizeof(port->name), "%s", vif->ifname);
	memcpy(port->qube, qube->name, sizeof(port->qube));
	port->argument = strdup(vif->ifname);
	if (port->argument == NULL)
		return -ENOMEM;
	conf->port_count++;
	return 0;
}

/*
 * A qube's vif. The newest of those with its addresses comes first, and what is sent to the qube
 * goes there; the others may send too, as while the emulated device of an HVM gives way to the
 * other one.
 */
static int
vif_take(struct compose *compose, const struct live_vif *vif)
{
	struct conf_qube *qube = NULL;

	for (unsigned family = 0; qube == NULL && family < FAMILIES; family++)
		if (vif->has[family])
			qube = owner_find(compose, family, &vif->address[family]);
	for (unsigned family = 0; family < FAMILIES; family++) {
		const union address *address = &vif->address[family];
		struct conf_qube *owner;

		if (!vif->has[family])
			continue;
		owner = owner_find(compose, family, address);
		if (owner != NULL && owner != qube) {
			report_line(compose->report, "%s: its addresses belong to qubes %s and %s",
				vif->ifname, qube->name, owner->name);
			return -EEXIST;
		}
		if (qube != NULL && owner == NULL && qube->has[family]) {
			report_line(compose->report,
				"%s: qube %s has another address of that family", vif->ifname,
				qube->name);
			return -EEXIST;
		}
		if (qube == NULL) {
			qube = qube_add(compose, family, address);
			if (qube == NULL)
				return -E2BIG;
		} else if (owner == NULL) {
			owner_add(compose, qube, family, address);
		}
	}
	if (qube == NULL)
		return -EINVAL;
	if (!qube->has_mac && vif->has_mac) {
		qube->has_mac = true;
		memcpy(qube->mac, vif->mac, sizeof(qube->mac));
	}
	return port_add(compose, vif, qube);
}

/* A vif that was given no address of a family may send none of it, whatever the file says. */
static void
vif_families_take(const struct compose *compose)
{
	const struct live *live = compose->live;
	struct conf *conf = compose->conf;
	bool served[QUBES_MAX][FAMILIES] = {0};

	for (unsigned i = 0; i < live->vif_count; i++)
		for (unsigned family = 0; family < FAMILIES; family++) {
			const struct live_vif *vif = &live->vifs[i];

			if (vif->has[family])
				served[owner_find(compose, family, &vif->address[family]) -
					conf->qubes][family] = true;
		}
	for (unsigned i = 0; i < conf->qube_count; i++)
		if (served[i][FAMILY_IPV4] || served[i][FAMILY_IPV6])
			for (unsigned family = 0; family < FAMILIES; family++)
				conf->qubes[i].has[family] &= served[i][family];
}

static int
ports_take(struct compose *compose)
{
	const struct conf *file = compose->file;
	struct conf *conf = compose->conf;
	int error = 0;

	for (unsigned i = 0; i < file->port_count; i++) {
		struct conf_port *port = &conf->ports[conf->port_count];

		*port = file->ports[i];
		port->argument = port->argument != NULL ? strdup(port->argument) : NULL;
		if (file->ports[i].argument != NULL && port->argument == NULL)
			return -ENOMEM;
		conf->port_count++;
	}
	for (unsigned i = 0; error == 0 && i < compose->live->vif_count; i++)
		error = vif_take(compose, &compose->live->vifs[i]);
	if (error == 0)
		vif_families_take(compose);
	return error;
}

static void
uplink_take(const struct compose *compose)
{
	const struct live *live = compose->live;
	const struct live_uplink *uplink = &live->uplink;

	for (unsigned i = 0; i < compose->conf->port_count; i++) {
		struct conf_port *port = &compose->conf->ports[i];

		if (port->role != ROLE_UPLINK || port->settings == SETTINGS_FILE ||
			!live->has_uplink)
			continue;
		memcpy(port->has, uplink->has, sizeof(port->has));
		memcpy(port->address, uplink->address, sizeof(port->address));
		memcpy(port->link, uplink->link, sizeof(port->link));
		memcpy(port->has_gateway, uplink->has_gateway, sizeof(port->has_gateway));
		memcpy(port->gateway, uplink->gateway, sizeof(port->gateway));
		port->resolver_count = uplink->resolver_count;
		memcpy(port->resolver, uplink->resolver, sizeof(port->resolver));
	}
}

static void
gateway_take(const struct compose *compose)
{
	const struct live_gateway *gateway = &compose->live->gateway;
	struct conf *conf = compose->conf;

	if (!compose->live->has_gateway)
		return;
	memcpy(conf->has_gateway, gateway->has, sizeof(conf->has_gateway));
	memcpy(conf->gateway, gateway->address, sizeof(conf->gateway));
	conf->virtual_dns_count = gateway->virtual_dns_count;
	memcpy(conf->virtual_dns, gateway->virtual_dns, sizeof(conf->virtual_dns));
}

/* What QubesDB knows of qubes. */

static int
trees_take(struct compose *compose)
{
	const struct live *live = compose->live;

	for (unsigned i = 0; i < live->tree_count; i++) {
		struct live_tree *tree = live->trees[i];
		struct conf_qube *qube = qube_of_address(compose, tree->family, &tree->address);

		if (qube == NULL)
			return -E2BIG;
		qube->tree[tree->family] = tree;
		tree->references++;
	}
	return 0;
}

/* Whether we have an address ourselves, or reach everything through it. */
static bool
address_is_ours(const struct conf *conf, enum family family, const union address *address)
{
	if (conf->has_gateway[family] && address_equal(&conf->gateway[family], address))
		return true;
	for (unsigned i = 0; i < conf->port_count; i++) {
		const struct conf_port *port = &conf->ports[i];

		if (port->role == ROLE_UPLINK &&
			((port->has[family] && address_equal(&port->address[family], address)) ||
				(port->has_gateway[family] &&
					address_equal(&port->gateway[family], address))))
			return true;
	}
	return false;
}

/*
 * Clients are listed by what they take for their addresses, and that may be one of our own net:
 * kept for a qube it would take our uplink away. An address that was taken away from its qube for
 * want of rules is still nobody else's.
 */
static int
clients_take(struct compose *compose)
{
	const struct live *live = compose->live;

	for (unsigned family = 0; family < FAMILIES; family++)
		for (unsigned i = 0; i < live->connected_count[family]; i++) {
			const union address *address = &live->connected[family][i];
			const struct conf_qube *owner = owner_find(compose, family, address);

			if (owner != NULL && owner->has[family])
				continue;
			if (!address_is_ours(compose->conf, family, address) &&
				qube_add(compose, family, address) == NULL)
				return -E2BIG;
		}
	return 0;
}

static void
mappings_take(const struct compose *compose)
{
	for (unsigned i = 0; i < compose->live->mapping_count; i++) {
		const struct live_mapping *mapping = &compose->live->mappings[i];
		struct conf_qube *qube = owner_find(compose, FAMILY_IPV4, &mapping->real);

		if (qube == NULL)
			continue;
		qube->has_visible = true;
		qube->visible = mapping->visible;
		qube->visible_gateway = mapping->has_visible_gateway ? mapping->visible_gateway : 0;
	}
}

/* The rule of a family whose tree is bad, or whose policy is not that of the other one. */
static struct rule
rule_for_all(enum action action, enum rule_families families)
{
	return (struct rule){.action = action, .families = families, .origin = ORIGIN_QUBESDB};
}

/* One list of two trees. */
static int
rules_merge(struct conf_qube *qube)
{
	static const enum rule_families only[FAMILIES] = {
		[FAMILY_IPV4] = RULE_IPV4_ONLY, [FAMILY_IPV6] = RULE_IPV6_ONLY};
	struct live_tree *const *tree = qube->tree;
	struct ruleset merged = {.policy = tree[FAMILY_IPV4]->ruleset.policy};

	merged.rules = calloc(
		tree[FAMILY_IPV4]->ruleset.count + tree[FAMILY_IPV6]->ruleset.count + FAMILIES,
		sizeof(*merged.rules));
	if (merged.rules == NULL)
		return -ENOMEM;
	for (unsigned family = 0; family < FAMILIES; family++) {
		const struct ruleset *from = &tree[family]->ruleset;

		for (unsigned i = 0; tree[family]->state == RULES_VALID && i < from->count; i++) {
			merged.rules[merged.count] = from->rules[i];
			merged.rules[merged.count++].families = only[family];
		}
		if (tree[family]->state != RULES_VALID)
			merged.rules[merged.count++] = rule_for_all(ACTION_DROP, only[family]);
		else if (from->policy != merged.policy)
			merged.rules[merged.count++] = rule_for_all(from->policy, only[family]);
	}
	qube->ruleset = merged;
	qube->storage = STORAGE_SHALLOW;
	qube->state = RULES_VALID;
	return 0;
}

static int
error_take(struct conf_qube *qube, const struct live_tree *tree)
{
	char text[ADDRESS_TEXT_SIZE];

	qube->state = RULES_BAD;
	address_format(text, tree->family, &tree->address);
	return asprintf(&qube->rules_error, "/qubes-firewall/%s/%s", text,
		       tree->error != NULL ? tree->error : "") < 0
		       ? -ENOMEM
		       : 0;
}

static int
rules_take(struct conf_qube *qube)
{
	const struct live_tree *v4 = qube->tree[FAMILY_IPV4], *v6 = qube->tree[FAMILY_IPV6];
	const struct live_tree *one = v4 != NULL ? v4 : v6;

	if (one == NULL)
		return 0;
	free(qube->rules_error);
	qube->rules_error = NULL;
	qube->ruleset = (struct ruleset){0};
	if (v4 != NULL && v6 != NULL && (v4->state == RULES_VALID || v6->state == RULES_VALID))
		return rules_merge(qube);
	if (v4 == NULL || v6 == NULL)
		qube->has[v4 != NULL ? FAMILY_IPV6 : FAMILY_IPV4] = false;
	if (one->state != RULES_VALID)
		return error_take(qube, one);
	qube->state = RULES_VALID;
	qube->ruleset = one->ruleset;
	return 0;
}

/* Forwards. */

/* @return what stands in the way of a forward of QubesDB, NULL if nothing does */
static const struct conf_forward *
forward_obstacle(const struct conf *conf, const struct conf_forward *forward)
{
	for (unsigned i = 0; i < conf->forward_count; i++)
		if (strcmp(conf->forwards[i].name, forward->name) == 0 ||
			forwards_overlap(&conf->forwards[i], forward))
			return &conf->forwards[i];
	return NULL;
}

static int
forward_copy(struct conf *conf, const struct conf_forward *from)
{
	struct conf_forward *forward = &conf->forwards[conf->forward_count];

	*forward = *from;
	forward->comment = from->comment != NULL ? strdup(from->comment) : NULL;
	if (from->comment != NULL && forward->comment == NULL)
		return -ENOMEM;
	conf->forward_count++;
	return 0;
}

static int
tree_forwards_take(struct compose *compose, const struct conf_qube *qube,
	const struct live_tree *tree, unsigned most)
{
	int error = 0;

	for (unsigned i = 0; error == 0 && i < tree->forward_count; i++) {
		struct conf_forward forward = tree->forwards[i];
		const struct conf_forward *other = forward_obstacle(compose->conf, &forward);

		memcpy(forward.qube, qube->name, sizeof(forward.qube));
		forward.line = 0;
		if (other != NULL || compose->conf->forward_count == RTE_MIN(most, FORWARDS_MAX))
			report_line(compose->report, "forward %s: not in force, %s%s", forward.name,
				other != NULL ? "it overlaps forward " : "there are too many",
				other != NULL ? other->name : "");
		else
			error = forward_copy(compose->conf, &forward);
	}
	return error;
}

static int
forwards_take(struct compose *compose)
{
	const struct conf *file = compose->file;
	struct conf *conf = compose->conf;
	unsigned most = file->forward_count;
	int error = 0;

	for (unsigned i = 0; i < compose->live->tree_count; i++)
		most += compose->live->trees[i]->forward_count;
	conf->forwards = calloc(most + 1, sizeof(conf->forwards[0]));
	conf->allows = calloc(file->allow_count + 1, sizeof(conf->allows[0]));
	if (conf->forwards == NULL || conf->allows == NULL)
		return -ENOMEM;
	for (unsigned i = 0; error == 0 && i < file->forward_count; i++)
		error = forward_copy(conf, &file->forwards[i]);
	for (unsigned i = 0; error == 0 && i < conf->qube_count; i++)
		for (unsigned family = 0; error == 0 && family < FAMILIES; family++)
			if (conf->qubes[i].tree[family] != NULL)
				error = tree_forwards_take(compose, &conf->qubes[i],
					conf->qubes[i].tree[family], most);
	if (error == 0 && file->allow_count != 0)
		memcpy(conf->allows, file->allows, file->allow_count * sizeof(conf->allows[0]));
	conf->allow_count = error == 0 ? file->allow_count : 0;
	return error;
}

/* All together. */

/* What the file alone says: everything that is a value. */
static struct conf *
conf_begin(const struct conf *file, unsigned qubes, unsigned ports)
{
	struct conf *conf = calloc(1, sizeof(*conf));

	if (conf == NULL)
		return NULL;
	*conf = *file;
	conf->port_count = conf->qube_count = conf->forward_count = conf->allow_count = 0;
	conf->section_count = 0;
	conf->sections = NULL;
	conf->files = conf_files_ref(file->files);
	conf->include = file->include != NULL ? strdup(file->include) : NULL;
	conf->forwards = NULL;
	conf->allows = NULL;
	/* One spare element, so that an empty array is no special case. */
	conf->ports = calloc(ports + 1, sizeof(conf->ports[0]));
	conf->qubes = calloc(qubes + 1, sizeof(conf->qubes[0]));
	conf->path = strdup(file->path);
	conf->socket_path = strdup(file->socket_path);
	conf->state_dir = strdup(file->state_dir);
	conf->qubesdb_path = file->qubesdb_path != NULL ? strdup(file->qubesdb_path) : NULL;
	if (conf->ports == NULL || conf->qubes == NULL || conf->path == NULL ||
		conf->socket_path == NULL || conf->state_dir == NULL ||
		(file->include != NULL && conf->include == NULL) ||
		(file->qubesdb_path != NULL && conf->qubesdb_path == NULL)) {
		conf_free(conf);
		return NULL;
	}
	return conf;
}

int
conf_compose(const struct conf *file, const struct live *live, const struct report *report,
	struct conf **out)
{
	struct compose compose = {.file = file, .live = live, .report = report};
	unsigned most = file->qube_count + live->vif_count + live->tree_count;
	int error = -ENOMEM;

	*out = NULL;
	for (unsigned family = 0; family < FAMILIES; family++)
		most += live->connected_count[family];
	compose.conf = conf_begin(file, most, file->port_count + live->vif_count);
	/* every qube has an address of each family at most */
	if (compose.conf != NULL)
		error = owners_create(&compose, FAMILIES * most);
	if (error == 0) {
		gateway_take(&compose);
		error = file_qubes_take(&compose);
	}
	if (error == 0)
		error = ports_take(&compose);
	if (error == 0) {
		uplink_take(&compose);
		error = trees_take(&compose);
	}
	for (unsigned i = 0; error == 0 && i < compose.conf->qube_count; i++)
		error = rules_take(&compose.conf->qubes[i]);
	if (error == 0)
		error = clients_take(&compose);
	if (error == 0) {
		mappings_take(&compose);
		error = forwards_take(&compose);
	}
	if (error == -ENOMEM)
		report_line(report, "out of memory");
	free(compose.owners.slots);
	if (error != 0) {
		conf_free(compose.conf);
		return error;
	}
	*out = compose.conf;
	return 0;
}
