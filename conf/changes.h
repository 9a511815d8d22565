/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was changed over the control socket, beside the configuration file.
 *
 * Of each qube there may be one list of rules per layer: kept (on disk, changes_file.h) and runtime
 * (forgotten when sluiced ends). The first of runtime, kept, file that has rules for a qube has all
 * of them; they are not mixed. Forwards of all sources stand side by side.
 *
 * A transaction is made on a copy: changes_copy, any number of operations, and if all of them went
 * well the copy takes the place of what was in force. Copies share what they do not change: a list
 * of rules or a forward is never written to once it is in one. Control thread only.
 */
#pragma once

#include "conf/conf.h"
#include "nat/binding.h"

/* The rules of one qube, as changed. Immutable. */
struct qube_change {
	unsigned references;
	char qube[NAME_SIZE];
	enum rule_origin layer; /* ORIGIN_KEPT or ORIGIN_RUNTIME */
	struct ruleset ruleset;
	char *source; /* name of the file where rules with a line were written; NULL: none */
};

/* Immutable. */
struct forward_change {
	unsigned references;
	enum rule_origin layer;
	struct conf_forward forward;
};

struct changes {
	unsigned qube_count;
	struct qube_change **qubes; /* sorted by name, then layer */
	unsigned forward_count;
	struct forward_change **forwards; /* in the order in which they were added */
};

/** @return NULL when out of memory */
struct changes *changes_new(void);
struct changes *changes_copy(const struct changes *changes);

/** NULL is fine. */
void changes_free(struct changes *changes);

/* The rules of a qube, and whose they are. */
struct qube_rules {
	enum rule_origin layer;
	enum rules_state state;
	const struct ruleset *ruleset; /* RULES_VALID */
	const char *source;            /* name of the file of rules with a line; NULL: none */
};

/** Which rules hold for a qube. @param changes NULL: none */
struct qube_rules changes_rules(const struct changes *changes, const struct conf_qube *qube);

/* What an operation may look at. */
struct change_scope {
	const struct conf *conf;
	const struct binding_table *bindings; /* external ports in use; NULL: not looked at */
	const struct policy *policy;          /* whose the bindings are, by index */
	uint64_t now_s;                       /* unix time */
	enum rule_origin layer;               /* where changes go */
	const struct report *warn; /* what is worth knowing about a change that is good */
};

/* Why an operation was refused. */
struct change_error {
	int rule;        /* which one of those that were given, -1: none of them */
	const char *key; /* which parameter or key of a rule; NULL: none */
	char text[512];
};

/*
 * Operations. Each changes @p changes or, when it is refused, nothing of it. They return 0,
 * -EINVAL for a value that is never right, -ENOMEM, and -EEXIST, -ENOENT, -E2BIG or -EBUSY for what
 * is understood and cannot be. `error` is filled unless 0 is returned.
 *
 * A kept change begins with what is kept or in the file, never with runtime rules: those are
 * replaced. So a temporary permission does not become a lasting one by the way.
 */

/** Replace all rules of a qube. @param rules copied */
int changes_rules_set(struct changes *changes, const struct change_scope *scope, const char *qube,
	enum action policy, const struct rule *rules, unsigned count, struct change_error *error);

/** Insert rules before the one with number @p before; at the end with RULES_END. */
#define RULES_END UINT_MAX
int changes_rules_insert(struct changes *changes, const struct change_scope *scope,
	const char *qube, const struct rule *rules, unsigned count, unsigned before,
	struct change_error *error);

/** Delete the rule with a number. */
int changes_rules_delete_number(struct changes *changes, const struct change_scope *scope,
	const char *qube, unsigned number, struct change_error *error);

/** Delete the one rule that says the same as @p rule; its end and comment are not looked at. */
int changes_rules_delete(struct changes *changes, const struct change_scope *scope,
	const char *qube, const struct rule *rule, struct change_error *error);

int changes_rules_policy(struct changes *changes, const struct change_scope *scope,
	const char *qube, enum action policy, struct change_error *error);

/** Forget what was changed: with a runtime scope runtime rules only, else the kept ones too. */
int changes_rules_reset(struct changes *changes, const struct change_scope *scope, const char *qube,
	struct change_error *error);

/**
 * Add a forward.
 * @param forward its `qube` is the target; its `name` out: one that is free, if it was empty
 */
int changes_forward_add(struct changes *changes, const struct change_scope *scope,
	struct conf_forward *forward, struct change_error *error);

int changes_forward_delete(struct changes *changes, const struct change_scope *scope,
	const char *name, struct change_error *error);

/** Drop rules and forwards whose time is over. @return how many, or -ENOMEM with nothing changed */
int changes_expire(struct changes *changes, uint64_t now_s);

/** When the next rule or forward ends, unix time; 0: none does. */
uint64_t changes_next_expiry(const struct changes *changes);

/**
 * Why a forward of @p changes is not in force beside a configuration: the file has another one of
 * that name, or one that overlaps it, its qube is gone or cannot be reached by who may connect.
 * @param text out: for people, ending the sentence `forward NAME `
 * @return true if it is in force
 */
bool changes_forward_stands(const struct conf *conf, const struct conf_forward *forward,
	uint64_t now_s, char *text, size_t text_size);

/** Report what is kept for qubes that are not configured, and forwards that are not in force. */
void changes_warn(const struct changes *changes, const struct conf *conf, uint64_t now_s,
	const struct report *report);

/** Whether two rules take the same packets and do the same to them. */
bool rule_same(const struct rule *a, const struct rule *b);

/* For who reads them from disk */

/** Enter rules into a layer in place of those that are there; @p change is taken. */
int changes_qube_put(struct changes *changes, struct qube_change *change);
/** Enter a forward; @p forward and what it owns are taken if 0 is returned. */
int changes_forward_put(
	struct changes *changes, enum rule_origin layer, const struct conf_forward *forward);
void qube_change_unref(struct qube_change *change);
const struct forward_change *changes_forward_find(const struct changes *changes, const char *name);
