/* SPDX-License-Identifier: BSD-3-Clause */
/* Which flows a filter means, and what it refuses; how a flow is shown. */
#include "app/flow_filter.h"

#include <netinet/in.h>

#include "app/flow_show.h"
#include "tests/unit/talk.h"

#define REMOTE "192.0.2.7"

static struct plane *plane;

static int
parse(const char *text, struct flow_filter *filter, const char **key, const char **wants)
{
	static json_t *object; /* `key` points into it */

	json_decref(object);
	object = json_loads(text, JSON_DECODE_ANY, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(object);
	return flow_filter_parse(object, filter, key, wants);
}

struct matching {
	struct flow_filter filter;
	unsigned count;
};

static void
match(void *context, struct flow *flow)
{
	struct matching *matching = context;

	if ((flow->flags & FLOW_PERMISSION) == 0)
		matching->count += flow_filter_match(
			&matching->filter, atomic_load(&plane->dataplane->policy), flow);
}

/* How many flows of the plane a filter means. */
static unsigned
matches(const char *text)
{
	struct matching matching = {.count = 0};
	const char *key, *wants;

	CU_ASSERT_EQUAL_FATAL(parse(text, &matching.filter, &key, &wants), 0);
	flow_walk(plane->dataplane->workers[0]->flows, match, &matching);
	return matching.count;
}

/* Five flows: TCP out, UDP out and answered, a ping by IPv6, one forwarded in, one to a resolver.
 */
static void
flows_make(void)
{
	static const struct plane_options options = {
		.rules = "policy=accept\n",
		.more = "[forward web]\nforwardtype = external\nproto = tcp\nsrcports = 8080\n"
			"dstports = 80\nqube = personal\n",
	};
	const struct say packets[] = {
		{PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, REMOTE, 443, .tcp_flags = SYN},
		{PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 4001, REMOTE, 7000, .tcp_flags = 0},
		{PLANE_UPLINK, IPPROTO_UDP, REMOTE, 7000, PLANE_UPLINK_ADDRESS, 4001,
			.tcp_flags = 0},
		{PLANE_PERSONAL, IPPROTO_ICMPV6, PLANE_PERSONAL_ADDRESS6, 77, "2606:4700::7", 0,
			.type = 128},
		{PLANE_UPLINK, IPPROTO_TCP, REMOTE, 5555, PLANE_UPLINK_ADDRESS, 8080,
			.tcp_flags = SYN},
		{PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 4002, PLANE_DNS, 53, .tcp_flags = 0},
	};

	plane = talk_begin(&options);
	for (unsigned i = 0; i < RTE_DIM(packets); i++)
		talk_send(plane, &packets[i]);
	CU_ASSERT_EQUAL_FATAL(flow_count(plane->dataplane->workers[0]->flows), 5);
	plane_forget(plane);
}

static void
flows_end(void)
{
	/* the question that waits for the resolver's MAC */
	plane_wait(plane, 5000);
	plane_forget(plane);
	talk_end(plane);
}

static void
test_matches(void)
{
	static const struct {
		const char *filter;
		unsigned count;
	} cases[] = {
		{"{}", 5},
		{"{\"qube\": \"work\"}", 3},
		{"{\"qube\": \"personal\"}", 2},
		{"{\"qube\": \"nobody\"}", 0},
		{"{\"proto\": \"tcp\"}", 2},
		{"{\"proto\": 17}", 2},
		{"{\"proto\": \"icmp\"}", 1}, /* of both families */
		{"{\"proto\": \"icmp6\"}", 1},
		{"{\"proto\": \"47\"}", 0},
		{"{\"family\": 4}", 4},
		{"{\"family\": 6}", 1},
		{"{\"state\": \"syn-sent\"}", 2},
		{"{\"state\": \"replied\"}", 1},
		{"{\"state\": \"unreplied\"}", 2},
		{"{\"inbound\": true}", 1},
		{"{\"inbound\": false}", 4},
		{"{\"address\": \"" REMOTE "\"}", 3},
		{"{\"address\": \"192.0.0.0/8\"}", 5 - 1}, /* ours across the uplink, too */
		{"{\"address\": \"0.0.0.0/0\"}", 4},
		{"{\"address\": \"::/0\"}", 1},
		{"{\"source\": \"" PLANE_WORK_ADDRESS "\"}", 3},
		{"{\"destination\": \"" REMOTE "\"}", 3},
		{"{\"source\": \"" REMOTE "\", \"dport\": 8080}", 1},
		{"{\"source\": \"" PLANE_WORK_ADDRESS "\", \"dport\": 443}", 1},
		/* in the direction of the answers */
		{"{\"source\": \"" REMOTE "\", \"sport\": 443}", 1},
		{"{\"destination\": \"" PLANE_UPLINK_ADDRESS "\", \"sport\": 443}", 1},
		/* each direction has one of them */
		{"{\"source\": \"" PLANE_WORK_ADDRESS "\", \"sport\": 443}", 0},
		{"{\"source\": \"" PLANE_WORK_ADDRESS "\", \"destination\": \"" PLANE_UPLINK_ADDRESS
		 "\"}",
			0},
		{"{\"port\": 443}", 1},
		{"{\"port\": 4001}", 1},
		{"{\"dport\": 53}", 1},
		/* a virtual address, and the resolver behind it */
		{"{\"address\": \"" PLANE_DNS "\"}", 1},
		{"{\"address\": \"" PLANE_RESOLVER "\"}", 1},
		{"{\"qube\": \"work\", \"proto\": \"udp\", \"state\": \"replied\"}", 1},
		{"{\"qube\": \"work\", \"proto\": \"tcp\", \"state\": \"replied\"}", 0},
	};

	flows_make();
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		unsigned count = matches(cases[i].filter);

		CU_ASSERT_EQUAL(count, cases[i].count);
		if (count != cases[i].count)
			printf("\n    %s: %u instead of %u\n", cases[i].filter, count,
				cases[i].count);
	}
	flows_end();
}

