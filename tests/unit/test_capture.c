/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captures, read and written. Input files are built byte by byte in memory, so that every byte
 * order, resolution and kind of damage can be had; no file of the machine is touched.
 */
#include "app/capture.h"

#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#define LINKTYPE_ETHERNET 1
#define LINKTYPE_LINUX_SLL 113

/* The last reported line, and how many there were. */
static char reported[512];
static unsigned reports;

static void
remember(void *context, const char *line)
{
	(void)context;
	snprintf(reported, sizeof(reported), "%s", line);
	reports++;
}

static const struct report report = {.line = remember};

/* A file being built. */
struct bytes {
	uint8_t data[4096];
	size_t length;
	bool big; /* byte order */
};

static void
put(struct bytes *bytes, const void *data, size_t length)
{
	if (bytes->length + length > sizeof(bytes->data))
		abort();
	memcpy(bytes->data + bytes->length, data, length);
	bytes->length += length;
}

static void
put_word(struct bytes *bytes, uint32_t word)
{
	word = bytes->big ? htobe32(word) : htole32(word);
	put(bytes, &word, sizeof(word));
}

static void
put_half(struct bytes *bytes, uint16_t half)
{
	half = bytes->big ? htobe16(half) : htole16(half);
	put(bytes, &half, sizeof(half));
}

static void
pcap_header(struct bytes *bytes, uint32_t magic, uint32_t link_type)
{
	put_word(bytes, magic);
	put_half(bytes, 2);
	put_half(bytes, 4);
	put_word(bytes, 0);
	put_word(bytes, 0);
	put_word(bytes, 65535);
	put_word(bytes, link_type);
}

static void
pcap_frame(struct bytes *bytes, uint32_t seconds, uint32_t part, const char *text)
{
	put_word(bytes, seconds);
	put_word(bytes, part);
	put_word(bytes, (uint32_t)strlen(text));
	put_word(bytes, (uint32_t)strlen(text) + 10);
	put(bytes, text, strlen(text));
}

/* Section header and one interface; a resolution of zero leaves the option out. */
static void
pcapng_header(struct bytes *bytes, uint8_t resolution, uint16_t link_type)
{
	uint8_t option[4] = {resolution};
	uint32_t length = resolution == 0 ? 20 : 32;

	put_word(bytes, 0x0a0d0d0a);
	put_word(bytes, 28);
	put_word(bytes, 0x1a2b3c4d);
	put_half(bytes, 1);
	put_half(bytes, 0);
	put_word(bytes, UINT32_MAX);
	put_word(bytes, UINT32_MAX);
	put_word(bytes, 28);

	put_word(bytes, 1);
	put_word(bytes, length);
	put_half(bytes, link_type);
	put_half(bytes, 0);
	put_word(bytes, 0);
	if (resolution != 0) {
		put_half(bytes, 9); /* if_tsresol */
		put_half(bytes, 1);
		put(bytes, option, 4);
		put_word(bytes, 0);
	}
	put_word(bytes, length);
}

static void
pcapng_frame(struct bytes *bytes, uint64_t time, const char *text)
{
	uint32_t length = (uint32_t)strlen(text);
	uint32_t padding = -length & 3;

	put_word(bytes, 6);
	put_word(bytes, 32 + length + padding);
	put_word(bytes, 0);
	put_word(bytes, (uint32_t)(time >> 32));
	put_word(bytes, (uint32_t)time);
	put_word(bytes, length);
	put_word(bytes, length);
	put(bytes, text, length);
	put(bytes, "\0\0\0", padding);
	put_word(bytes, 32 + length + padding);
}

/* A path under which the bytes can be opened; close the descriptor when done. */
static int
bytes_file(const struct bytes *bytes, char path[64])
{
	int descriptor = memfd_create("capture", MFD_CLOEXEC);

	if (descriptor < 0 ||
		write(descriptor, bytes->data, bytes->length) != (ssize_t)bytes->length)
		abort();
	snprintf(path, 64, "/proc/self/fd/%d", descriptor);
	return descriptor;
}

