/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clamping of the TCP maximum segment size, for paths whose MTU nobody is told about.
 */
#pragma once

#include "classifier/packet.h"

/**
 * Lower the MSS option (RFC 9293 section 3.7.1) of a SYN or SYN/ACK to @p mss bytes, with its
 * checksum. Never raises it, never adds one, and looks at the first one only. Other packets are
 * left alone.
 * @param mss host order
 */
void mss_clamp(struct rte_mbuf *mbuf, uint16_t mss);
