/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records of the journal of kept changes: made of the difference between two states, and applied.
 *
 * States share what is the same in them, so a difference is found by comparing pointers.
 */
#include "conf/changes_journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* How a record ends: where the checksum stands, and how long that is. */
#define TAIL ",\"checksum\":\"%016" PRIx64 "\"}\n"
#define TAIL_SIZE sizeof(",\"checksum\":\"0123456789abcdef\"}\n")
/* What a disk writes whole or not at all. */
#define SECTOR 512u
#define HEADER "{\"file\":\"sluice journal\",\"version\":1,\"size\":%zu}\n"

/* Writing. */

size_t
journal_header(char *text, size_t text_size, size_t size)
{
	return (size_t)snprintf(text, text_size, HEADER, size);
}

/* Append to a list; @p object is taken. @return false when out of memory */
static bool
add(json_t *list, json_t *object)
{
	return json_array_append_new(list, object) == 0;
}

static bool
add_qube(json_t *list, const struct qube_change *change, uint64_t now_s)
{
	json_t *object = changes_qube_object(change);
	json_t *rules = json_array();
	bool complete = object != NULL && rules != NULL;

	for (unsigned i = 0; complete && i < change->ruleset.count; i++)
		if (!changes_is_over(change->ruleset.rules[i].expire_s, now_s))
			complete = add(rules, changes_rule_object(&change->ruleset.rules[i]));
	complete = json_object_set_new(object, "rules", rules) == 0 && complete;
	if (!complete) {
		json_decref(object);
		return false;
	}
	return add(list, object);
}

/* The next kept list at or behind a place. @return their count when there is none */
static unsigned
next_qube(const struct changes *changes, unsigned place)
{
	while (place < changes->qube_count && changes->qubes[place]->layer != ORIGIN_KEPT)
		place++;
	return place;
}

static unsigned
next_forward(const struct changes *changes, unsigned place)
{
	while (place < changes->forward_count && changes->forwards[place]->layer != ORIGIN_KEPT)
		place++;
	return place;
}

/* Both are sorted by name. */
static bool
add_qubes(json_t *list, const struct changes *before, const struct changes *after, uint64_t now_s)
{
	unsigned old = next_qube(before, 0), new = next_qube(after, 0);
	bool complete = true;

	while (complete && (old < before->qube_count || new < after->qube_count)) {
		const struct qube_change *was = NULL, *is = NULL;
		int order;

		if (old < before->qube_count)
			was = before->qubes[old];
		if (new < after->qube_count)
			is = after->qubes[new];
		order = was == NULL ? 1 : is == NULL ? -1 : strcmp(was->qube, is->qube);
		if (order < 0)
			complete = add(list, json_pack("{s:s}", "qube", was->qube));
		else if (was != is)
			complete = add_qube(list, is, now_s);
		if (order <= 0)
			old = next_qube(before, old + 1);
		if (order >= 0)
			new = next_qube(after, new + 1);
	}
	return complete;
}

/*
 * Forwards stand in the order in which they came, so those that are in both states are in the same
 * order. Deletions come first: what is new may be where something else was.
 */
static bool
add_forwards(
	json_t *list, const struct changes *before, const struct changes *after, uint64_t now_s)
{
	unsigned new = next_forward(after, 0);
	bool complete = true;

	for (unsigned old = next_forward(before, 0); complete && old < before->forward_count;
		old = next_forward(before, old + 1)) {
		const struct forward_change *was = before->forwards[old];

		if (new < after->forward_count && was == after->forwards[new])
			new = next_forward(after, new + 1);
		else
			complete = add(list, json_pack("{s:s}", "forward", was->forward.name));
	}
	for (; complete && new < after->forward_count; new = next_forward(after, new + 1)) {
		const struct conf_forward *is = &after->forwards[new]->forward;

		if (!changes_is_over(is->expire_s, now_s))
			complete = add(list, changes_forward_object(is));
	}
	return complete;
}

/* @return the line with its checksum, NULL when out of memory */
static char *
record_text(const json_t *object, size_t *length)
{
	size_t bytes = json_dumpb(object, NULL, 0, JSON_COMPACT);
	char *text = bytes != 0 ? malloc(bytes + TAIL_SIZE) : NULL;

	if (text == NULL || json_dumpb(object, text, bytes, JSON_COMPACT) != bytes) {
		free(text);
		return NULL;
	}
	/* The checksum becomes the last member, in place of the brace. */
	bytes--;
	*length = bytes + (size_t)sprintf(text + bytes, TAIL, changes_checksum(text, bytes));
	return text;
}

char *
journal_record(const struct changes *before, const struct changes *after, uint64_t sequence,
	uint64_t now_s, size_t *length)
{
	json_t *list = json_array();
	json_t *object = json_pack("{s:I, s:o}", "sequence", (json_int_t)sequence, "changes", list);
	char *text = NULL;

	*length = 0;
	if (object != NULL && add_forwards(list, before, after, now_s) &&
		add_qubes(list, before, after, now_s))
		text = json_array_size(list) != 0 ? record_text(object, length) : strdup("");
	json_decref(object);
	return text;
}

/* Reading. */

static int
apply_qube(struct changes_reader *reader, json_t *object)
{
	json_t *rules = json_incref(json_object_get(object, "rules"));
	const char *qube = json_string_value(json_object_get(object, "qube"));
	const json_t *rule;
	size_t i;
	int error;

	if (json_object_size(object) == 1 && qube != NULL) {
		changes_qube_drop(reader->changes, qube, ORIGIN_KEPT);
		return 0;
	}
	json_object_del(object, "rules");
	error = json_is_array(rules) ? changes_read_qube(reader, object)
				     : changes_damaged(reader, "a qube without its rules");
	if (error == 0)
		json_array_foreach (rules, i, rule)
			if (error == 0)
				error = changes_read_rule(reader, rule);
	json_decref(rules);
	return error == 0 ? changes_read_qube_end(reader) : error;
}

