/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DNS messages, built byte by byte: what an answer says, aliases in any order, what does not count,
 * and messages that lie about their own form.
 */
#include "nat/dns.h"
#include "tests/unit/unit.h"

#include <string.h>

#include <rte_byteorder.h>
#include <rte_common.h>

#define RESPONSE 0x8180
#define QUERY 0x0100
#define POINTER_QUESTION "\xc0\x0c"

static uint8_t message[DNS_MESSAGE_MAX + 64];
static size_t length;
static struct dns_answer answer;

static void
put(const void *bytes, size_t count)
{
	CU_ASSERT_TRUE_FATAL(length + count <= sizeof(message));
	memcpy(message + length, bytes, count);
	length += count;
}

static void
put_16(unsigned value)
{
	put((uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

/* Text with dots as a name without pointers. */
static void
put_name(const char *text)
{
	while (*text != '\0') {
		uint8_t label = (uint8_t)strcspn(text, ".");

		put(&label, 1);
		put(text, label);
		text += label;
		text += *text == '.';
	}
	put("", 1);
}

static void
begin(unsigned flags, const char *name, unsigned type, unsigned records)
{
	length = 0;
	put_16(0x1234);
	put_16(flags);
	put_16(1);
	put_16(records);
	put_16(0);
	put_16(0);
	put_name(name);
	put_16(type);
	put_16(1);
}

/* @param owner as it stands in the message, of @p size bytes */
static void
record(const char *owner, size_t size, unsigned type, uint32_t ttl_s, const void *data,
	size_t data_size)
{
	put(owner, size);
	put_16(type);
	put_16(1);
	put_16(ttl_s >> 16);
	put_16(ttl_s & 0xffff);
	put_16((unsigned)data_size);
	put(data, data_size);
}

static void
record_named(const char *owner, unsigned type, uint32_t ttl_s, const void *data, size_t data_size)
{
	size_t before = length;
	char wire[256];

	put_name(owner);
	memcpy(wire, message + before, length - before);
	size_t size = length - before;

	length = before;
	record(wire, size, type, ttl_s, data, data_size);
}

/* An alias; its data is a name. */
static void
alias(const char *owner, uint32_t ttl_s, const char *target)
{
	size_t before = length, size;
	char wire[256];

	put_name(target);
	size = length - before;
	memcpy(wire, message + before, size);
	length = before;
	record_named(owner, DNS_TYPE_CNAME, ttl_s, wire, size);
}

static bool
parse(void)
{
	memset(&answer, 0xa5, sizeof(answer));
	return dns_answer_parse(message, length, &answer);
}

static void
test_answer(void)
{
	begin(RESPONSE, "Example.ORG", DNS_TYPE_A, 2);
	record(POINTER_QUESTION, 2, DNS_TYPE_A, 300, "\xc0\x00\x02\x07", 4);
	record(POINTER_QUESTION, 2, DNS_TYPE_A, 200, "\xc0\x00\x02\x08", 4);
	CU_ASSERT_TRUE_FATAL(parse());
	CU_ASSERT_EQUAL(answer.result, DNS_ADDRESSES);
	CU_ASSERT_EQUAL(answer.question.id, 0x1234);
	CU_ASSERT_STRING_EQUAL(answer.question.name, "example.org");
	CU_ASSERT_EQUAL(answer.family, FAMILY_IPV4);
	CU_ASSERT_EQUAL_FATAL(answer.count, 2);
	CU_ASSERT_EQUAL(answer.addresses[0].v4, RTE_BE32(UINT32_C(0xc0000207)));
	CU_ASSERT_EQUAL(answer.addresses[1].v4, RTE_BE32(UINT32_C(0xc0000208)));
	CU_ASSERT_TRUE(address_equal(
		&answer.addresses[1], &(union address){.v4 = RTE_BE32(UINT32_C(0xc0000208))}));
	CU_ASSERT_EQUAL(answer.ttl_s, 200);
	CU_ASSERT_FALSE(answer.truncated);

	begin(RESPONSE | 0x200, "example.org", DNS_TYPE_AAAA, 1);
	record(POINTER_QUESTION, 2, DNS_TYPE_AAAA, 5, " \x01\r\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
	CU_ASSERT_TRUE_FATAL(parse());
	CU_ASSERT_EQUAL(answer.family, FAMILY_IPV6);
	CU_ASSERT_EQUAL_FATAL(answer.count, 1);
	CU_ASSERT_EQUAL(answer.addresses[0].v6[15], 1);
	CU_ASSERT_TRUE(answer.truncated);
}

/* Aliases count in whichever order they come; the least TTL on the way is that of the answer. */
static void
test_aliases(void)
{
	for (unsigned order = 0; order < 2; order++) {
		begin(RESPONSE, "www.shop.example", DNS_TYPE_A, 4);
		if (order == 1)
			record_named("edge.cdn.example", DNS_TYPE_A, 60, "\x0a\0\0\x01", 4);
		if (order == 1)
			alias("CDN.example", 20, "edge.cdn.example");
		alias("www.SHOP.example", 3600, "cdn.example");
		if (order == 0)
			alias("cdn.example", 20, "Edge.cdn.example");
		if (order == 0)
			record_named("edge.cdn.example", DNS_TYPE_A, 60, "\x0a\0\0\x01", 4);
		record_named("other.example", DNS_TYPE_A, 1, "\x0a\0\0\x02", 4);
		CU_ASSERT_TRUE_FATAL(parse());
		CU_ASSERT_EQUAL(answer.count, 1);
		CU_ASSERT_EQUAL(answer.addresses[0].v4, RTE_BE32(UINT32_C(0x0a000001)));
		CU_ASSERT_EQUAL(answer.ttl_s, 20);
	}
	/* an alias of itself leads nowhere, and ends */
	begin(RESPONSE, "a.example", DNS_TYPE_A, 3);
	alias("a.example", 1, "b.example");
	alias("b.example", 1, "a.example");
	record_named("c.example", DNS_TYPE_A, 1, "\x0a\0\0\x02", 4);
	CU_ASSERT_TRUE_FATAL(parse());
	CU_ASSERT_EQUAL(answer.count, 0);
	CU_ASSERT_EQUAL(answer.result, DNS_EMPTY);
}

static void
test_not_counted(void)
{
	begin(RESPONSE, "a.example", DNS_TYPE_A, 6);
	record_named("b.example", DNS_TYPE_A, 1, "\x0a\0\0\x01", 4);
	record(POINTER_QUESTION, 2, DNS_TYPE_AAAA, 1, "0123456789abcdef", 16);
	record(POINTER_QUESTION, 2, 46, 1, "signature", 9);
	record(POINTER_QUESTION, 2, DNS_TYPE_A, 1, "\x0a\0\0", 3);
	record(POINTER_QUESTION, 2, DNS_TYPE_A, UINT32_C(0x80000000), "\x0a\0\0\x07", 4);
	/* another class */
	put(POINTER_QUESTION "\0\x01\0\x03\0\0\0\x01\0\x04\x0a\0\0\x08", 16);
	CU_ASSERT_TRUE_FATAL(parse());
	CU_ASSERT_EQUAL_FATAL(answer.count, 1);
	CU_ASSERT_EQUAL(answer.addresses[0].v4, RTE_BE32(UINT32_C(0x0a000007)));
	CU_ASSERT_EQUAL(answer.ttl_s, 0);
}

static void
test_results(void)
{
	static const struct {
		unsigned rcode;
		enum dns_result result;
	} rows[] = {
		{0, DNS_EMPTY}, {1, DNS_FAILED}, {2, DNS_FAILED}, {3, DNS_EMPTY}, {5, DNS_FAILED}};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		begin(RESPONSE | rows[i].rcode, "a.example", DNS_TYPE_A, 0);
		CU_ASSERT_TRUE_FATAL(parse());
		CU_ASSERT_EQUAL(answer.result, rows[i].result);
		CU_ASSERT_EQUAL(answer.count, 0);
	}
	/* addresses of an error are none */
	begin(RESPONSE | 2, "a.example", DNS_TYPE_A, 1);
	record(POINTER_QUESTION, 2, DNS_TYPE_A, 1, "\x0a\0\0\x01", 4);
	CU_ASSERT_TRUE_FATAL(parse());
	CU_ASSERT_EQUAL(answer.count, 0);
}

static void
test_many(void)
{
	begin(RESPONSE, "a.example", DNS_TYPE_A, 100);
	for (unsigned i = 0; i < 100; i++)
		record(POINTER_QUESTION, 2, DNS_TYPE_A, 1, (uint8_t[]){10, 0, 0, (uint8_t)i}, 4);
	CU_ASSERT_TRUE_FATAL(parse());
	CU_ASSERT_EQUAL(answer.count, NAME_ADDRESSES_MAX);
}

static void
test_query(void)
{
	struct dns_question question, other;

	begin(QUERY, "WWW.example.org", DNS_TYPE_AAAA, 0);
	CU_ASSERT_TRUE(dns_query_parse(message, length, &question));
	CU_ASSERT_STRING_EQUAL(question.name, "www.example.org");
	CU_ASSERT_EQUAL(question.type, DNS_TYPE_AAAA);
	CU_ASSERT_FALSE(parse());
	/* the same name, and not the same question */
	begin(RESPONSE, "www.EXAMPLE.org", DNS_TYPE_AAAA, 0);
	CU_ASSERT_FALSE(dns_query_parse(message, length, &other));
	CU_ASSERT_TRUE(parse());
	CU_ASSERT_STRING_EQUAL(answer.question.name, "www.example.org");
	CU_ASSERT_NOT_EQUAL(dns_question_hash(&question), dns_question_hash(&answer.question));
	begin(RESPONSE, "WWW.example.org", DNS_TYPE_AAAA, 0);
	CU_ASSERT_TRUE(parse());
	CU_ASSERT_EQUAL(dns_question_hash(&question), dns_question_hash(&answer.question));
	answer.question.id++;
	CU_ASSERT_NOT_EQUAL(dns_question_hash(&question), dns_question_hash(&answer.question));
	answer.question = question;
	answer.question.type = DNS_TYPE_A;
	CU_ASSERT_NOT_EQUAL(dns_question_hash(&question), dns_question_hash(&answer.question));
}

/* Messages that are none of ours. */
static void
test_refused(void)
{
	static const char *const names[] = {"", "a b", "a\x01z", "with\0nul", "stern*.example"};

	for (unsigned i = 0; i < RTE_DIM(names); i++) {
		begin(RESPONSE, names[i], DNS_TYPE_A, 0);
		CU_ASSERT_EQUAL(parse(), i == 3); /* which ends at its NUL: "with" */
	}
	begin(RESPONSE, "a.example", 16, 0); /* TXT */
	CU_ASSERT_FALSE(parse());
	begin(RESPONSE | 0x2800, "a.example", DNS_TYPE_A, 0); /* an update */
	CU_ASSERT_FALSE(parse());
	begin(RESPONSE, "a.example", DNS_TYPE_A, 0);
	message[5] = 2; /* questions */
	CU_ASSERT_FALSE(parse());
	begin(RESPONSE, "a.example", DNS_TYPE_A, 0);
	message[length - 1] = 3; /* class */
	CU_ASSERT_FALSE(parse());
	/* a dot within a label is no dot between labels */
	begin(RESPONSE, "a-example", DNS_TYPE_A, 0);
	message[14] = '.';
	CU_ASSERT_FALSE(parse());
	length = DNS_MESSAGE_MAX + 1;
	CU_ASSERT_FALSE(parse());
}

/* Every prefix of a message is one that is cut off; no byte behind it may be read. */
static void
test_cut(void)
{
	size_t whole;
	unsigned parsed = 0;

	begin(RESPONSE, "www.a.example", DNS_TYPE_A, 2);
	alias("www.a.example", 10, "b.example");
	record_named("b.example", DNS_TYPE_A, 10, "\x0a\0\0\x01", 4);
	whole = length;
	for (length = 0; length <= whole; length++) {
		uint8_t *copy = malloc(length + 1);

		CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
		memcpy(copy, message, length);
		/* within a block of its own, so that the sanitizer sees */
		copy = realloc(copy, length != 0 ? length : 1);
		if (dns_answer_parse(copy, length, &answer)) {
			parsed++;
			CU_ASSERT_EQUAL(answer.count, length == whole ? 1 : 0);
		}
		free(copy);
	}
	CU_ASSERT_TRUE(parsed > 10);
}

static void
test_pointers(void)
{
	/* to itself, forward, in a circle of two, into the header */
	static const char owners[][3] = {"\xc0\x1b", "\xc0\xff", "\xc0\x1d", "\xc0\x02"};

	for (unsigned i = 0; i < RTE_DIM(owners); i++) {
		begin(RESPONSE, "a.example", DNS_TYPE_A, 2);
		CU_ASSERT_EQUAL(length, 0x1b);
		record(owners[i], 2, DNS_TYPE_A, 1, "\x0a\0\0\x01", 4);
		record(POINTER_QUESTION, 2, DNS_TYPE_A, 1, "\x0a\0\0\x02", 4);
		/* nobody knows where the next record would begin; and it did not take long */
		CU_ASSERT_TRUE(parse());
		CU_ASSERT_EQUAL(answer.count, 0);
		CU_ASSERT_EQUAL(answer.result, DNS_EMPTY);
	}
	/* a long chain of pointers, each to the one before */
	begin(RESPONSE, "a.example", DNS_TYPE_A, 200);
	for (unsigned i = 0; i < 200; i++) {
		size_t to = i == 0 ? 12 : 0x1b + 16 * (i - 1);

		record((char[]){(char)(0xc0 | to >> 8), (char)to}, 2, DNS_TYPE_A, 1,
			(uint8_t[]){10, 0, 0, (uint8_t)i}, 4);
	}
	CU_ASSERT_TRUE(parse());
	CU_ASSERT_TRUE(answer.count <= NAME_ADDRESSES_MAX);
}

/* As much work as a message can make: it ends, and says that it was not all. */
static void
test_budget(void)
{
	begin(RESPONSE, "q.q.q.q.q.q.q.q.q.q.q.q.q.q.q.q.q.q.q.q", DNS_TYPE_A, 0xffff);
	while (length + 80 < DNS_MESSAGE_MAX)
		record_named("p.q.q.q.q.q.q.q.q.q.q.q.q.q.q.q.q.q.q.q", DNS_TYPE_CNAME, 1,
			POINTER_QUESTION, 2);
	CU_ASSERT_TRUE(parse());
	CU_ASSERT_EQUAL(answer.count, 0);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"addresses and their TTL", test_answer},
		{"aliases in any order", test_aliases},
		{"records that do not count", test_not_counted},
		{"no addresses, and why", test_results},
		{"more addresses than are taken", test_many},
		{"questions", test_query},
		{"messages of other kinds", test_refused},
		{"messages that are cut off", test_cut},
		{"pointers that lead nowhere good", test_pointers},
		{"a message that is much work", test_budget},
	};

	return UNIT_RUN("dns", tests);
}
