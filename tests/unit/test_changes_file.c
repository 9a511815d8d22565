/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kept changes on disk: what is kept is read again, whatever fails and wherever power or process
 * end; damage is refused with its line.
 *
 * The system's calls that keeping needs are stood in for. They can fail, and they note what a disk
 * would hold after a power failure: of a file what it was when it was last synced, of a directory
 * the names that it had then.
 */
#include "conf/changes_file.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rte_common.h>

#include "conf/changes_journal.h"
#include "conf/rule_text.h"
#include "tests/unit/unit.h"

#define NOW_S UINT64_C(1800000000)

static char directory[40];
static char lost[sizeof(directory) + 8]; /* what a power failure leaves */
static char path[sizeof(directory) + 20], beside[sizeof(directory) + 24],
	journal_path[sizeof(directory) + 20];
static char said[2048];

static void
say(void *context, const char *line)
{
	(void)context;
	snprintf(said, sizeof(said), "%s", line);
}

static const struct report report = {say, NULL};

/* --- a disk --- */

#define FILES 4

/* By inode; two states of a file name one, as long as it is not reused. */
static struct {
	ino_t inode;
	size_t size;
	char *bytes;
} synced[256];
static unsigned synced_count;
static struct {
	char name[32];
	ino_t inode;
} names[FILES];

static const char *const files[FILES] = {
	CHANGES_NAME, CHANGES_NAME ".new", JOURNAL_NAME, JOURNAL_NAME ".new"};

static void
disk_forget(void)
{
	for (unsigned i = 0; i < synced_count; i++)
		free(synced[i].bytes);
	synced_count = 0;
	memset(names, 0, sizeof(names));
}

static void
file_synced(int fd)
{
	struct stat status;
	unsigned i = 0;

	if (fstat(fd, &status) != 0)
		abort();
	if (S_ISDIR(status.st_mode)) {
		for (i = 0; i < FILES; i++) {
			bool there = fstatat(fd, files[i], &status, AT_SYMLINK_NOFOLLOW) == 0;

			names[i].inode = there ? status.st_ino : 0;
		}
		return;
	}
	while (i < synced_count && synced[i].inode != status.st_ino)
		i++;
	if (i == RTE_DIM(synced))
		abort();
	synced_count = RTE_MAX(synced_count, i + 1);
	free(synced[i].bytes);
	synced[i].inode = status.st_ino;
	synced[i].size = (size_t)status.st_size;
	synced[i].bytes = malloc(synced[i].size + 1);
	if (pread(fd, synced[i].bytes, synced[i].size, 0) != status.st_size)
		abort();
}

/* Have in `lost` what is on the disk. A file that was never synced is empty there. */
static void
disk_lay_out(void)
{
	for (unsigned i = 0; i < FILES; i++) {
		char name[sizeof(lost) + 40];
		FILE *file;

		snprintf(name, sizeof(name), "%s/%s", lost, files[i]);
		unlink(name);
		if (names[i].inode == 0)
			continue;
		file = fopen(name, "w");
		for (unsigned j = 0; j < synced_count; j++)
			if (synced[j].inode == names[i].inode)
				fwrite(synced[j].bytes, 1, synced[j].size, file);
		fclose(file);
	}
}

/* --- the system's calls --- */

static unsigned calls, fault, faults; /* of the calls, those from number `fault` on fail */
static bool short_writes, keep_disk;
static void (*before_call)(void);

static bool
fails(void)
{
	if (before_call != NULL)
		before_call();
	calls++;
	if (fault == 0 || calls < fault || calls >= fault + faults)
		return false;
	errno = ENOSPC;
	return true;
}

/* Their parameters have names here that say something. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */
ssize_t
pwrite(int fd, const void *bytes, size_t count, off_t at)
{
	if (short_writes && count > 100)
		count = 100;
	return fails() ? -1 : syscall(SYS_pwrite64, fd, bytes, count, at);
}

int
fsync(int fd)
{
	if (fails())
		return -1;
	if (keep_disk)
		file_synced(fd);
	return 0;
}

int
fdatasync(int fd)
{
	return fsync(fd);
}

