/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules -> rte_acl.
 *
 * rte_acl builds tries out of prefixes, ranges and bit masks, one level per byte of the key, and
 * walks many packets through them at once. What it wants from us:
 *
 *  - the first field is one byte, the rest fills groups of four bytes. Rule values are in host
 *    order, packet data in network order;
 *  - every rule has a priority of its own, the first rule the highest, so that "first match wins"
 *    is decided while building and not by accident;
 *  - userdata 0 means no match. Ours carries the rule index plus one and, in the lowest bit, the
 *    action, so a verdict costs no further memory access.
 *
 * The order of the fields decides what a build costs. Destination before port: with the port first,
 * a thousand overlapping port ranges each get a copy of the destinations below them, which took
 * seconds and 100 MiB where this order takes 20 ms and 1 MiB. The two bytes that are left over when
 * protocol, destination and port are packed into words match anything and stand first, where all
 * rules share their two levels; at the end each rule would pay for its own, half as much time
 * again.
 *
 * Not every rule gets an entry:
 *
 *  - a rule that no packet of the family can match is left out;
 *  - a rule that every packet matches ends the list: what follows it is never reached, and the rule
 *    itself becomes what is said when nothing matches, exactly like the policy. When no entry is
 *    left there is nothing to look up and no context;
 *  - a rule for DNS only (specialtarget=dns) would double the trie, since its condition is
 *    independent of everything else in the key. Such rules are few and few packets are DNS: they
 *    are kept in a list, and a DNS packet looks whether one of them comes before what rte_acl
 * found.
 *
 * Life cycle: acl_compile and acl_free belong to the control thread; in between the acl is
 * immutable and any worker may classify with it. Every build is a fresh context under a fresh name,
 * because rte_acl hands out the old context under a name it knows.
 */
#include "classifier/acl.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_acl.h>
#include <rte_common.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_malloc.h>

/* A rule for DNS only, as it is compared with a key. IPv4: the virtual addresses are. */
struct dns_rule {
	struct acl_result verdict;
	uint8_t protocol; /* 0 = any */
	rte_be32_t destination, mask;
	uint16_t port_low, port_high; /* host order */
};

struct acl {
	struct rte_acl_ctx *context; /* NULL when nothing is to be looked up */
	struct acl_result fallback;  /* what no entry decides */
	size_t memory;               /* bytes */
	unsigned dns_count;
	struct dns_rule dns[]; /* in rule order */
};

/* Fields in the order of the walk; the port follows the halves of the destination. */
enum { FIELD_PROTOCOL, FIELD_WILD, FIELD_DESTINATION };

#define FIELDS_MAX 11 /* IPv6: protocol, wild, eight halves of the destination, port */
RTE_ACL_RULE_DEF(acl_entry, FIELDS_MAX);

/* Two-byte halves of a destination. */
static const unsigned halves[FAMILIES] = {[FAMILY_IPV4] = 2, [FAMILY_IPV6] = 8};

#define FIELDS(family) (FIELD_DESTINATION + halves[family] + 1)

/* Reject what rule.h rules out: rte_acl would build something out of it. */
static bool
rule_is_valid(const struct rule *rule)
{
	if (rule->destination == DESTINATION_IPV4 && rule->prefix.length > 32)
		return false;
	if (rule->destination == DESTINATION_IPV6 && rule->prefix.length > 128)
		return false;
	if (rule->has_ports && ((rule->protocol != RULE_TCP && rule->protocol != RULE_UDP) ||
				       rule->port_low > rule->port_high))
		return false;
	return !rule->has_icmp_type || rule->protocol == RULE_ICMP;
}

/* Whether any packet of the family can match. */
static bool
rule_is_possible(const struct rule *rule, enum family family)
{
	switch (rule->destination) {
	case DESTINATION_ANY:
		break;
	case DESTINATION_IPV4:
		if (family != FAMILY_IPV4)
			return false;
		break;
	case DESTINATION_IPV6:
		if (family != FAMILY_IPV6)
			return false;
		break;
	case DESTINATION_NAME: /* no resolver yet: every name is unresolved */
		return false;
	}
	/* The virtual DNS addresses are IPv4 only. */
	return !rule->dns || family == FAMILY_IPV4;
}

/* Whether every packet of the family matches; the rule is possible. */
static bool
rule_is_universal(const struct rule *rule)
{
	return rule->protocol == RULE_ANY && !rule->dns &&
	       (rule->destination == DESTINATION_ANY || rule->prefix.length == 0);
}

/* The protocol number a rule asks for, 0 for any. */
static uint8_t
rule_ip_protocol(const struct rule *rule, enum family family)
{
	switch (rule->protocol) {
	case RULE_ANY:
		break;
	case RULE_TCP:
		return IPPROTO_TCP;
	case RULE_UDP:
		return IPPROTO_UDP;
	case RULE_ICMP:
		return family == FAMILY_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	}
	return 0;
}

