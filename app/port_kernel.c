/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kernel:IFNAME, a port on an interface of this kernel (vif, veth, a NIC with a kernel driver)
 * through AF_PACKET, with everything the interface offloads: PACKET_VNET_HDR hands out partial
 * checksums and frames of up to 64 KiB as they are, and takes them back the same way.
 *
 * Receiving. Two packet sockets listen on the interface, each with a TPACKET_V2 ring of its own
 * and a filter on the frame length, so that 60-byte frames do not each occupy 64 KiB:
 *
 *	small	2 KiB slots; the frame is copied into an mbuf of the pool and the slot goes back
 *		to the kernel at once
 *	large	64 KiB slots; the slot itself becomes the mbuf's external buffer and goes back
 *		when the mbuf is freed, by whichever worker frees it
 *
 * The kernel puts a time on every frame; the two rings are merged by it, so frames leave in the
 * order in which they came. A large frame that somebody keeps blocks its ring when the kernel
 * comes round to it, therefore whoever holds a packet longer than a burst (to resolve a
 * neighbour, to reassemble) makes a copy. Both rings together take 6 MiB: with fewer large slots
 * TCP loses frames to every pause of the worker, with more they fall out of the CPU's cache
 * before they are sent, which costs as much as copying them again.
 *
 * Sending. Each worker has a socket of its own, so nobody waits for anybody. A burst is one
 * sendmmsg(): the kernel copies straight out of mbuf or slot, behind a virtio_net_hdr made on the
 * way. These sockets listen to protocol 0: to nothing. (A TX ring saves a fifth of the time per
 * small frame, but a queue that drops one leaves kernel and ring in different places.)
 *
 * The sockets see frames before the kernel's own stack does, which is why quiet.h silences that.
 */
#include "app/port.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <rte_ether.h>
#include <rte_malloc.h>

#include "app/quiet.h"
#include "app/vnet.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

/* What the kernel puts in front of a frame: TPACKET_ALIGN(header + sockaddr + 16) + vnet - 14. */
#define SLOT_OVERHEAD (TPACKET_ALIGN(TPACKET2_HDRLEN + 16) + VNET_SIZE - ETH_HLEN)
/* The longest IPv6 packet without jumbo payload option, in Ethernet, with a VLAN tag. */
#define LARGE_FRAME (40 + UINT16_MAX + ETH_HLEN + VLAN_TAG_SIZE)
#define VLAN_TAG_SIZE 4

#define SMALL_SLOT 2048u
#define SMALL_FRAME (SMALL_SLOT - SLOT_OVERHEAD - VLAN_TAG_SIZE)
#define SMALL_BLOCK (64u << 10)
#define SMALL_BLOCKS 32u
#define LARGE_SLOT RTE_ALIGN_CEIL(SLOT_OVERHEAD + LARGE_FRAME, TPACKET_ALIGNMENT)
#define LARGE_BLOCK (1u << 20)
#define LARGE_BLOCKS 4u
_Static_assert(SMALL_BLOCK *SMALL_BLOCKS + LARGE_BLOCK * LARGE_BLOCKS <= 8u << 20,
	"fifty ports must fit into a small qube");

/*
 * Our own mark on a slot that has become an mbuf. The kernel takes back only slots whose status
 * is exactly TP_STATUS_KERNEL and leaves this bit alone.
 */
#define SLOT_HELD (1u << 20)

#define SEND_BUFFER (4 << 20) /* bytes under way per worker and port before the kernel says no */
#define SEND_RETRIES 3
#define IOVECS (4 * BURST_MAX)
#define EMPTY_POLLS_TO_ERROR_CHECK 64

/* One slot of the large ring, as long as an mbuf uses it. */
struct slot {
	struct rte_mbuf_ext_shared_info shared;
	struct tpacket2_hdr *header;
};

struct ring {
	int fd;
	uint8_t *map;
	size_t map_size;
	unsigned slots;
	unsigned next;
	struct tpacket2_hdr **header; /* of every slot, in order */
};

