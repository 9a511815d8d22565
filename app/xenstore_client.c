/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread's half of it reads from the bottom: client_run connects, session_run serves one
 * connection until it breaks.
 *
 * Reading a vif and announcing something about it are a transaction each: dom0 writes all values of
 * a vif in one, so what is read belongs together, and `hotplug-status` is never written into a node
 * that was removed, which would make a stub of it. (xs_write makes missing nodes.)
 */
#include "app/xenstore_client.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <xenstore.h>

#define WATCH_TOKEN "vifs"
/* How long the death of xenstored may go unnoticed. */
#define LOOK_MS 1000
#define RECONNECT_LEAST_MS 100
#define RECONNECT_MOST_MS 5000
#define TRANSACTION_TRIES 8
/* Vifs that are read by themselves; when something happened to more, all are. */
#define DIRTY_MAX 64
/* Before what could not be read is tried again. */
#define UNREAD_MS 50
#define END_MS 100

struct announcement {
	struct announcement *next;
	uint64_t number;
	struct xenstore_vif vif;
	char error[sizeof(((struct xenstore_vif *)0)->error)]; /* empty: connected */
};

struct xenstore_client {
	atomic_uint references; /* the owner and the thread */
	pthread_t thread;
	int wake_fd; /* for the thread: there is something to announce, or it is over */
	int news_fd; /* for the owner: there is a view */
	atomic_bool over;
	_Atomic uint64_t asked_ms; /* when the call began that xenstored has not answered; 0 */
	pthread_mutex_t lock;      /* for these three, and never while xenstored is asked: */
	struct xenstore_view *view;
	struct announcement *first, **last;
	/* the owner's */
	uint64_t announcement_number;
	/* the thread's */
	struct xs_handle *store;
	unsigned session;
	uint64_t announced;
	unsigned left_out;
	unsigned count;
	struct xenstore_seen *vifs; /* XENSTORE_VIFS_MAX of them */
	bool dirty_all;
	unsigned dirty_count;
	struct dirty {
		unsigned domid, devid;
	} dirty[DIRTY_MAX];
};

static uint64_t
clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void
client_unref(struct xenstore_client *client)
{
	if (atomic_fetch_sub(&client->references, 1) != 1)
		return;
	while (client->first != NULL) {
		struct announcement *next = client->first->next;

		free(client->first);
		client->first = next;
	}
	free(client->view);
	free(client->vifs);
	if (client->wake_fd >= 0)
		close(client->wake_fd);
	if (client->news_fd >= 0)
		close(client->news_fd);
	pthread_mutex_destroy(&client->lock);
	free(client);
}

/* --- the thread: views --- */

/* Show what is known now. Without memory the view before stays: the next one will be newer. */
static void
view_show(struct xenstore_client *client, bool connected, int error)
{
	unsigned count = connected ? client->count : 0;
	struct xenstore_view *view = malloc(sizeof(*view) + count * sizeof(view->vifs[0]));
	struct xenstore_view *unseen;

	if (view == NULL)
		return;
	*view = (struct xenstore_view){
		.connected = connected,
		.error = error,
		.session = client->session,
		.announced = client->announced,
		.left_out = connected ? client->left_out : 0,
		.count = count,
	};
	memcpy(view->vifs, client->vifs, count * sizeof(view->vifs[0]));
	pthread_mutex_lock(&client->lock);
	unseen = client->view;
	client->view = view;
	pthread_mutex_unlock(&client->lock);
	free(unseen);
	(void)eventfd_write(client->news_fd, 1);
}

/* --- the thread: calls to xenstored --- */

/* Around everything that asks xenstored. */
static void
ask_begin(struct xenstore_client *client)
{
	atomic_store(&client->asked_ms, clock_ms());
}

static void
ask_end(struct xenstore_client *client)
{
	int error = errno;

	atomic_store(&client->asked_ms, 0);
	errno = error;
}

/*
 * What xenstored may answer about one thing, while it is well otherwise. Anything else, and the
 * connection is taken for broken.
 */
static bool
error_is_answer(int error)
{
	return error == ENOENT || error == EACCES || error == EAGAIN || error == ENOSPC ||
	       error == E2BIG || error == EBUSY || error == EROFS || error == EPERM;
}

/**
 * Read one value. @return 0, also when it is not there: then @p value has no text; or errno
 */
