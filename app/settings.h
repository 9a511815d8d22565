/* SPDX-License-Identifier: BSD-3-Clause */
/* What sluiced goes by, told once at the start: one line for each section, defaults included. */
#pragma once

#include "conf/conf.h"

/** Write `setting SECTION key=value ...` to the log for everything in @p conf. */
void settings_log(const struct conf *conf);
