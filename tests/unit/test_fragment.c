/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fragments: put together in every order, or not at all.
 *
 * Whole packets and their parts are built here byte by byte, and go through the parser before the
 * table sees them, as they do in life. Each fragment has a number; the exits note what became of
 * it, and nothing may become of it twice. Every test ends with no mbuf in use and no budget taken.
 */
#include "classifier/parse.h"
#include "nat/fragment.h"
#include "tests/unit/frames.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>

#include <rte_ip.h>

#define ETHER 14
#define DATA_MAX 65535
#define FRAME_MAX (ETHER + 40 + DATA_MAX)
#define LIVES (1u << 22)
#define LIMIT 4096
#define TIMEOUT_MS 30000
#define ACCOUNTS 64

static struct rte_mempool *pool;
static struct fragment_table *table;
static struct account accounts[ACCOUNTS];
static struct account *account = &accounts[0];
static uint32_t limit = LIMIT;
static uint32_t now_ms;
static const struct flow_secret secret = {.word = {11, 22, 33, UINT64_C(0xfedcba9876543210)}};

/* --- what became of each fragment --- */

enum fate { FATE_NONE, FATE_GIVEN, FATE_JOINED, FATE_WHOLE, FATE_DROPPED /* plus reason */ };

static uint8_t *fates; /* by serial number */
static uint32_t serial;

static void
fate_set(uint32_t of, unsigned fate)
{
	if (of >= LIVES || fates[of] != FATE_GIVEN) {
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

static const struct fragment_exits exits = {
	.drop = on_drop, .joined = on_joined, .context = &table};

/* What became of the fragment given last but @p back. */
static unsigned
fate(uint32_t back)
{
	return fates[serial - 1 - back];
}

#define DROPPED(reason) ((unsigned)FATE_DROPPED + REASON_##reason)

static void
begin(uint32_t datagrams)
{
	table = fragment_table_create(datagrams, &secret, &exits, SOCKET_ID_ANY);
	CU_ASSERT_PTR_NOT_NULL_FATAL(table);
	account = &accounts[0];
	limit = LIMIT;
	now_ms = 1000;
}

/* Nothing may be left over, whatever still waits. */
static void
end(void)
{
	fragment_table_free(table);
	table = NULL;
	for (unsigned i = 0; i < ACCOUNTS; i++)
		CU_ASSERT_EQUAL(budget_used(&accounts[i], BUDGET_FRAGMENTS), 0);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 0);
}

/* --- whole packets and parts of them --- */

struct whole {
	enum family family;
	uint16_t port; /* it comes in on */
	uint32_t id;
	uint32_t head; /* what goes before every part: Ethernet, IP, hop-by-hop options */
	uint32_t next; /* IPv6: where the byte is that names what follows upon them */
	uint32_t length;
	uint8_t bytes[FRAME_MAX];
};

static struct whole whole;
static uint8_t part_bytes[FRAME_MAX];
static uint32_t part_length;

static void
put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint16_t
get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void
ipv4_sum(uint8_t *ip)
{
	put16(ip + 10, 0);
	put16(ip + 10, (uint16_t)~frame_sum(0, ip, (ip[0] & 15u) * 4));
}

/*
 * A packet with @p data bytes behind those headers that every part has.
 * @param extra bytes of IPv4 options or IPv6 hop-by-hop options
 */
static void
build(struct whole *built, enum family family, uint8_t protocol, uint32_t data, uint32_t extra)
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

/* Bytes @p offset to @p offset + @p length of the data, as a fragment, in part_bytes. */
static void
slice(const struct whole *of, uint32_t offset, uint32_t length, bool more)
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
	if (of->head + offset + length <= FRAME_MAX)
		memcpy(part_bytes + part_length, of->bytes + of->head + offset, length);
	else /* beyond what any packet can be */
		memset(part_bytes + part_length, 0, length);
	part_length += length;
}

enum form { FORM_POOL, FORM_RING, FORM_CHAIN, FORMS };

/* part_bytes as an mbuf, parsed. @return NULL when the parser has refused it, for `refused` */
static enum reason refused;

static struct rte_mbuf *
parsed_part(uint16_t port, enum form form)
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

static struct rte_mbuf *
take(struct rte_mbuf *mbuf)
{
	uint32_t own;

	if (mbuf == NULL)
		return NULL;
	if (serial + 1 >= LIVES)
		abort();
	own = packet_of(mbuf)->serial;
	fates[own] = FATE_GIVEN;
	serial++;
	mbuf = fragment_take(table, mbuf, account, limit, now_ms, now_ms + TIMEOUT_MS, pool);
	if (mbuf != NULL)
		fate_set(packet_of(mbuf)->serial, FATE_WHOLE);
	return mbuf;
}

static struct rte_mbuf *
give(const struct whole *of, uint32_t offset, uint32_t length, bool more)
{
	slice(of, offset, length, more);
	return take(parsed_part(of->port, (enum form)(serial % FORMS)));
}

/* The bytes of a chain, which must be a sound one. @return their number */
static uint32_t
flatten(const struct rte_mbuf *mbuf, uint8_t *bytes)
{
	const char *why;
	uint32_t length = 0;

	CU_ASSERT_EQUAL_FATAL(rte_mbuf_check(mbuf, 1, &why), 0);
	CU_ASSERT_FATAL(mbuf->pkt_len <= FRAME_MAX);
	for (; mbuf != NULL; mbuf = mbuf->next) {
		memcpy(bytes + length, rte_pktmbuf_mtod(mbuf, const uint8_t *), mbuf->data_len);
		length += mbuf->data_len;
		CU_ASSERT(mbuf->data_len > 0);
		CU_ASSERT(!RTE_MBUF_HAS_EXTBUF(mbuf));
	}
	return length;
}

/* A datagram has come together: it must be this one. Frees it. */
static void
expect_whole(struct rte_mbuf *mbuf, struct whole *wanted, uint32_t fragment_size)
{
	static uint8_t bytes[FRAME_MAX];
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
	length = flatten(mbuf, bytes);
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

/* Bytes of the IP packet that brings a part of @p length bytes of data. */
static uint32_t
ip_length(const struct whole *of, uint32_t length)
{
	return of->head - ETHER + length + (of->family == FAMILY_IPV6 ? 8 : 0);
}

/* --- orders --- */

static void
shuffle(unsigned *order, unsigned count)
{
	for (unsigned left = count; left > 1; left--) {
		unsigned pick = (unsigned)rand() % left;
		unsigned swap = order[left - 1];

		order[left - 1] = order[pick];
		order[pick] = swap;
	}
}

/* Give the parts that start at cut[i] and end at cut[i + 1] in an order. */
static void
give_in_order(const uint32_t *cut, const unsigned *order, unsigned count)
{
	uint32_t first_serial = serial;
	struct rte_mbuf *result = NULL;
	uint32_t longest = 0;

	for (unsigned i = 0; i < count; i++) {
		unsigned part = order[i];

		CU_ASSERT_PTR_NULL(result);
		CU_ASSERT_EQUAL(fragment_count(table), i);
		result = give(&whole, cut[part], cut[part + 1] - cut[part], part + 1 < count);
		longest = RTE_MAX(longest, ip_length(&whole, cut[part + 1] - cut[part]));
	}
	CU_ASSERT_EQUAL(fragment_count(table), 0);
	CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 0);
	/* the datagram goes on as the part that came last */
	if (result != NULL)
		CU_ASSERT_EQUAL(packet_of(result)->serial - first_serial, count - 1);
	for (unsigned i = 0; i < count; i++)
		CU_ASSERT_EQUAL(fates[first_serial + i], i == count - 1 ? FATE_WHOLE : FATE_JOINED);
	expect_whole(result, &whole, longest);
}

static void
permute(const uint32_t *cut, unsigned *order, unsigned fixed, unsigned count)
{
	if (fixed == count) {
		give_in_order(cut, order, count);
		return;
	}
	for (unsigned i = fixed; i < count; i++) {
		unsigned swap = order[fixed];

		order[fixed] = order[i];
		order[i] = swap;
		permute(cut, order, fixed + 1, count);
		order[i] = order[fixed];
		order[fixed] = swap;
	}
}

static void
test_orders(void)
{
	begin(4);
	srand(1);
	for (int family = 0; family < FAMILIES; family++)
		for (unsigned count = 2; count <= 5; count++)
			for (unsigned extra = 0; extra <= 16; extra += 8) {
				uint32_t cut[6] = {0};
				unsigned order[5] = {0, 1, 2, 3, 4};

				for (unsigned i = 1; i <= count; i++)
					cut[i] = cut[i - 1] + 8 + (uint32_t)rand() % 30 * 8;
				cut[count] -= (uint32_t)rand() % 8;
				build(&whole, (enum family)family, IPPROTO_UDP, cut[count], extra);
				permute(cut, order, 0, count);
			}
	end();
}

/* The largest datagrams there are, over an ordinary link. */
static void
test_large(void)
{
	begin(4);
	srand(2);
	for (unsigned round = 0; round < 20; round++) {
		enum family family = round % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6;
		uint32_t cut[47] = {0};
		unsigned order[46];
		unsigned count = 0;

		build(&whole, family, IPPROTO_UDP, family == FAMILY_IPV4 ? 65515 : 65535, 0);
		while (cut[count] < whole.length - whole.head) {
			order[count] = count;
			count++;
			cut[count] = RTE_MIN(cut[count - 1] + (family == FAMILY_IPV4 ? 1480 : 1448),
				whole.length - whole.head);
		}
		CU_ASSERT_EQUAL(count, family == FAMILY_IPV4 ? 45 : 46);
		if (round >= 2)
			shuffle(order, count);
		give_in_order(cut, order, count);
	}
	end();
}

