/* SPDX-License-Identifier: BSD-3-Clause */
/* What is changed beside the configuration: layers, operations, forwards, time. */
#include "conf/changes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include <rte_common.h>

#include "conf/rule_text.h"
#include "tests/unit/unit.h"

#define NOW_S UINT64_C(1800000000)

static char warned[512];

static void
warn(void *context, const char *line)
{
	(void)context;
	snprintf(warned, sizeof(warned), "%s", line);
}

static const struct report report = {warn, NULL};

/* Qube work has two rules in a file, bad has a broken one, none has no rules. */
static struct conf_qube qubes[3];
static struct conf_forward forwards[1];
static struct conf conf;
static struct changes *changes;
static struct change_scope scope;
static struct change_error error;

static struct rule
rule_of(const char *text)
{
	char reason[RULE_ERROR_SIZE];
	struct rule rule;

	if (rule_parse(text, NOW_S, &rule, reason, sizeof(reason)) != 0) {
		fprintf(stderr, "%s: %s\n", text, reason);
		CU_FAIL_FATAL("a rule of this test is wrong");
	}
	return rule;
}

static void
begin(void)
{
	static char path[] = "sluice.conf", rules_path[] = "/etc/sluice/work.rules",
		    rules_error[] = "/etc/sluice/bad.rules:1: nonsense";
	char *reason;

	memset(qubes, 0, sizeof(qubes));
	conf = (struct conf){.path = path,
		.qube_count = RTE_DIM(qubes),
		.qubes = qubes,
		.forward_count = 1,
		.forwards = forwards};
	strcpy(qubes[0].name, "work");
	strcpy(qubes[1].name, "bad");
	strcpy(qubes[2].name, "none");
	qubes[0].has[FAMILY_IPV4] = true;
	qubes[2].has[FAMILY_IPV4] = qubes[2].has[FAMILY_IPV6] = true;
	qubes[0].rules_path = rules_path;
	qubes[0].state = RULES_VALID;
	qubes[1].state = RULES_BAD;
	qubes[1].rules_error = rules_error;
	CU_ASSERT_EQUAL_FATAL(rules_parse("work.rules",
				      "policy=drop\n#\naction=accept proto=icmp\naction=accept "
				      "proto=udp dstports=53\n",
				      &qubes[0].ruleset, &reason),
		0);
	forwards[0] = (struct conf_forward){.name = "configured",
		.side = FORWARD_EXTERNAL,
		.protocol = IPPROTO_TCP,
		.first = 9000,
		.last = 9009,
		.qube = "work",
		.line = 12};
	changes = changes_new();
	CU_ASSERT_PTR_NOT_NULL_FATAL(changes);
	scope = (struct change_scope){
		.conf = &conf, .now_s = NOW_S, .layer = ORIGIN_KEPT, .warn = &report};
	warned[0] = '\0';
}

static void
end(void)
{
	changes_free(changes);
	ruleset_clear(&qubes[0].ruleset);
}

/* The rules of a qube as one text: LAYER POLICY, then `; RULE@LINE(ORIGIN)` each. */
static const char *
rules_text(unsigned qube)
{
	static const char *const layers[] = {"file", "qubesdb", "kept", "runtime"};
	static char text[2048];
	struct qube_rules rules = changes_rules(changes, &qubes[qube]);
	size_t at;

	if (rules.state != RULES_VALID)
		return rules.state == RULES_BAD ? "bad" : "none";
	at = (size_t)sprintf(text, "%s %s", layers[rules.layer],
		rules.ruleset->policy == ACTION_ACCEPT ? "accept" : "drop");
	for (unsigned i = 0; i < rules.ruleset->count; i++) {
		const struct rule *rule = &rules.ruleset->rules[i];
		char *one = rule_format(rule, false);

		at += (size_t)snprintf(text + at, sizeof(text) - at, "; %s@%u(%s)",
			one + strlen("action="), rule->line, layers[rule->origin]);
		free(one);
	}
	return text;
}

