/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guard at its edges: for every reason it knows, the wrong frame next to the right one. Each
 * row is one frame on one port, as a qube or a machine on the uplink would send it.
 */
#include "classifier/guard.h"
#include "classifier/parse.h"
#include "tests/unit/plane.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>

static struct plane *plane;
static const struct policy *policy;
static struct frame frame;

static const uint8_t other_mac[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};
static const uint8_t group_mac[6] = {0x01, 0x00, 0x5e, 0, 0, 1};
static const uint8_t zero_mac[6];

static struct guard_port
port_of(uint16_t index)
{
	return (struct guard_port){
		.index = index,
		.own_mac = mac_word(index == PLANE_UPLINK ? plane_uplink_mac : plane_vif_mac),
		.peer_mac = index == PLANE_UPLINK ? 0 : mac_word(plane_qube_mac),
	};
}

/* What the guard says of `frame` on a port, which must be good to the parser. */
static enum reason
guarded(const struct guard_port *port, struct packet *packet)
{
	struct rte_mbuf *mbuf = frame_mbuf_tight(plane->dataplane->pool, frame.bytes, frame.length);
	struct guard_port own = *port;
	unsigned passed;

	CU_ASSERT_EQUAL(parse_burst(&mbuf, 1), 1);
	passed = guard_burst(policy, &own, &mbuf, 1);
	*packet = *packet_of(mbuf);
	CU_ASSERT_EQUAL(passed, packet->reason == REASON_NONE ? 1 : 0);
	/* whoever is told that a burst is plain looks for none of these */
	CU_ASSERT_EQUAL(own.special, passed == 1 && packet_is_special(packet));
	CU_ASSERT_EQUAL(
		packet->qube, port->index == PLANE_UPLINK ? QUBE_NONE : port->index - PLANE_WORK);
	rte_pktmbuf_free(mbuf);
	return packet->reason;
}

static enum reason
reason_on(uint16_t index)
{
	struct guard_port port = port_of(index);
	struct packet packet;

	return guarded(&port, &packet);
}

static void
udp(const uint8_t *to_mac, const uint8_t *from_mac, const char *from, const char *to)
{
	frame_build(&frame, &(struct frame_spec){
				    .destination_mac = to_mac,
				    .source_mac = from_mac,
				    .source = from,
				    .destination = to,
				    .protocol = IPPROTO_UDP,
				    .source_port = 5000,
				    .destination_port = 53,
			    });
}

static enum reason
from_qube(const char *from, const char *to)
{
	udp(plane_vif_mac, plane_qube_mac, from, to);
	return reason_on(PLANE_WORK);
}

static enum reason
from_uplink(const char *from, const char *to)
{
	udp(plane_uplink_mac, plane_router_mac, from, to);
	return reason_on(PLANE_UPLINK);
}

/* --- stations --- */

static void
test_qube_macs(void)
{
	struct guard_port port = port_of(PLANE_WORK);
	struct packet packet;
	static const struct {
		const uint8_t *to, *from;
		enum reason reason;
	} rows[] = {
		{plane_vif_mac, plane_qube_mac, REASON_NONE},
		{plane_vif_mac, other_mac, REASON_SOURCE_MAC},
		{plane_vif_mac, plane_vif_mac, REASON_SOURCE_MAC},
		{plane_vif_mac, group_mac, REASON_SOURCE_MAC},
		{plane_vif_mac, plane_broadcast, REASON_SOURCE_MAC},
		{plane_vif_mac, zero_mac, REASON_SOURCE_MAC},
		{other_mac, plane_qube_mac, REASON_OTHER_MAC},
		{zero_mac, plane_qube_mac, REASON_OTHER_MAC},
		{plane_qube_mac, plane_qube_mac, REASON_OTHER_MAC},
		{plane_broadcast, plane_qube_mac, REASON_MARTIAN_DESTINATION},
		{group_mac, plane_qube_mac, REASON_MARTIAN_DESTINATION},
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		udp(rows[i].to, rows[i].from, PLANE_WORK_ADDRESS, "192.0.2.1");
		CU_ASSERT_EQUAL(guarded(&port, &packet), rows[i].reason);
	}
	/* one bit of the MAC is enough */
	for (unsigned bit = 0; bit < 48; bit++) {
		udp(plane_vif_mac, plane_qube_mac, PLANE_WORK_ADDRESS, "192.0.2.1");
		frame.bytes[6 + bit / 8] ^= (uint8_t)(1 << bit % 8);
		CU_ASSERT_EQUAL(guarded(&port, &packet), REASON_SOURCE_MAC);
		udp(plane_vif_mac, plane_qube_mac, PLANE_WORK_ADDRESS, "192.0.2.1");
		frame.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CU_ASSERT(guarded(&port, &packet) != REASON_NONE);
	}
}

