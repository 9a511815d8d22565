/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/own_udp.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_random.h>
#include <rte_udp.h>

#include "app/offload.h"

#define OWN_TTL 64
/* External ports that are tried. */
#define OPEN_TRIES 16

struct own_udp {
	/* address of the resolver 32, its port 16, our port 16 bits; 0: closed */
	_Atomic uint64_t socket[OWN_SOCKETS];
	struct rte_ring *free;
	struct rte_ring *full;
	int fd;
	atomic_bool told; /* the descriptor is readable, or about to be */
	struct own_answer answers[OWN_ANSWERS];
};

static inline uint64_t
socket_word(rte_be32_t server, rte_be16_t server_port, rte_be16_t port)
{
	return (uint64_t)server << 32 | (uint64_t)server_port << 16 | port;
}

struct own_udp *
own_udp_create(void)
{
	struct own_udp *own = calloc(1, sizeof(*own));

	if (own == NULL)
		return NULL;
	own->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	/* Twice as long: a ring holds one less than its size. */
	own->free = rte_ring_create("own-free", 2 * OWN_ANSWERS, SOCKET_ID_ANY, 0);
	own->full = rte_ring_create("own-full", 2 * OWN_ANSWERS, SOCKET_ID_ANY, 0);
	if (own->fd < 0 || own->free == NULL || own->full == NULL) {
		own_udp_free(own);
		errno = ENOMEM;
		return NULL;
	}
	for (unsigned i = 0; i < OWN_ANSWERS; i++)
		rte_ring_enqueue(own->free, &own->answers[i]);
	return own;
}

void
own_udp_free(struct own_udp *own)
{
	if (own == NULL)
		return;
	rte_ring_free(own->free);
	rte_ring_free(own->full);
	if (own->fd >= 0)
		close(own->fd);
	free(own);
}

int
own_udp_fd(const struct own_udp *own)
{
	return own->fd;
}

/* --- control thread --- */

int
own_udp_open(struct dataplane *dataplane, rte_be32_t server, rte_be16_t port)
{
	struct own_udp *own = dataplane->own;
	const struct policy *policy = atomic_load(&dataplane->policy);
	unsigned socket = 0;

	while (socket < OWN_SOCKETS && atomic_load(&own->socket[socket]) != 0)
		socket++;
	if (socket == OWN_SOCKETS)
		return -ENFILE;
	for (unsigned i = 0; i < OPEN_TRIES; i++) {
		struct binding_request request = {
			.family = FAMILY_IPV4,
			.protocol = IPPROTO_UDP,
			.qube = QUBE_OWN,
			.port = rte_cpu_to_be_16((uint16_t)(1024 + rte_rand_max(65536 - 1024))),
			.reserved = forward_reserved(policy->forwards, IPPROTO_UDP),
		};
		rte_be16_t external;
		bool fresh;

		if (binding_take(dataplane->bindings, &request, &external, &fresh) != 0)
			continue;
		if (fresh) {
			atomic_store(&own->socket[socket], socket_word(server, port, external));
			return (int)socket;
		}
		/* another one of ours has it */
		binding_release(dataplane->bindings, FAMILY_IPV4, IPPROTO_UDP, external);
	}
	return -EADDRINUSE;
}

void
own_udp_close(struct dataplane *dataplane, unsigned socket)
{
	uint64_t word = atomic_exchange(&dataplane->own->socket[socket], 0);

	if (word != 0)
		binding_release(dataplane->bindings, FAMILY_IPV4, IPPROTO_UDP, (rte_be16_t)word);
}

struct own_answer *
own_udp_next(struct own_udp *own)
{
	uint64_t ignored;
	void *answer;

	if (rte_ring_dequeue(own->full, &answer) == 0)
		return answer;
	/* Ask to be told before the last look, so that nothing is overlooked. */
	if (read(own->fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
		return NULL;
	atomic_store(&own->told, false);
	if (rte_ring_dequeue(own->full, &answer) == 0)
		return answer;
	return NULL;
}

void
own_udp_done(struct own_udp *own, struct own_answer *answer)
{
	rte_ring_enqueue(own->free, answer);
}

void
own_udp_later(struct own_udp *own)
{
	uint64_t one = 1;
	ssize_t written = write(own->fd, &one, sizeof(one));

	(void)written; /* fails when it is readable as it is */
}

/* --- workers --- */

static void
frame_fill(struct rte_mbuf *mbuf, const struct port *port, uint64_t mac, rte_be32_t source,
	uint64_t word, const void *payload, uint16_t length)
{
	struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(mbuf, struct rte_ether_hdr *);
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(ethernet + 1);
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);

	memcpy(&ethernet->dst_addr, &mac, RTE_ETHER_ADDR_LEN);
	memcpy(&ethernet->src_addr, port->mac, RTE_ETHER_ADDR_LEN);
	ethernet->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + sizeof(*udp) + length)),
		.fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG),
		.time_to_live = OWN_TTL,
		.next_proto_id = IPPROTO_UDP,
		.src_addr = source,
		.dst_addr = (rte_be32_t)(word >> 32),
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	*udp = (struct rte_udp_hdr){
		.src_port = (rte_be16_t)word,
		.dst_port = (rte_be16_t)(word >> 16),
		.dgram_len = rte_cpu_to_be_16((uint16_t)(sizeof(*udp) + length)),
	};
	memcpy(udp + 1, payload, length);
	udp->dgram_cksum = rte_ipv4_udptcp_cksum(ip, udp);
}

