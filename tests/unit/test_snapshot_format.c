/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bytes of a snapshot: where everything stands, what is refused although its checksum is right,
 * and the checksum itself. Layouts are written down here once more, by hand.
 */
#include "app/snapshot_format.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>

#define PORTS 3
#define QUBES 2

static struct snapshot_header header = {
	.port_count = PORTS,
	.qube_count = QUBES,
	.flow_count = 7,
};

/* --- checksum --- */

/* The definition, bit by bit. */
static uint64_t
checksum_slowly(const uint8_t *bytes, size_t length)
{
	uint64_t sum = ~UINT64_C(0);

	for (size_t i = 0; i < length; i++) {
		sum ^= bytes[i];
		for (unsigned bit = 0; bit < 8; bit++)
			sum = (sum & 1) != 0 ? sum >> 1 ^ UINT64_C(0xc96c5795d7870f42) : sum >> 1;
	}
	return ~sum;
}

static void
test_checksum(void)
{
	uint8_t bytes[100];

	/* the check value of CRC-64/XZ */
	CU_ASSERT_EQUAL(snapshot_checksum(0, (const uint8_t *)"123456789", 9),
		UINT64_C(0x995dc9bbdf1939fa));
	CU_ASSERT_EQUAL(snapshot_checksum(0, bytes, 0), 0);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 37 + 11);
	for (unsigned length = 0; length <= sizeof(bytes); length++) {
		uint64_t right = checksum_slowly(bytes, length);

		CU_ASSERT_EQUAL(snapshot_checksum(0, bytes, length), right);
		for (unsigned cut = 0; cut <= length; cut++)
			CU_ASSERT_EQUAL(snapshot_checksum(snapshot_checksum(0, bytes, cut),
						bytes + cut, length - cut),
				right);
	}
}

/* --- header --- */

/* clang-format off */
static const uint8_t header_bytes[SNAPSHOT_HEADER_SIZE] = {
	0x89, 's', 'l', 'u', 'i', 'c', 'e', '\n',
	1, 0, 0, 0,                                     /* version */
	80, 0, 0, 0,                                    /* bytes of the header */
	0xa0, 0x04, 0, 0, 0, 0, 0, 0,                   /* of the file: 1184 */
	0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* checksum */
	8, 7, 6, 5, 4, 3, 2, 1,                         /* wall clock */
	0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, /* boot clock */
	0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, /* boot id */
	0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
	128, 0, 0, 0,                                   /* bytes of a flow, a port, a qube */
	48, 0, 32, 0,
	7, 0, 0, 0,                                     /* flows, ports, qubes */
	3, 0, 2, 0,
};
/* clang-format on */

#define LENGTH (80 + PORTS * 48 + QUBES * 32 + 7 * 128)

static struct snapshot_header
header_full(void)
{
	struct snapshot_header full = header;

	full.length = LENGTH;
	full.checksum = UINT64_C(0x1122334455667788);
	full.written.wall_ms = UINT64_C(0x0102030405060708);
	full.written.boot_ms = UINT64_C(0x1112131415161718);
	for (unsigned i = 0; i < sizeof(full.written.boot_id); i++)
		full.written.boot_id[i] = (uint8_t)(0xa0 + i);
	return full;
}

static void
test_header(void)
{
	struct snapshot_header full = header_full();
	struct snapshot_header back;
	uint8_t bytes[SNAPSHOT_HEADER_SIZE];

	memset(bytes, 0xee, sizeof(bytes));
	snapshot_header_write(bytes, &full);
	CU_ASSERT_EQUAL(memcmp(bytes, header_bytes, sizeof(bytes)), 0);
	CU_ASSERT_PTR_NULL(snapshot_header_read(bytes, LENGTH, &back));
	CU_ASSERT_EQUAL(memcmp(&back, &full, sizeof(back)), 0);
	CU_ASSERT_EQUAL(memcmp(bytes + SNAPSHOT_CHECKSUM_OFFSET, &full.checksum, 8), 0);
	CU_ASSERT_PTR_NOT_NULL(snapshot_header_read(bytes, LENGTH - 1, &back));
	CU_ASSERT_PTR_NOT_NULL(snapshot_header_read(bytes, LENGTH + 1, &back));
	/* whatever else the bytes in front of the checksum are, or the sizes and counts */
	for (unsigned at = 0; at < SNAPSHOT_HEADER_SIZE; at++) {
		if (at == 24)
			at = 64;
		for (unsigned bit = 0; bit < 8; bit++) {
			bytes[at] ^= (uint8_t)(1 << bit);
			CU_ASSERT_PTR_NOT_NULL(snapshot_header_read(bytes, LENGTH, &back));
			bytes[at] ^= (uint8_t)(1 << bit);
		}
	}
}

