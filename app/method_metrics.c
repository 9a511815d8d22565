/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The method `metrics`: everything that is counted, as OpenMetrics 1.0 text. Whoever scrapes it
 * asks through `sluicectl metrics` or a line of socat: sluiced has no port of its own.
 *
 * What it is made from are the tables that the data path is made from: a new drop reason, budget or
 * counter of workers is a new sample without a word here. All samples of a family stand together,
 * below its type and help.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/event.h"
#include "app/method.h"
#include "app/tally.h"

struct writer {
	FILE *stream;
	const struct daemon *daemon;
	const struct dataplane *dataplane;
	const struct policy *policy;
	const char *name, *suffix; /* of the samples that follow */
};

/* Text inside of quotes, or behind HELP. */
static void
text_write(FILE *stream, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\n') {
			fputs("\\n", stream);
			continue;
		}
		if (*text == '"' || *text == '\\')
			fputc('\\', stream);
		fputc(*text, stream);
	}
}

static void
family(struct writer *writer, const char *name, const char *type, const char *help)
{
	writer->name = name;
	writer->suffix = strcmp(type, "counter") == 0 ? "_total"
			 : strcmp(type, "info") == 0  ? "_info"
						      : "";
	fprintf(writer->stream, "# TYPE sluice_%s %s\n# HELP sluice_%s ", name, type, name);
	text_write(writer->stream, help);
	fputc('\n', writer->stream);
}

/* @param labels name, value, name, value, ..., NULL; pairs whose value is "" are left out */
static void
sample(const struct writer *writer, uint64_t value, const char *const *labels)
{
	const char *separator = "{";

	fprintf(writer->stream, "sluice_%s%s", writer->name, writer->suffix);
	for (; labels[0] != NULL; labels += 2) {
		if (labels[1][0] == '\0')
			continue;
		fprintf(writer->stream, "%s%s=\"", separator, labels[0]);
		text_write(writer->stream, labels[1]);
		fputc('"', writer->stream);
		separator = ",";
	}
	fprintf(writer->stream, "%s %" PRIu64 "\n", separator[0] == ',' ? "}" : "", value);
}

