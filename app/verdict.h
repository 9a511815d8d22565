/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What became of the packets of a replay: one JSON object per packet, and the table at the end.
 */
#pragma once

#include <stdio.h>

#include "app/packet_summary.h"
#include "classifier/policy.h"

/* What is known about a packet of the inputs before the data plane sees it. */
struct verdict_input {
	uint32_t serial; /* its number in the merged inputs, from 1 */
	uint16_t port;
	uint64_t time_ns; /* since the epoch */
	uint32_t length;  /* bytes captured */
	bool own;         /* sent by the firewall itself when it was captured: not replayed */
};

/* Packets after which it is time for a verdict_flush. */
#define VERDICT_WINDOW (2 * BURST_MAX)

struct verdict_record {
	struct verdict_input input;
	bool done;
	struct packet_summary summary; /* as it was when its way ended */
};

struct verdict_log {
	const struct policy *policy;
	FILE *file; /* NULL: no lines */
	const char *path;
	bool nanoseconds;
	/* announced and not written yet: serials are consecutive */
	unsigned waiting;
	unsigned capacity;
	struct verdict_record *record;
	/* packets per verdict and reason; sent by the firewall itself; lost in the data plane */
	uint64_t count[VERDICT_COUNT][REASON_COUNT];
	uint64_t own;
	uint64_t lost;
};

/** Announce a packet, in order of serial numbers. @return 0 or -ENOMEM */
int verdict_expect(struct verdict_log *log, const struct verdict_input *input);

/** The input of a packet that is not written yet; NULL when it is. */
const struct verdict_input *verdict_input(const struct verdict_log *log, uint32_t serial);

/** A packet_trace_fn: take the verdict of a packet. @p context is the log */
void verdict_trace(void *context, const struct rte_mbuf *mbuf, const struct packet *packet);

/**
 * Write the lines of announced packets, in order, up to the first one whose way has not ended: a
 * fragment may wait for others.
 */
void verdict_flush(struct verdict_log *log);

/**
 * Write the rest, and free all. A packet without a verdict, which would be a fault of the data
 * plane, gets the verdict "lost".
 */
void verdict_finish(struct verdict_log *log);

/** Write the table of packets per verdict and reason. */
void verdict_table(const struct verdict_log *log, FILE *out);
