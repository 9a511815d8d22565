/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kept changes: to disk and back. See changes_file.h for the format.
 *
 * Written beside the file and renamed; file and directory are synced in between, so that a change
 * that was answered outlives a power failure, and one that was not is there whole or not at all.
 */
#include "conf/changes_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "conf/forward_check.h"
#include "conf/rule_text.h"
#include "conf/value.h"

#define VERSION 1
/* A thousand qubes with a thousand rules each, as people write them. */
#define FILE_BYTES_MAX (256u << 20)

/* FNV-1a: it finds what fails by itself; who means harm and may write here needs no checksum. */
static uint64_t
checksum(const char *text, size_t length)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < length; i++)
		sum = (sum ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
	return sum;
}

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

static bool
is_over(uint64_t expire_s, uint64_t now_s)
{
	return expire_s != 0 && expire_s <= now_s;
}

static void
rule_line_write(struct writer *writer, const struct rule *rule)
{
	char *text = rule_format(rule, false);
	json_t *object = json_pack("{s:s?}", "rule", text);

	if (text == NULL)
		writer->error = -ENOMEM;
	if (rule->line != 0)
		json_object_set_new(object, "line", json_integer(rule->line));
	line_write(writer, object);
	free(text);
}

static void
qube_write(struct writer *writer, const struct qube_change *change, uint64_t now_s)
{
	const struct ruleset *ruleset = &change->ruleset;
	json_t *object = json_pack("{s:s, s:s}", "qube", change->qube, "policy",
		ruleset->policy == ACTION_ACCEPT ? "accept" : "drop");

	if (change->source != NULL)
		json_object_set_new(object, "source", json_string(change->source));
	line_write(writer, object);
	for (unsigned i = 0; writer->error == 0 && i < ruleset->count; i++)
		if (!is_over(ruleset->rules[i].expire_s, now_s))
			rule_line_write(writer, &ruleset->rules[i]);
}

static void
forward_line_write(struct writer *writer, const struct conf_forward *forward)
{
	char *text = forward_format(forward, false);

	line_write(writer, text != NULL ? json_pack("{s:s, s:s, s:s}", "forward", forward->name,
						  "qube", forward->qube, "rule", text)
					: NULL);
	free(text);
}

/* @return the whole file, NULL when out of memory */
static char *
changes_text(const struct changes *changes, uint64_t now_s, size_t *length)
{
	char *text = NULL;
	struct writer writer = {.stream = open_memstream(&text, length)};

	if (writer.stream == NULL)
		return NULL;
	line_write(&writer, json_pack("{s:s, s:i}", "file", "sluice changes", "version", VERSION));
	for (unsigned i = 0; writer.error == 0 && i < changes->qube_count; i++)
		if (changes->qubes[i]->layer == ORIGIN_KEPT)
			qube_write(&writer, changes->qubes[i], now_s);
	for (unsigned i = 0; writer.error == 0 && i < changes->forward_count; i++)
		if (changes->forwards[i]->layer == ORIGIN_KEPT &&
			!is_over(changes->forwards[i]->forward.expire_s, now_s))
			forward_line_write(&writer, &changes->forwards[i]->forward);
	if (fflush(writer.stream) == 0 && writer.error == 0)
		fprintf(writer.stream, "{\"lines\":%u,\"checksum\":\"%016" PRIx64 "\"}\n",
			writer.lines, checksum(text, *length));
	if (fclose(writer.stream) == 0 && writer.error == 0)
		return text;
	free(text);
	return NULL;
}

static int
bytes_write(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, text, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		text += written;
		length -= (size_t)written;
	}
	return fsync(fd) == 0 ? 0 : -errno;
}

