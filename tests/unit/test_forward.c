/* SPDX-License-Identifier: BSD-3-Clause */
/* The forward table: who listens, for whom, where it leads, and which qubes may meet. */
#include "classifier/forward.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>

#include <rte_common.h>

static struct tuple
packet(const char *source, uint8_t protocol, uint16_t port)
{
	struct tuple tuple = {
		.protocol = protocol, .source_port = htons(1234), .destination_port = htons(port)};
	enum family family;

	CU_ASSERT_EQUAL_FATAL(address_parse(source, &family, &tuple.source), 0);
	tuple.family = (uint8_t)family;
	return tuple;
}

/* The name of the forward that takes a packet, "" if there is none. */
static const char *
taken_by(const struct forward_table *table, enum forward_side side, const char *source,
	uint8_t protocol, uint16_t port)
{
	struct tuple tuple = packet(source, protocol, port);
	const struct forward *forward = forward_find(table, side, &tuple);

	return forward != NULL ? forward->name : "";
}

static struct forward
forward_make(const char *name, enum forward_side side, uint8_t protocol, uint16_t first,
	uint16_t last, const char *source)
{
	struct forward forward = {.side = side,
		.protocol = protocol,
		.first = first,
		.last = last,
		.target_first = first,
		.qube = 7};

	snprintf(forward.name, sizeof(forward.name), "%s", name);
	if (source == NULL)
		return forward;
	forward.has_source = true;
	CU_ASSERT_EQUAL_FATAL(prefix_parse(source, &forward.source_family, &forward.source), 0);
	return forward;
}

static struct forward_table *
table_make(struct forward *forwards, unsigned count, uint64_t now_s)
{
	struct forward_table *table = forward_table_create(forwards, count, NULL, 0, now_s);

	CU_ASSERT_PTR_NOT_NULL_FATAL(table);
	/* What it was made from is not needed any more. */
	memset(forwards, 0xa5, count * sizeof(*forwards));
	return table;
}

static void
test_empty(void)
{
	struct forward_table *table = forward_table_create(NULL, 0, NULL, 0, 0);

	CU_ASSERT_PTR_NOT_NULL_FATAL(table);
	CU_ASSERT_STRING_EQUAL(taken_by(table, FORWARD_EXTERNAL, "1.2.3.4", IPPROTO_TCP, 80), "");
	CU_ASSERT_FALSE(forward_allows(table, 0, 1, IPPROTO_TCP, htons(80)));
	CU_ASSERT_EQUAL(forward_next_expiry(table), 0);
	for (unsigned port = 0; port <= UINT16_MAX; port++)
		if (port_set_has(forward_reserved(table, IPPROTO_TCP), (uint16_t)port) ||
			port_set_has(forward_reserved(table, IPPROTO_UDP), (uint16_t)port))
			CU_FAIL("reserved for nobody");
	forward_table_free(table);
	forward_table_free(NULL);
}

