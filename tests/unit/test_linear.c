/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reference matcher, held to expectations written by hand: one row is one rule, one packet and
 * whether they match. What the compiled classifier is worth rests on this file.
 */
#include "classifier/linear.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>

#define MATCH true
#define MISS false

/* A rule as the row writes it, with its prefix as text. */
struct rule_text {
	const char *prefix; /* NULL = any destination */
	bool name;          /* a dsthost instead */
	enum rule_protocol protocol;
	bool has_ports;
	uint16_t port_low, port_high;
	bool has_icmp_type;
	uint8_t icmp_type;
	bool dns;
};

struct packet_text {
	const char *destination;
	uint8_t protocol;
	uint16_t port;
	uint8_t icmp_type;
	bool dns;
};

#define PORTS(low, high) .has_ports = true, .port_low = (low), .port_high = (high)
#define TO(address, number, to_port) \
	.destination = (address), .protocol = (number), .port = (to_port)
#define TYPE(type) .has_icmp_type = true, .icmp_type = (type)

/* conditions that may each fail alone */
#define WEB .prefix = "10.0.0.0/8", .protocol = RULE_TCP, PORTS(80, 81)

/* clang-format off */
static const struct row {
	struct rule_text rule;
	struct packet_text packet;
	bool expected;
} rows[] = {
	/* no condition: everything */
	{{0}, {TO("8.8.8.8", IPPROTO_TCP, 443)}, MATCH},
	{{0}, {TO("2001:db8::1", IPPROTO_UDP, 0)}, MATCH},
	{{0}, {TO("0.0.0.0", 0, 0)}, MATCH},
	{{0}, {TO("8.8.8.8", IPPROTO_GRE, 0)}, MATCH},
	/* IPv4 prefixes and their edges */
	{{.prefix = "10.1.2.3/32"}, {TO("10.1.2.3", IPPROTO_TCP, 1)}, MATCH},
	{{.prefix = "10.1.2.3/32"}, {TO("10.1.2.2", IPPROTO_TCP, 1)}, MISS},
	{{.prefix = "10.1.2.3/32"}, {TO("10.1.2.4", IPPROTO_TCP, 1)}, MISS},
	{{.prefix = "10.1.2.0/24"}, {TO("10.1.2.0", IPPROTO_TCP, 1)}, MATCH},
	{{.prefix = "10.1.2.0/24"}, {TO("10.1.2.255", IPPROTO_TCP, 1)}, MATCH},
	{{.prefix = "10.1.2.0/24"}, {TO("10.1.3.0", IPPROTO_TCP, 1)}, MISS},
	{{.prefix = "10.1.2.0/24"}, {TO("10.1.1.255", IPPROTO_TCP, 1)}, MISS},
	{{.prefix = "10.1.2.4/31"}, {TO("10.1.2.5", IPPROTO_TCP, 1)}, MATCH},
	{{.prefix = "10.1.2.4/31"}, {TO("10.1.2.6", IPPROTO_TCP, 1)}, MISS},
	{{.prefix = "128.0.0.0/1"}, {TO("255.255.255.255", IPPROTO_TCP, 1)}, MATCH},
	{{.prefix = "128.0.0.0/1"}, {TO("127.255.255.255", IPPROTO_TCP, 1)}, MISS},
	{{.prefix = "0.0.0.0/0"}, {TO("203.0.113.9", IPPROTO_TCP, 1)}, MATCH},
	/* IPv6 prefixes and their edges */
	{{.prefix = "2001:db8::1/128"}, {TO("2001:db8::1", IPPROTO_TCP, 1)}, MATCH},
	{{.prefix = "2001:db8::1/128"}, {TO("2001:db8::", IPPROTO_TCP, 1)}, MISS},
	{{.prefix = "2001:db8::/32"}, {TO("2001:db8:ffff:ffff:ffff::ffff", IPPROTO_TCP, 1)}, MATCH},
	{{.prefix = "2001:db8::/32"}, {TO("2001:db9::", IPPROTO_TCP, 1)}, MISS},
	{{.prefix = "2001:db8::/65"}, {TO("2001:db8::7fff:ffff:ffff:ffff", IPPROTO_TCP, 1)}, MATCH},
	{{.prefix = "2001:db8::/65"}, {TO("2001:db8::8000:0:0:0", IPPROTO_TCP, 1)}, MISS},
	{{.prefix = "::/0"}, {TO("fe80::1", IPPROTO_TCP, 1)}, MATCH},
	/* a destination is of one family */
	{{.prefix = "0.0.0.0/0"}, {TO("::", IPPROTO_TCP, 1)}, MISS},
	{{.prefix = "::/0"}, {TO("0.0.0.0", IPPROTO_TCP, 1)}, MISS},
	{{.prefix = "10.0.0.1/32"}, {TO("a00:1::", IPPROTO_TCP, 1)}, MISS},
	/* names match nothing that does not have them */
	{{.name = true}, {TO("10.1.2.3", IPPROTO_TCP, 443)}, MISS},
	{{.name = true}, {TO("2001:db8::1", IPPROTO_TCP, 443)}, MISS},
	{{.name = true}, {TO("0.0.0.0", IPPROTO_TCP, 443)}, MISS},
	/* protocols */
	{{.protocol = RULE_TCP}, {TO("8.8.8.8", IPPROTO_TCP, 443)}, MATCH},
	{{.protocol = RULE_TCP}, {TO("8.8.8.8", IPPROTO_UDP, 443)}, MISS},
	{{.protocol = RULE_TCP}, {TO("8.8.8.8", IPPROTO_SCTP, 0)}, MISS},
	{{.protocol = RULE_UDP}, {TO("8.8.8.8", IPPROTO_UDP, 443)}, MATCH},
	{{.protocol = RULE_UDP}, {TO("8.8.8.8", IPPROTO_TCP, 443)}, MISS},
	{{.protocol = RULE_ICMP}, {TO("8.8.8.8", IPPROTO_ICMP, 0), .icmp_type = 8}, MATCH},
	{{.protocol = RULE_ICMP}, {TO("8.8.8.8", IPPROTO_ICMPV6, 0), .icmp_type = 128}, MISS},
	{{.protocol = RULE_ICMP}, {TO("2001:db8::1", IPPROTO_ICMPV6, 0), .icmp_type = 128}, MATCH},
	{{.protocol = RULE_ICMP}, {TO("2001:db8::1", IPPROTO_ICMP, 0), .icmp_type = 8}, MISS},
	{{.protocol = RULE_ICMP}, {TO("8.8.8.8", IPPROTO_TCP, 8)}, MISS},
	/* ports, inclusive at both ends */
	{{.protocol = RULE_TCP, PORTS(443, 443)}, {TO("8.8.8.8", IPPROTO_TCP, 443)}, MATCH},
	{{.protocol = RULE_TCP, PORTS(443, 443)}, {TO("8.8.8.8", IPPROTO_TCP, 442)}, MISS},
	{{.protocol = RULE_TCP, PORTS(443, 443)}, {TO("8.8.8.8", IPPROTO_TCP, 444)}, MISS},
	{{.protocol = RULE_TCP, PORTS(443, 443)}, {TO("8.8.8.8", IPPROTO_UDP, 443)}, MISS},
	/* 443 with its bytes exchanged */
	{{.protocol = RULE_TCP, PORTS(443, 443)}, {TO("8.8.8.8", IPPROTO_TCP, 47873)}, MISS},
	{{.protocol = RULE_UDP, PORTS(1000, 2000)}, {TO("8.8.8.8", IPPROTO_UDP, 1000)}, MATCH},
	{{.protocol = RULE_UDP, PORTS(1000, 2000)}, {TO("8.8.8.8", IPPROTO_UDP, 2000)}, MATCH},
	{{.protocol = RULE_UDP, PORTS(1000, 2000)}, {TO("8.8.8.8", IPPROTO_UDP, 999)}, MISS},
	{{.protocol = RULE_UDP, PORTS(1000, 2000)}, {TO("8.8.8.8", IPPROTO_UDP, 2001)}, MISS},
	{{.protocol = RULE_TCP, PORTS(0, 0)}, {TO("8.8.8.8", IPPROTO_TCP, 0)}, MATCH},
	{{.protocol = RULE_TCP, PORTS(0, 0)}, {TO("8.8.8.8", IPPROTO_TCP, 1)}, MISS},
	{{.protocol = RULE_TCP, PORTS(65535, 65535)}, {TO("8.8.8.8", IPPROTO_TCP, 65535)}, MATCH},
	{{.protocol = RULE_TCP, PORTS(65535, 65535)}, {TO("8.8.8.8", IPPROTO_TCP, 0)}, MISS},
	{{.protocol = RULE_TCP, PORTS(0, 65535)}, {TO("8.8.8.8", IPPROTO_TCP, 0)}, MATCH},
	/* ICMP types */
	{{.protocol = RULE_ICMP, TYPE(8)}, {TO("8.8.8.8", IPPROTO_ICMP, 0), .icmp_type = 8}, MATCH},
	{{.protocol = RULE_ICMP, TYPE(8)}, {TO("8.8.8.8", IPPROTO_ICMP, 0), .icmp_type = 13}, MISS},
	{{.protocol = RULE_ICMP, TYPE(0)}, {TO("8.8.8.8", IPPROTO_ICMP, 0), .icmp_type = 0}, MATCH},
	{{.protocol = RULE_ICMP, TYPE(0)}, {TO("8.8.8.8", IPPROTO_ICMP, 0), .icmp_type = 8}, MISS},
	{{.protocol = RULE_ICMP, TYPE(255)}, {TO("8.8.8.8", IPPROTO_ICMP, 0), .icmp_type = 255}, MATCH},
	{{.protocol = RULE_ICMP, TYPE(128)}, {TO("fe80::1", IPPROTO_ICMPV6, 0), .icmp_type = 128}, MATCH},
	{{.protocol = RULE_ICMP, TYPE(128)}, {TO("fe80::1", IPPROTO_ICMPV6, 0), .icmp_type = 129}, MISS},
	/* specialtarget=dns */
	{{.dns = true}, {TO("192.168.50.2", IPPROTO_UDP, 53), .dns = true}, MATCH},
	{{.dns = true}, {TO("192.168.50.2", IPPROTO_TCP, 53), .dns = true}, MATCH},
	{{.dns = true}, {TO("192.168.50.2", IPPROTO_UDP, 53)}, MISS},
	{{.dns = true}, {TO("2001:db8::53", IPPROTO_UDP, 53), .dns = true}, MISS},
	{{.dns = true, .protocol = RULE_UDP}, {TO("1.1.1.1", IPPROTO_UDP, 53), .dns = true}, MATCH},
	{{.dns = true, .protocol = RULE_UDP}, {TO("1.1.1.1", IPPROTO_TCP, 53), .dns = true}, MISS},
	{{.prefix = "1.1.1.1/32", .dns = true}, {TO("1.1.1.1", IPPROTO_UDP, 53), .dns = true}, MATCH},
	{{.prefix = "1.1.1.1/32", .dns = true}, {TO("1.1.1.2", IPPROTO_UDP, 53), .dns = true}, MISS},
	{{.prefix = "1.1.1.1/32"}, {TO("1.1.1.1", IPPROTO_UDP, 53), .dns = true}, MATCH},
	/* all conditions at once */
	{{WEB}, {TO("10.9.9.9", IPPROTO_TCP, 81)}, MATCH},
	{{WEB}, {TO("11.9.9.9", IPPROTO_TCP, 81)}, MISS},
	{{WEB}, {TO("10.9.9.9", IPPROTO_UDP, 81)}, MISS},
	{{WEB}, {TO("10.9.9.9", IPPROTO_TCP, 82)}, MISS},
};
/* clang-format on */

