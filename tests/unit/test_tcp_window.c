/* SPDX-License-Identifier: BSD-3-Clause */
/* The windows of the TCP tracker, to the byte, wherever sequence numbers begin. */
#include "tests/unit/segment.h"

/* What each test is run with: the numbers wrap around early, late, in one direction, or not. */
static const uint32_t beginnings[][2] = {
	{1000000, 900000000},
	{UINT32_MAX - 1, 7},
	{UINT32_MAX - 40000, UINT32_MAX - 70000},
	{0x7fffffff - 3000, 0x7ffffff0},
	{0, UINT32_MAX},
	{0x80000000, 0},
};

static struct handshake
shake_from(unsigned beginning)
{
	return (struct handshake){
		.isn = {beginnings[beginning][0], beginnings[beginning][1]},
		.window = {16000, 8000},
		.scale = {NO_SCALE, NO_SCALE},
	};
}

#define FOR_BEGINNINGS(shake)                                                                      \
	for (unsigned beginning = 0; beginning < RTE_DIM(beginnings); beginning++)                 \
		for (struct handshake shake = shake_from(beginning), *once = &shake; once != NULL; \
			once = NULL)

static void
test_beyond_window(void)
{
	FOR_BEGINNINGS(shake)
	{
		struct flow flow = established(&shake);

		/* The reply's window is 8000: nothing may start behind that, a probe may at it. */
		CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 8000, 0, 0)), TCP_PASS);
		CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 8000, 0, 1)), TCP_PASS);
		CU_ASSERT_EQUAL(
			ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 8000, 0, 60000)), TCP_PASS);
		CU_ASSERT_EQUAL(
			ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 8001, 0, 1)), TCP_IGNORE);
		/* Once more as much is forgiven. */
		CU_ASSERT_EQUAL(
			ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 15999, 0, 1)), TCP_IGNORE);
		CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 15999, 0, 2)),
			TCP_OUT_OF_WINDOW);
		CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 16001, 0, 0)),
			TCP_OUT_OF_WINDOW);
		CU_ASSERT_EQUAL(
			ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 0x40000000, 0, 0)),
			TCP_OUT_OF_WINDOW);
		CU_ASSERT_EQUAL(
			ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 0x7fffffff, 0, 0)),
			TCP_OUT_OF_WINDOW);
		/* The other direction has the other window. */
		CU_ASSERT_EQUAL(ask(&flow, REPLY, data(&shake, REPLY, 16000, 0, 1)), TCP_PASS);
		CU_ASSERT_EQUAL(ask(&flow, REPLY, data(&shake, REPLY, 16001, 0, 1)), TCP_IGNORE);
		CU_ASSERT_EQUAL(ask(&flow, REPLY, data(&shake, REPLY, 31999, 0, 1)), TCP_IGNORE);
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, data(&shake, REPLY, 32000, 0, 1)),
			TCP_OUT_OF_WINDOW);
	}
}

/* What is forgiven changes neither state nor time, but its receiver may take and acknowledge it. */
static void
test_overshoot(void)
{
	FOR_BEGINNINGS(shake)
	{
		struct flow flow = established(&shake);
		struct flow before;
		struct tcp_segment fin =
			with_flags(data(&shake, ORIGINAL, 9000, 0, 1000), FIN | ACK);

		now_ms += 1000;
		before = flow;
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, data(&shake, REPLY, 0, 10001, 0)),
			TCP_OUT_OF_WINDOW);
		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, fin), TCP_IGNORE);
		CU_ASSERT_EQUAL(flow.tcp[ORIGINAL].end, shake.isn[ORIGINAL] + 1 + 10001);
		before.tcp[ORIGINAL].end = flow.tcp[ORIGINAL].end;
		CU_ASSERT_EQUAL(memcmp(&flow, &before, sizeof(flow)), 0);
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, data(&shake, REPLY, 0, 10002, 0)),
			TCP_OUT_OF_WINDOW);
		CU_ASSERT_EQUAL(say(&flow, REPLY, data(&shake, REPLY, 0, 10001, 0)), TCP_PASS);
		/* An older one does not take it back. */
		flow = established(&shake);
		CU_ASSERT_EQUAL(
			say(&flow, ORIGINAL, data(&shake, ORIGINAL, 9000, 0, 1000)), TCP_IGNORE);
		CU_ASSERT_EQUAL(
			say(&flow, ORIGINAL, data(&shake, ORIGINAL, 8500, 0, 100)), TCP_IGNORE);
		CU_ASSERT_EQUAL(flow.tcp[ORIGINAL].end, shake.isn[ORIGINAL] + 1 + 10000);
		/* Whoever acknowledges what was not sent, or ages ago, is not forgiven. */
		flow = established(&shake);
		CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 9000, 1, 10)),
			TCP_OUT_OF_WINDOW);
		CU_ASSERT_EQUAL(
			ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 9000, (uint32_t)-66000, 10)),
			TCP_IGNORE);
		CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL,
					data(&shake, ORIGINAL, 9000, (uint32_t)-66001, 10)),
			TCP_OUT_OF_WINDOW);
	}
}

