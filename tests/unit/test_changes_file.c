/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kept changes on disk: what is written is read again, a fault at any step leaves the old file, a
 * damaged one is refused with its line.
 */
#include "conf/changes_file.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rte_common.h>

#include "conf/rule_text.h"
#include "tests/unit/unit.h"

#define NOW_S UINT64_C(1800000000)

/* The system's calls that writing needs, one of which may fail: the one with number `fault`. */
static unsigned calls, fault;
static bool short_writes;

static bool
fails(void)
{
	if (++calls != fault)
		return false;
	errno = ENOSPC;
	return true;
}

ssize_t
write(int fd, const void *bytes, size_t count)
{
	if (short_writes && count > 100)
		count = 100;
	return fails() ? -1 : syscall(SYS_write, fd, bytes, count);
}

int
fsync(int fd)
{
	return fails() ? -1 : (int)syscall(SYS_fsync, fd);
}

int
rename(const char *from, const char *to)
{
	return fails() ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int
close(int fd)
{
	int result = (int)syscall(SYS_close, fd);

	return fails() ? -1 : result;
}

static char directory[] = "/tmp/test_changes_file.XXXXXX";
static char path[sizeof(directory) + 20], beside[sizeof(directory) + 24];
static char said[2048];

static void
say(void *context, const char *line)
{
	(void)context;
	snprintf(said, sizeof(said), "%s", line);
}

static const struct report report = {say, NULL};

static void
rules_put(struct changes *changes, const char *qube, enum rule_origin layer, const char *source,
	const char *const *texts, unsigned first_line)
{
	struct qube_change *change = calloc(1, sizeof(*change));
	char reason[RULE_ERROR_SIZE];

	change->references = 1;
	change->layer = layer;
	strcpy(change->qube, qube);
	change->source = source != NULL ? strdup(source) : NULL;
	change->ruleset.policy = ACTION_ACCEPT;
	change->ruleset.rules = calloc(10, sizeof(struct rule));
	for (; *texts != NULL; texts++) {
		struct rule *rule = &change->ruleset.rules[change->ruleset.count++];

		CU_ASSERT_EQUAL_FATAL(rule_parse(*texts, 0, rule, reason, sizeof(reason)), 0);
		rule->origin = first_line != 0 ? ORIGIN_FILE : layer;
		rule->line = first_line != 0 ? first_line++ : 0;
	}
	CU_ASSERT_EQUAL_FATAL(changes_qube_put(changes, change), 0);
}

static void
forward_put(struct changes *changes, enum rule_origin layer, const char *name, const char *text)
{
	char reason[RULE_ERROR_SIZE];
	struct conf_forward forward;

	CU_ASSERT_EQUAL_FATAL(forward_parse(text, 0, &forward, reason, sizeof(reason)), 0);
	strcpy(forward.name, name);
	strcpy(forward.qube, "work");
	CU_ASSERT_EQUAL_FATAL(changes_forward_put(changes, layer, &forward), 0);
}

#define EXTERNAL "action=forward forwardtype=external proto=tcp "

static struct changes *
some_changes(void)
{
	struct changes *changes = changes_new();

	rules_put(changes, "work", ORIGIN_KEPT, "work.rules",
		(const char *const[]){"action=accept proto=icmp", "action=drop", NULL}, 7);
	rules_put(changes, "work", ORIGIN_RUNTIME, NULL,
		(const char *const[]){"action=accept comment=\"runtime secret\"", NULL}, 0);
	rules_put(changes, "personal", ORIGIN_KEPT, NULL,
		(const char *const[]){"action=accept dst4=192.0.2.0/24 proto=tcp dstports=443 "
				      "expire=1800000100 comment=\"a \\\"b\\\" \\\\ caf\xc3\xa9\"",
			"action=accept expire=1800000000", NULL},
		0);
	rules_put(changes, "empty", ORIGIN_KEPT, NULL, (const char *const[]){NULL}, 0);
	forward_put(changes, ORIGIN_KEPT, "web", EXTERNAL "srcports=443 comment=x");
	forward_put(changes, ORIGIN_KEPT, "over", EXTERNAL "srcports=444 expire=1799999999");
	forward_put(changes, ORIGIN_RUNTIME, "passing", EXTERNAL "srcports=445");
	return changes;
}

#define SUM "{\"lines\":"

/* What stands in the file, without its last line. */
static const char *
file_text(void)
{
	static char text[65536];
	int fd = open(path, O_RDONLY);
	ssize_t length = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
	char *last;

	if (fd >= 0)
		syscall(SYS_close, fd);
	text[length > 0 ? length : 0] = '\0';
	last = strstr(text, SUM);
	if (last != NULL)
		*last = '\0';
	return text;
}

#define SOME_TEXT                                                                                \
	"{\"file\":\"sluice changes\",\"version\":1}\n"                                          \
	"{\"qube\":\"empty\",\"policy\":\"accept\"}\n"                                           \
	"{\"qube\":\"personal\",\"policy\":\"accept\"}\n"                                        \
	"{\"rule\":\"action=accept dst4=192.0.2.0/24 proto=tcp dstports=443-443 "                \
	"expire=1800000100 comment=\\\"a \\\\\\\"b\\\\\\\" \\\\\\\\ caf\xc3\xa9\\\"\"}\n"        \
	"{\"qube\":\"work\",\"policy\":\"accept\",\"source\":\"work.rules\"}\n"                  \
	"{\"rule\":\"action=accept proto=icmp\",\"line\":7}\n"                                   \
	"{\"rule\":\"action=drop\",\"line\":8}\n"                                                \
	"{\"forward\":\"web\",\"qube\":\"work\",\"rule\":\"action=forward forwardtype=external " \
	"proto=tcp srcports=443-443 dstports=443-443 comment=x\"}\n"

static void
test_round_trip(void)
{
	struct changes *changes = some_changes(), *again = NULL;
	struct stat status;
	bool replaced;

	fault = 0;
	CU_ASSERT_EQUAL(changes_write(changes, NOW_S, path, &replaced, &report), 0);
	CU_ASSERT_TRUE(replaced);
	CU_ASSERT_STRING_EQUAL(file_text(), SOME_TEXT);
	CU_ASSERT_EQUAL(stat(path, &status), 0);
	CU_ASSERT_EQUAL(status.st_mode & 0777, 0600);
	CU_ASSERT_NOT_EQUAL(access(beside, F_OK), 0);
	CU_ASSERT_EQUAL_FATAL(changes_read(path, NOW_S, &report, &again), 0);
	CU_ASSERT_EQUAL(again->qube_count, 3);
	CU_ASSERT_EQUAL(again->forward_count, 1);
	CU_ASSERT_EQUAL(again->qubes[2]->ruleset.rules[1].line, 8);
	CU_ASSERT_EQUAL(again->qubes[2]->ruleset.rules[1].origin, ORIGIN_FILE);
	CU_ASSERT_STRING_EQUAL(again->qubes[2]->source, "work.rules");
	CU_ASSERT_EQUAL(again->qubes[1]->ruleset.rules[0].origin, ORIGIN_KEPT);
	/* through a system that takes a hundred bytes at a time */
	short_writes = true;
	CU_ASSERT_EQUAL(changes_write(again, NOW_S, path, &replaced, &report), 0);
	short_writes = false;
	CU_ASSERT_STRING_EQUAL(file_text(), SOME_TEXT);
	changes_free(again);
	/* a hundred seconds later a rule is over */
	CU_ASSERT_EQUAL_FATAL(changes_read(path, NOW_S + 100, &report, &again), 0);
	CU_ASSERT_EQUAL(again->qubes[1]->ruleset.count, 0);
	changes_free(again);
	changes_free(changes);
}

static void
test_absent(void)
{
	struct changes *changes = NULL;

	unlink(path);
	CU_ASSERT_EQUAL_FATAL(changes_read(path, NOW_S, &report, &changes), 0);
	CU_ASSERT_EQUAL(changes->qube_count + changes->forward_count, 0);
	changes_free(changes);
	CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
	CU_ASSERT_EQUAL(changes_read(path, NOW_S, &report, &changes), -EINVAL);
	CU_ASSERT_PTR_NULL(changes);
	rmdir(path);
	CU_ASSERT_EQUAL(symlink("/etc/passwd", path), 0);
	CU_ASSERT_EQUAL(changes_read(path, NOW_S, &report, &changes), -ELOOP);
	unlink(path);
}

/* Whatever fails, the old file or the new one is there whole, and who asked knows which. */
static void
test_faults(void)
{
	struct changes *old = changes_new(), *changes = some_changes(), *again;
	char old_text[65536];
	unsigned steps;
	bool replaced;

	fault = 0;
	rules_put(old, "work", ORIGIN_KEPT, NULL, (const char *const[]){"action=drop", NULL}, 0);
	CU_ASSERT_EQUAL_FATAL(changes_write(old, NOW_S, path, &replaced, &report), 0);
	snprintf(old_text, sizeof(old_text), "%s", file_text());
	calls = 0;
	CU_ASSERT_EQUAL(changes_write(changes, NOW_S, path, &replaced, &report), 0);
	steps = calls;
	/* write, fsync, close, rename, fsync and close of the directory */
	CU_ASSERT_EQUAL(steps, 6);
	for (unsigned step = 1; step <= steps; step++) {
		int error;

		fault = 0;
		CU_ASSERT_EQUAL(changes_write(old, NOW_S, path, &replaced, &report), 0);
		said[0] = '\0';
		calls = 0;
		fault = step;
		error = changes_write(changes, NOW_S, path, &replaced, &report);
		fault = 0;
		/* closing a directory can lose nothing */
		CU_ASSERT_EQUAL(error, step < 6 ? -ENOSPC : 0);
		CU_ASSERT_EQUAL(replaced, step > 4);
		CU_ASSERT_STRING_EQUAL(file_text(), step > 4 ? SOME_TEXT : old_text);
		CU_ASSERT_EQUAL(error != 0, strstr(said, "No space left on device") != NULL);
		CU_ASSERT_NOT_EQUAL(access(beside, F_OK), 0);
		CU_ASSERT_EQUAL(changes_read(path, NOW_S, &report, &again), 0);
		changes_free(again);
	}
	/* what a crash left beside the file is no hindrance, nor a trap */
	CU_ASSERT_EQUAL(symlink("/nowhere/at/all", beside), 0);
	CU_ASSERT_EQUAL(changes_write(changes, NOW_S, path, &replaced, &report), 0);
	CU_ASSERT_STRING_EQUAL(file_text(), SOME_TEXT);
	changes_free(old);
	changes_free(changes);
}

static uint64_t
checksum(const char *text)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (; *text != '\0'; text++)
		sum = (sum ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return sum;
}

/* Write lines with a last one that is right about them. */
static void
file_put(const char *text)
{
	FILE *file = fopen(path, "w");
	unsigned lines = 0;

	for (const char *byte = text; *byte != '\0'; byte++)
		lines += *byte == '\n';
	fprintf(file, "%s" SUM "%u,\"checksum\":\"%016llx\"}\n", text, lines,
		(unsigned long long)checksum(text));
	fclose(file);
}

static void
refused(unsigned line, const char *reason)
{
	struct changes *changes;
	char expected[512];

	said[0] = '\0';
	CU_ASSERT_EQUAL(changes_read(path, NOW_S, &report, &changes), -EINVAL);
	CU_ASSERT_PTR_NULL(changes);
	snprintf(expected, sizeof(expected), "%s:%u: %s; put a copy", path, line, reason);
	if (strncmp(said, expected, strlen(expected)) != 0)
		fprintf(stderr, "expected %s\ngot      %s\n", expected, said);
	CU_ASSERT_EQUAL(strncmp(said, expected, strlen(expected)), 0);
}

#define HEAD "{\"file\":\"sluice changes\",\"version\":1}\n"
#define WORK "{\"qube\":\"work\",\"policy\":\"drop\"}\n"
#define WEB                                                                                      \
	"{\"forward\":\"web\",\"qube\":\"work\",\"rule\":\"action=forward forwardtype=external " \
	"proto=tcp srcports=443\"}\n"

static void
test_lines(void)
{
	static const struct {
		const char *text;
		unsigned line;
		const char *reason;
	} rows[] = {
		{"{}\n", 1, "is not the first line of a file of changes"},
		{"{\"file\":\"sluice changes\",\"version\":2}\n", 1,
			"has version 2, and this sluiced knows 1"},
		{HEAD "nonsense\n", 2, "is not JSON: '[' or '{' expected near 'nonsense'"},
		{HEAD "{}\n", 2, "is no line about a qube"},
		{HEAD "[]\n", 2, "is no line about a qube"},
		{HEAD "{\"qube\":\"work\",\"policy\":\"drop\",\"other\":1}\n", 2,
			"is no line about a qube"},
		{HEAD "{\"qube\":\"work\",\"policy\":\"maybe\"}\n", 2,
			"policy: \"maybe\" is neither accept nor drop"},
		{HEAD "{\"qube\":\"a b\",\"policy\":\"drop\"}\n", 2,
			"qube: \"a b\" holds something else than letters, digits and - _ ."},
		{HEAD WORK WORK WORK, 3, "qube: work stands twice"},
		{HEAD "{\"rule\":\"action=drop\"}\n", 2, "a rule of no qube"},
		{HEAD WORK "{\"rule\":\"action=drop\"}\n{\"rule\":\"action=accept proto=tcp "
			   "dstports=80443\"}\n",
			4, "dstports: 80443 is over 65535"},
		{HEAD WORK "{\"rule\":\"action=drop\",\"line\":-1}\n", 3,
			"is no line about a rule"},
		{HEAD WORK "{\"rule\":\"action=drop expire=+5\"}\n", 3,
			"expire: \"+5\" counts from no time, a unix time is needed here; allowed: "
			"a unix time, or +SECONDS"},
		{HEAD WORK WEB "{\"rule\":\"action=drop\"}\n", 4, "a rule of no qube"},
		{HEAD WEB WEB, 3, "forward: web stands twice"},
		{HEAD WEB "{\"forward\":\"other\",\"qube\":\"work\",\"rule\":\"action=forward "
			  "forwardtype=external proto=tcp srcports=1-999\"}\n",
			3, "forward: other overlaps web"},
		{HEAD "{\"forward\":\"web\",\"qube\":\"work\",\"rule\":\"action=accept\"}\n", 2,
			"action: \"accept\" is no forward; allowed: forward"},
	};

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		file_put(rows[i].text);
		refused(rows[i].line, rows[i].reason);
	}
}

