/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel port on one end of a veth pair, in a network namespace of this program alone. The
 * other end is a plain packet socket that says and hears everything a driver could, with the
 * virtio_net_hdr in front of each frame.
 */
#include "app/port.h"
#include "app/quiet.h"
#include "classifier/parse.h"
#include "tests/unit/frames.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <rte_ether.h>
#include <rte_tcp.h>

#define SKIPPED 77
#define MBUFS 2048
#define LONGEST (14 + 40 + UINT16_MAX) /* the longest IPv6 packet in Ethernet */
#define WAIT_MS 2000
#define VNET_SIZE sizeof(struct virtio_net_hdr)

static struct rte_mempool *pool;
static struct port port;
static int peer; /* packet socket on the other end */
static char reported[1024];

static void
report_keep(void *context, const char *line)
{
	(void)context;
	snprintf(reported, sizeof(reported), "%s", line);
}

static const struct report report = {report_keep, NULL};

/* ---- the world ---------------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static bool
command(const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return system(text) == 0;
}

/* A packet socket on an interface, with virtio_net_hdr; protocol 0 only sends. */
static int
packet_socket(const char *ifname, uint16_t protocol)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = rte_cpu_to_be_16(protocol),
		.sll_ifindex = (int)if_nametoindex(ifname),
	};
	int on = 1;
	int buffer = 32 << 20;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) != 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) != 0 ||
		bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		perror("packet socket");
		exit(1);
	}
	return fd;
}

static int
open_port(struct port *which, const char *ifname, struct rte_mempool *from)
{
	const struct port_setup setup = {from, 2, &report};
	const struct conf_port conf = {
		.name = "work",
		.device = DEVICE_KERNEL,
		.argument = (char *)(uintptr_t)ifname,
	};

	reported[0] = '\0';
	memset(which, 0, sizeof(*which));
	which->index = 5;
	return port_open(which, &conf, &setup);
}

static void
send_with(const struct virtio_net_hdr *vnet, const uint8_t *bytes, uint32_t length)
{
	struct iovec vector[2] = {
		{(void *)(uintptr_t)vnet, VNET_SIZE},
		{(void *)(uintptr_t)bytes, length},
	};

	CU_ASSERT_EQUAL(writev(peer, vector, 2), (ssize_t)(VNET_SIZE + length));
}

static void
send_plain(const struct frame *frame)
{
	const struct virtio_net_hdr plain = {0};

	send_with(&plain, frame->bytes, frame->length);
}

/* The header a kernel gives a frame with these debts. */
static struct virtio_net_hdr
vnet_of(const struct frame_spec *spec, uint16_t l4, uint16_t segment_size)
{
	bool is_udp = spec->protocol == IPPROTO_UDP;
	struct virtio_net_hdr vnet = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = l4,
		.csum_offset = is_udp ? 6 : 16,
	};

	if (segment_size != 0) {
		vnet.gso_size = segment_size;
		vnet.hdr_len = (uint16_t)(l4 + (is_udp ? 8 : 20 + spec->tcp_options));
		vnet.gso_type = is_udp                              ? 5 /* UDP_L4 */
				: strchr(spec->source, ':') != NULL ? VIRTIO_NET_HDR_GSO_TCPV6
								    : VIRTIO_NET_HDR_GSO_TCPV4;
	}
	return vnet;
}

static uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Wait for `count` frames from the port. @return how many came in time */
static unsigned
receive(struct rte_mbuf **burst, unsigned count)
{
	uint64_t until = now_ms() + WAIT_MS;
	unsigned got = 0;

	while (got < count && now_ms() < until) {
		struct pollfd wait = {port.ops->wait_fd(&port), POLLIN, 0};
		uint16_t room = (uint16_t)RTE_MIN(count - got, (unsigned)BURST_MAX);
		uint16_t now = port.ops->rx_burst(&port, burst + got, room);

		got += now;
		if (now == 0)
			poll(&wait, 1, 10);
	}
	return got;
}

static struct rte_mbuf *
receive_one(void)
{
	struct rte_mbuf *mbuf = NULL;

	CU_ASSERT_EQUAL_FATAL(receive(&mbuf, 1), 1);
	CU_ASSERT_EQUAL(packet_of(mbuf)->in_port, 5);
	CU_ASSERT_EQUAL(rte_mbuf_check(mbuf, 1, &(const char *){NULL}), 0);
	return mbuf;
}

static void
expect_silence(void)
{
	struct rte_mbuf *mbuf;
	struct pollfd wait = {port.ops->wait_fd(&port), POLLIN, 0};

	poll(&wait, 1, 20);
	CU_ASSERT_EQUAL(port.ops->rx_burst(&port, &mbuf, 1), 0);
}

