/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses and flow tuples, always in network byte order.
 *
 * One `union address` holds an IPv4 or an IPv6 address. An IPv4 address fills the first four
 * bytes and the other twelve are zero, so that two addresses of one family compare as two 64-bit
 * words whichever family it is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <rte_byteorder.h>

/* Address families as sluice counts them: they index per-family arrays. */
enum family { FAMILY_IPV4 = 0, FAMILY_IPV6 = 1, FAMILIES = 2 };

union address {
	uint64_t half[2]; /* first, so that {0} clears all of it with every compiler */
	rte_be32_t v4;
	uint8_t v6[16];
	uint32_t word[4];
};

struct prefix {
	union address address; /* host bits are zero */
	uint8_t length;        /* bits: 0..32 or 0..128 */
};

/*
 * One direction of a flow. For ICMP and ICMPv6 queries `source_port` and `destination_port` hold
 * the identifier on the side of whoever sent the request and zero on the other side: a request is
 * (id, 0), its reply (0, id). Protocols without ports have zero in both.
 */
struct tuple {
	union address source;
	union address destination;
	rte_be16_t source_port;
	rte_be16_t destination_port;
	uint8_t protocol; /* IPPROTO_* of the upper layer, after extension headers */
	uint8_t family;   /* enum family */
	uint16_t zero;    /* padding, always zero */
};
_Static_assert(sizeof(struct tuple) == 40, "tuples are copied and compared as five words");

static inline union address
address_v4(rte_be32_t v4)
{
	return (union address){.half = {(uint64_t)v4, 0}};
}

static inline bool
address_equal(const union address *a, const union address *b)
{
	return ((a->half[0] ^ b->half[0]) | (a->half[1] ^ b->half[1])) == 0;
}

static inline bool
address_is_zero(const union address *a)
{
	return (a->half[0] | a->half[1]) == 0;
}

/* Longest text of an address or prefix, with its NUL. */
#define ADDRESS_TEXT_SIZE 64

/** Write @p address as text into @p text (ADDRESS_TEXT_SIZE bytes) and return @p text. */
const char *address_format(char *text, enum family family, const union address *address);

/** Write @p prefix as ADDRESS/LENGTH into @p text (ADDRESS_TEXT_SIZE bytes) and return @p text. */
const char *prefix_format(char *text, enum family family, const struct prefix *prefix);

/**
 * Parse an address without a prefix length.
 * @return 0, or -EINVAL when @p text is no address of either family.
 */
int address_parse(const char *text, enum family *family, union address *address);

/**
 * Parse ADDRESS or ADDRESS/LENGTH; without a length the prefix is the single address. Host bits
 * are masked off.
 * @return 0, -EINVAL for bad text, -ERANGE for a length over the family's.
 */
int prefix_parse(const char *text, enum family *family, struct prefix *prefix);

/** Tell whether @p address lies inside @p prefix; both must be of one family. */
bool prefix_contains(const struct prefix *prefix, const union address *address);