static int
value_read(struct xenstore_client *client, xs_transaction_t transaction, unsigned domid,
	unsigned devid, enum xenstore_key key, struct xenstore_value *value)
{
	char path[XENSTORE_PATH_SIZE];
	unsigned length = 0;

	xenstore_path_format(path, domid, devid, xenstore_keys[key].name);
	ask_begin(client);
	value->text = xs_read(client->store, transaction, path, &length);
	ask_end(client);
	value->length = length;
	return value->text != NULL || errno == ENOENT || errno == EACCES ? 0 : errno;
}

static int
vif_read_within(struct xenstore_client *client, xs_transaction_t transaction, unsigned domid,
	unsigned devid, struct xenstore_vif *vif, bool *exists)
{
	struct xenstore_value values[XENSTORE_KEY_COUNT] = {0};
	int error = 0;

	*exists = false;
	for (unsigned key = 0; key < XENSTORE_KEY_COUNT && error == 0; key++) {
		error = value_read(client, transaction, domid, devid, key, &values[key]);
		*exists |= values[key].text != NULL;
	}
	if (error == 0)
		xenstore_vif_parse(domid, devid, values, vif);
	for (unsigned key = 0; key < XENSTORE_KEY_COUNT; key++)
		free((char *)values[key].text);
	return error;
}

static xs_transaction_t
transaction_begin(struct xenstore_client *client)
{
	xs_transaction_t transaction;

	ask_begin(client);
	transaction = xs_transaction_start(client->store);
	ask_end(client);
	return transaction;
}

/* @return 0 or errno: EAGAIN when somebody else has written what was read or written */
static int
transaction_end(struct xenstore_client *client, xs_transaction_t transaction, bool abandon)
{
	bool done;

	ask_begin(client);
	done = xs_transaction_end(client->store, transaction, abandon);
	ask_end(client);
	return done ? 0 : errno;
}

/* @return 0 or errno */
static int
vif_read(struct xenstore_client *client, unsigned domid, unsigned devid, struct xenstore_vif *vif,
	bool *exists)
{
	int error = EAGAIN;

	*exists = false;
	for (unsigned tries = 0; tries < TRANSACTION_TRIES && error == EAGAIN; tries++) {
		xs_transaction_t transaction = transaction_begin(client);
		int ended;

		if (transaction == XBT_NULL)
			return errno;
		error = vif_read_within(client, transaction, domid, devid, vif, exists);
		/* not abandoned: only then does xenstored say whether all of it was there at once
		 */
		ended = transaction_end(client, transaction, false);
		if (error == 0)
			error = ended;
	}
	return error;
}

/* --- the thread: what it knows --- */

