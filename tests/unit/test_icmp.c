/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Related errors, each sort of flow, of error and of quote by itself. See scene.h for how they are
 * judged.
 */
#include "nat/icmp.h"
#include "classifier/parse.h"
#include "nat/rewrite.h"
#include "nat/tcp.h"
#include "tests/unit/scene.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>

/* --- all kinds of flows --- */

static void
all_kinds(uint8_t protocol, enum direction quoted)
{
	for (unsigned family = 0; family < FAMILIES; family++)
		for (unsigned i = 0; i < FLOW_KINDS; i++) {
			const struct flow_kind *kind = &flow_kinds[family][i];
			struct scene scene = scene_of(family, kind,
				protocol == IPPROTO_ICMP ? query_protocol(family) : protocol,
				quoted);

			/* without ports a qube has only one flow with itself: both ways are one */
			if (protocol == GRE && strcmp(kind->name, "own forward") == 0)
				continue;
			if (!is_right(&scene) || !goes_back(&scene)) {
				fprintf(stderr, "\n%s, IPv%c, protocol %u, %s\n", kind->name,
					family == FAMILY_IPV4 ? '4' : '6', protocol,
					quoted == DIRECTION_ORIGINAL ? "original" : "reply");
				CU_FAIL("wrong");
			}
			scene.length = quoted_header(&scene) + 8;
			CU_ASSERT(is_right(&scene));
			CU_ASSERT(goes_back(&scene));
		}
}

static void
test_udp(void)
{
	all_kinds(IPPROTO_UDP, DIRECTION_ORIGINAL);
	all_kinds(IPPROTO_UDP, DIRECTION_REPLY);
}

static void
test_tcp(void)
{
	all_kinds(IPPROTO_TCP, DIRECTION_ORIGINAL);
	all_kinds(IPPROTO_TCP, DIRECTION_REPLY);
}

static void
test_query(void)
{
	static const uint8_t stamps[] = {13, 14};
	struct scene scene;

	all_kinds(IPPROTO_ICMP, DIRECTION_ORIGINAL);
	all_kinds(IPPROTO_ICMP, DIRECTION_REPLY);
	/* timestamps are queries as well */
	for (unsigned i = 0; i < 2; i++) {
		struct flow *flow;

		scene = scene_of(FAMILY_IPV4, &flow_kinds[FAMILY_IPV4][0], IPPROTO_ICMP,
			i == 0 ? DIRECTION_ORIGINAL : DIRECTION_REPLY);
		scene.quote.type = stamps[i];
		flow = scene_open(&scene);
		flow->state = 13;
		scene_build(&before, &scene, true);
		scene_build(&expected, &scene, false);
		CU_ASSERT(becomes(
			frame_mbuf_tight(scene_pool, before.bytes, before.length), &scene, flow));
		flow_close(scene_flows, flow);
	}
}

static void
test_other_protocol(void)
{
	all_kinds(GRE, DIRECTION_ORIGINAL);
	all_kinds(GRE, DIRECTION_REPLY);
}

/* RFC 5508 REQ-4: the outer source is changed only if it is the far end. */
static void
test_router(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP};

	for (unsigned family = 0; family < FAMILIES; family++)
		for (unsigned kind = 0; kind < FLOW_KINDS; kind++)
			for (unsigned i = 0; i < RTE_DIM(protocols); i++) {
				struct scene scene = scene_of(family, &flow_kinds[family][kind],
					i == 2 ? query_protocol(family) : protocols[i],
					DIRECTION_ORIGINAL);

				if (flow_kinds[family][kind].router == NULL)
					continue;
				scene.router = flow_kinds[family][kind].router;
				scene.error.type = family == FAMILY_IPV4 ? 11 : 3;
				scene.error.code = 0;
				CU_ASSERT(is_right(&scene));
				CU_ASSERT(goes_back(&scene));
				/* the far end's name on the other side is any router's here */
				scene.router = flow_kinds[family][kind].tuple[0].destination;
				CU_ASSERT(is_right(&scene));
			}
}

/* --- what is quoted, and how much --- */

