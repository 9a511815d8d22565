/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
log_report_line(void *context, const char *line)
{
	(void)context;
	log_line("%s", line);
}

const struct report log_report = {.line = log_report_line};

/* systemd says which stream is the journal's: sd_journal_stream_fd(3), systemd.exec(5). */
static bool
journal_reads(void)
{
	static int answer = -1;
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat file;

	if (answer < 0)
		answer = stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
			 fstat(STDERR_FILENO, &file) == 0 && file.st_dev == device &&
			 file.st_ino == inode;
	return answer != 0;
}

/* One write per line, so that lines of several writers do not mix. */
static void
line_write(int priority, char *text)
{
	text_sanitise(text);
	if (journal_reads())
		fprintf(stderr, "<%d>sluiced: %s\n", priority, text);
	else
		fprintf(stderr, "sluiced: %s\n", text);
	fflush(stderr);
}

void
log_line(const char *format, ...)
{
	char line[4096];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	line_write(LOG_INFO, line);
}

/* A word stands as it is; whatever else could be taken for two of them, or none, is quoted. */
static bool
is_word(const char *text)
{
	size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "0123456789._:/@%+-");

	return length != 0 && text[length] == '\0';
}

void
log_fields_write(FILE *stream, json_t *fields)
{
	const char *key;
	json_t *value;

	json_object_foreach (fields, key, value) {
		const char *text = json_string_value(value);

		fprintf(stream, " %s=", key);
		if (text != NULL && is_word(text))
			fputs(text, stream);
		else
			json_dumpf(value, stream,
				JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII |
					JSON_REAL_PRECISION(9));
	}
}

void
log_fields(const char *kind, const char *text, json_t *fields)
{
	char *line = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&line, &size);

	if (stream == NULL)
		return;
	fprintf(stream, "%s%sevent=%s", text != NULL ? text : "", text != NULL ? "; " : "", kind);
	log_fields_write(stream, fields);
	if (fclose(stream) == 0)
		line_write(LOG_NOTICE, line);
	free(line);
}
