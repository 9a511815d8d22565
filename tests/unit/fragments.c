/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fragments for tests. See fragments.h.
 */
#include "tests/unit/fragments.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>

#define LIMIT 4096

struct rte_mempool *pool;
struct fragment_table *table;
struct account accounts[SENDERS];
struct account *account = &accounts[0];
uint32_t limit = LIMIT;
uint32_t now_ms;
const struct flow_secret secret = {.word = {11, 22, 33, UINT64_C(0xfedcba9876543210)}};

/* --- what became of each fragment --- */

uint8_t *fates;
uint32_t serial;

static void
fate_set(uint32_t of, unsigned fate)
{
	if (of >= FATES_MAX || fates[of] != FATE_GIVEN) {
		CU_FAIL("a fragment ends twice, or never began");
		return;
	}
	fates[of] = (uint8_t)fate;
}

static void
on_drop(void *context, struct rte_mbuf *mbuf, enum reason reason)
{
	CU_ASSERT_PTR_EQUAL(context, &table);
	fate_set(packet_of(mbuf)->serial, FATE_DROPPED + reason);
	rte_pktmbuf_free(mbuf);
}

static void
on_joined(void *context, const struct rte_mbuf *mbuf)
{
	CU_ASSERT_PTR_EQUAL(context, &table);
	fate_set(packet_of((struct rte_mbuf *)(uintptr_t)mbuf)->serial, FATE_JOINED);
}

const struct fragment_exits exits = {.drop = on_drop, .joined = on_joined, .context = &table};

unsigned
fate(uint32_t back)
{
	return fates[serial - 1 - back];
}

void
fragments_begin(uint32_t datagrams)
{
	table = fragment_table_create(datagrams, &secret, &exits, SOCKET_ID_ANY);
	CU_ASSERT_PTR_NOT_NULL_FATAL(table);
	account = &accounts[0];
	limit = LIMIT;
	now_ms = 1000;
}

void
fragments_end(void)
{
	fragment_table_free(table);
	table = NULL;
	for (unsigned i = 0; i < SENDERS; i++)
		CU_ASSERT_EQUAL(budget_used(&accounts[i], BUDGET_FRAGMENTS), 0);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 0);
}

/* --- whole packets and parts of them --- */

struct whole whole;
uint8_t part_bytes[PACKET_FRAME_MAX];
uint32_t part_length;

uint16_t
get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

void
ipv4_sum(uint8_t *ip)
{
	put16(ip + 10, 0);
	put16(ip + 10, (uint16_t)~frame_sum(0, ip, (ip[0] & 15u) * 4));
}

void
whole_build(
	struct whole *built, enum family family, uint8_t protocol, uint32_t data, uint32_t extra)
{
	static const uint8_t addresses[] = {10, 137, 0, 16, 192, 0, 2, 7};
	static const uint8_t addresses6[] = {0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
		0x20, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7};
	uint8_t *ip = built->bytes + ETHER;
	uint8_t *l4;

	*built = (struct whole){
		.family = family, .port = 3, .id = family == FAMILY_IPV4 ? 0x1234 : 0x12345678};
	memset(built->bytes, 0x22, 12);
	put16(built->bytes + 12, family == FAMILY_IPV4 ? 0x0800 : 0x86dd);
	if (family == FAMILY_IPV4) {
		built->head = ETHER + 20 + extra;
		ip[0] = (uint8_t)(0x45 + extra / 4);
		put16(ip + 2, 20 + extra + data);
		put16(ip + 4, built->id);
		ip[8] = 64;
		ip[9] = protocol;
		memcpy(ip + 12, addresses, sizeof(addresses));
		memset(ip + 20, 1, extra);
		ipv4_sum(ip);
	} else {
		built->head = ETHER + 40 + extra;
		built->next = extra == 0 ? ETHER + 6 : ETHER + 40;
		ip[0] = 0x60;
		put16(ip + 4, extra + data);
		ip[6] = extra == 0 ? protocol : IPPROTO_HOPOPTS;
		ip[7] = 64;
		memcpy(ip + 8, addresses6, sizeof(addresses6));
		if (extra != 0) {
			ip[40] = protocol;
			ip[41] = (uint8_t)(extra / 8 - 1);
		}
	}
	built->length = built->head + data;
	l4 = built->bytes + built->head;
	for (uint32_t i = 0; i < data; i++)
		l4[i] = (uint8_t)(rand() >> 7);
	if (protocol == IPPROTO_UDP && data >= 8) {
		put16(l4, 40000);
		put16(l4 + 2, 53);
		put16(l4 + 4, data);
	}
}

void
part_slice(const struct whole *of, uint32_t offset, uint32_t length, bool more)
{
	uint8_t *ip = part_bytes + ETHER;

	memcpy(part_bytes, of->bytes, of->head);
	part_length = of->head;
	if (of->family == FAMILY_IPV4) {
		put16(ip + 2, of->head - ETHER + length);
		put16(ip + 4, of->id);
		put16(ip + 6,
			(uint32_t)(get16(ip + 6) & 0xc000) | (more ? 0x2000 : 0) | offset / 8);
		ipv4_sum(ip);
	} else {
		part_bytes[part_length] = of->bytes[of->next];
		part_bytes[part_length + 1] = 0;
		part_bytes[of->next] = IPPROTO_FRAGMENT;
		put16(part_bytes + part_length + 2, offset | more);
		put16(part_bytes + part_length + 4, of->id >> 16);
		put16(part_bytes + part_length + 6, of->id & 0xffff);
		part_length += 8;
		put16(ip + 4, part_length - ETHER - 40 + length);
	}
	if (of->head + offset + length <= PACKET_FRAME_MAX)
		memcpy(part_bytes + part_length, of->bytes + of->head + offset, length);
	else /* beyond what any packet can be */
		memset(part_bytes + part_length, 0, length);
	part_length += length;
}