/* The values of the key's last half that a rule takes, host order. */
static void
rule_port_range(const struct rule *rule, uint16_t *low, uint16_t *high)
{
	*low = 0;
	*high = UINT16_MAX;
	if (rule->has_ports) {
		*low = rule->port_low;
		*high = rule->port_high;
	} else if (rule->has_icmp_type) {
		*low = *high = rule->icmp_type;
	}
}

static void
dns_rule_fill(struct dns_rule *dns, const struct rule *rule, unsigned index)
{
	*dns = (struct dns_rule){
		.verdict = {(uint8_t)rule->action, (uint16_t)index},
		.protocol = rule_ip_protocol(rule, FAMILY_IPV4),
	};
	rule_port_range(rule, &dns->port_low, &dns->port_high);
	if (rule->destination == DESTINATION_IPV4 && rule->prefix.length != 0) {
		dns->destination = rule->prefix.address.v4;
		dns->mask = rte_cpu_to_be_32(UINT32_MAX << (32 - rule->prefix.length));
	}
}

static void
entry_fill(struct acl_entry *entry, const struct rule *rule, unsigned index, enum family family)
{
	struct rte_acl_field *field = entry->field;
	struct rte_acl_field *port = &field[FIELD_DESTINATION + halves[family]];

	*entry = (struct acl_entry){
		.data =
			{
				.category_mask = 1,
				.priority = RTE_ACL_MAX_PRIORITY - (int32_t)index,
				.userdata = (index + 1) << 1 | (uint32_t)rule->action,
			},
	};

	field[FIELD_PROTOCOL].value.u8 = rule_ip_protocol(rule, family);
	if (rule->protocol != RULE_ANY)
		field[FIELD_PROTOCOL].mask_range.u8 = UINT8_MAX;

	if (rule->destination != DESTINATION_ANY) {
		const uint8_t *bytes = rule->prefix.address.v6;
		unsigned bits = rule->prefix.length;

		for (unsigned half = 0; half < halves[family]; half++, bytes += 2) {
			unsigned here = RTE_MIN(bits, 16u);

			field[FIELD_DESTINATION + half].value.u16 =
				(uint16_t)(bytes[0] << 8 | bytes[1]);
			field[FIELD_DESTINATION + half].mask_range.u32 = here;
			bits -= here;
		}
	}
	rule_port_range(rule, &port->value.u16, &port->mask_range.u16);
}

static void
config_fill(struct rte_acl_config *config, enum family family)
{
	*config = (struct rte_acl_config){
		.num_categories = 1,
		.num_fields = FIELDS(family),
	};
	config->defs[FIELD_PROTOCOL] = (struct rte_acl_field_def){
		.type = RTE_ACL_FIELD_TYPE_BITMASK,
		.size = sizeof(uint8_t),
		.offset = offsetof(struct acl_key, protocol),
	};
	/* Everything else is halves of words that follow each other. */
	for (unsigned i = FIELD_WILD; i < FIELDS(family); i++) {
		unsigned half = i - FIELD_WILD;

		config->defs[i] = (struct rte_acl_field_def){
			.type = RTE_ACL_FIELD_TYPE_MASK,
			.size = sizeof(uint16_t),
			.field_index = (uint8_t)i,
			.input_index = (uint8_t)(1 + half / 2),
			.offset = (uint32_t)(offsetof(struct acl_key, wild) +
					     half * sizeof(uint16_t)),
		};
	}
	config->defs[FIELDS(family) - 1].type = RTE_ACL_FIELD_TYPE_RANGE;
}

/* Bytes in use on DPDK's heaps: rte_acl does not tell what it takes. */
static size_t
heap_used(void)
{
	size_t used = 0;

	for (unsigned i = 0; i < rte_socket_count(); i++) {
		struct rte_malloc_socket_stats stats;

		if (rte_malloc_get_socket_stats(rte_socket_id_by_idx(i), &stats) == 0)
			used += stats.heap_allocsz_bytes;
	}
	return used;
}

static int
context_build(struct acl *acl, const struct acl_entry *entries, unsigned count, enum family family)
{
	static atomic_uint serial;
	char name[RTE_ACL_NAMESIZE];
	struct rte_acl_param parameters = {
		.name = name,
		.socket_id = SOCKET_ID_ANY,
		.rule_size = (uint32_t)RTE_ACL_RULE_SZ(FIELDS(family)),
		.max_rule_num = count,
	};
	struct rte_acl_config config;
	size_t before = heap_used();
	size_t after;
	int error = 0;

	snprintf(name, sizeof(name), "acl%u", atomic_fetch_add(&serial, 1));
	acl->context = rte_acl_create(&parameters);
	if (acl->context == NULL)
		return rte_errno != 0 ? -rte_errno : -ENOMEM;
	/*
	 * The default is the best that the CPU and EAL's SIMD width allow. On x86 with AVX-512 that
	 * is its 256-bit form, which EAL allows by itself; the 512-bit form is no faster at our
	 * bursts.
	 */
	rte_acl_set_ctx_classify(acl->context, RTE_ACL_CLASSIFY_DEFAULT);

	/* One by one: a context stores only as many fields per rule as its family has. */
	for (unsigned i = 0; i < count && error == 0; i++)
		error = rte_acl_add_rules(
			acl->context, (const struct rte_acl_rule *)&entries[i], 1);
	if (error == 0) {
		config_fill(&config, family);
		error = rte_acl_build(acl->context, &config);
	}
	after = heap_used();
	if (after > before) /* whoever else used the heap meanwhile must not make it negative */
		acl->memory += after - before;
	return error;
}

