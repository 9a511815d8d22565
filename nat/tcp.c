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
 * is dropped; I forgives what a window just closed may have let through. Without the SYNs the scale
 * of windows is unknown, and nothing is enforced.
 *
 * RST, SYN and data of a blind attacker (RFC 5961). A RST closes an open connection only with the
 * sequence number its receiver expects; within the window it is passed on, for the receiver to ask
 * back with a challenge ACK, and the flow lives. A SYN in an open connection likewise; it is
 * remembered, because the host may have lost its memory: a SYN/ACK that confirms just that SYN
 * starts the connection over.
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
/* In `scale`: not known, since the SYN was never seen. */
#define SCALE_UNKNOWN 15u
#define SCALE_MAX 14u /* RFC 7323 section 2.3 */
/* In the upper bits of `reply6`: the SYN that is remembered had no scale. */
#define SYN_WITHOUT_SCALE 15u

#define WINDOW_UNIT_SHIFT 4
#define WINDOW_UNITS_MAX ((1u << 26) - 1)

#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_SCALE 3
#define OPTION_SACK 5
#define OPTION_TIMESTAMP 8

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
window_bytes(const struct tcp_end *end)
{
	return (uint32_t)end->max_window << WINDOW_UNIT_SHIFT;
}

/* A window of zero still lets one byte through: a probe. */
static inline void
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

	return segment->options_length > 2 &&
	       (segment->options_length != 12 || memcmp(segment->options, stamp, 4) != 0);
}

