/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captures: pcap and pcapng files in, merged by time; pcap files out. See capture.c.
 */
#pragma once

#include "conf/conf.h"

struct capture;

/* One frame of an input. */
struct capture_frame {
	uint64_t time_ns;     /* since the epoch, 0 .. 2^32 - 1 seconds */
	const uint8_t *data;  /* valid until the next frame of the same input is read */
	uint32_t length;      /* bytes captured */
	uint32_t wire_length; /* bytes the frame had when it was captured */
	uint64_t number;      /* in its file, from 1 */
	unsigned input;       /* capture_merge: index of the input it comes from */
};

/**
 * Open a pcap or pcapng file of Ethernet frames; pipes work too.
 * @return 0, or -errno with the reason reported: -EINVAL for what is no such file
 */
int capture_open(const char *path, const struct report *report, struct capture **out);

/**
 * Read the next frame.
 * @return 1 with @p frame filled, 0 at the end, -EINVAL at damage, which is reported with the
 *	number of the frame and its place in the file; what follows damage is never read
 */
int capture_next(struct capture *capture, const struct report *report, struct capture_frame *frame);

/** Go back to the first frame. @return 0 or -errno, reported */
int capture_rewind(struct capture *capture, const struct report *report);

void capture_close(struct capture *capture);

const char *capture_path(const struct capture *capture);

struct capture_merge;

/**
 * Merge inputs by time. Frames of one input keep their order even where its clock went backwards;
 * of frames with the same time, the input named first goes first.
 * @param inputs stay the caller's, are at their first frame and outlive the merge
 * @return NULL without memory
 */
struct capture_merge *capture_merge_create(struct capture *const *inputs, unsigned count);

/** Read the next frame of all inputs; results as of capture_next. Damage in one input ends all. */
int capture_merge_next(
	struct capture_merge *merge, const struct report *report, struct capture_frame *frame);

void capture_merge_free(struct capture_merge *merge);

struct capture_writer;

/**
 * Create a pcap file, replacing what is there.
 * @param nanoseconds whether timestamps are kept to the nanosecond or to the microsecond
 * @return 0 or -errno, reported
 */
int capture_create(const char *path, bool nanoseconds, const struct report *report,
	struct capture_writer **out);

/** Append a frame. Errors are kept for capture_finish. */
void capture_write(
	struct capture_writer *writer, uint64_t time_ns, const void *data, uint32_t length);

/** Flush and close. @return 0, or -errno when any of the file could not be written, reported */
int capture_finish(struct capture_writer *writer, const struct report *report);
