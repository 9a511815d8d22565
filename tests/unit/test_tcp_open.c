/* SPDX-License-Identifier: BSD-3-Clause */
/* How connections begin: from both sides at once, once more, with data, with a change of mind. */
#include "tests/unit/segment.h"

static const struct handshake shake = {
	.isn = {UINT32_MAX - 100, 0x7fffff00},
	.window = {16000, 8000},
	.scale = {3, 2},
};

/* The SYN alone that the reply direction sends in a simultaneous open. */
static struct tcp_segment
reply_syn(const struct handshake *of)
{
	struct tcp_segment segment = syn_of(of, REPLY);

	segment.flags = SYN;
	segment.acknowledgement = 0;
	return segment;
}

static struct tcp_segment
original_synack(const struct handshake *of)
{
	struct tcp_segment segment = syn_of(of, ORIGINAL);

	segment.flags = SYN | ACK;
	segment.acknowledgement = of->isn[REPLY] + 1;
	return segment;
}

/* Both directions of an open connection, and both windows scaled as agreed. */
static void
check_open(struct flow *flow, const struct handshake *of)
{
	bool scaled = of->scale[0] != NO_SCALE && of->scale[1] != NO_SCALE;

	CU_ASSERT_EQUAL(say(flow, ORIGINAL, data(of, ORIGINAL, 0, 0, 1000)), TCP_PASS);
	CU_ASSERT_EQUAL(flow->state, TCP_STATE_ESTABLISHED);
	CU_ASSERT_EQUAL(say(flow, REPLY, data(of, REPLY, 0, 1000, 2000)), TCP_PASS);
	CU_ASSERT_EQUAL(say(flow, ORIGINAL, data(of, ORIGINAL, 1000, 2000, 0)), TCP_PASS);
	CU_ASSERT_EQUAL(flow->state, TCP_STATE_ESTABLISHED);
	CU_ASSERT_EQUAL(flow->deadline_ms - now_ms, 7440000);
	for (unsigned direction = 0; direction < 2; direction++) {
		unsigned scale = scaled ? (unsigned)of->scale[!direction] : 0;
		uint32_t allowed = (uint32_t)of->window[!direction] << scale;
		uint32_t sent = direction == ORIGINAL ? 1000 : 2000;
		uint32_t got = direction == ORIGINAL ? 2000 : 1000;

		CU_ASSERT_EQUAL(ask(flow, direction, data(of, direction, sent + allowed, got, 1)),
			TCP_PASS);
		CU_ASSERT_EQUAL(
			ask(flow, direction, data(of, direction, sent + allowed + 1, got, 1)),
			TCP_IGNORE);
		CU_ASSERT_EQUAL(ask(flow, direction,
					data(of, direction, sent + 2 * allowed + UNIT + 1, got, 0)),
			TCP_OUT_OF_WINDOW);
	}
}

static const int scales[][2] = {
	{NO_SCALE, NO_SCALE}, {3, 2}, {7, NO_SCALE}, {NO_SCALE, 7}, {0, 14}};

/* RFC 9293 figure 8. What crosses passes the firewall in either order. */
static void
test_simultaneous(void)
{
	enum { SYNACK_OUT, SYNACK_IN, SYNACKS_OUT_IN, SYNACKS_IN_OUT, ORDERS };

	for (unsigned order = 0; order < ORDERS; order++)
		for (unsigned i = 0; i < RTE_DIM(scales); i++) {
			struct handshake both = shake;
			struct flow flow;

			memcpy(both.scale, scales[i], sizeof(both.scale));
			flow = asked(&both);
			CU_ASSERT_EQUAL(say(&flow, REPLY, reply_syn(&both)), TCP_PASS);
			CU_ASSERT_EQUAL(flow.state, TCP_STATE_SYN_SENT2);
			CU_ASSERT(flow.flags & FLOW_REPLIED);
			if (order == SYNACK_OUT || order == SYNACKS_OUT_IN)
				CU_ASSERT_EQUAL(
					say(&flow, ORIGINAL, original_synack(&both)), TCP_PASS);
			if (order != SYNACK_OUT)
				CU_ASSERT_EQUAL(say(&flow, REPLY, syn_of(&both, REPLY)),
					order == SYNACKS_OUT_IN ? TCP_IGNORE : TCP_PASS);
			if (order == SYNACKS_IN_OUT)
				CU_ASSERT_EQUAL(
					say(&flow, ORIGINAL, original_synack(&both)), TCP_PASS);
			CU_ASSERT_EQUAL(flow.state, TCP_STATE_SYN_RECV);
			check_open(&flow, &both);
		}
}

