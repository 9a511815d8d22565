/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/million: a million TCP and a million UDP flows of one qube, half of them answered, held at
 * once by one worker.
 *
 * Frames are made from a template and go through the whole data plane by dataplane_receive, from
 * the qube and from the uplink; what leaves is freed. First every flow is opened, which says how
 * many new flows a second one core can take (rules, budgets, external port, both tuples), then half
 * of them are answered, and then packets of random flows of each kind are sent. The same packets
 * over 1,024 flows show what the million costs. What it costs to make and free a frame is measured
 * beside it and taken off.
 *
 *	million [--json FILE] [--flows N]	N of each kind
 */
#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "app/eal.h"
#include "app/worker.h"

#define MILLION 1000000u
#define FEW 1024u
#define ROUNDS 5
#define PACKETS_PER_ROUND (1u << 20)
#define QUBE_ADDRESS 0x0a890010u   /* 10.137.0.16 */
#define UPLINK_ADDRESS 0xc0a83201u /* 192.168.50.1 */
#define REMOTE_ADDRESS 0xc6120001u /* 198.18.0.1, RFC 2544 */
#define SOURCE_PORTS 16384u
#define SOURCE_PORT_FIRST 16384u
#define SEQUENCE 1000u
#define REMOTE_SEQUENCE 5000u
#define WINDOW 64000u

enum { UPLINK, QUBE };

struct bench {
	struct dataplane *dataplane;
	uint32_t now_ms;
};

static void
report_stderr(void *context, const char *line)
{
	(void)context;
	fprintf(stderr, "million: %s\n", line);
}

static const struct report report = {.line = report_stderr};

static void
fail(const char *what)
{
	fprintf(stderr, "million: %s\n", what);
	exit(EXIT_FAILURE);
}

/* A port that frees what leaves. */

static uint16_t
bench_transmit(struct port *port, unsigned worker, struct rte_mbuf **burst, uint16_t count)
{
	(void)port, (void)worker;
	rte_pktmbuf_free_bulk(burst, count);
	return count;
}

static void
bench_close(struct port *port)
{
	(void)port;
}

static const struct port_ops bench_ops = {
	.kind = "bench",
	.tx_burst = bench_transmit,
	.close = bench_close,
};

/* One frame of flow @p flow, from the qube or from across the uplink. */
static void
frame_fill(uint8_t *frame, unsigned from, uint8_t protocol, unsigned flow, uint8_t tcp_flags)
{
	struct rte_ether_hdr *ethernet = (struct rte_ether_hdr *)frame;
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(ethernet + 1);
	rte_be32_t remote = rte_cpu_to_be_32(REMOTE_ADDRESS + flow / SOURCE_PORTS);
	rte_be16_t port = rte_cpu_to_be_16((uint16_t)(SOURCE_PORT_FIRST + flow % SOURCE_PORTS));
	bool out = from == QUBE;
	bool is_syn = (tcp_flags & RTE_TCP_SYN_FLAG) != 0;

	memcpy(&ethernet->dst_addr, out ? "\x02\0\0\0\0\x01" : "\x02\0\0\0\0\0", 6);
	memcpy(&ethernet->src_addr, out ? "\0\x16\x3e\x5e\x6c\0" : "\x02\x01\xc0\xa8\x32\x02", 6);
	ethernet->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG),
		.time_to_live = 64,
		.next_proto_id = protocol,
		.src_addr = out ? RTE_BE32(QUBE_ADDRESS) : remote,
		.dst_addr = out ? remote : RTE_BE32(UPLINK_ADDRESS),
	};
	if (protocol == IPPROTO_UDP) {
		struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);

		ip->total_length = RTE_BE16(sizeof(*ip) + sizeof(*udp) + 18);
		*udp = (struct rte_udp_hdr){.src_port = out ? port : RTE_BE16(4433),
			.dst_port = out ? RTE_BE16(4433) : port,
			.dgram_len = RTE_BE16(sizeof(*udp) + 18)};
	} else {
		struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + 1);
		uint32_t own = out ? SEQUENCE : REMOTE_SEQUENCE;
		uint32_t other = out ? REMOTE_SEQUENCE : SEQUENCE;

		ip->total_length = RTE_BE16(sizeof(*ip) + sizeof(*tcp));
		*tcp = (struct rte_tcp_hdr){.src_port = out ? port : RTE_BE16(443),
			.dst_port = out ? RTE_BE16(443) : port,
			.sent_seq = rte_cpu_to_be_32(is_syn ? own : own + 1),
			.recv_ack = (tcp_flags & RTE_TCP_ACK_FLAG) != 0
					    ? rte_cpu_to_be_32(other + 1)
					    : 0,
			.data_off = sizeof(*tcp) / 4 << 4,
			.tcp_flags = tcp_flags,
			.rx_win = RTE_BE16(WINDOW)};
	}
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

