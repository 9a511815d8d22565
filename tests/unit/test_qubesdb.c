/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client of QubesDB against a daemon that says byte by byte what the test wants: requests as
 * they go over the wire, answers whole and in pieces, events at any place, a connection that ends
 * or goes mad at any place, and how it comes back.
 */
#include "conf/qubesdb.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "tests/unit/unit.h"

#define HEADER 72
#define ANSWER_MS 400

enum {
	READ,
	WRITE,
	MULTIREAD,
	LIST,
	RM,
	WATCH,
	UNWATCH,
	OK,
	NOENT,
	ERROR,
	GOT_READ,
	GOT_MULTIREAD,
	GOT_LIST,
	GOT_WATCH,
};

static char folder[64], socket_path[100];
static struct event_base *base;
static struct qubesdb *db;
static int listener = -1, peer = -1;

/* What the owner was told, as one line. */
static char heard[8192];
static unsigned connections;
/* more than any test takes that is not about it */
static unsigned answer_ms = 60000;

static void __attribute__((format(printf, 1, 2))) hear(const char *format, ...)
{
	size_t length = strlen(heard);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(&heard[length], sizeof(heard) - length, format, arguments);
	va_end(arguments);
}

static void
on_connected(void *context)
{
	(void)context;
	connections++;
}

static void
on_lost(void *context, const char *reason)
{
	(void)context;
	hear("lost(%s) ", reason);
}

static void
on_changed(void *context, const char *path)
{
	(void)context;
	hear("changed(%s) ", path);
}

static void
on_done(void *context, int error, const char *value, size_t length)
{
	CU_ASSERT_EQUAL(strlen(value), length);
	hear("%s=%d:%s ", (const char *)context, error, value);
}

static void
on_item(void *context, const char *path, const char *value, size_t length)
{
	CU_ASSERT_EQUAL(strlen(value), length);
	hear("%s[%s:%s] ", (const char *)context, path, value);
}

/* --- the daemon --- */

static void
listen_again(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	unlink(socket_path);
	strcpy(address.sun_path, socket_path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
		listen(listener, 4) != 0)
		abort();
}

