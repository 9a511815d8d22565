/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The wire protocol of QubesDB, and the life of a connection.
 *
 * A message is a header of 72 bytes and up to 3071 bytes of data. Answers come in the order of the
 * requests; a watch may speak between any two messages, also between the items of one answer.
 *
 *	retry --connect--> up --end, error, nonsense, silence--> retry, after a pause
 *
 * A request is in the queue from the call until its answer has come, and is sent from there. The
 * first one in the queue is the one that is being answered, and has a time to be answered in, from
 * the moment at which it was the first: a daemon that drips bytes does not get more of it.
 *
 * A connection is never ended while its bytes are being looked at: that is said by what looks, and
 * done by who called it. What callbacks ask for meanwhile is put into the queue.
 */
#include "conf/qubesdb.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

/* Between two attempts to connect: doubled with each failure. */
#define PAUSE_LEAST_MS 100
#define PAUSE_MOST_MS 3200
/* Requests that may wait for an answer, and messages in one answer. */
#define REQUESTS_MAX 16384
#define ITEMS_MAX 65536
#define LIST_MAX (1 << 21) /* a thousand keys each of a thousand qubes, twice */
/* How often a turn of the loop reads and sends at most. */
#define TURN_READS 4
#define TURN_SENDS 256

#define INPUT_SIZE 65536
#define REASON_SIZE 160

enum message_type {
	CMD_READ,
	CMD_WRITE,
	CMD_MULTIREAD,
	CMD_LIST,
	CMD_RM,
	CMD_WATCH,
	CMD_UNWATCH,
	RESP_OK,
	RESP_ERROR_NOENT,
	RESP_ERROR,
	RESP_READ,
	RESP_MULTIREAD,
	RESP_LIST,
	RESP_WATCH,
	MESSAGE_TYPES
};

struct header {
	uint8_t type;
	char path[QUBESDB_PATH_MAX + 1];
	uint8_t zero[3];
	uint32_t length; /* of the data; in the order of this machine */
};
_Static_assert(sizeof(struct header) == 72 && offsetof(struct header, length) == 68,
	"this goes over the wire as it is");

/* What may answer what; answers of many messages end with one of their type without a path. */
#define ANSWER(type) (1u << (type))
static const struct {
	const char *name;
	unsigned answers;
	enum message_type items; /* type of the messages of an answer of many; 0: there is one */
} commands[] = {
	[CMD_READ] = {"read", ANSWER(RESP_READ) | ANSWER(RESP_ERROR_NOENT) | ANSWER(RESP_ERROR), 0},
	[CMD_WRITE] = {"write", ANSWER(RESP_OK) | ANSWER(RESP_ERROR), 0},
	[CMD_MULTIREAD] = {"multiread",
		ANSWER(RESP_MULTIREAD) | ANSWER(RESP_ERROR_NOENT) | ANSWER(RESP_ERROR),
		RESP_MULTIREAD},
	[CMD_LIST] = {"list", ANSWER(RESP_LIST) | ANSWER(RESP_ERROR_NOENT) | ANSWER(RESP_ERROR),
		RESP_LIST},
	[CMD_RM] = {"rm", ANSWER(RESP_OK) | ANSWER(RESP_ERROR_NOENT) | ANSWER(RESP_ERROR), 0},
	[CMD_WATCH] = {"watch", ANSWER(RESP_OK) | ANSWER(RESP_ERROR), 0},
};

struct request {
	STAILQ_ENTRY(request) next;
	qubesdb_item_fn item;
	qubesdb_done_fn done;
	void *context;
	unsigned items;    /* messages of its answer that have come */
	size_t size, sent; /* bytes of the message */
	struct header header;
	char value[]; /* behind the header, as it is sent */
};

struct qubesdb {
	struct event_base *base;
	char *path;
	struct qubesdb_owner owner;
	int fd; /* -1 without a connection */
	struct event *readable, *writable;
	struct event *timer; /* of the next attempt, or of the answer */
	STAILQ_HEAD(request_queue, request) requests;
	struct request *unsent; /* the first that is not sent completely */
	unsigned request_count;
	uint64_t up_since_ms;
	bool answered_all; /* once, on this connection */
	unsigned pause_ms;
	size_t filled; /* bytes of input */
	_Alignas(8) char input[INPUT_SIZE];
};

static uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void
timer_set(struct qubesdb *db, uint64_t ms)
{
	const struct timeval pause = {
		.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	evtimer_add(db->timer, &pause);
}

/* --- what can be said --- */

static bool
path_is_sound(const char *path)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_/.:@";

	return path[0] == '/' && path[strspn(path, letters)] == '\0';
}

bool
qubesdb_path_fits(const char *path)
{
	return strnlen(path, QUBESDB_PATH_MAX + 1) <= QUBESDB_PATH_MAX && path_is_sound(path);
}

/* --- requests --- */

static void
request_end(struct request *request, int error, const char *value, size_t length)
{
	if (request->done != NULL)
		request->done(request->context, error, value, length);
	free(request);
}

static int
request_make(struct qubesdb *db, enum message_type type, const char *path, const char *value,
	qubesdb_item_fn item, qubesdb_done_fn done, void *context)
{
	size_t length = strnlen(value, QUBESDB_VALUE_MAX + 1);
	struct request *request;

	if (!qubesdb_path_fits(path) || length > QUBESDB_VALUE_MAX)
		return -EINVAL;
	if (commands[type].items != 0 && path[strlen(path) - 1] != '/')
		return -EINVAL; /* would find what only begins alike */
	if (db->fd < 0)
		return -ENOTCONN;
	if (db->request_count == REQUESTS_MAX)
		return -ENOBUFS;
	request = calloc(1, sizeof(*request) + length);
	if (request == NULL)
		return -ENOMEM;
	request->item = item;
	request->done = done;
	request->context = context;
	request->size = sizeof(request->header) + length;
	request->header.type = (uint8_t)type;
	request->header.length = (uint32_t)length;
	strcpy(request->header.path, path);
	memcpy(request->value, value, length);
	if (STAILQ_EMPTY(&db->requests))
		timer_set(db, db->owner.answer_ms);
	STAILQ_INSERT_TAIL(&db->requests, request, next);
	db->request_count++;
	if (db->unsent == NULL)
		db->unsent = request;
	event_add(db->writable, NULL);
	return 0;
}

int
qubesdb_read(struct qubesdb *db, const char *path, qubesdb_done_fn done, void *context)
{
	return request_make(db, CMD_READ, path, "", NULL, done, context);
}

int
qubesdb_write(struct qubesdb *db, const char *path, const char *value, qubesdb_done_fn done,
	void *context)
{
	return request_make(db, CMD_WRITE, path, value, NULL, done, context);
}

int
qubesdb_rm(struct qubesdb *db, const char *path, qubesdb_done_fn done, void *context)
{
	return request_make(db, CMD_RM, path, "", NULL, done, context);
}

int
qubesdb_watch(struct qubesdb *db, const char *path, qubesdb_done_fn done, void *context)
{
	return request_make(db, CMD_WATCH, path, "", NULL, done, context);
}

int
qubesdb_multiread(struct qubesdb *db, const char *prefix, qubesdb_item_fn item,
	qubesdb_done_fn done, void *context)
{
	return request_make(db, CMD_MULTIREAD, prefix, "", item, done, context);
}

int
qubesdb_list(struct qubesdb *db, const char *prefix, qubesdb_item_fn item, qubesdb_done_fn done,
	void *context)
{
	return request_make(db, CMD_LIST, prefix, "", item, done, context);
}

/* --- the end of a connection --- */

static void
connection_close(struct qubesdb *db)
{
	struct request *request;

	event_del(db->readable);
	event_del(db->writable);
	event_del(db->timer);
	if (db->fd >= 0)
		close(db->fd);
	db->fd = -1; /* from here on nothing more is taken */
	db->unsent = NULL;
	db->filled = 0;
	while ((request = STAILQ_FIRST(&db->requests)) != NULL) {
		STAILQ_REMOVE_HEAD(&db->requests, next);
		db->request_count--;
		request_end(request, -ECONNRESET, "", 0);
	}
}

