/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ruleset compiled for one address family: a hash table of the rules that can be looked up by
 * their destination, and rte_acl for the others.
 *
 * An acl is built once, in the control thread, and never changes; workers classify with it without
 * locks. A ruleset that has no rule for the family needs neither: its policy decides.
 */
#pragma once

#include "classifier/packet.h"
#include "classifier/rule.h"

struct acl;

/*
 * The compiler's own bound for one family, a little over RULES_MAX. What a qube may have is
 * RULES_MAX, and conf/ refuses more with a message that names the line.
 */
#define ACL_RULES_MAX 1024

/*
 * The classifier key of one packet. rte_acl reads the protocol as its first byte and then words of
 * four bytes from `wild` on, packet data in network order. Destination and port follow each other
 * without a gap, so an IPv4 key is over after twelve bytes. See acl.c for the reason of the order.
 */
struct acl_key {
	uint8_t protocol;
	uint8_t dns; /* destination was a virtual DNS address, port 53; rte_acl does not read it */
	uint8_t pad[2];
	uint8_t wild[2]; /* read, but matches whatever it holds */
	/* two or eight halves of the destination, then the destination port or ICMP type */
	rte_be16_t target[9];
};
_Static_assert(sizeof(struct acl_key) == 24, "rte_acl reads keys by offset");

/**
 * Compile the rules of @p ruleset that can match @p family.
 * @param out the acl; free with acl_free
 * @return 0, -E2BIG for more than ACL_RULES_MAX rules, -EINVAL for a rule that rule.h does not
 * allow, -ENOMEM, or what rte_acl_build says
 */
int acl_compile(const struct ruleset *ruleset, enum family family, struct acl **out);
void acl_free(struct acl *acl);

/** Fill @p key from @p subject. */
void acl_key_fill(struct acl_key *key, const struct subject *subject);

/** What one classification says. */
struct acl_result {
	uint8_t action; /* enum action */
	uint16_t rule;  /* index in the ruleset, or RULE_POLICY */
};

/** Judge @p count keys (at most BURST_MAX) of the acl's family in one batch. */
void acl_classify(const struct acl *acl, const struct acl_key *const *keys,
	struct acl_result *results, unsigned count);

/** Whether there are rules for names: then the names of each key's destination must be asked, too.
 */
bool acl_has_names(const struct acl *acl);

/**
 * Let the first rule that takes @p key because of a name its destination has take the place of a
 * verdict that comes after it.
 * @param id of the name, as the rules have it
 * @param result in: of acl_classify, or of another name of the same destination
 */
void acl_name(
	const struct acl *acl, const struct acl_key *key, uint16_t id, struct acl_result *result);

/** Bytes the compiled acl takes, for limits and reports. */
size_t acl_memory(const struct acl *acl);
