/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of pcapng.c: frames, times and lengths as libpcap reads them, everything else as it lies in
 * the blocks; packets of the control socket; base64.
 */
#include <errno.h>
#include <pcap/pcap.h>
#include <stdbool.h>
#include <string.h>

#include "app/base64.h"
#include "app/pcapng_packet.h"
#include "tests/unit/unit.h"

static char *bytes;
static size_t length;
static FILE *file;
static struct pcapng *pcapng;

static void
begin(void)
{
	bytes = NULL;
	file = open_memstream(&bytes, &length);
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	CU_ASSERT_EQUAL_FATAL(pcapng_open(file, "test", &pcapng), 0);
}

/* The file is complete in `bytes`. */
static void
end(void)
{
	pcapng_close(pcapng);
	CU_ASSERT_EQUAL(fclose(file), 0);
}

/* The file as libpcap sees it. */
static pcap_t *
reread(void)
{
	char error[PCAP_ERRBUF_SIZE];
	FILE *again = fmemopen(bytes, length, "r");
	pcap_t *pcap;

	CU_ASSERT_PTR_NOT_NULL_FATAL(again);
	pcap = pcap_fopen_offline_with_tstamp_precision(again, PCAP_TSTAMP_PRECISION_NANO, error);
	CU_ASSERT_PTR_NOT_NULL_FATAL(pcap);
	return pcap;
}

/* The block @p number of a type, from its type on; NULL if there are not so many. */
static const uint8_t *
block(uint32_t type, unsigned number)
{
	uint32_t head[2];

	for (size_t at = 0; at + 12 <= length; at += head[1]) {
		uint32_t tail;

		memcpy(head, bytes + at, sizeof(head));
		CU_ASSERT_EQUAL_FATAL(head[1] % 4, 0);
		CU_ASSERT_FATAL(head[1] >= 12 && at + head[1] <= length);
		memcpy(&tail, bytes + at + head[1] - 4, sizeof(tail));
		CU_ASSERT_EQUAL(tail, head[1]);
		if (head[0] == type && number-- == 0)
			return (const uint8_t *)bytes + at;
	}
	return NULL;
}

/* The value of an option of a block whose options start at @p at; "" with its length if none. */
static const uint8_t *
option(const uint8_t *start, size_t at, unsigned code, uint16_t *size)
{
	uint32_t total;

	memcpy(&total, start + 4, sizeof(total));
	while (at + 4 <= total - 4) {
		uint16_t head[2];

		memcpy(head, start + at, sizeof(head));
		*size = head[1];
		if (head[0] == code)
			return start + at + 4;
		if (head[0] == 0)
			break;
		at += 4 + ((head[1] + 3u) & ~3u);
	}
	*size = 0;
	return NULL;
}

static bool
option_is(const uint8_t *start, size_t at, unsigned code, const void *value, size_t size)
{
	uint16_t found;
	const uint8_t *data = option(start, at, code, &found);

	return data != NULL && found == size && memcmp(data, value, size) == 0;
}

static size_t
packet_options(uint32_t captured)
{
	return 28 + ((captured + 3u) & ~3u);
}

static void
test_frames(void)
{
	static uint8_t data[70000];
	static const uint32_t captured[] = {60, 61, 62, 63, 65550, 0};
	struct pcap_pkthdr *header;
	const u_char *read;
	pcap_t *pcap;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	begin();
	for (unsigned i = 0; i < 6; i++) {
		const struct pcapng_frame frame = {
			.port = i % 2 == 0 ? "uplink" : "work",
			.time_ns = UINT64_C(1700000000123456789) + i,
			.data = data + i,
			.captured = captured[i],
			.length = captured[i] + 5,
		};

		CU_ASSERT_EQUAL(pcapng_write(pcapng, &frame), 0);
	}
	end();
	pcap = reread();
	CU_ASSERT_EQUAL(pcap_datalink(pcap), DLT_EN10MB);
	for (unsigned i = 0; i < 6; i++) {
		CU_ASSERT_EQUAL_FATAL(pcap_next_ex(pcap, &header, &read), 1);
		CU_ASSERT_EQUAL(header->ts.tv_sec, 1700000000);
		CU_ASSERT_EQUAL(header->ts.tv_usec, 123456789 + (long)i);
		CU_ASSERT_EQUAL(header->caplen, captured[i]);
		CU_ASSERT_EQUAL(header->len, captured[i] + 5);
		CU_ASSERT_EQUAL(memcmp(read, data + i, captured[i]), 0);
	}
	CU_ASSERT_EQUAL(pcap_next_ex(pcap, &header, &read), PCAP_ERROR_BREAK);
	pcap_close(pcap);
	free(bytes);
}

