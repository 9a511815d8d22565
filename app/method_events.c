/* SPDX-License-Identifier: BSD-3-Clause */
/* The method `events`: what app/event.c tells goes to who has asked. */
#include "app/event.h"
#include "app/method.h"

void
method_EVENTS(struct control_request *request, const json_t *params)
{
	const json_t *kinds = json_object_get(params, "kinds");

	if (!control_params_known(request, params, (const char *const[]){"kinds", NULL}))
		return;
	event_subscribe(request, kinds);
}
