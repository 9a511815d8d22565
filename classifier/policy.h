/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * struct policy: one immutable snapshot of everything the control thread decided.
 *
 * Built by the policy store in conf/, published with a release store, read by workers once per
 * burst. Data path: ro. Control thread: writes it before it is published, never after. Compiled
 * rules of a qube that did not change are shared by reference between snapshots.
 */
#pragma once

#include <stdatomic.h>

#include "classifier/acl.h"
#include "classifier/budget.h"
#include "classifier/forward.h"
#include "classifier/hits.h"
#include "classifier/names.h"
#include "classifier/packet.h"

#define QUBES_MAX 1000
#define PORTS_MAX (QUBES_MAX + 8)
#define VIRTUAL_DNS_MAX 4
#define RESOLVERS_MAX 8
#define NAME_SIZE 32 /* of a qube or port, with its NUL */

enum rules_state {
	RULES_NONE,  /* no tree at all: silence */
	RULES_BAD,   /* an error in them: everything refused */
	RULES_VALID, /* acl[] holds one acl per family */
};

/* Compiled rules of one qube, counted by the snapshots that use them. */
struct rules {
	atomic_uint references;
	enum rules_state state;
	struct acl *acl[FAMILIES];
	/* as written, for explaining and for tests; `line` and `origin` as they were when they were
	   compiled, without ends and comments */
	struct ruleset ruleset;
	struct hits **hits; /* RULES_VALID: of each rule, and of the policy behind the last one */
	/* NULL when no rule is for a name: the addresses of names, shared by all rules that the
	   qube has had; and the names by their text */
	struct names *names;
	struct name_index *name_index;
};

/* Whose packets reach a UDP port that a qube has opened (RFC 4787 section 5). */
enum filter {
	FILTER_ADDRESS_AND_PORT, /* only theirs to whom it spoke: the default */
	FILTER_ADDRESS,          /* any port of the hosts to whom it spoke */
	FILTER_NONE,             /* everybody's (endpoint-independent): peer-to-peer */
};

/*
 * A qube keeps its index as long as it is configured: flows, accounts and bindings name it by that.
 * Between and behind them may lie unused indices, with an empty name, no addresses and rules in
 * state RULES_NONE.
 */
struct qube {
	char name[NAME_SIZE];
	bool has[FAMILIES]; /* may send in that family at all */
	union address address[FAMILIES];
	/* nat/mapped.h: what it takes for its IPv4 address; what it takes for ours, or 0 */
	bool mapped;
	rte_be32_t visible, visible_gateway;
	uint16_t port;       /* where it lives, PORT_NONE while it is away */
	struct rules *rules; /* never NULL; its state says whether there are any */
	struct limits limits;
	enum filter filter;
	bool host; /* our own kernel: its addresses are the uplink's, and no qube's */
	/* the generation in which this qube got its index, or lost it if that is unused now: flows
	   that are older are not its own */
	uint32_t since;
	/* the latest generation that changed what its flows may do: its rules, address, filter or
	   allows, resolvers, our addresses, or an address that became a qube's. Forwards and limits
	   do not count */
	uint32_t generation;
};

enum role {
	ROLE_UPLINK,
	ROLE_QUBE,
	ROLE_HOST, /* our own kernel: a client like a qube, with the uplink's addresses */
	ROLE_NONE, /* no port has this index */
};

/* How roles are written. */
extern const char *const role_names[];
#define ROLES 3

/* Whether the MSS option of TCP SYNs through a port is lowered (RFC 4459 section 3.2). */
enum mss_clamp { MSS_CLAMP_OFF, MSS_CLAMP_MTU, MSS_CLAMP_FIXED };

/*
 * A port keeps its index as long as it is configured with the same name, device, role and qube:
 * flows and packets on their way name it by that. Between and behind them lie unused indices, in
 * role ROLE_NONE and with an empty name. An index that a port has lost belongs to nobody until the
 * data plane has done with that port, and nothing may come from or go to it.
 */
