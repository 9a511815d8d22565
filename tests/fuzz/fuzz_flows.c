/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Conversations that live while the policy changes under them, and what must hold all the same.
 *
 * fuzz_receive sends frames of which nearly none belongs to anything. Here both ends of each
 * conversation answer what they really get: out of the uplink, to a virtual resolver, through
 * forwards from outside and inside, by hairpin, from qube to qube, and into bindings of qubes with
 * filters. Either end, or a router beyond the uplink, sends ICMP errors about what it got. Some
 * frames are damaged. Now and then another policy is published: other rules, forwards, filters,
 * limits. Time passes. After every burst:
 *
 * - each received packet has one verdict, or waits
 * - what leaves by the uplink has our address as source; what reaches a qube is addressed to it;
 *   checksums are right where the input had them
 * - a packet that opens a flow to somebody reaches him and nobody else
 * - what comes back reaches whoever has sent to where it seems to come from, and what an ICMP error
 *   quotes was sent by whoever gets it
 * - a flow whose packet passes has been agreed to by the policy in force; one that forbids all
 *   lets nothing through
 * - accounts, bindings and permissions are those of the flows that live (now and then)
 *
 * and at the end, when time has passed, nothing is held and every mbuf is back in its pool.
 *
 *	FUZZ_BURSTS=150000 FUZZ_SEED=1 FUZZ_SECONDS=8 fuzz_flows
 *
 * Ends after so many bursts or seconds, whichever comes first. A failure names seed and burst.
 */
#include "tests/fuzz/conversation.h"
#include "tests/unit/audit.h"
#include "tests/unit/unit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <time.h>

#define BURSTS_DEFAULT 150000
#define SECONDS_DEFAULT 8
#define SERIALS 65536 /* more than can be under way at once */
#define VIEWS (1u << 20)
#define REACHED PLANE_PORTS /* added to a port: not sent there, but an answer to what arrived */
/* What is known of a received packet, by serial number. */
static struct input {
	uint16_t port;
	uint8_t verdicts;
	bool whole; /* not damaged */
	bool is_error;
	uint16_t talk;
	uint8_t from; /* which end */
	uint32_t serial;
} inputs[SERIALS];

static struct plane *plane;
static uint64_t seed;
static uint32_t serial, burst_number;
/* The last packet that another policy may have let in, and whether this one lets nothing in. */
static uint32_t serial_before;
static bool is_shut;

/* Who has sent as whom to whom: hashes. */
static uint64_t views[VIEWS];

/* What has been reached: a fuzzer that sends no error about a flow says nothing about that. */
static struct {
	uint64_t delivered[TALK_KINDS][2];
	uint64_t errors[FAMILIES][3][2]; /* TCP, UDP, query; to whom asked, to whom answers */
	uint64_t refused, evicted, commits;
} seen;

static void __attribute__((noreturn, format(printf, 1, 2))) broken(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fprintf(stderr, "fuzz_flows: seed %" PRIu64 ", burst %u: ", seed, burst_number);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	abort();
}

/* --- what must hold --- */

static struct pair
pair_reversed(const struct pair *pair)
{
	return (struct pair){pair->destination, pair->source, pair->destination_port,
		pair->source_port, pair->protocol};
}

static uint64_t *
view_slot(uint16_t port, const struct pair *pair)
{
	uint64_t words[] = {port, pair->protocol, pair->source.half[0], pair->source.half[1],
		pair->destination.half[0], pair->destination.half[1],
		(uint64_t)pair->source_port << 16 | pair->destination_port};
	uint64_t hash = UINT64_C(14695981039346656037);

	for (unsigned i = 0; i < RTE_DIM(words); i++)
		hash = (hash ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15) + (hash >> 29);
	hash |= 1;
	for (uint32_t i = (uint32_t)(hash >> 20) % VIEWS;; i = (i + 1) % VIEWS) {
		if (views[i] == 0)
			views[i] = hash & ~UINT64_C(1);
		if ((views[i] | 1) == hash)
			return &views[i];
	}
}

