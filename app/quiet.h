/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keeping the kernel deaf on interfaces that belong to sluice. Control thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/**
 * Tell whether sluice may take an interface: its name can be handled and the kernel has no IPv4
 * and no global IPv6 address on it.
 * @param error out, on failure: what is wrong and the command that helps
 * @return 0, -EINVAL for such a name, -EADDRINUSE when it has addresses, -errno
 */
int quiet_check(const char *ifname, char *error, size_t error_size);

/**
 * Have a directory in which is noted what settings were before quiet_start changed them, for
 * quiet_release of any later process. Without it they become the kernel's defaults then.
 */
void quiet_keep_in(const char *state_dir);

/**
 * Silence the kernel on an interface: no IPv6, no ARP answers, no source that is taken for
 * possible, no forwarding, and everything that
 * arrives is dropped before its network stack. Packet sockets still see all frames. Stays in
 * force when sluice ends, however it ends. Until quiet_end, quiet_look looks after it, and no
 * other sluiced can have it. Doing it again changes nothing, but needs another quiet_end.
 * @param error out, on failure: what could not be done
 * @return 0, -EBUSY when it belongs to another sluiced, or -errno: then it must not be used
 */
int quiet_start(const char *ifname, char *error, size_t error_size);

/** Look after an interface no more. The kernel stays deaf on it, and forgets one that is gone. */
void quiet_end(const char *ifname);

/**
 * What has to be told of something that was changed behind our back.
 * @param what such as "address 192.0.2.1/24" or "net.ipv4.conf.eth0.forwarding=1"
 * @param error NULL when it is as it was, else why it is not
 */
typedef void (*quiet_told_fn)(
	void *context, const char *ifname, const char *what, const char *error);

/** Put right what has changed on the interfaces that are looked after. */
void quiet_look(quiet_told_fn told, void *context);

/** Whether an interface is looked after. */
bool quiet_has(const char *ifname);

/** The interface of that index, if it is looked after; valid until quiet_start or quiet_end. */
const char *quiet_find(unsigned ifindex);

/**
 * Give an interface back to the kernel.
 * @return 0; -ENOENT when the kernel was not made deaf on it; -EBUSY when a sluiced runs on it;
 *	-errno
 */
int quiet_release(const char *ifname, char *error, size_t error_size);

/** Call @p found for all interfaces on which the kernel was made deaf, maybe more than once. */
void quiet_each(void (*found)(void *context, const char *ifname), void *context);
