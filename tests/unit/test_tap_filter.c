/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Filters against libpcap's own interpreter, with everything that tcpdump's expressions are made
 * of, frames of all sorts, whole, cut off and in pieces, and programs that no compiler makes.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pcap/pcap.h>

#include "app/tap_filter.h"
#include "tests/unit/frames.h"
#include "tests/unit/unit.h"

#define FRAMES_MAX 64

static struct rte_mempool *pool;
static struct frame frames[FRAMES_MAX];
static unsigned frame_count;

static const char *const expressions[] = {
	"",
	"tcp port 80",
	"tcp dst port 22 or udp src port 53",
	"portrange 20-60",
	"host 192.0.2.1",
	"src host 10.137.0.16 and not dst net 198.51.100.0/24",
	"net 192.0.2.0/24",
	"ip6",
	"ip6 host 2001:db8::1",
	"ip6 and tcp port 443",
	"arp",
	"arp host 10.137.0.1",
	"vlan",
	"vlan 7",
	"vlan and tcp port 80",
	"len > 100",
	"greater 1000",
	"less 60",
	"len - 14 = 40",
	"icmp",
	"icmp[icmptype] == icmp-echo",
	"icmp6 and ip6[40] == 128",
	"tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
	"tcp[13] == 18",
	"ether host 00:16:3e:5e:6c:00",
	"ether broadcast",
	"ether multicast",
	"ip broadcast or ip multicast",
	"ip proto 47",
	"ip[8] < 5",
	"ip[6:2] & 0x3fff != 0",
	"udp[8:4] * 3 / 7 - 1 > 1000",
	"(ip[0] & 0xf) * 4 >= 24",
	"ip[ip[9]] % 5 = 2",
	"udp[4:2] << 2 >> 1 > 200",
	"not (tcp or udp) and (ip or ip6)",
	"ether[1000:4] == 0",
	"ether[1499] > 3",
	"tcp portrange 1-1024 and (host 192.0.2.1 or host 192.0.2.2 or host 2001:db8::1)",
};

static void
add(struct frame_spec spec)
{
	static const uint8_t qube[6] = {0x00, 0x16, 0x3e, 0x5e, 0x6c, 0x00};
	static const uint8_t vif[6] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff};

	CU_ASSERT_FATAL(frame_count < FRAMES_MAX);
	if (spec.source_mac == NULL)
		spec.source_mac = qube;
	if (spec.destination_mac == NULL)
		spec.destination_mac = vif;
	frame_build(&frames[frame_count++], &spec);
}

/* The last frame with a VLAN tag. */
static void
add_vlan(uint16_t tag)
{
	const struct frame *plain = &frames[frame_count - 1];
	struct frame *tagged = &frames[frame_count++];

	memcpy(tagged->bytes, plain->bytes, 12);
	put16(tagged->bytes + 12, 0x8100);
	put16(tagged->bytes + 14, tag);
	memcpy(tagged->bytes + 16, plain->bytes + 12, plain->length - 12);
	tagged->length = plain->length + 4;
}

