/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names are compared where they stand. A pointer (RFC 1035 section 4.1.4) leads to an earlier place
 * of the message than itself, or the message is wrong; so nothing goes round in circles. All labels
 * and pointers that are looked at, of all names together, come out of one budget: names of many
 * pointers in many records would otherwise be a way to keep a worker busy.
 */
#include "nat/dns.h"

#include <string.h>

#include <rte_byteorder.h>

#define HEADER 12
#define CLASS_IN 1
#define FLAG_ANSWER 0x8000
#define FLAG_TRUNCATED 0x0200
#define OPCODE 0x7800
#define RCODE 0x000f
#define RCODE_NXDOMAIN 3
#define LABEL_MAX 63
#define NAME_MAX_BYTES 255
/* Aliases that lead to one another; resolvers follow about as many. */
#define ALIASES_MAX 16
/* Records of an answer that are looked at. */
#define RECORDS_MAX 256
/* Labels and pointers. */
#define BUDGET 2048

struct message {
	const uint8_t *bytes;
	size_t length;
	unsigned budget;
};

/* A place in a message, behind what has been read. */
struct cursor {
	size_t at;
};

static bool
read_16(const struct message *message, struct cursor *cursor, uint16_t *value)
{
	if (message->length - cursor->at < 2)
		return false;
	*value = (uint16_t)(message->bytes[cursor->at] << 8 | message->bytes[cursor->at + 1]);
	cursor->at += 2;
	return true;
}

static bool
read_32(const struct message *message, struct cursor *cursor, uint32_t *value)
{
	uint16_t high, low;

	if (!read_16(message, cursor, &high) || !read_16(message, cursor, &low))
		return false;
	*value = (uint32_t)high << 16 | low;
	return true;
}

/* --- names --- */

/* A name while it is walked along. */
struct walk {
	size_t at;
	size_t lowest; /* pointers lead before this */
	size_t end;    /* behind the name where it stands; 0 before the first pointer */
	unsigned total;
};

static struct walk
walk_begin(size_t at)
{
	return (struct walk){.at = at, .lowest = at};
}

/*
 * The next label.
 * @return its length, 0 at the end of the name, -1 when it is wrong
 */
static int
walk_label(struct message *message, struct walk *walk, const uint8_t **label)
{
	for (;;) {
		uint8_t first;
		size_t to;

		if (message->budget == 0 || walk->at >= message->length)
			return -1;
		message->budget--;
		first = message->bytes[walk->at];
		if ((first & 0xc0) == 0xc0) {
			if (message->length - walk->at < 2)
				return -1;
			to = (size_t)(first & 0x3f) << 8 | message->bytes[walk->at + 1];
			if (walk->end == 0)
				walk->end = walk->at + 2;
			if (to >= walk->lowest || to < HEADER)
				return -1;
			walk->at = walk->lowest = to;
			continue;
		}
		if (first > LABEL_MAX || message->length - walk->at - 1 < first)
			return -1;
		walk->total += first + 1u;
		if (walk->total > NAME_MAX_BYTES)
			return -1;
		*label = &message->bytes[walk->at + 1];
		walk->at += first + 1u;
		if (first == 0 && walk->end == 0)
			walk->end = walk->at;
		return first;
	}
}

/* Go behind a name. */
static bool
name_skip(struct message *message, struct cursor *cursor)
{
	struct walk walk = walk_begin(cursor->at);
	const uint8_t *label;
	int length;

	/* What is behind a pointer does not matter here. */
	do {
		length = walk_label(message, &walk, &label);
	} while (length > 0 && walk.end == 0);
	if (length < 0)
		return false;
	cursor->at = walk.end;
	return true;
}

static uint8_t
lower(uint8_t byte)
{
	return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + ('a' - 'A')) : byte;
}

