/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who may wait: limits of accounts, full tables, floods (RFC 4787 REQ-14).
 */
#include "tests/unit/fragments.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>

/* Start datagrams of one fragment each. */
static void
start(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		whole.id++;
		now_ms++;
		CU_ASSERT_PTR_NULL(part_give(&whole, 0, 32, true));
	}
}

/* RFC 4787 REQ-14: at the limit of its account the oldest of its datagrams ends, nobody else's. */
static void
test_limit(void)
{
	uint32_t own, others;

	fragments_begin(64);
	whole_build(&whole, FAMILY_IPV4, 47, 256, 0);
	others = serial;
	account = &accounts[1];
	start(10);
	account = &accounts[0];
	limit = 16;
	own = serial;
	start(16);
	CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 16);
	for (unsigned i = 0; i < 100; i++) {
		start(1);
		CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 16);
		CU_ASSERT_EQUAL(fragment_count(table), 26);
		CU_ASSERT_EQUAL(fates[own + i], DROPPED(FRAGMENT_LIMIT));
		CU_ASSERT_EQUAL(fates[own + i + 1], FATE_GIVEN);
	}
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(fates[others + i], FATE_GIVEN);
	/* a lower limit counts from the next fragment on */
	limit = 8;
	start(1);
	CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 8);
	CU_ASSERT_EQUAL(fragment_count(table), 18);
	fragments_end();
}

/* The newest of a datagram's fragments cannot drive out the datagram's own and live. */
static void
test_limit_itself(void)
{
	fragments_begin(64);
	whole_build(&whole, FAMILY_IPV4, 47, 256, 0);
	limit = 4;
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_PTR_NULL(part_give(&whole, i * 32, 32, true));
	CU_ASSERT_PTR_NULL(part_give(&whole, 128, 32, true));
	for (unsigned i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(fate(i), DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_EQUAL(fragment_count(table), 0);
	CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 1);
	CU_ASSERT_PTR_NULL(part_give(&whole, 160, 32, true));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_LIMIT));
	/* when an older one is there, that ends */
	start(1);
	whole.id++;
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT_PTR_NULL(part_give(&whole, i * 32, 32, true));
	CU_ASSERT_EQUAL(fate(3), FATE_GIVEN);
	CU_ASSERT_PTR_NULL(part_give(&whole, 96, 32, true));
	CU_ASSERT_EQUAL(fate(4), DROPPED(FRAGMENT_LIMIT));
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(fate(i), FATE_GIVEN);
	/* room for one only: nothing can be remembered, nothing is left over */
	limit = 1;
	whole.id++;
	now_ms += TIMEOUT_MS;
	(void)fragment_expire(table, now_ms, 10);
	CU_ASSERT_PTR_NULL(part_give(&whole, 0, 32, true));
	CU_ASSERT_PTR_NULL(part_give(&whole, 64, 32, true));
	CU_ASSERT_EQUAL(fate(1), DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_LIMIT));
	fragments_end();
}

/* What another worker holds counts, but only what waits here can end here. */
static void
test_limit_elsewhere(void)
{
	fragments_begin(8);
	whole_build(&whole, FAMILY_IPV4, 47, 256, 0);
	limit = 4;
	start(1);
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT(budget_take(account, BUDGET_FRAGMENTS, limit));
	start(1);
	CU_ASSERT_EQUAL(fate(1), DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_EQUAL(fate(0), FATE_GIVEN);
	CU_ASSERT(!budget_take(account, BUDGET_FRAGMENTS, limit));
	now_ms += TIMEOUT_MS;
	CU_ASSERT_EQUAL(fragment_expire(table, now_ms, 10), 1);
	CU_ASSERT(budget_take(account, BUDGET_FRAGMENTS, limit));
	start(1);
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_EQUAL(fragment_count(table), 0);
	/* not even an overlap is remembered then, and that is all the same */
	CU_ASSERT_PTR_NULL(part_give(&whole, 65528, 16, true));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_OVERLAP));
	CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 4);
	for (unsigned i = 0; i < 4; i++)
		budget_give(account, BUDGET_FRAGMENTS);
	fragments_end();
}

