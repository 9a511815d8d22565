/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients that nobody wants, on the real control socket with every method behind it, and a data
 * plane on the table behind those.
 *
 * Some of them ask what could be asked: each method of the table, with parameters by their names,
 * right and nearly right. That is then damaged, cut, sent in pieces of any size, many lines at
 *once; its answers are read at once, slowly or never; and its client shuts down or goes away at any
 *byte, or cancels what it has open. Meanwhile packets pass, so that there are flows, drops and
 *events.
 *
 * - a client that behaves is answered within a second, whatever the others do
 * - whatever anybody is sent is a line of JSON-RPC: an answer or a notification
 * - who asks N things that are in order, and reads, gets N answers with the right ids
 *
 * and at the end every client, request and mbuf is freed; the address sanitizer looks for others.
 *
 *	FUZZ_ACTIONS=0 FUZZ_SEED=1 FUZZ_SECONDS=3 fuzz_control
 *
 * Ends after so many actions (0: any) or seconds, whichever comes first. A failure names the seed
 * and the action; what depends on the time of day does not repeat.
 */
#include "app/control.h"
#include "app/drop_poll.h"
#include "app/event.h"
#include "app/method.h"
#include "app/tap_table.h"
#include "app/worker_call.h"
#include "conf/changes_file.h"
#include "tests/unit/plane.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <rte_tcp.h>

#define SECONDS_DEFAULT 3
#define CLIENTS 12
#define PENDING_MAX (3 * 1024 * 1024) /* what a client still wants to send */
#define LINE_SIZE (1 << 16)
#define ANSWER_SECONDS 1.0

static struct daemon daemon_state;
static struct plane *plane;
static char folder[64];
static char socket_path[100];
static uint64_t seed, actions;
static uint64_t requests_made, lines_read, answers_right, connections, probes;
static double slowest_s;

/* --- when something is wrong --- */

static void __attribute__((noreturn, format(printf, 1, 2))) broken(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	printf("fuzz_control: seed %" PRIu64 ", action %" PRIu64 ": ", seed, actions);
	vprintf(format, arguments);
	putchar('\n');
	va_end(arguments);
	fflush(stdout);
	abort();
}

/* --- chance --- */

static uint64_t random_state;

static uint32_t
draw(uint32_t range)
{
	uint64_t word = random_state += UINT64_C(0x9e3779b97f4a7c15);

	word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((word >> 32) % range);
}

#define DRAW_OF(list) ((list)[draw(sizeof(list) / sizeof((list)[0]))])

/* --- requests --- */

static const char *const method_names[] = {
#define NAME_ROW(identifier, name, access, parameters, help) name,
	METHODS(NAME_ROW)
#undef NAME_ROW
};
static const char *const method_parameters[] = {
#define PARAMETERS_ROW(identifier, name, access, parameters, help) parameters,
	METHODS(PARAMETERS_ROW)
#undef PARAMETERS_ROW
};

static json_t *
random_text(void)
{
	static const char *const texts[] = {"", "work", "personal", "nobody", "uplink", "web",
		"accept", "drop", "tcp", "udp", "icmp", "10.137.0.16", "192.0.2.7", "192.0.2.0/24",
		"fd09::10", "::/0", "policy", "budget", "rule", "no-flow", "established",
		"action=accept", "action=accept dst4=192.0.2.0/24 proto=tcp dstports=443-443",
		"action=drop specialtarget=dns", "action=accept proto=icmp icmptype=8",
		"action=accept expire=+1 comment=\"a \\\"b\\\"\"", "action=accept expire=+100000",
		"action=accept dst6=2606:4700::/32", "action=accept dsthost=example.org",
		"action=forward proto=tcp forwardtype=external srcports=8080-8089 dstports=80-89",
		("action=forward proto=udp forwardtype=internal srcports=53-53 dstports=53-53 "
		 "srchost=192.0.2.0/24 expire=+1"),
		"action=accept proto=tcp dstports=80443", "\xe2\x98\x83", "a\nb", "-1", "0"};

	return json_string(DRAW_OF(texts));
}

