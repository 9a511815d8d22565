/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A data plane on the table: real workers, tables and policy, ports made of test code.
 *
 *	work     10.137.0.16 fd09::10 ---+          +--- uplink 192.168.50.1 fd00:50::1
 *	personal 10.137.0.17 fd09::11 ---+ firewall +    gateway 192.168.50.2 fd00:50::2
 *	host (if wanted) ---------------+
 *	                  gateway 10.137.0.1 fd09::1
 *
 * Frames go in by plane_send and come out by plane_next, in the order in which each port sent
 * them. Every worker runs in the calling thread. plane_free fails the test if a single mbuf was
 * lost on the way.
 */
#pragma once

#include "app/worker.h"
#include "conf/live.h"
#include "tests/unit/frames.h"

enum plane_port { PLANE_UPLINK, PLANE_WORK, PLANE_PERSONAL, PLANE_HOST, PLANE_PORTS };

#define PLANE_WORK_ADDRESS "10.137.0.16"
#define PLANE_WORK_ADDRESS6 "fd09::10"
#define PLANE_PERSONAL_ADDRESS "10.137.0.17"
#define PLANE_PERSONAL_ADDRESS6 "fd09::11"
#define PLANE_GATEWAY "10.137.0.1"
#define PLANE_GATEWAY6 "fd09::1"
#define PLANE_UPLINK_ADDRESS "192.168.50.1"
#define PLANE_UPLINK_ADDRESS6 "fd00:50::1"
#define PLANE_ROUTER "192.168.50.2"
#define PLANE_ROUTER6 "fd00:50::2"
#define PLANE_DNS "10.139.1.1"
#define PLANE_RESOLVER "192.168.50.53"

extern const uint8_t plane_uplink_mac[6]; /* ours on the uplink */
extern const uint8_t plane_vif_mac[6];    /* ours towards qubes */
extern const uint8_t plane_qube_mac[6];   /* of every qube */
extern const uint8_t plane_router_mac[6];
extern const uint8_t plane_broadcast[6];

struct plane_options {
	unsigned workers;  /* 0: one */
	const char *rules; /* of work; NULL: policy=accept */
	const char *lines; /* more lines for [sluice], [gateway] follows them */
	const char *work;  /* more lines for [qube work] */
	const char *personal;
	const char *more; /* more sections */
	/* the uplink's addresses come from elsewhere: NULL: they are those above */
	const struct live_uplink *uplink;
	bool host; /* there is a port of our own kernel, which configures the uplink */
	bool automatic;   /* neighbours resolve by themselves */
	bool no_mac;      /* the qubes' MACs are to be learned */
	bool no_resolver;
};

/* What left a port. */
struct sent {
	struct sent *next;
	uint16_t port;
	uint32_t serial; /* of the received packet, as found in the mbuf */
	uint64_t ol_flags;
	struct frame frame;
};

struct plane {
	struct conf *conf;
	struct dataplane *dataplane;
	unsigned mbufs; /* free ones at the start */
	uint32_t now_ms;
	uint64_t received;
	struct sent *sent[PLANE_PORTS]; /* oldest first */
	/* instead of keeping what leaves, for the fuzzer; the frame is freed after it */
	void (*watch)(struct plane *plane, const struct port *port, const struct rte_mbuf *mbuf);
	void *watch_context;
};

struct plane *plane_create(const struct plane_options *options);

/** Put the policy of other options in force: those that a running data plane can take up. */
void plane_commit(struct plane *plane, const struct plane_options *options);

/** Everything is dropped, released and counted; @return how many mbufs were lost. */
unsigned plane_free(struct plane *plane);

/** Make the uplink's gateways known, as if they had answered. */
void plane_resolve(struct plane *plane);

/** Take mbufs through dataplane_receive of the worker that owns @p port, then run all workers. */
void plane_receive(struct plane *plane, uint16_t port, struct rte_mbuf **burst, unsigned count);

/** A frame that arrives on @p port, alone. */
void plane_send(struct plane *plane, uint16_t port, const struct frame *frame);

/** Run dataplane_service of all workers until none has anything to do. */
void plane_service(struct plane *plane);

/** Let time pass, in steps of 100 ms. */
void plane_wait(struct plane *plane, uint32_t ms);

/** The oldest frame that left @p port and was not looked at yet; NULL if there is none. */
struct sent *plane_next(struct plane *plane, uint16_t port);

/** How many frames of @p port wait to be looked at. */
unsigned plane_waiting(const struct plane *plane, uint16_t port);

/** Forget all frames that were sent. */
void plane_forget(struct plane *plane);

uint64_t plane_drops(const struct plane *plane, enum reason reason);
uint64_t plane_verdicts(const struct plane *plane);
unsigned plane_held(const struct plane *plane);
