/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tap:IFNAME, the port of our own kernel: a TAP device that we make, whose other end is an ordinary
 * interface here. It is not deaf, on the contrary.
 *
 * The kernel end has the MAC of the uplink, and what it says to a DHCP server passes as it is: so
 * to the network behind the uplink this kernel is the station that it would be without us. Our
 * own end has a MAC that nobody else can see, the one that all backends of Xen have.
 *
 * With IFF_VNET_HDR frames come with checksums to be filled in and as long as 64 KiB, like those
 * of a packet socket. One descriptor serves all: a frame is one read() or writev(), and the kernel
 * keeps writers apart. That costs a system call per frame, which is enough for what a firewall's
 * own kernel has to say.
 *
 * The device stays when we end, without a carrier: addresses and routes that a DHCP client has put
 * there are there still when we come back, and nothing gets through meanwhile. `ip link delete`
 * removes it.
 */
#include "app/port_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <rte_ether.h>
#include <rte_malloc.h>

#include "app/vnet.h"
#include "classifier/guard.h"

#define DEVICE "/dev/net/tun"

#define MTU_DEFAULT 1500
/* The longest frame: an IPv6 packet without jumbo payload in Ethernet. */
#define FRAME_MAX (40 + UINT16_MAX + RTE_ETHER_HDR_LEN)
/* Frames of one burst: each costs a system call, and others wait meanwhile. */
#define BURST 16
/* Pieces that a frame is sent in at most. */
#define PIECES_MAX 64

/* What our kernel may leave to us. */
#define OFFLOADS (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)

static const uint8_t own_mac[6] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff};

struct tap_port {
	int fd;
	int wait_fd; /* epoll over it, so that a device that was taken away is not waited for */
	bool gone;   /* somebody has deleted it. Owner worker only */
	char ifname[IFNAMSIZ];
	struct rte_mempool *pool;
	uint8_t rest[FRAME_MAX]; /* what of a frame does not fit its first mbuf */
};

/* ---- receive ---- */

/* Put what of a frame did not fit its first mbuf into more of them. */
static bool
rest_append(const struct tap_port *tap, struct rte_mbuf *mbuf, uint32_t length)
{
	struct rte_mbuf *last = mbuf;

	for (uint32_t at = 0; at < length;) {
		struct rte_mbuf *piece = rte_pktmbuf_alloc(tap->pool);
		uint32_t room;

		if (piece == NULL)
			return false;
		room = RTE_MIN((uint32_t)rte_pktmbuf_tailroom(piece), length - at);
		memcpy(rte_pktmbuf_mtod(piece, void *), tap->rest + at, room);
		piece->data_len = (uint16_t)room;
		last->next = piece;
		last = piece;
		mbuf->nb_segs++;
		mbuf->pkt_len += room;
		at += room;
	}
	return true;
}

/* @return the frame; NULL: none is there, or with @p again set, it was none for us */
static struct rte_mbuf *
frame_read(struct port *port, bool *again)
{
	struct tap_port *tap = port->driver;
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(tap->pool);
	struct virtio_net_hdr vnet;
	uint32_t room, length;
	ssize_t got;

	*again = false;
	if (mbuf == NULL)
		return NULL;
	room = rte_pktmbuf_tailroom(mbuf);
	const struct iovec vector[] = {
		{&vnet, sizeof(vnet)},
		{rte_pktmbuf_mtod(mbuf, void *), room},
		{tap->rest, sizeof(tap->rest)},
	};
	got = readv(tap->fd, vector, RTE_DIM(vector));
	if (got < 0) {
		/* Deleted: its descriptor would be readable forever. */
		if (errno == EBADFD && !tap->gone) {
			tap->gone = true;
			(void)epoll_ctl(tap->wait_fd, EPOLL_CTL_DEL, tap->fd, NULL);
		}
		rte_pktmbuf_free(mbuf);
		return NULL;
	}
	*again = true;
	if ((size_t)got < sizeof(vnet) + RTE_ETHER_HDR_LEN)
		goto drop;
	length = (uint32_t)((size_t)got - sizeof(vnet));
	mbuf->data_len = (uint16_t)RTE_MIN(length, room);
	mbuf->pkt_len = mbuf->data_len;
	if (length > room && !rest_append(tap, mbuf, length - room))
		goto drop;
	/* A checksum that somebody left to be made at an odd place is only made in one piece. */
	if (!vnet_take(mbuf, rte_pktmbuf_mtod(mbuf, uint8_t *), mbuf->data_len, &vnet))
		goto drop;
	packet_of(mbuf)->in_port = port->index;
	return mbuf;
drop:
	port->rx_dropped++;
	rte_pktmbuf_free(mbuf);
	return NULL;
}

static uint16_t
tap_rx_burst(struct port *port, struct rte_mbuf **burst, uint16_t count)
{
	const struct tap_port *tap = port->driver;
	uint16_t received = 0;
	bool again = !tap->gone;

	count = (uint16_t)RTE_MIN(count, BURST);
	for (uint16_t tries = 0; tries < BURST && received < count && again; tries++) {
		struct rte_mbuf *mbuf = frame_read(port, &again);

		if (mbuf != NULL)
			burst[received++] = mbuf;
	}
	return received;
}

static int
tap_wait_fd(const struct port *port)
{
	return ((const struct tap_port *)port->driver)->wait_fd;
}

/* ---- send ---- */

static bool
frame_write(const struct tap_port *tap, struct rte_mbuf *mbuf)
{
	struct virtio_net_hdr vnet;
	struct iovec vector[PIECES_MAX];
	unsigned used = 1;

	if (mbuf->nb_segs >= PIECES_MAX)
		return false;
	vnet_fill(&vnet, mbuf, packet_of(mbuf));
	vector[0] = (struct iovec){&vnet, sizeof(vnet)};
	for (const struct rte_mbuf *piece = mbuf; piece != NULL; piece = piece->next)
		vector[used++] = (struct iovec){rte_pktmbuf_mtod(piece, void *), piece->data_len};
	return writev(tap->fd, vector, (int)used) >= 0;
}

