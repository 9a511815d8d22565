/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reassembly: fragments wait here until their datagram is whole.
 *
 * Life of a datagram: its first fragment to arrive, whichever that is, opens it; each further one
 * is filed in order of offsets; the one that closes the last gap takes it out as a packet. Or it
 * ends before that: when its time is over, when it has to make room, or when two of its fragments
 * do not agree. In the last case its name stays, empty, so that what else comes of it falls on the
 * same ground (RFC 5722 section 4; RFC 8200 section 4.5 has the same rule). Time runs from its
 * first fragment and is never prolonged.
 *
 * Who may wait. Nothing here has been judged, so all of it may be somebody's flood. A unit is an
 * mbuf that waits, or a name that is remembered. Everything is paid in units, twice:
 *
 * - to the account of the sender, over all workers, up to its limit: at that its oldest datagram
 *   makes room for its newest
 * - to this table, which holds only so many datagrams and units: when it is full, the account that
 *   holds most units here gives up its oldest datagram. So a flood, from however many accounts,
 *   drives out its own fragments, and whoever has few waiting keeps them (RFC 4787 REQ-14).
 *
 * No operation walks more than the fragments of one datagram.
 */
#include "nat/fragment.h"

#include <errno.h>
#include <sys/queue.h>

#include <rte_bitops.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_malloc.h>

#include "classifier/parse.h"

#define DATAGRAM_MAX UINT16_MAX /* bytes: IPv4 with its header, IPv6 behind its first header */
#define IPV4_HEADER_MIN 20
#define FRAGMENT_HEADER ((uint32_t)sizeof(struct rte_ipv6_fragment_ext))
/* Of 1480 bytes each: a datagram of 10 KiB. Most that are fragmented at all are shorter. */
#define UNITS_PER_DATAGRAM 8
#define DATAGRAMS_MAX (UINT32_MAX / UNITS_PER_DATAGRAM / 2)

/* Congestion marks in the low bits of the traffic class (RFC 3168). */
enum ecn { ECN_INCAPABLE = 0, ECN_CONGESTION = 3 };

/* What tells fragments of one datagram from all others. */
struct name {
	union address source;
	union address destination;
	uint32_t identification; /* as in the header */
	uint16_t in_port;
	uint8_t protocol; /* IPv6: zero, it has no part in it */
	uint8_t family;
};
_Static_assert(sizeof(struct name) == 40, "names are compared as bytes");

/* A fragment as its headers describe it. */
struct part {
	uint32_t offset; /* bytes; a multiple of eight up to 65,528 */
	uint32_t length;
	uint32_t ip_length; /* of the packet that brings it */
	uint32_t header;    /* bytes that count towards DATAGRAM_MAX besides the data */
	bool more;
	bool df;
	uint8_t ecn;
};

/* A fragment that waits. */
struct piece {
	struct piece *next; /* of its datagram, in order of offsets; or of the free ones */
	struct rte_mbuf *mbuf;
	uint32_t offset;
	uint32_t length;
};

struct datagram;
TAILQ_HEAD(datagram_queue, datagram); /* oldest first */

/* Whoever has something waiting here. */
struct holder {
	struct account *account;
	uint32_t units;
	LIST_ENTRY(holder) link;  /* in its bucket, or among the free ones */
	LIST_ENTRY(holder) peers; /* those with as many units */
	struct datagram_queue datagrams;
};
LIST_HEAD(holder_list, holder);

