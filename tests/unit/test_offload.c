/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checksums and segmentation in software, against frames whose sums were made by hand.
 */
#include "app/offload.h"
#include "classifier/parse.h"
#include "tests/unit/frames.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <netinet/in.h>

#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#define MBUFS 512
#define OUT_MAX 128

static struct rte_mempool *pool;
static struct rte_mempool *tiny_pool;   /* too few mbufs to cut anything */
static struct rte_mempool *narrow_pool; /* mbufs too short for the headers */

/* What is cut: a frame, the size of its pieces, and how the frame lies in memory. */
struct segment_case {
	const char *name;
	struct frame_spec spec;
	uint16_t segment_size;
	uint16_t first; /* bytes in the first mbuf of a chain; 0: one mbuf */
	uint16_t rest;
};

static const uint8_t hop_by_hop[8] = {IPPROTO_TCP, 0, 1, 4, 0, 0, 0, 0};
static const uint8_t router_alert[4] = {0x94, 4, 0, 0};

static void
expect_no_leak(void)
{
	CU_ASSERT_EQUAL(rte_mempool_avail_count(pool), MBUFS);
}

/* An mbuf with the frame in it, parsed as in the data path. */
static struct rte_mbuf *
parsed(const struct frame *frame, uint32_t first, uint32_t rest)
{
	struct rte_mbuf *mbuf =
		first == 0 ? frame_mbuf_chain(pool, frame->bytes, frame->length, 2000, 2000)
			   : frame_mbuf_chain(pool, frame->bytes, frame->length, first, rest);

	CU_ASSERT_EQUAL_FATAL(parse_burst(&mbuf, 1), 1);
	return mbuf;
}

static void
expect_bytes(struct rte_mbuf *mbuf, const struct frame *expected)
{
	struct frame got;

	frame_of_mbuf(&got, mbuf);
	CU_ASSERT_EQUAL(got.length, expected->length);
	CU_ASSERT_EQUAL(memcmp(got.bytes, expected->bytes, expected->length), 0);
}

static void
checksum_once(const struct frame_spec *spec, uint32_t first, uint32_t rest)
{
	struct frame complete;
	struct frame partial;
	struct rte_mbuf *mbuf;

	frame_build(&complete, spec);
	partial = complete;
	frame_make_partial(&partial);
	mbuf = parsed(&partial, first, rest);
	mbuf->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
	offload_checksum(mbuf);
	CU_ASSERT_EQUAL(mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, 0);
	complete.length -= spec->padding;
	expect_bytes(mbuf, &complete);
	rte_pktmbuf_free(mbuf);
}

static void
test_checksum(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	static const uint16_t payloads[] = {0, 1, 2, 17, 18, 555, 1400, 1401, 8000, 8001};

	for (unsigned p = 0; p < RTE_DIM(protocols); p++)
		for (unsigned i = 0; i < RTE_DIM(payloads); i++)
			for (unsigned v6 = 0; v6 < 2; v6++) {
				struct frame_spec spec = {
					.source = v6 ? "fd00::1" : "10.0.0.1",
					.destination = v6 ? "2001:db8::2" : "192.0.2.2",
					.protocol = protocols[p],
					.source_port = 1234,
					.destination_port = 80,
					.tcp_flags = RTE_TCP_ACK_FLAG,
					.tcp_options = 12,
					.payload = payloads[i],
				};

				checksum_once(&spec, 0, 0);
				/* pieces of odd length: sums start at odd places */
				checksum_once(&spec, 91, 77);
				checksum_once(&spec, 600, 1023);
				/* padding behind the packet, cut off by parse, is not in the sum */
				spec.padding = 7;
				checksum_once(&spec, 0, 0);
			}
	expect_no_leak();
}

static void
test_checksum_of_long_headers(void)
{
	struct frame_spec v4 = {
		.source = "10.0.0.1",
		.destination = "192.0.2.2",
		.protocol = IPPROTO_UDP,
		.options = router_alert,
		.options_length = sizeof(router_alert),
		.payload = 100,
	};
	struct frame_spec v6 = {
		.source = "fd00::1",
		.destination = "fd00::2",
		.protocol = IPPROTO_TCP,
		.extensions = hop_by_hop,
		.extensions_length = sizeof(hop_by_hop),
		.first_extension = IPPROTO_HOPOPTS,
		.payload = 100,
	};

	checksum_once(&v4, 0, 0);
	checksum_once(&v6, 0, 0);
	expect_no_leak();
}

