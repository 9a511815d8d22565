/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reassembly: fragments put together in every order, or not at all.
 */
#include "tests/unit/fragments.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>

/* --- orders --- */

static void
shuffle(unsigned *order, unsigned count)
{
	for (unsigned left = count; left > 1; left--) {
		unsigned pick = (unsigned)rand() % left;
		unsigned swap = order[left - 1];

		order[left - 1] = order[pick];
		order[pick] = swap;
	}
}

/* Give the parts that start at cut[i] and end at cut[i + 1] in an order. */
static void
give_in_order(const uint32_t *cut, const unsigned *order, unsigned count)
{
	uint32_t first_serial = serial;
	struct rte_mbuf *result = NULL;
	uint32_t longest = 0;

	for (unsigned i = 0; i < count; i++) {
		unsigned part = order[i];

		CU_ASSERT_PTR_NULL(result);
		CU_ASSERT_EQUAL(fragment_count(table), i);
		result = part_give(&whole, cut[part], cut[part + 1] - cut[part], part + 1 < count);
		longest = RTE_MAX(longest, part_ip_length(&whole, cut[part + 1] - cut[part]));
	}
	CU_ASSERT_EQUAL(fragment_count(table), 0);
	CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 0);
	/* the datagram goes on as the part that came last */
	if (result != NULL)
		CU_ASSERT_EQUAL(packet_of(result)->serial - first_serial, count - 1);
	for (unsigned i = 0; i < count; i++)
		CU_ASSERT_EQUAL(fates[first_serial + i], i == count - 1 ? FATE_WHOLE : FATE_JOINED);
	expect_whole(result, &whole, longest);
}

static void
permute(const uint32_t *cut, unsigned *order, unsigned fixed, unsigned count)
{
	if (fixed == count) {
		give_in_order(cut, order, count);
		return;
	}
	for (unsigned i = fixed; i < count; i++) {
		unsigned swap = order[fixed];

		order[fixed] = order[i];
		order[i] = swap;
		permute(cut, order, fixed + 1, count);
		order[i] = order[fixed];
		order[fixed] = swap;
	}
}

static void
test_orders(void)
{
	fragments_begin(4);
	srand(1);
	for (int family = 0; family < FAMILIES; family++)
		for (unsigned count = 2; count <= 5; count++)
			for (unsigned extra = 0; extra <= 16; extra += 8) {
				uint32_t cut[6] = {0};
				unsigned order[5] = {0, 1, 2, 3, 4};

				for (unsigned i = 1; i <= count; i++)
					cut[i] = cut[i - 1] + 8 + (uint32_t)rand() % 30 * 8;
				cut[count] -= (uint32_t)rand() % 8;
				whole_build(&whole, (enum family)family, IPPROTO_UDP, cut[count],
					extra);
				permute(cut, order, 0, count);
			}
	fragments_end();
}

/* The largest datagrams there are, over an ordinary link. */
static void
test_large(void)
{
	fragments_begin(4);
	srand(2);
	for (unsigned round = 0; round < 20; round++) {
		enum family family = round % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6;
		uint32_t cut[47] = {0};
		unsigned order[46];
		unsigned count = 0;

		whole_build(&whole, family, IPPROTO_UDP, family == FAMILY_IPV4 ? 65515 : 65535, 0);
		while (cut[count] < whole.length - whole.head) {
			order[count] = count;
			count++;
			cut[count] = RTE_MIN(cut[count - 1] + (family == FAMILY_IPV4 ? 1480 : 1448),
				whole.length - whole.head);
		}
		CU_ASSERT_EQUAL(count, family == FAMILY_IPV4 ? 45 : 46);
		if (round >= 2)
			shuffle(order, count);
		give_in_order(cut, order, count);
	}
	fragments_end();
}

