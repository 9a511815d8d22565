/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Port forwards, and which qubes may talk to each other without one.
 *
 * Both are part of a policy snapshot: immutable once published. A forward listens on our side of
 * one network, for TCP or UDP: external ones on the uplink's addresses for whoever is across the
 * uplink, internal ones on the gateway's addresses and the uplink's (hairpin, RFC 4787 REQ-9) for
 * the qubes. It stands for both address families as far as uplink and target have them.
 *
 * Its target is named by the qube's index. The first forward in the order of the configuration that
 * matches decides; a configuration in which two of them could match one packet is refused.
 */
#pragma once

#include "classifier/address.h"
#include "classifier/hits.h"

#define FORWARDS_MAX 1024
#define ALLOWS_MAX 1024

enum forward_side { FORWARD_EXTERNAL, FORWARD_INTERNAL, FORWARD_SIDES };

struct forward {
	char name[32]; /* of its section or rule */
	enum forward_side side;
	uint8_t protocol;      /* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t first, last;  /* ports it listens on, host order, inclusive */
	uint16_t target_first; /* port of the target that stands for `first`, host order */
	bool target_single;    /* every port leads to target_first; else first + n to target + n */
	bool has_source;       /* else anyone */
	enum family source_family;
	struct prefix source; /* who may connect */
	uint16_t qube;        /* index of the target */
	uint64_t expire_s;    /* unix time at which it ends; 0 = never */
	struct hits *hits;    /* flows it has opened; the table's. NULL where nobody counts */
};

/* Qubes of this firewall that may open flows to each other, unchanged and without a forward. */
struct allow {
	char name[32];
	uint16_t from, to;    /* indices of qubes */
	uint8_t protocol;     /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP (both families), 0 = all */
	uint16_t first, last; /* destination ports, host order; 0 and 65535 without ports */
};

/* One bit per port, host order. */
struct port_set {
	uint64_t word[65536 / 64];
};

static inline bool
port_set_has(const struct port_set *set, uint16_t port)
{
	return (set->word[port >> 6] >> (port & 63) & 1) != 0;
}

struct forward_table {
	unsigned count;
	struct forward *forwards;
	unsigned allow_count;
	struct allow *allows;
	/* ports that any forward listens on, by side and protocol (0 TCP, 1 UDP) */
	struct port_set listens[FORWARD_SIDES][2];
	/* external ports that must never be handed out: those of forwards of either side, since
	   internal ones listen on the uplink's address too */
	struct port_set reserved[2];
};

/**
 * Build a table. Copies both arrays, and leaves out forwards whose time is over. Takes a reference
 * on the counter of those that have one.
 * @param now_s unix time
 * @return NULL when out of memory
 */
struct forward_table *forward_table_create(const struct forward *forwards, unsigned count,
	const struct allow *allows, unsigned allow_count, uint64_t now_s);
void forward_table_free(struct forward_table *table);

/**
 * Find the forward that listens for a packet which is addressed to one of our own addresses.
 * @param tuple of the packet as it came
 * @return NULL if there is none
 */
const struct forward *forward_find(
	const struct forward_table *table, enum forward_side side, const struct tuple *tuple);

/** The target's port that stands for a port the forward listens on, both in network order. */
rte_be16_t forward_target_port(const struct forward *forward, rte_be16_t port);

/**
 * Tell whether qube @p from may open this flow to qube @p to.
 * @param destination_port network order; 0 for protocols without ports
 */
bool forward_allows(const struct forward_table *table, uint16_t from, uint16_t to, uint8_t protocol,
	rte_be16_t destination_port);

/** The external ports that must not be handed out for @p protocol; NULL if it has none. */
const struct port_set *forward_reserved(const struct forward_table *table, uint8_t protocol);

/** When the next forward expires, unix time; 0 = none does. */
uint64_t forward_next_expiry(const struct forward_table *table);
