/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Forwards that were added over the control socket.
 *
 * They stand beside those of the configuration file, and no packet may have two to choose from. An
 * addition that would bring that about is refused and names the other one. The file may bring it
 * about later, when it is edited: then the file's forward is in force and the other one waits, and
 * everybody is told.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_common.h>

#include "conf/changes_internal.h"
#include "conf/forward_check.h"
#include "conf/value.h"

static const char *const family_name[FAMILIES] = {"IPv4", "IPv6"};

const struct forward_change *
changes_forward_find(const struct changes *changes, const char *name)
{
	for (unsigned i = 0; i < changes->forward_count; i++)
		if (strcmp(changes->forwards[i]->forward.name, name) == 0)
			return changes->forwards[i];
	return NULL;
}

static bool
is_over(const struct conf_forward *forward, uint64_t now_s)
{
	return forward->expire_s != 0 && forward->expire_s <= now_s;
}

static const struct conf_forward *
conf_forward_find(const struct conf *conf, const char *name)
{
	for (unsigned i = 0; i < conf->forward_count; i++)
		if (strcmp(conf->forwards[i].name, name) == 0)
			return &conf->forwards[i];
	return NULL;
}

/* A forward of the file that leaves no place for @p forward; NULL if there is none. */
static const struct conf_forward *
conf_forward_overlapping(
	const struct conf *conf, const struct conf_forward *forward, uint64_t now_s)
{
	for (unsigned i = 0; i < conf->forward_count; i++)
		if (!is_over(&conf->forwards[i], now_s) &&
			forwards_overlap(&conf->forwards[i], forward))
			return &conf->forwards[i];
	return NULL;
}

bool
changes_forward_stands(const struct conf *conf, const struct conf_forward *forward, uint64_t now_s,
	char *text, size_t text_size)
{
	const struct conf_qube *qube = conf_qube_find(conf, forward->qube);
	const struct conf_forward *other;
	char source[ADDRESS_TEXT_SIZE];
	char place[PLACE_SIZE];

	if (qube == NULL) {
		snprintf(text, text_size, "is for qube %s, which is not configured", forward->qube);
		return false;
	}
	if (forward->has_source && !qube->has[forward->source_family]) {
		snprintf(text, text_size, "is for %s, and qube %s has no %s address",
			prefix_format(source, forward->source_family, &forward->source), qube->name,
			family_name[forward->source_family]);
		return false;
	}
	other = conf_forward_find(conf, forward->name);
	if (other != NULL) {
		snprintf(text, text_size, "has the name of a forward at %s",
			conf_place(conf, other->line, place));
		return false;
	}
	other = conf_forward_overlapping(conf, forward, now_s);
	if (other != NULL) {
		snprintf(text, text_size, "overlaps [forward %s] at %s", other->name,
			conf_place(conf, other->line, place));
		return false;
	}
	return true;
}

void
changes_warn(const struct changes *changes, const struct conf *conf, uint64_t now_s,
	const struct report *report)
{
	unsigned forwards = conf->forward_count;
	char text[256];

	for (unsigned i = 0; i < changes->qube_count; i++)
		if (conf_qube_find(conf, changes->qubes[i]->qube) == NULL)
			report_line(report,
				"changed rules of qube %s are not in force: it is not configured",
				changes->qubes[i]->qube);
	for (unsigned i = 0; i < changes->forward_count; i++) {
		const struct conf_forward *forward = &changes->forwards[i]->forward;

		if (!changes_forward_stands(conf, forward, now_s, text, sizeof(text)))
			report_line(
				report, "forward %s is not in force: it %s", forward->name, text);
		else if (++forwards > FORWARDS_MAX)
			report_line(report, "forward %s is not in force: there are %u others",
				forward->name, FORWARDS_MAX);
	}
}

/* Adding. */

static int
name_choose(const struct changes *changes, const struct change_scope *scope,
	struct conf_forward *forward, struct change_error *error)
{
	char reason[REASON_SIZE];
	bool given = forward->name[0] != '\0';

	if (given && !value_name(forward->name, reason))
		return change_refuse(error, -EINVAL, "name", "\"%.64s\" %s", forward->name, reason);
	if (given && (conf_forward_find(scope->conf, forward->name) != NULL ||
			     changes_forward_find(changes, forward->name) != NULL))
		return change_refuse(
			error, -EEXIST, "name", "there is a forward %s already", forward->name);
	for (unsigned number = 1; !given; number++) {
		snprintf(forward->name, sizeof(forward->name), "%.*s-%u",
			(int)(NAME_SIZE - sizeof("-12345")), forward->qube, number);
		given = conf_forward_find(scope->conf, forward->name) == NULL &&
			changes_forward_find(changes, forward->name) == NULL;
	}
	return 0;
}

