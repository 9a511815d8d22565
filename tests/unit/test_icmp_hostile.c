/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Related errors of any sort, and hostile ones: whatever gets through must be whole, with all its
 * checksums, and must become what it was when it is translated back. Frames end where their
 * buffers do, so that AddressSanitizer sees a step too far.
 */
#include "tests/unit/scene.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>

static union address
random_address(enum family family)
{
	union address address = {.half = {0, 0}};

	for (unsigned i = 0; i < (family == FAMILY_IPV4 ? 4 : 16); i++)
		address.v6[i] = rand() % 4 == 0 ? (rand() % 2 == 0 ? 0 : 0xff) : (uint8_t)rand();
	/* Neither zero, nor what address_format would write in a way of its own. */
	address.v6[0] = (uint8_t)(rand() | 0x10);
	return address;
}

static uint16_t
random_port(void)
{
	static const uint16_t special[] = {0, 1, 0x00ff, 0xff00, 0xfffe, 0xffff};

	return rand() % 3 == 0 ? special[rand() % 6] : (uint16_t)rand();
}

/* How packets of a flow look on the other side that look like @p tuple on this one. */
static struct tuple
random_other(const struct tuple *tuple)
{
	struct tuple other = tuple_reversed(tuple);
	unsigned which = (unsigned)rand() % 4; /* bit 0: the source, bit 1: the destination */

	if (which == 3 && tuple->family == FAMILY_IPV6)
		which = 1; /* a flow holds three addresses at most */
	if ((which & 1) != 0) {
		other.source = random_address(tuple->family);
		other.source_port = random_port();
	}
	if ((which & 2) != 0) {
		other.destination = random_address(tuple->family);
		other.destination_port = random_port();
	}
	if (tuple->protocol == IPPROTO_TCP || tuple->protocol == IPPROTO_UDP)
		return other;
	/* an identifier stays on its side; other protocols have no ports */
	if (!is_query(tuple->protocol) || tuple->source_port == 0)
		other.destination_port = 0;
	if (!is_query(tuple->protocol) || tuple->destination_port == 0)
		other.source_port = 0;
	return other;
}

static void
test_random(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, GRE};
	static const uint8_t types[FAMILIES][4] = {{3, 11, 12, 3}, {1, 2, 3, 4}};
	static const uint8_t options[40] = {7, 39, 4};
	char router[ADDRESS_TEXT_SIZE];

	srand(5);
	for (unsigned round = 0; round < 60000; round++) {
		enum family family = rand() % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6;
		uint8_t protocol = protocols[rand() % 4];
		struct scene scene = scene_of(family, &flow_kinds[family][0],
			protocol == IPPROTO_ICMP ? query_protocol(family) : protocol,
			rand() % 2 == 0 ? DIRECTION_ORIGINAL : DIRECTION_REPLY);
		struct tuple *tuple = &scene.tuple[0];
		union address address;

		tuple->source = random_address(family);
		tuple->destination = random_address(family);
		if (protocol != GRE)
			tuple->source_port = random_port() | RTE_BE16(1);
		if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP)
			tuple->destination_port = random_port();
		scene.tuple[1] = random_other(tuple);
		scene.quote.payload = (uint16_t)(8 + rand() % 60);
		scene.quote.tcp_options = (uint8_t)(rand() % 3 * 4);
		scene.quote.no_checksum = rand() % 8 == 0;
		scene.quote.options = scene.error.options = options;
		scene.quote.options_length = (uint8_t)(rand() % 2 * 40);
		scene.error.options_length = (uint8_t)(rand() % 2 * 40);
		scene.error.type = types[family][rand() % 4];
		scene.error.code = (uint8_t)(rand() % 16);
		scene.error.ttl = (uint8_t)(3 + rand() % 253);
		scene.error.df = rand() % 4 != 0;
		scene.rest[2] = 5;
		scene.rest[3] = (uint8_t)rand();
		if (rand() % 2 == 0)
			scene.length = quoted_header(&scene) + 8 + (uint32_t)(rand() % 20);
		if (rand() % 2 == 0) {
			address = random_address(family);
			scene.router = address_format(router, family, &address);
		}
		if (!is_right(&scene) || (scene.error.df && !goes_back(&scene))) {
			fprintf(stderr, "\nround %u, IPv%c, protocol %u\n", round,
				family == FAMILY_IPV4 ? '4' : '6', protocol);
			CU_FAIL("wrong");
			return;
		}
	}
	CU_PASS("all right");
}

