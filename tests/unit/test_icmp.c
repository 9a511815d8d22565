/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Related errors. What must come out is built, not derived: the packet that is quoted is built
 * twice, as its first sender made it and as it looked after translation, with all checksums
 * computed byte by byte. An error that quotes the one must become the error that quotes the other,
 * to the last byte.
 */
#include "nat/icmp.h"
#include "classifier/parse.h"
#include "nat/rewrite.h"
#include "nat/tcp.h"
#include "tests/unit/frames.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>

#define WHOLE UINT32_MAX
#define ETHER_HEADER 14

#define GRE 47

static struct rte_mempool *pool;
static struct flow_table *table;
static const struct flow_secret secret = {
	{0x1f83d9abfb41bd6b, 0x5be0cd19137e2179, 0x6a09e667f3bcc908, 0xbb67ae8584caa73b}};
static struct frame before, expected, after;

/* A flow, a packet of it, and an error about that packet. */
struct scene {
	struct tuple tuple[2];   /* of the flow */
	enum direction quoted;   /* the way that the quoted packet went */
	struct frame_spec quote; /* of the quoted packet: all but addresses, ports and protocol */
	uint32_t length;         /* how much of it is quoted, from its IP header; WHOLE */
	struct frame_spec error; /* type, code, options and the like of the error itself */
	uint8_t rest[4];         /* behind its checksum */
	const char *router;      /* who sends it, NULL: the far end */
	uint32_t extension;      /* bytes behind the quote */
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
tuple_of(enum family family, uint8_t protocol, const char *source, uint16_t source_port,
	const char *destination, uint16_t destination_port)
{
	return (struct tuple){
		.source = address_of(source),
		.destination = address_of(destination),
		.source_port = rte_cpu_to_be_16(source_port),
		.destination_port = rte_cpu_to_be_16(destination_port),
		.protocol = protocol,
		.family = (uint8_t)family,
	};
}

static struct tuple
reversed(const struct tuple *tuple)
{
	return (struct tuple){
		.source = tuple->destination,
		.destination = tuple->source,
		.source_port = tuple->destination_port,
		.destination_port = tuple->source_port,
		.protocol = tuple->protocol,
		.family = tuple->family,
	};
}

/* --- what flows there are --- */

struct kind {
	const char *name;
	struct {
		const char *source, *destination;
		uint16_t source_port, destination_port;
	} tuple[2];
	const char *router; /* on the way of the reply direction */
};

/* clang-format off */
static const struct kind kinds[FAMILIES][7] = {
	{
		{"masquerade",
			{{"10.137.0.16", "192.0.2.7", 40000, 443},
			 {"192.0.2.7", "192.168.50.1", 443, 50001}}, "203.0.113.9"},
		{"resolver",
			{{"10.137.0.16", "10.139.1.1", 40001, 53},
			 {"192.168.50.2", "192.168.50.1", 53, 40001}}, "203.0.113.9"},
		{"external forward",
			{{"198.51.100.3", "192.168.50.1", 55555, 8080},
			 {"10.137.0.17", "198.51.100.3", 80, 55555}}, NULL},
		{"forward of the gateway",
			{{"10.137.0.16", "10.137.0.1", 40002, 8080},
			 {"10.137.0.17", "10.137.0.16", 80, 40002}}, NULL},
		{"hairpin",
			{{"10.137.0.16", "192.168.50.1", 40003, 8080},
			 {"10.137.0.17", "192.168.50.1", 80, 50002}}, NULL},
		{"own forward",
			{{"10.137.0.17", "10.137.0.1", 40004, 8080},
			 {"10.137.0.17", "10.137.0.1", 80, 50003}}, NULL},
		{"not translated",
			{{"10.137.0.16", "10.137.0.17", 40005, 22},
			 {"10.137.0.17", "10.137.0.16", 22, 40005}}, NULL},
	},
	{
		{"masquerade",
			{{"fd09::16", "2001:470::7", 40000, 443},
			 {"2001:470::7", "2a01:4f8::1", 443, 50001}}, "2620:fe::9"},
		{"another destination",
			{{"fd09::16", "fd09::53", 40001, 53},
			 {"2620:fe::fe", "fd09::16", 53, 40001}}, "2620:fe::9"},
		{"external forward",
			{{"2a00:1450::3", "2a01:4f8::1", 55555, 8080},
			 {"fd09::17", "2a00:1450::3", 80, 55555}}, NULL},
		{"forward of the gateway",
			{{"fd09::16", "fd09::1", 40002, 8080},
			 {"fd09::17", "fd09::16", 80, 40002}}, NULL},
		{"hairpin",
			{{"fd09::16", "2a01:4f8::1", 40003, 8080},
			 {"fd09::17", "2a01:4f8::1", 80, 50002}}, NULL},
		{"own forward",
			{{"fd09::17", "fd09::1", 40004, 8080},
			 {"fd09::17", "fd09::1", 80, 50003}}, NULL},
		{"not translated",
			{{"fd09::16", "fd09::17", 40005, 22},
			 {"fd09::17", "fd09::16", 22, 40005}}, NULL},
	},
};
/* clang-format on */

static bool
is_query(uint8_t protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

static uint8_t
query_type(enum family family, enum direction direction)
{
	if (family == FAMILY_IPV4)
		return direction == DIRECTION_ORIGINAL ? 8 : 0;
	return direction == DIRECTION_ORIGINAL ? 128 : 129;
}

static uint8_t
query_protocol(enum family family)
{
	return family == FAMILY_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
}

/* An error of the commonest sort about a flow of kind @p kind. */
static struct scene
scene_of(enum family family, const struct kind *kind, uint8_t protocol, enum direction quoted)
{
	struct scene scene = {
		.quoted = quoted,
		.quote = {.payload = 40, .ttl = 61},
		.length = WHOLE,
		.error = {.type = family == FAMILY_IPV4 ? 3 : 1, .code = 1, .df = true},
	};

	for (unsigned i = 0; i < 2; i++)
		scene.tuple[i] = tuple_of(family, protocol, kind->tuple[i].source,
			kind->tuple[i].source_port, kind->tuple[i].destination,
			kind->tuple[i].destination_port);
	if (is_query(protocol)) {
		scene.tuple[0].destination_port = scene.tuple[1].source_port = 0;
		scene.quote.type = query_type(family, quoted);
	} else if (protocol == GRE) {
		scene.tuple[0].source_port = scene.tuple[0].destination_port = 0;
		scene.tuple[1].source_port = scene.tuple[1].destination_port = 0;
	}
	return scene;
}

static struct scene
masquerade(enum family family, uint8_t protocol)
{
	return scene_of(family, &kinds[family][0], protocol, DIRECTION_ORIGINAL);
}

/* --- building errors --- */

static void
build_packet(struct frame *frame, const struct tuple *tuple, struct frame_spec spec)
{
	char source[ADDRESS_TEXT_SIZE], destination[ADDRESS_TEXT_SIZE];
	enum family family = tuple->family;

	spec.source = address_format(source, family, &tuple->source);
	spec.destination = address_format(destination, family, &tuple->destination);
	spec.protocol = tuple->protocol;
	spec.source_port = rte_be_to_cpu_16(tuple->source_port);
	spec.destination_port = rte_be_to_cpu_16(tuple->destination_port);
	if (is_query(spec.protocol))
		spec.source_port |= spec.destination_port;
	frame_build(frame, &spec);
}

/* Where the quote starts in an error, and where its upper layer does. */
static uint32_t
quote_offset(const struct scene *scene)
{
	return ETHER_HEADER + 8 +
	       (scene->tuple[0].family == FAMILY_IPV4 ? 20u + scene->error.options_length
						      : 40u + scene->error.extensions_length);
}

static uint32_t
quoted_header(const struct scene *scene)
{
	return scene->tuple[0].family == FAMILY_IPV4 ? 20u + scene->quote.options_length
						     : 40u + scene->quote.extensions_length;
}

/* Build the error on the side of the quoted packet's receiver, or that of its first sender. */
static void
build(struct frame *frame, const struct scene *scene, bool far)
{
	static struct frame quoted;
	struct tuple seen = scene->tuple[scene->quoted];
	enum family family = seen.family;
	char source[ADDRESS_TEXT_SIZE], destination[ADDRESS_TEXT_SIZE];
	struct frame_spec spec = scene->error;
	uint32_t length;

	if (far)
		seen = reversed(&scene->tuple[!scene->quoted]);
	build_packet(&quoted, &seen, scene->quote);
	length = RTE_MIN(scene->length, quoted.length - ETHER_HEADER);
	spec.source = scene->router != NULL ? scene->router
					    : address_format(source, family, &seen.destination);
	spec.destination = address_format(destination, family, &seen.source);
	spec.protocol = query_protocol(family);
	spec.payload = (uint16_t)(length + scene->extension);
	frame_build(frame, &spec);
	memcpy(frame->bytes + quote_offset(scene) - 4, scene->rest, sizeof(scene->rest));
	memcpy(frame->bytes + quote_offset(scene), quoted.bytes + ETHER_HEADER, length);
	frame_fix(frame->bytes, frame->length);
}

/* --- running them --- */

static struct flow *
open_scene(const struct scene *scene)
{
	struct flow *flow = flow_open(table, &scene->tuple[0], &scene->tuple[1], 1000);

	CU_ASSERT_PTR_NOT_NULL_FATAL(flow);
	if (is_query(flow->protocol))
		flow->state = query_type(scene->tuple[0].family, DIRECTION_ORIGINAL);
	return flow;
}

/* Parse and relate. @return what relate says; if it is no, nothing may have changed */
static enum reason
relate(struct rte_mbuf *mbuf)
{
	static struct frame untouched, now;
	struct packet packet;
	enum reason reason;

	CU_ASSERT_EQUAL_FATAL(parse_burst(&mbuf, 1), 1);
	packet = *packet_of(mbuf);
	frame_of_mbuf(&untouched, mbuf);
	reason = icmp_relate(mbuf);
	frame_of_mbuf(&now, mbuf);
	CU_ASSERT(now.length == untouched.length &&
		  memcmp(now.bytes, untouched.bytes, now.length) == 0);
	if (reason != REASON_NONE)
		CU_ASSERT(memcmp(packet_of(mbuf), &packet, sizeof(packet)) == 0);
	return reason;
}

/* What icmp_relate says of @p frame. */
static enum reason
reason_of(const struct frame *frame)
{
	struct rte_mbuf *mbuf = frame_mbuf_tight(pool, frame->bytes, frame->length);
	enum reason reason = relate(mbuf);

	rte_pktmbuf_free(mbuf);
	return reason;
}

static enum reason
reason_of_scene(const struct scene *scene)
{
	build(&before, scene, true);
	return reason_of(&before);
}

/* Take an error that is related through lookup and rewrite; the result is in `after`. Frees it. */
static bool
pass(struct rte_mbuf *mbuf, struct flow *flow)
{
	struct packet *packet = packet_of(mbuf);
	struct flow unchanged = *flow;
	bool plausible;

	flow_lookup_burst(table, &mbuf, 1);
	CU_ASSERT_PTR_EQUAL_FATAL(packet->flow, flow);
	plausible = icmp_plausible(mbuf);
	rewrite_burst(&secret, &mbuf, 1);
	/* RFC 5508 REQ-6: neither refreshed nor ended, nor anything else */
	CU_ASSERT(memcmp(&unchanged, flow, sizeof(unchanged)) == 0);
	frame_of_mbuf(&after, mbuf);
	rte_pktmbuf_free(mbuf);
	return plausible;
}

static void
put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Of a checksum cut in half the one byte says nothing, and nobody can say what it should be. */
static void
half_checksum(const struct scene *scene)
{
	uint32_t at = quote_offset(scene) + quoted_header(scene) + 16;

	if (scene->tuple[0].protocol == IPPROTO_TCP && scene->length == quoted_header(scene) + 17) {
		expected.bytes[at] = before.bytes[at];
		frame_fix(expected.bytes, expected.length);
	}
}

/* What is in `before` must become what is in `expected`, one hop later. */
static bool
becomes(struct rte_mbuf *mbuf, const struct scene *scene, struct flow *flow)
{
	const struct packet *packet = packet_of(mbuf);
	enum direction direction = !scene->quoted;
	struct tuple seen = reversed(&scene->tuple[direction]); /* the quoted one, over there */
	bool right;

	if (relate(mbuf) != REASON_NONE)
		return false;
	right = memcmp(&packet->tuple, &scene->tuple[direction], sizeof(packet->tuple)) == 0 &&
		packet->quoted_l4 == quote_offset(scene) + quoted_header(scene) &&
		address_equal(&packet->outer[1], &seen.source);
	if (scene->router == NULL)
		right &= address_equal(&packet->outer[0], &seen.destination);
	if (seen.family == FAMILY_IPV4) {
		expected.bytes[22]--;
		if (!scene->error.df)
			put16(expected.bytes + 18,
				(uint16_t)rewrite_identification(&secret,
					&(struct packet){.hash = flow_hash(&secret, &packet->tuple),
						.direction = direction},
					0));
		frame_fix(expected.bytes, expected.length);
	} else {
		expected.bytes[21]--;
	}
	half_checksum(scene);
	right &= pass(mbuf, flow);
	return right && after.length == expected.length &&
	       memcmp(after.bytes, expected.bytes, after.length) == 0 &&
	       frame_faults(after.bytes, after.length) == 0;
}

static bool
is_right(const struct scene *scene)
{
	struct flow *flow = open_scene(scene);
	bool right;

	build(&before, scene, true);
	build(&expected, scene, false);
	right = becomes(frame_mbuf_tight(pool, before.bytes, before.length), scene, flow);
	flow_close(table, flow);
	return right;
}

/* The flow as somebody sees it who stands on the other side of the firewall. */
static struct scene
mirrored(const struct scene *scene)
{
	struct scene mirror = *scene;

	mirror.tuple[0] = reversed(&scene->tuple[1]);
	mirror.tuple[1] = reversed(&scene->tuple[0]);
	return mirror;
}

/* Translate `after` back: it must become `before`, two hops later. */
static bool
goes_back(const struct scene *scene)
{
	struct scene mirror = mirrored(scene);
	struct flow *flow = open_scene(&mirror);
	bool right;

	expected = before;
	expected.bytes[scene->tuple[0].family == FAMILY_IPV4 ? 22 : 21]--;
	right = becomes(frame_mbuf_tight(pool, after.bytes, after.length), &mirror, flow);
	flow_close(table, flow);
	return right;
}

/* --- all kinds of flows --- */

static void
all_kinds(uint8_t protocol, enum direction quoted)
{
	for (unsigned family = 0; family < FAMILIES; family++)
		for (unsigned i = 0; i < RTE_DIM(kinds[0]); i++) {
			const struct kind *kind = &kinds[family][i];
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

		scene = scene_of(FAMILY_IPV4, &kinds[FAMILY_IPV4][0], IPPROTO_ICMP,
			i == 0 ? DIRECTION_ORIGINAL : DIRECTION_REPLY);
		scene.quote.type = stamps[i];
		flow = open_scene(&scene);
		flow->state = 13;
		build(&before, &scene, true);
		build(&expected, &scene, false);
		CU_ASSERT(
			becomes(frame_mbuf_tight(pool, before.bytes, before.length), &scene, flow));
		flow_close(table, flow);
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
		for (unsigned kind = 0; kind < RTE_DIM(kinds[0]); kind++)
			for (unsigned i = 0; i < RTE_DIM(protocols); i++) {
				struct scene scene = scene_of(family, &kinds[family][kind],
					i == 2 ? query_protocol(family) : protocols[i],
					DIRECTION_ORIGINAL);

				if (kinds[family][kind].router == NULL)
					continue;
				scene.router = kinds[family][kind].router;
				scene.error.type = family == FAMILY_IPV4 ? 11 : 3;
				scene.error.code = 0;
				CU_ASSERT(is_right(&scene));
				CU_ASSERT(goes_back(&scene));
				/* the address of the far end on the other side is just a router's
				 */
				scene.router = kinds[family][kind].tuple[0].destination;
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
		struct scene scene = masquerade(
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
		build(&before, &scene, true);
		whole = before.length - quote_offset(&scene);
		for (scene.length = 0; scene.length <= whole; scene.length++) {
			if (scene.length < quoted_header(&scene) + 8)
				CU_ASSERT_EQUAL(reason_of_scene(&scene), REASON_ICMP_ERROR)
			else
				CU_ASSERT(is_right(&scene) && goes_back(&scene));
		}
	}
}

/* RFC 768: no checksum stays none, over IPv4; one that comes out as zero is 0xffff. */
static void
test_udp_zero(void)
{
	struct scene scene = masquerade(FAMILY_IPV4, IPPROTO_UDP);
	bool met = false;

	scene.quote.no_checksum = true;
	CU_ASSERT(is_right(&scene));
	CU_ASSERT_EQUAL(
		after.bytes[quote_offset(&scene) + 26] | after.bytes[quote_offset(&scene) + 27], 0);
	scene = masquerade(FAMILY_IPV6, IPPROTO_UDP);
	scene.quote.no_checksum = true;
	CU_ASSERT(is_right(&scene));

	scene = masquerade(FAMILY_IPV4, IPPROTO_UDP);
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
	struct scene scene = masquerade(FAMILY_IPV4, IPPROTO_UDP);
	uint32_t quote = quote_offset(&scene);

	for (unsigned bit = 0; bit < 20 * 8; bit++) {
		build(&before, &scene, true);
		before.bytes[quote + bit / 8] ^= (uint8_t)(1 << bit % 8);
		frame_fix(before.bytes, before.length);
		CU_ASSERT_EQUAL(reason_of(&before), REASON_ICMP_ERROR);
	}
	for (unsigned i = 0; i < RTE_DIM(protocols); i++) {
		struct flow *flow;
		uint8_t *field = before.bytes + quote + 20 + fields[i];
		uint8_t *shall = expected.bytes + quote + 20 + fields[i];
		uint16_t was, is;

		scene = masquerade(FAMILY_IPV4, protocols[i]);
		flow = open_scene(&scene);
		build(&before, &scene, true);
		build(&expected, &scene, false);
		was = (uint16_t)(field[0] << 8 | field[1]);
		is = (uint16_t)(shall[0] << 8 | shall[1]);
		put16(field, (uint16_t)(was - 1));
		put16(shall, (uint16_t)(is - 1));
		frame_fix(before.bytes, before.length);
		frame_fix(expected.bytes, expected.length);
		CU_ASSERT(
			becomes(frame_mbuf_tight(pool, before.bytes, before.length), &scene, flow));
		flow_close(table, flow);
	}
}

/* RFC 5508 REQ-3: options of the quoted header are skipped, and so are those of the error itself.
 */
static void
test_ipv4_options(void)
{
	static const uint8_t options[40] = {7, 39, 4, 10, 1, 2, 3};
	struct scene scene = masquerade(FAMILY_IPV4, IPPROTO_TCP);

	scene.quote.options = scene.error.options = options;
	for (uint8_t length = 4; length <= 40; length += 4) {
		scene.quote.options_length = length;
		scene.error.options_length = 0;
		/* the length of a record route option of the error must be right, not of the quote
		 */
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
	struct scene scene = masquerade(FAMILY_IPV6, IPPROTO_UDP);

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
		struct scene scene = masquerade(FAMILY_IPV4, IPPROTO_UDP);
		struct flow *flow = open_scene(&scene);
		struct frame *frames[] = {&before, &expected};

		for (unsigned far = 0; far < 2; far++) {
			struct frame *frame = frames[far];
			uint8_t *quote = frame->bytes + quote_offset(&scene);

			build(frame, &scene, frame == &before);
			put16(quote + 6, cases[i].field);
			put16(quote + 10, 0);
			put16(quote + 10, (uint16_t)~frame_sum(0, quote, 20));
			frame_fix(frame->bytes, frame->length);
		}
		if (cases[i].right)
			CU_ASSERT(becomes(
				frame_mbuf_tight(pool, before.bytes, before.length), &scene, flow))
		else
			CU_ASSERT_EQUAL(reason_of(&before), REASON_ICMP_ERROR);
		flow_close(table, flow);
	}
}

/* RFC 5508 REQ-3: what lies behind the quote is left alone (RFC 4884), also where it is near. */
static void
test_extensions(void)
{
	static const uint8_t chain[96] = {IPPROTO_TCP, 11, 1, 92};
	struct scene scene;

	for (unsigned family = 0; family < FAMILIES; family++) {
		scene = masquerade(family, IPPROTO_TCP);
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
	scene = masquerade(FAMILY_IPV6, IPPROTO_TCP);
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
		scene.error.type = 4;
		scene.length = WHOLE;
		scene.extension = 0;
		CU_ASSERT(is_right(&scene));
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
		struct scene scene = masquerade(family, IPPROTO_UDP);
		bool right = family == FAMILY_IPV4 ? type == 3 || type == 11 || type == 12
						   : type >= 1 && type <= 4;

		scene.error.type = type;
		scene.rest[2] = 5;
		scene.rest[3] = 220; /* 1500, for those that have an MTU there */
		for (unsigned code = 0; code < 256; code += right ? 1 : 51) {
			scene.error.code = (uint8_t)code;
			if (right)
				CU_ASSERT(is_right(&scene))
			else
				CU_ASSERT_EQUAL(reason_of_scene(&scene), REASON_ICMP_TYPE);
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
		struct scene scene = masquerade(cases[i].family, IPPROTO_TCP);
		rte_be32_t rest = rte_cpu_to_be_32(cases[i].rest);

		scene.error.type = cases[i].type;
		scene.error.code = cases[i].code;
		memcpy(scene.rest, &rest, sizeof(rest));
		if (cases[i].right)
			CU_ASSERT(is_right(&scene))
		else
			CU_ASSERT_EQUAL(reason_of_scene(&scene), REASON_ICMP_ERROR);
	}
}

/* --- forged ones --- */

/* Change one byte of the quote, mend all checksums that count, and ask. */
static enum reason
reason_with(const struct scene *scene, uint32_t at, uint8_t value)
{
	uint8_t *quote = before.bytes + quote_offset(scene);

	build(&before, scene, true);
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
	struct scene scene = masquerade(FAMILY_IPV4, IPPROTO_UDP);

	CU_ASSERT_EQUAL(reason_with(&scene, 0, 0x45), REASON_NONE);
	CU_ASSERT_EQUAL(reason_with(&scene, 0, 0x55), REASON_ICMP_ERROR); /* version */
	CU_ASSERT_EQUAL(reason_with(&scene, 0, 0x65), REASON_ICMP_ERROR);
	for (uint8_t words = 0; words < 5; words++)
		CU_ASSERT_EQUAL(reason_with(&scene, 0, 0x40 | words), REASON_ICMP_ERROR);
	CU_ASSERT_EQUAL(reason_with(&scene, 3, 27), REASON_ICMP_ERROR); /* total length */
	CU_ASSERT_EQUAL(reason_with(&scene, 3, 28), REASON_NONE);
	CU_ASSERT_EQUAL(reason_with(&scene, 2, 255), REASON_NONE);
	/* it must have come from who gets the error; where it went is the flow's affair */
	for (uint32_t at = 12; at < 16; at++)
		CU_ASSERT_EQUAL(reason_with(&scene, at, 99), REASON_ICMP_ERROR);
	for (uint32_t at = 16; at < 20; at++)
		CU_ASSERT_EQUAL(reason_with(&scene, at, 99), REASON_NONE);
	/* ICMP of the wrong family, or about no query */
	CU_ASSERT_EQUAL(reason_with(&scene, 9, IPPROTO_ICMPV6), REASON_ICMP_ERROR);
	scene = masquerade(FAMILY_IPV4, IPPROTO_ICMP);
	for (unsigned type = 0; type < 256; type++)
		CU_ASSERT_EQUAL(reason_with(&scene, 20, (uint8_t)type),
			type == 0 || type == 8 || type == 13 || type == 14 ? REASON_NONE
									   : REASON_ICMP_ERROR);

	scene = masquerade(FAMILY_IPV6, IPPROTO_UDP);
	CU_ASSERT_EQUAL(reason_with(&scene, 0, 0x6f), REASON_NONE);
	CU_ASSERT_EQUAL(reason_with(&scene, 0, 0x40), REASON_ICMP_ERROR);
	CU_ASSERT_EQUAL(reason_with(&scene, 5, 7), REASON_ICMP_ERROR); /* payload length */
	CU_ASSERT_EQUAL(reason_with(&scene, 5, 8), REASON_NONE);
	for (uint32_t at = 8; at < 24; at++)
		CU_ASSERT_EQUAL(reason_with(&scene, at, 0x99), REASON_ICMP_ERROR);
	for (uint32_t at = 24; at < 40; at++)
		CU_ASSERT_EQUAL(reason_with(&scene, at, 0x99), REASON_NONE);
	CU_ASSERT_EQUAL(reason_with(&scene, 6, IPPROTO_ICMP), REASON_ICMP_ERROR);
	scene = masquerade(FAMILY_IPV6, IPPROTO_ICMPV6);
	for (unsigned type = 0; type < 256; type++)
		CU_ASSERT_EQUAL(reason_with(&scene, 40, (uint8_t)type),
			type == 128 || type == 129 ? REASON_NONE : REASON_ICMP_ERROR);
}

/* Whether the error in `before`, about a packet that @p flow sent in @p quoted, is believed. */
static bool
plausible(struct flow *flow, enum direction quoted)
{
	struct rte_mbuf *mbuf = frame_mbuf_tight(pool, before.bytes, before.length);
	bool answer;

	CU_ASSERT_EQUAL_FATAL(relate(mbuf), REASON_NONE);
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
				struct scene scene = masquerade(family, query_protocol(family));
				struct flow *flow = open_scene(&scene);

				flow->state = types[family][asked];
				scene.quote.type = types[family][i];
				build(&before, &scene, true);
				CU_ASSERT_EQUAL(plausible(flow, DIRECTION_ORIGINAL), i == asked);
				CU_ASSERT_EQUAL(plausible(flow, DIRECTION_REPLY), i == asked + 1);
				flow->state = 0;
				CU_ASSERT(!plausible(flow, DIRECTION_ORIGINAL));
				flow_close(table, flow);
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
		struct scene scene = masquerade(family, IPPROTO_TCP);
		struct flow *flow = open_scene(&scene);

		flow->state = TCP_STATE_ESTABLISHED;
		memcpy(flow->tcp, ends, sizeof(ends));
		build(&before, &scene, true);
		for (unsigned i = 0; i < RTE_DIM(sequences); i++) {
			rte_be32_t sequence = rte_cpu_to_be_32(sequences[i]);

			memcpy(before.bytes + quote_offset(&scene) + quoted_header(&scene) + 4,
				&sequence, sizeof(sequence));
			frame_fix(before.bytes, before.length);
			for (unsigned quoted = 0; quoted < 2; quoted++)
				CU_ASSERT_EQUAL(plausible(flow, quoted),
					tcp_sequence_in_flight(flow, quoted, sequences[i]));
		}
		flow_close(table, flow);
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
		struct scene scene = masquerade(
			family, protocol == IPPROTO_ICMP ? query_protocol(family) : protocol);
		struct flow *flow = open_scene(&scene);
		uint32_t needed = quote_offset(&scene) + quoted_header(&scene) + 8;

		build(&before, &scene, true);
		for (uint32_t first = quote_offset(&scene); first <= before.length; first++)
			for (uint32_t rest = 1; rest < 4; rest++) {
				struct rte_mbuf *mbuf = frame_mbuf_chain(
					pool, before.bytes, before.length, first, rest);

				if (first < needed) {
					CU_ASSERT_EQUAL(relate(mbuf), REASON_ICMP_ERROR);
					rte_pktmbuf_free(mbuf);
					continue;
				}
				build(&expected, &scene, false);
				CU_ASSERT(becomes(mbuf, &scene, flow));
			}
		flow_close(table, flow);
	}
}

/* An error in a burst is one packet of many. */
static void
test_burst(void)
{
	static struct frame plain;
	struct scene scene = masquerade(FAMILY_IPV4, IPPROTO_UDP);
	struct flow *flow = open_scene(&scene);
	struct tuple reply = reversed(&scene.tuple[0]);
	struct rte_mbuf *burst[3];

	build(&before, &scene, true);
	build(&expected, &scene, false);
	build_packet(&plain, &scene.tuple[1], scene.quote);
	burst[0] = frame_mbuf(pool, plain.bytes, plain.length);
	burst[1] = frame_mbuf(pool, before.bytes, before.length);
	burst[2] = frame_mbuf(pool, plain.bytes, plain.length);
	CU_ASSERT_EQUAL_FATAL(parse_burst(burst, 3), 3);
	CU_ASSERT_EQUAL(icmp_relate(burst[1]), REASON_NONE);
	flow_lookup_burst(table, burst, 3);
	rewrite_burst(&secret, burst, 3);
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
	flow_close(table, flow);
}

/* --- anything whatever --- */

static union address
random_address(enum family family)
{
	union address address = {.half = {0, 0}};

	for (unsigned i = 0; i < (family == FAMILY_IPV4 ? 4 : 16); i++)
		address.v6[i] = rand() % 4 == 0 ? (uint8_t) - (rand() % 2) : (uint8_t)rand();
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
	struct tuple other = reversed(tuple);
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
		struct scene scene = scene_of(family, &kinds[family][0],
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

/* Zero and 0xffff are the same in a checksum, and to go there and back may turn one into the other:
 * make them look the same. */
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

	if (relate(mbuf) != REASON_NONE) {
		rte_pktmbuf_free(mbuf);
		return false;
	}
	packet = *packet_of(mbuf);
	scene.tuple[direction] = packet.tuple;
	scene.tuple[!direction] = random_other(&packet.tuple);
	flow = flow_open(table, &scene.tuple[0], &scene.tuple[1], 1000);
	if (flow == NULL) {
		rte_pktmbuf_free(mbuf);
		return false;
	}
	(void)pass(mbuf, flow);
	flow_close(table, flow);
	CU_ASSERT_EQUAL_FATAL(after.length, before.length);
	CU_ASSERT_EQUAL_FATAL(frame_faults(after.bytes, after.length), 0);

	once = after;
	scene = mirrored(&scene);
	flow = flow_open(table, &scene.tuple[0], &scene.tuple[1], 1000);
	mbuf = frame_mbuf_tight(pool, once.bytes, once.length);
	if (flow == NULL || relate(mbuf) != REASON_NONE) {
		CU_FAIL("what came out is not understood");
		rte_pktmbuf_free(mbuf);
		return true;
	}
	CU_ASSERT_EQUAL(
		memcmp(&packet_of(mbuf)->tuple, &scene.tuple[direction], sizeof(struct tuple)), 0);
	(void)pass(mbuf, flow);
	flow_close(table, flow);
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
		struct scene scene = scene_of(family, &kinds[family][rand() % 7],
			protocol == IPPROTO_ICMP ? query_protocol(family) : protocol,
			rand() % 2 == 0 ? DIRECTION_ORIGINAL : DIRECTION_REPLY);
		uint32_t quote = quote_offset(&scene);
		uint8_t *header = before.bytes + quote;
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
		build(&before, &scene, true);
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
		if (rand() % 2 == 0)
			survived += survives(frame_mbuf_tight(pool, before.bytes, before.length));
		else
			survived += survives(frame_mbuf_chain(pool, before.bytes, before.length,
				quote + (uint32_t)rand() % (room + 1), 1 + (uint32_t)rand() % 100));
		if (CU_get_number_of_failures() != 0 && CU_get_run_summary()->nAssertsFailed > 20)
			break;
	}
	/* It would prove little if none got through, or all. */
	CU_ASSERT(survived > rounds / 10 && survived < rounds * 9 / 10);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 0);
	CU_ASSERT_EQUAL(flow_count(table), 0);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"RFC 5508 REQ-4, REQ-5, REQ-6, RFC 4787 REQ-12: about UDP", test_udp},
		{"RFC 5382 REQ-9, REQ-10: about TCP", test_tcp},
		{"RFC 5508 REQ-4, REQ-5: about ICMP queries", test_query},
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
		{"random flows and errors, and back", test_random},
		{"hostile errors, and back", test_hostile},
	};

	unit_eal();
	pool = rte_pktmbuf_pool_create("test", 2047, 0,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN),
		RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	table = flow_table_create(1024, &secret, 0, SOCKET_ID_ANY);
	if (pool == NULL || table == NULL)
		return 1;
	return UNIT_RUN("icmp", tests);
}
