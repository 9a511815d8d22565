/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our own kernel behind the host port: a client with the uplink's addresses, and what it says to
 * configure them.
 */
#include "classifier/configuring.h"
#include "tests/unit/talk.h"

#define REMOTE "192.0.2.7"
#define REMOTE6 "2606:4700::7"
#define HOST PLANE_UPLINK_ADDRESS
#define HOST6 PLANE_UPLINK_ADDRESS6
#define ROUTER_LOCAL "fe80::2"
#define HOST_LOCAL "fe80::ff"

static const char more[] = "[allow look]\nfrom = host\nto = personal\n"
			   "[forward proxy]\nforwardtype = internal\nproto = tcp\n"
			   "srcports = 8082\ndstports = 8888\nqube = host\n"
			   "[forward ssh]\nforwardtype = external\nproto = tcp\n"
			   "srcports = 2222\ndstports = 22\nqube = host\n";

static const struct plane_options usual = {.host = true, .more = more};

/* With so many workers. The qubes' and the host's own packets meet on one. */
static struct plane_options
with_workers(unsigned workers)
{
	struct plane_options options = usual;

	options.workers = workers;
	return options;
}

static void
test_out(void)
{
	struct plane *plane = talk_begin(&usual);
	struct say host = {PLANE_HOST, IPPROTO_UDP, HOST, 4000, REMOTE, 53, .type = 0};
	struct say work = {
		PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 4000, REMOTE, 53, .type = 0};
	struct say back = {PLANE_UPLINK, IPPROTO_UDP, REMOTE, 53, HOST, 4000, .type = 0};
	struct say ping = {PLANE_HOST, IPPROTO_ICMP, HOST, 7, REMOTE, 0, .type = 8};
	struct say six = {PLANE_HOST, IPPROTO_UDP, HOST6, 4000, REMOTE6, 53, .type = 0};
	struct frame_view view;

	/* its port is its own as long as nobody else has it */
	talk_send(plane, &host);
	talk_expect(plane, PLANE_UPLINK, HOST, 4000, REMOTE, 53);
	talk_send(plane, &back);
	talk_expect(plane, PLANE_HOST, REMOTE, 53, HOST, 4000);
	CU_ASSERT_EQUAL(memcmp(talk_frame.bytes, plane_uplink_mac, 6), 0);
	CU_ASSERT_EQUAL(memcmp(talk_frame.bytes + 6, plane_vif_mac, 6), 0);
	/* a qube's flow with the same ports gets another one */
	talk_send(plane, &work);
	talk_frame = plane_next(plane, PLANE_UPLINK)->frame;
	view = frame_view(talk_frame.bytes, talk_frame.length);
	CU_ASSERT_NOT_EQUAL(view.source_port, 4000);
	back.destination_port = view.source_port;
	talk_send(plane, &back);
	talk_expect(plane, PLANE_WORK, REMOTE, 53, PLANE_WORK_ADDRESS, 4000);
	talk_send(plane, &ping);
	talk_expect(plane, PLANE_UPLINK, HOST, 0, REMOTE, 0);
	talk_send(plane, &six);
	talk_expect(plane, PLANE_UPLINK, HOST6, 4000, REMOTE6, 53);
	/* only as itself */
	host.source = PLANE_WORK_ADDRESS;
	talk_send(plane, &host);
	talk_expect_drop(plane, REASON_SOURCE_ADDRESS, 1);
	talk_end(plane);
}

/* Whoever had the port first keeps it. */
static void
test_port_taken(void)
{
	struct plane *plane = talk_begin(&usual);
	struct say host = {PLANE_HOST, IPPROTO_TCP, HOST, 4000, REMOTE, 443, SYN, .sequence = 1};
	struct say work = {
		PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, REMOTE, 443, SYN, .sequence = 1};
	struct say back = {PLANE_UPLINK, IPPROTO_TCP, REMOTE, 443, HOST, 0, SYN | ACK,
		.sequence = 900, .acknowledgement = 2};
	struct frame_view view;

	talk_send(plane, &work);
	talk_expect(plane, PLANE_UPLINK, HOST, 4000, REMOTE, 443);
	talk_send(plane, &host);
	talk_frame = plane_next(plane, PLANE_UPLINK)->frame;
	view = frame_view(talk_frame.bytes, talk_frame.length);
	CU_ASSERT_NOT_EQUAL(view.source_port, 4000);
	back.destination_port = view.source_port;
	talk_send(plane, &back);
	talk_expect(plane, PLANE_HOST, REMOTE, 443, HOST, 4000);
	talk_end(plane);
}