/* While the qube's MAC is unknown only ARP and neighbour discovery pass, and nobody is the zero. */
static void
test_qube_mac_unknown(void)
{
	struct guard_port port = port_of(PLANE_WORK);
	struct packet packet;

	port.peer_mac = 0;
	udp(plane_vif_mac, plane_qube_mac, PLANE_WORK_ADDRESS, "192.0.2.1");
	CU_ASSERT_EQUAL(guarded(&port, &packet), REASON_MAC_UNKNOWN);
	udp(plane_vif_mac, zero_mac, PLANE_WORK_ADDRESS, "192.0.2.1");
	CU_ASSERT_EQUAL(guarded(&port, &packet), REASON_SOURCE_MAC);
	udp(plane_vif_mac, plane_vif_mac, PLANE_WORK_ADDRESS, "192.0.2.1");
	CU_ASSERT_EQUAL(guarded(&port, &packet), REASON_SOURCE_MAC);
	udp(plane_vif_mac, group_mac, PLANE_WORK_ADDRESS, "192.0.2.1");
	CU_ASSERT_EQUAL(guarded(&port, &packet), REASON_SOURCE_MAC);
	frame_arp(&frame, 1, plane_broadcast, plane_qube_mac, PLANE_WORK_ADDRESS, PLANE_GATEWAY);
	CU_ASSERT_EQUAL(guarded(&port, &packet), REASON_NONE);
	frame_arp(&frame, 1, plane_broadcast, zero_mac, PLANE_WORK_ADDRESS, PLANE_GATEWAY);
	CU_ASSERT_EQUAL(guarded(&port, &packet), REASON_SOURCE_MAC);
	frame_nd(&frame, 135, plane_vif_mac, plane_qube_mac, PLANE_WORK_ADDRESS6, PLANE_GATEWAY6,
		PLANE_GATEWAY6, plane_qube_mac);
	CU_ASSERT_EQUAL(guarded(&port, &packet), REASON_NONE);
	/* in replay any packet teaches */
	port.learn = true;
	udp(plane_vif_mac, plane_qube_mac, PLANE_WORK_ADDRESS, "192.0.2.1");
	CU_ASSERT_EQUAL(guarded(&port, &packet), REASON_NONE);
	udp(plane_vif_mac, zero_mac, PLANE_WORK_ADDRESS, "192.0.2.1");
	CU_ASSERT_EQUAL(guarded(&port, &packet), REASON_SOURCE_MAC);
}

/* The first to pass teaches: whoever comes behind it in the same burst must have the same MAC. */
static void
test_learning_in_a_burst(void)
{
	struct guard_port port = port_of(PLANE_WORK);
	struct rte_mbuf *burst[4];
	const uint8_t *macs[4] = {other_mac, plane_qube_mac, other_mac, plane_qube_mac};
	const char *sources[4] = {
		PLANE_PERSONAL_ADDRESS, PLANE_WORK_ADDRESS, PLANE_WORK_ADDRESS, PLANE_WORK_ADDRESS};

	port.peer_mac = 0;
	port.learn = true;
	for (unsigned i = 0; i < 4; i++) {
		udp(plane_vif_mac, macs[i], sources[i], "192.0.2.1");
		burst[i] = frame_mbuf(plane->dataplane->pool, frame.bytes, frame.length);
	}
	CU_ASSERT_EQUAL(parse_burst(burst, 4), 4);
	CU_ASSERT_EQUAL(guard_burst(policy, &port, burst, 4), 2);
	CU_ASSERT_EQUAL(packet_of(burst[2])->reason, REASON_SOURCE_ADDRESS);
	CU_ASSERT_EQUAL(packet_of(burst[3])->reason, REASON_SOURCE_MAC);
	rte_pktmbuf_free_bulk(burst, 4);
}