/* Counts that fit the length of the file, but not into a firewall. */
static void
test_header_counts(void)
{
	struct snapshot_header many = header_full();
	struct snapshot_header back;
	uint8_t bytes[SNAPSHOT_HEADER_SIZE];

	many.flow_count = 0;
	many.port_count = PORTS_MAX;
	many.qube_count = QUBES_MAX;
	many.length = 80 + (uint64_t)PORTS_MAX * 48 + (uint64_t)QUBES_MAX * 32;
	snapshot_header_write(bytes, &many);
	CU_ASSERT_PTR_NULL(snapshot_header_read(bytes, many.length, &back));
	many.port_count++;
	many.length += 48;
	snapshot_header_write(bytes, &many);
	CU_ASSERT_PTR_NOT_NULL(snapshot_header_read(bytes, many.length, &back));
	many.port_count--;
	many.qube_count++;
	many.length += 32 - 48;
	snapshot_header_write(bytes, &many);
	CU_ASSERT_PTR_NOT_NULL(snapshot_header_read(bytes, many.length, &back));
	/* more flows than fit 32 bits of bytes are no flood of the sum */
	many.qube_count--;
	many.flow_count = UINT32_MAX;
	many.length += (uint64_t)UINT32_MAX * 128 - 32;
	snapshot_header_write(bytes, &many);
	CU_ASSERT_PTR_NULL(snapshot_header_read(bytes, many.length, &back));
	CU_ASSERT_PTR_NOT_NULL(snapshot_header_read(bytes, (uint32_t)many.length, &back));
}

/* --- names --- */

static void
test_port(void)
{
	struct snapshot_port port = {
		.name = "vif1.0", .role = ROLE_QUBE, .qube = 1, .mac = {2, 3, 4, 5, 6, 7}};
	struct snapshot_port back;
	uint8_t bytes[SNAPSHOT_PORT_SIZE];
	uint8_t expected[SNAPSHOT_PORT_SIZE] = "vif1.0";

	expected[32] = ROLE_QUBE;
	expected[34] = 1;
	memcpy(expected + 36, port.mac, 6);
	memset(bytes, 0xee, sizeof(bytes));
	snapshot_port_write(bytes, &port);
	CU_ASSERT_EQUAL(memcmp(bytes, expected, sizeof(bytes)), 0);
	CU_ASSERT_PTR_NULL(snapshot_port_read(bytes, &header, &back));
	CU_ASSERT_STRING_EQUAL(back.name, "vif1.0");
	CU_ASSERT_EQUAL(back.role, ROLE_QUBE);
	CU_ASSERT_EQUAL(back.qube, 1);
	CU_ASSERT_EQUAL(memcmp(back.mac, port.mac, 6), 0);

	/* a port that is nobody's, and the uplink; neither has a MAC to remember */
	port.qube = QUBE_NONE;
	for (port.role = 0; port.role < 2; port.role++) {
		snapshot_port_write(bytes, &port);
		CU_ASSERT_PTR_NULL(snapshot_port_read(bytes, &header, &back));
		CU_ASSERT_EQUAL(back.qube, QUBE_NONE);
		CU_ASSERT_EQUAL(back.mac[0], 0);
		bytes[36] = 2;
		CU_ASSERT_PTR_NOT_NULL(snapshot_port_read(bytes, &header, &back));
	}
}

