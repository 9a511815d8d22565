/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parsing at its edges: for every drop reason the smallest wrong frame and, next to it, the right
 * one that differs as little as possible; every truncation of every kind of frame; chains cut at
 * every place. Frames end where their buffers do, so that AddressSanitizer sees a step too far.
 */
#include "classifier/parse.h"
#include "tests/unit/frames.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>

#include <rte_tcp.h>

#define SOURCE "10.137.0.16"
#define DESTINATION "192.0.2.7"
#define SOURCE6 "fd09::10"
#define DESTINATION6 "2001:db8::7"

static struct rte_mempool *pool;
static struct frame frame;

static void
build(const struct frame_spec *spec)
{
	frame_build(&frame, spec);
}

static struct frame_spec
spec_of(enum family family, uint8_t protocol)
{
	return (struct frame_spec){
		.source = family == FAMILY_IPV4 ? SOURCE : SOURCE6,
		.destination = family == FAMILY_IPV4 ? DESTINATION : DESTINATION6,
		.protocol = protocol,
		.source_port = 40000,
		.destination_port = 443,
		.tcp_flags = RTE_TCP_SYN_FLAG,
		.type = protocol == IPPROTO_ICMPV6 ? 128 : 8,
	};
}

/* Parse one mbuf: what was found is in @p packet, the mbuf's length in @p length. */
static enum reason
parse_mbuf(struct rte_mbuf *mbuf, struct packet *packet, uint32_t *length)
{
	struct packet *own = packet_of(mbuf);
	unsigned passed;

	own->in_port = 7;
	own->serial = 4711;
	passed = parse_burst(&mbuf, 1);
	CU_ASSERT_EQUAL(passed, own->reason == REASON_NONE ? 1 : 0);
	CU_ASSERT_EQUAL(own->in_port, 7);
	CU_ASSERT_EQUAL(own->serial, 4711);
	CU_ASSERT_EQUAL(own->frame_length, rte_pktmbuf_pkt_len(mbuf));
	*packet = *own;
	if (length != NULL)
		*length = rte_pktmbuf_pkt_len(mbuf);
	rte_pktmbuf_free(mbuf);
	return packet->reason;
}

static enum reason
parse(struct packet *packet)
{
	return parse_mbuf(frame_mbuf_tight(pool, frame.bytes, frame.length), packet, NULL);
}

static enum reason
reason_of_frame(void)
{
	struct packet packet;

	return parse(&packet);
}

/* --- what a good frame is found to hold --- */

static void
test_tcp(void)
{
	struct frame_spec spec = spec_of(FAMILY_IPV4, IPPROTO_TCP);
	struct packet packet;

	spec.tcp_options = 8;
	spec.payload = 5;
	spec.df = true;
	spec.ttl = 33;
	spec.tcp_flags = RTE_TCP_SYN_FLAG | RTE_TCP_ECE_FLAG;
	build(&spec);
	CU_ASSERT_EQUAL(parse(&packet), REASON_NONE);
	CU_ASSERT_EQUAL(packet.kind, PACKET_IP);
	CU_ASSERT_EQUAL(packet.tuple.family, FAMILY_IPV4);
	CU_ASSERT_EQUAL(packet.tuple.protocol, IPPROTO_TCP);
	CU_ASSERT_EQUAL(packet.tuple.source_port, RTE_BE16(40000));
	CU_ASSERT_EQUAL(packet.tuple.destination_port, RTE_BE16(443));
	CU_ASSERT_EQUAL(packet.tuple.source.half[0], RTE_BE32(0x0a890010));
	CU_ASSERT_EQUAL(packet.tuple.source.half[1], 0);
	CU_ASSERT_EQUAL(packet.tuple.destination.half[0], RTE_BE32(0xc0000207));
	CU_ASSERT_EQUAL(packet.tuple.zero, 0);
	CU_ASSERT_EQUAL(packet.l3_offset, 14);
	CU_ASSERT_EQUAL(packet.l4_offset, 34);
	CU_ASSERT_EQUAL(packet.payload_offset, 62);
	CU_ASSERT_EQUAL(packet.frame_length, 67);
	CU_ASSERT_EQUAL(packet.tcp_flags, RTE_TCP_SYN_FLAG | RTE_TCP_ECE_FLAG);
	CU_ASSERT_EQUAL(packet.ttl, 33);
	CU_ASSERT_EQUAL(packet.flags, PACKET_DF);
	/* everything behind the parse part is as a fresh packet has it */
	CU_ASSERT_EQUAL(packet.verdict, 0);
	CU_ASSERT_EQUAL(packet.direction, 0);
	CU_ASSERT_EQUAL(packet.rule, RULE_NONE);
	CU_ASSERT_EQUAL(packet.out_port, PORT_NONE);
	CU_ASSERT_EQUAL(packet.qube, QUBE_NONE);
	CU_ASSERT_PTR_NULL(packet.flow);
	CU_ASSERT_EQUAL(packet.hash, 0);
}

static void
test_udp6(void)
{
	struct frame_spec spec = spec_of(FAMILY_IPV6, IPPROTO_UDP);
	struct packet packet;

	spec.payload = 3;
	spec.ttl = 255;
	build(&spec);
	CU_ASSERT_EQUAL(parse(&packet), REASON_NONE);
	CU_ASSERT_EQUAL(packet.tuple.family, FAMILY_IPV6);
	CU_ASSERT_EQUAL(packet.tuple.protocol, IPPROTO_UDP);
	CU_ASSERT_EQUAL(packet.tuple.source.v6[15], 0x10);
	CU_ASSERT_EQUAL(packet.tuple.destination.v6[1], 0x01);
	CU_ASSERT_EQUAL(packet.tuple.source_port, RTE_BE16(40000));
	CU_ASSERT_EQUAL(packet.l4_offset, 54);
	CU_ASSERT_EQUAL(packet.payload_offset, 62);
	CU_ASSERT_EQUAL(packet.ttl, 255);
	CU_ASSERT_EQUAL(packet.flags, 0);
}

/* Protocols without ports pass with none. */
static void
test_other_protocols(void)
{
	static const uint8_t protocols[] = {2, 47, 50, 51, 132, 255};
	struct packet packet;

	for (unsigned i = 0; i < sizeof(protocols); i++) {
		struct frame_spec spec = spec_of(FAMILY_IPV4, protocols[i]);

		spec.payload = i % 2; /* even an empty one is somebody's packet */
		build(&spec);
		CU_ASSERT_EQUAL(parse(&packet), REASON_NONE);
		CU_ASSERT_EQUAL(packet.tuple.protocol, protocols[i]);
		CU_ASSERT_EQUAL(packet.tuple.source_port, 0);
		CU_ASSERT_EQUAL(packet.tuple.destination_port, 0);
		CU_ASSERT_EQUAL(packet.payload_offset, packet.l4_offset);
	}
}

static void
test_arp(void)
{
	struct packet packet;

	frame_arp(&frame, 1, NULL, (const uint8_t *)"\0\0\0\0\0\0", SOURCE, DESTINATION);
	CU_ASSERT_EQUAL(parse(&packet), REASON_NONE);
	CU_ASSERT_EQUAL(packet.kind, PACKET_ARP);
	CU_ASSERT_EQUAL(packet.l3_offset, 14);
}

/* --- Ethernet --- */

