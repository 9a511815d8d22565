/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What explain says of a packet is what the data plane then does with it: in random worlds of
 *rules, forwards, allows, filters, limits and neighbours, for random packets among flows in all
 *states, each packet is first asked about and then sent. Verdict, reason, rule, way out and
 *translation must agree, and asking must have changed nothing.
 *
 *	EXPLAIN_CASES=1000000 EXPLAIN_SEED=7 test_explain
 */
#include "app/explain.h"
#include "tests/unit/audit.h"
#include "tests/unit/talk.h"

#include <stdarg.h>

#define CASES_PER_WORLD 1000
#define CASES_PER_POLICY 125
#define HEARD 64

static uint64_t random_state;

static uint32_t
draw(uint32_t below)
{
	uint64_t word;

	random_state += UINT64_C(0x9e3779b97f4a7c15);
	word = random_state;
	word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)(((word ^ (word >> 31)) >> 32) * below >> 32);
}

static bool
chance(uint32_t percent)
{
	return draw(100) < percent;
}

#define ONE_OF(list) ((list)[draw(RTE_DIM(list))])

/* --- worlds --- */

struct world {
	struct plane_options options;
	char rules[1024], lines[256], work[64], personal[64], more[2048];
};

static void __attribute__((format(printf, 3, 4)))
add(char *text, size_t room, const char *format, ...)
{
	size_t used = strlen(text);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text + used, room - used, format, arguments);
	va_end(arguments);
}

#define ADD(text, ...) add(text, sizeof(text), __VA_ARGS__)

static void
rule_draw(struct world *world)
{
	static const char *const actions[] = {"accept", "drop"};
	static const char *const targets[] = {"", "", " dst4=192.0.2.0/24", " dst4=192.0.2.7",
		" dst6=2606:4700::/32", " specialtarget=dns", " dst4=10.137.0.17",
		" dst4=192.168.50.0/24", " dsthost=example.com", " dst6=fd09::11"};
	static const char *const ways[] = {"", " proto=tcp", " proto=udp", " proto=icmp",
		" proto=tcp dstports=80-443", " proto=udp dstports=53-53",
		" proto=tcp dstports=5222-5222", " proto=icmp icmptype=8"};
	const char *target = ONE_OF(targets);

	ADD(world->rules, "action=%s%s%s\n", ONE_OF(actions), target,
		strstr(target, "special") != NULL ? "" : ONE_OF(ways));
}

static void
forward_draw(struct world *world, unsigned number)
{
	static const char *const qubes[] = {"work", "personal"};
	static const char *const kinds[] = {"external", "internal"};
	unsigned first = 8080 + 10 * number;

	ADD(world->more,
		"[forward f%u]\nforwardtype = %s\nproto = %s\nsrcports = %u-%u\nqube = %s\n",
		number, ONE_OF(kinds), chance(50) ? "tcp" : "udp", first, first + 3, ONE_OF(qubes));
	if (chance(50))
		ADD(world->more, "dstports = %u-%u\n", first - 8000, first - 7997);
	else
		ADD(world->more, "dstports = 443\n");
	if (chance(25))
		ADD(world->more, "srchost = 192.0.2.0/24\n");
}

/* What may change while the data plane runs. */
static void
policy_draw(struct world *world)
{
	static const char *const filters[] = {"", "", "filter = none\n", "filter = address\n"};
	static const char *const protocols[] = {"tcp", "udp", "icmp"};
	unsigned count = draw(6);

	world->rules[0] = world->more[0] = '\0';
	ADD(world->rules, "policy=%s\n", chance(60) ? "accept" : "drop");
	for (unsigned i = 0; i < count; i++)
		rule_draw(world);
	if (chance(5))
		ADD(world->rules, "action=accept proto=tcp dstports=80443\n");
	count = draw(5);
	for (unsigned i = 0; i < count; i++)
		forward_draw(world, i);
	if (chance(50)) {
		const char *protocol = ONE_OF(protocols);

		ADD(world->more, "[allow a]\nfrom = %s\nto = %s\nproto = %s\n",
			chance(50) ? "work" : "personal", "personal", protocol);
		if (strstr(world->more, "from = personal") != NULL)
			world->more[strstr(world->more, "[allow a]") - world->more] = '\0';
		else if (protocol[0] != 'i' && chance(50))
			ADD(world->more, "dstports = 5222\n");
	}
	snprintf(world->work, sizeof(world->work), "%s", ONE_OF(filters));
	snprintf(world->personal, sizeof(world->personal), "%s", ONE_OF(filters));
	if (chance(40)) {
		ADD(world->more, "[limits]\n");
		if (chance(50))
			ADD(world->more, "flows = %u\n", 16 + draw(16));
		if (chance(50))
			ADD(world->more, "half-open = %u\n", 1 + draw(6));
		if (chance(50))
			ADD(world->more, "ports = %u\n", 1 + draw(6));
		if (chance(30))
			ADD(world->more, "new-flows = %u\n", 1 + draw(20));
	}
}

