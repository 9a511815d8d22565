/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building and checking frames without the help of what is tested. See frames.h.
 */
#include "tests/unit/frames.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#define TCP_SYN 0x02
#define TCP_ACK 0x10
#define ETHER_HEADER 14
#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define UDP_HEADER 8
#define TCP_HEADER 20
#define ICMP_HEADER 8

void
put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint16_t
get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

uint16_t
frame_sum(uint32_t start, const uint8_t *bytes, uint32_t length)
{
	uint64_t sum = start;

	for (uint32_t i = 0; i < length; i++)
		sum += (i & 1) == 0 ? (uint64_t)bytes[i] << 8 : bytes[i];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static union address
address_of(const char *text, enum family *family)
{
	union address address;

	if (address_parse(text, family, &address) != 0) {
		fprintf(stderr, "frames.c: no address: %s\n", text);
		abort();
	}
	return address;
}

struct frame_view
frame_view(const uint8_t *bytes, uint32_t length)
{
	struct frame_view view = {.l3 = ETHER_HEADER};
	const uint8_t *ip = bytes + ETHER_HEADER;
	uint32_t room = length - ETHER_HEADER;

	if (length < ETHER_HEADER + IPV4_HEADER)
		return view;
	if (get16(bytes + 12) == 0x0800 && ip[0] >> 4 == 4) {
		uint32_t header = (uint32_t)(ip[0] & 15) * 4;

		if (header < IPV4_HEADER || get16(ip + 2) < header || get16(ip + 2) > room ||
			(get16(ip + 6) & 0x3fff) != 0)
			return view;
		view.family = FAMILY_IPV4;
		view.protocol = ip[9];
		view.ttl = ip[8];
		view.l4 = ETHER_HEADER + header;
		view.end = ETHER_HEADER + (uint32_t)get16(ip + 2);
		memcpy(view.source.v6, ip + 12, 4);
		memcpy(view.destination.v6, ip + 16, 4);
	} else if (get16(bytes + 12) == 0x86dd && ip[0] >> 4 == 6 && room >= IPV6_HEADER) {
		uint8_t next = ip[6];
		uint32_t at = ETHER_HEADER + IPV6_HEADER;

		view.end = at + get16(ip + 4);
		if (view.end > length)
			return view;
		while (next == IPPROTO_HOPOPTS || next == IPPROTO_DSTOPTS) {
			if (view.end - at < 8 || view.end - at < (bytes[at + 1] + 1u) * 8)
				return view;
			next = bytes[at];
			at += (bytes[at + 1] + 1u) * 8;
		}
		if (next == IPPROTO_FRAGMENT || next == IPPROTO_ROUTING)
			return view;
		view.family = FAMILY_IPV6;
		view.protocol = next;
		view.ttl = ip[7];
		view.l4 = at;
		memcpy(view.source.v6, ip + 8, 16);
		memcpy(view.destination.v6, ip + 24, 16);
	} else {
		return view;
	}
	view.ip = true;
	if ((view.protocol == IPPROTO_TCP && view.end - view.l4 >= TCP_HEADER) ||
		(view.protocol == IPPROTO_UDP && view.end - view.l4 >= UDP_HEADER)) {
		view.source_port = get16(bytes + view.l4);
		view.destination_port = get16(bytes + view.l4 + 2);
	}
	return view;
}

/* Where the upper layer's checksum is, 0 if there is none; and what it covers. */
static uint32_t
l4_checksum_field(const uint8_t *bytes, const struct frame_view *view, uint32_t *covered)
{
	uint32_t length = view->end - view->l4;

	*covered = length;
	switch (view->protocol) {
	case IPPROTO_TCP:
		return length >= TCP_HEADER ? view->l4 + 16 : 0;
	case IPPROTO_UDP:
		if (length < UDP_HEADER || get16(bytes + view->l4 + 4) < UDP_HEADER ||
			get16(bytes + view->l4 + 4) > length)
			return 0;
		*covered = get16(bytes + view->l4 + 4);
		return view->l4 + 6;
	case IPPROTO_ICMP:
		return view->family == FAMILY_IPV4 && length >= ICMP_HEADER ? view->l4 + 2 : 0;
	case IPPROTO_ICMPV6:
		return view->family == FAMILY_IPV6 && length >= ICMP_HEADER ? view->l4 + 2 : 0;
	default:
		return 0;
	}
}

static uint16_t
pseudo_sum(const struct frame_view *view, uint32_t covered)
{
	uint32_t size = view->family == FAMILY_IPV4 ? 4 : 16;
	uint16_t sum = 0;

	if (view->protocol == IPPROTO_ICMP)
		return 0;
	sum = frame_sum(sum, view->source.v6, size);
	sum = frame_sum(sum, view->destination.v6, size);
	return frame_sum((uint32_t)sum + covered + view->protocol, NULL, 0);
}

unsigned
frame_faults(const uint8_t *bytes, uint32_t length)
{
	struct frame_view view = frame_view(bytes, length);
	unsigned faults = 0;
	uint32_t covered;
	uint32_t field;

	if (!view.ip)
		return 0;
	if (view.family == FAMILY_IPV4 &&
		frame_sum(0, bytes + view.l3, (uint32_t)(bytes[view.l3] & 15) * 4) != 0xffff)
		faults |= FRAME_IP_CHECKSUM;
	field = l4_checksum_field(bytes, &view, &covered);
	if (field == 0)
		return faults;
	if (view.protocol == IPPROTO_UDP && get16(bytes + field) == 0)
		return view.family == FAMILY_IPV4 ? faults : faults | FRAME_L4_CHECKSUM;
	if (frame_sum(pseudo_sum(&view, covered), bytes + view.l4, covered) != 0xffff)
		faults |= FRAME_L4_CHECKSUM;
	return faults;
}

static void
l4_fix(uint8_t *bytes, uint32_t length, bool from_pseudo)
{
	struct frame_view view = frame_view(bytes, length);
	uint32_t covered;
	uint32_t field;
	uint16_t sum;

	if (!view.ip)
		return;
	field = l4_checksum_field(bytes, &view, &covered);
	if (field == 0)
		return;
	if (!from_pseudo)
		put16(bytes + field, 0);
	sum = (uint16_t)~frame_sum(
		from_pseudo ? 0 : pseudo_sum(&view, covered), bytes + view.l4, covered);
	put16(bytes + field, sum == 0 && view.protocol == IPPROTO_UDP ? 0xffff : sum);
}

void
frame_fix(uint8_t *bytes, uint32_t length)
{
	if (length >= ETHER_HEADER + IPV4_HEADER && get16(bytes + 12) == 0x0800) {
		uint32_t header = (uint32_t)(bytes[ETHER_HEADER] & 15) * 4;

		if (header >= IPV4_HEADER && header <= length - ETHER_HEADER) {
			put16(bytes + ETHER_HEADER + 10, 0);
			put16(bytes + ETHER_HEADER + 10,
				(uint16_t)~frame_sum(0, bytes + ETHER_HEADER, header));
		}
	}
	l4_fix(bytes, length, false);
}

void
frame_make_partial(struct frame *frame)
{
	struct frame_view view = frame_view(frame->bytes, frame->length);
	uint32_t covered;
	uint32_t field = l4_checksum_field(frame->bytes, &view, &covered);

	if (field != 0)
		put16(frame->bytes + field, pseudo_sum(&view, covered));
}

void
frame_complete(uint8_t *bytes, uint32_t length)
{
	l4_fix(bytes, length, true);
}

/* The upper layer's header at @p at. @return its length */
static uint32_t
put_l4(uint8_t *at, const struct frame_spec *spec)
{
	switch (spec->protocol) {
	case IPPROTO_TCP:
		put16(at, spec->source_port);
		put16(at + 2, spec->destination_port);
		/* every end starts at 1000, so that handshakes fit together */
		put16(at + 6, (spec->tcp_flags & TCP_SYN) != 0 ? 1000 : 1001);
		put16(at + 10, (spec->tcp_flags & TCP_ACK) != 0 ? 1001 : 0);
		at[12] = (uint8_t)((TCP_HEADER + spec->tcp_options) / 4 << 4);
		at[13] = spec->tcp_flags;
		put16(at + 14, 64240);
		memset(at + TCP_HEADER, 1, spec->tcp_options);
		return TCP_HEADER + (uint32_t)spec->tcp_options;
	case IPPROTO_UDP:
		put16(at, spec->source_port);
		put16(at + 2, spec->destination_port);
		put16(at + 4, (uint16_t)(UDP_HEADER + spec->payload));
		return UDP_HEADER;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		at[0] = spec->type;
		at[1] = spec->code;
		put16(at + 4, spec->source_port);
		put16(at + 6, 1);
		return ICMP_HEADER;
	default:
		return 0;
	}
}

static void
put_ethernet(struct frame *frame, const uint8_t *destination, const uint8_t *source, uint16_t type)
{
	memset(frame->bytes, 0, sizeof(frame->bytes));
	if (destination != NULL)
		memcpy(frame->bytes, destination, 6);
	if (source != NULL)
		memcpy(frame->bytes + 6, source, 6);
	put16(frame->bytes + 12, type);
}

void
frame_build(struct frame *frame, const struct frame_spec *spec)
{
	enum family family, other;
	union address source = address_of(spec->source, &family);
	union address destination = address_of(spec->destination, &other);
	uint8_t *ip = frame->bytes + ETHER_HEADER;
	uint8_t *l4;
	uint32_t header;

	put_ethernet(frame, spec->destination_mac, spec->source_mac,
		family == FAMILY_IPV4 ? 0x0800 : 0x86dd);
	if (family == FAMILY_IPV4) {
		l4 = ip + IPV4_HEADER + spec->options_length;
		header = put_l4(l4, spec);
		ip[0] = (uint8_t)(0x40 | (IPV4_HEADER + spec->options_length) / 4);
		put16(ip + 2,
			(uint16_t)(IPV4_HEADER + spec->options_length + header + spec->payload));
		put16(ip + 6, spec->df ? 0x4000 : 0);
		ip[8] = spec->ttl != 0 ? spec->ttl : 64;
		ip[9] = spec->protocol;
		memcpy(ip + 12, source.v6, 4);
		memcpy(ip + 16, destination.v6, 4);
		if (spec->options_length != 0)
			memcpy(ip + IPV4_HEADER, spec->options, spec->options_length);
	} else {
		l4 = ip + IPV6_HEADER + spec->extensions_length;
		header = put_l4(l4, spec);
		ip[0] = 0x60;
		put16(ip + 4, (uint16_t)(spec->extensions_length + header + spec->payload));
		ip[6] = spec->extensions_length != 0 ? spec->first_extension : spec->protocol;
		ip[7] = spec->ttl != 0 ? spec->ttl : 64;
		memcpy(ip + 8, source.v6, 16);
		memcpy(ip + 24, destination.v6, 16);
		if (spec->extensions_length != 0)
			memcpy(ip + IPV6_HEADER, spec->extensions, spec->extensions_length);
	}
	for (uint32_t i = 0; i < spec->payload; i++)
		l4[header + i] = (uint8_t)(i * 7 + 3);
	frame->length = (uint32_t)(l4 - frame->bytes) + header + spec->payload;
	frame_fix(frame->bytes, frame->length);
	if (spec->no_checksum && spec->protocol == IPPROTO_UDP)
		put16(l4 + 6, 0);
	memset(frame->bytes + frame->length, 0xee, spec->padding);
	frame->length += spec->padding;
}

void
frame_arp(struct frame *frame, uint16_t opcode, const uint8_t *destination_mac,
	const uint8_t *source_mac, const char *sender, const char *target)
{
	enum family family;
	union address from = address_of(sender, &family);
	union address to = address_of(target, &family);
	uint8_t *arp = frame->bytes + ETHER_HEADER;

	put_ethernet(frame, destination_mac, source_mac, 0x0806);
	put16(arp, 1);
	put16(arp + 2, 0x0800);
	arp[4] = 6;
	arp[5] = 4;
	put16(arp + 6, opcode);
	memcpy(arp + 8, source_mac, 6);
	memcpy(arp + 14, from.v6, 4);
	if (opcode == 2)
		memcpy(arp + 18, destination_mac, 6);
	memcpy(arp + 24, to.v6, 4);
	frame->length = ETHER_HEADER + 28;
}

void
frame_nd(struct frame *frame, uint8_t type, const uint8_t *destination_mac,
	const uint8_t *source_mac, const char *source, const char *destination, const char *target,
	const uint8_t *option_mac)
{
	enum family family;
	union address about = address_of(target, &family);
	uint8_t *message = frame->bytes + ETHER_HEADER + IPV6_HEADER;

	frame_build(frame, &(struct frame_spec){
				   .destination_mac = destination_mac,
				   .source_mac = source_mac,
				   .source = source,
				   .destination = destination,
				   .protocol = IPPROTO_ICMPV6,
				   .type = type,
				   .ttl = 255,
				   .payload = option_mac != NULL ? 24 : 16,
			   });
	memset(message + 4, 0, 4);
	memcpy(message + 8, about.v6, 16);
	if (option_mac != NULL) {
		message[24] = type == 135 ? 1 : 2;
		message[25] = 1;
		memcpy(message + 26, option_mac, 6);
	}
	frame_fix(frame->bytes, frame->length);
}

static struct rte_mbuf *
mbuf_or_abort(struct rte_mempool *pool)
{
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);

	if (mbuf == NULL) {
		fprintf(stderr, "frames.c: the test has used up its mbufs\n");
		abort();
	}
	/* What an earlier life left there must not matter. */
	memset(rte_mbuf_to_priv(mbuf), 0xa5, sizeof(struct packet));
	packet_of(mbuf)->in_port = 0;
	packet_of(mbuf)->serial = 0;
	return mbuf;
}

