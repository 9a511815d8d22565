/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/method.h"

#define NONE(identifier)                                                                \
	void method_##identifier(struct control_request *request, const json_t *params) \
	{                                                                               \
		(void)params;                                                           \
		control_fail(request, CONTROL_METHOD_NOT_FOUND, NULL, "not built yet"); \
	}
NONE(METRICS)
NONE(RULES_GET)
NONE(RULES_SET)
NONE(RULES_ADD)
NONE(RULES_INSERT)
NONE(RULES_DELETE)
NONE(RULES_POLICY)
NONE(RULES_RESET)
NONE(FORWARD_LIST)
NONE(FORWARD_ADD)
NONE(FORWARD_DELETE)
NONE(TRANSACTION)
NONE(FLOWS)
NONE(FLOWS_DELETE)
NONE(EXPLAIN)
