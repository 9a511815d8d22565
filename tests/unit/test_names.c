/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of addresses of names: what is found for how long, what gives way when it is full, and
 * that threads which write and read at once see whole entries only.
 */
#include "classifier/names.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_common.h>

#define LIFE_MS 60000U

static union address
address_number(enum family family, uint32_t number)
{
	union address address = {.half = {0, 0}};

	if (family == FAMILY_IPV4)
		return address_v4(rte_cpu_to_be_32(UINT32_C(0x0a000000) + number));
	address.word[0] = RTE_BE32(UINT32_C(0x20010db8));
	address.word[3] = rte_cpu_to_be_32(number);
	return address;
}

static void
learn(struct names *names, uint16_t id, enum family family, uint32_t number, uint32_t now_ms,
	uint32_t life_ms)
{
	union address address = address_number(family, number);

	names_learn(names, id, family, &address, 1, now_ms, life_ms);
}

/* Whether a name is found; nothing may be found twice. */
static bool
has(const struct names *names, uint16_t id, enum family family, uint32_t number, uint32_t now_ms,
	bool open)
{
	union address address = address_number(family, number);
	uint16_t ids[NAMES_FOUND_MAX];
	unsigned count = names_find(names, family, &address, now_ms, open, ids);
	unsigned found = 0;

	for (unsigned i = 0; i < count; i++)
		found += ids[i] == id;
	CU_ASSERT_TRUE(found <= 1);
	return found != 0;
}

static void
test_sound(void)
{
	static const char *const good[] = {"a", "example.org", "a-b.c_d", "1.2.3.4", "-.-"};
	static const char *const bad[] = {"", ".", "..", "a..b", ".a", "a.", "A", "a b", "a\n",
		"0123456789012345678901234567890123456789012345678901234567890123"};
	char text[NAME_TEXT_SIZE + 2] = "";

	for (unsigned i = 0; i < RTE_DIM(good); i++)
		CU_ASSERT_TRUE(name_is_sound(good[i]));
	for (unsigned i = 0; i < RTE_DIM(bad); i++)
		CU_ASSERT_FALSE(name_is_sound(bad[i]));
	for (unsigned i = 0; i < NAME_TEXT_SIZE - 1; i++)
		text[i] = i % 50 == 49 ? '.' : 'a';
	CU_ASSERT_TRUE(name_is_sound(text));
	strcat(text, "a");
	CU_ASSERT_FALSE(name_is_sound(text));
}

/* An address opens flows for its time, and counts for open ones a day longer. */
static void
test_time(void)
{
	/* where the clock begins anew, too */
	static const uint32_t starts[] = {0, 1000, UINT32_MAX - 10, UINT32_C(0x7ffffff0)};

	for (unsigned i = 0; i < RTE_DIM(starts); i++) {
		for (unsigned family = 0; family < FAMILIES; family++) {
			struct names *names = names_new();
			uint32_t now = starts[i];

			CU_ASSERT_PTR_NOT_NULL_FATAL(names);
			CU_ASSERT_FALSE(has(names, 1, family, 1, now, true));
			learn(names, 1, family, 1, now, LIFE_MS);
			CU_ASSERT_TRUE(has(names, 1, family, 1, now, false));
			CU_ASSERT_FALSE(has(names, 1, family, 2, now, true));
			CU_ASSERT_FALSE(has(names, 1, !family, 1, now, true));
			CU_ASSERT_FALSE(has(names, 2, family, 1, now, true));
			CU_ASSERT_TRUE(has(names, 1, family, 1, now + LIFE_MS, false));
			CU_ASSERT_FALSE(has(names, 1, family, 1, now + LIFE_MS + 1, false));
			now += LIFE_MS + NAME_GRACE_MS;
			CU_ASSERT_TRUE(has(names, 1, family, 1, now, true));
			CU_ASSERT_FALSE(has(names, 1, family, 1, now + 1, true));
			names_unref(names);
		}
	}
}

/* An entry keeps the longer of two times. */
static void
test_renewal(void)
{
	struct names *names = names_new();

	learn(names, 1, FAMILY_IPV4, 1, 0, 5000);
	learn(names, 1, FAMILY_IPV4, 1, 1000, 1000);
	CU_ASSERT_TRUE(has(names, 1, FAMILY_IPV4, 1, 5000, false));
	learn(names, 1, FAMILY_IPV4, 1, 4000, 5000);
	CU_ASSERT_TRUE(has(names, 1, FAMILY_IPV4, 1, 9000, false));
	CU_ASSERT_FALSE(has(names, 1, FAMILY_IPV4, 1, 9001, false));
	CU_ASSERT_EQUAL(names_entered(names), 1);
	/* what was over is news when it comes back */
	learn(names, 1, FAMILY_IPV4, 1, 20000, 5000);
	CU_ASSERT_TRUE(has(names, 1, FAMILY_IPV4, 1, 25000, false));
	CU_ASSERT_EQUAL(names_entered(names), 2);
	names_unref(names);
}

