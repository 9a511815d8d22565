/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket. Clients are many, slow and wrong: lines are bounded, so are clients, a client
 * that does not read is cut off, and every error is an answer. Workers know nothing of all this:
 * their counters are read, never reset.
 */
#include "app/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
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

#include "app/method.h"

#define LINE_MAX_BYTES (64 * 1024)
#define OUTPUT_MAX_BYTES (1024 * 1024)
#define CLIENTS_MAX 64
/* With so much unread, streams wait. */
#define OUTPUT_PAUSE_BYTES (256 * 1024)
#define PROTOCOL_VERSION 2

struct control {
	struct daemon *daemon;
	struct evconnlistener *listener;
	char *path;
	unsigned client_count;
	struct client *clients; /* doubly linked */
};

struct client {
	struct control *control;
	struct bufferevent *stream;
	struct client *next, *previous;
	enum control_access access;
	char peer[64];
	struct control_request *requests; /* that are not answered yet; doubly linked */
	bool doomed;                      /* freed as soon as none of its requests runs */
	bool running;                     /* inside of a method */
};

struct control_request {
	struct client *client;
	struct control_request *next, *previous;
	json_t *id; /* NULL: a notification, whose answer is not sent */
	bool kept;
	void (*ended)(void *context);
	void *context;
	void (*writable)(void *context);
	void *writable_context;
};

static const struct method {
	const char *name;
	enum control_access access;
	const char *parameters;
	const char *help;
	void (*run)(struct control_request *request, const json_t *params);
} methods[METHOD_COUNT] = {
#define METHOD_ROW(identifier, name, access, parameters, help) \
	{name, CONTROL_##access, parameters, help, method_##identifier},
	METHODS(METHOD_ROW)
#undef METHOD_ROW
};

/* Requests. */

struct daemon *
control_daemon(const struct control_request *request)
{
	return request->client->control->daemon;
}

enum control_access
control_may(const struct control_request *request)
{
	return request->client->access;
}

const char *
control_peer(const struct control_request *request)
{
	return request->client->peer;
}

static void
client_send(struct client *client, json_t *message)
{
	char *text = json_dumps(message, JSON_COMPACT);
	struct evbuffer *output = bufferevent_get_output(client->stream);

	if (text != NULL && !client->doomed) {
		evbuffer_add(output, text, strlen(text));
		evbuffer_add(output, "\n", 1);
	}
	free(text);
	json_decref(message);
}

static json_t *
response(json_t *id, const char *member, json_t *value)
{
	return json_pack("{s:s, s:O?, s:o}", "jsonrpc", "2.0", "id", id != NULL ? id : json_null(),
		member, value);
}

static void
client_error(struct client *client, json_t *id, enum control_error code, json_t *data,
	const char *message)
{
	json_t *error = json_pack("{s:i, s:s}", "code", (int)code, "message", message);

	if (data != NULL)
		json_object_set_new(error, "data", data);
	client_send(client, response(id, "error", error));
}

static void
request_free(struct control_request *request)
{
	struct client *client = request->client;

	if (request->previous != NULL)
		request->previous->next = request->next;
	else
		client->requests = request->next;
	if (request->next != NULL)
		request->next->previous = request->previous;
	json_decref(request->id);
	free(request);
}

void
control_answer(struct control_request *request, json_t *result)
{
	if (request->id != NULL)
		client_send(request->client, response(request->id, "result", result));
	else
		json_decref(result);
	request_free(request);
}

void
control_fail(struct control_request *request, enum control_error code, json_t *data,
	const char *format, ...)
{
	char message[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	if (request->id != NULL)
		client_error(request->client, request->id, code, data, message);
	else
		json_decref(data);
	request_free(request);
}

bool
control_params_known(
	struct control_request *request, const json_t *params, const char *const *names)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)params, key, value)
	{
		unsigned i = 0;

		while (names[i] != NULL && strcmp(names[i], key) != 0)
			i++;
		if (names[i] != NULL)
			continue;
		control_fail(request, CONTROL_INVALID_PARAMS, json_pack("{s:s}", "key", key),
			"%.64s: no such parameter; help lists them", key);
		return false;
	}
	return true;
}

void
control_keep(struct control_request *request, void (*ended)(void *context), void *context)
{
	request->kept = true;
	request->ended = ended;
	request->context = context;
}

