/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RFC 5961: what a blind attacker sends, and how two hosts that disagree find together again
 * through the firewall.
 */
#include "tests/unit/segment.h"

static const struct handshake shake = {
	.isn = {UINT32_MAX - 3000, 0x12345678},
	.window = {32000, 16000},
	.scale = {NO_SCALE, NO_SCALE},
};

/* The host asks again after it has forgotten, with numbers of its own. */
static const struct handshake anew = {
	.isn = {0x70000000, 0x33333333},
	.window = {9000, 7000},
	.scale = {5, 1},
};

static struct tcp_segment
reset(enum direction direction, uint32_t sequence)
{
	return with_flags(data(&shake, direction, sequence, 0, 0), RST);
}

static struct tcp_segment
finish(enum direction direction, uint32_t sequence, uint32_t acknowledgement)
{
	return with_flags(data(&shake, direction, sequence, acknowledgement, 0), FIN | ACK);
}

/* The original direction sent 5000 bytes, of which 2000 are acknowledged; the reply 3000, of 3000.
 */
static struct flow
talking(void)
{
	struct flow flow = established(&shake);

	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, 0, 5000)), TCP_PASS);
	CU_ASSERT_EQUAL(say(&flow, REPLY, data(&shake, REPLY, 0, 2000, 3000)), TCP_PASS);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, data(&shake, ORIGINAL, 5000, 3000, 0)), TCP_PASS);
	return flow;
}

/* The same, and on the way to its end. How far both have sent, FIN included, is in @p sent. */
static struct flow
talking_in(enum tcp_state state, uint32_t sent[2])
{
	struct flow flow = talking();

	sent[ORIGINAL] = 5000;
	sent[REPLY] = 3000;
	if (state == TCP_STATE_ESTABLISHED)
		return flow;
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, finish(ORIGINAL, 5000, 3000)), TCP_PASS);
	sent[ORIGINAL]++;
	if (state == TCP_STATE_FIN_WAIT)
		return flow;
	CU_ASSERT_EQUAL(say(&flow, REPLY, data(&shake, REPLY, 3000, 5001, 0)), TCP_PASS);
	if (state == TCP_STATE_CLOSE_WAIT)
		return flow;
	CU_ASSERT_EQUAL(say(&flow, REPLY, finish(REPLY, 3000, 5001)), TCP_PASS);
	sent[REPLY]++;
	if (state == TCP_STATE_LAST_ACK)
		return flow;
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, data(&shake, ORIGINAL, 5001, 3001, 0)), TCP_PASS);
	return flow;
}

static const enum tcp_state open_states[] = {TCP_STATE_ESTABLISHED, TCP_STATE_FIN_WAIT,
	TCP_STATE_CLOSE_WAIT, TCP_STATE_LAST_ACK, TCP_STATE_TIME_WAIT};

/* --- section 3: RST --- */

static void
check_reset(const struct flow *flow, enum direction direction, uint32_t sequence)
{
	struct flow copy = *flow;

	CU_ASSERT_EQUAL(say(&copy, direction, reset(direction, sequence)), TCP_PASS);
	CU_ASSERT_EQUAL(copy.state, TCP_STATE_CLOSE);
	CU_ASSERT(!time_after_ms(copy.deadline_ms, now_ms + 10000));
	CU_ASSERT(!time_after_ms(copy.deadline_ms, flow->deadline_ms));
	CU_ASSERT_EQUAL(memcmp(copy.tcp, flow->tcp, sizeof(copy.tcp)), 0);
}

static void
test_reset_exact(void)
{
	for (unsigned i = 0; i < RTE_DIM(open_states); i++) {
		uint32_t sent[2];
		struct flow flow = talking_in(open_states[i], sent);

		CU_ASSERT_EQUAL(flow.state, open_states[i]);
		/* Where all that was sent ends, and what was acknowledged last. */
		check_reset(&flow, ORIGINAL, sent[ORIGINAL]);
		check_reset(&flow, REPLY, sent[REPLY]);
		if (open_states[i] == TCP_STATE_ESTABLISHED || open_states[i] == TCP_STATE_FIN_WAIT)
			check_reset(&flow, ORIGINAL, 2000);
	}
}