/* Whether two names are one (RFC 1035 section 2.3.3: in whichever case). */
static bool
name_equal(struct message *message, size_t a, size_t b)
{
	struct walk left = walk_begin(a), right = walk_begin(b);

	for (;;) {
		const uint8_t *one, *other;
		int length;

		/* From the same place on they are the same. */
		if (left.at == right.at)
			return true;
		length = walk_label(message, &left, &one);
		if (length < 0 || walk_label(message, &right, &other) != length)
			return false;
		if (length == 0)
			return true;
		for (int i = 0; i < length; i++)
			if (lower(one[i]) != lower(other[i]))
				return false;
	}
}

/* A name as text, if rules can have it. @param spelling out: a number for its capital letters */
static bool
name_read(struct message *message, struct cursor *cursor, char text[NAME_TEXT_SIZE],
	uint32_t *spelling)
{
	struct walk walk = walk_begin(cursor->at);
	size_t used = 0;

	*spelling = 0;
	for (;;) {
		const uint8_t *label;
		int length = walk_label(message, &walk, &label);

		if (length < 0)
			return false;
		if (length == 0)
			break;
		if (used + (size_t)length + 2 > NAME_TEXT_SIZE)
			return false;
		if (used != 0)
			text[used++] = '.';
		for (int i = 0; i < length; i++) {
			*spelling =
				*spelling * UINT32_C(0x9e3779b1) + (lower(label[i]) != label[i]);
			text[used++] = label[i] == '.' ? '\n' : (char)lower(label[i]);
		}
	}
	text[used] = '\0';
	cursor->at = walk.end;
	return strlen(text) == used && name_is_sound(text);
}

/* --- messages --- */

/* Header and question. @return the flags, or -1 */
static int
question_parse(struct message *message, struct cursor *cursor, struct dns_question *question,
	uint16_t *records)
{
	uint16_t flags, questions, authorities, additional, class;

	if (message->length > DNS_MESSAGE_MAX || !read_16(message, cursor, &question->id) ||
		!read_16(message, cursor, &flags) || !read_16(message, cursor, &questions) ||
		!read_16(message, cursor, records) || !read_16(message, cursor, &authorities) ||
		!read_16(message, cursor, &additional))
		return -1;
	if ((flags & OPCODE) != 0 || questions != 1 ||
		!name_read(message, cursor, question->name, &question->spelling) ||
		!read_16(message, cursor, &question->type) || !read_16(message, cursor, &class) ||
		class != CLASS_IN)
		return -1;
	return flags;
}

bool
dns_query_parse(const uint8_t *bytes, size_t length, struct dns_question *question)
{
	struct message message = {bytes, length, BUDGET};
	struct cursor cursor = {0};
	uint16_t records;
	int flags = question_parse(&message, &cursor, question, &records);

	return flags >= 0 && (flags & FLAG_ANSWER) == 0;
}

/* Where the records of an answer are. */
struct record {
	uint16_t owner, data; /* of CNAME and addresses */
	uint16_t type;
	uint32_t ttl_s;
};

/* @return how many there are of A or AAAA, and CNAME; those that are cut off or behind are not */
static unsigned
records_parse(struct message *message, struct cursor *cursor, uint16_t records, uint16_t type,
	struct record *out)
{
	uint16_t bytes = type == DNS_TYPE_A ? 4 : 16;
	unsigned count = 0;

	for (unsigned i = 0; i < records && i < RECORDS_MAX; i++) {
		struct record record = {.owner = (uint16_t)cursor->at};
		uint16_t class, length;

		if (!name_skip(message, cursor) || !read_16(message, cursor, &record.type) ||
			!read_16(message, cursor, &class) ||
			!read_32(message, cursor, &record.ttl_s) ||
			!read_16(message, cursor, &length) || message->length - cursor->at < length)
			break;
		record.data = (uint16_t)cursor->at;
		cursor->at += length;
		if (class == CLASS_IN &&
			(record.type == DNS_TYPE_CNAME || (record.type == type && length == bytes)))
			out[count++] = record;
	}
	return count;
}

