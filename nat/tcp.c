/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The TCP tracker: states, windows, and what neither a blind attacker nor a forgetful host may do.
 *
 * States. The table below is the specification (spec/nat.md), which is that of Linux with one
 * difference: an ACK that belongs to no connection does not start one. Two entries of it say that a
 * SYN begins a new connection on the ports of one that is over (TIME_WAIT and CLOSE become
 * SYN_SENT). The tracker does not restart a flow in place: a new connection must be judged by the
 * rules in force now and gets a new flow (TCP_REOPEN). From the reply direction it would be a
 * connection opened by the far end, which only a forward may allow; Linux turns the flow around
 * there, we refuse.
 *
 * Windows (Guido van Rooij, "Real stateful TCP packet filtering in IP Filter"). Of each end we know
 * how far it has sent, how far it may send, how far it has acknowledged, and the largest window it
 * has offered. A segment is believed only if
 *
 *	I	its sequence number is no further than its sender may send
 *	II	it ends no further back than the receiver's largest window
 *	III	it acknowledges (SACK included) nothing that was not sent
 *	IV	nor anything that was acknowledged very long ago
 *
 * What violates II or IV is old: it passes, since its receiver knows what to do with it, and
 * changes nothing here. What violates I or III was never sent by the other end as we saw it, and
 * is dropped; I forgives what a receiver may have allowed without our seeing it. Without the SYNs
 * the scale of windows is unknown, and nothing is enforced.
 *
 * SYNs. Everybody can send a SYN: whoever asked may start anew with another sequence number because
 * he forgot, and a blind attacker may speak in anybody's name. So a SYN that is not the first of a
 * flow is only remembered. A SYN/ACK that acknowledges it to the byte was sent by somebody who got
 * it, and then both ends begin anew; so does a RST, and then the flow is over.
 *
 * RST (RFC 5961 section 3.2). It closes a connection only with the very sequence number that its
 * receiver expects. Within the window it is passed on, for the receiver to ask back with a
 * challenge ACK, and the flow lives; its answer is exact. The receiver takes no RST outside of the
 * window, nor do we. An answer to a SYN has nothing but its acknowledgement to show.
 *
 * A flow has no more time than it earns: what a retransmitted SYN or a RST says is nothing new, so
 * neither ever lengthens a life (RFC 7857: a RST may come from a blind attacker).
 */
#include "nat/tcp.h"

#include <rte_branch_prediction.h>
#include <rte_tcp.h>

