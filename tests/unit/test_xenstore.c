/* SPDX-License-Identifier: BSD-3-Clause */
/* What xenstore says of a vif: good values, bad ones with the words for them, and hostile ones. */
#include <string.h>

#include "conf/xenstore.h"
#include "tests/unit/unit.h"

#define FRONTEND "/local/domain/5/device/vif/1"

/* Values of vif5.1 as libxl and netback leave them. */
static struct xenstore_value values[XENSTORE_KEY_COUNT];
static struct xenstore_vif vif;

static void
set(enum xenstore_key key, const char *text)
{
	values[key] = (struct xenstore_value){text, text != NULL ? strlen(text) : 0};
}

static void
begin(void)
{
	memset(values, 0, sizeof(values));
	set(XENSTORE_KEY_STATE, "2");
	set(XENSTORE_KEY_ONLINE, "1");
	set(XENSTORE_KEY_FRONTEND_ID, "5");
	set(XENSTORE_KEY_FRONTEND, FRONTEND);
	set(XENSTORE_KEY_TYPE, "vif");
	set(XENSTORE_KEY_HANDLE, "1");
	set(XENSTORE_KEY_MAC, "00:16:3e:5e:6c:00");
	set(XENSTORE_KEY_IP, "10.137.0.16 fd09:24ef:4179::a89:10");
}

static const char *
parse(void)
{
	xenstore_vif_parse(5, 1, values, &vif);
	return vif.error;
}

static void
test_good(void)
{
	static const uint8_t mac[6] = {0x00, 0x16, 0x3e, 0x5e, 0x6c, 0x00};
	char text[ADDRESS_TEXT_SIZE];

	begin();
	CU_ASSERT_STRING_EQUAL(parse(), "");
	CU_ASSERT_EQUAL(vif.domid, 5);
	CU_ASSERT_EQUAL(vif.devid, 1);
	CU_ASSERT_EQUAL(vif.state, XENBUS_INIT_WAIT);
	CU_ASSERT(vif.online);
	CU_ASSERT_EQUAL(vif.hotplug, HOTPLUG_NONE);
	CU_ASSERT_EQUAL(memcmp(vif.mac, mac, sizeof(mac)), 0);
	CU_ASSERT_STRING_EQUAL(
		address_format(text, FAMILY_IPV4, &vif.address[FAMILY_IPV4]), "10.137.0.16");
	CU_ASSERT_STRING_EQUAL(address_format(text, FAMILY_IPV6, &vif.address[FAMILY_IPV6]),
		"fd09:24ef:4179::a89:10");
	CU_ASSERT(vif.has[FAMILY_IPV4] && vif.has[FAMILY_IPV6]);
	CU_ASSERT_STRING_EQUAL(vif.frontend, FRONTEND);
	CU_ASSERT(!vif.ioemu);
	/* without what may be missing */
	set(XENSTORE_KEY_ONLINE, NULL);
	set(XENSTORE_KEY_TYPE, NULL);
	set(XENSTORE_KEY_HANDLE, NULL);
	CU_ASSERT_STRING_EQUAL(parse(), "");
	CU_ASSERT(vif.online);
	/* and with what usually is */
	set(XENSTORE_KEY_VIFNAME, "vif5.1");
	set(XENSTORE_KEY_TYPE, "vif_ioemu");
	set(XENSTORE_KEY_ONLINE, "0");
	set(XENSTORE_KEY_HOTPLUG_STATUS, "connected");
	CU_ASSERT_STRING_EQUAL(parse(), "");
	CU_ASSERT(vif.ioemu && !vif.online);
	CU_ASSERT_EQUAL(vif.hotplug, HOTPLUG_CONNECTED);
	set(XENSTORE_KEY_HOTPLUG_STATUS, "error");
	(void)parse();
	CU_ASSERT_EQUAL(vif.hotplug, HOTPLUG_OTHER);
}

