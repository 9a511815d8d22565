/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules and forwards back to text, in the one form that they are shown and kept in. What is written
 * here is read as the same rule again.
 */
#include "conf/rule_text.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>

static void
ports_write(FILE *stream, const char *key, uint16_t first, uint16_t last)
{
	fprintf(stream, " %s=%u-%u", key, first, last);
}

static void
annotations_write(FILE *stream, uint64_t expire_s, const char *comment)
{
	if (expire_s != 0)
		fprintf(stream, " expire=%" PRIu64, expire_s);
	if (comment == NULL)
		return;
	fputc(' ', stream);
	rule_token_write(stream, "comment", comment);
}

static void
rule_write(FILE *stream, const struct rule *rule)
{
	static const char *const protocols[] = {
		[RULE_TCP] = "tcp", [RULE_UDP] = "udp", [RULE_ICMP] = "icmp"};
	char text[ADDRESS_TEXT_SIZE];

	fprintf(stream, "action=%s", rule->action == ACTION_ACCEPT ? "accept" : "drop");
	switch (rule->destination) {
	case DESTINATION_IPV4:
		fprintf(stream, " dst4=%s", prefix_format(text, FAMILY_IPV4, &rule->prefix));
		break;
	case DESTINATION_IPV6:
		fprintf(stream, " dst6=%s", prefix_format(text, FAMILY_IPV6, &rule->prefix));
		break;
	case DESTINATION_NAME:
		fprintf(stream, " dsthost=%s", rule->name);
		break;
	case DESTINATION_ANY:
	default:
		break;
	}
	if (rule->protocol != RULE_ANY)
		fprintf(stream, " proto=%s", protocols[rule->protocol]);
	if (rule->dns)
		fputs(" specialtarget=dns", stream);
	if (rule->has_ports)
		ports_write(stream, "dstports", rule->port_low, rule->port_high);
	if (rule->has_icmp_type)
		fprintf(stream, " icmptype=%u", rule->icmp_type);
}

static void
forward_write(FILE *stream, const struct conf_forward *forward)
{
	char text[ADDRESS_TEXT_SIZE];

	fprintf(stream, "action=forward forwardtype=%s proto=%s",
		forward->side == FORWARD_EXTERNAL ? "external" : "internal",
		forward->protocol == IPPROTO_TCP ? "tcp" : "udp");
	if (forward->has_source)
		fprintf(stream, " srchost=%s",
			prefix_format(text, forward->source_family, &forward->source));
	ports_write(stream, "srcports", forward->first, forward->last);
	ports_write(stream, "dstports", forward->target_first, forward->target_last);
}

/* @return what was written to a memory stream, NULL when it could not be */
static char *
stream_text(FILE *stream, char **text)
{
	if (fclose(stream) == 0)
		return *text;
	free(*text);
	return NULL;
}

char *
rule_format(const struct rule *rule, bool bare)
{
	char *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);

	if (stream == NULL)
		return NULL;
	rule_write(stream, rule);
	if (!bare)
		annotations_write(stream, rule->expire_s, rule->comment);
	return stream_text(stream, &text);
}

char *
forward_format(const struct conf_forward *forward, bool bare)
{
	char *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);

	if (stream == NULL)
		return NULL;
	forward_write(stream, forward);
	if (!bare)
		annotations_write(stream, forward->expire_s, forward->comment);
	return stream_text(stream, &text);
}
