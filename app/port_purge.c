/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/port_purge.h"

/* Places of a pool that one step looks at, and flows that it ends at most. */
#define PLACES 128
#define ENDED_MAX 64

struct purge {
	struct worker *worker;
	const bool *gone;
	unsigned ended;
};

static bool
port_is_gone(const void *context, uint16_t port)
{
	const bool *gone = context;

	return port < PORTS_MAX && gone[port];
}

/* Our own kernel has the uplink's addresses: app/uplink_change.h sees to it when they change. */
static bool
is_host(const struct policy *policy, const struct flow *flow)
{
	return flow->qube < policy->qube_count &&
	       policy_port_at(policy, policy->qubes[flow->qube].port)->role == ROLE_HOST;
}

static bool
flow_purge(void *context, struct flow *flow)
{
	struct purge *purge = context;
	const struct policy *policy = purge->worker->policy;

	/* A permission goes with the last flow it stands for. */
	if ((flow->flags & FLOW_PERMISSION) != 0)
		return true;
	if (!port_is_gone(purge->gone, flow->way[DIRECTION_ORIGINAL].port) &&
		!port_is_gone(purge->gone, flow->way[DIRECTION_REPLY].port) &&
		(flow_has_qube(policy, flow) || is_host(policy, flow)))
		return true;
	open_end(purge->worker, flow);
	purge->worker->counters.flows_gone++;
	return ++purge->ended < ENDED_MAX;
}

bool
port_purge(struct worker *worker, const bool *gone, uint32_t *cursor)
{
	struct purge purge = {.worker = worker, .gone = gone};

	if (*cursor == 0) {
		route_forget(worker, port_is_gone, gone);
		fragment_forget(worker->fragments, port_is_gone, gone, REASON_PORT_GONE);
	}
	return flow_walk_some(worker->flows, cursor, PLACES, flow_purge, &purge);
}
