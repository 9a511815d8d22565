/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captures in and out, by libpcap.
 *
 * libpcap reads pcap and pcapng, of either byte order, and checks them well; what it does not say
 * is where a damaged file is damaged. We count the frames and ask the file for its position before
 * each one, so that an error names both. Timestamps are asked for in nanoseconds whatever the file
 * has, so that nothing is lost.
 *
 * A replay looks at its inputs twice (first to learn which station the port is, see station.c).
 * What cannot be read twice, a pipe, is copied into an unnamed temporary file first.
 *
 * Nothing in a file is trusted: times are clamped to what a pcap can hold, and the length of a
 * frame is bounded by libpcap (262,144 bytes).
 */
#include "app/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND_NS UINT64_C(1000000000)

/* What tcpdump and Wireshark write, and the most libpcap reads. */
#define SNAPLEN 262144

struct capture {
	char *path; /* for messages */
	int descriptor;
	pcap_t *pcap;
	uint64_t frames; /* read so far */
	bool damaged;
};

/* Copy what cannot be rewound into a file that can. */
static int
descriptor_spool(int descriptor)
{
	FILE *spool = tmpfile();
	char *buffer = malloc(1 << 16);
	ssize_t got = -1;
	int copy = -1;

	if (spool == NULL || buffer == NULL)
		goto end;
	while ((got = read(descriptor, buffer, 1 << 16)) > 0)
		if (fwrite(buffer, 1, (size_t)got, spool) != (size_t)got)
			goto end;
	if (got == 0 && fflush(spool) == 0)
		copy = dup(fileno(spool));
end:
	free(buffer);
	if (spool != NULL)
		fclose(spool);
	return copy;
}

int
capture_rewind(struct capture *capture, const struct report *report)
{
	char error[PCAP_ERRBUF_SIZE] = "";
	FILE *file;
	int type, copy;

	if (capture->pcap != NULL)
		pcap_close(capture->pcap);
	capture->pcap = NULL;
	capture->frames = 0;
	capture->damaged = false;

	/* libpcap closes its file; ours stays open for the next time. */
	copy = dup(capture->descriptor);
	file = copy < 0 || lseek(copy, 0, SEEK_SET) < 0 ? NULL : fdopen(copy, "rb");
	if (file == NULL) {
		int status = -errno;

		if (copy >= 0)
			close(copy);
		report_line(report, "%s: %s", capture->path, strerror(-status));
		return status;
	}
	capture->pcap =
		pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO, error);
	if (capture->pcap == NULL) {
		fclose(file);
		report_line(report, "%s: not a pcap or pcapng file: %s", capture->path, error);
		return -EINVAL;
	}
	type = pcap_datalink(capture->pcap);
	if (type != DLT_EN10MB) {
		const char *name = pcap_datalink_val_to_name(type);
		const char *what = pcap_datalink_val_to_description(type);

		report_line(report, "%s: link type %s (%s): only Ethernet frames can be replayed",
			capture->path, name != NULL ? name : "unknown",
			what != NULL ? what : "no name known");
		return -EINVAL;
	}
	return 0;
}

int
capture_open(const char *path, const struct report *report, struct capture **out)
{
	struct capture *capture = calloc(1, sizeof(*capture));
	struct stat status;
	int result = -ENOMEM;

	if (capture == NULL)
		return -ENOMEM;
	capture->descriptor = -1;
	capture->path = strdup(path);
	if (capture->path == NULL)
		goto fail;
	capture->descriptor = open(path, O_RDONLY | O_CLOEXEC);
	if (capture->descriptor < 0 || fstat(capture->descriptor, &status) < 0) {
		result = -errno;
		report_line(report, "%s: %s", path, strerror(-result));
		goto fail;
	}
	if (!S_ISREG(status.st_mode)) {
		int spool = S_ISDIR(status.st_mode) ? (errno = EISDIR, -1)
						    : descriptor_spool(capture->descriptor);

		if (spool < 0) {
			result = -errno;
			report_line(report, "%s: %s", path, strerror(-result));
			goto fail;
		}
		close(capture->descriptor);
		capture->descriptor = spool;
	}
	result = capture_rewind(capture, report);
	if (result < 0)
		goto fail;
	*out = capture;
	return 0;

fail:
	capture_close(capture);
	return result;
}

void
capture_close(struct capture *capture)
{
	if (capture == NULL)
		return;
	if (capture->pcap != NULL)
		pcap_close(capture->pcap);
	if (capture->descriptor >= 0)
		close(capture->descriptor);
	free(capture->path);
	free(capture);
}

const char *
capture_path(const struct capture *capture)
{
	return capture->path;
}

/* Nanoseconds since the epoch, within what the 32-bit seconds of a pcap file can say. */
static uint64_t
time_clamp(const struct timeval *time)
{
	/* asked for nanoseconds, libpcap puts them where the microseconds were */
	int64_t part = time->tv_usec < 0 ? 0 : time->tv_usec;
	int64_t seconds = time->tv_sec;

	/* libpcap takes the unsigned seconds of a pcap file, good until 2106, for signed ones */
	if (seconds < 0 && seconds >= INT32_MIN)
		seconds = (uint32_t)seconds;
	if (seconds < 0)
		return 0;
	if (__builtin_add_overflow(seconds, part / (int64_t)SECOND_NS, &seconds) ||
		seconds > (int64_t)UINT32_MAX)
		return UINT32_MAX * SECOND_NS + (SECOND_NS - 1);
	return (uint64_t)seconds * SECOND_NS + (uint64_t)part % SECOND_NS;
}

