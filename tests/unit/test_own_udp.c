/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Datagrams of the firewall's own through a data plane: what leaves, whose answers are taken, and
 * that external ports are as much ours or a qube's as ever.
 */
#include "app/own_udp.h"
#include "app/daemon.h"
#include "app/own_socket.h"
#include "tests/unit/talk.h"

#include <errno.h>
#include <netinet/in.h>

#include <event2/event.h>

#define RESOLVER_WORD RTE_BE32(UINT32_C(0xc0a83235)) /* PLANE_RESOLVER */
#define DNS RTE_BE16(53)

static const struct plane_options options = {.rules = "policy=accept\n", .automatic = true};

static struct plane *
begin(const struct plane_options *with)
{
	struct plane *plane = talk_begin(with);

	plane->dataplane->own = own_udp_create();
	CU_ASSERT_PTR_NOT_NULL_FATAL(plane->dataplane->own);
	return plane;
}

static void
finish(struct plane *plane)
{
	struct own_udp *own = plane->dataplane->own;

	plane->dataplane->own = NULL;
	own_udp_free(own);
	talk_end(plane);
}

static int
send_now(struct plane *plane, int socket, const char *text)
{
	struct worker *worker = plane->dataplane->workers[0];
	int result;

	worker->policy = atomic_load(&plane->dataplane->policy);
	worker->now_ms = plane->now_ms;
	result = own_udp_send(worker, (unsigned)socket, text, (uint16_t)strlen(text));
	worker_flush(worker);
	return result;
}

/* The port from which the frame that left last was sent; 0 if it is not what it should be. */
static uint16_t
sent_port(struct plane *plane, const char *text)
{
	struct sent *sent = plane_next(plane, PLANE_UPLINK);
	struct frame_view view;
	union address from, to;
	enum family family;

	if (sent == NULL)
		return 0;
	talk_frame = sent->frame;
	view = frame_view(talk_frame.bytes, talk_frame.length);
	address_parse(PLANE_UPLINK_ADDRESS, &family, &from);
	address_parse(PLANE_RESOLVER, &family, &to);
	CU_ASSERT_EQUAL(frame_faults(talk_frame.bytes, talk_frame.length), 0);
	CU_ASSERT_TRUE(address_equal(&view.source, &from) && address_equal(&view.destination, &to));
	CU_ASSERT_EQUAL(view.protocol, IPPROTO_UDP);
	CU_ASSERT_EQUAL(view.destination_port, 53);
	CU_ASSERT_EQUAL(memcmp(talk_frame.bytes + view.l4 + 8, text, strlen(text)), 0);
	return view.source_port;
}

static void
answer(struct plane *plane, const char *from, uint16_t from_port, uint16_t port)
{
	talk_send(plane, &(struct say){PLANE_UPLINK, IPPROTO_UDP, from, from_port,
				 PLANE_UPLINK_ADDRESS, port, .payload = 30});
}

static void
test_asks(void)
{
	struct plane *plane = begin(&options);
	struct own_udp *own = plane->dataplane->own;
	int socket = own_udp_open(plane->dataplane, RESOLVER_WORD, DNS);
	struct own_answer *got;
	uint16_t port;

	CU_ASSERT_EQUAL_FATAL(socket, 0);
	CU_ASSERT_EQUAL(send_now(plane, socket, "question"), 0);
	port = sent_port(plane, "question");
	CU_ASSERT_TRUE(port >= 1024);
	CU_ASSERT_PTR_NULL(own_udp_next(own));
	/* others, who are dropped as ever */
	answer(plane, PLANE_ROUTER, 53, port);
	answer(plane, PLANE_RESOLVER, 54, port);
	answer(plane, PLANE_RESOLVER, 53, (uint16_t)(port ^ 1));
	CU_ASSERT_PTR_NULL(own_udp_next(own));
	talk_expect_drop(plane, REASON_NO_FLOW, 3);
	/* spoilt on its way: it is for us, and nothing comes of it */
	answer(plane, PLANE_RESOLVER, 53, port);
	got = own_udp_next(own);
	CU_ASSERT_PTR_NOT_NULL_FATAL(got);
	own_udp_done(own, got);
	talk_frame.bytes[talk_frame.length - 1] ^= 1;
	plane_send(plane, PLANE_UPLINK, &talk_frame);
	CU_ASSERT_PTR_NULL(own_udp_next(own));
	answer(plane, PLANE_RESOLVER, 53, port);
	talk_expect_drop(plane, REASON_NO_FLOW, 3);
	CU_ASSERT_EQUAL(plane->dataplane->workers[0]->counters.verdicts[VERDICT_LOCAL], 3);
	got = own_udp_next(own);
	CU_ASSERT_PTR_NOT_NULL_FATAL(got);
	CU_ASSERT_EQUAL(got->socket, (unsigned)socket);
	CU_ASSERT_EQUAL(got->length, 30);
	own_udp_done(own, got);
	CU_ASSERT_PTR_NULL(own_udp_next(own));
	/* closed */
	own_udp_close(plane->dataplane, (unsigned)socket);
	answer(plane, PLANE_RESOLVER, 53, port);
	talk_expect_drop(plane, REASON_NO_FLOW, 4);
	CU_ASSERT_EQUAL(send_now(plane, socket, "question"), -EHOSTUNREACH);
	finish(plane);
}

