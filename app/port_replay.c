/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports made of captures.
 *
 * A burst passes the data plane stage by stage, and a packet that belongs to another worker makes
 * a detour. So the order in which frames leave depends on how the input was cut into bursts and on
 * the number of workers, within what the network allows. A replay must not: frames are kept until
 * everything that the burst caused has come out, and then put into the order of the packets that
 * caused them. The data plane marks each frame with that packet's serial number.
 */
#include "app/port_replay.h"

#include <errno.h>
#include <stdlib.h>

#include "app/offload.h"

#define REPLAY_MTU 65535

struct sent_frame {
	uint32_t serial;
	uint32_t order; /* among the frames of the same packet */
	uint32_t length;
	size_t offset; /* in `bytes` */
};

struct replay_port {
	struct sent_frame *frames;
	uint32_t count;
	uint32_t capacity;
	uint8_t *bytes;
	size_t used;
	size_t size;
	bool no_memory;
};

static uint16_t
replay_rx_burst(struct port *port, struct rte_mbuf **burst, uint16_t count)
{
	(void)port;
	(void)burst;
	(void)count;
	return 0;
}

/* Make room for one more frame of @p length bytes. */
static bool
replay_reserve(struct replay_port *replay, uint32_t length)
{
	if (replay->count == replay->capacity) {
		uint32_t capacity = replay->capacity * 2 + BURST_MAX;
		struct sent_frame *frames = reallocarray(replay->frames, capacity, sizeof(*frames));

		if (frames == NULL)
			return false;
		replay->frames = frames;
		replay->capacity = capacity;
	}
	if (replay->size - replay->used < length) {
		size_t size = replay->size * 2 + length;
		uint8_t *bytes = realloc(replay->bytes, size);

		if (bytes == NULL)
			return false;
		replay->bytes = bytes;
		replay->size = size;
	}
	return true;
}

static bool
replay_keep(struct replay_port *replay, struct rte_mbuf *mbuf)
{
	uint32_t length = rte_pktmbuf_pkt_len(mbuf);
	uint8_t *bytes;
	const void *frame;

	if ((mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		offload_checksum(mbuf);
	if (!replay_reserve(replay, length))
		return false;
	bytes = replay->bytes + replay->used;
	frame = rte_pktmbuf_read(mbuf, 0, length, bytes);
	if (frame != bytes && length != 0)
		memcpy(bytes, frame, length);
	replay->frames[replay->count] = (struct sent_frame){
		.serial = packet_of(mbuf)->serial,
		.order = replay->count,
		.length = length,
		.offset = replay->used,
	};
	replay->count++;
	replay->used += length;
	return true;
}

static uint16_t
replay_tx_burst(struct port *port, unsigned worker, struct rte_mbuf **burst, uint16_t count)
{
	struct replay_port *replay = port->driver;
	uint16_t sent = 0;

	(void)worker;
	for (uint16_t i = 0; i < count; i++) {
		if (replay_keep(replay, burst[i]))
			sent++;
		else
			replay->no_memory = true;
		rte_pktmbuf_free(burst[i]);
	}
	return sent;
}

static int
replay_wait_fd(const struct port *port)
{
	(void)port;
	return -1;
}

static void
replay_close(struct port *port)
{
	struct replay_port *replay = port->driver;

	if (replay == NULL)
		return;
	free(replay->frames);
	free(replay->bytes);
	free(replay);
	port->driver = NULL;
}

static const struct port_ops replay_ops = {
	.kind = "replay",
	.rx_burst = replay_rx_burst,
	.tx_burst = replay_tx_burst,
	.wait_fd = replay_wait_fd,
	.close = replay_close,
};

int
port_replay_open(struct port *port, const uint8_t mac[6])
{
	struct replay_port *replay = calloc(1, sizeof(*replay));

	if (replay == NULL)
		return -ENOMEM;
	port->ops = &replay_ops;
	port->driver = replay;
	port->mtu = REPLAY_MTU;
	memcpy(port->mac, mac, sizeof(port->mac));
	return 0;
}

static int
frame_compare(const void *a, const void *b)
{
	const struct sent_frame *left = a;
	const struct sent_frame *right = b;

	if (left->serial != right->serial)
		return left->serial < right->serial ? -1 : 1;
	return left->order < right->order ? -1 : left->order > right->order;
}

int
port_replay_flush(struct port *port, port_replay_fn write, void *context)
{
	struct replay_port *replay = port->driver;

	if (replay->count > 1)
		qsort(replay->frames, replay->count, sizeof(replay->frames[0]), frame_compare);
	for (uint32_t i = 0; i < replay->count; i++)
		write(context, port, replay->frames[i].serial,
			replay->bytes + replay->frames[i].offset, replay->frames[i].length);
	replay->count = 0;
	replay->used = 0;
	return replay->no_memory ? -ENOMEM : 0;
}