struct sender {
	_Alignas(RTE_CACHE_LINE_SIZE) int fd;
	unsigned messages;
	unsigned vectors;
	struct mmsghdr message[BURST_MAX];
	struct virtio_net_hdr vnet[BURST_MAX];
	struct iovec vector[IOVECS];
};

struct kernel_port {
	struct ring small;
	struct ring large;
	struct slot *slot;        /* of the large ring */
	int wait_fd;              /* epoll over both rings */
	unsigned ifindex;         /* names may change hands, this does not */
	unsigned refused_ifindex; /* of one in its place that could not be used */
	char ifname[IFNAMSIZ];
	struct rte_mempool *pool;
	unsigned empty_polls;
	unsigned workers;
	struct sender sender[];
};

/* ---- receive ---------------------------------------------------------------------------- */

static void
slot_release(struct tpacket2_hdr *header)
{
	__atomic_store_n(&header->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
}

/* Runs in whichever worker frees the last mbuf of a slot. */
static void
slot_free(void *address, void *opaque)
{
	(void)address;
	slot_release(((struct slot *)opaque)->header);
}

static inline struct tpacket2_hdr *
ring_peek(const struct ring *ring)
{
	struct tpacket2_hdr *header = ring->header[ring->next];
	uint32_t status = __atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE);

	return (status & (TP_STATUS_USER | SLOT_HELD)) == TP_STATUS_USER ? header : NULL;
}

static inline void
ring_advance(struct ring *ring)
{
	if (++ring->next == ring->slots)
		ring->next = 0;
}

static inline bool
frame_is_older(const struct tpacket2_hdr *a, const struct tpacket2_hdr *b)
{
	return a->tp_sec != b->tp_sec ? (int32_t)(a->tp_sec - b->tp_sec) < 0
				      : a->tp_nsec < b->tp_nsec;
}

/*
 * The older of the two frames at the heads of the rings. Frames of one sender are put into their
 * rings one after the other, so one that is visible makes all earlier ones visible: looking at the
 * other ring last, after the candidate was seen, is what keeps the order.
 */
static inline struct tpacket2_hdr *
kernel_next(struct kernel_port *kernel, bool *is_large)
{
	struct tpacket2_hdr *small = ring_peek(&kernel->small);
	struct tpacket2_hdr *large = ring_peek(&kernel->large);

	if (large != NULL && small == NULL)
		small = ring_peek(&kernel->small);
	*is_large = large != NULL && (small == NULL || frame_is_older(large, small));
	if (*is_large) {
		ring_advance(&kernel->large);
		return large;
	}
	if (small != NULL)
		ring_advance(&kernel->small);
	return small;
}

/* The kernel keeps the tag beside the frame; whoever judges the frame must see it. */
static void
vlan_restore(const struct tpacket2_hdr *header, uint8_t **frame, uint32_t *length)
{
	uint16_t tpid = (header->tp_status & TP_STATUS_VLAN_TPID_VALID) ? header->tp_vlan_tpid
									: ETH_P_8021Q;
	rte_be16_t tag[2] = {rte_cpu_to_be_16(tpid), rte_cpu_to_be_16(header->tp_vlan_tci)};

	memmove(*frame - VLAN_TAG_SIZE, *frame, 2 * RTE_ETHER_ADDR_LEN);
	*frame -= VLAN_TAG_SIZE;
	memcpy(*frame + 2 * RTE_ETHER_ADDR_LEN, tag, sizeof(tag));
	*length += VLAN_TAG_SIZE;
}

/* Make the slot the buffer of an mbuf; two mbufs when it is longer than one can say. */
static bool
slot_attach(struct kernel_port *kernel, struct slot *slot, struct rte_mbuf *mbuf, uint8_t *frame,
	uint32_t length)
{
	uint8_t *start = frame - VNET_SIZE;
	uint32_t first = RTE_MIN(length, (uint32_t)(UINT16_MAX - VNET_SIZE));
	struct rte_mbuf *rest = NULL;

	if (first < length) {
		rest = rte_pktmbuf_alloc(kernel->pool);
		if (rest == NULL)
			return false;
	}
	rte_mbuf_ext_refcnt_set(&slot->shared, rest == NULL ? 1 : 2);
	rte_pktmbuf_attach_extbuf(
		mbuf, start, RTE_BAD_IOVA, (uint16_t)(VNET_SIZE + first), &slot->shared);
	mbuf->data_off = VNET_SIZE;
	mbuf->data_len = (uint16_t)first;
	mbuf->pkt_len = length;
	if (rest != NULL) {
		rte_pktmbuf_attach_extbuf(rest, frame + first, RTE_BAD_IOVA,
			(uint16_t)(length - first), &slot->shared);
		rest->data_off = 0;
		rest->data_len = (uint16_t)(length - first);
		mbuf->next = rest;
		mbuf->nb_segs = 2;
	}
	return true;
}

