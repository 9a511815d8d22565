/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What sluice.conf must be as a whole, checked after its last line.
 *
 * Keys were checked one by one while they were read; here is what they demand of each other. A key
 * that stands in the file with a wrong value has been reported already: `key_line` says that it
 * stands there, so it is not called missing on top.
 */
#include "conf/loader.h"
#include "conf/value.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>

/* An address that belongs to somebody on our side of the uplink, and the line that says so. */
struct claim {
	union address address;
	enum family family;
	unsigned line;
	const struct section *section;
	const struct key *key;
};

struct claims {
	unsigned count, capacity;
	struct claim *claim;
};

static const char *const address_name[FAMILIES] = {"IPv4", "IPv6"};

void
key_require(struct loader *loader, const struct section *section, enum key_id id)
{
	char title[SECTION_TITLE_SIZE];

	if (section->key_line[id] == 0)
		loader_error(loader, section->line, section_title(loader->conf, section, title),
			"%s is missing; allowed: %s", keys[id].name, keys[id].allowed);
}

static void
forbid(struct loader *loader, const struct section *section, enum key_id id, const char *reason)
{
	if (section->key_line[id] != 0)
		loader_error(loader, section->key_line[id], keys[id].name, "%s", reason);
}

static void
uplink_gateway_check(struct loader *loader, const struct section *section, enum family family)
{
	const struct conf_port *port = &loader->conf->ports[section->index];
	enum key_id id = family == FAMILY_IPV4 ? KEY_PORT_GATEWAY : KEY_PORT_GATEWAY6;
	enum key_id address_id = family == FAMILY_IPV4 ? KEY_PORT_ADDRESS : KEY_PORT_ADDRESS6;
	const union address *gateway = &port->gateway[family];
	char link[ADDRESS_TEXT_SIZE], text[ADDRESS_TEXT_SIZE];
	unsigned line = section->key_line[id];

	if (line != 0 && section->key_line[address_id] == 0)
		loader_error(loader, line, keys[id].name, "needs %s in the same section",
			keys[address_id].name);
	if (!port->has_gateway[family] || !port->has[family])
		return;
	address_format(text, family, gateway);
	prefix_format(link, family, &port->link[family]);
	/* Behind a single address (as Qubes gives to its own qubes) the gateway is simply there. */
	if (port->link[family].length == (family == FAMILY_IPV4 ? 32 : 128))
		return;
	/* An IPv6 router is usually known by its link-local address. */
	if (address_is_link_local(family, gateway))
		return;
	if (!prefix_contains(&port->link[family], gateway))
		loader_error(loader, line, keys[id].name,
			"\"%s\" is not on the link; allowed: an address in %s", text, link);
}

static void
uplink_check(struct loader *loader, const struct section *section)
{
	char title[SECTION_TITLE_SIZE];

	static const enum key_id settings[] = {KEY_PORT_ADDRESS, KEY_PORT_ADDRESS6,
		KEY_PORT_GATEWAY, KEY_PORT_GATEWAY6, KEY_PORT_DNS};

	forbid(loader, section, KEY_PORT_QUBE, "belongs to a port with role = qube");
	if (loader->conf->ports[section->index].settings != SETTINGS_HOST)
		forbid(loader, section, KEY_PORT_RESOLV_CONF, "is for settings = host");
	if (loader->conf->ports[section->index].settings == SETTINGS_UPLINK) {
		forbid(loader, section, KEY_PORT_SETTINGS,
			"uplink is for a port with role = host; allowed: file, qubesdb or host");
		return;
	}
	if (section->key_valid[KEY_PORT_SETTINGS] &&
		loader->conf->ports[section->index].settings != SETTINGS_FILE) {
		for (unsigned i = 0; i < RTE_DIM(settings); i++)
			forbid(loader, section, settings[i],
				"is for settings = file: somebody else says it now");
		if (loader->conf->ports[section->index].settings == SETTINGS_QUBESDB &&
			loader->conf->qubesdb_path == NULL)
			loader_error(loader, section->key_line[KEY_PORT_SETTINGS], "settings",
				"needs a section [qubes] with qubesdb");
		return;
	}
	if (section->key_line[KEY_PORT_ADDRESS] == 0 && section->key_line[KEY_PORT_ADDRESS6] == 0)
		loader_error(loader, section->line, section_title(loader->conf, section, title),
			"needs address or address6");
	for (unsigned family = 0; family < FAMILIES; family++)
		uplink_gateway_check(loader, section, family);
}