static void
test_reset_in_window(void)
{
	for (unsigned i = 0; i < RTE_DIM(open_states); i++)
		for (unsigned direction = 0; direction < 2; direction++) {
			uint32_t sent[2];
			struct flow flow = talking_in(open_states[i], sent);
			bool more = direction == ORIGINAL &&
				    flow.tcp[REPLY].max_ack == shake.isn[ORIGINAL] + 2001;
			uint32_t least = more ? 2000 : sent[direction];
			uint32_t most = flow.tcp[direction].max_end - shake.isn[direction] - 1;

			for (uint32_t sequence = least + 1; sequence < sent[direction]; sequence++)
				CU_ASSERT_EQUAL(
					ask_untouched(&flow, direction, reset(direction, sequence)),
					TCP_IGNORE);
			for (uint32_t sequence = sent[direction] + 1; sequence <= most; sequence++)
				CU_ASSERT_EQUAL(
					ask_untouched(&flow, direction, reset(direction, sequence)),
					TCP_IGNORE);
			/* With ACK it is no better, whatever it acknowledges. */
			for (uint32_t ack = 0; ack < 0xf0000000; ack += 0x01010101) {
				struct tcp_segment segment = with_flags(
					data(&shake, direction, most, ack, 0), RST | ACK);

				CU_ASSERT_EQUAL(
					ask_untouched(&flow, direction, segment), TCP_IGNORE);
			}
		}
}

static void
test_reset_outside(void)
{
	for (unsigned i = 0; i < RTE_DIM(open_states); i++)
		for (unsigned direction = 0; direction < 2; direction++)
			for (unsigned flags = RST; flags <= (RST | ACK); flags += ACK) {
				uint32_t sent[2];
				struct flow flow = talking_in(open_states[i], sent);
				uint32_t least = flow.tcp[!direction].max_ack;
				uint32_t most = flow.tcp[direction].max_end;
				struct tcp_segment segment = with_flags(
					data(&shake, direction, 0, 0, 0), (uint8_t)flags);

				/* some steps are exact by chance: none is */
				for (uint32_t step = 0; step < 2000; step++) {
					segment.sequence = least - 1 - step;
					CU_ASSERT_EQUAL(ask_untouched(&flow, direction, segment),
						TCP_OUT_OF_WINDOW);
					segment.sequence = most + 1 + step;
					CU_ASSERT_EQUAL(ask_untouched(&flow, direction, segment),
						TCP_OUT_OF_WINDOW);
					segment.sequence = most + 1 + step * 1000000;
					CU_ASSERT_EQUAL(ask_untouched(&flow, direction, segment),
						TCP_OUT_OF_WINDOW);
				}
			}
}

/* Data beyond the window passed; the RST behind them is no further away. */
static void
test_reset_after_overshoot(void)
{
	struct flow flow = talking();

	CU_ASSERT_EQUAL(
		say(&flow, ORIGINAL, data(&shake, ORIGINAL, 19000, 3000, 1000)), TCP_IGNORE);
	CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, reset(ORIGINAL, 20000)), TCP_PASS);
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, reset(ORIGINAL, 19999)), TCP_IGNORE);
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, reset(ORIGINAL, 20001)), TCP_OUT_OF_WINDOW);
}

/* Section 3.2: the challenged host answers with what it is asked for. */
static void
test_challenge(void)
{
	for (unsigned direction = 0; direction < 2; direction++) {
		uint32_t sent[2];
		struct flow flow = talking_in(TCP_STATE_ESTABLISHED, sent);
		uint32_t expected = direction == ORIGINAL ? 2000 : 3000;

		/* Data that never came this far are in between: within the window, not exact. */
		CU_ASSERT_EQUAL(say(&flow, direction, reset(direction, sent[direction] + 1460)),
			TCP_IGNORE);
		CU_ASSERT_EQUAL(flow.state, TCP_STATE_ESTABLISHED);
		/* the challenge, and its answer: from what it acknowledges */
		CU_ASSERT_EQUAL(say(&flow, !direction,
					data(&shake, !direction, sent[!direction], expected, 0)),
			TCP_PASS);
		CU_ASSERT_EQUAL(flow.state, TCP_STATE_ESTABLISHED);
		CU_ASSERT_EQUAL(say(&flow, direction, reset(direction, expected)), TCP_PASS);
		CU_ASSERT_EQUAL(flow.state, TCP_STATE_CLOSE);
		/* Or the RST was forged: the connection goes on. */
		flow = talking_in(TCP_STATE_ESTABLISHED, sent);
		CU_ASSERT_EQUAL(
			say(&flow, direction, reset(direction, sent[direction] + 1)), TCP_IGNORE);
		CU_ASSERT_EQUAL(say(&flow, !direction,
					data(&shake, !direction, sent[!direction], expected, 0)),
			TCP_PASS);
		CU_ASSERT_EQUAL(
			say(&flow, direction,
				data(&shake, direction, sent[direction], sent[!direction], 100)),
			TCP_PASS);
		CU_ASSERT_EQUAL(flow.state, TCP_STATE_ESTABLISHED);
	}
}

