/* SPDX-License-Identifier: BSD-3-Clause */
/* Qubes rule strings: the strict table of the contract, row by row, and a bounded fuzz run. */
#include "conf/conf.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>

static struct rule
good(const char *text, enum rule_tree tree)
{
	char error[256] = "";
	struct rule rule;

	if (qubes_rule_parse(text, tree, &rule, error, sizeof(error)) != 0) {
		fprintf(stderr, "refused: %s: %s\n", text, error);
		CU_FAIL("a good rule was refused");
	}
	return rule;
}

static void
bad(const char *text, enum rule_tree tree, const char *expected)
{
	char error[256] = "";
	struct rule rule;

	memset(&rule, 0xa5, sizeof(rule));
	if (qubes_rule_parse(text, tree, &rule, error, sizeof(error)) != -EINVAL) {
		fprintf(stderr, "accepted: %s\n", text);
		CU_FAIL("a bad rule was accepted");
		return;
	}
	if (strcmp(error, expected) != 0)
		fprintf(stderr, "%s:\n  expected %s\n  got      %s\n", text, expected, error);
	CU_ASSERT_STRING_EQUAL(error, expected);
	CU_ASSERT_PTR_NULL(rule.name);
	CU_ASSERT_FALSE(rule.has_ports);
}

static void
test_plain(void)
{
	struct rule rule = good("action=accept", RULE_TREE_IPV4);

	CU_ASSERT_EQUAL(rule.action, ACTION_ACCEPT);
	CU_ASSERT_EQUAL(rule.destination, DESTINATION_ANY);
	CU_ASSERT_EQUAL(rule.protocol, RULE_ANY);
	CU_ASSERT_FALSE(rule.has_ports);
	CU_ASSERT_FALSE(rule.has_icmp_type);
	CU_ASSERT_FALSE(rule.dns);
	CU_ASSERT_EQUAL(rule.line, 0);
	rule = good("action=drop", RULE_TREE_IPV6);
	CU_ASSERT_EQUAL(rule.action, ACTION_DROP);
}

static void
test_everything(void)
{
	struct rule rule =
		good("action=accept dst4=4.4.4.4/24 proto=tcp dstports=80-443", RULE_TREE_IPV4);

	CU_ASSERT_EQUAL(rule.destination, DESTINATION_IPV4);
	CU_ASSERT_EQUAL(rule.prefix.length, 24);
	CU_ASSERT_EQUAL(rule.prefix.address.v4, inet_addr("4.4.4.0"));
	CU_ASSERT_EQUAL(rule.protocol, RULE_TCP);
	CU_ASSERT_TRUE(rule.has_ports);
	CU_ASSERT_EQUAL(rule.port_low, 80);
	CU_ASSERT_EQUAL(rule.port_high, 443);

	rule = good("dstports=0 proto=udp dst6=2001:db8::1 action=drop", RULE_TREE_IPV6);
	CU_ASSERT_EQUAL(rule.action, ACTION_DROP);
	CU_ASSERT_EQUAL(rule.destination, DESTINATION_IPV6);
	CU_ASSERT_EQUAL(rule.prefix.length, 128);
	CU_ASSERT_EQUAL(rule.prefix.address.v6[15], 1);
	CU_ASSERT_EQUAL(rule.protocol, RULE_UDP);
	CU_ASSERT_EQUAL(rule.port_low, 0);
	CU_ASSERT_EQUAL(rule.port_high, 0);

	rule = good("action=accept proto=icmp icmptype=255", RULE_TREE_IPV4);
	CU_ASSERT_EQUAL(rule.protocol, RULE_ICMP);
	CU_ASSERT_TRUE(rule.has_icmp_type);
	CU_ASSERT_EQUAL(rule.icmp_type, 255);

	rule = good("action=accept specialtarget=dns", RULE_TREE_IPV4);
	CU_ASSERT_TRUE(rule.dns);
	CU_ASSERT_FALSE(rule.has_ports);
	rule = good("action=accept proto=udp specialtarget=dns dstports=53-53", RULE_TREE_IPV4);
	CU_ASSERT_TRUE(rule.dns);
	CU_ASSERT_EQUAL(rule.protocol, RULE_UDP);
	rule = good("action=accept dst4=1.2.3.4", RULE_TREE_IPV4);
	CU_ASSERT_EQUAL(rule.prefix.length, 32);
	rule = good("action=accept dst4=0.0.0.0/0 proto=tcp dstports=0-65535", RULE_TREE_BOTH);
	CU_ASSERT_EQUAL(rule.port_high, 65535);
}

