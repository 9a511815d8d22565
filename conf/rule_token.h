/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * KEY=VALUE tokens as people type them, for rules and forwards that come over the control socket or
 * from an import.
 *
 * Blanks part them. A value with blanks, quotes, backslashes or a second `=` stands in double
 * quotes, where \" and \\ mean the character itself:
 *
 *	action=accept dst4=192.0.2.0/24 comment="until \"lunch\""
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

/**
 * Cut the next token off a text.
 * @param cursor in, out: where to read; the text is written to
 * @param error out, on failure: the reason, as `syntax: what is wrong`
 * @return 1 with @p key and @p value pointing into the text, 0 at its end, -EINVAL
 */
int rule_token_next(char **cursor, char **key, char **value, char *error, size_t error_size);

/** Write `key=value`, quoted if it has to be. */
void rule_token_write(FILE *stream, const char *key, const char *value);