int
own_udp_send(struct worker *worker, unsigned socket, const void *payload, uint16_t length)
{
	const struct policy *policy = worker->policy;
	uint64_t word = atomic_load(&worker->dataplane->own->socket[socket]);
	union address server = address_v4((rte_be32_t)(word >> 32));
	uint16_t headers = sizeof(struct rte_ether_hdr) + sizeof(struct rte_ipv4_hdr) +
			   sizeof(struct rte_udp_hdr);
	struct flow_way way;
	union address next_hop;
	const struct port *port;
	struct rte_mbuf *mbuf;
	uint64_t mac;

	if (word == 0 || policy->uplink >= policy->port_count ||
		route_next_hop(policy, FAMILY_IPV4, &server, &next_hop) != REASON_NONE ||
		route_find(worker, FAMILY_IPV4, &server, &way) != REASON_NONE)
		return -EHOSTUNREACH;
	port = &worker->dataplane->ports[way.port];
	mac = neighbour_mac(port->neighbours, way.neighbour, &next_hop);
	if (mac == 0) {
		if (neighbour_should_ask(port->neighbours, way.neighbour, worker->now_ms))
			local_solicit(worker, way.port, way.neighbour);
		return -EAGAIN;
	}
	if (length + headers > RTE_MBUF_DEFAULT_DATAROOM ||
		(uint32_t)length + headers - sizeof(struct rte_ether_hdr) > port->mtu)
		return -EMSGSIZE;
	mbuf = rte_pktmbuf_alloc(worker->dataplane->pool);
	if (mbuf == NULL)
		return -ENOMEM;
	if (rte_pktmbuf_append(mbuf, (uint16_t)(headers + length)) == NULL) {
		rte_pktmbuf_free(mbuf);
		return -EMSGSIZE;
	}
	*packet_of(mbuf) = (struct packet){.in_port = PORT_NONE};
	frame_fill(mbuf, port, mac, policy->ports[policy->uplink].address[FAMILY_IPV4].v4, word,
		payload, length);
	worker_transmit(worker, way.port, mbuf);
	return 0;
}

/* Copy what a packet holds, if there is room. */
static void
answer_copy(struct own_udp *own, const struct rte_mbuf *mbuf, unsigned socket)
{
	const struct packet *packet = packet_of((struct rte_mbuf *)(uintptr_t)mbuf);
	uint32_t length = packet->frame_length - packet->payload_offset;
	const void *bytes;
	struct own_answer *answer;
	uint64_t one = 1;
	void *room;

	if (length == 0 || length > OWN_DATAGRAM_MAX || !offload_udp_right(mbuf) ||
		rte_ring_dequeue(own->free, &room) != 0)
		return;
	answer = room;
	answer->socket = socket;
	answer->length = (uint16_t)length;
	bytes = rte_pktmbuf_read(mbuf, packet->payload_offset, length, answer->bytes);
	if (bytes != NULL && bytes != answer->bytes)
		memcpy(answer->bytes, bytes, length);
	rte_ring_enqueue(bytes != NULL ? own->full : own->free, answer);
	/* One write for as many answers as come before the control thread looks. */
	if (!atomic_exchange(&own->told, true)) {
		ssize_t written = write(own->fd, &one, sizeof(one));

		(void)written;
	}
}

bool
own_udp_takes(struct worker *worker, struct rte_mbuf *mbuf)
{
	struct own_udp *own = worker->dataplane->own;
	const struct packet *packet = packet_of(mbuf);
	const struct tuple *tuple = &packet->tuple;
	const struct policy *policy = worker->policy;
	const struct policy_port *uplink = &policy->ports[policy->uplink];
	uint64_t word = socket_word(tuple->source.v4, tuple->source_port, tuple->destination_port);

	if (own == NULL || packet->qube != QUBE_NONE || tuple->family != FAMILY_IPV4 ||
		tuple->protocol != IPPROTO_UDP || (packet->flags & PACKET_ICMP_ERROR) != 0 ||
		!uplink->has[FAMILY_IPV4] ||
		tuple->destination.v4 != uplink->address[FAMILY_IPV4].v4)
		return false;
	for (unsigned i = 0; i < OWN_SOCKETS; i++) {
		if (atomic_load_explicit(&own->socket[i], memory_order_acquire) != word)
			continue;
		answer_copy(own, mbuf, i);
		worker_finish(worker, mbuf, VERDICT_LOCAL);
		rte_pktmbuf_free(mbuf);
		return true;
	}
	return false;
}
