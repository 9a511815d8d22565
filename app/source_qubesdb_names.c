/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What names in rules have been resolved to, written to /dns/QUBE/NAME for people to look at.
 *
 * It is kept here too, so that it can be written again when QubesDB comes back, and so that nothing
 * is written that is there already. The tree of a qube is taken away before the first name of it is
 * written: it may be that of an earlier run.
 */
#include "app/source_qubesdb_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/log.h"

/* Names of one qube; as many as it can have rules. */
#define NAMES_MAX RULES_MAX

struct published_name {
	LIST_ENTRY(published_name) next;
	char *host, *value;
};

/* What a qube has published. */
struct publication {
	LIST_ENTRY(publication) next;
	enum family family;
	union address address;
	unsigned count;
	LIST_HEAD(name_list, published_name) names;
};

/* @param host "" for all of them. @return whether it fits */
static bool
path_make(const struct publication *publication, const char *host, char path[QUBESDB_PATH_MAX + 1])
{
	char text[ADDRESS_TEXT_SIZE];
	int length = snprintf(path, QUBESDB_PATH_MAX + 1, "/dns/%s/%s",
		address_format(text, publication->family, &publication->address), host);

	return length <= QUBESDB_PATH_MAX && qubesdb_path_fits(path);
}

/* Addresses with a space between two; as many as fit. */
static char *
value_make(const struct published_address *addresses, unsigned count)
{
	char value[QUBESDB_VALUE_MAX + 1] = "", text[ADDRESS_TEXT_SIZE];
	size_t length = 0;

	for (unsigned i = 0; i < count; i++) {
		address_format(text, addresses[i].family, &addresses[i].address);
		if (length + 1 + strlen(text) > QUBESDB_VALUE_MAX)
			break;
		length += (size_t)snprintf(
			&value[length], sizeof(value) - length, "%s%s", i > 0 ? " " : "", text);
	}
	return strdup(value);
}

static void
name_free(struct publication *publication, struct published_name *name)
{
	LIST_REMOVE(name, next);
	publication->count--;
	free(name->host);
	free(name->value);
	free(name);
}

static void
publication_free(struct publication *publication)
{
	struct published_name *name = LIST_FIRST(&publication->names), *next;

	for (; name != NULL; name = next) {
		next = LIST_NEXT(name, next);
		name_free(publication, name);
	}
	LIST_REMOVE(publication, next);
	free(publication);
}

static void
publication_clear(const struct source_qubesdb *source, const struct publication *publication)
{
	char path[QUBESDB_PATH_MAX + 1];

	if (path_make(publication, "", path))
		(void)qubesdb_rm(source->db, path, NULL, NULL);
}

static struct publication *
publication_find(
	const struct source_qubesdb *source, enum family family, const union address *address)
{
	struct publication *publication;

	LIST_FOREACH (publication, &source->publications, next)
		if (publication->family == family && address_equal(&publication->address, address))
			return publication;
	return NULL;
}

static struct publication *
publication_new(struct source_qubesdb *source, enum family family, const union address *address)
{
	struct publication *publication = calloc(1, sizeof(*publication));

	if (publication == NULL)
		return NULL;
	publication->family = family;
	publication->address = *address;
	LIST_INIT(&publication->names);
	LIST_INSERT_HEAD(&source->publications, publication, next);
	publication_clear(source, publication);
	return publication;
}

static struct published_name *
name_find(const struct publication *publication, const char *host)
{
	struct published_name *name;

	LIST_FOREACH (name, &publication->names, next)
		if (strcmp(name->host, host) == 0)
			return name;
	return NULL;
}

/* @param value taken. @return whether this is something new */
static bool
name_set(struct publication *publication, const char *host, char *value)
{
	struct published_name *name = name_find(publication, host);

	if (name != NULL) {
		bool same = strcmp(name->value, value) == 0;

		free(name->value);
		name->value = value;
		return !same;
	}
	if (publication->count < NAMES_MAX)
		name = calloc(1, sizeof(*name));
	if (name != NULL)
		name->host = strdup(host);
	if (name == NULL || name->host == NULL) {
		free(name);
		free(value);
		return false;
	}
	name->value = value;
	LIST_INSERT_HEAD(&publication->names, name, next);
	publication->count++;
	return true;
}

static void
name_withdraw(struct source_qubesdb *source, struct publication *publication, const char *host)
{
	struct published_name *name = publication != NULL ? name_find(publication, host) : NULL;
	char path[QUBESDB_PATH_MAX + 1];

	if (name == NULL)
		return;
	if (path_make(publication, host, path))
		(void)qubesdb_rm(source->db, path, NULL, NULL);
	name_free(publication, name);
}

void
source_qubesdb_names_publish(struct daemon *daemon, enum family family,
	const union address *address, const char *host, const struct published_address *addresses,
	unsigned count)
{
	struct source_qubesdb *source = daemon->qubesdb;
	char path[QUBESDB_PATH_MAX + 1];
	struct publication *publication;
	char *value;

	if (source == NULL || host[0] == '\0')
		return;
	publication = publication_find(source, family, address);
	if (count == 0) {
		name_withdraw(source, publication, host);
		return;
	}
	if (publication == NULL)
		publication = publication_new(source, family, address);
	if (publication == NULL)
		return;
	if (!path_make(publication, host, path)) {
		if (!source->publication_refused)
			log_line("QubesDB: /dns/.../%.64s is over %u bytes, and is not published; "
				 "nor are others like it",
				host, QUBESDB_PATH_MAX);
		source->publication_refused = true;
		return;
	}
	value = value_make(addresses, count);
	if (value != NULL && name_set(publication, host, value))
		(void)qubesdb_write(source->db, path, value, NULL, NULL);
}

void
publications_begin(struct source_qubesdb *source)
{
	struct publication *publication;
	struct published_name *name;
	char path[QUBESDB_PATH_MAX + 1];

	LIST_FOREACH (publication, &source->publications, next) {
		publication_clear(source, publication);
		LIST_FOREACH (name, &publication->names, next)
			if (path_make(publication, name->host, path))
				(void)qubesdb_write(source->db, path, name->value, NULL, NULL);
	}
}

void
publications_drop(struct source_qubesdb *source, enum family family, const union address *address)
{
	struct publication *publication = publication_find(source, family, address);

	if (publication == NULL)
		return;
	publication_clear(source, publication);
	publication_free(publication);
}

void
publications_free(struct source_qubesdb *source)
{
	struct publication *publication = LIST_FIRST(&source->publications), *next;

	for (; publication != NULL; publication = next) {
		next = LIST_NEXT(publication, next);
		publication_free(publication);
	}
}