static int
apply_forward(struct changes_reader *reader, const json_t *object)
{
	const char *name = json_string_value(json_object_get(object, "forward"));

	if (json_object_size(object) != 1 || name == NULL)
		return changes_read_forward(reader, object);
	for (unsigned i = reader->changes->forward_count; i-- > 0;)
		if (strcmp(reader->changes->forwards[i]->forward.name, name) == 0)
			changes_forward_drop(reader->changes, i);
	return 0;
}

/* @param last out: sequence number of the record; in: that of the one before, 0 for none */
static int
record_apply(struct changes_reader *reader, json_t *object, uint64_t *last)
{
	json_int_t sequence;
	uint64_t before = *last;
	json_t *list, *change;
	const char *sum;
	size_t i;
	int error = 0;

	if (json_unpack(object, "{s:I, s:o, s:s !}", "sequence", &sequence, "changes", &list,
		    "checksum", &sum) != 0 ||
		sequence <= 0 || !json_is_array(list))
		return changes_damaged(reader, "is no record of the journal");
	*last = (uint64_t)sequence;
	if (before != 0 && *last != before + 1)
		return changes_damaged(
			reader, "change %" PRIu64 " follows change %" PRIu64, *last, before);
	/* From before a new base, and a crash before the journal was emptied. */
	if (*last <= reader->sequence)
		return 0;
	if (*last != reader->sequence + 1)
		return changes_damaged(reader,
			"changes before number %" PRIu64 " are missing, " CHANGES_NAME
			" has those up to %" PRIu64,
			*last, reader->sequence);
	json_array_foreach (list, i, change) {
		if (error != 0)
			break;
		error = json_object_get(change, "forward") != NULL ? apply_forward(reader, change)
								   : apply_qube(reader, change);
	}
	reader->sequence = *last;
	return error;
}

/* Whether a line, without its newline, is what was written there. */
static bool
line_is_whole(const char *line, size_t length)
{
	const size_t tail = TAIL_SIZE - 2;
	char expected[TAIL_SIZE];

	if (length < tail)
		return false;
	snprintf(expected, sizeof(expected), TAIL, changes_checksum(line, length - tail));
	return memcmp(line + length - tail, expected, tail) == 0;
}

static int
line_apply(struct changes_reader *reader, const char *line, size_t length, uint64_t *last)
{
	json_error_t where;
	json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, &where);
	int error = object != NULL ? record_apply(reader, object, last)
				   : changes_damaged(reader, "is not JSON: %s", where.text);

	json_decref(object);
	return error;
}

/*
 * Whether zeroes between some bytes are sectors that never reached the disk.
 * @param at, end where the bytes are; @param any out: there are such sectors
 */
static bool
holes_are_sectors(const char *text, size_t at, size_t end, bool *any)
{
	*any = false;
	for (size_t i = at; i < end; i++) {
		if (text[i] != '\0')
			continue;
		*any = true;
		if (i != at && i % SECTOR != 0)
			return false;
		while (i < end && text[i] == '\0')
			i++;
		if (i % SECTOR != 0)
			return false;
	}
	return true;
}

/*
 * Whether bytes that are no record can be what a power failure left of one: its beginning, or some
 * of its sectors. @param end behind the last byte of the file that is not zero
 */
static bool
is_torn(const char *text, size_t at, size_t end)
{
	const char *newline = memchr(text + at, '\n', end - at);
	bool holes;

	if (newline != NULL && newline != text + end - 1)
		return false;
	if (!holes_are_sectors(text, at, end, &holes))
		return false;
	/* All of it is there, and something in it is not what it was. */
	if (!holes && (newline != NULL || line_is_whole(text + at, end - at - 1)))
		return false;
	return true;
}

/* @return the bytes of the first line, 0 if it is not right, reported */
static size_t
header_read(struct changes_reader *reader, const char *text, size_t size)
{
	char expected[128];
	size_t said, length;

	reader->line = 1;
	if (sscanf(text, "{\"file\":\"sluice journal\",\"version\":1,\"size\":%zu}", &said) != 1) {
		changes_damaged(
			reader, "is not the first line of a journal that this sluiced knows");
		return 0;
	}
	length = journal_header(expected, sizeof(expected), said);
	if (said == size && strncmp(text, expected, length) == 0)
		return length;
	changes_damaged(reader, "the file has %zu bytes, and should have %zu", size, said);
	return 0;
}

int
journal_apply(struct changes_reader *reader, const char *text, size_t size,
	struct journal_content *content)
{
	uint64_t last = 0;
	size_t end = size;

	*content = (struct journal_content){.used = header_read(reader, text, size)};
	if (content->used == 0)
		return -EINVAL;
	while (text[end - 1] == '\0')
		end--;
	for (reader->line = 2; content->used < end; reader->line++) {
		const char *line = text + content->used;
		const char *newline = memchr(line, '\n', end - content->used);
		int error;

		if (newline == NULL || !line_is_whole(line, (size_t)(newline - line))) {
			if (!is_torn(text, content->used, end))
				return changes_damaged(
					reader, "the checksum does not match the record");
			report_line(reader->report,
				"%s:%u: was being written when sluiced or the machine went down, "
				"and was never answered; it is left out",
				reader->path, reader->line);
			content->torn = true;
			return 0;
		}
		error = line_apply(reader, line, (size_t)(newline - line), &last);
		if (error != 0)
			return error;
		content->records++;
		content->used += (size_t)(newline - line) + 1;
	}
	return 0;
}