static uint32_t
ttl_least(uint32_t least_s, uint32_t ttl_s)
{
	/* RFC 2181 section 8 */
	if (ttl_s > INT32_MAX)
		ttl_s = 0;
	return ttl_s < least_s ? ttl_s : least_s;
}

/* Enter the addresses of the name at @p owner. */
static void
addresses_take(struct message *message, const struct record *records, unsigned count, size_t owner,
	struct dns_answer *answer)
{
	for (unsigned i = 0; i < count && answer->count < NAME_ADDRESSES_MAX; i++) {
		const uint8_t *data = &message->bytes[records[i].data];
		union address *address = &answer->addresses[answer->count];

		if (records[i].type != answer->question.type ||
			!name_equal(message, records[i].owner, owner))
			continue;
		*address = (union address){.half = {0, 0}};
		memcpy(address->v6, data, answer->family == FAMILY_IPV4 ? 4 : 16);
		answer->ttl_s = ttl_least(answer->ttl_s, records[i].ttl_s);
		answer->count++;
	}
}

/* The alias that the name at @p owner is. @return NULL if it is none */
static const struct record *
alias_find(struct message *message, const struct record *records, unsigned count, size_t owner)
{
	for (unsigned i = 0; i < count; i++)
		if (records[i].type == DNS_TYPE_CNAME &&
			name_equal(message, records[i].owner, owner))
			return &records[i];
	return NULL;
}

bool
dns_answer_parse(const uint8_t *bytes, size_t length, struct dns_answer *answer)
{
	struct message message = {bytes, length, BUDGET};
	struct record records[RECORDS_MAX];
	struct cursor cursor = {0};
	uint16_t announced;
	size_t owner = HEADER;
	unsigned count;
	int flags = question_parse(&message, &cursor, &answer->question, &announced);

	if (flags < 0 || (flags & FLAG_ANSWER) == 0 ||
		(answer->question.type != DNS_TYPE_A && answer->question.type != DNS_TYPE_AAAA))
		return false;
	answer->family = answer->question.type == DNS_TYPE_A ? FAMILY_IPV4 : FAMILY_IPV6;
	answer->truncated = (flags & FLAG_TRUNCATED) != 0;
	answer->count = 0;
	answer->ttl_s = NAME_TTL_MAX_S;
	answer->result = DNS_EMPTY;
	if ((flags & RCODE) != 0) {
		answer->result = (flags & RCODE) == RCODE_NXDOMAIN ? DNS_EMPTY : DNS_FAILED;
		return true;
	}
	count = records_parse(&message, &cursor, announced, answer->question.type, records);
	for (unsigned i = 0; i < ALIASES_MAX; i++) {
		const struct record *alias;

		addresses_take(&message, records, count, owner, answer);
		if (answer->count != 0) {
			answer->result = DNS_ADDRESSES;
			break;
		}
		alias = alias_find(&message, records, count, owner);
		if (alias == NULL)
			break;
		answer->ttl_s = ttl_least(answer->ttl_s, alias->ttl_s);
		owner = alias->data;
	}
	/* An answer that was not looked at to its end has been cut off by us. */
	if (message.budget == 0 && answer->count == 0)
		answer->result = DNS_FAILED;
	return true;
}

uint32_t
dns_question_hash(const struct dns_question *question)
{
	uint64_t hash = (UINT64_C(0xcbf29ce484222325) ^ question->id) * UINT64_C(0x100000001b3);

	hash = (hash ^ question->type) * UINT64_C(0x100000001b3);
	for (const char *byte = question->name; *byte != '\0'; byte++)
		hash = (hash ^ (uint8_t)*byte) * UINT64_C(0x100000001b3);
	hash = (hash ^ question->spelling) * UINT64_C(0x100000001b3);
	hash ^= hash >> 32;
	hash *= UINT64_C(0xff51afd7ed558ccd);
	return (uint32_t)(hash >> 32) | 1;
}
