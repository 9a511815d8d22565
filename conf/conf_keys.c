/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The values of sluice.conf: one parser per kind of value, one row per key.
 *
 * A parser sees one value and its own object (the struct conf, or what the section describes).
 * It says only what is wrong; the caller adds the place and what the table allows.
 */
#include "conf/loader.h"
#include "conf/value.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include <rte_common.h>

static bool
number_parse(const struct key *key, void *object, const char *text, char *reason)
{
	uint64_t number = 0;

	if (!value_decimal(text, key->min, key->max, &number, reason))
		return false;
	*(unsigned *)((char *)object + key->offset) = (unsigned)number * RTE_MAX(key->scale, 1u);
	return true;
}

/* PORT or LOW-HIGH, into two uint16_t that follow each other. */
static bool
ports_parse(const struct key *key, void *object, const char *text, char *reason)
{
	uint16_t *range = (uint16_t *)(void *)((char *)object + key->offset);

	return value_ports(text, key->least, &range[0], &range[1], reason);
}

static bool
socket_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf *conf = object;

	(void)key;
	if (text[0] != '/')
		return value_wrong(reason, "is not an absolute path");
	if (strlen(text) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return value_wrong(reason, "is too long for a socket");
	return value_text(&conf->socket_path, text, reason);
}

static bool
qubesdb_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf *conf = object;

	(void)key;
	if (text[0] != '/')
		return value_wrong(reason, "is not an absolute path");
	if (strlen(text) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return value_wrong(reason, "is too long for a socket");
	return value_text(&conf->qubesdb_path, text, reason);
}

static bool
yes_no_parse(const struct key *key, void *object, const char *text, char *reason)
{
	bool yes = strcmp(text, "yes") == 0;

	if (!yes && strcmp(text, "no") != 0)
		return value_wrong(reason, "is neither yes nor no");
	memcpy((char *)object + key->offset, &yes, sizeof(yes));
	return true;
}

void
workers_automatic(struct conf *conf)
{
	cpu_set_t allowed;
	unsigned cpus = 1;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0)
		cpus = (unsigned)CPU_COUNT(&allowed);
	conf->workers = RTE_MIN(RTE_MAX(cpus / 2, 1u), (unsigned)WORKERS_AUTOMATIC_MAX);
	conf->workers_automatic = true;
}

static bool
workers_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf *conf = object;

	if (strcmp(text, "auto") == 0) {
		workers_automatic(conf);
		return true;
	}
	conf->workers_automatic = false;
	return number_parse(key, object, text, reason);
}

const char *const device_kinds[] = {[DEVICE_KERNEL] = "kernel",
	[DEVICE_PCI] = "pci",
	[DEVICE_DPDK] = "dpdk",
	[DEVICE_TAP] = "tap"};
const char *const idle_modes[] = {[IDLE_ADAPTIVE] = "adaptive", [IDLE_SPIN] = "spin"};
const char *const seccomp_modes[] = {
	[SECCOMP_KILL] = "kill", [SECCOMP_LOG] = "log", [SECCOMP_OFF] = "off"};

static bool
idle_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf *conf = object;

	(void)key;
	for (unsigned mode = 0; mode < RTE_DIM(idle_modes); mode++)
		if (strcmp(text, idle_modes[mode]) == 0) {
			conf->idle = (enum idle_mode)mode;
			return true;
		}
	return value_wrong(reason, "is neither adaptive nor spin");
}

static bool
seccomp_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf *conf = object;

	(void)key;
	for (unsigned mode = 0; mode < RTE_DIM(seccomp_modes); mode++)
		if (strcmp(text, seccomp_modes[mode]) == 0) {
			conf->seccomp = (enum seccomp_mode)mode;
			return true;
		}
	return value_wrong(reason, "is neither kill, nor log, nor off");
}

static bool
state_dir_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf *conf = object;

	(void)key;
	if (text[0] != '/')
		return value_wrong(reason, "is not an absolute path");
	return value_text(&conf->state_dir, text, reason);
}

static bool
include_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf *conf = object;

	(void)key;
	return value_text(&conf->include, text, reason);
}

static bool
group_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_group *stored = (struct conf_group *)(void *)((char *)object + key->offset);
	char buffer[16384]; /* members that do not fit are not asked for */
	struct group group, *found = NULL;
	char inner[REASON_SIZE];
	uint64_t number = 0;
	int error;

	if (value_decimal(text, 0, UINT32_MAX - 1, &number, inner)) {
		*stored = (struct conf_group){.set = true, .id = (gid_t)number};
		return true;
	}
	error = getgrnam_r(text, &group, buffer, sizeof(buffer), &found);
	if (error == ERANGE)
		return value_wrong(reason, "has too many members to be looked up by name");
	if (found == NULL)
		return value_wrong(reason, "is no group that this system knows");
	*stored = (struct conf_group){.set = true, .id = group.gr_gid};
	return true;
}