int
renameat(int from_directory, const char *from, int to_directory, const char *to)
{
	return fails() ? -1
		       : (int)syscall(SYS_renameat2, from_directory, from, to_directory, to, 0);
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

/* --- changes --- */

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

/* The kept ones, as text. */
static char *
text_of(const struct changes *changes)
{
	size_t size;
	char *text = NULL;
	FILE *stream = open_memstream(&text, &size);

	for (unsigned i = 0; i < changes->qube_count; i++) {
		const struct qube_change *change = changes->qubes[i];

		if (change->layer != ORIGIN_KEPT)
			continue;
		fprintf(stream, "%s %d %s\n", change->qube, change->ruleset.policy,
			change->source != NULL ? change->source : "");
		for (unsigned j = 0; j < change->ruleset.count; j++) {
			char *rule = rule_format(&change->ruleset.rules[j], false);

			fprintf(stream, "\t%u %u %s\n", change->ruleset.rules[j].line,
				change->ruleset.rules[j].origin, rule);
			free(rule);
		}
	}
	for (unsigned i = 0; i < changes->forward_count; i++) {
		const struct forward_change *change = changes->forwards[i];
		char *rule = forward_format(&change->forward, false);

		if (change->layer == ORIGIN_KEPT)
			fprintf(stream, "%s %s %s\n", change->forward.name, change->forward.qube,
				rule);
		free(rule);
	}
	fclose(stream);
	return text;
}

static bool
same_kept(const struct changes *a, const struct changes *b)
{
	char *a_text = text_of(a), *b_text = text_of(b);
	bool same = strcmp(a_text, b_text) == 0;

	free(a_text);
	free(b_text);
	return same;
}

/* Whether a directory holds the kept ones of some changes; one that is damaged holds nothing. */
static bool
directory_holds(const char *where, const struct changes *changes)
{
	struct changes *found = NULL;
	bool same = changes_read(where, NOW_S, &report, &found) == 0 && same_kept(found, changes);

	changes_free(found);
	return same;
}

static void
directory_clear(void)
{
	for (unsigned i = 0; i < FILES; i++) {
		char name[sizeof(directory) + 40];

		snprintf(name, sizeof(name), "%s/%s", directory, files[i]);
		unlink(name);
	}
	disk_forget();
}

/* What stands in a file, whole. */
static char *
file_bytes(const char *name, size_t *size)
{
	FILE *file = fopen(name, "r");
	char *bytes = malloc(1 << 20);

	*size = file != NULL ? fread(bytes, 1, (1 << 20) - 1, file) : 0;
	bytes[*size] = '\0';
	if (file != NULL)
		fclose(file);
	return bytes;
}

static void
file_bytes_put(const char *name, const char *bytes, size_t size)
{
	FILE *file = fopen(name, "w");

	CU_ASSERT_EQUAL_FATAL(fwrite(bytes, 1, size, file), size);
	fclose(file);
}

static struct changes_file *
opened(struct changes **changes)
{
	struct changes_file *file = NULL;

	CU_ASSERT_EQUAL_FATAL(changes_file_open(directory, NOW_S, &report, &file, changes), 0);
	return file;
}

static struct changes_file *
opened_empty(void)
{
	struct changes *changes;
	struct changes_file *file;

	directory_clear();
	file = opened(&changes);
	CU_ASSERT_EQUAL(changes->qube_count + changes->forward_count, 0);
	changes_free(changes);
	return file;
}

/* Another state: @p number tells them apart. */
static struct changes *
changed(const struct changes *changes, unsigned number)
{
	struct changes *copy = changes_copy(changes);
	char text[64];

	snprintf(text, sizeof(text), "action=accept comment=%u", number);
	rules_put(copy, "work", ORIGIN_KEPT, NULL, (const char *const[]){text, NULL}, 0);
	return copy;
}

#define SUM "{\"lines\":"

/* What stands in the base, without its last line. */
static const char *
base_text(void)
{
	static char text[65536];
	size_t size;
	char *bytes = file_bytes(path, &size);
	char *last = strstr(bytes, SUM);

	if (last != NULL)
		*last = '\0';
	snprintf(text, sizeof(text), "%s", bytes);
	free(bytes);
	return text;
}

#define SOME_TEXT                                                                                \
	"{\"file\":\"sluice changes\",\"version\":2,\"sequence\":1}\n"                           \
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
	struct changes_file *file = opened_empty();
	struct stat status;

	/* nothing is written before there is something */
	CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
	CU_ASSERT_EQUAL(changes_file_keep(file, changes, NOW_S, &report), 0);
	CU_ASSERT_STRING_EQUAL(base_text(), SOME_TEXT);
	CU_ASSERT_EQUAL(stat(path, &status), 0);
	CU_ASSERT_EQUAL(status.st_mode & 0777, 0600);
	CU_ASSERT_EQUAL(stat(journal_path, &status), 0);
	CU_ASSERT_EQUAL(status.st_mode & 0777, 0600);
	CU_ASSERT_NOT_EQUAL(access(beside, F_OK), 0);
	changes_file_close(file, NOW_S, &report);

	file = opened(&again);
	CU_ASSERT_EQUAL(again->qube_count, 3);
	CU_ASSERT_EQUAL(again->forward_count, 1);
	CU_ASSERT_EQUAL(again->qubes[2]->ruleset.rules[1].line, 8);
	CU_ASSERT_EQUAL(again->qubes[2]->ruleset.rules[1].origin, ORIGIN_FILE);
	CU_ASSERT_STRING_EQUAL(again->qubes[2]->source, "work.rules");
	CU_ASSERT_EQUAL(again->qubes[1]->ruleset.rules[0].origin, ORIGIN_KEPT);
	changes_file_close(file, NOW_S, &report);
	changes_free(again);
	/* a hundred seconds later a rule is over */
	CU_ASSERT_EQUAL_FATAL(changes_read(directory, NOW_S + 100, &report, &again), 0);
	CU_ASSERT_EQUAL(again->qubes[1]->ruleset.count, 0);
	changes_free(again);

	/* through a system that takes a hundred bytes at a time */
	file = opened_empty();
	short_writes = true;
	CU_ASSERT_EQUAL(changes_file_keep(file, changes, NOW_S, &report), 0);
	short_writes = false;
	CU_ASSERT_STRING_EQUAL(base_text(), SOME_TEXT);
	changes_file_close(file, NOW_S, &report);
	changes_free(changes);
}

