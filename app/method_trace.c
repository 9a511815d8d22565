/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `trace` and `capture`: a tap each, whose records are told as they come.
 *
 * A timer takes what the tap has recorded, some at a time, so that other clients have their turn.
 * When the client does not read, records are thrown away and counted: the workers must find room.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <event2/event.h>
#include <rte_cycles.h>

#include "app/method.h"
#include "app/tap_json.h"
#include "app/tap_table.h"

#define TICK_MS 10
/* Taken per tick, and told in one notification. */
#define TAKEN_PER_TICK 1024
#define PACKETS_PER_NOTE 64
#define BYTES_PER_NOTE (128 * 1024)
#define COUNT_MAX 1000000000

struct stream {
	struct control_request *request;
	struct daemon *daemon;
	struct tap *tap;
	struct event *timer;
	bool frames;
	bool waits;    /* the client does not read */
	uint64_t left; /* packets until it ends by itself; 0: never */
	uint64_t told;
	uint64_t unread; /* missed because of the client */
	uint64_t missed_told;
	/* the notification being put together */
	json_t *packets;
	size_t bytes;
	/* what time it was, by both clocks */
	uint64_t tsc;
	uint64_t now_ns;
};

static void
stream_free(struct stream *stream)
{
	if (stream->tap != NULL)
		tap_table_end(stream->daemon->taps, stream->tap);
	if (stream->timer != NULL)
		event_free(stream->timer);
	json_decref(stream->packets);
	free(stream);
}

static void
stream_ended(void *context)
{
	stream_free(context);
}

static void
stream_writable(void *context)
{
	struct stream *stream = context;

	stream->waits = false;
}

static uint64_t
stream_missed(const struct stream *stream)
{
	return tap_missed(stream->tap) + stream->unread;
}

/* Tell what has been put together; also when there is only something missed to tell. */
static void
stream_tell(struct stream *stream)
{
	uint64_t missed = stream_missed(stream);
	json_t *packets = stream->packets;

	if (stream->waits || (json_array_size(packets) == 0 && missed == stream->missed_told))
		return;
	stream->missed_told = missed;
	stream->packets = json_array();
	stream->bytes = 0;
	if (!control_notify(stream->request, "packets",
		    json_pack("{s:o, s:I}", "packets", packets, "missed", (json_int_t)missed))) {
		stream->waits = true;
		control_when_writable(stream->request, stream_writable, stream);
	}
}

static void
clocks_read(struct stream *stream)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	stream->tsc = rte_rdtsc();
	stream->now_ns = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static uint64_t
time_of(const struct stream *stream, uint64_t tsc)
{
	unsigned __int128 elapsed = stream->tsc > tsc ? stream->tsc - tsc : 0;

	return stream->now_ns - (uint64_t)(elapsed * 1000000000 / rte_get_tsc_hz());
}

static void
record_add(struct stream *stream, struct rte_mbuf *mbuf)
{
	json_t *packet;

	if (stream->waits) {
		stream->unread++;
		return;
	}
	packet = tap_json(stream->daemon->dataplane, daemon_policy(stream->daemon), mbuf,
		stream->frames, time_of(stream, tap_record(mbuf)->tsc));
	json_array_append_new(stream->packets, packet);
	stream->told++;
	stream->bytes += stream->frames ? rte_pktmbuf_pkt_len(mbuf) * 4 / 3 : 0;
	if (json_array_size(stream->packets) == PACKETS_PER_NOTE || stream->bytes > BYTES_PER_NOTE)
		stream_tell(stream);
}

static void
stream_tick(evutil_socket_t number, short events, void *context)
{
	struct stream *stream = context;
	struct rte_mbuf *records[PACKETS_PER_NOTE];
	bool ends = false;
	unsigned count;

	(void)number, (void)events;
	clocks_read(stream);
	for (unsigned taken = 0; taken < TAKEN_PER_TICK && !ends; taken += count) {
		count = tap_take(stream->tap, records, PACKETS_PER_NOTE);
		if (count == 0)
			break;
		for (unsigned i = 0; i < count; i++) {
			if (!ends)
				record_add(stream, records[i]);
			rte_pktmbuf_free(records[i]);
			ends = stream->left != 0 && stream->told == stream->left;
		}
	}
	stream_tell(stream);
	if (ends) {
		control_answer(stream->request,
			json_pack("{s:I, s:I}", "packets", (json_int_t)stream->told, "missed",
				(json_int_t)stream_missed(stream)));
		stream_free(stream);
	}
}

/* --- parameters --- */

static bool
wrong(struct control_request *request, const char *key, const char *wanted)
{
	control_fail(request, CONTROL_INVALID_PARAMS, json_pack("{s:s}", "key", key), "%s: want %s",
		key, wanted);
	return false;
}