static void
expect_bytes(const struct rte_mbuf *mbuf, const uint8_t *bytes, uint32_t length)
{
	static uint8_t room[LONGEST + 64];
	const uint8_t *got = rte_pktmbuf_read(mbuf, 0, mbuf->pkt_len, room);

	CU_ASSERT_EQUAL_FATAL(mbuf->pkt_len, length);
	CU_ASSERT_EQUAL(memcmp(got, bytes, length), 0);
}

static void
expect_no_leak(void)
{
	CU_ASSERT_EQUAL(rte_mempool_avail_count(pool), MBUFS);
}

/* What arrives at the far end. @return bytes of the frame, 0 when nothing came in time */
static uint32_t
hear(struct virtio_net_hdr *vnet, uint8_t *bytes, uint32_t room)
{
	struct iovec vector[2] = {{vnet, VNET_SIZE}, {bytes, room}};
	struct pollfd wait = {peer, POLLIN, 0};
	ssize_t got;

	if (poll(&wait, 1, WAIT_MS) != 1)
		return 0;
	got = readv(peer, vector, 2);
	return got < (ssize_t)VNET_SIZE ? 0 : (uint32_t)((size_t)got - VNET_SIZE);
}

static const struct frame_spec udp4 = {
	.source = "10.137.0.16",
	.destination = "192.0.2.1",
	.protocol = IPPROTO_UDP,
	.source_port = 1000,
	.destination_port = 2000,
};

static const struct frame_spec tcp4 = {
	.source = "10.137.0.16",
	.destination = "192.0.2.1",
	.protocol = IPPROTO_TCP,
	.tcp_flags = RTE_TCP_ACK_FLAG,
	.tcp_options = 12,
};

static const struct frame_spec tcp6 = {
	.source = "fd00::16",
	.destination = "2001:db8::1",
	.protocol = IPPROTO_TCP,
	.tcp_flags = RTE_TCP_ACK_FLAG,
	.tcp_options = 12,
};

/* ---- opening ------------------------------------------------------------------------------ */

static void
test_refusals(void)
{
	struct port other;

	CU_ASSERT_EQUAL(open_port(&other, "vif4.0", pool), -ENODEV);
	CU_ASSERT_STRING_EQUAL(reported,
		"port work: device kernel:vif4.0: no such interface (`ip link` shows those that "
		"exist)");
	CU_ASSERT_EQUAL(open_port(&other, "lo", pool), -EPROTOTYPE);
	CU_ASSERT_PTR_NOT_NULL(strstr(reported, "not an Ethernet interface"));

	CU_ASSERT_TRUE_FATAL(command("ip link add spare type veth peer name spare-end && "
				     "ip address add 192.168.50.1/24 dev spare"));
	CU_ASSERT_EQUAL(open_port(&other, "spare", pool), -EADDRINUSE);
	CU_ASSERT_STRING_EQUAL(reported,
		"port work: device kernel:spare: spare has address 192.168.50.1/24: sluice owns "
		"this interface, remove it with `ip address flush dev spare`");
	CU_ASSERT_TRUE(command("ip address flush dev spare && "
			       "ip address add 2001:db8::1/64 dev spare"));
	CU_ASSERT_EQUAL(open_port(&other, "spare", pool), -EADDRINUSE);
	CU_ASSERT_PTR_NOT_NULL(strstr(reported, "2001:db8::1/64"));
	CU_ASSERT_TRUE(command("ip link delete spare"));
	expect_no_leak();
}

static void
test_names(void)
{
	static const char *const bad[] = {
		"", ".", "..", "../x", "a b", "a\"b", "a;b", "a{b", "sixteen-letters-", "a\nb"};
	char error[256];

	for (unsigned i = 0; i < RTE_DIM(bad); i++) {
		CU_ASSERT_EQUAL(quiet_check(bad[i], error, sizeof(error)), -EINVAL);
		CU_ASSERT_EQUAL(quiet_start(bad[i], error, sizeof(error)), -EINVAL);
	}
	CU_ASSERT_EQUAL(quiet_check("vif4.0-emu_x", error, sizeof(error)), 0);
}

static void
test_interface(void)
{
	char expected[RTE_ETHER_ADDR_FMT_SIZE];
	char mac[32] = "";
	FILE *output = popen("ip -br link show dev vif7.0", "r");

	CU_ASSERT_PTR_NOT_NULL_FATAL(output);
	CU_ASSERT_EQUAL(fscanf(output, "%*s %*s %31s", mac), 1);
	pclose(output);
	rte_ether_format_addr(expected, sizeof(expected), (const struct rte_ether_addr *)port.mac);
	CU_ASSERT_EQUAL(strcasecmp(expected, mac), 0);
	CU_ASSERT_EQUAL(port.mtu, 1500);
	CU_ASSERT_STRING_EQUAL(port.name, "work");
	CU_ASSERT_STRING_EQUAL(port.ops->kind, "kernel");
}