/* Open the bytes; NULL when that fails. */
static struct capture *
bytes_open(const struct bytes *bytes)
{
	struct capture *capture = NULL;
	char path[64];
	int descriptor = bytes_file(bytes, path);
	int status = capture_open(path, &report, &capture);

	close(descriptor);
	return status == 0 ? capture : NULL;
}

static bool
frame_is(const struct capture_frame *frame, uint64_t time_ns, const char *text)
{
	return frame->time_ns == time_ns && frame->length == strlen(text) &&
	       memcmp(frame->data, text, frame->length) == 0;
}

/* Both byte orders, both resolutions. */
static void
test_pcap(void)
{
	for (unsigned variant = 0; variant < 4; variant++) {
		struct bytes bytes = {.big = variant & 1};
		bool nanoseconds = variant & 2;
		uint64_t unit = nanoseconds ? 1 : 1000;
		struct capture_frame frame;
		struct capture *capture;

		pcap_header(&bytes, nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4, LINKTYPE_ETHERNET);
		pcap_frame(&bytes, 1700000000, 999999, "first");
		pcap_frame(&bytes, 1700000001, 0, "");
		pcap_frame(&bytes, 3000000000, 7, "after 2038");
		capture = bytes_open(&bytes);
		CU_ASSERT_PTR_NOT_NULL_FATAL(capture);
		for (unsigned pass = 0; pass < 2; pass++) {
			CU_ASSERT(capture_next(capture, &report, &frame) == 1);
			CU_ASSERT(frame_is(
				&frame, UINT64_C(1700000000000000000) + 999999 * unit, "first"));
			CU_ASSERT(frame.wire_length == 15);
			CU_ASSERT(frame.number == 1);
			CU_ASSERT(capture_next(capture, &report, &frame) == 1);
			CU_ASSERT(frame_is(&frame, UINT64_C(1700000001000000000), ""));
			CU_ASSERT(capture_next(capture, &report, &frame) == 1);
			CU_ASSERT(frame.number == 3);
			CU_ASSERT(frame_is(
				&frame, UINT64_C(3000000000000000000) + 7 * unit, "after 2038"));
			CU_ASSERT(capture_next(capture, &report, &frame) == 0);
			CU_ASSERT(capture_next(capture, &report, &frame) == 0);
			CU_ASSERT(capture_rewind(capture, &report) == 0);
		}
		capture_close(capture);
	}
}

static void
test_pcapng(void)
{
	for (unsigned variant = 0; variant < 4; variant++) {
		struct bytes bytes = {.big = variant & 1};
		bool nanoseconds = variant & 2;
		uint64_t unit = nanoseconds ? 1 : 1000;
		struct capture_frame frame;
		struct capture *capture;

		pcapng_header(&bytes, nanoseconds ? 9 : 0, LINKTYPE_ETHERNET);
		pcapng_frame(&bytes, UINT64_C(1700000000000000123) / unit, "first");
		pcapng_frame(&bytes, UINT64_C(18446744073709551615), "end of time");
		capture = bytes_open(&bytes);
		CU_ASSERT_PTR_NOT_NULL_FATAL(capture);
		CU_ASSERT(capture_next(capture, &report, &frame) == 1);
		CU_ASSERT(frame_is(&frame, UINT64_C(1700000000000000123) / unit * unit, "first"));
		CU_ASSERT(capture_next(capture, &report, &frame) == 1);
		CU_ASSERT(frame_is(&frame, UINT64_C(4294967295999999999), "end of time"));
		CU_ASSERT(capture_next(capture, &report, &frame) == 0);
		capture_close(capture);
	}
}