/* The lowest bit of a slot says that somebody on this port has sent so. */
static void
view_note(uint16_t port, const struct pair *pair)
{
	*view_slot(port, pair) |= 1;
}

static bool
view_known(uint16_t port, const struct pair *pair)
{
	return (*view_slot(port, pair) & 1) != 0;
}

/* Packets of this burst that were forwarded: their mbufs tell the serial number. */
static const struct rte_mbuf *forwarded[8 * BURST_MAX + HELD_MAX];
static unsigned forwarded_count;

static void
trace(void *context, const struct rte_mbuf *mbuf, const struct packet *packet)
{
	const struct policy *policy = atomic_load(&plane->dataplane->policy);
	struct input *input = &inputs[packet->serial % SERIALS];
	const struct flow *flow = packet->flow;

	(void)context;
	if (input->verdicts++ != 0)
		broken("packet %u has two verdicts", packet->serial);
	if (packet->verdict == VERDICT_DROP &&
		(packet->reason == REASON_NONE || packet->reason >= REASON_COUNT))
		broken("packet %u was dropped for no reason", packet->serial);
	if (packet->verdict != VERDICT_FORWARD)
		return;
	if (flow == NULL)
		broken("packet %u was forwarded without a flow", packet->serial);
	if (forwarded_count == RTE_DIM(forwarded))
		broken("more was forwarded than received");
	forwarded[forwarded_count++] = mbuf;
	if ((int32_t)(packet->serial - serial_before) <= 0)
		return; /* it has waited for a neighbour */
	if (flow->generation != policy->generation)
		broken("a flow of generation %u goes on in %u", flow->generation,
			policy->generation);
	if ((flow->flags & FLOW_REFUSED) != 0)
		broken("a flow that is refused goes on");
	if (is_shut && (flow->qube != policy->ports[PLANE_PERSONAL].qube ||
			       (flow->flags & FLOW_INBOUND) != 0 ||
			       flow->way[DIRECTION_ORIGINAL].port != PLANE_UPLINK))
		broken("a flow of qube %u goes on although all is forbidden", flow->qube);
}

/* Ours on the uplink, and those of the qubes. */
static union address own_address[PLANE_PORTS][FAMILIES];

static bool
is_own(uint16_t port, const struct frame_view *view, const union address *address)
{
	return address_equal(address, &own_address[port][view->family]);
}

static union address
address_of(const char *text)
{
	union address address;
	enum family family;

	if (address_parse(text, &family, &address) != 0)
		broken("%s is no address", text);
	return address;
}

/* A packet of whoever asks reaches whom it is for, and nobody else. */
static void
check_question(const struct talk *talk, uint16_t port, const struct frame_view *view,
	const struct pair *pair)
{
	const struct end *asks = &talk->end[0];
	union address remote = address_of(asks->remote);

	switch (talk->kind) {
	case TALK_QUBES:
		if (port != talk->end[1].port)
			broken("a question to a qube leaves by port %u", port);
		break;
	case TALK_DNS:
		remote = address_of(PLANE_RESOLVER);
		/* fall through */
	case TALK_OUT:
		if (port != PLANE_UPLINK || !address_equal(&view->destination, &remote) ||
			(!is_query(talk->protocol) && pair->destination_port != asks->remote_port))
			broken("a question has another destination");
		break;
	case TALK_HAIRPIN:
		if (!is_own(PLANE_UPLINK, view, &view->source))
			broken("a hairpin comes from somebody else (RFC 4787 REQ-9)");
		break;
	default:
		break;
	}
}

/* The packet that an error quotes, as a frame of its own. */
static bool
quote_view(const struct frame *out, const struct frame_view *view, struct frame *quote,
	struct frame_view *quoted)
{
	uint32_t at = view->l4 + 8, length = view->end - at;