/* The kernel hears nothing, and opening twice changes nothing. */
static void
test_quiet(void)
{
	char error[256];

	CU_ASSERT_TRUE(command("nft list chain netdev sluice port-vif7.0 | "
			       "grep -q 'hook ingress device \"vif7.0\".*policy drop'"));
	CU_ASSERT_EQUAL(quiet_start("vif7.0", error, sizeof(error)), 0);
	CU_ASSERT_TRUE(command("test \"$(nft list table netdev sluice | grep -c policy)\" = 1"));
	CU_ASSERT_TRUE(command("test \"$(cat /proc/sys/net/ipv6/conf/vif7.0/disable_ipv6)\" = 1"));
	CU_ASSERT_TRUE(command("test \"$(cat /proc/sys/net/ipv4/conf/vif7.0/forwarding)\" = 0"));
}

/* ---- receiving ---------------------------------------------------------------------------- */

static void
test_receive_small(void)
{
	static const uint16_t payloads[] = {0, 1, 18, 100, 1400, 1458};
	struct frame frame;
	struct rte_mbuf *mbuf;

	for (unsigned i = 0; i < RTE_DIM(payloads); i++) {
		struct frame_spec spec = with_payload(udp4, payloads[i]);

		frame_build(&frame, &spec);
		send_plain(&frame);
		mbuf = receive_one();
		expect_bytes(mbuf, frame.bytes, frame.length);
		CU_ASSERT_EQUAL(mbuf->ol_flags, 0);
		CU_ASSERT_EQUAL(mbuf->nb_segs, 1);
		rte_pktmbuf_free(mbuf);
	}
	expect_silence();
	expect_no_leak();
}

static void
test_receive_partial(void)
{
	const struct frame_spec specs[] = {
		with_payload(udp4, 333), with_payload(tcp4, 333), with_payload(tcp6, 333)};
	struct frame frame;
	struct rte_mbuf *mbuf;

	for (unsigned i = 0; i < RTE_DIM(specs); i++) {
		struct virtio_net_hdr vnet =
			vnet_of(&specs[i], strchr(specs[i].source, ':') != NULL ? 54 : 34, 0);

		frame_build(&frame, &specs[i]);
		frame_make_partial(&frame);
		send_with(&vnet, frame.bytes, frame.length);
		mbuf = receive_one();
		expect_bytes(mbuf, frame.bytes, frame.length);
		CU_ASSERT_EQUAL(mbuf->ol_flags, RTE_MBUF_F_RX_L4_CKSUM_NONE);
		rte_pktmbuf_free(mbuf);
	}
	expect_no_leak();
}

static void
test_receive_large(void)
{
	const struct {
		struct frame_spec spec;
		uint16_t l4;
		uint16_t segment_size;
	} cases[] = {
		{with_payload(tcp4, 9000), 34, 1448}, {with_payload(tcp6, 9000), 54, 1428},
		{with_payload(udp4, 9000), 34, 1200},
		{with_payload(tcp4, 1500), 34, 1000}, /* long enough to be cut, short for a slot */
	};
	struct frame frame;
	struct rte_mbuf *mbuf;

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct virtio_net_hdr vnet =
			vnet_of(&cases[i].spec, cases[i].l4, cases[i].segment_size);

		frame_build(&frame, &cases[i].spec);
		frame_make_partial(&frame);
		/* more often than there are slots: each comes back */
		for (unsigned round = 0; round < 150; round++) {
			send_with(&vnet, frame.bytes, frame.length);
			mbuf = receive_one();
			expect_bytes(mbuf, frame.bytes, frame.length);
			CU_ASSERT_EQUAL(mbuf->ol_flags & ~RTE_MBUF_F_EXTERNAL,
				RTE_MBUF_F_RX_L4_CKSUM_NONE | RTE_MBUF_F_RX_LRO);
			CU_ASSERT_EQUAL(mbuf->tso_segsz, cases[i].segment_size);
			CU_ASSERT_EQUAL(parse_burst(&mbuf, 1), 1);
			rte_pktmbuf_free(mbuf);
		}
	}
	expect_silence();
	expect_no_leak();
}

/* A TCP frame as long as can be: too long for one mbuf. */
static void
longest_frame(uint8_t *bytes)
{
	struct frame frame;
	uint32_t sum;

	frame_build(&frame, &tcp6);
	frame_make_partial(&frame);
	memcpy(bytes, frame.bytes, frame.length);
	for (uint32_t i = frame.length; i < LONGEST; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 256);
	bytes[18] = 0xff;
	bytes[19] = 0xff;
	/* the length counts in the pseudo header */
	sum = (uint32_t)(bytes[70] << 8 | bytes[71]) + (LONGEST - frame.length);
	sum = (sum & 0xffff) + (sum >> 16);
	bytes[70] = (uint8_t)(sum >> 8);
	bytes[71] = (uint8_t)sum;
}