static bool
gateway_address_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf *conf = object;

	/* A link-local gateway is fine: it is the same on every port and never leaves the link. */
	if (!value_station(key->family, text, &conf->gateway[key->family], reason))
		return false;
	conf->has_gateway[key->family] = true;
	return true;
}

/* A list of IPv4 addresses, separated by blanks. */
static bool
address_list_parse(
	const char *text, rte_be32_t *list, unsigned *count, unsigned list_max, char *reason)
{
	char one[ADDRESS_TEXT_SIZE];
	char inner[REASON_SIZE];
	union address address;

	*count = 0;
	for (text += strspn(text, " \t"); *text != '\0'; text += strspn(text, " \t")) {
		size_t length = strcspn(text, " \t");

		if (*count == list_max)
			return value_wrong(reason, "holds more than %u addresses", list_max);
		snprintf(one, sizeof(one), "%.*s", (int)RTE_MIN(length, sizeof(one) - 1), text);
		if (!value_station(FAMILY_IPV4, one, &address, inner))
			return value_wrong(reason, "is wrong: \"%s\" %s", one, inner);
		list[(*count)++] = address.v4;
		text += length;
	}
	return true;
}

static bool
virtual_dns_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf *conf = object;

	(void)key;
	return address_list_parse(
		text, conf->virtual_dns, &conf->virtual_dns_count, VIRTUAL_DNS_MAX, reason);
}

static bool
resolvers_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_port *port = object;

	(void)key;
	return address_list_parse(
		text, port->resolver, &port->resolver_count, RESOLVERS_MAX, reason);
}

static bool
interface_check(const char *name, char *reason)
{
	if (name[0] == '\0')
		return value_wrong(reason, "names no interface");
	if (strlen(name) >= IFNAMSIZ)
		return value_wrong(reason, "has an interface name over %u bytes", IFNAMSIZ - 1);
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strpbrk(name, "/:") != NULL)
		return value_wrong(reason, "has no possible interface name");
	for (; *name != '\0'; name++)
		if (!isgraph((unsigned char)*name))
			return value_wrong(reason, "has no possible interface name");
	return true;
}

/* [DDDD:]BB:DD.F -> the long form, so that one device has one spelling. */
static bool
pci_parse(const char *text, char **stored, char *reason)
{
	static const char pattern[] = "xxxx:xx:xx.7";
	char address[sizeof(pattern)];

	snprintf(address, sizeof(address), "%s%s", strlen(text) == strlen("BB:DD.F") ? "0000:" : "",
		text);
	if (strlen(text) != strlen("BB:DD.F") && strlen(text) != strlen(pattern))
		return value_wrong(reason, "is not a PCI address");
	for (unsigned i = 0; pattern[i] != '\0'; i++) {
		unsigned char byte = (unsigned char)address[i];

		if (pattern[i] == 'x'       ? !isxdigit(byte)
			: pattern[i] == '7' ? byte < '0' || byte > '7'
					    : byte != pattern[i])
			return value_wrong(reason, "is not a PCI address");
		address[i] = (char)tolower(byte);
	}
	if (strtoul(&address[strlen("DDDD:BB:")], NULL, 16) > 0x1f)
		return value_wrong(reason, "has a PCI device number over 1f");
	return value_text(stored, address, reason);
}

static bool
devargs_check(const char *arguments, char *reason)
{
	if (!isalnum((unsigned char)arguments[0]))
		return value_wrong(reason, "has no DPDK device arguments");
	for (; *arguments != '\0'; arguments++)
		if (!isgraph((unsigned char)*arguments))
			return value_wrong(reason, "has a blank in its DPDK device arguments");
	return true;
}

static bool
device_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_port *port = object;

	(void)key;
	if (strncmp(text, "kernel:", strlen("kernel:")) == 0) {
		text += strlen("kernel:");
		port->device = DEVICE_KERNEL;
		return interface_check(text, reason) && value_text(&port->argument, text, reason);
	}
	if (strncmp(text, "pci:", strlen("pci:")) == 0) {
		port->device = DEVICE_PCI;
		return pci_parse(text + strlen("pci:"), &port->argument, reason);
	}
	if (strncmp(text, "dpdk:", strlen("dpdk:")) == 0) {
		text += strlen("dpdk:");
		port->device = DEVICE_DPDK;
		return devargs_check(text, reason) && value_text(&port->argument, text, reason);
	}
	if (strncmp(text, "tap:", strlen("tap:")) == 0) {
		text += strlen("tap:");
		port->device = DEVICE_TAP;
		return interface_check(text, reason) && value_text(&port->argument, text, reason);
	}
	return value_wrong(reason, "is no kind of device");
}