/* Cut after every byte: 8 of the upper layer are needed, and all that are there are right. */
static void
test_every_length(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, GRE};
	static const uint8_t options[8] = {7, 7, 4, 0, 0, 0, 0, 0};
	static const uint8_t extensions[16] = {IPPROTO_TCP, 1, 1, 4};

	for (unsigned i = 0; i < 2 * FAMILIES * RTE_DIM(protocols); i++) {
		enum family family = i % FAMILIES;
		uint8_t protocol = protocols[i / FAMILIES % RTE_DIM(protocols)];
		struct scene scene = scene_masquerade(
			family, protocol == IPPROTO_ICMP ? query_protocol(family) : protocol);
		uint8_t chain[sizeof(extensions)];
		uint32_t whole;

		scene.quote.payload = 20;
		scene.quote.tcp_options = 4;
		if (i >= FAMILIES * RTE_DIM(protocols)) {
			memcpy(chain, extensions, sizeof(chain));
			chain[0] = scene.tuple[0].protocol;
			scene.quote.options = options;
			scene.quote.options_length = sizeof(options);
			scene.quote.first_extension = IPPROTO_DSTOPTS;
			scene.quote.extensions = chain;
			scene.quote.extensions_length = sizeof(chain);
		}
		scene_build(&before, &scene, true);
		whole = before.length - quote_offset(&scene);
		for (scene.length = 0; scene.length <= whole; scene.length++) {
			if (scene.length < quoted_header(&scene) + 8) {
				CU_ASSERT_EQUAL(reason_of_scene(&scene), REASON_ICMP_ERROR);
			} else {
				CU_ASSERT(is_right(&scene) && goes_back(&scene));
			}
		}
	}
}

/* RFC 768: no checksum stays none, over IPv4; one that comes out as zero is 0xffff. */
static void
test_udp_zero(void)
{
	struct scene scene = scene_masquerade(FAMILY_IPV4, IPPROTO_UDP);
	bool met = false;

	scene.quote.no_checksum = true;
	CU_ASSERT(is_right(&scene));
	CU_ASSERT_EQUAL(
		after.bytes[quote_offset(&scene) + 26] | after.bytes[quote_offset(&scene) + 27], 0);
	scene = scene_masquerade(FAMILY_IPV6, IPPROTO_UDP);
	scene.quote.no_checksum = true;
	CU_ASSERT(is_right(&scene));

	scene = scene_masquerade(FAMILY_IPV4, IPPROTO_UDP);
	scene.quote.payload = 2;
	for (unsigned port = 1; port < 65536; port++) {
		const uint8_t *checksum = after.bytes + quote_offset(&scene) + 26;

		scene.tuple[0].source_port = rte_cpu_to_be_16((uint16_t)port);
		if (!is_right(&scene)) {
			CU_FAIL("wrong");
			break;
		}
		met |= checksum[0] == 0xff && checksum[1] == 0xff;
	}
	CU_ASSERT(met);
}

/*
 * RFC 5508 REQ-3: of the quoted packet the IP header's checksum counts, that of its upper layer
 * does not. A wrong one stays as wrong as it was.
 */
static void
test_quoted_checksums(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP};
	static const uint8_t fields[] = {16, 6, 2};
	struct scene scene = scene_masquerade(FAMILY_IPV4, IPPROTO_UDP);
	uint32_t quote = quote_offset(&scene);

	for (unsigned bit = 0; bit < 20 * 8; bit++) {
		scene_build(&before, &scene, true);
		before.bytes[quote + bit / 8] ^= (uint8_t)(1 << bit % 8);
		frame_fix(before.bytes, before.length);
		CU_ASSERT_EQUAL(reason_of(&before), REASON_ICMP_ERROR);
	}
	for (unsigned i = 0; i < RTE_DIM(protocols); i++) {
		struct flow *flow;
		uint8_t *field = before.bytes + quote + 20 + fields[i];
		uint8_t *shall = expected.bytes + quote + 20 + fields[i];
		uint16_t was, is;

		scene = scene_masquerade(FAMILY_IPV4, protocols[i]);
		flow = scene_open(&scene);
		scene_build(&before, &scene, true);
		scene_build(&expected, &scene, false);
		was = (uint16_t)(field[0] << 8 | field[1]);
		is = (uint16_t)(shall[0] << 8 | shall[1]);
		put16(field, (uint16_t)(was - 1));
		put16(shall, (uint16_t)(is - 1));
		frame_fix(before.bytes, before.length);
		frame_fix(expected.bytes, expected.length);
		CU_ASSERT(becomes(
			frame_mbuf_tight(scene_pool, before.bytes, before.length), &scene, flow));
		flow_close(scene_flows, flow);
	}
}

