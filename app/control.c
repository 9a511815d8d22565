/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket and its clients. They are many, slow and wrong: lines are bounded, so are
 * clients, requests and what waits to be read, and nobody is waited for.
 *
 * Everything a client wants is done in turns of about a millisecond: in each it gets some of its
 * lines carried out, and if there are more of them it waits until all others had theirs. A client
 * whose requests must wait is not read from, so that its own send blocks at last. What takes
 * seconds - a line that never ends, answers that are never read - is found by looking once a
 * second.
 *
 * A client that has said all it has to say (it shut down its sending side) gets its answers, and is
 * closed after the last of them.
 */
#include "app/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "app/control_client.h"
#include "app/log.h"

/* What one turn takes at most: of a client's lines, and of those who connect. */
#define TURN_LINES 16
#define TURN_NS 1000000
#define TURN_ACCEPTS 8
/* Connections that the kernel keeps for us; more of them are told to come again. */
#define BACKLOG 128

struct control {
	struct daemon *daemon;
	int fd;
	struct event *accept_event;
	struct event *second;
	char *path;
	unsigned client_count;
	struct client *clients; /* doubly linked */
};

struct client {
	struct control *control;
	struct bufferevent *stream;
	struct event *turn;
	struct client *next, *previous;
	struct peer peer;
	struct requests requests;
	size_t searched;         /* bytes of its input that hold no end of line */
	bool said_all;           /* has shut down its sending side, or may not send any more */
	bool broken;             /* nothing can be sent to it any more */
	time_t incomplete_since; /* when a line began that has not ended; 0: none */
	uint64_t sent, taken; /* bytes: put into its output, and gone from there when last looked */
	time_t taken_since;
};

static time_t
now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec;
}

static uint64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* --- what requests see of a client --- */

struct daemon *
client_daemon(const struct client *client)
{
	return client->control->daemon;
}

const struct peer *
client_peer(const struct client *client)
{
	return &client->peer;
}

struct requests *
client_requests(struct client *client)
{
	return &client->requests;
}

size_t
client_unread(const struct client *client)
{
	return evbuffer_get_length(bufferevent_get_output(client->stream));
}

void
client_look(struct client *client)
{
	static const struct timeval soon = {0};

	if (!client->broken)
		event_add(client->turn, &soon);
}

static int
output_append(const char *text, size_t size, void *context)
{
	return evbuffer_add(context, text, size);
}

void
client_send(struct client *client, json_t *message)
{
	struct evbuffer *line = client->broken || message == NULL ? NULL : evbuffer_new();

	/* A line goes out whole or not at all. */
	if (line != NULL && json_dump_callback(message, output_append, line, JSON_COMPACT) == 0 &&
		evbuffer_add(line, "\n", 1) == 0) {
		client->sent += evbuffer_get_length(line);
		if (evbuffer_add_buffer(bufferevent_get_output(client->stream), line) != 0 ||
			client_unread(client) > OUTPUT_ABSURD_BYTES)
			client->broken = true;
	} else {
		client->broken = true; /* it would wait for the answer for ever */
	}
	if (line != NULL)
		evbuffer_free(line);
	json_decref(message);
}

/* --- clients --- */

static void
client_free(struct client *client)
{
	struct control *control = client->control;

	client->broken = true;
	requests_end(client);
	if (client->previous != NULL)
		client->previous->next = client->next;
	else
		control->clients = client->next;
	if (client->next != NULL)
		client->next->previous = client->previous;
	control->client_count--;
	event_free(client->turn);
	bufferevent_free(client->stream);
	free(client);
	/* Its descriptor may be what somebody waits for. */
	event_add(control->accept_event, NULL);
}

/* Its next line has to wait. */
static bool
client_waits(const struct client *client)
{
	return client->requests.count >= REQUESTS_MAX || client_unread(client) > OUTPUT_MAX_BYTES;
}