static void
test_uplink_macs(void)
{
	static const struct {
		const uint8_t *to, *from;
		enum reason reason;
	} rows[] = {
		{plane_uplink_mac, plane_router_mac, REASON_NONE},
		{plane_uplink_mac, other_mac, REASON_NONE},
		{plane_uplink_mac, plane_uplink_mac, REASON_SOURCE_MAC},
		{plane_uplink_mac, group_mac, REASON_SOURCE_MAC},
		{plane_uplink_mac, zero_mac, REASON_SOURCE_MAC},
		{other_mac, plane_router_mac, REASON_OTHER_MAC},
		{plane_broadcast, plane_router_mac, REASON_MARTIAN_DESTINATION},
		{group_mac, plane_router_mac, REASON_MARTIAN_DESTINATION},
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		udp(rows[i].to, rows[i].from, "192.0.2.1", PLANE_UPLINK_ADDRESS);
		CU_ASSERT_EQUAL(reason_on(PLANE_UPLINK), rows[i].reason);
	}
}

/* --- addresses --- */

static void
test_qube_source(void)
{
	CU_ASSERT_EQUAL(from_qube("10.137.0.16", "192.0.2.1"), REASON_NONE);
	CU_ASSERT_EQUAL(from_qube("10.137.0.15", "192.0.2.1"), REASON_SOURCE_ADDRESS);
	CU_ASSERT_EQUAL(from_qube("10.137.0.17", "192.0.2.1"), REASON_SOURCE_ADDRESS);
	CU_ASSERT_EQUAL(from_qube("10.137.0.1", "192.0.2.1"), REASON_SOURCE_ADDRESS);
	CU_ASSERT_EQUAL(from_qube("192.168.50.1", "192.0.2.1"), REASON_SOURCE_ADDRESS);
	CU_ASSERT_EQUAL(from_qube("0.0.0.0", "192.0.2.1"), REASON_SOURCE_ADDRESS);
	CU_ASSERT_EQUAL(from_qube("255.255.255.255", "192.0.2.1"), REASON_SOURCE_ADDRESS);
	CU_ASSERT_EQUAL(from_qube("fd09::10", "2001:db8::1"), REASON_NONE);
	CU_ASSERT_EQUAL(from_qube("fd09::11", "2001:db8::1"), REASON_SOURCE_ADDRESS);
	CU_ASSERT_EQUAL(from_qube("fd09::1:10", "2001:db8::1"), REASON_SOURCE_ADDRESS);
	CU_ASSERT_EQUAL(from_qube("fd08::10", "2001:db8::1"), REASON_SOURCE_ADDRESS);
	CU_ASSERT_EQUAL(from_qube("fe80::10", "2001:db8::1"), REASON_SOURCE_ADDRESS);
	CU_ASSERT_EQUAL(from_qube("::", "2001:db8::1"), REASON_SOURCE_ADDRESS);
	CU_ASSERT_EQUAL(from_qube("::ffff:10.137.0.16", "2001:db8::1"), REASON_SOURCE_ADDRESS);
	udp(plane_vif_mac, plane_qube_mac, "10.137.0.16", "192.0.2.1");
	CU_ASSERT_EQUAL(reason_on(PLANE_PERSONAL), REASON_SOURCE_ADDRESS);
	CU_ASSERT_EQUAL(from_qube("10.137.0.16", "10.137.0.16"), REASON_LAND);
	CU_ASSERT_EQUAL(from_qube("fd09::10", "fd09::10"), REASON_LAND);
}

