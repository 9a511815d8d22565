/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trees of rules as QubesDB has them: what counts, in which order, and each way in which a tree can
 * be wrong: then all of it is refused, and the reason names the key, the rule and what is wrong.
 */
#include "conf/qubesdb_tree.h"

#include "tests/unit/unit.h"

/* A tree as text: KEY=VALUE lines, where VALUE is all up to the end of the line. */
static void
pairs_of(struct pair_list *list, const char *text)
{
	*list = (struct pair_list){0};
	while (*text != '\0') {
		char line[256];
		size_t length = strcspn(text, "\n");
		char *equals;

		snprintf(line, sizeof(line), "%.*s", (int)length, text);
		equals = strchr(line, '=');
		*equals = '\0';
		pair_list_add(list, line, equals + 1, TREE_PAIRS_MAX);
		text += length + (text[length] == '\n');
	}
}

static struct live_tree *
tree_of(enum family family, const char *rules, const char *forwards, char **forwards_error)
{
	struct pair_list rule_list, forward_list;
	union address address;
	enum family found;
	struct live_tree *tree;

	CU_ASSERT_EQUAL_FATAL(
		address_parse(family == FAMILY_IPV4 ? "10.137.0.16" : "fd09::10", &found, &address),
		0);
	pairs_of(&rule_list, rules);
	pairs_of(&forward_list, forwards != NULL ? forwards : "");
	tree = tree_parse(family, &address, &rule_list, forwards != NULL ? &forward_list : NULL,
		forwards_error);
	pair_list_clear(&rule_list);
	pair_list_clear(&forward_list);
	CU_ASSERT_PTR_NOT_NULL_FATAL(tree);
	CU_ASSERT_EQUAL(tree->family, family);
	CU_ASSERT(address_equal(&tree->address, &address));
	return tree;
}

static void
good(void)
{
	char *error;
	struct live_tree *tree = tree_of(FAMILY_IPV4,
		"0010=action=drop\n"
		"policy=drop\n"
		"0002=proto=tcp action=accept dstports=80 dst4=4.4.4.4/24\n"
		"0000=action=accept specialtarget=dns\n"
		"0003=action=accept dsthost=.\n"
		"9999=action=accept proto=icmp icmptype=8\n",
		NULL, &error);
	static const unsigned lines[] = {1, 3, 4, 11, 10000};

	CU_ASSERT_PTR_NULL(error);
	CU_ASSERT_EQUAL(tree->state, RULES_VALID);
	CU_ASSERT_PTR_NULL(tree->error);
	CU_ASSERT_EQUAL(tree->ruleset.policy, ACTION_DROP);
	CU_ASSERT_EQUAL_FATAL(tree->ruleset.count, 5);
	for (unsigned i = 0; i < 5; i++) {
		CU_ASSERT_EQUAL(tree->ruleset.rules[i].line, lines[i]);
		CU_ASSERT_EQUAL(tree->ruleset.rules[i].origin, ORIGIN_QUBESDB);
	}
	CU_ASSERT(tree->ruleset.rules[0].dns);
	CU_ASSERT_EQUAL(tree->ruleset.rules[1].prefix.length, 24);
	CU_ASSERT_EQUAL(tree->ruleset.rules[1].prefix.address.v4, RTE_BE32(0x04040400));
	CU_ASSERT_EQUAL(tree->ruleset.rules[2].destination, DESTINATION_NAME);
	CU_ASSERT_EQUAL(tree->ruleset.rules[3].action, ACTION_DROP);
	live_tree_unref(tree);

	tree = tree_of(FAMILY_IPV4, "policy=accept\n", NULL, &error);
	CU_ASSERT_EQUAL(tree->state, RULES_VALID);
	CU_ASSERT_EQUAL(tree->ruleset.policy, ACTION_ACCEPT);
	CU_ASSERT_EQUAL(tree->ruleset.count, 0);
	live_tree_unref(tree);

	tree = tree_of(
		FAMILY_IPV6, "policy=drop\n0000=action=accept dst6=fd09::1/64\n", NULL, &error);
	CU_ASSERT_EQUAL(tree->state, RULES_VALID);
	CU_ASSERT_EQUAL(tree->ruleset.rules[0].destination, DESTINATION_IPV6);
	live_tree_unref(tree);
}

