/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See audit.h.
 */
#include "tests/unit/audit.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>

#define PORTS 65536

/* What flows hold, as they say themselves. */
static struct {
	const struct plane *plane;
	struct worker *worker; /* whose table is walked */
	uint32_t flows[ACCOUNTS];
	uint32_t half_open[ACCOUNTS];
	uint32_t ports[ACCOUNTS];
	uint64_t seen[FAMILIES][2][PORTS / 64]; /* external ports; identifiers second */
	char wrong[256];
} audit;

static void __attribute__((format(printf, 1, 2))) wrong(const char *format, ...)
{
	va_list arguments;

	if (audit.wrong[0] != '\0')
		return;
	va_start(arguments, format);
	vsnprintf(audit.wrong, sizeof(audit.wrong), format, arguments);
	va_end(arguments);
}

static enum family
flow_family(const struct flow *flow)
{
	return (flow->flags & FLOW_IPV6) != 0 ? FAMILY_IPV6 : FAMILY_IPV4;
}

static bool
flow_is_inbound(const struct flow *flow)
{
	return (flow->flags & FLOW_INBOUND) != 0;
}

/* The tuples of the permission that covers a flow: the far end's port is 0. */
static void
permission_tuples(const struct flow *flow, struct tuple tuple[2])
{
	flow_tuple(flow, flow_is_inbound(flow) ? DIRECTION_ORIGINAL : DIRECTION_REPLY, &tuple[0]);
	flow_tuple(flow, flow_is_inbound(flow) ? DIRECTION_REPLY : DIRECTION_ORIGINAL, &tuple[1]);
	tuple[0].source_port = 0;
	tuple[1].destination_port = 0;
}

static struct flow *
permission_of(const struct flow *flow)
{
	struct tuple tuple[2];
	enum direction direction;

	permission_tuples(flow, tuple);
	return flow_lookup(audit.worker->flows, &tuple[0],
		flow_hash(&audit.plane->dataplane->secret, &tuple[0]), &direction);
}

static void
binding_count(const struct flow *flow)
{
	bool inbound = flow_is_inbound(flow);
	rte_be16_t external = flow->port[inbound ? DIRECTION_ORIGINAL : DIRECTION_REPLY][1];
	rte_be16_t inside =
		inbound ? flow->port[DIRECTION_REPLY][0] : flow->port[DIRECTION_ORIGINAL][0];
	enum family family = flow_family(flow);
	uint16_t port = rte_be_to_cpu_16(external);
	uint64_t *word = &audit.seen[family][flow->protocol != IPPROTO_UDP][port / 64];
	uint16_t qube = QUBE_NONE;
	rte_be16_t bound = 0;

	if (!binding_find(audit.plane->dataplane->bindings, family, flow->protocol, external, &qube,
		    &bound))
		wrong("a flow holds external port %u, which nobody has", port);
	else if (qube != flow->qube || bound != inside)
		wrong("a flow of qube %u, port %u, holds external port %u of qube %u, port %u",
			flow->qube, rte_be_to_cpu_16(inside), port, qube, rte_be_to_cpu_16(bound));
	if ((*word & UINT64_C(1) << (port & 63)) == 0)
		audit.ports[2 * (unsigned)flow->qube]++;
	*word |= UINT64_C(1) << (port & 63);
}

static void
flow_count_up(void *context, struct flow *flow)
{
	unsigned account = 2 * (unsigned)flow->qube + flow_is_inbound(flow);

	(void)context;
	if (flow->qube >= QUBES_MAX) {
		wrong("a flow is nobody's");
		return;
	}
	if ((flow->flags & FLOW_PERMISSION) != 0) {
		/* counted down again by the flows it stands for, see flow_cover */
		flow->tcp[1].end = flow->tcp[0].end;
		return;
	}
	audit.flows[account]++;
	if ((flow->flags & FLOW_HALF_OPEN) != 0) {
		audit.half_open[account]++;
		if (flow->protocol != IPPROTO_TCP)
			wrong("protocol %u is half-open", flow->protocol);
	}
	if ((flow->flags & FLOW_BINDING) != 0)
		binding_count(flow);
}

