/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Thousands of connections between two honest ends (tcp_host.h) whose every segment passes through
 * the tracker, on a network that loses, repeats and reorders on both sides of it, and with somebody
 * who sends segments in their names without knowing their numbers. Two things must hold:
 *
 * A	No honest segment is refused, but for those that the tables say: see exempt().
 * B	What the blind one sends changes nothing that is known of the flow, none of his data is
 *	taken, and every connection ends as it would have without him.
 *
 *	SIMULATION_SEED=1 SIMULATION_CONNECTIONS=10000 test_tcp_simulation
 *
 * A failure names the seed of its connection: that and one connection show it again, with
 * SIMULATION_TRACE=1 segment by segment.
 */
#include "tests/unit/tcp_host.h"
#include "tests/unit/unit.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>

#include <rte_common.h>
#include <rte_tcp.h>

#include "nat/track.h"

#define FIN RTE_TCP_FIN_FLAG
#define SYN RTE_TCP_SYN_FLAG
#define RST RTE_TCP_RST_FLAG
#define ACK RTE_TCP_ACK_FLAG

#define CONNECTIONS_DEFAULT 10000
#define FLIGHTS 512
#define EVENTS_MOST 200000
/* From here on a blind number is far outside: no window here is larger, nor what is forgiven. */
#define FAR (UINT32_C(1) << 24)

/* A segment on one side of the tracker. */
struct flight {
	uint32_t when_ms;
	enum direction direction;
	bool beyond; /* the tracker has passed it */
	struct host_segment segment;
};

/* What a network is like, and who else is there. */
struct network {
	unsigned loss, repetition; /* per 1000 */
	uint32_t delay_ms, jitter_ms;
	bool attacked;
	enum direction attacks; /* in the name of who sends that way */
};

static struct {
	uint64_t seed;
	uint64_t random;
	uint32_t now_ms;
	struct host host[2];
	struct flow flow;
	bool has_flow;
	bool crossed;  /* both ends open at once */
	bool reopened; /* by a SYN of the connection that goes on: see exempt() */
	bool syn_forged;
	bool fin_unseen; /* it passed, but too old to be believed (II and IV of the windows) */
	bool broken;
	bool followed;
	struct network network;
	struct flight flights[FLIGHTS];
	unsigned count;
} sim;

/* What has been reached: a simulation that never closes a window says nothing about that. */
static struct {
	uint64_t segments, attacks, attacks_passed, exempted;
	unsigned finished, resets, crossed, reopened, reused, stuck, zero_windows, forgotten;
} seen;

static struct timeout_values values;

static uint32_t
draw(uint32_t range)
{
	uint64_t word = sim.random += UINT64_C(0x9e3779b97f4a7c15);

	word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((word >> 32) % range);
}