static void
test_unsolicited(void)
{
	struct plane *plane = talk_begin(&usual);
	struct say udp = {PLANE_UPLINK, IPPROTO_UDP, REMOTE, 53, HOST, 4000, .type = 0};
	struct say tcp = {PLANE_UPLINK, IPPROTO_TCP, REMOTE, 53, HOST, 22, SYN, .type = 0};
	struct say ping = {PLANE_UPLINK, IPPROTO_ICMP, REMOTE, 7, HOST, 0, .type = 8};
	struct say self = {PLANE_UPLINK, IPPROTO_UDP, HOST, 4000, REMOTE, 53, .type = 0};
	struct say out = {PLANE_HOST, IPPROTO_UDP, HOST, 4000, REMOTE, 53, .type = 0};

	talk_send(plane, &udp);
	talk_send(plane, &tcp);
	talk_send(plane, &ping);
	talk_expect_drop(plane, REASON_NO_FLOW, 3);
	/* nor is anybody there taken for the host */
	talk_send(plane, &out);
	talk_expect(plane, PLANE_UPLINK, HOST, 4000, REMOTE, 53);
	talk_send(plane, &self);
	talk_expect_drop(plane, REASON_DOWNSTREAM_SOURCE, 1);
	talk_end(plane);
}

static void
test_qubes(unsigned workers)
{
	struct plane_options options = with_workers(workers);
	struct plane *plane = talk_begin(&options);
	struct say refused = {
		PLANE_HOST, IPPROTO_UDP, HOST, 4000, PLANE_WORK_ADDRESS, 53, .type = 0};
	struct say udp = {
		PLANE_HOST, IPPROTO_UDP, HOST, 4000, PLANE_PERSONAL_ADDRESS, 53, .type = 0};
	struct say udp_back = {PLANE_PERSONAL, IPPROTO_UDP, PLANE_PERSONAL_ADDRESS, 53,
		PLANE_GATEWAY, 4000, .type = 0};
	struct say ping = {PLANE_HOST, IPPROTO_ICMP, HOST, 7, PLANE_PERSONAL_ADDRESS, 0, .type = 8};
	struct say pong = {PLANE_PERSONAL, IPPROTO_ICMP, PLANE_PERSONAL_ADDRESS, 7, PLANE_GATEWAY,
		0, .type = 0};
	struct say other = {
		PLANE_WORK, IPPROTO_ICMP, PLANE_WORK_ADDRESS, 7, PLANE_GATEWAY, 0, .type = 0};

	talk_send(plane, &refused);
	talk_expect_drop(plane, REASON_INTER_QUBE, 1);
	/* qubes know it by the gateway's address */
	for (uint16_t i = 0; i < 20; i++) {
		udp.source_port = udp_back.destination_port = (uint16_t)(4000 + i);
		udp.destination_port = udp_back.source_port = (uint16_t)(53 + i);
		talk_send(plane, &udp);
		talk_expect(plane, PLANE_PERSONAL, PLANE_GATEWAY, udp.source_port,
			PLANE_PERSONAL_ADDRESS, udp.destination_port);
		talk_send(plane, &udp_back);
		talk_expect(plane, PLANE_HOST, PLANE_PERSONAL_ADDRESS, udp.destination_port, HOST,
			udp.source_port);
	}
	talk_send(plane, &ping);
	talk_expect(plane, PLANE_PERSONAL, PLANE_GATEWAY, 0, PLANE_PERSONAL_ADDRESS, 0);
	talk_send(plane, &pong);
	talk_expect(plane, PLANE_HOST, PLANE_PERSONAL_ADDRESS, 0, HOST, 0);
	talk_send(plane, &other);
	talk_expect_drop(plane, REASON_LOCAL_IGNORED, 1);
	talk_end(plane);
}