static bool
role_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_port *port = object;

	(void)key;
	for (unsigned i = 0; i < ROLES; i++)
		if (strcmp(text, role_names[i]) == 0) {
			port->role = (enum role)i;
			return true;
		}
	return value_wrong(reason, "is no role");
}

static bool
settings_parse(const struct key *key, void *object, const char *text, char *reason)
{
	static const char *const names[] = {[SETTINGS_FILE] = "file",
		[SETTINGS_QUBESDB] = "qubesdb",
		[SETTINGS_HOST] = "host",
		[SETTINGS_UPLINK] = "uplink"};
	struct conf_port *port = object;

	(void)key;
	for (unsigned i = 0; i < RTE_DIM(names); i++)
		if (strcmp(text, names[i]) == 0) {
			port->settings = (enum settings)i;
			return true;
		}
	return value_wrong(reason, "is none of them");
}

static bool
resolv_conf_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_port *port = object;

	(void)key;
	if (text[0] != '/')
		return value_wrong(reason, "is not an absolute path");
	if (strlen(text) >= sizeof(port->resolv_conf))
		return value_wrong(reason, "is too long");
	snprintf(port->resolv_conf, sizeof(port->resolv_conf), "%s", text);
	return true;
}

static bool
qube_name_parse(const struct key *key, void *object, const char *text, char *reason)
{
	if (!value_name(text, reason))
		return false;
	snprintf((char *)object + key->offset, NAME_SIZE, "%s", text);
	return true;
}

/* What RFC 9293 section 3.7.1 lets everybody send who was told nothing, and what fits a packet. */
#define MSS_MIN 536
#define MSS_MAX (UINT16_MAX - 40)

static bool
mss_clamp_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_port *port = object;
	uint64_t mss = 0;

	(void)key;
	if (strcmp(text, "off") == 0) {
		port->mss_clamp = MSS_CLAMP_OFF;
	} else if (strcmp(text, "mtu") == 0) {
		port->mss_clamp = MSS_CLAMP_MTU;
	} else if (!isdigit((unsigned char)text[0])) {
		return value_wrong(reason, "is neither off, nor mtu, nor a number");
	} else {
		if (!value_decimal(text, MSS_MIN, MSS_MAX, &mss, reason))
			return false;
		port->mss_clamp = MSS_CLAMP_FIXED;
	}
	port->mss = (uint16_t)mss;
	return true;
}

/* Host bits all zero name the link itself, all one its broadcast: nobody can have them. */
static bool
host_bits_check(
	enum family family, const union address *address, const struct prefix *link, char *reason)
{
	unsigned bits = family == FAMILY_IPV4 ? 32 : 128;
	uint32_t host;

	if (bits - link->length < 2) /* point to point (RFC 3021, RFC 6164), or a single address */
		return true;
	if (address_equal(address, &link->address))
		return value_wrong(reason, "is the network itself, not an address in it");
	if (family == FAMILY_IPV6)
		return true;
	host = UINT32_MAX >> link->length;
	if ((rte_be_to_cpu_32(address->v4) & host) == host)
		return value_wrong(reason, "is the broadcast address of its network");
	return true;
}

static bool
port_address_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_port *port = object;
	const char *slash = strchr(text, '/');
	enum family family = key->family;
	char host[ADDRESS_TEXT_SIZE];
	union address address;
	struct prefix link;
	int error;

	if (slash == NULL)
		return value_wrong(reason, "has no /LENGTH");
	snprintf(host, sizeof(host), "%.*s", (int)RTE_MIN((size_t)(slash - text), sizeof(host) - 1),
		text);
	if (!value_station(family, host, &address, reason))
		return false;
	if (address_is_link_local(family, &address))
		return value_wrong(reason, "is a link-local address");
	error = prefix_parse(text, &family, &link);
	if (error == -ERANGE)
		return value_wrong(
			reason, "has a prefix length over %u", family == FAMILY_IPV4 ? 32 : 128);
	if (error != 0)
		return value_wrong(reason, "has no number as its prefix length");
	if (link.length == 0)
		return value_wrong(reason, "has prefix length 0: everything would be on the link");
	if (!host_bits_check(family, &address, &link, reason))
		return false;
	port->has[family] = true;
	port->address[family] = address;
	port->link[family] = link;
	return true;
}

