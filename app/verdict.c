/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verdict lines and the table.
 *
 * Packets end their way in any order: those of a burst by the stage that ends them, those of
 * another worker later. So each is announced first, and lines are written once the whole burst is
 * through. A line looks like
 *
 *	{"n": 2, "time": "1700000000.010000", "port": "work", "verdict": "drop",
 *	 "reason": "rule", "rule": "work/0001", "out": null, "proto": "tcp",
 *	 "source": "10.137.0.16:40000", "destination": "192.0.2.1:22", "length": 54}
 *
 * on one line, always with these keys in this order. `n` counts the merged inputs from 1, so for
 * one input it is the number that Wireshark shows. `time` is text because a JSON number need not
 * hold nanoseconds. `rule` is the one that judged the packet or let in the flow it belongs to, as
 * QUBE/NNNN, counted from 0000 in the order of the rules file as in QubesDB, or QUBE/policy.
 * `reason`, `rule`, `out`, and whatever could not be parsed are null where there is none. `source`
 * and `destination` are those of the packet as it came.
 */
#include "app/verdict.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "app/packet_json.h"

int
verdict_expect(struct verdict_log *log, const struct verdict_input *input)
{
	if (log->waiting == log->capacity) {
		unsigned capacity = log->capacity * 2 + VERDICT_WINDOW;
		struct verdict_record *record =
			reallocarray(log->record, capacity, sizeof(*record));

		if (record == NULL)
			return -ENOMEM;
		log->record = record;
		log->capacity = capacity;
	}
	log->record[log->waiting++] = (struct verdict_record){.input = *input};
	return 0;
}

static struct verdict_record *
record_find(struct verdict_log *log, uint32_t serial)
{
	/* serials are consecutive, so the first one tells the place */
	uint32_t place = log->waiting == 0 ? 0 : serial - log->record[0].input.serial;

	return place < log->waiting ? &log->record[place] : NULL;
}

const struct verdict_input *
verdict_input(const struct verdict_log *log, uint32_t serial)
{
	struct verdict_record *record = record_find((struct verdict_log *)log, serial);

	return record != NULL ? &record->input : NULL;
}

void
verdict_trace(void *context, const struct rte_mbuf *mbuf, const struct packet *packet)
{
	struct verdict_record *record = record_find(context, packet->serial);

	(void)mbuf;
	/* The first word counts: what ended cannot end again. */
	if (record == NULL || record->done)
		return;
	packet_summarize(&record->summary, packet, packet->verdict);
	record->done = true;
}

static const char *
record_verdict(const struct verdict_record *record)
{
	if (record->input.own)
		return "skip";
	if (!record->done || record->summary.verdict >= VERDICT_COUNT)
		return "lost";
	return verdict_names[record->summary.verdict];
}

static void
record_write(const struct verdict_log *log, const struct verdict_record *record)
{
	struct packet_summary summary = {
		.rule = RULE_NONE,
		.out_port = PORT_NONE,
		.qube = QUBE_NONE,
	};
	json_t *line = json_object();

	if (record->done)
		summary = record->summary;
	summary.in_port = record->input.port;
	summary.length = record->input.length;
	json_object_set_new(line, "n", json_integer(record->input.serial));
	json_object_set_new(
		line, "time", packet_time_json(record->input.time_ns, log->nanoseconds ? 9 : 6));
	packet_json_add(line, log->policy, &summary, record_verdict(record), true);
	json_dumpf(line, log->file, JSON_ENSURE_ASCII);
	fputc('\n', log->file);
	json_decref(line);
}

/* Write and count the first @p count records. */
static void
records_write(struct verdict_log *log, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct verdict_record *record = &log->record[i];

		if (record->input.own)
			log->own++;
		else if (!record->done || record->summary.verdict >= VERDICT_COUNT ||
			 record->summary.reason >= REASON_COUNT)
			log->lost++;
		else
			log->count[record->summary.verdict][record->summary.reason]++;
		if (log->file != NULL)
			record_write(log, record);
	}
	log->waiting -= count;
	memmove(log->record, log->record + count, log->waiting * sizeof(log->record[0]));
}

void
verdict_flush(struct verdict_log *log)
{
	unsigned ended = 0;

	while (ended < log->waiting && (log->record[ended].done || log->record[ended].input.own))
		ended++;
	if (ended > 0)
		records_write(log, ended);
}

void
verdict_finish(struct verdict_log *log)
{
	if (log->waiting > 0)
		records_write(log, log->waiting);
	free(log->record);
	log->record = NULL;
	log->capacity = 0;
}

static void
table_row(FILE *out, const char *verdict, const char *reason, uint64_t count, const char *help)
{
	fprintf(out, "%-8s %-20s %10" PRIu64 "%s%s\n", verdict, reason, count,
		help[0] != '\0' ? "  " : "", help);
}

void
verdict_table(const struct verdict_log *log, FILE *out)
{
	uint64_t total = log->own + log->lost;

	fprintf(out, "%-8s %-20s %10s\n", "verdict", "reason", "packets");
	for (unsigned verdict = 0; verdict < VERDICT_COUNT; verdict++)
		for (unsigned reason = 0; reason < REASON_COUNT; reason++) {
			uint64_t count = log->count[verdict][reason];

			total += count;
			if (count != 0)
				table_row(out, verdict_names[verdict],
					reason == REASON_NONE ? "-" : reasons[reason].name, count,
					reason == REASON_NONE ? "" : reasons[reason].help);
		}
	if (log->own != 0)
		table_row(out, "skip", "-", log->own, "sent by the firewall itself");
	if (log->lost != 0)
		table_row(out, "lost", "-", log->lost, "no verdict: a fault of the data plane");
	table_row(out, "total", "", total, "");
}
