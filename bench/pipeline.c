/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/pipeline: what the whole data path costs per packet.
 *
 * 60-byte UDP frames of one qube come from net_pcap with infinite_rx and leave, masqueraded, by
 * net_null: every stage of sluiced, the same port code, no system call. Next to it, in the same
 * run and in turn, the floor: the same devices with nothing in between but rte_eth_rx_burst and
 * rte_eth_tx_burst. Cycles are TSC cycles, figures are medians of the rounds.
 *
 *	pipeline [--json FILE] [--rounds N] [--flows N]
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <pcap/pcap.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include "app/eal.h"
#include "app/worker.h"

#define FRAME_SIZE 60
#define PACKETS_PER_ROUND (1u << 20)
/* net_pcap keeps a copy of every frame of the capture, one mbuf each. */
#define POOL_SIZE (1u << 17)
#define POOL_ROOM 256
#define ROUNDS_DEFAULT 11
#define ROUNDS_MAX 101
#define QUBE_ADDRESS 0x0a890010u   /* 10.137.0.16 */
#define REMOTE_ADDRESS 0xc6120001u /* 198.18.0.1, RFC 2544 */
/* Flows per remote: source ports from 1024 up; the rest is spread over remotes. */
#define SOURCE_PORTS 16384u
#define SOURCE_PORT_FIRST 10000u

struct series {
	unsigned flows;
	double cycles[ROUNDS_MAX];
	double floor[ROUNDS_MAX];
};

static void
report_stderr(void *context, const char *line)
{
	(void)context;
	fprintf(stderr, "pipeline: %s\n", line);
}

static const struct report report = {.line = report_stderr};

static void
fail(const char *what)
{
	fprintf(stderr, "pipeline: %s\n", what);
	exit(EXIT_FAILURE);
}

/* net_pcap's own MAC, 02:70:63:61:70:<index>, see drivers/net/pcap. */
static void
frame_fill(uint8_t frame[FRAME_SIZE], unsigned device, unsigned flow)
{
	struct rte_ether_hdr *ethernet = (struct rte_ether_hdr *)frame;
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(ethernet + 1);
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);

	memset(frame, 0, FRAME_SIZE);
	memcpy(&ethernet->dst_addr, "\x02pcap", 5);
	ethernet->dst_addr.addr_bytes[5] = (uint8_t)device;
	memcpy(&ethernet->src_addr, "\x00\x16\x3e\x5e\x6c\x00", 6);
	ethernet->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	ip->version_ihl = RTE_IPV4_VHL_DEF;
	ip->total_length = RTE_BE16(FRAME_SIZE - sizeof(*ethernet));
	ip->time_to_live = 64;
	ip->next_proto_id = IPPROTO_UDP;
	ip->src_addr = rte_cpu_to_be_32(QUBE_ADDRESS + device);
	ip->dst_addr = rte_cpu_to_be_32(REMOTE_ADDRESS + flow / SOURCE_PORTS);
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	udp->src_port = rte_cpu_to_be_16((uint16_t)(SOURCE_PORT_FIRST + flow % SOURCE_PORTS));
	udp->dst_port = RTE_BE16(443);
	udp->dgram_len = RTE_BE16(FRAME_SIZE - sizeof(*ethernet) - sizeof(*ip));
	udp->dgram_cksum = rte_ipv4_udptcp_cksum(ip, udp);
}

/* The frames in an order that no prefetcher guesses, at least 1,024 of them. */
static void
capture_write(const char *path, unsigned device, unsigned flows)
{
	pcap_t *dead = pcap_open_dead(DLT_EN10MB, 65535);
	pcap_dumper_t *dumper = dead != NULL ? pcap_dump_open(dead, path) : NULL;
	unsigned frames = RTE_MAX(flows, 1024u);
	uint8_t frame[FRAME_SIZE];

	if (dumper == NULL)
		fail("cannot write a capture");
	for (unsigned i = 0; i < frames; i++) {
		struct pcap_pkthdr header = {.caplen = FRAME_SIZE, .len = FRAME_SIZE};

		frame_fill(frame, device, (i * 40503u) % flows);
		pcap_dump((unsigned char *)dumper, &header, frame);
	}
	pcap_dump_close(dumper);
	pcap_close(dead);
}

