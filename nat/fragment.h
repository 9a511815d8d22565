/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IP fragments: put together before anything is judged, taken apart again on the way out.
 *
 * One table per worker, for the datagrams that fragment_steer gives it. A datagram is named by
 * source, destination, identification and protocol (IPv6: without the protocol), and by the port
 * it comes in on: nobody can finish or spoil on one port what somebody else has begun on another.
 * Its fragments are kept in order; any overlap but an exact repetition ends the whole datagram, and
 * whatever else comes of it until its time is over (RFC 5722). Nothing is judged, forwarded or
 * answered before the datagram is whole.
 */
#pragma once

#include "classifier/budget.h"
#include "nat/flow.h"

/* Fragments of one datagram: 65,535 bytes in pieces of 576. */
#define FRAGMENTS_PER_DATAGRAM 128

struct fragment_table;

/*
 * What happens to fragments on their way; called for each packet at most once, and not to call back
 * into the table.
 */
struct fragment_exits {
	/* it ends, with the reason; takes the mbuf */
	void (*drop)(void *context, struct rte_mbuf *mbuf, enum reason reason);
	/* it becomes part of a datagram, whose first fragment goes on; must not free it */
	void (*joined)(void *context, const struct rte_mbuf *mbuf);
	void *context;
};

/**
 * @param datagrams how many may wait at once, at least one. More make others end: the oldest of the
 *	account that has most waiting, which is the same account's if no other has more
 * @return NULL and errno on failure
 */
struct fragment_table *fragment_table_create(uint32_t datagrams, const struct flow_secret *secret,
	const struct fragment_exits *exits, int socket_id);
/**
 * Free the table (NULL is fine) and all that waits in it, without calling any exit. The accounts
 * must still be there: they get back what it took from them.
 */
void fragment_table_free(struct fragment_table *table);

/** How many mbufs may wait at most in a table for @p datagrams: what its pool must hold for it. */
uint32_t fragment_table_mbufs(uint32_t datagrams);

/** The worker that puts the datagram of this fragment together: a keyed hash of its name. */
unsigned fragment_steer(
	const struct flow_secret *secret, const struct rte_mbuf *mbuf, unsigned workers);

/**
 * Take a fragment (PACKET_FRAGMENT) that guard has passed.
 *
 * Every mbuf that waits takes one of BUDGET_FRAGMENTS of @p account: one for each fragment, unless
 * it is longer than an mbuf. At the limit the oldest datagram of that account ends for it. A
 * datagram that has ended but whose name is remembered takes one. A frame that lies in a receive
 * ring (external buffer) is copied into an mbuf of @p pool first.
 * @param account who sent it: the same for all fragments of one name; must outlive the table
 * @param deadline_ms when a datagram that starts with this fragment ends unfinished
 * @return the whole datagram, as a chain that starts with the first fragment's frame, lengths and
 *	header checksum right, no fragment header, `fragment_size` and `fragment_id` set and
 *`serial` that of the fragment that made it whole (whose own goes to the first one), everything
 *else of its struct packet to be parsed anew (parse_datagram); NULL while parts are missing
 */
struct rte_mbuf *fragment_take(struct fragment_table *table, struct rte_mbuf *mbuf,
	struct account *account, uint32_t limit, uint32_t now_ms, uint32_t deadline_ms,
	struct rte_mempool *pool);

/** End datagrams whose time is over, at most @p budget of them. @return how many */
unsigned fragment_expire(struct fragment_table *table, uint32_t now_ms, unsigned budget);

/** In how many ms fragment_expire has something to do, but no more than @p most_ms. */
uint32_t fragment_due_ms(const struct fragment_table *table, uint32_t now_ms, uint32_t most_ms);

/** End datagrams that have come, as far as they have, from ports that are gone. */
void fragment_forget(struct fragment_table *table,
	bool (*is_gone)(const void *context, uint16_t port), const void *context,
	enum reason reason);

/** How many fragments wait. */
uint32_t fragment_count(const struct fragment_table *table);

/**
 * Take a whole packet apart so that no part is longer than @p mtu, in the order of their offsets,
 * each with the Ethernet header of the whole. Frees @p mbuf in any case. Checksums must be complete
 * (no RTE_MBUF_F_RX_L4_CKSUM_NONE).
 *
 * A packet that fits becomes one part, which is no fragment. DF stays as it is.
 * @param mtu longest IP packet, bytes; less than 68, IPv6 1280, is taken for that, since every link
 *	carries it (RFC 791, RFC 8200 section 5)
 * @param identification for the fragments, 16 bits of it for IPv4
 * @param out the fragments, from @p pool, `serial`, `in_port` and `out_port` copied from the packet
 * @return how many, 0 when they do not fit @p out_max or the pool is empty
 */
unsigned fragment_split(struct rte_mbuf *mbuf, uint16_t mtu, uint32_t identification,
	struct rte_mempool *pool, struct rte_mbuf **out, unsigned out_max);
