/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The system calls that are left to sluiced once it serves, for all of its threads at once.
 *
 * Two filters are stacked; the stricter answer holds.
 *
 *	conditions	calls that are allowed, but not with every argument: no new processes, no
 *			memory that can be executed, no sockets of exotic families
 *	list		the calls that are allowed at all
 *
 * A call outside the list ends sluiced. Those that only an intruder makes (`never` in
 * syscall_filter.c) are answered by the kernel, which kills the process and writes the number of
 *the call into its log. Any other one is a mistake of the list, so sluiced's own last line names
 *it. A call that is younger than the list fails with ENOSYS, as on an older kernel: the C library
 *knows what to do then.
 *
 * What a library may try, and can do without, fails with an errno in place of the end.
 */
#pragma once

#include "conf/conf.h"

/** Whether sanitizers are built in: they make calls of their own at any time. */
bool syscall_filter_possible(void);

/**
 * Filter the calls of all threads from now on.
 * @param mode SECCOMP_KILL, or SECCOMP_LOG: what would end sluiced is only written by the kernel
 * @return 0 or -errno, reported; then nothing is filtered, and sluiced should not go on
 */
int syscall_filter_install(enum seccomp_mode mode, const struct report *report);
