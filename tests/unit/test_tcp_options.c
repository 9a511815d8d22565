/* SPDX-License-Identifier: BSD-3-Clause */
/* TCP options as far as the tracker reads them: window scale and SACK, honest and malformed. */
#include "tests/unit/segment.h"

#define NOP 1
#define SCALE 3
#define SACK 5

static const struct handshake plain = {
	.isn = {UINT32_MAX - 20000, 300000},
	.window = {16000, 8000},
	.scale = {NO_SCALE, NO_SCALE},
};

/* --- window scale --- */

/* How far @p direction may send from its first byte, by the last number that is not refused. */
static uint32_t
reach(const struct flow *flow, const struct handshake *shake, enum direction direction)
{
	uint32_t low = 0, high = 1u << 31;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (ask(flow, direction, data(shake, direction, middle, 0, 0)) == TCP_PASS)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* RFC 7323 section 2.2: scaled only where both ask for it; section 2.3: 14 at most. */
static void
test_scale(void)
{
	static const struct {
		int asked[2];
		unsigned used[2];
	} cases[] = {
		{{NO_SCALE, NO_SCALE}, {0, 0}},
		{{7, NO_SCALE}, {0, 0}},
		{{NO_SCALE, 7}, {0, 0}},
		{{7, 0}, {7, 0}},
		{{0, 7}, {0, 7}},
		{{3, 9}, {3, 9}},
		{{14, 14}, {14, 14}},
		{{15, 2}, {14, 2}},
		{{2, 16}, {2, 14}},
		{{255, 255}, {14, 14}},
	};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct handshake shake = plain;
		struct flow flow;

		memcpy(shake.scale, cases[i].asked, sizeof(shake.scale));
		flow = answered(&shake);
		/* A window in a SYN is never scaled. */
		CU_ASSERT_EQUAL(reach(&flow, &shake, ORIGINAL), 8000);
		CU_ASSERT_EQUAL(reach(&flow, &shake, REPLY), 16000);
		flow = established(&shake);
		CU_ASSERT_EQUAL(reach(&flow, &shake, ORIGINAL), 8000);
		CU_ASSERT_EQUAL(reach(&flow, &shake, REPLY), 16000u << cases[i].used[ORIGINAL]);
		CU_ASSERT_EQUAL(say(&flow, REPLY, data(&shake, REPLY, 0, 0, 0)), TCP_PASS);
		CU_ASSERT_EQUAL(reach(&flow, &shake, ORIGINAL), 8000u << cases[i].used[REPLY]);
	}
}

/* The largest window there is fits its field. */
static void
test_largest_window(void)
{
	struct handshake shake = plain;
	struct flow flow;

	shake.window[0] = shake.window[1] = UINT16_MAX;
	shake.scale[0] = shake.scale[1] = 14;
	flow = established(&shake);
	CU_ASSERT_EQUAL(say(&flow, REPLY, data(&shake, REPLY, 0, 0, 0)), TCP_PASS);
	CU_ASSERT_EQUAL(reach(&flow, &shake, ORIGINAL), UINT16_MAX << 14);
	CU_ASSERT_EQUAL(reach(&flow, &shake, REPLY), UINT16_MAX << 14);
	CU_ASSERT_EQUAL(flow.tcp[0].max_window, (UINT16_MAX << 14) / UNIT);
	CU_ASSERT_EQUAL(flow.tcp[1].max_window, (UINT16_MAX << 14) / UNIT);
}

/* Windows are rounded up, never down: nothing that was allowed is refused. */
static void
test_rounding(void)
{
	for (unsigned window = 1; window < 100; window++) {
		struct handshake shake = plain;
		struct flow flow;

		shake.window[REPLY] = (uint16_t)window;
		flow = established(&shake);
		CU_ASSERT_EQUAL(reach(&flow, &shake, ORIGINAL), window);
		CU_ASSERT_EQUAL(flow.tcp[REPLY].max_window, (window + UNIT - 1) / UNIT);
	}
}