/* RFC 5508 REQ-3: options of the quoted header are skipped, and so are those of the error itself.
 */
static void
test_ipv4_options(void)
{
	static const uint8_t options[40] = {7, 39, 4, 10, 1, 2, 3};
	struct scene scene = scene_masquerade(FAMILY_IPV4, IPPROTO_TCP);

	scene.quote.options = scene.error.options = options;
	for (uint8_t length = 4; length <= 40; length += 4) {
		scene.quote.options_length = length;
		scene.error.options_length = 0;
		/* parse looks at the options of the error, nobody at those of the quote */
		CU_ASSERT(is_right(&scene));
		scene.error.options_length = 40;
		CU_ASSERT(is_right(&scene));
	}
}

static void
test_ipv6_extensions(void)
{
	static const struct {
		uint8_t first, length;
		uint8_t bytes[48];
		bool right;
	} chains[] = {
		{IPPROTO_HOPOPTS, 8, {IPPROTO_UDP, 0, 1, 4}, true},
		{IPPROTO_DSTOPTS, 8, {IPPROTO_UDP, 0, 1, 4}, true},
		{IPPROTO_DSTOPTS, 24, {IPPROTO_UDP, 2, 1, 20}, true},
		{IPPROTO_FRAGMENT, 8, {IPPROTO_UDP, 99, 0, 0, 1, 2, 3, 4}, true},
		{IPPROTO_FRAGMENT, 8, {IPPROTO_UDP, 0, 0, 1, 1, 2, 3, 4}, true},
		{IPPROTO_FRAGMENT, 8, {IPPROTO_UDP, 0, 0, 6, 1, 2, 3, 4}, true}, /* reserved bits */
		{IPPROTO_FRAGMENT, 8, {IPPROTO_UDP, 0, 0, 8, 1, 2, 3, 4}, false},
		{IPPROTO_FRAGMENT, 8, {IPPROTO_UDP, 0, 0, 0x80, 1, 2, 3, 4}, false},
		{IPPROTO_FRAGMENT, 8, {IPPROTO_UDP, 0, 1, 1, 1, 2, 3, 4}, false},
		{IPPROTO_HOPOPTS, 24,
			{IPPROTO_FRAGMENT, 0, 1, 4, 0, 0, 0, 0, IPPROTO_DSTOPTS, 0, 0, 1, 1, 2, 3,
				4, IPPROTO_UDP, 0, 1, 4},
			true},
		{IPPROTO_DSTOPTS, 16, {IPPROTO_HOPOPTS, 0, 1, 4, 0, 0, 0, 0, IPPROTO_UDP, 0, 1, 4},
			false},
		{IPPROTO_ROUTING, 8, {IPPROTO_UDP, 0, 4, 0}, false},
		/* four as any packet of ours may have, and our fragment header; no more */
		{IPPROTO_DSTOPTS, 40,
			{IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0, IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0,
				IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0, IPPROTO_FRAGMENT, 0, 1, 4, 0,
				0, 0, 0, IPPROTO_UDP, 0, 0, 1},
			true},
		{IPPROTO_DSTOPTS, 48,
			{IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0, IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0,
				IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0, IPPROTO_DSTOPTS, 0, 1, 4, 0,
				0, 0, 0, IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0, IPPROTO_UDP, 0, 1,
				4},
			false},
	};
	static const uint8_t outer[8] = {IPPROTO_ICMPV6, 0, 1, 4};
	struct scene scene = scene_masquerade(FAMILY_IPV6, IPPROTO_UDP);

	for (unsigned i = 0; i < RTE_DIM(chains); i++) {
		scene.quote.first_extension = chains[i].first;
		scene.quote.extensions = chains[i].bytes;
		scene.quote.extensions_length = chains[i].length;
		scene.error.extensions_length = 0;
		if (!chains[i].right) {
			CU_ASSERT_EQUAL(reason_of_scene(&scene), REASON_ICMP_ERROR);
			continue;
		}
		CU_ASSERT(is_right(&scene));
		CU_ASSERT(goes_back(&scene));
		scene.error.first_extension = IPPROTO_DSTOPTS;
		scene.error.extensions = outer;
		scene.error.extensions_length = sizeof(outer);
		CU_ASSERT(is_right(&scene));
		CU_ASSERT(goes_back(&scene));
	}
}

