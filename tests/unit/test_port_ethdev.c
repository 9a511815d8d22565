/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ethdev port on virtual devices: net_ring, which hands back what it is given, net_null and
 * net_pcap. They offer no offloads, so everything a frame owes is paid in software, and looked at.
 */
#include "app/port.h"
#include "classifier/parse.h"
#include "tests/unit/frames.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_tcp.h>

#define MBUFS 8191
#define WORKERS 4

static struct rte_mempool *pool;
static char reported[1024];

static void
report_keep(void *context, const char *line)
{
	(void)context;
	snprintf(reported, sizeof(reported), "%s", line);
}

static const struct report report = {report_keep, NULL};

static int
open_port(struct port *port, enum device device, const char *argument)
{
	const struct port_setup setup = {pool, WORKERS, &report};
	const struct conf_port conf = {
		.name = "up",
		.device = device,
		.argument = (char *)(uintptr_t)argument,
	};

	reported[0] = '\0';
	memset(port, 0, sizeof(*port));
	port->index = 7;
	return port_open(port, &conf, &setup);
}

static struct port
opened(const char *argument)
{
	struct port port;

	CU_ASSERT_EQUAL_FATAL(open_port(&port, DEVICE_DPDK, argument), 0);
	return port;
}

static const struct frame_spec udp4 = {
	.source = "10.137.0.16",
	.destination = "192.0.2.1",
	.protocol = IPPROTO_UDP,
	.source_port = 1000,
	.destination_port = 2000,
	.payload = 100,
};

static const struct frame_spec tcp4 = {
	.source = "10.137.0.16",
	.destination = "192.0.2.1",
	.protocol = IPPROTO_TCP,
	.tcp_flags = RTE_TCP_ACK_FLAG,
	.payload = 100,
};

static const struct frame_spec tcp6 = {
	.source = "fd00::16",
	.destination = "2001:db8::1",
	.protocol = IPPROTO_TCP,
	.tcp_flags = RTE_TCP_ACK_FLAG,
	.payload = 100,
};

/* An mbuf as the data path would hand it over. */
static struct rte_mbuf *
outgoing(const struct frame_spec *spec, uint64_t flags, uint16_t segment_size, uint32_t first)
{
	struct frame frame;
	struct rte_mbuf *mbuf;

	frame_build(&frame, spec);
	if (flags != 0)
		frame_make_partial(&frame);
	mbuf = frame_mbuf_chain(pool, frame.bytes, frame.length, first, 1900);
	CU_ASSERT_EQUAL_FATAL(parse_burst(&mbuf, 1), 1);
	mbuf->ol_flags |= flags;
	mbuf->tso_segsz = segment_size;
	return mbuf;
}

/* What came back must be sound, and is freed. @return bytes of TCP or UDP payload */
static uint32_t
check_and_free(struct rte_mbuf *mbuf)
{
	struct frame frame;
	uint32_t payload;

	CU_ASSERT_EQUAL(packet_of(mbuf)->in_port, 7);
	CU_ASSERT_EQUAL(mbuf->ol_flags & ~RTE_MBUF_F_EXTERNAL, 0);
	frame_of_mbuf(&frame, mbuf);
	CU_ASSERT_EQUAL(frame_faults(frame.bytes, frame.length), 0);
	CU_ASSERT_EQUAL_FATAL(parse_burst(&mbuf, 1), 1);
	payload = packet_of(mbuf)->frame_length - packet_of(mbuf)->payload_offset;
	rte_pktmbuf_free(mbuf);
	return payload;
}

static void
test_refusals(void)
{
	struct port port;

	CU_ASSERT_NOT_EQUAL(open_port(&port, DEVICE_DPDK, "net_nonsense0"), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(reported, "port up: device dpdk:net_nonsense0: "));
	CU_ASSERT_NOT_EQUAL(open_port(&port, DEVICE_DPDK, "net_pcap0,rx_pcap=/no/such/file"), 0);
	CU_ASSERT_NOT_EQUAL(open_port(&port, DEVICE_PCI, "0000:ff:1f.7"), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(reported, "port up: device pci:0000:ff:1f.7: "));
}

