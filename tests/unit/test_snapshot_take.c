/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which flows of a snapshot are taken up: those that mean what they meant. Qubes go, move and get
 * other addresses, the uplink does, time passes, tables are smaller.
 */
#include "tests/unit/restart.h"

#include <netinet/in.h>

#include "nat/tcp.h"

#define REMOTE "192.0.2.7"
#define REMOTE6 "2600:1::7"

/* --- flows --- */

struct end {
	const char *address;
	uint16_t port;
};

/* A flow as the pipeline would open it. */
struct sample {
	uint8_t protocol;
	enum plane_port from, to;
	struct end original[2]; /* source, destination */
	struct end reply[2];
	uint8_t qube; /* its index: 0 is work, 1 personal */
	uint8_t flags;
	uint32_t remaining_ms;
};

enum {
	WORK_TCP,
	WORK_UDP6,
	WORK_UDP6_TRANSLATED,
	WORK_DNS,
	PERSONAL_UDP,
	PERSONAL_PING,
	FORWARDED,
	FORWARDED6,
	FILTERED,
	ALLOWED,
	INTERNAL,
	HAIRPIN,
	OWN_FORWARD,
	SAMPLES
};

/* The port that tells of which sample a flow is. */
#define FIRST_PORT 4001u
#define BIT(sample) (1U << (sample))
#define ALL (BIT(SAMPLES) - 1)

static const struct sample samples[SAMPLES] = {
	[WORK_TCP] = {IPPROTO_TCP, PLANE_WORK, PLANE_UPLINK,
		{{PLANE_WORK_ADDRESS, 4001}, {REMOTE, 443}},
		{{REMOTE, 443}, {PLANE_UPLINK_ADDRESS, 5001}}, 0, 0, 100000},
	[WORK_UDP6] = {IPPROTO_UDP, PLANE_WORK, PLANE_UPLINK,
		{{PLANE_WORK_ADDRESS6, 4002}, {REMOTE6, 443}},
		{{REMOTE6, 443}, {PLANE_UPLINK_ADDRESS6, 4002}}, 0, FLOW_BINDING, 100000},
	[WORK_UDP6_TRANSLATED] = {IPPROTO_UDP, PLANE_WORK, PLANE_UPLINK,
		{{PLANE_WORK_ADDRESS6, 4003}, {REMOTE6, 443}},
		{{REMOTE6, 443}, {PLANE_UPLINK_ADDRESS6, 5003}}, 0, FLOW_BINDING, 100000},
	[WORK_DNS] = {IPPROTO_UDP, PLANE_WORK, PLANE_UPLINK,
		{{PLANE_WORK_ADDRESS, 4004}, {PLANE_DNS, 53}},
		{{PLANE_RESOLVER, 53}, {PLANE_UPLINK_ADDRESS, 5004}}, 0,
		FLOW_REPLIED | FLOW_BINDING, 100000},
	[PERSONAL_UDP] = {IPPROTO_UDP, PLANE_PERSONAL, PLANE_UPLINK,
		{{PLANE_PERSONAL_ADDRESS, 4005}, {REMOTE, 443}},
		{{REMOTE, 443}, {PLANE_UPLINK_ADDRESS, 5005}}, 1, FLOW_BINDING, 30000},
	[PERSONAL_PING] = {IPPROTO_ICMP, PLANE_PERSONAL, PLANE_UPLINK,
		{{PLANE_PERSONAL_ADDRESS, 4006}, {REMOTE, 0}},
		{{REMOTE, 0}, {PLANE_UPLINK_ADDRESS, 5006}}, 1, FLOW_REPLIED | FLOW_BINDING, 60000},
	[FORWARDED] = {IPPROTO_TCP, PLANE_UPLINK, PLANE_PERSONAL,
		{{REMOTE, 4007}, {PLANE_UPLINK_ADDRESS, 8080}},
		{{PLANE_PERSONAL_ADDRESS, 80}, {REMOTE, 4007}}, 1, FLOW_INBOUND, 100000},
	[FORWARDED6] = {IPPROTO_TCP, PLANE_UPLINK, PLANE_PERSONAL,
		{{REMOTE6, 4008}, {PLANE_UPLINK_ADDRESS6, 8080}},
		{{PLANE_PERSONAL_ADDRESS6, 80}, {REMOTE6, 4008}}, 1, FLOW_INBOUND | FLOW_REPLIED,
		100000},
	[FILTERED] = {IPPROTO_UDP, PLANE_UPLINK, PLANE_PERSONAL,
		{{REMOTE, 4009}, {PLANE_UPLINK_ADDRESS, 5005}},
		{{PLANE_PERSONAL_ADDRESS, 4005}, {REMOTE, 4009}}, 1, FLOW_INBOUND | FLOW_BINDING,
		100000},
	[ALLOWED] = {IPPROTO_UDP, PLANE_WORK, PLANE_PERSONAL,
		{{PLANE_WORK_ADDRESS, 4010}, {PLANE_PERSONAL_ADDRESS, 99}},
		{{PLANE_PERSONAL_ADDRESS, 99}, {PLANE_WORK_ADDRESS, 4010}}, 0, 0, 100000},
	[INTERNAL] = {IPPROTO_TCP, PLANE_WORK, PLANE_PERSONAL,
		{{PLANE_WORK_ADDRESS, 4011}, {PLANE_GATEWAY, 8080}},
		{{PLANE_PERSONAL_ADDRESS, 80}, {PLANE_WORK_ADDRESS, 4011}}, 0, 0, 100000},
	[HAIRPIN] = {IPPROTO_TCP, PLANE_WORK, PLANE_PERSONAL,
		{{PLANE_WORK_ADDRESS, 4012}, {PLANE_UPLINK_ADDRESS, 8080}},
		{{PLANE_PERSONAL_ADDRESS, 80}, {PLANE_UPLINK_ADDRESS, 5012}}, 0, 0, 100000},
	[OWN_FORWARD] = {IPPROTO_TCP, PLANE_PERSONAL, PLANE_PERSONAL,
		{{PLANE_PERSONAL_ADDRESS, 4013}, {PLANE_GATEWAY, 8080}},
		{{PLANE_PERSONAL_ADDRESS, 80}, {PLANE_GATEWAY, 5013}}, 1, 0, 100000},
};

