/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kept changes on disk: `changes.json` in the state directory, one JSON object per line.
 *
 *	{"file": "sluice changes", "version": 1}
 *	{"qube": "work", "policy": "drop", "source": "work.rules"}
 *	{"rule": "action=accept proto=tcp dstports=443-443", "line": 3}
 *	{"rule": "action=accept dst4=192.0.2.1/32 expire=1893456000 comment=lunch"}
 *	{"forward": "work-1", "qube": "work", "rule": "action=forward forwardtype=external ..."}
 *	{"lines": 5, "checksum": "0f3c..."}
 *
 * Rules belong to the qube above them; one with a line was copied from its source, a rules file.
 * The file is replaced as a whole: who reads it finds the old one or the new one. A damaged one is
 * refused, for nobody can know whether what is missing allowed something or forbade it.
 */
#pragma once

#include "conf/changes.h"

#define CHANGES_NAME "changes.json"

/**
 * Read kept changes; a file that is not there means none. What is over by now is left out.
 * @return 0, or -errno, reported with the line and what to do: -EINVAL for a damaged file
 */
int changes_read(
	const char *path, uint64_t now_s, const struct report *report, struct changes **out);

/**
 * Write the kept ones of @p changes that are not over, and have them on disk when this returns.
 * @param replaced out: the file at @p path has been replaced. That can be so with an error too:
 *then nobody knows which of the two would be there after a power failure
 * @return 0 or -errno, reported
 */
int changes_write(const struct changes *changes, uint64_t now_s, const char *path, bool *replaced,
	const struct report *report);
