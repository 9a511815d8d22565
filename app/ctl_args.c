/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/ctl_args.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/rule_token.h"

/* Longest verb, in words. */
#define VERB_WORDS 2

static bool
verb_option(const char *list, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = list; (at = strstr(at, name)) != NULL; at += length)
		if ((at == list || at[-1] == ' ') && (at[length] == '\0' || at[length] == ' '))
			return true;
	return false;
}

bool
ctl_verb_takes(const struct ctl_verb *verb, enum ctl_option option)
{
	switch (option) {
	case OPTION_JSON:
	case OPTION_SOCKET:
	case OPTION_HELP:
	case OPTION_VERSION:
		return true;
	case OPTION_RUNTIME:
	case OPTION_CHECK:
		if (verb->kind == CTL_CHANGE)
			return true;
		break;
	default:
		break;
	}
	return verb_option(verb->options, ctl_options[option].name);
}

/* The option that @p text names. @param value set to what stands behind a = in the same word */
static int
option_find(const char *text, const char **value)
{
	const char *equals = strchr(text, '=');
	size_t length = equals != NULL ? (size_t)(equals - text) : strlen(text);

	*value = NULL;
	for (int i = 0; i < OPTIONS; i++) {
		const struct ctl_option_row *row = &ctl_options[i];

		if (text[1] == '-' && strlen(row->name) + 2 == length &&
			strncmp(text + 2, row->name, length - 2) == 0) {
			*value = equals != NULL ? equals + 1 : NULL;
			return i;
		}
		if (text[1] != '-' && row->letter != '\0' && text[1] == row->letter &&
			(text[2] == '\0' || row->value != NULL)) {
			*value = text[2] != '\0' ? text + 2 : NULL;
			return i;
		}
	}
	return -1;
}

static int
option_take(struct ctl_args *args, char **argv, unsigned count, unsigned *index)
{
	const char *text = argv[*index];
	const char *value;
	int option = option_find(text, &value);

	if (option < 0) {
		ctl_error("%s: no such option; sluicectl help lists them", text);
		return CTL_USAGE;
	}
	if (ctl_options[option].value == NULL && value != NULL) {
		ctl_error("--%s: takes no value", ctl_options[option].name);
		return CTL_USAGE;
	}
	if (ctl_options[option].value != NULL && value == NULL) {
		if (*index + 1 == count) {
			ctl_error("%s: wants %s behind it", text, ctl_options[option].value);
			return CTL_USAGE;
		}
		value = argv[++*index];
	}
	if (option == OPTION_VIA) {
		if (args->via_count == CTL_VIA_MAX) {
			ctl_error("--via: no more than %d hops", CTL_VIA_MAX);
			return CTL_USAGE;
		}
		args->via[args->via_count++] = value;
	}
	args->option[option] = value != NULL ? value : ctl_options[option].name;
	return CTL_DONE;
}

/* The longest verb whose words stand in front. @return how many words it has */
static unsigned
verb_find(char **words, unsigned count, const struct ctl_verb **out)
{
	for (unsigned take = VERB_WORDS; take > 0; take--) {
		char joined[64] = "";

		if (take > count)
			continue;
		if (snprintf(joined, sizeof(joined), take == 2 ? "%s %s" : "%s", words[0],
			    take == 2 ? words[1] : "") >= (int)sizeof(joined))
			continue;
		for (unsigned i = 0; i < ctl_verb_count; i++)
			if (strcmp(ctl_verbs[i].words, joined) == 0) {
				*out = &ctl_verbs[i];
				return take;
			}
	}
	return 0;
}

/* Name the verbs that begin with @p word, so that `rules` says how it goes on. */
static int
verb_unknown(const char *word)
{
	char list[512] = "";
	size_t length = strlen(word);

	for (unsigned i = 0; i < ctl_verb_count; i++) {
		const char *words = ctl_verbs[i].words;

		if (strncmp(words, word, length) == 0 && words[length] == ' ')
			snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
				*list != '\0' ? ", " : "", words);
	}
	if (*list != '\0')
		ctl_error("%s: what about it? There is %s", word, list);
	else
		ctl_error("%s: no such verb; sluicectl help lists them", word);
	return CTL_USAGE;
}

