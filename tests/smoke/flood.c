/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile qube: frames that each cost the firewall something, as fast as one core can send them.
 *
 *	flood KIND INTERFACE GATEWAY-MAC SOURCE SOURCE6 HOST HOST6 SECONDS
 *
 *	syn		the first segment of a TCP connection, from and to any port
 *	udp		the first datagram of a flow, likewise
 *	fragments	pieces of datagrams whose other pieces never come
 *
 * IPv4 and IPv6 in turns; to random addresses, and every fourth frame to HOST or HOST6, which
 * answers. All checksums are right: what is refused is refused for what it asks. Ends on SIGTERM or
 * after SECONDS, and prints how many frames went out.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#define FRAME_MAX 96
#define BATCH 64 /* frames per system call */
#define DATA 24  /* bytes of a fragment behind the IP header; a multiple of 8 */
#define IPV6_FRAGMENT_HEADER 44
#define IPV6_FRAGMENT_LENGTH 8

enum kind { KIND_SYN, KIND_UDP, KIND_FRAGMENTS };

struct source {
	enum kind kind;
	uint8_t ethernet[2 * ETHER_ADDR_LEN];
	uint8_t from[16], from6[16];
	uint8_t host[16], host6[16];
	uint64_t random;
};

static volatile sig_atomic_t stopped;

static void
stop(int number)
{
	(void)number;
	stopped = 1;
}

static void
die(const char *what)
{
	fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* xorshift64* */
static uint64_t
draw(struct source *source)
{
	source->random ^= source->random >> 12;
	source->random ^= source->random << 25;
	source->random ^= source->random >> 27;
	return source->random * UINT64_C(0x2545f4914f6cdd1d);
}

static void
put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* One's complement sum of 16-bit words in network order. */
static uint32_t
sum(const uint8_t *data, size_t bytes, uint32_t start)
{
	for (size_t i = 0; i < bytes; i += 2)
		start += (uint32_t)data[i] << 8 | data[i + 1];
	return start;
}

static uint16_t
checksum(uint32_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint16_t)~total;
}

/* The transport header and what follows it. @return its length */
static size_t
upper_fill(struct source *source, uint8_t *l4, uint32_t pseudo)
{
	uint64_t random = draw(source);
	size_t length = source->kind == KIND_SYN ? 20 : DATA;

	memset(l4, 0, length);
	put16(l4, 1024 + (uint32_t)(random & 0x7fff));
	put16(l4 + 2, 1 + (uint32_t)(random >> 16 & 0x7fff));
	if (source->kind == KIND_SYN) {
		memcpy(l4 + 4, &random, 4);
		l4[12] = 5 << 4;
		l4[13] = 2; /* SYN */
		put16(l4 + 14, 64240);
		put16(l4 + 16, checksum(sum(l4, length, pseudo + IPPROTO_TCP + (uint32_t)length)));
		return length;
	}
	/* A fragment's datagram would go on for as long. */
	put16(l4 + 4, source->kind == KIND_UDP ? DATA : 3 * DATA);
	put16(l4 + 6, checksum(sum(l4, length, pseudo + IPPROTO_UDP + (uint32_t)length)));
	return length;
}

/* Which piece of a datagram this is: the first, or one from its middle. */
static uint32_t
piece(struct source *source)
{
	return (draw(source) & 1) == 0 ? 0 : DATA / 8;
}

static size_t
ipv4_fill(struct source *source, uint8_t *l3)
{
	uint64_t random = draw(source);
	uint8_t *l4 = l3 + 20;
	size_t length;

	memset(l3, 0, 20);
	l3[0] = 0x45;
	l3[8] = 64;
	l3[9] = source->kind == KIND_SYN ? IPPROTO_TCP : IPPROTO_UDP;
	memcpy(l3 + 12, source->from, 4);
	if ((random & 3) == 0) {
		memcpy(l3 + 16, source->host, 4);
	} else {
		l3[16] = 198; /* RFC 2544: nobody's */
		l3[17] = (uint8_t)(18 + (random >> 8 & 1));
		put16(l3 + 18, (uint32_t)(random >> 16));
	}
	length = 20 + upper_fill(source, l4, sum(l3 + 12, 8, 0));
	if (source->kind == KIND_FRAGMENTS) {
		put16(l3 + 4, (uint32_t)(random >> 32));
		put16(l3 + 6, 0x2000 | piece(source));
	}
	put16(l3 + 2, (uint32_t)length);
	put16(l3 + 10, checksum(sum(l3, 20, 0)));
	return length;
}