/* A connection that was reset: what both still send passes, a RST of no window does not. */
static void
test_reset_again(void)
{
	struct flow flow = talking();
	uint32_t deadline_ms;

	CU_ASSERT_EQUAL(say(&flow, REPLY, reset(REPLY, 3000)), TCP_PASS);
	CU_ASSERT_EQUAL(flow.deadline_ms - now_ms, 10000);
	deadline_ms = flow.deadline_ms;
	now_ms += 2000;
	/* it has no connection any more, and answers each segment with what that acknowledged */
	for (uint32_t sequence = 3000; sequence < 3010; sequence++)
		CU_ASSERT_EQUAL(ask(&flow, REPLY, reset(REPLY, sequence)), TCP_PASS);
	CU_ASSERT_EQUAL(say(&flow, REPLY, reset(REPLY, 3005)), TCP_PASS);
	CU_ASSERT_EQUAL(flow.deadline_ms, deadline_ms);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, reset(ORIGINAL, 5000)), TCP_PASS);
	CU_ASSERT_EQUAL(flow.deadline_ms, deadline_ms);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, reset(REPLY, 2999)), TCP_OUT_OF_WINDOW);
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 5000, 3001, 0)),
		TCP_OUT_OF_WINDOW);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, data(&shake, ORIGINAL, 5000, 3000, 100)), TCP_PASS);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_CLOSE);
}

/* RFC 7857 section 2.2: whoever sends a RST, the life of a flow does not become longer. */
static void
test_reset_shortens(void)
{
	static const uint32_t left[] = {1, 9999, 10000, 10001, 240000, 7440000};

	for (unsigned i = 0; i < RTE_DIM(left); i++)
		for (unsigned direction = 0; direction < 2; direction++) {
			struct flow flow = talking();
			uint32_t sequence = direction == ORIGINAL ? 5000 : 3000;

			flow.deadline_ms = now_ms + left[i];
			CU_ASSERT_EQUAL(
				say(&flow, direction, reset(direction, sequence)), TCP_PASS);
			CU_ASSERT_EQUAL(flow.deadline_ms - now_ms, RTE_MIN(left[i], 10000u));
		}
}

/* Taken up in the middle: the window is not known, what was acknowledged is. */
static void
test_reset_picked_up(void)
{
	struct flow flow = {.protocol = 6};
	struct tcp_segment first = data(&shake, ORIGINAL, 500, 300, 20);

	tcp_pickup(&flow, &first);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, reset(REPLY, 299)), TCP_IGNORE);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, reset(REPLY, 301)), TCP_IGNORE);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, reset(REPLY, 1u << 31)), TCP_IGNORE);
	CU_ASSERT_EQUAL(ask(&flow, REPLY, reset(REPLY, 300)), TCP_PASS);
	CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, reset(ORIGINAL, 520)), TCP_PASS);
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, reset(ORIGINAL, 519)), TCP_IGNORE);
	CU_ASSERT_EQUAL(say(&flow, REPLY, data(&shake, REPLY, 300, 510, 0)), TCP_PASS);
	CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, reset(ORIGINAL, 510)), TCP_PASS);
}

/* --- RST and what is half-open --- */

static struct tcp_segment
refusal(const struct handshake *of, int difference)
{
	struct tcp_segment segment = {.flags = RST | ACK};

	segment.acknowledgement = of->isn[ORIGINAL] + 1 + (uint32_t)difference;
	return segment;
}

