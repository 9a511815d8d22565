/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The TCP tracker: one table of states and what each kind of segment does in each of them.
 */
#pragma once

#include "nat/flow.h"

/* clang-format off */
#define TCP_STATES(STATE) \
	STATE(NONE,	   "none",	  TCP_CLOSE) \
	STATE(SYN_SENT,	   "syn-sent",	  TCP_SYN_SENT) \
	STATE(SYN_RECV,	   "syn-recv",	  TCP_SYN_RECV) \
	STATE(ESTABLISHED, "established", TCP_ESTABLISHED) \
	STATE(FIN_WAIT,	   "fin-wait",	  TCP_FIN_WAIT) \
	STATE(CLOSE_WAIT,  "close-wait",  TCP_CLOSE_WAIT) \
	STATE(LAST_ACK,	   "last-ack",	  TCP_LAST_ACK) \
	STATE(TIME_WAIT,   "time-wait",	  TCP_TIME_WAIT) \
	STATE(CLOSE,	   "close",	  TCP_CLOSE) \
	STATE(SYN_SENT2,   "syn-sent2",	  TCP_SYN_SENT)
/* clang-format on */

enum tcp_state {
#define TCP_STATE_ENUM(identifier, name, timeout) TCP_STATE_##identifier,
	TCP_STATES(TCP_STATE_ENUM)
#undef TCP_STATE_ENUM
		TCP_STATE_COUNT
};

struct tcp_state_info {
	const char *name;
	enum timeout timeout;
};
extern const struct tcp_state_info tcp_states[TCP_STATE_COUNT];

/* What the tracker says of a packet. */
enum tcp_track {
	TCP_PASS,          /* forward, flow updated */
	TCP_IGNORE,        /* forward, flow left alone */
	TCP_INVALID,       /* drop: REASON_TCP_STATE */
	TCP_OUT_OF_WINDOW, /* drop: REASON_TCP_WINDOW */
	TCP_REOPEN, /* a SYN on a closed flow: close this one and treat the packet as a miss */
};

enum tcp_end_flag {
	TCP_END_SCALES = 1 << 0,  /* its SYN carried a window scale option */
	TCP_END_MAX_ACK = 1 << 1, /* max_ack is set */
};

/* What the tracker reads of a segment. Host order. */
struct tcp_segment {
	uint32_t sequence;
	uint32_t acknowledgement; /* 0 without ACK */
	uint32_t length;          /* of payload in bytes; SYN and FIN are not counted here */
	uint16_t window;          /* as it stands in the header, not scaled */
	uint8_t flags;            /* RTE_TCP_*_FLAG */
	uint8_t options_length;   /* bytes */
	const uint8_t *options;
};

/** Read the TCP header of a packet that parse has passed. */
void tcp_segment_read(struct tcp_segment *segment, const struct rte_mbuf *mbuf);

/** Tell whether @p tcp_flags is one of the valid sets (PSH, ECE and CWR do not count). */
bool tcp_flags_valid(uint8_t tcp_flags);

/** Tell whether a segment with @p tcp_flags may open a flow: SYN, or SYN with URG. */
bool tcp_opens(uint8_t tcp_flags);

/** Tell whether a state is one of a handshake that is not complete. */
bool tcp_half_open(uint8_t state);

/** Tell whether a state is one of a connection that is over or about to be. */
static inline bool
tcp_closing(uint8_t state)
{
	return state == TCP_STATE_LAST_ACK || state == TCP_STATE_TIME_WAIT ||
	       state == TCP_STATE_CLOSE;
}

/**
 * Track one segment of a known flow: windows (spec/nat.md "TCP tracker"), state, and on TCP_PASS
 * the deadline. A retransmitted SYN does not renew the timer; a RST never lengthens a life.
 */
enum tcp_track tcp_track(struct flow *flow, enum direction direction,
	const struct tcp_segment *segment, const struct timeout_values *values, uint32_t now_ms);

/** Set state and windows of a flow that @p segment has just opened, a SYN. */
void tcp_open(struct flow *flow, const struct tcp_segment *segment);

/**
 * Likewise for a connection taken up in the middle: established, and windows are not enforced,
 * since their scale was never seen.
 */
void tcp_pickup(struct flow *flow, const struct tcp_segment *segment);

/**
 * Tell whether a segment of @p sender with @p sequence can be on its way, so that an ICMP error may
 * quote it: not acknowledged yet, and sent already (RFC 5927 section 4.1). True when windows are
 * not known.
 * @param sender the direction in which the quoted segment went
 */
bool tcp_sequence_in_flight(const struct flow *flow, enum direction sender, uint32_t sequence);

/**
 * The sequence number with which a RST must come to be believed (RFC 5961 section 3.2): the next
 * one that the receiver of @p direction expects, as far as known.
 * @return false when nothing is known of that direction
 */
bool tcp_reset_sequence(const struct flow *flow, enum direction direction, uint32_t *sequence);