/* A fragment of many mbufs takes as many; one that never fits costs no other its place. */
static void
test_units(void)
{
	fragments_begin(8);
	whole_build(&whole, FAMILY_IPV4, 47, 32768, 0);
	CU_ASSERT_PTR_NULL(part_give(&whole, 0, 16384, true));
	CU_ASSERT(budget_used(account, BUDGET_FRAGMENTS) >= 8);
	CU_ASSERT_EQUAL(fragment_count(table), 1);
	CU_ASSERT_PTR_NULL(part_give(&whole, 16384, 8192, true));
	expect_whole(part_give(&whole, 24576, 8192, false), &whole, part_ip_length(&whole, 16384));
	CU_ASSERT_EQUAL(budget_used(account, BUDGET_FRAGMENTS), 0);
	limit = 6;
	start(6);
	whole.id++;
	CU_ASSERT_PTR_NULL(part_give(&whole, 0, 16384, true));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_LIMIT));
	for (unsigned i = 1; i <= 6; i++)
		CU_ASSERT_EQUAL(fate(i), FATE_GIVEN);
	CU_ASSERT_EQUAL(fragment_count(table), 6);
	fragments_end();
}

/* A full table: whoever holds most gives up his oldest, be it for himself or for another. */
static void
test_full_table(void)
{
	uint32_t flood, quiet;

	fragments_begin(32);
	whole_build(&whole, FAMILY_IPV4, 47, 256, 0);
	account = &accounts[1];
	quiet = serial;
	start(5); /* older than all that follow */
	account = &accounts[0];
	flood = serial;
	start(27);
	CU_ASSERT_EQUAL(fragment_count(table), 32);
	start(200); /* the flood has only itself to drive out */
	CU_ASSERT_EQUAL(fragment_count(table), 32);
	CU_ASSERT_EQUAL(fates[flood + 199], DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_EQUAL(fates[flood + 200], FATE_GIVEN);
	/* somebody new finds room, and so does who has some already */
	account = &accounts[2];
	start(1);
	CU_ASSERT_EQUAL(fates[flood + 200], DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_EQUAL(fates[flood + 201], FATE_GIVEN);
	account = &accounts[1];
	start(1);
	CU_ASSERT_EQUAL(fates[flood + 201], DROPPED(FRAGMENT_LIMIT));
	for (unsigned i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(fates[quiet + i], FATE_GIVEN);
	CU_ASSERT_EQUAL(budget_used(&accounts[0], BUDGET_FRAGMENTS), 25);
	/* as many as anybody else: then one's own is the first to go */
	account = &accounts[3];
	start(16);
	CU_ASSERT_EQUAL(fragment_count(table), 32);
	account = &accounts[4];
	start(32);
	CU_ASSERT(budget_used(&accounts[4], BUDGET_FRAGMENTS) >= 6);
	CU_ASSERT_EQUAL(budget_used(&accounts[2], BUDGET_FRAGMENTS), 1);
	CU_ASSERT_EQUAL(budget_used(&accounts[1], BUDGET_FRAGMENTS), 6);
	fragments_end();
}

/* Who has as many as anybody makes room himself. */
static void
test_full_table_tie(void)
{
	uint32_t first = serial;

	fragments_begin(8);
	whole_build(&whole, FAMILY_IPV4, 47, 256, 0);
	for (unsigned i = 0; i < 2; i++) {
		account = &accounts[i];
		start(4);
	}
	for (unsigned i = 0; i < 6; i++) {
		account = &accounts[i % 2];
		start(1);
		CU_ASSERT_EQUAL(fates[first + i % 2 * 4 + i / 2], DROPPED(FRAGMENT_LIMIT));
		CU_ASSERT_EQUAL(budget_used(&accounts[0], BUDGET_FRAGMENTS), 4);
		CU_ASSERT_EQUAL(budget_used(&accounts[1], BUDGET_FRAGMENTS), 4);
	}
	fragments_end();
}

/* A table full of mbufs, with room for datagrams: likewise. */
static void
test_full_of_mbufs(void)
{
	uint32_t most = fragment_table_mbufs(8) - 16;
	uint32_t heavy = serial;

	fragments_begin(8);
	whole_build(&whole, FAMILY_IPV4, 47, 32 * 128, 0);
	for (unsigned i = 0; i < most; i++) {
		whole.id = i / 100;
		CU_ASSERT_PTR_NULL(part_give(&whole, i % 100 * 32, 32, true));
	}
	account = &accounts[1];
	whole.id = 7;
	for (unsigned i = 0; i < 30; i++) {
		CU_ASSERT_PTR_NULL(part_give(&whole, i * 32, 32, true));
		CU_ASSERT_EQUAL(fates[heavy], i < 16 ? FATE_GIVEN : DROPPED(FRAGMENT_LIMIT));
		CU_ASSERT_EQUAL(fates[heavy + 99], i < 16 ? FATE_GIVEN : DROPPED(FRAGMENT_LIMIT));
		CU_ASSERT_EQUAL(fates[heavy + 100], FATE_GIVEN);
	}
	CU_ASSERT_EQUAL(fragment_count(table), most - 100 + 30);
	CU_ASSERT_EQUAL(budget_used(&accounts[1], BUDGET_FRAGMENTS), 30);
	/* who has most, and nothing older than what he adds to, ends with that */
	account = &accounts[0];
	whole.id = 1;
	for (unsigned i = 0; i < 28; i++)
		CU_ASSERT_PTR_NULL(part_give(&whole, (100 + i) * 32, 32, true));
	whole.id = 2;
	for (unsigned i = 0; fates[heavy + 100] == FATE_GIVEN && i < 100; i++)
		CU_ASSERT_PTR_NULL(part_give(&whole, i * 32, 32, true));
	CU_ASSERT_EQUAL(fates[heavy + 100], DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_EQUAL(fate(0), FATE_GIVEN);
	CU_ASSERT_EQUAL(budget_used(&accounts[1], BUDGET_FRAGMENTS), 30);
	fragments_end();
}

/* The heaviest of all, one datagram alone, is what makes the table too full. */
static void
test_full_of_one(void)
{
	uint32_t others = fragment_table_mbufs(8) - 100;

	fragments_begin(8);
	whole_build(&whole, FAMILY_IPV6, 47, 32 * 128, 0);
	account = &accounts[1];
	for (unsigned i = 0; i < others; i++) {
		whole.id = i / 31;
		CU_ASSERT_PTR_NULL(part_give(&whole, i % 31 * 32, 32, true));
	}
	account = &accounts[0];
	whole.id = 99;
	for (unsigned i = 0; i < 100; i++)
		CU_ASSERT_PTR_NULL(part_give(&whole, i * 32, 32, true));
	CU_ASSERT_EQUAL(fragment_count(table), fragment_table_mbufs(8));
	CU_ASSERT_PTR_NULL(part_give(&whole, 3200, 32, true));
	for (unsigned i = 0; i < 101; i++)
		CU_ASSERT_EQUAL(fate(i), DROPPED(FRAGMENT_LIMIT));
	CU_ASSERT_EQUAL(fragment_count(table), others);
	CU_ASSERT_EQUAL(budget_used(&accounts[0], BUDGET_FRAGMENTS), 1);
	CU_ASSERT_EQUAL(budget_used(&accounts[1], BUDGET_FRAGMENTS), others);
	CU_ASSERT_PTR_NULL(part_give(&whole, 0, 32, true));
	CU_ASSERT_EQUAL(fate(0), DROPPED(FRAGMENT_LIMIT));
	fragments_end();
}

/* RFC 4787 REQ-14: floods from many accounts, and from spoiled datagrams, leave the quiet alone. */
static void
test_floods(void)
{
	static struct whole victim;

	fragments_begin(128);
	srand(5);
	whole_build(&victim, FAMILY_IPV6, IPPROTO_UDP, 1000, 0);
	whole_build(&whole, FAMILY_IPV4, 47, 256, 0);
	for (unsigned round = 0; round < 20; round++) {
		account = &accounts[63];
		victim.id++;
		CU_ASSERT_PTR_NULL(part_give(&victim, 0, 496, true));
		for (unsigned i = 0; i < 4000; i++) {
			account = &accounts[rand() % 50];
			whole.id = (uint32_t)rand() & 0xffff;
			whole.bytes[ETHER + 13] = (uint8_t)rand();
			(void)part_give(&whole, (uint32_t)rand() % 8 * 32, 32, true);
			if (round % 2 == 1)
				(void)part_give(&whole, (uint32_t)rand() % 8 * 24, 32, true);
		}
		CU_ASSERT(budget_used(&accounts[63], BUDGET_FRAGMENTS) >= 1);
		account = &accounts[63];
		expect_whole(
			part_give(&victim, 496, 504, false), &victim, part_ip_length(&victim, 504));
	}
	fragments_end();
}

/* The table itself holds no more mbufs than it says. */
static void
test_table_mbufs(void)
{
	uint32_t most = 0;

	fragments_begin(8);
	whole_build(&whole, FAMILY_IPV4, 47, 65000, 0);
	for (unsigned i = 0; i < 3000; i++) {
		account = &accounts[i % 7];
		whole.id = (uint32_t)rand() % 8;
		(void)part_give(&whole, i % 100 * 600, 600, true);
		most = RTE_MAX(most, rte_mempool_in_use_count(pool));
		CU_ASSERT(rte_mempool_in_use_count(pool) <= fragment_table_mbufs(8));
		CU_ASSERT(fragment_count(table) <= fragment_table_mbufs(8));
	}
	CU_ASSERT(most > 8 * 4);
	fragments_end();
}

static void
test_create(void)
{
	CU_ASSERT_PTR_NULL(fragment_table_create(0, &secret, &exits, SOCKET_ID_ANY));
	CU_ASSERT_PTR_NULL(fragment_table_create(UINT32_MAX, &secret, &exits, SOCKET_ID_ANY));
	fragment_table_free(NULL);
}

/* The same with little room: whatever comes together must still be of one name and in its place. */
static void
test_fuzz_limits(void)
{
	static struct whole wholes[64];
	unsigned together = 0;

	fragments_begin(20);
	srand(8);
	for (unsigned i = 0; i < 64; i++) {
		whole_build(&wholes[i], i % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6, 47,
			64 * (2 + i % 9), 0);
		wholes[i].id = i;
	}
	for (unsigned i = 0; i < 300000; i++) {
		unsigned which = (unsigned)rand() % (1 + i / 5000 % 64);
		struct whole *one = &wholes[which];
		uint32_t parts = (one->length - one->head) / 64;
		uint32_t part = (uint32_t)rand() % parts;
		uint32_t shift = rand() % 60 == 0 ? 8 : 0;
		struct rte_mbuf *mbuf;

		account = &accounts[which % 5];
		limit = 8 + which % 5 * 8;
		now_ms += (uint32_t)rand() % 400;
		mbuf = part_give(one, part * 64 + shift, 64 - shift, part + 1 < parts);
		if (mbuf != NULL) {
			together++;
			expect_whole(
				mbuf, one, mbuf->pkt_len == 0 ? 0 : packet_of(mbuf)->fragment_size);
		}
		if (rand() % 50 == 0)
			(void)fragment_expire(table, now_ms, 1 + (unsigned)rand() % 3);
		if (i % 16 == 0)
			for (unsigned j = 0; j < 5; j++)
				CU_ASSERT(budget_used(&accounts[j], BUDGET_FRAGMENTS) <= 8 + j * 8);
	}
	CU_ASSERT(together > 2000);
	fragments_end();
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"RFC 4787 REQ-14: limit of an account", test_limit},
		{"limit within one datagram", test_limit_itself},
		{"limit used up elsewhere", test_limit_elsewhere},
		{"fragments of many mbufs", test_units},
		{"RFC 4787 REQ-14: a full table", test_full_table},
		{"RFC 4787 REQ-14: a full table, shared evenly", test_full_table_tie},
		{"RFC 4787 REQ-14: a table full of mbufs", test_full_of_mbufs},
		{"RFC 4787 REQ-14: a table full of one datagram", test_full_of_one},
		{"RFC 4787 REQ-14: floods", test_floods},
		{"mbufs that a table holds", test_table_mbufs},
		{"sizes of tables", test_create},
		{"random fragments with little room", test_fuzz_limits},
	};

	fragments_setup();
	return UNIT_RUN("fragment limits", tests);
}
