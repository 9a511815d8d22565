/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The flow table of one worker: a pool, a hash table over it, and a timer wheel through it.
 *
 * Pool. Flows lie in one array and are named by their index; index 0 is nobody. Free ones form a
 * stack, so that a flow just closed is the next one opened, while its cache lines are warm.
 *
 * Hash table. A bucket is one line of cache with ten entries: a 16-bit signature each, compared all
 * at once, and a flow index with the direction under which the flow stands there. Every tuple has
 * two buckets. It goes into the first, its home, unless that one is getting full, and then into the
 * emptier of the two. A home counts the entries that went elsewhere: almost every lookup, hit or
 * miss, touches one bucket and one flow. Entries are never moved, so nothing loops. With four
 * entries to a bucket on average (40 % full) at capacity and a choice from seven on, ten are not
 * exceeded in practice: at 50 % and after four times as many changes as entries not one bucket of
 * 400,000 had all ten in use.
 *
 * Timer wheel. 1,024 slots of 1,024 ms, so that milliseconds modulo 2^32 wrap at the end of a slot,
 * and every default timeout but that of an established TCP connection fits into one turn. A flow
 * hangs in the slot of a deadline it once had. When the slot comes up and the deadline has moved
 * away meanwhile, it is filed again; one further away than a turn waits in the last slot. A packet
 * therefore costs one store, and a flow one look per timeout instead of one per packet.
 */
#include "nat/flow.h"
#include "nat/tcp.h"

#include <errno.h>
#include <netinet/in.h>

#include <rte_branch_prediction.h>
#include <rte_malloc.h>
#include <rte_prefetch.h>
#include <rte_vect.h>

#define BUCKET_ENTRIES 10
#define BUCKET_ALL ((1U << BUCKET_ENTRIES) - 1)
/* From here on a home bucket shares its newcomers with the other one. */
#define BUCKET_CROWDED 7
/* Pool entries per bucket when the pool is full: four table entries. */
#define FLOWS_PER_BUCKET 2
#define BUCKETS_MIN 16

#define WHEEL_SLOTS 1024U
#define WHEEL_TICK_SHIFT 10                         /* a tick is 1,024 ms */
#define WHEEL_TICKS (1U << (32 - WHEEL_TICK_SHIFT)) /* ticks wrap here */
/* A clock that steps back by no more than this is waited for. */
#define WHEEL_BACKWARD_TICKS 60
/* In timer_previous: not a flow but the slot whose first flow this is. */
#define WHEEL_FIRST 0x80000000U

/* How many flows of a slot are fetched ahead of closing them. */
#define EXPIRE_BATCH 16U

struct bucket {
	uint16_t signature[BUCKET_ENTRIES];
	uint16_t used;     /* one bit per entry */
	uint16_t overflow; /* how many entries with this home are in their other bucket */
	uint32_t entry[BUCKET_ENTRIES]; /* flow index * 2 + direction */
};
_Static_assert(sizeof(struct bucket) == RTE_CACHE_LINE_MIN_SIZE, "one line of cache");

struct flow_table {
	struct flow *pool; /* capacity + 1 */
	struct bucket *buckets;
	uint32_t bucket_count;
	uint32_t count;
	uint32_t capacity;
	uint32_t free;   /* first of the free flows, linked by timer_next */
	uint64_t opened; /* ever */
	struct flow_secret secret;
	uint32_t reach;         /* one more than the greatest index that was ever used */
	uint32_t eviction_hand; /* where flow_find_evictable goes on */
	uint32_t hand;          /* tick whose slot is looked at next, or is half done */
	uint32_t slot[WHEEL_SLOTS];
};

/* Ports, protocol, family and padding lie behind each other in a tuple: eight bytes. */
#define TUPLE_TAIL offsetof(struct tuple, source_port)
_Static_assert(sizeof(struct tuple) - TUPLE_TAIL == sizeof(uint64_t), "one word behind addresses");

