/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a packet that opens a flow goes, and as whom it comes there, before anybody's rules are
 * asked: virtual DNS, port forwards, hairpins, other qubes, and everything else, out of the uplink.
 *
 * The same question is asked again about an open flow when the policy has changed: a flow whose
 * destination is another one now is not the flow it was.
 */
#pragma once

#include "classifier/policy.h"
#include "nat/binding.h"

/* What becomes of the source. */
enum masquerade {
	MASQUERADE_NONE,     /* it stays */
	MASQUERADE_EXTERNAL, /* the uplink's address and an external port */
	MASQUERADE_GATEWAY,  /* our address towards qubes and a port of it */
};

struct target {
	enum reason reason;    /* why it can go nowhere; then nothing else holds */
	union address address; /* after translation */
	rte_be16_t port;
	uint16_t qube; /* whom it goes to; QUBE_NONE: out of the uplink */
	enum masquerade masquerade;
	bool dns;                      /* was addressed to a virtual resolver */
	bool filter;                   /* comes in to a binding, by the filter of its qube */
	const struct forward *forward; /* the one that leads there; NULL: none */
	bool inter_qube; /* nothing allows these two: refused whatever the rules say */
};

/** Whether @p tuple is addressed to a virtual resolver, TCP or UDP port 53. */
bool target_is_dns(const struct policy *policy, const struct tuple *tuple);

/**
 * Whether a packet that a qube sends with @p tuple goes to somebody else than it says, or to
 * nobody: to a virtual resolver that stands for another address. Whoever has such an address across
 * the uplink gets no answers, and must not get queries that are meant for the resolver either.
 */
bool target_is_diverted(const struct policy *policy, const struct tuple *tuple);

/**
 * Find the destination of a packet that came from qube @p from (QUBE_NONE: over the uplink).
 *
 * `reason` is NO_FLOW for what may not come in, LOCAL_REFUSED for what the firewall itself would
 * have to take, NO_RESOLVER, or NONE. With FILTER_ADDRESS, `filter` says only that the packet is
 * for a binding; whether its sender has been spoken to is for the flow table to say.
 */
void target_find(const struct policy *policy, const struct binding_table *bindings,
	const struct tuple *tuple, uint16_t from, struct target *target);