static void
test_forwards(unsigned workers)
{
	static const char *const ours[] = {PLANE_GATEWAY, PLANE_UPLINK_ADDRESS};
	struct plane_options options = with_workers(workers);
	struct plane *plane = talk_begin(&options);
	struct say syn = {
		PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 0, NULL, 8082, SYN, .sequence = 1};
	struct say synack = {PLANE_HOST, IPPROTO_TCP, HOST, 8888, PLANE_WORK_ADDRESS, 0, SYN | ACK,
		.sequence = 900, .acknowledgement = 2};
	struct say outside = {
		PLANE_UPLINK, IPPROTO_TCP, REMOTE, 5000, HOST, 2222, SYN, .sequence = 1};
	struct say answer = {PLANE_HOST, IPPROTO_TCP, HOST, 22, REMOTE, 5000, SYN | ACK,
		.sequence = 900, .acknowledgement = 2};

	for (uint16_t i = 0; i < 20; i++) {
		syn.source_port = synack.destination_port = (uint16_t)(4000 + i);
		syn.destination = ours[i % 2];
		talk_send(plane, &syn);
		talk_expect(plane, PLANE_HOST, PLANE_WORK_ADDRESS, syn.source_port, HOST, 8888);
		talk_send(plane, &synack);
		talk_expect(
			plane, PLANE_WORK, ours[i % 2], 8082, PLANE_WORK_ADDRESS, syn.source_port);
	}
	talk_send(plane, &outside);
	talk_expect(plane, PLANE_HOST, REMOTE, 5000, HOST, 22);
	talk_send(plane, &answer);
	talk_expect(plane, PLANE_UPLINK, HOST, 2222, REMOTE, 5000);
	talk_end(plane);
}

/* A qube's rules speak of the address that it speaks to. */
static void
test_rules(void)
{
	struct plane_options options = {.host = true,
		.more = more,
		.rules = "policy=drop\naction=accept dst4=" PLANE_GATEWAY
			 " proto=tcp dstports=8082-8082\n"};
	struct plane *plane = talk_begin(&options);
	struct say syn = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, PLANE_GATEWAY, 8082,
		SYN, .sequence = 1};

	talk_send(plane, &syn);
	talk_expect(plane, PLANE_HOST, PLANE_WORK_ADDRESS, 4000, HOST, 8888);
	syn.destination = PLANE_UPLINK_ADDRESS;
	syn.source_port++;
	talk_send(plane, &syn);
	talk_expect_refusal(plane, PLANE_WORK, 3, 13, REASON_POLICY, 1);
	talk_end(plane);
}

static void
test_qubes_one(void)
{
	test_qubes(1);
	test_forwards(1);
}

static void
test_qubes_many(void)
{
	test_qubes(3);
	test_forwards(3);
}

/* Requests for anybody but itself are answered with our MAC; what it asks for itself is not. */
static void
test_arp(void)
{
	struct plane *plane = talk_begin(&usual);

	frame_arp(&talk_frame, 1, plane_broadcast, plane_uplink_mac, HOST, PLANE_ROUTER);
	plane_send(plane, PLANE_HOST, &talk_frame);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_HOST), 1);
	talk_frame = plane_next(plane, PLANE_HOST)->frame;
	CU_ASSERT_EQUAL(memcmp(talk_frame.bytes + 22, plane_vif_mac, 6), 0);
	frame_arp(&talk_frame, 1, plane_broadcast, plane_uplink_mac, "0.0.0.0", HOST);
	plane_send(plane, PLANE_HOST, &talk_frame);
	frame_arp(&talk_frame, 1, plane_broadcast, plane_uplink_mac, HOST, HOST);
	plane_send(plane, PLANE_HOST, &talk_frame);
	frame_arp(&talk_frame, 1, plane_broadcast, plane_uplink_mac, "192.168.50.99", PLANE_ROUTER);
	plane_send(plane, PLANE_HOST, &talk_frame);
	talk_expect_drop(plane, REASON_ARP, 1);
	talk_end(plane);
}

