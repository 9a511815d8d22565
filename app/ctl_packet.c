/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/ctl_packet.h"

#include <stdlib.h>
#include <string.h>

#include "app/ctl_table.h"

/* A rule is named by its text, or by an object that says whose it is. */
static void
rule_print(FILE *stream, const json_t *rule)
{
	if (json_is_string(rule))
		print_clean(stream, " [%s]", json_string_value(rule));
	else if (json_is_integer(rule))
		print_clean(stream, " [rule %lld]", (long long)json_integer_value(rule));
	else if (json_object_get(rule, "number") != NULL)
		print_clean(stream, " [rule %lld: %s]", (long long)json_int(rule, "number"),
			json_text(rule, "rule"));
	else if (json_object_get(rule, "policy") != NULL)
		print_clean(stream, " [policy=%s]", json_text(rule, "policy"));
}

void
packet_print(FILE *stream, const json_t *packet, bool colour, bool stages)
{
	const char *verdict = json_text(packet, "verdict");
	const char *reason = json_text(packet, "reason");
	const char *flags = json_text(packet, "flags");
	const json_t *icmp = json_object_get(packet, "icmp");
	enum style style = strcmp(verdict, "drop") == 0 ? STYLE_BAD : STYLE_GOOD;
	const json_t *stage;
	char text[TEXT_SHORT];
	size_t i;

	print_clean(stream, "%s %s %s %s", text_clock(json_real_of(packet, "time"), text),
		json_text(packet, "port"), json_text(packet, "proto"), json_text(packet, "source"));
	if (*json_text(packet, "destination") != '\0')
		print_clean(stream, " > %s", json_text(packet, "destination"));
	if (*flags != '\0')
		print_clean(stream, " [%s]", flags);
	if (json_is_string(icmp))
		print_clean(stream, " %s", json_string_value(icmp));
	else if (icmp != NULL) {
		char *dumped = json_dumps(icmp, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);

		print_clean(stream, " icmp %s", dumped != NULL ? dumped : "");
		free(dumped);
	}
	fprintf(stream, " length %lld: %s", (long long)json_int(packet, "length"),
		style_on(style, colour));
	print_clean(stream, "%s%s%s", verdict, *reason != '\0' ? " " : "", reason);
	fputs(style_off(style, colour), stream);
	rule_print(stream, json_object_get(packet, "rule"));
	if (*json_text(packet, "out") != '\0')
		print_clean(stream, " > %s", json_text(packet, "out"));
	putc('\n', stream);
	if (stages)
		json_array_foreach (json_object_get(packet, "stages"), i, stage)
			print_clean(stream, "    %s\n", json_string_value(stage));
}