/* Whoever got the other one's SYN/ACK first completes it, also from the reply direction. */
static void
test_simultaneous_ack(void)
{
	struct flow flow = asked(&shake);

	CU_ASSERT_EQUAL(say(&flow, REPLY, reply_syn(&shake)), TCP_PASS);
	/* Nothing is acknowledged yet that an ACK could be about. */
	CU_ASSERT_EQUAL(
		ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, 0, 0)), TCP_INVALID);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, data(&shake, REPLY, 0, 0, 0)), TCP_IGNORE);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, original_synack(&shake)), TCP_PASS);
	CU_ASSERT_EQUAL(say(&flow, REPLY, data(&shake, REPLY, 0, 0, 0)), TCP_PASS);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_ESTABLISHED);
	check_open(&flow, &shake);
	/* But in a handshake of three the reply's ACK completes nothing. */
	flow = answered(&shake);
	CU_ASSERT_EQUAL(say(&flow, REPLY, data(&shake, REPLY, 0, 0, 0)), TCP_PASS);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_SYN_RECV);
}

/* A SYN/ACK that crosses must fit what crossed it. */
static void
test_simultaneous_forged(void)
{
	struct flow flow = asked(&shake);
	struct tcp_segment segment;

	CU_ASSERT_EQUAL(say(&flow, REPLY, reply_syn(&shake)), TCP_PASS);
	for (int difference = -1; difference < 2; difference += 2) {
		segment = original_synack(&shake);
		segment.acknowledgement += (uint32_t)difference;
		CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, segment), TCP_OUT_OF_WINDOW);
		segment = original_synack(&shake);
		segment.sequence += (uint32_t)difference;
		CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, segment), TCP_OUT_OF_WINDOW);
		segment = syn_of(&shake, REPLY);
		segment.acknowledgement += (uint32_t)difference;
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, segment), TCP_OUT_OF_WINDOW);
	}
}

/* SYNs and SYN/ACKs again, as they get lost. */
static void
test_repeated(void)
{
	struct flow flow = asked(&shake);
	uint32_t deadline_ms = flow.deadline_ms;

	for (unsigned i = 0; i < 5; i++) {
		now_ms += 1000;
		CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, syn_of(&shake, ORIGINAL)), TCP_PASS);
	}
	CU_ASSERT_EQUAL(say(&flow, REPLY, syn_of(&shake, REPLY)), TCP_PASS);
	CU_ASSERT_EQUAL(flow.deadline_ms, now_ms + 240000);
	CU_ASSERT(flow.deadline_ms != deadline_ms);
	deadline_ms = flow.deadline_ms;
	for (unsigned i = 0; i < 5; i++) {
		now_ms += 1000;
		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&shake, ORIGINAL)), TCP_IGNORE);
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, syn_of(&shake, REPLY)), TCP_IGNORE);
	}
	CU_ASSERT_EQUAL(flow.deadline_ms, deadline_ms);
	check_open(&flow, &shake);
	/* And late ones leave an open connection alone. */
	now_ms += 1000;
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, syn_of(&shake, ORIGINAL)), TCP_IGNORE);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, syn_of(&shake, REPLY)), TCP_IGNORE);
}

/* A SYN/ACK that is new in itself, as SYN cookies make them, while the first one is not taken. */
static void
test_other_synack(void)
{
	struct handshake cookie = shake;
	struct flow flow = answered(&shake);

	cookie.isn[REPLY] += 0x12345678;
	cookie.window[REPLY] = 5000;
	/* nobody asked again: it may be an old one */
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, syn_of(&cookie, REPLY)), TCP_IGNORE);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&cookie, ORIGINAL)), TCP_IGNORE);
	CU_ASSERT_EQUAL(say(&flow, REPLY, syn_of(&cookie, REPLY)), TCP_PASS);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_SYN_RECV);
	check_open(&flow, &cookie);
}

