/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The TCP tracker: states only; windows join it as tcp_end fills.
 *
 * The table below is the specification (spec/nat.md), which is that of Linux with one difference:
 * an ACK that belongs to no connection does not start one. Two entries of it say that a SYN begins
 * a new connection on the ports of one that is over (TIME_WAIT and CLOSE become SYN_SENT). The
 * tracker does not restart a flow in place: a new connection must be judged by the rules in force
 * now and gets a new flow (TCP_REOPEN). From the reply direction it would be a connection opened
 * by the far end, which only a forward may allow; Linux turns the flow around there, we refuse.
 *
 * A flow has no more time than it earns: what a retransmitted SYN or a RST says is nothing new, so
 * neither ever lengthens a life (RFC 7857: a RST may come from a blind attacker).
 */
#include "nat/tcp.h"

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

void
tcp_open(struct flow *flow, const struct tcp_segment *segment)
{
	(void)segment;
	flow->state = TCP_STATE_SYN_SENT;
}

void
tcp_pickup(struct flow *flow, const struct tcp_segment *segment)
{
	(void)segment;
	flow->state = TCP_STATE_ESTABLISHED;
}

bool
tcp_sequence_in_flight(const struct flow *flow, enum direction sender, uint32_t sequence)
{
	(void)flow, (void)sender, (void)sequence;
	return true;
}

bool
tcp_reset_sequence(const struct flow *flow, enum direction direction, uint32_t *sequence)
{
	*sequence = flow->tcp[direction].end;
	return *sequence != 0;
}

enum tcp_track
tcp_track(struct flow *flow, enum direction direction, const struct tcp_segment *from,
	const struct timeout_values *values, uint32_t now_ms)
{
	uint8_t segment = segments[from->flags & FLAGS_THAT_COUNT];
	uint8_t old = flow->state;
	uint8_t new = transitions[direction][segment][old];
	uint32_t deadline_ms;

	if (new == IG)
		return TCP_IGNORE;
	if (new == IV)
		return TCP_INVALID;
	if (new == TCP_STATE_SYN_SENT && old != TCP_STATE_SYN_SENT)
		return direction == DIRECTION_ORIGINAL ? TCP_REOPEN : TCP_INVALID;

	flow->state = new;
	if (direction == DIRECTION_REPLY)
		flow->flags |= FLOW_REPLIED;
	if (segment == SEGMENT_SYN && new == old)
		return TCP_PASS;
	deadline_ms = now_ms + values->ms[tcp_states[new].timeout];
	if (segment == SEGMENT_RST && time_after_ms(deadline_ms, flow->deadline_ms))
		return TCP_PASS;
	flow->deadline_ms = deadline_ms;
	return TCP_PASS;
}