/* What a change costs: one write and one sync, nothing else. */
static void
test_append(void)
{
	struct changes *changes = some_changes(), *next, *more;
	struct changes_file *file = opened_empty();
	char *bytes;
	size_t size;

	CU_ASSERT_EQUAL(changes_expire(changes, NOW_S), 2);
	CU_ASSERT_EQUAL(changes_file_keep(file, changes, NOW_S, &report), 0);
	next = changed(changes, 7);
	changes_forward_drop(next, 0);
	calls = 0;
	CU_ASSERT_EQUAL(changes_file_keep(file, next, NOW_S, &report), 0);
	CU_ASSERT_EQUAL(calls, 2);
	bytes = file_bytes(journal_path, &size);
	CU_ASSERT_EQUAL(size, 262144);
	CU_ASSERT_PTR_NOT_NULL(strstr(bytes,
		"\n{\"sequence\":2,\"changes\":[{\"forward\":\"web\"},{\"qube\":\"work\","
		"\"policy\":"
		"\"accept\",\"rules\":[{\"rule\":\"action=accept comment=7\"}]}],\"checksum\":\""));
	free(bytes);
	CU_ASSERT_STRING_EQUAL(base_text(), SOME_TEXT);
	CU_ASSERT_TRUE(directory_holds(directory, next));

	/* runtime rules and what is as it was are nothing to keep */
	more = changes_copy(next);
	rules_put(more, "personal", ORIGIN_RUNTIME, NULL, (const char *const[]){NULL}, 0);
	calls = 0;
	CU_ASSERT_EQUAL(changes_file_keep(file, more, NOW_S, &report), 0);
	CU_ASSERT_EQUAL(calls, 0);
	changes_free(more);

	/* at the end all of it is in the base */
	changes_file_close(file, NOW_S, &report);
	CU_ASSERT_PTR_NOT_NULL(strstr(base_text(), "comment=7"));
	CU_ASSERT_PTR_NOT_NULL(strstr(base_text(), "\"sequence\":3}"));
	unlink(journal_path);
	CU_ASSERT_TRUE(directory_holds(directory, next));
	changes_free(next);
	changes_free(changes);
}