/* Each of them makes the whole tree bad, and `reason` is what is said first. */
static void
bad(void)
{
	static const struct {
		enum family family;
		const char *rules, *reason;
	} trees[] = {
		{0, "", "policy: missing"},
		{0, "0000=action=accept\n", "policy: missing"},
		{0, "policy=\n", "policy: is not a policy; allowed: drop, accept; there is \"\""},
		{0, "policy=reject\n", "policy: is not a policy; allowed: drop, accept; there is "},
		{0, "policy=drop\npolicy=drop\n", "policy: stands twice"},
		{0, "policy=drop\n0000=action=accept\n0000=action=drop\n", "0000: stands twice"},
		{0, "policy=drop\n0000=colour=blue action=drop\n",
			"0000: syntax: unknown key \"col"},
		{0, "policy=drop\n0000=action=drop proto=tcp proto=tcp\n",
			"0000: proto: stands twi"},
		{0, "policy=drop\n0000=proto=tcp\n", "0000: action: missing"},
		{0, "policy=drop\n0000=action=reject\n",
			"0000: action: \"reject\" is not an action"},
		{0, "policy=drop\n0000=action=forward\n", "0000: action: "},
		{0, "policy=drop\n0000=action=accept  proto=tcp\n",
			"0000: syntax: a rule is KEY=VAL"},
		{0, "policy=drop\n0000= action=accept\n", "0000: syntax: a rule is KEY=VALUE"},
		{0, "policy=drop\n0000=action=accept \n", "0000: syntax: a rule is KEY=VALUE"},
		{0, "policy=drop\n0000=\n", "0000: syntax: a rule is KEY=VALUE"},
		{0, "policy=drop\n0000=action=accept tcp\n", "0000: syntax: \"tcp\" has no \"=\""},
		{0, "policy=drop\n0000=action=accept proto=t=cp\n",
			"0000: syntax: \"proto=t=cp\" has"},
		{0, "policy=drop\n0000=action=accept proto=6\n",
			"0000: proto: \"6\" is not allowed"},
		{0, "policy=drop\n000=action=accept\n",
			"000: the key of a rule has four digits; there"},
		{0, "policy=drop\n00000=action=accept\n",
			"00000: the key of a rule has four digits"},
		{0, "policy=drop\n000x=action=accept\n", "000x: the key of a rule has four digits"},
		{0, "policy=drop\n0000/=action=accept\n",
			"0000/: the key of a rule has four digits"},
		{0, "policy=drop\n=action=accept\n", ": the key of a rule has four digits"},
		{0, "policy=drop\npolicies=action=accept\n",
			"policies: the key of a rule has four d"},
		{0, "policy=drop\n0000=action=accept dst6=fd09::1\n",
			"0000: dst6: not allowed among t"},
		{1, "policy=drop\n0000=action=accept dst4=1.2.3.4\n",
			"0000: dst4: not allowed among t"},
		{0, "policy=drop\n0000=action=accept dstports=80\n",
			"0000: dstports: needs proto=tcp"},
		{0, "policy=drop\n0000=action=accept proto=icmp dstports=80\n",
			"0000: dstports: needs"},
		{0, "policy=drop\n0000=action=accept icmptype=8\n",
			"0000: icmptype: needs proto=icmp"},
		{0, "policy=drop\n0000=action=accept specialtarget=dns proto=udp dstports=54\n",
			"0000: specialtarget: dns is port 53, not dstports=54-54"},
		{0, "policy=drop\n0000=action=accept dsthost=A.example\n",
			"0000: dsthost: \"A.exam"},
		{0, "policy=drop\n0000=action=accept dst4=1.2.3.4/33\n",
			"0000: dst4: \"1.2.3.4/33\""},
		{0, "policy=drop\n0000=action=accept proto=tcp dstports=80443\n",
			"0000: dstports: 80443 is over 65535; there is \"action=accept proto=tcp "
			"dstports=80443\""},
		{0, "policy=drop\n0000=action=accept expire=+5\n", "0000: expire: "},
		{0, "policy=drop\n0000=action=accept comment=hi\n", "0000: comment: "},
		/* the first one that is wrong is said, in the order of the keys */
		{0, "policy=drop\n0005=x\n0004=action=accept\n0003=y\n",
			"0003: syntax: \"y\" has no"},
		{0, "policy=drop\n0000=action=accept\x01\x1b[2J\n",
			"0000: syntax: byte 0x01 is not"},
	};
	char *error;

	for (unsigned i = 0; i < RTE_DIM(trees); i++) {
		struct live_tree *tree = tree_of(trees[i].family, trees[i].rules, NULL, &error);

		CU_ASSERT_EQUAL(tree->state, RULES_BAD);
		CU_ASSERT_EQUAL(tree->ruleset.count, 0);
		CU_ASSERT_EQUAL(tree->ruleset.policy, ACTION_DROP);
		CU_ASSERT_PTR_NOT_NULL_FATAL(tree->error);
		if (strncmp(tree->error, trees[i].reason, strlen(trees[i].reason)) != 0)
			printf("\n    %s    says: %s\n    want: %s\n", trees[i].rules, tree->error,
				trees[i].reason);
		CU_ASSERT(strncmp(tree->error, trees[i].reason, strlen(trees[i].reason)) == 0);
		for (const char *byte = tree->error; *byte != '\0'; byte++)
			CU_ASSERT((unsigned char)*byte >= 0x20 && *byte != 0x7f);
		live_tree_unref(tree);
	}
}

