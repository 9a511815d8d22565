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
 * A fragment survives with PACKET_FRAGMENT: `tuple` has addresses and the protocol (IPv6: the next
 * header of the fragment header), `l4_offset` and `payload_offset` are where its part of the
 * datagram starts (IPv6: behind the fragment header). IPv6 packets that are a fragment and whole at
 * the same time lose their fragment header.
 *
 * @return how many survived
 */
unsigned parse_burst(struct rte_mbuf **burst, unsigned count);

/**
 * Parse a datagram that was put together from fragments. As parse_burst, and `fragment_size` stays
 * what it is.
 *
 * @return REASON_NONE or why it is rejected, which is in `reason` too
 */
enum reason parse_datagram(struct rte_mbuf *mbuf);

/**
 * Take the fragment header at @p at out of an IPv6 frame. The headers before it have been parsed,
 * and all of it lies in the first segment.
 *
 * The frame becomes eight bytes shorter at its start; next header and payload length are corrected.
 */
void parse_cut_fragment_header(struct rte_mbuf *mbuf, uint32_t l3_offset, uint32_t at);
