/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets in words: the members that the lines of sluice-replay and the control socket share, and
 * the pieces of text they are made of.
 */
#pragma once

#include <jansson.h>

#include "app/packet_summary.h"
#include "classifier/policy.h"

/* Indexed by enum verdict. */
extern const char *const verdict_names[VERDICT_COUNT];

/* Longest text of any of the following, with its NUL. */
#define PACKET_TEXT_SIZE 96

/* Each writes into @p text and returns it, or NULL where there is nothing to say. */

/** QUBE/NNNN, counted from 0000 as in QubesDB, or QUBE/policy. */
const char *packet_rule_text(char text[PACKET_TEXT_SIZE], const struct policy *policy,
	const struct packet_summary *summary);

/** tcp, udp, icmp, icmp6, arp, or a number. */
const char *packet_protocol_text(char text[PACKET_TEXT_SIZE], const struct packet_summary *summary);

/** ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT. */
const char *packet_source_text(char text[PACKET_TEXT_SIZE], const struct packet_summary *summary);
const char *packet_destination_text(
	char text[PACKET_TEXT_SIZE], const struct packet_summary *summary);

/** TCP flags as nft(8) names them: syn,ack. */
const char *packet_flags_text(char text[PACKET_TEXT_SIZE], const struct packet_summary *summary);

/** TYPE/CODE of an ICMP message. */
const char *packet_icmp_text(char text[PACKET_TEXT_SIZE], const struct packet_summary *summary);

/** Seconds since the epoch as text, because a JSON number need not hold nanoseconds. */
json_t *packet_time_json(uint64_t time_ns, unsigned digits);

/**
 * Add to @p object, in this order: port, verdict, reason, rule, out, proto, source, destination,
 * length.
 * @param verdict NULL: that of the summary
 * @param complete whether what does not apply is null; else it is left out
 */
void packet_json_add(json_t *object, const struct policy *policy,
	const struct packet_summary *summary, const char *verdict, bool complete);

/** Add what the control socket says besides: qube, flags, icmp. */
void packet_json_add_more(
	json_t *object, const struct policy *policy, const struct packet_summary *summary);