static void
test_ethernet(void)
{
	static const struct {
		uint16_t type;
		enum reason reason;
	} rows[] = {
		{0x0806, REASON_NONE},
		{0x8100, REASON_VLAN},
		{0x88a8, REASON_VLAN},
		{0x9100, REASON_VLAN},
		{0x8847, REASON_ETHERTYPE},
		{0x0000, REASON_ETHERTYPE},
		{0x05dc, REASON_ETHERTYPE}, /* a length: 802.3 */
		{0x0801, REASON_ETHERTYPE},
		{0x0008, REASON_ETHERTYPE}, /* byte order */
		{0xffff, REASON_ETHERTYPE},
	};
	struct packet packet;

	memset(&frame, 0, sizeof(frame));
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		frame.bytes[12] = (uint8_t)(rows[i].type >> 8);
		frame.bytes[13] = (uint8_t)rows[i].type;
		frame.length = 14;
		CU_ASSERT_EQUAL(parse(&packet), rows[i].reason);
		frame.length = 13;
		CU_ASSERT_EQUAL(parse(&packet), REASON_TRUNCATED);
	}
	frame.length = 0;
	CU_ASSERT_EQUAL(parse(&packet), REASON_TRUNCATED);
}

/* --- IPv4 --- */

/* Change one byte of a good frame, put its checksums right, and see. */
static enum reason
changed(const struct frame_spec *spec, unsigned offset, uint8_t value)
{
	build(spec);
	frame.bytes[offset] = value;
	frame_fix(frame.bytes, frame.length);
	return reason_of_frame();
}

static void
test_ipv4_header(void)
{
	struct frame_spec spec = spec_of(FAMILY_IPV4, IPPROTO_UDP);

	CU_ASSERT_EQUAL(changed(&spec, 14, 0x45), REASON_NONE);
	CU_ASSERT_EQUAL(changed(&spec, 14, 0x55), REASON_IP_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 14, 0x65), REASON_IP_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 14, 0x05), REASON_IP_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 14, 0x44), REASON_IP_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 14, 0x40), REASON_IP_HEADER);
	/* total length: less than the header, then less than the UDP header, then too long */
	CU_ASSERT_EQUAL(changed(&spec, 17, 19), REASON_IP_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 17, 0), REASON_IP_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 17, 20), REASON_L4_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 17, 27), REASON_L4_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 17, 28), REASON_NONE);
	CU_ASSERT_EQUAL(changed(&spec, 17, 29), REASON_TRUNCATED);
	CU_ASSERT_EQUAL(changed(&spec, 16, 0xff), REASON_TRUNCATED);
	/* a header longer than the packet, then longer than the frame */
	CU_ASSERT_EQUAL(changed(&spec, 14, 0x48), REASON_IP_HEADER);
	spec.payload = 40;
	build(&spec);
	frame.bytes[14] = 0x4f;
	frame.length = 14 + 59;
	CU_ASSERT_EQUAL(reason_of_frame(), REASON_TRUNCATED);
}

/* Every single wrong bit of the header is noticed: by its checksum at the latest. */
static void
test_ipv4_checksum(void)
{
	struct frame_spec spec = spec_of(FAMILY_IPV4, IPPROTO_UDP);
	static const uint8_t nops[8] = {1, 1, 1, 1, 1, 1, 1, 0};

	for (unsigned options = 0; options <= 8; options += 4) {
		spec.options = nops;
		spec.options_length = (uint8_t)options;
		for (unsigned bit = 0; bit < (20 + options) * 8; bit++) {
			build(&spec);
			CU_ASSERT_EQUAL(reason_of_frame(), REASON_NONE);
			frame.bytes[14 + bit / 8] ^= (uint8_t)(1 << bit % 8);
			CU_ASSERT_NOT_EQUAL(reason_of_frame(), REASON_NONE);
		}
		build(&spec);
		frame.bytes[14 + 10] ^= 0x80;
		CU_ASSERT_EQUAL(reason_of_frame(), REASON_IP_CHECKSUM);
	}
}

/* Sums that carry in every way. */
static void
test_ipv4_checksum_random(void)
{
	struct frame_spec spec = spec_of(FAMILY_IPV4, 47);

	srand(1);
	build(&spec);
	for (unsigned i = 0; i < 200000; i++) {
		uint8_t fill = (uint8_t)(i % 3 == 0 ? 0xff : i % 3 == 1 ? 0 : 0x5a);

		for (unsigned at = 26; at < 34; at++)
			frame.bytes[at] = rand() % 3 == 0 ? (uint8_t)rand() : fill;
		frame.bytes[18] = (uint8_t)rand();
		frame.bytes[19] = rand() % 2 == 0 ? 0xff : (uint8_t)rand();
		frame_fix(frame.bytes, frame.length);
		if (reason_of_frame() != REASON_NONE) {
			CU_FAIL("a right sum is said to be wrong");
			break;
		}
		/* 0 and 0xffff are the same in one's complement; all else differs */
		frame.bytes[25] ^= (uint8_t)(1 << rand() % 8);
		if (reason_of_frame() != REASON_IP_CHECKSUM) {
			CU_FAIL("a wrong sum is said to be right");
			break;
		}
	}
}

static void
test_ipv4_options(void)
{
	static const struct {
		uint8_t bytes[8];
		uint8_t length;
		enum reason reason;
	} rows[] = {
		{{1, 1, 1, 1}, 4, REASON_NONE},
		{{0, 0, 0, 0}, 4, REASON_NONE},
		{{0, 131, 131, 131}, 4, REASON_NONE}, /* behind the end nothing counts */
		{{148, 4, 0, 0}, 4, REASON_NONE},     /* router alert */
		{{1, 1, 148, 2}, 4, REASON_NONE},
		{{148, 5, 0, 0}, 4, REASON_IP_HEADER}, /* runs over the header */
		{{148, 1, 0, 0}, 4, REASON_IP_HEADER},
		{{148, 0, 0, 0}, 4, REASON_IP_HEADER},
		{{1, 1, 1, 148}, 4, REASON_IP_HEADER}, /* no length at all */
		{{148, 255, 0, 0}, 4, REASON_IP_HEADER},
		{{1, 1, 148, 3}, 4, REASON_IP_HEADER},
		{{131, 3, 4, 0}, 4, REASON_SOURCE_ROUTE},
		{{137, 3, 4, 0}, 4, REASON_SOURCE_ROUTE},
		{{1, 131, 3, 4}, 4, REASON_SOURCE_ROUTE},
		{{148, 4, 0, 0, 137, 3, 4, 0}, 8, REASON_SOURCE_ROUTE},
		{{148, 4, 131, 137, 1, 0, 131, 131}, 8, REASON_NONE}, /* as data they are nothing */
		{{7, 7, 4, 0, 0, 0, 0, 0}, 8, REASON_NONE},           /* record route */
		{{7, 8, 4, 0, 0, 0, 0, 0}, 8, REASON_NONE},
		{{7, 9, 4, 0, 0, 0, 0, 0}, 8, REASON_IP_HEADER},
	};
	struct frame_spec spec = spec_of(FAMILY_IPV4, IPPROTO_UDP);
	struct packet packet;

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		spec.options = rows[i].bytes;
		spec.options_length = rows[i].length;
		build(&spec);
		CU_ASSERT_EQUAL(parse(&packet), rows[i].reason);
		if (rows[i].reason == REASON_NONE) {
			CU_ASSERT_EQUAL(packet.l4_offset, 34 + rows[i].length);
			CU_ASSERT_EQUAL(packet.tuple.destination_port, RTE_BE16(443));
		}
	}
}

/* --- fragments --- */

static uint8_t fragment_extensions[64];

/*
 * Make `frame` a fragment of something, whose part of the data is what stands behind the IP
 * headers.
 * @param extensions IPv6: bytes of hop-by-hop options before the fragment header
 */
