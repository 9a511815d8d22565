/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * External ports and identifiers: shared bindings for UDP and ICMP, a search for TCP.
 *
 * A binding is one 64-bit word in a table indexed by external port: whose it is, and how many flows
 * use it. It is free when the word is zero. All changes are one compare-and-swap of the word, so
 * any worker may take or release any binding at any time and nobody ever waits.
 *
 * A pair of inside address and port has a fixed sequence of external ports: its own port (kept when
 * possible), then a keyed random walk through the same class. It gets the first one that is free.
 * When the same pair asks again it must find the binding it has (RFC 4787 REQ-1), although ports
 * before it in the sequence may have become free since. Therefore the table counts, per preferred
 * port, how many bindings live away from it. Only if there are some does a search look through the
 * whole sequence for its own before it takes a free port; the usual case is one or two words.
 *
 * That is exact for one worker. Two workers that open the first two flows of the same pair at the
 * same instant walk the same sequence and meet at the same word, unless a third gives back an
 * earlier one between their looks; then the pair has two external ports until the flows of one of
 * them end. Both work, and no port ever has two owners.
 */
#include "nat/binding.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>

#include <rte_malloc.h>

#define PORTS 65536U
#define CLASS_BOUNDARY 1024U
/*
 * How far a search goes. With nine of ten ports taken, 128 steps find none once in 700,000 times.
 */
#define PROBES 128U

/* A binding as one word: index of the qube 16, its port 16, references 32 bits. */
#define REFERENCES_MAX UINT32_MAX
#define REFERENCES(word) ((word)&UINT32_MAX)
#define INSIDE(word) (uint32_t)((word) >> 32)
#define INSIDE_PORT(word) (uint16_t)((word) >> 32)
#define INSIDE_QUBE(word) (uint16_t)((word) >> 48)

struct bindings {
	_Atomic uint64_t word[PORTS];      /* by external port in host order */
	_Atomic uint16_t displaced[PORTS]; /* by inside port: bindings that have another */
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

static inline struct bindings *
bindings_of(struct binding_table *table, enum family family, uint8_t protocol)
{
	return &table->bindings[family][protocol == IPPROTO_UDP ? BINDINGS_UDP : BINDINGS_ICMP];
}

/* The ports among which a pair may be given one. */
struct class
{
	uint32_t first, size;
};

static struct class class_of(uint8_t protocol, uint16_t port)
{
	if (protocol != IPPROTO_UDP)
		return (struct class){0, PORTS}; /* identifiers have no classes */
	if (port < CLASS_BOUNDARY)
		return (struct class){1, CLASS_BOUNDARY - 1}; /* nobody listens on port 0 */
	return (struct class){CLASS_BOUNDARY, PORTS - CLASS_BOUNDARY};
}

/* The keyed random walk through a class. */
static inline uint16_t
class_port(
	const struct flow_secret *secret, const struct class *class, uint64_t seed, unsigned step)
{
	uint64_t hash = hash_pair(seed, step, secret->word[2], secret->word[3]);

	return (uint16_t)(class->first + hash_range(hash, class->size));
}

/* One search for a binding: what is wanted, and the walk through the candidates. */
struct search {
	const struct flow_secret *secret;
	struct bindings *bindings;
	struct class class;
	const struct port_set *reserved;
	uint32_t inside; /* qube and port, as INSIDE() */
	uint64_t seed;
	uint16_t port; /* host order */
};

static inline uint16_t
search_port(const struct search *search, unsigned step)
{
	return step == 0 ? search->port
			 : class_port(search->secret, &search->class, search->seed, step);
}

/* Add a reference to the binding at @p port if it is ours. @return 0, -ENOENT, -EADDRINUSE */
static int
binding_join(const struct search *search, uint16_t port)
{
	_Atomic uint64_t *binding = &search->bindings->word[port];
	uint64_t word = atomic_load_explicit(binding, memory_order_relaxed);

	while (word != 0 && INSIDE(word) == search->inside) {
		if (REFERENCES(word) == REFERENCES_MAX)
			return -EADDRINUSE;
		if (atomic_compare_exchange_weak_explicit(
			    binding, &word, word + 1, memory_order_relaxed, memory_order_relaxed))
			return 0;
	}
	return -ENOENT;
}

/* Take @p port if it is free, or join it if the pair has got it meanwhile. */
static int
binding_claim(const struct search *search, uint16_t port, bool *fresh)
{
	uint64_t word = 0;

	if (search->reserved != NULL && port_set_has(search->reserved, port))
		return -ENOENT;
	*fresh = true;

	/* Counted before it can be found, so that nobody overlooks a binding that is there. */
	if (port != search->port)
		atomic_fetch_add_explicit(
			&search->bindings->displaced[search->port], 1, memory_order_seq_cst);
	if (atomic_compare_exchange_strong_explicit(&search->bindings->word[port], &word,
		    (uint64_t)search->inside << 32 | 1, memory_order_seq_cst, memory_order_relaxed))
		return 0;
	if (port != search->port)
		atomic_fetch_sub_explicit(
			&search->bindings->displaced[search->port], 1, memory_order_seq_cst);
	*fresh = false;
	return binding_join(search, port);
}

static bool
binding_is_free(const struct search *search, uint16_t port)
{
	return atomic_load_explicit(&search->bindings->word[port], memory_order_relaxed) == 0;
}

static struct search
search_begin(struct binding_table *bindings, const struct binding_request *request)
{
	uint16_t wanted = rte_be_to_cpu_16(request->port);

	return (struct search){
		.secret = &bindings->secret,
		.bindings = bindings_of(bindings, request->family, request->protocol),
		.class = class_of(request->protocol, wanted),
		.reserved = request->reserved,
		.inside = (uint32_t)request->qube << 16 | wanted,
		.port = wanted,
	};
}

static void
search_seed(struct search *search, const struct binding_request *request)
{
	search->seed = hash_pair(search->inside, (uint64_t)request->family << 8 | request->protocol,
		search->secret->word[1], search->secret->word[0]);
}

int
binding_take(struct binding_table *bindings, const struct binding_request *request,
	rte_be16_t *external, bool *fresh)
{
	struct search search = search_begin(bindings, request);
	/* Port 0 is nobody's: a UDP sender without a port gets any of its class. */
	unsigned first = search.port < search.class.first ? 1 : 0;
	_Atomic uint16_t *displaced = &search.bindings->displaced[search.port];
	unsigned step;
	int error;

	*fresh = false;
	if (first == 0) {
		/* Almost always: the pair has its own port, or can have it. */
		error = binding_join(&search, search.port);
		if (error == -ENOENT &&
			atomic_load_explicit(displaced, memory_order_seq_cst) == 0 &&
			binding_is_free(&search, search.port))
			error = binding_claim(&search, search.port, fresh);
		if (error != -ENOENT) {
			*external = request->port;
			return error;
		}
	}
	search_seed(&search, request);
	if (atomic_load_explicit(displaced, memory_order_seq_cst) != 0) {
		for (step = 1; step < PROBES; step++) {
			uint16_t candidate = search_port(&search, step);

			error = binding_join(&search, candidate);
			if (error != -ENOENT) {
				*external = rte_cpu_to_be_16(candidate);
				return error;
			}
		}
	}
	for (step = first; step < PROBES; step++) {
		uint16_t candidate = search_port(&search, step);

		error = binding_claim(&search, candidate, fresh);
		if (error != -ENOENT) {
			*external = rte_cpu_to_be_16(candidate);
			return error;
		}
	}
	return -EADDRINUSE;
}

int
binding_take_another(
	struct binding_table *bindings, const struct binding_request *request, rte_be16_t *external)
{
	struct search search = search_begin(bindings, request);