struct policy_port {
	char name[NAME_SIZE];
	enum role role;
	uint16_t qube; /* all but ROLE_UPLINK; QUBE_NONE: of nobody, and nothing passes */
	bool mapped;   /* ROLE_QUBE: its addresses are exchanged, nat/mapped.h */
	/* the generation in which this port got its index, or lost it if that is unused now */
	uint32_t since;
	/* what makes it this port, beside its name; control thread only, NULL for unused indices */
	char *identity;
	/* ROLE_UPLINK: our own address there, the on-link prefix, and the way to everything else */
	bool has[FAMILIES];
	union address address[FAMILIES];
	struct prefix link[FAMILIES];
	bool has_gateway[FAMILIES];
	union address gateway[FAMILIES];
	enum mss_clamp mss_clamp;
	uint16_t mss; /* MSS_CLAMP_FIXED: bytes of payload, whatever the family */
};

/*
 * The data plane's places for ports, in which a policy may put new ones. Control thread: rw, and
 * nobody else looks.
 */
struct port_slots {
	unsigned count;
	bool taken[PORTS_MAX]; /* by a port that is open, also one that is being closed */
};

/* Who owns an address on our side. */
enum owner { OWNER_NONE, OWNER_FIREWALL, OWNER_QUBE };

struct policy {
	uint32_t generation; /* starts at 1, never repeats within a run */
	bool has_gateway[FAMILIES];
	union address gateway[FAMILIES]; /* our address towards every qube */
	unsigned virtual_dns_count;
	rte_be32_t virtual_dns[VIRTUAL_DNS_MAX];
	unsigned resolver_count;
	rte_be32_t resolver[RESOLVERS_MAX]; /* the real ones */
	uint16_t uplink;                    /* index of the uplink port */
	/* our own kernel configures the uplink's address: what that takes passes between uplink and
	   host as it is (classifier/configuring.h) */
	bool configuring;
	uint16_t host; /* with `configuring`: index of the host port */
	/* as qube_count: every index that was ever given out may be looked up */
	unsigned port_count;
	struct policy_port *ports;
	const struct port_slots *slots; /* NULL: there is room for every port */
	/* one more than the greatest index of any snapshot so far, so that every index that was
	   ever given out may be looked up */
	unsigned qube_count;
	struct qube *qubes;
	struct forward_table *forwards;  /* never NULL */
	struct timeout_values *timeouts; /* nat/timeout.h; owned, never NULL */
	unsigned compiled; /* rulesets that had to be compiled for this snapshot, for reports */
	/* Open-addressed table of every address that is ours or a qube's; a power of two. */
	uint32_t owner_mask;
	struct policy_owner {
		union address address;
		uint8_t owner; /* enum owner; OWNER_NONE ends a probe */
		uint8_t family;
		uint16_t qube;
	} * owners;
};

/**
 * Find out who owns @p address on our side of the uplink.
 * @param qube out: index of the qube when the answer is OWNER_QUBE, else unchanged
 */
enum owner policy_owner(const struct policy *policy, enum family family,
	const union address *address, uint16_t *qube);

/**
 * Build the owner table of a policy whose qubes, ports and gateways are filled in.
 * @return 0, -ENOMEM, or -EEXIST when two owners claim one address
 */
int policy_index(struct policy *policy);

/**
 * The real resolver that stands behind a virtual DNS address.
 * @param destination in: an IPv4 destination; out: the resolver i mod n of virtual address i, else
 *	unchanged
 * @return 1 translated, 0 not a virtual DNS address, -ENOENT no resolver is known
 */
int policy_resolver(const struct policy *policy, union address *destination);

/** The index of the port of that name, PORT_NONE if there is none. */
uint16_t policy_port_find(const struct policy *policy, const char *name);

/** A port by an index from outside of this snapshot: in role ROLE_NONE if there is none. */
static inline const struct policy_port *
policy_port_at(const struct policy *policy, unsigned index)
{
	static const struct policy_port none = {.role = ROLE_NONE, .qube = QUBE_NONE};

	return index < policy->port_count ? &policy->ports[index] : &none;
}

/** The qube that lives on a port; NULL if none does. */
static inline const struct qube *
policy_port_qube(const struct policy *policy, unsigned index)
{
	const struct policy_port *port = policy_port_at(policy, index);

	return port->role != ROLE_UPLINK && port->qube < policy->qube_count
		       ? &policy->qubes[port->qube]
		       : NULL;
}

/** Free a snapshot (NULL is fine) and drop its references to compiled rules. */
void policy_free(struct policy *policy);

/** Take one more reference to compiled rules, for another snapshot. @return @p rules */
struct rules *rules_ref(struct rules *rules);

/** Give a reference back (NULL is fine); the last one frees the rules and their acls. */
void rules_unref(struct rules *rules);
