/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fragments for tests: whole packets and their parts, and what becomes of each.
 *
 * Packets are built byte by byte, cut byte by byte, and go through the parser before the table sees
 * them, as they do in life. Each fragment has a number; the exits of the table note what became of
 * it, and nothing may become of it twice. fragments_end fails the test if a single mbuf is in use
 * or a unit of anybody's budget taken.
 *
 * The state is one for the whole program; tests set what they want to be different.
 */
#pragma once

#include "classifier/parse.h"
#include "nat/fragment.h"
#include "tests/unit/frames.h"

#define ETHER 14
#define PACKET_DATA_MAX 65535
#define PACKET_FRAME_MAX (ETHER + 40 + PACKET_DATA_MAX)
#define TIMEOUT_MS 30000
#define SENDERS 64

extern struct rte_mempool *pool;
extern struct fragment_table *table;
extern const struct flow_secret secret;
extern const struct fragment_exits exits;
extern struct account accounts[SENDERS];
/* for the fragments that follow */
extern struct account *account;
extern uint32_t limit;
extern uint32_t now_ms;

/** Start EAL and create the pool. Exits on failure. */
void fragments_setup(void);

/** A new table; the first account, a limit of 4096. */
void fragments_begin(uint32_t datagrams);

/** Free the table with whatever still waits; nothing may be left over. */
void fragments_end(void);

/* What became of each fragment, by its number. */
enum fate { FATE_NONE, FATE_GIVEN, FATE_JOINED, FATE_WHOLE, FATE_DROPPED /* plus reason */ };
#define FATES_MAX (1u << 22)
#define DROPPED(reason) ((unsigned)FATE_DROPPED + REASON_##reason)

extern uint8_t *fates;
extern uint32_t serial; /* of the next fragment */

/** What became of the fragment given last but @p back. */
unsigned fate(uint32_t back);

/* A whole packet as it lies on the wire. Checksums need not be right before it is compared. */
struct whole {
	enum family family;
	uint16_t port; /* it comes in on */
	uint32_t id;   /* of its fragments, and of the whole of IPv4 */
	uint32_t head; /* what goes before every part: Ethernet, IP, hop-by-hop options */
	uint32_t next; /* IPv6: where the byte is that names what follows upon them */
	uint32_t length;
	uint8_t bytes[PACKET_FRAME_MAX];
};

/** The one that most tests use. */
extern struct whole whole;

uint16_t get16(const uint8_t *at);

/** Make the checksum of an IPv4 header right. */
void ipv4_sum(uint8_t *ip);

/**
 * A packet with @p data random bytes behind those headers that every part has; as UDP it is from
 * port 40000 to 53.
 * @param extra bytes of IPv4 options (NOP) or IPv6 hop-by-hop options (Pad1 and PadN)
 */
void whole_build(
	struct whole *built, enum family family, uint8_t protocol, uint32_t data, uint32_t extra);

/* A part of a packet's data. */
struct step {
	uint32_t offset, length;
	bool more;
};

extern uint8_t part_bytes[PACKET_FRAME_MAX];
extern uint32_t part_length;

/** Put a part of the data as a fragment into part_bytes. */
void part_slice(const struct whole *of, uint32_t offset, uint32_t length, bool more);

/** Bytes of the IP packet that brings a part of @p length bytes of data. */
uint32_t part_ip_length(const struct whole *of, uint32_t length);

/* How a frame lies in memory: in the pool, in a receive ring, in a chain of mbufs. */
enum form { FORM_POOL, FORM_RING, FORM_CHAIN, FORMS };

extern enum reason refused; /* by the parser, last */

/** part_bytes as an mbuf, parsed. @return NULL when the parser has refused it */
struct rte_mbuf *part_parsed(uint16_t port, enum form form);

/** Give a parsed fragment to the table. @return what the table returns; NULL for NULL */
struct rte_mbuf *part_take(struct rte_mbuf *mbuf);

/** All of it: slice, parse, take; the forms take turns. */
struct rte_mbuf *part_give(const struct whole *of, uint32_t offset, uint32_t length, bool more);

/** The bytes of a chain, which must be a sound one, of plain mbufs. @return their number */
uint32_t chain_flatten(const struct rte_mbuf *mbuf, uint8_t *bytes);

/** A datagram has come together: it must be @p wanted, and parse as that. Frees it. */
void expect_whole(struct rte_mbuf *mbuf, struct whole *wanted, uint32_t fragment_size);
