/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of xenstored that never makes anybody wait.
 *
 * libxenstore's calls block until the daemon answers, and a daemon that hangs never does. So they
 * are all made by a thread of their own. It watches backend/vif, reads the vifs that something
 * happened to (all of them after it has connected), and hands over what it knows as one view, which
 * takes the place of the view before it if nobody has looked at that yet: however long the control
 * thread is busy, nothing piles up. The other way go announcements, at most one per vif. Between
 * the threads there is a lock that is never held while xenstored is asked, and an eventfd each way.
 *
 * xenstored may go. Its death does not wake xs_fileno(), so the connection is looked at once a
 * second; the thread connects again, with growing pauses, watches and reads everything anew.
 *
 * Everything here is for the control thread.
 */
#pragma once

#include "conf/xenstore.h"

/* More vifs than ports can be are not read. */
#define XENSTORE_VIFS_MAX 1024u

/* What xenstore says, at one moment. */
struct xenstore_view {
	bool connected;     /* else there are no vifs in it, and nothing is known of them */
	int error;          /* errno of the last thing that failed; 0 after a connection */
	unsigned session;   /* counts connections */
	uint64_t announced; /* number of the last announcement that was carried out before */
	unsigned left_out;  /* vifs over XENSTORE_VIFS_MAX */
	unsigned count;
	struct xenstore_seen {
		struct xenstore_vif vif;
		int write_error; /* errno of the last announcement about it, 0 */
		bool found;      /* for the thread */
	} vifs[];                /* by domid, then devid */
};

struct xenstore_client;

/** Connect from now on. @return 0 with a descriptor to wait for in xenstore_client_fd, or -errno */
int xenstore_client_create(struct xenstore_client **out);

/**
 * End it. Waits for the thread a tenth of a second at most; if that hangs in a call, it is left
 * behind with what it needs. NULL is fine.
 */
void xenstore_client_free(struct xenstore_client *client);

/** Becomes readable when there is a new view. */
int xenstore_client_fd(const struct xenstore_client *client);

/** The view that has not been taken yet, to be freed with free(); NULL: there is none. */
struct xenstore_view *xenstore_client_take(struct xenstore_client *client);

/**
 * Write `hotplug-status` of a vif, unless its node is gone by then or has been made anew.
 * @param vif as it was when this was decided
 * @param error NULL: `connected`; else `error`, and this is written as `hotplug-error`
 * @return its number, which rises; 0 for want of memory
 */
uint64_t xenstore_client_announce(
	struct xenstore_client *client, const struct xenstore_vif *vif, const char *error);

/** For how many milliseconds xenstored has not answered what it was asked; 0: nothing is asked. */
uint64_t xenstore_client_waits_ms(const struct xenstore_client *client);
