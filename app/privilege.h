/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What sluiced may do, and what it gives up.
 *
 *	privilege_begin		first of all: access to files of others
 *	privilege_reduce	before the first thread: what no port of the configuration needs is
 *				given up, and with it everything that a program could get back by
 *				running another one
 *	privilege_lock		when all is open, before the first packet passes: what opening alone
 *				needed, in all threads; from then on system calls are filtered
 *				(syscall_filter.h)
 *
 * sluiced stays root among users. Its files are root's, so it needs no capability to get at them.
 */
#pragma once

#include "conf/conf.h"

/*
 * The capabilities. Each row is
 *
 *	PRIVILEGE(NAME, for whom, until when, "what for")
 */
/* clang-format off */
#define PRIVILEGES(PRIVILEGE) \
	PRIVILEGE(NET_RAW, ANY, STAYS, "packet sockets of kernel: ports, also of those to come") \
	PRIVILEGE(NET_ADMIN, ANY, STAYS, \
		"links, the nftables chains and settings that keep the kernel deaf, TAP devices") \
	PRIVILEGE(IPC_LOCK, DPDK, STAYS, "memory that a device reaches is locked") \
	PRIVILEGE(SYS_RAWIO, DPDK, STARTS, "ports of the CPU; vfio without an IOMMU") \
	PRIVILEGE(SYS_ADMIN, DPDK, STARTS, "physical addresses; maps of af_xdp") \
	PRIVILEGE(SYS_RESOURCE, DPDK, STARTS, "limits of locked memory") \
	PRIVILEGE(BPF, DPDK, STARTS, "programs of af_xdp") \
	PRIVILEGE(PERFMON, DPDK, STARTS, "programs of af_xdp") \
	PRIVILEGE(CHOWN, GROUP, STARTS, "the group of the control socket")
/* clang-format on */

/* Whom a capability is for. */
enum privilege_for {
	PRIVILEGE_ANY,
	PRIVILEGE_DPDK,  /* pci: and dpdk: ports */
	PRIVILEGE_GROUP, /* [sluice] group and look-group */
};

/**
 * Capabilities that this configuration needs, as a set with a bit for each.
 * @param serving what is left of them once it serves
 */
uint64_t privilege_needed(const struct conf *conf, bool serving);

/**
 * Give up access to files that are not ours. Before any file is read, so that what can be read when
 * sluiced starts can be read again.
 */
void privilege_begin(void);

/**
 * Give up what the configuration does not need. No thread may have been started.
 * @return 0 or -errno, reported
 */
int privilege_reduce(const struct conf *conf, const struct report *report);

/**
 * Give up what only starting needed, in all threads. Threads that are started later must be started
 * by those.
 * @return 0 or -errno, reported: then do not go on
 */
int privilege_lock(const struct conf *conf, const struct report *report);

/**
 * Look whether the directories of the control socket and of what is kept are ours alone.
 * @return 0, also when they do not exist; -EPERM, reported, when somebody else can put files there
 */
int privilege_directories_check(const struct conf *conf, const struct report *report);
