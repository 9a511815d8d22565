/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The neighbour table: who gets an entry and who loses it, when questions are asked, and that a
 * reader never gets one host's MAC for another, whatever other threads claim meanwhile.
 */
#include "app/neighbour.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define MAC UINT64_C(0x020304050601)
#define BUCKET 8

static union address
host(uint32_t number)
{
	return address_v4(rte_cpu_to_be_32(0xc0a83200 + number));
}

/* --- entries --- */

static void
test_pinned(void)
{
	struct neighbour_table *table = neighbour_table_create(0, false);
	union address router = host(2);
	union address found;
	union address router6 = {.v6 = {0xfe, 0x80, [15] = 2}};

	CU_ASSERT_EQUAL(neighbour_find(table, FAMILY_IPV4, &router), NEIGHBOUR_NONE);
	CU_ASSERT_EQUAL(neighbour_state(table, FAMILY_IPV4), NEIGHBOUR_EMPTY);
	/* nothing can be learned about nobody */
	neighbour_learn(table, FAMILY_IPV4, MAC, 0);
	CU_ASSERT_EQUAL(neighbour_state(table, FAMILY_IPV4), NEIGHBOUR_EMPTY);
	CU_ASSERT_EQUAL(neighbour_mac(table, FAMILY_IPV4, NULL), 0);
	neighbour_pin(table, FAMILY_IPV4, &router, 0);
	neighbour_pin(table, FAMILY_IPV6, &router6, 0);
	CU_ASSERT_EQUAL(neighbour_index(table, FAMILY_IPV4, &router, 0), FAMILY_IPV4);
	CU_ASSERT_EQUAL(neighbour_index(table, FAMILY_IPV6, &router6, 0), FAMILY_IPV6);
	CU_ASSERT_EQUAL(neighbour_address(table, FAMILY_IPV6, &found), FAMILY_IPV6);
	CU_ASSERT(address_equal(&found, &router6));
	CU_ASSERT_EQUAL(neighbour_mac(table, FAMILY_IPV4, NULL), 0);
	neighbour_learn(table, FAMILY_IPV4, MAC, 0);
	CU_ASSERT_EQUAL(neighbour_mac(table, FAMILY_IPV4, NULL), MAC);
	CU_ASSERT_EQUAL(neighbour_state(table, FAMILY_IPV4), NEIGHBOUR_REACHABLE);
	CU_ASSERT_EQUAL(neighbour_state(table, FAMILY_IPV6), NEIGHBOUR_INCOMPLETE);
	/* no cache: nobody else */
	router = host(3);
	CU_ASSERT_EQUAL(neighbour_index(table, FAMILY_IPV4, &router, 0), NEIGHBOUR_NONE);
	neighbour_table_free(table);
}

/* Another network: the same addresses may be other stations. */
static void
test_forget(void)
{
	struct neighbour_table *table = neighbour_table_create(64, false);
	union address router = host(2), near = host(7);
	uint16_t index;

	neighbour_pin(table, FAMILY_IPV4, &router, 0);
	neighbour_learn(table, FAMILY_IPV4, MAC, 5000);
	index = neighbour_index(table, FAMILY_IPV4, &near, 5000);
	neighbour_learn(table, index, MAC + 1, 5000);
	neighbour_forget(table, 6000);
	CU_ASSERT_EQUAL(neighbour_mac(table, FAMILY_IPV4, NULL), 0);
	CU_ASSERT_EQUAL(neighbour_mac(table, index, &near), 0);
	CU_ASSERT_EQUAL(neighbour_state(table, FAMILY_IPV6), NEIGHBOUR_EMPTY);
	/* they keep their places, and are asked at once */
	CU_ASSERT_EQUAL(neighbour_find(table, FAMILY_IPV4, &near), index);
	CU_ASSERT(neighbour_should_ask(table, FAMILY_IPV4, 6000));
	CU_ASSERT(neighbour_should_ask(table, index, 6000));
	neighbour_heard(table, FAMILY_IPV4, &near, MAC + 2, 6001);
	CU_ASSERT_EQUAL(neighbour_mac(table, index, &near), MAC + 2);
	neighbour_table_free(table);
}