/* As many as there may be, and one too many. */
static void
test_many(void)
{
	uint32_t cut[FRAGMENTS_PER_DATAGRAM + 2] = {0};
	unsigned order[FRAGMENTS_PER_DATAGRAM + 1];

	fragments_begin(1);
	srand(3);
	for (unsigned i = 0; i <= FRAGMENTS_PER_DATAGRAM; i++) {
		order[i] = i;
		cut[i + 1] = cut[i] + 16;
	}
	whole_build(&whole, FAMILY_IPV4, IPPROTO_UDP, cut[FRAGMENTS_PER_DATAGRAM], 0);
	give_in_order(cut, order, FRAGMENTS_PER_DATAGRAM);
	shuffle(order, FRAGMENTS_PER_DATAGRAM);
	give_in_order(cut, order, FRAGMENTS_PER_DATAGRAM);

	whole_build(&whole, FAMILY_IPV4, IPPROTO_UDP, cut[FRAGMENTS_PER_DATAGRAM + 1], 0);
	for (unsigned i = 0; i < FRAGMENTS_PER_DATAGRAM; i++)
		CU_ASSERT_PTR_NULL(part_give(&whole, cut[i], 16, true));
	CU_ASSERT_EQUAL(fragment_count(table), FRAGMENTS_PER_DATAGRAM);
	/* a repetition is none too many */
	CU_ASSERT_PTR_NULL(part_give(&whole, cut[7], 16, true));
	CU_ASSERT_EQUAL(fragment_count(table), FRAGMENTS_PER_DATAGRAM);
	CU_ASSERT_PTR_NULL(part_give(&whole, cut[FRAGMENTS_PER_DATAGRAM], 16, false));
	CU_ASSERT_EQUAL(fragment_count(table), 0);
	for (unsigned i = 0; i <= FRAGMENTS_PER_DATAGRAM + 1; i++)
		CU_ASSERT_EQUAL(
			fate(i), i == 1 ? DROPPED(FRAGMENT_OVERLAP) : DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_PTR_NULL(part_give(&whole, 0, 16, true));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_LIMIT));
	fragments_end();
}

/* --- repetitions, overlaps, contradictions --- */

/* RFC 8200 section 4.5: exact repetitions may be ignored. */
static void
test_repetitions(void)
{
	fragments_begin(4);
	for (int family = 0; family < FAMILIES; family++) {
		whole_build(&whole, (enum family)family, IPPROTO_UDP, 100, 0);
		for (unsigned i = 0; i < 3; i++)
			CU_ASSERT_PTR_NULL(part_give(&whole, 48, 40, true));
		CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
		CU_ASSERT_EQUAL(fate(1), DROPPED(FRAGMENT_OVERLAP));
		CU_ASSERT_EQUAL(fate(2), FATE_GIVEN);
		for (unsigned i = 0; i < 3; i++)
			CU_ASSERT_PTR_NULL(part_give(&whole, 88, 12, false));
		CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
		CU_ASSERT_PTR_NULL(part_give(&whole, 48, 40, true));
		CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
		CU_ASSERT_EQUAL(fragment_count(table), 2);
		CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 2);
		expect_whole(part_give(&whole, 0, 48, true), &whole, part_ip_length(&whole, 48));
		/* behind the datagram it begins another one */
		CU_ASSERT_PTR_NULL(part_give(&whole, 0, 48, true));
		CU_ASSERT_EQUAL(fate(0), FATE_GIVEN);
		CU_ASSERT_EQUAL(fragment_count(table), 1);
		now_ms += TIMEOUT_MS;
		CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 10), 1);
	}
	fragments_end();
}

/* Each row is well until its last step. */
static const struct {
	const char *what;
	struct step steps[4];
} contradictions[] = {
	{"the second begins in the first (teardrop)", {{0, 48, true}, {40, 48, true}}},
	{"the first ends in the second", {{40, 48, true}, {0, 48, true}}},
	{"same offset, shorter", {{0, 48, true}, {0, 40, true}}},
	{"same offset, longer", {{0, 48, true}, {0, 56, true}}},
	{"same offset, shorter, not the first", {{80, 48, true}, {80, 8, true}}},
	{"same offset, longer, not the first", {{80, 48, true}, {80, 56, true}}},
	{"same end, later begin", {{80, 48, true}, {88, 40, true}}},
	{"same end, earlier begin", {{80, 48, true}, {72, 56, true}}},
	{"contained", {{0, 80, true}, {16, 16, true}}},
	{"contains", {{16, 16, true}, {0, 80, true}}},
	{"spans two and the gap between them", {{16, 16, true}, {48, 16, true}, {0, 80, true}}},
	{"fills a gap and one unit more",
		{{0, 16, true}, {32, 16, true}, {64, 16, false}, {16, 24, true}}},
	{"fills a gap and a unit before it",
		{{0, 16, true}, {32, 16, true}, {64, 16, false}, {40, 24, true}}},
	{"equals two together", {{0, 16, true}, {16, 16, true}, {0, 32, true}}},
	{"tail of the last (teardrop in reverse)", {{80, 13, false}, {88, 5, false}}},
	{"the last, shorter", {{80, 16, false}, {80, 12, false}}},
	{"the last, longer", {{80, 12, false}, {80, 16, false}}},
	{"the last, but more to come", {{80, 16, false}, {80, 16, true}}},
	{"not the last, then the last", {{80, 16, true}, {80, 16, false}}},
	{"two ends, the second later", {{80, 16, false}, {96, 16, false}}},
	{"two ends, the second much later", {{80, 16, false}, {800, 16, false}}},
	{"two ends, the second earlier", {{80, 16, false}, {40, 16, false}}},
	{"behind the end", {{80, 16, false}, {96, 8, true}}},
	{"far behind the end", {{80, 16, false}, {1600, 8, true}}},
	{"an end before what is there", {{80, 16, true}, {40, 16, false}}},
	{"an end right before what is there", {{80, 16, true}, {64, 16, false}}},
	{"over 65,535 bytes (ping of death)", {{0, 80, true}, {65528, 80, false}}},
	{"over 65,535 bytes, no last one", {{0, 80, true}, {65528, 80, true}}},
};

