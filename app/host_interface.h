/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses and default routes of the host port's interface, where sluiced sets them: those of the
 * uplink, for `settings = uplink` of the host port. Control thread.
 */
#pragma once

#include <stddef.h>

#include "conf/live.h"

/**
 * Have an interface have these addresses and default routes, and no others but link-local ones.
 * What is right already is left alone, so that doing it again costs two dumps and changes nothing.
 * @param wanted of which resolvers do not matter
 * @param error out, on failure: what could not be done, the first of it; the rest was tried
 * @return how many things were changed, or -errno
 */
int host_interface_put(
	const char *ifname, const struct live_uplink *wanted, char *error, size_t error_size);
