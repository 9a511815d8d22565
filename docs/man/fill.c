/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fills the tables into the man pages: a page is written by hand as NAME.SECTION.scd.in, in the
 * language of scdoc(5), and a line `@TABLE@` in it stands for all rows of a table of the programs.
 * So what a page says of a verb, a key or a drop reason is what the program says of it.
 *
 *	@verbs@ @options@ @methods@ @events@    of sluicectl and the control socket
 *	@keys SECTION@ @limits@ @timeouts@      of sluice.conf
 *	@reasons@                               why packets are dropped
 *
 * `@version@` in any line is the version. Run while sluice is built: fill TEMPLATE >PAGE.scd
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/control_methods.h"
#include "app/ctl_verbs.h"
#include "app/event.h"
#include "classifier/reason.h"
#include "conf/loader.h"

struct table {
	const char *name;
	void (*print)(void);
};

/* What scdoc would take for markup. */
static void
text(const char *text)
{
	for (; *text != '\0'; text++) {
		if (strchr("*_\\", *text) != NULL)
			putchar('\\');
		putchar(*text);
	}
}

/* `*NAME* ARGUMENTS`, and below it, indented, the first paragraph. */
static void
entry(const char *name, const char *arguments, const char *paragraph)
{
	putchar('*');
	text(name);
	putchar('*');
	if (*arguments != '\0')
		putchar(' ');
	text(arguments);
	printf("\n\t");
	text(paragraph);
}

/* --- sluicectl -----------------------------------------------------------------------------------
 */

static const struct option_row {
	const char *name;
	char letter;
	const char *value;
	const char *help;
} option_rows[] = {
#define OPTION_ROW(identifier, name, letter, value, help) {name, letter, value, help},
	CTL_OPTIONS(OPTION_ROW)
#undef OPTION_ROW
};

