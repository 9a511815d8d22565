/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules and forwards as people type them: what is taken, its canonical form, what is refused. */
#include "conf/rule_text.h"
#include "conf/value.h"
#include "tests/unit/unit.h"

#include <errno.h>

#include <rte_common.h>

#define NOW_S UINT64_C(1800000000)

struct good {
	const char *text, *whole, *bare;
};

static void
test_rules(void)
{
	static const struct good rows[] = {
		{"action=accept", "action=accept", "action=accept"},
		{"  dstports=443\tproto=tcp   action=accept dst4=192.0.2.77/24 ",
			"action=accept dst4=192.0.2.0/24 proto=tcp dstports=443-443",
			"action=accept dst4=192.0.2.0/24 proto=tcp dstports=443-443"},
		{"action=drop dst6=2001:DB8::1 proto=udp dstports=1-65535",
			"action=drop dst6=2001:db8::1/128 proto=udp dstports=1-65535",
			"action=drop dst6=2001:db8::1/128 proto=udp dstports=1-65535"},
		{"icmptype=8 action=accept proto=icmp", "action=accept proto=icmp icmptype=8",
			"action=accept proto=icmp icmptype=8"},
		{"action=accept specialtarget=dns", "action=accept specialtarget=dns",
			"action=accept specialtarget=dns"},
		{"action=accept proto=tcp specialtarget=dns dstports=53",
			"action=accept proto=tcp specialtarget=dns dstports=53-53",
			"action=accept proto=tcp specialtarget=dns dstports=53-53"},
		{"action=accept dsthost=www.example.org", "action=accept dsthost=www.example.org",
			"action=accept dsthost=www.example.org"},
		/* as qvm-firewall does it */
		{"action=accept dsthost=192.0.2.1", "action=accept dst4=192.0.2.1/32",
			"action=accept dst4=192.0.2.1/32"},
		{"action=accept dsthost=2001:db8::/32", "action=accept dst6=2001:db8::/32",
			"action=accept dst6=2001:db8::/32"},
		{"action=accept expire=+300 comment=\"until lunch\"",
			"action=accept expire=1800000300 comment=\"until lunch\"", "action=accept"},
		{"comment=plain expire=1800000001 action=accept",
			"action=accept expire=1800000001 comment=plain", "action=accept"},
		{"action=accept comment=\"a \\\"b\\\" \\\\ c=d\"",
			"action=accept comment=\"a \\\"b\\\" \\\\ c=d\"", "action=accept"},
		{"action=accept comment=\"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\xa5\"",
			"action=accept comment=\"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\xa5\"",
			"action=accept"},
		{"\"action=\"=x", NULL, NULL},
		{"action=\"accept\" proto=\"tcp\"", "action=accept proto=tcp",
			"action=accept proto=tcp"},
	};

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		char error[RULE_ERROR_SIZE] = "";
		struct rule rule, again;
		char *whole, *bare, *twice;
		int result = rule_parse(rows[i].text, NOW_S, &rule, error, sizeof(error));

		CU_ASSERT_EQUAL(result, rows[i].whole != NULL ? 0 : -EINVAL);
		if (result != 0 || rows[i].whole == NULL) {
			if (rows[i].whole != NULL)
				fprintf(stderr, "%s: %s\n", rows[i].text, error);
			continue;
		}
		whole = rule_format(&rule, false);
		bare = rule_format(&rule, true);
		CU_ASSERT_STRING_EQUAL_FATAL(whole, rows[i].whole);
		CU_ASSERT_STRING_EQUAL_FATAL(bare, rows[i].bare);
		/* what is written is read as the same, at any time */
		CU_ASSERT_EQUAL(rule_parse(whole, 0, &again, error, sizeof(error)), 0);
		twice = rule_format(&again, false);
		CU_ASSERT_STRING_EQUAL(twice, whole);
		free(whole);
		free(bare);
		free(twice);
		rule_clear(&rule);
		rule_clear(&again);
	}
}

