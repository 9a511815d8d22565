/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rewriting: after every translation each checksum is computed anew, byte by byte, and every byte
 * that has no business changing is compared with what it was.
 */
#include "nat/rewrite.h"
#include "classifier/parse.h"
#include "tests/unit/frames.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>

#include <rte_tcp.h>

static struct rte_mempool *pool;
static struct flow_table *table;
static const struct flow_secret secret = {
	{0x1f83d9abfb41bd6b, 0x5be0cd19137e2179, 0x6a09e667f3bcc908, 0xbb67ae8584caa73b}};
static struct frame before, after;
/* What the IPv4 packet in `after` should have as its identification. */
static uint16_t fresh;

/* A frame, and how its flow sees it from the other side. */
struct translation {
	enum family family;
	uint8_t protocol;
	union address source, destination, new_source, new_destination;
	uint16_t source_port, destination_port, new_source_port, new_destination_port;
};

static union address
address_of(const char *text)
{
	union address address;
	enum family family;

	CU_ASSERT_EQUAL_FATAL(address_parse(text, &family, &address), 0);
	return address;
}

static struct tuple
tuple_of(const struct translation *translation, bool reversed_new)
{
	struct tuple tuple = {
		.protocol = translation->protocol,
		.family = (uint8_t)translation->family,
		.source = translation->source,
		.destination = translation->destination,
		.source_port = rte_cpu_to_be_16(translation->source_port),
		.destination_port = rte_cpu_to_be_16(translation->destination_port),
	};

	if (reversed_new) {
		tuple.source = translation->new_destination;
		tuple.destination = translation->new_source;
		tuple.source_port = rte_cpu_to_be_16(translation->new_destination_port);
		tuple.destination_port = rte_cpu_to_be_16(translation->new_source_port);
	}
	return tuple;
}

/* Take `before` through parse and rewrite in @p direction; the result is in `after`. */
static void
rewrite(const struct translation *translation, enum direction direction, uint64_t ol_flags)
{
	struct tuple here = tuple_of(translation, false);
	struct tuple there = tuple_of(translation, true);
	struct flow *flow = direction == DIRECTION_ORIGINAL ? flow_open(table, &here, &there, 1000)
							    : flow_open(table, &there, &here, 1000);
	struct rte_mbuf *mbuf = frame_mbuf_tight(pool, before.bytes, before.length);

	CU_ASSERT_PTR_NOT_NULL_FATAL(flow);
	mbuf->ol_flags |= ol_flags;
	CU_ASSERT_EQUAL_FATAL(parse_burst(&mbuf, 1), 1);
	CU_ASSERT_EQUAL(memcmp(&packet_of(mbuf)->tuple, &here, sizeof(here)), 0);
	packet_of(mbuf)->flow = flow;
	packet_of(mbuf)->direction = (uint8_t)direction;
	packet_of(mbuf)->hash = flow_hash(&secret, &here);
	fresh = (uint16_t)rewrite_identification(
		&secret, packet_of(mbuf), (uint32_t)before.bytes[18] << 8 | before.bytes[19]);
	rewrite_burst(&secret, &mbuf, 1);
	frame_of_mbuf(&after, mbuf);
	rte_pktmbuf_free(mbuf);
	flow_close(table, flow);
}

static bool
is_icmp(const struct translation *translation)
{
	return translation->protocol == IPPROTO_ICMP || translation->protocol == IPPROTO_ICMPV6;
}

/* Build `before` as the translation's near side has it. */
static void
build(const struct translation *translation, struct frame_spec spec)
{
	char source[ADDRESS_TEXT_SIZE], destination[ADDRESS_TEXT_SIZE];

	spec.source = address_format(source, translation->family, &translation->source);
	spec.destination =
		address_format(destination, translation->family, &translation->destination);
	spec.protocol = translation->protocol;
	spec.source_port = translation->source_port;
	spec.destination_port = translation->destination_port;
	if (is_icmp(translation) && spec.source_port == 0)
		spec.source_port = translation->destination_port;
	frame_build(&before, &spec);
}

