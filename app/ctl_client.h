/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client's end of the control socket: requests, answers and streams, one at a time.
 *
 * Who presses Ctrl-C ends a stream, not the program: the stream is cancelled, its answer comes, and
 * there is time for a summary.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

struct client {
	int fd; /* -1: not connected */
	char *input;
	size_t length, capacity;
	json_int_t next_id;
	unsigned patience_ms; /* for an answer */
	json_t *error;        /* of the last call: an error object of JSON-RPC */
};

/** @return 0 or -errno */
int client_open(struct client *client, const char *path);

void client_close(struct client *client);

/**
 * Ask and wait for the answer.
 * @param params taken; NULL: none
 * @param result set on success
 * @return 0; -EREMOTEIO with client->error for an answer that is an error; another -errno when the
 *	connection is lost (-EPIPE), sluiced does not answer (-ETIMEDOUT) or talks nonsense
 *(-EPROTO)
 */
int client_call(struct client *client, const char *method, json_t *params, json_t **result);

/**
 * The same for a method that streams.
 * @param notify called with the params of each notification; whether it wants more
 * @return as client_call; also 0 without a result when it was interrupted or notify wants no more
 */
int client_stream(struct client *client, const char *method, json_t *params,
	bool (*notify)(void *context, const json_t *params), void *context, json_t **result);

/** Have Ctrl-C and SIGTERM end streams instead of the program. */
void client_catch_signals(void);

/** Whether one of them came. */
bool client_interrupted(void);
