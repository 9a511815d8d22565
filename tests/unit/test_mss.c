/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MSS clamping: the segment after it must be the one that its sender would have made with the lower
 * value in the first place, to the last byte. Frames end where their buffers do.
 */
#include "nat/mss.h"
#include "classifier/parse.h"
#include "tests/unit/frames.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>

#include <rte_tcp.h>

#define SYN RTE_TCP_SYN_FLAG
#define ACK RTE_TCP_ACK_FLAG
#define OPTIONS_MAX 40

static struct rte_mempool *pool;
static struct frame before, expected, after;

/* Build a segment with @p length bytes of options. @return where they start */
static uint32_t
build(enum family family, uint8_t flags, const uint8_t *options, uint8_t length, uint16_t payload)
{
	bool ipv4 = family == FAMILY_IPV4;
	uint32_t at = ipv4 ? 54 : 74;

	frame_build(&before, &(struct frame_spec){
				     .source = ipv4 ? "10.137.0.16" : "fd09::10",
				     .destination = ipv4 ? "192.0.2.7" : "2001:470::7",
				     .protocol = IPPROTO_TCP,
				     .source_port = 40000,
				     .destination_port = 443,
				     .tcp_flags = flags,
				     .tcp_options = length,
				     .payload = payload,
			     });
	memcpy(before.bytes + at, options, length);
	frame_fix(before.bytes, before.length);
	return at;
}

/* Take `before` through mss_clamp into `after`. */
static void
clamp(uint16_t mss, uint64_t ol_flags)
{
	struct rte_mbuf *mbuf = frame_mbuf_tight(pool, before.bytes, before.length);

	mbuf->ol_flags |= ol_flags;
	CU_ASSERT_EQUAL_FATAL(parse_burst(&mbuf, 1), 1);
	mss_clamp(mbuf, mss);
	frame_of_mbuf(&after, mbuf);
	rte_pktmbuf_free(mbuf);
}

/* `before` must become itself with @p mss at @p at, or stay what it is if that is 0. */
static bool
becomes(uint32_t at, uint16_t mss, uint16_t limit)
{
	bool right;

	expected = before;
	if (at != 0) {
		expected.bytes[at] = (uint8_t)(mss >> 8);
		expected.bytes[at + 1] = (uint8_t)mss;
		frame_fix(expected.bytes, expected.length);
	}
	clamp(limit, 0);
	right = after.length == expected.length &&
		memcmp(after.bytes, expected.bytes, after.length) == 0;

	/* and so must be what hardware makes of it when it owes the checksum */
	frame_make_partial(&before);
	clamp(limit, RTE_MBUF_F_RX_L4_CKSUM_NONE);
	right &= at != 0 || memcmp(after.bytes, before.bytes, after.length) == 0;
	frame_complete(after.bytes, after.length);
	return right && after.length == expected.length &&
	       memcmp(after.bytes, expected.bytes, after.length) == 0;
}

static void
test_lowers(void)
{
	static const uint16_t values[] = {
		0, 1, 255, 256, 536, 1399, 1400, 1401, 1459, 1460, 8960, 0xff00, 0xfffe, 0xffff};

	for (unsigned i = 0; i < FAMILIES * RTE_DIM(values) * RTE_DIM(values); i++) {
		uint16_t value = values[i / FAMILIES % RTE_DIM(values)];
		uint16_t limit = values[i / FAMILIES / RTE_DIM(values)];
		uint8_t options[4] = {2, 4, (uint8_t)(value >> 8), (uint8_t)value};

		for (unsigned ack = 0; ack < 2; ack++) {
			uint32_t at = build(i % FAMILIES, (uint8_t)(SYN | (ack != 0 ? ACK : 0)),
				options, sizeof(options), 0);

			CU_ASSERT(becomes(value > limit ? at + 2 : 0, limit, limit));
		}
	}
}

