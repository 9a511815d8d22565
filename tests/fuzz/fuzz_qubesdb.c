/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The QubesDB source with a data plane on the table behind it, and a daemon of QubesDB that nobody
 * wants. Round after round another database, another connection:
 *
 * - dom0 writes trees, key by key, good and bad ones, while they are being read; settings of all
 *   kinds; markers without trees, trees without markers; keys that are no addresses
 * - what the daemon says comes in pieces of any size, with events in between that nobody needs
 * - in every other round it is damaged as well: bytes are turned, lost, added or said twice, or the
 *   connection ends anywhere
 *
 * In rounds without damage the end must be right: what is committed last is in force, be it good or
 * bad, nothing else is, and each counter says how many commits there were. In all rounds no turn of
 * the loop may take long, what sluiced writes must be what QubesDB can hold, and nothing may leak
 * or crash.
 *
 *	FUZZ_ROUNDS=0 FUZZ_SEED=1 FUZZ_SECONDS=3 fuzz_qubesdb
 *
 * Ends after so many rounds (0: any) or seconds, whichever comes first. A failure names the seed
 * and the round.
 */
#include "app/event.h"
#include "app/port_change.h"
#include "app/source_qubesdb.h"
#include "app/worker_call.h"
#include "conf/changes.h"
#include "conf/qubesdb_tree.h"
#include "tests/unit/plane.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#define SECONDS_DEFAULT 3
#define HEADER 72
#define KEYS 2000
#define WATCHES 64
#define VERSIONS 256 /* of one tree, in one round */
#define OUTPUT_SIZE (1 << 20)
/* CPU time of one turn: a policy of all trees, with sanitizers. */
#define TURN_MS_MAX 500

enum {
	READ,
	WRITE,
	MULTIREAD,
	LIST,
	RM,
	WATCH,
	OK = 7,
	NOENT,
	ERROR,
	GOT_READ,
	GOT_MULTIREAD,
	GOT_LIST,
	GOT_WATCH,
};

static struct daemon daemon_state;
static struct plane *plane;
static char folder[64], socket_path[100];
static uint64_t seed, rounds, requests, commits, events_said, damages, checked_trees,
	checked_versions;
static double slowest_ms;
static int listener = -1, peer = -1;