static bool
after(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

static void __attribute__((format(printf, 1, 2))) broken(const char *format, ...)
{
	va_list arguments;

	if (sim.broken)
		return;
	sim.broken = true;
	CU_FAIL("a property does not hold");
	printf("\n    SIMULATION_SEED=%" PRIu64 " SIMULATION_CONNECTIONS=1: ", sim.seed);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
}

static void
describe(char *text, size_t size, enum direction direction, const struct host_segment *segment)
{
	const struct tcp_end *ends = sim.flow.tcp;

	snprintf(text, size,
		"%s flags %02x sequence end%+d ack end%+d length %u window %u, state %s, hosts %u "
		"%u, may send %d %d",
		direction == DIRECTION_ORIGINAL ? "original" : "reply", segment->flags,
		(int32_t)(segment->sequence - ends[direction].end),
		(int32_t)(segment->acknowledgement - ends[!direction].end), segment->length,
		segment->window, tcp_states[sim.flow.state].name, (unsigned)sim.host[0].state,
		(unsigned)sim.host[1].state, (int32_t)(ends[0].max_end - ends[0].end),
		(int32_t)(ends[1].max_end - ends[1].end));
}

/* A line for each segment that the tracker or an end gets, of a connection that failed. */
static void
follow(const char *where, enum direction direction, const struct host_segment *segment)
{
	char text[256];

	if (!sim.followed)
		return;
	describe(text, sizeof(text), direction, segment);
	printf("    %u %s%s: %s\n", sim.now_ms, where, segment->forged ? " forged" : "", text);
}

/* --- the network --- */

static void
launch(enum direction direction, bool beyond, const struct host_segment *segment)
{
	const struct network *network = &sim.network;
	unsigned copies = 1 + (draw(1000) < network->repetition);

	for (unsigned i = 0; i < copies; i++) {
		if (draw(1000) < network->loss || sim.count == FLIGHTS)
			continue;
		sim.flights[sim.count++] = (struct flight){
			.when_ms = sim.now_ms + network->delay_ms + draw(network->jitter_ms + 1),
			.direction = direction,
			.beyond = beyond,
			.segment = *segment,
		};
	}
}

static void
emit(struct host *host, const struct host_segment *segment)
{
	seen.segments++;
	seen.zero_windows += segment->window == 0 && (segment->flags & RST) == 0;
	launch(host->index == 0 ? DIRECTION_ORIGINAL : DIRECTION_REPLY, false, segment);
}

/* --- the tracker --- */

static void
option_put(uint8_t *option, uint32_t number)
{
	rte_be32_t word = rte_cpu_to_be_32(number);

	memcpy(option, &word, sizeof(word));
}

static uint8_t
options_write(uint8_t *options, const struct host_segment *segment)
{
	uint8_t length = 0;

	if (segment->scale != HOST_NO_SCALE) {
		memcpy(options, (const uint8_t[]){1, 3, 3, (uint8_t)segment->scale}, 4);
		length = 4;
	}
	if (segment->blocks != 0) {
		memcpy(options + length,
			(const uint8_t[]){1, 1, 5, (uint8_t)(2 + 8 * segment->blocks)}, 4);
		length += 4;
	}
	for (unsigned i = 0; i < segment->blocks; i++, length += 8) {
		option_put(options + length, segment->block[i][0]);
		option_put(options + length + 4, segment->block[i][1]);
	}
	return length;
}

/* The packet as parse and the flow lookup leave it; its payload is nowhere but in its length. */
static struct rte_mbuf *
packet_write(enum direction direction, const struct host_segment *segment)
{
	static struct {
		struct rte_mbuf mbuf;
		struct packet packet;
		uint8_t data[128];
	} __attribute__((aligned(64))) room;
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)room.data;
	uint8_t options = options_write(room.data + sizeof(*tcp), segment);

	room.mbuf.priv_size = sizeof(room.packet);
	room.mbuf.buf_addr = room.data;
	room.mbuf.buf_len = sizeof(room.data);
	room.mbuf.data_len = (uint16_t)(sizeof(*tcp) + options);
	room.packet = (struct packet){.direction = (uint8_t)direction,
		.tcp_flags = segment->flags,
		.payload_offset = (uint16_t)(sizeof(*tcp) + options)};
	room.packet.tuple.protocol = IPPROTO_TCP;
	room.packet.frame_length = room.packet.payload_offset + segment->length;
	tcp->sent_seq = rte_cpu_to_be_32(segment->sequence);
	tcp->recv_ack = rte_cpu_to_be_32(segment->acknowledgement);
	tcp->rx_win = rte_cpu_to_be_16(segment->window);
	tcp->tcp_flags = segment->flags;
	tcp->data_off = (uint8_t)((sizeof(*tcp) + options) / 4 << 4);
	return &room.mbuf;
}

static void
flow_begin(const struct rte_mbuf *mbuf)
{
	memset(&sim.flow, 0, sizeof(sim.flow));
	sim.flow.protocol = IPPROTO_TCP;
	track_open(&sim.flow, mbuf, &values, sim.now_ms);
	sim.has_flow = true;
}

/*
 * Why the tracker may refuse an honest segment. Each has its line in the specification, or is what
 * no tracker can know better.
 */
static const char *
exempt(enum direction direction, const struct host_segment *segment, const struct flow *flow,
	enum tcp_track track)
{
	const struct tcp_end *receiver = &flow->tcp[!direction];
	bool syn = (segment->flags & SYN) != 0;

