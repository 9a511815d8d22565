/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last drops: what a data plane notes, what a watch sees of it, and notes that are read while
 * they are written.
 */
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>

#include "app/drop_note.h"
#include "tests/unit/plane.h"
#include "tests/unit/unit.h"

#define UNIX_NS UINT64_C(1700000000000000000)
#define MS_NS UINT64_C(1000000)

/* What the watch has found at a port for a reason since the last forget(). */
static struct {
	unsigned count;
	uint64_t missed;
	struct drop_seen seen[64];
} heard[PLANE_PORTS][REASON_COUNT];

static void
hear(void *context, uint16_t port, enum reason reason, const struct drop_seen *seen, unsigned count,
	uint64_t missed)
{
	(void)context;
	CU_ASSERT_FATAL(heard[port][reason].count + count <= 64);
	memcpy(heard[port][reason].seen + heard[port][reason].count, seen, count * sizeof(*seen));
	heard[port][reason].count += count;
	heard[port][reason].missed += missed;
}

static void
look(struct plane *plane, struct drop_watch *watch)
{
	memset(heard, 0, sizeof(heard));
	drop_watch_poll(watch, plane->now_ms, UNIX_NS + plane->now_ms * MS_NS, hear, NULL);
}

static void
send_from(struct plane *plane, uint16_t port, const char *source, const char *destination,
	uint16_t destination_port)
{
	struct frame frame;

	frame_build(&frame, &(struct frame_spec){
				    .destination_mac = plane_vif_mac,
				    .source_mac = plane_qube_mac,
				    .source = source,
				    .destination = destination,
				    .protocol = IPPROTO_TCP,
				    .tcp_flags = 0x02,
				    .source_port = 40000,
				    .destination_port = destination_port,
			    });
	plane_send(plane, port, &frame);
}

static void
send_work(struct plane *plane, uint16_t destination_port)
{
	send_from(plane, PLANE_WORK, PLANE_WORK_ADDRESS, "192.0.2.1", destination_port);
}

static uint16_t
port_of(const struct drop_seen *seen)
{
	return rte_be_to_cpu_16(seen->summary.tuple.destination_port);
}

static const struct plane_options refusing = {
	.rules = "policy=drop\naction=accept dst4=198.51.100.0/24\n"
		 "action=drop proto=tcp dstports=22-22\n",
};

