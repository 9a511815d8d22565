/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/ctl_rates.h"

#include <stdlib.h>
#include <string.h>

#include "app/ctl_table.h"

json_int_t
rates_total(const json_t *numbers)
{
	json_int_t sum = 0;
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)numbers, key, value)
		sum += json_integer_value(value);
	return sum;
}

double
rate_between(json_int_t before, json_int_t after, double seconds)
{
	/* sluiced was started again, and counts from zero */
	if (after < before || seconds <= 0)
		return 0;
	return (double)(after - before) / seconds;
}

static const json_t *
qube_find(const json_t *qubes, const char *name)
{
	const json_t *qube;
	size_t i;

	json_array_foreach (qubes, i, qube)
		if (strcmp(json_text(qube, "name"), name) == 0)
			return qube;
	return NULL;
}

static void
rate_fill(struct qube_rate *rate, const json_t *before, const json_t *qube, double seconds)
{
	*rate = (struct qube_rate){
		.name = json_text(qube, "name"),
		.qube = qube,
		.flows = json_int(qube, "flows"),
		.drops_total = rates_total(json_object_get(qube, "drops")),
		.refused_total = rates_total(json_object_get(qube, "refused")),
	};
	if (before == NULL)
		return;
	rate->sends_packets =
		rate_between(json_int(before, "rx_packets"), json_int(qube, "rx_packets"), seconds);
	rate->sends_bits =
		8 * rate_between(json_int(before, "rx_bytes"), json_int(qube, "rx_bytes"), seconds);
	rate->gets_packets =
		rate_between(json_int(before, "tx_packets"), json_int(qube, "tx_packets"), seconds);
	rate->gets_bits =
		8 * rate_between(json_int(before, "tx_bytes"), json_int(qube, "tx_bytes"), seconds);
	rate->drops = rate_between(
		rates_total(json_object_get(before, "drops")), rate->drops_total, seconds);
}

/* The largest first; what is equal by name, so that lines do not change places all the time. */
static int
compare(const void *left, const void *right, void *context)
{
	const struct qube_rate *a = left, *b = right;
	double x = 0, y = 0;

	switch (*(const enum rate_order *)context) {
	case ORDER_BITS:
		x = a->sends_bits + a->gets_bits;
		y = b->sends_bits + b->gets_bits;
		break;
	case ORDER_PACKETS:
		x = a->sends_packets + a->gets_packets;
		y = b->sends_packets + b->gets_packets;
		break;
	case ORDER_FLOWS:
		x = (double)a->flows;
		y = (double)b->flows;
		break;
	case ORDER_DROPS:
		x = a->drops > 0 || b->drops > 0 ? a->drops : (double)a->drops_total;
		y = a->drops > 0 || b->drops > 0 ? b->drops : (double)b->drops_total;
		break;
	case ORDER_NAME:
		break;
	}
	if (x != y)
		return x > y ? -1 : 1;
	return strcmp(a->name, b->name);
}

struct qube_rate *
rates_of(const json_t *before, const json_t *after, double seconds, enum rate_order order,
	size_t *count)
{
	struct qube_rate *rates;
	const json_t *qube;
	size_t i;

	*count = json_array_size(after);
	rates = *count != 0 ? calloc(*count, sizeof(*rates)) : NULL;
	if (rates == NULL) {
		*count = 0;
		return NULL;
	}
	json_array_foreach (after, i, qube)
		rate_fill(&rates[i], qube_find(before, json_text(qube, "name")), qube, seconds);
	qsort_r(rates, *count, sizeof(*rates), compare, &order);
	return rates;
}
