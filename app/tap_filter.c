/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/tap_filter.h"

/* What libpcap's interpreter knows; it ends the process at anything else, and its check does not.
 */
static const uint16_t known_codes[] = {
	BPF_RET | BPF_K,
	BPF_RET | BPF_A,
	BPF_LD | BPF_W | BPF_ABS,
	BPF_LD | BPF_H | BPF_ABS,
	BPF_LD | BPF_B | BPF_ABS,
	BPF_LD | BPF_W | BPF_LEN,
	BPF_LDX | BPF_W | BPF_LEN,
	BPF_LD | BPF_W | BPF_IND,
	BPF_LD | BPF_H | BPF_IND,
	BPF_LD | BPF_B | BPF_IND,
	BPF_LDX | BPF_MSH | BPF_B,
	BPF_LD | BPF_IMM,
	BPF_LDX | BPF_IMM,
	BPF_LD | BPF_MEM,
	BPF_LDX | BPF_MEM,
	BPF_ST,
	BPF_STX,
	BPF_JMP | BPF_JA,
	BPF_JMP | BPF_JGT | BPF_K,
	BPF_JMP | BPF_JGE | BPF_K,
	BPF_JMP | BPF_JEQ | BPF_K,
	BPF_JMP | BPF_JSET | BPF_K,
	BPF_JMP | BPF_JGT | BPF_X,
	BPF_JMP | BPF_JGE | BPF_X,
	BPF_JMP | BPF_JEQ | BPF_X,
	BPF_JMP | BPF_JSET | BPF_X,
	BPF_ALU | BPF_ADD | BPF_X,
	BPF_ALU | BPF_SUB | BPF_X,
	BPF_ALU | BPF_MUL | BPF_X,
	BPF_ALU | BPF_DIV | BPF_X,
	BPF_ALU | BPF_MOD | BPF_X,
	BPF_ALU | BPF_AND | BPF_X,
	BPF_ALU | BPF_OR | BPF_X,
	BPF_ALU | BPF_XOR | BPF_X,
	BPF_ALU | BPF_LSH | BPF_X,
	BPF_ALU | BPF_RSH | BPF_X,
	/* NOLINTNEXTLINE(misc-redundant-expression): both are 0, and both say something */
	BPF_ALU | BPF_ADD | BPF_K,
	BPF_ALU | BPF_SUB | BPF_K,
	BPF_ALU | BPF_MUL | BPF_K,
	BPF_ALU | BPF_DIV | BPF_K,
	BPF_ALU | BPF_MOD | BPF_K,
	BPF_ALU | BPF_AND | BPF_K,
	BPF_ALU | BPF_OR | BPF_K,
	BPF_ALU | BPF_XOR | BPF_K,
	BPF_ALU | BPF_LSH | BPF_K,
	BPF_ALU | BPF_RSH | BPF_K,
	BPF_ALU | BPF_NEG,
	BPF_MISC | BPF_TAX,
	BPF_MISC | BPF_TXA,
};

/*
 * What libpcap does not check. It lets unconditional jumps go backwards, for its own protochain,
 * and such a program need not end.
 */
static bool
is_known(const struct bpf_insn *instruction, unsigned behind)
{
	if (instruction->code == (BPF_JMP | BPF_JA) && instruction->k >= behind)
		return false;
	for (size_t i = 0; i < RTE_DIM(known_codes); i++)
		if (known_codes[i] == instruction->code)
			return true;
	return false;
}

/*
 * What libpcap gives a program as memory lay on our stack before. Write instructions that clear
 * what is read of it: A is zero when they run.
 * @return how many
 */
static unsigned
memory_clear(struct bpf_insn *clear, const struct bpf_insn *instructions, unsigned count)
{
	uint32_t used = 0;
	unsigned cleared = 0;

	for (unsigned i = 0; i < count; i++)
		if ((BPF_CLASS(instructions[i].code) == BPF_LD ||
			    BPF_CLASS(instructions[i].code) == BPF_LDX) &&
			BPF_MODE(instructions[i].code) == BPF_MEM)
			used |= UINT32_C(1) << instructions[i].k;
	for (unsigned i = 0; i < BPF_MEMWORDS; i++)
		if ((used >> i & 1) != 0)
			clear[cleared++] = (struct bpf_insn){.code = BPF_ST, .k = i};
	return cleared;
}

bool
tap_filter_set(struct tap_filter *filter, const struct bpf_insn *instructions, unsigned count)
{
	if (count == 0 || count > TAP_FILTER_MAX || bpf_validate(instructions, (int)count) == 0)
		return false;
	for (unsigned i = 0; i < count; i++)
		if (!is_known(&instructions[i], count - i - 1))
			return false;
	filter->count = memory_clear(filter->instructions, instructions, count);
	memcpy(filter->instructions + filter->count, instructions, count * sizeof(instructions[0]));
	filter->count += count;
	return true;
}

bool
tap_filter_matches(const struct tap_filter *filter, const struct rte_mbuf *mbuf)
{
	uint32_t length = rte_pktmbuf_pkt_len(mbuf);
	uint32_t there = rte_pktmbuf_data_len(mbuf);
	uint8_t copy[TAP_FILTER_BYTES];
	const uint8_t *bytes;

	if (filter->count == 0)
		return true;
	if (there < length)
		there = RTE_MAX(there, RTE_MIN(length, TAP_FILTER_BYTES));
	bytes = rte_pktmbuf_read(mbuf, 0, there, copy);
	return bytes != NULL && bpf_filter(filter->instructions, bytes, length, there) != 0;
}
