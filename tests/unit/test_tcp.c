/* SPDX-License-Identifier: BSD-3-Clause */
/* The TCP tracker against the table of the specification, and what the table does not say. */
#include "tests/unit/unit.h"

#include <rte_common.h>
#include <rte_tcp.h>

#include "nat/tcp.h"

#define FIN RTE_TCP_FIN_FLAG
#define SYN RTE_TCP_SYN_FLAG
#define RST RTE_TCP_RST_FLAG
#define PSH RTE_TCP_PSH_FLAG
#define ACK RTE_TCP_ACK_FLAG
#define URG RTE_TCP_URG_FLAG
#define ECE RTE_TCP_ECE_FLAG
#define CWR RTE_TCP_CWR_FLAG

#define ORIGINAL DIRECTION_ORIGINAL
#define REPLY DIRECTION_REPLY

#define NOW_MS (UINT32_MAX - 3000)

static struct timeout_values values;

/* The table as spec/nat.md has it, with `ack` in NONE as sluice wants it. */
static const struct {
	enum direction direction;
	uint8_t flags;
	const char *row;
} specification[] = {
	{ORIGINAL, SYN, "SS SS IG IG IG IG IG SS SS S2"},
	{ORIGINAL, SYN | ACK, "IV IV SR IV IV IV IV IV IV SR"},
	{ORIGINAL, FIN | ACK, "IV IV FW FW LA LA LA TW CL IV"},
	{ORIGINAL, ACK, "IV IV ES ES CW CW TW TW CL IV"},
	{ORIGINAL, RST, "IV CL CL CL CL CL CL CL CL CL"},
	{ORIGINAL, 0, "IV IV IV IV IV IV IV IV IV IV"},
	{REPLY, SYN, "IV S2 IV IV IV IV IV SS IV S2"},
	{REPLY, SYN | ACK, "IV SR IG IG IG IG IG IG IG SR"},
	{REPLY, FIN | ACK, "IV IV FW FW LA LA LA TW CL IV"},
	{REPLY, ACK, "IV IG SR ES CW CW TW TW CL IG"},
	{REPLY, RST | ACK, "IV CL CL CL CL CL CL CL CL CL"},
	{REPLY, 0, "IV IV IV IV IV IV IV IV IV IV"},
};

static const char *const codes[TCP_STATE_COUNT] = {
	"no", "SS", "SR", "ES", "FW", "CW", "LA", "TW", "CL", "S2"};

/* Where the two ends stand when a segment comes: sent and acknowledged up to here. */
#define ORIGINAL_END 1000
#define REPLY_END 5000
#define WINDOW 64000

static struct tcp_end
end_at(uint32_t end, uint32_t other_end)
{
	return (struct tcp_end){
		.end = end,
		.max_end = end + WINDOW,
		.max_ack = other_end,
		.max_window = WINDOW / 16,
		.flags = TCP_END_MAX_ACK,
	};
}

/* A flow whose windows are as a connection leaves them that came to @p state. */
static struct flow
flow_in(enum tcp_state state)
{
	struct flow flow = {.state = (uint8_t)state, .deadline_ms = NOW_MS + 5000};

	flow.tcp[ORIGINAL] = end_at(ORIGINAL_END, REPLY_END);
	flow.tcp[REPLY] = end_at(REPLY_END, ORIGINAL_END);
	if (tcp_half_open(flow.state)) {
		/* It has acknowledged nothing, and may send what its SYN did. */
		flow.tcp[ORIGINAL].flags = 0;
		flow.tcp[ORIGINAL].max_ack = ORIGINAL_END;
	}
	if (state == TCP_STATE_SYN_SENT2) {
		flow.tcp[REPLY].flags = 0;
		flow.tcp[REPLY].max_ack = REPLY_END;
	}
	if (state == TCP_STATE_SYN_SENT) {
		flow.tcp[ORIGINAL].max_end = ORIGINAL_END;
		flow.tcp[REPLY] = (struct tcp_end){0};
	}
	return flow;
}

/* The next segment of @p direction, or the same SYN again. */
static struct tcp_segment
segment_of(enum direction direction, uint8_t flags)
{
	uint32_t sequence = direction == ORIGINAL ? ORIGINAL_END : REPLY_END;
	uint32_t acknowledgement = direction == ORIGINAL ? REPLY_END : ORIGINAL_END;

	return (struct tcp_segment){
		.sequence = sequence - ((flags & SYN) != 0),
		.acknowledgement = (flags & ACK) != 0 ? acknowledgement : 0,
		.window = WINDOW,
		.flags = flags,
	};
}