/* A thousand random changes are there after them, through several bases. */
static void
test_walk(void)
{
	static const char *const qubes[] = {"work", "personal", "vault", "untrusted"};
	struct changes *changes = changes_new(), *again;
	struct changes_file *file = opened_empty();
	unsigned bases = 0, wrong = 0;
	char base[128] = "";

	srandom(7);
	for (unsigned step = 0; step < 1000; step++) {
		struct changes *next = changes_copy(changes);
		const char *qube = qubes[random() % 4];
		char text[2048], forward[128], name[32];
		unsigned port = 1 + (unsigned)random() % 60000;

		snprintf(text, sizeof(text),
			"action=accept proto=tcp dstports=%u comment=\"%01500u\"", port, step);
		for (unsigned part = 0; part <= (unsigned)random() % 3; part++)
			switch (random() % 5) {
			case 0:
				changes_qube_drop(next, qube, ORIGIN_KEPT);
				break;
			case 1:
				if (next->forward_count > 0)
					changes_forward_drop(
						next, (unsigned)random() % next->forward_count);
				break;
			case 2:
				snprintf(name, sizeof(name), "f%u-%u", step, part);
				snprintf(forward, sizeof(forward), EXTERNAL "srcports=%u",
					1000 + step * 3 + part);
				forward_put(next, random() % 4 == 0 ? ORIGIN_RUNTIME : ORIGIN_KEPT,
					name, forward);
				break;
			default:
				rules_put(next, qube,
					random() % 4 == 0 ? ORIGIN_RUNTIME : ORIGIN_KEPT,
					random() % 2 == 0 ? "a.rules" : NULL,
					(const char *const[]){text, "action=drop proto=icmp", NULL},
					random() % 2 == 0 ? step + 1 : 0);
			}
		while (next->forward_count > 20)
			changes_forward_drop(next, 0);
		CU_ASSERT_EQUAL(changes_file_keep(file, next, NOW_S, &report), 0);
		changes_free(changes);
		changes = next;
		if (step % 16 == 0)
			wrong += !directory_holds(directory, changes);
		bases += strncmp(base, base_text(), 100) != 0;
		snprintf(base, sizeof(base), "%.100s", base_text());
		if (step % 450 == 449) {
			changes_file_close(file, NOW_S, &report);
			file = opened(&again);
			wrong += !same_kept(again, changes);
			changes_free(again);
		}
	}
	CU_ASSERT_EQUAL(wrong, 0);
	/* one at first, one for each end, and those of full journals */
	CU_ASSERT_TRUE(bases > 4);
	changes_file_close(file, NOW_S, &report);
	changes_free(changes);
}

/* The journal is full: what does not fit goes into a new base, also when it never fitted. */
static void
test_full(void)
{
	struct changes *changes = changes_new(), *big;
	struct changes_file *file = opened_empty();
	struct qube_change *change;
	struct stat before, after;

	CU_ASSERT_EQUAL(changes_file_keep(file, changes, NOW_S, &report), 0);
	big = changes_copy(changes);
	rules_put(big, "work", ORIGIN_KEPT, NULL, (const char *const[]){NULL}, 0);
	change = big->qubes[0];
	free(change->ruleset.rules);
	change->ruleset.rules = calloc(RULES_MAX, sizeof(struct rule));
	for (unsigned i = 0; i < RULES_MAX; i++) {
		char text[300], reason[RULE_ERROR_SIZE];

		snprintf(text, sizeof(text), "action=accept comment=%0250u", i);
		CU_ASSERT_EQUAL_FATAL(
			rule_parse(text, 0, &change->ruleset.rules[i], reason, sizeof(reason)), 0);
		change->ruleset.rules[i].origin = ORIGIN_KEPT;
	}
	change->ruleset.count = RULES_MAX;
	CU_ASSERT_EQUAL(stat(path, &before), 0);
	CU_ASSERT_EQUAL(changes_file_keep(file, big, NOW_S, &report), 0);
	CU_ASSERT_EQUAL(stat(path, &after), 0);
	CU_ASSERT_NOT_EQUAL(before.st_ino, after.st_ino);
	CU_ASSERT_TRUE(directory_holds(directory, big));
	/* twice the base, in whole blocks */
	CU_ASSERT_EQUAL(stat(journal_path, &before), 0);
	CU_ASSERT_EQUAL(before.st_size, (2 * after.st_size + 4095) / 4096 * 4096);
	changes_file_close(file, NOW_S, &report);
	changes_free(big);
	changes_free(changes);
}

