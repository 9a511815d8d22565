/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kept changes: to disk and back. See changes_file.h for the plan.
 *
 * What was answered outlives a power failure, and what was not is there whole or not at all:
 *
 * - A record is written with one call, and synced. When that fails, zeroes are written over it.
 * - A new base is written beside the old one and renamed; file and directory are synced in between.
 *   Only then comes a new journal, in the same way, and only then records in it.
 * - When zeroes cannot be written either, nobody knows what stands in the journal. Then a new base
 *   must say that it is in none of it, and until there is one nothing more is kept.
 */
#include "conf/changes_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_common.h>

#include "conf/changes_journal.h"

#define VERSION 2
/* A thousand qubes with a thousand rules each, as people write them. */
#define FILE_BYTES_MAX (256u << 20)
/* A journal is twice as large as its base, so that writing bases stays cheap for each change. */
#define JOURNAL_BYTES_MIN (256u << 10)
#define JOURNAL_BYTES_MAX (16u << 20)

struct changes_file {
	char *directory_path, *base_path, *journal_path;
	int directory;        /* locked; -1: cannot be opened */
	int journal;          /* -1: there is none that records can be appended to */
	size_t used, size;    /* bytes of the journal: with records, and in all */
	uint64_t sequence;    /* of the last record */
	struct changes *kept; /* what is on disk */
	bool uncertain;       /* something else may be: a base must be written before all else */
};

/* Writing. */

struct writer {
	FILE *stream;
	unsigned lines;
	int error;
};

/* Write one object as a line; @p object is taken. */
static void
line_write(struct writer *writer, json_t *object)
{
	if (object == NULL || json_dumpf(object, writer->stream, JSON_COMPACT) != 0 ||
		fputc('\n', writer->stream) == EOF)
		writer->error = -ENOMEM;
	writer->lines++;
	json_decref(object);
}

static void
qube_write(struct writer *writer, const struct qube_change *change, uint64_t now_s)
{
	const struct ruleset *ruleset = &change->ruleset;

	line_write(writer, changes_qube_object(change));
	for (unsigned i = 0; writer->error == 0 && i < ruleset->count; i++)
		if (!changes_is_over(ruleset->rules[i].expire_s, now_s))
			line_write(writer, changes_rule_object(&ruleset->rules[i]));
}

/* @return a whole base, NULL when out of memory */
static char *
base_text(const struct changes *changes, uint64_t sequence, uint64_t now_s, size_t *length)
{
	char *text = NULL;
	struct writer writer = {.stream = open_memstream(&text, length)};

	if (writer.stream == NULL)
		return NULL;
	line_write(&writer, json_pack("{s:s, s:i, s:I}", "file", "sluice changes", "version",
				    VERSION, "sequence", (json_int_t)sequence));
	for (unsigned i = 0; writer.error == 0 && i < changes->qube_count; i++)
		if (changes->qubes[i]->layer == ORIGIN_KEPT)
			qube_write(&writer, changes->qubes[i], now_s);
	for (unsigned i = 0; writer.error == 0 && i < changes->forward_count; i++)
		if (changes->forwards[i]->layer == ORIGIN_KEPT &&
			!changes_is_over(changes->forwards[i]->forward.expire_s, now_s))
			line_write(&writer, changes_forward_object(&changes->forwards[i]->forward));
	if (fflush(writer.stream) == 0 && writer.error == 0)
		fprintf(writer.stream, "{\"lines\":%u,\"checksum\":\"%016" PRIx64 "\"}\n",
			writer.lines, changes_checksum(text, *length));
	if (fclose(writer.stream) == 0 && writer.error == 0)
		return text;
	free(text);
	return NULL;
}

static int
bytes_write(int fd, const char *bytes, size_t length, size_t at)
{
	while (length > 0) {
		ssize_t written = pwrite(fd, bytes, length, (off_t)at);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		bytes += written;
		at += (size_t)written;
		length -= (size_t)written;
	}
	return 0;
}

