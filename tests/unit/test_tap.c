/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taps on a data plane: what they record of packets that pass, end, wait, change workers, come in
 * pieces; and that a tap which has no room, or goes while packets are under way, harms nobody.
 */
#include <netinet/in.h>

#include "app/tap.h"
#include "tests/unit/plane.h"
#include "tests/unit/unit.h"

static struct plane *plane;
static struct tap_set set;
static struct frame frame;

static void
install(const struct tap_set *wanted)
{
	for (unsigned i = 0; i < plane->dataplane->worker_count; i++)
		tap_install(plane->dataplane->workers[i], wanted);
}

static struct tap *
tap_on(unsigned slot, struct tap_options options)
{
	struct tap *tap = NULL;

	if (options.snaplen == 0)
		options.snaplen = TAP_SNAPLEN_MAX;
	CU_ASSERT_EQUAL_FATAL(tap_create(slot, &options, &tap), 0);
	set.tap[slot] = tap;
	install(&set);
	tap_receive_from_now(tap, true);
	return tap;
}

static void
tap_off(unsigned slot)
{
	struct tap *tap = set.tap[slot];

	tap_receive_from_now(tap, false);
	set.tap[slot] = NULL;
	for (unsigned i = 0; i < TAPS_MAX; i++)
		if (set.tap[i] != NULL) {
			tap_free(tap);
			return;
		}
	install(NULL);
	tap_free(tap);
}

static void
begin(const struct plane_options *options)
{
	plane = plane_create(options);
	memset(&set, 0, sizeof(set));
}