int
acl_compile(const struct ruleset *ruleset, enum family family, struct acl **out)
{
	struct acl_entry *entries;
	struct acl *acl;
	unsigned dns_count = 0;
	unsigned count = 0;
	int error = 0;

	*out = NULL;
	if (ruleset->count > ACL_RULES_MAX)
		return -E2BIG;
	for (unsigned i = 0; i < ruleset->count; i++) {
		if (!rule_is_valid(&ruleset->rules[i]))
			return -EINVAL;
		dns_count += ruleset->rules[i].dns;
	}

	acl = calloc(1, sizeof(*acl) + dns_count * sizeof(acl->dns[0]));
	entries = calloc(ruleset->count + 1, sizeof(*entries));
	if (acl == NULL || entries == NULL) {
		free(entries);
		free(acl);
		return -ENOMEM;
	}
	acl->memory = sizeof(*acl) + dns_count * sizeof(acl->dns[0]);
	acl->fallback = (struct acl_result){(uint8_t)ruleset->policy, RULE_POLICY};

	for (unsigned i = 0; i < ruleset->count; i++) {
		const struct rule *rule = &ruleset->rules[i];

		if (!rule_is_possible(rule, family))
			continue;
		if (rule_is_universal(rule)) {
			acl->fallback = (struct acl_result){(uint8_t)rule->action, (uint16_t)i};
			break;
		}
		if (rule->dns)
			dns_rule_fill(&acl->dns[acl->dns_count++], rule, i);
		else
			entry_fill(&entries[count++], rule, i, family);
	}
	if (count != 0)
		error = context_build(acl, entries, count, family);
	free(entries);
	if (error != 0) {
		acl_free(acl);
		return error;
	}
	*out = acl;
	return 0;
}

void
acl_free(struct acl *acl)
{
	if (acl == NULL)
		return;
	rte_acl_free(acl->context);
	free(acl);
}

void
acl_key_fill(struct acl_key *key, const struct subject *subject)
{
	rte_be16_t port = subject->destination_port;

	*key = (struct acl_key){.protocol = subject->protocol, .dns = subject->dns};
	if (subject->family == FAMILY_IPV4) {
		if (subject->protocol == IPPROTO_ICMP)
			port = rte_cpu_to_be_16(subject->icmp_type);
		memcpy(key->target, &subject->destination, 4);
		key->target[2] = port;
	} else {
		if (subject->protocol == IPPROTO_ICMPV6)
			port = rte_cpu_to_be_16(subject->icmp_type);
		memcpy(key->target, &subject->destination, 16);
		key->target[8] = port;
	}
}

/* Let the first DNS rule that matches take the place of a verdict that comes after it. */
static void
dns_classify(const struct acl *acl, const struct acl_key *key, struct acl_result *result)
{
	uint16_t port = rte_be_to_cpu_16(key->target[halves[FAMILY_IPV4]]);
	rte_be32_t destination;

	memcpy(&destination, key->target, sizeof(destination));
	for (unsigned i = 0; i < acl->dns_count; i++) {
		const struct dns_rule *dns = &acl->dns[i];

		if (dns->verdict.rule > result->rule)
			return;
		if ((dns->protocol == 0 || dns->protocol == key->protocol) &&
			((destination ^ dns->destination) & dns->mask) == 0 &&
			port >= dns->port_low && port <= dns->port_high) {
			*result = dns->verdict;
			return;
		}
	}
}

void
acl_classify(const struct acl *acl, const struct acl_key *const *keys, struct acl_result *results,
	unsigned count)
{
	uint32_t found[BURST_MAX];

	if (acl->context == NULL)
		memset(found, 0, count * sizeof(found[0]));
	else /* fails for a bad number of categories only */
		rte_acl_classify(acl->context, (const uint8_t **)(uintptr_t)keys, found, count, 1);

	for (unsigned i = 0; i < count; i++) {
		if (found[i] == 0)
			results[i] = acl->fallback;
		else
			results[i] = (struct acl_result){
				(uint8_t)(found[i] & 1), (uint16_t)((found[i] >> 1) - 1)};
		if (keys[i]->dns && acl->dns_count != 0)
			dns_classify(acl, keys[i], &results[i]);
	}
}

size_t
acl_memory(const struct acl *acl)
{
	return acl->memory;
}
