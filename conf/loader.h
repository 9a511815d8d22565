/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files that read sluice.conf share;
 * nobody outside conf/ includes this but what makes sluice.conf(5).
 *
 * conf.c turns text into sections and keys, conf_keys.c is the table of keys and their values,
 * conf_check.c and forward_check.c look at the whole once everything is read. The loader remembers
 * on which line every section and key stood, so that each of them can point at the line to change;
 * reload.c still needs to know when the next configuration comes.
 */
#pragma once

#include "conf/conf.h"

#include <stdarg.h>

enum section_kind {
	SECTION_SLUICE,
	SECTION_GATEWAY,
	SECTION_PORT,
	SECTION_QUBE,
	SECTION_FORWARD,
	SECTION_ALLOW,
	SECTION_LIMITS,
	SECTION_TIMEOUTS,
	SECTION_QUBES,
	SECTION_KINDS
};

#define KEY_NEEDED "needed"

/*
 * The one table of keys. Each row is
 *
 *	KEY(identifier, section, "name", parser, "what is allowed", members of struct key...)
 *
 * of which `.without` says what holds when the key is left out: the value it then has, or in words;
 * none where that is said already.
 * Loading, the errors and sluice.conf(5) are made from it.
 *
 * The rows of [timeouts] follow from the table in nat/timeout.h; those of [limits], and the same
 * keys of a [qube NAME], from the one in classifier/budget.h.
 */