static void
frames_make(void)
{
	static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	static const uint8_t qube[6] = {0x00, 0x16, 0x3e, 0x5e, 0x6c, 0x00};
	static const uint8_t options[8] = {1, 1, 1, 1, 1, 1, 1, 0};
	static const uint8_t hop_by_hop[8] = {6, 0, 1, 4};
	static const uint16_t ports[] = {22, 53, 80, 443, 40000};

	for (size_t i = 0; i < RTE_DIM(ports); i++) {
		add((struct frame_spec){.source = "10.137.0.16",
			.destination = i % 2 != 0 ? "192.0.2.1" : "198.51.100.7",
			.protocol = i % 2 != 0 ? IPPROTO_UDP : IPPROTO_TCP,
			.source_port = ports[(i + 3) % RTE_DIM(ports)],
			.destination_port = ports[i],
			.tcp_flags = (uint8_t)(1 << i | 2),
			.payload = (uint16_t)(i * 333)});
		add_vlan((uint16_t)(6 + i));
		add((struct frame_spec){.source = "2001:db8::1",
			.destination = "fd09::10",
			.protocol = i % 2 == 0 ? IPPROTO_UDP : IPPROTO_TCP,
			.source_port = ports[i],
			.destination_port = 1024,
			.tcp_flags = 18,
			.payload = (uint16_t)(i * 17)});
	}
	add((struct frame_spec){.source = "10.137.0.16",
		.destination = "192.0.2.2",
		.protocol = IPPROTO_TCP,
		.options_length = 8,
		.options = options,
		.source_port = 1000,
		.destination_port = 80,
		.ttl = 2});
	add((struct frame_spec){.source = "fd09::10",
		.destination = "2001:db8::1",
		.protocol = IPPROTO_TCP,
		.extensions_length = 8,
		.extensions = hop_by_hop,
		.first_extension = 0,
		.source_port = 1000,
		.destination_port = 443});
	add((struct frame_spec){.source = "10.137.0.16",
		.destination = "192.0.2.1",
		.protocol = IPPROTO_ICMP,
		.type = 8,
		.payload = 56});
	add((struct frame_spec){.source = "fd09::10",
		.destination = "fd09::1",
		.protocol = IPPROTO_ICMPV6,
		.type = 128});
	add((struct frame_spec){.source = "10.137.0.16",
		.destination = "192.0.2.1",
		.protocol = 47,
		.payload = 99});
	add((struct frame_spec){.source = "10.137.0.16",
		.destination = "192.0.2.1",
		.protocol = IPPROTO_UDP,
		.payload = 9000});
	add((struct frame_spec){.destination_mac = all,
		.source = "10.137.0.16",
		.destination = "255.255.255.255",
		.protocol = IPPROTO_UDP,
		.source_port = 68,
		.destination_port = 67});
	frame_arp(&frames[frame_count++], 1, all, qube, "10.137.0.16", "10.137.0.1");
	/* a fragment in the middle of its datagram */
	frames[frame_count] = frames[0];
	put16(frames[frame_count].bytes + 20, 0x2010);
	frame_fix(frames[frame_count].bytes, frames[frame_count].length);
	frame_count++;
}

static bool
matches(const struct tap_filter *filter, struct rte_mbuf *mbuf)
{
	bool result;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mbuf);
	result = tap_filter_matches(filter, mbuf);
	rte_pktmbuf_free(mbuf);
	return result;
}

/* One answer, however the frame lies in memory; of pieces only so much is looked at. */
static bool
agrees(const struct tap_filter *filter, const struct bpf_insn *program, const uint8_t *bytes,
	uint32_t length)
{
	bool wanted = bpf_filter(program, bytes, length, length) != 0;
	bool in_pieces = bpf_filter(program, bytes, length, RTE_MIN(length, TAP_FILTER_BYTES)) != 0;

	return matches(filter, frame_mbuf_tight(pool, bytes, length)) == wanted &&
	       matches(filter, frame_mbuf_chain(pool, bytes, length, RTE_MIN(length, 60u), 1000)) ==
		       in_pieces &&
	       matches(filter, frame_mbuf_chain(pool, bytes, length, RTE_MIN(length, 15u), 7)) ==
		       in_pieces;
}

static void
test_expressions(void)
{
	pcap_t *pcap = pcap_open_dead(DLT_EN10MB, 262144);
	unsigned matched = 0;

	for (size_t i = 0; i < RTE_DIM(expressions); i++)
		for (int optimise = 0; optimise < 2; optimise++) {
			static struct tap_filter filter;
			struct bpf_program program;
			bool good = true;

			if (pcap_compile(pcap, &program, expressions[i], optimise, 0xffffff00) !=
				0) {
				printf("\n  %s: %s\n", expressions[i], pcap_geterr(pcap));
				CU_FAIL("pcap_compile");
				continue;
			}
			if (!tap_filter_set(&filter, program.bf_insns, program.bf_len)) {
				printf("\n  refused: %s (%d)\n", expressions[i], optimise);
				CU_FAIL("tap_filter_set");
				pcap_freecode(&program);
				continue;
			}
			for (unsigned j = 0; j < frame_count; j++) {
				matched += bpf_filter(program.bf_insns, frames[j].bytes,
						   frames[j].length, frames[j].length) != 0;
				good = good && agrees(&filter, program.bf_insns, frames[j].bytes,
						       frames[j].length);
				for (uint32_t cut = 1; cut < 100 && cut < frames[j].length; cut++)
					good = good && agrees(&filter, program.bf_insns,
							       frames[j].bytes, cut);
			}
			if (!good)
				printf("\n  differs: %s (%d)\n", expressions[i], optimise);
			CU_ASSERT(good);
			pcap_freecode(&program);
		}
	CU_ASSERT(matched > 200);
	pcap_close(pcap);
}