static int
insert(const char *qube, unsigned before, const char *text)
{
	struct rule rule = rule_of(text);
	int result = changes_rules_insert(changes, &scope, qube, &rule, 1, before, &error);

	rule_clear(&rule);
	return result;
}

#define FILE_RULES "; accept proto=icmp@3(file); accept proto=udp dstports=53-53@4(file)"

static void
test_operations(void)
{
	struct rule rule;

	begin();
	CU_ASSERT_STRING_EQUAL(rules_text(0), "file drop" FILE_RULES);
	CU_ASSERT_EQUAL(insert("work", RULES_END, "action=accept proto=tcp comment=x"), 0);
	CU_ASSERT_STRING_EQUAL(
		rules_text(0), "kept drop" FILE_RULES "; accept proto=tcp comment=x@0(kept)");
	CU_ASSERT_STRING_EQUAL(changes_rules(changes, &qubes[0]).source, "work.rules");
	CU_ASSERT_EQUAL(insert("work", 1, "action=drop"), 0);
	CU_ASSERT_STRING_EQUAL(rules_text(0),
		"kept drop; accept proto=icmp@3(file); drop@0(kept); accept proto=udp "
		"dstports=53-53@4(file); accept proto=tcp comment=x@0(kept)");
	CU_ASSERT_EQUAL(insert("work", 0, "action=accept dsthost=a.b expire=+1"), 0);
	CU_ASSERT_EQUAL(insert("work", 6, "action=drop"), -ENOENT);
	CU_ASSERT_STRING_EQUAL(error.key, "before");
	CU_ASSERT_EQUAL(changes_rules_delete_number(changes, &scope, "work", 2, &error), 0);
	CU_ASSERT_EQUAL(changes_rules_delete_number(changes, &scope, "work", 4, &error), -ENOENT);
	rule = rule_of("proto=tcp action=accept");
	CU_ASSERT_EQUAL(changes_rules_delete(changes, &scope, "work", &rule, &error), 0);
	CU_ASSERT_EQUAL(changes_rules_delete(changes, &scope, "work", &rule, &error), -ENOENT);
	CU_ASSERT_EQUAL(insert("work", 0, "action=accept proto=tcp"), 0);
	CU_ASSERT_EQUAL(insert("work", 0, "action=accept proto=tcp comment=y"), 0);
	CU_ASSERT_EQUAL(changes_rules_delete(changes, &scope, "work", &rule, &error), -EEXIST);
	CU_ASSERT_EQUAL(changes_rules_policy(changes, &scope, "work", ACTION_ACCEPT, &error), 0);
	CU_ASSERT_STRING_EQUAL(rules_text(0),
		"kept accept; accept proto=tcp comment=y@0(kept); accept proto=tcp@0(kept); "
		"accept dsthost=a.b expire=1800000001@0(kept)" FILE_RULES);
	CU_ASSERT_EQUAL(
		changes_rules_set(changes, &scope, "work", ACTION_DROP, &rule, 1, &error), 0);
	CU_ASSERT_STRING_EQUAL(rules_text(0), "kept drop; accept proto=tcp@0(kept)");
	CU_ASSERT_EQUAL(changes_rules_reset(changes, &scope, "work", &error), 0);
	CU_ASSERT_STRING_EQUAL(rules_text(0), "file drop" FILE_RULES);
	CU_ASSERT_EQUAL(changes->qube_count, 0);
	CU_ASSERT_EQUAL(
		changes_rules_policy(changes, &scope, "nobody", ACTION_DROP, &error), -ENOENT);
	CU_ASSERT_STRING_EQUAL(error.key, "qube");
	end();
}

