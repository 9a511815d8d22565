/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What sluiced goes by: one line for each section, defaults included, at the start; and those that
 * are other ones when the configuration has been read again.
 */
#pragma once

#include "conf/conf.h"

/**
 * Write `setting SECTION key=value ...` to the log for every section of @p conf that is not the
 * same in @p previous.
 * @param previous NULL: none was
 */
void settings_log(const struct conf *conf, const struct conf *previous);
