/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files behind sluice.conf, which `include` names.
 */
#pragma once

#include "conf/conf.h"

struct loader;

/* Files that make up one configuration. Counted: configurations made of another share them. */
struct conf_files {
	unsigned references;
	unsigned count;
	struct conf_file {
		char *path;
		unsigned first; /* number of its first line: lines are counted through all files */
	} file[];
};

struct conf_files *conf_files_ref(struct conf_files *files); /* NULL is fine */
void conf_files_unref(struct conf_files *files);             /* NULL is fine */

/**
 * Begin a file: its lines come after those of all before it.
 * @param lines that were read so far
 * @return 0 or -ENOMEM
 */
int conf_files_add(struct conf_files **files, const char *path, unsigned lines);

/** The file in which a line stands. */
const char *conf_file_path(const struct conf *conf, unsigned line);

/** Whether two lines stand in the same file. */
bool conf_file_same(const struct conf *conf, unsigned line, unsigned other);

/**
 * The files that a pattern names, in the order of their names.
 * @param paths out, to be freed with all that is in it
 * @return 0, also when there are none or no folder; -errno
 */
int include_find(const char *pattern, char ***paths, unsigned *count);
