/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Starting DPDK's environment the way sluice wants it: no file left behind, no device touched that
 * nobody named, hugepages where there are enough of them and ordinary memory where not.
 */
#pragma once

#include "conf/conf.h"

/**
 * Start EAL for a configuration.
 *
 * Lcore 0 is the control thread's, lcores 1 .. workers the workers'; all of them may run on every
 * CPU the process may use.
 * @param program for EAL's own messages
 * @param offline replay: one thread, no hugepages, no PCI devices, no telemetry
 * @return 0 or -errno, reported
 */
int eal_start(
	const char *program, const struct conf *conf, bool offline, const struct report *report);

/** Memory that a configuration needs, MiB. */
unsigned eal_memory_mib(const struct conf *conf);