static int
overlap_refuse(const struct conf_forward *forward, const struct conf_forward *other,
	const char *where, struct change_error *error)
{
	char ours[RANGE_TEXT_SIZE], theirs[RANGE_TEXT_SIZE];

	return change_refuse(error, -EEXIST, "srcports",
		"%s overlaps %s of forward %s%s, and so does who may connect; allowed: other "
		"ports, or a srchost that keeps them apart",
		range_format(ours, forward->first, forward->last),
		range_format(theirs, other->first, other->last), other->name, where);
}

static int
overlap_check(const struct changes *changes, const struct change_scope *scope,
	const struct conf_forward *forward, struct change_error *error)
{
	const struct conf_forward *other =
		conf_forward_overlapping(scope->conf, forward, scope->now_s);
	char where[512], place[PLACE_SIZE];

	if (other != NULL) {
		snprintf(where, sizeof(where), " (%.400s)",
			conf_place(scope->conf, other->line, place));
		return overlap_refuse(forward, other, where, error);
	}
	for (unsigned i = 0; i < changes->forward_count; i++) {
		other = &changes->forwards[i]->forward;
		if (!is_over(other, scope->now_s) && forwards_overlap(other, forward))
			return overlap_refuse(forward, other, "", error);
	}
	return 0;
}

/*
 * A qube may be using the external port right now. What comes back to it would go to the forward
 * instead.
 */
static int
binding_check(const struct change_scope *scope, const struct conf_forward *forward,
	struct change_error *error)
{
	if (scope->bindings == NULL || forward->protocol != IPPROTO_UDP ||
		forward->side != FORWARD_EXTERNAL)
		return 0;
	for (unsigned port = forward->first; port <= forward->last; port++)
		for (unsigned family = 0; family < FAMILIES; family++) {
			uint16_t qube;
			rte_be16_t inside;

			if (!binding_find(scope->bindings, family, IPPROTO_UDP,
				    rte_cpu_to_be_16((uint16_t)port), &qube, &inside))
				continue;
			return change_refuse(error, -EEXIST, "srcports",
				"UDP port %u is in use: %s port %u of qube %s sends from it; "
				"allowed: another port, or this one when its connections are over",
				port, family_name[family], rte_be_to_cpu_16(inside),
				qube < scope->policy->qube_count ? scope->policy->qubes[qube].name
								 : "?");
		}
	return 0;
}

int
changes_forward_add(struct changes *changes, const struct change_scope *scope,
	struct conf_forward *forward, struct change_error *error)
{
	char source[ADDRESS_TEXT_SIZE];
	const struct conf_qube *qube;
	struct conf_forward copy;
	int result = change_qube(scope, forward->qube, &qube, error);

	if (result == 0 && forward->has_source && !qube->has[forward->source_family])
		result = change_refuse(error, -ENOENT, "srchost",
			"\"%s\" can never connect: qube %s has no %s address",
			prefix_format(source, forward->source_family, &forward->source), qube->name,
			family_name[forward->source_family]);
	if (result == 0 && changes->forward_count + scope->conf->forward_count >= FORWARDS_MAX)
		result = change_refuse(error, -E2BIG, NULL,
			"there are %u forwards already; allowed: no more", FORWARDS_MAX);
	if (result == 0)
		result = name_choose(changes, scope, forward, error);
	if (result == 0)
		result = overlap_check(changes, scope, forward, error);
	if (result == 0)
		result = binding_check(scope, forward, error);
	if (result != 0)
		return result;
	copy = *forward;
	copy.comment = forward->comment != NULL ? strdup(forward->comment) : NULL;
	if ((forward->comment != NULL && copy.comment == NULL) ||
		changes_forward_put(changes, scope->layer, &copy) != 0) {
		free(copy.comment);
		return change_no_memory(error);
	}
	return 0;
}

int
changes_forward_delete(struct changes *changes, const struct change_scope *scope, const char *name,
	struct change_error *error)
{
	char place[PLACE_SIZE];
	const struct conf_forward *configured = conf_forward_find(scope->conf, name);

	for (unsigned i = 0; i < changes->forward_count; i++) {
		const struct forward_change *change = changes->forwards[i];

		if (strcmp(change->forward.name, name) != 0)
			continue;
		if (change->layer == ORIGIN_KEPT && scope->layer == ORIGIN_RUNTIME)
			return change_refuse(error, -EBUSY, "runtime",
				"forward %s is kept, and its end would be forgotten; allowed: "
				"without runtime",
				name);
		changes_forward_drop(changes, i);
		return 0;
	}
	if (configured != NULL)
		return change_refuse(error, -EBUSY, "name",
			"forward %s stands in %s, and can only be deleted there", name,
			conf_place(scope->conf, configured->line, place));
	return change_refuse(error, -ENOENT, "name", "there is no forward \"%.64s\"", name);
}