static void
build_fragment(struct frame_spec *spec, uint32_t offset, bool more, unsigned extensions)
{
	bool ipv6 = strchr(spec->source, ':') != NULL;

	if (!ipv6) {
		build(spec);
		frame.bytes[20] |= (uint8_t)((more ? 0x20 : 0) | offset >> 11);
		frame.bytes[21] = (uint8_t)(offset >> 3);
		frame_fix(frame.bytes, frame.length);
		return;
	}
	memset(fragment_extensions, 0, sizeof(fragment_extensions));
	if (extensions != 0) {
		fragment_extensions[0] = IPPROTO_FRAGMENT;
		fragment_extensions[1] = (uint8_t)(extensions / 8 - 1);
	}
	fragment_extensions[extensions] = spec->protocol;
	fragment_extensions[extensions + 1] = 0xff; /* reserved, to be ignored */
	fragment_extensions[extensions + 2] = (uint8_t)(offset >> 8);
	fragment_extensions[extensions + 3] = (uint8_t)(offset | 6 | more); /* two bits reserved */
	spec->extensions = fragment_extensions;
	spec->extensions_length = (uint16_t)(extensions + 8);
	spec->first_extension = extensions != 0 ? IPPROTO_HOPOPTS : IPPROTO_FRAGMENT;
	build(spec);
}

/* What is known of a fragment: everything but ports. */
static void
test_fragments(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, 47};

	for (int family = 0; family < FAMILIES; family++)
		for (unsigned i = 0; i < 4; i++)
			for (uint32_t offset = 0; offset <= 65528; offset += 65528 / 7 * 7)
				for (unsigned more = 0; more < 2; more++) {
					bool ipv6 = family == FAMILY_IPV6;
					uint8_t protocol = protocols[i] == IPPROTO_ICMP && ipv6
								   ? IPPROTO_ICMPV6
								   : protocols[i];
					struct frame_spec spec =
						spec_of((enum family)family, protocol);
					struct packet packet;

					if (offset == 0 && more == 0)
						continue;
					spec.payload = protocol == IPPROTO_TCP ? 12 : 8;
					spec.df = true;
					spec.ttl = 9;
					build_fragment(&spec, offset & 0xfff8, more, ipv6 ? 16 : 0);
					CU_ASSERT_EQUAL(parse(&packet), REASON_NONE);
					CU_ASSERT_EQUAL(packet.kind, PACKET_IP);
					CU_ASSERT_EQUAL(packet.flags,
						PACKET_FRAGMENT | (ipv6 ? 0 : PACKET_DF));
					CU_ASSERT_EQUAL(packet.tuple.family, family);
					CU_ASSERT_EQUAL(packet.tuple.protocol, protocol);
					CU_ASSERT_EQUAL(packet.tuple.source_port, 0);
					CU_ASSERT_EQUAL(packet.tuple.destination_port, 0);
					CU_ASSERT_EQUAL(
						packet.tuple.source.v6[ipv6 ? 15 : 3], 0x10);
					CU_ASSERT_EQUAL(
						packet.tuple.destination.v6[ipv6 ? 15 : 3], 7);
					CU_ASSERT_EQUAL(packet.l3_offset, 14);
					CU_ASSERT_EQUAL(packet.l4_offset, ipv6 ? 14 + 40 + 24 : 34);
					CU_ASSERT_EQUAL(packet.payload_offset, packet.l4_offset);
					CU_ASSERT_EQUAL(packet.frame_length, frame.length);
					CU_ASSERT_EQUAL(packet.ttl, 9);
					CU_ASSERT_EQUAL(packet.tcp_flags, 0);
					CU_ASSERT_EQUAL(packet.icmp_type, 0);
					CU_ASSERT_EQUAL(packet.fragment_size, 0);
				}
}

/* The parts of the IPv4 field that make a fragment, and those that do not. */
static void
test_ipv4_fragment_field(void)
{
	struct frame_spec spec = spec_of(FAMILY_IPV4, IPPROTO_UDP);

	for (unsigned bit = 0; bit < 16; bit++) {
		struct packet packet;

		build(&spec);
		frame.bytes[20 + bit / 8] = (uint8_t)(0x80 >> bit % 8);
		frame_fix(frame.bytes, frame.length);
		CU_ASSERT_EQUAL(parse(&packet), REASON_NONE);
		CU_ASSERT_EQUAL(packet.flags, bit == 0   ? 0
					      : bit == 1 ? PACKET_DF
							 : PACKET_FRAGMENT);
		/* whatever it is, its header is checked like any other */
		frame.bytes[24] ^= 1;
		CU_ASSERT_EQUAL(parse(&packet), REASON_IP_CHECKSUM);
	}
	spec.options = (const uint8_t[]){131, 3, 4, 0};
	spec.options_length = 4;
	CU_ASSERT_EQUAL(changed(&spec, 20, 0x20), REASON_SOURCE_ROUTE);
	CU_ASSERT_EQUAL(changed(&spec, 21, 1), REASON_SOURCE_ROUTE);
}

/* Nothing in it, or not in units of eight with more to come. */
static void
test_fragment_lengths(void)
{
	for (int family = 0; family < FAMILIES; family++)
		for (uint32_t offset = 0; offset <= 8; offset += 8)
			for (unsigned more = 0; more < 2; more++)
				for (uint16_t length = 0; length <= 40; length++) {
					struct frame_spec spec = spec_of((enum family)family, 47);
					bool good = length > 0 && (!more || length % 8 == 0);

					if (offset == 0 && more == 0)
						continue;
					spec.payload = length;
					build_fragment(&spec, offset, more, 0);
					CU_ASSERT_EQUAL(reason_of_frame(),
						good ? REASON_NONE : REASON_FRAGMENT);
					/* padding is no part of it */
					spec.padding = 20;
					build_fragment(&spec, offset, more, 0);
					CU_ASSERT_EQUAL(reason_of_frame(),
						good ? REASON_NONE : REASON_FRAGMENT);
				}
}

/* RFC 1858, RFC 7112: the first fragment holds the upper layer's header, or it is dropped. */
static void
test_first_fragments(void)
{
	static const struct {
		uint8_t protocol;
		uint8_t tcp_options;
		uint16_t header;
	} rows[] = {
		{IPPROTO_TCP, 0, 20},
		{IPPROTO_TCP, 12, 32},
		{IPPROTO_TCP, 40, 60},
		{IPPROTO_UDP, 0, 8},
		{IPPROTO_ICMP, 0, 8},
		{47, 0, 1},
	};

	for (int family = 0; family < FAMILIES; family++)
		for (unsigned i = 0; i < RTE_DIM(rows); i++)
			for (uint32_t length = 8; length <= 72; length += 8) {
				bool ipv6 = family == FAMILY_IPV6;
				uint8_t protocol = rows[i].protocol;
				struct frame_spec spec;
				uint32_t l4 = ipv6 ? 62 : 34;

				if (protocol == IPPROTO_ICMP && ipv6)
					protocol = IPPROTO_ICMPV6;
				spec = spec_of((enum family)family, protocol);
				spec.tcp_options = rows[i].tcp_options;
				spec.payload = 80;
				build_fragment(&spec, 0, true, 0);
				frame.length = l4 + length;
				if (ipv6)
					frame.bytes[19] = (uint8_t)(8 + length);
				else
					frame.bytes[17] = (uint8_t)(20 + length);
				frame_fix(frame.bytes, 34);
				CU_ASSERT_EQUAL(reason_of_frame(),
					length >= rows[i].header ? REASON_NONE : REASON_FRAGMENT);
				/* later ones need none */
				if (ipv6)
					frame.bytes[57] |= 8;
				else
					frame.bytes[21] = 1;
				frame_fix(frame.bytes, 34);
				CU_ASSERT_EQUAL(reason_of_frame(), REASON_NONE);
			}
}