/* Sent on with the window already full: what is on its way fits the window afterwards. */
static void
test_widened(void)
{
	FOR_BEGINNINGS(shake)
	{
		struct flow flow = established(&shake);
		struct tcp_segment last = data(&shake, ORIGINAL, 8000, 0, 2000);

		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, 0, 8000)), TCP_PASS);
		CU_ASSERT_EQUAL(flow.tcp[REPLY].max_window, 8000 / UNIT);
		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, last), TCP_PASS);
		CU_ASSERT_EQUAL(flow.tcp[REPLY].max_window, 10000 / UNIT);
		/* The first byte can be sent again, and nothing before it. */
		CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, 0, 0)), TCP_PASS);
		CU_ASSERT_EQUAL(
			ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, (uint32_t)-1, 0, 0)),
			TCP_IGNORE);
		/* Once more says nothing new. */
		for (unsigned i = 0; i < 100; i++)
			CU_ASSERT_EQUAL(say(&flow, ORIGINAL, last), TCP_PASS);
		CU_ASSERT_EQUAL(flow.tcp[REPLY].max_window, 10000 / UNIT);
	}
}

static void
test_old_data(void)
{
	FOR_BEGINNINGS(shake)
	{
		struct flow flow = established(&shake);

		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, 0, 8000)), TCP_PASS);
		CU_ASSERT_EQUAL(say(&flow, REPLY, data(&shake, REPLY, 0, 8000, 0)), TCP_PASS);
		CU_ASSERT_EQUAL(
			say(&flow, ORIGINAL, data(&shake, ORIGINAL, 8000, 0, 4000)), TCP_PASS);
		now_ms += 1000;
		/* It ends at the lower edge of the largest window, or one byte below. */
		CU_ASSERT_EQUAL(
			ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 3000, 0, 1000)), TCP_PASS);
		CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 4000, 0, 0)), TCP_PASS);
		CU_ASSERT_EQUAL(
			ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 3000, 0, 999)),
			TCP_IGNORE);
		CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 3999, 0, 0)),
			TCP_IGNORE);
		/* A FIN takes one more. */
		CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL,
					with_flags(data(&shake, ORIGINAL, 3998, 0, 0), FIN | ACK)),
			TCP_IGNORE);
		CU_ASSERT_EQUAL(ask(&flow, ORIGINAL,
					with_flags(data(&shake, ORIGINAL, 3999, 0, 0), FIN | ACK)),
			TCP_PASS);
		CU_ASSERT_EQUAL(
			ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 0x81000000, 0, 0)),
			TCP_IGNORE);
	}
}

/* RFC 5961 section 5: an acknowledgement of what was never sent. */
static void
test_early_ack(void)
{
	FOR_BEGINNINGS(shake)
	{
		struct flow flow = established(&shake);

		CU_ASSERT_EQUAL(say(&flow, REPLY, data(&shake, REPLY, 0, 0, 3000)), TCP_PASS);
		for (unsigned flags = ACK; flags <= (FIN | ACK); flags += FIN) {
			struct tcp_segment exact =
				with_flags(data(&shake, ORIGINAL, 0, 3000, 10), (uint8_t)flags);
			struct tcp_segment early =
				with_flags(data(&shake, ORIGINAL, 0, 3001, 10), (uint8_t)flags);

			CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, exact), TCP_PASS);
			CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, early), TCP_OUT_OF_WINDOW);
			early.acknowledgement += 0x7ffffffe - 3000;
			CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, early), TCP_OUT_OF_WINDOW);
		}
	}
}

