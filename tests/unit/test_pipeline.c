/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The whole way of a packet, in at one port and out at another: translation both ways, neighbours
 * that answer late or never, what is too long or too old, flows that end and begin in one burst,
 * and that none of it depends on how packets are bundled or on how many workers there are.
 */
#include "tests/unit/plane.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>

#include <rte_tcp.h>

#define REMOTE "192.0.2.7"
#define REMOTE6 "2606:4700::7"

#define SYN RTE_TCP_SYN_FLAG
#define ACK RTE_TCP_ACK_FLAG
#define FIN RTE_TCP_FIN_FLAG
#define RST RTE_TCP_RST_FLAG

static struct frame frame;

/* --- what is sent and expected --- */

static struct frame_spec
from_work(uint8_t protocol, const char *destination, uint16_t source_port, uint16_t port)
{
	return (struct frame_spec){
		.destination_mac = plane_vif_mac,
		.source_mac = plane_qube_mac,
		.source =
			strchr(destination, ':') != NULL ? PLANE_WORK_ADDRESS6 : PLANE_WORK_ADDRESS,
		.destination = destination,
		.protocol = protocol,
		.source_port = source_port,
		.destination_port = port,
		.tcp_flags = SYN,
		.type = protocol == IPPROTO_ICMPV6 ? 128 : 8,
		.payload = 11,
	};
}

static struct frame_spec
from_uplink(uint8_t protocol, const char *source, uint16_t source_port, uint16_t port)
{
	return (struct frame_spec){
		.destination_mac = plane_uplink_mac,
		.source_mac = plane_router_mac,
		.source = source,
		.destination =
			strchr(source, ':') != NULL ? PLANE_UPLINK_ADDRESS6 : PLANE_UPLINK_ADDRESS,
		.protocol = protocol,
		.source_port = source_port,
		.destination_port = port,
		.tcp_flags = SYN | ACK,
		.type = protocol == IPPROTO_ICMPV6 ? 129 : 0,
		.payload = 12,
	};
}

static void
send_spec(struct plane *plane, uint16_t port, const struct frame_spec *spec)
{
	frame_build(&frame, spec);
	plane_send(plane, port, &frame);
}

static void
send_tcp(struct plane *plane, uint16_t port, uint16_t source_port, uint16_t remote_port,
	uint8_t flags)
{
	struct frame_spec spec =
		port == PLANE_UPLINK ? from_uplink(IPPROTO_TCP, REMOTE, remote_port, source_port)
				     : from_work(IPPROTO_TCP, REMOTE, source_port, remote_port);

	if (port == PLANE_PERSONAL)
		spec.source = PLANE_PERSONAL_ADDRESS;
	spec.tcp_flags = flags;
	send_spec(plane, port, &spec);
}

/* The next frame of a port: good, between these ends and stations. @return its view */
static struct frame_view
expect(struct plane *plane, uint16_t port, const char *source, uint16_t source_port,
	const char *destination, uint16_t destination_port)
{
	struct sent *sent = plane_next(plane, port);
	struct frame_view view = {0};
	union address from, to;
	enum family family;

	CU_ASSERT_PTR_NOT_NULL(sent);
	if (sent == NULL)
		return view;
	view = frame_view(sent->frame.bytes, sent->frame.length);
	CU_ASSERT_EQUAL(address_parse(source, &family, &from), 0);
	CU_ASSERT_EQUAL(address_parse(destination, &family, &to), 0);
	CU_ASSERT(view.ip);
	CU_ASSERT(address_equal(&view.source, &from));
	CU_ASSERT(address_equal(&view.destination, &to));
	CU_ASSERT_EQUAL(view.source_port, source_port);
	CU_ASSERT_EQUAL(view.destination_port, destination_port);
	CU_ASSERT_EQUAL(frame_faults(sent->frame.bytes, sent->frame.length), 0);
	CU_ASSERT_EQUAL(memcmp(sent->frame.bytes,
				port == PLANE_UPLINK ? plane_router_mac : plane_qube_mac, 6),
		0);
	CU_ASSERT_EQUAL(memcmp(sent->frame.bytes + 6,
				port == PLANE_UPLINK ? plane_uplink_mac : plane_vif_mac, 6),
		0);
	frame = sent->frame;
	return view;
}

/* The next frame of a port is an ICMP error of this type and code that quotes @p about. */
static void
expect_error(
	struct plane *plane, uint16_t port, uint8_t type, uint8_t code, const struct frame *about)
{
	struct sent *sent = plane_next(plane, port);
	struct frame_view view;
	uint32_t quoted;

	CU_ASSERT_PTR_NOT_NULL(sent);
	if (sent == NULL)
		return;
	view = frame_view(sent->frame.bytes, sent->frame.length);
	CU_ASSERT(view.ip);
	CU_ASSERT_EQUAL(view.protocol, view.family == FAMILY_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	CU_ASSERT_EQUAL(frame_faults(sent->frame.bytes, sent->frame.length), 0);
	CU_ASSERT_EQUAL(sent->frame.bytes[view.l4], type);
	CU_ASSERT_EQUAL(sent->frame.bytes[view.l4 + 1], code);
	CU_ASSERT_EQUAL(memcmp(sent->frame.bytes, about->bytes + 6, 6), 0);
	/* the packet as it came, from its IP header on, and no more than allowed */
	quoted = view.end - view.l4 - 8;
	CU_ASSERT_EQUAL(quoted,
		RTE_MIN(about->length - 14, view.family == FAMILY_IPV4 ? 576u - 28 : 1280u - 48));
	CU_ASSERT_EQUAL(memcmp(sent->frame.bytes + view.l4 + 8, about->bytes + 14, quoted), 0);
	frame = sent->frame;
}

static void
expect_silence(struct plane *plane)
{
	for (uint16_t port = 0; port < (uint16_t)PLANE_PORTS; port++)
		CU_ASSERT_EQUAL(plane_waiting(plane, port), 0);
}

/* A drop for this reason and no other frame anywhere. */
static void
expect_drop(struct plane *plane, enum reason reason, uint64_t count)
{
	if (plane_drops(plane, reason) != count)
		fprintf(stderr, "%s: %u, not %u\n", reasons[reason].name,
			(unsigned)plane_drops(plane, reason), (unsigned)count);
	CU_ASSERT_EQUAL(plane_drops(plane, reason), count);
	expect_silence(plane);
}

static struct plane *
plane_ready(const char *rules)
{
	struct plane *plane = plane_create(&(struct plane_options){.rules = rules});

	plane_resolve(plane);
	return plane;
}

static void
finish(struct plane *plane)
{
	CU_ASSERT_EQUAL(plane_verdicts(plane) + plane_held(plane), plane->received);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* --- translation --- */

static void
test_handshake(void)
{
	struct plane *plane = plane_ready(NULL);

	send_tcp(plane, PLANE_WORK, 40000, 443, SYN);
	CU_ASSERT_EQUAL(
		expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 40000, REMOTE, 443).ttl, 63);
	send_tcp(plane, PLANE_UPLINK, 40000, 443, SYN | ACK);
	CU_ASSERT_EQUAL(expect(plane, PLANE_WORK, REMOTE, 443, PLANE_WORK_ADDRESS, 40000).ttl, 63);
	send_tcp(plane, PLANE_WORK, 40000, 443, ACK);
	expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 40000, REMOTE, 443);
	send_tcp(plane, PLANE_UPLINK, 40000, 443, ACK);
	expect(plane, PLANE_WORK, REMOTE, 443, PLANE_WORK_ADDRESS, 40000);
	/* nearly the same from outside is somebody else */
	send_tcp(plane, PLANE_UPLINK, 40000, 444, ACK);
	send_tcp(plane, PLANE_UPLINK, 40001, 443, ACK);
	send_spec(plane, PLANE_UPLINK,
		&(struct frame_spec){.destination_mac = plane_uplink_mac,
			.source_mac = plane_router_mac,
			.source = "192.0.2.8",
			.destination = PLANE_UPLINK_ADDRESS,
			.protocol = IPPROTO_TCP,
			.source_port = 443,
			.destination_port = 40000,
			.tcp_flags = ACK});
	expect_drop(plane, REASON_NO_FLOW, 3);
	finish(plane);
}

