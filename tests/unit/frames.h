/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames for tests: built byte by byte, checked byte by byte.
 *
 * Nothing here uses the code under test or DPDK's checksum functions: a test that asks the tested
 * code whether it is right learns nothing. Sums are those of RFC 1071, taken over bytes, slowly.
 */
#pragma once

#include "classifier/address.h"
#include "classifier/packet.h"

#define FRAME_ROOM 10240

/* A frame as it lies on the wire. */
struct frame {
	uint32_t length;
	uint8_t bytes[FRAME_ROOM];
};

/* What a frame says; everything left out is zero, or what its comment names. */
struct frame_spec {
	const uint8_t *destination_mac; /* NULL: six zero bytes */
	const uint8_t *source_mac;
	const char *source; /* address as text: it decides the family */
	const char *destination;
	uint8_t protocol;
	uint8_t ttl;          /* 0: 64 */
	uint16_t source_port; /* ICMP: identifier */
	uint16_t destination_port;
	uint8_t tcp_flags;
	uint8_t tcp_options; /* bytes of NOP, a multiple of four */
	uint8_t type, code;  /* ICMP */
	bool df;
	bool no_checksum;       /* UDP: a checksum of zero */
	uint8_t options_length; /* IPv4 options, a multiple of four */
	const uint8_t *options;
	uint16_t extensions_length; /* IPv6: bytes between header and upper layer */
	uint8_t first_extension;    /* protocol number of the first of them */
	const uint8_t *extensions;
	uint16_t payload; /* bytes behind the upper layer's header: a pattern */
	uint16_t padding; /* bytes behind the IP packet, 0xee */
};

/** Write the lower 16 bits of @p value in network order. */
void put16(uint8_t *at, uint32_t value);

/** Build a frame with right lengths and checksums. */
void frame_build(struct frame *frame, const struct frame_spec *spec);

/** Build an ARP message between @p sender and @p target, IPv4 addresses as text. */
void frame_arp(struct frame *frame, uint16_t opcode, const uint8_t *destination_mac,
	const uint8_t *source_mac, const char *sender, const char *target);

/**
 * Build a neighbour solicitation (type 135) or advertisement (136) with a link-layer option.
 * @param option_mac NULL: no option
 */
void frame_nd(struct frame *frame, uint8_t type, const uint8_t *destination_mac,
	const uint8_t *source_mac, const char *source, const char *destination, const char *target,
	const uint8_t *option_mac);

/* Where things are in a frame, found by a second parser that is simple and strict. */
struct frame_view {
	bool ip; /* IPv4 or IPv6 with consistent lengths, not a fragment */
	enum family family;
	uint8_t protocol;
	uint8_t ttl;
	uint32_t l3, l4, end; /* offsets; end is behind the IP packet */
	union address source, destination;
	uint16_t source_port, destination_port; /* TCP, UDP in host order; else 0 */
};

struct frame_view frame_view(const uint8_t *bytes, uint32_t length);

enum frame_fault {
	FRAME_IP_CHECKSUM = 1 << 0,
	FRAME_L4_CHECKSUM = 1 << 1,
};

/** Verify all checksums of an IP frame from scratch. @return enum frame_fault, 0 = all right */
unsigned frame_faults(const uint8_t *bytes, uint32_t length);

/** Make all checksums right, as far as lengths allow. */
void frame_fix(uint8_t *bytes, uint32_t length);

/** Leave only the pseudo-header sum in the TCP or UDP checksum, as a host with offloads does. */
void frame_make_partial(struct frame *frame);

/** Finish such a checksum, as hardware would, and verify nothing else. */
void frame_complete(uint8_t *bytes, uint32_t length);

/** The one's complement sum of bytes, not complemented, in host order (RFC 1071). */
uint16_t frame_sum(uint32_t start, const uint8_t *bytes, uint32_t length);

/** A frame as one mbuf out of @p pool, chained only if it does not fit into one. */
struct rte_mbuf *frame_mbuf(struct rte_mempool *pool, const uint8_t *bytes, uint32_t length);

/**
 * A frame in an external buffer that ends exactly where the frame does: with AddressSanitizer a
 * read of one byte too many ends the test.
 */
struct rte_mbuf *frame_mbuf_tight(struct rte_mempool *pool, const uint8_t *bytes, uint32_t length);

/** A frame as a chain of mbufs, the first of @p first bytes, the others of at most @p rest. */
struct rte_mbuf *frame_mbuf_chain(struct rte_mempool *pool, const uint8_t *bytes, uint32_t length,
	uint32_t first, uint32_t rest);

/** Put the bytes of an mbuf into @p frame. */
void frame_of_mbuf(struct frame *frame, const struct rte_mbuf *mbuf);

/** The same frame with @p payload bytes behind its headers. */
static inline struct frame_spec
with_payload(struct frame_spec spec, uint16_t payload)
{
	spec.payload = payload;
	return spec;
}
