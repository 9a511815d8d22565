/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Conversations for fuzz_flows: two ends on a plane, each of which knows the other only by what it
 * gets. So whoever answers does so to the address and port that the data plane has made up.
 */
#pragma once

#include <netinet/in.h>

#include "tests/unit/plane.h"

#define TALKS 96
#define KEPT_MOST 192 /* bytes of a frame that an error may quote */
#define GRE 47
#define ETHER_HEADER 14

enum kind {
	TALK_OUT,      /* from a qube to a host beyond the uplink */
	TALK_DNS,      /* to the virtual resolver */
	TALK_EXTERNAL, /* from outside, through a forward */
	TALK_INTERNAL, /* from a qube, through a forward at the gateway's address */
	TALK_HAIRPIN,  /* likewise at the uplink's */
	TALK_QUBES,    /* from one qube to the other */
	TALK_FILTER,   /* from outside, to a port that a qube has opened */
	TALK_KINDS
};

/* One end, as it sees the conversation. Ports in host order; of a query, its identifier twice. */
struct end {
	uint16_t port; /* enum plane_port */
	bool known;    /* the other one has reached it */
	char local[ADDRESS_TEXT_SIZE], remote[ADDRESS_TEXT_SIZE];
	uint16_t local_port, remote_port;
	uint32_t next, expected; /* TCP: numbers */
	uint8_t last_flags;      /* of what it got */
	uint8_t kept[KEPT_MOST]; /* the last packet that it got, from its IP header */
	uint32_t kept_length;
};

struct talk {
	enum kind kind;
	enum family family;
	uint8_t protocol;
	uint8_t type; /* of a query */
	bool begun;
	uint32_t since;    /* the last packet of whoever had its place before */
	struct end end[2]; /* [0] asks */
};

extern struct talk talks[TALKS];

/* Who sends to whom in one frame. Of a query, both ports are its identifier. */
struct pair {
	union address source, destination;
	uint16_t source_port, destination_port;
	uint8_t protocol;
};

extern uint64_t random_state;
uint32_t draw(uint32_t range);

const char *talk_qube_address(enum family family, uint16_t port);
const char *talk_uplink_address(enum family family);

struct pair pair_of(const uint8_t *bytes, const struct frame_view *view);

/** Begin a conversation in the place of another; `begun` says if that could be. */
void talk_begin(struct talk *talk, uint32_t serial);

/** An end has got a packet: now it knows whom to answer. */
void talk_take(
	struct talk *talk, unsigned to, const struct frame *out, const struct frame_view *view);

/** What an end says next. */
void talk_packet(struct frame *frame, struct talk *talk, unsigned from);

/**
 * An ICMP error about the last packet that an end got; beyond the uplink mostly from a router.
 * @return false when there is nothing to quote
 */
bool talk_error(struct frame *frame, const struct talk *talk, unsigned from);

static inline bool
is_query(uint8_t protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}
