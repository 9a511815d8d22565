/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/refusal_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/packet_json.h"

#define INTERVAL_MS (UINT64_C(1000) * REFUSAL_INTERVAL_S)
#define LINE_SIZE 512

/* What is said of a refusal for a reason; nothing of those that are not listed. */
enum detail { DETAIL_NOTHING, DETAIL_REASON, DETAIL_ALL };

static const uint8_t details[REASON_COUNT] = {
	[REASON_SOURCE_MAC] = DETAIL_REASON,
	[REASON_MAC_UNKNOWN] = DETAIL_REASON,
	[REASON_SOURCE_ADDRESS] = DETAIL_ALL,
	[REASON_ARP] = DETAIL_REASON,
	[REASON_NEIGHBOUR_DISCOVERY] = DETAIL_REASON,
	[REASON_MARTIAN_SOURCE] = DETAIL_ALL,
	[REASON_MARTIAN_DESTINATION] = DETAIL_ALL,
	[REASON_LAND] = DETAIL_ALL,
	[REASON_LOCAL_REFUSED] = DETAIL_ALL,
	[REASON_FRAGMENT_LIMIT] = DETAIL_REASON,
	[REASON_FLOWS_EXHAUSTED] = DETAIL_REASON,
	[REASON_FLOWS_BUDGET] = DETAIL_REASON,
	[REASON_NEW_FLOWS_BUDGET] = DETAIL_REASON,
	[REASON_HALF_OPEN_BUDGET] = DETAIL_REASON,
	[REASON_PORTS_BUDGET] = DETAIL_REASON,
	[REASON_PORTS_EXHAUSTED] = DETAIL_REASON,
	[REASON_NO_RESOLVER] = DETAIL_ALL,
	[REASON_RULE] = DETAIL_ALL,
	[REASON_POLICY] = DETAIL_ALL,
	[REASON_BAD_RULES] = DETAIL_ALL,
	[REASON_NO_RULES] = DETAIL_ALL,
	[REASON_INTER_QUBE] = DETAIL_ALL,
	[REASON_NO_LONGER_ALLOWED] = DETAIL_REASON,
};

/* Something that was refused. */
struct refusal {
	bool used;
	uint64_t line_ms;  /* of its last line */
	uint64_t repeated; /* since then */
	struct packet_summary summary;
};

struct refusal_log {
	void (*line)(void *context, const char *text);
	void *context;
	/* lines that may be written now, and when that was reckoned */
	uint64_t lines;
	uint64_t lines_ms;
	/* by port and reason: what no line has told of yet, and when one last did */
	unsigned port_count;
	struct suppressed {
		uint64_t count;
		uint64_t line_ms;
	} * suppressed;
	struct refusal refusals[REFUSAL_PLACES];
};

struct refusal_log *
refusal_log_create(
	unsigned port_count, void (*line)(void *context, const char *text), void *context)
{
	struct refusal_log *log = calloc(1, sizeof(*log));

	if (log == NULL)
		return NULL;
	log->line = line;
	log->context = context;
	log->lines = REFUSAL_BURST;
	log->port_count = port_count;
	log->suppressed = calloc((size_t)port_count * REASON_COUNT, sizeof(log->suppressed[0]));
	if (log->suppressed == NULL) {
		free(log);
		return NULL;
	}
	return log;
}

void
refusal_log_free(struct refusal_log *log)
{
	if (log == NULL)
		return;
	free(log->suppressed);
	free(log);
}

/* Whether one more line may be written now; counts it. */
static bool
line_allowed(struct refusal_log *log, uint64_t now_ms)
{
	uint64_t more = (now_ms - log->lines_ms) * REFUSAL_LINES_PER_S / 1000;

	if (log->lines + more >= REFUSAL_BURST) {
		log->lines = REFUSAL_BURST;
		log->lines_ms = now_ms;
	} else if (more > 0) {
		log->lines += more;
		log->lines_ms += more * 1000 / REFUSAL_LINES_PER_S;
	}
	if (log->lines == 0)
		return false;
	log->lines--;
	return true;
}

static void
refusal_write(
	const struct refusal_log *log, const struct policy *policy, const struct refusal *refusal)
{
	const struct packet_summary *summary = &refusal->summary;
	char rule[PACKET_TEXT_SIZE], protocol[PACKET_TEXT_SIZE];
	char source[PACKET_TEXT_SIZE], destination[PACKET_TEXT_SIZE];
	const struct {
		const char *key, *value;
	} members[] = {
		{"rule", packet_rule_text(rule, policy, summary)},
		{"reason", reasons[summary->reason].name},
		{"proto", packet_protocol_text(protocol, summary)},
		{"source", packet_source_text(source, summary)},
		{"destination", packet_destination_text(destination, summary)},
	};
	char text[LINE_SIZE];
	size_t used = (size_t)snprintf(
		text, sizeof(text), "refused qube=%s", policy->qubes[summary->qube].name);

	for (size_t i = 0; i < RTE_DIM(members); i++) {
		if (details[summary->reason] == DETAIL_REASON && i >= 2)
			break;
		if (members[i].value != NULL && used < sizeof(text))
			used += (size_t)snprintf(text + used, sizeof(text) - used, " %s=%s",
				members[i].key, members[i].value);
	}
	if (refusal->repeated > 0 && used < sizeof(text))
		snprintf(text + used, sizeof(text) - used, " repeated=%" PRIu64, refusal->repeated);
	log->line(log->context, text);
}