/*
 * Zero and 0xffff are the same in a checksum, and to go there and back may turn one into the other:
 * make them look the same.
 */
static void
normalise(struct frame *frame, uint32_t quote, uint32_t l4, uint8_t protocol)
{
	uint32_t fields[2] = {quote + 10, 0};

	if (protocol == IPPROTO_TCP)
		fields[1] = l4 + 16;
	else if (is_query(protocol))
		fields[1] = l4 + 2;
	for (unsigned i = frame->bytes[12] == 0x08 ? 0 : 1; i < 2; i++) {
		uint8_t *field = frame->bytes + fields[i];

		if (fields[i] != 0 && fields[i] + 2 <= frame->length && field[0] == 0xff &&
			field[1] == 0xff)
			put16(field, 0);
	}
}

/*
 * An error that somebody has tampered with, its checksums mended so that it gets as far as it can.
 * Whatever it is about, a flow of that name is there. What comes out must be whole, and back on
 * the other side it must be the same again.
 * @return true when it got through
 */
static bool
survives(struct rte_mbuf *mbuf)
{
	static struct frame once;
	struct scene scene = {.error.df = true};
	struct packet packet;
	struct flow *flow;
	bool ipv4 = before.bytes[12] == 0x08;
	uint32_t hop = ipv4 ? 22 : 21;
	enum direction direction = rand() % 2 == 0 ? DIRECTION_ORIGINAL : DIRECTION_REPLY;

	if (scene_relate(mbuf) != REASON_NONE) {
		rte_pktmbuf_free(mbuf);
		return false;
	}
	packet = *packet_of(mbuf);
	scene.tuple[direction] = packet.tuple;
	scene.tuple[!direction] = random_other(&packet.tuple);
	flow = flow_open(scene_flows, &scene.tuple[0], &scene.tuple[1], 1000);
	if (flow == NULL) {
		rte_pktmbuf_free(mbuf);
		return false;
	}
	(void)scene_pass(mbuf, flow);
	flow_close(scene_flows, flow);
	CU_ASSERT_EQUAL_FATAL(after.length, before.length);
	CU_ASSERT_EQUAL_FATAL(frame_faults(after.bytes, after.length), 0);

	once = after;
	scene = scene_mirrored(&scene);
	flow = flow_open(scene_flows, &scene.tuple[0], &scene.tuple[1], 1000);
	mbuf = frame_mbuf_tight(scene_pool, once.bytes, once.length);
	if (flow == NULL || scene_relate(mbuf) != REASON_NONE) {
		CU_FAIL("what came out is not understood");
		rte_pktmbuf_free(mbuf);
		return true;
	}
	CU_ASSERT_EQUAL(
		memcmp(&packet_of(mbuf)->tuple, &scene.tuple[direction], sizeof(struct tuple)), 0);
	(void)scene_pass(mbuf, flow);
	flow_close(scene_flows, flow);
	after.bytes[hop] = before.bytes[hop];
	normalise(&after, packet.payload_offset, packet.quoted_l4, packet.tuple.protocol);
	once = before;
	normalise(&once, packet.payload_offset, packet.quoted_l4, packet.tuple.protocol);
	frame_fix(after.bytes, after.length);
	frame_fix(once.bytes, once.length);
	CU_ASSERT_EQUAL(memcmp(after.bytes, once.bytes, once.length), 0);
	return true;
}