	if (segment->provoked)
		return "what a forged segment has provoked has its numbers";
	if (sim.reopened)
		return "a SYN that is late begins a new connection in TIME_WAIT and CLOSE";
	if ((segment->flags & RST) != 0 && track == TCP_OUT_OF_WINDOW &&
		(receiver->flags & TCP_END_MAX_ACK) != 0 &&
		after(receiver->max_ack, segment->sequence))
		return "a RST below the last ACK";
	if ((segment->flags & (RST | ACK)) == (RST | ACK) && segment->sequence == 0)
		return "a RST that answers a SYN has no number, and the SYN was late";
	if (sim.crossed && syn && direction == DIRECTION_REPLY && track == TCP_INVALID)
		return "table: the SYN of whoever answers, late";
	if (sim.crossed && syn && direction == DIRECTION_ORIGINAL && track == TCP_INVALID)
		return "table: the SYN/ACK of whoever asked, late";
	return NULL;
}

/* No flow is found. @return whether it passes */
static bool
miss(enum direction direction, const struct host_segment *segment, const struct rte_mbuf *mbuf)
{
	char text[256];

	if (direction == DIRECTION_ORIGINAL && tcp_opens(segment->flags)) {
		flow_begin(mbuf);
		return true;
	}
	/* The one who is asked asks first, too: nobody has let him (RFC 5382 REQ-4). */
	if (sim.crossed && tcp_opens(segment->flags))
		return false;
	/* One end does not know yet that there is no connection any more. */
	if (host_idle(&sim.host[direction == DIRECTION_ORIGINAL]) || sim.reopened) {
		seen.forgotten++;
		return false;
	}
	describe(text, sizeof(text), direction, segment);
	broken("no flow any more: %s", text);
	return false;
}

/* The tracker gets a segment. @return whether it passes */
static bool
pass(enum direction direction, const struct host_segment *segment)
{
	const struct rte_mbuf *mbuf = packet_write(direction, segment);
	struct flow before = sim.flow;
	enum tcp_track track;
	char text[256];

	if (sim.has_flow && time_after_ms(sim.now_ms, sim.flow.deadline_ms))
		sim.has_flow = false;
	if (!sim.has_flow)
		return miss(direction, segment, mbuf);
	track = track_packet(&sim.flow, mbuf, &values, sim.now_ms);
	switch (track) {
	case TCP_IGNORE:
		sim.fin_unseen |= (segment->flags & FIN) != 0;
		return true;
	case TCP_PASS:
		return true;
	case TCP_REOPEN:
		sim.reopened = sim.host[0].state != HOST_SYN_SENT;
		seen.reopened += sim.reopened;
		flow_begin(mbuf);
		return true;
	case TCP_INVALID:
	case TCP_OUT_OF_WINDOW:
	default:
		if (exempt(direction, segment, &before, track) != NULL) {
			seen.exempted++;
			return false;
		}
		sim.flow = before;
		describe(text, sizeof(text), direction, segment);
		broken("%s: %s", track == TCP_INVALID ? "invalid" : "out of window", text);
		return false;
	}
}

/* --- the blind one --- */

/* A number that nobody uses: far from @p number, where windows are. */
static uint32_t
number_far_from(uint32_t number)
{
	return number + FAR + draw(UINT32_MAX - 2 * FAR);
}

/*
 * Whether a SYN of his would do what the table and RFC 9293 say it does: begin something, or take
 * the place of the one SYN that is remembered.
 */
static bool
syn_begins(uint8_t flags)
{
	uint8_t state = sim.flow.state;

	if ((flags & (SYN | ACK)) != SYN)
		return false;
	if (sim.host[0].state == HOST_SYN_SENT || sim.host[1].state <= HOST_SYN_RECEIVED)
		return true;
	if (sim.network.attacks == DIRECTION_REPLY) /* both open at once */
		return state == TCP_STATE_SYN_SENT || state == TCP_STATE_SYN_SENT2;
	return state == TCP_STATE_SYN_SENT || state == TCP_STATE_SYN_SENT2 ||
	       state == TCP_STATE_TIME_WAIT || state == TCP_STATE_CLOSE;
}

