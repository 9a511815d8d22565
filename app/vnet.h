/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Offloads at the border to the kernel: packet sockets with PACKET_VNET_HDR and TAP devices with
 * IFF_VNET_HDR put a struct virtio_net_hdr in front of every frame, which says what of its
 * checksum is there and whether it is many segments in one. In here that is said by mbuf flags,
 * see classifier/packet.h.
 */
#pragma once

#include <linux/virtio_net.h>

#include "classifier/packet.h"

#define VNET_SIZE sizeof(struct virtio_net_hdr)

/**
 * Turn what the kernel said into mbuf flags, repairing what they cannot express.
 * @param frame the bytes of @p mbuf, of which the headers are contiguous
 * @return false when the frame is nothing that could be forwarded rightly
 */
bool vnet_take(
	struct rte_mbuf *mbuf, uint8_t *frame, uint32_t length, const struct virtio_net_hdr *vnet);

/** Say of a frame that was parsed what the kernel must know of it. */
void vnet_fill(
	struct virtio_net_hdr *vnet, const struct rte_mbuf *mbuf, const struct packet *packet);
