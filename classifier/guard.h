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
};

/** Pack six MAC bytes into the low 48 bits of a word, in memory order. */
static inline uint64_t
mac_word(const void *mac)
{
	uint64_t word = 0;

	memcpy(&word, mac, 6);
	return word;
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
unsigned guard_burst(const struct policy *policy, const struct guard_port *port,
	struct rte_mbuf **burst, unsigned count);
