/* SPDX-License-Identifier: BSD-3-Clause */
/* Steering: both directions of every kind of flow reach one worker, and workers share evenly. */
#include "tests/unit/unit.h"

#include <netinet/in.h>
#include <stdlib.h>

#include <rte_common.h>
#include <rte_random.h>

#include "nat/steer.h"

static const struct flow_secret secret = {
	{0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89}};
static const struct flow_secret other_secret = {
	{0x452821e638d01377, 0xbe5466cf34e90c6c, 0xc0ac29b7c97c50dd, 0x3f84d5b5b5470917}};

static struct policy policy;

static union address
address_random(enum family family)
{
	if (family == FAMILY_IPV4)
		return address_v4((uint32_t)rte_rand());
	return (union address){.half = {rte_rand(), rte_rand()}};
}

/* A packet from a qube to somewhere across the uplink. */
static struct packet
outbound(enum family family, uint8_t protocol)
{
	struct packet packet = {.qube = 3};

	packet.tuple = (struct tuple){.source = address_random(family),
		.destination = address_random(family),
		.protocol = protocol,
		.family = (uint8_t)family};
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) {
		packet.tuple.source_port = (uint16_t)rte_rand();
		packet.tuple.destination_port = (uint16_t)rte_rand();
	}
	return packet;
}

/* The answer, after the source of @p out became another address and port. */
static struct packet
answer(const struct packet *out)
{
	struct packet in = {.qube = QUBE_NONE};

	in.tuple = (struct tuple){.source = out->tuple.destination,
		.destination = address_random(out->tuple.family),
		.source_port = out->tuple.destination_port,
		.destination_port = (uint16_t)rte_rand(),
		.protocol = out->tuple.protocol,
		.family = out->tuple.family};
	return in;
}

static struct binding_table *bindings;

static unsigned
worker_of(const struct packet *packet, unsigned workers)
{
	return steer(&policy, &secret, bindings, packet, workers);
}

static void
test_both_directions(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ESP};

	rte_srand(7);
	for (unsigned round = 0; round < 1000; round++) {
		for (unsigned i = 0; i < RTE_DIM(protocols); i++) {
			for (unsigned family = 0; family < FAMILIES; family++) {
				struct packet out = outbound(family, protocols[i]);
				struct packet in = answer(&out);

				CU_ASSERT_EQUAL(worker_of(&out, 7), worker_of(&in, 7));
			}
		}
	}
}