/* RFC 5961 section 5: an acknowledgement from ages ago. */
static void
test_late_ack(void)
{
	FOR_BEGINNINGS(shake)
	{
		struct flow flow = established(&shake);

		for (uint32_t sent = 0; sent < 320000; sent += 16000) {
			CU_ASSERT_EQUAL(
				say(&flow, REPLY, data(&shake, REPLY, sent, 0, 16000)), TCP_PASS);
			CU_ASSERT_EQUAL(
				say(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, sent + 16000, 0)),
				TCP_PASS);
		}
		now_ms += 1000;
		CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, 320000 - 66000, 10)),
			TCP_PASS);
		CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL,
					data(&shake, ORIGINAL, 0, 320000 - 66001, 10)),
			TCP_IGNORE);
		CU_ASSERT_EQUAL(
			ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, 0x81000000, 10)),
			TCP_IGNORE);
		/* It does not take an acknowledgement back. */
		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, 320000 - 66000, 10)),
			TCP_PASS);
		CU_ASSERT_EQUAL(flow.tcp[ORIGINAL].max_ack, shake.isn[REPLY] + 1 + 320000);
	}
}

/* The same with windows above 66,000 bytes: IV reaches as far back as the window. */
static void
test_late_ack_scaled(void)
{
	FOR_BEGINNINGS(shake)
	{
		struct flow flow;
		uint32_t window = 60000 << 4;

		shake.window[ORIGINAL] = 60000;
		shake.scale[ORIGINAL] = 4;
		shake.scale[REPLY] = 0;
		flow = established(&shake);
		for (uint32_t sent = 0; sent < 2 * window; sent += 60000) {
			CU_ASSERT_EQUAL(
				say(&flow, REPLY, data(&shake, REPLY, sent, 0, 60000)), TCP_PASS);
			CU_ASSERT_EQUAL(
				say(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, sent + 60000, 0)),
				TCP_PASS);
		}
		CU_ASSERT_EQUAL(
			ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, window, 1)), TCP_PASS);
		CU_ASSERT_EQUAL(
			ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, window - 1, 1)),
			TCP_IGNORE);
		CU_ASSERT_EQUAL(ask(&flow, REPLY, data(&shake, REPLY, window, 0, 0)), TCP_PASS);
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, data(&shake, REPLY, window - 1, 0, 0)),
			TCP_IGNORE);
	}
}

/* A window never takes back what it once allowed: segments may be on their way. */
static void
test_shrinking(void)
{
	FOR_BEGINNINGS(shake)
	{
		struct flow flow = established(&shake);

		CU_ASSERT_EQUAL(say(&flow, REPLY, with_window(data(&shake, REPLY, 0, 0, 0), 100)),
			TCP_PASS);
		CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 8000, 0, 1)), TCP_PASS);
		CU_ASSERT_EQUAL(flow.tcp[REPLY].max_window, 8000 / UNIT);
		/* And a larger one counts at once, from what is acknowledged. */
		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, 0, 1000)), TCP_PASS);
		CU_ASSERT_EQUAL(
			say(&flow, REPLY, with_window(data(&shake, REPLY, 0, 1000, 0), 30000)),
			TCP_PASS);
		CU_ASSERT_EQUAL(
			ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 31000, 0, 1)), TCP_PASS);
		CU_ASSERT_EQUAL(
			ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 31001, 0, 1)), TCP_IGNORE);
		CU_ASSERT_EQUAL(flow.tcp[REPLY].max_window, 30000 / UNIT);
	}
}

/* RFC 9293 section 3.8.6.1: a window of zero, probes of one byte, and it opens again. */
static void
test_zero_window(void)
{
	FOR_BEGINNINGS(shake)
	{
		struct flow flow = established(&shake);
		struct tcp_segment closed = with_window(data(&shake, REPLY, 0, 8000, 0), 0);

		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, 0, 8000)), TCP_PASS);
		CU_ASSERT_EQUAL(say(&flow, REPLY, closed), TCP_PASS);
		for (unsigned i = 0; i < 1000; i++) {
			now_ms += 60000;
			/* one new byte, and nothing behind it */
			CU_ASSERT_EQUAL(
				say(&flow, ORIGINAL, data(&shake, ORIGINAL, 8000, 0, 1)), TCP_PASS);
			CU_ASSERT_EQUAL(say(&flow, REPLY, closed), TCP_PASS);
			/* or an old one, as Linux does */
			CU_ASSERT_EQUAL(
				say(&flow, ORIGINAL, data(&shake, ORIGINAL, 7999, 0, 0)), TCP_PASS);
			CU_ASSERT_EQUAL(say(&flow, REPLY, closed), TCP_PASS);
			CU_ASSERT_EQUAL(flow.deadline_ms - now_ms, 7440000);
		}
		CU_ASSERT_EQUAL(
			ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 8001 + 8000, 0, 1)),
			TCP_OUT_OF_WINDOW);
		CU_ASSERT_EQUAL(flow.tcp[REPLY].max_window, 8000 / UNIT);
		CU_ASSERT_EQUAL(
			say(&flow, REPLY, with_window(data(&shake, REPLY, 0, 8001, 0), 500)),
			TCP_PASS);
		CU_ASSERT_EQUAL(
			say(&flow, ORIGINAL, data(&shake, ORIGINAL, 8001, 0, 500)), TCP_PASS);
		CU_ASSERT_EQUAL(
			ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 8502, 0, 1)), TCP_IGNORE);
		/* A window that was never open lets one byte through as well. */
		shake.window[REPLY] = 0;
		flow = established(&shake);
		CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, 0, 1)), TCP_PASS);
		CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 1, 0, 1)), TCP_PASS);
		CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 2, 0, UNIT)),
			TCP_OUT_OF_WINDOW);
	}
}