/* Where a vif is, or belongs, in `vifs`. */
static unsigned
seen_position(const struct xenstore_client *client, unsigned domid, unsigned devid)
{
	unsigned low = 0, high = client->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct xenstore_vif *vif = &client->vifs[middle].vif;

		if (vif->domid < domid || (vif->domid == domid && vif->devid < devid))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct xenstore_seen *
seen_find(struct xenstore_client *client, unsigned domid, unsigned devid)
{
	unsigned position = seen_position(client, domid, devid);
	struct xenstore_seen *seen = &client->vifs[position];

	return position < client->count && seen->vif.domid == domid && seen->vif.devid == devid
		       ? seen
		       : NULL;
}

static void
seen_put(struct xenstore_client *client, const struct xenstore_vif *vif)
{
	unsigned position = seen_position(client, vif->domid, vif->devid);
	struct xenstore_seen *seen = seen_find(client, vif->domid, vif->devid);

	if (seen == NULL) {
		if (client->count == XENSTORE_VIFS_MAX) {
			client->left_out++;
			return;
		}
		seen = &client->vifs[position];
		memmove(seen + 1, seen, (client->count - position) * sizeof(*seen));
		client->count++;
		seen->write_error = 0;
	}
	seen->vif = *vif;
	seen->found = true;
}

static void
seen_drop(struct xenstore_client *client, unsigned domid, unsigned devid)
{
	struct xenstore_seen *seen = seen_find(client, domid, devid);

	if (seen == NULL)
		return;
	client->count--;
	memmove(seen, seen + 1, (size_t)(&client->vifs[client->count] - seen) * sizeof(*seen));
	/* there may be room now for one that was left out */
	if (client->left_out != 0)
		client->dirty_all = true;
}

static void
dirty_add(struct xenstore_client *client, unsigned domid, unsigned devid)
{
	if (client->dirty_all)
		return;
	for (unsigned i = 0; i < client->dirty_count; i++)
		if (client->dirty[i].domid == domid && client->dirty[i].devid == devid)
			return;
	if (client->dirty_count == DIRTY_MAX) {
		client->dirty_all = true;
		return;
	}
	client->dirty[client->dirty_count].domid = domid;
	client->dirty[client->dirty_count++].devid = devid;
}

static void
dirty_mark(struct xenstore_client *client, const char *path)
{
	unsigned domid, devid;

	if (xenstore_path_parse(path, &domid, &devid))
		dirty_add(client, domid, devid);
	else
		client->dirty_all = true;
}

/* --- the thread: reading --- */

/*
 * One whose values never stand still while they are read stays as it was, and is read again later:
 * a guest can have netback write `state` without end, and others must not wait for that.
 */
static int
vif_refresh(struct xenstore_client *client, unsigned domid, unsigned devid)
{
	struct xenstore_vif vif;
	bool exists;
	int error = vif_read(client, domid, devid, &vif, &exists);

	if (error == EAGAIN) {
		struct xenstore_seen *seen = seen_find(client, domid, devid);

		if (seen != NULL)
			seen->found = true;
		dirty_add(client, domid, devid);
		return 0;
	}
	if (error != 0)
		return error;
	if (exists)
		seen_put(client, &vif);
	else
		seen_drop(client, domid, devid);
	return 0;
}

/* The names below a node; none if it is not there. @return 0 or errno */
static int
names_read(struct xenstore_client *client, const char *path, char ***names, unsigned *count)
{
	*count = 0;
	ask_begin(client);
	*names = xs_directory(client->store, XBT_NULL, path, count);
	ask_end(client);
	return *names != NULL || errno == ENOENT ? 0 : errno;
}

static int
domain_refresh(struct xenstore_client *client, unsigned domid)
{
	char path[XENSTORE_PATH_SIZE];
	unsigned count, devid;
	char **names;
	int error;

	snprintf(path, sizeof(path), XENSTORE_VIFS "/%u", domid);
	error = names_read(client, path, &names, &count);
	for (unsigned i = 0; i < count && error == 0; i++)
		if (xenstore_number_parse(names[i], XENSTORE_DEVID_MAX, &devid))
			error = vif_refresh(client, domid, devid);
	free(names);
	return error;
}

/* Those that were not found are gone. */
static void
seen_sweep(struct xenstore_client *client)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < client->count; i++)
		if (client->vifs[i].found)
			client->vifs[kept++] = client->vifs[i];
	if (kept < client->count && client->left_out != 0)
		client->dirty_all = true;
	client->count = kept;
}

static int
all_refresh(struct xenstore_client *client)
{
	unsigned count, domid;
	char **names;
	int error = names_read(client, XENSTORE_VIFS, &names, &count);

	if (error != 0)
		return error;
	for (unsigned i = 0; i < client->count; i++)
		client->vifs[i].found = false;
	client->left_out = 0;
	for (unsigned i = 0; i < count && error == 0; i++)
		if (xenstore_number_parse(names[i], XENSTORE_DOMID_MAX, &domid))
			error = domain_refresh(client, domid);
	free(names);
	if (error == 0)
		seen_sweep(client);
	return error;
}

/*
 * Read what something happened to. When xenstored is well but could not answer all of it, all of it
 * is read again later: half of the vifs must not look like all of them.
 * @return 0 or errno
 */
static int
dirty_refresh(struct xenstore_client *client)
{
	unsigned count = client->dirty_count;
	struct dirty dirty[DIRTY_MAX];
	int error = 0;

	memcpy(dirty, client->dirty, count * sizeof(dirty[0]));
	client->dirty_count = 0;
	if (!client->dirty_all)
		for (unsigned i = 0; i < count && error == 0; i++)
			error = vif_refresh(client, dirty[i].domid, dirty[i].devid);
	if (client->dirty_all && error == 0) {
		client->dirty_all = false;
		error = all_refresh(client);
	}
	if (error != 0)
		client->dirty_all = true;
	return error;
}

/* --- the thread: announcements --- */

/* @param value NULL: remove it. @return true when that failed, with errno */
static bool
key_write(struct xenstore_client *client, xs_transaction_t transaction,
	const struct xenstore_vif *vif, const char *key, const char *value)
{
	char path[XENSTORE_PATH_SIZE];
	bool done;

	xenstore_path_format(path, vif->domid, vif->devid, key);
	ask_begin(client);
	if (value != NULL)
		done = xs_write(client->store, transaction, path, value, (unsigned)strlen(value));
	else
		done = xs_rm(client->store, transaction, path) || errno == ENOENT;
	ask_end(client);
	return !done;
}