static void
world_draw(struct world *world)
{
	*world = (struct world){0};
	world->options = (struct plane_options){
		.workers = 1 + draw(3),
		.rules = world->rules,
		.lines = world->lines,
		.work = world->work,
		.personal = world->personal,
		.more = world->more,
		.automatic = chance(20),
		.no_resolver = chance(10),
	};
	world->options.no_mac = !world->options.automatic && chance(4);
	policy_draw(world);
}

/* --- packets --- */

/* What was forwarded and can be answered. */
static struct heard {
	uint16_t port; /* it left there */
	struct frame frame;
} heard[HEARD];
static unsigned heard_count;

static const char *
remote_draw(bool ipv6)
{
	static const char *const remotes[] = {"192.0.2.7", "192.0.2.8", "198.51.100.3",
		PLANE_ROUTER, "192.168.50.77", "192.168.50.78", "192.168.50.255", PLANE_RESOLVER,
		PLANE_UPLINK_ADDRESS, PLANE_GATEWAY, PLANE_WORK_ADDRESS, PLANE_PERSONAL_ADDRESS,
		PLANE_DNS, "127.0.0.1", "224.0.0.1"};
	static const char *const remotes6[] = {"2606:4700::7", "2606:4700::8", PLANE_ROUTER6,
		"fd00:50::77", PLANE_UPLINK_ADDRESS6, PLANE_GATEWAY6, PLANE_WORK_ADDRESS6,
		PLANE_PERSONAL_ADDRESS6, "ff02::1", "fe80::1"};

	if (chance(60))
		return ipv6 ? remotes6[draw(2)] : remotes[draw(3)];
	return ipv6 ? ONE_OF(remotes6) : ONE_OF(remotes);
}

static uint16_t
port_draw(void)
{
	static const uint16_t ports[] = {53, 80, 443, 5222, 8080, 8081, 8090, 8091, 8100, 8110,
		40000, 40001, 40002, 40003, 1, 0};

	return chance(90) ? ONE_OF(ports) : (uint16_t)draw(65536);
}

static uint8_t
ttl_draw(void)
{
	static const uint8_t ttls[] = {1, 2, 255};

	return chance(95) ? 64 : ONE_OF(ttls);
}

static const uint8_t *
mac_draw(const uint8_t *right)
{
	return chance(98) ? right : chance(50) ? plane_router_mac : plane_broadcast;
}

static void
tcp_numbers(struct frame *frame, uint32_t sequence, uint32_t acknowledgement)
{
	struct frame_view view = frame_view(frame->bytes, frame->length);
	rte_be32_t words[2] = {rte_cpu_to_be_32(sequence), rte_cpu_to_be_32(acknowledgement)};
	rte_be16_t window = RTE_BE16(60000);

	memcpy(frame->bytes + view.l4 + 4, words, sizeof(words));
	memcpy(frame->bytes + view.l4 + 14, &window, sizeof(window));
	frame_fix(frame->bytes, frame->length);
}

static uint8_t
flags_draw(void)
{
	static const uint8_t flags[] = {SYN, SYN | ACK, ACK, ACK | FIN, RST, RST | ACK, 0,
		SYN | FIN, ACK | RTE_TCP_PSH_FLAG, SYN | RTE_TCP_URG_FLAG, 0xff};

	return chance(50) ? SYN : ONE_OF(flags);
}

