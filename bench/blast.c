/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A source of 60-byte frames, as fast as one core can send them into a kernel interface.
 *
 *	blast INTERFACE GATEWAY-MAC SOURCE DESTINATION PORT FLOWS SECONDS
 *
 * UDP over IPv4 with 18 bytes of payload and valid checksums; the flows differ in their source
 * port. It sends through a mapped ring that is filled once, past the queueing discipline, so that
 * the cost of a frame is little more than the interface's own. Prints how many frames went out.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#define FRAME_BYTES 60
#define SLOT_BYTES 256
#define SLOTS 1024
#define BATCH 64 /* frames per system call */
#define FIRST_PORT 20000

struct frame {
	struct ether_header ethernet;
	struct iphdr ip;
	struct udphdr udp;
	uint8_t payload[18];
} __attribute__((packed));

static_assert(sizeof(struct frame) == FRAME_BYTES, "a frame without its FCS");

static void
die(const char *what)
{
	fprintf(stderr, "blast: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* One's complement sum of 16-bit words in network order. */
static uint32_t
sum(const void *data, size_t bytes, uint32_t start)
{
	const uint8_t *byte = data;

	for (size_t i = 0; i < bytes; i += 2)
		start += (uint32_t)byte[i] << 8 | byte[i + 1];
	return start;
}

static uint16_t
checksum(uint32_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return htons((uint16_t)~total);
}

static void
frame_fill(struct frame *frame, const struct frame *pattern, unsigned flow)
{
	uint16_t length = sizeof(frame->udp) + sizeof(frame->payload);
	uint32_t total;

	*frame = *pattern;
	frame->udp.source = htons((uint16_t)(FIRST_PORT + flow));
	frame->udp.check = 0;
	total = sum(&frame->ip.saddr, 8, IPPROTO_UDP + (uint32_t)length);
	frame->udp.check = checksum(sum(&frame->udp, length, total));
}

static void
pattern_fill(struct frame *pattern, int fd, char *arguments[])
{
	struct ifreq request = {0};
	struct ether_addr gateway;

	memset(pattern, 0, sizeof(*pattern));
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", arguments[1]);
	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		die(arguments[1]);
	errno = EINVAL;
	if (ether_aton_r(arguments[2], &gateway) == NULL)
		die(arguments[2]);
	memcpy(pattern->ethernet.ether_shost, request.ifr_hwaddr.sa_data, ETHER_ADDR_LEN);
	memcpy(pattern->ethernet.ether_dhost, &gateway, ETHER_ADDR_LEN);
	pattern->ethernet.ether_type = htons(ETHERTYPE_IP);
	pattern->ip.version = 4;
	pattern->ip.ihl = 5;
	pattern->ip.tot_len = htons(sizeof(*pattern) - sizeof(pattern->ethernet));
	pattern->ip.frag_off = htons(IP_DF);
	pattern->ip.ttl = 64;
	pattern->ip.protocol = IPPROTO_UDP;
	if (inet_pton(AF_INET, arguments[3], &pattern->ip.saddr) != 1)
		die(arguments[3]);
	if (inet_pton(AF_INET, arguments[4], &pattern->ip.daddr) != 1)
		die(arguments[4]);
	pattern->ip.check = checksum(sum(&pattern->ip, sizeof(pattern->ip), 0));
	pattern->udp.dest = htons((uint16_t)atoi(arguments[5]));
	pattern->udp.len = htons(sizeof(pattern->udp) + sizeof(pattern->payload));
}

static uint8_t *
ring_open(int fd, const char *interface)
{
	struct tpacket_req ring = {
		.tp_block_size = SLOT_BYTES * SLOTS,
		.tp_block_nr = 1,
		.tp_frame_size = SLOT_BYTES,
		.tp_frame_nr = SLOTS,
	};
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(interface)};
	int version = TPACKET_V2, one = 1;
	void *slots;

	if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) < 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_TX_RING, &ring, sizeof(ring)) < 0)
		die("ring");
	slots = mmap(NULL, (size_t)SLOT_BYTES * SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (slots == MAP_FAILED)
		die("mmap");
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die(interface);
	return slots;
}

static double
now_s(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int
main(int argc, char *argv[])
{
	struct frame pattern;
	uint8_t *slots;
	uint64_t sent = 0;
	unsigned flows, next = 0;
	double end;
	int fd;

	if (argc != 8) {
		fprintf(stderr, "usage: blast INTERFACE GATEWAY-MAC SOURCE DESTINATION PORT FLOWS "
				"SECONDS\n");
		return 2;
	}
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0)
		die("socket");
	pattern_fill(&pattern, fd, argv);
	slots = ring_open(fd, argv[1]);
	flows = (unsigned)atoi(argv[6]);
	if (flows < 1 || flows > SLOTS) {
		fprintf(stderr, "blast: FLOWS: 1 to %d\n", SLOTS);
		return 2;
	}
	for (unsigned i = 0; i < SLOTS; i++)
		frame_fill((struct frame *)(slots + (size_t)i * SLOT_BYTES + TPACKET2_HDRLEN -
					    sizeof(struct sockaddr_ll)),
			&pattern, i % flows);
	end = now_s() + atof(argv[7]);
	while (now_s() < end) {
		for (unsigned i = 0; i < BATCH; i++) {
			struct tpacket2_hdr *slot =
				(struct tpacket2_hdr *)(slots + (size_t)next * SLOT_BYTES);

			if (__atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE) !=
				TP_STATUS_AVAILABLE)
				break;
			slot->tp_len = FRAME_BYTES;
			__atomic_store_n(
				&slot->tp_status, TP_STATUS_SEND_REQUEST, __ATOMIC_RELEASE);
			next = (next + 1) % SLOTS;
			sent++;
		}
		/* a full receiver is not our error */
		if (send(fd, NULL, 0, MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != ENOBUFS)
			die("send");
	}
	printf("%llu\n", (unsigned long long)sent);
	return 0;
}