static void
test_absent(void)
{
	struct changes *changes = NULL;
	struct changes_file *file;

	directory_clear();
	CU_ASSERT_EQUAL_FATAL(changes_read(directory, NOW_S, &report, &changes), 0);
	CU_ASSERT_EQUAL(changes->qube_count + changes->forward_count, 0);
	changes_free(changes);
	CU_ASSERT_EQUAL_FATAL(changes_read("/nowhere/at/all", NOW_S, &report, &changes), 0);
	changes_free(changes);
	CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
	CU_ASSERT_EQUAL(changes_read(directory, NOW_S, &report, &changes), -EINVAL);
	CU_ASSERT_PTR_NULL(changes);
	rmdir(path);
	CU_ASSERT_EQUAL(symlink("/etc/passwd", path), 0);
	CU_ASSERT_EQUAL(changes_read(directory, NOW_S, &report, &changes), -ELOOP);
	unlink(path);
	CU_ASSERT_EQUAL(symlink("/etc/passwd", journal_path), 0);
	CU_ASSERT_EQUAL(changes_read(directory, NOW_S, &report, &changes), -ELOOP);
	unlink(journal_path);

	/* no directory: nothing is kept, and that is said, until there is one */
	CU_ASSERT_EQUAL(rmdir(directory), 0);
	file = opened(&changes);
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "cannot be written: No such file or directory"));
	said[0] = '\0';
	CU_ASSERT_EQUAL(changes_file_keep(file, changes, NOW_S, &report), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "cannot be written: No such file or directory"));
	CU_ASSERT_EQUAL(mkdir(directory, 0700), 0);
	CU_ASSERT_EQUAL(changes_file_keep(file, changes, NOW_S, &report), 0);
	CU_ASSERT_EQUAL(access(path, F_OK), 0);
	changes_file_close(file, NOW_S, &report);
	changes_free(changes);
}

/* Two that keep their changes in one place would lose each other's. */
static void
test_shared(void)
{
	struct changes_file *file = opened_empty(), *second = NULL;
	struct changes *changes, *found;

	changes = some_changes();
	CU_ASSERT_EQUAL(changes_expire(changes, NOW_S), 2);
	CU_ASSERT_EQUAL(changes_file_keep(file, changes, NOW_S, &report), 0);
	CU_ASSERT_EQUAL(changes_file_open(directory, NOW_S, &report, &second, &found), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "another sluiced keeps its changes there"));
	CU_ASSERT_PTR_NULL(second);
	CU_ASSERT_TRUE(directory_holds(directory, changes));
	changes_file_close(file, NOW_S, &report);
	second = opened(&found);
	CU_ASSERT_TRUE(same_kept(found, changes));
	changes_file_close(second, NOW_S, &report);
	changes_free(found);
	changes_free(changes);
}

/* --- faults --- */

/*
 * For every call and every number of calls that fail from there on: a change that was refused is
 * not on disk, one that was not is, and once the disk works again so does keeping. Only when
 * everything fails that could take a record back may it still be there, until the end at the
 * latest.
 */