static json_t *random_value(unsigned depth);

static json_t *
random_object(unsigned depth)
{
	static const char *const keys[] = {"qube", "rule", "rules", "policy", "number", "before",
		"name", "runtime", "check", "filter", "method", "params", "family", "port",
		"address", "proto", "state", "all", "", "id", "inbound"};
	json_t *object = json_object();

	for (unsigned i = draw(5); i > 0; i--)
		json_object_set_new(object, DRAW_OF(keys), random_value(depth + 1));
	return object;
}

static json_t *
random_value(unsigned depth)
{
	static const json_int_t numbers[] = {0, 1, -1, 2, 3, 443, 65535, 65536, INT32_MAX,
		INT32_MIN, (json_int_t)UINT32_MAX, INT64_MAX, INT64_MIN};
	json_t *list;

	switch (draw(depth < 4 ? 9 : 6)) {
	case 0:
		return json_integer(DRAW_OF(numbers));
	case 1:
		return json_real((double)draw(1000) / 8 - 10);
	case 2:
		return json_boolean(draw(2));
	case 3:
		return json_null();
	case 6:
		return random_object(depth);
	case 7:
		list = json_array();
		for (unsigned i = draw(5); i > 0; i--)
			json_array_append_new(list, random_value(depth + 1));
		return list;
	default:
		return random_text();
	}
}

static json_t *
text_of(const char *const *texts, unsigned count)
{
	return json_string(texts[draw(count)]);
}