/* Length of the first line of its input with its end; 0 when that has not come. */
static size_t
line_find(struct client *client, struct evbuffer *input)
{
	struct evbuffer_ptr start, end;

	if (evbuffer_ptr_set(input, &start, client->searched, EVBUFFER_PTR_SET) != 0)
		return 0;
	end = evbuffer_search(input, "\n", 1, &start);
	if (end.pos < 0) {
		/* Where the next search begins: or who sends byte by byte would be expensive. */
		client->searched = evbuffer_get_length(input);
		return 0;
	}
	client->searched = 0;
	return (size_t)end.pos + 1;
}

/* Nothing it says is listened to any more: it goes as soon as it has read why. */
static void
client_refuse_line(struct client *client)
{
	struct evbuffer *input = bufferevent_get_input(client->stream);

	request_error(client, CONTROL_INVALID_REQUEST, "a line is longer than 1 MiB; goodbye");
	requests_end(client);
	client->said_all = true;
	client->searched = 0;
	evbuffer_drain(input, evbuffer_get_length(input));
	bufferevent_disable(client->stream, EV_READ);
}

/* Carry out lines while they last and it is its turn. @return whether there may be more of them */
static bool
client_lines(struct client *client)
{
	struct evbuffer *input = bufferevent_get_input(client->stream);
	uint64_t end_ns = now_ns() + TURN_NS;

	for (unsigned lines = 0; !client_waits(client) && !client->broken; lines++) {
		size_t length;

		if (lines == TURN_LINES || (lines > 0 && now_ns() >= end_ns))
			return true;
		length = line_find(client, input);
		if (length > LINE_MAX_BYTES ||
			(length == 0 && evbuffer_get_length(input) >= LINE_MAX_BYTES)) {
			client_refuse_line(client);
			return false;
		}
		if (length == 0)
			return false;
		client->incomplete_since = 0;
		request_line(
			client, (const char *)evbuffer_pullup(input, (ssize_t)length), length - 1);
		evbuffer_drain(input, length);
	}
	return false;
}

/* One turn of a client; it may be gone afterwards. */
static void
client_turn(evutil_socket_t number, short flags, void *context)
{
	struct client *client = context;
	bool more;

	(void)number, (void)flags;
	if (client_unread(client) <= OUTPUT_PAUSE_BYTES / 4)
		requests_writable(client);
	more = client_lines(client);
	if (client->broken) {
		client_free(client);
		return;
	}
	if (client->said_all && !more && !client_waits(client)) {
		if (client->requests.count == 0 && client_unread(client) == 0)
			client_free(client);
		return;
	}
	if (more)
		client_look(client);
	if (more || client_waits(client)) {
		bufferevent_disable(client->stream, EV_READ);
		client->incomplete_since = 0;
		return;
	}
	bufferevent_enable(client->stream, EV_READ);
	if (evbuffer_get_length(bufferevent_get_input(client->stream)) == 0)
		client->incomplete_since = 0;
	else if (client->incomplete_since == 0)
		client->incomplete_since = now_s();
}

static void
client_moved(struct bufferevent *stream, void *context)
{
	(void)stream;
	client_turn(-1, 0, context);
}

static void
client_event(struct bufferevent *stream, short events, void *context)
{
	struct client *client = context;

	(void)stream;
	if ((events & BEV_EVENT_ERROR) != 0) {
		client_free(client);
	} else if ((events & BEV_EVENT_EOF) != 0) {
		client->said_all = true;
		client_turn(-1, 0, client);
	}
}

/* --- once a second --- */

/* A client from which we do not read may go away unseen. */
static bool
client_has_gone(const struct client *client)
{
	struct pollfd poller = {.fd = bufferevent_getfd(client->stream)};

	return poll(&poller, 1, 0) > 0 && (poller.revents & (POLLHUP | POLLERR)) != 0;
}

/* Whether its answers have been waiting for too long without any of them being taken. */
static bool
client_sleeps(struct client *client, time_t now)
{
	uint64_t taken = client->sent - client_unread(client);

	if (taken != client->taken || client_unread(client) == 0) {
		client->taken = taken;
		client->taken_since = now;
	}
	return now - client->taken_since >= UNREAD_SECONDS;
}