/* DHCP. */

struct dhcp {
	uint16_t in_port;
	const char *source, *destination;
	uint16_t source_port, destination_port;
	uint8_t op, hardware, hardware_length;
	uint32_t id;
	const uint8_t *mac;
	const uint8_t *to, *from; /* MACs of the frame */
	bool no_cookie;
	uint16_t length; /* of the payload */
};

static const struct dhcp discover = {PLANE_HOST, "0.0.0.0", "255.255.255.255", 68, 67, 1, 1, 6, 7,
	plane_uplink_mac, plane_broadcast, plane_uplink_mac, false, 300};
static const struct dhcp offer = {PLANE_UPLINK, PLANE_ROUTER, "255.255.255.255", 67, 68, 2, 1, 6, 7,
	plane_uplink_mac, plane_broadcast, plane_router_mac, false, 300};

static void
dhcp_send(struct plane *plane, const struct dhcp *dhcp)
{
	static const uint8_t cookie[4] = {0x63, 0x82, 0x53, 0x63};
	const struct frame_spec spec = {.destination_mac = dhcp->to,
		.source_mac = dhcp->from,
		.source = dhcp->source,
		.destination = dhcp->destination,
		.protocol = IPPROTO_UDP,
		.source_port = dhcp->source_port,
		.destination_port = dhcp->destination_port,
		.payload = dhcp->length};
	struct frame_view view;
	uint8_t *body;

	frame_build(&talk_frame, &spec);
	view = frame_view(talk_frame.bytes, talk_frame.length);
	body = talk_frame.bytes + view.l4 + 8;
	if (dhcp->length >= 240) {
		body[0] = dhcp->op;
		body[1] = dhcp->hardware;
		body[2] = dhcp->hardware_length;
		memcpy(body + 4, &dhcp->id, 4);
		memcpy(body + 28, dhcp->mac, 6);
		if (!dhcp->no_cookie)
			memcpy(body + 236, cookie, sizeof(cookie));
	}
	frame_fix(talk_frame.bytes, talk_frame.length);
	plane_send(plane, dhcp->in_port, &talk_frame);
}

/* The last frame that was sent has come out as it went in. */
static void
expect_same(struct plane *plane, uint16_t port)
{
	struct sent *sent = plane_next(plane, port);

	CU_ASSERT_PTR_NOT_NULL(sent);
	if (sent == NULL)
		return;
	CU_ASSERT_EQUAL(sent->frame.length, talk_frame.length);
	CU_ASSERT_EQUAL(memcmp(sent->frame.bytes, talk_frame.bytes, talk_frame.length), 0);
	talk_expect_silence(plane);
}

static void
test_dhcp(void)
{
	static const struct live_uplink nothing;
	struct plane_options options = usual;
	struct dhcp again = offer;
	struct plane *plane;

	options.uplink = &nothing;
	plane = talk_begin(&options);
	/* nobody has asked */
	dhcp_send(plane, &offer);
	talk_expect_drop(plane, REASON_NO_FLOW, 1);
	dhcp_send(plane, &discover);
	expect_same(plane, PLANE_UPLINK);
	dhcp_send(plane, &offer);
	expect_same(plane, PLANE_HOST);
	/* to the address that is on offer */
	again.destination = HOST;
	again.to = plane_uplink_mac;
	dhcp_send(plane, &again);
	expect_same(plane, PLANE_HOST);
	/* another question of another client */
	again.id = 8;
	dhcp_send(plane, &again);
	talk_expect_drop(plane, REASON_NO_FLOW, 2);
	/* long ago */
	plane_wait(plane, 119000);
	plane_forget(plane);
	dhcp_send(plane, &offer);
	expect_same(plane, PLANE_HOST);
	plane_wait(plane, 2000);
	plane_forget(plane);
	dhcp_send(plane, &offer);
	talk_expect_drop(plane, REASON_NO_FLOW, 3);
	talk_end(plane);
}