/* [[code, jt, jf, k], ...] */
static bool
filter_read(const json_t *list, struct tap_filter *filter)
{
	static const uint32_t most[] = {UINT16_MAX, UINT8_MAX, UINT8_MAX, UINT32_MAX};
	struct bpf_insn program[TAP_FILTER_MAX];
	size_t count = json_array_size(list);

	if (count == 0 || count > TAP_FILTER_MAX)
		return false;
	for (size_t i = 0; i < count; i++) {
		const json_t *one = json_array_get(list, i);
		uint32_t field[4];

		if (json_array_size(one) != RTE_DIM(field))
			return false;
		for (size_t j = 0; j < RTE_DIM(field); j++) {
			const json_t *number = json_array_get(one, j);

			if (!json_is_integer(number) || json_integer_value(number) < 0 ||
				json_integer_value(number) > most[j])
				return false;
			field[j] = (uint32_t)json_integer_value(number);
		}
		program[i] = (struct bpf_insn){.code = (u_short)field[0],
			.jt = (u_char)field[1],
			.jf = (u_char)field[2],
			.k = field[3]};
	}
	return tap_filter_set(filter, program, (unsigned)count);
}

/* The port of that name, or of the qube of that name. */
static uint16_t
port_find(const struct policy *policy, const char *name, bool qube)
{
	for (uint16_t i = 0; name != NULL && i < policy->port_count; i++) {
		const struct policy_port *port = &policy->ports[i];
		const struct qube *own = policy_port_qube(policy, i);

		if (!qube && port->role != ROLE_NONE && strcmp(port->name, name) == 0)
			return i;
		if (qube && own != NULL && strcmp(own->name, name) == 0)
			return i;
	}
	return PORT_NONE;
}

static bool
number_read(const json_t *json, json_int_t most, uint64_t *number)
{
	if (!json_is_integer(json) || json_integer_value(json) < 1 ||
		json_integer_value(json) > most)
		return false;
	*number = (uint64_t)json_integer_value(json);
	return true;
}

/* @return false when the request was failed */
static bool
options_read(struct control_request *request, const json_t *params, struct tap_options *options,
	uint64_t *count)
{
	static const char *const trace[] = {"filter", "port", "qube", "drops", "count", NULL};
	static const char *const capture[] = {
		"filter", "port", "qube", "drops", "count", "snaplen", NULL};
	const struct policy *policy = daemon_policy(control_daemon(request));
	const json_t *filter = json_object_get(params, "filter");
	const json_t *port = json_object_get(params, "port");
	const json_t *qube = json_object_get(params, "qube");
	const json_t *drops = json_object_get(params, "drops");
	const json_t *snaplen = json_object_get(params, "snaplen");
	uint64_t bytes = TAP_SNAPLEN_MAX;

	if (!control_params_known(request, params, options->frames ? capture : trace))
		return false;
	if (filter != NULL && !filter_read(filter, &options->filter))
		return wrong(request, "filter",
			"a classic BPF program of at most 256 instructions [code, jt, jf, k] that "
			"jumps forward and returns");
	if (port != NULL && qube != NULL)
		return wrong(request, "port", "either a port or a qube");
	if (port != NULL)
		options->port = port_find(policy, json_string_value(port), false);
	if (port != NULL && options->port == PORT_NONE)
		return wrong(request, "port", "the name of a port");
	if (qube != NULL)
		options->port = port_find(policy, json_string_value(qube), true);
	if (qube != NULL && options->port == PORT_NONE)
		return wrong(request, "qube", "the name of a qube that lives on a port");
	if (drops != NULL && !json_is_boolean(drops))
		return wrong(request, "drops", "true or false");
	options->drops = json_is_true(drops);
	if (json_object_get(params, "count") != NULL &&
		!number_read(json_object_get(params, "count"), COUNT_MAX, count))
		return wrong(request, "count", "a number of packets, 1 to 1000000000");
	if (snaplen != NULL && !number_read(snaplen, TAP_SNAPLEN_MAX, &bytes))
		return wrong(request, "snaplen", "a number of bytes, 1 to 262144");
	options->snaplen = (uint32_t)bytes;
	return true;
}

static void
stream_begin(struct control_request *request, const json_t *params, const char *method, bool frames)
{
	const struct timeval tick = {.tv_usec = TICK_MS * 1000};
	struct daemon *daemon = control_daemon(request);
	struct tap_options options = {.frames = frames, .port = PORT_NONE};
	struct stream *stream;
	uint64_t count = 0;
	int error;

	if (!options_read(request, params, &options, &count))
		return;
	stream = calloc(1, sizeof(*stream));
	if (stream != NULL)
		*stream = (struct stream){.request = request,
			.daemon = daemon,
			.frames = frames,
			.left = count,
			.packets = json_array(),
			.timer = event_new(daemon->base, -1, EV_PERSIST, stream_tick, stream)};
	error = stream == NULL || stream->packets == NULL || stream->timer == NULL ||
				event_add(stream->timer, &tick) != 0
			? -ENOMEM
			: tap_table_begin(daemon->taps, &options, &stream->tap);
	if (error == 0) {
		control_keep(request, stream_ended, stream);
		return;
	}
	if (stream != NULL)
		stream_free(stream);
	if (error == -EBUSY)
		control_fail(request, CONTROL_CONFLICT, NULL,
			"%u traces and captures run already, more at once are not possible",
			TAPS_MAX);
	else
		control_fail(request, CONTROL_UNAVAILABLE, NULL,
			"out of memory for the packets of a %s", method);
}

void
method_TRACE(struct control_request *request, const json_t *params)
{
	stream_begin(request, params, "trace", false);
}

void
method_CAPTURE(struct control_request *request, const json_t *params)
{
	stream_begin(request, params, "capture", true);
}
