/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames that nobody should send, through the whole data plane, and what must hold all the same.
 *
 * Each frame is a good one, chosen at random, that was then damaged: bytes changed, cut, padded,
 * spliced with another, its checksums put right again or not, laid into a chain of mbufs or into a
 * buffer that ends where it does, with whatever a NIC may say of its checksum. Time passes, in
 * leaps as well. After every burst:
 *
 * - each received packet has one verdict, or waits for a neighbour; the trace saw it once
 * - what leaves by the uplink has our address as source (IPv6: that of a qube, or ours), the
 *   uplink's MAC, a right IP header checksum, and right L4 checksums where the input had them
 * - what comes in over the uplink reaches a qube only as the reverse of something that left
 * - what reaches a qube is addressed to it
 *
 * and at the end every mbuf is back in its pool.
 *
 *	FUZZ_FRAMES=2000000 FUZZ_SEED=1 FUZZ_SECONDS=20 fuzz_receive
 *
 * Ends after so many frames or seconds, whichever comes first. A failure names seed and frame.
 *Built with -DLIBFUZZER it is a target for libFuzzer, whose input is a list of frames.
 */
#include "tests/unit/plane.h"
#include "tests/unit/unit.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <time.h>

#include <rte_tcp.h>

#define FRAMES_DEFAULT 2000000
#define SECONDS_DEFAULT 20
#define SERIALS 65536 /* more than can be under way at once */
#define PAIRS (1u << 18)

static struct plane *plane;
static uint64_t seed;
static uint32_t serial;

/* What is known of a received packet, by serial number. */
static struct input {
	uint16_t port;
	uint8_t l4_right;
	uint8_t verdicts;
} inputs[SERIALS];

/* What left by the uplink, as the answer to it would come in: a set of hashes. */
static uint64_t answers[PAIRS];

static void __attribute__((noreturn, format(printf, 1, 2))) broken(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fprintf(stderr, "fuzz_receive: seed %" PRIu64 ", frame %u: ", seed, serial);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	abort();
}

/* --- what must hold --- */

static uint64_t
pair_hash(uint8_t protocol, const union address *source, const union address *destination,
	uint16_t source_port, uint16_t destination_port)
{
	uint64_t words[] = {protocol, source->half[0], source->half[1], destination->half[0],
		destination->half[1], (uint64_t)source_port << 16 | destination_port};
	uint64_t hash = UINT64_C(14695981039346656037);

	for (unsigned i = 0; i < RTE_DIM(words); i++)
		hash = (hash ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15) + (hash >> 29);
	return hash | 1;
}

static uint64_t *
answer_slot(uint64_t hash)
{
	for (uint32_t i = (uint32_t)hash % PAIRS;; i = (i + 1) % PAIRS)
		if (answers[i] == 0 || answers[i] == hash)
			return &answers[i];
}

static uint16_t
identifier(const uint8_t *bytes, const struct frame_view *view)
{
	bool icmp = view->protocol == IPPROTO_ICMP || view->protocol == IPPROTO_ICMPV6;

	return (uint16_t)(icmp ? bytes[view->l4 + 4] << 8 | bytes[view->l4 + 5] : 0);
}

static uint64_t
answer_to(const uint8_t *bytes, const struct frame_view *view)
{
	uint16_t id = identifier(bytes, view);

	return pair_hash(view->protocol, &view->destination, &view->source, view->destination_port,
		view->source_port | id);
}

/* A packet of a qube opened a flow but does not leave, or not yet: it may be answered. */
static void
expect_answer(const struct packet *packet)
{
	struct tuple tuple;
	uint64_t hash;

	if (packet->in_port == PLANE_UPLINK || packet->flow == NULL)
		return;
	flow_tuple(packet->flow, DIRECTION_REPLY, &tuple);
	hash = pair_hash(tuple.protocol, &tuple.source, &tuple.destination,
		rte_be_to_cpu_16(tuple.source_port), rte_be_to_cpu_16(tuple.destination_port));
	*answer_slot(hash) = hash;
}

/* Packets of this burst that were forwarded: their mbufs tell the serial number. */
static struct rte_mbuf *forwarded[4 * BURST_MAX + HELD_MAX];
static unsigned forwarded_count;