static void
turns(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

/* Let time pass until the client has connected. */
static bool
peer_accept(void)
{
	for (unsigned i = 0; i < 2000; i++) {
		turns(2);
		peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
		if (peer >= 0) {
			turns(2);
			return true;
		}
		usleep(5000);
	}
	return false;
}

static void
peer_close(void)
{
	if (peer >= 0)
		close(peer);
	peer = -1;
}

static size_t
message_make(char *message, unsigned type, const char *path, const char *value, size_t length)
{
	uint32_t word = (uint32_t)length;

	memset(message, 0, HEADER);
	message[0] = (char)type;
	strcpy(&message[1], path);
	memcpy(&message[68], &word, sizeof(word));
	memcpy(&message[HEADER], value, length);
	return HEADER + length;
}

static void
say_bytes(const char *bytes, size_t length)
{
	if (send(peer, bytes, length, MSG_NOSIGNAL) != (ssize_t)length)
		abort();
}

static void
say(unsigned type, const char *path, const char *value)
{
	char message[4096];

	say_bytes(message, message_make(message, type, path, value, strlen(value)));
}

/* The next request is exactly this one. */
static void
expect(unsigned type, const char *path, const char *value)
{
	char wanted[4096], got[4096];
	size_t size = message_make(wanted, type, path, value, strlen(value));
	ssize_t count;

	turns(2);
	count = recv(peer, got, size, 0);
	CU_ASSERT_EQUAL_FATAL(count, (ssize_t)size);
	CU_ASSERT_EQUAL(memcmp(got, wanted, size), 0);
}

static bool
peer_hears_end(void)
{
	char byte;

	turns(2);
	return recv(peer, &byte, 1, 0) == 0;
}

#define HEARD(text)                                                              \
	do {                                                                     \
		turns(3);                                                        \
		if (strcmp(heard, text) != 0)                                    \
			printf("\n    heard: %s\n    want:  %s\n", heard, text); \
		CU_ASSERT_STRING_EQUAL(heard, text);                             \
		heard[0] = '\0';                                                 \
	} while (0)

static void
open_all(void)
{
	const struct qubesdb_owner owner = {.connected = on_connected,
		.lost = on_lost,
		.changed = on_changed,
		.answer_ms = answer_ms};

	heard[0] = '\0';
	connections = 0;
	base = event_base_new();
	listen_again();
	db = qubesdb_open(base, socket_path, &owner);
	CU_ASSERT_FATAL(peer_accept());
	CU_ASSERT_EQUAL(connections, 1);
}

static void
close_all(void)
{
	qubesdb_close(db);
	peer_close();
	close(listener);
	event_base_free(base);
}

static uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- tests --- */

static void
requests_as_they_go_over_the_wire(void)
{
	open_all();
	CU_ASSERT_EQUAL(qubesdb_read(db, "/qubes-ip", on_done, "a"), 0);
	CU_ASSERT_EQUAL(qubesdb_write(db, "/features-request/x", "1", on_done, "b"), 0);
	CU_ASSERT_EQUAL(qubesdb_write(db, "/empty", "", on_done, "c"), 0);
	CU_ASSERT_EQUAL(qubesdb_multiread(db, "/t/", on_item, on_done, "d"), 0);
	CU_ASSERT_EQUAL(qubesdb_list(db, "/t/", on_item, on_done, "e"), 0);
	CU_ASSERT_EQUAL(qubesdb_rm(db, "/dns/10.137.0.16/", on_done, "f"), 0);
	CU_ASSERT_EQUAL(qubesdb_watch(db, "/qubes-firewall/", on_done, "g"), 0);
	expect(READ, "/qubes-ip", "");
	expect(WRITE, "/features-request/x", "1");
	expect(WRITE, "/empty", "");
	expect(MULTIREAD, "/t/", "");
	expect(LIST, "/t/", "");
	expect(RM, "/dns/10.137.0.16/", "");
	expect(WATCH, "/qubes-firewall/", "");
	HEARD("");
	say(GOT_READ, "/qubes-ip", "10.137.0.5");
	say(OK, "/features-request/x", "");
	say(OK, "/empty", "");
	say(GOT_MULTIREAD, "/t/1", "one");
	say(GOT_MULTIREAD, "/t/2", "");
	say(GOT_MULTIREAD, "", "");
	say(GOT_LIST, "/t/1", "");
	say(GOT_LIST, "/t/2", "");
	say(GOT_LIST, "", "");
	say(NOENT, "/dns/10.137.0.16/", "");
	say(OK, "/qubes-firewall/", "");
	HEARD("a=0:10.137.0.5 b=0: c=0: d[/t/1:one] d[/t/2:] d=0: e[/t/1:] e[/t/2:] e=0: f=-2: "
	      "g=0: ");
	close_all();
	HEARD("");
}

static void
what_cannot_be_written(void)
{
	char path[QUBESDB_PATH_MAX + 2], value[QUBESDB_VALUE_MAX + 2];

	open_all();
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[QUBESDB_PATH_MAX + 1] = '\0';
	memset(value, 'v', sizeof(value));
	value[QUBESDB_VALUE_MAX + 1] = '\0';
	CU_ASSERT_EQUAL(qubesdb_write(db, path, "1", on_done, "a"), -EINVAL);
	CU_ASSERT_EQUAL(qubesdb_read(db, path, on_done, "a"), -EINVAL);
	CU_ASSERT_EQUAL(qubesdb_write(db, "/a", value, on_done, "a"), -EINVAL);
	CU_ASSERT_EQUAL(qubesdb_write(db, "", "1", on_done, "a"), -EINVAL);
	CU_ASSERT_EQUAL(qubesdb_write(db, "a", "1", on_done, "a"), -EINVAL);
	CU_ASSERT_EQUAL(qubesdb_write(db, "/a b", "1", on_done, "a"), -EINVAL);
	CU_ASSERT_EQUAL(qubesdb_write(db, "/a\n", "1", on_done, "a"), -EINVAL);
	CU_ASSERT_EQUAL(qubesdb_write(db, "/\xc3\xa4", "1", on_done, "a"), -EINVAL);
	CU_ASSERT_EQUAL(qubesdb_multiread(db, "/t", on_item, on_done, "a"), -EINVAL);
	CU_ASSERT_EQUAL(qubesdb_list(db, "/t", on_item, on_done, "a"), -EINVAL);
	HEARD("");
	/* the longest ones pass, as they are */
	path[QUBESDB_PATH_MAX] = '\0';
	value[QUBESDB_VALUE_MAX] = '\0';
	CU_ASSERT_EQUAL(qubesdb_write(db, path, value, on_done, "a"), 0);
	CU_ASSERT_EQUAL(qubesdb_write(db, "/azAZ09-_/.:@", "1", on_done, "b"), 0);
	expect(WRITE, path, value);
	expect(WRITE, "/azAZ09-_/.:@", "1");
	say(OK, path, "");
	say(OK, "", "");
	HEARD("a=0: b=0: ");
	close_all();
}

/* Events at every place, and the whole stream in pieces of every size. */
static void
events_and_pieces(void)
{
	static const char *const want =
		"changed(/w/0) a[/t/1:one] changed(/t/2) changed(/w/1) a[/t/2:two] "
		"changed(/w/2) a=0: changed(/w/3) b=0:value changed(/w/4) ";
	char stream[2048];
	size_t size = 0;

	size += message_make(&stream[size], GOT_WATCH, "/w/0", "", 0);
	size += message_make(&stream[size], GOT_MULTIREAD, "/t/1", "one", 3);
	size += message_make(&stream[size], GOT_WATCH, "/t/2", "", 0);
	size += message_make(&stream[size], GOT_WATCH, "/w/1", "", 0);
	size += message_make(&stream[size], GOT_MULTIREAD, "/t/2", "two", 3);
	size += message_make(&stream[size], GOT_WATCH, "/w/2", "", 0);
	size += message_make(&stream[size], GOT_MULTIREAD, "", "", 0);
	size += message_make(&stream[size], GOT_WATCH, "/w/3", "", 0);
	size += message_make(&stream[size], GOT_READ, "/b", "value", 5);
	size += message_make(&stream[size], GOT_WATCH, "/w/4", "", 0);
	open_all();
	for (size_t piece = 1; piece <= size; piece += piece < 80 ? 1 : 97) {
		CU_ASSERT_EQUAL(qubesdb_multiread(db, "/t/", on_item, on_done, "a"), 0);
		CU_ASSERT_EQUAL(qubesdb_read(db, "/b", on_done, "b"), 0);
		expect(MULTIREAD, "/t/", "");
		expect(READ, "/b", "");
		for (size_t at = 0; at < size; at += piece) {
			say_bytes(&stream[at], at + piece < size ? piece : size - at);
			turns(1);
		}
		HEARD(want);
	}
	close_all();
}

static unsigned many_items, many_bytes;

static void
count_item(void *context, const char *path, const char *value, size_t length)
{
	(void)context;
	CU_ASSERT_EQUAL(strlen(path), strlen("/t/0000"));
	CU_ASSERT_EQUAL(value[0], 'v');
	many_items++;
	many_bytes += (unsigned)length;
}

/* An answer far larger than anybody's buffer, from a daemon that does not wait for a reader. */
static void
much(void)
{
	char message[4096], value[QUBESDB_VALUE_MAX], path[16];
	size_t size, sent;

	open_all();
	memset(value, 'v', sizeof(value));
	CU_ASSERT_EQUAL(qubesdb_multiread(db, "/t/", count_item, on_done, "a"), 0);
	expect(MULTIREAD, "/t/", "");
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(path, sizeof(path), "/t/%04u", i);
		size = message_make(message, GOT_MULTIREAD, path, value, sizeof(value));
		for (sent = 0; sent < size;) {
			ssize_t count = send(peer, &message[sent], size - sent, MSG_NOSIGNAL);

			if (count > 0)
				sent += (size_t)count;
			else
				turns(1);
		}
	}
	say(GOT_MULTIREAD, "", "");
	HEARD("a=0: ");
	CU_ASSERT_EQUAL(many_items, 1000);
	CU_ASSERT_EQUAL(many_bytes, 1000 * QUBESDB_VALUE_MAX);
	close_all();
}

