/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses and prefixes as text and back. */
#include "classifier/address.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>

static void
test_address_parse(void)
{
	union address address;
	enum family family;

	CU_ASSERT_EQUAL(address_parse("10.137.0.16", &family, &address), 0);
	CU_ASSERT_EQUAL(family, FAMILY_IPV4);
	CU_ASSERT_EQUAL(address.v4, inet_addr("10.137.0.16"));
	/* The rest of the union must be zero, or two equal addresses would differ. */
	CU_ASSERT_EQUAL(address.word[1], 0);
	CU_ASSERT_EQUAL(address.half[1], 0);

	CU_ASSERT_EQUAL(address_parse("fd09:24ef:4179::a89:10", &family, &address), 0);
	CU_ASSERT_EQUAL(family, FAMILY_IPV6);
	CU_ASSERT_EQUAL(address.v6[0], 0xfd);
	CU_ASSERT_EQUAL(address.v6[15], 0x10);
}

static void
test_address_parse_refuses(void)
{
	static const char *const bad[] = {"", " ", "10.0.0", "10.0.0.256", "10.0.0.1.2",
		"10.0.0.1 ", " 10.0.0.1", "10.0.0.1/24", "0x0a000001", "010.0.0.1", ":",
		":::", "fe80::1%eth0", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::", "host",
		"[::1]", "+1.2.3.4"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		union address address = {.word = {1, 2, 3, 4}};
		union address before = address;
		enum family family;

		CU_ASSERT_EQUAL(address_parse(bad[i], &family, &address), -EINVAL);
		CU_ASSERT(address_equal(&address, &before));
	}
}

static void
expect_prefix(const char *text, const char *expected)
{
	char written[ADDRESS_TEXT_SIZE];
	struct prefix prefix;
	enum family family;

	CU_ASSERT_EQUAL_FATAL(prefix_parse(text, &family, &prefix), 0);
	prefix_format(written, family, &prefix);
	CU_ASSERT_STRING_EQUAL(written, expected);
}

static void
test_prefix_masks_host_bits(void)
{
	expect_prefix("4.4.4.4/24", "4.4.4.0/24");
	expect_prefix("10.255.255.255/9", "10.128.0.0/9");
	expect_prefix("255.255.255.255/0", "0.0.0.0/0");
	expect_prefix("255.255.255.255/31", "255.255.255.254/31");
	expect_prefix("1.2.3.4/32", "1.2.3.4/32");
	expect_prefix("1.2.3.4", "1.2.3.4/32");
	expect_prefix("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/1", "8000::/1");
	expect_prefix(
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/65", "ffff:ffff:ffff:ffff:8000::/65");
	expect_prefix("2001:db8::1", "2001:db8::1/128");
	expect_prefix("::/0", "::/0");
}

static void
test_prefix_parse_refuses(void)
{
	static const struct {
		const char *text;
		int error;
	} bad[] = {
		{"10.0.0.0/33", -ERANGE},
		{"10.0.0.0/128", -ERANGE},
		{"10.0.0.0/4294967320", -ERANGE}, /* 24 in 32 bits */
		{"::/129", -ERANGE},
		{"10.0.0.0/", -EINVAL},
		{"10.0.0.0/-1", -EINVAL},
		{"10.0.0.0/+8", -EINVAL},
		{"10.0.0.0/ 8", -EINVAL},
		{"10.0.0.0/8 ", -EINVAL},
		{"10.0.0.0/8/8", -EINVAL},
		{"10.0.0.0/255.0.0.0", -EINVAL},
		{"/8", -EINVAL},
		{"", -EINVAL},
		{"10.0.0/8", -EINVAL},
		{"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/8", -EINVAL},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct prefix prefix;
		enum family family;

		CU_ASSERT_EQUAL(prefix_parse(bad[i].text, &family, &prefix), bad[i].error);
	}
}

static bool
contains(const char *prefix_text, const char *address_text)
{
	struct prefix prefix;
	union address address;
	enum family family;

	CU_ASSERT_EQUAL_FATAL(prefix_parse(prefix_text, &family, &prefix), 0);
	CU_ASSERT_EQUAL_FATAL(address_parse(address_text, &family, &address), 0);
	return prefix_contains(&prefix, &address);
}

static void
test_prefix_contains(void)
{
	CU_ASSERT_TRUE(contains("10.128.0.0/9", "10.128.0.0"));
	CU_ASSERT_TRUE(contains("10.128.0.0/9", "10.255.255.255"));
	CU_ASSERT_FALSE(contains("10.128.0.0/9", "10.127.255.255"));
	CU_ASSERT_FALSE(contains("10.128.0.0/9", "11.0.0.0"));
	CU_ASSERT_TRUE(contains("0.0.0.0/0", "203.0.113.9"));
	CU_ASSERT_TRUE(contains("192.0.2.7/32", "192.0.2.7"));
	CU_ASSERT_FALSE(contains("192.0.2.7/32", "192.0.2.6"));
	CU_ASSERT_TRUE(contains("2001:db8::/33", "2001:db8:7fff::1"));
	CU_ASSERT_FALSE(contains("2001:db8::/33", "2001:db8:8000::1"));
	CU_ASSERT_TRUE(contains("::/0", "2001:db8::1"));
	CU_ASSERT_FALSE(contains("2001:db8::1/128", "2001:db8::"));
}

static void
test_address_format(void)
{
	char text[ADDRESS_TEXT_SIZE];
	union address address = address_v4(inet_addr("198.51.100.7"));

	CU_ASSERT_STRING_EQUAL(address_format(text, FAMILY_IPV4, &address), "198.51.100.7");
	memset(&address, 0xff, sizeof(address));
	CU_ASSERT_STRING_EQUAL(address_format(text, FAMILY_IPV6, &address),
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	address = (union address){0};
	CU_ASSERT_TRUE(address_is_zero(&address));
	CU_ASSERT_STRING_EQUAL(address_format(text, FAMILY_IPV6, &address), "::");
	address.v6[15] = 1;
	CU_ASSERT_FALSE(address_is_zero(&address));
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"an address parses into a zero-filled union", test_address_parse},
		{"text that is no address is refused", test_address_parse_refuses},
		{"host bits of a prefix are masked", test_prefix_masks_host_bits},
		{"text that is no prefix is refused", test_prefix_parse_refuses},
		{"a prefix contains what it should", test_prefix_contains},
		{"an address is written as people write it", test_address_format},
	};

	return UNIT_RUN("address", tests);
}
