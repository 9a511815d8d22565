/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/ctl_table.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

/* Between two columns. */
#define GAP 2

/* One character of UTF-8. @return its bytes; 0: these are none */
static unsigned
character(const unsigned char *text, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned length = text[0] < 0x80    ? 1
			  : text[0] < 0xc2  ? 0
			  : text[0] < 0xe0  ? 2
			  : text[0] < 0xf0  ? 3
			  : text[0] <= 0xf4 ? 4
					    : 0;

	if (length <= 1) {
		*code = text[0];
		return length;
	}
	*code = text[0] & (0xffu >> (length + 1));
	for (unsigned i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (text[i] & 0x3f);
	}
	if (*code < least[length] || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000))
		return 0;
	return length;
}

/* C0, C1, and what turns or hides writing: such a character can make a line look like another. */
static bool
harmful(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0xad || code == 0x61c ||
	       (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
	       (code >= 0x2060 && code <= 0x206f) || code == 0xfeff ||
	       (code >= 0xfff0 && code <= 0xfffb) || (code >= 0xe0000 && code <= 0xe0fff);
}

void
text_clean(char *text)
{
	unsigned char *to = (unsigned char *)text;

	for (const unsigned char *from = to; *from != '\0';) {
		uint32_t code;
		unsigned length = character(from, &code);

		if (length == 0 || harmful(code)) {
			*to++ = '?';
			from += length == 0 ? 1 : length;
			continue;
		}
		for (unsigned i = 0; i < length; i++)
			*to++ = *from++;
	}
	*to = '\0';
}

unsigned
text_width(const char *text)
{
	unsigned width = 0;

	for (const unsigned char *byte = (const unsigned char *)text; *byte != '\0';) {
		uint32_t code;
		unsigned length = character(byte, &code);
		int columns = length == 0 ? 1 : wcwidth((wchar_t)code);

		width += columns < 0 ? 1 : (unsigned)columns;
		byte += length == 0 ? 1 : length;
	}
	return width;
}

void
text_clip(char *text, unsigned width)
{
	unsigned char *byte = (unsigned char *)text;

	while (*byte != '\0') {
		uint32_t code;
		unsigned length = character(byte, &code);
		int columns = length == 0 ? 1 : wcwidth((wchar_t)code);

		columns = columns < 0 ? 1 : columns;
		if ((unsigned)columns > width)
			break;
		width -= (unsigned)columns;
		byte += length == 0 ? 1 : length;
	}
	*byte = '\0';
}

void
print_clean(FILE *stream, const char *format, ...)
{
	char *line = NULL;
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(&line, format, arguments) < 0)
		line = NULL;
	va_end(arguments);
	if (line != NULL) {
		size_t length = strlen(line);
		bool end = length != 0 && line[length - 1] == '\n';

		if (end)
			line[length - 1] = '\0';
		text_clean(line);
		fputs(line, stream);
		if (end)
			putc('\n', stream);
	}
	free(line);
}

static const char *const style_codes[] = {
	[STYLE_PLAIN] = "",
	[STYLE_BOLD] = "\033[1m",
	[STYLE_GOOD] = "\033[32m",
	[STYLE_BAD] = "\033[31m",
	[STYLE_WARN] = "\033[33m",
	[STYLE_DIM] = "\033[2m",
};

const char *
style_on(enum style style, bool colour)
{
	return colour ? style_codes[style] : "";
}

const char *
style_off(enum style style, bool colour)
{
	return colour && style != STYLE_PLAIN ? "\033[0m" : "";
}

static void
table_add(struct table *table, char *text, enum style style)
{
	if (table->count == table->capacity) {
		size_t capacity = table->capacity == 0 ? 64 : 2 * table->capacity;
		char **cells = realloc(table->cells, capacity * sizeof(*cells));
		enum style *styles;

		if (cells != NULL)
			table->cells = cells;
		styles = realloc(table->styles, capacity * sizeof(*styles));
		if (styles != NULL)
			table->styles = styles;
		if (cells == NULL || styles == NULL) {
			free(text);
			return;
		}
		table->capacity = capacity;
	}
	table->cells[table->count] = text;
	table->styles[table->count++] = style;
}

void
table_begin(struct table *table, const char *titles)
{
	*table = (struct table){0};
	while (table->columns < sizeof(table->right) / sizeof(table->right[0])) {
		size_t length;

		table->right[table->columns] = *titles == '>';
		titles += *titles == '>';
		length = strcspn(titles, "|");
		table->columns++;
		table_add(table, strndup(titles, length), STYLE_BOLD);
		if (titles[length] == '\0')
			break;
		titles += length + 1;
	}
}

void
table_cell(struct table *table, const char *format, ...)
{
	char *text = NULL;
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		text = NULL;
	va_end(arguments);
	if (text != NULL)
		text_clean(text);
	table_add(table, text, STYLE_PLAIN);
}