/* clang-format off */
#define KEYS(KEY) \
	KEY(SLUICE_WORKERS, SLUICE, "workers", workers_parse, \
		"worker lcores, or auto: half of the CPUs, but 1 to 4", \
		.offset = offsetof(struct conf, workers), .min = 1, .max = WORKERS_MAX, \
		.without = "auto") \
	KEY(SLUICE_IDLE, SLUICE, "idle", idle_parse, \
		"adaptive or spin: whether workers without work sleep or look for it all the time", \
		.without = "adaptive") \
	KEY(SLUICE_SECCOMP, SLUICE, "seccomp", seccomp_parse, \
		"kill, log or off: whether a system call that sluiced does not need ends it, is " \
		"written into the kernel's log, or neither", \
		.without = "kill") \
	KEY(SLUICE_FLOWS, SLUICE, "flows", number_parse, \
		"flows per worker", \
		.offset = offsetof(struct conf, flows), .min = FLOWS_MIN, .max = FLOWS_MAX, \
		.without = "262144") \
	KEY(SLUICE_PORTS, SLUICE, "ports", number_parse, \
		"ports that may be open at once, those that come later included; at least those of the file", \
		.offset = offsetof(struct conf, ports_max), .min = 1, .max = PORTS_MAX, \
		.without = "64") \
	KEY(SLUICE_SOCKET, SLUICE, "socket", socket_parse, \
		"an absolute path of at most 107 bytes for the control socket", \
		.without = SOCKET_PATH_DEFAULT) \
	KEY(SLUICE_STATE_DIR, SLUICE, "state-dir", state_dir_parse, \
		"the absolute path of a directory", \
		.without = STATE_DIR_DEFAULT) \
	KEY(SLUICE_INCLUDE, SLUICE, "include", include_parse, \
		"the path of further files, relative to this one; * and ? stand for what differs in names", \
		.without = "there are none") \
	KEY(SLUICE_GROUP, SLUICE, "group", group_parse, \
		"the name or number of the group that may change things over the control socket", \
		.offset = offsetof(struct conf, group), \
		.without = "root alone may") \
	KEY(SLUICE_LOOK_GROUP, SLUICE, "look-group", group_parse, \
		"the name or number of the group that may look over the control socket", \
		.offset = offsetof(struct conf, look_group), \
		.without = "nobody beside those who may change things") \
	KEY(SLUICE_TELEMETRY, SLUICE, "telemetry", yes_no_parse, \
		"yes or no: whether dpdk-telemetry.py finds sluiced", \
		.offset = offsetof(struct conf, telemetry), \
		.without = "no") \
	KEY(SLUICE_LOG_REFUSALS, SLUICE, "log-refusals", yes_no_parse, \
		"yes or no: whether refusals are logged", \
		.offset = offsetof(struct conf, log_refusals), \
		.without = "yes") \
	KEY(GATEWAY_ADDRESS, GATEWAY, "address", gateway_address_parse, \
		"an IPv4 address, ours towards every qube", .family = FAMILY_IPV4, \
		.without = "no qube can have an IPv4 address") \
	KEY(GATEWAY_ADDRESS6, GATEWAY, "address6", gateway_address_parse, \
		"an IPv6 address, ours towards every qube", .family = FAMILY_IPV6, \
		.without = "no qube can have an IPv6 address") \
	KEY(GATEWAY_DNS, GATEWAY, "dns", virtual_dns_parse, \
		"up to 4 IPv4 addresses that qubes use as resolvers, separated by blanks", \
		.without = "no resolver is translated") \
	KEY(QUBES_QUBESDB, QUBES, "qubesdb", qubesdb_parse, \
		"the absolute path of QubesDB's socket of at most 107 bytes: rules, clients, addresses", \
		.without = "QubesDB is not asked") \
	KEY(QUBES_QUBESDB_FORWARDS, QUBES, "qubesdb-forwards", yes_no_parse, \
		"yes or no: whether forward rules in /qubes-firewall-forward/ of QubesDB count", \
		.offset = offsetof(struct conf, qubesdb_forwards), \
		.without = "no") \
	KEY(QUBES_XENSTORE, QUBES, "xenstore", yes_no_parse, \
		"yes or no: whether vifs come and go as xenstore says", \
		.offset = offsetof(struct conf, xenstore), \
		.without = "no") \
	KEY(PORT_DEVICE, PORT, "device", device_parse, \
		"kernel:IFNAME, pci:ADDRESS, dpdk:DEVARGS, or tap:IFNAME for role = host", \
		.without = KEY_NEEDED) \
	KEY(PORT_ROLE, PORT, "role", role_parse, \
		"uplink, qube or host, which is our own kernel", \
		.without = KEY_NEEDED) \
	KEY(PORT_QUBE, PORT, "qube", qube_name_parse, \
		"the NAME of a [qube NAME] section, for role = qube; for role = host one that has no address", \
		.offset = offsetof(struct conf_port, qube), \
		.without = "needed for role = qube; for role = host one of the port's name, which may send anything") \
	KEY(PORT_ADDRESS, PORT, "address", port_address_parse, \
		"our IPv4 ADDRESS/LENGTH there, for role = uplink", .family = FAMILY_IPV4, \
		.without = "the uplink has no IPv4") \
	KEY(PORT_ADDRESS6, PORT, "address6", port_address_parse, \
		"our IPv6 ADDRESS/LENGTH there, for role = uplink", .family = FAMILY_IPV6, \
		.without = "the uplink has no IPv6") \
	KEY(PORT_GATEWAY, PORT, "gateway", port_gateway_parse, \
		"the IPv4 address of the next router, for role = uplink", .family = FAMILY_IPV4, \
		.without = "only the link itself is reached") \
	KEY(PORT_GATEWAY6, PORT, "gateway6", port_gateway_parse, \
		"the IPv6 address of the next router, for role = uplink", .family = FAMILY_IPV6, \
		.without = "only the link itself is reached") \
	KEY(PORT_DNS, PORT, "dns", resolvers_parse, \
		"up to 8 IPv4 addresses of real resolvers, separated by blanks, for role = uplink", \
		.without = "what qubes ask of the virtual resolvers is dropped") \
	KEY(PORT_SETTINGS, PORT, "settings", settings_parse, \
		"for role = uplink file, qubesdb or host: who says what addresses, gateways and resolvers it has; for role = host uplink: sluiced gives the interface those of the uplink", \
		.without = "file; for role = host, others configure the interface") \
	KEY(PORT_RESOLV_CONF, PORT, "resolv-conf", resolv_conf_parse, \
		"an absolute path of at most 255 bytes. For settings = host: where resolvers are found; for settings = uplink: a file that sluiced writes them to", \
		.without = "/run/systemd/resolve/resolv.conf, or without that /etc/resolv.conf; for settings = uplink, none is written") \
	KEY(PORT_MSS_CLAMP, PORT, "mss-clamp", mss_clamp_parse, \
		"off, mtu or 536..65495 bytes: TCP connections through the port announce no more", \
		.without = "off") \
	KEY(QUBE_ADDRESS, QUBE, "address", qube_address_parse, \
		"an IPv4 address without a length", .family = FAMILY_IPV4, \
		.without = "the qube has no IPv4") \
	KEY(QUBE_ADDRESS6, QUBE, "address6", qube_address_parse, \
		"an IPv6 address without a length", .family = FAMILY_IPV6, \
		.without = "the qube has no IPv6") \
	KEY(QUBE_VISIBLE_ADDRESS, QUBE, "visible-address", visible_parse, \
		"an IPv4 address that the qube takes for its own, exchanged for `address` at its port", \
		.offset = offsetof(struct conf_qube, visible), \
		.without = "the qube has its own address") \
	KEY(QUBE_VISIBLE_GATEWAY, QUBE, "visible-gateway", visible_parse, \
		"an IPv4 address that the qube takes for ours, with visible-address", \
		.offset = offsetof(struct conf_qube, visible_gateway), \
		.without = "that of [gateway]") \
	KEY(QUBE_MAC, QUBE, "mac", mac_parse, \
		"a unicast MAC such as 00:16:3e:5e:6c:00", \
		.without = "that of its first valid ARP or neighbour solicitation") \
	KEY(QUBE_RULES, QUBE, "rules", rules_path_parse, \
		"the path of a rules file, relative to the configuration file", \
		.without = "what the qube sends is dropped in silence") \
	KEY(QUBE_FILTER, QUBE, "filter", filter_parse, \
		"address-and-port, address or none: who may send to a UDP port it has opened", \
		.without = "address-and-port") \
	KEY(FORWARD_TYPE, FORWARD, "forwardtype", forward_type_parse, \
		"external, which listens on the uplink, or internal, which listens for qubes", \
		.without = KEY_NEEDED) \
	KEY(FORWARD_PROTO, FORWARD, "proto", forward_proto_parse, \
		"tcp or udp", \
		.without = KEY_NEEDED) \
	KEY(FORWARD_SRCPORTS, FORWARD, "srcports", ports_parse, \
		"PORT or LOW-HIGH in 1..65535, where we listen", \
		.offset = offsetof(struct conf_forward, first), .least = 1, \
		.without = KEY_NEEDED) \
	KEY(FORWARD_DSTPORTS, FORWARD, "dstports", ports_parse, \
		"PORT or LOW-HIGH in 1..65535 on the qube: as many as srcports, or one for all", \
		.offset = offsetof(struct conf_forward, target_first), .least = 1, \
		.without = "the same as srcports") \
	KEY(FORWARD_SRCHOST, FORWARD, "srchost", srchost_parse, \
		"ADDRESS or ADDRESS/LENGTH of those who may connect; without it anyone may") \
	KEY(FORWARD_QUBE, FORWARD, "qube", qube_name_parse, \
		"the NAME of a [qube NAME] section, where connections are sent", \
		.offset = offsetof(struct conf_forward, qube), \
		.without = KEY_NEEDED) \
	KEY(FORWARD_EXPIRE, FORWARD, "expire", expire_parse, \
		"the unix time in seconds at which it ends, such as $(date -d tomorrow +%s) prints", \
		.without = "it never ends") \
	KEY(FORWARD_COMMENT, FORWARD, "comment", comment_parse, \
		"any text", \
		.without = "none") \
	KEY(ALLOW_FROM, ALLOW, "from", qube_name_parse, \
		"the NAME of a [qube NAME] section, which may open connections", \
		.offset = offsetof(struct conf_allow, from), \
		.without = KEY_NEEDED) \
	KEY(ALLOW_TO, ALLOW, "to", qube_name_parse, \
		"the NAME of a [qube NAME] section, which they may go to", \
		.offset = offsetof(struct conf_allow, to), \
		.without = KEY_NEEDED) \
	KEY(ALLOW_PROTO, ALLOW, "proto", allow_proto_parse, \
		"tcp, udp or icmp, which is ICMPv6 for IPv6; without it every protocol") \
	KEY(ALLOW_DSTPORTS, ALLOW, "dstports", ports_parse, \
		"PORT or LOW-HIGH in 0..65535, with proto = tcp or udp", \
		.offset = offsetof(struct conf_allow, first), \
		.without = "all ports")
