/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DNS messages that nobody should send, and what must hold all the same.
 *
 * Each message is an answer that is sound or nearly so: a question, aliases and addresses whose
 * owners are written out or point anywhere; then some of its bytes, counts and lengths are changed,
 * or its end is cut off. It lies in a block of its own size, so that the address sanitizer sees a
 * read behind it. After each message:
 *
 * - query and answer are not both what it is
 * - what is a question has a name that rules can have
 * - there are no more addresses than there may be, each stands in the message, and there is none
 *   where the resolver reports an error
 * - parsing it again says the same
 *
 *	FUZZ_MESSAGES=300000 FUZZ_SEED=1 FUZZ_SECONDS=3 fuzz_dns
 *
 * Ends after so many messages or seconds, whichever comes first. A failure names seed and message.
 * Built with -DLIBFUZZER it is a target for libFuzzer.
 */
#include "nat/dns.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_common.h>

#define MESSAGES_DEFAULT 300000
#define SECONDS_DEFAULT 3

static uint64_t seed, number;
static uint64_t queries, answers, with_addresses;

static void __attribute__((noreturn)) broken(const char *what)
{
	fprintf(stderr, "fuzz_dns: seed %" PRIu64 ", message %" PRIu64 ": %s\n", seed, number,
		what);
	abort();
}

static bool
stands_in(const uint8_t *message, size_t length, const void *bytes, size_t count)
{
	return memmem(message, length, bytes, count) != NULL;
}

static void
check_answer(const uint8_t *message, size_t length, const struct dns_answer *answer)
{
	size_t bytes = answer->family == FAMILY_IPV4 ? 4 : 16;

	if (answer->count > NAME_ADDRESSES_MAX)
		broken("too many addresses");
	if ((answer->count != 0) != (answer->result == DNS_ADDRESSES))
		broken("addresses and no addresses");
	if (answer->ttl_s > NAME_TTL_MAX_S)
		broken("a TTL without end");
	if (answer->count != 0 && (message[3] & 15) != 0)
		broken("addresses of an error");
	for (unsigned i = 0; i < answer->count; i++) {
		if (!stands_in(message, length, answer->addresses[i].v6, bytes))
			broken("an address out of nowhere");
		if (bytes == 4 && (answer->addresses[i].half[1] != 0 ||
					  answer->addresses[i].half[0] >> 32 != 0))
			broken("more than an IPv4 address");
	}
}

static void
message_check(const uint8_t *message, size_t length)
{
	struct dns_question question;
	struct dns_answer answer, again;
	bool query, answered;

	memset(&answer, 0, sizeof(answer));
	memset(&again, 0, sizeof(again));
	query = dns_query_parse(message, length, &question);
	answered = dns_answer_parse(message, length, &answer);
	if (query && answered)
		broken("a question that is an answer");
	if ((query && !name_is_sound(question.name)) ||
		(answered && !name_is_sound(answer.question.name)))
		broken("a name that cannot be");
	if (dns_answer_parse(message, length, &again) != answered ||
		(answered && (again.count != answer.count || again.ttl_s != answer.ttl_s ||
				     again.result != answer.result)))
		broken("another answer the second time");
	if (answered)
		check_answer(message, length, &answer);
	queries += query;
	answers += answered;
	with_addresses += answered && answer.count != 0;
}

#ifdef LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	message_check(data, size);
	return 0;
}
#else

static uint64_t state;

static uint32_t
draw(uint32_t limit)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * UINT64_C(0x2545f4914f6cdd1d)) >> 32) % limit;
}

static uint8_t message[DNS_MESSAGE_MAX + 512];
static size_t length;

static void
put_byte(unsigned byte)
{
	if (length < sizeof(message))
		message[length++] = (uint8_t)byte;
}

static void
put_16(unsigned value)
{
	put_byte(value >> 8);
	put_byte(value);
}