/*
 * Somebody on the uplink takes a qube's address as source. The tuple is that of the qube's own
 * flow, but it comes from the wrong side: it neither passes nor moves the flow.
 */
static void
test_downstream_source(void)
{
	static const char *const remotes[] = {REMOTE, REMOTE6};

	for (unsigned i = 0; i < 2; i++) {
		struct plane *plane = plane_ready(NULL);
		struct frame_spec out = from_work(IPPROTO_TCP, remotes[i], 40000, 443);
		struct frame_spec forged = out;
		struct frame_spec back = from_uplink(IPPROTO_TCP, remotes[i], 443, 40000);

		forged.destination_mac = plane_uplink_mac;
		forged.source_mac = plane_router_mac;
		send_spec(plane, PLANE_UPLINK, &forged);
		expect_drop(plane, REASON_DOWNSTREAM_SOURCE, 1);
		send_spec(plane, PLANE_WORK, &out);
		plane_forget(plane);
		send_spec(plane, PLANE_UPLINK, &forged);
		forged.tcp_flags = RST;
		send_spec(plane, PLANE_UPLINK, &forged);
		forged.tcp_flags = SYN;
		forged.ttl = 1; /* nor is he told anything */
		send_spec(plane, PLANE_UPLINK, &forged);
		expect_drop(plane, REASON_DOWNSTREAM_SOURCE, 4);
		send_spec(plane, PLANE_UPLINK, &back); /* invalid had the RST counted */
		CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_WORK), 1);
		finish(plane);
	}
}

static void
test_udp(void)
{
	struct plane *plane = plane_ready(NULL);
	struct frame_spec out = from_work(IPPROTO_UDP, REMOTE, 5000, 4000);
	struct frame_spec back = from_uplink(IPPROTO_UDP, REMOTE, 4000, 5000);

	send_spec(plane, PLANE_UPLINK, &back);
	expect_drop(plane, REASON_NO_FLOW, 1);
	send_spec(plane, PLANE_WORK, &out);
	expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 5000, REMOTE, 4000);
	send_spec(plane, PLANE_UPLINK, &back);
	expect(plane, PLANE_WORK, REMOTE, 4000, PLANE_WORK_ADDRESS, 5000);
	/* it runs out, and its port is nobody's again */
	plane_wait(plane, 310 * 1000);
	send_spec(plane, PLANE_UPLINK, &back);
	plane_forget(plane); /* the router has been asked whether it is still there */
	expect_drop(plane, REASON_NO_FLOW, 2);
	finish(plane);
}

static void
test_ping(void)
{
	struct plane *plane = plane_ready(NULL);
	struct frame_spec out = from_work(IPPROTO_ICMP, REMOTE, 77, 0);
	struct frame_spec back = from_uplink(IPPROTO_ICMP, REMOTE, 77, 0);

	send_spec(plane, PLANE_WORK, &out);
	expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 0, REMOTE, 0);
	send_spec(plane, PLANE_UPLINK, &back);
	expect(plane, PLANE_WORK, REMOTE, 0, PLANE_WORK_ADDRESS, 0);
	CU_ASSERT_EQUAL(frame.bytes[38] << 8 | frame.bytes[39], 77);
	/* a request from outside is no answer */
	back.type = 8;
	send_spec(plane, PLANE_UPLINK, &back);
	expect_silence(plane);
	/* nor is one with another identifier */
	back.type = 0;
	back.source_port = 78;
	send_spec(plane, PLANE_UPLINK, &back);
	expect_drop(plane, REASON_NO_FLOW, 2);
	finish(plane);
}

static void
test_ipv6(void)
{
	struct plane *plane = plane_ready(NULL);
	struct frame_spec out = from_work(IPPROTO_TCP, REMOTE6, 40000, 443);
	struct frame_spec back = from_uplink(IPPROTO_TCP, REMOTE6, 443, 40000);
	struct frame_spec ping = from_work(IPPROTO_ICMPV6, REMOTE6, 9, 0);
	struct frame_spec pong = from_uplink(IPPROTO_ICMPV6, REMOTE6, 9, 0);

	send_spec(plane, PLANE_UPLINK, &back);
	expect_drop(plane, REASON_NO_FLOW, 1);
	send_spec(plane, PLANE_WORK, &out);
	expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS6, 40000, REMOTE6, 443);
	send_spec(plane, PLANE_UPLINK, &back);
	expect(plane, PLANE_WORK, REMOTE6, 443, PLANE_WORK_ADDRESS6, 40000);
	send_spec(plane, PLANE_WORK, &ping);
	expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS6, 0, REMOTE6, 0);
	send_spec(plane, PLANE_UPLINK, &pong);
	expect(plane, PLANE_WORK, REMOTE6, 0, PLANE_WORK_ADDRESS6, 0);
	finish(plane);
}