/* Have the name of a file on disk, as fsync has its bytes. */
static int
directory_sync(const char *path)
{
	char *directory = strdup(path);
	char *slash = directory != NULL ? strrchr(directory, '/') : NULL;
	int error = directory == NULL ? -ENOMEM : 0;
	int fd = -1;

	if (slash != NULL)
		*slash = '\0';
	if (error == 0)
		fd = open(slash != NULL ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (error == 0 && (fd < 0 || fsync(fd) != 0))
		error = -errno;
	if (fd >= 0)
		close(fd);
	free(directory);
	return error;
}

static int
file_replace(const char *path, const char *text, size_t length, bool *replaced)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	char *beside;
	int error, fd;

	if (asprintf(&beside, "%s.new", path) < 0)
		return -ENOMEM;
	fd = open(beside, flags, 0600);
	/* One name for all of them: what a crash leaves is overwritten, not collected. */
	if (fd < 0 && errno == EEXIST && unlink(beside) == 0)
		fd = open(beside, flags, 0600);
	error = fd < 0 ? -errno : bytes_write(fd, text, length);
	if (fd >= 0 && close(fd) != 0 && error == 0)
		error = -errno;
	if (error == 0 && rename(beside, path) != 0)
		error = -errno;
	if (error != 0) {
		unlink(beside);
	} else {
		*replaced = true;
		error = directory_sync(path);
	}
	free(beside);
	return error;
}

int
changes_write(const struct changes *changes, uint64_t now_s, const char *path, bool *replaced,
	const struct report *report)
{
	size_t length = 0;
	char *text = changes_text(changes, now_s, &length);
	int error = text == NULL ? -ENOMEM : 0;

	*replaced = false;
	if (error == 0 && length > FILE_BYTES_MAX)
		error = -EFBIG;
	if (error == 0)
		error = file_replace(path, text, length, replaced);
	if (error != 0)
		report_line(report, "%s cannot be written: %s", path, strerror(-error));
	free(text);
	return error;
}

/* Reading. */

struct reader {
	const char *path;
	unsigned line; /* 1-based */
	uint64_t now_s;
	const struct report *report;
	struct changes *changes;
	struct qube_change *qube; /* whose rules are being read */
	unsigned capacity;        /* of its rules */
};

