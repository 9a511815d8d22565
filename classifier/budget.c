/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counting what is shared. Several workers take from one account at once, so every taking is one
 * compare-and-swap of one word: nobody is ever let over a limit, not even for a moment.
 */
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

/*
 * A window is one word: the millisecond at which it ends, a bit that says that there is one at all
 * (an account begins as zeroes, and zero is a time too), and how many are left in it.
 *
 * Clocks of workers are some milliseconds apart, so the window that one has just opened may lie in
 * the future of another: it holds for both, or each of them would begin it anew. An end further
 * away than that is one of weeks ago, because the clock turns over.
 */
#define WINDOW_MS 1000
#define SKEW_MS 1000
#define WINDOW_OPEN (UINT64_C(1) << 31)

static inline uint64_t
window_word(uint32_t end_ms, uint32_t left)
{
	return (uint64_t)end_ms << 32 | WINDOW_OPEN | left;
}

/* What is left at @p now_ms of a window, which @p left_ms says the rest of: a new one if it is
 * over. */
static inline uint32_t
window_left(uint64_t window, uint32_t limit, uint32_t now_ms, uint32_t *left_ms)
{
	*left_ms = (uint32_t)(window >> 32) - now_ms;
	if ((window & WINDOW_OPEN) != 0 && *left_ms != 0 && *left_ms <= WINDOW_MS + SKEW_MS)
		return (uint32_t)(window & (WINDOW_OPEN - 1));
	*left_ms = WINDOW_MS;
	return limit;
}

bool
budget_has_now(
	const struct account *account, enum budget_kind kind, uint32_t limit, uint32_t now_ms)
{
	uint32_t left_ms;

	return window_left(atomic_load_explicit(&account->used[kind], memory_order_relaxed), limit,
		       now_ms, &left_ms) != 0;
}

bool
budget_take_now(struct account *account, enum budget_kind kind, uint32_t limit, uint32_t now_ms)
{
	uint64_t window = atomic_load_explicit(&account->used[kind], memory_order_relaxed);
	uint64_t next;

	do {
		uint32_t left_ms;
		uint32_t left = window_left(window, limit, now_ms, &left_ms);

		if (left == 0)
			return refuse(account, kind);
		next = window_word(now_ms + left_ms, left - 1);
	} while (!atomic_compare_exchange_weak_explicit(
		&account->used[kind], &window, next, memory_order_relaxed, memory_order_relaxed));
	return true;
}