/* A daemon that does not read: nothing blocks, and it all arrives when it does. */
static void
slow_daemon(void)
{
	enum { WRITES = 2000 };
	char value[QUBESDB_VALUE_MAX + 1], got[HEADER + QUBESDB_VALUE_MAX];
	unsigned whole = 0;

	open_all();
	memset(value, 'x', QUBESDB_VALUE_MAX);
	value[QUBESDB_VALUE_MAX] = '\0';
	for (unsigned i = 0; i < WRITES; i++)
		CU_ASSERT_EQUAL(qubesdb_write(db, "/a", value, NULL, NULL), 0);
	turns(100);
	while (whole < WRITES) {
		size_t filled = 0;

		while (filled < sizeof(got)) {
			ssize_t count = recv(peer, &got[filled], sizeof(got) - filled, 0);

			if (count > 0)
				filled += (size_t)count;
			else
				turns(1);
		}
		CU_ASSERT_EQUAL(got[0], WRITE);
		CU_ASSERT_EQUAL(memcmp(&got[HEADER], value, QUBESDB_VALUE_MAX), 0);
		whole++;
	}
	close_all();
}

static void
too_many_requests(void)
{
	unsigned taken = 0;

	open_all();
	while (taken < 100000 && qubesdb_read(db, "/a", NULL, NULL) == 0)
		taken++;
	CU_ASSERT(taken > 1000 && taken < 100000);
	CU_ASSERT_EQUAL(qubesdb_read(db, "/a", on_done, "a"), -ENOBUFS);
	close_all();
	HEARD("");
}

