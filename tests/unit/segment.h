/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP segments by hand, for the tests of the tracker: a flow is opened by a handshake whose every
 * number is the test's, then segments are said and verdicts asked.
 *
 * Options lie in memory that ends exactly where they do: with AddressSanitizer a read of one byte
 * too many ends the test.
 */
#pragma once

#include <rte_common.h>
#include <rte_tcp.h>

#include "nat/tcp.h"
#include "tests/unit/unit.h"

#define FIN RTE_TCP_FIN_FLAG
#define SYN RTE_TCP_SYN_FLAG
#define RST RTE_TCP_RST_FLAG
#define PSH RTE_TCP_PSH_FLAG
#define ACK RTE_TCP_ACK_FLAG
#define URG RTE_TCP_URG_FLAG

#define ORIGINAL DIRECTION_ORIGINAL
#define REPLY DIRECTION_REPLY

#define NO_SCALE -1
/* Windows are kept in units of this many bytes, rounded up. */
#define UNIT 16

static struct timeout_values values; /* the defaults, once segment_start was called */
static uint32_t now_ms;

static inline void
segment_start(void)
{
	timeout_defaults(&values);
	now_ms = UINT32_MAX - 100000; /* the clock wraps around on the way */
}

/** Track one segment of @p flow. */
static inline enum tcp_track
say(struct flow *flow, enum direction direction, struct tcp_segment segment)
{
	uint8_t *options = NULL;
	enum tcp_track track;

	if (segment.options_length != 0) {
		options = malloc(segment.options_length);
		if (options == NULL)
			abort();
		memcpy(options, segment.options, segment.options_length);
	}
	segment.options = options;
	track = tcp_track(flow, direction, &segment, &values, now_ms);
	free(options);
	CU_ASSERT(flow->state < TCP_STATE_COUNT);
	return track;
}

/** What say() would answer; the flow stays as it is. */
static inline enum tcp_track
ask(const struct flow *flow, enum direction direction, struct tcp_segment segment)
{
	struct flow copy = *flow;

	return say(&copy, direction, segment);
}

/** Likewise, and the test fails if the segment leaves any trace in the flow. */
static inline enum tcp_track
ask_untouched(const struct flow *flow, enum direction direction, struct tcp_segment segment)
{
	struct flow copy = *flow;
	enum tcp_track track = say(&copy, direction, segment);

	CU_ASSERT_EQUAL(memcmp(&copy, flow, sizeof(copy)), 0);
	return track;
}

/* A handshake: the numbers of both ends, [0] of the one that asks. */
struct handshake {
	uint32_t isn[2];
	uint16_t window[2];
	int scale[2]; /* NO_SCALE: no option */
};

/* The segment of @p shake that carries SYN. */
static inline struct tcp_segment
syn_of(const struct handshake *shake, enum direction direction)
{
	static uint8_t options[2][4];
	int scale = shake->scale[direction];
	struct tcp_segment segment = {
		.sequence = shake->isn[direction],
		.window = shake->window[direction],
		.flags = SYN,
	};

	if (direction == REPLY) {
		segment.flags = SYN | ACK;
		segment.acknowledgement = shake->isn[ORIGINAL] + 1;
	}
	if (scale != NO_SCALE) {
		memcpy(options[direction], (const uint8_t[]){1, 3, 3, (uint8_t)scale}, 4);
		segment.options = options[direction];
		segment.options_length = 4;
	}
	return segment;
}

/** A flow that has seen the SYN of @p shake. */
static inline struct flow
asked(const struct handshake *shake)
{
	struct flow flow = {.protocol = 6, .deadline_ms = now_ms + 240000};
	struct tcp_segment syn = syn_of(shake, ORIGINAL);

	tcp_open(&flow, &syn);
	return flow;
}

/** A flow that has seen all of @p shake but the last ACK. */
static inline struct flow
answered(const struct handshake *shake)
{
	struct flow flow = asked(shake);

	CU_ASSERT_EQUAL(say(&flow, REPLY, syn_of(shake, REPLY)), TCP_PASS);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_SYN_RECV);
	return flow;
}

/** A flow that has seen all of @p shake. Its first bytes are isn + 1, as in `SEGMENT(at 0)`. */
static inline struct flow
established(const struct handshake *shake)
{
	struct flow flow = answered(shake);

	CU_ASSERT_EQUAL(say(&flow, ORIGINAL,
				(struct tcp_segment){
					.sequence = shake->isn[ORIGINAL] + 1,
					.acknowledgement = shake->isn[REPLY] + 1,
					.window = shake->window[ORIGINAL],
					.flags = ACK,
				}),
		TCP_PASS);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_ESTABLISHED);
	return flow;
}

/**
 * A segment with ACK of @p direction, whose numbers count from the first bytes of both ends.
 * Window: as in the handshake.
 */
static inline struct tcp_segment
data(const struct handshake *shake, enum direction direction, uint32_t sequence,
	uint32_t acknowledgement, uint32_t length)
{
	return (struct tcp_segment){
		.sequence = shake->isn[direction] + 1 + sequence,
		.acknowledgement = shake->isn[!direction] + 1 + acknowledgement,
		.length = length,
		.window = shake->window[direction],
		.flags = ACK,
	};
}

/** The same segment with other flags. */
static inline struct tcp_segment
with_flags(struct tcp_segment segment, uint8_t flags)
{
	segment.flags = flags;
	return segment;
}

static inline struct tcp_segment
with_window(struct tcp_segment segment, uint16_t window)
{
	segment.window = window;
	return segment;
}

static inline struct tcp_segment
with_options(struct tcp_segment segment, const uint8_t *options, size_t length)
{
	segment.options = options;
	segment.options_length = (uint8_t)length;
	return segment;
}