#define TEXT_OF(...)                                \
	text_of((const char *const[]){__VA_ARGS__}, \
		sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static json_t *
rule_text(void)
{
	static const char *const actions_[] = {"accept", "drop"};
	static const char *const wheres[] = {"", " dst4=192.0.2.0/24", " dst4=192.0.2.7",
		" dst6=2606:4700::/32", " specialtarget=dns", " dsthost=example.org"};
	static const char *const whats[] = {"", " proto=tcp dstports=443", " proto=udp",
		" proto=tcp dstports=80-90", " proto=icmp"};
	static const char *const ends[] = {
		"", "", "", " expire=+1", " expire=+100", " comment=lunch", " expire=1"};

	return json_sprintf("action=%s%s%s%s", DRAW_OF(actions_), DRAW_OF(wheres), DRAW_OF(whats),
		DRAW_OF(ends));
}

static json_t *
forward_text(void)
{
	static const char *const sides[] = {"external", "internal"};
	static const char *const ends[] = {
		"", " srchost=192.0.2.0/24", " expire=+1", " expire=+100 comment=\"x y\""};
	unsigned first = 8000 + 10 * draw(30), length = draw(3);

	return json_sprintf(
		"action=forward proto=%s forwardtype=%s srcports=%u-%u dstports=%u-%u%s",
		draw(2) ? "tcp" : "udp", DRAW_OF(sides), first, first + length, 80u, 80 + length,
		DRAW_OF(ends));
}

static json_t *
bpf_program(void)
{
	/* "accept everything", and others that are none */
	json_t *program = json_array();

	for (unsigned i = draw(4); i > 0; i--)
		json_array_append_new(program, json_pack("[i,i,i,I]", (int)draw(300), (int)draw(4),
						       (int)draw(4), (json_int_t)draw(UINT32_MAX)));
	json_array_append_new(program, json_pack("[i,i,i,i]", 6, 0, 0, 65535));
	return program;
}

static json_t *
flow_filter(void)
{
	json_t *filter = json_object();

	if (draw(2) != 0)
		json_object_set_new(filter, "qube", TEXT_OF("work", "personal", "nobody"));
	if (draw(3) == 0)
		json_object_set_new(filter, "proto", TEXT_OF("tcp", "udp", "icmp", "47"));
	if (draw(3) == 0)
		json_object_set_new(filter, "family", json_integer(draw(2) != 0 ? 4 : 6));
	if (draw(3) == 0)
		json_object_set_new(filter, "address", TEXT_OF("192.0.2.0/24", "fd09::10", "x"));
	if (draw(3) == 0)
		json_object_set_new(filter, "port", json_integer(draw(70000)));
	if (draw(4) == 0)
		json_object_set_new(filter, "inbound", json_boolean(draw(2)));
	return filter;
}

static json_t *random_change(void);

/* A value as a parameter of this name should have it. */
static json_t *
parameter_value(const char *method, const char *name)
{
	json_t *list = json_array();
	json_t *value = NULL;

	if (strcmp(name, "qube") == 0 || strcmp(name, "from") == 0)
		value = TEXT_OF("work", "personal", "work", "nobody");
	else if (strcmp(name, "policy") == 0)
		value = TEXT_OF("accept", "drop", "drop", "perhaps");
	else if (strcmp(name, "rule") == 0)
		value = strncmp(method, "forward", 7) == 0 ? forward_text() : rule_text();
	else if (strcmp(name, "name") == 0)
		value = TEXT_OF("web", "ssh", "web-2", "");
	else if (strcmp(name, "dst") == 0 || strcmp(name, "src") == 0)
		value = TEXT_OF("192.0.2.7", "10.137.0.17", "10.139.1.1", "2606:4700::7",
			"10.137.0.1", "192.168.50.1", "127.0.0.1");
	else if (strcmp(name, "proto") == 0)
		value = TEXT_OF("tcp", "udp", "icmp", "gre");
	else if (strcmp(name, "filter") == 0)
		value = strncmp(method, "flows", 5) == 0 ? flow_filter() : bpf_program();
	else if (strcmp(name, "reason") == 0)
		value = TEXT_OF("policy", "rule", "no-flow", "weather");
	else if (strcmp(name, "port") == 0)
		value = TEXT_OF("uplink", "work", "personal", "nowhere");
	else if (strcmp(name, "drops") == 0)
		value = json_boolean(draw(2));
	else if (strcmp(name, "flags") == 0)
		value = TEXT_OF("S", "SA", "R", "syn", "ack");
	else if (strcmp(name, "kinds") == 0)
		json_array_append_new(list, TEXT_OF("policy", "budget", "drop", "weather"));
	else if (strcmp(name, "rules") == 0)
		for (unsigned i = draw(6); i > 0; i--)
			json_array_append_new(list, rule_text());
	else if (strcmp(name, "changes") == 0)
		for (unsigned i = draw(4); i > 0; i--)
			json_array_append_new(list, random_change());
	else
		value = json_integer(draw(3) == 0 ? draw(70000) : draw(8));
	if (value != NULL) {
		json_decref(list);
		return value;
	}
	return list;
}

static json_t *
parameters_for(unsigned method)
{
	char words[256];
	char *rest = NULL;
	json_t *params = json_object();

	snprintf(words, sizeof(words), "%s", method_parameters[method]);
	for (char *word = strtok_r(words, "[]| ", &rest); word != NULL;
		word = strtok_r(NULL, "[]| ", &rest))
		if (draw(8) != 0)
			json_object_set_new(params, word,
				draw(12) == 0 ? random_value(0)
					      : parameter_value(method_names[method], word));
	if (draw(6) == 0)
		json_object_set_new(params, "runtime", json_boolean(draw(2)));
	if (draw(6) == 0)
		json_object_set_new(params, "check", json_boolean(draw(2)));
	if (draw(40) == 0)
		json_object_set_new(params, "extra", random_value(0));
	return params;
}

static json_t *
random_change(void)
{
	unsigned method = draw(METHOD_COUNT);

	return json_pack("{s:s, s:o}", "method", method_names[method], "params",
		method == METHOD_TRANSACTION ? json_object() : parameters_for(method));
}

/* @param id NULL for a notification */
static size_t
request_text(char *text, unsigned method, json_t *id)
{
	json_t *request = json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method",
		method_names[method], "params", parameters_for(method));
	size_t length;

	if (id != NULL)
		json_object_set_new(request, "id", id);
	if (draw(60) == 0)
		json_object_set_new(request, "params", random_value(0));
	length = json_dumpb(request, text, LINE_SIZE - 1, JSON_COMPACT);
	json_decref(request);
	if (length > LINE_SIZE - 1)
		length = 0;
	text[length++] = '\n';
	return length;
}

