/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/settings.h"

#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/log.h"

static void
set_text(json_t *fields, const char *key, const char *text)
{
	if (text == NULL || text[0] == '\0')
		return;
	/* A path need not be UTF-8, and a log line is. */
	if (json_object_set_new(fields, key, json_string(text)) != 0)
		json_object_set_new(fields, key, json_string("?"));
}

static void
set_number(json_t *fields, const char *key, uint64_t number)
{
	json_object_set_new(fields, key, json_integer((json_int_t)number));
}

/* A number, and beside it what it would be if nobody had said anything. */
static void
set_tunable(json_t *fields, const char *key, uint64_t number, uint64_t normal)
{
	char marked[64];

	set_number(fields, key, number);
	if (number == normal)
		return;
	snprintf(marked, sizeof(marked), "%s.default", key);
	set_number(fields, marked, normal);
}

static void
set_address(
	json_t *fields, const char *key, bool has, enum family family, const union address *address)
{
	char text[ADDRESS_TEXT_SIZE];

	if (has)
		set_text(fields, key, address_format(text, family, address));
}

static void
set_list(json_t *fields, const char *key, const rte_be32_t *list, unsigned count)
{
	json_t *texts = json_array();
	char text[ADDRESS_TEXT_SIZE];

	for (unsigned i = 0; i < count; i++) {
		union address address = {.v4 = list[i]};

		json_array_append_new(
			texts, json_string(address_format(text, FAMILY_IPV4, &address)));
	}
	if (count != 0)
		json_object_set(fields, key, texts);
	json_decref(texts);
}

static void
set_group(json_t *fields, const char *key, const struct conf_group *group)
{
	if (group->set)
		set_number(fields, key, group->id);
	else
		set_text(fields, key, "none");
}

static void
set_range(json_t *fields, const char *key, uint16_t first, uint16_t last)
{
	char text[16];

	snprintf(text, sizeof(text), "%u-%u", first, last);
	set_text(fields, key, text);
}

static const char *
protocol_text(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_ICMP:
		return "icmp";
	default:
		return "any";
	}
}

/* Keep the line of a section. @param fields taken */
static void
section_keep(json_t *sections, const char *section, const char *name, json_t *fields)
{
	char title[2 * NAME_SIZE];
	char *line = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&line, &size);

	snprintf(title, sizeof(title), "%s%s%s", section, name[0] != '\0' ? "." : "", name);
	if (stream != NULL) {
		log_fields_write(stream, fields);
		if (fclose(stream) == 0)
			json_object_set_new(sections, title, json_string(line));
	}
	free(line);
	json_decref(fields);
}

static void
sluice_keep(json_t *sections, const struct conf *conf)
{
	json_t *fields = json_object();

	set_text(fields, "config", conf->path);
	set_number(fields, "workers", conf->workers);
	set_text(fields, "workers.from", conf->workers_automatic ? "auto" : NULL);
	set_text(fields, "idle", idle_modes[conf->idle]);
	set_text(fields, "seccomp", seccomp_modes[conf->seccomp]);
	set_tunable(fields, "flows", conf->flows, FLOWS_DEFAULT);
	set_tunable(fields, "ports", conf->ports_max, PORTS_DEFAULT);
	set_text(fields, "socket", conf->socket_path);
	set_text(fields, "state-dir", conf->state_dir);
	set_group(fields, "group", &conf->group);
	set_group(fields, "look-group", &conf->look_group);
	set_text(fields, "telemetry", conf->telemetry ? "yes" : "no");
	set_text(fields, "log-refusals", conf->log_refusals ? "yes" : "no");
	section_keep(sections, "sluice", "", fields);
}

static void
gateway_keep(json_t *sections, const struct conf *conf)
{
	json_t *fields = json_object();

	set_address(fields, "address", conf->has_gateway[FAMILY_IPV4], FAMILY_IPV4,
		&conf->gateway[FAMILY_IPV4]);
	set_address(fields, "address6", conf->has_gateway[FAMILY_IPV6], FAMILY_IPV6,
		&conf->gateway[FAMILY_IPV6]);
	set_list(fields, "dns", conf->virtual_dns, conf->virtual_dns_count);
	section_keep(sections, "gateway", "", fields);
}

static void
port_keep(json_t *sections, const struct conf_port *port)
{
	static const char *const address_keys[] = {"address", "address6"};
	static const char *const gateway_keys[] = {"gateway", "gateway6"};
	json_t *fields = json_object();
	char text[ADDRESS_TEXT_SIZE];

	json_object_set_new(fields, "device",
		json_sprintf("%s:%s", device_kinds[port->device], port->argument));
	set_text(fields, "role", role_names[port->role]);
	set_text(fields, "qube", port->qube);
	for (enum family family = 0; family < FAMILIES; family++) {
		if (port->has[family]) {
			set_text(fields, address_keys[family],
				address_format(text, family, &port->address[family]));
			json_object_set_new(fields, family == FAMILY_IPV4 ? "length" : "length6",
				json_integer(port->link[family].length));
		}
		set_address(fields, gateway_keys[family], port->has_gateway[family], family,
			&port->gateway[family]);
	}
	set_list(fields, "dns", port->resolver, port->resolver_count);
	if (port->mss_clamp == MSS_CLAMP_FIXED)
		set_number(fields, "mss-clamp", port->mss);
	else
		set_text(fields, "mss-clamp", port->mss_clamp == MSS_CLAMP_MTU ? "mtu" : "off");
	section_keep(sections, "port", port->name, fields);
}