/* RFC 9293 section 3.8.4: one below what comes next, with nothing or a byte of anything. */
static void
test_keepalive(void)
{
	FOR_BEGINNINGS(shake)
	{
		struct flow flow = established(&shake);

		for (unsigned i = 0; i < 100; i++) {
			now_ms += 7200000;
			for (uint32_t length = 0; length < 2; length++) {
				CU_ASSERT_EQUAL(
					say(&flow, ORIGINAL,
						data(&shake, ORIGINAL, (uint32_t)-1, 0, length)),
					TCP_PASS);
				CU_ASSERT_EQUAL(
					say(&flow, REPLY, data(&shake, REPLY, 0, 0, 0)), TCP_PASS);
				CU_ASSERT_EQUAL(
					say(&flow, REPLY,
						data(&shake, REPLY, (uint32_t)-1, 0, length)),
					TCP_PASS);
				CU_ASSERT_EQUAL(
					say(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, 0, 0)),
					TCP_PASS);
			}
			CU_ASSERT_EQUAL(flow.state, TCP_STATE_ESTABLISHED);
			CU_ASSERT_EQUAL(flow.deadline_ms - now_ms, 7440000);
		}
		CU_ASSERT_EQUAL(flow.tcp[ORIGINAL].end, shake.isn[ORIGINAL] + 1);
		CU_ASSERT_EQUAL(flow.tcp[REPLY].end, shake.isn[REPLY] + 1);
	}
}

/* Segments that a device has put together, up to what an IP packet can hold. */
static void
test_large_segments(void)
{
	FOR_BEGINNINGS(shake)
	{
		struct flow flow;
		uint32_t sent = 0;

		shake.window[0] = shake.window[1] = 65535;
		shake.scale[0] = shake.scale[1] = 7;
		flow = established(&shake);
		for (unsigned i = 0; i < 70000; i++) {
			CU_ASSERT_EQUAL_FATAL(
				say(&flow, ORIGINAL, data(&shake, ORIGINAL, sent, 0, 65495)),
				TCP_PASS);
			sent += 65495;
			if (i % 16 == 0)
				CU_ASSERT_EQUAL_FATAL(
					say(&flow, REPLY, data(&shake, REPLY, 0, sent, 0)),
					TCP_PASS);
		}
		/* more than all numbers there are: 4.6 GB */
		CU_ASSERT_EQUAL(flow.tcp[ORIGINAL].end, shake.isn[ORIGINAL] + 1 + sent);
	}
}

