/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes over the control socket. Each method that changes something is a transaction of one
 * change; `transaction` has a list of them. All are made on a copy of what was changed so far, one
 * after the other, and the copy comes into force or is forgotten.
 */
#include "app/method_change.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "app/event.h"
#include "app/log.h"

/* More than any caller needs at once; what they do is done before anybody else is heard. */
#define CHANGES_MAX 1024
/* Changes that a log line or an event tells one by one. */
#define TOLD_MAX 16

/*
 * The operations: OPERATION(method, function, "parameters", ...). `runtime` and `check` belong to
 * the request.
 */
/* clang-format off */
#define OPERATIONS(OPERATION) \
	OPERATION(RULES_SET,	  change_rules_set,	 "qube", "policy", "rules") \
	OPERATION(RULES_ADD,	  change_rules_add,	 "qube", "rules") \
	OPERATION(RULES_INSERT,	  change_rules_insert,	 "qube", "rules", "before") \
	OPERATION(RULES_DELETE,	  change_rules_delete,	 "qube", "number", "rule") \
	OPERATION(RULES_POLICY,	  change_rules_policy,	 "qube", "policy") \
	OPERATION(RULES_RESET,	  change_rules_reset,	 "qube") \
	OPERATION(FORWARD_ADD,	  change_forward_add,	 "qube", "rule", "name") \
	OPERATION(FORWARD_DELETE, change_forward_delete, "name")
/* clang-format on */

static const struct operation {
	const char *name;
	change_fn run;
	const char *params[4]; /* NULL ends */
} operations[METHOD_COUNT] = {
#define OPERATION_ROW(identifier, function, ...) \
	[METHOD_##identifier] = {.run = function, .params = {__VA_ARGS__}},
	OPERATIONS(OPERATION_ROW)
#undef OPERATION_ROW
};

static const char *const method_names[METHOD_COUNT] = {
#define METHOD_NAME(identifier, name, access, parameters, help) [METHOD_##identifier] = name,
	METHODS(METHOD_NAME)
#undef METHOD_NAME
};

/* What operations say. */

int
change_wrong(struct change *change, const char *key, const char *format, ...)
{
	va_list arguments;

	change->error.key = key;
	va_start(arguments, format);
	vsnprintf(change->error.text, sizeof(change->error.text), format, arguments);
	va_end(arguments);
	text_sanitise(change->error.text);
	return -EINVAL;
}

int
change_wrong_rule(struct change *change, int rule, const char *reason)
{
	static const char *const keys[] = {"action", "dst4", "dst6", "dsthost", "proto",
		"specialtarget", "dstports", "icmptype", "expire", "comment", "forwardtype",
		"srchost", "srcports"};
	const char *found = NULL;

	for (size_t i = 0; i < RTE_DIM(keys); i++)
		if (strncmp(reason, keys[i], strlen(keys[i])) == 0 &&
			reason[strlen(keys[i])] == ':')
			found = keys[i];
	change_wrong(change, found, "%s", reason);
	change->error.rule = rule;
	return -EINVAL;
}

const char *
change_text(struct change *change, const json_t *params, const char *key)
{
	const json_t *value = json_object_get(params, key);

	if (json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value))
		return json_string_value(value);
	change_wrong(change, key, "%s %s", key,
		value == NULL ? "is missing" : "must be a text without NUL");
	return NULL;
}

json_t *
change_string(const char *text)
{
	json_t *string = json_string(text);
	char *plain;

	if (string != NULL)
		return string;
	plain = strdup(text);
	for (char *byte = plain; plain != NULL && *byte != '\0'; byte++)
		if ((unsigned char)*byte >= 0x80)
			*byte = '?';
	string = json_string(plain != NULL ? plain : "");
	free(plain);
	return string;
}

void
change_annotate(json_t *object, uint64_t expire_s, const char *comment, uint64_t now_s)
{
	if (expire_s != 0) {
		json_object_set_new(object, "expire", json_integer((json_int_t)expire_s));
		json_object_set_new(object, "left",
			json_integer(expire_s > now_s ? (json_int_t)(expire_s - now_s) : 0));
	}
	if (comment != NULL)
		json_object_set_new(object, "comment", change_string(comment));
}

/* Requests. */

/* One request while it is carried out. */
struct work {
	struct control_request *request;
	struct daemon *daemon;
	enum method_id method;
	struct change change;
	int index; /* of the change that is being made in a transaction; -1: there is one only */
	bool runtime, check;
	json_t *answers, *warnings, *told;
};

static void
warn(void *context, const char *line)
{
	struct work *work = context;
	json_t *text = work->index >= 0 ? json_sprintf("change %d: %s", work->index, line)
					: change_string(line);

	json_array_append_new(work->warnings, text);
}

static void
keep_first_line(void *context, const char *line)
{
	char *text = context;

	if (text[0] == '\0')
		snprintf(text, sizeof(((struct change_error *)0)->text), "%s", line);
}