/* One address may have as many names as fit, and each of them its own time. */
static void
test_shared_address(void)
{
	struct names *names = names_new();

	for (uint16_t id = 1; id <= 100; id++)
		learn(names, id, FAMILY_IPV4, 7, 0, 1000u * id);
	for (uint16_t id = 1; id <= 100; id++) {
		CU_ASSERT_TRUE(has(names, id, FAMILY_IPV4, 7, 1000u * id, false));
		CU_ASSERT_FALSE(has(names, id, FAMILY_IPV4, 7, 1000u * id + 1, false));
	}
	names_unref(names);
}

/* A name with too many addresses loses the one that ends first, and nobody else loses any. */
static void
test_name_limit(void)
{
	struct names *names = names_new();

	learn(names, 2, FAMILY_IPV4, 500, 0, 1);
	for (uint32_t i = 0; i < NAME_ADDRESSES_MAX; i++)
		learn(names, 1, FAMILY_IPV4, i, 0, LIFE_MS + i);
	for (uint32_t i = 0; i < NAME_ADDRESSES_MAX; i++)
		CU_ASSERT_TRUE(has(names, 1, FAMILY_IPV4, i, 0, false));
	for (uint32_t i = 0; i < 10; i++)
		learn(names, 1, FAMILY_IPV6, i, 0, 2 * LIFE_MS);
	for (uint32_t i = 0; i < NAME_ADDRESSES_MAX; i++)
		CU_ASSERT_EQUAL(has(names, 1, FAMILY_IPV4, i, 0, true), i >= 10);
	for (uint32_t i = 0; i < 10; i++)
		CU_ASSERT_TRUE(has(names, 1, FAMILY_IPV6, i, 0, false));
	CU_ASSERT_TRUE(has(names, 2, FAMILY_IPV4, 500, 0, false));
	names_unref(names);
}

/* A table that is full takes what comes, in place of what ends first nearby. */
static void
test_full(void)
{
	struct names *names = names_new();
	unsigned kept = 0;

	for (uint32_t i = 0; i < 4 * NAME_PLACES; i++) {
		uint16_t id = (uint16_t)(1 + i / (NAME_ADDRESSES_MAX / 2));

		learn(names, id, FAMILY_IPV4, i, 0, LIFE_MS + i);
		CU_ASSERT_TRUE(has(names, id, FAMILY_IPV4, i, 0, false));
	}
	for (uint32_t i = 0; i < 4 * NAME_PLACES; i++)
		kept += has(names, (uint16_t)(1 + i / (NAME_ADDRESSES_MAX / 2)), FAMILY_IPV4, i, 0,
			false);
	CU_ASSERT_TRUE(kept <= NAME_PLACES && kept > NAME_PLACES * 9 / 10);
	names_unref(names);
}

static bool
only_two(const void *context, uint16_t id)
{
	(void)context;
	return id == 2;
}

static void
test_sweep(void)
{
	struct names *names = names_new();

	learn(names, 1, FAMILY_IPV4, 1, 0, LIFE_MS);
	learn(names, 2, FAMILY_IPV4, 1, 0, LIFE_MS);
	learn(names, 2, FAMILY_IPV4, 2, 0, 0);
	names_sweep(names, only_two, NULL, NAME_GRACE_MS + 1);
	CU_ASSERT_FALSE(has(names, 1, FAMILY_IPV4, 1, 0, true));
	CU_ASSERT_TRUE(has(names, 2, FAMILY_IPV4, 1, 0, false));
	CU_ASSERT_FALSE(has(names, 2, FAMILY_IPV4, 2, 0, true));
	/* half a turn of the clock later it would be young again */
	CU_ASSERT_FALSE(has(names, 2, FAMILY_IPV4, 2, UINT32_C(1) << 31, true));
	names_unref(names);
}

struct heard {
	unsigned count;
	struct name_address last;
};

static void
hear(void *context, const struct name_address *address)
{
	struct heard *heard = context;

	heard->count++;
	heard->last = *address;
}

static void
test_news(void)
{
	struct names *names = names_new();
	struct heard heard = {0};
	union address six = address_number(FAMILY_IPV6, 9);

	learn(names, 3, FAMILY_IPV4, 1, 0, LIFE_MS);
	names_news(names, 0, hear, &heard);
	CU_ASSERT_EQUAL(heard.count, 1);
	CU_ASSERT_EQUAL(heard.last.id, 3);
	CU_ASSERT_EQUAL(heard.last.left_ms, LIFE_MS);
	names_news(names, 0, hear, &heard);
	CU_ASSERT_EQUAL(heard.count, 1);
	learn(names, 4, FAMILY_IPV6, 9, 0, LIFE_MS);
	names_news(names, 10, hear, &heard);
	CU_ASSERT_EQUAL(heard.count, 2);
	CU_ASSERT_EQUAL(heard.last.family, FAMILY_IPV6);
	CU_ASSERT_TRUE(address_equal(&heard.last.address, &six));
	names_walk(names, LIFE_MS + 1, hear, &heard);
	CU_ASSERT_EQUAL(heard.count, 4);
	CU_ASSERT_EQUAL(heard.last.left_ms, 0);
	names_unref(names);
}