/* What is wrong with a first fragment whatever may follow. */
static void
test_first_fragment_headers(void)
{
	struct frame_spec spec = spec_of(FAMILY_IPV4, IPPROTO_TCP);

	spec.payload = 44;
	build_fragment(&spec, 0, true, 0);
	frame.bytes[46] = 0x40;
	CU_ASSERT_EQUAL(reason_of_frame(), REASON_L4_HEADER);
	frame.bytes[46] = 0xf0;
	CU_ASSERT_EQUAL(reason_of_frame(), REASON_NONE);
	spec = spec_of(FAMILY_IPV6, IPPROTO_ICMP);
	build_fragment(&spec, 0, true, 0);
	CU_ASSERT_EQUAL(reason_of_frame(), REASON_L4_HEADER);
	spec = spec_of(FAMILY_IPV4, IPPROTO_ICMPV6);
	build_fragment(&spec, 0, true, 0);
	CU_ASSERT_EQUAL(reason_of_frame(), REASON_L4_HEADER);
	/* sums are for the whole */
	spec = spec_of(FAMILY_IPV6, IPPROTO_ICMPV6);
	build_fragment(&spec, 0, true, 0);
	frame.bytes[64] ^= 1;
	CU_ASSERT_EQUAL(reason_of_frame(), REASON_NONE);
}

/* RFC 6980: neighbour discovery is never fragmented, not even into one. */
static void
test_fragmented_nd(void)
{
	for (unsigned type = 130; type <= 140; type++) {
		struct frame_spec spec = spec_of(FAMILY_IPV6, IPPROTO_ICMPV6);
		bool nd = type >= 133 && type <= 137;
		struct packet packet;
		uint8_t message[32];

		spec.type = (uint8_t)type;
		spec.payload = 24;
		build(&spec);
		memcpy(message, frame.bytes + 54, sizeof(message));
		CU_ASSERT_EQUAL(parse(&packet), REASON_NONE);
		for (unsigned more = 0; more < 2; more++) {
			build_fragment(&spec, 0, more, 0);
			memcpy(frame.bytes + 62, message, sizeof(message));
			CU_ASSERT_EQUAL(
				parse(&packet), nd ? REASON_NEIGHBOUR_DISCOVERY : REASON_NONE);
			CU_ASSERT_EQUAL((packet.flags & PACKET_FRAGMENT) != 0, more != 0);
		}
	}
}

/* Whatever a device says of a fragment's checksum or segments is no concern of anybody's. */
static void
test_fragment_offloads(void)
{
	static const uint64_t flags[] = {RTE_MBUF_F_RX_L4_CKSUM_NONE, RTE_MBUF_F_RX_L4_CKSUM_BAD,
		RTE_MBUF_F_RX_L4_CKSUM_GOOD, RTE_MBUF_F_RX_LRO};

	for (unsigned i = 0; i < RTE_DIM(flags) * FAMILIES * 2; i++) {
		struct frame_spec spec = spec_of(i % 2 ? FAMILY_IPV6 : FAMILY_IPV4, IPPROTO_UDP);
		struct rte_mbuf *mbuf;

		build_fragment(&spec, i / 2 % 2 ? 0 : 16, true, 0);
		mbuf = frame_mbuf(pool, frame.bytes, frame.length);
		mbuf->ol_flags |= flags[i / 4];
		CU_ASSERT_EQUAL(parse_burst(&mbuf, 1), 1);
		CU_ASSERT_EQUAL(
			mbuf->ol_flags & (RTE_MBUF_F_RX_L4_CKSUM_MASK | RTE_MBUF_F_RX_LRO), 0);
		rte_pktmbuf_free(mbuf);
	}
}

/* No part of a fragment's headers is read where there is none, or beyond the first mbuf. */
static void
test_fragment_cuts(void)
{
	for (unsigned i = 0; i < 8; i++) {
		struct frame_spec spec = spec_of(i % 2 ? FAMILY_IPV6 : FAMILY_IPV4, IPPROTO_TCP);
		struct packet whole;
		uint32_t length, headers;

		spec.payload = 44;
		spec.tcp_options = 8;
		build_fragment(&spec, i & 2 ? 0 : 80, true, i & 4 ? 24 : 0);
		length = frame.length;
		CU_ASSERT_EQUAL(parse(&whole), REASON_NONE);
		headers = whole.l4_offset + (i & 2 ? 28 : 0);
		for (frame.length = 0; frame.length < length; frame.length++)
			CU_ASSERT_EQUAL(reason_of_frame(), REASON_TRUNCATED);
		for (uint32_t first = 1; first < length; first++) {
			struct packet packet;
			enum reason reason =
				parse_mbuf(frame_mbuf_chain(pool, frame.bytes, length, first, 7),
					&packet, NULL);

			CU_ASSERT_EQUAL(reason == REASON_NONE, first >= headers);
			if (reason == REASON_NONE) {
				CU_ASSERT_EQUAL(packet.frame_length, length);
				CU_ASSERT_EQUAL(packet.l4_offset, whole.l4_offset);
			}
		}
	}
}

/* --- reassembled datagrams --- */

static void
test_datagram(void)
{
	struct frame_spec spec = spec_of(FAMILY_IPV4, IPPROTO_UDP);
	static uint8_t bytes[14 + 65535];
	struct rte_mbuf *mbuf;
	struct packet *packet;

	/* the largest there is, in many pieces */
	build(&spec);
	memcpy(bytes, frame.bytes, 42);
	bytes[16] = bytes[17] = 0xff;
	bytes[38] = 0xff;
	bytes[39] = 0xff - 20;
	bytes[24] = bytes[25] = 0;
	bytes[24] = (uint8_t)((uint16_t)~frame_sum(0, bytes + 14, 20) >> 8);
	bytes[25] = (uint8_t)~frame_sum(0, bytes + 14, 20);
	mbuf = frame_mbuf_chain(pool, bytes, sizeof(bytes), 514, 480);
	packet = packet_of(mbuf);
	packet->in_port = 3;
	packet->serial = 4;
	packet->fragment_size = 1500;
	packet->flow = (struct flow *)packet;
	packet->flags = PACKET_FRAGMENT;
	CU_ASSERT_EQUAL(parse_datagram(mbuf), REASON_NONE);
	CU_ASSERT_EQUAL(packet->reason, REASON_NONE);
	CU_ASSERT_EQUAL(packet->fragment_size, 1500);
	CU_ASSERT_EQUAL(packet->in_port, 3);
	CU_ASSERT_EQUAL(packet->serial, 4);
	CU_ASSERT_EQUAL(packet->flags, 0);
	CU_ASSERT_EQUAL(packet->frame_length, sizeof(bytes));
	CU_ASSERT_EQUAL(packet->tuple.destination_port, RTE_BE16(443));
	CU_ASSERT_PTR_NULL(packet->flow);
	CU_ASSERT_EQUAL(packet->qube, QUBE_NONE);
	/* as a frame from a port it has come in one */
	CU_ASSERT_EQUAL(parse_burst(&mbuf, 1), 1);
	CU_ASSERT_EQUAL(packet->fragment_size, 0);
	rte_pktmbuf_free(mbuf);

	/* what is malformed is so now as well */
	bytes[39]++;
	mbuf = frame_mbuf_chain(pool, bytes, sizeof(bytes), 514, 480);
	packet_of(mbuf)->fragment_size = 576;
	CU_ASSERT_EQUAL(parse_datagram(mbuf), REASON_L4_HEADER);
	CU_ASSERT_EQUAL(packet_of(mbuf)->reason, REASON_L4_HEADER);
	CU_ASSERT_EQUAL(packet_of(mbuf)->fragment_size, 576);
	rte_pktmbuf_free(mbuf);

	/* fragments of fragments, and what may never be one */
	build_fragment(&spec, 8, false, 0);
	mbuf = frame_mbuf(pool, frame.bytes, frame.length);
	CU_ASSERT_EQUAL(parse_datagram(mbuf), REASON_FRAGMENT);
	rte_pktmbuf_free(mbuf);
	spec = spec_of(FAMILY_IPV6, IPPROTO_ICMPV6);
	spec.type = 135;
	build(&spec);
	mbuf = frame_mbuf(pool, frame.bytes, frame.length);
	CU_ASSERT_EQUAL(parse_datagram(mbuf), REASON_NEIGHBOUR_DISCOVERY);
	CU_ASSERT_EQUAL(packet_of(mbuf)->reason, REASON_NEIGHBOUR_DISCOVERY);
	rte_pktmbuf_free(mbuf);
}

