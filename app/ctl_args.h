/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Command lines: a verb, options anywhere, words. Lines of a batch are command lines too.
 */
#pragma once

#include "app/ctl.h"

/**
 * Take a command line apart.
 * @param argv without the program's name; it is rearranged and must outlive @p args
 * @return 0 or CTL_USAGE, with the reason on stderr. args->verb is NULL when no word was given
 */
int args_parse(char **argv, unsigned count, struct ctl_args *args);

/**
 * Cut a line into words, in place, as a shell would: blanks separate them, '...' and "..." keep
 * blanks, in the latter and outside \ keeps the character behind it.
 * @return how many, or -1 when a quote does not end or there are more than @p max
 */
int args_split(char *line, char **words, unsigned max);

/**
 * Make a rule text of properties: values with blanks, quotes or backslashes are quoted as sluiced
 * reads them.
 * @param prefix what comes first, for instance "action=forward"; may be NULL
 * @return text for free(); NULL with the reason on stderr when a word is no property
 */
char *args_rule(
	const struct ctl_args *args, const char *const *words, unsigned count, const char *prefix);

/** Whether a word is a rule by itself, such as "action=accept proto=icmp", and not a property. */
bool args_is_rule(const char *word);

/** Whether a rule text has a property with this key. */
bool args_rule_has(const char *rule, const char *key);

/** A number of an option. @return 0 or CTL_USAGE, said */
int args_number(const struct ctl_args *args, enum ctl_option option, json_int_t low,
	json_int_t high, json_int_t *out);

/** A time such as 90s, 10m, 2h or 1d; minutes when there is no unit. @return seconds; -1: wrong */
json_int_t args_duration(const char *text);

enum args_kind { ARGS_TEXT, ARGS_NUMBER, ARGS_PORT, ARGS_BOOL };

struct args_key {
	const char *name;
	const char *member; /* of the request */
	enum args_kind kind;
};

/**
 * Make an object of KEY=VALUE words.
 * @return it, or NULL with the reason on stderr
 */
json_t *args_object(const struct ctl_args *args, const struct args_key *keys, size_t key_count);