/* The first fragment of a datagram names its flow, later ones name nothing. */
static void
test_ipv4_fragments(void)
{
	static const struct {
		uint16_t field;
		bool right;
	} cases[] = {{0x4000, true}, {0x8000, true}, {0x2000, true}, {0x0001, false},
		{0x2001, false}, {0x1000, false}, {0x1fff, false}};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct scene scene = scene_masquerade(FAMILY_IPV4, IPPROTO_UDP);
		struct flow *flow = scene_open(&scene);
		struct frame *frames[] = {&before, &expected};

		for (unsigned far = 0; far < 2; far++) {
			struct frame *frame = frames[far];
			uint8_t *quote = frame->bytes + quote_offset(&scene);

			scene_build(frame, &scene, frame == &before);
			put16(quote + 6, cases[i].field);
			put16(quote + 10, 0);
			put16(quote + 10, (uint16_t)~frame_sum(0, quote, 20));
			frame_fix(frame->bytes, frame->length);
		}
		if (cases[i].right) {
			CU_ASSERT(becomes(frame_mbuf_tight(scene_pool, before.bytes, before.length),
				&scene, flow));
		} else {
			CU_ASSERT_EQUAL(reason_of(&before), REASON_ICMP_ERROR);
		}
		flow_close(scene_flows, flow);
	}
}

/* RFC 5508 REQ-3: what lies behind the quote is left alone (RFC 4884), also where it is near. */
static void
test_extensions(void)
{
	static const uint8_t chain[96] = {IPPROTO_TCP, 11, 1, 92};
	struct scene scene;

	for (unsigned family = 0; family < FAMILIES; family++) {
		scene = scene_masquerade(family, IPPROTO_TCP);
		scene.quote.payload = 128;
		scene.length = 128;
		scene.extension = 12;
		scene.rest[family == FAMILY_IPV4 ? 1 : 0] = family == FAMILY_IPV4 ? 32 : 16;
		CU_ASSERT(is_right(&scene));
		/* a length that is none: as before RFC 4884 */
		scene.rest[family == FAMILY_IPV4 ? 1 : 0] = 1;
		CU_ASSERT(is_right(&scene));
		/* more than is there */
		scene.rest[family == FAMILY_IPV4 ? 1 : 0] = 255;
		CU_ASSERT(is_right(&scene));
	}
	/* After a long chain the quote ends within the TCP header: its checksum's place is not its.
	 */
	scene = scene_masquerade(FAMILY_IPV6, IPPROTO_TCP);
	scene.quote.first_extension = IPPROTO_DSTOPTS;
	scene.quote.extensions = chain;
	for (scene.quote.extensions_length = 72; scene.quote.extensions_length <= 96;
		scene.quote.extensions_length += 8) {
		uint8_t start[96];

		memcpy(start, chain, sizeof(start));
		start[1] = (uint8_t)(scene.quote.extensions_length / 8 - 1);
		start[3] = (uint8_t)(scene.quote.extensions_length - 4);
		scene.quote.extensions = start;
		scene.length = 128;
		scene.extension = 32;
		scene.rest[0] = 16;
		if (quoted_header(&scene) + 8 > 128) {
			CU_ASSERT_EQUAL(reason_of_scene(&scene), REASON_ICMP_ERROR);
			continue;
		}
		CU_ASSERT(is_right(&scene));
		CU_ASSERT(goes_back(&scene));
		/* types that have no extensions have other things in that place */
		scene.length = WHOLE;
		scene.extension = 0;
		for (uint8_t type = 2; type <= 4; type += 2) {
			scene.error.type = type;
			CU_ASSERT(is_right(&scene));
		}
		scene.error.type = 1;
	}
}

