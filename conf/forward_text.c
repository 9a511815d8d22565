/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The text of a port forward -> struct conf_forward.
 *
 *	action=forward forwardtype=external proto=tcp srchost=192.0.2.0/24 srcports=8443
 *dstports=443
 *
 * The values are those of a [forward NAME] section and are read by the same parsers.
 */
#include "conf/rule_text.h"
#include "conf/value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

/* Longest value that a message quotes, in bytes. */
#define QUOTE_MAX 64

struct parser {
	struct conf_forward *forward;
	uint64_t now_s;
	unsigned seen; /* bit per row of the table */
	char *error;
	size_t error_size;
};

static int refuse(struct parser *parser, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int
refuse(struct parser *parser, const char *format, ...)
{
	va_list arguments;

	if (parser->error_size == 0)
		return -EINVAL;
	va_start(arguments, format);
	vsnprintf(parser->error, parser->error_size, format, arguments);
	va_end(arguments);
	text_sanitise(parser->error);
	return -EINVAL;
}

static bool
action_parse(struct parser *parser, const char *value, char *reason)
{
	(void)parser;
	return strcmp(value, "forward") == 0 || value_wrong(reason, "is no forward");
}

static bool
forwardtype_parse(struct parser *parser, const char *value, char *reason)
{
	return value_forward_side(value, &parser->forward->side, reason);
}

static bool
proto_parse(struct parser *parser, const char *value, char *reason)
{
	return value_forward_protocol(value, &parser->forward->protocol, reason);
}

static bool
srchost_parse(struct parser *parser, const char *value, char *reason)
{
	struct conf_forward *forward = parser->forward;

	if (!value_prefix(value, &forward->source_family, &forward->source, reason))
		return false;
	forward->has_source = true;
	return true;
}

static bool
srcports_parse(struct parser *parser, const char *value, char *reason)
{
	return value_ports(value, 1, &parser->forward->first, &parser->forward->last, reason);
}

static bool
dstports_parse(struct parser *parser, const char *value, char *reason)
{
	return value_ports(
		value, 1, &parser->forward->target_first, &parser->forward->target_last, reason);
}

static bool
expire_parse(struct parser *parser, const char *value, char *reason)
{
	return value_expire(value, parser->now_s, &parser->forward->expire_s, reason);
}

static bool
comment_parse(struct parser *parser, const char *value, char *reason)
{
	return value_comment(&parser->forward->comment, value, reason);
}

/* Each row is KEY(identifier, "name", needed, "what is allowed"). */
/* clang-format off */
#define FORWARD_KEYS(KEY) \
	KEY(action,	 true,	"forward") \
	KEY(forwardtype, true,	"external, internal") \
	KEY(proto,	 true,	"tcp, udp") \
	KEY(srchost,	 false, "ADDRESS or ADDRESS/LENGTH of those who may connect") \
	KEY(srcports,	 true,	"PORT or LOW-HIGH in 1..65535, where we listen") \
	KEY(dstports,	 false, "PORT or LOW-HIGH in 1..65535 on the qube") \
	KEY(expire,	 false, "a unix time, or +SECONDS") \
	KEY(comment,	 false, "text without control characters")
/* clang-format on */

enum forward_key {
#define KEY_ENUM(name, needed, allowed) FORWARD_KEY_##name,
	FORWARD_KEYS(KEY_ENUM)
#undef KEY_ENUM
		FORWARD_KEY_COUNT
};

static const struct {
	const char *name;
	bool needed;
	const char *allowed;
	bool (*parse)(struct parser *parser, const char *value, char *reason);
} forward_keys[FORWARD_KEY_COUNT] = {
#define KEY_ROW(name, needed, allowed) {#name, needed, allowed, name##_parse},
	FORWARD_KEYS(KEY_ROW)
#undef KEY_ROW
};

static int
token_take(struct parser *parser, const char *key, const char *value)
{
	char reason[REASON_SIZE];
	unsigned row;

	for (row = 0; row < FORWARD_KEY_COUNT; row++)
		if (strcmp(key, forward_keys[row].name) == 0)
			break;
	if (row == FORWARD_KEY_COUNT)
		return refuse(parser,
			"syntax: unknown key \"%.*s\" of a forward; allowed: action, forwardtype, "
			"proto, srchost, srcports, dstports, expire, comment",
			QUOTE_MAX, key);
	if ((parser->seen >> row & 1) != 0)
		return refuse(parser, "%s: stands twice in one forward", key);
	parser->seen |= 1u << row;
	if (!forward_keys[row].parse(parser, value, reason))
		return refuse(parser, "%s: \"%.*s\" %s; allowed: %s", key, QUOTE_MAX, value, reason,
			forward_keys[row].allowed);
	return 0;
}

static int
forward_check(struct parser *parser)
{
	struct conf_forward *forward = parser->forward;
	unsigned listens, targets;

	for (unsigned row = 0; row < FORWARD_KEY_COUNT; row++)
		if (forward_keys[row].needed && (parser->seen >> row & 1) == 0)
			return refuse(parser, "%s: missing; allowed: %s", forward_keys[row].name,
				forward_keys[row].allowed);
	if ((parser->seen >> FORWARD_KEY_dstports & 1) == 0) {
		forward->target_first = forward->first;
		forward->target_last = forward->last;
	}
	listens = forward->last - forward->first + 1u;
	targets = forward->target_last - forward->target_first + 1u;
	if (targets != 1 && targets != listens)
		return refuse(parser,
			"dstports: %u ports for the %u of srcports; allowed: as many, or one for "
			"all",
			targets, listens);
	return 0;
}

int
forward_parse(const char *text, uint64_t now_s, struct conf_forward *forward, char *error,
	size_t error_size)
{
	struct parser parser = {
		.forward = forward, .now_s = now_s, .error = error, .error_size = error_size};
	size_t length = strnlen(text, RULE_TEXT_MAX + 1);
	char *copy, *cursor, *key, *value;
	int result;

	*forward = (struct conf_forward){0};
	if (length > RULE_TEXT_MAX)
		return refuse(&parser, "syntax: longer than %u bytes", RULE_TEXT_MAX);
	cursor = copy = strndup(text, length);
	if (copy == NULL)
		return refuse(&parser, "syntax: out of memory");
	while ((result = rule_token_next(&cursor, &key, &value, error, error_size)) > 0) {
		result = token_take(&parser, key, value);
		if (result != 0)
			break;
	}
	if (result == 0)
		result = forward_check(&parser);
	free(copy);
	if (result == 0)
		return 0;
	free(forward->comment);
	*forward = (struct conf_forward){0};
	return result;
}

bool
rule_text_is_forward(const char *text)
{
	char error[RULE_ERROR_SIZE];
	char *copy = strdup(text);
	char *cursor = copy, *key, *value;
	bool found = false;

	while (copy != NULL && !found &&
		rule_token_next(&cursor, &key, &value, error, sizeof(error)) > 0)
		found = strcmp(key, "action") == 0 && strcmp(value, "forward") == 0;
	free(copy);
	return found;
}