static void
test_claim(void)
{
	struct neighbour_table *table = neighbour_table_create(64, false);
	union address known = host(7);
	union address same_as_ipv6 = known;
	uint16_t index;

	CU_ASSERT_EQUAL(neighbour_find(table, FAMILY_IPV4, &known), NEIGHBOUR_NONE);
	neighbour_heard(table, FAMILY_IPV4, &known, MAC, 5); /* unknown: nothing is kept */
	CU_ASSERT_EQUAL(neighbour_find(table, FAMILY_IPV4, &known), NEIGHBOUR_NONE);
	index = neighbour_index(table, FAMILY_IPV4, &known, 5);
	CU_ASSERT(index >= NEIGHBOUR_PINNED && index < NEIGHBOUR_PINNED + 64);
	CU_ASSERT_EQUAL(neighbour_index(table, FAMILY_IPV4, &known, 6), index);
	CU_ASSERT_EQUAL(neighbour_find(table, FAMILY_IPV4, &known), index);
	CU_ASSERT_EQUAL(neighbour_state(table, index), NEIGHBOUR_INCOMPLETE);
	/* the same bytes in the other family are somebody else */
	CU_ASSERT_EQUAL(neighbour_find(table, FAMILY_IPV6, &same_as_ipv6), NEIGHBOUR_NONE);
	neighbour_heard(table, FAMILY_IPV6, &same_as_ipv6, MAC, 5);
	CU_ASSERT_EQUAL(neighbour_mac(table, index, &known), 0);
	neighbour_heard(table, FAMILY_IPV4, &known, MAC, 7);
	CU_ASSERT_EQUAL(neighbour_mac(table, index, &known), MAC);
	/* a caller who means another host gets nothing */
	same_as_ipv6.v6[3]++;
	CU_ASSERT_EQUAL(neighbour_mac(table, index, &same_as_ipv6), 0);
	same_as_ipv6.v6[3]--;
	same_as_ipv6.v6[15] = 1;
	CU_ASSERT_EQUAL(neighbour_mac(table, index, &same_as_ipv6), 0);
	/* he may move */
	neighbour_heard(table, FAMILY_IPV4, &known, MAC + 256, 8);
	CU_ASSERT_EQUAL(neighbour_mac(table, index, &known), MAC + 256);
	neighbour_table_free(table);
}

/* One bucket: who must go when a ninth host comes. */
static void
test_eviction(void)
{
	struct neighbour_table *table = neighbour_table_create(BUCKET, false);
	union address address;
	uint16_t index;

	for (uint32_t i = 0; i < BUCKET; i++) {
		address = host(10 + i);
		index = neighbour_index(table, FAMILY_IPV4, &address, 1000);
		CU_ASSERT_EQUAL(index, NEIGHBOUR_PINNED + i);
		if (i != 4)
			neighbour_learn(table, index, MAC + i * 256, 2000 + i * 10);
	}
	/* the one that never answered goes first, however young */
	address = host(100);
	CU_ASSERT_EQUAL(neighbour_index(table, FAMILY_IPV4, &address, 9000), NEIGHBOUR_PINNED + 4);
	address = host(14);
	CU_ASSERT_EQUAL(neighbour_find(table, FAMILY_IPV4, &address), NEIGHBOUR_NONE);
	/* a scan takes the place of a scan, not of hosts in use */
	for (uint32_t i = 0; i < 100; i++) {
		address = host(101 + i);
		CU_ASSERT_EQUAL(neighbour_index(table, FAMILY_IPV4, &address, 9000 + i),
			NEIGHBOUR_PINNED + 4);
	}
	/* all in use: the one longest unheard of */
	neighbour_learn(table, NEIGHBOUR_PINNED + 4, MAC, 10000);
	neighbour_learn(table, NEIGHBOUR_PINNED + 0, MAC, 10000);
	address = host(250);
	CU_ASSERT_EQUAL(neighbour_index(table, FAMILY_IPV4, &address, 10001), NEIGHBOUR_PINNED + 1);
	CU_ASSERT_EQUAL(neighbour_mac(table, NEIGHBOUR_PINNED + 1, &address), 0);
	address = host(11); /* who had it before */
	CU_ASSERT_EQUAL(neighbour_mac(table, NEIGHBOUR_PINNED + 1, &address), 0);
	neighbour_table_free(table);
}

