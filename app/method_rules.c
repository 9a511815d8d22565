/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules over the control socket: what is in force, and the operations that change it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app/method_change.h"
#include "app/name_service.h"
#include "conf/changes_file.h"

/* Rules of one answer; more are asked for qube by qube. */
#define LISTED_MAX 50000

/* Operations. */

static int
policy_read(struct change *change, const json_t *params, enum action *policy)
{
	const char *text = change_text(change, params, "policy");

	if (text == NULL)
		return -EINVAL;
	if (strcmp(text, "accept") == 0)
		*policy = ACTION_ACCEPT;
	else if (strcmp(text, "drop") == 0)
		*policy = ACTION_DROP;
	else
		return change_wrong(
			change, "policy", "\"%.64s\" is not a policy; allowed: accept, drop", text);
	return 0;
}

static int
rule_read(struct change *change, const char *text, int number, struct rule *rule)
{
	char reason[RULE_ERROR_SIZE];

	if (rule_parse(text, change->scope.now_s, rule, reason, sizeof(reason)) != 0)
		return change_wrong_rule(change, number, reason);
	if (rule->destination == DESTINATION_NAME && !name_is_sound(rule->name))
		report_line(change->scope.warn,
			"dsthost=%s: no host can have this name, the rule matches nothing",
			rule->name);
	return 0;
}

/* The parameter `rules`. @param out cleared by the caller, whatever is returned */
static int
rules_read(struct change *change, const json_t *params, struct ruleset *out)
{
	const json_t *list = json_object_get(params, "rules");
	const json_t *text;
	size_t index;

	*out = (struct ruleset){0};
	if (!json_is_array(list))
		return change_wrong(change, "rules", "rules must be a list of texts");
	if (json_array_size(list) > RULES_MAX)
		return change_wrong(change, "rules", "%zu rules; allowed: %d",
			json_array_size(list), RULES_MAX);
	out->rules = calloc(json_array_size(list) + 1, sizeof(*out->rules));
	if (out->rules == NULL) {
		change_wrong(change, NULL, "out of memory");
		return -ENOMEM;
	}
	json_array_foreach (list, index, text) {
		if (!json_is_string(text) ||
			strlen(json_string_value(text)) != json_string_length(text))
			return change_wrong_rule(
				change, (int)index, "a rule must be a text without NUL");
		if (rule_read(change, json_string_value(text), (int)index,
			    &out->rules[out->count]) != 0)
			return -EINVAL;
		out->count++;
	}
	return 0;
}

int
change_rules_set(struct change *change, const json_t *params)
{
	const char *qube = change_text(change, params, "qube");
	struct ruleset rules = {0};
	enum action policy = ACTION_DROP;
	int error = qube == NULL ? -EINVAL : policy_read(change, params, &policy);

	if (error == 0)
		error = rules_read(change, params, &rules);
	if (error == 0)
		error = changes_rules_set(change->changes, &change->scope, qube, policy,
			rules.rules, rules.count, &change->error);
	ruleset_clear(&rules);
	return error;
}

static int
rules_insert(struct change *change, const json_t *params, unsigned before)
{
	const char *qube = change_text(change, params, "qube");
	struct ruleset rules = {0};
	int error = qube == NULL ? -EINVAL : rules_read(change, params, &rules);

	if (error == 0)
		error = changes_rules_insert(change->changes, &change->scope, qube, rules.rules,
			rules.count, before, &change->error);
	ruleset_clear(&rules);
	return error;
}

int
change_rules_add(struct change *change, const json_t *params)
{
	return rules_insert(change, params, RULES_END);
}

/* The number of a rule. */
static int
number_read(struct change *change, const json_t *value, const char *key, unsigned *number)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		json_integer_value(value) > RULES_MAX)
		return change_wrong(change, key, "%s must be the number of a rule", key);
	*number = (unsigned)json_integer_value(value);
	return 0;
}

int
change_rules_insert(struct change *change, const json_t *params)
{
	const json_t *value = json_object_get(params, "before");
	unsigned before = 0;

	if (value != NULL && number_read(change, value, "before", &before) != 0)
		return -EINVAL;
	return rules_insert(change, params, before);
}

int
change_rules_delete(struct change *change, const json_t *params)
{
	const char *qube = change_text(change, params, "qube");
	const json_t *number_value = json_object_get(params, "number");
	const json_t *text = json_object_get(params, "rule");
	char reason[RULE_ERROR_SIZE];
	struct rule rule;
	unsigned number = 0;
	int error;

	if (qube == NULL)
		return -EINVAL;
	if ((number_value != NULL) == (text != NULL))
		return change_wrong(change, "number", "either number or rule must be given");
	if (number_value != NULL) {
		error = number_read(change, number_value, "number", &number);
		return error != 0 ? error
				  : changes_rules_delete_number(change->changes, &change->scope,
					    qube, number, &change->error);
	}
	if (change_text(change, params, "rule") == NULL)
		return -EINVAL;
	/* Whatever end it had: it need not be to come. */
	if (rule_parse(json_string_value(text), 0, &rule, reason, sizeof(reason)) != 0)
		return change_wrong_rule(change, -1, reason);
	error = changes_rules_delete(change->changes, &change->scope, qube, &rule, &change->error);
	rule_clear(&rule);
	return error;
}

int
change_rules_policy(struct change *change, const json_t *params)
{
	const char *qube = change_text(change, params, "qube");
	enum action policy = ACTION_DROP;
	int error = qube == NULL ? -EINVAL : policy_read(change, params, &policy);

	if (error != 0)
		return error;
	return changes_rules_policy(change->changes, &change->scope, qube, policy, &change->error);
}

