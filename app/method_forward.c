/* SPDX-License-Identifier: BSD-3-Clause */
/* Port forwards over the control socket. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app/method_change.h"

/* Operations. */

int
change_forward_add(struct change *change, const json_t *params)
{
	const char *qube = change_text(change, params, "qube");
	const char *text = qube != NULL ? change_text(change, params, "rule") : NULL;
	const char *name = NULL;
	char reason[RULE_ERROR_SIZE];
	struct conf_forward forward;
	int error;

	if (text == NULL)
		return -EINVAL;
	if (json_object_get(params, "name") != NULL) {
		name = change_text(change, params, "name");
		if (name == NULL)
			return -EINVAL;
		if (name[0] == '\0' || strlen(name) >= NAME_SIZE)
			return change_wrong(
				change, "name", "name must have 1 to %d bytes", NAME_SIZE - 1);
	}
	if (forward_parse(text, change->scope.now_s, &forward, reason, sizeof(reason)) != 0)
		return change_wrong_rule(change, -1, reason);
	/* A name that is cut is not that of a qube: it is not found, like the whole one. */
	snprintf(forward.qube, sizeof(forward.qube), "%s", strlen(qube) < NAME_SIZE ? qube : "?");
	snprintf(forward.name, sizeof(forward.name), "%s", name != NULL ? name : "");
	error = changes_forward_add(change->changes, &change->scope, &forward, &change->error);
	if (error == 0) {
		json_object_set_new(change->answer, "name", json_string(forward.name));
		json_array_append_new(change->events,
			json_pack("{s:s, s:o, s:s, s:s, s:s}", "kind", "forward-added", "text",
				json_sprintf("forward %s to qube %s is added", forward.name,
					forward.qube),
				"name", forward.name, "qube", forward.qube, "rule", text));
	}
	free(forward.comment);
	return error;
}

int
change_forward_delete(struct change *change, const json_t *params)
{
	const char *name = change_text(change, params, "name");
	int error;

	if (name == NULL)
		return -EINVAL;
	error = changes_forward_delete(change->changes, &change->scope, name, &change->error);
	if (error == 0)
		json_array_append_new(change->events,
			json_pack("{s:s, s:o, s:s}", "kind", "forward-deleted", "text",
				json_sprintf("forward %s is deleted", name), "name", name));
	return error;
}

/* forward.list */

/* The addresses on which a forward can be reached. */
static json_t *
listens_array(const struct policy *policy, const struct forward *forward)
{
	const struct policy_port *uplink = &policy->ports[policy->uplink];
	const struct qube *qube = &policy->qubes[forward->qube];
	json_t *list = json_array();
	char text[ADDRESS_TEXT_SIZE];

	for (enum family family = FAMILY_IPV4; family < FAMILIES; family++) {
		if (!qube->has[family] || (forward->has_source && forward->source_family != family))
			continue;
		if (uplink->has[family])
			json_array_append_new(list, json_string(address_format(text, family,
							    &uplink->address[family])));
		if (forward->side == FORWARD_INTERNAL && policy->has_gateway[family])
			json_array_append_new(list, json_string(address_format(text, family,
							    &policy->gateway[family])));
	}
	return list;
}

/* What was asked for under the name of a forward in force. */
static const struct conf_forward *
forward_wish(const struct daemon *daemon, const char *name, const char **origin)
{
	const struct forward_change *change;

	*origin = change_origin(ORIGIN_FILE);
	for (unsigned i = 0; i < daemon->conf->forward_count; i++)
		if (strcmp(daemon->conf->forwards[i].name, name) == 0)
			return &daemon->conf->forwards[i];
	change = changes_forward_find(daemon->changes, name);
	if (change == NULL)
		return NULL;
	*origin = change_origin(change->layer);
	return &change->forward;
}

static json_t *
forward_object(const struct daemon *daemon, const struct forward *forward)
{
	const struct policy *policy = daemon_policy(daemon);
	const char *origin;
	const struct conf_forward *wish = forward_wish(daemon, forward->name, &origin);
	char *text = wish != NULL ? forward_format(wish, true) : NULL;
	json_t *object = json_pack("{s:s, s:s, s:s?, s:s, s:o, s:I}", "name", forward->name, "qube",
		policy->qubes[forward->qube].name, "rule", text, "origin", origin, "listens",
		listens_array(policy, forward), "hits",
		(json_int_t)(forward->hits != NULL ? hits_read(forward->hits) : 0));

	if (wish != NULL)
		change_annotate(object, wish->expire_s, wish->comment, daemon_now());
	free(text);
	return object;
}

void
method_FORWARD_LIST(struct control_request *request, const json_t *params)
{
	const struct daemon *daemon = control_daemon(request);
	const struct policy *policy = daemon_policy(daemon);
	const json_t *wanted = json_object_get(params, "qube");
	const char *name = json_string_value(wanted);
	json_t *list;

	if (!control_params_known(request, params, (const char *const[]){"qube", NULL}))
		return;
	if (wanted != NULL && name == NULL) {
		control_fail(request, CONTROL_INVALID_PARAMS, json_pack("{s:s}", "key", "qube"),
			"qube must be a text");
		return;
	}
	list = json_array();
	for (unsigned i = 0; i < policy->forwards->count; i++) {
		const struct forward *forward = &policy->forwards->forwards[i];

		if (name == NULL || strcmp(policy->qubes[forward->qube].name, name) == 0)
			json_array_append_new(list, forward_object(daemon, forward));
	}
	control_answer(request, json_pack("{s:o}", "forwards", list));
}