struct datagram {
	struct name name;
	struct holder *holder;
	LIST_ENTRY(datagram) link; /* in its bucket, or among the free ones */
	TAILQ_ENTRY(datagram) age; /* in the table, oldest first */
	TAILQ_ENTRY(datagram) own; /* of its holder, oldest first */
	struct piece *first;
	struct piece *last;
	uint32_t deadline_ms;
	uint32_t units;
	uint32_t bytes;   /* of data that wait */
	uint32_t reach;   /* where the data that wait end */
	uint32_t header;  /* as in struct part, of the fragment with offset 0; a least one before */
	uint16_t count;   /* of fragments */
	uint16_t longest; /* IP packet that brought one of them */
	bool end_known;   /* the last fragment is there: `reach` is the end */
	bool df;          /* of any of them */
	uint8_t ecn_seen; /* bit 1 << enum ecn */
	uint8_t ended;    /* enum reason; not REASON_NONE: only the name is left */
};
LIST_HEAD(datagram_list, datagram);

/* All arrays are sized when the table is created; the lists say what is free of them. */
struct fragment_table {
	struct fragment_exits exits;
	struct flow_secret secret;
	uint32_t count; /* fragments that wait */
	uint32_t units;
	uint32_t units_max;
	uint32_t mask; /* of both kinds of buckets */
	uint32_t most; /* units that a holder has, and none has more */
	struct datagram_queue age;
	struct datagram_list *buckets;
	struct holder_list *holder_buckets; /* by account */
	struct holder_list *holders_with;   /* by how many units they have */
	struct datagram_list free_datagrams;
	struct holder_list free_holders;
	struct piece *free_pieces;
	struct datagram *datagrams;
	struct holder *holders;
	struct piece *pieces;
};

/* ---- fragments as they arrive ---- */

static void
name_read(const struct rte_mbuf *mbuf, struct name *name)
{
	const struct packet *packet = packet_of((struct rte_mbuf *)(uintptr_t)mbuf);

	*name = (struct name){
		.source = packet->tuple.source,
		.destination = packet->tuple.destination,
		.in_port = packet->in_port,
		.family = packet->tuple.family,
	};
	if (name->family == FAMILY_IPV4) {
		const struct rte_ipv4_hdr *ip =
			packet_header(mbuf, packet->l3_offset, const struct rte_ipv4_hdr *);

		name->identification = ip->packet_id;
		name->protocol = ip->next_proto_id;
	} else {
		name->identification = packet_header(mbuf, packet->l4_offset - FRAGMENT_HEADER,
			const struct rte_ipv6_fragment_ext *)
					       ->id;
	}
}

static inline uint64_t
name_hash(const struct flow_secret *secret, const struct name *name)
{
	const uint64_t *word = secret->word;
	uint64_t tail = (uint64_t)name->identification << 32 | (uint64_t)name->in_port << 16 |
			(uint64_t)name->protocol << 8 | name->family;
	uint64_t source = hash_pair(name->source.half[0], name->source.half[1], word[1], word[3]);
	uint64_t destination =
		hash_pair(name->destination.half[0], name->destination.half[1], word[2], word[0]);

	return hash_pair(source ^ tail, destination, word[0], word[1]);
}

unsigned
fragment_steer(const struct flow_secret *secret, const struct rte_mbuf *mbuf, unsigned workers)
{
	struct name name;

	if (workers <= 1)
		return 0;
	name_read(mbuf, &name);
	return hash_range(name_hash(secret, &name), workers);
}