/* Everything that must be true of `after`. @return false, and says what, if it is not */
static bool
is_right(const struct translation *translation)
{
	struct frame_view view = frame_view(after.bytes, after.length);
	struct frame_view old = frame_view(before.bytes, before.length);
	static struct frame undone;
	uint32_t size = translation->family == FAMILY_IPV4 ? 4 : 16;
	uint32_t addresses = translation->family == FAMILY_IPV4 ? 26 : 22;

	if (!view.ip || after.length != before.length || view.ttl != old.ttl - 1)
		return false;
	if (!address_equal(&view.source, &translation->new_source) ||
		!address_equal(&view.destination, &translation->new_destination))
		return false;
	if (translation->protocol == IPPROTO_TCP || translation->protocol == IPPROTO_UDP) {
		if (view.source_port != translation->new_source_port ||
			view.destination_port != translation->new_destination_port)
			return false;
	} else if (is_icmp(translation)) {
		uint16_t identifier =
			translation->new_source_port | translation->new_destination_port;

		if (after.bytes[view.l4 + 4] != identifier >> 8 ||
			after.bytes[view.l4 + 5] != (identifier & 0xff))
			return false;
	}
	if (frame_faults(after.bytes, after.length) != 0)
		return false;
	if (translation->family == FAMILY_IPV4 && (before.bytes[20] & 0x40) == 0 &&
		(after.bytes[18] << 8 | after.bytes[19]) != fresh)
		return false;
	/* Undo what may change: all else must be as it was. */
	undone = after;
	memcpy(undone.bytes + addresses, before.bytes + addresses, 2 * size);
	if (translation->family == FAMILY_IPV4) {
		if ((before.bytes[20] & 0x40) == 0)
			memcpy(undone.bytes + 18, before.bytes + 18, 2);
		memcpy(undone.bytes + 22, before.bytes + 22, 4); /* TTL to checksum */
	} else {
		undone.bytes[21] = before.bytes[21];
	}
	if (translation->protocol == IPPROTO_TCP || translation->protocol == IPPROTO_UDP)
		memcpy(undone.bytes + view.l4, before.bytes + view.l4, 4);
	if (is_icmp(translation))
		memcpy(undone.bytes + view.l4 + 4, before.bytes + view.l4 + 4, 2);
	if (translation->protocol == IPPROTO_TCP)
		memcpy(undone.bytes + view.l4 + 16, before.bytes + view.l4 + 16, 2);
	else if (translation->protocol == IPPROTO_UDP)
		memcpy(undone.bytes + view.l4 + 6, before.bytes + view.l4 + 6, 2);
	else if (is_icmp(translation))
		memcpy(undone.bytes + view.l4 + 2, before.bytes + view.l4 + 2, 2);
	return memcmp(undone.bytes, before.bytes, before.length) == 0;
}

static struct translation
masquerade(uint8_t protocol)
{
	return (struct translation){
		.family = FAMILY_IPV4,
		.protocol = protocol,
		.source = address_of("10.137.0.16"),
		.destination = address_of("192.0.2.7"),
		.new_source = address_of("192.168.50.1"),
		.new_destination = address_of("192.0.2.7"),
		.source_port = 40000,
		.destination_port = 443,
		.new_source_port = 50001,
		.new_destination_port = 443,
	};
}

/* --- one of each kind --- */

static void
test_masquerade(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};

	for (unsigned i = 0; i < 2; i++) {
		struct translation out = masquerade(protocols[i]);
		struct translation back = {
			.family = FAMILY_IPV4,
			.protocol = protocols[i],
			.source = out.new_destination,
			.destination = out.new_source,
			.new_source = out.destination,
			.new_destination = out.source,
			.source_port = out.new_destination_port,
			.destination_port = out.new_source_port,
			.new_source_port = out.destination_port,
			.new_destination_port = out.source_port,
		};

		build(&out, (struct frame_spec){.payload = 33, .ttl = 2});
		rewrite(&out, DIRECTION_ORIGINAL, 0);
		CU_ASSERT(is_right(&out));
		CU_ASSERT_EQUAL(after.bytes[22], 1);
		build(&back, (struct frame_spec){.payload = 34, .ttl = 255});
		rewrite(&back, DIRECTION_REPLY, 0);
		CU_ASSERT(is_right(&back));
		CU_ASSERT_EQUAL(after.bytes[22], 254);
	}
}

