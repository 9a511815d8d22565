/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The MAC address of a replayed port, found in its captures.
 *
 * sluice.conf says nothing about it, as live ports have one of their own. A capture does: what the
 * port's peers send to the outside goes to its MAC. Captures of a live link hold both directions,
 * so the first frame may as well be one that the firewall sent. The addresses we know tell the
 * directions apart: on a qube's port, what has the qube's address as source came in and what has
 * it as destination went out; on the uplink it is our own address, the other way round. A firewall
 * forwards to one station, so a multicast with our address was never ours. Only when no frame
 * carries a known address does the first unicast IP frame count as one to us.
 */
#include "app/station.h"

#include <rte_ether.h>
#include <rte_ip.h>

void
station_init(struct station *station, unsigned port_index)
{
	unsigned number = port_index + 1;

	*station = (struct station){
		.mac = {0x02, 0, 0, 0, (uint8_t)(number >> 8), (uint8_t)number},
	};
}

static void
station_learn(struct station *station, enum station_clue clue, const struct rte_ether_addr *mac)
{
	if (clue <= station->clue || !rte_is_valid_assigned_ether_addr(mac))
		return;
	station->clue = clue;
	memcpy(station->mac, mac, sizeof(station->mac));
}

/* Read the addresses of an IP frame. @return false when it is none */
static bool
frame_addresses(const uint8_t *frame, uint32_t length, enum family *family, union address *source,
	union address *destination)
{
	const struct rte_ether_hdr *ethernet = (const struct rte_ether_hdr *)frame;
	const void *ip = ethernet + 1;

	*source = *destination = (union address){0};
	if (length >= sizeof(*ethernet) + sizeof(struct rte_ipv4_hdr) &&
		ethernet->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4)) {
		const struct rte_ipv4_hdr *v4 = ip;

		*family = FAMILY_IPV4;
		*source = address_v4(v4->src_addr);
		*destination = address_v4(v4->dst_addr);
		return true;
	}
	if (length >= sizeof(*ethernet) + sizeof(struct rte_ipv6_hdr) &&
		ethernet->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6)) {
		const struct rte_ipv6_hdr *v6 = ip;

		*family = FAMILY_IPV6;
		memcpy(source->v6, &v6->src_addr, sizeof(source->v6));
		memcpy(destination->v6, &v6->dst_addr, sizeof(destination->v6));
		return true;
	}
	return false;
}

void
station_observe(struct station *station, const struct policy *policy,
	const struct policy_port *port, const uint8_t *frame, uint32_t length)
{
	const struct rte_ether_hdr *ethernet = (const struct rte_ether_hdr *)frame;
	union address source, destination;
	const union address *known = NULL;
	bool from_known, to_known;
	bool unicast;
	enum family family;

	if (station->clue == STATION_INBOUND ||
		!frame_addresses(frame, length, &family, &source, &destination))
		return;
	if (port->role != ROLE_UPLINK && policy->qubes[port->qube].has[family])
		known = &policy->qubes[port->qube].address[family];
	else if (port->role == ROLE_UPLINK && port->has[family])
		known = &port->address[family];
	from_known = known != NULL && address_equal(&source, known);
	to_known = known != NULL && address_equal(&destination, known);
	unicast = rte_is_valid_assigned_ether_addr(&ethernet->dst_addr);

	if (port->role != ROLE_UPLINK ? from_known : to_known)
		station_learn(station, STATION_INBOUND, &ethernet->dst_addr);
	else if (unicast && (port->role != ROLE_UPLINK ? to_known : from_known))
		station_learn(station, STATION_OUTBOUND, &ethernet->src_addr);
	else
		station_learn(station, STATION_DESTINATION, &ethernet->dst_addr);
}