static void
part_read(const struct rte_mbuf *mbuf, const struct packet *packet, struct part *part)
{
	uint32_t header = packet->l4_offset - packet->l3_offset;

	*part = (struct part){
		.length = packet->frame_length - packet->l4_offset,
		.ip_length = packet->frame_length - packet->l3_offset,
	};
	if (packet->tuple.family == FAMILY_IPV4) {
		const struct rte_ipv4_hdr *ip =
			packet_header(mbuf, packet->l3_offset, const struct rte_ipv4_hdr *);
		uint16_t fragment = rte_be_to_cpu_16(ip->fragment_offset);

		part->offset = (uint32_t)(fragment & RTE_IPV4_HDR_OFFSET_MASK) * 8;
		part->more = (fragment & RTE_IPV4_HDR_MF_FLAG) != 0;
		part->df = (fragment & RTE_IPV4_HDR_DF_FLAG) != 0;
		part->ecn = ip->type_of_service & RTE_IPV4_HDR_ECN_MASK;
		part->header = header;
	} else {
		const struct rte_ipv6_hdr *ip =
			packet_header(mbuf, packet->l3_offset, const struct rte_ipv6_hdr *);
		uint16_t fragment = rte_be_to_cpu_16(packet_header(mbuf,
			packet->l4_offset - FRAGMENT_HEADER, const struct rte_ipv6_fragment_ext *)
							     ->frag_data);

		part->offset = fragment & (uint16_t)RTE_IPV6_EHDR_FO_MASK;
		part->more = RTE_IPV6_GET_MF(fragment) != 0;
		part->ecn = (uint8_t)(rte_be_to_cpu_32(ip->vtc_flow) >> RTE_IPV6_HDR_TC_SHIFT) &
			    RTE_IPV4_HDR_ECN_MASK;
		part->header = header - FRAGMENT_HEADER - (uint32_t)sizeof(*ip);
	}
}

/*
 * A frame that lies in a receive ring would block that ring: go on with a copy of it.
 * @return NULL when there is no mbuf for that, and @p mbuf is as it was
 */
static struct rte_mbuf *
mbuf_keep(struct rte_mbuf *mbuf, struct rte_mempool *pool)
{
	const struct rte_mbuf *segment = mbuf;
	struct rte_mbuf *copy;

	while (segment != NULL && !RTE_MBUF_HAS_EXTBUF(segment))
		segment = segment->next;
	if (segment == NULL)
		return mbuf;
	copy = rte_pktmbuf_copy(mbuf, pool, 0, UINT32_MAX);
	if (copy == NULL)
		return NULL;
	*packet_of(copy) = *packet_of(mbuf);
	rte_pktmbuf_free(mbuf);
	return copy;
}

/* ---- who has how much waiting ---- */

static struct holder_list *
holder_bucket(struct fragment_table *table, const struct account *account)
{
	uint64_t hash =
		hash_fold((uintptr_t)account ^ table->secret.word[2], table->secret.word[3]);

	return &table->holder_buckets[hash & table->mask];
}

static struct holder *
holder_find(struct fragment_table *table, const struct account *account)
{
	struct holder *holder;

	LIST_FOREACH (holder, holder_bucket(table, account), link)
		if (holder->account == account)
			return holder;
	return NULL;
}

static struct holder *
holder_open(struct fragment_table *table, struct account *account)
{
	/* There are as many as datagrams, and none is without one. */
	struct holder *holder = LIST_FIRST(&table->free_holders);

	LIST_REMOVE(holder, link);
	holder->account = account;
	holder->units = 0;
	TAILQ_INIT(&holder->datagrams);
	LIST_INSERT_HEAD(holder_bucket(table, account), holder, link);
	LIST_INSERT_HEAD(&table->holders_with[0], holder, peers);
	return holder;
}

static void
holder_close(struct fragment_table *table, struct holder *holder)
{
	LIST_REMOVE(holder, peers);
	LIST_REMOVE(holder, link);
	LIST_INSERT_HEAD(&table->free_holders, holder, link);
}

static void
holder_weigh(struct fragment_table *table, struct holder *holder, uint32_t units)
{
	LIST_REMOVE(holder, peers);
	table->units = table->units - holder->units + units;
	holder->units = units;
	LIST_INSERT_HEAD(&table->holders_with[units], holder, peers);
	if (units > table->most)
		table->most = units;
	while (table->most > 0 && LIST_EMPTY(&table->holders_with[table->most]))
		table->most--;
}

/* The datagram that makes room in a full table for one of @p holder, which may have none yet. */
static struct datagram *
victim_find(struct fragment_table *table, struct holder *holder)
{
	if (holder == NULL || holder->units < table->most)
		holder = LIST_FIRST(&table->holders_with[table->most]);
	return TAILQ_FIRST(&holder->datagrams);
}