/* RFC 5722: whatever the overlap, nothing of the datagram is left or will be. */
static void
test_contradictions(void)
{
	fragments_begin(8);
	for (unsigned i = 0; i < RTE_DIM(contradictions) * FAMILIES; i++) {
		const struct step *steps = contradictions[i / 2].steps;
		unsigned count = 0;
		bool good = true;

		whole_build(&whole, i % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6, IPPROTO_UDP, 2000, 0);
		whole.id += i;
		while (count < 4 && steps[count].length != 0)
			count++;
		for (unsigned step = 0; step < count; step++) {
			good &= fragment_count(table) == step;
			good &= part_give(&whole, steps[step].offset, steps[step].length,
					steps[step].more) == NULL;
		}
		for (unsigned step = 0; step < count; step++)
			good &= fate(step) == DROPPED(FRAGMENT_OVERLAP);
		good &= fragment_count(table) == 0;
		/* all the parts of it, good as they are by themselves, come too late */
		good &= part_give(&whole, 0, 1000, true) == NULL;
		good &= fate(0) == DROPPED(FRAGMENT_OVERLAP);
		good &= fragment_due_ms(table, now_ms, UINT32_MAX) == TIMEOUT_MS;
		good &= fragment_due_ms(table, now_ms, 7) == 7;
		now_ms += TIMEOUT_MS - 1;
		good &= fragment_expire(table, now_ms, 10) == 0;
		good &= fragment_due_ms(table, now_ms, UINT32_MAX) == 1;
		good &= part_give(&whole, 1000, 1000, false) == NULL;
		good &= fate(0) == DROPPED(FRAGMENT_OVERLAP);
		/* its name is remembered at the cost of one unit, and forgotten in time */
		good &= budget_used(account, BUDGET_FRAGMENTS) == 1;
		now_ms++;
		good &= fragment_due_ms(table, now_ms, UINT32_MAX) == 0;
		good &= fragment_expire(table, now_ms, 10) == 1;
		good &= fragment_due_ms(table, now_ms, 7) == 7;
		good &= budget_used(account, BUDGET_FRAGMENTS) == 0;
		if (!good)
			fprintf(stderr, "%s (IPv%c)\n", contradictions[i / 2].what, "46"[i % 2]);
		CU_ASSERT(good);
		CU_ASSERT_PTR_NULL(part_give(&whole, 0, 1000, true));
		expect_whole(
			part_give(&whole, 1000, 1000, false), &whole, part_ip_length(&whole, 1000));
	}
	fragments_end();
}

/* The longest that fits, and one byte more, with headers that count and that do not. */
static void
test_longest(void)
{
	fragments_begin(8);
	for (int family = 0; family < FAMILIES; family++)
		for (uint32_t extra = 0; extra <= 40; extra += 8)
			for (unsigned order = 0; order < 2; order++)
				for (uint32_t over = 0; over < 2; over++) {
					uint32_t data = family == FAMILY_IPV4 ? 65515 - extra
									      : 65535 - extra;
					struct rte_mbuf *result;

					whole_build(&whole, (enum family)family, 47, data, extra);
					whole.id += extra;
					if (order == 0)
						(void)part_give(&whole, 0, 32768, true);
					result = part_give(
						&whole, 32768, data + over - 32768, false);
					if (order == 1)
						result = part_give(&whole, 0, 32768, true);
					if (over == 0) {
						expect_whole(result, &whole,
							part_ip_length(&whole, 32768));
						continue;
					}
					CU_ASSERT_PTR_NULL(result);
					CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
					CU_ASSERT_EQUAL(fate(1), DROPPED(FRAGMENT_OVERLAP));
					CU_ASSERT_EQUAL(fragment_count(table), 0);
					now_ms += TIMEOUT_MS;
					(void)fragment_expire(table, now_ms, 10);
				}
	fragments_end();
}