static void
trace(void *context, const struct rte_mbuf *mbuf, const struct packet *packet)
{
	struct input *input = &inputs[packet->serial % SERIALS];

	(void)context;
	if (input->verdicts++ != 0)
		broken("packet %u has two verdicts", packet->serial);
	if (packet->in_port != input->port)
		broken("packet %u came in somewhere else", packet->serial);
	if (packet->verdict == VERDICT_DROP &&
		(packet->reason == REASON_NONE || packet->reason >= REASON_COUNT))
		broken("packet %u was dropped for no reason", packet->serial);
	if (packet->verdict != VERDICT_FORWARD) {
		expect_answer(packet);
		return;
	}
	if (packet->flow == NULL)
		broken("packet %u was forwarded without a flow", packet->serial);
	if (packet->in_port == PLANE_UPLINK) {
		uint64_t hash = pair_hash(packet->tuple.protocol, &packet->tuple.source,
			&packet->tuple.destination, rte_be_to_cpu_16(packet->tuple.source_port),
			rte_be_to_cpu_16(packet->tuple.destination_port));

		if (*answer_slot(hash) != hash)
			broken("packet %u from the uplink answers nothing: protocol %u, ports %u "
			       "%u",
				packet->serial, packet->tuple.protocol,
				rte_be_to_cpu_16(packet->tuple.source_port),
				rte_be_to_cpu_16(packet->tuple.destination_port));
	} else if (packet->out_port != PLANE_UPLINK) {
		broken("packet %u went from qube to qube", packet->serial);
	}
	/* what leaves in pieces leaves as other mbufs */
	if ((packet->flags & PACKET_SPLIT) != 0) {
		expect_answer(packet);
		return;
	}
	if (forwarded_count == RTE_DIM(forwarded))
		broken("more was forwarded than received");
	forwarded[forwarded_count++] = (struct rte_mbuf *)(uintptr_t)mbuf;
}

/* Ours on the uplink, and those of the qubes. */
static union address own_address[PLANE_PORTS][FAMILIES];

static bool
is_of(uint16_t port, const struct frame_view *view, const union address *address)
{
	return address_equal(address, &own_address[port][view->family]);
}

static void
leave_uplink(const struct frame *out, const struct frame_view *view, bool is_forwarded)
{
	uint64_t hash = answer_to(out->bytes, view);
	bool ours = is_of(PLANE_UPLINK, view, &view->source);

	if (!ours)
		broken("a foreign source leaves by the uplink");
	if (is_forwarded)
		*answer_slot(hash) = hash;
}

static void
leave_qube(const struct frame_view *view, uint16_t port)
{
	if (is_of(port, view, &view->destination))
		return;
	/* neighbour discovery also answers link-local addresses */
	if (view->protocol != IPPROTO_ICMPV6 || view->destination.v6[0] != 0xfe)
		broken("a packet for somebody else reaches qube %u", port);
}

/* A fragment of something whole that has been let through. */
static bool
is_fragment(const uint8_t *bytes)
{
	if (bytes[12] == 0x08 && bytes[13] == 0x00)
		return ((bytes[20] & 0x3f) | bytes[21]) != 0;
	return bytes[12] == 0x86 && bytes[13] == 0xdd && bytes[20] == IPPROTO_FRAGMENT;
}

