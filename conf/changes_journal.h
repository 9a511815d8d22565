/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The journal of kept changes: `changes.journal`, one record per line, and zeroes behind the last.
 *
 *	{"file":"sluice journal","version":1,"size":262144}
 *	{"sequence":18,"changes":[{"forward":"web"},{"qube":"work"}],"checksum":"0f3c..."}
 *	{"sequence":19,"changes":[{"qube":"work","policy":"drop","rules":[{"rule":"..."}]},
 *	{"forward":"web","qube":"work","rule":"..."}],"checksum":"71a0..."}
 *
 * A record has all that one change has changed, as it is after it: of a qube its whole list, or its
 * name alone when it has no kept list any more; of a forward what it says, or its name alone when
 *it was deleted. The checksum is that of everything before its comma. Sequence numbers have no
 *gaps.
 *
 * The file has its full size from the beginning: a record that is written changes nothing but
 *bytes, and having it on disk takes one write of the disk, not a second one about the file's
 *length.
 */
#pragma once

#include "conf/changes_format.h"

/**
 * Describe what is different between two states of kept changes.
 * @param length out: bytes, with the newline; 0 when there is no difference
 * @return the record, to be freed; NULL when out of memory
 */
char *journal_record(const struct changes *before, const struct changes *after, uint64_t sequence,
	uint64_t now_s, size_t *length);

/** The first line of a journal. @return its bytes */
size_t journal_header(char *text, size_t text_size, size_t size);

/* What a journal holds. */
struct journal_content {
	unsigned records;
	size_t used; /* bytes up to the end of the last whole one */
	bool torn;   /* another one follows that was never completed */
};

/**
 * Apply the records that are newer than what was read so far, in order.
 *
 * A last one that is not complete was under way when the power failed, and nobody was told that it
 * is kept: it is left out, and reported. Anything else that is not a record is damage.
 * @param text, size the whole file, behind it a NUL
 * @return 0 or -errno, reported: -EINVAL for a damaged journal
 */
int journal_apply(struct changes_reader *reader, const char *text, size_t size,
	struct journal_content *content);