	if (view->end < at + 28)
		return false;
	memcpy(quote->bytes, out->bytes, ETHER_HEADER);
	memcpy(quote->bytes + ETHER_HEADER, out->bytes + at, length);
	/* only the start is quoted: let it be all there is */
	if (view->family == FAMILY_IPV4)
		put16(quote->bytes + ETHER_HEADER + 2, length);
	else
		put16(quote->bytes + ETHER_HEADER + 4, length - 40);
	quote->length = ETHER_HEADER + length;
	*quoted = frame_view(quote->bytes, quote->length);
	/* the view wants whole headers for ports; of an error 8 bytes will do */
	if (quoted->protocol == IPPROTO_TCP || quoted->protocol == IPPROTO_UDP) {
		const uint8_t *l4 = quote->bytes + quoted->l4;

		quoted->source_port = (uint16_t)(l4[0] << 8 | l4[1]);
		quoted->destination_port = (uint16_t)(l4[2] << 8 | l4[3]);
	}
	return quoted->ip;
}

static void
check_error(const struct talk *talk, unsigned to, const struct frame *out,
	const struct frame_view *view, uint16_t port)
{
	static struct frame quote;
	struct frame_view quoted;
	struct pair pair;
	unsigned protocol;

	if (!is_query(view->protocol) || !quote_view(out, view, &quote, &quoted))
		broken("an error has lost what it quotes");
	pair = pair_of(quote.bytes, &quoted);
	if (!view_known(port, &pair) && !view_known((uint16_t)(port + REACHED), &pair))
		broken("an error quotes what its receiver never sent: protocol %u, ports %u %u",
			pair.protocol, pair.source_port, pair.destination_port);
	if (!address_equal(&view->destination, &quoted.source))
		broken("an error reaches somebody else than it is about");
	protocol = pair.protocol == IPPROTO_TCP ? 0 : pair.protocol == IPPROTO_UDP ? 1 : 2;
	if (pair.protocol != GRE)
		seen.errors[talk->family][protocol][to]++;
}

/* A packet that came from an end of a conversation, without damage, leaves by @p port. */
static void
deliver(const struct input *input, bool is_reply, uint16_t port, const struct frame *out,
	const struct frame_view *view)
{
	struct talk *talk = &talks[input->talk];
	unsigned to = !input->from;
	struct pair pair, back;

	if (input->is_error) {
		check_error(talk, to, out, view, port);
		return;
	}
	pair = pair_of(out->bytes, view);
	back = pair_reversed(&pair);
	/* what is no answer to an open flow opens one, also when it was meant to be an answer */
	if (!is_reply && to == 1)
		check_question(talk, port, view, &pair);
	if (is_reply && !view_known(port, &back))
		broken("an answer reaches somebody who never asked: port %u, protocol %u, %u > %u",
			port, pair.protocol, pair.source_port, pair.destination_port);
	if (to == 1)
		talk->end[1].port = port; /* a forward may lead to either qube */
	/* it may be the answer to another conversation that had the same ends */
	if (port != talk->end[to].port)
		return;
	seen.delivered[talk->kind][to]++;
	talk_take(talk, to, out, view);
}

static void
watch(struct plane *own, const struct port *port, const struct rte_mbuf *mbuf)
{
	static struct frame out;
	const struct packet *packet = packet_of((struct rte_mbuf *)(uintptr_t)mbuf);
	const struct input *input = &inputs[packet->serial % SERIALS];
	struct frame_view view;
	bool is_forwarded = false;
	unsigned faults;

	(void)own;
	for (unsigned i = 0; i < forwarded_count && !is_forwarded; i++)
		if (forwarded[i] == mbuf) {
			is_forwarded = true;
			forwarded[i] = forwarded[--forwarded_count];
		}
	frame_of_mbuf(&out, mbuf);
	view = frame_view(out.bytes, out.length);
	if (!view.ip) {
		if (is_forwarded || out.bytes[12] != 0x08 || out.bytes[13] != 0x06)
			broken("neither IP nor ARP leaves");
		return;
	}
	if (port->index == PLANE_UPLINK ? !is_own(PLANE_UPLINK, &view, &view.source)
					: !is_own(port->index, &view, &view.destination) &&
						  view.destination.v6[0] != 0xfe)
		broken("a packet leaves by port %u as somebody, or to somebody, who is not there",
			port->index);
	faults = frame_faults(out.bytes, out.length);
	if ((faults & FRAME_IP_CHECKSUM) != 0 || (faults != 0 && (!is_forwarded || input->whole)))
		broken("a wrong checksum leaves: port %u, protocol %u, %s", port->index,
			view.protocol, is_forwarded ? "forwarded" : "our own");
	if (is_forwarded) {
		struct pair pair = pair_of(out.bytes, &view), back = pair_reversed(&pair);

		view_note((uint16_t)(port->index + REACHED), &back);
	}
	if (is_forwarded && input->whole && (int32_t)(input->serial - talks[input->talk].since) > 0)
		deliver(input, packet->direction == DIRECTION_REPLY, port->index, &out, &view);
}