static void
tuple_make(struct tuple *tuple, uint8_t protocol, const struct end ends[2])
{
	enum family family;

	memset(tuple, 0, sizeof(*tuple));
	CU_ASSERT_EQUAL(address_parse(ends[0].address, &family, &tuple->source), 0);
	CU_ASSERT_EQUAL(address_parse(ends[1].address, &family, &tuple->destination), 0);
	tuple->source_port = rte_cpu_to_be_16(ends[0].port);
	tuple->destination_port = rte_cpu_to_be_16(ends[1].port);
	/* the one that answers a ping has the identifier at its other end */
	tuple->protocol = protocol;
	tuple->family = (uint8_t)family;
}

static uint16_t
neighbour_of(enum plane_port port, uint8_t family)
{
	return port == PLANE_UPLINK ? family : NEIGHBOUR_PEER;
}

static struct flow *
sample_open(struct plane *plane, const struct sample *sample)
{
	struct worker *worker = plane->dataplane->workers[0];
	struct tuple original, reply;
	struct flow *flow;

	tuple_make(&original, sample->protocol, sample->original);
	tuple_make(&reply, sample->protocol, sample->reply);
	flow = flow_open(worker->flows, &original, &reply, plane->now_ms + sample->remaining_ms);
	CU_ASSERT_PTR_NOT_NULL_FATAL(flow);
	flow->flags |= sample->flags;
	flow->generation = 1;
	flow->qube = sample->qube;
	flow->rule = RULE_POLICY;
	flow->way[0] =
		(struct flow_way){(uint16_t)sample->to, neighbour_of(sample->to, original.family)};
	flow->way[1] = (struct flow_way){
		(uint16_t)sample->from, neighbour_of(sample->from, original.family)};
	if (sample->protocol == IPPROTO_TCP) {
		flow->state = TCP_STATE_ESTABLISHED;
		flow->tcp[0].end = 1;
	}
	if (sample->protocol == IPPROTO_ICMP)
		flow->state = 8;
	return flow;
}

/* In which all of them are open to this day. */
static const struct plane_options options = {
	.personal = "filter = none\n",
	.more = "[forward in]\nforwardtype = external\nproto = tcp\nsrcports = 8080\n"
		"dstports = 80\nqube = personal\n"
		"[forward among]\nforwardtype = internal\nproto = tcp\nsrcports = 8080\n"
		"dstports = 80\nqube = personal\n"
		"[allow one]\nfrom = work\nto = personal\nproto = udp\ndstports = 99\n",
};

/* A data plane with all of them. */
static struct plane *
plane_full(void)
{
	struct plane *plane = plane_ready(&options);

	plane_service(plane);
	for (unsigned i = 0; i < SAMPLES; i++)
		CU_ASSERT(worker_adopt(
			plane->dataplane->workers[0], sample_open(plane, &samples[i])));
	return plane;
}

static unsigned found;

/* Tells by the port of its origin which sample a flow is. Its ways must be right again. */
static void
flow_recognise(void *context, struct flow *flow)
{
	unsigned index = rte_be_to_cpu_16(flow->port[0][0]) - FIRST_PORT;
	const struct plane *plane = context;

	CU_ASSERT_FATAL(index < SAMPLES);
	found |= BIT(index);
	for (unsigned i = 0; i < 2; i++) {
		const struct policy *policy = policy_of(plane);

		CU_ASSERT_FATAL(flow->way[i].port < policy->port_count);
		CU_ASSERT_EQUAL(flow->way[i].port == policy->uplink,
			(i == 0 ? samples[index].to : samples[index].from) == PLANE_UPLINK);
	}
}

