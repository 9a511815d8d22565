/* SPDX-License-Identifier: BSD-3-Clause */
/* What every unit test program shares: one CUnit suite per file, its exit status the verdict. */
#pragma once

#include <CUnit/Basic.h>

#include <stdio.h>
#include <stdlib.h>

struct unit_test {
	const char *name;
	void (*run)(void);
};

/** Start EAL without hugepages, devices, files or telemetry, quietly. Exits on failure. */
void unit_eal(void);

/** Run @p tests as one suite. @return the exit status of the program */
int unit_run(const char *suite, const struct unit_test *tests, size_t count);

#define UNIT_RUN(suite, tests) unit_run(suite, tests, sizeof(tests) / sizeof((tests)[0]))
