/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From records of a snapshot to flows of this data plane.
 */
#pragma once

#include "app/snapshot_format.h"
#include "app/worker.h"

/* The lists of a snapshot, and what their entries are now. */
struct snapshot_names {
	struct snapshot_port ports[PORTS_MAX];
	char qubes[QUBES_MAX][NAME_SIZE];
	uint16_t port_index[PORTS_MAX]; /* in the policy; PORT_NONE: no longer there */
	uint16_t qube_index[QUBES_MAX]; /* likewise, QUBE_NONE */
};

/**
 * Find the ports and qubes of a snapshot in the policy in force, take up the MACs of qubes, and set
 * policy and time of the workers, which do not run yet.
 * @param names with both lists as read; the indices are filled in
 */
void snapshot_take_names(struct snapshot_names *names, const struct snapshot_header *header,
	struct dataplane *dataplane, uint32_t now_ms);

/**
 * Open the flow of a record.
 * @return false when it is no longer valid, or there is no room for it
 */
bool snapshot_take_flow(struct dataplane *dataplane, const struct snapshot_names *names,
	const struct snapshot_flow *record, uint32_t remaining_ms);