int
args_parse(char **argv, unsigned count, struct ctl_args *args)
{
	unsigned words = 0;
	unsigned taken;
	bool options = true;

	*args = (struct ctl_args){0};
	/* words move to the front, over options that were looked at */
	for (unsigned i = 0; i < count; i++) {
		if (options && strcmp(argv[i], "--") == 0) {
			options = false;
		} else if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
			int status = option_take(args, argv, count, &i);

			if (status != CTL_DONE)
				return status;
		} else {
			argv[words++] = argv[i];
		}
	}
	if (words == 0)
		return CTL_DONE;
	taken = verb_find(argv, words, &args->verb);
	if (taken == 0)
		return verb_unknown(argv[0]);
	args->words = (const char **)argv + taken;
	args->count = words - taken;
	for (int i = 0; i < OPTIONS; i++)
		if (args->option[i] != NULL && !ctl_verb_takes(args->verb, i))
			return ctl_usage(args, "--%s does not go with it", ctl_options[i].name);
	return CTL_DONE;
}

int
args_split(char *line, char **words, unsigned max)
{
	int count = 0;
	char *from = line;

	for (;;) {
		char *to;
		char quote = '\0';

		from += strspn(from, " \t\r\n");
		if (*from == '\0' || *from == '#')
			return count;
		if ((unsigned)count == max)
			return -1;
		words[count++] = to = from;
		for (; *from != '\0' && (quote != '\0' || strchr(" \t\r\n", *from) == NULL);
			from++) {
			if (*from == quote)
				quote = '\0';
			else if (quote == '\0' && (*from == '\'' || *from == '"'))
				quote = *from;
			else if (*from == '\\' && quote != '\'' && from[1] != '\0')
				*to++ = *++from;
			else
				*to++ = *from;
		}
		if (quote != '\0')
			return -1;
		if (*from != '\0')
			from++;
		*to = '\0'; /* only now: it may stand where from stood */
	}
}

bool
args_is_rule(const char *word)
{
	return strncmp(word, "comment=", 8) != 0 && strchr(word, ' ') != NULL;
}

bool
args_rule_has(const char *rule, const char *key)
{
	size_t length = strlen(key);
	bool quoted = false, start = true;

	for (; *rule != '\0'; rule++) {
		if (start && !quoted && strncmp(rule, key, length) == 0 && rule[length] == '=')
			return true;
		if (*rule == '\\' && quoted && rule[1] != '\0')
			rule++;
		else if (*rule == '"')
			quoted = !quoted;
		start = *rule == ' ';
	}
	return false;
}

/*
 * One word as a property. What qvm-firewall takes, is taken: dsthost= and dstname= for an address
 * as well as for a name.
 */
static void
property_write(FILE *stream, const char *word)
{
	const char *equals = strchr(word, '=');
	const char *value = equals + 1;
	char key[32], address[INET6_ADDRSTRLEN];
	unsigned char bytes[sizeof(struct in6_addr)];

	snprintf(key, sizeof(key), "%.*s", (int)(equals - word), word);
	if (strcmp(key, "dstname") == 0)
		strcpy(key, "dsthost");
	if (strcmp(key, "dsthost") == 0) {
		snprintf(address, sizeof(address), "%.*s", (int)strcspn(value, "/"), value);
		if (inet_pton(AF_INET, address, bytes) == 1)
			strcpy(key, "dst4");
		else if (inet_pton(AF_INET6, address, bytes) == 1)
			strcpy(key, "dst6");
	}
	rule_token_write(stream, key, value);
}

