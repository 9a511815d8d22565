/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The journal of kept changes as bytes: what a power failure leaves of its last record is left out,
 * and everything else that is not as it was written is damage.
 */
#include "conf/changes_journal.h"

#include <errno.h>

#include <rte_common.h>

#include "conf/rule_text.h"
#include "tests/unit/unit.h"

#define NOW_S UINT64_C(1800000000)
#define SIZE 8192u
#define STEPS 5u

static char said[1024];

static void
say(void *context, const char *line)
{
	(void)context;
	snprintf(said, sizeof(said), "%s", line);
}

static const struct report report = {say, NULL};

/* A journal of some records, and where each of them ends. */
static char journal[SIZE + 1];
static size_t ends[STEPS + 1];

static struct changes *
state(unsigned step)
{
	static const char *const rule[STEPS + 1] = {"action=drop", "action=accept proto=icmp",
		"action=accept dst4=192.0.2.1 comment=\"a b\"", "action=drop proto=udp",
		"action=accept comment=\"@@ @@\"", "action=drop dst6=2001:db8::/32"};
	struct changes *changes = changes_new();
	struct qube_change *change = calloc(1, sizeof(*change));
	char reason[RULE_ERROR_SIZE];

	change->references = 1;
	change->layer = ORIGIN_KEPT;
	strcpy(change->qube, "work");
	change->ruleset.rules = calloc(STEPS + 1, sizeof(struct rule));
	for (unsigned i = 0; i <= step; i++)
		CU_ASSERT_EQUAL_FATAL(
			rule_parse(rule[i], 0, &change->ruleset.rules[i], reason, sizeof(reason)),
			0);
	change->ruleset.count = step + 1;
	CU_ASSERT_EQUAL_FATAL(changes_qube_put(changes, change), 0);
	return changes;
}

/* Records with numbers 5 and on. */
static void
journal_make(void)
{
	struct changes *before = changes_new();

	memset(journal, 0, sizeof(journal));
	ends[0] = journal_header(journal, sizeof(journal), SIZE);
	for (unsigned step = 0; step < STEPS; step++) {
		struct changes *after = state(step);
		size_t length;
		char *record = journal_record(before, after, 5 + step, NOW_S, &length);

		CU_ASSERT_PTR_NOT_NULL_FATAL(record);
		CU_ASSERT_TRUE_FATAL(ends[step] + length < SIZE);
		memcpy(journal + ends[step], record, length);
		ends[step + 1] = ends[step] + length;
		free(record);
		changes_free(before);
		before = after;
	}
	changes_free(before);
}

#define DAMAGED UINT_MAX

/*
 * Read it beside a base that has some of it.
 * @return how many rules there are then; DAMAGED: it was refused
 */
static unsigned
rules_read(size_t size, uint64_t sequence, struct journal_content *content)
{
	struct changes_reader reader = {.path = "journal",
		.now_s = NOW_S,
		.report = &report,
		.changes = changes_new(),
		.sequence = sequence};
	char after = journal[size];
	unsigned rules;
	int error;

	said[0] = '\0';
	journal[size] = '\0';
	error = journal_apply(&reader, journal, size, content);
	journal[size] = after;
	qube_change_unref(reader.qube);
	rules = reader.changes->qube_count != 0 ? reader.changes->qubes[0]->ruleset.count : 0;
	changes_free(reader.changes);
	CU_ASSERT_TRUE(error == 0 || error == -EINVAL);
	CU_ASSERT_EQUAL(error != 0, strstr(said, "put copies") != NULL);
	return error == 0 ? rules : DAMAGED;
}

