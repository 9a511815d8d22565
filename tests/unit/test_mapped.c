/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A qube that sees other addresses: through the whole data plane, where it and the outside must
 * each find theirs in every packet, quote and checksum; and frames that are made to be misread.
 */
#include "nat/mapped.h"

#include <netinet/in.h>

#include <rte_arp.h>
#include <rte_tcp.h>

#include "tests/unit/plane.h"
#include "tests/unit/unit.h"

#define VISIBLE "192.168.7.5"
#define VISIBLE_GATEWAY "192.168.7.1"
#define REMOTE "192.0.2.7"

static struct frame frame;
static struct rte_mempool *pool;

static struct plane *
mapped_plane(const char *rules)
{
	struct plane *plane = plane_create(&(struct plane_options){.rules = rules,
		.work = "visible-address = " VISIBLE "\nvisible-gateway = " VISIBLE_GATEWAY "\n"});

	plane_resolve(plane);
	return plane;
}

static struct frame_spec
from_work(uint8_t protocol, const char *destination)
{
	return (struct frame_spec){
		.destination_mac = plane_vif_mac,
		.source_mac = plane_qube_mac,
		.source = VISIBLE,
		.destination = destination,
		.protocol = protocol,
		.source_port = 40000,
		.destination_port = 7000,
		.tcp_flags = RTE_TCP_SYN_FLAG,
		.type = 8,
		.payload = 21,
	};
}

static struct frame_spec
from_uplink(uint8_t protocol, const char *source)
{
	return (struct frame_spec){
		.destination_mac = plane_uplink_mac,
		.source_mac = plane_router_mac,
		.source = source,
		.destination = PLANE_UPLINK_ADDRESS,
		.protocol = protocol,
		.source_port = protocol == IPPROTO_ICMP ? 40000 : 7000,
		.destination_port = 40000,
		.tcp_flags = RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG,
		.payload = 22,
	};
}

static rte_be32_t
v4(const char *text)
{
	union address address;
	enum family family;

	CU_ASSERT_EQUAL_FATAL(address_parse(text, &family, &address), 0);
	return address.v4;
}

/* The next frame of a port, good, between these two. */
static const struct frame *
expect(struct plane *plane, uint16_t port, const char *source, const char *destination)
{
	struct sent *sent = plane_next(plane, port);
	struct frame_view view;

	CU_ASSERT_PTR_NOT_NULL_FATAL(sent);
	view = frame_view(sent->frame.bytes, sent->frame.length);
	CU_ASSERT_TRUE(view.ip);
	CU_ASSERT_EQUAL(view.source.v4, v4(source));
	CU_ASSERT_EQUAL(view.destination.v4, v4(destination));
	if ((sent->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		frame_complete(sent->frame.bytes, sent->frame.length);
	CU_ASSERT_EQUAL(frame_faults(sent->frame.bytes, sent->frame.length), 0);
	return &sent->frame;
}

static void
send_spec(struct plane *plane, uint16_t port, struct frame_spec spec)
{
	frame_build(&frame, &spec);
	plane_send(plane, port, &frame);
}

/* --- there and back --- */

static void
test_both_ways(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, 47};
	struct plane *plane = mapped_plane(NULL);

	for (unsigned i = 0; i < RTE_DIM(protocols); i++) {
		send_spec(plane, PLANE_WORK, from_work(protocols[i], REMOTE));
		expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, REMOTE);
		send_spec(plane, PLANE_UPLINK, from_uplink(protocols[i], REMOTE));
		expect(plane, PLANE_WORK, REMOTE, VISIBLE);
	}
	/* the other qube has nothing of it */
	frame_build(&frame, &(struct frame_spec){.destination_mac = plane_vif_mac,
				    .source_mac = plane_qube_mac,
				    .source = PLANE_PERSONAL_ADDRESS,
				    .destination = REMOTE,
				    .protocol = IPPROTO_UDP,
				    .source_port = 50000,
				    .destination_port = 7000});
	plane_send(plane, PLANE_PERSONAL, &frame);
	expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, REMOTE);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_WORK), 0);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* Checksums that are absent, not filled in yet, or wrong. */