/* A UDP sum that comes out as zero is sent as 0xffff: zero says "none". */
static void
test_checksum_never_zero(void)
{
	struct frame_spec spec = {
		.source = "10.0.0.1",
		.destination = "192.0.2.2",
		.protocol = IPPROTO_UDP,
		.payload = 32,
	};
	struct frame frame;
	struct rte_mbuf *mbuf;
	uint8_t *udp = frame.bytes + 34;
	uint8_t *word = frame.bytes + 42; /* the first two bytes of payload */
	uint32_t sum;

	frame_build(&frame, &spec);
	/* Moving the checksum into the payload leaves nothing for the field to make up. */
	sum = (uint32_t)(word[0] << 8 | word[1]) + (uint32_t)(udp[6] << 8 | udp[7]);
	sum = (sum & 0xffff) + (sum >> 16);
	word[0] = (uint8_t)(sum >> 8);
	word[1] = (uint8_t)sum;
	frame_make_partial(&frame);
	mbuf = parsed(&frame, 0, 0);
	mbuf->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
	offload_checksum(mbuf);
	CU_ASSERT_EQUAL(*rte_pktmbuf_mtod_offset(mbuf, uint16_t *, 40), 0xffff);
	rte_pktmbuf_free(mbuf);
	expect_no_leak();
}

static const struct segment_case segment_cases[] = {
	{
		"IPv4",
		{.source = "10.0.0.1",
			.destination = "192.0.2.2",
			.protocol = IPPROTO_TCP,
			.tcp_options = 12,
			.payload = 9000},
		1448,
		0,
		0,
	},
	{
		"IPv6",
		{.source = "fd00::1",
			.destination = "fd00::2",
			.protocol = IPPROTO_TCP,
			.tcp_options = 12,
			.payload = 9000},
		1428,
		0,
		0,
	},
	{
		"IPv4 options",
		{.source = "10.0.0.1",
			.destination = "192.0.2.2",
			.protocol = IPPROTO_TCP,
			.options = router_alert,
			.options_length = sizeof(router_alert),
			.payload = 3001},
		1000,
		0,
		0,
	},
	{
		"IPv6 extension header",
		{.source = "fd00::1",
			.destination = "fd00::2",
			.protocol = IPPROTO_TCP,
			.extensions = hop_by_hop,
			.extensions_length = sizeof(hop_by_hop),
			.first_extension = IPPROTO_HOPOPTS,
			.payload = 3001},
		1000,
		0,
		0,
	},
	{
		"pieces of odd sizes",
		{.source = "10.0.0.1",
			.destination = "192.0.2.2",
			.protocol = IPPROTO_TCP,
			.payload = 5003},
		333,
		101,
		97,
	},
	{
		"an exact multiple",
		{.source = "10.0.0.1",
			.destination = "192.0.2.2",
			.protocol = IPPROTO_TCP,
			.payload = 4000},
		1000,
		0,
		0,
	},
	{
		"one segment",
		{.source = "10.0.0.1",
			.destination = "192.0.2.2",
			.protocol = IPPROTO_TCP,
			.payload = 700},
		1448,
		0,
		0,
	},
	{
		"segments longer than an mbuf",
		{.source = "fd00::1",
			.destination = "fd00::2",
			.protocol = IPPROTO_TCP,
			.payload = 9999},
		4001,
		0,
		0,
	},
	{
		"UDP over IPv4",
		{.source = "10.0.0.1",
			.destination = "192.0.2.2",
			.protocol = IPPROTO_UDP,
			.payload = 6001},
		1200,
		0,
		0,
	},
	{
		"UDP over IPv6",
		{.source = "fd00::1",
			.destination = "fd00::2",
			.protocol = IPPROTO_UDP,
			.payload = 6001},
		1200,
		0,
		0,
	},
};

static void
expect_tcp(const struct frame *whole, const struct frame *piece, uint32_t l4, uint32_t offset,
	bool is_first, bool is_last)
{
	const struct rte_tcp_hdr *before = (const void *)(whole->bytes + l4);
	const struct rte_tcp_hdr *after = (const void *)(piece->bytes + l4);
	uint8_t flags = RTE_TCP_ACK_FLAG | RTE_TCP_ECE_FLAG;

	if (is_first)
		flags |= RTE_TCP_CWR_FLAG;
	if (is_last)
		flags |= RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG;
	CU_ASSERT_EQUAL(after->tcp_flags, flags);
	CU_ASSERT_EQUAL(
		rte_be_to_cpu_32(after->sent_seq), rte_be_to_cpu_32(before->sent_seq) + offset);
	CU_ASSERT_EQUAL(after->recv_ack, before->recv_ack);
}