static void
test_longest(void)
{
	static uint8_t bytes[LONGEST];
	static uint8_t heard[LONGEST + 1];
	struct virtio_net_hdr vnet = vnet_of(&tcp6, 54, 1428);
	struct rte_mbuf *mbuf;

	longest_frame(bytes);
	for (unsigned round = 0; round < 150; round++) {
		struct virtio_net_hdr answer;

		send_with(&vnet, bytes, LONGEST);
		mbuf = receive_one();
		CU_ASSERT_EQUAL(mbuf->nb_segs, 2);
		expect_bytes(mbuf, bytes, LONGEST);
		CU_ASSERT_EQUAL_FATAL(parse_burst(&mbuf, 1), 1);
		/* and back, as it is */
		CU_ASSERT_EQUAL(port.ops->tx_burst(&port, 1, &mbuf, 1), 1);
		CU_ASSERT_EQUAL(hear(&answer, heard, sizeof(heard)), LONGEST);
		CU_ASSERT_EQUAL(memcmp(heard, bytes, LONGEST), 0);
		CU_ASSERT_EQUAL(answer.gso_size, 1428);
		CU_ASSERT_EQUAL(answer.gso_type, VIRTIO_NET_HDR_GSO_TCPV6);
	}
	expect_no_leak();
}

/* The slot belongs to both mbufs of a long frame: half of it is not free. */
static void
test_longest_in_parts(void)
{
	static uint8_t bytes[LONGEST];
	struct virtio_net_hdr vnet = vnet_of(&tcp6, 54, 1428);
	struct rte_mbuf *first;
	struct rte_mbuf *rest;

	longest_frame(bytes);
	send_with(&vnet, bytes, LONGEST);
	first = receive_one();
	rest = first->next;
	CU_ASSERT_PTR_NOT_NULL_FATAL(rest);
	first->next = NULL;
	first->nb_segs = 1;
	first->pkt_len = first->data_len;
	rte_pktmbuf_free(first);
	/* round the ring as far as it goes; then the kernel waits for this slot */
	memset(bytes + 100, 0xaa, LONGEST - 100);
	for (unsigned i = 0; i < 100; i++) {
		send_with(&vnet, bytes, LONGEST);
		if (receive(&first, 1) != 1)
			break;
		rte_pktmbuf_free(first);
	}
	longest_frame(bytes);
	CU_ASSERT_EQUAL(memcmp(rte_pktmbuf_mtod(rest, uint8_t *), bytes + LONGEST - rest->data_len,
				rest->data_len),
		0);
	rte_pktmbuf_free(rest);
	send_with(&vnet, bytes, LONGEST);
	first = receive_one();
	expect_bytes(first, bytes, LONGEST);
	rte_pktmbuf_free(first);
	expect_no_leak();
}

/* BIG TCP: what does not fit a slot comes cut short, and is no frame any more. */
static void
test_too_long(void)
{
	static uint8_t bytes[LONGEST + 4000];
	struct virtio_net_hdr vnet = vnet_of(&tcp6, 54, 1428);
	uint64_t dropped = port.rx_dropped;

	longest_frame(bytes);
	for (unsigned i = 0; i < 100; i++) {
		send_with(&vnet, bytes, sizeof(bytes));
		expect_silence();
	}
	CU_ASSERT_EQUAL(port.rx_dropped, dropped + 100);
	expect_no_leak();
}

/* Long and short frames use different rings; the order is that of the wire. */
static void
test_order(void)
{
	struct frame_spec spec = with_payload(tcp4, 9000);
	struct virtio_net_hdr vnet = vnet_of(&spec, 34, 1448);
	struct rte_mbuf *burst[100];
	struct frame large;
	struct frame small;
	unsigned got;

	frame_build(&large, &spec);
	frame_make_partial(&large);
	spec = with_payload(udp4, 30);
	frame_build(&small, &spec);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < RTE_DIM(burst); i++) {
			/* another pattern each round, and every frame carries its number */
			struct frame *frame = ((i ^ round) * 7) % 5 < 2 ? &large : &small;

			frame->bytes[0] = (uint8_t)i;
			if (frame == &large)
				send_with(&vnet, frame->bytes, frame->length);
			else
				send_plain(frame);
		}
		got = receive(burst, RTE_DIM(burst));
		CU_ASSERT_EQUAL(got, RTE_DIM(burst));
		for (unsigned i = 0; i < got; i++)
			CU_ASSERT_EQUAL(*rte_pktmbuf_mtod(burst[i], uint8_t *), i);
		rte_pktmbuf_free_bulk(burst, got);
	}
	expect_no_leak();
}