/* --- which errors --- */

/* RFC 5508 REQ-10, RFC 4890: which types are forwarded, whatever their code. */
static void
test_types(void)
{
	for (unsigned i = 0; i < 2 * 256; i++) {
		enum family family = i < 256 ? FAMILY_IPV4 : FAMILY_IPV6;
		uint8_t type = (uint8_t)i;
		struct scene scene = scene_masquerade(family, IPPROTO_UDP);
		bool right = family == FAMILY_IPV4 ? type == 3 || type == 11 || type == 12
						   : type >= 1 && type <= 4;

		scene.error.type = type;
		scene.rest[2] = 5;
		scene.rest[3] = 220; /* 1500, for those that have an MTU there */
		for (unsigned code = 0; code < 256; code += right ? 1 : 51) {
			scene.error.code = (uint8_t)code;
			CU_ASSERT(right ? is_right(&scene)
					: reason_of_scene(&scene) == REASON_ICMP_TYPE);
		}
	}
}

static void
test_mtu(void)
{
	static const struct {
		enum family family;
		uint8_t type, code;
		uint32_t rest;
		bool right;
	} cases[] = {
		{FAMILY_IPV4, 3, 4, 0, true},
		{FAMILY_IPV4, 3, 4, 1, false},
		{FAMILY_IPV4, 3, 4, 68, false},
		{FAMILY_IPV4, 3, 4, 575, false},
		{FAMILY_IPV4, 3, 4, 576, true},
		{FAMILY_IPV4, 3, 4, 1500, true},
		{FAMILY_IPV4, 3, 4, 65535, true},
		{FAMILY_IPV4, 3, 4, 0x00080000 | 575, false}, /* above it is RFC 4884's length */
		{FAMILY_IPV4, 3, 4, 0x00080000 | 576, true},
		{FAMILY_IPV4, 3, 1, 575, true},
		{FAMILY_IPV4, 11, 4, 575, true},
		{FAMILY_IPV4, 12, 4, 575, true},
		{FAMILY_IPV6, 2, 0, 0, false},
		{FAMILY_IPV6, 2, 0, 576, false},
		{FAMILY_IPV6, 2, 0, 1279, false},
		{FAMILY_IPV6, 2, 0, 1280, true},
		{FAMILY_IPV6, 2, 7, 1279, false},
		{FAMILY_IPV6, 2, 0, 0x00010000, true},
		{FAMILY_IPV6, 2, 0, UINT32_MAX, true},
		{FAMILY_IPV6, 1, 4, 1279, true},
		{FAMILY_IPV6, 3, 0, 1279, true},
		{FAMILY_IPV6, 4, 0, 40, true},
	};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct scene scene = scene_masquerade(cases[i].family, IPPROTO_TCP);
		rte_be32_t rest = rte_cpu_to_be_32(cases[i].rest);

		scene.error.type = cases[i].type;
		scene.error.code = cases[i].code;
		memcpy(scene.rest, &rest, sizeof(rest));
		CU_ASSERT(cases[i].right ? is_right(&scene)
					 : reason_of_scene(&scene) == REASON_ICMP_ERROR);
	}
}

/* --- forged ones --- */

/* Change one byte of the quote, mend all checksums that count, and ask. */
static enum reason
reason_with(const struct scene *scene, uint32_t at, uint8_t value)
{
	uint8_t *quote = before.bytes + quote_offset(scene);

	scene_build(&before, scene, true);
	quote[at] = value;
	if (scene->tuple[0].family == FAMILY_IPV4 && at < 20) {
		put16(quote + 10, 0);
		put16(quote + 10, (uint16_t)~frame_sum(0, quote, 20));
	}
	frame_fix(before.bytes, before.length);
	return reason_of(&before);
}

