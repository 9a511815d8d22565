/* SPDX-License-Identifier: BSD-3-Clause */
/* External ports: kept when free, one owner each, found again, given back, under many workers. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include <rte_common.h>
#include <rte_memory.h>
#include <rte_random.h>

#include "nat/binding.h"

static const struct flow_secret secret = {
	{0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89}};
static const struct flow_secret other_secret = {
	{0x452821e638d01377, 0xbe5466cf34e90c6c, 0xc0ac29b7c97c50dd, 0x3f84d5b5b5470917}};

#define QUBE(n) ((uint16_t)(n))

static struct binding_request
request_of(enum family family, uint8_t protocol, uint16_t qube, uint16_t port)
{
	return (struct binding_request){.family = family,
		.protocol = protocol,
		.qube = qube,
		.port = rte_cpu_to_be_16(port)};
}

/* The port, or the error. */
static int
take_request(struct binding_table *bindings, const struct binding_request *request, bool *fresh)
{
	rte_be16_t external = 0;
	int error = binding_take(bindings, request, &external, fresh);

	return error != 0 ? error : rte_be_to_cpu_16(external);
}

static int
take(struct binding_table *bindings, uint8_t protocol, uint16_t qube, uint16_t port)
{
	struct binding_request request = request_of(FAMILY_IPV4, protocol, qube, port);

	return take_request(bindings, &request, &(bool){false});
}

static int
join(struct binding_table *bindings, uint8_t protocol, uint16_t qube, uint16_t port)
{
	struct binding_request request = request_of(FAMILY_IPV4, protocol, qube, port);
	rte_be16_t external = 0;
	int error = binding_join(bindings, &request, &external);

	return error != 0 ? error : rte_be_to_cpu_16(external);
}

static int
another(struct binding_table *bindings, uint8_t protocol, uint16_t qube, uint16_t port)
{
	struct binding_request request = request_of(FAMILY_IPV4, protocol, qube, port);
	rte_be16_t external = 0;
	int error = binding_take_another(bindings, &request, &external);

	return error != 0 ? error : rte_be_to_cpu_16(external);
}

static int
exact(struct binding_table *bindings, const struct binding_request *request, uint16_t port,
	bool *fresh)
{
	return binding_take_exact(bindings, request, rte_cpu_to_be_16(port), fresh);
}

/* Whose it is: qube << 16 | port, or -1. */
static int64_t
found(const struct binding_table *bindings, enum family family, uint8_t protocol, uint16_t external)
{
	uint16_t qube;
	rte_be16_t port;

	if (!binding_find(bindings, family, protocol, rte_cpu_to_be_16(external), &qube, &port))
		return -1;
	return (int64_t)qube << 16 | rte_be_to_cpu_16(port);
}

static uint16_t
release(struct binding_table *bindings, uint8_t protocol, int port)
{
	return binding_release(bindings, FAMILY_IPV4, protocol, rte_cpu_to_be_16((uint16_t)port));
}

static void
reserve(struct port_set *set, uint16_t first, uint16_t last)
{
	for (uint32_t port = first; port <= last; port++)
		set->word[port >> 6] |= UINT64_C(1) << (port & 63);
}

static void
test_keeps_the_port(void)
{
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	int other;

	CU_ASSERT_PTR_NOT_NULL_FATAL(bindings);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(1), 40000), 40000);
	/* Another qube gets another port of the class, never the same (RFC 4787 REQ-3). */
	other = take(bindings, IPPROTO_UDP, QUBE(2), 40000);
	CU_ASSERT(other >= 1024);
	CU_ASSERT_NOT_EQUAL(other, 40000);
	/* Protocols do not disturb each other. */
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_ICMP, QUBE(2), 40000), 40000);
	release(bindings, IPPROTO_UDP, 40000);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(3), 40000), 40000);
	binding_table_free(bindings);
	binding_table_free(NULL);
}

/* RFC 4787 REQ-1, RFC 5508 REQ-1: all flows of one qube and port, or identifier, share one. */
static void
check_same_pair(uint8_t protocol)
{
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	int displaced;

	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(take(bindings, protocol, QUBE(1), 40000), 40000);
	displaced = take(bindings, protocol, QUBE(2), 40000);
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(take(bindings, protocol, QUBE(2), 40000), displaced);
	/* Its own port becoming free does not split the mapping. */
	for (unsigned i = 0; i < 10; i++)
		release(bindings, protocol, 40000);
	CU_ASSERT_EQUAL(take(bindings, protocol, QUBE(2), 40000), displaced);
	/* Nor does that keep others from it, who meanwhile see a displaced binding. */
	CU_ASSERT_EQUAL(take(bindings, protocol, QUBE(3), 40000), 40000);
	/* The binding lives as long as its last flow. */
	for (unsigned i = 0; i < 11; i++)
		release(bindings, protocol, displaced);
	CU_ASSERT_EQUAL(take(bindings, protocol, QUBE(2), 40000), displaced);
	release(bindings, protocol, displaced);
	release(bindings, protocol, displaced);
	release(bindings, protocol, 40000);
	CU_ASSERT_EQUAL(take(bindings, protocol, QUBE(2), 40000), 40000);
	binding_table_free(bindings);
}

static void
test_same_pair_same_port(void)
{
	check_same_pair(IPPROTO_UDP);
	check_same_pair(IPPROTO_ICMP);
}

