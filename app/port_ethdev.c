/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pci:ADDRESS and dpdk:DEVARGS, a port on any DPDK ethdev: a passed-through NIC, or a virtual
 * device such as net_pcap, net_ring, net_null, net_memif, net_af_xdp.
 *
 * One receive queue, read by the port's owner. As many transmit queues as there are workers, or as
 * the device has; where workers share one, a lock that is almost always free guards it.
 *
 * The owner sleeps until the device interrupts, where device and driver can do that per queue
 * (PCI devices bound to vfio-pci, net_tap, net_virtio_user, net_memif); else it must be polled.
 *
 * Offloads are used where the device offers them and done in software where it does not:
 *
 *	owed by a frame			offered				otherwise
 *	checksum (L4_CKSUM_NONE)	TCP_CKSUM, UDP_CKSUM		offload_checksum()
 *	segmentation (LRO)		TCP_TSO				offload_segment()
 *	several segments		MULTI_SEGS			copied into one
 *
 * Frames of kernel ports lie in memory that no NIC can reach: it belongs to a socket, not to
 * DPDK. Before they go to hardware they are copied into mbufs of the pool; virtual devices, which
 * copy for themselves or pass pointers on within this process, get them as they are.
 */
#include "app/port.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_log.h>
#include <rte_malloc.h>
#include <rte_spinlock.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "app/offload.h"

#define DESCRIPTORS 1024
#define SEND_RETRIES 4
#define SEGMENTS_MAX 128 /* 64 KiB in segments of 512 bytes */
#define BURSTS_TO_STATISTICS (1u << 16)

struct queue {
	_Alignas(RTE_CACHE_LINE_SIZE) rte_spinlock_t lock;
};

struct ethdev {
	uint16_t port_id;
	uint16_t queues;
	bool shared;            /* fewer queues than workers */
	bool reaches_pool_only; /* hardware: external buffers must be copied */
	bool partial_known;     /* RX_L4_CKSUM_NONE means what we mean by it */
	bool probed;            /* by us, so ours to remove */
	int wait_fd;            /* epoll over its receive interrupt; -1: has none */
	uint32_t frame_max;     /* bytes, header included, without segmentation */
	uint64_t tx_offloads;
	struct rte_mempool *pool;
	unsigned bursts;
	struct queue queue[];
};

/* ---- receive ---------------------------------------------------------------------------- */

/*
 * Bring a device's flags to the meaning of classifier/packet.h. Virtio and vhost say
 * L4_CKSUM_NONE for a partial checksum, as we do; others mean "no checksum in this packet" or
 * "not looked at", which must not be completed by anybody.
 *
 * @return false when the frame must be dropped
 */