/* One byte of a record that is good otherwise. */
struct patch {
	unsigned at;
	uint8_t value;
};

static void
test_port_refused(void)
{
	static const struct patch patches[] = {
		{0, 0},                     /* no name */
		{3, ' '},                   /* not in a name */
		{3, '\n'},                  /* nor this */
		{3, 0x80},                  /* nor this */
		{31, 'x'},                  /* behind its end */
		{32, ROLES},                /* no role */
		{32, 0xff},                 /* no role */
		{32, ROLE_UPLINK}, {33, 1}, /* reserved */
		{34, 2},                    /* no such qube */
		{35, 1},                    /* no such qube */
		{36, 3},                    /* multicast */
		{47, 1},                    /* reserved */
	};
	static const struct snapshot_port port = {
		.name = "vif1.0", .role = ROLE_QUBE, .qube = 1, .mac = {2, 3, 4, 5, 6, 7}};
	struct snapshot_port back;
	uint8_t bytes[SNAPSHOT_PORT_SIZE];

	for (unsigned i = 0; i < sizeof(patches) / sizeof(patches[0]); i++) {
		snapshot_port_write(bytes, &port);
		bytes[patches[i].at] = patches[i].value;
		CU_ASSERT_PTR_NOT_NULL(snapshot_port_read(bytes, &header, &back));
	}
	memset(bytes, 'x', 32); /* no end */
	CU_ASSERT_PTR_NOT_NULL(snapshot_port_read(bytes, &header, &back));
	/* a MAC that cannot be is not written in the first place */
	snapshot_port_write(bytes, &(struct snapshot_port){.name = "a",
					   .role = ROLE_QUBE,
					   .qube = 0,
					   .mac = {0x33, 0x33, 0, 0, 0, 1}});
	CU_ASSERT_PTR_NULL(snapshot_port_read(bytes, &header, &back));
	CU_ASSERT_EQUAL(back.mac[0], 0);
}

static void
test_qube(void)
{
	static const char longest[NAME_SIZE] = "abcdefghijklmnopqrstuvwxyz01234";
	uint8_t bytes[SNAPSHOT_QUBE_SIZE];
	char back[NAME_SIZE];

	snapshot_qube_write(bytes, longest);
	CU_ASSERT_EQUAL(memcmp(bytes, longest, NAME_SIZE), 0);
	CU_ASSERT_PTR_NULL(snapshot_qube_read(bytes, back));
	CU_ASSERT_STRING_EQUAL(back, longest);
	bytes[31] = 'x';
	CU_ASSERT_PTR_NOT_NULL(snapshot_qube_read(bytes, back));
	memset(bytes, 0, sizeof(bytes));
	CU_ASSERT_PTR_NOT_NULL(snapshot_qube_read(bytes, back));
	bytes[0] = 'x';
	bytes[9] = 'x';
	CU_ASSERT_PTR_NOT_NULL(snapshot_qube_read(bytes, back));
}

/* --- flows --- */

static union address
address_of(const char *text)
{
	union address address = {.half = {0, 0}};
	enum family family;

	CU_ASSERT_EQUAL(address_parse(text, &family, &address), 0);
	return address;
}

