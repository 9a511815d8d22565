/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keeping the kernel deaf on an interface that belongs to sluice.
 */
#pragma once

#include <stddef.h>

/**
 * Tell whether sluice may take an interface: its name can be handled and the kernel has no IPv4
 * and no global IPv6 address on it.
 * @param error out, on failure: what is wrong and the command that helps
 * @return 0, -EINVAL for such a name, -EADDRINUSE when it has addresses, -errno
 */
int quiet_check(const char *ifname, char *error, size_t error_size);

/**
 * Silence the kernel on an interface: no IPv6, no ARP answers, no forwarding, and everything that
 * arrives is dropped before its network stack. Packet sockets still see all frames. Stays in
 * force when sluice ends, however it ends. Doing it again changes nothing.
 * @param error out, on failure: what could not be done
 * @return 0, or -errno: then the interface must not be used
 */
int quiet_start(const char *ifname, char *error, size_t error_size);
