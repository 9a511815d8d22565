/* SPDX-License-Identifier: BSD-3-Clause */
/* The flow table: what is put in is found, nothing else is, and it ends when its time is up. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <netinet/in.h>

#include <rte_ip.h>
#include <rte_random.h>

#include "nat/flow.h"
#include "nat/tcp.h"

static const struct flow_secret secret = {
	{0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89}};
static const struct flow_secret other_secret = {
	{0x452821e638d01377, 0xbe5466cf34e90c6c, 0xc0ac29b7c97c50dd, 0x3f84d5b5b5470917}};

/* Clocks start shortly before they wrap. */
#define START_MS (UINT32_MAX - 5000)
#define MINUTE_MS 60000U

static struct tuple
tuple4(uint32_t source, uint16_t source_port, uint32_t destination, uint16_t destination_port,
	uint8_t protocol)
{
	return (struct tuple){.source = address_v4(rte_cpu_to_be_32(source)),
		.destination = address_v4(rte_cpu_to_be_32(destination)),
		.source_port = rte_cpu_to_be_16(source_port),
		.destination_port = rte_cpu_to_be_16(destination_port),
		.protocol = protocol,
		.family = FAMILY_IPV4};
}

static union address
address6(uint64_t high, uint64_t low)
{
	return (union address){.half = {rte_cpu_to_be_64(high), rte_cpu_to_be_64(low)}};
}

static struct tuple
tuple6(union address source, uint16_t source_port, union address destination,
	uint16_t destination_port)
{
	return (struct tuple){.source = source,
		.destination = destination,
		.source_port = rte_cpu_to_be_16(source_port),
		.destination_port = rte_cpu_to_be_16(destination_port),
		.protocol = IPPROTO_UDP,
		.family = FAMILY_IPV6};
}

static struct tuple
reversed(const struct tuple *tuple)
{
	struct tuple back = *tuple;

	back.source = tuple->destination;
	back.destination = tuple->source;
	back.source_port = tuple->destination_port;
	back.destination_port = tuple->source_port;
	return back;
}

/* The original tuple of the n-th flow of a large set, and the reply behind one external address. */
static struct tuple
nth_original(uint32_t n)
{
	return tuple4(0x0a890000 + n % 1000, (uint16_t)(1024 + n / 1000), 0xc6120000 + n % 7919,
		(uint16_t)(n % 3 == 0 ? 53 : 443), n % 2 == 0 ? IPPROTO_UDP : IPPROTO_TCP);
}

static struct tuple
nth_reply(uint32_t n)
{
	struct tuple original = nth_original(n);
	struct tuple reply = reversed(&original);

	/* Not possible with one address for a million flows, but as good for the table. */
	reply.destination.v4 = rte_cpu_to_be_32(0xcb007100 + n / 60000);
	reply.destination_port = rte_cpu_to_be_16((uint16_t)(1024 + n % 60000));
	return reply;
}

static struct flow *
find(struct flow_table *table, const struct tuple *tuple, enum direction *direction)
{
	*direction = DIRECTION_ORIGINAL;
	return flow_lookup(table, tuple, flow_hash(&secret, tuple), direction);
}

static void
check_found(struct flow_table *table, const struct tuple *tuple, const struct flow *flow,
	enum direction wanted)
{
	enum direction direction;
	struct tuple rebuilt;

	CU_ASSERT_PTR_EQUAL(find(table, tuple, &direction), flow);
	CU_ASSERT_EQUAL(direction, wanted);
	flow_tuple(flow, wanted, &rebuilt);
	CU_ASSERT_EQUAL(memcmp(&rebuilt, tuple, sizeof(rebuilt)), 0);
}

static void
check_absent(struct flow_table *table, const struct tuple *tuple)
{
	enum direction direction;

	CU_ASSERT_PTR_NULL(find(table, tuple, &direction));
}

static void
test_open_and_close(void)
{
	struct flow_table *table = flow_table_create(8, &secret, START_MS, SOCKET_ID_ANY);
	struct tuple original = tuple4(0x0a890010, 40000, 0xc6336401, 443, IPPROTO_UDP);
	struct tuple reply = tuple4(0xc6336401, 443, 0xc0a83201, 40001, IPPROTO_UDP);
	struct tuple changed;
	struct flow *flow;

	check_absent(table, &original);
	flow = flow_open(table, &original, &reply, START_MS + MINUTE_MS);
	CU_ASSERT_PTR_NOT_NULL_FATAL(flow);
	CU_ASSERT_EQUAL(flow_count(table), 1);
	CU_ASSERT_EQUAL(flow->deadline_ms, START_MS + MINUTE_MS);
	CU_ASSERT_EQUAL(flow->state, 0);
	CU_ASSERT_EQUAL(flow->flags, 0);
	CU_ASSERT_EQUAL(flow->generation, 0);
	check_found(table, &original, flow, DIRECTION_ORIGINAL);
	check_found(table, &reply, flow, DIRECTION_REPLY);

	/* Each part of a tuple counts, and so does the order. */
	changed = reversed(&original);
	check_absent(table, &changed);
	changed = reversed(&reply);
	check_absent(table, &changed);
	for (unsigned bit = 0; bit < 8 * sizeof(changed); bit++) {
		size_t byte = bit / 8;

		if (byte >= offsetof(struct tuple, zero))
			break;
		changed = original;
		((uint8_t *)&changed)[byte] ^= (uint8_t)(1U << bit % 8);
		if ((byte < 16 && byte >= 4) || (byte >= 20 && byte < 32))
			continue; /* always zero in an IPv4 tuple */
		check_absent(table, &changed);
	}

	flow_close(table, flow);
	CU_ASSERT_EQUAL(flow_count(table), 0);
	check_absent(table, &original);
	check_absent(table, &reply);
	flow = flow_open(table, &original, &reply, START_MS);
	CU_ASSERT_PTR_NOT_NULL(flow);
	flow_table_free(table);
}

static void
test_comparison_does_not_trust_the_hash(void)
{
	struct flow_table *table = flow_table_create(8, &secret, START_MS, SOCKET_ID_ANY);
	/* The first words of the IPv6 tuple are those of an IPv4 tuple: only the family differs. */
	struct tuple tuples[2] = {tuple4(0x0a890010, 40000, 0xc6336401, 443, IPPROTO_UDP),
		tuple6(address6(0x20010db820010db8, 1), 40000, address6(0x20010db800000002, 2),
			443)};
	enum direction direction;

	for (unsigned i = 0; i < RTE_DIM(tuples); i++) {
		struct tuple reply = reversed(&tuples[i]);
		uint64_t hash = flow_hash(&secret, &tuples[i]);
		struct flow *flow = flow_open(table, &tuples[i], &reply, START_MS);

		CU_ASSERT_PTR_EQUAL(flow_lookup(table, &tuples[i], hash, &direction), flow);
		/* The right hash with another tuple, as if they collided, is no hit. */
		for (unsigned bit = 0; bit < 8 * offsetof(struct tuple, zero); bit++) {
			struct tuple changed = tuples[i];

			((uint8_t *)&changed)[bit / 8] ^= (uint8_t)(1U << bit % 8);
			if (i == 0 && ((bit >= 32 && bit < 128) || (bit >= 160 && bit < 256)))
				continue;
			if (changed.family > FAMILY_IPV6)
				continue;
			CU_ASSERT_PTR_NULL(flow_lookup(table, &changed, hash, &direction));
		}
	}
	flow_table_free(table);
}

