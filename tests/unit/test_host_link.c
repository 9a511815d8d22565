/* SPDX-License-Identifier: BSD-3-Clause */
/* What is taken of our own kernel's addresses and routes, and of a resolv.conf. */
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include <libmnl/libmnl.h>

#include "conf/host_link.h"
#include "conf/resolv_conf.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define INDEX 7

static _Alignas(8) char buffer[4096];

static const struct nlmsghdr *
address_message(
	int af, unsigned index, unsigned length, uint8_t scope, uint32_t flags, const char *text)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct ifaddrmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	union address address;
	enum family family;

	message->nlmsg_type = RTM_NEWADDR;
	*header = (struct ifaddrmsg){.ifa_family = (uint8_t)af,
		.ifa_prefixlen = (uint8_t)length,
		.ifa_flags = (uint8_t)flags,
		.ifa_scope = scope,
		.ifa_index = index};
	CU_ASSERT_EQUAL(address_parse(text, &family, &address), 0);
	mnl_attr_put(message, IFA_ADDRESS, family == FAMILY_IPV4 ? 4 : 16, &address);
	mnl_attr_put_u32(message, IFA_FLAGS, flags);
	return message;
}

static const struct nlmsghdr *
route_message(
	int af, unsigned index, uint8_t length, uint32_t table, uint32_t metric, const char *text)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct rtmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	union address address;
	enum family family;

	message->nlmsg_type = RTM_NEWROUTE;
	*header = (struct rtmsg){.rtm_family = (uint8_t)af,
		.rtm_dst_len = length,
		.rtm_type = RTN_UNICAST,
		.rtm_table = RT_TABLE_UNSPEC};
	mnl_attr_put_u32(message, RTA_TABLE, table);
	mnl_attr_put_u32(message, RTA_OIF, index);
	mnl_attr_put_u32(message, RTA_PRIORITY, metric);
	if (text != NULL) {
		CU_ASSERT_EQUAL(address_parse(text, &family, &address), 0);
		mnl_attr_put(message, RTA_GATEWAY, family == FAMILY_IPV4 ? 4 : 16, &address);
	}
	return message;
}

static void
check(const struct host_link *link, enum family family, const char *prefix, const char *address,
	const char *gateway)
{
	struct live_uplink uplink = {0};
	char text[ADDRESS_TEXT_SIZE];

	host_link_settle(link, &uplink);
	CU_ASSERT_EQUAL(uplink.has[family], address != NULL);
	if (address != NULL && uplink.has[family]) {
		CU_ASSERT_STRING_EQUAL(
			address_format(text, family, &uplink.address[family]), address);
		CU_ASSERT_STRING_EQUAL(prefix_format(text, family, &uplink.link[family]), prefix);
	}
	CU_ASSERT_EQUAL(uplink.has_gateway[family], gateway != NULL);
	if (gateway != NULL && uplink.has_gateway[family])
		CU_ASSERT_STRING_EQUAL(
			address_format(text, family, &uplink.gateway[family]), gateway);
}

static void
test_addresses(void)
{
	struct host_link link = {.ifindex = INDEX};

	/* of another interface, of the link only, made for privacy, unusable */
	host_link_message(&link, address_message(AF_INET, 8, 24, 0, 0, "192.0.2.1"));
	host_link_message(
		&link, address_message(AF_INET, INDEX, 24, RT_SCOPE_LINK, 0, "192.0.2.2"));
	host_link_message(
		&link, address_message(AF_INET, INDEX, 24, 0, IFA_F_SECONDARY, "192.0.2.3"));
	host_link_message(&link, address_message(AF_INET, INDEX, 8, 0, 0, "127.0.0.1"));
	host_link_message(&link, address_message(AF_INET, INDEX, 0, 0, 0, "192.0.2.4"));
	host_link_message(&link, address_message(AF_INET, INDEX, 33, 0, 0, "192.0.2.4"));
	host_link_message(
		&link, address_message(AF_INET6, INDEX, 64, 0, IFA_F_TENTATIVE, "2001:db8::1"));
	host_link_message(
		&link, address_message(AF_INET6, INDEX, 64, 0, IFA_F_DADFAILED, "2001:db8::2"));
	host_link_message(
		&link, address_message(AF_INET6, INDEX, 64, 0, IFA_F_TEMPORARY, "2001:db8::3"));
	host_link_message(&link, address_message(AF_INET6, INDEX, 64, 0, 0, "fe80::4"));
	check(&link, FAMILY_IPV4, NULL, NULL, NULL);
	check(&link, FAMILY_IPV6, NULL, NULL, NULL);
	/* one that is about to go is better than none, and worse than the next; then the first */
	host_link_message(
		&link, address_message(AF_INET6, INDEX, 64, 0, IFA_F_DEPRECATED, "2001:db8::5"));
	check(&link, FAMILY_IPV6, "2001:db8::/64", "2001:db8::5", NULL);
	host_link_message(&link, address_message(AF_INET6, INDEX, 60, 0, 0, "2001:db8:0:1f::6"));
	host_link_message(&link, address_message(AF_INET6, INDEX, 64, 0, 0, "2001:db8::7"));
	host_link_message(
		&link, address_message(AF_INET6, INDEX, 64, 0, IFA_F_DEPRECATED, "2001:db8::8"));
	check(&link, FAMILY_IPV6, "2001:db8:0:10::/60", "2001:db8:0:1f::6", NULL);
	host_link_message(&link, address_message(AF_INET, INDEX, 21, 0, 0, "192.0.15.77"));
	check(&link, FAMILY_IPV4, "192.0.8.0/21", "192.0.15.77", NULL);
}