/* @param lives per qube: the section of the port it was found on, so far */
static void
qube_port_check(struct loader *loader, const struct section *section, const struct section **lives)
{
	static const enum key_id uplink_only[] = {KEY_PORT_ADDRESS, KEY_PORT_ADDRESS6,
		KEY_PORT_GATEWAY, KEY_PORT_GATEWAY6, KEY_PORT_DNS, KEY_PORT_SETTINGS,
		KEY_PORT_RESOLV_CONF};
	const struct conf *conf = loader->conf;
	const struct conf_port *port = &conf->ports[section->index];
	unsigned line = section->key_line[KEY_PORT_QUBE];
	char title[SECTION_TITLE_SIZE];
	char place[PLACE_SIZE];
	unsigned qube;

	for (unsigned i = 0; i < RTE_DIM(uplink_only); i++)
		if (port->role != ROLE_HOST || (uplink_only[i] != KEY_PORT_SETTINGS &&
						       uplink_only[i] != KEY_PORT_RESOLV_CONF))
			forbid(loader, section, uplink_only[i],
				"belongs to a port with role = uplink; the addresses of a qube "
				"stand in its [qube NAME] section");
	if (port->role == ROLE_QUBE)
		key_require(loader, section, KEY_PORT_QUBE);
	if (port->qube[0] == '\0')
		return;
	for (qube = 0; qube < conf->qube_count; qube++)
		if (strcmp(conf->qubes[qube].name, port->qube) == 0)
			break;
	if (qube == conf->qube_count)
		loader_error(loader, line, "qube", "there is no section [qube %s]", port->qube);
	else if (lives[qube] != NULL)
		loader_error(loader, line, "qube", "\"%s\" already lives on %s (%s)", port->qube,
			section_title(loader->conf, lives[qube], title),
			conf_other_place(conf, line, lives[qube]->line, place));
	else
		lives[qube] = section;
}

/* Our own kernel: it has a TAP, and the addresses of the uplink. */
static void
host_port_check(struct loader *loader, const struct section *section)
{
	static const enum key_id forbidden[] = {KEY_QUBE_ADDRESS, KEY_QUBE_ADDRESS6,
		KEY_QUBE_VISIBLE_ADDRESS, KEY_QUBE_VISIBLE_GATEWAY, KEY_QUBE_MAC, KEY_QUBE_FILTER};
	const struct conf_port *port = &loader->conf->ports[section->index];
	const struct section *qube = section_find(loader->conf, SECTION_QUBE, port->qube);

	if (section->key_valid[KEY_PORT_DEVICE] && port->device != DEVICE_TAP)
		loader_error(loader, section->key_line[KEY_PORT_DEVICE], "device",
			"a port with role = host makes its own: allowed: tap:IFNAME");
	if (section->key_valid[KEY_PORT_SETTINGS] && port->settings != SETTINGS_UPLINK)
		forbid(loader, section, KEY_PORT_SETTINGS,
			"is for the uplink; allowed for role = host: uplink");
	if (port->settings != SETTINGS_UPLINK)
		forbid(loader, section, KEY_PORT_RESOLV_CONF, "is for settings = uplink here");
	for (unsigned i = 0; qube != NULL && i < RTE_DIM(forbidden); i++)
		forbid(loader, qube, forbidden[i],
			"is not for the qube of a port with role = host, which is our own kernel");
}

static void
device_unique_check(struct loader *loader, const struct section *section)
{
	const struct conf_port *port = &loader->conf->ports[section->index];
	char title[SECTION_TITLE_SIZE];
	char place[PLACE_SIZE];

	if (port->argument == NULL)
		return;
	for (const struct section *other = loader->conf->sections; other < section; other++) {
		const struct conf_port *earlier;

		if (other->kind != SECTION_PORT)
			continue;
		earlier = &loader->conf->ports[other->index];
		if (earlier->argument == NULL || earlier->device != port->device ||
			strcmp(earlier->argument, port->argument) != 0)
			continue;
		loader_error(loader, section->key_line[KEY_PORT_DEVICE], "device",
			"is already used by %s (%s)", section_title(loader->conf, other, title),
			conf_other_place(loader->conf, section->key_line[KEY_PORT_DEVICE],
				other->key_line[KEY_PORT_DEVICE], place));
		return;
	}
}