static struct snapshot_flow
flow_of(uint8_t protocol, bool ipv6)
{
	struct snapshot_flow flow = {
		.family = ipv6 ? FAMILY_IPV6 : FAMILY_IPV4,
		.protocol = protocol,
		.flags = FLOW_REPLIED,
		.remaining_ms = 0x01020304,
		.port = {0, 2},
		.qube = 1,
		.rule = 0x1234,
	};
	struct tuple *original = &flow.tuple[0];
	struct tuple *reply = &flow.tuple[1];

	original->source = address_of(ipv6 ? "fd09::10" : "10.137.0.16");
	original->destination = address_of(ipv6 ? "2001:db8::7" : "192.0.2.7");
	reply->source = original->destination;
	reply->destination = address_of(ipv6 ? "fd00:50::1" : "192.168.50.1");
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) {
		original->destination_port = reply->source_port = rte_cpu_to_be_16(443);
		original->source_port = rte_cpu_to_be_16(40000);
		reply->destination_port = rte_cpu_to_be_16(50000);
	}
	if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
		flow.state = protocol == IPPROTO_ICMP ? 8 : 128;
		original->source_port = rte_cpu_to_be_16(77);
		reply->destination_port = rte_cpu_to_be_16(78);
	}
	for (unsigned i = 0; i < 2; i++) {
		flow.tuple[i].family = flow.family;
		flow.tuple[i].protocol = protocol;
	}
	if (protocol == IPPROTO_TCP) {
		flow.state = TCP_STATE_ESTABLISHED;
		flow.syn_end = 0x21222324;
		flow.syn_scale = 9;
		flow.tcp[0] = (struct tcp_end){.end = 0x31323334,
			.max_end = 0x41424344,
			.max_ack = 0x51525354,
			.max_window = (1U << 26) - 2,
			.scale = 14,
			.flags = TCP_END_SCALES};
		flow.tcp[1] = (struct tcp_end){.end = 0x61626364,
			.max_end = 0x71727374,
			.max_ack = 0x81828384,
			.max_window = 0x01929394,
			.scale = 3,
			.flags = TCP_END_SCALES | TCP_END_MAX_ACK};
	}
	return flow;
}

static void
test_flow_layout(void)
{
	/* clang-format off */
	static const uint8_t expected[SNAPSHOT_FLOW_SIZE] = {
		0, 6, 3, 1,                     /* IPv4, TCP, established, replied */
		4, 3, 2, 1,                     /* remaining */
		0, 0, 2, 0, 1, 0, 0x34, 0x12,   /* ports, qube, rule */
		10, 137, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0x9c, 0x40, 0x01, 0xbb,         /* 40000 443, as on the wire */
		192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		192, 168, 50, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0x01, 0xbb, 0xc3, 0x50,
		0x34, 0x33, 0x32, 0x31, 0x44, 0x43, 0x42, 0x41, 0x54, 0x53, 0x52, 0x51,
		0xfe, 0xff, 0xff, 0x03, 0x1e,
		0x64, 0x63, 0x62, 0x61, 0x74, 0x73, 0x72, 0x71, 0x84, 0x83, 0x82, 0x81,
		0x94, 0x93, 0x92, 0x01, 0x33,
		0x24, 0x23, 0x22, 0x21, 9, 0,
	};
	/* clang-format on */
	struct snapshot_flow flow = flow_of(IPPROTO_TCP, false);
	uint8_t bytes[SNAPSHOT_FLOW_SIZE];

	memset(bytes, 0xee, sizeof(bytes));
	CU_ASSERT(snapshot_flow_write(bytes, &flow, &header));
	CU_ASSERT_EQUAL(memcmp(bytes, expected, sizeof(bytes)), 0);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		if (bytes[i] != expected[i])
			fprintf(stderr, "byte %u: %02x, not %02x\n", i, bytes[i], expected[i]);
}

static void
test_flow_and_back(void)
{
	static const uint8_t protocols[] = {
		IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_ESP};

	for (unsigned ipv6 = 0; ipv6 < 2; ipv6++) {
		for (unsigned i = 0; i < sizeof(protocols); i++) {
			struct snapshot_flow flow = flow_of(protocols[i], ipv6 != 0);
			struct snapshot_flow back;
			uint8_t bytes[SNAPSHOT_FLOW_SIZE];
			bool possible = protocols[i] != (ipv6 ? IPPROTO_ICMP : IPPROTO_ICMPV6);

			CU_ASSERT_EQUAL(snapshot_flow_write(bytes, &flow, &header), possible);
			if (!possible)
				continue;
			memset(&back, 0xee, sizeof(back));
			CU_ASSERT_PTR_NULL(snapshot_flow_read(bytes, &header, &back));
			CU_ASSERT_EQUAL(memcmp(back.tuple, flow.tuple, sizeof(back.tuple)), 0);
			CU_ASSERT_EQUAL(memcmp(back.tcp, flow.tcp, sizeof(back.tcp)), 0);
			CU_ASSERT_EQUAL(memcmp(&back, &flow, sizeof(back)), 0);
		}
	}
	for (unsigned state = 0; state <= TCP_STATE_COUNT; state++) {
		struct snapshot_flow flow = flow_of(IPPROTO_TCP, false);
		uint8_t bytes[SNAPSHOT_FLOW_SIZE];

		flow.state = (uint8_t)state;
		CU_ASSERT_EQUAL(snapshot_flow_write(bytes, &flow, &header),
			state > TCP_STATE_NONE && state < TCP_STATE_COUNT);
	}
}

