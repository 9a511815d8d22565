/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port is taken away from a data plane that has flows of it, packets that wait for its qube and
 * fragments that came from it. All of that must end and give back what it held; and whoever has
 * nothing to do with it must not have lost anything.
 */
#include "app/port_purge.h"
#include "tests/unit/audit.h"
#include "tests/unit/talk.h"

#define REMOTE "192.0.2.7"
#define FLOWS 300 /* of each: more than one step looks at, and than it ends */

/* Another policy, as if it had been built from a file without something. */
static struct policy *
policy_without(struct plane *plane, void (*take)(struct conf *conf))
{
	struct policy *policy = NULL;
	static const struct report report;

	take(plane->conf);
	CU_ASSERT_EQUAL_FATAL(policy_build(plane->conf, atomic_load(&plane->dataplane->policy), 0,
				      &report, &policy),
		0);
	dataplane_publish(plane->dataplane, policy);
	return policy;
}

/* Port and qube work; plane->conf is not needed any more but to be freed. */
static void
work_take(struct conf *conf)
{
	struct conf_port port = conf->ports[PLANE_WORK];
	struct conf_qube qube = conf->qubes[0];

	/* to the end, and then out of sight */
	memmove(&conf->ports[PLANE_WORK], &conf->ports[PLANE_WORK + 1], sizeof(port));
	conf->ports[PLANE_WORK + 1] = port;
	memmove(&conf->qubes[0], &conf->qubes[1], sizeof(qube));
	conf->qubes[1] = qube;
	conf->port_count--;
	conf->qube_count--;
}

/* Only the port: the qube is away. */
static void
port_take(struct conf *conf)
{
	work_take(conf);
	conf->qube_count++;
}

static void
work_give(struct conf *conf)
{
	conf->port_count++;
	conf->qube_count++;
}

static void
work_move(struct conf *conf)
{
	conf->qubes[0].address[FAMILY_IPV4].v4 = RTE_BE32(0x0a890063);
}

static struct say
udp(uint16_t port, const char *source, uint16_t source_port, uint16_t destination_port)
{
	return (struct say){.port = port,
		.protocol = IPPROTO_UDP,
		.source = source,
		.source_port = source_port,
		.destination = REMOTE,
		.destination_port = destination_port,
		.payload = 4};
}

static unsigned
flows_of(const struct plane *plane, uint16_t qube)
{
	return budget_used(dataplane_account(plane->dataplane, qube, false), BUDGET_FLOWS);
}

/* All steps, with something else between them. @return how many there were */
static unsigned
purge(struct plane *plane, const bool *gone)
{
	unsigned steps = 0;

	for (unsigned i = 0; i < plane->dataplane->worker_count; i++) {
		uint32_t cursor = 0;
		bool more = true;

		while (more) {
			plane_service(plane);
			more = port_purge(plane->dataplane->workers[i], gone, &cursor);
			steps++;
		}
	}
	plane_service(plane);
	return steps;
}

static void
balance(const struct plane *plane)
{
	const char *text = plane_audit(plane);

	CU_ASSERT_PTR_NULL(text);
	if (text != NULL)
		printf("\n    %s\n", text);
}

static struct plane *
plane_busy(unsigned workers)
{
	static struct plane_options options;
	struct plane *plane;

	options = (struct plane_options){.workers = workers, .work = "filter = address\n"};
	plane = plane_create(&options);
	plane_resolve(plane);
	for (uint16_t i = 0; i < FLOWS; i++) {
		struct say say = udp(PLANE_WORK, PLANE_WORK_ADDRESS, 1000 + i, 7);

		talk_send(plane, &say);
		say = udp(PLANE_PERSONAL, PLANE_PERSONAL_ADDRESS, 1000 + i, 7);
		talk_send(plane, &say);
	}
	plane_forget(plane);
	CU_ASSERT_EQUAL(flows_of(plane, 0), FLOWS);
	CU_ASSERT_EQUAL(flows_of(plane, 1), FLOWS);
	return plane;
}