static void
test_names(void)
{
	static const char *const names[] = {"", ".", "..", "a..b", "-", "_dmarc.example.org",
		"xn--bcher-kva.example", "qubes-os.org", "1.2.3.4"};
	static const char *const dotted[][2] = {
		{"qubes-os.org.", "qubes-os.org"}, {"a.", "a"}, {"a..", "a.."}, {"a..b.", "a..b"}};
	char text[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct rule rule;

		snprintf(text, sizeof(text), "action=accept dsthost=%s proto=tcp", names[i]);
		rule = good(text, RULE_TREE_IPV4);
		CU_ASSERT_EQUAL(rule.destination, DESTINATION_NAME);
		CU_ASSERT_PTR_NOT_NULL_FATAL(rule.name);
		CU_ASSERT_STRING_EQUAL(rule.name, names[i]);
		free(rule.name);
	}
	/* a dot that ends a name goes */
	for (size_t i = 0; i < sizeof(dotted) / sizeof(dotted[0]); i++) {
		struct rule rule;

		snprintf(text, sizeof(text), "action=accept dsthost=%s", dotted[i][0]);
		rule = good(text, RULE_TREE_IPV4);
		CU_ASSERT_PTR_NOT_NULL_FATAL(rule.name);
		CU_ASSERT_STRING_EQUAL(rule.name, dotted[i][1]);
		free(rule.name);
	}
	bad("action=accept dsthost=Example.org", RULE_TREE_IPV4,
		"dsthost: \"Example.org\" is not a host name; allowed: a-z 0-9 - . _");
	bad("action=accept dsthost=2001:db8::1", RULE_TREE_IPV6,
		"dsthost: \"2001:db8::1\" is not a host name; allowed: a-z 0-9 - . _");
	bad("action=accept dsthost=a*b", RULE_TREE_IPV4,
		"dsthost: \"a*b\" is not a host name; allowed: a-z 0-9 - . _");
	/* The name is freed again when a later token spoils the rule; ASan watches. */
	bad("action=accept dsthost=a dsthost=b", RULE_TREE_IPV4,
		"dsthost: stands twice in one rule");
}

#define SPACES \
	"syntax: a rule is KEY=VALUE tokens with one space between two of them, none at the ends"
#define KEYS_ALLOWED \
	"allowed: action, dst4, dst6, dsthost, proto, specialtarget, dstports, icmptype"

static void
test_syntax(void)
{
	bad("", RULE_TREE_IPV4, SPACES);
	bad(" ", RULE_TREE_IPV4, SPACES);
	bad("action=accept  proto=tcp", RULE_TREE_IPV4, SPACES);
	bad(" action=accept", RULE_TREE_IPV4, SPACES);
	bad("action=accept ", RULE_TREE_IPV4, SPACES);
	bad("action=accept\tproto=tcp", RULE_TREE_IPV4,
		"syntax: byte 0x09 is not allowed in a rule");
	bad("action=accept\n", RULE_TREE_IPV4, "syntax: byte 0x0a is not allowed in a rule");
	bad("action=accept\r", RULE_TREE_IPV4,
		"syntax: byte 0x0d is not allowed in a rule (DOS line end)");
	bad("action=accept dsthost=b\xc3\xbc", RULE_TREE_IPV4,
		"syntax: byte 0xc3 is not allowed in a rule");
	bad("action", RULE_TREE_IPV4, "syntax: \"action\" has no \"=\"");
	bad("action=accept proto", RULE_TREE_IPV4, "syntax: \"proto\" has no \"=\"");
	bad("action=accept proto=tcp=udp", RULE_TREE_IPV4,
		"syntax: \"proto=tcp=udp\" has more than one \"=\"");
	bad("action==accept", RULE_TREE_IPV4, "syntax: \"action==accept\" has more than one \"=\"");
	bad("=accept", RULE_TREE_IPV4, "syntax: unknown key \"\"; " KEYS_ALLOWED);
	bad("action=accept dst=1.2.3.4", RULE_TREE_IPV4,
		"syntax: unknown key \"dst\"; " KEYS_ALLOWED);
	bad("ACTION=accept", RULE_TREE_IPV4, "syntax: unknown key \"ACTION\"; " KEYS_ALLOWED);
	bad("action=accept # all", RULE_TREE_IPV4, "syntax: \"#\" has no \"=\"");
}

