/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * External ports and identifiers: shared bindings for UDP and ICMP, a search for TCP.
 *
 * A binding is one 64-bit word in a table indexed by external port: whose it is, and how many flows
 * use it. It is free when the word is zero. All changes are one compare-and-swap of the word, so
 * any worker may take or release any binding at any time and nobody ever waits. Exactly one taker
 * sees a word go from zero to something, and exactly one releaser sees it go back: these two are
 * told that the qube has a port more or less, so whatever they count by it is exact.
 *
 * A pair of qube and port has a fixed sequence of external ports: its own port (kept when
 * possible), then a keyed random walk through the same class. It gets the first one that is free.
 * When the same pair asks again it must find the binding it has (RFC 4787 REQ-1), although ports
 * before it in the sequence may have become free since. Therefore the table counts, per preferred
 * port, how many bindings live away from it. Only if there are some does a search look through the
 * whole sequence for its own before it takes a free port; the usual case is one or two words. It
 * begins with a hint, where the pair was put: a second binding that it got for one destination may
 * come earlier in the sequence, and what a snapshot brought back may not be in the sequence at all
 * when that is of a new secret.
 *
 * That is exact for one worker. Two workers that open the first two flows of the same pair at the
 * same instant walk the same sequence and meet at the same word, unless a third gives back an
 * earlier one between their looks; then the pair has two external ports until the flows of one of
 * them end. Both work, both count, and no port ever has two owners.
 *
 * Reserved ports are looked at only where a binding begins. Which ports are reserved changes with
 * the policy, and workers change over one after the other; a binding that is there is joined and
 * ends with its flows.
 */
#include "nat/binding.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>

#include <rte_branch_prediction.h>
#include <rte_malloc.h>

#define PORTS 65536U
#define CLASS_BOUNDARY 1024U
/*
 * How far a search goes. With nine of ten ports taken, 128 steps find none once in 700,000 times.
 */
#define PROBES 128U
/* More than there ever are pairs without their own port, or nearly. */
#define HINTS 8192U

/* A binding as one word: index of the qube 16, its port 16, references 32 bits. */
#define REFERENCES_MAX UINT32_MAX
#define REFERENCES(word) ((word)&UINT32_MAX)
#define INSIDE(word) (uint32_t)((word) >> 32)
#define INSIDE_PORT(word) (uint16_t)((word) >> 32)
#define INSIDE_QUBE(word) (uint16_t)((word) >> 48)

/* 656 KiB, of which the words in use are touched. All ports in host order. */
struct bindings {
	_Atomic uint64_t word[PORTS];      /* by external port */
	_Atomic uint16_t displaced[PORTS]; /* by inside port: bindings that have another */
	_Atomic uint16_t hint[HINTS];      /* by hash of the pair: where such a one was put last */
};

enum { BINDINGS_UDP, BINDINGS_ICMP, BINDINGS };

struct binding_table {
	struct flow_secret secret;
	struct bindings bindings[FAMILIES][BINDINGS];
};