/* A checksum that no flag of ours describes is completed on the spot. */
static void
test_receive_odd_partial(void)
{
	static const uint8_t hop_by_hop[8] = {IPPROTO_TCP, 0, 1, 4, 0, 0, 0, 0};
	struct frame_spec spec = with_payload(tcp6, 200);
	struct virtio_net_hdr vnet;
	struct frame complete;
	struct frame partial;
	struct rte_mbuf *mbuf;
	uint64_t dropped = port.rx_dropped;
	uint16_t sum;

	spec.extensions = hop_by_hop;
	spec.extensions_length = sizeof(hop_by_hop);
	spec.first_extension = IPPROTO_HOPOPTS;
	frame_build(&complete, &spec);
	partial = complete;
	frame_make_partial(&partial);
	vnet = vnet_of(&spec, 62, 0);
	send_with(&vnet, partial.bytes, partial.length);
	mbuf = receive_one();
	expect_bytes(mbuf, complete.bytes, complete.length);
	CU_ASSERT_EQUAL(mbuf->ol_flags, 0);
	rte_pktmbuf_free(mbuf);

	/* A checksum further in, as of a tunnel. */
	spec = with_payload(udp4, 200);
	spec.no_checksum = true;
	frame_build(&complete, &spec);
	partial = complete;
	sum = (uint16_t)~frame_sum(0, complete.bytes + 60, complete.length - 60);
	complete.bytes[64] = (uint8_t)(sum >> 8);
	complete.bytes[65] = (uint8_t)sum;
	vnet = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 60, .csum_offset = 4};
	send_with(&vnet, partial.bytes, partial.length);
	mbuf = receive_one();
	expect_bytes(mbuf, complete.bytes, complete.length);
	CU_ASSERT_EQUAL(mbuf->ol_flags, 0);
	rte_pktmbuf_free(mbuf);
	spec = with_payload(tcp6, 200);
	spec.extensions = hop_by_hop;
	spec.extensions_length = sizeof(hop_by_hop);
	spec.first_extension = IPPROTO_HOPOPTS;

	/* The first as a long frame is nothing that can be promised to anybody. */
	spec.payload = 9000;
	frame_build(&partial, &spec);
	frame_make_partial(&partial);
	vnet = vnet_of(&spec, 62, 1400);
	send_with(&vnet, partial.bytes, partial.length);
	expect_silence();
	CU_ASSERT_EQUAL(port.rx_dropped, dropped + 1);
	expect_no_leak();
}

/* The kernel takes VLAN tags out of frames; judged must be what was on the wire. */
static void
test_vlan(void)
{
	struct frame_spec spec = with_payload(udp4, 100);
	struct frame plain;
	struct frame tagged;
	struct rte_mbuf *mbuf;

	frame_build(&plain, &spec);
	tagged = plain;
	tagged.length += 4;
	memmove(tagged.bytes + 16, plain.bytes + 12, plain.length - 12);
	memcpy(tagged.bytes + 12, "\x81\x00\x20\x65", 4);
	send_plain(&tagged);
	mbuf = receive_one();
	expect_bytes(mbuf, tagged.bytes, tagged.length);
	CU_ASSERT_EQUAL(parse_burst(&mbuf, 1), 0);
	CU_ASSERT_EQUAL(packet_of(mbuf)->reason, REASON_VLAN);
	rte_pktmbuf_free(mbuf);
	expect_no_leak();
}

/* A flood beyond the ring is counted, and the port goes on. */
static void
test_overflow(void)
{
	struct frame_spec spec = with_payload(udp4, 18);
	struct rte_mbuf *burst[BURST_MAX];
	struct frame frame;
	uint64_t dropped = port.rx_dropped;
	unsigned received = 0;
	unsigned now;

	frame_build(&frame, &spec);
	for (unsigned i = 0; i < 3000; i++)
		send_plain(&frame);
	do {
		/* one that comes after the loss tells of it */
		if (received == 0)
			send_plain(&frame);
		now = port.ops->rx_burst(&port, burst, BURST_MAX);
		rte_pktmbuf_free_bulk(burst, now);
		received += now;
	} while (now > 0);
	send_plain(&frame);
	rte_pktmbuf_free(receive_one());
	CU_ASSERT_TRUE(received >= 1000);
	CU_ASSERT_EQUAL(received + (port.rx_dropped - dropped), 3001);
	expect_silence();
	expect_no_leak();
}

static void *
free_elsewhere(void *argument)
{
	struct rte_mbuf **burst = argument;

	for (unsigned i = 0; i < BURST_MAX; i++)
		rte_pktmbuf_free(burst[i]);
	return NULL;
}