/*
 * Whoever asks starts anew with other numbers, above or below, scaled or not: the answer to any of
 * the first and the last is right, others are not.
 */
static void
test_new_number(void)
{
	static const uint32_t differences[] = {1, 1000, 65999, 66001, 0x40000000, 0x80000001,
		UINT32_MAX - 66001, UINT32_MAX - 1000, UINT32_MAX};

	for (unsigned i = 0; i < RTE_DIM(differences); i++)
		for (unsigned scale = 0; scale < RTE_DIM(scales); scale++)
			for (unsigned answer = 0; answer < 3; answer++) {
				struct handshake first = shake, second = shake, third = shake;
				const struct handshake *chosen = answer == 0   ? &first
								 : answer == 1 ? &second
									       : &third;
				struct flow flow = asked(&first);
				struct tcp_segment wrong;

				memcpy(third.scale, scales[scale], sizeof(third.scale));
				second.isn[ORIGINAL] += differences[i] / 2 + 70000;
				third.isn[ORIGINAL] += differences[i];
				CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&second, ORIGINAL)),
					TCP_IGNORE);
				CU_ASSERT_EQUAL(
					say(&flow, ORIGINAL, syn_of(&third, ORIGINAL)), TCP_IGNORE);
				CU_ASSERT_EQUAL(flow.state, TCP_STATE_SYN_SENT);
				CU_ASSERT(tcp_sequence_in_flight(
					&flow, ORIGINAL, first.isn[ORIGINAL]));
				CU_ASSERT(tcp_sequence_in_flight(
					&flow, ORIGINAL, third.isn[ORIGINAL]));
				wrong = syn_of(&third, REPLY);
				wrong.acknowledgement++;
				if (differences[i] != UINT32_MAX)
					CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, wrong),
						TCP_OUT_OF_WINDOW);
				if (answer == 1) {
					CU_ASSERT_EQUAL(
						ask_untouched(&flow, REPLY, syn_of(&second, REPLY)),
						TCP_OUT_OF_WINDOW);
					continue;
				}
				CU_ASSERT_EQUAL(say(&flow, REPLY, syn_of(chosen, REPLY)), TCP_PASS);
				CU_ASSERT_EQUAL(flow.state, TCP_STATE_SYN_RECV);
				check_open(&flow, chosen);
			}
}

/* RFC 7413: data come with the SYN, and the far end takes all, some or none of them. */
static void
test_fast_open(void)
{
	static const uint32_t taken[] = {0, 1, 700, 1399, 1400};

	for (unsigned i = 0; i < RTE_DIM(taken); i++) {
		struct flow flow = {.protocol = 6};
		struct tcp_segment syn = syn_of(&shake, ORIGINAL);
		struct tcp_segment answer = syn_of(&shake, REPLY);

		syn.length = 1400;
		tcp_open(&flow, &syn);
		CU_ASSERT(tcp_sequence_in_flight(&flow, ORIGINAL, syn.sequence));
		answer.acknowledgement--;
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, answer), TCP_OUT_OF_WINDOW);
		answer.acknowledgement = shake.isn[ORIGINAL] + 1 + 1401;
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, answer), TCP_OUT_OF_WINDOW);
		answer.acknowledgement = shake.isn[ORIGINAL] + 1 + taken[i];
		/* without the data, when a SYN is sent again */
		CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, syn_of(&shake, ORIGINAL)), TCP_PASS);
		CU_ASSERT_EQUAL(say(&flow, REPLY, answer), TCP_PASS);
		CU_ASSERT_EQUAL(flow.state, TCP_STATE_SYN_RECV);
		/* The answer comes at once, as far as the window in the SYN lets it. */
		for (uint32_t sent = 0; sent < 16000; sent += 1600)
			CU_ASSERT_EQUAL(
				say(&flow, REPLY, data(&shake, REPLY, sent, taken[i], 1600)),
				TCP_PASS);
		CU_ASSERT_EQUAL(flow.state, TCP_STATE_SYN_RECV);
		CU_ASSERT_EQUAL(
			ask_untouched(&flow, REPLY, data(&shake, REPLY, 32000, taken[i], 1)),
			TCP_OUT_OF_WINDOW);
		/* what was not taken is sent again, and acknowledges all that came */
		CU_ASSERT_EQUAL(say(&flow, ORIGINAL,
					data(&shake, ORIGINAL, taken[i], 16000, 1400 - taken[i])),
			TCP_PASS);
		CU_ASSERT_EQUAL(flow.state, TCP_STATE_ESTABLISHED);
	}
}

