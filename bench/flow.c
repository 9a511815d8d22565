/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The flow table on its own: what a lookup, a miss, opening, closing and expiry cost at three
 * sizes, and what a flow takes of memory.
 *
 *	flow [--json FILE] [--quick]
 *
 * The table has room for a million flows throughout; only how many are open changes, and with it
 * how far from the core their lines are. Packets come in random order, both directions in turns,
 * in bursts of 32; writing their tuples is not counted, as in the pipeline parse has just done it.
 * Opening and closing are counted with the making of their tuples. Cycles are those of the TSC.
 * Each figure is the median over all bursts, so that other programs on the core do not show.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include "nat/flow.h"

#define CAPACITY 1000000U
#define BURST 32U
#define ROUNDS 9
#define LOOKUPS (1U << 19) /* per round */
#define TIMEOUT_MS 60000U

static const uint32_t sizes[] = {1024, 65536, CAPACITY};
#define SIZES RTE_DIM(sizes)

/* One row of the report, in TSC cycles each. */
enum cost {
	COST_HIT_IPV4,
	COST_HIT_IPV6,
	COST_MISS_IPV4,
	COST_OPEN,
	COST_CLOSE,
	COST_EXPIRE,
	COST_REFILE,
	COSTS
};
static const struct {
	const char *name, *help;
} costs[COSTS] = {
	[COST_HIT_IPV4] = {"hit_ipv4", "lookup, IPv4 UDP, found"},
	[COST_HIT_IPV6] = {"hit_ipv6", "lookup, IPv6 UDP, found"},
	[COST_MISS_IPV4] = {"miss_ipv4", "lookup, IPv4 UDP, not found"},
	[COST_OPEN] = {"open", "open a flow"},
	[COST_CLOSE] = {"close", "close a flow, oldest first"},
	[COST_EXPIRE] = {"expire", "close a flow whose time is up"},
	[COST_REFILE] = {"refile", "look at a flow that lives on"},
};

static struct rte_mempool *pool;
static struct rte_mbuf *burst[BURST];
static unsigned rounds = ROUNDS;
static uint64_t clock_cycles; /* what reading the clock twice takes */

/* The tuple of the n-th flow: distinct, and without a table of tuples that would fill the cache. */
static inline struct tuple
nth_tuple(uint32_t n, enum family family, enum direction direction, uint8_t protocol)
{
	union address qube = address_v4(rte_cpu_to_be_32(0x0a890000 + n % 997));
	union address server = address_v4(rte_cpu_to_be_32(0xc6120000 + n / 997));
	union address external = address_v4(rte_cpu_to_be_32(0xcb007101));
	rte_be16_t qube_port = rte_cpu_to_be_16((uint16_t)(1024 + n % 50021));
	rte_be16_t server_port = rte_cpu_to_be_16(4500);
	struct tuple tuple = {.protocol = protocol, .family = (uint8_t)family};

	if (family == FAMILY_IPV6) {
		qube.half[1] = 0x1234;
		server.half[1] = 0x5678;
		external = qube;
	}
	/* 997 and 50021 are primes: the pair (server, port) tells flows apart as well. */
	tuple.source = direction == DIRECTION_ORIGINAL ? qube : server;
	tuple.destination = direction == DIRECTION_ORIGINAL ? server : external;
	tuple.source_port = direction == DIRECTION_ORIGINAL ? qube_port : server_port;
	tuple.destination_port = direction == DIRECTION_ORIGINAL ? server_port : qube_port;
	return tuple;
}

static struct flow *
open_nth(struct flow_table *table, uint32_t n, enum family family)
{
	struct tuple original = nth_tuple(n, family, DIRECTION_ORIGINAL, IPPROTO_UDP);
	struct tuple reply = nth_tuple(n, family, DIRECTION_REPLY, IPPROTO_UDP);
	struct flow *flow = flow_open(table, &original, &reply, TIMEOUT_MS);

	if (flow == NULL) {
		fprintf(stderr, "flow %u does not open: %s\n", n, strerror(errno));
		exit(1);
	}
	return flow;
}

static struct flow_table *
create(void)
{
	struct flow_secret secret;
	struct flow_table *table;

	if (getrandom(&secret, sizeof(secret), 0) != sizeof(secret)) {
		perror("getrandom");
		exit(1);
	}
	table = flow_table_create(CAPACITY, &secret, 0, SOCKET_ID_ANY);
	if (table == NULL) {
		perror("flow_table_create");
		exit(1);
	}
	return table;
}

/* Cycles per packet of every burst that was measured; the median is the figure. */
struct samples {
	float *cycles;
	size_t count, room;
};

static void
samples_add(struct samples *samples, uint64_t cycles, unsigned packets)
{
	if (samples->count == samples->room) {
		samples->room = samples->room * 2 + 1024;
		samples->cycles =
			realloc(samples->cycles, samples->room * sizeof(*samples->cycles));
		if (samples->cycles == NULL)
			exit(1);
	}
	cycles -= RTE_MIN(cycles, clock_cycles);
	samples->cycles[samples->count++] = (float)cycles / (float)packets;
}

