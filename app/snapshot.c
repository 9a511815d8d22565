/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/snapshot.h"

#include <errno.h>

int
snapshot_write(
	struct dataplane *dataplane, uint32_t now_ms, const char *path, const struct report *report)
{
	(void)dataplane, (void)now_ms, (void)path, (void)report;
	return 0;
}

int
snapshot_read(
	struct dataplane *dataplane, uint32_t now_ms, const char *path, const struct report *report)
{
	(void)dataplane, (void)now_ms, (void)path, (void)report;
	return -ENOENT;
}