static void
how_many(void)
{
	for (unsigned count = RULES_MAX; count <= RULES_MAX + 1; count++) {
		struct pair_list list = {0};
		union address address = {.v4 = 1};
		struct live_tree *tree;
		char *error, key[8];

		pair_list_add(&list, "policy", "drop", TREE_PAIRS_MAX);
		for (unsigned i = 0; i < count; i++) {
			snprintf(key, sizeof(key), "%04u", i);
			pair_list_add(&list, key, "action=accept", TREE_PAIRS_MAX);
		}
		CU_ASSERT_EQUAL(list.overfull, count > RULES_MAX);
		tree = tree_parse(FAMILY_IPV4, &address, &list, NULL, &error);
		CU_ASSERT_PTR_NOT_NULL_FATAL(tree);
		CU_ASSERT_EQUAL(tree->state, count > RULES_MAX ? RULES_BAD : RULES_VALID);
		CU_ASSERT_EQUAL(tree->ruleset.count, count > RULES_MAX ? 0 : RULES_MAX);
		if (count > RULES_MAX)
			CU_ASSERT_STRING_EQUAL(tree->error, "more than 1000 rules");
		live_tree_unref(tree);
		pair_list_clear(&list);
	}
}

static void
forwards(void)
{
	static const char *const rules = "policy=drop\n0000=action=accept\n";
	char *error;
	struct live_tree *tree = tree_of(FAMILY_IPV4, rules,
		"0007=action=forward forwardtype=internal proto=udp srcports=53 expire=2000000000\n"
		"0001=action=forward forwardtype=external proto=tcp srcports=8443-8444 "
		"dstports=443-444 srchost=192.0.2.0/24 comment=web\n",
		&error);

	CU_ASSERT_PTR_NULL(error);
	CU_ASSERT_EQUAL(tree->state, RULES_VALID);
	CU_ASSERT_EQUAL_FATAL(tree->forward_count, 2);
	CU_ASSERT_EQUAL(tree->forwards[0].line, 2);
	CU_ASSERT_EQUAL(tree->forwards[0].first, 8443);
	CU_ASSERT_EQUAL(tree->forwards[0].target_last, 444);
	CU_ASSERT_STRING_EQUAL(tree->forwards[0].comment, "web");
	CU_ASSERT_EQUAL(tree->forwards[1].line, 8);
	CU_ASSERT_EQUAL(tree->forwards[1].expire_s, 2000000000);
	live_tree_unref(tree);

	/* bad forwards take no rule away, and bad rules no forward */
	static const struct {
		const char *forwards, *reason;
	} lists[] = {
		{"0000=action=forward forwardtype=external proto=tcp srcports=80443\n",
			"0000: srcp"},
		{"0000=action=accept\n", "0000: action: "},
		{"policy=drop\n", "policy: the key of a rule has four digits"},
		{"0000=action=forward forwardtype=external proto=tcp srcports=1\n"
		 "0001=action=forward proto=tcp srcports=1\n",
			"0001: forwardtype: missing"},
		/* would begin anew whenever it is read */
		{"0000=action=forward forwardtype=external proto=tcp srcports=1 expire=+60\n",
			"0000: expire: "},
	};

	for (unsigned i = 0; i < RTE_DIM(lists); i++) {
		tree = tree_of(FAMILY_IPV4, rules, lists[i].forwards, &error);
		CU_ASSERT_EQUAL(tree->state, RULES_VALID);
		CU_ASSERT_EQUAL(tree->ruleset.count, 1);
		CU_ASSERT_EQUAL(tree->forward_count, 0);
		CU_ASSERT_PTR_NULL(tree->forwards);
		CU_ASSERT_PTR_NOT_NULL_FATAL(error);
		if (strncmp(error, lists[i].reason, strlen(lists[i].reason)) != 0)
			printf("\n    says: %s\n    want: %s\n", error, lists[i].reason);
		CU_ASSERT(strncmp(error, lists[i].reason, strlen(lists[i].reason)) == 0);
		free(error);
		live_tree_unref(tree);
	}
	tree = tree_of(FAMILY_IPV4, "",
		"0000=action=forward forwardtype=external proto=tcp srcports=1\n", &error);
	CU_ASSERT_PTR_NULL(error);
	CU_ASSERT_EQUAL(tree->state, RULES_BAD);
	CU_ASSERT_EQUAL(tree->forward_count, 1);
	live_tree_unref(tree);
}

