/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was dropped: how many per reason and port, and the last packets of each reason.
 *
 * A qube's drops are those at its port. The last ones of a reason are of all ports together unless
 * somebody asks for one qube or one reason: then each port's own are told.
 */
#include "app/drop_poll.h"
#include "app/method.h"
#include "app/packet_json.h"
#include "app/worker.h"

#define TIME_DIGITS 3

struct question {
	const struct daemon *daemon;
	const struct drop_watch *watch;
	uint16_t port;      /* PORT_NONE: all */
	enum reason reason; /* REASON_NONE: all */
};

static uint64_t
drops_of(const struct dataplane *dataplane, unsigned port, unsigned reason)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < dataplane->worker_count; i++)
		sum += dataplane->workers[i]->ports[port].drops[reason];
	return sum;
}

static void
packet_append(const struct question *question, json_t *list, const struct drop_seen *seen)
{
	const struct policy *policy = daemon_policy(question->daemon);
	json_t *packet = json_object();

	json_object_set_new(packet, "time", packet_time_json(seen->time_ns, TIME_DIGITS));
	packet_json_add(packet, policy, &seen->summary, NULL, false);
	packet_json_add_more(packet, policy, &seen->summary);
	json_array_append_new(list, packet);
}

/* Put a drop among the latest ones of several ports, in order of time. */
static void
latest_insert(struct drop_seen latest[DROP_NOTES], unsigned *count, const struct drop_seen *seen)
{
	unsigned place;

	if (*count == DROP_NOTES) {
		if (seen->time_ns <= latest[0].time_ns)
			return;
		memmove(latest, latest + 1, (DROP_NOTES - 1) * sizeof(latest[0]));
		(*count)--;
	}
	for (place = *count; place > 0 && latest[place - 1].time_ns > seen->time_ns; place--)
		latest[place] = latest[place - 1];
	latest[place] = *seen;
	(*count)++;
}

/* Tell of one reason: its counts, and the packets that are known of it. */
static void
reason_append(const struct question *question, json_t *list, json_t *last, enum reason reason)
{
	const struct dataplane *dataplane = question->daemon->dataplane;
	bool each = question->port != PORT_NONE || question->reason != REASON_NONE;
	struct drop_seen latest[DROP_NOTES];
	unsigned latest_count = 0;
	json_t *ports = json_object();
	uint64_t total = 0;

	for (unsigned port = 0; port < dataplane->port_count; port++) {
		if (dataplane_port(dataplane, port) == NULL)
			continue;
		uint64_t count = drops_of(dataplane, port, reason);
		struct drop_seen seen[DROP_NOTES];
		unsigned known;

		if (count == 0 || (question->port != PORT_NONE && question->port != port))
			continue;
		total += count;
		json_object_set_new(
			ports, dataplane->ports[port].name, json_integer((json_int_t)count));
		known = drop_watch_last(question->watch, (uint16_t)port, reason, seen);
		for (unsigned i = 0; i < known; i++)
			if (each)
				packet_append(question, last, &seen[i]);
			else
				latest_insert(latest, &latest_count, &seen[i]);
	}
	for (unsigned i = 0; i < latest_count; i++)
		packet_append(question, last, &latest[i]);
	if (total == 0) {
		json_decref(ports);
		return;
	}
	json_array_append_new(
		list, json_pack("{s:s, s:s, s:I, s:o}", "reason", reasons[reason].name, "help",
			      reasons[reason].help, "total", (json_int_t)total, "ports", ports));
}

/* @return false when the request was failed */
static bool
question_read(struct control_request *request, const json_t *params, struct question *question)
{
	static const char *const known[] = {"qube", "reason", NULL};
	const struct policy *policy = daemon_policy(question->daemon);
	const json_t *qube = json_object_get(params, "qube");
	const json_t *reason = json_object_get(params, "reason");

	if (!control_params_known(request, params, known))
		return false;
	if (qube != NULL) {
		const char *name = json_string_value(qube);

		for (uint16_t i = 0; name != NULL && i < policy->port_count; i++)
			if (policy_port_qube(policy, i) != NULL &&
				strcmp(policy_port_qube(policy, i)->name, name) == 0)
				question->port = i;
		if (question->port == PORT_NONE) {
			control_fail(request, CONTROL_INVALID_PARAMS,
				json_pack("{s:s}", "key", "qube"), "qube: want the name of a qube");
			return false;
		}
	}
	if (reason != NULL) {
		const char *name = json_string_value(reason);

		for (unsigned i = REASON_NONE + 1; name != NULL && i < REASON_COUNT; i++)
			if (strcmp(reasons[i].name, name) == 0)
				question->reason = i;
		if (question->reason == REASON_NONE) {
			control_fail(request, CONTROL_INVALID_PARAMS,
				json_pack("{s:s}", "key", "reason"),
				"reason: want a reason, as counters name them");
			return false;
		}
	}
	return true;
}

void
method_DROPS(struct control_request *request, const json_t *params)
{
	const struct daemon *daemon = control_daemon(request);
	struct question question = {.daemon = daemon, .port = PORT_NONE, .reason = REASON_NONE};
	json_t *list, *last;

	if (!question_read(request, params, &question))
		return;
	question.watch = drop_poll_now(daemon->drops);
	list = json_array();
	last = json_array();
	for (unsigned i = REASON_NONE + 1; i < REASON_COUNT; i++)
		if (question.reason == REASON_NONE || question.reason == i)
			reason_append(&question, list, last, i);
	control_answer(request, json_pack("{s:o, s:o}", "reasons", list, "last", last));
}
