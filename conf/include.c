/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A configuration of several files has one count of lines: where those of one file end, those of
 * the next one begin. So a line number alone says where something stands, and whoever keeps one
 * needs no file beside it.
 */
#include "conf/include.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INCLUDES_MAX 256

struct conf_files *
conf_files_ref(struct conf_files *files)
{
	if (files != NULL)
		files->references++;
	return files;
}

void
conf_files_unref(struct conf_files *files)
{
	if (files == NULL || --files->references != 0)
		return;
	for (unsigned i = 0; i < files->count; i++)
		free(files->file[i].path);
	free(files);
}

int
conf_files_add(struct conf_files **files, const char *path, unsigned lines)
{
	unsigned count = *files != NULL ? (*files)->count : 0;
	struct conf_files *grown =
		realloc(*files, sizeof(**files) + (count + 1) * sizeof((*files)->file[0]));

	if (grown == NULL)
		return -ENOMEM;
	if (count == 0)
		*grown = (struct conf_files){.references = 1};
	*files = grown;
	grown->file[count] = (struct conf_file){.path = strdup(path), .first = lines + 1};
	if (grown->file[count].path == NULL)
		return -ENOMEM;
	grown->count++;
	return 0;
}

static const struct conf_file *
file_find(const struct conf *conf, unsigned line)
{
	const struct conf_files *files = conf->files;
	unsigned i = files != NULL ? files->count : 0;

	while (i > 0 && files->file[i - 1].first > line)
		i--;
	return i > 0 ? &files->file[i - 1] : NULL;
}

const char *
conf_file_path(const struct conf *conf, unsigned line)
{
	const struct conf_file *file = file_find(conf, line);

	return file != NULL ? file->path : conf->path;
}

bool
conf_file_same(const struct conf *conf, unsigned line, unsigned other)
{
	return file_find(conf, line) == file_find(conf, other);
}

const char *
conf_place(const struct conf *conf, unsigned line, char text[PLACE_SIZE])
{
	const struct conf_file *file = file_find(conf, line);

	if (line == 0)
		snprintf(text, PLACE_SIZE, "%.*s", PLACE_SIZE - 1, conf->path);
	else
		snprintf(text, PLACE_SIZE, "%.*s:%u", PLACE_SIZE - 12,
			file != NULL ? file->path : conf->path,
			file != NULL ? line - file->first + 1 : line);
	return text;
}

const char *
conf_other_place(const struct conf *conf, unsigned line, unsigned other, char text[PLACE_SIZE])
{
	const struct conf_file *file = file_find(conf, other);

	if (!conf_file_same(conf, line, other))
		return conf_place(conf, other, text);
	snprintf(text, PLACE_SIZE, "line %u", file != NULL ? other - file->first + 1 : other);
	return text;
}

/* A folder that is not there holds no files. */
static int
folder_error(const char *path, int error)
{
	(void)path;
	return error != ENOENT && error != ENOTDIR;
}

int
include_find(const char *pattern, char ***paths, unsigned *count)
{
	glob_t found = {0};
	int error = glob(pattern, 0, folder_error, &found);

	*paths = NULL;
	*count = 0;
	if (error == GLOB_NOMATCH)
		return 0;
	if (error != 0) {
		globfree(&found);
		return error == GLOB_NOSPACE ? -ENOMEM : -EIO;
	}
	if (found.gl_pathc > INCLUDES_MAX) {
		globfree(&found);
		return -E2BIG;
	}
	*paths = calloc(found.gl_pathc, sizeof(**paths));
	for (size_t i = 0; *paths != NULL && i < found.gl_pathc; i++) {
		(*paths)[i] = strdup(found.gl_pathv[i]);
		if ((*paths)[i] == NULL)
			break;
		++*count;
	}
	error = *count == found.gl_pathc ? 0 : -ENOMEM;
	globfree(&found);
	return error;
}