static void
test_wrong(void)
{
	static const struct {
		unsigned count;
		struct bpf_insn program[3];
	} wrong[] = {
		{0, {{0}}},
		{1, {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 0}}}, /* does not end */
		{1, {{BPF_JMP | BPF_JA, 0, 0, 0}}},         /* leaves */
		{2, {{BPF_JMP | BPF_JA, 0, 0, 0xffffffff}, {BPF_RET | BPF_K, 0, 0, 0}}}, /* back */
		{2, {{BPF_JMP | BPF_JEQ | BPF_K, 200, 0, 0}, {BPF_RET | BPF_K, 0, 0, 0}}},
		{2, {{BPF_LD | BPF_MEM, 0, 0, 16}, {BPF_RET | BPF_A, 0, 0, 0}}},
		{2, {{BPF_ST, 0, 0, 0xffffffff}, {BPF_RET | BPF_A, 0, 0, 0}}},
		{2, {{BPF_ALU | BPF_DIV | BPF_K, 0, 0, 0}, {BPF_RET | BPF_A, 0, 0, 0}}},
		{2, {{BPF_ALU | BPF_MOD | BPF_K, 0, 0, 0}, {BPF_RET | BPF_A, 0, 0, 0}}},
		{2, {{0xffff, 0, 0, 0}, {BPF_RET | BPF_A, 0, 0, 0}}},
		{2, {{BPF_RET | BPF_X, 0, 0, 0}, {BPF_RET | BPF_A, 0, 0, 0}}},
	};
	static struct bpf_insn long_program[TAP_FILTER_MAX + 1];
	static struct tap_filter filter;

	for (size_t i = 0; i < RTE_DIM(wrong); i++)
		CU_ASSERT_FALSE(tap_filter_set(&filter, wrong[i].program, wrong[i].count));
	for (size_t i = 0; i < RTE_DIM(long_program); i++)
		long_program[i].code = BPF_RET | BPF_K;
	CU_ASSERT_FALSE(tap_filter_set(&filter, long_program, TAP_FILTER_MAX + 1));
	CU_ASSERT_EQUAL(filter.count, 0);
	CU_ASSERT(tap_filter_set(&filter, long_program, TAP_FILTER_MAX));
}

static uint32_t
draw(uint64_t *state, uint32_t below)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((*state >> 33) % below);
}