static void
test_plain(void)
{
	struct port port = opened("net_ring0");
	struct rte_mbuf *burst[BURST_MAX];

	CU_ASSERT_STRING_EQUAL(port.name, "up");
	CU_ASSERT_STRING_EQUAL(port.ops->kind, "ethdev");
	CU_ASSERT_EQUAL(port.mtu, 1500);
	CU_ASSERT_EQUAL(port.ops->wait_fd(&port), -1); /* cannot wake anybody */
	CU_ASSERT_EQUAL(port.ops->rx_burst(&port, burst, BURST_MAX), 0);
	for (unsigned i = 0; i < BURST_MAX; i++) {
		struct frame_spec spec = with_payload(udp4, (uint16_t)i);

		burst[i] = outgoing(&spec, 0, 0, 2000);
		packet_of(burst[i])->in_port = 99;
	}
	CU_ASSERT_EQUAL(port.ops->tx_burst(&port, 0, burst, BURST_MAX), BURST_MAX);
	CU_ASSERT_EQUAL(port.ops->rx_burst(&port, burst, BURST_MAX), BURST_MAX);
	for (unsigned i = 0; i < BURST_MAX; i++)
		CU_ASSERT_EQUAL(check_and_free(burst[i]), i);
	port.ops->close(&port);
	CU_ASSERT_EQUAL(rte_mempool_avail_count(pool), MBUFS);
	/* gone, and can come again */
	CU_ASSERT_EQUAL(rte_eth_dev_count_avail(), 0);
	port = opened("net_ring0");
	port.ops->close(&port);
}

static void
test_debts(void)
{
	const uint64_t partial = RTE_MBUF_F_RX_L4_CKSUM_NONE;
	const uint64_t many = partial | RTE_MBUF_F_RX_LRO;
	const struct {
		struct frame_spec spec;
		uint64_t flags;
		uint16_t segment_size;
		uint16_t first;
		uint16_t expected; /* frames that come out */
	} cases[] = {
		{udp4, partial, 0, 2000, 1},
		{tcp4, partial, 0, 2000, 1},
		{tcp6, partial, 0, 2000, 1},
		{with_payload(tcp6, 1401), partial, 0, 77, 1},
		{with_payload(tcp4, 1400), 0, 0, 99, 1},
		{with_payload(tcp4, 9000), many, 1448, 2000, 7},
		{with_payload(tcp6, 9000), many, 1428, 111, 7},
		{with_payload(udp4, 9000), many, 1000, 2000, 9},
		{with_payload(tcp4, 100), many, 1448, 2000, 1},
	};
	struct port port = opened("net_ring0");
	struct rte_mbuf *burst[BURST_MAX];
	uint16_t got;

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		uint32_t payload = 0;

		/* between two ordinary frames, to see that the order stays */
		burst[0] = outgoing(&udp4, 0, 0, 2000);
		burst[1] = outgoing(
			&cases[i].spec, cases[i].flags, cases[i].segment_size, cases[i].first);
		burst[2] = outgoing(&udp4, 0, 0, 2000);
		CU_ASSERT_EQUAL(port.ops->tx_burst(&port, 0, burst, 3), 3);
		got = port.ops->rx_burst(&port, burst, BURST_MAX);

		CU_ASSERT_EQUAL_FATAL(got, cases[i].expected + 2);
		CU_ASSERT_EQUAL(check_and_free(burst[0]), udp4.payload);
		for (uint16_t j = 1; j < got - 1; j++)
			payload += check_and_free(burst[j]);
		CU_ASSERT_EQUAL(payload, cases[i].spec.payload);
		CU_ASSERT_EQUAL(check_and_free(burst[got - 1]), udp4.payload);
	}
	port.ops->close(&port);
	CU_ASSERT_EQUAL(rte_mempool_avail_count(pool), MBUFS);
}