#define SAMPLE(writer, value, ...) \
	sample(writer, value, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* --- the program and its policy --- */

static void
write_program(struct writer *writer)
{
	family(writer, "build", "info", "the version that runs");
	SAMPLE(writer, 1, "version", SLUICE_VERSION);
	family(writer, "start_time_seconds", "gauge", "unix time of the start");
	SAMPLE(writer, writer->daemon->start_s);
	family(writer, "policy_generation", "gauge", "generation of the policy in force");
	SAMPLE(writer, writer->policy->generation);
	family(writer, "policy_time_seconds", "gauge", "unix time at which it came into force");
	SAMPLE(writer, writer->daemon->policy_s);
	family(writer, "policy_forwards", "gauge", "port forwards in force");
	SAMPLE(writer, writer->policy->forwards->count);
}

/* --- totals and workers --- */

static void
write_totals(struct writer *writer)
{
	struct tally tally;

	tally_take(writer->dataplane, &tally);
	family(writer, "verdicts", "counter", "packets by what became of them");
	for (unsigned verdict = 0; verdict < VERDICT_COUNT; verdict++)
		SAMPLE(writer, tally.counters.verdicts[verdict], "verdict",
			tally_verdicts[verdict]);
	family(writer, "drops", "counter", "packets by the reason for which they were dropped");
	for (unsigned i = REASON_NONE + 1; i < REASON_COUNT; i++)
		SAMPLE(writer, tally.drops[i], "reason", reasons[i].name);
}

#define INDEX_TEXT_SIZE 12

static const char *
index_text(char text[INDEX_TEXT_SIZE], unsigned index)
{
	snprintf(text, INDEX_TEXT_SIZE, "%u", index);
	return text;
}

static void
write_workers(struct writer *writer)
{
	struct worker *const *workers = writer->dataplane->workers;
	unsigned count = writer->dataplane->worker_count;
	char text[INDEX_TEXT_SIZE];

	family(writer, "flows", "gauge", "connections that are tracked");
	for (unsigned i = 0; i < count; i++)
		SAMPLE(writer, flow_count(workers[i]->flows), "worker", index_text(text, i));
	family(writer, "flows_capacity", "gauge", "connections that can be tracked");
	for (unsigned i = 0; i < count; i++)
		SAMPLE(writer, flow_capacity(workers[i]->flows), "worker", index_text(text, i));
#define COUNTER_WRITE(member, counter)                                                         \
	family(writer, "worker_" counter, "counter", "what a worker has counted as " counter); \
	for (unsigned i = 0; i < count; i++)                                                   \
		SAMPLE(writer, workers[i]->counters.member, "worker", index_text(text, i));
	WORKER_COUNTERS(COUNTER_WRITE)
#undef COUNTER_WRITE
}

/* --- ports --- */

static const char *
port_qube(const struct writer *writer, unsigned port)
{
	const struct policy_port *own = policy_port_at(writer->policy, port);

	return own->role != ROLE_UPLINK && own->qube < writer->policy->qube_count
		       ? writer->policy->qubes[own->qube].name
		       : "";
}

static void
write_port_counter(struct writer *writer, const char *name, const char *help, size_t offset)
{
	const struct dataplane *dataplane = writer->dataplane;

	family(writer, name, "counter", help);
	for (unsigned i = 0; i < dataplane->port_count; i++) {
		uint64_t sum = 0;

		if (dataplane_port(dataplane, i) == NULL)
			continue;
		for (unsigned worker = 0; worker < dataplane->worker_count; worker++)
			sum += *(const uint64_t *)(const void
					*)((const char *)&dataplane->workers[worker]->ports[i] +
					   offset);
		SAMPLE(writer, sum, "port", dataplane->ports[i].name, "qube", port_qube(writer, i));
	}
}

static void
write_ports(struct writer *writer)
{
	const struct dataplane *dataplane = writer->dataplane;

	family(writer, "port_up", "gauge", "whether a port has a link");
	for (unsigned i = 0; i < dataplane->port_count; i++)
		if (dataplane_port(dataplane, i) != NULL)
			SAMPLE(writer, event_port_up(writer->daemon, i), "port",
				dataplane->ports[i].name, "qube", port_qube(writer, i));
	write_port_counter(writer, "port_rx_packets", "packets received from a port",
		offsetof(struct port_counters, rx_packets));
	write_port_counter(writer, "port_rx_bytes", "bytes received from a port",
		offsetof(struct port_counters, rx_bytes));
	write_port_counter(writer, "port_tx_packets", "packets sent to a port",
		offsetof(struct port_counters, tx_packets));
	write_port_counter(writer, "port_tx_bytes", "bytes sent to a port",
		offsetof(struct port_counters, tx_bytes));
	family(writer, "port_rx_dropped", "counter",
		"frames that a port has lost before sluice saw them");
	for (unsigned i = 0; i < dataplane->port_count; i++)
		if (dataplane_port(dataplane, i) != NULL)
			SAMPLE(writer, dataplane->ports[i].rx_dropped, "port",
				dataplane->ports[i].name, "qube", port_qube(writer, i));
	family(writer, "port_drops", "counter",
		"packets from a port by the reason for which they were dropped, if there were any");
	for (unsigned i = 0; i < dataplane->port_count; i++) {
		struct port_counters sum;

		if (dataplane_port(dataplane, i) == NULL)
			continue;
		tally_port(dataplane, i, &sum);
		for (unsigned reason = REASON_NONE + 1; reason < REASON_COUNT; reason++)
			if (sum.drops[reason] != 0)
				SAMPLE(writer, sum.drops[reason], "port", dataplane->ports[i].name,
					"qube", port_qube(writer, i), "reason",
					reasons[reason].name);
	}
}

/* --- qubes --- */

/* One sample of each account and budget. */
static void
write_accounts(struct writer *writer,
	bool (*value_of)(const struct account *account, enum budget_kind kind, uint64_t *value))
{
	for (unsigned i = 0; i < writer->policy->qube_count; i++) {
		const struct qube *qube = &writer->policy->qubes[i];

		for (unsigned side = 0; qube->name[0] != '\0' && side < 2; side++) {
			const struct account *account =
				dataplane_account(writer->dataplane, (uint16_t)i, side != 0);

			for (unsigned kind = 0; kind < BUDGET_COUNT; kind++) {
				uint64_t value;

				if (value_of(account, kind, &value))
					SAMPLE(writer, value, "qube", qube->name, "budget",
						budgets[kind].name, "side",
						side != 0 ? "inbound" : "own");
			}
		}
	}
}

static bool
account_used(const struct account *account, enum budget_kind kind, uint64_t *value)
{
	*value = budget_used(account, kind);
	return tally_budget_used(kind);
}

static bool
account_refused(const struct account *account, enum budget_kind kind, uint64_t *value)
{
	*value = atomic_load_explicit(&account->refused[kind], memory_order_relaxed);
	return true;
}

static void
write_qubes(struct writer *writer)
{
	static const char *const states[] = {
		[RULES_NONE] = "none", [RULES_BAD] = "bad", [RULES_VALID] = "valid"};
	const struct policy *policy = writer->policy;

	family(writer, "qube_rules", "stateset",
		"whether the rules of a qube are valid, bad (all is refused) or none");
	for (unsigned i = 0; i < policy->qube_count; i++)
		for (unsigned state = 0; policy->qubes[i].name[0] != '\0' && state < 3; state++)
			SAMPLE(writer, policy->qubes[i].rules->state == state, "qube",
				policy->qubes[i].name, "sluice_qube_rules", states[state]);
	family(writer, "qube_limit", "gauge", "how much a qube may use");
	for (unsigned i = 0; i < policy->qube_count; i++)
		for (unsigned kind = 0; policy->qubes[i].name[0] != '\0' && kind < BUDGET_COUNT;
			kind++)
			SAMPLE(writer, policy->qubes[i].limits.value[kind], "qube",
				policy->qubes[i].name, "budget", budgets[kind].name);
	family(writer, "qube_used", "gauge",
		"how much a qube uses itself, and how much those that connect to it");
	write_accounts(writer, account_used);
	family(writer, "qube_refused", "counter", "how often a limit has refused something");
	write_accounts(writer, account_refused);
}

/* --- rules and forwards --- */

static void
write_rules(struct writer *writer)
{
	const struct policy *policy = writer->policy;
	const struct forward_table *forwards = policy->forwards;
	char text[INDEX_TEXT_SIZE];

	family(writer, "rule_hits", "counter",
		"flows that a rule has decided about, by its number, or the policy behind all of "
		"them");
	for (unsigned i = 0; i < policy->qube_count; i++) {
		const struct qube *qube = &policy->qubes[i];
		const struct rules *rules = qube->rules;

		if (qube->name[0] == '\0' || rules->hits == NULL)
			continue;
		for (unsigned rule = 0; rule <= rules->ruleset.count; rule++)
			SAMPLE(writer, hits_read(rules->hits[rule]), "qube", qube->name, "rule",
				rule < rules->ruleset.count ? index_text(text, rule) : "policy");
	}
	family(writer, "forward_hits", "counter", "flows that a forward has let in");
	for (unsigned i = 0; i < forwards->count; i++)
		if (forwards->forwards[i].hits != NULL)
			SAMPLE(writer, hits_read(forwards->forwards[i].hits), "forward",
				forwards->forwards[i].name, "qube",
				policy->qubes[forwards->forwards[i].qube].name);
}

static char *
metrics_text(const struct daemon *daemon)
{
	char *text = NULL;
	size_t size = 0;
	struct writer writer = {
		.stream = open_memstream(&text, &size),
		.daemon = daemon,
		.dataplane = daemon->dataplane,
		.policy = daemon_policy(daemon),
	};
	bool failed;

	if (writer.stream == NULL)
		return NULL;
	write_program(&writer);
	write_totals(&writer);
	write_workers(&writer);
	write_ports(&writer);
	write_qubes(&writer);
	write_rules(&writer);
	fputs("# EOF\n", writer.stream);
	failed = ferror(writer.stream) != 0;
	if (fclose(writer.stream) != 0 || failed) {
		free(text);
		return NULL;
	}
	return text;
}

void
method_METRICS(struct control_request *request, const json_t *params)
{
	char *text;

	if (!control_params_known(request, params, (const char *const[]){NULL}))
		return;
	text = metrics_text(control_daemon(request));
	if (text == NULL)
		control_fail(request, CONTROL_UNAVAILABLE, NULL, "out of memory");
	else
		control_answer(request, json_pack("{s:s}", "text", text));
	free(text);
}