static inline uint64_t
tuple_hash(const struct flow_secret *secret, const struct tuple *tuple)
{
	const uint64_t *word = secret->word;
	uint64_t tail, hash;

	memcpy(&tail, (const char *)tuple + TUPLE_TAIL, sizeof(tail));
	if (likely(tuple->family == FAMILY_IPV4))
		return hash_pair((uint64_t)tuple->destination.v4 << 32 | tuple->source.v4, tail,
			word[0], word[1]);
	hash = hash_fold(tuple->source.half[0] ^ word[0], tuple->source.half[1] ^ word[1]);
	hash = hash_fold(
		tuple->destination.half[0] ^ word[2] ^ hash, tuple->destination.half[1] ^ word[3]);
	return hash_pair(hash, tail, word[0], word[1]);
}

uint64_t
flow_hash(const struct flow_secret *secret, const struct tuple *tuple)
{
	return tuple_hash(secret, tuple);
}

/* The two bucket numbers come from the two halves of the hash, the signature from both. */

static inline uint16_t
hash_signature(uint64_t hash)
{
	return (uint16_t)(hash ^ hash >> 32);
}

static inline struct bucket *
bucket_home(const struct flow_table *table, uint64_t hash)
{
	return &table->buckets[hash_range(hash << 32, table->bucket_count)];
}

static inline struct bucket *
bucket_other(const struct flow_table *table, uint64_t hash)
{
	uint32_t home = hash_range(hash << 32, table->bucket_count);
	uint32_t other = hash_range(hash, table->bucket_count);

	if (unlikely(other == home))
		other = home == 0 ? table->bucket_count - 1 : home - 1;
	return &table->buckets[other];
}

/* Which used entries of a bucket have the signature: one bit each. */
static inline unsigned
bucket_match(const struct bucket *bucket, uint16_t signature)
{
#ifdef __SSE2__
	/* The second load runs on past the signatures; what it finds there is masked off. */
	__m128i wanted = _mm_set1_epi16((short)signature);
	__m128i low = _mm_load_si128((const __m128i *)(const void *)bucket);
	__m128i high = _mm_load_si128((const __m128i *)(const void *)bucket + 1);
	__m128i equal =
		_mm_packs_epi16(_mm_cmpeq_epi16(low, wanted), _mm_cmpeq_epi16(high, wanted));

	return (unsigned)_mm_movemask_epi8(equal) & bucket->used;
#else
	unsigned match = 0;

	for (unsigned i = 0; i < BUCKET_ENTRIES; i++)
		match |= (unsigned)(bucket->signature[i] == signature) << i;
	return match & bucket->used;
#endif
}

/* The three addresses of an IPv6 flow: original source, original destination, and another. */
static inline const union address *
flow_address(const struct flow *flow, unsigned index)
{
	return index == 0 ? &flow->v6_source : &flow->v6_other[index - 1];
}

static inline const union address *
flow_source6(const struct flow *flow, enum direction direction)
{
	return flow_address(flow, direction == DIRECTION_ORIGINAL ? 0 : flow->reply6 & 3);
}

static inline const union address *
flow_destination6(const struct flow *flow, enum direction direction)
{
	return flow_address(flow, direction == DIRECTION_ORIGINAL ? 1 : flow->reply6 >> 2 & 3);
}

static inline bool
flow_matches(const struct flow *flow, enum direction direction, const struct tuple *tuple)
{
	uint32_t ports, flow_ports;

	memcpy(&ports, (const char *)tuple + TUPLE_TAIL, sizeof(ports));
	memcpy(&flow_ports, flow->port[direction], sizeof(flow_ports));
	if (likely(tuple->family == FAMILY_IPV4))
		return ((ports ^ flow_ports) | (tuple->source.v4 ^ flow->v4[direction][0]) |
			       (tuple->destination.v4 ^ flow->v4[direction][1]) |
			       (uint32_t)(tuple->protocol ^ flow->protocol) |
			       (flow->flags & FLOW_IPV6)) == 0;
	return ports == flow_ports && tuple->protocol == flow->protocol &&
	       (flow->flags & FLOW_IPV6) != 0 &&
	       address_equal(&tuple->source, flow_source6(flow, direction)) &&
	       address_equal(&tuple->destination, flow_destination6(flow, direction));
}