/* Segments that are no SYN mean nothing by such an option. */
static void
test_other_segments(void)
{
	static const uint8_t options[4] = {2, 4, 0xff, 0xff};
	static struct frame datagram;
	struct rte_mbuf *mbuf;

	for (unsigned flags = 0; flags < 256; flags++) {
		uint32_t at = build(FAMILY_IPV4, (uint8_t)flags, options, sizeof(options), 30);

		CU_ASSERT(becomes((flags & SYN) != 0 ? at + 2 : 0, 1400, 1400));
	}
	/* a UDP datagram that looks like one */
	build(FAMILY_IPV4, SYN, options, sizeof(options), 0);
	datagram = before;
	datagram.bytes[23] = IPPROTO_UDP;
	datagram.bytes[38] = 0;
	datagram.bytes[39] = 20;
	frame_fix(datagram.bytes, datagram.length);
	mbuf = frame_mbuf_tight(pool, datagram.bytes, datagram.length);
	CU_ASSERT_EQUAL_FATAL(parse_burst(&mbuf, 1), 1);
	mss_clamp(mbuf, 1400);
	frame_of_mbuf(&after, mbuf);
	CU_ASSERT_EQUAL(memcmp(after.bytes, datagram.bytes, datagram.length), 0);
	rte_pktmbuf_free(mbuf);
}

/* In front of it, behind it, at every place, odd ones too; and an odd payload. */
static void
test_places(void)
{
	for (unsigned before_it = 0; before_it <= OPTIONS_MAX - 4; before_it++)
		for (unsigned nops = 0; nops < 2; nops++) {
			uint8_t options[OPTIONS_MAX];
			uint32_t at;

			memset(options, 1, sizeof(options));
			/* either NOPs all the way, or one long option */
			if (nops == 0 && before_it >= 2) {
				memset(options, 2, before_it);
				options[0] = 254;
				options[1] = (uint8_t)before_it;
			}
			memcpy(options + before_it, (uint8_t[]){2, 4, 0x23, 0x01}, 4);
			at = build(FAMILY_IPV4, SYN, options, sizeof(options),
				(uint16_t)(before_it % 3));
			CU_ASSERT(becomes(at + before_it + 2, 1360, 1360));
			at = build(FAMILY_IPV6, SYN | ACK, options, sizeof(options), 1);
			CU_ASSERT(becomes(at + before_it + 2, 1360, 1360));
		}
}