static const struct verb_row {
	const char *words, *arguments, *options, *access, *help, *text, *example;
} verb_rows[] = {
#define VERB_ROW(kind, identifier, words, arguments, options, access, help, text, example) \
	{words, arguments, options, #access, help, text, example},
	CTL_VERBS(VERB_ROW)
#undef VERB_ROW
};

/* Whether a list of words has one. */
static bool
list_has(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (; *list != '\0'; list += strspn(list, " ")) {
		size_t next = strcspn(list, " ");

		if (next == length && strncmp(list, word, length) == 0)
			return true;
		list += next;
	}
	return false;
}

static void
verbs(void)
{
	for (size_t i = 0; i < sizeof(verb_rows) / sizeof(verb_rows[0]); i++) {
		const struct verb_row *row = &verb_rows[i];

		entry(row->words, row->arguments, row->help);
		puts(".\n");
		if (*row->text != '\0') {
			printf("\t");
			text(row->text);
			puts("\n");
		}
		if (strcmp(row->access, "CHANGE") == 0)
			puts("\tOnly who may change things may do this.\n");
		printf("\tExample: _");
		text(row->example);
		puts("_\n");
	}
}

static void
options(void)
{
	for (size_t i = 0; i < sizeof(option_rows) / sizeof(option_rows[0]); i++) {
		const struct option_row *row = &option_rows[i];
		const char *gap = " With: ";

		if (row->letter != '\0')
			printf("*-%c*, ", row->letter);
		printf("*--%s*%s%s\n\t", row->name, row->value != NULL ? " " : "",
			row->value != NULL ? row->value : "");
		text(row->help);
		putchar('.');
		for (size_t verb = 0; verb < sizeof(verb_rows) / sizeof(verb_rows[0]); verb++)
			if (list_has(verb_rows[verb].options, row->name)) {
				printf("%s%s", gap, verb_rows[verb].words);
				gap = ", ";
			}
		puts(*gap == ',' ? ".\n" : "\n");
	}
}

static void
methods(void)
{
#define METHOD_PRINT(identifier, name, access, parameters, help) \
	entry(name, parameters, help);                           \
	puts(strcmp(#access, "CHANGE") == 0 ? " (to change).\n" : ".\n");
	METHODS(METHOD_PRINT)
#undef METHOD_PRINT
}

static void
events(void)
{
#define EVENT_PRINT(identifier, name, lines, help) \
	entry(name, "", help);                     \
	puts(".\n");
	EVENTS(EVENT_PRINT)
#undef EVENT_PRINT
}

/* --- sluice.conf ---------------------------------------------------------------------------------
 */

static const struct key_row {
	const char *section; /* in capitals */
	struct key key;
} key_rows[] = {
#define KEY_ROW(identifier, kind, key_name, parser, help, ...) \
	{#kind, {.name = key_name, .allowed = help, __VA_ARGS__}},
	KEYS(KEY_ROW)
#undef KEY_ROW
};

static bool
name_same(const char *a, const char *b)
{
	for (; *a != '\0' && toupper((unsigned char)*a) == toupper((unsigned char)*b); a++)
		b++;
	return *a == *b;
}

/* @return false when there is no such section */
static bool
keys_print(const char *section)
{
	bool any = false;

	for (size_t i = 0; i < sizeof(key_rows) / sizeof(key_rows[0]); i++) {
		const struct key *key = &key_rows[i].key;

		if (!name_same(key_rows[i].section, section))
			continue;
		any = true;
		entry(key->name, "", key->allowed);
		if (key->max != 0)
			printf(", %u..%u", key->min, key->max);
		if (key->without != NULL && strcmp(key->without, KEY_NEEDED) == 0) {
			printf(". Needed");
		} else if (key->without != NULL) {
			printf(". Without it: ");
			text(key->without);
		}
		puts(".\n");
	}
	return any;
}

static void
limits(void)
{
#define BUDGET_PRINT(identifier, name, normal, min, max, help) \
	entry(name, "", help);                                 \
	printf(", %u..%u. Without it: %u.\n\n", min, max, normal);
	BUDGETS(BUDGET_PRINT)
#undef BUDGET_PRINT
}

static void
timeouts_print(void)
{
#define TIMEOUT_PRINT(identifier, name, default_s, min_s, max_s, help) \
	entry(name, "", help);                                         \
	printf(", %u..%u. Without it: %u.\n\n", min_s, max_s, default_s);
	TIMEOUTS(TIMEOUT_PRINT)
#undef TIMEOUT_PRINT
}

/* --- drops ---------------------------------------------------------------------------------------
 */

static void
reasons_print(void)
{
	static const char *const heard[] = {
		[ANSWER_SILENCE] = "nothing",
		[ANSWER_PROHIBITED] = "administratively prohibited",
		[ANSWER_HOST_PROHIBITED] = "host administratively prohibited",
		[ANSWER_TIME_EXCEEDED] = "time exceeded",
		[ANSWER_UNREACHABLE] = "host or address unreachable",
		[ANSWER_NO_ROUTE] = "no route to destination",
		[ANSWER_TOO_BIG] = "packet too big",
	};

#define REASON_PRINT(identifier, name, answer, help)                               \
	entry(name, "", help);                                                     \
	if (ANSWER_##answer != ANSWER_SILENCE)                                     \
		printf(". A qube that sent it hears: %s", heard[ANSWER_##answer]); \
	puts(".\n");
	REASONS(REASON_PRINT)
#undef REASON_PRINT
}

/* --- pages ---------------------------------------------------------------------------------------
 */

static const struct table tables[] = {
	{"verbs", verbs},
	{"options", options},
	{"methods", methods},
	{"events", events},
	{"limits", limits},
	{"timeouts", timeouts_print},
	{"reasons", reasons_print},
};

/* @return false when there is no such table */
static bool
table_print(const char *name)
{
	if (strncmp(name, "keys ", strlen("keys ")) == 0)
		return keys_print(name + strlen("keys "));
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (strcmp(tables[i].name, name) == 0) {
			tables[i].print();
			return true;
		}
	return false;
}

static void
line_print(const char *line)
{
	static const char version[] = "@version@";
	const char *found;

	for (; (found = strstr(line, version)) != NULL; line = found + strlen(version))
		printf("%.*s" SLUICE_VERSION, (int)(found - line), line);
	puts(line);
}

int
main(int argc, char **argv)
{
	FILE *template = argc == 2 ? fopen(argv[1], "r") : NULL;
	unsigned number = 0;
	char line[1024];

	if (template == NULL) {
		fprintf(stderr, "usage: fill TEMPLATE\n");
		return EXIT_FAILURE;
	}
	while (fgets(line, sizeof(line), template) != NULL) {
		size_t length = strcspn(line, "\n");

		number++;
		line[length] = '\0';
		if (length < 3 || line[0] != '@' || line[length - 1] != '@') {
			line_print(line);
			continue;
		}
		line[length - 1] = '\0';
		if (!table_print(line + 1)) {
			fprintf(stderr, "%s:%u: there is no table %s\n", argv[1], number, line + 1);
			return EXIT_FAILURE;
		}
	}
	if (ferror(template) || fflush(stdout) != 0) {
		fprintf(stderr, "%s: cannot be read, or the page not written\n", argv[1]);
		return EXIT_FAILURE;
	}
	fclose(template);
	return EXIT_SUCCESS;
}