static inline enum direction
entry_direction(uint32_t entry)
{
	return (entry & 1) == 0 ? DIRECTION_ORIGINAL : DIRECTION_REPLY;
}

/* Go through all entries of a bucket with the signature. @return the entry, 0 if none matches */
static uint32_t
bucket_find(const struct flow_table *table, const struct bucket *bucket, const struct tuple *tuple,
	uint16_t signature)
{
	for (unsigned match = bucket_match(bucket, signature); match != 0; match &= match - 1) {
		uint32_t entry = bucket->entry[__builtin_ctz(match)];

		if (flow_matches(&table->pool[entry >> 1], entry_direction(entry), tuple))
			return entry;
	}
	return 0;
}

static uint32_t
table_find(const struct flow_table *table, const struct tuple *tuple, uint64_t hash)
{
	const struct bucket *home = bucket_home(table, hash);
	uint16_t signature = hash_signature(hash);
	uint32_t entry = bucket_find(table, home, tuple, signature);

	if (entry == 0 && unlikely(home->overflow != 0))
		entry = bucket_find(table, bucket_other(table, hash), tuple, signature);
	return entry;
}

struct flow *
flow_lookup(struct flow_table *table, const struct tuple *tuple, uint64_t hash,
	enum direction *direction)
{
	uint32_t entry = table_find(table, tuple, hash);

	if (entry == 0)
		return NULL;
	*direction = entry_direction(entry);
	return &table->pool[entry >> 1];
}

/*
 * Take the first entry with the signature as the candidate and fetch its flow. Two entries of one
 * bucket with the same signature are one case in thousands, and then the comparison sorts it out.
 */
static inline uint32_t
bucket_candidate(const struct flow_table *table, const struct bucket *bucket, uint16_t signature,
	unsigned family)
{
	unsigned match = bucket_match(bucket, signature);
	uint32_t entry;

	if (match == 0)
		return 0;
	entry = bucket->entry[__builtin_ctz(match)];
	rte_prefetch0(&table->pool[entry >> 1]);
	if (unlikely(family == FAMILY_IPV6))
		rte_prefetch0(table->pool[entry >> 1].tcp);
	return entry;
}

/*
 * In steps over the whole burst, so that no packet waits for memory alone: each step asks for the
 * lines that the next one reads.
 */
void
flow_lookup_burst(struct flow_table *table, struct rte_mbuf *const *burst, unsigned count)
{
	uint32_t candidate[BURST_MAX];
	uint8_t elsewhere[BURST_MAX];
	unsigned elsewhere_count = 0;

	for (unsigned i = 0; i < count; i++) {
		struct packet *packet = packet_of(burst[i]);

		packet->hash = tuple_hash(&table->secret, &packet->tuple);
		rte_prefetch0(bucket_home(table, packet->hash));
	}
	for (unsigned i = 0; i < count; i++) {
		const struct packet *packet = packet_of(burst[i]);
		const struct bucket *home = bucket_home(table, packet->hash);

		candidate[i] = bucket_candidate(
			table, home, hash_signature(packet->hash), packet->tuple.family);
		if (unlikely(candidate[i] == 0 && home->overflow != 0)) {
			rte_prefetch0(bucket_other(table, packet->hash));
			elsewhere[elsewhere_count++] = (uint8_t)i;
		}
	}
	for (unsigned i = 0; i < elsewhere_count; i++) {
		const struct packet *packet = packet_of(burst[elsewhere[i]]);

		candidate[elsewhere[i]] = bucket_candidate(table, bucket_other(table, packet->hash),
			hash_signature(packet->hash), packet->tuple.family);
	}
	for (unsigned i = 0; i < count; i++) {
		struct packet *packet = packet_of(burst[i]);
		uint32_t entry = candidate[i];

		/* A candidate that is another flow hides the right one: search thoroughly. */
		if (unlikely(entry != 0 && !flow_matches(&table->pool[entry >> 1],
						   entry_direction(entry), &packet->tuple)))
			entry = table_find(table, &packet->tuple, packet->hash);
		packet->flow = likely(entry != 0) ? &table->pool[entry >> 1] : NULL;
		packet->direction = (uint8_t)(entry & 1);
	}
}

