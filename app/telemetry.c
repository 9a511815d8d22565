/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/telemetry.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_telemetry.h>
#include <rte_version.h>

#include "app/tally.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct daemon *answers_for;

/*
 * DPDK refuses names that have anything but letters, digits, '_' and '/' in them. Its two functions
 * do the same; 23.11 knows both, 22.11 only the old name, 25.11 only the new.
 */
static void
number_add(struct rte_tel_data *data, const char *name, uint64_t value)
{
	char key[RTE_TEL_MAX_STRING_LEN];

	snprintf(key, sizeof(key), "%s", name);
	for (char *hyphen = key; (hyphen = strchr(hyphen, '-')) != NULL;)
		*hyphen = '_';
#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)
	rte_tel_data_add_dict_uint(data, key, value);
#else
	rte_tel_data_add_dict_u64(data, key, value);
#endif
}

static void
drops_add(struct rte_tel_data *data, const uint64_t drops[REASON_COUNT])
{
	for (unsigned i = REASON_NONE + 1; i < REASON_COUNT; i++)
		number_add(data, reasons[i].name, drops[i]);
}

/* @param name of a port; @return its index, or -ENOENT */
static int
port_find(const struct dataplane *dataplane, const char *name)
{
	for (unsigned i = 0; i < dataplane->port_count; i++)
		if (dataplane_port(dataplane, i) != NULL &&
			strcmp(dataplane->ports[i].name, name) == 0)
			return (int)i;
	return -ENOENT;
}

static int
status(const struct daemon *daemon, const char *parameter, struct rte_tel_data *data)
{
	const struct policy *policy = daemon_policy(daemon);
	uint64_t now_s = (uint64_t)time(NULL), flows = 0, qubes = 0;

	(void)parameter;
	for (unsigned i = 0; i < policy->qube_count; i++)
		qubes += policy->qubes[i].name[0] != '\0';
	for (unsigned i = 0; i < daemon->dataplane->worker_count; i++)
		flows += flow_count(daemon->dataplane->workers[i]->flows);
	rte_tel_data_add_dict_string(data, "version", SLUICE_VERSION);
	rte_tel_data_add_dict_int(data, "pid", (int)getpid());
	number_add(data, "uptime", now_s > daemon->start_s ? now_s - daemon->start_s : 0);
	number_add(data, "generation", policy->generation);
	number_add(data, "workers", daemon->dataplane->worker_count);
	number_add(data, "ports", daemon->dataplane->port_count);
	number_add(data, "qubes", qubes);
	number_add(data, "forwards", policy->forwards->count);
	number_add(data, "flows", flows);
	return 0;
}

static int
counters_of_port(const struct dataplane *dataplane, unsigned port, struct rte_tel_data *data)
{
	struct port_counters sum;

	tally_port(dataplane, port, &sum);
	number_add(data, "rx_packets", sum.rx_packets);
	number_add(data, "rx_bytes", sum.rx_bytes);
	number_add(data, "rx_dropped", dataplane->ports[port].rx_dropped);
	number_add(data, "tx_packets", sum.tx_packets);
	number_add(data, "tx_bytes", sum.tx_bytes);
	number_add(data, "drops", tally_drops(&sum));
	return 0;
}

static int
counters(const struct daemon *daemon, const char *parameter, struct rte_tel_data *data)
{
	struct tally tally;

	if (parameter != NULL) {
		int port = port_find(daemon->dataplane, parameter);

		return port < 0 ? port : counters_of_port(daemon->dataplane, (unsigned)port, data);
	}
	tally_take(daemon->dataplane, &tally);
	for (unsigned verdict = 0; verdict < VERDICT_COUNT; verdict++)
		number_add(data, tally_verdicts[verdict], tally.counters.verdicts[verdict]);
	number_add(data, "flows", tally.flows);
#define COUNTER_ADD(member, name) number_add(data, name, tally.counters.member);
	WORKER_COUNTERS(COUNTER_ADD)
#undef COUNTER_ADD
	return 0;
}

