/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/ctl_rates.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

static json_t *
qube(const char *name, int rx, int tx, int drops, int flows)
{
	return json_pack("{s:s, s:i, s:i, s:i, s:i, s:{s:i, s:i}, s:{s:i}, s:i}", "name", name,
		"rx_packets", rx, "rx_bytes", rx * 100, "tx_packets", tx, "tx_bytes", tx * 1000,
		"drops", "policy", drops, "rule", 1, "refused", "flows", 2, "flows", flows);
}

static void
test_rates(void)
{
	json_t *before = json_pack("[o, o]", qube("a", 100, 10, 5, 1), qube("b", 0, 0, 0, 0));
	json_t *after = json_pack("[o, o, o]", qube("new", 9000, 0, 0, 9), qube("b", 10, 10, 0, 3),
		qube("a", 300, 20, 9, 2));
	size_t count;
	struct qube_rate *rates = rates_of(before, after, 2, ORDER_BITS, &count);

	CU_ASSERT_EQUAL_FATAL(count, 3);
	/* a: (200 * 100 + 10 * 1000) * 8 / 2 bits; b: (10 * 100 + 10 * 1000) * 4; new: unknown */
	CU_ASSERT_STRING_EQUAL(rates[0].name, "a");
	CU_ASSERT_DOUBLE_EQUAL(rates[0].sends_packets, 100, 1e-9);
	CU_ASSERT_DOUBLE_EQUAL(rates[0].sends_bits, 80000, 1e-9);
	CU_ASSERT_DOUBLE_EQUAL(rates[0].gets_packets, 5, 1e-9);
	CU_ASSERT_DOUBLE_EQUAL(rates[0].gets_bits, 40000, 1e-9);
	CU_ASSERT_DOUBLE_EQUAL(rates[0].drops, 2, 1e-9);
	CU_ASSERT_EQUAL(rates[0].drops_total, 10);
	CU_ASSERT_EQUAL(rates[0].refused_total, 2);
	CU_ASSERT_STRING_EQUAL(rates[1].name, "b");
	CU_ASSERT_STRING_EQUAL(rates[2].name, "new");
	CU_ASSERT_DOUBLE_EQUAL(rates[2].sends_bits, 0, 0);
	free(rates);
	json_decref(before);
	json_decref(after);
}

static const char *
first(const json_t *before, const json_t *after, enum rate_order order)
{
	size_t count;
	struct qube_rate *rates = rates_of(before, after, 1, order, &count);
	const char *name = count != 0 ? rates[0].name : "";

	free(rates);
	return name;
}

static void
test_orders(void)
{
	json_t *before = json_pack(
		"[o, o, o]", qube("c", 0, 0, 50, 1), qube("b", 0, 0, 0, 7), qube("a", 0, 0, 0, 2));
	json_t *after = json_pack("[o, o, o]", qube("c", 1, 100, 50, 1), qube("b", 500, 0, 0, 7),
		qube("a", 0, 0, 3, 2));

	CU_ASSERT_STRING_EQUAL(first(before, after, ORDER_BITS), "c");
	CU_ASSERT_STRING_EQUAL(first(before, after, ORDER_PACKETS), "b");
	CU_ASSERT_STRING_EQUAL(first(before, after, ORDER_FLOWS), "b");
	CU_ASSERT_STRING_EQUAL(first(before, after, ORDER_DROPS), "a");
	CU_ASSERT_STRING_EQUAL(first(after, after, ORDER_DROPS), "c");
	CU_ASSERT_STRING_EQUAL(first(before, after, ORDER_NAME), "a");
	CU_ASSERT_STRING_EQUAL(first(after, after, ORDER_BITS), "a");
	json_decref(before);
	json_decref(after);
}

static void
test_edges(void)
{
	size_t count = 7;

	CU_ASSERT_PTR_NULL(rates_of(NULL, NULL, 1, ORDER_BITS, &count));
	CU_ASSERT_EQUAL(count, 0);
	CU_ASSERT_DOUBLE_EQUAL(rate_between(100, 5, 1), 0, 0);
	CU_ASSERT_DOUBLE_EQUAL(rate_between(5, 100, 0), 0, 0);
	CU_ASSERT_DOUBLE_EQUAL(rate_between(5, 100, 2), 47.5, 1e-9);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"rates between two answers", test_rates},
		{"orders", test_orders},
		{"no qubes, no time, counters that began again", test_edges},
	};

	return UNIT_RUN("ctl_rates", tests);
}