/* The bucket that a new entry goes into; it may be full, and then so are both. */
static inline struct bucket *
bucket_choose(const struct flow_table *table, struct bucket *home, uint64_t hash)
{
	struct bucket *bucket = home;

	if (unlikely(__builtin_popcount(home->used) >= BUCKET_CROWDED)) {
		struct bucket *other = bucket_other(table, hash);

		if (__builtin_popcount(other->used) < __builtin_popcount(home->used) &&
			home->overflow < UINT16_MAX)
			bucket = other;
	}
	return bucket;
}

/* Put an entry under a hash. @return 0, or -ENOSPC when both buckets are full */
static int
table_insert(struct flow_table *table, uint64_t hash, uint32_t entry)
{
	struct bucket *home = bucket_home(table, hash);
	struct bucket *bucket = bucket_choose(table, home, hash);
	unsigned position;

	if (unlikely(bucket->used == BUCKET_ALL))
		return -ENOSPC;
	if (unlikely(bucket != home))
		home->overflow++;
	position = (unsigned)__builtin_ctz(~(unsigned)bucket->used);
	bucket->used |= (uint16_t)(1U << position);
	bucket->signature[position] = hash_signature(hash);
	bucket->entry[position] = entry;
	return 0;
}

static bool
bucket_remove(struct bucket *bucket, uint16_t signature, uint32_t entry)
{
	for (unsigned match = bucket_match(bucket, signature); match != 0; match &= match - 1) {
		unsigned position = (unsigned)__builtin_ctz(match);

		if (bucket->entry[position] == entry) {
			bucket->used &= (uint16_t) ~(1U << position);
			return true;
		}
	}
	return false;
}

static void
table_remove(struct flow_table *table, uint64_t hash, uint32_t entry)
{
	struct bucket *home = bucket_home(table, hash);
	uint16_t signature = hash_signature(hash);

	if (likely(bucket_remove(home, signature, entry)))
		return;
	if (bucket_remove(bucket_other(table, hash), signature, entry))
		home->overflow--;
}

/* The wheel: slots are doubly linked lists, whose first flow names the slot. */

static inline uint32_t
tick_add(uint32_t tick, uint32_t ticks)
{
	return (tick + ticks) & (WHEEL_TICKS - 1);
}

/* How far tick @p a lies ahead of tick @p b; negative if behind. */
static inline int32_t
tick_ahead(uint32_t a, uint32_t b)
{
	return (int32_t)((a - b) << WHEEL_TICK_SHIFT) >> WHEEL_TICK_SHIFT;
}

static void
wheel_file(struct flow_table *table, struct flow *flow)
{
	/* The first tick that does not begin before the deadline: never early. */
	uint32_t tick = tick_add(flow->deadline_ms >> WHEEL_TICK_SHIFT,
		(flow->deadline_ms & ((1U << WHEEL_TICK_SHIFT) - 1)) != 0);
	int32_t ahead = tick_ahead(tick, table->hand);
	uint32_t index = flow_index(table, flow);
	uint32_t slot, next;

	if (ahead < 0)
		ahead = 0;
	else if (ahead >= (int32_t)WHEEL_SLOTS)
		ahead = WHEEL_SLOTS - 1;
	slot = (table->hand + (uint32_t)ahead) % WHEEL_SLOTS;
	next = table->slot[slot];
	flow->timer_next = next;
	flow->timer_previous = WHEEL_FIRST | slot;
	if (next != 0)
		table->pool[next].timer_previous = index;
	table->slot[slot] = index;
}

static void
wheel_unlink(struct flow_table *table, struct flow *flow)
{
	uint32_t previous = flow->timer_previous;

	if (flow->timer_next != 0)
		table->pool[flow->timer_next].timer_previous = previous;
	if ((previous & WHEEL_FIRST) != 0)
		table->slot[previous & ~WHEEL_FIRST] = flow->timer_next;
	else
		table->pool[previous].timer_next = flow->timer_next;
}

void
flow_sooner(struct flow_table *table, struct flow *flow)
{
	wheel_unlink(table, flow);
	wheel_file(table, flow);
}

