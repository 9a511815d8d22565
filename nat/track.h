/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tracking: what a packet does to the flow it belongs to, and the timeout a flow then has.
 */
#pragma once

#include "nat/tcp.h"

/**
 * Track a packet of a known flow: its state, and its deadline on TCP_PASS. Not for ICMP errors,
 * which change nothing about a flow.
 *
 * The deadline may come nearer; whoever holds the flow table compares it with what it was and then
 * calls flow_sooner.
 * @return TCP_PASS, TCP_IGNORE, TCP_INVALID, TCP_OUT_OF_WINDOW or TCP_REOPEN, for every protocol
 */
enum tcp_track track_packet(struct flow *flow, const struct rte_mbuf *mbuf,
	const struct timeout_values *values, uint32_t now_ms);

/** Tell why @p packet cannot open a flow; REASON_NONE if it can. */
enum reason track_opens(const struct packet *packet);

/** Tell whether a packet that cannot open a flow may belong to a TCP connection in the middle. */
bool track_picks_up(const struct packet *packet);

/** The deadline that @p packet will give to the flow it opens, for flow_open. */
uint32_t track_deadline(
	const struct packet *packet, const struct timeout_values *values, uint32_t now_ms);

/** Set state and deadline of the flow that the packet in @p mbuf has just opened. */
void track_open(struct flow *flow, const struct rte_mbuf *mbuf, const struct timeout_values *values,
	uint32_t now_ms);