static void
test_dns(void)
{
	static const uint8_t protocols[] = {IPPROTO_UDP, IPPROTO_TCP};
	struct plane *plane = plane_ready("policy=drop\naction=accept specialtarget=dns\n");
	struct frame query;
	uint64_t mac = 0;

	memcpy(&mac, plane_router_mac, 6);
	for (unsigned i = 0; i < 2; i++) {
		struct frame_spec out = from_work(protocols[i], PLANE_DNS, 33333, 53);
		struct frame_spec back = from_uplink(protocols[i], PLANE_RESOLVER, 53, 33333);
		struct port *uplink = &plane->dataplane->ports[PLANE_UPLINK];
		union address resolver;
		enum family family;

		address_parse(PLANE_RESOLVER, &family, &resolver);
		neighbour_index(uplink->neighbours, family, &resolver, plane->now_ms);
		neighbour_heard(uplink->neighbours, family, &resolver, mac, plane->now_ms);
		send_spec(plane, PLANE_WORK, &out);
		expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 33333, PLANE_RESOLVER, 53);
		send_spec(plane, PLANE_UPLINK, &back);
		/* the answer comes from whom the qube asked */
		expect(plane, PLANE_WORK, PLANE_DNS, 53, PLANE_WORK_ADDRESS, 33333);
	}
	/* the resolver itself, by its own name, is not what the rule means */
	frame_build(&query, &(struct frame_spec){.destination_mac = plane_vif_mac,
				    .source_mac = plane_qube_mac,
				    .source = PLANE_WORK_ADDRESS,
				    .destination = PLANE_RESOLVER,
				    .protocol = IPPROTO_UDP,
				    .source_port = 1,
				    .destination_port = 53});
	plane_send(plane, PLANE_WORK, &query);
	expect_error(plane, PLANE_WORK, 3, 13, &query);
	finish(plane);

	plane = plane_create(&(struct plane_options){.no_resolver = true});
	plane_resolve(plane);
	send_spec(plane, PLANE_WORK,
		&(struct frame_spec){.destination_mac = plane_vif_mac,
			.source_mac = plane_qube_mac,
			.source = PLANE_WORK_ADDRESS,
			.destination = PLANE_DNS,
			.protocol = IPPROTO_UDP,
			.source_port = 1,
			.destination_port = 53});
	expect_drop(plane, REASON_NO_RESOLVER, 1);
	finish(plane);
}

/* Two qubes with one source port towards one destination: the second gets another. */
static void
test_port_clash(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};

	for (unsigned i = 0; i < 2; i++) {
		struct plane *plane = plane_ready(NULL);
		struct frame_spec first = from_work(protocols[i], REMOTE, 40000, 443);
		struct frame_spec second = first;
		struct sent *sent;
		struct frame_view view;
		uint16_t external;

		second.source = PLANE_PERSONAL_ADDRESS;
		send_spec(plane, PLANE_WORK, &first);
		expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 40000, REMOTE, 443);
		send_spec(plane, PLANE_PERSONAL, &second);
		sent = plane_next(plane, PLANE_UPLINK);
		CU_ASSERT_PTR_NOT_NULL_FATAL(sent);
		view = frame_view(sent->frame.bytes, sent->frame.length);
		external = view.source_port;
		CU_ASSERT_NOT_EQUAL(external, 40000);
		CU_ASSERT(external >= 1024);
		CU_ASSERT_EQUAL(frame_faults(sent->frame.bytes, sent->frame.length), 0);
		/* and each hears its own answers */
		first = from_uplink(protocols[i], REMOTE, 443, 40000);
		second = from_uplink(protocols[i], REMOTE, 443, external);
		send_spec(plane, PLANE_UPLINK, &second);
		expect(plane, PLANE_PERSONAL, REMOTE, 443, PLANE_PERSONAL_ADDRESS, 40000);
		send_spec(plane, PLANE_UPLINK, &first);
		expect(plane, PLANE_WORK, REMOTE, 443, PLANE_WORK_ADDRESS, 40000);
		expect_silence(plane);
		finish(plane);
	}
}

/* --- neighbours --- */

static void
arp_reply(struct plane *plane, const char *address)
{
	frame_arp(&frame, 2, plane_uplink_mac, plane_router_mac, address, PLANE_UPLINK_ADDRESS);
	plane_send(plane, PLANE_UPLINK, &frame);
}

/* The next frame of the uplink asks who has @p address. */
static void
expect_arp_request(struct plane *plane, const char *address)
{
	struct sent *sent = plane_next(plane, PLANE_UPLINK);
	static struct frame wanted;

	frame_arp(&wanted, 1, plane_broadcast, plane_uplink_mac, PLANE_UPLINK_ADDRESS, address);
	CU_ASSERT_PTR_NOT_NULL_FATAL(sent);
	CU_ASSERT_EQUAL(sent->frame.length, wanted.length);
	CU_ASSERT_EQUAL(memcmp(sent->frame.bytes, wanted.bytes, wanted.length), 0);
}

static void
test_held(void)
{
	struct plane *plane = plane_create(&(struct plane_options){0});

	for (uint16_t i = 0; i < HELD_PER_NEIGHBOUR + 2; i++)
		send_tcp(plane, PLANE_WORK, (uint16_t)(40000 + i), 443, SYN);
	expect_arp_request(plane, PLANE_ROUTER); /* once, not five times */
	CU_ASSERT_EQUAL(plane_held(plane), HELD_PER_NEIGHBOUR);
	expect_drop(plane, REASON_NEIGHBOUR_PENDING, 2);
	CU_ASSERT_EQUAL(plane_verdicts(plane), 2);
	arp_reply(plane, PLANE_ROUTER);
	for (uint16_t i = 0; i < HELD_PER_NEIGHBOUR; i++)
		expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, (uint16_t)(40000 + i), REMOTE,
			443);
	expect_silence(plane);
	CU_ASSERT_EQUAL(plane_held(plane), 0);
	/* all others go straight on, those that were not held as well */
	send_tcp(plane, PLANE_WORK, 40000 + HELD_PER_NEIGHBOUR, 443, SYN);
	expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 40000 + HELD_PER_NEIGHBOUR, REMOTE, 443);
	finish(plane);
}