static void
fresh_draw(struct frame *frame, uint16_t port)
{
	static const uint8_t protocols[] = {
		IPPROTO_TCP, IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDP, IPPROTO_ICMP, 47};
	static const uint8_t types[] = {8, 8, 8, 0, 13, 14, 3, 5, 11};
	static const uint8_t types6[] = {128, 128, 128, 129, 1, 2, 130, 133, 135, 137};
	bool ipv6 = chance(30);
	bool uplink = port == PLANE_UPLINK;
	const char *own = uplink ? remote_draw(ipv6)
			  : port == PLANE_WORK
				  ? (ipv6 ? PLANE_WORK_ADDRESS6 : PLANE_WORK_ADDRESS)
				  : (ipv6 ? PLANE_PERSONAL_ADDRESS6 : PLANE_PERSONAL_ADDRESS);
	const char *uplink_own = ipv6 ? PLANE_UPLINK_ADDRESS6 : PLANE_UPLINK_ADDRESS;
	uint8_t protocol = ONE_OF(protocols);
	struct frame_spec spec = {
		.destination_mac = mac_draw(uplink ? plane_uplink_mac : plane_vif_mac),
		.source_mac = mac_draw(uplink ? plane_router_mac : plane_qube_mac),
		.source = chance(98) ? own : remote_draw(ipv6),
		.destination = uplink && chance(90) ? uplink_own : remote_draw(ipv6),
		.protocol = protocol == IPPROTO_ICMP && ipv6 ? IPPROTO_ICMPV6 : protocol,
		.source_port = port_draw(),
		.destination_port = port_draw(),
		.tcp_flags = flags_draw(),
		.type = ipv6 ? ONE_OF(types6) : ONE_OF(types),
		.ttl = ttl_draw(),
		.df = chance(50),
		.payload = (uint16_t)(chance(95) ? draw(64) : 1400 + draw(200)),
	};

	/* with any other hop limit it ends at the guard; what it says is not explained */
	if (ipv6 && protocol == IPPROTO_ICMP && spec.type >= 133)
		spec.ttl = 64;
	frame_build(frame, &spec);
	if (protocol == IPPROTO_TCP)
		tcp_numbers(frame, 1000 + draw(4), chance(50) ? 0 : 1000 + draw(5));
}

/* The other end answers what it heard, or its sender says more. */
static void
answer_draw(struct frame *frame, const struct heard *what)
{
	struct frame_view view = frame_view(what->frame.bytes, what->frame.length);
	char source[ADDRESS_TEXT_SIZE], destination[ADDRESS_TEXT_SIZE];
	const uint8_t *l4 = what->frame.bytes + view.l4;
	bool uplink = what->port == PLANE_UPLINK;
	struct frame_spec spec = {
		.destination_mac = uplink ? plane_uplink_mac : plane_vif_mac,
		.source_mac = uplink ? plane_router_mac : plane_qube_mac,
		.source = address_format(source, view.family, &view.destination),
		.destination = address_format(destination, view.family, &view.source),
		.protocol = view.protocol,
		.source_port = view.destination_port,
		.destination_port = view.source_port,
		.ttl = ttl_draw(),
		.payload = (uint16_t)draw(32),
	};

	if (view.protocol == IPPROTO_TCP) {
		uint8_t flags = l4[13];
		rte_be32_t numbers[2];
		uint32_t sequence;

		memcpy(numbers, l4 + 4, sizeof(numbers));
		sequence = rte_be_to_cpu_32(numbers[0]) + ((flags & (SYN | FIN)) != 0);
		if (chance(10))
			sequence += draw(100000);
		spec.payload = 0;
		spec.tcp_flags = (flags & (SYN | ACK)) == SYN ? SYN | ACK : ACK;
		if (chance(20))
			spec.tcp_flags |= chance(50) ? FIN : RST;
		if (chance(5))
			spec.tcp_flags = SYN;
		frame_build(frame, &spec);
		tcp_numbers(frame, rte_be_to_cpu_32(numbers[1]) + (numbers[1] == 0 ? 5000 : 0),
			sequence);
		return;
	}
	if (view.protocol == IPPROTO_ICMP || view.protocol == IPPROTO_ICMPV6) {
		static const uint8_t answers[16] = {[0] = 8, [8] = 0, [13] = 14, [14] = 13};

		spec.source_port = (uint16_t)(l4[4] << 8 | l4[5]);
		spec.type = view.protocol == IPPROTO_ICMPV6 ? l4[0] ^ 1 : answers[l4[0] & 15];
	}
	frame_build(frame, &spec);
}