static unsigned
burst_make(struct bench *bench, struct rte_mbuf **burst, unsigned from, uint8_t protocol,
	const unsigned *flows, unsigned count, uint8_t tcp_flags)
{
	if (rte_pktmbuf_alloc_bulk(bench->dataplane->pool, burst, count) != 0)
		fail("no mbufs are left");
	for (unsigned i = 0; i < count; i++) {
		uint8_t *frame = (uint8_t *)rte_pktmbuf_append(burst[i], 60);

		if (frame == NULL)
			fail("frames do not fit mbufs");
		frame_fill(frame, from, protocol, flows[i], tcp_flags);
		packet_of(burst[i])->in_port = (uint16_t)from;
	}
	return count;
}

/* Send a packet of each of the flows named. @return cycles, making and freeing included */
static uint64_t
send_all(struct bench *bench, unsigned from, uint8_t protocol, const unsigned *flows,
	unsigned count, uint8_t tcp_flags, bool really)
{
	struct worker *worker = bench->dataplane->workers[0];
	struct port *port = &bench->dataplane->ports[from];
	struct rte_mbuf *burst[BURST_MAX];
	uint64_t start = rte_rdtsc();

	for (unsigned i = 0; i < count; i += BURST_MAX) {
		unsigned part = burst_make(bench, burst, from, protocol, flows + i,
			RTE_MIN(count - i, (unsigned)BURST_MAX), tcp_flags);

		if (really) {
			dataplane_receive(worker, port, burst, part, bench->now_ms);
			dataplane_service(worker, bench->now_ms);
		} else {
			rte_pktmbuf_free_bulk(burst, part);
		}
	}
	return rte_rdtsc() - start;
}

