/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How often a rule or a forward has decided something. Many workers count, anybody may read.
 *
 * A counter belongs to the rule, not to a snapshot: as long as the rule stands, later snapshots
 * hold the same counter, so that nothing is lost while workers go from one to the next.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

struct hits {
	atomic_uint references;
	_Atomic(uint64_t) count;
};

/** @return a counter at zero with one reference; NULL when out of memory */
static inline struct hits *
hits_new(void)
{
	return calloc(1, sizeof(struct hits));
}

/* The first reference is 0, so that a counter is born with it. */
static inline struct hits *
hits_ref(struct hits *hits)
{
	atomic_fetch_add_explicit(&hits->references, 1, memory_order_relaxed);
	return hits;
}

/** Give a reference back; NULL is fine. */
static inline void
hits_unref(struct hits *hits)
{
	if (hits != NULL &&
		atomic_fetch_sub_explicit(&hits->references, 1, memory_order_acq_rel) == 0)
		free(hits);
}

static inline void
hits_add(struct hits *hits)
{
	atomic_fetch_add_explicit(&hits->count, 1, memory_order_relaxed);
}

static inline uint64_t
hits_read(const struct hits *hits)
{
	return atomic_load_explicit(&((struct hits *)(uintptr_t)hits)->count, memory_order_relaxed);
}