static struct rule
rule_read(const struct rule_text *text)
{
	struct rule rule = {
		.action = ACTION_ACCEPT,
		.destination = text->name ? DESTINATION_NAME : DESTINATION_ANY,
		.protocol = text->protocol,
		.has_ports = text->has_ports,
		.port_low = text->port_low,
		.port_high = text->port_high,
		.has_icmp_type = text->has_icmp_type,
		.icmp_type = text->icmp_type,
		.dns = text->dns,
	};
	enum family family;

	if (text->prefix != NULL) {
		CU_ASSERT_EQUAL_FATAL(prefix_parse(text->prefix, &family, &rule.prefix), 0);
		rule.destination = family == FAMILY_IPV4 ? DESTINATION_IPV4 : DESTINATION_IPV6;
	}
	return rule;
}

static struct subject
subject_read(const struct packet_text *text)
{
	struct subject subject = {
		.protocol = text->protocol,
		.destination_port = rte_cpu_to_be_16(text->port),
		.icmp_type = text->icmp_type,
		.dns = text->dns,
	};

	CU_ASSERT_EQUAL_FATAL(
		address_parse(text->destination, &subject.family, &subject.destination), 0);
	return subject;
}

static void
test_conditions(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rule rule = rule_read(&rows[i].rule);
		struct subject subject = subject_read(&rows[i].packet);
		struct ruleset ruleset = {.policy = ACTION_DROP, .count = 1, .rules = &rule};
		uint16_t index = 7;
		enum action action = linear_match(&ruleset, &subject, &index);
		bool right = rows[i].expected ? action == ACTION_ACCEPT && index == 0
					      : action == ACTION_DROP && index == RULE_POLICY;

		if (!right)
			printf("\n    row %zu: action %d, rule %u", i, (int)action, index);
		CU_ASSERT_TRUE(right);
	}
}