/* Whether all ports of the file can be open at once. */
static void
room_check(struct loader *loader)
{
	struct conf *conf = loader->conf;
	const struct section *section = section_find(conf, SECTION_SLUICE, "");

	if (section == NULL || section->key_line[KEY_SLUICE_PORTS] == 0)
		conf->ports_max = RTE_MAX(PORTS_DEFAULT, conf->port_count);
	else if (section->key_valid[KEY_SLUICE_PORTS] && conf->port_count > conf->ports_max)
		loader_error(loader, section->key_line[KEY_SLUICE_PORTS],
			keys[KEY_SLUICE_PORTS].name,
			"%u is too few, there are %u [port NAME] sections; allowed: %u..%u",
			conf->ports_max, conf->port_count, conf->port_count, PORTS_MAX);
}

static void
ports_check(struct loader *loader)
{
	const struct section *uplink = NULL, *host = NULL;
	const struct section **lives;
	char title[SECTION_TITLE_SIZE];
	char place[PLACE_SIZE];
	bool role_unknown = false;

	lives = calloc(loader->conf->qube_count + 1, sizeof(*lives));
	if (lives == NULL) {
		loader_error(loader, 0, NULL, "out of memory");
		return;
	}
	for (unsigned i = 0; i < loader->conf->section_count; i++) {
		const struct section *section = &loader->conf->sections[i];

		if (section->kind != SECTION_PORT)
			continue;
		key_require(loader, section, KEY_PORT_DEVICE);
		key_require(loader, section, KEY_PORT_ROLE);
		device_unique_check(loader, section);
		if (!section->key_valid[KEY_PORT_ROLE]) {
			role_unknown = true;
			continue;
		}
		if (loader->conf->ports[section->index].role != ROLE_UPLINK)
			qube_port_check(loader, section, lives);
		if (loader->conf->ports[section->index].role == ROLE_HOST) {
			host_port_check(loader, section);
			if (host != NULL)
				loader_error(loader, section->key_line[KEY_PORT_ROLE], "role",
					"a second host, the first is %s (line %u); allowed: one",
					section_title(loader->conf, host, title), host->line);
			host = section;
			continue;
		}
		if (loader->conf->ports[section->index].device == DEVICE_TAP)
			loader_error(loader, section->key_line[KEY_PORT_DEVICE], "device",
				"tap: is for a port with role = host");
		if (loader->conf->ports[section->index].role == ROLE_QUBE)
			continue;
		uplink_check(loader, section);
		if (uplink != NULL)
			loader_error(loader, section->key_line[KEY_PORT_ROLE], "role",
				"a second uplink, the first is %s (%s); allowed: exactly one",
				section_title(loader->conf, uplink, title),
				conf_other_place(loader->conf, section->key_line[KEY_PORT_ROLE],
					uplink->line, place));
		else
			uplink = section;
	}
	room_check(loader);
	if (uplink == NULL && !role_unknown)
		loader_error(loader, loader->conf->line_count, NULL,
			"no port is the uplink; exactly one [port NAME] needs role = uplink");
	if (uplink != NULL && host == NULL && !role_unknown &&
		uplink->key_valid[KEY_PORT_SETTINGS] &&
		loader->conf->ports[uplink->index].settings == SETTINGS_HOST)
		loader_error(loader, uplink->key_line[KEY_PORT_SETTINGS], "settings",
			"host needs a port with role = host, where our own kernel says them");
	if (uplink != NULL && host != NULL &&
		loader->conf->ports[uplink->index].settings == SETTINGS_HOST &&
		loader->conf->ports[host->index].settings == SETTINGS_UPLINK)
		loader_error(loader, host->key_line[KEY_PORT_SETTINGS], "settings",
			"uplink and host have their settings from each other: nobody says them");
	free(lives);
}

/* What one address may not be, because another stands for it already; NULL: nothing wrong. */
static const char *
visible_clash(const struct conf *conf, rte_be32_t address)
{
	if (conf->has_gateway[FAMILY_IPV4] && address == conf->gateway[FAMILY_IPV4].v4)
		return "is that of [gateway]; allowed: another one";
	for (unsigned dns = 0; dns < conf->virtual_dns_count; dns++)
		if (address == conf->virtual_dns[dns])
			return "is a virtual resolver's; allowed: another one";
	return NULL;
}