static void
test_action(void)
{
	bad("proto=tcp", RULE_TREE_IPV4,
		"action: missing; every rule needs action=accept or action=drop");
	bad("action=", RULE_TREE_IPV4, "action: \"\" is not an action; allowed: accept, drop");
	bad("action=ACCEPT", RULE_TREE_IPV4,
		"action: \"ACCEPT\" is not an action; allowed: accept, drop");
	bad("action=accept action=accept", RULE_TREE_IPV4, "action: stands twice in one rule");
	bad("action=forward forwardtype=external proto=tcp", RULE_TREE_IPV4,
		"action: forward is a port forward, not a filter rule; allowed here: accept, drop");
	bad("forwardtype=external action=forward", RULE_TREE_IPV4,
		"forwardtype: belongs to a port forward, not to a filter rule");
	bad("action=accept expire=+60", RULE_TREE_IPV4,
		"expire: a rule with an end cannot be given here");
	bad("action=accept comment=web", RULE_TREE_IPV4,
		"comment: not part of a rule here; write a # line of its own");
}

static void
test_destination(void)
{
	bad("action=accept dst6=::1", RULE_TREE_IPV4,
		"dst6: not allowed among the rules of an IPv4 address");
	bad("action=accept dst4=1.2.3.4", RULE_TREE_IPV6,
		"dst4: not allowed among the rules of an IPv6 address");
	bad("action=accept dst4=2001:db8::1", RULE_TREE_BOTH,
		"dst4: \"2001:db8::1\" is not an IPv4 ADDRESS or ADDRESS/LENGTH");
	bad("action=accept dst6=1.2.3.4", RULE_TREE_BOTH,
		"dst6: \"1.2.3.4\" is not an IPv6 ADDRESS or ADDRESS/LENGTH");
	bad("action=accept dst4=1.2.3.4/33", RULE_TREE_IPV4,
		"dst4: \"1.2.3.4/33\": prefix length is over 32");
	bad("action=accept dst6=::/129", RULE_TREE_IPV6,
		"dst6: \"::/129\": prefix length is over 128");
	bad("action=accept dst4=", RULE_TREE_IPV4,
		"dst4: \"\" is not an IPv4 ADDRESS or ADDRESS/LENGTH");
	bad("action=accept dst4=1.2.3.4/", RULE_TREE_IPV4,
		"dst4: \"1.2.3.4/\" is not an IPv4 ADDRESS or ADDRESS/LENGTH");
	bad("action=accept dst4=1.2.3.4 dst6=::1", RULE_TREE_BOTH,
		"dst6: a rule has one destination: dst4, dst6 or dsthost");
	bad("action=accept dsthost=a dst4=1.2.3.4", RULE_TREE_BOTH,
		"dsthost: a rule has one destination: dst4, dst6 or dsthost");
	bad("action=accept dst4=1.2.3.4 dst4=1.2.3.4", RULE_TREE_IPV4,
		"dst4: stands twice in one rule");
	good("action=accept dst4=1.2.3.4", RULE_TREE_BOTH);
	good("action=accept dst6=::1", RULE_TREE_BOTH);
}

