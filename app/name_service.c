/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/name_service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <rte_common.h>

#include "app/event.h"
#include "app/loop.h"
#include "app/own_socket.h"
#include "app/own_udp.h"
#include "app/source_qubesdb.h"
#include "conf/resolver.h"

#define LOOK_SECONDS 1

struct name_service {
	struct daemon *daemon;
	struct own_sockets *sockets;
	struct resolver *resolver;
	struct event *look;
	/* what stands in QubesDB, to be taken back when no rule names it any more */
	unsigned published_count;
	struct published {
		enum family family;
		union address address; /* of the qube */
		char name[NAME_TEXT_SIZE];
	} * published;
	/* of every table, by qube: what names_entered said, so that most looks are short */
	struct seen {
		const struct names *names;
		uint32_t entered;
	} seen[QUBES_MAX];
};

/* --- what is found out --- */

static void
resolved(void *context, const char *name, const struct dns_answer *answer)
{
	struct name_service *service = context;
	const struct policy *policy = daemon_policy(service->daemon);
	uint32_t now_ms = loop_now(service->daemon->loop);
	uint32_t life_ms = answer->ttl_s * 1000 + policy->timeouts->ms[TIMEOUT_NAME];

	for (unsigned i = 0; i < policy->qube_count; i++) {
		const struct rules *rules = policy->qubes[i].rules;

		if (rules->names != NULL)
			names_learn(rules->names, name_index_find(rules->name_index, name),
				answer->family, answer->addresses, answer->count, now_ms, life_ms);
	}
}

/* --- what is told --- */

/* One name of one qube while its addresses are gathered. */
struct gathering {
	uint16_t id;
	unsigned count;
	struct name_address *addresses;
};

static void
gather(void *context, const struct name_address *address)
{
	struct gathering *gathering = context;

	if (address->id != gathering->id || gathering->count == NAME_ADDRESSES_MAX)
		return;
	/* IPv4 first, else as they come */
	if (address->family == FAMILY_IPV4) {
		unsigned at = 0;

		while (at < gathering->count && gathering->addresses[at].family == FAMILY_IPV4)
			at++;
		memmove(&gathering->addresses[at + 1], &gathering->addresses[at],
			(gathering->count - at) * sizeof(*address));
		gathering->addresses[at] = *address;
	} else {
		gathering->addresses[gathering->count] = *address;
	}
	gathering->count++;
}

unsigned
name_service_addresses(const struct daemon *daemon, const struct rules *rules, const char *name,
	struct name_address *addresses)
{
	struct gathering gathering = {.addresses = addresses};
	unsigned live = 0;

	if (rules == NULL || rules->names == NULL)
		return 0;
	gathering.id = name_index_find(rules->name_index, name);
	if (gathering.id == 0)
		return 0;
	names_walk(rules->names, daemon->loop != NULL ? loop_now(daemon->loop) : 0, gather,
		&gathering);
	for (unsigned i = 0; i < gathering.count; i++)
		if (addresses[i].left_ms != 0)
			addresses[live++] = addresses[i];
	return live;
}

/* News of one qube. */
struct news {
	struct name_service *service;
	uint16_t qube;
	const struct rules *rules;
	unsigned count;
	uint16_t told[QUBE_NAMES_MAX]; /* names that have some */
};

static void
news_hear(void *context, const struct name_address *address)
{
	struct news *news = context;
	const struct policy *policy = daemon_policy(news->service->daemon);
	const char *name = name_index_text(news->rules->name_index, address->id);
	const char *qube = policy->qubes[news->qube].name;
	char text[ADDRESS_TEXT_SIZE];
	bool known = false;

	if (name == NULL)
		return;
	address_format(text, address->family, &address->address);
	if (event_wanted(news->service->daemon, "name"))
		event_emit(news->service->daemon, "name",
			json_pack("{s:o, s:s, s:s, s:s}", "text",
				json_sprintf("%s, a name in the rules of qube %s, has the address "
					     "%s now",
					name, qube, text),
				"qube", qube, "name", name, "address", text));
	for (unsigned i = 0; i < news->count && !known; i++)
		known = news->told[i] == address->id;
	if (!known && news->count < QUBE_NAMES_MAX)
		news->told[news->count++] = address->id;
}