static void
test_checksums(void)
{
	struct plane *plane = mapped_plane(NULL);
	struct frame_spec spec = from_work(IPPROTO_UDP, REMOTE);
	struct rte_mbuf *mbuf;
	const struct frame *out;
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};

	spec.no_checksum = true;
	send_spec(plane, PLANE_WORK, spec);
	out = expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, REMOTE);
	CU_ASSERT_EQUAL(out->bytes[40] | out->bytes[41], 0);
	spec = from_uplink(IPPROTO_UDP, REMOTE);
	spec.no_checksum = true;
	send_spec(plane, PLANE_UPLINK, spec);
	out = expect(plane, PLANE_WORK, REMOTE, VISIBLE);
	CU_ASSERT_EQUAL(out->bytes[40] | out->bytes[41], 0);

	for (unsigned i = 0; i < 2; i++) {
		spec = from_work(protocols[i], REMOTE);
		spec.source_port = 41000;
		frame_build(&frame, &spec);
		frame_make_partial(&frame);
		mbuf = frame_mbuf(plane->dataplane->pool, frame.bytes, frame.length);
		mbuf->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
		plane_receive(plane, PLANE_WORK, &mbuf, 1);
		expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, REMOTE);
		spec = from_uplink(protocols[i], REMOTE);
		spec.destination_port = 41000;
		frame_build(&frame, &spec);
		frame_make_partial(&frame);
		mbuf = frame_mbuf(plane->dataplane->pool, frame.bytes, frame.length);
		mbuf->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
		plane_receive(plane, PLANE_UPLINK, &mbuf, 1);
		expect(plane, PLANE_WORK, REMOTE, VISIBLE);
	}

	/* a header that was broken is not mended by passing here */
	spec = from_work(IPPROTO_UDP, REMOTE);
	frame_build(&frame, &spec);
	frame.bytes[24] ^= 1;
	plane_send(plane, PLANE_WORK, &frame);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_IP_CHECKSUM), 1);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* Pieces that are put together behind the exchange, and cut again before it. */
static void
test_fragments(void)
{
	struct plane *plane = mapped_plane(NULL);
	struct frame_spec spec = with_payload(from_work(IPPROTO_UDP, REMOTE), 2000);
	struct sent *sent;
	struct frame piece;

	frame_build(&frame, &spec);
	for (unsigned at = 0; at < 2008; at += 1400) {
		uint32_t length = RTE_MIN(1400u, 2008 - at);

		memcpy(piece.bytes, frame.bytes, 34);
		memcpy(piece.bytes + 34, frame.bytes + 34 + at, length);
		piece.length = 34 + length;
		put16(piece.bytes + 16, 20 + length);
		put16(piece.bytes + 20, (at == 0 ? 0x2000 : 0) | at / 8);
		put16(piece.bytes + 24, 0);
		put16(piece.bytes + 24, (uint16_t)~frame_sum(0, piece.bytes + 14, 20));
		plane_send(plane, PLANE_WORK, &piece);
	}
	for (unsigned i = 0; i < 2; i++) {
		sent = plane_next(plane, PLANE_UPLINK);
		CU_ASSERT_PTR_NOT_NULL_FATAL(sent);
		CU_ASSERT_EQUAL(
			memcmp(sent->frame.bytes + 26, &(rte_be32_t){v4(PLANE_UPLINK_ADDRESS)}, 4),
			0);
	}
	/* and the datagram's checksum is that of its real addresses: put together it is good */
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 0);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* --- the gateway --- */