static void
end(void)
{
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

static void
send_udp(uint16_t source_port, const char *destination, uint16_t payload)
{
	frame_build(&frame, &(struct frame_spec){
				    .destination_mac = plane_vif_mac,
				    .source_mac = plane_qube_mac,
				    .source = PLANE_WORK_ADDRESS,
				    .destination = destination,
				    .protocol = IPPROTO_UDP,
				    .source_port = source_port,
				    .destination_port = 7,
				    .payload = payload,
			    });
	plane_send(plane, PLANE_WORK, &frame);
}

/* The next record of a tap; the one before is given back. NULL: there is none. */
static const struct tap_record *
next(struct tap *tap, struct frame *bytes)
{
	static struct tap_record record;
	struct rte_mbuf *mbuf;

	if (tap_take(tap, &mbuf, 1) == 0)
		return NULL;
	record = *tap_record(mbuf);
	if (bytes != NULL)
		frame_of_mbuf(bytes, mbuf);
	rte_pktmbuf_free(mbuf);
	return &record;
}

static const struct plane_options automatic = {
	.automatic = true, .rules = "policy=drop\naction=accept dst4=192.0.2.0/24\n"};

/* What passes is seen as it came and as it left; what does not, as it came. */
static void
test_frames(void)
{
	const struct tap_record *record;
	struct frame seen;
	struct tap *tap;

	begin(&automatic);
	tap = tap_on(0, (struct tap_options){.frames = true, .port = PORT_NONE});
	send_udp(4000, "192.0.2.1", 100);
	record = next(tap, &seen);
	CU_ASSERT_PTR_NOT_NULL_FATAL(record);
	CU_ASSERT(!record->out && !record->own);
	CU_ASSERT_EQUAL(record->port, PLANE_WORK);
	CU_ASSERT_EQUAL(record->wire_length, frame.length);
	CU_ASSERT_EQUAL(record->summary.verdict, VERDICT_FORWARD);
	CU_ASSERT_EQUAL(record->summary.rule, 0);
	CU_ASSERT_EQUAL(record->summary.out_port, PLANE_UPLINK);
	CU_ASSERT_EQUAL(record->flow, TAP_FLOW_OPENED);
	CU_ASSERT_EQUAL(record->left.source.v4, rte_cpu_to_be_32(0xc0a83201));
	CU_ASSERT(record->next_hop_known);
	CU_ASSERT_EQUAL(record->next_hop.v4, rte_cpu_to_be_32(0xc0a83202));
	CU_ASSERT(seen.length == frame.length && memcmp(seen.bytes, frame.bytes, seen.length) == 0);
	record = next(tap, &seen);
	CU_ASSERT_PTR_NOT_NULL_FATAL(record);
	CU_ASSERT(record->out && !record->own);
	CU_ASSERT_EQUAL(record->port, PLANE_UPLINK);
	CU_ASSERT(frame_view(seen.bytes, seen.length).source.v4 == rte_cpu_to_be_32(0xc0a83201));
	CU_ASSERT_EQUAL(frame_faults(seen.bytes, seen.length), 0);
	CU_ASSERT_PTR_NULL(next(tap, NULL));
	send_udp(4000, "192.0.2.1", 100);
	record = next(tap, NULL);
	CU_ASSERT_EQUAL(record->flow, TAP_FLOW_KNOWN);
	CU_ASSERT_PTR_NOT_NULL(next(tap, NULL));

	send_udp(4000, "198.51.100.1", 1);
	/* the answer of the firewall leaves at the end of the burst */
	record = next(tap, NULL);
	CU_ASSERT_EQUAL(record->summary.verdict, VERDICT_DROP);
	CU_ASSERT_EQUAL(record->summary.reason, REASON_POLICY);
	CU_ASSERT_EQUAL(record->summary.out_port, PORT_NONE);
	record = next(tap, &seen);
	CU_ASSERT_PTR_NOT_NULL_FATAL(record);
	CU_ASSERT(record->out && record->own);
	CU_ASSERT_EQUAL(record->port, PLANE_WORK);
	CU_ASSERT_EQUAL(frame_view(seen.bytes, seen.length).protocol, IPPROTO_ICMP);
	CU_ASSERT_PTR_NULL(next(tap, NULL));
	CU_ASSERT_EQUAL(tap_missed(tap), 0);
	tap_off(0);
	end();
}

/* Several taps, each with its own wishes. */
static void
test_wishes(void)
{
	/* udp src port 4001: ip, not a fragment's concern here */
	static const struct bpf_insn program[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 34),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 4001, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct tap_options filtered = {.frames = true, .port = PORT_NONE, .snaplen = 20};
	struct tap *drops, *uplink, *few, *traced;
	const struct tap_record *record;
	struct frame seen;

	begin(&automatic);
	CU_ASSERT_FATAL(tap_filter_set(&filtered.filter, program, RTE_DIM(program)));
	drops = tap_on(0, (struct tap_options){.frames = true, .drops = true, .port = PORT_NONE});
	uplink = tap_on(1, (struct tap_options){.frames = true, .port = PLANE_UPLINK});
	few = tap_on(2, filtered);
	traced = tap_on(3, (struct tap_options){.port = PLANE_UPLINK});
	send_udp(4000, "192.0.2.1", 3000 % 1400);
	send_udp(4001, "192.0.2.1", 200);
	send_udp(4002, "198.51.100.1", 1);

	record = next(drops, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(record);
	CU_ASSERT_EQUAL(record->summary.reason, REASON_POLICY);
	CU_ASSERT_PTR_NULL(next(drops, NULL));
	for (unsigned i = 0; i < 2; i++) {
		record = next(uplink, NULL);
		CU_ASSERT_PTR_NOT_NULL_FATAL(record);
		CU_ASSERT(record->out && record->port == PLANE_UPLINK);
	}
	CU_ASSERT_PTR_NULL(next(uplink, NULL));
	record = next(few, &seen);
	CU_ASSERT_PTR_NOT_NULL_FATAL(record);
	CU_ASSERT_EQUAL(seen.length, 20);
	CU_ASSERT_EQUAL(record->wire_length, 242);
	CU_ASSERT_EQUAL(rte_be_to_cpu_16(record->summary.tuple.source_port), 4001);
	record = next(few, NULL);
	CU_ASSERT(record != NULL && record->out);
	CU_ASSERT_PTR_NULL(next(few, NULL));
	/* what was traced left there, though it did not arrive there */
	for (unsigned i = 0; i < 2; i++) {
		record = next(traced, &seen);
		CU_ASSERT_PTR_NOT_NULL_FATAL(record);
		CU_ASSERT(!record->out && record->port == PLANE_WORK);
		CU_ASSERT_EQUAL(record->summary.out_port, PLANE_UPLINK);
		CU_ASSERT_EQUAL(seen.length, 0);
	}
	CU_ASSERT_PTR_NULL(next(traced, NULL));
	for (unsigned i = 0; i < TAPS_MAX; i++)
		tap_off(i);
	end();
}

/* Packets that another worker ends. */
static void
test_handover(void)
{
	unsigned by[2] = {0, 0};
	struct tap *tap;

	begin(&(struct plane_options){.automatic = true, .workers = 2});
	tap = tap_on(0, (struct tap_options){.port = PORT_NONE});
	for (uint16_t i = 0; i < 64; i++) {
		char host[32];
		uint64_t before = plane->dataplane->workers[0]->counters.verdicts[VERDICT_FORWARD];
		const struct tap_record *record;

		snprintf(host, sizeof(host), "192.0.2.%u", i + 1);
		send_udp((uint16_t)(5000 + i), host, 10);
		by[plane->dataplane->workers[0]->counters.verdicts[VERDICT_FORWARD] == before]++;
		record = next(tap, NULL);
		CU_ASSERT_PTR_NOT_NULL_FATAL(record);
		CU_ASSERT_EQUAL(rte_be_to_cpu_16(record->summary.tuple.source_port), 5000 + i);
		CU_ASSERT_EQUAL(record->summary.verdict, VERDICT_FORWARD);
		CU_ASSERT_PTR_NULL(next(tap, NULL));
	}
	CU_ASSERT(by[0] > 0 && by[1] > 0);
	tap_off(0);
	end();
}

/* The fragments of a datagram end one by one, the last of them as the datagram. */
static void
test_fragments(void)
{
	static struct frame whole, part;
	const struct tap_record *record;
	struct tap *tap;

	begin(&(struct plane_options){.automatic = true, .workers = 2});
	tap = tap_on(0, (struct tap_options){.port = PORT_NONE});
	frame_build(&whole, &(struct frame_spec){
				    .destination_mac = plane_vif_mac,
				    .source_mac = plane_qube_mac,
				    .source = PLANE_WORK_ADDRESS,
				    .destination = "192.0.2.1",
				    .protocol = IPPROTO_UDP,
				    .source_port = 4000,
				    .destination_port = 7,
				    .payload = 1000,
			    });
	part = whole;
	part.length = 34 + 800;
	put16(part.bytes + 16, 20 + 800);
	put16(part.bytes + 20, 0x2000);
	put16(part.bytes + 24, 0);
	frame_fix(part.bytes, 34);
	plane_send(plane, PLANE_WORK, &part);
	CU_ASSERT_PTR_NULL(next(tap, NULL));
	memmove(part.bytes + 34, whole.bytes + 34 + 800, 208);
	part.length = 34 + 208;
	put16(part.bytes + 16, 20 + 208);
	put16(part.bytes + 20, 100);
	put16(part.bytes + 24, 0);
	frame_fix(part.bytes, 34);
	plane_send(plane, PLANE_WORK, &part);
	record = next(tap, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(record);
	CU_ASSERT_EQUAL(record->summary.verdict, VERDICT_JOINED);
	record = next(tap, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(record);
	CU_ASSERT_EQUAL(record->summary.verdict, VERDICT_FORWARD);
	CU_ASSERT_PTR_NULL(next(tap, NULL));
	/* one that waits in vain */
	plane_send(plane, PLANE_WORK, &part);
	plane_wait(plane, 40000);
	record = next(tap, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(record);
	CU_ASSERT_EQUAL(record->summary.reason, REASON_FRAGMENT_TIMEOUT);
	tap_off(0);
	end();
}

/* Nobody takes the records: they run out, or the ring does; packets do not notice. */
static void
test_exhausted(void)
{
	struct tap *traced, *captured;
	unsigned count = 0;

	begin(&automatic);
	traced = tap_on(0, (struct tap_options){.port = PORT_NONE});
	captured = tap_on(1, (struct tap_options){.frames = true, .port = PORT_NONE});
	for (unsigned i = 0; i < 1500; i++)
		send_udp(4000, "192.0.2.1", 1400);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 1500);
	while (next(traced, NULL) != NULL)
		count++;
	/* a ring holds one less than its size */
	CU_ASSERT_EQUAL(count, TAP_RING - 1);
	CU_ASSERT_EQUAL(count + tap_missed(traced), 1500);
	count = 0;
	while (next(captured, NULL) != NULL)
		count++;
	CU_ASSERT_EQUAL(count + tap_missed(captured), 3000);
	/* and then all is well again */
	send_udp(4000, "192.0.2.1", 1400);
	CU_ASSERT_PTR_NOT_NULL(next(traced, NULL));
	CU_ASSERT_PTR_NOT_NULL(next(captured, NULL));
	tap_off(0);
	tap_off(1);
	end();
}

/* A tap goes while a packet waits for its next hop, and another one comes in its place. */
static void
test_removed(void)
{
	struct tap *tap;

	begin(&(struct plane_options){.automatic = false});
	(void)tap_on(0, (struct tap_options){.frames = true, .port = PORT_NONE});
	send_udp(4000, "192.0.2.1", 10);
	CU_ASSERT_EQUAL(plane_held(plane), 1);
	tap_off(0);
	tap = tap_on(0, (struct tap_options){.port = PORT_NONE});
	plane_resolve(plane);
	plane_service(plane);
	CU_ASSERT_EQUAL(plane_held(plane), 0);
	CU_ASSERT_PTR_NULL(next(tap, NULL));
	/* one that waits while there is no tap any more */
	send_udp(4001, "192.0.2.1", 10);
	CU_ASSERT_PTR_NOT_NULL(next(tap, NULL));
	tap_off(0);
	send_udp(4002, "192.0.2.1", 10);
	CU_ASSERT(plane_waiting(plane, PLANE_UPLINK) >= 3);
	end();
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"frames that pass and frames that do not", test_frames},
		{"several taps", test_wishes},
		{"packets that another worker ends", test_handover},
		{"fragments", test_fragments},
		{"no records left", test_exhausted},
		{"a tap that goes", test_removed},
	};

	unit_eal();
	return UNIT_RUN("tap", tests);
}