/* --- QubesDB --- */

static struct published *
published_find(const struct name_service *service, enum family family, const union address *address,
	const char *name)
{
	for (unsigned i = 0; i < service->published_count; i++) {
		struct published *published = &service->published[i];

		if (published->family == family && address_equal(&published->address, address) &&
			strcmp(published->name, name) == 0)
			return published;
	}
	return NULL;
}

/* Remember that it stands there. @return false without memory: then it must not */
static bool
published_note(struct name_service *service, enum family family, const union address *address,
	const char *name)
{
	struct published *more;

	if (published_find(service, family, address, name) != NULL)
		return true;
	more = realloc(service->published, (service->published_count + 1) * sizeof(*more));
	if (more == NULL)
		return false;
	service->published = more;
	more += service->published_count++;
	more->family = family;
	more->address = *address;
	snprintf(more->name, sizeof(more->name), "%s", name);
	return true;
}

/* Every tree has the addresses of its own family, as in the rules it is made of. */
static void
publish(struct name_service *service, const struct qube *qube, const char *name)
{
	struct name_address addresses[NAME_ADDRESSES_MAX];
	struct published_address published[NAME_ADDRESSES_MAX];
	unsigned count = name_service_addresses(service->daemon, qube->rules, name, addresses);

	for (unsigned family = 0; family < FAMILIES; family++) {
		unsigned used = 0;

		for (unsigned i = 0; i < count; i++)
			if (addresses[i].family == (enum family)family)
				published[used++] = (struct published_address){
					addresses[i].family, addresses[i].address};
		if (qube->has[family] && used != 0 &&
			published_note(service, family, &qube->address[family], name))
			source_qubesdb_names_publish(service->daemon, family,
				&qube->address[family], name, published, used);
	}
}

/* Whether a qube with that address has rules with that name. */
static bool
is_named(const struct policy *policy, const struct published *published)
{
	uint16_t qube;

	return policy_owner(policy, published->family, &published->address, &qube) == OWNER_QUBE &&
	       policy->qubes[qube].rules->name_index != NULL &&
	       name_index_find(policy->qubes[qube].rules->name_index, published->name) != 0;
}

static void
withdraw(struct name_service *service)
{
	const struct policy *policy = daemon_policy(service->daemon);
	unsigned kept = 0;

	for (unsigned i = 0; i < service->published_count; i++) {
		const struct published *published = &service->published[i];

		if (is_named(policy, published))
			service->published[kept++] = *published;
		else
			source_qubesdb_names_publish(service->daemon, published->family,
				&published->address, published->name, NULL, 0);
	}
	service->published_count = kept;
}

static void
qube_look(struct name_service *service, uint16_t qube, const struct rules *rules, uint32_t now_ms)
{
	struct news news = {.service = service, .qube = qube, .rules = rules};

	names_news(rules->names, now_ms, news_hear, &news);
	for (unsigned i = 0; service->daemon->qubesdb != NULL && i < news.count; i++)
		publish(service, &daemon_policy(service->daemon)->qubes[qube],
			name_index_text(rules->name_index, news.told[i]));
}

static void
look(evutil_socket_t fd, short events, void *context)
{
	struct name_service *service = context;
	const struct policy *policy = daemon_policy(service->daemon);
	uint32_t now_ms = loop_now(service->daemon->loop);

	(void)fd, (void)events;
	for (unsigned i = 0; i < RTE_MIN(policy->qube_count, (unsigned)QUBES_MAX); i++) {
		const struct rules *rules = policy->qubes[i].rules;
		struct seen *seen = &service->seen[i];
		uint32_t entered;

		if (rules->names == NULL)
			continue;
		entered = names_entered(rules->names);
		if (seen->names == rules->names && seen->entered == entered)
			continue;
		*seen = (struct seen){rules->names, entered};
		qube_look(service, (uint16_t)i, rules, now_ms);
	}
}