/* Somebody on the way reports what he heard as undeliverable. */
static void
error_draw(struct frame *frame, const struct heard *what)
{
	struct frame_view view = frame_view(what->frame.bytes, what->frame.length);
	bool ipv6 = view.family == FAMILY_IPV6;
	char source[ADDRESS_TEXT_SIZE], destination[ADDRESS_TEXT_SIZE];
	bool uplink = what->port == PLANE_UPLINK;
	struct frame_spec spec = {
		.destination_mac = uplink ? plane_uplink_mac : plane_vif_mac,
		.source_mac = uplink ? plane_router_mac : plane_qube_mac,
		.source = chance(70) || !uplink
				  ? address_format(source, view.family, &view.destination)
				  : remote_draw(ipv6),
		.destination = address_format(destination, view.family, &view.source),
		.protocol = ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP,
		.type = ipv6 ? 1 : 3,
		.code = (uint8_t)draw(2),
		.ttl = ttl_draw(),
		.payload = (uint16_t)RTE_MIN(view.l4 - view.l3 + 8 + draw(20), view.end - view.l3),
	};
	struct frame_view built;

	frame_build(frame, &spec);
	built = frame_view(frame->bytes, frame->length);
	memcpy(frame->bytes + built.l4 + 8, what->frame.bytes + view.l3, spec.payload);
	frame_fix(frame->bytes, frame->length);
}

static uint16_t
packet_draw(struct frame *frame)
{
	uint16_t port;

	if (heard_count > 0 && chance(45)) {
		const struct heard *what = &heard[draw(RTE_MIN(heard_count, (unsigned)HEARD))];

		if (chance(10))
			error_draw(frame, what);
		else
			answer_draw(frame, what);
		/* or it comes from where it cannot */
		return chance(97) ? what->port : (uint16_t)draw(PLANE_PORTS);
	}
	if (chance(1)) {
		fresh_draw(frame, PLANE_WORK);
		frame->length -= draw(20);
		frame->bytes[draw(40)]++;
		return PLANE_WORK;
	}
	port = (uint16_t)(chance(25) ? PLANE_UPLINK : chance(70) ? PLANE_WORK : PLANE_PERSONAL);
	fresh_draw(frame, port);
	return port;
}

/* --- what happens, and what is compared --- */

static struct outcome {
	uint32_t serial;
	bool done;
	struct packet packet;
} outcome;

static void
trace(void *context, const struct rte_mbuf *mbuf, const struct packet *packet)
{
	(void)context;
	(void)mbuf;
	if (packet->serial != outcome.serial || outcome.done)
		return;
	outcome.done = true;
	outcome.packet = *packet;
}

/* A sum over all that asking may not change. */
struct digest {
	uint64_t sum;
};

static void
digest_bytes(struct digest *digest, const void *bytes, size_t length)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i + 8 <= length; i += 8) {
		uint64_t word;

		memcpy(&word, at + i, 8);
		digest->sum = (digest->sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		digest->sum ^= digest->sum >> 29;
	}
}

static bool
digest_flow(void *context, struct flow *flow)
{
	digest_bytes(context, flow, sizeof(*flow));
	return true;
}