/* One of few names, so that owners and questions often meet; or a pointer, mostly backwards. */
static void
put_name(void)
{
	static const char *const labels[] = {"a", "www", "Example", "org", "x-_9", "\xff.", ""};
	unsigned count = draw(5);

	for (unsigned i = 0; i < count; i++) {
		const char *label = labels[draw(draw(20) == 0 ? RTE_DIM(labels) : 4)];

		put_byte((unsigned)strlen(label));
		for (; *label != '\0'; label++)
			put_byte((uint8_t)*label);
	}
	if (length > 12 && draw(3) != 0)
		put_16(0xc000 |
			(draw(2) == 0 ? 12 : draw((uint32_t)length + (draw(9) == 0 ? 40 : 0))));
	else
		put_byte(0);
}

static void
message_draw(void)
{
	unsigned type = draw(2) == 0 ? DNS_TYPE_A : DNS_TYPE_AAAA;
	unsigned records = draw(draw(10) == 0 ? 400 : 8);
	static const char question[] = "\3www\7example\3org";

	length = 0;
	put_16(draw(65536));
	put_16((draw(8) == 0 ? 0x0100 : 0x8180) | (draw(8) == 0 ? draw(16) : 0));
	put_16(draw(30) == 0 ? draw(4) : 1);
	put_16(draw(10) == 0 ? draw(65536) : records);
	put_16(0);
	put_16(draw(2));
	if (draw(4) != 0)
		for (size_t i = 0; i < sizeof(question); i++)
			put_byte((uint8_t)question[i]);
	else
		put_name();
	put_16(type);
	put_16(1);
	for (unsigned i = 0; i < records; i++) {
		unsigned kind = draw(10);
		size_t at;

		if (draw(2) == 0)
			put_16(0xc00c);
		else
			put_name();
		put_16(kind < 6 ? type : kind < 9 ? DNS_TYPE_CNAME : draw(300));
		put_16(draw(20) == 0 ? draw(5) : 1);
		put_16(draw(4) == 0 ? draw(65536) : 0);
		put_16(draw(65536));
		at = length;
		put_16(0);
		if (kind >= 6 && kind < 9)
			put_name();
		else
			for (unsigned byte = 0; byte < (type == DNS_TYPE_A ? 4 : 16); byte++)
				put_byte(draw(256));
		if (length >= sizeof(message))
			break;
		message[at] = (uint8_t)((length - at - 2) >> 8);
		message[at + 1] = (uint8_t)(length - at - 2);
	}
	for (unsigned i = draw(3) == 0 ? draw(8) : 0; i > 0; i--)
		message[draw((uint32_t)length)] = (uint8_t)(draw(4) == 0 ? 0xc0 : draw(256));
	if (draw(6) == 0)
		length = draw((uint32_t)length + 1);
}

static uint64_t
setting(const char *name, uint64_t normal)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 0) : normal;
}

int
main(void)
{
	uint64_t most = setting("FUZZ_MESSAGES", MESSAGES_DEFAULT);
	time_t end = time(NULL) + (time_t)setting("FUZZ_SECONDS", SECONDS_DEFAULT);

	seed = setting("FUZZ_SEED", 1);
	for (number = 1; number <= most && (number % 256 != 0 || time(NULL) < end); number++) {
		uint8_t *copy;

		state = (seed << 32 ^ number) * UINT64_C(0x9e3779b97f4a7c15) | 1;
		message_draw();
		copy = malloc(length != 0 ? length : 1);
		if (copy == NULL)
			return 1;
		memcpy(copy, message, length);
		message_check(copy, length);
		free(copy);
	}
	printf("seed %" PRIu64 ": %" PRIu64 " messages, %" PRIu64 " questions, %" PRIu64
	       " answers, %" PRIu64 " with addresses\n",
		seed, number - 1, queries, answers, with_addresses);
	/* Else the messages are not near what is looked at. */
	return queries != 0 && with_addresses > answers / 20 && with_addresses < answers ? 0 : 1;
}
#endif