static void
test_taken_tuples(void)
{
	struct flow_table *table = flow_table_create(8, &secret, START_MS, SOCKET_ID_ANY);
	struct tuple original = tuple4(0x0a890010, 40000, 0xc6336401, 443, IPPROTO_TCP);
	struct tuple reply = tuple4(0xc6336401, 443, 0xc0a83201, 40000, IPPROTO_TCP);
	struct tuple free_original = tuple4(0x0a890011, 40000, 0xc6336401, 443, IPPROTO_TCP);
	struct tuple free_reply = tuple4(0xc6336401, 443, 0xc0a83201, 40001, IPPROTO_TCP);
	struct tuple udp = original;

	CU_ASSERT_PTR_NOT_NULL(flow_open(table, &original, &reply, START_MS));
	errno = 0;
	CU_ASSERT_PTR_NULL(flow_open(table, &original, &free_reply, START_MS));
	CU_ASSERT_EQUAL(errno, EEXIST);
	errno = 0;
	CU_ASSERT_PTR_NULL(flow_open(table, &free_original, &reply, START_MS));
	CU_ASSERT_EQUAL(errno, EEXIST);
	/* A tuple is taken in either direction. */
	errno = 0;
	CU_ASSERT_PTR_NULL(flow_open(table, &reply, &free_reply, START_MS));
	CU_ASSERT_EQUAL(errno, EEXIST);
	errno = 0;
	CU_ASSERT_PTR_NULL(flow_open(table, &free_original, &free_original, START_MS));
	CU_ASSERT_EQUAL(errno, EEXIST);
	errno = 0;
	udp.protocol = IPPROTO_UDP;
	CU_ASSERT_PTR_NULL(flow_open(table, &udp, &free_reply, START_MS));
	CU_ASSERT_EQUAL(errno, EINVAL);
	/* Nothing was left behind by what failed. */
	CU_ASSERT_EQUAL(flow_count(table), 1);
	check_absent(table, &free_original);
	check_absent(table, &free_reply);
	CU_ASSERT_PTR_NOT_NULL(flow_open(table, &free_original, &free_reply, START_MS));
	flow_table_free(table);
}

static void
test_ipv6_addresses(void)
{
	union address qube = address6(0x20010db800000001, 0x10);
	union address server = address6(0x20010db8ffff0000, 0x443);
	union address external = address6(0x20010db8eeee0000, 1);
	union address fourth = address6(0x20010db8dddd0000, 1);
	const struct {
		union address source, destination; /* of the reply */
		int error;
	} cases[] = {
		{server, qube, 0},       /* plain forwarding */
		{server, external, 0},   /* masquerade */
		{external, qube, 0},     /* destination translation */
		{external, external, 0}, /* hairpin */
		{server, server, 0},
		{qube, external, 0},
		{external, fourth, EINVAL},
		{fourth, external, EINVAL},
	};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct flow_table *table = flow_table_create(8, &secret, START_MS, SOCKET_ID_ANY);
		struct tuple original = tuple6(qube, 40000, server, 443);
		struct tuple reply = tuple6(cases[i].source, 443, cases[i].destination, 50000);
		struct flow *flow;

		errno = 0;
		flow = flow_open(table, &original, &reply, START_MS);
		if (cases[i].error != 0) {
			CU_ASSERT_PTR_NULL(flow);
			CU_ASSERT_EQUAL(errno, cases[i].error);
			CU_ASSERT_EQUAL(flow_count(table), 0);
			reply = tuple6(server, 443, qube, 40000);
			flow = flow_open(table, &original, &reply, START_MS);
		}
		CU_ASSERT_PTR_NOT_NULL_FATAL(flow);
		CU_ASSERT_EQUAL(flow->flags, FLOW_IPV6);
		check_found(table, &original, flow, DIRECTION_ORIGINAL);
		check_found(table, &reply, flow, DIRECTION_REPLY);
		flow_close(table, flow);
		check_absent(table, &original);
		check_absent(table, &reply);
		flow_table_free(table);
	}
}

/* A packet as far as checksums see it: addresses, ports, and something behind them. */
struct summed {
	union address source, destination;
	rte_be16_t source_port, destination_port;
	uint8_t rest[28]; /* no padding */
};

static struct summed
summed_of(const struct tuple *tuple)
{
	return (struct summed){.source = tuple->source,
		.destination = tuple->destination,
		.source_port = tuple->source_port,
		.destination_port = tuple->destination_port};
}

static void
test_checksum_deltas(void)
{
	struct flow_table *table = flow_table_create(8, &secret, START_MS, SOCKET_ID_ANY);

	rte_srand(1);
	for (unsigned round = 0; round < 20000; round++) {
		bool same = round % 16 == 0;
		struct tuple tuples[2];
		struct summed before[2], after[2];
		struct flow *flow;

		for (unsigned i = 0; i < 2; i++) {
			tuples[i] = (struct tuple){.protocol = IPPROTO_UDP,
				.family = round % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6,
				.source_port = (uint16_t)rte_rand(),
				.destination_port = (uint16_t)rte_rand()};
			tuples[i].source = address_v4((uint32_t)rte_rand());
			tuples[i].destination = address_v4((uint32_t)rte_rand());
			if (round % 2 != 0) {
				tuples[i].source = address6(rte_rand(), rte_rand());
				tuples[i].destination = address6(rte_rand(), rte_rand());
			}
		}
		if (same)
			tuples[1] = reversed(&tuples[0]);
		else if (round % 2 != 0)
			tuples[1].source = tuples[0].destination;
		flow = flow_open(table, &tuples[0], &tuples[1], START_MS);
		CU_ASSERT_PTR_NOT_NULL_FATAL(flow);

		for (unsigned direction = 0; direction < 2; direction++) {
			struct tuple opposite = reversed(&tuples[1 - direction]);
			uint16_t old, new, sum;

			before[direction] = summed_of(&tuples[direction]);
			after[direction] = summed_of(&opposite);
			for (unsigned i = 0; i < sizeof(before[0].rest); i++)
				before[direction].rest[i] = after[direction].rest[i] =
					(uint8_t)rte_rand();
			old = (uint16_t)~rte_raw_cksum(&before[direction], sizeof(before[0]));
			new = (uint16_t)~rte_raw_cksum(&after[direction], sizeof(after[0]));
			CU_ASSERT_EQUAL(checksum_adjust(checksum_adjust(old,
								checksum_delta(flow->address_delta,
									direction)),
						checksum_delta(flow->port_delta, direction)),
				new);
			/* Addresses alone, not complemented: a pseudo-header sum. */
			old = rte_raw_cksum(&before[direction], 2 * sizeof(union address));
			new = rte_raw_cksum(&after[direction], 2 * sizeof(union address));
			sum = checksum_sum_add(old, checksum_delta(flow->address_delta, direction));
			CU_ASSERT_EQUAL(sum, new);
			if (same) {
				CU_ASSERT_EQUAL(checksum_delta(flow->address_delta, direction), 0);
				CU_ASSERT_EQUAL(checksum_delta(flow->port_delta, direction), 0);
			}
			CU_ASSERT_NOT_EQUAL(
				checksum_delta(flow->address_delta, direction), UINT16_MAX);
			CU_ASSERT_NOT_EQUAL(
				checksum_delta(flow->port_delta, direction), UINT16_MAX);
		}
		flow_close(table, flow);
	}
	flow_table_free(table);
}