static void __attribute__((noreturn, format(printf, 1, 2))) broken(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	printf("fuzz_qubesdb: seed %" PRIu64 ", round %" PRIu64 ": ", seed, rounds);
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

/* --- the database --- */

static struct key {
	char path[64];
	char *value;
} keys[KEYS];
static unsigned key_count;
static char watches[WATCHES][64];
static unsigned watch_count;
static char output[OUTPUT_SIZE];
static size_t output_size;
static bool damaging;

static void
output_add(const void *bytes, size_t size)
{
	memcpy(&output[output_size], bytes, size);
	output_size += size;
}

static void
say(unsigned type, const char *path, const char *value)
{
	uint32_t length = (uint32_t)strlen(value);
	char header[HEADER] = {(char)type};

	if (output_size + HEADER + length > sizeof(output))
		return; /* of a client that does not read */
	strcpy(&header[1], path);
	memcpy(&header[68], &length, sizeof(length));
	output_add(header, sizeof(header));
	output_add(value, length);
}

static void
fire(const char *path)
{
	for (unsigned i = 0; i < watch_count; i++) {
		const char *watch = watches[i];
		size_t length = strlen(watch);

		if (watch[length - 1] == '/' ? strncmp(path, watch, length) == 0
					     : strcmp(path, watch) == 0) {
			say(GOT_WATCH, path, "");
			events_said++;
		}
	}
}

static struct key *
key_find(const char *path)
{
	for (unsigned i = 0; i < key_count; i++)
		if (strcmp(keys[i].path, path) == 0)
			return &keys[i];
	return NULL;
}

static void
key_write(const char *path, const char *value)
{
	struct key *key = key_find(path);

	if (key == NULL) {
		if (key_count == KEYS)
			return;
		key = &keys[key_count++];
		snprintf(key->path, sizeof(key->path), "%.63s", path);
	} else {
		free(key->value);
	}
	key->value = strdup(value);
}

static bool
key_remove(const char *path)
{
	size_t length = strlen(path);
	bool any = false;

	for (unsigned i = 0; i < key_count;) {
		if (path[length - 1] == '/' ? strncmp(keys[i].path, path, length) != 0
					    : strcmp(keys[i].path, path) != 0) {
			i++;
			continue;
		}
		free(keys[i].value);
		keys[i] = keys[--key_count];
		any = true;
	}
	return any;
}

/* --- dom0, one key at a time --- */

static const char *const addresses[] = {"10.137.0.16", "10.137.0.17", "10.137.0.30", "10.137.0.31",
	"fd09::10", "fd09::11", "fd09::30"};
#define ADDRESSES RTE_DIM(addresses)

static struct writer {
	bool writes;
	unsigned step, rules;
	unsigned committed; /* commits that must have been counted */
	bool optional;      /* of nobody who must be a client, when all was listed */
	/* what the tree was at each commit; unsure: it was being written when all was listed */
	bool unsure;
	unsigned version_count;
	uint64_t versions[VERSIONS];
} writers[ADDRESSES];

static const char *
rule_text(void)
{
	static const char *const good[] = {"action=accept", "action=drop proto=icmp",
		"action=accept dst4=192.0.2.0/24 proto=tcp dstports=443-443",
		"action=accept dst6=2001:db8::/32", "action=accept specialtarget=dns",
		"action=accept dsthost=example.org proto=udp", "action=accept dsthost=."};
	static const char *const bad[] = {"", " ", "action=accept  proto=tcp", "action", "=", "a=b",
		"action=accept dstports=80443 proto=tcp", "action=accept\x01", "\xff\xfe",
		"action=accept action=drop", "action=accept dst4=1.2.3.4/99"};

	return draw(40) == 0 ? DRAW_OF(bad) : DRAW_OF(good);
}

/* A tree as a number. */
static uint64_t
tree_digest(const struct live_tree *tree)
{
	uint64_t digest = tree->state * 3 + tree->ruleset.policy + 1;

	for (unsigned i = 0; i < tree->ruleset.count; i++)
		digest = digest * UINT64_C(0x100000001b3) + tree->ruleset.rules[i].line * 16 +
			 tree->ruleset.rules[i].destination * 2 + tree->ruleset.rules[i].action;
	for (const char *byte = tree->error; byte != NULL && *byte != '\0'; byte++)
		digest = digest * UINT64_C(0x100000001b3) + (unsigned char)*byte;
	return digest;
}

/* What the database has for an address. */
static struct live_tree *
tree_wanted(unsigned index)
{
	struct pair_list list = {0};
	struct live_tree *tree;
	char prefix[96], *error;
	union address address;
	enum family family;

	if (address_parse(addresses[index], &family, &address) != 0)
		abort();
	snprintf(prefix, sizeof(prefix), "/qubes-firewall/%s/", addresses[index]);
	for (unsigned i = 0; i < key_count; i++)
		if (strncmp(keys[i].path, prefix, strlen(prefix)) == 0)
			pair_list_add(&list, &keys[i].path[strlen(prefix)], keys[i].value,
				TREE_PAIRS_MAX);
	tree = tree_parse(family, &address, &list, NULL, &error);
	pair_list_clear(&list);
	return tree;
}

static void
version_note(unsigned index)
{
	struct writer *writer = &writers[index];
	struct live_tree *tree = tree_wanted(index);

	if (writer->version_count < VERSIONS)
		writer->versions[writer->version_count++] = tree_digest(tree);
	else
		writer->unsure = true;
	live_tree_unref(tree);
}

static void
writer_step(unsigned index)
{
	struct writer *writer = &writers[index];
	char path[128];

	snprintf(path, sizeof(path), "/qubes-firewall/%s/", addresses[index]);
	if (!writer->writes) {
		writer->writes = true;
		writer->step = 0;
		writer->rules = draw(12);
		(void)key_remove(path);
		fire(path);
		return;
	}
	path[strlen(path) - 1] = '\0';
	if (writer->step == 0) {
		strcat(path, "/policy");
		if (draw(20) != 0) {
			key_write(path, draw(10) != 0 ? "drop" : "accept");
			fire(path);
		}
	} else if (writer->step <= writer->rules) {
		snprintf(&path[strlen(path)], 16, draw(60) == 0 ? "/%u" : "/%04u",
			writer->step * (draw(4) + 1));
		key_write(path, rule_text());
		fire(path);
	} else {
		key_write(path, "");
		fire(path);
		writer->writes = false;
		writer->committed++;
		writer->optional = false;
		version_note(index);
		commits++;
	}
	writer->step++;
}

/* Who is a client has changed since the connection was made. */
static bool clients_touched;

static void
setting_step(void)
{
	static const char *const paths[] = {"/connected-ips", "/connected-ips6",
		"/mapped-ip/10.137.0.16/visible-ip", "/mapped-ip/10.137.0.16/visible-gateway",
		"/mapped-ip/x/visible-ip", "/qubes-primary-dns", "/qubes-ip", "/qubes-netmask",
		"/net-config/00:16:3e:5e:6c:00/ip", "/qubes-netvm-primary-dns", "/mapped-ip/"};
	static const char *const values[] = {"", "10.137.0.16 10.137.0.17", "10.137.0.30",
		"fd09::10 fd09::30", "x y z", "10.0.2.15", "255.255.255.0", "\x01", "0.0.0.0",
		"10.137.0.16 10.137.0.16 10.137.0.16"};
	const char *path = DRAW_OF(paths);

	clients_touched |=
		strncmp(path, "/connected-ips", 14) == 0 || strncmp(path, "/mapped-ip/", 11) == 0;
	if (path[strlen(path) - 1] == '/' || draw(8) == 0)
		(void)key_remove(path);
	else
		key_write(path, DRAW_OF(values));
	fire(path);
}

/* Things that dom0 does not do. */
static void
strange_step(void)
{
	static const char *const paths[] = {"/qubes-firewall/x",
		"/qubes-firewall/10.137.0.300/0000", "/qubes-firewall/10.137.0.016",
		"/qubes-firewall/fd09:0::10", "/qubes-firewall//",
		"/qubes-firewall/10.137.0.16/0000/x", "/qubes-firewall-forward/10.137.0.16",
		"/qubes-firewall-forward/10.137.0.16/0000", "/connected-ips/x", "/"};
	const char *path = draw(20) == 0 ? "/qubes-firewall/" : DRAW_OF(paths);

	if (strcmp(path, "/qubes-firewall/") == 0)
		(void)key_remove(path);
	if (path[strlen(path) - 1] != '/' &&
		strcmp(path, "/qubes-firewall/10.137.0.16/0000/x") != 0)
		key_write(path, draw(2) != 0 ? rule_text() : "");
	if (strncmp(path, "/qubes-firewall/10.137.0.16/", 28) != 0)
		fire(path);
}

static void
dom0_step(void)
{
	switch (draw(8)) {
	case 0:
		setting_step();
		break;
	case 1:
		strange_step();
		break;
	default:
		writer_step(draw(ADDRESSES));
	}
}

/* Whether an address is that of a qube in sluice.conf, or a client as the database is now. */
static bool
is_client(unsigned index)
{
	const char *path =
		strchr(addresses[index], ':') == NULL ? "/connected-ips" : "/connected-ips6";
	const struct conf *conf = daemon_state.file;
	const struct key *key = key_find(path);
	union address address;
	enum family family;

	if (address_parse(addresses[index], &family, &address) != 0)
		abort();
	for (unsigned i = 0; i < conf->qube_count; i++)
		if (conf->qubes[i].has[family] &&
			address_equal(&conf->qubes[i].address[family], &address))
			return true;
	if (clients_touched)
		return false;
	return key == NULL || strstr(key->value, addresses[index]) != NULL;
}

/*
 * All is listed: a tree that is complete counts as one commit, whatever came before. One of an
 * address that is no client's may be left out, until it is committed again.
 */
static void
writers_listed(void)
{
	char marker[96];

	for (unsigned i = 0; i < ADDRESSES; i++) {
		snprintf(marker, sizeof(marker), "/qubes-firewall/%s", addresses[i]);
		writers[i].optional = !is_client(i);
		writers[i].committed =
			key_find(marker) != NULL && !writers[i].writes && !writers[i].optional;
		writers[i].unsure |= writers[i].writes;
	}
}

static const char *const names[] = {"example.org", ".", "", "a..b", "x",
	"a.name.that.is.longer.than.what.qubesdb.can.have.in.a.path.example"};
#define NAMES RTE_DIM(names)
static char names_published[ADDRESSES][NAMES][256];

/* --- the daemon --- */

static char input[1 << 16];
static size_t input_size;

static bool
is_good_path(const char *path)
{
	return path[0] == '/' &&
	       path[strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVW"
				 "XYZ0123456789-_/.:@")] == '\0';
}