static void
test_hostile(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, GRE};
	static const uint8_t special[] = {0, 1, 4, 6, 8, 17, 20, 43, 44, 58, 60, 0x45, 0x60, 0xff};
	static const uint8_t options[8] = {7, 7, 4};
	unsigned survived = 0;
	unsigned rounds = 150000;

	srand(6);
	for (unsigned round = 0; round < rounds; round++) {
		enum family family = rand() % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6;
		uint8_t protocol = protocols[rand() % 4];
		uint8_t chain[16] = {0, 0, 1, 4, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0};
		struct scene scene = scene_of(family, &flow_kinds[family][rand() % FLOW_KINDS],
			protocol == IPPROTO_ICMP ? query_protocol(family) : protocol,
			rand() % 2 == 0 ? DIRECTION_ORIGINAL : DIRECTION_REPLY);
		uint32_t quote = quote_offset(&scene);
		uint8_t *header = before.bytes + quote;
		struct rte_mbuf *mbuf;
		uint32_t room;

		chain[0] = special[rand() % RTE_DIM(special)];
		chain[8] = scene.tuple[0].protocol;
		scene.quote.first_extension = special[rand() % RTE_DIM(special)];
		scene.quote.extensions = chain;
		scene.quote.extensions_length = (uint16_t)(rand() % 3 * 8);
		if (scene.quote.extensions_length == 8)
			chain[0] = scene.tuple[0].protocol;
		scene.quote.options = options;
		scene.quote.options_length = (uint8_t)(rand() % 2 * 8);
		if (rand() % 2 == 0)
			scene.length = (uint32_t)rand() % 120;
		scene.extension = (uint32_t)rand() % 3 * 4;
		scene.rest[0] = rand() % 4 == 0 ? (uint8_t)rand() : 0;
		scene.rest[1] = rand() % 4 == 0 ? (uint8_t)rand() : 0;
		scene_build(&before, &scene, true);
		room = before.length - quote;
		for (int changes = rand() % 4; changes > 0 && room > 0; changes--) {
			uint8_t *byte = header + (uint32_t)rand() % RTE_MIN(room, 80u);

			*byte = rand() % 2 == 0 ? (uint8_t)rand()
						: special[rand() % RTE_DIM(special)];
		}
		if (family == FAMILY_IPV4 && (header[0] & 15) * 4u <= room &&
			(header[0] & 15) >= 5) {
			put16(header + 10, 0);
			put16(header + 10,
				(uint16_t)~frame_sum(0, header, (header[0] & 15) * UINT32_C(4)));
		}
		/* it goes to whoever it says */
		if (rand() % 2 == 0 && room >= 40) {
			if (family == FAMILY_IPV4)
				memcpy(before.bytes + 30, header + 12, 4);
			else
				memcpy(before.bytes + 38, header + 8, 16);
		}
		frame_fix(before.bytes, before.length);
		if (rand() % 2 == 0) {
			mbuf = frame_mbuf_tight(scene_pool, before.bytes, before.length);
		} else {
			uint32_t first = quote + (uint32_t)rand() % (room + 1);
			uint32_t rest = 1 + (uint32_t)rand() % 100;

			mbuf = frame_mbuf_chain(
				scene_pool, before.bytes, before.length, first, rest);
		}
		survived += survives(mbuf);
		if (CU_get_number_of_failures() > 20)
			break;
	}
	/* It would prove little if none got through, or all. */
	CU_ASSERT(survived > rounds / 10 && survived < rounds * 9 / 10);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(scene_pool), 0);
	CU_ASSERT_EQUAL(flow_count(scene_flows), 0);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"random flows and errors, and back", test_random},
		{"hostile errors, and back", test_hostile},
	};

	unit_eal();
	if (!scene_start())
		return 1;
	return UNIT_RUN("icmp hostile", tests);
}