static void
test_routes(void)
{
	struct host_link link = {.ifindex = INDEX};

	host_link_message(&link, address_message(AF_INET, INDEX, 24, 0, 0, "192.0.2.9"));
	host_link_message(&link, address_message(AF_INET6, INDEX, 64, 0, 0, "2001:db8::9"));
	/* of another interface, to a part of the world, in another table, without a router */
	host_link_message(&link, route_message(AF_INET, 8, 0, RT_TABLE_MAIN, 0, "192.0.2.1"));
	host_link_message(&link, route_message(AF_INET, INDEX, 8, RT_TABLE_MAIN, 0, "192.0.2.2"));
	host_link_message(&link, route_message(AF_INET, INDEX, 0, 1234, 0, "192.0.2.3"));
	host_link_message(&link, route_message(AF_INET, INDEX, 0, RT_TABLE_MAIN, 0, NULL));
	host_link_message(&link, route_message(AF_INET, INDEX, 0, RT_TABLE_MAIN, 0, "224.0.0.1"));
	check(&link, FAMILY_IPV4, "192.0.2.0/24", "192.0.2.9", NULL);
	host_link_message(&link, route_message(AF_INET, INDEX, 0, RT_TABLE_MAIN, 50, "192.0.2.5"));
	host_link_message(&link, route_message(AF_INET, INDEX, 0, RT_TABLE_MAIN, 20, "192.0.2.6"));
	host_link_message(&link, route_message(AF_INET, INDEX, 0, RT_TABLE_MAIN, 90, "192.0.2.7"));
	check(&link, FAMILY_IPV4, "192.0.2.0/24", "192.0.2.9", "192.0.2.6");
	host_link_message(&link, route_message(AF_INET6, INDEX, 0, RT_TABLE_MAIN, 1024, "fe80::1"));
	check(&link, FAMILY_IPV6, "2001:db8::/64", "2001:db8::9", "fe80::1");
	/* a gateway without an address leads nowhere, and one that is ourselves */
	link = (struct host_link){.ifindex = INDEX};
	host_link_message(&link, route_message(AF_INET, INDEX, 0, RT_TABLE_MAIN, 0, "192.0.2.9"));
	check(&link, FAMILY_IPV4, NULL, NULL, NULL);
	host_link_message(&link, address_message(AF_INET, INDEX, 24, 0, 0, "192.0.2.9"));
	check(&link, FAMILY_IPV4, "192.0.2.0/24", "192.0.2.9", NULL);
}

/* Whatever a message says of its own length, nothing beyond it is read, and nothing is found. */
static void
test_malformed(void)
{
	struct host_link link = {.ifindex = INDEX};
	struct nlmsghdr *message;
	struct nlattr *attribute;

	for (uint32_t length = NLMSG_HDRLEN; length < 64; length++) {
		message = (struct nlmsghdr *)(uintptr_t)address_message(
			AF_INET, INDEX, 24, 0, 0, "192.0.2.9");
		if (length >= message->nlmsg_len)
			break;
		message->nlmsg_len = length;
		attribute =
			(struct nlattr *)(void *)(buffer + NLMSG_HDRLEN + sizeof(struct ifaddrmsg));
		attribute->nla_len = length % 2 == 0 ? UINT16_MAX : 3;
		host_link_message(&link, message);
		message->nlmsg_type = RTM_NEWROUTE;
		host_link_message(&link, message);
		CU_ASSERT(!link.has_address[FAMILY_IPV4]);
	}
	/* an address of a wrong size, and of no family */
	message = mnl_nlmsg_put_header(buffer);
	message->nlmsg_type = RTM_NEWADDR;
	*(struct ifaddrmsg *)mnl_nlmsg_put_extra_header(message, sizeof(struct ifaddrmsg)) =
		(struct ifaddrmsg){.ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = INDEX};
	mnl_attr_put(message, IFA_ADDRESS, 3, "abc");
	host_link_message(&link, message);
	host_link_message(&link, address_message(AF_PACKET, INDEX, 24, 0, 0, "192.0.2.9"));
	CU_ASSERT(!link.has_address[FAMILY_IPV4] && !link.has_address[FAMILY_IPV6]);
}