static int
compare(const void *a, const void *b)
{
	float left = *(const float *)a;
	float right = *(const float *)b;

	return (left > right) - (left < right);
}

static double
samples_median(struct samples *samples)
{
	double result;

	if (samples->count == 0)
		return 0;
	qsort(samples->cycles, samples->count, sizeof(*samples->cycles), compare);
	result = (double)samples->cycles[samples->count / 2];
	free(samples->cycles);
	*samples = (struct samples){0};
	return result;
}

static void
measure_clock(void)
{
	struct samples samples = {0};

	for (unsigned i = 0; i < 10000; i++) {
		uint64_t began = rte_rdtsc_precise();

		samples_add(&samples, rte_rdtsc_precise() - began, 1);
	}
	clock_cycles = (uint64_t)samples_median(&samples);
}

static void
lookup_round(struct flow_table *table, uint32_t open, enum family family, bool found, uint64_t seed,
	struct samples *samples)
{
	unsigned wrong = 0;

	for (unsigned done = 0; done < LOOKUPS; done += BURST) {
		uint64_t began;

		for (unsigned i = 0; i < BURST; i++) {
			seed = seed * 6364136223846793005U + 1442695040888963407U;
			packet_of(burst[i])->tuple =
				nth_tuple((uint32_t)(((seed >> 32) * open) >> 32), family,
					i % 2 == 0 ? DIRECTION_ORIGINAL : DIRECTION_REPLY,
					found ? IPPROTO_UDP : IPPROTO_TCP);
		}
		began = rte_rdtsc_precise();
		flow_lookup_burst(table, burst, BURST);
		samples_add(samples, rte_rdtsc_precise() - began, BURST);
		for (unsigned i = 0; i < BURST; i++)
			wrong += (packet_of(burst[i])->flow != NULL) != found;
	}
	if (wrong != 0) {
		fprintf(stderr, "%u lookups are wrong\n", wrong);
		exit(1);
	}
}

static double
lookup_cost(uint32_t open, enum family family, bool found)
{
	struct flow_table *table = create();
	struct samples warm = {0}, samples = {0};

	for (uint32_t n = 0; n < open; n++)
		open_nth(table, n, family);
	lookup_round(table, open, family, found, 1, &warm);
	(void)samples_median(&warm);
	for (unsigned round = 0; round < rounds; round++)
		lookup_round(table, open, family, found, round + 2, &samples);
	flow_table_free(table);
	return samples_median(&samples);
}

/* Open @p open flows, in bursts as packets would. */
static void
open_all(struct flow_table *table, uint32_t open, struct flow **flows, struct samples *samples)
{
	for (uint32_t n = 0; n < open; n += BURST) {
		uint64_t began = rte_rdtsc_precise();
		unsigned count = RTE_MIN(BURST, open - n);

		for (uint32_t i = n; i < n + count; i++)
			flows[i] = open_nth(table, i, FAMILY_IPV4);
		samples_add(samples, rte_rdtsc_precise() - began, count);
	}
}

static void
close_all(struct flow_table *table, uint32_t open, struct flow **flows, struct samples *samples)
{
	for (uint32_t n = 0; n < open; n += BURST) {
		uint64_t began = rte_rdtsc_precise();
		unsigned count = RTE_MIN(BURST, open - n);

		for (uint32_t i = n; i < n + count; i++)
			flow_close(table, flows[i]);
		samples_add(samples, rte_rdtsc_precise() - began, count);
	}
}

/* Let the wheel look at @p open flows, all of which are due. */
static void
expire_all(struct flow_table *table, uint32_t open, uint32_t now_ms, struct samples *samples)
{
	/* The hand comes to the slot first. */
	flow_expire(table, now_ms, BURST, NULL, NULL);
	for (uint32_t n = BURST; n + BURST <= open; n += BURST) {
		uint64_t began = rte_rdtsc_precise();

		flow_expire(table, now_ms, BURST, NULL, NULL);
		samples_add(samples, rte_rdtsc_precise() - began, BURST);
	}
	flow_expire(table, now_ms, BURST, NULL, NULL);
}

/* Run through the life of @p open flows: open, close; open, look at, expire. */
static void
life_costs(uint32_t open, double cost[COSTS])
{
	struct flow_table *table = create();
	struct flow **flows = calloc(open, sizeof(struct flow *));
	struct samples samples[COSTS] = {{0}};
	uint32_t now_ms = 0;

	if (flows == NULL)
		exit(1);
	for (unsigned round = 0; round < rounds * RTE_MAX(1U, 100000 / open); round++) {
		open_all(table, open, flows, &samples[COST_OPEN]);
		close_all(table, open, flows, &samples[COST_CLOSE]);
		/* Filed for one time, but living on until another. */
		open_all(table, open, flows, &samples[COST_OPEN]);
		for (uint32_t n = 0; n < open; n++) {
			flows[n]->deadline_ms = now_ms + TIMEOUT_MS;
			flow_sooner(table, flows[n]);
			flows[n]->deadline_ms = now_ms + 2 * TIMEOUT_MS;
		}
		now_ms += TIMEOUT_MS + 1024;
		expire_all(table, open, now_ms, &samples[COST_REFILE]);
		now_ms += TIMEOUT_MS;
		expire_all(table, open, now_ms, &samples[COST_EXPIRE]);
		if (flow_count(table) != 0) {
			fprintf(stderr, "%u flows do not end\n", flow_count(table));
			exit(1);
		}
	}
	for (unsigned i = COST_OPEN; i < COSTS; i++)
		cost[i] = samples_median(&samples[i]);
	free(flows);
	flow_table_free(table);
}