/* Two remotes of a pair that look the same from outside need two ports, and both are given back. */
static void
test_another_port(void)
{
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	int others[3];
	int displaced;

	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(1), 40000), 40000);
	for (unsigned i = 0; i < 3; i++) {
		others[i] = another(bindings, IPPROTO_UDP, QUBE(1), 40000);
		CU_ASSERT(others[i] >= 1024);
		CU_ASSERT_NOT_EQUAL(others[i], 40000);
		for (unsigned j = 0; j < i; j++)
			CU_ASSERT_NOT_EQUAL(others[i], others[j]);
	}
	/* everybody else still finds the first one, and nobody the others */
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(1), 40000), 40000);
	CU_ASSERT_NOT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(2), (uint16_t)others[0]), others[0]);
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(release(bindings, IPPROTO_UDP, others[i]), QUBE(1));
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(3), (uint16_t)others[1]), others[1]);

	/* Nor are they found before a first one that is displaced and comes later in the walk. */
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(1), 50000), 50000);
	others[0] = take(bindings, IPPROTO_UDP, QUBE(2), 50000);
	CU_ASSERT_EQUAL(release(bindings, IPPROTO_UDP, others[0]), QUBE(2));
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(3), (uint16_t)others[0]), others[0]);
	displaced = take(bindings, IPPROTO_UDP, QUBE(2), 50000);
	CU_ASSERT_NOT_EQUAL(displaced, others[0]);
	CU_ASSERT_EQUAL(release(bindings, IPPROTO_UDP, others[0]), QUBE(3));
	CU_ASSERT_EQUAL(another(bindings, IPPROTO_UDP, QUBE(2), 50000), others[0]);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(2), 50000), displaced);
	/* The last one that the pair has is joined. */
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(4), 41000), 41000);
	displaced = another(bindings, IPPROTO_UDP, QUBE(4), 41000);
	CU_ASSERT_EQUAL(release(bindings, IPPROTO_UDP, 41000), QUBE(4));
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(4), 41000), displaced);
	binding_table_free(bindings);
}

/* Each family and protocol has ports of its own. */
static void
test_families(void)
{
	static const uint8_t protocols[FAMILIES][2] = {
		{IPPROTO_UDP, IPPROTO_ICMP}, {IPPROTO_UDP, IPPROTO_ICMPV6}};
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);

	for (unsigned i = 0; i < 4; i++) {
		struct binding_request request =
			request_of(i / 2, protocols[i / 2][i % 2], QUBE(10 + i), 40000);
		bool fresh = false;

		for (unsigned later = i; later < 4; later++)
			CU_ASSERT_EQUAL(
				found(bindings, later / 2, protocols[later / 2][later % 2], 40000),
				-1);
		CU_ASSERT_EQUAL(take_request(bindings, &request, &fresh), 40000);
		CU_ASSERT(fresh);
	}
	for (unsigned i = 0; i < 4; i++) {
		struct binding_request request =
			request_of(i / 2, protocols[i / 2][i % 2], QUBE(99), 40000);
		bool fresh = false;
		int port = take_request(bindings, &request, &fresh);

		CU_ASSERT(port > 0 && port != 40000 && fresh);
		CU_ASSERT_EQUAL(found(bindings, request.family, request.protocol, 40000),
			(10 + i) << 16 | 40000);
		CU_ASSERT_EQUAL(found(bindings, request.family, request.protocol, (uint16_t)port),
			99 << 16 | 40000);
		CU_ASSERT_EQUAL(binding_release(bindings, request.family, request.protocol,
					RTE_BE16(40000)),
			QUBE(10 + i));
		CU_ASSERT_EQUAL(found(bindings, request.family, request.protocol, 40000), -1);
	}
	binding_table_free(bindings);
}

/* Port shadowing, CVE-2021-3773: what a forward listens on is never handed out. */
static void
test_reserved_udp(void)
{
	static struct port_set reserved, all;
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	struct binding_request request = request_of(FAMILY_IPV4, IPPROTO_UDP, QUBE(1), 40000);
	rte_be16_t external;
	unsigned wrong = 0;
	bool fresh;

	/* All of the small class but 500 ports, the preserved one among what is reserved. */
	memset(&reserved, 0, sizeof(reserved));
	reserve(&reserved, 1, 523);
	for (unsigned i = 0; i < 480; i++) {
		struct binding_request low = request_of(FAMILY_IPV4, IPPROTO_UDP, QUBE(2 + i), 123);
		int port;

		low.reserved = &reserved;
		port = i % 2 == 0 ? take_request(bindings, &low, &fresh)
		       : binding_take_another(bindings, &low, &external) == 0
			       ? rte_be_to_cpu_16(external)
			       : -1;
		wrong += port > 0 && (port <= 523 || port >= 1024);
	}
	CU_ASSERT_EQUAL(wrong, 0);

	/* A binding that was there before its port was reserved is joined, and not begun again. */
	reserve(&reserved, 40000, 40000);
	CU_ASSERT_EQUAL(take_request(bindings, &request, &fresh), 40000);
	CU_ASSERT(fresh);
	request.reserved = &reserved;
	CU_ASSERT_EQUAL(take_request(bindings, &request, &fresh), 40000);
	CU_ASSERT_FALSE(fresh);
	CU_ASSERT_EQUAL(binding_join(bindings, &request, &external), 0);
	CU_ASSERT_EQUAL(exact(bindings, &request, 40000, &fresh), 0);
	CU_ASSERT_FALSE(fresh);
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(
			release(bindings, IPPROTO_UDP, 40000), i == 3 ? QUBE(1) : QUBE_NONE);
	CU_ASSERT_EQUAL(exact(bindings, &request, 40000, &fresh), -EADDRINUSE);
	CU_ASSERT_FALSE(fresh);
	CU_ASSERT_EQUAL(found(bindings, FAMILY_IPV4, IPPROTO_UDP, 40000), -1);
	CU_ASSERT_NOT_EQUAL(take_request(bindings, &request, &fresh), 40000);
	CU_ASSERT(fresh);
	/* So is one that lives away from its own port. */
	request = request_of(FAMILY_IPV4, IPPROTO_UDP, QUBE(900), 40001);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(1), 40001), 40001);
	memset(&all, 0xff, sizeof(all));
	CU_ASSERT_EQUAL(binding_take(bindings, &request, &external, &fresh), 0);
	request.reserved = &all;
	CU_ASSERT_EQUAL(take_request(bindings, &request, &fresh), rte_be_to_cpu_16(external));
	CU_ASSERT_FALSE(fresh);

	/* With everything reserved nobody gets anything. */
	request.port = RTE_BE16(40002);
	CU_ASSERT_EQUAL(take_request(bindings, &request, &fresh), -EADDRINUSE);
	CU_ASSERT_FALSE(fresh);
	CU_ASSERT_EQUAL(binding_take_another(bindings, &request, &external), -EADDRINUSE);
	/* Identifiers are never reserved: no set is given. */
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_ICMP, QUBE(1), 40000), 40000);
	binding_table_free(bindings);
}