static enum tcp_track
track_at(struct flow *flow, enum direction direction, uint8_t flags, uint32_t now_ms)
{
	struct tcp_segment segment = segment_of(direction, flags);

	return tcp_track(flow, direction, &segment, &values, now_ms);
}

static enum tcp_track
track(struct flow *flow, enum direction direction, uint8_t flags)
{
	return track_at(flow, direction, flags, NOW_MS);
}

static void
test_specification(void)
{
	for (unsigned i = 0; i < RTE_DIM(specification); i++) {
		for (unsigned state = 0; state < TCP_STATE_COUNT; state++) {
			const char *code = specification[i].row + 3 * state;
			struct flow flow = flow_in(state);
			struct flow before = flow;
			struct tcp_segment segment =
				segment_of(specification[i].direction, specification[i].flags);
			enum tcp_track verdict;

			/* in an open connection a SYN begins another one */
			if (specification[i].flags == SYN && strncmp(code, "IG", 2) == 0)
				segment.sequence += 1000000;
			verdict = tcp_track(
				&flow, specification[i].direction, &segment, &values, NOW_MS);
			if (strncmp(code, "IG", 2) == 0) {
				CU_ASSERT_EQUAL(verdict, TCP_IGNORE);
				if (specification[i].direction == ORIGINAL) {
					/* remembered: where it ends, and that it does not scale */
					CU_ASSERT_EQUAL(specification[i].flags, SYN);
					before.syn_end = ORIGINAL_END + 1000000;
					before.reply6 = 15 << 4;
				}
				CU_ASSERT_EQUAL(memcmp(&flow, &before, sizeof(flow)), 0);
			} else if (strncmp(code, "IV", 2) == 0) {
				CU_ASSERT_EQUAL(verdict, TCP_INVALID);
				CU_ASSERT_EQUAL(memcmp(&flow, &before, sizeof(flow)), 0);
			} else if (strncmp(code, "SS", 2) == 0 && state != TCP_STATE_SYN_SENT) {
				/* A new connection, which only the side that asked may begin. */
				CU_ASSERT_EQUAL(verdict, specification[i].direction == ORIGINAL
								 ? TCP_REOPEN
								 : TCP_INVALID);
				CU_ASSERT_EQUAL(memcmp(&flow, &before, sizeof(flow)), 0);
			} else {
				CU_ASSERT_EQUAL(verdict, TCP_PASS);
				CU_ASSERT_EQUAL(strncmp(code, codes[flow.state], 2), 0);
				CU_ASSERT_EQUAL((flow.flags & FLOW_REPLIED) != 0,
					specification[i].direction == REPLY);
			}
		}
	}
}

static bool
is_one_of(uint8_t flags, const uint8_t *sets, unsigned count)
{
	flags &= (uint8_t) ~(PSH | ECE | CWR);
	for (unsigned i = 0; i < count; i++)
		if (sets[i] == flags)
			return true;
	return false;
}

static void
test_flags(void)
{
	static const uint8_t valid[] = {SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK,
		FIN | ACK | URG, ACK, ACK | URG};
	static const uint8_t opening[] = {SYN, SYN | URG};

	for (unsigned flags = 0; flags < 256; flags++) {
		struct flow flow = flow_in(TCP_STATE_ESTABLISHED);
		bool is_valid = is_one_of((uint8_t)flags, valid, RTE_DIM(valid));

		CU_ASSERT_EQUAL(tcp_flags_valid((uint8_t)flags), is_valid);
		CU_ASSERT_EQUAL(tcp_opens((uint8_t)flags),
			is_one_of((uint8_t)flags, opening, RTE_DIM(opening)));
		if (!is_valid)
			CU_ASSERT_EQUAL(track(&flow, ORIGINAL, (uint8_t)flags), TCP_INVALID);
	}
}

/* What a connection goes through: segments, and the state after each. */
struct step {
	enum direction direction;
	uint8_t flags;
	enum tcp_track verdict;
	enum tcp_state state;
};