static void
limits_set(json_t *fields, const struct limits *limits, const struct limits *normal)
{
	for (unsigned kind = 0; kind < BUDGET_COUNT; kind++)
		set_tunable(fields, budgets[kind].name, limits->value[kind], normal->value[kind]);
}

static void
qube_keep(json_t *sections, const struct conf *conf, const struct conf_qube *qube)
{
	static const char *const filters[] = {
		[FILTER_ADDRESS_AND_PORT] = "address-and-port",
		[FILTER_ADDRESS] = "address",
		[FILTER_NONE] = "none",
	};
	static const char *const states[] = {
		[RULES_NONE] = "none", [RULES_BAD] = "bad", [RULES_VALID] = "valid"};
	const uint8_t *mac = qube->mac;
	json_t *fields = json_object();

	set_address(fields, "address", qube->has[FAMILY_IPV4], FAMILY_IPV4,
		&qube->address[FAMILY_IPV4]);
	set_address(fields, "address6", qube->has[FAMILY_IPV6], FAMILY_IPV6,
		&qube->address[FAMILY_IPV6]);
	if (qube->has_mac)
		json_object_set_new(fields, "mac",
			json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
				mac[3], mac[4], mac[5]));
	set_text(fields, "rules", qube->rules_path);
	set_text(fields, "rules.state", states[qube->state]);
	if (qube->state == RULES_VALID)
		set_number(fields, "rules.count", qube->ruleset.count);
	set_text(fields, "filter", filters[qube->filter]);
	/* Only what is this qube's own: all others have a line of theirs. */
	for (unsigned kind = 0; kind < BUDGET_COUNT; kind++)
		if (qube->limits.value[kind] != conf->limits.value[kind])
			set_tunable(fields, budgets[kind].name, qube->limits.value[kind],
				conf->limits.value[kind]);
	section_keep(sections, "qube", qube->name, fields);
}

static void
forward_keep(json_t *sections, const struct conf_forward *forward)
{
	char text[ADDRESS_TEXT_SIZE];
	json_t *fields = json_object();

	set_text(
		fields, "forwardtype", forward->side == FORWARD_EXTERNAL ? "external" : "internal");
	set_text(fields, "proto", protocol_text(forward->protocol));
	set_range(fields, "srcports", forward->first, forward->last);
	set_range(fields, "dstports", forward->target_first, forward->target_last);
	if (forward->has_source)
		set_text(fields, "srchost",
			prefix_format(text, forward->source_family, &forward->source));
	set_text(fields, "qube", forward->qube);
	if (forward->expire_s != 0)
		set_number(fields, "expire", forward->expire_s);
	set_text(fields, "comment", forward->comment);
	section_keep(sections, "forward", forward->name, fields);
}

static void
allow_keep(json_t *sections, const struct conf_allow *allow)
{
	json_t *fields = json_object();

	set_text(fields, "from", allow->from);
	set_text(fields, "to", allow->to);
	set_text(fields, "proto", protocol_text(allow->protocol));
	set_range(fields, "dstports", allow->first, allow->last);
	section_keep(sections, "allow", allow->name, fields);
}

static void
limits_keep(json_t *sections, const struct conf *conf)
{
	struct limits normal;
	json_t *fields = json_object();

	limits_defaults(&normal);
	limits_set(fields, &conf->limits, &normal);
	section_keep(sections, "limits", "", fields);
}

static void
timeouts_keep(json_t *sections, const struct conf *conf)
{
	json_t *fields = json_object();

	for (unsigned i = 0; i < TIMEOUT_COUNT; i++)
		set_tunable(fields, timeouts[i].name, conf->timeouts.ms[i] / 1000,
			timeouts[i].default_s);
	section_keep(sections, "timeouts", "", fields);
}

/* `{SECTION: " key=value ..."}` in the order of the table of sections. */
static json_t *
sections_make(const struct conf *conf)
{
	json_t *sections = json_object();

	sluice_keep(sections, conf);
	gateway_keep(sections, conf);
	for (unsigned i = 0; i < conf->port_count; i++)
		port_keep(sections, &conf->ports[i]);
	for (unsigned i = 0; i < conf->qube_count; i++)
		qube_keep(sections, conf, &conf->qubes[i]);
	for (unsigned i = 0; i < conf->forward_count; i++)
		forward_keep(sections, &conf->forwards[i]);
	for (unsigned i = 0; i < conf->allow_count; i++)
		allow_keep(sections, &conf->allows[i]);
	limits_keep(sections, conf);
	timeouts_keep(sections, conf);
	return sections;
}

void
settings_log(const struct conf *conf, const struct conf *previous)
{
	json_t *sections = sections_make(conf);
	json_t *before = previous != NULL ? sections_make(previous) : json_object();
	const char *title;
	json_t *line;

	json_object_foreach (before, title, line)
		if (json_object_get(sections, title) == NULL)
			log_line("setting %s is gone", title);
	json_object_foreach (sections, title, line)
		if (!json_equal(line, json_object_get(before, title)))
			log_line("setting %s%s", title, json_string_value(line));
	json_decref(sections);
	json_decref(before);
}