static void
resolvers(const char *text, const char *expected)
{
	rte_be32_t list[RESOLVERS_MAX];
	char found[RESOLVERS_MAX * ADDRESS_TEXT_SIZE] = "", one[ADDRESS_TEXT_SIZE];
	unsigned count = resolv_conf_parse_text(text, strlen(text), list);

	for (unsigned i = 0; i < count; i++) {
		union address address = address_v4(list[i]);

		strcat(strcat(found, i == 0 ? "" : " "),
			address_format(one, FAMILY_IPV4, &address));
	}
	if (strcmp(found, expected) != 0)
		printf("\n    \"%s\" instead of \"%s\"\n", found, expected);
	CU_ASSERT_STRING_EQUAL(found, expected);
}

static void
test_resolvers(void)
{
	resolvers("", "");
	resolvers("nameserver 192.0.2.1", "192.0.2.1");
	resolvers("# by hand\nsearch example.org\nnameserver\t192.0.2.1  \nnameserver 192.0.2.2\r\n"
		  "options edns0\n",
		"192.0.2.1 192.0.2.2");
	/* not beyond the uplink, not IPv4, not an address, twice, or not said */
	resolvers("nameserver 127.0.0.53\nnameserver 0.0.0.0\nnameserver 224.0.0.1\n"
		  "nameserver 2001:db8::1\nnameserver fe80::1%eth0\nnameserver resolver.test\n"
		  "nameserver\nnameserver \nnameservers 192.0.2.7\n nameserver 192.0.2.8\n"
		  "#nameserver 192.0.2.9\nnameserver 192.0.2.1 # the router\nnameserver 192.0.2.1\n"
		  "nameserver 192.0.2.1.1\nnameserver "
		  "11111111111111111111111111111111111111111111111111111111111111111111111111\n",
		"192.0.2.1");
	resolvers("nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n"
		  "nameserver 10.0.0.4\nnameserver 10.0.0.5\nnameserver 10.0.0.6\n"
		  "nameserver 10.0.0.7\nnameserver 10.0.0.8\nnameserver 10.0.0.9\n",
		"10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.7 10.0.0.8");
}

static void
test_resolver_files(void)
{
	char path[] = "/tmp/sluice-resolv-XXXXXX";
	rte_be32_t list[RESOLVERS_MAX];
	int fd = mkstemp(path);
	FILE *file = fdopen(fd, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	fputs("nameserver 192.0.2.1\n", file);
	for (unsigned i = 0; i < 2 * RESOLV_CONF_BYTES_MAX / 8; i++)
		fputs("# line\n\n", file);
	fputs("nameserver 192.0.2.2\n", file); /* too far behind */
	fclose(file);
	CU_ASSERT_EQUAL(resolv_conf_read(path, list), 1);
	remove(path);
	CU_ASSERT_EQUAL(resolv_conf_read(path, list), -ENOENT);
	CU_ASSERT(resolv_conf_read("/dev/zero", list) < 0);
	CU_ASSERT(resolv_conf_read("/", list) < 0);
}

/* The real kernel, and an interface that everybody has, with an address that counts for nothing. */
static void
test_kernel(void)
{
	struct live_uplink uplink = {0};

	CU_ASSERT_EQUAL(host_link_read("lo", &uplink), 0);
	CU_ASSERT(!uplink.has[FAMILY_IPV4] && !uplink.has_gateway[FAMILY_IPV4]);
	CU_ASSERT_EQUAL(host_link_read("no-such-thing0", &uplink), 0);
	CU_ASSERT(!uplink.has[FAMILY_IPV4]);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"addresses", test_addresses},
		{"routes", test_routes},
		{"malformed messages", test_malformed},
		{"resolvers", test_resolvers},
		{"files with resolvers", test_resolver_files},
		{"asking the kernel", test_kernel},
	};

	return UNIT_RUN("host_link", tests);
}