/* The scale stands anywhere among the options, or is not there. */
static void
test_scale_found(void)
{
	static const struct {
		uint8_t bytes[40];
		uint8_t length;
		unsigned scale; /* 0: none */
	} cases[] = {
		{{SCALE, 3, 5}, 3, 5},
		{{NOP, NOP, NOP, NOP, SCALE, 3, 5, NOP}, 8, 5},
		{{2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, NOP, SCALE, 3, 5}, 20, 5},
		{{254, 2, SCALE, 3, 5}, 5, 5},
		{{SCALE, 3, 5, SCALE, 3, 7}, 6, 5},
		{{0, SCALE, 3, 5}, 4, 0},    /* behind the end */
		{{SCALE, 3}, 2, 0},          /* truncated */
		{{SCALE}, 1, 0},             /* more so */
		{{SCALE, 2, 5, 5}, 4, 0},    /* too short */
		{{SCALE, 4, 5, 5}, 4, 0},    /* too long */
		{{SCALE, 0, 5, 5}, 4, 0},    /* no length */
		{{SCALE, 1, 5, 5}, 4, 0},    /* less than itself */
		{{8, 0, SCALE, 3, 5}, 5, 0}, /* an option that never ends before it */
		{{8, 1, SCALE, 3, 5}, 5, 0},
		{{8, 10, SCALE, 3, 5}, 5, 0}, /* one that takes it for its own */
		{{8, 255, SCALE, 3, 5}, 5, 0},
	};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct handshake shake = plain;
		struct tcp_segment syn;
		struct flow flow = {.protocol = 6};
		uint8_t *options = malloc(cases[i].length);

		shake.scale[REPLY] = 0;
		syn = syn_of(&shake, ORIGINAL);
		if (options == NULL)
			abort();
		memcpy(options, cases[i].bytes, cases[i].length);
		syn.options = options;
		syn.options_length = cases[i].length;
		tcp_open(&flow, &syn);
		free(options);
		CU_ASSERT_EQUAL(say(&flow, REPLY, syn_of(&shake, REPLY)), TCP_PASS);
		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, 0, 0)), TCP_PASS);
		CU_ASSERT_EQUAL(reach(&flow, &shake, REPLY), 16000u << cases[i].scale);
	}
}

/* --- SACK --- */

/* The reply has sent 6000 bytes, of which the original has acknowledged 1000. */
static struct flow
holed(void)
{
	struct flow flow = established(&plain);

	CU_ASSERT_EQUAL(say(&flow, REPLY, data(&plain, REPLY, 0, 0, 6000)), TCP_PASS);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, data(&plain, ORIGINAL, 0, 1000, 0)), TCP_PASS);
	return flow;
}

static void
edge_put(uint8_t *at, uint32_t sequence)
{
	rte_be32_t edge = rte_cpu_to_be_32(plain.isn[REPLY] + 1 + sequence);

	memcpy(at, &edge, sizeof(edge));
}

/* @p blocks of two edges each, behind @p lead bytes of NOP. @return the length */
static uint8_t
sack_build(uint8_t *options, unsigned lead, unsigned blocks, const uint32_t (*edges)[2])
{
	memset(options, NOP, lead);
	options[lead] = SACK;
	options[lead + 1] = (uint8_t)(2 + 8 * blocks);
	for (unsigned i = 0; i < blocks; i++) {
		edge_put(options + lead + 2 + 8 * i, edges[i][0]);
		edge_put(options + lead + 6 + 8 * i, edges[i][1]);
	}
	return (uint8_t)(lead + 2 + 8 * blocks);
}

/* RFC 2018: III counts from the highest right edge, in whichever block and place it stands. */
static void
test_sack_blocks(void)
{
	struct flow flow = holed();

	for (unsigned lead = 0; lead < 5; lead++)
		for (unsigned blocks = 1; blocks <= 4; blocks++)
			for (unsigned highest = 0; highest < blocks; highest++)
				for (unsigned over = 0; over < 2; over++) {
					uint32_t edges[4][2] = {{2000, 2500}, {3000, 3500},
						{4000, 4500}, {5000, 5500}};
					uint8_t options[40];
					struct tcp_segment segment =
						data(&plain, ORIGINAL, 0, 1000, 0);

					edges[highest][1] = 6000 + over;
					if (lead + 2 + 8 * blocks > sizeof(options))
						continue;
					segment = with_options(segment, options,
						sack_build(options, lead, blocks, edges));
					CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, segment),
						over != 0 ? TCP_OUT_OF_WINDOW : TCP_PASS);
				}
}