/* As many as there may be, and one too many. */
static void
test_many(void)
{
	uint32_t cut[FRAGMENTS_PER_DATAGRAM + 2] = {0};
	unsigned order[FRAGMENTS_PER_DATAGRAM + 1];

	begin(1);
	srand(3);
	for (unsigned i = 0; i <= FRAGMENTS_PER_DATAGRAM; i++) {
		order[i] = i;
		cut[i + 1] = cut[i] + 16;
	}
	build(&whole, FAMILY_IPV4, IPPROTO_UDP, cut[FRAGMENTS_PER_DATAGRAM], 0);
	give_in_order(cut, order, FRAGMENTS_PER_DATAGRAM);
	shuffle(order, FRAGMENTS_PER_DATAGRAM);
	give_in_order(cut, order, FRAGMENTS_PER_DATAGRAM);

	build(&whole, FAMILY_IPV4, IPPROTO_UDP, cut[FRAGMENTS_PER_DATAGRAM + 1], 0);
	for (unsigned i = 0; i < FRAGMENTS_PER_DATAGRAM; i++)
		CU_ASSERT_PTR_NULL(give(&whole, cut[i], 16, true));
	CU_ASSERT_EQUAL(fragment_count(table), FRAGMENTS_PER_DATAGRAM);
	/* a repetition is none too many */
	CU_ASSERT_PTR_NULL(give(&whole, cut[7], 16, true));
	CU_ASSERT_EQUAL(fragment_count(table), FRAGMENTS_PER_DATAGRAM);
	CU_ASSERT_PTR_NULL(give(&whole, cut[FRAGMENTS_PER_DATAGRAM], 16, false));
	CU_ASSERT_EQUAL(fragment_count(table), 0);
	for (unsigned i = 0; i <= FRAGMENTS_PER_DATAGRAM + 1; i++)
		CU_ASSERT_EQUAL(
			fate(i), i == 1 ? DROPPED(FRAGMENT_OVERLAP) : DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_PTR_NULL(give(&whole, 0, 16, true));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_LIMIT));
	end();
}

/* --- repetitions, overlaps, contradictions --- */

/* RFC 8200 section 4.5: exact repetitions may be ignored. */
static void
test_repetitions(void)
{
	begin(4);
	for (int family = 0; family < FAMILIES; family++) {
		build(&whole, (enum family)family, IPPROTO_UDP, 100, 0);
		for (unsigned i = 0; i < 3; i++)
			CU_ASSERT_PTR_NULL(give(&whole, 48, 40, true));
		CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
		CU_ASSERT_EQUAL(fate(1), DROPPED(FRAGMENT_OVERLAP));
		CU_ASSERT_EQUAL(fate(2), FATE_GIVEN);
		for (unsigned i = 0; i < 3; i++)
			CU_ASSERT_PTR_NULL(give(&whole, 88, 12, false));
		CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
		CU_ASSERT_PTR_NULL(give(&whole, 48, 40, true));
		CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
		CU_ASSERT_EQUAL(fragment_count(table), 2);
		CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 2);
		expect_whole(give(&whole, 0, 48, true), &whole, ip_length(&whole, 48));
		/* behind the datagram it begins another one */
		CU_ASSERT_PTR_NULL(give(&whole, 0, 48, true));
		CU_ASSERT_EQUAL(fate(0), FATE_GIVEN);
		CU_ASSERT_EQUAL(fragment_count(table), 1);
		now_ms += TIMEOUT_MS;
		CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 10), 1);
	}
	end();
}

struct step {
	uint32_t offset, length;
	bool more;
};

/* Each row is well until its last step. */
static const struct {
	const char *what;
	struct step steps[4];
} contradictions[] = {
	{"the second begins in the first (teardrop)", {{0, 48, true}, {40, 48, true}}},
	{"the first ends in the second", {{40, 48, true}, {0, 48, true}}},
	{"same offset, shorter", {{0, 48, true}, {0, 40, true}}},
	{"same offset, longer", {{0, 48, true}, {0, 56, true}}},
	{"same offset, shorter, not the first", {{80, 48, true}, {80, 8, true}}},
	{"same offset, longer, not the first", {{80, 48, true}, {80, 56, true}}},
	{"same end, later begin", {{80, 48, true}, {88, 40, true}}},
	{"same end, earlier begin", {{80, 48, true}, {72, 56, true}}},
	{"contained", {{0, 80, true}, {16, 16, true}}},
	{"contains", {{16, 16, true}, {0, 80, true}}},
	{"spans two and the gap between them", {{16, 16, true}, {48, 16, true}, {0, 80, true}}},
	{"fills a gap and one unit more",
		{{0, 16, true}, {32, 16, true}, {64, 16, false}, {16, 24, true}}},
	{"fills a gap and a unit before it",
		{{0, 16, true}, {32, 16, true}, {64, 16, false}, {40, 24, true}}},
	{"equals two together", {{0, 16, true}, {16, 16, true}, {0, 32, true}}},
	{"tail of the last (teardrop in reverse)", {{80, 13, false}, {88, 5, false}}},
	{"the last, shorter", {{80, 16, false}, {80, 12, false}}},
	{"the last, longer", {{80, 12, false}, {80, 16, false}}},
	{"the last, but more to come", {{80, 16, false}, {80, 16, true}}},
	{"not the last, then the last", {{80, 16, true}, {80, 16, false}}},
	{"two ends, the second later", {{80, 16, false}, {96, 16, false}}},
	{"two ends, the second much later", {{80, 16, false}, {800, 16, false}}},
	{"two ends, the second earlier", {{80, 16, false}, {40, 16, false}}},
	{"behind the end", {{80, 16, false}, {96, 8, true}}},
	{"far behind the end", {{80, 16, false}, {1600, 8, true}}},
	{"an end before what is there", {{80, 16, true}, {40, 16, false}}},
	{"an end right before what is there", {{80, 16, true}, {64, 16, false}}},
	{"over 65,535 bytes (ping of death)", {{0, 80, true}, {65528, 80, false}}},
	{"over 65,535 bytes, no last one", {{0, 80, true}, {65528, 80, true}}},
};

/* RFC 5722: whatever the overlap, nothing of the datagram is left or will be. */
static void
test_contradictions(void)
{
	begin(8);
	for (unsigned i = 0; i < RTE_DIM(contradictions) * FAMILIES; i++) {
		const struct step *steps = contradictions[i / 2].steps;
		unsigned count = 0;
		bool good = true;

		build(&whole, i % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6, IPPROTO_UDP, 2000, 0);
		whole.id += i;
		while (count < 4 && steps[count].length != 0)
			count++;
		for (unsigned step = 0; step < count; step++) {
			good &= fragment_count(table) == step;
			good &= give(&whole, steps[step].offset, steps[step].length,
					steps[step].more) == NULL;
		}
		for (unsigned step = 0; step < count; step++)
			good &= fate(step) == DROPPED(FRAGMENT_OVERLAP);
		good &= fragment_count(table) == 0;
		/* all the parts of it, good as they are by themselves, come too late */
		good &= give(&whole, 0, 1000, true) == NULL;
		good &= fate(0) == DROPPED(FRAGMENT_OVERLAP);
		now_ms += TIMEOUT_MS - 1;
		good &= fragment_expire(table, now_ms, 10) == 0;
		good &= give(&whole, 1000, 1000, false) == NULL;
		good &= fate(0) == DROPPED(FRAGMENT_OVERLAP);
		/* its name is remembered at the cost of one unit, and forgotten in time */
		good &= budget_used(account, BUDGET_FRAGMENTS) == 1;
		now_ms++;
		good &= fragment_expire(table, now_ms, 10) == 1;
		good &= budget_used(account, BUDGET_FRAGMENTS) == 0;
		if (!good)
			fprintf(stderr, "%s (IPv%c)\n", contradictions[i / 2].what, "46"[i % 2]);
		CU_ASSERT(good);
		CU_ASSERT_PTR_NULL(give(&whole, 0, 1000, true));
		expect_whole(give(&whole, 1000, 1000, false), &whole, ip_length(&whole, 1000));
	}
	end();
}

/* The longest that fits, and one byte more, with headers that count and that do not. */
static void
test_longest(void)
{
	begin(8);
	for (int family = 0; family < FAMILIES; family++)
		for (uint32_t extra = 0; extra <= 40; extra += 8)
			for (unsigned order = 0; order < 2; order++)
				for (uint32_t over = 0; over < 2; over++) {
					uint32_t data = family == FAMILY_IPV4 ? 65515 - extra
									      : 65535 - extra;
					struct rte_mbuf *result;

					build(&whole, (enum family)family, 47, data, extra);
					whole.id += extra;
					if (order == 0)
						(void)give(&whole, 0, 32768, true);
					result = give(&whole, 32768, data + over - 32768, false);
					if (order == 1)
						result = give(&whole, 0, 32768, true);
					if (over == 0) {
						expect_whole(
							result, &whole, ip_length(&whole, 32768));
						continue;
					}
					CU_ASSERT_PTR_NULL(result);
					CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
					CU_ASSERT_EQUAL(fate(1), DROPPED(FRAGMENT_OVERLAP));
					CU_ASSERT_EQUAL(fragment_count(table), 0);
					now_ms += TIMEOUT_MS;
					(void)fragment_expire(table, now_ms, 10);
				}
	end();
}

/*
 * What comes first may be what is wrong by itself; and headers that are longer in the first
 * fragment than in the others count only once.
 */
static void
test_longest_first(void)
{
	static struct whole long_header;

	begin(8);
	build(&whole, FAMILY_IPV4, 47, 65000, 0);
	CU_ASSERT_PTR_NULL(give(&whole, 65528, 16, true));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
	CU_ASSERT_PTR_NULL(give(&whole, 0, 32, true));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));

	whole.id++;
	build(&long_header, FAMILY_IPV4, 47, 65475, 40);
	long_header.id = ++whole.id;
	memcpy(whole.bytes + whole.head, long_header.bytes + long_header.head, 65475);
	CU_ASSERT_PTR_NULL(give(&whole, 8000, 57475, false));
	expect_whole(give(&long_header, 0, 8000, true), &long_header, 57495);
	CU_ASSERT_PTR_NULL(give(&whole, 8000, 57476, false));
	CU_ASSERT_PTR_NULL(give(&long_header, 0, 8000, true));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
	CU_ASSERT_EQUAL(fate(1), DROPPED(FRAGMENT_OVERLAP));
	end();
}