/*
 * What comes first may be what is wrong by itself; and headers that are longer in the first
 * fragment than in the others count only once.
 */
static void
test_longest_first(void)
{
	static struct whole long_header;

	fragments_begin(8);
	whole_build(&whole, FAMILY_IPV4, 47, 65000, 0);
	CU_ASSERT_PTR_NULL(part_give(&whole, 65528, 16, true));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
	CU_ASSERT_PTR_NULL(part_give(&whole, 0, 32, true));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));

	whole.id++;
	whole_build(&long_header, FAMILY_IPV4, 47, 65475, 40);
	long_header.id = ++whole.id;
	memcpy(whole.bytes + whole.head, long_header.bytes + long_header.head, 65475);
	CU_ASSERT_PTR_NULL(part_give(&whole, 8000, 57475, false));
	expect_whole(part_give(&long_header, 0, 8000, true), &long_header, 57495);
	CU_ASSERT_PTR_NULL(part_give(&whole, 8000, 57476, false));
	CU_ASSERT_PTR_NULL(part_give(&long_header, 0, 8000, true));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
	CU_ASSERT_EQUAL(fate(1), DROPPED(FRAGMENT_OVERLAP));
	fragments_end();
}

/* RFC 1858, RFC 7112: the parser refuses what hides headers, so the table never sees it. */
static void
test_tiny(void)
{
	static const struct {
		uint8_t protocol;
		uint32_t least;
	} rows[] = {{IPPROTO_TCP, 24}, {IPPROTO_UDP, 8}, {IPPROTO_ICMP, 8}, {IPPROTO_ICMPV6, 8},
		{47, 8}};

	fragments_begin(8);
	for (int family = 0; family < FAMILIES; family++)
		for (unsigned i = 0; i < RTE_DIM(rows); i++) {
			if (rows[i].protocol ==
				(family == FAMILY_IPV4 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
				continue;
			whole_build(&whole, (enum family)family, rows[i].protocol, 64, 0);
			whole.id += i;
			whole.bytes[whole.head] = 8;
			whole.bytes[whole.head + 12] = 0x50;
			for (uint32_t length = 0; length < rows[i].least; length++) {
				CU_ASSERT_PTR_NULL(part_give(&whole, 0, length, true));
				CU_ASSERT_EQUAL(refused, REASON_FRAGMENT);
			}
			CU_ASSERT_PTR_NULL(part_give(&whole, 0, rows[i].least, true));
			CU_ASSERT_EQUAL(refused, REASON_NONE);
			CU_ASSERT_EQUAL(fragment_count(table), 1);
			/* nothing in it, or no whole units */
			CU_ASSERT_PTR_NULL(part_give(&whole, 24, 0, false));
			CU_ASSERT_EQUAL(refused, REASON_FRAGMENT);
			CU_ASSERT_PTR_NULL(part_give(&whole, 24, 9, true));
			CU_ASSERT_EQUAL(refused, REASON_FRAGMENT);
			CU_ASSERT_EQUAL(fragment_count(table), 1);
			now_ms += TIMEOUT_MS;
			CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 10), 1);
		}
	fragments_end();
}

/* --- time --- */

