/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/tally.h"

#include <string.h>

const char *const tally_verdicts[VERDICT_COUNT] = {
	[VERDICT_FORWARD] = "forward",
	[VERDICT_DROP] = "drop",
	[VERDICT_LOCAL] = "local",
	[VERDICT_JOINED] = "joined",
};

bool
tally_budget_used(enum budget_kind kind)
{
	return kind != BUDGET_NEW_FLOWS && kind != BUDGET_ANSWERS;
}

void
tally_port(const struct dataplane *dataplane, unsigned port, struct port_counters *sum)
{
	memset(sum, 0, sizeof(*sum));
	for (unsigned i = 0; i < dataplane->worker_count; i++) {
		const struct port_counters *one = &dataplane->workers[i]->ports[port];

		sum->rx_packets += one->rx_packets;
		sum->rx_bytes += one->rx_bytes;
		sum->tx_packets += one->tx_packets;
		sum->tx_bytes += one->tx_bytes;
		for (unsigned reason = 0; reason < REASON_COUNT; reason++)
			sum->drops[reason] += one->drops[reason];
	}
}

uint64_t
tally_drops(const struct port_counters *counters)
{
	uint64_t sum = 0;

	for (unsigned reason = REASON_NONE + 1; reason < REASON_COUNT; reason++)
		sum += counters->drops[reason];
	return sum;
}

void
tally_take(const struct dataplane *dataplane, struct tally *tally)
{
	memset(tally, 0, sizeof(*tally));
	for (unsigned i = 0; i < dataplane->worker_count; i++) {
		const struct worker *worker = dataplane->workers[i];

		for (unsigned verdict = 0; verdict < VERDICT_COUNT; verdict++)
			tally->counters.verdicts[verdict] += worker->counters.verdicts[verdict];
#define COUNTER_ADD(member, name) tally->counters.member += worker->counters.member;
		WORKER_COUNTERS(COUNTER_ADD)
#undef COUNTER_ADD
		for (unsigned port = 0; port < dataplane->port_count; port++)
			for (unsigned reason = 0; reason < REASON_COUNT; reason++)
				tally->drops[reason] += worker->ports[port].drops[reason];
		tally->flows += flow_count(worker->flows);
	}
	for (unsigned reason = 0; reason < REASON_COUNT; reason++)
		tally->drops[reason] += dataplane->closed_drops[reason];
}