/* @param wanted out: it is still the same vif, and something was written. @return 0 or errno */
static int
announce_within(struct xenstore_client *client, xs_transaction_t transaction,
	const struct announcement *announcement, bool *wanted)
{
	const bool good = announcement->error[0] == '\0';
	struct xenstore_vif now;
	int error = vif_read_within(client, transaction, announcement->vif.domid,
		announcement->vif.devid, &now, wanted);

	if (error != 0)
		return error;
	*wanted = *wanted && xenstore_vif_same(&now, &announcement->vif) &&
		  (xenbus_state_is_up(now.state) || !good);
	if (!*wanted)
		return 0;
	if (key_write(client, transaction, &now, "hotplug-error",
		    good ? NULL : announcement->error) ||
		key_write(
			client, transaction, &now, "hotplug-status", good ? "connected" : "error"))
		return errno;
	return 0;
}

/* @return 0, also when there is nothing any more to write it to; or errno */
static int
announce(struct xenstore_client *client, const struct announcement *announcement)
{
	int error = EAGAIN;

	for (unsigned tries = 0; tries < TRANSACTION_TRIES && error == EAGAIN; tries++) {
		xs_transaction_t transaction = transaction_begin(client);
		bool wanted;
		int ended;

		if (transaction == XBT_NULL)
			return errno;
		error = announce_within(client, transaction, announcement, &wanted);
		ended = transaction_end(client, transaction, error != 0 || !wanted);
		if (error == 0)
			error = ended;
	}
	return error;
}

static struct announcement *
announcement_take(struct xenstore_client *client)
{
	struct announcement *announcement;

	pthread_mutex_lock(&client->lock);
	announcement = client->first;
	if (announcement != NULL) {
		client->first = announcement->next;
		if (client->first == NULL)
			client->last = &client->first;
	}
	pthread_mutex_unlock(&client->lock);
	return announcement;
}

/* @return 0, or errno of a connection that is broken */
static int
announcements_write(struct xenstore_client *client)
{
	struct announcement *announcement;

	while ((announcement = announcement_take(client)) != NULL) {
		int error = announce(client, announcement);
		const struct xenstore_vif *vif = &announcement->vif;
		struct xenstore_seen *seen = seen_find(client, vif->domid, vif->devid);
		char path[XENSTORE_PATH_SIZE];

		if (seen != NULL)
			seen->write_error = error;
		client->announced = announcement->number;
		xenstore_path_format(path, vif->domid, vif->devid, NULL);
		dirty_mark(client, path);
		free(announcement);
		if (error != 0 && !error_is_answer(error))
			return error;
	}
	return 0;
}

/* --- the thread: its life --- */

/* What has happened. @return 0, or errno of a connection that is broken */
static int
events_take(struct xenstore_client *client)
{
	char **event;

	while ((event = xs_check_watch(client->store)) != NULL) {
		dirty_mark(client, event[XS_WATCH_PATH]);
		free(event);
	}
	return errno == EAGAIN ? 0 : errno;
}

/* @param fd -1: none but the wake-up */
static void
client_wait(struct xenstore_client *client, int fd, int longest_ms)
{
	struct pollfd waited[] = {
		{.fd = client->wake_fd, .events = POLLIN},
		{.fd = fd, .events = POLLIN},
	};
	eventfd_t ignored;

	(void)poll(waited, 2, longest_ms);
	(void)eventfd_read(client->wake_fd, &ignored);
}

/* Serve a connection. @param served out: it was good for something. @return errno of its end, or 0
 */
static int
session_run(struct xenstore_client *client, bool *served)
{
	bool watching;

	ask_begin(client);
	watching = xs_watch(client->store, XENSTORE_VIFS, WATCH_TOKEN);
	ask_end(client);
	if (!watching)
		return errno;
	client->session++;
	client->count = 0;
	client->dirty_all = true;
	while (!atomic_load(&client->over)) {
		int error = events_take(client);

		if (error == 0)
			error = announcements_write(client);
		if (error == 0 && (client->dirty_all || client->dirty_count > 0)) {
			error = dirty_refresh(client);
			if (error == 0) {
				*served = true;
				view_show(client, true, 0);
			}
		}
		if (error != 0 && !error_is_answer(error))
			return error;
		client_wait(client, xs_fileno(client->store),
			client->dirty_count > 0 ? UNREAD_MS : LOOK_MS);
	}
	return 0;
}