static unsigned
samples_found(struct plane *plane)
{
	found = 0;
	flow_walk(plane->dataplane->workers[0]->flows, flow_recognise, plane);
	return found;
}

/* --- what has changed meanwhile --- */

static union address
address_of(const char *text)
{
	union address address = {.half = {0, 0}};
	enum family family;

	CU_ASSERT_EQUAL(address_parse(text, &family, &address), 0);
	return address;
}

static void
nothing(struct policy *policy)
{
	(void)policy;
}

static void
qube_renamed(struct policy *policy)
{
	memcpy(policy->qubes[0].name, "job", sizeof("job"));
}

static void
qube_gone(struct policy *policy)
{
	policy->qubes[0].name[0] = '\0';
	policy->qubes[0].has[FAMILY_IPV4] = policy->qubes[0].has[FAMILY_IPV6] = false;
}

static void
qube_and_port_gone(struct policy *policy)
{
	qube_gone(policy);
	policy->ports[PLANE_WORK].qube = QUBE_NONE;
}

static void
qube_address(struct policy *policy)
{
	policy->qubes[0].address[FAMILY_IPV4] = address_of("10.137.0.99");
}

static void
qube_without_ipv6(struct policy *policy)
{
	policy->qubes[0].has[FAMILY_IPV6] = false;
}

static void
qube_port_renamed(struct policy *policy)
{
	memcpy(policy->ports[PLANE_WORK].name, "job", sizeof("job"));
}

static void
qube_port_of_another(struct policy *policy)
{
	policy->ports[PLANE_PERSONAL].qube = 0;
}

static void
qube_port_of_nobody(struct policy *policy)
{
	policy->ports[PLANE_PERSONAL].qube = QUBE_NONE;
}

static void
qube_port_role(struct policy *policy)
{
	policy->ports[PLANE_WORK].role = ROLE_UPLINK;
}

/* The two qubes have each other's address. */
static void
qubes_swap_addresses(struct policy *policy)
{
	union address address = policy->qubes[0].address[FAMILY_IPV4];

	policy->qubes[0].address[FAMILY_IPV4] = policy->qubes[1].address[FAMILY_IPV4];
	policy->qubes[1].address[FAMILY_IPV4] = address;
}

/* They have each other's place in the configuration: the same, but for every index. */
static void
order(struct policy *policy)
{
	struct qube qube = policy->qubes[0];

	policy->qubes[0] = policy->qubes[1];
	policy->qubes[1] = qube;
	memcpy(policy->ports[PLANE_WORK].name, "personal", sizeof("personal"));
	memcpy(policy->ports[PLANE_PERSONAL].name, "work", sizeof("work"));
}

static void
uplink_renamed(struct policy *policy)
{
	memcpy(policy->ports[PLANE_UPLINK].name, "wifi", sizeof("wifi"));
}

static void
uplink_address(struct policy *policy)
{
	policy->ports[PLANE_UPLINK].address[FAMILY_IPV4] = address_of("192.168.50.9");
}

static void
uplink_address6(struct policy *policy)
{
	policy->ports[PLANE_UPLINK].address[FAMILY_IPV6] = address_of("fd00:50::9");
}

static void
uplink_without_ipv6(struct policy *policy)
{
	policy->ports[PLANE_UPLINK].has[FAMILY_IPV6] = false;
}

static void
uplink_without_gateway(struct policy *policy)
{
	policy->ports[PLANE_UPLINK].has_gateway[FAMILY_IPV4] = false;
}

static void
gateway_address(struct policy *policy)
{
	policy->gateway[FAMILY_IPV4] = address_of("10.137.255.1");
}

static void
another_resolver(struct policy *policy)
{
	policy->resolver[0] = address_of("192.168.50.54").v4;
}

static void
no_resolver(struct policy *policy)
{
	policy->resolver_count = 0;
}

static void
no_virtual_dns(struct policy *policy)
{
	policy->virtual_dns_count = 0;
}

static void
virtual_dns_at_remote(struct policy *policy)
{
	policy->virtual_dns[0] = address_of(REMOTE).v4;
}

static void
remote_is_a_qube(struct policy *policy)
{
	policy->qubes[1].address[FAMILY_IPV6] = address_of(REMOTE6);
}

static void
remote_is_broadcast(struct policy *policy)
{
	policy->ports[PLANE_UPLINK].link[FAMILY_IPV4] =
		(struct prefix){.address = address_of("192.0.2.0"), .length = 29};
}

#define THROUGH_WORK                                                                  \
	(BIT(WORK_TCP) | BIT(WORK_UDP6) | BIT(WORK_UDP6_TRANSLATED) | BIT(WORK_DNS) | \
		BIT(ALLOWED) | BIT(INTERNAL) | BIT(HAIRPIN))