bool
control_notify(struct control_request *request, const char *method, json_t *params)
{
	struct client *client = request->client;

	json_object_set(params, "id", request->id != NULL ? request->id : json_null());
	client_send(client,
		json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", method, "params", params));
	return evbuffer_get_length(bufferevent_get_output(client->stream)) < OUTPUT_PAUSE_BYTES;
}

void
control_when_writable(
	struct control_request *request, void (*writable)(void *context), void *context)
{
	request->writable = writable;
	request->writable_context = context;
}

/* Nobody waits for it any more. */
static void
request_end(struct control_request *request)
{
	void (*ended)(void *context) = request->ended;
	void *context = request->context;

	request_free(request);
	if (ended != NULL)
		ended(context);
}

void
method_HELLO(struct control_request *request, const json_t *params)
{
	(void)params;
	control_answer(
		request, json_pack("{s:s, s:s, s:i, s:s}", "program", "sluiced", "version",
				 SLUICE_VERSION, "protocol", PROTOCOL_VERSION, "access",
				 control_may(request) == CONTROL_CHANGE ? "change" : "look"));
}

void
method_HELP(struct control_request *request, const json_t *params)
{
	json_t *list = json_array();

	(void)params;
	for (unsigned i = 0; i < METHOD_COUNT; i++)
		json_array_append_new(list,
			json_pack("{s:s, s:s, s:s, s:s}", "name", methods[i].name, "access",
				methods[i].access == CONTROL_CHANGE ? "change" : "look",
				"parameters", methods[i].parameters, "help", methods[i].help));
	control_answer(request, json_pack("{s:o}", "methods", list));
}

void
method_CANCEL(struct control_request *request, const json_t *params)
{
	json_t *id = json_object_get(params, "id");

	for (struct control_request *other = request->client->requests; other != NULL;
		other = other->next)
		if (other != request && other->kept && json_equal(other->id, id)) {
			void (*ended)(void *context) = other->ended;
			void *context = other->context;

			control_answer(other, json_pack("{s:b}", "cancelled", 1));
			if (ended != NULL)
				ended(context);
			control_answer(request, json_object());
			return;
		}
	control_fail(request, CONTROL_CONFLICT, NULL, "no request with that id is open");
}

/* Clients. */

static void
client_free(struct client *client)
{
	struct control *control = client->control;

	client->doomed = true;
	if (client->running)
		return;
	while (client->requests != NULL)
		request_end(client->requests);
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
client_run(struct client *client, const struct method *method, json_t *id, const json_t *params)
{
	struct control_request *request = calloc(1, sizeof(*request));

	if (request == NULL) {
		client_error(client, id, CONTROL_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	request->client = client;
	request->id = json_incref(id);
	request->next = client->requests;
	if (request->next != NULL)
		request->next->previous = request;
	client->requests = request;
	client->running = true;
	method->run(request, params);
	client->running = false;
}

static void
client_request(struct client *client, const char *line, size_t length)
{
	json_error_t where;
	json_t *request = json_loadb(line, length, JSON_REJECT_DUPLICATES, &where);
	json_t *id = json_object_get(request, "id");
	json_t *params = json_object_get(request, "params");
	const char *name = json_string_value(json_object_get(request, "method"));
	const char *version = json_string_value(json_object_get(request, "jsonrpc"));
	const struct method *method = NULL;

	if (request == NULL) {
		client_error(client, NULL, CONTROL_PARSE_ERROR, NULL, where.text);
		return;
	}
	for (size_t i = 0; name != NULL && i < METHOD_COUNT; i++)
		if (strcmp(methods[i].name, name) == 0)
			method = &methods[i];
	if (version == NULL || strcmp(version, "2.0") != 0 || name == NULL)
		client_error(client, id, CONTROL_INVALID_REQUEST, NULL,
			"want {\"jsonrpc\": \"2.0\", \"id\": ..., \"method\": ...}");
	else if (method == NULL)
		client_error(client, id, CONTROL_METHOD_NOT_FOUND, NULL,
			"no such method; help lists them");
	else if (params != NULL && !json_is_object(params))
		client_error(client, id, CONTROL_INVALID_PARAMS, NULL, "params must be an object");
	else if (method->access > client->access)
		client_error(client, id, CONTROL_NOT_PERMITTED, NULL, "you may only look");
	else
		client_run(client, method, id, params);
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
		if (client->doomed ||
			evbuffer_get_length(bufferevent_get_output(stream)) > OUTPUT_MAX_BYTES) {
			client_free(client); /* it asks and does not read */
			return;
		}
	}
	if (evbuffer_get_length(input) > LINE_MAX_BYTES)
		client_free(client);
}

/* Streams that wait go on. */
static void
client_write(struct bufferevent *stream, void *context)
{
	struct client *client = context;

	for (struct control_request *request = client->requests, *next; request != NULL;
		request = next) {
		void (*writable)(void *context) = request->writable;

		next = request->next;
		if (writable == NULL)
			continue;
		request->writable = NULL;
		writable(request->writable_context);
		if (evbuffer_get_length(bufferevent_get_output(stream)) >= OUTPUT_PAUSE_BYTES)
			return;
	}
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
	struct ucred credentials = {0};
	socklen_t size = sizeof(credentials);
	struct client *client;

	(void)address;
	(void)length;
	client = control->client_count < CLIENTS_MAX ? calloc(1, sizeof(*client)) : NULL;
	if (client == NULL) {
		close(fd);
		return;
	}
	client->control = control;
	client->access = CONTROL_CHANGE;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0)
		snprintf(client->peer, sizeof(client->peer), "pid %d uid %u", credentials.pid,
			credentials.uid);
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
	bufferevent_setcb(client->stream, client_read, client_write, client_event, client);
	bufferevent_setwatermark(client->stream, EV_READ, 0, LINE_MAX_BYTES + 1);
	bufferevent_setwatermark(client->stream, EV_WRITE, OUTPUT_PAUSE_BYTES / 4, 0);
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
control_open(const char *path, struct event_base *base, struct daemon *daemon,
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
	control->daemon = daemon;
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
