/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of rules in the daemon: who is asked for them, and who is told what was found out.
 *
 * Whenever a policy comes into force, the resolver is given the names and resolvers of that policy.
 * What it finds goes into the table of every qube whose rules have the name. The tables are looked
 * at once a second for addresses that were not there before, whether asked for by us or learned by
 * a worker: these are told as events, and to whoever publishes names (QubesDB).
 */
#pragma once

#include "app/daemon.h"

struct name_service;
struct resolver_state;

/** Begin to ask. Needs `base`, `dataplane`, `calls` and `loop`. @return 0 or -errno, reported */
int name_service_create(
	struct daemon *daemon, const struct report *report, struct name_service **out);

/**
 * End asking. Before workers' calls are freed, as some may wait; what those need goes with
 * name_service_free.
 */
void name_service_stop(struct name_service *service);

/** No worker may be running, and no call wait. NULL is fine. */
void name_service_free(struct name_service *service);

/** Another policy is in force. NULL is fine. */
void name_service_policy(struct name_service *service);

/** What the addresses of a name are. @return how many, at most NAME_ADDRESSES_MAX */
unsigned name_service_addresses(const struct daemon *daemon, const struct rules *rules,
	const char *name, struct name_address *addresses);

/** How asking for a name goes. @return false when it is not asked for */
bool name_service_state(const struct name_service *service, const char *name, enum family family,
	struct resolver_state *state);