static void
test_forged(void)
{
	struct scene scene = scene_masquerade(FAMILY_IPV4, IPPROTO_UDP);

	CU_ASSERT_EQUAL(reason_with(&scene, 0, 0x45), REASON_NONE);
	CU_ASSERT_EQUAL(reason_with(&scene, 0, 0x55), REASON_ICMP_ERROR); /* version */
	CU_ASSERT_EQUAL(reason_with(&scene, 0, 0x65), REASON_ICMP_ERROR);
	for (uint8_t words = 0; words < 5; words++) {
		/* a header too short, and right by itself: its sum fits by a word that is in it */
		static const uint8_t fitting[] = {10, 2, 4, 10, 10};
		uint8_t *quote = before.bytes + quote_offset(&scene);

		CU_ASSERT_EQUAL(reason_with(&scene, 0, 0x40 | words), REASON_ICMP_ERROR);
		put16(quote + fitting[words], 0);
		put16(quote + fitting[words], (uint16_t)~frame_sum(0, quote, words * UINT32_C(4)));
		frame_fix(before.bytes, before.length);
		CU_ASSERT_EQUAL(reason_of(&before), REASON_ICMP_ERROR);
	}
	CU_ASSERT_EQUAL(reason_with(&scene, 3, 27), REASON_ICMP_ERROR); /* total length */
	CU_ASSERT_EQUAL(reason_with(&scene, 3, 28), REASON_NONE);
	CU_ASSERT_EQUAL(reason_with(&scene, 2, 255), REASON_NONE);
	/* it must have come from who gets the error; where it went is the flow's affair */
	for (uint32_t at = 12; at < 16; at++)
		CU_ASSERT_EQUAL(reason_with(&scene, at, 99), REASON_ICMP_ERROR);
	for (uint32_t at = 16; at < 20; at++)
		CU_ASSERT_EQUAL(reason_with(&scene, at, 99), REASON_NONE);
	/* ICMP of the wrong family, or about no query */
	scene = scene_masquerade(FAMILY_IPV4, IPPROTO_ICMP);
	scene.quote.type = 128;
	CU_ASSERT_EQUAL(reason_with(&scene, 9, IPPROTO_ICMPV6), REASON_ICMP_ERROR);
	scene.quote.type = 8;
	for (unsigned type = 0; type < 256; type++)
		CU_ASSERT_EQUAL(reason_with(&scene, 20, (uint8_t)type),
			type == 0 || type == 8 || type == 13 || type == 14 ? REASON_NONE
									   : REASON_ICMP_ERROR);

	scene = scene_masquerade(FAMILY_IPV6, IPPROTO_UDP);
	CU_ASSERT_EQUAL(reason_with(&scene, 0, 0x6f), REASON_NONE);
	CU_ASSERT_EQUAL(reason_with(&scene, 0, 0x40), REASON_ICMP_ERROR);
	CU_ASSERT_EQUAL(reason_with(&scene, 5, 7), REASON_ICMP_ERROR); /* payload length */
	CU_ASSERT_EQUAL(reason_with(&scene, 5, 8), REASON_NONE);
	for (uint32_t at = 8; at < 24; at++)
		CU_ASSERT_EQUAL(reason_with(&scene, at, 0x99), REASON_ICMP_ERROR);
	for (uint32_t at = 24; at < 40; at++)
		CU_ASSERT_EQUAL(reason_with(&scene, at, 0x99), REASON_NONE);
	scene = scene_masquerade(FAMILY_IPV6, IPPROTO_ICMPV6);
	scene.quote.type = 8;
	CU_ASSERT_EQUAL(reason_with(&scene, 6, IPPROTO_ICMP), REASON_ICMP_ERROR);
	scene.quote.type = 128;
	for (unsigned type = 0; type < 256; type++)
		CU_ASSERT_EQUAL(reason_with(&scene, 40, (uint8_t)type),
			type == 128 || type == 129 ? REASON_NONE : REASON_ICMP_ERROR);
}

