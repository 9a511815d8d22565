/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses that appear on interfaces which are ours. Control thread only.
 */
#pragma once

#include <stdbool.h>

/**
 * What has to be told of an address that was found.
 * @param address with its prefix length, such as 192.0.2.1/24
 * @param error NULL when it is gone
 */
typedef void (*address_fn)(void *context, unsigned ifindex, const char *address, const char *error);

/**
 * Take away every address of the interfaces that @p ours names.
 * @return 0, or -errno when the kernel did not answer; what it refused is only told
 */
int addresses_remove(bool (*ours)(void *context, unsigned ifindex), address_fn told, void *context);