static void
answer_many(unsigned type, const char *prefix)
{
	for (unsigned i = 0; i < key_count; i++) {
		if (strncmp(keys[i].path, prefix, strlen(prefix)) != 0)
			continue;
		/* the longest that is said, with what dom0 could not even write */
		say(type, keys[i].path, type == GOT_LIST ? "" : keys[i].value);
		if (draw(20) == 0)
			fire("/qubes-firewall/192.0.2.1/0000");
	}
	say(type, "", "");
}

static void
request_take(unsigned type, const char *path, const char *value)
{
	const struct key *key = key_find(path);

	requests++;
	if (!is_good_path(path))
		broken("a request %u of \"%s\"", type, path);
	switch (type) {
	case READ:
		say(key != NULL ? GOT_READ : NOENT, path, key != NULL ? key->value : "");
		break;
	case MULTIREAD:
		answer_many(GOT_MULTIREAD, path);
		break;
	case LIST:
		answer_many(GOT_LIST, path);
		writers_listed();
		break;
	case WRITE:
		key_write(path, value);
		say(OK, path, "");
		fire(path);
		break;
	case RM:
		say(key_remove(path) ? OK : NOENT, path, "");
		break;
	case WATCH:
		if (watch_count < WATCHES)
			snprintf(watches[watch_count++], sizeof(watches[0]), "%.63s", path);
		say(OK, path, "");
		break;
	default:
		broken("a request of type %u", type);
	}
}

