/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The snapshot as a file: damage is found wherever it is, nothing of a damaged file is used, what
 * cannot be written leaves what was there, and a million flows are no matter of minutes.
 */
#include "tests/unit/restart.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "nat/tcp.h"

#define SMALL 5
#define MILLION 1000000u

static uint8_t bytes[1 << 20];
static size_t length;

/* The flow number @p n of a qube: TCP, every fourth by IPv6. */
static void
flow_make(struct plane *plane, struct flow_table *flows, unsigned n)
{
	static const char *const own[] = {PLANE_WORK_ADDRESS, PLANE_PERSONAL_ADDRESS};
	static const char *const own6[] = {PLANE_WORK_ADDRESS6, PLANE_PERSONAL_ADDRESS6};
	static union address address[2][FAMILIES], uplink[FAMILIES], remote[FAMILIES];
	struct tuple original = {.protocol = IPPROTO_TCP, .family = n % 4 == 3};
	struct tuple reply = original;
	unsigned qube = n % 2;
	enum family ignored;
	struct flow *flow;

	if (uplink[FAMILY_IPV4].v4 == 0) {
		for (unsigned i = 0; i < 2; i++) {
			address_parse(own[i], &ignored, &address[i][FAMILY_IPV4]);
			address_parse(own6[i], &ignored, &address[i][FAMILY_IPV6]);
		}
		address_parse(PLANE_UPLINK_ADDRESS, &ignored, &uplink[FAMILY_IPV4]);
		address_parse(PLANE_UPLINK_ADDRESS6, &ignored, &uplink[FAMILY_IPV6]);
		address_parse("100.64.0.0", &ignored, &remote[FAMILY_IPV4]);
		address_parse("2600:1::", &ignored, &remote[FAMILY_IPV6]);
	}
	original.source = address[qube][original.family];
	original.destination = remote[original.family];
	/* 64 flows to each of many servers */
	original.destination.word[original.family == FAMILY_IPV4 ? 0 : 3] |=
		rte_cpu_to_be_32(n >> 6);
	original.source_port = rte_cpu_to_be_16((uint16_t)(20000 + (n & 63)));
	original.destination_port = rte_cpu_to_be_16(443);
	reply.source = original.destination;
	reply.destination = uplink[original.family];
	reply.source_port = original.destination_port;
	reply.destination_port = original.source_port;
	flow = flow_open(flows, &original, &reply, plane->now_ms + 1000000 + n);
	CU_ASSERT_PTR_NOT_NULL_FATAL(flow);
	flow->state = TCP_STATE_ESTABLISHED;
	flow->flags |= FLOW_REPLIED;
	flow->generation = 1;
	flow->qube = (uint16_t)qube;
	flow->rule = RULE_POLICY;
	flow->way[0] = (struct flow_way){PLANE_UPLINK, original.family};
	flow->way[1] = (struct flow_way){(uint16_t)(PLANE_WORK + qube), NEIGHBOUR_PEER};
	flow->tcp[0].end = n;
	flow->tcp[1].max_ack = ~n;
}

/* A good snapshot of @p count flows, on disk and in `bytes`. */
static void
snapshot_make(unsigned count)
{
	struct plane *plane = plane_ready(&(struct plane_options){0});

	for (unsigned i = 0; i < count; i++)
		flow_make(plane, plane->dataplane->workers[0]->flows, i);
	CU_ASSERT_EQUAL_FATAL(plane_write(plane), 0);
	plane_done(plane);
	length = file_load(bytes, sizeof(bytes));
	CU_ASSERT_EQUAL(length, HEADER + NAMES + count * RECORD);
}

static bool
file_is(const char *name, const uint8_t *expected, size_t expected_length)
{
	static uint8_t found[sizeof(bytes)];
	FILE *file = fopen(name, "re");
	size_t found_length;

	if (file == NULL)
		return false;
	found_length = fread(found, 1, sizeof(found), file);
	fclose(file);
	return found_length == expected_length && memcmp(found, expected, found_length) == 0;
}

/* The file is not used at all, is set aside as it was, and one line says why. */
static bool
refused(struct plane *plane, const uint8_t *wrong, size_t wrong_length, const char *why)
{
	bool right;

	file_store(wrong, wrong_length);
	right = plane_read(plane) == -EBADMSG && flows_count(plane) == 0 && !exists(path) &&
		file_is(damaged_path, wrong, wrong_length) && was_said(why) &&
		strchr(said, '\n') == said + strlen(said) - 1;
	unlink(damaged_path);
	return right;
}

/* --- damage --- */