static void
attack(void)
{
	static const uint8_t kinds[] = {RST, RST | ACK, SYN, SYN | ACK, ACK, ACK, FIN | ACK};
	enum direction direction = sim.network.attacks;
	uint8_t flags = kinds[draw(RTE_DIM(kinds))];
	struct host_segment segment = {
		.sequence = number_far_from(sim.flow.tcp[direction].end),
		.acknowledgement = number_far_from(sim.flow.tcp[!direction].end),
		.length = (flags & (SYN | RST)) != 0 ? 0 : draw(2) * (1 + draw(1400)),
		.window = (uint16_t)draw(65536),
		.flags = flags,
		.scale = HOST_NO_SCALE,
		.forged = true,
	};
	struct flow before = sim.flow, now;
	enum tcp_track track;
	char text[256];

	if (!sim.has_flow || time_after_ms(sim.now_ms, sim.flow.deadline_ms) || syn_begins(flags))
		return;
	if ((flags & ACK) == 0)
		segment.acknowledgement = 0;
	seen.attacks++;
	track = track_packet(&sim.flow, packet_write(direction, &segment), &values, sim.now_ms);
	now = sim.flow;
	if ((flags & (SYN | ACK)) == SYN) {
		/* remembered, in case that its receiver confirms it */
		now.syn_end = before.syn_end;
		now.reply6 = before.reply6;
		sim.syn_forged = true;
	}
	follow("tracker", direction, &segment);
	describe(text, sizeof(text), direction, &segment);
	if (memcmp(&now, &before, sizeof(now)) != 0)
		broken("forged, and it leaves traces: %s", text);
	if (track == TCP_PASS || track == TCP_REOPEN)
		broken("forged, and believed: %s", text);
	if (track != TCP_IGNORE)
		return;
	seen.attacks_passed++;
	if ((flags & RST) != 0 && !tcp_half_open(before.state))
		broken("forged, and passed: %s", text);
	/* Data may pass where its receiver has had all that it could be (II of the windows). */
	if (segment.length != 0 && !tcp_half_open(before.state) &&
		!after(before.tcp[direction].end, segment.sequence + segment.length))
		broken("forged data is passed: %s", text);
	launch(direction, true, &segment);
}

/* --- one connection --- */

static uint32_t
largest_scale(uint32_t room)
{
	uint32_t scale = 0;

	while (scale < 14 && room >> (scale + 2) != 0)
		scale++;
	return scale;
}

static struct host_habits
habits_draw(void)
{
	static const uint32_t sizes[] = {1, 90, 536, 1460, 1460, 8960, 60000};
	static const uint32_t rooms[] = {200, 3000, 20000, 65535, 300000, 2000000};
	struct host_habits habits = {
		.mss = sizes[draw(RTE_DIM(sizes))],
		.room = 1 + rooms[draw(RTE_DIM(rooms))],
		.scale = HOST_NO_SCALE,
		.sack = draw(2) != 0,
		.probes_bare = draw(2) != 0,
		.keepalive_byte = draw(2) != 0,
		.goes_back = draw(2) != 0,
		.reads_slowly = draw(3) == 0,
		.waits_for_fin = draw(3) == 0,
		.bytes = draw(5) == 0 ? 0 : draw(30) * habits.mss + draw(100),
	};

	if (draw(3) != 0)
		habits.scale = (int8_t)draw(largest_scale(habits.room) + 1);
	if (habits.mss < 536)
		habits.bytes = draw(20 * habits.mss);
	if (draw(3) == 0)
		habits.begins_ms = draw(2000);
	if (draw(4) == 0)
		habits.lingers_ms = draw(draw(4) == 0 ? 200000 : 3000);
	if (draw(6) == 0)
		habits.aborts_ms = 1 + draw(draw(2) == 0 ? 300 : 4000);
	return habits;
}

static uint32_t
number_draw(void)
{
	return draw(2) == 0 ? draw(UINT32_MAX) : UINT32_MAX - draw(30000);
}