static int damaged(struct reader *reader, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int
damaged(struct reader *reader, const char *format, ...)
{
	char reason[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	report_line(reader->report,
		"%s:%u: %s; put a copy of the file from before in its place, or move it away: then "
		"what was changed over the control socket is forgotten, and the rules of the "
		"configuration hold",
		reader->path, reader->line, reason);
	return -EINVAL;
}

static int
no_memory(struct reader *reader)
{
	report_line(reader->report, "%s: out of memory", reader->path);
	return -ENOMEM;
}

/* All rules of a qube have been read. */
static int
qube_finish(struct reader *reader)
{
	struct qube_change *change = reader->qube;

	reader->qube = NULL;
	if (change == NULL || changes_qube_put(reader->changes, change) == 0)
		return 0;
	return no_memory(reader);
}

static int
qube_read(struct reader *reader, const json_t *object)
{
	const char *qube, *policy, *source = NULL;
	char reason[REASON_SIZE];
	int error = qube_finish(reader);

	if (error != 0)
		return error;
	if (json_unpack((json_t *)(uintptr_t)object, "{s:s, s:s, s?s !}", "qube", &qube, "policy",
		    &policy, "source", &source) != 0)
		return damaged(reader, "is no line about a qube");
	if (!value_name(qube, reason))
		return damaged(reader, "qube: \"%.64s\" %s", qube, reason);
	if (strcmp(policy, "accept") != 0 && strcmp(policy, "drop") != 0)
		return damaged(reader, "policy: \"%.64s\" is neither accept nor drop", policy);
	for (unsigned i = 0; i < reader->changes->qube_count; i++)
		if (strcmp(reader->changes->qubes[i]->qube, qube) == 0)
			return damaged(reader, "qube: %s stands twice", qube);
	reader->qube = calloc(1, sizeof(*reader->qube));
	if (reader->qube == NULL)
		return no_memory(reader);
	reader->capacity = 0;
	reader->qube->references = 1;
	reader->qube->layer = ORIGIN_KEPT;
	snprintf(reader->qube->qube, NAME_SIZE, "%s", qube);
	reader->qube->ruleset.policy = strcmp(policy, "accept") == 0 ? ACTION_ACCEPT : ACTION_DROP;
	if (source != NULL && (reader->qube->source = strdup(source)) == NULL)
		return no_memory(reader);
	return 0;
}

static int
rule_room(struct reader *reader)
{
	struct ruleset *ruleset = &reader->qube->ruleset;
	unsigned capacity = reader->capacity != 0 ? reader->capacity * 2 : 16;
	struct rule *grown;

	if (ruleset->count == RULES_MAX)
		return damaged(reader, "more than %u rules", RULES_MAX);
	if (ruleset->count < reader->capacity)
		return 0;
	grown = reallocarray(ruleset->rules, capacity, sizeof(*grown));
	if (grown == NULL)
		return no_memory(reader);
	ruleset->rules = grown;
	reader->capacity = capacity;
	return 0;
}

static int
rule_read(struct reader *reader, const json_t *object)
{
	char reason[RULE_ERROR_SIZE];
	const char *text;
	struct rule rule;
	int line = 0;
	int error;

	if (json_unpack((json_t *)(uintptr_t)object, "{s:s, s?i !}", "rule", &text, "line",
		    &line) != 0 ||
		line < 0)
		return damaged(reader, "is no line about a rule");
	if (reader->qube == NULL)
		return damaged(reader, "a rule of no qube");
	error = rule_room(reader);
	if (error != 0)
		return error;
	if (rule_parse(text, 0, &rule, reason, sizeof(reason)) != 0)
		return damaged(reader, "%s", reason);
	if (is_over(rule.expire_s, reader->now_s)) {
		rule_clear(&rule);
		return 0;
	}
	rule.line = (unsigned)line;
	rule.origin = line != 0 ? ORIGIN_FILE : ORIGIN_KEPT;
	reader->qube->ruleset.rules[reader->qube->ruleset.count++] = rule;
	return 0;
}

static int
forward_check(struct reader *reader, const struct conf_forward *forward)
{
	const struct changes *changes = reader->changes;

	if (changes->forward_count == FORWARDS_MAX)
		return damaged(reader, "more than %u forwards", FORWARDS_MAX);
	for (unsigned i = 0; i < changes->forward_count; i++) {
		const struct conf_forward *other = &changes->forwards[i]->forward;

		if (strcmp(other->name, forward->name) == 0)
			return damaged(reader, "forward: %s stands twice", forward->name);
		if (forwards_overlap(other, forward))
			return damaged(
				reader, "forward: %s overlaps %s", forward->name, other->name);
	}
	return 0;
}

static int
forward_read(struct reader *reader, const json_t *object)
{
	char reason[RULE_ERROR_SIZE];
	struct conf_forward forward;
	const char *name, *qube, *text;
	int error = qube_finish(reader);

	if (error != 0)
		return error;
	if (json_unpack((json_t *)(uintptr_t)object, "{s:s, s:s, s:s !}", "forward", &name, "qube",
		    &qube, "rule", &text) != 0)
		return damaged(reader, "is no line about a forward");
	if (!value_name(name, reason))
		return damaged(reader, "forward: \"%.64s\" %s", name, reason);
	if (!value_name(qube, reason))
		return damaged(reader, "qube: \"%.64s\" %s", qube, reason);
	if (forward_parse(text, 0, &forward, reason, sizeof(reason)) != 0)
		return damaged(reader, "%s", reason);
	snprintf(forward.name, sizeof(forward.name), "%s", name);
	snprintf(forward.qube, sizeof(forward.qube), "%s", qube);
	if (!is_over(forward.expire_s, reader->now_s)) {
		error = forward_check(reader, &forward);
		if (error == 0 && changes_forward_put(reader->changes, ORIGIN_KEPT, &forward) == 0)
			return 0;
		if (error == 0)
			error = no_memory(reader);
	}
	free(forward.comment);
	return error;
}

static int
header_read(struct reader *reader, const json_t *object)
{
	const char *file;
	int version;

	if (json_unpack((json_t *)(uintptr_t)object, "{s:s, s:i !}", "file", &file, "version",
		    &version) != 0 ||
		strcmp(file, "sluice changes") != 0)
		return damaged(reader, "is not the first line of a file of changes");
	if (version != VERSION)
		return damaged(
			reader, "has version %d, and this sluiced knows %d", version, VERSION);
	return 0;
}

static int
line_read(struct reader *reader, const char *text, size_t length)
{
	json_error_t where;
	json_t *object = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);
	int error;

	if (object == NULL)
		error = damaged(reader, "is not JSON: %s", where.text);
	else if (reader->line == 1)
		error = header_read(reader, object);
	else if (json_object_get(object, "forward") != NULL)
		error = forward_read(reader, object);
	else if (json_object_get(object, "rule") != NULL)
		error = rule_read(reader, object);
	else
		error = qube_read(reader, object);
	json_decref(object);
	return error;
}

/* The last line says whether the others are complete. @return their length, 0 if not, reported */
static size_t
end_check(struct reader *reader, const char *text, size_t length)
{
	const char *last;
	unsigned long long sum;
	unsigned lines = 0, promised;
	char expected[96];

	for (size_t i = 0; i < length; i++)
		lines += text[i] == '\n';
	reader->line = lines + (length == 0 || text[length - 1] != '\n');
	if (length == 0 || text[length - 1] != '\n' || strlen(text) != length) {
		damaged(reader, "the file is cut off or overwritten");
		return 0;
	}
	last = memrchr(text, '\n', length - 1);
	last = last != NULL ? last + 1 : text;
	if (sscanf(last, "{\"lines\":%u,\"checksum\":\"%16llx\"}", &promised, &sum) != 2) {
		damaged(reader, "the last line, with the checksum, is missing");
		return 0;
	}
	snprintf(expected, sizeof(expected), "{\"lines\":%u,\"checksum\":\"%016" PRIx64 "\"}\n",
		lines - 1, checksum(text, (size_t)(last - text)));
	if (strcmp(last, expected) != 0) {
		damaged(reader, "the checksum does not match what stands above it");
		return 0;
	}
	return (size_t)(last - text);
}

static int
text_read(struct reader *reader, const char *text, size_t length)
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
	return error == 0 ? qube_finish(reader) : error;
}