/* Sent again, in other pieces, in any order: passes, and what is known does not go back. */
static void
test_retransmission(void)
{
	FOR_BEGINNINGS(shake)
	{
		struct flow flow = established(&shake);
		static const struct {
			uint32_t sequence, length;
		} pieces[] = {{4000, 1000}, {0, 1000}, {7000, 1000}, {2000, 3000}, {0, 8000},
			{1000, 1}, {7999, 1}, {0, 1000}};
		uint32_t highest = 0;

		for (unsigned i = 0; i < RTE_DIM(pieces); i++) {
			uint32_t end = pieces[i].sequence + pieces[i].length;

			highest = RTE_MAX(highest, end);
			CU_ASSERT_EQUAL(say(&flow, ORIGINAL,
						data(&shake, ORIGINAL, pieces[i].sequence, 0,
							pieces[i].length)),
				TCP_PASS);
			CU_ASSERT_EQUAL(flow.tcp[ORIGINAL].end, shake.isn[ORIGINAL] + 1 + highest);
		}
		/* acknowledgements in the wrong order */
		CU_ASSERT_EQUAL(say(&flow, REPLY, data(&shake, REPLY, 0, 8000, 0)), TCP_PASS);
		CU_ASSERT_EQUAL(say(&flow, REPLY, data(&shake, REPLY, 0, 2000, 0)), TCP_PASS);
		CU_ASSERT_EQUAL(flow.tcp[REPLY].max_ack, shake.isn[ORIGINAL] + 1 + 8000);
		CU_ASSERT_EQUAL(
			ask(&flow, ORIGINAL, data(&shake, ORIGINAL, 16000, 0, 1)), TCP_PASS);
		CU_ASSERT_EQUAL(flow.state, TCP_STATE_ESTABLISHED);
	}
}

/* RFC 9293 section 3.6: one side has finished, the other one goes on for hours. */
static void
test_half_close(void)
{
	for (unsigned closing = 0; closing < 2; closing++)
		FOR_BEGINNINGS(shake)
		{
			struct flow flow = established(&shake);
			enum direction closer = closing != 0 ? REPLY : ORIGINAL;
			enum direction talker = !closer;
			uint32_t sent = 0;

			CU_ASSERT_EQUAL(
				say(&flow, closer,
					with_flags(data(&shake, closer, 0, 0, 100), FIN | ACK)),
				TCP_PASS);
			CU_ASSERT_EQUAL(flow.state, TCP_STATE_FIN_WAIT);
			CU_ASSERT_EQUAL(
				say(&flow, talker, data(&shake, talker, 0, 101, 0)), TCP_PASS);
			for (unsigned minute = 0; minute < 5 * 60; minute++) {
				now_ms += 60000;
				CU_ASSERT_FALSE(time_after_ms(now_ms, flow.deadline_ms));
				CU_ASSERT_EQUAL(
					say(&flow, talker, data(&shake, talker, sent, 101, 8000)),
					TCP_PASS);
				sent += 8000;
				CU_ASSERT_EQUAL(
					say(&flow, closer, data(&shake, closer, 101, sent, 0)),
					TCP_PASS);
				CU_ASSERT_EQUAL(flow.state, TCP_STATE_CLOSE_WAIT);
				CU_ASSERT_EQUAL(flow.deadline_ms - now_ms, 240000);
			}
			CU_ASSERT_EQUAL(
				say(&flow, talker,
					with_flags(data(&shake, talker, sent, 101, 0), FIN | ACK)),
				TCP_PASS);
			CU_ASSERT_EQUAL(flow.state, TCP_STATE_LAST_ACK);
			/* The FIN is not acknowledged twice. */
			CU_ASSERT_EQUAL(ask_untouched(&flow, closer,
						data(&shake, closer, 101, sent + 2, 0)),
				TCP_OUT_OF_WINDOW);
			CU_ASSERT_EQUAL(say(&flow, closer, data(&shake, closer, 101, sent + 1, 0)),
				TCP_PASS);
			CU_ASSERT_EQUAL(flow.state, TCP_STATE_TIME_WAIT);
		}
}

/* A connection taken up in the middle: nothing is enforced, but the books are kept. */
static void
test_pickup(void)
{
	FOR_BEGINNINGS(shake)
	{
		struct flow flow = {.protocol = 6};
		struct tcp_segment first = data(&shake, ORIGINAL, 500, 300, 20);
		uint32_t sequence = 0;

		tcp_pickup(&flow, &first);
		CU_ASSERT_EQUAL(flow.state, TCP_STATE_ESTABLISHED);
		CU_ASSERT_EQUAL(
			say(&flow, REPLY, data(&shake, REPLY, 90000, 90000, 1000)), TCP_PASS);
		CU_ASSERT_EQUAL(
			say(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, 91000, 100)), TCP_PASS);
		CU_ASSERT_EQUAL(say(&flow, REPLY, data(&shake, REPLY, 0, 0, 100)), TCP_PASS);
		CU_ASSERT(tcp_reset_sequence(&flow, ORIGINAL, &sequence));
		CU_ASSERT_EQUAL(sequence, shake.isn[ORIGINAL] + 1 + 520);
		CU_ASSERT(tcp_reset_sequence(&flow, REPLY, &sequence));
		CU_ASSERT_EQUAL(sequence, shake.isn[REPLY] + 1 + 91000);
		CU_ASSERT_EQUAL(flow.tcp[ORIGINAL].max_ack, shake.isn[REPLY] + 1 + 91000);
		CU_ASSERT_EQUAL(flow.tcp[REPLY].max_ack, shake.isn[ORIGINAL] + 1 + 90000);
		CU_ASSERT(tcp_sequence_in_flight(&flow, ORIGINAL, 12345));
		CU_ASSERT_EQUAL(
			say(&flow, REPLY, with_flags(data(&shake, REPLY, 91000, 0, 0), FIN | ACK)),
			TCP_PASS);
		CU_ASSERT_EQUAL(flow.state, TCP_STATE_FIN_WAIT);
	}
}