char *
args_rule(const struct ctl_args *args, const char *const *words, unsigned count, const char *prefix)
{
	char *text = NULL;
	size_t size;
	FILE *stream;
	const char *gap = "";

	for (unsigned i = 0; i < count; i++) {
		const char *equals = strchr(words[i], '=');

		if (equals == NULL || equals == words[i] || equals - words[i] > 30) {
			ctl_usage(args,
				"\"%s\" is no property: KEY=VALUE is wanted, such as proto=tcp",
				words[i]);
			return NULL;
		}
	}
	stream = open_memstream(&text, &size);
	if (stream == NULL) {
		ctl_error("out of memory");
		return NULL;
	}
	if (prefix != NULL) {
		fputs(prefix, stream);
		gap = " ";
	}
	for (unsigned i = 0; i < count; i++) {
		fputs(gap, stream);
		property_write(stream, words[i]);
		gap = " ";
	}
	if (fclose(stream) != 0) {
		free(text);
		ctl_error("out of memory");
		return NULL;
	}
	return text;
}

/* A decimal number, nothing else. @return -EINVAL, -ERANGE */
static int
number_parse(const char *text, json_int_t *out)
{
	json_int_t value = 0;

	if (*text == '\0')
		return -EINVAL;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		if (value > (INT64_MAX - 9) / 10)
			return -ERANGE;
		value = value * 10 + (*text - '0');
	}
	*out = value;
	return 0;
}

int
args_number(const struct ctl_args *args, enum ctl_option option, json_int_t low, json_int_t high,
	json_int_t *out)
{
	const char *text = args->option[option];
	json_int_t value = 0;

	if (number_parse(text, &value) != 0 || value < low || value > high)
		return ctl_usage(args, "--%s: \"%s\" is not a number from %lld to %lld",
			ctl_options[option].name, text, (long long)low, (long long)high);
	*out = value;
	return CTL_DONE;
}

json_int_t
args_duration(const char *text)
{
	static const struct {
		char unit;
		json_int_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'\0', 60}};
	size_t digits = strspn(text, "0123456789");
	json_int_t value = 0;

	if (digits == 0 || digits > 9 || (text[digits] != '\0' && text[digits + 1] != '\0'))
		return -1;
	for (size_t i = 0; i < digits; i++)
		value = value * 10 + (text[i] - '0');
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (units[i].unit == text[digits])
			return value == 0 ? -1 : value * units[i].seconds;
	return -1;
}

static json_t *
value_make(const struct ctl_args *args, const struct args_key *key, const char *text)
{
	json_int_t number = 0;

	switch (key->kind) {
	case ARGS_TEXT:
		return json_string(text);
	case ARGS_BOOL:
		if (strcmp(text, "yes") == 0 || strcmp(text, "true") == 0)
			return json_true();
		if (strcmp(text, "no") == 0 || strcmp(text, "false") == 0)
			return json_false();
		ctl_usage(args, "%s: \"%s\" is neither yes nor no", key->name, text);
		return NULL;
	case ARGS_PORT:
	case ARGS_NUMBER:
		if (number_parse(text, &number) != 0) {
			ctl_usage(args, "%s: \"%s\" is not a number", key->name, text);
			return NULL;
		}
		if (key->kind == ARGS_PORT && number > 65535) {
			ctl_usage(args, "%s: %s is over 65535", key->name, text);
			return NULL;
		}
		return json_integer(number);
	}
	return NULL;
}

static const struct args_key *
key_find(const struct ctl_args *args, const struct args_key *keys, size_t count, const char *word)
{
	const char *equals = strchr(word, '=');
	char list[256] = "";

	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(keys[i].name);

		if (equals != NULL && (size_t)(equals - word) == length &&
			strncmp(keys[i].name, word, length) == 0)
			return &keys[i];
		snprintf(list + strlen(list), sizeof(list) - strlen(list), " %s=", keys[i].name);
	}
	ctl_usage(args, "\"%s\" is none of%s", word, list);
	return NULL;
}

json_t *
args_object(const struct ctl_args *args, const struct args_key *keys, size_t key_count)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < args->count; i++) {
		const struct args_key *key = key_find(args, keys, key_count, args->words[i]);
		json_t *value = NULL;

		if (key != NULL && json_object_get(object, key->member) != NULL)
			ctl_usage(args, "%s: stands twice", key->name);
		else if (key != NULL)
			value = value_make(args, key, strchr(args->words[i], '=') + 1);
		if (value == NULL || json_object_set_new(object, key->member, value) != 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}