static void
test_flows(void)
{
	for (unsigned workers = 1; workers <= 2; workers++) {
		struct plane *plane = plane_busy(workers);
		bool gone[PORTS_MAX] = {[PLANE_WORK] = true};
		struct say say = udp(PLANE_WORK, PLANE_WORK_ADDRESS, 1000, 7);
		uint64_t ended = 0;

		policy_without(plane, workers == 1 ? work_take : port_take);
		/* What still arrives there goes nowhere, and opens nothing. */
		talk_send(plane, &say);
		CU_ASSERT_EQUAL(plane_drops(plane, REASON_PORT_GONE), 1);
		CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 0);
		CU_ASSERT(purge(plane, gone) >= FLOWS / 64);
		CU_ASSERT_EQUAL(flows_of(plane, 0), 0);
		CU_ASSERT_EQUAL(flows_of(plane, 1), FLOWS);
		CU_ASSERT_EQUAL(
			budget_used(dataplane_account(plane->dataplane, 0, false), BUDGET_PORTS),
			0);
		for (unsigned i = 0; i < workers; i++)
			ended += plane->dataplane->workers[i]->counters.flows_gone;
		CU_ASSERT_EQUAL(ended, FLOWS);
		balance(plane);
		say = udp(PLANE_PERSONAL, PLANE_PERSONAL_ADDRESS, 1000, 7);
		talk_send(plane, &say);
		CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 1);
		work_give(plane->conf);
		plane->conf->qube_count = 2;
		CU_ASSERT_EQUAL(plane_free(plane), 0);
	}
}

/* A qube with another address on the same port keeps none of its flows; nobody else notices. */
static void
test_address(void)
{
	struct plane *plane = plane_busy(1);
	const bool gone[PORTS_MAX] = {false};

	policy_without(plane, work_move);
	purge(plane, gone);
	CU_ASSERT_EQUAL(flows_of(plane, 0), 0);
	CU_ASSERT_EQUAL(flows_of(plane, 1), FLOWS);
	balance(plane);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* What waits for a neighbour: towards the port that is gone, and from it towards others. */
static void
test_held(void)
{
	struct plane_options options = {.no_mac = true,
		.more = "[forward web]\nforwardtype = external\nproto = udp\nsrcports = 80\n"
			"qube = work\n"};
	struct plane *plane = plane_create(&options);
	const bool gone[PORTS_MAX] = {[PLANE_WORK] = true};
	struct say say = {.port = PLANE_UPLINK,
		.protocol = IPPROTO_UDP,
		.source = REMOTE,
		.source_port = 5,
		.destination = PLANE_UPLINK_ADDRESS,
		.destination_port = 80};
	uint64_t mac = 0;

	/* towards a qube whose MAC nobody knows */
	talk_send(plane, &say);
	CU_ASSERT_EQUAL(plane_held(plane), 1);
	/* and from it towards a router that has not answered */
	memcpy(&mac, plane_qube_mac, sizeof(plane_qube_mac));
	neighbour_learn(plane->dataplane->ports[PLANE_PERSONAL].neighbours, NEIGHBOUR_PEER, mac, 0);
	say = udp(PLANE_PERSONAL, PLANE_PERSONAL_ADDRESS, 9, 9);
	talk_send(plane, &say);
	CU_ASSERT_EQUAL(plane_held(plane), 2);
	plane->conf->forward_count = 0;
	policy_without(plane, work_take);
	purge(plane, gone);
	CU_ASSERT_EQUAL(plane_held(plane), 1);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_PORT_GONE), 1);
	balance(plane);
	work_give(plane->conf);
	plane->conf->forward_count = 1;
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* A first fragment waits for the rest of its datagram, from each of two qubes. */
static void
test_fragments(void)
{
	struct plane_options options = {0};
	struct plane *plane = plane_create(&options);
	const bool gone[PORTS_MAX] = {[PLANE_WORK] = true};

	for (unsigned port = PLANE_WORK; port <= PLANE_PERSONAL; port++) {
		struct say say = udp((uint16_t)port,
			port == PLANE_WORK ? PLANE_WORK_ADDRESS : PLANE_PERSONAL_ADDRESS, 9, 9);

		say.payload = 64;
		talk_build(&say);
		/* more fragments follow */
		talk_frame.bytes[14 + 6] = 0x20;
		talk_frame.bytes[14 + 7] = 0;
		frame_fix(talk_frame.bytes, talk_frame.length);
		plane_send(plane, (uint16_t)port, &talk_frame);
	}
	CU_ASSERT_EQUAL(fragment_count(plane->dataplane->workers[0]->fragments), 2);
	policy_without(plane, work_take);
	purge(plane, gone);
	CU_ASSERT_EQUAL(fragment_count(plane->dataplane->workers[0]->fragments), 1);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_PORT_GONE), 1);
	CU_ASSERT_EQUAL(
		budget_used(dataplane_account(plane->dataplane, 0, false), BUDGET_FRAGMENTS), 0);
	CU_ASSERT_EQUAL(
		budget_used(dataplane_account(plane->dataplane, 1, false), BUDGET_FRAGMENTS), 1);
	work_give(plane->conf);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* A packet that was handed over when its port was taken away opens nothing. */