static size_t
damage(char *text, size_t length)
{
	static const char bytes[] = "{}[]\",:\\\n\0\xff\xc3 0-e.";

	for (unsigned hits = 1 + draw(4); hits > 0 && length > 1; hits--) {
		size_t at = draw((uint32_t)length);
		size_t count;

		switch (draw(5)) {
		case 0:
			text[at] ^= (char)(1 << draw(8));
			break;
		case 1:
			text[at] = bytes[draw(sizeof(bytes))];
			break;
		case 2: /* less of it */
			count = draw((uint32_t)(length - at));
			memmove(text + at, text + at + count, length - at - count);
			length -= count;
			break;
		case 3: /* some of it twice */
			count = draw((uint32_t)RTE_MIN(length - at, (size_t)200) + 1);
			if (length + count >= LINE_SIZE)
				break;
			memmove(text + at + count, text + at, length - at);
			length += count;
			break;
		default: /* brackets */
			count = RTE_MIN((size_t)draw(40), LINE_SIZE - 1 - length);
			memmove(text + at + count, text + at, length - at);
			memset(text + at, draw(2) ? '[' : '{', count);
			length += count;
			break;
		}
	}
	return length;
}

/* --- clients --- */

struct fuzz_client {
	int fd; /* -1: none */
	char *pending;
	size_t pending_length, pending_at;
	bool finished;  /* has shut down its sending side */
	unsigned reads; /* of 16 chances: how eagerly */
	char *line;
	size_t line_length, line_size;
};

static struct fuzz_client clients[CLIENTS];

static int
connect_client(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	if (fd < 0 ||
		(connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 && errno != EAGAIN))
		broken("cannot connect: %s", strerror(errno));
	connections++;
	return fd;
}

static void
client_close(struct fuzz_client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	free(client->pending);
	free(client->line);
	*client = (struct fuzz_client){.fd = -1};
}

static void
client_open(struct fuzz_client *client)
{
	client_close(client);
	client->fd = connect_client();
	client->reads = DRAW_OF(((const unsigned[]){0, 1, 4, 16, 16}));
}

static void
client_queue(struct fuzz_client *client, const char *text, size_t length)
{
	char *larger;

	if (client->finished || client->pending_length + length > PENDING_MAX)
		return;
	larger = realloc(client->pending, client->pending_length + length);
	if (larger == NULL)
		abort();
	client->pending = larger;
	memcpy(larger + client->pending_length, text, length);
	client->pending_length += length;
}

/* Send some of what is pending. */
static void
client_push(struct fuzz_client *client)
{
	size_t left = client->pending_length - client->pending_at;
	size_t count = draw(4) == 0 ? draw((uint32_t)left + 1) : left;
	ssize_t sent;

	if (count == 0)
		return;
	sent = send(client->fd, client->pending + client->pending_at, count,
		MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0 && errno != EAGAIN) {
		client_close(client); /* sluiced has had enough of it */
		return;
	}
	client->pending_at += sent > 0 ? (size_t)sent : 0;
	if (client->pending_at == client->pending_length)
		client->pending_at = client->pending_length = 0;
}

