/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "classifier/packet.h"
#include "classifier/rule.h"

/**
 * Parse a burst of Ethernet frames into their struct packet.
 *
 * Fills the parse part and clears everything behind it except `in_port` and `serial`, which the
 * receiver of the frame has set. Survivors keep their order at the front of @p burst; rejected
 * packets follow with `reason` set.
 *
 * @return how many survived
 */
unsigned parse_burst(struct rte_mbuf **burst, unsigned count);

/** Parse a datagram that was put together from fragments; keeps `fragment_size` and `fragment_id`.
 */
enum reason parse_datagram(struct rte_mbuf *mbuf);
