/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/own_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "app/daemon.h"
#include "app/own_udp.h"
#include "app/worker_call.h"

/* A next hop whose MAC is not known yet: tried again so soon, so often. */
#define AGAIN_MS 100
#define AGAIN_TIMES 10
/* No question is longer: a header, a name, type and class, and what EDNS adds. */
#define QUERY_MAX 512
/* Answers that are passed on before others have their turn: workers may bring them as fast. */
#define ANSWERS_AT_ONCE 16

struct own_sockets {
	struct daemon *daemon;
	struct event *answers;
	struct sending *sending; /* those that wait for another try */
	struct own_socket {
		bool used;
		int ours, theirs; /* ends of the pair */
		int number;       /* of own_udp_open, -1 before it is connected */
		unsigned opened;  /* tells this use from an earlier one */
		struct sockaddr_in server;
	} socket[OWN_SOCKETS];
};

/* One datagram on its way to a worker. */
struct sending {
	struct worker_call call;
	struct own_sockets *sockets;
	struct own_socket *socket;
	unsigned opened;
	unsigned number;
	unsigned tries;
	int result;
	struct event *again;
	struct sending *next, **link; /* while it waits */
	uint16_t length;
	uint8_t bytes[QUERY_MAX];
};

static struct own_socket *
socket_find(struct own_sockets *sockets, ares_socket_t fd)
{
	for (unsigned i = 0; i < OWN_SOCKETS; i++)
		if (sockets->socket[i].used && sockets->socket[i].theirs == fd)
			return &sockets->socket[i];
	errno = EBADF;
	return NULL;
}

/* --- sending --- */

static void
sending_run(struct worker *worker, void *context)
{
	struct sending *sending = context;

	sending->result = own_udp_send(worker, sending->number, sending->bytes, sending->length);
}

static void
sending_free(struct sending *sending)
{
	if (sending->link != NULL) {
		*sending->link = sending->next;
		if (sending->next != NULL)
			sending->next->link = sending->link;
	}
	if (sending->again != NULL)
		event_free(sending->again);
	free(sending);
}

static void
sending_again(evutil_socket_t fd, short events, void *context)
{
	struct sending *sending = context;

	(void)fd, (void)events;
	*sending->link = sending->next;
	if (sending->next != NULL)
		sending->next->link = sending->link;
	sending->link = NULL;
	if (!sending->socket->used || sending->socket->opened != sending->opened)
		sending_free(sending); /* nobody waits for an answer any more */
	else
		worker_call(sending->sockets->daemon->calls, 0, &sending->call);
}

/* A worker has sent it, or could not. Nobody is told: c-ares asks again when nothing comes. */
static void
sending_done(void *context)
{
	const struct timeval soon = {.tv_usec = AGAIN_MS * 1000};
	struct sending *sending = context;
	struct own_sockets *sockets = sending->sockets;

	if (sending->result != -EAGAIN || ++sending->tries > AGAIN_TIMES) {
		sending_free(sending);
		return;
	}
	if (sending->again == NULL)
		sending->again = evtimer_new(sockets->daemon->base, sending_again, sending);
	if (sending->again == NULL || event_add(sending->again, &soon) != 0) {
		sending_free(sending);
		return;
	}
	sending->result = 0; /* also if no worker runs it any more */
	sending->next = sockets->sending;
	sending->link = &sockets->sending;
	if (sending->next != NULL)
		sending->next->link = &sending->next;
	sockets->sending = sending;
}

