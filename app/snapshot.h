/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The flow snapshot: what a graceful stop leaves for the next start.
 *
 * One file in the state directory: a header (magic, version, time, number of records, checksum over
 * everything) and records of fixed layout in which qubes and ports go by name; snapshot_format.h
 * has the bytes. It is written beside its place and renamed, after the workers have stopped; it is
 * read before they start, and is gone when it has been read, so that no later start takes up what a
 * crash left stale.
 */
#pragma once

#include "app/dataplane.h"

/**
 * Write flows, and the MACs that were learned, to @p path. Workers must have stopped.
 * @param now_ms the clock of the data plane, to know how long each flow still has
 * @return 0, reported with their number; or -errno, reported, and @p path is what it was before
 */
int snapshot_write(struct dataplane *dataplane, uint32_t now_ms, const char *path,
	const struct report *report);

/**
 * Take up what a snapshot holds and is still valid: flows of qubes that have the same name and
 * address, over ports of the same name and role, whose time is not over, under the external address
 * and port they had. What was taken up is judged by the rules in force with its next packet.
 * Workers must not have started; ports are open.
 *
 * Time that has passed since counts. In the same run of the machine it is that of a clock which
 * nobody sets; else that of the wall clock, and none if that one went back.
 * @param now_ms the clock of the data plane
 * @return 0 when there was a good one, -ENOENT when there is none, -EBADMSG when it is damaged, of
 *	another version or cannot be read: reported, renamed to PATH.damaged, and nothing of it is
 *	used; another -errno, reported, when it cannot be removed and so is not used either
 */
int snapshot_read(struct dataplane *dataplane, uint32_t now_ms, const char *path,
	const struct report *report);