static int
zeroes_write(int fd, size_t length, size_t at)
{
	static const char zeroes[65536];
	int error = 0;

	while (error == 0 && length > 0) {
		size_t some = RTE_MIN(length, sizeof(zeroes));

		error = bytes_write(fd, zeroes, some, at);
		at += some;
		length -= some;
	}
	return error;
}

/*
 * Put a new file in the place of one, and have it on disk.
 * @param size of the file: zeroes follow the text
 * @param replaced out: the new one is there. That can be so with an error too: then nobody knows
 *	which of the two would be there after a power failure
 * @param kept_open out: its descriptor; NULL: it is closed
 */
static int
file_replace(const struct changes_file *file, const char *name, const char *text, size_t length,
	size_t size, bool *replaced, int *kept_open)
{
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	char beside[32];
	int error, fd;

	*replaced = false;
	snprintf(beside, sizeof(beside), "%s.new", name);
	fd = openat(file->directory, beside, flags, 0600);
	/* One name for all of them: what a crash leaves is overwritten, not collected. */
	if (fd < 0 && errno == EEXIST && unlinkat(file->directory, beside, 0) == 0)
		fd = openat(file->directory, beside, flags, 0600);
	if (fd < 0)
		return -errno;
	error = bytes_write(fd, text, length, 0);
	if (error == 0)
		error = zeroes_write(fd, size - length, length);
	if (error == 0 && fsync(fd) != 0)
		error = -errno;
	if (error == 0 && renameat(file->directory, beside, file->directory, name) != 0)
		error = -errno;
	if (error != 0)
		unlinkat(file->directory, beside, 0);
	*replaced = error == 0;
	if (error == 0 && fsync(file->directory) != 0)
		error = -errno;
	if (error == 0 && kept_open != NULL)
		*kept_open = fd;
	else
		close(fd);
	return error;
}

/* @return 0 or -errno, reported */
static int
base_write(const struct changes_file *file, const struct changes *changes, uint64_t sequence,
	uint64_t now_s, const struct report *report, size_t *length, bool *replaced)
{
	char *text = base_text(changes, sequence, now_s, length);
	int error = text == NULL ? -ENOMEM : *length > FILE_BYTES_MAX ? -EFBIG : 0;

	*replaced = false;
	if (error == 0)
		error = file_replace(file, CHANGES_NAME, text, *length, *length, replaced, NULL);
	if (error != 0)
		report_line(report, "%s cannot be written: %s", file->base_path, strerror(-error));
	free(text);
	return error;
}

static void
journal_close(struct changes_file *file)
{
	if (file->journal >= 0)
		close(file->journal);
	file->journal = -1;
}

/* All that the journal holds is in the base: begin a new one. */
static void
journal_renew(struct changes_file *file, size_t base_length, const struct report *report)
{
	size_t size = RTE_ALIGN_CEIL(2 * base_length, (size_t)4096);
	char header[128];
	bool replaced;
	int error;

	file->size = RTE_MIN(RTE_MAX(size, (size_t)JOURNAL_BYTES_MIN), (size_t)JOURNAL_BYTES_MAX);
	file->used = journal_header(header, sizeof(header), file->size);
	error = file_replace(
		file, JOURNAL_NAME, header, file->used, file->size, &replaced, &file->journal);
	if (error != 0)
		report_line(report, "%s cannot be written: %s; changes are kept without it",
			file->journal_path, strerror(-error));
}

static void
nothing(void *context, const char *line)
{
	(void)context, (void)line;
}

static const struct report quiet = {.line = nothing};

/*
 * Write a base, and have it in the place of all that was there before.
 * @param sequence of the last record that it makes needless
 * @return 0, or -errno, reported: then what was kept before is there, or `uncertain`
 */
static int
compact(struct changes_file *file, const struct changes *changes, uint64_t sequence, uint64_t now_s,
	const struct report *report)
{
	size_t length, old_length;
	bool replaced, undone;
	int error = base_write(file, changes, sequence, now_s, report, &length, &replaced);

	if (!replaced)
		return error;
	/* Records that go on from the one before would leave a gap in the old journal. */
	file->sequence = sequence;
	journal_close(file);
	file->uncertain = error != 0 && base_write(file, file->kept, sequence, now_s, &quiet,
						&old_length, &undone) != 0;
	if (error == 0)
		journal_renew(file, length, report);
	return error;
}