/* The highest sequence number that a segment acknowledges, SACK blocks included (RFC 2018). */
static uint32_t
highest_ack(const struct tcp_segment *segment)
{
	uint32_t highest = segment->acknowledgement;
	const uint8_t *option = NULL;
	uint8_t length;

	if (likely(!options_hold_sack(segment)))
		return highest;
	length = option_find(segment, OPTION_SACK, &option);
	for (unsigned at = 2; at + 8 <= length; at += 8) {
		rte_be32_t edge;

		memcpy(&edge, option + at + 4, sizeof(edge));
		if (after(rte_be_to_cpu_32(edge), highest))
			highest = rte_be_to_cpu_32(edge);
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

/* Windows are not enforced where a scale is not known. */
static inline bool
is_enforced(const struct flow *flow)
{
	return flow->tcp[0].scale != SCALE_UNKNOWN && flow->tcp[1].scale != SCALE_UNKNOWN;
}

/* A SYN says where its end starts; the window of a SYN is never scaled. */
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
	/* RFC 7323 section 2.2: either both scale or none does. */
	if (receiver->max_window != 0 && (sender->flags & receiver->flags & TCP_END_SCALES) == 0) {
		sender->scale = 0;
		receiver->scale = 0;
	}
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

/* Keep the books of a connection whose windows are not enforced, for resets and errors. */
static void
liberal_update(struct tcp_end *sender, const struct tcp_segment *segment)
{
	uint32_t end = segment_end(segment);

	if (after(end, sender->end))
		sender->end = end;
	if ((segment->flags & ACK) == 0)
		return;
	if ((sender->flags & TCP_END_MAX_ACK) == 0 ||
		after(segment->acknowledgement, sender->max_ack))
		sender->max_ack = segment->acknowledgement;
	sender->flags |= TCP_END_MAX_ACK;
}

/* What a segment within the window tells. @param sack highest_ack() of it */
static inline void
window_update(struct tcp_end *sender, struct tcp_end *receiver, const struct tcp_segment *segment,
	uint32_t end, uint32_t ack, uint32_t sack)
{
	uint32_t window = segment->window;

	if (likely((segment->flags & SYN) == 0))
		window <<= sender->scale;
	if (unlikely(window + (sack - ack) > window_bytes(sender)))
		window_set(sender, window + (sack - ack));
	if (after(end, sender->end))
		sender->end = end;
	if (likely((segment->flags & ACK) != 0)) {
		if (unlikely((sender->flags & TCP_END_MAX_ACK) == 0) || after(ack, sender->max_ack))
			sender->max_ack = ack;
		sender->flags |= TCP_END_MAX_ACK;
	}
	/* It has sent further than it was allowed: it knows more than we do. */
	if (unlikely(receiver->max_window != 0 && after(end, sender->max_end) &&
		     !after(segment->sequence, sender->max_end)))
		window_set(receiver, window_bytes(receiver) + (end - sender->max_end));
	if (!before(sack + window, receiver->max_end)) {
		receiver->max_end = sack + window;
		if (window == 0)
			receiver->max_end++;
	}
}

/*
 * Check a segment against the windows, and update them when it passes.
 * @param old the state before it
 */
static enum tcp_track
window_track(
	struct flow *flow, enum direction direction, const struct tcp_segment *segment, uint8_t old)
{
	struct tcp_end *sender = &flow->tcp[direction];
	struct tcp_end *receiver = &flow->tcp[!direction];
	bool is_syn = (segment->flags & SYN) != 0;
	uint32_t sequence = segment->sequence;
	uint32_t end = segment_end(segment);
	uint32_t ack, sack, back;

	if (unlikely(!is_enforced(flow))) {
		liberal_update(sender, segment);
		return TCP_PASS;
	}
	/* The first SYN of an end, or a newer one before the connection is open (RFC 6528). */
	if (unlikely(is_syn && (sender->max_window == 0 ||
				       (after(end, sender->end) && tcp_half_open(old))))) {
		end_begin(flow, direction, segment);
		if ((segment->flags & ACK) == 0)
			return TCP_PASS;
	}
	ack = segment->acknowledgement;
	sack = highest_ack(segment);
	/* Some stacks reset with an ACK of zero. */
	if (unlikely((segment->flags & ACK) == 0 || ((segment->flags & RST) != 0 && ack == 0))) {
		ack = receiver->end;
		sack = ack;
	}
	/* A RST that answers a SYN has no sequence number to use (RFC 9293 section 3.10.7.1). */
	if (unlikely((segment->flags & RST) != 0 && sequence == 0 && sender->max_window == 0)) {
		sequence = sender->end;
		end = sequence;
	}
	/* I, but one window more is forgiven: the receiver may take it all the same. */
	if (unlikely(sender->max_window != 0 && after(sequence, sender->max_end) &&
		     end - sender->max_end > window_bytes(receiver)))
		return TCP_OUT_OF_WINDOW;
	if (unlikely(after(sack, receiver->end))) /* III */
		return TCP_OUT_OF_WINDOW;
	if (unlikely(receiver->max_window != 0 &&
		     before(end, sender->end - window_bytes(receiver)))) /* II */
		return TCP_IGNORE;
	back = RTE_MAX(window_bytes(sender), ACK_WINDOW_LEAST);
	if (unlikely(before(sack, receiver->end - back))) /* IV */
		return TCP_IGNORE;
	window_update(sender, receiver, segment, end, ack, sack);
	return TCP_PASS;
}

/* Whether a segment answers the SYN of @p end; data may have come with that (RFC 7413). */
static inline bool
acknowledges_syn(const struct tcp_end *end, const struct tcp_segment *segment)
{
	return !before(segment->acknowledgement, end->max_ack) &&
	       !after(segment->acknowledgement, end->end);
}

/*
 * Whether a RST is believed, before windows are asked (RFC 5961 section 3.2, RFC 9293 section
 * 3.10.7.3 for SYN_SENT).
 */
static enum tcp_track
reset_track(const struct flow *flow, enum direction direction, const struct tcp_segment *segment)
{
	const struct tcp_end *sender = &flow->tcp[direction];
	const struct tcp_end *receiver = &flow->tcp[!direction];

	if (flow->state == TCP_STATE_SYN_SENT) {
		/* Whoever asked may give up, or have been challenged for an older connection. */
		if (direction == DIRECTION_ORIGINAL)
			return TCP_PASS;
		/* Data may have come with the SYN (RFC 7413), and not have been taken. */
		if ((segment->flags & ACK) == 0 || after(segment->acknowledgement, receiver->end) ||
			before(segment->acknowledgement, receiver->end - UINT16_MAX))
			return TCP_OUT_OF_WINDOW;
		return TCP_PASS;
	}
	if (!is_enforced(flow) || (receiver->flags & TCP_END_MAX_ACK) == 0)
		return TCP_PASS;
	if (before(segment->sequence, receiver->max_ack))
		return TCP_OUT_OF_WINDOW;
	if (after(segment->sequence, sender->max_end))
		return TCP_OUT_OF_WINDOW;
	if (flow->state == TCP_STATE_ESTABLISHED && segment->sequence != receiver->max_ack &&
		segment->sequence != sender->end)
		return TCP_IGNORE;
	return TCP_PASS;
}

/* A SYN in an open connection. */
static void
syn_remember(struct flow *flow, const struct tcp_segment *segment)
{
	uint8_t scale = 0;

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
	flow->state = TCP_STATE_SYN_SENT;
	flow->syn_end = 0;
}

bool
tcp_sequence_in_flight(const struct flow *flow, enum direction sender, uint32_t sequence)
{
	const struct tcp_end *end = &flow->tcp[sender];
	const struct tcp_end *other = &flow->tcp[!sender];
	uint32_t oldest = end->end - ACK_WINDOW_LEAST;

	if (!is_enforced(flow) || end->max_window == 0)
		return true;
	if ((other->flags & TCP_END_MAX_ACK) != 0)
		oldest = other->max_ack;
	return !before(sequence, oldest) && !after(sequence, end->end);
}

bool
tcp_reset_sequence(const struct flow *flow, enum direction direction, uint32_t *sequence)
{
	*sequence = flow->tcp[direction].end;
	return flow->tcp[direction].max_window != 0;
}

enum tcp_track
tcp_track(struct flow *flow, enum direction direction, const struct tcp_segment *segment,
	const struct timeout_values *values, uint32_t now_ms)
{
	uint8_t kind = segments[segment->flags & FLAGS_THAT_COUNT];
	uint8_t old = flow->state;
	uint8_t new = transitions[direction][kind][old];
	enum tcp_track track;
	uint32_t deadline_ms;

	if (unlikely(new == IG)) {
		if (kind == SEGMENT_SYN && direction == DIRECTION_ORIGINAL)
			syn_remember(flow, segment);
		if (kind != SEGMENT_SYNACK || flow->syn_end == 0 ||
			segment->acknowledgement != flow->syn_end)
			return TCP_IGNORE;
		syn_confirm(flow);
		old = TCP_STATE_SYN_SENT;
		new = TCP_STATE_SYN_RECV;
	}
	if (unlikely(new == IV))
		return TCP_INVALID;
	if (unlikely(new == TCP_STATE_SYN_SENT &&old != TCP_STATE_SYN_SENT))
		return direction == DIRECTION_ORIGINAL ? TCP_REOPEN : TCP_INVALID;
	if (unlikely(flow->syn_end != 0)) {
		/* A challenge ACK answers the SYN, it does not acknowledge the last FIN. */
		if (old == TCP_STATE_LAST_ACK && kind == SEGMENT_ACK &&
			direction == DIRECTION_REPLY)
			return TCP_IGNORE;
		if (direction == DIRECTION_ORIGINAL && kind != SEGMENT_RST)
			flow->syn_end = 0;
	}
	if (unlikely(kind == SEGMENT_RST)) {
		track = reset_track(flow, direction, segment);
		if (track != TCP_PASS)
			return track;
	}
	if (unlikely(old == TCP_STATE_SYN_SENT && kind == SEGMENT_SYNACK &&
		     !acknowledges_syn(&flow->tcp[!direction], segment)))
		return TCP_OUT_OF_WINDOW;
	/* What answers a SYN with a RST stands in no window yet. */
	if (likely(kind != SEGMENT_RST || old != TCP_STATE_SYN_SENT)) {
		track = window_track(flow, direction, segment, old);
		if (unlikely(track != TCP_PASS))
			return track;
	}
	/* Both ends have sent a SYN/ACK (simultaneous open): the next ACK of either completes it.
	 */
	if (unlikely(new == TCP_STATE_SYN_RECV &&kind == SEGMENT_ACK &&
		     (flow->tcp[DIRECTION_ORIGINAL].flags & TCP_END_MAX_ACK) != 0))
		new = TCP_STATE_ESTABLISHED;

	flow->state = new;
	if (direction == DIRECTION_REPLY)
		flow->flags |= FLOW_REPLIED;
	if (kind == SEGMENT_SYN && new == old)
		return TCP_PASS;
	deadline_ms = now_ms + values->ms[tcp_states[new].timeout];
	if (kind == SEGMENT_RST && time_after_ms(deadline_ms, flow->deadline_ms))
		return TCP_PASS;
	flow->deadline_ms = deadline_ms;
	return TCP_PASS;
}