/* A scale that is not known, and who holds an external port. */
static void
test_flow_rare(void)
{
	static const struct {
		uint8_t protocol, flags;
	} bound[] = {
		{IPPROTO_UDP, FLOW_BINDING},
		{IPPROTO_UDP, FLOW_BINDING | FLOW_INBOUND},
		{IPPROTO_ICMP, FLOW_BINDING},
	};
	struct snapshot_flow flow = flow_of(IPPROTO_TCP, false);
	uint8_t bytes[SNAPSHOT_FLOW_SIZE];
	struct snapshot_flow back;

	flow.tcp[0].scale = flow.tcp[1].scale = 15;
	CU_ASSERT(snapshot_flow_write(bytes, &flow, &header));
	CU_ASSERT_PTR_NULL(snapshot_flow_read(bytes, &header, &back));
	CU_ASSERT_EQUAL(back.tcp[0].scale, 15);
	CU_ASSERT_EQUAL(back.tcp[1].scale, 15);
	for (unsigned i = 0; i < sizeof(bound) / sizeof(bound[0]); i++) {
		flow = flow_of(bound[i].protocol, false);
		flow.flags = bound[i].flags;
		CU_ASSERT(snapshot_flow_write(bytes, &flow, &header));
		CU_ASSERT_PTR_NULL(snapshot_flow_read(bytes, &header, &back));
		CU_ASSERT_EQUAL(back.flags, bound[i].flags);
	}
}