static void
test_layers(void)
{
	struct rule rule;

	begin();
	rule = rule_of("action=accept proto=tcp");
	CU_ASSERT_EQUAL(insert("work", 0, "action=drop proto=tcp"), 0);
	scope.layer = ORIGIN_RUNTIME;
	/* begins with what is kept */
	CU_ASSERT_EQUAL(insert("work", 0, "action=accept"), 0);
	CU_ASSERT_STRING_EQUAL(rules_text(0),
		"runtime drop; accept@0(runtime); drop proto=tcp@0(kept)" FILE_RULES);
	scope.layer = ORIGIN_KEPT;
	/* numbers are those of the runtime rules, and must not be taken for those of the kept */
	CU_ASSERT_EQUAL(changes_rules_delete_number(changes, &scope, "work", 0, &error), -EBUSY);
	CU_ASSERT_EQUAL(insert("work", 1, "action=accept"), -EBUSY);
	CU_ASSERT_STRING_EQUAL(warned, "");
	/* a kept change begins with what is kept, and takes the place of the runtime rules */
	CU_ASSERT_EQUAL(insert("work", RULES_END, "action=drop proto=udp"), 0);
	CU_ASSERT_STRING_EQUAL(rules_text(0),
		"kept drop; drop proto=tcp@0(kept)" FILE_RULES "; drop proto=udp@0(kept)");
	CU_ASSERT_STRING_EQUAL(warned, "the runtime rules of qube work are replaced");
	scope.layer = ORIGIN_RUNTIME;
	CU_ASSERT_EQUAL(
		changes_rules_set(changes, &scope, "work", ACTION_ACCEPT, &rule, 1, &error), 0);
	CU_ASSERT_EQUAL(changes_rules_reset(changes, &scope, "work", &error), 0);
	CU_ASSERT_STRING_EQUAL(rules_text(0),
		"kept drop; drop proto=tcp@0(kept)" FILE_RULES "; drop proto=udp@0(kept)");
	CU_ASSERT_EQUAL(
		changes_rules_set(changes, &scope, "work", ACTION_ACCEPT, &rule, 1, &error), 0);
	scope.layer = ORIGIN_KEPT;
	CU_ASSERT_EQUAL(changes_rules_reset(changes, &scope, "work", &error), 0);
	CU_ASSERT_STRING_EQUAL(rules_text(0), "file drop" FILE_RULES);
	end();
}

/* What cannot be used is not mended by accident; what is not there begins with nothing. */
static void
test_states(void)
{
	struct rule rule;

	begin();
	rule = rule_of("action=accept proto=tcp");
	CU_ASSERT_EQUAL(insert("bad", 0, "action=accept"), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "bad.rules:1: nonsense"));
	CU_ASSERT_EQUAL(
		changes_rules_policy(changes, &scope, "bad", ACTION_ACCEPT, &error), -EBUSY);
	CU_ASSERT_STRING_EQUAL(rules_text(1), "bad");
	CU_ASSERT_EQUAL(
		changes_rules_set(changes, &scope, "bad", ACTION_DROP, &rule, 1, &error), 0);
	CU_ASSERT_STRING_EQUAL(rules_text(1), "kept drop; accept proto=tcp@0(kept)");
	CU_ASSERT_EQUAL(changes_rules_reset(changes, &scope, "bad", &error), 0);
	CU_ASSERT_STRING_EQUAL(rules_text(1), "bad");
	CU_ASSERT_PTR_NOT_NULL(strstr(warned, "nonsense"));
	CU_ASSERT_STRING_EQUAL(rules_text(2), "none");
	CU_ASSERT_EQUAL(insert("none", RULES_END, "action=accept proto=tcp"), 0);
	CU_ASSERT_STRING_EQUAL(rules_text(2), "kept drop; accept proto=tcp@0(kept)");
	end();
}

