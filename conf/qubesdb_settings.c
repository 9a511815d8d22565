/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Settings of QubesDB, read as dom0 writes them.
 *
 * Our uplink is described twice: /net-config/MAC/ for each network device, and the older /qubes-*,
 * which are asked for what the former does not say. dom0 gives no prefix but a netmask, and in
 * Qubes that is one host: everything, the gateway too, is beyond the link.
 *
 * The list of IPv4 clients has the addresses that they take for their own. Where that is another
 * one than a client's own, /mapped-ip says so; for all other clients it says the same address
 * twice.
 *
 * Addresses that cannot be those of a station are left out. Whether they fit to each other and to
 * sluice.conf is seen when a configuration is made of them.
 */
#include "conf/qubesdb_settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_common.h>

#include "conf/loader.h"
#include "conf/value.h"

const struct qubesdb_setting_row qubesdb_settings[QUBESDB_SETTING_COUNT] = {
#define SETTING_ROW(identifier, path, pairs) {path, pairs},
	QUBESDB_SETTINGS(SETTING_ROW)
#undef SETTING_ROW
};

struct reader {
	const struct pair_list *texts;
	const char *mac;
	const struct report *report;
	unsigned wrong; /* values so far */
};

static bool
blank(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* An address that a router can have, link-local or not. */
static bool
router_parse(struct reader *reader, const char *path, const char *text, enum family family,
	union address *address)
{
	char reason[REASON_SIZE] = "is none of that family";
	enum family found;

	if (address_parse(text, &found, address) == 0 && found == family &&
		address_is_unicast(family, address, reason))
		return true;
	reader->wrong++;
	report_line(
		reader->report, "QubesDB: %s: address \"%.64s\" %s; left out", path, text, reason);
	return false;
}

/* An address that is good beyond its link. */
static bool
station_parse(struct reader *reader, const char *path, const char *text, enum family family,
	union address *address)
{
	if (!router_parse(reader, path, text, family, address))
		return false;
	if (!address_is_link_local(family, address))
		return true;
	reader->wrong++;
	report_line(reader->report, "QubesDB: %s: address \"%.64s\" is a link-local one; left out",
		path, text);
	return false;
}

/* --- clients --- */

static unsigned
list_parse(struct reader *reader, const char *path, const char *text, enum family family,
	union address *addresses, unsigned most)
{
	unsigned count = 0;

	for (;;) {
		char one[ADDRESS_TEXT_SIZE];
		size_t length = 0;

		while (blank(*text))
			text++;
		if (*text == '\0')
			return count;
		if (count == most) {
			report_line(
				reader->report, "QubesDB: %s: more than %u addresses", path, most);
			return count;
		}
		while (text[length] != '\0' && !blank(text[length]))
			length++;
		snprintf(one, sizeof(one), "%.*s", (int)RTE_MIN(length, sizeof(one) - 1), text);
		if (station_parse(reader, path, one, family, &addresses[count]))
			count++;
		text += length;
	}
}

static const char *
text_of(struct reader *reader, enum qubesdb_setting setting)
{
	return pair_list_find(&reader->texts[setting], "");
}

static void
connected_take(struct reader *reader, struct qubesdb_meaning *meaning)
{
	static const enum qubesdb_setting settings[FAMILIES] = {
		[FAMILY_IPV4] = QUBESDB_CONNECTED, [FAMILY_IPV6] = QUBESDB_CONNECTED6};

	for (enum family family = 0; family < FAMILIES; family++) {
		const char *text = text_of(reader, settings[family]);

		meaning->connected_known[family] = text != NULL;
		if (text != NULL)
			meaning->connected_count[family] =
				list_parse(reader, qubesdb_settings[settings[family]].path, text,
					family, meaning->connected[family], CONNECTED_MAX);
	}
}

/* --- addresses that qubes take for theirs and ours --- */

/* @param index of another key of the same address: in the order of keys it is beside this one */
static const char *
gateway_text(const struct pair_list *list, unsigned index, const char *real)
{
	char key[ADDRESS_TEXT_SIZE + 32];

	snprintf(key, sizeof(key), "%s/visible-gateway", real);
	if (index > 0 && strcmp(list->pairs[index - 1].key, key) == 0)
		return list->pairs[index - 1].value;
	return pair_list_find(list, key);
}

static bool
mapping_parse(struct reader *reader, const char *real, const char *visible, const char *gateway,
	struct live_mapping *mapping)
{
	union address address;

	*mapping = (struct live_mapping){0};
	if (!station_parse(reader, "/mapped-ip/", real, FAMILY_IPV4, &mapping->real) ||
		!station_parse(reader, "visible-ip", visible, FAMILY_IPV4, &address))
		return false;
	mapping->visible = address.v4;
	mapping->has_visible_gateway = gateway != NULL && station_parse(reader, "visible-gateway",
								  gateway, FAMILY_IPV4, &address);
	if (mapping->has_visible_gateway)
		mapping->visible_gateway = address.v4;
	return true;
}

static void
mappings_take(struct reader *reader, struct qubesdb_meaning *meaning)
{
	const struct pair_list *list = &reader->texts[QUBESDB_MAPPED];

	for (unsigned i = 0; i < list->count; i++) {
		char real[ADDRESS_TEXT_SIZE];
		const char *slash = strchr(list->pairs[i].key, '/');

		if (slash == NULL || strcmp(slash, "/visible-ip") != 0)
			continue;
		snprintf(real, sizeof(real), "%.*s", (int)(slash - list->pairs[i].key),
			list->pairs[i].key);
		if (strcmp(real, list->pairs[i].value) == 0)
			continue; /* as for most of them: it takes its own address for its own */
		if (meaning->mapping_count == QUBES_MAX) {
			report_line(reader->report,
				"QubesDB: /mapped-ip/: more than %u qubes with another address; "
				"the others are left out",
				QUBES_MAX);
			return;
		}
		if (mapping_parse(reader, real, list->pairs[i].value, gateway_text(list, i, real),
			    &meaning->mappings[meaning->mapping_count]))
			meaning->mapping_count++;
	}
}

/* --- one address each --- */

static bool
address_take(struct reader *reader, enum qubesdb_setting setting, enum family family,
	union address *address)
{
	const char *text = text_of(reader, setting);

	return text != NULL && text[0] != '\0' &&
	       router_parse(reader, qubesdb_settings[setting].path, text, family, address);
}

static void
dns_take(struct reader *reader, enum qubesdb_setting setting, rte_be32_t *list, unsigned *count)
{
	union address address;

	if (address_take(reader, setting, FAMILY_IPV4, &address))
		list[(*count)++] = address.v4;
}

static void
gateway_take(struct reader *reader, struct qubesdb_meaning *meaning)
{
	struct live_gateway *gateway = &meaning->gateway;

	gateway->has[FAMILY_IPV4] =
		address_take(reader, QUBESDB_GATEWAY, FAMILY_IPV4, &gateway->address[FAMILY_IPV4]);
	gateway->has[FAMILY_IPV6] =
		address_take(reader, QUBESDB_GATEWAY6, FAMILY_IPV6, &gateway->address[FAMILY_IPV6]);
	dns_take(reader, QUBESDB_VIRTUAL_DNS, gateway->virtual_dns, &gateway->virtual_dns_count);
	dns_take(reader, QUBESDB_VIRTUAL_DNS_SECOND, gateway->virtual_dns,
		&gateway->virtual_dns_count);
	meaning->has_gateway = gateway->has[FAMILY_IPV4] || gateway->has[FAMILY_IPV6];
}

/* --- our uplink --- */

/* @return what either place says; NULL for neither. @param path out: where, for messages */
static const char *
uplink_text(
	struct reader *reader, const char *name, enum qubesdb_setting setting, const char **path)
{
	const struct pair_list *list = &reader->texts[QUBESDB_NET_CONFIG];
	size_t length = strlen(reader->mac);

	for (unsigned i = 0; length != 0 && i < list->count; i++) {
		const char *key = list->pairs[i].key;

		if (strncasecmp(key, reader->mac, length) == 0 && key[length] == '/' &&
			strcmp(&key[length + 1], name) == 0 && list->pairs[i].value[0] != '\0') {
			*path = "/net-config/";
			return list->pairs[i].value;
		}
	}
	*path = qubesdb_settings[setting].path;
	return text_of(reader, setting);
}

/* A netmask as four bytes, or the length of a prefix. */
static bool
netmask_parse(const char *text, enum family family, uint8_t *length)
{
	char reason[REASON_SIZE];
	struct in_addr mask;
	uint64_t number;
	uint32_t bits;

	if (value_decimal(text, 0, family == FAMILY_IPV4 ? 32 : 128, &number, reason)) {
		*length = (uint8_t)number;
		return true;
	}
	if (family != FAMILY_IPV4 || inet_pton(AF_INET, text, &mask) != 1)
		return false;
	bits = ~ntohl(mask.s_addr);
	if ((bits & (bits + 1)) != 0)
		return false; /* ones behind zeroes */
	*length = (uint8_t)__builtin_popcount(~bits);
	return true;
}

static struct prefix
link_of(enum family family, const union address *address, uint8_t length)
{
	char text[ADDRESS_TEXT_SIZE], with_length[2 * ADDRESS_TEXT_SIZE];
	struct prefix prefix = {0};
	enum family found;

	snprintf(with_length, sizeof(with_length), "%s/%u", address_format(text, family, address),
		length);
	(void)prefix_parse(with_length, &found, &prefix);
	return prefix;
}

static void
uplink_family_take(struct reader *reader, enum family family, struct live_uplink *uplink)
{
	static const struct {
		const char *ip, *netmask, *gateway;
		enum qubesdb_setting ip_setting, netmask_setting, gateway_setting;
	} places[FAMILIES] = {
		[FAMILY_IPV4] = {"ip", "netmask", "gateway", QUBESDB_UPLINK_IP,
			QUBESDB_UPLINK_NETMASK, QUBESDB_UPLINK_GATEWAY},
		[FAMILY_IPV6] = {"ip6", "netmask6", "gateway6", QUBESDB_UPLINK_IP6,
			QUBESDB_UPLINK_NETMASK6, QUBESDB_UPLINK_GATEWAY6},
	};
	uint8_t length = family == FAMILY_IPV4 ? 32 : 128;
	const char *path, *text;

	text = uplink_text(reader, places[family].ip, places[family].ip_setting, &path);
	if (text == NULL || text[0] == '\0' ||
		!station_parse(reader, path, text, family, &uplink->address[family]))
		return;
	uplink->has[family] = true;
	text = uplink_text(reader, places[family].netmask, places[family].netmask_setting, &path);
	if (text != NULL && text[0] != '\0' && !netmask_parse(text, family, &length)) {
		reader->wrong++;
		report_line(reader->report, "QubesDB: %s: \"%.64s\" is no netmask; left out", path,
			text);
	}
	uplink->link[family] = link_of(family, &uplink->address[family], length);
	text = uplink_text(reader, places[family].gateway, places[family].gateway_setting, &path);
	uplink->has_gateway[family] =
		text != NULL && text[0] != '\0' &&
		router_parse(reader, path, text, family, &uplink->gateway[family]);
}

static void
uplink_take(struct reader *reader, struct qubesdb_meaning *meaning)
{
	struct live_uplink *uplink = &meaning->uplink;

	for (enum family family = 0; family < FAMILIES; family++)
		uplink_family_take(reader, family, uplink);
	dns_take(reader, QUBESDB_RESOLVER, uplink->resolver, &uplink->resolver_count);
	dns_take(reader, QUBESDB_RESOLVER_SECOND, uplink->resolver, &uplink->resolver_count);
	meaning->has_uplink = uplink->has[FAMILY_IPV4] || uplink->has[FAMILY_IPV6];
}

/* --- all of it --- */

static bool
connected_has(
	const struct qubesdb_meaning *meaning, enum family family, const union address *address)
{
	for (unsigned i = 0; i < meaning->connected_count[family]; i++)
		if (address_equal(&meaning->connected[family][i], address))
			return true;
	return false;
}

bool
qubesdb_may_be_client(
	const struct qubesdb_meaning *meaning, enum family family, const union address *address)
{
	if (!meaning->connected_known[family] || connected_has(meaning, family, address))
		return true;
	for (unsigned i = 0; family == FAMILY_IPV4 && i < meaning->mapping_count; i++) {
		const union address visible = address_v4(meaning->mappings[i].visible);

		if (address_equal(&meaning->mappings[i].real, address) &&
			connected_has(meaning, family, &visible))
			return true;
	}
	return false;
}

void
qubesdb_settings_parse(const struct pair_list texts[QUBESDB_SETTING_COUNT],
	const struct qubesdb_meaning *former, const char *mac, const struct report *report,
	struct qubesdb_meaning *meaning)
{
	struct reader reader = {.texts = texts, .mac = mac, .report = report};
	const char *service = text_of(&reader, QUBESDB_SERVICE);

	memset(meaning, 0, sizeof(*meaning));
	for (unsigned i = 0; i < QUBESDB_SETTING_COUNT; i++)
		if (texts[i].overfull)
			report_line(report,
				"QubesDB: %s: more than %u keys; the others are left out",
				qubesdb_settings[i].path, qubesdb_settings[i].pairs);
	connected_take(&reader, meaning);
	mappings_take(&reader, meaning);
	reader.wrong = 0;
	gateway_take(&reader, meaning);
	if (reader.wrong != 0) {
		meaning->has_gateway = former->has_gateway;
		meaning->gateway = former->gateway;
	}
	reader.wrong = 0;
	uplink_take(&reader, meaning);
	if (reader.wrong != 0) {
		meaning->has_uplink = former->has_uplink;
		meaning->uplink = former->uplink;
	}
	meaning->service_off = service != NULL && strcmp(service, "0") == 0;
}