/* Joining finds what taking would find and begins nothing. */
static void
test_join(void)
{
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	int displaced;

	CU_ASSERT_EQUAL(join(bindings, IPPROTO_UDP, QUBE(1), 40000), -ENOENT);
	CU_ASSERT_EQUAL(found(bindings, FAMILY_IPV4, IPPROTO_UDP, 40000), -1);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(1), 40000), 40000);
	CU_ASSERT_EQUAL(join(bindings, IPPROTO_UDP, QUBE(1), 40000), 40000);
	CU_ASSERT_EQUAL(join(bindings, IPPROTO_UDP, QUBE(2), 40000), -ENOENT);
	displaced = take(bindings, IPPROTO_UDP, QUBE(2), 40000);
	CU_ASSERT_EQUAL(join(bindings, IPPROTO_UDP, QUBE(2), 40000), displaced);
	CU_ASSERT_EQUAL(join(bindings, IPPROTO_UDP, QUBE(3), 40000), -ENOENT);
	CU_ASSERT_EQUAL(release(bindings, IPPROTO_UDP, displaced), QUBE_NONE);
	CU_ASSERT_EQUAL(release(bindings, IPPROTO_UDP, displaced), QUBE(2));
	CU_ASSERT_EQUAL(join(bindings, IPPROTO_UDP, QUBE(2), 40000), -ENOENT);
	binding_table_free(bindings);
}

/* Only the first reference makes a binding, and only the last one ends it. */
static void
test_fresh_and_release(void)
{
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	struct binding_request request = request_of(FAMILY_IPV6, IPPROTO_UDP, QUBE(0), 0);
	bool fresh;
	int port;

	for (unsigned i = 0; i < 3; i++) {
		port = take_request(bindings, &request, &fresh);
		CU_ASSERT_EQUAL(fresh, i == 0);
	}
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(binding_release(bindings, FAMILY_IPV6, IPPROTO_UDP,
					rte_cpu_to_be_16((uint16_t)port)),
			i == 2 ? QUBE(0) : QUBE_NONE);
	/* Qube 0 with identifier 0 looks like nobody but for its references. */
	request = request_of(FAMILY_IPV4, IPPROTO_ICMP, QUBE(0), 0);
	CU_ASSERT_EQUAL(take_request(bindings, &request, &fresh), 0);
	CU_ASSERT(fresh);
	CU_ASSERT_EQUAL(release(bindings, IPPROTO_ICMP, 0), QUBE(0));
	request = request_of(FAMILY_IPV6, IPPROTO_UDP, QUBE(0), 0);
	/* Once too often harms nobody. */
	CU_ASSERT_EQUAL(binding_release(bindings, FAMILY_IPV6, IPPROTO_UDP,
				rte_cpu_to_be_16((uint16_t)port)),
		QUBE_NONE);
	CU_ASSERT_EQUAL(take_request(bindings, &request, &fresh), port);
	CU_ASSERT(fresh);
	binding_table_free(bindings);
}

/* After a restart: the same ports, whatever the new secret would have chosen. */
static void
test_exact(void)
{
	struct binding_table *bindings = binding_table_create(&other_secret, SOCKET_ID_ANY);
	struct binding_request own = request_of(FAMILY_IPV4, IPPROTO_UDP, QUBE(1), 40000);
	struct binding_request displaced = request_of(FAMILY_IPV4, IPPROTO_UDP, QUBE(2), 40000);
	struct binding_request low = request_of(FAMILY_IPV4, IPPROTO_UDP, QUBE(3), 123);
	struct binding_request query = request_of(FAMILY_IPV4, IPPROTO_ICMP, QUBE(3), 123);
	unsigned split = 0;
	bool fresh;

	CU_ASSERT_EQUAL(exact(bindings, &displaced, 50000, &fresh), 0);
	CU_ASSERT(fresh);
	CU_ASSERT_EQUAL(exact(bindings, &displaced, 50000, &fresh), 0);
	CU_ASSERT_FALSE(fresh);
	CU_ASSERT_EQUAL(exact(bindings, &own, 50000, &fresh), -EADDRINUSE);
	CU_ASSERT_FALSE(fresh);
	CU_ASSERT_EQUAL(exact(bindings, &own, 40000, &fresh), 0);
	CU_ASSERT(fresh);
	CU_ASSERT_EQUAL(found(bindings, FAMILY_IPV4, IPPROTO_UDP, 50000), 2 << 16 | 40000);
	CU_ASSERT_EQUAL(found(bindings, FAMILY_IPV4, IPPROTO_UDP, 40000), 1 << 16 | 40000);
	/* New flows find them (RFC 4787 REQ-1), even with the own port free again. */
	CU_ASSERT_EQUAL(take_request(bindings, &displaced, &fresh), 50000);
	CU_ASSERT_EQUAL(release(bindings, IPPROTO_UDP, 40000), QUBE(1));
	CU_ASSERT_EQUAL(take_request(bindings, &displaced, &fresh), 50000);
	CU_ASSERT_FALSE(fresh);
	/* Outside its class nothing is given, port 0 least of all; identifiers have none. */
	CU_ASSERT_EQUAL(exact(bindings, &low, 1024, &fresh), -EADDRINUSE);
	CU_ASSERT_EQUAL(exact(bindings, &low, 0, &fresh), -EADDRINUSE);
	CU_ASSERT_EQUAL(exact(bindings, &own, 1023, &fresh), -EADDRINUSE);
	CU_ASSERT_EQUAL(exact(bindings, &low, 1023, &fresh), 0);
	CU_ASSERT_EQUAL(exact(bindings, &query, 0, &fresh), 0);
	/* Many at once: each finds its own. */
	for (unsigned i = 0; i < 200; i++) {
		struct binding_request request =
			request_of(FAMILY_IPV6, IPPROTO_UDP, QUBE(i), (uint16_t)(2000 + i % 7));

		CU_ASSERT_EQUAL(exact(bindings, &request, (uint16_t)(10000 + i), &fresh), 0);
	}
	for (unsigned i = 0; i < 200; i++) {
		struct binding_request request =
			request_of(FAMILY_IPV6, IPPROTO_UDP, QUBE(i), (uint16_t)(2000 + i % 7));

		split += take_request(bindings, &request, &fresh) != (int)(10000 + i);
	}
	CU_ASSERT(split <= 5); /* two pairs with one hint */
	binding_table_free(bindings);
}