static void
segment_once(const struct segment_case *which)
{
	struct frame_spec spec = which->spec;
	struct rte_mbuf *out[OUT_MAX];
	struct frame whole;
	struct frame piece;
	struct rte_mbuf *mbuf;
	uint32_t offset = 0;
	uint32_t payload_offset;
	uint32_t l4;
	uint16_t id;
	int count;

	spec.tcp_flags = RTE_TCP_ACK_FLAG | RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG | RTE_TCP_CWR_FLAG |
			 RTE_TCP_ECE_FLAG;
	spec.source_port = 5001;
	spec.destination_port = 443;
	frame_build(&whole, &spec);
	frame_make_partial(&whole);
	mbuf = parsed(&whole, which->first, which->rest);
	mbuf->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE | RTE_MBUF_F_RX_LRO;
	mbuf->tso_segsz = which->segment_size;
	packet_of(mbuf)->in_port = 3;
	l4 = packet_of(mbuf)->l4_offset;
	payload_offset = packet_of(mbuf)->payload_offset;
	id = (uint16_t)(whole.bytes[18] << 8 | whole.bytes[19]);

	count = offload_segment(mbuf, pool, out, OUT_MAX);
	CU_ASSERT_EQUAL_FATAL(
		count, (spec.payload + which->segment_size - 1) / which->segment_size);
	for (int i = 0; i < count; i++) {
		uint32_t length = RTE_MIN((uint32_t)which->segment_size, spec.payload - offset);

		CU_ASSERT_EQUAL(rte_mbuf_check(out[i], 1, &(const char *){NULL}), 0);
		CU_ASSERT_EQUAL(out[i]->ol_flags, 0);
		CU_ASSERT_TRUE(out[i]->data_len >= payload_offset);
		CU_ASSERT_EQUAL(packet_of(out[i])->in_port, 3);
		CU_ASSERT_EQUAL(packet_of(out[i])->frame_length, out[i]->pkt_len);
		frame_of_mbuf(&piece, out[i]);
		CU_ASSERT_EQUAL(piece.length, payload_offset + length);
		CU_ASSERT_EQUAL(frame_faults(piece.bytes, piece.length), 0);
		CU_ASSERT_EQUAL(memcmp(piece.bytes + payload_offset,
					whole.bytes + payload_offset + offset, length),
			0);
		if (packet_of(out[i])->tuple.family == FAMILY_IPV4)
			CU_ASSERT_EQUAL((uint16_t)(piece.bytes[18] << 8 | piece.bytes[19]),
				(uint16_t)(id + i));
		if (spec.protocol == IPPROTO_TCP)
			expect_tcp(&whole, &piece, l4, offset, i == 0, i == count - 1);
		offset += length;
	}
	CU_ASSERT_EQUAL(offset, spec.payload);
	rte_pktmbuf_free_bulk(out, (unsigned)count);
	expect_no_leak();
}

static void
test_segment(void)
{
	for (unsigned i = 0; i < RTE_DIM(segment_cases); i++)
		segment_once(&segment_cases[i]);
}

static int
segment_badly(struct rte_mempool *from, uint16_t segment_size, unsigned room, uint16_t payload)
{
	struct frame_spec spec = {
		.source = "10.0.0.1",
		.destination = "192.0.2.2",
		.protocol = IPPROTO_TCP,
		.payload = payload,
	};
	struct rte_mbuf *out[OUT_MAX];
	struct frame frame;
	struct rte_mbuf *mbuf;

	frame_build(&frame, &spec);
	mbuf = parsed(&frame, 0, 0);
	mbuf->ol_flags |= RTE_MBUF_F_RX_LRO;
	mbuf->tso_segsz = segment_size;
	return offload_segment(mbuf, from, out, room);
}

/* What cannot be cut is freed, and nothing is left over. */
static void
test_segment_refusals(void)
{
	CU_ASSERT_EQUAL(segment_badly(pool, 1, OUT_MAX, 9000), -ENOSPC);
	CU_ASSERT_EQUAL(segment_badly(pool, 1000, 8, 9000), -ENOSPC);
	CU_ASSERT_EQUAL(segment_badly(pool, 0, OUT_MAX, 9000), -EINVAL);
	CU_ASSERT_EQUAL(segment_badly(pool, 1000, OUT_MAX, 0), -EINVAL);
	CU_ASSERT_EQUAL(segment_badly(tiny_pool, 1000, OUT_MAX, 9000), -ENOMEM);
	/* enough for the first mbuf of each segment, not for the second */
	CU_ASSERT_EQUAL(segment_badly(tiny_pool, 3000, OUT_MAX, 9000), -ENOMEM);
	CU_ASSERT_EQUAL(rte_mempool_avail_count(tiny_pool), 3);
	/* headers in two pieces would break everybody's assumption */
	CU_ASSERT_EQUAL(segment_badly(narrow_pool, 1000, OUT_MAX, 3000), -EINVAL);
	CU_ASSERT_EQUAL(rte_mempool_avail_count(narrow_pool), MBUFS);
	expect_no_leak();
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"checksums are completed", test_checksum},
		{"checksums behind options and extension headers", test_checksum_of_long_headers},
		{"a UDP checksum is never zero", test_checksum_never_zero},
		{"frames are cut into segments", test_segment},
		{"what cannot be cut is freed", test_segment_refusals},
	};

	unit_eal();
	pool = rte_pktmbuf_pool_create("test", MBUFS, 0,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN), 2176, SOCKET_ID_ANY);
	tiny_pool = rte_pktmbuf_pool_create("tiny", 3, 0,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN), 2176, SOCKET_ID_ANY);
	narrow_pool = rte_pktmbuf_pool_create("narrow", MBUFS, 0,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN),
		RTE_PKTMBUF_HEADROOM + 50, SOCKET_ID_ANY);
	if (pool == NULL || tiny_pool == NULL || narrow_pool == NULL)
		return 1;
	return UNIT_RUN("offload", tests);
}
