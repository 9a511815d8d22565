/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the data plane has to learn when the uplink's addresses, gateways or network have changed,
 * beyond the policy that says so. Control thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct daemon;
struct uplink_change;

/** Start to follow, from the policy in force. @return 0 or -errno */
int uplink_change_create(struct daemon *daemon, struct uplink_change **out);
/** Before worker_calls_free. */
void uplink_change_free(struct uplink_change *change);

/** A policy has come into force. Nothing, if @p daemon does not follow yet. */
void uplink_change_follow(struct daemon *daemon);

/** A port has a link again, perhaps another one. */
void uplink_change_relinked(struct daemon *daemon, uint16_t port);