static void
fault_try(bool append, unsigned first, unsigned count, unsigned *refusals)
{
	struct changes *empty = changes_new(), *old = changed(empty, 1), *new = changed(old, 2),
		       *next = changed(old, 3);
	struct changes_file *file = opened_empty();
	int error;

	CU_ASSERT_EQUAL_FATAL(changes_file_keep(file, old, NOW_S, &report), 0);
	if (!append) {
		/* without a journal, changes go into a base */
		changes_file_close(file, NOW_S, &report);
		unlink(journal_path);
		changes_free(empty);
		file = opened(&empty);
	}
	said[0] = '\0';
	calls = 0;
	fault = first;
	faults = count;
	error = changes_file_keep(file, new, NOW_S, &report);
	fault = 0;
	if (error != 0)
		CU_ASSERT_PTR_NOT_NULL(strstr(said, "cannot be written: No space left on device"));
	*refusals += error != 0;
	if (error == 0)
		CU_ASSERT_TRUE(directory_holds(directory, new));
	if (error != 0 && (append ? count < 3 : count < 2))
		CU_ASSERT_TRUE(directory_holds(directory, old));
	CU_ASSERT_EQUAL(changes_file_keep(file, error != 0 ? old : new, NOW_S, &report), 0);
	CU_ASSERT_TRUE(directory_holds(directory, error != 0 ? old : new));
	CU_ASSERT_EQUAL(changes_file_keep(file, next, NOW_S, &report), 0);
	CU_ASSERT_TRUE(directory_holds(directory, next));
	changes_file_close(file, NOW_S, &report);
	CU_ASSERT_TRUE(directory_holds(directory, next));
	CU_ASSERT_NOT_EQUAL(access(beside, F_OK), 0);
	changes_free(empty);
	changes_free(old);
	changes_free(new);
	changes_free(next);
}

static void
test_faults(void)
{
	unsigned refusals = 0;

	/* a record: write, sync. Behind it, when they fail: zeroes, sync, and then a base */
	for (unsigned first = 1; first <= 2; first++)
		for (unsigned count = 1; count <= 12; count++)
			fault_try(true, first, count, &refusals);
	CU_ASSERT_EQUAL(refusals, 24);
	/* a base: write, sync, rename, sync of the directory; what follows is the journal's */
	refusals = 0;
	for (unsigned first = 1; first <= 12; first++)
		for (unsigned count = 1; count <= 12; count++)
			fault_try(false, first, count, &refusals);
	CU_ASSERT_EQUAL(refusals, 4 * 12);
}

/* What is refused and cannot be taken back is taken back at the end. */
static void
test_uncertain(void)
{
	struct changes *empty = changes_new(), *old = changed(empty, 1), *new = changed(old, 2);
	struct changes_file *file = opened_empty();

	CU_ASSERT_EQUAL_FATAL(changes_file_keep(file, old, NOW_S, &report), 0);
	calls = 0;
	fault = 2;
	faults = 100;
	CU_ASSERT_EQUAL(changes_file_keep(file, new, NOW_S, &report), -ENOSPC);
	CU_ASSERT_TRUE(directory_holds(directory, new));
	/* nothing is kept before that is put right, not even what is there already */
	CU_ASSERT_EQUAL(changes_file_keep(file, new, NOW_S, &report), -ENOSPC);
	fault = 0;
	changes_file_close(file, NOW_S, &report);
	CU_ASSERT_TRUE(directory_holds(directory, old));
	changes_free(empty);
	changes_free(old);
	changes_free(new);
}

/* What a crash left beside a file is no hindrance, nor a trap. */
static void
test_left_behind(void)
{
	struct changes *changes = some_changes();
	struct changes_file *file = opened_empty();

	CU_ASSERT_EQUAL(symlink("/nowhere/at/all", beside), 0);
	CU_ASSERT_EQUAL(changes_file_keep(file, changes, NOW_S, &report), 0);
	CU_ASSERT_STRING_EQUAL(base_text(), SOME_TEXT);
	changes_file_close(file, NOW_S, &report);
	changes_free(changes);
}

/* --- crashes --- */

static const struct changes *was, *will_be;
static unsigned crash_points, crash_wrong, crash_after;

/* Before each call: the process may end here, or the power. */
static void
crash_here(void)
{
	bool after;

	crash_points++;
	after = directory_holds(directory, will_be);
	crash_wrong += !after && !directory_holds(directory, was);
	crash_after += after;
	disk_lay_out();
	after = directory_holds(lost, will_be);
	crash_wrong += !after && !directory_holds(lost, was);
	crash_after += after;
}