/* Slots that somebody holds make later frames wait or get lost, never get mixed up. */
static void
test_held_slots(void)
{
	struct frame_spec spec = with_payload(tcp4, 9000);
	struct virtio_net_hdr vnet = vnet_of(&spec, 34, 1448);
	struct rte_mbuf *burst[BURST_MAX] = {NULL};
	struct rte_mbuf *more;
	struct frame frame;
	unsigned held;
	pthread_t thread;

	frame_build(&frame, &spec);
	frame_make_partial(&frame);
	for (unsigned i = 0; i < 100; i++)
		send_with(&vnet, frame.bytes, frame.length);
	/* the ring is shorter than a burst, which must not read a slot twice */
	held = port.ops->rx_burst(&port, burst, BURST_MAX);
	CU_ASSERT_TRUE(held >= 30);
	CU_ASSERT_EQUAL(port.ops->rx_burst(&port, &more, 1), 0);
	/* short frames do not care */
	spec = with_payload(udp4, 50);
	frame_build(&frame, &spec);
	send_plain(&frame);
	more = receive_one();
	expect_bytes(more, frame.bytes, frame.length);
	rte_pktmbuf_free(more);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, free_elsewhere, burst), 0);
	pthread_join(thread, NULL);
	spec = with_payload(tcp4, 9000);
	frame_build(&frame, &spec);
	frame_make_partial(&frame);
	send_with(&vnet, frame.bytes, frame.length);
	more = receive_one();
	expect_bytes(more, frame.bytes, frame.length);
	rte_pktmbuf_free(more);
	expect_silence();
	CU_ASSERT_EQUAL(rte_mempool_avail_count(pool), MBUFS);
}

/* Without mbufs, frames wait in the rings. */
static void
test_no_mbufs(void)
{
	struct frame_spec spec = with_payload(tcp4, 9000);
	struct virtio_net_hdr vnet = vnet_of(&spec, 34, 1448);
	static struct rte_mbuf *all[MBUFS];
	struct rte_mbuf *burst[BURST_MAX];
	struct frame large;
	struct frame small;

	frame_build(&large, &spec);
	frame_make_partial(&large);
	spec = with_payload(udp4, 50);
	frame_build(&small, &spec);
	CU_ASSERT_EQUAL_FATAL(rte_pktmbuf_alloc_bulk(pool, all, MBUFS), 0);
	send_plain(&small);
	send_with(&vnet, large.bytes, large.length);
	send_plain(&small);
	expect_silence();
	CU_ASSERT_EQUAL(port.ops->rx_burst(&port, burst, BURST_MAX), 0);
	rte_pktmbuf_free_bulk(all, MBUFS);
	CU_ASSERT_EQUAL_FATAL(receive(burst, 3), 3);
	expect_bytes(burst[0], small.bytes, small.length);
	expect_bytes(burst[1], large.bytes, large.length);
	expect_bytes(burst[2], small.bytes, small.length);
	rte_pktmbuf_free_bulk(burst, 3);
	expect_no_leak();
}

static void
test_wait(void)
{
	struct frame_spec spec = with_payload(tcp4, 9000);
	struct virtio_net_hdr vnet = vnet_of(&spec, 34, 1448);
	struct pollfd wait = {port.ops->wait_fd(&port), POLLIN, 0};
	struct frame frame;

	expect_silence();
	CU_ASSERT_EQUAL(poll(&wait, 1, 0), 0);
	frame_build(&frame, &spec);
	frame_make_partial(&frame);
	send_with(&vnet, frame.bytes, frame.length);
	CU_ASSERT_EQUAL(poll(&wait, 1, WAIT_MS), 1);
	rte_pktmbuf_free(receive_one());
	CU_ASSERT_EQUAL(poll(&wait, 1, 0), 0);
	spec = with_payload(udp4, 50);
	frame_build(&frame, &spec);
	send_plain(&frame);
	CU_ASSERT_EQUAL(poll(&wait, 1, WAIT_MS), 1);
	rte_pktmbuf_free(receive_one());
	CU_ASSERT_EQUAL(poll(&wait, 1, 0), 0);
}

/* ---- sending ------------------------------------------------------------------------------ */

/* An mbuf as the data path would hand it over. */
static struct rte_mbuf *
outgoing(const struct frame_spec *spec, uint64_t flags, uint16_t segment_size, struct frame *frame,
	uint32_t first)
{
	struct rte_mbuf *mbuf;

	frame_build(frame, spec);
	if (flags != 0)
		frame_make_partial(frame);
	mbuf = frame_mbuf_chain(pool, frame->bytes, frame->length, first, 2000);
	CU_ASSERT_EQUAL_FATAL(parse_burst(&mbuf, 1), 1);
	mbuf->ol_flags |= flags;
	mbuf->tso_segsz = segment_size;
	return mbuf;
}

