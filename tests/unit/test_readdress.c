/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The uplink gets another address, or none, under open flows: nothing is sent with the old one, who
 * cannot go on hears of it, and who can tell no difference goes on.
 */
#include "tests/unit/talk.h"

#define REMOTE "192.0.2.7"
#define REMOTE6 "2606:4700::7"
#define OTHER_ADDRESS "203.0.113.9"
#define OTHER_ROUTER "203.0.113.1"
#define OTHER_ADDRESS6 "fd00:70::9"

static const struct plane_options usual = {.more = "[forward web]\nforwardtype = external\n"
						   "proto = tcp\nsrcports = 8080\nqube = work\n"};

static struct live_uplink other, none;

/* The same plane with other addresses of the uplink. */
static struct plane_options
elsewhere(const struct live_uplink *uplink)
{
	struct plane_options options = usual;

	options.uplink = uplink;
	return options;
}

static void
others_make(void)
{
	enum family family;

	for (unsigned i = 0; i < FAMILIES; i++) {
		other.has[i] = true;
		other.has_gateway[i] = true;
	}
	(void)address_parse(OTHER_ADDRESS, &family, &other.address[FAMILY_IPV4]);
	(void)address_parse(OTHER_ROUTER, &family, &other.gateway[FAMILY_IPV4]);
	(void)prefix_parse("203.0.113.0/24", &family, &other.link[FAMILY_IPV4]);
	(void)address_parse(OTHER_ADDRESS6, &family, &other.address[FAMILY_IPV6]);
	(void)address_parse("fd00:70::1", &family, &other.gateway[FAMILY_IPV6]);
	(void)prefix_parse("fd00:70::/64", &family, &other.link[FAMILY_IPV6]);
}

/* Put another uplink in force, as app/uplink_change.c does, but for ending flows. */
static void
move(struct plane *plane, const struct live_uplink *uplink)
{
	struct plane_options options = elsewhere(uplink);
	struct neighbour_table *neighbours = plane->dataplane->ports[PLANE_UPLINK].neighbours;
	const struct policy_port *port;

	plane_commit(plane, &options);
	port = &atomic_load(&plane->dataplane->policy)->ports[PLANE_UPLINK];
	for (enum family family = 0; family < FAMILIES; family++)
		neighbour_pin(neighbours, family,
			port->has_gateway[family] ? &port->gateway[family] : NULL, 0);
	neighbour_forget(neighbours, plane->now_ms);
	plane_resolve(plane);
}

static void
connect_tcp(struct plane *plane, const char *remote, const char *uplink)
{
	struct say syn = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, remote, 443, SYN,
		.sequence = 100};
	struct say synack = {PLANE_UPLINK, IPPROTO_TCP, remote, 443, uplink, 4000, SYN | ACK,
		.sequence = 900, .acknowledgement = 101};
	struct say ack = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, remote, 443, ACK,
		.sequence = 101, .acknowledgement = 901};

	talk_send(plane, &syn);
	talk_send(plane, &synack);
	talk_send(plane, &ack);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 2);
	plane_forget(plane);
}

static bool
is_reset(void)
{
	struct frame_view view = frame_view(talk_frame.bytes, talk_frame.length);

	return (talk_frame.bytes[view.l4 + 13] & RST) != 0;
}