static void
test_numbers(void)
{
	struct names *names = names_new();

	CU_ASSERT_EQUAL(names_new_from(names), 1);
	for (unsigned i = 1; i <= UINT16_MAX; i++) {
		CU_ASSERT_EQUAL_FATAL(names_number(names), i);
		if (i % 1000 == 0)
			CU_ASSERT_EQUAL(names_new_from(names), i - 999);
	}
	CU_ASSERT_EQUAL(names_new_from(names), 65001);
	CU_ASSERT_EQUAL(names_new_from(names), UINT16_MAX + 1);
	CU_ASSERT_EQUAL(names_number(names), 0);
	CU_ASSERT_EQUAL(names_number(names), 0);
	learn(names, 0, FAMILY_IPV4, 1, 0, LIFE_MS);
	CU_ASSERT_FALSE(has(names, 0, FAMILY_IPV4, 1, 0, true));
	names_unref(names);
}

static void
test_index(void)
{
	struct rule rules[] = {
		{.destination = DESTINATION_NAME, .name = "b.example", .name_id = 7},
		{.destination = DESTINATION_ANY},
		{.destination = DESTINATION_NAME, .name = "a.example", .name_id = 9},
		{.destination = DESTINATION_NAME, .name = "b.example", .name_id = 7},
		{.destination = DESTINATION_NAME, .name = "a..b"},
	};
	struct ruleset ruleset = {.count = RTE_DIM(rules), .rules = rules};
	struct name_index *index = name_index_new(&ruleset);

	CU_ASSERT_PTR_NOT_NULL_FATAL(index);
	CU_ASSERT_EQUAL(index->count, 2);
	CU_ASSERT_EQUAL(name_index_find(index, "a.example"), 9);
	CU_ASSERT_EQUAL(name_index_find(index, "b.example"), 7);
	CU_ASSERT_EQUAL(name_index_find(index, "a..b"), 0);
	CU_ASSERT_EQUAL(name_index_find(index, "example"), 0);
	CU_ASSERT_STRING_EQUAL(name_index_text(index, 9), "a.example");
	CU_ASSERT_TRUE(name_index_has(index, 7));
	CU_ASSERT_FALSE(name_index_has(index, 8));
	free(index);
}

/*
 * Writers of several names that fight for the same few buckets, and readers. The address of number
 * n is entered for the name 1 + n % 8 and no other: whoever reads another name for it has read half
 * of one entry and half of the next.
 */
#define NUMBERS 20000U
#define ROUNDS 60000U

static struct names *contended;
static atomic_bool writing;

static void *
write_many(void *argument)
{
	uint32_t state = (uint32_t)(uintptr_t)argument;

	for (unsigned i = 0; i < ROUNDS; i++) {
		state = state * 1664525u + 1013904223u;
		uint32_t number = (state >> 8) % NUMBERS;

		learn(contended, (uint16_t)(1 + number % 8), FAMILY_IPV4, number, i, LIFE_MS);
	}
	return NULL;
}

static void *
read_many(void *argument)
{
	unsigned *wrong = argument;
	uint32_t state = 5;

	while (atomic_load(&writing)) {
		union address address;
		uint16_t ids[NAMES_FOUND_MAX];
		unsigned count;

		state = state * 1664525u + 1013904223u;
		address = address_number(FAMILY_IPV4, (state >> 8) % NUMBERS);
		count = names_find(contended, FAMILY_IPV4, &address, 0, true, ids);
		for (unsigned i = 0; i < count; i++)
			*wrong += ids[i] != 1 + (state >> 8) % NUMBERS % 8;
	}
	return NULL;
}

static void
test_threads(void)
{
	pthread_t writers[3], reader;
	unsigned wrong = 0;

	contended = names_new();
	atomic_store(&writing, true);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&reader, NULL, read_many, &wrong), 0);
	for (uintptr_t i = 0; i < RTE_DIM(writers); i++)
		CU_ASSERT_EQUAL_FATAL(
			pthread_create(&writers[i], NULL, write_many, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < RTE_DIM(writers); i++)
		pthread_join(writers[i], NULL);
	atomic_store(&writing, false);
	pthread_join(reader, NULL);
	CU_ASSERT_EQUAL(wrong, 0);
	/* And nothing is stuck: another entry is taken and found. */
	for (uint32_t number = NUMBERS; number < NUMBERS + 1000; number++) {
		learn(contended, 9, FAMILY_IPV4, number, ROUNDS, LIFE_MS);
		CU_ASSERT_TRUE(has(contended, 9, FAMILY_IPV4, number, ROUNDS, false));
	}
	names_unref(contended);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"which names can be asked for", test_sound},
		{"an address opens flows for its time and counts a day longer", test_time},
		{"an entry keeps the longer of two times", test_renewal},
		{"one address, a hundred names", test_shared_address},
		{"a name with too many addresses", test_name_limit},
		{"a full table takes what comes", test_full},
		{"what is of no use is swept out", test_sweep},
		{"news are told once", test_news},
		{"numbers of names end", test_numbers},
		{"names by their text", test_index},
		{"writers and readers at once", test_threads},
	};

	unit_eal();
	return UNIT_RUN("names", tests);
}