static void
test_rules_refused(void)
{
	static const struct {
		const char *text, *reason;
	} rows[] = {
		{"", "action: missing; every rule needs action=accept or action=drop"},
		{"action=accept proto=tcp dstports=80443", "dstports: 80443 is over 65535"},
		{"action=accept dstports=443", "dstports: needs proto=tcp or proto=udp"},
		{"action=accept action=drop", "action: stands twice in one rule"},
		{"action=accept comment=a comment=b", "comment: stands twice in one rule"},
		{"action=forward", "action: forward is a port forward, not a filter rule; "
				   "allowed here: accept, drop"},
		{"action=accept srcports=1",
			"srcports: belongs to a port forward, not to a filter rule"},
		{"action=accept port=443",
			"syntax: unknown key \"port\"; allowed: action, dst4, dst6, dsthost, "
			"proto, specialtarget, dstports, icmptype, expire, comment"},
		{"action=accept proto", "syntax: \"proto\" is no KEY=VALUE"},
		{"action=accept \"proto=tcp\"", "syntax: \"\"proto=tcp\"\" is no KEY=VALUE"},
		{"action=accept comment=a=b",
			"syntax: \"comment\" has a value with = \" or \\, which must stand in "
			"double quotes"},
		{"action=accept comment=a\"b",
			"syntax: \"comment\" has a value with = \" or \\, which must stand in "
			"double quotes"},
		{"action=accept comment=\"a",
			"syntax: \"comment\" has a value whose quotes do not end, or another "
			"escape than \\\" and \\\\"},
		{"action=accept comment=\"a\\n\"",
			"syntax: \"comment\" has a value whose quotes do not end, or another "
			"escape than \\\" and \\\\"},
		{"action=accept comment=\"a\"b", "syntax: \"comment\" goes on behind its quotes"},
		{"action=accept comment=\"\"", "comment: \"\" is empty"},
		{"action=accept comment=\"a\nb\"", "comment: \"a?b\" holds a control character"},
		{"action=accept comment=\xc2\x9b", "comment: \"\xc2\x9b\" holds a control "
						   "character"},
		{"action=accept comment=\xc3", "comment: \"\xc3\" is not UTF-8"},
		{"action=accept comment=\xed\xa0\x80", "comment: \"\xed\xa0\x80\" is not UTF-8"},
		{"action=accept expire=+0",
			"expire: \"+0\" is under 1; allowed: a unix time, or +SECONDS"},
		{"action=accept expire=1800000000",
			"expire: \"1800000000\" is over already: now is 1800000000; allowed: a "
			"unix time, or +SECONDS"},
		{"action=accept expire=1800000000000",
			"expire: \"1800000000000\" is over 253402300799; allowed: a unix time, or "
			"+SECONDS"},
		{"action=accept expire=+253402300799",
			"expire: \"+253402300799\" ends after the year 9999; allowed: a unix time, "
			"or +SECONDS"},
		{"action=accept expire=-5",
			"expire: \"-5\" is not a number; allowed: a unix time, or +SECONDS"},
		{"action=accept dsthost=1.2.3.4/33",
			"dst4: \"1.2.3.4/33\": prefix length is over 32"},
		{"action=accept dst4=1.2.3.4 dsthost=::1",
			"dsthost: a rule has one destination: dst4, dst6 or dsthost"},
	};

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		char error[RULE_ERROR_SIZE] = "";
		struct rule rule;

		CU_ASSERT_EQUAL(
			rule_parse(rows[i].text, NOW_S, &rule, error, sizeof(error)), -EINVAL);
		if (strcmp(error, rows[i].reason) != 0)
			fprintf(stderr, "%s:\n  expected %s\n  got      %s\n", rows[i].text,
				rows[i].reason, error);
		CU_ASSERT_STRING_EQUAL(error, rows[i].reason);
		CU_ASSERT_PTR_NULL(rule.comment);
	}
}