static void
test_send(void)
{
	const uint64_t partial = RTE_MBUF_F_RX_L4_CKSUM_NONE;
	const uint64_t many = partial | RTE_MBUF_F_RX_LRO;
	struct frame_spec ecn = with_payload(tcp4, 5000);
	struct {
		struct frame_spec spec;
		uint64_t flags;
		uint16_t segment_size, l4;
		uint8_t gso_type;
	} cases[] = {
		{with_payload(udp4, 0), 0, 0, 34, 0},
		{with_payload(udp4, 1458), 0, 0, 34, 0},
		{with_payload(udp4, 77), partial, 0, 34, 0},
		{with_payload(tcp4, 77), partial, 0, 34, 0},
		{with_payload(tcp6, 77), partial, 0, 54, 0},
		{with_payload(tcp4, 9000), many, 1448, 34, VIRTIO_NET_HDR_GSO_TCPV4},
		{with_payload(tcp6, 9000), many, 1428, 54, VIRTIO_NET_HDR_GSO_TCPV6},
		{with_payload(udp4, 9000), many, 1200, 34, 5},
		{ecn, many, 1448, 34, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN},
	};
	static uint8_t heard[LONGEST];

	cases[RTE_DIM(cases) - 1].spec.tcp_flags |= RTE_TCP_CWR_FLAG;
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct virtio_net_hdr vnet;
		struct frame frame;
		struct rte_mbuf *mbuf = outgoing(
			&cases[i].spec, cases[i].flags, cases[i].segment_size, &frame, 300);

		CU_ASSERT_EQUAL(port.ops->tx_burst(&port, i & 1, &mbuf, 1), 1);
		CU_ASSERT_EQUAL_FATAL(hear(&vnet, heard, sizeof(heard)), frame.length);
		CU_ASSERT_EQUAL(memcmp(heard, frame.bytes, frame.length), 0);
		CU_ASSERT_EQUAL(vnet.gso_type, cases[i].gso_type);
		CU_ASSERT_EQUAL(vnet.gso_size, cases[i].segment_size);
		if (cases[i].flags != 0) {
			CU_ASSERT_EQUAL(vnet.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
			CU_ASSERT_EQUAL(vnet.csum_start, cases[i].l4);
			CU_ASSERT_EQUAL(
				vnet.csum_offset, cases[i].spec.protocol == IPPROTO_UDP ? 6 : 16);
		}
	}
	expect_no_leak();
}

/* A whole burst arrives in order; the frame that is too long for the interface does not. */
static void
test_send_burst(void)
{
	struct frame_spec spec = with_payload(udp4, 18);
	struct rte_mbuf *burst[BURST_MAX];
	struct virtio_net_hdr vnet;
	struct frame frame;
	static uint8_t heard[LONGEST];

	for (unsigned i = 0; i < BURST_MAX; i++) {
		spec.payload = i == 20 ? 1600 : (uint16_t)(18 + i);
		/* some in many pieces: more than there is room for in one go */
		burst[i] = outgoing(&spec, 0, 0, &frame, i % 3 == 0 ? 42 : 1000);
		if (i % 3 == 0)
			for (unsigned piece = 0; piece < 10; piece++) {
				struct rte_mbuf *byte = rte_pktmbuf_alloc(pool);

				CU_ASSERT_PTR_NOT_NULL_FATAL(byte);
				*(uint8_t *)rte_pktmbuf_append(byte, 1) = (uint8_t)piece;
				CU_ASSERT_EQUAL(rte_pktmbuf_chain(burst[i], byte), 0);
			}
	}
	CU_ASSERT_EQUAL(port.ops->tx_burst(&port, 0, burst, BURST_MAX), BURST_MAX - 1);
	for (unsigned i = 0; i < BURST_MAX; i++) {
		if (i == 20)
			continue;
		CU_ASSERT_EQUAL(
			hear(&vnet, heard, sizeof(heard)), 42 + 18 + i + (i % 3 == 0 ? 10 : 0));
	}
	expect_no_leak();
}