/* What deviates in anything is no such message. */
static void
test_dhcp_malformed(void)
{
	struct plane *plane = talk_begin(&usual);
	struct dhcp bad[2][9];
	uint64_t drops = 0;

	for (unsigned i = 0; i < 9; i++) {
		bad[0][i] = discover;
		bad[1][i] = offer;
	}
	for (unsigned side = 0; side < 2; side++) {
		bad[side][0].op = side == 0 ? 2 : 1;
		bad[side][1].hardware = 6;
		bad[side][2].hardware_length = 16;
		bad[side][3].no_cookie = true;
		bad[side][4].length = 239;
		bad[side][5].source_port++;
		bad[side][6].destination_port++;
		bad[side][7].length = 0;
	}
	bad[0][8].destination = "255.255.255.254";
	bad[1][8].mac = plane_qube_mac;
	dhcp_send(plane, &discover);
	expect_same(plane, PLANE_UPLINK);
	for (unsigned side = 0; side < 2; side++)
		for (unsigned i = 0; i < 9; i++) {
			dhcp_send(plane, &bad[side][i]);
			talk_expect_silence(plane);
		}
	for (unsigned reason = 1; reason < REASON_COUNT; reason++)
		drops += plane_drops(plane, reason);
	CU_ASSERT_EQUAL(drops, 18);
	/* as somebody of ours, or to another station */
	bad[1][0] = offer;
	bad[1][0].source = PLANE_WORK_ADDRESS;
	dhcp_send(plane, &bad[1][0]);
	bad[1][1] = offer;
	bad[1][1].to = plane_qube_mac;
	dhcp_send(plane, &bad[1][1]);
	talk_expect_drop(plane, REASON_OTHER_MAC, 1);
	talk_end(plane);
}

/* A lease is renewed by ordinary packets to the server; its answer comes to the same port. */
static void
test_dhcp_renewal(void)
{
	struct plane *plane = talk_begin(&usual);
	struct dhcp renew = discover, ack = offer;

	renew.source = HOST;
	renew.destination = PLANE_ROUTER;
	renew.to = plane_vif_mac;
	dhcp_send(plane, &renew);
	talk_expect(plane, PLANE_UPLINK, HOST, 68, PLANE_ROUTER, 67);
	ack.destination = HOST;
	ack.to = plane_uplink_mac;
	dhcp_send(plane, &ack);
	expect_same(plane, PLANE_HOST);
	talk_end(plane);
}

static void
test_rate(void)
{
	struct plane *plane = talk_begin(&usual);
	unsigned passed = 0;

	plane_wait(plane, 1000 - plane->now_ms % 1000); /* a second begins */
	for (unsigned i = 0; i < 200; i++)
		dhcp_send(plane, &discover);
	passed = plane_waiting(plane, PLANE_UPLINK);
	CU_ASSERT_EQUAL(passed, 64);
	plane_forget(plane);
	for (unsigned i = 0; i < 200; i++)
		dhcp_send(plane, &offer);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_HOST), 64);
	plane_forget(plane);
	plane_wait(plane, 1000);
	dhcp_send(plane, &offer);
	expect_same(plane, PLANE_HOST);
	talk_end(plane);
}

/* Nothing of it passes where the host does not configure the uplink. */
static void
test_not_configuring(void)
{
	struct plane_options options = {.more = "[port host]\ndevice = tap:host\nrole = host\n"};
	struct plane *plane = talk_begin(&options);

	neighbour_learn(plane->dataplane->ports[PLANE_HOST].neighbours, NEIGHBOUR_PEER,
		(uint64_t)plane_uplink_mac[0] | (uint64_t)plane_uplink_mac[5] << 40, 0);
	dhcp_send(plane, &discover);
	talk_expect_silence(plane);
	dhcp_send(plane, &offer);
	talk_expect_silence(plane);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_MARTIAN_DESTINATION), 2);
	talk_end(plane);
}

/* IPv6. */