struct rte_mbuf *
frame_mbuf_chain(struct rte_mempool *pool, const uint8_t *bytes, uint32_t length, uint32_t first,
	uint32_t rest)
{
	struct rte_mbuf *head = mbuf_or_abort(pool);
	struct rte_mbuf *last = head;
	uint32_t room = RTE_MIN(first, (uint32_t)rte_pktmbuf_tailroom(head));

	for (;;) {
		uint32_t chunk = RTE_MIN(length, room);

		memcpy(rte_pktmbuf_mtod(last, void *), bytes, chunk);
		last->data_len = (uint16_t)chunk;
		head->pkt_len += chunk;
		bytes += chunk;
		length -= chunk;
		if (length == 0)
			return head;
		last->next = mbuf_or_abort(pool);
		last = last->next;
		head->nb_segs++;
		room = RTE_MIN(rest, (uint32_t)rte_pktmbuf_tailroom(last));
	}
}

struct rte_mbuf *
frame_mbuf(struct rte_mempool *pool, const uint8_t *bytes, uint32_t length)
{
	return frame_mbuf_chain(pool, bytes, length, UINT16_MAX, UINT16_MAX);
}

static void
tight_free(void *buffer, void *info)
{
	free(buffer);
	free(info);
}

struct rte_mbuf *
frame_mbuf_tight(struct rte_mempool *pool, const uint8_t *bytes, uint32_t length)
{
	struct rte_mbuf *mbuf = mbuf_or_abort(pool);
	struct rte_mbuf_ext_shared_info *info = calloc(1, sizeof(*info));
	uint8_t *buffer = malloc(length == 0 ? 1 : length);

	if (info == NULL || buffer == NULL)
		abort();
	if (length != 0)
		memcpy(buffer, bytes, length);
	info->free_cb = tight_free;
	info->fcb_opaque = info;
	rte_mbuf_ext_refcnt_set(info, 1);
	rte_pktmbuf_attach_extbuf(mbuf, buffer, 0, (uint16_t)length, info);
	mbuf->data_off = 0;
	mbuf->data_len = (uint16_t)length;
	mbuf->pkt_len = length;
	return mbuf;
}

void
frame_of_mbuf(struct frame *frame, const struct rte_mbuf *mbuf)
{
	frame->length = 0;
	for (; mbuf != NULL; mbuf = mbuf->next) {
		if (frame->length + mbuf->data_len > FRAME_ROOM)
			abort();
		memcpy(frame->bytes + frame->length, rte_pktmbuf_mtod(mbuf, const uint8_t *),
			mbuf->data_len);
		frame->length += mbuf->data_len;
	}
}