/* One changed byte, or a cut at any place, is noticed. */
static void
test_damage(void)
{
	static char text[8192];
	struct changes *changes = some_changes(), *again;
	unsigned refused_files = 0;
	bool replaced;
	ssize_t length;
	int fd;

	CU_ASSERT_EQUAL_FATAL(changes_write(changes, NOW_S, path, &replaced, &report), 0);
	changes_free(changes);
	fd = open(path, O_RDONLY);
	length = read(fd, text, sizeof(text));
	close(fd);
	CU_ASSERT_TRUE_FATAL(length > 500 && length < (ssize_t)sizeof(text));
	for (ssize_t at = 0; at < length; at++) {
		char byte = text[at];

		for (unsigned bit = 0; bit < 9; bit++) {
			fd = open(path, O_WRONLY | O_TRUNC);
			text[at] = bit < 8 ? (char)(byte ^ 1 << bit) : byte;
			CU_ASSERT_EQUAL_FATAL(write(fd, text, (size_t)(bit < 8 ? length : at)),
				bit < 8 ? length : at);
			close(fd);
			refused_files += changes_read(path, NOW_S, &report, &again) == -EINVAL;
			changes_free(again);
		}
		text[at] = byte;
	}
	CU_ASSERT_EQUAL(refused_files, 9 * (unsigned)length);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"what is written is read again", test_round_trip},
		{"no file is no changes", test_absent},
		{"a fault at every step", test_faults},
		{"lines that are wrong", test_lines},
		{"every bit and every cut", test_damage},
	};
	int status;

	if (mkdtemp(directory) == NULL)
		return EXIT_FAILURE;
	snprintf(path, sizeof(path), "%s/changes.json", directory);
	snprintf(beside, sizeof(beside), "%s.new", path);
	status = UNIT_RUN("changes_file", tests);
	unlink(path);
	rmdir(directory);
	return status;
}