int
change_rules_reset(struct change *change, const json_t *params)
{
	const char *qube = change_text(change, params, "qube");

	if (qube == NULL)
		return -EINVAL;
	return changes_rules_reset(change->changes, &change->scope, qube, &change->error);
}

/* rules.get */

/* The addresses that a name has now. */
static json_t *
addresses_list(const struct daemon *daemon, const struct rules *compiled, const char *name)
{
	struct name_address addresses[NAME_ADDRESSES_MAX];
	unsigned count = name_service_addresses(daemon, compiled, name, addresses);
	json_t *list = json_array();
	char text[ADDRESS_TEXT_SIZE];

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(list, json_string(address_format(text, addresses[i].family,
						    &addresses[i].address)));
	return list;
}

static json_t *
rule_object(const struct daemon *daemon, const struct conf_qube *qube, const struct rule *rule,
	unsigned number, const struct rules *compiled, const struct hits *hits)
{
	char *text = rule_format(rule, true);
	char origin[512] = "";
	json_t *object;

	(void)daemon_rule_origin(daemon, qube, number, origin, sizeof(origin));
	object = json_pack("{s:i, s:s?, s:o, s:I}", "number", (int)number, "rule", text, "origin",
		change_string(origin), "hits", (json_int_t)(hits != NULL ? hits_read(hits) : 0));
	if (rule->destination == DESTINATION_NAME)
		json_object_set_new(
			object, "addresses", addresses_list(daemon, compiled, rule->name));
	change_annotate(object, rule->expire_s, rule->comment, daemon_now());
	free(text);
	return object;
}

static const struct rules *
compiled_rules(const struct policy *policy, const char *qube)
{
	for (unsigned i = 0; i < policy->qube_count; i++)
		if (strcmp(policy->qubes[i].name, qube) == 0)
			return policy->qubes[i].rules;
	return NULL;
}

static json_t *
qube_object(const struct daemon *daemon, const struct conf_qube *qube)
{
	static const char *const states[] = {
		[RULES_NONE] = "none", [RULES_BAD] = "bad", [RULES_VALID] = "valid"};
	struct qube_rules rules = changes_rules(daemon->changes, qube);
	const struct rules *compiled = compiled_rules(daemon_policy(daemon), qube->name);
	struct hits *const *hits = compiled != NULL ? compiled->hits : NULL;
	bool none = rules.state == RULES_NONE;
	json_t *list = json_array();
	json_t *object =
		json_pack("{s:s, s:s, s:s, s:o}", "qube", qube->name, "state", states[rules.state],
			"origin", none ? "none" : change_origin(rules.layer), "rules", list);

	if (rules.layer == ORIGIN_KEPT)
		json_object_set_new(
			object, "source", change_string(changes_file_path(daemon->kept)));
	else if (rules.layer == ORIGIN_FILE && qube->rules_path != NULL)
		json_object_set_new(object, "source", change_string(qube->rules_path));
	if (rules.state == RULES_BAD && qube->rules_error != NULL)
		json_object_set_new(object, "error", change_string(qube->rules_error));
	if (rules.state != RULES_VALID)
		return object;
	json_object_set_new(object, "policy",
		json_string(rules.ruleset->policy == ACTION_ACCEPT ? "accept" : "drop"));
	/* Both have the same rules: what is over leaves both at once. */
	if (hits != NULL && compiled->ruleset.count == rules.ruleset->count)
		json_object_set_new(object, "policy_hits",
			json_integer((json_int_t)hits_read(hits[rules.ruleset->count])));
	else
		hits = NULL;
	for (unsigned i = 0; i < rules.ruleset->count; i++)
		json_array_append_new(list, rule_object(daemon, qube, &rules.ruleset->rules[i], i,
						    compiled, hits != NULL ? hits[i] : NULL));
	return object;
}

void
method_RULES_GET(struct control_request *request, const json_t *params)
{
	const struct daemon *daemon = control_daemon(request);
	const struct conf *conf = daemon->conf;
	const json_t *wanted = json_object_get(params, "qube");
	const char *name = json_string_value(wanted);
	unsigned listed = 0;
	json_t *list;

	if (!control_params_known(request, params, (const char *const[]){"qube", NULL}))
		return;
	if (wanted != NULL && name == NULL) {
		control_fail(request, CONTROL_INVALID_PARAMS, json_pack("{s:s}", "key", "qube"),
			"qube must be a text");
		return;
	}
	list = json_array();
	for (unsigned i = 0; i < conf->qube_count; i++) {
		const struct conf_qube *qube = &conf->qubes[i];

		if (name != NULL && strcmp(qube->name, name) != 0)
			continue;
		listed += changes_rules(daemon->changes, qube).ruleset->count;
		if (name == NULL && listed > LISTED_MAX) {
			json_decref(list);
			control_fail(request, CONTROL_CONFLICT, NULL,
				"there are more than %d rules; ask for one qube at a time",
				LISTED_MAX);
			return;
		}
		json_array_append_new(list, qube_object(daemon, qube));
	}
	if (name != NULL && json_array_size(list) == 0) {
		json_decref(list);
		control_fail(request, CONTROL_CONFLICT, json_pack("{s:s}", "key", "qube"),
			"there is no qube \"%.64s\"", name);
		return;
	}
	control_answer(request, json_pack("{s:o}", "qubes", list));
}
