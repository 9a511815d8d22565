/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Help, and everything else that is made of the table of verbs.
 */
#include <stdio.h>
#include <string.h>

#include "app/ctl.h"
#include "app/ctl_table.h"

#define LINE_WIDTH 79

/* Print @p text in lines, each with @p indent blanks in front. */
static void
paragraph(const char *text, unsigned indent)
{
	unsigned column = 0;

	while (*text != '\0') {
		size_t length = strcspn(text, " ");

		if (column != 0 && column + 1 + length > LINE_WIDTH) {
			putchar('\n');
			column = 0;
		}
		column += (unsigned)printf(
			"%*s%.*s", column == 0 ? (int)indent : 1, "", (int)length, text);
		text += length;
		text += *text == ' ';
	}
	putchar('\n');
}

static void
option_print(const struct ctl_option_row *row)
{
	char name[48];

	snprintf(name, sizeof(name), "%c%c%s--%s%s%s", row->letter != '\0' ? '-' : ' ',
		row->letter != '\0' ? row->letter : ' ', row->letter != '\0' ? ", " : "  ",
		row->name, row->value != NULL ? " " : "", row->value != NULL ? row->value : "");
	if (strlen(row->help) + 25 <= LINE_WIDTH) {
		printf("  %-22s %s\n", name, row->help);
		return;
	}
	printf("  %s\n", name);
	paragraph(row->help, 10);
}

static void
verb_print(const struct ctl_verb *verb)
{
	static const char *const access[] = {
		[CTL_ACCESS_NONE] = NULL,
		[CTL_ACCESS_LOOK] = "Who may look may do this.",
		[CTL_ACCESS_CHANGE] = "Only who may change things may do this.",
	};

	printf("usage: sluicectl %s%s%s%s\n\n", verb->words, *verb->arguments != '\0' ? " " : "",
		verb->arguments, " [OPTION...]");
	paragraph(verb->help, 2);
	if (*verb->text != '\0') {
		putchar('\n');
		paragraph(verb->text, 2);
	}
	if (access[verb->access] != NULL)
		printf("  %s\n", access[verb->access]);
	puts("\noptions:");
	for (int i = 0; i < OPTIONS; i++)
		if (i != OPTION_VERSION && ctl_verb_takes(verb, i))
			option_print(&ctl_options[i]);
	printf("\nexample:\n  %s\n", verb->example);
}

static void
verbs_print(void)
{
	puts("usage: sluicectl [--json] [--socket PATH] VERB [ARGUMENT...]\n");
	for (unsigned i = 0; i < ctl_verb_count; i++)
		printf("  %-18s %s\n", ctl_verbs[i].words, ctl_verbs[i].help);
	puts("\nOptions may stand anywhere; -- ends them.\n");
	option_print(&ctl_options[OPTION_JSON]);
	option_print(&ctl_options[OPTION_SOCKET]);
	option_print(&ctl_options[OPTION_RUNTIME]);
	option_print(&ctl_options[OPTION_CHECK]);
	puts("\nExit status: 0 done, 1 sluiced refused, 2 wrong usage, 3 no sluiced.\n"
	     "sluicectl help VERB tells more of one of them.");
}

static json_t *
verb_json(const struct ctl_verb *verb)
{
	static const char *const access[] = {"none", "look", "change"};
	json_t *options = json_array();

	for (int i = 0; i < OPTIONS; i++)
		if (ctl_verb_takes(verb, i))
			json_array_append_new(options, json_string(ctl_options[i].name));
	return json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:s}", "verb", verb->words, "arguments",
		verb->arguments, "options", options, "access", access[verb->access], "help",
		verb->help, "text", verb->text, "example", verb->example);
}

int
verb_HELP(struct ctl *ctl)
{
	const struct ctl_args *args = &ctl->args;
	char wanted[64] = "";
	size_t length;
	unsigned found = 0;
	json_t *list;

	for (unsigned i = 0; i < args->count; i++)
		snprintf(wanted + strlen(wanted), sizeof(wanted) - strlen(wanted), "%s%s",
			i != 0 ? " " : "", args->words[i]);
	length = strlen(wanted);
	if (length == 0 && !ctl->json && args->option[OPTION_VERBS] == NULL) {
		verbs_print();
		return CTL_DONE;
	}
	/* also all verbs of a family, such as those of rules; one that is named exactly is alone */
	for (unsigned i = 0; i < ctl_verb_count; i++)
		if (strcmp(ctl_verbs[i].words, wanted) == 0)
			found++;
	list = json_array();
	for (unsigned i = 0, exact = found; i < ctl_verb_count; i++) {
		const struct ctl_verb *verb = &ctl_verbs[i];

		if (exact != 0 ? strcmp(verb->words, wanted) != 0
			       : length != 0 && (strncmp(verb->words, wanted, length) != 0 ||
							verb->words[length] != ' '))
			continue;
		if (ctl->json)
			json_array_append_new(list, verb_json(verb));
		else if (args->option[OPTION_VERBS] != NULL)
			puts(verb->words);
		else if (exact != 0)
			verb_print(verb);
		else
			printf("  %-18s %s\n", verb->words, verb->help);
		found += exact == 0;
	}
	if (found != 0 && ctl->json) {
		json_t *answer = json_pack("{s:O}", "verbs", list);

		ctl_print_json(ctl, answer);
		json_decref(answer);
	}
	json_decref(list);
	if (found != 0)
		return CTL_DONE;
	ctl_error("help: there is no verb %s; sluicectl help lists them", wanted);
	return CTL_USAGE;
}