/* The edges of every range that is no host's. */
static void
test_martians(void)
{
	static const struct {
		const char *address;
		bool martian;
	} rows[] = {
		{"0.0.0.0", true}, {"0.255.255.255", true}, {"1.0.0.0", false},
		{"126.255.255.255", false}, {"127.0.0.0", true}, {"127.0.0.1", true},
		{"127.255.255.255", true}, {"128.0.0.0", false}, {"223.255.255.255", false},
		{"224.0.0.0", true}, {"239.255.255.255", true}, {"240.0.0.0", true},
		{"255.255.255.255", true}, {"::", true}, {"::1", true}, {"::2", true},
		{"::ffff:ffff", true}, {"::1:0:0", false}, {"::ffff:0:0", true},
		{"::ffff:192.0.2.1", true}, {"::fffe:192.0.2.1", false}, {"::1:0:0:0", false},
		{"fe7f:ffff::1", false}, {"fe80::1", true}, {"febf:ffff::1", true},
		{"fec0::1", false}, {"feff::1", false}, {"ff00::1", true}, {"ff02::1", true},
		{"ffff::1", true}, {"2001:4860::1", false},
		{"fd12::1", false}, /* as the uplink's own is */
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		union address address;
		enum family family;
		bool martian = rows[i].martian;
		bool ipv6;

		CU_ASSERT_EQUAL_FATAL(address_parse(rows[i].address, &family, &address), 0);
		ipv6 = family == FAMILY_IPV6;
		if (address_is_martian(family, &address) != martian)
			fprintf(stderr, "%s\n", rows[i].address);
		CU_ASSERT_EQUAL(address_is_martian(family, &address), martian);
		CU_ASSERT_EQUAL(
			from_qube(ipv6 ? PLANE_WORK_ADDRESS6 : PLANE_WORK_ADDRESS, rows[i].address),
			martian ? REASON_MARTIAN_DESTINATION : REASON_NONE);
		CU_ASSERT_EQUAL(from_uplink(rows[i].address,
					ipv6 ? PLANE_UPLINK_ADDRESS6 : PLANE_UPLINK_ADDRESS),
			martian ? REASON_MARTIAN_SOURCE : REASON_NONE);
		CU_ASSERT_EQUAL(from_uplink(ipv6 ? "2001:2::99" : "192.0.2.99", rows[i].address),
			martian ? REASON_MARTIAN_DESTINATION : REASON_NONE);
	}
	CU_ASSERT_EQUAL(from_uplink("192.168.50.1", "192.168.50.1"), REASON_LAND);
	CU_ASSERT_EQUAL(from_uplink("fd00:50::1", "fd00:50::1"), REASON_LAND);
}

/*
 * RFC 6092 REC-3 and REC-7: the edges of what is not routed beyond the uplink, unless the uplink's
 * own address is of the same kind.
 */
static void
test_uplink_sources(void)
{
	enum kind { GLOBAL, LOCAL, DOCUMENTATION };
	static const struct {
		const char *address;
		enum kind kind;
	} rows[] = {
		{"2001:4860:4860::8888", GLOBAL},
		{"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", GLOBAL},
		{"2001:db8::", DOCUMENTATION},
		{"2001:db8::1", DOCUMENTATION},
		{"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", DOCUMENTATION},
		{"2001:db9::", GLOBAL},
		{"3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", GLOBAL},
		{"3fff::", DOCUMENTATION},
		{"3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", DOCUMENTATION},
		{"3fff:1000::", GLOBAL},
		{"fbff:ffff::1", GLOBAL},
		{"fc00::", LOCAL},
		{"fc00::1", LOCAL},
		{"fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", LOCAL},
		{"fe00::", GLOBAL},
		{"2002::1", GLOBAL},
		{"64:ff9b::1", GLOBAL},
	};
	static const struct {
		const char *uplink;
		enum kind kind;
	} uplinks[] = {
		{"2001:4860::1", GLOBAL}, {"fd00:50::1", LOCAL}, {"fc00:50::1", LOCAL},
		{"2001:db8:50::1", DOCUMENTATION}, {"3fff:50::1", DOCUMENTATION},
		{NULL, GLOBAL}, /* it has no IPv6 */
	};
	struct policy_port ports[PLANE_PORTS];
	struct policy other = *policy;
	const struct policy *kept = policy;

	memcpy(ports, policy->ports, sizeof(ports));
	other.ports = ports;
	policy = &other;
	for (unsigned i = 0; i < RTE_DIM(uplinks); i++) {
		union address *own = &ports[PLANE_UPLINK].address[FAMILY_IPV6];
		enum family family;

		ports[PLANE_UPLINK].has[FAMILY_IPV6] = uplinks[i].uplink != NULL;
		if (uplinks[i].uplink != NULL)
			CU_ASSERT_EQUAL(address_parse(uplinks[i].uplink, &family, own), 0);
		for (unsigned row = 0; row < RTE_DIM(rows); row++) {
			bool known =
				rows[row].kind == GLOBAL ||
				(uplinks[i].uplink != NULL && rows[row].kind == uplinks[i].kind);

			if (from_uplink(rows[row].address, "2001:4860::1") !=
				(known ? REASON_NONE : REASON_MARTIAN_SOURCE))
				fprintf(stderr, "%s at %s\n", rows[row].address, uplinks[i].uplink);
			CU_ASSERT_EQUAL(from_uplink(rows[row].address, "2001:4860::2"),
				known ? REASON_NONE : REASON_MARTIAN_SOURCE);
			/* ours are called by their name, where they are looked at at all */
			CU_ASSERT_EQUAL(from_uplink(PLANE_WORK_ADDRESS6, "2001:4860::2"),
				uplinks[i].uplink != NULL && uplinks[i].kind == LOCAL
					? REASON_NONE
					: REASON_DOWNSTREAM_SOURCE);
			/* whatever a qube wants to reach is for its rules to say */
			CU_ASSERT_EQUAL(
				from_qube(PLANE_WORK_ADDRESS6, rows[row].address), REASON_NONE);
		}
	}
	policy = kept;
}

