/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines about refusals: what they say, how many there are, and what they never say. */
#include <netinet/in.h>

#include "app/refusal_log.h"
#include "tests/unit/plane.h"
#include "tests/unit/unit.h"

#define LINES_MAX 4096

static char lines[LINES_MAX][256];
static unsigned line_count;
static struct plane *plane;
static const struct policy *policy;
static struct refusal_log *refusals;

static void
take_line(void *context, const char *text)
{
	(void)context;
	CU_ASSERT_FATAL(line_count < LINES_MAX);
	snprintf(lines[line_count++], sizeof(lines[0]), "%s", text);
}

static void
begin(void)
{
	plane = plane_create(&(struct plane_options){0});
	policy = atomic_load(&plane->dataplane->policy);
	refusals = refusal_log_create(PLANE_PORTS, take_line, NULL);
	line_count = 0;
}

static void
end(void)
{
	refusal_log_free(refusals);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

static struct drop_seen
seen_of(enum reason reason, const char *destination, uint16_t port)
{
	struct drop_seen seen = {.summary = {
					 .reason = (uint8_t)reason,
					 .verdict = VERDICT_DROP,
					 .rule = RULE_NONE,
					 .qube = QUBE_NONE,
					 .in_port = PLANE_WORK,
					 .out_port = PORT_NONE,
				 }};
	struct tuple *tuple = &seen.summary.tuple;
	enum family family;

	CU_ASSERT_EQUAL_FATAL(address_parse(destination, &family, &tuple->destination), 0);
	CU_ASSERT_EQUAL_FATAL(
		address_parse(family == FAMILY_IPV4 ? PLANE_WORK_ADDRESS : PLANE_WORK_ADDRESS6,
			&family, &tuple->source),
		0);
	tuple->family = (uint8_t)family;
	tuple->protocol = IPPROTO_TCP;
	tuple->source_port = RTE_BE16(40000);
	tuple->destination_port = rte_cpu_to_be_16(port);
	return seen;
}

static void
take(const struct drop_seen *seen, unsigned count, uint64_t missed, uint64_t now_ms)
{
	refusal_log_take(refusals, policy, seen->summary.in_port, seen->summary.reason, seen, count,
		missed, now_ms);
}

static void
test_words(void)
{
	struct drop_seen seen = seen_of(REASON_RULE, "192.0.2.1", 22);

	begin();
	seen.summary.rule = 3;
	take(&seen, 1, 0, 100);
	CU_ASSERT_EQUAL_FATAL(line_count, 1);
	CU_ASSERT_STRING_EQUAL(lines[0], "refused qube=work rule=work/0003 reason=rule proto=tcp "
					 "source=10.137.0.16:40000 destination=192.0.2.1:22");
	seen = seen_of(REASON_POLICY, "2001:db8::1", 443);
	seen.summary.rule = RULE_POLICY;
	take(&seen, 1, 0, 100);
	CU_ASSERT_STRING_EQUAL(lines[1], "refused qube=work rule=work/policy reason=policy "
					 "proto=tcp source=[fd09::10]:40000 "
					 "destination=[2001:db8::1]:443");
	end();
}

static void
test_repeated(void)
{
	struct drop_seen seen = seen_of(REASON_RULE, "192.0.2.1", 22);
	const char *again;

	begin();
	take(&seen, 1, 0, 1000);
	for (unsigned i = 0; i < 17; i++)
		take(&seen, 1, 0, 2000);
	refusal_log_tick(refusals, policy, 10999);
	CU_ASSERT_EQUAL(line_count, 1);
	refusal_log_tick(refusals, policy, 11000);
	CU_ASSERT_EQUAL_FATAL(line_count, 2);
	again = strstr(lines[1], " repeated=");
	CU_ASSERT_PTR_NOT_NULL_FATAL(again);
	CU_ASSERT_STRING_EQUAL(again, " repeated=17");
	/* another port is another destination */
	seen = seen_of(REASON_RULE, "192.0.2.1", 23);
	take(&seen, 1, 0, 11000);
	CU_ASSERT_EQUAL(line_count, 3);
	/* what was quiet for an interval begins anew */
	refusal_log_tick(refusals, policy, 40000);
	CU_ASSERT_EQUAL(line_count, 3);
	take(&seen, 1, 0, 40000);
	CU_ASSERT_EQUAL(line_count, 4);
	CU_ASSERT_PTR_NULL(strstr(lines[3], "repeated"));
	end();
}

/* What was not seen is counted: as repeated where that is plain, else as suppressed. */
static void
test_missed(void)
{
	struct drop_seen seen[2] = {
		seen_of(REASON_RULE, "192.0.2.1", 22), seen_of(REASON_RULE, "192.0.2.1", 22)};

	begin();
	take(seen, 2, 100, 1000);
	CU_ASSERT_EQUAL(line_count, 1);
	refusal_log_tick(refusals, policy, 11000);
	CU_ASSERT_PTR_NOT_NULL(strstr(lines[1], " repeated=101"));
	seen[1] = seen_of(REASON_RULE, "192.0.2.2", 22);
	take(seen, 2, 1000, 12000);
	CU_ASSERT_EQUAL(line_count, 3);
	for (uint64_t now_ms = 12250; now_ms < 24000; now_ms += 250)
		refusal_log_tick(refusals, policy, now_ms);
	CU_ASSERT_EQUAL_FATAL(line_count, 5);
	CU_ASSERT_STRING_EQUAL(lines[4], "refused qube=work reason=rule suppressed=1000");
	end();
}

/* A port scan: lines are few, nothing is lost. */
static void
test_flood(void)
{
	uint64_t sum = 0;

	begin();
	for (unsigned second = 0; second < 100; second++)
		for (unsigned i = 0; i < 100; i++) {
			uint64_t now_ms = 1000 + second * 1000 + i * 10;
			struct drop_seen seen = seen_of(
				REASON_POLICY, "192.0.2.1", (uint16_t)(1 + second * 100 + i));

			take(&seen, 1, 0, now_ms);
			if (i % 25 == 0)
				refusal_log_tick(refusals, policy, now_ms);
		}
	CU_ASSERT(line_count <= REFUSAL_BURST + 100 * REFUSAL_LINES_PER_S + 1);
	CU_ASSERT(line_count >= 100 * REFUSAL_LINES_PER_S);
	for (uint64_t now_ms = 101000; now_ms < 300000; now_ms += 250)
		refusal_log_tick(refusals, policy, now_ms);
	for (unsigned i = 0; i < line_count; i++) {
		const char *count = strstr(lines[i], "suppressed=");

		if (count != NULL)
			sum += strtoull(count + strlen("suppressed="), NULL, 10);
		else
			sum += 1;
		CU_ASSERT_PTR_NULL(strstr(lines[i], "repeated"));
	}
	CU_ASSERT_EQUAL(sum, 10000);
	end();
}

/* Destinations of what was accepted stay out of the log. */
static void
test_privacy(void)
{
	static const enum reason silent[] = {REASON_TCP_WINDOW, REASON_TCP_STATE,
		REASON_FLOW_REFUSED, REASON_TIME_EXCEEDED, REASON_TOO_BIG, REASON_NEIGHBOUR_FAILED,
		REASON_NEIGHBOUR_PENDING, REASON_NO_ROUTE, REASON_TRANSMIT, REASON_NO_MBUF,
		REASON_HANDOVER_FULL, REASON_ICMP_ERROR, REASON_NO_FLOW};
	static const enum reason bare[] = {REASON_NO_LONGER_ALLOWED, REASON_FLOWS_BUDGET,
		REASON_NEW_FLOWS_BUDGET, REASON_HALF_OPEN_BUDGET, REASON_PORTS_BUDGET,
		REASON_FLOWS_EXHAUSTED, REASON_PORTS_EXHAUSTED};
	struct drop_seen seen;

	begin();
	for (size_t i = 0; i < RTE_DIM(silent); i++) {
		seen = seen_of(silent[i], "192.0.2.1", 22);
		take(&seen, 1, 5, 1000);
	}
	seen = seen_of(REASON_RULE, "192.0.2.1", 22);
	seen.summary.in_port = PLANE_UPLINK;
	take(&seen, 1, 5, 1000);
	for (uint64_t now_ms = 1250; now_ms < 24000; now_ms += 250)
		refusal_log_tick(refusals, policy, now_ms);
	CU_ASSERT_EQUAL(line_count, 0);
	for (size_t i = 0; i < RTE_DIM(bare); i++) {
		seen = seen_of(bare[i], "192.0.2.1", 22);
		take(&seen, 1, 0, 30000);
		seen = seen_of(bare[i], "192.0.2.2", 22);
		take(&seen, 1, 0, 30000);
	}
	CU_ASSERT_EQUAL(line_count, RTE_DIM(bare));
	for (unsigned i = 0; i < line_count; i++)
		CU_ASSERT_PTR_NULL(strstr(lines[i], "192.0.2."));
	end();
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"words", test_words},
		{"repeated", test_repeated},
		{"not seen", test_missed},
		{"a flood", test_flood},
		{"destinations of what was accepted", test_privacy},
	};

	unit_eal();
	return UNIT_RUN("refusal_log", tests);
}