/* ---- datagrams ---- */

static struct datagram *
datagram_find(struct fragment_table *table, const struct name *name, uint64_t hash)
{
	struct datagram *datagram;

	LIST_FOREACH (datagram, &table->buckets[hash & table->mask], link)
		if (memcmp(&datagram->name, name, sizeof(*name)) == 0)
			return datagram;
	return NULL;
}

static bool
datagram_is_over(const struct datagram *datagram, uint32_t now_ms)
{
	return !time_after_ms(datagram->deadline_ms, now_ms);
}

/* Give units back to the account, all but @p left of them. */
static void
datagram_release(struct fragment_table *table, struct datagram *datagram, uint32_t left)
{
	struct holder *holder = datagram->holder;
	uint32_t released = datagram->units - left;

	for (uint32_t i = 0; i < released; i++)
		budget_give(holder->account, BUDGET_FRAGMENTS);
	datagram->units = left;
	holder_weigh(table, holder, holder->units - released);
}

/* Forget what waits of a datagram; the mbufs are somebody else's by now. */
static void
datagram_empty(struct fragment_table *table, struct datagram *datagram)
{
	table->count -= datagram->count;
	if (datagram->last != NULL) {
		datagram->last->next = table->free_pieces;
		table->free_pieces = datagram->first;
	}
	datagram->first = datagram->last = NULL;
	datagram->count = 0;
}

static void
datagram_drop(struct fragment_table *table, struct datagram *datagram, enum reason reason)
{
	for (const struct piece *piece = datagram->first; piece != NULL; piece = piece->next)
		table->exits.drop(table->exits.context, piece->mbuf, reason);
	datagram_empty(table, datagram);
}

static void
datagram_close(struct fragment_table *table, struct datagram *datagram)
{
	struct holder *holder = datagram->holder;

	datagram_release(table, datagram, 0);
	LIST_REMOVE(datagram, link);
	TAILQ_REMOVE(&table->age, datagram, age);
	TAILQ_REMOVE(&holder->datagrams, datagram, own);
	LIST_INSERT_HEAD(&table->free_datagrams, datagram, link);
	if (TAILQ_EMPTY(&holder->datagrams))
		holder_close(table, holder);
}

/* A datagram ends, and with it all that waits of it. */
static void
datagram_end(struct fragment_table *table, struct datagram *datagram, enum reason reason)
{
	datagram_drop(table, datagram, reason);
	datagram_close(table, datagram);
}

/* It ends, but its name stays for what is still to come. One unit must have been paid for that. */
static void
datagram_spoil(struct fragment_table *table, struct datagram *datagram, enum reason reason)
{
	if (datagram->units == 0) {
		datagram_end(table, datagram, reason);
		return;
	}
	datagram_drop(table, datagram, reason);
	datagram_release(table, datagram, 1);
	datagram->ended = (uint8_t)reason;
}

/* Open a datagram, in which nothing waits and for which nothing has been paid yet. */
static struct datagram *
datagram_open(struct fragment_table *table, const struct name *name, uint64_t hash,
	struct account *account, uint32_t deadline_ms)
{
	struct holder *holder = holder_find(table, account);
	struct datagram *datagram;

	if (LIST_EMPTY(&table->free_datagrams)) {
		datagram_end(table, victim_find(table, holder), REASON_FRAGMENT_LIMIT);
		holder = holder_find(table, account); /* that may have been its only one */
	}
	if (holder == NULL)
		holder = holder_open(table, account);
	datagram = LIST_FIRST(&table->free_datagrams);
	LIST_REMOVE(datagram, link);
	*datagram = (struct datagram){
		.name = *name,
		.holder = holder,
		.deadline_ms = deadline_ms,
		.header = name->family == FAMILY_IPV4 ? IPV4_HEADER_MIN : 0,
	};
	LIST_INSERT_HEAD(&table->buckets[hash & table->mask], datagram, link);
	TAILQ_INSERT_TAIL(&table->age, datagram, age);
	TAILQ_INSERT_TAIL(&holder->datagrams, datagram, own);
	return datagram;
}