/* Fragments are held to the same addresses and stations; they have no ports. */
static void
test_fragments(void)
{
	static const struct {
		uint16_t port;
		const char *from, *to;
		enum reason reason;
		uint16_t flags;
	} rows[] = {
		{PLANE_WORK, PLANE_WORK_ADDRESS, "192.0.2.1", REASON_NONE, 0},
		{PLANE_WORK, PLANE_WORK_ADDRESS, PLANE_GATEWAY, REASON_NONE, PACKET_LOCAL},
		{PLANE_WORK, PLANE_WORK_ADDRESS, PLANE_DNS, REASON_NONE, 0},
		{PLANE_WORK, PLANE_PERSONAL_ADDRESS, "192.0.2.1", REASON_SOURCE_ADDRESS, 0},
		{PLANE_WORK, PLANE_WORK_ADDRESS, PLANE_WORK_ADDRESS, REASON_LAND, 0},
		{PLANE_WORK, PLANE_WORK_ADDRESS, "224.0.0.1", REASON_MARTIAN_DESTINATION, 0},
		{PLANE_UPLINK, "192.0.2.1", PLANE_UPLINK_ADDRESS, REASON_NONE, 0},
		{PLANE_UPLINK, "127.0.0.1", PLANE_UPLINK_ADDRESS, REASON_MARTIAN_SOURCE, 0},
	};

	for (unsigned i = 0; i < RTE_DIM(rows) * 3; i++) {
		unsigned row = i / 3;
		bool qube = rows[row].port == PLANE_WORK;
		struct guard_port port = port_of(rows[row].port);
		struct packet packet;

		udp(qube ? plane_vif_mac : plane_uplink_mac,
			qube ? plane_qube_mac : plane_router_mac, rows[row].from, rows[row].to);
		if (i % 3 != 0)
			frame.bytes[20] |= 0x20; /* more fragments */
		if (i % 3 != 1)
			frame.bytes[21] = 8;
		frame_fix(frame.bytes, frame.length);
		CU_ASSERT_EQUAL(guarded(&port, &packet), rows[row].reason);
		CU_ASSERT_EQUAL(packet.flags, PACKET_FRAGMENT | rows[row].flags);
		frame.bytes[5] ^= 1;
		CU_ASSERT_EQUAL(guarded(&port, &packet), REASON_OTHER_MAC);
		if (qube) {
			frame.bytes[5] ^= 1;
			frame.bytes[11] ^= 1;
			CU_ASSERT_EQUAL(guarded(&port, &packet), REASON_SOURCE_MAC);
		}
	}
}

