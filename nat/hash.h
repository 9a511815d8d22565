/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keyed hash of sluice: for the flow table, for steering and for the choice of ports.
 *
 * Whoever sends packets picks addresses and ports, and so the input of these hashes. CRC32 and
 * Jenkins' hash with a seed are no defence: their collisions can be computed without the seed or
 * once and for all seeds. Here every input word is first combined with a secret word and then goes
 * through a full 64 x 64 -> 128 bit multiplication whose halves are folded (the construction of
 * wyhash): which inputs collide depends on secrets that never leave the process.
 */
#pragma once

#include <stdint.h>

/* Secrets drawn at start (rte_rand is not enough: use getrandom), shared by all workers. */
struct flow_secret {
	uint64_t word[4];
};

/** Multiply and fold the two halves of the product. */
static inline uint64_t
hash_fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/**
 * Hash two words under two secrets. The second multiplication sees both halves of the first one's
 * product, so that nothing is lost to folding before every bit has been spread.
 */
static inline uint64_t
hash_pair(uint64_t a, uint64_t b, uint64_t secret_a, uint64_t secret_b)
{
	unsigned __int128 product = (unsigned __int128)(a ^ secret_a) * (b ^ secret_b);

	return hash_fold((uint64_t)product ^ secret_a, (uint64_t)(product >> 64) ^ secret_b);
}

/** Map the upper half of a hash to 0 .. @p range - 1 without a division. */
static inline uint32_t
hash_range(uint64_t hash, uint32_t range)
{
	return (uint32_t)(((hash >> 32) * range) >> 32);
}