#define WORK6 (BIT(WORK_UDP6) | BIT(WORK_UDP6_TRANSLATED))
#define THROUGH_PERSONAL                                                             \
	(BIT(PERSONAL_UDP) | BIT(PERSONAL_PING) | BIT(FORWARDED) | BIT(FORWARDED6) | \
		BIT(FILTERED) | BIT(ALLOWED) | BIT(INTERNAL) | BIT(HAIRPIN) | BIT(OWN_FORWARD))
#define THROUGH_UPLINK (ALL & ~(BIT(ALLOWED) | BIT(INTERNAL) | BIT(HAIRPIN) | BIT(OWN_FORWARD)))
#define UPLINK6 (WORK6 | BIT(FORWARDED6))

static const struct change {
	const char *what;
	void (*make)(struct policy *policy);
	unsigned lost;
} changes[] = {
	{"nothing", nothing, 0},
	{"the order of qubes and ports", order, 0},
	{"a qube is renamed", qube_renamed, THROUGH_WORK},
	{"a qube is gone", qube_gone, THROUGH_WORK},
	{"a qube is gone, and its port is nobody's", qube_and_port_gone, THROUGH_WORK},
	{"a qube has another address", qube_address, THROUGH_WORK & ~WORK6},
	{"a qube has no IPv6 any more", qube_without_ipv6, WORK6},
	{"a qube's port is renamed", qube_port_renamed, THROUGH_WORK},
	{"a qube's port is another qube's", qube_port_of_another, THROUGH_PERSONAL},
	{"a qube's port is nobody's", qube_port_of_nobody, THROUGH_PERSONAL},
	{"a qube's port is an uplink", qube_port_role, THROUGH_WORK},
	{"two qubes swap addresses", qubes_swap_addresses, ALL & ~UPLINK6},
	{"the uplink is renamed", uplink_renamed, THROUGH_UPLINK},
	{"the uplink has another address", uplink_address,
		(THROUGH_UPLINK & ~UPLINK6) | BIT(HAIRPIN)},
	{"the uplink has another IPv6 address", uplink_address6, UPLINK6},
	{"the uplink has no IPv6", uplink_without_ipv6, UPLINK6},
	{"the uplink has no gateway", uplink_without_gateway,
		THROUGH_UPLINK & ~UPLINK6 & ~BIT(WORK_DNS)},
	{"we have another address", gateway_address, BIT(INTERNAL) | BIT(OWN_FORWARD)},
	{"another resolver", another_resolver, BIT(WORK_DNS)},
	{"no resolver", no_resolver, BIT(WORK_DNS)},
	{"no virtual DNS", no_virtual_dns, BIT(WORK_DNS)},
	{"virtual DNS where a server was", virtual_dns_at_remote, BIT(WORK_DNS)},
	{"a server's address is a qube's", remote_is_a_qube, UPLINK6},
	{"a server's address is a broadcast", remote_is_broadcast,
		THROUGH_UPLINK & ~UPLINK6 & ~BIT(WORK_DNS)},
};

static void
test_changes(void)
{
	for (unsigned i = 0; i < RTE_DIM(changes); i++) {
		struct plane *plane = plane_full();
		unsigned lost;
		char line[128];

		CU_ASSERT_EQUAL_FATAL(plane_write(plane), 0);
		CU_ASSERT(was_said("snapshot: 13 flows written\n"));
		plane_done(plane);
		plane = plane_fresh(&options);
		changes[i].make(policy_of(plane));
		CU_ASSERT_EQUAL(policy_index(policy_of(plane)), 0);
		CU_ASSERT_EQUAL(plane_read(plane), 0);
		lost = ALL & ~samples_found(plane);
		if (lost != changes[i].lost)
			fprintf(stderr, "%s: lost %x, not %x\n", changes[i].what, lost,
				changes[i].lost);
		CU_ASSERT_EQUAL(lost, changes[i].lost);
		snprintf(line, sizeof(line),
			"snapshot: %d flows taken up, %d no longer valid, 0 out of time\n",
			SAMPLES - __builtin_popcount(changes[i].lost),
			__builtin_popcount(changes[i].lost));
		CU_ASSERT_STRING_EQUAL(said, line);
		/* The names of before must be gone before frames are sent to anybody. */
		plane_done(plane);
	}
}