static void
test_arp(void)
{
	struct plane *plane = mapped_plane(NULL);
	static const char *const asked[] = {VISIBLE_GATEWAY, REMOTE, "192.168.7.9"};
	const struct rte_arp_hdr *arp;
	struct sent *sent;

	for (unsigned i = 0; i < RTE_DIM(asked); i++) {
		frame_arp(&frame, RTE_ARP_OP_REQUEST, plane_broadcast, plane_qube_mac, VISIBLE,
			asked[i]);
		plane_send(plane, PLANE_WORK, &frame);
		sent = plane_next(plane, PLANE_WORK);
		CU_ASSERT_PTR_NOT_NULL_FATAL(sent);
		arp = (const struct rte_arp_hdr *)(const void *)(sent->frame.bytes + 14);
		CU_ASSERT_EQUAL(arp->arp_opcode, RTE_BE16(RTE_ARP_OP_REPLY));
		CU_ASSERT_EQUAL(arp->arp_data.arp_sip, v4(asked[i]));
		CU_ASSERT_EQUAL(arp->arp_data.arp_tip, v4(VISIBLE));
		CU_ASSERT_EQUAL(memcmp(&arp->arp_data.arp_sha, plane_vif_mac, 6), 0);
	}
	/* it tells of itself, and probes: nobody else has the address */
	frame_arp(&frame, RTE_ARP_OP_REQUEST, plane_broadcast, plane_qube_mac, VISIBLE, VISIBLE);
	plane_send(plane, PLANE_WORK, &frame);
	frame_arp(&frame, RTE_ARP_OP_REQUEST, plane_broadcast, plane_qube_mac, "0.0.0.0", VISIBLE);
	plane_send(plane, PLANE_WORK, &frame);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_WORK), 0);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_ARP), 0);
	/* in another's name */
	frame_arp(
		&frame, RTE_ARP_OP_REQUEST, plane_broadcast, plane_qube_mac, "192.168.7.6", REMOTE);
	plane_send(plane, PLANE_WORK, &frame);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_ARP), 1);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