/* RFC 1858, RFC 7112: the parser refuses what hides headers, so the table never sees it. */
static void
test_tiny(void)
{
	static const struct {
		uint8_t protocol;
		uint32_t least;
	} rows[] = {{IPPROTO_TCP, 24}, {IPPROTO_UDP, 8}, {IPPROTO_ICMP, 8}, {IPPROTO_ICMPV6, 8},
		{47, 8}};

	begin(8);
	for (int family = 0; family < FAMILIES; family++)
		for (unsigned i = 0; i < RTE_DIM(rows); i++) {
			if (rows[i].protocol ==
				(family == FAMILY_IPV4 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
				continue;
			build(&whole, (enum family)family, rows[i].protocol, 64, 0);
			whole.id += i;
			whole.bytes[whole.head] = 8;
			whole.bytes[whole.head + 12] = 0x50;
			for (uint32_t length = 0; length < rows[i].least; length++) {
				CU_ASSERT_PTR_NULL(give(&whole, 0, length, true));
				CU_ASSERT_EQUAL(refused, REASON_FRAGMENT);
			}
			CU_ASSERT_PTR_NULL(give(&whole, 0, rows[i].least, true));
			CU_ASSERT_EQUAL(refused, REASON_NONE);
			CU_ASSERT_EQUAL(fragment_count(table), 1);
			/* nothing in it, or no whole units */
			CU_ASSERT_PTR_NULL(give(&whole, 24, 0, false));
			CU_ASSERT_EQUAL(refused, REASON_FRAGMENT);
			CU_ASSERT_PTR_NULL(give(&whole, 24, 9, true));
			CU_ASSERT_EQUAL(refused, REASON_FRAGMENT);
			CU_ASSERT_EQUAL(fragment_count(table), 1);
			now_ms += TIMEOUT_MS;
			CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 10), 1);
		}
	end();
}

/* --- time --- */

static void
test_time(void)
{
	static const uint32_t starts[] = {
		0, 1000, UINT32_MAX - TIMEOUT_MS / 2, UINT32_MAX, INT32_MAX};

	for (unsigned i = 0; i < RTE_DIM(starts); i++) {
		begin(8);
		now_ms = starts[i];
		build(&whole, FAMILY_IPV4, IPPROTO_UDP, 100, 0);
		CU_ASSERT_PTR_NULL(give(&whole, 0, 48, true));
		/* later ones prolong nothing */
		now_ms += TIMEOUT_MS - 1;
		CU_ASSERT_PTR_NULL(give(&whole, 48, 8, true));
		CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 10), 0);
		CU_ASSERT_EQUAL(fragment_count(table), 2);
		now_ms++;
		CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 10), 1);
		CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_TIMEOUT));
		CU_ASSERT_EQUAL(fate(1), DROPPED(FRAGMENT_TIMEOUT));
		CU_ASSERT_EQUAL(fragment_count(table), 0);
		CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 0);

		/* in time until the last moment */
		CU_ASSERT_PTR_NULL(give(&whole, 0, 48, true));
		now_ms += TIMEOUT_MS - 1;
		expect_whole(give(&whole, 48, 52, false), &whole, ip_length(&whole, 52));

		/* and not a moment later, also when nobody has looked at the clock meanwhile */
		CU_ASSERT_PTR_NULL(give(&whole, 0, 48, true));
		now_ms += TIMEOUT_MS;
		CU_ASSERT_PTR_NULL(give(&whole, 48, 52, false));
		CU_ASSERT_EQUAL(fate(1), DROPPED(FRAGMENT_TIMEOUT));
		CU_ASSERT_EQUAL(fate(0), FATE_GIVEN);
		CU_ASSERT_EQUAL(fragment_count(table), 1);
		/* that one has opened a datagram with a time of its own */
		now_ms += TIMEOUT_MS - 1;
		CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 10), 0);
		expect_whole(give(&whole, 0, 48, true), &whole, ip_length(&whole, 52));
		end();
	}
}

/* The oldest first, no more than asked for. */
static void
test_expire_budget(void)
{
	uint32_t first = serial;

	begin(16);
	build(&whole, FAMILY_IPV6, IPPROTO_UDP, 100, 0);
	for (unsigned i = 0; i < 10; i++) {
		whole.id++;
		now_ms += 10;
		CU_ASSERT_PTR_NULL(give(&whole, 0, 48, true));
	}
	now_ms += TIMEOUT_MS - 30; /* seven of them */
	CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 0), 0);
	CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 3), 3);
	CU_ASSERT_EQUAL(fragment_count(table), 7);
	CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 100), 4);
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(fates[first + i], i < 7 ? DROPPED(FRAGMENT_TIMEOUT) : FATE_GIVEN);
	end();
}

/* --- names --- */

static void
test_names(void)
{
	static struct whole wholes[24];
	unsigned count = 0;

	begin(64);
	srand(4);
	for (int family = 0; family < FAMILIES; family++) {
		uint32_t source = family == FAMILY_IPV4 ? ETHER + 12 : ETHER + 8;
		uint32_t destination = family == FAMILY_IPV4 ? ETHER + 16 : ETHER + 24;
		uint32_t size = family == FAMILY_IPV4 ? 4 : 16;

		/* one byte of everything that makes a name */
		for (unsigned i = 0; i < 9; i++) {
			struct whole *one = &wholes[count++];

			build(one, (enum family)family, IPPROTO_UDP, 64, 0);
			if (i == 1)
				one->bytes[source + size - 1] ^= 1;
			if (i == 2)
				one->bytes[source + size / 2] ^= 0x80;
			if (i == 3)
				one->bytes[destination + size - 1] ^= 1;
			if (i == 4)
				one->bytes[destination] ^= 1;
			if (i == 5)
				one->id ^= 1;
			if (i == 6)
				one->id ^= family == FAMILY_IPV4 ? 0x8000 : 0x80000000;
			if (i == 7)
				one->port ^= 1;
			if (i == 8)
				one->port ^= 0x100;
		}
	}
	build(&wholes[count++], FAMILY_IPV4, 47, 64, 0);
	for (unsigned i = 0; i < count; i++)
		CU_ASSERT_PTR_NULL(give(&wholes[i], 32, 32, false));
	CU_ASSERT_EQUAL(fragment_count(table), count);
	for (unsigned i = 0; i < count; i++)
		expect_whole(give(&wholes[i], 0, 32, true), &wholes[i], ip_length(&wholes[i], 32));
	CU_ASSERT_EQUAL(fragment_count(table), 0);
	end();
}

/* RFC 8200 section 4.5: the next header of IPv6 fragments but the first means nothing. */
static void
test_ipv6_next_header(void)
{
	begin(4);
	for (unsigned order = 0; order < 2; order++) {
		struct rte_mbuf *result = NULL;

		build(&whole, FAMILY_IPV6, IPPROTO_UDP, 64, 8);
		for (unsigned i = 0; i < 2; i++) {
			bool first = i == order;

			whole.bytes[whole.next] = first ? IPPROTO_UDP : 99;
			result = give(&whole, first ? 0 : 32, 32, first);
		}
		whole.bytes[whole.next] = IPPROTO_UDP;
		expect_whole(result, &whole, ip_length(&whole, 32));
	}
	end();
}

/* Nobody on another port, and nobody else on the same, can end or finish somebody's datagram. */
static void
test_strangers(void)
{
	static struct whole theirs;

	begin(8);
	build(&whole, FAMILY_IPV4, IPPROTO_UDP, 64, 0);
	theirs = whole;
	theirs.port++;
	CU_ASSERT_PTR_NULL(give(&whole, 0, 32, true));
	account = &accounts[1];
	CU_ASSERT_PTR_NULL(give(&theirs, 32, 32, false));
	CU_ASSERT_PTR_NULL(give(&theirs, 16, 32, false));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
	account = &accounts[0];
	expect_whole(give(&whole, 32, 32, false), &whole, ip_length(&whole, 32));
	end();
}

/* --- who may wait --- */

/* Start datagrams of one fragment each. */
static void
start(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		whole.id++;
		now_ms++;
		CU_ASSERT_PTR_NULL(give(&whole, 0, 32, true));
	}
}

/* RFC 4787 REQ-14: at the limit of its account the oldest of its datagrams ends, nobody else's. */
static void
test_limit(void)
{
	uint32_t own, others;

	begin(64);
	build(&whole, FAMILY_IPV4, 47, 256, 0);
	others = serial;
	account = &accounts[1];
	start(10);
	account = &accounts[0];
	limit = 16;
	own = serial;
	start(16);
	CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 16);
	for (unsigned i = 0; i < 100; i++) {
		start(1);
		CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 16);
		CU_ASSERT_EQUAL(fragment_count(table), 26);
		CU_ASSERT_EQUAL(fates[own + i], DROPPED(FRAGMENT_LIMIT));
		CU_ASSERT_EQUAL(fates[own + i + 1], FATE_GIVEN);
	}
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(fates[others + i], FATE_GIVEN);
	/* a lower limit counts from the next fragment on */
	limit = 8;
	start(1);
	CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 8);
	CU_ASSERT_EQUAL(fragment_count(table), 18);
	end();
}

/* The newest of a datagram's fragments cannot drive out the datagram's own and live. */
static void
test_limit_itself(void)
{
	begin(64);
	build(&whole, FAMILY_IPV4, 47, 256, 0);
	limit = 4;
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_PTR_NULL(give(&whole, i * 32, 32, true));
	CU_ASSERT_PTR_NULL(give(&whole, 128, 32, true));
	for (unsigned i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(fate(i), DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_EQUAL(fragment_count(table), 0);
	CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 1);
	CU_ASSERT_PTR_NULL(give(&whole, 160, 32, true));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_LIMIT));
	/* when an older one is there, that ends */
	start(1);
	whole.id++;
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT_PTR_NULL(give(&whole, i * 32, 32, true));
	CU_ASSERT_EQUAL(fate(3), FATE_GIVEN);
	CU_ASSERT_PTR_NULL(give(&whole, 96, 32, true));
	CU_ASSERT_EQUAL(fate(4), DROPPED(FRAGMENT_LIMIT));
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(fate(i), FATE_GIVEN);
	/* room for one only: nothing can be remembered, nothing is left over */
	limit = 1;
	whole.id++;
	now_ms += TIMEOUT_MS;
	(void)fragment_expire(table, now_ms, 10);
	CU_ASSERT_PTR_NULL(give(&whole, 0, 32, true));
	CU_ASSERT_PTR_NULL(give(&whole, 64, 32, true));
	CU_ASSERT_EQUAL(fate(1), DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_LIMIT));
	end();
}

