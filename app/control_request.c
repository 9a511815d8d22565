/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests: JSON-RPC 2.0 as docs/control-socket.md has it. A line comes from anybody: it is looked
 * at as bytes before a parser sees it, and every way it can be wrong is an answer of its own.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/control_client.h"

#define PROTOCOL_VERSION 2

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

struct daemon *
control_daemon(const struct control_request *request)
{
	return client_daemon(request->client);
}

enum control_access
control_may(const struct control_request *request)
{
	return client_peer(request->client)->access;
}

const char *
control_peer(const struct control_request *request)
{
	return client_peer(request->client)->text;
}

/* --- answers --- */

json_t *
control_text(const char *text)
{
	json_t *string = json_string(text);
	char *copy;

	if (string != NULL)
		return string;
	/* Not UTF-8, perhaps because it was cut: the bytes that are ASCII say enough. */
	copy = strdup(text);
	for (char *byte = copy; byte != NULL && *byte != '\0'; byte++)
		if ((unsigned char)*byte >= 0x80)
			*byte = '?';
	string = copy != NULL ? json_string(copy) : NULL;
	free(copy);
	return string;
}

static json_t *
error_object(enum control_error code, json_t *data, const char *message)
{
	return json_pack("{s:i, s:o, s:o*}", "code", (int)code, "message", control_text(message),
		"data", data);
}

static json_t *
response(json_t *id, const char *member, json_t *value)
{
	return json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id != NULL ? id : json_null(),
		member, value);
}

static void
client_error(struct client *client, json_t *id, enum control_error code, json_t *data,
	const char *message)
{
	client_send(client, response(id, "error", error_object(code, data, message)));
}

void
request_error(struct client *client, enum control_error code, const char *message)
{
	client_error(client, NULL, code, NULL, message);
}

int
request_error_line(char *line, size_t size, enum control_error code, const char *message)
{
	return snprintf(line, size,
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":%d,\"message\":\"%s\"}}\n",
		code, message);
}

static void
request_free(struct control_request *request)
{
	struct requests *requests = client_requests(request->client);

	if (request->previous != NULL)
		request->previous->next = request->next;
	else
		requests->first = request->next;
	if (request->next != NULL)
		request->next->previous = request->previous;
	requests->count--;
	client_look(request->client);
	json_decref(request->id);
	free(request);
}

void
control_answer(struct control_request *request, json_t *result)
{
	if (request->id == NULL)
		json_decref(result);
	else if (result != NULL)
		client_send(request->client, response(request->id, "result", result));
	else
		client_error(
			request->client, request->id, CONTROL_UNAVAILABLE, NULL, "out of memory");
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

	json_object_foreach ((json_t *)(uintptr_t)params, key, value) {
		unsigned i = 0;

		while (names[i] != NULL && strcmp(names[i], key) != 0)
			i++;
		if (names[i] != NULL)
			continue;
		control_fail(request, CONTROL_INVALID_PARAMS,
			json_pack("{s:o}", "key", control_text(key)),
			"%.64s: no such parameter; help lists them", key);
		return false;
	}
	return true;
}

/* --- requests that are answered later --- */

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
	return client_unread(client) < OUTPUT_PAUSE_BYTES;
}

void
control_when_writable(
	struct control_request *request, void (*writable)(void *context), void *context)
{
	request->writable = writable;
	request->writable_context = context;
	request->writable_round = client_requests(request->client)->writable_round;
	client_look(request->client); /* it may have read everything already */
}

void
requests_writable(struct client *client)
{
	struct requests *requests = client_requests(client);
	unsigned round = requests->writable_round++;
	struct control_request *request = requests->first;

	/* Whoever is called may end its own request, or ask to be called again: begin again after
	   each, and leave those that asked in this round to the next. */
	while (request != NULL && client_unread(client) < OUTPUT_PAUSE_BYTES) {
		void (*writable)(void *context) = request->writable;

		if (writable == NULL || request->writable_round != round) {
			request = request->next;
			continue;
		}
		request->writable = NULL;
		writable(request->writable_context);
		request = requests->first;
	}
	/* Those that were not reached are the first ones next time. */
	for (request = requests->first; request != NULL; request = request->next)
		request->writable_round = requests->writable_round;
}

void
requests_end(struct client *client)
{
	struct requests *requests = client_requests(client);

	while (requests->first != NULL) {
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freeing one takes it off the list */
		void (*ended)(void *context) = requests->first->ended;
		void *context = requests->first->context;

		request_free(requests->first);
		if (ended != NULL)
			ended(context);
	}
}

/* --- methods that are about the socket itself --- */

void
method_HELLO(struct control_request *request, const json_t *params)
{
	if (!control_params_known(request, params, (const char *const[]){NULL}))
		return;
	control_answer(
		request, json_pack("{s:s, s:s, s:i, s:s}", "program", "sluiced", "version",
				 SLUICE_VERSION, "protocol", PROTOCOL_VERSION, "access",
				 control_may(request) == CONTROL_CHANGE ? "change" : "look"));
}