static enum control_error
error_code(int error)
{
	if (error == -EINVAL)
		return CONTROL_INVALID_PARAMS;
	return error == -ENOMEM ? CONTROL_UNAVAILABLE : CONTROL_CONFLICT;
}

static void
fail(struct work *work, enum control_error code)
{
	const struct change_error *error = &work->change.error;
	json_t *data = json_object();

	if (work->index >= 0)
		json_object_set_new(data, "change", json_integer(work->index));
	if (error->rule >= 0)
		json_object_set_new(data, "rule", json_integer(error->rule));
	if (error->key != NULL)
		json_object_set_new(data, "key", json_string(error->key));
	if (json_object_size(data) == 0) {
		json_decref(data);
		data = NULL;
	}
	if (!work->check)
		event_emit(work->daemon, "policy-refused",
			json_pack("{s:o, s:o, s:s, s:s}", "text",
				json_sprintf("%s is not taken up, nothing has changed",
					method_names[work->method]),
				"reason", change_string(error->text), "method",
				method_names[work->method], "by", control_peer(work->request)));
	control_fail(work->request, code, data, "%s", error->text);
}

static bool
names_known(struct change *change, const json_t *params, const char *const *names, bool outer)
{
	const char *key;
	const json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)params, key, value) {
		bool known = outer && (strcmp(key, "runtime") == 0 || strcmp(key, "check") == 0);

		for (unsigned i = 0; !known && i < 4 && names[i] != NULL; i++)
			known = strcmp(key, names[i]) == 0;
		if (known)
			continue;
		change_wrong(change, key, "there is no parameter \"%.64s\"", key);
		return false;
	}
	return true;
}

static bool
flag_read(struct change *change, const json_t *params, const char *key, bool *flag)
{
	const json_t *value = json_object_get(params, key);

	*flag = json_is_true(value);
	if (value == NULL || json_is_boolean(value))
		return true;
	change_wrong(change, key, "%s must be true or false", key);
	return false;
}

/* For the log and for events: which method, about whom, and how much. */
static json_t *
change_summary(enum method_id method, const json_t *params, const json_t *answer)
{
	const char *qube = json_string_value(json_object_get(params, "qube"));
	const char *name = json_string_value(json_object_get(params, "name"));
	const json_t *rules = json_object_get(params, "rules");
	char count[32] = "";

	if (name == NULL)
		name = json_string_value(json_object_get(answer, "name"));
	if (json_is_array(rules))
		snprintf(count, sizeof(count), " rules=%zu", json_array_size(rules));
	return json_sprintf("%s%s%s%s%s%s", method_names[method], qube != NULL ? " qube=" : "",
		qube != NULL ? qube : "", name != NULL ? " name=" : "", name != NULL ? name : "",
		count);
}

static int
operate(struct work *work, enum method_id method, const json_t *params, bool outer)
{
	struct change *change = &work->change;
	json_t *answer = json_object();
	int error;

	change->answer = answer;
	if (!names_known(change, params, operations[method].params, outer))
		error = -EINVAL;
	else
		error = operations[method].run(change, params);
	if (error == 0 && json_array_size(work->told) < TOLD_MAX)
		json_array_append_new(work->told, change_summary(method, params, answer));
	json_array_append_new(work->answers, answer);
	return error;
}

/* One element of a transaction. */
static int
element_operate(struct work *work, const json_t *element)
{
	static const char *const members[4] = {"method", "params"};
	struct change *change = &work->change;
	const json_t *params = json_object_get(element, "params");
	const char *name;

	if (!json_is_object(element))
		return change_wrong(change, NULL, "a change is an object with method and params");
	if (!names_known(change, element, members, false))
		return -EINVAL;
	name = change_text(change, element, "method");
	if (name == NULL)
		return -EINVAL;
	if (!json_is_object(params))
		return change_wrong(change, "params", "params must be an object");
	for (unsigned method = 0; method < METHOD_COUNT; method++)
		if (operations[method].run != NULL && strcmp(method_names[method], name) == 0)
			return operate(work, (enum method_id)method, params, false);
	return change_wrong(change, "method", "\"%.64s\" cannot be part of a transaction", name);
}

static int
transaction_operate(struct work *work, const json_t *params)
{
	static const char *const members[4] = {"changes"};
	const json_t *list = json_object_get(params, "changes");
	const json_t *element;
	size_t index;

	if (!names_known(&work->change, params, members, true))
		return -EINVAL;
	if (!json_is_array(list))
		return change_wrong(&work->change, "changes", "changes must be a list");
	if (json_array_size(list) > CHANGES_MAX)
		return change_wrong(&work->change, "changes", "%zu changes; allowed: %d",
			json_array_size(list), CHANGES_MAX);
	json_array_foreach (list, index, element) {
		int error;

		work->index = (int)index;
		error = element_operate(work, element);
		if (error != 0)
			return error;
	}
	work->index = -1;
	return 0;
}