static void
test_limit(void)
{
	struct rule *rules = calloc(RULES_MAX, sizeof(*rules));

	begin();
	for (unsigned i = 0; i < RULES_MAX; i++)
		rules[i] = rule_of("action=accept proto=tcp");
	CU_ASSERT_EQUAL(changes_rules_insert(
				changes, &scope, "work", rules, RULES_MAX - 2, RULES_END, &error),
		0);
	CU_ASSERT_EQUAL(insert("work", 0, "action=drop"), -E2BIG);
	CU_ASSERT_STRING_EQUAL(error.text, "qube work would have 1001 rules; allowed: 1000");
	CU_ASSERT_EQUAL(changes_rules(changes, &qubes[0]).ruleset->count, RULES_MAX);
	CU_ASSERT_EQUAL(
		changes_rules_set(changes, &scope, "work", ACTION_DROP, rules, RULES_MAX, &error),
		0);
	free(rules);
	end();
}

/* A copy and what it was copied from do not know of each other. */
static void
test_copies(void)
{
	struct changes *before;

	begin();
	CU_ASSERT_EQUAL(insert("work", 0, "action=drop"), 0);
	CU_ASSERT_EQUAL(insert("none", 0, "action=drop"), 0);
	before = changes;
	changes = changes_copy(before);
	CU_ASSERT_PTR_EQUAL(changes->qubes[0], before->qubes[0]);
	CU_ASSERT_EQUAL(insert("work", 0, "action=accept"), 0);
	CU_ASSERT_PTR_EQUAL(changes->qubes[0], before->qubes[0]); /* none */
	CU_ASSERT_PTR_NOT_EQUAL(changes->qubes[1], before->qubes[1]);
	CU_ASSERT_EQUAL(before->qubes[1]->ruleset.count, 3);
	CU_ASSERT_EQUAL(changes->qubes[1]->ruleset.count, 4);
	CU_ASSERT_EQUAL(changes_rules_reset(changes, &scope, "none", &error), 0);
	CU_ASSERT_EQUAL(before->qube_count, 2);
	changes_free(changes);
	changes = before;
	CU_ASSERT_STRING_EQUAL(rules_text(0), "kept drop; drop@0(kept)" FILE_RULES);
	end();
}

static int
forward(const char *qube, const char *name, const char *text, char chosen[NAME_SIZE])
{
	char reason[RULE_ERROR_SIZE];
	struct conf_forward forward;
	int result;

	CU_ASSERT_EQUAL_FATAL(forward_parse(text, NOW_S, &forward, reason, sizeof(reason)), 0);
	strcpy(forward.qube, qube);
	strcpy(forward.name, name);
	result = changes_forward_add(changes, &scope, &forward, &error);
	if (chosen != NULL)
		strcpy(chosen, forward.name);
	free(forward.comment);
	return result;
}

#define EXTERNAL "action=forward forwardtype=external proto=tcp "

