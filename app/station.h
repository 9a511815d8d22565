/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which station is the port? A replay must know its own MAC address: frames to others are not for
 * it, and frames from it were its own output when they were captured. See station.c.
 */
#pragma once

#include "classifier/policy.h"

/* How sure a guess is; a better one replaces it, an equal one does not. */
enum station_clue {
	STATION_NONE,        /* nothing seen: 02:00:00:00 and the port's index plus one */
	STATION_DESTINATION, /* first unicast IP frame: whom it was sent to */
	STATION_OUTBOUND,    /* first frame that a firewall must have sent: who sent it */
	STATION_INBOUND,     /* first frame that was sent to a firewall: whom it was sent to */
};

struct station {
	enum station_clue clue;
	uint8_t mac[6];
};

/** Start with the address that a port has when its captures tell nothing. */
void station_init(struct station *station, unsigned port_index);

/** Learn from a frame that was captured on @p port. */
void station_observe(struct station *station, const struct policy *policy,
	const struct policy_port *port, const uint8_t *frame, uint32_t length);