/* --- padding --- */

static void
test_padding(void)
{
	static const uint8_t protocols[] = {IPPROTO_UDP, IPPROTO_TCP, IPPROTO_ICMP, IPPROTO_ICMPV6};

	for (unsigned i = 0; i < sizeof(protocols); i++)
		for (uint16_t padding = 0; padding < 50; padding++) {
			struct frame_spec spec =
				spec_of(protocols[i] == IPPROTO_ICMPV6 ? FAMILY_IPV6 : FAMILY_IPV4,
					protocols[i]);
			struct packet packet;
			uint32_t length, wanted;

			spec.payload = 1;
			build(&spec);
			wanted = frame.length;
			spec.padding = padding;
			build(&spec);
			CU_ASSERT_EQUAL(
				parse_mbuf(frame_mbuf_tight(pool, frame.bytes, frame.length),
					&packet, &length),
				REASON_NONE);
			CU_ASSERT_EQUAL(length, wanted);
			CU_ASSERT_EQUAL(packet.frame_length, wanted);
		}
}

/* --- IPv6 --- */

static void
test_ipv6_header(void)
{
	struct frame_spec spec = spec_of(FAMILY_IPV6, IPPROTO_UDP);

	CU_ASSERT_EQUAL(changed(&spec, 14, 0x60), REASON_NONE);
	CU_ASSERT_EQUAL(changed(&spec, 14, 0x6f), REASON_NONE); /* traffic class */
	CU_ASSERT_EQUAL(changed(&spec, 14, 0x70), REASON_IP_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 14, 0x45), REASON_IP_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 19, 9), REASON_TRUNCATED);
	CU_ASSERT_EQUAL(changed(&spec, 19, 8), REASON_NONE);
	CU_ASSERT_EQUAL(changed(&spec, 19, 7), REASON_L4_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 19, 0), REASON_L4_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 20, IPPROTO_ICMP), REASON_L4_HEADER);
	spec = spec_of(FAMILY_IPV4, IPPROTO_UDP);
	CU_ASSERT_EQUAL(changed(&spec, 23, IPPROTO_ICMPV6), REASON_L4_HEADER);
}

/* A chain of extension headers as letters: h hop-by-hop, d destination options, r, f, n, x. */
static enum reason
extension_chain(const char *chain, struct packet *packet)
{
	static uint8_t bytes[512];
	struct frame_spec spec = spec_of(FAMILY_IPV6, IPPROTO_TCP);
	uint8_t numbers[16] = {0};
	unsigned count = (unsigned)strlen(chain);

	for (unsigned i = 0; i < count; i++) {
		const char *letters = "hdrfnmbstu";
		static const uint8_t protocols[] = {IPPROTO_HOPOPTS, IPPROTO_DSTOPTS,
			IPPROTO_ROUTING, IPPROTO_FRAGMENT, IPPROTO_NONE, 135, 139, 140, 253, 254};

		numbers[i] = protocols[strchr(letters, chain[i]) - letters];
	}
	memset(bytes, 0, sizeof(bytes));
	for (unsigned i = 0; i < count; i++)
		bytes[i * 8] = i + 1 < count ? numbers[i + 1] : IPPROTO_TCP;
	spec.extensions = bytes;
	spec.extensions_length = (uint16_t)(count * 8);
	spec.first_extension = numbers[0];
	build(&spec);
	return parse(packet);
}

static void
test_ipv6_extensions(void)
{
	static const struct {
		const char *chain;
		enum reason reason;
	} rows[] = {
		{"h", REASON_NONE},
		{"d", REASON_NONE},
		{"hd", REASON_NONE},
		{"dd", REASON_NONE},
		{"hddd", REASON_NONE},
		{"dddd", REASON_NONE},
		{"ddddd", REASON_EXTENSION_HEADER},
		{"hdddd", REASON_EXTENSION_HEADER},
		{"dh", REASON_EXTENSION_HEADER}, /* hop-by-hop only first */
		{"hh", REASON_EXTENSION_HEADER},
		{"hddddh", REASON_EXTENSION_HEADER},
		{"r", REASON_SOURCE_ROUTE},
		{"hdr", REASON_SOURCE_ROUTE},
		/* atomic fragments (RFC 6946): as if their header were not there */
		{"f", REASON_NONE},
		{"hf", REASON_NONE},
		{"fd", REASON_NONE},
		{"hdf", REASON_NONE},
		{"hfd", REASON_NONE},
		{"dfd", REASON_NONE},
		{"hdfdd", REASON_NONE},
		{"ddddf", REASON_NONE},
		{"hdfddd", REASON_EXTENSION_HEADER},
		{"fddddd", REASON_EXTENSION_HEADER},
		{"fh", REASON_EXTENSION_HEADER},
		{"hfh", REASON_EXTENSION_HEADER},
		{"fn", REASON_EXTENSION_HEADER},
		{"ff", REASON_FRAGMENT},
		{"hfdf", REASON_FRAGMENT},
		{"fr", REASON_SOURCE_ROUTE},
		{"rf", REASON_SOURCE_ROUTE},
		{"n", REASON_EXTENSION_HEADER},
		{"hn", REASON_EXTENSION_HEADER},
		{"m", REASON_EXTENSION_HEADER},
		{"b", REASON_EXTENSION_HEADER},
		{"s", REASON_EXTENSION_HEADER},
		{"t", REASON_EXTENSION_HEADER},
		{"u", REASON_EXTENSION_HEADER},
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct packet packet;
		enum reason reason = extension_chain(rows[i].chain, &packet);

		if (reason != rows[i].reason)
			fprintf(stderr, "%s: %s\n", rows[i].chain, reasons[reason].name);
		CU_ASSERT_EQUAL(reason, rows[i].reason);
		if (rows[i].reason != REASON_NONE)
			continue;
		CU_ASSERT_EQUAL(packet.tuple.protocol, IPPROTO_TCP);
		CU_ASSERT_EQUAL(packet.l4_offset,
			54 + 8 * (strlen(rows[i].chain) - (strchr(rows[i].chain, 'f') != NULL)));
		CU_ASSERT_EQUAL(packet.tuple.destination_port, RTE_BE16(443));
	}
}