struct flow_table *
flow_table_create(
	uint32_t capacity, const struct flow_secret *secret, uint32_t now_ms, int socket_id)
{
	struct flow_table *table;

	if (capacity == 0 || capacity >= WHEEL_FIRST / 2) {
		errno = EINVAL;
		return NULL;
	}
	table = rte_zmalloc_socket("flow table", sizeof(*table), RTE_CACHE_LINE_SIZE, socket_id);
	if (table == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	table->capacity = capacity;
	table->bucket_count = RTE_MAX(capacity / FLOWS_PER_BUCKET + 1, BUCKETS_MIN);
	table->secret = *secret;
	table->hand = now_ms >> WHEEL_TICK_SHIFT;
	table->pool = rte_zmalloc_socket("flows", sizeof(struct flow) * ((size_t)capacity + 1),
		RTE_CACHE_LINE_SIZE, socket_id);
	table->buckets = rte_zmalloc_socket("flow buckets",
		sizeof(struct bucket) * table->bucket_count, RTE_CACHE_LINE_SIZE, socket_id);
	if (table->pool == NULL || table->buckets == NULL) {
		flow_table_free(table);
		errno = ENOMEM;
		return NULL;
	}
	/* Touch every page now; the data path shall not fault them in. */
	memset(table->buckets, 0, sizeof(struct bucket) * table->bucket_count);
	for (uint32_t index = 1; index <= capacity; index++) {
		table->pool[index].timer_next = index < capacity ? index + 1 : 0;
		table->pool[index].qube = QUBE_NONE;
	}
	table->reach = 1;
	table->free = 1;
	return table;
}

void
flow_table_free(struct flow_table *table)
{
	if (table == NULL)
		return;
	rte_free(table->pool);
	rte_free(table->buckets);
	rte_free(table);
}

static inline uint16_t
sum_fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	return (uint16_t)sum;
}

/* One's complement sum of both addresses. An IPv4 address fills up with zeros: no special case. */
static inline uint16_t
tuple_address_sum(const struct tuple *tuple)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < 4; i++)
		sum += (uint64_t)tuple->source.word[i] + tuple->destination.word[i];
	return sum_fold(sum);
}

static inline uint16_t
tuple_port_sum(const struct tuple *tuple)
{
	return sum_fold((uint64_t)tuple->source_port + tuple->destination_port);
}

/* What must be added to a one's complement sum when @p old becomes @p new in it. */
static inline uint16_t
sum_delta(uint16_t old, uint16_t new)
{
	uint16_t delta = sum_fold((uint64_t) new + (uint16_t)~old);

	return delta == UINT16_MAX ? 0 : delta;
}

/* Index of @p address among the addresses of @p flow, which takes it in as the third if need be. */
static int
flow_learn_address(struct flow *flow, const union address *address)
{
	for (unsigned i = 0; i < 2; i++)
		if (address_equal(address, flow_address(flow, i)))
			return (int)i;
	if (address_is_zero(&flow->v6_other[1]))
		flow->v6_other[1] = *address;
	return address_equal(address, &flow->v6_other[1]) ? 2 : -EINVAL;
}

static int
flow_fill(struct flow *flow, const struct tuple *original, const struct tuple *reply)
{
	uint16_t address_sum[2] = {tuple_address_sum(original), tuple_address_sum(reply)};
	uint16_t port_sum[2] = {tuple_port_sum(original), tuple_port_sum(reply)};

	if (original->family != reply->family || original->protocol != reply->protocol)
		return -EINVAL;
	memset(flow, 0, sizeof(*flow));
	flow->protocol = original->protocol;
	if (original->family == FAMILY_IPV4) {
		flow->v4[DIRECTION_ORIGINAL][0] = original->source.v4;
		flow->v4[DIRECTION_ORIGINAL][1] = original->destination.v4;
		flow->v4[DIRECTION_REPLY][0] = reply->source.v4;
		flow->v4[DIRECTION_REPLY][1] = reply->destination.v4;
	} else {
		int source, destination;

		flow->flags = FLOW_IPV6;
		flow->v6_source = original->source;
		flow->v6_other[0] = original->destination;
		source = flow_learn_address(flow, &reply->source);
		destination = flow_learn_address(flow, &reply->destination);
		if (source < 0 || destination < 0)
			return -EINVAL;
		flow->reply6 = (uint8_t)(source | destination << 2);
	}
	flow->port[DIRECTION_ORIGINAL][0] = original->source_port;
	flow->port[DIRECTION_ORIGINAL][1] = original->destination_port;
	flow->port[DIRECTION_REPLY][0] = reply->source_port;
	flow->port[DIRECTION_REPLY][1] = reply->destination_port;
	/* Sums do not care for order, so a tuple and its reverse have the same. */
	flow->address_delta = sum_delta(address_sum[0], address_sum[1]);
	flow->port_delta = sum_delta(port_sum[0], port_sum[1]);
	return 0;
}