/* A neighbour on the link is its own next hop, and says so to one question per second. */
static void
test_on_link(void)
{
	struct plane *plane = plane_create(&(struct plane_options){0});
	struct frame_spec out = from_work(IPPROTO_UDP, "192.168.50.9", 5000, 4000);
	struct frame_spec broadcast = from_work(IPPROTO_UDP, "192.168.50.255", 5000, 4000);
	struct frame_spec out6 = from_work(IPPROTO_UDP, "fd00:50::9", 5000, 4000);
	struct sent *sent;
	static struct frame wanted;

	send_spec(plane, PLANE_WORK, &out);
	expect_arp_request(plane, "192.168.50.9");
	expect_silence(plane);
	plane_wait(plane, 900);
	expect_silence(plane);
	plane_wait(plane, 200);
	expect_arp_request(plane, "192.168.50.9");
	expect_silence(plane);
	arp_reply(plane, "192.168.50.9");
	expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 5000, "192.168.50.9", 4000);
	/* the link's broadcast address is nobody */
	send_spec(plane, PLANE_WORK, &broadcast);
	expect_drop(plane, REASON_MARTIAN_DESTINATION, 1);
	/* IPv6: a solicitation to the group of the target (RFC 4861 section 4.3) */
	send_spec(plane, PLANE_WORK, &out6);
	sent = plane_next(plane, PLANE_UPLINK);
	CU_ASSERT_PTR_NOT_NULL_FATAL(sent);
	frame_nd(&wanted, 135, (const uint8_t[]){0x33, 0x33, 0xff, 0, 0, 9}, plane_uplink_mac,
		PLANE_UPLINK_ADDRESS6, "ff02::1:ff00:9", "fd00:50::9", plane_uplink_mac);
	CU_ASSERT_EQUAL(sent->frame.length, wanted.length);
	CU_ASSERT_EQUAL(memcmp(sent->frame.bytes, wanted.bytes, wanted.length), 0);
	frame_nd(&frame, 136, plane_uplink_mac, plane_router_mac, "fd00:50::9",
		PLANE_UPLINK_ADDRESS6, "fd00:50::9", plane_router_mac);
	plane_send(plane, PLANE_UPLINK, &frame);
	expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS6, 5000, "fd00:50::9", 4000);
	finish(plane);
}

static void
test_neighbour_failed(void)
{
	struct plane *plane = plane_create(&(struct plane_options){0});
	struct frame_spec out = from_work(IPPROTO_UDP, REMOTE, 5000, 4000);
	static struct frame original;

	frame_build(&original, &out);
	plane_send(plane, PLANE_WORK, &original);
	expect_arp_request(plane, PLANE_ROUTER);
	plane_wait(plane, 2900);
	expect_arp_request(plane, PLANE_ROUTER);
	expect_arp_request(plane, PLANE_ROUTER);
	expect_silence(plane);
	plane_wait(plane, 200);
	CU_ASSERT_EQUAL(plane_held(plane), 0);
	expect_error(plane, PLANE_WORK, 3, 1, &original);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_NEIGHBOUR_FAILED), 1);
	/* while the failure stands, at once; then it is tried anew */
	plane_send(plane, PLANE_WORK, &original);
	expect_error(plane, PLANE_WORK, 3, 1, &original);
	expect_silence(plane);
	plane_wait(plane, 3000);
	plane_send(plane, PLANE_WORK, &original);
	expect_arp_request(plane, PLANE_ROUTER);
	arp_reply(plane, PLANE_ROUTER);
	expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 5000, REMOTE, 4000);
	finish(plane);
}

/* What no neighbour can have is not learned, whoever says so. */
static void
test_neighbour_nonsense(void)
{
	struct plane *plane = plane_ready(NULL);
	static const uint8_t nobody[6];
	const uint8_t *macs[] = {nobody, plane_broadcast, plane_uplink_mac};

	for (unsigned i = 0; i < RTE_DIM(macs); i++) {
		frame_nd(&frame, 136, plane_uplink_mac, plane_router_mac, PLANE_ROUTER6,
			PLANE_UPLINK_ADDRESS6, PLANE_ROUTER6, macs[i]);
		plane_send(plane, PLANE_UPLINK, &frame);
		frame_arp(&frame, 2, plane_uplink_mac, macs[i], PLANE_ROUTER, PLANE_UPLINK_ADDRESS);
		plane_send(plane, PLANE_UPLINK, &frame);
		expect_drop(plane, REASON_SOURCE_MAC, i + 1);
		send_spec(plane, PLANE_WORK,
			&(struct frame_spec){.destination_mac = plane_vif_mac,
				.source_mac = plane_qube_mac,
				.source = PLANE_WORK_ADDRESS6,
				.destination = REMOTE6,
				.protocol = IPPROTO_UDP,
				.source_port = 5000,
				.destination_port = 4000});
		expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS6, 5000, REMOTE6, 4000);
		send_tcp(plane, PLANE_WORK, 5000, 443, SYN);
		expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 5000, REMOTE, 443);
	}
	finish(plane);
}

/* Frames that lie in somebody's receive ring are not kept there while they wait. */
static void
test_held_copies(void)
{
	struct plane *plane = plane_create(&(struct plane_options){0});
	struct frame_spec out = from_work(IPPROTO_UDP, REMOTE, 5000, 4000);
	struct rte_mbuf *mbuf;

	plane->dataplane->ports[PLANE_UPLINK].mtu = 9000;
	for (uint16_t payload = 100; payload < 9000; payload = (uint16_t)(payload + 2900)) {
		out.payload = payload;
		frame_build(&frame, &out);
		mbuf = frame_mbuf_tight(plane->dataplane->pool, frame.bytes, frame.length);
		plane_receive(plane, PLANE_WORK, &mbuf, 1);
		if (payload / 2900 < HELD_PER_NEIGHBOUR)
			CU_ASSERT_FALSE(RTE_MBUF_HAS_EXTBUF(
				plane->dataplane->workers[0]->held[payload / 2900].mbuf));
	}
	plane_forget(plane);
	arp_reply(plane, PLANE_ROUTER);
	for (unsigned i = 0; i < HELD_PER_NEIGHBOUR; i++) {
		expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 5000, REMOTE, 4000);
		CU_ASSERT_EQUAL(frame.length, 42 + 100 + i * 2900);
	}
	finish(plane);
}

