/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of QubesDB: what dom0 tells a qube, as paths with values.
 *
 * It lives in an event loop and never waits. It connects by itself, again and again with growing
 * pauses, and tells its owner each time a connection stands: then the owner registers its watches
 * and reads everything, because what happened in between is lost. Requests are sent in the order in
 * which they are made, without waiting for the answers of those before.
 *
 * All callbacks come in the order of the stream. So what a watch told before the end of an answer
 * is known when `done` is called: who reads a tree that somebody is writing learns of it in time.
 *
 * The daemon is not trusted. Whatever is not as the protocol says ends the connection, with a
 * reason; so does a daemon that does not answer. Nothing of all that reaches the owner as data.
 *
 * The daemon in turn ends the connection of a client that writes what it does not like, and stops
 * reading from one that does not read. So bad paths and values are refused here, a message is given
 * to the kernel in one piece, and what has come is always read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct event_base;
struct qubesdb;

#define QUBESDB_PATH_MAX 63    /* bytes, without a NUL */
#define QUBESDB_VALUE_MAX 3071 /* bytes */

struct qubesdb_owner {
	/* A connection stands. */
	void (*connected)(void *context);
	/* There is none, and why: it has ended, or could not be made. Comes after the `done` of all
	   requests that had not been answered, and again for each attempt that fails. */
	void (*lost)(void *context, const char *reason);
	/* Something happened at a path that is watched. */
	void (*changed)(void *context, const char *path);
	void *context;
	unsigned answer_ms; /* time for an answer; without one the connection is given up */
};

/**
 * The answer to a request.
 * @param error 0; -ENOENT: there is no such path; -EIO: the daemon says it cannot be done;
 *	-ECONNRESET: the connection ended before it came
 * @param value of a read, NUL-terminated, valid until the callback returns; else empty
 */
typedef void (*qubesdb_done_fn)(void *context, int error, const char *value, size_t length);

/** One path of several. @param value NUL-terminated; valid until the callback returns */
typedef void (*qubesdb_item_fn)(void *context, const char *path, const char *value, size_t length);

/**
 * Begin to connect. No callback comes from within this call.
 * @param path of the socket
 * @return NULL when out of memory
 */
struct qubesdb *qubesdb_open(
	struct event_base *base, const char *path, const struct qubesdb_owner *owner);

/**
 * End all of it; NULL is fine. Requests get their `done`, the owner hears nothing more. Never from
 * a callback.
 */
void qubesdb_close(struct qubesdb *db);

bool qubesdb_is_connected(const struct qubesdb *db);

/** Whether QubesDB can have this path. */
bool qubesdb_path_fits(const char *path);

/*
 * Requests. No callback comes from within these calls.
 * @param done called once if 0 was returned; NULL: nobody cares
 * @return 0; -ENOTCONN; -EINVAL for a path or value that cannot be; -ENOBUFS: too many requests
 *	wait for an answer; -ENOMEM
 */
int qubesdb_read(struct qubesdb *db, const char *path, qubesdb_done_fn done, void *context);
int qubesdb_write(struct qubesdb *db, const char *path, const char *value, qubesdb_done_fn done,
	void *context);

/** Remove a path; one that ends in a slash: all that begins with it. */
int qubesdb_rm(struct qubesdb *db, const char *path, qubesdb_done_fn done, void *context);

/** Hear of a path; of one that ends in a slash: of all that begins with it. */
int qubesdb_watch(struct qubesdb *db, const char *path, qubesdb_done_fn done, void *context);

/** Everything that begins with @p prefix, with values, or without. @param prefix ends in a slash */
int qubesdb_multiread(struct qubesdb *db, const char *prefix, qubesdb_item_fn item,
	qubesdb_done_fn done, void *context);
int qubesdb_list(struct qubesdb *db, const char *prefix, qubesdb_item_fn item, qubesdb_done_fn done,
	void *context);
