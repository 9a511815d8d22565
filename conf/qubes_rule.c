/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One Qubes rule string -> struct rule.
 *
 *	action=accept dst4=93.184.216.34/32 proto=tcp dstports=443-443
 *
 * The same text arrives from rules files and from QubesDB. It is taken strictly: one space between
 * tokens, exactly one `=` in each, known keys, none twice. Whatever is not understood refuses the
 * whole source, so guessing would only hide a mistake that widens or narrows a policy.
 *
 * Over the control socket and from imports come the same rules as people type them (rule_text.h):
 * with quotes, as many blanks as they like, an end and a comment. Those have another reader of
 * tokens, and the same table.
 *
 * Keys are one table, in any order in the text. Each parser looks at its own value only; what keys
 * demand of each other is checked once at the end, so that the order of tokens never matters.
 */
#include "conf/rule_text.h"
#include "conf/value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_common.h>

/* Longest piece of a rule that a message quotes, in bytes. */
#define QUOTE_MAX 64

enum rule_key {
	KEY_ACTION,
	KEY_DST4,
	KEY_DST6,
	KEY_DSTHOST,
	KEY_PROTO,
	KEY_SPECIALTARGET,
	KEY_DSTPORTS,
	KEY_ICMPTYPE,
	/* as people type it only, else refused with the reason in the table */
	KEY_EXPIRE,
	KEY_COMMENT,
	/* known, but not rules of a packet filter: refused */
	KEY_FORWARDTYPE,
	KEY_SRCHOST,
	KEY_SRCPORTS,
	RULE_KEYS
};

struct parser {
	enum rule_tree tree;
	bool typed; /* by people: with ends and comments */
	uint64_t now_s;
	struct rule *rule;
	unsigned seen; /* bit per enum rule_key */
	char *error;
	size_t error_size;
};

#define SEEN(parser, key) (((parser)->seen >> (key)) & 1)