/* A qube's MAC is learned from its first ARP; before that nothing of it passes. */
static void
test_mac_learned(void)
{
	struct plane *plane = plane_create(&(struct plane_options){.no_mac = true});
	struct sent *sent;
	static struct frame wanted;

	plane_resolve(plane);
	send_tcp(plane, PLANE_WORK, 40000, 443, SYN);
	expect_drop(plane, REASON_MAC_UNKNOWN, 1);
	frame_arp(&frame, 1, plane_broadcast, plane_qube_mac, PLANE_WORK_ADDRESS, PLANE_GATEWAY);
	plane_send(plane, PLANE_WORK, &frame);
	sent = plane_next(plane, PLANE_WORK);
	CU_ASSERT_PTR_NOT_NULL_FATAL(sent);
	frame_arp(&wanted, 2, plane_qube_mac, plane_vif_mac, PLANE_GATEWAY, PLANE_WORK_ADDRESS);
	CU_ASSERT_EQUAL(memcmp(sent->frame.bytes, wanted.bytes, wanted.length), 0);
	send_tcp(plane, PLANE_WORK, 40000, 443, SYN);
	expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 40000, REMOTE, 443);
	/* it is its MAC from now on */
	frame_arp(&frame, 1, plane_broadcast, plane_router_mac, PLANE_WORK_ADDRESS, PLANE_GATEWAY);
	plane_send(plane, PLANE_WORK, &frame);
	expect_drop(plane, REASON_SOURCE_MAC, 1);
	finish(plane);
}

/* --- hop limit and length --- */

static void
test_ttl(void)
{
	struct plane *plane = plane_ready("policy=drop\naction=accept dstports=443 proto=tcp\n");
	static struct frame original;
	static const struct {
		const char *remote;
		uint16_t port;
		uint8_t type;
	} rows[] = {
		{REMOTE, 443, 11},
		{REMOTE, 444, 11}, /* even towards what is refused */
		{REMOTE6, 443, 3},
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct frame_spec out = from_work(IPPROTO_TCP, rows[i].remote, 4000, rows[i].port);

		out.ttl = 1;
		frame_build(&original, &out);
		plane_send(plane, PLANE_WORK, &original);
		expect_error(plane, PLANE_WORK, rows[i].type, 0, &original);
		expect_drop(plane, REASON_TIME_EXCEEDED, 2 * i + 1);
		original.bytes[rows[i].type == 11 ? 22 : 21] = 0;
		frame_fix(original.bytes, original.length);
		plane_send(plane, PLANE_WORK, &original);
		plane_forget(plane);
	}
	/* no flow came of it */
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 0);
	/* of a flow that exists, in both directions */
	send_tcp(plane, PLANE_WORK, 5000, 443, SYN);
	plane_forget(plane);
	{
		struct frame_spec back = from_uplink(IPPROTO_TCP, REMOTE, 443, 5000);

		back.ttl = 1;
		frame_build(&original, &back);
		plane_send(plane, PLANE_UPLINK, &original);
		expect_error(plane, PLANE_UPLINK, 11, 0, &original);
		back.ttl = 2;
		send_spec(plane, PLANE_UPLINK, &back);
		CU_ASSERT_EQUAL(
			expect(plane, PLANE_WORK, REMOTE, 443, PLANE_WORK_ADDRESS, 5000).ttl, 1);
	}
	/* a stranger with TTL 1 hears nothing */
	{
		struct frame_spec stranger = from_uplink(IPPROTO_TCP, REMOTE, 999, 5000);

		stranger.ttl = 1;
		send_spec(plane, PLANE_UPLINK, &stranger);
		expect_drop(plane, REASON_NO_FLOW, 1);
	}
	finish(plane);
}

static void
test_too_big(void)
{
	struct plane *plane = plane_ready(NULL);
	struct frame_spec out = from_work(IPPROTO_UDP, REMOTE, 5000, 4000);
	struct frame_spec out6 = from_work(IPPROTO_UDP, REMOTE6, 5000, 4000);
	static struct frame original;
	struct rte_mbuf *mbuf;

	plane->dataplane->ports[PLANE_UPLINK].mtu = 1400;
	out.df = true;
	out.payload = 1400 - 28;
	send_spec(plane, PLANE_WORK, &out);
	expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 5000, REMOTE, 4000);
	CU_ASSERT_EQUAL(frame.length, 1414);
	out.payload++;
	frame_build(&original, &out);
	plane_send(plane, PLANE_WORK, &original);
	expect_error(plane, PLANE_WORK, 3, 4, &original);
	CU_ASSERT_EQUAL(frame.bytes[40] << 8 | frame.bytes[41], 1400);
	out6.payload = 1400 - 48;
	send_spec(plane, PLANE_WORK, &out6);
	expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS6, 5000, REMOTE6, 4000);
	out6.payload++;
	frame_build(&original, &out6);
	plane_send(plane, PLANE_WORK, &original);
	expect_error(plane, PLANE_WORK, 2, 0, &original);
	CU_ASSERT_EQUAL(frame.bytes[60] << 8 | frame.bytes[61], 1400);
	expect_drop(plane, REASON_TOO_BIG, 2);
	/* several segments in one frame: what counts is each of them */
	out = from_work(IPPROTO_TCP, REMOTE, 5000, 4000);
	out.payload = 5000;
	for (unsigned size = 1360; size <= 1361; size++) {
		frame_build(&original, &out);
		mbuf = frame_mbuf_tight(plane->dataplane->pool, original.bytes, original.length);
		mbuf->ol_flags |= RTE_MBUF_F_RX_LRO;
		mbuf->tso_segsz = (uint16_t)size;
		plane_receive(plane, PLANE_WORK, &mbuf, 1);
		if (size == 1360)
			expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 5000, REMOTE, 4000);
		else
			expect_error(plane, PLANE_WORK, 3, 4, &original);
	}
	finish(plane);
}

/* --- answers --- */