/* What it acknowledges moves nothing but the window: data behind a hole is not acknowledged. */
static void
test_sack_window(void)
{
	static const uint32_t edges[1][2] = {{2000, 6000}};
	struct flow flow = holed();
	uint8_t options[40];
	struct tcp_segment segment = data(&plain, ORIGINAL, 0, 1000, 0);

	segment = with_options(segment, options, sack_build(options, 2, 1, edges));
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, segment), TCP_PASS);
	CU_ASSERT_EQUAL(flow.tcp[ORIGINAL].max_ack, plain.isn[REPLY] + 1 + 1000);
	CU_ASSERT_EQUAL(flow.tcp[ORIGINAL].max_window, (16000 + 5000 + UNIT - 1) / UNIT);
	CU_ASSERT_EQUAL(reach(&flow, &plain, REPLY), 6000 + 16000);
	/* what was acknowledged may still be sent once more */
	CU_ASSERT_EQUAL(ask(&flow, REPLY, data(&plain, REPLY, 1000, 0, 500)), TCP_PASS);
}

/* RFC 2883: a duplicate is reported below the acknowledgement, which stays the highest. */
static void
test_sack_duplicate(void)
{
	static const uint32_t edges[1][2] = {{0, 500}};
	struct flow flow = holed();
	uint8_t options[40];
	struct tcp_segment segment = data(&plain, ORIGINAL, 0, 1000, 0);

	segment = with_options(segment, options, sack_build(options, 2, 1, edges));
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, segment), TCP_PASS);
	CU_ASSERT_EQUAL(flow.tcp[ORIGINAL].max_window, 16000 / UNIT);
	CU_ASSERT_EQUAL(flow.tcp[ORIGINAL].max_ack, plain.isn[REPLY] + 1 + 1000);
}

/*
 * A block does not vouch for an acknowledgement that is ages old, and cannot make a window of the
 * distance between them.
 */
static void
test_sack_old_ack(void)
{
	static const uint32_t edges[1][2] = {{5000, 6000}};
	struct flow flow = holed();
	uint8_t options[40];
	struct tcp_segment segment = data(&plain, ORIGINAL, 0, (uint32_t)(6000 - 66001), 0);

	segment = with_options(segment, options, sack_build(options, 2, 1, edges));
	now_ms += 1000;
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, segment), TCP_IGNORE);
	segment.acknowledgement -= 1u << 30;
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, segment), TCP_IGNORE);
}

/*
 * Malformed: the block would be refused if it were believed, so what passes was not. None is read
 * beyond its end.
 */
static void
test_sack_malformed(void)
{
	static const uint32_t edges[4][2] = {
		{7000, 8000}, {7000, 8000}, {7000, 8000}, {7000, 8000}};
	static const struct {
		uint8_t announced; /* by the option's length byte */
		uint8_t length;    /* of all options: what follows is padding */
		bool believed;
	} cases[] = {
		{10, 10, true},
		{10, 12, true},
		{34, 34, true},
		{0, 10, false},
		{1, 10, false},
		{2, 10, false},
		{3, 11, false},
		{9, 12, false},
		{11, 12, false},
		{12, 12, false},
		{17, 20, false},
		{19, 20, false},
		{11, 10, false},
		{18, 10, false},
		{18, 17, false},
		{34, 33, false},
		{255, 34, false},
		{10, 9, false},
		{10, 3, false},
		{10, 2, false},
		{10, 1, false},
	};
	struct flow flow = holed();

	for (unsigned lead = 0; lead < 6; lead++)
		for (unsigned i = 0; i < RTE_DIM(cases); i++) {
			uint8_t options[48];
			struct tcp_segment segment = data(&plain, ORIGINAL, 0, 1000, 0);

			if (lead + cases[i].length > 40)
				continue;
			sack_build(options, lead, 4, edges);
			options[lead + 1] = cases[i].announced;
			if (cases[i].announced < cases[i].length)
				memset(options + lead + RTE_MAX(cases[i].announced, 2), 0,
					cases[i].length - RTE_MAX(cases[i].announced, 2));
			segment = with_options(segment, options, (size_t)lead + cases[i].length);
			CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, segment),
				cases[i].believed ? TCP_OUT_OF_WINDOW : TCP_PASS);
		}
}