static uint64_t
state_digest(const struct plane *plane, bool thorough)
{
	const struct dataplane *dataplane = plane->dataplane;
	struct digest digest = {0};

	for (unsigned i = 0; i < dataplane->worker_count; i++) {
		struct worker *worker = dataplane->workers[i];
		uint64_t numbers[] = {flow_count(worker->flows), flow_opened(worker->flows),
			worker->held_count, worker->random, rte_ring_count(worker->handover)};
		uint32_t cursor = 0;

		digest_bytes(&digest, &worker->counters, sizeof(worker->counters));
		digest_bytes(
			&digest, worker->ports, sizeof(worker->ports[0]) * dataplane->port_count);
		digest_bytes(&digest, numbers, sizeof(numbers));
		if (thorough)
			while (flow_walk_some(worker->flows, &cursor, 64, digest_flow, &digest))
				;
	}
	digest_bytes(&digest, dataplane->accounts, 4 * sizeof(dataplane->accounts[0]));
	for (uint16_t i = 0; thorough && i < NEIGHBOUR_PINNED + 4096; i++) {
		union address address;
		uint64_t numbers[] = {neighbour_state(dataplane->ports[PLANE_UPLINK].neighbours, i),
			neighbour_address(dataplane->ports[PLANE_UPLINK].neighbours, i, &address)};

		digest_bytes(&digest, numbers, sizeof(numbers));
		digest_bytes(&digest, &address, sizeof(address));
	}
	if (thorough)
		for (unsigned i = 0; i < 65536; i++) {
			uint16_t qube = 0;
			rte_be16_t port = 0;
			uint64_t number = 0;

			for (unsigned j = 0; j < 4; j++) {
				if (binding_find(dataplane->bindings, (enum family)(j & 1),
					    j < 2 ? IPPROTO_UDP : IPPROTO_ICMP, (rte_be16_t)i,
					    &qube, &port))
					number += (uint64_t)(j + 1) << 48 | (uint64_t)qube << 16 |
						  port;
			}
			digest_bytes(&digest, &number, sizeof(number));
		}
	return digest.sum;
}

static struct explain *explain;
static unsigned failures;
static unsigned reached[EXPLAIN_STAGE_COUNT], seen_reasons[REASON_COUNT], seen_evictions,
	seen_reopens, seen_waits, seen_known, seen_new;

static void
ask(struct plane *plane, uint16_t port, const struct frame *frame)
{
	struct dataplane *dataplane = plane->dataplane;
	const struct policy *policy = atomic_load(&dataplane->policy);

	if (explain_begin(explain, dataplane, policy, port, frame->bytes, frame->length)) {
		struct worker *worker = dataplane->workers[explain->answer.owner];

		worker->policy = policy;
		worker->now_ms = plane->now_ms;
		explain_owned(explain, worker);
	}
}

/* The frame that left because of the packet, NULL if none did. */
static const struct sent *
find_sent(struct plane *plane, uint16_t port)
{
	for (const struct sent *sent = plane->sent[port]; sent != NULL; sent = sent->next)
		if (sent->serial == outcome.serial)
			return sent;
	return NULL;
}

static bool
left_as(const struct sent *sent, const struct tuple *leaves)
{
	struct frame_view view = frame_view(sent->frame.bytes, sent->frame.length);
	uint16_t identifier = rte_be_to_cpu_16(leaves->source_port | leaves->destination_port);

	if (!view.ip) /* in fragments */
		return (sent->frame.bytes[12] << 8 | sent->frame.bytes[13]) == 0x0800;
	if (!address_equal(&view.source, &leaves->source) ||
		!address_equal(&view.destination, &leaves->destination))
		return false;
	if (view.protocol == IPPROTO_ICMP || view.protocol == IPPROTO_ICMPV6)
		return (sent->frame.bytes[view.l4 + 4] << 8 | sent->frame.bytes[view.l4 + 5]) ==
		       identifier;
	return view.source_port == rte_be_to_cpu_16(leaves->source_port) &&
	       view.destination_port == rte_be_to_cpu_16(leaves->destination_port);
}

static void
remember(const struct sent *sent, uint16_t port)
{
	struct heard *what = &heard[heard_count % HEARD];

	if (!frame_view(sent->frame.bytes, sent->frame.length).ip)
		return;
	heard_count++;
	what->port = port;
	what->frame = sent->frame;
}