/* Random work on a crowded table of few tuples, against an array that is searched. */
static void
test_against_a_model(void)
{
	enum { CAPACITY = 300, TUPLES = 1000, ROUNDS = 300000 };
	static struct flow *model[TUPLES];
	struct flow_table *table = flow_table_create(CAPACITY, &secret, START_MS, SOCKET_ID_ANY);
	unsigned open = 0;
	unsigned wrong = 0;

	memset(model, 0, sizeof(model));
	rte_srand(2);
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint32_t n = (uint32_t)rte_rand_max(TUPLES);
		struct tuple original = nth_original(n);
		struct tuple reply = nth_reply(n);
		enum direction direction;

		if (rte_rand_max(8) < 3 && model[n] != NULL) {
			flow_close(table, model[n]);
			model[n] = NULL;
			open--;
		} else if (rte_rand_max(2) == 0) {
			struct flow *flow = flow_open(table, &original, &reply, START_MS);
			int wanted = model[n] != NULL ? EEXIST : open == CAPACITY ? ENOSPC : 0;

			if (flow == NULL) {
				wrong += errno != wanted;
			} else {
				wrong += wanted != 0;
				model[n] = flow;
				open++;
			}
		}
		wrong += find(table, &original, &direction) != model[n];
		wrong += direction != DIRECTION_ORIGINAL;
		wrong += find(table, &reply, &direction) != model[n];
		wrong += model[n] != NULL && direction != DIRECTION_REPLY;
		wrong += flow_count(table) != open;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	flow_table_free(table);
}

static struct rte_mempool *pool;

/* Look @p count tuples up as one burst. */
static void
lookup_burst(struct flow_table *table, const struct tuple *tuples, unsigned count,
	struct rte_mbuf **burst)
{
	for (unsigned i = 0; i < count; i++) {
		struct packet *packet = packet_of(burst[i]);

		packet->tuple = tuples[i];
		packet->flow = (struct flow *)packet; /* must be overwritten */
		packet->hash = 0;
		packet->direction = 7;
	}
	flow_lookup_burst(table, burst, count);
}

/*
 * Fill a table to the last flow, look everything up in bursts (a million flows have hundreds of
 * pairs with the same bucket and signature, and many in their second bucket), close a part, fill
 * again.
 */
static void
fill(uint32_t capacity)
{
	struct flow_table *table = flow_table_create(capacity, &secret, START_MS, SOCKET_ID_ANY);
	struct flow **flows = calloc(capacity, sizeof(*flows));
	struct rte_mbuf *burst[BURST_MAX];
	struct tuple tuples[BURST_MAX];
	unsigned wrong = 0;
	struct tuple original, reply;

	CU_ASSERT_PTR_NOT_NULL_FATAL(table);
	CU_ASSERT_PTR_NOT_NULL_FATAL(flows);
	CU_ASSERT_EQUAL_FATAL(rte_pktmbuf_alloc_bulk(pool, burst, BURST_MAX), 0);
	CU_ASSERT_EQUAL(flow_capacity(table), capacity);
	for (unsigned pass = 0; pass < 3; pass++) {
		for (uint32_t n = 0; n < capacity; n++) {
			if (flows[n] != NULL)
				continue;
			original = nth_original(n);
			reply = nth_reply(n);
			flows[n] = flow_open(table, &original, &reply, START_MS);
			wrong += flows[n] == NULL;
		}
		CU_ASSERT_EQUAL_FATAL(wrong, 0);
		CU_ASSERT_EQUAL(flow_count(table), capacity);
		original = nth_original(capacity);
		reply = nth_reply(capacity);
		errno = 0;
		CU_ASSERT_PTR_NULL(flow_open(table, &original, &reply, START_MS));
		CU_ASSERT_EQUAL(errno, ENOSPC);

		for (uint32_t n = 0; n < capacity; n += BURST_MAX / 2) {
			unsigned count = RTE_MIN(BURST_MAX / 2, capacity - n);

			for (unsigned i = 0; i < count; i++) {
				tuples[2 * i] = nth_original(n + i);
				tuples[2 * i + 1] = nth_reply(n + i);
			}
			lookup_burst(table, tuples, 2 * count, burst);
			for (unsigned i = 0; i < 2 * count; i++) {
				const struct packet *packet = packet_of(burst[i]);

				wrong += packet->flow != flows[n + i / 2];
				wrong += packet->direction != i % 2;
				wrong += packet->hash != flow_hash(&secret, &tuples[i]);
			}
			/* What is not there is not found: the same with another protocol. */
			for (unsigned i = 0; i < 2 * count; i++)
				tuples[i].protocol = IPPROTO_ICMP;
			lookup_burst(table, tuples, 2 * count, burst);
			for (unsigned i = 0; i < 2 * count; i++)
				wrong += packet_of(burst[i])->flow != NULL;
		}
		CU_ASSERT_EQUAL(wrong, 0);
		for (uint32_t n = pass; n < capacity; n += 3) {
			flow_close(table, flows[n]);
			flows[n] = NULL;
		}
		CU_ASSERT_EQUAL(flow_count(table), capacity - (capacity + 2 - pass) / 3);
	}
	if (capacity >= 1024) {
		size_t each = flow_table_memory(table) / capacity;

		CU_ASSERT(each >= 128 + 2 * 6 && each <= 176);
	}
	rte_pktmbuf_free_bulk(burst, BURST_MAX);
	free(flows);
	flow_table_free(table);
}