static void
tell(struct work *work)
{
	const struct policy *policy = daemon_policy(work->daemon);
	json_t *event;
	size_t i;

	json_array_foreach (work->change.events, i, event) {
		char kind[32];

		snprintf(kind, sizeof(kind), "%s",
			json_string_value(json_object_get(event, "kind")));
		json_object_del(event, "kind");
		json_object_set_new(event, "by", json_string(control_peer(work->request)));
		event_emit(work->daemon, kind, json_incref(event));
	}
	event_emit(work->daemon, "policy",
		json_pack("{s:o, s:I, s:I, s:I, s:s, s:b, s:O, s:s}", "text",
			json_sprintf("policy %u in force: %s", policy->generation,
				method_names[work->method]),
			"generation", (json_int_t)policy->generation, "forwards",
			(json_int_t)policy->forwards->count, "compiled",
			(json_int_t)policy->compiled, "method", method_names[work->method], "kept",
			!work->runtime, "changes", work->told, "by", control_peer(work->request)));
}

/* Everything has been understood: make it so. */
static void
commit(struct work *work)
{
	struct change_error *error = &work->change.error;
	const struct report report = {.line = keep_first_line, .context = error->text};
	enum change_mode mode = work->check     ? CHANGE_CHECK
				: work->runtime ? CHANGE_RUNTIME
						: CHANGE_KEPT;

	*error = (struct change_error){.rule = -1};
	if (daemon_change(work->daemon, work->change.changes, mode, &report) != 0) {
		if (error->text[0] == '\0')
			change_wrong(&work->change, NULL, "out of memory");
		fail(work, CONTROL_UNAVAILABLE);
		return;
	}
	if (!work->check) {
		work->change.changes = NULL;
		tell(work);
	}
	control_answer(work->request,
		json_pack("{s:I, s:b, s:O, s:O}", "generation",
			(json_int_t)daemon_policy(work->daemon)->generation, "kept", !work->runtime,
			"changes", work->answers, "warnings", work->warnings));
}

static int
work_operate(struct work *work, const json_t *params)
{
	struct change *change = &work->change;

	if (!flag_read(change, params, "runtime", &work->runtime) ||
		!flag_read(change, params, "check", &work->check))
		return -EINVAL;
	change->scope.layer = work->runtime ? ORIGIN_RUNTIME : ORIGIN_KEPT;
	change->changes = changes_copy(work->daemon->changes);
	/* Numbers are those of the rules in force, which have lost what is over. */
	if (change->changes == NULL || changes_expire(change->changes, change->scope.now_s) < 0) {
		change_wrong(change, NULL, "out of memory");
		return -ENOMEM;
	}
	return work->method == METHOD_TRANSACTION ? transaction_operate(work, params)
						  : operate(work, work->method, params, true);
}

void
change_request(struct control_request *request, enum method_id method, const json_t *params)
{
	struct daemon *daemon = control_daemon(request);
	struct work work = {
		.request = request,
		.daemon = daemon,
		.method = method,
		.index = -1,
		.answers = json_array(),
		.warnings = json_array(),
		.told = json_array(),
	};
	const struct report report = {.line = warn, .context = &work};
	int error;

	work.change = (struct change){
		.scope = {.conf = daemon->conf,
			.bindings = daemon->dataplane->bindings,
			.policy = daemon_policy(daemon),
			.now_s = daemon_now(),
			.warn = &report},
		.error = {.rule = -1},
		.events = json_array(),
	};
	error = work_operate(&work, params);
	if (error != 0)
		fail(&work, error_code(error));
	else
		commit(&work);
	changes_free(work.change.changes);
	json_decref(work.answers);
	json_decref(work.warnings);
	json_decref(work.told);
	json_decref(work.change.events);
}

#define METHOD_CHANGE(identifier)                                                       \
	void method_##identifier(struct control_request *request, const json_t *params) \
	{                                                                               \
		change_request(request, METHOD_##identifier, params);                   \
	}
METHOD_CHANGE(RULES_SET)
METHOD_CHANGE(RULES_ADD)
METHOD_CHANGE(RULES_INSERT)
METHOD_CHANGE(RULES_DELETE)
METHOD_CHANGE(RULES_POLICY)
METHOD_CHANGE(RULES_RESET)
METHOD_CHANGE(FORWARD_ADD)
METHOD_CHANGE(FORWARD_DELETE)
METHOD_CHANGE(TRANSACTION)

const char *
change_origin(enum rule_origin origin)
{
	static const char *const names[] = {[ORIGIN_FILE] = "file",
		[ORIGIN_QUBESDB] = "qubesdb",
		[ORIGIN_KEPT] = "kept",
		[ORIGIN_RUNTIME] = "runtime"};

	return names[origin];
}