/* RFC 9293 section 3.10.7.3: a RST that answers a SYN acknowledges it. */
static void
test_refused(void)
{
	struct flow flow = asked(&shake);
	struct tcp_segment segment;

	CU_ASSERT_EQUAL(ask(&flow, REPLY, refusal(&shake, 0)), TCP_PASS);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, refusal(&shake, 1)), TCP_OUT_OF_WINDOW);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, refusal(&shake, -1)), TCP_OUT_OF_WINDOW);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, refusal(&shake, 65536)), TCP_OUT_OF_WINDOW);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, refusal(&shake, -65535)), TCP_OUT_OF_WINDOW);
	segment = with_flags(refusal(&shake, 0), RST);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, segment), TCP_OUT_OF_WINDOW);
	segment = refusal(&shake, 0);
	segment.acknowledgement = 0;
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, segment), TCP_OUT_OF_WINDOW);
	/* whatever its sequence number is */
	segment = refusal(&shake, 0);
	segment.sequence = 0xdeadbeef;
	CU_ASSERT_EQUAL(ask(&flow, REPLY, segment), TCP_PASS);
	/* the data that came with a SYN need not be acknowledged (RFC 7413) */
	flow.tcp[ORIGINAL].end += 1000;
	flow.tcp[ORIGINAL].max_end += 1000;
	CU_ASSERT_EQUAL(ask(&flow, REPLY, refusal(&shake, 0)), TCP_PASS);
	CU_ASSERT_EQUAL(ask(&flow, REPLY, refusal(&shake, 1000)), TCP_PASS);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, refusal(&shake, 1001)), TCP_OUT_OF_WINDOW);
	/* of a SYN that was sent with another number, too */
	flow = asked(&shake);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, refusal(&anew, 0)), TCP_OUT_OF_WINDOW);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&anew, ORIGINAL)), TCP_IGNORE);
	CU_ASSERT_EQUAL(ask(&flow, REPLY, refusal(&shake, 0)), TCP_PASS);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, refusal(&anew, 1)), TCP_OUT_OF_WINDOW);
	CU_ASSERT_EQUAL(say(&flow, REPLY, refusal(&anew, 0)), TCP_PASS);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_CLOSE);
	CU_ASSERT_EQUAL(flow.deadline_ms - now_ms, 10000);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&shake, ORIGINAL)), TCP_REOPEN);
}

/* Whoever asks may give up; the RST of a host that asks and is challenged ends nothing. */
static void
test_given_up(void)
{
	struct flow flow = asked(&shake);

	CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, reset(ORIGINAL, 0)), TCP_PASS);
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, reset(ORIGINAL, 1)), TCP_IGNORE);
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, reset(ORIGINAL, (uint32_t)-1)), TCP_IGNORE);
	/* The far end has an older connection, says so, and hears that it is no more. */
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, data(&anew, REPLY, 0, 77777, 0)), TCP_IGNORE);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, with_flags(data(&anew, ORIGINAL, 77777, 0, 0), RST)),
		TCP_IGNORE);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&shake, ORIGINAL)), TCP_PASS);
	CU_ASSERT_EQUAL(say(&flow, REPLY, syn_of(&shake, REPLY)), TCP_PASS);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_SYN_RECV);
}

/* Answered, but not open: both ends may reset it, and know what it takes. */
static void
test_reset_half_open(void)
{
	struct flow flow = answered(&shake);
	struct tcp_segment segment;

	CU_ASSERT_EQUAL(ask(&flow, REPLY, reset(REPLY, 0)), TCP_PASS);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, reset(REPLY, 1)), TCP_IGNORE);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, reset(REPLY, 32000)), TCP_IGNORE);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, reset(REPLY, 32001)), TCP_OUT_OF_WINDOW);
	CU_ASSERT_EQUAL(
		ask_untouched(&flow, REPLY, reset(REPLY, (uint32_t)-32001)), TCP_OUT_OF_WINDOW);
	/* the SYN was sent again, and there is nobody to answer any more */
	CU_ASSERT_EQUAL(ask(&flow, REPLY, refusal(&shake, 0)), TCP_PASS);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, refusal(&shake, 1)), TCP_OUT_OF_WINDOW);
	CU_ASSERT_EQUAL(ask(&flow, ORIGINAL, reset(ORIGINAL, 0)), TCP_PASS);
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, reset(ORIGINAL, 1)), TCP_IGNORE);
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, reset(ORIGINAL, 16000)), TCP_IGNORE);
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, reset(ORIGINAL, 16001)), TCP_OUT_OF_WINDOW);
	CU_ASSERT_EQUAL(
		ask_untouched(&flow, ORIGINAL, reset(ORIGINAL, (uint32_t)-1)), TCP_OUT_OF_WINDOW);
	/* once it is open, an acknowledgement is worth nothing */
	flow = established(&shake);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, refusal(&shake, 0)), TCP_OUT_OF_WINDOW);
	/* a SYN/ACK that nobody asked for: the host resets it with what it acknowledged */
	flow = answered(&shake);
	segment = reset(ORIGINAL, 0);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, segment), TCP_PASS);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_CLOSE);
	CU_ASSERT_EQUAL(flow.deadline_ms - now_ms, 10000);
}

/* --- section 4: SYN --- */

