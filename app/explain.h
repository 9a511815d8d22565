/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What would happen to a frame: the way of a packet, asked instead of gone.
 *
 * The stages are those of app/pipeline.c, by the same functions, or by those halves of them that
 * decide and take nothing. Where a stage would change something (open a flow, end another one, ask
 * for a neighbour) it is only noted. The data plane does not notice: no counter moves.
 *
 * Everything up to the flow lookup may be asked by any thread that keeps the policy from being
 * freed; the rest by the worker that owns the flow, between two bursts.
 */
#pragma once

#include "app/worker.h"

#define EXPLAIN_FRAME_MAX 2048

/* Each row is STAGE(identifier, "name of the control socket"). */
/* clang-format off */
#define EXPLAIN_STAGES(STAGE) \
	STAGE(PARSE,  "parse") \
	STAGE(GUARD,  "guard") \
	STAGE(LOCAL,  "local") \
	STAGE(STEER,  "steer") \
	STAGE(LOOKUP, "lookup") \
	STAGE(DECIDE, "decide") \
	STAGE(OPEN,   "open") \
	STAGE(TRACK,  "track") \
	STAGE(ROUTE,  "route")
/* clang-format on */

enum explain_stage {
#define EXPLAIN_STAGE_ENUM(identifier, name) EXPLAIN_##identifier,
	EXPLAIN_STAGES(EXPLAIN_STAGE_ENUM)
#undef EXPLAIN_STAGE_ENUM
		EXPLAIN_STAGE_COUNT
};

enum explain_flow {
	EXPLAIN_FLOW_NONE, /* it did not come so far, or belongs to none */
	EXPLAIN_FLOW_NEW,  /* it would open one */
	EXPLAIN_FLOW_OPEN, /* it belongs to one */
};

struct explanation {
	uint32_t generation;      /* of the policy that was asked */
	bool stale;               /* another policy came into force meanwhile: ask again */
	unsigned passed;          /* stages that let it pass, one bit each */
	enum explain_stage stage; /* where its way ends */
	enum verdict verdict;
	enum reason reason;
	enum answer answer; /* what the sender hears */
	bool resets;        /* who speaks in a connection that is no longer allowed is reset */
	bool waits;         /* for the MAC of the next hop; whether that answers is not known */
	uint16_t rule;      /* as a packet says it */
	unsigned owner;     /* worker */
	enum explain_flow flow;
	struct flow known; /* EXPLAIN_FLOW_OPEN: as it is; or the closed one that a SYN reopens */
	bool reopens;
	bool decided; /* rules or forwards were asked: see `decision` */
	struct decision decision;
	struct open_trial trial; /* EXPLAIN_OPEN was reached; pointers mean nothing any more */
	struct tuple leaves;     /* as it would leave, once its way out is known */
	uint16_t out_port;
	union address next_hop;
	uint64_t mac; /* of the next hop; 0 = not known */
};

/* One question. Its mbuf is of no pool and never leaves. */
struct explain {
	struct dataplane *dataplane;
	/* To be set behind explain_begin: a TCP segment of an open connection is given the numbers
	   that are expected there, since the question did not say any. */
	bool next_in_line;
	struct rte_mbuf mbuf;
	struct packet packet; /* the private area of `mbuf` */
	uint8_t frame[EXPLAIN_FRAME_MAX];
	struct explanation answer;
};

/**
 * Ask about a frame that arrives on port @p in_port: everything before the flow lookup.
 * @return whether the worker `answer.owner` must be asked for the rest; else the answer is complete
 */
bool explain_begin(struct explain *explain, struct dataplane *dataplane,
	const struct policy *policy, uint16_t in_port, const void *frame, uint32_t length);

/** Ask the worker that owns the flow. In its thread, between two bursts. */
void explain_owned(struct explain *explain, struct worker *worker);