static void
test_forwards(void)
{
	char name[NAME_SIZE], text[256];

	begin();
	CU_ASSERT_EQUAL(forward("work", "", EXTERNAL "srcports=443 comment=x", name), 0);
	CU_ASSERT_STRING_EQUAL(name, "work-1");
	CU_ASSERT_EQUAL(forward("work", "work-2", EXTERNAL "srcports=444", NULL), 0);
	CU_ASSERT_EQUAL(forward("work", "", EXTERNAL "srcports=445", name), 0);
	CU_ASSERT_STRING_EQUAL(name, "work-3");
	CU_ASSERT_EQUAL(forward("work", "work-1", EXTERNAL "srcports=1", NULL), -EEXIST);
	CU_ASSERT_EQUAL(forward("work", "configured", EXTERNAL "srcports=1", NULL), -EEXIST);
	CU_ASSERT_EQUAL(forward("work", "a b", EXTERNAL "srcports=1", NULL), -EINVAL);
	CU_ASSERT_EQUAL(forward("nobody", "", EXTERNAL "srcports=1", NULL), -ENOENT);
	CU_ASSERT_EQUAL(forward("work", "", EXTERNAL "srcports=400-500", NULL), -EEXIST);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "of forward work-1,"));
	CU_ASSERT_EQUAL(forward("none", "", EXTERNAL "srcports=9009", NULL), -EEXIST);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "of forward configured (sluice.conf:12),"));
	CU_ASSERT_EQUAL(
		forward("work", "", EXTERNAL "srcports=1 srchost=2001:db8::/32", NULL), -ENOENT);
	CU_ASSERT_STRING_EQUAL(
		error.text, "\"2001:db8::/32\" can never connect: qube work has no IPv6 address");
	/* other side, other protocol, other sources */
	CU_ASSERT_EQUAL(forward("none", "",
				"action=forward forwardtype=internal proto=tcp srcports=443", NULL),
		0);
	CU_ASSERT_EQUAL(forward("none", "",
				"action=forward forwardtype=external proto=udp srcports=443", NULL),
		0);
	CU_ASSERT_EQUAL(forward("none", "", EXTERNAL "srcports=1 srchost=192.0.2.0/24", NULL), 0);
	CU_ASSERT_EQUAL(forward("none", "", EXTERNAL "srcports=1 srchost=192.0.3.0/24", NULL), 0);
	CU_ASSERT_EQUAL(changes->forward_count, 7);

	scope.layer = ORIGIN_RUNTIME;
	CU_ASSERT_EQUAL(changes_forward_delete(changes, &scope, "work-1", &error), -EBUSY);
	scope.layer = ORIGIN_KEPT;
	CU_ASSERT_EQUAL(changes_forward_delete(changes, &scope, "work-1", &error), 0);
	CU_ASSERT_EQUAL(changes_forward_delete(changes, &scope, "work-1", &error), -ENOENT);
	CU_ASSERT_EQUAL(changes_forward_delete(changes, &scope, "configured", &error), -EBUSY);
	CU_ASSERT_EQUAL(forward("work", "", EXTERNAL "srcports=443", name), 0);
	CU_ASSERT_STRING_EQUAL(name, "work-1");

	/* the file may come to say something else */
	CU_ASSERT_TRUE(changes_forward_stands(&conf,
		&changes_forward_find(changes, "work-2")->forward, NOW_S, text, sizeof(text)));
	forwards[0].first = 444;
	CU_ASSERT_FALSE(changes_forward_stands(&conf,
		&changes_forward_find(changes, "work-2")->forward, NOW_S, text, sizeof(text)));
	CU_ASSERT_STRING_EQUAL(text, "overlaps [forward configured] at sluice.conf:12");
	forwards[0].expire_s = NOW_S;
	CU_ASSERT_TRUE(changes_forward_stands(&conf,
		&changes_forward_find(changes, "work-2")->forward, NOW_S, text, sizeof(text)));
	strcpy(forwards[0].name, "work-2");
	changes_warn(changes, &conf, NOW_S, &report);
	CU_ASSERT_STRING_EQUAL(warned,
		"forward work-2 is not in force: it has the name of a forward at sluice.conf:12");
	strcpy(qubes[2].name, "other");
	CU_ASSERT_FALSE(changes_forward_stands(
		&conf, &changes->forwards[2]->forward, NOW_S, text, sizeof(text)));
	CU_ASSERT_STRING_EQUAL(text, "is for qube none, which is not configured");
	end();
}

