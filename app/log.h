/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of the daemon: one line each, to stderr, from the control thread. What a message quotes
 * cannot end its line. In a journal every line has its priority.
 */
#pragma once

#include <jansson.h>
#include <syslog.h>

#include "conf/conf.h"

/** Where configuration, ports and policy report to in sluiced. */
extern const struct report log_report;

/** Write one line `sluiced: ...`. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * Write one line `sluiced: TEXT; event=KIND KEY=VALUE ...`, with the members of @p fields. Values
 * that are not a plain word are written as JSON.
 * @param text NULL: none
 */
void log_fields(const char *kind, const char *text, json_t *fields);

/** Append ` KEY=VALUE` for each member of @p fields to @p stream, as log_fields does. */
void log_fields_write(FILE *stream, json_t *fields);