static void
test_handed_over(void)
{
	struct plane_options options = {.workers = 2};
	struct plane *plane = plane_create(&options);
	struct dataplane *dataplane = plane->dataplane;
	unsigned handed = 0;

	plane_resolve(plane);
	for (uint16_t i = 0; i < 32; i++) {
		struct say say = udp(PLANE_WORK, PLANE_WORK_ADDRESS, 1000 + i, 7 + i);
		struct rte_mbuf *mbuf;

		talk_build(&say);
		mbuf = frame_mbuf(dataplane->pool, talk_frame.bytes, talk_frame.length);
		packet_of(mbuf)->in_port = PLANE_WORK;
		/* received, and no worker has looked at its ring yet */
		dataplane_receive(dataplane->workers[dataplane->ports[PLANE_WORK].owner],
			&dataplane->ports[PLANE_WORK], &mbuf, 1, plane->now_ms);
	}
	for (unsigned i = 0; i < 2; i++)
		handed += rte_ring_count(dataplane->workers[i]->handover);
	CU_ASSERT(handed > 4);
	policy_without(plane, work_take);
	plane_service(plane);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_PORT_GONE), handed);
	CU_ASSERT_EQUAL(flows_of(plane, 0), 32 - handed);
	work_give(plane->conf);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* A slot is free when its port is closed, not before, and what comes next begins at zero. */
static void
test_slots(void)
{
	struct plane_options options = {0};
	struct plane *plane = plane_create(&options);
	struct dataplane *dataplane = plane->dataplane;
	const struct report quiet = {0};
	struct policy *policy;
	struct say say = udp(PLANE_WORK, PLANE_PERSONAL_ADDRESS, 9, 9);
	char name[NAME_SIZE];

	talk_send(plane, &say);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_SOURCE_ADDRESS), 1);
	policy_without(plane, work_take);
	work_give(plane->conf);
	memcpy(name, plane->conf->ports[PLANE_WORK + 1].name, sizeof(name));
	CU_ASSERT_STRING_EQUAL(name, "work");
	/* It comes back while it is still closed: as another one. */
	CU_ASSERT_EQUAL_FATAL(
		policy_build(plane->conf, atomic_load(&dataplane->policy), 0, &quiet, &policy), 0);
	CU_ASSERT_EQUAL(policy_port_find(policy, "work"), plane->conf->port_count);
	CU_ASSERT_EQUAL(policy->ports[PLANE_WORK].role, ROLE_NONE);
	policy_free(policy);
	CU_ASSERT_EQUAL(dataplane_port_close(dataplane, PLANE_WORK), 0);
	CU_ASSERT_EQUAL(dataplane->closed_drops[REASON_SOURCE_ADDRESS], 1);
	CU_ASSERT_PTR_NULL(dataplane_port(dataplane, PLANE_WORK));
	CU_ASSERT_EQUAL_FATAL(
		policy_build(plane->conf, atomic_load(&dataplane->policy), 0, &quiet, &policy), 0);
	CU_ASSERT_EQUAL(policy_port_find(policy, "work"), PLANE_WORK);
	CU_ASSERT_EQUAL(dataplane_port_prepare(dataplane, plane->conf, policy, PLANE_WORK), 0);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_SOURCE_ADDRESS), 0);
	CU_ASSERT(dataplane->slots.taken[PLANE_WORK]);
	CU_ASSERT_EQUAL(dataplane_port_close(dataplane, PLANE_WORK), 0);
	policy_free(policy);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"flows of a port that is gone", test_flows},
		{"flows of a qube with another address", test_address},
		{"packets that wait for a neighbour", test_held},
		{"fragments", test_fragments},
		{"packets between workers", test_handed_over},
		{"slots", test_slots},
	};

	unit_eal();
	return UNIT_RUN("port_purge", tests);
}