/* What cannot go out is freed, and does not take its neighbours with it. */
static void
test_unsendable(void)
{
	struct port port = opened("net_ring0");
	struct frame_spec long_one = with_payload(udp4, 1600);
	struct frame_spec many = with_payload(tcp4, 9000);
	struct rte_mbuf *burst[BURST_MAX];
	unsigned sent = 0;

	burst[0] = outgoing(&udp4, 0, 0, 2000);
	burst[1] = outgoing(&long_one, 0, 0, 2000); /* over the MTU */
	burst[2] = outgoing(&many, RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE, 1, 2000);
	burst[3] = outgoing(&udp4, 0, 0, 2000);
	CU_ASSERT_EQUAL(port.ops->tx_burst(&port, 0, burst, 4), 2);
	CU_ASSERT_EQUAL(port.ops->rx_burst(&port, burst, BURST_MAX), 2);
	CU_ASSERT_EQUAL(check_and_free(burst[0]), udp4.payload);
	CU_ASSERT_EQUAL(check_and_free(burst[1]), udp4.payload);
	/* a full device */
	for (unsigned i = 0; i < 40; i++) {
		for (unsigned j = 0; j < BURST_MAX; j++)
			burst[j] = outgoing(&udp4, 0, 0, 2000);
		sent += port.ops->tx_burst(&port, 0, burst, BURST_MAX);
	}
	CU_ASSERT_TRUE(sent < 40 * BURST_MAX);
	CU_ASSERT_EQUAL(rte_mempool_avail_count(pool), MBUFS - sent);
	for (unsigned left = sent; left > 0;) {
		uint16_t got = port.ops->rx_burst(&port, burst, BURST_MAX);

		CU_ASSERT_NOT_EQUAL_FATAL(got, 0);
		rte_pktmbuf_free_bulk(burst, got);
		left -= got;
	}
	port.ops->close(&port);
	CU_ASSERT_EQUAL(rte_mempool_avail_count(pool), MBUFS);
}

/* What devices say of a frame, and what may be believed. */
static void
test_receive_flags(void)
{
	const struct {
		uint64_t device;
		uint64_t expected;
	} cases[] = {
		{RTE_MBUF_F_RX_L4_CKSUM_GOOD, RTE_MBUF_F_RX_L4_CKSUM_GOOD},
		{RTE_MBUF_F_RX_L4_CKSUM_BAD, RTE_MBUF_F_RX_L4_CKSUM_BAD},
		{RTE_MBUF_F_RX_L4_CKSUM_NONE, 0}, /* not virtio: no promise */
		{RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_RSS_HASH, 0},
		{RTE_MBUF_F_RX_LRO, 0},
	};
	struct port port = opened("net_ring0");
	struct rte_mbuf *mbuf;
	struct frame frame;
	uint16_t id;

	CU_ASSERT_EQUAL_FATAL(rte_eth_dev_get_port_by_name("net_ring0", &id), 0);
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		mbuf = outgoing(&tcp4, 0, 0, 2000);
		mbuf->ol_flags = cases[i].device;
		CU_ASSERT_EQUAL_FATAL(rte_eth_tx_burst(id, 0, &mbuf, 1), 1);
		CU_ASSERT_EQUAL_FATAL(port.ops->rx_burst(&port, &mbuf, 1), 1);
		CU_ASSERT_EQUAL(mbuf->ol_flags, cases[i].expected);
		rte_pktmbuf_free(mbuf);
	}
	/* a tag the device took out is put back */
	mbuf = outgoing(&tcp4, 0, 0, 2000);
	mbuf->ol_flags = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	mbuf->vlan_tci = 0x2065;
	CU_ASSERT_EQUAL_FATAL(rte_eth_tx_burst(id, 0, &mbuf, 1), 1);
	CU_ASSERT_EQUAL_FATAL(port.ops->rx_burst(&port, &mbuf, 1), 1);
	frame_of_mbuf(&frame, mbuf);
	CU_ASSERT_EQUAL(memcmp(frame.bytes + 12, "\x81\x00\x20\x65\x08\x00", 6), 0);
	rte_pktmbuf_free(mbuf);
	port.ops->close(&port);
	CU_ASSERT_EQUAL(rte_mempool_avail_count(pool), MBUFS);
}

#define SHARED_BURST 8
#define SENDINGS 30

struct sending {
	struct port *port;
	struct rte_mbuf **frames; /* SENDINGS bursts of SHARED_BURST */
	unsigned worker;
	unsigned sent;
};