/* Every line that anybody is sent. @return its object */
static json_t *
line_check(const char *line, size_t length)
{
	json_error_t where;
	json_t *message = json_loadb(line, length, 0, &where);
	const char *version = json_string_value(json_object_get(message, "jsonrpc"));
	bool notification = json_object_get(message, "method") != NULL;

	lines_read++;
	if (message == NULL || version == NULL || strcmp(version, "2.0") != 0)
		broken("no JSON-RPC: %.*s", (int)RTE_MIN(length, (size_t)400), line);
	if (notification ? !json_is_object(json_object_get(message, "params"))
			 : json_object_get(message, "id") == NULL ||
				   !json_object_get(message, "result") ==
					   !json_object_get(message, "error"))
		broken("neither an answer nor a notification: %.*s",
			(int)RTE_MIN(length, (size_t)400), line);
	return message;
}

/* @return bytes read, 0 for nothing, -1 at the end */
static ssize_t
client_pull(struct fuzz_client *client, size_t most, json_t *messages)
{
	ssize_t got;
	char *end;

	if (client->line_size - client->line_length < most) {
		client->line_size = client->line_length + most;
		client->line = realloc(client->line, client->line_size);
		if (client->line == NULL)
			abort();
	}
	got = recv(client->fd, client->line + client->line_length, most, MSG_DONTWAIT);
	if (got <= 0)
		return got < 0 && errno == EAGAIN ? 0 : -1;
	client->line_length += (size_t)got;
	while ((end = memchr(client->line, '\n', client->line_length)) != NULL) {
		size_t length = (size_t)(end - client->line);
		json_t *message = line_check(client->line, length);

		if (messages != NULL)
			json_array_append_new(messages, message);
		else
			json_decref(message);
		client->line_length -= length + 1;
		memmove(client->line, end + 1, client->line_length);
	}
	return got;
}

/* --- the world behind the socket --- */

static void
traffic(void)
{
	static struct frame frame;
	struct frame_spec spec = {
		.destination_mac = plane_vif_mac,
		.source_mac = plane_qube_mac,
		.source = draw(2) != 0 ? PLANE_WORK_ADDRESS : PLANE_PERSONAL_ADDRESS,
		.destination = DRAW_OF(((const char *const[]){
			"192.0.2.7", "192.0.2.9", "198.51.100.1", PLANE_DNS, PLANE_GATEWAY})),
		.protocol = DRAW_OF(((const uint8_t[]){IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP})),
		.source_port = (uint16_t)(1024 + draw(64)),
		.destination_port = DRAW_OF(((const uint16_t[]){53, 443, 80, 22})),
		.tcp_flags = RTE_TCP_SYN_FLAG,
		.type = 8,
		.ttl = 64,
		.payload = 8,
	};

	frame_build(&frame, &spec);
	plane_send(plane,
		strcmp(spec.source, PLANE_WORK_ADDRESS) == 0 ? PLANE_WORK : PLANE_PERSONAL, &frame);
	plane_forget(plane);
	plane->now_ms += draw(30);
}

static void
turn(void)
{
	event_base_loop(daemon_state.base, EVLOOP_NONBLOCK);
	plane_service(plane); /* workers do what they were called for */
}

static double
now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Read until there are @p count messages that are no notifications, or too much time has passed. */
static void
answers_await(struct fuzz_client *client, json_t *messages, size_t count)
{
	double start_s = now_s();
	size_t answers = 0, seen = 0;

	while (answers < count) {
		double took_s = now_s() - start_s;

		if (took_s > ANSWER_SECONDS)
			broken("%zu of %zu answers after %.1f s", answers, count, took_s);
		turn();
		client_push(client);
		if (client_pull(client, LINE_SIZE, messages) < 0)
			broken("a client that behaves was disconnected, %zu of %zu answers",
				answers, count);
		for (; seen < json_array_size(messages); seen++)
			answers +=
				json_object_get(json_array_get(messages, seen), "method") == NULL;
	}
	slowest_s = RTE_MAX(slowest_s, now_s() - start_s);
}