/* The addresses that a qube sees in place of its own and ours: each must mean one thing to it. */
static void
visible_check(struct loader *loader, const struct section *section)
{
	const struct conf_qube *qube = &loader->conf->qubes[section->index];
	unsigned address_line = section->key_line[KEY_QUBE_VISIBLE_ADDRESS];
	unsigned gateway_line = section->key_line[KEY_QUBE_VISIBLE_GATEWAY];
	const char *wrong = NULL;

	if (address_line != 0 && section->key_line[KEY_QUBE_ADDRESS] == 0)
		wrong = "needs address, for which it stands";
	else if (qube->visible != 0)
		wrong = visible_clash(loader->conf, qube->visible);
	if (wrong != NULL)
		loader_error(
			loader, address_line, keys[KEY_QUBE_VISIBLE_ADDRESS].name, "%s", wrong);
	if (gateway_line == 0)
		return;
	wrong = NULL;
	if (address_line == 0)
		wrong = "needs visible-address: without it the qube sees what is there";
	else if (qube->visible_gateway == 0)
		return;
	else if (qube->visible_gateway == qube->visible)
		wrong = "is visible-address itself; allowed: another one";
	else if (qube->visible_gateway == qube->address[FAMILY_IPV4].v4)
		wrong = "is the qube's own address; allowed: another one";
	else
		wrong = visible_clash(loader->conf, qube->visible_gateway);
	if (wrong != NULL)
		loader_error(
			loader, gateway_line, keys[KEY_QUBE_VISIBLE_GATEWAY].name, "%s", wrong);
}

static void
qubes_check(struct loader *loader)
{
	static const enum key_id gateway_id[FAMILIES] = {KEY_GATEWAY_ADDRESS, KEY_GATEWAY_ADDRESS6};
	static const enum key_id qube_id[FAMILIES] = {KEY_QUBE_ADDRESS, KEY_QUBE_ADDRESS6};
	const struct section *gateway = section_find(loader->conf, SECTION_GATEWAY, "");
	const struct section *needs[FAMILIES] = {NULL, NULL};
	char title[SECTION_TITLE_SIZE];

	for (unsigned i = 0; i < loader->conf->section_count; i++) {
		const struct section *section = &loader->conf->sections[i];

		if (section->kind != SECTION_QUBE)
			continue;
		if (!loader->conf->qubes[section->index].host &&
			section->key_line[KEY_QUBE_ADDRESS] == 0 &&
			section->key_line[KEY_QUBE_ADDRESS6] == 0)
			loader_error(loader, section->line,
				section_title(loader->conf, section, title),
				"needs address or address6");
		visible_check(loader, section);
		for (unsigned family = 0; family < FAMILIES; family++)
			if (needs[family] == NULL && section->key_line[qube_id[family]] != 0)
				needs[family] = section;
	}
	for (unsigned family = 0; family < FAMILIES; family++) {
		/* QubesDB may say it */
		if (needs[family] == NULL || loader->conf->qubesdb_path != NULL)
			continue;
		if (gateway != NULL && gateway->key_line[gateway_id[family]] != 0)
			continue;
		section_title(loader->conf, needs[family], title);
		if (gateway != NULL)
			loader_error(loader, gateway->line, "[gateway]",
				"%s is missing: %s has an %s address",
				keys[gateway_id[family]].name, title, address_name[family]);
		else
			loader_error(loader, needs[family]->key_line[qube_id[family]],
				keys[qube_id[family]].name, "needs a section [gateway] with %s",
				keys[gateway_id[family]].name);
	}
}

static void
claim_add(struct claims *claims, const struct section *section, enum key_id id, enum family family,
	const union address *address)
{
	if (claims->count < claims->capacity)
		claims->claim[claims->count++] =
			(struct claim){*address, family, section->key_line[id], section, &keys[id]};
}

static int
claim_compare_address(const void *left, const void *right)
{
	const struct claim *a = left, *b = right;

	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(&a->address, &b->address, sizeof(a->address));
}

