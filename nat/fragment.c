/* SPDX-License-Identifier: BSD-3-Clause */
#include "nat/fragment.h"

#include <rte_malloc.h>

struct fragment_table {
	struct fragment_exits exits;
};

struct fragment_table *
fragment_table_create(uint32_t datagrams, const struct flow_secret *secret,
	const struct fragment_exits *exits, int socket_id)
{
	struct fragment_table *table =
		rte_zmalloc_socket("fragments", sizeof(*table), 0, socket_id);

	(void)datagrams, (void)secret;
	if (table != NULL)
		table->exits = *exits;
	return table;
}

void
fragment_table_free(struct fragment_table *table)
{
	rte_free(table);
}

unsigned
fragment_steer(const struct flow_secret *secret, const struct rte_mbuf *mbuf, unsigned workers)
{
	(void)secret, (void)mbuf, (void)workers;
	return 0;
}

struct rte_mbuf *
fragment_take(struct fragment_table *table, struct rte_mbuf *mbuf, struct account *account,
	uint32_t limit, uint32_t now_ms, uint32_t deadline_ms, struct rte_mempool *pool)
{
	(void)account, (void)limit, (void)now_ms, (void)deadline_ms, (void)pool;
	table->exits.drop(table->exits.context, mbuf, REASON_FRAGMENT);
	return NULL;
}

unsigned
fragment_expire(struct fragment_table *table, uint32_t now_ms, unsigned budget)
{
	(void)table, (void)now_ms, (void)budget;
	return 0;
}

uint32_t
fragment_count(const struct fragment_table *table)
{
	(void)table;
	return 0;
}

unsigned
fragment_split(struct rte_mbuf *mbuf, uint16_t mtu, uint32_t identification,
	struct rte_mempool *pool, struct rte_mbuf **out, unsigned out_max)
{
	(void)mtu, (void)identification, (void)pool, (void)out, (void)out_max;
	rte_pktmbuf_free(mbuf);
	return 0;
}
