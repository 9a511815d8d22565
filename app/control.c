/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket. Clients are many, slow and wrong: lines are bounded, so are clients, a client
 * that does not read is cut off, and every error is an answer. Workers know nothing of all this:
 * their counters are read, never reset.
 */
#include "app/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <jansson.h>

#include "app/worker.h"

#define LINE_MAX_BYTES (64 * 1024)
#define OUTPUT_MAX_BYTES (1024 * 1024)
#define CLIENTS_MAX 64
#define PROTOCOL_VERSION 1

/* JSON-RPC 2.0 section 5.1 */
enum rpc_error {
	RPC_PARSE_ERROR = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_METHOD_NOT_FOUND = -32601,
};

struct control {
	struct evconnlistener *listener;
	struct dataplane *dataplane;
	char *path;
	unsigned client_count;
	struct client *clients; /* doubly linked */
};

struct client {
	struct control *control;
	struct bufferevent *stream;
	struct client *next, *previous;
};

static json_t *
method_hello(struct control *control)
{
	(void)control;
	return json_pack("{s:s, s:s, s:i}", "program", "sluiced", "version", SLUICE_VERSION,
		"protocol", PROTOCOL_VERSION);
}

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
method_counters(struct control *control)
{
	static const char *const verdict_names[VERDICT_COUNT] = {
		[VERDICT_FORWARD] = "forward",
		[VERDICT_DROP] = "drop",
		[VERDICT_LOCAL] = "local",
		[VERDICT_JOINED] = "joined",
	};
	const struct dataplane *dataplane = control->dataplane;
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

static const struct method {
	const char *name;
	const char *help;
	json_t *(*run)(struct control *control);
} methods[] = {
	{"hello", "who answers, and which version of this protocol", method_hello},
	{"counters", "packets per verdict, drop reason and port", method_counters},
};

static void
client_free(struct client *client)
{
	struct control *control = client->control;

	if (client->previous != NULL)
		client->previous->next = client->next;
	else
		control->clients = client->next;
	if (client->next != NULL)
		client->next->previous = client->previous;
	control->client_count--;
	bufferevent_free(client->stream);
	free(client);
}

static void
client_send(struct client *client, json_t *response)
{
	char *text = json_dumps(response, JSON_COMPACT);
	struct evbuffer *output = bufferevent_get_output(client->stream);

	if (text != NULL) {
		evbuffer_add(output, text, strlen(text));
		evbuffer_add(output, "\n", 1);
	}
	free(text);
	json_decref(response);
}

static json_t *
error_response(json_t *id, enum rpc_error code, const char *message)
{
	return json_pack("{s:s, s:O?, s:{s:i, s:s}}", "jsonrpc", "2.0", "id",
		id != NULL ? id : json_null(), "error", "code", (int)code, "message", message);
}

static void
client_request(struct client *client, const char *line, size_t length)
{
	json_error_t where;
	json_t *request = json_loadb(line, length, 0, &where);
	json_t *id = json_object_get(request, "id");
	const char *name = json_string_value(json_object_get(request, "method"));
	const char *version = json_string_value(json_object_get(request, "jsonrpc"));
	const struct method *method = NULL;

	if (request == NULL) {
		client_send(client, error_response(NULL, RPC_PARSE_ERROR, where.text));
		return;
	}
	for (size_t i = 0; name != NULL && i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(methods[i].name, name) == 0)
			method = &methods[i];
	if (version == NULL || strcmp(version, "2.0") != 0 || name == NULL)
		client_send(client,
			error_response(id, RPC_INVALID_REQUEST,
				"want {\"jsonrpc\": \"2.0\", \"id\": ..., \"method\": ...}"));
	else if (id == NULL)
		; /* a notification wants no answer, and none of ours does anything */
	else if (method == NULL)
		client_send(client,
			error_response(id, RPC_METHOD_NOT_FOUND, "methods: hello, counters"));
	else
		client_send(client, json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id,
					    "result", method->run(client->control)));
	json_decref(request);
}