static void
test_addresses(void)
{
	begin();
	set(XENSTORE_KEY_IP, "10.137.0.16");
	CU_ASSERT_STRING_EQUAL(parse(), "");
	CU_ASSERT(vif.has[FAMILY_IPV4] && !vif.has[FAMILY_IPV6]);
	set(XENSTORE_KEY_IP, "fd09::10");
	CU_ASSERT_STRING_EQUAL(parse(), "");
	CU_ASSERT(!vif.has[FAMILY_IPV4] && vif.has[FAMILY_IPV6]);
	set(XENSTORE_KEY_IP, " 10.137.0.16  fd09::10 ");
	CU_ASSERT_STRING_EQUAL(parse(), "");
	CU_ASSERT(vif.has[FAMILY_IPV4] && vif.has[FAMILY_IPV6]);
	/* the longest there is */
	set(XENSTORE_KEY_IP, "255.255.255.255 0000:0000:0000:0000:0000:ffff:255.255.255.255");
	CU_ASSERT_STRING_EQUAL(parse(),
		"ip: \"255.255.255.255 0000:0000:0000:0000:0000:ffff:25\" is "
		"wrong: \"255.255.255.255\" is a broadcast or reserved "
		"address");
}

/* One bad value; what is said of it, whole or its beginning. */
static const struct {
	enum xenstore_key key;
	const char *text;
	const char *error;
} bad_values[] = {
	{XENSTORE_KEY_STATE, NULL, "state: is missing"},
	{XENSTORE_KEY_STATE, "", "state: \"\" is no state of XenBus; allowed: 1 to 8"},
	{XENSTORE_KEY_STATE, "0", "state: \"0\" is no state of XenBus; allowed: 1 to 8"},
	{XENSTORE_KEY_STATE, "9", "state: \"9\" is no state of XenBus; allowed: 1 to 8"},
	{XENSTORE_KEY_STATE, "22", "state: \"22\" is longer than 1 bytes"},
	{XENSTORE_KEY_ONLINE, "2", "online: \"2\" is neither 0 nor 1"},
	{XENSTORE_KEY_FRONTEND_ID, NULL, "frontend-id: is missing"},
	{XENSTORE_KEY_FRONTEND_ID, "6",
		"frontend-id: \"6\" is not the domain whose vif this is, which is 5"},
	{XENSTORE_KEY_FRONTEND_ID, "05",
		"frontend-id: \"05\" is not the domain whose vif this is, which is 5"},
	{XENSTORE_KEY_FRONTEND_ID, "-5",
		"frontend-id: \"-5\" is not the domain whose vif this is, which is 5"},
	{XENSTORE_KEY_FRONTEND, NULL, "frontend: is missing"},
	{XENSTORE_KEY_FRONTEND, "", "frontend: \"\" is no absolute path"},
	{XENSTORE_KEY_FRONTEND, "local", "frontend: \"local\" is no absolute path"},
	{XENSTORE_KEY_TYPE, "bridge", "type: \"bridge\" is not known; allowed: vif or vif_ioemu"},
	{XENSTORE_KEY_TYPE, "vif_ioemu2", "type: \"vif_ioemu2\" is longer than 9 bytes"},
	{XENSTORE_KEY_HANDLE, "0", "handle: \"0\" is not the number of the vif, which is 1"},
	{XENSTORE_KEY_VIFNAME, "eth0",
		"vifname: \"eth0\" is another name than that of the vif: vif5.1"},
	{XENSTORE_KEY_VIFNAME, "vif5.1-emu",
		"vifname: \"vif5.1-emu\" is another name than that of the vif: vif5.1"},
	{XENSTORE_KEY_VIFNAME, "../../etc/passwd", "vifname: \"../../etc/passwd\" is longer than"},
	{XENSTORE_KEY_MAC, NULL, "mac: is missing"},
	{XENSTORE_KEY_MAC, "", "mac: \"\" is not a MAC"},
	{XENSTORE_KEY_MAC, "00:16:3e:5e:6c", "mac: \"00:16:3e:5e:6c\" is not a MAC"},
	{XENSTORE_KEY_MAC, "00-16-3e-5e-6c-00", "mac: \"00-16-3e-5e-6c-00\" is not a MAC"},
	{XENSTORE_KEY_MAC, "ff:ff:ff:ff:ff:ff", "mac: \"ff:ff:ff:ff:ff:ff\" is a multicast MAC"},
	{XENSTORE_KEY_MAC, "00:00:00:00:00:00", "mac: \"00:00:00:00:00:00\" is no station's MAC"},
	{XENSTORE_KEY_MAC, "00:16:3e:5e:6c:00:", "mac: \"00:16:3e:5e:6c:00:\" is longer than 17"},
	{XENSTORE_KEY_IP, NULL, "ip: is missing"},
	{XENSTORE_KEY_IP, "", "ip: \"\" holds no address"},
	{XENSTORE_KEY_IP, "  ", "ip: \"  \" holds no address"},
	{XENSTORE_KEY_IP, "10.137.0.16/32",
		"ip: \"10.137.0.16/32\" is wrong: \"10.137.0.16/32\" has a prefix length"},
	{XENSTORE_KEY_IP, "10.137.0.16 10.137.0.17",
		"ip: \"10.137.0.16 10.137.0.17\" is no list of at most one IPv4 and then one IPv6"},
	{XENSTORE_KEY_IP, "fd09::1 10.137.0.16",
		"ip: \"fd09::1 10.137.0.16\" is no list of at most one IPv4 and then one IPv6"},
	{XENSTORE_KEY_IP, "fd09::1 fd09::2", "ip: \"fd09::1 fd09::2\" is no list of at most"},
	{XENSTORE_KEY_IP, "fe80::1", "ip: \"fe80::1\" is wrong: \"fe80::1\" is a link-local"},
	{XENSTORE_KEY_IP, "127.0.0.1", "ip: \"127.0.0.1\" is wrong: \"127.0.0.1\" is a loopback"},
	{XENSTORE_KEY_IP, "224.0.0.1", "ip: \"224.0.0.1\" is wrong: \"224.0.0.1\" is a multicast"},
	{XENSTORE_KEY_IP, "0.0.0.0", "ip: \"0.0.0.0\" is wrong: \"0.0.0.0\" is the unspecified"},
	{XENSTORE_KEY_IP, "10.137.0.016", "ip: \"10.137.0.016\" is wrong: \"10.137.0.016\" is not"},
	{XENSTORE_KEY_IP, "a\nb\x1b[31m\xff", "ip: \"a?b?[31m?\" is wrong: \"a?b?[31m?\" is not"},
};