/* A blind SYN to a host that asks: it hears it, but nothing it does stands in the way. */
static void
test_blind_syn_first(void)
{
	for (int scale = NO_SCALE; scale < 15; scale++)
		for (unsigned above = 0; above < 2; above++) {
			struct handshake scaled = shake;
			struct tcp_segment blind;
			struct flow flow;

			scaled.scale[ORIGINAL] = 6;
			scaled.scale[REPLY] = scale;
			flow = asked(&scaled);
			blind = with_flags(syn_of(&anew, REPLY), SYN);
			blind.acknowledgement = 0;
			blind.options_length = 0;
			blind.sequence =
				scaled.isn[REPLY] + (above != 0 ? 0x10000000 : -0x10000000);
			CU_ASSERT_EQUAL(say(&flow, REPLY, blind), TCP_PASS);
			CU_ASSERT_EQUAL(flow.state, TCP_STATE_SYN_SENT2);
			/* it cannot end what it began, nor complete it */
			CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY,
						(struct tcp_segment){.flags = RST,
							.sequence = blind.sequence + 1}),
				TCP_IGNORE);
			CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY,
						(struct tcp_segment){
							.flags = RST, .sequence = blind.sequence}),
				TCP_OUT_OF_WINDOW);
			blind.flags = SYN | ACK;
			CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, blind), TCP_OUT_OF_WINDOW);
			/* a refusal of the far end still counts, and so does its consent */
			CU_ASSERT_EQUAL(ask(&flow, REPLY, refusal(&scaled, 0)), TCP_PASS);
			CU_ASSERT_EQUAL(say(&flow, REPLY, syn_of(&scaled, REPLY)), TCP_PASS);
			CU_ASSERT_EQUAL(flow.state, TCP_STATE_SYN_RECV);
			CU_ASSERT_EQUAL(
				say(&flow, ORIGINAL, data(&scaled, ORIGINAL, 0, 0, 0)), TCP_PASS);
			CU_ASSERT_EQUAL(flow.state, TCP_STATE_ESTABLISHED);
			CU_ASSERT_EQUAL(flow.tcp[REPLY].max_end - scaled.isn[REPLY] - 1,
				32000u << (scale == NO_SCALE ? 0 : 6));
			CU_ASSERT_EQUAL(say(&flow, REPLY, data(&scaled, REPLY, 0, 0, 0)), TCP_PASS);
			CU_ASSERT_EQUAL(flow.tcp[ORIGINAL].max_end - scaled.isn[ORIGINAL] - 1,
				16000u << (scale == NO_SCALE ? 0 : scale));
		}
}

/* Section 4.2: a SYN in an open connection is passed on, for the receiver to ask back. */
static void
test_blind_syn(void)
{
	for (unsigned i = 0; i < 4; i++) {
		uint32_t sent[2];
		struct flow flow = talking_in(open_states[i], sent);
		struct flow before = flow;
		struct tcp_segment syn = syn_of(&anew, ORIGINAL);

		now_ms += 500;
		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn), TCP_IGNORE);
		before.syn_end = anew.isn[ORIGINAL] + 1;
		before.reply6 = 5 << 4;
		CU_ASSERT_EQUAL(memcmp(&flow, &before, sizeof(flow)), 0);
		/* the challenge */
		CU_ASSERT_EQUAL(
			say(&flow, REPLY, data(&shake, REPLY, sent[REPLY], sent[ORIGINAL], 0)),
			open_states[i] == TCP_STATE_LAST_ACK ? TCP_IGNORE : TCP_PASS);
		/* In the other direction nobody asks for anything. */
		syn.sequence = anew.isn[REPLY];
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, syn), TCP_INVALID);
		/* The owner goes on, and that SYN is forgotten. */
		CU_ASSERT_EQUAL(say(&flow, ORIGINAL,
					data(&shake, ORIGINAL, sent[ORIGINAL], sent[REPLY], 0)),
			TCP_PASS);
		CU_ASSERT_EQUAL(flow.syn_end, 0);
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, syn_of(&anew, REPLY)), TCP_IGNORE);
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, refusal(&anew, 0)), TCP_OUT_OF_WINDOW);
	}
}

/* What does not pass does not make the flow forget either. */
static void
test_blind_forgetting(void)
{
	struct flow flow = talking();

	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&anew, ORIGINAL)), TCP_IGNORE);
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 0x1000000, 3000, 0)),
		TCP_OUT_OF_WINDOW);
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 5000, 3001, 0)),
		TCP_OUT_OF_WINDOW);
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 5000, 0x90000000, 0)),
		TCP_IGNORE);
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, reset(ORIGINAL, 5001)), TCP_IGNORE);
	CU_ASSERT_EQUAL(ask(&flow, REPLY, syn_of(&anew, REPLY)), TCP_PASS);
}