static void
test_damage(void)
{
	static uint8_t wrong[4096];
	struct plane *plane;
	unsigned taken = 0;

	snapshot_make(SMALL);
	plane = plane_fresh(&(struct plane_options){0});
	for (size_t at = 0; at < length; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			memcpy(wrong, bytes, length);
			wrong[at] ^= (uint8_t)(1 << bit);
			taken += !refused(plane, wrong, length, "is not used: it");
		}
	}
	CU_ASSERT_EQUAL(taken, 0);
	for (size_t at = 0; at < length; at++) {
		memcpy(wrong, bytes, length);
		for (unsigned value = 1; value < 256; value += 85) {
			wrong[at] = (uint8_t)(bytes[at] + value);
			taken += !refused(plane, wrong, length, "is not used: it");
		}
	}
	CU_ASSERT_EQUAL(taken, 0);
	/* every end it may have, and something behind it */
	memcpy(wrong, bytes, length);
	memset(wrong + length, 0, RECORD);
	for (size_t end = 0; end < length; end++)
		taken += !refused(plane, wrong, end,
			end < HEADER ? "it ends too early" : "longer or shorter");
	CU_ASSERT_EQUAL(taken, 0);
	CU_ASSERT(refused(plane, wrong, length + 1, "longer or shorter"));
	CU_ASSERT(refused(plane, wrong, length + RECORD, "longer or shorter"));
	/* two records in each other's place */
	memcpy(wrong + HEADER + NAMES, bytes + HEADER + NAMES + RECORD, RECORD);
	memcpy(wrong + HEADER + NAMES + RECORD, bytes + HEADER + NAMES, RECORD);
	CU_ASSERT(refused(plane, wrong, length, "its checksum is wrong"));
	/* and it was not for another reason */
	file_store(bytes, length);
	CU_ASSERT_EQUAL(plane_read(plane), 0);
	CU_ASSERT_EQUAL(flows_count(plane), SMALL);
	plane_done(plane);
}

/* Damage behind the first buffer, and at its edges. */
static void
test_damage_far_inside(void)
{
	static const size_t places[] = {
		262143, 262144, 262144 + HEADER - 1, 262144 + HEADER, 300000};
	struct plane *plane;

	snapshot_make(4000);
	plane = plane_fresh(&(struct plane_options){0});
	for (unsigned i = 0; i < RTE_DIM(places); i++) {
		bytes[places[i]] ^= 0x10;
		CU_ASSERT(refused(plane, bytes, length, "its checksum is wrong"));
		bytes[places[i]] ^= 0x10;
	}
	bytes[length - 1] ^= 0x10;
	CU_ASSERT(refused(plane, bytes, length, "its checksum is wrong"));
	bytes[length - 1] ^= 0x10;
	file_store(bytes, length);
	CU_ASSERT_EQUAL(plane_read(plane), 0);
	CU_ASSERT_EQUAL(flows_count(plane), 4000);
	plane_done(plane);
}

/* The checksum is right and the content is not, as a mistake of the writer would have it. */
static void
test_mistakes(void)
{
	static const struct {
		unsigned at;
		uint8_t value;
		const char *why;
	} mistakes[] = {
		{0, 'S', "does not begin like a snapshot"},
		{8, 2, "another version"},
		{12, 88, "another size"},
		{64, 64, "another size"},
		{72, 4, "longer or shorter"},
		{76, 4, "longer or shorter"},
		{78, 1, "longer or shorter"},
		{79, 0xff, "more ports or qubes"},
		{HEADER, 0, "port has no valid name"},
		{HEADER + 2 * 48 + 34, 2, "qube which is not there"},
		{HEADER + 3 * 48, ' ', "qube has no valid name"},
		{HEADER + NAMES + 2, 99, "unknown state"},
		{HEADER + NAMES + 4 * RECORD + 2, 99, "unknown state"}, /* the last flow */
		{HEADER + NAMES + 4 * RECORD + 3, 0x80, "unknown flags"},
		{HEADER + NAMES + 4 * RECORD + 127, 1, "where nothing may be"},
	};
	static uint8_t wrong[4096];
	struct plane *plane;

	snapshot_make(SMALL);
	plane = plane_fresh(&(struct plane_options){0});
	for (unsigned i = 0; i < RTE_DIM(mistakes); i++) {
		memcpy(wrong, bytes, length);
		wrong[mistakes[i].at] = mistakes[i].value;
		file_sign(wrong, length);
		CU_ASSERT(refused(plane, wrong, length, mistakes[i].why));
	}
	plane_done(plane);
}

/* --- what is no snapshot --- */