static void
test_ping(void)
{
	struct translation out = masquerade(IPPROTO_ICMP);
	struct translation back;

	out.destination_port = out.new_destination_port = 0;
	build(&out, (struct frame_spec){.type = 8, .payload = 56});
	rewrite(&out, DIRECTION_ORIGINAL, 0);
	CU_ASSERT(is_right(&out));
	back = (struct translation){
		.family = FAMILY_IPV4,
		.protocol = IPPROTO_ICMP,
		.source = out.new_destination,
		.destination = out.new_source,
		.new_source = out.destination,
		.new_destination = out.source,
		.destination_port = out.new_source_port,
		.new_destination_port = out.source_port,
	};
	build(&back, (struct frame_spec){.type = 0, .payload = 56});
	rewrite(&back, DIRECTION_REPLY, 0);
	CU_ASSERT(is_right(&back));
	/* an identifier of zero is one as any other */
	out.source_port = 0;
	build(&out, (struct frame_spec){.type = 8, .payload = 1});
	rewrite(&out, DIRECTION_ORIGINAL, 0);
	CU_ASSERT(is_right(&out));
}

/* RFC 768: no checksum stays none, over IPv4; one that comes out as zero is sent as 0xffff. */
static void
test_udp_zero(void)
{
	struct translation out = masquerade(IPPROTO_UDP);
	bool met = false;

	build(&out, (struct frame_spec){.payload = 9, .no_checksum = true});
	rewrite(&out, DIRECTION_ORIGINAL, 0);
	CU_ASSERT(is_right(&out));
	CU_ASSERT_EQUAL(after.bytes[40] | after.bytes[41], 0);

	for (unsigned port = 0; port < 65536; port++) {
		out.new_source_port = (uint16_t)port;
		build(&out, (struct frame_spec){.payload = 2});
		rewrite(&out, DIRECTION_ORIGINAL, 0);
		if (!is_right(&out) || (after.bytes[40] | after.bytes[41]) == 0) {
			CU_FAIL("wrong checksum");
			break;
		}
		met |= after.bytes[40] == 0xff && after.bytes[41] == 0xff;
	}
	CU_ASSERT(met);
}

/* A wrong checksum stays as wrong as it was: it is not for us to repair. */
static void
test_wrong_stays_wrong(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};

	for (unsigned i = 0; i < 2; i++) {
		struct translation out = masquerade(protocols[i]);
		unsigned field = protocols[i] == IPPROTO_TCP ? 50 : 40;

		for (unsigned bit = 0; bit < 16; bit++) {
			build(&out, (struct frame_spec){.payload = 5});
			before.bytes[field + bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (before.bytes[field] == 0 && before.bytes[field + 1] == 0)
				continue;
			rewrite(&out, DIRECTION_ORIGINAL, 0);
			CU_ASSERT_EQUAL(frame_faults(after.bytes, after.length), FRAME_L4_CHECKSUM);
		}
	}
}

static void
test_other_protocol(void)
{
	struct translation out = masquerade(47);

	out.source_port = out.destination_port = 0;
	out.new_source_port = out.new_destination_port = 0;
	for (uint16_t payload = 0; payload < 10; payload++) {
		build(&out, (struct frame_spec){.payload = payload});
		rewrite(&out, DIRECTION_ORIGINAL, 0);
		CU_ASSERT(is_right(&out));
	}
}

static void
test_ipv4_options(void)
{
	static const uint8_t options[8] = {148, 4, 0, 0, 1, 1, 1, 0};
	struct translation out = masquerade(IPPROTO_TCP);

	build(&out,
		(struct frame_spec){
			.options = options, .options_length = 8, .payload = 7, .tcp_options = 12});
	rewrite(&out, DIRECTION_ORIGINAL, 0);
	CU_ASSERT(is_right(&out));
}

/* --- anything whatever --- */

static uint16_t
random_port(void)
{
	static const uint16_t special[] = {0, 1, 0x00ff, 0xff00, 0xfffe, 0xffff};

	return rand() % 3 == 0 ? special[rand() % 6] : (uint16_t)rand();
}

static union address
random_address(enum family family)
{
	static const uint8_t fill[] = {0, 0xff, 0xfe, 1};
	union address address = {.half = {0, 0}};

	for (unsigned i = 0; i < (family == FAMILY_IPV4 ? 4 : 16); i++)
		address.v6[i] = rand() % 2 == 0 ? (uint8_t)rand() : fill[rand() % 4];
	/* Neither zero, nor what address_format would write in a way of its own. */
	address.v6[0] = (uint8_t)(rand() | 0x10);
	return address;
}