static void
audit(bool is_empty)
{
	const char *text = is_empty ? plane_audit_empty(plane) : plane_audit(plane);

	if (text != NULL)
		broken("%s", text);
}

/* Every packet received up to now has its verdict, but for those that wait. */
static void
settle(void)
{
	uint64_t waiting = plane_held(plane);

	for (unsigned i = 0; i < plane->dataplane->worker_count; i++)
		waiting += fragment_count(plane->dataplane->workers[i]->fragments);
	if (plane_verdicts(plane) + waiting != plane->received)
		broken("%" PRIu64 " received, %" PRIu64 " verdicts, %" PRIu64 " waiting",
			plane->received, plane_verdicts(plane), waiting);
	if (forwarded_count != 0)
		broken("%u forwarded packets never left", forwarded_count);
}

/* --- what is sent --- */

static void
damage(struct frame *frame)
{
	for (unsigned hits = 1 + draw(3); hits > 0; hits--)
		frame->bytes[draw(RTE_MIN(frame->length, 120u))] ^= (uint8_t)(1 << draw(8));
	if (draw(4) == 0)
		frame->length = ETHER_HEADER + draw(frame->length - ETHER_HEADER);
	if (draw(3) != 0)
		frame_fix(frame->bytes, frame->length);
}

/* What an end of a conversation says next. @return NULL when it has nothing to say */
static struct rte_mbuf *
speak(unsigned index, unsigned from)
{
	static struct frame frame;
	struct talk *talk = &talks[index];
	bool is_error = talk->begun && talk->end[from].known && draw(8) == 0;
	struct input input = {.talk = (uint16_t)index, .from = (uint8_t)from};
	struct frame_view view;
	struct rte_mbuf *mbuf;

	input.port = talk->end[from].port;
	input.is_error = is_error;
	input.whole = draw(20) != 0;
	if (is_error && !talk_error(&frame, talk, from))
		return NULL;
	if (!is_error)
		talk_packet(&frame, talk, from);
	if (!input.whole)
		damage(&frame);
	view = frame_view(frame.bytes, frame.length);
	if (!is_error && view.ip) {
		struct pair pair = pair_of(frame.bytes, &view);

		view_note(input.port, &pair);
	}
	mbuf = draw(4) == 0 ? frame_mbuf_tight(plane->dataplane->pool, frame.bytes, frame.length)
			    : frame_mbuf(plane->dataplane->pool, frame.bytes, frame.length);
	input.serial = ++serial;
	packet_of(mbuf)->serial = serial;
	inputs[serial % SERIALS] = input;
	return mbuf;
}

/* The resolver is on the link, and says where. */
static void
resolver_answer(void)
{
	static struct frame frame;
	struct rte_mbuf *mbuf;

	frame_arp(&frame, 2, plane_uplink_mac, plane_router_mac, PLANE_RESOLVER,
		PLANE_UPLINK_ADDRESS);
	mbuf = frame_mbuf(plane->dataplane->pool, frame.bytes, frame.length);
	packet_of(mbuf)->serial = ++serial;
	inputs[serial % SERIALS] = (struct input){.port = PLANE_UPLINK, .serial = serial};
	plane_receive(plane, PLANE_UPLINK, &mbuf, 1);
}

