/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last stages: hop limit, MTU and next hop, then rewriting, then out.
 *
 * Nothing is changed in a packet before it is certain that it goes: answers quote it as it came,
 * and what waits for a neighbour waits as it came. Only then it is rewritten, and cut to pieces if
 * it is longer than the way out is wide or came in pieces itself.
 */
#include <netinet/in.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#include "app/offload.h"
#include "app/worker.h"
#include "nat/mss.h"
#include "nat/rewrite.h"

#define IPV4_MTU_LEAST 68   /* RFC 791 section 3.2 */
#define IPV6_MTU_LEAST 1280 /* RFC 8200 section 5 */
/* Options that are repeated in every fragment may make more of them than there were. */
#define SPLIT_MAX (2 * FRAGMENTS_PER_DATAGRAM)

enum reason
route_next_hop(const struct policy *policy, enum family family, const union address *destination,
	union address *next_hop)
{
	const struct policy_port *uplink = &policy->ports[policy->uplink];

	*next_hop = *destination;
	if (!uplink->has[family])
		return REASON_NO_ROUTE;
	if (!prefix_contains(&uplink->link[family], destination)) {
		if (!uplink->has_gateway[family])
			return REASON_NO_ROUTE;
		*next_hop = uplink->gateway[family];
	} else if (family == FAMILY_IPV4 && uplink->link[family].length < 31) {
		uint32_t host = UINT32_MAX >> uplink->link[family].length;

		if ((rte_be_to_cpu_32(destination->v4) & host) == host)
			return REASON_MARTIAN_DESTINATION; /* the link's broadcast address */
	}
	return REASON_NONE;
}

enum reason
route_find(struct worker *worker, enum family family, const union address *destination,
	struct flow_way *way)
{
	uint16_t uplink = worker->policy->uplink;
	union address next_hop;
	enum reason reason = route_next_hop(worker->policy, family, destination, &next_hop);

	if (reason != REASON_NONE)
		return reason;
	way->port = uplink;
	way->neighbour = neighbour_index(
		worker->dataplane->ports[uplink].neighbours, family, &next_hop, worker->now_ms);
	return way->neighbour == NEIGHBOUR_NONE ? REASON_NO_ROUTE : REASON_NONE;
}

bool
route_again(struct worker *worker, struct flow *flow)
{
	for (enum direction direction = DIRECTION_ORIGINAL; direction <= DIRECTION_REPLY;
		direction++) {
		struct flow_way *way = &flow->way[direction];
		struct tuple other;

		if (way->port != worker->policy->uplink)
			continue;
		flow_tuple(flow, !direction, &other);
		if (route_find(worker, other.family, &other.source, way) != REASON_NONE)
			return false;
	}
	return true;
}

static bool
fits(const struct rte_mbuf *mbuf, const struct packet *packet, uint16_t mtu)
{
	uint32_t length = packet->frame_length - packet->l3_offset;

	if (likely(length <= mtu))
		return true;
	/* Several segments in one frame: each must fit by itself. */
	return (mbuf->ol_flags & RTE_MBUF_F_RX_LRO) != 0 &&
	       (uint32_t)(packet->payload_offset - packet->l3_offset) + mbuf->tso_segsz <= mtu;
}

/*
 * Keep a packet until its next hop has said its MAC. A frame that lies in a receive ring would
 * block that ring, so it is copied.
 */
static enum reason
hold(struct worker *worker, struct rte_mbuf *mbuf, const struct flow_way *way)
{
	unsigned same = 0;

	for (unsigned i = 0; i < worker->held_count; i++)
		same += worker->held[i].port == way->port &&
			worker->held[i].neighbour == way->neighbour;
	if (same >= HELD_PER_NEIGHBOUR || worker->held_count == HELD_MAX)
		return REASON_NEIGHBOUR_PENDING;
	if (RTE_MBUF_HAS_EXTBUF(mbuf)) {
		struct rte_mbuf *copy =
			rte_pktmbuf_copy(mbuf, worker->dataplane->pool, 0, UINT32_MAX);

		if (copy == NULL)
			return REASON_NO_MBUF;
		*packet_of(copy) = *packet_of(mbuf);
		rte_pktmbuf_free(mbuf);
		mbuf = copy;
	}
	worker->held[worker->held_count++] =
		(struct held_packet){.mbuf = mbuf, .port = way->port, .neighbour = way->neighbour};
	return REASON_NONE;
}

/* The next hop's MAC is unknown: ask for it and wait, or give up. Takes the packet. */
static void
resolve(struct worker *worker, struct rte_mbuf *mbuf, const struct flow_way *way)
{
	struct neighbour_table *neighbours = worker->dataplane->ports[way->port].neighbours;
	enum reason reason;

	if (neighbour_should_ask(neighbours, way->neighbour, worker->now_ms))
		local_solicit(worker, way->port, way->neighbour);
	if (neighbour_state(neighbours, way->neighbour) == NEIGHBOUR_FAILED)
		reason = REASON_NEIGHBOUR_FAILED;
	else
		reason = hold(worker, mbuf, way);
	if (reason != REASON_NONE)
		worker_drop(worker, mbuf, reason);
}

