/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules files: order, line numbers, limits. */
#include "conf/conf.h"
#include "tests/unit/unit.h"

#include <errno.h>

static void
good(const char *text, enum action policy, unsigned count)
{
	struct ruleset ruleset;
	char *error;

	if (rules_parse("work.rules", text, &ruleset, &error) != 0) {
		fprintf(stderr, "refused: %s\n", error);
		CU_FAIL("a good rules file was refused");
		free(error);
		return;
	}
	CU_ASSERT_PTR_NULL(error);
	CU_ASSERT_EQUAL(ruleset.policy, policy);
	CU_ASSERT_EQUAL(ruleset.count, count);
	ruleset_clear(&ruleset);
}

static void
bad(const char *text, const char *expected)
{
	struct ruleset ruleset;
	char *error;

	memset(&ruleset, 0xa5, sizeof(ruleset));
	CU_ASSERT_EQUAL_FATAL(rules_parse("work.rules", text, &ruleset, &error), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(error);
	if (strcmp(error, expected) != 0)
		fprintf(stderr, "expected %s\ngot      %s\n", expected, error);
	CU_ASSERT_STRING_EQUAL(error, expected);
	CU_ASSERT_EQUAL(ruleset.policy, ACTION_DROP);
	CU_ASSERT_EQUAL(ruleset.count, 0);
	CU_ASSERT_PTR_NULL(ruleset.rules);
	free(error);
}

static void
test_good(void)
{
	good("policy=drop\n", ACTION_DROP, 0);
	good("policy=accept", ACTION_ACCEPT, 0);
	good("# head\n\n  # indented comment\n \t\npolicy=drop\naction=accept\n#action=drop\n"
	     "action=drop proto=tcp",
		ACTION_DROP, 2);
	/* A file is for both families. */
	good("policy=drop\naction=accept dst4=10.0.0.0/8\naction=accept dst6=2001:db8::/32\n",
		ACTION_DROP, 2);
}

static void
test_lines(void)
{
	struct ruleset ruleset;
	char *error;

	CU_ASSERT_EQUAL_FATAL(rules_parse("x",
				      "policy=drop\n\n# c\naction=accept proto=udp\n"
				      "action=drop dsthost=a.b\n",
				      &ruleset, &error),
		0);
	CU_ASSERT_EQUAL_FATAL(ruleset.count, 2);
	CU_ASSERT_EQUAL(ruleset.rules[0].line, 4);
	CU_ASSERT_EQUAL(ruleset.rules[0].protocol, RULE_UDP);
	CU_ASSERT_EQUAL(ruleset.rules[1].line, 5);
	CU_ASSERT_STRING_EQUAL(ruleset.rules[1].name, "a.b");
	ruleset_clear(&ruleset);
}

#define POLICY_MISSING "policy: missing; the first statement must be policy=drop or policy=accept"

static void
test_policy(void)
{
	bad("", "work.rules:1: " POLICY_MISSING);
	bad("# nothing\n\n", "work.rules:2: " POLICY_MISSING);
	bad("\naction=accept\npolicy=drop\n", "work.rules:2: " POLICY_MISSING);
	bad("policy=drop\naction=accept\npolicy=drop\n",
		"work.rules:3: policy: stands a second time, first on line 1");
	bad("policy=reject\n",
		"work.rules:1: policy: \"reject\" is not a policy; allowed: drop, accept");
	bad("policy=\n", "work.rules:1: policy: \"\" is not a policy; allowed: drop, accept");
	bad("policy=drop \n",
		"work.rules:1: policy: \"drop \" is not a policy; allowed: drop, accept");
	bad("policy=drop\r\n",
		"work.rules:1: policy: \"drop?\" is not a policy; allowed: drop, accept");
}

static void
test_rules(void)
{
	bad("policy=drop\n\naction=accept proto=tcp dstports=80443\n",
		"work.rules:3: dstports: 80443 is over 65535");
	bad("policy=drop\naction=accept\naction=accept \n",
		"work.rules:3: syntax: a rule is KEY=VALUE tokens with one space between two of "
		"them, none at the ends");
	bad("policy=drop\naction=accept\r\n",
		"work.rules:2: syntax: byte 0x0d is not allowed in a rule (DOS line end)");
	bad("policy=drop\n\taction=accept\n",
		"work.rules:2: syntax: byte 0x09 is not allowed in a rule");
	/* What came before the error is given up as well; ASan watches the name. */
	bad("policy=drop\naction=accept dsthost=a\naction=accept dsthost=b\nbogus\n",
		"work.rules:4: syntax: \"bogus\" has no \"=\"");
}

static char *
many_rules(unsigned count)
{
	static const char rule[] = "action=accept\n";
	char *text = malloc(strlen("policy=drop\n") + count * strlen(rule) + 1);
	char *end = stpcpy(text, "policy=drop\n");

	while (count-- != 0)
		end = stpcpy(end, rule);
	return text;
}

static void
test_limits(void)
{
	char *text = many_rules(RULES_MAX);

	good(text, ACTION_DROP, RULES_MAX);
	free(text);
	text = many_rules(RULES_MAX + 1);
	bad(text, "work.rules:1002: syntax: more than 1000 rules");
	free(text);

	text = malloc(RULE_TEXT_MAX + 20);
	memset(text, 'a', RULE_TEXT_MAX + 20);
	memcpy(text, "policy=drop\n", strlen("policy=drop\n"));
	text[strlen("policy=drop\n") + RULE_TEXT_MAX + 1] = '\0';
	bad(text, "work.rules:2: syntax: line is longer than 3071 bytes");
	/* A comment gets no more room. */
	text[strlen("policy=drop\n")] = '#';
	bad(text, "work.rules:2: syntax: line is longer than 3071 bytes");
	text[strlen("policy=drop\n") + RULE_TEXT_MAX] = '\0';
	good(text, ACTION_DROP, 0);
	free(text);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"good files", test_good},
		{"a rule knows its line", test_lines},
		{"policy comes first and once", test_policy},
		{"a bad rule spoils the file, with its line", test_rules},
		{"at most 1,000 rules and 3,071 bytes a line", test_limits},
	};

	return UNIT_RUN("rules_file", tests);
}
