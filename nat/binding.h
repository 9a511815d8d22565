/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * External ports and ICMP identifiers of the firewall's external addresses, one per family.
 *
 * TCP: the owner of a flow is chosen by its remote end, so one worker sees every flow towards one
 * remote address and port, and its own table knows which external ports are taken there. Nothing
 * is shared. The port of the qube is kept when free for that destination, else a keyed random
 * choice is tried.
 *
 * UDP and ICMP queries (RFC 4787 REQ-1, RFC 5508 REQ-1): one table per family and protocol indexed
 * by external port, shared by all workers, claimed by compare-and-swap. A binding belongs to a
 * qube's index and port and is reused for every destination; it counts the flows that use it and is
 * free when none is left.
 *
 * Ports that belong to a forward are never handed out (port shadowing, CVE-2021-3773).
 *
 * What a qube has is counted by the caller: one more for every `fresh`, one less whenever
 * binding_release names it. Only a new binding needs an allowance, and another worker may join or
 * begin one at any moment. Therefore: binding_join; if there is nothing to join, take the allowance
 * and then binding_take; if that was not fresh after all, give the allowance back. Taking it only
 * after a fresh binding is too late, for the binding may no longer end with one's own release.
 */
#pragma once

#include "classifier/forward.h"
#include "nat/flow.h"

struct binding_table;

struct binding_table *binding_table_create(const struct flow_secret *secret, int socket_id);
void binding_table_free(struct binding_table *bindings);

/*
 * For questions that change nothing: nothing is taken, the answer is what it would be. References
 * that flows would have given back before are not counted.
 */
struct binding_trial {
	unsigned count;
	struct {
		enum family family;
		uint8_t protocol;
		rte_be16_t external;
	} given[FLOW_GONE_MAX];
};

/* Who wants an external port. */
struct binding_request {
	enum family family;
	uint8_t protocol; /* IPPROTO_UDP, or IPPROTO_ICMP and IPPROTO_ICMPV6 for identifiers */
	uint16_t qube;    /* its index */
	rte_be16_t port;  /* its own port or identifier */
	const struct port_set *reserved;   /* not to be handed out; NULL: none */
	const struct binding_trial *trial; /* NULL: for real */
};

/**
 * Find an external port for a UDP flow or ICMP query and take a reference on its binding.
 *
 * Tries the binding the pair already has, then the preserved port, then a keyed random sequence in
 * the same class (0-1023 / 1024-65535, RFC 4787 REQ-3). A binding that the pair has is joined even
 * if its port has been reserved since.
 * @param external out: the external port, network order
 * @param fresh out: the binding is new: its qube has one external port more
 * @return 0, or -EADDRINUSE when none is free within the bounded search
 */
int binding_take(struct binding_table *bindings, const struct binding_request *request,
	rte_be16_t *external, bool *fresh);

/**
 * Take a reference on the binding that the pair has, and begin none.
 * @param external out: as for binding_take; untouched on errors
 * @return 0, -ENOENT when it has none, -EADDRINUSE when the binding has 2^32 - 1 flows
 */
int binding_join(struct binding_table *bindings, const struct binding_request *request,
	rte_be16_t *external);

/**
 * Find another external port for a pair that has one already, when the one it has is taken towards
 * this destination: two virtual DNS addresses may stand for one resolver, and there are resolver
 * libraries that ask both from one port. Never joins a binding, so the port is good for any remote.
 * Always a fresh binding. When it is the only one that the pair has left, it is the one to join.
 * @return as binding_take
 */
int binding_take_another(struct binding_table *bindings, const struct binding_request *request,
	rte_be16_t *external);

/**
 * Take a reference on exactly the external port @p external, for a flow that had it before a
 * restart.
 * @param fresh out: as for binding_take
 * @return 0, or -EADDRINUSE when somebody else has it, it is reserved, or it is not of the class of
 *	the pair's own port
 */
int binding_take_exact(struct binding_table *bindings, const struct binding_request *request,
	rte_be16_t external, bool *fresh);

/**
 * Give a reference back. The binding ends with its last reference.
 * @return the index of the qube that has one external port less now, or QUBE_NONE
 */
uint16_t binding_release(
	struct binding_table *bindings, enum family family, uint8_t protocol, rte_be16_t external);

/** Whether a binding would be over with the references that @p trial has given back. */
bool binding_is_last(const struct binding_table *bindings, enum family family, uint8_t protocol,
	rte_be16_t external, const struct binding_trial *trial);

/**
 * Find out whose binding an external port is.
 * @param qube, port out: its index, and its own port in network order
 * @return false when nobody has it
 */
bool binding_find(const struct binding_table *bindings, enum family family, uint8_t protocol,
	rte_be16_t external, uint16_t *qube, rte_be16_t *port);

/**
 * Find an external TCP port: choose `reply->destination_port` so that @p reply is free in @p table.
 * Starts with the port given there (preserved, whatever its class), then tries a bounded keyed
 * random sequence over 1024-65535 (RFC 6056 algorithm 3), leaving out what is reserved (NULL:
 * nothing is). With 60,000 flows to one remote address and port it fails once in 10,000 times; the
 * next try walks elsewhere as soon as any flow was opened.
 * @return 0 or -EADDRINUSE
 */
int binding_tcp(struct flow_table *table, const struct flow_secret *secret,
	const struct port_set *reserved, struct tuple *reply);

/** The same, if the flows that are @p gone were closed. */
int binding_tcp_without(struct flow_table *table, const struct flow_secret *secret,
	const struct port_set *reserved, const struct flow_gone *gone, struct tuple *reply);