/* Flags: what is ours, what is a virtual resolver. */
static void
test_flags(void)
{
	static const struct {
		const char *from, *to;
		uint8_t protocol;
		uint16_t port;
		uint8_t flags;
	} rows[] = {
		{PLANE_WORK_ADDRESS, PLANE_GATEWAY, IPPROTO_UDP, 53, PACKET_LOCAL},
		{PLANE_WORK_ADDRESS, PLANE_UPLINK_ADDRESS, IPPROTO_TCP, 80, PACKET_LOCAL},
		{PLANE_WORK_ADDRESS6, PLANE_GATEWAY6, IPPROTO_UDP, 53, PACKET_LOCAL},
		{PLANE_WORK_ADDRESS6, PLANE_UPLINK_ADDRESS6, IPPROTO_UDP, 53, PACKET_LOCAL},
		{PLANE_WORK_ADDRESS, PLANE_DNS, IPPROTO_UDP, 53, PACKET_DNS},
		{PLANE_WORK_ADDRESS, PLANE_DNS, IPPROTO_TCP, 53, PACKET_DNS},
		{PLANE_WORK_ADDRESS, PLANE_DNS, IPPROTO_UDP, 54, 0},
		{PLANE_WORK_ADDRESS, PLANE_DNS, 132, 53, 0},
		{PLANE_WORK_ADDRESS, "10.139.1.2", IPPROTO_UDP, 53, 0},
		{PLANE_WORK_ADDRESS, PLANE_PERSONAL_ADDRESS, IPPROTO_UDP, 53, 0},
		{PLANE_WORK_ADDRESS, "10.137.0.2", IPPROTO_UDP, 53, 0},
	};
	struct guard_port port = port_of(PLANE_WORK);
	struct packet packet;

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		frame_build(&frame, &(struct frame_spec){
					    .destination_mac = plane_vif_mac,
					    .source_mac = plane_qube_mac,
					    .source = rows[i].from,
					    .destination = rows[i].to,
					    .protocol = rows[i].protocol,
					    .source_port = 4000,
					    .destination_port = rows[i].port,
				    });
		CU_ASSERT_EQUAL(guarded(&port, &packet), REASON_NONE);
		CU_ASSERT_EQUAL(packet.flags, rows[i].flags);
	}
}

static void
test_unsolicited(void)
{
	struct packet packet = {0};
	static const struct {
		const char *source;
		enum reason reason;
	} rows[] = {
		{"192.0.2.1", REASON_NO_FLOW},
		{"192.168.50.2", REASON_NO_FLOW},
		{PLANE_WORK_ADDRESS, REASON_DOWNSTREAM_SOURCE},
		{PLANE_PERSONAL_ADDRESS6, REASON_DOWNSTREAM_SOURCE},
		{PLANE_GATEWAY, REASON_DOWNSTREAM_SOURCE},
		{PLANE_UPLINK_ADDRESS, REASON_DOWNSTREAM_SOURCE},
		{"10.137.0.18", REASON_NO_FLOW},
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		enum family family;

		CU_ASSERT_EQUAL(address_parse(rows[i].source, &family, &packet.tuple.source), 0);
		packet.tuple.family = (uint8_t)family;
		CU_ASSERT_EQUAL(guard_unsolicited(policy, &packet), rows[i].reason);
	}
}

/* --- ARP --- */

static void
test_arp_fields(void)
{
	static const uint16_t ports[] = {PLANE_WORK, PLANE_UPLINK};

	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *mac = ports[i] == PLANE_WORK ? plane_qube_mac : plane_router_mac;
		const char *sender = ports[i] == PLANE_WORK ? PLANE_WORK_ADDRESS : PLANE_ROUTER;
		static const struct {
			unsigned offset;
			uint8_t value;
		} rows[] = {
			{14, 1},                                               /* hardware */
			{15, 6}, {16, 0x86},                                   /* protocol */
			{17, 6}, {18, 5},                                      /* lengths */
			{18, 0}, {19, 16}, {20, 1}, {21, 0}, {21, 3}, {21, 8}, /* operation */
			{22, 0xfe}, {27, 0x77},                                /* sender's MAC */
		};

		for (uint16_t opcode = 1; opcode <= 2; opcode++) {
			frame_arp(&frame, opcode, plane_broadcast, mac, sender, PLANE_GATEWAY);
			CU_ASSERT_EQUAL(reason_on(ports[i]), REASON_NONE);
		}
		for (unsigned row = 0; row < RTE_DIM(rows); row++) {
			frame_arp(&frame, 1, plane_broadcast, mac, sender, PLANE_GATEWAY);
			frame.bytes[rows[row].offset] = rows[row].value;
			CU_ASSERT_EQUAL(reason_on(ports[i]), REASON_ARP);
		}
		frame_arp(&frame, 1, plane_broadcast, mac, sender, PLANE_GATEWAY);
		for (frame.length = 14; frame.length < 14 + 28; frame.length++)
			CU_ASSERT_EQUAL(reason_on(ports[i]), REASON_ARP);
		CU_ASSERT_EQUAL(reason_on(ports[i]), REASON_NONE);
		frame.length += 18; /* Ethernet padding */
		CU_ASSERT_EQUAL(reason_on(ports[i]), REASON_NONE);
	}
}