static int
claim_compare(const void *left, const void *right)
{
	const struct claim *a = left, *b = right;
	int order = claim_compare_address(left, right);

	return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

static void
claims_collect(const struct loader *loader, struct claims *claims)
{
	const struct conf *conf = loader->conf;

	for (unsigned i = 0; i < loader->conf->section_count; i++) {
		const struct section *section = &loader->conf->sections[i];
		const struct conf_port *port = NULL;
		const struct conf_qube *qube = NULL;

		if (section->kind == SECTION_PORT)
			port = &conf->ports[section->index];
		if (section->kind == SECTION_QUBE)
			qube = &conf->qubes[section->index];
		for (unsigned family = 0; family < FAMILIES; family++) {
			/* KEY_..._ADDRESS6 follows KEY_..._ADDRESS, as the families do. */
			if (section->kind == SECTION_GATEWAY && conf->has_gateway[family])
				claim_add(claims, section, KEY_GATEWAY_ADDRESS + family, family,
					&conf->gateway[family]);
			if (port != NULL && port->has[family])
				claim_add(claims, section, KEY_PORT_ADDRESS + family, family,
					&port->address[family]);
			if (qube != NULL && qube->has[family])
				claim_add(claims, section, KEY_QUBE_ADDRESS + family, family,
					&qube->address[family]);
		}
		for (unsigned dns = 0;
			section->kind == SECTION_GATEWAY && dns < conf->virtual_dns_count; dns++) {
			union address address = address_v4(conf->virtual_dns[dns]);

			claim_add(claims, section, KEY_GATEWAY_DNS, FAMILY_IPV4, &address);
		}
	}
}

/* Report that @p address stands for something else already. */
static void
claimed(struct loader *loader, unsigned line, const char *key, const union address *address,
	const struct claim *claim)
{
	char text[ADDRESS_TEXT_SIZE];
	char title[SECTION_TITLE_SIZE];
	char place[PLACE_SIZE];

	loader_error(loader, line, key, "\"%s\" is already the %s of %s (%s)",
		address_format(text, claim->family, address), claim->key->name,
		section_title(loader->conf, claim->section, title),
		conf_other_place(loader->conf, line, claim->line, place));
}

/* A next router or a resolver lies beyond the uplink: it is none of ours. */
static void
foreign_check(struct loader *loader, const struct claims *claims, unsigned line, const char *key,
	enum family family, const union address *address)
{
	struct claim wanted = {.address = *address, .family = family};
	const struct claim *found;

	found = bsearch(
		&wanted, claims->claim, claims->count, sizeof(wanted), claim_compare_address);
	if (found != NULL)
		claimed(loader, line, key, address, found);
}

static void
addresses_check(struct loader *loader)
{
	const struct conf *conf = loader->conf;
	struct claims claims = {
		.capacity = FAMILIES * (1 + conf->port_count + conf->qube_count) + VIRTUAL_DNS_MAX};

	claims.claim = calloc(claims.capacity, sizeof(*claims.claim));
	if (claims.claim == NULL) {
		loader_error(loader, 0, NULL, "out of memory");
		return;
	}
	claims_collect(loader, &claims);
	qsort(claims.claim, claims.count, sizeof(*claims.claim), claim_compare);
	for (unsigned i = 1; i < claims.count; i++) {
		const struct claim *claim = &claims.claim[i];

		if (claim_compare_address(claim - 1, claim) == 0)
			claimed(loader, claim->line, claim->key->name, &claim->address, claim - 1);
	}
	for (unsigned i = 0; i < loader->conf->section_count; i++) {
		const struct section *section = &loader->conf->sections[i];
		const struct conf_port *port;

		if (section->kind != SECTION_PORT)
			continue;
		port = &conf->ports[section->index];
		for (unsigned family = 0; family < FAMILIES; family++)
			if (port->has_gateway[family])
				foreign_check(loader, &claims,
					section->key_line[KEY_PORT_GATEWAY + family],
					keys[KEY_PORT_GATEWAY + family].name, family,
					&port->gateway[family]);
		for (unsigned dns = 0; dns < port->resolver_count; dns++) {
			union address address = address_v4(port->resolver[dns]);

			foreign_check(loader, &claims, section->key_line[KEY_PORT_DNS],
				keys[KEY_PORT_DNS].name, FAMILY_IPV4, &address);
		}
	}
	free(claims.claim);
}

_Static_assert(KEY_GATEWAY_ADDRESS + FAMILY_IPV6 == KEY_GATEWAY_ADDRESS6 &&
		       KEY_PORT_ADDRESS + FAMILY_IPV6 == KEY_PORT_ADDRESS6 &&
		       KEY_PORT_GATEWAY + FAMILY_IPV6 == KEY_PORT_GATEWAY6 &&
		       KEY_QUBE_ADDRESS + FAMILY_IPV6 == KEY_QUBE_ADDRESS6,
	"the key of a family is the IPv4 key plus the family");

void
conf_check(struct loader *loader)
{
	ports_check(loader);
	qubes_check(loader);
	addresses_check(loader);
	forwards_check(loader);
}
