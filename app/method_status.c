/* SPDX-License-Identifier: BSD-3-Clause */
/* The methods `status` and `qubes`: who is there, how they fare, and what is wrong. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/event.h"
#include "app/method_change.h"
#include "app/tally.h"
#include "conf/changes.h"

static const struct conf_port *
conf_port_find(const struct conf *conf, const char *name)
{
	for (unsigned i = 0; i < conf->port_count; i++)
		if (strcmp(conf->ports[i].name, name) == 0)
			return &conf->ports[i];
	return NULL;
}

static void
text_set(json_t *object, const char *key, const char *text)
{
	if (text != NULL && text[0] != '\0')
		json_object_set_new(object, key, control_text(text));
}

static void
number_set(json_t *object, const char *key, uint64_t number)
{
	json_object_set_new(object, key, json_integer((json_int_t)number));
}

/* --- qubes --- */

static const char *
state_name(enum rules_state state)
{
	static const char *const names[] = {
		[RULES_NONE] = "none", [RULES_BAD] = "bad", [RULES_VALID] = "valid"};

	return names[state];
}

static json_t *
rules_object(const struct daemon *daemon, const struct qube *qube)
{
	const struct conf_qube *conf = conf_qube_find(daemon->conf, qube->name);
	json_t *object = json_object();
	enum rule_origin layer = ORIGIN_FILE;

	if (conf != NULL)
		layer = changes_rules(daemon->changes, conf).layer;
	text_set(object, "state", state_name(qube->rules->state));
	text_set(
		object, "origin", qube->rules->state == RULES_NONE ? "none" : change_origin(layer));
	if (qube->rules->state == RULES_VALID)
		number_set(object, "count", qube->rules->ruleset.count);
	if (qube->rules->state == RULES_BAD)
		text_set(object, "error",
			conf != NULL && conf->rules_error != NULL
				? conf->rules_error
				: "they cannot be compiled; the log says why");
	return object;
}

/* @param has which of @p addresses there are */
static json_t *
addresses_array(const bool has[FAMILIES], const union address addresses[FAMILIES])
{
	char text[ADDRESS_TEXT_SIZE];
	json_t *array = json_array();

	for (enum family family = 0; family < FAMILIES; family++)
		if (has[family])
			json_array_append_new(array,
				json_string(address_format(text, family, &addresses[family])));
	return array;
}

static void
qube_budgets(
	json_t *object, const struct dataplane *dataplane, const struct qube *qube, uint16_t index)
{
	const struct account *own = dataplane_account(dataplane, index, false);
	const struct account *inbound = dataplane_account(dataplane, index, true);
	json_t *limits = json_object();
	json_t *refused = json_object();

	number_set(object, "flows", budget_used(own, BUDGET_FLOWS));
	number_set(object, "inbound_flows", budget_used(inbound, BUDGET_FLOWS));
	number_set(object, "half_open", budget_used(own, BUDGET_HALF_OPEN));
	number_set(object, "external_ports", budget_used(own, BUDGET_PORTS));
	number_set(object, "fragments", budget_used(own, BUDGET_FRAGMENTS));
	for (unsigned kind = 0; kind < BUDGET_COUNT; kind++) {
		number_set(limits, budgets[kind].name, qube->limits.value[kind]);
		number_set(refused, budgets[kind].name,
			atomic_load_explicit(&own->refused[kind], memory_order_relaxed) +
				atomic_load_explicit(
					&inbound->refused[kind], memory_order_relaxed));
	}
	json_object_set_new(object, "limits", limits);
	json_object_set_new(object, "refused", refused);
}

static void
visible_set(json_t *object, const char *name, rte_be32_t visible)
{
	const union address address = address_v4(visible);
	char text[ADDRESS_TEXT_SIZE];

	text_set(object, name, address_format(text, FAMILY_IPV4, &address));
}