/* A port that is ours is nobody else's, and the other way round. */
static void
test_ports(void)
{
	struct plane *plane = begin(&options);
	int sockets[OWN_SOCKETS];
	uint16_t qube;
	rte_be16_t inside;
	uint16_t ports[OWN_SOCKETS];

	for (unsigned i = 0; i < OWN_SOCKETS; i++) {
		sockets[i] = own_udp_open(plane->dataplane, RESOLVER_WORD, DNS);
		CU_ASSERT_TRUE_FATAL(sockets[i] >= 0);
		CU_ASSERT_EQUAL(send_now(plane, sockets[i], "x"), 0);
		ports[i] = sent_port(plane, "x");
		for (unsigned j = 0; j < i; j++)
			CU_ASSERT_NOT_EQUAL(ports[j], ports[i]);
		CU_ASSERT_TRUE(binding_find(plane->dataplane->bindings, FAMILY_IPV4, IPPROTO_UDP,
			rte_cpu_to_be_16(ports[i]), &qube, &inside));
		CU_ASSERT_EQUAL(qube, QUBE_OWN);
		/* a qube that sends from that very port gets another one outside */
		talk_send(plane, &(struct say){PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS,
					 ports[i], PLANE_RESOLVER, 53, .payload = 0});
		CU_ASSERT_NOT_EQUAL(sent_port(plane, ""), ports[i]);
	}
	CU_ASSERT_EQUAL(own_udp_open(plane->dataplane, RESOLVER_WORD, DNS), -ENFILE);
	for (unsigned i = 0; i < OWN_SOCKETS; i++) {
		own_udp_close(plane->dataplane, (unsigned)sockets[i]);
		CU_ASSERT_FALSE(binding_find(plane->dataplane->bindings, FAMILY_IPV4, IPPROTO_UDP,
			rte_cpu_to_be_16(ports[i]), &qube, &inside));
	}
	finish(plane);
}

/* Answers that nobody reads are lost, and others after them are not. */
static void
test_many(void)
{
	struct plane *plane = begin(&options);
	struct own_udp *own = plane->dataplane->own;
	int socket = own_udp_open(plane->dataplane, RESOLVER_WORD, DNS);
	struct own_answer *got;
	unsigned count = 0;
	uint16_t port;

	send_now(plane, socket, "x");
	port = sent_port(plane, "x");
	for (unsigned round = 1; round <= 3; round++) {
		for (unsigned i = 0; i < 2 * OWN_ANSWERS; i++)
			answer(plane, PLANE_RESOLVER, 53, port);
		while ((got = own_udp_next(own)) != NULL) {
			count++;
			own_udp_done(own, got);
		}
		CU_ASSERT_EQUAL(count, round * OWN_ANSWERS);
	}
	own_udp_close(plane->dataplane, (unsigned)socket);
	finish(plane);
}