static struct translation
random_translation(enum direction direction)
{
	struct translation translation = {.family = rand() % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6};
	enum family family = translation.family;

	switch (rand() % 3) {
	case 0:
		translation.protocol = IPPROTO_TCP;
		break;
	case 1:
		translation.protocol = IPPROTO_UDP;
		break;
	default:
		translation.protocol = family == FAMILY_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
		break;
	}
	translation.source = random_address(family);
	translation.destination = random_address(family);
	translation.source_port = random_port();
	translation.destination_port = random_port();
	translation.new_source = translation.source;
	translation.new_destination = translation.destination;
	translation.new_source_port = translation.source_port;
	translation.new_destination_port = translation.destination_port;
	/* Of IPv6 a flow holds three addresses at most: one of them changes. */
	switch (rand() % 4) {
	case 0:
		translation.new_source = random_address(family);
		translation.new_source_port = random_port();
		break;
	case 1:
		translation.new_destination = random_address(family);
		translation.new_destination_port = random_port();
		break;
	case 2:
		if (family == FAMILY_IPV6)
			break;
		translation.new_source = random_address(family);
		translation.new_destination = random_address(family);
		translation.new_source_port = random_port();
		translation.new_destination_port = random_port();
		break;
	default:
		break;
	}
	if (is_icmp(&translation)) {
		/* a request has its identifier as source port, a reply as destination port */
		if (direction == DIRECTION_ORIGINAL)
			translation.destination_port = translation.new_destination_port = 0;
		else
			translation.source_port = translation.new_source_port = 0;
	}
	return translation;
}

static void
random_rounds(bool partial, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		enum direction direction = rand() % 2 == 0 ? DIRECTION_ORIGINAL : DIRECTION_REPLY;
		struct translation translation = random_translation(direction);
		bool answer = direction == DIRECTION_REPLY;
		struct frame_spec spec = {
			.payload = (uint16_t)(rand() % 40),
			.ttl = (uint8_t)(1 + rand() % 255),
			.tcp_options = (uint8_t)(rand() % 3 * 4),
			.df = rand() % 2 == 0,
			.type = translation.family == FAMILY_IPV4 ? (answer ? 0 : 8)
								  : (answer ? 129 : 128),
		};

		if (address_equal(&translation.source, &translation.destination))
			continue;
		build(&translation, spec);
		if (translation.family == FAMILY_IPV4) {
			before.bytes[18] = (uint8_t)rand();
			before.bytes[19] = (uint8_t)rand();
			frame_fix(before.bytes, before.length);
		}
		if (partial) {
			if (is_icmp(&translation))
				continue;
			frame_make_partial(&before);
		}
		rewrite(&translation, direction, partial ? RTE_MBUF_F_RX_L4_CKSUM_NONE : 0);
		if (partial) {
			frame_complete(after.bytes, after.length);
			frame_complete(before.bytes, before.length);
		}
		if (!is_right(&translation)) {
			fprintf(stderr, "round %u, protocol %u\n", i, translation.protocol);
			CU_FAIL("wrong");
			return;
		}
	}
	CU_PASS("all right");
}

static void
test_random(void)
{
	srand(3);
	random_rounds(false, 150000);
}

/* Only the pseudo-header's sum is there: what hardware makes of it later must be right. */
static void
test_partial(void)
{
	srand(4);
	random_rounds(true, 150000);
}

/* Many in one burst, each with a flow of its own. */
static void
test_burst(void)
{
	struct rte_mbuf *burst[BURST_MAX];
	struct flow *flows[BURST_MAX];
	struct translation out = masquerade(IPPROTO_UDP);

	for (unsigned i = 0; i < BURST_MAX; i++) {
		struct tuple here, there;

		out.source_port = (uint16_t)(1000 + i);
		out.new_source_port = (uint16_t)(60000 - i);
		here = tuple_of(&out, false);
		there = tuple_of(&out, true);
		build(&out, (struct frame_spec){.payload = (uint16_t)i});
		burst[i] = frame_mbuf(pool, before.bytes, before.length);
		CU_ASSERT_EQUAL(parse_burst(&burst[i], 1), 1);
		flows[i] = flow_open(table, &here, &there, 1000);
		packet_of(burst[i])->flow = flows[i];
		packet_of(burst[i])->hash = flow_hash(&secret, &here);
	}
	rewrite_burst(&secret, burst, BURST_MAX);
	for (unsigned i = 0; i < BURST_MAX; i++) {
		out.source_port = (uint16_t)(1000 + i);
		out.new_source_port = (uint16_t)(60000 - i);
		build(&out, (struct frame_spec){.payload = (uint16_t)i});
		frame_of_mbuf(&after, burst[i]);
		fresh = (uint16_t)rewrite_identification(&secret, packet_of(burst[i]), 0);
		CU_ASSERT(is_right(&out));
		flow_close(table, flows[i]);
	}
	rte_pktmbuf_free_bulk(burst, BURST_MAX);
	rewrite_burst(&secret, burst, 0);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 0);
}