/* It was filled, and is not needed: it is as free as before, or somebody would evict it. */
static struct flow *
flow_spare(struct flow *flow, uint32_t next, int error)
{
	flow->timer_next = next;
	flow->qube = QUBE_NONE;
	errno = error;
	return NULL;
}

struct flow *
flow_open(struct flow_table *table, const struct tuple *original, const struct tuple *reply,
	uint32_t deadline_ms)
{
	uint64_t hash[2] = {
		tuple_hash(&table->secret, original), tuple_hash(&table->secret, reply)};
	uint32_t index = table->free;
	struct flow *flow = &table->pool[index];
	uint32_t next;

	rte_prefetch0(bucket_home(table, hash[0]));
	rte_prefetch0(bucket_home(table, hash[1]));
	next = flow->timer_next;
	/* Filled before it is known to be needed: meanwhile the buckets arrive. */
	if (unlikely(index != 0 && flow_fill(flow, original, reply) != 0))
		return flow_spare(flow, next, EINVAL);
	if (unlikely(table_find(table, original, hash[0]) != 0 ||
		     table_find(table, reply, hash[1]) != 0 ||
		     memcmp(original, reply, sizeof(*original)) == 0))
		return flow_spare(flow, next, EEXIST);
	if (unlikely(index == 0))
		return flow_spare(flow, next, ENOSPC);
	if (unlikely(table_insert(table, hash[0], index << 1 | DIRECTION_ORIGINAL) != 0))
		return flow_spare(flow, next, ENOSPC);
	if (unlikely(table_insert(table, hash[1], index << 1 | DIRECTION_REPLY) != 0)) {
		table_remove(table, hash[0], index << 1 | DIRECTION_ORIGINAL);
		return flow_spare(flow, next, ENOSPC);
	}
	table->free = next;
	rte_prefetch0(&table->pool[next]); /* for the one opened next */
	if (unlikely(index >= table->reach))
		table->reach = index + 1;
	table->count++;
	table->opened++;
	flow->deadline_ms = deadline_ms;
	wheel_file(table, flow);
	return flow;
}

static bool
is_taken(const struct flow_table *table, const struct tuple *tuple, uint64_t hash,
	const struct flow_gone *gone)
{
	uint32_t entry = table_find(table, tuple, hash);

	return entry != 0 && !flow_is_gone(gone, &table->pool[entry >> 1]);
}

int
flow_open_check(const struct flow_table *table, const struct tuple *original,
	const struct tuple *reply, const struct flow_gone *gone)
{
	uint64_t hash[2] = {
		tuple_hash(&table->secret, original), tuple_hash(&table->secret, reply)};

	if (is_taken(table, original, hash[0], gone) || is_taken(table, reply, hash[1], gone) ||
		memcmp(original, reply, sizeof(*original)) == 0)
		return -EEXIST;
	if (table->free == 0 && gone->count == 0)
		return -ENOSPC;
	for (unsigned i = 0; i < RTE_DIM(hash); i++)
		if (bucket_choose(table, bucket_home(table, hash[i]), hash[i])->used == BUCKET_ALL)
			return -ENOSPC;
	return 0;
}