/* A pipe cannot be read twice by itself. */
static void
test_pipe(void)
{
	struct bytes bytes = {0};
	struct capture_frame frame;
	struct capture *capture = NULL;
	char path[64];
	int ends[2];

	pcap_header(&bytes, 0xa1b2c3d4, LINKTYPE_ETHERNET);
	pcap_frame(&bytes, 1, 0, "through a pipe");
	CU_ASSERT_FATAL(pipe2(ends, O_CLOEXEC) == 0);
	CU_ASSERT(write(ends[1], bytes.data, bytes.length) == (ssize_t)bytes.length);
	close(ends[1]);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
	CU_ASSERT_FATAL(capture_open(path, &report, &capture) == 0);
	for (unsigned pass = 0; pass < 2; pass++) {
		CU_ASSERT(capture_next(capture, &report, &frame) == 1);
		CU_ASSERT(frame_is(&frame, UINT64_C(1000000000), "through a pipe"));
		CU_ASSERT(capture_next(capture, &report, &frame) == 0);
		CU_ASSERT(capture_rewind(capture, &report) == 0);
	}
	capture_close(capture);
	close(ends[0]);
}

/* Whatever cannot be replayed is refused with the reason. */
static void
test_refused(void)
{
	struct bytes bytes = {0};
	struct capture *capture;

	reports = 0;
	CU_ASSERT(capture_open("/nonexistent/file.pcap", &report, &capture) == -ENOENT);
	CU_ASSERT_STRING_EQUAL(reported, "/nonexistent/file.pcap: No such file or directory");
	CU_ASSERT(capture_open("/", &report, &capture) == -EISDIR);
	CU_ASSERT_STRING_EQUAL(reported, "/: Is a directory");

	CU_ASSERT_PTR_NULL(bytes_open(&bytes));
	CU_ASSERT_PTR_NOT_NULL(strstr(reported, "not a pcap or pcapng file: "));
	put(&bytes, "this is a text, not a capture", 29);
	CU_ASSERT_PTR_NULL(bytes_open(&bytes));
	CU_ASSERT_PTR_NOT_NULL(strstr(reported, "not a pcap or pcapng file: "));

	bytes.length = 0;
	pcap_header(&bytes, 0xa1b2c3d4, LINKTYPE_LINUX_SLL);
	CU_ASSERT_PTR_NULL(bytes_open(&bytes));
	CU_ASSERT_PTR_NOT_NULL(strstr(reported,
		"link type LINUX_SLL (Linux cooked v1): only Ethernet frames can be replayed"));
	bytes.length = 0;
	pcapng_header(&bytes, 0, LINKTYPE_LINUX_SLL);
	CU_ASSERT_PTR_NULL(bytes_open(&bytes));
	CU_ASSERT_PTR_NOT_NULL(strstr(reported, "link type LINUX_SLL"));
	CU_ASSERT(reports == 6);
}

/* Read everything. @return how many frames there were before the end or, negative, the damage */
static int
drain(const struct bytes *bytes, bool *damaged)
{
	struct capture *capture = bytes_open(bytes);
	struct capture_frame frame;
	uint32_t sum = 0;
	int count = 0;
	int status;

	*damaged = capture == NULL;
	if (capture == NULL)
		return 0;
	while ((status = capture_next(capture, &report, &frame)) == 1) {
		/* touch all of it: a sanitizer sees what is not there */
		for (uint32_t i = 0; i < frame.length; i++)
			sum += frame.data[i];
		CU_ASSERT(frame.number == (uint64_t)++count);
		CU_ASSERT(frame.time_ns <= UINT64_C(4294967295999999999));
	}
	*damaged = status < 0;
	/* the end and damage stay what they are */
	CU_ASSERT(capture_next(capture, &report, &frame) == status);
	capture_close(capture);
	(void)sum;
	return count;
}