static void
test_none(void)
{
	struct plane *plane = plane_fresh(&(struct plane_options){0});

	CU_ASSERT_EQUAL(plane_read(plane), -ENOENT);
	CU_ASSERT_STRING_EQUAL(said, "");
	CU_ASSERT(refused(plane, bytes, 0, "ends too early"));
	plane_done(plane);
}

static void
test_kinds_of_files(void)
{
	struct plane *plane;
	char other[128];
	int fd;

	snapshot_make(SMALL);
	plane = plane_fresh(&(struct plane_options){0});
	/* where others may write, a right checksum says nothing */
	CU_ASSERT_EQUAL(chmod(path, 0620), 0);
	CU_ASSERT_EQUAL(plane_read(plane), -EBADMSG);
	CU_ASSERT(was_said("others than us"));
	CU_ASSERT(!exists(path));
	CU_ASSERT_EQUAL(rename(damaged_path, path), 0);
	CU_ASSERT_EQUAL(chmod(path, 0602), 0);
	CU_ASSERT_EQUAL(plane_read(plane), -EBADMSG);
	CU_ASSERT_EQUAL(unlink(damaged_path), 0);
	if (geteuid() == 0) {
		file_store(bytes, length);
		CU_ASSERT_EQUAL(chown(path, 12345, 0), 0);
		CU_ASSERT_EQUAL(plane_read(plane), -EBADMSG);
		CU_ASSERT(was_said("others than us"));
		CU_ASSERT_EQUAL(unlink(damaged_path), 0);
	}
	/* a name that leads elsewhere */
	snprintf(other, sizeof(other), "%s/elsewhere", folder);
	file_store(bytes, length);
	CU_ASSERT_EQUAL(rename(path, other), 0);
	CU_ASSERT_EQUAL(symlink(other, path), 0);
	CU_ASSERT_EQUAL(plane_read(plane), -EBADMSG);
	CU_ASSERT(!exists(path));
	CU_ASSERT_EQUAL(unlink(damaged_path), 0);
	CU_ASSERT_EQUAL(unlink(other), 0);
	/* what would keep us waiting */
	CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	CU_ASSERT_EQUAL(plane_read(plane), -EBADMSG);
	CU_ASSERT(was_said("no regular file"));
	close(fd);
	CU_ASSERT_EQUAL(unlink(damaged_path), 0);
	CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
	CU_ASSERT_EQUAL(plane_read(plane), -EBADMSG);
	CU_ASSERT(was_said("no regular file"));
	CU_ASSERT_EQUAL(rmdir(damaged_path), 0);
	CU_ASSERT_EQUAL(flows_count(plane), 0);
	plane_done(plane);
}

/* --- writing --- */

static void
test_written(void)
{
	struct plane *plane = plane_ready(&(struct plane_options){0});
	mode_t mask = umask(0);
	struct stat status;
	int fd;

	/* what a crash left behind is in nobody's way */
	fd = open(new_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	CU_ASSERT_EQUAL(write(fd, bytes, 4096), 4096);
	close(fd);
	file_store(bytes, 100);
	CU_ASSERT_EQUAL(plane_write(plane), 0);
	umask(mask);
	CU_ASSERT(!exists(new_path));
	CU_ASSERT_EQUAL(stat(path, &status), 0);
	CU_ASSERT_EQUAL(status.st_mode, S_IFREG | 0600);
	CU_ASSERT_EQUAL(status.st_size, HEADER + NAMES);
	plane_done(plane);
	plane = plane_fresh(&(struct plane_options){0});
	CU_ASSERT_EQUAL(plane_read(plane), 0);
	CU_ASSERT(was_said("snapshot: 0 flows taken up, 0 no longer valid, 0 out of time\n"));
	plane_done(plane);
}

/* A disk that is full at @p limit bytes leaves the snapshot that was there. */
static void
disk_full_at(struct plane *plane, rlim_t limit)
{
	struct rlimit before, now;

	CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_FSIZE, &before), 0);
	now = before;
	now.rlim_cur = limit;
	CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &now), 0);
	CU_ASSERT_EQUAL(plane_write(plane), -EFBIG);
	CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &before), 0);
	CU_ASSERT(was_said("flows.snapshot cannot be written: File too large"));
	CU_ASSERT_PTR_NULL(strstr(said, "flows written"));
	CU_ASSERT(file_is(path, bytes, length));
	CU_ASSERT(!exists(new_path));
}