static void
conf_write(const char *folder, const struct series *series, unsigned count)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/all.rules", folder);
	file = fopen(path, "w");
	if (file == NULL)
		fail("cannot write rules");
	fputs("policy=drop\naction=accept dst4=198.18.0.0/15 proto=udp dstports=443\n", file);
	fclose(file);

	snprintf(path, sizeof(path), "%s/sluice.conf", folder);
	file = fopen(path, "w");
	if (file == NULL)
		fail("cannot write a configuration");
	fputs("[sluice]\nflows = 131072\n[limits]\nflows = 131072\n"
	      "new-flows = 10000000\nports = 65535\n[gateway]\naddress = 10.137.0.1\n"
	      "[port uplink]\ndevice = dpdk:net_null0\nrole = uplink\n"
	      "address = 192.168.50.1/24\ngateway = 192.168.50.2\n",
		file);
	for (unsigned i = 0; i < count; i++) {
		fprintf(file,
			"[port qube%u]\ndevice = dpdk:net_pcap%u,rx_pcap=%s/%u.pcap,infinite_rx=1\n"
			"role = qube\nqube = qube%u\n[qube qube%u]\naddress = 10.137.0.%u\n"
			"mac = 00:16:3e:5e:6c:00\nrules = all.rules\n",
			i, i, folder, i, i, i, (QUBE_ADDRESS & 0xff) + i);
		char capture[128];

		snprintf(capture, sizeof(capture), "%s/%u.pcap", folder, i);
		capture_write(capture, i, series[i].flows);
	}
	fclose(file);
}

static double
run_pipeline(struct dataplane *dataplane, struct port *port, uint32_t now_ms)
{
	struct worker *worker = dataplane->workers[0];
	struct rte_mbuf *burst[BURST_MAX];
	unsigned packets = 0;
	uint64_t start = rte_rdtsc();

	while (packets < PACKETS_PER_ROUND) {
		uint16_t count = port->ops->rx_burst(port, burst, BURST_MAX);

		dataplane_receive(worker, port, burst, count, now_ms);
		dataplane_service(worker, now_ms);
		packets += count;
	}
	return (double)(rte_rdtsc() - start) / packets;
}

static double
run_floor(uint16_t in, uint16_t out)
{
	struct rte_mbuf *burst[BURST_MAX];
	unsigned packets = 0;
	uint64_t start = rte_rdtsc();

	while (packets < PACKETS_PER_ROUND) {
		uint16_t count = rte_eth_rx_burst(in, 0, burst, BURST_MAX);

		rte_pktmbuf_free_bulk(burst + rte_eth_tx_burst(out, 0, burst, count), 0);
		packets += count;
	}
	return (double)(rte_rdtsc() - start) / packets;
}

