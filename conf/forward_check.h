/* SPDX-License-Identifier: BSD-3-Clause */
/* What forwards demand of each other, wherever they come from. */
#pragma once

#include "conf/conf.h"

/** Whether one packet could be for both. */
bool forwards_overlap(const struct conf_forward *a, const struct conf_forward *b);

/* Longest text of a range of ports, with its NUL. */
#define RANGE_TEXT_SIZE sizeof("65535-65535")

/** PORT or LOW-HIGH. @return @p text */
const char *range_format(char text[RANGE_TEXT_SIZE], uint16_t first, uint16_t last);