static void
test_fill_small(void)
{
	for (uint32_t capacity = 1; capacity < 200; capacity += 13)
		fill(capacity);
	fill(1024);
	fill(65536);
}

static void
test_fill_a_million(void)
{
	fill(1000000);
}

static void
test_burst_of_both_families(void)
{
	enum { FLOWS = 64 };
	struct flow_table *table = flow_table_create(FLOWS, &secret, START_MS, SOCKET_ID_ANY);
	struct rte_mbuf *burst[BURST_MAX];
	struct tuple tuples[FLOWS];
	struct flow *flows[FLOWS];
	unsigned wrong = 0;

	CU_ASSERT_EQUAL_FATAL(rte_pktmbuf_alloc_bulk(pool, burst, BURST_MAX), 0);
	for (unsigned i = 0; i < FLOWS; i++) {
		struct tuple reply;

		tuples[i] = i % 2 == 0 ? nth_original(i)
				       : tuple6(address6(0xfd00, i), (uint16_t)i,
						 address6(0xfd01, 1), 53);
		reply = reversed(&tuples[i]);
		/* Every third is unknown. */
		flows[i] = i % 3 == 0 ? NULL : flow_open(table, &tuples[i], &reply, START_MS);
		if (i % 5 == 0)
			tuples[i] = reply;
	}
	/* All sizes, and the packets behind the burst are left alone. */
	for (unsigned count = 0; count <= BURST_MAX; count++) {
		lookup_burst(table, tuples, count, burst);
		for (unsigned i = 0; i < count; i++) {
			const struct packet *packet = packet_of(burst[i]);

			wrong += packet->flow != flows[i];
			wrong += flows[i] != NULL && packet->direction != (i % 5 == 0);
		}
	}
	CU_ASSERT_EQUAL(wrong, 0);
	lookup_burst(table, tuples, BURST_MAX, burst);
	packet_of(burst[10])->direction = 7;
	flow_lookup_burst(table, burst, 10);
	CU_ASSERT_EQUAL(packet_of(burst[10])->direction, 7);
	rte_pktmbuf_free_bulk(burst, BURST_MAX);
	flow_table_free(table);
}

static int
compare_hashes(const void *a, const void *b)
{
	const uint64_t *left = a;
	const uint64_t *right = b;

	return (*left > *right) - (*left < *right);
}

static void
test_hash_distribution(void)
{
	enum { TUPLES = 1 << 18, CELLS = 1 << 10 };
	static uint32_t low[CELLS], high[CELLS], folded[CELLS];
	static uint64_t hashes[TUPLES];

	/* Neighbouring addresses and ports, as an attacker or a port scan would send them. */
	for (unsigned family = 0; family < FAMILIES; family++) {
		const double expected = (double)TUPLES / CELLS;
		double chi_low = 0, chi_high = 0, chi_folded = 0;
		unsigned equal = 0;

		memset(low, 0, sizeof(low));
		memset(high, 0, sizeof(high));
		memset(folded, 0, sizeof(folded));
		for (uint32_t n = 0; n < TUPLES; n++) {
			struct tuple tuple = tuple4(0x0a890000 + n % 256, (uint16_t)(n / 256),
				0xc0000201, 80, IPPROTO_UDP);
			uint64_t hash;

			if (family == FAMILY_IPV6)
				tuple = tuple6(address6(0xfd00, n % 256), (uint16_t)(n / 256),
					address6(0xfd01, n % 64), 80);
			hash = flow_hash(&secret, &tuple);
			hashes[n] = hash;
			low[(uint32_t)hash >> 22]++;
			high[hash >> 54]++;
			folded[(hash ^ hash >> 32) % CELLS]++;
		}
		for (unsigned i = 0; i < CELLS; i++) {
			chi_low += (low[i] - expected) * (low[i] - expected) / expected;
			chi_high += (high[i] - expected) * (high[i] - expected) / expected;
			chi_folded += (folded[i] - expected) * (folded[i] - expected) / expected;
		}
		/* 1,023 degrees of freedom: standard deviation 45; six of them. */
		CU_ASSERT(chi_low > 1023 - 6 * 45 && chi_low < 1023 + 6 * 45);
		CU_ASSERT(chi_high > 1023 - 6 * 45 && chi_high < 1023 + 6 * 45);
		CU_ASSERT(chi_folded > 1023 - 6 * 45 && chi_folded < 1023 + 6 * 45);
		qsort(hashes, TUPLES, sizeof(hashes[0]), compare_hashes);
		for (unsigned i = 1; i < TUPLES; i++)
			equal += hashes[i] == hashes[i - 1];
		CU_ASSERT_EQUAL(equal, 0);
	}
}

static void
test_hash_avalanche(void)
{
	enum { ROUNDS = 2000 };

	rte_srand(3);
	for (unsigned family = 0; family < FAMILIES; family++) {
		for (unsigned bit = 0; bit < 8 * offsetof(struct tuple, family); bit++) {
			unsigned flips[64] = {0};
			unsigned worst = ROUNDS / 2;

			if (family == FAMILY_IPV4 &&
				((bit >= 32 && bit < 128) || (bit >= 160 && bit < 256)))
				continue;
			for (unsigned round = 0; round < ROUNDS; round++) {
				struct tuple tuple = tuple6(address6(rte_rand(), rte_rand()),
					(uint16_t)rte_rand(), address6(rte_rand(), rte_rand()),
					(uint16_t)rte_rand());
				uint64_t before, changed;

				if (family == FAMILY_IPV4)
					tuple = tuple4((uint32_t)rte_rand(), (uint16_t)rte_rand(),
						(uint32_t)rte_rand(), (uint16_t)rte_rand(),
						IPPROTO_UDP);
				before = flow_hash(&secret, &tuple);
				((uint8_t *)&tuple)[bit / 8] ^= (uint8_t)(1U << bit % 8);
				changed = before ^ flow_hash(&secret, &tuple);
				for (unsigned out = 0; out < 64; out++)
					flips[out] += (unsigned)(changed >> out & 1);
			}
			for (unsigned out = 0; out < 64; out++) {
				unsigned off = flips[out] > ROUNDS / 2 ? flips[out] - ROUNDS / 2
								       : ROUNDS / 2 - flips[out];
				worst = RTE_MIN(worst, ROUNDS / 2 - off);
			}
			/* Standard deviation 22; 12,000 cells; a tenth of the way is a flaw. */
			CU_ASSERT(worst > ROUNDS / 2 - ROUNDS / 10);
		}
	}
}