/* Pay for more units, with older datagrams if need be. @return false when that cannot be */
static bool
datagram_pay(
	struct fragment_table *table, struct datagram *datagram, uint32_t units, uint32_t limit)
{
	struct holder *holder = datagram->holder;
	struct datagram *victim;
	uint32_t paid = 0;

	/* What cannot fit even alone shall cost no other its place. */
	if (datagram->units + units > RTE_MIN(limit, table->units_max))
		return false;
	while (paid < units) {
		if (budget_take(holder->account, BUDGET_FRAGMENTS, limit)) {
			paid++;
			continue;
		}
		victim = TAILQ_FIRST(&holder->datagrams);
		if (victim == datagram)
			break;
		datagram_end(table, victim, REASON_FRAGMENT_LIMIT);
	}
	while (paid == units && table->units + units > table->units_max) {
		victim = victim_find(table, holder);
		if (victim == datagram)
			break;
		datagram_end(table, victim, REASON_FRAGMENT_LIMIT);
	}
	if (paid < units || table->units + units > table->units_max) {
		while (paid-- > 0)
			budget_give(holder->account, BUDGET_FRAGMENTS);
		return false;
	}
	datagram->units += units;
	holder_weigh(table, holder, holder->units + units);
	return true;
}

/* ---- one more part ---- */

enum fit { FIT_GAP, FIT_REPETITION, FIT_CONTRADICTION };

/*
 * How a part goes with those that wait.
 * @param before out: the piece behind which it belongs, NULL for the first place
 */
static enum fit
part_fit(const struct datagram *datagram, const struct part *part, struct piece **before)
{
	uint32_t end = part->offset + part->length;
	uint32_t header = part->offset == 0 ? part->header : datagram->header;
	unsigned ecn = datagram->ecn_seen | 1U << part->ecn;
	struct piece *after = datagram->first;

	*before = NULL;
	if (part->offset >= datagram->reach) { /* in order, as nearly all come */
		*before = datagram->last;
		after = NULL;
	}
	while (after != NULL && after->offset + after->length <= part->offset) {
		*before = after;
		after = after->next;
	}
	if (after != NULL && after->offset < end) {
		bool after_is_end = datagram->end_known && after == datagram->last;

		return after->offset == part->offset && after->length == part->length &&
				       after_is_end == !part->more
			       ? FIT_REPETITION
			       : FIT_CONTRADICTION;
	}
	/* behind the end, or an end before what is there */
	if (after == NULL ? datagram->end_known : !part->more)
		return FIT_CONTRADICTION;
	if (header + RTE_MAX(end, datagram->reach) > DATAGRAM_MAX)
		return FIT_CONTRADICTION;
	/* RFC 3168 section 5.3: congestion cannot be felt by half of a packet */
	if ((ecn & 1 << ECN_CONGESTION) != 0 && (ecn & 1 << ECN_INCAPABLE) != 0)
		return FIT_CONTRADICTION;
	return FIT_GAP;
}

static void
datagram_add(struct fragment_table *table, struct datagram *datagram, struct rte_mbuf *mbuf,
	const struct part *part, struct piece *before)
{
	/* There are as many as units, and each has paid for one at least. */
	struct piece *piece = table->free_pieces;
	struct piece **place = before == NULL ? &datagram->first : &before->next;

	table->free_pieces = piece->next;
	*piece = (struct piece){
		.next = *place, .mbuf = mbuf, .offset = part->offset, .length = part->length};
	*place = piece;
	if (piece->next == NULL)
		datagram->last = piece;
	table->count++;
	datagram->count++;
	datagram->bytes += part->length;
	datagram->reach = RTE_MAX(datagram->reach, part->offset + part->length);
	datagram->longest = (uint16_t)RTE_MAX((uint32_t)datagram->longest, part->ip_length);
	datagram->ecn_seen |= (uint8_t)(1U << part->ecn);
	datagram->df |= part->df;
	if (!part->more)
		datagram->end_known = true;
	if (part->offset == 0)
		datagram->header = part->header;
}