/* That a pair lived elsewhere is forgotten when it ends, however often. */
static void
test_displaced_is_counted(void)
{
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	int displaced;

	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(1), 40000), 40000);
	for (unsigned i = 0; i < 65535; i++)
		release(bindings, IPPROTO_UDP, take(bindings, IPPROTO_UDP, QUBE(2), 40000));
	displaced = take(bindings, IPPROTO_UDP, QUBE(2), 40000);
	release(bindings, IPPROTO_UDP, 40000);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(2), 40000), displaced);
	binding_table_free(bindings);
}

static void
test_classes(void)
{
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	bool seen[1024] = {false};
	unsigned taken = 0;
	int port;

	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(1), 123), 123);
	for (unsigned i = 2; i < 900; i++) {
		port = take(bindings, IPPROTO_UDP, QUBE(i), 123);
		CU_ASSERT(port > 0 && port < 1024);
		if (port <= 0 || port >= 1024)
			continue;
		CU_ASSERT_FALSE(seen[port]);
		seen[port] = true;
		taken++;
	}
	CU_ASSERT(taken > 800);
	/* Port 0 is given to nobody, not even to who has it. */
	port = take(bindings, IPPROTO_UDP, QUBE(5000), 0);
	CU_ASSERT(port > 0 && port < 1024);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(5000), 0), port);
	/* Identifiers have no classes, and 0 is one of them. */
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_ICMP, QUBE(1), 0), 0);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_ICMP, QUBE(1), 5), 5);
	taken = 0;
	for (unsigned i = 2; i < 100; i++)
		taken += take(bindings, IPPROTO_ICMP, QUBE(i), 5) >= 1024;
	CU_ASSERT(taken > 80);
	binding_table_free(bindings);
}

static void
test_full_class(void)
{
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);

	for (unsigned port = 1; port < 1024; port++)
		CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(1), (uint16_t)port), (int)port);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(2), 53), -EADDRINUSE);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(1), 53), 53);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(2), 5353), 5353);
	release(bindings, IPPROTO_UDP, 54);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(2), 54), 54);
	binding_table_free(bindings);
}

/* Nine of ten ports taken: a newcomer still gets one, wherever it wants to be. */
static void
test_crowded_class(void)
{
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	unsigned refused = 0;

	for (unsigned port = 1024; port < 65536; port++)
		if (port % 10 != 0)
			CU_ASSERT_EQUAL(
				take(bindings, IPPROTO_UDP, QUBE(1), (uint16_t)port), (int)port);
	for (unsigned i = 0; i < 2000; i++) {
		uint16_t wanted = (uint16_t)(1031 + 10 * i);
		int port = take(bindings, IPPROTO_UDP, QUBE(2), wanted);

		refused += port < 0;
		if (port >= 0) {
			CU_ASSERT_EQUAL(port % 10, 0);
			CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(2), wanted), port);
			release(bindings, IPPROTO_UDP, port);
			release(bindings, IPPROTO_UDP, port);
		}
	}
	CU_ASSERT(refused <= 1);
	binding_table_free(bindings);
}

/* A flow to every host there is, from one port. */
static void
test_many_references(void)
{
	enum { FLOWS = 200000 };
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	unsigned wrong = 0;

	for (unsigned i = 0; i < FLOWS; i++)
		wrong += take(bindings, IPPROTO_UDP, QUBE(1), 40000) != 40000;
	CU_ASSERT_EQUAL(found(bindings, FAMILY_IPV4, IPPROTO_UDP, 40000), 1 << 16 | 40000);
	CU_ASSERT_NOT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(2), 40000), 40000);
	for (unsigned i = 0; i < FLOWS; i++)
		wrong += release(bindings, IPPROTO_UDP, 40000) !=
			 (i == FLOWS - 1 ? QUBE(1) : QUBE_NONE);
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(found(bindings, FAMILY_IPV4, IPPROTO_UDP, 40000), -1);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(3), 40000), 40000);
	binding_table_free(bindings);
}

/* RFC 6056: the choice looks random and differs with the secret. */
static void
test_choice_is_keyed(void)
{
	enum { QUBES = 4096, CELLS = 16 };
	struct binding_table *one = binding_table_create(&secret, SOCKET_ID_ANY);
	struct binding_table *two = binding_table_create(&other_secret, SOCKET_ID_ANY);
	unsigned cells[CELLS] = {0};
	unsigned same = 0;

	CU_ASSERT_EQUAL(take(one, IPPROTO_UDP, QUBE(0), 40000), 40000);
	CU_ASSERT_EQUAL(take(two, IPPROTO_UDP, QUBE(0), 40000), 40000);
	for (unsigned i = 1; i < QUBES; i++) {
		int port = take(one, IPPROTO_UDP, QUBE(i), 40000);

		CU_ASSERT(port >= 1024);
		cells[(unsigned)port * CELLS / 65536]++;
		same += port == take(two, IPPROTO_UDP, QUBE(i), 40000);
	}
	CU_ASSERT(same < 8);
	for (unsigned i = 0; i < CELLS; i++)
		CU_ASSERT(cells[i] > QUBES / CELLS - 80 && cells[i] < QUBES / CELLS + 80);
	binding_table_free(one);
	binding_table_free(two);
}

enum { PAIRS = 96 };

/* After everything was given back, everybody gets the own port again. */
static void
check_empty(struct binding_table *bindings)
{
	for (unsigned port = 1; port < 65536; port++) {
		if (take(bindings, IPPROTO_UDP, QUBE(9999), (uint16_t)port) != (int)port) {
			CU_FAIL("a port is still held");
			return;
		}
	}
}