/* What another worker holds counts, but only what waits here can end here. */
static void
test_limit_elsewhere(void)
{
	begin(8);
	build(&whole, FAMILY_IPV4, 47, 256, 0);
	limit = 4;
	start(1);
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT(budget_take(account, BUDGET_FRAGMENTS, limit));
	start(1);
	CU_ASSERT_EQUAL(fate(1), DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_EQUAL(fate(0), FATE_GIVEN);
	CU_ASSERT(!budget_take(account, BUDGET_FRAGMENTS, limit));
	now_ms += TIMEOUT_MS;
	CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 10), 1);
	CU_ASSERT(budget_take(account, BUDGET_FRAGMENTS, limit));
	start(1);
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_EQUAL(fragment_count(table), 0);
	/* not even an overlap is remembered then, and that is all the same */
	CU_ASSERT_PTR_NULL(give(&whole, 65528, 16, true));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
	CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 4);
	for (unsigned i = 0; i < 4; i++)
		budget_give(account, BUDGET_FRAGMENTS);
	end();
}

/* A fragment of many mbufs takes as many; one that never fits costs no other its place. */
static void
test_units(void)
{
	begin(8);
	build(&whole, FAMILY_IPV4, 47, 32768, 0);
	CU_ASSERT_PTR_NULL(give(&whole, 0, 16384, true));
	CU_ASSERT(budget_used(account, BUDGET_FRAGMENTS) >= 8);
	CU_ASSERT_EQUAL(fragment_count(table), 1);
	CU_ASSERT_PTR_NULL(give(&whole, 16384, 8192, true));
	expect_whole(give(&whole, 24576, 8192, false), &whole, ip_length(&whole, 16384));
	CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 0);
	limit = 6;
	start(6);
	whole.id++;
	CU_ASSERT_PTR_NULL(give(&whole, 0, 16384, true));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_LIMIT));
	for (unsigned i = 1; i <= 6; i++)
		CU_ASSERT_EQUAL(fate(i), FATE_GIVEN);
	CU_ASSERT_EQUAL(fragment_count(table), 6);
	end();
}