static json_t *
qube_object(const struct daemon *daemon, const struct qube *qube, uint16_t index)
{
	const struct dataplane *dataplane = daemon->dataplane;
	json_t *object = json_object();
	struct port_counters sum = {0};

	text_set(object, "name", qube->name);
	json_object_set_new(object, "addresses", addresses_array(qube->has, qube->address));
	if (qube->mapped)
		visible_set(object, "visible", qube->visible);
	if (qube->mapped && qube->visible_gateway != 0)
		visible_set(object, "visible_gateway", qube->visible_gateway);
	if (qube->port != PORT_NONE) {
		text_set(object, "port", dataplane->ports[qube->port].name);
		tally_port(dataplane, qube->port, &sum);
	}
	json_object_set_new(object, "rules", rules_object(daemon, qube));
	number_set(object, "rx_packets", sum.rx_packets);
	number_set(object, "rx_bytes", sum.rx_bytes);
	number_set(object, "tx_packets", sum.tx_packets);
	number_set(object, "tx_bytes", sum.tx_bytes);
	json_object_set_new(object, "drops", drops_object(sum.drops));
	qube_budgets(object, dataplane, qube, index);
	return object;
}

/* @param name of the only one that is wanted; NULL: all */
static json_t *
qubes_array(const struct daemon *daemon, const char *name)
{
	const struct policy *policy = daemon_policy(daemon);
	json_t *array = json_array();

	for (unsigned i = 0; i < policy->qube_count; i++) {
		const struct qube *qube = &policy->qubes[i];

		if (qube->name[0] != '\0' && (name == NULL || strcmp(name, qube->name) == 0))
			json_array_append_new(array, qube_object(daemon, qube, (uint16_t)i));
	}
	return array;
}

void
method_QUBES(struct control_request *request, const json_t *params)
{
	const json_t *wanted = json_object_get(params, "qube");
	json_t *qubes;

	if (!control_params_known(request, params, (const char *const[]){"qube", NULL}))
		return;
	if (wanted != NULL && !json_is_string(wanted)) {
		control_fail(request, CONTROL_INVALID_PARAMS, json_pack("{s:s}", "key", "qube"),
			"qube: want the name of a qube");
		return;
	}
	qubes = qubes_array(control_daemon(request), json_string_value(wanted));
	if (wanted != NULL && json_array_size(qubes) == 0) {
		json_decref(qubes);
		control_fail(request, CONTROL_CONFLICT, json_pack("{s:s}", "key", "qube"),
			"no qube is named %.*s", NAME_SIZE, json_string_value(wanted));
		return;
	}
	control_answer(request, json_pack("{s:o}", "qubes", qubes));
}

/* --- status --- */

static const char *
device_text(const struct conf_port *port, char *text, size_t size)
{
	snprintf(text, size, "%s:%s", device_kinds[port->device], port->argument);
	return text;
}

static json_t *
port_object(const struct daemon *daemon, unsigned index)
{
	const struct dataplane *dataplane = daemon->dataplane;
	const struct port *port = &dataplane->ports[index];
	const struct conf_port *conf = conf_port_find(daemon->conf, port->name);
	const struct policy_port *uplink = policy_port_at(daemon_policy(daemon), index);
	const uint8_t *mac = port->mac;
	struct port_counters sum;
	char device[256];
	json_t *object = json_object();

	tally_port(dataplane, index, &sum);
	text_set(object, "name", port->name);
	if (conf != NULL) {
		text_set(object, "role", role_names[conf->role]);
		text_set(object, "qube", conf->qube);
		text_set(object, "device", device_text(conf, device, sizeof(device)));
	}
	json_object_set_new(object, "up", json_boolean(event_port_up(daemon, index)));
	/* those of [gateway] are the same on all ports of qubes */
	if (conf != NULL && conf->role == ROLE_UPLINK)
		json_object_set_new(
			object, "addresses", addresses_array(uplink->has, uplink->address));
	json_object_set_new(object, "mac",
		json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
			mac[4], mac[5]));
	number_set(object, "mtu", port->mtu);
	number_set(object, "worker", port->owner);
	number_set(object, "rx_packets", sum.rx_packets);
	number_set(object, "rx_bytes", sum.rx_bytes);
	number_set(object, "rx_dropped", port->rx_dropped);
	number_set(object, "tx_packets", sum.tx_packets);
	number_set(object, "tx_bytes", sum.tx_bytes);
	number_set(object, "drops", tally_drops(&sum));
	return object;
}