static void
flow_cover(void *context, struct flow *flow)
{
	struct flow *permission;

	(void)context;
	if ((flow->flags & FLOW_COVERED) == 0)
		return;
	permission = permission_of(flow);
	if (permission == NULL || (permission->flags & FLOW_PERMISSION) == 0)
		wrong("a flow is covered by a permission that is not there");
	else if (permission->tcp[1].end == 0)
		wrong("a permission stands for less flows than it covers");
	else
		permission->tcp[1].end--;
}

static void
permission_check(void *context, struct flow *flow)
{
	(void)context;
	if ((flow->flags & FLOW_PERMISSION) == 0)
		return;
	if (flow->tcp[1].end != 0)
		wrong("a permission stands for %u flows too many", flow->tcp[1].end);
	flow->tcp[1].end = 0;
}

static void
account_check(unsigned index, enum budget_kind kind, uint32_t held)
{
	uint32_t used = budget_used(&audit.plane->dataplane->accounts[index], kind);

	if (used != held)
		wrong("account %u: %s: %u used, flows hold %u", index, budgets[kind].name, used,
			held);
}

static void
tables_walk(void (*visit)(void *context, struct flow *flow))
{
	const struct dataplane *dataplane = audit.plane->dataplane;

	for (unsigned i = 0; i < dataplane->worker_count; i++) {
		audit.worker = dataplane->workers[i];
		flow_walk(dataplane->workers[i]->flows, visit, NULL);
	}
}

const char *
plane_audit(const struct plane *plane)
{
	uint32_t fragments = 0, paid = 0;

	memset(&audit, 0, sizeof(audit));
	audit.plane = plane;
	tables_walk(flow_count_up);
	tables_walk(flow_cover);
	tables_walk(permission_check);
	for (unsigned i = 0; i < ACCOUNTS; i++) {
		account_check(i, BUDGET_FLOWS, audit.flows[i]);
		account_check(i, BUDGET_HALF_OPEN, audit.half_open[i]);
		account_check(i, BUDGET_PORTS, audit.ports[i]);
		paid += budget_used(&plane->dataplane->accounts[i], BUDGET_FRAGMENTS);
	}
	for (unsigned i = 0; i < plane->dataplane->worker_count; i++)
		fragments += fragment_count(plane->dataplane->workers[i]->fragments);
	if (paid < fragments)
		wrong("%u fragments wait, %u are paid for", fragments, paid);
	return audit.wrong[0] != '\0' ? audit.wrong : NULL;
}

static void
bindings_check(enum family family, uint8_t protocol)
{
	for (unsigned port = 0; port < PORTS; port++) {
		rte_be16_t external = rte_cpu_to_be_16((uint16_t)port), inside;
		uint16_t qube;

		if (binding_find(audit.plane->dataplane->bindings, family, protocol, external,
			    &qube, &inside))
			wrong("external port %u of protocol %u is still that of qube %u", port,
				protocol, qube);
	}
}

const char *
plane_audit_empty(const struct plane *plane)
{
	const char *text = plane_audit(plane);

	if (text != NULL)
		return text;
	for (unsigned i = 0; i < plane->dataplane->worker_count; i++) {
		const struct worker *worker = plane->dataplane->workers[i];

		if (flow_count(worker->flows) != 0 || fragment_count(worker->fragments) != 0)
			wrong("worker %u: %u flows and %u fragments are left", i,
				flow_count(worker->flows), fragment_count(worker->fragments));
	}
	for (unsigned i = 0; i < ACCOUNTS; i++)
		for (unsigned kind = 0; kind < BUDGET_COUNT; kind++)
			if (kind != BUDGET_NEW_FLOWS && kind != BUDGET_ANSWERS)
				account_check(i, kind, 0);
	bindings_check(FAMILY_IPV4, IPPROTO_UDP);
	bindings_check(FAMILY_IPV4, IPPROTO_ICMP);
	bindings_check(FAMILY_IPV6, IPPROTO_UDP);
	bindings_check(FAMILY_IPV6, IPPROTO_ICMPV6);
	return audit.wrong[0] != '\0' ? audit.wrong : NULL;
}