/* RFC 7413 section 4.2: the SYN/ACK may bring data too, and a FIN may follow at once. */
static void
test_fast_answer(void)
{
	struct flow flow = asked(&shake);
	struct tcp_segment answer = syn_of(&shake, REPLY);

	answer.length = 1200;
	CU_ASSERT_EQUAL(say(&flow, REPLY, answer), TCP_PASS);
	CU_ASSERT_EQUAL(say(&flow, REPLY, with_flags(data(&shake, REPLY, 1200, 0, 300), FIN | ACK)),
		TCP_PASS);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_FIN_WAIT);
	/* A late SYN finds no state that it could repeat. */
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&shake, ORIGINAL)), TCP_IGNORE);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_FIN_WAIT);
	CU_ASSERT_EQUAL(say(&flow, REPLY, syn_of(&shake, REPLY)), TCP_IGNORE);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_FIN_WAIT);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, 1501, 10)), TCP_PASS);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_CLOSE_WAIT);
}

/* RFC 7413 section 4.2: a SYN with data whose flow is open, answered as far as the SYN. */
static void
test_fast_open_again(void)
{
	struct handshake again = shake;

	again.isn[ORIGINAL] += 5000000;
	again.isn[REPLY] += 7000000;
	for (uint32_t taken = 0; taken <= 1400; taken += 700) {
		struct flow flow = established(&shake);
		struct tcp_segment syn = syn_of(&again, ORIGINAL);
		struct tcp_segment answer = syn_of(&again, REPLY);

		syn.length = 1400;
		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn), TCP_IGNORE);
		answer.acknowledgement += 1401;
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, answer), TCP_IGNORE);
		answer.acknowledgement += taken - 1401;
		CU_ASSERT_EQUAL(say(&flow, REPLY, answer), TCP_PASS);
		CU_ASSERT_EQUAL(flow.state, TCP_STATE_SYN_RECV);
		CU_ASSERT_EQUAL(
			say(&flow, ORIGINAL, data(&again, ORIGINAL, taken, 0, 1400)), TCP_PASS);
		CU_ASSERT_EQUAL(flow.state, TCP_STATE_ESTABLISHED);
		CU_ASSERT_EQUAL(
			say(&flow, REPLY, data(&again, REPLY, 0, taken + 1400, 0)), TCP_PASS);
	}
}

/* Nothing but its own handshake completes a connection. */
static void
test_not_opened(void)
{
	static const uint8_t flags[] = {ACK, FIN | ACK, ACK | PSH, ACK | URG};
	struct flow flow = asked(&shake);

	for (unsigned i = 0; i < RTE_DIM(flags); i++) {
		CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL,
					with_flags(data(&shake, ORIGINAL, 0, 0, 0), flags[i])),
			TCP_INVALID);
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY,
					with_flags(data(&shake, REPLY, 0, 0, 0), flags[i])),
			(flags[i] & FIN) != 0 ? TCP_INVALID : TCP_IGNORE);
	}
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, original_synack(&shake)), TCP_INVALID);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"RFC 5382 REQ-2, RFC 9293 section 3.5: simultaneous open, either order",
			test_simultaneous},
		{"RFC 5382 REQ-2: simultaneous open, completed by either", test_simultaneous_ack},
		{"simultaneous open: what crosses must fit", test_simultaneous_forged},
		{"handshakes with losses", test_repeated},
		{"another SYN/ACK for a repeated SYN (cookies)", test_other_synack},
		{"RFC 6528: a SYN with another number", test_new_number},
		{"RFC 7413: data with the SYN", test_fast_open},
		{"RFC 7413: data with the SYN/ACK", test_fast_answer},
		{"RFC 7413: data with the SYN of a host that forgot", test_fast_open_again},
		{"nothing passes before the answer", test_not_opened},
	};

	segment_start();
	return UNIT_RUN("tcp open", tests);
}
