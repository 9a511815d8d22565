/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Related errors for tests. What must come out is built, not derived: the packet that is quoted is
 * built twice, as its first sender made it and as it looked after translation, with all checksums
 * computed byte by byte. An error that quotes the one must become the error that quotes the other,
 * to the last byte.
 */
#pragma once

#include "nat/flow.h"
#include "tests/unit/frames.h"

#define ETHER_HEADER 14
#define WHOLE UINT32_MAX
#define GRE 47 /* a protocol without ports */

/* What scenes are played with. The frames: what comes in, what shall come out, and what does. */
extern struct rte_mempool *scene_pool;
extern struct flow_table *scene_flows;
extern const struct flow_secret scene_secret;
extern struct frame before, expected, after;

/* A flow, a packet of it, and an error about that packet. */
struct scene {
	struct tuple tuple[2];   /* of the flow */
	enum direction quoted;   /* the way that the quoted packet went */
	struct frame_spec quote; /* of the quoted packet: all but addresses, ports and protocol */
	uint32_t length;         /* how much of it is quoted, from its IP header; WHOLE */
	struct frame_spec error; /* type, code, options and the like of the error itself */
	uint8_t rest[4];         /* behind its checksum */
	const char *router;      /* who sends it, NULL: the far end */
	uint32_t extension;      /* bytes behind the quote */
};

/* The kinds of flows that there are. */
struct flow_kind {
	const char *name;
	struct {
		const char *source, *destination;
		uint16_t source_port, destination_port;
	} tuple[2];
	const char *router; /* on the way beyond the uplink */
};
#define FLOW_KINDS 7
extern const struct flow_kind flow_kinds[FAMILIES][FLOW_KINDS];

/** Create what scenes are played with. @return false when there is no memory */
bool scene_start(void);

struct tuple tuple_reversed(const struct tuple *tuple);
bool is_query(uint8_t protocol);
/** ICMP or ICMPv6. */
uint8_t query_protocol(enum family family);

/** An error of the commonest sort, about a packet that went @p quoted. */
struct scene scene_of(
	enum family family, const struct flow_kind *kind, uint8_t protocol, enum direction quoted);

/** About a packet from a qube of a masqueraded flow. */
struct scene scene_masquerade(enum family family, uint8_t protocol);

/** The flow as somebody sees it who stands on the other side of the firewall. */
struct scene scene_mirrored(const struct scene *scene);

/** Build a packet of a flow as it looks where it has @p tuple. */
void scene_packet(struct frame *frame, const struct tuple *tuple, struct frame_spec spec);

/** Build the error: on the side of the quoted packet's receiver, or on that of its first sender. */
void scene_build(struct frame *frame, const struct scene *scene, bool far);

/** Where the quote starts in an error, bytes. */
uint32_t quote_offset(const struct scene *scene);
/** Length of the quoted IP header with options or extension headers, bytes. */
uint32_t quoted_header(const struct scene *scene);

struct flow *scene_open(const struct scene *scene);

/** Parse and relate. @return what relate says; if it is no, nothing may have changed */
enum reason scene_relate(struct rte_mbuf *mbuf);

/** What icmp_relate says of a frame. */
enum reason reason_of(const struct frame *frame);
enum reason reason_of_scene(const struct scene *scene);

/**
 * Take an error that is related through lookup and rewrite; the result is in `after`. Frees it.
 * @return what icmp_plausible says
 */
bool scene_pass(struct rte_mbuf *mbuf, struct flow *flow);

/** What @p mbuf holds must become what is in `expected`, one hop later. Frees it. */
bool becomes(struct rte_mbuf *mbuf, const struct scene *scene, struct flow *flow);

/** Play a scene: what comes out must be as the side of the first sender has it. */
bool is_right(const struct scene *scene);

/** Translate `after` back: it must become `before`, two hops later. */
bool goes_back(const struct scene *scene);