/* Each of these must end the connection; what waited for an answer hears of it. */
static void
nonsense(void)
{
	static const struct {
		const char *what;
		unsigned type;
		const char *path;
		uint32_t length;
		const char *value;
		size_t value_size;
	} messages[] = {
		{"a message of an unknown type", 14, "/t/", 0, "", 0},
		{"a message of an unknown type", 255, "/t/", 0, "", 0},
		{"a message of an unknown type", MULTIREAD, "/t/", 0, "", 0},
		{"a message of an unknown type", UNWATCH, "/t/", 0, "", 0},
		{"a value that is too long", GOT_MULTIREAD, "/t/1", 3072, "", 0},
		{"a value that is too long", GOT_MULTIREAD, "/t/1", UINT32_MAX, "", 0},
		{"a value where there is none", OK, "/t/", 1, "x", 1},
		{"a value where there is none", NOENT, "/t/", 1, "x", 1},
		{"a value where there is none", GOT_WATCH, "/t/", 4, "1234", 4},
		{"a value where there is none", GOT_LIST, "/t/1", 4, "1234", 4},
		{"an answer to something else", OK, "/t/", 0, "", 0},
		{"an answer to something else", GOT_READ, "/t/", 0, "", 0},
		{"an answer to something else", GOT_LIST, "/t/1", 0, "", 0},
		{"a path that nobody has asked for", GOT_MULTIREAD, "/u/1", 0, "", 0},
		{"a path that nobody has asked for", GOT_MULTIREAD, "/t", 0, "", 0},
		{"a path that nobody has asked for", GOT_MULTIREAD, "t/", 0, "", 0},
		{"a path that nobody has asked for", GOT_MULTIREAD, "/t/ ", 0, "", 0},
		{"a path that nobody has asked for", GOT_MULTIREAD, "/t/\n", 0, "", 0},
		{"a value without a path", GOT_MULTIREAD, "", 1, "x", 1},
		{"a value with a NUL in it", GOT_MULTIREAD, "/t/1", 3, "a\0b", 3},
		{"a value with a NUL in it", GOT_MULTIREAD, "/t/1", 1, "\0", 1},
		{"an event without a path", GOT_WATCH, "", 0, "", 0},
		{"an event without a path", GOT_WATCH, "/a b", 0, "", 0},
	};

	for (unsigned i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		char message[256], want[256];
		size_t size = message_make(message, messages[i].type, messages[i].path,
			messages[i].value, messages[i].value_size);

		memcpy(&message[68], &messages[i].length, sizeof(messages[i].length));
		open_all();
		CU_ASSERT_EQUAL(qubesdb_multiread(db, "/t/", on_item, on_done, "a"), 0);
		expect(MULTIREAD, "/t/", "");
		say_bytes(message, size);
		snprintf(want, sizeof(want), "a=-104: lost(it has sent %s) ", messages[i].what);
		HEARD(want);
		CU_ASSERT(peer_hears_end());
		CU_ASSERT(!qubesdb_is_connected(db));
		CU_ASSERT_EQUAL(qubesdb_read(db, "/a", on_done, "a"), -ENOTCONN);
		close_all();
	}
}