/* Datagrams go on: the next one opens a flow of the new address. */
static void
test_datagrams(void)
{
	struct plane *plane = talk_begin(&usual);
	struct say out = {PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 4000, REMOTE, 53, .type = 0};
	struct say back = {
		PLANE_UPLINK, IPPROTO_UDP, REMOTE, 53, PLANE_UPLINK_ADDRESS, 4000, .type = 0};
	struct say late = {PLANE_UPLINK, IPPROTO_UDP, REMOTE, 53, OTHER_ADDRESS, 4000, .type = 0};
	uint64_t held;

	talk_send(plane, &out);
	talk_expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 4000, REMOTE, 53);
	held = talk_held(plane);
	move(plane, &other);
	/* what comes to the old address is nobody's, and nobody hears of it */
	talk_send(plane, &back);
	talk_expect_drop(plane, REASON_NO_LONGER_ALLOWED, 1);
	CU_ASSERT_EQUAL(talk_held(plane), 0);
	talk_send(plane, &out);
	talk_expect(plane, PLANE_UPLINK, OTHER_ADDRESS, 4000, REMOTE, 53);
	talk_send(plane, &late);
	talk_expect(plane, PLANE_WORK, REMOTE, 53, PLANE_WORK_ADDRESS, 4000);
	CU_ASSERT_EQUAL(talk_held(plane), held);
	/* and without a word from outside in between: the packet itself passes */
	move(plane, NULL);
	talk_send(plane, &out);
	talk_expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 4000, REMOTE, 53);
	CU_ASSERT_EQUAL(talk_held(plane), held);
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 1);
	talk_end(plane);
}

static void
test_datagrams6_and_pings(void)
{
	struct plane *plane = talk_begin(&usual);
	struct say six = {
		PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS6, 4000, REMOTE6, 53, .type = 0};
	struct say ping = {PLANE_WORK, IPPROTO_ICMP, PLANE_WORK_ADDRESS, 7, REMOTE, 0, .type = 8};

	talk_send(plane, &six);
	talk_send(plane, &ping);
	plane_forget(plane);
	move(plane, &other);
	talk_send(plane, &six);
	talk_expect(plane, PLANE_UPLINK, OTHER_ADDRESS6, 4000, REMOTE6, 53);
	talk_send(plane, &ping);
	talk_expect(plane, PLANE_UPLINK, OTHER_ADDRESS, 0, REMOTE, 0);
	talk_end(plane);
}

/* A connection is reset at the qube, and the far end hears nothing. */
static void
test_connections(void)
{
	struct plane *plane = talk_begin(&usual);
	struct say data = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, REMOTE, 443, ACK,
		.sequence = 101, .acknowledgement = 901, .payload = 10};
	struct say late = {PLANE_UPLINK, IPPROTO_TCP, REMOTE, 443, PLANE_UPLINK_ADDRESS, 4000, ACK,
		.sequence = 901, .acknowledgement = 101, .payload = 10};
	struct say again = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4001, REMOTE, 443, SYN,
		.sequence = 100};

	connect_tcp(plane, REMOTE, PLANE_UPLINK_ADDRESS);
	move(plane, &other);
	talk_send(plane, &data);
	talk_expect(plane, PLANE_WORK, REMOTE, 443, PLANE_WORK_ADDRESS, 4000);
	CU_ASSERT(is_reset());
	talk_expect_drop(plane, REASON_NO_LONGER_ALLOWED, 1);
	/* whoever speaks to the old address, speaks to nobody */
	talk_send(plane, &late);
	talk_expect_drop(plane, REASON_FLOW_REFUSED, 1);
	talk_send(plane, &again);
	talk_expect(plane, PLANE_UPLINK, OTHER_ADDRESS, 4001, REMOTE, 443);
	talk_end(plane);
}

/* The same at once, as the control thread has it. */
static bool
stale_end(void *context, struct flow *flow)
{
	struct worker *worker = context;

	if (flow_is_stale(worker->policy, flow))
		flow_reset(worker, flow, 0);
	return true;
}

