/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What QubesDB says beside rules: clients, addresses that qubes take for others, our side towards
 * them, and our own uplink. As text, and what it means.
 */
#pragma once

#include "conf/qubesdb_tree.h"

/* Addresses that fit into the value of one key. */
#define CONNECTED_MAX 1024
/* Pairs of /mapped-ip: dom0 writes two for each qube that ever was a client, disposables with
   numbers of up to 9999 among them, and takes none away. */
#define MAPPED_PAIRS_MAX 40000

/*
 * Each row is SETTING(identifier, path, pairs); a path that ends in a slash is read with all that
 * is below it, at most so many pairs.
 */
/* clang-format off */
#define QUBESDB_SETTINGS(SETTING) \
	SETTING(CONNECTED,	     "/connected-ips",		    1) \
	SETTING(CONNECTED6,	     "/connected-ips6",		    1) \
	SETTING(MAPPED,		     "/mapped-ip/",		    MAPPED_PAIRS_MAX) \
	SETTING(GATEWAY,	     "/qubes-netvm-gateway",	    1) \
	SETTING(GATEWAY6,	     "/qubes-netvm-gateway6",	    1) \
	SETTING(VIRTUAL_DNS,	     "/qubes-netvm-primary-dns",    1) \
	SETTING(VIRTUAL_DNS_SECOND,  "/qubes-netvm-secondary-dns",  1) \
	SETTING(UPLINK_IP,	     "/qubes-ip",		    1) \
	SETTING(UPLINK_NETMASK,	     "/qubes-netmask",		    1) \
	SETTING(UPLINK_GATEWAY,	     "/qubes-gateway",		    1) \
	SETTING(UPLINK_IP6,	     "/qubes-ip6",		    1) \
	SETTING(UPLINK_NETMASK6,     "/qubes-netmask6",		    1) \
	SETTING(UPLINK_GATEWAY6,     "/qubes-gateway6",		    1) \
	SETTING(RESOLVER,	     "/qubes-primary-dns",	    1) \
	SETTING(RESOLVER_SECOND,     "/qubes-secondary-dns",	    1) \
	SETTING(NET_CONFIG,	     "/net-config/",		    256) \
	SETTING(SERVICE,	     "/qubes-service/qubes-firewall", 1)
/* clang-format on */

enum qubesdb_setting {
#define SETTING_ENUM(identifier, path, pairs) QUBESDB_##identifier,
	QUBESDB_SETTINGS(SETTING_ENUM)
#undef SETTING_ENUM
		QUBESDB_SETTING_COUNT
};

struct qubesdb_setting_row {
	const char *path;
	unsigned pairs;
};
extern const struct qubesdb_setting_row qubesdb_settings[QUBESDB_SETTING_COUNT];

/* What they mean. */
struct qubesdb_meaning {
	/* clients, by what they take for their addresses; see qubesdb_may_be_client */
	bool connected_known[FAMILIES];
	unsigned connected_count[FAMILIES];
	union address connected[FAMILIES][CONNECTED_MAX];
	unsigned mapping_count; /* of qubes that take another address for their own */
	struct live_mapping mappings[QUBES_MAX];
	bool has_gateway;
	struct live_gateway gateway;
	bool has_uplink;
	struct live_uplink uplink;
	bool service_off; /* dom0 has switched this service off */
};

/**
 * Find out what settings mean. What is wrong is reported. In a list it is left out, the rest
 * counts; where our gateway or uplink would be another one, it stays what it was.
 * @param texts a list per setting: of a single path with the key "", else with keys below it
 * @param former what they meant before
 * @param mac of our uplink, aa:bb:cc:dd:ee:ff, for /net-config; "" if it is not known
 */
void qubesdb_settings_parse(const struct pair_list texts[QUBESDB_SETTING_COUNT],
	const struct qubesdb_meaning *former, const char *mac, const struct report *report,
	struct qubesdb_meaning *meaning);

/**
 * Whether the qube with this address may be a client of ours, running or not: it is listed, or what
 * it takes for its address is, or there is no list of that family at all.
 */
bool qubesdb_may_be_client(
	const struct qubesdb_meaning *meaning, enum family family, const union address *address);