/* What is noted, and that both the watch and its memory have it, in order. */
static void
test_seen(void)
{
	struct plane *plane = plane_create(&refusing);
	struct drop_watch *watch = drop_watch_create(plane->dataplane);
	struct drop_seen last[DROP_NOTES];
	const struct drop_seen *seen = heard[PLANE_WORK][REASON_RULE].seen;

	look(plane, watch);
	CU_ASSERT_EQUAL(heard[PLANE_WORK][REASON_RULE].count, 0);
	send_work(plane, 22);
	plane_wait(plane, 300);
	send_work(plane, 80);
	send_from(plane, PLANE_PERSONAL, "10.137.0.99", "192.0.2.1", 443);
	look(plane, watch);
	CU_ASSERT_EQUAL_FATAL(heard[PLANE_WORK][REASON_RULE].count, 1);
	CU_ASSERT_EQUAL(heard[PLANE_WORK][REASON_RULE].missed, 0);
	CU_ASSERT_EQUAL(seen->time_ns, UNIX_NS + 1000 * MS_NS);
	CU_ASSERT_EQUAL(port_of(seen), 22);
	CU_ASSERT_EQUAL(seen->summary.rule, 1);
	CU_ASSERT_EQUAL(seen->summary.in_port, PLANE_WORK);
	CU_ASSERT_EQUAL(seen->summary.out_port, PORT_NONE);
	CU_ASSERT_EQUAL(seen->summary.reason, REASON_RULE);
	CU_ASSERT_EQUAL(seen->summary.verdict, VERDICT_DROP);
	CU_ASSERT_EQUAL(seen->summary.tcp_flags, 2);
	CU_ASSERT_EQUAL(seen->summary.length, 54);
	CU_ASSERT_EQUAL_FATAL(heard[PLANE_WORK][REASON_POLICY].count, 1);
	CU_ASSERT_EQUAL(heard[PLANE_WORK][REASON_POLICY].seen[0].time_ns, UNIX_NS + 1300 * MS_NS);
	CU_ASSERT_EQUAL(heard[PLANE_PERSONAL][REASON_SOURCE_ADDRESS].count, 1);
	CU_ASSERT_EQUAL(heard[PLANE_UPLINK][REASON_RULE].count, 0);

	look(plane, watch);
	CU_ASSERT_EQUAL(heard[PLANE_WORK][REASON_RULE].count, 0);
	CU_ASSERT_EQUAL_FATAL(drop_watch_last(watch, PLANE_WORK, REASON_RULE, last), 1);
	CU_ASSERT_EQUAL(port_of(&last[0]), 22);
	CU_ASSERT_EQUAL(drop_watch_last(watch, PLANE_UPLINK, REASON_RULE, last), 0);
	drop_watch_free(watch);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* Of a flood the last ones are seen, and the others counted. */
static void
test_flood(void)
{
	struct plane *plane = plane_create(&refusing);
	struct drop_watch *watch = drop_watch_create(plane->dataplane);
	struct drop_seen last[DROP_NOTES];

	for (uint16_t i = 1; i <= 1000; i++)
		send_work(plane, (uint16_t)(1000 + i));
	look(plane, watch);
	CU_ASSERT_EQUAL(heard[PLANE_WORK][REASON_POLICY].count, DROP_NOTES);
	CU_ASSERT_EQUAL(heard[PLANE_WORK][REASON_POLICY].missed, 1000 - DROP_NOTES);
	for (unsigned i = 0; i < DROP_NOTES; i++)
		CU_ASSERT_EQUAL(port_of(&heard[PLANE_WORK][REASON_POLICY].seen[i]), 1997 + i);
	send_work(plane, 5);
	send_work(plane, 6);
	plane_wait(plane, 100);
	look(plane, watch);
	CU_ASSERT_EQUAL(heard[PLANE_WORK][REASON_POLICY].count, 2);
	CU_ASSERT_EQUAL(heard[PLANE_WORK][REASON_POLICY].missed, 0);
	CU_ASSERT_EQUAL_FATAL(drop_watch_last(watch, PLANE_WORK, REASON_POLICY, last), DROP_NOTES);
	CU_ASSERT_EQUAL(port_of(&last[0]), 1999);
	CU_ASSERT_EQUAL(port_of(&last[1]), 2000);
	CU_ASSERT_EQUAL(port_of(&last[2]), 5);
	CU_ASSERT_EQUAL(port_of(&last[3]), 6);
	drop_watch_free(watch);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* A watch that begins late tells of what is still noted; one whose count has come round goes on. */
static void
test_numbers(void)
{
	struct plane *plane = plane_create(&refusing);
	struct drop_watch *watch = drop_watch_create(plane->dataplane);
	uint64_t *count = &plane->dataplane->workers[0]->ports[PLANE_WORK].drops[REASON_POLICY];

	/* more than the sequence can tell apart, in steps as small as polls make them */
	*count = (UINT64_C(1) << 31) - 2;
	look(plane, watch);
	CU_ASSERT_EQUAL(heard[PLANE_WORK][REASON_POLICY].count, 0);
	for (uint16_t i = 1; i <= 4; i++) {
		send_work(plane, i);
		look(plane, watch);
		/* the number that is zero in the sequence is the only one that is not seen */
		CU_ASSERT_EQUAL(heard[PLANE_WORK][REASON_POLICY].count +
					heard[PLANE_WORK][REASON_POLICY].missed,
			1);
		CU_ASSERT(i == 2 || heard[PLANE_WORK][REASON_POLICY].count == 1);
	}
	drop_watch_free(watch);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* An ICMP error that is about no flow is noted as it came, not as what it quotes. */
static void
test_icmp_error(void)
{
	struct plane *plane = plane_create(&(struct plane_options){.automatic = true});
	struct drop_watch *watch = drop_watch_create(plane->dataplane);
	const struct drop_seen *seen = heard[PLANE_UPLINK][REASON_ICMP_ERROR].seen;
	struct frame frame;
	struct frame quoted;

	frame_build(&quoted, &(struct frame_spec){
				     .source = "192.168.50.1",
				     .destination = "192.0.2.1",
				     .protocol = IPPROTO_TCP,
				     .source_port = 1,
				     .destination_port = 2,
			     });
	frame_build(&frame, &(struct frame_spec){
				    .destination_mac = plane_uplink_mac,
				    .source_mac = plane_router_mac,
				    .source = "192.0.2.77",
				    .destination = PLANE_UPLINK_ADDRESS,
				    .protocol = IPPROTO_ICMP,
				    .type = 3,
				    .code = 1,
				    .payload = 28,
			    });
	memcpy(frame.bytes + 42, quoted.bytes + 14, 28);
	frame_fix(frame.bytes, frame.length);
	plane_send(plane, PLANE_UPLINK, &frame);
	look(plane, watch);
	CU_ASSERT_EQUAL_FATAL(heard[PLANE_UPLINK][REASON_ICMP_ERROR].count, 1);
	CU_ASSERT_EQUAL(seen->summary.tuple.protocol, IPPROTO_ICMP);
	CU_ASSERT_EQUAL(seen->summary.tuple.source.v4, rte_cpu_to_be_32(0xc000024d));
	CU_ASSERT_EQUAL(seen->summary.icmp_type, 3);
	CU_ASSERT_EQUAL(seen->summary.icmp_code, 1);
	drop_watch_free(watch);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* --- notes that are read while they are written --- */

static struct drop_notes notes;
static atomic_bool stop;

/* All of a packet's fields say the same number. */
static void *
write_notes(void *context)
{
	struct packet packet = {.reason = REASON_RULE, .qube = 1};
	uint64_t *written = context;
	cpu_set_t all;

	/* EAL has bound its thread to one CPU, and so those that come from it */
	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
	for (uint64_t i = 0; !atomic_load_explicit(&stop, memory_order_relaxed); i++) {
		packet.tuple.source.half[0] = packet.tuple.source.half[1] = i;
		packet.tuple.destination.half[0] = packet.tuple.destination.half[1] = i;
		packet.frame_length = (uint32_t)i;
		packet.rule = (uint16_t)i;
		packet.icmp_type = packet.icmp_code = packet.tcp_flags = (uint8_t)i;
		drop_note(&notes, i, &packet, (uint32_t)i);
		*written = i + 1;
	}
	return NULL;
}

static void
test_torn(void)
{
	uint64_t written = 0;
	unsigned read = 0;
	uint32_t latest = 0;
	bool whole = true;
	pthread_t writer;

	CU_ASSERT_EQUAL_FATAL(pthread_create(&writer, NULL, write_notes, &written), 0);
	for (unsigned i = 0; i < 3000000 && read < 300000; i++) {
		struct packet_summary summary;
		uint32_t time_ms = 0;
		uint32_t number = drop_note_read(
			&notes.note[REASON_RULE][i % DROP_NOTES], &summary, &time_ms);
		uint64_t is = number - 1;

		if (number == 0)
			continue;
		read++;
		latest = RTE_MAX(latest, number);
		whole = whole && time_ms == (uint32_t)is && is % DROP_NOTES == i % DROP_NOTES &&
			summary.tuple.source.half[0] == is && summary.tuple.source.half[1] == is &&
			summary.tuple.destination.half[0] == is &&
			summary.tuple.destination.half[1] == is && summary.length == (uint32_t)is &&
			summary.rule == (uint16_t)is && summary.icmp_type == (uint8_t)is &&
			summary.icmp_code == (uint8_t)is && summary.tcp_flags == (uint8_t)is;
	}
	atomic_store(&stop, true);
	pthread_join(writer, NULL);
	CU_ASSERT(whole);
	CU_ASSERT(read > 1000);
	CU_ASSERT(latest > 1 && latest <= written);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"drops that are seen", test_seen},
		{"a flood", test_flood},
		{"numbers that come round", test_numbers},
		{"an ICMP error", test_icmp_error},
		{"read while written", test_torn},
	};

	unit_eal();
	return UNIT_RUN("drop_note", tests);
}
