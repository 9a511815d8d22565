/* SPDX-License-Identifier: BSD-3-Clause */
/* What QubesDB says of clients, addresses, our gateway and our uplink; and what is wrong with it.
 */
#include "conf/qubesdb_settings.h"

#include "tests/unit/unit.h"

#define MAC "00:16:3e:5e:6c:0a"

static struct pair_list texts[QUBESDB_SETTING_COUNT];
static struct qubesdb_meaning meaning, former;
static char said[8192];

static void
hear(void *context, const char *line)
{
	(void)context;
	strncat(said, line, sizeof(said) - strlen(said) - 2);
	strcat(said, "\n");
}

static void
set(enum qubesdb_setting setting, const char *key, const char *value)
{
	pair_list_add(&texts[setting], key, value, qubesdb_settings[setting].pairs);
}

static void
parse(void)
{
	static const struct report report = {.line = hear};

	said[0] = '\0';
	qubesdb_settings_parse(texts, &former, MAC, &report, &meaning);
}

static void
clear(void)
{
	for (unsigned i = 0; i < QUBESDB_SETTING_COUNT; i++)
		pair_list_clear(&texts[i]);
}

static void
address_is(enum family family, const union address *address, const char *text)
{
	char written[ADDRESS_TEXT_SIZE];

	CU_ASSERT_STRING_EQUAL(address_format(written, family, address), text);
}

static void
v4_is(rte_be32_t v4, const char *text)
{
	union address address = address_v4(v4);

	address_is(FAMILY_IPV4, &address, text);
}

static void
nothing(void)
{
	clear();
	parse();
	CU_ASSERT_STRING_EQUAL(said, "");
	CU_ASSERT(!meaning.connected_known[FAMILY_IPV4] && !meaning.connected_known[FAMILY_IPV6]);
	CU_ASSERT(!meaning.has_gateway && !meaning.has_uplink);
	CU_ASSERT_EQUAL(meaning.mapping_count, 0);
}

static void
clients(void)
{
	char many[3072];

	clear();
	set(QUBESDB_CONNECTED, "", "10.137.0.16 10.137.0.17");
	set(QUBESDB_CONNECTED6, "", "");
	parse();
	CU_ASSERT_STRING_EQUAL(said, "");
	CU_ASSERT_EQUAL(meaning.connected_count[FAMILY_IPV4], 2);
	address_is(FAMILY_IPV4, &meaning.connected[FAMILY_IPV4][1], "10.137.0.17");
	CU_ASSERT(meaning.connected_known[FAMILY_IPV6]);
	CU_ASSERT_EQUAL(meaning.connected_count[FAMILY_IPV6], 0);

	/* what is wrong does not take the protection from the others */
	clear();
	set(QUBESDB_CONNECTED, "",
		"  10.137.0.16\tfd09::1 x 10.137.0.300 0.0.0.0 127.0.0.1 224.0.0.1\n10.137.0.17 ");
	set(QUBESDB_CONNECTED6, "", "fd09::10 fe80::1 10.137.0.16 ::1 ff02::1");
	parse();
	CU_ASSERT_EQUAL(meaning.connected_count[FAMILY_IPV4], 2);
	CU_ASSERT_EQUAL(meaning.connected_count[FAMILY_IPV6], 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "QubesDB: /connected-ips: address \"x\" is none of "
					    "that family; left out"));
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "\"127.0.0.1\" is a loopback address"));

	/* the longest value there is */
	clear();
	for (unsigned i = 0; i + 8 < sizeof(many); i += 8)
		memcpy(&many[i], "9.9.9.9 ", 9);
	set(QUBESDB_CONNECTED, "", many);
	parse();
	CU_ASSERT_EQUAL(meaning.connected_count[FAMILY_IPV4], (sizeof(many) - 1) / 8);
}