/* Flows that no configuration makes: what is written is not what is believed. */
static void
test_impossible(void)
{
	static const struct sample impossible[] = {
		/* across us, from one stranger to another */
		{IPPROTO_UDP, PLANE_UPLINK, PLANE_UPLINK, {{REMOTE, 1001}, {"192.0.2.8", 9}},
			{{"192.0.2.8", 9}, {REMOTE, 1001}}, 0, FLOW_INBOUND, 1000},
		/* the address of a qube on the uplink */
		{IPPROTO_UDP, PLANE_UPLINK, PLANE_WORK,
			{{PLANE_PERSONAL_ADDRESS, 1001}, {PLANE_UPLINK_ADDRESS, 9}},
			{{PLANE_WORK_ADDRESS, 9}, {PLANE_PERSONAL_ADDRESS, 1001}}, 0, FLOW_INBOUND,
			1000},
		/* or ours */
		{IPPROTO_UDP, PLANE_WORK, PLANE_UPLINK,
			{{PLANE_WORK_ADDRESS, 1001}, {PLANE_GATEWAY, 9}},
			{{PLANE_GATEWAY, 9}, {PLANE_UPLINK_ADDRESS, 1001}}, 0, 0, 1000},
		/* the address of one qube on the port of another */
		{IPPROTO_UDP, PLANE_WORK, PLANE_UPLINK,
			{{PLANE_PERSONAL_ADDRESS, 1001}, {REMOTE, 9}},
			{{REMOTE, 9}, {PLANE_UPLINK_ADDRESS, 1001}}, 0, 0, 1000},
		/* out under no address of ours */
		{IPPROTO_UDP, PLANE_WORK, PLANE_UPLINK, {{PLANE_WORK_ADDRESS, 1001}, {REMOTE, 9}},
			{{REMOTE, 9}, {PLANE_WORK_ADDRESS, 1001}}, 0, 0, 1000},
		{IPPROTO_UDP, PLANE_WORK, PLANE_UPLINK, {{PLANE_WORK_ADDRESS, 1001}, {REMOTE, 9}},
			{{REMOTE, 9}, {PLANE_GATEWAY, 1001}}, 0, 0, 1000},
		{IPPROTO_UDP, PLANE_WORK, PLANE_UPLINK, {{PLANE_WORK_ADDRESS6, 1001}, {REMOTE6, 9}},
			{{REMOTE6, 9}, {PLANE_PERSONAL_ADDRESS6, 1001}}, 0, 0, 1000},
		/* somewhere else than it was sent to */
		{IPPROTO_UDP, PLANE_WORK, PLANE_UPLINK, {{PLANE_WORK_ADDRESS, 1001}, {REMOTE, 9}},
			{{"192.0.2.8", 9}, {PLANE_UPLINK_ADDRESS, 1001}}, 0, 0, 1000},
		{IPPROTO_UDP, PLANE_WORK, PLANE_UPLINK,
			{{PLANE_WORK_ADDRESS, 1001}, {PLANE_DNS, 54}},
			{{PLANE_RESOLVER, 54}, {PLANE_UPLINK_ADDRESS, 1001}}, 0, 0, 1000},
		{IPPROTO_UDP, PLANE_WORK, PLANE_UPLINK,
			{{PLANE_WORK_ADDRESS, 1001}, {PLANE_GATEWAY, 9}},
			{{REMOTE, 9}, {PLANE_UPLINK_ADDRESS, 1001}}, 0, 0, 1000},
		{IPPROTO_UDP, PLANE_WORK, PLANE_PERSONAL, {{PLANE_WORK_ADDRESS, 1001}, {REMOTE, 9}},
			{{PLANE_PERSONAL_ADDRESS, 9}, {PLANE_WORK_ADDRESS, 1001}}, 0, 0, 1000},
		/* from somebody else than who sent it */
		{IPPROTO_UDP, PLANE_WORK, PLANE_PERSONAL,
			{{PLANE_WORK_ADDRESS, 1001}, {PLANE_PERSONAL_ADDRESS, 9}},
			{{PLANE_PERSONAL_ADDRESS, 9}, {REMOTE, 1001}}, 0, 0, 1000},
		{IPPROTO_TCP, PLANE_UPLINK, PLANE_PERSONAL,
			{{REMOTE, 1001}, {PLANE_UPLINK_ADDRESS, 8080}},
			{{PLANE_PERSONAL_ADDRESS, 80}, {"192.0.2.8", 1001}}, 1, FLOW_INBOUND, 1000},
		{IPPROTO_TCP, PLANE_UPLINK, PLANE_PERSONAL,
			{{REMOTE, 1001}, {PLANE_UPLINK_ADDRESS, 8080}},
			{{PLANE_PERSONAL_ADDRESS, 80}, {PLANE_GATEWAY, 1001}}, 1, FLOW_INBOUND,
			1000},
		/* in, and answers go to another port than it came from */
		{IPPROTO_UDP, PLANE_UPLINK, PLANE_PERSONAL,
			{{REMOTE, 1001}, {PLANE_UPLINK_ADDRESS, 8080}},
			{{PLANE_PERSONAL_ADDRESS, 80}, {REMOTE, 1002}}, 1, FLOW_INBOUND, 1000},
		/* in, not to us */
		{IPPROTO_TCP, PLANE_UPLINK, PLANE_PERSONAL,
			{{REMOTE, 1001}, {PLANE_PERSONAL_ADDRESS, 80}},
			{{PLANE_PERSONAL_ADDRESS, 80}, {REMOTE, 1001}}, 1, FLOW_INBOUND, 1000},
		{IPPROTO_TCP, PLANE_UPLINK, PLANE_PERSONAL, {{REMOTE, 1001}, {PLANE_GATEWAY, 80}},
			{{PLANE_PERSONAL_ADDRESS, 80}, {REMOTE, 1001}}, 1, FLOW_INBOUND, 1000},
		/* in, on the account for what goes out, and the other way round */
		{IPPROTO_TCP, PLANE_UPLINK, PLANE_PERSONAL,
			{{REMOTE, 1001}, {PLANE_UPLINK_ADDRESS, 8080}},
			{{PLANE_PERSONAL_ADDRESS, 80}, {REMOTE, 1001}}, 1, 0, 1000},
		{IPPROTO_TCP, PLANE_WORK, PLANE_UPLINK, {{PLANE_WORK_ADDRESS, 1001}, {REMOTE, 443}},
			{{REMOTE, 443}, {PLANE_UPLINK_ADDRESS, 2001}}, 0, FLOW_INBOUND, 1000},
		/* in, from a qube to another */
		{IPPROTO_TCP, PLANE_WORK, PLANE_PERSONAL,
			{{PLANE_WORK_ADDRESS, 4001}, {PLANE_GATEWAY, 8080}},
			{{PLANE_PERSONAL_ADDRESS, 80}, {PLANE_WORK_ADDRESS, 4001}}, 1, FLOW_INBOUND,
			1000},
		{IPPROTO_TCP, PLANE_UPLINK, PLANE_UPLINK,
			{{REMOTE, 4001}, {PLANE_UPLINK_ADDRESS, 8080}},
			{{"192.0.2.8", 80}, {REMOTE, 4001}}, 1, FLOW_INBOUND, 1000},
		/* at the cost of who is asked */
		{IPPROTO_TCP, PLANE_WORK, PLANE_PERSONAL,
			{{PLANE_WORK_ADDRESS, 4001}, {PLANE_GATEWAY, 8080}},
			{{PLANE_PERSONAL_ADDRESS, 80}, {PLANE_WORK_ADDRESS, 4001}}, 1, 0, 1000},
		/* at the cost of a third */
		{IPPROTO_TCP, PLANE_WORK, PLANE_UPLINK, {{PLANE_WORK_ADDRESS, 1001}, {REMOTE, 443}},
			{{REMOTE, 443}, {PLANE_UPLINK_ADDRESS, 2001}}, 1, 0, 1000},
		{IPPROTO_TCP, PLANE_UPLINK, PLANE_PERSONAL,
			{{REMOTE, 1001}, {PLANE_UPLINK_ADDRESS, 8080}},
			{{PLANE_PERSONAL_ADDRESS, 80}, {REMOTE, 1001}}, 0, FLOW_INBOUND, 1000},
	};

	for (unsigned i = 0; i < RTE_DIM(impossible); i++) {
		struct plane *plane = plane_ready(&(struct plane_options){0});

		sample_open(plane, &impossible[i]);
		CU_ASSERT_EQUAL_FATAL(plane_write(plane), 0);
		CU_ASSERT(was_said("snapshot: 1 flows written\n"));
		plane_done(plane);
		plane = plane_fresh(&options);
		CU_ASSERT_EQUAL(plane_read(plane), 0);
		if (flows_count(plane) != 0)
			fprintf(stderr, "impossible %u is taken up\n", i);
		CU_ASSERT_EQUAL(flows_count(plane), 0);
		CU_ASSERT(was_said("0 flows taken up, 1 no longer valid"));
		plane_done(plane);
	}
}