static void
report(const double cost[SIZES][COSTS], double bytes)
{
	printf("%-32s", "TSC cycles, flows open:");
	for (unsigned i = 0; i < SIZES; i++)
		printf("%12u", sizes[i]);
	printf("\n");
	for (unsigned row = 0; row < COSTS; row++) {
		printf("%-32s", costs[row].help);
		for (unsigned i = 0; i < SIZES; i++)
			printf("%12.1f", cost[i][row]);
		printf("\n");
	}
	printf("%-32s", "opened and closed, M/s");
	for (unsigned i = 0; i < SIZES; i++)
		printf("%12.2f", (double)rte_get_tsc_hz() / 1e6 /
					 (cost[i][COST_OPEN] + cost[i][COST_CLOSE]));
	printf("\n%-32s%12.1f\n", "bytes per flow", bytes);
}

static int
report_json(const char *path, const double cost[SIZES][COSTS], double bytes)
{
	FILE *file = fopen(path, "w");

	if (file == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 1;
	}
	fprintf(file, "{\n  \"tsc_hz\": %.0f,\n  \"bytes_per_flow\": %.1f,\n  \"cycles\": {\n",
		(double)rte_get_tsc_hz(), bytes);
	for (unsigned i = 0; i < SIZES; i++) {
		fprintf(file, "    \"%u\": {", sizes[i]);
		for (unsigned row = 0; row < COSTS; row++)
			fprintf(file, "%s\"%s\": %.1f", row == 0 ? "" : ", ", costs[row].name,
				cost[i][row]);
		fprintf(file, "}%s\n", i + 1 < SIZES ? "," : "");
	}
	fprintf(file, "  }\n}\n");
	if (fclose(file) != 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 1;
	}
	return 0;
}

static bool
hugepages_reserved(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	char line[128];
	unsigned free_pages = 0;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "HugePages_Free: %u", &free_pages) == 1)
			break;
	if (file != NULL)
		fclose(file);
	return free_pages >= 256;
}

static void
start_eal(void)
{
	/* --no-huge and --in-memory exclude each other. */
	static char *huge[] = {"flow", "--in-memory", "--no-pci", "--no-telemetry", "--lcores",
		"0@0", "--log-level", "error", NULL};
	static char *plain[] = {"flow", "--no-huge", "-m", "1024", "--no-pci", "--no-telemetry",
		"--no-shconf", "--lcores", "0@0", "--log-level", "error", NULL};
	bool has_huge = hugepages_reserved();

	if (rte_eal_init(has_huge ? (int)RTE_DIM(huge) - 1 : (int)RTE_DIM(plain) - 1,
		    has_huge ? huge : plain) < 0) {
		fprintf(stderr, "EAL does not start: %s\n", rte_strerror(rte_errno));
		exit(1);
	}
	printf("memory: %s pages\n", has_huge ? "huge" : "small");
}

int
main(int argc, char **argv)
{
	static double cost[SIZES][COSTS];
	const char *json = NULL;
	struct flow_table *table;
	double bytes;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
			json = argv[++i];
		} else if (strcmp(argv[i], "--quick") == 0) {
			rounds = 3;
		} else {
			fprintf(stderr, "usage: %s [--json FILE] [--quick]\n", argv[0]);
			return 2;
		}
	}
	start_eal();
	pool = rte_pktmbuf_pool_create(
		"bench", 511, 0, RTE_ALIGN(sizeof(struct packet), 8), 2048, SOCKET_ID_ANY);
	if (pool == NULL || rte_pktmbuf_alloc_bulk(pool, burst, BURST) != 0) {
		fprintf(stderr, "no mbufs: %s\n", rte_strerror(rte_errno));
		return 1;
	}
	measure_clock();
	table = create();
	bytes = (double)flow_table_memory(table) / CAPACITY;
	flow_table_free(table);
	for (unsigned i = 0; i < SIZES; i++) {
		cost[i][COST_HIT_IPV4] = lookup_cost(sizes[i], FAMILY_IPV4, true);
		cost[i][COST_HIT_IPV6] = lookup_cost(sizes[i], FAMILY_IPV6, true);
		cost[i][COST_MISS_IPV4] = lookup_cost(sizes[i], FAMILY_IPV4, false);
		life_costs(sizes[i], cost[i]);
	}
	report(cost, bytes);
	return json != NULL ? report_json(json, cost, bytes) : 0;
}