/* Write a record. When that fails, it is not there, or `uncertain`. */
static int
append(struct changes_file *file, const char *record, size_t length, uint64_t now_s,
	const struct report *report)
{
	int error = bytes_write(file->journal, record, length, file->used);

	if (error == 0 && fdatasync(file->journal) != 0)
		error = -errno;
	if (error == 0) {
		file->sequence++;
		file->used += length;
		return 0;
	}
	report_line(report, "%s cannot be written: %s", file->journal_path, strerror(-error));
	if (zeroes_write(file->journal, length, file->used) == 0 && fdatasync(file->journal) == 0)
		return error;
	file->uncertain = true;
	(void)compact(file, file->kept, file->sequence + 1, now_s, &quiet);
	return error;
}

/* Have the directory for ourselves. */
static int
directory_open(struct changes_file *file, const struct report *report)
{
	const char *path = file->directory_path;
	int error;

	if (file->directory >= 0)
		return 0;
	file->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (file->directory < 0) {
		error = -errno;
		report_line(report, "%s cannot be written: %s", path, strerror(-error));
		return error;
	}
	if (flock(file->directory, LOCK_EX | LOCK_NB) == 0)
		return 0;
	error = errno == EWOULDBLOCK ? -EBUSY : -errno;
	report_line(report, "%s cannot be used: %s", path,
		error == -EBUSY ? "another sluiced keeps its changes there" : strerror(-error));
	close(file->directory);
	file->directory = -1;
	return error;
}

int
changes_file_keep(struct changes_file *file, const struct changes *changes, uint64_t now_s,
	const struct report *report)
{
	bool appends = file->journal >= 0 && !file->uncertain;
	struct changes *kept = changes_copy(changes);
	char *record = NULL;
	size_t length = 0;
	int error = kept != NULL ? directory_open(file, report) : -ENOMEM;

	if (error == 0 && appends) {
		record = journal_record(file->kept, changes, file->sequence + 1, now_s, &length);
		error = record == NULL ? -ENOMEM : 0;
	}
	if (error == 0 && (!appends || length > file->size - file->used))
		error = compact(file, changes, file->sequence + 1, now_s, report);
	else if (error == 0 && length > 0)
		error = append(file, record, length, now_s, report);
	if (error == -ENOMEM)
		report_line(report, "out of memory");
	free(record);
	changes_free(error == 0 ? file->kept : kept);
	if (error == 0)
		file->kept = kept;
	return error;
}

/* Reading. */

static int
header_read(struct changes_reader *reader, const json_t *object)
{
	const char *file;
	json_int_t sequence = 0;
	int version;

	if (json_unpack((json_t *)(uintptr_t)object, "{s:s, s:i, s?I !}", "file", &file, "version",
		    &version, "sequence", &sequence) != 0 ||
		strcmp(file, "sluice changes") != 0 || sequence < 0)
		return changes_damaged(reader, "is not the first line of a file of changes");
	if (version < 1 || version > VERSION)
		return changes_damaged(
			reader, "has version %d, and this sluiced knows 1 to %d", version, VERSION);
	if ((version > 1) != (json_object_get(object, "sequence") != NULL))
		return changes_damaged(reader, "sequence: belongs to version 2");
	reader->sequence = (uint64_t)sequence;
	return 0;
}

static int
qube_read(struct changes_reader *reader, const json_t *object)
{
	int error = changes_read_qube(reader, object);

	if (error == 0 && changes_qube_find(reader->changes, reader->qube->qube, ORIGIN_KEPT))
		return changes_damaged(reader, "qube: %s stands twice", reader->qube->qube);
	return error;
}

