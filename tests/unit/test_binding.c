/* SPDX-License-Identifier: BSD-3-Clause */
/* External ports: kept when free, one owner each, found again, given back, under many workers. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
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

/* The port, or -EADDRINUSE. */
static int
take(struct binding_table *bindings, uint8_t protocol, uint16_t qube, uint16_t port)
{
	struct binding_request request = {
		.protocol = protocol, .qube = qube, .port = rte_cpu_to_be_16(port)};
	rte_be16_t external = 0;
	bool fresh;
	int error = binding_take(bindings, &request, &external, &fresh);

	return error != 0 ? error : rte_be_to_cpu_16(external);
}

static void
release(struct binding_table *bindings, uint8_t protocol, int port)
{
	binding_release(bindings, FAMILY_IPV4, protocol, rte_cpu_to_be_16((uint16_t)port));
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

/* RFC 4787 REQ-1: all flows of one inside address and port share one external port. */
static void
test_same_pair_same_port(void)
{
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	int displaced;

	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(1), 40000), 40000);
	displaced = take(bindings, IPPROTO_UDP, QUBE(2), 40000);
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(2), 40000), displaced);
	/* Its own port becoming free does not split the mapping. */
	for (unsigned i = 0; i < 10; i++)
		release(bindings, IPPROTO_UDP, 40000);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(2), 40000), displaced);
	/* Nor does that keep others from it, who meanwhile see a displaced binding. */
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(3), 40000), 40000);
	/* The binding lives as long as its last flow. */
	for (unsigned i = 0; i < 11; i++)
		release(bindings, IPPROTO_UDP, displaced);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(2), 40000), displaced);
	release(bindings, IPPROTO_UDP, displaced);
	release(bindings, IPPROTO_UDP, displaced);
	release(bindings, IPPROTO_UDP, 40000);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(2), 40000), 40000);
	binding_table_free(bindings);
}

/* Two remotes of a pair that look the same from outside need two ports, and both are given back. */
static void
test_another_port(void)
{
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	rte_be16_t another[3] = {0};

	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(1), 40000), 40000);
	for (unsigned i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(binding_take_another(bindings,
					&(struct binding_request){.protocol = IPPROTO_UDP,
						.qube = QUBE(1),
						.port = rte_cpu_to_be_16(40000)},
					&another[i]),
			0);
		CU_ASSERT(rte_be_to_cpu_16(another[i]) >= 1024);
		CU_ASSERT_NOT_EQUAL(rte_be_to_cpu_16(another[i]), 40000);
		for (unsigned j = 0; j < i; j++)
			CU_ASSERT_NOT_EQUAL(another[i], another[j]);
	}
	/* everybody else still finds the first one, and nobody the others */
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(1), 40000), 40000);
	CU_ASSERT_NOT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(2), rte_be_to_cpu_16(another[0])),
		rte_be_to_cpu_16(another[0]));
	for (unsigned i = 0; i < 3; i++)
		release(bindings, IPPROTO_UDP, rte_be_to_cpu_16(another[i]));
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(3), rte_be_to_cpu_16(another[1])),
		rte_be_to_cpu_16(another[1]));
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

static void
test_references_do_not_overflow(void)
{
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	unsigned wrong = 0;

	for (unsigned i = 0; i < 65535; i++)
		wrong += take(bindings, IPPROTO_UDP, QUBE(1), 40000) != 40000;
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(1), 40000), -EADDRINUSE);
	release(bindings, IPPROTO_UDP, 40000);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(1), 40000), 40000);
	for (unsigned i = 0; i < 65535; i++) {
		wrong += take(bindings, IPPROTO_UDP, QUBE(2), 40000) == 40000;
		release(bindings, IPPROTO_UDP, 40000);
	}
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(3), 40000), 40000);
	/* One release too many harms nobody. */
	release(bindings, IPPROTO_UDP, 7777);
	CU_ASSERT_EQUAL(take(bindings, IPPROTO_UDP, QUBE(1), 7777), 7777);
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

/*
 * Random work against a model of one owner per port. Run alone it checks mappings exactly; run by
 * several threads, that no port is ever held by two pairs.
 */
enum { PAIRS = 96, HELD = 64 };

static _Atomic int owner[65536];     /* pair + 1 that holds the port */
static _Atomic unsigned held[65536]; /* by how many flows */
static _Atomic unsigned wrong_owners;