/*
 * A conversation with what was an ordinary server: from then on its address stands for a resolver,
 * and does so even when none is known.
 */
static void
test_virtual_dns(void)
{
	static const struct sample server = {IPPROTO_UDP, PLANE_WORK, PLANE_UPLINK,
		{{PLANE_WORK_ADDRESS, 4001}, {PLANE_DNS, 53}},
		{{PLANE_DNS, 53}, {PLANE_UPLINK_ADDRESS, 5001}}, 0, FLOW_BINDING, 100000};

	for (unsigned i = 0; i < 3; i++) {
		struct plane *plane = plane_ready(&(struct plane_options){0});

		sample_open(plane, &server);
		CU_ASSERT_EQUAL_FATAL(plane_write(plane), 0);
		plane_done(plane);
		plane = plane_fresh(&(struct plane_options){.no_resolver = i == 1});
		if (i == 2)
			policy_of(plane)->virtual_dns_count = 0;
		CU_ASSERT_EQUAL(plane_read(plane), 0);
		CU_ASSERT_EQUAL(flows_count(plane), i == 2);
		plane_done(plane);
	}
}

/* --- what is not written --- */

static void
test_not_written(void)
{
	struct plane *plane = plane_full();
	struct flow_table *flows = plane->dataplane->workers[0]->flows;
	struct sample more = samples[WORK_TCP];
	struct flow *flow[8];
	struct policy *policy = policy_of(plane);

	for (unsigned i = 0; i < RTE_DIM(flow); i++) {
		more.original[0].port = (uint16_t)(5000 + i);
		more.reply[1].port = (uint16_t)(6000 + i);
		flow[i] = sample_open(plane, &more);
	}
	flow[0]->flags |= FLOW_REFUSED;
	flow[1]->flags |= FLOW_PERMISSION;
	flow[2]->deadline_ms = plane->now_ms;
	flow[3]->deadline_ms = plane->now_ms - 5;
	flow[4]->qube = QUBE_NONE;
	flow[5]->qube = 7;
	/* what no reader would take is left out, or all others would be lost with it */
	flow[6]->state = 99;
	/* nor what leaves by a port that is not there any more */
	flow[7]->way[0].port = 200;
	CU_ASSERT_EQUAL(plane_write(plane), 0);
	CU_ASSERT(was_said("snapshot: 1 flows were left out"));
	CU_ASSERT(was_said("snapshot: 13 flows written\n"));
	for (unsigned i = 0; i < RTE_DIM(flow); i++)
		flow_close(flows, flow[i]);

	/* flows of a qube that had the index before; who was taken up is as old as the first */
	policy->qubes[0].since = 1;
	policy->qubes[1].since = 2;
	flow[0] = sample_open(plane, &more);
	flow[0]->generation = 0;
	CU_ASSERT_EQUAL(plane_write(plane), 0);
	flow_close(flows, flow[0]);
	CU_ASSERT(was_said("snapshot: 8 flows written\n"));
	policy->qubes[0].since = policy->qubes[1].since = 0;
	/* an index that is nobody's */
	policy->qubes[0].name[0] = '\0';
	CU_ASSERT_EQUAL(plane_write(plane), 0);
	CU_ASSERT(was_said("snapshot: 6 flows written\n"));
	plane_done(plane);
	plane = plane_fresh(&options);
	CU_ASSERT_EQUAL(plane_read(plane), 0);
	CU_ASSERT_EQUAL(samples_found(plane),
		THROUGH_PERSONAL & ~(BIT(ALLOWED) | BIT(INTERNAL) | BIT(HAIRPIN)));
	plane_done(plane);
}

