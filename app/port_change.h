/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports that come and go while workers run.
 *
 * A port that comes: its device is opened and the kernel made deaf there -> the policy with it is
 * published, so that its guard is in force -> its worker receives from it.
 *
 * A port that goes: the policy without it is published, so that nothing may come from or go to it
 * -> its worker receives from it no longer -> every worker ends what it has of it: flows, packets
 * that wait for a neighbour, fragments -> all workers have been through a round since -> no packet
 * that lies in its memory is left -> its device is closed and its slot free, for another port to
 * have its index.
 *
 * Nothing of that makes the control thread wait: workers are asked by worker_call, and for the rest
 * a timer looks again. Ports go one after the other or many at once; one that comes back meanwhile
 * gets another index.
 */
#pragma once

#include "app/daemon.h"

struct port_changes;
struct port_plan;

/** Be ready for changes. After worker_calls_create. @return 0 or -errno */
int port_changes_create(struct daemon *daemon, struct port_changes **out);

/**
 * No worker may be running. The first is called before worker_calls_free and the second after it,
 * so that calls which were never run end in between. NULL is fine for both.
 */
void port_changes_stop(struct port_changes *changes);
void port_changes_free(struct port_changes *changes);

/** Open all ports of the first policy; no worker runs yet. @return 0 or -errno, reported */
int port_changes_first(struct daemon *daemon);

/**
 * Do for @p wanted what can fail: open the ports that the policy in force has not.
 * @param out what is left to do: carried out once @p wanted is published, or abandoned
 * @return 0 or -errno, reported; then nothing has changed
 */
int port_plan_make(struct daemon *daemon, const struct conf *conf, const struct policy *wanted,
	const struct report *report, struct port_plan **out);

/** The policy will not be published: what was opened for it is closed. */
void port_plan_abandon(struct port_plan *plan);

/**
 * It has been published, and nothing else since the plan was made: receive from new ports, let
 * those go that are gone, and end the flows of qubes that are gone or have other addresses. Takes
 * the plan.
 */
void port_plan_carry_out(struct port_plan *plan);
