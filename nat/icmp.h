/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ICMP and ICMPv6 errors about packets of tracked flows (RFC 5508, RFC 4890).
 */
#pragma once

#include "nat/flow.h"

/**
 * Find out which flow an ICMP error is about.
 *
 * Moves source and destination of the error itself to `packet->outer`, sets `quoted_l4`, and puts
 * into `packet->tuple` that of packets of the same flow that go the same way: the quoted packet's,
 * reversed. The quoted packet must start with a whole IP header whose checksum is right (IPv4
 * options and IPv6 extension headers are skipped), must not be a later fragment, must have come
 * from the one the error is sent to, and must hold 8 bytes of its upper layer. The error must be of
 * a kind that is forwarded, and a path MTU in it may not be below 576 or 1280.
 * @return REASON_NONE; REASON_ICMP_ERROR, with the packet unchanged, when it can be about no flow;
 *	REASON_ICMP_TYPE for what is never forwarded
 */
enum reason icmp_relate(struct rte_mbuf *mbuf);

/**
 * Tell whether the error can be true of its flow, `packet->flow`: a quoted TCP segment must be on
 * its way (RFC 5927), a quoted ICMP query must be one of the flow's.
 */
bool icmp_plausible(const struct rte_mbuf *mbuf);

/**
 * Rewrite a related error for the other side: outer addresses, the quoted packet's addresses, ports
 * and checksums as far as they are quoted, hop limit and all outer checksums. The outer source
 * stays what it is when it is not the flow's own far end: a router on the path.
 */
void icmp_rewrite(struct rte_mbuf *mbuf);
