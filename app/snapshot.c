/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flows over a restart: out of the tables into a file, and back where they still belong.
 *
 * Writing goes once through the tables with a buffer, and the header comes last, when everything is
 * counted. The file is whole and on disk before it gets its name.
 *
 * Reading goes through the file three times. First the checksum, then everything that can be
 * checked without the policy, to the last byte, before anything is used: a file that is wrong
 * somewhere is used nowhere. Then its name is taken away, and only then flows are opened: whatever
 * a snapshot does to us it does once, and not again at every start that follows.
 *
 * Which flows are taken up is told in snapshot_take.c, how they look in a file in
 * snapshot_format.h.
 */
#include "app/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "app/snapshot_take.h"
#include "app/worker.h"

#define BUFFER_SIZE ((size_t)256 << 10)
#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"

static const char *const damaged = ".damaged";
static const char *const temporary = ".new";

/* Clocks and files. */

static uint64_t
clock_ms(clockid_t id)
{
	struct timespec now = {0};

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct snapshot_clock
clock_now(void)
{
	struct snapshot_clock now = {
		.wall_ms = clock_ms(CLOCK_REALTIME),
		.boot_ms = clock_ms(CLOCK_BOOTTIME),
	};
	unsigned digits = 0;
	FILE *file = fopen(BOOT_ID_PATH, "re");
	int c;

	/* 32 hexadecimal digits with dashes between; fewer are no reason not to go on */
	while (file != NULL && digits < 2 * sizeof(now.boot_id) && (c = fgetc(file)) != EOF) {
		const char *alphabet = "0123456789abcdef";
		const char *found = c != '\0' ? strchr(alphabet, c) : NULL;

		if (found == NULL)
			continue;
		now.boot_id[digits / 2] |=
			(uint8_t)((found - alphabet) << (digits % 2 == 0 ? 4 : 0));
		digits++;
	}
	if (file != NULL)
		fclose(file);
	return now;
}

/*
 * How long we were away. While the machine is up the clock that nobody sets tells it; after a start
 * of the machine the wall clock is all there is, and one that went back says nothing.
 */
static uint64_t
clock_passed_ms(const struct snapshot_clock *before)
{
	static const uint8_t unknown[sizeof(before->boot_id)];
	struct snapshot_clock now = clock_now();
	bool same_boot = memcmp(before->boot_id, now.boot_id, sizeof(unknown)) == 0 &&
			 memcmp(before->boot_id, unknown, sizeof(unknown)) != 0;
	uint64_t from = same_boot ? before->boot_ms : before->wall_ms;
	uint64_t to = same_boot ? now.boot_ms : now.wall_ms;

	return to > from ? to - from : 0;
}

/* PATH and something behind it, allocated. */
static char *
path_with(const char *path, const char *suffix)
{
	size_t size = strlen(path) + strlen(suffix) + 1;
	char *joined = malloc(size);

	if (joined != NULL)
		snprintf(joined, size, "%s%s", path, suffix);
	return joined;
}

/* Make what happened to the names in the directory of @p path last. */
static int
directory_sync(const char *path)
{
	char *directory = path_with(path, "");
	char *slash = directory != NULL ? strrchr(directory, '/') : NULL;
	int error = 0;
	int fd;

	if (directory == NULL)
		return -ENOMEM;
	if (slash != NULL)
		slash[slash == directory ? 1 : 0] = '\0';
	fd = open(slash != NULL ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		error = -errno;
	if (fd >= 0)
		close(fd);
	free(directory);
	return error;
}

/* Writing. */

struct writer {
	int fd;
	uint8_t *buffer;
	size_t used;
	uint64_t offset; /* in the file, of what is in the buffer */
	uint64_t checksum;
	int error; /* the first one: nothing is written after it */
	/* what is written */
	const struct policy *policy;
	uint32_t now_ms;
	struct snapshot_header header;
	uint16_t place[QUBES_MAX];      /* of each qube in the list, QUBE_NONE */
	uint16_t port_place[PORTS_MAX]; /* likewise, PORT_NONE */
	uint64_t left_out;              /* flows that no reader would take */
};

static int
write_all(int fd, const uint8_t *bytes, size_t length, uint64_t offset)
{
	while (length > 0) {
		ssize_t written = pwrite(fd, bytes, length, (off_t)offset);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		bytes += written;
		length -= (size_t)written;
		offset += (uint64_t)written;
	}
	return 0;
}

static void
writer_flush(struct writer *writer)
{
	if (writer->error == 0)
		writer->error = write_all(writer->fd, writer->buffer, writer->used, writer->offset);
	writer->checksum = snapshot_checksum(writer->checksum, writer->buffer, writer->used);
	writer->offset += writer->used;
	writer->used = 0;
}

/* Room for one record, which writer_took takes. */
static uint8_t *
writer_room(struct writer *writer, size_t size)
{
	if (writer->used + size > BUFFER_SIZE)
		writer_flush(writer);
	return writer->buffer + writer->used;
}

static void
writer_took(struct writer *writer, size_t size)
{
	writer->used += size;
}

/* The place of a qube in the list; QUBE_NONE for an index that is nobody's. */
static uint16_t
qube_place(const struct writer *writer, uint16_t qube)
{
	return qube < writer->policy->qube_count && qube < QUBES_MAX ? writer->place[qube]
								     : QUBE_NONE;
}

static uint16_t
port_place(const struct writer *writer, uint16_t port)
{
	return port < writer->policy->port_count && port < PORTS_MAX ? writer->port_place[port]
								     : PORT_NONE;
}

/* The lists of ports and qubes. */
static void
write_names(struct writer *writer, const struct dataplane *dataplane)
{
	const struct policy *policy = writer->policy;
	struct snapshot_header *header = &writer->header;

	for (unsigned i = 0; i < policy->qube_count && i < QUBES_MAX; i++)
		writer->place[i] =
			policy->qubes[i].name[0] != '\0' ? header->qube_count++ : QUBE_NONE;
	for (unsigned i = 0; i < policy->port_count && i < dataplane->port_count; i++) {
		const struct policy_port *from = &policy->ports[i];
		const struct port *port = &dataplane->ports[i];
		struct snapshot_port to = {.role = (uint8_t)from->role, .qube = QUBE_NONE};

		writer->port_place[i] = PORT_NONE;
		if (from->role == ROLE_NONE)
			continue;
		writer->port_place[i] = header->port_count;
		memcpy(to.name, from->name, sizeof(to.name));
		if (from->role != ROLE_UPLINK) {
			uint64_t mac = neighbour_mac(port->neighbours, NEIGHBOUR_PEER, NULL);

			to.qube = qube_place(writer, from->qube);
			if (!port->peer_configured)
				memcpy(to.mac, &mac, sizeof(to.mac));
		}
		snapshot_port_write(writer_room(writer, SNAPSHOT_PORT_SIZE), &to);
		writer_took(writer, SNAPSHOT_PORT_SIZE);
		header->port_count++;
	}
	for (unsigned i = 0; i < policy->qube_count && i < QUBES_MAX; i++) {
		if (writer->place[i] == QUBE_NONE)
			continue;
		snapshot_qube_write(writer_room(writer, SNAPSHOT_QUBE_SIZE), policy->qubes[i].name);
		writer_took(writer, SNAPSHOT_QUBE_SIZE);
	}
}

/* Flows that end with us: refused ones, those whose time is over, and of qubes that are gone. */
static bool
flow_outlives(const struct writer *writer, const struct flow *flow)
{
	/* Who was taken up at the start is as old as the first policy. */
	uint32_t generation = RTE_MAX(flow->generation, 1u);

	return (flow->flags & (FLOW_REFUSED | FLOW_PERMISSION)) == 0 &&
	       time_after_ms(flow->deadline_ms, writer->now_ms) &&
	       qube_place(writer, flow->qube) != QUBE_NONE &&
	       port_place(writer, flow->way[DIRECTION_ORIGINAL].port) != PORT_NONE &&
	       port_place(writer, flow->way[DIRECTION_REPLY].port) != PORT_NONE &&
	       generation >= writer->policy->qubes[flow->qube].since;
}

static void
write_flow(void *context, struct flow *flow)
{
	struct writer *writer = context;
	struct snapshot_flow record;

	if (!flow_outlives(writer, flow))
		return;
	record = (struct snapshot_flow){
		.protocol = flow->protocol,
		.state = flow->state,
		.flags = flow->flags & SNAPSHOT_FLAGS,
		.remaining_ms = flow->deadline_ms - writer->now_ms,
		.port = {port_place(writer, flow->way[DIRECTION_ORIGINAL].port),
			port_place(writer, flow->way[DIRECTION_REPLY].port)},
		.qube = writer->place[flow->qube],
		.rule = flow->rule,
	};
	flow_tuple(flow, DIRECTION_ORIGINAL, &record.tuple[DIRECTION_ORIGINAL]);
	flow_tuple(flow, DIRECTION_REPLY, &record.tuple[DIRECTION_REPLY]);
	record.family = record.tuple[DIRECTION_ORIGINAL].family;
	if (flow->protocol == IPPROTO_TCP) {
		record.syn_end = flow->syn_end;
		record.syn_scale = flow->reply6 >> 4;
		memcpy(record.tcp, flow->tcp, sizeof(record.tcp));
	}
	if (!snapshot_flow_write(
		    writer_room(writer, SNAPSHOT_FLOW_SIZE), &record, &writer->header)) {
		writer->left_out++;
		return;
	}
	writer_took(writer, SNAPSHOT_FLOW_SIZE);
	writer->header.flow_count++;
}

static void
write_header(struct writer *writer)
{
	uint8_t bytes[SNAPSHOT_HEADER_SIZE];

	writer->header.length = writer->offset;
	writer->header.checksum = 0;
	snapshot_header_write(bytes, &writer->header);
	writer->header.checksum = snapshot_checksum(writer->checksum, bytes, sizeof(bytes));
	snapshot_header_write(bytes, &writer->header);
	if (writer->error == 0)
		writer->error = write_all(writer->fd, bytes, sizeof(bytes), 0);
}

static int
write_file(struct writer *writer, struct dataplane *dataplane)
{
	writer->buffer = malloc(BUFFER_SIZE);
	if (writer->buffer == NULL)
		return -ENOMEM;
	writer->offset = SNAPSHOT_HEADER_SIZE;
	write_names(writer, dataplane);
	for (unsigned i = 0; i < dataplane->worker_count; i++)
		flow_walk(dataplane->workers[i]->flows, write_flow, writer);
	writer_flush(writer);
	write_header(writer);
	free(writer->buffer);
	if (writer->error == 0 && fsync(writer->fd) != 0)
		writer->error = -errno;
	return writer->error;
}

int
snapshot_write(
	struct dataplane *dataplane, uint32_t now_ms, const char *path, const struct report *report)
{
	struct writer *writer = calloc(1, sizeof(*writer));
	char *new_path = path_with(path, temporary);
	int error = -ENOMEM;

	if (writer != NULL && new_path != NULL) {
		writer->policy = atomic_load(&dataplane->policy);
		writer->now_ms = now_ms;
		writer->header.written = clock_now();
		/* One name for all of them: what a crash leaves is overwritten, not collected. */
		unlink(new_path);
		writer->fd =
			open(new_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		error = writer->fd < 0 ? -errno : write_file(writer, dataplane);
		if (writer->fd >= 0 && close(writer->fd) != 0 && error == 0)
			error = -errno;
		if (error == 0 && rename(new_path, path) != 0)
			error = -errno;
		if (error != 0)
			unlink(new_path);
	}
	if (error != 0)
		report_line(report,
			"snapshot: %s cannot be written: %s; connections will not survive this "
			"restart",
			path, strerror(-error));
	else if (directory_sync(path) != 0) /* it is there, unless the power fails now */
		report_line(report, "snapshot: %s: its directory cannot be written to disk", path);
	if (error == 0 && writer->left_out > 0)
		report_line(report, "snapshot: %" PRIu64 " flows were left out: they are damaged",
			writer->left_out);
	if (error == 0)
		report_line(report, "snapshot: %u flows written", writer->header.flow_count);
	free(new_path);
	free(writer);
	return error;
}

/* Reading. */

struct reader {
	int fd;
	uint8_t *buffer;
	size_t used, at;
	uint64_t offset; /* in the file, of what comes behind the buffer */
	uint64_t checksum;
	struct snapshot_header header;
	struct snapshot_names names;
};

/* Fill the buffer as far as the file goes. @return what went wrong, as errno knows it, or 0 */
static int
reader_fill(struct reader *reader)
{
	size_t left = reader->used - reader->at;

	memmove(reader->buffer, reader->buffer + reader->at, left);
	reader->at = 0;
	reader->used = left;
	while (reader->used < BUFFER_SIZE) {
		ssize_t count = pread(reader->fd, reader->buffer + reader->used,
			BUFFER_SIZE - reader->used, (off_t)reader->offset);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return errno;
		if (count == 0)
			break;
		reader->checksum = snapshot_checksum(
			reader->checksum, reader->buffer + reader->used, (size_t)count);
		reader->used += (size_t)count;
		reader->offset += (uint64_t)count;
	}
	return 0;
}

/* The next @p size bytes; NULL, and why, when there are none. */
static const uint8_t *
reader_next(struct reader *reader, size_t size, const char **wrong)
{
	const uint8_t *bytes;

	if (reader->used - reader->at < size) {
		int error = reader_fill(reader);

		if (error != 0 || reader->used < size) {
			*wrong = error != 0 ? strerror(error) : "it ends too early";
			return NULL;
		}
	}
	bytes = reader->buffer + reader->at;
	reader->at += size;
	return bytes;
}

static void
reader_seek(struct reader *reader, uint64_t offset)
{
	reader->offset = offset;
	reader->used = reader->at = 0;
	reader->checksum = 0;
}

static const char *
read_header(struct reader *reader)
{
	const char *wrong = NULL;
	const uint8_t *bytes;
	struct stat status;

	if (fstat(reader->fd, &status) != 0)
		return strerror(errno);
	if (!S_ISREG(status.st_mode))
		return "it is no regular file";
	if (status.st_uid != geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return "others than us may have written it";
	reader_seek(reader, 0);
	bytes = reader_next(reader, SNAPSHOT_HEADER_SIZE, &wrong);
	if (bytes == NULL)
		return wrong;
	return snapshot_header_read(bytes, (uint64_t)status.st_size, &reader->header);
}

static const char *
read_names(struct reader *reader)
{
	const char *wrong = NULL;
	const uint8_t *bytes;

	for (unsigned i = 0; wrong == NULL && i < reader->header.port_count; i++) {
		bytes = reader_next(reader, SNAPSHOT_PORT_SIZE, &wrong);
		if (bytes != NULL)
			wrong = snapshot_port_read(bytes, &reader->header, &reader->names.ports[i]);
	}
	for (unsigned i = 0; wrong == NULL && i < reader->header.qube_count; i++) {
		bytes = reader_next(reader, SNAPSHOT_QUBE_SIZE, &wrong);
		if (bytes != NULL)
			wrong = snapshot_qube_read(bytes, reader->names.qubes[i]);
	}
	return wrong;
}

/* Before anything is looked at, so that damage is called damage and not what it looks like. */
static const char *
read_checksum(struct reader *reader)
{
	uint8_t header[SNAPSHOT_HEADER_SIZE];
	int error;

	memcpy(header, reader->buffer, sizeof(header));
	memset(header + SNAPSHOT_CHECKSUM_OFFSET, 0, sizeof(reader->header.checksum));
	reader_seek(reader, SNAPSHOT_HEADER_SIZE);
	do {
		reader->at = reader->used;
		error = reader_fill(reader);
	} while (error == 0 && reader->used > 0);
	if (error != 0)
		return strerror(error);
	return snapshot_checksum(reader->checksum, header, sizeof(header)) ==
			       reader->header.checksum
		       ? NULL
		       : "its checksum is wrong";
}

/* Go through the whole file, keep its names. @return what is wrong with it, or NULL */
static const char *
read_check(struct reader *reader)
{
	const char *wrong = read_header(reader);
	struct snapshot_flow flow;

	if (wrong == NULL)
		wrong = read_checksum(reader);
	if (wrong != NULL)
		return wrong;
	reader_seek(reader, SNAPSHOT_HEADER_SIZE);
	wrong = read_names(reader);
	for (uint32_t i = 0; wrong == NULL && i < reader->header.flow_count; i++) {
		const uint8_t *bytes = reader_next(reader, SNAPSHOT_FLOW_SIZE, &wrong);

		if (bytes != NULL)
			wrong = snapshot_flow_read(bytes, &reader->header, &flow);
	}
	return wrong;
}

/* Everything is checked and the file has no name any more. */
static void
take_flows(struct dataplane *dataplane, struct reader *reader, uint32_t now_ms,
	const struct report *report)
{
	uint64_t passed_ms = clock_passed_ms(&reader->header.written);
	uint32_t taken = 0, invalid = 0, late = 0;

	snapshot_take_names(&reader->names, &reader->header, dataplane, now_ms);
	reader_seek(reader, SNAPSHOT_HEADER_SIZE +
				    (uint64_t)reader->header.port_count * SNAPSHOT_PORT_SIZE +
				    (uint64_t)reader->header.qube_count * SNAPSHOT_QUBE_SIZE);
	for (uint32_t i = 0; i < reader->header.flow_count; i++) {
		const char *wrong = NULL;
		const uint8_t *bytes = reader_next(reader, SNAPSHOT_FLOW_SIZE, &wrong);
		struct snapshot_flow record = {.remaining_ms = 0};
		bool valid = bytes != NULL &&
			     snapshot_flow_read(bytes, &reader->header, &record) == NULL;

		if (valid && record.remaining_ms <= passed_ms)
			late++;
		else if (valid && snapshot_take_flow(dataplane, &reader->names, &record,
					  record.remaining_ms - (uint32_t)passed_ms))
			taken++;
		else
			invalid++;
	}
	report_line(report, "snapshot: %u flows taken up, %u no longer valid, %u out of time",
		taken, invalid, late);
}

/* Put a file that cannot be used where nobody takes it for one that can. */
static int
set_aside(const char *path, const char *wrong, const struct report *report)
{
	char *aside = path_with(path, damaged);

	if (aside != NULL && rename(path, aside) == 0)
		report_line(report,
			"snapshot: %s is not used: %s; it is now %s, and no connection survives "
			"this restart",
			path, wrong, aside);
	else
		report_line(report,
			"snapshot: %s is not used: %s; it cannot be renamed (%s): please remove it",
			path, wrong, strerror(errno));
	free(aside);
	return -EBADMSG;
}

static int
read_file(struct reader *reader, struct dataplane *dataplane, uint32_t now_ms, const char *path,
	const struct report *report)
{
	const char *wrong = reader->buffer == NULL ? strerror(ENOMEM) : read_check(reader);
	int error;

	if (wrong != NULL)
		return set_aside(path, wrong, report);
	if (unlink(path) != 0) {
		error = -errno;
		report_line(report,
			"snapshot: %s is not used, since it cannot be removed: %s; no connection "
			"survives this restart",
			path, strerror(-error));
		return error;
	}
	/* Should the power fail before that lasts, the file tells its age. */
	(void)directory_sync(path);
	take_flows(dataplane, reader, now_ms, report);
	return 0;
}

int
snapshot_read(
	struct dataplane *dataplane, uint32_t now_ms, const char *path, const struct report *report)
{
	/* Not waiting for whoever writes, should it be a pipe. */
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct reader *reader;
	int error;

	if (fd < 0) {
		error = -errno;
		if (error == -ENOENT)
			return error;
		return set_aside(path, strerror(-error), report);
	}
	reader = calloc(1, sizeof(*reader));
	if (reader == NULL) {
		close(fd);
		return set_aside(path, strerror(ENOMEM), report);
	}
	reader->fd = fd;
	reader->buffer = malloc(BUFFER_SIZE);
	error = read_file(reader, dataplane, now_ms, path, report);
	free(reader->buffer);
	free(reader);
	close(fd);
	return error;
}