static void
test_refusals(void)
{
	struct plane *plane = plane_ready("policy=drop\naction=drop dst4=192.0.2.0/24\n");
	static const struct {
		const char *remote;
		uint8_t protocol;
		uint8_t type, code;
		enum reason reason;
	} rows[] = {
		{REMOTE, IPPROTO_TCP, 3, 13, REASON_RULE},
		{REMOTE, IPPROTO_UDP, 3, 13, REASON_RULE},
		{REMOTE, IPPROTO_ICMP, 3, 13, REASON_RULE},
		{REMOTE, 47, 3, 13, REASON_RULE},
		{"198.51.100.1", IPPROTO_TCP, 3, 13, REASON_POLICY},
		{REMOTE6, IPPROTO_TCP, 1, 1, REASON_POLICY},
		{REMOTE6, IPPROTO_ICMPV6, 1, 1, REASON_POLICY},
		{PLANE_GATEWAY, IPPROTO_TCP, 3, 10, REASON_LOCAL_REFUSED},
		{PLANE_GATEWAY6, IPPROTO_UDP, 1, 1, REASON_LOCAL_REFUSED},
		{PLANE_UPLINK_ADDRESS, IPPROTO_TCP, 3, 10, REASON_LOCAL_REFUSED},
	};
	static struct frame original;

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct frame_spec out = from_work(rows[i].protocol, rows[i].remote, 4000, 80);
		uint64_t before = plane_drops(plane, rows[i].reason);

		out.payload = (uint16_t)(i * 150); /* some are longer than may be quoted */
		frame_build(&original, &out);
		plane_send(plane, PLANE_WORK, &original);
		expect_error(plane, PLANE_WORK, rows[i].type, rows[i].code, &original);
		expect_drop(plane, rows[i].reason, before + 1);
	}
	/* an error is never answered by an error */
	{
		struct frame_spec out = from_work(IPPROTO_ICMP, REMOTE, 0, 0);

		for (unsigned type = 3; type <= 12; type++) {
			out.type = (uint8_t)type;
			out.ttl = 1;
			if (type == 8)
				continue;
			send_spec(plane, PLANE_WORK, &out);
			expect_silence(plane);
		}
	}
	/* what opens no flow is nobody's request */
	send_tcp(plane, PLANE_WORK, 1, 80, ACK);
	send_tcp(plane, PLANE_WORK, 1, 80, RST);
	send_tcp(plane, PLANE_WORK, 1, 80, FIN | ACK);
	expect_drop(plane, REASON_TCP_STATE, 3);
	send_tcp(plane, PLANE_WORK, 1, 80, 0);
	send_tcp(plane, PLANE_WORK, 1, 80, SYN | FIN);
	send_tcp(plane, PLANE_WORK, 1, 80, SYN | RST);
	expect_drop(plane, REASON_TCP_FLAGS, 3);
	finish(plane);
}

static void
test_inter_qube(void)
{
	struct plane *plane = plane_ready(NULL);
	struct frame_spec out = from_work(IPPROTO_TCP, PLANE_PERSONAL_ADDRESS, 4000, 80);
	struct frame_spec out6 = from_work(IPPROTO_TCP, PLANE_PERSONAL_ADDRESS6, 4000, 80);

	send_spec(plane, PLANE_WORK, &out);
	send_spec(plane, PLANE_WORK, &out6);
	expect_drop(plane, REASON_INTER_QUBE, 2);
	finish(plane);
}

static void
test_gateway(void)
{
	struct plane *plane = plane_ready("policy=drop\n");
	struct frame_spec ping = from_work(IPPROTO_ICMP, PLANE_GATEWAY, 5, 0);
	struct frame_spec ping6 = from_work(IPPROTO_ICMPV6, PLANE_GATEWAY6, 5, 0);
	struct frame_spec dhcp = from_work(IPPROTO_UDP, PLANE_GATEWAY, 67, 68);

	for (ping.payload = 0; ping.payload < 1400; ping.payload = (uint16_t)(ping.payload + 99)) {
		send_spec(plane, PLANE_WORK, &ping);
		expect(plane, PLANE_WORK, PLANE_GATEWAY, 0, PLANE_WORK_ADDRESS, 0);
		CU_ASSERT_EQUAL(frame.bytes[34], 0);
		CU_ASSERT_EQUAL(frame.bytes[38] << 8 | frame.bytes[39], 5);
		CU_ASSERT_EQUAL(frame.length, 42 + ping.payload);
	}
	send_spec(plane, PLANE_WORK, &ping6);
	expect(plane, PLANE_WORK, PLANE_GATEWAY6, 0, PLANE_WORK_ADDRESS6, 0);
	CU_ASSERT_EQUAL(frame.bytes[54], 129);
	send_spec(plane, PLANE_WORK, &dhcp);
	expect_drop(plane, REASON_LOCAL_IGNORED, 1);
	/* from the uplink: silence */
	ping = from_uplink(IPPROTO_ICMP, REMOTE, 5, 0);
	ping.type = 8;
	send_spec(plane, PLANE_UPLINK, &ping);
	expect_drop(plane, REASON_NO_FLOW, 1);
	finish(plane);
}

/* At most so many answers per second and port, and a number that cannot be foretold. */
static void
test_answer_limit(void)
{
	struct plane *plane = plane_ready("policy=drop\n");
	unsigned first = 0;
	bool differs = false;

	for (unsigned window = 0; window < 8; window++) {
		uint64_t sent, withheld = plane->dataplane->workers[0]->counters.answers_withheld;

		for (unsigned i = 0; i < 100; i++)
			send_tcp(plane, PLANE_WORK, (uint16_t)i, 80, SYN);
		sent = plane_waiting(plane, PLANE_WORK);
		CU_ASSERT(sent >= 32 && sent < 64);
		CU_ASSERT_EQUAL(plane->dataplane->workers[0]->counters.answers_withheld - withheld,
			100 - sent);
		if (window == 0)
			first = (unsigned)sent;
		differs |= sent != first;
		plane_forget(plane);
		/* another qube has its own share */
		send_tcp(plane, PLANE_PERSONAL, 1, 1, ACK);
		plane_forget(plane);
		/* and just before the window ends there is nothing more */
		plane->now_ms += 999;
		send_tcp(plane, PLANE_WORK, 1, 80, SYN);
		CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_WORK), 0);
		plane->now_ms += 1;
	}
	CU_ASSERT(differs);
	/* after weeks of silence a qube is answered as ever */
	for (uint32_t weeks = 1; weeks < 7; weeks++) {
		for (unsigned i = 0; i < 100; i++)
			send_tcp(plane, PLANE_WORK, (uint16_t)i, 80, SYN);
		plane_forget(plane);
		plane->now_ms += weeks * 7 * 24 * 3600 * 1000;
		send_tcp(plane, PLANE_WORK, 1, 80, SYN);
		CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_WORK), 1);
	}
	plane_forget(plane);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_POLICY), plane->received - 8);
	finish(plane);
}

/* --- one burst --- */

/* A burst of TCP segments of one connection, all at once. */
static void
send_burst(struct plane *plane, uint16_t port, const uint8_t *flags, unsigned count)
{
	struct rte_mbuf *burst[BURST_MAX];

	for (unsigned i = 0; i < count; i++) {
		struct frame_spec spec = port == PLANE_UPLINK
						 ? from_uplink(IPPROTO_TCP, REMOTE, 443, 40000)
						 : from_work(IPPROTO_TCP, REMOTE, 40000, 443);

		spec.tcp_flags = flags[i];
		frame_build(&frame, &spec);
		burst[i] = frame_mbuf(plane->dataplane->pool, frame.bytes, frame.length);
	}
	plane_receive(plane, port, burst, count);
}

