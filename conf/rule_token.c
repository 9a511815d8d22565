/* SPDX-License-Identifier: BSD-3-Clause */
#include "conf/rule_token.h"

#include <errno.h>
#include <string.h>

#include "conf/conf.h"

/* Longest piece of a text that a message quotes, in bytes. */
#define QUOTE_MAX 64

#define BLANKS " \t"

static int
refuse(char *error, size_t error_size, const char *what, const char *token)
{
	snprintf(error, error_size, "syntax: \"%.*s\" %s", QUOTE_MAX, token, what);
	text_sanitise(error);
	return -EINVAL;
}

/* A value from behind its opening quote on, unescaped in place. @return behind it; NULL: no end */
static char *
quoted_end(char *text)
{
	char *written = text;

	for (; *text != '"'; text++) {
		if (*text == '\\' && (text[1] == '"' || text[1] == '\\'))
			text++;
		else if (*text == '\\' || *text == '\0')
			return NULL;
		*written++ = *text;
	}
	*written = '\0';
	return text + 1;
}

int
rule_token_next(char **cursor, char **key, char **value, char *error, size_t error_size)
{
	char *token = *cursor + strspn(*cursor, BLANKS);
	char *equals, *end;

	if (*token == '\0')
		return 0;
	equals = token + strcspn(token, "=\"" BLANKS);
	if (*equals != '=') {
		token[strcspn(token, BLANKS)] = '\0';
		return refuse(error, error_size, "is no KEY=VALUE", token);
	}
	*equals = '\0';
	*key = token;
	*value = equals + 1;
	if (**value == '"') {
		(*value)++;
		end = quoted_end(*value);
		if (end == NULL)
			return refuse(error, error_size,
				"has a value whose quotes do not end, or another escape than \\\" "
				"and \\\\",
				token);
		if (*end != '\0' && strchr(BLANKS, *end) == NULL)
			return refuse(error, error_size, "goes on behind its quotes", token);
		*cursor = end;
		return 1;
	}
	end = *value + strcspn(*value, BLANKS);
	*cursor = end + (*end != '\0');
	*end = '\0';
	if (strpbrk(*value, "=\"\\") != NULL)
		return refuse(error, error_size,
			"has a value with = \" or \\, which must stand in double quotes", token);
	return 1;
}

void
rule_token_write(FILE *stream, const char *key, const char *value)
{
	fprintf(stream, "%s=", key);
	/* What begins with a quote would be read as quoted. */
	if (value[0] != '\0' && strpbrk(value, "=\"\\" BLANKS) == NULL) {
		fputs(value, stream);
		return;
	}
	if (value[0] == '\0')
		return;
	fputc('"', stream);
	for (; *value != '\0'; value++) {
		if (*value == '"' || *value == '\\')
			fputc('\\', stream);
		fputc(*value, stream);
	}
	fputc('"', stream);
}
