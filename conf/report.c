/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines for people: what is wrong or worth knowing, one line each.
 *
 * A line may quote a configuration file or a QubesDB value, and ends on a terminal or in a journal.
 * Control characters are therefore replaced here, once, for everybody: nothing that was quoted can
 * move a cursor or fake a second line.
 */
#include "conf/conf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void
text_sanitise(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

void
report_line(const struct report *report, const char *format, ...)
{
	char *line = NULL;
	va_list arguments;

	if (report == NULL || report->line == NULL)
		return;
	va_start(arguments, format);
	if (vasprintf(&line, format, arguments) < 0)
		line = NULL;
	va_end(arguments);
	if (line == NULL) {
		/* Without memory the bare format still says which kind of thing went wrong. */
		report->line(report->context, format);
		return;
	}
	text_sanitise(line);
	report->line(report->context, line);
	free(line);
}
