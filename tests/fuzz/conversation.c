/* SPDX-License-Identifier: BSD-3-Clause */
/* See conversation.h. */
#include "tests/fuzz/conversation.h"

#include <stdio.h>

#include <rte_tcp.h>

#define FIN RTE_TCP_FIN_FLAG
#define SYN RTE_TCP_SYN_FLAG
#define RST RTE_TCP_RST_FLAG
#define ACK RTE_TCP_ACK_FLAG

struct talk talks[TALKS];
uint64_t random_state;

uint32_t
draw(uint32_t range)
{
	uint64_t word = random_state += UINT64_C(0x9e3779b97f4a7c15);

	word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((word >> 32) % range);
}

static const char *const qube_address[FAMILIES][PLANE_PORTS] = {
	{NULL, PLANE_WORK_ADDRESS, PLANE_PERSONAL_ADDRESS},
	{NULL, PLANE_WORK_ADDRESS6, PLANE_PERSONAL_ADDRESS6}};
static const char *const hosts[FAMILIES][4] = {
	{"192.0.2.7", "192.0.2.8", "198.51.100.1", "192.168.50.9"},
	{"2606:4700::7", "2606:4700::8", "2606:4700::9", "fd00:50::9"}};
static const char *const routers[FAMILIES] = {"192.0.2.254", "2606:4700::fe"};
static const char *const gateways[FAMILIES] = {PLANE_GATEWAY, PLANE_GATEWAY6};
static const char *const uplinks[FAMILIES] = {PLANE_UPLINK_ADDRESS, PLANE_UPLINK_ADDRESS6};

const char *
talk_qube_address(enum family family, uint16_t port)
{
	return qube_address[family][port];
}

const char *
talk_uplink_address(enum family family)
{
	return uplinks[family];
}

struct pair
pair_of(const uint8_t *bytes, const struct frame_view *view)
{
	struct pair pair = {.source = view->source,
		.destination = view->destination,
		.source_port = view->source_port,
		.destination_port = view->destination_port,
		.protocol = view->protocol};

	if (is_query(view->protocol) && view->end >= view->l4 + 6)
		pair.source_port = pair.destination_port =
			(uint16_t)(bytes[view->l4 + 4] << 8 | bytes[view->l4 + 5]);
	return pair;
}

static void
end_set(struct end *end, uint16_t port, const char *local, uint16_t local_port, const char *remote,
	uint16_t remote_port)
{
	*end = (struct end){.port = port, .local_port = local_port, .remote_port = remote_port};
	snprintf(end->local, sizeof(end->local), "%s", local);
	snprintf(end->remote, sizeof(end->remote), "%s", remote);
}

/* Somebody sends to a port that a qube has opened towards another. */
static bool
filter_begin(struct talk *talk)
{
	const struct talk *other = &talks[draw(TALKS)];
	const struct end *far = &other->end[1];

	if (other->kind != TALK_OUT || other->protocol != IPPROTO_UDP || !far->known)
		return false;
	talk->family = other->family;
	talk->protocol = IPPROTO_UDP;
	end_set(&talk->end[0], PLANE_UPLINK, draw(2) ? far->local : hosts[talk->family][draw(3)],
		(uint16_t)(7000 + draw(4)), far->remote, far->remote_port);
	talk->end[1].port = other->end[0].port;
	return true;
}