static int
compare_doubles(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

/* Cycles per packet from the qube over random ones of @p flows flows, every @p step-th of them. */
static double
measure(struct bench *bench, uint8_t protocol, unsigned flows, unsigned step, unsigned *picks)
{
	double cycles[ROUNDS];
	uint64_t before = bench->dataplane->workers[0]->counters.verdicts[VERDICT_FORWARD];
	uint64_t after;
	uint64_t state = 1;

	for (unsigned i = 0; i < PACKETS_PER_ROUND; i++) {
		state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
		picks[i] = (unsigned)((state >> 33) % (flows / step)) * step;
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t bare = send_all(
			bench, QUBE, protocol, picks, PACKETS_PER_ROUND, RTE_TCP_ACK_FLAG, false);
		uint64_t all = send_all(
			bench, QUBE, protocol, picks, PACKETS_PER_ROUND, RTE_TCP_ACK_FLAG, true);

		cycles[round] = ((double)all - (double)bare) / PACKETS_PER_ROUND;
	}
	after = bench->dataplane->workers[0]->counters.verdicts[VERDICT_FORWARD];
	if (after - before < (uint64_t)ROUNDS * PACKETS_PER_ROUND)
		fail("packets were dropped: this measures nothing");
	qsort(cycles, ROUNDS, sizeof(cycles[0]), compare_doubles);
	return cycles[ROUNDS / 2];
}

struct result {
	double opened_per_s[2];
	double cycles_few[2], cycles_many[2];
	uint32_t held;
	double bytes_per_flow;
};

static const uint8_t protocols[2] = {IPPROTO_TCP, IPPROTO_UDP};

/* Open @p flows flows of a kind and answer every second one. @return new flows per second */
static double
open_flows(struct bench *bench, uint8_t protocol, unsigned first, unsigned flows, unsigned *numbers)
{
	uint64_t bare, all;

	for (unsigned i = 0; i < flows; i++)
		numbers[i] = first + i;
	bare = send_all(bench, QUBE, protocol, numbers, flows, RTE_TCP_SYN_FLAG, false);
	all = send_all(bench, QUBE, protocol, numbers, flows, RTE_TCP_SYN_FLAG, true);
	for (unsigned i = 0; i < flows / 2; i++)
		numbers[i] = first + 2 * i;
	send_all(bench, UPLINK, protocol, numbers, flows / 2, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG,
		true);
	if (protocol == IPPROTO_TCP)
		send_all(bench, QUBE, protocol, numbers, flows / 2, RTE_TCP_ACK_FLAG, true);
	return (double)flows * (double)rte_get_tsc_hz() / ((double)all - (double)bare);
}

static void
run(struct bench *bench, unsigned flows, struct result *result)
{
	struct flow_table *table = bench->dataplane->workers[0]->flows;
	unsigned *numbers = malloc(sizeof(*numbers) * RTE_MAX(flows, PACKETS_PER_ROUND));

	if (numbers == NULL)
		fail("out of memory");
	for (unsigned i = 0; i < 2; i++) {
		open_flows(bench, protocols[i], 0, FEW, numbers);
		result->cycles_few[i] = measure(
			bench, protocols[i], FEW, protocols[i] == IPPROTO_TCP ? 2 : 1, numbers);
	}
	for (unsigned i = 0; i < 2; i++)
		result->opened_per_s[i] =
			open_flows(bench, protocols[i], FEW, flows - FEW, numbers);
	result->held = flow_count(table);
	result->bytes_per_flow = (double)flow_table_memory(table) / (double)flow_capacity(table);
	if (result->held != 2 * flows)
		fail("not all flows are there");
	for (unsigned i = 0; i < 2; i++)
		result->cycles_many[i] = measure(
			bench, protocols[i], flows, protocols[i] == IPPROTO_TCP ? 2 : 1, numbers);
	free(numbers);
}

static void
print(const struct result *result, const char *json)
{
	static const char *const names[2] = {"tcp", "udp"};
	FILE *file = json != NULL ? fopen(json, "w") : NULL;

	printf("%u flows held by one worker, half of them answered, %.0f bytes each\n"
	       "%4s  %14s  %22s  %22s  %6s\n",
		result->held, result->bytes_per_flow, "", "new flows/s", "cycles/packet, 1,024",
		"cycles/packet, all", "ratio");
	if (file != NULL)
		fprintf(file, "{\"bench\": \"million\", \"flows\": %u, \"bytes_per_flow\": %.1f",
			result->held, result->bytes_per_flow);
	for (unsigned i = 0; i < 2; i++) {
		printf("%4s  %12.2f M  %22.1f  %22.1f  %6.2f\n", names[i],
			result->opened_per_s[i] / 1e6, result->cycles_few[i],
			result->cycles_many[i], result->cycles_many[i] / result->cycles_few[i]);
		if (file != NULL)
			fprintf(file,
				", \"%s\": {\"new_flows_per_s\": %.0f, \"cycles_few\": %.1f, "
				"\"cycles_many\": %.1f}",
				names[i], result->opened_per_s[i], result->cycles_few[i],
				result->cycles_many[i]);
	}
	if (file != NULL) {
		fputs("}\n", file);
		fclose(file);
	}
}

static struct conf *
configure(unsigned flows)
{
	char path[] = "/tmp/sluice-million-XXXXXX";
	int fd = mkstemp(path);
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
	struct conf *conf = NULL;

	if (file == NULL)
		fail("cannot write a configuration");
	/* twice as many places as flows, as a table has that is sized for its limit */
	fprintf(file,
		"[sluice]\nflows = %u\n[limits]\nflows = 16777216\nnew-flows = 10000000\n"
		"half-open = 16777216\nports = 65535\n[gateway]\naddress = 10.137.0.1\n"
		"[port uplink]\ndevice = dpdk:net_null0\nrole = uplink\n"
		"address = 192.168.50.1/24\ngateway = 192.168.50.2\n"
		"[port qube]\ndevice = dpdk:net_null1\nrole = qube\nqube = qube\n"
		"[qube qube]\naddress = 10.137.0.16\nmac = 00:16:3e:5e:6c:00\nrules = %s.rules\n",
		2 * flows + FEW, path);
	fclose(file);
	{
		char rules[sizeof(path) + sizeof(".rules")];

		snprintf(rules, sizeof(rules), "%s.rules", path);
		file = fopen(rules, "w");
		if (file == NULL)
			fail("cannot write rules");
		fputs("policy=drop\naction=accept dst4=198.18.0.0/15 proto=udp dstports=4433\n"
		      "action=accept dst4=198.18.0.0/15 proto=tcp dstports=443\n",
			file);
		fclose(file);
		if (conf_load(path, &report, &conf) != 0)
			fail("the configuration is wrong");
		unlink(rules);
	}
	unlink(path);
	return conf;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", required_argument, NULL, 'j'},
		{"flows", required_argument, NULL, 'f'},
		{NULL, 0, NULL, 0},
	};
	unsigned flows = MILLION;
	struct bench bench = {.now_ms = 1};
	struct policy *policy = NULL;
	struct result result;
	const char *json = NULL;
	struct conf *conf;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'j')
			json = optarg;
		else if (option == 'f')
			flows = (unsigned)strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	if (flows < 4 * FEW || flows > 4 * MILLION)
		return 2;
	conf = configure(flows);
	if (eal_start("million", conf, false, &report) != 0 ||
		policy_build(conf, NULL, 0, &report, &policy) != 0 ||
		dataplane_create(conf, policy, NULL, true, &report, &bench.dataplane) != 0)
		fail("the data plane does not start");
	for (unsigned i = 0; dataplane_port(bench.dataplane, i) != NULL; i++) {
		struct port *port = &bench.dataplane->ports[i];

		port->ops = &bench_ops;
		port->mtu = 1500;
		memcpy(port->mac, "\x02\0\0\0\0", 5);
		port->mac[5] = (uint8_t)i;
	}
	run(&bench, flows, &result);
	print(&result, json);
	dataplane_free(bench.dataplane);
	conf_free(conf);
	rte_eal_cleanup();
	return EXIT_SUCCESS;
}