static int
line_read(struct changes_reader *reader, const char *text, size_t length)
{
	json_error_t where;
	json_t *object = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);
	int error;

	if (object == NULL)
		error = changes_damaged(reader, "is not JSON: %s", where.text);
	else if (reader->line == 1)
		error = header_read(reader, object);
	else if (json_object_get(object, "forward") != NULL)
		error = changes_read_forward(reader, object);
	else if (json_object_get(object, "rule") != NULL)
		error = changes_read_rule(reader, object);
	else
		error = qube_read(reader, object);
	json_decref(object);
	return error;
}

/* The last line says whether the others are complete. @return their length, 0 if not, reported */
static size_t
end_check(struct changes_reader *reader, const char *text, size_t length)
{
	const char *last;
	unsigned long long sum;
	unsigned lines = 0, promised;
	char expected[96];

	for (size_t i = 0; i < length; i++)
		lines += text[i] == '\n';
	reader->line = lines + (length == 0 || text[length - 1] != '\n');
	if (length == 0 || text[length - 1] != '\n' || strlen(text) != length) {
		changes_damaged(reader, "the file is cut off or overwritten");
		return 0;
	}
	last = memrchr(text, '\n', length - 1);
	last = last != NULL ? last + 1 : text;
	if (last == text) {
		changes_damaged(reader, "nothing stands above the last line");
		return 0;
	}
	if (sscanf(last, "{\"lines\":%u,\"checksum\":\"%16llx\"}", &promised, &sum) != 2) {
		changes_damaged(reader, "the last line, with the checksum, is missing");
		return 0;
	}
	snprintf(expected, sizeof(expected), "{\"lines\":%u,\"checksum\":\"%016" PRIx64 "\"}\n",
		lines - 1, changes_checksum(text, (size_t)(last - text)));
	if (strcmp(last, expected) != 0) {
		changes_damaged(reader, "the checksum does not match what stands above it");
		return 0;
	}
	return (size_t)(last - text);
}

static int
base_apply(struct changes_reader *reader, const char *text, size_t length)
{
	const char *end = text + end_check(reader, text, length);
	int error = end == text ? -EINVAL : 0;

	reader->line = 0;
	while (error == 0 && text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));

		reader->line++;
		error = line_read(reader, text, (size_t)(newline - text));
		text = newline + 1;
	}
	return error == 0 ? changes_read_qube_end(reader) : error;
}

/* @return 0 with the text of a file and a NUL behind it, or -errno */
static int
file_load(const char *path, char **text, size_t *length)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat status;
	ssize_t got = 1;
	int error = 0;

	*text = NULL;
	*length = 0;
	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) != 0)
		error = -errno;
	else if (!S_ISREG(status.st_mode))
		error = -EINVAL;
	else if (status.st_size > (off_t)FILE_BYTES_MAX)
		error = -EFBIG;
	if (error == 0 && (*text = malloc((size_t)status.st_size + 1)) == NULL)
		error = -ENOMEM;
	while (error == 0 && got > 0 && *length < (size_t)status.st_size) {
		got = read(fd, *text + *length, (size_t)status.st_size - *length);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got < 0)
			error = -errno;
		else
			*length += (size_t)got;
	}
	if (error == 0)
		(*text)[*length] = '\0';
	close(fd);
	return error;
}

/* @return 0 with @p text NULL when there is no such file, or -errno, reported */
static int
file_load_reported(struct changes_reader *reader, const char *path, char **text, size_t *length)
{
	int error = file_load(path, text, length);

	reader->path = path;
	if (error == 0)
		return 0;
	free(*text);
	*text = NULL;
	if (error == -ENOENT || error == -ENOTDIR)
		return 0;
	report_line(reader->report, "%s: kept changes cannot be read: %s", path, strerror(-error));
	return error;
}

/*
 * Read base and journal.
 * @param content out: what is in the journal; `used` is 0 when there is none
 */
static int
files_read(const struct changes_file *file, struct changes_reader *reader,
	struct journal_content *content)
{
	char *base = NULL, *journal = NULL;
	size_t base_length = 0, journal_length = 0;
	int error;

