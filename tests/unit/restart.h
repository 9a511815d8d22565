/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the flow snapshot share: a file of their own, the lines that were reported, and
 * a restart, which is one data plane that writes and another one, with another clock, that reads.
 */
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "app/snapshot.h"
#include "tests/unit/plane.h"
#include "tests/unit/unit.h"

/* Bytes of the parts of a file, and where a few fields are, written down once more by hand. */
#define HEADER 80
#define NAMES (PLANE_HOST * 48 + 2 * 32) /* the ports before that one */
#define RECORD 128

static char folder[] = "/dev/shm/sluice-snapshot-XXXXXX";
static char path[96], new_path[112], damaged_path[112];
static char said[4096]; /* what was reported since the last write or read */

static inline void
remember(void *context, const char *line)
{
	size_t used = strlen(said);

	(void)context;
	snprintf(said + used, sizeof(said) - used, "%s\n", line);
}

static const struct report report = {.line = remember};

static inline bool
was_said(const char *text)
{
	bool found = strstr(said, text) != NULL;

	if (!found)
		fprintf(stderr, "not said: %s\nbut: %s", text, said);
	return found;
}

static inline bool
exists(const char *name)
{
	struct stat status;

	return lstat(name, &status) == 0;
}

static inline size_t
file_load(uint8_t *bytes, size_t room)
{
	FILE *file = fopen(path, "re");
	size_t length;

	if (file == NULL)
		abort();
	length = fread(bytes, 1, room, file);
	fclose(file);
	return length;
}

static inline void
file_store(const uint8_t *bytes, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, bytes, length) != (ssize_t)length || close(fd) != 0)
		abort();
}

/* Make the checksum right again, by the definition: first what is behind the header, then that. */
static inline void
file_sign(uint8_t *bytes, size_t length)
{
	uint64_t sum = ~UINT64_C(0);

	memset(bytes + 24, 0, 8);
	for (size_t i = 0; i < length; i++) {
		sum ^= bytes[(i + HEADER) % length];
		for (unsigned bit = 0; bit < 8; bit++)
			sum = (sum & 1) != 0 ? sum >> 1 ^ UINT64_C(0xc96c5795d7870f42) : sum >> 1;
	}
	sum = ~sum;
	memcpy(bytes + 24, &sum, sizeof(sum));
}

static inline struct plane *
plane_ready(const struct plane_options *options)
{
	struct plane *plane = plane_create(options);

	plane_resolve(plane);
	return plane;
}

static inline void
plane_done(struct plane *plane)
{
	CU_ASSERT_EQUAL(plane_verdicts(plane) + plane_held(plane), plane->received);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* Not for reading: its owner may still change it. */
static inline struct policy *
policy_of(const struct plane *plane)
{
	return atomic_load(&plane->dataplane->policy);
}

static inline unsigned
flows_count(const struct plane *plane)
{
	unsigned count = 0;

	for (unsigned i = 0; i < plane->dataplane->worker_count; i++)
		count += flow_count(plane->dataplane->workers[i]->flows);
	return count;
}

static inline int
plane_write(struct plane *plane)
{
	said[0] = '\0';
	return snapshot_write(plane->dataplane, plane->now_ms, path, &report);
}

static inline int
plane_read(struct plane *plane)
{
	said[0] = '\0';
	return snapshot_read(plane->dataplane, plane->now_ms, path, &report);
}

/* A data plane as after a start, at another time by its clock than the one before. */
static inline struct plane *
plane_fresh(const struct plane_options *options)
{
	struct plane *plane = plane_create(options);

	plane->now_ms = 777000;
	plane_service(plane);
	plane_resolve(plane);
	/* since the workers last looked at the clock */
	plane->now_ms += 3210;
	return plane;
}

static inline struct plane *
restart(struct plane *plane, const struct plane_options *options)
{
	CU_ASSERT_EQUAL_FATAL(plane_write(plane), 0);
	CU_ASSERT(!exists(new_path));
	plane_done(plane);
	plane = plane_fresh(options);
	CU_ASSERT_EQUAL(plane_read(plane), 0);
	CU_ASSERT(!exists(path));
	CU_ASSERT(!exists(damaged_path));
	return plane;
}

/* In memory where there is room for it, else on a disk. @return 0, or 1 with a message */
static inline int
restart_paths(void)
{
	struct statvfs memory;

	if (statvfs("/dev/shm", &memory) != 0 ||
		(uint64_t)memory.f_bavail * memory.f_frsize < UINT64_C(512) << 20 ||
		mkdtemp(folder) == NULL) {
		snprintf(folder, sizeof(folder), "/tmp/sluice-snap-XXXXXX");
		if (mkdtemp(folder) == NULL) {
			perror(folder);
			return 1;
		}
	}
	snprintf(path, sizeof(path), "%s/flows.snapshot", folder);
	snprintf(new_path, sizeof(new_path), "%s.new", path);
	snprintf(damaged_path, sizeof(damaged_path), "%s.damaged", path);
	return 0;
}

static inline void
restart_clean(void)
{
	unlink(path);
	unlink(new_path);
	unlink(damaged_path);
	if (rmdir(folder) != 0)
		perror(folder);
}

/** Run @p tests in a folder of their own, and remove it. */
static inline int
restart_run(const char *suite, const struct unit_test *tests, size_t count)
{
	int status;

	if (restart_paths() != 0)
		return 1;
	unit_eal();
	status = unit_run(suite, tests, count);
	restart_clean();
	return status;
}