static void
test_time(void)
{
	static const uint32_t starts[] = {
		0, 1000, UINT32_MAX - TIMEOUT_MS / 2, UINT32_MAX, INT32_MAX};

	for (unsigned i = 0; i < RTE_DIM(starts); i++) {
		fragments_begin(8);
		now_ms = starts[i];
		whole_build(&whole, FAMILY_IPV4, IPPROTO_UDP, 100, 0);
		CU_ASSERT_PTR_NULL(part_give(&whole, 0, 48, true));
		/* later ones prolong nothing */
		now_ms += TIMEOUT_MS - 1;
		CU_ASSERT_PTR_NULL(part_give(&whole, 48, 8, true));
		CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 10), 0);
		CU_ASSERT_EQUAL(fragment_count(table), 2);
		now_ms++;
		CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 10), 1);
		CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_TIMEOUT));
		CU_ASSERT_EQUAL(fate(1), DROPPED(FRAGMENT_TIMEOUT));
		CU_ASSERT_EQUAL(fragment_count(table), 0);
		CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 0);

		/* in time until the last moment */
		CU_ASSERT_PTR_NULL(part_give(&whole, 0, 48, true));
		now_ms += TIMEOUT_MS - 1;
		expect_whole(part_give(&whole, 48, 52, false), &whole, part_ip_length(&whole, 52));

		/* and not a moment later, also when nobody has looked at the clock meanwhile */
		CU_ASSERT_PTR_NULL(part_give(&whole, 0, 48, true));
		now_ms += TIMEOUT_MS;
		CU_ASSERT_PTR_NULL(part_give(&whole, 48, 52, false));
		CU_ASSERT_EQUAL(fate(1), DROPPED(FRAGMENT_TIMEOUT));
		CU_ASSERT_EQUAL(fate(0), FATE_GIVEN);
		CU_ASSERT_EQUAL(fragment_count(table), 1);
		/* that one has opened a datagram with a time of its own */
		now_ms += TIMEOUT_MS - 1;
		CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 10), 0);
		expect_whole(part_give(&whole, 0, 48, true), &whole, part_ip_length(&whole, 52));
		fragments_end();
	}
}

/* The oldest first, no more than asked for. */
static void
test_expire_budget(void)
{
	uint32_t first = serial;

	fragments_begin(16);
	whole_build(&whole, FAMILY_IPV6, IPPROTO_UDP, 100, 0);
	for (unsigned i = 0; i < 10; i++) {
		whole.id++;
		now_ms += 10;
		CU_ASSERT_PTR_NULL(part_give(&whole, 0, 48, true));
	}
	now_ms += TIMEOUT_MS - 30; /* seven of them */
	CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 0), 0);
	CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 3), 3);
	CU_ASSERT_EQUAL(fragment_count(table), 7);
	CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 100), 4);
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(fates[first + i], i < 7 ? DROPPED(FRAGMENT_TIMEOUT) : FATE_GIVEN);
	fragments_end();
}

/* --- names --- */

static void
test_names(void)
{
	static struct whole wholes[24];
	unsigned count = 0;

	fragments_begin(64);
	srand(4);
	for (int family = 0; family < FAMILIES; family++) {
		uint32_t source = family == FAMILY_IPV4 ? ETHER + 12 : ETHER + 8;
		uint32_t destination = family == FAMILY_IPV4 ? ETHER + 16 : ETHER + 24;
		uint32_t size = family == FAMILY_IPV4 ? 4 : 16;

		/* one byte of everything that makes a name */
		for (unsigned i = 0; i < 9; i++) {
			struct whole *one = &wholes[count++];

			whole_build(one, (enum family)family, IPPROTO_UDP, 64, 0);
			if (i == 1)
				one->bytes[source + size - 1] ^= 1;
			if (i == 2)
				one->bytes[source + size / 2] ^= 0x80;
			if (i == 3)
				one->bytes[destination + size - 1] ^= 1;
			if (i == 4)
				one->bytes[destination] ^= 1;
			if (i == 5)
				one->id ^= 1;
			if (i == 6)
				one->id ^= family == FAMILY_IPV4 ? 0x8000 : 0x80000000;
			if (i == 7)
				one->port ^= 1;
			if (i == 8)
				one->port ^= 0x100;
		}
	}
	whole_build(&wholes[count++], FAMILY_IPV4, 47, 64, 0);
	for (unsigned i = 0; i < count; i++)
		CU_ASSERT_PTR_NULL(part_give(&wholes[i], 32, 32, false));
	CU_ASSERT_EQUAL(fragment_count(table), count);
	for (unsigned i = 0; i < count; i++)
		expect_whole(part_give(&wholes[i], 0, 32, true), &wholes[i],
			part_ip_length(&wholes[i], 32));
	CU_ASSERT_EQUAL(fragment_count(table), 0);
	fragments_end();
}