static void
test_random_work(void)
{
	enum { ROUNDS = 200000 };
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	static int mapping[PAIRS];
	static unsigned uses[PAIRS];
	static int holder[65536];
	unsigned wrong = 0;

	memset(mapping, 0, sizeof(mapping));
	memset(uses, 0, sizeof(uses));
	memset(holder, 0, sizeof(holder));
	rte_srand(6);
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned pair = (unsigned)rte_rand_max(PAIRS);
		uint16_t port = (uint16_t)(100 + pair % 4);

		if (uses[pair] == 0 || (rte_rand_max(2) == 0 && uses[pair] < 10)) {
			int given = take(bindings, IPPROTO_UDP, QUBE(pair / 4), port);

			wrong += given < 0;
			if (given < 0)
				continue;
			/* One mapping per pair, whatever became free meanwhile. */
			wrong += uses[pair] != 0 && mapping[pair] != given;
			wrong += uses[pair] == 0 && holder[given] != 0;
			/* Its own port if that is free and it has no other. */
			wrong += uses[pair] == 0 && holder[port] == 0 && given != port;
			mapping[pair] = given;
			holder[given] = (int)pair + 1;
			uses[pair]++;
		} else {
			release(bindings, IPPROTO_UDP, mapping[pair]);
			if (--uses[pair] == 0)
				holder[mapping[pair]] = 0;
		}
	}
	CU_ASSERT_EQUAL(wrong, 0);
	for (unsigned pair = 0; pair < PAIRS; pair++)
		while (uses[pair]-- > 0)
			release(bindings, IPPROTO_UDP, mapping[pair]);
	check_empty(bindings);
	binding_table_free(bindings);
}

/*
 * Random work by several workers on few pairs and ports. At every moment a port belongs to the pair
 * that holds it; in the end everybody's books are laid beside the table: which ports are held, and
 * how many bindings each qube has by what was fresh and what ended.
 */
enum { THREADS = 4, QUBES = 6, KINDS = 4, HELD = 96, ROUNDS = 150000 };

static const struct {
	uint8_t family, protocol;
} kinds[KINDS] = {{FAMILY_IPV4, IPPROTO_UDP}, {FAMILY_IPV4, IPPROTO_ICMP},
	{FAMILY_IPV6, IPPROTO_UDP}, {FAMILY_IPV6, IPPROTO_ICMPV6}};

static _Atomic int balance[KINDS][QUBES]; /* bindings by what the workers were told */

struct holding {
	uint8_t kind;
	uint16_t qube, port, external;
};

struct thread {
	pthread_t id;
	struct binding_table *bindings;
	uint64_t seed;
	unsigned count, fresh, wrong;
	struct holding held[HELD];
};

static uint32_t
thread_draw(struct thread *thread, uint32_t range)
{
	thread->seed = thread->seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((thread->seed >> 32) * range >> 32);
}

/* Nobody else has what @p holding stands for. */
static bool
holding_is_right(const struct binding_table *bindings, const struct holding *holding)
{
	return found(bindings, kinds[holding->kind].family, kinds[holding->kind].protocol,
		       holding->external) == ((int64_t)holding->qube << 16 | holding->port);
}

static void
thread_release(struct thread *thread, unsigned which)
{
	struct holding holding = thread->held[which];
	uint16_t ended;

	thread->wrong += !holding_is_right(thread->bindings, &holding);
	ended = binding_release(thread->bindings, kinds[holding.kind].family,
		kinds[holding.kind].protocol, rte_cpu_to_be_16(holding.external));
	thread->wrong += ended != QUBE_NONE && ended != holding.qube;
	if (ended != QUBE_NONE)
		atomic_fetch_sub(&balance[holding.kind][holding.qube], 1);
	thread->held[which] = thread->held[--thread->count];
}

static void
thread_take(struct thread *thread)
{
	uint8_t kind = (uint8_t)thread_draw(thread, KINDS);
	struct binding_request request = request_of(kinds[kind].family, kinds[kind].protocol,
		(uint16_t)thread_draw(thread, QUBES), (uint16_t)(100 + thread_draw(thread, 2)));
	rte_be16_t external = 0;
	bool fresh = false;
	int error;

	switch (thread_draw(thread, 8)) {
	case 0:
	case 1:
		error = binding_take_another(thread->bindings, &request, &external);
		fresh = error == 0;
		break;
	case 2:
		external = rte_cpu_to_be_16((uint16_t)(98 + thread_draw(thread, 6)));
		error = binding_take_exact(thread->bindings, &request, external, &fresh);
		break;
	case 3:
		error = binding_join(thread->bindings, &request, &external);
		break;
	default:
		error = binding_take(thread->bindings, &request, &external, &fresh);
		break;
	}
	if (fresh)
		atomic_fetch_add(&balance[kind][request.qube], 1);
	thread->fresh += fresh;
	thread->wrong += fresh && error != 0;
	if (error != 0)
		return;
	thread->held[thread->count] = (struct holding){
		kind, request.qube, rte_be_to_cpu_16(request.port), rte_be_to_cpu_16(external)};
	thread->wrong += !holding_is_right(thread->bindings, &thread->held[thread->count]);
	thread->count++;
}

static void *
thread_main(void *argument)
{
	struct thread *thread = argument;

	for (unsigned round = 0; round < ROUNDS; round++) {
		/* Mostly few are held, so that bindings begin and end all the time. */
		unsigned most = round / 1024 % 8 == 0 ? HELD : 6;

		if (thread->count < most && (thread->count == 0 || thread_draw(thread, 2) == 0))
			thread_take(thread);
		else
			thread_release(thread, thread_draw(thread, thread->count));
	}
	return NULL;
}