static int
drops(const struct daemon *daemon, const char *parameter, struct rte_tel_data *data)
{
	if (parameter != NULL) {
		int port = port_find(daemon->dataplane, parameter);
		struct port_counters sum;

		if (port < 0)
			return port;
		tally_port(daemon->dataplane, (unsigned)port, &sum);
		drops_add(data, sum.drops);
	} else {
		struct tally tally;

		tally_take(daemon->dataplane, &tally);
		drops_add(data, tally.drops);
	}
	return 0;
}

static int
qube(const struct daemon *daemon, const char *name, struct rte_tel_data *data)
{
	const struct policy *policy = daemon_policy(daemon);
	unsigned i = 0;

	while (i < policy->qube_count && strcmp(policy->qubes[i].name, name) != 0)
		i++;
	if (i == policy->qube_count || name[0] == '\0')
		return -ENOENT;
	if (policy->qubes[i].port != PORT_NONE)
		counters_of_port(daemon->dataplane, policy->qubes[i].port, data);
	for (unsigned inbound = 0; inbound < 2; inbound++) {
		const struct account *account =
			dataplane_account(daemon->dataplane, (uint16_t)i, inbound != 0);

		for (unsigned kind = 0; kind < BUDGET_COUNT; kind++) {
			char key[64];

			snprintf(key, sizeof(key), "%s%s", inbound ? "inbound_" : "",
				budgets[kind].name);
			if (tally_budget_used(kind))
				number_add(data, key, budget_used(account, kind));
			strcat(key, "_refused");
			number_add(data, key,
				atomic_load_explicit(
					&account->refused[kind], memory_order_relaxed));
		}
	}
	return 0;
}

/* Names, as /ethdev/list has them; or one of them. */
static int
qubes(const struct daemon *daemon, const char *parameter, struct rte_tel_data *data)
{
	const struct policy *policy = daemon_policy(daemon);

	if (parameter != NULL)
		return qube(daemon, parameter, data);
	rte_tel_data_start_array(data, RTE_TEL_STRING_VAL);
	for (unsigned i = 0, count = 0; i < policy->qube_count && count < RTE_TEL_MAX_ARRAY_ENTRIES;
		i++)
		if (policy->qubes[i].name[0] != '\0') {
			rte_tel_data_add_array_string(data, policy->qubes[i].name);
			count++;
		}
	return 0;
}

static const struct command {
	const char *name;
	int (*answer)(
		const struct daemon *daemon, const char *parameter, struct rte_tel_data *data);
	const char *help;
} commands[] = {
	{"/sluice/status", status, "Everything on one line. Parameters: none"},
	{"/sluice/counters", counters, "Packets and flows. Parameters: a port, or none for all"},
	{"/sluice/drops", drops, "Packets per drop reason. Parameters: a port, or none for all"},
	{"/sluice/qubes", qubes,
		"Names of qubes, or counters of one. Parameters: its name, or none"},
};

/* A callback of DPDK's telemetry, in one of its threads. */
static int
command_run(const char *name, const char *parameter, struct rte_tel_data *data)
{
	int error = -ENOENT;

	if (parameter != NULL && parameter[0] == '\0')
		parameter = NULL;
	rte_tel_data_start_dict(data);
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < RTE_DIM(commands) && answers_for != NULL; i++)
		if (strcmp(commands[i].name, name) == 0)
			error = commands[i].answer(answers_for, parameter, data);
	pthread_mutex_unlock(&lock);
	return error;
}

int
telemetry_open(const struct daemon *daemon)
{
	for (unsigned i = 0; i < RTE_DIM(commands); i++) {
		int error =
			rte_telemetry_register_cmd(commands[i].name, command_run, commands[i].help);

		if (error != 0 && error != -EEXIST)
			return error;
	}
	pthread_mutex_lock(&lock);
	answers_for = daemon;
	pthread_mutex_unlock(&lock);
	return 0;
}

void
telemetry_close(void)
{
	pthread_mutex_lock(&lock);
	answers_for = NULL;
	pthread_mutex_unlock(&lock);
}

void
telemetry_hold(bool hold)
{
	if (hold)
		pthread_mutex_lock(&lock);
	else
		pthread_mutex_unlock(&lock);
}
