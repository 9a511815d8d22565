/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sockets for c-ares that speak through the data plane (app/own_udp.h).
 *
 * c-ares is given one end of a pair of datagram sockets, to wait on and to tell sockets apart by;
 * what it sends does not go there but to a worker, and what comes from a worker is written into the
 * other end. TCP is refused: what an answer by UDP holds has to do.
 */
#pragma once

#include <ares.h>

struct daemon;
struct own_sockets;

/** Control thread. @return 0 or -errno */
int own_sockets_create(struct daemon *daemon, struct own_sockets **out);
/** No channel may be using them, and no worker be running. NULL is fine. */
void own_sockets_free(struct own_sockets *sockets);

/** What ares_set_socket_functions is given, with the sockets as context. */
extern const struct ares_socket_functions own_socket_functions;