int
capture_next(struct capture *capture, const struct report *report, struct capture_frame *frame)
{
	struct pcap_pkthdr *header;
	const unsigned char *data;
	off_t offset;
	int status;

	if (capture->damaged)
		return -EINVAL;
	offset = ftello(pcap_file(capture->pcap));
	status = pcap_next_ex(capture->pcap, &header, &data);
	if (status == PCAP_ERROR_BREAK)
		return 0;
	if (status != 1) {
		capture->damaged = true;
		report_line(report, "%s: packet %" PRIu64 ", byte offset %jd: %s", capture->path,
			capture->frames + 1, (intmax_t)offset, pcap_geterr(capture->pcap));
		return -EINVAL;
	}
	capture->frames++;
	*frame = (struct capture_frame){
		.time_ns = time_clamp(&header->ts),
		.data = data,
		.length = header->caplen,
		.wire_length = header->len,
		.number = capture->frames,
	};
	return 1;
}

struct capture_merge {
	unsigned count;
	bool damaged;
	struct merge_input {
		struct capture *capture;
		struct capture_frame head;
		enum { HEAD_WANTED, HEAD_READ, HEAD_NONE } state;
	} input[];
};

struct capture_merge *
capture_merge_create(struct capture *const *inputs, unsigned count)
{
	struct capture_merge *merge = calloc(1, sizeof(*merge) + count * sizeof(merge->input[0]));

	if (merge == NULL)
		return NULL;
	merge->count = count;
	for (unsigned i = 0; i < count; i++) {
		merge->input[i].capture = inputs[i];
		merge->input[i].state = HEAD_WANTED;
	}
	return merge;
}

int
capture_merge_next(
	struct capture_merge *merge, const struct report *report, struct capture_frame *frame)
{
	struct merge_input *first = NULL;

	if (merge->damaged)
		return -EINVAL;
	for (unsigned i = 0; i < merge->count; i++) {
		struct merge_input *input = &merge->input[i];

		/* Only now: reading on invalidates the frame that was handed out before. */
		if (input->state == HEAD_WANTED) {
			int status = capture_next(input->capture, report, &input->head);

			if (status < 0) {
				merge->damaged = true;
				return status;
			}
			input->head.input = i;
			input->state = status == 0 ? HEAD_NONE : HEAD_READ;
		}
		if (input->state == HEAD_READ &&
			(first == NULL || input->head.time_ns < first->head.time_ns))
			first = input;
	}
	if (first == NULL)
		return 0;
	first->state = HEAD_WANTED;
	*frame = first->head;
	return 1;
}

void
capture_merge_free(struct capture_merge *merge)
{
	free(merge);
}

struct capture_writer {
	char *path;
	bool nanoseconds;
	pcap_t *pcap;
	pcap_dumper_t *dumper;
};

static void
writer_free(struct capture_writer *writer)
{
	if (writer->dumper != NULL)
		pcap_dump_close(writer->dumper);
	if (writer->pcap != NULL)
		pcap_close(writer->pcap);
	free(writer->path);
	free(writer);
}

int
capture_create(const char *path, bool nanoseconds, const struct report *report,
	struct capture_writer **out)
{
	struct capture_writer *writer = calloc(1, sizeof(*writer));
	FILE *file;

	if (writer == NULL)
		return -ENOMEM;
	writer->nanoseconds = nanoseconds;
	writer->path = strdup(path);
	writer->pcap = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, SNAPLEN,
		nanoseconds ? PCAP_TSTAMP_PRECISION_NANO : PCAP_TSTAMP_PRECISION_MICRO);
	if (writer->path == NULL || writer->pcap == NULL) {
		writer_free(writer);
		return -ENOMEM;
	}
	file = fopen(path, "wbe");
	if (file == NULL) {
		int status = -errno;

		report_line(report, "%s: %s", path, strerror(-status));
		writer_free(writer);
		return status;
	}
	writer->dumper = pcap_dump_fopen(writer->pcap, file);
	if (writer->dumper == NULL) {
		report_line(report, "%s: %s", path, pcap_geterr(writer->pcap));
		fclose(file);
		writer_free(writer);
		return -EIO;
	}
	*out = writer;
	return 0;
}

void
capture_write(struct capture_writer *writer, uint64_t time_ns, const void *data, uint32_t length)
{
	struct pcap_pkthdr header = {
		.ts.tv_sec = (time_t)(time_ns / SECOND_NS),
		.ts.tv_usec = (suseconds_t)(time_ns % SECOND_NS),
		.caplen = length,
		.len = length,
	};

	if (!writer->nanoseconds)
		header.ts.tv_usec /= 1000;
	pcap_dump((unsigned char *)writer->dumper, &header, data);
}

int
capture_finish(struct capture_writer *writer, const struct report *report)
{
	FILE *file = pcap_dump_file(writer->dumper);
	int status = 0;

	errno = EIO; /* in case that an earlier write failed, of which only the mark is left */
	if (fflush(file) != 0 || ferror(file)) {
		status = -errno;
		report_line(report, "%s: %s", writer->path, strerror(-status));
	}
	writer_free(writer);
	return status;
}