static void
test_automatic(void)
{
	struct neighbour_table *table = neighbour_table_create(8, true);
	struct neighbour_table *vif = neighbour_table_create(0, true);
	union address address = host(7);
	union address address6 = {.v6 = {0x20, 0x01, [12] = 1, [13] = 2, [14] = 3, [15] = 4}};
	uint16_t index = neighbour_index(table, FAMILY_IPV4, &address, 0);
	uint64_t mac;
	uint8_t bytes[8];

	mac = neighbour_mac(table, index, &address);
	memcpy(bytes, &mac, sizeof(mac));
	CU_ASSERT_EQUAL(memcmp(bytes, "\x02\x01\xc0\xa8\x32\x07\0\0", 8), 0);
	index = neighbour_index(table, FAMILY_IPV6, &address6, 0);
	mac = neighbour_mac(table, index, &address6);
	memcpy(bytes, &mac, sizeof(mac));
	CU_ASSERT_EQUAL(memcmp(bytes, "\x02\x01\x01\x02\x03\x04\0\0", 8), 0);
	CU_ASSERT_FALSE(neighbour_should_confirm(table, index, 1000000));
	/* a qube teaches its MAC itself */
	neighbour_pin(vif, NEIGHBOUR_PEER, &address, 0);
	CU_ASSERT_EQUAL(neighbour_mac(vif, NEIGHBOUR_PEER, NULL), 0);
	neighbour_table_free(table);
	neighbour_table_free(vif);
}

/* --- questions --- */

/* At @p start the table is new; all times are told from there, and the clock may turn over. */
static void
ask_from(uint32_t start)
{
	struct neighbour_table *table = neighbour_table_create(8, false);
	union address address = host(7);
	uint16_t index = neighbour_index(table, FAMILY_IPV4, &address, start);
	unsigned asked = 0;

	for (uint32_t ms = 0; ms < 3000; ms++) {
		bool ask = neighbour_should_ask(table, index, start + ms);

		CU_ASSERT_EQUAL(ask, ms % 1000 == 0);
		asked += ask;
		CU_ASSERT_EQUAL(neighbour_state(table, index), NEIGHBOUR_INCOMPLETE);
	}
	CU_ASSERT_EQUAL(asked, 3);
	CU_ASSERT_FALSE(neighbour_should_ask(table, index, start + 3000));
	CU_ASSERT_EQUAL(neighbour_state(table, index), NEIGHBOUR_FAILED);
	CU_ASSERT_FALSE(neighbour_should_ask(table, index, start + 5999));
	CU_ASSERT_EQUAL(neighbour_state(table, index), NEIGHBOUR_FAILED);
	CU_ASSERT_TRUE(neighbour_should_ask(table, index, start + 6000));
	CU_ASSERT_EQUAL(neighbour_state(table, index), NEIGHBOUR_INCOMPLETE);
	CU_ASSERT_FALSE(neighbour_should_ask(table, index, start + 6001));
	CU_ASSERT_TRUE(neighbour_should_ask(table, index, start + 7000));
	neighbour_learn(table, index, MAC, start + 7100);
	CU_ASSERT_FALSE(neighbour_should_ask(table, index, start + 8000));
	CU_ASSERT_EQUAL(neighbour_mac(table, index, &address), MAC);
	/* an answer after the failure counts as well */
	neighbour_table_free(table);
}

static void
test_ask(void)
{
	ask_from(0);
	ask_from(5);
	ask_from(UINT32_MAX - 500);
	ask_from(UINT32_MAX - 3500);
	ask_from(UINT32_C(0x80000000) - 2000);
}

/* A host that nobody sent to for weeks is asked for at once, not weeks later. */
static void
test_ask_after_weeks(void)
{
	static const uint32_t days[] = {1, 20, 24, 25, 26, 30, 40, 49};

	for (unsigned i = 0; i < sizeof(days) / sizeof(days[0]); i++) {
		uint32_t later = days[i] * 24 * 3600 * 1000;
		struct neighbour_table *table = neighbour_table_create(8, false);
		union address address = host(7);

		neighbour_pin(table, FAMILY_IPV4, &address, 0);
		CU_ASSERT_TRUE(neighbour_should_ask(table, FAMILY_IPV4, later));
		/* a worker whose clock is a little behind does not ask again */
		CU_ASSERT_FALSE(neighbour_should_ask(table, FAMILY_IPV4, later - 1));
		CU_ASSERT_FALSE(neighbour_should_ask(table, FAMILY_IPV4, later - 900));
		for (uint32_t s = 1; s <= 3; s++)
			neighbour_should_ask(table, FAMILY_IPV4, later + s * 1000);
		CU_ASSERT_EQUAL(neighbour_state(table, FAMILY_IPV4), NEIGHBOUR_FAILED);
		CU_ASSERT_TRUE(neighbour_should_ask(table, FAMILY_IPV4, later + 3000 + later));
		neighbour_table_free(table);
	}
}