static void
test_ports_and_options(void)
{
	static const uint32_t out = 2, in = 1;
	struct pcapng_frame frame = {.port = "work", .data = "abcde", .captured = 5, .length = 5};
	const uint8_t *first, *second, *third;
	char long_comment[1100];
	uint16_t size;
	uint32_t interface;

	begin();
	frame.direction = PCAPNG_IN;
	frame.comment = "verdict=drop";
	CU_ASSERT_EQUAL(pcapng_write(pcapng, &frame), 0);
	frame.port = "uplink";
	frame.direction = PCAPNG_OUT;
	/* two bytes each, and 1,023 are odd: the last one must not be halved */
	for (size_t i = 0; i + 2 < sizeof(long_comment); i += 2)
		memcpy(long_comment + i, "\xc3\xa4", 3);
	frame.comment = long_comment;
	CU_ASSERT_EQUAL(pcapng_write(pcapng, &frame), 0);
	frame.port = "work";
	frame.direction = PCAPNG_UNKNOWN;
	frame.comment = NULL;
	CU_ASSERT_EQUAL(pcapng_write(pcapng, &frame), 0);
	end();

	CU_ASSERT(option_is(block(0x0a0d0d0a, 0), 24, 4, "test", 4));
	CU_ASSERT(option_is(block(1, 0), 16, 2, "work", 4));
	CU_ASSERT(option_is(block(1, 0), 16, 9, "\x09", 1));
	CU_ASSERT(option_is(block(1, 1), 16, 2, "uplink", 6));
	CU_ASSERT_PTR_NULL(block(1, 2));
	first = block(6, 0), second = block(6, 1), third = block(6, 2);
	memcpy(&interface, first + 8, sizeof(interface));
	CU_ASSERT_EQUAL(interface, 0);
	memcpy(&interface, second + 8, sizeof(interface));
	CU_ASSERT_EQUAL(interface, 1);
	memcpy(&interface, third + 8, sizeof(interface));
	CU_ASSERT_EQUAL(interface, 0);
	CU_ASSERT(option_is(first, packet_options(5), 1, "verdict=drop", 12));
	CU_ASSERT(option_is(first, packet_options(5), 2, &in, 4));
	CU_ASSERT(option_is(second, packet_options(5), 2, &out, 4));
	CU_ASSERT(option_is(second, packet_options(5), 1, long_comment, 1022));
	CU_ASSERT_PTR_NULL(option(third, packet_options(5), 1, &size));
	CU_ASSERT_PTR_NULL(option(third, packet_options(5), 2, &size));
	free(bytes);
}

static void
test_no_frames(void)
{
	char name[300];
	struct pcapng_frame frame = {.port = "work", .data = name, .captured = 10, .length = 9};
	long before;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	begin();
	fflush(file);
	before = ftell(file);
	CU_ASSERT_EQUAL(pcapng_write(pcapng, &frame), -EINVAL);
	frame.captured = frame.length = 300 * 1024;
	CU_ASSERT_EQUAL(pcapng_write(pcapng, &frame), -EINVAL);
	frame.captured = frame.length = 10;
	frame.port = name;
	CU_ASSERT_EQUAL(pcapng_write(pcapng, &frame), -EINVAL);
	CU_ASSERT_EQUAL(ftell(file), before);
	end();
	free(bytes);
}

