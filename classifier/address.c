/* SPDX-License-Identifier: BSD-3-Clause */
#include "classifier/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

const char *
address_format(char *text, enum family family, const union address *address)
{
	if (inet_ntop(family == FAMILY_IPV4 ? AF_INET : AF_INET6, address->v6, text,
		    ADDRESS_TEXT_SIZE) == NULL)
		text[0] = '\0';
	return text;
}

const char *
prefix_format(char *text, enum family family, const struct prefix *prefix)
{
	char plain[INET6_ADDRSTRLEN];

	if (inet_ntop(family == FAMILY_IPV4 ? AF_INET : AF_INET6, prefix->address.v6, plain,
		    sizeof(plain)) == NULL)
		plain[0] = '\0';
	snprintf(text, ADDRESS_TEXT_SIZE, "%s/%u", plain, prefix->length);
	return text;
}

int
address_parse(const char *text, enum family *family, union address *address)
{
	union address parsed = {0};

	if (inet_pton(AF_INET, text, parsed.v6) == 1)
		*family = FAMILY_IPV4;
	else if (inet_pton(AF_INET6, text, parsed.v6) == 1)
		*family = FAMILY_IPV6;
	else
		return -EINVAL;
	*address = parsed;
	return 0;
}

static void
prefix_mask(struct prefix *prefix)
{
	for (unsigned byte = 0; byte < sizeof(prefix->address.v6); byte++) {
		unsigned first = byte * 8;

		if (first >= prefix->length)
			prefix->address.v6[byte] = 0;
		else if (prefix->length - first < 8)
			prefix->address.v6[byte] &= (uint8_t)(0xff00 >> (prefix->length - first));
	}
}

int
prefix_parse(const char *text, enum family *family, struct prefix *prefix)
{
	char plain[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t plain_length = slash ? (size_t)(slash - text) : strlen(text);
	unsigned long length;
	unsigned long longest;
	int error;

	if (plain_length >= sizeof(plain))
		return -EINVAL;
	memcpy(plain, text, plain_length);
	plain[plain_length] = '\0';
	error = address_parse(plain, family, &prefix->address);
	if (error != 0)
		return error;

	longest = *family == FAMILY_IPV4 ? 32 : 128;
	length = longest;
	if (slash != NULL) {
		size_t digits = strspn(slash + 1, "0123456789");

		if (digits == 0 || slash[1 + digits] != '\0')
			return -EINVAL;
		if (digits > 3)
			return -ERANGE;
		length = strtoul(slash + 1, NULL, 10);
		if (length > longest)
			return -ERANGE;
	}
	prefix->length = (uint8_t)length;
	prefix_mask(prefix);
	return 0;
}

bool
prefix_contains(const struct prefix *prefix, const union address *address)
{
	struct prefix other = {.address = *address, .length = prefix->length};

	prefix_mask(&other);
	return address_equal(&other.address, &prefix->address);
}
