/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports: where frames come from and go to. One interface, four kinds:
 *
 *	port_kernel.c  kernel:IFNAME, an AF_PACKET ring with PACKET_VNET_HDR
 *	port_tap.c     tap:IFNAME, a TAP device for our own kernel
 *	port_ethdev.c  pci:ADDRESS and dpdk:DEVARGS, any DPDK ethdev
 *	port_replay.c  captures, for sluice-replay
 *
 * One worker receives from a port (its owner); every worker may send to it. Received mbufs come
 * from `setup->pool`, so they have a struct packet as private area, and have `in_port` set. The
 * meaning of offload flags is that of classifier/packet.h, in both directions: a port completes
 * checksums and segments on transmission when the device behind it cannot.
 */
#pragma once

#include <stdatomic.h>

#include "app/neighbour.h"
#include "conf/conf.h"

struct port;

struct port_ops {
	const char *kind;
	/* Receive up to `count` frames (<= BURST_MAX). Never blocks. Owner worker only. */
	uint16_t (*rx_burst)(struct port *port, struct rte_mbuf **burst, uint16_t count);
	/*
	 * Send a burst and take ownership of all of it: what could not be sent is freed.
	 * Returns how many were sent. Called by any worker, `worker` being its index.
	 */
	uint16_t (*tx_burst)(
		struct port *port, unsigned worker, struct rte_mbuf **burst, uint16_t count);
	/* Descriptor that becomes readable when frames wait; -1 when the port must be polled. */
	int (*wait_fd)(const struct port *port);
	/*
	 * Have the descriptor become readable with the next frame, or no more. Frames that came
	 * before may not count: look once more before waiting. -errno: poll instead. NULL: it
	 * always does. Owner worker only.
	 */
	int (*wait_arm)(struct port *port, bool arm);
	/* Whether its device is there and has a link. Control thread. NULL: always. */
	bool (*link_up)(const struct port *port);
	/*
	 * The device has no link: if it was taken away and there is another one in its place now,
	 * take that. MAC and MTU may be others then. Control thread, while workers run. NULL:
	 * cannot. Returns whether it has.
	 */
	bool (*revive)(struct port *port, const struct report *report);
	/*
	 * Whether no packet is left anywhere that lies in memory of the port: then it may be
	 * closed. Asked when no worker receives from it or sends to it any more. NULL: always.
	 */
	bool (*is_idle)(const struct port *port);
	void (*close)(struct port *port);
};

/* What opening a port needs from the program. */
struct port_setup {
	struct rte_mempool *pool; /* mbufs with struct packet as private area */
	unsigned workers;
	const struct report *report;
};

enum port_state {
	PORT_FREE,    /* nobody has this slot */
	PORT_OPEN,    /* the port of the policy in force with that index, or of the next one */
	PORT_LEAVING, /* of no policy any more; workers may not have forgotten it yet */
};

struct port {
	/* control thread: rw. Workers never look at it: policies say what they may touch */
	enum port_state state;
	const struct port_ops *ops; /* NULL until it is opened */
	char name[NAME_SIZE];
	uint16_t index; /* in the policy's ports */
	uint16_t owner; /* worker that receives from it */
	uint16_t mtu;   /* longest IP packet, bytes */
	uint8_t mac[6];
	struct neighbour_table *neighbours;
	bool keeps_packets;   /* the device has queues, which hold mbufs of the pool */
	bool peer_configured; /* the qube's MAC is in the configuration, not learned */
	void *driver;         /* private to the kind of port */
	/* data path: owner worker writes */
	uint64_t rx_dropped; /* frames the ring below lost, as far as known */
};

/**
 * Open the port that @p conf describes: fills ops, mac, mtu and driver of @p port.
 * @return 0, or -errno with the reason reported
 */
int port_open(struct port *port, const struct conf_port *conf, const struct port_setup *setup);

int port_kernel_open(struct port *port, const char *ifname, const struct port_setup *setup);
int port_tap_open(struct port *port, const char *ifname, const struct port_setup *setup);
int port_ethdev_open(
	struct port *port, const struct conf_port *conf, const struct port_setup *setup);
