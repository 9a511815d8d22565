/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket: JSON-RPC 2.0, one object per line, over a unix stream socket.
 */
#pragma once

#include "app/daemon.h"

/**
 * Make the directory of the socket, such as /run/sluice, if it is not there. Members of the groups
 * may get through it. What cannot be done is told by whoever needs it.
 */
void control_prepare(const struct conf *conf);

/**
 * Make the socket @p path, for root and the groups of the configuration. Nobody is answered yet.
 * @return 0 or -errno, reported: -EADDRINUSE when somebody answers there already
 */
int control_open(const char *path, struct event_base *base, struct daemon *daemon,
	const struct report *report, struct control **out);

/** Listen. @return 0 or -errno, reported */
int control_serve(struct control *control, const struct report *report);

/** Close all connections and remove the socket. */
void control_close(struct control *control);
