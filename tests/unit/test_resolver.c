/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asking for names, against a resolver in the same event loop that answers as it is told: what is
 * asked when, that one bad name keeps no other waiting, and that nothing is left when it ends.
 */
#include "conf/resolver.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <rte_byteorder.h>
#include <rte_common.h>

#define NAMES 8

/* What the resolver says of a name. */
struct entry {
	const char *name;
	const char *address; /* NULL: does not exist; "": says nothing at all */
	uint32_t ttl_s;
	unsigned asked; /* for A */
};

static struct event_base *base;
static struct entry entries[NAMES];
static unsigned unknown; /* questions for other names */
static int server;
static struct event *server_event;
static uint16_t port;
static bool forged; /* answers are for another name */
static unsigned timeout_ms;

/* What was found out. */
static unsigned found;
static char found_name[NAME_TEXT_SIZE];
static rte_be32_t found_address;

static struct entry *
entry_find(const char *name)
{
	for (unsigned i = 0; i < NAMES; i++)
		if (entries[i].name != NULL && strcmp(entries[i].name, name) == 0)
			return &entries[i];
	return NULL;
}

static void
server_answer(evutil_socket_t fd, short events, void *context)
{
	uint8_t message[DNS_MESSAGE_MAX];
	struct sockaddr_in from;
	socklen_t from_length = sizeof(from);
	ssize_t length = recvfrom(
		(int)fd, message, sizeof(message), 0, (struct sockaddr *)&from, &from_length);
	struct dns_question question;
	struct entry *entry;
	size_t end = 12;

	(void)events, (void)context;
	CU_ASSERT_TRUE_FATAL(length > 0 && dns_query_parse(message, (size_t)length, &question));
	entry = entry_find(question.name);
	unknown += entry == NULL;
	if (entry == NULL)
		return;
	entry->asked += question.type == DNS_TYPE_A;
	if (entry->address != NULL && entry->address[0] == '\0')
		return;
	while (message[end] != 0)
		end += message[end] + 1u;
	end += 5;
	message[2] = 0x81;
	message[3] = entry->address == NULL ? 0x83 : 0x80;
	memset(message + 6, 0, 6);
	if (forged)
		message[13] ^= 1;
	if (entry->address != NULL && question.type == DNS_TYPE_A) {
		static const uint8_t head[] = {0xc0, 12, 0, 1, 0, 1};

		message[7] = 1;
		memcpy(message + end, head, sizeof(head));
		memcpy(message + end + 6, &(rte_be32_t){rte_cpu_to_be_32(entry->ttl_s)}, 4);
		message[end + 10] = 0;
		message[end + 11] = 4;
		inet_pton(AF_INET, entry->address, message + end + 12);
		end += 16;
	}
	sendto((int)fd, message, end, 0, (const struct sockaddr *)&from, from_length);
}

static void
hear(void *context, const char *name, const struct dns_answer *answer)
{
	(void)context;
	found++;
	snprintf(found_name, sizeof(found_name), "%s", name);
	found_address = answer->addresses[0].v4;
}

static void
stop(evutil_socket_t fd, short events, void *context)
{
	(void)fd, (void)events, (void)context;
	event_base_loopbreak(base);
}