/* --- identification --- */

/* The identification with which a packet that has @p old leaves. */
static uint16_t
identification_after(const struct translation *translation, uint16_t old, bool df)
{
	build(translation, (struct frame_spec){.payload = 10, .df = df});
	before.bytes[18] = (uint8_t)(old >> 8);
	before.bytes[19] = (uint8_t)old;
	frame_fix(before.bytes, before.length);
	rewrite(translation, DIRECTION_ORIGINAL, 0);
	CU_ASSERT(is_right(translation));
	return (uint16_t)(after.bytes[18] << 8 | after.bytes[19]);
}

static void
test_identification(void)
{
	struct translation out = masquerade(IPPROTO_UDP);
	unsigned same = 0;

	for (unsigned old = 0; old < 65536; old += 257) {
		uint16_t once = identification_after(&out, (uint16_t)old, false);

		CU_ASSERT_EQUAL(identification_after(&out, (uint16_t)old, true), old);
		CU_ASSERT_EQUAL(identification_after(&out, (uint16_t)old, false), once);
		same += once == old;
	}
	CU_ASSERT(same < 4);
}

/* Every input and every word of the secret count, and no pattern of the old ones is left. */
static void
test_unforetold(void)
{
	static uint8_t met[65536], steps[65536];
	struct packet packet = {.hash = 0x0123456789abcdef};
	struct packet other = packet;
	uint32_t one = rewrite_identification(&secret, &packet, 7);
	unsigned distinct = 0;
	unsigned commonest = 0;
	uint16_t last = 0;

	for (unsigned bit = 0; bit < 64; bit++) {
		other.hash = packet.hash ^ UINT64_C(1) << bit;
		CU_ASSERT_NOT_EQUAL(rewrite_identification(&secret, &other, 7), one);
	}
	other = packet;
	other.direction = DIRECTION_REPLY;
	CU_ASSERT_NOT_EQUAL(rewrite_identification(&secret, &other, 7), one);
	for (unsigned bit = 0; bit < 32; bit++)
		CU_ASSERT_NOT_EQUAL(
			rewrite_identification(&secret, &packet, 7 ^ UINT32_C(1) << bit), one);
	for (unsigned word = 2; word < 4; word++) {
		struct flow_secret changed = secret;

		changed.word[word]++;
		CU_ASSERT_NOT_EQUAL(rewrite_identification(&changed, &packet, 7), one);
	}
	/* a counter goes in; 65,536 random draws meet 1 - 1/e of all numbers */
	for (uint32_t old = 0; old < 65536; old++) {
		uint16_t id = (uint16_t)rewrite_identification(&secret, &packet, old);
		uint16_t step = (uint16_t)(id - last);

		distinct += met[id]++ == 0;
		steps[step]++;
		commonest = RTE_MAX(commonest, steps[step]);
		last = id;
	}
	CU_ASSERT(distinct > 41000 && distinct < 42000);
	CU_ASSERT(commonest < 16);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"masquerade, both directions", test_masquerade},
		{"ping, both directions", test_ping},
		{"UDP checksum of zero", test_udp_zero},
		{"a wrong checksum stays wrong", test_wrong_stays_wrong},
		{"other protocols", test_other_protocol},
		{"IPv4 options", test_ipv4_options},
		{"random translations", test_random},
		{"random translations, partial checksums", test_partial},
		{"bursts", test_burst},
		{"RFC 7857: a fresh identification without DF only", test_identification},
		{"identifications cannot be foretold", test_unforetold},
	};

	unit_eal();
	pool = rte_pktmbuf_pool_create("test", 1023, 0,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN),
		RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	table = flow_table_create(1024, &secret, 0, SOCKET_ID_ANY);
	if (pool == NULL || table == NULL)
		return 1;
	return UNIT_RUN("rewrite", tests);
}
