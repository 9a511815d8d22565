/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The taps there are, and how workers come to know of them. Control thread.
 */
#pragma once

#include "app/daemon.h"
#include "app/tap.h"

struct tap_table;

/** @return 0 or -ENOMEM */
int tap_table_create(struct daemon *daemon, struct tap_table **out);

/** No worker may be running. Frees all taps. NULL is fine. */
void tap_table_free(struct tap_table *table);

/**
 * Begin a tap: it records as soon as every worker knows of it.
 * @return 0, -EBUSY when there are TAPS_MAX, -ENOMEM
 */
int tap_table_begin(struct tap_table *table, const struct tap_options *options, struct tap **out);

/** End a tap, which is not to be used any more; it is freed when no worker knows of it. */
void tap_table_end(struct tap_table *table, struct tap *tap);