static bool
ethdev_flags(const struct ethdev *ethdev, struct rte_mbuf **mbuf)
{
	uint64_t flags = (*mbuf)->ol_flags;
	uint64_t kept = RTE_MBUF_F_RX_L4_CKSUM_BAD;

	/* Nobody asked for it, but some drivers cannot be told. */
	if ((flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0 && rte_vlan_insert(mbuf) != 0)
		return false;
	if ((flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		kept = ethdev->partial_known ? RTE_MBUF_F_RX_L4_CKSUM_NONE : 0;
	else
		kept = RTE_MBUF_F_RX_L4_CKSUM_MASK;
	/* A big frame is only as good as its checksum: not asked for, so only virtio's count. */
	if ((*mbuf)->tso_segsz != 0 && ethdev->partial_known)
		kept |= RTE_MBUF_F_RX_LRO;
	(*mbuf)->ol_flags = flags & (kept | RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT);
	return true;
}

static uint16_t
ethdev_rx_burst(struct port *port, struct rte_mbuf **burst, uint16_t count)
{
	struct ethdev *ethdev = port->driver;
	uint16_t received = rte_eth_rx_burst(ethdev->port_id, 0, burst, count);
	uint16_t kept = 0;

	for (uint16_t i = 0; i < received; i++) {
		if ((burst[i]->ol_flags & ~(RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT)) != 0 &&
			!ethdev_flags(ethdev, &burst[i])) {
			rte_pktmbuf_free(burst[i]);
			port->rx_dropped++;
			continue;
		}
		packet_of(burst[i])->in_port = port->index;
		burst[kept++] = burst[i];
	}
	return kept;
}

static int
ethdev_wait_fd(const struct port *port)
{
	return ((const struct ethdev *)port->driver)->wait_fd;
}

/*
 * Interrupts leave their mark in the descriptor, also while we poll: it is taken away first, or the
 * next wait would not be one. A driver that has a descriptor, but nothing to switch, always tells.
 */
static int
ethdev_wait_arm(struct port *port, bool arm)
{
	struct ethdev *ethdev = port->driver;
	struct rte_epoll_event event;
	int error;

	(void)rte_epoll_wait(ethdev->wait_fd, &event, 1, 0);
	error = arm ? rte_eth_dev_rx_intr_enable(ethdev->port_id, 0)
		    : rte_eth_dev_rx_intr_disable(ethdev->port_id, 0);
	return error == -ENOTSUP ? 0 : error;
}

/* Without interrupts the port must be polled. */
static void
interrupt_open(struct ethdev *ethdev)
{
	int log = rte_log_register("lib.ethdev");
	int level = rte_log_get_level(log);

	ethdev->wait_fd = epoll_create1(EPOLL_CLOEXEC);
	if (ethdev->wait_fd < 0)
		return;
	/* Having none is no error, though DPDK calls it one. */
	rte_log_set_level(log, RTE_LOG_CRIT);
	if (rte_eth_dev_rx_intr_ctl_q(
		    ethdev->port_id, 0, ethdev->wait_fd, RTE_INTR_EVENT_ADD, NULL) != 0) {
		close(ethdev->wait_fd);
		ethdev->wait_fd = -1;
	}
	rte_log_set_level(log, (uint32_t)level);
}

static void
interrupt_close(struct ethdev *ethdev)
{
	if (ethdev->wait_fd < 0)
		return;
	(void)rte_eth_dev_rx_intr_ctl_q(
		ethdev->port_id, 0, ethdev->wait_fd, RTE_INTR_EVENT_DEL, NULL);
	close(ethdev->wait_fd);
}

/* ---- send ------------------------------------------------------------------------------- */

static bool
offers(const struct ethdev *ethdev, uint64_t offload)
{
	return (ethdev->tx_offloads & offload) != 0;
}

static void
hardware_lengths(struct rte_mbuf *mbuf, const struct packet *packet)
{
	mbuf->l2_len = (uint64_t)packet->l3_offset & 0x7f;
	mbuf->l3_len = (uint64_t)(packet->l4_offset - packet->l3_offset) & 0x1ff;
	mbuf->l4_len = (uint64_t)(packet->payload_offset - packet->l4_offset) & 0xff;
	mbuf->ol_flags |=
		packet->tuple.family == FAMILY_IPV4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
}

/* Let the NIC segment: it wants the pseudo-header sum without the length, IPv4's sum empty. */
static void
hardware_segments(struct rte_mbuf *mbuf, const struct packet *packet)
{
	struct rte_tcp_hdr *tcp = packet_header(mbuf, packet->l4_offset, struct rte_tcp_hdr *);
	uint32_t sum = rte_cpu_to_be_16(IPPROTO_TCP);

	hardware_lengths(mbuf, packet);
	mbuf->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM;
	if (packet->tuple.family == FAMILY_IPV4) {
		struct rte_ipv4_hdr *ip =
			packet_header(mbuf, packet->l3_offset, struct rte_ipv4_hdr *);

		mbuf->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
		ip->hdr_checksum = 0;
		sum += rte_raw_cksum(&ip->src_addr, 2 * sizeof(ip->src_addr));
	} else {
		sum += rte_raw_cksum(
			packet_header(mbuf,
				packet->l3_offset + offsetof(struct rte_ipv6_hdr, src_addr),
				const uint8_t *),
			2 * 16);
	}
	sum = (sum & 0xffff) + (sum >> 16);
	tcp->cksum = (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static void
hardware_checksum(struct rte_mbuf *mbuf, const struct packet *packet)
{
	hardware_lengths(mbuf, packet);
	mbuf->ol_flags |= packet->tuple.protocol == IPPROTO_UDP ? RTE_MBUF_F_TX_UDP_CKSUM
								: RTE_MBUF_F_TX_TCP_CKSUM;
}

/* @return the frame in memory that the device can read, or NULL (then it is freed) */
static struct rte_mbuf *
reachable(const struct ethdev *ethdev, struct rte_mbuf *mbuf)
{
	struct rte_mbuf *copy;
	bool external = false;

	if (mbuf->nb_segs > 1 && !offers(ethdev, RTE_ETH_TX_OFFLOAD_MULTI_SEGS)) {
		if (rte_pktmbuf_linearize(mbuf) == 0)
			return mbuf;
		rte_pktmbuf_free(mbuf);
		return NULL;
	}
	if (!ethdev->reaches_pool_only)
		return mbuf;
	for (const struct rte_mbuf *next = mbuf; next != NULL; next = next->next)
		external |= RTE_MBUF_HAS_EXTBUF(next);
	if (!external)
		return mbuf;
	copy = rte_pktmbuf_copy(mbuf, ethdev->pool, 0, UINT32_MAX);
	if (copy != NULL && copy->nb_segs > 1 && !offers(ethdev, RTE_ETH_TX_OFFLOAD_MULTI_SEGS)) {
		rte_pktmbuf_free(copy);
		copy = NULL;
	}
	rte_pktmbuf_free(mbuf);
	return copy;
}

/* Hand a list to the device; what it does not take is freed. */
static uint16_t
ethdev_send(struct ethdev *ethdev, unsigned worker, struct rte_mbuf **list, uint16_t count)
{
	uint16_t index = (uint16_t)(worker % ethdev->queues);
	uint16_t sent = 0;

	if (ethdev->shared)
		rte_spinlock_lock(&ethdev->queue[index].lock);
	for (unsigned tries = 0; sent < count && tries < SEND_RETRIES; tries++) {
		uint16_t ready = count;

		if (ethdev->tx_offloads != 0)
			ready = (uint16_t)(sent + rte_eth_tx_prepare(ethdev->port_id, index,
							  list + sent, (uint16_t)(count - sent)));
		sent = (uint16_t)(sent + rte_eth_tx_burst(ethdev->port_id, index, list + sent,
						 (uint16_t)(ready - sent)));
		if (sent == ready && ready < count) {
			/* The driver refuses the next one: without it the rest can go. */
			rte_pktmbuf_free(list[sent]);
			count--;
			memmove(list + sent, list + sent + 1,
				(size_t)(count - sent) * sizeof(list[0]));
		}
	}
	if (ethdev->shared)
		rte_spinlock_unlock(&ethdev->queue[index].lock);
	rte_pktmbuf_free_bulk(list + sent, (unsigned)(count - sent));
	return sent;
}

/* A long frame that the device cannot cut. @return 1 when all its segments went out */
static uint16_t
send_segmented(struct ethdev *ethdev, unsigned worker, struct rte_mbuf *mbuf)
{
	struct rte_mbuf *segment[SEGMENTS_MAX];
	int count = offload_segment(mbuf, ethdev->pool, segment, SEGMENTS_MAX);
	int ready = 0;

	for (int i = 0; i < count; i++) {
		segment[ready] = reachable(ethdev, segment[i]);
		if (segment[ready] != NULL)
			ready++;
	}
	if (ready <= 0)
		return 0;
	return ethdev_send(ethdev, worker, segment, (uint16_t)ready) == count;
}

static uint16_t
ethdev_tx_burst(struct port *port, unsigned worker, struct rte_mbuf **burst, uint16_t count)
{
	struct ethdev *ethdev = port->driver;
	uint16_t ready = 0;
	uint16_t sent = 0;

	for (uint16_t i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = burst[i];
		const struct packet *packet = packet_of(mbuf);
		bool is_udp = packet->tuple.protocol == IPPROTO_UDP;
		uint64_t flags = mbuf->ol_flags;

		if ((flags & ~(RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT)) != 0) {
			bool partial = (flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) ==
				       RTE_MBUF_F_RX_L4_CKSUM_NONE;
			bool tso = !is_udp && offers(ethdev, RTE_ETH_TX_OFFLOAD_TCP_TSO);

			if ((flags & RTE_MBUF_F_RX_LRO) != 0 && !tso) {
				/* In order: what is collected goes first. */
				sent = (uint16_t)(sent + ethdev_send(ethdev, worker, burst, ready));
				ready = 0;
				sent = (uint16_t)(sent + send_segmented(ethdev, worker, mbuf));
				continue;
			}
			mbuf->ol_flags &= RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;
			if ((flags & RTE_MBUF_F_RX_LRO) != 0)
				hardware_segments(mbuf, packet);
			else if (partial && offers(ethdev, is_udp ? RTE_ETH_TX_OFFLOAD_UDP_CKSUM
								  : RTE_ETH_TX_OFFLOAD_TCP_CKSUM))
				hardware_checksum(mbuf, packet);
			else if (partial)
				offload_checksum(mbuf);
		}
		if (mbuf->pkt_len > ethdev->frame_max &&
			(mbuf->ol_flags & RTE_MBUF_F_TX_TCP_SEG) == 0) {
			rte_pktmbuf_free(mbuf);
			continue;
		}
		burst[ready] = reachable(ethdev, mbuf);
		if (burst[ready] != NULL)
			ready++;
	}
	return (uint16_t)(sent + ethdev_send(ethdev, worker, burst, ready));
}

/* ---- open and close --------------------------------------------------------------------- */

static void
ethdev_close(struct port *port)
{
	struct ethdev *ethdev = port->driver;
	struct rte_eth_dev_info info;

	if (ethdev == NULL)
		return;
	port->driver = NULL;
	interrupt_close(ethdev);
	if (rte_eth_dev_info_get(ethdev->port_id, &info) == 0) {
		struct rte_eth_dev_owner owner;

		(void)rte_eth_dev_stop(ethdev->port_id);
		if (rte_eth_dev_owner_get(ethdev->port_id, &owner) == 0)
			(void)rte_eth_dev_owner_unset(ethdev->port_id, owner.id);
		(void)rte_eth_dev_close(ethdev->port_id);
		if (ethdev->probed)
			(void)rte_dev_remove(info.device);
	}
	rte_free(ethdev);
}

/* A device that is there already may be another port's, or that of one that is still being closed.
 */
static int
device_free_check(const struct port *port, const struct conf_port *conf,
	const struct port_setup *setup, const char *kind, uint16_t port_id)
{
	struct rte_eth_dev_owner owner;

	if (rte_eth_dev_owner_get(port_id, &owner) != 0 || owner.id == RTE_ETH_DEV_NO_OWNER)
		return 0;
	report_line(setup->report,
		"port %s: device %s:%s: port %s still has it: take that away first", port->name,
		kind, conf->argument, owner.name);
	return -EBUSY;
}

/* So that nobody else takes it. */
static int
device_own(const struct port *port, uint16_t port_id)
{
	struct rte_eth_dev_owner owner;

	snprintf(owner.name, sizeof(owner.name), "%s", port->name);
	if (rte_eth_dev_owner_new(&owner.id) != 0)
		return -ENODEV;
	return rte_eth_dev_owner_set(port_id, &owner);
}

/* Find the device, or have DPDK make it. */
static int
device_find(const struct port *port, const struct conf_port *conf, const struct port_setup *setup,
	uint16_t *port_id, bool *probed)
{
	const char *kind = conf->device == DEVICE_PCI ? "pci" : "dpdk";
	char name[RTE_ETH_NAME_MAX_LEN];
	struct rte_dev_iterator iterator;
	uint16_t found;
	int error;

	*probed = false;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(conf->argument, ","), conf->argument);
	if (rte_eth_dev_get_port_by_name(name, port_id) == 0)
		return device_free_check(port, conf, setup, kind, *port_id);
	error = rte_dev_probe(conf->argument);
	if (error != 0) {
		report_line(setup->report, "port %s: device %s:%s: %s (%s)", port->name, kind,
			conf->argument, strerror(-error),
			conf->device == DEVICE_PCI
				? "is it bound to vfio-pci? `dpdk-devbind.py --status` shows it"
				: "DRIVERNAME,KEY=VALUE,... as for EAL's --vdev");
		return error;
	}
	*probed = true;
	if (rte_eth_dev_get_port_by_name(name, port_id) == 0)
		return 0;
	/* A PCI address may be written shorter than the device is called. */
	RTE_ETH_FOREACH_MATCHING_DEV(found, conf->argument, &iterator)
	{
		*port_id = found;
		rte_eth_iterator_cleanup(&iterator);
		return 0;
	}
	report_line(setup->report, "port %s: device %s:%s: is no network device", port->name, kind,
		conf->argument);
	return -ENODEV;
}

/*
 * @param senders who want a transmit queue of their own
 * @param interrupt whether it shall tell when frames arrive
 */
static int
device_start(struct port *port, struct ethdev *ethdev, const struct port_setup *setup,
	unsigned senders, bool interrupt)
{
	struct rte_eth_conf conf = {.intr_conf.rxq = interrupt};
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	uint16_t rx_descriptors = DESCRIPTORS;
	uint16_t tx_descriptors = DESCRIPTORS;
	uint32_t room = rte_pktmbuf_data_room_size(ethdev->pool) - RTE_PKTMBUF_HEADROOM;
	uint16_t mtu;
	int socket = rte_eth_dev_socket_id(ethdev->port_id);
	int error = rte_eth_dev_info_get(ethdev->port_id, &info);

	if (error == 0)
		error = rte_eth_dev_get_mtu(ethdev->port_id, &mtu);
	if (error == 0)
		error = rte_eth_macaddr_get(ethdev->port_id, &mac);
	if (error != 0)
		return error;
	port->mtu = mtu;
	memcpy(port->mac, mac.addr_bytes, sizeof(port->mac));
	ethdev->frame_max = mtu + RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN;
	ethdev->reaches_pool_only = strcmp(rte_bus_name(rte_dev_bus(info.device)), "vdev") != 0;
	ethdev->partial_known = strstr(info.driver_name, "virtio") != NULL ||
				strstr(info.driver_name, "vhost") != NULL;
	ethdev->queues = (uint16_t)RTE_MAX(1u, RTE_MIN(senders, (unsigned)info.max_tx_queues));
	ethdev->shared = ethdev->queues < setup->workers;
	ethdev->tx_offloads = info.tx_offload_capa &
			      (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
				      RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO |
				      RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
	/* A long frame is a chain: without chains there is no use in segmentation. */
	if (!offers(ethdev, RTE_ETH_TX_OFFLOAD_MULTI_SEGS) ||
		!offers(ethdev, RTE_ETH_TX_OFFLOAD_TCP_CKSUM) ||
		!offers(ethdev, RTE_ETH_TX_OFFLOAD_IPV4_CKSUM))
		ethdev->tx_offloads &= ~RTE_ETH_TX_OFFLOAD_TCP_TSO;
	conf.txmode.offloads = ethdev->tx_offloads;
	conf.rxmode.mtu = mtu;
	conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_CHECKSUM;
	if (ethdev->frame_max > room)
		conf.rxmode.offloads |= info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
	error = rte_eth_dev_configure(ethdev->port_id, 1, ethdev->queues, &conf);
	if (error == 0)
		error = rte_eth_dev_adjust_nb_rx_tx_desc(
			ethdev->port_id, &rx_descriptors, &tx_descriptors);
	if (error == 0) {
		struct rte_eth_rxconf rx = info.default_rxconf;

		rx.offloads = conf.rxmode.offloads;
		error = rte_eth_rx_queue_setup(
			ethdev->port_id, 0, rx_descriptors, (unsigned)socket, &rx, ethdev->pool);
	}
	for (uint16_t i = 0; i < ethdev->queues && error == 0; i++) {
		struct rte_eth_txconf tx = info.default_txconf;

		tx.offloads = conf.txmode.offloads;
		error = rte_eth_tx_queue_setup(
			ethdev->port_id, i, tx_descriptors, (unsigned)socket, &tx);
		rte_spinlock_init(&ethdev->queue[i].lock);
	}
	if (error == 0)
		error = rte_eth_dev_start(ethdev->port_id);
	/* Neighbour discovery asks multicast groups; a device without filters has no such switch.
	 */
	if (error == 0)
		(void)rte_eth_allmulticast_enable(ethdev->port_id);
	return error;
}

/*
 * Whether a device has interrupts, with the driver it is bound to, shows when it starts; so does
 * whether it wants as many queues for receiving as for sending (net_tap).
 */
static int
device_start_somehow(struct port *port, struct ethdev *ethdev, const struct port_setup *setup)
{
	const unsigned senders[] = {setup->workers, 1};
	int error = -EINVAL;

	for (unsigned i = 0; i < RTE_DIM(senders) && error != 0; i++) {
		error = device_start(port, ethdev, setup, senders[i], true);
		if (error == 0)
			interrupt_open(ethdev);
		else
			error = device_start(port, ethdev, setup, senders[i], false);
	}
	return error;
}

static bool
ethdev_link_up(const struct port *port)
{
	const struct ethdev *ethdev = port->driver;
	struct rte_eth_link link;

	return rte_eth_link_get_nowait(ethdev->port_id, &link) != 0 ||
	       link.link_status == RTE_ETH_LINK_UP; /* who cannot tell is believed to be up */
}

static const struct port_ops ethdev_ops = {
	.kind = "ethdev",
	.rx_burst = ethdev_rx_burst,
	.tx_burst = ethdev_tx_burst,
	.wait_fd = ethdev_wait_fd,
	.wait_arm = ethdev_wait_arm,
	.link_up = ethdev_link_up,
	.close = ethdev_close,
};

int
port_ethdev_open(struct port *port, const struct conf_port *conf, const struct port_setup *setup)
{
	struct ethdev *ethdev;
	int error;

	ethdev = rte_zmalloc("port", sizeof(*ethdev) + setup->workers * sizeof(ethdev->queue[0]),
		RTE_CACHE_LINE_SIZE);
	if (ethdev == NULL)
		return -ENOMEM;
	ethdev->pool = setup->pool;
	ethdev->wait_fd = -1;
	error = device_find(port, conf, setup, &ethdev->port_id, &ethdev->probed);
	if (error != 0) {
		rte_free(ethdev);
		return error;
	}
	port->driver = ethdev;
	error = device_own(port, ethdev->port_id);
	if (error == 0)
		error = device_start_somehow(port, ethdev, setup);
	if (error != 0) {
		report_line(setup->report, "port %s: device %s: cannot be started: %s", port->name,
			conf->argument, strerror(-error));
		ethdev_close(port);
		return error;
	}
	port->keeps_packets = true;
	port->ops = &ethdev_ops;
	return 0;
}