static bool
is_likewise(const struct packet_summary *a, const struct packet_summary *b)
{
	if (a->qube != b->qube || a->reason != b->reason)
		return false;
	if (details[a->reason] == DETAIL_REASON)
		return true;
	return a->tuple.protocol == b->tuple.protocol && a->tuple.family == b->tuple.family &&
	       a->tuple.destination_port == b->tuple.destination_port &&
	       address_equal(&a->tuple.destination, &b->tuple.destination);
}

/* The place of a refusal, a new one if it has none; NULL if all are taken. */
static struct refusal *
refusal_find(struct refusal_log *log, const struct packet_summary *summary)
{
	struct refusal *vacant = NULL;

	for (unsigned i = 0; i < REFUSAL_PLACES; i++) {
		struct refusal *refusal = &log->refusals[i];

		if (refusal->used && is_likewise(&refusal->summary, summary))
			return refusal;
		if (!refusal->used && vacant == NULL)
			vacant = refusal;
	}
	return vacant;
}

/* Count a refusal, with a line if it is a new one. @return its place, NULL if it has none */
static struct refusal *
refusal_count(struct refusal_log *log, const struct policy *policy,
	const struct packet_summary *summary, uint64_t now_ms)
{
	struct refusal *refusal = refusal_find(log, summary);

	if (refusal == NULL)
		return NULL;
	if (refusal->used) {
		refusal->repeated++;
		return refusal;
	}
	if (!line_allowed(log, now_ms))
		return NULL;
	*refusal = (struct refusal){.used = true, .line_ms = now_ms, .summary = *summary};
	refusal_write(log, policy, refusal);
	return refusal;
}

void
refusal_log_take(struct refusal_log *log, const struct policy *policy, uint16_t port,
	enum reason reason, const struct drop_seen *seen, unsigned count, uint64_t missed,
	uint64_t now_ms)
{
	struct suppressed *suppressed = &log->suppressed[(size_t)port * REASON_COUNT + reason];
	struct refusal *last = NULL;
	bool alike = true;

	if (details[reason] == DETAIL_NOTHING || policy_port_at(policy, port)->qube == QUBE_NONE)
		return;
	for (unsigned i = 0; i < count; i++) {
		struct packet_summary summary = seen[i].summary;
		struct refusal *refusal;

		/* The guard rejects before it knows whose packet it is. */
		summary.qube = policy->ports[port].qube;
		refusal = refusal_count(log, policy, &summary, now_ms);
		if (refusal == NULL)
			suppressed->count++;
		alike = alike && (i == 0 || refusal == last);
		last = refusal;
	}
	/* What nobody saw between packets that are alike was like them. */
	if (count > 0 && alike && last != NULL)
		last->repeated += missed;
	else
		suppressed->count += missed;
}

static void
suppressed_tick(struct refusal_log *log, const struct policy *policy, unsigned port,
	enum reason reason, uint64_t now_ms)
{
	struct suppressed *suppressed = &log->suppressed[(size_t)port * REASON_COUNT + reason];
	char text[LINE_SIZE];

	if (suppressed->count == 0 ||
		(suppressed->line_ms != 0 && now_ms - suppressed->line_ms < INTERVAL_MS))
		return;
	/* of a port that is not there any more */
	if (policy_port_at(policy, port)->qube == QUBE_NONE) {
		*suppressed = (struct suppressed){0};
		return;
	}
	/* not before an interval is over in which there was nothing to say */
	if (suppressed->line_ms == 0) {
		suppressed->line_ms = now_ms;
		return;
	}
	if (!line_allowed(log, now_ms))
		return;
	snprintf(text, sizeof(text), "refused qube=%s reason=%s suppressed=%" PRIu64,
		policy->qubes[policy->ports[port].qube].name, reasons[reason].name,
		suppressed->count);
	*suppressed = (struct suppressed){0};
	log->line(log->context, text);
}

void
refusal_log_tick(struct refusal_log *log, const struct policy *policy, uint64_t now_ms)
{
	for (unsigned i = 0; i < REFUSAL_PLACES; i++) {
		struct refusal *refusal = &log->refusals[i];

		if (!refusal->used || now_ms - refusal->line_ms < INTERVAL_MS)
			continue;
		if (refusal->repeated == 0) {
			refusal->used = false;
		} else if (line_allowed(log, now_ms)) {
			refusal_write(log, policy, refusal);
			refusal->repeated = 0;
			refusal->line_ms = now_ms;
		}
	}
	for (unsigned port = 0; port < log->port_count; port++)
		for (unsigned reason = 0; reason < REASON_COUNT; reason++)
			suppressed_tick(log, policy, port, reason, now_ms);
}