/* An on-link host lost its place in the neighbour cache: find it a new one. */
static void
neighbour_refind(
	struct worker *worker, struct flow_way *way, enum family family, const union address *host)
{
	union address address;
	struct neighbour_table *neighbours = worker->dataplane->ports[way->port].neighbours;

	if (way->neighbour < NEIGHBOUR_PINNED)
		return;
	if (neighbour_address(neighbours, way->neighbour, &address) != family ||
		!address_equal(&address, host))
		way->neighbour = neighbour_index(neighbours, family, host, worker->now_ms);
}

/* The MAC of an on-link host, which is its own next hop. */
static uint64_t
host_mac(struct worker *worker, const struct packet *packet, struct flow_way *way)
{
	struct tuple other;

	flow_tuple(packet->flow, !packet->direction, &other);
	neighbour_refind(worker, way, packet->tuple.family, &other.source);
	return neighbour_mac(
		worker->dataplane->ports[way->port].neighbours, way->neighbour, &other.source);
}

bool
route_fit(const struct rte_mbuf *mbuf, struct packet *packet, uint16_t mtu)
{
	bool may_cut = packet->tuple.family == FAMILY_IPV4 && (packet->flags & PACKET_DF) == 0;

	if (packet->fragment_size != 0) {
		packet->flags |= PACKET_SPLIT;
		return may_cut || packet->fragment_size <= mtu;
	}
	if (fits(mbuf, packet, mtu))
		return true;
	if (!may_cut || (mbuf->ol_flags & RTE_MBUF_F_RX_LRO) != 0)
		return false;
	packet->flags |= PACKET_SPLIT;
	return true;
}

/*
 * Hop limit, MTU and next hop. Writes the Ethernet header of what goes on; what does not has been
 * dropped or is held.
 */
static bool
route_one(struct worker *worker, struct rte_mbuf *mbuf, struct packet *packet)
{
	struct flow *flow = packet->flow;
	struct flow_way *way = &flow->way[packet->direction];
	struct port *port = &worker->dataplane->ports[way->port];
	struct rte_ether_hdr *ethernet;
	uint64_t mac;

	packet->out_port = way->port;
	if (unlikely(packet->ttl <= 1)) {
		worker_drop(worker, mbuf, REASON_TIME_EXCEEDED);
		return false;
	}
	if (unlikely((packet->fragment_size != 0 ||
			     packet->frame_length - packet->l3_offset > port->mtu) &&
		     !route_fit(mbuf, packet, port->mtu))) {
		worker_drop(worker, mbuf, REASON_TOO_BIG);
		return false;
	}
	mac = likely(way->neighbour < NEIGHBOUR_PINNED)
		      ? neighbour_mac(port->neighbours, way->neighbour, NULL)
		      : host_mac(worker, packet, way);
	if (unlikely(mac == 0)) {
		packet->out_port = PORT_NONE;
		resolve(worker, mbuf, way);
		return false;
	}
	ethernet = rte_pktmbuf_mtod(mbuf, struct rte_ether_hdr *);
	memcpy(&ethernet->dst_addr, &mac, RTE_ETHER_ADDR_LEN);
	memcpy(&ethernet->src_addr, port->mac, RTE_ETHER_ADDR_LEN);
	return true;
}

/* What a SYN through two ports may announce at most, UINT16_MAX if neither of them clamps. */
static uint16_t
mss_limit(const struct worker *worker, const struct packet *packet)
{
	const uint16_t ports[] = {packet->in_port, packet->out_port};
	uint32_t headers = packet->tuple.family == FAMILY_IPV4 ? 40u : 60u;
	uint32_t limit = UINT16_MAX;

	for (unsigned i = 0; i < RTE_DIM(ports); i++) {
		const struct policy_port *port = &worker->policy->ports[ports[i]];

		if (port->mss_clamp == MSS_CLAMP_FIXED)
			limit = RTE_MIN(limit, (uint32_t)port->mss);
		/* the narrower of the two ways, whichever of them asks */
		if (port->mss_clamp == MSS_CLAMP_MTU)
			limit = RTE_MIN(
				limit, (uint32_t)RTE_MIN(worker->dataplane->ports[ports[0]].mtu,
					       worker->dataplane->ports[ports[1]].mtu) -
					       headers);
	}
	return (uint16_t)limit;
}

