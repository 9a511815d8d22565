/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ruleset compiled for one address family with rte_acl.
 *
 * An acl is built once, in the control thread, and never changes; workers classify with it without
 * locks. A ruleset that has no rule for the family needs no rte_acl context: its policy decides.
 */
#pragma once

#include "classifier/rule.h"

struct acl;

/* The classifier key of one packet, as rte_acl reads it: packet data in network order. */
struct acl_key {
	uint8_t protocol; /* first field must be one byte wide */
	uint8_t pad[3];
	union address destination; /* IPv4 keys use the first word only */
	rte_be16_t port;	   /* destination port, or the ICMP type as a 16-bit number */
	uint8_t flags;		   /* ACL_KEY_DNS */
	uint8_t pad_end;
};
#define ACL_KEY_DNS 1 /* destination was a virtual DNS address, port 53 */

/**
 * Compile the rules of @p ruleset that can match @p family.
 * @param out the acl; free with acl_free
 * @return 0, -E2BIG for more than RULES_MAX rules, -ENOMEM, or what rte_acl_build says
 */
int acl_compile(const struct ruleset *ruleset, enum family family, struct acl **out);
void acl_free(struct acl *acl);

/** Fill @p key from @p subject. */
void acl_key_fill(struct acl_key *key, const struct subject *subject);

/** What one classification says. */
struct acl_result {
	uint8_t action; /* enum action */
	uint16_t rule;	/* index in the ruleset, or RULE_POLICY */
};

/** Judge @p count keys (at most 64) of the acl's family in one batch. */
void acl_classify(const struct acl *acl, const struct acl_key *const *keys,
	struct acl_result *results, unsigned count);

/** Bytes the compiled acl takes, for limits and reports. */
size_t acl_memory(const struct acl *acl);
