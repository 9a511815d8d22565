/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port of sluice-replay: frames are handed to the data plane by whoever reads the captures; what
 * the data plane sends is kept until port_replay_flush. See port_replay.c.
 */
#pragma once

#include "app/port.h"

/**
 * Open a replay port.
 * @param name file-safe name of the port; its mac is set by the caller
 * @return 0 or -ENOMEM
 */
int port_replay_open(struct port *port, const uint8_t mac[6]);

/* What port_replay_flush hands out, in order: the frame and the packet that caused it. */
typedef void (*port_replay_fn)(void *context, const struct port *port, uint32_t serial,
	const void *frame, uint32_t length);

/**
 * Hand out all that was sent since the last time, and forget it.
 * @return 0, or -ENOMEM when frames were lost because there was no memory to keep them
 */
int port_replay_flush(struct port *port, port_replay_fn write, void *context);
