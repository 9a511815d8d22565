/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rates out of two answers of sluiced: who has sent how much between them.
 */
#pragma once

#include <stddef.h>

#include <jansson.h>

struct qube_rate {
	const char *name; /* in the later answer, as all that follows */
	const json_t *qube;
	double sends_packets, sends_bits; /* per second */
	double gets_packets, gets_bits;
	double drops;
	json_int_t drops_total, refused_total;
	json_int_t flows;
};

enum rate_order { ORDER_BITS, ORDER_PACKETS, ORDER_FLOWS, ORDER_DROPS, ORDER_NAME };

/** All members of an object of numbers together. */
json_int_t rates_total(const json_t *numbers);

/**
 * @param before, after lists of qubes, as `qubes` answers; @p before may be NULL: no rates then
 * @param seconds between them
 * @return list for free(), sorted; NULL when there is none
 */
struct qube_rate *rates_of(const json_t *before, const json_t *after, double seconds,
	enum rate_order order, size_t *count);

/** Increase per second; 0 when a counter began again. */
double rate_between(json_int_t before, json_int_t after, double seconds);
