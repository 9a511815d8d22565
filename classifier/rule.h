/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rule model: what a qube may reach, as the policy writer meant it, before compilation.
 *
 * A ruleset is an ordered list of rules and a policy for what no rule matches; the first matching
 * rule decides. `conf/` makes rulesets out of text, `acl.h` compiles them, `linear.h` walks them as
 * written so that tests have something simple to trust.
 */
#pragma once

#include "classifier/address.h"

enum action { ACTION_DROP, ACTION_ACCEPT };

enum destination {
	DESTINATION_ANY,
	DESTINATION_IPV4, /* prefix; matches no IPv6 packet */
	DESTINATION_IPV6, /* prefix; matches no IPv4 packet */
	DESTINATION_NAME, /* addresses of a name; matches nothing while unresolved */
};

/* Protocol of a rule. ICMP means ICMPv6 for IPv6 packets. */
enum rule_protocol { RULE_ANY, RULE_TCP, RULE_UDP, RULE_ICMP };

/* Who said so. */
enum rule_origin {
	ORIGIN_FILE,    /* the configuration */
	ORIGIN_QUBESDB, /* QubesDB */
	ORIGIN_KEPT,    /* the control socket, kept on disk */
	ORIGIN_RUNTIME, /* the control socket, until sluiced ends */
};

/* Rules of one qube, per family after compilation. */
#define RULES_MAX 1000

/* Which packets a rule is for at all: QubesDB has rules of each family apart. */
enum rule_families { RULE_ALL_FAMILIES, RULE_IPV4_ONLY, RULE_IPV6_ONLY };

struct rule {
	enum action action;
	enum rule_families families;
	enum destination destination;
	struct prefix prefix; /* DESTINATION_IPV4, DESTINATION_IPV6 */
	char *name;           /* DESTINATION_NAME; owned */
	/* DESTINATION_NAME, in a policy: what classifier/names.h knows it by; 0: no addresses ever
	 */
	uint16_t name_id;
	enum rule_protocol protocol;
	bool has_ports;               /* RULE_TCP and RULE_UDP only */
	uint16_t port_low, port_high; /* host order, inclusive */
	bool has_icmp_type;           /* RULE_ICMP only */
	uint8_t icmp_type;
	bool dns;      /* specialtarget=dns: destination was a virtual DNS address, port 53 */
	unsigned line; /* where the rule was written, 1-based; 0 if not from a file */
	enum rule_origin origin;
	uint64_t expire_s; /* unix time at which it ends; 0 = never */
	char *comment;     /* NULL without one; owned */
};

struct ruleset {
	enum action policy;
	unsigned count;
	struct rule *rules; /* owned */
};

/* `rule` of a verdict that no numbered rule made. */
#define RULE_POLICY UINT16_MAX     /* the ruleset's policy */
#define RULE_NONE (UINT16_MAX - 1) /* not judged by rules */

/* What a rule is matched against: the packet after destination translation. */
struct subject {
	enum family family;
	union address destination;
	uint8_t protocol;            /* IPPROTO_* */
	rte_be16_t destination_port; /* TCP, UDP; else 0 */
	uint8_t icmp_type;           /* ICMP, ICMPv6; else 0 */
	bool dns;                    /* destination was a virtual DNS address, port 53 */
};

/** Free what @p rule owns and leave it empty. */
void rule_clear(struct rule *rule);

/** Copy a rule with all it owns. @return 0 or -ENOMEM; then @p copy owns nothing */
int rule_copy(struct rule *copy, const struct rule *rule);

/** Free what @p ruleset owns and leave it empty with policy drop. */
void ruleset_clear(struct ruleset *ruleset);