static void
walk(const struct step *steps, unsigned count)
{
	struct flow flow = {.deadline_ms = NOW_MS + 5000};
	uint32_t next[2] = {ORIGINAL_END, REPLY_END};
	struct tcp_segment segment = segment_of(ORIGINAL, SYN);

	tcp_open(&flow, &segment);
	for (unsigned i = 0; i < count; i++) {
		enum direction direction = steps[i].direction;

		segment = segment_of(direction, steps[i].flags);
		if ((segment.flags & SYN) == 0)
			segment.sequence = next[direction];
		if ((segment.flags & ACK) != 0)
			segment.acknowledgement = next[!direction];
		CU_ASSERT_EQUAL(
			tcp_track(&flow, direction, &segment, &values, NOW_MS), steps[i].verdict);
		CU_ASSERT_EQUAL(flow.state, steps[i].state);
		if ((segment.flags & FIN) != 0 && steps[i].verdict == TCP_PASS)
			next[direction] = segment.sequence + 1;
	}
}
#define WALK(...)                                                 \
	do {                                                      \
		static const struct step steps[] = {__VA_ARGS__}; \
		walk(steps, RTE_DIM(steps));                      \
	} while (0)

static void
test_connections(void)
{
	/* clang-format off */
	/* Open, talk, close from our side; the last ACK; a stray segment of the past; again. */
	WALK({ORIGINAL, SYN, TCP_PASS, TCP_STATE_SYN_SENT},
	     {REPLY, SYN | ACK | ECE, TCP_PASS, TCP_STATE_SYN_RECV},
	     {REPLY, SYN | ACK, TCP_IGNORE, TCP_STATE_SYN_RECV},
	     {ORIGINAL, ACK, TCP_PASS, TCP_STATE_ESTABLISHED},
	     {ORIGINAL, ACK | PSH, TCP_PASS, TCP_STATE_ESTABLISHED},
	     {REPLY, ACK | PSH, TCP_PASS, TCP_STATE_ESTABLISHED},
	     {ORIGINAL, FIN | ACK, TCP_PASS, TCP_STATE_FIN_WAIT},
	     {REPLY, ACK, TCP_PASS, TCP_STATE_CLOSE_WAIT},
	     {REPLY, FIN | ACK | PSH, TCP_PASS, TCP_STATE_LAST_ACK},
	     {ORIGINAL, ACK, TCP_PASS, TCP_STATE_TIME_WAIT},
	     {REPLY, FIN | ACK, TCP_PASS, TCP_STATE_TIME_WAIT},
	     {REPLY, SYN, TCP_INVALID, TCP_STATE_TIME_WAIT},
	     {ORIGINAL, SYN, TCP_REOPEN, TCP_STATE_TIME_WAIT});
	/* Both sides open at once (RFC 5382 REQ-2). */
	WALK({REPLY, SYN, TCP_PASS, TCP_STATE_SYN_SENT2},
	     {ORIGINAL, SYN | ACK, TCP_PASS, TCP_STATE_SYN_RECV},
	     {REPLY, SYN | ACK, TCP_IGNORE, TCP_STATE_SYN_RECV},
	     {ORIGINAL, ACK, TCP_PASS, TCP_STATE_ESTABLISHED});
	/* Refused, and tried again from the same port. */
	WALK({REPLY, RST | ACK, TCP_PASS, TCP_STATE_CLOSE},
	     {ORIGINAL, SYN, TCP_REOPEN, TCP_STATE_CLOSE});
	/* Nothing passes inwards or outwards before the SYN is answered. */
	WALK({ORIGINAL, ACK, TCP_INVALID, TCP_STATE_SYN_SENT},
	     {ORIGINAL, FIN | ACK, TCP_INVALID, TCP_STATE_SYN_SENT},
	     {ORIGINAL, SYN | ACK, TCP_INVALID, TCP_STATE_SYN_SENT},
	     {REPLY, FIN | ACK, TCP_INVALID, TCP_STATE_SYN_SENT});
	/* A SYN in the middle of a connection is left to the ends (challenge ACK). */
	WALK({REPLY, SYN | ACK, TCP_PASS, TCP_STATE_SYN_RECV},
	     {ORIGINAL, ACK, TCP_PASS, TCP_STATE_ESTABLISHED},
	     {ORIGINAL, SYN, TCP_IGNORE, TCP_STATE_ESTABLISHED},
	     {REPLY, SYN, TCP_INVALID, TCP_STATE_ESTABLISHED},
	     {REPLY, FIN | SYN, TCP_INVALID, TCP_STATE_ESTABLISHED});
	/* clang-format on */
}