static void connection_lost(struct qubesdb *db, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * A daemon that was good for a while is soon asked again, one that is never good ever less. One
 * that answers and then goes is asked again after as long as that took.
 */
static void
connection_lost(struct qubesdb *db, const char *format, ...)
{
	char reason[REASON_SIZE];
	va_list arguments;
	uint64_t lived_ms;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	lived_ms = now_ms() - db->up_since_ms;
	if (db->fd >= 0 && lived_ms > PAUSE_MOST_MS)
		db->pause_ms = PAUSE_LEAST_MS;
	else if (db->fd >= 0 && db->answered_all)
		db->pause_ms = lived_ms > PAUSE_LEAST_MS ? (unsigned)lived_ms : PAUSE_LEAST_MS;
	connection_close(db);
	timer_set(db, db->pause_ms);
	db->pause_ms = 2 * db->pause_ms < PAUSE_MOST_MS ? 2 * db->pause_ms : PAUSE_MOST_MS;
	db->owner.lost(db->owner.context, reason);
}

/* --- answers --- */

/* What a message says of itself, however it is meant. @return NULL, or what is wrong with it */
static const char *
header_check(const struct header *header)
{
	if (header->type < RESP_OK || header->type >= MESSAGE_TYPES)
		return "a message of an unknown type";
	if (memchr(header->path, '\0', sizeof(header->path)) == NULL)
		return "a path without an end";
	if (header->length > QUBESDB_VALUE_MAX)
		return "a value that is too long";
	if (header->length != 0 && header->type != RESP_READ && header->type != RESP_MULTIREAD)
		return "a value where there is none";
	return NULL;
}

/* The answer of the first request is complete. */
static void
answer_end(struct qubesdb *db, int error, const char *value, size_t length)
{
	struct request *request = STAILQ_FIRST(&db->requests);

	STAILQ_REMOVE_HEAD(&db->requests, next);
	db->request_count--;
	if (STAILQ_EMPTY(&db->requests)) {
		db->answered_all = true;
		event_del(db->timer);
	} else {
		timer_set(db, db->owner.answer_ms);
	}
	request_end(request, error, value, length);
}

static const char *
item_take(struct qubesdb *db, const struct header *header, const char *value)
{
	struct request *request = STAILQ_FIRST(&db->requests);
	const char *prefix = request->header.path;

	if (header->path[0] == '\0') {
		if (header->length != 0)
			return "a value without a path";
		answer_end(db, 0, "", 0);
		return NULL;
	}
	if (!path_is_sound(header->path) || strncmp(header->path, prefix, strlen(prefix)) != 0)
		return "a path that nobody has asked for";
	if (++request->items > (header->type == RESP_LIST ? LIST_MAX : ITEMS_MAX))
		return "an answer without an end";
	if (request->item != NULL)
		request->item(request->context, header->path, value, header->length);
	return NULL;
}

static const char *
answer_take(struct qubesdb *db, const struct header *header, const char *value)
{
	const struct request *request = STAILQ_FIRST(&db->requests);

	if (request == NULL || request == db->unsent)
		return "an answer that nobody waits for";
	if ((commands[request->header.type].answers & ANSWER(header->type)) == 0)
		return "an answer to something else";
	if (header->type == (uint8_t)commands[request->header.type].items)
		return item_take(db, header, value);
	answer_end(db,
		header->type == RESP_ERROR_NOENT ? -ENOENT
		: header->type == RESP_ERROR     ? -EIO
						 : 0,
		value, header->length);
	return NULL;
}

/* @param value @p header->length bytes, and room for a NUL */
static const char *
message_take(struct qubesdb *db, const struct header *header, char *value)
{
	char behind = value[header->length];
	const char *wrong;

	if (memchr(value, '\0', header->length) != NULL)
		return "a value with a NUL in it";
	if (header->type == RESP_WATCH) {
		if (!path_is_sound(header->path))
			return "an event without a path";
		db->owner.changed(db->owner.context, header->path);
		return NULL;
	}
	value[header->length] = '\0';
	wrong = answer_take(db, header, value);
	value[header->length] = behind;
	return wrong;
}

/* Take all whole messages of the input. @return NULL, or what is wrong with one */
static const char *
input_take(struct qubesdb *db)
{
	const char *wrong = NULL;
	size_t taken = 0;

	while (wrong == NULL && db->filled - taken >= sizeof(struct header)) {
		struct header header;

		memcpy(&header, &db->input[taken], sizeof(header));
		wrong = header_check(&header);
		if (wrong != NULL || db->filled - taken - sizeof(header) < header.length)
			break;
		wrong = message_take(db, &header, &db->input[taken + sizeof(header)]);
		taken += sizeof(header) + header.length;
	}
	db->filled -= taken;
	memmove(db->input, &db->input[taken], db->filled);
	return wrong;
}

static void
readable(evutil_socket_t fd, short events, void *context)
{
	struct qubesdb *db = context;
	const char *wrong;

	(void)events;
	for (unsigned i = 0; i < TURN_READS; i++) {
		/* A message is far shorter than the input, and there is room for a NUL behind. */
		ssize_t count = recv(fd, &db->input[db->filled], sizeof(db->input) - 1 - db->filled,
			MSG_DONTWAIT);

		if (count < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (count < 0) {
			connection_lost(db, "%s", strerror(errno));
			return;
		}
		if (count == 0) {
			connection_lost(db, "it has ended the connection");
			return;
		}
		db->filled += (size_t)count;
		wrong = input_take(db);
		if (wrong != NULL) {
			connection_lost(db, "it has sent %s", wrong);
			return;
		}
	}
}

/* --- sending --- */

static void
writable(evutil_socket_t fd, short events, void *context)
{
	struct qubesdb *db = context;

	(void)events;
	for (unsigned i = 0; i < TURN_SENDS && db->unsent != NULL; i++) {
		struct request *request = db->unsent;
		/* In one piece as a rule: the kernel takes all of a message or none. */
		ssize_t count = send(fd,
			(const char *)request + offsetof(struct request, header) + request->sent,
			request->size - request->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (count < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (count < 0) {
			connection_lost(db, "%s", strerror(errno));
			return;
		}
		request->sent += (size_t)count;
		if (request->sent == request->size)
			db->unsent = STAILQ_NEXT(request, next);
	}
	if (db->unsent == NULL)
		event_del(db->writable);
}

/* --- the beginning of one --- */

/* @return a connected socket or -errno */
static int
socket_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error;

	if (fd < 0)
		return -errno;
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

static void
connection_begin(struct qubesdb *db)
{
	int fd = socket_connect(db->path);

	if (fd < 0) {
		connection_lost(db, "%s", strerror(-fd));
		return;
	}
	db->fd = fd;
	db->up_since_ms = now_ms();
	db->answered_all = false;
	/* No event of them is pending: they may be given another descriptor. */
	if (event_assign(db->readable, db->base, fd, EV_READ | EV_PERSIST, readable, db) != 0 ||
		event_assign(db->writable, db->base, fd, EV_WRITE | EV_PERSIST, writable, db) !=
			0 ||
		event_add(db->readable, NULL) != 0) {
		connection_lost(db, "out of memory");
		return;
	}
	db->owner.connected(db->owner.context);
}

static void
timer_fired(evutil_socket_t fd, short events, void *context)
{
	struct qubesdb *db = context;

	(void)fd, (void)events;
	if (db->fd < 0)
		connection_begin(db);
	else
		connection_lost(db, "it has not answered a %s for %u ms",
			commands[STAILQ_FIRST(&db->requests)->header.type].name,
			db->owner.answer_ms);
}

/* --- all of it --- */

struct qubesdb *
qubesdb_open(struct event_base *base, const char *path, const struct qubesdb_owner *owner)
{
	struct qubesdb *db = calloc(1, sizeof(*db));

	if (db == NULL)
		return NULL;
	db->base = base;
	db->owner = *owner;
	db->fd = -1;
	db->pause_ms = PAUSE_LEAST_MS;
	STAILQ_INIT(&db->requests);
	db->path = strdup(path);
	db->readable = event_new(base, -1, 0, readable, db);
	db->writable = event_new(base, -1, 0, writable, db);
	db->timer = evtimer_new(base, timer_fired, db);
	if (db->path == NULL || db->readable == NULL || db->writable == NULL || db->timer == NULL) {
		qubesdb_close(db);
		return NULL;
	}
	timer_set(db, 0);
	return db;
}

void
qubesdb_close(struct qubesdb *db)
{
	if (db == NULL)
		return;
	if (db->readable != NULL && db->writable != NULL && db->timer != NULL)
		connection_close(db);
	if (db->readable != NULL)
		event_free(db->readable);
	if (db->writable != NULL)
		event_free(db->writable);
	if (db->timer != NULL)
		event_free(db->timer);
	free(db->path);
	free(db);
}

bool
qubesdb_is_connected(const struct qubesdb *db)
{
	return db->fd >= 0;
}