/* ---- a whole datagram ---- */

/* Put what an mbuf holds behind its headers at the end of a chain. @return the new end */
static struct rte_mbuf *
chain_append(struct rte_mbuf *head, struct rte_mbuf *end, struct rte_mbuf *mbuf)
{
	(void)rte_pktmbuf_adj(mbuf, packet_of(mbuf)->l4_offset);
	head->pkt_len += mbuf->pkt_len;
	head->nb_segs = (uint16_t)(head->nb_segs + mbuf->nb_segs);
	if (mbuf->data_len == 0) { /* all of it lies in the next one */
		struct rte_mbuf *next = mbuf->next;

		rte_pktmbuf_free_seg(mbuf);
		mbuf = next;
		head->nb_segs--;
	}
	end->next = mbuf;
	end = rte_pktmbuf_lastseg(mbuf);
	mbuf->pkt_len = mbuf->data_len;
	mbuf->nb_segs = 1;
	return end;
}

static void
ipv4_make_whole(struct rte_mbuf *mbuf, uint32_t l3_offset, const struct datagram *datagram)
{
	struct rte_ipv4_hdr *ip = packet_header(mbuf, l3_offset, struct rte_ipv4_hdr *);

	ip->total_length = rte_cpu_to_be_16((uint16_t)(datagram->header + datagram->reach));
	ip->fragment_offset &=
		(rte_be16_t)~RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK);
	/* Whoever asked for it in any part wants to hear of a way that is too narrow. */
	if (datagram->df)
		ip->fragment_offset |= RTE_BE16(RTE_IPV4_HDR_DF_FLAG);
	if ((datagram->ecn_seen & 1 << ECN_CONGESTION) != 0)
		ip->type_of_service |= RTE_IPV4_HDR_ECN_CE;
	ip->hdr_checksum = 0;
	ip->hdr_checksum = (uint16_t)~rte_raw_cksum(ip, datagram->header);
}

static void
ipv6_make_whole(struct rte_mbuf *mbuf, uint32_t l3_offset, const struct datagram *datagram)
{
	uint32_t at = packet_of(mbuf)->l4_offset - FRAGMENT_HEADER;
	struct rte_ipv6_hdr *ip;

	parse_cut_fragment_header(mbuf, l3_offset, at);
	ip = packet_header(mbuf, l3_offset, struct rte_ipv6_hdr *);
	ip->payload_len = rte_cpu_to_be_16((uint16_t)(datagram->header + datagram->reach));
	if ((datagram->ecn_seen & 1 << ECN_CONGESTION) != 0)
		ip->vtc_flow |= RTE_BE32(RTE_IPV6_HDR_ECN_CE);
}

/* All parts are there: make a packet of them, which leaves the table. */
static struct rte_mbuf *
datagram_join(struct fragment_table *table, struct datagram *datagram)
{
	struct rte_mbuf *head = datagram->first->mbuf;
	struct rte_mbuf *end = rte_pktmbuf_lastseg(head);
	struct packet *packet = packet_of(head);

	for (const struct piece *piece = datagram->first->next; piece != NULL;
		piece = piece->next) {
		table->exits.joined(table->exits.context, piece->mbuf);
		end = chain_append(head, end, piece->mbuf);
	}
	if (datagram->name.family == FAMILY_IPV4)
		ipv4_make_whole(head, packet->l3_offset, datagram);
	else
		ipv6_make_whole(head, packet->l3_offset, datagram);
	packet->fragment_size = datagram->longest;
	packet->fragment_id = rte_be_to_cpu_32(datagram->name.identification);
	datagram_empty(table, datagram);
	datagram_close(table, datagram);
	return head;
}