static void
requests_take(unsigned most)
{
	size_t at = 0;

	while (most-- > 0 && input_size - at >= HEADER) {
		const char *header = &input[at];
		char path[65], value[3072];
		uint32_t length;

		memcpy(&length, &header[68], sizeof(length));
		if (length > 3071 || (length != 0 && header[0] != WRITE) ||
			memchr(&header[1], '\0', 64) == NULL || header[65] != 0 ||
			header[66] != 0 || header[67] != 0)
			broken("a request of type %u and length %u", header[0], length);
		if (input_size - at < HEADER + length)
			break;
		snprintf(path, sizeof(path), "%s", &header[1]);
		memcpy(value, &header[HEADER], length);
		value[length] = '\0';
		at += HEADER + length;
		request_take((unsigned char)header[0], path, value);
	}
	input_size -= at;
	memmove(input, &input[at], input_size);
}

static void
peer_close(void)
{
	if (peer >= 0)
		close(peer);
	peer = -1;
}

static void
damage(void)
{
	size_t at;

	if (output_size == 0)
		return;
	at = draw((uint32_t)output_size);
	damages++;
	switch (draw(6)) {
	case 0:
		output[at] = (char)draw(256);
		break;
	case 1: /* a header is where most of it is decided */
		output[at / HEADER * HEADER + DRAW_OF(((const size_t[]){0, 1, 64, 68, 69, 71}))] ^=
			(char)(1u << draw(8));
		break;
	case 2:
		memmove(&output[at], &output[at + 1], output_size - at - 1);
		output_size--;
		break;
	case 3:
		if (output_size + HEADER < sizeof(output)) {
			memmove(&output[at + HEADER], &output[at], output_size - at);
			for (unsigned i = 0; i < HEADER; i++)
				output[at + i] = (char)draw(256);
			output_size += HEADER;
		}
		break;
	case 4:
		output_size = at;
		break;
	default:
		peer_close();
	}
}