static void
test_at_once(void)
{
	struct plane *plane = talk_begin(&usual);
	struct worker *worker = plane->dataplane->workers[0];
	struct say out = {PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 4000, REMOTE, 53, .type = 0};
	uint32_t cursor = 0;

	connect_tcp(plane, REMOTE, PLANE_UPLINK_ADDRESS);
	talk_send(plane, &out);
	plane_forget(plane);
	move(plane, &other);
	plane_service(plane);
	while (flow_walk_some(worker->flows, &cursor, 64, stale_end, worker))
		;
	worker_flush(worker);
	talk_expect(plane, PLANE_WORK, REMOTE, 443, PLANE_WORK_ADDRESS, 4000);
	CU_ASSERT(is_reset());
	talk_expect_silence(plane);
	CU_ASSERT_EQUAL(flow_count(worker->flows), 1); /* the connection, refused */
	plane_wait(plane, 130000);
	CU_ASSERT_EQUAL(talk_held(plane), 0);
	plane_forget(plane); /* questions for the gateway */
	talk_end(plane);
}

static void
test_half_open(void)
{
	struct plane *plane = talk_begin(&usual);
	struct say syn = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, REMOTE, 443, SYN,
		.sequence = 100};

	talk_send(plane, &syn);
	talk_expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 4000, REMOTE, 443);
	move(plane, &other);
	talk_send(plane, &syn);
	talk_expect(plane, PLANE_UPLINK, OTHER_ADDRESS, 4000, REMOTE, 443);
	talk_end(plane);
}

/* A forward listens on the new address, and what came in to the old one ends. */
static void
test_forward(void)
{
	struct plane *plane = talk_begin(&usual);
	struct say syn = {PLANE_UPLINK, IPPROTO_TCP, REMOTE, 5000, PLANE_UPLINK_ADDRESS, 8080, SYN,
		.sequence = 100};
	struct say synack = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 8080, REMOTE, 5000,
		SYN | ACK, .sequence = 900, .acknowledgement = 101};
	struct say ack = {PLANE_UPLINK, IPPROTO_TCP, REMOTE, 5000, PLANE_UPLINK_ADDRESS, 8080, ACK,
		.sequence = 101, .acknowledgement = 901};
	struct say data = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 8080, REMOTE, 5000, ACK,
		.sequence = 901, .acknowledgement = 101, .payload = 9};

	talk_send(plane, &syn);
	talk_send(plane, &synack);
	talk_send(plane, &ack);
	plane_forget(plane);
	move(plane, &other);
	talk_send(plane, &data);
	talk_expect(plane, PLANE_WORK, REMOTE, 5000, PLANE_WORK_ADDRESS, 8080);
	CU_ASSERT(is_reset());
	talk_expect_drop(plane, REASON_NO_LONGER_ALLOWED, 1);
	syn.source_port = 5001;
	talk_send(plane, &syn);
	talk_expect_drop(plane, REASON_NO_FLOW, 1);
	syn.destination = OTHER_ADDRESS;
	talk_send(plane, &syn);
	talk_expect(plane, PLANE_WORK, REMOTE, 5001, PLANE_WORK_ADDRESS, 8080);
	talk_end(plane);
}

/* Without an address there is no route; with the same one again, all is as it was. */
static void
test_without_an_address(void)
{
	struct plane *plane = talk_begin(&usual);
	struct say data = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, REMOTE, 443, ACK,
		.sequence = 101, .acknowledgement = 901, .payload = 10};
	struct say out = {PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 4000, REMOTE, 53, .type = 0};
	struct say late = {PLANE_UPLINK, IPPROTO_TCP, REMOTE, 443, PLANE_UPLINK_ADDRESS, 4000, ACK,
		.sequence = 901, .acknowledgement = 101, .payload = 10};
	struct say fresh = {
		PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 4444, REMOTE, 53, .type = 0};

	connect_tcp(plane, REMOTE, PLANE_UPLINK_ADDRESS);
	talk_send(plane, &out);
	plane_forget(plane);
	move(plane, &none);
	talk_send(plane, &data);
	talk_expect_refusal(plane, PLANE_WORK, 3, 0, REASON_NO_ROUTE, 1);
	talk_send(plane, &out);
	talk_expect_refusal(plane, PLANE_WORK, 3, 0, REASON_NO_ROUTE, 2);
	talk_send(plane, &fresh);
	talk_expect_refusal(plane, PLANE_WORK, 3, 0, REASON_NO_ROUTE, 3);
	/* nobody outside hears of it */
	talk_send(plane, &late);
	talk_expect_drop(plane, REASON_NO_ROUTE, 4);
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 2);
	move(plane, NULL);
	talk_send(plane, &data);
	talk_expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 4000, REMOTE, 443);
	CU_ASSERT(!is_reset());
	talk_send(plane, &out);
	talk_expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 4000, REMOTE, 53);
	talk_end(plane);
}

