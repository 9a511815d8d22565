/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The nftables chains that drop what arrives on our interfaces: `port-IFNAME` in the table
 * `netdev sluice`, through libnftables. Control thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/**
 * Have a chain drop everything that arrives on an interface, whatever that chain did before.
 * @param error out, on failure: what could not be done
 * @return 0 or -ENOTSUP, -ENOMEM
 */
int rules_drop(const char *ifname, char *error, size_t error_size);

/**
 * Delete the chain of an interface, and the table with its last one. Without a chain nothing is
 * to be done.
 * @return 0 or -ENOTSUP, -ENOMEM with @p error filled
 */
int rules_delete(const char *ifname, char *error, size_t error_size);

/**
 * All of the table as nft writes it, to be compared; to be freed.
 * @return "" when there is no table, NULL without memory
 */
char *rules_list(void);

/**
 * The part of @p listing that says what becomes of frames on an interface: the same text twice
 * means that nothing has changed.
 * @return allocated; NULL when there is no chain or without memory
 */
char *rules_extract(const char *listing, const char *ifname);

/** Call @p found for each interface that has a chain in @p listing. */
void rules_each(
	const char *listing, void (*found)(void *context, const char *ifname), void *context);