/* RFC 8200 section 4.5: the next header of IPv6 fragments but the first means nothing. */
static void
test_ipv6_next_header(void)
{
	fragments_begin(4);
	for (unsigned order = 0; order < 2; order++) {
		struct rte_mbuf *result = NULL;

		whole_build(&whole, FAMILY_IPV6, IPPROTO_UDP, 64, 8);
		for (unsigned i = 0; i < 2; i++) {
			bool first = i == order;

			whole.bytes[whole.next] = first ? IPPROTO_UDP : 99;
			result = part_give(&whole, first ? 0 : 32, 32, first);
		}
		whole.bytes[whole.next] = IPPROTO_UDP;
		expect_whole(result, &whole, part_ip_length(&whole, 32));
	}
	fragments_end();
}

/* Nobody on another port, and nobody else on the same, can end or finish somebody's datagram. */
static void
test_strangers(void)
{
	static struct whole theirs;

	fragments_begin(8);
	whole_build(&whole, FAMILY_IPV4, IPPROTO_UDP, 64, 0);
	theirs = whole;
	theirs.port++;
	CU_ASSERT_PTR_NULL(part_give(&whole, 0, 32, true));
	account = &accounts[1];
	CU_ASSERT_PTR_NULL(part_give(&theirs, 32, 32, false));
	CU_ASSERT_PTR_NULL(part_give(&theirs, 16, 32, false));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
	account = &accounts[0];
	expect_whole(part_give(&whole, 32, 32, false), &whole, part_ip_length(&whole, 32));
	fragments_end();
}

/* --- headers of the whole --- */

/* Options, TTL and addresses of stations are those of the first fragment; DF is that of any. */
static void
test_ipv4_headers(void)
{
	for (unsigned i = 0; i < 16; i++) {
		static struct whole other;
		struct rte_mbuf *result;
		unsigned df = i & 3;

		fragments_begin(4);
		whole_build(&whole, FAMILY_IPV4, IPPROTO_UDP, 96, i & 4 ? 8 : 0);
		whole_build(&other, FAMILY_IPV4, IPPROTO_UDP, 96, i & 8 ? 12 : 0);
		memcpy(other.bytes + other.head, whole.bytes + whole.head, 96);
		memset(other.bytes, 0x55, 12);
		other.bytes[ETHER + 8] = 3;    /* TTL */
		other.bytes[ETHER + 1] = 0xb8; /* traffic class, without ECN */
		other.bytes[ETHER + 6] = df & 1 ? 0x40 : 0;
		whole.bytes[ETHER + 6] = df & 2 ? 0xc0 : 0x80;
		CU_ASSERT_PTR_NULL(part_give(&other, 48, 48, false));
		result = part_give(&whole, 0, 48, true);
		whole.bytes[ETHER + 6] |= df != 0 ? 0x40 : 0;
		ipv4_sum(whole.bytes + ETHER);
		expect_whole(result, &whole,
			RTE_MAX(part_ip_length(&whole, 48), part_ip_length(&other, 48)));
		fragments_end();
	}
}

/* RFC 3168 section 5.3: congestion noted by any fragment is noted by all, or they do not fit. */
static void
test_ecn(void)
{
	fragments_begin(64);
	for (int family = 0; family < FAMILIES; family++)
		for (unsigned i = 0; i < 64; i++) {
			unsigned ecn[3] = {i & 3, i >> 2 & 3, i >> 4};
			unsigned seen = 1u << ecn[0] | 1u << ecn[1] | 1u << ecn[2];
			struct rte_mbuf *result = NULL;
			unsigned marked;

			whole_build(&whole, (enum family)family, IPPROTO_UDP, 96, 0);
			for (unsigned part = 3; part-- > 0;) {
				if (family == FAMILY_IPV4)
					whole.bytes[ETHER + 1] = (uint8_t)(0xa8 | ecn[part]);
				else
					whole.bytes[ETHER + 1] = (uint8_t)(ecn[part] << 4 | 7);
				result = part_give(&whole, part * 32, 32, part != 2);
			}
			if ((seen & 9) == 9) {
				CU_ASSERT_PTR_NULL(result);
				CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
				CU_ASSERT_EQUAL(fate(2), DROPPED(FRAGMENT_OVERLAP));
				now_ms += TIMEOUT_MS;
				CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 2), 1);
				continue;
			}
			marked = (seen & 8) != 0 ? 3 : ecn[0];
			if (family == FAMILY_IPV4) {
				whole.bytes[ETHER + 1] = (uint8_t)(0xa8 | marked);
				ipv4_sum(whole.bytes + ETHER);
			} else {
				whole.bytes[ETHER + 1] = (uint8_t)(marked << 4 | 7);
			}
			expect_whole(result, &whole, part_ip_length(&whole, 32));
		}
	fragments_end();
}