void
talk_begin(struct talk *talk, uint32_t serial)
{
	static const uint16_t services[] = {53, 80, 443, 9000, 0};
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDP};
	enum kind kind = (enum kind)draw(TALK_KINDS);
	enum family family = (enum family)draw(FAMILIES);
	uint8_t query = family == FAMILY_IPV6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	uint16_t qube = (uint16_t)(draw(3) == 0 ? PLANE_PERSONAL : PLANE_WORK);
	uint16_t other = qube == PLANE_WORK ? PLANE_PERSONAL : PLANE_WORK;
	uint16_t port = (uint16_t)(2000 + draw(12)), service = services[draw(RTE_DIM(services))];

	*talk = (struct talk){
		.kind = kind, .protocol = protocols[draw(4)], .begun = true, .since = serial};
	if ((kind == TALK_OUT || kind == TALK_QUBES) && draw(3) == 0)
		talk->protocol = draw(8) == 0 ? GRE : query;
	if (is_query(talk->protocol))
		service = port;
	switch (kind) {
	case TALK_DNS:
		family = FAMILY_IPV4;
		end_set(&talk->end[0], qube, qube_address[family][qube], port, PLANE_DNS, 53);
		talk->end[1].port = PLANE_UPLINK;
		break;
	case TALK_EXTERNAL:
		end_set(&talk->end[0], PLANE_UPLINK, hosts[family][draw(3)], port, uplinks[family],
			(uint16_t)(8080 + draw(4)));
		talk->end[1].port = qube;
		break;
	case TALK_INTERNAL:
	case TALK_HAIRPIN:
		end_set(&talk->end[0], qube, qube_address[family][qube], port,
			kind == TALK_HAIRPIN ? uplinks[family] : gateways[family],
			(uint16_t)(8080 + draw(4)));
		talk->end[1].port = PLANE_PERSONAL;
		break;
	case TALK_QUBES:
		end_set(&talk->end[0], qube, qube_address[family][qube], port,
			qube_address[family][other], service);
		talk->end[1].port = other;
		break;
	case TALK_FILTER:
		talk->begun = filter_begin(talk);
		return;
	case TALK_OUT:
	default:
		end_set(&talk->end[0], qube, qube_address[family][qube], port,
			hosts[family][draw(4)], service);
		talk->end[1].port = PLANE_UPLINK;
		break;
	}
	talk->family = family;
	talk->type = (uint8_t)(family == FAMILY_IPV6 ? 128 : draw(4) == 0 ? 13 : 8);
	talk->end[0].next = draw(UINT32_MAX);
	if (talk->protocol == GRE)
		talk->end[0].local_port = talk->end[0].remote_port = 0;
}