/* RFC 6946: what is left of an atomic fragment is the packet that was put into it. */
static void
test_atomic_fragments(void)
{
	static const char *const chains[] = {"f", "hf", "fd", "hdf", "hdfdd"};

	for (unsigned i = 0; i < RTE_DIM(chains); i++) {
		char without[16] = {0};
		struct packet packet;
		struct frame wanted, found;
		struct rte_mbuf *mbuf;

		for (unsigned from = 0, to = 0; chains[i][from] != 0; from++)
			if (chains[i][from] != 'f')
				without[to++] = chains[i][from];
		CU_ASSERT_EQUAL(extension_chain(without, &packet), REASON_NONE);
		wanted = frame;
		CU_ASSERT_EQUAL(extension_chain(chains[i], &packet), REASON_NONE);
		CU_ASSERT_EQUAL(frame.length, wanted.length + 8);
		/* whose builder does not look for an upper layer there */
		memcpy(frame.bytes + frame.length - 20, wanted.bytes + wanted.length - 20, 20);
		mbuf = frame_mbuf(pool, frame.bytes, frame.length);
		CU_ASSERT_EQUAL(parse_burst(&mbuf, 1), 1);
		frame_of_mbuf(&found, mbuf);
		CU_ASSERT_EQUAL(found.length, wanted.length);
		CU_ASSERT_EQUAL(memcmp(found.bytes, wanted.bytes, wanted.length), 0);
		CU_ASSERT_EQUAL(mbuf->pkt_len, packet_of(mbuf)->frame_length);
		CU_ASSERT_EQUAL(packet_of(mbuf)->flags, 0);
		CU_ASSERT_EQUAL(frame_faults(found.bytes, found.length), 0);
		rte_pktmbuf_free(mbuf);
		CU_ASSERT_EQUAL(reason_of_frame(), REASON_NONE);
		memset(frame.bytes + frame.length, 0xee, 30);
		frame.length += 30;
		CU_ASSERT_EQUAL(parse(&packet), REASON_NONE);
		CU_ASSERT_EQUAL(packet.frame_length, wanted.length);
	}
	/* every cut of it */
	CU_ASSERT_EQUAL(extension_chain("hfd", &(struct packet){0}), REASON_NONE);
	while (frame.length-- > 0)
		CU_ASSERT_EQUAL(reason_of_frame(), REASON_TRUNCATED);
}

/* RFC 7112: in a first fragment the chain of headers is complete, and as good as in any packet. */
static void
test_first_fragment_extensions(void)
{
	static const struct {
		const char *chain;
		enum reason reason;
	} rows[] = {
		{"f", REASON_NONE},
		{"hf", REASON_NONE},
		{"fd", REASON_NONE},
		{"hdfdd", REASON_NONE},
		{"hdfddd", REASON_EXTENSION_HEADER},
		{"fh", REASON_EXTENSION_HEADER},
		{"fn", REASON_EXTENSION_HEADER},
		{"fdm", REASON_EXTENSION_HEADER},
		{"ff", REASON_FRAGMENT},
		{"fdf", REASON_FRAGMENT},
		{"fr", REASON_SOURCE_ROUTE},
		{"rf", REASON_SOURCE_ROUTE},
		{"dhf", REASON_EXTENSION_HEADER},
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		const char *chain = rows[i].chain;
		unsigned before = (unsigned)(strchr(chain, 'f') - chain);
		uint32_t l4 = 54 + (uint32_t)strlen(chain) * 8;
		struct packet packet;

		(void)extension_chain(chain, &packet);
		frame.bytes[54 + before * 8 + 3] = 1;
		memset(frame.bytes + frame.length, 0, 64);
		for (uint32_t length = 0; length <= 32; length += 8) {
			enum reason wanted = rows[i].reason;

			frame.length = l4 + length;
			frame.bytes[19] = (uint8_t)(frame.length - 54);
			if (wanted == REASON_NONE && length < 20)
				wanted = REASON_FRAGMENT;
			/* nothing behind the fragment header at all */
			if (wanted != REASON_NONE && l4 + length == 54 + before * 8 + 8)
				wanted = strcmp(chain, "rf") == 0    ? REASON_SOURCE_ROUTE
					 : strcmp(chain, "dhf") == 0 ? REASON_EXTENSION_HEADER
								     : REASON_FRAGMENT;
			CU_ASSERT_EQUAL(parse(&packet), wanted);
			if (wanted != REASON_NONE)
				continue;
			CU_ASSERT_EQUAL(packet.flags, PACKET_FRAGMENT);
			CU_ASSERT_EQUAL(packet.l4_offset, 54 + before * 8 + 8);
			CU_ASSERT_EQUAL(packet.tuple.protocol, frame.bytes[54 + before * 8]);
		}
		/* behind the first fragment headers are data */
		frame.bytes[54 + before * 8 + 3] = 9;
		if (chain[0] != 'r' && chain[1] != 'h')
			CU_ASSERT_EQUAL(parse(&packet), REASON_NONE);
		/* an extension header that ends beyond the fragment */
		if (strcmp(chain, "fd") == 0) {
			frame.bytes[54 + 3] = 1;
			frame.bytes[54 + 8 + 1] = 40;
			CU_ASSERT_EQUAL(parse(&packet), REASON_FRAGMENT);
		}
	}
}

/*
 * All headers must fit where any router would look for them. Longer chains would also end up
 * beyond the first mbuf when a frame is copied.
 */
static void
test_ipv6_long_extensions(void)
{
	static uint8_t bytes[4 * 2048];
	struct frame_spec spec = spec_of(FAMILY_IPV6, IPPROTO_TCP);
	enum reason reason = REASON_NONE;
	bool passed_once = false;

	spec.extensions = bytes;
	spec.first_extension = IPPROTO_DSTOPTS;
	for (unsigned units = 0; units <= 255; units++) {
		memset(bytes, 0, sizeof(bytes));
		bytes[0] = IPPROTO_TCP;
		bytes[1] = (uint8_t)units;
		spec.extensions_length = (uint16_t)((units + 1) * 8);
		build(&spec);
		reason = reason_of_frame();
		CU_ASSERT(reason == REASON_NONE || reason == REASON_EXTENSION_HEADER);
		if (reason == REASON_NONE) {
			CU_ASSERT(spec.extensions_length <= 1280 - 40 - 20);
			passed_once = true;
		}
		/* announces one unit more than there is */
		build(&spec);
		frame.bytes[54 + 1]++;
		if (units < 130)
			CU_ASSERT_NOT_EQUAL(reason_of_frame(), REASON_NONE);
	}
	CU_ASSERT_EQUAL(reason, REASON_EXTENSION_HEADER);
	CU_ASSERT(passed_once);
	/* several that are long together */
	memset(bytes, 0, sizeof(bytes));
	bytes[0] = IPPROTO_DSTOPTS;
	bytes[1] = 99;
	bytes[800] = IPPROTO_TCP;
	bytes[801] = 99;
	spec.extensions_length = 1600;
	build(&spec);
	CU_ASSERT_EQUAL(reason_of_frame(), REASON_EXTENSION_HEADER);
}

/* --- TCP, UDP, ICMP --- */

static void
test_tcp_header(void)
{
	struct frame_spec spec = spec_of(FAMILY_IPV4, IPPROTO_TCP);

	CU_ASSERT_EQUAL(changed(&spec, 46, 0x50), REASON_NONE);
	CU_ASSERT_EQUAL(changed(&spec, 46, 0x40), REASON_L4_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 46, 0x00), REASON_L4_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 46, 0x60), REASON_L4_HEADER);
	spec.payload = 4;
	CU_ASSERT_EQUAL(changed(&spec, 46, 0x60), REASON_NONE);
	CU_ASSERT_EQUAL(changed(&spec, 46, 0x70), REASON_L4_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 46, 0xf0), REASON_L4_HEADER);
	spec.payload = 40;
	CU_ASSERT_EQUAL(changed(&spec, 46, 0xf0), REASON_NONE);
	/* padding is no room for options */
	spec.payload = 0;
	spec.padding = 40;
	CU_ASSERT_EQUAL(changed(&spec, 46, 0x60), REASON_L4_HEADER);
}