static void
watch(struct plane *own, const struct port *port, const struct rte_mbuf *mbuf)
{
	static struct frame out;
	const uint8_t *mac = port->index == PLANE_UPLINK ? plane_uplink_mac : plane_vif_mac;
	struct frame_view view;
	bool is_forwarded = false;
	unsigned faults;

	(void)own;
	for (unsigned i = 0; i < forwarded_count; i++)
		if (forwarded[i] == mbuf) {
			is_forwarded = true;
			forwarded[i] = forwarded[--forwarded_count];
			break;
		}
	frame_of_mbuf(&out, mbuf);
	if (out.length < 14 || out.length != rte_pktmbuf_pkt_len(mbuf))
		broken("a frame of %u bytes leaves", out.length);
	if (memcmp(out.bytes + 6, mac, 6) != 0)
		broken("a frame leaves with another source MAC");
	if (memcmp(out.bytes, mac, 6) == 0)
		broken("a frame leaves for ourselves");
	view = frame_view(out.bytes, out.length);
	if (!view.ip && is_fragment(out.bytes))
		return;
	if (!view.ip) {
		if (is_forwarded || out.bytes[12] != 0x08 || out.bytes[13] != 0x06 ||
			out.length != 42)
			broken("neither IP nor ARP leaves");
		return;
	}
	if (view.end != out.length)
		broken("padding leaves");
	if (port->index == PLANE_UPLINK)
		leave_uplink(&out, &view, is_forwarded);
	else
		leave_qube(&view, port->index);
	if ((mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		frame_complete(out.bytes, out.length);
	faults = frame_faults(out.bytes, out.length);
	if ((faults & FRAME_IP_CHECKSUM) != 0)
		broken("a wrong IPv4 header checksum leaves");
	if ((faults & FRAME_L4_CHECKSUM) != 0 &&
		(!is_forwarded ||
			inputs[packet_of((struct rte_mbuf *)(uintptr_t)mbuf)->serial % SERIALS]
				.l4_right))
		broken("a wrong checksum leaves: port %u, protocol %u, %s", port->index,
			view.protocol, is_forwarded ? "forwarded" : "our own");
}

/* Every packet received up to now has its verdict, but for those that wait. */
static void
settle(void)
{
	const struct worker *worker = plane->dataplane->workers[0];
	uint64_t verdicts = plane_verdicts(plane);

	for (unsigned i = 0; i < worker->held_count; i++)
		expect_answer(packet_of(worker->held[i].mbuf));
	if (verdicts + plane_held(plane) + fragment_count(worker->fragments) != plane->received)
		broken("%" PRIu64 " received, %" PRIu64 " verdicts, %u waiting", plane->received,
			verdicts, plane_held(plane));
	if (forwarded_count != 0)
		broken("%u forwarded packets never left", forwarded_count);
}

static void
open_plane(void)
{
	static const char *const texts[PLANE_PORTS][FAMILIES] = {
		{PLANE_UPLINK_ADDRESS, PLANE_UPLINK_ADDRESS6},
		{PLANE_WORK_ADDRESS, PLANE_WORK_ADDRESS6},
		{PLANE_PERSONAL_ADDRESS, PLANE_PERSONAL_ADDRESS6},
	};
	enum family family;

	for (uint16_t port = 0; port < (uint16_t)PLANE_PORTS; port++)
		for (unsigned i = 0; i < FAMILIES; i++)
			address_parse(texts[port][i], &family, &own_address[port][i]);
	plane = plane_create(&(struct plane_options){
		.rules = "policy=drop\naction=drop proto=udp dst4=192.0.2.8\n"
			 "action=accept dst4=192.0.2.0/24\naction=accept dst4=192.168.50.0/24\n"
			 "action=accept dst6=2606:4700::/32\naction=accept specialtarget=dns\n",
	});
	plane->watch = watch;
	dataplane_trace(plane->dataplane, trace, NULL);
	plane->dataplane->ports[PLANE_UPLINK].mtu = 1430; /* some of our longest are too long */
	plane_resolve(plane);
}

static void
close_plane(void)
{
	unsigned lost;

	plane_wait(plane, 40000); /* fragments wait longest */
	settle();
	lost = plane_free(plane);
	if (lost != 0)
		broken("%u mbufs were lost", lost);
}

/* Give a frame to the data plane, dressed as @p dress says. */
static struct rte_mbuf *
dressed(const struct frame *frame, uint16_t port, uint32_t dress)
{
	static const uint64_t checksums[] = {0, 0, 0, RTE_MBUF_F_RX_L4_CKSUM_GOOD,
		RTE_MBUF_F_RX_L4_CKSUM_NONE, RTE_MBUF_F_RX_L4_CKSUM_NONE,
		RTE_MBUF_F_RX_L4_CKSUM_BAD, 0};
	static struct frame copy;
	struct rte_mempool *pool = plane->dataplane->pool;
	struct frame_view view = frame_view(frame->bytes, frame->length);
	uint64_t checksum = checksums[dress & 7];
	struct rte_mbuf *mbuf;

	copy.length = frame->length;
	memcpy(copy.bytes, frame->bytes, frame->length);
	if (checksum == RTE_MBUF_F_RX_L4_CKSUM_NONE && view.ip && (dress & 8) != 0)
		frame_make_partial(&copy);
	switch ((dress >> 4) & 3) {
	case 0:
	case 1:
		mbuf = frame_mbuf_tight(pool, copy.bytes, copy.length);
		break;
	case 2:
		mbuf = frame_mbuf(pool, copy.bytes, copy.length);
		break;
	default:
		mbuf = frame_mbuf_chain(pool, copy.bytes, copy.length, 1 + (dress >> 8) % 160,
			1 + (dress >> 16) % 200);
		break;
	}
	mbuf->ol_flags |= checksum;
	if ((dress & 0xc0) == 0xc0) {
		mbuf->ol_flags |= RTE_MBUF_F_RX_LRO;
		mbuf->tso_segsz = (uint16_t)(dress >> 20);
	}
	serial++;
	packet_of(mbuf)->serial = serial;
	if (checksum == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		frame_complete(copy.bytes, copy.length);
	inputs[serial % SERIALS] = (struct input){
		.port = port,
		.l4_right = frame_faults(copy.bytes, copy.length) == 0,
	};
	return mbuf;
}

#ifdef LIBFUZZER

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	unit_eal();
	open_plane();
	atexit(close_plane);
	return 0;
}

/* Frames: port, dress, length of two bytes, and that many bytes. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct frame frame;

	while (size > 4) {
		uint16_t port = data[0] % PLANE_PORTS;
		uint32_t dress = data[1] * UINT32_C(0x01010101);
		struct rte_mbuf *mbuf;

		frame.length =
			RTE_MIN((uint32_t)(data[2] << 8 | data[3]) % 2048, (uint32_t)size - 4);
		memcpy(frame.bytes, data + 4, frame.length);
		data += 4 + frame.length;
		size -= 4 + frame.length;
		mbuf = dressed(&frame, port, dress);
		plane_receive(plane, port, &mbuf, 1);
		settle();
	}
	plane->now_ms += 10;
	return 0;
}

#else

static uint64_t random_state;

static uint32_t
draw(uint32_t range)
{
	uint64_t word = random_state += UINT64_C(0x9e3779b97f4a7c15);

	word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((word >> 32) % range);
}

/* --- good frames --- */

#define TEMPLATES_MAX 512
static struct template
{
	uint16_t port;
	uint32_t length;
	uint8_t bytes[1600];
}
templates[TEMPLATES_MAX];
static unsigned template_count;

static void
template_add(uint16_t port, const struct frame *frame)
{
	struct template *template = &templates[template_count];

	if (template_count == TEMPLATES_MAX || frame->length > sizeof(template->bytes))
		return;
	template->port = port;
	template->length = frame->length;
	memcpy(template->bytes, frame->bytes, frame->length);
	template_count++;
}

static void
templates_ip(uint16_t port, bool ipv6)
{
	static const uint8_t options[8] = {148, 4, 0, 0, 1, 1, 1, 0};
	static const uint8_t flags[] = {RTE_TCP_SYN_FLAG, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG,
		RTE_TCP_ACK_FLAG, RTE_TCP_FIN_FLAG | RTE_TCP_ACK_FLAG, RTE_TCP_RST_FLAG};
	static const char *const remotes[2][6] = {{"192.0.2.7", "192.0.2.8", "192.168.50.9",
							  PLANE_DNS, PLANE_GATEWAY, "198.51.100.1"},
		{"2606:4700::7", "2606:4700::8", "fd00:50::9", "2001:db9::1", PLANE_GATEWAY6,
			PLANE_UPLINK_ADDRESS6}};
	static const char *const sources[2][3] = {
		{NULL, PLANE_WORK_ADDRESS, PLANE_PERSONAL_ADDRESS},
		{NULL, PLANE_WORK_ADDRESS6, PLANE_PERSONAL_ADDRESS6}};
	static struct frame frame;

	for (unsigned i = 0; i < 60; i++) {
		uint8_t icmp = ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
		const char *remote = remotes[ipv6][i % 6];
		bool in = port == PLANE_UPLINK;
		uint8_t extensions[16] = {IPPROTO_DSTOPTS, 0, 1, 4, [10] = 1, [11] = 4};
		struct frame_spec spec = {
			.destination_mac = in ? plane_uplink_mac : plane_vif_mac,
			.source_mac = in ? plane_router_mac : plane_qube_mac,
			.protocol = (const uint8_t[]){IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, icmp,
				IPPROTO_UDP, 47}[i / 10],
			.source_port = 2000 + i % 2,
			.destination_port = 53,
			.tcp_flags = flags[i % 5],
			.tcp_options = (uint8_t)(i % 3 * 4),
			.type = ipv6 ? 128 : 8,
			.payload = (uint16_t)(i % 7 == 0 ? 1400 : i % 31),
			.ttl = i % 11 == 0 ? 1 : 64,
			.df = i % 2,
			.no_checksum = i % 9 == 0,
			.padding = (uint16_t)(i % 4 == 0 ? 6 : 0),
		};

		if (!ipv6 && i % 8 == 0) {
			spec.options = options;
			spec.options_length = sizeof(options);
		}
		if (ipv6 && i % 8 == 0) {
			extensions[8] = spec.protocol;
			spec.extensions = extensions;
			spec.extensions_length = sizeof(extensions);
			spec.first_extension = IPPROTO_HOPOPTS;
		}
		if (in) {
			spec.source = !ipv6 && i % 6 == 3 ? PLANE_RESOLVER : remote;
			spec.destination = !ipv6   ? PLANE_UPLINK_ADDRESS
					   : i % 2 ? PLANE_WORK_ADDRESS6
						   : PLANE_PERSONAL_ADDRESS6;
			spec.type = ipv6 ? 129 : 0;
			if (spec.protocol == IPPROTO_TCP || spec.protocol == IPPROTO_UDP) {
				spec.destination_port = spec.source_port;
				spec.source_port = 53;
			}
		} else {
			spec.source = sources[ipv6][port];
			spec.destination = remote;
		}
		if (spec.protocol == icmp && i % 3 == 0)
			spec.type = (uint8_t)(i * 5);
		frame_build(&frame, &spec);
		template_add(port, &frame);
	}
}

static void
templates_neighbours(void)
{
	static struct frame frame;

	for (uint16_t opcode = 1; opcode <= 2; opcode++) {
		frame_arp(&frame, opcode, plane_uplink_mac, plane_router_mac, PLANE_ROUTER,
			PLANE_UPLINK_ADDRESS);
		template_add(PLANE_UPLINK, &frame);
		frame_arp(&frame, opcode, plane_uplink_mac, plane_router_mac, "192.168.50.9",
			PLANE_UPLINK_ADDRESS);
		template_add(PLANE_UPLINK, &frame);
		frame_arp(&frame, opcode, plane_broadcast, plane_qube_mac, PLANE_WORK_ADDRESS,
			PLANE_GATEWAY);
		template_add(PLANE_WORK, &frame);
	}
	for (uint8_t type = 135; type <= 136; type++) {
		frame_nd(&frame, type, plane_uplink_mac, plane_router_mac, PLANE_ROUTER6,
			PLANE_UPLINK_ADDRESS6, type == 135 ? PLANE_UPLINK_ADDRESS6 : PLANE_ROUTER6,
			plane_router_mac);
		template_add(PLANE_UPLINK, &frame);
		frame_nd(&frame, type, plane_vif_mac, plane_qube_mac, PLANE_WORK_ADDRESS6,
			PLANE_GATEWAY6, PLANE_GATEWAY6, plane_qube_mac);
		template_add(PLANE_WORK, &frame);
		frame_nd(&frame, type, plane_vif_mac, plane_qube_mac, "fe80::216:3eff:fe5e:6c00",
			PLANE_GATEWAY6, PLANE_GATEWAY6, NULL);
		template_add(PLANE_WORK, &frame);
	}
}

/* --- damage --- */

static void
damage(struct frame *frame)
{
	static const uint8_t values[] = {0, 1, 4, 5, 6, 17, 58, 60, 64, 127, 128, 254, 255};
	unsigned hits = draw(4);

	for (unsigned i = 0; i < hits && frame->length > 0; i++) {
		/* headers are where it hurts */
		uint32_t at = draw(draw(4) != 0 ? RTE_MIN(frame->length, 80u) : frame->length);

		switch (draw(4)) {
		case 0:
			frame->bytes[at] ^= (uint8_t)(1 << draw(8));
			break;
		case 1:
			frame->bytes[at] = values[draw(RTE_DIM(values))];
			break;
		default:
			frame->bytes[at] = (uint8_t)draw(256);
			break;
		}
	}
	switch (draw(24)) {
	case 0:
		frame->length = draw(frame->length + 1);
		break;
	case 1: {
		uint32_t more = draw(64);

		memset(frame->bytes + frame->length, (int)draw(256), more);
		frame->length += more;
		break;
	}
	case 2: {
		const struct template *other = &templates[draw(template_count)];
		uint32_t at = draw(RTE_MIN(frame->length, other->length) + 1);

		memcpy(frame->bytes + at, other->bytes + at, other->length - at);
		frame->length = other->length;
		break;
	}
	default:
		break;
	}
	if (draw(3) != 0)
		frame_fix(frame->bytes, frame->length);
}

static void
one_burst(void)
{
	static struct frame frame;
	struct rte_mbuf *burst[BURST_MAX];
	unsigned count = draw(4) == 0 ? 1 : 1 + draw(BURST_MAX);
	uint16_t port = (uint16_t)draw(PLANE_PORTS);
	unsigned filled = 0;

	while (filled < count) {
		const struct template *template = &templates[draw(template_count)];

		/* mostly frames that belong there */
		if (template->port != port && draw(50) != 0)
			continue;
		frame.length = template->length;
		memcpy(frame.bytes, template->bytes, template->length);
		if (draw(4) != 0)
			damage(&frame);
		burst[filled++] = dressed(&frame, port, draw(3) == 0 ? 0x20 : draw(UINT32_MAX));
	}
	plane_receive(plane, port, burst, count);
	settle();
	switch (draw(200)) {
	case 0:
		plane_wait(plane, 100 * (1 + draw(300)));
		break;
	case 1: /* the router is to be found again */
		plane->now_ms += 31000;
		plane_wait(plane, 5000);
		break;
	default:
		plane->now_ms += draw(20);
		break;
	}
	settle();
}

static uint64_t
number_of(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

int
main(void)
{
	uint64_t frames = number_of("FUZZ_FRAMES", FRAMES_DEFAULT);
	time_t end = time(NULL) + (time_t)number_of("FUZZ_SECONDS", SECONDS_DEFAULT);
	uint64_t started, forwards;

	seed = number_of("FUZZ_SEED", 1);
	random_state = seed;
	unit_eal();
	printf("FUZZ_SEED=%" PRIu64 " FUZZ_FRAMES=%" PRIu64 "\n", seed, frames);
	fflush(stdout);
	for (unsigned ipv6 = 0; ipv6 < 2; ipv6++)
		for (uint16_t port = 0; port < (uint16_t)PLANE_PORTS; port++)
			templates_ip(port, ipv6);
	templates_neighbours();
	open_plane();
	for (started = 0; serial < frames && time(NULL) <= end; started++)
		one_burst();
	forwards = plane->dataplane->workers[0]->counters.verdicts[VERDICT_FORWARD];
	printf("%u frames in %" PRIu64 " bursts: %" PRIu64 " forwarded, %" PRIu64 " taken, %" PRIu64
	       " dropped, %" PRIu64 " flows\n",
		serial, started, forwards,
		plane->dataplane->workers[0]->counters.verdicts[VERDICT_LOCAL],
		plane->dataplane->workers[0]->counters.verdicts[VERDICT_DROP],
		flow_opened(plane->dataplane->workers[0]->flows));
	/* A fuzzer whose frames all die at the door looks at the door alone. */
	if (serial > 10000 && forwards < serial / 20)
		broken("only %" PRIu64 " of %u frames were forwarded", forwards, serial);
	for (unsigned i = REASON_NONE + 1; i < REASON_COUNT; i++)
		printf("%10" PRIu64 "  %s\n", plane_drops(plane, i), reasons[i].name);
	close_plane();
	return 0;
}

#endif