static void
test_confirm(void)
{
	struct neighbour_table *table = neighbour_table_create(8, false);
	union address address = host(7);

	neighbour_pin(table, FAMILY_IPV4, &address, 0);
	CU_ASSERT_FALSE(neighbour_should_confirm(table, FAMILY_IPV4, 50000)); /* not known */
	CU_ASSERT(neighbour_confirm_due_ms(table, FAMILY_IPV4, 50000) > 0);
	neighbour_learn(table, FAMILY_IPV4, MAC, 1000);
	CU_ASSERT_EQUAL(neighbour_confirm_due_ms(table, FAMILY_IPV4, 1000), 30000);
	CU_ASSERT_EQUAL(neighbour_confirm_due_ms(table, FAMILY_IPV4, 30999), 1);
	CU_ASSERT_EQUAL(neighbour_confirm_due_ms(table, FAMILY_IPV4, 31000), 0);
	CU_ASSERT_EQUAL(neighbour_confirm_due_ms(table, FAMILY_IPV6, 31000), 30000);
	CU_ASSERT_FALSE(neighbour_should_confirm(table, FAMILY_IPV4, 30999));
	CU_ASSERT_TRUE(neighbour_should_confirm(table, FAMILY_IPV4, 31000));
	CU_ASSERT_FALSE(neighbour_should_confirm(table, FAMILY_IPV4, 31999));
	CU_ASSERT_TRUE(neighbour_should_confirm(table, FAMILY_IPV4, 32000));
	CU_ASSERT_EQUAL(neighbour_mac(table, FAMILY_IPV4, NULL), MAC); /* in use meanwhile */
	/* an answer starts it all anew */
	neighbour_learn(table, FAMILY_IPV4, MAC, 32500);
	CU_ASSERT_FALSE(neighbour_should_confirm(table, FAMILY_IPV4, 62499));
	for (uint32_t s = 0; s < 3; s++)
		CU_ASSERT_TRUE(neighbour_should_confirm(table, FAMILY_IPV4, 62500 + s * 1000));
	CU_ASSERT_FALSE(neighbour_should_confirm(table, FAMILY_IPV4, 65500));
	CU_ASSERT_EQUAL(neighbour_state(table, FAMILY_IPV4), NEIGHBOUR_INCOMPLETE);
	CU_ASSERT_TRUE(neighbour_should_ask(table, FAMILY_IPV4, 66500));
	neighbour_table_free(table);
}

/* --- threads --- */

/*
 * Two threads take hosts through a table of one bucket as fast as they can, a third hears from
 * them, a fourth reads. Every MAC tells whose it is, so a wrong one is seen at once.
 */
#define RACE_HOSTS 24
#define RACE_ROUNDS 200000

static struct neighbour_table *race_table;
static atomic_bool race_over;
static atomic_uint race_wrong, race_read, race_turns;

static uint64_t
race_mac(uint32_t number)
{
	return UINT64_C(0x020000000000) | number;
}

static void *
race_claim(void *argument)
{
	uint32_t random = (uint32_t)(uintptr_t)argument;

	for (uint32_t i = 0; i < RACE_ROUNDS; i++) {
		uint32_t number;
		union address address;
		uint16_t index;

		random = random * 1664525 + 1013904223;
		number = (random >> 16) % RACE_HOSTS;
		address = host(number);
		index = neighbour_index(race_table, FAMILY_IPV4, &address, i);
		if (index < NEIGHBOUR_PINNED || index >= NEIGHBOUR_PINNED + BUCKET)
			atomic_fetch_add(&race_wrong, 1);
		if (random & 1)
			neighbour_heard(race_table, FAMILY_IPV4, &address, race_mac(number), i);
		else if (random & 2)
			neighbour_should_ask(race_table, index, i);
	}
	return NULL;
}

static void *
race_hear(void *argument)
{
	(void)argument;
	while (!atomic_load(&race_over))
		for (uint32_t number = 0; number < RACE_HOSTS; number++) {
			union address address = host(number);

			neighbour_heard(race_table, FAMILY_IPV4, &address, race_mac(number), 0);
		}
	return NULL;
}

