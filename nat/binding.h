/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * External ports and ICMP identifiers of one external IPv4 address.
 *
 * TCP: the owner of a flow is chosen by its remote end, so one worker sees every flow towards one
 * remote address and port, and its own table knows which external ports are taken there. Nothing
 * is shared. The port of the qube is kept when free for that destination, else a keyed random
 * choice is tried.
 *
 * UDP and ICMP queries (RFC 4787 REQ-1, RFC 5508 REQ-1): one table indexed by external port, shared
 * by all workers, claimed by compare-and-swap. A binding belongs to a qube's address and port and
 * is reused for every destination; it counts the flows that use it and is free when none is left.
 */
#pragma once

#include "nat/flow.h"

struct binding_table;

struct binding_table *binding_table_create(const struct flow_secret *secret, int socket_id);
void binding_table_free(struct binding_table *bindings);

/**
 * Find an external port for a UDP flow or ICMP query and take a reference on its binding.
 *
 * Tries the binding the pair already has, then the preserved port, then a keyed random sequence in
 * the same class (0-1023 / 1024-65535, RFC 4787 REQ-3).
 * @param inside the qube's IPv4 address
 * @param port the qube's port or identifier
 * @return the external port in network order through @p external; 0, or -EADDRINUSE when none is
 *	free within the bounded search
 */
int binding_take(struct binding_table *bindings, uint8_t protocol, rte_be32_t inside,
	rte_be16_t port, rte_be16_t *external);

/**
 * Find another external port for a pair that has one already, when the one it has is taken towards
 * this destination: two virtual DNS addresses may stand for one resolver, and there are resolver
 * libraries that ask both from one port. Never joins a binding, so the port is good for any remote.
 * @return as binding_take
 */
int binding_take_another(struct binding_table *bindings, uint8_t protocol, rte_be32_t inside,
	rte_be16_t port, rte_be16_t *external);

/** Give a reference back. The binding ends with its last reference. */
void binding_release(struct binding_table *bindings, uint8_t protocol, rte_be16_t external);

/**
 * Find an external TCP port: choose `reply->destination_port` so that @p reply is free in @p table.
 * Starts with the port given there (preserved), then tries a bounded keyed random sequence.
 * @return 0 or -EADDRINUSE
 */
int binding_tcp(struct flow_table *table, const struct flow_secret *secret, struct tuple *reply);