/* What waits for a gateway is not sent to another one with the address of before. */
static void
test_held(void)
{
	struct plane *plane = plane_create(&usual);
	struct say out = {PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 4000, REMOTE, 53, .type = 0};

	talk_send(plane, &out);
	CU_ASSERT_EQUAL(plane_held(plane), 1);
	plane_forget(plane); /* the question for the gateway */
	move(plane, &other);
	plane_service(plane);
	talk_expect(plane, PLANE_UPLINK, OTHER_ADDRESS, 4000, REMOTE, 53);
	talk_end(plane);
}

/* Another gateway in the same network: flows go on, by way of it. */
static void
test_gateway(void)
{
	static const uint8_t second_mac[6] = {0x02, 0xbb, 0, 0, 0, 0x02};
	struct plane *plane = talk_begin(&usual);
	struct say out = {PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 4000, REMOTE, 53, .type = 0};
	struct say near = {
		PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 4000, "192.168.50.200", 53, .type = 0};
	struct policy *policy = atomic_load(&plane->dataplane->policy);
	struct live_uplink uplink = {0};
	struct neighbour_table *neighbours = plane->dataplane->ports[PLANE_UPLINK].neighbours;
	uint64_t mac = 0;
	enum family family;

	talk_send(plane, &out);
	talk_send(plane, &near); /* asks for its neighbour */
	plane_forget(plane);
	uplink.has[FAMILY_IPV4] = true;
	uplink.address[FAMILY_IPV4] = policy->ports[PLANE_UPLINK].address[FAMILY_IPV4];
	(void)prefix_parse("192.168.50.0/25", &family, &uplink.link[FAMILY_IPV4]);
	uplink.has_gateway[FAMILY_IPV4] = true;
	(void)address_parse("192.168.50.99", &family, &uplink.gateway[FAMILY_IPV4]);
	move(plane, &uplink);
	plane_wait(plane, 4000); /* who waited for a neighbour has given up */
	plane_forget(plane);
	memcpy(&mac, second_mac, sizeof(second_mac));
	neighbour_learn(neighbours, FAMILY_IPV4, mac, plane->now_ms);
	talk_send(plane, &out);
	talk_expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 4000, REMOTE, 53);
	CU_ASSERT_EQUAL(memcmp(talk_frame.bytes, second_mac, 6), 0);
	/* who was on the link is behind the gateway now */
	talk_send(plane, &near);
	talk_expect(plane, PLANE_UPLINK, PLANE_UPLINK_ADDRESS, 4000, "192.168.50.200", 53);
	CU_ASSERT_EQUAL(memcmp(talk_frame.bytes, second_mac, 6), 0);
	CU_ASSERT_EQUAL(flow_count(plane->dataplane->workers[0]->flows), 2);
	talk_end(plane);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"datagrams go on with the new address", test_datagrams},
		{"so do those of IPv6, and pings", test_datagrams6_and_pings},
		{"connections are reset at the qube alone", test_connections},
		{"at once", test_at_once},
		{"a handshake begins again", test_half_open},
		{"forwards listen on the new address", test_forward},
		{"without an address there is no route", test_without_an_address},
		{"what waited for the gateway", test_held},
		{"another gateway and another link", test_gateway},
	};

	unit_eal();
	others_make();
	return UNIT_RUN("readdress", tests);
}