/* A file cut off at any byte: whole frames are read, the cut is named. */
static void
test_truncated(void)
{
	struct bytes whole = {0};
	size_t ends[4];
	bool damaged;

	pcap_header(&whole, 0xa1b2c3d4, LINKTYPE_ETHERNET);
	ends[0] = whole.length;
	for (unsigned i = 1; i < 4; i++) {
		pcap_frame(&whole, i, 0, "some bytes");
		ends[i] = whole.length;
	}
	for (size_t length = 0; length <= ends[3]; length++) {
		struct bytes cut = whole;
		char expected[64];
		int frames = 0;

		cut.length = length;
		reports = 0;
		while (frames < 3 && ends[frames + 1] <= length)
			frames++;
		CU_ASSERT(drain(&cut, &damaged) == frames);
		if (length < ends[0] || length != ends[frames]) {
			CU_ASSERT(damaged);
			CU_ASSERT(reports == 1);
		} else {
			CU_ASSERT(!damaged);
		}
		if (length > ends[0] && damaged) {
			snprintf(expected, sizeof(expected), ": packet %d, byte offset %zu: trunc",
				frames + 1, ends[frames]);
			CU_ASSERT_PTR_NOT_NULL(strstr(reported, expected));
		}
	}
}

/* Bytes changed at random, a bounded number of times: no crash, every frame within its bounds. */
static void
test_fuzz(void)
{
	struct bytes whole[3] = {};
	uint64_t random = 1;
	unsigned opened = 0, refused = 0;

	whole[1].big = true;
	pcap_header(&whole[0], 0xa1b2c3d4, LINKTYPE_ETHERNET);
	pcapng_header(&whole[1], 6, LINKTYPE_ETHERNET);
	pcapng_header(&whole[2], 9, LINKTYPE_ETHERNET);
	for (unsigned i = 0; i < 8; i++) {
		pcap_frame(&whole[0], i, 0, "some bytes");
		pcapng_frame(&whole[1], i, "some bytes");
		pcapng_frame(&whole[2], i, "some bytes");
	}
	for (unsigned round = 0; round < 6000; round++) {
		struct bytes bytes = whole[round % 3];
		bool damaged;

		for (unsigned change = 0; change < 1 + round % 4; change++) {
			random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
			bytes.data[(random >> 33) % bytes.length] = (uint8_t)(random >> 25);
		}
		if (round % 7 == 0)
			bytes.length = (size_t)(random >> 40) % bytes.length;
		drain(&bytes, &damaged);
		opened += !damaged;
		refused += damaged;
	}
	/* the loop has met both, or it tests nothing */
	CU_ASSERT(opened > 100);
	CU_ASSERT(refused > 100);
}

static void
test_merge(void)
{
	/* of one time, the input named first; an input whose clock went back keeps its order */
	static const char *const order[] = {"a1", "a2", "b1", "b2", "b3", "c1", "a3", "a4"};
	static const unsigned input[] = {0, 0, 1, 1, 1, 2, 0, 0};
	struct bytes bytes[4] = {};
	struct capture *inputs[4];
	struct capture_merge *merge;
	struct capture_frame frame;
	unsigned count = 0;

	for (unsigned i = 0; i < 4; i++)
		pcap_header(&bytes[i], 0xa1b2c3d4, LINKTYPE_ETHERNET);
	pcap_frame(&bytes[0], 0, 1, "a1");
	pcap_frame(&bytes[0], 0, 2, "a2");
	pcap_frame(&bytes[0], 0, 5, "a3");
	pcap_frame(&bytes[0], 0, 3, "a4");
	pcap_frame(&bytes[1], 0, 2, "b1");
	pcap_frame(&bytes[1], 0, 4, "b2");
	pcap_frame(&bytes[1], 0, 4, "b3");
	pcap_frame(&bytes[2], 0, 4, "c1");
	/* the fourth is empty */
	for (unsigned i = 0; i < 4; i++) {
		inputs[i] = bytes_open(&bytes[i]);
		CU_ASSERT_PTR_NOT_NULL_FATAL(inputs[i]);
	}
	merge = capture_merge_create(inputs, 4);
	CU_ASSERT_PTR_NOT_NULL_FATAL(merge);
	while (capture_merge_next(merge, &report, &frame) == 1) {
		CU_ASSERT_FATAL(count < 8);
		CU_ASSERT(frame.length == 2 && memcmp(frame.data, order[count], 2) == 0);
		CU_ASSERT(frame.input == input[count]);
		count++;
	}
	CU_ASSERT(count == 8);
	CU_ASSERT(capture_merge_next(merge, &report, &frame) == 0);
	capture_merge_free(merge);
	for (unsigned i = 0; i < 4; i++)
		capture_close(inputs[i]);
}

