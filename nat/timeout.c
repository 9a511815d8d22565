/* SPDX-License-Identifier: BSD-3-Clause */
#include "nat/timeout.h"

const struct timeout_info timeouts[TIMEOUT_COUNT] = {
#define TIMEOUT_ROW(identifier, name, default_s, min_s, max_s, help) \
	[TIMEOUT_##identifier] = {name, help, default_s, min_s, max_s},
	TIMEOUTS(TIMEOUT_ROW)
#undef TIMEOUT_ROW
};

void
timeout_defaults(struct timeout_values *values)
{
	for (unsigned i = 0; i < TIMEOUT_COUNT; i++)
		values->ms[i] = timeouts[i].default_s * 1000;
}