/* --- time --- */

#define WALL 32
#define BOOT 40
#define BOOT_ID 48

static uint8_t bytes[8192];
static size_t length;

static void
number_add(unsigned at, int64_t more)
{
	uint64_t number;

	memcpy(&number, bytes + at, sizeof(number));
	number += (uint64_t)more;
	memcpy(bytes + at, &number, sizeof(number));
}

/* Read the file with the clocks of its header moved. */
static struct plane *
read_later(int64_t wall_s, int64_t boot_s, bool same_boot)
{
	static uint8_t unchanged[sizeof(bytes)];
	struct plane *plane = plane_fresh(&options);

	memcpy(unchanged, bytes, sizeof(bytes));
	number_add(WALL, -wall_s * 1000);
	number_add(BOOT, -boot_s * 1000);
	if (!same_boot)
		bytes[BOOT_ID] ^= 0xff;
	file_sign(bytes, length);
	file_store(bytes, length);
	CU_ASSERT_EQUAL(plane_read(plane), 0);
	memcpy(bytes, unchanged, sizeof(bytes));
	return plane;
}

static uint32_t remaining_ms[SAMPLES];

static void
flow_remaining(void *context, struct flow *flow)
{
	const struct plane *plane = context;

	remaining_ms[rte_be_to_cpu_16(flow->port[0][0]) - FIRST_PORT] =
		flow->deadline_ms - plane->now_ms;
}

/* How much time the flows have left, give or take what this test takes. */
static void
expect_remaining(struct plane *plane, uint32_t passed_ms)
{
	memset(remaining_ms, 0, sizeof(remaining_ms));
	flow_walk(plane->dataplane->workers[0]->flows, flow_remaining, plane);
	for (unsigned i = 0; i < SAMPLES; i++) {
		uint32_t left = samples[i].remaining_ms > passed_ms
					? samples[i].remaining_ms - passed_ms
					: 0;

		CU_ASSERT(remaining_ms[i] <= left);
		CU_ASSERT(remaining_ms[i] + 5000 > left);
		CU_ASSERT_EQUAL(remaining_ms[i] != 0, left != 0);
	}
}