/* clang-format on */

enum key_id {
#define KEY_ENUM(identifier, ...) KEY_##identifier,
	KEYS(KEY_ENUM)
#undef KEY_ENUM
#define KEY_ENUM(identifier, ...) KEY_QUBE_LIMIT_##identifier,
		BUDGETS(KEY_ENUM)
#undef KEY_ENUM
#define KEY_ENUM(identifier, ...) KEY_LIMIT_##identifier,
			BUDGETS(KEY_ENUM)
#undef KEY_ENUM
#define KEY_ENUM(identifier, ...) KEY_TIMEOUT_##identifier,
				TIMEOUTS(KEY_ENUM)
#undef KEY_ENUM
					KEY_COUNT
};

struct key {
	enum section_kind section;
	const char *name;
	/* Store @p text; false with a reason such as "is over 64" when it is wrong. */
	bool (*parse)(const struct key *key, void *object, const char *text, char *reason);
	const char *allowed;
	const char *without; /* NULL in [limits] and [timeouts]: their tables have a default */
	/* What the parsers of several keys differ in. */
	size_t offset;     /* numbers, ports, names, yes or no: in the section's object */
	unsigned min, max; /* numbers: max is not 0 */
	unsigned scale;    /* numbers: multiply what is stored, 0 = 1 */
	unsigned least;    /* ports */
	enum family family;
};
extern const struct key keys[KEY_COUNT];