static void
test_gateway(void)
{
	struct plane *plane = mapped_plane(NULL);
	struct frame_spec spec = from_work(IPPROTO_ICMP, VISIBLE_GATEWAY);
	const struct frame *out;

	send_spec(plane, PLANE_WORK, spec);
	out = expect(plane, PLANE_WORK, VISIBLE_GATEWAY, VISIBLE);
	CU_ASSERT_EQUAL(out->bytes[34], 0);
	/* what it may not do there it is told by the gateway that it knows, in its own words */
	spec = from_work(IPPROTO_TCP, VISIBLE_GATEWAY);
	send_spec(plane, PLANE_WORK, spec);
	out = expect(plane, PLANE_WORK, VISIBLE_GATEWAY, VISIBLE);
	CU_ASSERT_EQUAL(out->bytes[34], 3);
	CU_ASSERT_EQUAL(out->length - 42, frame.length - 14);
	CU_ASSERT_EQUAL(memcmp(out->bytes + 42, frame.bytes + 14, frame.length - 14), 0);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* A refusal quotes what the qube has sent, to the byte. */
static void
test_refused(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP};
	struct plane *plane = mapped_plane("policy=drop\n");
	const struct frame *out;

	for (unsigned i = 0; i < RTE_DIM(protocols); i++) {
		send_spec(plane, PLANE_WORK, from_work(protocols[i], REMOTE));
		out = expect(plane, PLANE_WORK, VISIBLE_GATEWAY, VISIBLE);
		CU_ASSERT_EQUAL(out->bytes[34], 3);
		CU_ASSERT_EQUAL(out->bytes[35], 13);
		CU_ASSERT_EQUAL(memcmp(out->bytes + 42, frame.bytes + 14, frame.length - 14), 0);
	}
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* --- ICMP errors --- */

/* An error of the type about a frame: all of it, behind an Ethernet header. */
static void
error_build(struct frame *error, struct frame_spec spec, uint8_t type, const struct frame *about)
{
	spec.protocol = IPPROTO_ICMP;
	spec.type = type;
	spec.code = type == 3 ? 3 : 0;
	spec.source_port = spec.destination_port = 0;
	spec.payload = (uint16_t)(about->length - 14);
	frame_build(error, &spec);
	memset(error->bytes + 38, 0, 4);
	memcpy(error->bytes + 42, about->bytes + 14, about->length - 14);
	frame_fix(error->bytes, error->length);
}

/* What an error quotes, as a frame. */
static struct frame
quoted(const struct frame *error)
{
	struct frame quote = {.length = error->length - 28};

	memcpy(quote.bytes, error->bytes, 14);
	memcpy(quote.bytes + 14, error->bytes + 42, error->length - 42);
	return quote;
}

static void
test_errors(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP};
	struct plane *plane = mapped_plane(NULL);
	static struct frame left, error, quote;
	struct frame_view view;
	const struct frame *out;

	for (unsigned i = 0; i < RTE_DIM(protocols); i++) {
		/* from a router, about what the qube has sent */
		send_spec(plane, PLANE_WORK, from_work(protocols[i], REMOTE));
		left = *expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, REMOTE);
		error_build(&error, from_uplink(IPPROTO_ICMP, "198.51.100.1"), 11, &left);
		plane_send(plane, PLANE_UPLINK, &error);
		out = expect(plane, PLANE_WORK, "198.51.100.1", VISIBLE);
		quote = quoted(out);
		view = frame_view(quote.bytes, quote.length);
		CU_ASSERT_EQUAL(view.source.v4, v4(VISIBLE));
		CU_ASSERT_EQUAL(view.destination.v4, v4(REMOTE));
		CU_ASSERT_EQUAL(frame_faults(quote.bytes, quote.length), 0);
		/* from the qube, about what it has received */
		send_spec(plane, PLANE_UPLINK, from_uplink(protocols[i], REMOTE));
		left = *expect(plane, PLANE_WORK, REMOTE, VISIBLE);
		if (protocols[i] == IPPROTO_ICMP)
			continue;
		error_build(&error, from_work(IPPROTO_ICMP, REMOTE), 3, &left);
		plane_send(plane, PLANE_WORK, &error);
		out = expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, REMOTE);
		quote = quoted(out);
		view = frame_view(quote.bytes, quote.length);
		CU_ASSERT_EQUAL(view.source.v4, v4(REMOTE));
		CU_ASSERT_EQUAL(view.destination.v4, v4(PLANE_UPLINK_ADDRESS));
		CU_ASSERT_EQUAL(frame_faults(quote.bytes, quote.length), 0);
	}
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* --- those that are wrong --- */

static void
test_spoofed(void)
{
	static const char *const sources[] = {
		"192.168.7.6", VISIBLE_GATEWAY, PLANE_GATEWAY, PLANE_PERSONAL_ADDRESS, REMOTE};
	struct plane *plane = mapped_plane(NULL);

	for (unsigned i = 0; i < RTE_DIM(sources); i++) {
		struct frame_spec spec = from_work(IPPROTO_UDP, "192.0.2.99");

		spec.source = sources[i];
		send_spec(plane, PLANE_WORK, spec);
		CU_ASSERT_EQUAL(plane_drops(plane, REASON_SOURCE_ADDRESS), i + 1);
	}
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 0);
	/* itself */
	send_spec(plane, PLANE_WORK, from_work(IPPROTO_UDP, VISIBLE));
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_LAND), 1);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* With a policy of one port. */
static void
exchange(struct rte_mbuf *mbuf, bool arrive)
{
	static struct qube qube = {.mapped = true};
	static struct policy_port port = {.role = ROLE_QUBE, .mapped = true};
	struct policy policy = {.has_gateway = {true}, .ports = &port, .qubes = &qube};

	qube.address[FAMILY_IPV4].v4 = v4(PLANE_WORK_ADDRESS);
	qube.visible = v4(VISIBLE);
	qube.visible_gateway = v4(VISIBLE_GATEWAY);
	policy.gateway[FAMILY_IPV4].v4 = v4(PLANE_GATEWAY);
	if (arrive)
		mapped_arrive(&policy, 0, &mbuf, 1);
	else
		mapped_leave(&policy, 0, &mbuf, 1);
}