/* Compare the table and the balances with what all threads together hold. */
static unsigned
books_check(const struct binding_table *bindings, const struct thread *threads)
{
	static bool held[KINDS][65536];
	int expected[KINDS][QUBES] = {{0}};
	unsigned wrong = 0;

	memset(held, 0, sizeof(held));
	for (unsigned i = 0; i < THREADS; i++) {
		for (unsigned j = 0; j < threads[i].count; j++) {
			const struct holding *holding = &threads[i].held[j];

			wrong += !holding_is_right(bindings, holding);
			held[holding->kind][holding->external] = true;
		}
	}
	for (unsigned kind = 0; kind < KINDS; kind++) {
		for (unsigned port = 0; port < 65536; port++) {
			int64_t owner = found(
				bindings, kinds[kind].family, kinds[kind].protocol, (uint16_t)port);

			wrong += (owner >= 0) != held[kind][port];
			if (owner >= 0)
				expected[kind][owner >> 16]++;
		}
		for (unsigned qube = 0; qube < QUBES; qube++)
			wrong += expected[kind][qube] != balance[kind][qube];
	}
	return wrong;
}

/* What is displaced is counted right still: a pair's binding is found, also with its port free. */
static unsigned
displacement_check(struct binding_table *bindings, unsigned kind, uint16_t port)
{
	struct binding_request first =
		request_of(kinds[kind].family, kinds[kind].protocol, QUBE(1000), port);
	struct binding_request second =
		request_of(kinds[kind].family, kinds[kind].protocol, QUBE(1001), port);
	unsigned wrong = 0;
	bool fresh;
	int displaced;

	wrong += take_request(bindings, &first, &fresh) != port;
	displaced = take_request(bindings, &second, &fresh);
	binding_release(bindings, first.family, first.protocol, rte_cpu_to_be_16(port));
	wrong += take_request(bindings, &second, &fresh) != displaced;
	for (unsigned i = 0; i < 2; i++)
		binding_release(bindings, first.family, first.protocol,
			rte_cpu_to_be_16((uint16_t)displaced));
	return wrong;
}