static void
test_arp_senders(void)
{
	static const struct {
		uint16_t port;
		const char *sender;
		enum reason reason;
	} rows[] = {
		{PLANE_WORK, PLANE_WORK_ADDRESS, REASON_NONE},
		{PLANE_WORK, "0.0.0.0", REASON_NONE}, /* a probe */
		{PLANE_WORK, PLANE_PERSONAL_ADDRESS, REASON_ARP},
		{PLANE_WORK, PLANE_GATEWAY, REASON_ARP},
		{PLANE_WORK, PLANE_ROUTER, REASON_ARP},
		{PLANE_WORK, "10.137.0.144", REASON_ARP},
		{PLANE_UPLINK, PLANE_ROUTER, REASON_NONE},
		{PLANE_UPLINK, "192.168.50.77", REASON_NONE},
		{PLANE_UPLINK, "0.0.0.0", REASON_NONE},
		{PLANE_UPLINK, PLANE_UPLINK_ADDRESS, REASON_ARP},
		{PLANE_UPLINK, PLANE_WORK_ADDRESS, REASON_ARP},
		{PLANE_UPLINK, PLANE_GATEWAY, REASON_ARP},
		{PLANE_UPLINK, "127.0.0.1", REASON_ARP},
		{PLANE_UPLINK, "224.0.0.1", REASON_ARP},
		{PLANE_UPLINK, "255.255.255.255", REASON_ARP},
		{PLANE_UPLINK, "0.0.0.1", REASON_ARP},
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		frame_arp(&frame, 1, plane_broadcast,
			rows[i].port == PLANE_WORK ? plane_qube_mac : plane_router_mac,
			rows[i].sender, "192.0.2.1");
		CU_ASSERT_EQUAL(reason_on(rows[i].port), rows[i].reason);
	}
}

/* --- neighbour discovery --- */

static void
nd(uint16_t port, uint8_t type, const char *source)
{
	bool qube = port == PLANE_WORK;

	frame_nd(&frame, type, qube ? plane_vif_mac : plane_uplink_mac,
		qube ? plane_qube_mac : plane_router_mac, source,
		qube ? PLANE_GATEWAY6 : PLANE_UPLINK_ADDRESS6, PLANE_GATEWAY6,
		qube ? plane_qube_mac : plane_router_mac);
}