/* @return false when the frame had to be dropped; its slot is back with the kernel then */
static bool
frame_receive(struct kernel_port *kernel, struct tpacket2_hdr *header, struct slot *slot,
	struct rte_mbuf *mbuf)
{
	uint8_t *frame = (uint8_t *)header + header->tp_mac;
	uint32_t length = header->tp_snaplen;
	struct virtio_net_hdr vnet;

	memcpy(&vnet, frame - VNET_SIZE, sizeof(vnet));
	if (length < header->tp_len || length < ETH_HLEN)
		goto drop;
	if ((header->tp_status & TP_STATUS_VLAN_VALID) != 0)
		vlan_restore(header, &frame, &length);
	if (!vnet_take(mbuf, frame, length, &vnet))
		goto drop;
	if (slot != NULL) {
		if (!slot_attach(kernel, slot, mbuf, frame, length))
			goto drop;
		return true;
	}
	memcpy(rte_pktmbuf_mtod(mbuf, void *), frame, length);
	mbuf->data_len = (uint16_t)length;
	mbuf->pkt_len = length;
	slot_release(header);
	return true;
drop:
	slot_release(header);
	return false;
}

/* The kernel counts what it lost, and forgets it as it tells. */
static void
statistics_collect(struct port *port, int fd)
{
	struct tpacket_stats statistics;
	socklen_t size = sizeof(statistics);

	if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &size) == 0)
		port->rx_dropped += statistics.tp_drops;
}

/*
 * A socket of an interface that went down stays readable until its error is fetched, which would
 * keep the worker awake forever.
 */
static void
errors_fetch(const struct kernel_port *kernel)
{
	int error;
	socklen_t size = sizeof(error);

	getsockopt(kernel->small.fd, SOL_SOCKET, SO_ERROR, &error, &size);
	size = sizeof(error);
	getsockopt(kernel->large.fd, SOL_SOCKET, SO_ERROR, &error, &size);
}

static uint16_t
kernel_rx_burst(struct port *port, struct rte_mbuf **burst, uint16_t count)
{
	struct kernel_port *kernel = port->driver;
	struct tpacket2_hdr *header[BURST_MAX];
	struct slot *slot[BURST_MAX];
	unsigned small_first = kernel->small.next;
	unsigned large_first = kernel->large.next;
	uint16_t ready = 0;
	uint16_t received = 0;
	uint32_t seen = 0;
	bool is_large;

	while (ready < count) {
		unsigned index = kernel->large.next;

		header[ready] = kernel_next(kernel, &is_large);
		if (header[ready] == NULL)
			break;
		/* At once: a burst can be longer than the ring, and would take the slot twice. */
		header[ready]->tp_status |= SLOT_HELD;
		slot[ready] = is_large ? &kernel->slot[index] : NULL;
		ready++;
	}
	if (ready == 0) {
		if (++kernel->empty_polls % EMPTY_POLLS_TO_ERROR_CHECK == 0)
			errors_fetch(kernel);
		return 0;
	}
	if (rte_pktmbuf_alloc_bulk(kernel->pool, burst, ready) != 0) {
		/* The frames wait where they are. */
		kernel->small.next = small_first;
		kernel->large.next = large_first;
		for (uint16_t i = 0; i < ready; i++)
			header[i]->tp_status &= ~SLOT_HELD;
		return 0;
	}
	for (uint16_t i = 0; i < ready; i++) {
		struct rte_mbuf *mbuf = burst[i];

		seen |= header[i]->tp_status;
		if (!frame_receive(kernel, header[i], slot[i], mbuf)) {
			port->rx_dropped++;
			rte_pktmbuf_free(mbuf);
			continue;
		}
		packet_of(mbuf)->in_port = port->index;
		burst[received++] = mbuf;
	}
	/* Set on frames behind a loss; asking resets it. */
	if ((seen & TP_STATUS_LOSING) != 0) {
		statistics_collect(port, kernel->small.fd);
		statistics_collect(port, kernel->large.fd);
	}
	return received;
}