static void
test_udp_header(void)
{
	struct frame_spec spec = spec_of(FAMILY_IPV4, IPPROTO_UDP);

	spec.payload = 4;
	CU_ASSERT_EQUAL(changed(&spec, 39, 12), REASON_NONE);
	CU_ASSERT_EQUAL(changed(&spec, 39, 13), REASON_L4_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 39, 8), REASON_NONE); /* less than the IP packet holds */
	CU_ASSERT_EQUAL(changed(&spec, 39, 7), REASON_L4_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 39, 0), REASON_L4_HEADER);
	CU_ASSERT_EQUAL(changed(&spec, 38, 1), REASON_L4_HEADER);
}

/* What the NIC says of TCP and UDP checksums counts, and only that. */
static void
test_l4_checksum(void)
{
	static const uint8_t protocols[] = {IPPROTO_UDP, IPPROTO_TCP};

	for (unsigned i = 0; i < 2; i++) {
		static const uint64_t passing[] = {
			0, RTE_MBUF_F_RX_L4_CKSUM_GOOD, RTE_MBUF_F_RX_L4_CKSUM_NONE};
		struct frame_spec spec = spec_of(FAMILY_IPV4, protocols[i]);
		struct packet packet;
		struct rte_mbuf *mbuf;

		build(&spec);
		frame.bytes[34 + (i == 0 ? 6 : 16)] ^= 0x55;
		for (unsigned flag = 0; flag < RTE_DIM(passing); flag++) {
			mbuf = frame_mbuf_tight(pool, frame.bytes, frame.length);
			mbuf->ol_flags |= passing[flag];
			CU_ASSERT_EQUAL(parse_mbuf(mbuf, &packet, NULL), REASON_NONE);
		}
		mbuf = frame_mbuf_tight(pool, frame.bytes, frame.length);
		mbuf->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_BAD;
		CU_ASSERT_EQUAL(parse_mbuf(mbuf, &packet, NULL), REASON_L4_CHECKSUM);
	}
}

/* Other protocols owe no checksum and have no segments, whatever a device says of them. */
static void
test_offloads(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, 47};

	for (unsigned i = 0; i < 4; i++) {
		struct frame_spec spec = spec_of(FAMILY_IPV4, protocols[i]);
		uint64_t flags = RTE_MBUF_F_RX_L4_CKSUM_NONE | RTE_MBUF_F_RX_LRO;
		struct rte_mbuf *mbuf;

		build(&spec);
		mbuf = frame_mbuf(pool, frame.bytes, frame.length);
		mbuf->ol_flags |= flags;
		CU_ASSERT_EQUAL(parse_burst(&mbuf, 1), 1);
		CU_ASSERT_EQUAL(mbuf->ol_flags & flags, i < 2 ? flags : 0);
		rte_pktmbuf_free(mbuf);
	}
}

static void
test_icmp_kinds(void)
{
	for (int family = 0; family < FAMILIES; family++)
		for (unsigned type = 0; type < 256; type++) {
			struct frame_spec spec = spec_of((enum family)family,
				family == FAMILY_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
			bool query, reply, error, nd;
			struct packet packet;

			if (family == FAMILY_IPV4) {
				query = type == 0 || type == 8 || type == 13 || type == 14;
				reply = type == 0 || type == 14;
				error = type == 3 || type == 4 || type == 11 || type == 12;
				nd = false;
			} else {
				query = type == 128 || type == 129;
				reply = type == 129;
				error = type < 128;
				nd = type >= 133 && type <= 137;
			}
			spec.type = (uint8_t)type;
			spec.code = (uint8_t)(type * 3);
			spec.payload = 20;
			build(&spec);
			CU_ASSERT_EQUAL(parse(&packet), REASON_NONE);
			CU_ASSERT_EQUAL(packet.icmp_type, type);
			CU_ASSERT_EQUAL(packet.icmp_code, (uint8_t)(type * 3));
			CU_ASSERT_EQUAL(packet.flags,
				(query ? PACKET_ICMP_QUERY : 0) | (reply ? PACKET_ICMP_REPLY : 0) |
					(error ? PACKET_ICMP_ERROR : 0) | (nd ? PACKET_ND : 0));
			CU_ASSERT_EQUAL(
				packet.tuple.source_port, query && !reply ? RTE_BE16(40000) : 0);
			CU_ASSERT_EQUAL(packet.tuple.destination_port,
				query && reply ? RTE_BE16(40000) : 0);
			CU_ASSERT_EQUAL(packet.payload_offset, packet.l4_offset + 8);
			/* the checksum is verified, and padding is no part of it */
			frame.bytes[packet.l4_offset + 4] ^= 1;
			CU_ASSERT_EQUAL(reason_of_frame(), REASON_L4_CHECKSUM);
			frame.bytes[packet.l4_offset + 4] ^= 1;
			memset(frame.bytes + frame.length, 0xff, 9);
			frame.length += 9;
			CU_ASSERT_EQUAL(reason_of_frame(), REASON_NONE);
		}
}

/* The pseudo-header is part of the ICMPv6 checksum. */
static void
test_icmp6_pseudo_header(void)
{
	struct frame_spec spec = spec_of(FAMILY_IPV6, IPPROTO_ICMPV6);

	for (unsigned bit = 0; bit < 32 * 8; bit++) {
		build(&spec);
		frame.bytes[14 + 8 + bit / 8] ^= (uint8_t)(1 << bit % 8);
		CU_ASSERT_EQUAL(reason_of_frame(), REASON_L4_CHECKSUM);
	}
}

/* --- every kind of frame, for the tests that cut --- */

static const uint8_t some_options[8] = {148, 4, 0, 0, 1, 1, 1, 0};
static const uint8_t some_extensions[16] = {
	IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0};

/* Build kind number @p kind. @return false when there is no such kind */
static bool
kind_build(unsigned kind)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, 47};
	static uint8_t extensions[16];
	unsigned protocol = kind % 4;
	unsigned variant = kind / 4;
	struct frame_spec spec;

	if (variant >= 4)
		return false;
	spec = spec_of(variant < 2 ? FAMILY_IPV4 : FAMILY_IPV6,
		variant >= 2 && protocols[protocol] == IPPROTO_ICMP ? IPPROTO_ICMPV6
								    : protocols[protocol]);
	spec.payload = 13;
	if (protocols[protocol] == IPPROTO_TCP)
		spec.tcp_options = 12;
	if (variant == 1) {
		spec.options = some_options;
		spec.options_length = sizeof(some_options);
	} else if (variant == 3) {
		memcpy(extensions, some_extensions, sizeof(extensions));
		extensions[8] = spec.protocol;
		spec.extensions = extensions;
		spec.extensions_length = sizeof(extensions);
		spec.first_extension = IPPROTO_HOPOPTS;
	}
	build(&spec);
	return true;
}

/* No true prefix of a frame ever passes, whatever it was, and nothing behind it is read. */
static void
test_truncated(void)
{
	for (unsigned kind = 0; kind_build(kind); kind++) {
		uint32_t whole = frame.length;

		CU_ASSERT_EQUAL(reason_of_frame(), REASON_NONE);
		for (frame.length = 0; frame.length < whole; frame.length++)
			CU_ASSERT_EQUAL(reason_of_frame(), REASON_TRUNCATED);
	}
}

/*
 * The same with lengths that agree with the cut: what is left of the IP packet is consistent, but
 * its upper layer may not be.
 */
