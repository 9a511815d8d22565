/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What sources other than sluice.conf say while sluiced runs: rules and settings of QubesDB, vifs
 * of xenstore, the uplink's addresses that a DHCP client was given.
 *
 * Sources put here what they know, as it is now. conf_compose() makes one configuration of it and
 * of the file, which then comes into force like any other: app/daemon.h, daemon_apply. A source
 * never touches what is in force, so what cannot be put in force is simply taken back here.
 *
 * A qube has the name that sluice.conf gives to its address, else its address is its name.
 *
 * Control thread only. Functions that return int return 0 or -ENOMEM, and then nothing has changed.
 */
#pragma once

#include "conf/conf.h"

/* Where the rules of a qube come from, strongest first: runtime, kept (conf/changes.h), QubesDB,
   sluice.conf. The first one that has rules for a qube has all of them. */

/*
 * The rules that QubesDB has for one address. Immutable once it is in a struct live; shared with
 * the configurations made of it.
 */
struct live_tree {
	unsigned references;
	enum family family;
	union address address;
	enum rules_state state; /* RULES_BAD or RULES_VALID */
	/* RULES_VALID; rules have origin ORIGIN_QUBESDB and as `line` one more than the number that
	   is their key */
	struct ruleset ruleset;
	char *error; /* RULES_BAD: KEY: reason */
	/* forwards to this qube; `name` and `qube` are filled by live_tree_put */
	unsigned forward_count;
	struct conf_forward *forwards;
};

/* One attached vif. */
struct live_vif {
	uint16_t domid, devid;
	char ifname[16];
	bool has[FAMILIES];
	union address address[FAMILIES];
	bool has_mac;
	uint8_t mac[6];
};

/* Addresses that qubes and we know of each other, where the one the qube sees is not its own. */
struct live_mapping {
	union address real; /* IPv4 */
	bool has_visible_gateway;
	rte_be32_t visible, visible_gateway;
};

/* The uplink port's settings, for a configuration that leaves them to a source. */
struct live_uplink {
	bool has[FAMILIES];
	union address address[FAMILIES];
	struct prefix link[FAMILIES];
	bool has_gateway[FAMILIES];
	union address gateway[FAMILIES];
	unsigned resolver_count;
	rte_be32_t resolver[RESOLVERS_MAX];
};

/* Our side towards qubes. */
struct live_gateway {
	bool has[FAMILIES];
	union address address[FAMILIES];
	unsigned virtual_dns_count;
	rte_be32_t virtual_dns[VIRTUAL_DNS_MAX];
};

struct live;

/** The name of a qube that sluice.conf does not name: its address, if that is not too long. */
void live_name(enum family family, const union address *address, char name[NAME_SIZE]);

struct live *live_new(void);
void live_free(struct live *live); /* NULL is fine */

/* ---- QubesDB */

struct live_tree *live_tree_new(enum family family, const union address *address);
void live_tree_unref(struct live_tree *tree); /* NULL is fine */

/** Put the rules of an address in place of those it had. @param tree taken, also on errors */
int live_tree_put(struct live *live, struct live_tree *tree);
void live_tree_drop(struct live *live, enum family family, const union address *address);

/** @return NULL if there is none */
const struct live_tree *live_tree_find(
	const struct live *live, enum family family, const union address *address);

/** All clients, also those that are powered off: these addresses are nobody else's. */
int live_connected_set(
	struct live *live, enum family family, const union address *addresses, unsigned count);

int live_mappings_set(struct live *live, const struct live_mapping *mappings, unsigned count);

/** @param gateway NULL: what sluice.conf says holds */
void live_gateway_set(struct live *live, const struct live_gateway *gateway);

/* ---- xenstore */

/** Put a vif, in place of the one with the same domid and devid. */
int live_vif_put(struct live *live, const struct live_vif *vif);
void live_vif_drop(struct live *live, uint16_t domid, uint16_t devid);
const struct live_vif *live_vif_find(const struct live *live, uint16_t domid, uint16_t devid);

/* ---- the uplink, for `address = qubesdb` and `address = host` of the uplink port */

/** @param uplink NULL: no addresses, so nothing can be sent there */
void live_uplink_set(struct live *live, const struct live_uplink *uplink);

/* ---- all together */

/**
 * Make one configuration of a file and of what sources say. It borrows from both what is large: see
 * `conf_qube.storage`. @p file must live longer; what is put into @p live later does no harm.
 *
 * The newest vif (greatest domid, then devid 0 before others) has an address that several claim;
 * the others get a port without a qube, through which nothing passes.
 * @return 0, or -errno, reported: -EEXIST when addresses clash, -E2BIG for too many qubes or ports
 */
int conf_compose(const struct conf *file, const struct live *live, const struct report *report,
	struct conf **out);