static void
test_time(void)
{
	static const struct {
		int64_t wall_s, boot_s;
		bool same_boot;
		uint32_t passed_s;
	} cases[] = {
		{0, 0, true, 0}, {0, 40, true, 40},         /* the clock that counts */
		{3600, 40, true, 40},                       /* beside a wall clock that was set */
		{-3600, 40, true, 40}, {0, -3600, true, 0}, /* cannot be */
		{40, 0, false, 40},                         /* after a start of the machine */
		{40, -3600, false, 40},
		{-3600, 0, false, 0}, /* set back: as if no time had passed */
		{-3600, -3600, false, 0}, {90, 0, false, 90}, /* some are out of time */
		{200, 0, false, 200},                         /* all of them */
		{5000000, 0, false, 1000000},    /* more milliseconds than fit 32 bits */
		{1500000000, 0, false, 1000000}, /* after 47 years */
	};
	struct plane *plane = plane_full();

	CU_ASSERT_EQUAL_FATAL(plane_write(plane), 0);
	plane_done(plane);
	length = file_load(bytes, sizeof(bytes));
	CU_ASSERT_EQUAL(length, HEADER + NAMES + SAMPLES * RECORD);
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		plane = read_later(cases[i].wall_s, cases[i].boot_s, cases[i].same_boot);
		expect_remaining(plane, cases[i].passed_s * 1000);
		if (cases[i].passed_s == 40)
			CU_ASSERT(was_said("12 flows taken up, 0 no longer valid, 1 out of time"));
		if (cases[i].passed_s == 90)
			CU_ASSERT(was_said("11 flows taken up, 0 no longer valid, 2 out of time"));
		if (cases[i].passed_s >= 200)
			CU_ASSERT(was_said("0 flows taken up, 0 no longer valid, 13 out of time"));
		plane_done(plane);
	}
	/* A machine that does not tell its boot apart has the wall clock only. */
	memset(bytes + BOOT_ID, 0, 16);
	plane = read_later(40, -3600, true);
	expect_remaining(plane, 40000);
	plane_done(plane);
}

/* What was left of its time is what it gets, and then it ends. */
static void
test_ends(void)
{
	struct plane *plane = plane_full();

	plane = restart(plane, &options);
	plane_wait(plane, 24000);
	CU_ASSERT_EQUAL(samples_found(plane), ALL);
	plane_wait(plane, 8000);
	CU_ASSERT_EQUAL(samples_found(plane), ALL & ~BIT(PERSONAL_UDP));
	plane_wait(plane, 23000);
	CU_ASSERT_EQUAL(samples_found(plane), ALL & ~BIT(PERSONAL_UDP));
	plane_wait(plane, 8000);
	CU_ASSERT_EQUAL(samples_found(plane), ALL & ~(BIT(PERSONAL_UDP) | BIT(PERSONAL_PING)));
	plane_wait(plane, 60000);
	CU_ASSERT_EQUAL(samples_found(plane), 0);
	plane_done(plane);
}

/* --- room --- */

static void
test_small_table(void)
{
	struct plane *plane = plane_full();
	struct worker *worker;

	CU_ASSERT_EQUAL_FATAL(plane_write(plane), 0);
	plane_done(plane);
	plane = plane_fresh(&options);
	worker = plane->dataplane->workers[0];
	flow_table_free(worker->flows);
	worker->flows =
		flow_table_create(4, &plane->dataplane->secret, plane->now_ms, SOCKET_ID_ANY);
	CU_ASSERT_PTR_NOT_NULL_FATAL(worker->flows);
	CU_ASSERT_EQUAL(plane_read(plane), 0);
	CU_ASSERT_EQUAL(flows_count(plane), 4);
	CU_ASSERT(was_said("snapshot: 4 flows taken up, 9 no longer valid, 0 out of time\n"));
	plane_done(plane);
}

/* The same flow twice, or two with one external port: the first one has it. */
static void
test_duplicates(void)
{
	uint8_t *records = bytes + HEADER + NAMES;
	struct plane *plane = plane_full();

	CU_ASSERT_EQUAL_FATAL(plane_write(plane), 0);
	plane_done(plane);
	length = file_load(bytes, sizeof(bytes));
	memcpy(records + RECORD, records, RECORD);
	memcpy(records + 2 * RECORD, records, RECORD);
	records[2 * RECORD + 48] ^= 0x40; /* another port of its own */
	file_sign(bytes, length);
	file_store(bytes, length);
	plane = plane_fresh(&options);
	CU_ASSERT_EQUAL(plane_read(plane), 0);
	CU_ASSERT(was_said("snapshot: 11 flows taken up, 2 no longer valid, 0 out of time\n"));
	/* what lives here already stays */
	file_store(bytes, length);
	CU_ASSERT_EQUAL(plane_read(plane), 0);
	CU_ASSERT(was_said("snapshot: 0 flows taken up, 13 no longer valid, 0 out of time\n"));
	CU_ASSERT_EQUAL(flows_count(plane), 11);
	plane_done(plane);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"what has changed", test_changes},
		{"what cannot be", test_impossible},
		{"virtual DNS", test_virtual_dns},
		{"what is not written", test_not_written},
		{"time that has passed", test_time},
		{"time that is left", test_ends},
		{"a table too small", test_small_table},
		{"duplicates", test_duplicates},
	};

	return restart_run("snapshot take", tests, RTE_DIM(tests));
}