/* Whether the error in `before`, about a packet that @p flow sent in @p quoted, is believed. */
static bool
plausible(struct flow *flow, enum direction quoted)
{
	struct rte_mbuf *mbuf = frame_mbuf_tight(scene_pool, before.bytes, before.length);
	bool answer;

	CU_ASSERT_EQUAL_FATAL(scene_relate(mbuf), REASON_NONE);
	packet_of(mbuf)->flow = flow;
	packet_of(mbuf)->direction = !quoted;
	answer = icmp_plausible(mbuf);
	rte_pktmbuf_free(mbuf);
	return answer;
}

/* A quoted query must be what the flow asks, a quoted answer what answers it. */
static void
test_plausible_query(void)
{
	static const uint8_t types[FAMILIES][4] = {{8, 0, 13, 14}, {128, 129}};

	for (unsigned family = 0; family < FAMILIES; family++)
		for (unsigned asked = 0; asked < (family == FAMILY_IPV4 ? 4 : 2); asked += 2)
			for (unsigned i = 0; i < (family == FAMILY_IPV4 ? 4 : 2); i++) {
				struct scene scene =
					scene_masquerade(family, query_protocol(family));
				struct flow *flow = scene_open(&scene);

				flow->state = types[family][asked];
				scene.quote.type = types[family][i];
				scene_build(&before, &scene, true);
				CU_ASSERT_EQUAL(plausible(flow, DIRECTION_ORIGINAL), i == asked);
				CU_ASSERT_EQUAL(plausible(flow, DIRECTION_REPLY), i == asked + 1);
				flow->state = 0;
				CU_ASSERT(!plausible(flow, DIRECTION_ORIGINAL));
				flow_close(scene_flows, flow);
			}
}

/* A quoted TCP segment must be on its way; of which end, and at which number, counts (RFC 5927). */
static void
test_plausible_tcp(void)
{
	static const struct tcp_end ends[2] = {
		{.end = 2000,
			.max_end = 9000,
			.max_ack = 500100,
			.max_window = 4096,
			.flags = TCP_END_SCALES | TCP_END_MAX_ACK},
		{.end = 500200,
			.max_end = 509000,
			.max_ack = 1000,
			.max_window = 4096,
			.flags = TCP_END_SCALES | TCP_END_MAX_ACK},
	};
	static const uint32_t sequences[] = {0, 1, 999, 1000, 1999, 2000, 2001, 3000, 500099,
		500100, 500199, 500200, 500201, 0x80000000, UINT32_MAX};

	for (unsigned family = 0; family < FAMILIES; family++) {
		struct scene scene = scene_masquerade(family, IPPROTO_TCP);
		struct flow *flow = scene_open(&scene);

		flow->state = TCP_STATE_ESTABLISHED;
		memcpy(flow->tcp, ends, sizeof(ends));
		scene_build(&before, &scene, true);
		for (unsigned i = 0; i < RTE_DIM(sequences); i++) {
			rte_be32_t sequence = rte_cpu_to_be_32(sequences[i]);

			memcpy(before.bytes + quote_offset(&scene) + quoted_header(&scene) + 4,
				&sequence, sizeof(sequence));
			frame_fix(before.bytes, before.length);
			for (unsigned quoted = 0; quoted < 2; quoted++)
				CU_ASSERT_EQUAL(plausible(flow, quoted),
					tcp_sequence_in_flight(flow, quoted, sequences[i]));
		}
		flow_close(scene_flows, flow);
	}
}

/* --- frames in several pieces --- */