/* The first match decides, whatever follows and however narrow it is. */
static void
test_order(void)
{
	struct rule rules[] = {
		rule_read(&(struct rule_text){
			.prefix = "10.0.0.0/8", .protocol = RULE_TCP, PORTS(22, 22)}),
		rule_read(&(struct rule_text){.prefix = "10.1.0.0/16"}),
		rule_read(&(struct rule_text){
			.prefix = "10.1.2.3/32", .protocol = RULE_TCP, PORTS(22, 22)}),
		rule_read(&(struct rule_text){.prefix = "10.1.0.0/16"}),
	};
	struct ruleset ruleset = {.policy = ACTION_ACCEPT, .count = 4, .rules = rules};
	struct subject subject;
	uint16_t index;

	rules[1].action = ACTION_DROP;

	subject = subject_read(&(struct packet_text){TO("10.1.2.3", IPPROTO_TCP, 22)});
	CU_ASSERT_EQUAL(linear_match(&ruleset, &subject, &index), ACTION_ACCEPT);
	CU_ASSERT_EQUAL(index, 0);
	subject = subject_read(&(struct packet_text){TO("10.1.2.3", IPPROTO_TCP, 23)});
	CU_ASSERT_EQUAL(linear_match(&ruleset, &subject, &index), ACTION_DROP);
	CU_ASSERT_EQUAL(index, 1);
	subject = subject_read(&(struct packet_text){TO("10.2.2.3", IPPROTO_TCP, 23)});
	CU_ASSERT_EQUAL(linear_match(&ruleset, &subject, &index), ACTION_ACCEPT);
	CU_ASSERT_EQUAL(index, RULE_POLICY);
}