	search_seed(&search, request);
	for (unsigned step = 1; step < PROBES; step++) {
		uint16_t candidate = search_port(&search, step);
		bool fresh = false;

		if (candidate == search.port || !binding_is_free(&search, candidate) ||
			binding_claim(&search, candidate, &fresh) != 0)
			continue;
		*external = rte_cpu_to_be_16(candidate);
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
	int error = binding_join(&search, port);

	*fresh = false;
	if (error == -ENOENT)
		error = binding_claim(&search, port, fresh);
	return error == 0 ? 0 : -EADDRINUSE;
}

uint16_t
binding_release(
	struct binding_table *bindings, enum family family, uint8_t protocol, rte_be16_t external)
{
	struct bindings *table = bindings_of(bindings, family, protocol);
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
binding_find(const struct binding_table *bindings, enum family family, uint8_t protocol,
	rte_be16_t external, uint16_t *qube, rte_be16_t *port)
{
	const struct bindings *table =
		&bindings->bindings[family][protocol == IPPROTO_UDP ? BINDINGS_UDP : BINDINGS_ICMP];
	uint64_t word = atomic_load_explicit(
		&table->word[rte_be_to_cpu_16(external)], memory_order_relaxed);

	if (word == 0)
		return false;
	*qube = INSIDE_QUBE(word);
	*port = rte_cpu_to_be_16(INSIDE_PORT(word));
	return true;
}

int
binding_tcp(struct flow_table *table, const struct flow_secret *secret,
	const struct port_set *reserved, struct tuple *reply)
{
	static const struct class class = {CLASS_BOUNDARY, PORTS - CLASS_BOUNDARY};
	/* With a counter (RFC 6056 algorithm 3): whoever wants the same port walks elsewhere. */
	uint64_t seed = flow_hash(secret, reply) + flow_opened(table);
	enum direction direction;

	for (unsigned step = 0; step < PROBES; step++) {
		if (step != 0)
			reply->destination_port =
				rte_cpu_to_be_16(class_port(secret, &class, seed, step));
		if (reply->destination_port == 0 ||
			(reserved != NULL &&
				port_set_has(reserved, rte_be_to_cpu_16(reply->destination_port))))
			continue;
		if (flow_lookup(table, reply, flow_hash(secret, reply), &direction) == NULL)
			return 0;
	}
	return -EADDRINUSE;
}
