/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Datagrams of the firewall's own, such as its questions to resolvers.
 *
 * The uplink belongs to the data plane, and the kernel is deaf there: so what sluiced itself has to
 * say goes through a worker. It leaves under the uplink's address from an external port that is
 * claimed in the table of bindings like that of any qube, and belongs to QUBE_OWN. No flow is
 * opened for it: an answer is a packet that has no flow, on which a worker would end it. Only there
 * it is looked at whether it is from exactly whom we have asked, to exactly the port we have asked
 * from. So packets that pass cost nothing more.
 *
 * Sockets are opened, closed and read by the control thread, and looked at by all workers; a socket
 * is one word. Answers go to the control thread in records of a fixed number: when it does not read
 * them, more are lost, as with any socket.
 */
#pragma once

#include "app/worker.h"

/* Whose bindings of our own are: the index of no qube. */
#define QUBE_OWN (QUBE_NONE - 1)

#define OWN_SOCKETS 32
/* Answers that may wait, and how long each may be (RFC 6891 section 6.2.5: 4096 is asked for). */
#define OWN_ANSWERS 64
#define OWN_DATAGRAM_MAX 4096

struct own_udp;

struct own_answer {
	unsigned socket;
	uint16_t length;
	uint8_t bytes[OWN_DATAGRAM_MAX];
};

/** Be ready for sockets. Control thread, before workers run. @return NULL with errno */
struct own_udp *own_udp_create(void);
/** No worker may be running. NULL is fine. */
void own_udp_free(struct own_udp *own);

/** A descriptor that is readable while there are answers. */
int own_udp_fd(const struct own_udp *own);

/**
 * Open a socket for one resolver, at a random external port.
 * @return its number, -ENFILE when all are open, -EADDRINUSE without a free port
 */
int own_udp_open(struct dataplane *dataplane, rte_be32_t server, rte_be16_t port);
void own_udp_close(struct dataplane *dataplane, unsigned socket);

/** The next answer; NULL if there is none. Goes back with own_udp_done. */
struct own_answer *own_udp_next(struct own_udp *own);
void own_udp_done(struct own_udp *own, struct own_answer *answer);
/** Not all answers were taken: the descriptor is to be readable again. */
void own_udp_later(struct own_udp *own);

/**
 * Send a datagram from a socket. By a worker, between two bursts.
 * @return 0, -EAGAIN while the next hop has not said its MAC, -EHOSTUNREACH without a way
 */
int own_udp_send(struct worker *worker, unsigned socket, const void *payload, uint16_t length);

/** Take a packet without a flow if it is an answer to us. @return false: it is the caller's */
bool own_udp_takes(struct worker *worker, struct rte_mbuf *mbuf);
