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

/* What the tracker says of a segment. */
enum tcp_track {
	TCP_PASS,    /* forward, flow updated */
	TCP_IGNORE,  /* forward, flow left alone */
	TCP_INVALID, /* drop: REASON_TCP_STATE */
	TCP_REOPEN,  /* a SYN on a closed flow: close this one and treat the packet as a miss */
};

/** Tell whether @p tcp_flags is one of the valid sets (PSH, ECE and CWR do not count). */
bool tcp_flags_valid(uint8_t tcp_flags);

/** Tell whether a segment with @p tcp_flags may open a flow: SYN, or SYN with URG. */
bool tcp_opens(uint8_t tcp_flags);

/**
 * Track one segment of a known flow: move its state, and its deadline on TCP_PASS.
 *
 * A retransmitted SYN does not renew the timer.
 */
enum tcp_track tcp_track(struct flow *flow, enum direction direction, uint8_t tcp_flags,
	const struct timeout_values *values, uint32_t now_ms);