static void
test_cut_packets(void)
{
	for (unsigned kind = 0; kind_build(kind); kind++) {
		struct frame_view view = frame_view(frame.bytes, frame.length);
		uint32_t whole = frame.length;

		for (uint32_t length = whole; length > 14 + 40; length--) {
			uint32_t left = length - view.l4;
			bool enough = length >= view.l4;
			enum reason reason;

			if (view.family == FAMILY_IPV4)
				frame.bytes[17] = (uint8_t)(length - 14);
			else
				frame.bytes[19] = (uint8_t)(length - 54);
			frame.length = length;
			frame_fix(frame.bytes, length);
			reason = reason_of_frame();
			if (enough && view.protocol == IPPROTO_TCP)
				enough = left >= 32;
			else if (enough && view.protocol == IPPROTO_UDP)
				enough = length == whole; /* its own length field */
			else if (enough && view.protocol != 47)
				enough = left >= 8;
			CU_ASSERT_EQUAL(reason == REASON_NONE, enough);
		}
	}
}

/* Cut in two anywhere: all headers in the first mbuf, or the frame is dropped. */
static void
test_chains(void)
{
	for (unsigned kind = 0; kind_build(kind); kind++) {
		struct packet whole;

		CU_ASSERT_EQUAL(parse(&whole), REASON_NONE);
		for (uint32_t first = 1; first < frame.length; first++)
			for (uint32_t rest = 1; rest < 20; rest += 3) {
				struct packet packet;
				enum reason reason = parse_mbuf(frame_mbuf_chain(pool, frame.bytes,
									frame.length, first, rest),
					&packet, NULL);

				if (first < whole.payload_offset) {
					CU_ASSERT_NOT_EQUAL(reason, REASON_NONE);
					continue;
				}
				CU_ASSERT_EQUAL(reason, REASON_NONE);
				CU_ASSERT_EQUAL(packet.frame_length, whole.frame_length);
				CU_ASSERT_EQUAL(
					memcmp(&packet.tuple, &whole.tuple, sizeof(whole.tuple)),
					0);
			}
	}
}

/* ICMP checksums over large payloads in chains of odd pieces. */
static void
test_chained_checksums(void)
{
	struct frame_spec spec = spec_of(FAMILY_IPV4, IPPROTO_ICMP);
	struct packet packet;

	srand(2);
	for (unsigned i = 0; i < 3000; i++) {
		spec = spec_of(
			i % 2 ? FAMILY_IPV4 : FAMILY_IPV6, i % 2 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
		spec.payload = (uint16_t)(28 + rand() % 3000);
		build(&spec);
		for (uint32_t at = 62; at < frame.length; at++)
			frame.bytes[at] = i % 3 == 0 ? 0xff : (uint8_t)rand();
		frame_fix(frame.bytes, frame.length);
		CU_ASSERT_EQUAL(
			parse_mbuf(frame_mbuf_chain(pool, frame.bytes, frame.length,
					   62 + (uint32_t)rand() % 300, 1 + (uint32_t)rand() % 700),
				&packet, NULL),
			REASON_NONE);
		frame.bytes[62 - 1 - rand() % 3] ^= 4;
		CU_ASSERT_EQUAL(
			parse_mbuf(frame_mbuf_chain(pool, frame.bytes, frame.length,
					   62 + (uint32_t)rand() % 300, 1 + (uint32_t)rand() % 700),
				&packet, NULL),
			REASON_L4_CHECKSUM);
	}
}

/* Padding at the end of a chain is cut as well, or the frame is dropped. */
static void
test_chained_padding(void)
{
	struct frame_spec spec = spec_of(FAMILY_IPV4, IPPROTO_UDP);
	unsigned passed = 0;

	spec.payload = 100;
	for (uint16_t padding = 1; padding < 60; padding++)
		for (uint32_t rest = 1; rest < 70; rest += 7) {
			struct packet packet;
			uint32_t length;

			spec.padding = padding;
			build(&spec);
			if (parse_mbuf(frame_mbuf_chain(pool, frame.bytes, frame.length, 60, rest),
				    &packet, &length) != REASON_NONE)
				continue;
			passed++;
			CU_ASSERT_EQUAL(length, 142);
			CU_ASSERT_EQUAL(packet.frame_length, 142);
		}
	CU_ASSERT(passed > 100);
}

/* --- bursts --- */

static void
test_burst(void)
{
	struct rte_mbuf *burst[BURST_MAX];
	struct rte_mbuf *expected[BURST_MAX];
	struct frame_spec spec = spec_of(FAMILY_IPV4, IPPROTO_UDP);
	unsigned good = 0;
	unsigned passed;

	build(&spec);
	for (unsigned i = 0; i < BURST_MAX; i++) {
		bool bad = i % 3 == 0 || i > 50;

		burst[i] = frame_mbuf(pool, frame.bytes, frame.length - bad);
		packet_of(burst[i])->serial = i;
		if (!bad)
			expected[good++] = burst[i];
	}
	passed = parse_burst(burst, BURST_MAX);
	CU_ASSERT_EQUAL(passed, good);
	for (unsigned i = 0; i < passed; i++)
		CU_ASSERT_PTR_EQUAL(burst[i], expected[i]);
	for (unsigned i = passed; i < BURST_MAX; i++) {
		CU_ASSERT_EQUAL(packet_of(burst[i])->reason, REASON_TRUNCATED);
		CU_ASSERT(i == passed ||
			  packet_of(burst[i])->serial > packet_of(burst[i - 1])->serial);
	}
	CU_ASSERT_EQUAL(parse_burst(burst, 0), 0);
	rte_pktmbuf_free_bulk(burst, BURST_MAX);
}

static void
test_no_leak(void)
{
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 0);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"TCP over IPv4", test_tcp},
		{"UDP over IPv6", test_udp6},
		{"other protocols", test_other_protocols},
		{"ARP", test_arp},
		{"Ethernet types", test_ethernet},
		{"IPv4 header", test_ipv4_header},
		{"IPv4 checksum", test_ipv4_checksum},
		{"IPv4 checksum, random", test_ipv4_checksum_random},
		{"IPv4 options", test_ipv4_options},
		{"fragments", test_fragments},
		{"RFC 791: what makes a fragment", test_ipv4_fragment_field},
		{"RFC 791, RFC 8200 4.5: lengths of fragments", test_fragment_lengths},
		{"RFC 1858, RFC 7112: first fragments", test_first_fragments},
		{"first fragments: headers", test_first_fragment_headers},
		{"RFC 6980: neighbour discovery in fragments", test_fragmented_nd},
		{"offloads of fragments", test_fragment_offloads},
		{"cut fragments", test_fragment_cuts},
		{"reassembled datagrams", test_datagram},
		{"padding", test_padding},
		{"IPv6 header", test_ipv6_header},
		{"IPv6 extension headers", test_ipv6_extensions},
		{"RFC 6946: atomic fragments", test_atomic_fragments},
		{"RFC 7112: headers of first fragments", test_first_fragment_extensions},
		{"IPv6 long extension headers", test_ipv6_long_extensions},
		{"TCP header", test_tcp_header},
		{"UDP header", test_udp_header},
		{"TCP and UDP checksums", test_l4_checksum},
		{"offloads of other protocols", test_offloads},
		{"ICMP types", test_icmp_kinds},
		{"ICMPv6 pseudo-header", test_icmp6_pseudo_header},
		{"truncated frames", test_truncated},
		{"shortened packets", test_cut_packets},
		{"chained frames", test_chains},
		{"chained frames: checksums", test_chained_checksums},
		{"chained frames: padding", test_chained_padding},
		{"bursts", test_burst},
		{"no mbuf lost", test_no_leak},
	};

	unit_eal();
	pool = rte_pktmbuf_pool_create("test", 8191, 0,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN),
		RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (pool == NULL)
		return 1;
	return UNIT_RUN("parse", tests);
}