static void *
race_look(void *argument)
{
	(void)argument;
	while (!atomic_load(&race_over))
		for (uint32_t number = 0; number < RACE_HOSTS; number++) {
			union address address = host(number);

			for (uint16_t i = NEIGHBOUR_PINNED; i < NEIGHBOUR_PINNED + BUCKET; i++) {
				uint64_t mac = neighbour_mac(race_table, i, &address);

				if (mac == 0)
					continue;
				atomic_fetch_add(&race_read, 1);
				if (mac != race_mac(number))
					atomic_fetch_add(&race_wrong, 1);
			}
		}
	return NULL;
}

static void
test_race(void)
{
	pthread_t threads[4];

	race_table = neighbour_table_create(BUCKET, false);
	pthread_create(&threads[0], NULL, race_claim, (void *)(uintptr_t)1);
	pthread_create(&threads[1], NULL, race_claim, (void *)(uintptr_t)99);
	pthread_create(&threads[2], NULL, race_look, NULL);
	pthread_create(&threads[3], NULL, race_hear, NULL);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	atomic_store(&race_over, true);
	pthread_join(threads[2], NULL);
	pthread_join(threads[3], NULL);
	CU_ASSERT_EQUAL(race_wrong, 0);
	CU_ASSERT(race_read > 0);
	neighbour_table_free(race_table);
}

static void *
race_ask(void *argument)
{
	(void)argument;
	for (uint32_t ms = 0; ms < 2900; ms++)
		for (unsigned again = 0; again < 20; again++)
			atomic_fetch_add(
				&race_turns, neighbour_should_ask(race_table, FAMILY_IPV4, ms));
	return NULL;
}

/* Exactly one caller gets the turn. */
static void
test_race_for_the_turn(void)
{
	pthread_t threads[4];
	union address address = host(2);

	for (unsigned round = 0; round < 10; round++) {
		race_table = neighbour_table_create(0, false);
		neighbour_pin(race_table, FAMILY_IPV4, &address, 0);
		atomic_store(&race_turns, 0);
		for (unsigned i = 0; i < 4; i++)
			pthread_create(&threads[i], NULL, race_ask, NULL);
		for (unsigned i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		CU_ASSERT_EQUAL(race_turns, 3);
		CU_ASSERT_EQUAL(neighbour_state(race_table, FAMILY_IPV4), NEIGHBOUR_INCOMPLETE);
		neighbour_table_free(race_table);
	}
}

/* What a question would make of an entry is what it then makes of it, and is not done by asking. */
static void
test_next_state(void)
{
	struct neighbour_table *table = neighbour_table_create(64, false);
	union address address = host(9);
	uint16_t index = neighbour_index(table, FAMILY_IPV4, &address, 100);
	unsigned failed = 0, again = 0;

	for (uint32_t now_ms = 100; now_ms < 20000; now_ms += 250) {
		enum neighbour_state before = neighbour_state(table, index);
		enum neighbour_state next = neighbour_state_next(table, index, now_ms);

		CU_ASSERT_EQUAL(neighbour_state(table, index), before);
		(void)neighbour_should_ask(table, index, now_ms);
		CU_ASSERT_EQUAL(neighbour_state(table, index), next);
		failed += next == NEIGHBOUR_FAILED && before == NEIGHBOUR_INCOMPLETE;
		again += next == NEIGHBOUR_INCOMPLETE && before == NEIGHBOUR_FAILED;
	}
	CU_ASSERT(failed > 1 && again > 1);
	neighbour_learn(table, index, MAC, 20000);
	CU_ASSERT_EQUAL(neighbour_state_next(table, index, 90000), NEIGHBOUR_REACHABLE);
	neighbour_table_free(table);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"pinned entries", test_pinned},
		{"another network", test_forget},
		{"claims", test_claim},
		{"eviction", test_eviction},
		{"automatic neighbours", test_automatic},
		{"questions", test_ask},
		{"questions after weeks of silence", test_ask_after_weeks},
		{"the state after a question", test_next_state},
		{"confirmation", test_confirm},
		{"claims and readers in threads", test_race},
		{"questions in threads", test_race_for_the_turn},
	};

	return UNIT_RUN("neighbour", tests);
}