static inline struct flow *
pool_find_evictable(const struct flow_table *table, uint32_t *hand, uint16_t qube, bool inbound,
	bool half_open, unsigned probes, const struct flow_gone *gone)
{
	struct flow *closing = NULL;

	for (unsigned i = 0; i < probes; i++) {
		struct flow *flow;

		if (++*hand >= table->reach)
			*hand = 1;
		flow = &table->pool[*hand];
		if (flow->qube != qube || (flow->flags & FLOW_PERMISSION) != 0 ||
			((flow->flags & FLOW_INBOUND) != 0) != inbound ||
			(gone != NULL && flow_is_gone(gone, flow)))
			continue;
		if (half_open ? (flow->flags & FLOW_HALF_OPEN) != 0
			      : (flow->flags & FLOW_REPLIED) == 0)
			return flow;
		if (closing == NULL && !half_open && flow->protocol == IPPROTO_TCP &&
			tcp_closing(flow->state))
			closing = flow;
	}
	return closing;
}

struct flow *
flow_find_evictable(
	struct flow_table *table, uint16_t qube, bool inbound, bool half_open, unsigned probes)
{
	return pool_find_evictable(
		table, &table->eviction_hand, qube, inbound, half_open, probes, NULL);
}

const struct flow *
flow_peek_evictable(const struct flow_table *table, uint32_t *hand, uint16_t qube, bool inbound,
	bool half_open, unsigned probes, const struct flow_gone *gone)
{
	if (*hand == 0)
		*hand = table->eviction_hand;
	return pool_find_evictable(table, hand, qube, inbound, half_open, probes, gone);
}

void
flow_tuple(const struct flow *flow, enum direction direction, struct tuple *tuple)
{
	bool ipv6 = (flow->flags & FLOW_IPV6) != 0;

	tuple->source = ipv6 ? *flow_source6(flow, direction) : address_v4(flow->v4[direction][0]);
	tuple->destination =
		ipv6 ? *flow_destination6(flow, direction) : address_v4(flow->v4[direction][1]);
	tuple->source_port = flow->port[direction][0];
	tuple->destination_port = flow->port[direction][1];
	tuple->protocol = flow->protocol;
	tuple->family = ipv6 ? FAMILY_IPV6 : FAMILY_IPV4;
	tuple->zero = 0;
}

static inline void
flow_hashes(const struct flow_table *table, const struct flow *flow, uint64_t hash[2])
{
	struct tuple tuple;

	flow_tuple(flow, DIRECTION_ORIGINAL, &tuple);
	hash[DIRECTION_ORIGINAL] = tuple_hash(&table->secret, &tuple);
	flow_tuple(flow, DIRECTION_REPLY, &tuple);
	hash[DIRECTION_REPLY] = tuple_hash(&table->secret, &tuple);
}

static void
table_close(struct flow_table *table, struct flow *flow, const uint64_t hash[2])
{
	uint32_t index = flow_index(table, flow);

	table_remove(table, hash[DIRECTION_ORIGINAL], index << 1 | DIRECTION_ORIGINAL);
	table_remove(table, hash[DIRECTION_REPLY], index << 1 | DIRECTION_REPLY);
	wheel_unlink(table, flow);
	flow->timer_next = table->free;
	flow->qube = QUBE_NONE;
	table->free = index;
	table->count--;
}

void
flow_close(struct flow_table *table, struct flow *flow)
{
	uint64_t hash[2];

	flow_hashes(table, flow, hash);
	rte_prefetch0(bucket_home(table, hash[DIRECTION_ORIGINAL]));
	rte_prefetch0(bucket_home(table, hash[DIRECTION_REPLY]));
	table_close(table, flow, hash);
}

/*
 * Look at up to @p budget flows of one slot, taken from its front; what is left stays there. Every
 * flow looked at leaves the slot, so the budget bounds the work whatever the slot holds.
 */