/*
 * File a fragment.
 * @param mbuf in: as it came, out: as it is kept
 * @return REASON_NONE, or why it must be dropped by the caller
 */
static enum reason
datagram_take(struct fragment_table *table, struct datagram *datagram, struct rte_mbuf **mbuf,
	uint32_t limit, struct rte_mempool *pool)
{
	struct rte_mbuf *kept;
	struct piece *before;
	struct part part;
	enum fit fit;

	if (datagram->ended != REASON_NONE)
		return datagram->ended;
	part_read(*mbuf, packet_of(*mbuf), &part);
	fit = part_fit(datagram, &part, &before);
	if (fit == FIT_REPETITION)
		return REASON_FRAGMENT_OVERLAP;
	if (fit == FIT_CONTRADICTION) {
		if (datagram->units == 0)
			(void)datagram_pay(table, datagram, 1, limit);
		datagram_spoil(table, datagram, REASON_FRAGMENT_OVERLAP);
		return REASON_FRAGMENT_OVERLAP;
	}
	if (datagram->count == FRAGMENTS_PER_DATAGRAM) {
		datagram_spoil(table, datagram, REASON_FRAGMENT_LIMIT);
		return REASON_FRAGMENT_LIMIT;
	}
	kept = mbuf_keep(*mbuf, pool);
	if (kept == NULL) {
		if (datagram->units == 0)
			datagram_close(table, datagram);
		return REASON_NO_MBUF;
	}
	*mbuf = kept;
	if (!datagram_pay(table, datagram, kept->nb_segs, limit)) {
		datagram_spoil(table, datagram, REASON_FRAGMENT_LIMIT);
		return REASON_FRAGMENT_LIMIT;
	}
	datagram_add(table, datagram, kept, &part, before);
	return REASON_NONE;
}

struct rte_mbuf *
fragment_take(struct fragment_table *table, struct rte_mbuf *mbuf, struct account *account,
	uint32_t limit, uint32_t now_ms, uint32_t deadline_ms, struct rte_mempool *pool)
{
	struct datagram *datagram;
	uint32_t serial;
	enum reason reason;
	struct name name;
	uint64_t hash;

	name_read(mbuf, &name);
	hash = name_hash(&table->secret, &name);
	datagram = datagram_find(table, &name, hash);
	if (datagram != NULL && datagram_is_over(datagram, now_ms)) {
		datagram_end(table, datagram, REASON_FRAGMENT_TIMEOUT);
		datagram = NULL;
	}
	if (datagram == NULL)
		datagram = datagram_open(table, &name, hash, account, deadline_ms);
	reason = datagram_take(table, datagram, &mbuf, limit, pool);
	if (reason != REASON_NONE) {
		table->exits.drop(table->exits.context, mbuf, reason);
		return NULL;
	}
	if (!datagram->end_known || datagram->bytes != datagram->reach)
		return NULL;
	/* What the datagram causes is caused by its last part to come: it goes on as that one. */
	serial = packet_of(mbuf)->serial;
	packet_of(mbuf)->serial = packet_of(datagram->first->mbuf)->serial;
	packet_of(datagram->first->mbuf)->serial = serial;
	return datagram_join(table, datagram);
}

unsigned
fragment_expire(struct fragment_table *table, uint32_t now_ms, unsigned budget)
{
	unsigned ended = 0;

	while (ended < budget) {
		struct datagram *oldest = TAILQ_FIRST(&table->age);

		/* After a change of the timeout a younger one may be over before the oldest is. */
		if (oldest == NULL || !datagram_is_over(oldest, now_ms))
			break;
		datagram_end(table, oldest, REASON_FRAGMENT_TIMEOUT);
		ended++;
	}
	return ended;
}