static void
icmp6_send(struct plane *plane, uint16_t port, const char *source, const char *destination,
	uint8_t type, uint8_t hop_limit, const char *target)
{
	static const uint8_t all[6] = {0x33, 0x33, 0, 0, 0, 1};
	const struct frame_spec spec = {.destination_mac = all,
		.source_mac = port == PLANE_HOST ? plane_uplink_mac : plane_router_mac,
		.source = source,
		.destination = destination,
		.protocol = IPPROTO_ICMPV6,
		.ttl = hop_limit,
		.type = type,
		.payload = 24};
	struct frame_view view;
	union address address;
	enum family family;

	frame_build(&talk_frame, &spec);
	view = frame_view(talk_frame.bytes, talk_frame.length);
	memset(talk_frame.bytes + view.l4 + 4, 0, view.end - view.l4 - 4);
	if (target != NULL) {
		CU_ASSERT_EQUAL(address_parse(target, &family, &address), 0);
		memcpy(talk_frame.bytes + view.l4 + 8, &address, sizeof(address));
		talk_frame.bytes[view.l4 + 24] = type == 136 ? 2 : 14; /* an option */
		talk_frame.bytes[view.l4 + 25] = 1;
	}
	frame_fix(talk_frame.bytes, talk_frame.length);
	plane_send(plane, port, &talk_frame);
}

static void
test_discovery(void)
{
	struct plane *plane = talk_begin(&usual);

	/* is there a router? */
	icmp6_send(plane, PLANE_HOST, "::", "ff02::2", 133, 255, NULL);
	expect_same(plane, PLANE_UPLINK);
	icmp6_send(plane, PLANE_HOST, HOST_LOCAL, "ff02::2", 133, 255, NULL);
	expect_same(plane, PLANE_UPLINK);
	icmp6_send(plane, PLANE_UPLINK, ROUTER_LOCAL, "ff02::1", 134, 255, NULL);
	expect_same(plane, PLANE_HOST);
	icmp6_send(plane, PLANE_UPLINK, ROUTER_LOCAL, HOST_LOCAL, 134, 255, NULL);
	expect_same(plane, PLANE_HOST);
	/* may I have this address? no */
	icmp6_send(plane, PLANE_HOST, "::", "ff02::1:ff00:ff", 135, 255, HOST_LOCAL);
	expect_same(plane, PLANE_UPLINK);
	icmp6_send(plane, PLANE_UPLINK, HOST_LOCAL, "ff02::1", 136, 255, HOST_LOCAL);
	expect_same(plane, PLANE_HOST);
	/* who has it? */
	icmp6_send(plane, PLANE_UPLINK, ROUTER_LOCAL, "ff02::1:ff00:ff", 135, 255, HOST_LOCAL);
	expect_same(plane, PLANE_HOST);
	icmp6_send(plane, PLANE_HOST, HOST_LOCAL, ROUTER_LOCAL, 136, 255, HOST_LOCAL);
	expect_same(plane, PLANE_UPLINK);
	/* who is that router? we are */
	icmp6_send(plane, PLANE_HOST, HOST_LOCAL, "ff02::1:ff00:2", 135, 255, ROUTER_LOCAL);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_HOST), 1);
	plane_forget(plane);
	talk_end(plane);
}

static void
test_discovery_refused(void)
{
	static const struct {
		uint16_t port;
		const char *source, *destination;
		uint8_t type, hop_limit;
		const char *target;
	} cases[] = {
		/* from further away than the link */
		{PLANE_HOST, "::", "ff02::2", 133, 254, NULL},
		{PLANE_UPLINK, ROUTER_LOCAL, "ff02::1", 134, 64, NULL},
		{PLANE_UPLINK, ROUTER_LOCAL, "ff02::1:ff00:ff", 135, 64, HOST_LOCAL},
		/* in a role that is another's */
		{PLANE_UPLINK, ROUTER_LOCAL, "ff02::2", 133, 255, NULL},
		{PLANE_HOST, HOST_LOCAL, "ff02::1", 134, 255, NULL},
		{PLANE_UPLINK, ROUTER_LOCAL, HOST_LOCAL, 137, 255, HOST_LOCAL},
		{PLANE_HOST, HOST_LOCAL, "ff02::1", 137, 255, HOST_LOCAL},
		/* routers are known by their link-local addresses */
		{PLANE_UPLINK, PLANE_ROUTER6, "ff02::1", 134, 255, NULL},
		{PLANE_UPLINK, "::", "ff02::1", 134, 255, NULL},
		/* no address that anybody could have, or not on this link */
		{PLANE_HOST, "::", "ff02::1:ff00:ff", 135, 255, "ff02::7"},
		{PLANE_UPLINK, ROUTER_LOCAL, "ff02::1:ff00:ff", 135, 255, "ff02::7"},
		{PLANE_HOST, "::", "2001:db8::7", 135, 255, HOST_LOCAL},
		{PLANE_UPLINK, ROUTER_LOCAL, "ff02::1:ff00:ff", 135, 255, "2001:db8::7"},
		{PLANE_HOST, "2001:db8::7", "ff02::2", 133, 255, NULL},
	};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct plane *plane = talk_begin(&usual);

		icmp6_send(plane, cases[i].port, cases[i].source, cases[i].destination,
			cases[i].type, cases[i].hop_limit, cases[i].target);
		if (plane_waiting(plane, PLANE_HOST) + plane_waiting(plane, PLANE_UPLINK) != 0)
			printf("\n    case %u passes\n", i);
		talk_end(plane);
	}
}