void
table_style(struct table *table, enum style style)
{
	if (table->count != 0)
		table->styles[table->count - 1] = style;
}

size_t
table_rows(const struct table *table)
{
	return table->count / table->columns - 1;
}

static void
table_print_row(const struct table *table, size_t row, const unsigned *widths, FILE *stream,
	bool colour, unsigned indent)
{
	unsigned pending = indent; /* blanks that are only printed when something follows */

	for (unsigned column = 0; column < table->columns; column++) {
		size_t index = row * table->columns + column;
		const char *text = index < table->count ? table->cells[index] : NULL;
		enum style style = index < table->count ? table->styles[index] : STYLE_PLAIN;
		unsigned width;

		if (text == NULL)
			text = "";
		width = text_width(text);
		if (table->right[column])
			pending += widths[column] - width;
		if (*text != '\0') {
			fprintf(stream, "%*s%s%s%s", (int)pending, "", style_on(style, colour),
				text, style_off(style, colour));
			pending = 0;
		}
		if (!table->right[column])
			pending += widths[column] - (*text != '\0' ? width : 0);
		pending += GAP;
	}
	putc('\n', stream);
}

void
table_print(struct table *table, FILE *stream, bool colour, unsigned indent)
{
	unsigned widths[16] = {0};

	for (size_t i = 0; i < table->count; i++) {
		unsigned width = table->cells[i] != NULL ? text_width(table->cells[i]) : 0;

		if (width > widths[i % table->columns])
			widths[i % table->columns] = width;
	}
	for (size_t row = 0; row * table->columns < table->count; row++)
		table_print_row(table, row, widths, stream, colour, indent);
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table->styles);
	*table = (struct table){0};
}

static const char *
scaled(double value, const char *const *units, char buffer[TEXT_SHORT])
{
	unsigned unit = 0;

	/* what would be printed as 1000 goes to the next unit */
	while (units[unit + 1] != NULL && value >= (unit == 0 ? 1000 : 999.5)) {
		value /= 1000;
		unit++;
	}
	snprintf(buffer, TEXT_SHORT, unit != 0 && value < 9.95 ? "%.1f%s" : "%.0f%s", value,
		units[unit]);
	return buffer;
}

const char *
text_count(uint64_t count, char buffer[TEXT_SHORT])
{
	static const char *const units[] = {"", "k", "M", "G", "T", "P", "E", NULL};

	return scaled((double)count, units, buffer);
}

const char *
text_bytes(uint64_t bytes, char buffer[TEXT_SHORT])
{
	static const char *const units[] = {" B", " kB", " MB", " GB", " TB", " PB", " EB", NULL};

	return scaled((double)bytes, units, buffer);
}

const char *
text_rate(double bits_per_second, char buffer[TEXT_SHORT])
{
	static const char *const units[] = {
		" bit/s", " kbit/s", " Mbit/s", " Gbit/s", " Tbit/s", NULL};

	return scaled(bits_per_second < 0 ? 0 : bits_per_second, units, buffer);
}

const char *
text_age(int64_t seconds, char buffer[TEXT_SHORT])
{
	uint64_t s = seconds < 0 ? 0 : (uint64_t)seconds;

	if (s < 60)
		snprintf(buffer, TEXT_SHORT, "%" PRIu64 "s", s);
	else if (s < 3600)
		snprintf(buffer, TEXT_SHORT, "%" PRIu64 "m%02us", s / 60, (unsigned)(s % 60));
	else if (s < 86400)
		snprintf(
			buffer, TEXT_SHORT, "%" PRIu64 "h%02um", s / 3600, (unsigned)(s / 60 % 60));
	else
		snprintf(buffer, TEXT_SHORT, "%" PRIu64 "d%02uh", s / 86400,
			(unsigned)(s / 3600 % 24));
	return buffer;
}

const char *
text_clock(double unix_time, char buffer[TEXT_SHORT])
{
	time_t seconds = (time_t)unix_time;
	unsigned micro = (unsigned)((unix_time - (double)seconds) * 1e6 + 0.5);
	struct tm local;
	size_t length;

	if (micro > 999999)
		micro = 999999;
	if (unix_time < 0 || unix_time > 1e15 || localtime_r(&seconds, &local) == NULL) {
		strcpy(buffer, "?");
		return buffer;
	}
	length = strftime(buffer, TEXT_SHORT, "%H:%M:%S", &local);
	snprintf(buffer + length, TEXT_SHORT - length, ".%06u", micro);
	return buffer;
}

json_int_t
json_int(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

double
json_real_of(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	/* times of packets are text, where a number would lose digits */
	if (json_is_string(value))
		return strtod(json_string_value(value), NULL);
	return json_number_value(value);
}

const char *
json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

bool
json_flag(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}