static unsigned
slot_expire(struct flow_table *table, uint32_t slot, uint32_t now_ms, unsigned budget,
	unsigned *closed, flow_expired_fn expired, void *context)
{
	struct flow *ended[EXPIRE_BATCH];
	uint64_t hash[EXPIRE_BATCH][2];
	unsigned looked_at = 0;
	unsigned ended_count = 0;
	uint32_t next = table->slot[slot];

	while (looked_at < budget && looked_at < EXPIRE_BATCH && next != 0) {
		struct flow *flow = &table->pool[next];

		next = flow->timer_next;
		rte_prefetch0(&table->pool[next]);
		looked_at++;
		if (time_after_ms(flow->deadline_ms, now_ms)) {
			flow_sooner(table, flow);
			continue;
		}
		flow_hashes(table, flow, hash[ended_count]);
		rte_prefetch0(bucket_home(table, hash[ended_count][DIRECTION_ORIGINAL]));
		rte_prefetch0(bucket_home(table, hash[ended_count][DIRECTION_REPLY]));
		ended[ended_count++] = flow;
	}
	for (unsigned i = 0; i < ended_count; i++) {
		if (expired != NULL)
			expired(context, ended[i]);
		table_close(table, ended[i], hash[i]);
	}
	*closed += ended_count;
	return looked_at;
}

unsigned
flow_expire(struct flow_table *table, uint32_t now_ms, unsigned budget, flow_expired_fn expired,
	void *context)
{
	uint32_t now_tick = now_ms >> WHEEL_TICK_SHIFT;
	int32_t late = tick_ahead(now_tick, table->hand);
	unsigned closed = 0;

	/*
	 * After a long pause one turn passes every slot: more would find the same flows again. A
	 * clock that is far behind the hand has gone half way round, or begun anew.
	 */
	if (late >= (int32_t)WHEEL_SLOTS || late < -WHEEL_BACKWARD_TICKS)
		table->hand = tick_add(now_tick, WHEEL_TICKS - (WHEEL_SLOTS - 1));
	while (budget != 0 && tick_ahead(now_tick, table->hand) >= 0) {
		uint32_t slot = table->hand % WHEEL_SLOTS;

		if (table->slot[slot] == 0) {
			/* The slot of the tick we are in stays open until the tick is over. */
			if (table->hand == now_tick)
				break;
			table->hand = tick_add(table->hand, 1);
			continue;
		}
		budget -= slot_expire(table, slot, now_ms, budget, &closed, expired, context);
	}
	return closed;
}

uint32_t
flow_due_ms(const struct flow_table *table, uint32_t now_ms, uint32_t most_ms)
{
	for (uint32_t tick = table->hand;; tick = tick_add(tick, 1)) {
		uint32_t begin_ms = tick << WHEEL_TICK_SHIFT;
		uint32_t due_ms = time_after_ms(begin_ms, now_ms) ? begin_ms - now_ms : 0;

		if (due_ms >= most_ms)
			return most_ms;
		if (table->slot[tick % WHEEL_SLOTS] != 0)
			return due_ms;
	}
}

void
flow_walk(struct flow_table *table, void (*visit)(void *context, struct flow *flow), void *context)
{
	for (uint32_t slot = 0; slot < WHEEL_SLOTS; slot++) {
		uint32_t next = table->slot[slot];

		while (next != 0) {
			struct flow *flow = &table->pool[next];

			next = flow->timer_next;
			visit(context, flow);
		}
	}
}

bool
flow_walk_some(struct flow_table *table, uint32_t *cursor, unsigned places,
	bool (*visit)(void *context, struct flow *flow), void *context)
{
	uint32_t index = RTE_MAX(*cursor, 1U);
	uint32_t end = (uint32_t)RTE_MIN((uint64_t)index + places, table->reach);

	while (index < end) {
		struct flow *flow = &table->pool[index++];

		if (flow->qube != QUBE_NONE && !visit(context, flow))
			break;
	}
	*cursor = index;
	return index < table->reach;
}

uint32_t
flow_count(const struct flow_table *table)
{
	return table->count;
}

uint64_t
flow_opened(const struct flow_table *table)
{
	return table->opened;
}

uint32_t
flow_capacity(const struct flow_table *table)
{
	return table->capacity;
}

size_t
flow_table_memory(const struct flow_table *table)
{
	return sizeof(*table) + sizeof(struct flow) * ((size_t)table->capacity + 1) +
	       sizeof(struct bucket) * table->bucket_count;
}

uint32_t
flow_index(const struct flow_table *table, const struct flow *flow)
{
	return (uint32_t)(flow - table->pool);
}