static int
kernel_wait_fd(const struct port *port)
{
	return ((const struct kernel_port *)port->driver)->wait_fd;
}

/* ---- send ------------------------------------------------------------------------------- */

/* @return false when the frame has more pieces than there is room for */
static bool
sender_add(struct sender *sender, struct rte_mbuf *mbuf)
{
	struct iovec *vector = &sender->vector[sender->vectors];
	struct virtio_net_hdr *vnet = &sender->vnet[sender->messages];
	struct msghdr *message = &sender->message[sender->messages].msg_hdr;
	unsigned used = 1;

	if (sender->vectors + 1u + mbuf->nb_segs > IOVECS)
		return false;
	vnet_fill(vnet, mbuf, packet_of(mbuf));
	vector[0] = (struct iovec){vnet, sizeof(*vnet)};
	for (const struct rte_mbuf *piece = mbuf; piece != NULL; piece = piece->next)
		vector[used++] = (struct iovec){rte_pktmbuf_mtod(piece, void *), piece->data_len};
	message->msg_iov = vector;
	message->msg_iovlen = used;
	sender->vectors += used;
	sender->messages++;
	return true;
}

/* @return how many of the collected frames went out */
static unsigned
sender_flush(struct sender *sender)
{
	unsigned sent = 0;
	unsigned next = 0;
	unsigned retries = 0;

	while (next < sender->messages) {
		int result = sendmmsg(
			sender->fd, sender->message + next, sender->messages - next, MSG_DONTWAIT);

		if (result > 0) {
			sent += (unsigned)result;
			next += (unsigned)result;
			continue;
		}
		switch (errno) {
		case EINTR:
			continue;
		case EAGAIN:
			/* What is under way needs the CPU to get out of the way. */
			if (++retries > SEND_RETRIES)
				goto out;
			sched_yield();
			continue;
		case EMSGSIZE: /* longer than the interface takes */
		case EINVAL:   /* a header the kernel does not believe */
		case ENOBUFS:  /* the queue of the interface dropped it */
		case ENOMEM:
			next++;
			continue;
		default: /* down, or gone */
			goto out;
		}
	}
out:
	sender->messages = 0;
	sender->vectors = 0;
	return sent;
}

static uint16_t
kernel_tx_burst(struct port *port, unsigned worker, struct rte_mbuf **burst, uint16_t count)
{
	struct kernel_port *kernel = port->driver;
	struct sender *sender = &kernel->sender[worker];
	unsigned sent = 0;

	for (uint16_t i = 0; i < count; i++) {
		if (sender_add(sender, burst[i]))
			continue;
		sent += sender_flush(sender);
		/* Only a frame in an absurd number of pieces fails twice. */
		(void)sender_add(sender, burst[i]);
	}
	sent += sender_flush(sender);
	rte_pktmbuf_free_bulk(burst, count);
	return (uint16_t)sent;
}

/* ---- open and close --------------------------------------------------------------------- */

static void
ring_close(struct ring *ring)
{
	if (ring->map != NULL)
		munmap(ring->map, ring->map_size);
	if (ring->fd >= 0)
		close(ring->fd);
	rte_free(ring->header);
	ring->map = NULL;
	ring->fd = -1;
	ring->header = NULL;
}

static bool
ring_is_idle(const struct ring *ring)
{
	for (unsigned i = 0; ring->header != NULL && i < ring->slots; i++)
		if ((__atomic_load_n(&ring->header[i]->tp_status, __ATOMIC_ACQUIRE) & SLOT_HELD) !=
			0)
			return false;
	return true;
}

