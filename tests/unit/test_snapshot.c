/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flows over a restart: one data plane writes them, another one reads them, and whoever talks
 * through it must not notice. What is no longer true is left behind, what is damaged is not used,
 * and what cannot be written harms nothing.
 */
#include "tests/unit/restart.h"

#include <netinet/in.h>

#include <rte_tcp.h>

#include "classifier/guard.h"
#include "nat/tcp.h"

#define REMOTE "192.0.2.7"
#define REMOTE6 "2600:1::7"

#define SYN RTE_TCP_SYN_FLAG
#define ACK RTE_TCP_ACK_FLAG
#define FIN RTE_TCP_FIN_FLAG
#define RST RTE_TCP_RST_FLAG

/* --- flows --- */

#define FLOWS_MOST 4096

struct flows {
	unsigned count;
	struct flow flow[FLOWS_MOST];
};

static void
flows_add(void *context, struct flow *flow)
{
	struct flows *flows = context;

	if (flows->count < FLOWS_MOST)
		flows->flow[flows->count++] = *flow;
}

/* Copies of all flows, with what is left of their time as deadline. */
static void
flows_of(struct flows *flows, const struct plane *plane)
{
	flows->count = 0;
	for (unsigned i = 0; i < plane->dataplane->worker_count; i++)
		flow_walk(plane->dataplane->workers[i]->flows, flows_add, flows);
	for (unsigned i = 0; i < flows->count; i++)
		flows->flow[i].deadline_ms -= plane->now_ms;
}

/* The flow of a worker in the table, by the port of whoever opened it. */
static struct flow *wanted_flow;
static uint16_t wanted_port;

static void
flow_if_wanted(void *context, struct flow *flow)
{
	(void)context;
	if (flow->port[0][0] == rte_cpu_to_be_16(wanted_port))
		wanted_flow = flow;
}

