/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The compiled classifier, held to the reference matcher.
 *
 * The random test draws rule sets that are as entangled as rules can be: few base addresses with
 * prefixes of every awkward length nested around them, port ranges that touch and overlap, rules
 * repeated with the other action. Packets are drawn at and just beyond the edges of those rules.
 * The seed is printed; SLUICE_TEST_SEED=N takes another one.
 */
#include "classifier/acl.h"
#include "classifier/linear.h"
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>

#include <rte_common.h>
#include <rte_lcore.h>
#include <rte_malloc.h>

#define PAIRS_MIN 3000000
#define PACKETS_PER_SET 1024

static uint64_t random_state;

/* xorshift64*: the same numbers everywhere, unlike random(3). */
static uint32_t
draw(uint32_t limit)
{
	assert(limit != 0);
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * UINT64_C(0x2545f4914f6cdd1d)) >> 32) % limit;
}

static bool
draw_percent(uint32_t percent)
{
	return draw(100) < percent;
}

#define DRAW(table) ((table)[draw(RTE_DIM(table))])

/* --- rules --- */

static const uint8_t lengths_ipv4[] = {0, 1, 7, 8, 9, 15, 16, 17, 23, 24, 25, 30, 31, 32, 32, 32};
static const uint8_t lengths_ipv6[] = {
	0, 1, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 95, 96, 112, 127, 128, 128, 128};
static const uint16_t ports[] = {0, 1, 22, 52, 53, 54, 79, 80, 81, 255, 256, 257, 442, 443, 444,
	1023, 1024, 32767, 32768, 65279, 65280, 65534, 65535};
static const uint8_t icmp_types[] = {0, 1, 3, 8, 127, 128, 129, 254, 255};
/* Names of rules. Their numbers are one more than their place; the last one has none. */
static const char *const host_names[] = {
	"a.example", "b.example", "c.example", "www.d.example", "e", "f.example", "nowhere"};
#define HOST_NAMES RTE_DIM(host_names)

static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDP,
	IPPROTO_ICMP, IPPROTO_ICMPV6, 0, IPPROTO_GRE, IPPROTO_SCTP, 255};

/* What one rule set is drawn from. */
struct theme {
	unsigned base_count;
	union address bases[FAMILIES][8];
	unsigned named_percent; /* rules for names, and how many names a destination has */
	unsigned wide_percent;  /* rules with a short prefix or none */
	bool universal;         /* rules that match everything may occur */
	/* As people write them: most prefixes have one length, and lie apart. */
	unsigned usual_percent;
	unsigned usual_length[FAMILIES];
	unsigned apart_percent;
};

static union address
address_draw(enum family family)
{
	union address address = {.half = {0, 0}};

	for (unsigned byte = 0; byte < (family == FAMILY_IPV4 ? 4 : 16); byte++)
		address.v6[byte] = (uint8_t)draw(256);
	return address;
}

