/* SPDX-License-Identifier: BSD-3-Clause */
/* The method `counters`: what the workers have counted, by port and in all. */
#include "app/method.h"
#include "app/tally.h"

json_t *
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
port_object(const struct dataplane *dataplane, unsigned port)
{
	struct port_counters sum;

	tally_port(dataplane, port, &sum);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "rx_packets", (json_int_t)sum.rx_packets,
		"rx_bytes", (json_int_t)sum.rx_bytes, "rx_dropped",
		(json_int_t)dataplane->ports[port].rx_dropped, "tx_packets",
		(json_int_t)sum.tx_packets, "tx_bytes", (json_int_t)sum.tx_bytes, "drops",
		drops_object(sum.drops));
}

static json_t *
counters_object(const struct dataplane *dataplane)
{
	struct tally tally;
	json_t *ports = json_object();
	json_t *verdicts = json_object();
	json_t *answer;

	tally_take(dataplane, &tally);
	for (unsigned i = 0; i < dataplane->port_count; i++)
		if (dataplane_port(dataplane, i) != NULL)
			json_object_set_new(
				ports, dataplane->ports[i].name, port_object(dataplane, i));
	for (unsigned verdict = 0; verdict < VERDICT_COUNT; verdict++)
		json_object_set_new(verdicts, tally_verdicts[verdict],
			json_integer((json_int_t)tally.counters.verdicts[verdict]));
	answer = json_pack("{s:o, s:o, s:o, s:I}", "verdicts", verdicts, "drops",
		drops_object(tally.drops), "ports", ports, "flows", (json_int_t)tally.flows);
#define COUNTER_SET(member, name) \
	json_object_set_new(answer, name, json_integer((json_int_t)tally.counters.member));
	WORKER_COUNTERS(COUNTER_SET)
#undef COUNTER_SET
	return answer;
}

void
method_COUNTERS(struct control_request *request, const json_t *params)
{
	if (!control_params_known(request, params, (const char *const[]){NULL}))
		return;
	control_answer(request, counters_object(control_daemon(request)->dataplane));
}