/* Damage in one input ends the merge: what follows would be out of order. */
static void
test_merge_damage(void)
{
	struct bytes bytes[2] = {};
	struct capture *inputs[2];
	struct capture_merge *merge;
	struct capture_frame frame;

	for (unsigned i = 0; i < 2; i++) {
		pcap_header(&bytes[i], 0xa1b2c3d4, LINKTYPE_ETHERNET);
		pcap_frame(&bytes[i], 1 + i, 0, "whole");
		pcap_frame(&bytes[i], 3 + i, 0, "cut");
	}
	bytes[0].length--;
	for (unsigned i = 0; i < 2; i++)
		inputs[i] = bytes_open(&bytes[i]);
	CU_ASSERT_FATAL(inputs[0] != NULL && inputs[1] != NULL);
	merge = capture_merge_create(inputs, 2);
	CU_ASSERT_PTR_NOT_NULL_FATAL(merge);
	CU_ASSERT(capture_merge_next(merge, &report, &frame) == 1);
	CU_ASSERT(capture_merge_next(merge, &report, &frame) == -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(reported, ": packet 2, byte offset 45: "));
	CU_ASSERT(capture_merge_next(merge, &report, &frame) == -EINVAL);
	capture_merge_free(merge);
	for (unsigned i = 0; i < 2; i++)
		capture_close(inputs[i]);
}

static void
test_write(void)
{
	static const uint64_t time_ns = UINT64_C(1700000000123456789);

	for (unsigned nanoseconds = 0; nanoseconds < 2; nanoseconds++) {
		char directory[] = "/tmp/sluice-capture-XXXXXX";
		struct capture_writer *writer;
		struct capture *capture = NULL;
		struct capture_frame frame;
		char path[64];

		CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
		snprintf(path, sizeof(path), "%s/out.pcap", directory);
		CU_ASSERT_FATAL(capture_create(path, nanoseconds, &report, &writer) == 0);
		capture_write(writer, time_ns, "one", 3);
		capture_write(writer, time_ns + 1000, "", 0);
		CU_ASSERT(capture_finish(writer, &report) == 0);
		CU_ASSERT_FATAL(capture_open(path, &report, &capture) == 0);
		CU_ASSERT(capture_next(capture, &report, &frame) == 1);
		CU_ASSERT(frame_is(&frame, nanoseconds ? time_ns : time_ns / 1000 * 1000, "one"));
		CU_ASSERT(capture_next(capture, &report, &frame) == 1);
		CU_ASSERT(capture_next(capture, &report, &frame) == 0);
		capture_close(capture);
		unlink(path);
		rmdir(directory);
	}
}

/* A disk without room is found out about, if late. */
static void
test_write_full(void)
{
	struct capture_writer *writer;

	CU_ASSERT(capture_create("/nonexistent/out.pcap", false, &report, &writer) == -ENOENT);
	if (access("/dev/full", W_OK) != 0)
		return;
	CU_ASSERT_FATAL(capture_create("/dev/full", false, &report, &writer) == 0);
	for (unsigned i = 0; i < 1000; i++)
		capture_write(writer, 0, "some bytes", 10);
	CU_ASSERT(capture_finish(writer, &report) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(reported, "/dev/full: "));
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"pcap of either byte order and resolution", test_pcap},
		{"pcapng of either byte order and resolution", test_pcapng},
		{"a pipe", test_pipe},
		{"what is no capture of Ethernet frames is refused", test_refused},
		{"a file cut off at any byte", test_truncated},
		{"files with random damage", test_fuzz},
		{"inputs merged by time", test_merge},
		{"damage ends a merge", test_merge_damage},
		{"written and read back", test_write},
		{"a full disk", test_write_full},
	};

	return UNIT_RUN("capture", tests);
}