/* A burst of what ends behind one port say, mostly of a few conversations. */
static void
one_burst(void)
{
	struct rte_mbuf *burst[BURST_MAX];
	uint16_t port = (uint16_t)draw(PLANE_PORTS);
	unsigned wanted = draw(3) == 0 ? 1 : 1 + draw(24), count = 0;

	for (unsigned tries = 0; tries < 4 * wanted && count < wanted; tries++) {
		unsigned index = draw(TALKS), from = draw(2);
		struct talk *talk = &talks[index];
		unsigned again = draw(4) == 0 ? 1 + draw(3) : 1;

		if (!talk->begun || draw(60) == 0)
			talk_begin(talk, serial);
		if (!talk->begun || talk->end[from].port != port ||
			(from == 1 && !talk->end[1].known))
			continue;
		while (again-- > 0 && count < wanted) {
			burst[count] = speak(index, from);
			count += burst[count] != NULL;
		}
	}
	if (count > 0)
		plane_receive(plane, port, burst, count);
	settle();
}

/* --- policies --- */

#define FORWARD(type, proto, qube, to)                                     \
	"[forward " type proto "]\nforwardtype = " type "\nproto = " proto \
	"\nsrcports = 8080-8082\ndstports = " to "\nqube = " qube "\n"
#define ALLOW "[allow one]\nfrom = work\nto = personal\n"

static const char *const rules[] = {
	"policy=accept\n",
	"policy=accept\n",
	"policy=drop\naction=accept dst4=192.0.2.0/24\naction=accept dst6=2606:4700::/32\n",
	"policy=drop\naction=accept proto=tcp\naction=accept specialtarget=dns\n",
	("policy=accept\naction=drop proto=tcp dstports=443-443\naction=drop proto=udp "
	 "dstports=53-53\n"),
	"policy=drop\naction=accept proto=icmp icmptype=8\naction=accept proto=udp\n",
	"policy=drop\n",
	"policy=nonsense\n",
};
static const char *const filters[] = {
	"", "filter = address\n", "filter = none\n", "filter = address\n"};
static const char *const limits[] = {"", "", "flows = 16\n", "half-open = 2\n",
	"flows = 20\nports = 5\n", "new-flows = 40\n", "ports = 2\n"};
static const char *const sections[] = {
	FORWARD("external", "tcp", "work", "80-82") FORWARD("external", "udp", "work", "80-82")
		FORWARD("internal", "tcp", "personal", "80-82")
			FORWARD("internal", "udp", "personal", "80-82") ALLOW,
	FORWARD("external", "tcp", "personal", "90") FORWARD("external", "udp", "personal", "90")
		FORWARD("internal", "tcp", "personal", "90"),
	FORWARD("external", "tcp", "work", "80-82") FORWARD("internal", "udp", "personal", "80-82")
		ALLOW "proto = tcp\n",
	FORWARD("internal", "tcp", "work", "80-82") FORWARD("internal", "udp", "work", "80-82")
		ALLOW,
	"",
};

static void
policy_change(void)
{
	char work[96];
	struct plane_options options = {
		.workers = plane->dataplane->worker_count,
		.rules = rules[draw(RTE_DIM(rules))],
		.work = work,
		.personal = filters[draw(RTE_DIM(filters))],
		.more = sections[draw(RTE_DIM(sections))],
		.no_resolver = draw(8) == 0,
	};

	snprintf(work, sizeof(work), "%s%s", filters[draw(RTE_DIM(filters))],
		limits[draw(RTE_DIM(limits))]);
	is_shut = draw(6) == 0;
	if (is_shut) {
		options.rules = "policy=drop\n";
		options.more = NULL;
		options.personal = NULL;
		work[0] = '\0';
	}
	plane_commit(plane, &options);
	serial_before = serial;
	seen.commits++;
	audit(false);
}

static void
time_pass(void)
{
	switch (draw(150)) {
	case 0: /* queries and unanswered flows end */
		plane->now_ms += draw(150000);
		break;
	case 1: /* all of them but connections */
		plane->now_ms += draw(20) == 0 ? 8000000 : 400000;
		break;
	default:
		plane->now_ms += draw(30);
		return;
	}
	plane_service(plane);
	plane_resolve(plane);
	settle();
}

