/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sums over all workers. They know nothing of being read: every counter has one writer and is never
 * reset, so a sum may be taken at any time, by any thread.
 */
#pragma once

#include "app/worker.h"

struct tally {
	struct worker_counters counters;
	uint64_t drops[REASON_COUNT]; /* of all ports */
	uint64_t flows;
};

void tally_take(const struct dataplane *dataplane, struct tally *tally);
void tally_port(const struct dataplane *dataplane, unsigned port, struct port_counters *sum);

/** Packets that ended with a reason on one port. */
uint64_t tally_drops(const struct port_counters *counters);

/* Indexed by enum verdict. */
extern const char *const tally_verdicts[VERDICT_COUNT];

/** Whether a budget is counted at once, with a use that can be read; else it is a rate. */
bool tally_budget_used(enum budget_kind kind);