static void
kernel_close(struct port *port)
{
	struct kernel_port *kernel = port->driver;

	if (kernel == NULL)
		return;
	port->driver = NULL;
	quiet_end(kernel->ifname);
	for (unsigned i = 0; i < kernel->workers; i++)
		if (kernel->sender[i].fd >= 0)
			close(kernel->sender[i].fd);
	if (kernel->wait_fd >= 0)
		close(kernel->wait_fd);
	ring_close(&kernel->small);
	/* An mbuf that is still about somewhere points into the large ring: then it stays mapped.
	 */
	if (!ring_is_idle(&kernel->large)) {
		close(kernel->large.fd);
		return;
	}
	ring_close(&kernel->large);
	rte_free(kernel->slot);
	rte_free(kernel);
}

static int
option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0 : -errno;
}

/* Take frames longer than `limit` bytes, or those up to it. */
static int
filter_by_length(int fd, uint32_t limit, bool longer)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, limit, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, longer ? UINT32_MAX : 0),
		BPF_STMT(BPF_RET | BPF_K, longer ? 0 : UINT32_MAX),
	};
	struct sock_fprog program = {.len = RTE_DIM(code), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0
		       ? 0
		       : -errno;
}

/* The frames start to come when the socket is bound, which is the last thing that happens. */
static int
socket_bind(int fd, unsigned ifindex, uint16_t protocol)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = rte_cpu_to_be_16(protocol),
		.sll_ifindex = (int)ifindex,
	};

	return bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : -errno;
}

static int
ring_open(struct ring *ring, unsigned slot_size, unsigned block_size, unsigned blocks)
{
	struct tpacket_req request = {
		.tp_frame_size = slot_size,
		.tp_block_size = block_size,
		.tp_block_nr = blocks,
		.tp_frame_nr = blocks * (block_size / slot_size),
	};
	int error;

	ring->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (ring->fd < 0)
		return -errno;
	error = option(ring->fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2);
	if (error == 0)
		error = option(ring->fd, SOL_PACKET, PACKET_VNET_HDR, 1);
	if (error == 0)
		error = option(ring->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
	if (error == 0 &&
		setsockopt(ring->fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)) != 0)
		error = -errno;
	if (error != 0)
		return error;
	ring->slots = request.tp_frame_nr;
	ring->map_size = (size_t)block_size * blocks;
	ring->map = mmap(NULL, ring->map_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	if (ring->map == MAP_FAILED) {
		ring->map = NULL;
		return -errno;
	}
	ring->header = rte_zmalloc("port", ring->slots * sizeof(ring->header[0]), 0);
	if (ring->header == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < ring->slots; i++) {
		unsigned per_block = block_size / slot_size;

		ring->header[i] = (void *)(ring->map + (size_t)(i / per_block) * block_size +
					   (size_t)(i % per_block) * slot_size);
	}
	return 0;
}

/* Neighbour discovery asks multicast groups that nobody here has joined. */
static int
multicasts_join(int fd, unsigned ifindex)
{
	struct packet_mreq multicast = {
		.mr_ifindex = (int)ifindex,
		.mr_type = PACKET_MR_ALLMULTI,
	};

	return setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &multicast, sizeof(multicast)) == 0
		       ? 0
		       : -errno;
}