/* The host has lost its memory, the far end too: both begin anew, with windows of their own. */
static void
test_second_syn_confirmed(void)
{
	for (unsigned i = 0; i < 4; i++) {
		uint32_t sent[2];
		struct flow flow = talking_in(open_states[i], sent);
		struct tcp_segment wrong = syn_of(&anew, REPLY);

		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&anew, ORIGINAL)), TCP_IGNORE);
		wrong.acknowledgement++;
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, wrong), TCP_IGNORE);
		now_ms += 10;
		CU_ASSERT_EQUAL(say(&flow, REPLY, syn_of(&anew, REPLY)), TCP_PASS);
		CU_ASSERT_EQUAL(flow.state, TCP_STATE_SYN_RECV);
		CU_ASSERT_EQUAL(flow.deadline_ms - now_ms, 240000);
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, syn_of(&anew, REPLY)), TCP_IGNORE);
		/* of what was before, nothing holds */
		CU_ASSERT(ask_untouched(&flow, ORIGINAL, data(&shake, ORIGINAL, 5000, 3000, 10)) !=
			  TCP_PASS);
		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, data(&anew, ORIGINAL, 0, 0, 0)), TCP_PASS);
		CU_ASSERT_EQUAL(flow.state, TCP_STATE_ESTABLISHED);
		CU_ASSERT_EQUAL(flow.syn_end, 0);
		CU_ASSERT_EQUAL(say(&flow, REPLY, data(&anew, REPLY, 0, 0, 0)), TCP_PASS);
		for (unsigned direction = 0; direction < 2; direction++) {
			uint32_t allowed = direction == ORIGINAL ? 7000 << 1 : 9000 << 5;

			CU_ASSERT_EQUAL(
				ask(&flow, direction, data(&anew, direction, allowed, 0, 1)),
				TCP_PASS);
			CU_ASSERT_EQUAL(
				ask(&flow, direction, data(&anew, direction, allowed + 1, 0, 1)),
				TCP_IGNORE);
			CU_ASSERT_EQUAL(
				ask_untouched(&flow, direction,
					data(&anew, direction, 2 * allowed + UNIT + 1, 0, 0)),
				TCP_OUT_OF_WINDOW);
		}
	}
}

/* Section 4.2: the far end has not forgotten. It asks back, is reset exactly, and then it is new.
 */
static void
test_second_syn_challenged(void)
{
	for (unsigned i = 0; i < 4; i++) {
		uint32_t sent[2];
		struct flow flow = talking_in(open_states[i], sent);

		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&anew, ORIGINAL)), TCP_IGNORE);
		(void)say(&flow, REPLY, data(&shake, REPLY, sent[REPLY], sent[ORIGINAL], 0));
		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, reset(ORIGINAL, sent[ORIGINAL])), TCP_PASS);
		CU_ASSERT_EQUAL(flow.state, TCP_STATE_CLOSE);
		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&anew, ORIGINAL)), TCP_REOPEN);
	}
}

/* The far end has forgotten, and does not want: its RST has no number but that of the SYN. */
static void
test_second_syn_refused(void)
{
	for (unsigned i = 0; i < 4; i++) {
		uint32_t sent[2];
		struct flow flow = talking_in(open_states[i], sent);

		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, refusal(&anew, 0)), TCP_OUT_OF_WINDOW);
		CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&anew, ORIGINAL)), TCP_IGNORE);
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, refusal(&anew, 1)), TCP_OUT_OF_WINDOW);
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, refusal(&shake, 0)), TCP_OUT_OF_WINDOW);
		CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, with_flags(refusal(&anew, 0), RST)),
			TCP_OUT_OF_WINDOW);
		CU_ASSERT_EQUAL(say(&flow, REPLY, refusal(&anew, 0)), TCP_PASS);
		CU_ASSERT_EQUAL(flow.state, TCP_STATE_CLOSE);
	}
}