/* What a file or QubesDB says is as strict as it was. */
static void
test_strict(void)
{
	char error[RULE_ERROR_SIZE];
	struct rule rule;

	CU_ASSERT_EQUAL(qubes_rule_parse("action=accept expire=1900000000", RULE_TREE_BOTH, &rule,
				error, sizeof(error)),
		-EINVAL);
	CU_ASSERT_STRING_EQUAL(error, "expire: a rule with an end cannot be given here");
	CU_ASSERT_EQUAL(qubes_rule_parse("action=accept comment=x", RULE_TREE_BOTH, &rule, error,
				sizeof(error)),
		-EINVAL);
	CU_ASSERT_EQUAL(
		qubes_rule_parse("action=\"accept\"", RULE_TREE_BOTH, &rule, error, sizeof(error)),
		-EINVAL);
	/* where there is no time, none counts from it */
	CU_ASSERT_EQUAL(
		rule_parse("action=accept expire=+5", 0, &rule, error, sizeof(error)), -EINVAL);
	CU_ASSERT_EQUAL(rule_parse("action=accept expire=5", 0, &rule, error, sizeof(error)), 0);
	CU_ASSERT_EQUAL(rule.expire_s, 5);
}

static void
test_forwards(void)
{
	static const struct good rows[] = {
		{"action=forward proto=tcp forwardtype=external srcports=443-443 "
		 "dstports=8443-8443 srchost=0.0.0.0/0 expire=+5000 comment=\"example\"",
			"action=forward forwardtype=external proto=tcp srchost=0.0.0.0/0 "
			"srcports=443-443 dstports=8443-8443 expire=1800005000 comment=example",
			"action=forward forwardtype=external proto=tcp srchost=0.0.0.0/0 "
			"srcports=443-443 dstports=8443-8443"},
		{"action=forward forwardtype=internal proto=udp srcports=53",
			"action=forward forwardtype=internal proto=udp srcports=53-53 "
			"dstports=53-53",
			"action=forward forwardtype=internal proto=udp srcports=53-53 "
			"dstports=53-53"},
		{"srcports=80-89 dstports=8080 proto=tcp forwardtype=external action=forward "
		 "srchost=2001:db8::7/64",
			"action=forward forwardtype=external proto=tcp srchost=2001:db8::/64 "
			"srcports=80-89 dstports=8080-8080",
			"action=forward forwardtype=external proto=tcp srchost=2001:db8::/64 "
			"srcports=80-89 dstports=8080-8080"},
	};

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		char error[RULE_ERROR_SIZE] = "";
		struct conf_forward forward, again;
		char *whole, *bare, *twice;

		CU_ASSERT_EQUAL_FATAL(
			forward_parse(rows[i].text, NOW_S, &forward, error, sizeof(error)), 0);
		whole = forward_format(&forward, false);
		bare = forward_format(&forward, true);
		CU_ASSERT_STRING_EQUAL_FATAL(whole, rows[i].whole);
		CU_ASSERT_STRING_EQUAL_FATAL(bare, rows[i].bare);
		CU_ASSERT_EQUAL_FATAL(forward_parse(whole, 0, &again, error, sizeof(error)), 0);
		twice = forward_format(&again, false);
		CU_ASSERT_STRING_EQUAL(twice, whole);
		CU_ASSERT_TRUE(rule_text_is_forward(rows[i].text));
		free(whole);
		free(bare);
		free(twice);
		free(forward.comment);
		free(again.comment);
	}
	CU_ASSERT_FALSE(rule_text_is_forward("action=accept comment=\"action=forward\""));
}