static ssize_t
socket_send(struct own_sockets *sockets, struct own_socket *socket, const struct iovec *parts,
	int count)
{
	struct sending *sending = calloc(1, sizeof(*sending));
	size_t length = 0;

	if (sending == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (int i = 0; i < count; i++) {
		if (parts[i].iov_len > sizeof(sending->bytes) - length) {
			free(sending);
			errno = EMSGSIZE;
			return -1;
		}
		memcpy(sending->bytes + length, parts[i].iov_base, parts[i].iov_len);
		length += parts[i].iov_len;
	}
	sending->length = (uint16_t)length;
	sending->sockets = sockets;
	sending->socket = socket;
	sending->opened = socket->opened;
	sending->number = (unsigned)socket->number;
	sending->call =
		(struct worker_call){.run = sending_run, .done = sending_done, .context = sending};
	worker_call(sockets->daemon->calls, 0, &sending->call);
	return (ssize_t)length;
}

/* --- what c-ares calls --- */

static ares_socket_t
own_socket(int family, int type, int protocol, void *context)
{
	struct own_sockets *sockets = context;
	struct own_socket *socket = NULL;
	int pair[2];

	(void)protocol;
	for (unsigned i = 0; i < OWN_SOCKETS && socket == NULL; i++)
		if (!sockets->socket[i].used)
			socket = &sockets->socket[i];
	if (family != AF_INET || type != SOCK_DGRAM || socket == NULL) {
		errno = family != AF_INET || type != SOCK_DGRAM ? EAFNOSUPPORT : EMFILE;
		return ARES_SOCKET_BAD;
	}
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
		return ARES_SOCKET_BAD;
	socket->used = true;
	socket->opened++;
	socket->ours = pair[0];
	socket->theirs = pair[1];
	socket->number = -1;
	return socket->theirs;
}

static int
own_close(ares_socket_t fd, void *context)
{
	struct own_sockets *sockets = context;
	struct own_socket *socket = socket_find(sockets, fd);

	if (socket == NULL)
		return -1;
	if (socket->number >= 0)
		own_udp_close(sockets->daemon->dataplane, (unsigned)socket->number);
	close(socket->ours);
	close(socket->theirs);
	socket->used = false;
	return 0;
}

static int
own_connect(ares_socket_t fd, const struct sockaddr *address, ares_socklen_t length, void *context)
{
	struct own_sockets *sockets = context;
	struct own_socket *socket = socket_find(sockets, fd);
	int number;

	if (socket == NULL)
		return -1;
	if (length < sizeof(socket->server) || address->sa_family != AF_INET ||
		socket->number >= 0) {
		errno = EINVAL;
		return -1;
	}
	memcpy(&socket->server, address, sizeof(socket->server));
	number = own_udp_open(sockets->daemon->dataplane, socket->server.sin_addr.s_addr,
		socket->server.sin_port);
	if (number < 0) {
		errno = -number;
		return -1;
	}
	socket->number = number;
	return 0;
}

static ares_ssize_t
own_receive(ares_socket_t fd, void *buffer, size_t size, int flags, struct sockaddr *from,
	ares_socklen_t *from_length, void *context)
{
	struct own_socket *socket = socket_find(context, fd);

	if (socket == NULL)
		return -1;
	/* Only the one we have asked was let through. */
	if (from != NULL && from_length != NULL) {
		memcpy(from, &socket->server, RTE_MIN(*from_length, sizeof(socket->server)));
		*from_length = sizeof(socket->server);
	}
	return recv(fd, buffer, size, flags);
}

static ares_ssize_t
own_send(ares_socket_t fd, const struct iovec *parts, int count, void *context)
{
	struct own_socket *socket = socket_find(context, fd);

	if (socket == NULL || socket->number < 0) {
		errno = ENOTCONN;
		return -1;
	}
	return socket_send(context, socket, parts, count);
}

const struct ares_socket_functions own_socket_functions = {
	own_socket,
	own_close,
	own_connect,
	own_receive,
	own_send,
};

/* --- answers --- */

static void
answers_ready(evutil_socket_t fd, short events, void *context)
{
	struct own_sockets *sockets = context;
	struct own_udp *own = sockets->daemon->dataplane->own;
	struct own_answer *answer;

	(void)fd, (void)events;
	for (unsigned taken = 0; taken < ANSWERS_AT_ONCE; taken++) {
		answer = own_udp_next(own);
		if (answer == NULL)
			return;
		for (unsigned i = 0; i < OWN_SOCKETS; i++) {
			const struct own_socket *socket = &sockets->socket[i];
			ssize_t sent;

			if (!socket->used || socket->number != (int)answer->socket)
				continue;
			/* fails when too many wait there: lost, as on any way */
			sent = send(socket->ours, answer->bytes, answer->length, MSG_NOSIGNAL);
			(void)sent;
		}
		own_udp_done(own, answer);
	}
	own_udp_later(own);
}

int
own_sockets_create(struct daemon *daemon, struct own_sockets **out)
{
	struct own_sockets *sockets = calloc(1, sizeof(*sockets));

	if (sockets == NULL)
		return -ENOMEM;
	sockets->daemon = daemon;
	sockets->answers = event_new(daemon->base, own_udp_fd(daemon->dataplane->own),
		EV_READ | EV_PERSIST, answers_ready, sockets);
	if (sockets->answers == NULL || event_add(sockets->answers, NULL) != 0) {
		own_sockets_free(sockets);
		return -ENOMEM;
	}
	*out = sockets;
	return 0;
}

void
own_sockets_free(struct own_sockets *sockets)
{
	if (sockets == NULL)
		return;
	if (sockets->answers != NULL)
		event_free(sockets->answers);
	while (sockets->sending != NULL)
		sending_free(sockets->sending); /* NOLINT(clang-analyzer-unix.Malloc): unlinks it */
	free(sockets);
}
