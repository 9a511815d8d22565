/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/ctl_client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* A line of sluiced's; a million flows come in many of them. */
#define LINE_MAX_BYTES (64 * 1024 * 1024)
/* Compiling many rules takes a second or two; longer means that something is wrong. */
#define ANSWER_MS 60000
/* After Ctrl-C nobody wants to wait long for a summary. */
#define CANCEL_MS 2000

static volatile sig_atomic_t interrupted;

static void
interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

void
client_catch_signals(void)
{
	struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESETHAND};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool
client_interrupted(void)
{
	return interrupted;
}

int
client_open(struct client *client, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	*client = (struct client){.fd = -1, .next_id = 1, .patience_ms = ANSWER_MS};
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0)
		return -errno;
	if (connect(client->fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		int error = -errno;

		client_close(client);
		return error;
	}
	return 0;
}

void
client_close(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	free(client->input);
	json_decref(client->error);
	*client = (struct client){.fd = -1, .next_id = client->next_id};
}

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int
client_send(struct client *client, const char *method, json_int_t id, json_t *params)
{
	json_t *request = json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id", id, "method",
		method, "params", params != NULL ? params : json_object());
	char *text = request != NULL ? json_dumps(request, JSON_COMPACT) : NULL;
	size_t length = text != NULL ? strlen(text) : 0;
	size_t sent = 0;
	int error = text != NULL ? 0 : -ENOMEM;

	json_decref(request);
	if (text != NULL)
		text[length++] = '\n'; /* in place of its end */
	while (error == 0 && sent < length) {
		ssize_t count = send(client->fd, text + sent, length - sent, MSG_NOSIGNAL);

		if (count >= 0)
			sent += (size_t)count;
		else if (errno != EINTR)
			error = errno == ECONNRESET ? -EPIPE : -errno;
	}
	free(text);
	return error;
}

/* Wait for something to read, or for standard output to lose its reader. */
static int
client_wait(struct client *client, int64_t deadline_ms, bool interruptible)
{
	for (;;) {
		/* poll asks for nothing of standard output, and is told of errors all the same */
		struct pollfd polled[] = {
			{.fd = client->fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};
		int64_t left = deadline_ms - now_ms();
		int count;

		if (interruptible && interrupted)
			return -EINTR;
		if (deadline_ms != 0 && left <= 0)
			return -ETIMEDOUT;
		count = poll(polled, 2, deadline_ms != 0 ? (int)left : -1);
		if (count < 0 && errno != EINTR)
			return -errno;
		if (count > 0 && (polled[1].revents & POLLERR) != 0)
			raise(SIGPIPE); /* as if we had written */
		if (count > 0 && polled[0].revents != 0)
			return 0;
	}
}

/* The next line as JSON. @return 0 or -errno */
static int
client_receive(struct client *client, int64_t deadline_ms, bool interruptible, json_t **out)
{
	size_t searched = 0;

	for (;;) {
		char *end = client->length > searched ? memchr(client->input + searched, '\n',
								client->length - searched)
						      : NULL;
		ssize_t count;
		int error;

		if (end != NULL) {
			size_t line = (size_t)(end - client->input);

			*out = json_loadb(client->input, line, 0, NULL);
			client->length -= line + 1;
			memmove(client->input, end + 1, client->length);
			return json_is_object(*out) ? 0 : -EPROTO;
		}
		searched = client->length;
		if (client->length == client->capacity) {
			size_t capacity = client->capacity == 0 ? 65536 : 2 * client->capacity;
			char *input = capacity <= LINE_MAX_BYTES ? realloc(client->input, capacity)
								 : NULL;

			if (input == NULL)
				return capacity <= LINE_MAX_BYTES ? -ENOMEM : -EPROTO;
			client->input = input;
			client->capacity = capacity;
		}
		error = client_wait(client, deadline_ms, interruptible);
		if (error != 0)
			return error;
		count = read(client->fd, client->input + client->length,
			client->capacity - client->length);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return count == 0 || errno == ECONNRESET ? -EPIPE : -errno;
		client->length += (size_t)count;
	}
}

/*
 * A message that answers request @p id.
 * @return 1: it does not; 0 or -EREMOTEIO: it does
 */
static int
answer_take(struct client *client, const json_t *message, json_int_t id, json_t **result)
{
	json_t *error = json_object_get(message, "error");
	const json_t *answered = json_object_get(message, "id");
	bool ours = json_is_integer(answered) && json_integer_value(answered) == id;

	/* an error without an id is about us, too: who is not let in is told so before he asks */
	if (json_is_object(error) && (ours || json_is_null(answered))) {
		json_decref(client->error);
		client->error = json_incref(error);
		return -EREMOTEIO;
	}
	if (!ours || json_object_get(message, "result") == NULL)
		return 1;
	*result = json_incref(json_object_get(message, "result"));
	return 0;
}

int
client_call(struct client *client, const char *method, json_t *params, json_t **result)
{
	json_int_t id = client->next_id++;
	int64_t deadline = now_ms() + client->patience_ms;
	int sent = client_send(client, method, id, params);
	int status = 1;

	/* who was sent away cannot send any more, but may still read why */
	if (sent != 0 && sent != -EPIPE)
		return sent;
	while (status == 1) {
		json_t *message = NULL;
		int error = client_receive(client, deadline, false, &message);

		if (error == 0)
			status = answer_take(client, message, id, result);
		json_decref(message);
		if (error != 0)
			return error;
	}
	return status;
}

int
client_stream(struct client *client, const char *method, json_t *params,
	bool (*notify)(void *context, const json_t *params), void *context, json_t **result)
{
	json_int_t id = client->next_id++;
	int status = client_send(client, method, id, params);
	int64_t deadline = 0;
	bool cancelled = false;

	if (status == 0 || status == -EPIPE)
		status = 1;
	while (status == 1) {
		json_t *message = NULL;
		const json_t *arguments;
		bool enough = false;
		int error = client_receive(client, deadline, !cancelled, &message);

		if (error == 0) {
			arguments = json_object_get(message, "params");
			if (json_object_get(message, "method") != NULL &&
				json_integer_value(json_object_get(arguments, "id")) == id)
				enough = !cancelled && !notify(context, arguments);
			else
				status = answer_take(client, message, id, result);
		}
		json_decref(message);
		if (error != 0 && error != -EINTR)
			return cancelled ? 0 : error;
		if ((error == -EINTR || enough) && !cancelled) {
			cancelled = true;
			deadline = now_ms() + CANCEL_MS;
			if (client_send(client, "cancel", client->next_id++,
				    json_pack("{s:I}", "id", id)) != 0)
				return 0;
		}
	}
	return status;
}
