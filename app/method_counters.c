/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the workers have counted. They know nothing of being read: every counter has one writer and
 * is never reset.
 */
#include "app/method.h"
#include "app/worker.h"

static json_t *
drops_object(const uint64_t drops[REASON_COUNT])
{
	json_t *object = json_object();

	for (unsigned i = REASON_NONE + 1; i < REASON_COUNT; i++)
		if (drops[i] != 0)
			json_object_set_new(
				object, reasons[i].name, json_integer((json_int_t)drops[i]));
	return object;
}

static json_t *
port_object(const struct dataplane *dataplane, unsigned index, uint64_t all_drops[REASON_COUNT])
{
	struct port_counters sum = {0};

	for (unsigned i = 0; i < dataplane->worker_count; i++) {
		const struct port_counters *one = &dataplane->workers[i]->ports[index];

		sum.rx_packets += one->rx_packets;
		sum.rx_bytes += one->rx_bytes;
		sum.tx_packets += one->tx_packets;
		sum.tx_bytes += one->tx_bytes;
		for (unsigned reason = 0; reason < REASON_COUNT; reason++)
			sum.drops[reason] += one->drops[reason];
	}
	for (unsigned reason = 0; reason < REASON_COUNT; reason++)
		all_drops[reason] += sum.drops[reason];
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "rx_packets", (json_int_t)sum.rx_packets,
		"rx_bytes", (json_int_t)sum.rx_bytes, "rx_dropped",
		(json_int_t)dataplane->ports[index].rx_dropped, "tx_packets",
		(json_int_t)sum.tx_packets, "tx_bytes", (json_int_t)sum.tx_bytes, "drops",
		drops_object(sum.drops));
}

static json_t *
counters_object(const struct daemon *daemon)
{
	static const char *const verdict_names[VERDICT_COUNT] = {
		[VERDICT_FORWARD] = "forward",
		[VERDICT_DROP] = "drop",
		[VERDICT_LOCAL] = "local",
		[VERDICT_JOINED] = "joined",
	};
	const struct dataplane *dataplane = daemon->dataplane;
	struct worker_counters sum = {0};
	uint64_t drops[REASON_COUNT] = {0};
	json_t *ports = json_object();
	json_t *verdicts = json_object();
	json_int_t flows = 0;
	json_t *answer;

	for (unsigned i = 0; i < dataplane->port_count; i++)
		json_object_set_new(
			ports, dataplane->ports[i].name, port_object(dataplane, i, drops));
	for (unsigned i = 0; i < dataplane->worker_count; i++) {
		const struct worker *worker = dataplane->workers[i];

		for (unsigned verdict = 0; verdict < VERDICT_COUNT; verdict++)
			sum.verdicts[verdict] += worker->counters.verdicts[verdict];
#define COUNTER_ADD(member, name) sum.member += worker->counters.member;
		WORKER_COUNTERS(COUNTER_ADD)
#undef COUNTER_ADD
		flows += flow_count(worker->flows);
	}
	for (unsigned verdict = 0; verdict < VERDICT_COUNT; verdict++)
		json_object_set_new(verdicts, verdict_names[verdict],
			json_integer((json_int_t)sum.verdicts[verdict]));
	answer = json_pack("{s:o, s:o, s:o, s:I}", "verdicts", verdicts, "drops",
		drops_object(drops), "ports", ports, "flows", flows);
#define COUNTER_SET(member, name) \
	json_object_set_new(answer, name, json_integer((json_int_t)sum.member));
	WORKER_COUNTERS(COUNTER_SET)
#undef COUNTER_SET
	return answer;
}

void
method_COUNTERS(struct control_request *request, const json_t *params)
{
	(void)params;
	control_answer(request, counters_object(control_daemon(request)));
}