struct section {
	enum section_kind kind;
	unsigned index;               /* in the array of its kind in struct conf */
	unsigned line;                /* of its header */
	unsigned key_line[KEY_COUNT]; /* 0 = the key does not stand there */
	bool key_valid[KEY_COUNT];    /* it does, and its value was taken */
	unsigned file;                /* the last one in which it stands, counted from 0 */
};

struct loader {
	struct conf *conf;
	const struct report *report;
	unsigned errors;
	/* position in the text */
	const char *cursor, *end;
	unsigned line;  /* 1-based, through all files */
	unsigned first; /* line of this file */
	unsigned file;  /* counted from 0 */
	bool dos;       /* a DOS line end was reported already */
	/* the one of conf->sections that is being read; NULL before the first and in bad ones */
	struct section *current;
	bool any_section; /* a header, good or bad, has been seen in this file */
};

/* Text of a section header, with its brackets and NUL. */
#define SECTION_TITLE_SIZE (NAME_SIZE + 16)
const char *section_title(
	const struct conf *conf, const struct section *section, char title[SECTION_TITLE_SIZE]);

/** The section of @p kind and @p name, "" for those without names; NULL if there is none. */
const struct section *section_find(
	const struct conf *conf, enum section_kind kind, const char *name);

/**
 * Report an error and count it. After ERRORS_MAX of them the rest of the file is not read.
 * @param line 0 when the whole file is meant
 * @param key what it is about, such as a key or a section; may be NULL
 */
void loader_error(struct loader *loader, unsigned line, const char *key, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
#define ERRORS_MAX 100

/**
 * As many workers as is good for the machine: half of the CPUs we may use, but 1 to
 * WORKERS_AUTOMATIC_MAX. The other half is for those who feed them: behind kernel ports that is
 * this machine itself, the back ends of its qubes among them.
 */
void workers_automatic(struct conf *conf);

/** Check what sections and keys demand of each other, after the last line. */
void conf_check(struct loader *loader);

/** The part of it that concerns [forward NAME] and [allow NAME]. */
void forwards_check(struct loader *loader);

/** Report that a key that @p section needs does not stand there. */
void key_require(struct loader *loader, const struct section *section, enum key_id id);