struct binding_table *
binding_table_create(const struct flow_secret *secret, int socket_id)
{
	struct binding_table *table =
		rte_zmalloc_socket("bindings", sizeof(*table), RTE_CACHE_LINE_SIZE, socket_id);

	if (table == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	table->secret = *secret;
	return table;
}

void
binding_table_free(struct binding_table *bindings)
{
	rte_free(bindings);
}

static inline unsigned
bindings_index(uint8_t protocol)
{
	return protocol == IPPROTO_UDP ? BINDINGS_UDP : BINDINGS_ICMP;
}

/* A class of ports: those among which a pair may be given one. */
struct port_range {
	uint32_t first, size;
};

static struct port_range
class_of(uint8_t protocol, uint16_t port)
{
	if (protocol != IPPROTO_UDP)
		return (struct port_range){0, PORTS}; /* identifiers have no classes */
	if (port < CLASS_BOUNDARY)
		return (struct port_range){1, CLASS_BOUNDARY - 1}; /* nobody listens on port 0 */
	return (struct port_range){CLASS_BOUNDARY, PORTS - CLASS_BOUNDARY};
}

static inline bool
class_has(const struct port_range *class, uint16_t port)
{
	return port - class->first < class->size; /* unsigned: below `first` is far above */
}

/* The keyed random walk through a class. */
static inline uint16_t
class_port(const struct flow_secret *secret, const struct port_range *class, uint64_t seed,
	unsigned step)
{
	uint64_t hash = hash_pair(seed, step, secret->word[2], secret->word[3]);

	return (uint16_t)(class->first + hash_range(hash, class->size));
}

/* One search for a binding: what is wanted, and the walk through the candidates. */
struct search {
	const struct flow_secret *secret;
	struct bindings *bindings;
	const struct port_set *reserved;
	const struct binding_trial *trial;
	enum family family;
	uint8_t protocol;
	struct port_range class;
	uint64_t seed;
	uint32_t inside; /* qube and port, as INSIDE() */
	uint16_t port;   /* host order */
	unsigned first;  /* step: a UDP sender without a port (0) has none to keep */
};

static struct search
search_begin(struct binding_table *table, const struct binding_request *request)
{
	const uint64_t *secret = table->secret.word;
	uint16_t port = rte_be_to_cpu_16(request->port);
	uint32_t inside = (uint32_t)request->qube << 16 | port;
	struct port_range class = class_of(request->protocol, port);

	return (struct search){
		.secret = &table->secret,
		.bindings = &table->bindings[request->family][bindings_index(request->protocol)],
		.reserved = request->reserved,
		.trial = request->trial,
		.family = request->family,
		.protocol = request->protocol,
		.class = class,
		.seed = hash_pair(inside, (uint64_t)request->family << 8 | request->protocol,
			secret[1], secret[0]),
		.inside = inside,
		.port = port,
		.first = class_has(&class, port) ? 0 : 1,
	};
}

static inline uint16_t
search_port(const struct search *search, unsigned step)
{
	return step == 0 ? search->port
			 : class_port(search->secret, &search->class, search->seed, step);
}

static inline _Atomic uint16_t *
search_hint(const struct search *search)
{
	return &search->bindings->hint[hash_range(search->seed, HINTS)];
}

/* How many references on an external port a trial has given back. */
static uint32_t
trial_given(const struct binding_trial *trial, enum family family, uint8_t protocol, uint16_t port)
{
	uint32_t given = 0;

	for (unsigned i = 0; i < trial->count; i++)
		given += trial->given[i].family == family &&
			 bindings_index(trial->given[i].protocol) == bindings_index(protocol) &&
			 trial->given[i].external == rte_cpu_to_be_16(port);
	return given;
}

/* A word as a trial sees it. */
static uint64_t
trial_word(const struct search *search, uint16_t port, uint64_t word)
{
	uint32_t given = trial_given(search->trial, search->family, search->protocol, port);

	return REFERENCES(word) > given ? word - given : 0;
}

/* Add a reference to the binding at @p port if it is the pair's. @return 0, -ENOENT, -EADDRINUSE */
static int
word_join(const struct search *search, uint16_t port)
{
	_Atomic uint64_t *binding = &search->bindings->word[port];
	uint64_t word = atomic_load_explicit(binding, memory_order_relaxed);

	if (unlikely(search->trial != NULL)) {
		word = trial_word(search, port, word);
		return word != 0 && INSIDE(word) == search->inside ? 0 : -ENOENT;
	}
	while (word != 0 && INSIDE(word) == search->inside) {
		if (REFERENCES(word) == REFERENCES_MAX)
			return -EADDRINUSE;
		if (atomic_compare_exchange_weak_explicit(
			    binding, &word, word + 1, memory_order_relaxed, memory_order_relaxed))
			return 0;
	}
	return -ENOENT;
}

/* Begin a binding at @p port. @return false when that is taken, by whomever, or reserved */
static bool
word_claim(const struct search *search, uint16_t port)
{
	_Atomic uint64_t *binding = &search->bindings->word[port];
	_Atomic uint16_t *displaced = &search->bindings->displaced[search->port];
	uint64_t word = atomic_load_explicit(binding, memory_order_relaxed);

	if (unlikely(search->trial != NULL))
		word = trial_word(search, port, word);
	if (word != 0 || (search->reserved != NULL && port_set_has(search->reserved, port)))
		return false;
	if (unlikely(search->trial != NULL))
		return true;
	/* Counted before it can be found, so that nobody overlooks a binding that is there. */
	if (port != search->port)
		atomic_fetch_add_explicit(displaced, 1, memory_order_seq_cst);
	if (atomic_compare_exchange_strong_explicit(binding, &word,
		    (uint64_t)search->inside << 32 | 1, memory_order_seq_cst, memory_order_relaxed))
		return true;
	if (port != search->port)
		atomic_fetch_sub_explicit(displaced, 1, memory_order_seq_cst);
	return false;
}

/* Find the binding that the pair has. @return 0, -ENOENT, -EADDRINUSE */
static int
search_join(const struct search *search, uint16_t *port)
{
	int error;

	/* Almost always: the pair has its own port, or none. */
	*port = search->port;
	error = search->first == 0 ? word_join(search, *port) : -ENOENT;
	if (error != -ENOENT || atomic_load_explicit(&search->bindings->displaced[search->port],
					memory_order_seq_cst) == 0)
		return error;

	*port = atomic_load_explicit(search_hint(search), memory_order_relaxed);
	error = word_join(search, *port);
	for (unsigned step = 1; step < PROBES && error == -ENOENT; step++) {
		*port = search_port(search, step);
		error = word_join(search, *port);
	}
	return error;
}

/* Begin a binding for the pair, unless another worker just did. @return 0, -EADDRINUSE */
static int
search_claim(const struct search *search, uint16_t *port, bool *fresh)
{
	for (unsigned step = search->first; step < PROBES; step++) {
		int error;

		*port = search_port(search, step);
		*fresh = word_claim(search, *port);
		if (*fresh) {
			if (*port != search->port && search->trial == NULL)
				atomic_store_explicit(
					search_hint(search), *port, memory_order_relaxed);
			return 0;
		}
		error = word_join(search, *port);
		if (error != -ENOENT)
			return error;
	}
	return -EADDRINUSE;
}

int
binding_take(struct binding_table *bindings, const struct binding_request *request,
	rte_be16_t *external, bool *fresh)
{
	struct search search = search_begin(bindings, request);
	uint16_t port;
	int error = search_join(&search, &port);

	*fresh = false;
	if (error == -ENOENT)
		error = search_claim(&search, &port, fresh);
	if (error == 0)
		*external = rte_cpu_to_be_16(port);
	return error;
}

int
binding_join(
	struct binding_table *bindings, const struct binding_request *request, rte_be16_t *external)
{
	struct search search = search_begin(bindings, request);
	uint16_t port;
	int error = search_join(&search, &port);

	if (error == 0)
		*external = rte_cpu_to_be_16(port);
	return error;
}

int
binding_take_another(
	struct binding_table *bindings, const struct binding_request *request, rte_be16_t *external)
{
	struct search search = search_begin(bindings, request);

	for (unsigned step = 1; step < PROBES; step++) {
		uint16_t port = search_port(&search, step);

		if (port == search.port || !word_claim(&search, port))
			continue;
		*external = rte_cpu_to_be_16(port);
		return 0;
	}
	return -EADDRINUSE;
}

int
binding_take_exact(struct binding_table *bindings, const struct binding_request *request,
	rte_be16_t external, bool *fresh)
{
	struct search search = search_begin(bindings, request);
	uint16_t port = rte_be_to_cpu_16(external);

	*fresh = false;
	if (!class_has(&search.class, port))
		return -EADDRINUSE;
	*fresh = word_claim(&search, port);
	if (*fresh && port != search.port)
		atomic_store_explicit(search_hint(&search), port, memory_order_relaxed);
	return *fresh || word_join(&search, port) == 0 ? 0 : -EADDRINUSE;
}

uint16_t
binding_release(
	struct binding_table *bindings, enum family family, uint8_t protocol, rte_be16_t external)
{
	struct bindings *table = &bindings->bindings[family][bindings_index(protocol)];
	uint16_t port = rte_be_to_cpu_16(external);
	_Atomic uint64_t *binding = &table->word[port];
	uint64_t word = atomic_load_explicit(binding, memory_order_relaxed);
	uint64_t left;

	do {
		if (word == 0)
			return QUBE_NONE;
		left = REFERENCES(word) > 1 ? word - 1 : 0;
	} while (!atomic_compare_exchange_weak_explicit(
		binding, &word, left, memory_order_seq_cst, memory_order_relaxed));
	if (left != 0)
		return QUBE_NONE;
	if (INSIDE_PORT(word) != port)
		atomic_fetch_sub_explicit(
			&table->displaced[INSIDE_PORT(word)], 1, memory_order_seq_cst);
	return INSIDE_QUBE(word);
}

bool
binding_is_last(const struct binding_table *bindings, enum family family, uint8_t protocol,
	rte_be16_t external, const struct binding_trial *trial)
{
	const struct bindings *table = &bindings->bindings[family][bindings_index(protocol)];
	uint16_t port = rte_be_to_cpu_16(external);
	uint64_t word = atomic_load_explicit(&table->word[port], memory_order_relaxed);

	return REFERENCES(word) <= trial_given(trial, family, protocol, port);
}

bool
binding_find(const struct binding_table *bindings, enum family family, uint8_t protocol,
	rte_be16_t external, uint16_t *qube, rte_be16_t *port)
{
	const struct bindings *table = &bindings->bindings[family][bindings_index(protocol)];
	uint64_t word = atomic_load_explicit(
		&table->word[rte_be_to_cpu_16(external)], memory_order_relaxed);

	if (word == 0)
		return false;
	*qube = INSIDE_QUBE(word);
	*port = rte_cpu_to_be_16(INSIDE_PORT(word));
	return true;
}

int
binding_tcp_without(struct flow_table *table, const struct flow_secret *secret,
	const struct port_set *reserved, const struct flow_gone *gone, struct tuple *reply)
{
	static const struct port_range class = {CLASS_BOUNDARY, PORTS - CLASS_BOUNDARY};
	/* With a counter (RFC 6056 algorithm 3): whoever wants the same port walks elsewhere. */
	uint64_t seed = flow_hash(secret, reply) + flow_opened(table);
	const struct flow *flow;
	enum direction direction;

	for (unsigned step = 0; step < PROBES; step++) {
		if (step != 0)
			reply->destination_port =
				rte_cpu_to_be_16(class_port(secret, &class, seed, step));
		if (reply->destination_port == 0 ||
			(reserved != NULL &&
				port_set_has(reserved, rte_be_to_cpu_16(reply->destination_port))))
			continue;
		flow = flow_lookup(table, reply, flow_hash(secret, reply), &direction);
		if (flow == NULL || flow_is_gone(gone, flow))
			return 0;
	}
	return -EADDRINUSE;
}

int
binding_tcp(struct flow_table *table, const struct flow_secret *secret,
	const struct port_set *reserved, struct tuple *reply)
{
	static const struct flow_gone none;

	return binding_tcp_without(table, secret, reserved, &none, reply);
}