/* Write the reason and return what the parser returns. */
static int refuse(struct parser *parser, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int
refuse(struct parser *parser, const char *format, ...)
{
	va_list arguments;

	if (parser->error_size == 0)
		return -EINVAL;
	va_start(arguments, format);
	if (vsnprintf(parser->error, parser->error_size, format, arguments) < 0)
		parser->error[0] = '\0';
	va_end(arguments);
	text_sanitise(parser->error);
	return -EINVAL;
}

static int
action_parse(struct parser *parser, const char *value)
{
	if (strcmp(value, "accept") == 0)
		parser->rule->action = ACTION_ACCEPT;
	else if (strcmp(value, "drop") == 0)
		parser->rule->action = ACTION_DROP;
	else if (strcmp(value, "forward") == 0)
		return refuse(parser, "action: forward is a port forward, not a filter rule; "
				      "allowed here: accept, drop");
	else
		return refuse(parser, "action: \"%.*s\" is not an action; allowed: accept, drop",
			QUOTE_MAX, value);
	return 0;
}

static int
destination_parse(struct parser *parser, const char *value, enum family family)
{
	const char *key = family == FAMILY_IPV4 ? "dst4" : "dst6";
	const char *name = family == FAMILY_IPV4 ? "IPv4" : "IPv6";
	struct rule *rule = parser->rule;
	enum family found;
	int error;

	if (parser->tree == (family == FAMILY_IPV4 ? RULE_TREE_IPV6 : RULE_TREE_IPV4))
		return refuse(parser, "%s: not allowed among the rules of an %s address", key,
			family == FAMILY_IPV4 ? "IPv6" : "IPv4");
	error = prefix_parse(value, &found, &rule->prefix);
	if (error == -ERANGE)
		return refuse(parser, "%s: \"%.*s\": prefix length is over %u", key, QUOTE_MAX,
			value, family == FAMILY_IPV4 ? 32 : 128);
	if (error != 0 || found != family)
		return refuse(parser, "%s: \"%.*s\" is not an %s ADDRESS or ADDRESS/LENGTH", key,
			QUOTE_MAX, value, name);
	rule->destination = family == FAMILY_IPV4 ? DESTINATION_IPV4 : DESTINATION_IPV6;
	return 0;
}

static int
dst4_parse(struct parser *parser, const char *value)
{
	return destination_parse(parser, value, FAMILY_IPV4);
}

static int
dst6_parse(struct parser *parser, const char *value)
{
	return destination_parse(parser, value, FAMILY_IPV6);
}

static int
dsthost_parse(struct parser *parser, const char *value)
{
	/*
	 * Names that can never resolve ("", ".", "a..b") occur in the wild. They are legal and
	 * match nothing, so that one of them does not take the qube's other rules away.
	 */
	size_t length = strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-._");
	struct prefix prefix;
	enum family family;

	/* qvm-firewall takes addresses here as well, and makes them what they are. */
	if (parser->typed && prefix_parse(value, &family, &prefix) != -EINVAL)
		return destination_parse(parser, value, family);
	if (value[length] != '\0')
		return refuse(parser,
			"dsthost: \"%.*s\" is not a host name; allowed: a-z 0-9 - . _", QUOTE_MAX,
			value);
	/* A final dot says that the name is whole (RFC 1034 section 3.1), as they all are here. */
	if (length > 1 && value[length - 1] == '.' && value[length - 2] != '.')
		length--;
	parser->rule->name = strndup(value, length);
	if (parser->rule->name == NULL)
		return refuse(parser, "dsthost: out of memory");
	parser->rule->destination = DESTINATION_NAME;
	return 0;
}

static int
proto_parse(struct parser *parser, const char *value)
{
	if (strcmp(value, "tcp") == 0)
		parser->rule->protocol = RULE_TCP;
	else if (strcmp(value, "udp") == 0)
		parser->rule->protocol = RULE_UDP;
	else if (strcmp(value, "icmp") == 0)
		parser->rule->protocol = RULE_ICMP;
	else
		return refuse(parser, "proto: \"%.*s\" is not allowed; allowed: tcp, udp, icmp",
			QUOTE_MAX, value);
	return 0;
}

static int
specialtarget_parse(struct parser *parser, const char *value)
{
	if (strcmp(value, "dns") != 0)
		return refuse(parser, "specialtarget: \"%.*s\" is not allowed; allowed: dns",
			QUOTE_MAX, value);
	parser->rule->dns = true;
	return 0;
}

/*
 * Read the decimal number that @p text starts with. Digits only: strtoul() would take signs and
 * blanks. Saturates far over every limit of a rule.
 * @return the byte behind the number; @p text itself when there is none
 */
static const char *
decimal(const char *text, unsigned *number)
{
	*number = 0;
	for (; *text >= '0' && *text <= '9'; text++)
		if (*number < 1000000)
			*number = *number * 10 + (unsigned)(*text - '0');
	return text;
}

static int
dstports_parse(struct parser *parser, const char *value)
{
	const char *low_end, *high, *high_end;
	unsigned port_low, port_high;

	low_end = decimal(value, &port_low);
	high = low_end;
	high_end = low_end;
	port_high = port_low;
	if (*low_end == '-') {
		high = low_end + 1;
		high_end = decimal(high, &port_high);
	}
	if (low_end == value || (*low_end == '-' && high_end == high) || *high_end != '\0')
		return refuse(
			parser, "dstports: \"%.*s\" is not PORT or LOW-HIGH", QUOTE_MAX, value);
	if (port_low > UINT16_MAX)
		return refuse(parser, "dstports: %.*s is over %u",
			(int)RTE_MIN(low_end - value, QUOTE_MAX), value, UINT16_MAX);
	if (port_high > UINT16_MAX)
		return refuse(parser, "dstports: %.*s is over %u",
			(int)RTE_MIN(high_end - high, QUOTE_MAX), high, UINT16_MAX);
	if (port_low > port_high)
		return refuse(parser, "dstports: %u-%u runs backwards", port_low, port_high);
	parser->rule->has_ports = true;
	parser->rule->port_low = (uint16_t)port_low;
	parser->rule->port_high = (uint16_t)port_high;
	return 0;
}

static int
icmptype_parse(struct parser *parser, const char *value)
{
	unsigned type;
	const char *end = decimal(value, &type);

	if (end == value || *end != '\0')
		return refuse(parser, "icmptype: \"%.*s\" is not a number", QUOTE_MAX, value);
	if (type > UINT8_MAX)
		return refuse(parser, "icmptype: %.*s is over %u", QUOTE_MAX, value, UINT8_MAX);
	parser->rule->has_icmp_type = true;
	parser->rule->icmp_type = (uint8_t)type;
	return 0;
}

static int
expire_parse(struct parser *parser, const char *value)
{
	char reason[REASON_SIZE];

	if (!value_expire(value, parser->now_s, &parser->rule->expire_s, reason))
		return refuse(parser, "expire: \"%.*s\" %s; allowed: a unix time, or +SECONDS",
			QUOTE_MAX, value, reason);
	return 0;
}

static int
comment_parse(struct parser *parser, const char *value)
{
	char reason[REASON_SIZE];

	if (!value_comment(&parser->rule->comment, value, reason))
		return refuse(parser, "comment: \"%.*s\" %s", QUOTE_MAX, value, reason);
	return 0;
}

static const struct {
	const char *name;
	int (*parse)(struct parser *parser, const char *value);
	const char *refusal; /* why a known key is not taken; of one with a parser: strictly */
} rule_keys[RULE_KEYS] = {
	[KEY_ACTION] = {"action", action_parse, NULL},
	[KEY_DST4] = {"dst4", dst4_parse, NULL},
	[KEY_DST6] = {"dst6", dst6_parse, NULL},
	[KEY_DSTHOST] = {"dsthost", dsthost_parse, NULL},
	[KEY_PROTO] = {"proto", proto_parse, NULL},
	[KEY_SPECIALTARGET] = {"specialtarget", specialtarget_parse, NULL},
	[KEY_DSTPORTS] = {"dstports", dstports_parse, NULL},
	[KEY_ICMPTYPE] = {"icmptype", icmptype_parse, NULL},
	[KEY_EXPIRE] = {"expire", expire_parse, "a rule with an end cannot be given here"},
	[KEY_COMMENT] = {"comment", comment_parse,
		"not part of a rule here; write a # line of its own"},
	[KEY_FORWARDTYPE] = {"forwardtype", NULL,
		"belongs to a port forward, not to a filter rule"},
	[KEY_SRCHOST] = {"srchost", NULL, "belongs to a port forward, not to a filter rule"},
	[KEY_SRCPORTS] = {"srcports", NULL, "belongs to a port forward, not to a filter rule"},
};

static int
value_take(struct parser *parser, const char *name, const char *value)
{
	unsigned key;

	for (key = 0; key < RULE_KEYS; key++)
		if (strcmp(name, rule_keys[key].name) == 0)
			break;
	if (key == RULE_KEYS)
		return refuse(parser,
			"syntax: unknown key \"%.*s\"; allowed: action, dst4, dst6, dsthost, "
			"proto, specialtarget, dstports, icmptype%s",
			QUOTE_MAX, name, parser->typed ? ", expire, comment" : "");
	if (SEEN(parser, key))
		return refuse(parser, "%s: stands twice in one rule", rule_keys[key].name);
	if (rule_keys[key].parse == NULL || (rule_keys[key].refusal != NULL && !parser->typed))
		return refuse(parser, "%s: %s", rule_keys[key].name, rule_keys[key].refusal);
	parser->seen |= 1u << key;
	return rule_keys[key].parse(parser, value);
}

static int
token_parse(struct parser *parser, char *token)
{
	char *equals = strchr(token, '=');

	if (*token == '\0')
		return refuse(parser, "syntax: a rule is KEY=VALUE tokens with one space between "
				      "two of them, none at the ends");
	if (equals == NULL)
		return refuse(parser, "syntax: \"%.*s\" has no \"=\"", QUOTE_MAX, token);
	if (strchr(equals + 1, '=') != NULL)
		return refuse(parser, "syntax: \"%.*s\" has more than one \"=\"", QUOTE_MAX, token);
	*equals = '\0';
	return value_take(parser, token, equals + 1);
}

/* What the keys of one rule demand of each other. */
static int
rule_check(struct parser *parser)
{
	const struct rule *rule = parser->rule;

	if (!SEEN(parser, KEY_ACTION))
		return refuse(parser, "action: missing; every rule needs action=accept or "
				      "action=drop");
	if (SEEN(parser, KEY_DST4) + SEEN(parser, KEY_DST6) + SEEN(parser, KEY_DSTHOST) > 1)
		return refuse(parser, "%s: a rule has one destination: dst4, dst6 or dsthost",
			SEEN(parser, KEY_DSTHOST) ? "dsthost" : "dst6");
	if (rule->has_ports && rule->protocol != RULE_TCP && rule->protocol != RULE_UDP)
		return refuse(parser, "dstports: needs proto=tcp or proto=udp");
	if (rule->has_icmp_type && rule->protocol != RULE_ICMP)
		return refuse(parser, "icmptype: needs proto=icmp");
	if (rule->dns && rule->protocol == RULE_ICMP)
		return refuse(parser, "specialtarget: dns is tcp and udp, never proto=icmp");
	if (rule->dns && rule->has_ports && (rule->port_low != 53 || rule->port_high != 53))
		return refuse(parser, "specialtarget: dns is port 53, not dstports=%u-%u",
			rule->port_low, rule->port_high);
	return 0;
}

static int
tokens_parse(struct parser *parser, char *text)
{
	char *token;
	int error = 0;

	for (const char *byte = text; *byte != '\0'; byte++)
		if ((unsigned char)*byte < 0x20 || (unsigned char)*byte > 0x7e)
			return refuse(parser, "syntax: byte 0x%02x is not allowed in a rule%s",
				(unsigned char)*byte, *byte == '\r' ? " (DOS line end)" : "");
	/* strsep() yields an empty token for each space too many, wherever it stands. */
	while (error == 0 && (token = strsep(&text, " ")) != NULL)
		error = token_parse(parser, token);
	return error != 0 ? error : rule_check(parser);
}

static int
typed_parse(struct parser *parser, char *text)
{
	char *key, *value;
	int result;

	while ((result = rule_token_next(&text, &key, &value, parser->error, parser->error_size)) >
		0) {
		result = value_take(parser, key, value);
		if (result != 0)
			return result;
	}
	return result != 0 ? result : rule_check(parser);
}

static int
text_parse(struct parser *parser, const char *text)
{
	size_t length = strnlen(text, RULE_TEXT_MAX + 1);
	char *copy;
	int result;

	*parser->rule = (struct rule){0};
	if (length > RULE_TEXT_MAX)
		return refuse(parser, "syntax: longer than %u bytes", RULE_TEXT_MAX);
	copy = strndup(text, length);
	if (copy == NULL)
		return refuse(parser, "syntax: out of memory");
	result = parser->typed ? typed_parse(parser, copy) : tokens_parse(parser, copy);
	free(copy);
	if (result != 0)
		rule_clear(parser->rule);
	return result;
}

int
qubes_rule_parse(
	const char *text, enum rule_tree tree, struct rule *rule, char *error, size_t error_size)
{
	struct parser parser = {
		.tree = tree, .rule = rule, .error = error, .error_size = error_size};

	return text_parse(&parser, text);
}

int
rule_parse(const char *text, uint64_t now_s, struct rule *rule, char *error, size_t error_size)
{
	struct parser parser = {.tree = RULE_TREE_BOTH,
		.typed = true,
		.now_s = now_s,
		.rule = rule,
		.error = error,
		.error_size = error_size};

	return text_parse(&parser, text);
}