/* The next hop has to be asked for first; and what is too long does not leave. */
static void
test_way(void)
{
	static char longer[4000];
	struct plane_options silent = options;
	struct plane *plane;
	int socket;

	silent.automatic = false;
	plane = plane_create(&silent);
	plane->dataplane->own = own_udp_create();
	CU_ASSERT_PTR_NOT_NULL_FATAL(plane->dataplane->own);
	socket = own_udp_open(plane->dataplane, RESOLVER_WORD, DNS);
	CU_ASSERT_EQUAL(send_now(plane, socket, "x"), -EAGAIN);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 1); /* ARP */
	plane_forget(plane);
	own_udp_close(plane->dataplane, (unsigned)socket);
	finish(plane);

	plane = begin(&options);
	socket = own_udp_open(plane->dataplane, RESOLVER_WORD, DNS);
	memset(longer, 'x', sizeof(longer) - 1);
	CU_ASSERT_EQUAL(send_now(plane, socket, longer), -EMSGSIZE);
	own_udp_close(plane->dataplane, (unsigned)socket);
	/* nobody is there */
	socket = own_udp_open(plane->dataplane, RTE_BE32(UINT32_C(0xc0a832ff)), DNS);
	CU_ASSERT_EQUAL(send_now(plane, socket, "x"), -EHOSTUNREACH);
	own_udp_close(plane->dataplane, (unsigned)socket);
	finish(plane);
}

/* With several workers the answer may come to any of them. */
static void
test_workers(void)
{
	struct plane_options many = options;
	struct plane *plane;

	many.workers = 3;
	plane = begin(&many);
	for (unsigned i = 0; i < 10; i++) {
		int socket = own_udp_open(plane->dataplane, RESOLVER_WORD, DNS);
		struct own_answer *got;
		uint16_t port;

		send_now(plane, socket, "x");
		port = sent_port(plane, "x");
		answer(plane, PLANE_RESOLVER, 53, port);
		got = own_udp_next(plane->dataplane->own);
		CU_ASSERT_PTR_NOT_NULL_FATAL(got);
		own_udp_done(plane->dataplane->own, got);
		own_udp_close(plane->dataplane, (unsigned)socket);
	}
	finish(plane);
}

/* Whoever floods us with answers does not keep the control thread from everything else. */
static void
test_flood(void)
{
	struct plane *plane = begin(&options);
	struct own_udp *own = plane->dataplane->own;
	struct daemon daemon = {.dataplane = plane->dataplane, .base = event_base_new()};
	const struct ares_socket_functions *call = &own_socket_functions;
	const struct sockaddr_in server = {
		.sin_family = AF_INET, .sin_port = DNS, .sin_addr.s_addr = RESOLVER_WORD};
	struct own_sockets *sockets = NULL;
	struct own_answer *got;
	ares_socket_t socket;
	unsigned left = 0;
	uint16_t port;

	CU_ASSERT_EQUAL_FATAL(own_sockets_create(&daemon, &sockets), 0);
	socket = call->asocket(AF_INET, SOCK_DGRAM, 0, sockets);
	CU_ASSERT_EQUAL_FATAL(
		call->aconnect(socket, (const struct sockaddr *)&server, sizeof(server), sockets),
		0);
	send_now(plane, 0, "x");
	port = sent_port(plane, "x");
	for (unsigned i = 0; i < OWN_ANSWERS; i++)
		answer(plane, PLANE_RESOLVER, 53, port);
	event_base_loop(daemon.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	while ((got = own_udp_next(own)) != NULL) {
		left++;
		own_udp_done(own, got);
	}
	CU_ASSERT_TRUE(left > 0 && left < OWN_ANSWERS);
	/* what is left comes in the turns behind it, although nothing new does */
	for (unsigned i = 0; i < OWN_ANSWERS; i++)
		answer(plane, PLANE_RESOLVER, 53, port);
	for (unsigned i = 0; i < OWN_ANSWERS; i++)
		event_base_loop(daemon.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	CU_ASSERT_PTR_NULL(own_udp_next(own));
	call->aclose(socket, sockets);
	own_sockets_free(sockets);
	event_base_free(daemon.base);
	finish(plane);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"a question and its answer", test_asks},
		{"external ports have one owner", test_ports},
		{"answers that nobody reads", test_many},
		{"no way", test_way},
		{"several workers", test_workers},
		{"a flood of answers", test_flood},
	};

	unit_eal();
	return UNIT_RUN("own_udp", tests);
}