static void
test_ports(void)
{
	bad("action=accept dstports=80", RULE_TREE_IPV4, "dstports: needs proto=tcp or proto=udp");
	bad("action=accept proto=icmp dstports=80", RULE_TREE_IPV4,
		"dstports: needs proto=tcp or proto=udp");
	bad("action=accept proto=tcp dstports=80443", RULE_TREE_IPV4,
		"dstports: 80443 is over 65535");
	bad("action=accept proto=tcp dstports=1-65536", RULE_TREE_IPV4,
		"dstports: 65536 is over 65535");
	/* 2^32 + 80: no wrap-around */
	bad("action=accept proto=tcp dstports=4294967376", RULE_TREE_IPV4,
		"dstports: 4294967376 is over 65535");
	bad("action=accept proto=tcp dstports=443-80", RULE_TREE_IPV4,
		"dstports: 443-80 runs backwards");
	static const char *const shapes[] = {"", "-", "80-", "-80", "+80", "80-+90", "80--90",
		"80-90-", "80,90", "0x50", "80 ", "http", "80-90x"};
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		char text[64], expected[128];

		if (strchr(shapes[i], ' ') != NULL)
			continue;
		snprintf(text, sizeof(text), "action=accept proto=tcp dstports=%s", shapes[i]);
		snprintf(expected, sizeof(expected), "dstports: \"%s\" is not PORT or LOW-HIGH",
			shapes[i]);
		bad(text, RULE_TREE_IPV4, expected);
	}
}

static void
test_protocol(void)
{
	bad("action=accept proto=6", RULE_TREE_IPV4,
		"proto: \"6\" is not allowed; allowed: tcp, udp, icmp");
	bad("action=accept proto=icmpv6", RULE_TREE_IPV6,
		"proto: \"icmpv6\" is not allowed; allowed: tcp, udp, icmp");
	bad("action=accept proto=TCP", RULE_TREE_IPV4,
		"proto: \"TCP\" is not allowed; allowed: tcp, udp, icmp");
	bad("action=accept icmptype=8", RULE_TREE_IPV4, "icmptype: needs proto=icmp");
	bad("action=accept proto=udp icmptype=8", RULE_TREE_IPV4, "icmptype: needs proto=icmp");
	bad("action=accept proto=icmp icmptype=256", RULE_TREE_IPV4, "icmptype: 256 is over 255");
	bad("action=accept proto=icmp icmptype=-1", RULE_TREE_IPV4,
		"icmptype: \"-1\" is not a number");
	bad("action=accept proto=icmp icmptype=", RULE_TREE_IPV4, "icmptype: \"\" is not a number");
	bad("action=accept proto=icmp icmptype=echo", RULE_TREE_IPV4,
		"icmptype: \"echo\" is not a number");
}

static void
test_special_target(void)
{
	bad("action=accept specialtarget=dhcp", RULE_TREE_IPV4,
		"specialtarget: \"dhcp\" is not allowed; allowed: dns");
	bad("action=accept specialtarget=dns proto=icmp", RULE_TREE_IPV4,
		"specialtarget: dns is tcp and udp, never proto=icmp");
	bad("action=accept specialtarget=dns proto=tcp dstports=80", RULE_TREE_IPV4,
		"specialtarget: dns is port 53, not dstports=80-80");
	bad("action=accept proto=tcp dstports=53-54 specialtarget=dns", RULE_TREE_IPV4,
		"specialtarget: dns is port 53, not dstports=53-54");
	bad("action=accept specialtarget=dns dstports=53", RULE_TREE_IPV4,
		"dstports: needs proto=tcp or proto=udp");
}

static void
test_length(void)
{
	char text[RULE_TEXT_MAX + 2];
	struct rule rule;

	memset(text, 'a', sizeof(text));
	memcpy(text, "action=accept dsthost=", strlen("action=accept dsthost="));
	text[RULE_TEXT_MAX] = '\0';
	rule = good(text, RULE_TREE_IPV4);
	free(rule.name);
	text[RULE_TEXT_MAX] = 'a';
	text[RULE_TEXT_MAX + 1] = '\0';
	bad(text, RULE_TREE_IPV4, "syntax: longer than 3071 bytes");
}