static void
daemon_turn(void)
{
	ssize_t count;
	size_t piece;

	if (peer < 0)
		return;
	count = recv(peer, &input[input_size], sizeof(input) - input_size, MSG_DONTWAIT);
	if (count == 0 && input_size < sizeof(input)) {
		peer_close();
		return;
	}
	input_size += count > 0 ? (size_t)count : 0;
	requests_take(1 + draw(40));
	if (damaging && draw(30) == 0)
		damage();
	if (peer < 0 || output_size == 0)
		return;
	piece = draw(3) != 0 ? output_size : 1 + draw((uint32_t)output_size);
	count = send(peer, output, piece, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (count <= 0)
		return;
	output_size -= (size_t)count;
	memmove(output, &output[count], output_size);
}

/* --- sluiced --- */

static double
cpu_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static void
sluiced_turn(void)
{
	double begin = cpu_ms(), took;

	event_base_loop(daemon_state.base, EVLOOP_NONBLOCK);
	plane_service(plane); /* calls to workers */
	took = cpu_ms() - begin;
	if (took > slowest_ms)
		slowest_ms = took;
	if (took > TURN_MS_MAX)
		broken("a turn took %.0f ms", took);
}

static const struct live_tree *
tree_in_force(unsigned index)
{
	union address address;
	enum family family;

	if (address_parse(addresses[index], &family, &address) != 0)
		abort();
	return live_tree_find(daemon_state.live, family, &address);
}

/* At any time: what is in force was committed, all of it. */
static void
version_check(unsigned index)
{
	const struct live_tree *found = tree_in_force(index);
	const struct writer *writer = &writers[index];
	uint64_t digest = found != NULL ? tree_digest(found) : 0;
	unsigned i = 0;

	if (found == NULL || writer->unsure)
		return;
	while (i < writer->version_count && writer->versions[i] != digest)
		i++;
	if (i == writer->version_count)
		broken("%s has %u rules that were never committed like that (%s)", addresses[index],
			found->ruleset.count, found->error);
	checked_versions++;
}

/* In the end: what is in force is what the database has. */
static void
tree_check(unsigned index)
{
	const struct live_tree *found = tree_in_force(index);
	char marker[64], path[96];
	struct live_tree *wanted;
	struct key *key;

	snprintf(marker, sizeof(marker), "/qubes-firewall/%s", addresses[index]);
	if (key_find(marker) == NULL) {
		if (found != NULL)
			broken("%s has rules that were never committed", addresses[index]);
		return;
	}
	if (found == NULL && writers[index].optional)
		return;
	wanted = tree_wanted(index);
	if (found == NULL)
		broken("%s has no rules", addresses[index]);
	if (tree_digest(found) != tree_digest(wanted))
		broken("%s has %u rules and %s, not %u and %s", addresses[index],
			found->ruleset.count, found->error, wanted->ruleset.count, wanted->error);
	snprintf(path, sizeof(path), "/qubes-firewall-handled/%s", addresses[index]);
	key = key_find(path);
	if (key == NULL || strtoul(key->value, NULL, 10) < RTE_MAX(writers[index].committed, 1u))
		broken("%s: %u commits, the counter is %s", addresses[index],
			writers[index].committed, key != NULL ? key->value : "not there");
	checked_trees++;
	live_tree_unref(wanted);
}

static void
settle(void)
{
	unsigned quiet = 0;

	for (unsigned index = 0; index < ADDRESSES; index++)
		while (writers[index].writes)
			writer_step(index);
	while (quiet < 20) {
		uint64_t before = requests;

		daemon_turn();
		sluiced_turn();
		quiet = requests == before && output_size == 0 && input_size == 0 ? quiet + 1 : 0;
	}
}

static void
report_nothing(void *context, const char *line)
{
	(void)context, (void)line;
}

static const struct report report = {.line = report_nothing};

/* Nothing is known any more. */
static void
forget(void)
{
	for (unsigned i = 0; i < ADDRESSES; i++) {
		union address address;
		enum family family;

		if (address_parse(addresses[i], &family, &address) != 0)
			abort();
		live_tree_drop(daemon_state.live, family, &address);
	}
	for (enum family family = 0; family < FAMILIES; family++)
		if (live_connected_set(daemon_state.live, family, NULL, 0) != 0)
			abort();
	if (live_mappings_set(daemon_state.live, NULL, 0) != 0)
		abort();
	live_gateway_set(daemon_state.live, NULL);
	if (daemon_apply(&daemon_state, &report) != 0)
		broken("nothing cannot be put in force");
	while (key_count > 0)
		free(keys[--key_count].value);
	memset(writers, 0, sizeof(writers));
	memset(names_published, 0, sizeof(names_published));
	watch_count = 0;
	input_size = output_size = 0;
}

static void
names_step(void)
{
	struct published_address list[4];
	unsigned name = draw(NAMES), index = draw(ADDRESSES), count = draw(RTE_DIM(list) + 1);
	char *value = names_published[index][name];
	union address qube;
	enum family family;

	if (address_parse(addresses[index], &family, &qube) != 0)
		abort();
	value[0] = '\0';
	for (unsigned i = 0; i < count; i++) {
		char text[ADDRESS_TEXT_SIZE];

		list[i] = (struct published_address){
			.family = FAMILY_IPV4, .address = address_v4(draw(UINT32_MAX))};
		snprintf(&value[strlen(value)], sizeof(text), "%s%s", i > 0 ? " " : "",
			address_format(text, FAMILY_IPV4, &list[i].address));
	}
	source_qubesdb_names_publish(&daemon_state, family, &qube, names[name], list, count);
}

/* What was published last is there, as far as QubesDB can have it, and nothing else. */
static void
names_check(void)
{
	unsigned wanted = 0, found = 0;

	for (unsigned index = 0; index < ADDRESSES; index++)
		for (unsigned name = 0; name < NAMES; name++) {
			const char *value = names_published[index][name];
			char path[256];
			const struct key *key;

			snprintf(path, sizeof(path), "/dns/%s/%s", addresses[index], names[name]);
			if (value[0] == '\0' || names[name][0] == '\0' || strlen(path) > 63)
				continue;
			key = key_find(path);
			if (key == NULL || strcmp(key->value, value) != 0)
				broken("%s is %s, not %s", path,
					key != NULL ? key->value : "not there", value);
			wanted++;
		}
	for (unsigned i = 0; i < key_count; i++)
		found += strncmp(keys[i].path, "/dns/", 5) == 0;
	if (found != wanted)
		broken("%u names are published, not %u", found, wanted);
}

static void
round_run(void)
{
	unsigned steps = 10 + draw(300);

	plane_wait(plane, 2000); /* what is done once a second is done */
	damaging = draw(2) != 0;
	for (unsigned i = draw(100); i > 0; i--)
		dom0_step();
	if (source_qubesdb_open(&daemon_state, &daemon_state.qubesdb) != 0)
		broken("out of memory");
	sluiced_turn();
	peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	if (peer < 0)
		broken("nobody connects");
	clients_touched = false;
	for (unsigned i = 0; i < steps; i++) {
		if (draw(3) == 0)
			dom0_step();
		if (draw(10) == 0)
			names_step();
		daemon_turn();
		sluiced_turn();
		if (!damaging)
			version_check(draw(ADDRESSES));
	}
	if (!damaging) {
		settle();
		for (unsigned i = 0; i < ADDRESSES; i++)
			tree_check(i);
		names_check();
		if (key_find("/features-request/qubes-firewall") == NULL)
			broken("the feature was not requested");
	}
	source_qubesdb_close(daemon_state.qubesdb);
	daemon_state.qubesdb = NULL;
	peer_close();
	forget();
}

static void
open_world(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char more[256];

	snprintf(folder, sizeof(folder), "%s/sluice-fuzz-XXXXXX",
		access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(folder) == NULL)
		abort();
	snprintf(socket_path, sizeof(socket_path), "%s/qubesdb.sock", folder);
	strcpy(address.sun_path, socket_path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
		listen(listener, 4) != 0)
		abort();
	snprintf(more, sizeof(more), "[qubes]\nqubesdb = %s\n", socket_path);
	plane = plane_create(&(struct plane_options){.more = more});
	daemon_state = (struct daemon){
		.path = plane->conf->path,
		.file = plane->conf,
		.live = live_new(),
		.changes = changes_new(),
		.dataplane = plane->dataplane,
		.base = event_base_new(),
	};
	if (daemon_state.live == NULL || daemon_state.changes == NULL ||
		daemon_state.base == NULL ||
		conf_compose(daemon_state.file, daemon_state.live, &report, &daemon_state.conf) !=
			0 ||
		worker_calls_create(plane->dataplane, daemon_state.base, &daemon_state.calls) !=
			0 ||
		port_changes_create(&daemon_state, &daemon_state.ports) != 0 ||
		events_create(&daemon_state, &daemon_state.events) != 0)
		abort();
}

static void
close_world(void)
{
	unsigned lost;

	events_free(daemon_state.events);
	port_changes_stop(daemon_state.ports);
	worker_calls_free(daemon_state.calls);
	port_changes_free(daemon_state.ports);
	changes_free(daemon_state.changes);
	event_base_free(daemon_state.base);
	conf_free(daemon_state.conf);
	live_free(daemon_state.live);
	lost = plane_free(plane);
	if (lost != 0)
		broken("%u mbufs were lost", lost);
	close(listener);
	unlink(socket_path);
	rmdir(folder);
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
	uint64_t most = number_of("FUZZ_ROUNDS", 0);
	time_t end_s = time(NULL) + (time_t)number_of("FUZZ_SECONDS", SECONDS_DEFAULT);

	seed = number_of("FUZZ_SEED", 1);
	random_state = seed;
	signal(SIGPIPE, SIG_IGN);
	unit_eal();
	printf("FUZZ_SEED=%" PRIu64 "\n", seed);
	fflush(stdout);
	open_world();
	/* The log of all that would be longer than anybody reads. */
	stderr = fopen("/dev/null", "w");
	while ((most == 0 || rounds < most) && time(NULL) < end_s) {
		round_run();
		rounds++;
	}
	close_world();
	fclose(stderr);
	printf("%" PRIu64 " rounds: %" PRIu64 " commits, %" PRIu64 " events, %" PRIu64
	       " requests, %" PRIu64 " damages; %" PRIu64 " trees were right in the end, %" PRIu64
	       " meanwhile; the slowest turn took %.1f ms\n",
		rounds, commits, events_said, requests, damages, checked_trees, checked_versions,
		slowest_ms);
	if (rounds > 10 && checked_trees < rounds)
		broken("only %" PRIu64 " trees were checked", checked_trees);
	return 0;
}