enum reason refused;

struct rte_mbuf *
part_parsed(uint16_t port, enum form form)
{
	struct rte_mbuf *mbuf;

	if (form == FORM_RING && part_length < 60000)
		mbuf = frame_mbuf_tight(pool, part_bytes, part_length);
	else if (form == FORM_CHAIN) /* all headers, and no more or a little */
		mbuf = frame_mbuf_chain(pool, part_bytes, part_length,
			RTE_MIN(part_length, 14 + 40 + 24 + 8 + 24 + 20u + serial % 5), 700);
	else
		mbuf = frame_mbuf(pool, part_bytes, part_length);
	packet_of(mbuf)->in_port = port;
	packet_of(mbuf)->serial = serial;
	refused = REASON_NONE;
	if (parse_burst(&mbuf, 1) == 0) {
		refused = packet_of(mbuf)->reason;
		rte_pktmbuf_free(mbuf);
		return NULL;
	}
	CU_ASSERT((packet_of(mbuf)->flags & PACKET_FRAGMENT) != 0);
	return mbuf;
}

struct rte_mbuf *
part_take(struct rte_mbuf *mbuf)
{
	uint32_t own;

	if (mbuf == NULL)
		return NULL;
	if (serial + 1 >= FATES_MAX)
		abort();
	own = packet_of(mbuf)->serial;
	fates[own] = FATE_GIVEN;
	serial++;
	mbuf = fragment_take(table, mbuf, account, limit, now_ms, now_ms + TIMEOUT_MS, pool);
	if (mbuf != NULL)
		fate_set(packet_of(mbuf)->serial, FATE_WHOLE);
	return mbuf;
}

struct rte_mbuf *
part_give(const struct whole *of, uint32_t offset, uint32_t length, bool more)
{
	part_slice(of, offset, length, more);
	return part_take(part_parsed(of->port, (enum form)(serial % FORMS)));
}

uint32_t
chain_flatten(const struct rte_mbuf *mbuf, uint8_t *bytes)
{
	const char *why;
	uint32_t length = 0;

	CU_ASSERT_EQUAL_FATAL(rte_mbuf_check(mbuf, 1, &why), 0);
	CU_ASSERT_FATAL(mbuf->pkt_len <= PACKET_FRAME_MAX);
	for (; mbuf != NULL; mbuf = mbuf->next) {
		memcpy(bytes + length, rte_pktmbuf_mtod(mbuf, const uint8_t *), mbuf->data_len);
		length += mbuf->data_len;
		CU_ASSERT(mbuf->data_len > 0);
		CU_ASSERT(!RTE_MBUF_HAS_EXTBUF(mbuf));
	}
	return length;
}

void
expect_whole(struct rte_mbuf *mbuf, struct whole *wanted, uint32_t fragment_size)
{
	static uint8_t bytes[PACKET_FRAME_MAX];
	struct packet *packet;
	uint32_t length;

	CU_ASSERT_PTR_NOT_NULL(mbuf);
	if (mbuf == NULL)
		return;
	if (wanted->family == FAMILY_IPV4) {
		put16(wanted->bytes + ETHER + 4, wanted->id);
		ipv4_sum(wanted->bytes + ETHER);
	}
	packet = packet_of(mbuf);
	length = chain_flatten(mbuf, bytes);
	CU_ASSERT_EQUAL(length, wanted->length);
	CU_ASSERT(length == wanted->length && memcmp(bytes, wanted->bytes, length) == 0);
	CU_ASSERT_EQUAL(packet->fragment_size, fragment_size);
	/* and it goes on like any packet */
	packet->reason = 99;
	CU_ASSERT_EQUAL(parse_datagram(mbuf), REASON_NONE);
	CU_ASSERT_EQUAL(packet->reason, REASON_NONE);
	CU_ASSERT_EQUAL(packet->frame_length, wanted->length);
	CU_ASSERT_EQUAL(packet->flags & ~PACKET_DF, 0);
	CU_ASSERT_EQUAL(packet->in_port, wanted->port);
	CU_ASSERT_EQUAL(packet->fragment_size, fragment_size);
	if (packet->tuple.protocol == IPPROTO_UDP) {
		CU_ASSERT_EQUAL(packet->tuple.source_port, RTE_BE16(40000));
		CU_ASSERT_EQUAL(packet->tuple.destination_port, RTE_BE16(53));
	}
	rte_pktmbuf_free(mbuf);
}

uint32_t
part_ip_length(const struct whole *of, uint32_t length)
{
	return of->head - ETHER + length + (of->family == FAMILY_IPV6 ? 8 : 0);
}

void
fragments_setup(void)
{
	unit_eal();
	fates = calloc(FATES_MAX, 1);
	pool = rte_pktmbuf_pool_create("test", 8191, 0,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN),
		RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (pool == NULL || fates == NULL) {
		fprintf(stderr, "fragments.c: no memory\n");
		exit(1);
	}
}