uint32_t
fragment_due_ms(const struct fragment_table *table, uint32_t now_ms, uint32_t most_ms)
{
	const struct datagram *oldest = TAILQ_FIRST(&table->age);

	if (oldest == NULL)
		return most_ms;
	if (datagram_is_over(oldest, now_ms))
		return 0;
	return RTE_MIN(oldest->deadline_ms - now_ms, most_ms);
}

void
fragment_forget(struct fragment_table *table, bool (*is_gone)(const void *context, uint16_t port),
	const void *context, enum reason reason)
{
	struct datagram *datagram, *following;

	for (datagram = TAILQ_FIRST(&table->age); datagram != NULL; datagram = following) {
		following = TAILQ_NEXT(datagram, age);
		if (is_gone(context, datagram->name.in_port))
			datagram_end(table, datagram, reason);
	}
}

uint32_t
fragment_count(const struct fragment_table *table)
{
	return table->count;
}

/* ---- the table ---- */

uint32_t
fragment_table_mbufs(uint32_t datagrams)
{
	return datagrams * UNITS_PER_DATAGRAM + FRAGMENTS_PER_DATAGRAM;
}

struct fragment_table *
fragment_table_create(uint32_t datagrams, const struct flow_secret *secret,
	const struct fragment_exits *exits, int socket_id)
{
	uint32_t buckets = rte_align32pow2(RTE_MAX(datagrams, 2U));
	struct fragment_table *table;

	if (datagrams == 0 || datagrams > DATAGRAMS_MAX) {
		errno = EINVAL;
		return NULL;
	}
	errno = ENOMEM;
	table = rte_zmalloc_socket("fragments", sizeof(*table), RTE_CACHE_LINE_SIZE, socket_id);
	if (table == NULL)
		return NULL;
	table->exits = *exits;
	table->secret = *secret;
	table->mask = buckets - 1;
	table->units_max = fragment_table_mbufs(datagrams);
	TAILQ_INIT(&table->age);
#define ARRAY(member, count)                \
	table->member = rte_zmalloc_socket( \
		"fragments", (size_t)(count) * sizeof(*table->member), 0, socket_id)
	ARRAY(buckets, buckets);
	ARRAY(holder_buckets, buckets);
	ARRAY(holders_with, table->units_max + 1);
	ARRAY(datagrams, datagrams);
	ARRAY(holders, datagrams);
	ARRAY(pieces, table->units_max);
#undef ARRAY
	if (table->buckets == NULL || table->holder_buckets == NULL ||
		table->holders_with == NULL || table->datagrams == NULL || table->holders == NULL ||
		table->pieces == NULL) {
		fragment_table_free(table);
		return NULL;
	}
	for (uint32_t i = 0; i < datagrams; i++) {
		LIST_INSERT_HEAD(&table->free_datagrams, &table->datagrams[i], link);
		LIST_INSERT_HEAD(&table->free_holders, &table->holders[i], link);
	}
	for (uint32_t i = 0; i < table->units_max; i++) {
		table->pieces[i].next = table->free_pieces;
		table->free_pieces = &table->pieces[i];
	}
	return table;
}

void
fragment_table_free(struct fragment_table *table)
{
	struct datagram *datagram;

	if (table == NULL)
		return;
	while ((datagram = TAILQ_FIRST(&table->age)) != NULL) {
		for (const struct piece *piece = datagram->first; piece != NULL;
			piece = piece->next)
			rte_pktmbuf_free(piece->mbuf);
		datagram_empty(table, datagram);
		datagram_close(table, datagram);
	}
	rte_free(table->pieces);
	rte_free(table->holders);
	rte_free(table->datagrams);
	rte_free(table->holders_with);
	rte_free(table->holder_buckets);
	rte_free(table->buckets);
	rte_free(table);
}
