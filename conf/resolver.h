/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The addresses of names, found out by asking: every name that rules in force have, for both
 * families, at the resolvers of the uplink, again and again.
 *
 * A name that has addresses is asked for again when its TTL is over, within bounds. One that has
 * none, or whose resolvers do not answer, is asked for again after a second, then two, four, and so
 * on up to five minutes. Each name and family is on its own: what cannot be asked for (`.`, `a..b`)
 * is not, and those that never answer keep at most half of what may be asked at once.
 *
 * Control thread; c-ares does the asking, on libevent. Nothing blocks. Through which sockets c-ares
 * speaks is the caller's to say.
 */
#pragma once

#include "conf/conf.h"
#include "nat/dns.h"

struct ares_socket_functions;
struct event_base;
struct resolver;

/* Between two questions for a name that has addresses, seconds. */
#define RESOLVE_LEAST_S 1
#define RESOLVE_MOST_S 3600
/* After an answer without addresses: doubled each time. */
#define RETRY_LEAST_MS 1000
#define RETRY_MOST_MS 300000
/* Questions that may wait for their answers at once. */
#define RESOLVE_PENDING 64

struct resolver_setup {
	struct event_base *base;
	/* NULL: sockets of the kernel */
	const struct ares_socket_functions *sockets;
	void *sockets_context;
	uint16_t port;       /* of the resolvers, host order; 0: 53 */
	unsigned timeout_ms; /* of one question at first, doubled twice; 0: a second */
	/* An answer with addresses of a name. */
	void (*resolved)(void *context, const char *name, const struct dns_answer *answer);
	void *context;
};

/** @return 0 or -ENOMEM; nobody is asked yet */
int resolver_create(const struct resolver_setup *setup, struct resolver **out);
/** NULL is fine. */
void resolver_free(struct resolver *resolver);

/**
 * Ask these resolvers from now on; unless they are the same as before, for everything at once. None
 * at all: nothing is asked.
 * @return 0 or -ENOMEM
 */
int resolver_servers_set(struct resolver *resolver, const rte_be32_t *servers, unsigned count);

/**
 * Ask for these names and no others from now on; for new ones at once, unless they cannot exist.
 * @param names in any order, also repeated; copied
 * @param least_ms how long at least a name that has addresses is left alone
 * @return 0 or -ENOMEM
 */
int resolver_names_set(
	struct resolver *resolver, const char *const *names, unsigned count, uint32_t least_ms);

/**
 * Ask for a name now, whenever it would be its turn, but RESOLVE_LEAST_S after the last time at the
 * earliest: somebody else has it in his rules, too, and knows nothing of it yet.
 */
void resolver_ask(struct resolver *resolver, const char *name);

/* How asking for a name goes. */
struct resolver_state {
	bool asked;      /* there was an answer, or none in time */
	unsigned failed; /* how often in a row there was none with addresses */
	uint32_t next_s; /* until it is asked for again */
};

/** @return false when the name is not asked for */
bool resolver_state(const struct resolver *resolver, const char *name, enum family family,
	struct resolver_state *state);