static void
test_one_burst(void)
{
	struct plane *plane = plane_ready(NULL);
	static const uint8_t opening[] = {ACK, SYN, SYN, ACK, RST, ACK, SYN, ACK};
	static const uint8_t closing[] = {FIN | ACK, ACK, SYN, SYN};
	static const uint8_t answer[] = {SYN | ACK, ACK, FIN | ACK, ACK};

	/*
	 * ACK before any SYN opens nothing; SYN opens, its copy belongs to it, ACK finds it, RST
	 * closes it and what comes after belongs to the closed flow until SYN opens a new one.
	 */
	send_burst(plane, PLANE_WORK, opening, RTE_DIM(opening));
	CU_ASSERT_EQUAL(flow_opened(plane->dataplane->workers[0]->flows), 2);
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 1);
	CU_ASSERT(plane_drops(plane, REASON_TCP_STATE) >= 1);
	plane_forget(plane);
	/* to TIME_WAIT and open again, within one burst */
	send_burst(plane, PLANE_UPLINK, answer, RTE_DIM(answer));
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_WORK), RTE_DIM(answer));
	plane_forget(plane);
	send_burst(plane, PLANE_WORK, closing, RTE_DIM(closing));
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), RTE_DIM(closing));
	CU_ASSERT_EQUAL(flow_opened(plane->dataplane->workers[0]->flows), 3);
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 1);
	for (unsigned i = 0; i < RTE_DIM(closing); i++)
		expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 40000, REMOTE, 443);
	finish(plane);
}

/* --- the same packets, bundled otherwise --- */

#define MIX_FRAMES 4000

/*
 * So many frames share a moment. They are fewer than the answers that a port may always get within
 * a second, so that the limit makes no difference; and flows run out on the way.
 */
#define MIX_MOMENT 30

/* Number @p index of a random conversation between everybody. Ports and hosts are few. */
static uint16_t
mix_frame(unsigned index, unsigned seed)
{
	static const uint8_t flags[] = {SYN, SYN, SYN | ACK, SYN | ACK, ACK, ACK, ACK, FIN | ACK,
		RST, RST | ACK, 0, SYN | FIN};
	static const char *remotes[] = {REMOTE, "192.0.2.8", REMOTE6, PLANE_DNS};
	static const char *answering[] = {REMOTE, "192.0.2.8", REMOTE6, PLANE_RESOLVER};
	uint16_t port;
	struct frame_spec spec;
	unsigned which;
	uint8_t protocol;
	bool ipv6;

	srand(seed * 100000 + index / 10);
	port = (uint16_t)(rand() % PLANE_PORTS);
	srand(seed * 100000 + index);
	which = (unsigned)rand() % 4;
	ipv6 = which == 2;
	protocol = (const uint8_t[]){
		IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, 47}[rand() % 5];
	if (protocol == IPPROTO_ICMP && ipv6)
		protocol = IPPROTO_ICMPV6;
	if (port == PLANE_UPLINK) {
		spec = from_uplink(protocol, answering[which], 53, (uint16_t)(2000 + rand() % 3));
		if (ipv6 && rand() % 2 == 0)
			spec.destination = PLANE_PERSONAL_ADDRESS6;
	} else {
		spec = from_work(protocol, remotes[which], (uint16_t)(2000 + rand() % 3), 53);
		if (port == PLANE_PERSONAL)
			spec.source = ipv6 ? PLANE_PERSONAL_ADDRESS6 : PLANE_PERSONAL_ADDRESS;
	}
	if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
		spec.source_port = (uint16_t)(2000 + rand() % 3);
		spec.type = rand() % 8 == 0 ? (uint8_t)rand() : spec.type;
	}
	spec.tcp_flags = flags[rand() % RTE_DIM(flags)];
	spec.payload = (uint16_t)(rand() % 60);
	spec.ttl = rand() % 30 == 0 ? 1 : 64;
	frame_build(&frame, &spec);
	if (rand() % 40 == 0)
		frame.length -= (uint32_t)rand() % 30;
	return port;
}

struct digest {
	uint64_t count;
	uint64_t ordered[PLANE_PORTS]; /* changes with the order */
	uint64_t set;                  /* does not */
	uint64_t verdicts[VERDICT_COUNT];
	uint64_t drops[REASON_COUNT];
};

static uint64_t
frame_digest(struct frame *sent, uint16_t port, bool any_port)
{
	struct frame_view view = frame_view(sent->bytes, sent->length);
	uint64_t digest = 14695981039346656037u + port;

	/* Who could not keep his port got another: which one is chance. */
	if (any_port && port == PLANE_UPLINK && view.protocol == IPPROTO_TCP &&
		(view.source_port < 2000 || view.source_port > 2002)) {
		CU_ASSERT_EQUAL(frame_faults(sent->bytes, sent->length), 0);
		sent->bytes[view.l4] = sent->bytes[view.l4 + 1] = 0;
		frame_fix(sent->bytes, sent->length);
	}
	for (uint32_t i = 0; i < sent->length; i++)
		digest = (digest ^ sent->bytes[i]) * 1099511628211u;
	return digest;
}