static void
test_disk_full(void)
{
	struct plane *plane;

	signal(SIGXFSZ, SIG_IGN);
	snapshot_make(SMALL);
	plane = plane_ready(&(struct plane_options){0});
	for (unsigned i = 0; i < 4000; i++)
		flow_make(plane, plane->dataplane->workers[0]->flows, i);
	disk_full_at(plane, 0);
	disk_full_at(plane, HEADER - 1);
	disk_full_at(plane, 1000);
	disk_full_at(plane, 300000);
	disk_full_at(plane, HEADER + NAMES + 4000 * RECORD - 1);
	/* the last one was a byte too little */
	CU_ASSERT_EQUAL(plane_write(plane), 0);
	plane_done(plane);
	unlink(path);
}

static void
test_cannot_be_written(void)
{
	struct plane *plane = plane_ready(&(struct plane_options){0});
	char inside[128];

	said[0] = '\0';
	snprintf(inside, sizeof(inside), "%s/none/flows.snapshot", folder);
	CU_ASSERT_EQUAL(snapshot_write(plane->dataplane, plane->now_ms, inside, &report), -ENOENT);
	CU_ASSERT(was_said("none/flows.snapshot cannot be written: No such file"));
	/* a folder in its place cannot be replaced, nor is it */
	CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
	CU_ASSERT_EQUAL(plane_write(plane), -EISDIR);
	CU_ASSERT(exists(path));
	CU_ASSERT(!exists(new_path));
	CU_ASSERT_EQUAL(rmdir(path), 0);
	/* and one where the new one is to be written is not removed */
	CU_ASSERT_EQUAL(mkdir(new_path, 0700), 0);
	CU_ASSERT_EQUAL(plane_write(plane), -EEXIST);
	CU_ASSERT_EQUAL(rmdir(new_path), 0);
	plane_done(plane);
}

/* --- a million --- */

static double
now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Room for a million flows in a data plane of 4,096, and in its qubes' budgets. */
static struct plane *
plane_large(struct plane *plane)
{
	struct worker *worker = plane->dataplane->workers[0];

	flow_table_free(worker->flows);
	worker->flows =
		flow_table_create(MILLION, &plane->dataplane->secret, plane->now_ms, SOCKET_ID_ANY);
	CU_ASSERT_PTR_NOT_NULL_FATAL(worker->flows);
	for (unsigned i = 0; i < policy_of(plane)->qube_count; i++)
		policy_of(plane)->qubes[i].limits.value[BUDGET_FLOWS] = MILLION;
	return plane;
}

static uint64_t sum;
static unsigned mixed_up;

static void
flow_sum(void *context, struct flow *flow)
{
	(void)context;
	mixed_up += flow->tcp[0].end != ~flow->tcp[1].max_ack;
	sum += flow->tcp[0].end;
}

static void
test_million(void)
{
	struct plane *plane = plane_large(plane_ready(&(struct plane_options){0}));
	struct stat status;
	double began, written, taken;
	char line[128];

	for (unsigned i = 0; i < MILLION; i++)
		flow_make(plane, plane->dataplane->workers[0]->flows, i);
	began = now_s();
	CU_ASSERT_EQUAL_FATAL(plane_write(plane), 0);
	written = now_s() - began;
	CU_ASSERT_EQUAL(stat(path, &status), 0);
	CU_ASSERT_EQUAL(status.st_size, HEADER + NAMES + (off_t)MILLION * RECORD);
	plane_done(plane);
	plane = plane_large(plane_fresh(&(struct plane_options){0}));
	began = now_s();
	CU_ASSERT_EQUAL(plane_read(plane), 0);
	taken = now_s() - began;
	printf("%u flows, %.1f MB: written in %.2f s, read in %.2f s ", MILLION,
		(double)status.st_size / 1e6, written, taken);
	snprintf(line, sizeof(line),
		"snapshot: %u flows taken up, 0 no longer valid, 0 out of time\n", MILLION);
	CU_ASSERT_STRING_EQUAL(said, line);
	CU_ASSERT_EQUAL(flows_count(plane), MILLION);
	flow_walk(plane->dataplane->workers[0]->flows, flow_sum, NULL);
	CU_ASSERT_EQUAL(mixed_up, 0);
	CU_ASSERT_EQUAL(sum, (uint64_t)MILLION * (MILLION - 1) / 2);
	CU_ASSERT(written < 30 && taken < 30); /* slower than anything that is not broken */
	plane_done(plane);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"damage anywhere", test_damage},
		{"damage far inside", test_damage_far_inside},
		{"mistakes of the writer", test_mistakes},
		{"none", test_none},
		{"what is no file of ours", test_kinds_of_files},
		{"written", test_written},
		{"a full disk", test_disk_full},
		{"no place to write to", test_cannot_be_written},
		{"a million flows", test_million},
	};

	return restart_run("snapshot file", tests, RTE_DIM(tests));
}
