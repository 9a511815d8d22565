/* SPDX-License-Identifier: BSD-3-Clause */
/* Filter expressions of tcpdump, as sluiced takes them. */
#pragma once

#include <stddef.h>

#include <jansson.h>

/**
 * Compile an expression.
 * @param words joined by blanks; none: everything passes
 * @return a list of [code, jt, jf, k], or NULL with @p error set
 */
json_t *filter_compile(const char *const *words, unsigned count, char *error, size_t error_size);