static void
test_chains(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, GRE};

	for (unsigned i = 0; i < FAMILIES * RTE_DIM(protocols); i++) {
		enum family family = i % FAMILIES;
		uint8_t protocol = protocols[i / FAMILIES];
		struct scene scene = scene_masquerade(
			family, protocol == IPPROTO_ICMP ? query_protocol(family) : protocol);
		struct flow *flow = scene_open(&scene);
		uint32_t needed = quote_offset(&scene) + quoted_header(&scene) + 8;

		scene_build(&before, &scene, true);
		for (uint32_t first = quote_offset(&scene); first <= before.length; first++)
			for (uint32_t rest = 1; rest < 4; rest++) {
				struct rte_mbuf *mbuf = frame_mbuf_chain(
					scene_pool, before.bytes, before.length, first, rest);

				if (first < needed) {
					CU_ASSERT_EQUAL(scene_relate(mbuf), REASON_ICMP_ERROR);
					rte_pktmbuf_free(mbuf);
					continue;
				}
				scene_build(&expected, &scene, false);
				CU_ASSERT(becomes(mbuf, &scene, flow));
			}
		flow_close(scene_flows, flow);
	}
}

/* An error in a burst is one packet of many. */
static void
test_burst(void)
{
	static struct frame plain;
	struct scene scene = scene_masquerade(FAMILY_IPV4, IPPROTO_UDP);
	struct flow *flow = scene_open(&scene);
	struct tuple reply = tuple_reversed(&scene.tuple[0]);
	struct rte_mbuf *burst[3];

	scene_build(&before, &scene, true);
	scene_build(&expected, &scene, false);
	scene_packet(&plain, &scene.tuple[1], scene.quote);
	burst[0] = frame_mbuf(scene_pool, plain.bytes, plain.length);
	burst[1] = frame_mbuf(scene_pool, before.bytes, before.length);
	burst[2] = frame_mbuf(scene_pool, plain.bytes, plain.length);
	CU_ASSERT_EQUAL_FATAL(parse_burst(burst, 3), 3);
	CU_ASSERT_EQUAL(icmp_relate(burst[1]), REASON_NONE);
	flow_lookup_burst(scene_flows, burst, 3);
	rewrite_burst(&scene_secret, burst, 3);
	expected.bytes[22]--;
	frame_fix(expected.bytes, expected.length);
	frame_of_mbuf(&after, burst[1]);
	CU_ASSERT_EQUAL(memcmp(after.bytes, expected.bytes, expected.length), 0);
	for (unsigned i = 0; i < 3; i += 2) {
		struct frame_view view;

		frame_of_mbuf(&after, burst[i]);
		view = frame_view(after.bytes, after.length);
		CU_ASSERT_EQUAL(frame_faults(after.bytes, after.length), 0);
		CU_ASSERT(address_equal(&view.destination, &reply.destination));
	}
	rte_pktmbuf_free_bulk(burst, 3);
	flow_close(scene_flows, flow);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"RFC 5508 REQ-4 to REQ-7, RFC 4787 REQ-12: about UDP", test_udp},
		{"RFC 5382 REQ-9, REQ-10: about TCP", test_tcp},
		{"RFC 5508 REQ-4 to REQ-7: about ICMP queries", test_query},
		{"about other protocols", test_other_protocol},
		{"RFC 5508 REQ-4: from a router on the path", test_router},
		{"every length of a quote, from 8 bytes on", test_every_length},
		{"quoted UDP checksum of zero", test_udp_zero},
		{"RFC 5508 REQ-3: quoted checksums", test_quoted_checksums},
		{"RFC 5508 REQ-3: quoted IPv4 options", test_ipv4_options},
		{"quoted IPv6 extension headers", test_ipv6_extensions},
		{"quoted IPv4 fragments", test_ipv4_fragments},
		{"RFC 5508 REQ-3: RFC 4884 extensions are left alone", test_extensions},
		{"RFC 5508 REQ-10, RFC 4890: types", test_types},
		{"path MTU floors", test_mtu},
		{"forged quotes", test_forged},
		{"plausible queries", test_plausible_query},
		{"RFC 5927: plausible TCP segments", test_plausible_tcp},
		{"chained mbufs", test_chains},
		{"bursts", test_burst},
	};

	unit_eal();
	if (!scene_start())
		return 1;
	return UNIT_RUN("icmp", tests);
}