static int
rings_open(struct kernel_port *kernel, unsigned ifindex)
{
	struct epoll_event event = {.events = EPOLLIN};
	/* A small frame must fit an mbuf, with a tag put back. */
	uint32_t room = rte_pktmbuf_data_room_size(kernel->pool) - RTE_PKTMBUF_HEADROOM;
	uint32_t small_frame = RTE_MIN((uint32_t)SMALL_FRAME, room - VLAN_TAG_SIZE);
	int error;

	error = ring_open(&kernel->small, SMALL_SLOT, SMALL_BLOCK, SMALL_BLOCKS);
	if (error == 0)
		error = ring_open(&kernel->large, LARGE_SLOT, LARGE_BLOCK, LARGE_BLOCKS);
	if (error == 0)
		error = filter_by_length(kernel->small.fd, small_frame, false);
	if (error == 0)
		error = filter_by_length(kernel->large.fd, small_frame, true);
	if (error != 0)
		return error;
	kernel->slot = rte_zmalloc(
		"port", kernel->large.slots * sizeof(kernel->slot[0]), RTE_CACHE_LINE_SIZE);
	if (kernel->slot == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < kernel->large.slots; i++) {
		kernel->slot[i].header = kernel->large.header[i];
		kernel->slot[i].shared.free_cb = slot_free;
		kernel->slot[i].shared.fcb_opaque = &kernel->slot[i];
	}
	kernel->wait_fd = epoll_create1(EPOLL_CLOEXEC);
	if (kernel->wait_fd < 0 ||
		epoll_ctl(kernel->wait_fd, EPOLL_CTL_ADD, kernel->small.fd, &event) != 0 ||
		epoll_ctl(kernel->wait_fd, EPOLL_CTL_ADD, kernel->large.fd, &event) != 0)
		return -errno;
	error = multicasts_join(kernel->small.fd, ifindex);
	if (error == 0)
		error = socket_bind(kernel->small.fd, ifindex, ETH_P_ALL);
	if (error == 0)
		error = socket_bind(kernel->large.fd, ifindex, ETH_P_ALL);
	return error;
}

static int
sender_open(struct sender *sender, unsigned ifindex)
{
	int error;

	sender->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sender->fd < 0)
		return -errno;
	error = option(sender->fd, SOL_PACKET, PACKET_VNET_HDR, 1);
	if (error != 0)
		return error;
	if (option(sender->fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER) != 0)
		(void)option(sender->fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER);
	return socket_bind(sender->fd, ifindex, 0);
}

static int
interface_request(const char *ifname, unsigned long code, struct ifreq *request)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return -errno;
	snprintf(request->ifr_name, sizeof(request->ifr_name), "%s", ifname);
	error = ioctl(fd, code, request) == 0 ? 0 : -errno;
	close(fd);
	return error;
}

/* Read what the port must know of its interface. Changes nothing. */
static int
interface_inspect(struct port *port, const char *ifname)
{
	struct ifreq request = {0};
	int error = interface_request(ifname, SIOCGIFHWADDR, &request);

	if (error != 0)
		return error;
	if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return -EPROTOTYPE;
	memcpy(port->mac, request.ifr_hwaddr.sa_data, sizeof(port->mac));
	error = interface_request(ifname, SIOCGIFMTU, &request);
	if (error == 0)
		port->mtu = (uint16_t)RTE_MIN(request.ifr_mtu, UINT16_MAX);
	return error;
}

/* Nobody else will bring it up: it is ours. */
static int
interface_up(const struct port *port, const char *ifname, const struct report *report)
{
	struct ifreq request = {0};
	int error = interface_request(ifname, SIOCGIFFLAGS, &request);

	if (error != 0 || (request.ifr_flags & IFF_UP) != 0)
		return error;
	request.ifr_flags |= IFF_UP;
	error = interface_request(ifname, SIOCSIFFLAGS, &request);
	if (error == 0)
		report_line(report, "port %s: %s was down: brought it up", port->name, ifname);
	return error;
}

static bool
kernel_link_up(const struct port *port)
{
	const struct kernel_port *kernel = port->driver;
	struct ifreq request = {.ifr_ifindex = (int)kernel->ifindex};
	const int wanted = IFF_UP | IFF_RUNNING;

	return ioctl(kernel->small.fd, SIOCGIFNAME, &request) == 0 &&
	       ioctl(kernel->small.fd, SIOCGIFFLAGS, &request) == 0 &&
	       (request.ifr_flags & wanted) == wanted;
}

/* Have the sockets listen and send on another interface. Their rings stay where they are. */
static int
sockets_move(const struct kernel_port *kernel, unsigned ifindex)
{
	int error = multicasts_join(kernel->small.fd, ifindex);

	if (error == 0)
		error = socket_bind(kernel->small.fd, ifindex, ETH_P_ALL);
	if (error == 0)
		error = socket_bind(kernel->large.fd, ifindex, ETH_P_ALL);
	for (unsigned i = 0; i < kernel->workers && error == 0; i++)
		error = socket_bind(kernel->sender[i].fd, ifindex, 0);
	return error;
}