static void *
client_run(void *context)
{
	struct xenstore_client *client = context;
	int pause_ms = RECONNECT_LEAST_MS;

	while (!atomic_load(&client->over)) {
		bool served = false;
		int error;

		ask_begin(client);
		client->store = xs_open(0);
		ask_end(client);
		error = errno;
		if (client->store != NULL) {
			error = session_run(client, &served);
			/* that is how the library says that the other end has gone */
			if (error == EINVAL)
				error = ECONNRESET;
			xs_close(client->store);
		}
		if (served)
			pause_ms = RECONNECT_LEAST_MS;
		if (!atomic_load(&client->over)) {
			view_show(client, false, error);
			client_wait(client, -1, pause_ms);
		}
		pause_ms = pause_ms * 2 < RECONNECT_MOST_MS ? pause_ms * 2 : RECONNECT_MOST_MS;
	}
	client_unref(client);
	return NULL;
}

/* --- the owner --- */

/* No signal is for this thread. */
static int
thread_start(struct xenstore_client *client)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&client->thread, NULL, client_run, client);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

int
xenstore_client_create(struct xenstore_client **out)
{
	struct xenstore_client *client = calloc(1, sizeof(*client));
	int error = 0;

	if (client == NULL)
		return -ENOMEM;
	client->references = 1;
	client->last = &client->first;
	pthread_mutex_init(&client->lock, NULL);
	client->vifs = calloc(XENSTORE_VIFS_MAX, sizeof(client->vifs[0]));
	client->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	client->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (client->wake_fd < 0 || client->news_fd < 0)
		error = -errno;
	if (client->vifs == NULL)
		error = -ENOMEM;
	if (error == 0) {
		client->references = 2;
		error = thread_start(client);
		if (error != 0)
			client->references = 1;
	}
	if (error != 0) {
		client_unref(client);
		return error;
	}
	*out = client;
	return 0;
}

void
xenstore_client_free(struct xenstore_client *client)
{
	struct timespec end;

	if (client == NULL)
		return;
	atomic_store(&client->over, true);
	(void)eventfd_write(client->wake_fd, 1);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_nsec += END_MS * 1000000L;
	if (end.tv_nsec >= 1000000000L) {
		end.tv_nsec -= 1000000000L;
		end.tv_sec++;
	}
	if (pthread_timedjoin_np(client->thread, NULL, &end) != 0)
		pthread_detach(client->thread);
	client_unref(client);
}

int
xenstore_client_fd(const struct xenstore_client *client)
{
	return client->news_fd;
}

struct xenstore_view *
xenstore_client_take(struct xenstore_client *client)
{
	struct xenstore_view *view;
	eventfd_t ignored;

	(void)eventfd_read(client->news_fd, &ignored);
	pthread_mutex_lock(&client->lock);
	view = client->view;
	client->view = NULL;
	pthread_mutex_unlock(&client->lock);
	return view;
}

/* What has not been carried out about the same vif is out of date. The lock is held. */
static void
announcements_forget(struct xenstore_client *client, const struct xenstore_vif *vif)
{
	struct announcement **link = &client->first;

	while (*link != NULL) {
		struct announcement *old = *link;

		if (old->vif.domid != vif->domid || old->vif.devid != vif->devid) {
			link = &old->next;
			continue;
		}
		*link = old->next;
		free(old);
	}
	client->last = link;
}

uint64_t
xenstore_client_announce(
	struct xenstore_client *client, const struct xenstore_vif *vif, const char *error)
{
	struct announcement *announcement = malloc(sizeof(*announcement));
	uint64_t number = client->announcement_number + 1;

	if (announcement == NULL)
		return 0;
	client->announcement_number = number;
	*announcement = (struct announcement){
		.number = number,
		.vif = *vif,
	};
	snprintf(
		announcement->error, sizeof(announcement->error), "%s", error != NULL ? error : "");
	pthread_mutex_lock(&client->lock);
	announcements_forget(client, vif);
	*client->last = announcement;
	client->last = &announcement->next;
	pthread_mutex_unlock(&client->lock);
	(void)eventfd_write(client->wake_fd, 1);
	return number;
}

uint64_t
xenstore_client_waits_ms(const struct xenstore_client *client)
{
	uint64_t asked_ms = atomic_load(&client->asked_ms);

	return asked_ms != 0 ? clock_ms() - asked_ms : 0;
}