static void
network_draw(void)
{
	bool calm = draw(4) == 0;

	sim.network = (struct network){
		.loss = calm ? 0 : draw(180),
		.repetition = calm ? 0 : draw(150),
		.delay_ms = draw(40),
		.jitter_ms = calm ? 0 : draw(draw(2) == 0 ? 20 : 400),
		.attacked = draw(2) == 0,
		.attacks = draw(2) == 0 ? DIRECTION_ORIGINAL : DIRECTION_REPLY,
	};
}

static void
arrive(unsigned index)
{
	struct flight flight = sim.flights[index];
	struct host *host = &sim.host[flight.direction == DIRECTION_ORIGINAL];

	sim.flights[index] = sim.flights[--sim.count];
	follow(flight.beyond ? "end" : "tracker", flight.direction, &flight.segment);
	if (!flight.beyond) {
		if (pass(flight.direction, &flight.segment))
			launch(flight.direction, true, &flight.segment);
		return;
	}
	/* A forged SYN is as good as any to an end that has heard none yet. */
	if (flight.segment.forged && (flight.segment.flags & SYN) != 0 &&
		(host->state == HOST_LISTEN || host->state == HOST_SYN_SENT))
		return;
	host_receive(host, &flight.segment, sim.now_ms);
}

/* Let the next thing happen. @return false when there is nothing more */
static bool
step(void)
{
	uint32_t least = UINT32_MAX, pause[2];
	unsigned next = FLIGHTS;

	for (unsigned i = 0; i < sim.count; i++) {
		uint32_t wait = after(sim.flights[i].when_ms, sim.now_ms)
					? sim.flights[i].when_ms - sim.now_ms
					: 0;

		if (wait < least) {
			least = wait;
			next = i;
		}
	}
	for (unsigned i = 0; i < 2; i++) {
		pause[i] = host_pause(&sim.host[i], sim.now_ms);
		if (pause[i] < least) {
			least = pause[i];
			next = FLIGHTS + i;
		}
	}
	if (least == UINT32_MAX)
		return false;
	sim.now_ms += least;
	if (next < FLIGHTS)
		arrive(next);
	else
		host_tick(&sim.host[next - FLIGHTS], sim.now_ms);
	if (sim.network.attacked && draw(4) == 0)
		attack();
	return true;
}

static void
check_end(void)
{
	const struct host *host = sim.host;

	if (host[0].took_forged || host[1].took_forged)
		broken("an end has taken what was forged");
	if (sim.reopened)
		return;
	/*
	 * Both open at once, and whoever asked has said an ACK before the other had his SYN: after
	 * that the table takes neither SYN.
	 */
	if (sim.crossed && !(host[0].connected && host[1].connected) &&
		(host[0].gave_up || host[1].gave_up)) {
		seen.stuck++;
		return;
	}
	if (host[0].gave_up || host[1].gave_up) {
		/* Whoever is reset may not hear of it: then nobody answers the other end any more.
		 */
		if (!host[0].was_reset || !host[1].was_reset ||
			(host[0].gave_up && host[1].gave_up))
			broken("an end has given up");
		return;
	}
	seen.resets += host[0].was_reset || host[1].was_reset;
	if (host[0].was_reset || host[1].was_reset) {
		if (host[0].habits.aborts_ms == 0 && host[1].habits.aborts_ms == 0)
			broken("reset, and nobody has aborted");
		return;
	}
	if (!host[0].finished || !host[1].finished) {
		broken("it ends in states %u and %u", host[0].state, host[1].state);
		return;
	}
	seen.finished++;
	for (unsigned i = 0; i < 2; i++)
		if (host[i].delivered != host[!i].habits.bytes)
			broken("%u of %u bytes have arrived", host[i].delivered,
				host[!i].habits.bytes);
	/*
	 * A SYN that was never confirmed leaves in doubt what the last ACK was about. Whoever has
	 * closed resets what comes late.
	 */
	if (!sim.fin_unseen && sim.flow.state != TCP_STATE_TIME_WAIT &&
		sim.flow.state != TCP_STATE_CLOSE &&
		!(sim.syn_forged && sim.flow.state == TCP_STATE_LAST_ACK))
		broken("both ends have closed, the flow is in %s", tcp_states[sim.flow.state].name);
}