static uint16_t
tap_tx_burst(struct port *port, unsigned worker, struct rte_mbuf **burst, uint16_t count)
{
	const struct tap_port *tap = port->driver;
	uint16_t sent = 0;

	(void)worker;
	for (uint16_t i = 0; i < count; i++)
		sent += frame_write(tap, burst[i]);
	rte_pktmbuf_free_bulk(burst, count);
	return sent;
}

/* ---- open, follow and close ---- */

static void
tap_close(struct port *port)
{
	struct tap_port *tap = port->driver;

	if (tap == NULL)
		return;
	port->driver = NULL;
	if (tap->fd >= 0)
		close(tap->fd);
	if (tap->wait_fd >= 0)
		close(tap->wait_fd);
	rte_free(tap);
}

static int
interface_ioctl(const char *ifname, unsigned long code, struct ifreq *request)
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

static bool
tap_link_up(const struct port *port)
{
	const struct tap_port *tap = port->driver;
	struct ifreq request = {0};

	return interface_ioctl(tap->ifname, SIOCGIFFLAGS, &request) == 0 &&
	       (request.ifr_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
}

static const struct port_ops tap_ops = {
	.kind = "tap",
	.rx_burst = tap_rx_burst,
	.tx_burst = tap_tx_burst,
	.wait_fd = tap_wait_fd,
	.link_up = tap_link_up,
	.close = tap_close,
};

bool
port_is_tap(const struct port *port)
{
	return port->ops == &tap_ops;
}

const char *
port_tap_name(const struct port *port)
{
	return ((const struct tap_port *)port->driver)->ifname;
}

void
port_tap_carrier(const struct port *port, bool up)
{
	const struct tap_port *tap = port->driver;
	int carrier = up;

	/* Kernels before 5.0 have none to set; it is there all the time then. */
	(void)ioctl(tap->fd, TUNSETCARRIER, &carrier);
}

int
port_tap_follow(struct port *port, const uint8_t mac[6], uint16_t mtu)
{
	struct tap_port *tap = port->driver;
	struct ifreq request = {.ifr_hwaddr.sa_family = ARPHRD_ETHER};
	int error;

	memcpy(request.ifr_hwaddr.sa_data, mac, RTE_ETHER_ADDR_LEN);
	error = interface_ioctl(tap->ifname, SIOCSIFHWADDR, &request);
	if (error != 0)
		return error;
	request = (struct ifreq){.ifr_mtu = mtu};
	error = interface_ioctl(tap->ifname, SIOCSIFMTU, &request);
	if (error != 0)
		return error;
	port->mtu = mtu;
	neighbour_learn(port->neighbours, NEIGHBOUR_PEER, mac_word(mac), 0);
	request = (struct ifreq){0};
	error = interface_ioctl(tap->ifname, SIOCGIFFLAGS, &request);
	if (error != 0 || (request.ifr_flags & IFF_UP) != 0)
		return error;
	request.ifr_flags |= IFF_UP;
	return interface_ioctl(tap->ifname, SIOCSIFFLAGS, &request);
}

static const char *
open_error(int error)
{
	switch (error) {
	case -ENOENT:
	case -ENODEV:
		return "this kernel has no TAP devices (" DEVICE ", module tun)";
	case -EBUSY:
		return "somebody else uses this TAP device, or it is another kind of interface";
	case -EINVAL:
		return "there is an interface of that name that is no TAP device";
	case -EPERM:
	case -EACCES:
		return "not permitted (sluiced needs CAP_NET_ADMIN and " DEVICE ")";
	default:
		return strerror(-error);
	}
}

static int
device_open(struct tap_port *tap)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	struct epoll_event event = {.events = EPOLLIN};
	int header = VNET_SIZE;

	tap->fd = open(DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tap->fd < 0)
		return -errno;
	memcpy(request.ifr_name, tap->ifname, sizeof(request.ifr_name));
	if (ioctl(tap->fd, TUNSETIFF, &request) != 0 ||
		ioctl(tap->fd, TUNSETVNETHDRSZ, &header) != 0 ||
		ioctl(tap->fd, TUNSETOFFLOAD, OFFLOADS) != 0 ||
		ioctl(tap->fd, TUNSETPERSIST, 1) != 0)
		return -errno;
	tap->wait_fd = epoll_create1(EPOLL_CLOEXEC);
	if (tap->wait_fd < 0 || epoll_ctl(tap->wait_fd, EPOLL_CTL_ADD, tap->fd, &event) != 0)
		return -errno;
	return 0;
}

int
port_tap_open(struct port *port, const char *ifname, const struct port_setup *setup)
{
	struct tap_port *tap = rte_zmalloc("port", sizeof(*tap), RTE_CACHE_LINE_SIZE);
	int error;

	if (tap == NULL)
		return -ENOMEM;
	tap->fd = -1;
	tap->wait_fd = -1;
	tap->pool = setup->pool;
	snprintf(tap->ifname, sizeof(tap->ifname), "%s", ifname);
	port->driver = tap;
	error = device_open(tap);
	if (error != 0) {
		report_line(setup->report, "port %s: device tap:%s: %s", port->name, ifname,
			open_error(error));
		tap_close(port);
		return error;
	}
	memcpy(port->mac, own_mac, sizeof(port->mac));
	port->mtu = MTU_DEFAULT;
	port->peer_configured = true;
	port->ops = &tap_ops;
	return 0;
}
