/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Errors and the flows they are about. See scene.h.
 */
#include "tests/unit/scene.h"

#include <netinet/in.h>

#include "classifier/parse.h"
#include "nat/icmp.h"
#include "nat/rewrite.h"
#include "tests/unit/unit.h"

struct rte_mempool *scene_pool;
struct flow_table *scene_flows;
const struct flow_secret scene_secret = {
	{0x1f83d9abfb41bd6b, 0x5be0cd19137e2179, 0x6a09e667f3bcc908, 0xbb67ae8584caa73b}};
struct frame before, expected, after;

bool
scene_start(void)
{
	scene_pool = rte_pktmbuf_pool_create("test", 2047, 0,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN),
		RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	scene_flows = flow_table_create(1024, &scene_secret, 0, SOCKET_ID_ANY);
	return scene_pool != NULL && scene_flows != NULL;
}

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

struct tuple
tuple_reversed(const struct tuple *tuple)
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

/* clang-format off */
const struct flow_kind flow_kinds[FAMILIES][FLOW_KINDS] = {
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

bool
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

uint8_t
query_protocol(enum family family)
{
	return family == FAMILY_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
}

/* An error of the commonest sort about a flow of kind @p kind. */
struct scene
scene_of(enum family family, const struct flow_kind *kind, uint8_t protocol, enum direction quoted)
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

struct scene
scene_masquerade(enum family family, uint8_t protocol)
{
	return scene_of(family, &flow_kinds[family][0], protocol, DIRECTION_ORIGINAL);
}

/* --- building errors --- */

void
scene_packet(struct frame *frame, const struct tuple *tuple, struct frame_spec spec)
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
uint32_t
quote_offset(const struct scene *scene)
{
	return ETHER_HEADER + 8 +
	       (scene->tuple[0].family == FAMILY_IPV4 ? 20u + scene->error.options_length
						      : 40u + scene->error.extensions_length);
}

uint32_t
quoted_header(const struct scene *scene)
{
	return scene->tuple[0].family == FAMILY_IPV4 ? 20u + scene->quote.options_length
						     : 40u + scene->quote.extensions_length;
}

/* Build the error on the side of the quoted packet's receiver, or that of its first sender. */
void
scene_build(struct frame *frame, const struct scene *scene, bool far)
{
	static struct frame quoted;
	struct tuple seen = scene->tuple[scene->quoted];
	enum family family = seen.family;
	char source[ADDRESS_TEXT_SIZE], destination[ADDRESS_TEXT_SIZE];
	struct frame_spec spec = scene->error;
	uint32_t length;

	if (far)
		seen = tuple_reversed(&scene->tuple[!scene->quoted]);
	scene_packet(&quoted, &seen, scene->quote);
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

struct flow *
scene_open(const struct scene *scene)
{
	struct flow *flow = flow_open(scene_flows, &scene->tuple[0], &scene->tuple[1], 1000);

	CU_ASSERT_PTR_NOT_NULL_FATAL(flow);
	if (is_query(flow->protocol))
		flow->state = query_type(scene->tuple[0].family, DIRECTION_ORIGINAL);
	return flow;
}

/* Parse and relate. @return what relate says; if it is no, nothing may have changed */
enum reason
scene_relate(struct rte_mbuf *mbuf)
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
enum reason
reason_of(const struct frame *frame)
{
	struct rte_mbuf *mbuf = frame_mbuf_tight(scene_pool, frame->bytes, frame->length);
	enum reason reason = scene_relate(mbuf);

	rte_pktmbuf_free(mbuf);
	return reason;
}

enum reason
reason_of_scene(const struct scene *scene)
{
	scene_build(&before, scene, true);
	return reason_of(&before);
}

/* Take an error that is related through lookup and rewrite; the result is in `after`. Frees it. */
bool
scene_pass(struct rte_mbuf *mbuf, struct flow *flow)
{
	struct packet *packet = packet_of(mbuf);
	struct flow unchanged = *flow;
	bool plausible;

	flow_lookup_burst(scene_flows, &mbuf, 1);
	CU_ASSERT_PTR_EQUAL_FATAL(packet->flow, flow);
	plausible = icmp_plausible(mbuf);
	rewrite_burst(&scene_secret, &mbuf, 1);
	/* RFC 5508 REQ-6: neither refreshed nor ended, nor anything else */
	CU_ASSERT(memcmp(&unchanged, flow, sizeof(unchanged)) == 0);
	frame_of_mbuf(&after, mbuf);
	rte_pktmbuf_free(mbuf);
	return plausible;
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
bool
becomes(struct rte_mbuf *mbuf, const struct scene *scene, struct flow *flow)
{
	const struct packet *packet = packet_of(mbuf);
	enum direction direction = !scene->quoted;
	/* of the quoted packet, on the side where the error comes in */
	struct tuple seen = tuple_reversed(&scene->tuple[direction]);
	bool right;

	if (scene_relate(mbuf) != REASON_NONE) {
		rte_pktmbuf_free(mbuf);
		return false;
	}
	right = memcmp(&packet->tuple, &scene->tuple[direction], sizeof(packet->tuple)) == 0 &&
		packet->quoted_l4 == quote_offset(scene) + quoted_header(scene) &&
		address_equal(&packet->outer[1], &seen.source);
	if (scene->router == NULL)
		right &= address_equal(&packet->outer[0], &seen.destination);
	if (seen.family == FAMILY_IPV4) {
		expected.bytes[22]--;
		if (!scene->error.df)
			put16(expected.bytes + 18,
				(uint16_t)rewrite_identification(&scene_secret,
					&(struct packet){
						.hash = flow_hash(&scene_secret, &packet->tuple),
						.direction = (uint8_t)direction},
					0));
		frame_fix(expected.bytes, expected.length);
	} else {
		expected.bytes[21]--;
	}
	half_checksum(scene);
	right &= scene_pass(mbuf, flow);
	return right && after.length == expected.length &&
	       memcmp(after.bytes, expected.bytes, after.length) == 0 &&
	       frame_faults(after.bytes, after.length) == 0;
}

bool
is_right(const struct scene *scene)
{
	struct flow *flow = scene_open(scene);
	bool right;

	scene_build(&before, scene, true);
	scene_build(&expected, scene, false);
	right = becomes(frame_mbuf_tight(scene_pool, before.bytes, before.length), scene, flow);
	flow_close(scene_flows, flow);
	return right;
}

/* The flow as somebody sees it who stands on the other side of the firewall. */
struct scene
scene_mirrored(const struct scene *scene)
{
	struct scene mirror = *scene;

	mirror.tuple[0] = tuple_reversed(&scene->tuple[1]);
	mirror.tuple[1] = tuple_reversed(&scene->tuple[0]);
	return mirror;
}

/* Translate `after` back: it must become `before`, two hops later. */
bool
goes_back(const struct scene *scene)
{
	struct scene mirror = scene_mirrored(scene);
	struct flow *flow = scene_open(&mirror);
	bool right;

	expected = before;
	expected.bytes[scene->tuple[0].family == FAMILY_IPV4 ? 22 : 21]--;
	right = becomes(frame_mbuf_tight(scene_pool, after.bytes, after.length), &mirror, flow);
	flow_close(scene_flows, flow);
	return right;
}