/* An instruction that a validator may well let pass. */
static struct bpf_insn
instruction_draw(uint64_t *state, unsigned left)
{
	/* NOLINTBEGIN(misc-redundant-expression): some are 0, and all say something */
	static const uint16_t codes[] = {BPF_LD | BPF_W | BPF_ABS, BPF_LD | BPF_H | BPF_ABS,
		BPF_LD | BPF_B | BPF_ABS, BPF_LD | BPF_W | BPF_IND, BPF_LD | BPF_H | BPF_IND,
		BPF_LD | BPF_B | BPF_IND, BPF_LD | BPF_IMM, BPF_LD | BPF_W | BPF_LEN,
		BPF_LD | BPF_MEM, BPF_LDX | BPF_IMM, BPF_LDX | BPF_W | BPF_LEN, BPF_LDX | BPF_MEM,
		BPF_LDX | BPF_B | BPF_MSH, BPF_ST, BPF_STX, BPF_MISC | BPF_TAX, BPF_MISC | BPF_TXA,
		BPF_ALU | BPF_NEG, BPF_ALU | BPF_ADD | BPF_K, BPF_ALU | BPF_ADD | BPF_X,
		BPF_ALU | BPF_SUB | BPF_K, BPF_ALU | BPF_SUB | BPF_X, BPF_ALU | BPF_MUL | BPF_K,
		BPF_ALU | BPF_MUL | BPF_X, BPF_ALU | BPF_DIV | BPF_K, BPF_ALU | BPF_DIV | BPF_X,
		BPF_ALU | BPF_MOD | BPF_K, BPF_ALU | BPF_MOD | BPF_X, BPF_ALU | BPF_OR | BPF_K,
		BPF_ALU | BPF_OR | BPF_X, BPF_ALU | BPF_AND | BPF_K, BPF_ALU | BPF_AND | BPF_X,
		BPF_ALU | BPF_XOR | BPF_K, BPF_ALU | BPF_XOR | BPF_X, BPF_ALU | BPF_LSH | BPF_K,
		BPF_ALU | BPF_LSH | BPF_X, BPF_ALU | BPF_RSH | BPF_K, BPF_ALU | BPF_RSH | BPF_X,
		BPF_JMP | BPF_JA, BPF_JMP | BPF_JEQ | BPF_K, BPF_JMP | BPF_JGT | BPF_K,
		BPF_JMP | BPF_JGE | BPF_K, BPF_JMP | BPF_JSET | BPF_K, BPF_JMP | BPF_JEQ | BPF_X,
		BPF_JMP | BPF_JGT | BPF_X, BPF_JMP | BPF_JGE | BPF_X, BPF_JMP | BPF_JSET | BPF_X,
		BPF_RET | BPF_K, BPF_RET | BPF_A};
	/* NOLINTEND(misc-redundant-expression) */
	static const uint32_t words[] = {0, 1, 2, 4, 12, 14, 16, 23, 31, 32, 33, 60, 63, 64, 0x800,
		0x7fffffff, 0x80000000, 0xfffffff0, 0xfffff000, 0xffffffff};
	struct bpf_insn instruction = {.code = draw(state, 50) == 0
						       ? (uint16_t)draw(state, 65536)
						       : codes[draw(state, RTE_DIM(codes))],
		.k = words[draw(state, RTE_DIM(words))]};

	if (BPF_CLASS(instruction.code) == BPF_JMP && left > 0) {
		instruction.jt = (uint8_t)draw(state, left < 255 ? left : 255);
		instruction.jf = (uint8_t)draw(state, left < 255 ? left : 255);
		if (BPF_OP(instruction.code) == BPF_JA)
			instruction.k = draw(state, left);
	}
	if (instruction.code == BPF_ST || instruction.code == BPF_STX ||
		(BPF_MODE(instruction.code) == BPF_MEM &&
			(BPF_CLASS(instruction.code) == BPF_LD ||
				BPF_CLASS(instruction.code) == BPF_LDX)))
		instruction.k = draw(state, 16);
	return instruction;
}

/* Programs that somebody may send: none does harm, and what is taken does what libpcap does. */
static void
test_hostile(void)
{
	unsigned taken = 0, refused = 0, wrong = 0;
	uint64_t state = 42;

	for (unsigned i = 0; i < 30000; i++) {
		struct bpf_insn program[32];
		unsigned count = 2 + draw(&state, 30);
		static struct tap_filter filter;
		const struct frame *frame = &frames[draw(&state, frame_count)];
		uint32_t length = 1 + draw(&state, frame->length);

		for (unsigned j = 0; j < count - 1; j++)
			program[j] = instruction_draw(&state, count - 2 - j);
		program[count - 1] = (struct bpf_insn){.code = BPF_RET | BPF_A};
		if (!tap_filter_set(&filter, program, count)) {
			refused++;
			continue;
		}
		taken++;
		if (!agrees(&filter, filter.instructions, frame->bytes, length) && wrong++ < 3) {
			printf("\n  frame of %u bytes, program:\n", length);
			for (unsigned j = 0; j < count; j++)
				printf("  %2u %s\n", j, bpf_image(&program[j], (int)j));
		}
	}
	printf("%u taken, %u refused, %u wrong ", taken, refused, wrong);
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(taken > 1000 && refused > 1000);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"frames for all of them", frames_make},
		{"tcpdump's expressions", test_expressions},
		{"what is no program", test_wrong},
		{"programs that no compiler makes", test_hostile},
	};

	unit_eal();
	pool = rte_pktmbuf_pool_create("test", 2047, 0,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_MBUF_PRIV_ALIGN),
		RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (pool == NULL)
		return EXIT_FAILURE;
	return UNIT_RUN("tap_filter", tests);
}
