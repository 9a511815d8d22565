/* SPDX-License-Identifier: BSD-3-Clause */
#include "classifier/budget.h"

const struct budget_info budgets[BUDGET_COUNT] = {
#define BUDGET_ROW(identifier, key, normal_value, least, greatest, text) \
	[BUDGET_##identifier] = {                                        \
		.name = key, .help = text, .normal = normal_value, .min = least, .max = greatest},
	BUDGETS(BUDGET_ROW)
#undef BUDGET_ROW
};

void
limits_defaults(struct limits *limits)
{
	for (unsigned i = 0; i < BUDGET_COUNT; i++)
		limits->value[i] = budgets[i].normal;
}

static bool
refuse(struct account *account, enum budget_kind kind)
{
	atomic_fetch_add_explicit(&account->refused[kind], 1, memory_order_relaxed);
	return false;
}

bool
budget_take(struct account *account, enum budget_kind kind, uint32_t limit)
{
	uint64_t used = atomic_load_explicit(&account->used[kind], memory_order_relaxed);

	do {
		if (used >= limit)
			return refuse(account, kind);
	} while (!atomic_compare_exchange_weak_explicit(
		&account->used[kind], &used, used + 1, memory_order_relaxed, memory_order_relaxed));
	return true;
}

void
budget_give(struct account *account, enum budget_kind kind)
{
	atomic_fetch_sub_explicit(&account->used[kind], 1, memory_order_relaxed);
}

uint32_t
budget_used(const struct account *account, enum budget_kind kind)
{
	return (uint32_t)atomic_load_explicit(&account->used[kind], memory_order_relaxed);
}

#define WINDOW_MS 1000

bool
budget_take_now(struct account *account, enum budget_kind kind, uint32_t limit, uint32_t now_ms)
{
	uint64_t window = atomic_load_explicit(&account->used[kind], memory_order_relaxed);
	uint64_t next;

	do {
		uint32_t left_ms = (uint32_t)(window >> 32) - now_ms;
		uint32_t left = (uint32_t)window;

		/* An end further away than a window is one of weeks ago: the clock turns over. */
		if (left_ms == 0 || left_ms > WINDOW_MS) {
			left_ms = WINDOW_MS;
			left = limit;
		}
		if (left == 0)
			return refuse(account, kind);
		next = (uint64_t)(now_ms + left_ms) << 32 | (left - 1);
	} while (!atomic_compare_exchange_weak_explicit(
		&account->used[kind], &window, next, memory_order_relaxed, memory_order_relaxed));
	return true;
}