static void
test_whole(void)
{
	struct journal_content content;

	journal_make();
	CU_ASSERT_EQUAL(rules_read(SIZE, 4, &content), STEPS);
	CU_ASSERT_EQUAL(content.records, STEPS);
	CU_ASSERT_EQUAL(content.used, ends[STEPS]);
	CU_ASSERT_FALSE(content.torn);
	CU_ASSERT_STRING_EQUAL(said, "");
	/* a newer base has some of it, or all */
	CU_ASSERT_EQUAL(rules_read(SIZE, 6, &content), STEPS);
	CU_ASSERT_EQUAL(rules_read(SIZE, 9, &content), 0);
	CU_ASSERT_EQUAL(rules_read(SIZE, 100, &content), 0);
	CU_ASSERT_EQUAL(content.records, STEPS);
	/* an older one has not what came before */
	CU_ASSERT_EQUAL(rules_read(SIZE, 3, &content), DAMAGED);
	CU_ASSERT_PTR_NOT_NULL(strstr(said,
		"journal:2: changes before number 5 are missing, changes.json has those up to 3"));
	/* nothing in it */
	memset(journal + ends[0], 0, SIZE - ends[0]);
	CU_ASSERT_EQUAL(rules_read(SIZE, 4, &content), 0);
	CU_ASSERT_EQUAL(content.records, 0);
	CU_ASSERT_EQUAL(content.used, ends[0]);
}

/* The file has the size that it says. */
static void
test_size(void)
{
	struct journal_content content;
	unsigned wrong = 0;

	journal_make();
	for (size_t size = 0; size < SIZE; size++)
		wrong += rules_read(size, 4, &content) != DAMAGED;
	CU_ASSERT_EQUAL(wrong, 0);
}

/* The power fails behind any byte of any record. */
static void
test_torn(void)
{
	struct journal_content content;
	unsigned wrong = 0, told = 0;

	for (unsigned step = 0; step < STEPS; step++)
		for (size_t at = ends[step]; at < ends[step + 1]; at++) {
			journal_make();
			memset(journal + at, 0, SIZE - at);
			wrong += rules_read(SIZE, 4, &content) != step;
			wrong += content.torn != (at > ends[step]);
			wrong += content.used != ends[step];
			told += strstr(said, "was being written") != NULL;
		}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(told, ends[STEPS] - ends[0] - STEPS);
}

/* Some sectors of the last record come to the disk, others do not. */
static void
test_sectors(void)
{
	struct changes *before = changes_new(), *after = state(0);
	struct journal_content content;
	struct rule *rule = &after->qubes[0]->ruleset.rules[0];
	size_t length;
	char *record;
	unsigned wrong = 0;

	journal_make();
	rule->comment = malloc(3000);
	memset(rule->comment, ' ', 2999);
	rule->comment[2999] = '\0';
	record = journal_record(before, after, 5 + STEPS, NOW_S, &length);
	CU_ASSERT_TRUE_FATAL(length > 3000 && ends[STEPS] + length < SIZE);
	for (unsigned arrived = 0; arrived < 256; arrived++) {
		for (size_t i = 0; i < length; i++) {
			size_t sector = (ends[STEPS] + i) / 512 - ends[STEPS] / 512;

			journal[ends[STEPS] + i] = arrived >> sector & 1 ? record[i] : '\0';
		}
		if (memcmp(journal + ends[STEPS], record, length) == 0)
			continue;
		wrong += rules_read(SIZE, 4, &content) != STEPS;
		wrong += content.used != ends[STEPS];
	}
	CU_ASSERT_EQUAL(wrong, 0);
	/* zeroes that are no sector are no power failure */
	memcpy(journal + ends[STEPS], record, length);
	for (unsigned i = 0; i < 3; i++) {
		static const unsigned place[] = {1200, 511, 0}; /* from the start of a sector */
		size_t at = ends[STEPS] / 512 * 512 + 512 + place[i];
		char byte = journal[at];

		journal[at] = '\0';
		CU_ASSERT_EQUAL(rules_read(SIZE, 4, &content), DAMAGED);
		journal[at] = byte;
	}
	free(record);
	changes_free(before);
	changes_free(after);
}