static const char *
disagreement(
	struct plane *plane, const struct explanation *answer, uint64_t answers, uint64_t resets)
{
	const struct packet *packet = &outcome.packet;
	const struct sent *sent;

	if (answer->waits || !outcome.done)
		return answer->waits && !outcome.done ? NULL : "whether it waits";
	if (packet->verdict != answer->verdict)
		return "verdict";
	if (packet->verdict == VERDICT_DROP && packet->reason != answer->reason)
		return "reason";
	if (packet->rule != answer->rule)
		return "rule";
	if (packet->out_port != answer->out_port)
		return "port";
	/* what a reset of one who has not heard costs counts as an answer, too */
	if (answers != 0 && answer->answer == ANSWER_SILENCE &&
		answer->reason != REASON_FLOW_REFUSED)
		return "an answer";
	if (resets != 0 && !answer->resets)
		return "resets";
	if (packet->verdict != VERDICT_FORWARD)
		return NULL;
	sent = find_sent(plane, packet->out_port);
	if (sent == NULL)
		return "nothing left";
	remember(sent, packet->out_port);
	if ((packet->flags & PACKET_ICMP_ERROR) == 0 && !left_as(sent, &answer->leaves))
		return "translation";
	/* a host that was not known is made up by a data plane that asks nobody */
	return answer->mac == 0 || memcmp(sent->frame.bytes, &answer->mac, 6) == 0 ? NULL
										   : "next hop";
}

static uint64_t
worker_sum(const struct plane *plane, bool resets)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < plane->dataplane->worker_count; i++) {
		const struct worker_counters *counters = &plane->dataplane->workers[i]->counters;

		sum += resets ? counters->resets : counters->answers + counters->answers_withheld;
	}
	return sum;
}

static void
complain(const char *what, uint16_t port, const struct frame *frame, uint64_t seed)
{
	static const char *const stages[] = {
#define STAGE_NAME(identifier, name) name,
		EXPLAIN_STAGES(STAGE_NAME)
#undef STAGE_NAME
	};
	const struct explanation *answer = &explain->answer;
	const struct packet *packet = &outcome.packet;
	struct frame_view view = frame_view(frame->bytes, frame->length);
	char text[2][ADDRESS_TEXT_SIZE];

	if (failures++ > 4)
		return;
	printf("\n    %s: port %u %s:%u > %s:%u protocol %u type or flags %u ttl %u"
	       "\n    explained: stage %s verdict %u reason %s rule %u port %u waits %u flow %u "
	       "evicted %u reopens %u"
	       "\n    happened:  %s verdict %u reason %s rule %u port %u (EXPLAIN_SEED=%llu)\n",
		what, port, address_format(text[0], view.family, &view.source), view.source_port,
		address_format(text[1], view.family, &view.destination), view.destination_port,
		view.protocol, frame->bytes[view.l4 + (view.protocol == IPPROTO_TCP ? 13u : 0u)],
		view.ttl, stages[answer->stage], answer->verdict, reasons[answer->reason].name,
		answer->rule, answer->out_port, answer->waits, answer->flow, answer->trial.evicted,
		answer->reopens, outcome.done ? "done" : "held", packet->verdict,
		reasons[packet->reason].name, packet->rule, packet->out_port,
		(unsigned long long)seed);
}

static void
count_reached(const struct explanation *answer)
{
	reached[answer->stage]++;
	seen_reasons[answer->reason]++;
	seen_evictions += answer->trial.evicted > 0;
	seen_reopens += answer->reopens;
	seen_waits += answer->waits;
	seen_known += answer->flow == EXPLAIN_FLOW_OPEN && answer->verdict == VERDICT_FORWARD;
	seen_new += answer->flow == EXPLAIN_FLOW_NEW && answer->verdict == VERDICT_FORWARD;
}