/* Down and up again: nothing hangs, nothing spins, and it works as before. */
static void
test_down_and_up(void)
{
	struct frame_spec spec = with_payload(udp4, 18);
	struct pollfd wait = {port.ops->wait_fd(&port), POLLIN, 0};
	struct virtio_net_hdr vnet;
	struct rte_mbuf *mbuf;
	struct frame frame;
	static uint8_t heard[LONGEST];

	CU_ASSERT_TRUE(command("ip link set vif7.0 down"));
	mbuf = outgoing(&spec, 0, 0, &frame, 1000);
	CU_ASSERT_EQUAL(port.ops->tx_burst(&port, 0, &mbuf, 1), 0);
	for (unsigned i = 0; i < 1000; i++)
		CU_ASSERT_EQUAL(port.ops->rx_burst(&port, &mbuf, 1), 0);
	CU_ASSERT_EQUAL(poll(&wait, 1, 0), 0);
	/* the carrier of both ends comes back when the kernel gets round to it */
	CU_ASSERT_TRUE(command("ip link set vif7.0 up; for try in $(seq 100); do "
			       "test $(ip -br link show | grep -cE '^(vif7.0|far)@.* UP ') = 2 && "
			       "exit 0; sleep 0.05; done; exit 1"));
	mbuf = outgoing(&spec, 0, 0, &frame, 1000);
	CU_ASSERT_EQUAL(port.ops->tx_burst(&port, 0, &mbuf, 1), 1);
	CU_ASSERT_EQUAL(hear(&vnet, heard, sizeof(heard)), frame.length);
	send_plain(&frame);
	mbuf = receive_one();
	expect_bytes(mbuf, frame.bytes, frame.length);
	rte_pktmbuf_free(mbuf);
	expect_no_leak();
}

/* Closing leaves the kernel deaf, and a frame still in somebody's hands readable. */
static void
test_close(void)
{
	struct frame_spec spec = with_payload(tcp4, 9000);
	struct virtio_net_hdr vnet = vnet_of(&spec, 34, 1448);
	struct rte_mbuf *mbuf;
	struct frame frame;

	frame_build(&frame, &spec);
	frame_make_partial(&frame);
	send_with(&vnet, frame.bytes, frame.length);
	CU_ASSERT_TRUE(port.ops->is_idle(&port));
	mbuf = receive_one();
	CU_ASSERT_FALSE(port.ops->is_idle(&port));
	port.ops->close(&port);
	expect_bytes(mbuf, frame.bytes, frame.length);
	rte_pktmbuf_free(mbuf);
	CU_ASSERT_TRUE(command("nft list chain netdev sluice port-vif7.0 | grep -q drop"));
	/* and the next sluice starts where this one stopped */
	CU_ASSERT_EQUAL(open_port(&port, "vif7.0", pool), 0);
	send_with(&vnet, frame.bytes, frame.length);
	mbuf = receive_one();
	CU_ASSERT_FALSE(port.ops->is_idle(&port));
	rte_pktmbuf_free(mbuf);
	CU_ASSERT_TRUE(port.ops->is_idle(&port));
	port.ops->close(&port);
	expect_no_leak();
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"interfaces are refused with a reason", test_refusals},
		{"names", test_names},
		{"what the port knows of its interface", test_interface},
		{"the kernel is quiet", test_quiet},
		{"small frames", test_receive_small},
		{"partial checksums", test_receive_partial},
		{"large frames", test_receive_large},
		{"the longest frame", test_longest},
		{"the longest frame in parts", test_longest_in_parts},
		{"frames longer than that", test_too_long},
		{"order over both rings", test_order},
		{"partial checksums in odd places", test_receive_odd_partial},
		{"VLAN tags come back", test_vlan},
		{"overflow is counted", test_overflow},
		{"held slots", test_held_slots},
		{"no mbufs", test_no_mbufs},
		{"waiting", test_wait},
		{"sending", test_send},
		{"sending a burst", test_send_burst},
		{"down and up", test_down_and_up},
		{"closing", test_close},
	};

	if (unshare(CLONE_NEWNET) != 0) {
		printf("skipped: no network namespace of our own: %s (needs root)\n",
			strerror(errno));
		return SKIPPED;
	}
	/* The far end is kept from talking by itself: no address, no router solicitations. */
	if (!command("ip link add vif7.0 type veth peer name far") ||
		!command("ip link set vif7.0 gso_max_size 131072") ||
		!command("ip link set far gso_max_size 131072") ||
		!command("echo 1 > /proc/sys/net/ipv6/conf/far/disable_ipv6") ||
		!command("ip link set far up") || !command("nft list ruleset")) {
		printf("skipped: needs ip, nft and veth interfaces\n");
		return SKIPPED;
	}
	unit_eal();
	pool = rte_pktmbuf_pool_create("test", MBUFS, 0,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN), 2176, SOCKET_ID_ANY);
	if (pool == NULL || open_port(&port, "vif7.0", pool) != 0) {
		fprintf(stderr, "%s\n", reported);
		return 1;
	}
	if (strcmp(reported, "port work: vif7.0 was down: brought it up") != 0) {
		fprintf(stderr, "unexpected report: %s\n", reported);
		return 1;
	}
	peer = packet_socket("far", 3 /* ETH_P_ALL */);
	return UNIT_RUN("port_kernel", tests);
}