static void
test_icmp_queries(void)
{
	for (unsigned round = 0; round < 1000; round++) {
		enum family family = round % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6;
		struct packet out =
			outbound(family, family == FAMILY_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
		struct packet in;

		out.flags = PACKET_ICMP_QUERY;
		out.tuple.source_port = (uint16_t)rte_rand();
		in = answer(&out);
		in.flags = PACKET_ICMP_QUERY | PACKET_ICMP_REPLY;
		in.tuple.source_port = 0;
		CU_ASSERT_EQUAL(worker_of(&out, 7), worker_of(&in, 7));
		/* All identifiers of one far end go to one worker. */
		out.tuple.source_port ^= 1;
		CU_ASSERT_EQUAL(worker_of(&out, 7), worker_of(&in, 7));
		/* A query from across the uplink and the answer to it. */
		in.flags = PACKET_ICMP_QUERY;
		in.tuple.source_port = (uint16_t)rte_rand();
		in.tuple.destination_port = 0;
		out.flags = PACKET_ICMP_QUERY | PACKET_ICMP_REPLY;
		out.tuple.source_port = 0;
		out.tuple.destination_port = in.tuple.source_port;
		CU_ASSERT_EQUAL(worker_of(&out, 7), worker_of(&in, 7));
		in.tuple.source_port ^= 0xffff;
		CU_ASSERT_EQUAL(worker_of(&out, 7), worker_of(&in, 7));
	}
}

/* The remote end of a query to virtual DNS is the resolver that will answer it. */
static void
test_virtual_dns(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	unsigned moved = 0;

	for (unsigned i = 0; i < policy.virtual_dns_count; i++) {
		for (unsigned j = 0; j < RTE_DIM(protocols); j++) {
			for (unsigned workers = 2; workers < 9; workers++) {
				struct packet out = outbound(FAMILY_IPV4, protocols[j]);
				struct packet in;

				out.tuple.destination = address_v4(policy.virtual_dns[i]);
				out.tuple.destination_port = rte_cpu_to_be_16(53);
				in = answer(&out);
				in.tuple.source = address_v4(policy.resolver[i]);
				out.flags = PACKET_DNS;
				CU_ASSERT_EQUAL(worker_of(&out, workers), worker_of(&in, workers));
				/* On another port it is an address like any other. */
				out.tuple.destination_port ^= 1;
				moved += worker_of(&out, workers) != worker_of(&in, workers);
				CU_ASSERT_EQUAL(out.tuple.destination.v4, policy.virtual_dns[i]);
			}
		}
	}
	CU_ASSERT(moved > 0);
}

static void
test_without_resolver(void)
{
	struct policy without = policy;
	struct packet out = outbound(FAMILY_IPV4, IPPROTO_UDP);

	without.resolver_count = 0;
	out.tuple.destination = address_v4(policy.virtual_dns[0]);
	out.flags = PACKET_DNS;
	CU_ASSERT(steer(&without, &secret, bindings, &out, 4) < 4);
}

static void
test_share(void)
{
	enum { PACKETS = 20000, WORKERS_MAX = 8 };

	for (unsigned family = 0; family < FAMILIES; family++) {
		for (unsigned workers = 1; workers <= WORKERS_MAX; workers++) {
			unsigned share[WORKERS_MAX] = {0};

			for (unsigned i = 0; i < PACKETS; i++) {
				struct packet out = outbound(family, IPPROTO_UDP);
				unsigned worker;

				/* One server, many ports; then many servers, one port. */
				if (i % 2 == 0)
					out.tuple.destination = address_v4(1);
				else
					out.tuple.destination_port = 1;
				worker = worker_of(&out, workers);
				CU_ASSERT_FATAL(worker < workers);
				share[worker]++;
			}
			for (unsigned i = 0; i < workers; i++)
				CU_ASSERT(share[i] > PACKETS / workers * 9 / 10 &&
					  share[i] < PACKETS / workers * 11 / 10 + 1);
		}
	}
}

/* Every part of the remote end counts, the near end does not, and the choice is keyed. */
static void
test_what_counts(void)
{
	enum { ROUNDS = 2000, WORKERS = 64 };
	unsigned same[7] = {0};

	for (unsigned round = 0; round < ROUNDS; round++) {
		enum family family = round % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6;
		struct packet out = outbound(family, IPPROTO_UDP);
		unsigned worker = worker_of(&out, WORKERS);
		struct packet changed = out;

		changed.tuple.protocol = IPPROTO_TCP;
		same[0] += worker_of(&changed, WORKERS) == worker;
		changed = out;
		changed.tuple.destination_port ^= 1;
		same[1] += worker_of(&changed, WORKERS) == worker;
		changed = out;
		changed.tuple.destination.v6[0] ^= 1;
		same[2] += worker_of(&changed, WORKERS) == worker;
		changed = out;
		changed.tuple.destination.v6[family == FAMILY_IPV4 ? 3 : 15] ^= 1;
		same[3] += worker_of(&changed, WORKERS) == worker;
		same[4] += steer(&policy, &other_secret, bindings, &out, WORKERS) == worker;
		changed = out;
		changed.tuple.destination.v6[family == FAMILY_IPV4 ? 2 : 8] ^= 1;
		same[5] += worker_of(&changed, WORKERS) == worker;
		changed = out;
		changed.tuple.source = address_random(family);
		changed.tuple.source_port ^= 1;
		same[6] += worker_of(&changed, WORKERS) == worker;
	}
	/* One in 64 by chance: 31 on average, standard deviation under 6. */
	for (unsigned i = 0; i < 6; i++)
		CU_ASSERT(same[i] < 31 + 6 * 6);
	CU_ASSERT_EQUAL(same[6], ROUNDS);
}

static void
test_one_worker(void)
{
	struct packet out = outbound(FAMILY_IPV4, IPPROTO_UDP);

	/* Not even the policy is looked at. */
	out.flags = PACKET_DNS;
	CU_ASSERT_EQUAL(steer(NULL, &secret, NULL, &out, 1), 0);
}

/* A flow that is known by its tuple alone has the owner that its packets find. */
static void
test_tuples(void)
{
	static const uint8_t protocols[] = {
		IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ESP, IPPROTO_ICMP, IPPROTO_ICMPV6};

	for (unsigned round = 0; round < 2000; round++) {
		enum family family = round % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6;
		uint8_t protocol = protocols[round / 2 % RTE_DIM(protocols)];
		struct packet packet = outbound(family, protocol);
		unsigned workers = 1 + round % 5;

		if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
			packet.flags = PACKET_ICMP_QUERY;
			packet.tuple.source_port = (uint16_t)rte_rand();
		}
		if (family == FAMILY_IPV4 && round % 3 == 0) {
			packet.tuple.destination = address_v4(policy.virtual_dns[round % 2]);
			/* whatever else is asked of that address is no DNS */
			if (round % 4 < 2 && (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP)) {
				packet.tuple.destination_port = rte_cpu_to_be_16(53);
				packet.flags |= PACKET_DNS;
			}
		}
		CU_ASSERT_EQUAL(steer_tuple(&policy, &secret, bindings, &packet.tuple, packet.qube,
					workers),
			worker_of(&packet, workers));
		/* and from the other side, where no address is virtual */
		packet.flags &= (uint16_t)~PACKET_DNS;
		packet.qube = QUBE_NONE;
		packet.tuple.source = packet.tuple.destination;
		CU_ASSERT_EQUAL(steer_tuple(&policy, &secret, bindings, &packet.tuple, packet.qube,
					workers),
			worker_of(&packet, workers));
	}
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"both directions", test_both_directions},
		{"ICMP queries", test_icmp_queries},
		{"virtual DNS", test_virtual_dns},
		{"without a resolver", test_without_resolver},
		{"share", test_share},
		{"what counts", test_what_counts},
		{"one worker", test_one_worker},
		{"tuples", test_tuples},
	};
	int status;

	unit_eal();
	bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	policy.ports = calloc(1, sizeof(*policy.ports));
	policy.forwards = forward_table_create(NULL, 0, NULL, 0, 0);
	if (bindings == NULL || policy.ports == NULL || policy.forwards == NULL ||
		policy_index(&policy) != 0)
		return 1;
	policy.virtual_dns_count = 2;
	policy.virtual_dns[0] = rte_cpu_to_be_32(0x0a8b0101);
	policy.virtual_dns[1] = rte_cpu_to_be_32(0x0a8b0102);
	policy.resolver_count = 2;
	policy.resolver[0] = rte_cpu_to_be_32(0xc0a83202);
	policy.resolver[1] = rte_cpu_to_be_32(0x09090909);
	status = UNIT_RUN("steer", tests);
	binding_table_free(bindings);
	forward_table_free(policy.forwards);
	free(policy.ports);
	free(policy.owners);
	return status;
}