static void
test_forwards_refused(void)
{
	static const struct {
		const char *text, *reason;
	} rows[] = {
		{"action=forward proto=tcp forwardtype=external srcports=443-443 "
		 "dstports=80443-80443",
			"dstports: \"80443-80443\" is wrong: \"80443\" is over 65535; allowed: "
			"PORT or LOW-HIGH in 1..65535 on the qube"},
		{"action=forward proto=tcp forwardtype=external srcports=80443",
			"srcports: \"80443\" is over 65535; allowed: PORT or LOW-HIGH in 1..65535, "
			"where we listen"},
		{"action=forward proto=tcp forwardtype=external srcports=0",
			"srcports: \"0\" is under 1; allowed: PORT or LOW-HIGH in 1..65535, where "
			"we listen"},
		{"action=forward proto=tcp forwardtype=external srcports=1-3 dstports=1-2",
			"dstports: 2 ports for the 3 of srcports; allowed: as many, or one for "
			"all"},
		{"action=forward proto=tcp srcports=1",
			"forwardtype: missing; allowed: external, internal"},
		{"action=forward proto=icmp", "proto: \"icmp\" has no ports to forward; allowed: "
					      "tcp, udp"},
		{"action=accept", "action: \"accept\" is no forward; allowed: forward"},
		{"action=forward dst4=1.2.3.4",
			"syntax: unknown key \"dst4\" of a forward; allowed: action, forwardtype, "
			"proto, srchost, srcports, dstports, expire, comment"},
		{"action=forward comment=a comment=b", "comment: stands twice in one forward"},
		{"action=forward srchost=any",
			"srchost: \"any\" is no address and no prefix; allowed: ADDRESS or "
			"ADDRESS/LENGTH of those who may connect"},
	};

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		char error[RULE_ERROR_SIZE] = "";
		struct conf_forward forward;

		CU_ASSERT_EQUAL(forward_parse(rows[i].text, NOW_S, &forward, error, sizeof(error)),
			-EINVAL);
		if (strcmp(error, rows[i].reason) != 0)
			fprintf(stderr, "%s:\n  expected %s\n  got      %s\n", rows[i].text,
				rows[i].reason, error);
		CU_ASSERT_STRING_EQUAL(error, rows[i].reason);
		CU_ASSERT_PTR_NULL(forward.comment);
	}
}

/* Pieces of rules in any order, and broken ones: what is taken means the same when read again. */
static void
test_random(void)
{
	static const char *const pieces[] = {"action=", "accept", "drop", "forward", " ", "  ",
		"proto=", "tcp", "udp", "icmp", "dstports=", "srcports=", "443", "1-2", "99999",
		"dst4=", "dst6=", "dsthost=", "192.0.2.1", "/24", "2001:db8::1", "a.b",
		"expire=", "+5", "1900000000", "comment=", "\"", "\\", "x y", "=", "\xc3\xa9",
		"\xc3", "forwardtype=", "external", "internal", "srchost=", "icmptype=", "8",
		"specialtarget=", "dns", "\t", "\x01"};
	unsigned taken = 0;

	srand(20261128);
	for (unsigned round = 0; round < 200000; round++) {
		char text[512] = "action=accept", error[RULE_ERROR_SIZE], *once, *twice;
		struct conf_forward forward;
		struct rule rule, again;

		if (round % 3 == 0)
			strcpy(text, "action=forward proto=udp forwardtype=internal srcports=7");
		for (int i = rand() % 12; i > 0; i--)
			strcat(strcat(text, rand() % 3 != 0 ? " " : ""),
				pieces[(size_t)rand() % RTE_DIM(pieces)]);
		if (rule_parse(text, NOW_S, &rule, error, sizeof(error)) == 0) {
			once = rule_format(&rule, false);
			CU_ASSERT_EQUAL_FATAL(rule_parse(once, 0, &again, error, sizeof(error)), 0);
			twice = rule_format(&again, false);
			CU_ASSERT_STRING_EQUAL(once, twice);
			free(once);
			free(twice);
			rule_clear(&rule);
			rule_clear(&again);
			taken++;
		}
		if (forward_parse(text, NOW_S, &forward, error, sizeof(error)) == 0) {
			free(forward.comment);
			taken++;
		}
	}
	CU_ASSERT_TRUE(taken > 10000);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"rules", test_rules},
		{"rules that are refused", test_rules_refused},
		{"the strict syntax stays strict", test_strict},
		{"forwards", test_forwards},
		{"forwards that are refused", test_forwards_refused},
		{"random pieces", test_random},
	};

	return UNIT_RUN("rule_text", tests);
}