static int
compare_doubles(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

/* Of values that median() has sorted. */
static double
best(const double *values)
{
	return values[0];
}

static double
median(double *values, unsigned count)
{
	qsort(values, count, sizeof(values[0]), compare_doubles);
	return values[count / 2];
}

static uint64_t
forwarded(const struct dataplane *dataplane)
{
	return dataplane->workers[0]->counters.verdicts[VERDICT_FORWARD];
}

static void
measure(struct dataplane *dataplane, struct series *series, unsigned index, unsigned rounds)
{
	struct port *port = &dataplane->ports[1 + index];
	char name[32];
	uint16_t in, out;
	uint64_t before;

	snprintf(name, sizeof(name), "net_pcap%u", index);
	if (rte_eth_dev_get_port_by_name(name, &in) != 0 ||
		rte_eth_dev_get_port_by_name("net_null0", &out) != 0)
		fail("a device is missing");
	run_pipeline(dataplane, port, 1); /* opens the flows */
	before = forwarded(dataplane);
	for (unsigned round = 0; round < rounds; round++) {
		series->floor[round] = run_floor(in, out);
		series->cycles[round] = run_pipeline(dataplane, port, 2 + round);
	}
	/* A benchmark of drops would be fast. */
	if (forwarded(dataplane) - before < (uint64_t)rounds * PACKETS_PER_ROUND)
		fail("packets were dropped: this measures nothing");
	if (flow_count(dataplane->workers[0]->flows) < series->flows)
		fail("fewer flows than expected");
}

static void
print(struct series *series, unsigned count, unsigned rounds, const char *json)
{
	FILE *file = json != NULL ? fopen(json, "w") : NULL;

	printf("60-byte UDP, masqueraded, bursts of %u, medians of %u rounds of %u packets\n"
	       "%8s  %16s  %14s  %12s  %10s\n",
		BURST_MAX, rounds, PACKETS_PER_ROUND, "flows", "cycles/packet", "plain forward",
		"over plain", "best");
	if (file != NULL)
		fputs("{\"bench\": \"pipeline\", \"results\": [", file);
	for (unsigned i = 0; i < count; i++) {
		double cycles = median(series[i].cycles, rounds);
		double floor = median(series[i].floor, rounds);

		printf("%8u  %16.1f  %14.1f  %12.1f  %10.1f\n", series[i].flows, cycles, floor,
			cycles - floor, best(series[i].cycles));
		if (file != NULL)
			fprintf(file,
				"%s{\"flows\": %u, \"cycles_per_packet\": %.1f, "
				"\"plain_forward\": %.1f, \"best\": %.1f}",
				i == 0 ? "" : ", ", series[i].flows, cycles, floor,
				best(series[i].cycles));
	}
	if (file != NULL) {
		fputs("]}\n", file);
		fclose(file);
	}
}

static void
remove_folder(const char *folder, unsigned count)
{
	char path[128];

	for (unsigned i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%u.pcap", folder, i);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/all.rules", folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/sluice.conf", folder);
	unlink(path);
	rmdir(folder);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", required_argument, NULL, 'j'},
		{"rounds", required_argument, NULL, 'r'},
		{"flows", required_argument, NULL, 'f'},
		{NULL, 0, NULL, 0},
	};
	static struct series series[] = {{.flows = 1}, {.flows = 1024}, {.flows = 65536}};
	unsigned count = RTE_DIM(series);
	unsigned rounds = ROUNDS_DEFAULT;
	char folder[] = "/tmp/sluice-bench-XXXXXX";
	char conf_path[128];
	const char *json = NULL;
	struct port_setup setup = {.report = &report, .workers = 1};
	struct dataplane *dataplane = NULL;
	struct policy *policy = NULL;
	struct conf *conf;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			json = optarg;
			break;
		case 'r':
			rounds = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'f':
			count = 1;
			series[0].flows = (unsigned)strtoul(optarg, NULL, 10);
			break;
		default:
			return 2;
		}
	}
	if (rounds == 0 || rounds > ROUNDS_MAX || series[0].flows == 0 ||
		series[0].flows > 4 * SOURCE_PORTS)
		return 2;
	if (mkdtemp(folder) == NULL)
		fail("cannot make a folder");
	conf_write(folder, series, count);
	snprintf(conf_path, sizeof(conf_path), "%s/sluice.conf", folder);
	if (conf_load(conf_path, &report, &conf) != 0)
		fail("the configuration is wrong");
	conf->flows += POOL_SIZE * 4; /* ask for memory for our own mbufs as well */
	if (eal_start("pipeline", conf, false, &report) != 0)
		fail("DPDK does not start");
	conf->flows -= POOL_SIZE * 4;
	if (policy_build(conf, NULL, 0, &report, &policy) != 0 ||
		dataplane_create(conf, policy, NULL, true, &report, &dataplane) != 0)
		fail("the data plane does not start");
	setup.pool = rte_pktmbuf_pool_create("frames", POOL_SIZE, 256,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN),
		POOL_ROOM + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
	if (setup.pool == NULL)
		fail("no memory for mbufs");
	for (unsigned i = 0; i < conf->port_count; i++)
		if (port_open(&dataplane->ports[i], &conf->ports[i], &setup) != 0)
			fail("a port does not open");
	remove_folder(folder, count);

	for (unsigned i = 0; i < count; i++)
		measure(dataplane, &series[i], i, rounds);
	print(series, count, rounds, json);
	dataplane_free(dataplane);
	conf_free(conf);
	rte_eal_cleanup();
	return EXIT_SUCCESS;
}