static json_t *
workers_array(const struct dataplane *dataplane)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < dataplane->worker_count; i++) {
		const struct flow_table *flows = dataplane->workers[i]->flows;

		json_array_append_new(array, json_pack("{s:i, s:I, s:I}", "index", (int)i, "flows",
						     (json_int_t)flow_count(flows), "capacity",
						     (json_int_t)flow_capacity(flows)));
	}
	return array;
}

static unsigned
qube_count(const struct policy *policy)
{
	unsigned count = 0;

	for (unsigned i = 0; i < policy->qube_count; i++)
		count += policy->qubes[i].name[0] != '\0';
	return count;
}

/* What somebody should see to. */
static json_t *
warnings_array(const struct daemon *daemon)
{
	const struct dataplane *dataplane = daemon->dataplane;
	const struct policy *policy = daemon_policy(daemon);
	json_t *array = json_array();

	for (unsigned i = 0; i < dataplane->port_count; i++)
		if (dataplane_port(dataplane, i) != NULL && !event_port_up(daemon, i))
			json_array_append_new(
				array, json_sprintf("port %s is down", dataplane->ports[i].name));
	for (unsigned i = 0; i < policy->qube_count; i++) {
		const struct qube *qube = &policy->qubes[i];

		if (qube->name[0] == '\0')
			continue;
		if (qube->rules->state == RULES_BAD)
			json_array_append_new(array,
				json_sprintf("qube %s is refused everything: its rules have an "
					     "error",
					qube->name));
		else if (qube->rules->state == RULES_NONE)
			json_array_append_new(array,
				json_sprintf("qube %s has no rules: it is refused everything",
					qube->name));
	}
	for (unsigned i = 0; i < dataplane->worker_count; i++) {
		const struct flow_table *flows = dataplane->workers[i]->flows;

		if (flow_count(flows) >= flow_capacity(flows) / 10 * 9)
			json_array_append_new(array,
				json_sprintf("worker %u has room for %u flows only, and %u of them "
					     "are taken",
					i, flow_capacity(flows), flow_count(flows)));
	}
	if (policy->virtual_dns_count != 0 && policy->resolver_count == 0)
		json_array_append_new(array,
			json_string("qubes have virtual resolvers, but no real one is known: "
				    "[port NAME] dns"));
	return array;
}

static json_t *
ports_array(const struct daemon *daemon)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < daemon->dataplane->port_count; i++)
		if (dataplane_port(daemon->dataplane, i) != NULL)
			json_array_append_new(array, port_object(daemon, i));
	return array;
}

void
method_STATUS(struct control_request *request, const json_t *params)
{
	const struct daemon *daemon = control_daemon(request);
	const struct policy *policy = daemon_policy(daemon);
	uint64_t now_s = (uint64_t)time(NULL);
	json_t *status;

	if (!control_params_known(request, params, (const char *const[]){NULL}))
		return;
	status = json_pack("{s:s, s:s, s:i, s:I, s:o, s:o, s:{s:I, s:I, s:I, s:I}}", "program",
		"sluiced", "version", SLUICE_VERSION, "pid", (int)getpid(), "uptime",
		(json_int_t)(now_s > daemon->start_s ? now_s - daemon->start_s : 0), "config",
		control_text(daemon->path), "state_dir", control_text(daemon->conf->state_dir),
		"policy", "generation", (json_int_t)policy->generation, "since",
		(json_int_t)daemon->policy_s, "forwards", (json_int_t)policy->forwards->count,
		"qubes", (json_int_t)qube_count(policy));
	json_object_set_new(status, "workers", workers_array(daemon->dataplane));
	json_object_set_new(status, "ports", ports_array(daemon));
	json_object_set_new(status, "qubes", qubes_array(daemon, NULL));
	json_object_set_new(status, "warnings", warnings_array(daemon));
	control_answer(request, status);
}
