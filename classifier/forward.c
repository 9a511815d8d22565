/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The forward table: asked for packets to our own addresses that belong to no flow.
 *
 * Most of them are scans, so a bit per port answers first; only a port somebody listens on costs a
 * walk over the forwards, of which there are few.
 */
#include "classifier/forward.h"

#include <netinet/in.h>
#include <stdlib.h>

enum { LISTENS_TCP, LISTENS_UDP, LISTENS_NONE };

static unsigned
listens_index(uint8_t protocol)
{
	return protocol == IPPROTO_TCP ? LISTENS_TCP
				       : (protocol == IPPROTO_UDP ? LISTENS_UDP : LISTENS_NONE);
}

static void
port_set_add(struct port_set *set, uint16_t first, uint16_t last)
{
	for (uint32_t port = first; port <= last; port++)
		set->word[port >> 6] |= UINT64_C(1) << (port & 63);
}

struct forward_table *
forward_table_create(const struct forward *forwards, unsigned count, const struct allow *allows,
	unsigned allow_count, uint64_t now_s)
{
	struct forward_table *table = calloc(1, sizeof(*table));

	if (table == NULL)
		return NULL;
	/* One spare element, so that an empty array is no special case. */
	table->forwards = calloc(count + 1, sizeof(*forwards));
	table->allows = calloc(allow_count + 1, sizeof(*allows));
	if (table->forwards == NULL || table->allows == NULL) {
		forward_table_free(table);
		return NULL;
	}
	for (unsigned i = 0; i < count; i++) {
		const struct forward *forward = &forwards[i];
		unsigned protocol = listens_index(forward->protocol);

		if (protocol == LISTENS_NONE ||
			(forward->expire_s != 0 && forward->expire_s <= now_s))
			continue;
		table->forwards[table->count++] = *forward;
		if (forward->hits != NULL)
			hits_ref(forward->hits);
		port_set_add(
			&table->listens[forward->side][protocol], forward->first, forward->last);
		port_set_add(&table->reserved[protocol], forward->first, forward->last);
	}
	for (unsigned i = 0; i < allow_count; i++)
		table->allows[table->allow_count++] = allows[i];
	return table;
}

void
forward_table_free(struct forward_table *table)
{
	if (table == NULL)
		return;
	for (unsigned i = 0; table->forwards != NULL && i < table->count; i++)
		hits_unref(table->forwards[i].hits);
	free(table->forwards);
	free(table->allows);
	free(table);
}

const struct forward *
forward_find(const struct forward_table *table, enum forward_side side, const struct tuple *tuple)
{
	unsigned protocol = listens_index(tuple->protocol);
	uint16_t port = rte_be_to_cpu_16(tuple->destination_port);

	if (protocol == LISTENS_NONE || !port_set_has(&table->listens[side][protocol], port))
		return NULL;
	for (unsigned i = 0; i < table->count; i++) {
		const struct forward *forward = &table->forwards[i];

		if (forward->side != side || forward->protocol != tuple->protocol ||
			port < forward->first || port > forward->last)
			continue;
		if (!forward->has_source ||
			(forward->source_family == tuple->family &&
				prefix_contains(&forward->source, &tuple->source)))
			return forward;
	}
	return NULL;
}

rte_be16_t
forward_target_port(const struct forward *forward, rte_be16_t port)
{
	uint16_t offset = (uint16_t)(rte_be_to_cpu_16(port) - forward->first);

	return rte_cpu_to_be_16(
		(uint16_t)(forward->target_first + (forward->target_single ? 0 : offset)));
}

bool
forward_allows(const struct forward_table *table, uint16_t from, uint16_t to, uint8_t protocol,
	rte_be16_t destination_port)
{
	uint16_t port = rte_be_to_cpu_16(destination_port);
	uint8_t same = protocol == IPPROTO_ICMPV6 ? IPPROTO_ICMP : protocol;

	for (unsigned i = 0; i < table->allow_count; i++) {
		const struct allow *allow = &table->allows[i];

		if (allow->from == from && allow->to == to &&
			(allow->protocol == 0 || allow->protocol == same) && port >= allow->first &&
			port <= allow->last)
			return true;
	}
	return false;
}

const struct port_set *
forward_reserved(const struct forward_table *table, uint8_t protocol)
{
	unsigned index = listens_index(protocol);

	return index == LISTENS_NONE ? NULL : &table->reserved[index];
}

uint64_t
forward_next_expiry(const struct forward_table *table)
{
	uint64_t next = 0;

	for (unsigned i = 0; i < table->count; i++)
		if (table->forwards[i].expire_s != 0 &&
			(next == 0 || table->forwards[i].expire_s < next))
			next = table->forwards[i].expire_s;
	return next;
}