const struct tcp_state_info tcp_states[TCP_STATE_COUNT] = {
#define TCP_STATE_ROW(identifier, name, timeout) \
	[TCP_STATE_##identifier] = {name, TIMEOUT_##timeout},
	TCP_STATES(TCP_STATE_ROW)
#undef TCP_STATE_ROW
};

/* What counts of the flags: one row of the table each. */
enum segment { SEGMENT_NONE, SEGMENT_SYN, SEGMENT_SYNACK, SEGMENT_FIN, SEGMENT_ACK, SEGMENT_RST };
#define SEGMENTS 6

#define FIN RTE_TCP_FIN_FLAG
#define SYN RTE_TCP_SYN_FLAG
#define RST RTE_TCP_RST_FLAG
#define ACK RTE_TCP_ACK_FLAG
#define URG RTE_TCP_URG_FLAG
#define FLAGS_THAT_COUNT (FIN | SYN | RST | ACK | URG)

/* The valid sets; all others are SEGMENT_NONE, which is invalid in every state. */
static const uint8_t segments[FLAGS_THAT_COUNT + 1] = {
	[SYN] = SEGMENT_SYN,
	[SYN | URG] = SEGMENT_SYN,
	[SYN | ACK] = SEGMENT_SYNACK,
	[RST] = SEGMENT_RST,
	[RST | ACK] = SEGMENT_RST,
	[FIN | ACK] = SEGMENT_FIN,
	[FIN | ACK | URG] = SEGMENT_FIN,
	[ACK] = SEGMENT_ACK,
	[ACK | URG] = SEGMENT_ACK,
};

/* The states by the specification's two letters, and its two words that are no state. */
enum {
	no = TCP_STATE_NONE,
	SS = TCP_STATE_SYN_SENT,
	SR = TCP_STATE_SYN_RECV,
	ES = TCP_STATE_ESTABLISHED,
	FW = TCP_STATE_FIN_WAIT,
	CW = TCP_STATE_CLOSE_WAIT,
	LA = TCP_STATE_LAST_ACK,
	TW = TCP_STATE_TIME_WAIT,
	CL = TCP_STATE_CLOSE,
	S2 = TCP_STATE_SYN_SENT2,
	IV, /* invalid: drop */
	IG, /* pass and leave the flow alone */
};

/* clang-format off */
static const uint8_t transitions[2][SEGMENTS][TCP_STATE_COUNT] = {
	[DIRECTION_ORIGINAL] = {
		/*		     no  SS  SR  ES  FW  CW  LA  TW  CL  S2 */
		[SEGMENT_SYN]	 = { SS, SS, IG, IG, IG, IG, IG, SS, SS, S2 },
		[SEGMENT_SYNACK] = { IV, IV, SR, IV, IV, IV, IV, IV, IV, SR },
		[SEGMENT_FIN]	 = { IV, IV, FW, FW, LA, LA, LA, TW, CL, IV },
		[SEGMENT_ACK]	 = { IV, IV, ES, ES, CW, CW, TW, TW, CL, IV },
		[SEGMENT_RST]	 = { IV, CL, CL, CL, CL, CL, CL, CL, CL, CL },
		[SEGMENT_NONE]	 = { IV, IV, IV, IV, IV, IV, IV, IV, IV, IV },
	},
	[DIRECTION_REPLY] = {
		/*		     no  SS  SR  ES  FW  CW  LA  TW  CL  S2 */
		[SEGMENT_SYN]	 = { IV, S2, IV, IV, IV, IV, IV, SS, IV, S2 },
		[SEGMENT_SYNACK] = { IV, SR, IG, IG, IG, IG, IG, IG, IG, SR },
		[SEGMENT_FIN]	 = { IV, IV, FW, FW, LA, LA, LA, TW, CL, IV },
		[SEGMENT_ACK]	 = { IV, IG, SR, ES, CW, CW, TW, TW, CL, IG },
		[SEGMENT_RST]	 = { IV, CL, CL, CL, CL, CL, CL, CL, CL, CL },
		[SEGMENT_NONE]	 = { IV, IV, IV, IV, IV, IV, IV, IV, IV, IV },
	},
};
/* clang-format on */

bool
tcp_flags_valid(uint8_t tcp_flags)
{
	return segments[tcp_flags & FLAGS_THAT_COUNT] != SEGMENT_NONE;
}

bool
tcp_opens(uint8_t tcp_flags)
{
	return segments[tcp_flags & FLAGS_THAT_COUNT] == SEGMENT_SYN;
}

bool
tcp_half_open(uint8_t state)
{
	return state == TCP_STATE_SYN_SENT || state == TCP_STATE_SYN_SENT2 ||
	       state == TCP_STATE_SYN_RECV;
}

void
tcp_segment_read(struct tcp_segment *segment, const struct rte_mbuf *mbuf)
{
	const struct packet *packet = packet_of((struct rte_mbuf *)(uintptr_t)mbuf);
	const struct rte_tcp_hdr *tcp =
		packet_header(mbuf, packet->l4_offset, const struct rte_tcp_hdr *);

	*segment = (struct tcp_segment){
		.sequence = rte_be_to_cpu_32(tcp->sent_seq),
		.acknowledgement = rte_be_to_cpu_32(tcp->recv_ack),
		.length = packet->frame_length - packet->payload_offset,
		.window = rte_be_to_cpu_16(tcp->rx_win),
		.flags = tcp->tcp_flags,
		.options_length =
			(uint8_t)(packet->payload_offset - packet->l4_offset - sizeof(*tcp)),
		.options = (const uint8_t *)(tcp + 1),
	};
}

/* Windows. */

/* Old acknowledgements are believed this far back at least: a window without scaling. */
#define ACK_WINDOW_LEAST 66000u
/* In `scale`: not known, since the SYN was never seen. That is so for both ends or none. */
#define SCALE_UNKNOWN 15u
#define SCALE_MAX 14u /* RFC 7323 section 2.3 */
/* In the upper bits of `reply6`: the SYN that is remembered had no scale. */
#define SYN_WITHOUT_SCALE 15u
/* Data that came with a SYN (RFC 7413) need not be acknowledged with it. */
#define SYN_DATA_MAX 16384u

#define WINDOW_UNIT_SHIFT 4
#define WINDOW_UNITS_MAX ((1u << 26) - 1)

#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_SCALE 3
#define OPTION_SACK 5
#define OPTION_TIMESTAMP 8

#define SACK_BLOCK 8

static inline bool
after(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

static inline bool
before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline uint32_t
later(uint32_t a, uint32_t b)
{
	return after(a, b) ? a : b;
}

static inline uint32_t
window_bytes(const struct tcp_end *end)
{
	return (uint32_t)end->max_window << WINDOW_UNIT_SHIFT;
}

/* A window of zero still lets one byte through: a probe. */
static void
window_set(struct tcp_end *end, uint32_t bytes)
{
	uint32_t units =
		(bytes >> WINDOW_UNIT_SHIFT) + ((bytes & ((1u << WINDOW_UNIT_SHIFT) - 1)) != 0);

	end->max_window = RTE_MIN(RTE_MAX(units, 1u), WINDOW_UNITS_MAX) & WINDOW_UNITS_MAX;
}

/*
 * Find an option. @return its length with kind and length bytes and where it stands in @p option,
 * or 0; what is malformed ends the search
 */
static uint8_t
option_find(const struct tcp_segment *segment, uint8_t kind, const uint8_t **option)
{
	const uint8_t *at = segment->options;
	const uint8_t *end = at + segment->options_length;

	while (at < end && *at != OPTION_END) {
		if (*at == OPTION_NOP) {
			at++;
			continue;
		}
		if (end - at < 2 || at[1] < 2 || at[1] > end - at)
			return 0;
		if (*at == kind) {
			*option = at;
			return at[1];
		}
		at += at[1];
	}
	return 0;
}

/* Nearly always there are no options, or a time stamp alone, as stacks align it (RFC 7323). */
static inline bool
options_hold_sack(const struct tcp_segment *segment)
{
	static const uint8_t stamp[4] = {OPTION_NOP, OPTION_NOP, OPTION_TIMESTAMP, 10};

	return segment->options_length >= 2 + SACK_BLOCK &&
	       (segment->options_length != 12 || memcmp(segment->options, stamp, 4) != 0);
}

/* The highest sequence number that a segment acknowledges, SACK blocks included (RFC 2018). */
static uint32_t
sack_highest(const struct tcp_segment *segment)
{
	uint32_t highest = segment->acknowledgement;
	const uint8_t *option = NULL;
	uint8_t length;

	if ((segment->flags & SYN) != 0)
		return highest;
	length = option_find(segment, OPTION_SACK, &option);
	if (length % SACK_BLOCK != 2)
		return highest;
	for (unsigned at = 2; at < length; at += SACK_BLOCK) {
		rte_be32_t edge;

		memcpy(&edge, option + at + 4, sizeof(edge));
		highest = later(rte_be_to_cpu_32(edge), highest);
	}
	return highest;
}

/* Read the window scale of a SYN. @return false when it has none */
static bool
scale_read(const struct tcp_segment *segment, uint8_t *scale)
{
	const uint8_t *option = NULL;

	if (option_find(segment, OPTION_SCALE, &option) != 3)
		return false;
	*scale = (uint8_t)RTE_MIN(option[2], SCALE_MAX);
	return true;
}

static inline uint32_t
segment_end(const struct tcp_segment *segment)
{
	return segment->sequence + segment->length + ((segment->flags & SYN) != 0) +
	       ((segment->flags & FIN) != 0);
}

static inline bool
is_enforced(const struct flow *flow)
{
	return flow->tcp[DIRECTION_ORIGINAL].scale != SCALE_UNKNOWN;
}

static inline bool
has_acknowledged(const struct tcp_end *end)
{
	return (end->flags & TCP_END_MAX_ACK) != 0;
}

/* A window is never scaled in a SYN, and its sequence number is not one to receive at. */
static void
end_begin(struct flow *flow, enum direction direction, const struct tcp_segment *segment)
{
	struct tcp_end *sender = &flow->tcp[direction];
	struct tcp_end *receiver = &flow->tcp[!direction];
	uint8_t scale = 0;

	/* Until it acknowledges something, max_ack is the least that acknowledges its SYN. */
	*sender = (struct tcp_end){
		.end = segment_end(segment),
		.max_end = segment_end(segment),
		.max_ack = segment->sequence + 1,
	};
	window_set(sender, segment->window);
	if (scale_read(segment, &scale)) {
		sender->scale = scale & 15u;
		sender->flags = TCP_END_SCALES;
	}
	if (receiver->max_window == 0)
		return;
	/* SYNs say how far both may go before they acknowledge each other (RFC 7413). */
	sender->max_end = later(sender->end, sender->max_ack + window_bytes(receiver));
	if (!has_acknowledged(receiver))
		receiver->max_end = later(receiver->max_end, receiver->max_ack + segment->window);
}

/* RFC 7323 section 2.2: either both scale or none does. */
static void
ends_agree(struct flow *flow)
{
	struct tcp_end *ends = flow->tcp;

	if ((ends[0].flags & ends[1].flags & TCP_END_SCALES) != 0)
		return;
	ends[0].scale = 0;
	ends[1].scale = 0;
}

void
tcp_open(struct flow *flow, const struct tcp_segment *segment)
{
	flow->state = TCP_STATE_SYN_SENT;
	memset(&flow->tcp[DIRECTION_REPLY], 0, sizeof(flow->tcp[DIRECTION_REPLY]));
	end_begin(flow, DIRECTION_ORIGINAL, segment);
}

void
tcp_pickup(struct flow *flow, const struct tcp_segment *segment)
{
	flow->state = TCP_STATE_ESTABLISHED;
	flow->tcp[DIRECTION_ORIGINAL] = (struct tcp_end){
		.end = segment_end(segment),
		.max_end = segment_end(segment),
		.max_ack = segment->acknowledgement,
		.max_window = WINDOW_UNITS_MAX,
		.scale = SCALE_UNKNOWN,
		.flags = TCP_END_MAX_ACK,
	};
	flow->tcp[DIRECTION_REPLY] = (struct tcp_end){
		.end = segment->acknowledgement,
		.max_end = segment->acknowledgement,
		.max_window = WINDOW_UNITS_MAX,
		.scale = SCALE_UNKNOWN,
	};
}

/* The highest acknowledgement of an end. */
static inline void
ack_update(struct tcp_end *sender, uint32_t ack)
{
	if (unlikely(!has_acknowledged(sender))) {
		sender->flags |= TCP_END_MAX_ACK;
		sender->max_ack = ack;
	} else if (after(ack, sender->max_ack)) {
		sender->max_ack = ack;
	}
}

/* Keep the books of a connection whose windows are not enforced, for resets and errors. */
static enum tcp_track
liberal_track(struct tcp_end *sender, const struct tcp_segment *segment)
{
	sender->end = later(segment_end(segment), sender->end);
	ack_update(sender, segment->acknowledgement);
	return TCP_PASS;
}

/*
 * It has sent further than it was allowed to: whoever let it knows more than we do. Its receiver's
 * window covers all that is on its way.
 */
static void
window_widen(const struct tcp_end *sender, struct tcp_end *receiver, uint32_t end)
{
	uint32_t window = window_bytes(receiver);
	uint32_t from = has_acknowledged(receiver) ? receiver->max_ack : sender->max_end - window;

	window_set(receiver, RTE_MAX(window, end - from));
}

static inline uint32_t
ack_window(const struct tcp_end *sender)
{
	return RTE_MAX(window_bytes(sender), ACK_WINDOW_LEAST);
}

/*
 * I is violated. Forgive as much as another window, if all else is right: the receiver decides. If
 * it takes the data, its acknowledgement must not be news.
 */
static enum tcp_track
overshoot_track(struct tcp_end *sender, const struct tcp_end *receiver,
	const struct tcp_segment *segment, uint32_t sack)
{
	uint32_t end = segment_end(segment);

	if (end - sender->max_end > window_bytes(receiver) || after(sack, receiver->end) ||
		before(segment->acknowledgement, receiver->end - ack_window(sender)))
		return TCP_OUT_OF_WINDOW;
	sender->end = later(end, sender->end);
	return TCP_IGNORE;
}

/*
 * Check a segment with ACK against the windows, and update them when it passes. Both ends are
 * known, or windows are not enforced.
 */
static inline enum tcp_track
window_track(struct flow *flow, enum direction direction, const struct tcp_segment *segment)
{
	struct tcp_end *sender = &flow->tcp[direction];
	struct tcp_end *receiver = &flow->tcp[!direction];
	uint32_t end = segment_end(segment);
	uint32_t ack = segment->acknowledgement;
	uint32_t sack = ack;
	uint32_t window = segment->window;

	if (unlikely(!is_enforced(flow)))
		return liberal_track(sender, segment);
	if (unlikely(options_hold_sack(segment)))
		sack = sack_highest(segment);
	if (unlikely(after(segment->sequence, sender->max_end))) /* I */
		return overshoot_track(sender, receiver, segment, sack);
	if (unlikely(after(sack, receiver->end))) /* III */
		return TCP_OUT_OF_WINDOW;
	if (unlikely(before(end, sender->end - window_bytes(receiver)))) /* II */
		return TCP_IGNORE;
	/* IV, and of the acknowledgement proper: SACK is not there to vouch for it. */
	if (unlikely(before(ack, receiver->end - ack_window(sender))))
		return TCP_IGNORE;

	if (likely((segment->flags & SYN) == 0))
		window <<= sender->scale;
	if (unlikely(window + (sack - ack) > window_bytes(sender)))
		window_set(sender, window + (sack - ack));
	if (unlikely(after(end, sender->max_end)))
		window_widen(sender, receiver, end);
	if (after(end, sender->end))
		sender->end = end;
	ack_update(sender, ack);
	if (!before(sack + window, receiver->max_end))
		receiver->max_end = sack + window + (window == 0);
	return TCP_PASS;
}

/* SYNs. */

/* Whether a segment answers the SYN of @p end; data may have come with that (RFC 7413). */
static bool
answers_first_syn(const struct tcp_end *end, const struct tcp_segment *segment)
{
	return !has_acknowledged(end) && (segment->flags & ACK) != 0 &&
	       !before(segment->acknowledgement, end->max_ack) &&
	       !after(segment->acknowledgement, end->end);
}

/* Whether it answers the SYN that is remembered. */
static bool
answers_second_syn(const struct flow *flow, const struct tcp_segment *segment)
{
	return flow->syn_end != 0 && (segment->flags & ACK) != 0 &&
	       flow->syn_end - segment->acknowledgement <= SYN_DATA_MAX;
}

/* Whether the SYN of a segment is the one that @p end began with, and has nothing to add. */
static bool
repeats_syn(const struct tcp_end *end, const struct tcp_segment *segment)
{
	return end->max_window != 0 && !has_acknowledged(end) &&
	       segment->sequence + 1 == end->max_ack;
}

/* A SYN whose flow has begun with another one, or is open. */
static void
syn_remember(struct flow *flow, const struct tcp_segment *segment)
{
	const struct tcp_end *sender = &flow->tcp[DIRECTION_ORIGINAL];
	uint32_t behind = sender->end - segment_end(segment);
	uint8_t scale = 0;

	/* No new one is below what was sent (RFC 6528): the first one, late. */
	if (has_acknowledged(sender) && behind <= ACK_WINDOW_LEAST)
		return;
	if (!scale_read(segment, &scale))
		scale = SYN_WITHOUT_SCALE;
	flow->syn_end = segment_end(segment);
	flow->reply6 = (uint8_t)((flow->reply6 & 15) | scale << 4);
}

/* The other end confirms the SYN that was remembered: both begin anew. */
static void
syn_confirm(struct flow *flow)
{
	uint8_t scale = flow->reply6 >> 4;
	struct tcp_end *end = &flow->tcp[DIRECTION_ORIGINAL];

	*end = (struct tcp_end){
		.end = flow->syn_end, .max_end = flow->syn_end, .max_ack = flow->syn_end};
	window_set(end, UINT16_MAX);
	if (scale != SYN_WITHOUT_SCALE) {
		end->scale = scale & 15u;
		end->flags = TCP_END_SCALES;
	}
	memset(&flow->tcp[DIRECTION_REPLY], 0, sizeof(flow->tcp[DIRECTION_REPLY]));
}

/*
 * Whoever goes on has not forgotten, or has begun anew with the SYN that is remembered. The window
 * of that one is not: until now no more was known than what is the most it can have been.
 */
static void
syn_forget(struct flow *flow, const struct tcp_segment *segment, uint8_t old)
{
	struct tcp_end *sender = &flow->tcp[DIRECTION_ORIGINAL];
	struct tcp_end *receiver = &flow->tcp[DIRECTION_REPLY];
	uint32_t window = (uint32_t)segment->window << sender->scale;

	flow->syn_end = 0;
	if (old != TCP_STATE_SYN_RECV)
		return;
	window_set(sender, RTE_MAX(window, receiver->end - segment->acknowledgement));
	receiver->max_end = later(receiver->end, segment->acknowledgement + window + (window == 0));
}

static enum tcp_track
syn_track(struct flow *flow, enum direction direction, const struct tcp_segment *segment,
	uint8_t next)
{
	if (next != IG && repeats_syn(&flow->tcp[direction], segment))
		return TCP_PASS;
	if (direction == DIRECTION_ORIGINAL) {
		syn_remember(flow, segment);
		return TCP_IGNORE;
	}
	/* Both open at once. Which of several is the true one its SYN/ACK shows. */
	end_begin(flow, direction, segment);
	return TCP_PASS;
}

/* @param next the state that the table has for it, or IG; changed to the one that follows */
static enum tcp_track
synack_track(struct flow *flow, enum direction direction, const struct tcp_segment *segment,
	uint8_t *next)
{
	struct tcp_end *sender = &flow->tcp[direction];
	struct tcp_end *receiver = &flow->tcp[!direction];
	bool is_first = *next != IG;

	if (direction == DIRECTION_REPLY) {
		if (!is_first || !answers_first_syn(receiver, segment)) {
			if (!answers_second_syn(flow, segment))
				return is_first ? TCP_OUT_OF_WINDOW : TCP_IGNORE;
			/* The one that opened what is open, late. */
			if (!is_first && sender->end - (segment->sequence + 1) <= ACK_WINDOW_LEAST)
				return TCP_IGNORE;
			syn_confirm(flow);
			*next = TCP_STATE_SYN_RECV;
		}
		if (!repeats_syn(sender, segment))
			end_begin(flow, direction, segment);
	} else if (flow->state == TCP_STATE_SYN_SENT2 &&
		   !(repeats_syn(sender, segment) && answers_first_syn(receiver, segment))) {
		return TCP_OUT_OF_WINDOW;
	}
	ends_agree(flow);
	return window_track(flow, direction, segment);
}

/* RST. */

/* Both ends still ask: a RST must show that it is an answer (RFC 9293 section 3.10.7.3). */
static enum tcp_track
reset_unanswered(
	const struct flow *flow, enum direction direction, const struct tcp_segment *segment)
{
	const struct tcp_end *sender = &flow->tcp[direction];

	if (direction == DIRECTION_REPLY) {
		/* In a simultaneous open it may be right, but anybody can have sent that SYN. */
		return sender->max_window != 0 && segment->sequence == sender->end
			       ? TCP_IGNORE
			       : TCP_OUT_OF_WINDOW;
	}
	/* Who asks may give up. Or he is challenged for an older connection, and goes on asking. */
	if (!before(segment->sequence, sender->max_ack) && !after(segment->sequence, sender->end))
		return TCP_PASS;
	return flow->syn_end != 0 && segment->sequence == flow->syn_end ? TCP_PASS : TCP_IGNORE;
}

/* Whether a RST is believed, passed on, or outside of every window. */
static enum tcp_track
reset_track(const struct flow *flow, enum direction direction, const struct tcp_segment *segment)
{
	const struct tcp_end *sender = &flow->tcp[direction];
	const struct tcp_end *receiver = &flow->tcp[!direction];
	uint32_t sequence = segment->sequence;
	uint32_t least = sender->end - window_bytes(receiver);

	if (direction == DIRECTION_REPLY &&
		(answers_second_syn(flow, segment) ||
			(tcp_half_open(flow->state) && answers_first_syn(receiver, segment))))
		return TCP_PASS;
	if (flow->state == TCP_STATE_SYN_SENT || flow->state == TCP_STATE_SYN_SENT2)
		return reset_unanswered(flow, direction, segment);
	if (has_acknowledged(receiver))
		least = receiver->max_ack;
	if (sequence == sender->end || (has_acknowledged(receiver) && sequence == least))
		return TCP_PASS;
	if (!is_enforced(flow))
		return TCP_IGNORE;
	if (before(sequence, least) || after(sequence, later(sender->max_end, sender->end)))
		return TCP_OUT_OF_WINDOW;
	return flow->state == TCP_STATE_CLOSE ? TCP_PASS : TCP_IGNORE;
}

bool
tcp_sequence_in_flight(const struct flow *flow, enum direction sender, uint32_t sequence)
{
	const struct tcp_end *end = &flow->tcp[sender];
	const struct tcp_end *other = &flow->tcp[!sender];
	uint32_t oldest = end->end - ACK_WINDOW_LEAST;

	if (!is_enforced(flow) || end->max_window == 0)
		return true;
	if (sender == DIRECTION_ORIGINAL && flow->syn_end != 0 &&
		flow->syn_end - (sequence + 1) <= SYN_DATA_MAX)
		return true;
	if (has_acknowledged(other))
		oldest = other->max_ack;
	else if (!has_acknowledged(end))
		oldest = end->max_ack - 1;
	return !before(sequence, oldest) && !after(sequence, end->end);
}

bool
tcp_reset_sequence(const struct flow *flow, enum direction direction, uint32_t *sequence)
{
	*sequence = flow->tcp[direction].end;
	return flow->tcp[direction].max_window != 0;
}

/* All that is neither data nor an acknowledgement in an open connection. */
static __rte_noinline enum tcp_track
special_track(struct flow *flow, enum direction direction, const struct tcp_segment *segment,
	enum segment kind, uint8_t *next)
{
	if (*next == IV)
		return TCP_INVALID;
	if (*next == SS && flow->state != SS)
		return direction == DIRECTION_ORIGINAL ? TCP_REOPEN : TCP_INVALID;
	switch (kind) {
	case SEGMENT_SYN:
		return syn_track(flow, direction, segment, *next);
	case SEGMENT_SYNACK:
		return synack_track(flow, direction, segment, next);
	case SEGMENT_RST:
		return reset_track(flow, direction, segment);
	default:
		/* An ACK that answers a SYN: whoever asked will reset what it is about. */
		return TCP_IGNORE;
	}
}

enum tcp_track
tcp_track(struct flow *flow, enum direction direction, const struct tcp_segment *segment,
	const struct timeout_values *values, uint32_t now_ms)
{
	enum segment kind = segments[segment->flags & FLAGS_THAT_COUNT];
	uint8_t old = flow->state;
	uint8_t next = transitions[direction][kind][old];
	enum tcp_track track;
	uint32_t deadline_ms;

	if (likely((segment->flags & (SYN | RST)) == 0 && next < IV)) {
		track = window_track(flow, direction, segment);
		/*
		 * A challenge ACK answers a SYN, it does not acknowledge the last FIN. It may be
		 * data all the same: a FIN sent twice looks like the last one.
		 */
		if (unlikely(flow->syn_end != 0 && old == TCP_STATE_LAST_ACK &&
			     direction == DIRECTION_REPLY && kind == SEGMENT_ACK) &&
			track == TCP_PASS)
			track = TCP_IGNORE;
	} else {
		track = special_track(flow, direction, segment, kind, &next);
	}
	if (unlikely(track != TCP_PASS))
		return track;

	if (unlikely(flow->syn_end != 0 && direction == DIRECTION_ORIGINAL &&
		     (kind == SEGMENT_ACK || kind == SEGMENT_FIN)))
		syn_forget(flow, segment, old);
	/* Both have sent a SYN/ACK (simultaneous open): the next ACK of either completes it. */
	if (unlikely(next == TCP_STATE_SYN_RECV && kind == SEGMENT_ACK &&
		     has_acknowledged(&flow->tcp[DIRECTION_ORIGINAL])))
		next = TCP_STATE_ESTABLISHED;

	flow->state = next;
	if (direction == DIRECTION_REPLY)
		flow->flags |= FLOW_REPLIED;
	deadline_ms = now_ms + values->ms[tcp_states[next].timeout];
	if (unlikely((kind == SEGMENT_SYN && next == old) ||
		     (kind == SEGMENT_RST && time_after_ms(deadline_ms, flow->deadline_ms))))
		return TCP_PASS;
	flow->deadline_ms = deadline_ms;
	return TCP_PASS;
}