/* A client that does everything right. */
static void
probe(void)
{
	static char text[LINE_SIZE];
	struct fuzz_client client = {.fd = connect_client(), .reads = 16};
	json_t *messages = json_array();
	bool seen[16] = {false};
	unsigned count = 1 + draw(8), answered = 0;
	size_t index;
	json_t *message;

	for (unsigned i = 0; i < count; i++) {
		/* what is answered at once, or later, but does not stream for ever */
		static const unsigned methods[] = {METHOD_HELLO, METHOD_HELP, METHOD_STATUS,
			METHOD_COUNTERS, METHOD_QUBES, METHOD_METRICS, METHOD_RULES_GET,
			METHOD_RULES_SET, METHOD_RULES_ADD, METHOD_FORWARD_LIST, METHOD_FORWARD_ADD,
			METHOD_TRANSACTION, METHOD_FLOWS, METHOD_FLOWS_DELETE, METHOD_DROPS,
			METHOD_EXPLAIN, METHOD_CANCEL};
		unsigned method = DRAW_OF(methods);

		client_queue(&client, text, request_text(text, method, json_integer(i)));
		requests_made++;
	}
	answers_await(&client, messages, count);
	json_array_foreach (messages, index, message) {
		json_int_t id = json_integer_value(json_object_get(message, "id"));

		if (json_object_get(message, "method") != NULL)
			continue;
		if (id < 0 || id >= count || seen[id])
			broken("an answer with id %" JSON_INTEGER_FORMAT " of %u", id, count);
		seen[id] = true;
		answered++;
	}
	answers_right += answered;
	probes++;
	json_decref(messages);
	client_close(&client);
}

/* --- one action of somebody --- */

static json_t *
random_id(void)
{
	switch (draw(6)) {
	case 0:
		return NULL;
	case 1:
		return random_value(3);
	default:
		return json_integer(draw(20));
	}
}

static void
client_ask(struct fuzz_client *client)
{
	static char text[LINE_SIZE];
	unsigned method = draw(METHOD_COUNT);
	unsigned repeats = draw(40) == 0 ? draw(2000) : draw(6) == 0 ? draw(30) : 1;
	size_t length = request_text(text, method, random_id());

	if (draw(3) == 0)
		length = damage(text, length);
	requests_made += repeats;
	for (; repeats > 0; repeats--)
		client_queue(client, text, length);
}

/* A line that is too long, or does not end; or is just noise. */
static void
client_noise(struct fuzz_client *client)
{
	static char noise[1 << 18];
	size_t length = draw(draw(8) == 0 ? sizeof(noise) : 300) + 1;
	unsigned kind = draw(3);

	for (size_t i = 0; i < length; i++)
		noise[i] = kind == 0 ? ' ' : kind == 1 ? (char)draw(256) : "[{\"\\,:"[draw(6)];
	for (unsigned repeats = draw(6) + 1; repeats > 0; repeats--)
		client_queue(client, noise, length);
}

static void
client_act(struct fuzz_client *client)
{
	uint32_t chance = draw(100);

	if (client->fd < 0) {
		client_open(client);
		return;
	}
	if (chance < 50)
		client_ask(client);
	else if (chance < 53)
		client_noise(client);
	else if (chance < 55 && !client->finished) {
		client->finished = shutdown(client->fd, SHUT_WR) == 0;
	} else if (chance < 58) {
		client_close(client);
		return;
	}
	if (!client->finished)
		client_push(client);
	if (client->fd >= 0 && draw(16) < client->reads &&
		client_pull(client, 1 + draw(LINE_SIZE), NULL) < 0)
		client_close(client);
}

static void
act(void)
{
	actions++;
	client_act(&clients[draw(CLIENTS)]);
	if (draw(4) == 0)
		traffic();
	if (draw(3) != 0)
		turn();
	if (draw(200) == 0)
		probe();
}

/* --- start and end --- */

static void
report_nothing(void *context, const char *line)
{
	(void)context, (void)line;
}

static const struct report report = {.line = report_nothing};