static void *
send_many(void *argument)
{
	struct sending *sending = argument;

	for (unsigned i = 0; i < SENDINGS; i++)
		sending->sent += sending->port->ops->tx_burst(sending->port, sending->worker,
			sending->frames + (size_t)i * SHARED_BURST, SHARED_BURST);
	return NULL;
}

/* @return frames in a capture, all of them sound */
static unsigned
frames_in_capture(const char *path)
{
	char error[PCAP_ERRBUF_SIZE];
	struct pcap_pkthdr *header;
	const uint8_t *bytes;
	unsigned count = 0;
	pcap_t *capture = pcap_open_offline(path, error);

	CU_ASSERT_PTR_NOT_NULL_FATAL(capture);
	while (pcap_next_ex(capture, &header, &bytes) == 1) {
		CU_ASSERT_EQUAL(frame_faults(bytes, header->caplen), 0);
		count++;
	}
	pcap_close(capture);
	return count;
}

/* A capture has one queue for all workers: they share it, and nothing is lost or mixed up. */
static void
test_shared_queue(void)
{
	static struct rte_mbuf *frames[WORKERS][SENDINGS * SHARED_BURST];
	char path[] = "/tmp/sluice-test-XXXXXX";
	char devargs[128];
	struct sending sending[WORKERS];
	pthread_t thread[WORKERS];
	struct rte_eth_stats statistics;
	struct port port;
	int fd = mkstemp(path);
	uint16_t id;

	CU_ASSERT_TRUE_FATAL(fd >= 0);
	close(fd);
	snprintf(devargs, sizeof(devargs), "net_pcap1,tx_pcap=%s", path);
	port = opened(devargs);
	for (unsigned i = 0; i < WORKERS; i++)
		for (unsigned j = 0; j < SENDINGS * SHARED_BURST; j++)
			frames[i][j] = outgoing(&tcp4, RTE_MBUF_F_RX_L4_CKSUM_NONE, 0, 2000);
	for (unsigned i = 0; i < WORKERS; i++) {
		sending[i] = (struct sending){&port, frames[i], i, 0};
		CU_ASSERT_EQUAL_FATAL(pthread_create(&thread[i], NULL, send_many, &sending[i]), 0);
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		pthread_join(thread[i], NULL);
		CU_ASSERT_EQUAL(sending[i].sent, SENDINGS * SHARED_BURST);
	}
	/* the driver counts without a lock of its own */
	CU_ASSERT_EQUAL_FATAL(rte_eth_dev_get_port_by_name("net_pcap1", &id), 0);
	CU_ASSERT_EQUAL(rte_eth_stats_get(id, &statistics), 0);
	CU_ASSERT_EQUAL(statistics.opackets, WORKERS * SENDINGS * SHARED_BURST);
	port.ops->close(&port);
	CU_ASSERT_EQUAL(frames_in_capture(path), WORKERS * SENDINGS * SHARED_BURST);
	unlink(path);
	CU_ASSERT_EQUAL(rte_mempool_avail_count(pool), MBUFS);
}

static void
test_null(void)
{
	struct port port = opened("net_null0,size=60");
	struct rte_mbuf *burst[BURST_MAX];
	uint16_t got = port.ops->rx_burst(&port, burst, BURST_MAX);

	CU_ASSERT_TRUE(got > 0);
	for (uint16_t i = 0; i < got; i++) {
		CU_ASSERT_EQUAL(burst[i]->pkt_len, 60);
		CU_ASSERT_EQUAL(packet_of(burst[i])->in_port, 7);
	}
	rte_pktmbuf_free_bulk(burst, got);
	burst[0] = outgoing(&udp4, 0, 0, 2000);
	CU_ASSERT_EQUAL(port.ops->tx_burst(&port, WORKERS - 1, burst, 1), 1);
	port.ops->close(&port);
	CU_ASSERT_EQUAL(rte_mempool_avail_count(pool), MBUFS);
}

