/* SPDX-License-Identifier: BSD-3-Clause */
#include "conf/value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_common.h>

#include "classifier/policy.h"

bool
value_wrong(char *reason, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, REASON_SIZE, format, arguments);
	va_end(arguments);
	return false;
}

/* strtoull() would take signs and blanks. */
bool
value_decimal(const char *text, uint64_t least, uint64_t most, uint64_t *number, char *reason)
{
	if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0')
		return value_wrong(reason, "is not a number");
	for (*number = 0; *text != '\0'; text++) {
		*number = *number * 10 + (uint64_t)(*text - '0');
		if (*number > most)
			return value_wrong(reason, "is over %" PRIu64, most);
	}
	if (*number < least)
		return value_wrong(reason, "is under %" PRIu64, least);
	return true;
}

bool
value_ports(const char *text, unsigned least, uint16_t *first, uint16_t *last, char *reason)
{
	const char *dash = strchr(text, '-');
	char low_text[REASON_SIZE / 4], inner[REASON_SIZE / 2];
	uint64_t low, high;

	if (dash == NULL) {
		if (!value_decimal(text, least, UINT16_MAX, &low, reason))
			return false;
		high = low;
	} else {
		snprintf(low_text, sizeof(low_text), "%.*s",
			(int)RTE_MIN((size_t)(dash - text), sizeof(low_text) - 1), text);
		if (!value_decimal(low_text, least, UINT16_MAX, &low, inner))
			return value_wrong(reason, "is wrong: \"%s\" %s", low_text, inner);
		if (!value_decimal(dash + 1, least, UINT16_MAX, &high, inner))
			return value_wrong(reason, "is wrong: \"%.32s\" %s", dash + 1, inner);
		if (low > high)
			return value_wrong(reason, "runs backwards");
	}
	*first = (uint16_t)low;
	*last = (uint16_t)high;
	return true;
}

bool
value_text(char **stored, const char *text, char *reason)
{
	char *copy = strdup(text);

	if (copy == NULL)
		return value_wrong(reason, "needs more memory than there is");
	free(*stored);
	*stored = copy;
	return true;
}

bool
value_name(const char *name, char *reason)
{
	if (name[0] == '\0')
		return value_wrong(reason, "is empty");
	if (strlen(name) >= NAME_SIZE)
		return value_wrong(reason, "is longer than %u bytes", NAME_SIZE - 1);
	if (!isalnum((unsigned char)name[0]))
		return value_wrong(reason, "does not start with a letter or digit");
	for (; *name != '\0'; name++)
		if (!isalnum((unsigned char)*name) && strchr("-_.", *name) == NULL)
			return value_wrong(
				reason, "holds something else than letters, digits and - _ .");
	return true;
}

bool
value_forward_side(const char *text, enum forward_side *side, char *reason)
{
	if (strcmp(text, "external") == 0)
		*side = FORWARD_EXTERNAL;
	else if (strcmp(text, "internal") == 0)
		*side = FORWARD_INTERNAL;
	else
		return value_wrong(reason, "is no type of forward");
	return true;
}

bool
value_forward_protocol(const char *text, uint8_t *protocol, char *reason)
{
	if (strcmp(text, "tcp") == 0)
		*protocol = IPPROTO_TCP;
	else if (strcmp(text, "udp") == 0)
		*protocol = IPPROTO_UDP;
	else
		return value_wrong(reason, "has no ports to forward");
	return true;
}

bool
value_prefix(const char *text, enum family *family, struct prefix *prefix, char *reason)
{
	int error = prefix_parse(text, family, prefix);

	if (error == -ERANGE)
		return value_wrong(
			reason, "has a prefix length over %u", *family == FAMILY_IPV4 ? 32 : 128);
	if (error != 0)
		return value_wrong(reason, "is no address and no prefix");
	return true;
}

bool
value_expire(const char *text, uint64_t now_s, uint64_t *expire_s, char *reason)
{
	bool relative = text[0] == '+';
	uint64_t time_s = 0;

	if (relative && now_s == 0)
		return value_wrong(reason, "counts from no time, a unix time is needed here");
	if (!value_decimal(text + relative, 1, EXPIRE_MAX, &time_s, reason))
		return false;
	if (relative)
		time_s += now_s;
	if (time_s > EXPIRE_MAX)
		return value_wrong(reason, "ends after the year 9999");
	if (now_s != 0 && time_s <= now_s)
		return value_wrong(reason, "is over already: now is %" PRIu64, now_s);
	*expire_s = time_s;
	return true;
}

/* Bytes of the well-formed UTF-8 character at @p text (RFC 3629 section 4), 0 if there is none. */
static unsigned
utf8_length(const unsigned char *text)
{
	unsigned length = text[0] < 0x80 ? 1 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;

	if (length == 1)
		return 1;
	if (text[0] < 0xc2 || text[0] > 0xf4)
		return 0;
	for (unsigned i = 1; i < length; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	/* too long a form, a surrogate, over U+10FFFF */
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
		(text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
		return 0;
	return length;
}

bool
value_comment(char **stored, const char *text, char *reason)
{
	const unsigned char *byte = (const unsigned char *)text;

	if (*byte == '\0')
		return value_wrong(reason, "is empty");
	while (*byte != '\0') {
		unsigned length = utf8_length(byte);

		if (length == 0)
			return value_wrong(reason, "is not UTF-8");
		/* U+0080 to U+009F move cursors just as those below U+0020 do */
		if (*byte < 0x20 || *byte == 0x7f || (*byte == 0xc2 && byte[1] < 0xa0))
			return value_wrong(reason, "holds a control character");
		byte += length;
	}
	return value_text(stored, text, reason);
}
