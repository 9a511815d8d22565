/* SPDX-License-Identifier: BSD-3-Clause */
/* What verbs that change things share. */
#pragma once

#include "app/ctl.h"

/**
 * Read a text of at most 1 MiB.
 * @param path -: standard input
 * @param name set to what messages call it
 * @return for free(); NULL with the reason on stderr
 */
char *input_read(const char *path, const char **name);

/**
 * Send changes as one transaction, with the flags of the command line.
 * @param changes taken: a list of {"method", "params"}
 * @return 0; -errno as client_call; or a status, said
 */
int ctl_transaction(struct ctl *ctl, json_t *changes, json_t **result);

/** What stands in front of errors from now on, such as "FILE:7: ". */
void ctl_error_place(const char *place);