static void
test_nd(void)
{
	static const struct {
		uint16_t port;
		uint8_t type;
		const char *source;
		enum reason reason;
	} rows[] = {
		{PLANE_WORK, 135, PLANE_WORK_ADDRESS6, REASON_NONE},
		{PLANE_WORK, 136, PLANE_WORK_ADDRESS6, REASON_NONE},
		{PLANE_WORK, 133, PLANE_WORK_ADDRESS6, REASON_NONE},
		{PLANE_WORK, 134, PLANE_WORK_ADDRESS6, REASON_NEIGHBOUR_DISCOVERY},
		{PLANE_WORK, 134, "fe80::1", REASON_NEIGHBOUR_DISCOVERY},
		{PLANE_WORK, 137, PLANE_WORK_ADDRESS6, REASON_NEIGHBOUR_DISCOVERY},
		{PLANE_WORK, 135, "::", REASON_NONE},
		{PLANE_WORK, 135, "fe80::216:3eff:fe5e:6c00", REASON_NONE},
		{PLANE_WORK, 135, "fd09::11", REASON_SOURCE_ADDRESS},
		{PLANE_WORK, 135, PLANE_GATEWAY6, REASON_SOURCE_ADDRESS},
		{PLANE_UPLINK, 135, PLANE_ROUTER6, REASON_NONE},
		{PLANE_UPLINK, 136, "fe80::1", REASON_NONE},
		{PLANE_UPLINK, 134, "fe80::1", REASON_NONE},
		{PLANE_UPLINK, 137, "fe80::1", REASON_NEIGHBOUR_DISCOVERY},
		{PLANE_UPLINK, 135, "::", REASON_NONE},
		{PLANE_UPLINK, 135, PLANE_UPLINK_ADDRESS6, REASON_NEIGHBOUR_DISCOVERY},
		{PLANE_UPLINK, 135, PLANE_WORK_ADDRESS6, REASON_NEIGHBOUR_DISCOVERY},
		{PLANE_UPLINK, 135, "ff02::1", REASON_MARTIAN_SOURCE},
		{PLANE_UPLINK, 135, "::1", REASON_MARTIAN_SOURCE},
		{PLANE_UPLINK, 135, "::ffff:192.0.2.1", REASON_MARTIAN_SOURCE},
		{PLANE_UPLINK, 135, "2001:db8::1", REASON_NONE}, /* on the link, not across it */
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		nd(rows[i].port, rows[i].type, rows[i].source);
		CU_ASSERT_EQUAL(reason_on(rows[i].port), rows[i].reason);
		/* from afar: somebody has forwarded it */
		frame.bytes[14 + 7] = 254;
		CU_ASSERT_NOT_EQUAL(reason_on(rows[i].port), REASON_NONE);
		nd(rows[i].port, rows[i].type, rows[i].source);
		frame.bytes[55] = 1;
		frame_fix(frame.bytes, frame.length);
		CU_ASSERT_NOT_EQUAL(reason_on(rows[i].port), REASON_NONE);
	}
	/* to a group, as solicitations are, but from the wrong station */
	nd(PLANE_WORK, 135, PLANE_WORK_ADDRESS6);
	memcpy(frame.bytes, (const uint8_t[]){0x33, 0x33, 0xff, 0, 0, 1}, 6);
	CU_ASSERT_EQUAL(reason_on(PLANE_WORK), REASON_NONE);
	frame.bytes[11] ^= 1;
	CU_ASSERT_EQUAL(reason_on(PLANE_WORK), REASON_SOURCE_MAC);
}

/* --- bursts --- */

static void
test_burst(void)
{
	struct guard_port port = port_of(PLANE_WORK);
	struct rte_mbuf *burst[BURST_MAX];
	unsigned good = 0;
	unsigned passed;

	for (unsigned i = 0; i < BURST_MAX; i++) {
		udp(plane_vif_mac, plane_qube_mac, i % 5 == 0 ? "10.1.1.1" : PLANE_WORK_ADDRESS,
			"192.0.2.1");
		good += i % 5 != 0;
		burst[i] = frame_mbuf(plane->dataplane->pool, frame.bytes, frame.length);
		packet_of(burst[i])->serial = i;
	}
	CU_ASSERT_EQUAL(parse_burst(burst, BURST_MAX), BURST_MAX);
	passed = guard_burst(policy, &port, burst, BURST_MAX);
	CU_ASSERT_EQUAL(passed, good);
	for (unsigned i = 1; i < BURST_MAX; i++)
		CU_ASSERT(i == passed ||
			  packet_of(burst[i])->serial > packet_of(burst[i - 1])->serial);
	CU_ASSERT_EQUAL(guard_burst(policy, &port, burst, 0), 0);
	rte_pktmbuf_free_bulk(burst, BURST_MAX);
}

static void
test_no_leak(void)
{
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"stations on a qube's port", test_qube_macs},
		{"a qube's MAC unknown", test_qube_mac_unknown},
		{"learning in a burst", test_learning_in_a_burst},
		{"stations on the uplink", test_uplink_macs},
		{"a qube's source address", test_qube_source},
		{"martians", test_martians},
		{"RFC 6092 REC-3, REC-7: IPv6 sources on the uplink", test_uplink_sources},
		{"fragments", test_fragments},
		{"flags", test_flags},
		{"unsolicited", test_unsolicited},
		{"ARP: fields", test_arp_fields},
		{"ARP: senders", test_arp_senders},
		{"neighbour discovery", test_nd},
		{"bursts", test_burst},
		{"no mbuf lost", test_no_leak},
	};

	unit_eal();
	plane = plane_create(&(struct plane_options){0});
	policy = atomic_load(&plane->dataplane->policy);
	return UNIT_RUN("guard", tests);
}
