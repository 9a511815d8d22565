/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Methods of the control socket: what they get and how they answer.
 *
 * A method runs in the control thread, on the event loop. It checks all its parameters before it
 * does anything, and then either
 *
 *	answers at once: control_answer or control_fail, and returns; or
 *	keeps the request: control_keep, and answers later from a callback of its own, perhaps after
 *	many control_notify. The request stays valid until it is answered. When its client leaves or
 *	cancels, `ended` is called once, and the method must not use the request afterwards.
 *
 * A method never blocks, and never asks anything of a worker but by worker_call.
 */
#pragma once

#include <jansson.h>

#include "app/control_methods.h"
#include "app/daemon.h"

enum control_access { CONTROL_LOOK, CONTROL_CHANGE };

/* JSON-RPC 2.0 section 5.1, and our own */
enum control_error {
	CONTROL_PARSE_ERROR = -32700,
	CONTROL_INVALID_REQUEST = -32600,
	CONTROL_METHOD_NOT_FOUND = -32601,
	CONTROL_INVALID_PARAMS = -32602,
	CONTROL_CONFLICT = -32001, /* understood, and cannot be */
	CONTROL_NOT_PERMITTED = -32002,
	CONTROL_UNAVAILABLE = -32003, /* cannot be done now */
	CONTROL_TOO_MANY = -32004,
};

struct control_request;

/** The daemon a request was made to. */
struct daemon *control_daemon(const struct control_request *request);

/** What its client may do. */
enum control_access control_may(const struct control_request *request);

/** `pid 123 uid 0` of its client, for the log; valid while the request is. */
const char *control_peer(const struct control_request *request);

/** Answer with @p result, which is taken. Ends the request. */
void control_answer(struct control_request *request, json_t *result);

/** Answer with an error. @param data taken; NULL: none. Ends the request. */
void control_fail(struct control_request *request, enum control_error code, json_t *data,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

/** A JSON string of any text, also one that is not UTF-8: what is wrong with it becomes `?`. */
json_t *control_text(const char *text);

/**
 * Whether @p params, which may be NULL, has no members but @p names, which NULL ends. Else the
 * request is ended with an error that names the other one.
 */
bool control_params_known(
	struct control_request *request, const json_t *params, const char *const *names);

/** The request is answered later. @param ended called when nobody waits for it any more */
void control_keep(struct control_request *request, void (*ended)(void *context), void *context);

/**
 * Send a notification of a kept request; @p params is taken and gets the member `id`.
 * @return false when the client should be given time to read: go on when `writable` is called
 */
bool control_notify(struct control_request *request, const char *method, json_t *params);

/** Have @p writable called, once, as soon as the client has read most of what it was sent. */
void control_when_writable(
	struct control_request *request, void (*writable)(void *context), void *context);

/** `{REASON: n}` of those that were counted. */
json_t *drops_object(const uint64_t drops[REASON_COUNT]);

#define METHOD_DECLARE(identifier, name, access, parameters, help) \
	void method_##identifier(struct control_request *request, const json_t *params);
METHODS(METHOD_DECLARE)
#undef METHOD_DECLARE