void
method_HELP(struct control_request *request, const json_t *params)
{
	json_t *list;

	if (!control_params_known(request, params, (const char *const[]){NULL}))
		return;
	list = json_array();
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
	const json_t *id = json_object_get(params, "id");
	struct control_request *other = client_requests(request->client)->first;

	if (!control_params_known(request, params, (const char *const[]){"id", NULL}))
		return;
	while (other != NULL && (other == request || !other->kept || !json_equal(other->id, id)))
		other = other->next;
	if (other == NULL) {
		control_fail(request, CONTROL_CONFLICT, json_pack("{s:s}", "key", "id"),
			"no request with that id is open");
		return;
	}
	{
		void (*ended)(void *context) = other->ended;
		void *context = other->context;

		control_answer(other, json_pack("{s:b}", "cancelled", 1));
		if (ended != NULL)
			ended(context);
	}
	control_answer(request, json_object());
}

/* --- what a line asks --- */

/* Whether brackets outside of strings are nested deeper than anything we ask for. */
static bool
is_nested(const char *line, size_t length)
{
	unsigned depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < length; i++) {
		char byte = line[i];

		if (quoted) {
			if (byte == '\\')
				i++;
			else if (byte == '"')
				quoted = false;
		} else if (byte == '"') {
			quoted = true;
		} else if (byte == '[' || byte == '{') {
			if (++depth > NESTING_MAX)
				return true;
		} else if ((byte == ']' || byte == '}') && depth > 0) {
			depth--;
		}
	}
	return false;
}

static bool
is_id(const json_t *id)
{
	return id == NULL || json_is_number(id) || json_is_null(id) ||
	       (json_is_string(id) && json_string_length(id) <= ID_MAX_BYTES);
}

/* @return what is wrong with a request as such, NULL when nothing is */
static const char *
request_fault(const json_t *request)
{
	static const char *const members[] = {"jsonrpc", "id", "method", "params"};
	const char *version = json_string_value(json_object_get(request, "jsonrpc"));
	size_t known = 0;

	if (!json_is_object(request) || version == NULL || strcmp(version, "2.0") != 0 ||
		!json_is_string(json_object_get(request, "method")))
		return "want {\"jsonrpc\": \"2.0\", \"id\": ..., \"method\": ...}";
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		known += json_object_get(request, members[i]) != NULL;
	if (known != json_object_size(request))
		return "a request has no members but jsonrpc, id, method and params";
	if (!is_id(json_object_get(request, "id")))
		return "id: want a number or a string of at most 1024 bytes";
	return NULL;
}

static const struct method *
method_find(const char *name)
{
	for (unsigned i = 0; i < METHOD_COUNT; i++)
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	return NULL;
}

static void
request_run(struct client *client, const struct method *method, json_t *id, const json_t *params)
{
	struct requests *requests = client_requests(client);
	struct control_request *request = calloc(1, sizeof(*request));

	if (request == NULL) {
		client_error(client, id, CONTROL_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	request->client = client;
	request->id = json_incref(id);
	request->next = requests->first;
	if (request->next != NULL)
		request->next->previous = request;
	requests->first = request;
	requests->count++;
	method->run(request, params);
}

/* @param id NULL for a notification, whose errors nobody wants to hear */
static void
request_dispatch(struct client *client, const char *name, json_t *id, const json_t *params)
{
	const struct method *method = method_find(name);
	enum control_error code;
	const char *message;

	if (method == NULL) {
		code = CONTROL_METHOD_NOT_FOUND;
		message = "no such method; help lists them";
	} else if (params != NULL && !json_is_object(params)) {
		code = CONTROL_INVALID_PARAMS;
		message = "params must be an object";
	} else if (method->access > client_peer(client)->access) {
		code = CONTROL_NOT_PERMITTED;
		message = "you may only look";
	} else {
		request_run(client, method, id, params);
		return;
	}
	if (id != NULL)
		client_error(client, id, code, NULL, message);
}

void
request_line(struct client *client, const char *line, size_t length)
{
	json_error_t where;
	json_t *request, *id;
	const char *fault;

	if (is_nested(line, length)) {
		request_error(client, CONTROL_PARSE_ERROR, "nested deeper than 32 levels");
		return;
	}
	request = json_loadb(line, length, JSON_REJECT_DUPLICATES, &where);
	if (request == NULL) {
		request_error(client, CONTROL_PARSE_ERROR, where.text);
		return;
	}
	id = json_object_get(request, "id");
	fault = request_fault(request);
	if (fault != NULL)
		client_error(client, is_id(id) ? id : NULL, CONTROL_INVALID_REQUEST, NULL, fault);
	else
		request_dispatch(client, json_string_value(json_object_get(request, "method")), id,
			json_object_get(request, "params"));
	json_decref(request);
}