/* Only what whoever asked has forgotten is remembered: its first SYN, late, is nothing new. */
static void
test_late_first_syn(void)
{
	struct flow flow = talking();
	struct handshake other = shake;

	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, syn_of(&shake, ORIGINAL)), TCP_IGNORE);
	/* 66,000 bytes below what was sent at the most */
	other.isn[ORIGINAL] = shake.isn[ORIGINAL] + 5000 - 66000;
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, syn_of(&other, ORIGINAL)), TCP_IGNORE);
	other.isn[ORIGINAL]--;
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&other, ORIGINAL)), TCP_IGNORE);
	CU_ASSERT_EQUAL(flow.syn_end, other.isn[ORIGINAL] + 1);
	/* nor does the SYN/ACK of the open connection confirm it */
	other.isn[REPLY] = shake.isn[REPLY] + 3000;
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, syn_of(&other, REPLY)), TCP_IGNORE);
	other.isn[REPLY] = shake.isn[REPLY] + 3000 - 66000;
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, syn_of(&other, REPLY)), TCP_IGNORE);
	other.isn[REPLY]--;
	CU_ASSERT_EQUAL(ask(&flow, REPLY, syn_of(&other, REPLY)), TCP_PASS);
	other.isn[REPLY] = shake.isn[REPLY] + 3001;
	CU_ASSERT_EQUAL(ask(&flow, REPLY, syn_of(&other, REPLY)), TCP_PASS);
}

/* Whoever asked has sent nothing since: its first SYN is late all the same, and so is the answer.
 */
static void
test_late_handshake(void)
{
	struct flow flow = established(&shake);

	for (uint32_t sent = 0; sent < 80000; sent += 20000) {
		CU_ASSERT_EQUAL(say(&flow, REPLY, data(&shake, REPLY, sent, 0, 20000)), TCP_PASS);
		CU_ASSERT_EQUAL(
			say(&flow, ORIGINAL, data(&shake, ORIGINAL, 0, sent + 20000, 0)), TCP_PASS);
	}
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, syn_of(&shake, ORIGINAL)), TCP_IGNORE);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&shake, ORIGINAL)), TCP_IGNORE);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, syn_of(&shake, REPLY)), TCP_IGNORE);
}

/* A challenge ACK in LAST_ACK does not acknowledge the last FIN. */
static void
test_challenge_in_last_ack(void)
{
	uint32_t sent[2];
	struct flow flow = talking_in(TCP_STATE_LAST_ACK, sent);
	struct tcp_segment challenge = data(&shake, REPLY, sent[REPLY], sent[ORIGINAL], 0);

	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&anew, ORIGINAL)), TCP_IGNORE);
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, challenge), TCP_IGNORE);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_LAST_ACK);
	/* a FIN again is no challenge */
	CU_ASSERT_EQUAL(ask(&flow, REPLY, finish(REPLY, 3000, 5001)), TCP_PASS);
	/* and without a SYN nothing is to challenge */
	flow = talking_in(TCP_STATE_LAST_ACK, sent);
	CU_ASSERT_EQUAL(say(&flow, REPLY, challenge), TCP_PASS);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_TIME_WAIT);
	/* the ACK of whoever sent the first FIN ends it, SYN or not */
	flow = talking_in(TCP_STATE_LAST_ACK, sent);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&anew, ORIGINAL)), TCP_IGNORE);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, data(&shake, ORIGINAL, 5001, 3001, 0)), TCP_PASS);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_TIME_WAIT);
}

/* A FIN sent twice looks like the last one, but the other end goes on, whoever sends blind SYNs. */
static void
test_half_closed_with_syn(void)
{
	uint32_t sent[2];
	struct flow flow = talking_in(TCP_STATE_FIN_WAIT, sent);
	uint32_t deadline_ms;

	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, finish(ORIGINAL, 5000, 3000)), TCP_PASS);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_LAST_ACK);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, syn_of(&anew, ORIGINAL)), TCP_IGNORE);
	deadline_ms = flow.deadline_ms;
	now_ms += 1000;
	CU_ASSERT_EQUAL(say(&flow, REPLY, data(&shake, REPLY, 3000, 5001, 700)), TCP_IGNORE);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_LAST_ACK);
	CU_ASSERT_EQUAL(flow.deadline_ms, deadline_ms);
	/* what is dropped stays dropped */
	CU_ASSERT_EQUAL(ask_untouched(&flow, REPLY, data(&shake, REPLY, 3000, 5002, 700)),
		TCP_OUT_OF_WINDOW);
	CU_ASSERT_EQUAL(say(&flow, ORIGINAL, data(&shake, ORIGINAL, 5001, 3700, 0)), TCP_PASS);
}

