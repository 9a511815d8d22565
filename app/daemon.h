/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sluiced as its own parts see it: the control thread's state, and how a policy comes into force.
 */
#pragma once

#include <event2/util.h>

#include "app/dataplane.h"

struct changes; /* conf/changes.h */
struct control;
struct event;
struct event_base;
struct drop_poll; /* app/drop_poll.h */
struct events; /* app/event.h */
struct loop;
struct tap_table; /* app/tap_table.h */
struct worker_calls;

/* Control thread only. */
struct daemon {
	const char *path;        /* of sluice.conf */
	struct conf *conf;       /* as last read */
	struct changes *changes; /* what the control socket has changed */
	struct dataplane *dataplane;
	struct event_base *base;
	struct control *control;
	struct loop *loop;
	struct worker_calls *calls;
	struct events *events;
	struct drop_poll *drops;
	struct tap_table *taps;
	struct event *expiry; /* of the next forward or rule */
	char *snapshot_path;  /* set once the flows in the tables are worth keeping */
	uint64_t start_s;     /* unix time */
	uint64_t policy_s;    /* unix time at which the policy in force came into force */
};

/** The policy in force; valid until the next one is put in force. */
const struct policy *daemon_policy(const struct daemon *daemon);

/**
 * Make a policy of a configuration and changes to it, and put it in force.
 * @param conf, changes what is wanted; they stay the caller's
 * @return 0 or -errno, reported; then nothing has changed
 */
int daemon_commit(struct daemon *daemon, const struct conf *conf, const struct changes *changes,
	const struct report *report);

/** Wake up when the next forward expires, to put a policy without it in force. */
void daemon_expiry_arm(struct daemon *daemon);

/** Callbacks of libevent: the time of a forward is over; SIGHUP. @param context the daemon */
void daemon_expired(evutil_socket_t number, short events, void *context);
void daemon_reload(evutil_socket_t number, short events, void *context);