static void
test_bad(void)
{
	static const struct xenstore_vif nothing;

	for (size_t i = 0; i < sizeof(bad_values) / sizeof(bad_values[0]); i++) {
		const char *expected = bad_values[i].error;

		begin();
		set(bad_values[i].key, bad_values[i].text);
		(void)parse();
		if (strncmp(vif.error, expected, strlen(expected)) != 0) {
			printf("\n  expected %s\n  got      %s\n", expected, vif.error);
			CU_FAIL("wrong words");
		}
		/* nothing of the good values is left to be used */
		CU_ASSERT_EQUAL(memcmp(vif.has, nothing.has, sizeof(vif.has)), 0);
		CU_ASSERT_EQUAL(memcmp(vif.mac, nothing.mac, sizeof(vif.mac)), 0);
		CU_ASSERT_EQUAL(memcmp(vif.address, nothing.address, sizeof(vif.address)), 0);
		CU_ASSERT_EQUAL(vif.frontend[0], '\0');
		CU_ASSERT_EQUAL(vif.domid, 5);
		if (bad_values[i].key != XENSTORE_KEY_STATE)
			CU_ASSERT_EQUAL(vif.state, XENBUS_INIT_WAIT);
	}
}

static void
test_several_bad(void)
{
	begin();
	set(XENSTORE_KEY_IP, "x");
	set(XENSTORE_KEY_MAC, "y");
	set(XENSTORE_KEY_STATE, "5");
	CU_ASSERT_STRING_EQUAL(parse(), "mac: \"y\" is not a MAC");
	CU_ASSERT_EQUAL(vif.state, XENBUS_CLOSING);
}