static uint32_t
left_ms(const struct flow *flow)
{
	return flow->deadline_ms - NOW_MS;
}

/* Each state has its own time (RFC 7857), given when a segment moves the flow or renews it. */
static void
test_timeouts(void)
{
	static const struct {
		enum direction direction;
		uint8_t flags;
		enum tcp_state from;
		uint32_t seconds;
	} cases[] = {
		{REPLY, SYN, TCP_STATE_SYN_SENT, 240},
		{REPLY, SYN | ACK, TCP_STATE_SYN_SENT, 240},
		{ORIGINAL, ACK, TCP_STATE_SYN_RECV, 7440},
		{ORIGINAL, ACK, TCP_STATE_ESTABLISHED, 7440},
		{REPLY, ACK, TCP_STATE_ESTABLISHED, 7440},
		{REPLY, FIN | ACK, TCP_STATE_ESTABLISHED, 240},
		{ORIGINAL, ACK, TCP_STATE_FIN_WAIT, 240},
		{ORIGINAL, FIN | ACK, TCP_STATE_CLOSE_WAIT, 240},
		{REPLY, ACK, TCP_STATE_LAST_ACK, 240},
		{REPLY, ACK, TCP_STATE_TIME_WAIT, 240},
	};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct flow flow = flow_in(cases[i].from);

		CU_ASSERT_EQUAL(track(&flow, cases[i].direction, cases[i].flags), TCP_PASS);
		CU_ASSERT_EQUAL(left_ms(&flow), cases[i].seconds * 1000);
	}
	for (unsigned state = TCP_STATE_SYN_SENT; state < TCP_STATE_COUNT; state++) {
		CU_ASSERT_PTR_NOT_NULL(tcp_states[state].name);
		CU_ASSERT(strlen(tcp_states[state].name) > 2);
	}
	CU_ASSERT_EQUAL(tcp_states[TCP_STATE_SYN_SENT2].timeout, TIMEOUT_TCP_SYN_SENT);
	CU_ASSERT_EQUAL(tcp_states[TCP_STATE_CLOSE].timeout, TIMEOUT_TCP_CLOSE);
}

static void
test_repeated_syn_earns_no_time(void)
{
	struct flow flow = flow_in(TCP_STATE_SYN_SENT);

	CU_ASSERT_EQUAL(track(&flow, ORIGINAL, SYN), TCP_PASS);
	CU_ASSERT_EQUAL(left_ms(&flow), 5000);
	flow = flow_in(TCP_STATE_SYN_SENT2);
	CU_ASSERT_EQUAL(track(&flow, ORIGINAL, SYN), TCP_PASS);
	CU_ASSERT_EQUAL(track(&flow, REPLY, SYN), TCP_PASS);
	CU_ASSERT_EQUAL(left_ms(&flow), 5000);
}

static void
test_reset_earns_no_time(void)
{
	struct flow flow = flow_in(TCP_STATE_ESTABLISHED);

	flow.deadline_ms = NOW_MS + 7000000;
	CU_ASSERT_EQUAL(track(&flow, REPLY, RST), TCP_PASS);
	CU_ASSERT_EQUAL(flow.state, TCP_STATE_CLOSE);
	CU_ASSERT_EQUAL(left_ms(&flow), 10000);
	/* Repeated, later: the flow ends when it would have ended. */
	CU_ASSERT_EQUAL(track_at(&flow, REPLY, RST, NOW_MS + 6000), TCP_PASS);
	CU_ASSERT_EQUAL(left_ms(&flow), 10000);
	CU_ASSERT_EQUAL(track_at(&flow, ORIGINAL, RST | ACK, NOW_MS + 9000), TCP_PASS);
	CU_ASSERT_EQUAL(left_ms(&flow), 10000);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"table of the specification", test_specification},
		{"valid and opening flags", test_flags},
		{"connections", test_connections},
		{"timeouts", test_timeouts},
		{"a repeated SYN earns no time", test_repeated_syn_earns_no_time},
		{"a reset earns no time", test_reset_earns_no_time},
	};

	timeout_defaults(&values);
	return UNIT_RUN("tcp", tests);
}