/* A whole life: first change, records, a base because the journal is full, the end, a start. */
static void
test_crashes(void)
{
	struct changes *changes = changes_new(), *found;
	struct changes_file *file = opened_empty();
	unsigned wrong = 0;

	keep_disk = true;
	crash_points = crash_wrong = crash_after = 0;
	for (unsigned step = 0; step < 40; step++) {
		struct changes *next = changed(changes, step);
		char text[900];

		snprintf(text, sizeof(text), "action=accept comment=%0800u", step);
		for (unsigned qube = 0; qube < 12; qube++) {
			char name[16];

			snprintf(name, sizeof(name), "qube%u", qube);
			rules_put(next, name, ORIGIN_KEPT, NULL,
				(const char *const[]){text, text, NULL}, 0);
		}
		was = changes;
		will_be = next;
		before_call = crash_here;
		CU_ASSERT_EQUAL(changes_file_keep(file, next, NOW_S, &report), 0);
		before_call = NULL;
		/* answered: it is there for good */
		disk_lay_out();
		wrong += !directory_holds(lost, next);
		changes_free(changes);
		changes = next;
		if (step % 15 == 7) {
			was = will_be = changes;
			before_call = crash_here;
			changes_file_close(file, NOW_S, &report);
			file = opened(&found);
			before_call = NULL;
			changes_free(found);
		}
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(crash_wrong, 0);
	CU_ASSERT_TRUE(crash_points > 100);
	CU_ASSERT_TRUE(crash_after > 40);
	keep_disk = false;
	changes_file_close(file, NOW_S, &report);
	changes_free(changes);
	disk_forget();
}

/* A start that finds a new base beside the old journal, and one that finds half a record. */
static void
test_start(void)
{
	struct changes *empty = changes_new(), *old = changed(empty, 1), *new = changed(old, 2),
		       *found;
	struct changes_file *file = opened_empty();
	size_t journal_size, size, used;
	char *journal, *base;

	CU_ASSERT_EQUAL_FATAL(changes_file_keep(file, old, NOW_S, &report), 0);
	CU_ASSERT_EQUAL_FATAL(changes_file_keep(file, new, NOW_S, &report), 0);
	journal = file_bytes(journal_path, &journal_size);
	base = file_bytes(path, &size);
	changes_file_close(file, NOW_S, &report);
	file_bytes_put(journal_path, journal, journal_size);
	CU_ASSERT_TRUE(directory_holds(directory, new));
	file = opened(&found);
	CU_ASSERT_TRUE(same_kept(found, new));
	changes_free(found);
	/* the journal is new, and goes on */
	CU_ASSERT_EQUAL_FATAL(changes_file_keep(file, old, NOW_S, &report), 0);
	CU_ASSERT_TRUE(directory_holds(directory, old));
	changes_file_close(file, NOW_S, &report);

	used = strlen(journal);
	memset(journal + used - 20, 0, 20);
	file_bytes_put(journal_path, journal, journal_size);
	file_bytes_put(path, base, size);
	said[0] = '\0';
	file = opened(&found);
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "changes.journal:2: was being written"));
	CU_ASSERT_TRUE(same_kept(found, old));
	changes_free(found);
	said[0] = '\0';
	CU_ASSERT_TRUE(directory_holds(directory, old));
	CU_ASSERT_STRING_EQUAL(said, "");
	changes_file_close(file, NOW_S, &report);

	free(journal);
	free(base);
	changes_free(empty);
	changes_free(old);
	changes_free(new);
}

/* What ended while nobody was there does not come back when the clock is set. */
static void
test_over(void)
{
	struct changes *changes = some_changes(), *found;
	struct changes_file *file = opened_empty();

	CU_ASSERT_EQUAL(changes_file_keep(file, changes, NOW_S - 100, &report), 0);
	changes_file_close(file, NOW_S - 100, &report);
	CU_ASSERT_EQUAL_FATAL(changes_read(directory, NOW_S - 100, &report, &found), 0);
	CU_ASSERT_EQUAL(found->forward_count, 2);
	changes_free(found);
	file = opened(&found);
	CU_ASSERT_EQUAL(found->forward_count, 1);
	changes_free(found);
	CU_ASSERT_EQUAL_FATAL(changes_read(directory, NOW_S - 100, &report, &found), 0);
	CU_ASSERT_EQUAL(found->forward_count, 1);
	changes_free(found);
	changes_file_close(file, NOW_S, &report);
	changes_free(changes);
}