static bool
kernel_revive(struct port *port, const struct report *report)
{
	struct kernel_port *kernel = port->driver;
	unsigned ifindex = if_nametoindex(kernel->ifname);
	char text[256] = "";
	int error;

	if (ifindex == 0 || ifindex == kernel->ifindex)
		return false;
	error = quiet_check(kernel->ifname, text, sizeof(text));
	if (error == 0)
		error = quiet_start(kernel->ifname, text, sizeof(text));
	if (error == 0) {
		quiet_end(kernel->ifname); /* it is ours already, once */
		error = interface_inspect(port, kernel->ifname);
	}
	if (error == 0)
		error = interface_up(port, kernel->ifname, report);
	if (error == 0)
		error = sockets_move(kernel, ifindex);
	/* Said once for each device; the next look tries again. */
	if (error == 0)
		kernel->refused_ifindex = 0;
	else if (kernel->refused_ifindex != ifindex) {
		kernel->refused_ifindex = ifindex;
		report_line(report,
			"port %s: %s is another interface now, which cannot be used: %s",
			port->name, kernel->ifname, text[0] != '\0' ? text : strerror(-error));
	}
	if (error != 0)
		return false;
	kernel->ifindex = ifindex;
	report_line(report, "port %s: %s is another interface now: goes on there", port->name,
		kernel->ifname);
	return true;
}

static const struct port_ops kernel_ops = {
	.kind = "kernel",
	.rx_burst = kernel_rx_burst,
	.tx_burst = kernel_tx_burst,
	.wait_fd = kernel_wait_fd,
	.link_up = kernel_link_up,
	.revive = kernel_revive,
	.close = kernel_close,
};

/* What errors mean here, in words for whoever wrote the configuration. */
static const char *
open_error(int error)
{
	switch (error) {
	case -ENODEV:
		return "no such interface (`ip link` shows those that exist)";
	case -EPROTOTYPE:
		return "not an Ethernet interface";
	case -EPERM:
	case -EACCES:
		return "not permitted (sluiced needs CAP_NET_RAW and CAP_NET_ADMIN)";
	default:
		return strerror(-error);
	}
}

int
port_kernel_open(struct port *port, const char *ifname, const struct port_setup *setup)
{
	struct kernel_port *kernel;
	unsigned ifindex = if_nametoindex(ifname);
	char text[256] = "";
	int error = ifindex == 0 ? -ENODEV : interface_inspect(port, ifname);

	if (error == 0)
		error = quiet_check(ifname, text, sizeof(text));
	if (error == 0)
		error = quiet_start(ifname, text, sizeof(text));
	if (error != 0) {
		report_line(setup->report, "port %s: device kernel:%s: %s", port->name, ifname,
			text[0] != '\0' ? text : open_error(error));
		return error;
	}
	kernel = rte_zmalloc("port", sizeof(*kernel) + setup->workers * sizeof(kernel->sender[0]),
		RTE_CACHE_LINE_SIZE);
	if (kernel == NULL) {
		quiet_end(ifname);
		return -ENOMEM;
	}
	snprintf(kernel->ifname, sizeof(kernel->ifname), "%s", ifname);
	kernel->small.fd = -1;
	kernel->large.fd = -1;
	kernel->wait_fd = -1;
	kernel->pool = setup->pool;
	kernel->ifindex = ifindex;
	kernel->workers = setup->workers;
	for (unsigned i = 0; i < setup->workers; i++)
		kernel->sender[i].fd = -1;
	port->driver = kernel;
	/* Only now: an interface that comes up must find the kernel deaf. */
	error = interface_up(port, ifname, setup->report);
	if (error == 0)
		error = rings_open(kernel, ifindex);
	for (unsigned i = 0; i < setup->workers && error == 0; i++)
		error = sender_open(&kernel->sender[i], ifindex);
	if (error != 0) {
		report_line(setup->report, "port %s: device kernel:%s: %s", port->name, ifname,
			open_error(error));
		kernel_close(port);
		return error;
	}
	port->ops = &kernel_ops;
	return 0;
}
