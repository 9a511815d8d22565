/* SPDX-License-Identifier: BSD-3-Clause */
/* What live.c and compose.c share. */
#pragma once

#include "conf/live.h"

struct live {
	unsigned tree_count;
	struct live_tree **trees; /* sorted by family and address */
	unsigned connected_count[FAMILIES];
	union address *connected[FAMILIES];
	unsigned vif_count;
	struct live_vif *vifs; /* newest first */
	unsigned mapping_count;
	struct live_mapping *mappings;
	bool has_gateway, has_uplink;
	struct live_gateway gateway;
	struct live_uplink uplink;
};