/* From one capture into another, through the port. */
static void
test_pcap(void)
{
	char directory[] = "/tmp/sluice-test-XXXXXX";
	char in[64];
	char out[64];
	char devargs[256];
	struct rte_mbuf *burst[BURST_MAX];
	struct frame frame;
	struct port port;
	pcap_t *capture;
	pcap_dumper_t *dumper;
	uint16_t got;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
	snprintf(in, sizeof(in), "%s/in.pcap", directory);
	snprintf(out, sizeof(out), "%s/out.pcap", directory);
	capture = pcap_open_dead(DLT_EN10MB, 65535);
	dumper = pcap_dump_open(capture, in);
	CU_ASSERT_PTR_NOT_NULL_FATAL(dumper);
	for (unsigned i = 0; i < 10; i++) {
		struct frame_spec spec = with_payload(tcp4, (uint16_t)(100 * i));
		struct pcap_pkthdr first = {.ts.tv_sec = 1};

		frame_build(&frame, &spec);
		first.caplen = first.len = frame.length;
		pcap_dump((u_char *)dumper, &first, frame.bytes);
	}
	pcap_dump_close(dumper);
	pcap_close(capture);
	snprintf(devargs, sizeof(devargs), "net_pcap3,rx_pcap=%s,tx_pcap=%s", in, out);
	port = opened(devargs);
	while ((got = port.ops->rx_burst(&port, burst, BURST_MAX)) > 0) {
		CU_ASSERT_EQUAL(parse_burst(burst, got), got);
		CU_ASSERT_EQUAL(port.ops->tx_burst(&port, 0, burst, got), got);
	}
	port.ops->close(&port);
	CU_ASSERT_EQUAL(frames_in_capture(out), 10);
	unlink(in);
	unlink(out);
	rmdir(directory);
	CU_ASSERT_EQUAL(rte_mempool_avail_count(pool), MBUFS);
}

static int
readable(const struct port *port)
{
	struct pollfd wait = {port->ops->wait_fd(port), POLLIN, 0};

	return poll(&wait, 1, 0);
}

/* A device with a receive interrupt wakes who waits for it, and only then. */
static void
test_interrupt(void)
{
	struct rte_mbuf *burst[BURST_MAX];
	struct sockaddr_ll address = {.sll_family = AF_PACKET};
	struct frame frame;
	struct port port;
	int fd;

	if (unshare(CLONE_NEWNET) != 0) {
		fputs("no network namespace: left out ", stdout);
		return;
	}
	port = opened("net_tap0,iface=tap0");
	address.sll_ifindex = (int)if_nametoindex("tap0");
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	CU_ASSERT_FATAL(fd >= 0 && address.sll_ifindex > 0);
	CU_ASSERT_FATAL(port.ops->wait_fd(&port) >= 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(port.ops->wait_arm);
	/* the kernel may have asked for neighbours of its own */
	while (port.ops->rx_burst(&port, burst, 1) == 1)
		rte_pktmbuf_free(burst[0]);
	frame_build(&frame, &udp4);
	for (unsigned i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(port.ops->wait_arm(&port, true), 0);
		CU_ASSERT_EQUAL(readable(&port), 0);
		CU_ASSERT_EQUAL(sendto(fd, frame.bytes, frame.length, 0,
					(const struct sockaddr *)&address, sizeof(address)),
			(ssize_t)frame.length);
		CU_ASSERT_EQUAL(readable(&port), 1);
		CU_ASSERT_EQUAL(port.ops->wait_arm(&port, false), 0);
		CU_ASSERT_EQUAL_FATAL(port.ops->rx_burst(&port, burst, BURST_MAX), 1);
		rte_pktmbuf_free(burst[0]);
	}
	close(fd);
	port.ops->close(&port);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"devices are refused with a reason", test_refusals},
		{"frames come and go", test_plain},
		{"checksums and segments in software", test_debts},
		{"what cannot be sent", test_unsendable},
		{"what devices say of frames", test_receive_flags},
		{"a queue for several workers", test_shared_queue},
		{"net_null", test_null},
		{"net_pcap", test_pcap},
		{"a receive interrupt", test_interrupt},
	};

	unit_eal();
	rte_log_set_level_pattern("*", RTE_LOG_CRIT);
	pool = rte_pktmbuf_pool_create("test", MBUFS, 0,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN), 2176, SOCKET_ID_ANY);
	if (pool == NULL)
		return 1;
	return UNIT_RUN("port_ethdev", tests);
}