/* One half of a tree is taken from another. */
static void
halves(void)
{
	char *error;
	struct live_tree *from = tree_of(FAMILY_IPV4,
		"policy=accept\n0000=action=drop dsthost=example.org\n",
		"0000=action=forward forwardtype=external proto=tcp srcports=1 comment=one\n",
		&error);
	struct live_tree *to = tree_of(FAMILY_IPV4, "policy=drop\n0001=action=accept\n",
		"0000=action=forward forwardtype=external proto=tcp srcports=2 comment=two\n",
		&error);
	struct live_tree *bad_one = tree_of(FAMILY_IPV4, "policy=drop\n0001=x\n", NULL, &error);

	CU_ASSERT_EQUAL(tree_forwards_copy(to, from), 0);
	CU_ASSERT_EQUAL(to->ruleset.rules[0].action, ACTION_ACCEPT);
	CU_ASSERT_EQUAL_FATAL(to->forward_count, 1);
	CU_ASSERT_EQUAL(to->forwards[0].first, 1);
	CU_ASSERT_EQUAL(tree_rules_copy(to, from), 0);
	CU_ASSERT_EQUAL(to->ruleset.policy, ACTION_ACCEPT);
	CU_ASSERT_EQUAL_FATAL(to->ruleset.count, 1);
	live_tree_unref(from);
	CU_ASSERT_STRING_EQUAL(to->ruleset.rules[0].name, "example.org");
	CU_ASSERT_STRING_EQUAL(to->forwards[0].comment, "one");
	CU_ASSERT_EQUAL(tree_rules_copy(to, bad_one), 0);
	CU_ASSERT_EQUAL(to->state, RULES_BAD);
	CU_ASSERT_STRING_EQUAL(to->error, bad_one->error);
	CU_ASSERT_EQUAL(to->ruleset.count, 0);
	live_tree_unref(bad_one);
	live_tree_unref(to);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"trees that count", good},
		{"trees that do not", bad},
		{"how many rules", how_many},
		{"forwards", forwards},
		{"halves of trees", halves},
	};

	return UNIT_RUN("qubesdb_tree", tests);
}