static void
mappings(void)
{
	char key[64];

	clear();
	set(QUBESDB_MAPPED, "10.137.0.16/visible-ip", "10.0.2.15");
	set(QUBESDB_MAPPED, "10.137.0.16/visible-gateway", "10.0.2.2");
	set(QUBESDB_MAPPED, "10.137.0.17/visible-ip", "10.0.2.16");
	set(QUBESDB_MAPPED, "10.137.0.18/visible-gateway", "10.0.2.2");
	set(QUBESDB_MAPPED, "10.137.0.19/visible-ip", "x");
	set(QUBESDB_MAPPED, "fd09::1/visible-ip", "10.0.2.17");
	set(QUBESDB_MAPPED, "10.137.0.20/visible-ip/more", "10.0.2.18");
	set(QUBESDB_MAPPED, "10.137.0.21/visible-ip", "10.0.2.19");
	set(QUBESDB_MAPPED, "10.137.0.21/visible-gateway", "nonsense");
	parse();
	CU_ASSERT_EQUAL_FATAL(meaning.mapping_count, 3);
	address_is(FAMILY_IPV4, &meaning.mappings[0].real, "10.137.0.16");
	v4_is(meaning.mappings[0].visible, "10.0.2.15");
	CU_ASSERT(meaning.mappings[0].has_visible_gateway);
	v4_is(meaning.mappings[0].visible_gateway, "10.0.2.2");
	v4_is(meaning.mappings[1].visible, "10.0.2.16");
	CU_ASSERT(!meaning.mappings[1].has_visible_gateway);
	v4_is(meaning.mappings[2].visible, "10.0.2.19");
	CU_ASSERT(!meaning.mappings[2].has_visible_gateway);

	clear();
	for (unsigned i = 0; i < QUBES_MAX + 1; i++) {
		snprintf(key, sizeof(key), "10.137.%u.%u/visible-ip", i / 200, i % 200 + 1);
		set(QUBESDB_MAPPED, key, "10.0.2.15");
	}
	parse();
	CU_ASSERT_EQUAL(meaning.mapping_count, QUBES_MAX);
	CU_ASSERT_PTR_NOT_NULL(
		strstr(said, "QubesDB: /mapped-ip/: more than 1000 qubes with another address"));
}

/* dom0 writes the keys for every qube that starts, and leaves them when it has gone. */
static void
own_addresses(void)
{
	char key[64], address[32];

	clear();
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(address, sizeof(address), "10.138.%u.%u", i / 256, i % 256);
		snprintf(key, sizeof(key), "%s/visible-gateway", address);
		set(QUBESDB_MAPPED, key, "10.138.1.1");
		snprintf(key, sizeof(key), "%s/visible-ip", address);
		set(QUBESDB_MAPPED, key, address);
	}
	set(QUBESDB_MAPPED, "10.138.99.1/visible-gateway", "10.0.2.2");
	set(QUBESDB_MAPPED, "10.138.99.1/visible-ip", "10.0.2.15");
	parse();
	CU_ASSERT_STRING_EQUAL(said, "");
	CU_ASSERT_EQUAL_FATAL(meaning.mapping_count, 1);
	address_is(FAMILY_IPV4, &meaning.mappings[0].real, "10.138.99.1");
	CU_ASSERT(meaning.mappings[0].has_visible_gateway);
	v4_is(meaning.mappings[0].visible_gateway, "10.0.2.2");
}

static bool
may_be_client(const char *text)
{
	union address address;
	enum family family;

	CU_ASSERT_EQUAL_FATAL(address_parse(text, &family, &address), 0);
	return qubesdb_may_be_client(&meaning, family, &address);
}

/* The list of clients has what they take for their addresses. */
static void
listed_otherwise(void)
{
	clear();
	set(QUBESDB_CONNECTED, "", "10.137.0.16 10.0.2.15");
	set(QUBESDB_MAPPED, "10.137.0.16/visible-ip", "10.137.0.16");
	set(QUBESDB_MAPPED, "10.137.0.17/visible-ip", "10.0.2.15");
	set(QUBESDB_MAPPED, "10.137.0.18/visible-ip", "10.0.2.16");
	parse();
	CU_ASSERT(may_be_client("10.137.0.16"));
	CU_ASSERT(may_be_client("10.137.0.17"));
	CU_ASSERT(!may_be_client("10.137.0.18"));
	CU_ASSERT(!may_be_client("10.137.0.19"));
	CU_ASSERT(may_be_client("fd09::1")); /* there is no list of that family */
	set(QUBESDB_CONNECTED6, "", "fd09::2");
	parse();
	CU_ASSERT(!may_be_client("fd09::1"));
	CU_ASSERT(may_be_client("fd09::2"));
}