static void
test_many_workers(void)
{
	static struct thread threads[THREADS];
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	unsigned fresh = 0;
	unsigned wrong = 0;

	memset(threads, 0, sizeof(threads));
	for (unsigned i = 0; i < THREADS; i++) {
		threads[i].bindings = bindings;
		threads[i].seed = 77 + i;
		CU_ASSERT_EQUAL_FATAL(
			pthread_create(&threads[i].id, NULL, thread_main, &threads[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i].id, NULL);
		wrong += threads[i].wrong;
		fresh += threads[i].fresh;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(fresh > 10000);
	CU_ASSERT_EQUAL(books_check(bindings, threads), 0);
	for (unsigned i = 0; i < THREADS; i++)
		while (threads[i].count > 0)
			thread_release(&threads[i], 0);
	CU_ASSERT_EQUAL(books_check(bindings, threads), 0);
	for (unsigned kind = 0; kind < KINDS; kind++) {
		for (unsigned qube = 0; qube < QUBES; qube++)
			CU_ASSERT_EQUAL(balance[kind][qube], 0);
		CU_ASSERT_EQUAL(displacement_check(bindings, kind, 100), 0);
		CU_ASSERT_EQUAL(displacement_check(bindings, kind, 101), 0);
	}
	check_empty(bindings);
	binding_table_free(bindings);
}

/* Two workers that open the first flows of a pair at one moment get one binding, fresh for one. */
enum { MEETINGS = 20000 };

struct meeting {
	struct binding_table *bindings;
	_Atomic unsigned arrived[MEETINGS];
	int port[2][MEETINGS];
	bool fresh[2][MEETINGS];
};

struct visitor {
	pthread_t id;
	struct meeting *meeting;
	unsigned number;
};

static void *
visitor_main(void *argument)
{
	const struct visitor *visitor = argument;
	struct meeting *meeting = visitor->meeting;

	for (unsigned i = 0; i < MEETINGS; i++) {
		/* Every other pair's own port is taken. */
		struct binding_request request = request_of(
			FAMILY_IPV4, IPPROTO_UDP, QUBE(1 + i % 2), (uint16_t)(2000 + i / 2));

		atomic_fetch_add(&meeting->arrived[i], 1);
		for (unsigned spin = 1; atomic_load(&meeting->arrived[i]) < 2; spin++)
			if (spin % 4096 == 0) /* the other one may wait for this very core */
				sched_yield();
		/* Who came first hears of the other late: now one is ahead, now the other. */
		for (volatile unsigned wait = i * (7 + 4 * visitor->number) % 256; wait > 0;)
			wait = wait - 1;
		meeting->port[visitor->number][i] = take_request(
			meeting->bindings, &request, &meeting->fresh[visitor->number][i]);
	}
	return NULL;
}

static void
test_two_meet(void)
{
	static struct meeting meeting;
	struct visitor visitors[2];
	unsigned wrong = 0;

	memset(&meeting, 0, sizeof(meeting));
	meeting.bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	for (unsigned i = 0; i < 2; i++) {
		visitors[i] = (struct visitor){.meeting = &meeting, .number = i};
		CU_ASSERT_EQUAL_FATAL(
			pthread_create(&visitors[i].id, NULL, visitor_main, &visitors[i]), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(visitors[i].id, NULL);
	for (unsigned i = 0; i < MEETINGS; i++) {
		wrong += meeting.port[0][i] != meeting.port[1][i] || meeting.port[0][i] < 1024;
		wrong += meeting.fresh[0][i] == meeting.fresh[1][i];
		for (unsigned j = 0; j < 2; j++)
			wrong += release(meeting.bindings, IPPROTO_UDP, meeting.port[0][i]) !=
				 (j == 0 ? QUBE_NONE : QUBE(1 + i % 2));
	}
	for (unsigned i = 0; i < MEETINGS; i += 2)
		wrong += displacement_check(meeting.bindings, 0, (uint16_t)(2000 + i / 2));
	CU_ASSERT_EQUAL(wrong, 0);
	check_empty(meeting.bindings);
	binding_table_free(meeting.bindings);
}

static struct tuple
tcp_reply(uint32_t remote, uint16_t remote_port, uint16_t port)
{
	return (struct tuple){.source = address_v4(rte_cpu_to_be_32(remote)),
		.destination = address_v4(rte_cpu_to_be_32(0xc0a83201)),
		.source_port = rte_cpu_to_be_16(remote_port),
		.destination_port = rte_cpu_to_be_16(port),
		.protocol = IPPROTO_TCP,
		.family = FAMILY_IPV4};
}

static struct tuple
tcp_original(uint32_t qube, uint16_t port, const struct tuple *reply)
{
	struct tuple original = *reply;

	original.source.v4 = QUBE(qube);
	original.destination = reply->source;
	original.source_port = rte_cpu_to_be_16(port);
	original.destination_port = reply->source_port;
	return original;
}

static void
test_tcp(void)
{
	struct flow_table *table = flow_table_create(70000, &secret, 0, SOCKET_ID_ANY);
	static bool seen[65536];
	unsigned refused = 0;

	memset(seen, 0, sizeof(seen));
	/* Everybody wants port 40000 towards one server: the first keeps it. */
	for (uint32_t qube = 0; qube < 60500; qube++) {
		struct tuple reply = tcp_reply(0xc6336401, 443, 40000);
		struct tuple original = tcp_original(qube, 40000, &reply);
		uint16_t port;

		if (binding_tcp(table, &secret, NULL, &reply) != 0) {
			refused++;
			continue;
		}
		port = rte_be_to_cpu_16(reply.destination_port);
		CU_ASSERT_EQUAL(port == 40000, qube == 0);
		CU_ASSERT(port >= 1024);
		CU_ASSERT_FALSE(seen[port]);
		seen[port] = true;
		CU_ASSERT_PTR_NOT_NULL_FATAL(flow_open(table, &original, &reply, 0));
	}
	CU_ASSERT(refused <= 2); /* once in 10,000 near the end; a client tries again */
	/* Towards another address or another port the same port is free again. */
	for (unsigned i = 0; i < 2; i++) {
		struct tuple reply = tcp_reply(0xc6336401 + i, i == 0 ? 80 : 443, 40000);

		CU_ASSERT_EQUAL(binding_tcp(table, &secret, NULL, &reply), 0);
		CU_ASSERT_EQUAL(rte_be_to_cpu_16(reply.destination_port), 40000);
	}
	flow_table_free(table);
}

/* The random ports of a table under @p key, for qubes that all want port 40000. */
static void
tcp_ports(const struct flow_secret *key, uint16_t *ports, unsigned count)
{
	struct flow_table *table = flow_table_create(count, key, 0, SOCKET_ID_ANY);

	for (uint32_t qube = 0; qube < count; qube++) {
		struct tuple reply = tcp_reply(0xc6336401, 443, 40000);
		struct tuple original = tcp_original(qube, 40000, &reply);

		CU_ASSERT_EQUAL(binding_tcp(table, key, NULL, &reply), 0);
		ports[qube] = rte_be_to_cpu_16(reply.destination_port);
		CU_ASSERT_PTR_NOT_NULL_FATAL(flow_open(table, &original, &reply, 0));
	}
	flow_table_free(table);
}

/* RFC 6056: spread evenly over 1024-65535, other ports with every secret. */
static void
test_tcp_choice_is_keyed(void)
{
	enum { CHOICES = 4096, CELLS = 16 };
	static uint16_t one[CHOICES], two[CHOICES];
	unsigned cells[CELLS] = {0};
	unsigned same = 0;
	unsigned near = 0;

	tcp_ports(&secret, one, CHOICES);
	tcp_ports(&other_secret, two, CHOICES);
	for (unsigned i = 1; i < CHOICES; i++) {
		CU_ASSERT(one[i] >= 1024);
		cells[(one[i] - 1024u) * CELLS / (65536 - 1024)]++;
		same += one[i] == two[i];
		near += (uint16_t)(one[i] - one[i - 1] + 16) <= 32; /* no counting up or down */
	}
	CU_ASSERT(same < 8);
	CU_ASSERT(near < 16);
	for (unsigned i = 0; i < CELLS; i++)
		CU_ASSERT(cells[i] > CHOICES / CELLS - 80 && cells[i] < CHOICES / CELLS + 80);
}

/* Port shadowing, CVE-2021-3773. */
static void
test_reserved_tcp(void)
{
	static struct port_set reserved;
	struct flow_table *table = flow_table_create(2000, &secret, 0, SOCKET_ID_ANY);
	unsigned wrong = 0;

	memset(&reserved, 0, sizeof(reserved));
	reserve(&reserved, 22, 22);
	reserve(&reserved, 2000, 62000);
	for (uint32_t qube = 0; qube < 1000; qube++) {
		uint16_t wanted = qube % 2 == 0 ? 22 : (uint16_t)(30000 + qube);
		struct tuple reply = tcp_reply(0xc6336401, 443, wanted);
		struct tuple original = tcp_original(qube, wanted, &reply);
		uint16_t port;

		CU_ASSERT_EQUAL(binding_tcp(table, &secret, &reserved, &reply), 0);
		port = rte_be_to_cpu_16(reply.destination_port);
		wrong += port_set_has(&reserved, port) || port < 1024;
		CU_ASSERT_PTR_NOT_NULL_FATAL(flow_open(table, &original, &reply, 0));
	}
	CU_ASSERT_EQUAL(wrong, 0);
	/* What is not reserved is kept, below 1024 too; 0 is nobody's. */
	for (unsigned i = 0; i < 2; i++) {
		struct tuple reply = tcp_reply(0xc6336402, 443, i == 0 ? 23 : 0);

		CU_ASSERT_EQUAL(binding_tcp(table, &secret, &reserved, &reply), 0);
		CU_ASSERT_EQUAL(rte_be_to_cpu_16(reply.destination_port) == 23, i == 0);
		CU_ASSERT_NOT_EQUAL(reply.destination_port, 0);
	}
	memset(&reserved, 0xff, sizeof(reserved));
	CU_ASSERT_EQUAL(
		binding_tcp(table, &secret, &reserved, &(struct tuple){.protocol = IPPROTO_TCP}),
		-EADDRINUSE);
	flow_table_free(table);
}

/* A million connections at once behind one address, to 17 servers: 58,823 each. */
static void
test_tcp_million(void)
{
	enum { FLOWS = 1000000, SERVERS = 17 };
	struct flow_table *table = flow_table_create(FLOWS, &secret, 0, SOCKET_ID_ANY);
	unsigned refused = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(table);
	for (uint32_t i = 0; i < FLOWS; i++) {
		/* 36 qubes with the ports a Linux client has */
		uint16_t wanted = (uint16_t)(32768 + i % 28232);
		struct tuple reply = tcp_reply(0xc6336401 + i % SERVERS, 443, wanted);
		struct tuple original = tcp_original(i / 28232, wanted, &reply);

		/* It opens only if the port is free. */
		if (binding_tcp(table, &secret, NULL, &reply) != 0 ||
			flow_open(table, &original, &reply, 0) == NULL)
			refused++;
	}
	CU_ASSERT(refused <= 5);
	flow_table_free(table);
}

static void
test_tcp_exhausted(void)
{
	struct flow_table *table = flow_table_create(70000, &secret, 0, SOCKET_ID_ANY);
	struct tuple reply = tcp_reply(0xc6336401, 443, 40000);

	for (unsigned port = 1024; port < 65536; port++) {
		struct tuple taken = tcp_reply(0xc6336401, 443, (uint16_t)port);
		struct tuple original = tcp_original(port, 40000, &taken);

		CU_ASSERT_PTR_NOT_NULL_FATAL(flow_open(table, &original, &taken, 0));
	}
	CU_ASSERT_EQUAL(binding_tcp(table, &secret, NULL, &reply), -EADDRINUSE);
	/* A low port is kept when free, though never chosen. */
	reply = tcp_reply(0xc6336401, 443, 22);
	CU_ASSERT_EQUAL(binding_tcp(table, &secret, NULL, &reply), 0);
	CU_ASSERT_EQUAL(rte_be_to_cpu_16(reply.destination_port), 22);
	flow_table_free(table);
}

/* What would be found, joined and begun, also without references that are given back; nothing is.
 */
static void
test_trial(void)
{
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	struct binding_trial trial = {.count = 0};
	struct binding_request first = {
		.family = FAMILY_IPV4, .protocol = IPPROTO_UDP, .qube = 1, .port = RTE_BE16(4000)};
	struct binding_request second = first;
	rte_be16_t external, expected;
	uint16_t qube;
	bool fresh;

	second.qube = 2;
	CU_ASSERT_EQUAL(binding_take(bindings, &first, &external, &fresh), 0);
	first.trial = second.trial = &trial;
	CU_ASSERT_EQUAL(binding_join(bindings, &first, &external), 0);
	CU_ASSERT_EQUAL(external, RTE_BE16(4000));
	CU_ASSERT_EQUAL(binding_join(bindings, &second, &external), -ENOENT);
	CU_ASSERT_EQUAL(binding_take(bindings, &second, &expected, &fresh), 0);
	CU_ASSERT(fresh && expected != RTE_BE16(4000));
	CU_ASSERT_FALSE(
		binding_is_last(bindings, FAMILY_IPV4, IPPROTO_UDP, RTE_BE16(4000), &trial));

	/* of another family or protocol: does not count */
	trial.count = 2;
	trial.given[0].family = FAMILY_IPV6;
	trial.given[0].protocol = IPPROTO_UDP;
	trial.given[1].protocol = IPPROTO_ICMP;
	trial.given[0].external = trial.given[1].external = RTE_BE16(4000);
	CU_ASSERT_EQUAL(binding_join(bindings, &first, &external), 0);
	trial.count = 1;
	trial.given[0].family = FAMILY_IPV4;
	CU_ASSERT_TRUE(binding_is_last(bindings, FAMILY_IPV4, IPPROTO_UDP, RTE_BE16(4000), &trial));
	CU_ASSERT_EQUAL(binding_join(bindings, &first, &external), -ENOENT);
	CU_ASSERT_EQUAL(binding_take(bindings, &second, &external, &fresh), 0);
	CU_ASSERT(fresh && external == RTE_BE16(4000));

	/* nothing of it has happened */
	CU_ASSERT_FALSE(
		binding_find(bindings, FAMILY_IPV4, IPPROTO_UDP, expected, &qube, &external));
	CU_ASSERT_TRUE(
		binding_find(bindings, FAMILY_IPV4, IPPROTO_UDP, RTE_BE16(4000), &qube, &external));
	CU_ASSERT_EQUAL(qube, 1);
	second.trial = NULL;
	CU_ASSERT_EQUAL(binding_take(bindings, &second, &external, &fresh), 0);
	CU_ASSERT(fresh && external == expected);
	CU_ASSERT_EQUAL(binding_release(bindings, FAMILY_IPV4, IPPROTO_UDP, RTE_BE16(4000)), 1);
	binding_table_free(bindings);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"keeps the port (RFC 4787 REQ-3)", test_keeps_the_port},
		{"same pair, same port (RFC 4787 REQ-1, RFC 5508 REQ-1)", test_same_pair_same_port},
		{"another port for the same pair", test_another_port},
		{"families and protocols", test_families},
		{"reserved UDP ports (CVE-2021-3773)", test_reserved_udp},
		{"join", test_join},
		{"trials", test_trial},
		{"fresh and release", test_fresh_and_release},
		{"exact ports after a restart (RFC 4787 REQ-1)", test_exact},
		{"displaced bindings are counted", test_displaced_is_counted},
		{"classes (RFC 4787 REQ-3)", test_classes},
		{"full class", test_full_class},
		{"crowded class (RFC 4787 REQ-11)", test_crowded_class},
		{"more flows than ports", test_many_references},
		{"choice is keyed (RFC 6056)", test_choice_is_keyed},
		{"random work", test_random_work},
		{"many workers", test_many_workers},
		{"two workers meet", test_two_meet},
		{"TCP shares ports between destinations", test_tcp},
		{"TCP choice is keyed (RFC 6056)", test_tcp_choice_is_keyed},
		{"reserved TCP ports (CVE-2021-3773)", test_reserved_tcp},
		{"a million TCP flows", test_tcp_million},
		{"TCP ports exhausted", test_tcp_exhausted},
	};

	unit_eal();
	return UNIT_RUN("binding", tests);
}