static struct flow *
flow_by_port(const struct plane *plane, uint16_t port)
{
	wanted_flow = NULL;
	wanted_port = port;
	for (unsigned i = 0; i < plane->dataplane->worker_count; i++)
		flow_walk(plane->dataplane->workers[i]->flows, flow_if_wanted, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(wanted_flow);
	return wanted_flow;
}

static bool
flow_same(const struct flow *a, const struct flow *b)
{
	struct tuple tuple[4];
	bool same = true;

	for (unsigned i = 0; i < 2; i++) {
		flow_tuple(a, i, &tuple[i]);
		flow_tuple(b, i, &tuple[2 + i]);
	}
	same = same && memcmp(&tuple[0], &tuple[2], 2 * sizeof(tuple[0])) == 0;
	same = same && a->protocol == b->protocol && a->state == b->state;
	same = same && a->reply6 == b->reply6 && a->syn_end == b->syn_end;
	same = same && ((a->flags ^ b->flags) & (FLOW_REPLIED | FLOW_INBOUND | FLOW_IPV6)) == 0;
	same = same && a->address_delta == b->address_delta && a->port_delta == b->port_delta;
	same = same && memcmp(a->way, b->way, sizeof(a->way)) == 0;
	same = same && a->qube == b->qube && a->rule == b->rule;
	return same && memcmp(a->tcp, b->tcp, sizeof(a->tcp)) == 0;
}

/* --- conversations --- */

struct conversation {
	uint8_t protocol;
	uint16_t port;                  /* of the qube */
	const char *remote;             /* as the qube knows it */
	const char *behind;             /* as it really is; NULL: the same */
	uint16_t own_port, remote_port; /* identifier, in ICMP */
	/* learned from the first packet */
	char external[ADDRESS_TEXT_SIZE];
	uint16_t external_port;
	/* TCP */
	uint32_t own_next, remote_next;
};

static struct frame frame; /* the last one that was built or that left */

static bool
is_icmp(uint8_t protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

static const char *
qube_address(const struct conversation *talk)
{
	bool ipv6 = strchr(talk->remote, ':') != NULL;

	if (talk->port == PLANE_PERSONAL)
		return ipv6 ? PLANE_PERSONAL_ADDRESS6 : PLANE_PERSONAL_ADDRESS;
	return ipv6 ? PLANE_WORK_ADDRESS6 : PLANE_WORK_ADDRESS;
}

static void
put32(uint8_t *at, uint32_t value)
{
	value = rte_cpu_to_be_32(value);
	memcpy(at, &value, sizeof(value));
}

static void
tcp_numbers(uint32_t sequence, uint32_t acknowledgement)
{
	struct frame_view view = frame_view(frame.bytes, frame.length);

	put32(frame.bytes + view.l4 + 4, sequence);
	put32(frame.bytes + view.l4 + 8, acknowledgement);
	frame_fix(frame.bytes, frame.length);
}

/* What the qube sends. */
static void
build_own(struct conversation *talk, uint8_t flags)
{
	bool tcp = talk->protocol == IPPROTO_TCP;
	struct frame_spec spec = {
		.destination_mac = plane_vif_mac,
		.source_mac = plane_qube_mac,
		.source = qube_address(talk),
		.destination = talk->remote,
		.protocol = talk->protocol,
		.source_port = talk->own_port,
		.destination_port = talk->remote_port,
		.tcp_flags = flags,
		.type = talk->protocol == IPPROTO_ICMPV6 ? 128 : 8,
		.payload = tcp && (flags & (SYN | RST)) != 0 ? 0 : 20,
	};

	frame_build(&frame, &spec);
	if (tcp)
		tcp_numbers(talk->own_next, (flags & ACK) != 0 ? talk->remote_next : 0);
}

/* What the far end sends to where the qube seems to be. */
static void
build_remote(struct conversation *talk, uint8_t flags)
{
	bool tcp = talk->protocol == IPPROTO_TCP;
	struct frame_spec spec = {
		.destination_mac = plane_uplink_mac,
		.source_mac = plane_router_mac,
		.source = talk->behind != NULL ? talk->behind : talk->remote,
		.destination = talk->external,
		.protocol = talk->protocol,
		.source_port = is_icmp(talk->protocol) ? talk->external_port : talk->remote_port,
		.destination_port = talk->external_port,
		.tcp_flags = flags,
		.type = talk->protocol == IPPROTO_ICMPV6 ? 129 : 0,
		.payload = tcp && (flags & (SYN | RST)) != 0 ? 0 : 30,
	};

	frame_build(&frame, &spec);
	if (tcp)
		tcp_numbers(talk->remote_next, (flags & ACK) != 0 ? talk->own_next : 0);
}

static uint32_t
tcp_length(uint8_t flags, uint32_t payload)
{
	return (flags & (SYN | RST)) != 0 ? (flags & SYN) != 0 : payload + ((flags & FIN) != 0);
}

/* The one frame that leaves, through @p port; into `frame`. */
static struct frame_view
left_by(struct plane *plane, uint16_t port)
{
	struct sent *sent = plane_next(plane, port);

	CU_ASSERT_PTR_NOT_NULL_FATAL(sent);
	frame = sent->frame;
	CU_ASSERT_EQUAL(frame_faults(frame.bytes, frame.length), 0);
	for (uint16_t i = 0; i < (uint16_t)PLANE_PORTS; i++)
		CU_ASSERT_EQUAL(plane_waiting(plane, i), 0);
	return frame_view(frame.bytes, frame.length);
}

static uint16_t
identifier(const struct frame_view *view)
{
	return (uint16_t)(frame.bytes[view->l4 + 4] << 8 | frame.bytes[view->l4 + 5]);
}

/* The qube says something, which leaves by the uplink from the same address and port as ever. */
static void
say(struct plane *plane, struct conversation *talk, uint8_t flags)
{
	char text[ADDRESS_TEXT_SIZE];
	struct frame_view view;
	uint16_t port;

	build_own(talk, flags);
	plane_send(plane, talk->port, &frame);
	view = left_by(plane, PLANE_UPLINK);
	CU_ASSERT_STRING_EQUAL(address_format(text, view.family, &view.destination),
		talk->behind != NULL ? talk->behind : talk->remote);
	CU_ASSERT_EQUAL(view.destination_port, is_icmp(talk->protocol) ? 0 : talk->remote_port);
	CU_ASSERT_EQUAL(memcmp(frame.bytes, plane_router_mac, 6), 0);
	port = is_icmp(talk->protocol) ? identifier(&view) : view.source_port;
	address_format(text, view.family, &view.source);
	if (talk->external[0] == '\0') {
		memcpy(talk->external, text, sizeof(text));
		talk->external_port = port;
	}
	CU_ASSERT_STRING_EQUAL(text, talk->external);
	CU_ASSERT_EQUAL(port, talk->external_port);
	talk->own_next += tcp_length(flags, 20);
}

/* The far end says something, which reaches the qube. */
static void
hear(struct plane *plane, struct conversation *talk, uint8_t flags)
{
	char text[ADDRESS_TEXT_SIZE];
	struct frame_view view;

	build_remote(talk, flags);
	plane_send(plane, PLANE_UPLINK, &frame);
	view = left_by(plane, talk->port);
	CU_ASSERT_STRING_EQUAL(
		address_format(text, view.family, &view.destination), qube_address(talk));
	CU_ASSERT_STRING_EQUAL(address_format(text, view.family, &view.source), talk->remote);
	if (is_icmp(talk->protocol))
		CU_ASSERT_EQUAL(identifier(&view), talk->own_port);
	if (talk->protocol == IPPROTO_TCP || talk->protocol == IPPROTO_UDP) {
		CU_ASSERT_EQUAL(view.source_port, talk->remote_port);
		CU_ASSERT_EQUAL(view.destination_port, talk->own_port);
	}
	CU_ASSERT_EQUAL(memcmp(frame.bytes, plane_qube_mac, 6), 0);
	talk->remote_next += tcp_length(flags, 30);
}

static void
talk_begin(struct plane *plane, struct conversation *talk)
{
	talk->own_next = 100000;
	talk->remote_next = 700000;
	say(plane, talk, SYN);
	hear(plane, talk, SYN | ACK);
	say(plane, talk, ACK);
	hear(plane, talk, ACK);
}

static void
talk_on(struct plane *plane, struct conversation *talk)
{
	hear(plane, talk, ACK);
	say(plane, talk, ACK);
	hear(plane, talk, ACK);
}

/* --- what goes on --- */

/* One of everything. The last two have to share an external port, and cannot. */
static const struct conversation everything[] = {
	{.protocol = IPPROTO_TCP, PLANE_WORK, REMOTE, .own_port = 40001, .remote_port = 443},
	{.protocol = IPPROTO_TCP, PLANE_WORK, REMOTE6, .own_port = 40002, .remote_port = 443},
	{.protocol = IPPROTO_UDP, PLANE_WORK, REMOTE, .own_port = 40003, .remote_port = 443},
	{.protocol = IPPROTO_UDP, PLANE_WORK, REMOTE6, .own_port = 40004, .remote_port = 443},
	{.protocol = IPPROTO_ICMP, PLANE_WORK, REMOTE, .own_port = 40005},
	{.protocol = IPPROTO_ICMPV6, PLANE_WORK, REMOTE6, .own_port = 40006},
	{.protocol = IPPROTO_ESP, PLANE_WORK, REMOTE},
	{.protocol = IPPROTO_UDP, PLANE_WORK, PLANE_DNS, PLANE_RESOLVER, 40007, 53},
	{.protocol = IPPROTO_TCP, PLANE_WORK, PLANE_DNS, PLANE_RESOLVER, 40008, 53},
	{.protocol = IPPROTO_TCP, PLANE_PERSONAL, REMOTE, .own_port = 40001, .remote_port = 443},
	{.protocol = IPPROTO_UDP, PLANE_PERSONAL, REMOTE, .own_port = 40003, .remote_port = 80},
};
#define EVERYTHING RTE_DIM(everything)

/* The gateway of the link leads to the resolver as well: it is spared an ARP request. */
static void
resolver_known(struct plane *plane)
{
	struct neighbour_table *neighbours = plane->dataplane->ports[PLANE_UPLINK].neighbours;
	union address resolver;
	enum family family;

	CU_ASSERT_EQUAL(address_parse(PLANE_RESOLVER, &family, &resolver), 0);
	neighbour_index(neighbours, family, &resolver, plane->now_ms);
	neighbour_heard(neighbours, family, &resolver, mac_word(plane_router_mac), plane->now_ms);
}

static void
everything_goes_on(unsigned workers_before, unsigned workers_after)
{
	struct plane *plane = plane_ready(&(struct plane_options){.workers = workers_before});
	struct conversation talks[EVERYTHING];

	memcpy(talks, everything, sizeof(talks));
	resolver_known(plane);
	for (unsigned i = 0; i < EVERYTHING; i++)
		talk_begin(plane, &talks[i]);
	CU_ASSERT_NOT_EQUAL(talks[9].external_port, talks[0].external_port);
	CU_ASSERT_NOT_EQUAL(talks[10].external_port, talks[2].external_port);
	plane = restart(plane, &(struct plane_options){.workers = workers_after});
	resolver_known(plane);
	CU_ASSERT_EQUAL(flows_count(plane), EVERYTHING);
	/* in another order than before */
	for (unsigned i = EVERYTHING; i-- > 0;)
		talk_on(plane, &talks[i]);
	CU_ASSERT_EQUAL(flows_count(plane), EVERYTHING);
	plane_done(plane);
}

static void
test_everything_goes_on(void)
{
	everything_goes_on(1, 1);
	CU_ASSERT(was_said("snapshot: 11 flows taken up, 0 no longer valid, 0 out of time\n"));
}

/* Another number of workers is another owner for most flows. */
static void
test_workers(void)
{
	everything_goes_on(1, 4);
	everything_goes_on(3, 2);
	everything_goes_on(4, 1);
}

/* A stop right after a start: nobody has said anything yet, and nothing is lost. */
static void
test_twice(void)
{
	struct plane *plane = plane_ready(&(struct plane_options){0});
	struct conversation talks[EVERYTHING];

	memcpy(talks, everything, sizeof(talks));
	resolver_known(plane);
	for (unsigned i = 0; i < EVERYTHING; i++)
		talk_begin(plane, &talks[i]);
	for (unsigned i = 0; i < 3; i++)
		plane = restart(plane, &(struct plane_options){0});
	CU_ASSERT_EQUAL(flows_count(plane), EVERYTHING);
	resolver_known(plane);
	for (unsigned i = 0; i < EVERYTHING; i++)
		talk_on(plane, &talks[i]);
	plane_done(plane);
}

/* Every field that a flow has to itself, bit by bit. */
static void
test_fields(void)
{
	static struct flows before, after;
	struct plane *plane = plane_ready(&(struct plane_options){
		.rules = "policy=drop\naction=drop dst4=10.0.0.0/8\naction=accept\n"});
	struct conversation talks[EVERYTHING];
	unsigned found = 0;

	memcpy(talks, everything, sizeof(talks));
	resolver_known(plane);
	for (unsigned i = 0; i < EVERYTHING; i++)
		talk_begin(plane, &talks[i]);
	for (unsigned i = 0; i < EVERYTHING; i++) {
		struct flow *flow;

		if (talks[i].protocol != IPPROTO_TCP || talks[i].port != PLANE_WORK)
			continue;
		flow = flow_by_port(plane, talks[i].own_port);
		flow->syn_end = 0x80000001 + i;
		flow->reply6 |= (uint8_t)((i + 5) << 4);
		flow->tcp[0] = (struct tcp_end){0xfedcba98, 0x89abcdef, 0x80000000,
			.max_window = 0x3ffffff, .scale = 14, .flags = 1};
		flow->tcp[1] = (struct tcp_end){
			0x01234567, 0xffffffff, 1, .max_window = 1, .scale = 1, .flags = 2};
	}
	flows_of(&before, plane);
	plane = restart(plane,
		&(struct plane_options){
			.rules = "policy=drop\naction=drop dst4=10.0.0.0/8\naction=accept\n"});
	flows_of(&after, plane);
	CU_ASSERT_EQUAL_FATAL(before.count, EVERYTHING);
	CU_ASSERT_EQUAL_FATAL(after.count, EVERYTHING);
	for (unsigned i = 0; i < before.count; i++) {
		for (unsigned j = 0; j < after.count; j++) {
			if (!flow_same(&before.flow[i], &after.flow[j]))
				continue;
			found++;
			/* what it took to write and read */
			CU_ASSERT(after.flow[j].deadline_ms <= before.flow[i].deadline_ms);
			CU_ASSERT(after.flow[j].deadline_ms + 2000 > before.flow[i].deadline_ms);
			CU_ASSERT_EQUAL(after.flow[j].generation, 0);
		}
	}
	CU_ASSERT_EQUAL(found, EVERYTHING);
	plane_done(plane);
}

/* A rule that is no more is not named, since somebody might look it up. */
static void
test_rule(void)
{
	struct plane *plane = plane_ready(&(struct plane_options){
		.rules = "policy=drop\naction=drop dst4=10.0.0.0/8\naction=accept\n"});
	struct conversation talks[2] = {everything[0], everything[10]};

	talk_begin(plane, &talks[0]);
	talk_begin(plane, &talks[1]);
	CU_ASSERT_EQUAL(flow_by_port(plane, 40001)->rule, 1);
	CU_ASSERT_EQUAL(flow_by_port(plane, 40003)->rule, RULE_POLICY);
	plane = restart(plane,
		&(struct plane_options){.rules = "policy=accept\naction=accept proto=udp\n"});
	CU_ASSERT_EQUAL(flow_by_port(plane, 40001)->rule, RULE_NONE);
	CU_ASSERT_EQUAL(flow_by_port(plane, 40003)->rule, RULE_POLICY);
	talk_on(plane, &talks[0]);
	talk_on(plane, &talks[1]);
	plane_done(plane);
}

/* --- TCP in every state --- */

/* Whatever may come next, in either direction. */
static const struct probe {
	bool own;
	uint8_t flags;
	int32_t off; /* its sequence number from the one that is due */
} probes[] = {
	{true, SYN, 0},
	{true, SYN | ACK, 0},
	{true, ACK, 0},
	{true, FIN | ACK, 0},
	{true, RST, 0},
	{true, ACK, 500000000},
	{true, ACK, -500000000},
	{true, RST | ACK, 7},
	{false, SYN, 0},
	{false, SYN | ACK, 0},
	{false, ACK, 0},
	{false, FIN | ACK, 0},
	{false, RST, 0},
	{false, ACK, 500000000},
	{false, ACK, -500000000},
	{false, RST | ACK, 7},
};
#define STATES (TCP_STATE_COUNT - 1) /* without NONE */
#define PROBES RTE_DIM(probes)

struct outcome {
	unsigned frames[PLANE_PORTS];
	uint32_t length;
	uint8_t bytes[256]; /* of what was forwarded */
	uint8_t state;
	uint32_t drops[REASON_COUNT];
};

static struct conversation state_talks[STATES][PROBES];
static struct outcome outcomes[2][STATES][PROBES];

static uint8_t
state_of(const struct plane *plane, uint16_t port)
{
	wanted_flow = NULL;
	wanted_port = port;
	flow_walk(plane->dataplane->workers[0]->flows, flow_if_wanted, NULL);
	return wanted_flow != NULL ? wanted_flow->state : TCP_STATE_NONE;
}

static void
probe_send(struct plane *plane, const struct conversation *talk, const struct probe *probe,
	struct outcome *outcome)
{
	struct conversation moved = *talk;
	struct sent *sent;

	memset(outcome, 0, sizeof(*outcome));
	for (unsigned i = 0; i < REASON_COUNT; i++)
		outcome->drops[i] = (uint32_t)plane_drops(plane, i);
	if (probe->own) {
		moved.own_next += (uint32_t)probe->off;
		build_own(&moved, probe->flags);
	} else {
		moved.remote_next += (uint32_t)probe->off;
		build_remote(&moved, probe->flags);
	}
	plane_send(plane, probe->own ? talk->port : (uint16_t)PLANE_UPLINK, &frame);
	for (uint16_t port = 0; port < (uint16_t)PLANE_PORTS; port++) {
		outcome->frames[port] = plane_waiting(plane, port);
		while ((sent = plane_next(plane, port)) != NULL) {
			if (frame_view(sent->frame.bytes, sent->frame.length).protocol !=
				IPPROTO_TCP)
				continue;
			outcome->length = sent->frame.length;
			memcpy(outcome->bytes, sent->frame.bytes,
				RTE_MIN(sent->frame.length, sizeof(outcome->bytes)));
		}
	}
	for (unsigned i = 0; i < REASON_COUNT; i++)
		outcome->drops[i] = (uint32_t)plane_drops(plane, i) - outcome->drops[i];
	outcome->state = state_of(plane, talk->own_port);
}

static void
probe_all(struct plane *plane, struct outcome out[STATES][PROBES])
{
	for (unsigned state = 0; state < STATES; state++)
		for (unsigned i = 0; i < PROBES; i++)
			probe_send(plane, &state_talks[state][i], &probes[i], &out[state][i]);
}

/*
 * The same next segment, once to the data plane that wrote the snapshot and once to the one that
 * read it: what becomes of it is the same, to the last byte.
 */
static void
test_tcp_states(void)
{
	struct plane *plane = plane_ready(&(struct plane_options){0});
	unsigned forwarded = 0;

	for (unsigned state = 0; state < STATES; state++) {
		for (unsigned i = 0; i < PROBES; i++) {
			struct conversation *talk = &state_talks[state][i];

			*talk = (struct conversation){.protocol = IPPROTO_TCP,
				.port = PLANE_WORK,
				.remote = i % 2 == 0 ? REMOTE : REMOTE6,
				.own_port = (uint16_t)(20000 + state * PROBES + i),
				.remote_port = 443};
			talk_begin(plane, talk);
			flow_by_port(plane, talk->own_port)->state = (uint8_t)(state + 1);
		}
	}
	CU_ASSERT_EQUAL_FATAL(plane_write(plane), 0);
	probe_all(plane, outcomes[0]);
	plane_done(plane);
	plane = plane_fresh(&(struct plane_options){0});
	CU_ASSERT_EQUAL_FATAL(plane_read(plane), 0);
	CU_ASSERT_EQUAL(flows_count(plane), STATES * PROBES);
	for (unsigned state = 0; state < STATES; state++)
		for (unsigned i = 0; i < PROBES; i++)
			CU_ASSERT_EQUAL(state_of(plane, state_talks[state][i].own_port), state + 1);
	probe_all(plane, outcomes[1]);
	plane_done(plane);
	for (unsigned state = 0; state < STATES; state++) {
		for (unsigned i = 0; i < PROBES; i++) {
			forwarded += outcomes[0][state][i].length != 0;
			if (memcmp(&outcomes[0][state][i], &outcomes[1][state][i],
				    sizeof(outcomes[0][0][0])) == 0)
				continue;
			fprintf(stderr, "%s, probe %u: not as before\n", tcp_states[state + 1].name,
				i);
			CU_FAIL("a segment is taken in another way than before the restart");
		}
	}
	/* and it was not all silence */
	CU_ASSERT(forwarded > STATES * PROBES / 4);
	CU_ASSERT(forwarded < STATES * PROBES);
}

/* --- neighbours --- */

static void
send_arp(struct plane *plane, uint16_t port, uint16_t opcode, const uint8_t *to, const uint8_t *mac,
	const char *sender, const char *target)
{
	frame_arp(&frame, opcode, to, mac, sender, target);
	plane_send(plane, port, &frame);
}

/* An on-link host is its own next hop: it is asked for anew, and what waits for it is not lost. */
static void
test_on_link(void)
{
	static const uint8_t host_mac[6] = {0x02, 0xbb, 0, 0, 0, 0x77};
	struct plane *plane = plane_ready(&(struct plane_options){0});
	struct conversation talk = everything[2];

	talk.remote = "192.168.50.77";
	for (unsigned run = 0; run < 2; run++) {
		if (run == 1)
			plane = restart(plane, &(struct plane_options){0});
		build_own(&talk, 0);
		plane_send(plane, PLANE_WORK, &frame);
		left_by(plane, PLANE_UPLINK); /* who has 192.168.50.77? */
		CU_ASSERT_EQUAL(memcmp(frame.bytes, plane_broadcast, 6), 0);
		send_arp(plane, PLANE_UPLINK, 2, plane_uplink_mac, host_mac, talk.remote,
			PLANE_UPLINK_ADDRESS);
		left_by(plane, PLANE_UPLINK);
		CU_ASSERT_EQUAL(memcmp(frame.bytes, host_mac, 6), 0);
		CU_ASSERT_EQUAL(flows_count(plane), 1);
	}
	plane_done(plane);
}

/* Which MAC the port of a qube has. */
static uint64_t
peer_mac(const struct plane *plane, uint16_t port)
{
	return neighbour_mac(plane->dataplane->ports[port].neighbours, NEIGHBOUR_PEER, NULL);
}

static void
test_learned_mac(void)
{
	const struct plane_options learning = {.no_mac = true};
	struct plane *plane = plane_ready(&learning);
	struct conversation talk = everything[0];

	send_arp(plane, PLANE_WORK, 1, plane_broadcast, plane_qube_mac, PLANE_WORK_ADDRESS,
		PLANE_GATEWAY);
	plane_forget(plane);
	CU_ASSERT_EQUAL(peer_mac(plane, PLANE_WORK), mac_word(plane_qube_mac));
	talk_begin(plane, &talk);
	plane = restart(plane, &learning);
	/* It goes on talking as if nothing had been. */
	CU_ASSERT_EQUAL(peer_mac(plane, PLANE_WORK), mac_word(plane_qube_mac));
	CU_ASSERT_EQUAL(peer_mac(plane, PLANE_PERSONAL), 0);
	talk_on(plane, &talk);
	/* once more without a word of it */
	plane = restart(plane, &learning);
	plane = restart(plane, &learning);
	talk_on(plane, &talk);
	plane_done(plane);
}

static void
test_mac_refused(void)
{
	static const uint8_t other_mac[6] = {0x02, 0xcc, 0, 0, 0, 0x01};
	const struct plane_options learning = {.no_mac = true}, configured = {.no_mac = false};
	struct plane *plane = plane_ready(&learning);

	/* what is configured is not overruled by what was learned before */
	send_arp(plane, PLANE_WORK, 1, plane_broadcast, other_mac, PLANE_WORK_ADDRESS,
		PLANE_GATEWAY);
	plane = restart(plane, &configured);
	CU_ASSERT_EQUAL(peer_mac(plane, PLANE_WORK), mac_word(plane_qube_mac));
	/* and is not remembered when it is configured no more */
	plane = restart(plane, &learning);
	CU_ASSERT_EQUAL(peer_mac(plane, PLANE_WORK), 0);
	/* nobody has our own */
	send_arp(plane, PLANE_WORK, 1, plane_broadcast, other_mac, PLANE_WORK_ADDRESS,
		PLANE_GATEWAY);
	CU_ASSERT_EQUAL_FATAL(plane_write(plane), 0);
	plane_done(plane);
	plane = plane_fresh(&learning);
	memcpy(plane->dataplane->ports[PLANE_WORK].mac, other_mac, 6);
	CU_ASSERT_EQUAL(plane_read(plane), 0);
	CU_ASSERT_EQUAL(peer_mac(plane, PLANE_WORK), 0);
	plane_done(plane);
	/* a port of another name, of another qube, or that is none of a qube, has another MAC */
	for (unsigned i = 0; i < 3; i++) {
		struct policy *policy;

		plane = plane_ready(&learning);
		send_arp(plane, PLANE_WORK, 1, plane_broadcast, other_mac, PLANE_WORK_ADDRESS,
			PLANE_GATEWAY);
		CU_ASSERT_EQUAL_FATAL(plane_write(plane), 0);
		plane_done(plane);
		plane = plane_fresh(&learning);
		policy = policy_of(plane);
		if (i == 0)
			memcpy(policy->ports[PLANE_WORK].name, "job", sizeof("job"));
		if (i == 1)
			memcpy(policy->qubes[0].name, "job", sizeof("job"));
		if (i == 2)
			policy->ports[PLANE_WORK].role = ROLE_UPLINK;
		CU_ASSERT_EQUAL(plane_read(plane), 0);
		CU_ASSERT_EQUAL(peer_mac(plane, PLANE_WORK), 0);
		plane_done(plane);
	}
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"everything goes on", test_everything_goes_on},
		{"another number of workers", test_workers},
		{"restarts in a row", test_twice},
		{"every field", test_fields},
		{"a rule that is no more", test_rule},
		{"TCP in every state", test_tcp_states},
		{"a host on the link", test_on_link},
		{"a learned MAC", test_learned_mac},
		{"a MAC that is not taken", test_mac_refused},
	};

	return restart_run("snapshot", tests, RTE_DIM(tests));
}