/* A full table: whoever holds most gives up his oldest, be it for himself or for another. */
static void
test_full_table(void)
{
	uint32_t flood, quiet;

	begin(32);
	build(&whole, FAMILY_IPV4, 47, 256, 0);
	account = &accounts[1];
	quiet = serial;
	start(5); /* older than all that follow */
	account = &accounts[0];
	flood = serial;
	start(27);
	CU_ASSERT_EQUAL(fragment_count(table), 32);
	start(200); /* the flood has only itself to drive out */
	CU_ASSERT_EQUAL(fragment_count(table), 32);
	CU_ASSERT_EQUAL(fates[flood + 199], DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_EQUAL(fates[flood + 200], FATE_GIVEN);
	/* somebody new finds room, and so does who has some already */
	account = &accounts[2];
	start(1);
	CU_ASSERT_EQUAL(fates[flood + 200], DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_EQUAL(fates[flood + 201], FATE_GIVEN);
	account = &accounts[1];
	start(1);
	CU_ASSERT_EQUAL(fates[flood + 201], DROPPED(FRAGMENT_LIMIT));
	for (unsigned i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(fates[quiet + i], FATE_GIVEN);
	CU_ASSERT_EQUAL(budget_used(&accounts[0], BUDGET_FRAGMENTS), 25);
	/* as many as anybody else: then one's own is the first to go */
	account = &accounts[3];
	start(16);
	CU_ASSERT_EQUAL(fragment_count(table), 32);
	account = &accounts[4];
	start(32);
	CU_ASSERT(budget_used(&accounts[4], BUDGET_FRAGMENTS) >= 6);
	CU_ASSERT_EQUAL(budget_used(&accounts[2], BUDGET_FRAGMENTS), 1);
	CU_ASSERT_EQUAL(budget_used(&accounts[1], BUDGET_FRAGMENTS), 6);
	end();
}

/* Who has as many as anybody makes room himself. */
static void
test_full_table_tie(void)
{
	uint32_t first = serial;

	begin(8);
	build(&whole, FAMILY_IPV4, 47, 256, 0);
	for (unsigned i = 0; i < 2; i++) {
		account = &accounts[i];
		start(4);
	}
	for (unsigned i = 0; i < 6; i++) {
		account = &accounts[i % 2];
		start(1);
		CU_ASSERT_EQUAL(fates[first + i % 2 * 4 + i / 2], DROPPED(FRAGMENT_LIMIT));
		CU_ASSERT_EQUAL(budget_used(&accounts[0], BUDGET_FRAGMENTS), 4);
		CU_ASSERT_EQUAL(budget_used(&accounts[1], BUDGET_FRAGMENTS), 4);
	}
	end();
}

/* A table full of mbufs, with room for datagrams: likewise. */
static void
test_full_of_mbufs(void)
{
	uint32_t most = fragment_table_mbufs(8) - 16;
	uint32_t heavy = serial;

	begin(8);
	build(&whole, FAMILY_IPV4, 47, 32 * 128, 0);
	for (unsigned i = 0; i < most; i++) {
		whole.id = i / 100;
		CU_ASSERT_PTR_NULL(give(&whole, i % 100 * 32, 32, true));
	}
	account = &accounts[1];
	whole.id = 7;
	for (unsigned i = 0; i < 30; i++) {
		CU_ASSERT_PTR_NULL(give(&whole, i * 32, 32, true));
		CU_ASSERT_EQUAL(fates[heavy], i < 16 ? FATE_GIVEN : DROPPED(FRAGMENT_LIMIT));
		CU_ASSERT_EQUAL(fates[heavy + 99], i < 16 ? FATE_GIVEN : DROPPED(FRAGMENT_LIMIT));
		CU_ASSERT_EQUAL(fates[heavy + 100], FATE_GIVEN);
	}
	CU_ASSERT_EQUAL(fragment_count(table), most - 100 + 30);
	CU_ASSERT_EQUAL(budget_used(&accounts[1], BUDGET_FRAGMENTS), 30);
	/* who has most, and nothing older than what he adds to, ends with that */
	account = &accounts[0];
	whole.id = 1;
	for (unsigned i = 0; i < 28; i++)
		CU_ASSERT_PTR_NULL(give(&whole, (100 + i) * 32, 32, true));
	whole.id = 2;
	for (unsigned i = 0; fates[heavy + 100] == FATE_GIVEN && i < 100; i++)
		CU_ASSERT_PTR_NULL(give(&whole, i * 32, 32, true));
	CU_ASSERT_EQUAL(fates[heavy + 100], DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_EQUAL(fate(0), FATE_GIVEN);
	CU_ASSERT_EQUAL(budget_used(&accounts[1], BUDGET_FRAGMENTS), 30);
	end();
}

/* The heaviest of all, one datagram alone, is what makes the table too full. */
static void
test_full_of_one(void)
{
	uint32_t others = fragment_table_mbufs(8) - 100;

	begin(8);
	build(&whole, FAMILY_IPV6, 47, 32 * 128, 0);
	account = &accounts[1];
	for (unsigned i = 0; i < others; i++) {
		whole.id = i / 31;
		CU_ASSERT_PTR_NULL(give(&whole, i % 31 * 32, 32, true));
	}
	account = &accounts[0];
	whole.id = 99;
	for (unsigned i = 0; i < 100; i++)
		CU_ASSERT_PTR_NULL(give(&whole, i * 32, 32, true));
	CU_ASSERT_EQUAL(fragment_count(table), fragment_table_mbufs(8));
	CU_ASSERT_PTR_NULL(give(&whole, 3200, 32, true));
	for (unsigned i = 0; i < 101; i++)
		CU_ASSERT_EQUAL(fate(i), DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_EQUAL(fragment_count(table), others);
	CU_ASSERT_EQUAL(budget_used(&accounts[0], BUDGET_FRAGMENTS), 1);
	CU_ASSERT_EQUAL(budget_used(&accounts[1], BUDGET_FRAGMENTS), others);
	CU_ASSERT_PTR_NULL(give(&whole, 0, 32, true));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_LIMIT));
	end();
}

/* RFC 4787 REQ-14: floods from many accounts, and from spoiled datagrams, leave the quiet alone. */
static void
test_floods(void)
{
	static struct whole victim;

	begin(128);
	srand(5);
	build(&victim, FAMILY_IPV6, IPPROTO_UDP, 1000, 0);
	build(&whole, FAMILY_IPV4, 47, 256, 0);
	for (unsigned round = 0; round < 20; round++) {
		account = &accounts[63];
		victim.id++;
		CU_ASSERT_PTR_NULL(give(&victim, 0, 496, true));
		for (unsigned i = 0; i < 4000; i++) {
			account = &accounts[rand() % 50];
			whole.id = (uint32_t)rand() & 0xffff;
			whole.bytes[ETHER + 13] = (uint8_t)rand();
			(void)give(&whole, (uint32_t)rand() % 8 * 32, 32, true);
			if (round % 2 == 1)
				(void)give(&whole, (uint32_t)rand() % 8 * 24, 32, true);
		}
		CU_ASSERT(budget_used(&accounts[63], BUDGET_FRAGMENTS) >= 1);
		account = &accounts[63];
		expect_whole(give(&victim, 496, 504, false), &victim, ip_length(&victim, 504));
	}
	end();
}

/* The table itself holds no more mbufs than it says. */
static void
test_table_mbufs(void)
{
	uint32_t most = 0;

	begin(8);
	build(&whole, FAMILY_IPV4, 47, 65000, 0);
	for (unsigned i = 0; i < 3000; i++) {
		account = &accounts[i % 7];
		whole.id = (uint32_t)rand() % 8;
		(void)give(&whole, i % 100 * 600, 600, true);
		most = RTE_MAX(most, rte_mempool_in_use_count(pool));
		CU_ASSERT(rte_mempool_in_use_count(pool) <= fragment_table_mbufs(8));
		CU_ASSERT(fragment_count(table) <= fragment_table_mbufs(8));
	}
	CU_ASSERT(most > 8 * 4);
	end();
}

static void
test_create(void)
{
	CU_ASSERT_PTR_NULL(fragment_table_create(0, &secret, &exits, SOCKET_ID_ANY));
	CU_ASSERT_PTR_NULL(fragment_table_create(UINT32_MAX, &secret, &exits, SOCKET_ID_ANY));
	fragment_table_free(NULL);
}

/* --- headers of the whole --- */

/* Options, TTL and addresses of stations are those of the first fragment; DF is that of any. */
static void
test_ipv4_headers(void)
{
	for (unsigned i = 0; i < 16; i++) {
		static struct whole other;
		struct rte_mbuf *result;
		unsigned df = i & 3;

		begin(4);
		build(&whole, FAMILY_IPV4, IPPROTO_UDP, 96, i & 4 ? 8 : 0);
		build(&other, FAMILY_IPV4, IPPROTO_UDP, 96, i & 8 ? 12 : 0);
		memcpy(other.bytes + other.head, whole.bytes + whole.head, 96);
		memset(other.bytes, 0x55, 12);
		other.bytes[ETHER + 8] = 3;    /* TTL */
		other.bytes[ETHER + 1] = 0xb8; /* traffic class, without ECN */
		other.bytes[ETHER + 6] = df & 1 ? 0x40 : 0;
		whole.bytes[ETHER + 6] = df & 2 ? 0xc0 : 0x80;
		CU_ASSERT_PTR_NULL(give(&other, 48, 48, false));
		result = give(&whole, 0, 48, true);
		whole.bytes[ETHER + 6] |= df != 0 ? 0x40 : 0;
		ipv4_sum(whole.bytes + ETHER);
		expect_whole(result, &whole, RTE_MAX(ip_length(&whole, 48), ip_length(&other, 48)));
		end();
	}
}

/* RFC 3168 section 5.3: congestion noted by any fragment is noted by all, or they do not fit. */
static void
test_ecn(void)
{
	begin(64);
	for (int family = 0; family < FAMILIES; family++)
		for (unsigned i = 0; i < 64; i++) {
			unsigned ecn[3] = {i & 3, i >> 2 & 3, i >> 4};
			unsigned seen = 1u << ecn[0] | 1u << ecn[1] | 1u << ecn[2];
			struct rte_mbuf *result = NULL;
			unsigned marked;

			build(&whole, (enum family)family, IPPROTO_UDP, 96, 0);
			for (unsigned part = 3; part-- > 0;) {
				if (family == FAMILY_IPV4)
					whole.bytes[ETHER + 1] = (uint8_t)(0xa8 | ecn[part]);
				else
					whole.bytes[ETHER + 1] = (uint8_t)(ecn[part] << 4 | 7);
				result = give(&whole, part * 32, 32, part != 2);
			}
			if ((seen & 9) == 9) {
				CU_ASSERT_PTR_NULL(result);
				CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
				CU_ASSERT_EQUAL(fate(2), DROPPED(FRAGMENT_OVERLAP));
				now_ms += TIMEOUT_MS;
				CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 2), 1);
				continue;
			}
			marked = (seen & 8) != 0 ? 3 : ecn[0];
			if (family == FAMILY_IPV4) {
				whole.bytes[ETHER + 1] = (uint8_t)(0xa8 | marked);
				ipv4_sum(whole.bytes + ETHER);
			} else {
				whole.bytes[ETHER + 1] = (uint8_t)(marked << 4 | 7);
			}
			expect_whole(result, &whole, ip_length(&whole, 32));
		}
	end();
}

/* IPv6: hop-by-hop options before the fragment header, destination options behind it. */
static void
test_ipv6_headers(void)
{
	begin(4);
	for (unsigned hops = 0; hops <= 24; hops += 8)
		for (unsigned options = 0; options <= 24; options += 8)
			for (unsigned order = 0; order < 2; order++) {
				struct rte_mbuf *result = NULL;
				uint8_t *data;

				build(&whole, FAMILY_IPV6,
					options == 0 ? IPPROTO_UDP : IPPROTO_DSTOPTS, options + 100,
					hops);
				data = whole.bytes + whole.head;
				if (options != 0) {
					memset(data, 0, options);
					data[0] = IPPROTO_UDP;
					data[1] = (uint8_t)(options / 8 - 1);
				}
				put16(data + options, 40000);
				put16(data + options + 2, 53);
				put16(data + options + 4, 100);
				for (unsigned i = 0; i < 2; i++)
					result = i == order ? give(&whole, 0, options + 48, true)
							    : give(&whole, options + 48, 52, false);
				expect_whole(result, &whole,
					RTE_MAX(ip_length(&whole, options + 48),
						ip_length(&whole, 52)));
			}
	end();
}

/* RFC 6946: a datagram in one fragment is none of ours, whatever else has its name. */
static void
test_atomic(void)
{
	begin(4);
	build(&whole, FAMILY_IPV6, IPPROTO_UDP, 64, 8);
	CU_ASSERT_PTR_NULL(give(&whole, 0, 32, true));
	slice(&whole, 0, 64, false);
	for (uint32_t first = part_length - 64 + 8; first <= part_length; first++) {
		struct rte_mbuf *mbuf = frame_mbuf_chain(pool, part_bytes, part_length, first, 16);
		static uint8_t bytes[FRAME_MAX];

		CU_ASSERT_EQUAL(parse_burst(&mbuf, 1), 1);
		CU_ASSERT_EQUAL(packet_of(mbuf)->flags, 0);
		CU_ASSERT_EQUAL(flatten(mbuf, bytes), whole.length);
		CU_ASSERT_EQUAL(memcmp(bytes, whole.bytes, whole.length), 0);
		rte_pktmbuf_free(mbuf);
	}
	expect_whole(give(&whole, 32, 32, false), &whole, ip_length(&whole, 32));
	end();
}

/* --- mbufs --- */

/* Frames in a receive ring go back to it at once, and without an mbuf for the copy they end. */
static void
test_rings(void)
{
	struct rte_mbuf *all[8192];
	struct rte_mbuf *mbuf;
	unsigned taken = 0;

	begin(4);
	build(&whole, FAMILY_IPV4, IPPROTO_UDP, 64, 0);
	slice(&whole, 0, 32, true);
	CU_ASSERT_PTR_NULL(take(parsed_part(whole.port, FORM_RING)));
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 1);
	CU_ASSERT_EQUAL(fate(0), FATE_GIVEN);

	slice(&whole, 32, 32, false);
	mbuf = parsed_part(whole.port, FORM_RING);
	while ((all[taken] = rte_pktmbuf_alloc(pool)) != NULL)
		taken++;
	CU_ASSERT_PTR_NULL(take(mbuf));
	CU_ASSERT_EQUAL(fate(0), DROPPED(NO_MBUF));
	CU_ASSERT_EQUAL(fragment_count(table), 1);
	rte_pktmbuf_free_bulk(all, taken);
	expect_whole(give(&whole, 32, 32, false), &whole, ip_length(&whole, 32));

	/* nothing is left of a datagram whose first fragment to come had no place */
	slice(&whole, 32, 32, false);
	mbuf = parsed_part(whole.port, FORM_RING);
	taken = 0;
	while ((all[taken] = rte_pktmbuf_alloc(pool)) != NULL)
		taken++;
	CU_ASSERT_PTR_NULL(take(mbuf));
	CU_ASSERT_EQUAL(fate(0), DROPPED(NO_MBUF));
	CU_ASSERT_EQUAL(fragment_count(table), 0);
	now_ms += TIMEOUT_MS;
	CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 10), 0);
	rte_pktmbuf_free_bulk(all, taken);
	end();
}

/* Headers that fill the first mbuf to its end: what follows is all in the next. */
static void
test_chained_parts(void)
{
	begin(4);
	for (int family = 0; family < FAMILIES; family++)
		for (unsigned more = 0; more < 40; more++) {
			struct rte_mbuf *result = NULL;

			build(&whole, (enum family)family, IPPROTO_UDP, 600, 0);
			for (unsigned part = 3; part-- > 0;) {
				uint32_t headers;

				slice(&whole, part * 200, 200, part != 2);
				headers = part_length - 200;
				result = frame_mbuf_chain(pool, part_bytes, part_length,
					headers + (part == 0 ? 8 : 0) + more, 7 + more);
				packet_of(result)->in_port = whole.port;
				packet_of(result)->serial = serial;
				CU_ASSERT_EQUAL(parse_burst(&result, 1), 1);
				result = take(result);
			}
			expect_whole(result, &whole, ip_length(&whole, 200));
		}
	end();
}

static void
test_free_while_waiting(void)
{
	begin(16);
	build(&whole, FAMILY_IPV6, 47, 1000, 0);
	for (unsigned i = 0; i < 40; i++) {
		account = &accounts[i % 3];
		whole.id = i % 10;
		CU_ASSERT_PTR_NULL(give(&whole, i * 24, 24, true));
	}
	whole.id = 3;
	CU_ASSERT_PTR_NULL(give(&whole, 8, 100 * 8, true));
	CU_ASSERT_EQUAL(fragment_count(table), 36);
	end();
	for (unsigned i = 0; i < 40; i++)
		CU_ASSERT(i % 10 == 3 || fate(40 - i) == FATE_GIVEN);
}

/* --- steering --- */

static void
test_steer(void)
{
	unsigned share[3] = {0};

	begin(4);
	srand(6);
	for (unsigned i = 0; i < 6000; i++) {
		unsigned worker = 0;

		build(&whole, i % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6, 47, 96, 0);
		whole.id = i / 2;
		for (unsigned part = 0; part < 3; part++) {
			struct rte_mbuf *mbuf;
			unsigned found;

			slice(&whole, part * 32, 32, part != 2);
			mbuf = parsed_part(whole.port, (enum form)part);
			found = fragment_steer(&secret, mbuf, 3);
			CU_ASSERT(part == 0 || found == worker);
			worker = found;
			CU_ASSERT_EQUAL(fragment_steer(&secret, mbuf, 1), 0);
			rte_pktmbuf_free(mbuf);
		}
		CU_ASSERT_FATAL(worker < 3);
		share[worker]++;
	}
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT(share[i] > 1850 && share[i] < 2150);
	end();
}