/* IPv6: hop-by-hop options before the fragment header, destination options behind it. */
static void
test_ipv6_headers(void)
{
	fragments_begin(4);
	for (unsigned hops = 0; hops <= 24; hops += 8)
		for (unsigned options = 0; options <= 24; options += 8)
			for (unsigned order = 0; order < 2; order++) {
				struct rte_mbuf *result = NULL;
				uint8_t *data;

				whole_build(&whole, FAMILY_IPV6,
					options == 0 ? IPPROTO_UDP : IPPROTO_DSTOPTS, options + 100,
					hops);
				data = whole.bytes + whole.head;
				if (options != 0) {
					memset(data, 0, options);
					data[0] = IPPROTO_UDP;
					data[1] = (uint8_t)(options / 8 - 1);
				}
				put16(data + options, 40000);
				put16(data + options + 2, 53);
				put16(data + options + 4, 100);
				for (unsigned i = 0; i < 2; i++)
					result = i == order
							 ? part_give(&whole, 0, options + 48, true)
							 : part_give(
								   &whole, options + 48, 52, false);
				expect_whole(result, &whole,
					RTE_MAX(part_ip_length(&whole, options + 48),
						part_ip_length(&whole, 52)));
			}
	fragments_end();
}

/* RFC 6946: a datagram in one fragment is none of ours, whatever else has its name. */
static void
test_atomic(void)
{
	fragments_begin(4);
	whole_build(&whole, FAMILY_IPV6, IPPROTO_UDP, 64, 8);
	CU_ASSERT_PTR_NULL(part_give(&whole, 0, 32, true));
	part_slice(&whole, 0, 64, false);
	for (uint32_t first = part_length - 64 + 8; first <= part_length; first++) {
		struct rte_mbuf *mbuf = frame_mbuf_chain(pool, part_bytes, part_length, first, 16);
		static uint8_t bytes[PACKET_FRAME_MAX];

		CU_ASSERT_EQUAL(parse_burst(&mbuf, 1), 1);
		CU_ASSERT_EQUAL(packet_of(mbuf)->flags, 0);
		CU_ASSERT_EQUAL(chain_flatten(mbuf, bytes), whole.length);
		CU_ASSERT_EQUAL(memcmp(bytes, whole.bytes, whole.length), 0);
		rte_pktmbuf_free(mbuf);
	}
	expect_whole(part_give(&whole, 32, 32, false), &whole, part_ip_length(&whole, 32));
	fragments_end();
}

/* --- mbufs --- */

/* Frames in a receive ring go back to it at once, and without an mbuf for the copy they end. */
static void
test_rings(void)
{
	struct rte_mbuf *all[8192];
	struct rte_mbuf *mbuf;
	unsigned taken = 0;

	fragments_begin(4);
	whole_build(&whole, FAMILY_IPV4, IPPROTO_UDP, 64, 0);
	part_slice(&whole, 0, 32, true);
	CU_ASSERT_PTR_NULL(part_take(part_parsed(whole.port, FORM_RING)));
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 1);
	CU_ASSERT_EQUAL(fate(0), FATE_GIVEN);

	part_slice(&whole, 32, 32, false);
	mbuf = part_parsed(whole.port, FORM_RING);
	while ((all[taken] = rte_pktmbuf_alloc(pool)) != NULL)
		taken++;
	CU_ASSERT_PTR_NULL(part_take(mbuf));
	CU_ASSERT_EQUAL(fate(0), DROPPED(NO_MBUF));
	CU_ASSERT_EQUAL(fragment_count(table), 1);
	rte_pktmbuf_free_bulk(all, taken);
	expect_whole(part_give(&whole, 32, 32, false), &whole, part_ip_length(&whole, 32));

	/* nothing is left of a datagram whose first fragment to come had no place */
	part_slice(&whole, 32, 32, false);
	mbuf = part_parsed(whole.port, FORM_RING);
	taken = 0;
	while ((all[taken] = rte_pktmbuf_alloc(pool)) != NULL)
		taken++;
	CU_ASSERT_PTR_NULL(part_take(mbuf));
	CU_ASSERT_EQUAL(fate(0), DROPPED(NO_MBUF));
	CU_ASSERT_EQUAL(fragment_count(table), 0);
	now_ms += TIMEOUT_MS;
	CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 10), 0);
	rte_pktmbuf_free_bulk(all, taken);
	fragments_end();
}