static bool
port_gateway_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_port *port = object;

	if (!value_station(key->family, text, &port->gateway[key->family], reason))
		return false;
	port->has_gateway[key->family] = true;
	return true;
}

static bool
qube_address_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_qube *qube = object;
	union address address;

	if (!value_qube_address(key->family, text, &address, reason))
		return false;
	qube->has[key->family] = true;
	qube->address[key->family] = address;
	return true;
}

static bool
visible_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_qube *qube = object;
	union address address;

	if (!value_qube_address(FAMILY_IPV4, text, &address, reason))
		return false;
	*(rte_be32_t *)(void *)((char *)object + key->offset) = address.v4;
	qube->has_visible = qube->visible != 0;
	return true;
}

static bool
mac_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_qube *qube = object;

	(void)key;
	if (!value_mac(text, qube->mac, reason))
		return false;
	qube->has_mac = true;
	return true;
}

static bool
rules_path_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_qube *qube = object;

	(void)key;
	return value_text(&qube->rules_path, text, reason);
}

static bool
filter_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_qube *qube = object;

	(void)key;
	if (strcmp(text, "address-and-port") == 0)
		qube->filter = FILTER_ADDRESS_AND_PORT;
	else if (strcmp(text, "address") == 0)
		qube->filter = FILTER_ADDRESS;
	else if (strcmp(text, "none") == 0)
		qube->filter = FILTER_NONE;
	else
		return value_wrong(reason, "is no filter");
	return true;
}

static bool
forward_type_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_forward *forward = object;

	(void)key;
	return value_forward_side(text, &forward->side, reason);
}

static bool
forward_proto_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_forward *forward = object;

	(void)key;
	return value_forward_protocol(text, &forward->protocol, reason);
}

static bool
allow_proto_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_allow *allow = object;

	(void)key;
	if (strcmp(text, "tcp") == 0)
		allow->protocol = IPPROTO_TCP;
	else if (strcmp(text, "udp") == 0)
		allow->protocol = IPPROTO_UDP;
	else if (strcmp(text, "icmp") == 0)
		allow->protocol = IPPROTO_ICMP;
	else
		return value_wrong(reason, "is no protocol that can be named");
	return true;
}

static bool
srchost_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_forward *forward = object;

	(void)key;
	forward->has_source = value_prefix(text, &forward->source_family, &forward->source, reason);
	return forward->has_source;
}

static bool
expire_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_forward *forward = object;

	(void)key;
	return value_decimal(text, 1, EXPIRE_MAX, &forward->expire_s, reason);
}

static bool
comment_parse(const struct key *key, void *object, const char *text, char *reason)
{
	struct conf_forward *forward = object;

	(void)key;
	return value_text(&forward->comment, text, reason);
}

const struct key keys[KEY_COUNT] = {
#define KEY_ROW(identifier, kind, key_name, parser, help, ...) \
	[KEY_##identifier] = {.section = SECTION_##kind,       \
		.name = key_name,                              \
		.parse = parser,                               \
		.allowed = help,                               \
		__VA_ARGS__},
	KEYS(KEY_ROW)
#undef KEY_ROW
#define LIMIT_ROW(key_id, kind, type, budget, key_name, least, greatest, help)  \
	[key_id] = {.section = SECTION_##kind,                                  \
		.name = key_name,                                               \
		.parse = number_parse,                                          \
		.allowed = help,                                                \
		.offset = offsetof(struct type, limits.value[BUDGET_##budget]), \
		.min = least,                                                   \
		.max = greatest},
#define KEY_ROW(identifier, key_name, normal, ...) \
	LIMIT_ROW(KEY_QUBE_LIMIT_##identifier, QUBE, conf_qube, identifier, key_name, __VA_ARGS__)
		BUDGETS(KEY_ROW)
#undef KEY_ROW
#define KEY_ROW(identifier, key_name, normal, ...) \
	LIMIT_ROW(KEY_LIMIT_##identifier, LIMITS, conf, identifier, key_name, __VA_ARGS__)
			BUDGETS(KEY_ROW)
#undef KEY_ROW
#undef LIMIT_ROW
#define KEY_ROW(identifier, key_name, default_s, min_s, max_s, help)                \
	[KEY_TIMEOUT_##identifier] = {.section = SECTION_TIMEOUTS,                  \
		.name = key_name,                                                   \
		.parse = number_parse,                                              \
		.allowed = "seconds: " help,                                        \
		.offset = offsetof(struct conf, timeouts.ms[TIMEOUT_##identifier]), \
		.min = min_s,                                                       \
		.max = max_s,                                                       \
		.scale = 1000},
				TIMEOUTS(KEY_ROW)
#undef KEY_ROW
};