static void
client_read(struct bufferevent *stream, void *context)
{
	struct client *client = context;
	struct evbuffer *input = bufferevent_get_input(stream);
	size_t length;
	char *line;

	while ((line = evbuffer_readln(input, &length, EVBUFFER_EOL_LF)) != NULL) {
		client_request(client, line, length);
		free(line);
		if (evbuffer_get_length(bufferevent_get_output(stream)) > OUTPUT_MAX_BYTES) {
			client_free(client); /* it asks and does not read */
			return;
		}
	}
	if (evbuffer_get_length(input) > LINE_MAX_BYTES)
		client_free(client);
}

static void
client_event(struct bufferevent *stream, short events, void *context)
{
	(void)stream;
	if ((events & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
		client_free(context);
}

static void
control_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
	int length, void *context)
{
	struct control *control = context;
	struct client *client;

	(void)address;
	(void)length;
	client = control->client_count < CLIENTS_MAX ? calloc(1, sizeof(*client)) : NULL;
	if (client == NULL) {
		close(fd);
		return;
	}
	client->control = control;
	client->stream = bufferevent_socket_new(
		evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
	if (client->stream == NULL) {
		close(fd);
		free(client);
		return;
	}
	client->next = control->clients;
	if (client->next != NULL)
		client->next->previous = client;
	control->clients = client;
	control->client_count++;
	bufferevent_setcb(client->stream, client_read, NULL, client_event, client);
	bufferevent_setwatermark(client->stream, EV_READ, 0, LINE_MAX_BYTES + 1);
	bufferevent_enable(client->stream, EV_READ | EV_WRITE);
}

/* A socket file may be left from a run that was killed: only a silent one is removed. */
static int
remove_stale(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
		error = -EADDRINUSE;
	else if (errno == ECONNREFUSED)
		unlink(address->sun_path);
	close(fd);
	return error;
}

/* The directory of the socket, such as /run/sluice, is ours to make. */
static void
make_parent(const char *path)
{
	char *parent = strdup(path);
	char *slash = parent != NULL ? strrchr(parent, '/') : NULL;

	if (slash != NULL && slash != parent) {
		*slash = '\0';
		mkdir(parent, 0750); /* if this fails, bind says why */
	}
	free(parent);
}

int
control_open(const char *path, struct event_base *base, struct dataplane *dataplane,
	const struct report *report, struct control **out)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct control *control;
	mode_t mask;
	int error;

	if (strlen(path) >= sizeof(address.sun_path)) {
		report_line(report, "[sluice] socket: %s is longer than %zu characters", path,
			sizeof(address.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	strcpy(address.sun_path, path);
	make_parent(path);
	error = remove_stale(&address);
	if (error != 0) {
		report_line(report, "%s: %s", path,
			error == -EADDRINUSE ? "another sluiced answers there" : strerror(-error));
		return error;
	}
	control = calloc(1, sizeof(*control));
	if (control == NULL)
		return -ENOMEM;
	control->dataplane = dataplane;
	control->path = strdup(path);
	if (control->path == NULL) {
		free(control);
		return -ENOMEM;
	}
	mask = umask(0177);
	control->listener = evconnlistener_new_bind(base, control_accept, control,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, -1, (struct sockaddr *)&address,
		sizeof(address));
	error = errno != 0 ? -errno : -EIO;
	umask(mask);
	if (control->listener == NULL) {
		report_line(report, "%s: cannot listen: %s", path, strerror(-error));
		control_close(control);
		return error;
	}
	*out = control;
	return 0;
}

void
control_close(struct control *control)
{
	if (control == NULL)
		return;
	for (struct client *client = control->clients, *next; client != NULL; client = next) {
		next = client->next;
		client_free(client);
	}
	if (control->listener != NULL) {
		evconnlistener_free(control->listener);
		unlink(control->path);
	}
	free(control->path);
	free(control);
}
