/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/method.h"

#define NONE(identifier)                                                                \
	void method_##identifier(struct control_request *request, const json_t *params) \
	{                                                                               \
		(void)params;                                                           \
		control_fail(request, CONTROL_METHOD_NOT_FOUND, NULL, "not built yet"); \
	}
NONE(TRACE)
NONE(CAPTURE)