static void
bit_flip(union address *address, unsigned bit)
{
	address->v6[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
}

/* Keep the first @p length bits and fill the others of the family with @p fill. */
static void
host_bits_set(union address *address, enum family family, unsigned length, bool fill)
{
	for (unsigned bit = length; bit < (family == FAMILY_IPV4 ? 32 : 128); bit++)
		if (((address->v6[bit / 8] >> (7 - bit % 8)) & 1) != fill)
			bit_flip(address, bit);
}

static void
theme_draw(struct theme *theme, unsigned rules)
{
	theme->base_count = 1 + draw(RTE_DIM(theme->bases[0]));
	for (unsigned family = 0; family < FAMILIES; family++)
		for (unsigned i = 0; i < theme->base_count; i++)
			theme->bases[family][i] = address_draw(family);
	/* In a large set few rules are wide, or nothing ever reaches the end of it. */
	theme->wide_percent = rules <= 20 ? 10 + draw(60) : draw(4);
	theme->universal = rules <= 20 || draw_percent(20);
	theme->named_percent = draw(2) == 0 ? draw(60) : 0;
	theme->usual_percent = draw(3) == 0 ? draw(101) : 0;
	theme->usual_length[FAMILY_IPV4] = draw(2) == 0 ? 32 : 1 + draw(32);
	theme->usual_length[FAMILY_IPV6] = draw(2) == 0 ? 128 : 1 + draw(128);
	theme->apart_percent = draw(3) == 0 ? draw(101) : 0;
}

static void
rule_destination_draw(struct rule *rule, const struct theme *theme, enum family family)
{
	union address address = theme->bases[family][draw(theme->base_count)];
	unsigned bits = family == FAMILY_IPV4 ? 32 : 128;
	unsigned length;

	do {
		length = family == FAMILY_IPV4 ? DRAW(lengths_ipv4) : DRAW(lengths_ipv6);
	} while (length < bits / 2 && !draw_percent(theme->wide_percent));

	if (draw_percent(theme->apart_percent))
		address = address_draw(family);
	if (draw_percent(theme->usual_percent))
		length = theme->usual_length[family];

	/* Spread around the base so that prefixes nest, touch and differ. */
	for (unsigned flips = draw(4); flips != 0; flips--)
		bit_flip(&address, bits - 1 - draw(draw_percent(50) ? 8 : bits / 2));
	if (length != 0 && draw_percent(20))
		bit_flip(&address, length - 1);
	host_bits_set(&address, family, length, false);
	rule->destination = family == FAMILY_IPV4 ? DESTINATION_IPV4 : DESTINATION_IPV6;
	rule->prefix = (struct prefix){.address = address, .length = (uint8_t)length};
}

static void
rule_ports_draw(struct rule *rule, const struct rule *previous)
{
	rule->has_ports = true;
	rule->port_low = draw_percent(80) ? DRAW(ports) : (uint16_t)draw(65536);
	if (previous != NULL && previous->has_ports && previous->port_high < UINT16_MAX &&
		draw_percent(25))
		rule->port_low = previous->port_high + 1; /* touch */
	rule->port_high = rule->port_low;
	if (draw_percent(50)) {
		uint16_t other = draw_percent(80) ? DRAW(ports) : (uint16_t)draw(65536);

		if (other < rule->port_low)
			rule->port_low = other;
		else
			rule->port_high = other;
	}
}

static void
rule_draw(struct rule *rule, const struct theme *theme, const struct rule *before, unsigned count)
{
	uint32_t kind = draw(100);

	if (count != 0 && draw_percent(8)) {
		/* again, with the other action */
		*rule = before[draw(count)];
		rule->action = rule->action == ACTION_DROP ? ACTION_ACCEPT : ACTION_DROP;
		return;
	}
	*rule = (struct rule){.action = draw(2) ? ACTION_ACCEPT : ACTION_DROP};
	if (kind < 48)
		rule_destination_draw(rule, theme, FAMILY_IPV4);
	else if (kind < 96)
		rule_destination_draw(rule, theme, FAMILY_IPV6);
	else if (kind < 98)
		rule->destination = DESTINATION_NAME;
	else
		rule->destination =
			draw_percent(theme->wide_percent) ? DESTINATION_ANY : DESTINATION_NAME;

	if (draw_percent(theme->named_percent)) {
		unsigned name = draw(HOST_NAMES);

		rule->destination = DESTINATION_NAME;
		rule->prefix = (struct prefix){0};
		/* as conf/ makes them: never changed, so never freed */
		rule->name = (char *)(uintptr_t)host_names[name];
		rule->name_id = (uint16_t)(name < HOST_NAMES - 1 ? name + 1 : 0);
		rule->families = draw_percent(10) ? 1 + draw(2) : RULE_ALL_FAMILIES;
	} else if (rule->destination == DESTINATION_NAME) {
		rule->name = (char *)(uintptr_t)host_names[HOST_NAMES - 1];
	}
	rule->protocol =
		(enum rule_protocol[]){RULE_TCP, RULE_TCP, RULE_UDP, RULE_ICMP, RULE_ANY}[draw(5)];
	if ((rule->protocol == RULE_TCP || rule->protocol == RULE_UDP) && draw_percent(85))
		rule_ports_draw(rule, count != 0 ? &before[count - 1] : NULL);
	if (rule->protocol == RULE_ICMP && draw_percent(70)) {
		rule->has_icmp_type = true;
		rule->icmp_type = DRAW(icmp_types);
	}
	rule->dns = draw_percent(5);
	if (!theme->universal && rule->protocol == RULE_ANY && !rule->dns &&
		(rule->destination == DESTINATION_ANY || rule->prefix.length == 0))
		rule->protocol = RULE_ICMP;
}

/* --- packets --- */

/* One step up or down, with carry: the neighbour of an edge. */
static void
address_step(union address *address, enum family family, bool up)
{
	int byte = family == FAMILY_IPV4 ? 3 : 15;

	for (; byte >= 0; byte--) {
		address->v6[byte] = (uint8_t)(address->v6[byte] + (up ? 1 : -1));
		if (address->v6[byte] != (up ? 0 : UINT8_MAX))
			return;
	}
}

static union address
edge_draw(const struct prefix *prefix, enum family family)
{
	union address address = prefix->address;
	uint32_t kind = draw(6);

	switch (kind) {
	case 0: /* first */
		break;
	case 1: /* last */
		host_bits_set(&address, family, prefix->length, true);
		break;
	case 2: /* before the first */
		address_step(&address, family, false);
		break;
	case 3: /* after the last */
		host_bits_set(&address, family, prefix->length, true);
		address_step(&address, family, true);
		break;
	case 4: /* the sibling */
		if (prefix->length != 0)
			bit_flip(&address, prefix->length - 1u);
		break;
	default: { /* inside */
		union address host = address_draw(family);

		for (unsigned bit = prefix->length; bit < (family == FAMILY_IPV4 ? 32 : 128); bit++)
			if ((host.v6[bit / 8] >> (7 - bit % 8)) & 1)
				bit_flip(&address, bit);
	}
	}
	return address;
}

static struct subject
subject_draw(const struct ruleset *ruleset, const struct theme *theme, enum family family)
{
	uint8_t icmp = family == FAMILY_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	struct subject subject = {
		.family = family,
		.destination = theme->bases[family][draw(theme->base_count)],
		.protocol = DRAW(protocols),
		.dns = draw_percent(15),
	};
	uint16_t port = draw_percent(80) ? DRAW(ports) : (uint16_t)draw(65536);
	uint8_t type = draw_percent(80) ? DRAW(icmp_types) : (uint8_t)draw(256);

	if (draw_percent(5))
		subject.destination = address_draw(family);
	if (ruleset->count != 0 && draw_percent(85)) {
		const struct rule *rule = &ruleset->rules[draw(ruleset->count)];

		if (rule->destination ==
			(family == FAMILY_IPV4 ? DESTINATION_IPV4 : DESTINATION_IPV6))
			subject.destination = edge_draw(&rule->prefix, family);
		if (draw_percent(85)) {
			if (rule->protocol == RULE_TCP)
				subject.protocol = IPPROTO_TCP;
			else if (rule->protocol == RULE_UDP)
				subject.protocol = IPPROTO_UDP;
			else if (rule->protocol == RULE_ICMP)
				subject.protocol = icmp;
		}
		if (rule->has_ports) {
			uint16_t width = (uint16_t)(rule->port_high - rule->port_low);

			port = (uint16_t[]){rule->port_low, rule->port_high,
				(uint16_t)(rule->port_low - 1), (uint16_t)(rule->port_high + 1),
				(uint16_t)(rule->port_low + draw(width + 1u))}[draw(5)];
		}
		if (rule->has_icmp_type && draw_percent(70))
			type = rule->icmp_type;
		if (rule->dns && draw_percent(80))
			subject.dns = true;
	}
	if (subject.protocol == IPPROTO_TCP || subject.protocol == IPPROTO_UDP)
		subject.destination_port = rte_cpu_to_be_16(port);
	else if (subject.protocol == icmp)
		subject.icmp_type = type;
	return subject;
}

/* --- the comparison --- */

/* The names that a destination has, by place. */
static unsigned
names_draw(const struct theme *theme, const char **texts, uint16_t *ids)
{
	unsigned count = 0;

	for (unsigned name = 0; name < HOST_NAMES - 1; name++) {
		if (!draw_percent(theme->named_percent / 2))
			continue;
		texts[count] = host_names[name];
		ids[count++] = (uint16_t)(name + 1);
	}
	return count;
}

static void
disagreement_print(const struct subject *subject, const struct acl_result *got, enum action action,
	uint16_t rule)
{
	char text[ADDRESS_TEXT_SIZE];

	printf("\n    to %s protocol %u port %u type %u dns %d: acl says %u by %u, the rules %u by "
	       "%u",
		address_format(text, subject->family, &subject->destination), subject->protocol,
		rte_be_to_cpu_16(subject->destination_port), subject->icmp_type, subject->dns,
		got->action, got->rule, (unsigned)action, rule);
}

/* Classify @p count subjects in bursts of random size. @return how many disagree */
static unsigned
disagreements(const struct ruleset *ruleset, const struct theme *theme, const struct acl *acl,
	const struct subject *subjects, unsigned count, unsigned *by_rule, unsigned *by_name)
{
	unsigned wrong = 0;

	for (unsigned done = 0; done < count;) {
		unsigned burst = RTE_MIN(1 + draw(BURST_MAX), count - done);
		struct acl_key keys[BURST_MAX];
		const struct acl_key *pointers[BURST_MAX];
		struct acl_result results[BURST_MAX];

		for (unsigned i = 0; i < burst; i++) {
			/* what the key does not set must not matter */
			memset(&keys[i], 0xa5, sizeof(keys[i]));
			acl_key_fill(&keys[i], &subjects[done + i]);
			pointers[i] = &keys[i];
		}
		acl_classify(acl, pointers, results, burst);
		for (unsigned i = 0; i < burst; i++) {
			uint16_t rule, ids[HOST_NAMES];
			const char *texts[HOST_NAMES];
			struct subject_names names = {names_draw(theme, texts, ids), texts};
			enum action action =
				linear_match_named(ruleset, &subjects[done + i], &names, &rule);

			/* In whichever order they are found. */
			for (unsigned j = 0, first = draw(HOST_NAMES); j < names.count; j++)
				acl_name(
					acl, &keys[i], ids[(first + j) % names.count], &results[i]);
			*by_name += rule != RULE_POLICY &&
				    ruleset->rules[rule].destination == DESTINATION_NAME;
			*by_rule += rule != RULE_POLICY;
			if (results[i].action == action && results[i].rule == rule)
				continue;
			if (wrong++ == 0)
				disagreement_print(&subjects[done + i], &results[i], action, rule);
		}
		done += burst;
	}
	return wrong;
}

/* Most sets are small, because there every rule counts; some are full. */
static unsigned
count_draw(unsigned set)
{
	if (set % 20 == 0)
		return RULES_MAX;
	if (set % 20 <= 2)
		return 100 + draw(RULES_MAX - 100);
	if (set % 20 <= 7)
		return 10 + draw(90);
	return draw(10);
}

static void
test_random(void)
{
	static struct rule rules[RULES_MAX];
	static struct subject subjects[PACKETS_PER_SET];
	const char *text = getenv("SLUICE_TEST_SEED");
	uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 20;
	unsigned pairs = 0;
	unsigned wrong = 0;
	unsigned by_rule = 0;
	unsigned by_name = 0;
	unsigned full = 0;
	unsigned set;

	random_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	printf("\n    seed %" PRIu64, seed);
	for (set = 0; pairs < PAIRS_MIN && wrong == 0; set++) {
		struct ruleset ruleset = {.count = count_draw(set), .rules = rules};
		struct theme theme;

		ruleset.policy = draw(2) ? ACTION_ACCEPT : ACTION_DROP;
		full += ruleset.count == RULES_MAX;
		theme_draw(&theme, ruleset.count);
		for (unsigned i = 0; i < ruleset.count; i++)
			rule_draw(&rules[i], &theme, rules, i);
		for (unsigned family = 0; family < FAMILIES && wrong == 0; family++) {
			struct acl *acl;

			CU_ASSERT_EQUAL_FATAL(acl_compile(&ruleset, family, &acl), 0);
			for (unsigned i = 0; i < PACKETS_PER_SET; i++)
				subjects[i] = subject_draw(&ruleset, &theme, family);
			wrong += disagreements(&ruleset, &theme, acl, subjects, PACKETS_PER_SET,
				&by_rule, &by_name);
			pairs += PACKETS_PER_SET;
			acl_free(acl);
		}
	}
	printf(", %u rule sets (%u of %d rules), %u packets, %u%% decided by a rule, %u%% by a "
	       "name",
		set, full, RULES_MAX, pairs, (unsigned)(100.0 * by_rule / pairs),
		(unsigned)(100.0 * by_name / pairs));
	if (wrong != 0)
		printf("\n    rule set %u: %u packets disagree", set - 1, wrong);
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_TRUE(pairs >= PAIRS_MIN);
	/* Else the packets are not drawn near the rules, and the test tests nothing. */
	CU_ASSERT_TRUE(by_name > pairs / 20);
	CU_ASSERT_TRUE(by_rule > pairs / 4 && by_rule < pairs - pairs / 10);
}

/* --- single properties --- */

static struct rule
rule_to(const char *prefix, enum action action)
{
	struct rule rule = {.action = action};
	enum family family;

	CU_ASSERT_EQUAL_FATAL(prefix_parse(prefix, &family, &rule.prefix), 0);
	rule.destination = family == FAMILY_IPV4 ? DESTINATION_IPV4 : DESTINATION_IPV6;
	return rule;
}

static struct acl_result
classify_one(const struct ruleset *ruleset, const struct subject *subject)
{
	struct acl_key key;
	const struct acl_key *pointer = &key;
	struct acl_result result = {UINT8_MAX, 0};
	struct acl *acl;

	CU_ASSERT_EQUAL_FATAL(acl_compile(ruleset, subject->family, &acl), 0);
	acl_key_fill(&key, subject);
	acl_classify(acl, &pointer, &result, 1);
	acl_free(acl);
	return result;
}

static void
test_nothing_to_look_up(void)
{
	struct rule rules[] = {
		rule_to("2001:db8::/32", ACTION_DROP),
		{.destination = DESTINATION_NAME, .action = ACTION_DROP},
		{.action = ACTION_ACCEPT},
		rule_to("10.0.0.0/8", ACTION_DROP),
	};
	struct ruleset ruleset = {.policy = ACTION_DROP, .count = 0, .rules = rules};
	struct subject subject = {
		.family = FAMILY_IPV4,
		.destination = address_v4(RTE_BE32(0x0a000001)),
		.protocol = IPPROTO_TCP,
	};
	struct acl_result result;
	struct acl *acl;

	/* no rules: the policy */
	result = classify_one(&ruleset, &subject);
	CU_ASSERT_EQUAL(result.action, ACTION_DROP);
	CU_ASSERT_EQUAL(result.rule, RULE_POLICY);
	ruleset.policy = ACTION_ACCEPT;
	CU_ASSERT_EQUAL(classify_one(&ruleset, &subject).action, ACTION_ACCEPT);

	/* none that the family can match: the policy again */
	ruleset.count = 2;
	CU_ASSERT_EQUAL(classify_one(&ruleset, &subject).rule, RULE_POLICY);

	/* one that always matches: that rule, and nothing behind it */
	ruleset.policy = ACTION_DROP;
	ruleset.count = 4;
	result = classify_one(&ruleset, &subject);
	CU_ASSERT_EQUAL(result.action, ACTION_ACCEPT);
	CU_ASSERT_EQUAL(result.rule, 2);
	CU_ASSERT_EQUAL_FATAL(acl_compile(&ruleset, FAMILY_IPV4, &acl), 0);
	CU_ASSERT_TRUE(acl_memory(acl) < 128);
	acl_free(acl);
	acl_free(NULL);
}

/* A rule for DNS is looked up apart from the others, but in its place among them. */
static void
test_dns_order(void)
{
	struct rule rules[] = {
		{.dns = true, .action = ACTION_ACCEPT, .protocol = RULE_TCP},
		rule_to("192.168.50.2/32", ACTION_DROP),
		{.dns = true, .action = ACTION_ACCEPT},
	};
	struct ruleset ruleset = {.policy = ACTION_DROP, .count = 3, .rules = rules};
	struct subject subject = {
		.family = FAMILY_IPV4,
		.destination = address_v4(RTE_BE32(0xc0a83202)),
		.protocol = IPPROTO_UDP,
		.destination_port = RTE_BE16(53),
		.dns = true,
	};

	CU_ASSERT_EQUAL(classify_one(&ruleset, &subject).rule, 1);
	subject.protocol = IPPROTO_TCP;
	CU_ASSERT_EQUAL(classify_one(&ruleset, &subject).rule, 0);
	subject.dns = false;
	CU_ASSERT_EQUAL(classify_one(&ruleset, &subject).rule, 1);
	subject.destination = address_v4(RTE_BE32(0xc0a83203));
	CU_ASSERT_EQUAL(classify_one(&ruleset, &subject).rule, RULE_POLICY);
	subject.dns = true;
	subject.protocol = IPPROTO_UDP;
	CU_ASSERT_EQUAL(classify_one(&ruleset, &subject).rule, 2);
	/* the list holds when nothing else is to be looked up */
	rules[1].destination = DESTINATION_NAME;
	CU_ASSERT_EQUAL(classify_one(&ruleset, &subject).rule, 2);
}

static struct subject
subject_to(const char *destination, uint8_t protocol, uint16_t port)
{
	struct subject subject = {.protocol = protocol, .destination_port = rte_cpu_to_be_16(port)};

	CU_ASSERT_EQUAL_FATAL(address_parse(destination, &subject.family, &subject.destination), 0);
	return subject;
}

static uint16_t
rule_for(const struct ruleset *ruleset, const char *destination, uint8_t protocol, uint16_t port)
{
	struct subject subject = subject_to(destination, protocol, port);
	struct acl_result result = classify_one(ruleset, &subject);
	uint16_t rule;

	CU_ASSERT_EQUAL(result.action, linear_match(ruleset, &subject, &rule));
	CU_ASSERT_EQUAL(result.rule, rule);
	return result.rule;
}

static struct rule
rule_tcp(const char *prefix, uint16_t low, uint16_t high)
{
	struct rule rule = rule_to(prefix, ACTION_ACCEPT);

	rule.protocol = RULE_TCP;
	rule.has_ports = true;
	rule.port_low = low;
	rule.port_high = high;
	return rule;
}

/* Direct rules keep their place before, between and behind those that rte_acl has. */
static void
test_direct_order(void)
{
	struct rule rules[] = {
		rule_tcp("10.0.0.1/32", 80, 80),     /* 0 */
		rule_tcp("10.0.0.0/24", 80, 90),     /* 1 takes nothing of 0 and some of 2 */
		rule_tcp("10.0.0.1/32", 85, 95),     /* 2 */
		rule_tcp("10.0.0.1/32", 95, 99),     /* 3 begins in 2, which is no direct rule */
		rule_tcp("10.0.0.1/32", 80, 443),    /* 4 */
		rule_tcp("10.0.0.2/32", 81, 82),     /* 5 is never reached */
		rule_tcp("10.0.0.2/32", 443, 443),   /* 6 */
		rule_to("10.0.0.2/32", ACTION_DROP), /* 7 */
		rule_to("10.0.0.3/32", ACTION_DROP), /* 8 takes all of 9 */
		rule_tcp("10.0.0.3/32", 443, 443),   /* 9 */
	};
	struct ruleset ruleset = {.policy = ACTION_DROP, .count = RTE_DIM(rules), .rules = rules};

	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.1", IPPROTO_TCP, 80), 0);
	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.1", IPPROTO_TCP, 81), 1);
	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.1", IPPROTO_TCP, 90), 1);
	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.1", IPPROTO_TCP, 91), 2);
	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.1", IPPROTO_TCP, 95), 2);
	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.1", IPPROTO_TCP, 96), 3);
	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.1", IPPROTO_TCP, 100), 4);
	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.1", IPPROTO_UDP, 80), RULE_POLICY);
	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.2", IPPROTO_TCP, 81), 1);
	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.2", IPPROTO_TCP, 443), 6);
	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.2", IPPROTO_TCP, 442), 7);
	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.2", IPPROTO_GRE, 0), 7);
	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.3", IPPROTO_TCP, 443), 8);
	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.4", IPPROTO_TCP, 443), RULE_POLICY);
}

/* More rules for one destination than the table has room for, in both families. */
static void
test_one_destination(void)
{
	static struct rule rules[200];
	struct ruleset ruleset = {.policy = ACTION_DROP, .count = RTE_DIM(rules), .rules = rules};

	for (unsigned i = 0; i < RTE_DIM(rules); i++)
		rules[i] = rule_tcp(i % 2 == 0 ? "10.0.0.1/32" : "2001:db8::1/128",
			(uint16_t)(1000 + i / 4), (uint16_t)(1000 + i / 2));
	for (unsigned i = 0; i < RTE_DIM(rules); i++)
		rule_for(&ruleset, i % 2 == 0 ? "10.0.0.1" : "2001:db8::1", IPPROTO_TCP,
			(uint16_t)(1000 + i / 2));
	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.1", IPPROTO_TCP, 999), RULE_POLICY);
	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.1", IPPROTO_TCP, 1000), 0);
	CU_ASSERT_EQUAL(rule_for(&ruleset, "2001:db8::1", IPPROTO_TCP, 1000), 1);
	CU_ASSERT_EQUAL(rule_for(&ruleset, "10.0.0.1", IPPROTO_TCP, 1099), 198);
}

/*
 * IPv6 destinations that the table cannot tell apart by their tag, the upper half of a product:
 * what the product of the constant's inverse is has it in the lower half alone.
 */
static void
test_one_tag(void)
{
	const uint64_t constant = UINT64_C(0xc2b2ae3d27d4eb4f);
	uint64_t inverse = constant;
	struct rule rules[3];
	struct ruleset ruleset = {.policy = ACTION_DROP, .count = 0, .rules = rules};
	struct subject subjects[4];

	for (unsigned i = 0; i < 6; i++) /* each step doubles the digits that are right */
		inverse *= 2 - constant * inverse;
	CU_ASSERT_EQUAL_FATAL(constant * inverse, 1);
	for (unsigned i = 0; i < RTE_DIM(subjects); i++) {
		subjects[i] = subject_to("2001:db8::", IPPROTO_TCP, 443);
		subjects[i].destination.half[1] = inverse * (i + 1);
	}
	for (unsigned i = 0; i < RTE_DIM(rules); i++) {
		rules[i] = rule_to("2001:db8::/128", i == 1 ? ACTION_DROP : ACTION_ACCEPT);
		rules[i].prefix.address = subjects[i].destination;
	}
	for (ruleset.count = 0; ruleset.count <= RTE_DIM(rules); ruleset.count++) {
		for (unsigned i = 0; i < RTE_DIM(subjects); i++) {
			struct acl_result result = classify_one(&ruleset, &subjects[i]);

			CU_ASSERT_EQUAL(result.rule, i < ruleset.count ? i : RULE_POLICY);
			CU_ASSERT_EQUAL(result.action, i < ruleset.count && i != 1);
		}
	}
}

/* What makes rulesets cheap: hosts, and networks of one size, need hardly any of rte_acl. */
static void
test_usual_rules_are_small(void)
{
	static const uint8_t lengths[FAMILIES][2] = {{32, 24}, {128, 64}};
	static struct rule rules[RULES_MAX];
	struct ruleset ruleset = {.policy = ACTION_DROP, .count = RULES_MAX, .rules = rules};

	random_state = 1;
	for (unsigned kind = 0; kind < 4; kind++) {
		enum family family = kind / 2;
		struct acl *acl;

		for (unsigned i = 0; i < RULES_MAX; i++) {
			rules[i] = (struct rule){.action = ACTION_ACCEPT,
				.destination = family == FAMILY_IPV4 ? DESTINATION_IPV4
								     : DESTINATION_IPV6};
			/* all but the first and the last have one length */
			rules[i].prefix.length =
				(uint8_t)(lengths[family][kind % 2] - (i == 0 ? 1 : 0) -
					  (i == RULES_MAX - 1 ? 2 : 0));
			rules[i].prefix.address = address_draw(family);
			host_bits_set(
				&rules[i].prefix.address, family, rules[i].prefix.length, false);
		}
		CU_ASSERT_EQUAL_FATAL(acl_compile(&ruleset, family, &acl), 0);
		CU_ASSERT_TRUE(acl_memory(acl) < 200 * 1024);
		acl_free(acl);
	}

	/* Nor does what an earlier rule leaves nothing to. */
	for (unsigned i = 0; i < RULES_MAX; i++) {
		char text[ADDRESS_TEXT_SIZE];

		snprintf(text, sizeof(text), "10.%u.%u.0/%u", i / 256, i % 256, 20 + i % 13);
		rules[i] = rule_to(i == 0 ? "10.0.0.0/8" : text, ACTION_ACCEPT);
	}
	for (unsigned i = 0; i < 2; i++) {
		struct acl *acl;

		CU_ASSERT_EQUAL_FATAL(acl_compile(&ruleset, FAMILY_IPV4, &acl), 0);
		CU_ASSERT_EQUAL(acl_memory(acl) < 40 * 1024, i == 0);
		acl_free(acl);
		rules[0] = rule_to("11.0.0.0/8", ACTION_ACCEPT);
	}
}

static void
test_refused(void)
{
	struct rule *rules = calloc(ACL_RULES_MAX + 1, sizeof(*rules));
	struct ruleset ruleset = {.policy = ACTION_DROP, .count = ACL_RULES_MAX, .rules = rules};
	struct acl *acl = (struct acl *)&ruleset;

	CU_ASSERT_PTR_NOT_NULL_FATAL(rules);
	for (unsigned i = 0; i <= ACL_RULES_MAX; i++) {
		rules[i] = rule_to("10.0.0.0/32", ACTION_ACCEPT);
		rules[i].prefix.address.v4 |= rte_cpu_to_be_32(i * 7919);
	}
	CU_ASSERT_EQUAL_FATAL(acl_compile(&ruleset, FAMILY_IPV4, &acl), 0);
	acl_free(acl);
	ruleset.count = ACL_RULES_MAX + 1;
	CU_ASSERT_EQUAL(acl_compile(&ruleset, FAMILY_IPV4, &acl), -E2BIG);
	CU_ASSERT_PTR_NULL(acl);

	ruleset.count = 1;
	rules[0] = (struct rule){.protocol = RULE_ANY, .has_ports = true, .port_high = 80};
	CU_ASSERT_EQUAL(acl_compile(&ruleset, FAMILY_IPV4, &acl), -EINVAL);
	rules[0] = (struct rule){.protocol = RULE_ICMP, .has_ports = true, .port_high = 80};
	CU_ASSERT_EQUAL(acl_compile(&ruleset, FAMILY_IPV4, &acl), -EINVAL);
	rules[0] = (struct rule){
		.protocol = RULE_TCP, .has_ports = true, .port_low = 2, .port_high = 1};
	CU_ASSERT_EQUAL(acl_compile(&ruleset, FAMILY_IPV4, &acl), -EINVAL);
	rules[0] = (struct rule){.protocol = RULE_UDP, .has_icmp_type = true};
	CU_ASSERT_EQUAL(acl_compile(&ruleset, FAMILY_IPV4, &acl), -EINVAL);
	rules[0] = rule_to("10.0.0.0/32", ACTION_ACCEPT);
	rules[0].prefix.length = 33;
	CU_ASSERT_EQUAL(acl_compile(&ruleset, FAMILY_IPV4, &acl), -EINVAL);
	rules[0] = rule_to("::1/128", ACTION_ACCEPT);
	rules[0].prefix.length = 129;
	CU_ASSERT_EQUAL(acl_compile(&ruleset, FAMILY_IPV6, &acl), -EINVAL);
	free(rules);
}

static size_t
heap_used(void)
{
	struct rte_malloc_socket_stats stats;
	size_t used = 0;

	for (unsigned i = 0; i < rte_socket_count(); i++)
		if (rte_malloc_get_socket_stats(rte_socket_id_by_idx(i), &stats) == 0)
			used += stats.heap_allocsz_bytes;
	return used;
}

/* Compiled side by side, told apart, counted and given back in full. */
static void
test_many(void)
{
	struct rule rule = rule_to("10.0.0.1/32", ACTION_ACCEPT);
	struct ruleset ruleset = {.policy = ACTION_DROP, .count = 1, .rules = &rule};
	struct acl *acls[100];
	size_t before = heap_used();
	size_t sum = 0;

	for (unsigned i = 0; i < RTE_DIM(acls); i++) {
		rule.prefix.address.v4 = rte_cpu_to_be_32(0x0a000000 + i);
		CU_ASSERT_EQUAL_FATAL(acl_compile(&ruleset, FAMILY_IPV4, &acls[i]), 0);
		sum += acl_memory(acls[i]);
	}
	CU_ASSERT_TRUE(sum >= heap_used() - before);
	CU_ASSERT_TRUE(sum < 2 * (heap_used() - before));
	for (unsigned i = 0; i < RTE_DIM(acls); i++) {
		struct subject subject = {
			.family = FAMILY_IPV4,
			.destination = address_v4(rte_cpu_to_be_32(0x0a000000 + i)),
		};
		struct acl_key key;
		const struct acl_key *pointer = &key;
		struct acl_result own;
		struct acl_result other;

		acl_key_fill(&key, &subject);
		acl_classify(acls[i], &pointer, &own, 1);
		acl_classify(acls[(i + 1) % RTE_DIM(acls)], &pointer, &other, 1);
		CU_ASSERT_EQUAL(own.action, ACTION_ACCEPT);
		CU_ASSERT_EQUAL(other.action, ACTION_DROP);
	}
	for (unsigned i = 0; i < RTE_DIM(acls); i++)
		acl_free(acls[i]);
	CU_ASSERT_EQUAL(heap_used(), before);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"nothing to look up", test_nothing_to_look_up},
		{"DNS rules keep their place", test_dns_order},
		{"direct rules keep their place", test_direct_order},
		{"many rules for one destination", test_one_destination},
		{"IPv6 destinations with one tag", test_one_tag},
		{"usual rules are small", test_usual_rules_are_small},
		{"what is refused", test_refused},
		{"many at once", test_many},
		{"random rules against the reference", test_random},
	};

	unit_eal();
	return UNIT_RUN("acl", tests);
}