static void
gateway(void)
{
	clear();
	set(QUBESDB_GATEWAY, "", "10.138.1.1");
	set(QUBESDB_GATEWAY6, "", "fe80::fcff:ffff:feff:ffff");
	set(QUBESDB_VIRTUAL_DNS, "", "10.139.1.1");
	set(QUBESDB_VIRTUAL_DNS_SECOND, "", "10.139.1.2");
	parse();
	CU_ASSERT_STRING_EQUAL(said, "");
	CU_ASSERT(meaning.has_gateway);
	address_is(FAMILY_IPV4, &meaning.gateway.address[FAMILY_IPV4], "10.138.1.1");
	address_is(FAMILY_IPV6, &meaning.gateway.address[FAMILY_IPV6], "fe80::fcff:ffff:feff:ffff");
	CU_ASSERT_EQUAL(meaning.gateway.virtual_dns_count, 2);
	v4_is(meaning.gateway.virtual_dns[1], "10.139.1.2");

	clear();
	set(QUBESDB_GATEWAY, "", "here");
	set(QUBESDB_VIRTUAL_DNS_SECOND, "", "10.139.1.2");
	parse();
	CU_ASSERT(!meaning.has_gateway);
	CU_ASSERT_EQUAL(meaning.gateway.virtual_dns_count, 0);
}

static void
uplink(void)
{
	clear();
	set(QUBESDB_UPLINK_IP, "", "10.137.0.5");
	set(QUBESDB_UPLINK_NETMASK, "", "255.255.255.255");
	set(QUBESDB_UPLINK_GATEWAY, "", "10.138.2.1");
	set(QUBESDB_UPLINK_IP6, "", "fd09:24ef:4179::a89:5");
	set(QUBESDB_UPLINK_GATEWAY6, "", "fe80::1");
	set(QUBESDB_RESOLVER, "", "10.139.1.1");
	set(QUBESDB_RESOLVER_SECOND, "", "10.139.1.2");
	parse();
	CU_ASSERT_STRING_EQUAL(said, "");
	CU_ASSERT(meaning.has_uplink);
	address_is(FAMILY_IPV4, &meaning.uplink.address[FAMILY_IPV4], "10.137.0.5");
	CU_ASSERT_EQUAL(meaning.uplink.link[FAMILY_IPV4].length, 32);
	address_is(FAMILY_IPV4, &meaning.uplink.gateway[FAMILY_IPV4], "10.138.2.1");
	CU_ASSERT_EQUAL(meaning.uplink.link[FAMILY_IPV6].length, 128);
	address_is(FAMILY_IPV6, &meaning.uplink.gateway[FAMILY_IPV6], "fe80::1");
	CU_ASSERT_EQUAL(meaning.uplink.resolver_count, 2);

	/* what /net-config says of our device comes first, key by key; that of others is nothing */
	set(QUBESDB_NET_CONFIG, MAC "/ip", "192.168.7.9");
	set(QUBESDB_NET_CONFIG, MAC "/netmask", "255.255.255.0");
	set(QUBESDB_NET_CONFIG, "00:16:3e:5e:6c:0b/gateway", "192.168.7.1");
	set(QUBESDB_NET_CONFIG, "00:16:3E:5E:6C:0A/ip6", "fd00::9");
	set(QUBESDB_NET_CONFIG, "00:16:3E:5E:6C:0A/netmask6", "64");
	set(QUBESDB_NET_CONFIG, MAC "/gateway6", "");
	parse();
	address_is(FAMILY_IPV4, &meaning.uplink.address[FAMILY_IPV4], "192.168.7.9");
	CU_ASSERT_EQUAL(meaning.uplink.link[FAMILY_IPV4].length, 24);
	address_is(FAMILY_IPV4, &meaning.uplink.link[FAMILY_IPV4].address, "192.168.7.0");
	address_is(FAMILY_IPV4, &meaning.uplink.gateway[FAMILY_IPV4], "10.138.2.1");
	address_is(FAMILY_IPV6, &meaning.uplink.address[FAMILY_IPV6], "fd00::9");
	CU_ASSERT_EQUAL(meaning.uplink.link[FAMILY_IPV6].length, 64);
	address_is(FAMILY_IPV6, &meaning.uplink.gateway[FAMILY_IPV6], "fe80::1");
}

