/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/ctl_table.h"

#include <locale.h>
#include <string.h>

#include "tests/unit/unit.h"

static void
cleaned(const char *text, const char *expected)
{
	char copy[256];

	snprintf(copy, sizeof(copy), "%s", text);
	text_clean(copy);
	CU_ASSERT_STRING_EQUAL(copy, expected);
}

static void
test_clean(void)
{
	cleaned("web server", "web server");
	cleaned("\033[2Jgone\a\n\tx\x7f", "?[2Jgone???x?");
	cleaned("sm\303\266rg\303\245s \342\202\254 \360\237\230\200",
		"sm\303\266rg\303\245s \342\202\254 \360\237\230\200");
	/* C1 as UTF-8 and as bytes: CSI on some terminals */
	cleaned("a\302\2332Jb", "a?2Jb");
	cleaned("a\2332Jb", "a?2Jb");
	/* right-to-left override, isolates, zero width, line separator, BOM */
	cleaned("x\342\200\256y\342\201\246z\342\200\213w\342\200\250v\357\273\277", "x?y?z?w?v?");
	/* overlong, surrogate, beyond Unicode, cut short */
	cleaned("\300\257", "??");
	cleaned("\340\200\257", "???");
	cleaned("\355\240\200", "???");
	cleaned("\364\220\200\200", "????");
	cleaned("x\342\202", "x??");
}

static void
test_numbers(void)
{
	char text[TEXT_SHORT];

	CU_ASSERT_STRING_EQUAL(text_count(0, text), "0");
	CU_ASSERT_STRING_EQUAL(text_count(999, text), "999");
	CU_ASSERT_STRING_EQUAL(text_count(1000, text), "1.0k");
	CU_ASSERT_STRING_EQUAL(text_count(12345, text), "12k");
	CU_ASSERT_STRING_EQUAL(text_count(999400, text), "999k");
	CU_ASSERT_STRING_EQUAL(text_count(999600, text), "1.0M");
	CU_ASSERT_STRING_EQUAL(text_count(UINT64_MAX, text), "18E");
	CU_ASSERT_STRING_EQUAL(text_bytes(1500, text), "1.5 kB");
	CU_ASSERT_STRING_EQUAL(text_bytes(3, text), "3 B");
	CU_ASSERT_STRING_EQUAL(text_rate(15.8e9, text), "16 Gbit/s");
	CU_ASSERT_STRING_EQUAL(text_rate(-1, text), "0 bit/s");
	CU_ASSERT_STRING_EQUAL(text_age(59, text), "59s");
	CU_ASSERT_STRING_EQUAL(text_age(252, text), "4m12s");
	CU_ASSERT_STRING_EQUAL(text_age(3600, text), "1h00m");
	CU_ASSERT_STRING_EQUAL(text_age(273600, text), "3d04h");
	CU_ASSERT_STRING_EQUAL(text_age(-5, text), "0s");
	CU_ASSERT(strlen(text_age(INT64_MAX, text)) < TEXT_SHORT);
}

static void
test_clock(void)
{
	char text[TEXT_SHORT];

	CU_ASSERT_STRING_EQUAL(text_clock(-1, text), "?");
	CU_ASSERT_STRING_EQUAL(text_clock(1e300, text), "?");
	text_clock(1700000000.25, text);
	CU_ASSERT_STRING_EQUAL(text + 8, ".250000");
	text_clock(1700000000.9999997, text);
	CU_ASSERT_STRING_EQUAL(text + 8, ".999999");
}

/* Print a table of what @p fill puts in. */
static char *
printed(void (*fill)(struct table *table), const char *titles, bool colour)
{
	static char text[4096];
	FILE *file = fmemopen(text, sizeof(text), "w");
	struct table table;

	table_begin(&table, titles);
	fill(&table);
	table_print(&table, file, colour, 1);
	fclose(file);
	return text;
}

static void
fill_two(struct table *table)
{
	table_cell(table, "%s", "a\nb");
	table_cell(table, "%d", 7);
	table_cell(table, "%s", "");
	table_cell(table, "%s", "sm\303\266r");
	table_cell(table, "%d", 12345);
	table_style(table, STYLE_BAD);
	table_cell(table, "%s", "last");
}

static void
test_table(void)
{
	CU_ASSERT_STRING_EQUAL(printed(fill_two, "NAME|>NUMBER|X", false),
		" NAME  NUMBER  X\n"
		" a?b        7\n"
		" sm\303\266r   12345  last\n");
	CU_ASSERT_PTR_NOT_NULL(strstr(
		printed(fill_two, "NAME|>NUMBER|X", true), "   \033[31m12345\033[0m  last\n"));
}

static void
fill_nothing(struct table *table)
{
	CU_ASSERT_EQUAL(table_rows(table), 0);
}

static void
fill_many(struct table *table)
{
	for (unsigned i = 0; i < 300; i++)
		table_cell(table, "%u", i);
	CU_ASSERT_EQUAL(table_rows(table), 100);
}

static void
test_sizes(void)
{
	CU_ASSERT_STRING_EQUAL(printed(fill_nothing, "A|B", false), " A  B\n");
	CU_ASSERT_PTR_NOT_NULL(strstr(printed(fill_many, "A|B|C", false), " 297  298  299\n"));
}

static void
test_members(void)
{
	json_t *object = json_pack("{s:i, s:s, s:b, s:f}", "n", 5, "t", "x", "b", 1, "f", 1.5);

	CU_ASSERT_EQUAL(json_int(object, "n"), 5);
	CU_ASSERT_EQUAL(json_int(object, "t"), 0);
	CU_ASSERT_STRING_EQUAL(json_text(object, "t"), "x");
	CU_ASSERT_STRING_EQUAL(json_text(object, "n"), "");
	CU_ASSERT_STRING_EQUAL(json_text(NULL, "n"), "");
	CU_ASSERT_TRUE(json_flag(object, "b"));
	CU_ASSERT_FALSE(json_flag(object, "n"));
	CU_ASSERT_DOUBLE_EQUAL(json_real_of(object, "f"), 1.5, 0);
	CU_ASSERT_DOUBLE_EQUAL(json_real_of(object, "n"), 5, 0);
	json_decref(object);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"what harms a terminal is replaced", test_clean},
		{"numbers with units", test_numbers},
		{"times of day", test_clock},
		{"columns are aligned", test_table},
		{"no row, many rows", test_sizes},
		{"members of answers", test_members},
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return UNIT_RUN("ctl_table", tests);
}
