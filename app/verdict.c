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
#include <netinet/in.h>
#include <stdlib.h>

#include "nat/flow.h"

#define SECOND_NS UINT64_C(1000000000)

static const char *const verdict_names[VERDICT_COUNT] = {
	[VERDICT_FORWARD] = "forward",
	[VERDICT_DROP] = "drop",
	[VERDICT_LOCAL] = "local",
	[VERDICT_JOINED] = "joined",
};

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
	record->packet = *packet;
	record->done = true;
	/* An ICMP error that is related stands under the tuple of what it is about. */
	if ((packet->flags & PACKET_ICMP_ERROR) != 0 && !address_is_zero(&packet->outer[0]))
		record->packet.tuple = (struct tuple){
			.source = packet->outer[0],
			.destination = packet->outer[1],
			.protocol =
				packet->tuple.family == FAMILY_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6,
			.family = packet->tuple.family,
		};
	/* An answer from the uplink belongs to the qube that asked; the flow may be gone later. */
	if (packet->qube == QUBE_NONE && packet->flow != NULL)
		record->packet.qube = packet->flow->qube;
}

static json_t *
text_or_null(const char *text)
{
	return text != NULL ? json_string(text) : json_null();
}

static json_t *
time_json(const struct verdict_log *log, uint64_t time_ns)
{
	uint64_t seconds = time_ns / SECOND_NS;
	uint64_t part = time_ns % SECOND_NS;

	if (log->nanoseconds)
		return json_sprintf("%" PRIu64 ".%09" PRIu64, seconds, part);
	return json_sprintf("%" PRIu64 ".%06" PRIu64, seconds, part / 1000);
}

/* QUBE/NNNN or QUBE/policy. */
static json_t *
rule_json(const struct verdict_log *log, const struct packet *packet)
{
	const char *qube;

	if (packet->rule == RULE_NONE || packet->qube >= log->policy->qube_count)
		return json_null();
	qube = log->policy->qubes[packet->qube].name;
	if (packet->rule == RULE_POLICY)
		return json_sprintf("%s/policy", qube);
	return json_sprintf("%s/%04u", qube, packet->rule);
}

static json_t *
port_json(const struct verdict_log *log, uint16_t port)
{
	return text_or_null(port < log->policy->port_count ? log->policy->ports[port].name : NULL);
}

/* Whether parsing came as far as the addresses. */
static bool
has_tuple(const struct packet *packet)
{
	return packet->kind == PACKET_IP && (!address_is_zero(&packet->tuple.source) ||
						    !address_is_zero(&packet->tuple.destination));
}

static json_t *
protocol_json(const struct packet *packet)
{
	if (packet->kind == PACKET_ARP)
		return json_string("arp");
	if (!has_tuple(packet))
		return json_null();
	switch (packet->tuple.protocol) {
	case IPPROTO_TCP:
		return json_string("tcp");
	case IPPROTO_UDP:
		return json_string("udp");
	case IPPROTO_ICMP:
		return json_string("icmp");
	case IPPROTO_ICMPV6:
		return json_string("icmp6");
	default:
		return json_sprintf("%u", packet->tuple.protocol);
	}
}

/* ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT. */
static json_t *
end_json(const struct packet *packet, const union address *address, rte_be16_t port)
{
	bool ports =
		(packet->tuple.protocol == IPPROTO_TCP || packet->tuple.protocol == IPPROTO_UDP) &&
		(packet->flags & PACKET_FRAGMENT) == 0;
	char text[ADDRESS_TEXT_SIZE];

	if (!has_tuple(packet))
		return json_null();
	address_format(text, packet->tuple.family, address);
	if (!ports)
		return json_string(text);
	return json_sprintf(packet->tuple.family == FAMILY_IPV6 ? "[%s]:%u" : "%s:%u", text,
		rte_be_to_cpu_16(port));
}

static const char *
record_verdict(const struct verdict_record *record)
{
	if (record->input.own)
		return "skip";
	if (!record->done || record->packet.verdict >= VERDICT_COUNT)
		return "lost";
	return verdict_names[record->packet.verdict];
}

static void
record_write(const struct verdict_log *log, const struct verdict_record *record)
{
	static const struct packet nothing = {.rule = RULE_NONE, .out_port = PORT_NONE};
	const struct packet *packet = record->done ? &record->packet : &nothing;
	const struct tuple *tuple = &packet->tuple;
	json_t *line = json_object();

	/* jansson keeps the order of insertion */
	json_object_set_new(line, "n", json_integer(record->input.serial));
	json_object_set_new(line, "time", time_json(log, record->input.time_ns));
	json_object_set_new(line, "port", port_json(log, record->input.port));
	json_object_set_new(line, "verdict", json_string(record_verdict(record)));
	json_object_set_new(line, "reason",
		text_or_null(packet->reason != REASON_NONE && packet->reason < REASON_COUNT
				     ? reasons[packet->reason].name
				     : NULL));
	json_object_set_new(line, "rule", rule_json(log, packet));
	/* What was dropped has left by no port, even if its way was known. */
	json_object_set_new(line, "out",
		port_json(log, packet->verdict == VERDICT_FORWARD ? packet->out_port : PORT_NONE));
	json_object_set_new(line, "proto", protocol_json(packet));
	json_object_set_new(line, "source", end_json(packet, &tuple->source, tuple->source_port));
	json_object_set_new(line, "destination",
		end_json(packet, &tuple->destination, tuple->destination_port));
	json_object_set_new(line, "length", json_integer(record->input.length));
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
		else if (!record->done || record->packet.verdict >= VERDICT_COUNT ||
			 record->packet.reason >= REASON_COUNT)
			log->lost++;
		else
			log->count[record->packet.verdict][record->packet.reason]++;
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