/* An external UDP port that a qube speaks from is not taken away from it. */
static void
test_bindings(void)
{
	const struct flow_secret secret = {{1, 2, 3, 4}};
	struct qube policy_qubes[1] = {{.name = "work"}};
	const struct policy policy = {.qube_count = 1, .qubes = policy_qubes};
	const struct binding_request request = {
		.family = FAMILY_IPV6, .protocol = IPPROTO_UDP, .qube = 0, .port = RTE_BE16(5151)};
	rte_be16_t external;
	bool fresh;

	begin();
	scope.bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	scope.policy = &policy;
	CU_ASSERT_PTR_NOT_NULL_FATAL(scope.bindings);
	CU_ASSERT_EQUAL_FATAL(binding_take((struct binding_table *)(uintptr_t)scope.bindings,
				      &request, &external, &fresh),
		0);
	CU_ASSERT_EQUAL(
		forward("none", "",
			"action=forward forwardtype=external proto=udp srcports=5000-6000", NULL),
		-EEXIST);
	CU_ASSERT_PTR_NOT_NULL(strstr(
		error.text, "UDP port 5151 is in use: IPv6 port 5151 of qube work sends from it"));
	CU_ASSERT_EQUAL(
		forward("none", "",
			"action=forward forwardtype=external proto=udp srcports=5152-6000", NULL),
		0);
	CU_ASSERT_EQUAL(
		forward("none", "", "action=forward forwardtype=internal proto=udp srcports=5151",
			NULL),
		0);
	CU_ASSERT_EQUAL(forward("none", "", EXTERNAL "srcports=5151", NULL), 0);
	binding_table_free((struct binding_table *)(uintptr_t)scope.bindings);
	end();
}

static void
test_forward_limit(void)
{
	char text[128];

	begin();
	for (unsigned i = 0; i < FORWARDS_MAX - 1; i++) {
		snprintf(text, sizeof(text), EXTERNAL "srcports=%u", 10000 + i);
		CU_ASSERT_EQUAL_FATAL(forward("work", "", text, NULL), 0);
	}
	CU_ASSERT_EQUAL(forward("work", "", EXTERNAL "srcports=1", NULL), -E2BIG);
	end();
}

static void
test_time(void)
{
	begin();
	CU_ASSERT_EQUAL(changes_next_expiry(changes), 0);
	CU_ASSERT_EQUAL(insert("work", 0, "action=accept expire=+5"), 0);
	CU_ASSERT_EQUAL(insert("work", RULES_END, "action=accept expire=+3"), 0);
	CU_ASSERT_EQUAL(insert("none", 0, "action=accept expire=+9"), 0);
	CU_ASSERT_EQUAL(forward("work", "", EXTERNAL "srcports=1 expire=+2", NULL), 0);
	CU_ASSERT_EQUAL(forward("work", "", EXTERNAL "srcports=2 expire=+20", NULL), 0);
	CU_ASSERT_EQUAL(changes_next_expiry(changes), NOW_S + 2);
	CU_ASSERT_EQUAL(changes_expire(changes, NOW_S + 1), 0);
	CU_ASSERT_EQUAL(changes_expire(changes, NOW_S + 2), 1);
	CU_ASSERT_EQUAL(changes->forward_count, 1);
	CU_ASSERT_EQUAL(changes_next_expiry(changes), NOW_S + 3);
	CU_ASSERT_EQUAL(changes_expire(changes, NOW_S + 5), 2);
	CU_ASSERT_STRING_EQUAL(rules_text(0), "kept drop" FILE_RULES);
	CU_ASSERT_STRING_EQUAL(changes_rules(changes, &qubes[0]).source, "work.rules");
	CU_ASSERT_EQUAL(changes_next_expiry(changes), NOW_S + 9);
	/* what is over in the list that a change begins with does not come along */
	scope.now_s = NOW_S + 9;
	CU_ASSERT_EQUAL(changes_rules_policy(changes, &scope, "none", ACTION_ACCEPT, &error), 0);
	CU_ASSERT_STRING_EQUAL(rules_text(2), "kept accept");
	end();
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"operations on rules", test_operations},
		{"runtime over kept over file", test_layers},
		{"qubes with bad rules, and with none", test_states},
		{"a thousand rules and no more", test_limit},
		{"copies share and do not disturb each other", test_copies},
		{"forwards", test_forwards},
		{"external ports in use", test_bindings},
		{"a thousand forwards and no more", test_forward_limit},
		{"what is over goes", test_time},
	};

	unit_eal();
	return UNIT_RUN("changes", tests);
}