static void
test_find(void)
{
	struct forward forwards[] = {
		forward_make("web", FORWARD_EXTERNAL, IPPROTO_TCP, 80, 80, NULL),
		forward_make("range", FORWARD_EXTERNAL, IPPROTO_UDP, 5000, 5009, NULL),
		forward_make("inside", FORWARD_INTERNAL, IPPROTO_TCP, 80, 81, NULL),
		forward_make("last", FORWARD_EXTERNAL, IPPROTO_TCP, 65535, 65535, NULL),
		forward_make("first", FORWARD_EXTERNAL, IPPROTO_TCP, 1, 1, NULL),
	};
	struct forward_table *table = table_make(forwards, RTE_DIM(forwards), 0);

	CU_ASSERT_EQUAL(table->count, RTE_DIM(forwards));
#define TAKEN(side, protocol, port) \
	taken_by(table, FORWARD_##side, "192.0.2.1", IPPROTO_##protocol, port)
	CU_ASSERT_STRING_EQUAL(TAKEN(EXTERNAL, TCP, 80), "web");
	CU_ASSERT_STRING_EQUAL(TAKEN(EXTERNAL, TCP, 79), "");
	CU_ASSERT_STRING_EQUAL(TAKEN(EXTERNAL, TCP, 81), "");
	CU_ASSERT_STRING_EQUAL(TAKEN(EXTERNAL, UDP, 80), "");
	CU_ASSERT_STRING_EQUAL(TAKEN(INTERNAL, TCP, 80), "inside");
	CU_ASSERT_STRING_EQUAL(TAKEN(INTERNAL, TCP, 81), "inside");
	CU_ASSERT_STRING_EQUAL(TAKEN(INTERNAL, TCP, 82), "");
	CU_ASSERT_STRING_EQUAL(TAKEN(INTERNAL, UDP, 5000), "");
	CU_ASSERT_STRING_EQUAL(TAKEN(EXTERNAL, UDP, 4999), "");
	CU_ASSERT_STRING_EQUAL(TAKEN(EXTERNAL, UDP, 5000), "range");
	CU_ASSERT_STRING_EQUAL(TAKEN(EXTERNAL, UDP, 5005), "range");
	CU_ASSERT_STRING_EQUAL(TAKEN(EXTERNAL, UDP, 5009), "range");
	CU_ASSERT_STRING_EQUAL(TAKEN(EXTERNAL, UDP, 5010), "");
	CU_ASSERT_STRING_EQUAL(TAKEN(EXTERNAL, TCP, 5005), "");
	CU_ASSERT_STRING_EQUAL(TAKEN(EXTERNAL, TCP, 65535), "last");
	CU_ASSERT_STRING_EQUAL(TAKEN(EXTERNAL, TCP, 1), "first");
	CU_ASSERT_STRING_EQUAL(TAKEN(EXTERNAL, TCP, 0), "");
	/* An identifier of ICMP is no port. */
	CU_ASSERT_STRING_EQUAL(TAKEN(EXTERNAL, ICMP, 80), "");
	CU_ASSERT_STRING_EQUAL(TAKEN(EXTERNAL, SCTP, 80), "");
	/* Without a source it stands for both families. */
	CU_ASSERT_STRING_EQUAL(
		taken_by(table, FORWARD_EXTERNAL, "2001:db8::1", IPPROTO_TCP, 80), "web");
#undef TAKEN
	forward_table_free(table);
}

static void
test_sources(void)
{
	struct forward forwards[] = {
		forward_make("near", FORWARD_EXTERNAL, IPPROTO_TCP, 80, 80, "10.1.0.0/16"),
		forward_make("all6", FORWARD_EXTERNAL, IPPROTO_TCP, 80, 80, "::/0"),
		/* the bits of 10.2.0.0/16 in the other family */
		forward_make("six", FORWARD_EXTERNAL, IPPROTO_TCP, 81, 81, "a02::/16"),
		forward_make("one", FORWARD_EXTERNAL, IPPROTO_TCP, 82, 82, "10.3.0.1"),
		forward_make("all4", FORWARD_EXTERNAL, IPPROTO_TCP, 83, 83, "0.0.0.0/0"),
	};
	struct forward_table *table = table_make(forwards, RTE_DIM(forwards), 0);
	static const struct {
		const char *source;
		uint16_t port;
		const char *name;
	} cases[] = {
		{"10.1.0.0", 80, "near"},
		{"10.1.255.255", 80, "near"},
		{"10.2.0.0", 80, ""},
		{"10.0.255.255", 80, ""},
		{"2001:db8::1", 80, "all6"},
		{"10.2.0.1", 81, ""},
		{"a02::1", 81, "six"},
		{"a03::1", 81, ""},
		{"10.3.0.1", 82, "one"},
		{"10.3.0.2", 82, ""},
		{"255.255.255.255", 83, "all4"},
		{"::", 83, ""},
	};

	for (unsigned i = 0; i < RTE_DIM(cases); i++)
		CU_ASSERT_STRING_EQUAL(taken_by(table, FORWARD_EXTERNAL, cases[i].source,
					       IPPROTO_TCP, cases[i].port),
			cases[i].name);
	forward_table_free(table);
}

/* conf/ refuses such a pair, and yet the answer must be one and the same. */
static void
test_order(void)
{
	struct forward forwards[] = {
		forward_make("narrow", FORWARD_EXTERNAL, IPPROTO_TCP, 80, 90, "10.0.0.0/8"),
		forward_make("wide", FORWARD_EXTERNAL, IPPROTO_TCP, 70, 85, NULL),
		forward_make("late", FORWARD_EXTERNAL, IPPROTO_TCP, 70, 90, NULL),
	};
	struct forward_table *table = table_make(forwards, RTE_DIM(forwards), 0);

	CU_ASSERT_STRING_EQUAL(
		taken_by(table, FORWARD_EXTERNAL, "10.0.0.1", IPPROTO_TCP, 80), "narrow");
	CU_ASSERT_STRING_EQUAL(
		taken_by(table, FORWARD_EXTERNAL, "11.0.0.1", IPPROTO_TCP, 80), "wide");
	CU_ASSERT_STRING_EQUAL(
		taken_by(table, FORWARD_EXTERNAL, "11.0.0.1", IPPROTO_TCP, 86), "late");
	forward_table_free(table);
}

static void
test_targets(void)
{
	struct forward range = forward_make("a", FORWARD_EXTERNAL, IPPROTO_TCP, 8080, 8089, NULL);

	range.target_first = 80;
	for (uint16_t i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(forward_target_port(&range, htons(8080 + i)), htons(80 + i));
	range.target_single = true;
	for (uint16_t i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(forward_target_port(&range, htons(8080 + i)), htons(80));
	range = forward_make("a", FORWARD_EXTERNAL, IPPROTO_TCP, 1, 6, NULL);
	range.target_first = 65530;
	CU_ASSERT_EQUAL(forward_target_port(&range, htons(6)), htons(65535));
	range = forward_make("a", FORWARD_EXTERNAL, IPPROTO_TCP, 65530, 65535, NULL);
	range.target_first = 1;
	CU_ASSERT_EQUAL(forward_target_port(&range, htons(65535)), htons(6));
}

static void
test_expiry(void)
{
	struct forward forwards[] = {
		forward_make("past", FORWARD_EXTERNAL, IPPROTO_TCP, 80, 80, NULL),
		forward_make("now", FORWARD_EXTERNAL, IPPROTO_TCP, 81, 81, NULL),
		forward_make("late", FORWARD_EXTERNAL, IPPROTO_TCP, 82, 82, NULL),
		forward_make("next", FORWARD_EXTERNAL, IPPROTO_TCP, 83, 83, NULL),
		forward_make("never", FORWARD_EXTERNAL, IPPROTO_TCP, 84, 84, NULL),
	};
	struct forward_table *table;

	forwards[0].expire_s = 999;
	forwards[1].expire_s = 1000;
	forwards[2].expire_s = UINT64_C(1) << 40;
	forwards[3].expire_s = 1001;
	table = table_make(forwards, RTE_DIM(forwards), 1000);
	CU_ASSERT_EQUAL(table->count, 3);
	CU_ASSERT_STRING_EQUAL(table->forwards[0].name, "late");
	CU_ASSERT_STRING_EQUAL(table->forwards[2].name, "never");
	CU_ASSERT_EQUAL(forward_next_expiry(table), 1001);
	for (uint16_t port = 80; port < 85; port++) {
		bool listens = port >= 82;

		CU_ASSERT_EQUAL(
			taken_by(table, FORWARD_EXTERNAL, "1.2.3.4", IPPROTO_TCP, port)[0] != '\0',
			listens);
		/* What nobody listens on any more may be handed out again. */
		CU_ASSERT_EQUAL(port_set_has(forward_reserved(table, IPPROTO_TCP), port), listens);
	}
	forward_table_free(table);
}

static void
test_reserved(void)
{
	struct forward forwards[] = {
		forward_make("out", FORWARD_EXTERNAL, IPPROTO_TCP, 63, 65, "10.0.0.0/8"),
		forward_make("in", FORWARD_INTERNAL, IPPROTO_UDP, 65534, 65535, NULL),
	};
	struct forward_table *table = table_make(forwards, RTE_DIM(forwards), 0);
	const struct port_set *tcp = forward_reserved(table, IPPROTO_TCP);
	const struct port_set *udp = forward_reserved(table, IPPROTO_UDP);
	unsigned wrong = 0;

	for (uint32_t port = 0; port <= UINT16_MAX; port++) {
		wrong += port_set_has(tcp, (uint16_t)port) != (port >= 63 && port <= 65);
		wrong += port_set_has(udp, (uint16_t)port) != (port >= 65534);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_PTR_NULL(forward_reserved(table, IPPROTO_ICMP));
	CU_ASSERT_PTR_NULL(forward_reserved(table, IPPROTO_ICMPV6));
	CU_ASSERT_PTR_NULL(forward_reserved(table, IPPROTO_SCTP));
	forward_table_free(table);
}

static void
test_allows(void)
{
	struct allow allows[] = {
		{.name = "all", .from = 1, .to = 2, .last = UINT16_MAX},
		{.name = "web",
			.from = 2,
			.to = 3,
			.protocol = IPPROTO_TCP,
			.first = 80,
			.last = 90},
		{.name = "ping", .from = 3, .to = 1, .protocol = IPPROTO_ICMP, .last = UINT16_MAX},
		{.name = "more",
			.from = 2,
			.to = 3,
			.protocol = IPPROTO_TCP,
			.first = 99,
			.last = 99},
	};
	struct forward_table *table =
		forward_table_create(NULL, 0, allows, RTE_DIM(allows), 1 << 30);

	CU_ASSERT_PTR_NOT_NULL_FATAL(table);
	memset(allows, 0xa5, sizeof(allows));
#define ALLOWED(from, to, protocol, port) \
	forward_allows(table, from, to, IPPROTO_##protocol, htons(port))
	CU_ASSERT_TRUE(ALLOWED(1, 2, TCP, 0));
	CU_ASSERT_TRUE(ALLOWED(1, 2, TCP, 65535));
	CU_ASSERT_TRUE(ALLOWED(1, 2, UDP, 53));
	CU_ASSERT_TRUE(ALLOWED(1, 2, ICMPV6, 0));
	CU_ASSERT_TRUE(ALLOWED(1, 2, SCTP, 0));
	/* one way only, and only these two */
	CU_ASSERT_FALSE(ALLOWED(2, 1, TCP, 80));
	CU_ASSERT_FALSE(ALLOWED(1, 3, TCP, 80));
	CU_ASSERT_FALSE(ALLOWED(3, 2, TCP, 80));
	CU_ASSERT_TRUE(ALLOWED(2, 3, TCP, 80));
	CU_ASSERT_TRUE(ALLOWED(2, 3, TCP, 90));
	CU_ASSERT_FALSE(ALLOWED(2, 3, TCP, 79));
	CU_ASSERT_FALSE(ALLOWED(2, 3, TCP, 91));
	CU_ASSERT_FALSE(ALLOWED(2, 3, UDP, 80));
	CU_ASSERT_FALSE(ALLOWED(2, 3, ICMP, 0));
	CU_ASSERT_TRUE(ALLOWED(2, 3, TCP, 99));
	/* icmp is that of both families */
	CU_ASSERT_TRUE(ALLOWED(3, 1, ICMP, 0));
	CU_ASSERT_TRUE(ALLOWED(3, 1, ICMPV6, 0));
	CU_ASSERT_FALSE(ALLOWED(3, 1, TCP, 0));
#undef ALLOWED
	forward_table_free(table);
}

static unsigned
random_below(unsigned bound)
{
	static uint64_t state = 99;

	state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned)(state >> 33) % bound;
}

/* The bits that answer first must never say no where the walk would say yes. */
static void
test_random(void)
{
	static struct forward forwards[FORWARDS_MAX], kept[FORWARDS_MAX];
	struct forward_table *table;
	unsigned wrong = 0, found = 0;

	for (unsigned i = 0; i < FORWARDS_MAX; i++) {
		uint16_t first = (uint16_t)(1 + random_below(65535));

		forwards[i] =
			forward_make("x", random_below(2) ? FORWARD_EXTERNAL : FORWARD_INTERNAL,
				random_below(2) ? IPPROTO_TCP : IPPROTO_UDP, first,
				(uint16_t)RTE_MIN(65535u, first + random_below(30)), NULL);
		if (random_below(2)) {
			forwards[i].has_source = true;
			forwards[i].source_family = random_below(2);
			forwards[i].source.length = (uint8_t)random_below(2);
			forwards[i].source.address.v6[0] = forwards[i].source.length ? 0x80 : 0;
		}
	}
	memcpy(kept, forwards, sizeof(kept));
	table = table_make(forwards, FORWARDS_MAX, 0);
	for (unsigned i = 0; i < 200000; i++) {
		enum forward_side side = random_below(2) ? FORWARD_EXTERNAL : FORWARD_INTERNAL;
		struct tuple tuple = packet(random_below(2) ? "200.1.1.1" : "100.1.1.1",
			random_below(2) ? IPPROTO_TCP : IPPROTO_UDP, (uint16_t)random_below(65536));
		uint16_t port = ntohs(tuple.destination_port);
		const struct forward *expected = NULL;

		tuple.family = (uint8_t)random_below(2);
		for (unsigned j = 0; j < FORWARDS_MAX && expected == NULL; j++)
			if (kept[j].side == side && kept[j].protocol == tuple.protocol &&
				kept[j].first <= port && port <= kept[j].last &&
				(!kept[j].has_source ||
					(kept[j].source_family == tuple.family &&
						(kept[j].source.length == 0 ||
							tuple.source.v6[0] >= 0x80))))
				expected = &table->forwards[j];
		found += expected != NULL;
		wrong += forward_find(table, side, &tuple) != expected;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(found > 1000);
	forward_table_free(table);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"nothing listens", test_empty},
		{"side, protocol and port", test_find},
		{"who may connect", test_sources},
		{"the first one decides", test_order},
		{"one target port, or as many", test_targets},
		{"forwards end", test_expiry},
		{"ports that are never handed out", test_reserved},
		{"which qubes may meet", test_allows},
		{"a thousand forwards against a plain walk", test_random},
	};

	return UNIT_RUN("forward", tests);
}
