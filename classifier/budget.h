/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Budgets: how much of what is shared one qube may use, so that it can only exhaust itself.
 *
 * One table of kinds. Each row is BUDGET(identifier, "name", default, min, max, "help"); the name
 * is the key under [limits] in sluice.conf, for every qube, and under [qube NAME] for one. What is
 * used is counted once for all workers, with atomic words: by opening and closing flows, never by
 * packets of a flow. A limit that is lowered takes nothing away: it only gives nothing more.
 *
 * Whoever connects to a qube through a forward uses the qube's second account, the one for what
 * comes in: a flood from outside leaves the qube its own connections.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* clang-format off */
#define BUDGETS(BUDGET) \
	BUDGET(FLOWS,	  "flows",     32768, 16, 16777216, "flows at once") \
	BUDGET(NEW_FLOWS, "new-flows", 10000,  1, 10000000, "new flows per second") \
	BUDGET(HALF_OPEN, "half-open",  8192,  1, 16777216, "TCP connections at once whose handshake is not complete") \
	BUDGET(PORTS,	  "ports",     16384,  1,    65535, "external UDP ports, and as many ICMP identifiers, at once") \
	BUDGET(FRAGMENTS, "fragments",   256,  1,     4096, "IP fragments waiting for the rest of their datagram") \
	BUDGET(ANSWERS,	  "answers",	  32,  1,  1000000, "ICMP errors it gets per second, at least; at most twice as many")
/* clang-format on */

enum budget_kind {
#define BUDGET_ENUM(identifier, name, normal, min, max, help) BUDGET_##identifier,
	BUDGETS(BUDGET_ENUM)
#undef BUDGET_ENUM
		BUDGET_COUNT
};

struct budget_info {
	const char *name;
	const char *help;
	uint32_t normal, min, max;
};
extern const struct budget_info budgets[BUDGET_COUNT];

/* How much one qube may use, indexed by enum budget_kind. */
struct limits {
	uint32_t value[BUDGET_COUNT];
};

/** Fill @p limits with the defaults of the table. */
void limits_defaults(struct limits *limits);

/* What one account uses. Shared by all workers. */
struct account {
	/* at once: FLOWS, HALF_OPEN, PORTS, FRAGMENTS; per second: a window, see budget.c */
	_Atomic uint64_t used[BUDGET_COUNT];
	_Atomic uint64_t refused[BUDGET_COUNT]; /* ever */
} __attribute__((aligned(64)));

/** Take one of something that is counted at once. @return false, counted, at the limit */
bool budget_take(struct account *account, enum budget_kind kind, uint32_t limit);

/** Whether budget_take_now would take one. */
bool budget_has_now(
	const struct account *account, enum budget_kind kind, uint32_t limit, uint32_t now_ms);

/** Give one back. */
void budget_give(struct account *account, enum budget_kind kind);

/** How many are taken. */
uint32_t budget_used(const struct account *account, enum budget_kind kind);

/**
 * Take one of something that is counted per second: at most @p limit in a second that begins with
 * the first of them. The limit given with that first one holds for the whole second.
 * @param limit below 2^31
 * @param now_ms milliseconds modulo 2^32; those of several workers may be up to a second apart
 * @return false, counted, when none is left
 */
bool budget_take_now(
	struct account *account, enum budget_kind kind, uint32_t limit, uint32_t now_ms);