/* Cut at every byte, and with every value in the bytes that say how long things are. */
static void
test_hostile(void)
{
	static const uint8_t lengths[] = {12, 13, 14, 16, 17, 20, 21, 23, 34, 42, 44, 45, 51};
	static struct frame inner, error, back;
	struct frame_spec spec = from_uplink(IPPROTO_TCP, REMOTE);
	unsigned changed = 0;

	spec.destination = VISIBLE;
	frame_build(&inner, &spec);
	error_build(&error, from_work(IPPROTO_ICMP, REMOTE), 3, &inner);
	for (uint32_t length = 0; length <= error.length; length++) {
		struct rte_mbuf *mbuf = frame_mbuf_tight(pool, error.bytes, length);

		exchange(mbuf, true);
		frame_of_mbuf(&back, mbuf);
		CU_ASSERT_EQUAL(back.length, length);
		changed += memcmp(back.bytes, error.bytes, length) != 0;
		/* there is nothing that the way back does not undo */
		exchange(mbuf, false);
		frame_of_mbuf(&back, mbuf);
		CU_ASSERT_EQUAL(memcmp(back.bytes, error.bytes, length), 0);
		rte_pktmbuf_free(mbuf);
	}
	CU_ASSERT_EQUAL(changed, error.length - 34 + 1);
	for (unsigned i = 0; i < RTE_DIM(lengths); i++)
		for (unsigned value = 0; value < 256; value++) {
			uint8_t before = error.bytes[lengths[i]];
			struct rte_mbuf *mbuf;

			error.bytes[lengths[i]] = (uint8_t)value;
			mbuf = frame_mbuf_tight(pool, error.bytes, error.length);
			exchange(mbuf, true);
			exchange(mbuf, false);
			frame_of_mbuf(&back, mbuf);
			CU_ASSERT_EQUAL(memcmp(back.bytes, error.bytes, error.length), 0);
			rte_pktmbuf_free(mbuf);
			error.bytes[lengths[i]] = before;
		}
}

/* A mapping comes and goes with the configuration, and connections stay. */
static void
test_reload(void)
{
	struct plane *plane = mapped_plane(NULL);
	struct frame_spec spec;

	send_spec(plane, PLANE_WORK, from_work(IPPROTO_TCP, REMOTE));
	expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, REMOTE);
	plane_commit(plane, &(struct plane_options){0});
	send_spec(plane, PLANE_UPLINK, from_uplink(IPPROTO_TCP, REMOTE));
	expect(plane, PLANE_WORK, REMOTE, PLANE_WORK_ADDRESS);
	send_spec(plane, PLANE_WORK, from_work(IPPROTO_TCP, REMOTE));
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_SOURCE_ADDRESS), 1);
	spec = from_work(IPPROTO_UDP, REMOTE);
	spec.source = PLANE_WORK_ADDRESS;
	send_spec(plane, PLANE_WORK, spec);
	expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, REMOTE);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"there and back", test_both_ways},
		{"checksums of all kinds", test_checksums},
		{"fragments", test_fragments},
		{"ARP", test_arp},
		{"the gateway", test_gateway},
		{"refusals", test_refused},
		{"errors about flows", test_errors},
		{"wrong sources", test_spoofed},
		{"cut and overwritten", test_hostile},
		{"a mapping that ends", test_reload},
	};

	unit_eal();
	pool = rte_pktmbuf_pool_create(
		"test", 1023, 0, RTE_ALIGN(sizeof(struct packet), 8), 2048, 0);
	if (pool == NULL)
		return EXIT_FAILURE;
	return UNIT_RUN("mapped", tests);
}