static void
test_policy(void)
{
	struct subject subject =
		subject_read(&(struct packet_text){TO("8.8.8.8", IPPROTO_TCP, 443)});
	struct ruleset ruleset = {.policy = ACTION_DROP};
	uint16_t index = 0;

	CU_ASSERT_EQUAL(linear_match(&ruleset, &subject, &index), ACTION_DROP);
	CU_ASSERT_EQUAL(index, RULE_POLICY);
	ruleset.policy = ACTION_ACCEPT;
	index = 0;
	CU_ASSERT_EQUAL(linear_match(&ruleset, &subject, &index), ACTION_ACCEPT);
	CU_ASSERT_EQUAL(index, RULE_POLICY);
}

static void
test_names(void)
{
	static const char *const texts[] = {"a.example", "b.example"};
	struct rule rules[] = {
		{.destination = DESTINATION_NAME, .name = "c.example", .action = ACTION_DROP},
		{.destination = DESTINATION_NAME,
			.name = "b.example",
			.action = ACTION_ACCEPT,
			.protocol = RULE_TCP,
			PORTS(443, 443)},
		{.destination = DESTINATION_NAME, .name = "a.example", .action = ACTION_ACCEPT},
	};
	struct ruleset ruleset = {.policy = ACTION_DROP, .count = 3, .rules = rules};
	struct subject subject =
		subject_read(&(struct packet_text){TO("8.8.8.8", IPPROTO_TCP, 443)});
	struct subject_names names = {0, texts};
	uint16_t index;

	CU_ASSERT_EQUAL(linear_match_named(&ruleset, &subject, &names, &index), ACTION_DROP);
	CU_ASSERT_EQUAL(index, RULE_POLICY);
	names.count = 1;
	CU_ASSERT_EQUAL(linear_match_named(&ruleset, &subject, &names, &index), ACTION_ACCEPT);
	CU_ASSERT_EQUAL(index, 2);
	names.count = 2;
	CU_ASSERT_EQUAL(linear_match_named(&ruleset, &subject, &names, &index), ACTION_ACCEPT);
	CU_ASSERT_EQUAL(index, 1);
	/* the other conditions of a rule hold as ever */
	subject.destination_port = RTE_BE16(80);
	CU_ASSERT_EQUAL(linear_match_named(&ruleset, &subject, &names, &index), ACTION_ACCEPT);
	CU_ASSERT_EQUAL(index, 2);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"each condition alone and together", test_conditions},
		{"the first match decides", test_order},
		{"no rule at all", test_policy},
		{"names of the destination", test_names},
	};

	return UNIT_RUN("linear", tests);
}
