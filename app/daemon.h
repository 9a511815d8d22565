/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sluiced as its own parts see it: the control thread's state, and how a policy comes into force.
 */
#pragma once

#include <event2/util.h>

#include "app/dataplane.h"

struct changes;      /* conf/changes.h */
struct changes_file; /* conf/changes_file.h */
struct control;
struct live; /* conf/live.h */
struct event;
struct event_base;
struct drop_poll;   /* app/drop_poll.h */
struct events;      /* app/event.h */
struct quiet_watch; /* app/quiet_watch.h */
struct loop;
struct name_service;    /* app/name_service.h */
struct port_changes;    /* app/port_change.h */
struct service;         /* app/service.h */
struct source_host;     /* app/source_host.h */
struct source_qubesdb;  /* app/source_qubesdb.h */
struct source_xenstore; /* app/source_xenstore.h */
struct tap_table;       /* app/tap_table.h */
struct uplink_change;   /* app/uplink_change.h */
struct worker_calls;

/* Control thread only. */
struct daemon {
	const char *path;          /* of sluice.conf */
	struct conf *file;         /* it, as last read */
	struct live *live;         /* what other sources say */
	struct conf *conf;         /* made of both: what is in force */
	struct changes *changes;   /* what the control socket has changed */
	struct changes_file *kept; /* the kept ones of them, on disk */
	struct dataplane *dataplane;
	struct event_base *base;
	struct control *control;
	struct loop *loop;
	struct worker_calls *calls;
	struct port_changes *ports;
	struct events *events;
	struct uplink_change *uplink_change; /* app/uplink_change.h */
	struct source_host *host;            /* app/source_host.h; NULL without a host port */
	struct event *expiry; /* timerfd of the next forward or rule that ends */
	struct drop_poll *drops;
	struct name_service *names; /* NULL before workers run */
	struct quiet_watch *deaf;
	struct service *service;
	struct tap_table *taps;
	struct source_qubesdb *qubesdb;   /* NULL: not asked */
	struct source_xenstore *xenstore; /* NULL: not followed */
	char *snapshot_path;              /* set once the flows in the tables are worth keeping */
	uint64_t start_s;                 /* unix time */
	uint64_t policy_s; /* unix time at which the policy in force came into force */
};

/** The policy in force; valid until the next one is put in force. */
const struct policy *daemon_policy(const struct daemon *daemon);

/**
 * Where a rule in force was written: `work.rules:3`, or who said it: `file`, `kept`, `runtime`.
 * @param number of the rule in the policy in force
 * @return false when there is no such rule
 */
bool daemon_rule_origin(const struct daemon *daemon, const struct conf_qube *qube, unsigned number,
	char *text, size_t text_size);

/** The wall clock, unix seconds. */
uint64_t daemon_now(void);

/**
 * Make a policy of a configuration and changes to it, and put it in force: ports that are new are
 * opened first, those that are gone are closed later on.
 * @param conf, changes what is wanted; they stay the caller's
 * @return 0 or -errno, reported; then nothing has changed. -EINVAL also when rules of a qube that
 *	can be used now could not be used any more
 */
int daemon_commit(struct daemon *daemon, const struct conf *conf, const struct changes *changes,
	const struct report *report);

/**
 * Put in force what the file and `live` say now: new ports are opened, those that are gone closed.
 * @return 0 or -errno, reported; then nothing has changed, and whoever changed `live` takes it back
 */
int daemon_apply(struct daemon *daemon, const struct report *report);

/**
 * Make the state directory, and read what was kept there.
 * @return 0 with `changes` and `kept` set, or -errno, reported: then do not start
 */
int daemon_changes_load(struct daemon *daemon, const struct report *report);

enum change_mode {
	CHANGE_CHECK,   /* only look whether it could be */
	CHANGE_RUNTIME, /* the kept ones are as they were */
	CHANGE_KEPT,    /* on disk before it is in force */
};

/**
 * Put other changes in force.
 * @param changes taken with 0, but by CHANGE_CHECK
 * @return 0 or -errno, reported; then nothing has changed
 */
int daemon_change(struct daemon *daemon, struct changes *changes, enum change_mode mode,
	const struct report *report);

/** Have daemon_expired called when the next rule or forward ends. @return 0 or -errno, reported */
int daemon_expiry_open(struct daemon *daemon, const struct report *report);
void daemon_expiry_close(struct daemon *daemon);

/** Look again when the next one ends. */
void daemon_expiry_arm(struct daemon *daemon);

/**
 * Callbacks of libevent: the time of a rule or forward is over, or the clock was set; SIGHUP.
 * @param context the daemon
 */
void daemon_expired(evutil_socket_t number, short events, void *context);
void daemon_reload(evutil_socket_t number, short events, void *context);
