/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sluicectl as its own parts see it: what was asked for, and how a verb ends.
 *
 * It is a client like any other: it knows of sluiced only what docs/control-socket.md says, and is
 * linked against nothing of the data path, so that it starts in a few milliseconds.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "app/ctl_verbs.h"

enum ctl_status {
	CTL_DONE,    /* 0 */
	CTL_REFUSED, /* sluiced said no, and so have we on stderr */
	CTL_USAGE,
	CTL_NO_DAEMON,
};

enum ctl_option {
#define OPTION_ENUM(identifier, name, letter, value, help) OPTION_##identifier,
	CTL_OPTIONS(OPTION_ENUM)
#undef OPTION_ENUM
		OPTIONS
};

enum ctl_access { CTL_ACCESS_NONE, CTL_ACCESS_LOOK, CTL_ACCESS_CHANGE };
enum ctl_kind { CTL_RUN, CTL_CHANGE };

#define CTL_VIA_MAX 8

/* One command line, or one line of a batch, taken apart. */
struct ctl_args {
	const struct ctl_verb *verb;
	const char **words; /* without verb and options */
	unsigned count;
	const char *option[OPTIONS]; /* its value, or its name where it has none; NULL: not given */
	const char *via[CTL_VIA_MAX];
	unsigned via_count;
};

struct ctl {
	struct ctl_args args;
	const char *socket_path;
	bool json;
	bool colour; /* of standard output */
	struct client *client;
};

/* A change: what is asked, and where it was written. */
struct ctl_change {
	const char *method;
	json_t *params;
	const char *file; /* the rules come from there; NULL: from arguments */
	unsigned *lines;  /* of the rules in it, 1-based */
	size_t line_count;
};

struct ctl_verb {
	enum ctl_kind kind;
	const char *words;
	const char *arguments;
	const char *options;
	enum ctl_access access;
	const char *help;
	const char *text;
	const char *example;
	int (*run)(struct ctl *ctl);                                           /* of CTL_RUN */
	int (*change)(const struct ctl_args *args, struct ctl_change *change); /* of CTL_CHANGE */
};

struct ctl_option_row {
	const char *name;
	char letter;
	const char *value; /* NULL: none */
	const char *help;
};

extern const struct ctl_verb ctl_verbs[];
extern const unsigned ctl_verb_count;
extern const struct ctl_option_row ctl_options[OPTIONS];

#define VERB_DECLARE_RUN(identifier) int verb_##identifier(struct ctl *ctl);
#define VERB_DECLARE_CHANGE(identifier) \
	int change_##identifier(const struct ctl_args *args, struct ctl_change *change);
#define VERB_DECLARE(kind, identifier, words, arguments, options, access, help, text, example) \
	VERB_DECLARE_##kind(identifier)
CTL_VERBS(VERB_DECLARE)
#undef VERB_DECLARE
#undef VERB_DECLARE_RUN
#undef VERB_DECLARE_CHANGE

/** One line on stderr: what is wrong and what to do. Control characters are replaced. */
void ctl_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** The same, with the verb in front and where to read more behind it. @return CTL_USAGE */
int ctl_usage(const struct ctl_args *args, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** Connect, once. @return 0 or CTL_NO_DAEMON, with the reason on stderr */
int ctl_connect(struct ctl *ctl);

/**
 * Connect and call a method. What fails is said on stderr.
 * @param params taken; may be NULL
 * @param result the answer, the caller's
 */
int ctl_call(struct ctl *ctl, const char *method, json_t *params, json_t **result);

/** Say on stderr how a call or stream failed. @param error as of client_call @return the status */
int ctl_failed(struct ctl *ctl, const char *method, int error);

/** Print @p value as one line of JSON, if --json. @return whether it was */
bool ctl_print_json(const struct ctl *ctl, const json_t *value);

/** Whether --json, --socket and the like go with a verb. */
bool ctl_verb_takes(const struct ctl_verb *verb, enum ctl_option option);

/** Carry out the change of @p ctl's verb. */
int ctl_run_change(struct ctl *ctl);

/** Print what a change or transaction has done. */
void ctl_change_print(const struct ctl *ctl, const json_t *result);

void ctl_change_free(struct ctl_change *change);