static void
netmasks(void)
{
	static const struct {
		const char *text;
		unsigned length;
		bool good;
	} masks[] = {{"255.255.255.255", 32, true}, {"255.255.255.0", 24, true},
		{"0.0.0.0", 0, true}, {"255.128.0.0", 9, true}, {"24", 24, true}, {"", 32, true},
		{"255.0.255.0", 32, false}, {"0.0.0.255", 32, false}, {"33", 32, false},
		{"x", 32, false}, {"-1", 32, false}};

	for (unsigned i = 0; i < RTE_DIM(masks); i++) {
		clear();
		set(QUBESDB_UPLINK_IP, "", "10.137.0.5");
		set(QUBESDB_UPLINK_NETMASK, "", masks[i].text);
		parse();
		CU_ASSERT_EQUAL(meaning.has_uplink, masks[i].good);
		CU_ASSERT_EQUAL(meaning.uplink.link[FAMILY_IPV4].length,
			masks[i].good ? masks[i].length : 0);
		CU_ASSERT_EQUAL(said[0] == '\0', masks[i].good);
	}
}

/* A value that is wrong leaves us with what there was, all of it. */
static void
wrong_values(void)
{
	clear();
	set(QUBESDB_GATEWAY, "", "10.138.1.1");
	set(QUBESDB_UPLINK_IP, "", "10.137.0.5");
	set(QUBESDB_UPLINK_GATEWAY, "", "10.138.2.1");
	parse();
	former = meaning;
	clear();
	set(QUBESDB_GATEWAY, "", "10.138.1.2");
	set(QUBESDB_VIRTUAL_DNS, "", "224.0.0.1");
	set(QUBESDB_UPLINK_IP, "", "10.137.0.6");
	set(QUBESDB_UPLINK_GATEWAY, "", "here");
	parse();
	CU_ASSERT(meaning.has_gateway && meaning.has_uplink);
	address_is(FAMILY_IPV4, &meaning.gateway.address[FAMILY_IPV4], "10.138.1.1");
	CU_ASSERT_EQUAL(meaning.gateway.virtual_dns_count, 0);
	address_is(FAMILY_IPV4, &meaning.uplink.address[FAMILY_IPV4], "10.137.0.5");
	address_is(FAMILY_IPV4, &meaning.uplink.gateway[FAMILY_IPV4], "10.138.2.1");
	/* what is not there is not wrong */
	clear();
	parse();
	CU_ASSERT(!meaning.has_gateway && !meaning.has_uplink);
	memset(&former, 0, sizeof(former));
}

static void
service(void)
{
	clear();
	parse();
	CU_ASSERT(!meaning.service_off);
	set(QUBESDB_SERVICE, "", "1");
	parse();
	CU_ASSERT(!meaning.service_off);
	clear();
	set(QUBESDB_SERVICE, "", "0");
	parse();
	CU_ASSERT(meaning.service_off);
	clear();
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"nothing", nothing},
		{"clients", clients},
		{"addresses that qubes take for others", mappings},
		{"addresses that qubes rightly take for theirs", own_addresses},
		{"clients that are listed by another address", listed_otherwise},
		{"our side", gateway},
		{"our uplink", uplink},
		{"netmasks", netmasks},
		{"wrong values", wrong_values},
		{"the switch", service},
	};

	return UNIT_RUN("qubesdb_settings", tests);
}