static void
test_error_buffer(void)
{
	char error[8] = "......";
	struct rule rule;

	CU_ASSERT_EQUAL(qubes_rule_parse("action=no", RULE_TREE_IPV4, &rule, error, sizeof(error)),
		-EINVAL);
	CU_ASSERT_STRING_EQUAL(error, "action:");
	CU_ASSERT_EQUAL(qubes_rule_parse("action=no", RULE_TREE_IPV4, &rule, error, 0), -EINVAL);
	CU_ASSERT_STRING_EQUAL(error, "action:");
}

/* What every accepted rule must be, whatever text it came from. */
static bool
consistent(const struct rule *rule, enum rule_tree tree)
{
	if (rule->has_ports && rule->protocol != RULE_TCP && rule->protocol != RULE_UDP)
		return false;
	if (rule->has_ports && rule->port_low > rule->port_high)
		return false;
	if (rule->has_icmp_type && rule->protocol != RULE_ICMP)
		return false;
	if (rule->dns &&
		(rule->protocol == RULE_ICMP ||
			(rule->has_ports && (rule->port_low != 53 || rule->port_high != 53))))
		return false;
	if ((rule->destination == DESTINATION_NAME) != (rule->name != NULL))
		return false;
	if (rule->destination == DESTINATION_IPV4)
		return tree != RULE_TREE_IPV6 && rule->prefix.length <= 32;
	if (rule->destination == DESTINATION_IPV6)
		return tree != RULE_TREE_IPV4;
	return true;
}

static uint64_t
next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *state >> 33;
}

/* Tokens glued together at random, then a few bytes damaged: no crash, and no nonsense accepted. */
static void
test_random(void)
{
	static const char *const tokens[] = {"action=accept", "action=drop", "action=forward",
		"dst4=4.4.4.4/24", "dst6=2001:db8::/32", "dsthost=a..b", "dsthost=", "proto=tcp",
		"proto=udp", "proto=icmp", "proto=6", "specialtarget=dns", "dstports=53",
		"dstports=80443", "dstports=1-2", "icmptype=8", "expire=+3", "x=y", "=", ""};
	static const char bytes[] = "=- /.:0159azA\t\r\n\x7f\x80\xff";
	uint64_t state = 20241121;
	unsigned accepted = 0;
	bool sound = true;

	for (unsigned round = 0; round < 200000; round++) {
		char text[256] = "";
		char error[64];
		unsigned tree = (unsigned)next_random(&state) % 3;
		unsigned count = 1 + (unsigned)next_random(&state) % 4;
		unsigned damage = (unsigned)next_random(&state) % 3;
		struct rule rule;
		size_t length = 0;

		for (unsigned i = 0; i < count; i++)
			length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s",
				i ? " " : "",
				tokens[next_random(&state) % (sizeof(tokens) / sizeof(tokens[0]))]);
		while (damage-- != 0 && length != 0)
			text[next_random(&state) % length] =
				bytes[next_random(&state) % (sizeof(bytes) - 1)];
		if (qubes_rule_parse(text, tree, &rule, error, sizeof(error)) == 0) {
			accepted++;
			sound &= consistent(&rule, tree);
			sound &= strstr(text, "  ") == NULL && strstr(text, "action=") != NULL;
			free(rule.name);
		} else {
			sound &= strchr(error, ':') != NULL;
		}
	}
	CU_ASSERT_TRUE(sound);
	/* Had nearly everything been refused, the run would have shown nothing. */
	CU_ASSERT(accepted > 2000);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"an action alone is a rule", test_plain},
		{"every key is taken, in any order", test_everything},
		{"host names, also impossible ones", test_names},
		{"syntax is strict", test_syntax},
		{"action", test_action},
		{"dst4 and dst6", test_destination},
		{"dstports", test_ports},
		{"proto and icmptype", test_protocol},
		{"specialtarget", test_special_target},
		{"a rule has a longest length", test_length},
		{"a small error buffer is not overrun", test_error_buffer},
		{"200,000 random rules", test_random},
	};

	return UNIT_RUN("qubes_rule", tests);
}
