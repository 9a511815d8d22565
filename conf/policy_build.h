/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside the policy store: one build, and the pieces that it is made of. All of them run in the
 * order of this page, report what is wrong and return 0 or a negative errno.
 */
#pragma once

#include "conf/name_table.h"
#include "conf/policy_store.h"

/* One build: from where to where. */
struct build {
	const struct conf *conf;
	const struct changes *changes; /* NULL: none */
	uint64_t now_s;
	const struct policy *previous; /* NULL for the first */
	const struct report *report;
	struct policy *policy;
	uint16_t *index;                /* of every qube of `conf` in `policy` */
	uint16_t *port_index;           /* and of every port */
	struct name_table before;       /* qubes of `previous` */
	struct name_table now;          /* qubes of `policy` */
	struct name_table ports;        /* ports of `policy`, by their qube */
	struct name_table ports_before; /* ports of `previous` */
	struct rules *none;             /* what unused indices share */
};

/** Rules in a state that needs no ruleset; one reference. NULL without memory. */
struct rules *rules_new(enum rules_state state);

/** Ports get their indices: the one they had, else the lowest that is free. -E2BIG without one. */
int ports_place(struct build *build);

/**
 * The rules of one qube: those it had, if they say the same, or compiled ones. Rules that the
 * compiler refuses become RULES_BAD.
 * @param before what it had, NULL for a new qube
 * @param out one reference; whatever it is at an error goes away with the policy
 */
int rules_take(const struct build *build, const struct conf_qube *qube, struct rules *before,
	struct rules **out);

/** What is said of ports, once qubes have theirs. */
void ports_fill(const struct build *build);

/** Raise the generation of every qube whose flows have to ask again. @param previous may be NULL */
void generations_fill(struct policy *policy, const struct policy *previous);
