/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/unit.h"

#include <rte_eal.h>
#include <rte_errno.h>

void
unit_eal(void)
{
	static char *arguments[] = {"unit", "--no-huge", "--no-pci", "--no-telemetry",
		"--no-shconf", "-m", "1024", "--lcores", "0@0", "--log-level", "error", NULL};

	if (rte_eal_init((int)(sizeof(arguments) / sizeof(arguments[0])) - 1, arguments) < 0) {
		fprintf(stderr, "EAL does not start: %s\n", rte_strerror(rte_errno));
		exit(1);
	}
}

int
unit_run(const char *suite, const struct unit_test *tests, size_t count)
{
	CU_pSuite handle;
	unsigned failures;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	handle = CU_add_suite(suite, NULL, NULL);
	if (handle == NULL)
		return 1;
	for (size_t i = 0; i < count; i++)
		if (CU_add_test(handle, tests[i].name, tests[i].run) == NULL)
			return 1;
	CU_basic_set_mode(CU_BRM_VERBOSE);
	if (CU_basic_run_tests() != CUE_SUCCESS || CU_get_number_of_asserts() == 0)
		return 1;
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