static void
test_refuses(void)
{
	static const struct {
		const char *filter, *key;
	} cases[] = {
		{"[]", "filter"},
		{"\"tcp\"", "filter"},
		{"{\"prot\": \"tcp\"}", "prot"},
		{"{\"proto\": \"tpc\"}", "proto"},
		{"{\"proto\": \"\"}", "proto"},
		{"{\"proto\": \"6x\"}", "proto"},
		{"{\"proto\": 256}", "proto"},
		{"{\"proto\": \"256\"}", "proto"},
		{"{\"proto\": \"99999999999999999999\"}", "proto"},
		{"{\"proto\": -1}", "proto"},
		{"{\"proto\": null}", "proto"},
		{"{\"state\": \"open\"}", "state"},
		{"{\"state\": 3}", "state"},
		{"{\"family\": 5}", "family"},
		{"{\"family\": \"4\"}", "family"},
		{"{\"address\": \"192.0.2\"}", "address"},
		{"{\"source\": \"192.0.2.0/33\"}", "source"},
		{"{\"destination\": 7}", "destination"},
		{"{\"port\": 65536}", "port"},
		{"{\"sport\": -1}", "sport"},
		{"{\"dport\": \"80\"}", "dport"},
		{"{\"dport\": 80.5}", "dport"},
		{"{\"inbound\": 1}", "inbound"},
		{"{\"qube\": \"\"}", "qube"},
		{"{\"qube\": \"a-name-that-is-longer-than-any-of-a-qube\"}", "qube"},
	};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct flow_filter filter;
		const char *key, *wants;

		CU_ASSERT_EQUAL(parse(cases[i].filter, &filter, &key, &wants), -EINVAL);
		CU_ASSERT_STRING_EQUAL(key, cases[i].key);
		/* what is allowed is said, but for a key that is not there */
		CU_ASSERT((wants == NULL) == (strcmp(key, "prot") == 0));
	}
}

static json_t *shown[5];
static unsigned shown_count;

static void
show(void *context, struct flow *flow)
{
	(void)context;
	shown[shown_count++] =
		flow_json(atomic_load(&plane->dataplane->policy), flow, 0, plane->now_ms);
}