/* What no flow can be is not read, and for that reason not written. */
static void
test_flow_refused(void)
{
	static const struct {
		uint8_t protocol;
		bool ipv6;
		struct patch patch;
	} cases[] = {
		{IPPROTO_TCP, false, {0, 2}}, /* no family */
		{IPPROTO_UDP, false, {1, IPPROTO_ICMPV6}}, {IPPROTO_UDP, true, {1, IPPROTO_ICMP}},
		{IPPROTO_TCP, false, {1, IPPROTO_UDP}}, /* has no state, no windows */
		{IPPROTO_UDP, false, {1, IPPROTO_ESP}}, /* has no ports */
		{IPPROTO_TCP, false, {2, TCP_STATE_NONE}},
		{IPPROTO_TCP, false, {2, TCP_STATE_COUNT}}, {IPPROTO_TCP, false, {2, 0xff}},
		{IPPROTO_UDP, false, {2, 1}}, {IPPROTO_ESP, false, {2, 1}},
		{IPPROTO_UDP, false, {3, FLOW_IPV6}}, {IPPROTO_TCP, false, {3, FLOW_BINDING}},
		{IPPROTO_ESP, false, {3, FLOW_BINDING}},
		{IPPROTO_ICMP, false, {3, FLOW_BINDING | FLOW_INBOUND}},
		{IPPROTO_UDP, false, {3, FLOW_HALF_OPEN}}, {IPPROTO_UDP, false, {3, FLOW_REFUSED}},
		{IPPROTO_UDP, false, {3, FLOW_COVERED}}, {IPPROTO_UDP, false, {3, FLOW_PERMISSION}},
		{IPPROTO_UDP, false, {7, 0x80}}, /* half of all time */
		{IPPROTO_UDP, false, {8, PORTS}}, {IPPROTO_UDP, false, {9, 1}},
		{IPPROTO_UDP, false, {10, PORTS}}, {IPPROTO_UDP, false, {11, 0xff}},
		{IPPROTO_UDP, false, {12, QUBES}}, {IPPROTO_UDP, false, {13, 0xff}},
		{IPPROTO_UDP, false, {16, 0}}, /* 0.137.0.16 */
		{IPPROTO_UDP, false, {16, 127}},
		{IPPROTO_UDP, false, {20, 1}}, /* behind an IPv4 address */
		{IPPROTO_UDP, false, {31, 1}}, {IPPROTO_UDP, false, {32, 224}},
		{IPPROTO_UDP, false, {36, 1}}, {IPPROTO_UDP, false, {52, 255}},
		{IPPROTO_UDP, false, {56, 1}}, {IPPROTO_UDP, false, {68, 127}},
		{IPPROTO_UDP, false, {72, 1}}, {IPPROTO_UDP, true, {16, 0xff}},
		{IPPROTO_UDP, true, {32, 0xff}}, {IPPROTO_UDP, true, {52, 0xff}},
		{IPPROTO_UDP, true, {68, 0xff}},
		{IPPROTO_ICMP, false, {50, 1}}, /* the end that is asked has no identifier */
		{IPPROTO_ICMP, false, {84, 1}}, {IPPROTO_ICMPV6, true, {51, 1}},
		{IPPROTO_ESP, false, {48, 1}}, {IPPROTO_ESP, false, {51, 1}},
		{IPPROTO_ESP, false, {85, 1}}, {IPPROTO_ESP, false, {87, 1}},
		{IPPROTO_UDP, false, {88, 1}}, /* windows of what has none */
		{IPPROTO_UDP, false, {105, 1}}, {IPPROTO_UDP, false, {122, 1}},
		{IPPROTO_UDP, false, {126, 1}}, {IPPROTO_TCP, false, {103, 0x04}}, /* 26 bits */
		{IPPROTO_TCP, false, {104, 0x40}}, /* no such flag */
		{IPPROTO_TCP, false, {121, 0x4f}}, {IPPROTO_TCP, false, {126, 16}},
		{IPPROTO_TCP, false, {127, 1}}, /* reserved */
	};
	struct snapshot_flow flow, back;
	uint8_t bytes[SNAPSHOT_FLOW_SIZE];

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		flow = flow_of(cases[i].protocol, cases[i].ipv6);
		CU_ASSERT(snapshot_flow_write(bytes, &flow, &header));
		bytes[cases[i].patch.at] = cases[i].patch.value;
		if (snapshot_flow_read(bytes, &header, &back) != NULL)
			continue;
		fprintf(stderr, "case %u is taken\n", i);
		CU_FAIL("a flow that cannot be is read");
	}
	flow = flow_of(IPPROTO_UDP, false);
	flow.remaining_ms = 0;
	CU_ASSERT(!snapshot_flow_write(bytes, &flow, &header));
	flow.remaining_ms = INT32_MAX;
	CU_ASSERT(snapshot_flow_write(bytes, &flow, &header));
	flow.remaining_ms++;
	CU_ASSERT(!snapshot_flow_write(bytes, &flow, &header));
	flow = flow_of(IPPROTO_UDP, false);
	flow.flags |= FLOW_COVERED;
	CU_ASSERT(!snapshot_flow_write(bytes, &flow, &header));
	flow = flow_of(IPPROTO_UDP, false);
	flow.port[1] = PORTS;
	CU_ASSERT(!snapshot_flow_write(bytes, &flow, &header));
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"checksum", test_checksum},
		{"header", test_header},
		{"counts in the header", test_header_counts},
		{"port", test_port},
		{"ports that cannot be", test_port_refused},
		{"qube", test_qube},
		{"layout of a flow", test_flow_layout},
		{"flows there and back", test_flow_and_back},
		{"flows there and back: what is rare", test_flow_rare},
		{"flows that cannot be", test_flow_refused},
	};

	return UNIT_RUN("snapshot format", tests);
}