/* Tuples made to collide under one secret are spread as any others under another. */
static void
test_hash_secret(void)
{
	enum { TUPLES = 1 << 20, CELLS = 1 << 12 };
	static uint32_t cells[CELLS];
	uint32_t colliding = 0;
	uint32_t fullest = 0;

	memset(cells, 0, sizeof(cells));
	for (uint32_t n = 0; n < TUPLES; n++) {
		struct tuple tuple =
			tuple4(0x0a890010, (uint16_t)n, 0xc0000200 + n / 65536, 80, IPPROTO_UDP);

		if ((uint32_t)flow_hash(&secret, &tuple) >> 20 != 0)
			continue;
		colliding++;
		cells[(uint32_t)flow_hash(&other_secret, &tuple) >> 20]++;
	}
	for (unsigned i = 0; i < CELLS; i++)
		fullest = RTE_MAX(fullest, cells[i]);
	CU_ASSERT(colliding > 150 && colliding < 400);
	CU_ASSERT(fullest <= 5);
	/* Each word of the secret matters. */
	for (unsigned word = 0; word < 4; word++) {
		struct flow_secret changed = secret;
		struct tuple tuple = tuple6(address6(1, 2), 3, address6(4, 5), 6);

		changed.word[word] ^= 1;
		CU_ASSERT_NOT_EQUAL(flow_hash(&secret, &tuple), flow_hash(&changed, &tuple));
	}
}

/* What an expiry test knows of a flow. */
struct life {
	uint32_t deadline_ms;
	uint32_t ended_ms;
	bool open, ended;
};

struct lives {
	struct flow_table *table;
	struct life *life; /* by flow index */
	uint32_t now_ms;
	unsigned ended;
	unsigned wrong;
};

static void
life_ends(void *context, struct flow *flow)
{
	struct lives *lives = context;
	struct life *life = &lives->life[flow_index(lives->table, flow)];
	struct tuple tuple;
	enum direction direction;

	/* Still whole and in the table. */
	flow_tuple(flow, DIRECTION_REPLY, &tuple);
	lives->wrong += find(lives->table, &tuple, &direction) != flow;
	lives->wrong += !life->open || life->ended || flow->deadline_ms != life->deadline_ms;
	life->ended = true;
	life->open = false;
	life->ended_ms = lives->now_ms;
	lives->ended++;
}

static struct flow *
life_begins(struct lives *lives, uint32_t n, uint32_t deadline_ms)
{
	struct tuple original = nth_original(n);
	struct tuple reply = nth_reply(n);
	struct flow *flow = flow_open(lives->table, &original, &reply, deadline_ms);

	CU_ASSERT_PTR_NOT_NULL_FATAL(flow);
	lives->life[flow_index(lives->table, flow)] =
		(struct life){.deadline_ms = deadline_ms, .open = true};
	return flow;
}

static struct lives
lives_create(uint32_t count, uint32_t now_ms)
{
	struct lives lives = {.table = flow_table_create(count, &secret, now_ms, SOCKET_ID_ANY),
		.life = calloc(count + 1, sizeof(struct life)),
		.now_ms = now_ms};

	CU_ASSERT_PTR_NOT_NULL_FATAL(lives.table);
	CU_ASSERT_PTR_NOT_NULL_FATAL(lives.life);
	return lives;
}

static void
lives_free(struct lives *lives)
{
	CU_ASSERT_EQUAL(lives->wrong, 0);
	flow_table_free(lives->table);
	free(lives->life);
}

/* Every flow ends in its time: not before its deadline, and soon after, over the clock's wrap. */
static void
test_expiry_is_exact(void)
{
	enum { FLOWS = 5000, STEP_MS = 100, LONGEST_S = 7440 };
	/* The clock wraps at start, and in the middle of the longest timeouts. */
	const uint32_t starts[] = {0, START_MS, UINT32_MAX - 4000 * 1000U, 0x7fffffff - 3000000};

	for (unsigned run = 0; run < RTE_DIM(starts); run++) {
		struct lives lives = lives_create(FLOWS, starts[run]);
		struct flow *flows[FLOWS];
		unsigned early = 0, late = 0;

		rte_srand(4);
		for (uint32_t n = 0; n < FLOWS; n++) {
			uint32_t timeout_ms =
				n % 4 == 0 ? LONGEST_S * 1000U : 1 + (uint32_t)rte_rand_max(900000);

			flows[n] = life_begins(&lives, n, starts[run] + timeout_ms);
		}
		for (uint32_t passed = 0; passed < (2 * LONGEST_S + 10) * 1000; passed += STEP_MS) {
			struct flow *flow = flows[rte_rand_max(FLOWS)];
			struct life *life = &lives.life[flow_index(lives.table, flow)];

			lives.now_ms = starts[run] + passed;
			/* Packets arrive: mostly deadlines move away, sometimes nearer. */
			if (life->open && passed < LONGEST_S * 1000) {
				uint32_t timeout_ms =
					1 + (uint32_t)rte_rand_max(
						    rte_rand_max(2) == 0 ? 10000 : 7440000);
				uint32_t before = flow->deadline_ms;

				flow->deadline_ms = life->deadline_ms = lives.now_ms + timeout_ms;
				if (time_after_ms(before, flow->deadline_ms))
					flow_sooner(lives.table, flow);
			}
			flow_expire(lives.table, lives.now_ms, UINT32_MAX, life_ends, &lives);
		}
		CU_ASSERT_EQUAL(lives.ended, FLOWS);
		CU_ASSERT_EQUAL(flow_count(lives.table), 0);
		for (uint32_t n = 0; n < FLOWS; n++) {
			const struct life *life = &lives.life[flow_index(lives.table, flows[n])];

			early += time_after_ms(life->deadline_ms, life->ended_ms);
			late += time_after_ms(life->ended_ms, life->deadline_ms + 1024 + STEP_MS);
		}
		CU_ASSERT_EQUAL(early, 0);
		CU_ASSERT_EQUAL(late, 0);
		lives_free(&lives);
	}
}