/* RFC 5927 section 4.1: what an ICMP error may quote. */
static void
test_in_flight(void)
{
	FOR_BEGINNINGS(shake)
	{
		uint32_t first = shake.isn[ORIGINAL] + 1;
		uint32_t answer = shake.isn[REPLY] + 1;
		uint32_t sequence = 1;
		struct flow flow = asked(&shake);

		/* the SYN, and nothing else; of the far end nothing is known */
		CU_ASSERT(tcp_sequence_in_flight(&flow, ORIGINAL, first - 1));
		CU_ASSERT(!tcp_sequence_in_flight(&flow, ORIGINAL, first - 2));
		CU_ASSERT(!tcp_sequence_in_flight(&flow, ORIGINAL, first + 1));
		CU_ASSERT(tcp_reset_sequence(&flow, ORIGINAL, &sequence));
		CU_ASSERT_EQUAL(sequence, first);
		CU_ASSERT(!tcp_reset_sequence(&flow, REPLY, &sequence));
		flow = answered(&shake);
		CU_ASSERT(tcp_sequence_in_flight(&flow, REPLY, answer - 1));
		CU_ASSERT(!tcp_sequence_in_flight(&flow, REPLY, answer + 1));
		CU_ASSERT(!tcp_sequence_in_flight(&flow, ORIGINAL, first - 1));
		flow = established(&shake);
		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, 0, 5000)), TCP_PASS);
		CU_ASSERT_EQUAL(say(&flow, REPLY, data(&shake, REPLY, 0, 2000, 0)), TCP_PASS);
		CU_ASSERT(!tcp_sequence_in_flight(&flow, ORIGINAL, first + 1999));
		CU_ASSERT(tcp_sequence_in_flight(&flow, ORIGINAL, first + 2000));
		CU_ASSERT(tcp_sequence_in_flight(&flow, ORIGINAL, first + 5000));
		CU_ASSERT(!tcp_sequence_in_flight(&flow, ORIGINAL, first + 5001));
		CU_ASSERT(!tcp_sequence_in_flight(&flow, REPLY, answer - 1));
		CU_ASSERT(tcp_sequence_in_flight(&flow, REPLY, answer));
		CU_ASSERT(!tcp_sequence_in_flight(&flow, REPLY, answer + 1));
		CU_ASSERT(tcp_reset_sequence(&flow, ORIGINAL, &sequence));
		CU_ASSERT_EQUAL(sequence, first + 5000);
	}
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"I: nothing starts beyond the window (RFC 9293 section 3.4)", test_beyond_window},
		{"I: what is forgiven may be acknowledged", test_overshoot},
		{"I: a window covers what is on its way", test_widened},
		{"II: data older than the window changes nothing", test_old_data},
		{"III, RFC 5961 section 5: no acknowledgement of what was not sent",
			test_early_ack},
		{"IV, RFC 5961 section 5: an ancient acknowledgement changes nothing",
			test_late_ack},
		{"IV: as far back as a scaled window", test_late_ack_scaled},
		{"a shrinking window (RFC 9293 section 3.8.6)", test_shrinking},
		{"zero windows and probes (RFC 9293 section 3.8.6.1)", test_zero_window},
		{"keepalives (RFC 9293 section 3.8.4)", test_keepalive},
		{"segments of 64 KiB, through all sequence numbers", test_large_segments},
		{"retransmission and reordering", test_retransmission},
		{"RFC 5382 REQ-2, RFC 9293 section 3.6: half-closed for hours", test_half_close},
		{"taken up in the middle: not enforced", test_pickup},
		{"RFC 5927 section 4.1: what an ICMP error may quote", test_in_flight},
	};

	segment_start();
	return UNIT_RUN("tcp window", tests);
}