static void
test_dhcpv6(void)
{
	struct plane *plane = talk_begin(&usual);
	struct frame_spec ask = {.destination_mac = (const uint8_t[]){0x33, 0x33, 0, 1, 0, 2},
		.source_mac = plane_uplink_mac,
		.source = HOST_LOCAL,
		.destination = "ff02::1:2",
		.protocol = IPPROTO_UDP,
		.source_port = 546,
		.destination_port = 547,
		.payload = 20};
	struct frame_spec answer = {.destination_mac = plane_uplink_mac,
		.source_mac = plane_router_mac,
		.source = ROUTER_LOCAL,
		.destination = HOST_LOCAL,
		.protocol = IPPROTO_UDP,
		.source_port = 547,
		.destination_port = 546,
		.payload = 20};
	struct frame question, reply;
	struct frame_view view;

	frame_build(&question, &ask);
	frame_build(&reply, &answer);
	view = frame_view(question.bytes, question.length);
	memcpy(question.bytes + view.l4 + 8, "\1abc", 4);
	memcpy(reply.bytes + view.l4 + 8, "\2abc", 4);
	frame_fix(question.bytes, question.length);
	frame_fix(reply.bytes, reply.length);
	talk_frame = reply;
	plane_send(plane, PLANE_UPLINK, &talk_frame);
	talk_expect_silence(plane);
	talk_frame = question;
	plane_send(plane, PLANE_HOST, &talk_frame);
	expect_same(plane, PLANE_UPLINK);
	talk_frame = reply;
	plane_send(plane, PLANE_UPLINK, &talk_frame);
	expect_same(plane, PLANE_HOST);
	/* another type, and another number */
	talk_frame.bytes[view.l4 + 8] = 10;
	frame_fix(talk_frame.bytes, talk_frame.length);
	plane_send(plane, PLANE_UPLINK, &talk_frame);
	talk_expect_silence(plane);
	talk_frame.bytes[view.l4 + 8] = 7;
	talk_frame.bytes[view.l4 + 11]++;
	frame_fix(talk_frame.bytes, talk_frame.length);
	plane_send(plane, PLANE_UPLINK, &talk_frame);
	talk_expect_silence(plane);
	talk_end(plane);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"out, as a client like others", test_out},
		{"a port that a qube has already", test_port_taken},
		{"nothing that nobody asked for", test_unsolicited},
		{"qubes and the host", test_qubes_one},
		{"with three workers", test_qubes_many},
		{"rules about the host", test_rules},
		{"ARP", test_arp},
		{"DHCP passes as it is, to who asked", test_dhcp},
		{"DHCP that is none", test_dhcp_malformed},
		{"renewing a lease", test_dhcp_renewal},
		{"not too many", test_rate},
		{"not without being asked to configure", test_not_configuring},
		{"IPv6 discovery passes", test_discovery},
		{"and nothing that looks like it", test_discovery_refused},
		{"DHCPv6", test_dhcpv6},
	};

	unit_eal();
	return UNIT_RUN("host", tests);
}