/* Who sleeps as long as nothing is due is in time for every flow, and is not woken for nothing. */
static void
test_due(void)
{
	enum { FLOWS = 100, MOST_MS = 10000 };
	const uint32_t starts[] = {0, START_MS, UINT32_MAX - 400 * 1000U};

	for (unsigned run = 0; run < RTE_DIM(starts); run++) {
		struct lives lives = lives_create(FLOWS, starts[run]);
		unsigned early = 0, late = 0, waits = 0, vain = 0;

		CU_ASSERT_EQUAL(flow_due_ms(lives.table, starts[run], MOST_MS), MOST_MS);
		rte_srand(5);
		for (uint32_t n = 0; n < FLOWS; n++)
			(void)life_begins(
				&lives, n, starts[run] + 1 + (uint32_t)rte_rand_max(900000));
		while (lives.ended < FLOWS && waits < 10000) {
			uint32_t due_ms = flow_due_ms(lives.table, lives.now_ms, MOST_MS);

			CU_ASSERT(due_ms > 0 && due_ms <= MOST_MS);
			waits++;
			lives.now_ms += due_ms;
			vain += flow_expire(lives.table, lives.now_ms, UINT32_MAX, life_ends,
					&lives) == 0 &&
				due_ms < MOST_MS;
		}
		CU_ASSERT_EQUAL(lives.ended, FLOWS);
		CU_ASSERT_EQUAL(vain, 0);
		for (uint32_t n = 1; n <= FLOWS; n++) {
			early += time_after_ms(lives.life[n].deadline_ms, lives.life[n].ended_ms);
			late += time_after_ms(
				lives.life[n].ended_ms, lives.life[n].deadline_ms + 1024);
		}
		CU_ASSERT_EQUAL(early, 0);
		CU_ASSERT_EQUAL(late, 0);
		/* a budget that did not suffice leaves something to do at once */
		(void)life_begins(&lives, 0, lives.now_ms);
		(void)life_begins(&lives, 1, lives.now_ms);
		lives.now_ms += 1024;
		CU_ASSERT_EQUAL(flow_expire(lives.table, lives.now_ms, 1, life_ends, &lives), 1);
		CU_ASSERT_EQUAL(flow_due_ms(lives.table, lives.now_ms, MOST_MS), 0);
		CU_ASSERT_EQUAL(flow_expire(lives.table, lives.now_ms, 1, life_ends, &lives), 1);
		lives_free(&lives);
	}
}

/* Without flow_sooner a flow is late, but ends; the deadline alone decides. */
static void
test_sooner_is_needed(void)
{
	struct lives lives = lives_create(2, START_MS);
	struct flow *told = life_begins(&lives, 0, START_MS + 10 * MINUTE_MS);
	struct flow *untold = life_begins(&lives, 1, START_MS + 10 * MINUTE_MS);

	told->deadline_ms = untold->deadline_ms = START_MS + 10000;
	lives.life[flow_index(lives.table, told)].deadline_ms = told->deadline_ms;
	lives.life[flow_index(lives.table, untold)].deadline_ms = told->deadline_ms;
	flow_sooner(lives.table, told);
	CU_ASSERT_EQUAL(flow_expire(lives.table, START_MS + 9999, 100, life_ends, &lives), 0);
	CU_ASSERT_EQUAL(flow_expire(lives.table, START_MS + 11100, 100, life_ends, &lives), 1);
	CU_ASSERT(lives.life[flow_index(lives.table, told)].ended);
	CU_ASSERT_EQUAL(
		flow_expire(lives.table, START_MS + 10 * MINUTE_MS + 1100, 100, life_ends, &lives),
		1);
	lives_free(&lives);
}

/* All flows in one slot: no call looks at more than its budget, and none is lost or seen twice. */
static void
test_budget(void)
{
	enum { FLOWS = 10000, BUDGET = 37 };
	struct lives lives = lives_create(FLOWS + 100, START_MS);
	uint32_t deadline_ms = START_MS + 30000;
	unsigned calls = 0;
	unsigned opened = 0;

	for (uint32_t n = 0; n < FLOWS; n++)
		life_begins(&lives, n, deadline_ms);
	lives.now_ms = deadline_ms;
	while (flow_expire(lives.table, lives.now_ms, BUDGET, life_ends, &lives) == 0)
		lives.now_ms++;
	calls++;
	CU_ASSERT_EQUAL(lives.ended, BUDGET);
	while (flow_count(lives.table) > opened && calls < FLOWS) {
		unsigned ended = flow_expire(lives.table, lives.now_ms, BUDGET, life_ends, &lives);

		calls++;
		CU_ASSERT(ended <= BUDGET);
		/* Meanwhile others open, some of which are to end at once. */
		if (opened < 100 && calls % 2 == 0)
			life_begins(&lives, FLOWS + opened++, lives.now_ms + 60000);
		if (calls % 50 == 0)
			lives.now_ms += 1500;
	}
	CU_ASSERT_EQUAL(lives.ended, FLOWS);
	CU_ASSERT_EQUAL(calls, (FLOWS + BUDGET - 1) / BUDGET);
	CU_ASSERT_EQUAL(flow_expire(lives.table, lives.now_ms, 0, life_ends, &lives), 0);
	/* Refiling counts as well as closing. */
	lives_free(&lives);

	lives = lives_create(FLOWS, START_MS);
	for (uint32_t n = 0; n < FLOWS; n++)
		life_begins(&lives, n, START_MS + 5000)->deadline_ms = START_MS + 3600000;
	for (unsigned i = 0; i < 1 + FLOWS; i++)
		lives.life[i].deadline_ms = START_MS + 3600000;
	lives.now_ms = START_MS + 10000;
	for (unsigned call = 0; call < 10; call++)
		CU_ASSERT_EQUAL(
			flow_expire(lives.table, lives.now_ms, BUDGET, life_ends, &lives), 0);
	CU_ASSERT_EQUAL(flow_count(lives.table), FLOWS);
	lives.now_ms = START_MS + 3600000 + 1100;
	for (calls = 0; flow_count(lives.table) != 0 && calls < 3 * FLOWS; calls++)
		CU_ASSERT(flow_expire(lives.table, lives.now_ms, BUDGET, life_ends, &lives) <=
			  BUDGET);
	CU_ASSERT_EQUAL(lives.ended, FLOWS);
	CU_ASSERT_EQUAL(calls, (FLOWS + BUDGET - 1) / BUDGET);
	lives_free(&lives);
}

/* Hours pass in one step, as in a replay: bounded work, the dead end, the living stay. */
static void
test_long_jump(void)
{
	enum { FLOWS = 3000, BUDGET = 100, JUMP_MS = 5 * 3600 * 1000 };
	struct lives lives = lives_create(FLOWS, START_MS);
	unsigned calls = 0;

	for (uint32_t n = 0; n < FLOWS; n++)
		life_begins(
			&lives, n, n % 3 == 0 ? START_MS + 6 * 3600 * 1000U : START_MS + n * 1000);
	lives.now_ms = START_MS + JUMP_MS;
	/* Nothing is looked at more than twice. */
	for (; lives.ended < FLOWS * 2 / 3 && calls < 2 * FLOWS / BUDGET; calls++)
		flow_expire(lives.table, lives.now_ms, BUDGET, life_ends, &lives);
	CU_ASSERT_EQUAL(lives.ended, FLOWS * 2 / 3);
	for (unsigned i = 0; i < 100; i++)
		CU_ASSERT_EQUAL(
			flow_expire(lives.table, lives.now_ms, BUDGET, life_ends, &lives), 0);
	lives.now_ms = START_MS + 6 * 3600 * 1000U - 1;
	for (unsigned i = 0; i < 100; i++)
		flow_expire(lives.table, lives.now_ms, BUDGET, life_ends, &lives);
	CU_ASSERT_EQUAL(lives.ended, FLOWS * 2 / 3);
	lives.now_ms += 1025;
	for (unsigned i = 0; i < 10; i++)
		flow_expire(lives.table, lives.now_ms, BUDGET, life_ends, &lives);
	CU_ASSERT_EQUAL(lives.ended, FLOWS);
	lives_free(&lives);
}