/* Every bit of every record, and of the zeroes behind them. */
static void
test_damage(void)
{
	struct journal_content content;
	unsigned good = 0;

	journal_make();
	for (size_t at = 0; at < ends[STEPS]; at++)
		for (unsigned bit = 0; bit < 8; bit++) {
			journal[at] ^= (char)(1 << bit);
			good += rules_read(SIZE, 4, &content) != DAMAGED;
			journal[at] ^= (char)(1 << bit);
		}
	CU_ASSERT_EQUAL(good, 0);
	/* records that are gone, twice there, or come in another order */
	memmove(journal + ends[1], journal + ends[2], SIZE - ends[2]);
	CU_ASSERT_EQUAL(rules_read(SIZE, 4, &content), DAMAGED);
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "journal:3: change 7 follows change 5"));
	journal_make();
	memmove(journal + ends[2], journal + ends[1], ends[2] - ends[1]);
	CU_ASSERT_EQUAL(rules_read(SIZE, 4, &content), DAMAGED);
	/* a whole one behind what never was one */
	journal_make();
	memset(journal + ends[2], 0, ends[3] - ends[2]);
	CU_ASSERT_EQUAL(rules_read(SIZE, 4, &content), DAMAGED);
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "journal:4: the checksum does not match the record"));
}

/* Sound as to their checksum, and wrong. */
static void
test_records(void)
{
	static const struct {
		const char *record, *reason;
	} rows[] = {
		{"{\"sequence\":5", "is no record of the journal"},
		{"[1", "is not JSON"},
		{"{\"sequence\":-5,\"changes\":[]", "is no record of the journal"},
		{"{\"sequence\":5,\"changes\":{}", "is no record of the journal"},
		{"{\"sequence\":5,\"changes\":[],\"more\":1", "is no record of the journal"},
		{"{\"sequence\":5,\"changes\":[1]", "a qube without its rules"},
		{"{\"sequence\":5,\"changes\":[{\"qube\":1}]", "a qube without its rules"},
		{"{\"sequence\":5,\"changes\":[{\"qube\":\"work\",\"policy\":\"drop\"}]",
			"a qube without its rules"},
		{"{\"sequence\":5,\"changes\":[{\"qube\":\"work\",\"policy\":\"no\",\"rules\":[]}]",
			"policy: \"no\" is neither accept nor drop"},
		{"{\"sequence\":5,\"changes\":[{\"qube\":\"work\",\"policy\":\"drop\",\"rules\":[{"
		 "\"rule\":\"action=drop\"},{\"rule\":\"action=fly\"}]}]",
			"action: \"fly\" is not an action; allowed: accept, drop"},
		{"{\"sequence\":5,\"changes\":[{\"forward\":1}]", "is no line about a forward"},
		{"{\"sequence\":5,\"changes\":[{\"forward\":\"web\",\"qube\":\"work\",\"rule\":"
		 "\"x\"}]",
			"x"},
	};
	struct journal_content content;

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		size_t length = strlen(rows[i].record), at;

		memset(journal, 0, sizeof(journal));
		at = journal_header(journal, sizeof(journal), SIZE);
		snprintf(journal + at, SIZE - at, "%s,\"checksum\":\"%016llx\"}\n", rows[i].record,
			(unsigned long long)changes_checksum(rows[i].record, length));
		CU_ASSERT_EQUAL(rules_read(SIZE, 4, &content), DAMAGED);
		if (strstr(said, rows[i].reason) == NULL)
			fprintf(stderr, "expected %s\ngot      %s\n", rows[i].reason, said);
		CU_ASSERT_PTR_NOT_NULL(strstr(said, rows[i].reason));
		CU_ASSERT_EQUAL(strncmp(said, "journal:2: ", 11), 0);
	}
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"whole", test_whole},
		{"cut off", test_size},
		{"a last record that is torn at any byte", test_torn},
		{"and at any sector", test_sectors},
		{"every bit, and the order", test_damage},
		{"records that are wrong", test_records},
	};

	return UNIT_RUN("changes_journal", tests);
}