static uint32_t
number_at(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

void
talk_take(struct talk *talk, unsigned to, const struct frame *out, const struct frame_view *view)
{
	struct end *end = &talk->end[to];
	struct pair pair = pair_of(out->bytes, view);
	const uint8_t *tcp = out->bytes + view->l4;

	if (to == 1) {
		address_format(end->local, view->family, &view->destination);
		address_format(end->remote, view->family, &view->source);
		end->local_port = pair.destination_port;
		end->remote_port = pair.source_port;
	}
	end->known = true;
	end->kept_length = RTE_MIN(view->end - ETHER_HEADER, (uint32_t)KEPT_MOST);
	memcpy(end->kept, out->bytes + ETHER_HEADER, end->kept_length);
	if (view->protocol != IPPROTO_TCP)
		return;
	end->last_flags = tcp[13];
	end->expected = number_at(tcp + 4) + (view->end - view->l4 - (tcp[12] >> 4) * 4u) +
			((tcp[13] & SYN) != 0) + ((tcp[13] & FIN) != 0);
	if ((tcp[13] & SYN) != 0 && to == 1)
		end->next = draw(UINT32_MAX);
}

/* --- what they send --- */

static uint8_t
flags_draw(const struct talk *talk, unsigned from)
{
	if (draw(60) == 0)
		return (uint8_t)draw(64);
	if (from == 0 && !talk->end[0].known)
		return SYN;
	if (from == 1 && (talk->end[1].last_flags & SYN) != 0 && draw(8) != 0)
		return SYN | ACK;
	if (from == 0 && draw(40) == 0)
		return SYN;
	switch (draw(16)) {
	case 0:
		return RST;
	case 1:
		return FIN | ACK;
	default:
		return ACK;
	}
}

/* The handshake's numbers: who asked goes on behind its SYN when the SYN/ACK is there. */
static void
answered(struct talk *talk)
{
	struct end *end = &talk->end[0];

	if (talk->protocol == IPPROTO_TCP && end->last_flags == (SYN | ACK)) {
		end->next++;
		end->last_flags = ACK;
		talk->end[1].next++;
	}
}

void
talk_packet(struct frame *frame, struct talk *talk, unsigned from)
{
	struct end *end = &talk->end[from];
	bool uplink = end->port == PLANE_UPLINK;
	struct frame_spec spec = {
		.destination_mac = uplink ? plane_uplink_mac : plane_vif_mac,
		.source_mac = uplink ? plane_router_mac : plane_qube_mac,
		.source = end->local,
		.destination = end->remote,
		.protocol = talk->protocol,
		.source_port = end->local_port,
		.destination_port = end->remote_port,
		.payload = (uint16_t)(draw(2) * draw(200)),
		.df = draw(2) != 0,
		.type = talk->type,
		.no_checksum = talk->family == FAMILY_IPV4 && draw(8) == 0,
	};
	struct frame_view view;
	uint8_t *tcp;

	answered(talk);
	if (is_query(talk->protocol) && from == 1)
		spec.type = (uint8_t)(talk->type == 8 ? 0 : talk->type + 1);
	if (talk->protocol == IPPROTO_TCP) {
		spec.tcp_flags = flags_draw(talk, from);
		if ((spec.tcp_flags & (SYN | RST)) != 0)
			spec.payload = 0;
	}
	frame_build(frame, &spec);
	if (talk->protocol != IPPROTO_TCP)
		return;
	view = frame_view(frame->bytes, frame->length);
	tcp = frame->bytes + view.l4;
	put16(tcp + 4, end->next >> 16);
	put16(tcp + 6, end->next);
	put16(tcp + 8, (spec.tcp_flags & ACK) != 0 ? end->expected >> 16 : 0);
	put16(tcp + 10, (spec.tcp_flags & ACK) != 0 ? end->expected : 0);
	put16(tcp + 14, 60000);
	frame_fix(frame->bytes, frame->length);
	if ((spec.tcp_flags & RST) != 0)
		end->known = false; /* next it begins anew */
	if ((spec.tcp_flags & (SYN | ACK)) == SYN)
		return; /* the same one again, until it is answered */
	end->next += spec.payload + ((spec.tcp_flags & FIN) != 0);
}

bool
talk_error(struct frame *frame, const struct talk *talk, unsigned from)
{
	static const uint8_t types[FAMILIES][5] = {{3, 3, 11, 12, 5}, {1, 2, 3, 4, 1}};
	const struct end *end = &talk->end[from];
	bool uplink = end->port == PLANE_UPLINK;
	char source[ADDRESS_TEXT_SIZE];
	bool ipv6 = talk->family == FAMILY_IPV6;
	uint32_t header = ipv6 ? 40 : 20;
	struct frame_spec spec = {
		.destination_mac = uplink ? plane_uplink_mac : plane_vif_mac,
		.source_mac = uplink ? plane_router_mac : plane_qube_mac,
		.source = uplink && draw(3) != 0 ? routers[talk->family] : end->local,
		.destination = source,
		.protocol = ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP,
		.type = types[talk->family][draw(5)],
	};
	struct frame_view view;
	union address address = {.half = {0, 0}};

	if (end->kept_length < header + 8)
		return false;
	memcpy(&address, end->kept + (ipv6 ? 8 : 12), ipv6 ? 16 : 4);
	address_format(source, talk->family, &address);
	spec.code = (uint8_t)(spec.type == 3 && !ipv6 ? draw(2) * 4 : 0);
	spec.payload = (uint16_t)(header + 8);
	spec.payload = (uint16_t)(spec.payload + draw(end->kept_length - spec.payload + 1));
	frame_build(frame, &spec);
	view = frame_view(frame->bytes, frame->length);
	memcpy(frame->bytes + view.l4 + 8, end->kept, spec.payload);
	memset(frame->bytes + view.l4 + 4, 0, 4);
	if (spec.type == 3 && spec.code == 4 && !ipv6)
		put16(frame->bytes + view.l4 + 6, 1400);
	if (spec.type == 2 && ipv6)
		put16(frame->bytes + view.l4 + 6, 1400);
	frame_fix(frame->bytes, frame->length);
	return true;
}