/* --- a second opinion --- */

#define NAMES 24
#define ORACLE_DATA 66048

/*
 * Reassembly as one would do it who has time: all parts in a heap, looked through anew for each
 * question.
 */
static struct oracle {
	struct whole whole; /* headers; the data are those of its parts */
	bool open;
	enum reason ended;
	uint32_t deadline_ms;
	unsigned count;
	struct {
		struct step step;
		uint32_t serial;
		uint32_t ip_length;
		uint32_t head;
		unsigned ecn;
		bool df;
		uint8_t *data;
	} part[FRAGMENTS_PER_DATAGRAM];
} oracles[NAMES];

static uint8_t *fates_wanted;
static uint64_t oracle_waiting;

static void
oracle_end(struct oracle *oracle, unsigned what)
{
	for (unsigned i = 0; i < oracle->count; i++) {
		fates_wanted[oracle->part[i].serial] = (uint8_t)what;
		free(oracle->part[i].data);
	}
	oracle_waiting -= oracle->count;
	oracle->count = 0;
	oracle->open = false;
}

static void
oracle_spoil(struct oracle *oracle, enum reason reason)
{
	oracle_end(oracle, (unsigned)FATE_DROPPED + reason);
	oracle->open = true;
	oracle->ended = reason;
}

/* What should happen to a part that has been added tentatively as the last one. */
static enum reason
oracle_judge(const struct oracle *oracle, const struct step *step, uint32_t head, unsigned ecn,
	bool *spoils)
{
	uint32_t last = step->offset + step->length;
	unsigned seen = 1u << ecn;
	uint32_t size = last;

	*spoils = false;
	for (unsigned i = 0; i < oracle->count; i++) {
		const struct step *other = &oracle->part[i].step;

		if (other->offset == step->offset && other->length == step->length &&
			other->more == step->more)
			return REASON_FRAGMENT_OVERLAP;
	}
	*spoils = true;
	for (unsigned i = 0; i < oracle->count; i++) {
		const struct step *other = &oracle->part[i].step;
		uint32_t other_last = other->offset + other->length;

		if (step->offset < other_last && other->offset < last)
			return REASON_FRAGMENT_OVERLAP;
		if (!other->more && (!step->more || last > other_last))
			return REASON_FRAGMENT_OVERLAP;
		if (!step->more && other_last > last)
			return REASON_FRAGMENT_OVERLAP;
		if (other->offset == 0)
			head = oracle->part[i].head;
		size = RTE_MAX(size, other_last);
		seen |= 1u << oracle->part[i].ecn;
	}
	if (oracle->whole.family == FAMILY_IPV4) {
		bool first = step->offset == 0;

		for (unsigned i = 0; i < oracle->count; i++)
			first |= oracle->part[i].step.offset == 0;
		size += first ? head - ETHER : 20;
	} else {
		bool first = step->offset == 0;

		for (unsigned i = 0; i < oracle->count; i++)
			first |= oracle->part[i].step.offset == 0;
		size += first ? head - ETHER - 40 : 0;
	}
	if (size > 65535 || (seen & 9) == 9)
		return REASON_FRAGMENT_OVERLAP;
	if (oracle->count == FRAGMENTS_PER_DATAGRAM)
		return REASON_FRAGMENT_LIMIT;
	*spoils = false;
	return REASON_NONE;
}

/* @return whether every byte is there, and which packet they make, in the oracle's own bytes */
static bool
oracle_whole(struct oracle *oracle, uint32_t *fragment_size)
{
	static uint8_t there[ORACLE_DATA];
	uint8_t *ip = oracle->whole.bytes + ETHER;
	uint32_t data = 0;
	unsigned ecn = 0;
	bool df = false;

	for (unsigned i = 0; i < oracle->count; i++)
		if (!oracle->part[i].step.more)
			data = oracle->part[i].step.offset + oracle->part[i].step.length;
	if (data == 0)
		return false;
	memset(there, 0, data);
	for (unsigned i = 0; i < oracle->count; i++)
		memset(there + oracle->part[i].step.offset, 1, oracle->part[i].step.length);
	for (uint32_t at = 0; at < data; at++)
		if (there[at] == 0)
			return false;
	*fragment_size = 0;
	for (unsigned i = 0; i < oracle->count; i++) {
		const struct step *step = &oracle->part[i].step;

		memcpy(oracle->whole.bytes + oracle->whole.head + step->offset,
			oracle->part[i].data, step->length);
		*fragment_size = RTE_MAX(*fragment_size, oracle->part[i].ip_length);
		df |= oracle->part[i].df;
		if (oracle->part[i].ecn == 3 || (step->offset == 0 && ecn != 3))
			ecn = oracle->part[i].ecn;
	}
	oracle->whole.length = oracle->whole.head + data;
	if (oracle->whole.family == FAMILY_IPV4) {
		ip[1] = (uint8_t)((ip[1] & 0xfc) | ecn);
		ip[6] = df ? 0x40 : 0;
		put16(ip + 2, oracle->whole.length - ETHER);
	} else {
		ip[1] = (uint8_t)((ip[1] & 0xcf) | ecn << 4);
		put16(ip + 4, oracle->whole.length - ETHER - 40);
	}
	return true;
}

/* A step that fits, often; or any. */
static struct step
random_step(const struct oracle *oracle)
{
	static const uint32_t grids[] = {64, 128, 512, 1480};
	uint32_t grid = grids[oracle->whole.id % 4];
	uint32_t parts = 2 + oracle->whole.id % 5;
	uint32_t part = (uint32_t)rand() % parts;
	struct step step = {part * grid, grid, part + 1 < parts};

	if (!step.more)
		step.length -= oracle->whole.id % 8;
	switch (rand() % 500) {
	case 0: /* anywhere */
		step.offset = (uint32_t)rand() % 8192 * 8;
		break;
	case 1:
		step.offset = (uint32_t)rand() % 64 * 8;
		break;
	case 2:
		step.length = 8 + (uint32_t)rand() % 64 * 8;
		break;
	case 3:
		step.more = !step.more;
		step.length = RTE_ALIGN_CEIL(step.length, 8);
		break;
	case 4: /* the edge of all */
		step.offset = 65528 - (uint32_t)rand() % 4 * 8;
		step.length = 1 + (uint32_t)rand() % 32;
		step.more = false;
		break;
	}
	if (step.offset == 0 && !step.more) { /* no fragment */
		step.more = true;
		step.length = RTE_ALIGN_CEIL(step.length, 8);
	}
	return step;
}

static void
fuzz_step(void)
{
	struct oracle *oracle = &oracles[rand() % NAMES];
	struct step step = random_step(oracle);
	uint32_t own = serial;
	uint32_t fragment_size = 0;
	struct rte_mbuf *mbuf;
	enum reason reason;
	uint8_t *data;
	unsigned ecn = rand() % 2000 == 0 ? 0 : rand() % 40 == 0 ? 3 : 2;
	bool df = rand() % 16 == 0;
	bool spoils = false;

	/* headers of this fragment; those of the first are the datagram's */
	if (oracle->whole.family == FAMILY_IPV4) {
		oracle->whole.bytes[ETHER + 1] = (uint8_t)(0x20 | ecn);
		oracle->whole.bytes[ETHER + 6] = df ? 0x40 : 0;
	} else {
		oracle->whole.bytes[ETHER + 1] = (uint8_t)(ecn << 4 | 3);
		df = false;
	}
	slice(&oracle->whole, step.offset, step.length, step.more);
	for (uint32_t i = part_length - step.length; i < part_length; i++)
		part_bytes[i] = (uint8_t)(rand() >> 5);
	mbuf = parsed_part(oracle->whole.port, (enum form)(rand() % FORMS));
	if (mbuf == NULL) { /* not a multiple of eight, and more to come */
		CU_ASSERT_EQUAL(refused, REASON_FRAGMENT);
		return;
	}

	if (oracle->open && (int32_t)(now_ms - oracle->deadline_ms) >= 0)
		oracle_end(oracle, DROPPED(FRAGMENT_TIMEOUT));
	if (!oracle->open) {
		oracle->open = true;
		oracle->ended = REASON_NONE;
		oracle->deadline_ms = now_ms + TIMEOUT_MS;
	}
	reason = oracle->ended;
	if (reason == REASON_NONE)
		reason = oracle_judge(oracle, &step, oracle->whole.head, ecn, &spoils);
	if (spoils)
		oracle_spoil(oracle, reason);
	if (reason == REASON_NONE) {
		data = malloc(step.length);
		if (data == NULL)
			abort();
		memcpy(data, part_bytes + part_length - step.length, step.length);
		oracle->part[oracle->count].step = step;
		oracle->part[oracle->count].serial = own;
		oracle->part[oracle->count].ip_length = part_length - ETHER;
		oracle->part[oracle->count].head = oracle->whole.head;
		oracle->part[oracle->count].ecn = ecn;
		oracle->part[oracle->count].df = df;
		oracle->part[oracle->count].data = data;
		oracle->count++;
		oracle_waiting++;
		fates_wanted[own] = FATE_GIVEN;
	} else {
		fates_wanted[own] = (uint8_t)(FATE_DROPPED + reason);
	}
	mbuf = take(mbuf);
	if (reason == REASON_NONE && oracle_whole(oracle, &fragment_size)) {
		expect_whole(mbuf, &oracle->whole, fragment_size);
		oracle_end(oracle, FATE_JOINED);
		fates_wanted[own] = FATE_WHOLE;
		oracle->whole.id += NAMES; /* the name is used once only */
	} else {
		CU_ASSERT_PTR_NULL(mbuf);
		rte_pktmbuf_free(mbuf);
	}
}

