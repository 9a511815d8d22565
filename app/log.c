/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/log.h"

#include <stdarg.h>
#include <stdio.h>

static void
log_report_line(void *context, const char *line)
{
	(void)context;
	log_line("%s", line);
}

const struct report log_report = {.line = log_report_line};

void
log_line(const char *format, ...)
{
	char line[2048];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	/* One write per line, so that lines of several writers do not mix. */
	fprintf(stderr, "sluiced: %s\n", line);
	fflush(stderr);
}