static size_t
ipv6_fill(struct source *source, uint8_t *l3)
{
	uint64_t random = draw(source);
	uint8_t *l4 = l3 + 40;
	uint32_t identification = (uint32_t)(random >> 32);

	memset(l3, 0, 48);
	l3[0] = 0x60;
	l3[6] = source->kind == KIND_SYN ? IPPROTO_TCP : IPPROTO_UDP;
	l3[7] = 64;
	memcpy(l3 + 8, source->from6, 16);
	memcpy(l3 + 24, source->host6, 16);
	if ((random & 3) != 0) /* beyond the link of the host */
		memcpy(l3 + 26, &random, 8);
	if (source->kind == KIND_FRAGMENTS) {
		l4[0] = l3[6];
		put16(l4 + 2, piece(source) << 3 | 1);
		memcpy(l4 + 4, &identification, sizeof(identification));
		l3[6] = IPV6_FRAGMENT_HEADER;
		l4 += IPV6_FRAGMENT_LENGTH;
	}
	l4 += upper_fill(source, l4, sum(l3 + 8, 32, 0));
	put16(l3 + 4, (uint32_t)(l4 - l3 - 40));
	return (size_t)(l4 - l3);
}

static size_t
frame_fill(struct source *source, uint8_t frame[FRAME_MAX])
{
	bool ipv6 = (draw(source) & 1) != 0;
	size_t length;

	memcpy(frame, source->ethernet, sizeof(source->ethernet));
	put16(frame + 12, ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP);
	length = ETHER_HDR_LEN + (ipv6 ? ipv6_fill : ipv4_fill)(source, frame + ETHER_HDR_LEN);
	for (; length < 60; length++)
		frame[length] = 0;
	return length;
}

static void
address_read(const char *text, uint8_t address[16])
{
	errno = EINVAL;
	if (inet_pton(strchr(text, ':') != NULL ? AF_INET6 : AF_INET, text, address) != 1)
		die(text);
}

static int
socket_open(struct source *source, char *arguments[])
{
	int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1;
	struct sockaddr_ll address = {.sll_family = AF_PACKET};
	struct ifreq request = {0};
	struct ether_addr gateway;

	if (fd < 0)
		die("socket");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", arguments[2]);
	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		die(arguments[2]);
	errno = EINVAL;
	if (ether_aton_r(arguments[3], &gateway) == NULL)
		die(arguments[3]);
	memcpy(source->ethernet, &gateway, ETHER_ADDR_LEN);
	memcpy(source->ethernet + ETHER_ADDR_LEN, request.ifr_hwaddr.sa_data, ETHER_ADDR_LEN);
	address.sll_ifindex = (int)if_nametoindex(arguments[2]);
	if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) < 0 ||
		bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die(arguments[2]);
	return fd;
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
	static const char *const kinds[] = {
		[KIND_SYN] = "syn", [KIND_UDP] = "udp", [KIND_FRAGMENTS] = "fragments"};
	static uint8_t frames[BATCH][FRAME_MAX];
	struct source source = {.kind = sizeof(kinds) / sizeof(kinds[0])};
	struct iovec vectors[BATCH];
	struct mmsghdr messages[BATCH];
	uint64_t sent = 0;
	double end;
	int fd;

	for (size_t i = 0; argc == 9 && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(argv[1], kinds[i]) == 0)
			source.kind = (enum kind)i;
	if (source.kind == sizeof(kinds) / sizeof(kinds[0])) {
		fprintf(stderr, "usage: flood syn|udp|fragments INTERFACE GATEWAY-MAC SOURCE "
				"SOURCE6 HOST HOST6 SECONDS\n");
		return 2;
	}
	fd = socket_open(&source, argv);
	address_read(argv[4], source.from);
	address_read(argv[5], source.from6);
	address_read(argv[6], source.host);
	address_read(argv[7], source.host6);
	end = now_s() + atof(argv[8]);
	source.random = (uint64_t)(end * 1e9) | 1;
	signal(SIGTERM, stop);
	signal(SIGINT, stop);
	while (!stopped && now_s() < end) {
		int count;

		memset(messages, 0, sizeof(messages));
		for (unsigned i = 0; i < BATCH; i++) {
			vectors[i] = (struct iovec){frames[i], frame_fill(&source, frames[i])};
			messages[i].msg_hdr.msg_iov = &vectors[i];
			messages[i].msg_hdr.msg_iovlen = 1;
		}
		count = sendmmsg(fd, messages, BATCH, 0);
		if (count > 0)
			sent += (uint64_t)count;
		/* a full receiver is not our error */
		else if (errno != EAGAIN && errno != ENOBUFS && errno != EINTR)
			die("send");
	}
	printf("%llu\n", (unsigned long long)sent);
	return 0;
}