/*
 * RFC 5722, RFC 8200 section 4.5, by the million: the table and the slow one agree on the end of
 * every single fragment and on every byte of what comes together.
 */
static void
test_fuzz(void)
{
	const char *steps_text = getenv("FUZZ_FRAGMENTS");
	uint32_t steps = steps_text != NULL ? (uint32_t)atoi(steps_text) : 1000000;
	uint32_t first = serial;
	unsigned wholes = 0;

	begin(NAMES);
	now_ms = UINT32_MAX - 1000000;
	srand(7);
	for (unsigned i = 0; i < NAMES; i++) {
		build(&oracles[i].whole, i % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6, 47, 0,
			i % 3 == 0 ? 8 : 0);
		oracles[i].whole.id = i;
		oracles[i].whole.port = (uint16_t)(i / 12);
	}
	for (uint32_t i = 0; i < steps; i++) {
		fuzz_step();
		now_ms += (uint32_t)rand() % 60;
		if (rand() % 500 == 0) {
			for (unsigned name = 0; name < NAMES; name++)
				if (oracles[name].open &&
					(int32_t)(now_ms - oracles[name].deadline_ms) >= 0)
					oracle_end(&oracles[name], DROPPED(FRAGMENT_TIMEOUT));
			(void)fragment_expire(table, now_ms, UINT32_MAX);
		}
		if (fragment_count(table) != oracle_waiting) {
			CU_FAIL("not as many wait as should");
			break;
		}
	}
	for (unsigned i = 0; i < NAMES; i++)
		oracle_end(&oracles[i], FATE_GIVEN);
	for (uint32_t i = first; i < serial; i++) {
		wholes += fates[i] == FATE_WHOLE;
		if (fates[i] != fates_wanted[i]) {
			CU_FAIL("a fragment has not ended as it should");
			break;
		}
	}
	/* what is tested does happen */
	CU_ASSERT(wholes > steps / 20);
	end();
}

/* The same with little room: whatever comes together must still be of one name and in its place. */
static void
test_fuzz_limits(void)
{
	static struct whole wholes[64];
	unsigned together = 0;

	begin(20);
	srand(8);
	for (unsigned i = 0; i < 64; i++) {
		build(&wholes[i], i % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6, 47, 64 * (2 + i % 9), 0);
		wholes[i].id = i;
	}
	for (unsigned i = 0; i < 300000; i++) {
		unsigned which = (unsigned)rand() % (1 + i / 5000 % 64);
		struct whole *one = &wholes[which];
		uint32_t parts = (one->length - one->head) / 64;
		uint32_t part = (uint32_t)rand() % parts;
		uint32_t shift = rand() % 60 == 0 ? 8 : 0;
		struct rte_mbuf *mbuf;

		account = &accounts[which % 5];
		limit = 8 + which % 5 * 8;
		now_ms += (uint32_t)rand() % 400;
		mbuf = give(one, part * 64 + shift, 64 - shift, part + 1 < parts);
		if (mbuf != NULL) {
			together++;
			expect_whole(
				mbuf, one, mbuf->pkt_len == 0 ? 0 : packet_of(mbuf)->fragment_size);
		}
		if (rand() % 50 == 0)
			(void)fragment_expire(table, now_ms, 1 + (unsigned)rand() % 3);
		if (i % 16 == 0)
			for (unsigned j = 0; j < 5; j++)
				CU_ASSERT(budget_used(&accounts[j], BUDGET_FRAGMENTS) <= 8 + j * 8);
	}
	CU_ASSERT(together > 2000);
	end();
}

/* --- taken apart --- */

static struct rte_mbuf *parts[2048];

/* A whole packet, parsed, cut into mbufs at random. */
static struct rte_mbuf *
parsed_whole(const struct whole *of)
{
	uint32_t headers = of->head + 60 < of->length ? of->head + 60 : of->length;
	struct rte_mbuf *mbuf = frame_mbuf_chain(pool, of->bytes, of->length,
		headers + (uint32_t)rand() % 600, 16 + (uint32_t)rand() % 3000);

	packet_of(mbuf)->in_port = of->port;
	packet_of(mbuf)->serial = 77;
	if (parse_burst(&mbuf, 1) != 1) {
		CU_FAIL("the test has built a bad packet");
		return NULL;
	}
	packet_of(mbuf)->out_port = 5;
	return mbuf;
}

/* What a part must be, looked at byte by byte; the data are put where they belong. */
static void
check_part(const struct rte_mbuf *mbuf, struct whole *of, uint32_t mtu, uint32_t *offset, bool last)
{
	static uint8_t bytes[FRAME_MAX];
	uint32_t length = flatten(mbuf, bytes);
	const uint8_t *ip = bytes + ETHER;
	const struct packet *packet = packet_of((struct rte_mbuf *)(uintptr_t)mbuf);
	uint32_t head, found, data;
	bool more;

	CU_ASSERT(length - ETHER <= mtu);
	CU_ASSERT_EQUAL(memcmp(bytes, of->bytes, ETHER), 0);
	CU_ASSERT_EQUAL(mbuf->ol_flags, 0);
	CU_ASSERT_EQUAL(packet->serial, 77);
	CU_ASSERT_EQUAL(packet->in_port, of->port);
	CU_ASSERT_EQUAL(packet->out_port, 5);
	CU_ASSERT_EQUAL(packet->frame_length, length);
	CU_ASSERT_EQUAL(packet->flags & PACKET_FRAGMENT, PACKET_FRAGMENT);
	if (of->family == FAMILY_IPV4) {
		head = ETHER + (ip[0] & 15u) * 4;
		found = (get16(ip + 6) & 0x1fffu) * 8;
		more = (ip[6] & 0x20) != 0;
		CU_ASSERT_EQUAL(get16(ip + 2), length - ETHER);
		CU_ASSERT_EQUAL(get16(ip + 4), of->id & 0xffff);
		CU_ASSERT_EQUAL(frame_sum(0, ip, head - ETHER), 0xffff);
		CU_ASSERT_EQUAL(ip[6] & 0xc0, of->bytes[ETHER + 6] & 0xc0);
		CU_ASSERT_EQUAL(ip[1], of->bytes[ETHER + 1]);
		CU_ASSERT_EQUAL(memcmp(ip + 8, of->bytes + ETHER + 8, 2), 0);
		CU_ASSERT_EQUAL(memcmp(ip + 12, of->bytes + ETHER + 12, 8), 0);
	} else {
		head = of->head + 8;
		found = get16(bytes + of->head + 2) & 0xfff8u;
		more = (bytes[of->head + 3] & 1) != 0;
		CU_ASSERT_EQUAL(get16(ip + 4), length - ETHER - 40);
		CU_ASSERT_EQUAL(bytes[of->next], IPPROTO_FRAGMENT);
		CU_ASSERT_EQUAL(bytes[of->head], of->bytes[of->next]);
		CU_ASSERT_EQUAL(bytes[of->head + 1], 0);
		CU_ASSERT_EQUAL(get16(bytes + of->head + 4), of->id >> 16);
		CU_ASSERT_EQUAL(get16(bytes + of->head + 6), of->id & 0xffff);
		for (uint32_t i = ETHER; i < of->head; i++)
			CU_ASSERT(bytes[i] == of->bytes[i] || i == of->next || i == ETHER + 4 ||
				  i == ETHER + 5);
	}
	data = length - head;
	CU_ASSERT_EQUAL(found, *offset);
	CU_ASSERT_EQUAL(more, !last);
	CU_ASSERT(last || data % 8 == 0);
	CU_ASSERT(last || length - ETHER + 8 > mtu);
	CU_ASSERT(data > 0 && *offset + data <= of->length - of->head);
	CU_ASSERT_EQUAL(memcmp(bytes + head, of->bytes + of->head + *offset, data), 0);
	*offset += data;
}

/* RFC 791, RFC 8200 section 4.5: any packet, any MTU; and put together again it is the same. */
static void
test_split(void)
{
	begin(4);
	limit = UINT32_MAX;
	srand(9);
	for (unsigned i = 0; i < 6000; i++) {
		enum family family = (enum family)(i % 2);
		uint32_t extra = rand() % 3 == 0 ? 8 * (1 + (uint32_t)rand() % 5) : 0;
		uint32_t data = 100 + (uint32_t)rand() % 6000;
		uint32_t least = family == FAMILY_IPV4 ? 68 : 1280;
		uint32_t mtu = least + (uint32_t)rand() % (rand() % 2 == 0 ? 64 : 4000);
		struct rte_mbuf *result = NULL;
		uint32_t offset = 0;
		uint32_t longest = 0;
		unsigned count;

		if (i % 50 < 2) {
			data = 65000;
			mtu = RTE_MAX(mtu, 576U);
		}
		build(&whole, family, rand() % 2 == 0 ? IPPROTO_UDP : 47, data, extra);
		whole.id = (uint32_t)rand();
		if (family == FAMILY_IPV4) {
			/* all options go into all parts */
			memset(whole.bytes + ETHER + 20, 0x94, extra);
			if (extra != 0)
				whole.bytes[ETHER + 21] = (uint8_t)extra;
			whole.bytes[ETHER + 6] = rand() % 4 == 0 ? 0x40 : 0;
			ipv4_sum(whole.bytes + ETHER);
			whole.id &= 0xffff;
		}
		if (whole.length - ETHER <= mtu)
			continue;
		count = fragment_split(parsed_whole(&whole),
			(uint16_t)(mtu == least ? rand() % (int)least : (int)mtu),
			whole.id | (family == FAMILY_IPV4 ? 0xabcd0000 : 0), pool, parts,
			RTE_DIM(parts));
		CU_ASSERT(count >= 2);
		for (unsigned part = 0; part < count; part++)
			check_part(parts[part], &whole, mtu, &offset, part + 1 == count);
		CU_ASSERT_EQUAL(offset, data);
		if (count > FRAGMENTS_PER_DATAGRAM) {
			rte_pktmbuf_free_bulk(parts, count);
			continue;
		}
		for (unsigned part = 0; part < count; part++) {
			unsigned pick = part + (unsigned)rand() % (count - part);
			struct rte_mbuf *mbuf = parts[pick];

			parts[pick] = parts[part];
			longest = RTE_MAX(longest, mbuf->pkt_len - ETHER);
			packet_of(mbuf)->serial = serial;
			CU_ASSERT_EQUAL(parse_burst(&mbuf, 1), 1);
			result = take(mbuf);
		}
		expect_whole(result, &whole, longest);
	}
	end();
}

