/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taps: live packets for `trace` and `capture`.
 *
 * While there is none, a packet costs what it cost without them. While there is one, every frame
 * that arrives and matches is copied, or for `trace` only noted, in a record; the number of the
 * record travels in the packet, so that whoever ends the packet's way - another worker, after a
 * wait for a neighbour or for fragments - completes it with the verdict and hands it to the control
 * thread. Frames that leave are recorded as they leave. Nothing here waits: when a tap has no
 * record left, or its ring is full, it counts what it missed, and the packet goes on.
 *
 * Life of a tap: tap_create; a set with it is given to every worker; then it is told to receive. To
 * end it, it is told to stop, every worker gets a set without it, and it is freed: packets that are
 * under way then carry the number of a record that nobody looks for any more. Workers see a set
 * only between bursts (app/tap_table.h does all this).
 */
#pragma once

#include <stdatomic.h>

#include "app/packet_summary.h"
#include "app/tap_filter.h"
#include "app/worker.h"

/* At once. */
#define TAPS_MAX 4
/* Buffers of a tap; a frame takes one for each 2 KiB of it. */
#define TAP_BUFFERS 1024
/* Records that wait for the control thread; a power of two. */
#define TAP_RING 1024
#define TAP_SNAPLEN_MAX 262144

struct tap;

/* What a tap is to see. */
struct tap_options {
	bool frames;      /* with their bytes, in both directions; else what arrives, without */
	bool drops;       /* only what is dropped */
	uint16_t port;    /* PORT_NONE: all */
	uint32_t snaplen; /* bytes of a frame that are kept */
	struct tap_filter filter;
};

/* How a packet was related to its flow. */
enum tap_flow { TAP_FLOW_NONE, TAP_FLOW_OPENED, TAP_FLOW_KNOWN };

/* A frame and what became of it; in the private area of the mbuf that holds its bytes. */
struct tap_record {
	uint32_t serial; /* in struct packet while its way has not ended */
	uint32_t next;   /* serial of another tap's record of the same packet; 0: none */
	uint64_t tsc;
	uint32_t wire_length;
	uint16_t port; /* where the frame was seen */
	bool out;      /* it left there; else it arrived */
	bool own;      /* made by the firewall: there is no summary */
	uint8_t flow;  /* enum tap_flow; with one of them, this is known: */
	uint8_t flow_state;
	bool flow_inbound;
	bool next_hop_known;
	uint8_t next_mac[6];
	union address next_hop;
	struct tuple left; /* the packet as it left, or would have */
	struct packet_summary summary;
};

/* The taps that a worker serves. Immutable. */
struct tap_set {
	struct tap *tap[TAPS_MAX]; /* by slot; NULL: none */
};

/** Make a tap for one slot. Control thread. @return 0 or -errno */
int tap_create(unsigned slot, const struct tap_options *options, struct tap **out);

/** No worker may have it in its set. NULL is fine. */
void tap_free(struct tap *tap);

/** Have it record, or not any more. Every worker must have it in its set. */
void tap_receive_from_now(struct tap *tap, bool receive);

/** Have a worker serve a set. In its own thread. @param set NULL: none */
void tap_install(struct worker *worker, const struct tap_set *set);

/**
 * Take finished records. Control thread.
 * @return how many; give each back by rte_pktmbuf_free
 */
unsigned tap_take(struct tap *tap, struct rte_mbuf **records, unsigned count);

/** The record of an mbuf from tap_take. */
static inline const struct tap_record *
tap_record(struct rte_mbuf *mbuf)
{
	return rte_mbuf_to_priv(mbuf);
}

/** How many packets it should have recorded and has not. */
uint64_t tap_missed(const struct tap *tap);

/* Data path, while a worker has a set. */

/** Frames that have just arrived. */
void tap_arrived(struct worker *worker, struct rte_mbuf *const *burst, unsigned count);

/** Frames that are about to leave through @p port. */
void tap_leaves(
	struct worker *worker, uint16_t port, struct rte_mbuf *const *burst, unsigned count);