/* Lengths count, not zeroes; and nothing behind them is looked at. */
static void
test_lengths(void)
{
	static char large[4096];

	begin();
	values[XENSTORE_KEY_MAC] = (struct xenstore_value){"00:16:3e:5e:6c:00ffff", 17};
	CU_ASSERT_STRING_EQUAL(parse(), "");
	values[XENSTORE_KEY_IP] = (struct xenstore_value){"10.137.0.16\0fd09::1", 19};
	CU_ASSERT_STRING_EQUAL(parse(), "ip: \"10.137.0.16\" holds a zero byte");
	for (unsigned key = 0; key < XENSTORE_KEY_COUNT; key++) {
		begin();
		memset(large, 'x', sizeof(large));
		values[key] = (struct xenstore_value){large, sizeof(large)};
		CU_ASSERT_PTR_NOT_NULL(strstr(parse(), "is longer than"));
		CU_ASSERT_EQUAL(strncmp(vif.error, xenstore_keys[key].name,
					strlen(xenstore_keys[key].name)),
			0);
	}
}

static void
test_same(void)
{
	struct xenstore_vif first;

	begin();
	(void)parse();
	first = vif;
	/* its life is not its name */
	set(XENSTORE_KEY_STATE, "4");
	set(XENSTORE_KEY_ONLINE, "0");
	set(XENSTORE_KEY_HOTPLUG_STATUS, "connected");
	(void)parse();
	CU_ASSERT(xenstore_vif_same(&first, &vif));
	for (unsigned i = 0; i < 5; i++) {
		begin();
		if (i == 0)
			set(XENSTORE_KEY_MAC, "00:16:3e:5e:6c:01");
		else if (i == 1)
			set(XENSTORE_KEY_IP, "10.137.0.17 fd09:24ef:4179::a89:10");
		else if (i == 2)
			set(XENSTORE_KEY_IP, "10.137.0.16");
		else if (i == 3)
			set(XENSTORE_KEY_FRONTEND, "/local/domain/5/device/vif/2");
		else
			set(XENSTORE_KEY_MAC, NULL);
		(void)parse();
		CU_ASSERT(!xenstore_vif_same(&first, &vif));
	}
}

static void
test_states(void)
{
	static const bool up[] = {false, false, true, true, true, false, false, true, true};

	for (unsigned state = 0; state < sizeof(up) / sizeof(up[0]); state++)
		CU_ASSERT_EQUAL(xenbus_state_is_up(state), up[state]);
}

static void
test_paths(void)
{
	static const char *const all[] = {"backend/vif", "backend/vif/", "backend/vif/5",
		"backend/vif/5/", "backend", "", "backend/vif/x/0", "backend/vif/05/0",
		"backend/vif/32753/0", "backend/vif/5/65536", "backend/vif/5/00", "backend/vif//0",
		"backend/vif/-1/0", "backend/vif/5/0x", "backend/vif/99999999999/0",
		"backend/vbd/5/0", "/backend/vif/5/0"};
	char path[XENSTORE_PATH_SIZE], ifname[16];
	unsigned domid, devid;

	CU_ASSERT(xenstore_path_parse("backend/vif/5/0", &domid, &devid));
	CU_ASSERT(domid == 5 && devid == 0);
	CU_ASSERT(xenstore_path_parse("backend/vif/32752/65535/state/x", &domid, &devid));
	CU_ASSERT(domid == 32752 && devid == 65535);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		CU_ASSERT(!xenstore_path_parse(all[i], &domid, &devid));
	for (unsigned key = 0; key < XENSTORE_KEY_COUNT; key++) {
		xenstore_path_format(path, 32752, 65535, xenstore_keys[key].name);
		CU_ASSERT_STRING_EQUAL(strrchr(path, '/') + 1, xenstore_keys[key].name);
		CU_ASSERT(xenstore_path_parse(path, &domid, &devid));
	}
	xenstore_path_format(path, 5, 0, NULL);
	CU_ASSERT_STRING_EQUAL(path, "backend/vif/5/0");
	xenstore_ifname_format(ifname, 32752, 65535);
	CU_ASSERT_STRING_EQUAL(ifname, "vif32752.65535");
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"a good vif", test_good},
		{"addresses", test_addresses},
		{"bad values", test_bad},
		{"several bad values", test_several_bad},
		{"lengths", test_lengths},
		{"the same vif", test_same},
		{"states", test_states},
		{"paths", test_paths},
	};

	return UNIT_RUN("xenstore", tests);
}