/* RFC 9293 section 3.6.1, RFC 6191: a new connection on the ports of one that is over. */
static void
test_reopen(void)
{
	uint32_t sent[2];
	struct flow flow = talking_in(TCP_STATE_TIME_WAIT, sent);

	CU_ASSERT_EQUAL(flow.state, TCP_STATE_TIME_WAIT);
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, syn_of(&anew, ORIGINAL)), TCP_REOPEN);
	CU_ASSERT_EQUAL(
		ask_untouched(&flow, REPLY, with_flags(syn_of(&anew, REPLY), SYN)), TCP_INVALID);
	CU_ASSERT_EQUAL(say(&flow, REPLY, reset(REPLY, 3001)), TCP_PASS);
	CU_ASSERT_EQUAL(ask_untouched(&flow, ORIGINAL, syn_of(&anew, ORIGINAL)), TCP_REOPEN);
	CU_ASSERT_EQUAL(
		ask_untouched(&flow, REPLY, with_flags(syn_of(&anew, REPLY), SYN)), TCP_INVALID);
}

/* --- section 5: data --- */

/* Of all that can be sent blindly at an open connection, next to nothing passes or counts. */
static void
test_blind_data(void)
{
	enum { TRIES = 2000000 };
	struct flow flow = talking();
	unsigned verdicts[5] = {0};

	srand(5961);
	now_ms += 1000;
	for (unsigned i = 0; i < TRIES; i++) {
		static const uint8_t flags[] = {ACK, ACK | PSH, FIN | ACK, RST, RST | ACK};
		struct tcp_segment segment = {
			.sequence = (uint32_t)rand() << 16 ^ (uint32_t)rand(),
			.acknowledgement = (uint32_t)rand() << 16 ^ (uint32_t)rand(),
			.length = (uint32_t)rand() % 1460,
			.window = (uint16_t)rand(),
			.flags = flags[(unsigned)rand() % RTE_DIM(flags)],
		};
		enum direction direction = rand() % 2 != 0 ? REPLY : ORIGINAL;
		struct flow copy = flow;
		enum tcp_track track = say(&copy, direction, segment);

		verdicts[track]++;
		if (track != TCP_PASS) {
			/* at most the end of data beyond the window, which is one in 2^31 */
			CU_ASSERT_EQUAL_FATAL(memcmp(&copy, &flow, sizeof(copy)), 0);
		}
	}
	/* (32000 / 2^32) * (66000 / 2^32) would be right for data: less than one in 2^31 */
	CU_ASSERT(verdicts[TCP_PASS] <= 1);
	CU_ASSERT_EQUAL(verdicts[TCP_INVALID] + verdicts[TCP_REOPEN], 0);
	/* old data and acknowledgements are left to the receiver; half of the numbers are old */
	CU_ASSERT(verdicts[TCP_OUT_OF_WINDOW] > TRIES / 2);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"RFC 5961 section 3.2: an exact RST ends it, in every state", test_reset_exact},
		{"RFC 5961 section 3.2: a RST in the window is left to its receiver",
			test_reset_in_window},
		{"RFC 5961 section 3.2: a RST outside is dropped", test_reset_outside},
		{"RFC 5961 section 3.2: behind data beyond the window", test_reset_after_overshoot},
		{"RFC 5961 section 3.2: challenged, and answered", test_challenge},
		{"what follows a RST", test_reset_again},
		{"RFC 7857 section 2.2: a RST makes no life longer", test_reset_shortens},
		{"a RST where windows are not known", test_reset_picked_up},
		{"RFC 9293 section 3.10.7.3: a RST that answers a SYN", test_refused},
		{"RFC 9293 section 3.10.7.3: giving up, or challenged for an older connection",
			test_given_up},
		{"RFC 5961 section 3.2: a RST while it is half-open", test_reset_half_open},
		{"RFC 5961 section 4: a blind SYN before the answer", test_blind_syn_first},
		{"RFC 5961 section 4.2: a blind SYN is left to its receiver", test_blind_syn},
		{"RFC 5961 section 4: only what passes makes a flow forget", test_blind_forgetting},
		{"RFC 5961 section 4.2: a second SYN, confirmed", test_second_syn_confirmed},
		{"RFC 5961 section 4.2: a second SYN, challenged", test_second_syn_challenged},
		{"a second SYN, refused", test_second_syn_refused},
		{"RFC 6528: the first SYN, late", test_late_first_syn},
		{"RFC 6528: the first SYN and its answer, late", test_late_handshake},
		{"RFC 5961 section 4.2: a challenge in LAST_ACK", test_challenge_in_last_ack},
		{"RFC 5961 section 4.2: a blind SYN when half closed", test_half_closed_with_syn},
		{"RFC 6191: reopened from TIME_WAIT, from one side", test_reopen},
		{"RFC 5961 section 5: blind data", test_blind_data},
	};

	segment_start();
	return UNIT_RUN("tcp attack", tests);
}
