/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Output for people: aligned columns, numbers with units, times, colours.
 *
 * Names, comments and error texts come from whoever could write them. Whatever moves a cursor,
 * turns the direction of writing or is no character is replaced before it reaches a terminal.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_GOOD, STYLE_BAD, STYLE_WARN, STYLE_DIM };

struct table {
	unsigned columns;
	bool right[16];
	char **cells; /* the first row holds the titles */
	enum style *styles;
	size_t count, capacity; /* of cells */
};

/** @param titles separated by |, a > in front of those of columns that are aligned right */
void table_begin(struct table *table, const char *titles);

/** The next cell; rows are filled from left to right. */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Style of the cell added last. */
void table_style(struct table *table, enum style style);

/** Number of rows, without titles. */
size_t table_rows(const struct table *table);

/** Print it with @p indent blanks in front of each line, and free it. */
void table_print(struct table *table, FILE *stream, bool colour, unsigned indent);

/** Replace what is harmful on a terminal. UTF-8 stays UTF-8; bytes that are none become `?`. */
void text_clean(char *text);

/** How many columns of a terminal a text takes. */
unsigned text_width(const char *text);

/** Cut a text so that it takes at most @p width columns. */
void text_clip(char *text, unsigned width);

/** printf of @p format, cleaned; a line end at its end stays. */
void print_clean(FILE *stream, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Escape sequence of a style, or "" without colour. */
const char *style_on(enum style style, bool colour);
const char *style_off(enum style style, bool colour);

#define TEXT_SHORT 32
/** 999, 1.2k, 34M; in units of 1000. */
const char *text_count(uint64_t count, char buffer[TEXT_SHORT]);
/** 12.3 MB */
const char *text_bytes(uint64_t bytes, char buffer[TEXT_SHORT]);
/** 12.3 Mbit/s */
const char *text_rate(double bits_per_second, char buffer[TEXT_SHORT]);
/** 4m12s, 3d04h; at most two units. */
const char *text_age(int64_t seconds, char buffer[TEXT_SHORT]);
/** 14:02:11.123456 of a unix time, local. */
const char *text_clock(double unix_time, char buffer[TEXT_SHORT]);

/* Members of an answer. What is missing or of another type is 0 or "". */
json_int_t json_int(const json_t *object, const char *key);
double json_real_of(const json_t *object, const char *key);
const char *json_text(const json_t *object, const char *key);
bool json_flag(const json_t *object, const char *key);
