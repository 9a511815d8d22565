/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DNS messages (RFC 1035), as far as names in rules need them: what is asked, and which addresses
 * an answer says it has.
 *
 * Whatever a message holds, its parser reads only what is inside, ends after a bounded amount of
 * work and says no more than what stands there. Of an answer only the name that was asked counts,
 * and what it is an alias of, from alias to alias (RFC 1034 section 3.6.2): records of other names
 * are whatever the other end chose to put there.
 */
#pragma once

#include <stddef.h>

#include "classifier/names.h"

#define DNS_PORT RTE_BE16(53)

/* Messages that are longer are not looked into: what resolvers send by UDP is not. */
#define DNS_MESSAGE_MAX 4096

enum dns_type { DNS_TYPE_A = 1, DNS_TYPE_CNAME = 5, DNS_TYPE_AAAA = 28 };

struct dns_question {
	uint16_t id;
	uint16_t type;             /* enum dns_type, or any other */
	char name[NAME_TEXT_SIZE]; /* lower case, without a final dot */
	uint32_t spelling;         /* a number for how it was written: in which case */
};

/* What became of a question. */
enum dns_result {
	DNS_ADDRESSES, /* there are some */
	DNS_EMPTY,     /* the name has none of that family (NODATA), or does not exist */
	DNS_FAILED,    /* the resolver could not say */
};

struct dns_answer {
	struct dns_question question;
	enum dns_result result;
	bool truncated;
	enum family family; /* of the addresses: by the type of the question */
	unsigned count;
	union address addresses[NAME_ADDRESSES_MAX];
	uint32_t ttl_s; /* the least on the way to them (RFC 2181 section 8: 0 if it is absurd) */
};

/**
 * Parse a query: one question, of class IN, about a name that rules can have.
 * @return whether it is one
 */
bool dns_query_parse(const uint8_t *message, size_t length, struct dns_question *question);

/** Parse an answer to such a query for A or AAAA. @return whether it is one */
bool dns_answer_parse(const uint8_t *message, size_t length, struct dns_answer *answer);

/**
 * A number that stands for a question with its id and spelling; never 0. Resolvers give a question
 * back as it was written, and some who ask rely on it (draft-vixie-dnsext-dns0x20).
 */
uint32_t dns_question_hash(const struct dns_question *question);