/* --- damage --- */

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
	CU_ASSERT_EQUAL(changes_read(directory, NOW_S, &report, &changes), -EINVAL);
	CU_ASSERT_PTR_NULL(changes);
	snprintf(expected, sizeof(expected), "%s:%u: %s; put copies", path, line, reason);
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
		{"", 1, "nothing stands above the last line"},
		{"{}\n", 1, "is not the first line of a file of changes"},
		{"{\"file\":\"sluice changes\",\"version\":3}\n", 1,
			"has version 3, and this sluiced knows 1 to 2"},
		{"{\"file\":\"sluice changes\",\"version\":2}\n", 1,
			"sequence: belongs to version 2"},
		{"{\"file\":\"sluice changes\",\"version\":1,\"sequence\":1}\n", 1,
			"sequence: belongs to version 2"},
		{"{\"file\":\"sluice changes\",\"version\":2,\"sequence\":-1}\n", 1,
			"is not the first line of a file of changes"},
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

	directory_clear();
	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		file_put(rows[i].text);
		refused(rows[i].line, rows[i].reason);
	}
}

/* A base from before there were journals. */
static void
test_upgrade(void)
{
	struct changes_file *file;
	struct changes *changes, *next;

	directory_clear();
	file_put(HEAD WORK "{\"rule\":\"action=drop\"}\n" WEB);
	file = opened(&changes);
	CU_ASSERT_EQUAL(changes->qube_count, 1);
	CU_ASSERT_EQUAL(changes->forward_count, 1);
	next = changed(changes, 1);
	CU_ASSERT_EQUAL(changes_file_keep(file, next, NOW_S, &report), 0);
	CU_ASSERT_TRUE(directory_holds(directory, next));
	CU_ASSERT_PTR_NOT_NULL(strstr(base_text(), "\"version\":2,\"sequence\":1"));
	changes_file_close(file, NOW_S, &report);
	changes_free(changes);
	changes_free(next);
}

/* One changed byte of a base, or a cut at any place, is noticed. */
static void
test_damage(void)
{
	struct changes *changes = some_changes(), *again;
	struct changes_file *file = opened_empty();
	unsigned refused_files = 0;
	size_t length;
	char *text;

	CU_ASSERT_EQUAL_FATAL(changes_file_keep(file, changes, NOW_S, &report), 0);
	changes_file_close(file, NOW_S, &report);
	changes_free(changes);
	text = file_bytes(path, &length);
	CU_ASSERT_TRUE_FATAL(length > 500);
	for (size_t at = 0; at < length; at++) {
		char byte = text[at];

		for (unsigned bit = 0; bit < 9; bit++) {
			text[at] = bit < 8 ? (char)(byte ^ 1 << bit) : byte;
			file_bytes_put(path, text, bit < 8 ? length : at);
			refused_files += changes_read(directory, NOW_S, &report, &again) == -EINVAL;
			changes_free(again);
		}
		text[at] = byte;
	}
	CU_ASSERT_EQUAL(refused_files, 9 * (unsigned)length);
	free(text);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"what is kept is read again", test_round_trip},
		{"a change is one write and one sync", test_append},
		{"a thousand random changes", test_walk},
		{"a journal that is full", test_full},
		{"no file is no changes", test_absent},
		{"one sluiced for a directory", test_shared},
		{"faults at every step", test_faults},
		{"a record that cannot be taken back", test_uncertain},
		{"what a crash left behind", test_left_behind},
		{"the process or the power ends at any step", test_crashes},
		{"what a start may find", test_start},
		{"what is over stays over", test_over},
		{"a base without a journal", test_upgrade},
		{"lines that are wrong", test_lines},
		{"every bit and every cut", test_damage},
	};
	int status;

	snprintf(directory, sizeof(directory), "%s/test_changes_file.XXXXXX",
		access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(directory) == NULL)
		return EXIT_FAILURE;
	snprintf(path, sizeof(path), "%s/" CHANGES_NAME, directory);
	snprintf(beside, sizeof(beside), "%s.new", path);
	snprintf(journal_path, sizeof(journal_path), "%s/" JOURNAL_NAME, directory);
	snprintf(lost, sizeof(lost), "%s.lost", directory);
	if (mkdir(lost, 0700) != 0)
		return EXIT_FAILURE;
	status = UNIT_RUN("changes_file", tests);
	directory_clear();
	disk_lay_out();
	rmdir(lost);
	rmdir(directory);
	return status;
}
