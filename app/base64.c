/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/base64.h"

#include <errno.h>
#include <string.h>

static const char alphabet[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t
base64_encode(char *text, const void *data, size_t length)
{
	const uint8_t *byte = data;
	char *at = text;

	for (; length >= 3; byte += 3, length -= 3) {
		*at++ = alphabet[byte[0] >> 2];
		*at++ = alphabet[(byte[0] << 4 | byte[1] >> 4) & 63];
		*at++ = alphabet[(byte[1] << 2 | byte[2] >> 6) & 63];
		*at++ = alphabet[byte[2] & 63];
	}
	if (length > 0) {
		unsigned second = length == 2 ? byte[1] : 0;

		*at++ = alphabet[byte[0] >> 2];
		*at++ = alphabet[(byte[0] << 4 | second >> 4) & 63];
		*at++ = length == 2 ? alphabet[second << 2 & 63] : '=';
		*at++ = '=';
	}
	*at = '\0';
	return (size_t)(at - text);
}

/* @return the value of a character, or -1 */
static int
value_of(char character)
{
	const char *at = character != '\0' ? strchr(alphabet, character) : NULL;

	return at != NULL ? (int)(at - alphabet) : -1;
}

ssize_t
base64_decode(void *data, const char *text, size_t length)
{
	uint8_t *out = data;
	size_t padding = 0;

	if (length % 4 != 0)
		return -EINVAL;
	while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; i < length; i += 4) {
		size_t characters = 4 - (i + 4 == length ? padding : 0);
		uint32_t word = 0;

		for (size_t j = 0; j < 4; j++) {
			int value = j < characters ? value_of(text[i + j]) : 0;

			if (value < 0)
				return -EINVAL;
			word = word << 6 | (uint32_t)value;
		}
		/* What does not fill a byte must be zero: one text for one value. */
		if (characters < 4 && (word & (characters == 3 ? 0xffu : 0xffffu)) != 0)
			return -EINVAL;
		*out++ = (uint8_t)(word >> 16);
		if (characters > 2)
			*out++ = (uint8_t)(word >> 8);
		if (characters > 3)
			*out++ = (uint8_t)word;
	}
	return out - (uint8_t *)data;
}