/* A full disk is said, not swallowed. */
static void
test_full(void)
{
	static uint8_t data[100000];
	struct pcapng_frame frame = {
		.port = "work", .data = data, .captured = sizeof(data), .length = sizeof(data)};

	file = fopen("/dev/full", "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	setvbuf(file, NULL, _IONBF, 0);
	CU_ASSERT_EQUAL(pcapng_open(file, "test", &pcapng), -ENOSPC);
	fclose(file);
	/* with a buffer it shows later, and must then */
	file = fopen("/dev/full", "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	CU_ASSERT_EQUAL_FATAL(pcapng_open(file, "test", &pcapng), 0);
	CU_ASSERT_EQUAL(pcapng_write(pcapng, &frame), -ENOSPC);
	pcapng_close(pcapng);
	fclose(file);
}

static void
test_packets(void)
{
	static const char *const wrong[] = {
		"{}",
		"{'port':'a','direction':'in','time':'1.0','wire_length':3}",
		"{'port':'a','direction':'in','time':'1.0','wire_length':3,'frame':'YWJ'}",
		"{'port':'a','direction':'in','time':'1.0','wire_length':2,'frame':'YWJj'}",
		"{'port':'a','direction':'in','time':'1.0','wire_length':-1,'frame':''}",
		"{'port':'a','direction':'in','time':'x','wire_length':3,'frame':'YWJj'}",
		("{'port':'a','direction':'in','time':'1.0000000001','wire_length':3,'frame':'YWJj'"
		 "}"),
		"{'port':'a','direction':'in','time':'99999999999','wire_length':3,'frame':'YWJj'}",
		"{'port':1,'direction':'in','time':'1.0','wire_length':3,'frame':'YWJj'}",
	};
	json_t *packet = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i}", "port", "work",
		"direction", "in", "time", "1700000000.000000042", "verdict", "drop", "reason",
		"rule", "rule", "work/0003", "frame", "YWJjZA==", "wire_length", 60);
	struct pcap_pkthdr *header;
	const u_char *read;
	pcap_t *pcap;

	begin();
	CU_ASSERT_EQUAL(pcapng_write_packet(pcapng, packet), 0);
	json_decref(packet);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char text[128];
		json_t *bad;

		snprintf(text, sizeof(text), "%s", wrong[i]);
		for (char *at = text; *at != '\0'; at++)
			*at = *at == '\'' ? '"' : *at;
		bad = json_loads(text, 0, NULL);
		CU_ASSERT_PTR_NOT_NULL_FATAL(bad);
		CU_ASSERT_EQUAL(pcapng_write_packet(pcapng, bad), -EINVAL);
		json_decref(bad);
	}
	end();
	CU_ASSERT(option_is(
		block(6, 0), packet_options(4), 1, "verdict=drop reason=rule rule=work/0003", 39));
	pcap = reread();
	CU_ASSERT_EQUAL_FATAL(pcap_next_ex(pcap, &header, &read), 1);
	CU_ASSERT_EQUAL(header->ts.tv_usec, 42);
	CU_ASSERT_EQUAL(header->caplen, 4);
	CU_ASSERT_EQUAL(header->len, 60);
	CU_ASSERT_EQUAL(memcmp(read, "abcd", 4), 0);
	CU_ASSERT_EQUAL(pcap_next_ex(pcap, &header, &read), PCAP_ERROR_BREAK);
	pcap_close(pcap);
	free(bytes);
}

static void
test_base64(void)
{
	/* RFC 4648 section 10 */
	static const char *const vectors[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="},
		{"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"}};
	static const char *const wrong[] = {
		"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Z g=", "Zm9v\nYm"};
	uint8_t all[256], back[256];
	char text[BASE64_SIZE(256)];

	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		size_t size = strlen(vectors[i][0]);

		CU_ASSERT_EQUAL(base64_encode(text, vectors[i][0], size), strlen(vectors[i][1]));
		CU_ASSERT_STRING_EQUAL(text, vectors[i][1]);
		CU_ASSERT_EQUAL(base64_decode(back, text, strlen(text)), (ssize_t)size);
		CU_ASSERT_EQUAL(memcmp(back, vectors[i][0], size), 0);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CU_ASSERT_EQUAL(base64_decode(back, wrong[i], strlen(wrong[i])), -EINVAL);
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)(255 - i);
	base64_encode(text, all, sizeof(all));
	CU_ASSERT_EQUAL(base64_decode(back, text, strlen(text)), 256);
	CU_ASSERT_EQUAL(memcmp(back, all, sizeof(all)), 0);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"frames, times and lengths", test_frames},
		{"ports, directions and comments", test_ports_and_options},
		{"what is no frame", test_no_frames},
		{"a full disk", test_full},
		{"packets of the control socket", test_packets},
		{"base64", test_base64},
	};

	return UNIT_RUN("pcapng", tests);
}