/* @return 0 with the text of a file and a NUL behind it, or -errno */
static int
file_load(const char *path, char **text, size_t *length)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat status;
	ssize_t got = 1;
	int error = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) != 0)
		error = -errno;
	else if (!S_ISREG(status.st_mode))
		error = -EINVAL;
	else if (status.st_size > (off_t)FILE_BYTES_MAX)
		error = -EFBIG;
	*text = error == 0 ? malloc((size_t)status.st_size + 1) : NULL;
	if (error == 0 && *text == NULL)
		error = -ENOMEM;
	*length = 0;
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

int
changes_read(const char *path, uint64_t now_s, const struct report *report, struct changes **out)
{
	struct reader reader = {.path = path, .now_s = now_s, .report = report};
	size_t length = 0;
	char *text = NULL;
	int error = file_load(path, &text, &length);
	bool absent = error == -ENOENT || error == -ENOTDIR;

	*out = NULL;
	reader.changes = error == 0 || absent ? changes_new() : NULL;
	if (error != 0 && !absent)
		report_line(report, "%s: kept changes cannot be read: %s", path, strerror(-error));
	else if (reader.changes == NULL)
		error = no_memory(&reader);
	else if (absent)
		error = 0;
	else
		error = text_read(&reader, text, length);
	qube_change_unref(reader.qube);
	free(text);
	if (error != 0) {
		changes_free(reader.changes);
		return error;
	}
	*out = reader.changes;
	return 0;
}