static void
hammer(struct binding_table *bindings, uint64_t seed, unsigned rounds)
{
	int ports[HELD], pairs[HELD];
	unsigned count = 0;

	for (unsigned round = 0; round < rounds && wrong_owners == 0; round++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		if (count < HELD && (count == 0 || (seed >> 33) % 2 == 0)) {
			/* Few ports wanted by many qubes, in the small class: collisions. */
			int pair = (int)((seed >> 40) % PAIRS);
			int port = take(
				bindings, IPPROTO_UDP, QUBE(pair / 4), (uint16_t)(100 + pair % 4));
			int expected;

			if (port < 0)
				continue;
			/*
			 * Held is counted up only while the binding is ours, and down before it is
			 * given back: whoever sees the port change hands sees the count at zero.
			 */
			if (atomic_fetch_add(&held[port], 1) == 0) {
				atomic_store(&owner[port], pair + 1);
			} else {
				expected = atomic_load(&owner[port]);
				/* Between count and store another thread may see the old one. */
				for (unsigned spin = 0; expected != pair + 1 && spin < 1000000;
					spin++)
					expected = atomic_load(&owner[port]);
				wrong_owners += expected != pair + 1;
			}
			ports[count] = port;
			pairs[count++] = pair;
		} else {
			unsigned which = (unsigned)((seed >> 40) % count);
			int port = ports[which];

			wrong_owners += atomic_load(&owner[port]) != pairs[which] + 1;
			atomic_fetch_sub(&held[port], 1);
			release(bindings, IPPROTO_UDP, port);
			count--;
			ports[which] = ports[count];
			pairs[which] = pairs[count];
		}
	}
	while (count-- > 0) {
		atomic_fetch_sub(&held[ports[count]], 1);
		release(bindings, IPPROTO_UDP, ports[count]);
	}
}

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

struct thread {
	pthread_t id;
	struct binding_table *bindings;
	uint64_t seed;
};

static void *
thread_main(void *argument)
{
	struct thread *thread = argument;

	hammer(thread->bindings, thread->seed, 200000);
	return NULL;
}

static void
test_many_workers(void)
{
	enum { THREADS = 4 };
	struct binding_table *bindings = binding_table_create(&secret, SOCKET_ID_ANY);
	struct thread threads[THREADS];
	unsigned still_held = 0;

	for (unsigned i = 0; i < THREADS; i++) {
		threads[i] = (struct thread){.bindings = bindings, .seed = 77 + i};
		CU_ASSERT_EQUAL_FATAL(
			pthread_create(&threads[i].id, NULL, thread_main, &threads[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i].id, NULL);
	for (unsigned port = 0; port < 65536; port++)
		still_held += held[port];
	CU_ASSERT_EQUAL(wrong_owners, 0);
	CU_ASSERT_EQUAL(still_held, 0);
	check_empty(bindings);
	binding_table_free(bindings);
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
	for (uint32_t qube = 0; qube < 50000; qube++) {
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
	CU_ASSERT_EQUAL(refused, 0);
	/* Towards another address or another port the same port is free again. */
	for (unsigned i = 0; i < 2; i++) {
		struct tuple reply = tcp_reply(0xc6336401 + i, i == 0 ? 80 : 443, 40000);

		CU_ASSERT_EQUAL(binding_tcp(table, &secret, NULL, &reply), 0);
		CU_ASSERT_EQUAL(rte_be_to_cpu_16(reply.destination_port), 40000);
	}
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

int
main(void)
{
	static const struct unit_test tests[] = {
		{"keeps the port (RFC 4787 REQ-3)", test_keeps_the_port},
		{"same pair, same port (RFC 4787 REQ-1)", test_same_pair_same_port},
		{"another port for the same pair", test_another_port},
		{"displaced bindings are counted", test_displaced_is_counted},
		{"classes (RFC 4787 REQ-3)", test_classes},
		{"full class", test_full_class},
		{"crowded class (RFC 4787 REQ-11)", test_crowded_class},
		{"references do not overflow", test_references_do_not_overflow},
		{"choice is keyed (RFC 6056)", test_choice_is_keyed},
		{"random work", test_random_work},
		{"many workers", test_many_workers},
		{"TCP shares ports between destinations", test_tcp},
		{"TCP ports exhausted", test_tcp_exhausted},
	};

	unit_eal();
	return UNIT_RUN("binding", tests);
}
