/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DNS answers on their way to a qube, read before the qube gets them.
 *
 * A qube whose rules name hosts asks a resolver, is told an address and connects at once. What it
 * is told is entered into its table of addresses (classifier/names.h) while the answer passes, so
 * the connection finds it there, on whichever worker.
 *
 * Believed is only what answers a question: it comes from a resolver of the configuration, to a
 * port from which the qube has asked that resolver, with the number and the question of one of the
 * qube's last questions from there, letter for letter. The first answer to a question is the only
 * one, whether it has addresses or not, and it must come soon. So whoever would make a name his own
 * has to forge what the qube's own resolver would take, too. And it counts for that qube and for
 * names of its rules alone.
 *
 * That keeps others from speaking to a qube that means well. A qube that tells its questions to
 * somebody beyond the uplink who can send as the resolver gets any address for the names of its own
 * rules; docs of dsthost say so.
 *
 * DNS over TCP, TLS or HTTPS is not read; what is answered there is found out by our own asking.
 */
#pragma once

#include "app/worker.h"
#include "nat/dns.h"

/** Whether a flow may be one to a resolver: for every packet. */
static inline bool
flow_may_be_dns(const struct flow *flow)
{
	return flow->port[DIRECTION_ORIGINAL][1] == DNS_PORT && flow->protocol == IPPROTO_UDP;
}

/** Forget what is of no use, a qube at a time: called now and then by one worker. */
void learn_service(struct worker *worker);

/** Look into a packet of a flow that may be one to a resolver; its direction is known. */
void learn_packet(struct worker *worker, const struct rte_mbuf *mbuf, struct flow *flow);