/* RFC 7323 appendix A: a time stamp alone, as stacks align it, is not searched for blocks. */
static void
test_stamp(void)
{
	static const uint32_t edges[1][2] = {{7000, 8000}};
	struct flow flow = holed();
	uint8_t options[40] = {NOP, NOP, 8, 10};
	struct tcp_segment segment = data(&plain, ORIGINAL, 0, 1000, 0);

	/* eight bytes of stamp that look like an option */
	sack_build(options + 4, 0, 0, NULL);
	options[5] = 10;
	CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, with_options(segment, options, 12)), TCP_PASS);
	/* as long, but one block */
	sack_build(options, 2, 1, edges);
	CU_ASSERT_EQUAL(
		ask(&flow, ORIGINAL, with_options(segment, options, 12)), TCP_OUT_OF_WINDOW);
	/* a stamp, and a block behind it; or before it */
	memcpy(options, (const uint8_t[]){NOP, NOP, 8, 10}, 4);
	memset(options + 4, SACK, 8);
	sack_build(options + 12, 2, 1, edges);
	CU_ASSERT_EQUAL(
		ask(&flow, ORIGINAL, with_options(segment, options, 24)), TCP_OUT_OF_WINDOW);
	sack_build(options, 2, 1, edges);
	memcpy(options + 12, (const uint8_t[]){NOP, NOP, 8, 10}, 4);
	CU_ASSERT_EQUAL(
		ask(&flow, ORIGINAL, with_options(segment, options, 24)), TCP_OUT_OF_WINDOW);
	/* a stamp that is aligned otherwise */
	memcpy(options, (const uint8_t[]){8, 10, 0, 0, 0, 1, 0, 0, 0, 1, NOP, NOP}, 12);
	CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, with_options(segment, options, 12)), TCP_PASS);
	/* the shortest options that can hold a block are read, to their end */
	CU_ASSERT_EQUAL(ask(&flow, ORIGINAL,
				with_options(segment, options, sack_build(options, 0, 1, edges))),
		TCP_OUT_OF_WINDOW);
}

/* Whatever the options are, they are read to their end and no further. */
static void
test_random_options(void)
{
	static const uint8_t kinds[] = {0, NOP, NOP, 2, SCALE, 4, SACK, SACK, 8, 34, 254};
	struct flow flow = holed();
	unsigned passed = 0;

	srand(1);
	for (unsigned i = 0; i < 200000; i++) {
		uint8_t options[40];
		uint8_t length = (uint8_t)((unsigned)rand() % (sizeof(options) + 1));
		struct tcp_segment segment = data(&plain, ORIGINAL, 0, 1000, 0);
		struct flow opened;

		for (unsigned at = 0; at < length; at++)
			options[at] = rand() % 2 == 0
					      ? kinds[(unsigned)rand() % RTE_DIM(kinds)]
					      : (uint8_t)(rand() % (rand() % 4 == 0 ? 256 : 20));
		passed += ask(&flow, ORIGINAL, with_options(segment, options, length)) == TCP_PASS;
		segment = with_options(syn_of(&plain, REPLY), options, length);
		opened = asked(&plain);
		/* a block in a SYN is none */
		CU_ASSERT_EQUAL_FATAL(say(&opened, REPLY, segment), TCP_PASS);
		CU_ASSERT_FATAL(opened.tcp[REPLY].scale <= 14);
	}
	CU_ASSERT(passed > 100000);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"RFC 7323 section 2.2, 2.3: window scale", test_scale},
		{"RFC 7323 section 2.3: the largest window", test_largest_window},
		{"windows are rounded up", test_rounding},
		{"where the scale stands", test_scale_found},
		{"RFC 2018: III and blocks", test_sack_blocks},
		{"RFC 2018: a block is no acknowledgement", test_sack_window},
		{"RFC 2883: duplicates", test_sack_duplicate},
		{"IV: a block does not vouch for an old acknowledgement", test_sack_old_ack},
		{"malformed blocks", test_sack_malformed},
		{"RFC 7323 appendix A: a time stamp alone", test_stamp},
		{"random options", test_random_options},
	};

	segment_start();
	return UNIT_RUN("tcp options", tests);
}
