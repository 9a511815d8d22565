/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of the control socket share; nobody else includes this.
 *
 *	control.c          clients: who connects, lines in, lines out, and every limit on them
 *	control_request.c  what a line asks, and the answers to it
 *	control_peer.c     who a client is, and what it may therefore do
 */
#pragma once

#include "app/method.h"

/* The limits of docs/control-socket.md. */
#define LINE_MAX_BYTES (1024 * 1024)
#define NESTING_MAX 32
#define CLIENTS_MAX 64
#define CLIENTS_RESERVED 8 /* of these, for who may change things */
#define REQUESTS_MAX 16    /* of one client that have not been answered */
#define INCOMPLETE_SECONDS 30
#define OUTPUT_MAX_BYTES (4 * 1024 * 1024)
#define UNREAD_SECONDS 60
/* With so much unread, streams wait; they go on when a quarter of it is left. */
#define OUTPUT_PAUSE_BYTES (256 * 1024)
/* More than all requests of a client can be answered with: something has gone wrong. */
#define OUTPUT_ABSURD_BYTES (128 * 1024 * 1024)
#define ID_MAX_BYTES 1024 /* it is repeated in everything a stream sends */
#define PEER_TEXT_SIZE 64

struct client;

/* Who has connected. */
struct peer {
	bool may_look;
	enum control_access access; /* when it may look */
	char text[PEER_TEXT_SIZE];  /* `pid 123 uid 0` */
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
	unsigned writable_round; /* of its client when that was asked for */
};

/* The requests of a client, as app/control_request.c keeps them. */
struct requests {
	struct control_request *first; /* that are not answered yet; doubly linked */
	unsigned count;
	unsigned writable_round;
};

/* control_peer.c */

/** Ask the kernel who is behind @p fd, and @p conf what that one may do. */
void peer_identify(int fd, const struct conf *conf, struct peer *peer);

/* control.c */

struct daemon *client_daemon(const struct client *client);
const struct peer *client_peer(const struct client *client);
struct requests *client_requests(struct client *client);

/** Send one message, which is taken; one that could not be made is no message. */
void client_send(struct client *client, json_t *message);

/** Bytes that the client has not taken yet. */
size_t client_unread(const struct client *client);

/** Something that it waited for may have come: have a look at it soon. */
void client_look(struct client *client);

/* control_request.c */

/** Carry out one line; the client is there afterwards. */
void request_line(struct client *client, const char *line, size_t length);

/** Answer something that is no request with an error. */
void request_error(struct client *client, enum control_error code, const char *message);

/** The client has read: let streams that wait go on. */
void requests_writable(struct client *client);

/** The client is gone: end all requests, which cannot send any more. */
void requests_end(struct client *client);

/** An error without a request, as a line for a client that is none. @return length */
int request_error_line(char *line, size_t size, enum control_error code, const char *message);
