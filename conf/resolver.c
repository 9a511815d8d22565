/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One list of hosts, sorted by name, each with a question per family; one timer for the earliest
 * question that is due, and one for what c-ares waits for.
 *
 * c-ares calls back in the midst of other calls to it, also when a channel is destroyed. So a
 * callback only notes what became of a question, hands the answer on and sets the timer; new
 * questions are asked from the timer alone.
 */
#include "conf/resolver.h"

#include <arpa/nameser.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ares.h>
#include <event2/event.h>
#include <rte_common.h>

/* How long c-ares waits for one resolver at first, and how often it asks all of them. */
#define TIMEOUT_MS 1000
#define TRIES 3
/* RFC 6891 section 6.2.5: fits everywhere */
#define EDNS_SIZE 1232

struct host;

struct question {
	struct host *host;
	enum dns_type type;
	uint64_t due_ms;
	uint64_t asked_ms; /* the last time; 0: never */
	uint32_t retry_ms; /* after the next answer without addresses */
	unsigned failed;
	bool pending;
	bool pending_failed; /* counted as one that failed the last time */
	bool asked;
	bool unheard; /* nobody said anything while it was waited for */
};

struct host {
	struct resolver *resolver;
	bool wanted;      /* else it is freed with the answers that it waits for */
	unsigned pending; /* questions that c-ares has */
	struct question question[FAMILIES];
	char name[NAME_TEXT_SIZE];
};

struct resolver {
	struct resolver_setup setup;
	ares_channel channel; /* NULL without servers */
	bool stopping;        /* callbacks of a channel that ends are no answers */
	unsigned server_count;
	rte_be32_t servers[RESOLVERS_MAX];
	uint32_t least_ms;
	unsigned host_count;
	struct host **hosts;              /* by name */
	unsigned pending, pending_failed; /* of these: of questions that failed the last time */
	uint64_t heard_ms;                /* when a resolver last said something */
	bool unheard;                     /* some question may be */
	struct event *due;                /* a question is */
	struct event *timeout;            /* of c-ares */
	/* its sockets: few, as all questions to one resolver share one */
	struct watched {
		struct watched *next;
		struct resolver *resolver;
		ares_socket_t socket;
		struct event *event;
	} * watched;
};

static uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void
timer_set(struct event *timer, uint64_t ms)
{
	const struct timeval after = {
		.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	event_add(timer, &after);
}

/* --- c-ares on libevent --- */

static void
channel_arm(struct resolver *resolver)
{
	struct timeval wait;

	if (resolver->channel == NULL || ares_timeout(resolver->channel, NULL, &wait) == NULL)
		event_del(resolver->timeout);
	else
		event_add(resolver->timeout, &wait);
}

static void
channel_timeout(evutil_socket_t fd, short events, void *context)
{
	struct resolver *resolver = context;

	(void)fd, (void)events;
	if (resolver->channel != NULL)
		ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	channel_arm(resolver);
}

static void
socket_ready(evutil_socket_t fd, short events, void *context)
{
	struct watched *watched = context;
	struct resolver *resolver = watched->resolver; /* it may end within the call */

	ares_process_fd(resolver->channel, (events & EV_READ) != 0 ? fd : ARES_SOCKET_BAD,
		(events & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
	channel_arm(resolver);
}

/* c-ares says what it waits for at a socket; nothing any more when it closes it. */
static void
socket_watch(void *context, ares_socket_t socket, int readable, int writable)
{
	struct resolver *resolver = context;
	struct watched **link = &resolver->watched;
	struct watched *watched;

	while (*link != NULL && (*link)->socket != socket)
		link = &(*link)->next;
	watched = *link;
	if (watched != NULL) {
		if (watched->event != NULL)
			event_free(watched->event);
		watched->event = NULL;
	}
	if (!readable && !writable) {
		if (watched != NULL) {
			*link = watched->next;
			free(watched);
		}
		return;
	}
	if (watched == NULL) {
		watched = calloc(1, sizeof(*watched));
		if (watched == NULL)
			return; /* as if nobody answered */
		watched->resolver = resolver;
		watched->socket = socket;
		watched->next = resolver->watched;
		resolver->watched = watched;
	}
	watched->event = event_new(resolver->setup.base, socket,
		(short)((readable ? EV_READ : 0) | (writable ? EV_WRITE : 0) | EV_PERSIST),
		socket_ready, watched);
	if (watched->event != NULL)
		event_add(watched->event, NULL);
}

/* --- questions --- */

/* Whether it may be asked now: those that failed leave half of the room to the others. */
static bool
question_fits(const struct resolver *resolver, const struct question *question)
{
	return !question->pending && resolver->pending < RESOLVE_PENDING &&
	       (question->failed == 0 || resolver->pending_failed < RESOLVE_PENDING / 2);
}

static void
due_arm(struct resolver *resolver)
{
	uint64_t now = now_ms();
	uint64_t next = UINT64_MAX;

	if (resolver->channel == NULL) {
		event_del(resolver->due);
		return;
	}
	/* With as many as may wait, an answer is waited for. */
	for (unsigned i = 0; i < resolver->host_count && resolver->pending < RESOLVE_PENDING; i++)
		for (unsigned family = 0; family < FAMILIES; family++) {
			const struct question *question = &resolver->hosts[i]->question[family];

			if (question_fits(resolver, question))
				next = RTE_MIN(next, question->due_ms);
		}
	if (next == UINT64_MAX)
		event_del(resolver->due);
	else
		timer_set(resolver->due, next > now ? next - now : 0);
}

/* There is an answer: have asked again what nobody said anything to. */
static void
resolver_heard(struct resolver *resolver)
{
	resolver->heard_ms = now_ms();
	if (!resolver->unheard)
		return;
	resolver->unheard = false;
	for (unsigned i = 0; i < resolver->host_count; i++)
		for (unsigned family = 0; family < FAMILIES; family++) {
			struct question *question = &resolver->hosts[i]->question[family];

			if (question->unheard)
				question->due_ms = RTE_MIN(question->due_ms, resolver->heard_ms);
			question->unheard = false;
		}
}

static void
question_failed(struct question *question)
{
	question->failed++;
	question->due_ms = now_ms() + question->retry_ms;
	question->retry_ms = RTE_MIN(question->retry_ms * 2, (uint32_t)RETRY_MOST_MS);
}

static void
question_answered(struct question *question, const struct dns_answer *answer)
{
	struct resolver *resolver = question->host->resolver;
	uint64_t wait_ms = (uint64_t)answer->ttl_s * 1000;

	wait_ms = RTE_MAX(wait_ms, (uint64_t)resolver->least_ms);
	wait_ms = RTE_MIN(wait_ms, (uint64_t)RESOLVE_MOST_S * 1000);
	question->failed = 0;
	question->retry_ms = RETRY_LEAST_MS;
	question->due_ms = now_ms() + wait_ms;
	resolver->setup.resolved(resolver->setup.context, question->host->name, answer);
}

static void
host_release(struct host *host)
{
	if (!host->wanted && host->pending == 0)
		free(host);
}

static void
question_done(void *context, int status, int repeats, unsigned char *bytes, int length)
{
	struct question *question = context;
	struct host *host = question->host;
	struct resolver *resolver = host->resolver;
	struct dns_answer answer;

	(void)repeats;
	question->pending = false;
	host->pending--;
	resolver->pending--;
	resolver->pending_failed -= question->pending_failed;
	if (host->wanted && !resolver->stopping) {
		question->asked = true;
		question->unheard =
			status == ARES_ETIMEOUT && resolver->heard_ms < question->asked_ms;
		resolver->unheard |= question->unheard;
		if (bytes != NULL)
			resolver_heard(resolver);
		/* c-ares has compared id, question and sender, not what it says. */
		if (bytes != NULL && length > 0 &&
			dns_answer_parse(bytes, (size_t)length, &answer) && answer.count != 0 &&
			strcmp(answer.question.name, host->name) == 0)
			question_answered(question, &answer);
		else
			question_failed(question);
		due_arm(resolver);
	}
	host_release(host);
}

static void
question_ask(struct question *question)
{
	struct host *host = question->host;

	question->pending = true;
	question->asked_ms = now_ms();
	question->pending_failed = question->failed != 0;
	host->pending++;
	host->resolver->pending++;
	host->resolver->pending_failed += question->pending_failed;
	/* which may call back before it returns */
	ares_query(host->resolver->channel, host->name, ns_c_in, question->type, question_done,
		question);
}

static void
questions_due(evutil_socket_t fd, short events, void *context)
{
	struct resolver *resolver = context;
	uint64_t now = now_ms();

	(void)fd, (void)events;
	for (unsigned i = 0; i < resolver->host_count; i++)
		for (unsigned family = 0; family < FAMILIES; family++) {
			struct question *question = &resolver->hosts[i]->question[family];

			if (question_fits(resolver, question) && question->due_ms <= now &&
				resolver->channel != NULL)
				question_ask(question);
		}
	channel_arm(resolver);
	due_arm(resolver);
}

/* --- servers --- */

static void
channel_close(struct resolver *resolver)
{
	if (resolver->channel == NULL)
		return;
	resolver->stopping = true;
	ares_destroy(resolver->channel);
	resolver->stopping = false;
	resolver->channel = NULL;
	while (resolver->watched != NULL)
		socket_watch(resolver, resolver->watched->socket, 0, 0);
}

static int
channel_open(struct resolver *resolver)
{
	static char lookups[] = "b";
	struct in_addr servers[RESOLVERS_MAX];
	struct ares_options options = {
		.flags =
			ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_IGNTC | ARES_FLAG_EDNS,
		.timeout = (int)(resolver->setup.timeout_ms != 0 ? resolver->setup.timeout_ms
								 : TIMEOUT_MS),
		.tries = TRIES,
		.udp_port = resolver->setup.port != 0 ? resolver->setup.port : 53,
		.servers = servers,
		.nservers = (int)resolver->server_count,
		.lookups = lookups,
		.ednspsz = EDNS_SIZE,
		.sock_state_cb = socket_watch,
		.sock_state_cb_data = resolver,
	};
	int status;

	for (unsigned i = 0; i < resolver->server_count; i++)
		servers[i].s_addr = resolver->servers[i];
	/* c-ares takes this one port in host order, by its own account. */
	status = ares_init_options(&resolver->channel, &options,
		ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_UDP_PORT |
			ARES_OPT_SERVERS | ARES_OPT_LOOKUPS | ARES_OPT_EDNSPSZ |
			ARES_OPT_SOCK_STATE_CB);
	if (status != ARES_SUCCESS) {
		resolver->channel = NULL;
		return -ENOMEM;
	}
	if (resolver->setup.sockets != NULL)
		ares_set_socket_functions(resolver->channel, resolver->setup.sockets,
			resolver->setup.sockets_context);
	return 0;
}

static void
question_begin(struct question *question, uint64_t due_ms)
{
	question->due_ms = due_ms;
	question->retry_ms = RETRY_LEAST_MS;
	question->failed = 0;
	question->unheard = false;
}

int
resolver_servers_set(struct resolver *resolver, const rte_be32_t *servers, unsigned count)
{
	uint64_t now = now_ms();
	int error = 0;

	count = RTE_MIN(count, (unsigned)RESOLVERS_MAX);
	/* none may be no array at all */
	if (count == resolver->server_count &&
		(count == 0 ||
			(memcmp(servers, resolver->servers, count * sizeof(servers[0])) == 0 &&
				resolver->channel != NULL)))
		return 0;
	channel_close(resolver);
	resolver->server_count = count;
	if (count != 0) {
		memcpy(resolver->servers, servers, count * sizeof(servers[0]));
		error = channel_open(resolver);
	}
	for (unsigned i = 0; i < resolver->host_count; i++)
		for (unsigned family = 0; family < FAMILIES; family++)
			question_begin(&resolver->hosts[i]->question[family], now);
	channel_arm(resolver);
	due_arm(resolver);
	return error;
}

/* --- names --- */

static int
text_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int
host_compare(const void *key, const void *element)
{
	return strcmp(key, (*(struct host *const *)element)->name);
}

static struct host *
host_find(const struct resolver *resolver, const char *name)
{
	struct host *const *found = resolver->host_count == 0
					    ? NULL
					    : bsearch(name, resolver->hosts, resolver->host_count,
						      sizeof(resolver->hosts[0]), host_compare);

	return found != NULL ? *found : NULL;
}

static struct host *
host_new(struct resolver *resolver, const char *name)
{
	struct host *host = calloc(1, sizeof(*host));
	uint64_t now = now_ms();

	if (host == NULL)
		return NULL;
	host->resolver = resolver;
	snprintf(host->name, sizeof(host->name), "%s", name);
	for (unsigned family = 0; family < FAMILIES; family++) {
		host->question[family].host = host;
		host->question[family].type = family == FAMILY_IPV4 ? DNS_TYPE_A : DNS_TYPE_AAAA;
		question_begin(&host->question[family], now);
	}
	return host;
}

int
resolver_names_set(
	struct resolver *resolver, const char *const *names, unsigned count, uint32_t least_ms)
{
	const char **sorted = calloc(count + 1, sizeof(*sorted));
	struct host **hosts = calloc(count + 1, sizeof(struct host *));
	unsigned found = 0;

	if (sorted == NULL || hosts == NULL)
		goto no_memory;
	memcpy(sorted, names, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), text_compare);
	for (unsigned i = 0; i < count; i++) {
		if (!name_is_sound(sorted[i]) || (i > 0 && strcmp(sorted[i], sorted[i - 1]) == 0))
			continue;
		hosts[found] = host_find(resolver, sorted[i]);
		if (hosts[found] == NULL)
			hosts[found] = host_new(resolver, sorted[i]);
		if (hosts[found] == NULL)
			goto no_memory;
		found++;
	}
	for (unsigned i = 0; i < resolver->host_count; i++)
		resolver->hosts[i]->wanted = false;
	for (unsigned i = 0; i < found; i++)
		hosts[i]->wanted = true;
	for (unsigned i = 0; i < resolver->host_count; i++)
		host_release(resolver->hosts[i]);
	free(resolver->hosts);
	free(sorted);
	resolver->hosts = hosts;
	resolver->host_count = found;
	resolver->least_ms = RTE_MAX(least_ms, RESOLVE_LEAST_S * UINT32_C(1000));
	due_arm(resolver);
	return 0;

no_memory:
	for (unsigned i = 0; hosts != NULL && i < found; i++)
		if (!hosts[i]->wanted)
			free(hosts[i]);
	free(sorted);
	free(hosts);
	return -ENOMEM;
}

void
resolver_ask(struct resolver *resolver, const char *name)
{
	struct host *host = host_find(resolver, name);

	if (host == NULL)
		return;
	for (unsigned family = 0; family < FAMILIES; family++) {
		struct question *question = &host->question[family];
		uint64_t next_ms = now_ms();

		if (question->asked_ms != 0)
			next_ms = RTE_MAX(next_ms, question->asked_ms + RESOLVE_LEAST_S * 1000);
		question->due_ms = RTE_MIN(question->due_ms, next_ms);
	}
	/* It finds out by itself what it has to wait for. */
	if (resolver->channel != NULL)
		timer_set(resolver->due, 0);
}

bool
resolver_state(const struct resolver *resolver, const char *name, enum family family,
	struct resolver_state *state)
{
	const struct host *host = host_find(resolver, name);
	const struct question *question;
	uint64_t now = now_ms();

	if (host == NULL)
		return false;
	question = &host->question[family];
	*state = (struct resolver_state){
		.asked = question->asked,
		.failed = question->failed,
		.next_s = question->due_ms > now ? (uint32_t)((question->due_ms - now + 999) / 1000)
						 : 0,
	};
	return true;
}

/* --- all of it --- */

int
resolver_create(const struct resolver_setup *setup, struct resolver **out)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));

	if (resolver == NULL || ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
		free(resolver);
		return -ENOMEM;
	}
	resolver->setup = *setup;
	resolver->least_ms = RESOLVE_LEAST_S * 1000;
	resolver->due = evtimer_new(setup->base, questions_due, resolver);
	resolver->timeout = evtimer_new(setup->base, channel_timeout, resolver);
	if (resolver->due == NULL || resolver->timeout == NULL) {
		resolver_free(resolver);
		return -ENOMEM;
	}
	*out = resolver;
	return 0;
}

void
resolver_free(struct resolver *resolver)
{
	if (resolver == NULL)
		return;
	channel_close(resolver);
	for (unsigned i = 0; i < resolver->host_count; i++)
		free(resolver->hosts[i]);
	free(resolver->hosts);
	if (resolver->due != NULL)
		event_free(resolver->due);
	if (resolver->timeout != NULL)
		event_free(resolver->timeout);
	free(resolver);
	ares_library_cleanup();
}