/* The hand follows a clock that stands still, and closes what was due before it was opened. */
static void
test_due_at_once(void)
{
	struct lives lives = lives_create(4, START_MS);

	life_begins(&lives, 0, START_MS - 60000);
	CU_ASSERT_EQUAL(flow_expire(lives.table, START_MS, 10, life_ends, &lives), 1);
	life_begins(&lives, 1, START_MS - 1);
	CU_ASSERT_EQUAL(flow_expire(lives.table, START_MS, 10, life_ends, &lives) +
				flow_expire(lives.table, START_MS + 1024, 10, life_ends, &lives),
		1);
	/* A clock that steps back a little ends nothing early. */
	life_begins(&lives, 2, START_MS + 2000);
	CU_ASSERT_EQUAL(flow_expire(lives.table, START_MS + 1999, 10, life_ends, &lives), 0);
	CU_ASSERT_EQUAL(flow_expire(lives.table, START_MS + 900, 10, life_ends, &lives), 0);
	CU_ASSERT_EQUAL(flow_expire(lives.table, START_MS + 3024, 10, NULL, NULL), 1);
	CU_ASSERT_EQUAL(flow_count(lives.table), 0);
	lives_free(&lives);
}

/* A table made before its clock is known, and a clock that begins anew, only shift deadlines. */
static void
test_foreign_clock(void)
{
	static const uint32_t clocks[] = {
		0x90000000, 0x12345678, 0x11111111, 0xfffffff0, 5, 0x80000000};
	struct lives lives = lives_create(RTE_DIM(clocks), 0);

	for (unsigned i = 0; i < RTE_DIM(clocks); i++) {
		lives.now_ms = clocks[i];
		life_begins(&lives, i, clocks[i] + 30000);
		flow_expire(lives.table, clocks[i], 100, life_ends, &lives);
		flow_expire(lives.table, clocks[i] + 29999, 100, life_ends, &lives);
		CU_ASSERT_EQUAL(lives.ended, i);
		flow_expire(lives.table, clocks[i] + 30000 + 1024, 100, life_ends, &lives);
		CU_ASSERT_EQUAL(lives.ended, i + 1);
		lives.life[1].ended = false;
	}
	lives_free(&lives);
}

/* flow_close takes a flow out of the wheel wherever it hangs, and tells nobody. */
static void
test_close_unlinks(void)
{
	enum { FLOWS = 2000 };
	struct lives lives = lives_create(FLOWS, START_MS);
	struct flow *flows[FLOWS];
	unsigned closed = 0;

	rte_srand(5);
	for (uint32_t n = 0; n < FLOWS; n++)
		flows[n] = life_begins(&lives, n, START_MS + 1000 * (uint32_t)rte_rand_max(20));
	for (uint32_t n = 0; n < FLOWS; n++) {
		if (rte_rand_max(2) == 0)
			continue;
		lives.life[flow_index(lives.table, flows[n])].open = false;
		flow_close(lives.table, flows[n]);
		closed++;
	}
	CU_ASSERT_EQUAL(lives.ended, 0);
	lives.now_ms = START_MS + 30000;
	flow_expire(lives.table, lives.now_ms, UINT32_MAX, life_ends, &lives);
	CU_ASSERT_EQUAL(lives.ended, FLOWS - closed);
	CU_ASSERT_EQUAL(flow_count(lives.table), 0);
	lives_free(&lives);
}

/* Who makes room: one's own that was never answered, else one that is closing; nobody else's. */
static void
test_evictable(void)
{
	struct flow_table *table = flow_table_create(64, &secret, START_MS, SOCKET_ID_ANY);
	struct flow *flow[6];

	CU_ASSERT_PTR_NULL(flow_find_evictable(table, 0, false, false, 128));
	for (uint32_t i = 0; i < RTE_DIM(flow); i++) {
		struct tuple original = nth_original(2 * i + 1), reply = nth_reply(2 * i + 1);

		flow[i] = flow_open(table, &original, &reply, START_MS + MINUTE_MS);
		CU_ASSERT_PTR_NOT_NULL_FATAL(flow[i]);
		CU_ASSERT_EQUAL(flow[i]->protocol, IPPROTO_TCP);
		flow[i]->qube = 3;
		flow[i]->state = TCP_STATE_ESTABLISHED;
		flow[i]->flags |= FLOW_REPLIED;
	}
	CU_ASSERT_PTR_NULL(flow_find_evictable(table, 3, false, false, 128));
	flow[4]->state = TCP_STATE_TIME_WAIT;
	CU_ASSERT_PTR_EQUAL(flow_find_evictable(table, 3, false, false, 128), flow[4]);
	flow[1]->flags &= (uint8_t)~FLOW_REPLIED;
	CU_ASSERT_PTR_EQUAL(flow_find_evictable(table, 3, false, false, 128), flow[1]);
	CU_ASSERT_PTR_EQUAL(flow_find_evictable(table, 3, false, false, 128), flow[1]);
	CU_ASSERT_PTR_NULL(flow_find_evictable(table, 3, true, false, 128));
	CU_ASSERT_PTR_NULL(flow_find_evictable(table, 2, false, false, 128));
	CU_ASSERT_PTR_NULL(flow_find_evictable(table, 3, false, true, 128));
	flow[2]->flags |= FLOW_HALF_OPEN | FLOW_INBOUND;
	CU_ASSERT_PTR_EQUAL(flow_find_evictable(table, 3, true, true, 128), flow[2]);
	flow[1]->flags |= FLOW_PERMISSION;
	CU_ASSERT_PTR_EQUAL(flow_find_evictable(table, 3, false, false, 128), flow[4]);
	/* a search goes on where the last one ended */
	flow[0]->flags &= (uint8_t)~FLOW_REPLIED;
	flow[5]->flags &= (uint8_t)~FLOW_REPLIED;
	CU_ASSERT_PTR_NOT_EQUAL(flow_find_evictable(table, 3, false, false, 128),
		flow_find_evictable(table, 3, false, false, 128));
	flow_table_free(table);
}