static void
let_all_end(void)
{
	for (unsigned i = 0; i < 2; i++) {
		plane->now_ms += UINT32_C(0x40000000);
		plane_service(plane);
	}
	plane_wait(plane, 40000); /* what waits for a neighbour, or for fragments */
	settle();
	audit(true);
}

static void
check_seen(void)
{
	for (unsigned kind = 0; kind < TALK_KINDS; kind++)
		for (unsigned to = 0; to < 2; to++)
			if (seen.delivered[kind][to] < 100)
				broken("only %" PRIu64 " packets of kind %u reach end %u",
					seen.delivered[kind][to], kind, to);
	for (unsigned i = 0; i < FAMILIES * 3 * 2; i++)
		if (seen.errors[i / 6][i / 2 % 3][i % 2] < 20)
			broken("only %" PRIu64 " errors about protocol %u, family %u, to end %u",
				seen.errors[i / 6][i / 2 % 3][i % 2], i / 2 % 3, i / 6, i % 2);
	if (seen.refused < 100 || seen.evicted < 100)
		broken("%" PRIu64 " refused, %" PRIu64 " evicted", seen.refused, seen.evicted);
}

static void
report(void)
{
	printf("%u packets, %" PRIu64 " policies, %" PRIu64 " flows refused, %" PRIu64 " evicted\n",
		serial, seen.commits, seen.refused, seen.evicted);
	for (unsigned kind = 0; kind < TALK_KINDS; kind++)
		printf("kind %u: %" PRIu64 " there, %" PRIu64 " back\n", kind,
			seen.delivered[kind][1], seen.delivered[kind][0]);
	for (unsigned i = 0; i < FAMILIES * 3; i++)
		printf("errors, family %u, protocol %u: %" PRIu64 " to who asks, %" PRIu64
		       " to who answers\n",
			i / 3, i % 3, seen.errors[i / 3][i % 3][0], seen.errors[i / 3][i % 3][1]);
	for (unsigned i = REASON_NONE + 1; i < REASON_COUNT; i++)
		if (plane_drops(plane, i) != 0)
			printf("%10" PRIu64 "  %s\n", plane_drops(plane, i), reasons[i].name);
}

static void
open_plane(void)
{
	for (uint16_t port = 0; port < (uint16_t)PLANE_PORTS; port++)
		for (unsigned family = 0; family < FAMILIES; family++)
			own_address[port][family] =
				address_of(port == PLANE_UPLINK ? talk_uplink_address(family)
								: talk_qube_address(family, port));
	plane = plane_create(&(struct plane_options){.workers = 1 + (unsigned)(seed % 3)});
	plane->watch = watch;
	dataplane_trace(plane->dataplane, trace, NULL);
	plane_resolve(plane);
}

static void
close_plane(void)
{
	unsigned lost;

	let_all_end();
	lost = plane_free(plane);
	if (lost != 0)
		broken("%u mbufs were lost", lost);
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
	uint64_t bursts = number_of("FUZZ_BURSTS", BURSTS_DEFAULT);
	time_t end = time(NULL) + (time_t)number_of("FUZZ_SECONDS", SECONDS_DEFAULT);

	seed = number_of("FUZZ_SEED", 1);
	random_state = seed;
	unit_eal();
	printf("FUZZ_SEED=%" PRIu64 " FUZZ_BURSTS=%" PRIu64 "\n", seed, bursts);
	fflush(stdout);
	open_plane();
	for (; burst_number < bursts && time(NULL) <= end; burst_number++) {
		one_burst();
		if (draw(20) == 0)
			resolver_answer();
		time_pass();
		if (draw(100) == 0)
			policy_change();
		if (draw(50) == 0)
			audit(false);
	}
	for (unsigned i = 0; i < plane->dataplane->worker_count; i++) {
		seen.refused += plane->dataplane->workers[i]->counters.flows_refused;
		seen.evicted += plane->dataplane->workers[i]->counters.flows_evicted;
	}
	report();
	fflush(stdout);
	if (burst_number >= 30000)
		check_seen();
	close_plane();
	return 0;
}
