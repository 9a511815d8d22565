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

/*
 * An address that one station can have. What the guard takes for a martian must not be configured,
 * or that station could never send.
 */
bool
address_is_unicast(enum family family, const union address *address, char *reason)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	static const uint8_t loopback[16] = {[15] = 1};
	const uint8_t *byte = address->v6;

	if (address_is_zero(address))
		return value_wrong(reason, "is the unspecified address");
	if (family == FAMILY_IPV4) {
		if (byte[0] == 0)
			return value_wrong(reason, "lies in 0.0.0.0/8");
		if (byte[0] == 127)
			return value_wrong(reason, "is a loopback address");
		if (byte[0] >= 240)
			return value_wrong(reason, "is a broadcast or reserved address");
		if (byte[0] >= 224)
			return value_wrong(reason, "is a multicast address");
		return true;
	}
	if (memcmp(byte, loopback, sizeof(loopback)) == 0)
		return value_wrong(reason, "is the loopback address");
	if (memcmp(byte, mapped, sizeof(mapped)) == 0)
		return value_wrong(reason, "is an IPv4 address in IPv6 clothes");
	if (byte[0] == 0xff)
		return value_wrong(reason, "is a multicast address");
	return true;
}

bool
address_is_link_local(enum family family, const union address *address)
{
	return family == FAMILY_IPV6 && address->v6[0] == 0xfe && (address->v6[1] & 0xc0) == 0x80;
}

bool
value_station(enum family family, const char *text, union address *address, char *reason)
{
	enum family found;

	if (address_parse(text, &found, address) != 0)
		return value_wrong(
			reason, "is not an %s address", family == FAMILY_IPV4 ? "IPv4" : "IPv6");
	if (found != family)
		return value_wrong(
			reason, "is an %s address", found == FAMILY_IPV4 ? "IPv4" : "IPv6");
	return address_is_unicast(family, address, reason);
}

bool
value_qube_address(enum family family, const char *text, union address *address, char *reason)
{
	if (strchr(text, '/') != NULL)
		return value_wrong(reason, "has a prefix length, a qube has single addresses");
	if (!value_station(family, text, address, reason))
		return false;
	if (address_is_link_local(family, address))
		return value_wrong(reason, "is a link-local address");
	return true;
}

bool
value_mac(const char *text, uint8_t stored[6], char *reason)
{
	static const uint8_t none[6];
	uint8_t mac[6];

	if (strlen(text) != strlen("xx:xx:xx:xx:xx:xx"))
		return value_wrong(reason, "is not a MAC");
	for (unsigned i = 0; i < sizeof(mac); i++) {
		const char *pair = text + 3 * i;

		if (!isxdigit((unsigned char)pair[0]) || !isxdigit((unsigned char)pair[1]) ||
			(i < 5 && pair[2] != ':'))
			return value_wrong(reason, "is not a MAC");
		mac[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	if (mac[0] & 1)
		return value_wrong(reason, "is a multicast MAC");
	if (memcmp(mac, none, sizeof(mac)) == 0)
		return value_wrong(reason, "is no station's MAC");
	memcpy(stored, mac, sizeof(mac));
	return true;
}
