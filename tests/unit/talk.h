/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who says what to whom on a plane: short ways to send packets and to check what comes out.
 */
#pragma once

#include <netinet/in.h>

#include <rte_tcp.h>

#include "tests/unit/plane.h"
#include "tests/unit/unit.h"

#define FIN RTE_TCP_FIN_FLAG
#define SYN RTE_TCP_SYN_FLAG
#define RST RTE_TCP_RST_FLAG
#define ACK RTE_TCP_ACK_FLAG

/* One packet: addresses as text decide the family; ports are 0 where there are none. */
struct say {
	uint16_t port; /* enum plane_port it arrives on */
	uint8_t protocol;
	const char *source;
	uint16_t source_port;
	const char *destination;
	uint16_t destination_port;
	uint8_t tcp_flags;
	uint8_t type;
	uint32_t sequence, acknowledgement;
	uint16_t payload;
	uint8_t ttl;
	bool df;
};

static struct frame talk_frame; /* the last one sent or expected */

static inline void
talk_build(const struct say *say)
{
	bool uplink = say->port == PLANE_UPLINK;
	struct frame_spec spec = {
		.destination_mac = uplink ? plane_uplink_mac : plane_vif_mac,
		.source_mac = uplink                    ? plane_router_mac
			      : say->port == PLANE_HOST ? plane_uplink_mac
							: plane_qube_mac,
		.source = say->source,
		.destination = say->destination,
		.protocol = say->protocol,
		.source_port = say->source_port,
		.destination_port = say->destination_port,
		.tcp_flags = say->tcp_flags,
		.type = say->type,
		.payload = say->payload,
		.ttl = say->ttl,
		.df = say->df,
	};

	frame_build(&talk_frame, &spec);
	if (say->protocol == IPPROTO_TCP) {
		struct frame_view view = frame_view(talk_frame.bytes, talk_frame.length);
		rte_be32_t words[2] = {
			rte_cpu_to_be_32(say->sequence), rte_cpu_to_be_32(say->acknowledgement)};
		rte_be16_t window = RTE_BE16(60000);

		memcpy(talk_frame.bytes + view.l4 + 4, words, sizeof(words));
		memcpy(talk_frame.bytes + view.l4 + 14, &window, sizeof(window));
		frame_fix(talk_frame.bytes, talk_frame.length);
	}
}

static inline void
talk_send(struct plane *plane, const struct say *say)
{
	talk_build(say);
	plane_send(plane, say->port, &talk_frame);
}

/* The next frame of a port goes between these ends; `talk_frame` is it. */
static inline bool
talk_expect(struct plane *plane, uint16_t port, const char *source, uint16_t source_port,
	const char *destination, uint16_t destination_port)
{
	struct sent *sent = plane_next(plane, port);
	struct frame_view view;
	union address from, to;
	enum family family;
	char text[2][ADDRESS_TEXT_SIZE];
	bool good;

	CU_ASSERT_PTR_NOT_NULL(sent);
	if (sent == NULL)
		return false;
	talk_frame = sent->frame;
	view = frame_view(talk_frame.bytes, talk_frame.length);
	CU_ASSERT_EQUAL(address_parse(source, &family, &from), 0);
	CU_ASSERT_EQUAL(address_parse(destination, &family, &to), 0);
	good = view.ip && address_equal(&view.source, &from) &&
	       address_equal(&view.destination, &to) && view.source_port == source_port &&
	       view.destination_port == destination_port &&
	       frame_faults(talk_frame.bytes, talk_frame.length) == 0;
	if (!good)
		printf("\n    port %u: %s:%u > %s:%u instead of %s:%u > %s:%u\n", port,
			address_format(text[0], view.family, &view.source), view.source_port,
			address_format(text[1], view.family, &view.destination),
			view.destination_port, source, source_port, destination, destination_port);
	CU_ASSERT(good);
	return good;
}

/* The next frame of a port is an ICMP error of this type and code. */
static inline void
talk_expect_error(struct plane *plane, uint16_t port, uint8_t type, uint8_t code)
{
	struct sent *sent = plane_next(plane, port);
	struct frame_view view;

	CU_ASSERT_PTR_NOT_NULL(sent);
	if (sent == NULL)
		return;
	talk_frame = sent->frame;
	view = frame_view(talk_frame.bytes, talk_frame.length);
	CU_ASSERT_EQUAL(view.protocol, view.family == FAMILY_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	CU_ASSERT_EQUAL(talk_frame.bytes[view.l4], type);
	CU_ASSERT_EQUAL(talk_frame.bytes[view.l4 + 1], code);
	CU_ASSERT_EQUAL(frame_faults(talk_frame.bytes, talk_frame.length), 0);
}

static inline void
talk_expect_silence(struct plane *plane)
{
	for (uint16_t port = 0; port < PLANE_PORTS; port++) {
		CU_ASSERT_EQUAL(plane_waiting(plane, port), 0);
		if (plane_waiting(plane, port) != 0)
			printf("\n    port %u: %u frames nobody expects\n", port,
				plane_waiting(plane, port));
	}
	plane_forget(plane);
}

/* Silence, and the reason for it, @p count times by now. */
static inline void
talk_expect_drop(struct plane *plane, enum reason reason, uint64_t count)
{
	talk_expect_silence(plane);
	CU_ASSERT_EQUAL(plane_drops(plane, reason), count);
	if (plane_drops(plane, reason) != count)
		printf("\n    %s: %" PRIu64 " instead of %" PRIu64 "\n", reasons[reason].name,
			plane_drops(plane, reason), count);
}

/* Likewise with an ICMP error to the sender on @p port. */
static inline void
talk_expect_refusal(struct plane *plane, uint16_t port, uint8_t type, uint8_t code,
	enum reason reason, uint64_t count)
{
	talk_expect_error(plane, port, type, code);
	talk_expect_drop(plane, reason, count);
}

static inline struct plane *
talk_begin(const struct plane_options *options)
{
	struct plane *plane = plane_create(options);

	plane_resolve(plane);
	return plane;
}

static inline void
talk_end(struct plane *plane)
{
	talk_expect_silence(plane);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* What all accounts of a plane still hold. */
static inline uint64_t
talk_held(const struct plane *plane)
{
	uint64_t held = 0;

	for (unsigned i = 0; i < 2 * QUBES_MAX; i++)
		for (unsigned kind = 0; kind < BUDGET_COUNT; kind++)
			if (kind != BUDGET_NEW_FLOWS && kind != BUDGET_ANSWERS)
				held += budget_used(&plane->dataplane->accounts[i], kind);
	return held;
}
