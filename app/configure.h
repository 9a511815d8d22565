/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What our own kernel and the network beyond the uplink say to each other to agree on an address.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "classifier/configuring.h"

/* Questions that may be open at a time, per protocol: more than one client asks, and again. */
#define CONFIGURE_QUESTIONS 4

/* Shared by all workers: a question is noted by one, and its answer may reach another. */
struct configure_state {
	_Atomic uint64_t rate[2]; /* by whether from the host: second << 32 | messages in it */
	/* number << 32 | when, ms; 0: none */
	_Atomic uint64_t asked[CONFIGURING_DISCOVERY][CONFIGURE_QUESTIONS];
	atomic_uint next; /* place to be taken */
};

struct worker;

/**
 * Take a packet that is flagged PACKET_CONFIGURING.
 * @return false when it is to go on like any other
 */
bool configure_take(struct worker *worker, struct rte_mbuf *mbuf);