static void
run_ms(unsigned ms)
{
	const struct timeval after = {
		.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

	event_base_once(base, -1, EV_TIMEOUT, stop, NULL, &after);
	event_base_dispatch(base);
}

/* Run until a name was asked so often, or for as long as that may take on a busy machine. */
static bool
run_until(const unsigned *count, unsigned wanted, unsigned ms)
{
	for (unsigned i = 0; i < ms / 20 && *count < wanted; i++)
		run_ms(20);
	return *count >= wanted;
}

static struct resolver *
begin(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	struct resolver_setup setup = {.resolved = hear, .timeout_ms = timeout_ms};
	struct resolver *resolver = NULL;

	memset(entries, 0, sizeof(entries));
	unknown = found = 0;
	forged = false;
	base = event_base_new();
	server = socket(AF_INET, SOCK_DGRAM, 0);
	CU_ASSERT_EQUAL_FATAL(bind(server, (struct sockaddr *)&address, sizeof(address)), 0);
	CU_ASSERT_EQUAL_FATAL(getsockname(server, (struct sockaddr *)&address, &length), 0);
	port = ntohs(address.sin_port);
	server_event = event_new(base, server, EV_READ | EV_PERSIST, server_answer, NULL);
	event_add(server_event, NULL);
	setup.base = base;
	setup.port = port;
	CU_ASSERT_EQUAL_FATAL(resolver_create(&setup, &resolver), 0);
	return resolver;
}

static void
end(struct resolver *resolver)
{
	resolver_free(resolver);
	event_free(server_event);
	close(server);
	event_base_free(base);
}

static void
ask_loopback(struct resolver *resolver)
{
	rte_be32_t loopback = RTE_BE32(UINT32_C(0x7f000001));

	CU_ASSERT_EQUAL(resolver_servers_set(resolver, &loopback, 1), 0);
}

static void
test_asks(void)
{
	static const char *const names[] = {
		"b.test", "a.test", "", ".", "..", "a..b", "a.test", "silent.test", "gone.test"};
	struct resolver *resolver = begin();
	struct resolver_state state;

	entries[0] = (struct entry){"a.test", "192.0.2.1", 300, 0};
	entries[1] = (struct entry){"b.test", "192.0.2.2", 300, 0};
	entries[2] = (struct entry){"silent.test", "", 0, 0};
	entries[3] = (struct entry){"gone.test", NULL, 0, 0};
	CU_ASSERT_EQUAL(resolver_names_set(resolver, names, RTE_DIM(names), 1000), 0);
	run_ms(100);
	CU_ASSERT_EQUAL(entries[0].asked, 0); /* nobody to ask */
	ask_loopback(resolver);
	CU_ASSERT_TRUE(run_until(&found, 2, 3000));
	CU_ASSERT_EQUAL(entries[0].asked, 1);
	CU_ASSERT_EQUAL(entries[1].asked, 1);
	CU_ASSERT_EQUAL(unknown, 0);
	CU_ASSERT_TRUE(resolver_state(resolver, "a.test", FAMILY_IPV4, &state));
	CU_ASSERT_EQUAL(state.failed, 0);
	CU_ASSERT_TRUE(state.next_s > 290 && state.next_s <= 300);
	CU_ASSERT_FALSE(resolver_state(resolver, "a..b", FAMILY_IPV4, &state));
	/* what does not exist is asked for again, later and later */
	CU_ASSERT_TRUE(run_until(&entries[3].asked, 2, 4000));
	CU_ASSERT_TRUE(resolver_state(resolver, "gone.test", FAMILY_IPV4, &state));
	CU_ASSERT_TRUE(state.asked && state.failed >= 1);
	/* and found when it is there */
	entries[3].address = "192.0.2.9";
	CU_ASSERT_TRUE(run_until(&found, 3, 8000));
	CU_ASSERT_STRING_EQUAL(found_name, "gone.test");
	CU_ASSERT_EQUAL(found_address, RTE_BE32(UINT32_C(0xc0000209)));
	CU_ASSERT_EQUAL(entries[0].asked, 1);
	end(resolver);
}

/* By its TTL, but not more often than allowed; and not at all when nobody names it any more. */
static void
test_again(void)
{
	static const char *const names[] = {"a.test", "b.test"};
	struct resolver *resolver = begin();
	unsigned asked;

	entries[0] = (struct entry){"a.test", "192.0.2.1", 0, 0};
	entries[1] = (struct entry){"b.test", "192.0.2.2", 3600 * 24, 0};
	resolver_names_set(resolver, names, 2, 1);
	ask_loopback(resolver);
	CU_ASSERT_TRUE(run_until(&entries[0].asked, 3, 8000));
	CU_ASSERT_EQUAL(entries[1].asked, 1);
	asked = entries[0].asked;
	run_ms(300);
	CU_ASSERT_TRUE(entries[0].asked <= asked + 1);
	/* another policy that names the same asks nothing */
	resolver_names_set(resolver, names, 2, 60000);
	run_ms(100);
	CU_ASSERT_EQUAL(entries[1].asked, 1);
	resolver_names_set(resolver, names + 1, 1, 60000);
	asked = entries[0].asked;
	run_ms(1300);
	CU_ASSERT_EQUAL(entries[0].asked, asked);
	/* another resolver is asked for everything */
	CU_ASSERT_EQUAL(resolver_servers_set(resolver, NULL, 0), 0);
	ask_loopback(resolver);
	CU_ASSERT_TRUE(run_until(&entries[1].asked, 2, 3000));
	end(resolver);
}

static void
test_forged(void)
{
	static const char *const names[] = {"a.test"};
	struct resolver *resolver = begin();

	entries[0] = (struct entry){"a.test", "192.0.2.1", 300, 0};
	forged = true;
	resolver_names_set(resolver, names, 1, 1000);
	ask_loopback(resolver);
	CU_ASSERT_TRUE(run_until(&entries[0].asked, 1, 3000));
	run_ms(200);
	CU_ASSERT_EQUAL(found, 0);
	end(resolver);
}

/* More names than may wait at once, all of them silent but one; ended in the midst of it. */
static void
test_many(void)
{
	static char texts[200][16];
	const char *names[RTE_DIM(texts) + 1];
	struct resolver *resolver = begin();

	for (unsigned i = 0; i < RTE_DIM(texts); i++) {
		snprintf(texts[i], sizeof(texts[i]), "n%u.test", i);
		names[i] = texts[i];
	}
	names[RTE_DIM(texts)] = "z.test";
	entries[0] = (struct entry){"z.test", "192.0.2.1", 300, 0};
	resolver_names_set(resolver, names, RTE_DIM(names), 1000);
	ask_loopback(resolver);
	run_ms(300);
	CU_ASSERT_TRUE(unknown >= 8 && unknown <= 4 * RESOLVE_PENDING);
	/* names go while c-ares still asks for them */
	resolver_names_set(resolver, names + RTE_DIM(texts), 1, 1000);
	run_ms(50);
	resolver_names_set(resolver, names, RTE_DIM(names), 1000);
	run_ms(50);
	end(resolver);
}

/* Before its time is over, but not twice in a second. */
static void
test_asks_now(void)
{
	static const char *const names[] = {"a.test"};
	struct resolver *resolver = begin();

	entries[0] = (struct entry){"a.test", "192.0.2.1", 3600, 0};
	resolver_names_set(resolver, names, 1, 1000);
	resolver_ask(resolver, "a.test"); /* nobody to ask */
	resolver_ask(resolver, "b.test");
	ask_loopback(resolver);
	CU_ASSERT_TRUE(run_until(&found, 1, 3000));
	resolver_ask(resolver, "a.test");
	resolver_ask(resolver, "a.test");
	run_ms(300);
	CU_ASSERT_EQUAL(entries[0].asked, 1);
	CU_ASSERT_TRUE(run_until(&found, 2, 3000));
	run_ms(1300);
	CU_ASSERT_EQUAL(entries[0].asked, 2);
	end(resolver);
}

/* A resolver that is back is asked at once what it was asked in vain while it was away. */
static void
test_back(void)
{
	static const char *const names[] = {"a.test", "b.test"};
	struct resolver *resolver;
	struct resolver_state state;

	timeout_ms = 50;
	resolver = begin();
	timeout_ms = 0;
	entries[0] = (struct entry){"a.test", "", 0, 0};
	entries[1] = (struct entry){"b.test", "192.0.2.2", 3600, 0};
	resolver_names_set(resolver, names, 1, 1000);
	ask_loopback(resolver);
	for (unsigned i = 0; i < 500; i++) {
		CU_ASSERT_TRUE_FATAL(resolver_state(resolver, "a.test", FAMILY_IPV4, &state));
		if (state.failed == 3 && state.next_s >= 3)
			break;
		run_ms(20);
	}
	CU_ASSERT_EQUAL(state.failed, 3);
	CU_ASSERT_TRUE(state.next_s >= 3);
	entries[0].address = "192.0.2.1";
	resolver_names_set(resolver, names, 2, 1000);
	CU_ASSERT_TRUE(run_until(&found, 2, 1500));
	CU_ASSERT_EQUAL(entries[1].asked, 1);
	end(resolver);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"what can be asked for is asked for", test_asks},
		{"asked again by its TTL", test_again},
		{"answers to other questions", test_forged},
		{"many that do not answer", test_many},
		{"asked again at once", test_asks_now},
		{"a resolver that comes back", test_back},
	};

	return UNIT_RUN("resolver", tests);
}