static void
more_nonsense(void)
{
	char message[HEADER + 1];

	/* a path without an end */
	open_all();
	CU_ASSERT_EQUAL(qubesdb_multiread(db, "/t/", on_item, on_done, "a"), 0);
	expect(MULTIREAD, "/t/", "");
	memset(message, 't', sizeof(message));
	memcpy(message, (const char[]){GOT_MULTIREAD, '/', 't', '/'}, 4);
	memset(&message[65], 0, 7);
	say_bytes(message, HEADER);
	HEARD("a=-104: lost(it has sent a path without an end) ");
	close_all();

	/* an answer to nothing */
	open_all();
	say(OK, "/a", "");
	HEARD("lost(it has sent an answer that nobody waits for) ");
	close_all();

	/* what came before nonsense counts, what comes behind does not */
	open_all();
	CU_ASSERT_EQUAL(qubesdb_read(db, "/a", on_done, "a"), 0);
	CU_ASSERT_EQUAL(qubesdb_read(db, "/b", on_done, "b"), 0);
	expect(READ, "/a", "");
	expect(READ, "/b", "");
	say(GOT_READ, "/a", "1");
	say(OK, "/b", "");
	say(GOT_WATCH, "/c", "");
	HEARD("a=0:1 b=-104: lost(it has sent an answer to something else) ");
	close_all();
}

static void
endless_list(void)
{
	char message[HEADER];
	unsigned said = 0;

	open_all();
	CU_ASSERT_EQUAL(qubesdb_multiread(db, "/t/", NULL, on_done, "a"), 0);
	expect(MULTIREAD, "/t/", "");
	message_make(message, GOT_MULTIREAD, "/t/1", "", 0);
	while (heard[0] == '\0' && said < 1000000) {
		if (send(peer, message, sizeof(message), MSG_NOSIGNAL) > 0)
			said++;
		else
			turns(1);
	}
	HEARD("a=-104: lost(it has sent an answer without an end) ");
	close_all();
}

/* The connection ends inside every message, and in a header. */
static void
ends_anywhere(void)
{
	char stream[512];
	size_t size = 0;

	size += message_make(&stream[size], GOT_READ, "/a", "value", 5);
	for (size_t at = 0; at < size; at += 7) {
		open_all();
		CU_ASSERT_EQUAL(qubesdb_read(db, "/a", on_done, "a"), 0);
		CU_ASSERT_EQUAL(qubesdb_read(db, "/b", on_done, "b"), 0);
		turns(2);
		expect(READ, "/a", "");
		expect(READ, "/b", "");
		say_bytes(stream, at);
		peer_close();
		HEARD("a=-104: b=-104: lost(it has ended the connection) ");
		CU_ASSERT(peer_accept());
		CU_ASSERT_EQUAL(connections, 2);
		/* nothing of the former connection is left */
		CU_ASSERT_EQUAL(qubesdb_read(db, "/c", on_done, "c"), 0);
		expect(READ, "/c", "");
		say(GOT_READ, "/c", "new");
		HEARD("c=0:new ");
		close_all();
	}
}

static void
refused_write(void)
{
	open_all();
	CU_ASSERT_EQUAL(qubesdb_write(db, "/a", "1", on_done, "a"), 0);
	CU_ASSERT_EQUAL(qubesdb_read(db, "/b", on_done, "b"), 0);
	expect(WRITE, "/a", "1");
	say(ERROR, "/a", "");
	peer_close();
	turns(5);
	CU_ASSERT_PTR_NOT_NULL(strstr(heard, "a=-5: b=-104: lost("));
	heard[0] = '\0';
	CU_ASSERT(peer_accept());
	close_all();
}

/* No daemon, then one: attempts become rarer, and each failure is told. */
static void
no_daemon(void)
{
	unsigned failures = 0;
	uint64_t begin;

	open_all();
	close(listener);
	unlink(socket_path);
	peer_close();
	turns(3);
	CU_ASSERT_STRING_EQUAL(heard, "lost(it has ended the connection) ");
	begin = now_ms();
	do {
		heard[0] = '\0';
		event_base_loop(base, EVLOOP_ONCE);
		failures += strstr(heard, "lost(No such file or directory)") != NULL;
	} while (now_ms() - begin < 1000);
	CU_ASSERT(failures >= 1 && failures <= 4); /* after 0.1, 0.3, 0.7, 1.5 s */
	listen_again();
	CU_ASSERT(peer_accept());
	CU_ASSERT_EQUAL(connections, 2);
	close_all();
}

