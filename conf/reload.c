/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * May a running sluiced go on with another configuration?
 *
 * Ports, tables and workers are built once, and flows know ports by index: what these were made
 * from cannot change without a restart. It is refused as a whole rather than taken in part, so that
 * what is in force is always one file as it was written. All differences are told, each with the
 * place in the new file, the new value and the old one.
 */
#include "conf/loader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_common.h>

struct reload {
	const struct conf *running, *wanted;
	const struct report *report;
	unsigned differences;
};

/* A value as a message quotes it, with its NUL. Longer ones are compared whole and quoted cut. */
#define VALUE_SIZE 128

static void differs(struct reload *reload, unsigned line, const char *key, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void
differs(struct reload *reload, unsigned line, const char *key, const char *format, ...)
{
	char what[3 * VALUE_SIZE];
	char place[PLACE_SIZE];
	va_list arguments;

	reload->differences++;
	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	report_line(reload->report, "%s: %s: %s needs a restart of sluiced",
		conf_place(reload->wanted, line, place), key, what);
}

/*
 * Compare the value of a key. What stands nowhere in the new file is told at the header of its
 * section, or at the last line when that is gone too.
 */
static void
value_compare(struct reload *reload, enum section_kind kind, const char *name, enum key_id id,
	const char *running, const char *wanted)
{
	const struct section *section;
	unsigned line = reload->wanted->line_count;

	if (strcmp(running, wanted) == 0)
		return;
	section = section_find(reload->wanted, kind, name);
	if (section != NULL)
		line = section->key_line[id] != 0 ? section->key_line[id] : section->line;
	differs(reload, line, keys[id].name, "%.*s instead of %.*s", VALUE_SIZE - 1, wanted,
		VALUE_SIZE - 1, running);
}

static void
numbers_compare(struct reload *reload, enum key_id id, unsigned running, unsigned wanted)
{
	char old[VALUE_SIZE], new[VALUE_SIZE];

	snprintf(old, sizeof(old), "%u", running);
	snprintf(new, sizeof(new), "%u", wanted);
	value_compare(reload, SECTION_SLUICE, "", id, old, new);
}

static void
group_compare(struct reload *reload, enum key_id id, const struct conf_group *running,
	const struct conf_group *wanted)
{
	char old[VALUE_SIZE] = "none", new[VALUE_SIZE] = "none";

	if (running->set)
		snprintf(old, sizeof(old), "%u", running->id);
	if (wanted->set)
		snprintf(new, sizeof(new), "%u", wanted->id);
	value_compare(reload, SECTION_SLUICE, "", id, old, new);
}

static void
sluice_compare(struct reload *reload)
{
	const struct conf *running = reload->running, *wanted = reload->wanted;

	/* CPUs may have come and gone */
	if (!running->workers_automatic || !wanted->workers_automatic)
		numbers_compare(reload, KEY_SLUICE_WORKERS, running->workers, wanted->workers);
	value_compare(reload, SECTION_SLUICE, "", KEY_SLUICE_IDLE, idle_modes[running->idle],
		idle_modes[wanted->idle]);
	value_compare(reload, SECTION_SLUICE, "", KEY_SLUICE_SECCOMP,
		seccomp_modes[running->seccomp], seccomp_modes[wanted->seccomp]);
	numbers_compare(reload, KEY_SLUICE_FLOWS, running->flows, wanted->flows);
	value_compare(reload, SECTION_SLUICE, "", KEY_SLUICE_SOCKET, running->socket_path,
		wanted->socket_path);
	value_compare(reload, SECTION_SLUICE, "", KEY_SLUICE_STATE_DIR, running->state_dir,
		wanted->state_dir);
	group_compare(reload, KEY_SLUICE_GROUP, &running->group, &wanted->group);
	group_compare(reload, KEY_SLUICE_LOOK_GROUP, &running->look_group, &wanted->look_group);
	value_compare(reload, SECTION_SLUICE, "", KEY_SLUICE_TELEMETRY,
		running->telemetry ? "yes" : "no", wanted->telemetry ? "yes" : "no");
}

/* Whom to follow is decided when sluiced starts. */
static void
sources_compare(struct reload *reload)
{
	const struct conf *running = reload->running, *wanted = reload->wanted;

	value_compare(reload, SECTION_QUBES, "", KEY_QUBES_QUBESDB,
		running->qubesdb_path != NULL ? running->qubesdb_path : "none",
		wanted->qubesdb_path != NULL ? wanted->qubesdb_path : "none");
	value_compare(reload, SECTION_QUBES, "", KEY_QUBES_QUBESDB_FORWARDS,
		running->qubesdb_forwards ? "yes" : "no", wanted->qubesdb_forwards ? "yes" : "no");
	value_compare(reload, SECTION_QUBES, "", KEY_QUBES_XENSTORE,
		running->xenstore ? "yes" : "no", wanted->xenstore ? "yes" : "no");
}

/* An address that may be absent. @param link NULL, or the network whose length belongs to it */
static const char *
address_text(char text[VALUE_SIZE], bool has, enum family family, const union address *address,
	const struct prefix *link)
{
	char plain[ADDRESS_TEXT_SIZE];

	if (!has)
		return "none";
	address_format(plain, family, address);
	if (link != NULL)
		snprintf(text, VALUE_SIZE, "%s/%u", plain, link->length);
	else
		snprintf(text, VALUE_SIZE, "%s", plain);
	return text;
}

static void
gateway_compare(struct reload *reload)
{
	const struct conf *running = reload->running, *wanted = reload->wanted;
	char old[VALUE_SIZE], new[VALUE_SIZE];

	for (unsigned family = 0; family < FAMILIES; family++)
		value_compare(reload, SECTION_GATEWAY, "", KEY_GATEWAY_ADDRESS + family,
			address_text(old, running->has_gateway[family], family,
				&running->gateway[family], NULL),
			address_text(new, wanted->has_gateway[family], family,
				&wanted->gateway[family], NULL));
}

static void
device_compare(
	struct reload *reload, const struct conf_port *running, const struct conf_port *wanted)
{
	static const char *const kinds[] = {[DEVICE_KERNEL] = "kernel",
		[DEVICE_PCI] = "pci",
		[DEVICE_DPDK] = "dpdk",
		[DEVICE_TAP] = "tap"};
	char *old = NULL, *new = NULL;

	/* The arguments of a DPDK device may be longer than any buffer would be. */
	if (asprintf(&old, "%s:%s", kinds[running->device], running->argument) < 0)
		old = NULL;
	if (asprintf(&new, "%s:%s", kinds[wanted->device], wanted->argument) < 0)
		new = NULL;
	if (old != NULL && new != NULL)
		value_compare(reload, SECTION_PORT, wanted->name, KEY_PORT_DEVICE, old, new);
	else
		differs(reload, wanted->line, "device", "without memory to compare it, this");
	free(old);
	free(new);
}

static const struct conf_port *
port_find(const struct conf *conf, const char *name)
{
	for (unsigned i = 0; i < conf->port_count; i++)
		if (strcmp(conf->ports[i].name, name) == 0)
			return &conf->ports[i];
	return NULL;
}

static const struct conf_qube *
qube_find(const struct conf *conf, const char *name)
{
	for (unsigned i = 0; i < conf->qube_count; i++)
		if (strcmp(conf->qubes[i].name, name) == 0)
			return &conf->qubes[i];
	return NULL;
}

static const char *
mac_text(char text[VALUE_SIZE], const struct conf_qube *qube)
{
	const uint8_t *mac = qube->mac;

	if (!qube->has_mac)
		return "none";
	snprintf(text, VALUE_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		mac[4], mac[5]);
	return text;
}

/* A qube that lives on the same port in both. */
static void
qube_compare(struct reload *reload, const char *name)
{
	const struct conf_qube *running = qube_find(reload->running, name);
	const struct conf_qube *wanted = qube_find(reload->wanted, name);
	char old[VALUE_SIZE], new[VALUE_SIZE];

	if (running == NULL || wanted == NULL)
		return;
	for (unsigned family = 0; family < FAMILIES; family++)
		value_compare(reload, SECTION_QUBE, name, KEY_QUBE_ADDRESS + family,
			address_text(
				old, running->has[family], family, &running->address[family], NULL),
			address_text(
				new, wanted->has[family], family, &wanted->address[family], NULL));
	value_compare(reload, SECTION_QUBE, name, KEY_QUBE_MAC, mac_text(old, running),
		mac_text(new, wanted));
}

static void
port_compare(struct reload *reload, const struct conf_port *running, const struct conf_port *wanted)
{
	device_compare(reload, running, wanted);
	value_compare(reload, SECTION_PORT, wanted->name, KEY_PORT_ROLE, role_names[running->role],
		role_names[wanted->role]);
	if (running->role != wanted->role)
		return;
	if (wanted->role == ROLE_UPLINK)
		return; /* its addresses and gateways change with the policy */
	if (strcmp(running->qube, wanted->qube) == 0)
		qube_compare(reload, wanted->qube);
	else
		value_compare(reload, SECTION_PORT, wanted->name, KEY_PORT_QUBE, running->qube,
			wanted->qube);
}

static void
ports_compare(struct reload *reload)
{
	const struct conf *running = reload->running, *wanted = reload->wanted;
	unsigned before = reload->differences;
	char title[NAME_SIZE + 16];

	for (unsigned i = 0; i < wanted->port_count; i++) {
		const struct conf_port *port = &wanted->ports[i];

		snprintf(title, sizeof(title), "[port %s]", port->name);
		if (port_find(running, port->name) == NULL)
			differs(reload, port->line, title, "a new port");
	}
	for (unsigned i = 0; i < running->port_count; i++) {
		snprintf(title, sizeof(title), "[port %s]", running->ports[i].name);
		if (port_find(wanted, running->ports[i].name) == NULL)
			differs(reload, wanted->line_count, title, "taking a port away");
	}
	/* The first one out of its place says it for all that it moved. */
	for (unsigned i = 0; reload->differences == before && i < wanted->port_count; i++) {
		if (strcmp(wanted->ports[i].name, running->ports[i].name) == 0)
			continue;
		snprintf(title, sizeof(title), "[port %s]", wanted->ports[i].name);
		differs(reload, wanted->ports[i].line, title,
			"another order of ports, with this one where [port %s] was,",
			running->ports[i].name);
	}
	for (unsigned i = 0; i < wanted->port_count; i++) {
		const struct conf_port *port = port_find(running, wanted->ports[i].name);

		if (port != NULL)
			port_compare(reload, port, &wanted->ports[i]);
	}
}

int
conf_reload_check(
	const struct conf *running, const struct conf *wanted, const struct report *report)
{
	struct reload reload = {.running = running, .wanted = wanted, .report = report};

	sluice_compare(&reload);
	sources_compare(&reload);
	gateway_compare(&reload);
	ports_compare(&reload);
	return reload.differences == 0 ? 0 : -EBUSY;
}