/* A place that is free is nobody's, also after an attempt to use it. */
static void
test_evictable_free(void)
{
	struct flow_table *table = flow_table_create(64, &secret, START_MS, SOCKET_ID_ANY);
	struct tuple original = nth_original(1), reply = nth_reply(1);
	struct tuple more[2] = {nth_original(3), nth_reply(3)};
	struct tuple six = tuple6(address6(1, 2), 5, address6(1, 3), 6);
	struct flow *flow = flow_open(table, &original, &reply, START_MS + MINUTE_MS);

	CU_ASSERT_PTR_NOT_NULL_FATAL(flow);
	flow->qube = 7;
	/* the next place is used once, so that searches come there */
	flow = flow_open(table, &more[0], &more[1], START_MS + MINUTE_MS);
	CU_ASSERT_PTR_NOT_NULL_FATAL(flow);
	flow_close(table, flow);
	CU_ASSERT_PTR_NULL(flow_open(table, &original, &more[1], START_MS + MINUTE_MS));
	CU_ASSERT_EQUAL(errno, EEXIST);
	CU_ASSERT_PTR_NULL(flow_find_evictable(table, 0, false, false, 128));
	CU_ASSERT_PTR_NULL(flow_open(table, &more[0], &six, START_MS + MINUTE_MS));
	CU_ASSERT_EQUAL(errno, EINVAL);
	CU_ASSERT_PTR_NULL(flow_find_evictable(table, 0, false, false, 128));
	CU_ASSERT_PTR_NOT_NULL(flow_find_evictable(table, 7, false, false, 128));
	flow_table_free(table);
}

struct walked {
	struct flow_table *table;
	unsigned seen[200], calls, visits;
	unsigned stop_after; /* visits in one call */
	bool close;
};

static bool
walk_visit(void *context, struct flow *flow)
{
	struct walked *walked = context;

	walked->seen[rte_be_to_cpu_16(flow->port[0][0])]++;
	walked->visits++;
	if (walked->close)
		flow_close(walked->table, flow);
	return walked->visits % walked->stop_after != 0;
}

static struct flow *
walk_open(struct flow_table *table, uint16_t number)
{
	struct tuple original = tuple4(0x0a890010, number, 0xc0000207, 443, IPPROTO_TCP);
	struct tuple reply = reversed(&original);
	struct flow *flow = flow_open(table, &original, &reply, START_MS + MINUTE_MS);

	CU_ASSERT_PTR_NOT_NULL_FATAL(flow);
	flow->qube = 3;
	return flow;
}

/* Every flow once, in calls that look at few places each, also while others come and go. */
static void
test_walk_some(void)
{
	static const unsigned places[] = {1, 7, 64, 1000};

	for (unsigned i = 0; i < 4 * RTE_DIM(places); i++) {
		struct walked walked = {.stop_after = i % 2 != 0 ? 3 : 1000, .close = i / 8 != 0};
		struct flow *flows[100];
		uint32_t cursor = 0;
		bool more = true;

		walked.table = flow_table_create(1024, &secret, START_MS, SOCKET_ID_ANY);
		for (uint16_t j = 0; j < 100; j++)
			flows[j] = walk_open(walked.table, j);
		for (unsigned j = 10; j < 20; j++)
			flow_close(walked.table, flows[j]);
		while (more) {
			unsigned before = walked.visits;

			more = flow_walk_some(walked.table, &cursor, places[i % RTE_DIM(places)],
				walk_visit, &walked);
			CU_ASSERT(walked.visits - before <= places[i % RTE_DIM(places)]);
			CU_ASSERT(walked.visits - before <= walked.stop_after);
			if (walked.calls++ == 0)
				walk_open(walked.table, 150);
		}
		for (unsigned j = 0; j < 100; j++)
			CU_ASSERT_EQUAL(walked.seen[j], j < 10 || j >= 20);
		CU_ASSERT(walked.seen[150] <= 1);
		CU_ASSERT_EQUAL(flow_count(walked.table), walked.close ? 1 - walked.seen[150] : 91);
		/* behind the end there is nothing, and an empty table has none */
		CU_ASSERT_FALSE(flow_walk_some(walked.table, &cursor, 5, walk_visit, &walked) &&
				walked.close);
		flow_table_free(walked.table);
	}
}

static bool
walk_never(void *context, struct flow *flow)
{
	(void)context;
	(void)flow;
	CU_FAIL("a flow in an empty table");
	return true;
}

static void
test_walk_empty(void)
{
	struct flow_table *table = flow_table_create(1024, &secret, START_MS, SOCKET_ID_ANY);
	uint32_t cursor = 0;

	CU_ASSERT_FALSE(flow_walk_some(table, &cursor, 100, walk_never, NULL));
	flow_close(table, walk_open(table, 1));
	cursor = 0;
	CU_ASSERT_FALSE(flow_walk_some(table, &cursor, 100, walk_never, NULL));
	flow_table_free(table);
}

static void
test_create_refuses(void)
{
	errno = 0;
	CU_ASSERT_PTR_NULL(flow_table_create(0, &secret, 0, SOCKET_ID_ANY));
	CU_ASSERT_EQUAL(errno, EINVAL);
	errno = 0;
	CU_ASSERT_PTR_NULL(flow_table_create(1U << 29, &secret, 0, SOCKET_ID_ANY));
	CU_ASSERT_EQUAL(errno, ENOMEM);
	flow_table_free(NULL);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"open and close", test_open_and_close},
		{"comparison does not trust the hash", test_comparison_does_not_trust_the_hash},
		{"taken tuples", test_taken_tuples},
		{"IPv6 addresses are kept once each", test_ipv6_addresses},
		{"checksum deltas (RFC 1624)", test_checksum_deltas},
		{"random work against a model", test_against_a_model},
		{"burst of both families", test_burst_of_both_families},
		{"fill small tables", test_fill_small},
		{"fill a million flows", test_fill_a_million},
		{"hash distribution", test_hash_distribution},
		{"hash avalanche", test_hash_avalanche},
		{"hash depends on the secret", test_hash_secret},
		{"expiry is exact", test_expiry_is_exact},
		{"when something is due", test_due},
		{"a nearer deadline needs a word", test_sooner_is_needed},
		{"budget", test_budget},
		{"long jump of the clock", test_long_jump},
		{"due at once", test_due_at_once},
		{"foreign clock", test_foreign_clock},
		{"close unlinks", test_close_unlinks},
		{"who makes room", test_evictable},
		{"who makes room: no place that is free", test_evictable_free},
		{"a walk in small steps", test_walk_some},
		{"a walk through nothing", test_walk_empty},
		{"create refuses", test_create_refuses},
	};

	unit_eal();
	pool = rte_pktmbuf_pool_create(
		"unit", 255, 0, RTE_ALIGN(sizeof(struct packet), 8), 128, SOCKET_ID_ANY);
	if (pool == NULL)
		return 1;
	return UNIT_RUN("flow", tests);
}
