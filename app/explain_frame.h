/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The frame that a question describes: what a host would send there, with everything sensible that
 * the question leaves out.
 */
#pragma once

#include "app/dataplane.h"

struct explain_question {
	uint16_t port; /* where it arrives */
	enum family family;
	union address source, destination;
	uint8_t protocol;
	uint16_t sport, dport; /* host order; `sport` is the identifier of an ICMP query */
	uint8_t icmp_type;
	uint8_t tcp_flags;
};

#define EXPLAIN_FRAME_LONGEST 96

/** Write the frame into @p frame (EXPLAIN_FRAME_LONGEST bytes). @return its length */
uint32_t explain_frame_build(
	uint8_t *frame, const struct explain_question *question, const struct dataplane *dataplane);