static void
test_malformed(void)
{
	static const struct {
		uint8_t length;
		uint8_t options[OPTIONS_MAX];
		uint8_t at; /* of the value that is lowered, 0: none */
	} cases[] = {
		{0, {0}, 0},
		{4, {2, 4, 0xff, 0xff}, 2},
		{4, {1, 1, 1, 1}, 0},
		{4, {0, 2, 4, 0xff}, 0},
		{8, {0, 0, 0, 0, 2, 4, 0xff, 0xff}, 0}, /* behind the end */
		{8, {2, 4, 0xff, 0xff, 2, 4, 0xff, 0xff}, 2},
		{8, {2, 4, 0x00, 0xff, 2, 4, 0xff, 0xff}, 0}, /* the first is low enough */
		{8, {2, 3, 0xff, 1, 2, 4, 0xff, 0xff}, 6},    /* no MSS option of that length */
		{8, {2, 6, 0xff, 0xff, 2, 4, 0xff, 0xff}, 0},
		{8, {2, 2, 2, 4, 0xff, 0xff, 1, 1}, 4},
		{8, {2, 0, 2, 4, 0xff, 0xff, 1, 1}, 0}, /* where would the next one start */
		{8, {9, 0, 2, 4, 0xff, 0xff, 1, 1}, 0},
		{8, {9, 1, 2, 4, 0xff, 0xff, 1, 1}, 0},
		{8, {9, 9, 2, 4, 0xff, 0xff, 1, 1}, 0}, /* longer than there is room */
		{8, {9, 255, 2, 4, 0xff, 0xff, 1, 1}, 0},
		{8, {9, 8, 2, 4, 0xff, 0xff, 1, 1}, 0},
		{4, {1, 2, 4, 0xff}, 0}, /* cut off */
		{4, {1, 1, 2, 4}, 0},
		{4, {1, 1, 1, 2}, 0},
		{4, {1, 1, 1, 9}, 0},
		{4, {1, 1, 9, 2}, 0},
	};

	for (unsigned i = 0; i < FAMILIES * RTE_DIM(cases); i++) {
		uint32_t at =
			build(i % FAMILIES, SYN, cases[i / 2].options, cases[i / 2].length, 0);

		CU_ASSERT(becomes(cases[i / 2].at != 0 ? at + cases[i / 2].at : 0, 1200, 1200));
		/* payload behind them is no option */
		at = build(i % FAMILIES, SYN, cases[i / 2].options, cases[i / 2].length, 8);
		memcpy(before.bytes + at + cases[i / 2].length,
			(uint8_t[]){2, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 8);
		frame_fix(before.bytes, before.length);
		CU_ASSERT(becomes(cases[i / 2].at != 0 ? at + cases[i / 2].at : 0, 1200, 1200));
	}
}

/* A wrong checksum stays wrong by as much as it was. */
static void
test_wrong_stays_wrong(void)
{
	static const uint8_t options[4] = {2, 4, 0xff, 0xff};

	for (unsigned bit = 0; bit < 16; bit++) {
		build(FAMILY_IPV4, SYN, options, sizeof(options), 0);
		before.bytes[50 + bit / 8] ^= (uint8_t)(1 << bit % 8);
		clamp(1400, 0);
		CU_ASSERT_EQUAL(after.bytes[56] << 8 | after.bytes[57], 1400);
		CU_ASSERT_EQUAL(frame_faults(after.bytes, after.length), FRAME_L4_CHECKSUM);
	}
}

/* Where the value of the first option with a value of two bytes is, found the slow way. */
static uint32_t
value_at(const uint8_t *options, uint32_t length)
{
	uint32_t at = 0;

	for (;;) {
		if (at >= length || options[at] == 0)
			return UINT32_MAX;
		if (options[at] == 1) {
			at += 1;
		} else {
			if (at + 2 > length || options[at + 1] < 2 || at + options[at + 1] > length)
				return UINT32_MAX;
			if (options[at] == 2 && options[at + 1] == 4)
				return at + 2;
			at += options[at + 1];
		}
	}
}

static void
test_hostile(void)
{
	unsigned lowered = 0;
	unsigned rounds = 200000;

	srand(7);
	for (unsigned round = 0; round < rounds; round++) {
		uint8_t options[OPTIONS_MAX];
		uint8_t length = (uint8_t)(rand() % 11 * 4);
		uint16_t limit = (uint16_t)rand();
		uint32_t at, value;
		bool lower;

		for (unsigned i = 0; i < length; i++)
			options[i] = (uint8_t)(rand() % 8 == 0 ? rand() : rand() % 6);
		value = value_at(options, length);
		lower = value != UINT32_MAX && (options[value] << 8 | options[value + 1]) > limit;
		at = build(rand() % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6, SYN, options, length,
			(uint16_t)(rand() % 5));
		lowered += lower;
		if (!becomes(lower ? at + value : 0, limit, limit)) {
			fprintf(stderr, "round %u\n", round);
			CU_FAIL("wrong");
			return;
		}
	}
	CU_ASSERT(lowered > rounds / 1000);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 0);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"lowers, never raises", test_lowers},
		{"segments that are no SYN", test_other_segments},
		{"RFC 1071: at odd places too", test_places},
		{"malformed options, and the first one only", test_malformed},
		{"a wrong checksum stays wrong", test_wrong_stays_wrong},
		{"hostile options", test_hostile},
	};

	unit_eal();
	pool = rte_pktmbuf_pool_create("test", 255, 0,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN),
		RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (pool == NULL)
		return 1;
	return UNIT_RUN("mss", tests);
}