void
route_split(struct worker *worker, struct rte_mbuf *mbuf, uint16_t out)
{
	const struct packet *packet = packet_of(mbuf);
	uint16_t least = packet->tuple.family == FAMILY_IPV4 ? IPV4_MTU_LEAST : IPV6_MTU_LEAST;
	uint16_t mtu = worker->dataplane->ports[out].mtu;
	struct rte_mbuf *fragments[SPLIT_MAX];
	uint32_t identification;
	unsigned count;

	/* No longer than it came, but no shorter than what every path takes. */
	if (packet->fragment_size != 0)
		mtu = (uint16_t)RTE_MIN(mtu, RTE_MAX(packet->fragment_size, least));
	/* An IPv4 header has got its new one already. */
	if (packet->tuple.family == FAMILY_IPV4)
		identification = rte_be_to_cpu_16(
			packet_header(mbuf, packet->l3_offset, const struct rte_ipv4_hdr *)
				->packet_id);
	else
		identification = rewrite_identification(
			&worker->dataplane->secret, packet, packet->fragment_id);
	if ((mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		offload_checksum(mbuf);
	count = fragment_split(
		mbuf, mtu, identification, worker->dataplane->pool, fragments, SPLIT_MAX);
	if (count == 0)
		worker->ports[out].drops[REASON_NO_MBUF]++;
	for (unsigned i = 0; i < count; i++)
		worker_transmit(worker, out, fragments[i]);
}

void
route_burst(struct worker *worker, struct rte_mbuf **burst, unsigned count)
{
	unsigned left = 0;

	for (unsigned i = 0; i < count; i++)
		if (likely(route_one(worker, burst[i], packet_of(burst[i]))))
			burst[left++] = burst[i];
	rewrite_burst(&worker->dataplane->secret, burst, left);
	for (unsigned i = 0; i < left; i++) {
		const struct packet *packet = packet_of(burst[i]);

		if (unlikely(packet->tuple.protocol == IPPROTO_TCP &&
			     (packet->tcp_flags & RTE_TCP_SYN_FLAG) != 0)) {
			uint16_t mss = mss_limit(worker, packet);

			if (mss != UINT16_MAX)
				mss_clamp(burst[i], mss);
		}
		worker_finish(worker, burst[i], VERDICT_FORWARD);
		if (unlikely((packet->flags & PACKET_SPLIT) != 0))
			route_split(worker, burst[i], packet->out_port);
		else
			worker_transmit(worker, packet->out_port, burst[i]);
	}
}

/*
 * A packet that waited goes on where it stopped. It has been tracked already; only its flow may be
 * gone by now.
 */
static void
release_held(struct worker *worker, struct rte_mbuf *mbuf)
{
	struct packet *packet = packet_of(mbuf);
	enum direction direction = DIRECTION_ORIGINAL;

	packet->flow = flow_lookup(worker->flows, &packet->tuple, packet->hash, &direction);
	packet->direction = (uint8_t)direction;
	if (packet->flow == NULL)
		worker_drop(worker, mbuf, REASON_NO_FLOW);
	else if (packet->flow->generation != worker->policy->generation)
		/* It waited under another policy, and perhaps for another gateway. */
		pipeline_owned(worker, &mbuf, 1);
	else
		route_burst(worker, &mbuf, 1);
}

void
route_forget(struct worker *worker, bool (*is_gone)(const void *context, uint16_t port),
	const void *context)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < worker->held_count; i++) {
		const struct held_packet held = worker->held[i];

		if (!is_gone(context, held.port) &&
			!is_gone(context, packet_of(held.mbuf)->in_port)) {
			worker->held[kept++] = held;
			continue;
		}
		/* Its flow may have ended since. */
		packet_of(held.mbuf)->flow = NULL;
		worker_drop(worker, held.mbuf, REASON_PORT_GONE);
	}
	worker->held_count = kept;
}

/* Packets whose neighbour has answered, or never will, go on. */
unsigned
route_service(struct worker *worker)
{
	unsigned count = worker->held_count;
	unsigned handled = 0;

	for (unsigned i = 0; i < count; i++) {
		struct held_packet held = worker->held[0];
		struct neighbour_table *neighbours = worker->dataplane->ports[held.port].neighbours;
		enum neighbour_state state;

		/* Look at each once: whoever must wait on goes to the end. */
		memmove(worker->held, worker->held + 1,
			(worker->held_count - 1) * sizeof(worker->held[0]));
		worker->held_count--;
		if (neighbour_should_ask(neighbours, held.neighbour, worker->now_ms))
			local_solicit(worker, held.port, held.neighbour);
		state = neighbour_state(neighbours, held.neighbour);
		if (state == NEIGHBOUR_INCOMPLETE) {
			worker->held[worker->held_count++] = held;
			continue;
		}
		handled++;
		if (state == NEIGHBOUR_REACHABLE)
			release_held(worker, held.mbuf);
		else
			worker_drop(worker, held.mbuf, REASON_NEIGHBOUR_FAILED);
	}
	return handled;
}