static void
open_world(void)
{
	char lines[512];

	snprintf(folder, sizeof(folder), "%s/sluice-fuzz-XXXXXX",
		access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(folder) == NULL)
		abort();
	snprintf(socket_path, sizeof(socket_path), "%s/control.sock", folder);
	snprintf(lines, sizeof(lines), "socket = %s\nstate-dir = %s\n", socket_path, folder);
	plane = plane_create(&(struct plane_options){
		.rules = "policy=drop\naction=accept dst4=192.0.2.0/24\n"
			 "action=accept specialtarget=dns\n",
		.lines = lines,
		.work = "new-flows = 20\n",
		.more = "[forward ssh]\nforwardtype = external\nproto = tcp\nsrcports = 22\n"
			"dstports = 22\nqube = work\n",
	});
	plane_resolve(plane);
	daemon_state = (struct daemon){
		.path = plane->conf->path,
		.conf = plane->conf,
		.dataplane = plane->dataplane,
		.base = event_base_new(),
		.start_s = (uint64_t)time(NULL),
		.policy_s = (uint64_t)time(NULL),
	};
	if (daemon_state.base == NULL || daemon_changes_load(&daemon_state, &report) != 0 ||
		daemon_expiry_open(&daemon_state, &report) != 0 ||
		worker_calls_create(plane->dataplane, daemon_state.base, &daemon_state.calls) !=
			0 ||
		events_create(&daemon_state, &daemon_state.events) != 0 ||
		drop_poll_create(&daemon_state, &daemon_state.drops) != 0 ||
		tap_table_create(&daemon_state, &daemon_state.taps) != 0 ||
		control_open(socket_path, daemon_state.base, &daemon_state, &report,
			&daemon_state.control) != 0 ||
		control_serve(daemon_state.control, &report) != 0)
		abort();
	for (unsigned i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
}

static void
close_world(void)
{
	char command[128];
	unsigned lost;

	/* Some leave while they have something open, others are still there at the end. */
	for (unsigned i = 0; i < CLIENTS; i += 2)
		client_close(&clients[i]);
	for (unsigned i = 0; i < 100; i++)
		turn();
	control_close(daemon_state.control);
	for (unsigned i = 0; i < CLIENTS; i++)
		client_close(&clients[i]);
	drop_poll_free(daemon_state.drops);
	events_free(daemon_state.events);
	worker_calls_free(daemon_state.calls);
	tap_table_free(daemon_state.taps);
	daemon_expiry_close(&daemon_state);
	changes_file_close(daemon_state.kept, daemon_now(), &report);
	changes_free(daemon_state.changes);
	event_base_free(daemon_state.base);
	lost = plane_free(plane);
	if (lost != 0)
		broken("%u mbufs were lost", lost);
	if (access(socket_path, F_OK) == 0)
		broken("the socket is still there");
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	if (system(command) != 0)
		broken("%s stays", folder);
	libevent_global_shutdown();
}

static uint64_t
number_of(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

int
main(void)
{
	uint64_t most = number_of("FUZZ_ACTIONS", 0);
	double end_s = now_s() + (double)number_of("FUZZ_SECONDS", SECONDS_DEFAULT);

	seed = number_of("FUZZ_SEED", 1);
	random_state = seed;
	signal(SIGPIPE, SIG_IGN); /* as sluiced does */
	unit_eal();
	printf("FUZZ_SEED=%" PRIu64 "\n", seed);
	fflush(stdout);
	open_world();
	/* The log of all that would be longer than anybody reads. */
	stderr = fopen("/dev/null", "w");
	while ((most == 0 || actions < most) && now_s() < end_s)
		act();
	probe();
	close_world();
	fclose(stderr);
	printf("%" PRIu64 " actions: %" PRIu64 " connections, %" PRIu64 " requests, %" PRIu64
	       " lines read; %" PRIu64 " good clients got %" PRIu64
	       " answers, the slowest after %.0f ms\n",
		actions, connections, requests_made, lines_read, probes, answers_right,
		slowest_s * 1e3);
	if (actions > 10000 && lines_read < actions / 10)
		broken("only %" PRIu64 " lines were read", lines_read);
	return 0;
}