/* Headers that fill the first mbuf to its end: what follows is all in the next. */
static void
test_chained_parts(void)
{
	fragments_begin(4);
	for (int family = 0; family < FAMILIES; family++)
		for (unsigned more = 0; more < 40; more++) {
			struct rte_mbuf *result = NULL;

			whole_build(&whole, (enum family)family, IPPROTO_UDP, 600, 0);
			for (unsigned part = 3; part-- > 0;) {
				uint32_t headers;

				part_slice(&whole, part * 200, 200, part != 2);
				headers = part_length - 200;
				result = frame_mbuf_chain(pool, part_bytes, part_length,
					headers + (part == 0 ? 8 : 0) + more, 7 + more);
				packet_of(result)->in_port = whole.port;
				packet_of(result)->serial = serial;
				CU_ASSERT_EQUAL(parse_burst(&result, 1), 1);
				result = part_take(result);
			}
			expect_whole(result, &whole, part_ip_length(&whole, 200));
		}
	fragments_end();
}

static void
test_free_while_waiting(void)
{
	fragments_begin(16);
	whole_build(&whole, FAMILY_IPV6, 47, 1000, 0);
	for (unsigned i = 0; i < 40; i++) {
		account = &accounts[i % 3];
		whole.id = i % 10;
		CU_ASSERT_PTR_NULL(part_give(&whole, i * 24, 24, true));
	}
	whole.id = 3;
	CU_ASSERT_PTR_NULL(part_give(&whole, 8, 100 * 8, true));
	CU_ASSERT_EQUAL(fragment_count(table), 36);
	fragments_end();
	for (unsigned i = 0; i < 40; i++)
		CU_ASSERT(i % 10 == 3 || fate(40 - i) == FATE_GIVEN);
}

/* --- steering --- */

static void
test_steer(void)
{
	unsigned share[3] = {0};

	fragments_begin(4);
	srand(6);
	for (unsigned i = 0; i < 6000; i++) {
		unsigned worker = 0;

		whole_build(&whole, i % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6, 47, 96, 0);
		whole.id = i / 2;
		for (unsigned part = 0; part < 3; part++) {
			struct rte_mbuf *mbuf;
			unsigned found;

			part_slice(&whole, part * 32, 32, part != 2);
			mbuf = part_parsed(whole.port, (enum form)part);
			found = fragment_steer(&secret, mbuf, 3);
			CU_ASSERT(part == 0 || found == worker);
			worker = found;
			CU_ASSERT_EQUAL(fragment_steer(&secret, mbuf, 1), 0);
			rte_pktmbuf_free(mbuf);
		}
		CU_ASSERT_FATAL(worker < 3);
		share[worker]++;
	}
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT(share[i] > 1850 && share[i] < 2150);
	fragments_end();
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"RFC 791, RFC 4787 REQ-14: every order of two to five", test_orders},
		{"RFC 4787 REQ-14: the largest datagrams in any order", test_large},
		{"128 fragments, not one more", test_many},
		{"RFC 8200 4.5: repetitions", test_repetitions},
		{"RFC 5722: overlaps and contradictions", test_contradictions},
		{"RFC 791, RFC 8200 4.5: 65,535 bytes, not one more", test_longest},
		{"over-long by itself", test_longest_first},
		{"RFC 1858, RFC 7112: tiny first fragments", test_tiny},
		{"RFC 791, RFC 8200 4.5: time", test_time},
		{"no more end at once than asked for", test_expire_budget},
		{"RFC 791: names", test_names},
		{"RFC 8200 4.5: next header of later fragments", test_ipv6_next_header},
		{"strangers", test_strangers},
		{"IPv4 headers of the whole", test_ipv4_headers},
		{"RFC 3168 5.3: congestion", test_ecn},
		{"RFC 8200 4.5: IPv6 headers of the whole", test_ipv6_headers},
		{"RFC 6946: atomic fragments", test_atomic},
		{"receive rings", test_rings},
		{"chained fragments", test_chained_parts},
		{"freed while fragments wait", test_free_while_waiting},
		{"steering", test_steer},
	};

	fragments_setup();
	return UNIT_RUN("fragment", tests);
}