static void
connect_once(bool reuse)
{
	uint32_t numbers[2] = {number_draw(), number_draw()};
	unsigned events = 0;

	for (unsigned i = 0; i < 2; i++) {
		/* RFC 6528: behind the numbers of the connection before */
		if (reuse)
			numbers[i] = sim.host[i].most + 64000 + draw(1000000);
		sim.host[i].habits = habits_draw();
		sim.host[i].emit = emit;
		sim.host[i].draw = draw;
		sim.host[i].index = i;
	}
	for (unsigned i = 0; i < 2; i++)
		sim.host[i].habits.bytes =
			RTE_MIN(sim.host[i].habits.bytes, 30 * sim.host[!i].habits.room);
	sim.crossed = draw(8) == 0;
	sim.reopened = false;
	sim.syn_forged = false;
	sim.fin_unseen = false;
	seen.crossed += sim.crossed;
	seen.reused += reuse;
	/* Nobody closes who waits for the other to do so. */
	if (sim.host[0].habits.waits_for_fin)
		sim.host[1].habits.waits_for_fin = false;
	host_open(&sim.host[0], numbers[0], sim.now_ms);
	if (sim.crossed)
		host_open(&sim.host[1], numbers[1], sim.now_ms);
	else
		host_listen(&sim.host[1], numbers[1], sim.now_ms);
	while (!sim.broken && step())
		if (++events == EVENTS_MOST)
			broken("it never ends: hosts %u %u", sim.host[0].state, sim.host[1].state);
	if (!sim.broken)
		check_end();
}

static void
connection(uint64_t seed)
{
	sim.seed = seed;
	sim.random = seed * UINT64_C(0xd1342543de82ef95);
	sim.count = 0;
	sim.has_flow = false;
	sim.now_ms = UINT32_MAX - draw(100000); /* the clock wraps around on the way */
	network_draw();
	connect_once(false);
	/* the same ports again while the flow is still there (RFC 6191) */
	while (!sim.broken && sim.has_flow && draw(3) == 0) {
		sim.now_ms += draw(2) == 0 ? draw(8000) : draw(250000);
		connect_once(true);
	}
}

static uint64_t
number_of(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

static void
test_simulation(void)
{
	uint64_t first = number_of("SIMULATION_SEED", 1);
	uint64_t count = number_of("SIMULATION_CONNECTIONS", CONNECTIONS_DEFAULT);
	unsigned failures = 0;

	sim.followed = getenv("SIMULATION_TRACE") != NULL;
	for (uint64_t i = 0; i < count && failures < 5; i++) {
		sim.broken = false;
		connection(first + i);
		failures += sim.broken;
	}
	printf("\n    %" PRIu64
	       " segments, %u connections closed, %u reset, %u crossed, %u reused; "
	       "%" PRIu64 " forged, %" PRIu64 " passed; %" PRIu64 " exempted, %u reopened, %u "
	       "forgotten, %u stuck, %u zero windows\n   ",
		seen.segments, seen.finished, seen.resets, seen.crossed, seen.reused, seen.attacks,
		seen.attacks_passed, seen.exempted, seen.reopened, seen.forgotten, seen.stuck,
		seen.zero_windows);
	if (count < CONNECTIONS_DEFAULT || failures != 0)
		return;
	CU_ASSERT(seen.finished > count / 2);
	CU_ASSERT(seen.resets > count / 20);
	CU_ASSERT(seen.reused > count / 20);
	CU_ASSERT(seen.zero_windows > count);
	CU_ASSERT(seen.attacks > count);
	CU_ASSERT(seen.exempted < seen.segments / 100);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"RFC 5382 REQ-2, RFC 5961: honest ends and a blind one", test_simulation},
	};

	timeout_defaults(&values);
	return UNIT_RUN("tcp_simulation", tests);
}