static void
one_case(struct plane *plane, uint32_t serial, uint64_t seed)
{
	static struct frame frame;
	uint16_t port = packet_draw(&frame);
	bool thorough = draw(512) == 0;
	uint64_t before = state_digest(plane, thorough), answers, resets;
	struct rte_mbuf *mbuf;
	const char *wrong;

	ask(plane, port, &frame);
	count_reached(&explain->answer);
	if (state_digest(plane, thorough) != before)
		complain("asking changed something", port, &frame, seed);
	outcome = (struct outcome){.serial = serial};
	answers = worker_sum(plane, false);
	resets = worker_sum(plane, true);
	mbuf = frame_mbuf(plane->dataplane->pool, frame.bytes, frame.length);
	packet_of(mbuf)->serial = serial;
	plane_receive(plane, port, &mbuf, 1);
	wrong = disagreement(plane, &explain->answer, worker_sum(plane, false) - answers,
		worker_sum(plane, true) - resets);
	if (wrong != NULL)
		complain(wrong, port, &frame, seed);
	plane_forget(plane);
}

/* A host on the uplink's link says its MAC. */
static void
host_speaks(struct plane *plane)
{
	static const char *const hosts[] = {
		"192.168.50.77", "192.168.50.78", PLANE_RESOLVER, "fd00:50::77", PLANE_ROUTER};
	union address address;
	enum family family;

	(void)address_parse(ONE_OF(hosts), &family, &address);
	neighbour_heard(plane->dataplane->ports[PLANE_UPLINK].neighbours, family, &address,
		UINT64_C(0x0200000000aa), plane->now_ms);
	plane_service(plane);
	plane_forget(plane);
}

static void
time_passes(struct plane *plane)
{
	if (chance(10))
		host_speaks(plane);
	if (chance(80))
		return;
	plane->now_ms += chance(90) ? draw(40) : chance(90) ? draw(2000) : draw(200000);
	plane_service(plane);
	plane_forget(plane);
}

static void
one_world(uint64_t seed)
{
	struct world world;
	struct plane *plane;

	random_state = seed;
	heard_count = 0;
	world_draw(&world);
	plane = plane_create(&world.options);
	dataplane_trace(plane->dataplane, trace, NULL);
	plane->dataplane->pickup = chance(10);
	if (chance(90))
		plane_resolve(plane);
	for (uint32_t i = 1; i <= CASES_PER_WORLD; i++) {
		if (i % CASES_PER_POLICY == 0) {
			policy_draw(&world);
			plane_commit(plane, &world.options);
		}
		time_passes(plane);
		one_case(plane, i, seed);
	}
	CU_ASSERT_PTR_NULL(plane_audit(plane));
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

static void
test_agrees_with_the_data_plane(void)
{
	const char *cases = getenv("EXPLAIN_CASES");
	const char *seed = getenv("EXPLAIN_SEED");
	unsigned long worlds = (cases != NULL ? strtoul(cases, NULL, 0) : 100000) / CASES_PER_WORLD;
	uint64_t first = seed != NULL ? strtoull(seed, NULL, 0) : 1;

	for (uint64_t i = 0; i < worlds && failures < 5; i++)
		one_world(first + i);
	CU_ASSERT_EQUAL(failures, 0);
	/* The random worlds show what they are meant to show. */
	for (unsigned i = 0; i < EXPLAIN_STAGE_COUNT; i++)
		CU_ASSERT(reached[i] > 0 || i == EXPLAIN_STEER);
	CU_ASSERT(seen_evictions > 0 && seen_reopens > 0 && seen_waits > 0);
	CU_ASSERT(seen_known > worlds * 50 && seen_new > worlds * 50);
	if (getenv("EXPLAIN_CASES") != NULL)
		for (unsigned i = 0; i < REASON_COUNT; i++)
			printf("\n    %-22s %u", reasons[i].name, seen_reasons[i]);
	if (getenv("EXPLAIN_CASES") != NULL)
		printf("\n    evictions %u reopens %u waits %u known %u new %u\n", seen_evictions,
			seen_reopens, seen_waits, seen_known, seen_new);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"says what the data plane then does, and changes nothing",
			test_agrees_with_the_data_plane},
	};

	unit_eal();
	explain = aligned_alloc(64, RTE_ALIGN_CEIL(sizeof(*explain), 64));
	if (explain == NULL)
		return EXIT_FAILURE;
	return UNIT_RUN("explain", tests);
}
