/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets taken apart: every part by itself, and all of them put together again.
 */
#include "tests/unit/fragments.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>

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
	static uint8_t bytes[PACKET_FRAME_MAX];
	uint32_t length = chain_flatten(mbuf, bytes);
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
	fragments_begin(4);
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
		whole_build(&whole, family, rand() % 2 == 0 ? IPPROTO_UDP : 47, data, extra);
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
			result = part_take(mbuf);
		}
		expect_whole(result, &whole, longest);
	}
	fragments_end();
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
		static uint8_t bytes[PACKET_FRAME_MAX];
		uint32_t data = 0;
		unsigned count;

		whole_build(&whole, FAMILY_IPV4, IPPROTO_UDP, 3000, rows[i].length);
		memcpy(whole.bytes + ETHER + 20, rows[i].whole, rows[i].length);
		ipv4_sum(whole.bytes + ETHER);
		count = fragment_split(parsed_whole(&whole), 576, 1, pool, parts, RTE_DIM(parts));
		CU_ASSERT(count >= 6);
		for (unsigned part = 0; part < count; part++) {
			uint32_t extra = part == 0 ? rows[i].length : rows[i].later_length;
			uint32_t length = chain_flatten(parts[part], bytes);

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
			whole_build(&whole, FAMILY_IPV6, behind ? IPPROTO_DSTOPTS : IPPROTO_TCP,
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
		static uint8_t bytes[PACKET_FRAME_MAX];
		uint32_t least = family == FAMILY_IPV4 ? 20 : 40;
		uint32_t data = i < 4 ? 0 : i < 8 ? 1 : (uint32_t)rand() % 9000;

		whole_build(&whole, family, 47, data, 8 * (i % 3));
		CU_ASSERT_EQUAL(fragment_split(parsed_whole(&whole),
					(uint16_t)(least + 8 * (i % 3) + data), 99, pool, parts, 1),
			1);
		CU_ASSERT_EQUAL(chain_flatten(parts[0], bytes), whole.length);
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
		whole_build(&whole, (enum family)family, IPPROTO_UDP, 20000, 0);
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
		{"RFC 791, RFC 8200 4.5: split, and whole again", test_split},
		{"RFC 791 3.1: options of split packets", test_split_options},
		{"RFC 7112: headers of split packets", test_split_headers},
		{"split packets that fit", test_split_fitting},
		{"split without room", test_split_fails},
	};

	fragments_setup();
	return UNIT_RUN("fragment split", tests);
}