/* --- what is asked for --- */

/*
 * Names that rules did not have before may have been asked for already, for another qube or for
 * rules of before: what was answered is not kept, so it is asked for again.
 */
static void
new_names_ask(const struct name_service *service, const struct policy *policy)
{
	for (unsigned i = 0; i < policy->qube_count; i++) {
		const struct rules *rules = policy->qubes[i].rules;
		uint32_t from;

		if (rules->names == NULL)
			continue;
		from = names_new_from(rules->names);
		for (unsigned j = 0; j < rules->name_index->count; j++)
			if (rules->name_index->names[j].id >= from)
				resolver_ask(service->resolver, rules->name_index->names[j].text);
	}
}

void
name_service_policy(struct name_service *service)
{
	const struct policy *policy;
	const char **names;
	unsigned count = 0, used = 0;
	int error = -ENOMEM;

	if (service == NULL || service->resolver == NULL)
		return;
	policy = daemon_policy(service->daemon);
	withdraw(service);
	for (unsigned i = 0; i < policy->qube_count; i++)
		if (policy->qubes[i].rules->name_index != NULL)
			count += policy->qubes[i].rules->name_index->count;
	names = calloc(count + 1, sizeof(*names));
	for (unsigned i = 0; names != NULL && i < policy->qube_count; i++) {
		const struct name_index *index = policy->qubes[i].rules->name_index;

		for (unsigned j = 0; index != NULL && j < index->count; j++)
			names[used++] = index->names[j].text;
	}
	/* Asked for again before it is over: half of what it lasts beyond its TTL. */
	if (names != NULL)
		error = resolver_names_set(
			service->resolver, names, count, policy->timeouts->ms[TIMEOUT_NAME] / 2);
	if (error == 0)
		error = resolver_servers_set(
			service->resolver, policy->resolver, policy->resolver_count);
	free(names);
	if (error == 0)
		new_names_ask(service, policy);
	else
		event_emit(service->daemon, "name",
			json_pack("{s:s}", "text",
				"out of memory: names of rules are not asked for as they should"));
}

bool
name_service_state(const struct name_service *service, const char *name, enum family family,
	struct resolver_state *state)
{
	return service != NULL && service->resolver != NULL &&
	       resolver_state(service->resolver, name, family, state);
}

int
name_service_create(struct daemon *daemon, const struct report *report, struct name_service **out)
{
	const struct timeval second = {.tv_sec = LOOK_SECONDS};
	struct name_service *service = calloc(1, sizeof(*service));
	int error = -ENOMEM;

	if (service != NULL) {
		const struct resolver_setup setup = {
			.base = daemon->base,
			.sockets = &own_socket_functions,
			.resolved = resolved,
			.context = service,
		};
		struct resolver_setup wanted = setup;

		service->daemon = daemon;
		error = own_sockets_create(daemon, &service->sockets);
		wanted.sockets_context = service->sockets;
		if (error == 0)
			error = resolver_create(&wanted, &service->resolver);
		service->look = event_new(daemon->base, -1, EV_PERSIST, look, service);
		if (error == 0 && (service->look == NULL || event_add(service->look, &second) != 0))
			error = -ENOMEM;
	}
	if (error != 0) {
		report_line(report, "names in rules cannot be resolved: %s", strerror(-error));
		name_service_stop(service);
		name_service_free(service);
		return error;
	}
	*out = service;
	name_service_policy(service);
	return 0;
}

void
name_service_stop(struct name_service *service)
{
	if (service == NULL)
		return;
	resolver_free(service->resolver);
	service->resolver = NULL;
	if (service->look != NULL)
		event_free(service->look);
	service->look = NULL;
}

void
name_service_free(struct name_service *service)
{
	if (service == NULL)
		return;
	own_sockets_free(service->sockets);
	free(service->published);
	free(service);
}
