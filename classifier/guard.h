/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guard knows the port: who may send what there. See guard.c for the checks in their order.
 */
#pragma once

#include "classifier/policy.h"

/* What the guard must know about the receiving port beyond the policy. */
struct guard_port {
	uint16_t index;
	uint64_t own_mac;  /* our MAC there, as mac_word() packs it */
	uint64_t peer_mac; /* a qube's assigned or learned MAC; 0 = not known yet */
	bool learn;        /* replay: while peer_mac is 0, any packet may teach it */
	bool special;      /* out: one of those that passed is more than a whole packet of a flow,
			      see packet_is_special */
};

/* MAC words are written back by copying their first six bytes. */
_Static_assert(RTE_BYTE_ORDER == RTE_LITTLE_ENDIAN, "little-endian machines only");

/**
 * Pack six MAC bytes into the low 48 bits of a word, in memory order.
 *
 * Two loads and a shift: copying six bytes into a word and reading all eight would wait for the
 * stores.
 */
static inline uint64_t
mac_word(const void *mac)
{
	uint32_t first;
	uint16_t rest;

	memcpy(&first, mac, sizeof(first));
	memcpy(&rest, (const uint8_t *)mac + sizeof(first), sizeof(rest));
	return (uint64_t)rest << 32 | first;
}

/**
 * Check a burst that arrived on one port.
 *
 * Sets `qube`, and the flags PACKET_LOCAL and PACKET_DNS. Survivors keep their order at the front;
 * rejected packets follow with `reason` set. ARP and neighbour discovery that pass are left to the
 * caller (`kind` PACKET_ARP, flag PACKET_ND).
 *
 * @return how many survived
 */
unsigned guard_burst(const struct policy *policy, struct guard_port *port, struct rte_mbuf **burst,
	unsigned count);

/**
 * Tell why a packet from the uplink that belongs to no flow is dropped: DOWNSTREAM_SOURCE when its
 * source is an address of ours or of a qube, else NO_FLOW.
 *
 * The owner table is asked here, for a packet that found no flow of its side, and not for every
 * packet. A forged source may hit a qube's flow, but only in the direction that comes from the
 * qube's own port: whoever looks flows up must compare the port.
 */
enum reason guard_unsolicited(const struct policy *policy, const struct packet *packet);

/** Tell whether an address is loopback, multicast, broadcast, unspecified or otherwise no host. */
bool address_is_martian(enum family family, const union address *address);
