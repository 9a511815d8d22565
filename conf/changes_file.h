/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kept changes on disk, in the state directory: a base, `changes.json`, and a journal of what was
 * changed since, changes_journal.h. In the base stands one JSON object per line (changes_format.h):
 *
 *	{"file": "sluice changes", "version": 2, "sequence": 17}
 *	{"qube": "work", "policy": "drop", "source": "work.rules"}
 *	...
 *	{"lines": 5, "checksum": "0f3c..."}
 *
 * The life of a change: it is appended to the journal as one record, and once that is on disk it is
 * kept. When the journal is full, at start and at the end, a new base is written that has all of it
 * and says up to which record (`sequence`), and then a new journal: who finds the new base beside
 *the old journal leaves out what is in both. Files are replaced by renaming, so they are the old
 *one or the new one. Version 1 is a base that had no journal beside it.
 *
 * Damage is refused, for nobody can know whether what is missing allowed something or forbade it.
 *
 * Control thread only.
 */
#pragma once

#include "conf/changes.h"

struct changes_file;

/**
 * Read kept changes and change nothing; files that are not there mean none. What is over by now is
 * left out.
 * @return 0, or -errno, reported with the line and what to do: -EINVAL for damage
 */
int changes_read(
	const char *state_dir, uint64_t now_s, const struct report *report, struct changes **out);

/**
 * Read them, and make ready to keep more of them. That something cannot be written is reported, and
 * no error: then keeping fails.
 * @return 0, or -errno, reported: as changes_read, or -EBUSY when another sluiced keeps its changes
 *	there
 */
int changes_file_open(const char *state_dir, uint64_t now_s, const struct report *report,
	struct changes_file **out, struct changes **changes);

/**
 * Have the kept ones of @p changes on disk when this returns.
 * @return 0, or -errno, reported: then those that were kept before are on disk
 */
int changes_file_keep(struct changes_file *file, const struct changes *changes, uint64_t now_s,
	const struct report *report);

/** Of the base, for people. */
const char *changes_file_path(const struct changes_file *file);

/** @param file NULL is fine */
void changes_file_close(struct changes_file *file, uint64_t now_s, const struct report *report);