/* Callbacks make requests, which are answered in their order. */
static void
on_done_asks(void *context, int error, const char *value, size_t length)
{
	(void)length;
	hear("%s=%d:%s ", (const char *)context, error, value);
	hear("(%d) ", qubesdb_read(db, "/more", on_done, "more"));
}

static void
requests_from_callbacks(void)
{
	open_all();
	CU_ASSERT_EQUAL(qubesdb_read(db, "/a", on_done_asks, "a"), 0);
	CU_ASSERT_EQUAL(qubesdb_read(db, "/b", on_done, "b"), 0);
	expect(READ, "/a", "");
	expect(READ, "/b", "");
	say(GOT_READ, "/a", "1");
	say(GOT_READ, "/b", "2");
	HEARD("a=0:1 (0) b=0:2 ");
	expect(READ, "/more", "");
	say(NOENT, "/more", "");
	HEARD("more=-2: ");
	/* an answer that comes before its request was sent is none */
	CU_ASSERT_EQUAL(qubesdb_read(db, "/a", on_done_asks, "a"), 0);
	expect(READ, "/a", "");
	say(GOT_READ, "/a", "1");
	say(NOENT, "/more", "");
	HEARD("a=0:1 (0) more=-104: lost(it has sent an answer that nobody waits for) ");
	/* when all ends nothing can be asked any more */
	CU_ASSERT(peer_accept());
	CU_ASSERT_EQUAL(qubesdb_read(db, "/a", on_done_asks, "a"), 0);
	close_all();
	CU_ASSERT_STRING_EQUAL(heard, "a=-104: (-107) ");
}

/* A daemon that accepts and never answers, and one that drips: both have the same time. */
static void
silence(void)
{
	char message[HEADER];

	answer_ms = ANSWER_MS;
	for (unsigned drips = 0; drips < 2; drips++) {
		uint64_t begin, at = 0;

		open_all();
		CU_ASSERT_EQUAL(qubesdb_read(db, "/a", on_done, "a"), 0);
		expect(READ, "/a", "");
		message_make(message, GOT_READ, "/a", "", 0);
		begin = now_ms();
		while (heard[0] == '\0' && now_ms() - begin < 100 * ANSWER_MS) {
			if (drips != 0 && at < sizeof(message) - 1 &&
				now_ms() - begin > at * ANSWER_MS / 40)
				say_bytes(&message[at++], 1);
			event_base_loop(base, EVLOOP_NONBLOCK);
			usleep(1000);
		}
		CU_ASSERT(now_ms() - begin >= ANSWER_MS - 20);
		HEARD("a=-104: lost(it has not answered a read for 400 ms) ");
		close_all();
	}
	/* who asks nothing waits for nothing */
	open_all();
	for (uint64_t begin = now_ms(); now_ms() - begin < ANSWER_MS * 3 / 2; usleep(10000))
		turns(1);
	HEARD("");
	CU_ASSERT_EQUAL(qubesdb_read(db, "/a", on_done, "a"), 0);
	expect(READ, "/a", "");
	say(GOT_READ, "/a", "");
	HEARD("a=0: ");
	for (uint64_t begin = now_ms(); now_ms() - begin < ANSWER_MS * 3 / 2; usleep(10000))
		turns(1);
	HEARD("");
	close_all();
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"requests as they go over the wire", requests_as_they_go_over_the_wire},
		{"what cannot be written", what_cannot_be_written},
		{"events at every place, pieces of every size", events_and_pieces},
		{"a large answer", much},
		{"a daemon that does not read", slow_daemon},
		{"too many requests", too_many_requests},
		{"nonsense", nonsense},
		{"more nonsense", more_nonsense},
		{"a list without an end", endless_list},
		{"a connection that ends anywhere", ends_anywhere},
		{"a write that is refused", refused_write},
		{"no daemon", no_daemon},
		{"requests from callbacks", requests_from_callbacks},
		{"a daemon that never answers", silence},
	};
	int status;

	snprintf(folder, sizeof(folder), "/tmp/test_qubesdb.XXXXXX");
	if (mkdtemp(folder) == NULL)
		abort();
	snprintf(socket_path, sizeof(socket_path), "%s/qubesdb.sock", folder);
	status = UNIT_RUN("qubesdb", tests);
	unlink(socket_path);
	rmdir(folder);
	libevent_global_shutdown();
	return status;
}