static void
look(evutil_socket_t number, short flags, void *context)
{
	struct control *control = context;
	time_t now = now_s();

	(void)number, (void)flags;
	for (struct client *client = control->clients, *next; client != NULL; client = next) {
		next = client->next;
		if (client->broken || client_sleeps(client, now) ||
			((client->said_all || client_waits(client)) && client_has_gone(client)) ||
			(client->incomplete_since != 0 &&
				now - client->incomplete_since >= INCOMPLETE_SECONDS))
			client_free(client);
	}
	/* Whatever it was that kept us from accepting may be over. */
	event_add(control->accept_event, NULL);
}

/* --- who connects --- */

static struct client *
client_create(struct control *control, int fd, const struct peer *peer)
{
	struct client *client = calloc(1, sizeof(*client));

	if (client == NULL)
		return NULL;
	client->control = control;
	client->peer = *peer;
	client->taken_since = now_s();
	client->turn = event_new(control->daemon->base, -1, 0, client_turn, client);
	if (client->turn != NULL)
		client->stream =
			bufferevent_socket_new(control->daemon->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (client->stream == NULL) {
		if (client->turn != NULL)
			event_free(client->turn);
		free(client);
		return NULL;
	}
	client->next = control->clients;
	if (client->next != NULL)
		client->next->previous = client;
	control->clients = client;
	control->client_count++;
	bufferevent_setcb(client->stream, client_moved, client_moved, client_event, client);
	bufferevent_setwatermark(client->stream, EV_READ, 0, LINE_MAX_BYTES);
	bufferevent_setwatermark(client->stream, EV_WRITE, OUTPUT_PAUSE_BYTES / 4, 0);
	bufferevent_enable(client->stream, EV_READ | EV_WRITE);
	return client;
}

/* Tell somebody who does not become a client why; it fits into any socket's buffer. */
static void
turn_away(int fd, enum control_error code, const char *message)
{
	char line[256];
	int length = request_error_line(line, sizeof(line), code, message);

	if (send(fd, line, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		errno = 0; /* it has gone, and does not want to know */
	close(fd);
}

static void
client_welcome(struct control *control, int fd)
{
	struct peer peer;
	unsigned places = CLIENTS_MAX;

	peer_identify(fd, control->daemon->conf, &peer);
	if (!peer.may_look) {
		turn_away(fd, CONTROL_NOT_PERMITTED,
			"you are neither root nor in [sluice] group or look-group");
		return;
	}
	if (peer.access != CONTROL_CHANGE)
		places -= CLIENTS_RESERVED;
	if (control->client_count >= places) {
		turn_away(fd, CONTROL_TOO_MANY, "too many clients; try again later");
		return;
	}
	if (client_create(control, fd, &peer) == NULL)
		turn_away(fd, CONTROL_UNAVAILABLE, "out of memory");
}

static void
control_accept(evutil_socket_t number, short flags, void *context)
{
	struct control *control = context;

	(void)number, (void)flags;
	for (unsigned i = 0; i < TURN_ACCEPTS; i++) {
		int fd = accept4(control->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			client_welcome(control, fd);
			continue;
		}
		/* Without descriptors or memory they wait: to be asked again at once would be a
		   loop without end. */
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
			log_line("%s: cannot accept: %s", control->path, strerror(errno));
			event_del(control->accept_event);
		}
		return;
	}
}

/* --- the socket --- */

/* A socket file may be left from a run that was killed: only a silent one is removed. */
static int
remove_stale(const struct sockaddr_un *address)
{
	struct stat file;
	int fd, error = 0;

	if (lstat(address->sun_path, &file) == 0 && !S_ISSOCK(file.st_mode))
		return -EEXIST; /* a mistake in the configuration must not cost a file */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
		error = -EADDRINUSE;
	else if (errno == ECONNREFUSED)
		unlink(address->sun_path);
	close(fd);
	return error;
}

/*
 * Who may connect: root alone; or a group; or, as a file has no more than one, everybody when
 * there are two of them. Who may do what is decided by peer_identify in any case.
 */
static int
socket_permit(const char *path, const struct conf *conf)
{
	const struct conf_group *one = conf->group.set ? &conf->group : &conf->look_group;
	mode_t mode = 0600;

	if (conf->group.set && conf->look_group.set && conf->group.id != conf->look_group.id)
		mode = 0666;
	else if (one->set)
		mode = 0660;
	if (mode == 0660 && chown(path, (uid_t)-1, one->id) != 0)
		return -errno;
	return chmod(path, mode) == 0 ? 0 : -errno;
}

static int
socket_open(const struct sockaddr_un *address, const struct conf *conf)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask = umask(0177);
	int error = 0;

	if (fd < 0 || bind(fd, (const struct sockaddr *)address, sizeof(*address)) != 0)
		error = -errno;
	umask(mask);
	if (error == 0)
		error = socket_permit(address->sun_path, conf);
	if (error == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return error;
}

static int
events_open(struct control *control, struct event_base *base)
{
	control->accept_event =
		event_new(base, control->fd, EV_READ | EV_PERSIST, control_accept, control);
	control->second = event_new(base, -1, EV_PERSIST, look, control);
	return control->accept_event != NULL && control->second != NULL ? 0 : -ENOMEM;
}

void
control_prepare(const struct conf *conf)
{
	char *parent = strdup(conf->socket_path);
	char *slash = parent != NULL ? strrchr(parent, '/') : NULL;

	if (slash != NULL && slash != parent) {
		*slash = '\0';
		/* Whatever else lies in it is closed to them by itself. */
		if (mkdir(parent, 0700) == 0 && (conf->group.set || conf->look_group.set))
			(void)chmod(parent, 0755);
	}
	free(parent);
}

int
control_open(const char *path, struct event_base *base, struct daemon *daemon,
	const struct report *report, struct control **out)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct control *control;
	int error;

	if (strlen(path) >= sizeof(address.sun_path)) {
		report_line(report, "[sluice] socket: %s is longer than %zu characters", path,
			sizeof(address.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	strcpy(address.sun_path, path);
	control_prepare(daemon->conf);
	error = remove_stale(&address);
	if (error != 0) {
		report_line(report, "%s: %s", path,
			error == -EADDRINUSE ? "another sluiced answers there"
			: error == -EEXIST   ? "there is a file that is no socket"
					     : strerror(-error));
		return error;
	}
	control = calloc(1, sizeof(*control));
	if (control == NULL)
		return -ENOMEM;
	control->daemon = daemon;
	control->path = strdup(path);
	control->fd = control->path != NULL ? socket_open(&address, daemon->conf) : -ENOMEM;
	error = control->fd < 0 ? control->fd : events_open(control, base);
	if (error != 0) {
		report_line(report, "%s: cannot listen: %s", path, strerror(-error));
		control_close(control);
		return error;
	}
	*out = control;
	return 0;
}

int
control_serve(struct control *control, const struct report *report)
{
	const struct timeval second = {.tv_sec = 1};
	int error = 0;

	if (listen(control->fd, BACKLOG) != 0)
		error = -errno;
	else if (event_add(control->accept_event, NULL) != 0 ||
		 event_add(control->second, &second) != 0)
		error = -ENOMEM;
	if (error != 0)
		report_line(report, "%s: cannot listen: %s", control->path, strerror(-error));
	return error;
}

void
control_close(struct control *control)
{
	if (control == NULL)
		return;
	while (control->clients != NULL)
		client_free(control->clients); /* NOLINT(clang-analyzer-unix.Malloc): unlinks it */
	if (control->accept_event != NULL)
		event_free(control->accept_event);
	if (control->second != NULL)
		event_free(control->second);
	if (control->fd >= 0) {
		close(control->fd);
		unlink(control->path);
	}
	free(control->path);
	free(control);
}