/* RFC 791 section 3.1: options that are not to be copied are in the first part only. */
static void
test_split_options(void)
{
	static const struct {
		uint8_t whole[40], later[40];
		uint8_t length, later_length;
	} rows[] = {
		{{1, 1, 1, 0}, {0}, 4, 0},
		{{0x94, 4, 0, 0}, {0x94, 4, 0, 0}, 4, 4},
		{{7, 7, 4, 9, 9, 9, 9, 0}, {0}, 8, 0}, /* record route */
		{{1, 0x94, 4, 0, 7, 0, 7, 3}, {0}, 0, 0},
		{{1, 0x94, 4, 5, 6, 7, 3, 4, 0x88, 4, 1, 2}, {0x94, 4, 5, 6, 0x88, 4, 1, 2}, 12, 8},
		{{0x82, 3, 8, 1, 0, 0x94, 4, 0}, {0x82, 3, 8, 0}, 8, 4},
		{{68, 4, 5, 0, 0x94, 6, 1, 2, 3, 4, 1, 0}, {0x94, 6, 1, 2, 3, 4, 0, 0}, 12, 8},
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		static uint8_t bytes[FRAME_MAX];
		uint32_t data = 0;
		unsigned count;

		build(&whole, FAMILY_IPV4, IPPROTO_UDP, 3000, rows[i].length);
		memcpy(whole.bytes + ETHER + 20, rows[i].whole, rows[i].length);
		ipv4_sum(whole.bytes + ETHER);
		count = fragment_split(parsed_whole(&whole), 576, 1, pool, parts, RTE_DIM(parts));
		CU_ASSERT(count >= 6);
		for (unsigned part = 0; part < count; part++) {
			uint32_t extra = part == 0 ? rows[i].length : rows[i].later_length;
			uint32_t length = flatten(parts[part], bytes);

			CU_ASSERT_EQUAL(bytes[ETHER], 0x45 + extra / 4);
			CU_ASSERT_EQUAL(memcmp(bytes + ETHER + 20,
						part == 0 ? rows[i].whole : rows[i].later, extra),
				0);
			CU_ASSERT_EQUAL(frame_sum(0, bytes + ETHER, 20 + extra), 0xffff);
			CU_ASSERT_EQUAL((get16(bytes + ETHER + 6) & 0x1fffu) * 8, data);
			CU_ASSERT(length - ETHER <= 576);
			CU_ASSERT_EQUAL(packet_of(parts[part])->l4_offset, ETHER + 20 + extra);
			CU_ASSERT_EQUAL(
				memcmp(bytes + ETHER + 20 + extra, whole.bytes + whole.head + data,
					length - ETHER - 20 - extra),
				0);
			data += length - ETHER - 20 - extra;
		}
		CU_ASSERT_EQUAL(data, 3000);
		rte_pktmbuf_free_bulk(parts, count);
	}
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 0);
}

/* RFC 7112: the longest headers that the parser lets pass are in the first part, whole. */
static void
test_split_headers(void)
{
	for (uint32_t options = 8; options < 1400; options += 8)
		for (unsigned behind = 0; behind < 2; behind++) {
			struct rte_mbuf *mbuf;
			uint8_t *data;
			unsigned count;

			/* TCP with all its options */
			build(&whole, FAMILY_IPV6, behind ? IPPROTO_DSTOPTS : IPPROTO_TCP,
				(behind ? options : 0) + 2000, behind ? 0 : options);
			data = whole.bytes + whole.head;
			if (behind) {
				memset(data, 0, options);
				data[0] = IPPROTO_TCP;
				data[1] = (uint8_t)(options / 8 - 1);
				data += options;
			}
			data[12] = 0xf0;
			mbuf = frame_mbuf_chain(pool, whole.bytes, whole.length, 1900, 1900);
			if (parse_burst(&mbuf, 1) == 0) {
				CU_ASSERT_EQUAL(packet_of(mbuf)->reason, REASON_EXTENSION_HEADER);
				CU_ASSERT(options > 1100);
				rte_pktmbuf_free(mbuf);
				continue;
			}
			count = fragment_split(mbuf, 1280, 1, pool, parts, RTE_DIM(parts));
			CU_ASSERT(count >= 2);
			for (unsigned part = 0; part < count; part++) {
				CU_ASSERT(parts[part]->pkt_len <= 1280 + ETHER);
				CU_ASSERT_EQUAL(parse_burst(&parts[part], 1), 1);
			}
			rte_pktmbuf_free_bulk(parts, count);
		}
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 0);
}

/* What fits is copied as it is: no fragment, no other identification. */
static void
test_split_fitting(void)
{
	for (unsigned i = 0; i < 40; i++) {
		enum family family = (enum family)(i % 2);
		static uint8_t bytes[FRAME_MAX];
		uint32_t least = family == FAMILY_IPV4 ? 20 : 40;
		uint32_t data = i < 4 ? 0 : i < 8 ? 1 : (uint32_t)rand() % 9000;

		build(&whole, family, 47, data, 8 * (i % 3));
		CU_ASSERT_EQUAL(fragment_split(parsed_whole(&whole),
					(uint16_t)(least + 8 * (i % 3) + data), 99, pool, parts, 1),
			1);
		CU_ASSERT_EQUAL(flatten(parts[0], bytes), whole.length);
		CU_ASSERT_EQUAL(memcmp(bytes, whole.bytes, whole.length), 0);
		CU_ASSERT_EQUAL(packet_of(parts[0])->flags & PACKET_FRAGMENT, 0);
		rte_pktmbuf_free(parts[0]);
	}
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 0);
}

/* All or nothing, and nothing lost. */
static void
test_split_fails(void)
{
	struct rte_mbuf *all[8192];
	unsigned needed;

	for (int family = 0; family < FAMILIES; family++) {
		build(&whole, (enum family)family, IPPROTO_UDP, 20000, 0);
		needed = fragment_split(parsed_whole(&whole), 4000, 1, pool, parts, RTE_DIM(parts));
		CU_ASSERT_EQUAL(needed, 6);
		rte_pktmbuf_free_bulk(parts, needed);
		for (unsigned room = 0; room <= needed; room++) {
			unsigned count =
				fragment_split(parsed_whole(&whole), 4000, 1, pool, parts, room);

			CU_ASSERT_EQUAL(count, room < needed ? 0 : needed);
			rte_pktmbuf_free_bulk(parts, count);
		}
		for (unsigned left = 0; left < 14; left++) {
			struct rte_mbuf *mbuf = parsed_whole(&whole);
			unsigned taken = 0;
			unsigned count;

			while ((all[taken] = rte_pktmbuf_alloc(pool)) != NULL)
				taken++;
			rte_pktmbuf_free_bulk(all + taken - left, left);
			count = fragment_split(mbuf, 4000, 1, pool, parts, RTE_DIM(parts));
			CU_ASSERT_EQUAL(count, left < 11 ? 0 : 6);
			rte_pktmbuf_free_bulk(parts, count);
			rte_pktmbuf_free_bulk(all, taken - left);
			CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 0);
		}
	}
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"RFC 791, RFC 4787 REQ-14: every order of two to five", test_orders},
		{"RFC 4787 REQ-14: the largest datagrams in any order", test_large},
		{"128 fragments, not one more", test_many},
		{"RFC 8200 4.5: repetitions", test_repetitions},
		{"RFC 5722: overlaps and contradictions", test_contradictions},
		{"RFC 791, RFC 8200 4.5: 65,535 bytes, not one more", test_longest},
		{"over-long by itself", test_longest_first},
		{"RFC 1858, RFC 7112: tiny first fragments", test_tiny},
		{"RFC 791, RFC 8200 4.5: time", test_time},
		{"no more end at once than asked for", test_expire_budget},
		{"RFC 791: names", test_names},
		{"RFC 8200 4.5: next header of later fragments", test_ipv6_next_header},
		{"strangers", test_strangers},
		{"RFC 4787 REQ-14: limit of an account", test_limit},
		{"limit within one datagram", test_limit_itself},
		{"limit used up elsewhere", test_limit_elsewhere},
		{"fragments of many mbufs", test_units},
		{"RFC 4787 REQ-14: a full table", test_full_table},
		{"RFC 4787 REQ-14: a full table, shared evenly", test_full_table_tie},
		{"RFC 4787 REQ-14: a table full of mbufs", test_full_of_mbufs},
		{"RFC 4787 REQ-14: a table full of one datagram", test_full_of_one},
		{"RFC 4787 REQ-14: floods", test_floods},
		{"mbufs that a table holds", test_table_mbufs},
		{"sizes of tables", test_create},
		{"IPv4 headers of the whole", test_ipv4_headers},
		{"RFC 3168 5.3: congestion", test_ecn},
		{"RFC 8200 4.5: IPv6 headers of the whole", test_ipv6_headers},
		{"RFC 6946: atomic fragments", test_atomic},
		{"receive rings", test_rings},
		{"chained fragments", test_chained_parts},
		{"freed while fragments wait", test_free_while_waiting},
		{"steering", test_steer},
		{"RFC 5722: a million random fragments", test_fuzz},
		{"random fragments with little room", test_fuzz_limits},
		{"RFC 791, RFC 8200 4.5: split, and whole again", test_split},
		{"RFC 791 3.1: options of split packets", test_split_options},
		{"RFC 7112: headers of split packets", test_split_headers},
		{"split packets that fit", test_split_fitting},
		{"split without room", test_split_fails},
	};

	unit_eal();
	fates = calloc(LIVES, 1);
	fates_wanted = calloc(LIVES, 1);
	pool = rte_pktmbuf_pool_create("test", 8191, 0,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN),
		RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (pool == NULL || fates == NULL || fates_wanted == NULL)
		return 1;
	return UNIT_RUN("fragment", tests);
}
