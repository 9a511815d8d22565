/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages of the daemon: one line each, to stderr, from the control thread. */
#pragma once

#include "conf/conf.h"

/** Where configuration, ports and policy report to in sluiced. */
extern const struct report log_report;

/** Write one line `sluiced: ...`. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