/* What is shown of the flow with a member of this value. */
static json_t *
shown_with(const char *member, const char *value)
{
	for (unsigned i = 0; i < shown_count; i++) {
		const char *text = json_string_value(json_object_get(shown[i], member));

		if (text != NULL && strcmp(text, value) == 0)
			return shown[i];
	}
	CU_FAIL_FATAL("no such flow is shown");
	return NULL;
}

static void
expect_shown(json_t *object, const char *expected)
{
	json_t *wanted = json_loads(expected, 0, NULL);

	CU_ASSERT_PTR_NOT_NULL_FATAL(wanted);
	CU_ASSERT(json_equal(object, wanted));
	if (!json_equal(object, wanted)) {
		char *text = json_dumps(object, 0);

		printf("\n    %s\n    instead of %s\n", text, expected);
		free(text);
	}
	json_decref(wanted);
}

static void
test_shown(void)
{
	shown_count = 0;
	flows_make();
	flow_walk(plane->dataplane->workers[0]->flows, show, NULL);
	CU_ASSERT_EQUAL_FATAL(shown_count, 5);
	expect_shown(shown_with("state", "replied"),
		"{\"proto\": \"udp\", \"family\": 4, \"state\": \"replied\", \"qube\": \"work\", "
		"\"rule\": \"work/policy\", \"inbound\": false, \"replied\": true, "
		"\"expires\": 300, \"original\": {\"source\": \"10.137.0.16\", "
		"\"destination\": \"192.0.2.7\", \"sport\": 4001, \"dport\": 7000}, \"reply\": "
		"{\"source\": \"192.0.2.7\", \"destination\": \"192.168.50.1\", \"sport\": 7000, "
		"\"dport\": 4001}, \"in\": \"work\", \"out\": \"uplink\", \"worker\": 0}");
	expect_shown(shown_with("in", "uplink"),
		"{\"proto\": \"tcp\", \"family\": 4, \"state\": \"syn-sent\", \"qube\": "
		"\"personal\", \"inbound\": true, \"replied\": false, \"expires\": 240, "
		"\"original\": {\"source\": \"192.0.2.7\", \"destination\": \"192.168.50.1\", "
		"\"sport\": 5555, \"dport\": 8080}, \"reply\": {\"source\": \"10.137.0.17\", "
		"\"destination\": \"192.0.2.7\", \"sport\": 80, \"dport\": 5555}, \"in\": "
		"\"uplink\", \"out\": \"personal\", \"worker\": 0}");
	expect_shown(shown_with("proto", "icmp6"),
		"{\"proto\": \"icmp6\", \"family\": 6, \"state\": \"unreplied\", \"qube\": "
		"\"personal\", \"rule\": \"personal/policy\", \"inbound\": false, \"replied\": "
		"false, \"expires\": 60, \"original\": {\"source\": \"fd09::11\", \"destination\": "
		"\"2606:4700::7\", \"id\": 77}, \"reply\": {\"source\": \"2606:4700::7\", "
		"\"destination\": \"fd00:50::1\", \"id\": 77}, \"in\": \"personal\", \"out\": "
		"\"uplink\", \"worker\": 0}");
	for (unsigned i = 0; i < shown_count; i++)
		json_decref(shown[i]);
	flows_end();
}

/* The number of a rule means nothing when the rules are others now. */
static void
test_stale_rule(void)
{
	shown_count = 0;
	flows_make();
	plane_commit(plane, &(struct plane_options){.rules = "policy=accept\naction=accept\n"});
	flow_walk(plane->dataplane->workers[0]->flows, show, NULL);
	CU_ASSERT_PTR_NULL(json_object_get(shown_with("state", "replied"), "rule"));
	for (unsigned i = 0; i < shown_count; i++)
		json_decref(shown[i]);
	flows_end();
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"what a filter means", test_matches},
		{"what it refuses", test_refuses},
		{"flows as they are shown", test_shown},
		{"rules that are others now", test_stale_rule},
	};

	unit_eal();
	return UNIT_RUN("flow_filter", tests);
}
