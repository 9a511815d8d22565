/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/ctl_filter.h"

#include <stdbool.h>
#include <string.h>

#include <pcap/pcap.h>

#include "tests/unit/unit.h"

/* Run a program as it will be sent on a packet. @return whether it passes */
static bool
passes(const json_t *filter, const unsigned char *frame, unsigned length)
{
	struct bpf_insn lines[256];
	const json_t *line;
	size_t i;

	CU_ASSERT_FATAL(json_array_size(filter) < 256);
	json_array_foreach (filter, i, line)
		lines[i] = (struct bpf_insn){
			.code = (u_short)json_integer_value(json_array_get(line, 0)),
			.jt = (u_char)json_integer_value(json_array_get(line, 1)),
			.jf = (u_char)json_integer_value(json_array_get(line, 2)),
			.k = (bpf_u_int32)json_integer_value(json_array_get(line, 3)),
		};
	CU_ASSERT_FATAL(bpf_validate(lines, (int)json_array_size(filter)) != 0);
	return bpf_filter(lines, frame, length, length) != 0;
}

/* 10.137.0.16:40000 > 1.1.1.1:443 by TCP */
static const unsigned char tcp[54] = {[12] = 0x08,
	[13] = 0x00,
	[14] = 0x45,
	[17] = 40,
	[22] = 64,
	[23] = 6,
	[26] = 10,
	[27] = 137,
	[28] = 0,
	[29] = 16,
	[30] = 1,
	[31] = 1,
	[32] = 1,
	[33] = 1,
	[34] = 0x9c,
	[35] = 0x40,
	[36] = 0x01,
	[37] = 0xbb,
	[46] = 0x50,
	[47] = 0x02};

static void
check(const char *expression, bool expected)
{
	char error[256];
	json_t *filter = filter_compile(&expression, 1, error, sizeof(error));

	CU_ASSERT_PTR_NOT_NULL_FATAL(filter);
	CU_ASSERT_EQUAL(passes(filter, tcp, sizeof(tcp)), expected);
	json_decref(filter);
}

static void
test_packets(void)
{
	check("tcp port 443", true);
	check("tcp port 80", false);
	check("host 1.1.1.1 and src net 10.137.0.0/16", true);
	check("udp", false);
	check("ip6", false);
	check("tcp[tcpflags] & tcp-syn != 0", true);
	check("not (tcp and dst port 443)", false);
	check("len > 53", true);
	/* numbers over 31 bits */
	check("dst host 255.255.255.255", false);
	check("ip[16:4] = 0x01010101", true);
	check("ip[12:4] < 0xffffffff", true);
}

static void
test_words(void)
{
	static const char *const words[] = {"tcp", "port", "443"};
	char error[256];
	json_t *filter = filter_compile(words, 3, error, sizeof(error));

	CU_ASSERT_PTR_NOT_NULL_FATAL(filter);
	CU_ASSERT_TRUE(passes(filter, tcp, sizeof(tcp)));
	json_decref(filter);
	filter = filter_compile(NULL, 0, error, sizeof(error));
	CU_ASSERT_PTR_NOT_NULL_FATAL(filter);
	CU_ASSERT_TRUE(passes(filter, tcp, sizeof(tcp)));
	json_decref(filter);
}

static void
test_wrong(void)
{
	static const char *const wrong[] = {
		"foo bar", "port 80443", "host", "tcp and", "((", "host 1.2.3.456"};
	char error[256];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		*error = '\0';
		CU_ASSERT_PTR_NULL(filter_compile(&wrong[i], 1, error, sizeof(error)));
		CU_ASSERT_PTR_NOT_NULL(strstr(error, "is no filter: "));
	}
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"a compiled filter judges a packet as tcpdump does", test_packets},
		{"an expression may come in words", test_words},
		{"what is no filter is refused", test_wrong},
	};

	return UNIT_RUN("ctl_filter", tests);
}