	*content = (struct journal_content){0};
	reader->changes = changes_new();
	if (reader->changes == NULL)
		return changes_read_no_memory(reader);
	/* The base is never older than a journal that was there first: who only looks takes no
	 * lock. */
	error = file_load_reported(reader, file->journal_path, &journal, &journal_length);
	if (error == 0)
		error = file_load_reported(reader, file->base_path, &base, &base_length);
	if (error == 0 && base != NULL)
		error = base_apply(reader, base, base_length);
	reader->path = file->journal_path;
	if (error == 0 && journal != NULL)
		error = journal_apply(reader, journal, journal_length, content);
	free(base);
	free(journal);
	qube_change_unref(reader->qube);
	reader->qube = NULL;
	if (error != 0)
		changes_free(reader->changes);
	return error;
}

/* Open and close. */

static void
file_free(struct changes_file *file)
{
	if (file == NULL)
		return;
	journal_close(file);
	if (file->directory >= 0)
		close(file->directory);
	changes_free(file->kept);
	free(file->directory_path);
	free(file->base_path);
	free(file->journal_path);
	free(file);
}

static struct changes_file *
file_new(const char *state_dir, const struct report *report)
{
	struct changes_file *file = calloc(1, sizeof(*file));

	if (file != NULL) {
		file->directory = file->journal = -1;
		file->directory_path = strdup(state_dir);
		if (asprintf(&file->base_path, "%s/" CHANGES_NAME, state_dir) < 0)
			file->base_path = NULL;
		if (asprintf(&file->journal_path, "%s/" JOURNAL_NAME, state_dir) < 0)
			file->journal_path = NULL;
		if (file->directory_path != NULL && file->base_path != NULL &&
			file->journal_path != NULL)
			return file;
	}
	file_free(file);
	report_line(report, "out of memory");
	return NULL;
}

int
changes_read(
	const char *state_dir, uint64_t now_s, const struct report *report, struct changes **out)
{
	struct changes_reader reader = {.now_s = now_s, .report = report};
	struct changes_file *file = file_new(state_dir, report);
	struct journal_content content;
	int error = file != NULL ? files_read(file, &reader, &content) : -ENOMEM;

	*out = error == 0 ? reader.changes : NULL;
	file_free(file);
	return error;
}

/* Go on with the journal that is there. */
static void
journal_open(struct changes_file *file, const struct journal_content *content)
{
	struct stat status;
	int fd = openat(file->directory, JOURNAL_NAME, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return;
	if (fstat(fd, &status) != 0) {
		close(fd);
		return;
	}
	file->journal = fd;
	file->size = (size_t)status.st_size;
	file->used = content->used;
}

int
changes_file_open(const char *state_dir, uint64_t now_s, const struct report *report,
	struct changes_file **out, struct changes **changes)
{
	struct changes_reader reader = {.now_s = now_s, .report = report};
	struct changes_file *file = file_new(state_dir, report);
	struct journal_content content;
	int error = file != NULL ? 0 : -ENOMEM;

	*out = NULL;
	*changes = NULL;
	/* Who may not write there may still read, and keeps nothing. */
	if (error == 0 && directory_open(file, report) == -EBUSY)
		error = -EBUSY;
	if (error == 0)
		error = files_read(file, &reader, &content);
	if (error == 0 && (file->kept = changes_copy(reader.changes)) == NULL) {
		changes_free(reader.changes);
		error = changes_read_no_memory(&reader);
	}
	if (error != 0) {
		file_free(file);
		return error;
	}
	file->sequence = reader.sequence;
	if (file->directory >= 0 && (content.records != 0 || content.torn || reader.left_out))
		(void)compact(file, file->kept, file->sequence, now_s, report);
	else if (file->directory >= 0 && content.used != 0)
		journal_open(file, &content);
	*out = file;
	*changes = reader.changes;
	return 0;
}

const char *
changes_file_path(const struct changes_file *file)
{
	return file->base_path;
}

void
changes_file_close(struct changes_file *file, uint64_t now_s, const struct report *report)
{
	char header[128];

	if (file == NULL)
		return;
	if (file->uncertain ||
		(file->journal >= 0 &&
			file->used > journal_header(header, sizeof(header), file->size)))
		(void)compact(file, file->kept, file->sequence + 1, now_s, report);
	file_free(file);
}