/* Run the mix in bursts of up to @p size frames of one port. */
static struct digest
run_mix(unsigned size, unsigned workers, unsigned seed)
{
	struct plane *plane = plane_create(&(struct plane_options){
		.workers = workers,
		.automatic = true,
		.rules = "policy=drop\naction=drop proto=udp dst4=192.0.2.8\n"
			 "action=accept dst4=192.0.2.0/24\naction=accept dst6=2001:2::/32\n"
			 "action=accept specialtarget=dns\n",
	});
	struct rte_mbuf *burst[BURST_MAX];
	struct digest digest = {0};
	uint16_t burst_port = 0;
	unsigned gathered = 0;

	for (unsigned i = 0; i <= MIX_FRAMES; i++) {
		uint16_t port = i < MIX_FRAMES ? mix_frame(i, seed) : burst_port;

		if (gathered == size || port != burst_port || i % MIX_MOMENT == 0 ||
			i == MIX_FRAMES) {
			if (gathered > 0)
				plane_receive(plane, burst_port, burst, gathered);
			gathered = 0;
		}
		if (i == MIX_FRAMES)
			break;
		if (i % MIX_MOMENT == 0)
			plane_wait(plane, 1000);
		burst_port = port;
		burst[gathered++] = frame_mbuf(plane->dataplane->pool, frame.bytes, frame.length);
	}
	for (uint16_t port = 0; port < (uint16_t)PLANE_PORTS; port++)
		for (struct sent *sent; (sent = plane_next(plane, port)) != NULL;) {
			digest.count++;
			digest.ordered[port] =
				digest.ordered[port] * 31 + frame_digest(&sent->frame, port, false);
			digest.set += frame_digest(&sent->frame, port, true);
			if (sent->frame.length > 14)
				CU_ASSERT_EQUAL(
					frame_faults(sent->frame.bytes, sent->frame.length) &
						FRAME_IP_CHECKSUM,
					0);
		}
	for (unsigned worker = 0; worker < plane->dataplane->worker_count; worker++)
		for (unsigned i = 0; i < VERDICT_COUNT; i++)
			digest.verdicts[i] +=
				plane->dataplane->workers[worker]->counters.verdicts[i];
	for (unsigned i = 0; i < REASON_COUNT; i++)
		digest.drops[i] = plane_drops(plane, i);
	finish(plane);
	return digest;
}

static void
compare_counts(const struct digest *a, const struct digest *b)
{
	CU_ASSERT_EQUAL(a->count, b->count);
	CU_ASSERT_EQUAL(memcmp(a->verdicts, b->verdicts, sizeof(a->verdicts)), 0);
	for (unsigned i = 0; i < REASON_COUNT; i++) {
		if (a->drops[i] != b->drops[i])
			fprintf(stderr, "%s: %u and %u\n", reasons[i].name, (unsigned)a->drops[i],
				(unsigned)b->drops[i]);
		CU_ASSERT_EQUAL(a->drops[i], b->drops[i]);
	}
}

/*
 * Answers to what is refused overtake packets that are still on their way through a burst, so only
 * the set of frames is the same for a port to a qube; the uplink's order is kept to the frame.
 */
static void
test_bundling(void)
{
	for (unsigned seed = 1; seed <= 6; seed++) {
		struct digest single = run_mix(1, 1, seed);
		struct digest some = run_mix(7, 1, seed);
		struct digest many = run_mix(32, 1, seed);

		CU_ASSERT(single.count > MIX_FRAMES / 20);
		CU_ASSERT_EQUAL(single.set, some.set);
		CU_ASSERT_EQUAL(single.set, many.set);
		CU_ASSERT_EQUAL(single.ordered[PLANE_UPLINK], many.ordered[PLANE_UPLINK]);
		compare_counts(&single, &some);
		compare_counts(&single, &many);
	}
}

static void
test_workers(void)
{
	for (unsigned seed = 1; seed <= 6; seed++) {
		struct digest one = run_mix(1, 1, seed);
		struct digest two = run_mix(1, 2, seed);
		struct digest three = run_mix(32, 3, seed);

		/* how many answers there are depends on who gives them: each worker has a limit */
		CU_ASSERT_EQUAL(one.verdicts[VERDICT_FORWARD], two.verdicts[VERDICT_FORWARD]);
		CU_ASSERT_EQUAL(one.set, two.set);
		compare_counts(&one, &two);
		compare_counts(&one, &three);
	}
}

/* The ring to another worker is full: what does not fit is dropped, nothing is lost. */
static void
test_handover_full(void)
{
	struct plane *plane = plane_create(&(struct plane_options){.workers = 2});
	struct dataplane *dataplane = plane->dataplane;
	unsigned sent = 0;

	plane_resolve(plane);
	for (uint16_t i = 0; i < 4000; i++) {
		struct rte_mbuf *mbuf;
		struct frame_spec out =
			from_work(IPPROTO_UDP, REMOTE, (uint16_t)(2000 + i), (uint16_t)(i + 1));

		frame_build(&frame, &out);
		mbuf = frame_mbuf(dataplane->pool, frame.bytes, frame.length);
		packet_of(mbuf)->in_port = PLANE_WORK;
		plane->received++;
		/* without running the others */
		dataplane_receive(dataplane->workers[dataplane->ports[PLANE_WORK].owner],
			&dataplane->ports[PLANE_WORK], &mbuf, 1, plane->now_ms);
	}
	CU_ASSERT(plane_drops(plane, REASON_HANDOVER_FULL) > 100);
	plane_service(plane);
	while (plane_next(plane, PLANE_UPLINK) != NULL)
		sent++;
	CU_ASSERT_EQUAL(sent + plane_drops(plane, REASON_HANDOVER_FULL), 4000);
	finish(plane);
}

/* More frames for one port than its queue holds, and a reply for each of them. */
static void
test_full_queues(void)
{
	struct plane *plane = plane_ready(NULL);
	struct rte_mbuf *burst[BURST_MAX];
	struct frame_spec ping = from_work(IPPROTO_ICMP, PLANE_GATEWAY, 5, 0);

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < BURST_MAX; i++) {
			frame_build(&frame, &ping);
			burst[i] = frame_mbuf(plane->dataplane->pool, frame.bytes, frame.length);
		}
		plane_receive(plane, PLANE_WORK, burst, BURST_MAX);
		CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_WORK), BURST_MAX);
		plane_forget(plane);
	}
	finish(plane);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"TCP handshake", test_handshake},
		{"a qube's source on the uplink", test_downstream_source},
		{"UDP", test_udp},
		{"ping", test_ping},
		{"IPv6", test_ipv6},
		{"virtual DNS", test_dns},
		{"port clash", test_port_clash},
		{"packets wait for a neighbour", test_held},
		{"neighbours on the link", test_on_link},
		{"a neighbour that does not answer", test_neighbour_failed},
		{"neighbours that cannot be", test_neighbour_nonsense},
		{"waiting frames are copied", test_held_copies},
		{"a qube's MAC is learned", test_mac_learned},
		{"hop limit", test_ttl},
		{"too big", test_too_big},
		{"refusals", test_refusals},
		{"between qubes", test_inter_qube},
		{"the gateway itself", test_gateway},
		{"limit of answers", test_answer_limit},
		{"opened and closed in one burst", test_one_burst},
		{"bundling makes no difference", test_bundling},
		{"the number of workers makes no difference", test_workers},
		{"full hand-over ring", test_handover_full},
		{"full transmit queues", test_full_queues},
	};

	unit_eal();
	return UNIT_RUN("pipeline", tests);
}
