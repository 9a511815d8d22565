/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What [forward NAME] and [allow NAME] must be as a whole.
 *
 * One packet must never have two forwards to choose from: that would make the order of sections
 * mean something nobody sees. Two of one side and protocol may share ports only if no host may use
 * both. Whether one of them has expired is not looked at, so that a file does not become good or
 * bad by waiting.
 */
#include "conf/forward_check.h"
#include "conf/loader.h"

#include <netinet/in.h>
#include <stdio.h>

#include <rte_common.h>

static const char *const address_name[FAMILIES] = {"IPv4", "IPv6"};

/* The section of the qube that a key names; NULL, reported, if there is none. */
static const struct section *
qube_find(struct loader *loader, const struct section *section, enum key_id id, const char *name)
{
	const struct section *qube;

	key_require(loader, section, id);
	if (!section->key_valid[id])
		return NULL;
	qube = section_find(loader->conf, SECTION_QUBE, name);
	if (qube == NULL)
		loader_error(loader, section->key_line[id], keys[id].name,
			"there is no section [qube %s]", name);
	return qube;
}

static void
counts_check(struct loader *loader, const struct section *section)
{
	const struct conf_forward *forward = &loader->conf->forwards[section->index];
	unsigned listens = forward->last - forward->first + 1u;
	unsigned targets = forward->target_last - forward->target_first + 1u;
	char place[PLACE_SIZE];

	if (!section->key_valid[KEY_FORWARD_SRCPORTS] || !section->key_valid[KEY_FORWARD_DSTPORTS])
		return;
	if (targets != 1 && targets != listens)
		loader_error(loader, section->key_line[KEY_FORWARD_DSTPORTS], "dstports",
			"%u ports for the %u of srcports (%s); allowed: as many, or one for "
			"all",
			targets, listens,
			conf_other_place(loader->conf, section->key_line[KEY_FORWARD_DSTPORTS],
				section->key_line[KEY_FORWARD_SRCPORTS], place));
}

static void
source_check(struct loader *loader, const struct section *section, const struct section *target)
{
	const struct conf_forward *forward = &loader->conf->forwards[section->index];
	const struct conf_qube *qube;
	char text[ADDRESS_TEXT_SIZE];
	char place[PLACE_SIZE];

	if (target == NULL || !forward->has_source)
		return;
	qube = &loader->conf->qubes[target->index];
	if (qube->has[forward->source_family])
		return;
	/* A qube whose address is wrong, or missing altogether, has its error already. */
	if (!qube->has[FAMILY_IPV4] && !qube->has[FAMILY_IPV6])
		return;
	loader_error(loader, section->key_line[KEY_FORWARD_SRCHOST], "srchost",
		"\"%s\" can never connect: [qube %s] (%s) has no %s address",
		prefix_format(text, forward->source_family, &forward->source), qube->name,
		conf_other_place(
			loader->conf, section->key_line[KEY_FORWARD_SRCHOST], target->line, place),
		address_name[forward->source_family]);
}

static bool
sources_overlap(const struct conf_forward *a, const struct conf_forward *b)
{
	if (!a->has_source || !b->has_source)
		return true;
	return a->source_family == b->source_family &&
	       (prefix_contains(&a->source, &b->source.address) ||
		       prefix_contains(&b->source, &a->source.address));
}

bool
forwards_overlap(const struct conf_forward *a, const struct conf_forward *b)
{
	return a->side == b->side && a->protocol == b->protocol && a->first <= b->last &&
	       b->first <= a->last && sources_overlap(a, b);
}

/* Whether everything that overlap is judged by was understood. */
static bool
listens(const struct section *section)
{
	return section->kind == SECTION_FORWARD && section->key_valid[KEY_FORWARD_TYPE] &&
	       section->key_valid[KEY_FORWARD_PROTO] && section->key_valid[KEY_FORWARD_SRCPORTS] &&
	       (section->key_line[KEY_FORWARD_SRCHOST] == 0 ||
		       section->key_valid[KEY_FORWARD_SRCHOST]);
}

const char *
range_format(char text[RANGE_TEXT_SIZE], uint16_t first, uint16_t last)
{
	if (first == last)
		snprintf(text, RANGE_TEXT_SIZE, "%u", first);
	else
		snprintf(text, RANGE_TEXT_SIZE, "%u-%u", first, last);
	return text;
}

static void
overlap_check(struct loader *loader, const struct section *section)
{
	const struct conf *conf = loader->conf;
	const struct conf_forward *forward = &conf->forwards[section->index];
	char ours[RANGE_TEXT_SIZE], theirs[RANGE_TEXT_SIZE];
	char title[SECTION_TITLE_SIZE];
	char place[PLACE_SIZE];

	if (!listens(section))
		return;
	for (const struct section *other = conf->sections; other < section; other++) {
		const struct conf_forward *earlier;

		if (!listens(other))
			continue;
		earlier = &conf->forwards[other->index];
		if (!forwards_overlap(earlier, forward))
			continue;
		loader_error(loader, section->key_line[KEY_FORWARD_SRCPORTS], "srcports",
			"%s overlaps %s of %s (%s), and so does who may connect; allowed: "
			"other ports, or a srchost that keeps them apart",
			range_format(ours, forward->first, forward->last),
			range_format(theirs, earlier->first, earlier->last),
			section_title(conf, other, title),
			conf_other_place(conf, section->key_line[KEY_FORWARD_SRCPORTS],
				other->key_line[KEY_FORWARD_SRCPORTS], place));
		return;
	}
}

static void
forward_check(struct loader *loader, const struct section *section)
{
	const struct conf_forward *forward = &loader->conf->forwards[section->index];
	const struct section *target;

	key_require(loader, section, KEY_FORWARD_TYPE);
	key_require(loader, section, KEY_FORWARD_PROTO);
	key_require(loader, section, KEY_FORWARD_SRCPORTS);
	target = qube_find(loader, section, KEY_FORWARD_QUBE, forward->qube);
	counts_check(loader, section);
	source_check(loader, section, target);
	overlap_check(loader, section);
}

static void
allow_check(struct loader *loader, const struct section *section)
{
	const struct conf_allow *allow = &loader->conf->allows[section->index];
	const struct section *from = qube_find(loader, section, KEY_ALLOW_FROM, allow->from);
	const struct section *to = qube_find(loader, section, KEY_ALLOW_TO, allow->to);

	if (from != NULL && from == to)
		loader_error(loader, section->key_line[KEY_ALLOW_TO], "to",
			"\"%s\" is the qube of from; allowed: another one", allow->to);
	if (section->key_line[KEY_ALLOW_DSTPORTS] == 0)
		return;
	if (section->key_line[KEY_ALLOW_PROTO] == 0 ||
		(section->key_valid[KEY_ALLOW_PROTO] && allow->protocol == IPPROTO_ICMP))
		loader_error(loader, section->key_line[KEY_ALLOW_DSTPORTS], "dstports",
			"needs proto = tcp or proto = udp in the same section");
}

void
forwards_check(struct loader *loader)
{
	for (unsigned i = 0; i < loader->conf->section_count; i++) {
		const struct section *section = &loader->conf->sections[i];

		if (section->kind == SECTION_FORWARD)
			forward_check(loader, section);
		else if (section->kind == SECTION_ALLOW)
			allow_check(loader, section);
	}
}
